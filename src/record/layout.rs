//! The positions of the fields of a batch header, and the sizes of its fixed parts.
//!
//! All numbers are big-endian. Positions count bytes from the start of the batch.

/// The offset of the first record: i64.
pub(crate) const BASE_OFFSET_AT: usize = 0;
/// The bytes that follow this field: i32.
pub(crate) const BATCH_LENGTH_AT: usize = 8;
/// The generation of the leader that appended the batch: i32.
pub(crate) const LEADER_EPOCH_AT: usize = 12;
/// The format version: i8. Its position is the same in every version.
pub(crate) const MAGIC_AT: usize = 16;
/// CRC-32C of everything after it: u32.
pub(crate) const CRC_AT: usize = 17;
/// Codec and flags: i16. The checksum covers the batch from here on.
pub(crate) const ATTRIBUTES_AT: usize = 21;
/// Last offset minus base offset: i32.
pub(crate) const LAST_OFFSET_DELTA_AT: usize = 23;
/// The base of the timestamp deltas: i64.
pub(crate) const BASE_TIMESTAMP_AT: usize = 27;
/// The largest timestamp, or the append time: i64.
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
/// The producer's id: i64.
pub(crate) const PRODUCER_ID_AT: usize = 43;
/// The producer's generation: i16.
pub(crate) const PRODUCER_EPOCH_AT: usize = 51;
/// The sequence number of the first record: i32.
pub(crate) const BASE_SEQUENCE_AT: usize = 53;
/// The number of records: i32.
pub(crate) const RECORD_COUNT_AT: usize = 57;
/// The size of the header; the records, or their compressed form, begin here.
pub(crate) const HEADER_SIZE: usize = 61;

/// The bytes that the batch length does not count: the base offset and the length itself.
pub(crate) const LENGTH_PREFIX_SIZE: usize = 12;
/// The number of bytes that contain length and magic.
pub(crate) const MAGIC_END: usize = 17;
/// The minimum batch length of the legacy formats, below which a scan cannot continue.
pub(crate) const MIN_LEGACY_LENGTH: i32 = 14;
/// The minimum batch length of format v2: that of a batch without records.
pub(crate) const MIN_LENGTH: i32 = 49;
/// The magic of the format this crate reads and writes.
pub(crate) const MAGIC_V2: i8 = 2;
/// The minimum size of a record: seven fields of one byte.
pub(crate) const MIN_RECORD_SIZE: usize = 7;
/// The minimum size of a record header: two lengths of one byte.
pub(crate) const MIN_RECORD_HEADER_SIZE: usize = 2;

/// Attributes: the codec's id.
pub(crate) const CODEC_MASK: i16 = 0x07;
/// Attributes: the timestamps are the log's.
pub(crate) const LOG_APPEND_TIME: i16 = 0x08;
/// Attributes: the batch belongs to a transaction.
pub(crate) const TRANSACTIONAL: i16 = 0x10;
/// Attributes: the records are control records.
pub(crate) const CONTROL: i16 = 0x20;
/// Attributes: the base timestamp holds the delete horizon.
pub(crate) const DELETE_HORIZON: i16 = 0x40;

const _: () = {
    assert!(BATCH_LENGTH_AT == BASE_OFFSET_AT + 8);
    assert!(LEADER_EPOCH_AT == BATCH_LENGTH_AT + 4);
    assert!(LENGTH_PREFIX_SIZE == LEADER_EPOCH_AT);
    assert!(MAGIC_AT == LEADER_EPOCH_AT + 4);
    assert!(CRC_AT == MAGIC_AT + 1);
    assert!(MAGIC_END == CRC_AT);
    assert!(ATTRIBUTES_AT == CRC_AT + 4);
    assert!(LAST_OFFSET_DELTA_AT == ATTRIBUTES_AT + 2);
    assert!(BASE_TIMESTAMP_AT == LAST_OFFSET_DELTA_AT + 4);
    assert!(MAX_TIMESTAMP_AT == BASE_TIMESTAMP_AT + 8);
    assert!(PRODUCER_ID_AT == MAX_TIMESTAMP_AT + 8);
    assert!(PRODUCER_EPOCH_AT == PRODUCER_ID_AT + 8);
    assert!(BASE_SEQUENCE_AT == PRODUCER_EPOCH_AT + 2);
    assert!(RECORD_COUNT_AT == BASE_SEQUENCE_AT + 4);
    assert!(HEADER_SIZE == RECORD_COUNT_AT + 4);
    assert!(HEADER_SIZE == LENGTH_PREFIX_SIZE + MIN_LENGTH as usize);
};

/// Returns the `N` bytes at `at`, or zeros if there are fewer.
///
/// With constant positions, the compiler removes the bounds check.
#[inline(always)]
pub(crate) fn field<const N: usize>(header: &[u8; HEADER_SIZE], at: usize) -> [u8; N] {
    match header.get(at..).and_then(|tail| tail.first_chunk()) {
        Some(bytes) => *bytes,
        None => [0; N],
    }
}

/// Writes `bytes` at `at`. Bytes that do not fit are dropped, which cannot happen with constant
/// positions.
#[inline(always)]
pub(crate) fn put<const N: usize>(header: &mut [u8; HEADER_SIZE], at: usize, bytes: [u8; N]) {
    if let Some(place) = header.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
        *place = bytes;
    }
}
