//! The log: an ordered, append-only sequence of records in a directory of segments.

mod anchor;
mod append;
mod change;
mod checkpoints;
mod combine;
mod compact;
mod config;
mod cursor;
mod data_checkpoints;
mod disposal;
#[cfg(feature = "futures")]
mod durable;
mod flush;
mod follow;
mod group;
mod live;
mod lock;
mod maintain;
mod maintainer;
mod open;
mod open_txns;
mod place;
mod producers;
mod quarantine;
mod read;
mod reader;
mod recovery;
mod replace;
mod shared;
mod signal;
mod start;
mod stats;
mod tail;
mod time;
mod txn_index;
mod verify;
mod view;
mod watch;

pub use append::Appended;
pub use config::{CleanupPolicy, LogConfig, OnCorruption};
#[cfg(feature = "futures")]
pub use durable::Durable;
pub use maintain::MaintenanceReport;
pub use maintainer::{Maintainer, MaintainerConfig, MaintainerStats, MaintenancePause};
pub use open::Recovery;
pub use read::{Fetched, ReadLimits};
pub use reader::{ReadBatch, Reader, RecordsToEnd};
pub use stats::{LogStats, Offsets, SegmentStats};
pub use tail::Tail;

use crate::error::{Corruption, Error, Result};
use crate::event::CompactionReport;
use crate::producers::ProducerState;
use crate::record::{BatchBuilder, Record, RecordBatch, StoredRecord};
use crate::segment::dir::Room;
use crate::types::{Offset, OffsetSpec, StartAt, Timestamp};
pub(crate) use checkpoints::Checkpoint;
pub(crate) use data_checkpoints::DataCheckpoints;
pub(crate) use lock::{Place, WriteLock};
pub(crate) use place::DataDir;
use shared::Shared;
pub(crate) use signal::Signal;
use std::path::Path;
use std::sync::Arc;

/// A commit log: records in the order they were appended, each with an offset, in Kafka's own files.
///
/// Clones are handles to the same log, for any number of threads. All methods take `&self`.
///
/// | call | returns when | what it returned survives |
/// |---|---|---|
/// | [`append`](Log::append), [`append_all`](Log::append_all), [`append_batch`](Log::append_batch), [`append_builder`](Log::append_builder) | the operating system has the bytes | the end of this process, however it comes |
/// | [`flush`](Log::flush), [`flush_through`](Log::flush_through), `flush_async` | the medium has them | loss of power |
/// | [`truncate_to`](Log::truncate_to), [`close`](Log::close) | the medium has the change | loss of power |
///
/// Dropping the last handle without [`close`](Log::close) is safe: it is as if the process had ended
/// there. The next opening reads what lies above the last recovery point, which a close would
/// have saved it.
///
/// ```
/// use annals::{Log, LogConfig, Record, StartAt};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("orders-0");
/// let log = Log::open(&path, LogConfig::default())?;
/// log.append("hello")?;
/// log.append(Record::new("world").key("greeting").header("lang", "en"))?;
/// let durable = log.flush()?;
/// assert_eq!(durable, 2);
/// for record in log.reader(StartAt::Earliest)?.records() {
///     let record = record?;
///     println!("{} {:?}", record.offset, record.value);
/// }
/// log.close()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

