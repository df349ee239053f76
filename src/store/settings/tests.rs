use super::keys::{KEYS, ValueRule};
use super::topic_config::{NO_LIMIT, ONE_HOUR, SEVEN_DAYS};
use super::*;
use crate::error::{Error, ErrorKind, TopicError};
use crate::log::{CleanupPolicy, LogConfig};
use crate::types::{Codec, TimestampType};
use proptest::prelude::*;
use std::time::Duration;

/// Kafka's defaults, from its documentation of topics.
const DEFAULTS: [(&str, &str); 33] = [
    ("cleanup.policy", "delete"),
    ("compression.gzip.level", "-1"),
    ("compression.lz4.level", "9"),
    ("compression.type", "producer"),
    ("compression.zstd.level", "3"),
    ("delete.retention.ms", "86400000"),
    ("file.delete.delay.ms", "60000"),
    ("flush.messages", "9223372036854775807"),
    ("flush.ms", "9223372036854775807"),
    ("follower.replication.throttled.replicas", ""),
    ("index.interval.bytes", "4096"),
    ("leader.replication.throttled.replicas", ""),
    ("local.retention.bytes", "-2"),
    ("local.retention.ms", "-2"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.after.max.ms", "3600000"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.type", "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("preallocate", "false"),
    ("remote.log.copy.disable", "false"),
    ("remote.log.delete.on.disable", "false"),
    ("remote.storage.enable", "false"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.index.bytes", "10485760"),
    ("segment.jitter.ms", "0"),
    ("segment.ms", "604800000"),
    ("unclean.leader.election.enable", "false"),
];

/// Returns valid values of a setting.
fn valid(rule: ValueRule) -> BoxedStrategy<String> {
    match rule {
        ValueRule::Number(from, to) => {
            prop_oneof![Just(from), Just(to), from..=to].prop_map(|n| n.to_string()).boxed()
        }
        ValueRule::Limit(_) => (-1..=i64::MAX).prop_map(|n| n.to_string()).boxed(),
        ValueRule::Ratio => (0.0..=1.0_f64).prop_map(|r| r.to_string()).boxed(),
        ValueRule::Bool => any::<bool>().prop_map(|b| b.to_string()).boxed(),
        ValueRule::Word(words) => proptest::sample::select(words).prop_map(str::to_owned).boxed(),
        ValueRule::GzipLevel => prop_oneof![Just("-1".to_owned()), "[1-9]"].boxed(),
        ValueRule::Policy => "delete|compact|compact,delete".boxed(),
        ValueRule::Replicas => "\\*||[0-9]:[0-9](,[0-9]:[0-9])?".boxed(),
    }
}

/// Returns a few settings with valid values.
fn settings() -> impl Strategy<Value = TopicConfig> {
    let one = (0..KEYS.len()).prop_flat_map(|n| (Just(KEYS[n].name), valid(KEYS[n].rule)));
    proptest::collection::vec(one, 0..12).prop_map(|settings| {
        let set = |config: TopicConfig, (key, value): (&str, String)| config.set(key, &value);
        settings.into_iter().try_fold(TopicConfig::default(), set).unwrap()
    })
}

/// Returns all options that can be compared, as text.
fn options(log: &LogConfig) -> String {
    let shown = format!("{log:?}");
    shown.split_once(", fs:").unwrap().0.to_owned()
}

fn lags_contradict(config: &TopicConfig) -> bool {
    let number = |key, default| config.get(key).map_or(default, |v| v.parse().unwrap());
    number("min.compaction.lag.ms", 0_i64) > number("max.compaction.lag.ms", i64::MAX)
}

#[test]
fn defaults_match_kafka() {
    let entries = TopicConfig::default().entries();
    let defaults: Vec<_> = entries.iter().map(|e| (e.key, e.default.as_str())).collect();
    assert_eq!(defaults, DEFAULTS);
    assert!(entries.iter().all(|e| e.source == ConfigSource::Default && e.value == e.default));
    for entry in entries {
        let same = TopicConfig::default().set(entry.key, &entry.default).unwrap();
        assert_eq!(same.entries()[0].default, DEFAULTS[0].1);
        same.validate().unwrap();
    }
}

proptest! {
    #[test]
    fn settings_round_trip_through_log_options(config in settings()) {
        if lags_contradict(&config) {
            let error = config.validate().unwrap_err().to_string();
            prop_assert!(error.starts_with("`min.compaction.lag.ms` cannot be `"), "{}", error);
            return Ok(());
        }
        let log = config.log_config();
        let codec = config.get("compression.type").unwrap_or("none");
        let missing = Codec::ALL.iter().any(|c| c.name() == codec && !c.is_available());
        prop_assert_eq!(log.is_err(), missing);
        let Ok(log) = log else { return Ok(()) };
        let back = TopicConfig::default().log(log.clone());
        let again = back.log_config().unwrap();
        prop_assert_eq!(options(&again), options(&log));
        let deletes = log.cleanup_policy.deletes();
        for entry in config.entries() {
            let is_level = entry.key.ends_with(".level") && !codec.starts_with(&entry.key[12..16]);
            let is_limit = entry.key.starts_with("retention.") && !deletes;
            let unlimited = entry.key == "retention.ms" && entry.value == i64::MAX.to_string();
            if entry.option.is_some() && !is_level && !is_limit && !unlimited {
                let (key, value) = (entry.key, back.get(entry.key).unwrap_or(&entry.default));
                prop_assert_eq!(value, entry.value, "{}", key);
            }
        }
    }

    #[test]
    fn set_survives_any_text(key in "\\PC{0,40}|[a-z.]{0,40}", value in "\\PC{0,20}|-?[0-9]{0,20}", which in 0..KEYS.len()) {
        TopicConfig::default().set(&key, &value).ok();
        if let Ok(config) = TopicConfig::default().set(KEYS[which].name, &value) {
            config.validate().ok();
        }
    }
}

#[test]
fn set_rejects_invalid_value() {
    let long = "9223372036854775808";
    for (key, values) in [
        ("segment.bytes", vec!["0", "61", "2147483648", "1e9", "1 GiB", ""]),
        ("segment.ms", vec!["0", "-1", long]),
        ("segment.jitter.ms", vec!["-1"]),
        ("segment.index.bytes", vec!["23", "2147483648"]),
        ("index.interval.bytes", vec!["-1", "2147483648"]),
        ("flush.messages", vec!["0", "-1"]),
        ("flush.ms", vec!["-1"]),
        ("retention.bytes", vec!["x", long]),
        ("retention.ms", vec!["-2", "7d"]),
        ("max.message.bytes", vec!["-1", "2147483648"]),
        ("cleanup.policy", vec!["", "none", "delete,", "compact;delete", "Delete"]),
        ("delete.retention.ms", vec!["-1"]),
        ("min.compaction.lag.ms", vec!["-1"]),
        ("max.compaction.lag.ms", vec!["0"]),
        ("min.cleanable.dirty.ratio", vec!["-0.1", "1.1", "NaN", "inf", "half"]),
        ("compression.type", vec!["none", "gz", "LZ4", ""]),
        ("compression.gzip.level", vec!["0", "10", "-2"]),
        ("compression.lz4.level", vec!["0", "18"]),
        ("compression.zstd.level", vec!["23", "-131073"]),
        ("preallocate", vec!["yes", "1"]),
        ("message.timestamp.type", vec!["createtime", "1"]),
        ("message.timestamp.before.max.ms", vec!["-1"]),
        ("message.timestamp.after.max.ms", vec!["-1"]),
        ("min.insync.replicas", vec!["0"]),
        ("unclean.leader.election.enable", vec!["maybe"]),
        ("local.retention.ms", vec!["-3"]),
        ("leader.replication.throttled.replicas", vec!["1", "1:x", "1:2,"]),
        ("file.delete.delay.ms", vec!["-1"]),
    ] {
        for value in values {
            let error = TopicConfig::default().set(key, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("`{key}` cannot be `{value}`: it must be ")),
                "{text}"
            );
        }
    }
    let set = |key, value| TopicConfig::default().set(key, value).unwrap();
    assert_eq!(
        set("cleanup.policy", " delete, compact ").log_config().unwrap().cleanup_policy,
        CleanupPolicy::CompactAndDelete
    );
    assert_eq!(set("retention.bytes", "-7").log_config().unwrap().retention_bytes, u64::MAX);
    assert!(set("preallocate", "TRUE").log_config().unwrap().preallocate);
}

#[test]
fn unknown_key_error_suggests_nearest() {
    for (key, near) in [
        ("retention.mss", Some("retention.ms")),
        ("retention_bytes", Some("retention.bytes")),
        ("log.segment.bytes", Some("segment.bytes")),
        ("cleanup-policy", Some("cleanup.policy")),
        ("compresion.typ", Some("compression.type")),
        ("nothing of the kind", None),
        ("", None),
        (&"x".repeat(1 << 20), None),
    ] {
        let expected = TopicError::UnknownSetting { key: key.to_owned(), nearest: near };
        for refused in [TopicConfig::default().set(key, "1"), TopicConfig::default().unset(key)] {
            assert!(matches!(refused, Err(Error::Topic(error)) if *error == expected), "{key}");
        }
        assert_eq!(TopicConfig::default().get(key), None);
    }
}

#[test]
fn methods_match_keys() {
    let second = Duration::from_secs(1);
    let by_method = TopicConfig::default()
        .retention_age(second)
        .retention_bytes(7)
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .segment_bytes(100)
        .segment_age(second)
        .max_message_bytes(90)
        .timestamp_type(TimestampType::LogAppendTime)
        .min_cleanable_dirty_ratio(0.25)
        .min_compaction_lag(second)
        .max_compaction_lag(2 * second)
        .delete_retention(Duration::from_nanos(1_000_001))
        .flush_messages(5)
        .flush_interval(second);
    let by_log = TopicConfig::default().log(
        LogConfig::default()
            .retention_age(second)
            .retention_bytes(7)
            .cleanup_policy(CleanupPolicy::CompactAndDelete)
            .segment_bytes(100)
            .segment_age(second)
            .max_message_bytes(90)
            .timestamp_type(TimestampType::LogAppendTime)
            .min_cleanable_dirty_ratio(0.25)
            .min_compaction_lag(second)
            .max_compaction_lag(2 * second)
            .delete_retention(Duration::from_millis(2))
            .flush_messages(5)
            .flush_interval(second)
            .timestamp_after_max(ONE_HOUR),
    );
    assert_eq!(by_method, by_log);
    assert_eq!(by_method.overrides().count(), 13);
    by_method.validate().unwrap();

    let unlimited = TopicConfig::default().retention_age(Duration::MAX).retention_bytes(u64::MAX);
    assert_eq!(
        (unlimited.get("retention.ms"), unlimited.get("retention.bytes")),
        (Some("-1"), Some("-1"))
    );
    for refused in [
        TopicConfig::default().segment_bytes(u64::MAX),
        TopicConfig::default().segment_age(Duration::ZERO),
        TopicConfig::default().flush_messages(0),
        TopicConfig::default().min_cleanable_dirty_ratio(f64::NAN),
        TopicConfig::default().max_message_bytes(1 << 31),
    ] {
        assert_eq!(refused.validate().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[cfg(all(feature = "gzip", feature = "zstd"))]
#[test]
fn codec_and_level_are_separate_settings() {
    use crate::record::Compression;

    let zstd = |level| Some(Compression::Zstd { level });
    let config = TopicConfig::default().set("compression.zstd.level", "9").unwrap();
    assert_eq!(config.log_config().unwrap().compression, None);
    let typed = config.clone().set("compression.type", "zstd").unwrap();
    assert_eq!(typed.log_config().unwrap().compression, zstd(9));
    let over = LogConfig::default().compression(Compression::Zstd { level: 5 });
    assert_eq!(config.apply(&over).unwrap().compression, zstd(9));
    assert_eq!(TopicConfig::default().apply(&over).unwrap().compression, zstd(5));
    let gzip = TopicConfig::default().compression(Compression::Gzip { level: 2 });
    assert_eq!(gzip.log_config().unwrap().compression, Some(Compression::Gzip { level: 2 }));
    let plain = TopicConfig::default().set("compression.type", "uncompressed").unwrap();
    assert_eq!(plain.log_config().unwrap().compression, Some(Compression::None));
}

#[test]
fn retention_is_unlimited_when_only_compacting() {
    let config = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact).retention_bytes(9);
    let log = config.log_config().unwrap();
    assert_eq!((log.retention_age, log.retention_bytes), (NO_LIMIT, u64::MAX));
    assert_eq!(config.get("retention.bytes"), Some("9"));
    let both = config.cleanup_policy(CleanupPolicy::CompactAndDelete).log_config().unwrap();
    assert_eq!((both.retention_age, both.retention_bytes), (SEVEN_DAYS, 9));
}

#[test]
fn topic_keeps_everything_like_its_log() {
    let config = TopicConfig::default().log(LogConfig::default());
    let any_time = ("message.timestamp.after.max.ms", "9223372036854775807");
    assert_eq!(config.overrides().collect::<Vec<_>>(), [any_time, ("retention.ms", "-1")]);
    let week = LogConfig::default().retention_age(SEVEN_DAYS).timestamp_after_max(ONE_HOUR);
    let week = TopicConfig::default().log(week);
    assert_eq!(week, TopicConfig::default());
}

#[test]
fn store_default_applies_when_topic_unset() {
    let defaults = LogConfig::default().segment_bytes(1000).retention_bytes(5);
    let config = TopicConfig::default().set("segment.bytes", "2000").unwrap();
    let log = config.apply(&defaults).unwrap();
    assert_eq!((log.segment_bytes, log.retention_bytes, log.retention_age), (2000, 5, NO_LIMIT));
    let entries = config.entries_over(&defaults);
    let entry = |key| entries.iter().find(|e| e.key == key).unwrap();
    let shown = |e: &ConfigEntry| (e.value.clone(), e.default.clone(), e.source);
    assert_eq!(shown(entry("segment.bytes")), ("2000".into(), "1000".into(), ConfigSource::Topic));
    assert_eq!(shown(entry("retention.bytes")), ("5".into(), "5".into(), ConfigSource::Default));
    let unset = config.unset("segment.bytes").unwrap();
    assert_eq!(unset, TopicConfig::default());
    assert_eq!(
        unset.apply(&LogConfig::default().leader_epoch(-2)).unwrap_err().to_string(),
        "option `leader_epoch` is -2, but must be at least -1, which means unknown"
    );
}

#[test]
fn setting_without_effect_is_stored() {
    let config = TopicConfig::default().set("min.insync.replicas", "2").unwrap();
    assert_eq!(config.get("min.insync.replicas"), Some("2"));
    let entries = config.entries();
    let entry = entries.iter().find(|e| e.key == "min.insync.replicas").unwrap();
    assert_eq!((entry.value.as_str(), entry.option), ("2", None));
    let plain = TopicConfig::default().log_config().unwrap();
    assert_eq!(options(&config.log_config().unwrap()), options(&plain));
    assert_eq!(config.log(LogConfig::default()).get("min.insync.replicas"), Some("2"));
}
