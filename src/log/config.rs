//! The options of a log.

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, InvalidOption, Result, reject_option};
use crate::event::Listener;
use crate::fs::{DiskFs, Fs};
use crate::log::maintainer::Maintainer;
use crate::record::{AppendRules, Compression, DEFAULT_MAX_EXPANDED_BYTES};
use crate::types::{LeaderEpoch, Timestamp, TimestampType};
use std::sync::Arc;
use std::time::Duration;

/// The size of a batch with one empty record.
const SMALLEST_BATCH_BYTES: u64 = 61 + 7;

/// The largest segment, because positions in an index are 31-bit numbers.
const MAX_SEGMENT_BYTES: u64 = i32::MAX as u64;

/// The largest number of milliseconds Kafka can express.
pub(crate) const FOREVER: Duration = Duration::from_millis(i64::MAX as u64);

/// The options of a log: sizes, ages, limits, its file system and its clock.
///
/// `LogConfig::default()` is Kafka's configuration of a topic, with the exceptions that the
/// methods below name. Opening the log validates the options: it rejects an invalid value with
/// [`Error::InvalidConfig`], and never adjusts one.
///
/// ```
/// use annals::{Codec, LogConfig, record::Compression};
/// use std::time::Duration;
///
/// let config = LogConfig::default()
///     .segment_bytes(256 << 20)
///     .compression(Compression::of(Codec::Zstd))
///     .flush_interval(Duration::from_secs(1));
/// # #[cfg(feature = "zstd")]
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct LogConfig {
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
    pub(crate) segment_jitter: Duration,
    pub(crate) index_bytes: u64,
    pub(crate) index_interval_bytes: u64,
    pub(crate) max_message_bytes: u64,
    pub(crate) compression: Option<Compression>,
    pub(crate) preallocate: bool,
    pub(crate) timestamp_type: TimestampType,
    pub(crate) timestamp_before_max: Duration,
    pub(crate) timestamp_after_max: Duration,
    pub(crate) flush_messages: u64,
    pub(crate) flush_interval: Duration,
    pub(crate) cleanup_policy: CleanupPolicy,
    pub(crate) retention_age: Duration,
    pub(crate) retention_bytes: u64,
    pub(crate) min_cleanable_dirty_ratio: f64,
    pub(crate) min_compaction_lag: Duration,
    pub(crate) producer_id_expiration: Duration,
    pub(crate) transactions: crate::producer_state::TransactionRules,
    pub(crate) max_compaction_lag: Duration,
    pub(crate) delete_retention: Duration,
    pub(crate) dedupe_buffer_bytes: usize,
    pub(crate) maintainer: Option<Maintainer>,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) replicated: bool,
    pub(crate) max_decompressed_bytes: usize,
    pub(crate) on_corruption: OnCorruption,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) listener: Option<Arc<dyn Listener>>,
}

/// Which records maintenance removes from a log. [`docs::cleanup`](crate::docs::cleanup) helps to
/// choose.
///
/// ```
/// use annals::{CleanupPolicy, ErrorKind, Log, LogConfig, Record, StartAt, fs::MemFs};
///
/// let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).fs(MemFs::new());
/// let log = Log::open("prices-0", config)?;
/// for price in ["10", "11", "12"] {
///     log.append(Record::new(price).key("apple"))?;
/// }
/// assert_eq!(log.append("no key").unwrap_err().kind(), ErrorKind::InvalidInput);
/// log.roll()?; // the active segment is not compacted
///
/// let report = log.compact()?;
/// assert_eq!((report.records_kept, report.records_removed), (1, 2));
/// let left = log.reader(StartAt::Earliest)?.next_record()?.unwrap();
/// assert_eq!((left.offset, left.value_str()), (2, Some("12")));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CleanupPolicy {
    /// Deletes whole segments from the start of the log that are too old, or beyond the size
    /// limit. `delete` in Kafka.
    #[default]
    Delete,
    /// Removes records that a later one with the same key supersedes. Every record needs a key.
    /// `compact` in Kafka.
    Compact,
    /// Does both: keeps the last record of each key, until its segment is too old or beyond the
    /// size limit. `compact,delete` in Kafka.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Returns whether the policy removes superseded records.
    #[must_use]
    pub const fn compacts(self) -> bool {
        matches!(self, CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete)
    }

    /// Returns whether the policy deletes old segments.
    #[must_use]
    pub const fn deletes(self) -> bool {
        matches!(self, CleanupPolicy::Delete | CleanupPolicy::CompactAndDelete)
    }
}

