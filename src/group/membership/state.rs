//! The states of a group.
//!
//! ```text
//!                 a member joins                     all have joined, or time is up
//!      Empty ─────────────────────▶ PreparingRebalance ─────────────────────▶ CompletingRebalance
//!        ▲                           │      ▲      ▲                           │             │
//!        └───────────────────────────┘      │      └───────────────────────────┘             │ the leader hands in
//!              the last member leaves       │        a member joins, leaves or changes       │ the assignment
//!                                           │                                                ▼
//!                                           └───────────────────────────────────────────── Stable
//! ```
//!
//! Each end of `PreparingRebalance` begins a generation. Any state becomes `Dead` when the group
//! is deleted.

use std::time::Duration;

/// The state of a group. Kafka: `ConsumerGroupState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// The group has no members. It may have committed offsets.
    Empty,
    /// Members are asked to join.
    PreparingRebalance,
    /// They have joined, and wait for the leader's assignment.
    CompletingRebalance,
    /// Each member has an assignment, or can get it.
    Stable,
    /// The group was deleted.
    Dead,
}

/// A state, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    Preparing(Preparing),
    /// Until then every member must have asked for its assignment.
    Completing {
        until: Duration,
    },
    /// The same, unless all have.
    Stable {
        until: Option<Duration>,
    },
    Dead,
}

/// Members are joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preparing {
    pub(super) until: Duration,
    /// In a group that was empty: it waits for more members, even if all known ones have joined.
    pub(super) first: Option<First>,
}

/// The wait of a group that was empty. It begins anew when members came meanwhile, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    /// How long it waits each time.
    delay: Duration,
    /// How long it waits now.
    waits: Duration,
    /// What is left of the limit when it has waited.
    left: Duration,
    /// Whether anybody came since it began to wait.
    came: bool,
}

impl Phase {
    pub(super) fn state(self) -> GroupState {
        match self {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing(_) => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
            Phase::Dead => GroupState::Dead,
        }
    }

    /// When it ends of itself.
    pub(super) fn until(self) -> Option<Duration> {
        match self {
            Phase::Empty | Phase::Dead => None,
            Phase::Preparing(Preparing { until, .. }) | Phase::Completing { until } => Some(until),
            Phase::Stable { until } => until,
        }
    }
}

impl Preparing {
    /// In a group that had members: until all have joined.
    pub(super) fn again(now: Duration, limit: Duration) -> Preparing {
        Preparing { until: now.saturating_add(limit), first: None }
    }

    /// In a group that was empty.
    pub(super) fn first(now: Duration, delay: Duration, limit: Duration) -> Preparing {
        let left = limit.saturating_sub(delay);
        let first = First { delay, waits: delay, left, came: false };
        Preparing { until: now.saturating_add(delay), first: Some(first) }
    }

    /// A member came.
    pub(super) fn note(&mut self) {
        if let Some(first) = &mut self.first {
            first.came = true;
        }
    }

    /// What to wait for when the time is up; `None` if there is nothing more.
    pub(super) fn extended(self, now: Duration) -> Option<Preparing> {
        let first = self.first.filter(|first| first.came && !first.left.is_zero())?;
        let waits = first.delay.min(first.left);
        let left = first.left.saturating_sub(first.waits);
        let first = First { waits, left, came: false, ..first };
        Some(Preparing { until: now.saturating_add(waits), first: Some(first) })
    }
}
