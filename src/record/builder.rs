//! Encoding a batch.

use super::batch::RecordBatch;
use super::compress::{Compression, Compressor};
use super::header::BatchHeader;
use super::iter::{HeaderRef, RecordRef, Records};
use super::layout::{self, HEADER_SIZE};
use super::record::Record;
use super::stamp::stamp_checksum;
use super::validate::AppendRules;
use super::varint;
use crate::error::{Error, InvalidBatch, InvalidRecord};
use crate::types::{
    Codec, LeaderEpoch, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp,
    TimestampType,
};
use bytes::Bytes;

/// The most bytes a batch can have: its length field has 31 bits. No record can be larger either.
const MAX_BATCH_BYTES: usize = i32::MAX as usize;

/// Room for all that comes before a record's key, or before its value if it has no key: four
/// numbers of up to 5 bytes, one of up to 10, and one byte of attributes; rounded up.
const PREFIX_BYTES: usize = 32;
const _: () = assert!(PREFIX_BYTES > 4 * varint::MAX_BYTES_32 + varint::MAX_BYTES_64);

/// Room for one number of up to 5 bytes.
const NUMBER_BYTES: usize = 8;

/// Encodes records into a batch, one batch after the other.
///
/// Records go straight into the buffer the batch will be in, whose first 61 bytes are
/// kept free for the header. [`clear`](Self::clear) begins the next batch: it drops the records
/// and what belongs to them alone, and keeps settings and memory.
///
/// A record that is refused leaves the builder as it was.
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
    /// The header's place, then the encoded records.
    plain: Vec<u8>,
    /// The header's place, then the compressed records.
    packed: Vec<u8>,
    compressor: Compressor,
    settings: Settings,
    batch: Batch,
}

/// The settings that stay from batch to batch.
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
    /// The offset delta after that of the last record.
    next_delta: i64,
    base_timestamp: i64,
    max_timestamp: i64,
    /// The smallest timestamp but for records that have none.
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

/// The parts of a record, with its headers encoded already or still to be encoded.
struct Parts<'a> {
    delta: i32,
    timestamp: Timestamp,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    header_count: usize,
    headers_size: usize,
}

impl BatchBuilder {
    /// Creates a builder for plain batches from offset 0, without producer, leader epoch and
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

    /// Sets the type of the timestamps: those of the producer, or append times.
    ///
    /// With `LogAppendTime` every record reads as the largest timestamp pushed.
    pub fn timestamp_type(&mut self, timestamp_type: TimestampType) -> &mut BatchBuilder {
        self.settings.timestamp_type = timestamp_type;
        self
    }

    /// Sets the offset of the record with offset delta 0.
    pub fn base_offset(&mut self, offset: Offset) -> &mut BatchBuilder {
        self.settings.base_offset = offset;
        self
    }

    /// Sets the leader epoch; -1, the default, is unknown.
    pub fn leader_epoch(&mut self, epoch: LeaderEpoch) -> &mut BatchBuilder {
        self.settings.leader_epoch = epoch;
        self
    }

    /// Returns the idempotent producer, and the sequence number of the record with offset delta 0.
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

    /// Sets whether the batch belongs to a transaction, which needs a producer.
    pub fn transactional(&mut self, transactional: bool) -> &mut BatchBuilder {
        self.settings.transactional = transactional;
        self
    }

    /// Sets whether its records are control records.
    pub fn control(&mut self, control: bool) -> &mut BatchBuilder {
        self.settings.control = control;
        self
    }

    /// Sets the time from which its tombstones may be removed. Set it before the first record:
    /// timestamps are stored as differences to it. [`clear`](Self::clear) takes it away.
    pub fn delete_horizon(&mut self, horizon: impl Into<Option<Timestamp>>) -> &mut BatchBuilder {
        self.batch.delete_horizon = horizon.into();
        self
    }