/// The reaction of an opening to damage that no crash explains.
///
/// ```
/// use annals::fs::{File, Fs, MemFs, OpenMode};
/// use annals::{ErrorKind, Log, LogConfig, OnCorruption};
/// use std::path::Path;
///
/// let fs = MemFs::new();
/// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
/// log.append("a")?;
/// log.append("b")?;
///
/// let disk = fs.kill();
/// let path = Path::new("orders-0/00000000000000000000.log");
/// let file = disk.open(path, OpenMode::ReadWrite).unwrap();
/// file.write_all_at(b"!", 67).unwrap(); // into the first batch; the second is whole
///
/// let config = LogConfig::default().fs(disk);
/// let refused = Log::open("orders-0", config.clone()).unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::Corrupt);
/// let cut = Log::open("orders-0", config.on_corruption(OnCorruption::Truncate))?;
/// assert_eq!((cut.offsets().end, cut.recovery().truncated_bytes), (0, 138));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnCorruption {
    /// Opening fails with [`Error::Corrupt`], which names the file, the position and the offset.
    #[default]
    Fail,
    /// Opening truncates the log where the damage begins, and removes everything after it, intact
    /// or not, as Kafka does. [`Recovery::truncated_bytes`](crate::Recovery::truncated_bytes)
    /// tells how much. After a clean close opening reads no batch, and truncates nothing, if the
    /// last segment is as it was closed: damage elsewhere stays, and if a segment is missing, the
    /// others are kept. If the last segment is not as it was closed, opening continues as after a
    /// crash, and durable records after the damage are removed, too. If segments are missing at
    /// the start of the log, nothing is truncated: the log begins with the first one that is left.
    /// A file after the end that is [not one of the log's
    /// segments](crate::docs::durability#what-opening-does) is removed.
    Truncate,
    /// Opening keeps everything sound, before and after the damage. It moves the damaged bytes to
    /// a file beside the segment, `<segment>.log.<position>.quarantined`, and rewrites the segment
    /// without them. Their offsets stay without a record, as after a compaction: reads continue
    /// after them, and no offset is reused.
    /// [`Recovery::quarantined`](crate::Recovery::quarantined) lists the moved bytes. If segments
    /// are missing at the start of the log, it begins with the first one that is left. A file
    /// after the end that is [not one of the log's
    /// segments](crate::docs::durability#what-opening-does) is moved whole, and the log ends where
    /// its records end. One loss cannot be avoided: if the length of a batch is damaged and
    /// another batch soon after it, the sound bytes between them may be moved, too, because they
    /// could be part of a value. And no checksum covers a base offset, so it is compared with
    /// those of its neighbours: next to a hole, a wrong one that fits into the gap is not noticed.
    ///
    /// Such an opening reads the whole log, even after a clean close, and so finds damage anywhere
    /// in it. All of it is found before any is moved, so damage that cannot be moved changes
    /// nothing. It needs room for a copy of a damaged segment. It truncates a torn write after a
    /// crash as usual. A read-only opening, which may change nothing, treats it as
    /// [`Fail`](OnCorruption::Fail).
    Quarantine,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_age: Duration::from_millis(604_800_000),
            segment_jitter: Duration::ZERO,
            index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            compression: None,
            preallocate: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: FOREVER,
            timestamp_after_max: FOREVER,
            flush_messages: u64::MAX,
            flush_interval: FOREVER,
            cleanup_policy: CleanupPolicy::Delete,
            retention_age: FOREVER,
            retention_bytes: u64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag: Duration::ZERO,
            producer_id_expiration: Duration::from_secs(24 * 3600),
            transactions: Default::default(),
            max_compaction_lag: FOREVER,
            delete_retention: Duration::from_millis(86_400_000),
            dedupe_buffer_bytes: 128 << 20,
            maintainer: None,
            leader_epoch: -1,
            replicated: false,
            max_decompressed_bytes: DEFAULT_MAX_EXPANDED_BYTES,
            on_corruption: OnCorruption::Fail,
            fs: Arc::new(DiskFs),
            clock: Arc::new(SystemClock::new()),
            listener: None,
        }
    }
}

