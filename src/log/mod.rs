//! The log: an ordered, append-only sequence of records in a directory of segments.
//!
//! A [`Log`] is a handle to a `LogInner`, whose parts are in `state/`. Each of these modules tells
//! its steps in the order in which they happen:
//!
//! - **Open** (`open/`): find and lock the directory, finish or undo a replacement. After a clean
//!   close take the stored indexes; otherwise read from the recovery point on, truncate a torn
//!   tail, and sync. Complete the producers, store the recovery point.
//! - **Append** (`append/`): encode and validate without a lock. Take the writer lock, or queue
//!   the batch for its holder. Check the producer, roll if the segment is full, stamp the offsets,
//!   write once, add index entries; publish the segment, then the end. Unlock, wake, flush if due.
//! - **Read** (`read/`): load the counters, take the list of segments, locate the offset, read and
//!   verify a batch, load the revision again. No lock. A read-only log also looks at its files.
//! - **Flush** (`flush/`): join the running fsync or lead one. Sync the segments, their indexes
//!   and names, raise the durable end, then the recovery point, and wake the others.
//! - Truncations, deletions and closes (`change/`), and compaction and retention (`maintain/`),
//!   publish a new list of segments and then remove files. `files/` are the files they all share.

mod admin;
mod append;
mod change;
mod config;
mod dynamic_config;
mod files;
mod flush;
mod inner;
mod isolated;
mod maintain;
mod maintainer;
mod open;
mod partition;
mod read;
mod recovery;
mod replay;
mod replica;
mod state;
mod transactions;

pub use config::{CleanupPolicy, LogConfig, OnCorruption};
#[cfg(feature = "futures")]
pub use flush::awaiting::FlushFuture;
pub use isolated::IsolatedLog;
pub use maintain::MaintenanceReport;
pub use maintain::pause::MaintenancePause;
pub use maintainer::{Maintainer, MaintainerConfig, MaintainerStats};
pub use read::aborted::AbortedTransaction;
pub use read::moved::OffsetMoved;
pub use read::reader::{ReadBatch, Reader, ReaderRecords};
pub use read::stats::{LogStats, Offsets, SegmentStats};
pub use read::tail::Tail;
pub use read::{Fetched, ReadLimits};
pub use recovery::Recovery;
pub use state::appended::Appended;
pub use transactions::HangingTransaction;

