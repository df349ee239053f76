//! The batches that wait to be written to one partition.
//!
//! ```text
//!  send ──► open batch ──full, lingered, or waited for──► closed batches ──one drainer──► Log
//! ```

use crate::client::producer::callbacks::{Callback, CallbackQueue, Pending};
use crate::client::producer::context::ProducerContext;
use crate::client::producer::outcome::{Expedite, Outcome, Part, SendResult};
use crate::client::producer::record::RecordSlices;
use crate::client::producer::sequence::SequenceState;
use crate::error::{Error, ProduceError, Result, TopicError};
use crate::log::Log;
use crate::record::BatchBuilder;
use crate::sync::Mutex;
use crate::types::{Timestamp, TimestampType};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The most that a record takes beside its key, value and headers.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 36;
/// The overhead of a record in a batch of its own.
const OVERHEAD_BYTES: u64 = 61 + RECORD_OVERHEAD_BYTES;
/// The overhead of a header of a record.
const HEADER_OVERHEAD_BYTES: u64 = 10;
/// Up to this linger the time at which a batch was begun will do for its records: asking a clock
/// takes longer than encoding a small record.
const NEAR_ENOUGH: Duration = Duration::from_millis(10);

/// The producer that a queue belongs to, as far as a queue needs it.
pub(super) trait QueueOwner: Send + Sync {
    fn context(&self) -> &ProducerContext;

    /// Starts the producer's thread, unless it runs.
    fn start_sender_thread(&self) -> Result<()>;

    /// Adds a queue to the list of those that are not empty. The caller holds its state.
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
    /// Whether a thread is writing. Its batches are in neither of the above.
    pub(super) draining: bool,
    /// The batches that are being written.
    pub(super) in_flight: Vec<Arc<Outcome>>,
    /// Whether a thread or task waits for the open batch.
    pub(super) expedited: bool,
    /// Set while batches fail that are tried again.
    pub(super) failing: Option<Failing>,
    pub(super) sequence: SequenceState,
    /// Whether the producer has it in its list of queues that have something.
    pub(super) listed: bool,
}

/// Why the first batch could not be written, and when it is tried again.
#[derive(Clone)]
pub(super) struct Failing {
    pub(super) cause: Arc<Error>,
    pub(super) retry_at: Duration,
    pub(super) backoff: Duration,
}

pub(super) struct Batch {
    pub(super) builder: BatchBuilder,
    pub(super) outcome: Arc<Outcome>,
    pub(super) log: Log,
    pub(super) begun: Duration,
    pub(super) begun_at: Timestamp,
    /// The room it takes in the buffer.
    pub(super) reserved: u64,
    /// Set if it was split off a larger one.
    pub(super) part: Option<Part>,
    pub(super) limit: usize,
    pub(super) pending: Vec<Pending>,
}

/// The result of adding a record.
pub(super) enum Added<C> {
    Accepted {
        claim: C,
        /// Its place in the batch.
        index: u32,
        /// Its own, or the one it has got.
        timestamp: Timestamp,
        /// The growth of its batch.
        bytes: u64,
        /// Whether its batch takes no more.
        complete: bool,
        /// Whether there is a batch to write now.
        drain: bool,
        /// When the batch has lingered enough, if it was begun with this record.
        due: Option<Duration>,
    },
    /// There is not as much room in the buffer.
    NoRoom(u64),
}

/// The most that a record takes as a batch of its own.
#[inline]
pub(super) fn size_of(record: &RecordSlices<'_>) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
    let size =
        OVERHEAD_BYTES.saturating_add(length(record.key)).saturating_add(length(record.value));
    record.headers.iter().fold(size, |size, header| {
        size.saturating_add(HEADER_OVERHEAD_BYTES)
            .saturating_add(header.name.as_bytes().len() as u64)
            .saturating_add(length(header.value.as_deref()))
    })
}

impl Batch {
    fn fits(&self, bytes: u64) -> bool {
        // The header of the batch is in already.
        let bytes = bytes.saturating_sub(61) as usize;
        self.builder.size_bytes().saturating_add(bytes) <= self.limit
    }

    /// The name of the topic it goes to.
    pub(super) fn topic(&self) -> Arc<str> {
        Arc::clone(self.outcome.topic())
    }

    /// Returns whether the delivery timeout is over.
    pub(super) fn is_expired(&self, context: &ProducerContext, now: Duration) -> bool {
        now.saturating_sub(self.begun) >= context.config.delivery_timeout
    }