impl LogConfig {
    /// Sets the size at which a segment is closed and the next begun, and so the largest batch.
    ///
    /// *Default* 1 GiB. *Limits* 62 bytes to 2 GiB - 1. *Effect*: segments are the unit in which
    /// old data is deleted and in which recovery works. Kafka: `segment.bytes`.
    #[must_use]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Sets the age at which a segment is closed even if it is not full.
    ///
    /// *Default* 7 days. *Limits* 1 ms and up. *Effect*: the age is the time from the first
    /// timestamp of the segment to that of the batch being appended; without timestamps, a
    /// monotonic clock counts. Kafka: `segment.ms`.
    #[must_use]
    pub fn segment_age(mut self, age: Duration) -> Self {
        self.segment_age = age;
        self
    }

    /// Sets the largest reduction of a segment's age limit, so that many logs do not roll at the
    /// same moment.
    ///
    /// *Default* none. *Limits* any; a value above the age limit counts as the age limit.
    /// *Effect*: each segment's share follows from its directory and base offset, so it is the
    /// same in every run. Kafka: `segment.jitter.ms`.
    #[must_use]
    pub fn segment_jitter(mut self, jitter: Duration) -> Self {
        self.segment_jitter = jitter;
        self
    }

    /// Sets the largest size of each index of a segment, in bytes; the segment is closed when one
    /// index is full.
    ///
    /// *Default* 10 MiB. *Limits* 24 bytes to 2 GiB - 1. *Effect*: unlike a broker's, an index
    /// takes no more room on disk than its entries need, and is written when its segment is
    /// closed. Kafka: `segment.index.bytes`.
    #[must_use]
    pub fn index_bytes(mut self, bytes: u64) -> Self {
        self.index_bytes = bytes;
        self
    }

    /// Sets the number of bytes appended between two index entries.
    ///
    /// *Default* 4096. *Limits* any; with 0 every batch except a segment's first gets an entry.
    /// *Effect*: with a smaller value, seeking reads less, and indexes are larger.
    /// Kafka: `index.interval.bytes`.
    #[must_use]
    pub fn index_interval_bytes(mut self, bytes: u64) -> Self {
        self.index_interval_bytes = bytes;
        self
    }

    /// Sets the largest batch that can be appended, its header included, compressed if it is
    /// compressed.
    ///
    /// *Default* 1 MiB + 12. *Limits* 68 bytes, which an empty record takes, to 2 GiB - 1.
    /// *Effect*: the append of a larger one fails with [`Error::BatchTooLarge`]. Batches that are
    /// already in the log are read whatever their size. Kafka: `max.message.bytes`.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Compresses every batch with this codec. Batches that arrive with another codec are
    /// compressed again, and so are the batches that compaction builds, unless that makes a batch
    /// larger than it was.
    ///
    /// *Default* not set: a batch keeps the codec of its producer. *Limits* the codecs of this
    /// build. *Effect*: smaller files, for time spent in `append` before it takes the log's lock.
    /// Kafka: `compression.type`, with its levels.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Reserves the disk space of a whole segment when it is begun.
    ///
    /// *Default* off. *Effect*: durable appends are faster, because the file does not grow with
    /// each; the disk is known to have the room; a closed segment releases the unused space.
    /// Kafka: `preallocate`.
    #[must_use]
    pub fn preallocate(mut self, preallocate: bool) -> Self {
        self.preallocate = preallocate;
        self
    }

