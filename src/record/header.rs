//! The header of a batch: its first 61 bytes.

use super::layout::{self, HEADER_SIZE, LENGTH_PREFIX_SIZE, field, put};
use crate::error::InvalidBatch;
use crate::types::{
    Codec, LeaderEpoch, MAX_OFFSET, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp,
    TimestampType,
};

/// The header of a record batch, decoded.
///
/// It answers most questions about a batch without decoding its records: its offsets, its
/// timestamps, its producer, its codec.
///
/// ```
/// use annals::record::{BatchBuilder, BatchHeader};
/// use annals::Timestamp;
///
/// let mut builder = BatchBuilder::new();
/// builder.base_offset(100);
/// builder.push(Timestamp::from_millis(5), None, Some(b"first"))?;
/// builder.push(Timestamp::from_millis(7), None, Some(b"second"))?;
/// let header = BatchHeader::parse(builder.finish()?)?;
/// assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (100, 101, 102));
/// assert_eq!(header.max_timestamp, Timestamp::from_millis(7));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset that the offset deltas of records are added to. Compaction may have removed the
    /// record with this offset.
    pub base_offset: Offset,
    /// The bytes of the batch after this field: its size minus 12.
    pub batch_length: i32,
    /// The generation of the leader that appended the batch; -1 is unknown.
    pub leader_epoch: LeaderEpoch,
    /// The stored CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags, as they are stored.
    pub attributes: i16,
    /// The last offset of the batch minus its base offset. Compaction does not change it.
    pub last_offset_delta: i32,
    /// The base of the timestamp deltas: the first record's timestamp, or the delete horizon if
    /// the batch has one.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the records, or the append time; [`Timestamp::NONE`] if they have
    /// none.
    pub max_timestamp: Timestamp,
    /// The idempotent producer that wrote the batch; -1 is none.
    pub producer_id: ProducerId,
    /// The producer's generation; -1 is none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the record with the base offset; -1 is none.
    pub base_sequence: Sequence,
    /// The number of records in the batch. Compaction makes it smaller than
    /// [`offset_count`](Self::offset_count).
    pub record_count: i32,
}

impl BatchHeader {
    /// The size of a header in bytes.
    pub const SIZE: usize = HEADER_SIZE;

