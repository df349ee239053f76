//! The values of settings as text, in Kafka's format, and as options of a log.

use crate::log::CleanupPolicy;
use crate::record::Compression;
use crate::types::{Codec, TimestampType};
use std::time::Duration;

pub(super) mod bytes {
    pub(in crate::store::settings) fn text(bytes: u64) -> String {
        bytes.to_string()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<u64> {
        text.parse().ok()
    }
}

/// Kafka's largest number means no limit.
pub(super) mod count {
    pub(in crate::store::settings) fn text(count: u64) -> String {
        i64::try_from(count).unwrap_or(i64::MAX).to_string()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<u64> {
        let count: u64 = text.parse().ok()?;
        Some(if count < i64::MAX as u64 { count } else { u64::MAX })
    }
}

/// Less than a millisecond counts as one millisecond. A time that is longer than Kafka can
/// express counts as the longest.
pub(super) mod millis {
    use super::Duration;

    pub(in crate::store::settings) fn text(time: Duration) -> String {
        let millis = time.as_nanos().div_ceil(1_000_000);
        i64::try_from(millis).unwrap_or(i64::MAX).to_string()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<Duration> {
        text.parse().ok().map(Duration::from_millis)
    }
}

pub(super) mod size_limit {
    pub(in crate::store::settings) fn text(bytes: u64) -> String {
        i64::try_from(bytes).unwrap_or(-1).to_string()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<u64> {
        let bytes: i64 = text.parse().ok()?;
        Some(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}

pub(super) mod age_limit {
    use super::{Duration, millis};

    pub(in crate::store::settings) fn text(age: Duration) -> String {
        if age.as_millis() < i64::MAX as u128 { millis::text(age) } else { "-1".to_owned() }
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<Duration> {
        let age: i64 = text.parse().ok()?;
        Some(Duration::from_millis(u64::try_from(age).unwrap_or(i64::MAX as u64)))
    }
}

pub(super) mod ratio {
    pub(in crate::store::settings) fn text(ratio: f64) -> String {
        ratio.to_string()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<f64> {
        text.parse().ok()
    }
}

pub(super) mod switch {
    pub(in crate::store::settings) fn text(on: bool) -> String {
        on.to_string()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<bool> {
        [true, false].into_iter().find(|on| text.eq_ignore_ascii_case(&on.to_string()))
    }
}

pub(super) mod policy {
    use super::CleanupPolicy;

    pub(in crate::store::settings) fn text(policy: CleanupPolicy) -> String {
        let word = match policy {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactAndDelete => "compact,delete",
        };
        word.to_owned()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<CleanupPolicy> {
        let ways: Vec<&str> = text.split(',').map(str::trim).collect();
        if !ways.iter().all(|way| matches!(*way, "delete" | "compact")) {
            return None;
        }
        Some(match (ways.contains(&"delete"), ways.contains(&"compact")) {
            (true, true) => CleanupPolicy::CompactAndDelete,
            (true, false) => CleanupPolicy::Delete,
            _ => CleanupPolicy::Compact,
        })
    }
}

pub(super) mod stamp {
    use super::TimestampType;

    pub(in crate::store::settings) const WORDS: [&str; 2] = ["CreateTime", "LogAppendTime"];

    pub(in crate::store::settings) fn text(stamp: TimestampType) -> String {
        let word = match stamp {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        word.to_owned()
    }

    pub(in crate::store::settings) fn value(text: &str) -> Option<TimestampType> {
        match text {
            "CreateTime" => Some(TimestampType::CreateTime),
            "LogAppendTime" => Some(TimestampType::LogAppendTime),
            _ => None,
        }
    }
}

pub(super) mod compression {
    use super::{Codec, Compression};

    pub(in crate::store::settings) const WORDS: [&str; 6] =
        ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];

    pub(in crate::store::settings) fn text(compression: Option<Compression>) -> String {
        let word = match compression.map(Compression::codec) {
            None => "producer",
            Some(Codec::None) => "uncompressed",
            Some(codec) => codec.name(),
        };
        word.to_owned()
    }

    /// Returns the codec with its default level.
    pub(in crate::store::settings) fn value(text: &str) -> Option<Option<Compression>> {
        match text {
            "producer" => Some(None),
            "uncompressed" => Some(Some(Compression::None)),
            _ => {
                let named = Codec::ALL.into_iter().find(|codec| codec.name() == text)?;
                Some(Some(Compression::of(named)))
            }
        }
    }
}