    /// Sets which timestamps records carry: those of their producer, or the time of the append.
    ///
    /// *Default* the producer's. Kafka: `message.timestamp.type`.
    #[must_use]
    pub fn timestamp_type(mut self, timestamp_type: TimestampType) -> Self {
        self.timestamp_type = timestamp_type;
        self
    }

    /// Sets how far before the clock's time a record's timestamp may lie.
    ///
    /// *Default* any. *Effect*: an append with an earlier timestamp fails with
    /// [`Error::InvalidRecord`]. Log-append time is not checked.
    /// Kafka: `message.timestamp.before.max.ms`.
    #[must_use]
    pub fn timestamp_before_max(mut self, distance: Duration) -> Self {
        self.timestamp_before_max = distance;
        self
    }

    /// Sets how far after the clock's time a record's timestamp may lie.
    ///
    /// *Default* any, because a record is not wrong when the clock of its host is; a topic of a
    /// [`Store`](crate::Store) has Kafka's hour. *Effect*: an append with a later timestamp fails
    /// with [`Error::InvalidRecord`](crate::Error::InvalidRecord). Log-append time is not checked.
    /// Kafka: `message.timestamp.after.max.ms`, 1 hour.
    #[must_use]
    pub fn timestamp_after_max(mut self, distance: Duration) -> Self {
        self.timestamp_after_max = distance;
        self
    }

    /// Flushes the log whenever this many records are not durable.
    ///
    /// *Default* never. *Limits* 1 and up; with 1 every append is durable when it returns.
    /// *Effect*: the append that reaches the number waits for the disk; others go on.
    /// Kafka: `flush.messages`.
    #[must_use]
    pub fn flush_messages(mut self, records: u64) -> Self {
        self.flush_messages = records;
        self
    }

    /// Makes each record durable within this time of its append.
    ///
    /// *Default* never. *Effect*: the first append after this time since the last flush waits for
    /// the disk. Without a further append, the [`maintainer`](LogConfig::maintainer) of the log
    /// flushes the last records, or [`Log::maintain`](crate::Log::maintain) does. A log without a
    /// maintainer has no timer: there the last records wait for the next append, `maintain` or
    /// [`flush`](crate::Log::flush). A maintainer has one thread or a few for all of its logs: if
    /// a disk is slow, a flush waits for the flushes before it. Kafka: `flush.ms`.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// Sets which records [`maintain`](crate::Log::maintain) removes.
    ///
    /// *Default* [`CleanupPolicy::Delete`]. *Limits* limits of retention need a policy that
    /// deletes. *Effect*: with a policy that compacts, the append of a record without a key fails
    /// with [`Error::InvalidRecord`]; with [`CleanupPolicy::Compact`] alone,
    /// [`delete_before`](crate::Log::delete_before) fails. Kafka: `cleanup.policy`.
    #[must_use]
    pub fn cleanup_policy(mut self, policy: CleanupPolicy) -> Self {
        self.cleanup_policy = policy;
        self
    }

    /// Sets the age above which [`maintain`](crate::Log::maintain) deletes segments.
    ///
    /// *Default* none, so that the library deletes nothing unless you ask for it; a broker's
    /// default is 7 days. *Limits* any; from `i64::MAX` milliseconds on there is no limit.
    /// *Effect*: a segment is deleted, with all its records, when the latest of them is older than
    /// this. If that timestamp lies in the future, the age counts from when the segment was
    /// written at the latest: see [`docs::cleanup`](crate::docs::cleanup#what-is-deleted). A
    /// segment without any timestamp stays (a broker uses the time its file was changed).
    /// Kafka: `retention.ms`.
    #[must_use]
    pub fn retention_age(mut self, age: Duration) -> Self {
        self.retention_age = age;
        self
    }

    /// Sets the size above which [`maintain`](crate::Log::maintain) deletes segments, the oldest
    /// first.
    ///
    /// *Default* none. *Limits* any. *Effect*: the log keeps at least this much, so it has up to
    /// one segment more. Kafka: `retention.bytes`.
    #[must_use]
    pub fn retention_bytes(mut self, bytes: u64) -> Self {
        self.retention_bytes = bytes;
        self
    }

