//! The options of a group.

use crate::error::GroupError;
use std::time::Duration;

/// The options that apply to all members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupConfig {
    /// How long an empty group waits for more members. Kafka: `group.initial.rebalance.delay.ms`.
    pub(crate) initial_rebalance_delay: Duration,
    /// Kafka: `group.min.session.timeout.ms`.
    pub(crate) min_session_timeout: Duration,
    /// Kafka: `group.max.session.timeout.ms`.
    pub(crate) max_session_timeout: Duration,
    /// Kafka: `group.max.size`.
    pub(crate) max_members: usize,
}

impl Default for GroupConfig {
    fn default() -> GroupConfig {
        GroupConfig {
            initial_rebalance_delay: Duration::from_secs(3),
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1800),
            max_members: i32::MAX as usize,
        }
    }
}

impl GroupConfig {
    /// Fails if a member may not have this session timeout.
    pub(crate) fn check_session_timeout(&self, given: Duration) -> Result<(), GroupError> {
        let (least, most) = (self.min_session_timeout, self.max_session_timeout);
        if given < least || given > most {
            return Err(GroupError::InvalidSessionTimeout { given, least, most });
        }
        Ok(())
    }
}
