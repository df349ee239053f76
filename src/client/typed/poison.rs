//! Records that cannot be deserialized, and their treatment.

use crate::callback;
use crate::client::producer::{Producer, ProducerRecord};
use crate::error::{DeserializeError, Error, RecordPart, Result, SerializationError};
use crate::record::{Header, Record, StoredRecord};
use std::sync::Arc;

/// A record whose key or value cannot be deserialized. Kafka: `RecordDeserializationException`.
///
/// It is an error that names the record and the problem, and it contains the record as it is
/// stored. `?` converts it into an [`Error::Serialization`].
/// [`TypedConsumer`](crate::TypedConsumer) has an example.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot deserialize the {part} of the record at offset {} of partition {partition} of `{topic}`: {reason}",
    record.offset
)]
#[non_exhaustive]
pub struct PoisonRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The part that cannot be deserialized. If it is the key, the value was not tried.
    pub part: RecordPart,
    /// The problem.
    pub reason: DeserializeError,
    /// The record as it is stored, with its offset.
    pub record: StoredRecord,
}

impl From<Box<PoisonRecord>> for Error {
    fn from(poison: Box<PoisonRecord>) -> Error {
        let PoisonRecord { topic, partition, part, reason, record } = *poison;
        let offset = record.offset;
        SerializationError::Deserialize { topic, partition, offset, part, reason }.into()
    }
}

/// The treatment of a record that a [`TypedConsumer`](crate::TypedConsumer) cannot deserialize.
/// [`OnPoison::dead_letter`] has an example.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum OnPoison {
    /// The poll returns it in its place, as a [`PoisonRecord`].
    #[default]
    Return,
    /// The poll leaves it out, and counts it.
    Skip,
    /// The poll sends it to another topic before it returns, and counts it:
    /// [`OnPoison::dead_letter`].
    DeadLetter {
        /// The producer that sends it.
        producer: Producer,
        /// The topic of dead letters.
        topic: Arc<str>,
    },
}

/// The headers of a dead letter, with the names of Kafka Connect.
const ERRORS: &str = "__connect.errors.";

impl OnPoison {
    /// Sends poison to this topic, which must exist.
    ///
    /// ```
    /// use annals::{ConsumerConfig, OnPoison, ProducerConfig};
    /// use annals::{Store, StoreConfig, TopicConfig, TopicPartition};
    /// use std::time::Duration;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let log = store.create_topic("stock", TopicConfig::default())?.partition(0)?;
    /// let dead = store.create_topic("stock-dead", TopicConfig::default())?;
    /// log.append("hundreds")?;
    ///
    /// let producer = store.producer(ProducerConfig::default())?;
    /// let consumer = store.consumer(ConsumerConfig::default())?.typed::<(), i32>();
    /// let mut consumer = consumer.on_poison(OnPoison::dead_letter(&producer, "stock-dead"));
    /// consumer.consumer_mut().assign([TopicPartition::new("stock", 0)])?;
    /// consumer.consumer_mut().seek_to_beginning([])?;
    /// assert!(consumer.poll(Duration::ZERO)?.is_empty());
    /// let letter = dead.partition(0)?.get(0)?.unwrap();
    /// assert_eq!(letter.value_str(), Some("hundreds"));
    /// let from = letter.header("__connect.errors.topic").unwrap();
    /// assert_eq!(from.value.as_deref(), Some(&b"stock"[..]));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// A dead letter has the key, the value, the timestamp and the headers of the record, followed
    /// by these headers, as text:
    ///
    /// | header | |
    /// |---|---|
    /// | `__connect.errors.topic`, `.partition`, `.offset` | the place of the record |
    /// | `__connect.errors.stage` | the part: `KEY_CONVERTER` or `VALUE_CONVERTER` |
    /// | `__connect.errors.exception.message` | the problem |
    ///
    /// If a dead letter cannot be sent, the poll fails, and the next poll meets the record again:
    /// it is neither lost nor skipped. This requires a producer that waits for the result, so not
    /// one with [`Acks::None`](crate::Acks::None). Poison in the topic of dead letters
    /// itself is returned, and not sent again.
    #[must_use]
    pub fn dead_letter(producer: &Producer, topic: impl Into<Arc<str>>) -> OnPoison {
        OnPoison::DeadLetter { producer: producer.clone(), topic: topic.into() }
    }

    /// Returns whether the poll returns the record. A dead letter is written when this returns.
    pub(super) fn handle(&self, poison: &PoisonRecord) -> Result<bool> {
        match self {
            OnPoison::Return => Ok(true),
            OnPoison::Skip => Ok(false),
            OnPoison::DeadLetter { topic, .. } if *topic == poison.topic => Ok(true),
            OnPoison::DeadLetter { producer, topic } => {
                let letter = ProducerRecord::new(Arc::clone(topic), dead_letter(poison));
                producer.send(letter)?.wait()?;
                Ok(false)
            }
        }
    }
}

fn dead_letter(poison: &PoisonRecord) -> Record {
    let StoredRecord { offset, timestamp, key, value, headers } = poison.record.clone();
    let stage = match poison.part {
        RecordPart::Key => "KEY_CONVERTER",
        RecordPart::Value => "VALUE_CONVERTER",
    };
    let why = [
        ("topic", poison.topic.to_string()),
        ("partition", poison.partition.to_string()),
        ("offset", offset.to_string()),
        ("stage", stage.to_owned()),
        ("exception.message", poison.reason.to_string()),
    ];
    let why = why.into_iter().map(|(name, text)| Header::new(format!("{ERRORS}{name}"), text));
    let headers = headers.into_iter().chain(why).collect();
    let timestamp = if timestamp.is_none() { None } else { Some(timestamp) };
    Record { key, value, headers, timestamp }
}

/// Runs the user-supplied code of a type on a part of a record; a panic becomes an error.
pub(super) fn guarded<T>(
    read: impl FnOnce() -> Result<T, DeserializeError>,
) -> Result<T, DeserializeError> {
    // The code borrows nothing of ours mutably, so a panic leaves no half-made change behind.
    callback::call(read).unwrap_or_else(|panicked| {
        let reason = panicked.message().unwrap_or("no message").to_owned();
        Err(DeserializeError::Panicked { reason })
    })
}
