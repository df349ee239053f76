//! The state that all handles of a producer share.
//!
//! Lock order: `TopicEntry::logs` or `TopicEntry::sticky`, then the state of a queue, then the
//! list of queues. All others are leaves. None is held while a log is written to, or
//! user-supplied code is called.

use crate::callback;
use crate::client::producer::accumulator::{Added, PartitionQueue};
use crate::client::producer::buffer::Buffer;
use crate::client::producer::callback_thread::CallbackThread;
use crate::client::producer::callbacks::{self, Callback};
use crate::client::producer::config::{Acks, ProducerConfig};
use crate::client::producer::record::{ProducerRecord, RecordSlices};
use crate::client::producer::send_handle::{Outcome, SendResult};
use crate::client::producer::sender_thread::SenderThread;
use crate::client::producer::sequence::SequenceState;
use crate::client::producer::thread_marks;
use crate::client::producer::topic_cache::{TopicEntry, Topics};
use crate::clock::Clock;
use crate::error::{ProduceError, Result};
use crate::event::{Event, EventSink};
use crate::notify::Notify;
use crate::record::BatchBuilder;
use crate::store::topics::Store;
use crate::store::watchers::TopicWatcher;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::types::FIRST_STORE_PRODUCER_ID;
use std::sync::Arc;
use std::time::Duration;

/// How many builders are kept for their memory.
const SPARES: usize = 16;
/// A builder with more than this is not.
const SPARE_BYTES: usize = 1 << 20;

pub(super) struct ProducerContext {
    pub(super) store: Store,
    pub(super) config: ProducerConfig,
    clock: Arc<dyn Clock>,
    pub(super) topics: Topics,
    pub(super) buffer: Buffer,
    pub(super) linger: SenderThread,
    pub(super) callbacks: CallbackThread,
    /// The first epoch and sequence number for a new partition.
    pub(super) numbering: SequenceState,
    pub(super) seed: u64,
    /// Set with `listed` held.
    closed: AtomicBool,
    /// Set when batches that cannot be written are not retried any more.
    aborted: AtomicBool,
    /// The queues that have something, and perhaps some that had.
    listed: Mutex<Vec<Arc<PartitionQueue>>>,
    /// Raised when a thread has done with writing to a partition.
    pub(super) drained: Notify,
    /// Leaf lock.
    spares: Mutex<Vec<BatchBuilder>>,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) errors: AtomicU64,
}

impl TopicWatcher for ProducerContext {
    fn topic_deleted(&self, topic: &str) {
        self.topics.forget(topic, self);
        self.unlist();
    }
}

