//! The options of an open log: those that stay, and those that can be altered.
//!
//! An open log keeps no other copy of its [`LogConfig`], so each option is read in one place. The
//! options that an append reads are in atomics, so that it takes no lock for them. An alteration
//! is not one step: an append meanwhile may see some of the new values and some of the old.

use crate::clock::Clock;
use crate::log::config::LogConfig;
use crate::producer_state::TransactionRules;
use crate::record::{AppendRules, Compression};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::types::{Timestamp, TimestampType};
use std::sync::Arc;
use std::time::Duration;

/// The options of an open log that stay as they were when it was opened.
#[derive(Debug)]
pub(crate) struct FixedConfig {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) max_decompressed_bytes: usize,
    pub(crate) producer_id_expiration: Duration,
    pub(crate) transactions: TransactionRules,
    pub(crate) replicated: bool,
}

impl FixedConfig {
    pub(crate) fn new(config: &LogConfig) -> FixedConfig {
        FixedConfig {
            clock: Arc::clone(&config.clock),
            max_decompressed_bytes: config.max_decompressed_bytes,
            producer_id_expiration: config.producer_id_expiration,
            transactions: config.transactions,
            replicated: config.replicated,
        }
    }
}

/// The options of an open log that can be altered, as they are now.
#[derive(Debug)]
pub(crate) struct DynamicConfig {
    /// Leaf lock, held to take or store the pointer.
    current: RwLock<Arc<LogConfig>>,
    compression: AtomicU64,
    max_message_bytes: AtomicU64,
    segment_bytes: AtomicU64,
    index_bytes: AtomicU64,
    flush_messages: AtomicU64,
    flush_interval_millis: AtomicU64,
    append_time: AtomicBool,
    before_max_millis: AtomicU64,
    after_max_millis: AtomicU64,
    keys_required: AtomicBool,
}

impl DynamicConfig {
    pub(crate) fn new(config: &LogConfig) -> DynamicConfig {
        let dynamic = DynamicConfig {
            current: RwLock::new(Arc::new(config.clone())),
            compression: AtomicU64::new(0),
            max_message_bytes: AtomicU64::new(0),
            segment_bytes: AtomicU64::new(0),
            index_bytes: AtomicU64::new(0),
            flush_messages: AtomicU64::new(0),
            flush_interval_millis: AtomicU64::new(0),
            append_time: AtomicBool::new(false),
            before_max_millis: AtomicU64::new(0),
            after_max_millis: AtomicU64::new(0),
            keys_required: AtomicBool::new(false),
        };
        dynamic.set(config);
        dynamic
    }

    /// Returns all options, for rare uses. The fixed ones are those of the opening.
    pub(crate) fn current(&self) -> Arc<LogConfig> {
        Arc::clone(&self.current.read())
    }

    /// Applies other options from now on, as far as they can be altered.
    pub(crate) fn set(&self, config: &LogConfig) {
        let rules = config.append_rules();
        let set = |atomic: &AtomicU64, value| atomic.store(value, Ordering::Relaxed);
        set(&self.compression, pack(config.compression));
        set(&self.max_message_bytes, config.max_message_bytes);
        set(&self.segment_bytes, config.segment_bytes);
        set(&self.index_bytes, config.index_bytes);
        set(&self.flush_messages, config.flush_messages);
        set(&self.flush_interval_millis, millis(config.flush_interval));
        set(&self.before_max_millis, rules.before_max_millis);
        set(&self.after_max_millis, rules.after_max_millis);
        let append_time = rules.timestamp_type == TimestampType::LogAppendTime;
        self.append_time.store(append_time, Ordering::Relaxed);
        self.keys_required.store(rules.keys_required, Ordering::Relaxed);
        let mut current = self.current.write();
        *current = Arc::new(config.clone().with_fixed_of(&current));
    }

    #[inline(always)]
    pub(crate) fn compression(&self) -> Option<Compression> {
        unpack(self.compression.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn max_message_bytes(&self) -> u64 {
        self.max_message_bytes.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn index_bytes(&self) -> u64 {
        self.index_bytes.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn flush_messages(&self) -> u64 {
        self.flush_messages.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn flush_interval(&self) -> Duration {
        Duration::from_millis(self.flush_interval_millis.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn timestamp_type(&self) -> TimestampType {
        if self.append_time.load(Ordering::Relaxed) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Returns the present rules for appends.
    #[inline(always)]
    pub(crate) fn rules(&self, now: Timestamp) -> AppendRules {
        AppendRules {
            timestamp_type: self.timestamp_type(),
            now,
            before_max_millis: self.before_max_millis.load(Ordering::Relaxed),
            after_max_millis: self.after_max_millis.load(Ordering::Relaxed),
            keys_required: self.keys_required.load(Ordering::Relaxed),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a codec and its level in one word: the codec in the upper half, the level in the lower.
fn pack(compression: Option<Compression>) -> u64 {
    let word = |kind: u64, level: i32| (kind << 32) | u64::from(level.cast_unsigned());
    match compression {
        None => word(0, 0),
        Some(Compression::None) => word(1, 0),
        Some(Compression::Gzip { level }) => word(2, level),
        Some(Compression::Snappy) => word(3, 0),
        Some(Compression::Lz4) => word(4, 0),
        Some(Compression::Zstd { level }) => word(5, level),
    }
}

#[inline(always)]
fn unpack(word: u64) -> Option<Compression> {
    if word == 0 {
        return None;
    }
    let level = (word as u32).cast_signed();
    Some(match word >> 32 {
        2 => Compression::Gzip { level },
        3 => Compression::Snappy,
        4 => Compression::Lz4,
        5 => Compression::Zstd { level },
        _ => Compression::None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_compression_unpacks_unchanged() {
        let gzip = [-1, 1, 9].map(|level| Compression::Gzip { level });
        let zstd = [i32::MIN, -131_072, 0, 22].map(|level| Compression::Zstd { level });
        let plain = [Compression::None, Compression::Snappy, Compression::Lz4];
        for compression in gzip.into_iter().chain(zstd).chain(plain) {
            assert_eq!(unpack(pack(Some(compression))), Some(compression));
        }
        assert_eq!(unpack(pack(None)), None);
    }
}
