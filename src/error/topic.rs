//! Why something cannot be done with a topic.

use crate::error::ErrorKind;
use std::fmt;
use std::path::PathBuf;

/// Why a store refused what was asked of a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// There is no topic of that name. Kafka: `UnknownTopicOrPartitionException`.
    #[error("there is no topic `{topic}`: {}", WayToTopic(.topic))]
    Unknown {
        /// The name asked for.
        topic: String,
    },
    /// There is one already. Kafka: `TopicExistsException`.
    #[error("there is a topic `{topic}` already: use it, or take another name")]
    Exists {
        /// Its name.
        topic: String,
    },
    /// A topic cannot have that name. Kafka: `InvalidTopicException`.
    #[error("`{topic}` cannot be the name of a topic: {reason}")]
    InvalidName {
        /// The name.
        topic: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The topic has no partition of that number. Kafka: `UnknownTopicOrPartitionException`.
    #[error(
        "topic `{topic}` has no partition {partition}: they are numbered from 0, and there are {partitions}"
    )]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The number asked for.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A topic cannot have that many partitions, or not any more. Kafka: `InvalidPartitionsException`.
    #[error("topic `{topic}` cannot have {given} partitions: {reason}")]
    InvalidPartitions {
        /// The topic.
        topic: String,
        /// How many were asked for.
        given: u32,
        /// Why it cannot have them.
        reason: &'static str,
    },
    /// The directory of a partition is gone: it was there before, or `topic.properties` counts it.
    #[error(
        "the directory of partition {partition} of topic `{topic}`, which has {partitions}, is gone: restore it, or open the store with `OfflinePartitions::DamagedOrMissing` to use the others"
    )]
    MissingPartition {
        /// The topic.
        topic: String,
        /// The partition that is not there.
        partition: u32,
        /// How many partitions the topic has.
        partitions: u32,
    },
    /// All directories of a topic are gone that was there when the store was closed.
    #[error(
        "topic `{topic}` was there when the store was closed, and its directories are gone: restore them, or open the store once with `OnCorruption::Quarantine` to go on without the topic"
    )]
    Missing {
        /// The topic.
        topic: String,
    },
    /// The partition is on another disk or broker: this directory has others of its topic.
    #[error(
        "partition {partition} of topic `{topic}` is not in this directory, which has others of its partitions: use the directory or the broker that has it"
    )]
    PartitionElsewhere {
        /// The topic.
        topic: String,
        /// The partition that is elsewhere.
        partition: u32,
    },
    /// The partition could not be opened, and all others can be used. Kafka: `KafkaStorageException`.
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
        /// That error.
        reason: String,
    },
    /// Some partitions of the topic are elsewhere, so that this cannot be done here.
    #[error("topic `{topic}` has partitions that are not in this directory: {reason}")]
    Spread {
        /// The topic.
        topic: String,
        /// Why all of them are needed, and what to do.
        reason: &'static str,
    },
    /// The store, or a broker, keeps the topic for itself.
    #[error("`{topic}` is an internal topic: {reason}")]
    Internal {
        /// Its name.
        topic: String,
        /// Why it cannot be changed like that.
        reason: &'static str,
    },
    /// Something lies in the directory of a store, or where one is to be, that cannot.
    #[error("{} does not belong in the directory of a store: {reason}", path.display())]
    InvalidDirectory {
        /// What lies there.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A setting of a topic has a value that it cannot have. Kafka: `InvalidConfigurationException`.
    #[error("`{key}` cannot be `{value}`: {reason}")]
    InvalidSetting {
        /// The setting, by Kafka's name.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Topics have no setting of that name. Kafka: `InvalidConfigurationException`.
    #[error("topics have no setting `{key}`; {}", Nearest(*.nearest))]
    UnknownSetting {
        /// The name.
        key: String,
        /// The setting whose name is most like it, if one is.
        nearest: Option<&'static str>,
    },
}

/// How to come by a topic.
struct WayToTopic<'a>(&'a str);

impl fmt::Display for WayToTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            "__consumer_offsets" => "the store creates it with the first consumer of a group",
            topic if topic.starts_with("__") => {
                "it may be one that brokers keep for themselves; `topics` lists those there are"
            }
            _ => "`topics` lists those there are, and `Store::create_topic` creates one",
        })
    }
}

/// How a partition can be used again.
struct WayOnline<'a>(&'a str, u32, ErrorKind);

impl fmt::Display for WayOnline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WayOnline(topic, number, kind) = self;
        match kind {
            ErrorKind::Busy => f.write_str("try again"),
            ErrorKind::Corrupt => write!(
                f,
                "`Store::reopen_partition(\"{topic}\", {number}, ..)` opens it after either"
            ),
            _ => write!(
                f,
                "when that is mended, call `Store::reopen_partition(\"{topic}\", {number}, ..)`"
            ),
        }
    }
}

struct Nearest(Option<&'static str>);

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(key) => write!(f, "did you mean `{key}`?"),
            None => f.write_str("`TopicConfig::entries` lists those that they have"),
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
