//! The errors of consumer groups.

use crate::error::ErrorKind;
use std::time::Duration;

/// The reason why a group rejected a call, with the names of Kafka's errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group does not exist any more.
    #[error("the group was deleted, or its store closed; poll again, or open the store again")]
    CoordinatorNotAvailable,
    /// Kafka: `UnknownMemberIdException`.
    #[error(
        "the group has no member `{member_id}`: it left, or did not poll for too long; poll again to join as a new member"
    )]
    UnknownMemberId {
        /// The member.
        member_id: String,
    },
    /// Kafka: `IllegalGenerationException`, and for commits `CommitFailedException`.
    #[error(
        "generation {given} is not the group's, which is {current}: partitions have been assigned anew; poll again, and leave to others what was assigned before"
    )]
    IllegalGeneration {
        /// What was given.
        given: i32,
        /// What holds.
        current: i32,
    },
    /// Kafka: `FencedInstanceIdException`.
    #[error(
        "another has joined with the instance id `{instance_id}` and taken over; close this one, or give it an instance id of its own"
    )]
    FencedInstanceId {
        /// The instance id.
        instance_id: String,
    },
    /// Kafka: `RebalanceInProgressException`.
    #[error("partitions are about to be assigned anew; poll again")]
    RebalanceInProgress,
    /// Kafka: `InconsistentGroupProtocolException`.
    #[error(
        "the members of the group have no protocol in common with what was offered: {reason}; offer one that all members support"
    )]
    InconsistentGroupProtocol {
        /// In what way.
        reason: &'static str,
    },
    /// Kafka: `InvalidSessionTimeoutException`.
    #[error(
        "`session_timeout` is {given:?}, and the store takes {least:?} to {most:?}; choose one of these, or change the store's `CoordinatorConfig::session_timeout_bounds`"
    )]
    InvalidSessionTimeout {
        /// What was given.
        given: Duration,
        /// The shortest there may be.
        least: Duration,
        /// The longest there may be.
        most: Duration,
    },
    /// Kafka: `GroupMaxSizeReachedException`.
    #[error(
        "the group has {limit} members, which is the most it may have; close a consumer of it first, or raise `CoordinatorConfig::max_members`"
    )]
    GroupMaxSizeReached {
        /// The limit.
        limit: usize,
    },
    /// Kafka: `InvalidRequestException`.
    #[error("the member id `{member_id}` is taken; join with another")]
    InvalidRequest {
        /// The member.
        member_id: String,
    },
    /// Kafka: `GroupNotEmptyException`.
    #[error(
        "group `{group}` has members; close its consumers, or remove them with `Admin::remove_members`, first"
    )]
    NonEmptyGroup {
        /// The group.
        group: String,
    },
    /// Kafka: `GroupIdNotFoundException`.
    #[error("there is no group `{group}`: nobody has joined it, and nothing is committed for it")]
    UnknownGroup {
        /// The group.
        group: String,
    },
    /// Kafka: `GroupSubscribedToTopicException`.
    #[error(
        "members of group `{group}` read `{topic}`; close them, let them subscribe to other topics, or remove them with `Admin::remove_members`, first"
    )]
    Subscribed {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// An offset cannot be moved from where it is if it is nowhere.
    #[error(
        "nothing is committed for partition {partition} of `{topic}`, so there is nothing to shift; name an offset"
    )]
    NothingCommitted {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// What is stored in the offsets topic is not what Kafka stores there.
    #[error(
        "record {offset} in partition {partition} of `__consumer_offsets` cannot be read: {reason}; restore the directory of the partition from a copy"
    )]
    Unreadable {
        /// The partition.
        partition: u32,
        /// The offset of the record.
        offset: u64,
        /// What is wrong with it.
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
            GroupError::NonEmptyGroup { .. } | GroupError::Subscribed { .. } => ErrorKind::InUse,
            GroupError::UnknownGroup { .. } | GroupError::NothingCommitted { .. } => {
                ErrorKind::NotFound
            }
            GroupError::Unreadable { .. } => ErrorKind::Corrupt,
            GroupError::InconsistentGroupProtocol { .. }
            | GroupError::InvalidSessionTimeout { .. }
            | GroupError::GroupMaxSizeReached { .. }
            | GroupError::InvalidRequest { .. } => ErrorKind::InvalidInput,
        }
    }
}
