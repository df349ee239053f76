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

/// A state, and what it wait for.
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
    /// In a group that was empty: it wait for more members, even if all known ones have joined.
    pub(super) initial: Option<InitialWait>,
}

/// The wait of a group that was empty. It begins anew when members member_joined meanwhile, up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialWait {
    /// How long it wait each time.
    delay: Duration,
    /// How long it wait now.
    wait: Duration,
    /// What is left of the limit when it has waited.
    left: Duration,
    /// Whether anybody member_joined since it began to wait.
    member_joined: bool,
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
    pub(super) fn for_rebalance(now: Duration, limit: Duration) -> Preparing {
        Preparing { until: now.saturating_add(limit), initial: None }
    }

    /// In a group that was empty.
    pub(super) fn for_empty_group(now: Duration, delay: Duration, limit: Duration) -> Preparing {
        let left = limit.saturating_sub(delay);
        let initial = InitialWait { delay, wait: delay, left, member_joined: false };
        Preparing { until: now.saturating_add(delay), initial: Some(initial) }
    }

    /// A member member_joined.
    pub(super) fn record_join(&mut self) {
        if let Some(initial) = &mut self.initial {
            initial.member_joined = true;
        }
    }

    /// What to wait for when the time is up; `None` if there is nothing more.
    pub(super) fn extended(self, now: Duration) -> Option<Preparing> {
        let initial =
            self.initial.filter(|initial| initial.member_joined && !initial.left.is_zero())?;
        let wait = initial.delay.min(initial.left);
        let left = initial.left.saturating_sub(initial.wait);
        let initial = InitialWait { wait, left, member_joined: false, ..initial };
        Some(Preparing { until: now.saturating_add(wait), initial: Some(initial) })
    }
}
