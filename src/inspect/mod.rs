//! Inspecting single files of a log directory, without opening a log.
//!
//! Tools use this to read a log that does not open, or the files of a broker. It takes no lock,
//! changes nothing and trusts no content. It reads files of any length through a small buffer, and
//! never reads beyond the end of a file, whatever a length field says.
//!
//! | file | read with |
//! |---|---|
//! | `%020d.log` | [`BatchScanner`] |
//! | `%020d.index` | [`OffsetEntries`], [`check_index`] |
//! | `%020d.timeindex` | [`TimeEntries`], [`check_index`] |
//! | `%020d.txnindex` | [`TxnEntries`] |
//! | `%020d.snapshot` | [`producer_snapshot`] |
//! | `%020d.recent` | [`recent_batches`] |
//! | `…-offset-checkpoint` | [`offset_checkpoint`] |
//! | `leader-epoch-checkpoint` | [`epoch_checkpoint`] |
//! | `.kafka_cleanshutdown` | [`shutdown_marker`] |
//! | `partition.metadata` | [`partition_metadata`] |
//!
//! ```
//! use annals::fs::DiskFs;
//! use annals::inspect::{BatchScanner, FileKind, ScanItem};
//! use annals::{Log, LogConfig};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! let log = Log::open(dir.path(), LogConfig::default())?;
//! log.append("hello")?;
//! let path = dir.path().join("00000000000000000000.log");
//! assert_eq!(FileKind::of(&path), Some(FileKind::Log));
//! for piece in BatchScanner::open(&DiskFs, &path)? {
//!     match piece? {
//!         ScanItem::Batch(batch) => println!("{} {:?}", batch.position, batch.checksum),
//!         ScanItem::Damaged(damaged) => println!("{} {}", damaged.position, damaged.reason),
//!     }
//! }
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! The small files of a store after a close:
//!
//! ```
//! use annals::fs::MemFs;
//! use annals::inspect::{OffsetEntries, check_index, offset_checkpoint, partition_metadata};
//! use annals::{Store, StoreConfig, TopicConfig};
//! use std::path::Path;
//!
//! let fs = MemFs::new();
//! let store = Store::open("data", StoreConfig::default().fs(fs.clone()))?;
//! store.create_topic("orders", TopicConfig::default())?.partition(0)?.append("paid")?;
//! let id = store.topic("orders")?.id();
//! store.close()?;
//!
//! let recovery = Path::new("data/recovery-point-offset-checkpoint");
//! assert_eq!(offset_checkpoint(&fs, recovery)?[0].offset, 1);
//! let metadata = partition_metadata(&fs, Path::new("data/orders-0/partition.metadata"))?;
//! assert_eq!(metadata.topic_id, id.to_string());
//!
//! let index = Path::new("data/orders-0/00000000000000000000.index");
//! assert_eq!(OffsetEntries::open(&fs, index)?.count(), 0);
//! check_index(&fs, index, &mut |problem| panic!("{problem}"))?;
//! # Ok::<(), annals::Error>(())
//! ```
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(not(test), deny(clippy::panic, clippy::unreachable))]

mod check;
mod entries;
mod scanner;
mod small;
#[cfg(test)]
mod tests;
mod window;

pub use crate::checkpoint::OffsetCheckpointEntry;
pub use crate::producer_state::ProducerState;
pub use check::check_index;
pub use entries::{OffsetEntries, OffsetEntry, TimeEntries, TimeEntry, TxnEntries, TxnEntry};
pub use scanner::{BatchScanner, DamagedRange, ScanItem, ScannedBatch};
pub use small::{
    PartitionMetadata, RecentBatch, ShutdownMarker, epoch_checkpoint, offset_checkpoint,
    partition_metadata, producer_snapshot, recent_batches, shutdown_marker,
};

use crate::checkpoint::{
    CLEAN_SHUTDOWN, CLEANED, HIGH_WATERMARK, LEADER_EPOCHS, LOG_START, PARTITION_METADATA,
    RECOVERY_POINT,
};
use crate::error::{Corruption, CorruptionKind, Error};
use crate::types::{MAX_OFFSET, Offset};
use std::path::Path;

/// The kind of a file of a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// Record batches.
    Log,
    /// Positions in the log by offset.
    OffsetIndex,
    /// Offsets by timestamp.
    TimeIndex,
    /// Aborted transactions.
    TxnIndex,
    /// Producers as of an offset.
    Snapshot,
    /// The last batches of the producers of a snapshot. Only this crate writes it.
    Recent,
    /// Offsets of partitions, as text.
    OffsetCheckpoint,
    /// The offset at which each leader epoch began, as text.
    EpochCheckpoint,
    /// The marker of a clean shutdown.
    ShutdownMarker,
    /// The id of the partition's topic.
    PartitionMetadata,
}

impl FileKind {
    /// Returns the kind of a file by its name; `None` if the name does not belong to a log
    /// directory.
    ///
    /// The suffixes of files that are being replaced or removed are ignored.
    #[must_use]
    pub fn of(path: &Path) -> Option<FileKind> {
        let name = live_name(path)?;
        match name.as_str() {
            RECOVERY_POINT | LOG_START | CLEANED | HIGH_WATERMARK => {
                return Some(FileKind::OffsetCheckpoint);
            }
            LEADER_EPOCHS => return Some(FileKind::EpochCheckpoint),
            CLEAN_SHUTDOWN => return Some(FileKind::ShutdownMarker),
            PARTITION_METADATA => return Some(FileKind::PartitionMetadata),
            _ => {}
        }
        match name.rsplit_once('.')?.1 {
            "log" => Some(FileKind::Log),
            "index" => Some(FileKind::OffsetIndex),
            "timeindex" => Some(FileKind::TimeIndex),
            "txnindex" => Some(FileKind::TxnIndex),
            "snapshot" => Some(FileKind::Snapshot),
            "recent" => Some(FileKind::Recent),
            _ => None,
        }
    }
}

/// Returns the name that a file has, or had, while it is in use.
fn live_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let suffixes = [".swap", ".cleaned", ".deleted", ".tmp"];
    let live = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    Some(live.unwrap_or(&name).to_owned())
}

/// Returns the base offset in the name of a segment file; 0 if there is none.
fn base_offset(path: &Path) -> Offset {
    let base = live_name(path).and_then(|name| name.split('.').next()?.parse().ok());
    base.filter(|base| *base <= MAX_OFFSET).unwrap_or(0)
}

fn corruption(
    path: &Path,
    position: u64,
    offset: Option<Offset>,
    reason: CorruptionKind,
) -> Corruption {
    Corruption { path: path.to_path_buf(), position, offset, reason }
}

fn malformed(path: &Path, position: u64, reason: &'static str) -> Error {
    Error::Corrupt(Box::new(corruption(path, position, None, CorruptionKind::Malformed(reason))))
}
