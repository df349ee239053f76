//! The settings of a topic.

use super::entry::{ConfigEntry, ConfigSource};
use super::keys::{self, KEYS, Setting, SettingEffect};
use crate::error::{Error, Result, TopicError};
use crate::log::{CleanupPolicy, LogConfig};
use crate::topic_name::is_compacted;
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
/// assert_eq!(config.get("segment.bytes"), None); // not set: the default applies
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
    /// *Default* 1. *Limits* 1 to 100,000; you can raise it later, and never lower it. *Effect*:
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
    /// [`leader_epoch`](LogConfig::leader_epoch), [`replicated`](LogConfig::replicated) and
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
        let Err(found) = log.check() else { return Ok(log) };
        let named = KEYS.iter().find(|key| key.option() == Some(found.option));
        Err(match named {
            Some(key) => {
                invalid(key, &key.default(&log), format!("it {}", by_setting(&found.rule)))
            }
            None => found.into(),
        })
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

    pub(super) fn put(mut self, key: &'static str, value: String) -> Self {
        self.own.insert(key, value);
        self
    }
}

fn known(key: &str) -> Result<&'static Setting> {
    keys::find(key).ok_or_else(|| {
        let nearest = keys::nearest(key);
        TopicError::UnknownSetting { key: key.to_owned(), nearest }.into()
    })
}

/// Names settings instead of the options of a log.
fn by_setting(rule: &str) -> String {
    let options = KEYS.iter().filter_map(|key| Some((key.option()?, key.name)));
    options.fold(rule.to_owned(), |rule, (option, name)| {
        rule.replace(&format!("`{option}`"), &format!("`{name}`"))
    })
}

fn check(key: &Setting, value: &str) -> Result<()> {
    key.rule.check(value).map_err(|reason| invalid(key, value, reason))
}

fn invalid(key: &Setting, value: &str, reason: String) -> Error {
    TopicError::InvalidSetting { key: key.name.to_owned(), value: value.to_owned(), reason }.into()
}