use crate::error::{Error, Result};
use crate::fs::WhenFull;
use crate::record::{BatchBuilder, Record, RecordBatch, StoredRecord};
use crate::types::{IsolationLevel, Offset, OffsetSpec, StartAt, Timestamp};
pub(crate) use files::checkpoint::Checkpoint;
pub(crate) use files::data_checkpoints::DataCheckpoints;
pub(crate) use files::lock::{DirHandle, WriteLock};
use inner::LogInner;
pub(crate) use maintainer::{Maintained, Pace};
pub(crate) use open::directory::{DataDir, create};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A commit log: records in the order they were appended, each with an offset, in Kafka's own
/// files.
///
/// Clones are handles to the same log, and any thread can use them. All methods take `&self`,
/// except [`close`](Log::close), which takes the handle and closes the log for all its clones.
///
/// | call | returns when | the result survives |
/// |---|---|---|
/// | [`append`], [`append_all`], [`append_batch`], [`append_builder`] | the operating system has the bytes | a process crash |
/// | [`flush`], [`flush_through`], `flush_async` | the disk has them | loss of power |
/// | [`truncate_to`], [`close`](Log::close) | the disk has the change | loss of power |
///
/// [`append`]: Log::append
/// [`append_all`]: Log::append_all
/// [`append_batch`]: Log::append_batch
/// [`append_builder`]: Log::append_builder
/// [`flush`]: Log::flush
/// [`flush_through`]: Log::flush_through
/// [`truncate_to`]: Log::truncate_to
///
/// Dropping the last handle without [`close`](Log::close) is safe: it has the same effect as a
/// process crash. The next opening then reads everything above the last recovery point; after a
/// close, it reads no batch.
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
#[derive(Clone)]
pub struct Log {
    inner: Arc<LogInner>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Log {
    /// Opens the log in a directory, and creates the directory and an empty log if there is none.
    /// Inside the directory of a store or a broker it creates nothing: there, use
    /// [`Store::create_topic`](crate::Store::create_topic).
    ///
    /// Opening first recovers the log from an interrupted run; [`recovery`](Log::recovery) tells
    /// what it found. After a clean close it reads no batch; after a crash, the batches above the
    /// recovery point.
    ///
    /// ```
    /// use annals::{ErrorKind, Log, LogConfig, fs::MemFs};
    ///
    /// let fs = MemFs::new();
    /// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
    /// let second = Log::open("orders-0", LogConfig::default().fs(fs.clone()));
    /// assert_eq!(second.unwrap_err().kind(), ErrorKind::Busy); // share `log.clone()` instead
    /// log.close()?;
    /// assert!(Log::open("orders-0", LogConfig::default().fs(fs))?.recovery().clean_shutdown);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`] for an invalid option, and for an empty path.
    /// - [`Error::Locked`] if the directory is already open for writing, in this or another
    ///   process and by any path, or if a [`Store`](crate::Store) or a broker has the directory
    ///   above it open. While they are closed, you can open one of their logs at a time: see [one
    ///   writer, many readers](crate::docs::limits#one-writer-many-readers).
    /// - [`Error::NotALog`] for a file, for a symbolic link in the directory of a store or a
    ///   broker, and for a directory that holds other files and no segment, such as a directory of
    ///   logs. Hidden files and `lost+found` and the like do not count.
    /// - [`TopicError`](crate::TopicError) `Unknown`, `UnknownPartition`, `MissingPartition` or
    ///   `PartitionElsewhere` if the directory above is that of a store or a broker, and it does
    ///   not have this partition.
    /// - [`Error::Corrupt`] for damage that no crash explains. Nothing was truncated: see
    ///   [`LogConfig::on_corruption`].
    /// - [`Error::Unsupported`] for message formats before v2.
    /// - [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, config: LogConfig) -> Result<Log> {
        let maintainer = config.maintainer.clone();
        let log = Log { inner: Arc::new(open::directory::open(dir.as_ref(), config)?) };
        if let Some(maintainer) = maintainer {
            maintainer.add(&log)?;
        }
        Ok(log)
    }

    /// Opens a log for reading, while another process may be writing it. It locks and changes
    /// nothing.
    ///
    /// The end of the log is the end of the last whole batch; every read looks for it again. A
    /// reading process cannot know what is durable: [`Offsets::durable`] stays at the start.
    /// Nothing is recovered. So after a loss of power, until the log is opened for writing, you
    /// also read records that were never durable and that `open` may truncate, and offsets may be
    /// missing between two segments. See [what opening
    /// does](crate::docs::durability#what-opening-does).
    ///
    /// If the writer truncates the log, everything you read from then on is what the log holds
    /// now, even if new records take the place of the old ones. A [`Reader`] or [`Tail`] that has
    /// returned records which are no longer in the log fails with [`Error::OffsetOutOfRange`]
    /// until you [`seek`](Reader::seek): it does not continue with the records of another history.
    /// The log notices a truncation because the last batch that it knows is gone. If the writer
    /// also compacts beyond that batch before you read again, the log takes the truncation for a
    /// compaction, and the reader continues at its offset.
    ///
    /// A file that the writer deletes keeps its room on disk while this process has it open.
    /// Between calls, the log keeps at most two files open, and each reader the one that it is in.
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
    /// assert_eq!(other.append("c").unwrap_err().kind(), ErrorKind::ReadOnly);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::DirectoryNotFound`] if there is no such directory. Later calls fail with it,
    ///   too, if the directory is gone: the writer deleted the topic.
    /// - [`Error::NotALog`] when there is no segment.
    /// - [`Error::Corrupt`] if valid batches follow damage in the last segment, or the segment
    ///   ends below what was synced. If the damage lies in a part that `open` would not read,
    ///   because it trusts the indexes of that part, the log opens, and a read of the damage
    ///   fails. With [`OnCorruption::Truncate`] the log ends before the damage, and no file is
    ///   truncated.
    /// - [`Error::Corrupt`] also if a file after the end is not one of the log's segments, which
    ///   [`open`](Log::open) rejects. With [`OnCorruption::Truncate`] the file is ignored, and
    ///   [`verify`](Log::verify) reports it.
    /// - [`Error::Corrupt`] also if a segment is missing, or shorter than when the log was closed.
    ///   With [`OnCorruption::Truncate`] the rest can be read, and only [`verify`](Log::verify)
    ///   reports the hole.
    /// - [`Error::InvalidConfig`], [`Error::Unsupported`], [`Error::Io`] as for
    ///   [`open`](Log::open).
    pub fn open_read_only(dir: impl AsRef<Path>, config: LogConfig) -> Result<Log> {
        let inner = open::read_only::open_read_only(dir.as_ref(), config)?;
        Ok(Log { inner: Arc::new(inner) })
    }

