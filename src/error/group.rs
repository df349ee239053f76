//! The errors of consumer groups.

use crate::error::ErrorKind;
use crate::error::count::Counted;
use std::time::Duration;

/// The reason why a group rejected a call, with the names of Kafka's errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group no longer exists.
    #[error("the group was deleted, or its store was closed; poll again, or open the store again")]
    CoordinatorNotAvailable,
    /// The group has no member with this id. Kafka: `UnknownMemberIdException`.
    #[error(
        "the group has no member `{member_id}`: it left, or did not poll for too long; poll again to join as a new member"
    )]
    UnknownMemberId {
        /// The member.
        member_id: String,
    },
    /// The call is from an old generation of the group. Kafka: `IllegalGenerationException`, and
    /// for commits `CommitFailedException`.
    #[error(
        "the call is from generation {given}, but the group is at generation {current}, because it has rebalanced; poll again, and stop processing the partitions assigned before"
    )]
    IllegalGeneration {
        /// The given value.
        given: i32,
        /// The present value.
        current: i32,
    },
    /// Another consumer has taken over the instance id. Kafka: `FencedInstanceIdException`.
    #[error(
        "another consumer has joined with the instance id `{instance_id}` and taken over; close this one, or give it its own instance id"
    )]
    FencedInstanceId {
        /// The instance id.
        instance_id: String,
    },
    /// The group is rebalancing. Kafka: `RebalanceInProgressException`.
    #[error("the group is rebalancing; poll again")]
    RebalanceInProgress,
    /// The member has no assignor or protocol type in common with the group.
    /// Kafka: `InconsistentGroupProtocolException`.
    #[error(
        "the consumer has no protocol in common with the other members of the group: {reason}; choose one that all members support"
    )]
    InconsistentGroupProtocol {
        /// The difference.
        reason: &'static str,
    },
    /// The session timeout is outside of the store's bounds.
    /// Kafka: `InvalidSessionTimeoutException`.
    #[error(
        "`session_timeout` is {given:?}, but the store accepts {least:?} to {most:?}; choose a timeout in that range, or change the store's `GroupCoordinatorConfig::session_timeout_bounds`"
    )]
    InvalidSessionTimeout {
        /// The given value.
        given: Duration,
        /// The shortest valid timeout.
        least: Duration,
        /// The longest valid timeout.
        most: Duration,
    },
    /// The group is full. Kafka: `GroupMaxSizeReachedException`.
    #[error(
        "the group has reached its limit of {}; close one of its consumers, or raise `GroupCoordinatorConfig::max_members`", Counted(*.limit as u64, "member")
    )]
    GroupMaxSizeReached {
        /// The limit.
        limit: usize,
    },
    /// The member id is taken. Kafka: `InvalidRequestException`.
    #[error("the member id `{member_id}` is taken; join with another id")]
    InvalidRequest {
        /// The member.
        member_id: String,
    },
    /// The group still has members. Kafka: `GroupNotEmptyException`.
    #[error(
        "group `{group}` has members; first close its consumers, or remove them with `Admin::remove_members`"
    )]
    NonEmptyGroup {
        /// The group.
        group: String,
    },
    /// The group does not exist. Kafka: `GroupIdNotFoundException`.
    #[error(
        "there is no group `{group}`: no member and no committed offset has that name; `Admin::list_groups` lists the groups"
    )]
    UnknownGroup {
        /// The group.
        group: String,
    },
    /// Members of the group subscribe to the topic. Kafka: `GroupSubscribedToTopicException`.
    #[error(
        "members of group `{group}` subscribe to `{topic}`; first close them, subscribe them to other topics, or remove them with `Admin::remove_members`"
    )]
    GroupSubscribedToTopic {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// The group has no committed offset for the partition, so there is none to shift.
    #[error(
        "no offset is committed for partition {partition} of `{topic}`, so there is none to shift; reset it to an offset instead"
    )]
    NoCommittedOffset {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// A transaction that is still open has committed another offset for the partition, so where
    /// the group continues is not decided yet. Kafka: `UnstableOffsetCommitException`.
    #[error(
        "an open transaction has committed an offset for partition {partition} of `{topic}`; repeat the call when the transaction has ended, or poll, which waits for that"
    )]
    UnstableOffsetCommit {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// A record of `__consumer_offsets` is not in Kafka's format.
    #[error(
        "record {offset} in partition {partition} of `__consumer_offsets` cannot be read: {reason}; restore the directory of the partition from a copy"
    )]
    CorruptOffsetsTopic {
        /// The partition.
        partition: u32,
        /// The offset of the record.
        offset: u64,
        /// The problem.
        reason: &'static str,
    },
}

impl GroupError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            GroupError::CoordinatorNotAvailable => ErrorKind::Closed,
            GroupError::UnknownMemberId { .. }
            | GroupError::IllegalGeneration { .. }
            | GroupError::RebalanceInProgress => ErrorKind::Rebalancing,
            GroupError::FencedInstanceId { .. } => ErrorKind::Fenced,
            GroupError::NonEmptyGroup { .. } | GroupError::GroupSubscribedToTopic { .. } => {
                ErrorKind::InUse
            }
            GroupError::UnknownGroup { .. } | GroupError::NoCommittedOffset { .. } => {
                ErrorKind::NotFound
            }
            GroupError::UnstableOffsetCommit { .. } => ErrorKind::Busy,
            GroupError::CorruptOffsetsTopic { .. } => ErrorKind::Corrupt,
            GroupError::InconsistentGroupProtocol { .. }
            | GroupError::InvalidSessionTimeout { .. }
            | GroupError::GroupMaxSizeReached { .. }
            | GroupError::InvalidRequest { .. } => ErrorKind::InvalidInput,
        }
    }
}
