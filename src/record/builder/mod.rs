//! Building a batch.

mod encode;
mod finish;
mod parts;
#[cfg(test)]
mod tests;

use super::compress::{Compression, Compressor};
use super::layout::HEADER_SIZE;
use super::record::Record;
use super::record_ref::{HeaderRef, RecordRef};
use super::records::Records;
use super::validate::AppendRules;
use crate::error::{Error, InvalidBatch};
use crate::types::{
    Codec, LeaderEpoch, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp,
    TimestampType,
};
use parts::{RecordParts, bytes_size, too_large, write_bytes};

/// Encodes records into a batch, one batch after the other.
///
/// Records are written directly into the buffer of the batch, whose first 61 bytes are kept free
/// for the header. [`clear`](Self::clear) begins the next batch: it drops the records and the
/// values that belong to one batch, and keeps settings and memory.
///
/// A record that is rejected leaves the builder unchanged.
///
/// ```
/// use annals::record::{BatchBuilder, BatchRef, Compression, DecodeBuffer};
/// use annals::{Codec, Timestamp};
///
/// let mut builder = BatchBuilder::new();
/// builder.compression(Compression::of(Codec::None)).producer(4000, 2, 10);
/// for word in ["one", "two"] {
///     builder.push(Timestamp::from_millis(9), None, Some(word.as_bytes()))?;
/// }
/// let batch = BatchRef::parse(builder.finish()?)?;
/// assert_eq!(batch.header().record_count, 2);
/// assert_eq!(batch.header().last_sequence(), 11);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the encoded records.
    plain: Vec<u8>,
    /// Room for the header, then the compressed records.
    packed: Vec<u8>,
    compressor: Compressor,
    settings: Settings,
    batch: Batch,
}

/// The settings that are kept from batch to batch.
#[derive(Debug)]
struct Settings {
    compression: Compression,
    timestamp_type: TimestampType,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: Sequence,
    transactional: bool,
    control: bool,
}

/// The state of one batch.
#[derive(Debug)]
struct Batch {
    count: i32,
    /// The smallest offset delta of the next record.
    next_delta: i64,
    base_timestamp: i64,
    max_timestamp: i64,
    /// The smallest timestamp of the records that have one.
    min_timestamp: i64,
    delete_horizon: Option<Timestamp>,
    last_offset_delta: Option<i32>,
    fixed_max_timestamp: Option<Timestamp>,
}

impl Batch {
    const EMPTY: Batch = Batch {
        count: 0,
        next_delta: 0,
        base_timestamp: Timestamp::NONE.as_millis(),
        max_timestamp: Timestamp::NONE.as_millis(),
        min_timestamp: i64::MAX,
        delete_horizon: None,
        last_offset_delta: None,
        fixed_max_timestamp: None,
    };
}

impl BatchBuilder {
    /// Creates a builder for batches from offset 0, without producer, leader epoch and
    /// compression.
    #[must_use]
    pub fn new() -> BatchBuilder {
        BatchBuilder::with_capacity(0)
    }