    /// Appends one record and returns its offset.
    ///
    /// A record without a timestamp gets the time of the log's clock.
    ///
    /// # Errors
    /// - [`Error::BatchTooLarge`] above [`max_message_bytes`](LogConfig::max_message_bytes).
    /// - [`Error::InvalidRecord`] for a timestamp outside of the limits of the log, and for a
    ///   record without a key in a compacted log.
    /// - [`Error::Io`] if the disk fails. If it is full, nothing was appended, and the log works
    ///   again once there is room; after any other failure the log is poisoned. A record whose
    ///   append failed may be there after reopening.
    /// - [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn append(&self, record: impl Into<Record>) -> Result<Offset> {
        let appended = self.inner.append_record(&record.into())?;
        Ok(appended.first)
    }

    /// Appends records as one batch: after a crash either all of them are there or none.
    ///
    /// Without any record it appends nothing, and `first` of the result is the end of the log.
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
        self.inner.append_records(records)
    }

    /// Appends the content of a builder as one batch, without allocating. Clear the builder to use
    /// it again. If the log has a codec of its own, it sets the builder to that codec, and the
    /// builder keeps it.
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
        self.inner.append_builder(builder)
    }

    /// Appends a batch that was encoded elsewhere, as a partition's leader does: it validates each
    /// record, then assigns the offsets.
    ///
    /// A batch that this build cannot decode, or that expands beyond
    /// [`max_decompressed_bytes`](LogConfig::max_decompressed_bytes), is stored as it is.
    ///
    /// As in Kafka, an append time that the batch got from another log is dropped: the log stores
    /// its own append time or, with [`CreateTime`](crate::TimestampType::CreateTime), the times
    /// that the producer wrote.
    ///
    /// ```
    /// use annals::{Log, LogConfig, Timestamp, fs::MemFs, record::{BatchBuilder, RecordBatch}};
    ///
    /// let mut builder = BatchBuilder::new();
    /// builder.push(Timestamp::from_millis(1), None, Some(b"from a producer"))?;
    /// let bytes = builder.build_bytes()?; // as a request carries them
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// log.append("first")?;
    /// let appended = log.append_batch(RecordBatch::parse(bytes.into())?)?;
    /// assert_eq!(appended.first, 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// A transactional batch opens a transaction of its producer, if none is open. Until
    /// [`append_marker`](Log::append_marker) ends that, [`Offsets::last_stable`] stays at the first
    /// offset of the transaction, across every kind of closing and opening.
    ///
    /// A batch with a producer id is stored if it is the next one of that producer. If it repeats
    /// one of the last five batches, nothing is stored, and the result has the offsets of the
    /// stored batch and [`duplicate: true`](Appended::duplicate). For a producer that the log does
    /// not know, any sequence number is valid. The five batches are recognised after a close,
    /// after a process crash, after a truncation, and after a loss of power that left them there,
    /// whatever timestamps their records have. In a compacted log, the last one always is:
    /// [the table](crate::docs::durability#resent-batches) has all cases.
    ///
    /// # Errors
    /// As [`append`](Log::append), and
    /// - [`Error::InvalidBatch`] for a batch that breaks a rule of
    ///   [`validate_for_append`](crate::record::validate_for_append).
    /// - [`Error::Producer`], with nothing stored:
    ///   - [`OutOfOrder`](crate::ProducerStateError::OutOfOrder): batches before it are missing,
    ///     or it was stored too long ago to be recognised, or it has a new epoch and does not
    ///     begin at 0. `expected` is the next valid number.
    ///   - [`Fenced`](crate::ProducerStateError::Fenced): the log has seen a higher epoch of this
    ///     producer.
    ///   - [`InTransaction`](crate::ProducerStateError::InTransaction): the producer has a
    ///     transaction open, and the batch is not part of it.
    ///   - [`NotInTransaction`](crate::ProducerStateError::NotInTransaction): the log
    ///     [verifies transactions](LogConfig::verify_transactions), and the batch would open one.
    ///
    /// After any other error the batch may be there. You can safely resend it, now or after
    /// reopening: the log stores it once.
    pub fn append_batch(&self, batch: RecordBatch) -> Result<Appended> {
        self.inner.append_batch(batch, None)
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
    /// - [`Error::Corrupt`] if one of the batches is damaged. If it is not the first, read the
    ///   batches before it with a smaller limit or a [`Reader`].
    /// - [`Error::Io`], [`Error::Closed`].
    pub fn read(&self, from: Offset, limits: ReadLimits) -> Result<Fetched> {
        read::read(&self.inner, IsolationLevel::ReadUncommitted, from, limits)
    }

    /// Returns the record at an offset; `None` if compaction removed it, or a control record is
    /// there.
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
    /// - [`Error::OffsetOutOfRange`] below the start, and at or above the end. In a
    ///   [replicated](LogConfig::replicated) log, the high watermark counts as the end.
    /// - [`Error::Corrupt`], [`Error::Unsupported`], [`Error::InvalidBatch`] if its batch cannot
    ///   be read.
    /// - [`Error::Io`], [`Error::Closed`].
    pub fn get(&self, offset: Offset) -> Result<Option<StoredRecord>> {
        self.inner.get(IsolationLevel::ReadUncommitted, offset)
    }

    /// Returns a reader from an [`Offset`], a [`Timestamp`] or a [`StartAt`] to the end of the
    /// log.
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`] below the start and above the end.
    /// - As [`offset_for_time`](Log::offset_for_time), for a time.
    pub fn reader(&self, start: impl Into<StartAt>) -> Result<Reader> {
        Reader::new(&self.inner, IsolationLevel::ReadUncommitted, start.into())
    }

    /// Returns a reader that waits at the end of the log for more records.
    ///
    /// # Errors
    /// As [`reader`](Log::reader).
    pub fn tail(&self, start: impl Into<StartAt>) -> Result<Tail> {
        Tail::new(&self.inner, IsolationLevel::ReadUncommitted, start.into())
    }

    /// Returns the log as readers of an isolation level see it. The other calls of a log that read
    /// do so at [`ReadUncommitted`](IsolationLevel::ReadUncommitted).
    #[must_use]
    pub fn isolated(&self, level: IsolationLevel) -> IsolatedLog {
        IsolatedLog::new(&self.inner, level)
    }

    /// Returns the start, the end and the durable end of the log.
    ///
    /// On a read-only log, these are from the last look at the files. Every call that reads looks
    /// at the files; this one does not. `log.reader(StartAt::Latest)?.offset()` looks and returns
    /// the end.
    #[must_use]
    pub fn offsets(&self) -> Offsets {
        self.inner.state.offsets()
    }

    /// Returns a wait until an offset of the log differs from these, other than the durable end.
    /// If one already does, the wait is over at once: take the offsets before you look for
    /// records, and no move in between is missed.
    pub fn offset_moved(&self, seen: Offsets) -> OffsetMoved {
        OffsetMoved::new(&self.inner, seen)
    }

    /// Returns the first offset with this timestamp or a later one, and its timestamp; `None` if
    /// all are earlier.
    ///
    /// Timestamps need not rise with offsets. The result is the first such record in the order of
    /// offsets.
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
    /// [`Error::Corrupt`], [`Error::Unsupported`], [`Error::InvalidBatch`] when a batch that must
    /// be looked into cannot be; [`Error::Io`], [`Error::Closed`].
    pub fn offset_for_time(&self, at: Timestamp) -> Result<Option<(Offset, Timestamp)>> {
        self.list_offset(at)
    }

    /// Looks up an offset as Kafka's `ListOffsets` does, including its special positions.
    ///
    /// The ends of the log have no timestamp.
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
        self.inner.list_offset(IsolationLevel::ReadUncommitted, spec.into())
    }

    /// Makes everything that was appended before this call durable, and returns the durable end of
    /// the log.
    ///
    /// Threads that flush at the same time share one fsync. Appends and reads go on meanwhile.
    /// [`docs::durability`](crate::docs::durability) lists what survives which failure.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk fails: it is not known what is durable, and the log is poisoned.
    /// A failed fsync is never retried, because the retry could succeed although the bytes are
    /// lost. [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn flush(&self) -> Result<Offset> {
        self.inner.state.check_writable()?;
        self.inner.flush_below(self.inner.state.end())
    }

    /// Makes the record at `offset`, and all before it, durable; returns the durable end of the
    /// log.
    ///
    /// # Errors
    /// As [`flush`](Log::flush), and [`Error::OffsetOutOfRange`] at and above the end of the log.
    pub fn flush_through(&self, offset: Offset) -> Result<Offset> {
        self.inner.state.check_writable()?;
        if offset >= self.inner.state.end() {
            return Err(self.inner.state.out_of_range(offset));
        }
        self.inner.flush_below(offset.saturating_add(1))
    }

    /// Makes everything that was appended before this call durable, as [`flush`](Log::flush) does,
    /// without blocking the caller's thread: await the future. It resolves to the durable end of
    /// the log.
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
    /// The future resolves to the errors of [`flush`](Log::flush), unless the records it waits for
    /// are already durable.
    #[cfg(feature = "futures")]
    pub fn flush_async(&self) -> FlushFuture {
        FlushFuture::new(&self.inner, self.inner.state.end())
    }

    /// Closes the active segment and begins the next, unless it is empty.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing has changed; [`Error::ReadOnly`], [`Error::Poisoned`],
    /// [`Error::Closed`].
    pub fn roll(&self) -> Result<()> {
        self.inner.roll(WhenFull::Fail)
    }

    /// Removes all records at and above `end`, durably, and continues from there.
    ///
    /// A batch that reaches beyond `end` is removed as a whole, as in Kafka; the offsets of its
    /// first records then have no record. The next call of a reader beyond `end` fails with
    /// [`Error::OffsetOutOfRange`].
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
    /// - [`Error::Io`]: if files had begun to change, the log is poisoned; reopening finds all,
    ///   some or none of the records removed, and no hole.
    /// - [`Error::Corrupt`], [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn truncate_to(&self, end: Offset) -> Result<()> {
        self.inner.truncate_to(end)
    }

    /// Removes all records below `start`, durably, and returns the new start of the log: `start`,
    /// or the present start if that is above.
    ///
    /// Reads below `start` fail with [`Error::OffsetOutOfRange`] from now on. Segments that lie
    /// wholly below it leave the disk before this returns, except for segments that are being
    /// read. An idle reader, tail or consumer keeps at most the one segment that it is in; it
    /// reads that segment to its end, and releases it when it goes on. A running
    /// [`verify`](Log::verify) keeps the segment that it reads, a running lookup by time keeps its
    /// segments until it returns, and a running compaction releases them within 256 KiB of work.
    /// Other records below `start` keep their room until the rest of their segment is deleted.
    /// `delete_before` first makes durable what it deletes, so it waits for the disk.
    /// Kafka: `DeleteRecords`.
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
    /// - [`Error::OffsetOutOfRange`] above the end of the log, or above the high watermark of a
    ///   [replicated](LogConfig::replicated) one.
    /// - [`Error::Io`]: nothing was deleted, but after a crash the records may be deleted. If the
    ///   fsync of the records to be deleted fails, the log is poisoned.
    /// - [`Error::ReadOnly`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn delete_before(&self, start: Offset) -> Result<Offset> {
        self.inner.delete_before(start)
    }

    /// Makes everything durable and closes the log, for all handles. Tails wake up.
    ///
    /// All files and the directory are closed then, even while handles to the log live. Only a
    /// reader, tail or consumer keeps the file of the segment that it is in open, until its next
    /// call. It is in one at the end of the log, too.
    ///
    /// `close` writes checkpoints, so that the next opening reads only names and small files. On a
    /// full disk it succeeds without them: everything appended is durable, an
    /// [`Event::CheckpointFailed`](crate::Event::CheckpointFailed) names what is missing, and the
    /// next opening recovers the log.
    ///
    /// # Errors
    /// - [`Error::Closed`] if it is already closed.
    /// - [`Error::Io`], [`Error::Poisoned`]: the log is closed anyway, and the next opening
    ///   recovers it as after a crash.
    pub fn close(self) -> Result<()> {
        self.inner.close()
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
