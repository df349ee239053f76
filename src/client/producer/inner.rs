//! The queues and topics of a producer, and what it does with all of them: send, poll, flush, end.

use crate::client::producer::accumulator::{Added, PartitionQueue, QueueOwner};
use crate::client::producer::callback_thread::CallbackThread;
use crate::client::producer::callbacks::{self, Callback};
use crate::client::producer::config::ProducerConfig;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::outcome::{Outcome, SendResult};
use crate::client::producer::record::{ProducerRecord, RecordSlices};
use crate::client::producer::thread_marks;
use crate::client::producer::topic_cache::TopicCache;
use crate::client::producer::topic_entry::TopicEntry;
use crate::error::{ProduceError, Result};
use crate::notify::Notify;
use crate::store::topics::Store;
use crate::store::watchers::TopicWatcher;
use crate::sync::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The state that all handles of a producer share.
///
/// Lock order: `TopicEntry::logs` or `TopicEntry::sticky`, then the state of a queue, then the
/// list of queues. All others are leaves. None is held while a log is written to, or
/// user-supplied code is called.
pub(super) struct ProducerInner {
    /// A handle to itself, for the threads that it starts.
    pub(super) this: Weak<ProducerInner>,
    pub(super) context: ProducerContext,
    pub(super) topics: TopicCache,
    /// The queues that are not empty, and perhaps some that are.
    pub(super) listed: Mutex<Vec<Arc<PartitionQueue>>>,
    /// Notified when a thread stops writing to a partition.
    pub(super) drained: Notify,
    pub(super) callback_thread: CallbackThread,
}

impl TopicWatcher for ProducerInner {
    fn topic_deleted(&self, topic: &str) {
        self.topics.remove(topic, &self.context);
        self.unlist();
    }
}

impl ProducerInner {
    pub(super) fn new(store: Store, config: ProducerConfig) -> Result<Arc<ProducerInner>> {
        let context = ProducerContext::new(store, config)?;
        Ok(Arc::new_cyclic(|this: &Weak<ProducerInner>| ProducerInner {
            this: Weak::clone(this),
            context,
            topics: TopicCache::new(Weak::<ProducerInner>::clone(this)),
            listed: Mutex::default(),
            drained: Notify::default(),
            callback_thread: CallbackThread::default(),
        }))
    }

    pub(super) fn listed(&self) -> Vec<Arc<PartitionQueue>> {
        self.listed.lock().clone()
    }

    /// Removes the queues that are idle from the list.
    fn unlist(&self) {
        self.listed.lock().retain(|queue| {
            // Another thread that holds the state is adding a record.
            let Some(mut state) = queue.state.try_lock() else { return true };
            state.listed = !state.is_idle() || !queue.callbacks.is_idle();
            state.listed
        });
    }

    #[inline]
    pub(super) fn send<R: SendResult>(
        &self,
        mut record: ProducerRecord,
        mut callback: Option<Callback>,
    ) -> Result<R> {
        if self.context.has_interceptors() {
            record = callbacks::intercept(&self.context, record);
        }
        let slices = RecordSlices::from(&record.record);
        self.topics.with(&record.topic, &self.context, |topic| {
            self.send_to(topic, record.partition, &slices, &mut callback)
        })
    }

    /// Sends a record that has passed the interceptors. Returns `None` if the entry of the topic
    /// was retired.
    #[inline]
    pub(super) fn send_to<R: SendResult>(
        &self,
        topic: &TopicEntry,
        partition: Option<u32>,
        record: &RecordSlices<'_>,
        callback: &mut Option<Callback>,
    ) -> Result<Option<R>> {
        let mut deadline = None;
        loop {
            if !topic.look_up(&self.context)? {
                return Ok(None);
            }
            let mut choice = topic.choose(partition, record, &self.context)?;
            match choice.queue.add::<R>(&self.context, record, callback)? {
                Added::Accepted { claim, index, timestamp, bytes, complete, drain, due } => {
                    if let Some(sticky) = &mut choice.sticky {
                        sticky.record_added(bytes, complete);
                    }
                    drop(choice.sticky);
                    if let Some(due) = due
                        && !self.context.config.linger.is_zero()
                    {
                        self.context.sender_thread.schedule(due);
                    }
                    if drain {
                        self.drain(choice.queue);
                    }
                    if self.context.acks_none() {
                        self.call_back(choice.queue);
                    }
                    return Ok(Some(R::new(claim, index, timestamp)));
                }
                Added::NoRoom(bytes) => {
                    drop(choice.sticky);
                    self.make_room(bytes, choice.queue, &mut deadline)?;
                }
            }
        }
    }

