//! The calls of a log for a replica: leader epochs, the high watermark, the batches of a leader.

use crate::epochs::{EpochEnd, EpochStart};
use crate::error::Result;
use crate::log::{Appended, Log};
use crate::types::{LeaderEpoch, Offset};

impl Log {
    /// Sets the leader epoch that is stamped on every batch from now on: the number of the term
    /// in which this process leads the partition. The epoch begins at the end of the log.
    ///
    /// The epoch is durable in `leader-epoch-checkpoint` when this returns, and a crash never
    /// leaves a batch whose epoch is not in that file. The present epoch changes nothing. Kafka
    /// does the same when a broker becomes the leader. A log that has followed another replica must
    /// get an epoch of its own before it appends: until then, [`append`](Log::append) stamps the
    /// latest epoch of the log, which is that of the leader it followed. As in Kafka, the log does
    /// not refuse that: who leads is decided outside of it.
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
    /// higher: a call that lowers it stores that at once, and so does an opening that finds it
    /// above the end of the log. Without a stored one it begins at the start of the log. An opening
    /// reads the batches from the high watermark on, to find the transactions that ended there.
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

    /// Appends batches as another replica wrote them: with its offsets, leader epochs and
    /// timestamps, byte for byte. The bytes are those of [`read`](Log::read) at
    /// [`LogEnd`](crate::IsolationLevel::LogEnd), or of a fetch response. A part of a batch at the
    /// end is left out. Without a whole batch it appends nothing, and `first` of the result is the
    /// end of the log.
    ///
    /// All batches are appended, or none is. They must begin at the end of the log. If compaction
    /// may have left offsets out, because the policy of this log is to compact or it was compacted,
    /// they may begin above it, and have gaps. Checksums, the order of the offsets and markers are
    /// checked. The rest was up to the leader: records may have no key and any time, batches may be
    /// empty, control batches, or larger than
    /// [`max_message_bytes`](crate::LogConfig::max_message_bytes), and their sequence numbers are
    /// not checked. Producers and transactions are recorded from them.
    ///
    /// A follower appends in no other way: `append` on a follower writes a record that the leader
    /// does not have, under the leader's epoch, so that a comparison of epochs cannot find it.
    /// Before a log follows another leader, [truncate](Log::truncate_to) it to where that leader's
    /// [epoch ends](Log::epoch_end_offset), also if the fetched batches continue it: the end may
    /// match by chance. The example `replica` shows both.
    ///
    /// ```
    /// use annals::{IsolationLevel, Log, LogConfig, ReadLimits, fs::MemFs};
    ///
    /// let open = || Log::open("orders-0", LogConfig::default().replicated(true).fs(MemFs::new()));
    /// let (leader, follower) = (open()?, open()?);
    /// leader.set_leader_epoch(3)?;
    /// leader.append_all(["a", "b"].map(Into::into))?;
    ///
    /// let from = follower.offsets().end;
    /// let fetched = leader.isolated(IsolationLevel::LogEnd).read(from, ReadLimits::default())?;
    /// follower.append_as_follower(&fetched.bytes)?;
    /// assert_eq!((follower.offsets().end, follower.epoch_of(0)?), (2, Some(3)));
    ///
    /// // The next fetch from 2 on tells the leader how far the follower is, and returns how far
    /// // all of them are.
    /// leader.set_high_watermark(2)?;
    /// follower.set_high_watermark(2)?;
    /// assert_eq!(follower.get(1)?.unwrap().value_str(), Some("b"));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// Nothing is appended after
    /// - [`Error::UnexpectedOffset`](crate::Error::UnexpectedOffset): the batches begin below the
    ///   end of the log, or leave offsets out where none may be missing.
    /// - [`Error::StaleLeaderEpoch`](crate::Error::StaleLeaderEpoch): a batch has a lower epoch
    ///   than the log, or than a batch before it. [Truncate](Log::truncate_to) the log to where the
    ///   leader's [epoch ends](Log::epoch_end_offset) first.
    /// - [`Error::InvalidBatch`](crate::Error::InvalidBatch),
    ///   [`Error::Unsupported`](crate::Error::Unsupported): a damaged batch, offsets that do not
    ///   rise, a legacy format.
    /// - [`Error::BatchTooLarge`](crate::Error::BatchTooLarge): the batches are larger than a
    ///   segment all together.
    ///
    /// Others are as for [`append`](Log::append).
    pub fn append_as_follower(&self, batches: &[u8]) -> Result<Appended> {
        self.inner.append_as_follower(batches)
    }

    /// Removes all records, durably, and continues at `offset`, which may lie anywhere: below the
    /// start of the log, inside of it or above its end. The log has no epochs and no producers
    /// then, and its high watermark, if it is [replicated](crate::LogConfig::replicated), is
    /// `offset`.
    ///
    /// A follower does this if its leader has deleted everything that it has. The next call of a
    /// reader at another offset fails with
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange).
    ///
    /// ```
    /// use annals::{Log, LogConfig, fs::MemFs};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("of no use")?;
    /// log.truncate_fully_and_start_at(100)?;
    /// assert_eq!((log.offsets().start, log.offsets().end), (100, 100));
    /// assert_eq!(log.append("a")?, 100);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) above
    ///   [`MAX_OFFSET`](crate::MAX_OFFSET).
    /// - [`Error::Io`](crate::Error::Io): the log is poisoned if files had begun to change. The
    ///   next opening finds all, some or none of the records removed and no hole, or the new log.
    /// - [`Error::Corrupt`](crate::Error::Corrupt), [`Error::ReadOnly`](crate::Error::ReadOnly),
    ///   [`Error::Poisoned`](crate::Error::Poisoned), [`Error::Closed`](crate::Error::Closed).
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<()> {
        self.inner.restart_at(offset)
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
