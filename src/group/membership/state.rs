//! The states of a group.
//!
//! ```text
//!                 a member joins                     all have joined, or time is up
//!      Empty ─────────────────────▶ PreparingRebalance ─────────────────────▶ CompletingRebalance
//!        ▲                           │      ▲      ▲                           │             │
//!        └───────────────────────────┘      │      └───────────────────────────┘             │ the leader
//!              the last member leaves       │        a member joins, leaves or changes       │ assigns
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
    /// Members have joined, and wait for the leader's assignment.
    CompletingRebalance,
    /// Each member has its assignment, or can get it.
    Stable,
    /// The group was deleted.
    Dead,
}

/// A state, with its deadline if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Empty,
    Preparing(Preparing),
    /// Every member must ask for its assignment by the time `until`.
    Completing {
        until: Duration,
    },
    /// The leader has assigned the partitions. Every member must ask for its assignment by the
    /// time `until`, which is `None` once all have done so.
    Stable {
        until: Option<Duration>,
    },
    Dead,
}

/// Members are joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preparing {
    pub(super) until: Duration,
    /// Set in a group that was empty: it waits for more members, even if all known ones have
    /// joined.
    pub(super) initial: Option<InitialWait>,
}

/// The initial wait of a group that was empty. If members joined during the wait, it is extended,
/// up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialWait {
    /// The length of each extension.
    delay: Duration,
    /// The length of the present wait.
    wait: Duration,
    /// The time that is left after this wait.
    left: Duration,
    /// Whether a member joined during this wait.
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

    /// Returns when the state ends by itself.
    pub(super) fn until(self) -> Option<Duration> {
        match self {
            Phase::Empty | Phase::Dead => None,
            Phase::Preparing(Preparing { until, .. }) | Phase::Completing { until } => Some(until),
            Phase::Stable { until } => until,
        }
    }
}

impl Preparing {
    /// Waits until all members have joined, in a group that had members.
    pub(super) fn for_rebalance(now: Duration, limit: Duration) -> Preparing {
        Preparing { until: now.saturating_add(limit), initial: None }
    }

    /// Waits for the initial delay, in a group that was empty.
    pub(super) fn for_empty_group(now: Duration, delay: Duration, limit: Duration) -> Preparing {
        let left = limit.saturating_sub(delay);
        let initial = InitialWait { delay, wait: delay, left, member_joined: false };
        Preparing { until: now.saturating_add(delay), initial: Some(initial) }
    }

    /// Records that a member joined.
    pub(super) fn record_join(&mut self) {
        if let Some(initial) = &mut self.initial {
            initial.member_joined = true;
        }
    }

    /// Returns the next wait when the time is up; `None` if there is nothing more to wait for.
    pub(super) fn extended(self, now: Duration) -> Option<Preparing> {
        let initial =
            self.initial.filter(|initial| initial.member_joined && !initial.left.is_zero())?;
        let wait = initial.delay.min(initial.left);
        let left = initial.left.saturating_sub(initial.wait);
        let initial = InitialWait { wait, left, member_joined: false, ..initial };
        Some(Preparing { until: now.saturating_add(wait), initial: Some(initial) })
    }
}
