//! Sending typed keys and values.

use crate::client::producer::{Producer, ProducerRecord, SendHandle};
use crate::client::serialize::{Serialize, SerializeContext};
use crate::error::{RecordPart, Result, SerializationError};
use crate::record::{Header, HeaderName, Record};
use crate::types::Timestamp;
use bytes::Bytes;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A [`Producer`] of keys `K` and values `V`. Kafka: `KafkaProducer<K, V>`.
///
/// It is a handle to the [`Producer`] that it was created from, and so are its clones.
///
/// ```
/// use annals::{
///     ProducerConfig, Store, StoreConfig, TopicConfig, TypedProducer, TypedProducerRecord,
/// };
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let topic = store.create_topic("stock", TopicConfig::default())?;
/// let producer: TypedProducer<str, i32> = store.producer(ProducerConfig::default())?.typed();
///
/// producer.send(("stock", "apple", &12))?;
/// let pears = TypedProducerRecord::new("stock", "pear", &7);
/// producer.send(pears.partition(0).header("shop", "north"))?.wait()?;
/// let stored = topic.partition(0)?.get(1)?.unwrap();
/// assert_eq!(stored.key_str(), Some("pear"));
/// assert_eq!(stored.value.as_deref(), Some(&[0, 0, 0, 7][..]));
/// # Ok::<(), annals::Error>(())
/// ```
pub struct TypedProducer<K: ?Sized, V: ?Sized> {
    producer: Producer,
    types: PhantomData<fn(&K, &V)>,
}

impl Producer {
    /// Returns a handle to this producer for keys and values of these types. If they may be null,
    /// as the value of a tombstone is, use `Option<V>`; for records without keys, use `()`.
    #[must_use]
    pub fn typed<K: Serialize + ?Sized, V: Serialize + ?Sized>(&self) -> TypedProducer<K, V> {
        TypedProducer { producer: self.clone(), types: PhantomData }
    }
}

impl<K: Serialize + ?Sized, V: Serialize + ?Sized> TypedProducer<K, V> {
    /// Sends a record: topic, key and value, or a [`TypedProducerRecord`] with more.
    ///
    /// # Errors
    ///
    /// - [`Error::Serialization`](crate::Error::Serialization) if the key or the value cannot be
    ///   serialized; nothing was sent.
    /// - As [`Producer::send`].
    pub fn send<'a>(&self, record: impl Into<TypedProducerRecord<'a, K, V>>) -> Result<SendHandle>
    where
        K: 'a,
        V: 'a,
    {
        self.producer.send(record.into().encode()?)
    }

    /// Returns the producer of bytes, to flush and close, and to send the result of
    /// [`encode`](TypedProducerRecord::encode) with a callback.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }
}

impl<K: ?Sized, V: ?Sized> Clone for TypedProducer<K, V> {
    fn clone(&self) -> Self {
        TypedProducer { producer: self.producer.clone(), types: PhantomData }
    }
}

impl<K: ?Sized, V: ?Sized> fmt::Debug for TypedProducer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedProducer").finish_non_exhaustive()
    }
}

/// A record to send with a typed key and value. Kafka: `ProducerRecord<K, V>`.
///
/// [`TypedProducer`] has an example.
#[derive(Debug)]
pub struct TypedProducerRecord<'a, K: ?Sized, V: ?Sized> {
    topic: Arc<str>,
    partition: Option<u32>,
    key: &'a K,
    value: &'a V,
    headers: Vec<Header>,
    timestamp: Option<Timestamp>,
}

impl<'a, K: Serialize + ?Sized, V: Serialize + ?Sized> TypedProducerRecord<'a, K, V> {
    /// Creates a record for a topic. The producer chooses the partition.
    pub fn new(
        topic: impl Into<Arc<str>>,
        key: &'a K,
        value: &'a V,
    ) -> TypedProducerRecord<'a, K, V> {
        let (topic, headers) = (topic.into(), Vec::new());
        TypedProducerRecord { topic, partition: None, key, value, headers, timestamp: None }
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a header. Headers that the types add follow it.
    #[must_use]
    pub fn header(mut self, name: impl Into<HeaderName>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// Sets the timestamp.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Returns the serialized record, as [`Producer`] takes it.
    ///
    /// # Errors
    ///
    /// [`Error::Serialization`](crate::Error::Serialization) if the key or the value cannot be
    /// serialized.
    pub fn encode(self) -> Result<ProducerRecord> {
        let TypedProducerRecord { topic, partition, key, value, mut headers, timestamp } = self;
        let failed = |part| {
            let topic = Arc::clone(&topic);
            move |reason| SerializationError::Serialize { topic, part, reason }
        };
        let mut to = SerializeContext::new(&topic, RecordPart::Key, &mut headers);
        let key = key.serialize(&mut to).map_err(failed(RecordPart::Key))?;
        let mut to = SerializeContext::new(&topic, RecordPart::Value, &mut headers);
        let value = value.serialize(&mut to).map_err(failed(RecordPart::Value))?;
        let record = ProducerRecord::new(topic, Record { key, value, headers, timestamp });
        Ok(match partition {
            Some(partition) => record.partition(partition),
            None => record,
        })
    }
}

impl<'a, T, K, V> From<(T, &'a K, &'a V)> for TypedProducerRecord<'a, K, V>
where
    T: Into<Arc<str>>,
    K: Serialize + ?Sized,
    V: Serialize + ?Sized,
{
    fn from((topic, key, value): (T, &'a K, &'a V)) -> TypedProducerRecord<'a, K, V> {
        TypedProducerRecord::new(topic, key, value)
    }
}
