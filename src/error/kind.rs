//! The kinds of errors, by the reaction of the caller.

use super::{Error, is_storage_full, is_too_many_files};

/// The kind of an error, by the reaction of the caller. [`Error`] has an example.
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
    /// Another process or handle has the log or the store open: retry when it is closed.
    Busy,
    /// The disk or a quota is full, or the file has its maximum size: make room, raise the limit,
    /// or in the last case call [`roll`](crate::Log::roll), and retry. The log is usable.
    StorageFull,
    /// Too many files are open: close some, or raise the limit, and retry.
    TooManyFiles,
    /// Another error of the operating system: stop, and inform an operator.
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
    /// Another producer, consumer or leader has taken over from this one: close this one, or stop
    /// leading the log.
    Fenced,
    /// Earlier records of this producer are missing: send them, or start again with a higher
    /// epoch.
    OutOfOrder,
    /// The topic, partition, group or directory does not exist: create it, or name another.
    NotFound,
    /// The topic or partition already exists: use it, or name another.
    Exists,
    /// The group is rebalancing: poll again, and do not commit for partitions that other members
    /// may own by now.
    Rebalancing,
    /// The call took too long: retry, or give it more time.
    TimedOut,
    /// The transaction cannot be committed: abort it, and begin it again.
    Abortable,
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
            Error::OffsetOutOfRange { .. } | Error::UnexpectedOffset { .. } => {
                ErrorKind::OutOfRange
            }
            Error::BatchTooLarge { .. }
            | Error::InvalidRecord { .. }
            | Error::InvalidBatch(_)
            | Error::InvalidConfig { .. }
            | Error::NotALog { .. } => ErrorKind::InvalidInput,
            Error::Producer(refusal) => refusal.kind(),
            Error::StaleLeaderEpoch { .. } => ErrorKind::Fenced,
            Error::Topic(error) => error.kind(),
            Error::Produce(error) => error.kind(),
            Error::Consume(error) => error.kind(),
            Error::Group(error) => error.kind(),
            Error::Transaction(error) => error.kind(),
            Error::Serialization(error) => error.kind(),
            Error::Unsupported(_) => ErrorKind::Unsupported,
            Error::Locked { .. } => ErrorKind::Busy,
            Error::Poisoned { .. } => ErrorKind::Poisoned,
            Error::ReadOnly { .. } => ErrorKind::ReadOnly,
            Error::Closed { .. } | Error::StoreClosed => ErrorKind::Closed,
        }
    }

    /// Returns whether the same call can succeed later without a correction: if the disk or a
    /// quota was full, the directory was locked, file descriptors had run out, a group was
    /// rebalancing, or the call timed out.
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
}