impl ProducerContext {
    pub(super) fn new(store: Store, config: ProducerConfig) -> Result<ProducerContext> {
        let id = store.new_producer_id()?;
        let clock = Arc::clone(store.clock());
        Ok(ProducerContext {
            store,
            clock,
            topics: Topics::new(),
            buffer: Buffer::new(config.buffer_bytes),
            linger: SenderThread::new(),
            callbacks: CallbackThread::default(),
            numbering: if config.idempotence { SequenceState::of(id) } else { SequenceState::NONE },
            seed: (id ^ FIRST_STORE_PRODUCER_ID).cast_unsigned().rotate_left(32),
            closed: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            listed: Mutex::default(),
            drained: Notify::default(),
            spares: Mutex::default(),
            counters: Counters::default(),
            config,
        })
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Where events of logs go.
    pub(super) fn events(&self) -> &EventSink {
        self.store.events()
    }

    pub(super) fn hands_over(&self) -> bool {
        self.config.acks == Acks::None
    }

    #[inline]
    pub(super) fn has_interceptors(&self) -> bool {
        !self.config.interceptors.is_empty()
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    /// What a batch takes of the buffer that begins with a record of this size.
    pub(super) fn room_for(&self, size: u64) -> u64 {
        size.max(self.config.batch_bytes as u64)
    }

    /// Tells the listener of the store. It may panic: it has said what it had to say.
    pub(super) fn emit(&self, event: &Event) {
        if let Some(listener) = &self.store.log_defaults().listener {
            callback::call(|| listener.on_event(event)).ok();
        }
    }

    pub(super) fn spare_builder(&self) -> BatchBuilder {
        self.spares.lock().pop().unwrap_or_default()
    }

    pub(super) fn keep(&self, mut builder: BatchBuilder) {
        if builder.size_bytes() <= SPARE_BYTES {
            builder.clear();
            let mut spares = self.spares.lock();
            if spares.len() < SPARES {
                spares.push(builder);
            }
        }
    }

    /// Takes note that a queue has something. The caller holds its state.
    pub(super) fn list(&self, queue: &Arc<PartitionQueue>) -> Result<()> {
        let mut listed = self.listed.lock();
        if self.is_closed() {
            return Err(ProduceError::Closed.into());
        }
        listed.push(Arc::clone(queue));
        Ok(())
    }

    pub(super) fn listed(&self) -> Vec<Arc<PartitionQueue>> {
        self.listed.lock().clone()
    }

    /// Removes the queues that are idle from the list.
    fn unlist(&self) {
        self.listed.lock().retain(|queue| {
            // Another thread that holds it is adding a record.
            let Some(mut state) = queue.state.try_lock() else { return true };
            state.listed = !state.is_idle() || !queue.deliveries.is_idle();
            state.listed
        });
    }

    #[inline]
    pub(super) fn send<R: SendResult>(
        self: &Arc<Self>,
        mut record: ProducerRecord,
        mut callback: Option<Callback>,
    ) -> Result<R> {
        if self.has_interceptors() {
            record = callbacks::intercept(self, record);
        }
        let lent = RecordSlices::from(&record.record);
        self.topics.with(&record.topic, self, |topic| {
            self.send_to(topic, record.partition, &lent, &mut callback)
        })
    }

    /// Sends what interceptors have seen.
    #[inline]
    pub(super) fn send_to<R: SendResult>(
        self: &Arc<Self>,
        topic: &TopicEntry,
        partition: Option<u32>,
        record: &RecordSlices<'_>,
        callback: &mut Option<Callback>,
    ) -> Result<Option<R>> {
        let mut deadline = None;
        loop {
            if !topic.look_up(self)? {
                return Ok(None);
            }
            let mut choice = topic.choose(partition, record, self)?;
            match choice.queue.add::<R>(self, record, callback)? {
                Added::Accepted { claim, index, timestamp, bytes, complete, drain, due } => {
                    if let Some(sticky) = &mut choice.sticky {
                        sticky.note(bytes, complete);
                    }
                    drop(choice.sticky);
                    if let Some(due) = due
                        && !self.config.linger.is_zero()
                    {
                        self.linger.schedule(due);
                    }
                    if drain {
                        self.drain(choice.queue);
                    }
                    if self.hands_over() {
                        self.call_back(choice.queue);
                    }
                    return Ok(Some(R::of(claim, index, timestamp)));
                }
                Added::NoRoom(bytes) => {
                    drop(choice.sticky);
                    self.make_room(bytes, choice.queue, &mut deadline)?;
                }
            }
        }
    }

    /// Waits until there is as much room, but not beyond the deadline. Writes rather than waits
    /// where it can.
    #[cold]
    fn make_room(
        self: &Arc<Self>,
        bytes: u64,
        queue: &PartitionQueue,
        deadline: &mut Option<Duration>,
    ) -> Result<()> {
        let now = self.clock.monotonic();
        let deadline = *deadline.get_or_insert(now.saturating_add(self.config.max_block));
        self.close_and_drain_all();
        let left = deadline.saturating_sub(now);
        let has_room = || self.buffer.has_room(bytes) || self.is_closed();
        if self.buffer.freed().wait(Some(left), self.clock(), has_room) {
            return Ok(());
        }
        let cause = queue.state.lock().failing.as_ref().map(|failing| Arc::clone(&failing.cause));
        let (waited, buffer_bytes) = (self.config.max_block, self.config.buffer_bytes);
        Err(ProduceError::BufferFull { waited, buffer_bytes, cause }.into())
    }

    fn close_and_drain_all(self: &Arc<Self>) {
        for queue in self.listed() {
            queue.state.lock().close_open();
            self.drain(&queue);
        }
    }

    /// Does what is due, and says how long it is until something is, and whether others were at
    /// it.
    pub(super) fn poll(self: &Arc<Self>) -> (Option<Duration>, bool) {
        self.linger.reset();
        let mut met_others = false;
        let (linger, timeout) = (self.config.linger, self.config.delivery_timeout);
        let mut next: Option<Duration> = None;
        let queues = self.listed();
        for queue in &queues {
            let now = self.clock.monotonic();
            let mut state = queue.state.lock();
            let lingered =
                |begun: Duration| state.failing.is_none() && begun.saturating_add(linger) <= now;
            if state.hurried || state.open.as_ref().is_some_and(|open| lingered(open.begun)) {
                state.close_open();
            }
            drop(state);
            self.drain_without_callbacks(queue);
            let state = queue.state.lock();
            met_others |= state.draining;
            if let Some(due) = state.due(linger, timeout) {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        self.unlist();
        if let Some(next) = next {
            self.linger.schedule(next);
        }
        // Not before the time is set again at which the thread has something to do: a callback
        // may wait for just that.
        queues.iter().for_each(|queue| self.call_back(queue));
        (next.map(|next| next.saturating_sub(self.clock.monotonic())), met_others)
    }

    /// Waits for the threads that are writing or calling back now.
    pub(super) fn wait_for_others(&self) {
        if thread_marks::is_writing() {
            return;
        }
        for queue in self.listed() {
            self.drained.wait(None, self.clock(), || !queue.state.lock().draining);
            queue.deliveries.wait(None, self);
        }
    }

    /// Writes all there is, and waits until it is known what became of it. False when time ran
    /// out first.
    pub(super) fn flush(self: &Arc<Self>, timeout: Option<Duration>) -> Result<bool> {
        let deadline = timeout.map(|timeout| self.clock.monotonic().saturating_add(timeout));
        let left = || deadline.map(|deadline| deadline.saturating_sub(self.clock.monotonic()));
        let queues = self.listed();
        let mut waiting: Vec<Arc<Outcome>> = Vec::new();
        for queue in &queues {
            let mut state = queue.state.lock();
            state.close_open();
            state.outcomes(&mut waiting);
            drop(state);
            self.drain(queue);
        }
        for outcome in &waiting {
            if !outcome.done().wait(left(), self.clock(), || outcome.is_done()) {
                return Ok(false);
            }
        }
        for queue in &queues {
            if !queue.deliveries.wait(left(), self) {
                return Ok(false);
            }
        }
        match waiting.iter().find_map(|outcome| outcome.error()) {
            Some(error) => Err(error.clone().into()),
            None => Ok(true),
        }
    }

    /// Takes no more records. False when it was so already.
    pub(super) fn shut(&self) -> bool {
        let _listed = self.listed.lock();
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Gives up what is not written after one more try, and ends the threads. Says whether all
    /// was written.
    ///
    /// If `in_time`, waits for the threads that are writing, and for those of the producer.
    /// Without it there is no more try, and what becomes of batches that other threads are
    /// writing is told by these.
    pub(super) fn end(self: &Arc<Self>, in_time: bool) -> bool {
        for queue in self.listed() {
            queue.state.lock().close_open();
            if thread_marks::is_writing() {
                // Called by a listener or a waker, while this thread writes.
                self.drain(&queue);
            } else if in_time {
                self.drain_last(&queue);
            }
        }
        self.aborted.store(true, Ordering::Release);
        let mut all = true;
        for queue in self.listed() {
            all &= !self.abort(&queue) && !queue.state.lock().draining;
        }
        self.linger.stop(in_time);
        self.callbacks.stop(in_time);
        all
    }
}
