//! The errors of the crate, with the way out of each.

mod consume;
mod group;
mod location;
mod produce;
mod serialize;
mod topic;

pub use consume::{CommitError, ConsumeError};
pub use group::GroupError;
pub use location::{CloseReason, LogLocation};
pub use produce::ProduceError;
pub use serialize::{DeserializeError, RecordPart, SerializationError, SerializeError};
pub use topic::TopicError;

use crate::types::{Codec, Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use location::{Closed, Limit, Range, Recover, TimeLimit};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of a call that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a failed call. Its [`kind`](Error::kind) tells how to react.
///
/// Every message names what failed, where, and the way out. A failed call never leaves the log
/// in an intermediate state: it has changed nothing, or its documentation describes the state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the file system failed.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// The operation, as a verb: "open", "write", "sync".
        operation: &'static str,
        /// The file or directory.
        path: Box<Path>,
        /// The error of the operating system.
        source: io::Error,
    },

    /// Bytes on disk are not what a log wrote there.
    #[error("{}; {}", .0, Advice(&.0.path))]
    Corrupt(Box<Corruption>),

    /// The offset is below the start or above the end of the log.
    #[error("offset {requested} is out of range: log {log} {}", Range(*.start, *.end))]
    OffsetOutOfRange {
        /// The log.
        log: LogLocation,
        /// The requested offset.
        requested: Offset,
        /// The first offset of the log.
        start: Offset,
        /// The offset after the last one.
        end: Offset,
    },

    /// The batch is larger than the limit of the log.
    #[error(
        "a batch of {bytes} bytes is over the limit of {limit} {}; send smaller batches or raise it",
        Limit(.option, .log.as_ref())
    )]
    BatchTooLarge {
        /// The log. `None` where a batch is read from a file.
        log: Option<LogLocation>,
        /// The size of the batch, its header included, compressed if it is compressed.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// The option that sets the limit, as the method that sets it is named. The setting of a
        /// topic has dots in it: `max.message.bytes`.
        option: &'static str,
    },

    /// A record cannot be stored.
    #[error("record {index} of the batch: {reason}")]
    InvalidRecord {
        /// The index of the record in the append, counted from 0.
        index: usize,
        /// The problem.
        reason: InvalidRecord,
    },

    /// The bytes to append are not a valid batch.
    #[error("not a valid record batch: {0}")]
    InvalidBatch(InvalidBatch),

    /// The batch of an idempotent producer is not the next one of that producer.
    #[error("{0}")]
    Producer(ProducerStateError),

    /// A call for a topic failed, or the topic does not exist.
    #[error("{0}")]
    Topic(Box<TopicError>),

    /// A producer could not send a record.
    #[error("{0}")]
    Produce(Box<ProduceError>),

    /// A call of a consumer failed.
    #[error("{0}")]
    Consume(Box<ConsumeError>),

    /// A consumer group rejected a call.
    #[error("{0}")]
    Group(Box<GroupError>),

    /// A key or a value could not be serialized or deserialized.
    #[error("{0}")]
    Serialization(Box<SerializationError>),

    /// A legacy message format, or a codec that is not in this build.
    #[error("{0}")]
    Unsupported(Unsupported),

    /// An option has an invalid value.
    #[error("option `{option}`: {reason}")]
    InvalidConfig {
        /// The option, as the method that sets it is named.
        option: &'static str,
        /// The problem with the value, and what is valid.
        reason: String,
    },

    /// Another `Log` or `Store`, in this process or another, or a broker has the directory open
    /// for writing.
    #[error(
        "{} is open for writing{}; close it there, or open it read-only here",
        path.display(),
        Holder(*.holder)
    )]
    Locked {
        /// The directory.
        path: Box<Path>,
        /// The process that holds it, if known.
        holder: Option<u32>,
    },

    /// The path is not the directory of a log, or of a store where one was opened.
    #[error("cannot open {}: {reason}", path.display())]
    NotALog {
        /// The path that was opened.
        path: Box<Path>,
        /// The kind of thing that the path names instead.
        reason: &'static str,
    },

    /// The directory to read does not exist, or it does not exist any more: the topic was deleted,
    /// or the directory moved.
    #[error(
        "there is no directory {}: check the path; if it was there before, its topic was deleted or it was moved",
        path.display()
    )]
    DirectoryNotFound {
        /// The directory of the log or the store.
        path: Box<Path>,
    },

    /// After an earlier failure it is not known what is durable, so the log rejects all changes.
    #[error("log {log} stopped accepting writes after an I/O error ({cause}); {}", Recover(.log))]
    Poisoned {
        /// The log.
        log: LogLocation,
        /// The failure that caused it.
        cause: Arc<str>,
    },

    /// The log was opened read-only.
    #[error(
        "log {log} is open read-only; to write, open it with `Log::open` or its store with `Store::open`"
    )]
    ReadOnly {
        /// The log.
        log: LogLocation,
    },

    /// The log is closed, for all its handles.
    #[error("{}", Closed(.log, *.reason))]
    Closed {
        /// The log.
        log: LogLocation,
        /// The reason.
        reason: CloseReason,
    },

    /// The store was closed, by this handle or a clone of it.
    #[error("the store is closed: open it again")]
    StoreClosed,
}

