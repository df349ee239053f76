//! The errors of the crate, with the remedy for each.

mod consume;
mod corruption;
mod count;
mod group;
mod invalid;
mod kind;
mod location;
mod option;
mod os;
mod produce;
mod producer_state;
mod serialize;
mod topic;
mod transaction;
mod unsupported;

#[cfg(test)]
mod tests;

pub use consume::{CommitError, ConsumeError};
pub use corruption::{Corruption, CorruptionKind};
pub use group::GroupError;
pub use invalid::{InvalidBatch, InvalidRecord};
pub use kind::ErrorKind;
pub use location::{CloseReason, LogLocation};
pub(crate) use option::{InvalidOption, reject_option};
pub(crate) use os::{is_storage_full, is_too_many_files};
pub use produce::ProduceError;
pub use producer_state::ProducerStateError;
pub use serialize::{DeserializeError, RecordPart, SerializationError, SerializeError};
pub use topic::TopicError;
pub use transaction::TransactionError;
pub use unsupported::Unsupported;

use crate::types::{IsolationLevel, LeaderEpoch, Offset};
use corruption::Advice;
use location::{Closed, Limit, OfLog, Range, Recover};
use option::Subject;
use os::WayOut;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The result of a call that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of a failed call. Its [`kind`](Error::kind) tells how to react.
///
/// Every message names the failure, its place, and the remedy. A failed call never leaves the log
/// in an intermediate state: it has changed nothing, or its documentation describes the state.
///
/// ```
/// use annals::{Error, ErrorKind, Log, LogConfig, fs::MemFs};
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// let error = log.get(7).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::OutOfRange);
/// assert!(!error.is_retryable());
/// if let Error::OffsetOutOfRange { start, end, .. } = error {
///     assert_eq!((start, end), (0, 0));
/// }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation of the file system failed.
    #[error("cannot {operation} {}: {source}{}", path.display(), WayOut(.source))]
    Io {
        /// The operation, as a verb: "open", "write", "sync".
        operation: &'static str,
        /// The file or directory.
        path: Box<Path>,
        /// The error of the operating system.
        source: io::Error,
    },

    /// Bytes on disk differ from those that a log wrote there.
    #[error("{}; {}", .0, Advice(&.0.path))]
    Corrupt(Box<Corruption>),

    /// The offset is below the start of the log, or above its end or another bound of the call.
    #[error("offset {requested} is out of range: log {log} {}", Range(*.start, *.end, *.bound))]
    OffsetOutOfRange {
        /// The log.
        log: LogLocation,
        /// The requested offset.
        requested: Offset,
        /// The first offset of the log.
        start: Offset,
        /// The upper bound of the call: the end of the log, or the offset that `bound` names.
        end: Offset,
        /// What `end` is: the end of the log at [`LogEnd`](IsolationLevel::LogEnd), its high
        /// watermark at [`HighWatermark`](IsolationLevel::HighWatermark), and its last stable
        /// offset at [`ReadCommitted`](IsolationLevel::ReadCommitted). It is `LogEnd` whenever
        /// they are equal.
        bound: IsolationLevel,
    },

    /// The batch exceeds the limit of the log.
    #[error(
        "a batch of {bytes} bytes is over the limit of {limit} {}; send smaller batches, or raise the limit",
        Limit(.option, .log.as_ref())
    )]
    BatchTooLarge {
        /// The log. `None` where a batch is read from a file.
        log: Option<LogLocation>,
        /// The size of the batch, including its header, after compression.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// The option that sets the limit, by the name of its method. The setting of a topic has
        /// dots instead: `max.message.bytes`.
        option: &'static str,
    },

    /// A record cannot be stored.
    #[error("record {index} of the batch{}: {reason}", OfLog(.log.as_ref()))]
    InvalidRecord {
        /// The log. `None` where a batch is encoded or validated without a log, and where encoding
        /// the records fails.
        log: Option<LogLocation>,
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

    /// A leader epoch is lower than one that the log has. Another process has led the partition
    /// since.
    #[error(
        "leader epoch {given} is older than {current}, which log {log} has; use {current} or a higher one"
    )]
    StaleLeaderEpoch {
        /// The log.
        log: LogLocation,
        /// The epoch that was given.
        given: LeaderEpoch,
        /// The latest epoch of the log.
        current: LeaderEpoch,
    },

    /// The batches of another replica do not begin at the end of the log.
    #[error("the batches begin at offset {first}, but log {log} ends at {end}; {}", Continue(*.first, *.end))]
    UnexpectedOffset {
        /// The log.
        log: LogLocation,
        /// The offset at which the batches begin, or go on after a gap.
        first: Offset,
        /// The end of the log, or of the batches before the gap.
        end: Offset,
    },

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

    /// A call for a transaction was rejected, or could not be done yet.
    #[error("{0}")]
    Transaction(Box<TransactionError>),

    /// A key or a value could not be serialized or deserialized.
    #[error("{0}")]
    Serialization(Box<SerializationError>),

    /// A legacy message format, or a codec that is not in this build.
    #[error("{0}")]
    Unsupported(Unsupported),

    /// An option has an invalid value.
    #[error("{} {reason}", Subject(.option))]
    InvalidConfig {
        /// The option, by the name of its method.
        option: &'static str,
        /// The value found and the valid values, as the rest of a sentence about the option: "is 0,
        /// but must be at least 1".
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

    /// The path is not the directory of a log or, for a store, of a store.
    #[error("cannot open {}: {reason}", path.display())]
    NotALog {
        /// The path that was opened.
        path: Box<Path>,
        /// The kind of thing that the path names instead.
        reason: String,
    },

    /// The directory to read does not exist, or no longer exists: its topic was deleted, or it was
    /// moved.
    #[error(
        "there is no directory {}; check the path, and whether the directory was moved or its topic deleted",
        path.display()
    )]
    DirectoryNotFound {
        /// The directory of the log or the store.
        path: Box<Path>,
    },

    /// After an earlier failure the log cannot know what is durable, so it rejects all changes.
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
    #[error("the store is closed; open it again")]
    StoreClosed,
}

