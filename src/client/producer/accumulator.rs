//! Collecting records into batches: the queue of one partition.
//!
//! ```text
//!  send ──► open batch ──full, lingered, or waited for──► closed batches ──one thread──► Log
//! ```

use crate::client::producer::batch::{Batch, check_record, max_batch_bytes, size_of};
use crate::client::producer::callbacks::{Callback, CallbackQueue, Pending};
use crate::client::producer::context::ProducerContext;
use crate::client::producer::outcome::{Expedite, Outcome, SendResult};
use crate::client::producer::record::RecordSlices;
use crate::client::producer::sequence::SequenceState;
use crate::client::producer::thread_marks;
use crate::error::{Error, ProduceError, Result, TopicError};
use crate::log::Log;
use crate::sync::Mutex;
use crate::types::{ProducerIdentity, Timestamp, TopicPartition};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Up to this linger time, records without a timestamp get the time at which their batch was
/// created: reading a clock takes longer than encoding a small record.
const SHARED_TIME_LINGER: Duration = Duration::from_millis(10);

/// The part of a producer that its queues call.
pub(super) trait QueueOwner: Send + Sync {
    fn context(&self) -> &ProducerContext;

    /// Starts the producer's thread, unless it runs.
    fn start_sender_thread(&self) -> Result<()>;

    /// Adds a queue to the list of queues that are not empty. The caller holds the queue's lock.
    fn list(&self, queue: &Arc<PartitionQueue>) -> Result<()>;

    /// Writes the batches of a queue that are due, unless another thread is writing them.
    fn drain(&self, queue: &Arc<PartitionQueue>);
}

/// The batches of a producer for one partition.
pub(super) struct PartitionQueue {
    owner: Weak<dyn QueueOwner>,
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    /// Held for a moment, never across I/O or a call of user-supplied code. Taken before the list
    /// of queues and the spare builders.
    pub(super) state: Mutex<QueueState>,
    /// The callbacks that are due.
    pub(super) callbacks: CallbackQueue,
}

pub(super) struct QueueState {
    /// `None` once the topic was deleted, or has fewer partitions.
    pub(super) log: Option<Log>,
    pub(super) open: Option<Batch>,
    pub(super) closed: VecDeque<Batch>,
    /// Whether a thread is writing. Its batches are neither open nor closed.
    pub(super) draining: bool,
    /// The batches that are being written.
    pub(super) in_flight: Vec<Arc<Outcome>>,
    /// Whether a thread or task waits for the open batch.
    pub(super) expedited: bool,
    /// Set while the first batch has failed and waits for its retry.
    pub(super) retry: Option<Retry>,
    pub(super) sequence: SequenceState,
    /// Whether the queue is in the producer's list of queues that are not empty.
    pub(super) listed: bool,
}

/// The next retry of the first batch, and the error that it failed with.
#[derive(Clone)]
pub(super) struct Retry {
    pub(super) cause: Arc<Error>,
    pub(super) at: Duration,
    pub(super) backoff: Duration,
}

/// The result of adding a record.
pub(super) enum Added<C> {
    Accepted {
        claim: C,
        /// The index of the record in its batch.
        index: u32,
        /// Its own timestamp, or the one that it was given.
        timestamp: Timestamp,
        /// The bytes by which its batch has grown.
        bytes: u64,
        /// Whether its batch is complete.
        complete: bool,
        /// Whether a batch is to be written now.
        drain: bool,
        /// The end of the linger time, if the record is the first of its batch.
        due: Option<Duration>,
    },
    /// The buffer has no room for this many bytes.
    NoRoom(u64),
}

impl QueueState {
    pub(super) fn close_open(&mut self) {
        self.closed.extend(self.open.take());
        self.expedited = false;
    }

