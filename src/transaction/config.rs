//! The options of the transactions of a store.

use crate::error::{Result, reject_option};
use crate::types::ProducerId;
use std::time::Duration;

/// The options of the transactions of a store. Set them with
/// [`StoreConfig::transaction_coordinator`](crate::StoreConfig::transaction_coordinator).
///
/// ```
/// use annals::{Store, StoreConfig, TransactionCoordinatorConfig};
/// use std::time::Duration;
///
/// let config = TransactionCoordinatorConfig::default().max_timeout(Duration::from_secs(60));
/// let store = Store::in_memory(StoreConfig::default().transaction_coordinator(config))?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionCoordinatorConfig {
    partitions: u32,
    segment_bytes: u64,
    pub(crate) max_timeout: Duration,
    pub(crate) abort_check_interval: Duration,
    pub(crate) id_expiration: Duration,
    pub(crate) id_expiration_check_interval: Duration,
    pub(crate) resume_ongoing: bool,
    /// Ids below are not given to the next producer of a transactional id: partitions may have
    /// seen epochs of which the records here are lost.
    pub(crate) first_trusted: ProducerId,
}

impl Default for TransactionCoordinatorConfig {
    fn default() -> TransactionCoordinatorConfig {
        TransactionCoordinatorConfig {
            partitions: 50,
            segment_bytes: 100 << 20,
            max_timeout: Duration::from_secs(15 * 60),
            abort_check_interval: Duration::from_secs(10),
            id_expiration: Duration::from_secs(7 * 86_400),
            id_expiration_check_interval: Duration::from_secs(3_600),
            resume_ongoing: false,
            first_trusted: 0,
        }
    }
}

impl TransactionCoordinatorConfig {
    /// Sets the number of partitions of `__transaction_state`.
    ///
    /// *Default* 50. *Limits* 1 to 100,000. *Effect*: has none once the topic exists. It is
    /// created by the first [`init_producer_id`](crate::Transactions::init_producer_id).
    /// Kafka: `transaction.state.log.num.partitions`.
    #[must_use]
    pub fn state_partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Returns the number of partitions with which `__transaction_state` is created.
    pub(crate) fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Sets the size of a segment of `__transaction_state`, in bytes.
    ///
    /// *Default* 100 MiB. *Limits* those of
    /// [`LogConfig::segment_bytes`](crate::LogConfig::segment_bytes). *Effect*: has none once the
    /// topic exists; alter the topic instead. A partition is compacted long before a segment is
    /// full, once it is 16 times the size of its live records and at least 4 MiB.
    /// Kafka: `transaction.state.log.segment.bytes`.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Returns the size of a segment with which `__transaction_state` is created.
    pub(crate) fn state_segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Sets the longest timeout that a producer can have.
    ///
    /// *Default* 15 minutes. *Limits* 1 ms to 24 days. *Effect*: a producer that asks for more is
    /// rejected. Nothing holds readers of committed records back for much longer than this.
    /// Kafka: `transaction.max.timeout.ms`.
    #[must_use]
    pub fn max_timeout(mut self, timeout: Duration) -> Self {
        self.max_timeout = timeout;
        self
    }

    /// Sets the time after which a transaction that is decided, but could not be completed in all
    /// partitions, is tried again.
    ///
    /// *Default* 10 seconds. *Limits* 1 ms and up. *Effect*:
    /// [`Transactions::tick`](crate::Transactions::tick) returns at most this while there is such
    /// a transaction. The store has no timer of its own for it: its
    /// [`Maintainer`](crate::Maintainer) ticks in each round.
    /// Kafka: `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    #[must_use]
    pub fn abort_check_interval(mut self, interval: Duration) -> Self {
        self.abort_check_interval = interval;
        self
    }

    /// Sets the time after which a transactional id that is not used is removed.
    ///
    /// *Default* 7 days. *Limits* 1 ms and up. *Effect*: a producer with the id then gets
    /// [`InvalidIdMapping`](crate::TransactionError::InvalidIdMapping), and begins anew.
    /// Kafka: `transactional.id.expiration.ms`.
    #[must_use]
    pub fn id_expiration(mut self, expiration: Duration) -> Self {
        self.id_expiration = expiration;
        self
    }

    /// Sets the time between checks for transactional ids that are not used.
    ///
    /// *Default* 1 hour. *Limits* 1 ms and up. *Effect*: there is no timer. The next call for an
    /// id after this time first checks the partition in which the id is stored.
    /// Kafka: `transaction.remove.expired.transaction.cleanup.interval.ms`.
    #[must_use]
    pub fn id_expiration_check_interval(mut self, interval: Duration) -> Self {
        self.id_expiration_check_interval = interval;
        self
    }

    /// Sets whether transactions that are ongoing when the store is opened can continue.
    ///
    /// *Default* off: their producers ended with the process that had the store open, so they are
    /// aborted at once, and hold no reader back. *Effect*: a broker, whose producers live in other
    /// processes, switches it on. Then a transaction continues until its producer ends it, or its
    /// timeout does, which counts from its begin. There is no such option in Kafka.
    #[must_use]
    pub fn resume_ongoing(mut self, resume: bool) -> Self {
        self.resume_ongoing = resume;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.partitions == 0 {
            return reject_option("state_partitions", 0, "must be at least 1");
        }
        let most = Duration::from_millis(i32::MAX as u64).saturating_sub(Duration::from_millis(1));
        let millisecond = Duration::from_millis(1);
        if !(millisecond..=most).contains(&self.max_timeout) {
            let given = format_args!("{:?}", self.max_timeout);
            return reject_option("max_timeout", given, "must lie between 1 ms and 24 days");
        }
        for (option, time) in [
            ("abort_check_interval", self.abort_check_interval),
            ("id_expiration", self.id_expiration),
            ("id_expiration_check_interval", self.id_expiration_check_interval),
        ] {
            if time < millisecond {
                return reject_option(option, format_args!("{time:?}"), "must be at least 1 ms");
            }
        }
        Ok(())
    }
}
