//! The settings of a topic by Kafka's keys: the valid values, and the option of a log that each
//! sets.
//!
//! A setting is text, as in Kafka. It is validated when it is set, and becomes an option when a
//! log is opened. The table below serves both directions.

use super::values::{
    age_limit, bytes, compression, count, millis, policy, ratio, size_limit, stamp, switch,
};
use crate::log::LogConfig;
use crate::record::Compression;

/// A setting of topics.
pub(super) struct Setting {
    /// Kafka's name of the setting.
    pub(super) name: &'static str,
    /// The valid values.
    pub(super) rule: ValueRule,
    /// The effect of the setting.
    pub(super) meaning: SettingEffect,
}

/// The valid values of a setting.
#[derive(Clone, Copy)]
pub(super) enum ValueRule {
    /// A whole number between these two, inclusive.
    Number(i64, i64),
    /// A whole number, at least this one; -1 means no limit.
    Limit(i64),
    /// A number between 0 and 1.
    Ratio,
    Bool,
    Word(&'static [&'static str]),
    GzipLevel,
    Policy,
    /// `*`, or pairs `partition:broker`.
    Replicas,
}

/// The effect of a setting.
pub(super) enum SettingEffect {
    /// Sets an option of the topic's logs.
    Option {
        /// The name of the method of [`LogConfig`].
        name: &'static str,
        /// Returns the value in the options of a log.
        read: fn(&LogConfig) -> String,
        /// Sets the value in the options of a log. Returns `None` if the value is invalid.
        write: fn(&mut LogConfig, &str) -> Option<()>,
    },
    /// No effect: the value is only stored and described. Contains Kafka's default.
    Carried(&'static str),
}

/// An option of [`LogConfig`] with the value of the setting, in one of the formats of `values`.
macro_rules! option {
    ($key:literal, $rule:expr, $field:ident, $form:ident) => {
        Setting {
            name: $key,
            rule: $rule,
            meaning: SettingEffect::Option {
                name: stringify!($field),
                read: |config| $form::text(config.$field),
                write: |config, text| {
                    config.$field = $form::value(text)?;
                    Some(())
                },
            },
        }
    };
}

/// The level of a codec, if the log compresses with that codec.
macro_rules! level {
    ($key:literal, $rule:expr, $codec:ident, $default:literal) => {
        Setting {
            name: $key,
            rule: $rule,
            meaning: SettingEffect::Option {
                name: "compression",
                read: |config| match config.compression {
                    Some(Compression::$codec { level }) => level.to_string(),
                    _ => $default.to_owned(),
                },
                write: |config, text| {
                    let given = text.parse().ok()?;
                    if let Some(Compression::$codec { level }) = &mut config.compression {
                        *level = given;
                    }
                    Some(())
                },
            },
        }
    };
}

const fn carried(name: &'static str, rule: ValueRule, default: &'static str) -> Setting {
    Setting { name, rule, meaning: SettingEffect::Carried(default) }
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const AGE: ValueRule = ValueRule::Number(0, LONG);

/// All settings. They are applied in this order, so the level of a codec comes after the codec.
pub(super) const KEYS: &[Setting] = &[
    option!("segment.bytes", ValueRule::Number(62, INT), segment_bytes, bytes),
    option!("segment.ms", ValueRule::Number(1, LONG), segment_age, millis),
    option!("segment.jitter.ms", AGE, segment_jitter, millis),
    option!("segment.index.bytes", ValueRule::Number(24, INT), index_bytes, bytes),
    option!("index.interval.bytes", ValueRule::Number(0, INT), index_interval_bytes, bytes),
    option!("flush.messages", ValueRule::Number(1, LONG), flush_messages, count),
    option!("flush.ms", AGE, flush_interval, millis),
    option!("retention.bytes", ValueRule::Limit(i64::MIN), retention_bytes, size_limit),
    option!("retention.ms", ValueRule::Limit(-1), retention_age, age_limit),
    option!("max.message.bytes", ValueRule::Number(68, INT), max_message_bytes, bytes),
    option!("cleanup.policy", ValueRule::Policy, cleanup_policy, policy),
    option!("delete.retention.ms", AGE, delete_retention, millis),
    option!("min.compaction.lag.ms", AGE, min_compaction_lag, millis),
    option!("max.compaction.lag.ms", ValueRule::Number(1, LONG), max_compaction_lag, millis),
    option!("min.cleanable.dirty.ratio", ValueRule::Ratio, min_cleanable_dirty_ratio, ratio),
    option!("compression.type", ValueRule::Word(&compression::WORDS), compression, compression),
    level!("compression.gzip.level", ValueRule::GzipLevel, Gzip, "-1"),
    level!("compression.zstd.level", ValueRule::Number(-131_072, 22), Zstd, "3"),
    option!("preallocate", ValueRule::Bool, preallocate, switch),
    option!("message.timestamp.type", ValueRule::Word(&stamp::WORDS), timestamp_type, stamp),
    option!("message.timestamp.before.max.ms", AGE, timestamp_before_max, millis),
    option!("message.timestamp.after.max.ms", AGE, timestamp_after_max, millis),
    // LZ4 has one level here.
    carried("compression.lz4.level", ValueRule::Number(1, 17), "9"),
    // A log removes a file at once, or when its last reader leaves it.
    carried("file.delete.delay.ms", AGE, "60000"),
    // There is one copy of the data, in this process.
    carried("min.insync.replicas", ValueRule::Number(1, INT), "1"),
    carried("unclean.leader.election.enable", ValueRule::Bool, "false"),
    carried("leader.replication.throttled.replicas", ValueRule::Replicas, ""),
    carried("follower.replication.throttled.replicas", ValueRule::Replicas, ""),
    carried("remote.storage.enable", ValueRule::Bool, "false"),
    carried("remote.log.copy.disable", ValueRule::Bool, "false"),
    carried("remote.log.delete.on.disable", ValueRule::Bool, "false"),
    carried("local.retention.ms", ValueRule::Number(-2, LONG), "-2"),
    carried("local.retention.bytes", ValueRule::Number(-2, LONG), "-2"),
];

/// Returns the setting with that name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    KEYS.iter().find(|key| key.name == name)
}

/// Returns the name that was probably meant: the one with the fewest different letters, unless
/// more than half of its letters differ.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // A longer name is no typing mistake, and the time grows with the product of both lengths.
    let name = if name.len() <= 100 { name } else { return None };
    let distances = KEYS.iter().map(|key| (distance(name, key.name), key.name));
    let (letters, found) = distances.min()?;
    if letters <= found.len() / 2 { Some(found) } else { None }
}

