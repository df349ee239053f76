//! Sending to one topic without looking it up by name.

use crate::client::producer::Producer;
use crate::client::producer::callbacks::Callback;
use crate::client::producer::outcome::SendResult;
use crate::client::producer::record::{ProducerRecord, RecordMetadata, RecordSlices};
use crate::client::producer::send_handle::SendHandle;
use crate::client::producer::topic_entry::TopicEntry;
use crate::error::{Error, ProduceError, Result, TopicError};
use crate::record::Record;
use std::fmt;
use std::sync::Arc;

/// A [`Producer`] bound to a topic: it looks the topic up once, and records need not name it.
///
/// It is a handle to the same producer. Its records are in order with those that you send to the
/// topic through the producer, and [`flush`](Producer::flush) and [`close`](Producer::close) are
/// the producer's. Like [`Producer::send`], it notices that the topic grows, is deleted or is
/// created again. For small records it is faster than `send`, because no name is copied, hashed
/// and compared; with interceptors it is not.
///
/// ```
/// use annals::{ProducerConfig, Record, Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let topic = store.create_topic("clicks", TopicConfig::default().partitions(3))?;
/// let producer = store.producer(ProducerConfig::default())?;
///
/// let clicks = producer.topic("clicks")?;
/// for n in 0..1000 {
///     clicks.send_and_forget(Record::new("click").key(format!("user-{}", n % 7)))?;
/// }
/// let last = clicks.send("the last one")?.wait()?;
/// assert_eq!(&*last.topic, "clicks");
/// producer.flush()?;
/// let stored: u64 = topic.partitions().iter().map(|log| log.offsets().end).sum();
/// assert_eq!(stored, 1001);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct TopicProducer {
    topic: Arc<TopicEntry>,
    producer: Producer,
}

impl Producer {
    /// Returns a handle to this producer for one topic, which is faster if you send many records
    /// to it. [`TopicProducer`] has an example.
    ///
    /// # Errors
    ///
    /// - [`Error::Topic`]: there is no such topic, or it is internal.
    /// - [`Error::Produce`], with [`ProduceError::Closed`].
    pub fn topic(&self, name: impl Into<Arc<str>>) -> Result<TopicProducer> {
        let inner = &self.handle.inner;
        if inner.context.is_closed() {
            return Err(ProduceError::Closed.into());
        }
        let topic = inner.topics.get_or_insert(&name.into(), &inner.context)?;
        topic.look_up(&inner.context)?;
        Ok(TopicProducer { producer: self.clone(), topic })
    }
}

impl TopicProducer {
    /// Returns the name of the topic.
    #[must_use]
    pub fn name(&self) -> &str {
        self.topic.name()
    }

    /// Returns the producer, to flush or close it.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Sends a record, as [`Producer::send`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    #[inline]
    pub fn send(&self, record: impl Into<Record>) -> Result<SendHandle> {
        self.send_slices(None, &RecordSlices::from(&record.into()), None)
    }

    /// Sends a record to a partition.
    ///
    /// ```
    /// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("clicks", TopicConfig::default().partitions(3))?;
    /// let clicks = store.producer(ProducerConfig::default())?.topic("clicks")?;
    /// assert_eq!(clicks.send_to(2, "click")?.wait()?.partition, 2);
    /// assert!(clicks.send_to(3, "click").is_err());
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    #[inline]
    pub fn send_to(&self, partition: u32, record: impl Into<Record>) -> Result<SendHandle> {
        self.send_slices(Some(partition), &RecordSlices::from(&record.into()), None)
    }

    /// Sends a key and a value without headers. They are copied straight into the batch; nothing
    /// is allocated unless there are interceptors.
    ///
    /// ```
    /// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let topic = store.create_topic("readings", TopicConfig::default())?;
    /// let readings = store.producer(ProducerConfig::default())?.topic("readings")?;
    /// let mut line = String::new();
    /// for n in 0..100 {
    ///     line.clear();
    ///     std::fmt::write(&mut line, format_args!("{n} degrees")).unwrap();
    ///     readings.send_bytes(Some(b"cellar"), Some(line.as_bytes()))?;
    /// }
    /// readings.producer().flush()?;
    /// assert_eq!(topic.partition(0)?.get(99)?.unwrap().value_str(), Some("99 degrees"));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    #[inline]
    pub fn send_bytes(&self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<SendHandle> {
        let record = RecordSlices { key, value, headers: &[], timestamp: None };
        self.send_slices(None, &record, None)
    }

    /// Sends a record without a handle for its result, as [`Producer::send_and_forget`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    #[inline]
    pub fn send_and_forget(&self, record: impl Into<Record>) -> Result<()> {
        self.send_slices(None, &RecordSlices::from(&record.into()), None)
    }

    /// Sends a record, and calls `callback` with its result, as
    /// [`Producer::send_with_callback`] does.
    ///
    /// # Errors
    ///
    /// As [`Producer::send`].
    pub fn send_with_callback(
        &self,
        record: impl Into<Record>,
        callback: impl FnOnce(Result<&RecordMetadata, &Error>) + Send + 'static,
    ) -> Result<SendHandle> {
        self.send_slices(None, &RecordSlices::from(&record.into()), Some(Box::new(callback)))
    }

    #[inline]
    fn send_slices<R: SendResult>(
        &self,
        partition: Option<u32>,
        record: &RecordSlices<'_>,
        mut callback: Option<Callback>,
    ) -> Result<R> {
        let inner = &self.producer.handle.inner;
        if inner.context.has_interceptors() {
            // An interceptor may change the topic.
            let topic = Arc::clone(self.topic.name());
            let record = ProducerRecord { topic, partition, record: record.to_record() };
            return inner.send(record, callback);
        }
        let sent = inner.send_to(&self.topic, partition, record, &mut callback)?;
        // An entry is not retired while a handle holds it.
        sent.ok_or_else(|| TopicError::Unknown { topic: self.name().to_owned() }.into())
    }
}

impl fmt::Debug for TopicProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicProducer").field("topic", &self.name()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn for_any_thread<T: Send + Sync + Clone>() {}
    for_any_thread::<TopicProducer>();
};
