//! The snapshot files of a log's producers, each named for the offset that it was taken at.

use crate::error::{Error, Result};
use crate::fs::{DirEntry, EntryKind};
use crate::producer_state::{ProducerState, snapshot};
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, Name, SegmentFile, Stage};
use crate::types::Offset;
use std::collections::BTreeSet;
use std::path::PathBuf;

pub(crate) fn path_of(dir: &SegmentDir, offset: Offset, kind: Kind) -> PathBuf {
    dir.path_of(SegmentFile::live(offset, kind))
}

/// Returns the offsets for which there is a file of a kind.
pub(crate) fn stored_offsets(entries: &[DirEntry], kind: Kind) -> BTreeSet<Offset> {
    let offset = |entry: &DirEntry| match Name::parse(&entry.name) {
        _ if entry.kind != EntryKind::File => None,
        Name::Segment(file) if file == SegmentFile::live(file.base, kind) => Some(file.base),
        _ => None,
    };
    entries.iter().filter_map(offset).collect()
}

/// Returns the producers of the snapshot that was taken at an offset, if there is a sound one.
pub(crate) fn states_at(dir: &SegmentDir, offset: Offset) -> Result<Option<Vec<ProducerState>>> {
    let bytes = dir.read_small(&path_of(dir, offset, Kind::Snapshot), snapshot::MAX_BYTES)?;
    let states = bytes.and_then(|bytes| snapshot::decode(&bytes).ok());
    Ok(states.filter(|states| snapshot::is_possible(states, offset)))
}

/// Renames snapshots so that no opening uses them, durably, and removes them.
pub(crate) fn remove_snapshots(dir: &SegmentDir, offsets: &[Offset]) -> Result<()> {
    let deleted = |offset: &Offset| SegmentFile {
        stage: Stage::Deleted,
        ..SegmentFile::live(*offset, Kind::Snapshot)
    };
    for offset in offsets {
        dir.set_aside(SegmentFile::live(*offset, Kind::Snapshot))?;
    }
    if !offsets.is_empty() {
        dir.sync()?;
    }
    offsets.iter().for_each(|offset| dir.discard(deleted(offset)));
    Ok(())
}

/// Removes the snapshots below an offset in which a transaction is open, durably.
///
/// Compaction is about to remove a marker there. A replay that began at such a snapshot would find
/// the transaction open, and take the next one of its producer for a part of it, which began too
/// early. One that begins below it, or above the marker, does not.
pub(crate) fn forget_open_transactions(dir: &SegmentDir, end: Offset) -> Result<()> {
    let entries = dir.fs.list(&dir.path).map_err(|error| Error::list(&dir.path, error))?;
    let mut open = Vec::new();
    for offset in stored_offsets(&entries, Kind::Snapshot).range(..end) {
        let states = states_at(dir, *offset)?;
        if states.iter().flatten().any(|state| state.current_txn_first_offset >= 0) {
            open.push(*offset);
        }
    }
    remove_snapshots(dir, &open)
}