/// The way out for damage in a file: only a log file cannot be rebuilt.
struct Advice<'a>(&'a Path);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.extension().and_then(std::ffi::OsStr::to_str) {
            Some("index" | "timeindex") => {
                "remove the file: it is rebuilt from the log when it is needed"
            }
            Some("log") => {
                "restore the file from a copy, or set the damage aside: open the log with \
                 `OnCorruption::Quarantine`, or call `Store::reopen_partition` with it; then the \
                 damaged bytes are moved to another file, and every sound batch is kept"
            }
            _ => "restore the file from a copy",
        })
    }
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The log that is open may be another one of the directory, and its handle one that no
            // name says.
            Some(pid) if pid == std::process::id() => f.write_str(
                " in this process, by a store or a log in it that still has a handle, such as a topic, reader or consumer",
            ),
            Some(pid) => write!(f, " by process {pid}"),
            None => Ok(()),
        }
    }
}

/// The kind of an error: what the caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call's arguments or options are wrong: correct them.
    InvalidInput,
    /// The offset is not in the log: begin again at its start or its end.
    OutOfRange,
    /// Stored bytes are damaged: restore the file, or set the damage aside with
    /// [`OnCorruption::Quarantine`](crate::OnCorruption::Quarantine).
    Corrupt,
    /// This build or this version cannot read it: use one that can.
    Unsupported,
    /// Another process or handle has the log or the store open: try again when it is closed.
    Busy,
    /// The disk is full, a quota used up, or the file as large as files may be: make room, raise
    /// the limit, or in the last case [`roll`](crate::Log::roll), and try again; the log is
    /// usable.
    StorageFull,
    /// Too many files are open: close some, or raise the limit, and try again.
    TooManyFiles,
    /// Another error of the operating system: end, and inform an operator.
    Io,
    /// The log stopped accepting writes: close it and open it again.
    Poisoned,
    /// The log, the store, the producer or the consumer is closed: nothing to retry.
    Closed,
    /// The log was opened read-only: open it for writing, if no other process does.
    ReadOnly,
    /// A consumer group still has members: close them, or [remove](crate::Admin::remove_members)
    /// them.
    InUse,
    /// Another producer or consumer has taken over from this one: close this one.
    Fenced,
    /// Records of this producer are missing before these: send them, or begin again with a higher
    /// epoch.
    OutOfOrder,
    /// The topic, partition, group or directory does not exist: create it, or name another.
    NotFound,
    /// It already exists: use it, or name another.
    Exists,
    /// The partitions of the group are being assigned anew: poll again, and do not commit for
    /// partitions that other members have by now.
    Rebalancing,
    /// The call took too long: retry, or give it more time.
    TimedOut,
}

