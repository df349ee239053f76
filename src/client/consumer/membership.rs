//! A consumer's state in its group.
//!
//! ```text
//!        join           a generation begins       its assignment        moved out and in
//!  Out ────────▶ Joining ───────────────▶ Syncing ────────────▶ Assigned ───────────────▶ Stable
//!   ▲               ▲                        │                                              │
//!   │               └─────── rebalance ──────┴──────────────────────────────────────────────┤
//!   └────────────────────── was taken for dead: all is lost ────────────────────────────────┘
//! ```

use crate::error::GroupError;
use crate::group::protocol::NO_GENERATION;
use crate::types::TopicPartition;
use crate::uuid::TopicId;
use std::collections::{BTreeMap, BTreeSet};

/// Where a consumer is on the way to its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Out,
    Joining,
    Syncing,
    /// It knows its assignment, and has not given up and taken over all that moves.
    Assigned,
    Stable,
}

/// A topic as the leader saw it when it assigned its partitions; `None` if it was not there.
pub(super) type SeenTopic = Option<(TopicId, u32)>;

/// The consumer's state of its membership.
#[derive(Debug, Default)]
pub(super) struct Membership {
    pub(super) state: State,
    /// Empty if it is none.
    pub(super) id: String,
    pub(super) generation: i32,
    /// Whether it has to join again, whatever the group thinks.
    pub(super) rejoin: bool,
    /// The topics that it has told the group.
    pub(super) topics: BTreeSet<String>,
    /// Its last assignment, and the generation of that.
    pub(super) last_assignment: Option<(Vec<TopicPartition>, i32)>,
    /// Whether a topic of these was not there when it took them over.
    pub(super) misses_topics: bool,
    /// If it leads: the topics of the group when it assigned their partitions.
    pub(super) leader_topics: Option<BTreeMap<String, SeenTopic>>,
    /// Why it can never be a member again.
    pub(super) fenced: Option<GroupError>,
}

impl Membership {
    pub(super) fn generation(&self) -> i32 {
        if self.id.is_empty() { NO_GENERATION } else { self.generation }
    }
}