    /// Sets the share of the log that must be dirty, which means not compacted yet, for
    /// [`maintain`](crate::Log::maintain) to compact it.
    ///
    /// *Default* 0.5. *Limits* 0 to 1. *Effect*: a pass reads the dirty part twice and the clean
    /// part once, and writes the records that stay. A larger share makes passes rarer, and leaves
    /// more superseded records on disk: at 0.5 up to as many bytes again as the log has clean
    /// ones, and the active segment. Kafka: `min.cleanable.dirty.ratio`.
    #[must_use]
    pub fn min_cleanable_dirty_ratio(mut self, ratio: f64) -> Self {
        self.min_cleanable_dirty_ratio = ratio;
        self
    }

    /// Sets the time without a batch after which the log forgets a producer. It then stores the
    /// producer's next batch whatever its sequence number.
    ///
    /// The time counts from the arrival of the last batch, whatever timestamps its records have.
    /// The log forgets a closed [`Producer`](crate::Producer) at once.
    ///
    /// *Default* one day. *Limits* at least 1 ms. *Effect*: for this time, each producer takes 300
    /// to 600 bytes of memory. Kafka: `producer.id.expiration.ms`, which counts from the
    /// timestamps of records.
    #[must_use]
    pub fn producer_id_expiration(mut self, age: Duration) -> Self {
        self.producer_id_expiration = age;
        self
    }

    /// Sets whether a batch that opens a transaction is rejected without a permission of
    /// [`Log::begin_verification`](crate::Log::begin_verification).
    ///
    /// A batch that arrives after its transaction has ended would open another one, which nothing
    /// ends. The permission is there to ask the coordinator of the transaction in between.
    ///
    /// *Default* false: a log alone has no coordinator to ask. *Effect*: one call more for each
    /// transaction. Kafka: `transaction.partition.verification.enable`.
    ///
    /// ```
    /// use annals::record::BatchBuilder;
    /// use annals::{ErrorKind, Log, LogConfig, Timestamp, fs::MemFs};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().verify_transactions(true).fs(MemFs::new()))?;
    /// let mut builder = BatchBuilder::new();
    /// builder.producer(4000, 0, 0).transactional(true);
    /// builder.push(Timestamp::from_millis(1), None, Some(b"from nowhere"))?;
    /// let error = log.append_batch(builder.build()?).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), annals::Error>(())
    /// ```
    #[must_use]
    pub fn verify_transactions(mut self, verify: bool) -> Self {
        self.transactions.verify = verify;
        self
    }

    /// Sets the shortest time for which a record stays in the log, even if a later one supersedes
    /// it.
    ///
    /// *Default* none. *Limits* at most [`max_compaction_lag`](LogConfig::max_compaction_lag).
    /// *Effect*: a reader that is never further behind sees every record. The time counts from the
    /// record's timestamp, for whole segments. Kafka: `min.compaction.lag.ms`.
    #[must_use]
    pub fn min_compaction_lag(mut self, lag: Duration) -> Self {
        self.min_compaction_lag = lag;
        self
    }

    /// Sets the longest time for which a record stays dirty: [`maintain`](crate::Log::maintain)
    /// compacts a log with an older dirty record, however little of it is dirty.
    ///
    /// *Default* no limit. *Limits* 1 ms and up. *Effect*: bounds the time until a deleted value
    /// is gone. Records in the active segment do not count: bound its age with
    /// [`segment_age`](LogConfig::segment_age). Kafka: `max.compaction.lag.ms`.
    #[must_use]
    pub fn max_compaction_lag(mut self, lag: Duration) -> Self {
        self.max_compaction_lag = lag;
        self
    }

    /// Sets how long a tombstone stays after the pass that first met it.
    ///
    /// *Default* 1 day. *Limits* any. *Effect*: a reader that gets from the start of the log to
    /// its end in less time sees the deletion of everything that it saw. The pass after that time
    /// removes the tombstone. Kafka: `delete.retention.ms`.
    #[must_use]
    pub fn delete_retention(mut self, retention: Duration) -> Self {
        self.delete_retention = retention;
        self
    }

