//! The calls of a log for a replica: leader epochs, the high watermark.

use crate::epochs::{EpochEnd, EpochStart};
use crate::error::Result;
use crate::log::Log;
use crate::types::{LeaderEpoch, Offset};

impl Log {
    /// Sets the leader epoch that is stamped on every batch from now on: the number of the term
    /// in which this process leads the partition. The epoch begins at the end of the log.
    ///
    /// The epoch is durable in `leader-epoch-checkpoint` when this returns, and a crash never
    /// leaves a batch whose epoch is not in that file. The present epoch changes nothing. Kafka
    /// does the same when a broker becomes the leader.
    /// [`LogConfig::leader_epoch`](crate::LogConfig::leader_epoch) is the epoch to begin with.
    ///
    /// ```
    /// use annals::{ErrorKind, Log, LogConfig, fs::MemFs};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.set_leader_epoch(3)?;
    /// log.append_all(["a", "b"].map(Into::into))?;
    /// log.set_leader_epoch(5)?;
    /// log.append("c")?;
    /// assert_eq!(log.epoch_of(1)?, Some(3));
    /// assert_eq!(log.epoch_of(2)?, Some(5));
    /// assert_eq!(log.set_leader_epoch(4).unwrap_err().kind(), ErrorKind::Fenced);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::StaleLeaderEpoch`](crate::Error::StaleLeaderEpoch) for a lower epoch than the
    ///   present one.
    /// - [`Error::InvalidConfig`](crate::Error::InvalidConfig) below -1, which means unknown.
    /// - [`Error::Io`](crate::Error::Io): the epoch stays as it is. After reopening, the log may
    ///   have the new one.
    /// - [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Poisoned`](crate::Error::Poisoned),
    ///   [`Error::Closed`](crate::Error::Closed).
    pub fn set_leader_epoch(&self, epoch: LeaderEpoch) -> Result<()> {
        self.inner.set_leader_epoch(epoch)
    }

    /// Sets the high watermark: below it, all replicas have the records. Returns what is set: an
    /// offset below the start of the log counts as the start, and one above the end as the end, as
    /// in Kafka.
    ///
    /// Readers stop at the high watermark, except at
    /// [`LogEnd`](crate::IsolationLevel::LogEnd), at which a replica reads. A batch that it cuts
    /// is withheld whole. The [last stable offset](crate::Offsets::last_stable) is never above it,
    /// and a transaction whose marker is not below it is still undecided for readers of committed
    /// records. The start of the log cannot be moved past it: not by
    /// [`delete_before`](Log::delete_before), and not by retention. Compaction stops below it, and
    /// a truncation below it lowers it. What waits at the old one wakes up, such as a tail and
    /// [`offset_moved`](Log::offset_moved).
    ///
    /// It is stored in `replication-offset-checkpoint` by [`maintain`](Log::maintain) and
    /// [`close`](Log::close). After a crash it may therefore be lower than it was, but it is never
    /// higher: a call that lowers it stores that at once. Without a stored one it begins at the
    /// start of the log. An opening reads the batches from the high watermark on, to find the
    /// transactions that ended there.
    ///
    /// ```
    /// use annals::{Log, LogConfig, StartAt, fs::MemFs};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().replicated(true).fs(MemFs::new()))?;
    /// log.append("a")?;
    /// log.append("b")?;
    /// assert!(log.reader(StartAt::Earliest)?.next_record()?.is_none());
    ///
    /// assert_eq!(log.set_high_watermark(1)?, 1); // a follower has the first record
    /// let first = log.reader(StartAt::Earliest)?.next_record()?.expect("it is replicated");
    /// assert_eq!(first.value_str(), Some("a"));
    /// assert_eq!(log.set_high_watermark(7)?, 2);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`](crate::Error::InvalidConfig) on a log that was not opened as
    ///   [`replicated`](crate::LogConfig::replicated): its high watermark is its end.
    /// - [`Error::Io`](crate::Error::Io) if a lower one could not be stored: it is set, and after a
    ///   crash it may be higher.
    /// - [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Poisoned`](crate::Error::Poisoned),
    ///   [`Error::Closed`](crate::Error::Closed).
    pub fn set_high_watermark(&self, offset: Offset) -> Result<Offset> {
        self.inner.set_high_watermark(offset)
    }

    /// Returns the leader epochs of the log and where each began, in order. Without a known epoch
    /// there are none.
    ///
    /// Epochs follow the records: a truncation removes those that began at or above its offset,
    /// and a deletion from the start those that ended below the new start. Compaction leaves them
    /// alone.
    ///
    /// ```
    /// use annals::{Log, LogConfig, fs::MemFs};
    ///
    /// let config = LogConfig::default().leader_epoch(3).fs(MemFs::new());
    /// let log = Log::open("orders-0", config)?;
    /// log.append("a")?;
    /// log.set_leader_epoch(5)?;
    /// log.append("b")?;
    /// let epochs = log.leader_epochs()?;
    /// let starts: Vec<_> = epochs.iter().map(|e| (e.epoch, e.start_offset)).collect();
    /// assert_eq!(starts, [(3, 0), (5, 1)]);
    /// log.truncate_to(1)?;
    /// assert_eq!(log.leader_epochs()?.len(), 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed); on a read-only log, which looks at its files, as
    /// [`read`](Log::read).
    pub fn leader_epochs(&self) -> Result<Vec<EpochStart>> {
        self.inner.look_up_epochs(|epochs, _| epochs.entries().to_vec())
    }

    /// Returns where a leader epoch ends: the start of the next higher epoch, or the end of the
    /// log for the latest. A follower truncates its log to that offset, and then continues from
    /// there. Kafka: `OffsetForLeaderEpoch`.
    ///
    /// For an epoch that the log does not have, the result is the end of the next lower one, with
    /// its number; if there is no lower one either, the start of the first epoch. The result is
    /// `None` for an epoch above all of the log's, and for -1.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().leader_epoch(3).fs(MemFs::new()))?;
    /// log.append_all(["a", "b"].map(Into::into))?;
    /// log.set_leader_epoch(5)?;
    /// log.append("c")?;
    /// let end = |epoch| log.epoch_end_offset(epoch);
    /// assert_eq!(end(5)?.map(|end| (end.epoch, end.end_offset)), Some((5, 3)));
    /// assert_eq!(end(4)?.map(|end| (end.epoch, end.end_offset)), Some((3, 2)));
    /// assert_eq!(end(6)?, None);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`leader_epochs`](Log::leader_epochs).
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Result<Option<EpochEnd>> {
        self.inner.look_up_epochs(|epochs, end| epochs.end_offset_for(epoch, end))
    }

    /// Returns the leader epoch of the record at an offset: the latest that began at or below it.
    /// Returns `None` if that is not known. At and above the end of the log it is the epoch of the
    /// present leader.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("before any epoch")?;
    /// log.set_leader_epoch(0)?;
    /// log.append("first")?;
    /// assert_eq!((log.epoch_of(0)?, log.epoch_of(1)?), (None, Some(0)));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`leader_epochs`](Log::leader_epochs).
    pub fn epoch_of(&self, offset: Offset) -> Result<Option<LeaderEpoch>> {
        self.inner.look_up_epochs(|epochs, _| epochs.epoch_at(offset))
    }
}