impl Log {
    /// Opens the log in a directory, creating both if there is none.
    ///
    /// Whatever an interrupted run left is put in order first; [`recovery`](Log::recovery) tells what was found.
    /// After a clean close this reads no batch; after a crash, those above the recovery point.
    ///
    /// ```
    /// use annals::{ErrorKind, Log, LogConfig, fs::MemFs};
    ///
    /// let fs = MemFs::new();
    /// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
    /// let second = Log::open("orders-0", LogConfig::default().fs(fs.clone()));
    /// assert_eq!(second.unwrap_err().kind(), ErrorKind::Busy); // share `log.clone()` instead
    /// log.close()?;
    /// assert!(Log::open("orders-0", LogConfig::default().fs(fs))?.recovery().clean);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`] for an option that cannot be as it is, and for an empty path.
    /// - [`Error::Locked`] when the directory is open for writing already, here or in another process, by whatever path, or the one
    ///   above it is by a [`Store`](crate::Store) or a broker. A log of theirs can be opened by itself when they are closed,
    ///   one at a time: see [who may have it open](crate::docs::limits#who-may-have-it-open).
    /// - [`Error::NotALog`] for a file, or a directory that holds other things and no segment, logs for example.
    /// - [`Error::Corrupt`] for damage that no crash explains. Nothing was cut: see [`LogConfig::on_corruption`].
    /// - [`Error::Unsupported`] for message formats before v2.
    /// - [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, config: LogConfig) -> Result<Log> {
        let maintainer = config.maintainer.clone();
        let log = Log { shared: Arc::new(place::open(dir.as_ref(), config)?) };
        if let Some(maintainer) = maintainer {
            maintainer.add(&log)?;
        }
        Ok(log)
    }

    /// Opens a log that is one of many in a directory whose lock is held, and which keeps their checkpoints. Says
    /// whether it took over some from beside its segments, to be [removed](Log::remove_own_checkpoints) when that is durable.
    pub(crate) fn open_shared(
        dir: &Path,
        config: LogConfig,
        within: &DataDir,
    ) -> Result<(Log, bool)> {
        let (shared, taken_over) = place::open_shared(dir, config, within)?;
        Ok((Log { shared: Arc::new(shared) }, taken_over))
    }

    /// Removes the checkpoints beside the segments, which were taken over.
    pub(crate) fn remove_own_checkpoints(&self) -> Result<()> {
        self.shared.checkpoints.remove_own()
    }

    /// Lets other options hold from now on, where they can be altered while a log is open.
    pub(crate) fn alter(&self, config: &LogConfig) -> Result<()> {
        self.shared.alter(config)
    }

    /// Opens a log for reading, while another process may be writing it. Nothing is locked, nothing is changed.
    ///
    /// The end of the log is the end of the last whole batch; it is looked for again with every read. What counts
    /// as durable is not known here: [`Offsets::durable`] stays at the start.
    ///
    /// If the writer truncates the log, everything you read from then on is what the log holds now, even if new records
    /// take the place of the old ones. A [`Reader`] or [`Tail`] that has returned
    /// records which are no longer in the log fails with [`Error::OffsetOutOfRange`] until you
    /// [`seek`](Reader::seek): it does not continue with the records of another history. The log recognises a
    /// truncation by its last batch, so one that is followed by a compaction beyond that batch
    /// before you read again is not noticed; the reader then goes on at its offset.
    ///
    /// A file that the writer deletes keeps its room on disk for as long as this process has it open. Between two calls
    /// that is the last file, one other, and the one that each reader is in, as of the last call.
    ///
    /// ```
    /// use annals::{ErrorKind, Log, LogConfig, fs::MemFs};
    ///
    /// let fs = MemFs::new();
    /// let writer = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
    /// writer.append("a")?;
    /// let other = Log::open_read_only("orders-0", LogConfig::default().fs(fs))?;
    /// writer.append("b")?;
    /// assert_eq!(other.get(1)?.unwrap().value_str(), Some("b"));
    /// assert_eq!(other.append("c").unwrap_err().kind(), ErrorKind::Closed);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotALog`] when there is no segment.
    /// - [`Error::Corrupt`] when valid batches lie behind damage in the last segment, or it ends below what was synced,
    ///   unless `open` would trust the indexes of that part and not read it: then whoever reads the damage finds it.
    ///   With [`OnCorruption::Truncate`] the log ends before the damage, and nothing is cut.
    /// - [`Error::Corrupt`], too, when a segment is gone or shorter than when the log was closed; with
    ///   [`OnCorruption::Truncate`] what is left is read, and only [`verify`](Log::verify) tells of the hole.
    /// - [`Error::InvalidConfig`], [`Error::Unsupported`], [`Error::Io`] as for [`open`](Log::open).
    pub fn open_read_only(dir: impl AsRef<Path>, config: LogConfig) -> Result<Log> {
        let shared = Arc::new(follow::open_read_only(dir.as_ref(), config)?);
        Ok(Log { shared })
    }

    /// Appends one record and returns its offset.
    ///
    /// A record without a timestamp gets the time of the log's clock.
    ///
    /// # Errors
    /// - [`Error::BatchTooLarge`] above [`max_message_bytes`](LogConfig::max_message_bytes).
    /// - [`Error::InvalidRecord`] for a timestamp the log does not take, and for no key in one that is compacted.
    /// - [`Error::Io`] when the disk fails. When it is full nothing was appended, and the log works again once there is
    ///   room; after any other failure it is poisoned. A record whose append failed may be there after reopening.
    /// - [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn append(&self, record: impl Into<Record>) -> Result<Offset> {
        let appended = self.shared.append_record(&record.into())?;
        Ok(appended.first)
    }

    /// Appends records as one batch: after a crash either all of them are there or none.
    ///
    /// No records append nothing: the result's `first` is then the end of the log.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let appended = log.append_all(["debit", "credit"].map(Into::into))?;
    /// assert_eq!((appended.first, appended.last), (0, 1));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Log::append); the whole batch counts against the limit.
    pub fn append_all(&self, records: impl IntoIterator<Item = Record>) -> Result<Appended> {
        self.shared.append_records(records)
    }

    /// Appends what a builder holds as one batch, without allocating. Clear the builder to use it again.
    /// A log with a codec of its own sets the builder to it, and there it stays.
    ///
    /// ```
    /// use annals::{Log, LogConfig, Timestamp, fs::MemFs, record::BatchBuilder};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let mut builder = BatchBuilder::new();
    /// for round in 0..3 {
    ///     builder.clear();
    ///     for n in 0..100u32 {
    ///         builder.push(Timestamp::from_millis(round), None, Some(&n.to_be_bytes()))?;
    ///     }
    ///     log.append_builder(&mut builder)?;
    /// }
    /// assert_eq!(log.offsets().end, 300);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Log::append), and as [`BatchBuilder::finish`].
    pub fn append_builder(&self, builder: &mut BatchBuilder) -> Result<Appended> {
        self.shared.append_builder(builder)
    }

    /// Appends a batch that was made elsewhere, as a partition's leader does: it is checked
    /// record by record, then gets its offsets here.
    ///
    /// A batch that this build cannot decode, or that expands beyond
    /// [`max_expanded_bytes`](LogConfig::max_expanded_bytes), is stored as it is.
    ///
    /// As in Kafka, an append time that the batch got from another log is dropped: the log stores its own
    /// append time or, with [`CreateTime`](crate::TimestampType::CreateTime), the times that the producer wrote.
    ///
    /// ```
    /// use annals::{Log, LogConfig, Timestamp, fs::MemFs, record::{BatchBuilder, RecordBatch}};
    ///
    /// let mut builder = BatchBuilder::new();
    /// builder.push(Timestamp::from_millis(1), None, Some(b"from a producer"))?;
    /// let bytes = builder.take()?; // as a request carries them
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("first")?;
    /// let appended = log.append_batch(RecordBatch::parse(bytes.into())?)?;
    /// assert_eq!(appended.first, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// A batch with a producer's id is stored if it is the next of that producer. If it repeats one of its last five batches,
    /// nothing is stored: the answer has the offsets of that one and [`duplicate: true`](Appended::duplicate). Of a
    /// producer that the log does not know, any sequence number is taken. The five are recognised after a
    /// close, after the process has died, after a truncation, and after a loss of power that left the batches there, whatever
    /// timestamps their records have: [the table](crate::docs::durability#batches-that-come-again) has all cases.
    ///
    /// # Errors
    /// As [`append`](Log::append), and
    /// - [`Error::InvalidBatch`] for a batch that breaks a rule of [`validate_for_append`](crate::record::validate_for_append).
    /// - [`Error::Producer`], with nothing stored:
    ///   - [`OutOfOrder`](crate::ProducerRefusal::OutOfOrder): batches before it are missing, or it was stored too long ago to be recognised, or
    ///     it is of a new epoch and does not begin at 0. `expected` is the number that would be taken.
    ///   - [`Fenced`](crate::ProducerRefusal::Fenced): the log has seen a higher epoch of this producer.
    ///   - [`InTransaction`](crate::ProducerRefusal::InTransaction): a broker has left a transaction of this producer open.
    /// - [`Error::Unsupported`], with nothing stored, for a batch of a transaction and for a control batch: nothing could end the
    ///   transaction yet.
    ///
    /// After any other error the batch may be there. To send it again is right, now or after reopening: it is stored once.
    pub fn append_batch(&self, batch: RecordBatch) -> Result<Appended> {
        self.shared.append_batch(batch)
    }

    /// Reads whole batches from an offset on, at least one if there is a record from there on.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, ReadLimits, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// for n in 0..10 {
    ///     log.append(n.to_string())?;
    /// }
    /// let mut from = 0;
    /// loop {
    ///     let fetched = log.read(from, ReadLimits::bytes(200))?;
    ///     if fetched.is_empty() {
    ///         break;
    ///     }
    ///     from = fetched.next_offset;
    /// }
    /// assert_eq!(from, 10);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`] below the start and above the end.
    /// - [`Error::Corrupt`] when the first batch is damaged; when a later one is, those before it are lost to this
    ///   call, so read them with a smaller limit or a [`Reader`].
    /// - [`Error::Io`], [`Error::Closed`].
    pub fn read(&self, from: Offset, limits: ReadLimits) -> Result<Fetched> {
        read::read(&self.shared, from, limits)
    }

    /// The record at an offset; `None` where compaction or a control record has left none.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("a")?;
    /// assert_eq!(log.get(0)?.unwrap().value_str(), Some("a"));
    /// assert!(log.get(1).is_err()); // the end of the log
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`] below the start, and at or above the end.
    /// - [`Error::Corrupt`], [`Error::Unsupported`], [`Error::InvalidBatch`] when its batch cannot be read.
    /// - [`Error::Io`], [`Error::Closed`].
    pub fn get(&self, offset: Offset) -> Result<Option<StoredRecord>> {
        self.shared.get(offset)
    }

    /// A reader from some place to the end of the log: an [`Offset`], a [`Timestamp`], or a [`StartAt`].
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`] below the start and above the end.
    /// - As [`offset_for_time`](Log::offset_for_time), for a time.
    pub fn reader(&self, start: impl Into<StartAt>) -> Result<Reader> {
        Reader::new(&self.shared, start.into())
    }

    /// A reader that waits at the end of the log for more.
    ///
    /// # Errors
    /// As [`reader`](Log::reader).
    pub fn tail(&self, start: impl Into<StartAt>) -> Result<Tail> {
        Tail::new(&self.shared, start.into())
    }

    /// Where the log begins, ends, and how much of it is durable. On a read-only log, as of the last look at the files.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        self.shared.offsets()
    }

    /// The first record with this timestamp or a later one, and its timestamp; `None` if all are earlier.
    ///
    /// Timestamps need not rise with offsets. What is found is the first in the order of offsets.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, Record, Timestamp, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let at = Timestamp::from_millis;
    /// log.append_all([10, 30, 20].map(|t| Record::new("x").timestamp(at(t))))?;
    /// assert_eq!(log.offset_for_time(at(15))?, Some((1, at(30))));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Unsupported`], [`Error::InvalidBatch`] when a batch that must be looked into cannot
    /// be; [`Error::Io`], [`Error::Closed`].
    pub fn offset_for_time(&self, at: Timestamp) -> Result<Option<(Offset, Timestamp)>> {
        self.list_offset(at)
    }

    /// Answers a question of Kafka's `ListOffsets`, one of its special positions among them.
    ///
    /// The ends of the log come without a timestamp.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, OffsetSpec, Record, Timestamp, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let at = Timestamp::from_millis;
    /// log.append_all([10, 30, 20].map(|t| Record::new("x").timestamp(at(t))))?;
    /// assert_eq!(log.list_offset(OffsetSpec::Latest)?, Some((3, Timestamp::NONE)));
    /// assert_eq!(log.list_offset(OffsetSpec::MaxTimestamp)?, Some((1, at(30))));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`offset_for_time`](Log::offset_for_time).
    pub fn list_offset(&self, spec: impl Into<OffsetSpec>) -> Result<Option<(Offset, Timestamp)>> {
        self.shared.list_offset(spec.into())
    }

    /// Makes everything that was appended before this call durable, and returns the durable end of the log.
    ///
    /// Threads that flush at the same time share one sync. Appends and reads go on meanwhile.
    /// What it covers, and what not: [`docs::durability`](crate::docs::durability).
    ///
    /// # Errors
    /// [`Error::Io`] when the disk fails: it is unknown what is durable, the log is poisoned, and this is never tried
    /// again, as a second try could succeed without the bytes being there. [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush(&self) -> Result<Offset> {
        self.shared.check_writable()?;
        self.shared.flush_below(self.shared.end())
    }

    /// Makes the record at `offset`, and all before it, durable; returns the durable end of the log.
    ///
    /// # Errors
    /// As [`flush`](Log::flush), and [`Error::OffsetOutOfRange`] at and above the end of the log.
    pub fn flush_through(&self, offset: Offset) -> Result<Offset> {
        self.shared.check_writable()?;
        if offset >= self.shared.end() {
            return Err(self.shared.out_of_range(offset));
        }
        self.shared.flush_below(offset.saturating_add(1))
    }

    /// [`flush`](Log::flush), to be awaited: it blocks no thread of the caller's.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> annals::Result<()> {
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("order taken")?;
    /// assert_eq!(log.flush_async().await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The future resolves to the errors of [`flush`](Log::flush), unless what it is to wait for is durable already.
    #[cfg(feature = "futures")]
    pub fn flush_async(&self) -> Durable {
        Durable::new(&self.shared, self.shared.end())
    }

    /// Closes the active segment and begins the next, unless it is empty.
    ///
    /// # Errors
    /// [`Error::Io`], after which nothing has changed; [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn roll(&self) -> Result<()> {
        self.shared.roll(Room::Free)
    }

    /// Removes all records at and above `end`, durably, and continues from there.
    ///
    /// A batch that reaches beyond `end` goes as a whole, as in Kafka: the offsets of its first records stay
    /// without a record then. Readers beyond get [`Error::OffsetOutOfRange`] next.
    ///
    /// ```
    /// # use annals::{Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// for value in ["keep", "drop", "drop too"] {
    ///     log.append(value)?;
    /// }
    /// log.truncate_to(1)?;
    /// assert_eq!(log.append("next")?, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`] below the start and above the end of the log.
    /// - [`Error::Io`]: when it happens after files began to change, the log is poisoned; reopening finds it
    ///   truncated wholly, partly or not at all, but without a hole.
    /// - [`Error::Corrupt`], [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn truncate_to(&self, end: Offset) -> Result<()> {
        self.shared.truncate_to(end)
    }

    /// Removes all records below `start`, durably, and returns where the log begins then: at `start`, or above if it did
    /// already.
    ///
    /// Reads below get [`Error::OffsetOutOfRange`] from now on. Segments that lie wholly below leave the disk before this
    /// returns, except those that a reader, a tail or a consumer is in the middle of: each of them keeps at most one
    /// segment, reads it to its end, and lets go of it with the call that goes beyond. A call that is reading meanwhile,
    /// such as [`verify`](Log::verify) or a pass of compaction, keeps what it still has to read until it returns or,
    /// at the latest 256 KiB later, notices. The room of other records below goes with the rest of their segment. What is
    /// deleted is made durable first, so this waits for the disk. Kafka: `DeleteRecords`.
    ///
    /// ```
    /// # use annals::{ErrorKind, Log, LogConfig, fs::MemFs};
    /// # let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// for value in ["seen", "seen too", "new"] {
    ///     log.append(value)?;
    /// }
    /// assert_eq!(log.delete_before(2)?, 2);
    /// assert_eq!(log.get(1).unwrap_err().kind(), ErrorKind::OutOfRange);
    /// assert_eq!(log.get(2)?.unwrap().value_str(), Some("new"));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`] above the end of the log.
    /// - [`Error::Io`]: nothing was deleted, or, if a crash follows, all of it may be. When the disk fails as what is to go is
    ///   made durable, the log is poisoned.
    /// - [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn delete_before(&self, start: Offset) -> Result<Offset> {
        self.shared.delete_before(start)
    }

    /// Deletes the segments at the front that [`retention_age`](LogConfig::retention_age) and
    /// [`retention_bytes`](LogConfig::retention_bytes) no longer keep.
    ///
    /// Nothing in this library calls it but a [`Maintainer`] and you: from a timer of yours, say, for everything to happen in an
    /// order that you know. With a policy that compacts, the log is [compacted](Log::compact) first, if enough of it is
    /// [dirty](LogConfig::min_cleanable_dirty_ratio). Segments go as a whole, the oldest first, in the way of [`delete_before`](Log::delete_before). When all of them are to go,
    /// the active one is closed and goes too.
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
    /// As [`delete_before`](Log::delete_before). A damaged segment is no error here: it is reported as
    /// [`Event::Damaged`](crate::Event::Damaged), and is not deleted for its age.
    pub fn maintain(&self) -> Result<MaintenanceReport> {
        self.shared.maintain(&mut |_| true)
    }

    /// Compacts all that can be, whatever share of it is dirty, and also what was compacted before.
    ///
    /// That is everything below the active segment that is not younger than
    /// [`min_compaction_lag`](LogConfig::min_compaction_lag): [`roll`](Log::roll) first to have all of it. Of each key the
    /// last record stays, with its offset; a tombstone, which is a record without a value, goes when it has stayed
    /// for [`delete_retention`](LogConfig::delete_retention). Appends, reads and flushes go on meanwhile; a
    /// truncation interrupts, and what is left is done then. It may be called whatever [`maintain`](Log::maintain) is doing, and
    /// waits for that.
    ///
    /// What is to be compacted is made durable first, and what it becomes before anything is removed. After a crash,
    /// each segment is there as it was or as it became.
    ///
    /// ```
    /// use annals::{CleanupPolicy, Log, LogConfig, ManualClock, Record, Timestamp, fs::MemFs};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    /// let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).clock(clock.clone());
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
    /// - [`Error::InvalidConfig`] when the [policy](LogConfig::cleanup_policy) does not compact.
    /// - [`Error::Corrupt`] when a batch is damaged, and [`Error::Unsupported`] when this build cannot read one. What was not
    ///   compacted before that is as it was, and `maintain` does not compact this log again until it is opened anew.
    /// - [`Error::Io`]: what was being written is removed. A full disk is no harm. When the disk fails as files are
    ///   renamed, the log is poisoned, and opening it again finishes what was begun.
    /// - [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn compact(&self) -> Result<CompactionReport> {
        self.shared.compact_all()
    }

    /// Keeps all maintenance away from this log while the guard lives: [`maintain`](Log::maintain) and
    /// [`compact`](Log::compact) do nothing, whoever calls them.
    ///
    /// Returns when a pass that is running has ended, which takes a moment. Pauses nest.
    pub fn pause_maintenance(&self) -> MaintenancePause {
        MaintenancePause::new(Arc::clone(&self.shared))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads everything, and lists all damage there is: in batches, in records, in index files.
    ///
    /// Batches that this build cannot decode count as sound when their checksum is right.
    ///
    /// ```
    /// use annals::fs::{File, Fs, MemFs, Open};
    /// use annals::{Log, LogConfig};
    /// use std::path::Path;
    ///
    /// let fs = MemFs::new();
    /// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
    /// log.append("a")?;
    /// log.append("b")?;
    /// assert!(log.verify()?.is_empty());
    ///
    /// let file = fs.open(Path::new("orders-0/00000000000000000000.log"), Open::ReadWrite).unwrap();
    /// file.write_all_at(b"!", 69 + 67).unwrap(); // into the second batch
    /// let damage = log.verify()?;
    /// assert_eq!((damage[0].position, damage[0].offset), (69, Some(1)));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Closed`]. Damage is not an error here.
    pub fn verify(&self) -> Result<Vec<Corruption>> {
        self.shared.verify()
    }

    /// The segments, sizes and offsets of the log.
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
    /// [`Error::Io`] and [`Error::Corrupt`], as a segment's times come from its index.
    pub fn stats(&self) -> Result<LogStats> {
        self.shared.stats()
    }

    /// What opening this log found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.shared.recovery
    }

    /// The idempotent and transactional producers that the log knows, by id: their last batch, and where an open transaction
    /// began. Kafka: `describeProducers`.
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
    /// // Whoever is not sure that it arrived sends it again.
    /// let again = log.append_batch(batch()?)?;
    /// assert!(again.duplicate && again.first == 0 && log.offsets().end == 1);
    /// assert_eq!(log.producers()?[0].last_sequence, 0);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ReadOnly`], [`Error::Closed`].
    pub fn producers(&self) -> Result<Vec<ProducerState>> {
        self.shared.check_readable()?;
        let writer = self.shared.writer.lock();
        Ok(writer.as_ref().ok_or(Error::ReadOnly)?.tracked.states())
    }

    /// Makes everything durable and closes the log, for all handles. Tails wake up.
    ///
    /// All files and the directory are closed then, whatever handles live on. Only a reader, tail or consumer that is in
    /// the middle of a segment keeps the file of that one open, until its next call.
    ///
    /// What this writes lets the next opening read nothing but names and small files. On a full disk `close` succeeds
    /// without it: everything appended is durable, an [`Event::CheckpointFailed`](crate::Event::CheckpointFailed) says what is
    /// missing, and the next opening recovers the log.
    ///
    /// # Errors
    /// - [`Error::Closed`] when it was closed before.
    /// - [`Error::Io`], [`Error::Poisoned`]: it is closed all the same, and the next opening recovers it as after a crash.
    pub fn close(self) -> Result<()> {
        self.shared.close()
    }

    /// [Closes](Log::close) one of many logs, whose checkpoints are made durable for all of them afterwards.
    pub(crate) fn close_with_others(&self) -> Result<()> {
        self.shared.close_with_others()
    }
}

const _: () = {
    const fn for_any_thread<T: Send + Sync + Clone>() {}
    for_any_thread::<Log>();
};

const _: () = {
    const fn may_move<T: Send>() {}
    may_move::<Reader>();
    may_move::<Tail>();
    may_move::<Error>();
};