    /// Sets the memory that a pass over this log may use for keys.
    ///
    /// *Default* 128 MiB. *Limits* 1 KiB and up. *Effect*: a key takes some 27 bytes, however long
    /// it is. If not all keys fit, further passes do the rest. A pass allocates no more than its
    /// records could need, and frees it at its end. Kafka: `log.cleaner.dedupe.buffer.size`.
    #[must_use]
    pub fn dedupe_buffer_bytes(mut self, bytes: usize) -> Self {
        self.dedupe_buffer_bytes = bytes;
        self
    }

    /// Sets the maintainer whose threads maintain the log while it is open.
    ///
    /// *Default* none: call [`maintain`](crate::Log::maintain) yourself. *Effect*: opening the log
    /// for writing [adds](Maintainer::add) it to the maintainer.
    #[must_use]
    pub fn maintainer(mut self, maintainer: &Maintainer) -> Self {
        self.maintainer = Some(maintainer.clone());
        self
    }

    /// Sets whether other processes have copies of the log. Then readers see the records below
    /// the [high watermark](crate::Log::set_high_watermark), which the caller sets.
    ///
    /// *Default* false: the log is the only copy. *Effect*: an opening takes the stored high
    /// watermark; without one, the start of the log.
    #[must_use]
    pub fn replicated(mut self, replicated: bool) -> Self {
        self.replicated = replicated;
        self
    }

    /// Sets the leader epoch to begin with, which is stamped on every batch.
    ///
    /// *Default* -1: the latest epoch of the log, and unknown if it has none. *Limits* -1 and up;
    /// opening fails with [`Error::StaleLeaderEpoch`] below the latest epoch of the log. *Effect*:
    /// followers tell by it which records of different leaders are the same.
    /// [`Log::set_leader_epoch`](crate::Log::set_leader_epoch) changes it in an open log.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    /// Sets the largest size in bytes to which a compressed batch may expand when it is decoded.
    ///
    /// *Default* [`DEFAULT_MAX_EXPANDED_BYTES`]. *Limits* 1 and up. *Effect*: decoding a batch
    /// beyond it fails; the batch itself is still stored and served.
    #[must_use]
    pub fn max_decompressed_bytes(mut self, bytes: usize) -> Self {
        self.max_decompressed_bytes = bytes;
        self
    }

    /// Sets the reaction of an opening to damage that no crash explains.
    ///
    /// *Default* [`OnCorruption::Fail`].
    #[must_use]
    pub fn on_corruption(mut self, choice: OnCorruption) -> Self {
        self.on_corruption = choice;
        self
    }

    /// Sets the file system to use.
    ///
    /// *Default* the operating system's. [`MemFs`](crate::fs::MemFs) makes a log that lives in
    /// memory.
    #[must_use]
    pub fn fs(mut self, fs: impl Fs) -> Self {
        self.fs = Arc::new(fs);
        self
    }

