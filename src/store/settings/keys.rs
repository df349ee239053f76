//! The settings of a topic, by Kafka's keys: what each may be, and which option of a log it is.
//!
//! A setting is text, as in Kafka. It is checked when it is set, and becomes an option when a log
//! is opened with it. The table below serves both directions.

use super::values::{
    age_limit, bytes, compression, count, millis, policy, ratio, size_limit, stamp, switch,
};
use crate::log::LogConfig;
use crate::record::Compression;

/// A setting that topics have.
pub(super) struct Key {
    /// Kafka's name for it.
    pub(super) name: &'static str,
    /// Which values it may have.
    pub(super) rule: Rule,
    /// Its effect here.
    pub(super) meaning: Meaning,
}

/// Which values a setting may have.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// A whole number between these two, both included.
    Number(i64, i64),
    /// A whole number of which -1 says that there is no limit. This is the least.
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
pub(super) enum Meaning {
    /// It is an option of the topic's logs.
    Option {
        /// The method of [`LogConfig`].
        name: &'static str,
        /// The value that a log has.
        read: fn(&LogConfig) -> String,
        /// Gives a log a value. `None` if it is none.
        write: fn(&mut LogConfig, &str) -> Option<()>,
    },
    /// No effect: the value is stored and described. Contains Kafka's default.
    Carried(&'static str),
}

/// An option of [`LogConfig`] that is the setting itself, in one of the forms below.
macro_rules! option {
    ($key:literal, $rule:expr, $field:ident, $form:ident) => {
        Key {
            name: $key,
            rule: $rule,
            meaning: Meaning::Option {
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

const fn carried(name: &'static str, rule: Rule, default: &'static str) -> Key {
    Key { name, rule, meaning: Meaning::Carried(default) }
}

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const AGE: Rule = Rule::Number(0, LONG);

/// Every setting. Logs are given them in this order: the level of a codec comes behind the codec.
pub(super) const KEYS: &[Key] = &[
    option!("segment.bytes", Rule::Number(62, INT), segment_bytes, bytes),
    option!("segment.ms", Rule::Number(1, LONG), segment_age, millis),
    option!("segment.jitter.ms", AGE, segment_jitter, millis),
    option!("segment.index.bytes", Rule::Number(24, INT), index_bytes, bytes),
    option!("index.interval.bytes", Rule::Number(0, INT), index_interval_bytes, bytes),
    option!("flush.messages", Rule::Number(1, LONG), flush_messages, count),
    option!("flush.ms", AGE, flush_interval, millis),
    option!("retention.bytes", Rule::Limit(i64::MIN), retention_bytes, size_limit),
    option!("retention.ms", Rule::Limit(-1), retention_age, age_limit),
    option!("max.message.bytes", Rule::Number(68, INT), max_message_bytes, bytes),
    option!("cleanup.policy", Rule::Policy, cleanup_policy, policy),
    option!("delete.retention.ms", AGE, delete_retention, millis),
    option!("min.compaction.lag.ms", AGE, min_compaction_lag, millis),
    option!("max.compaction.lag.ms", Rule::Number(1, LONG), max_compaction_lag, millis),
    option!("min.cleanable.dirty.ratio", Rule::Ratio, min_cleanable_dirty_ratio, ratio),
    option!("compression.type", Rule::Word(&compression::WORDS), compression, compression),
    Key {
        name: "compression.gzip.level",
        rule: Rule::GzipLevel,
        meaning: Meaning::Option {
            name: "compression",
            read: |config| match config.compression {
                Some(Compression::Gzip { level }) => level.to_string(),
                _ => "-1".to_owned(),
            },
            write: |config, text| {
                let given = text.parse().ok()?;
                if let Some(Compression::Gzip { level }) = &mut config.compression {
                    *level = given;
                }
                Some(())
            },
        },
    },
    Key {
        name: "compression.zstd.level",
        rule: Rule::Number(-131_072, 22),
        meaning: Meaning::Option {
            name: "compression",
            read: |config| match config.compression {
                Some(Compression::Zstd { level }) => level.to_string(),
                _ => "3".to_owned(),
            },
            write: |config, text| {
                let given = text.parse().ok()?;
                if let Some(Compression::Zstd { level }) = &mut config.compression {
                    *level = given;
                }
                Some(())
            },
        },
    },
    option!("preallocate", Rule::Bool, preallocate, switch),
    option!("message.timestamp.type", Rule::Word(&stamp::WORDS), timestamp_type, stamp),
    option!("message.timestamp.before.max.ms", AGE, timestamp_before_max, millis),
    option!("message.timestamp.after.max.ms", AGE, timestamp_after_max, millis),
    // There is one level of LZ4 here.
    carried("compression.lz4.level", Rule::Number(1, 17), "9"),
    // A log removes a file at once, or when the reader that is in it goes on.
    carried("file.delete.delay.ms", AGE, "60000"),
    // There is one copy of everything, and it is here.
    carried("min.insync.replicas", Rule::Number(1, INT), "1"),
    carried("unclean.leader.election.enable", Rule::Bool, "false"),
    carried("leader.replication.throttled.replicas", Rule::Replicas, ""),
    carried("follower.replication.throttled.replicas", Rule::Replicas, ""),
    carried("remote.storage.enable", Rule::Bool, "false"),
    carried("remote.log.copy.disable", Rule::Bool, "false"),
    carried("remote.log.delete.on.disable", Rule::Bool, "false"),
    carried("local.retention.ms", Rule::Number(-2, LONG), "-2"),
    carried("local.retention.bytes", Rule::Number(-2, LONG), "-2"),
];

/// The setting of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Returns the name that was probably meant: the one with the fewest changed letters, unless these
/// are half of them.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // Longer ones are no slip of the pen, and the distance takes the product of the lengths.
    let name = if name.len() <= 100 { name } else { return None };
    let distances = KEYS.iter().map(|key| (distance(name, key.name), key.name));
    let (letters, found) = distances.min()?;
    if letters <= found.len() / 2 { Some(found) } else { None }
}

/// How many letters must be put in, left out or replaced to make one of the other.
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

impl Key {
    /// The value of a topic that does not set it, where logs have these options.
    pub(super) fn default(&self, log: &LogConfig) -> String {
        match &self.meaning {
            Meaning::Option { read, .. } => read(log),
            Meaning::Carried(default) => (*default).to_owned(),
        }
    }

    /// The option that it is.
    pub(super) fn option(&self) -> Option<&'static str> {
        match &self.meaning {
            Meaning::Option { name, .. } => Some(name),
            Meaning::Carried(_) => None,
        }
    }
}

impl Rule {
    /// Whether a value keeps it; if not, what would.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let number = text.parse::<i64>().ok();
        let within = |from: i64, to: i64| number.is_some_and(|n| (from..=to).contains(&n));
        let keeps = match self {
            Rule::Number(from, to) => within(from, to),
            Rule::Limit(from) => within(from, LONG),
            Rule::Ratio => ratio::value(text).is_some_and(|r| (0.0..=1.0).contains(&r)),
            Rule::Bool => switch::value(text).is_some(),
            Rule::Word(words) => words.contains(&text),
            Rule::GzipLevel => within(1, 9) || within(-1, -1),
            Rule::Policy => policy::value(text).is_some(),
            Rule::Replicas => is_replicas(text),
        };
        if keeps { Ok(()) } else { Err(self.allowed()) }
    }

    fn allowed(self) -> String {
        match self {
            Rule::Number(from, to) => format!("it must be a whole number from {from} to {to}"),
            Rule::Limit(_) => {
                format!("it must be a whole number from 0 to {LONG}, or -1 for no limit")
            }
            Rule::Ratio => "it must be a number from 0 to 1".to_owned(),
            Rule::Bool => "it must be `true` or `false`".to_owned(),
            Rule::Word(words) => format!("it must be one of `{}`", words.join("`, `")),
            Rule::GzipLevel => "it must be a level from 1 to 9, or -1 for the usual one".to_owned(),
            Rule::Policy => {
                "it must be `delete`, `compact`, or `compact,delete`; to keep everything, \
                take `delete` with `retention.ms` and `retention.bytes` at -1"
                    .to_owned()
            }
            Rule::Replicas => "it must be empty, `*`, or a list of `partition:broker`".to_owned(),
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