/// Returns how many letters must be inserted, removed or replaced to turn one name into the
/// other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.bytes().enumerate() {
        let mut diagonal = above;
        let mut left = above.saturating_add(1);
        let (first, rest) = row.split_at_mut(1);
        first.fill(left);
        for (cell, b) in rest.iter_mut().zip(other.bytes()) {
            let replaced = diagonal.saturating_add(usize::from(a != b));
            diagonal = *cell;
            left = replaced.min(left.min(*cell).saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

impl Setting {
    /// Returns the value of a topic that does not set it, with these log options.
    pub(super) fn default(&self, log: &LogConfig) -> String {
        match &self.meaning {
            SettingEffect::Option { read, .. } => read(log),
            SettingEffect::Carried(default) => (*default).to_owned(),
        }
    }

    /// Returns the name of the option that it sets.
    pub(super) fn option(&self) -> Option<&'static str> {
        match &self.meaning {
            SettingEffect::Option { name, .. } => Some(name),
            SettingEffect::Carried(_) => None,
        }
    }
}

impl ValueRule {
    /// Checks a value; fails with a description of the valid values.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let number = text.parse::<i64>().ok();
        let within = |from: i64, to: i64| number.is_some_and(|n| (from..=to).contains(&n));
        let keeps = match self {
            ValueRule::Number(from, to) => within(from, to),
            ValueRule::Limit(from) => within(from, LONG),
            ValueRule::Ratio => ratio::value(text).is_some_and(|r| (0.0..=1.0).contains(&r)),
            ValueRule::Bool => switch::value(text).is_some(),
            ValueRule::Word(words) => words.contains(&text),
            ValueRule::GzipLevel => within(1, 9) || within(-1, -1),
            ValueRule::Policy => policy::value(text).is_some(),
            ValueRule::Replicas => is_replicas(text),
        };
        if keeps { Ok(()) } else { Err(self.allowed()) }
    }

    fn allowed(self) -> String {
        match self {
            ValueRule::Number(from, to) => format!("it must be a whole number from {from} to {to}"),
            ValueRule::Limit(_) => {
                format!("it must be a whole number from 0 to {LONG}, or -1 for no limit")
            }
            ValueRule::Ratio => "it must be a number from 0 to 1".to_owned(),
            ValueRule::Bool => "it must be `true` or `false`".to_owned(),
            ValueRule::Word(words) => format!("it must be one of `{}`", words.join("`, `")),
            ValueRule::GzipLevel => {
                "it must be a level from 1 to 9, or -1 for the default".to_owned()
            }
            ValueRule::Policy => {
                "it must be `delete`, `compact`, or `compact,delete`; to keep everything, \
                take `delete` with `retention.ms` and `retention.bytes` at -1"
                    .to_owned()
            }
            ValueRule::Replicas => {
                "it must be empty, `*`, or a list of `partition:broker`".to_owned()
            }
        }
    }
}

fn is_replicas(text: &str) -> bool {
    let is_pair = |pair: &str| {
        let is_id = |id: &str| id.trim().parse::<u32>().is_ok();
        pair.split_once(':').is_some_and(|(partition, broker)| is_id(partition) && is_id(broker))
    };
    matches!(text, "" | "*") || text.split(',').all(is_pair)
}