    /// Decodes the header at the start of `bytes`. Bytes after it are ignored.
    ///
    /// The checksum is not verified, and the batch may be incomplete.
    ///
    /// # Errors
    ///
    /// - `Truncated` if there are fewer than 61 bytes. From 17 bytes on, a wrong length or magic
    ///   is reported instead.
    /// - `Length` if the length field is below 14, or below 49 in a batch of format v2.
    /// - `LegacyFormat` for magic 0 and 1, `Magic` for any other than 2.
    /// - `Offsets` if the base offset or the last delta is negative, or the last offset exceeds
    ///   [`MAX_OFFSET`].
    /// - `UnknownCodec` for codec ids 5 to 7.
    /// - `RecordCount` if the record count is negative.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, InvalidBatch> {
        let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(explain_short(bytes));
        };
        let batch_length = i32::from_be_bytes(field(header, layout::BATCH_LENGTH_AT));
        let magic = i8::from_be_bytes(field(header, layout::MAGIC_AT));
        check_length_and_magic(batch_length, magic)?;

        let base_offset = i64::from_be_bytes(field(header, layout::BASE_OFFSET_AT));
        let last_offset_delta = i32::from_be_bytes(field(header, layout::LAST_OFFSET_DELTA_AT));
        let last_offset = base_offset.checked_add(i64::from(last_offset_delta));
        let in_range = last_offset.is_some_and(|last| last < i64::MAX);
        let (Ok(first), true, true) =
            (u64::try_from(base_offset), last_offset_delta >= 0, in_range)
        else {
            return Err(InvalidBatch::Offsets { base_offset, last_offset_delta });
        };
        let attributes = i16::from_be_bytes(field(header, layout::ATTRIBUTES_AT));
        let codec = codec_id(attributes);
        if Codec::from_id(codec).is_none() {
            return Err(InvalidBatch::UnknownCodec { id: codec });
        }
        let record_count = i32::from_be_bytes(field(header, layout::RECORD_COUNT_AT));
        if record_count < 0 {
            return Err(InvalidBatch::RecordCount { count: record_count });
        }
        let time = |at| Timestamp::from_millis(i64::from_be_bytes(field(header, at)));
        Ok(BatchHeader {
            base_offset: first,
            batch_length,
            leader_epoch: i32::from_be_bytes(field(header, layout::LEADER_EPOCH_AT)),
            crc: u32::from_be_bytes(field(header, layout::CRC_AT)),
            attributes,
            last_offset_delta,
            base_timestamp: time(layout::BASE_TIMESTAMP_AT),
            max_timestamp: time(layout::MAX_TIMESTAMP_AT),
            producer_id: i64::from_be_bytes(field(header, layout::PRODUCER_ID_AT)),
            producer_epoch: i16::from_be_bytes(field(header, layout::PRODUCER_EPOCH_AT)),
            base_sequence: i32::from_be_bytes(field(header, layout::BASE_SEQUENCE_AT)),
            record_count,
        })
    }

    /// Encodes the header. It writes the value of `crc`, and computes no checksum.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BatchHeader::SIZE] {
        let mut header = [0; HEADER_SIZE];
        self.put_into(&mut header);
        header
    }

    #[inline(always)]
    fn put_into(&self, header: &mut [u8; HEADER_SIZE]) {
        put(header, layout::BASE_OFFSET_AT, self.base_offset.to_be_bytes());
        put(header, layout::BATCH_LENGTH_AT, self.batch_length.to_be_bytes());
        put(header, layout::LEADER_EPOCH_AT, self.leader_epoch.to_be_bytes());
        put(header, layout::MAGIC_AT, layout::MAGIC_V2.to_be_bytes());
        put(header, layout::CRC_AT, self.crc.to_be_bytes());
        put(header, layout::ATTRIBUTES_AT, self.attributes.to_be_bytes());
        put(header, layout::LAST_OFFSET_DELTA_AT, self.last_offset_delta.to_be_bytes());
        put(header, layout::BASE_TIMESTAMP_AT, self.base_timestamp.as_millis().to_be_bytes());
        put(header, layout::MAX_TIMESTAMP_AT, self.max_timestamp.as_millis().to_be_bytes());
        put(header, layout::PRODUCER_ID_AT, self.producer_id.to_be_bytes());
        put(header, layout::PRODUCER_EPOCH_AT, self.producer_epoch.to_be_bytes());
        put(header, layout::BASE_SEQUENCE_AT, self.base_sequence.to_be_bytes());
        put(header, layout::RECORD_COUNT_AT, self.record_count.to_be_bytes());
    }

    /// Encodes the header over the first 61 bytes of `bytes`, as [`to_bytes`](Self::to_bytes)
    /// does.
    ///
    /// # Errors
    ///
    /// `Truncated` if there are fewer than 61 bytes. Nothing is written then.
    pub fn write_to(&self, bytes: &mut [u8]) -> Result<(), InvalidBatch> {
        let available = bytes.len();
        match bytes.first_chunk_mut() {
            Some(place) => {
                self.put_into(place);
                Ok(())
            }
            None => Err(truncated(HEADER_SIZE, available)),
        }
    }

    /// Returns the size of the batch in bytes, including the header.
    #[inline]
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(0).saturating_add(LENGTH_PREFIX_SIZE)
    }

    /// Returns the last offset that the batch covers.
    #[inline]
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.saturating_add_signed(i64::from(self.last_offset_delta)).min(MAX_OFFSET)
    }

    /// Returns the offset after the last one: the lowest that the next batch can begin at.
    #[inline]
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().saturating_add(1)
    }

    /// Returns the number of offsets that the batch covers. It may have fewer records.
    #[inline]
    #[must_use]
    pub fn offset_count(&self) -> u64 {
        u64::try_from(self.last_offset_delta).unwrap_or(0).saturating_add(1)
    }

    /// Returns the codec of the records.
    #[inline]
    #[must_use]
    pub fn codec(&self) -> Codec {
        // A parsed header has no other ids. A header that a caller filled in may have.
        Codec::from_id(codec_id(self.attributes)).unwrap_or(Codec::None)
    }

    /// Returns the type of the timestamps.
    #[inline]
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & layout::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Returns whether the batch belongs to a transaction.
    #[inline]
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & layout::TRANSACTIONAL != 0
    }

    /// Returns whether the records are control records, which applications never see.
    #[inline]
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & layout::CONTROL != 0
    }

    /// Returns the time from which compaction may remove the tombstones of the batch, once it has
    /// set one.
    #[inline]
    #[must_use]
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        (self.attributes & layout::DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Returns whether an idempotent or transactional producer wrote the batch.
    #[inline]
    #[must_use]
    pub fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Returns the sequence number of the last offset; -1 if the batch has no sequence. 0 follows
    /// 2147483647.
    #[inline]
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }
}

/// The codec bits of the attributes.
#[inline]
fn codec_id(attributes: i16) -> u8 {
    (attributes & layout::CODEC_MASK) as u8
}

