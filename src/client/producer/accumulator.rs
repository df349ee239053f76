//! The batches that wait to be written to one partition.
//!
//! ```text
//!  send ──► open batch ──full, lingered, or waited for──► closed batches ──one drainer──► Log
//! ```

use crate::client::producer::callbacks::{Callback, CallbackQueue, Pending};
use crate::client::producer::context::ProducerContext;
use crate::client::producer::record::RecordSlices;
use crate::client::producer::send_handle::{Outcome, SendResult};
use crate::client::producer::sequence::SequenceState;
use crate::client::producer::split::Part;
use crate::error::{Error, ProduceError, Result, TopicError};
use crate::log::Log;
use crate::record::BatchBuilder;
use crate::sync::Mutex;
use crate::types::{Timestamp, TimestampType};
use std::collections::VecDeque;
use std::sync::Arc;
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

/// The batches of a producer for one partition.
pub(super) struct PartitionQueue {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    /// Held for a moment, never across I/O or a call of user-supplied code. Taken before `Listed`
    /// and the spare builders.
    pub(super) state: Mutex<QueueState>,
    /// CallbackThread that are due.
    pub(super) deliveries: CallbackQueue,
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
    pub(super) hurried: bool,
    /// Set while batches fail that are tried again.
    pub(super) failing: Option<Failing>,
    pub(super) numbering: SequenceState,
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

    fn is_full(&self) -> bool {
        self.builder.size_bytes() >= self.limit
    }
}

impl QueueState {
    pub(super) fn close_open(&mut self) {
        self.closed.extend(self.open.take());
        self.hurried = false;
    }

    /// Returns whether there is nothing to write, and nothing being written.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.closed.is_empty() && !self.draining
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
        topic: Arc<str>,
        partition: u32,
        log: Option<Log>,
        numbering: SequenceState,
    ) -> PartitionQueue {
        PartitionQueue {
            topic,
            partition,
            state: Mutex::new(QueueState {
                log,
                open: None,
                closed: VecDeque::new(),
                draining: false,
                in_flight: Vec::new(),
                hurried: false,
                failing: None,
                numbering,
                listed: false,
            }),
            deliveries: CallbackQueue::default(),
        }
    }

    /// Sets the log that records go to from now on. What was gathered for another stays with
    /// that, and must take along no more.
    pub(super) fn set_log(&self, log: Option<&Log>, producer: &ProducerContext) {
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
            producer.linger.schedule(Duration::ZERO);
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

    /// Lets the batch linger no more. Says whether it waits to be written.
    pub(super) fn hurry(&self, outcome: &Arc<Outcome>) -> bool {
        let mut state = self.state.lock();
        let is_open = state.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.outcome, outcome));
        if is_open && state.draining {
            // The thread that drains writes it, too, with the records that join it until then.
            state.hurried = true;
        } else if is_open {
            state.close_open();
        }
        !state.closed.is_empty()
    }

    /// Encodes a record into the open batch. The callback is taken only if the record is.
    #[inline]
    pub(super) fn add<R: SendResult>(
        self: &Arc<Self>,
        producer: &Arc<ProducerContext>,
        record: &RecordSlices<'_>,
        callback: &mut Option<Callback>,
    ) -> Result<Added<R::Claim>> {
        let size = size_of(record);
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if producer.is_closed() {
            return Err(ProduceError::Closed.into());
        }
        let Some(log) = &state.log else { return Err(self.gone()) };
        check(record, size, log, producer)?;
        if state.open.as_ref().is_some_and(|open| !open.fits(size)) {
            state.close_open();
        }
        let mut due = None;
        if state.open.is_none() {
            let Some(begun) = self.begin(state, producer, size)? else {
                return Ok(Added::NoRoom(producer.room_for(size)));
            };
            due = Some(begun.saturating_add(producer.config.linger));
        }
        let Some(open) = &mut state.open else { return Err(ProduceError::Closed.into()) };
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None if producer.config.linger <= NEAR_ENOUGH && state.failing.is_none() => {
                open.begun_at
            }
            None => producer.clock().now(),
        };
        let before = open.builder.size_bytes();
        let index = open.builder.len() as u32;
        if record.headers.is_empty() {
            open.builder.push(timestamp, record.key, record.value)?;
        } else {
            let headers = record.headers;
            open.builder.push_with_headers(timestamp, record.key, record.value, headers)?;
        }
        let awaited = callback.is_some() || producer.has_interceptors();
        if awaited {
            let pending = Pending { index, timestamp, callback: callback.take() };
            if producer.hands_over() {
                self.deliveries.add(&open.outcome, None, vec![pending]);
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
        let now = producer.config.linger.is_zero();
        let drain = !state.draining && (now || !state.closed.is_empty());
        let complete = complete || now;
        Ok(Added::Accepted { claim, index, timestamp, bytes, complete, drain, due })
    }

    /// Begins a batch for a record of this size. `None` if there is no room.
    #[cold]
    fn begin(
        self: &Arc<Self>,
        state: &mut QueueState,
        producer: &Arc<ProducerContext>,
        size: u64,
    ) -> Result<Option<Duration>> {
        if !producer.config.linger.is_zero() {
            ProducerContext::start_thread(producer)?;
        }
        let Some(log) = &state.log else { return Err(self.gone()) };
        let (log, limit) = (log.clone(), limit(log, producer));
        let reserved = producer.room_for(size);
        if !producer.buffer.reserve(reserved) {
            return Ok(None);
        }
        if !state.listed {
            if let Err(closed) = producer.list(self) {
                producer.buffer.release(reserved);
                return Err(closed);
            }
            state.listed = true;
        }
        let begun = producer.clock().monotonic();
        state.open = Some(Batch {
            builder: producer.spare_builder(),
            outcome: Arc::new(Outcome::new(producer, self, producer.hands_over())),
            log,
            begun,
            begun_at: producer.clock().now(),
            reserved,
            part: None,
            limit,
            pending: Vec::new(),
        });
        Ok(Some(begun))
    }
}

