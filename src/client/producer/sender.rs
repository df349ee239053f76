//! Writing what waits for a partition: in order, by one thread at a time.
//!
//! ```text
//!  written                 done; its numbers are used
//!  retryable failure       back to the front, and tried again after a while, until its time is over
//!  too large, many records split, and its parts are tried
//!  partition reopened      tried on its new log
//!  other failure           done, with that; the next one is tried
//! ```

use crate::callback;
use crate::client::producer::accumulator::{self, Batch, Failing, PartitionQueue, QueueState};
use crate::client::producer::config::Acks;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::send_handle::Outcome;
use crate::client::producer::sequence::SequenceState;
use crate::client::producer::thread_marks;
use crate::error::{CloseReason, Error, ProduceError, ProducerStateError, Result, TopicError};
use crate::event::Event;
use crate::log::Appended;
use crate::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often a thread takes along what has come meanwhile, before it leaves that to another: it
/// has work of its own.
const ROUNDS: usize = 4;

/// The batches that one thread has taken to write.
struct Work {
    batches: VecDeque<Batch>,
    numbering: SequenceState,
    failing: Option<Failing>,
}

/// The reason why a write failed.
enum Failure {
    Again(Failing),
    ForGood(ProduceError),
    /// The limit was lowered after the records were gathered. Nothing was written.
    TooLarge(ProduceError),
}

/// Whether a log says this before it looks whether it has the batch.
fn is_about_the_call(error: &Error) -> bool {
    matches!(error, Error::BatchTooLarge { .. } | Error::Closed { .. })
}

impl QueueState {
    /// All that is not known to be written or to have failed.
    pub(super) fn outcomes(&self, found: &mut Vec<Arc<Outcome>>) {
        let waiting = self.closed.iter().chain(&self.open).map(|batch| &batch.outcome);
        found.extend(self.in_flight.iter().chain(waiting).cloned());
    }
}

impl ProducerContext {
    /// Writes what is closed, hurried, or not to linger at all, unless another thread is at it or
    /// it is too early to try again.
    pub(super) fn drain(self: &Arc<Self>, queue: &Arc<PartitionQueue>) {
        // Not before the last look: a record that another thread left to this one would wait for
        // a callback.
        if self.drain_without_callbacks(queue) {
            self.call_back(queue);
        }
    }

    /// As `drain`, but leaves callbacks to the caller. Returns whether it wrote anything.
    pub(super) fn drain_without_callbacks(self: &Arc<Self>, queue: &Arc<PartitionQueue>) -> bool {
        let mut rounds = 0usize;
        while let Some(work) = self.take(queue, false) {
            self.write(queue, work);
            rounds = rounds.saturating_add(1);
            // Once it is closed there is no other.
            if rounds >= ROUNDS && !self.is_closed() && ProducerContext::start_thread(self).is_ok()
            {
                self.linger.schedule(Duration::ZERO);
                break;
            }
        }
        rounds > 0
    }

