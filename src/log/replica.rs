//! The calls of a log for a replica: leader epochs.

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
