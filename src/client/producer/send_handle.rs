//! The result of a batch, and the handles through which the senders of its records learn of it.

use crate::client::producer::accumulator::PartitionQueue;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::record::RecordMetadata;
use crate::client::producer::split::Part;
use crate::error::{ProduceError, Result};
use crate::log::Appended;
use crate::notify::Notify;
use crate::sync::Mutex;
use crate::types::Timestamp;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// The result of a batch, once it is known. All records of the batch share it.
pub(super) struct Outcome {
    producer: Weak<ProducerContext>,
    queue: Weak<PartitionQueue>,
    topic: Arc<str>,
    partition: u32,
    /// Set with [`Acks::None`](crate::Acks::None): no handle waits for the result.
    handed_over: bool,
    result: OnceLock<Settled>,
    /// The results so far of a batch that was split. Leaf lock.
    parts: Mutex<Vec<(Part, Result<Appended, ProduceError>)>>,
    /// Raised once the result is there.
    done: Notify,
}

/// The result of the records of a batch.
#[derive(Debug)]
enum Settled {
    Whole(Result<Appended, ProduceError>),
    /// In the order of the records.
    Parts(Vec<(Part, Result<Appended, ProduceError>)>),
}

impl Settled {
    /// Returns the result of the batch that a record was written with, and its index there.
    fn of_record(&self, index: u32) -> Option<(&Result<Appended, ProduceError>, u32)> {
        match self {
            Settled::Whole(result) => Some((result, index)),
            Settled::Parts(parts) => {
                let (part, result) = parts.iter().rev().find(|(part, _)| part.first <= index)?;
                Some((result, index.saturating_sub(part.first)))
            }
        }
    }

    fn error(&self) -> Option<&ProduceError> {
        match self {
            Settled::Whole(result) => result.as_ref().err(),
            Settled::Parts(parts) => parts.iter().find_map(|(_, result)| result.as_ref().err()),
        }
    }
}

impl Outcome {
    pub(super) fn new(
        producer: &Arc<ProducerContext>,
        queue: &Arc<PartitionQueue>,
        handed_over: bool,
    ) -> Outcome {
        Outcome {
            producer: Arc::downgrade(producer),
            queue: Arc::downgrade(queue),
            topic: Arc::clone(&queue.topic),
            partition: queue.partition,
            handed_over,
            result: OnceLock::new(),
            parts: Mutex::default(),
            done: Notify::default(),
        }
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(super) fn is_done(&self) -> bool {
        self.result.get().is_some()
    }

    pub(super) fn done(&self) -> &Notify {
        &self.done
    }

    pub(super) fn error(&self) -> Option<&ProduceError> {
        self.result.get()?.error()
    }

    /// Sets the result, unless there is one.
    pub(super) fn complete(&self, result: Result<Appended, ProduceError>) {
        self.settle(Settled::Whole(result));
    }

    /// Stores the result of a part with `records` records. The last part completes the batch.
    pub(super) fn complete_part(
        &self,
        part: Part,
        records: u32,
        result: Result<Appended, ProduceError>,
    ) {
        let mut parts = self.parts.lock();
        parts.push((part, result));
        // Parts are completed in order.
        if part.first.saturating_add(records) >= part.total {
            let all = std::mem::take(&mut *parts);
            drop(parts);
            self.settle(Settled::Parts(all));
        }
    }

    fn settle(&self, settled: Settled) {
        if self.result.set(settled).is_ok() {
            self.done.notify();
        }
    }

    /// Returns the metadata of a record without a known offset.
    pub(super) fn unknown(&self, timestamp: Timestamp) -> RecordMetadata {
        let (topic, partition) = (Arc::clone(&self.topic), self.partition);
        RecordMetadata { topic, partition, offset: None, timestamp }
    }

    pub(super) fn metadata(
        &self,
        appended: &Appended,
        index: u32,
        timestamp: Timestamp,
    ) -> RecordMetadata {
        let timestamp =
            if appended.append_time.is_none() { timestamp } else { appended.append_time };
        let offset = Some(appended.first.saturating_add(u64::from(index)));
        RecordMetadata { offset, ..self.unknown(timestamp) }
    }

    fn of_record(&self, index: u32, timestamp: Timestamp) -> Option<Result<RecordMetadata>> {
        match self.result.get().and_then(|settled| settled.of_record(index)) {
            Some((Ok(appended), index)) => Some(Ok(self.metadata(appended, index, timestamp))),
            Some((Err(error), _)) if !self.handed_over => Some(Err(error.clone().into())),
            _ if self.handed_over => Some(Ok(self.unknown(timestamp))),
            _ => None,
        }
    }

    /// Writes the batch on this thread, unless another thread is writing it.
    fn hurry(self: &Arc<Self>) -> Option<Arc<ProducerContext>> {
        let producer = self.producer.upgrade()?;
        if let Some(queue) = self.queue.upgrade() {
            queue.hurry(self);
            producer.drain(&queue);
        }
        Some(producer)
    }

    /// Lets the producer's thread write the batch.
    fn hurry_elsewhere(self: &Arc<Self>) -> Result<()> {
        let (Some(producer), Some(queue)) = (self.producer.upgrade(), self.queue.upgrade()) else {
            return Ok(());
        };
        ProducerContext::start_thread(&producer)?;
        if queue.hurry(self) {
            producer.linger.schedule(Duration::ZERO);
        }
        Ok(())
    }
}

/// A handle to a record that is being sent. Kafka: the `Future` that `send` returns.
///
/// You can [wait](SendHandle::wait) for it, check it, or await it as a [`Future`] under any
/// executor. A batch does not linger while a thread or task waits for one of its records. Dropping
/// the handle does not cancel the send, before or after it was polled: the record is still
/// written, or still fails.
///
/// ```
/// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default())?;
/// let producer = store.producer(ProducerConfig::default())?;
///
/// let handle = producer.send(("orders", "taken"))?;
/// let sent = handle.wait()?;
/// assert_eq!((sent.partition, sent.offset), (0, Some(0)));
/// assert!(handle.is_done());
/// assert!(producer.send(("orders", "paid"))?.wait_timeout(Duration::from_secs(9))?.is_some());
/// # Ok::<(), annals::Error>(())
/// ```
pub struct SendHandle {
    outcome: Arc<Outcome>,
    index: u32,
    timestamp: Timestamp,
    /// The registration of its task, if one waits.
    task: Option<u64>,
}

/// The value that a send returns.
pub(super) trait SendResult {
    /// A claim on the result of a batch.
    type Claim;
    fn claim(outcome: &Arc<Outcome>) -> Self::Claim;
    fn of(claim: Self::Claim, index: u32, timestamp: Timestamp) -> Self;
}

impl SendResult for SendHandle {
    type Claim = Arc<Outcome>;