impl Error {
    /// Returns the kind of the error, which tells how to react.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Io { source, .. } if is_storage_full(source) => ErrorKind::StorageFull,
            Error::Io { source, .. } if is_too_many_files(source) => ErrorKind::TooManyFiles,
            Error::Io { .. } => ErrorKind::Io,
            Error::Corrupt(_) => ErrorKind::Corrupt,
            Error::DirectoryNotFound { .. } => ErrorKind::NotFound,
            Error::OffsetOutOfRange { .. } => ErrorKind::OutOfRange,
            Error::BatchTooLarge { .. }
            | Error::InvalidRecord { .. }
            | Error::InvalidBatch(_)
            | Error::InvalidConfig { .. }
            | Error::NotALog { .. } => ErrorKind::InvalidInput,
            Error::Producer(refusal) => refusal.kind(),
            Error::Topic(error) => error.kind(),
            Error::Produce(error) => error.kind(),
            Error::Consume(error) => error.kind(),
            Error::Group(error) => error.kind(),
            Error::Serialization(error) => error.kind(),
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::Locked { .. } => ErrorKind::Busy,
            Error::Poisoned { .. } => ErrorKind::Poisoned,
            Error::ReadOnly { .. } => ErrorKind::ReadOnly,
            Error::Closed { .. } | Error::StoreClosed => ErrorKind::Closed,
        }
    }

    /// Returns whether the same call can succeed later without a correction: true if the
    /// disk or a quota was full, the directory locked, descriptors had run out, a group was being
    /// assigned anew, or time had run out.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::StorageFull
                | ErrorKind::Busy
                | ErrorKind::TooManyFiles
                | ErrorKind::Rebalancing
                | ErrorKind::TimedOut
        )
    }

    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { operation, path: path.into(), source }
    }

    /// The error for a caller that names a partition, and holds no log: a log that was closed to
    /// be reopened is a partition that is about to be open again.
    pub(crate) fn or_being_reopened(self) -> Error {
        let Error::Closed { log, reason: CloseReason::Reopened } = self else { return self };
        let (topic, partition) = log.partition().unwrap_or_default();
        let (topic, reason) = (topic.to_owned(), "it is being reopened".to_owned());
        TopicError::PartitionOffline { topic, partition, kind: ErrorKind::Busy, reason }.into()
    }

    /// The error of listing the directory of a log or a store.
    pub(crate) fn list(path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::DirectoryNotFound { path: path.into() },
            io::ErrorKind::NotADirectory => {
                Error::NotALog { path: path.into(), reason: NOT_A_DIRECTORY }
            }
            _ => Error::io("list", path, source),
        }
    }

    /// Returns whether a file is missing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

pub(crate) const NOT_A_DIRECTORY: &str =
    "it, or what it lies in, is a file or a link to nothing; give a directory";

/// A full disk, a full quota, and a file that may grow no further.
pub(crate) fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// EMFILE and ENFILE have no stable `io::ErrorKind`; their numbers are the same on every Unix.
pub(crate) fn is_too_many_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// Damage on disk: the file, the position, and the problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is damaged at byte {position}{}: {reason}", path.display(), AtOffset(*.offset))]
pub struct Corruption {
    /// The damaged file.
    pub path: PathBuf,
    /// The byte at which the damaged batch or entry begins.
    pub position: u64,
    /// The offset that the log had reached there, if known.
    pub offset: Option<Offset>,
    /// The damage.
    pub reason: CorruptionKind,
}

struct AtOffset(Option<Offset>);

impl fmt::Display for AtOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(offset) => write!(f, " (offset {offset})"),
            None => Ok(()),
        }
    }
}

