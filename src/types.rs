//! The basic types of a log: offsets, timestamps, and the ids in a batch.
//!
//! Offsets, epochs and ids are plain integers: callers count, compare and store them, and a
//! wrapper would cost a conversion each time. [`Timestamp`] is a type of its own, because its unit
//! and its "none" value are easy to get wrong.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The position of a record in a log. The first record has 0, and each next one a higher offset.
///
/// Kafka stores offsets as signed 64-bit integers, so the largest is [`MAX_OFFSET`].
pub type Offset = u64;

/// The largest offset of a record, 2^63 - 2: one less than the largest end of a log.
pub const MAX_OFFSET: Offset = i64::MAX as u64 - 1;

/// The id of an idempotent or transactional producer; [`NO_PRODUCER_ID`] is none. Brokers assign
/// ids from 0 on, stores from [`FIRST_STORE_PRODUCER_ID`] on.
pub type ProducerId = i64;

/// The generation of a producer id; -1 is none.
pub type ProducerEpoch = i16;

/// The number of a record in the sequence of one producer; -1 is none, and 0 follows `i32::MAX`.
pub type Sequence = i32;

/// The generation of a partition's leader; -1 is unknown.
pub type LeaderEpoch = i32;

/// "No producer id": the value Kafka stores in batches of ordinary producers.
pub const NO_PRODUCER_ID: ProducerId = -1;

/// The first producer id that a [`Store`](crate::Store) assigns. No broker reaches it: a cluster
/// assigns ids from 0 on, a thousand at a time, and at a million ids a second would take 146,000
/// years.
pub const FIRST_STORE_PRODUCER_ID: ProducerId = 1 << 62;

/// The id of an idempotent or transactional producer, and its generation.
///
/// ```
/// use annals::ProducerIdentity;
///
/// let producer = ProducerIdentity { id: 4000, epoch: 0 };
/// assert_ne!(producer, ProducerIdentity { epoch: 1, ..producer });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerIdentity {
    /// The id, which is at least 0.
    pub id: ProducerId,
    /// The generation, which is at least 0.
    pub epoch: ProducerEpoch,
}

/// The rules by which a transaction ends. Kafka: the feature `transaction.version`.
///
/// ```
/// use annals::TransactionVersion;
///
/// assert_eq!(TransactionVersion::default(), TransactionVersion::V2);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransactionVersion {
    /// A marker has the epoch of the batches that it decides. A batch that arrives after the
    /// marker opens another transaction.
    V0,
    /// As [`V0`](TransactionVersion::V0). Brokers differ in how they store their own state.
    V1,
    /// A marker has a higher epoch than the batches that it decides: one higher. The log then
    /// rejects a batch of the transaction that arrives after the marker (KIP-890).
    #[default]
    V2,
}

/// Milliseconds since the Unix epoch, as Kafka stores them.
///
/// ```
/// use annals::Timestamp;
///
/// let at = Timestamp::from_millis(1_700_000_000_000);
/// assert_eq!(at.as_millis(), 1_700_000_000_000);
/// assert!(Timestamp::NONE < at);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// "This record has no timestamp": Kafka's -1.
    pub const NONE: Timestamp = Timestamp(-1);

    /// Returns the time this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Returns the milliseconds since the Unix epoch; -1 if there is no timestamp.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns whether this is [`Timestamp::NONE`].
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == Timestamp::NONE.0
    }

    /// Returns the time since `earlier`; zero if that is not earlier.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Rounds down to the millisecond, and clamps to the range of 63 bits of milliseconds.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        Timestamp(match time.duration_since(UNIX_EPOCH) {
            // `as_millis` has 128-bit arithmetic, which is slow for an append.
            Ok(after) => i64::try_from(after.as_secs())
                .unwrap_or(i64::MAX)
                .saturating_mul(1000)
                .saturating_add(i64::from(after.subsec_millis())),
            Err(before) => i64::try_from(before.duration().as_millis())
                .map_or(i64::MIN, |millis| millis.saturating_neg()),
        })
    }
}

