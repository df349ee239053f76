//! The options of all groups of a store.

use crate::error::{Result, reject_option};
use crate::group::membership::GroupConfig;
use std::time::Duration;

/// The options of the consumer groups of a [`Store`](crate::Store): Kafka's broker settings
/// `group.*` and `offsets.*`.
///
/// ```
/// use annals::{GroupCoordinatorConfig, Store, StoreConfig};
/// use std::time::Duration;
///
/// let week = Duration::from_secs(7 * 86_400);
/// let groups = GroupCoordinatorConfig::default();
/// let groups = groups.offsets_partitions(4).offsets_retention(2 * week);
/// let store = Store::in_memory(StoreConfig::default().group_coordinator(groups))?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupCoordinatorConfig {
    pub(super) offsets_partitions: u32,
    pub(super) offsets_retention: Duration,
    pub(super) offsets_retention_check_interval: Duration,
    pub(super) group: GroupConfig,
}

impl Default for GroupCoordinatorConfig {
    fn default() -> GroupCoordinatorConfig {
        GroupCoordinatorConfig {
            offsets_partitions: 50,
            offsets_retention: Duration::from_secs(7 * 86_400),
            offsets_retention_check_interval: Duration::from_secs(600),
            group: GroupConfig {
                initial_rebalance_delay: Duration::ZERO,
                ..GroupConfig::default()
            },
        }
    }
}

impl GroupCoordinatorConfig {
    /// Sets the number of partitions with which `__consumer_offsets` is created.
    ///
    /// *Default* 50. *Limits* 1 and up. *Effect*: groups are distributed over the partitions by
    /// name, and groups in the same partition wait for each other's commits. The partitions of an
    /// existing topic do not change. Kafka: `offsets.topic.num.partitions`.
    #[must_use]
    pub fn offsets_partitions(mut self, partitions: u32) -> Self {
        self.offsets_partitions = partitions;
        self
    }

    /// Returns the number of partitions with which `__consumer_offsets` is created.
    pub(crate) fn partitions(&self) -> u32 {
        self.offsets_partitions
    }

    /// Sets how long unused offsets are kept.
    ///
    /// *Default* 7 days. *Limits* 1 ms and up. *Effect*: while a group has members, the offsets
    /// of the topics they subscribe to never expire. Other offsets expire this long after the
    /// latest of
    ///
    /// - the commit, by a consumer or by [`Admin::alter_offsets`](crate::Admin::alter_offsets),
    /// - the moment when the group lost its last member,
    /// - the last poll of a consumer of this process that names the group and has the partition
    ///   [assigned](crate::Consumer::assign), whether it commits or not,
    /// - the last call of [`committed`](crate::Consumer::committed) by such a consumer for the
    ///   partition.
    ///
    /// So a consumer in use never loses its offsets, and a consumer that commits after its group
    /// became empty does not lose them early, as it does in Kafka. Calls of
    /// [`Admin`](crate::Admin) do not extend the time. The times of polls and look-ups are kept
    /// in memory, and stored once half of the retention has passed. So after a restart, an offset
    /// that was in use has at least half of the retention left. An offset that a Kafka broker
    /// stored with its own expiry time expires at that time. Kafka: `offsets.retention.minutes`.
    #[must_use]
    pub fn offsets_retention(mut self, retention: Duration) -> Self {
        self.offsets_retention = retention;
        self
    }

    /// Sets the time between checks for expired offsets.
    ///
    /// *Default* 10 minutes. *Limits* 1 ms and up. *Effect*: there is no timer. The next call
    /// that uses a group after this time first checks the partition in which the group is stored;
    /// [`Admin::expire_offsets`](crate::Admin::expire_offsets) checks all partitions. Kafka:
    /// `offsets.retention.check.interval.ms`.
    #[must_use]
    pub fn offsets_retention_check_interval(mut self, interval: Duration) -> Self {
        self.offsets_retention_check_interval = interval;
        self
    }

    /// Sets how long an empty group waits for more members before it assigns partitions.
    ///
    /// *Default* zero; Kafka has 3 seconds. The consumers of one process join at once, and a test
    /// or a service with one consumer should not wait for others that never join. *Limits* any.
    /// *Effect*: set it if many consumers start one after the other, so that they do not
    /// rebalance with each start. Kafka: `group.initial.rebalance.delay.ms`.
    #[must_use]
    pub fn initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.group.initial_rebalance_delay = delay;
        self
    }

    /// Sets the bounds for the session timeout of a consumer.
    ///
    /// *Default* 6 seconds and 30 minutes. *Limits* the shortest is at most the longest.
    /// *Effect*: a consumer with a timeout outside the bounds cannot join. Kafka:
    /// `group.min.session.timeout.ms`, `group.max.session.timeout.ms`.
    #[must_use]
    pub fn session_timeout_bounds(mut self, shortest: Duration, longest: Duration) -> Self {
        self.group.min_session_timeout = shortest;
        self.group.max_session_timeout = longest;
        self
    }

    /// Sets the largest number of members of a group.
    ///
    /// *Default* 2147483647. *Limits* 1 and up. *Effect*: when the group is full, further members
    /// cannot join. Kafka: `group.max.size`.
    #[must_use]
    pub fn max_members(mut self, members: usize) -> Self {
        self.group.max_members = members;
        self
    }

    /// Fails if a member may not have this session timeout.
    pub(crate) fn check_session_timeout(&self, given: Duration) -> Result<()> {
        Ok(self.group.check_session_timeout(given)?)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.offsets_partitions == 0 {
            return reject_option("offsets_partitions", 0, "must be at least 1");
        }
        for (option, time) in [
            ("offsets_retention", self.offsets_retention),
            ("offsets_retention_check_interval", self.offsets_retention_check_interval),
        ] {
            if time < Duration::from_millis(1) {
                return reject_option(option, format_args!("{time:?}"), "must be at least 1 ms");
            }
        }
        let (shortest, longest) = (self.group.min_session_timeout, self.group.max_session_timeout);
        if shortest > longest {
            let bounds = format_args!("{shortest:?} to {longest:?}");
            let rule = "the shortest must not exceed the longest";
            return reject_option("session_timeout_bounds", bounds, rule);
        }
        if self.group.max_members == 0 {
            return reject_option("max_members", 0, "must be at least 1");
        }
        Ok(())
    }
}