    /// Makes the batch cover offsets after its last record, or any at all if it has none.
    ///
    /// Compaction keeps the range of a batch so. [`clear`](Self::clear) takes it away.
    pub fn set_last_offset_delta(&mut self, delta: i32) -> &mut BatchBuilder {
        self.batch.last_offset_delta = Some(delta);
        self
    }

    /// Sets the largest timestamp instead of taking that of the records.
    ///
    /// A batch that compaction has left without records keeps its own so. [`clear`](Self::clear)
    /// takes it away.
    pub fn set_max_timestamp(&mut self, timestamp: Timestamp) -> &mut BatchBuilder {
        self.batch.fixed_max_timestamp = Some(timestamp);
        self
    }

    /// Appends a record without headers.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRecord`] with `TooLarge` if record or batch would be over 2 GiB, or
    /// the batch has no offset left.
    // Always: left to itself, the compiler's choice costs a tenth of an append of small records.
    #[inline(always)]
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        let delta = self.next_delta()?;
        let parts = Parts { delta, timestamp, key, value, header_count: 0, headers_size: 0 };
        self.encode(&parts, |_| {})
    }

    /// Appends a record with headers, which are gone through twice.
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

    /// Appends a record; without a time of its own it gets `default_timestamp`.
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

    /// Appends a record with this offset delta, so that offsets before it stay without a record.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push), and [`Error::InvalidBatch`] with `Record` if the delta is
    /// not above that of the record before.
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
        let parts = Parts { delta, timestamp, key, value, header_count, headers_size };
        self.encode(&parts, |output| {
            for header in headers {
                let header = header.into();
                write_bytes(output, Some(header.name.as_bytes()));
                write_bytes(output, header.value);
            }
        })
    }

    /// Appends a record of another batch as it is, with this offset delta. Its headers are not
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
        let parts = Parts {
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

    /// Returns whether it has no records.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.count == 0
    }

    /// Returns the size of the batch so far, header included, before compression.
    #[inline]
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.plain.len()
    }

    /// Returns the largest timestamp so far; none if there is none.
    #[inline]
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        let pushed = Timestamp::from_millis(self.batch.max_timestamp);
        self.batch.fixed_max_timestamp.unwrap_or(pushed)
    }

    /// Holds the records to the rules of an append. They are gone through only where keys are
    /// required, or where a timestamp breaks a rule.
    #[inline(always)]
    pub(crate) fn check_records(&self, rules: &AppendRules) -> Result<(), Error> {
        if self
            .batch
            .fixed_max_timestamp
            .is_some_and(|max| max.as_millis() != self.batch.max_timestamp)
        {
            return Err(rule("the largest timestamp that was set is not that of the records"));
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

    /// The records so far.
    pub(crate) fn records(&self) -> Result<Records<'_>, Error> {
        let header = self.header(Codec::None)?;
        Ok(Records::new(&header, self.plain.get(HEADER_SIZE..).unwrap_or_default())?)
    }

    /// Compresses the records if it should, writes the header, and returns the whole batch.
    ///
    /// The bytes are mutable so that the batch can be stamped. It can be called again,
    /// also after more records.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`] if the codec's cargo feature is off.
    /// - [`Error::InvalidConfig`] if the codec has no such level.
    /// - [`Error::InvalidBatch`] if the batch is not one a reader would take: with `Offsets`,
    ///   with `RuleViolation` if it has no records and no offsets were set for it, or the delete
    ///   horizon was set after its first record, and with `Compression` if the compressor fails.
    /// - [`Error::InvalidRecord`] with `TooLarge` if it is over 2 GiB once compressed.
    pub fn finish(&mut self) -> Result<&mut [u8], Error> {
        self.finish_with_header().map(|(batch, _)| batch)
    }

    /// As [`finish`](Self::finish), with the header that was written, but for its checksum.
    #[inline(always)]
    pub(crate) fn finish_with_header(&mut self) -> Result<(&mut [u8], BatchHeader), Error> {
        let compression = self.compression_used();
        let header = self.header(compression.codec())?;
        let batch = if compression == Compression::None {
            &mut self.plain
        } else {
            self.packed.clear();
            self.packed.resize(HEADER_SIZE, 0);
            let records = self.plain.get(HEADER_SIZE..).unwrap_or_default();
            self.compressor.compress(compression, records, &mut self.packed)?;
            &mut self.packed
        };
        let length = batch.len().saturating_sub(layout::LENGTH_PREFIX_SIZE);
        let batch_length = i32::try_from(length).map_err(|_| too_large(self.batch.count))?;
        let header = BatchHeader { batch_length, ..header };
        header.write_to(batch)?;
        stamp_checksum(batch)?;
        Ok((batch, header))
    }

    /// Finishes the batch, gives its bytes away, and begins the next as [`clear`](Self::clear)
    /// does.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish); the records stay then.
    pub fn build(&mut self) -> Result<RecordBatch, Error> {
        let bytes = self.build_bytes()?;
        Ok(RecordBatch::parse_unverified(Bytes::from(bytes))?)
    }

    /// Returns the bytes of [`build`](Self::build) alone, which can still be stamped.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish); the records stay then.
    pub fn build_bytes(&mut self) -> Result<Vec<u8>, Error> {
        self.finish()?;
        let compressed = self.compression_used() != Compression::None;
        let batch = if compressed { &mut self.packed } else { &mut self.plain };
        let taken = std::mem::take(batch);
        self.clear();
        Ok(taken)
    }

    /// Drops the records, and the last offset delta, largest timestamp and delete horizon set for
    /// them.
    pub fn clear(&mut self) {
        self.plain.resize(HEADER_SIZE, 0);
        self.batch = Batch::EMPTY;
    }

    fn compression_used(&self) -> Compression {
        if self.settings.control || self.is_empty() {
            Compression::None
        } else {
            self.settings.compression
        }
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

    /// Encodes a record; `write_headers` appends what `parts` has the size of.
    #[inline(always)]
    fn encode(
        &mut self,
        parts: &Parts<'_>,
        write_headers: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        let batch = &mut self.batch;
        let millis = parts.timestamp.as_millis();
        let base = match batch.delete_horizon {
            _ if batch.count > 0 => batch.base_timestamp,
            Some(horizon) => horizon.as_millis(),
            None => millis,
        };
        // As in Kafka, the delta of two times too far apart wraps, and wraps back when it is read.
        let time_delta = varint::zigzag(millis.wrapping_sub(base));
        let delta = varint::zigzag(i64::from(parts.delta));
        let (key, key_length) = length_of(parts.key);
        let (value, value_length) = length_of(parts.value);
        let header_count = varint::zigzag(parts.header_count as i64);
        let body = varint::size(time_delta)
            .saturating_add(varint::size(delta))
            .saturating_add(varint::size(key_length))
            .saturating_add(varint::size(value_length))
            .saturating_add(varint::size(header_count))
            .saturating_add(1)
            .saturating_add(key.len())
            .saturating_add(value.len())
            .saturating_add(parts.headers_size);
        // All lengths lie below the body's, so that this one check covers them.
        let needed = body.saturating_add(PREFIX_BYTES);
        let plain = &mut self.plain;
        if plain.len().saturating_add(needed) > MAX_BATCH_BYTES || batch.count == i32::MAX {
            return Err(too_large(batch.count));
        }
        plain.reserve(needed);
        append_in_place::<PREFIX_BYTES>(plain, |prefix| {
            let at = varint::put(prefix, 0, varint::zigzag(body as i64));
            let at = varint::put(prefix, at.wrapping_add(1), time_delta);
            let at = varint::put(prefix, at, delta);
            let at = varint::put(prefix, at, key_length);
            if key.is_empty() { varint::put(prefix, at, value_length) } else { at }
        });
        if !key.is_empty() {
            plain.extend_from_slice(key);
            append_number(plain, value_length);
        }
        plain.extend_from_slice(value);
        if parts.header_count == 0 {
            plain.push(0);
        } else {
            append_number(plain, header_count);
            write_headers(plain);
        }
        batch.base_timestamp = base;
        batch.max_timestamp =
            if batch.count == 0 { millis } else { batch.max_timestamp.max(millis) };
        if millis != Timestamp::NONE.as_millis() {
            batch.min_timestamp = batch.min_timestamp.min(millis);
        }
        batch.count = batch.count.saturating_add(1);
        batch.next_delta = i64::from(parts.delta).wrapping_add(1);
        Ok(())
    }

    /// The header but for length and checksum.
    #[inline(always)]
    fn header(&self, codec: Codec) -> Result<BatchHeader, Error> {
        let Settings { timestamp_type, transactional, control, .. } = self.settings;
        let batch = &self.batch;
        let base_timestamp = match batch.delete_horizon {
            Some(horizon) if batch.count > 0 && horizon.as_millis() != batch.base_timestamp => {
                return Err(rule("the delete horizon was set after the first record"));
            }
            Some(horizon) => horizon,
            None => Timestamp::from_millis(batch.base_timestamp),
        };
        let Some(last_offset_delta) = self.last_offset_delta() else {
            return Err(rule("a batch needs a record, or offsets to cover without one"));
        };
        // Each has bits of its own.
        let flag = |set: bool, flag: i16| if set { flag } else { 0 };
        let attributes = i16::from(codec as u8)
            | flag(timestamp_type == TimestampType::LogAppendTime, layout::LOG_APPEND_TIME)
            | flag(transactional, layout::TRANSACTIONAL)
            | flag(control, layout::CONTROL)
            | flag(batch.delete_horizon.is_some(), layout::DELETE_HORIZON);
        let base_offset = self.settings.base_offset;
        let last = base_offset.checked_add_signed(i64::from(last_offset_delta));
        if last_offset_delta < 0
            || i64::from(last_offset_delta) < batch.next_delta.saturating_sub(1)
            || last.is_none_or(|last| last > crate::types::MAX_OFFSET)
        {
            let base_offset = i64::try_from(base_offset).unwrap_or(i64::MAX);
            let impossible = InvalidBatch::Offsets { base_offset, last_offset_delta };
            return Err(Error::InvalidBatch(impossible));
        }
        Ok(BatchHeader {
            base_offset,
            batch_length: 0,
            leader_epoch: self.settings.leader_epoch,
            crc: 0,
            attributes,
            last_offset_delta,
            base_timestamp,
            max_timestamp: self.max_timestamp(),
            producer_id: self.settings.producer_id,
            producer_epoch: self.settings.producer_epoch,
            base_sequence: self.settings.base_sequence,
            record_count: batch.count,
        })
    }

    fn last_offset_delta(&self) -> Option<i32> {
        let of_records = i32::try_from(self.batch.next_delta.checked_sub(1)?).ok()?;
        self.batch.last_offset_delta.or_else(|| (of_records >= 0).then_some(of_records))
    }
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

/// The bytes, and the number that is stored for their length: -1 for null.
#[inline(always)]
fn length_of(bytes: Option<&[u8]>) -> (&[u8], u64) {
    match bytes {
        Some(bytes) => (bytes, varint::zigzag(bytes.len() as i64)),
        None => (&[], varint::zigzag(-1)),
    }
}

/// How much a length and its bytes take.
fn bytes_size(bytes: Option<&[u8]>) -> usize {
    let (bytes, length) = length_of(bytes);
    bytes.len().saturating_add(varint::size(length))
}

fn write_bytes(output: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let (bytes, length) = length_of(bytes);
    varint::write(output, length);
    output.extend_from_slice(bytes);
}

/// Appends what `write` puts into the room it is given, and returns the length of.
///
/// The room has a fixed size and most of it is cut off again. That takes a few instructions,
/// where appending byte by byte takes a check for each of them, and appending from elsewhere a
/// call to copy them.
#[inline(always)]
fn append_in_place<const N: usize>(
    output: &mut Vec<u8>,
    write: impl FnOnce(&mut [u8; N]) -> usize,
) {
    let start = output.len();
    output.extend_from_slice(&[0; N]);
    let written = output.last_chunk_mut().map_or(0, write);
    output.truncate(start.saturating_add(written));
}

/// Appends a number that takes up to 5 bytes.
#[inline(always)]
fn append_number(output: &mut Vec<u8>, number: u64) {
    append_in_place::<NUMBER_BYTES>(output, |room| varint::put(room, 0, number));
}

#[cold]
fn too_large(index: i32) -> Error {
    let index = usize::try_from(index).unwrap_or(0);
    Error::InvalidRecord { index, reason: InvalidRecord::TooLarge }
}

#[cold]
fn rule(what: &'static str) -> Error {
    Error::InvalidBatch(InvalidBatch::RuleViolation(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchRef, DecodeBuffer, validate_for_append};

    /// What the builder has noted of its records must come to what going through them does.
    #[test]
    fn a_builder_is_held_to_what_its_batch_is_held_to() {
        let times = [i64::MIN, -2, -1, 0, 999, 1000, 2000, 2500, 2501, i64::MAX];
        let pairs = times.iter().flat_map(|first| times.iter().map(move |second| [first, second]));
        let mut scratch = DecodeBuffer::default();
        for (pair, case) in pairs.flat_map(|pair| (0..8).map(move |case| (pair, case))) {
            let types = [TimestampType::CreateTime, TimestampType::LogAppendTime];
            let rules = AppendRules {
                timestamp_type: types[case & 1],
                now: Timestamp::from_millis(2000),
                before_max_millis: 1000,
                after_max_millis: 500,
                keys_required: case & 2 != 0,
            };
            let second_key = (case & 4 == 0).then_some(b"k".as_slice());
            let [first, second] = pair.map(|time| Timestamp::from_millis(*time));
            let mut builder = BatchBuilder::new();
            builder.push(first, Some(b"k"), Some(b"v")).unwrap();
            builder.push(second, second_key, Some(b"v")).unwrap();
            let of_builder = builder.check_records(&rules).err().map(|error| format!("{error:?}"));
            let batch = BatchRef::parse(builder.finish().unwrap()).unwrap();
            let of_batch = validate_for_append(batch, &rules, &mut scratch).err();
            let of_batch = of_batch.map(|error| format!("{error:?}"));
            assert_eq!(of_builder, of_batch, "{pair:?} {rules:?}");
        }
    }

    /// The memory is asked for, but for its last bytes not touched.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_batch_takes_records_while_there_is_room() {
        let now = Timestamp::from_millis(5);
        let is_too_large = |result: Result<(), Error>| {
            matches!(result, Err(Error::InvalidRecord { reason: InvalidRecord::TooLarge, .. }))
        };
        // One of 7 bytes, and the room all numbers may take.
        let room = 7 + PREFIX_BYTES;
        let mut builder = BatchBuilder::new();
        builder.plain = vec![0; MAX_BATCH_BYTES];
        builder.plain.truncate(MAX_BATCH_BYTES - room);
        builder.push(now, None, Some(b"v")).unwrap();
        builder.plain.resize(MAX_BATCH_BYTES - room + 1, 0);
        assert!(is_too_large(builder.push(now, None, Some(b"v"))));
        assert_eq!((builder.len(), builder.size_bytes()), (1, MAX_BATCH_BYTES - room + 1));

        let mut builder = BatchBuilder::new();
        assert!(is_too_large(builder.push(now, None, Some(&vec![0; MAX_BATCH_BYTES]))));
        assert_eq!((builder.len(), builder.size_bytes()), (0, HEADER_SIZE));
        builder.batch.count = i32::MAX;
        assert!(is_too_large(builder.push(now, None, None)));
    }
}