/// The damage of stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorruptionKind {
    /// A batch cannot be decoded.
    #[error("{0}")]
    Batch(#[from] InvalidBatch),

    /// The offsets of a batch are not above those of the batch before it.
    #[error("a batch begins at offset {found}, below {expected} where the one before it ended")]
    OffsetsNotIncreasing {
        /// The lowest valid base offset.
        expected: Offset,
        /// The base offset of the batch.
        found: Offset,
    },

    /// The offsets of a batch overlap those of the next batch or segment, or exceed the end of the
    /// log.
    #[error("a batch ends at offset {found}, but what comes behind it begins at {limit}")]
    OffsetsOverlapNext {
        /// The base offset of the next batch or segment, or the end of the log.
        limit: Offset,
        /// The last offset of the batch.
        found: Offset,
    },

    /// Data that was known to be durable is missing.
    #[error("the data ends at offset {found}, but everything below {expected} was synced")]
    MissingData {
        /// Everything below this offset had been synced.
        expected: Offset,
        /// The end of the data that is there.
        found: Offset,
    },

    /// Offsets have no batch in a part of a log that was never compacted: their batches are lost.
    #[error("the batches of offsets {from} to {before} are missing; nothing was compacted there", before = to.saturating_sub(1))]
    OffsetsMissing {
        /// The first missing offset.
        from: Offset,
        /// The offset at which the next batch or segment begins.
        to: Offset,
    },

    /// A file without a batch has the name of a segment, and does not begin where the log ends. If
    /// it is not one of the log's files, remove it.
    #[error(
        "it holds no batch, and the log ends at offset {end}: as a segment it would skip {} offsets; \
         if it is not one of the log's files, remove it",
        base.saturating_sub(*end)
    )]
    StraySegment {
        /// Where the log ends without it.
        end: Offset,
        /// The offset of its name.
        base: Offset,
    },

    /// The file ends before the data it should hold.
    #[error("the file ends after {found} bytes, but {expected} belong to it")]
    FileTruncated {
        /// The bytes it should have.
        expected: u64,
        /// The bytes it has.
        found: u64,
    },

    /// An index entry contradicts the log. The log is not harmed: the next read that needs the
    /// index rebuilds it, and the process that has the log open for writing replaces the file.
    #[error("index entry {entry} contradicts the log: {what}")]
    IndexEntry {
        /// The number of the entry in its file.
        entry: u64,
        /// The contradiction.
        what: &'static str,
    },

    /// A file whose content is not in its format.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Why bytes are not a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// The bytes end before the batch does.
    #[error("{available} bytes where {needed} are needed")]
    Truncated {
        /// The number of bytes that the batch, or its header, takes.
        needed: u64,
        /// The number of bytes that are there.
        available: u64,
    },
    /// The length field is below what a batch needs.
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
    /// A message set of a format before version 2.
    #[error("message format v{magic} is not supported, only v2 is")]
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
    #[error("this build cannot decode {codec}: enable the cargo feature of that name")]
    CodecUnavailable {
        /// The codec.
        codec: Codec,
    },
    /// The base offset, or the offset range it spans, is impossible.
    #[error("impossible offsets: base {base_offset}, last offset delta {last_offset_delta}")]
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
    #[error("the header counts {expected} records, the data ends after {found}")]
    RecordsMissing {
        /// The stored count.
        expected: u32,
        /// The number of records that were there.
        found: u32,
    },
    /// Bytes are left over after the last record.
    #[error("{bytes} bytes are left over after the last record")]
    TrailingBytes {
        /// The number of bytes.
        bytes: u64,
    },
    /// A record's fields do not fit its length, or a length is impossible.
    #[error("record {index}: {what}")]
    Record {
        /// The index of the record in the batch, counted from 0.
        index: u32,
        /// The problem.
        what: &'static str,
    },
    /// The compressed data cannot be decompressed.
    #[error("{codec} data is malformed: {what}")]
    Compression {
        /// The codec.
        codec: Codec,
        /// The problem.
        what: &'static str,
    },
    /// The batch expands to more than the configured limit.
    #[error("the batch expands to more than {limit} bytes, the limit for decompression")]
    DecompressedTooLarge {
        /// The limit.
        limit: u64,
    },
    /// A batch for an append breaks a rule that stored batches need not keep.
    #[error("{0}")]
    RuleViolation(&'static str),
}

/// Why a record cannot be stored.
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
        /// The earliest valid timestamp at present.
        earliest: Timestamp,
        /// The latest valid timestamp at present.
        latest: Timestamp,
    },
    /// The record has no key, and the log is compacted by key.
    #[error(
        "a compacted log takes no record without a key: give it one, or write it to a log with `CleanupPolicy::Delete`"
    )]
    MissingKey,
    /// The encoded record is larger than 2 GiB, the limit of the format.
    #[error("the record is too large for the format")]
    TooLarge,
}