    /// Creates a builder as [`new`](Self::new) does, with memory for this many bytes of encoded
    /// records.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> BatchBuilder {
        let mut plain = Vec::with_capacity(bytes.saturating_add(HEADER_SIZE));
        plain.resize(HEADER_SIZE, 0);
        BatchBuilder {
            plain,
            packed: Vec::new(),
            compressor: Compressor::default(),
            settings: Settings {
                compression: Compression::None,
                timestamp_type: TimestampType::CreateTime,
                base_offset: 0,
                leader_epoch: -1,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: -1,
                base_sequence: -1,
                transactional: false,
                control: false,
            },
            batch: Batch::EMPTY,
        }
    }

    /// Sets the compression. Control batches and batches without records are never compressed.
    pub fn compression(&mut self, compression: Compression) -> &mut BatchBuilder {
        self.settings.compression = compression;
        self
    }

    /// Sets the type of the timestamps: producer times or append times.
    ///
    /// With `LogAppendTime`, every record has the largest timestamp that was pushed.
    pub fn timestamp_type(&mut self, timestamp_type: TimestampType) -> &mut BatchBuilder {
        self.settings.timestamp_type = timestamp_type;
        self
    }

    /// Sets the offset of the record with offset delta 0.
    pub fn base_offset(&mut self, offset: Offset) -> &mut BatchBuilder {
        self.settings.base_offset = offset;
        self
    }

    /// Sets the leader epoch. The default is -1, unknown.
    pub fn leader_epoch(&mut self, epoch: LeaderEpoch) -> &mut BatchBuilder {
        self.settings.leader_epoch = epoch;
        self
    }

    /// Sets the idempotent producer, and the sequence number of the record with offset delta 0.
    pub fn producer(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: Sequence,
    ) -> &mut BatchBuilder {
        self.settings.producer_id = id;
        self.settings.producer_epoch = epoch;
        self.settings.base_sequence = base_sequence;
        self
    }

    /// Sets whether the batch belongs to a transaction, which requires a producer.
    pub fn transactional(&mut self, transactional: bool) -> &mut BatchBuilder {
        self.settings.transactional = transactional;
        self
    }

    /// Sets whether the records are control records.
    pub fn control(&mut self, control: bool) -> &mut BatchBuilder {
        self.settings.control = control;
        self
    }

    /// Sets the time from which tombstones of the batch may be removed. Set it before the first
    /// record, because timestamps are stored as differences to it. [`clear`](Self::clear) resets
    /// it.
    pub fn delete_horizon(&mut self, horizon: impl Into<Option<Timestamp>>) -> &mut BatchBuilder {
        self.batch.delete_horizon = horizon.into();
        self
    }

    /// Sets the last offset that the batch covers, which may lie after its last record. A batch
    /// without records needs it.
    ///
    /// Compaction keeps the offset range of a batch this way. [`clear`](Self::clear) resets it.
    pub fn set_last_offset_delta(&mut self, delta: i32) -> &mut BatchBuilder {
        self.batch.last_offset_delta = Some(delta);
        self
    }

    /// Sets the largest timestamp, which otherwise is that of the records.
    ///
    /// A batch that compaction left without records keeps its timestamp this way.
    /// [`clear`](Self::clear) resets it.
    pub fn set_max_timestamp(&mut self, timestamp: Timestamp) -> &mut BatchBuilder {
        self.batch.fixed_max_timestamp = Some(timestamp);
        self
    }

    /// Appends a record without headers.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecord`] with `TooLarge` if the record or the batch would exceed 2 GiB, or
    /// the batch has no offset left.
    // Without `always`, an append of small records takes a tenth longer.
    #[inline(always)]
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let delta = self.next_delta()?;
        let parts = RecordParts { delta, timestamp, key, value, header_count: 0, headers_size: 0 };
        self.encode(&parts, |_| {})
    }

    /// Appends a record with headers, which are iterated over twice.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_with_headers<'h, I>(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: I,
    ) -> Result<(), Error>
    where
        I: IntoIterator<Item: Into<HeaderRef<'h>>, IntoIter: Clone>,
    {
        let delta = self.next_delta()?;
        self.push_at_delta(delta, timestamp, key, value, headers)
    }

    /// Appends a record. If it has no timestamp, it gets `default_timestamp`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    #[inline]
    pub fn push_record(
        &mut self,
        record: &Record,
        default_timestamp: Timestamp,
    ) -> Result<(), Error> {
        let timestamp = record.timestamp.unwrap_or(default_timestamp);
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        if record.headers.is_empty() {
            self.push(timestamp, key, value)
        } else {
            self.push_with_headers(timestamp, key, value, &record.headers)
        }
    }

    /// Appends a record with this offset delta, so that the offsets before it have no record.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`Error::InvalidBatch`] with `Record` if the delta is not
    /// above that of the previous record.
    pub fn push_at_delta<'h, I>(
        &mut self,
        offset_delta: i32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: I,
    ) -> Result<(), Error>
    where
        I: IntoIterator<Item: Into<HeaderRef<'h>>, IntoIter: Clone>,
    {
        let delta = self.check_delta(offset_delta)?;
        let headers = headers.into_iter();
        let mut header_count = 0usize;
        let mut headers_size = 0usize;
        for header in headers.clone() {
            let header = header.into();
            header_count = header_count.saturating_add(1);
            headers_size = headers_size
                .saturating_add(bytes_size(Some(header.name.as_bytes())))
                .saturating_add(bytes_size(header.value));
        }
        let parts = RecordParts { delta, timestamp, key, value, header_count, headers_size };
        self.encode(&parts, |output| {
            for header in headers {
                let header = header.into();
                write_bytes(output, Some(header.name.as_bytes()));
                write_bytes(output, header.value);
            }
        })
    }

    /// Appends a record of another batch unchanged, with this offset delta. Its headers are not
    /// decoded.
    ///
    /// # Errors
    ///
    /// As [`push_at_delta`](Self::push_at_delta).
    pub fn push_record_ref(
        &mut self,
        offset_delta: i32,
        record: &RecordRef<'_>,
    ) -> Result<(), Error> {
        let encoded = record.headers.encoded();
        let parts = RecordParts {
            delta: self.check_delta(offset_delta)?,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            header_count: record.headers.len(),
            headers_size: encoded.len(),
        };
        self.encode(&parts, |output| output.extend_from_slice(encoded))
    }

    /// Returns the number of records.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.batch.count).unwrap_or(0)
    }

    /// Returns whether there are no records.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.count == 0
    }

    /// Returns the size of the batch so far, including the header, before compression.
    #[inline]
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.plain.len()
    }

    /// Returns the largest timestamp so far; [`Timestamp::NONE`] if no record has one.
    #[inline]
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        let pushed = Timestamp::from_millis(self.batch.max_timestamp);
        self.batch.fixed_max_timestamp.unwrap_or(pushed)
    }

    /// Validates the records by the rules of an append. They are decoded only if keys are
    /// required, or if a timestamp breaks a rule.
    #[inline(always)]
    pub(crate) fn check_records(&self, rules: &AppendRules) -> Result<(), Error> {
        if self
            .batch
            .fixed_max_timestamp
            .is_some_and(|max| max.as_millis() != self.batch.max_timestamp)
        {
            return Err(rule(
                "the largest timestamp that was set differs from the largest of the records",
            ));
        }
        let (earliest, latest) = rules.range();
        let times_hold = rules.timestamp_type == TimestampType::LogAppendTime
            || (self.batch.min_timestamp >= earliest.as_millis()
                && self.batch.max_timestamp <= latest.as_millis());
        if times_hold && !rules.keys_required {
            return Ok(());
        }
        self.check_each(rules, times_hold)
    }

    #[cold]
    fn check_each(&self, rules: &AppendRules, times_hold: bool) -> Result<(), Error> {
        for (index, record) in self.records()?.enumerate() {
            let record = record?;
            rules.check_key(index, record.key)?;
            if !times_hold {
                rules.check_time(index, record.timestamp)?;
            }
        }
        Ok(())
    }

    /// Returns the records so far.
    pub(crate) fn records(&self) -> Result<Records<'_>, Error> {
        let header = self.header(Codec::None)?;
        Ok(Records::new(&header, self.plain.get(HEADER_SIZE..).unwrap_or_default())?)
    }

    /// Drops the records, and the last offset delta, largest timestamp and delete horizon of the
    /// batch.
    pub fn clear(&mut self) {
        self.plain.resize(HEADER_SIZE, 0);
        self.batch = Batch::EMPTY;
    }

    #[inline]
    fn next_delta(&self) -> Result<i32, Error> {
        i32::try_from(self.batch.next_delta).map_err(|_| too_large(self.batch.count))
    }

    fn check_delta(&self, delta: i32) -> Result<i32, Error> {
        if i64::from(delta) >= self.batch.next_delta {
            return Ok(delta);
        }
        let index = u32::try_from(self.batch.count).unwrap_or(0);
        let what = "its offset is not above the one before it";
        Err(Error::InvalidBatch(InvalidBatch::Record { index, what }))
    }
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

#[cold]
fn rule(what: &'static str) -> Error {
    Error::InvalidBatch(InvalidBatch::RuleViolation(what))
}