/// The queue goes with the last thread that could write from it. From then on nothing of this
/// producer can be resent, so its log need not remember it.
impl Drop for PartitionQueue {
    fn drop(&mut self) {
        let state = self.state.lock();
        if let Some(log) = &state.log {
            state.numbering.forget_in(log);
        }
    }
}

/// The most bytes of a batch before compression: so much that the log takes it, however it is
/// compressed.
pub(super) fn limit(log: &Log, producer: &ProducerContext) -> usize {
    let live = &log.dynamic_config();
    let largest = live.max_message_bytes().min(live.segment_bytes());
    // What does not compress grows a little.
    let largest = largest.saturating_sub(largest / 64).saturating_sub(128);
    producer.config.batch_bytes.min(usize::try_from(largest).unwrap_or(usize::MAX))
}

/// Whether the log would take the record. What it would refuse must not spoil a batch with others.
#[inline]
fn check(
    record: &RecordSlices<'_>,
    size: u64,
    log: &Log,
    producer: &ProducerContext,
) -> Result<()> {
    let rules = &log.dynamic_config().rules(Timestamp::NONE);
    rules.check_key(0, record.key)?;
    if let Some(timestamp) = record.timestamp
        && rules.timestamp_type == TimestampType::CreateTime
    {
        check_time(rules, timestamp, producer)?;
    }
    let limit = producer.config.max_request_bytes;
    if size > limit {
        let option = "max_request_bytes";
        return Err(ProduceError::RecordTooLarge { bytes: size, limit, option }.into());
    }
    let limit = producer.config.buffer_bytes;
    if size > limit {
        let option = "buffer_bytes";
        return Err(ProduceError::RecordTooLarge { bytes: size, limit, option }.into());
    }
    Ok(())
}

fn check_time(
    rules: &crate::record::AppendRules,
    timestamp: Timestamp,
    producer: &ProducerContext,
) -> Result<()> {
    let rules = crate::record::AppendRules { now: producer.clock().now(), ..*rules };
    rules.check_time(0, timestamp)
}