/// A format or a feature that this build or this version does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Messages of another format than version 2. The log is whole, and nothing in it was changed.
    #[error("message format v{magic} is not supported: {way}", magic = .0, way = way_to_v2(*.0))]
    MessageFormat(i8),
    /// A batch with a codec that this version does not know. The log is whole, and nothing in it
    /// was changed.
    #[error(
        "codec {0} is not known to this version of annals: update annals, or let a broker that knows it write the topic anew"
    )]
    UnknownCodec(u8),
    /// A codec that was not compiled in.
    #[error("this build of annals has no {0}: enable the cargo feature of that name")]
    Codec(Codec),
    /// The compaction of a log with transactions: this version does not know which of them were
    /// aborted.
    #[error(
        "a log with transactions cannot be compacted yet: leave it to a broker, or set a policy without compaction"
    )]
    CompactingTransactions,
    /// A batch of a transaction, or a control batch, for
    /// [`Log::append_batch`](crate::Log::append_batch): transactions are not implemented yet.
    #[error(
        "a batch of a transaction cannot be appended yet, nor a control batch: send the records without a transaction"
    )]
    AppendingTransactions,
}

/// The way out for messages of a legacy format.
fn way_to_v2(magic: i8) -> &'static str {
    match magic {
        0 | 1 => "convert it with Kafka, which rewrites it as v2",
        _ => {
            "update annals; if it is v2 with a damaged byte, OnCorruption::Quarantine sets it aside"
        }
    }
}

/// The reason why a log rejected the batch of an idempotent producer. Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerStateError {
    /// Another producer has taken over the producer id. Kafka: `InvalidProducerEpochException`.
    #[error(
        "producer {producer_id} has epoch {epoch}, and the log has seen epoch {current}: another has taken over; close this producer"
    )]
    Fenced {
        /// The producer's id.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The epoch of the producer that has taken over.
        current: ProducerEpoch,
    },
    /// Batches before this one are missing, or it repeats one that was stored too long ago to be
    /// recognised. Kafka: `OutOfOrderSequenceException`.
    #[error(
        "producer {producer_id} goes on with sequence number {found} where {expected} is next; send what is missing, or raise the epoch and begin at 0"
    )]
    OutOfOrder {
        /// The producer's id.
        producer_id: ProducerId,
        /// The sequence number that the next batch must begin with.
        expected: Sequence,
        /// The sequence number of the batch.
        found: Sequence,
    },
    /// The producer has an open transaction, to which the batch does not belong.
    /// Kafka: `InvalidTxnStateException`.
    #[error(
        "producer {producer_id} has a transaction open and the batch is not part of it; end the transaction first"
    )]
    InTransaction {
        /// The producer's id.
        producer_id: ProducerId,
    },
}

impl ProducerStateError {
    fn kind(self) -> ErrorKind {
        match self {
            ProducerStateError::Fenced { .. } => ErrorKind::Fenced,
            ProducerStateError::OutOfOrder { .. } => ErrorKind::OutOfOrder,
            ProducerStateError::InTransaction { .. } => ErrorKind::InvalidInput,
        }
    }
}

/// A format or codec that this build cannot decode becomes [`Error::Unsupported`], any other
/// problem [`Error::InvalidBatch`].
impl From<InvalidBatch> for Error {
    fn from(reason: InvalidBatch) -> Error {
        match reason {
            InvalidBatch::LegacyFormat { magic } => {
                Error::Unsupported(Unsupported::MessageFormat(magic))
            }
            InvalidBatch::CodecUnavailable { codec } => {
                Error::Unsupported(Unsupported::Codec(codec))
            }
            other => Error::InvalidBatch(other),
        }
    }
}

impl From<TopicError> for Error {
    fn from(error: TopicError) -> Error {
        Error::Topic(Box::new(error))
    }
}

impl From<ProduceError> for Error {
    fn from(error: ProduceError) -> Error {
        Error::Produce(Box::new(error))
    }
}

impl From<ConsumeError> for Error {
    fn from(error: ConsumeError) -> Error {
        Error::Consume(Box::new(error))
    }
}

impl From<SerializationError> for Error {
    fn from(error: SerializationError) -> Error {
        Error::Serialization(Box::new(error))
    }
}

impl From<GroupError> for Error {
    fn from(error: GroupError) -> Error {
        Error::Group(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_fits_in_48_bytes() {
        assert!(size_of::<Error>() <= 48, "{}", size_of::<Error>());
    }
}
