//! Why a group says no.

use std::time::Duration;

/// Why a group refused a call, or what somebody waited for. The names are those of Kafka's errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GroupError {
    #[error("the group was deleted or its store closed; look the group up again, then join anew")]
    CoordinatorNotAvailable,
    #[error(
        "the group has no member `{member_id}`: it left, or was not heard of for too long; join anew, without a member id"
    )]
    UnknownMemberId { member_id: String },
    #[error(
        "generation {given} is not the group's, which is {current}: partitions have been assigned anew; join again, and give up what was assigned before"
    )]
    IllegalGeneration { given: i32, current: i32 },
    #[error(
        "another has joined with the instance id `{instance_id}` and taken over; close this one, or give it an instance id of its own"
    )]
    FencedInstanceId { instance_id: String },
    #[error("partitions are about to be assigned anew; join again")]
    RebalanceInProgress,
    #[error(
        "the members of the group have no protocol in common with what was offered: {reason}; offer one that all members support"
    )]
    InconsistentGroupProtocol { reason: &'static str },
    #[error("a session timeout of {given:?} is not from {least:?} to {most:?}; choose one that is")]
    InvalidSessionTimeout { given: Duration, least: Duration, most: Duration },
    #[error("the group has {limit} members, which is the most it may have; let one leave first")]
    GroupMaxSizeReached { limit: usize },
    #[error("the member id `{member_id}` is taken; join with another")]
    InvalidRequest { member_id: String },
    #[error("the group has members; let them leave first")]
    NonEmptyGroup,
}