    /// Returns whether there is nothing to write, and nothing being written.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.closed.is_empty() && !self.draining
    }

    /// Adds the outcomes of all batches that are not known to be written or to have failed.
    pub(super) fn outcomes(&self, found: &mut Vec<Arc<Outcome>>) {
        let waiting = self.closed.iter().chain(&self.open).map(|batch| &batch.outcome);
        found.extend(self.in_flight.iter().chain(waiting).cloned());
    }

    /// Returns whether failed batches wait for their retry, and none is past its delivery
    /// timeout.
    pub(super) fn is_too_early(&self, context: &ProducerContext) -> bool {
        let Some(retry) = &self.retry else { return false };
        let now = context.clock().monotonic();
        let expired = self.closed.front().is_some_and(|first| first.is_expired(context, now));
        now < retry.at && !expired
    }

    /// Returns when there is work: a retry, a delivery timeout, or the end of a linger time.
    pub(super) fn due(&self, linger: Duration, timeout: Duration) -> Option<Duration> {
        if let Some(retry) = &self.retry {
            let first = self.closed.front().or(self.open.as_ref())?;
            return Some(retry.at.min(first.created.saturating_add(timeout)));
        }
        // Without linger time, the thread that is writing also takes the open batch.
        let open = self.open.as_ref().filter(|_| !(self.draining && linger.is_zero()));
        open.map(|open| open.created.saturating_add(linger))
    }
}

impl PartitionQueue {
    pub(super) fn new(
        owner: Weak<dyn QueueOwner>,
        topic: Arc<str>,
        partition: u32,
        log: Option<Log>,
        sequence: SequenceState,
    ) -> PartitionQueue {
        PartitionQueue {
            owner,
            topic,
            partition,
            state: Mutex::new(QueueState {
                log,
                open: None,
                closed: VecDeque::new(),
                draining: false,
                in_flight: Vec::new(),
                expedited: false,
                retry: None,
                sequence,
                listed: false,
            }),
            callbacks: CallbackQueue::default(),
        }
    }

