//! What is sent, and what is known of it once it was.

use crate::record::{Header, Record};
use crate::types::{Offset, Timestamp};
use bytes::Bytes;
use std::sync::Arc;

/// A record, and where it is to go.
///
/// A topic's name that is sent to often is best kept as an `Arc<str>`: making a record copies no name then.
///
/// ```
/// use annals::{ProducerRecord, Record, Timestamp};
///
/// let by_key = ProducerRecord::new("orders", Record::new("paid").key("order-7"));
/// let by_number = ProducerRecord::new("orders", "paid").partition(2);
/// let short: ProducerRecord = ("orders", "paid").into();
/// let timed = ProducerRecord::new("orders", Record::from("paid").timestamp(Timestamp::from_millis(9)));
/// # assert_eq!((by_key.partition, by_number.partition, &*short.topic), (None, Some(2), "orders"));
/// # assert!(timed.record.timestamp.is_some());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerRecord {
    /// The topic it goes to.
    pub topic: Arc<str>,
    /// The partition it goes to, if that is not to be chosen.
    pub partition: Option<u32>,
    /// Key, value, headers and time.
    pub record: Record,
}

impl ProducerRecord {
    /// A record for a topic, whose partition the producer chooses.
    pub fn new(topic: impl Into<Arc<str>>, record: impl Into<Record>) -> ProducerRecord {
        ProducerRecord { topic: topic.into(), partition: None, record: record.into() }
    }

    /// Names the partition.
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

/// A record as it is encoded: whoever sends it keeps what it is made of.
#[derive(Clone, Copy)]
pub(super) struct Lent<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header],
    pub(super) timestamp: Option<Timestamp>,
}

impl<'a> From<&'a Record> for Lent<'a> {
    #[inline]
    fn from(record: &'a Record) -> Lent<'a> {
        Lent {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
            timestamp: record.timestamp,
        }
    }
}

impl Lent<'_> {
    /// A copy that is the sender's no more.
    pub(super) fn to_record(self) -> Record {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let (key, value) = (copy(self.key), copy(self.value));
        Record { key, value, headers: self.headers.to_vec(), timestamp: self.timestamp }
    }
}

/// Where a record went. Kafka: `RecordMetadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Its offset. `None` if it failed, and with [`Acks::HandedOver`](crate::Acks::HandedOver), where nobody waits to know.
    pub offset: Option<Offset>,
    /// Its time: its own, or that of the log if the topic's times are the log's.
    pub timestamp: Timestamp,
}
