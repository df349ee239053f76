//! The calls of a log for its operator: maintenance, verification, statistics.

use crate::error::{Corruption, Result};
use crate::event::CompactionReport;
use crate::log::Log;
use crate::log::maintain::MaintenanceReport;
use crate::log::maintain::pause::MaintenancePause;
use crate::log::maintainer::Maintainer;
use crate::log::read::stats::LogStats;
use crate::log::recovery::Recovery;
use crate::producer_state::ProducerState;
use std::sync::Arc;

impl Log {
    /// Deletes the segments at the start of the log that
    /// [`retention_age`](crate::LogConfig::retention_age) and
    /// [`retention_bytes`](crate::LogConfig::retention_bytes) no longer keep.
    ///
    /// Only a [`Maintainer`] calls it on its own. Call it yourself, for example from a timer, if
    /// you need to know the order of events. With a policy that compacts, it first
    /// [compacts](Log::compact) the log, if enough of it is
    /// [dirty](crate::LogConfig::min_cleanable_dirty_ratio). It deletes whole segments, the oldest
    /// first, as [`delete_before`](Log::delete_before) does. If all of them are due, it closes and
    /// deletes the active one, too.
    ///
    /// ```
    /// use annals::{Log, LogConfig, ManualClock, Timestamp, fs::MemFs};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    /// let config = LogConfig::default().retention_age(Duration::from_secs(3600));
    /// let log = Log::open("orders-0", config.fs(MemFs::new()).clock(clock.clone()))?;
    /// log.append("old")?;
    /// log.roll()?;
    /// clock.advance(Duration::from_secs(3601));
    /// log.append("new")?;
    ///
    /// let report = log.maintain()?;
    /// assert_eq!((report.segments_deleted, report.start), (1, 1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`delete_before`](Log::delete_before). A damaged segment is no error here: it is
    /// reported as [`Event::CorruptionFound`](crate::Event::CorruptionFound), and is not deleted
    /// for its age.
    pub fn maintain(&self) -> Result<MaintenanceReport> {
        self.inner.maintain(&mut |_| true)
    }

    /// Compacts everything that can be compacted, however little of it is dirty, including parts
    /// that were compacted before.
    ///
    /// It compacts everything below the active segment that is older than
    /// [`min_compaction_lag`](crate::LogConfig::min_compaction_lag): call [`roll`](Log::roll)
    /// first to include all records. It keeps the last record of each key, with its offset. It
    /// removes a tombstone, which is a record without a value, once it has stayed for
    /// [`delete_retention`](crate::LogConfig::delete_retention). Appends, reads and flushes go on
    /// meanwhile. A truncation interrupts it; it then compacts what is left. You can call it at
    /// any time; it waits for a running pass of [`maintain`](Log::maintain).
    ///
    /// The part to be compacted is made durable first, and its replacement before anything is
    /// removed. After a crash, each segment is as it was before or as it becomes after.
    ///
    /// ```
    /// use annals::{CleanupPolicy, Log, LogConfig, ManualClock, Record, Timestamp, fs::MemFs};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    /// let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    /// let config = config.clock(clock.clone());
    /// let log = Log::open("users-0", config.fs(MemFs::new()))?;
    /// log.append(Record::new("Ada").key("1"))?;
    /// log.append(Record::tombstone("1"))?;
    /// log.roll()?;
    ///
    /// assert_eq!(log.compact()?.records_kept, 1); // readers must see the tombstone,
    /// clock.advance(Duration::from_secs(86_401));
    /// let report = log.compact()?; // a day later they have
    /// assert_eq!((report.records_kept, report.tombstones_removed), (0, 1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`](crate::Error::InvalidConfig) if the
    ///   [policy](crate::LogConfig::cleanup_policy) does not compact.
    /// - [`Error::Corrupt`](crate::Error::Corrupt) if a batch is damaged, and
    ///   [`Error::Unsupported`](crate::Error::Unsupported) if this build cannot read one. The part
    ///   that was not compacted by then is unchanged, and `maintain` does not compact this log
    ///   until it is opened again.
    /// - [`Error::Io`](crate::Error::Io): the unfinished replacement is removed. After a full disk
    ///   the log works. If the disk fails while files are renamed, the log is poisoned, and the
    ///   next opening finishes the replacement.
    /// - [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Poisoned`](crate::Error::Poisoned),
    ///   [`Error::Closed`](crate::Error::Closed).
    pub fn compact(&self) -> Result<CompactionReport> {
        self.inner.compact_all()
    }