#[inline]
fn check_length_and_magic(length: i32, magic: i8) -> Result<(), InvalidBatch> {
    if magic == layout::MAGIC_V2 && length >= layout::MIN_LENGTH {
        return Ok(());
    }
    if length < layout::MIN_LEGACY_LENGTH {
        return Err(InvalidBatch::Length { length, minimum: layout::MIN_LEGACY_LENGTH });
    }
    match magic {
        layout::MAGIC_V2 => Err(InvalidBatch::Length { length, minimum: layout::MIN_LENGTH }),
        0 | 1 => Err(InvalidBatch::LegacyFormat { magic }),
        _ => Err(InvalidBatch::Magic { magic }),
    }
}

/// Returns the error of fewer than 61 bytes: a wrong length or magic if they show one, otherwise
/// `Truncated`.
#[cold]
fn explain_short(bytes: &[u8]) -> InvalidBatch {
    let mut start = [0; HEADER_SIZE];
    for (to, from) in start.iter_mut().zip(bytes) {
        *to = *from;
    }
    if bytes.len() >= layout::MAGIC_END {
        let length = i32::from_be_bytes(field(&start, layout::BATCH_LENGTH_AT));
        let magic = i8::from_be_bytes(field(&start, layout::MAGIC_AT));
        if let Err(problem) = check_length_and_magic(length, magic) {
            return problem;
        }
    }
    truncated(HEADER_SIZE, bytes.len())
}

#[cold]
pub(crate) fn truncated(needed: usize, available: usize) -> InvalidBatch {
    InvalidBatch::Truncated { needed: needed as u64, available: available as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 50,
            batch_length: 49,
            leader_epoch: 3,
            crc: 7,
            attributes: 0,
            last_offset_delta: 9,
            base_timestamp: Timestamp::from_millis(11),
            max_timestamp: Timestamp::from_millis(12),
            producer_id: 4000,
            producer_epoch: 2,
            base_sequence: 2_147_483_646,
            record_count: 0,
        }
    }

    #[test]
    fn every_field_comes_back() {
        let one = header();
        let parsed = BatchHeader::parse(&one.to_bytes()).unwrap();
        assert_eq!(parsed, one);
        assert_eq!(parsed.last_sequence(), 7);
        assert_eq!(parsed.size_bytes(), 61);
        assert_eq!(parsed.offset_count(), 10);
        assert_eq!(BatchHeader { base_sequence: -1, ..one }.last_sequence(), -1);
    }

    #[test]
    fn impossible_fields_are_refused_by_name() {
        let one = header();
        let parse = |header: BatchHeader| BatchHeader::parse(&header.to_bytes());
        let last = BatchHeader { base_offset: MAX_OFFSET - 9, ..one };
        assert_eq!(parse(last).unwrap().next_offset(), i64::MAX as u64);
        assert!(matches!(
            parse(BatchHeader { base_offset: MAX_OFFSET - 8, ..one }),
            Err(InvalidBatch::Offsets { .. })
        ));
        assert!(matches!(
            parse(BatchHeader { base_offset: u64::MAX, ..one }),
            Err(InvalidBatch::Offsets { base_offset: -1, .. })
        ));
        assert!(matches!(
            parse(BatchHeader { last_offset_delta: -1, ..one }),
            Err(InvalidBatch::Offsets { last_offset_delta: -1, .. })
        ));
        assert_eq!(
            parse(BatchHeader { attributes: 7, ..one }),
            Err(InvalidBatch::UnknownCodec { id: 7 })
        );
        assert_eq!(
            parse(BatchHeader { record_count: -5, ..one }),
            Err(InvalidBatch::RecordCount { count: -5 })
        );
    }

    #[test]
    fn length_and_magic_come_before_truncation() {
        let mut bytes = header().to_bytes();
        assert_eq!(BatchHeader::parse(&bytes[..16]), Err(truncated(61, 16)));
        assert_eq!(BatchHeader::parse(&bytes[..60]), Err(truncated(61, 60)));
        bytes[11] = 48;
        assert_eq!(
            BatchHeader::parse(&bytes[..17]),
            Err(InvalidBatch::Length { length: 48, minimum: 49 })
        );
        bytes[16] = 1;
        assert_eq!(BatchHeader::parse(&bytes[..17]), Err(InvalidBatch::LegacyFormat { magic: 1 }));
        bytes[16] = 9;
        assert_eq!(BatchHeader::parse(&bytes), Err(InvalidBatch::Magic { magic: 9 }));
        bytes[11] = 13;
        assert_eq!(
            BatchHeader::parse(&bytes[..17]),
            Err(InvalidBatch::Length { length: 13, minimum: 14 })
        );
    }
}
