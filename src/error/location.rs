//! The location of the log in an error, and the remedies that depend on it.

use crate::types::{IsolationLevel, Timestamp};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The location of the log in an error: its directory, and its topic and partition if a
/// [`Store`](crate::Store) opened it.
///
/// It is displayed as the path of the directory. Clones are cheap.
///
/// ```
/// use annals::{Error, Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default())?;
/// let Err(Error::OffsetOutOfRange { log, .. }) = orders.partition(0)?.get(7) else { panic!() };
/// assert_eq!(log.path().to_str(), Some("data/orders-0"));
/// assert_eq!(log.partition(), Some(("orders", 0)));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LogLocation(Arc<Location>);

#[derive(Debug, PartialEq, Eq)]
struct Location {
    path: PathBuf,
    /// The topic and the number of the partition, if a store opened it.
    partition: Option<(String, u32)>,
}

impl LogLocation {
    pub(crate) fn new(path: &Path, partition: Option<(String, u32)>) -> LogLocation {
        LogLocation(Arc::new(Location { path: path.to_path_buf(), partition }))
    }

    /// Returns the directory of the log.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns the topic and the number of the partition, if a store opened the log for writing.
    #[must_use]
    pub fn partition(&self) -> Option<(&str, u32)> {
        self.0.partition.as_ref().map(|(topic, number)| (topic.as_str(), *number))
    }
}

impl fmt::Display for LogLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.path.display().fmt(f)
    }
}

impl fmt::Debug for LogLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.path.fmt(f)
    }
}

/// The reason why a log is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`Log::close`](crate::Log::close) was called on this handle or a clone of it.
    ByHandle,
    /// Its [store](crate::Store::close) was closed.
    WithStore,
    /// Its [topic was deleted](crate::Store::delete_topic).
    TopicDeleted,
    /// Its [partition was reopened](crate::Store::reopen_partition): the topic has a new log in
    /// its place, or is about to have one.
    Reopened,
}

/// The remedy for a closed log.
pub(super) struct Closed<'a>(pub(super) &'a LogLocation, pub(super) CloseReason);

impl fmt::Display for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closed(log, reason) = self;
        match (reason, log.partition()) {
            (CloseReason::WithStore, _) => {
                write!(f, "log {log} was closed with its store; open the store again")
            }
            (CloseReason::TopicDeleted, Some((topic, _))) => {
                write!(
                    f,
                    "log {log} is closed, because topic `{topic}` was deleted; create the topic again to use it"
                )
            }
            (CloseReason::Reopened, Some((topic, number))) => write!(
                f,
                "log {log} was closed to be reopened; get the new log from partition {number} of topic `{topic}`"
            ),
            (_, Some((topic, number))) => write!(
                f,
                "log {log} is closed; call `Store::reopen_partition(\"{topic}\", {number}, OnCorruption::Fail)` to open it again"
            ),
            (_, None) => write!(f, "log {log} is closed; open it again with `Log::open`"),
        }
    }
}

/// The remedy for a log that stopped accepting writes.
pub(super) struct Recover<'a>(pub(super) &'a LogLocation);

impl fmt::Display for Recover<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.partition() {
            Some((topic, number)) => {
                write!(
                    f,
                    "call `Store::reopen_partition(\"{topic}\", {number}, OnCorruption::Fail)` to recover it"
                )
            }
            None => f.write_str("close it and open it again to recover it"),
        }
    }
}

/// The option that sets a limit: its name as a method, or as a setting of the topic in a store.
pub(super) struct Limit<'a>(pub(super) &'static str, pub(super) Option<&'a LogLocation>);

impl fmt::Display for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limit(option, log) = self;
        let Some(log) = log else { return write!(f, "set by `{option}`") };
        match log.partition() {
            Some((topic, _)) => {
                write!(f, "set by `{}` of topic `{topic}`", option.replace('_', "."))
            }
            None => write!(f, "set by `{option}` of log {log}"),
        }
    }
}

/// The log that rejects a record, if the record was for one.
pub(super) struct OfLog<'a>(pub(super) Option<&'a LogLocation>);

impl fmt::Display for OfLog<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |log| write!(f, " for log {log}"))
    }
}

/// The range of offsets of a log up to its end, or up to the bound of an isolation level.
pub(super) struct Range(pub(super) u64, pub(super) u64, pub(super) IsolationLevel);

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range(start, end, bound) = self;
        let (bound, wait) = match bound {
            IsolationLevel::LogEnd => {
                if start == end {
                    return write!(f, "has no readable record; {end} is the only offset in range");
                }
                return write!(
                    f,
                    "starts at {start} and ends at {end}; choose an offset from {start} to {end}"
                );
            }
            IsolationLevel::ReadCommitted => ("last stable offset", "the transaction there ends"),
            IsolationLevel::ReadUncommitted | IsolationLevel::HighWatermark => {
                ("high watermark", "its replicas have more")
            }
        };
        if start == end {
            return write!(f, "starts at its {bound}, {end}; wait until {wait}");
        }
        write!(f, "starts at {start} and its {bound} is {end}; ")?;
        write!(f, "choose an offset from {start} to {end}, or wait until {wait}")
    }
}

/// The way out for a timestamp that is out of range: the setting that limits it.
pub(super) struct TimeLimit(pub(super) Timestamp, pub(super) Timestamp);

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeLimit(timestamp, earliest) = *self;
        let side = match timestamp < earliest {
            true if earliest.as_millis() <= 0 => {
                return f.write_str("omit it, or choose a time since 1970");
            }
            true => "before",
            false => "after",
        };
        write!(
            f,
            "raise `message.timestamp.{side}.max.ms` of the topic, or `timestamp_{side}_max` of the log"
        )
    }
}