    /// Pauses all maintenance of this log while the guard lives: [`maintain`](Log::maintain) and
    /// [`compact`](Log::compact) then do nothing.
    ///
    /// Blocks until a running pass has ended, which takes a moment. Pauses nest.
    pub fn pause_maintenance(&self) -> MaintenancePause {
        MaintenancePause::new(Arc::clone(&self.inner))
    }

    /// Reads the whole log, and lists all damage in batches, records and index files.
    ///
    /// A batch that this build cannot decode counts as sound if its checksum is right. The index of
    /// aborted transactions of each closed segment is compared with the markers in the log: a read
    /// rebuilds a damaged one, but takes a missing file for one without entries, as Kafka does.
    ///
    /// ```
    /// use annals::fs::{File, Fs, MemFs, OpenMode};
    /// use annals::{Log, LogConfig};
    /// use std::path::Path;
    ///
    /// let fs = MemFs::new();
    /// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
    /// log.append("a")?;
    /// log.append("b")?;
    /// assert!(log.verify()?.is_empty());
    ///
    /// let path = Path::new("orders-0/00000000000000000000.log");
    /// let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    /// file.write_all_at(b"!", 69 + 67).unwrap(); // into the second batch
    /// let damage = log.verify()?;
    /// assert_eq!((damage[0].position, damage[0].offset), (69, Some(1)));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed). Damage is not an
    /// error here. [`Error::Poisoned`](crate::Error::Poisoned) if a failure has stopped the log
    /// while it replaced segments, and files are missing until the next opening.
    pub fn verify(&self) -> Result<Vec<Corruption>> {
        self.inner.verify()
    }

    /// Returns the segments, sizes and offsets of the log.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("a")?;
    /// log.roll()?;
    /// log.append("b")?;
    /// let stats = log.stats()?;
    /// assert_eq!((stats.segments.len(), stats.bytes), (2, 138));
    /// assert_eq!(stats.segments[1].base_offset, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) and [`Error::Corrupt`](crate::Error::Corrupt), because a
    /// segment's times come from its index.
    pub fn stats(&self) -> Result<LogStats> {
        self.inner.stats()
    }

    /// Returns what opening this log found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    /// Returns the idempotent and transactional producers that the log knows, by id: their last
    /// batch, and the start of an open transaction. Kafka: `describeProducers`.
    ///
    /// ```
    /// use annals::{Log, LogConfig, Record, Timestamp, fs::MemFs, record::BatchBuilder};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let batch = || {
    ///     let mut builder = BatchBuilder::new();
    ///     builder.producer(4000, 0, 0).push(Timestamp::NONE, None, Some(b"paid"))?;
    ///     builder.build()
    /// };
    /// assert!(!log.append_batch(batch()?)?.duplicate);
    /// // If you are not sure that it arrived, resend it.
    /// let again = log.append_batch(batch()?)?;
    /// assert!(again.duplicate && again.first == 0 && log.offsets().end == 1);
    /// assert_eq!(log.producers()?[0].last_sequence, 0);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// A read-only log reads its newest snapshot of producers, and the batches after it, in each
    /// call.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed). In a read-only log, as [`read`](Log::read).
    pub fn producers(&self) -> Result<Vec<ProducerState>> {
        self.inner.producer_states()
    }
}

impl Maintainer {
    /// Adds a log. The first round with it begins at once.
    ///
    /// # Errors
    /// - [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Closed`](crate::Error::Closed).
    /// - [`Error::Io`](crate::Error::Io) if a thread cannot be started.
    pub fn add(&self, log: &Log) -> Result<()> {
        log.inner.state.check_writable()?;
        self.add_maintained(log.inner.clone(), &log.inner.dir.path)
    }
}
