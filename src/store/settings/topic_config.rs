//! The settings of a topic.

use super::entry::{ConfigEntry, ConfigSource};
use super::keys::{self, KEYS, Setting, SettingEffect};
use super::values::millis;
use crate::error::{Error, Result, TopicError};
use crate::log::{CleanupPolicy, LogConfig};
use crate::record::Compression;
use crate::topic_name::is_compacted;
use crate::types::TimestampType;
use std::collections::BTreeMap;
use std::time::Duration;

/// Kafka's default of `retention.ms`.
pub(super) const SEVEN_DAYS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Kafka's default of `message.timestamp.after.max.ms`.
pub(super) const ONE_HOUR: Duration = Duration::from_secs(3600);
pub(super) const NO_LIMIT: Duration = Duration::from_millis(i64::MAX as u64);

/// The settings of a topic: its number of partitions, and Kafka's settings that differ from the
/// defaults.
///
/// Settings have Kafka's names, and invalid values are rejected as in Kafka. A setting that makes
/// sense within one process is an option of the topic's logs: [`LogConfig`] describes the effect.
/// The others (`min.insync.replicas`, `unclean.leader.election.enable`, `remote.*` and
/// `local.retention.*`, throttled replicas, `file.delete.delay.ms`, `compression.lz4.level`) are
/// validated, stored and described, and have no effect.
///
/// Note three defaults. A topic deletes records older than **7 days**, as in Kafka, while a
/// [`Log`](crate::Log) deletes nothing. With `retention.ms=-1`, or
/// [`retention_age`](TopicConfig::retention_age) of [`Duration::MAX`], a topic keeps everything.
/// A topic rejects records with a timestamp more than **an hour** ahead of its clock, as in Kafka
/// 4, while a log accepts any: see `message.timestamp.after.max.ms`. A topic that only compacts
/// deletes nothing by age or size, whatever its `retention.*` settings are.
///
/// Methods that take text validate it at once. The others accept any value, and
/// [`validate`](TopicConfig::validate) or the creation of the topic validates it.
///
/// ```
/// use annals::{CleanupPolicy, TopicConfig};
/// use std::time::Duration;
///
/// let config = TopicConfig::default()
///     .partitions(6)
///     .retention_age(Duration::from_secs(3600))
///     .set("max.message.bytes", "65536")?;
/// assert_eq!(config.get("retention.ms"), Some("3600000"));
/// assert_eq!(config.get("segment.bytes"), None); // not its own: the default holds
///
/// let refused = config.clone().set("retention.ms", "1h").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "`retention.ms` cannot be `1h`: it must be a whole number from 0 to 9223372036854775807, \
///      or -1 for no limit",
/// );
/// let refused = config.set("retention.millis", "1").unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "topics have no setting `retention.millis`; did you mean `retention.ms`?",
/// );
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    pub(crate) partitions: u32,
    /// The topic's own settings, as text.
    own: BTreeMap<&'static str, String>,
}

/// One partition, and Kafka's defaults.
impl Default for TopicConfig {
    fn default() -> TopicConfig {
        TopicConfig { partitions: 1, own: BTreeMap::new() }
    }
}

/// Returns the options of the logs of topics without their own settings, which are Kafka's
/// defaults.
pub(crate) fn default_log() -> LogConfig {
    LogConfig::default().retention_age(SEVEN_DAYS).timestamp_after_max(ONE_HOUR)
}

/// Returns the settings of a topic that a broker created. Only its controller knows them, so
/// nothing is deleted until you alter the topic. Internal topics are compacted, as in every
/// broker.
pub(crate) fn broker_topic_config(topic: &str, partitions: u32) -> TopicConfig {
    let config = TopicConfig::default().partitions(partitions);
    if is_compacted(topic) {
        config.cleanup_policy(CleanupPolicy::Compact).segment_bytes(100 << 20)
    } else {
        config.retention_age(Duration::MAX)
    }
}

impl TopicConfig {
    /// Sets the number of partitions.
    ///
    /// *Default* 1. *Limits* 1 and up; you can raise it later, and never lower it. *Effect*:
    /// records with the same key go to the same partition and stay in order, until the number
    /// changes. Kafka: `num.partitions`.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets a setting by Kafka's key, to a value in Kafka's format.
    ///
    /// # Errors
    ///
    /// - [`TopicError::UnknownSetting`] if topics have no setting of that name.
    /// - [`TopicError::InvalidSetting`] if the value is invalid. Settings that contradict each
    ///   other are rejected when the topic is created or altered, or by
    ///   [`validate`](TopicConfig::validate).
    pub fn set(self, key: &str, value: &str) -> Result<Self> {
        let (key, value) = (known(key)?, value.trim());
        check(key, value)?;
        Ok(self.put(key.name, value.to_owned()))
    }

    /// Resets a setting to the default.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownSetting`] if topics have no setting of that name.
    pub fn unset(mut self, key: &str) -> Result<Self> {
        self.own.remove(known(key)?.name);
        Ok(self)
    }

