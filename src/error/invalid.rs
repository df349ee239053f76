//! Invalid batches and records.

use super::count::Counted;
use super::location::TimeLimit;
use crate::types::{Codec, Timestamp};

/// The reason why bytes are not a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// The bytes end before the batch does.
    #[error("{needed} bytes are needed, but there are only {available}")]
    Truncated {
        /// The size of the batch, or of its header.
        needed: u64,
        /// The number of bytes that exist.
        available: u64,
    },
    /// The length field is below the minimum of the format.
    #[error("batch length {length} is below the {minimum} of its format")]
    Length {
        /// The stored length.
        length: i32,
        /// The smallest valid length.
        minimum: i32,
    },
    /// The magic byte belongs to no format.
    #[error("unknown magic {magic}")]
    Magic {
        /// The stored byte.
        magic: i8,
    },
    /// A message set of a format earlier than version 2.
    #[error("message format v{magic} is not supported, only v2")]
    LegacyFormat {
        /// The stored magic: 0 or 1.
        magic: i8,
    },
    /// The checksum does not match the bytes.
    #[error("checksum {stored:08x} stored, {computed:08x} computed")]
    Checksum {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The attributes name a codec that does not exist.
    #[error("unknown codec {id}")]
    UnknownCodec {
        /// The id in the attributes.
        id: u8,
    },
    /// The batch is compressed with a codec that is not in this build.
    #[error("this build cannot decode {codec}; enable the cargo feature of that name")]
    CodecUnavailable {
        /// The codec.
        codec: Codec,
    },
    /// The base offset, or the offset range it spans, is impossible.
    #[error("impossible offsets (base {base_offset}, last offset delta {last_offset_delta})")]
    Offsets {
        /// The stored base offset.
        base_offset: i64,
        /// The stored delta of the last offset.
        last_offset_delta: i32,
    },
    /// The number of records is negative, or more than the bytes can hold.
    #[error("impossible record count {count}")]
    RecordCount {
        /// The stored count.
        count: i32,
    },
    /// There are fewer records than the header says.
    #[error("the header has a record count of {expected}, but the data ends after {found}")]
    RecordsMissing {
        /// The stored count.
        expected: u32,
        /// The number of records that exist.
        found: u32,
    },
    /// Bytes are left over after the last record.
    #[error("the batch has {} after its last record", Counted(*.bytes, "surplus byte"))]
    TrailingBytes {
        /// The number of bytes.
        bytes: u64,
    },
    /// A record's fields do not fit its length, or a length is impossible.
    #[error("record {index} is malformed ({what})")]
    Record {
        /// The index of the record in the batch, counted from 0.
        index: u32,
        /// The problem.
        what: &'static str,
    },
    /// The compressed data cannot be decompressed.
    #[error("malformed {codec} data ({what})")]
    Compression {
        /// The codec.
        codec: Codec,
        /// The problem.
        what: &'static str,
    },
    /// The decompressed batch exceeds the configured limit.
    #[error("the decompressed batch exceeds the limit of {limit} bytes")]
    DecompressedTooLarge {
        /// The limit.
        limit: u64,
    },
    /// A batch for an append violates a rule that stored batches need not follow.
    #[error("{0}")]
    RuleViolation(&'static str),
}

/// The reason why a record cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// The timestamp is negative, or too far from the clock.
    #[error(
        "timestamp {timestamp} is outside of {earliest} to {latest}; {}",
        TimeLimit(*.timestamp, *.earliest)
    )]
    Timestamp {
        /// The record's timestamp.
        timestamp: Timestamp,
        /// The earliest timestamp that is valid at present.
        earliest: Timestamp,
        /// The latest timestamp that is valid at present.
        latest: Timestamp,
    },
    /// The record has no key, and the log is compacted by key.
    #[error(
        "a compacted log rejects records without a key; set a key, or use a log with `CleanupPolicy::Delete`"
    )]
    MissingKey,
    /// The encoded record exceeds 2 GiB, the limit of the format.
    #[error("the record exceeds 2 GiB, the limit of the format; split it")]
    TooLarge,
}