/// The advice for batches that do not continue a log.
struct Continue(Offset, Offset);

impl fmt::Display for Continue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Continue(first, end) = self;
        if first < end {
            write!(
                f,
                "fetch from {end} if the leader is still the same; if not, truncate the log first \
                 to where the leader's epoch ends (`epoch_end_offset`)"
            )
        } else {
            write!(
                f,
                "fetch from {end}; if the leader starts at {first}, begin the log there with \
                 `truncate_fully_and_start_at`; if the leader compacts its log, set the same \
                 `cleanup_policy`"
            )
        }
    }
}

struct Holder(Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            // The open log may be another one of the directory, and its handle any type that holds
            // a log.
            Some(pid) if pid == std::process::id() => f.write_str(
                " in this process, where a handle still holds it: a store, a log in it, a topic, reader, tail or client",
            ),
            Some(pid) => write!(f, " by process {pid}"),
            None => Ok(()),
        }
    }
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { operation, path: path.into(), source }
    }

    /// Converts the error for a caller that names a partition and holds no log: a log that was
    /// closed to be reopened is a partition that will be open again shortly.
    pub(crate) fn or_being_reopened(self) -> Error {
        let Error::Closed { log, reason: CloseReason::Reopened } = self else { return self };
        let (topic, partition) = log.partition().unwrap_or_default();
        let (topic, reason) = (topic.to_owned(), "it is being reopened".to_owned());
        TopicError::PartitionOffline { topic, partition, kind: ErrorKind::Busy, reason }.into()
    }

    /// Converts the error of listing the directory of a log or a store.
    pub(crate) fn list(path: &Path, source: io::Error) -> Error {
        match source.kind() {
            io::ErrorKind::NotFound => Error::DirectoryNotFound { path: path.into() },
            io::ErrorKind::NotADirectory => Error::not_a_log(path, NOT_A_DIRECTORY),
            _ => Error::io("list", path, source),
        }
    }

    pub(crate) fn not_a_log(path: &Path, reason: impl Into<String>) -> Error {
        Error::NotALog { path: path.into(), reason: reason.into() }
    }

    /// Names the log in the error of a record that it rejects.
    #[cold]
    pub(crate) fn of_log(self, location: LogLocation) -> Error {
        match self {
            Error::InvalidRecord { log: None, index, reason } => {
                Error::InvalidRecord { log: Some(location), index, reason }
            }
            other => other,
        }
    }

    /// Returns the message for an error that another one quotes as its cause: the way out is that
    /// of the other one.
    pub(crate) fn cause(&self) -> String {
        match self {
            Error::Io { operation, path, source } => {
                format!("cannot {operation} {}: {source}", path.display())
            }
            Error::Corrupt(damage) => damage.to_string(),
            Error::Topic(error) => match &**error {
                TopicError::MissingPartition { topic, partition, partitions } => format!(
                    "the directory of partition {partition} (of {partitions}) of topic `{topic}` is \
                     missing"
                ),
                other => other.to_string(),
            },
            other => other.to_string(),
        }
    }

    /// Returns whether a file is missing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

pub(crate) const NOT_A_DIRECTORY: &str =
    "the path, or a part of it, is a file or a dangling link; give a directory";

impl From<InvalidOption> for Error {
    fn from(found: InvalidOption) -> Error {
        Error::InvalidConfig { option: found.option, reason: found.reason() }
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

impl From<TransactionError> for Error {
    fn from(error: TransactionError) -> Error {
        Error::Transaction(Box::new(error))
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
