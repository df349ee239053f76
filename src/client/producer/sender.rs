//! Taking batches from the queues to write them: one thread at a time for each partition.

use crate::client::producer::accumulator::{PartitionQueue, QueueOwner};
use crate::client::producer::context::ProducerContext;
use crate::client::producer::inner::ProducerInner;
use crate::client::producer::thread_marks;
use crate::client::producer::writer::{BatchWriter, Work};
use crate::error::{ProduceError, Result};
use std::sync::Arc;
use std::time::Duration;

/// The number of times that a thread takes batches before it leaves the next ones to the
/// producer's thread, because a thread of the caller has work of its own.
const ROUNDS: usize = 4;

impl QueueOwner for ProducerInner {
    fn context(&self) -> &ProducerContext {
        &self.context
    }

    fn start_sender_thread(&self) -> Result<()> {
        let thread = &self.context.sender_thread;
        if thread.is_started() {
            return Ok(());
        }
        let Some(inner) = self.this.upgrade() else { return Ok(()) };
        thread.start(move || {
            while inner.context.sender_thread.wait(inner.context.clock()) {
                inner.poll();
            }
        })
    }

    fn list(&self, queue: &Arc<PartitionQueue>) -> Result<()> {
        let mut listed = self.listed.lock();
        if self.context.is_closed() {
            return Err(ProduceError::Closed.into());
        }
        if let Some(transactions) = &self.context.transactions {
            transactions.check_send()?;
        }
        listed.push(Arc::clone(queue));
        Ok(())
    }

    /// Writes the batches that are closed, expedited, or not to linger at all, unless another
    /// thread is writing or it is too early to retry.
    fn drain(&self, queue: &Arc<PartitionQueue>) {
        // Call back only after the last look at the queue: otherwise, a record that another thread
        // left to this one would wait for a callback.
        if self.drain_without_callbacks(queue) {
            self.call_back(queue);
        }
    }
}

impl ProducerInner {
    /// Drains a queue, but leaves the callbacks to the caller. Returns whether it wrote batches.
    pub(super) fn drain_without_callbacks(&self, queue: &Arc<PartitionQueue>) -> bool {
        let mut rounds = 0usize;
        while let Some(work) = self.take(queue, false) {
            self.write(queue, work);
            rounds = rounds.saturating_add(1);
            // A closed producer has no thread to leave them to.
            if rounds >= ROUNDS && !self.context.is_closed() && self.start_sender_thread().is_ok() {
                self.context.sender_thread.schedule(Duration::ZERO);
                break;
            }
        }
        rounds > 0
    }

    /// Tries once more to write all batches, without waiting for the time of a retry. Waits for a
    /// thread that is writing now, and tries the batches that this thread could not write.
    pub(super) fn drain_last(&self, queue: &Arc<PartitionQueue>) {
        loop {
            self.wait_for_writer(queue);
            if let Some(work) = self.take(queue, true) {
                self.write(queue, work);
                break;
            }
            if !queue.state.lock().draining {
                break;
            }
        }
        self.call_back(queue);
    }

    /// Waits until no thread writes to the partition.
    pub(super) fn wait_for_writer(&self, queue: &Arc<PartitionQueue>) {
        self.drained.wait(None, self.context.clock(), || !queue.state.lock().draining);
    }

    /// Takes the batches to write; `None` if there are none, another thread is writing, or it is
    /// too early to retry and `even_early` is not set.
    fn take(&self, queue: &Arc<PartitionQueue>, even_early: bool) -> Option<Work> {
        let mut state = queue.state.lock();
        if state.draining || (!even_early && state.is_too_early(&self.context)) {
            return None;
        }
        if state.expedited || self.context.config.linger.is_zero() {
            state.close_open();
        }
        let work = Work::take(&mut state)?;
        state.draining = true;
        Some(work)
    }

    fn write(&self, queue: &Arc<PartitionQueue>, mut work: Work) {
        thread_marks::while_writing(|| {
            BatchWriter { context: &self.context, queue }.write_all(&mut work);
            self.put_back(queue, work);
        });
    }

    /// Puts the batches that could not be written back to the front, and lets the next thread
    /// write.
    fn put_back(&self, queue: &Arc<PartitionQueue>, mut work: Work) {
        let retry_at = if work.batches.is_empty() { None } else { work.retry.as_ref() };
        let retry_at = retry_at.map(|retry| retry.at);
        let mut state = queue.state.lock();
        state.sequence = work.sequence;
        state.retry = retry_at.and(work.retry);
        work.batches.append(&mut state.closed);
        state.closed = work.batches;
        state.in_flight.clear();
        state.draining = false;
        drop(state);
        self.drained.notify();
        // Check this after the batches are back in place: a thread that aborts the producer sets
        // the flag first, and looks for batches afterwards.
        if self.context.is_aborted() {
            self.abort(queue, &ProduceError::Aborted);
        } else if let Some(retry_at) = retry_at
            && self.start_sender_thread().is_ok()
        {
            self.context.sender_thread.schedule(retry_at);
        }
    }

    /// Fails all batches that wait, with this error; returns whether there were any.
    pub(super) fn abort(&self, queue: &Arc<PartitionQueue>, error: &ProduceError) -> bool {
        let mut state = queue.state.lock();
        state.close_open();
        let aborted = std::mem::take(&mut state.closed);
        state.retry = None;
        drop(state);
        let any = !aborted.is_empty();
        for batch in aborted {
            let writer = BatchWriter { context: &self.context, queue };
            writer.complete(batch, Err(error.clone()));
        }
        if any {
            self.call_back(queue);
        }
        any
    }

    /// Calls the callbacks of a queue that are due, or leaves them to the thread that may call
    /// them.
    pub(super) fn call_back(&self, queue: &Arc<PartitionQueue>) {
        if !queue.callbacks.is_due() {
            return;
        }
        let work = || {
            let inner = self.this.upgrade()?;
            Some(move || inner.callback_thread.run(&inner.context))
        };
        let hand_over = || self.callback_thread.hand_over(queue, work);
        if !(thread_marks::must_hand_over_callbacks() && hand_over()) {
            queue.callbacks.call_all(&self.context);
        }
    }
}
