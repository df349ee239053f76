//! The options of a store.

use crate::clock::Clock;
use crate::error::{Result, reject_option};
use crate::event::Listener;
use crate::fs::Fs;
use crate::group::config::GroupCoordinatorConfig;
use crate::log::{LogConfig, MaintainerConfig, OnCorruption};
use crate::store::settings::default_log;
use crate::transaction::TransactionCoordinatorConfig;
use std::sync::Arc;

/// The options of a [`Store`](crate::Store).
///
/// ```
/// use annals::{ManualClock, Store, StoreConfig, Timestamp};
/// use std::sync::Arc;
///
/// let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
/// let store = Store::in_memory(StoreConfig::default().clock(clock))?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The options of the logs of topics without their own settings. They include the file
    /// system, the clock and the listener.
    pub(crate) log: LogConfig,
    pub(crate) maintenance: Option<MaintainerConfig>,
    pub(crate) recovery_threads: usize,
    pub(crate) group_coordinator: GroupCoordinatorConfig,
    pub(crate) transaction_coordinator: TransactionCoordinatorConfig,
    pub(crate) offline: OfflinePartitions,
}

/// The partitions that may stay [offline](crate::TopicError::PartitionOffline) when a store is
/// opened, so that all others can be used.
///
/// ```
/// use annals::fs::{Fs, MemFs};
/// use annals::{OfflinePartitions, Store, StoreConfig, TopicConfig};
///
/// let fs = MemFs::new();
/// let config = || StoreConfig::default().fs(fs.clone());
/// let store = Store::open("data", config())?;
/// store.create_topic("orders", TopicConfig::default().partitions(2))?;
/// store.close()?;
///
/// fs.rename_dir("data/orders-1".as_ref(), "data/lost".as_ref()).unwrap();
/// assert!(Store::open("data", config()).is_err());
/// let lenient = config().offline_partitions(OfflinePartitions::DamagedOrMissing);
/// let store = Store::open("data", lenient)?;
/// assert_eq!(store.topic("orders")?.unavailable_partitions().len(), 1);
/// # store.close()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OfflinePartitions {
    /// None: if a partition cannot be opened, neither can the store.
    Never,
    /// Partitions whose files are damaged, unreadable, or in a format before v2. A missing
    /// directory is an error, because its records are lost, and you should learn that at once.
    #[default]
    Damaged,
    /// These partitions, and partitions whose directories are missing.
    DamagedOrMissing,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            log: default_log(),
            maintenance: Some(MaintainerConfig::default()),
            recovery_threads: 2,
            group_coordinator: GroupCoordinatorConfig::default(),
            transaction_coordinator: TransactionCoordinatorConfig::default(),
            offline: OfflinePartitions::default(),
        }
    }
}

impl StoreConfig {
    /// Sets the file system of the directory.
    ///
    /// *Default* the disk. *Effect*: if you keep a [`MemFs`](crate::fs::MemFs), you can open the
    /// store in it again, even in the state after a crash.
    #[must_use]
    pub fn fs(mut self, fs: impl Fs) -> Self {
        self.log = self.log.fs(fs);
        self
    }

    /// Sets the clock of the store, its logs and its clients.
    ///
    /// *Default* the system's clock. *Effect*: with a [`ManualClock`](crate::ManualClock), time
    /// passes only when you move it.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.log = self.log.clock(clock);
        self
    }

    /// Sets the listener that receives the events of the store and of all its logs.
    ///
    /// *Default* none.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn Listener>) -> Self {
        self.log = self.log.listener(listener);
        self
    }

    /// Sets the reaction to damage in a log when the store is opened.
    ///
    /// *Default* [`OnCorruption::Fail`]: the damaged partition is
    /// [offline](StoreConfig::offline_partitions), and nothing in it is changed.
    #[must_use]
    pub fn on_corruption(mut self, choice: OnCorruption) -> Self {
        self.log = self.log.on_corruption(choice);
        self
    }

    /// Sets which partitions may stay offline when the store is opened.
    ///
    /// *Default* [`OfflinePartitions::Damaged`]. *Effect*: calls for such a partition fail with
    /// the reason, and a consumer gets no records from it.
    /// [`Event::PartitionOffline`](crate::Event::PartitionOffline) reports it, and
    /// [`Store::reopen_partition`](crate::Store::reopen_partition) opens it again.
    #[must_use]
    pub fn offline_partitions(mut self, which: OfflinePartitions) -> Self {
        self.offline = which;
        self
    }

    /// Sets the options of the logs of topics, for settings that a topic does not set itself.
    ///
    /// *Default* Kafka's, with 7 days of retention. *Effect*: also replaces the file system, the
    /// clock, the listener and the reaction to damage that were set before. Kafka: `log.*` of a
    /// broker.
    #[must_use]
    pub fn log_defaults(mut self, log: LogConfig) -> Self {
        self.log = log;
        self
    }

    /// Sets the background maintenance: one [`Maintainer`](crate::Maintainer) for all logs. With
    /// `None`, only [`Store::maintain`](crate::Store::maintain) runs retention and compaction.
    ///
    /// *Default* one thread, every 15 s; none for a store [in memory](crate::Store::in_memory).
    /// Kafka: `log.cleaner.threads`, `log.retention.check.interval.ms`.
    #[must_use]
    pub fn maintenance(mut self, maintenance: Option<MaintainerConfig>) -> Self {
        self.maintenance = maintenance;
        self
    }

    /// Sets the number of threads that open, flush and close logs.
    ///
    /// *Default* 2; always 1 for a store [in memory](crate::Store::in_memory). *Limits* 1 to 64.
    /// Kafka: `num.recovery.threads.per.data.dir`.
    #[must_use]
    pub fn recovery_threads(mut self, threads: usize) -> Self {
        self.recovery_threads = threads;
        self
    }

    /// Sets the options of consumer groups.
    ///
    /// *Default* `GroupCoordinatorConfig::default()`.
    #[must_use]
    pub fn group_coordinator(mut self, group_coordinator: GroupCoordinatorConfig) -> Self {
        self.group_coordinator = group_coordinator;
        self
    }

    /// Sets the options of transactions.
    ///
    /// *Default* `TransactionCoordinatorConfig::default()`.
    #[must_use]
    pub fn transaction_coordinator(mut self, config: TransactionCoordinatorConfig) -> Self {
        self.transaction_coordinator = config;
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if !(1..=64).contains(&self.recovery_threads) {
            let rule = "must lie between 1 and 64";
            return reject_option("recovery_threads", self.recovery_threads, rule);
        }
        self.group_coordinator.validate()?;
        self.transaction_coordinator.validate()?;
        self.log.validate()
    }
}
