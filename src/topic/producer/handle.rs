//! What becomes of a batch, and how those who sent its records learn of it.

use crate::error::{ProduceError, Result};
use crate::log::{Appended, Signal};
use crate::sync::Mutex;
use crate::topic::producer::queue::Queue;
use crate::topic::producer::record::RecordMetadata;
use crate::topic::producer::shared::Shared;
use crate::topic::producer::split::Part;
use crate::types::Timestamp;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

/// What became of a batch, once it is known. All records of the batch share it.
pub(super) struct Outcome {
    producer: Weak<Shared>,
    queue: Weak<Queue>,
    topic: Arc<str>,
    partition: u32,
    /// Nobody is to wait for it.
    handed_over: bool,
    result: OnceLock<Settled>,
    /// What is known of the parts of a batch that was split. Leaf lock.
    parts: Mutex<Vec<(Part, Result<Appended, ProduceError>)>>,
    /// Raised once the result is there.
    done: Signal,
}

/// What became of the records of a batch.
#[derive(Debug)]
enum Settled {
    Whole(Result<Appended, ProduceError>),
    /// In the order of the records.
    Parts(Vec<(Part, Result<Appended, ProduceError>)>),
}

impl Settled {
    /// What became of the batch that a record was written with, and its index there.
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
    pub(super) fn new(producer: &Arc<Shared>, queue: &Arc<Queue>, handed_over: bool) -> Outcome {
        Outcome {
            producer: Arc::downgrade(producer),
            queue: Arc::downgrade(queue),
            topic: Arc::clone(&queue.topic),
            partition: queue.partition,
            handed_over,
            result: OnceLock::new(),
            parts: Mutex::default(),
            done: Signal::default(),
        }
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(super) fn is_done(&self) -> bool {
        self.result.get().is_some()
    }

    pub(super) fn done(&self) -> &Signal {
        &self.done
    }

    pub(super) fn error(&self) -> Option<&ProduceError> {
        self.result.get()?.error()
    }

    /// The first result stays.
    pub(super) fn complete(&self, result: Result<Appended, ProduceError>) {
        self.settle(Settled::Whole(result));
    }

    /// Notes what became of a part of so many records. The last to come settles the batch.
    pub(super) fn complete_part(
        &self,
        part: Part,
        records: u32,
        result: Result<Appended, ProduceError>,
    ) {
        let mut parts = self.parts.lock();
        parts.push((part, result));
        // They come in order.
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

    /// Where a record is of which nothing more is known.
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

    /// Has the batch written by this thread, unless another is at it.
    fn hurry(self: &Arc<Self>) -> Option<Arc<Shared>> {
        let producer = self.producer.upgrade()?;
        if let Some(queue) = self.queue.upgrade() {
            queue.hurry(self);
            producer.drain(&queue);
        }
        Some(producer)
    }

    /// Has the batch written by the thread of the producer.
    fn hurry_elsewhere(self: &Arc<Self>) -> Result<()> {
        let (Some(producer), Some(queue)) = (self.producer.upgrade(), self.queue.upgrade()) else {
            return Ok(());
        };
        Shared::start_thread(&producer)?;
        if queue.hurry(self) {
            producer.linger.schedule(Duration::ZERO);
        }
        Ok(())
    }
}

/// A record on its way. Kafka: the `Future` that `send` returns.
///
/// It can be [waited for](SendHandle::wait), looked at, or awaited as a [`Future`] under any executor. The batch of a record
/// that somebody waits for does not linger. Dropping the handle takes nothing back.
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
/// assert!(producer.send(("orders", "paid"))?.wait_for(Duration::from_secs(9))?.is_some());
/// # Ok::<(), annals::Error>(())
/// ```
pub struct SendHandle {
    outcome: Arc<Outcome>,
    index: u32,
    timestamp: Timestamp,
    /// Where its task waits, if one does.
    task: Option<u64>,
}

/// What is got for a record that was sent.
pub(super) trait Receipt {
    /// A claim on the outcome of a batch.
    type Claim;
    fn claim(outcome: &Arc<Outcome>) -> Self::Claim;
    fn of(claim: Self::Claim, index: u32, timestamp: Timestamp) -> Self;
}

impl Receipt for SendHandle {
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

/// For who does not want to know: a claim costs two atomic operations a record.
impl Receipt for () {
    type Claim = ();

    #[inline]
    fn claim(_: &Arc<Outcome>) {}

    #[inline]
    fn of((): (), _: u32, _: Timestamp) {}
}

impl SendHandle {
    /// Whether it is known what became of the record.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outcome.handed_over || self.outcome.is_done()
    }

    /// Waits until the record is sent, as [`Acks`](crate::Acks) has it. The batch is written by this thread, if no other is
    /// at it.
    ///
    /// # Errors
    ///
    /// [`Error::Produce`](crate::Error::Produce): with [`ProduceError::Batch`] what the log answered,
    /// [`ProduceError::DeliveryTimeout`], [`ProduceError::Aborted`].
    pub fn wait(&self) -> Result<RecordMetadata> {
        loop {
            if let Some(sent) = self.wait_until(None)? {
                return Ok(sent);
            }
        }
    }

    /// As [`wait`](Self::wait), but not for longer than this: then `None`, and the record is still on its way.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_for(&self, timeout: Duration) -> Result<Option<RecordMetadata>> {
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
