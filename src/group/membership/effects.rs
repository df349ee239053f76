//! The result of a call to a group.

use super::GroupError;
use bytes::Bytes;
use std::time::Duration;

/// The end of a call: what the caller gets, and what has become of others meanwhile.
///
/// The changes are to be acted upon even if the call was refused: it may have been the first one
/// after a deadline.
#[derive(Debug)]
#[must_use = "members may wait for what is in it"]
pub(crate) struct GroupStep<T> {
    pub(crate) result: Result<T, GroupError>,
    pub(crate) changes: Changes,
}

/// The changes of a step, for the owner of the group to act upon.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "members may wait for what is in it"]
pub(crate) struct Changes {
    /// The answers that members waited for, one for each. The caller may be among them.
    pub(crate) answers: Vec<(String, Answer)>,
    /// The members that were removed, each with the reason.
    pub(crate) removed: Vec<(String, Removal)>,
    /// Whether the group's record is to be written, before any answer is given.
    pub(crate) store: bool,
    /// When the group has to be looked at again.
    pub(crate) next_deadline: Option<Duration>,
}

/// The answer to a waiting member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A generation has begun.
    Joined(Joined),
    /// Its assignment, as the leader made it.
    Synced(Bytes),
    /// It did not come to that.
    Refused(GroupError),
}

/// A generation, as a member of it learns of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    /// How partitions are assigned in it.
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// All members, for the leader; none for others.
    pub(crate) members: Vec<JoinedMember>,
    /// The leader came back to a generation that has its assignment, which it need not make again.
    pub(crate) skip_assignment: bool,
}

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// Its metadata under the chosen protocol.
    pub(crate) metadata: Bytes,
    /// Its assignment, if the leader came back to a generation that already has one.
    pub(crate) assignment: Bytes,
}

/// The reason for the removal of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Removal {
    /// It left, or was told to.
    Left,
    /// It was not heard of for its session timeout.
    SessionExpired,
    /// It did not poll for its longest poll interval.
    PollOverdue,
    /// It did not join again in time.
    NotJoined,
    /// It did not ask for its assignment in time.
    NotSynced,
    /// Another came with its instance id.
    Replaced,
}
