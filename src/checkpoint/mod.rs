//! The small files beside the segments: the state that a log keeps from one opening to the next.
//!
//! | file | format | content |
//! |---|---|---|
//! | `recovery-point-offset-checkpoint` | Kafka's text checkpoint | everything below was synced |
//! | `log-start-offset-checkpoint` | the same | the start of the log |
//! | `cleaner-offset-checkpoint` | the same | everything below was compacted |
//! | `replication-offset-checkpoint` | the same | all replicas have everything below |
//! | `leader-epoch-checkpoint` | Kafka's text | where each leader epoch began |
//! | `.kafka_cleanshutdown` | Kafka's JSON, with members of our own | the log was closed cleanly, and the state of its active segment |
//! | `.lock` | text | the process that has, or had, the directory open, and its boot of the machine |
//!
//! A broker and a store keep these files one directory higher, for all their logs, except for the
//! leader epochs. A broker ignores them beside the segments.

mod agreement;
mod clean_shutdown;
mod lock_file;
mod offsets;

pub(crate) use agreement::{Agreed, CONTRADICTION, LINES, lines_for, marking_digit};
pub(crate) use clean_shutdown::{CleanShutdown, format_clean_shutdowns, parse_clean_shutdowns};
pub(crate) use lock_file::{LOCK_FILE_BYTES, LockHolder};
pub use offsets::OffsetCheckpointEntry;
pub(crate) use offsets::{
    format_offset_checkpoint, parse_epoch_checkpoint, parse_offset_checkpoint, topic_partition,
};

/// The lock file: locked while the directory is open for writing. Its content names the holder.
pub(crate) const LOCK: &str = ".lock";
/// The marker of a clean shutdown: it exists while the log is closed cleanly.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// The recovery point: everything below the stored offset was synced.
pub(crate) const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// The first offset of the log, where that lies above the base of the first segment.
pub(crate) const LOG_START: &str = "log-start-offset-checkpoint";
/// The first offset that was not compacted yet.
pub(crate) const CLEANED: &str = "cleaner-offset-checkpoint";
/// The high watermark: all replicas have everything below the stored offset.
pub(crate) const HIGH_WATERMARK: &str = "replication-offset-checkpoint";
/// The offset at which each leader epoch began.
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// The ids of a data directory.
pub(crate) const META_PROPERTIES: &str = "meta.properties";
/// The id of the topic that a log is a partition of.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
/// The settings of the topic that a log is the first partition of.
pub(crate) const TOPIC_PROPERTIES: &str = "topic.properties";
