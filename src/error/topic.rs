//! The errors of calls for a topic.

use crate::error::ErrorKind;
use crate::error::count::Counted;
use crate::topic_name::CONSUMER_OFFSETS;
use std::fmt;
use std::path::PathBuf;

/// The reason why a store rejected a call for a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The topic does not exist. Kafka: `UnknownTopicOrPartitionException`.
    #[error("there is no topic `{topic}`: {}", WayToTopic(.topic))]
    Unknown {
        /// The requested name.
        topic: String,
    },
    /// The topic already exists. Kafka: `TopicExistsException`.
    #[error("topic `{topic}` already exists; use it, or choose another name")]
    Exists {
        /// The name of the topic.
        topic: String,
    },
    /// The name is invalid. Kafka: `InvalidTopicException`.
    #[error("`{topic}` is not a valid name of a topic: {reason}")]
    InvalidName {
        /// The name.
        topic: String,
        /// The problem.
        reason: &'static str,
    },
    /// The topic has no partition of that number. Kafka: `UnknownTopicOrPartitionException`.
    #[error(
        "topic `{topic}` has no partition {partition}; its last partition is {}", partitions.saturating_sub(1)
    )]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The requested number.
        partition: u32,
        /// The number of partitions.
        partitions: u32,
    },
    /// The number of partitions is invalid, or lower than before.
    /// Kafka: `InvalidPartitionsException`.
    #[error("topic `{topic}` cannot have {}: {reason}", Counted((*.given).into(), "partition"))]
    InvalidPartitions {
        /// The topic.
        topic: String,
        /// The requested number.
        given: u32,
        /// The number that it has, and the valid numbers.
        reason: String,
    },
    /// The directory of a partition is missing: it was there before, or `topic.properties` counts
    /// it.
    #[error(
        "the directory of partition {partition} (of {partitions}) of topic `{topic}` is missing; restore it, or open the store with `OfflinePartitions::DamagedOrMissing` to use the others"
    )]
    MissingPartition {
        /// The topic.
        topic: String,
        /// The missing partition.
        partition: u32,
        /// The number of partitions of the topic.
        partitions: u32,
    },
    /// All directories of the topic are missing, although it existed when the store was closed.
    #[error(
        "all directories of topic `{topic}` are missing, although it existed when the store was closed; restore them, or open the store once with `OnCorruption::Quarantine` to continue without the topic"
    )]
    Missing {
        /// The topic.
        topic: String,
    },
    /// The partition is on another disk or broker; this directory has other partitions of the
    /// topic.
    #[error(
        "partition {partition} of topic `{topic}` is not in this directory, which has other partitions of the topic; use the directory or the broker that has it"
    )]
    PartitionElsewhere {
        /// The topic.
        topic: String,
        /// The partition that is elsewhere.
        partition: u32,
    },
    /// The partition could not be opened; all other partitions work.
    /// Kafka: `KafkaStorageException`.
    #[error(
        "partition {partition} of topic `{topic}` is offline: {reason}; {}",
        WayOnline(.topic, *.partition, *.kind)
    )]
    PartitionOffline {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The kind of the error that opening it failed with.
        kind: ErrorKind,
        /// The message of that error.
        reason: String,
    },
    /// Some partitions of the topic are elsewhere, and the call needs all of them.
    #[error("topic `{topic}` has partitions that are not in this directory: {reason}")]
    Spread {
        /// The topic.
        topic: String,
        /// The reason why the call needs all partitions, and the way out.
        reason: &'static str,
    },
    /// The topic is internal to the store or a broker.
    #[error("`{topic}` is an internal topic: {reason}")]
    Internal {
        /// The name of the topic.
        topic: String,
        /// The reason.
        reason: &'static str,
    },
    /// An entry does not belong in the directory of a store, or the directory is not a store's.
    #[error("{} does not belong in the directory of a store: {reason}", path.display())]
    InvalidDirectory {
        /// The file or directory.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
    /// A setting of the topic has an invalid value. Kafka: `InvalidConfigurationException`.
    #[error("`{key}` cannot be `{value}`: {reason}")]
    InvalidSetting {
        /// The setting, by Kafka's name.
        key: String,
        /// The value.
        value: String,
        /// The problem.
        reason: String,
    },
    /// Topics have no setting with that name. Kafka: `InvalidConfigurationException`.
    #[error("topics have no setting `{key}`; {}", Nearest(*.nearest))]
    UnknownSetting {
        /// The name.
        key: String,
        /// The setting with the most similar name, if there is one.
        nearest: Option<&'static str>,
    },
}

/// The remedy for a missing topic.
struct WayToTopic<'a>(&'a str);

impl fmt::Display for WayToTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            CONSUMER_OFFSETS => "the store creates it with the first consumer of a group",
            topic if topic.starts_with("__") => {
                "it may be internal to a broker; `Store::topics` lists the topics of this store"
            }
            _ => "`Store::topics` lists the topics, and `Store::create_topic` creates one",
        })
    }
}

/// The remedy for an offline partition.
struct WayOnline<'a>(&'a str, u32, ErrorKind);

impl fmt::Display for WayOnline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WayOnline(topic, number, kind) = self;
        match kind {
            ErrorKind::Busy => f.write_str("retry"),
            ErrorKind::Corrupt => write!(
                f,
                "restore it and call `Store::reopen_partition(\"{topic}\", {number}, OnCorruption::Fail)`, or, unless files are missing, call that with `OnCorruption::Quarantine` to set the damage aside"
            ),
            kind => {
                let remedy = match kind {
                    ErrorKind::StorageFull => "make room",
                    ErrorKind::TooManyFiles => {
                        "close logs or raise the limit on open files (`ulimit -n`)"
                    }
                    _ => "remove the cause",
                };
                write!(
                    f,
                    "{remedy}, then call `Store::reopen_partition(\"{topic}\", {number}, OnCorruption::Fail)`"
                )
            }
        }
    }
}

struct Nearest(Option<&'static str>);

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "did you mean `{key}`?"),
            None => f.write_str("`TopicConfig::entries` lists all settings"),
        }
    }
}

impl TopicError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            TopicError::Unknown { .. }
            | TopicError::UnknownPartition { .. }
            | TopicError::PartitionElsewhere { .. } => ErrorKind::NotFound,
            TopicError::PartitionOffline { kind, .. } => *kind,
            TopicError::Exists { .. } => ErrorKind::Exists,
            TopicError::MissingPartition { .. } | TopicError::Missing { .. } => ErrorKind::Corrupt,
            TopicError::InvalidName { .. }
            | TopicError::InvalidPartitions { .. }
            | TopicError::InvalidDirectory { .. }
            | TopicError::Spread { .. }
            | TopicError::Internal { .. }
            | TopicError::InvalidSetting { .. }
            | TopicError::UnknownSetting { .. } => ErrorKind::InvalidInput,
        }
    }
}
