//! The errors of topics.

use crate::error::ErrorKind;
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
    #[error("topic `{topic}` already exists: use it, or choose another name")]
    Exists {
        /// The name of the topic.
        topic: String,
    },
    /// The name is invalid. Kafka: `InvalidTopicException`.
    #[error("`{topic}` cannot be the name of a topic: {reason}")]
    InvalidName {
        /// The name.
        topic: String,
        /// The problem.
        reason: &'static str,
    },
    /// The topic has no partition of that number. Kafka: `UnknownTopicOrPartitionException`.
    #[error(
        "topic `{topic}` has no partition {partition}: they are numbered from 0, and there are {partitions}"
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
    #[error("topic `{topic}` cannot have {given} partitions: {reason}")]
    InvalidPartitions {
        /// The topic.
        topic: String,
        /// The requested number.
        given: u32,
        /// The reason.
        reason: &'static str,
    },
    /// The directory of a partition is missing: it existed before, or `topic.properties` counts
    /// it.
    #[error(
        "the directory of partition {partition} of topic `{topic}`, which has {partitions}, is missing: restore it, or open the store with `OfflinePartitions::DamagedOrMissing` to use the others"
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
        "topic `{topic}` existed when the store was closed, and its directories are missing: restore them, or open the store once with `OnCorruption::Quarantine` to continue without the topic"
    )]
    Missing {
        /// The topic.
        topic: String,
    },
    /// The partition is on another disk or broker; this directory has other partitions of the
    /// topic.
    #[error(
        "partition {partition} of topic `{topic}` is not in this directory, which has others of its partitions: use the directory or the broker that has it"
    )]
    PartitionElsewhere {
        /// The topic.
        topic: String,
        /// The partition that is elsewhere.
        partition: u32,
    },
    /// The partition could not be opened, and all others can be used.
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
    /// Some partitions of the topic are elsewhere, so this call is not possible here.
    #[error("topic `{topic}` has partitions that are not in this directory: {reason}")]
    Spread {
        /// The topic.
        topic: String,
        /// The reason why all of them are needed, and the remedy.
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
    /// The directory of the store has an entry that cannot be there, or is not a directory of a
    /// store.
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
    /// Topics have no setting of that name. Kafka: `InvalidConfigurationException`.
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
                "it may be an internal topic of brokers; `topics` lists the topics of the store"
            }
            _ => "`topics` lists the topics of the store, and `Store::create_topic` creates one",
        })
    }
}

/// The remedy for an offline partition.
struct WayOnline<'a>(&'a str, u32, ErrorKind);

impl fmt::Display for WayOnline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WayOnline(topic, number, kind) = self;
        match kind {
            ErrorKind::Busy => f.write_str("try again"),
            ErrorKind::Corrupt => write!(
                f,
                "`Store::reopen_partition(\"{topic}\", {number}, OnCorruption::Fail)` opens it once it is restored, and with `OnCorruption::Quarantine` quarantines the damage"
            ),
            _ => write!(
                f,
                "after the repair, call `Store::reopen_partition(\"{topic}\", {number}, OnCorruption::Fail)`"
            ),
        }
    }
}

struct Nearest(Option<&'static str>);

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "did you mean `{key}`?"),
            None => f.write_str("`TopicConfig::entries` lists the valid settings"),
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
