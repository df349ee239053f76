//! A consumer's state in its group.
//!
//! ```text
//!        join           a generation begins       its assignment        revoked and added
//!  Out ────────▶ Joining ───────────────▶ Syncing ────────────▶ Assigned ───────────────▶ Stable
//!   ▲               ▲                        │                                              │
//!   │               └─────── rebalance ──────┴──────────────────────────────────────────────┤
//!   └─────────────────── removed from the group: all partitions lost ───────────────────────┘
//! ```

use crate::error::GroupError;
use crate::group::protocol::NO_GENERATION;
use crate::types::TopicPartition;
use crate::uuid::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// The steps of a consumer on the way to its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Out,
    Joining,
    Syncing,
    /// The assignment is known, but not applied: partitions may have to be revoked and added.
    Assigned,
    Stable,
}

/// A topic as the leader saw it when it assigned its partitions; `None` if it did not exist.
pub(super) type SeenTopic = Option<(TopicId, u32)>;

/// The membership of a consumer in its group.
#[derive(Debug, Default)]
pub(super) struct Membership {
    pub(super) state: State,
    /// Empty if the consumer is not a member.
    pub(super) id: String,
    pub(super) generation: i32,
    /// Whether the consumer has to join again, even if the group does not ask for it.
    pub(super) rejoin: bool,
    /// The topics that it has subscribed to with the group.
    pub(super) topics: BTreeSet<String>,
    /// The last assignment, and its generation.
    pub(super) last_assignment: Option<(Vec<TopicPartition>, i32)>,
    /// Whether a topic of the assignment did not exist when it was applied.
    pub(super) misses_topics: bool,
    /// If the consumer is the leader: the topics of the group when it assigned their partitions.
    pub(super) leader_topics: Option<BTreeMap<String, SeenTopic>>,
    /// Set once another consumer with the same instance id has taken its place.
    pub(super) fenced: Option<GroupError>,
}

impl Membership {
    /// Returns the generation of a member.
    pub(super) fn generation(&self) -> i32 {
        if self.id.is_empty() { NO_GENERATION } else { self.generation }
    }
}