    /// Tries once more to write what is there, without waiting for the time to retry. Waits for a
    /// thread that writes now: what it leaves behind is taken along.
    pub(super) fn drain_last(self: &Arc<Self>, queue: &Arc<PartitionQueue>) {
        loop {
            self.drained.wait(None, self.clock(), || !queue.state.lock().draining);
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

    fn take(&self, queue: &PartitionQueue, even_early: bool) -> Option<Work> {
        let mut guard = queue.state.lock();
        let state = &mut *guard;
        if state.draining || (!even_early && self.is_too_early(state)) {
            return None;
        }
        if state.hurried || self.config.linger.is_zero() {
            state.close_open();
        }
        if state.closed.is_empty() {
            return None;
        }
        state.draining = true;
        let batches = std::mem::take(&mut state.closed);
        state.in_flight.extend(batches.iter().map(|batch| Arc::clone(&batch.outcome)));
        Some(Work { batches, numbering: state.numbering, failing: state.failing.clone() })
    }

    fn is_too_early(&self, state: &QueueState) -> bool {
        let Some(failing) = &state.failing else { return false };
        let now = self.clock().monotonic();
        let expired = state.closed.front().is_some_and(|first| self.is_expired(first, now));
        now < failing.retry_at && !expired
    }

    fn is_expired(&self, batch: &Batch, now: Duration) -> bool {
        now.saturating_sub(batch.begun) >= self.config.delivery_timeout
    }

    fn write(self: &Arc<Self>, queue: &Arc<PartitionQueue>, work: Work) {
        thread_marks::a_write(|| self.write_all(queue, work));
    }

    fn write_all(self: &Arc<Self>, queue: &Arc<PartitionQueue>, mut work: Work) {
        let mut unflushed = Vec::new();
        while let Some(mut batch) = work.batches.pop_front() {
            match self.try_batch(queue, &mut batch, &mut work) {
                Ok(appended) if self.config.acks == Acks::Flushed => {
                    unflushed.push((batch, appended));
                }
                Ok(appended) => self.complete(queue, batch, Ok(appended)),
                Err(Failure::ForGood(error)) => {
                    self.flush_written(queue, &mut unflushed);
                    self.complete(queue, batch, Err(error));
                }
                Err(Failure::TooLarge(error)) => {
                    let limit = accumulator::limit(&batch.log, self);
                    let mut parts = batch.split(limit, || self.spare_builder());
                    if parts.len() > 1 {
                        parts.into_iter().rev().for_each(|part| work.batches.push_front(part));
                    } else if let Some(batch) = parts.pop() {
                        self.flush_written(queue, &mut unflushed);
                        self.complete(queue, batch, Err(error));
                    }
                }
                Err(Failure::Again(failing)) => {
                    work.batches.push_front(batch);
                    work.failing = Some(failing);
                    break;
                }
            }
        }
        self.flush_written(queue, &mut unflushed);
        self.put_back(queue, work);
    }

    fn try_batch(
        &self,
        queue: &PartitionQueue,
        batch: &mut Batch,
        work: &mut Work,
    ) -> Result<Appended, Failure> {
        let timed_out = |cause: Arc<Error>| {
            let (topic, partition) = (Arc::clone(&queue.topic), queue.partition);
            let timeout = self.config.delivery_timeout;
            Failure::ForGood(ProduceError::DeliveryTimeout { topic, partition, timeout, cause })
        };
        if let Some(failing) = &work.failing {
            if self.is_expired(batch, self.clock().monotonic()) {
                work.numbering.doubt_after(&batch.log);
                return Err(timed_out(Arc::clone(&failing.cause)));
            }
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
        let appended = match self.append(batch, &mut work.numbering) {
            Err(Error::Closed { .. }) => self.append_behind(queue, batch, &mut work.numbering),
            appended => appended,
        };
        let error = match appended {
            Ok(appended) => {
                work.failing = None;
                return Ok(appended);
            }
            Err(error) => error,
        };
        let is_reopened = matches!(error, Error::Closed { reason: CloseReason::Reopened, .. });
        let can_be_tried_again = error.is_retryable() || is_reopened;
        let too_large = matches!(error, Error::BatchTooLarge { .. });
        let cause = Arc::new(error);
        if too_large {
            return Err(Failure::TooLarge(ProduceError::Batch(cause)));
        }
        if !can_be_tried_again {
            work.numbering.doubt_after(&batch.log);
            return Err(Failure::ForGood(ProduceError::Batch(cause)));
        }
        let now = self.clock().monotonic();
        if self.is_expired(batch, now) {
            work.numbering.doubt_after(&batch.log);
            return Err(timed_out(cause));
        }
        let twice = work.failing.as_ref().map(|failing| failing.backoff.saturating_mul(2));
        let backoff = twice.unwrap_or(self.config.retry_backoff).min(self.config.retry_backoff_max);
        Err(Failure::Again(Failing { cause, retry_at: now.saturating_add(backoff), backoff }))
    }

    /// Appends a batch whose log is closed to the one that the partition has now, or says why it
    /// cannot: the store may be closed, or the topic deleted, and perhaps created again since.
    fn append_behind(
        &self,
        queue: &PartitionQueue,
        batch: &mut Batch,
        numbering: &mut SequenceState,
    ) -> Result<Appended> {
        self.store.inner().check_open()?;
        let now = self.store.topic(&queue.topic)?.partition(queue.partition)?;
        if now.is_same_log(&batch.log) {
            return Err(now.closed_error());
        }
        if !now.is_same_partition(&batch.log) {
            return Err(TopicError::Unknown { topic: queue.topic.to_string() }.into());
        }
        batch.log = now;
        self.append(batch, numbering)
    }

    /// Appends a batch under the next numbers. No lock is held.
    fn append(&self, batch: &mut Batch, numbering: &mut SequenceState) -> Result<Appended> {
        let records = batch.builder.len();
        batch.builder.compression(self.config.compression);
        numbering.settle(&batch.log, &self.store)?;
        let (mut again, mut in_doubt) = (false, false);
        loop {
            numbering.stamp(&mut batch.builder);
            let (log, builder) = (&batch.log, &mut batch.builder);
            match callback::call(|| log.append_builder(builder)) {
                Ok(Ok(appended)) => {
                    numbering.advance(records);
                    return Ok(appended);
                }
                // The log was cut behind our back, or has forgotten what it knew.
                Ok(Err(Error::Producer(ProducerStateError::OutOfOrder { .. }))) if !again => {
                    numbering.renew(&self.store)?;
                }
                // The log looks at the size before the numbers, and a closed one at neither:
                // whether the batch is there stays unknown.
                Ok(Err(error)) if !(in_doubt && is_about_the_call(&error)) => {
                    return Err(error);
                }
                // A listener panicked, before or after the batch was written: by its numbers the
                // log can tell.
                Err(_) if numbering.is_on() && !again => in_doubt = true,
                Ok(Err(_)) | Err(_) => {
                    numbering.renew(&self.store)?;
                    let error = io::Error::other("a listener panicked meanwhile");
                    return Err(Error::io("append to", Path::new(&*batch.topic()), error));
                }
            }
            again = true;
        }
    }

    /// Makes durable what was appended, with one sync, and says so.
    fn flush_written(
        self: &Arc<Self>,
        queue: &PartitionQueue,
        unflushed: &mut Vec<(Batch, Appended)>,
    ) {
        // The last first: that leaves nothing to do for those before.
        let Some((batch, appended)) = unflushed.last() else { return };
        let all = self.flush_one(batch, appended);
        for (batch, appended) in unflushed.drain(..) {
            let flushed = all.clone().and_then(|()| self.flush_one(&batch, &appended));
            self.complete(queue, batch, flushed.map(|()| appended));
        }
    }

    fn flush_one(&self, batch: &Batch, appended: &Appended) -> Result<(), ProduceError> {
        let flush = || batch.log.flush_through(appended.last);
        // After the panic of a listener it is looked at once more.
        let flushed = callback::call(flush).or_else(|_| callback::call(flush));
        let flushed = flushed.unwrap_or_else(|_| {
            let error = io::Error::other("a listener panicked meanwhile");
            Err(Error::io("flush", Path::new(&*batch.topic()), error))
        });
        match flushed {
            // Closing it has made all of it durable, if that succeeded.
            Err(Error::Closed { .. }) if batch.log.durable_end() > appended.last => Ok(()),
            flushed => flushed.map(drop).map_err(|error| ProduceError::Batch(Arc::new(error))),
        }
    }

    /// Lets the next thread write, after what could not be written was put to the front again.
    fn put_back(self: &Arc<Self>, queue: &Arc<PartitionQueue>, mut work: Work) {
        let retry_at = if work.batches.is_empty() { None } else { work.failing.as_ref() };
        let retry_at = retry_at.map(|failing| failing.retry_at);
        let mut state = queue.state.lock();
        state.numbering = work.numbering;
        state.failing = retry_at.and(work.failing);
        work.batches.append(&mut state.closed);
        state.closed = work.batches;
        state.in_flight.clear();
        state.draining = false;
        drop(state);
        self.drained.notify();
        // Check this after the batches are back in place: a thread that gives up looks for them
        // later.
        if self.is_aborted() {
            self.abort(queue);
        } else if let Some(retry_at) = retry_at
            && ProducerContext::start_thread(self).is_ok()
        {
            self.linger.schedule(retry_at);
        }
    }

    /// Gives up all that waits. Says whether there was anything.
    pub(super) fn abort(self: &Arc<Self>, queue: &Arc<PartitionQueue>) -> bool {
        let mut state = queue.state.lock();
        state.close_open();
        let given_up = std::mem::take(&mut state.closed);
        state.failing = None;
        drop(state);
        let any = !given_up.is_empty();
        for batch in given_up {
            self.complete(queue, batch, Err(ProduceError::Aborted));
        }
        if any {
            self.call_back(queue);
        }
        any
    }

    /// Says what became of a batch, and gives back what it took.
    fn complete(
        &self,
        queue: &PartitionQueue,
        batch: Batch,
        result: Result<Appended, ProduceError>,
    ) {
        let counters = &self.counters;
        let records = batch.builder.len() as u64;
        if let Err(error) = &result {
            counters.errors.fetch_add(records, Ordering::Relaxed);
            if self.hands_over() {
                self.emit(&Event::RecordsLost {
                    topic: queue.topic.to_string(),
                    partition: queue.partition,
                    records,
                    error: error.to_string(),
                });
            }
        } else {
            counters.records.fetch_add(records, Ordering::Relaxed);
            counters.batches.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(batch.builder.size_bytes() as u64, Ordering::Relaxed);
        }
        let Batch { builder, outcome, reserved, part, pending, .. } = batch;
        if !pending.is_empty() {
            queue.deliveries.add(&outcome, Some(&result), pending);
        }
        self.keep(builder);
        match part {
            None => outcome.complete(result),
            Some(part) => outcome.complete_part(part, records as u32, result),
        }
        self.buffer.release(reserved);
    }
}
