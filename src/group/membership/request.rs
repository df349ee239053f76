//! The requests of members.

use bytes::Bytes;
use std::time::Duration;

/// A request to be a member of the next generation.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    pub(crate) member: JoinAs,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// The protocol type, which all members share: `consumer` for consumers.
    pub(crate) protocol_type: String,
    /// The assignors that the member accepts, the most preferred one first.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) session_timeout: Duration,
    /// How long other members wait for this one to join again.
    pub(crate) rebalance_timeout: Duration,
    /// For a member of this process: the longest time between two polls.
    pub(crate) max_poll_interval: Option<Duration>,
}

/// The member that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JoinAs {
    /// A new member, with this id that no member had before.
    New(String),
    /// An existing member.
    Known(String),
}

/// The identity that a caller claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
}

/// The committer of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committer<'a> {
    /// A consumer that is not a member of the group, with assigned partitions.
    Simple,
    /// A member of a generation.
    Member { caller: Caller<'a>, generation: i32 },
    /// A member of this process that kept its partitions while it joined again, and may not know
    /// yet which generation has begun. It told the leader which partitions it has, so no other
    /// member gets them before this one joins once more.
    Holder { caller: Caller<'a> },
}

/// An assignor that a member accepts, with the member's metadata for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Bytes,
}
