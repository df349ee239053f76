//! Methods for the settings that topics set most often.

use super::keys;
use super::topic_config::{NO_LIMIT, TopicConfig};
use super::values::millis;
use crate::log::{CleanupPolicy, LogConfig};
use crate::record::Compression;
use crate::types::TimestampType;
use std::time::Duration;

/// Methods for common settings.
impl TopicConfig {
    /// Sets the age at which records are deleted.
    ///
    /// *Default* 7 days. *Limits* `i64::MAX` milliseconds or more, such as [`Duration::MAX`], is
    /// no limit. *Effect*: [`LogConfig::retention_age`]. Kafka: `retention.ms`.
    #[must_use]
    pub fn retention_age(self, age: Duration) -> Self {
        let unlimited = age >= NO_LIMIT;
        self.put("retention.ms", if unlimited { "-1".to_owned() } else { millis::text(age) })
    }

    /// Sets the size of a partition at which its oldest records are deleted.
    ///
    /// *Default* no limit. *Limits* [`u64::MAX`] is no limit. *Effect*:
    /// [`LogConfig::retention_bytes`]. Kafka: `retention.bytes`.
    #[must_use]
    pub fn retention_bytes(self, bytes: u64) -> Self {
        self.put("retention.bytes", i64::try_from(bytes).unwrap_or(-1).to_string())
    }

    /// Sets whether old records, superseded records, or both are deleted.
    ///
    /// *Default* [`CleanupPolicy::Delete`]. *Effect*: [`LogConfig::cleanup_policy`].
    /// Kafka: `cleanup.policy`.
    #[must_use]
    pub fn cleanup_policy(self, policy: CleanupPolicy) -> Self {
        self.read("cleanup.policy", &LogConfig::default().cleanup_policy(policy))
    }

    /// Sets the size at which a segment is closed and the next one begun.
    ///
    /// *Default* 1 GiB. *Limits* 62 bytes to 2 GiB - 1. *Effect*: [`LogConfig::segment_bytes`].
    /// Kafka: `segment.bytes`.
    #[must_use]
    pub fn segment_bytes(self, bytes: u64) -> Self {
        self.put("segment.bytes", bytes.to_string())
    }

    /// Sets the age at which a segment is closed even if it is not full.
    ///
    /// *Default* 7 days. *Limits* 1 ms and up. *Effect*: [`LogConfig::segment_age`].
    /// Kafka: `segment.ms`.
    #[must_use]
    pub fn segment_age(self, age: Duration) -> Self {
        self.put("segment.ms", millis::text(age))
    }

    /// Sets the largest batch that the topic accepts.
    ///
    /// *Default* 1 MiB + 12. *Limits* up to 2 GiB - 1. *Effect*: [`LogConfig::max_message_bytes`].
    /// Kafka: `max.message.bytes`.
    #[must_use]
    pub fn max_message_bytes(self, bytes: u64) -> Self {
        self.put("max.message.bytes", bytes.to_string())
    }

    /// Compresses every batch with this codec, at this level. To keep the producers' compression,
    /// [`unset`](TopicConfig::unset) `compression.type`.
    ///
    /// *Default* the producers' compression. *Limits* the codecs of this build. *Effect*:
    /// [`LogConfig::compression`]. Kafka: `compression.type`, with its levels.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        let log = LogConfig::default().compression(compression);
        let names = ["compression.type", "compression.gzip.level", "compression.zstd.level"];
        names.into_iter().fold(self, |config, key| config.read(key, &log))
    }

    /// Sets which timestamps records carry: those of their producer, or the time of the append.
    ///
    /// *Default* the producer's. *Effect*: [`LogConfig::timestamp_type`].
    /// Kafka: `message.timestamp.type`.
    #[must_use]
    pub fn timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.read("message.timestamp.type", &LogConfig::default().timestamp_type(timestamp_type))
    }

    /// Sets the share of a partition that must be dirty for it to be compacted.
    ///
    /// *Default* 0.5. *Limits* 0 to 1. *Effect*: [`LogConfig::min_cleanable_dirty_ratio`].
    /// Kafka: `min.cleanable.dirty.ratio`.
    #[must_use]
    pub fn min_cleanable_dirty_ratio(self, ratio: f64) -> Self {
        self.put("min.cleanable.dirty.ratio", ratio.to_string())
    }

    /// Sets the shortest time for which a record stays, even if it is superseded.
    ///
    /// *Default* none. *Limits* at most [`max_compaction_lag`](TopicConfig::max_compaction_lag).
    /// *Effect*: [`LogConfig::min_compaction_lag`]. Kafka: `min.compaction.lag.ms`.
    #[must_use]
    pub fn min_compaction_lag(self, lag: Duration) -> Self {
        self.put("min.compaction.lag.ms", millis::text(lag))
    }

    /// Sets the longest time for which a superseded record stays.
    ///
    /// *Default* no limit. *Limits* 1 ms and up. *Effect*: [`LogConfig::max_compaction_lag`].
    /// Kafka: `max.compaction.lag.ms`.
    #[must_use]
    pub fn max_compaction_lag(self, lag: Duration) -> Self {
        self.put("max.compaction.lag.ms", millis::text(lag))
    }

    /// Sets how long a tombstone stays after the compaction that first finds it.
    ///
    /// *Default* 1 day. *Effect*: [`LogConfig::delete_retention`]. Kafka: `delete.retention.ms`.
    #[must_use]
    pub fn delete_retention(self, retention: Duration) -> Self {
        self.put("delete.retention.ms", millis::text(retention))
    }

    /// Flushes the log whenever this many records are not durable.
    ///
    /// *Default* never. *Limits* 1 and up. *Effect*: [`LogConfig::flush_messages`].
    /// Kafka: `flush.messages`.
    #[must_use]
    pub fn flush_messages(self, records: u64) -> Self {
        self.put("flush.messages", i64::try_from(records).unwrap_or(i64::MAX).to_string())
    }

    /// Makes each record durable within this time of its append.
    ///
    /// *Default* never. *Effect*: [`LogConfig::flush_interval`]. Kafka: `flush.ms`.
    #[must_use]
    pub fn flush_interval(self, interval: Duration) -> Self {
        self.put("flush.ms", millis::text(interval))
    }

    /// Sets a setting to the value in the options of a log.
    fn read(self, key: &'static str, log: &LogConfig) -> Self {
        let value = keys::find(key).map(|key| key.default(log)).unwrap_or_default();
        self.put(key, value)
    }
}
