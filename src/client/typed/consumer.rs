//! Consuming typed keys and values.

use crate::client::consumer::{Consumer, ConsumerRecord};
use crate::client::serialize::{Deserialize, DeserializeContext};
use crate::client::typed::poison::{OnPoison, PoisonRecord, guarded};
use crate::error::{RecordPart, Result};
use crate::record::Header;
use crate::types::TopicPartition;
use crate::types::{Offset, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A [`Consumer`] of keys `K` and values `V`. Kafka: `KafkaConsumer<K, V>`.
///
/// A record that cannot be deserialized is returned in its place as a [`PoisonRecord`], unless you
/// set [`on_poison`](Self::on_poison). It is returned once: the position moves past it, and it is
/// committed like any other. A record whose deserialization panics is treated in the same way.
///
/// ```
/// use annals::{ConsumerConfig, Store, StoreConfig, TopicConfig, TopicPartition, TypedConsumer};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let log = store.create_topic("stock", TopicConfig::default())?.partition(0)?;
/// log.append(annals::Record::new(12_i32.to_be_bytes().to_vec()).key("apple"))?;
/// log.append(annals::Record::new("hundreds").key("plum"))?;
///
/// let consumer = store.consumer(ConsumerConfig::default())?;
/// let mut consumer: TypedConsumer<String, i32> = consumer.typed();
/// let stock = TopicPartition::new("stock", 0);
/// consumer.consumer_mut().assign([stock.clone()])?;
/// consumer.consumer_mut().seek(&stock, 0)?;
/// let mut seen = Vec::new();
/// for record in consumer.poll(Duration::ZERO)? {
///     match record {
///         Ok(record) => seen.push(format!("{}: {}", record.key, record.value)),
///         Err(poison) => seen.push(poison.to_string()),
///     }
/// }
/// assert_eq!(seen[0], "apple: 12");
/// assert_eq!(seen.len(), 2);
/// assert!(seen[1].ends_with("`stock`: expected an i32, which is 4 bytes, found 8 bytes"));
/// assert_eq!((consumer.poison_count(), consumer.poll(Duration::ZERO)?.len()), (1, 0));
/// # Ok::<(), annals::Error>(())
/// ```
pub struct TypedConsumer<K, V> {
    consumer: Consumer,
    on_poison: OnPoison,
    poison_count: u64,
    types: PhantomData<fn() -> (K, V)>,
}

impl Consumer {
    /// Converts the consumer into one for keys and values of these types. If they may be null, as
    /// the value of a tombstone is, use `Option<V>`; [`Bytes`](bytes::Bytes) accepts any bytes.
    #[must_use]
    pub fn typed<K: Deserialize, V: Deserialize>(self) -> TypedConsumer<K, V> {
        let on_poison = OnPoison::default();
        TypedConsumer { consumer: self, on_poison, poison_count: 0, types: PhantomData }
    }
}

impl<K: Deserialize, V: Deserialize> TypedConsumer<K, V> {
    /// Sets the treatment of records that cannot be deserialized.
    ///
    /// *Default* [`OnPoison::Return`].
    #[must_use]
    pub fn on_poison(mut self, on_poison: OnPoison) -> Self {
        self.on_poison = on_poison;
        self
    }

    /// Returns the next records as soon as there are any; none if there are none after `timeout`,
    /// or if all of them are poison that is not returned.
    ///
    /// # Errors
    ///
    /// - As [`Consumer::poll`].
    /// - As [`SendHandle::wait`](crate::SendHandle::wait) and
    ///   [`Producer::send`](crate::Producer::send), if the first record must go to a topic of dead
    ///   letters and cannot be sent there. The next poll begins with it again. If a later record
    ///   cannot be sent, this poll returns the records before it.
    pub fn poll(&mut self, timeout: Duration) -> Result<TypedRecords<K, V>> {
        let polled = self.consumer.poll(timeout)?;
        let woken = polled.is_woken();
        let mut records = Vec::with_capacity(polled.len());
        let mut rest = polled.into_iter();
        while let Some(record) = rest.next() {
            let poison = match decode(record) {
                Ok(record) => {
                    records.push(Ok(record));
                    continue;
                }
                Err(poison) => poison,
            };
            match self.on_poison.handle(&poison) {
                Ok(returned) => {
                    self.poison_count = self.poison_count.saturating_add(1);
                    if returned {
                        records.push(Err(poison));
                    }
                }
                Err(error) => {
                    self.seek_back_to(&poison, rest);
                    if records.is_empty() {
                        return Err(error);
                    }
                    break;
                }
            }
        }
        Ok(TypedRecords { records, woken })
    }

    /// Moves back to these records: the next poll returns them again.
    fn seek_back_to(&mut self, first: &PoisonRecord, rest: impl Iterator<Item = ConsumerRecord>) {
        let mut positions = BTreeMap::new();
        let first = (Arc::clone(&first.topic), first.partition, first.record.offset);
        let rest = rest.map(|record| (record.topic, record.partition, record.record.offset));
        for (topic, partition, offset) in [first].into_iter().chain(rest) {
            positions.entry(TopicPartition::new(topic, partition)).or_insert(offset);
        }
        for (partition, offset) in positions {
            // The partition was polled just now, so it is assigned, unless an interceptor has made
            // up the record.
            self.consumer.seek(&partition, offset).ok();
        }
    }

    /// Returns the number of records that could not be deserialized so far, however they were
    /// treated.
    #[must_use]
    pub fn poison_count(&self) -> u64 {
        self.poison_count
    }

    /// Returns the consumer of bytes.
    #[must_use]
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Returns the consumer of bytes, to subscribe, seek, commit and close.
    pub fn consumer_mut(&mut self) -> &mut Consumer {
        &mut self.consumer
    }

    /// Converts back into the consumer of bytes.
    #[must_use]
    pub fn into_consumer(self) -> Consumer {
        self.consumer
    }
}

fn decode<K: Deserialize, V: Deserialize>(
    record: ConsumerRecord,
) -> Result<TypedRecord<K, V>, Box<PoisonRecord>> {
    let ConsumerRecord { topic, partition, record, .. } = record;
    let context = |part| DeserializeContext::new(&topic, part, &record.headers);
    let key = guarded(|| K::deserialize(record.key.as_ref(), &context(RecordPart::Key)))
        .map_err(|reason| (RecordPart::Key, reason));
    let read = key.and_then(|key| {
        guarded(|| V::deserialize(record.value.as_ref(), &context(RecordPart::Value)))
            .map(|value| (key, value))
            .map_err(|reason| (RecordPart::Value, reason))
    });
    match read {
        Ok((key, value)) => Ok(TypedRecord {
            topic,
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key,
            value,
            headers: record.headers,
        }),
        Err((part, reason)) => {
            Err(Box::new(PoisonRecord { topic, partition, part, reason, record }))
        }
    }
}

impl<K, V> fmt::Debug for TypedConsumer<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedConsumer")
            .field("on_poison", &self.on_poison)
            .field("poison_count", &self.poison_count)
            .finish_non_exhaustive()
    }
}

/// A record with a typed key and value. Kafka: `ConsumerRecord<K, V>`.
///
/// [`TypedConsumer`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypedRecord<K, V> {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: Offset,
    /// The timestamp.
    pub timestamp: Timestamp,
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// The records of a poll, grouped by partition, in the order of their offsets.
/// [`TypedConsumer`] has an example.
#[derive(Debug)]
pub struct TypedRecords<K, V> {
    records: Vec<Result<TypedRecord<K, V>, Box<PoisonRecord>>>,
    woken: bool,
}

impl<K, V> TypedRecords<K, V> {
    /// Returns the number of records, including poison.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns whether a [`ConsumerWaker`](crate::ConsumerWaker) ended the poll.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.woken
    }
}

impl<K, V> IntoIterator for TypedRecords<K, V> {
    type Item = Result<TypedRecord<K, V>, Box<PoisonRecord>>;
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}