    #[inline]
    fn claim(outcome: &Arc<Outcome>) -> Arc<Outcome> {
        Arc::clone(outcome)
    }

    #[inline]
    fn of(outcome: Arc<Outcome>, index: u32, timestamp: Timestamp) -> SendHandle {
        SendHandle { outcome, index, timestamp, task: None }
    }
}

/// For sends without a handle: a claim would cost two atomic operations for each record.
impl SendResult for () {
    type Claim = ();

    #[inline]
    fn claim(_: &Arc<Outcome>) {}

    #[inline]
    fn of((): (), _: u32, _: Timestamp) {}
}

impl SendHandle {
    /// Returns whether the result of the record is known.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outcome.handed_over || self.outcome.is_done()
    }

    /// Blocks until the record is sent, as [`Acks`](crate::Acks) has it. This thread writes the
    /// batch, unless another thread is writing it.
    ///
    /// # Errors
    ///
    /// [`Error::Produce`](crate::Error::Produce): [`ProduceError::Batch`] with the error of the
    /// log, [`ProduceError::DeliveryTimeout`], [`ProduceError::Aborted`].
    pub fn wait(&self) -> Result<RecordMetadata> {
        loop {
            if let Some(sent) = self.wait_until(None)? {
                return Ok(sent);
            }
        }
    }

    /// Blocks until the record is sent, for at most `timeout`; returns `None` if the record is
    /// still being sent.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<RecordMetadata>> {
        self.wait_until(Some(timeout))
    }

    fn wait_until(&self, timeout: Option<Duration>) -> Result<Option<RecordMetadata>> {
        let of_record = || self.outcome.of_record(self.index, self.timestamp);
        if let Some(sent) = of_record() {
            return sent.map(Some);
        }
        // A producer that is gone has left no batch behind.
        if let Some(producer) = self.outcome.hurry() {
            self.outcome.done.wait(timeout, producer.clock(), || self.outcome.is_done());
        } else if !self.outcome.is_done() {
            return Err(ProduceError::Aborted.into());
        }
        of_record().transpose()
    }
}

impl Future for SendHandle {
    type Output = Result<RecordMetadata>;

    /// Never blocks: the producer's thread writes the batch.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(sent) = this.outcome.of_record(this.index, this.timestamp) {
            return Poll::Ready(sent);
        }
        let done = &this.outcome.done;
        let id = *this.task.get_or_insert_with(|| done.new_id());
        done.register(id, context.waker());
        if let Err(error) = this.outcome.hurry_elsewhere() {
            return Poll::Ready(Err(error));
        }
        match this.outcome.of_record(this.index, this.timestamp) {
            Some(sent) => Poll::Ready(sent),
            None => Poll::Pending,
        }
    }
}

impl Drop for SendHandle {
    fn drop(&mut self) {
        if let Some(id) = self.task {
            self.outcome.done.unregister(id);
        }
    }
}

impl fmt::Debug for SendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHandle")
            .field("topic", &self.outcome.topic)
            .field("partition", &self.outcome.partition)
            .field("result", &self.outcome.result.get())
            .finish()
    }
}
