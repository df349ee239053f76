//! Records to send, and their metadata once they are sent.

use crate::record::{Header, Record};
use crate::types::{Offset, Timestamp};
use bytes::Bytes;
use std::sync::Arc;

/// A record with its topic and, optionally, its partition.
///
/// If you send to a topic often, keep its name as an `Arc<str>`: a record then copies no name.
///
/// ```
/// use annals::{ProducerRecord, Record, Timestamp};
///
/// let by_key = ProducerRecord::new("orders", Record::new("paid").key("order-7"));
/// let by_number = ProducerRecord::new("orders", "paid").partition(2);
/// let short: ProducerRecord = ("orders", "paid").into();
/// let paid = Record::from("paid").timestamp(Timestamp::from_millis(9));
/// let timed = ProducerRecord::new("orders", paid);
/// # assert_eq!((by_key.partition, by_number.partition), (None, Some(2)));
/// # assert_eq!(&*short.topic, "orders");
/// # assert!(timed.record.timestamp.is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition; `None` lets the producer choose it.
    pub partition: Option<u32>,
    /// Key, value, headers and timestamp.
    pub record: Record,
}

impl ProducerRecord {
    /// Creates a record for a topic. The producer chooses the partition.
    pub fn new(topic: impl Into<Arc<str>>, record: impl Into<Record>) -> ProducerRecord {
        ProducerRecord { topic: topic.into(), partition: None, record: record.into() }
    }

    /// Sets the partition.
    #[must_use]
    pub fn partition(mut self, partition: u32) -> ProducerRecord {
        self.partition = Some(partition);
        self
    }
}

impl<T: Into<Arc<str>>, R: Into<Record>> From<(T, R)> for ProducerRecord {
    fn from((topic, record): (T, R)) -> ProducerRecord {
        ProducerRecord::new(topic, record)
    }
}

/// A record that borrows its parts from the caller while it is encoded.
#[derive(Clone, Copy)]
pub(super) struct RecordSlices<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header],
    pub(super) timestamp: Option<Timestamp>,
}

impl<'a> From<&'a Record> for RecordSlices<'a> {
    #[inline]
    fn from(record: &'a Record) -> RecordSlices<'a> {
        RecordSlices {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
            timestamp: record.timestamp,
        }
    }
}

impl RecordSlices<'_> {
    /// Returns an owned copy.
    pub(super) fn to_record(self) -> Record {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let (key, value) = (copy(self.key), copy(self.value));
        Record { key, value, headers: self.headers.to_vec(), timestamp: self.timestamp }
    }
}

/// The partition, offset and timestamp of a record that was sent. Kafka: `RecordMetadata`.
///
/// [`SendHandle`](crate::SendHandle) has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The offset. `None` if the record failed, and with [`Acks::None`](crate::Acks::None), where
    /// the producer does not wait for the result.
    pub offset: Option<Offset>,
    /// The timestamp: the record's own, or the append time if the topic uses append times.
    pub timestamp: Timestamp,
}