    /// Returns the topic's own value for this key; `None` if the default applies, or if topics
    /// have no such setting.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.own.get(key).map(String::as_str)
    }

    /// Returns the topic's own settings, in the order of the keys.
    pub fn overrides(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.own.iter().map(|(&key, value)| (key, value.as_str()))
    }

    /// Returns all settings with their values, in the order of the keys, with Kafka's defaults.
    /// Kafka: `describeConfigs`.
    #[must_use]
    pub fn entries(&self) -> Vec<ConfigEntry> {
        self.entries_over(&default_log())
    }

    /// Returns all settings with their values, in the order of the keys, with these options as
    /// the defaults.
    pub(crate) fn entries_over(&self, defaults: &LogConfig) -> Vec<ConfigEntry> {
        let entry = |key: &Setting| {
            let default = key.default(defaults);
            let (value, source) = match self.get(key.name) {
                Some(own) => (own.to_owned(), ConfigSource::Topic),
                None => (default.clone(), ConfigSource::Default),
            };
            ConfigEntry { key: key.name, value, default, source, option: key.option() }
        };
        let mut entries: Vec<ConfigEntry> = KEYS.iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key);
        entries
    }

    /// Takes the settings from the options of a log. An option that differs from Kafka's default
    /// of a topic becomes the topic's own setting, and the others stay at the default. By
    /// default, a log keeps everything and accepts any timestamp, so its options make a topic
    /// that does the same.
    ///
    /// Options that are not settings of topics are ignored, because the store has its own: the
    /// file system, the clock, the listener, the maintainer,
    /// [`on_corruption`](LogConfig::on_corruption),
    /// [`dedupe_buffer_bytes`](LogConfig::dedupe_buffer_bytes),
    /// [`producer_id_expiration`](LogConfig::producer_id_expiration),
    /// [`leader_epoch`](LogConfig::leader_epoch) and
    /// [`max_decompressed_bytes`](LogConfig::max_decompressed_bytes).
    ///
    /// ```
    /// use annals::{LogConfig, TopicConfig};
    ///
    /// let config = TopicConfig::default().log(LogConfig::default().segment_bytes(1 << 20));
    /// assert_eq!(config.get("segment.bytes"), Some("1048576"));
    /// assert_eq!(config.get("retention.ms"), Some("-1"));
    /// assert_eq!(config.get("message.timestamp.after.max.ms"), Some("9223372036854775807"));
    /// ```
    #[must_use]
    pub fn log(mut self, log: LogConfig) -> Self {
        let defaults = default_log();
        for key in KEYS {
            if let SettingEffect::Option { read, .. } = key.meaning {
                let value = read(&log);
                if value == read(&defaults) {
                    self.own.remove(key.name);
                } else {
                    self.own.insert(key.name, value);
                }
            }
        }
        self
    }

    /// Returns the options of a log of this topic, with these options as the defaults.
    ///
    /// ```
    /// use annals::{LogConfig, TopicConfig};
    ///
    /// let config = TopicConfig::default().set("segment.bytes", "1048576")?;
    /// let log = config.apply(&LogConfig::default())?;
    /// log.validate()?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::InvalidSetting`] names the first setting that is invalid, alone or
    ///   together with the others.
    /// - [`Error::InvalidConfig`] if an option that is not a setting of topics is invalid.
    pub fn apply(&self, defaults: &LogConfig) -> Result<LogConfig> {
        let mut log = defaults.clone();
        for key in KEYS {
            let Some(value) = self.get(key.name) else { continue };
            check(key, value)?;
            if let SettingEffect::Option { write, .. } = key.meaning
                && write(&mut log, value).is_none()
            {
                return Err(invalid(key, value, "it cannot be read".to_owned()));
            }
        }
        if !log.cleanup_policy.deletes() {
            // In Kafka, these limits may be set and have no effect. A log would reject them as a
            // contradiction.
            log = log.retention_age(NO_LIMIT).retention_bytes(u64::MAX);
        }
        match log.validate() {
            Ok(()) => Ok(log),
            Err(Error::InvalidConfig { option, reason }) => {
                let named = KEYS.iter().find(|key| key.option() == Some(option));
                Err(match named {
                    Some(key) => invalid(key, &key.default(&log), reason),
                    None => Error::InvalidConfig { option, reason },
                })
            }
            Err(other) => Err(other),
        }
    }

    /// Validates all settings, as creating a topic does.
    ///
    /// # Errors
    ///
    /// The errors of [`apply`](TopicConfig::apply).
    pub fn validate(&self) -> Result<()> {
        self.log_config().map(drop)
    }

    /// Returns the options of a log of this topic, with Kafka's defaults.
    pub(crate) fn log_config(&self) -> Result<LogConfig> {
        self.apply(&default_log())
    }

    fn put(mut self, key: &'static str, value: String) -> Self {
        self.own.insert(key, value);
        self
    }
}

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

fn known(key: &str) -> Result<&'static Setting> {
    keys::find(key).ok_or_else(|| {
        let nearest = keys::nearest(key);
        TopicError::UnknownSetting { key: key.to_owned(), nearest }.into()
    })
}

fn check(key: &Setting, value: &str) -> Result<()> {
    key.rule.check(value).map_err(|reason| invalid(key, value, reason))
}

fn invalid(key: &Setting, value: &str, reason: String) -> Error {
    TopicError::InvalidSetting { key: key.name.to_owned(), value: value.to_owned(), reason }.into()
}