    pub(super) fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic: Arc::clone(&self.topic), partition: self.partition }
    }

    /// Returns the log of the next batch, if that is the first one of this transaction and no
    /// thread is writing.
    pub(super) fn first_log_of(&self, transaction: u64, who: ProducerIdentity) -> Option<Log> {
        let state = self.state.lock();
        let first = state.closed.front().or(state.open.as_ref())?;
        let is_first = !state.draining && !state.sequence.has_begun(who);
        (is_first && first.transaction == transaction).then(|| first.log.clone())
    }

    /// Sets the log for the next records. Batches with records for the previous log stay with it:
    /// the open one is closed, so that no record for the new log joins it.
    pub(super) fn set_log(&self, log: Option<&Log>, context: &ProducerContext) {
        let mut state = self.state.lock();
        let is_same = match (&state.log, log) {
            (Some(old), Some(new)) => old.is_same_log(new),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        if state.open.is_some() {
            state.close_open();
            context.sender_thread.schedule(Duration::ZERO);
        }
        let previous = std::mem::replace(&mut state.log, log.cloned());
        drop(state);
        // This may be the last handle to the log, and closes its files: hold no lock.
        drop(previous);
    }

    #[cold]
    fn unknown_topic(&self) -> Error {
        TopicError::Unknown { topic: self.topic.to_string() }.into()
    }

    /// Ends the linger time of a batch; returns whether batches wait to be written.
    fn end_linger(&self, outcome: &Outcome) -> bool {
        let mut state = self.state.lock();
        let is_open = state.open.as_ref().is_some_and(|open| std::ptr::eq(&*open.outcome, outcome));
        if is_open && state.draining {
            // The thread that is writing takes it next, with the records that join it until then.
            state.expedited = true;
        } else if is_open {
            state.close_open();
        }
        !state.closed.is_empty()
    }

    /// Encodes a record into the open batch. Takes the callback only if it accepts the record.
    #[inline]
    pub(super) fn add<R: SendResult>(
        self: &Arc<Self>,
        context: &ProducerContext,
        record: &RecordSlices<'_>,
        callback: &mut Option<Callback>,
    ) -> Result<Added<R::Claim>> {
        let size = size_of(record);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if context.is_closed() {
            return Err(ProduceError::Closed.into());
        }
        if let Some(transactions) = &context.transactions {
            transactions.check_send()?;
        }
        let Some(log) = &state.log else { return Err(self.unknown_topic()) };
        check_record(record, size, log, context)?;
        if state.open.as_ref().is_some_and(|open| !open.fits(size)) {
            state.close_open();
        }
        let mut due = None;
        if state.open.is_none() {
            let Some(created) = self.open_batch(state, context, size)? else {
                return Ok(Added::NoRoom(context.reservation(size)));
            };
            due = Some(created.saturating_add(context.config.linger));
        }
        let Some(open) = &mut state.open else { return Err(ProduceError::Closed.into()) };
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None if context.config.linger <= SHARED_TIME_LINGER && state.retry.is_none() => {
                open.created_at
            }
            None => context.clock().now(),
        };
        let before = open.builder.size_bytes();
        let index = open.builder.len() as u32;
        if record.headers.is_empty() {
            open.builder.push(timestamp, record.key, record.value)?;
        } else {
            let headers = record.headers;
            open.builder.push_with_headers(timestamp, record.key, record.value, headers)?;
        }
        let awaited = callback.is_some() || context.has_interceptors();
        if awaited {
            let pending = Pending { index, timestamp, callback: callback.take() };
            if context.acks_none() {
                self.callbacks.add(&open.outcome, None, vec![pending]);
            } else {
                open.pending.push(pending);
            }
        }
        let bytes = open.builder.size_bytes().saturating_sub(before) as u64;
        let complete = open.is_full();
        let claim = R::claim(&open.outcome);
        if complete {
            state.close_open();
        }
        let now = context.config.linger.is_zero();
        let drain = !state.draining && (now || !state.closed.is_empty());
        let complete = complete || now;
        Ok(Added::Accepted { claim, index, timestamp, bytes, complete, drain, due })
    }

    fn new_outcome(self: &Arc<Self>, context: &ProducerContext) -> Arc<Outcome> {
        let queue: Weak<PartitionQueue> = Arc::downgrade(self);
        Arc::new(Outcome::new(queue, &self.topic, self.partition, context.acks_none()))
    }

    /// Opens a batch for a record of this size, and returns the time; `None` if the buffer has no
    /// room.
    #[cold]
    fn open_batch(
        self: &Arc<Self>,
        state: &mut QueueState,
        context: &ProducerContext,
        size: u64,
    ) -> Result<Option<Duration>> {
        let owner = || self.owner.upgrade().ok_or(ProduceError::Closed);
        if !context.config.linger.is_zero() && !context.sender_thread.is_started() {
            owner()?.start_sender_thread()?;
        }
        let Some(log) = &state.log else { return Err(self.unknown_topic()) };
        let (log, limit) = (log.clone(), max_batch_bytes(log, context));
        let reserved = context.reservation(size);
        if !context.buffer.reserve(reserved) {
            return Ok(None);
        }
        if !state.listed {
            if let Err(closed) = owner()?.list(self) {
                context.buffer.release(reserved);
                return Err(closed);
            }
            state.listed = true;
        }
        let created = context.clock().monotonic();
        state.open = Some(Batch {
            builder: context.spare_builder(),
            outcome: self.new_outcome(context),
            log,
            created,
            created_at: context.clock().now(),
            reserved,
            // After the queue is listed: no thread ends the transaction before it has this lock.
            transaction: context.transactions.as_ref().map_or(0, |state| state.number()),
            part: None,
            limit,
            pending: Vec::new(),
        });
        Ok(Some(created))
    }
}

impl Expedite for PartitionQueue {
    fn expedite(self: Arc<Self>, outcome: &Outcome, timeout: Option<Duration>) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        self.end_linger(outcome);
        owner.drain(&self);
        drop(self);
        if timeout.is_none() && thread_marks::is_writing() {
            return true;
        }
        outcome.done().wait(timeout, owner.context().clock(), || outcome.is_done());
        true
    }

    fn expedite_in_background(self: Arc<Self>, outcome: &Outcome) -> Result<()> {
        let Some(owner) = self.owner.upgrade() else { return Ok(()) };
        owner.start_sender_thread()?;
        if self.end_linger(outcome) {
            owner.context().sender_thread.schedule(Duration::ZERO);
        }
        Ok(())
    }
}

/// The last thread that could write from the queue drops it. From then on no batch of this
/// producer can be resent, so its log need not remember the producer.
impl Drop for PartitionQueue {
    fn drop(&mut self) {
        let state = self.state.lock();
        if let Some(log) = &state.log {
            state.sequence.forget_in(log);
        }
    }
}
