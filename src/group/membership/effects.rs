//! The results of a call to a group.

use super::GroupError;
use bytes::Bytes;
use std::time::Duration;

/// The result of a call: the result for the caller, and the changes for other members.
///
/// Apply the changes even if the call failed, because it may have been the first one after a
/// deadline.
#[derive(Debug)]
#[must_use = "members may wait for what is in it"]
pub(crate) struct GroupStep<T> {
    pub(crate) result: Result<T, GroupError>,
    pub(crate) changes: Changes,
}

/// The changes of a step, which the owner of the group must apply.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "members may wait for what is in it"]
pub(crate) struct Changes {
    /// The answers for waiting members, at most one each. The caller may be among them.
    pub(crate) answers: Vec<(String, Answer)>,
    /// The removed members, each with the reason.
    pub(crate) removed: Vec<(String, Removal)>,
    /// Whether the group must be stored before any answer is delivered.
    pub(crate) store: bool,
    /// The time of the next deadline of the group.
    pub(crate) next_deadline: Option<Duration>,
}

/// The answer to a waiting member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A generation has begun.
    Joined(Joined),
    /// The leader has assigned these partitions to the member.
    Synced(Bytes),
    /// The join or sync failed.
    Refused(GroupError),
}

/// The start of a generation, as reported to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    /// The name of the assignor in use.
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// All members, if this member is the leader; otherwise none.
    pub(crate) members: Vec<JoinedMember>,
    /// Whether the leader came back to a generation that is already assigned, so it must not
    /// assign again.
    pub(crate) skip_assignment: bool,
}

/// A member, as described to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// Its metadata under the chosen protocol.
    pub(crate) metadata: Bytes,
    /// Its assignment, if the leader came back to a generation that is already assigned.
    pub(crate) assignment: Bytes,
}

/// The reason for removing a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Removal {
    /// It left or was removed by an administrator.
    Left,
    /// It sent no heartbeat within its session timeout.
    SessionExpired,
    /// It did not poll within its longest poll interval.
    PollOverdue,
    /// It did not join again in time.
    NotJoined,
    /// It did not ask for its assignment in time.
    NotSynced,
    /// Another member joined with its instance id.
    Replaced,
}