/// The part of a log that a read sees. Kafka: `isolation.level`, and what a broker's replicas read.
///
/// Pass it to [`Log::isolated`](crate::Log::isolated) or
/// [`ConsumerConfig::isolation_level`](crate::ConsumerConfig::isolation_level). The calls of
/// [`Log`](crate::Log) itself read at `ReadUncommitted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum IsolationLevel {
    /// All records below the high watermark, also those of aborted and open transactions. Kafka:
    /// `read_uncommitted`.
    #[default]
    ReadUncommitted,
    /// The records below the last stable offset, without those of aborted transactions. Kafka:
    /// `read_committed`.
    ReadCommitted,
    /// All records up to the end of the log, for replicas and for recovery tools.
    LogEnd,
    /// The same records as `ReadUncommitted`: the name that Kafka's replica code uses.
    HighWatermark,
}

/// The place at which a [`Reader`](crate::Reader) or a [`Tail`](crate::Tail) begins.
///
/// An [`Offset`] and a [`Timestamp`] convert into it, so both can be passed as they are.
///
/// ```
/// use annals::{StartAt, Timestamp};
///
/// assert_eq!(StartAt::from(7), StartAt::Offset(7));
/// assert_eq!(
///     StartAt::from(Timestamp::from_millis(5)),
///     StartAt::Time(Timestamp::from_millis(5)),
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// The first record of the log.
    Earliest,
    /// The end of the log: only records that are appended from now on.
    Latest,
    /// This offset. It is out of range below the start and above the end of the log.
    Offset(Offset),
    /// The first record with this timestamp or a later one; the end of the log if there is none.
    Time(Timestamp),
}

impl From<Offset> for StartAt {
    fn from(offset: Offset) -> StartAt {
        StartAt::Offset(offset)
    }
}

impl From<Timestamp> for StartAt {
    fn from(at: Timestamp) -> StartAt {
        StartAt::Time(at)
    }
}

/// A query for an offset, as in Kafka's `ListOffsets`.
///
/// A [`Timestamp`] converts into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetSpec {
    /// The first offset of the log. Kafka: -2.
    Earliest,
    /// The end of the log. Kafka: -1.
    Latest,
    /// The first record with the largest timestamp of the log. Kafka: -3.
    MaxTimestamp,
    /// The first offset on this disk: the same as `Earliest`, because there is no remote storage.
    /// Kafka: -4.
    EarliestLocal,
    /// The last offset in remote storage: always none. Kafka: -5.
    LatestTiered,
    /// The first record with this timestamp or a later one.
    Time(Timestamp),
}

impl From<Timestamp> for OffsetSpec {
    fn from(at: Timestamp) -> OffsetSpec {
        OffsetSpec::Time(at)
    }
}

/// The codec of a batch's records section: the lowest three bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// Not compressed.
    None = 0,
    /// One gzip member (RFC 1952).
    Gzip = 1,
    /// Snappy, with or without the framing of Java's snappy library.
    Snappy = 2,
    /// One LZ4 frame of independent blocks.
    Lz4 = 3,
    /// One Zstandard frame.
    Zstd = 4,
}

impl Codec {
    /// All codecs, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// Returns the name in Kafka's configuration and tools, which is also the name of the cargo
    /// feature.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Returns the codec with this id, if there is one.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Codec> {
        Some(match id {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            _ => return None,
        })
    }

    /// Returns whether this build can compress and decompress with the codec.
    #[must_use]
    pub const fn is_available(self) -> bool {
        match self {
            Codec::None => true,
            Codec::Gzip => cfg!(feature = "gzip"),
            Codec::Snappy => cfg!(feature = "snappy"),
            Codec::Lz4 => cfg!(feature = "lz4"),
            Codec::Zstd => cfg!(feature = "zstd"),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a batch's timestamps: bit 3 of its attributes.
/// Kafka: `message.timestamp.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// Each record keeps the timestamp of its producer.
    #[default]
    CreateTime,
    /// Every record of a batch has the time of its append.
    LogAppendTime,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: u32,
}

impl TopicPartition {
    /// Creates a partition, by its topic and its number.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl<T: Into<Arc<str>>> From<(T, u32)> for TopicPartition {
    fn from((topic, partition): (T, u32)) -> TopicPartition {
        TopicPartition::new(topic, partition)
    }
}

impl fmt::Display for TopicPartition {
    /// Writes the name of its directory.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A point in the order in which partitions are made. The earliest is the opening of the store.
#[cfg_attr(shuttle, allow(dead_code))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogicalTime(pub(crate) u64);
