//! The errors of consumers.

use crate::error::{Error, ErrorKind, GroupError};
use crate::types::Offset;
use std::sync::Arc;

/// The reason why a call of a consumer failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The partition is not assigned to this consumer. Kafka: `IllegalStateException`.
    #[error(
        "partition {partition} of `{topic}` is not assigned to this consumer; call `subscribe` or `assign` first"
    )]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The partition has no committed offset, and `auto_offset_reset` is none.
    /// Kafka: `NoOffsetForPartitionException`.
    #[error(
        "no offset is committed for partition {partition} of `{topic}`, and `auto_offset_reset` is none; call `seek` to set the position"
    )]
    NoOffsetForPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The consumer neither subscribes nor has partitions assigned.
    /// Kafka: `IllegalStateException`.
    #[error("the consumer has nothing to read; call `subscribe` or `assign` first")]
    NotSubscribed,
    /// Topics by name, topics by pattern and assigned partitions exclude each other.
    /// Kafka: `IllegalStateException`.
    #[error(
        "the consumer already reads {has}, and cannot read {wanted} too; call `unsubscribe` first"
    )]
    MixedSubscription {
        /// The present kind of subscription.
        has: &'static str,
        /// The requested kind.
        wanted: &'static str,
    },
    /// The consumer has no group. Kafka: `InvalidGroupIdException`.
    #[error(
        "the consumer has no group, so it cannot {what}; create its options with `ConsumerConfig::new(group)`"
    )]
    NoGroupId {
        /// The operation that needs a group.
        what: &'static str,
    },
    /// Offsets were not committed. Kafka: `CommitFailedException`.
    #[error("group `{group}` rejected the commit: {reason}")]
    CommitFailed {
        /// The group.
        group: String,
        /// The reason.
        reason: CommitError,
    },
    /// A partition cannot be read at the consumer's position. The position does not change: seek
    /// past the damage, pause the partition, or restore the file.
    #[error("partition {partition} of `{topic}` cannot be read at offset {offset}: {source}")]
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The consumer's position.
        offset: Offset,
        /// The error of the read.
        source: Arc<Error>,
    },
    /// User-supplied code that the consumer called has panicked. The consumer continues: poll
    /// again.
    #[error(
        "{callback} panicked: {message}; the consumer continues as if it had returned, so poll again"
    )]
    CallbackPanicked {
        /// The kind of callback.
        callback: &'static str,
        /// The message of the panic.
        message: String,
    },
    /// The consumer was closed. Kafka: `IllegalStateException`.
    #[error("the consumer is closed; create a new one with `Store::consumer`")]
    Closed,
}

/// The reason why offsets were not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The group rejected the commit: it has rebalanced, or another consumer has taken over.
    #[error("{0}")]
    Group(GroupError),
    /// The consumer is a member of the group, and another member has the partition.
    #[error(
        "partition {partition} of `{topic}` is not assigned to this consumer; commit only partitions from `assignment()`"
    )]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The consumer does not subscribe to the topic, so it cannot have its partitions.
    #[error(
        "this consumer does not subscribe to `{topic}`; subscribe to it, or commit only partitions from `assignment()`"
    )]
    NotSubscribed {
        /// The topic.
        topic: String,
    },
    /// The topic does not exist, or has no such partition.
    /// Kafka: `UnknownTopicOrPartitionException`.
    #[error(
        "partition {partition} of `{topic}` does not exist, or its topic was deleted; correct the name, or create the topic first"
    )]
    UnknownTopicOrPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The metadata of an offset is too long. Kafka: `OffsetMetadataTooLarge`.
    #[error("the metadata of an offset has {bytes} bytes, but the limit is {limit}; shorten it")]
    MetadataTooLarge {
        /// The length in bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The offset is above all offsets that a log can have.
    #[error("no log can have an offset {offset}; commit the offset of the next record to read")]
    InvalidOffset {
        /// The offset.
        offset: Offset,
    },
}

impl ConsumeError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ConsumeError::NotAssigned { .. }
            | ConsumeError::NotSubscribed
            | ConsumeError::MixedSubscription { .. }
            | ConsumeError::CallbackPanicked { .. }
            | ConsumeError::NoGroupId { .. } => ErrorKind::InvalidInput,
            ConsumeError::NoOffsetForPartition { .. } => ErrorKind::OutOfRange,
            ConsumeError::CommitFailed { reason, .. } => reason.kind(),
            ConsumeError::Partition { source, .. } => source.kind(),
            ConsumeError::Closed => ErrorKind::Closed,
        }
    }
}

impl CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            CommitError::Group(error) => error.kind(),
            CommitError::NotAssigned { .. } => ErrorKind::Rebalancing,
            CommitError::UnknownTopicOrPartition { .. } => ErrorKind::NotFound,
            CommitError::NotSubscribed { .. }
            | CommitError::MetadataTooLarge { .. }
            | CommitError::InvalidOffset { .. } => ErrorKind::InvalidInput,
        }
    }
}