    fn is_full(&self) -> bool {
        self.builder.size_bytes() >= self.limit
    }
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
        let Some(failing) = &self.failing else { return false };
        let now = context.clock().monotonic();
        let expired = self.closed.front().is_some_and(|first| first.is_expired(context, now));
        now < failing.retry_at && !expired
    }

    /// When something is to be done.
    pub(super) fn due(&self, linger: Duration, timeout: Duration) -> Option<Duration> {
        if let Some(failing) = &self.failing {
            let first = self.closed.front().or(self.open.as_ref())?;
            return Some(failing.retry_at.min(first.begun.saturating_add(timeout)));
        }
        // The thread that drains also writes batches that need not linger.
        let open = self.open.as_ref().filter(|_| !(self.draining && linger.is_zero()));
        open.map(|open| open.begun.saturating_add(linger))
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
                failing: None,
                sequence,
                listed: false,
            }),
            callbacks: CallbackQueue::default(),
        }
    }

    /// Sets the log that records go to from now on. What was gathered for another stays with
    /// that, and must take along no more.
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
        let before = std::mem::replace(&mut state.log, log.cloned());
        drop(state);
        // Perhaps the last handle to the log, whose files are closed then: not with a lock held.
        drop(before);
    }

    #[cold]
    fn gone(&self) -> Error {
        TopicError::Unknown { topic: self.topic.to_string() }.into()
    }

    /// Ends the linger time of a batch; returns whether batches wait to be written.
    fn end_linger(&self, outcome: &Outcome) -> bool {
        let mut state = self.state.lock();
        let is_open = state.open.as_ref().is_some_and(|open| std::ptr::eq(&*open.outcome, outcome));
        if is_open && state.draining {
            // The thread that drains writes it, too, with the records that join it until then.
            state.expedited = true;
        } else if is_open {
            state.close_open();
        }
        !state.closed.is_empty()
    }

    /// Encodes a record into the open batch. The callback is taken only if the record is.
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
        let Some(log) = &state.log else { return Err(self.gone()) };
        check(record, size, log, context)?;
        if state.open.as_ref().is_some_and(|open| !open.fits(size)) {
            state.close_open();
        }
        let mut due = None;
        if state.open.is_none() {
            let Some(begun) = self.begin(state, context, size)? else {
                return Ok(Added::NoRoom(context.reservation(size)));
            };
            due = Some(begun.saturating_add(context.config.linger));
        }
        let Some(open) = &mut state.open else { return Err(ProduceError::Closed.into()) };
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None if context.config.linger <= NEAR_ENOUGH && state.failing.is_none() => {
                open.begun_at
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

    /// Begins a batch for a record of this size. `None` if there is no room.
    #[cold]
    fn begin(
        self: &Arc<Self>,
        state: &mut QueueState,
        context: &ProducerContext,
        size: u64,
    ) -> Result<Option<Duration>> {
        let owner = || self.owner.upgrade().ok_or(ProduceError::Closed);
        if !context.config.linger.is_zero() && !context.sender_thread.is_started() {
            owner()?.start_sender_thread()?;
        }
        let Some(log) = &state.log else { return Err(self.gone()) };
        let (log, limit) = (log.clone(), limit(log, context));
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
        let begun = context.clock().monotonic();
        state.open = Some(Batch {
            builder: context.spare_builder(),
            outcome: self.new_outcome(context),
            log,
            begun,
            begun_at: context.clock().now(),
            reserved,
            part: None,
            limit,
            pending: Vec::new(),
        });
        Ok(Some(begun))
    }
}

impl Expedite for PartitionQueue {
    fn expedite(self: Arc<Self>, outcome: &Outcome, timeout: Option<Duration>) -> bool {
        let Some(owner) = self.owner.upgrade() else { return false };
        self.end_linger(outcome);
        owner.drain(&self);
        drop(self);
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

/// The queue goes with the last thread that could write from it. From then on nothing of this
/// producer can be resent, so its log need not remember it.
impl Drop for PartitionQueue {
    fn drop(&mut self) {
        let state = self.state.lock();
        if let Some(log) = &state.log {
            state.sequence.forget_in(log);
        }
    }
}

/// The most bytes of a batch before compression: so much that the log takes it, however it is
/// compressed.
pub(super) fn limit(log: &Log, context: &ProducerContext) -> usize {
    let live = &log.dynamic_config();
    let largest = live.max_message_bytes().min(live.segment_bytes());
    // What does not compress grows a little.
    let largest = largest.saturating_sub(largest / 64).saturating_sub(128);
    context.config.batch_bytes.min(usize::try_from(largest).unwrap_or(usize::MAX))
}

/// Whether the log would take the record. What it would refuse must not spoil a batch with others.
#[inline]
fn check(record: &RecordSlices<'_>, size: u64, log: &Log, context: &ProducerContext) -> Result<()> {
    let rules = &log.dynamic_config().rules(Timestamp::NONE);
    rules.check_key(0, record.key)?;
    if let Some(timestamp) = record.timestamp
        && rules.timestamp_type == TimestampType::CreateTime
    {
        check_time(rules, timestamp, context)?;
    }
    let limit = context.config.max_request_bytes;
    if size > limit {
        let option = "max_request_bytes";
        return Err(ProduceError::RecordTooLarge { bytes: size, limit, option }.into());
    }
    let limit = context.config.buffer_bytes;
    if size > limit {
        let option = "buffer_bytes";
        return Err(ProduceError::RecordTooLarge { bytes: size, limit, option }.into());
    }
    Ok(())
}

fn check_time(
    rules: &crate::record::AppendRules,
    timestamp: Timestamp,
    context: &ProducerContext,
) -> Result<()> {
    let rules = crate::record::AppendRules { now: context.clock().now(), ..*rules };
    rules.check_time(0, timestamp)
}