    /// Sets the clock to use.
    ///
    /// *Default* the operating system's. Pass an `Arc<`[`ManualClock`](crate::ManualClock)`>` and
    /// keep a clone of it to control time in a test.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the listener that receives the events of the log.
    ///
    /// *Default* none.
    #[must_use]
    pub fn listener(mut self, listener: Arc<dyn Listener>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Checks all options, as opening a log does.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] names the first invalid option.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(Error::from)
    }

    /// Returns the first invalid option as an error.
    pub(crate) fn check(&self) -> Result<(), InvalidOption> {
        if !(62..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes) {
            let rule = "must lie between 62 bytes and 2 GiB - 1";
            return reject_option("segment_bytes", self.segment_bytes, rule);
        }
        if self.segment_age < Duration::from_millis(1) {
            let age = format_args!("{:?}", self.segment_age);
            return reject_option("segment_age", age, "must be at least 1 ms");
        }
        if !(24..=MAX_SEGMENT_BYTES).contains(&self.index_bytes) {
            let rule = "must lie between 24 bytes and 2 GiB - 1";
            return reject_option("index_bytes", self.index_bytes, rule);
        }
        if !(SMALLEST_BATCH_BYTES..=MAX_SEGMENT_BYTES).contains(&self.max_message_bytes) {
            let rule = "must lie between 68 bytes, a batch of an empty record, and 2 GiB - 1";
            return reject_option("max_message_bytes", self.max_message_bytes, rule);
        }
        if self.flush_messages == 0 {
            return reject_option("flush_messages", 0, "must be at least 1");
        }
        self.check_cleanup()?;
        if self.leader_epoch < -1 {
            let rule = "must be at least -1, which means unknown";
            return reject_option("leader_epoch", self.leader_epoch, rule);
        }
        if self.max_decompressed_bytes == 0 {
            return reject_option("max_decompressed_bytes", 0, "must be at least 1");
        }
        match &self.compression {
            Some(compression) if !compression.codec().is_available() => {
                let codec = compression.codec();
                let rule = format!(
                    "must be a codec that this build has; enable the cargo feature `{codec}`"
                );
                reject_option("compression", codec, rule)
            }
            Some(compression) => compression.check_level(),
            None => Ok(()),
        }
    }

    fn check_cleanup(&self) -> Result<(), InvalidOption> {
        let limits_retention = self.retention_age < FOREVER || self.retention_bytes < u64::MAX;
        if limits_retention && !self.cleanup_policy.deletes() {
            let policy = format_args!("`{:?}`", self.cleanup_policy);
            let rule = "must delete, because a retention limit is set; choose `CompactAndDelete`, or \
                set no limit";
            return reject_option("cleanup_policy", policy, rule);
        }
        if !(0.0..=1.0).contains(&self.min_cleanable_dirty_ratio) {
            let ratio = self.min_cleanable_dirty_ratio;
            return reject_option("min_cleanable_dirty_ratio", ratio, "must lie between 0 and 1");
        }
        if self.max_compaction_lag < Duration::from_millis(1) {
            let lag = format_args!("{:?}", self.max_compaction_lag);
            return reject_option("max_compaction_lag", lag, "must be at least 1 ms");
        }
        if self.min_compaction_lag > self.max_compaction_lag {
            let lag = format_args!("{:?}", self.min_compaction_lag);
            let most = self.max_compaction_lag;
            let rule = format!("must not be above `max_compaction_lag`, which is {most:?}");
            return reject_option("min_compaction_lag", lag, rule);
        }
        if self.dedupe_buffer_bytes < 1024 {
            let bytes = self.dedupe_buffer_bytes;
            return reject_option("dedupe_buffer_bytes", bytes, "must be at least 1024 bytes");
        }
        Ok(())
    }

    /// Returns these options, but with the fixed ones of a log that is open.
    pub(crate) fn with_fixed_of(self, opened: &LogConfig) -> LogConfig {
        LogConfig {
            index_interval_bytes: opened.index_interval_bytes,
            producer_id_expiration: opened.producer_id_expiration,
            transactions: opened.transactions,
            leader_epoch: opened.leader_epoch,
            replicated: opened.replicated,
            max_decompressed_bytes: opened.max_decompressed_bytes,
            on_corruption: opened.on_corruption,
            maintainer: opened.maintainer.clone(),
            fs: Arc::clone(&opened.fs),
            clock: Arc::clone(&opened.clock),
            listener: opened.listener.clone(),
            ..self
        }
    }

    /// Returns the rules for appends, without the present time.
    pub(crate) fn append_rules(&self) -> AppendRules {
        let millis = |distance: Duration| u64::try_from(distance.as_millis()).unwrap_or(u64::MAX);
        AppendRules {
            timestamp_type: self.timestamp_type,
            now: Timestamp::NONE,
            before_max_millis: millis(self.timestamp_before_max),
            after_max_millis: millis(self.timestamp_after_max),
            keys_required: self.cleanup_policy.compacts(),
        }
    }
}
