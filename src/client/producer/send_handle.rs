//! The handle that returns the result of a record to its sender.

use crate::client::producer::outcome::{Outcome, SendResult};
use crate::client::producer::record::RecordMetadata;
use crate::error::{ProduceError, Result};
use crate::types::Timestamp;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

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

impl SendResult for SendHandle {
    type Claim = Arc<Outcome>;

    #[inline]
    fn claim(outcome: &Arc<Outcome>) -> Arc<Outcome> {
        Arc::clone(outcome)
    }

    #[inline]
    fn new(outcome: Arc<Outcome>, index: u32, timestamp: Timestamp) -> SendHandle {
        SendHandle { outcome, index, timestamp, task: None }
    }
}

impl SendHandle {
    /// Returns whether the result of the record is known.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.outcome.is_acknowledged()
    }

    /// Blocks until the record counts as sent: see [`Acks`](crate::Acks). This thread writes the
    /// batch, unless another thread is writing it.
    ///
    /// # Errors
    ///
    /// [`Error::Produce`](crate::Error::Produce): [`ProduceError::Batch`] with the error of the
    /// log, [`ProduceError::DeliveryTimeout`], [`ProduceError::TransactionAborted`],
    /// [`ProduceError::Aborted`]; [`ProduceError::WhileWriting`] in a listener.
    pub fn wait(&self) -> Result<RecordMetadata> {
        let sent = self.wait_until(None)?;
        sent.ok_or_else(|| ProduceError::WhileWriting.into())
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
        let result = || self.outcome.record_result(self.index, self.timestamp);
        if let Some(sent) = result() {
            return sent.map(Some);
        }
        // If the producer is gone, all its batches were written or have failed.
        let queue = self.outcome.queue();
        let waited = queue.is_some_and(|queue| queue.expedite(&self.outcome, timeout));
        if !waited && !self.outcome.is_done() {
            return Err(ProduceError::Aborted.into());
        }
        result().transpose()
    }
}

impl Future for SendHandle {
    type Output = Result<RecordMetadata>;

    /// Never blocks: the producer's thread writes the batch.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(sent) = this.outcome.record_result(this.index, this.timestamp) {
            return Poll::Ready(sent);
        }
        let done = this.outcome.done();
        let id = *this.task.get_or_insert_with(|| done.new_id());
        done.register(id, context.waker());
        if let Some(queue) = this.outcome.queue()
            && let Err(error) = queue.expedite_in_background(&this.outcome)
        {
            return Poll::Ready(Err(error));
        }
        match this.outcome.record_result(this.index, this.timestamp) {
            Some(sent) => Poll::Ready(sent),
            None => Poll::Pending,
        }
    }
}

impl Drop for SendHandle {
    fn drop(&mut self) {
        if let Some(id) = self.task {
            self.outcome.done().unregister(id);
        }
    }
}

impl fmt::Debug for SendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHandle")
            .field("topic", self.outcome.topic())
            .field("partition", &self.outcome.partition())
            .field("result", &self.outcome.result())
            .finish()
    }
}
