//! The options of the transactions of a store.

use std::time::Duration;

/// The options of the transaction coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TransactionCoordinatorConfig {
    /// The longest timeout that a producer can have. Kafka: `transaction.max.timeout.ms`.
    pub(crate) max_timeout: Duration,
    /// The time after which what could not be done is tried again.
    /// Kafka: `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub(crate) abort_check_interval: Duration,
    /// The time after which an unused transactional id is removed.
    /// Kafka: `transactional.id.expiration.ms`.
    pub(crate) id_expiration: Duration,
    /// The time between checks for unused ids.
    /// Kafka: `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub(crate) id_expiration_check_interval: Duration,
    /// Whether ongoing transactions continue when the store is opened. If not, they are aborted,
    /// because their producers ended with the process that had the store open.
    pub(crate) resume_ongoing: bool,
}

impl Default for TransactionCoordinatorConfig {
    fn default() -> TransactionCoordinatorConfig {
        TransactionCoordinatorConfig {
            max_timeout: Duration::from_secs(15 * 60),
            abort_check_interval: Duration::from_secs(10),
            id_expiration: Duration::from_secs(7 * 86_400),
            id_expiration_check_interval: Duration::from_secs(3_600),
            resume_ongoing: false,
        }
    }
}
