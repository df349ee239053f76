//! The snapshot files of a log's producers, each named for the offset that it was taken at.

use crate::error::Result;
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

/// Returns the producers of the snapshot that was taken at an offset; none if there is no sound
/// one.
pub(crate) fn states_at(dir: &SegmentDir, offset: Offset) -> Result<Vec<ProducerState>> {
    let bytes = dir.read_small(&path_of(dir, offset, Kind::Snapshot), snapshot::MAX_BYTES)?;
    let states = bytes.and_then(|bytes| snapshot::decode(&bytes).ok());
    Ok(states.filter(|states| snapshot::is_possible(states, offset)).unwrap_or_default())
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