    /// Writes what is listed, then waits until the buffer has room, up to the deadline.
    #[cold]
    fn make_room(
        &self,
        bytes: u64,
        queue: &PartitionQueue,
        deadline: &mut Option<Duration>,
    ) -> Result<()> {
        let context = &self.context;
        let now = context.clock().monotonic();
        let deadline = *deadline.get_or_insert(now.saturating_add(context.config.max_block));
        self.close_and_drain_all();
        let left = deadline.saturating_sub(now);
        let has_room = || context.buffer.has_room(bytes) || context.is_closed();
        if context.buffer.freed().wait(Some(left), context.clock(), has_room) {
            return Ok(());
        }
        let cause = queue.state.lock().retry.as_ref().map(|retry| Arc::clone(&retry.cause));
        let (waited, buffer_bytes) = (context.config.max_block, context.config.buffer_bytes);
        Err(ProduceError::BufferFull { waited, buffer_bytes, cause }.into())
    }

    fn close_and_drain_all(&self) {
        for queue in self.listed() {
            queue.state.lock().close_open();
            self.drain(&queue);
        }
    }

    /// Does the work that is due. Returns the time until more is due, and whether another thread
    /// was writing meanwhile.
    pub(super) fn poll(&self) -> (Option<Duration>, bool) {
        let context = &self.context;
        context.sender_thread.reset();
        let mut met_others = false;
        let (linger, timeout) = (context.config.linger, context.config.delivery_timeout);
        let mut next: Option<Duration> = None;
        let queues = self.listed();
        for queue in &queues {
            let now = context.clock().monotonic();
            let mut state = queue.state.lock();
            let lingered =
                |created: Duration| state.retry.is_none() && created.saturating_add(linger) <= now;
            if state.expedited || state.open.as_ref().is_some_and(|open| lingered(open.created)) {
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
            context.sender_thread.schedule(next);
        }
        // Call back only after the thread's next work is scheduled: a callback may wait for that
        // work.
        queues.iter().for_each(|queue| self.call_back(queue));
        (next.map(|next| next.saturating_sub(context.clock().monotonic())), met_others)
    }

    /// Waits for the threads that are writing or calling back now.
    pub(super) fn wait_for_others(&self) {
        if thread_marks::is_writing() {
            return;
        }
        for queue in self.listed() {
            self.wait_for_writer(&queue);
            queue.callbacks.wait(None, &self.context);
        }
    }

    /// Writes all batches, and waits until their results are known and their callbacks called.
    /// Returns false if the time was over first, or if this thread itself is writing, and a
    /// listener or waker that it calls would wait for it.
    pub(super) fn flush(&self, timeout: Option<Duration>) -> Result<bool> {
        let clock = self.context.clock();
        let deadline = timeout.map(|timeout| clock.monotonic().saturating_add(timeout));
        let left = || deadline.map(|deadline| deadline.saturating_sub(clock.monotonic()));
        let queues = self.listed();
        self.admit_all(&queues);
        let mut waiting: Vec<Arc<Outcome>> = Vec::new();
        for queue in &queues {
            let mut state = queue.state.lock();
            state.close_open();
            state.outcomes(&mut waiting);
            drop(state);
            self.drain(queue);
        }
        let may_wait = !thread_marks::is_writing();
        for outcome in &waiting {
            let is_done = || outcome.is_done();
            let ended = is_done() || (may_wait && outcome.done().wait(left(), clock, is_done));
            if !ended {
                return Ok(false);
            }
        }
        for queue in &queues {
            if !may_wait && !queue.callbacks.is_idle() {
                return Ok(false);
            }
            if !queue.callbacks.wait(left(), &self.context) {
                return Ok(false);
            }
        }
        match waiting.iter().find_map(|outcome| outcome.error()) {
            Some(error) => Err(error.clone().into()),
            None => Ok(true),
        }
    }

    /// Adds the partitions with waiting records to the open transaction.
    fn admit_all(&self, queues: &[Arc<PartitionQueue>]) {
        let Some(transactions) = &self.context.transactions else { return };
        let number = transactions.number();
        let Some(who) = transactions.writer(number) else { return };
        let first = |queue: &Arc<PartitionQueue>| {
            queue.first_log_of(number, who).map(|log| (queue.topic_partition(), log))
        };
        let first: Vec<_> = queues.iter().filter_map(first).collect();
        if !first.is_empty() {
            transactions.admit_all(number, first);
        }
    }

    /// Rejects records from now on. Returns false if the producer was closed already.
    pub(super) fn close(&self) -> bool {
        let _listed = self.listed.lock();
        self.context.set_closed()
    }

    /// Tries once more to write all records, fails those that cannot be written, and ends the
    /// threads. Returns whether all records were written.
    ///
    /// If `in_time`, waits for the threads that are writing, and for the producer's own threads.
    /// Otherwise it does not try again, and the threads that are writing set the results of their
    /// batches.
    pub(super) fn end(&self, in_time: bool) -> bool {
        for queue in self.listed() {
            queue.state.lock().close_open();
            if thread_marks::is_writing() {
                // Called by a listener or a waker, while this thread writes.
                self.drain(&queue);
            } else if in_time {
                self.drain_last(&queue);
            }
        }
        self.context.set_aborted();
        let mut all = true;
        for queue in self.listed() {
            all &= !self.abort(&queue, &ProduceError::Aborted) && !queue.state.lock().draining;
        }
        self.context.sender_thread.stop(in_time);
        self.callback_thread.stop(in_time);
        all
    }
}
