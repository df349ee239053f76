//! The files of a log directory, sorted by what they are.

use crate::checkpoint::META_PROPERTIES;
use crate::error::{Corruption, Error, Result};
use crate::event::EventSink;
use crate::fs::{Dir, DirEntry, EntryKind, Fs};
use crate::log::config::LogConfig;
use crate::log::files::data_checkpoints::key_of;
use crate::segment::SegmentDir;
use crate::segment::name::{Kind, Name, SegmentFile, Stage, is_of_system, listed};
use crate::segment::scan::{BatchStream, Step};
use crate::segment::txn_index::ENTRY_BYTES;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The files of a log directory, by kind.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) live: BTreeMap<(Offset, Kind), u64>,
    pub(crate) staged: BTreeMap<SegmentFile, u64>,
    pub(crate) temporary: Vec<String>,
    pub(crate) unknown: Vec<String>,
    known: bool,
    /// The directories in it with the name of a partition: `orders-0`.
    partitions: Vec<String>,
}

impl Listing {
    pub(crate) fn read(dir: &SegmentDir) -> Result<Listing> {
        let entries = dir.fs.list(&dir.path).map_err(|e| Error::list(&dir.path, e))?;
        let mut listing = Listing::default();
        for DirEntry { name, kind, len } in entries {
            if kind == EntryKind::Directory && key_of(&name).is_some() {
                listing.partitions.push(name.clone());
            }
            match Name::parse(&name) {
                // Without this error, the records of this segment would be missing, and the
                // remaining segments would be a log that begins later.
                Name::Segment(file)
                    if kind == EntryKind::Other
                        && file == SegmentFile::live(file.base, Kind::Log) =>
                {
                    let reason = "not a regular file; symbolic links are not followed";
                    let error = io::Error::new(io::ErrorKind::InvalidInput, reason);
                    return Err(Error::io("open", &dir.path.join(name), error));
                }
                _ if kind != EntryKind::File => listing.unknown.push(name),
                Name::Segment(file) if file.stage == Stage::Live => {
                    listing.live.insert((file.base, file.kind), len);
                }
                Name::Segment(file) => {
                    listing.staged.insert(file, len);
                }
                Name::Known | Name::Quarantined => listing.known = true,
                Name::Temporary => listing.temporary.push(name),
                Name::Unknown => listing.unknown.push(name),
            }
        }
        Ok(listing)
    }

    /// Returns the base offsets and lengths of the live log files, in order.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (Offset, u64)> {
        self.live
            .iter()
            .filter(|((_, kind), _)| *kind == Kind::Log)
            .map(|((base, _), len)| (*base, *len))
    }

    /// Returns the number of entries in the indexes of aborted transactions.
    pub(crate) fn aborted_transactions(&self) -> u64 {
        let has_log = |base| self.live.contains_key(&(base, Kind::Log));
        let indexes =
            self.live.iter().filter(|((base, kind), _)| *kind == Kind::TxnIndex && has_log(*base));
        let entries = indexes.map(|(_, len)| len / ENTRY_BYTES as u64);
        entries.fold(0, u64::saturating_add)
    }

    /// Returns the highest offset of a snapshot of the producers.
    pub(crate) fn last_snapshot(&self) -> Option<Offset> {
        let snapshots = self.live.keys().filter(|(_, kind)| *kind == Kind::Snapshot);
        snapshots.map(|(offset, _)| *offset).max()
    }

    /// Returns whether there is an index of the segment with this base.
    pub(crate) fn has_index(&self, base: Offset) -> bool {
        [Kind::OffsetIndex, Kind::TimeIndex, Kind::TxnIndex]
            .iter()
            .any(|kind| self.live.contains_key(&(base, *kind)))
    }

    /// Returns whether the directory holds no file of a log and none of another program.
    pub(crate) fn is_empty(&self) -> bool {
        let Listing { live, staged, temporary, unknown, known, partitions: _ } = self;
        let is_ours = *known || !live.is_empty() || !staged.is_empty() || !temporary.is_empty();
        !is_ours && unknown.iter().all(|name| is_of_system(name))
    }

    /// Returns whether the same files are there, whatever their lengths.
    pub(crate) fn names_same(&self, other: &Listing) -> bool {
        self.live.keys().eq(other.live.keys()) && self.staged.keys().eq(other.staged.keys())
    }

    /// Returns the complete replacements: those below the lowest unfinished one. A replacement at
    /// or above it belongs to the same unfinished set.
    pub(crate) fn replacements(&self) -> impl Iterator<Item = (SegmentFile, u64)> {
        let staged = |stage| self.staged.iter().filter(move |(file, _)| file.stage == stage);
        let unfinished = staged(Stage::Cleaned).map(|(file, _)| file.base).min();
        staged(Stage::Swap)
            .filter(move |(file, _)| unfinished.is_none_or(|lowest| file.base < lowest))
            .map(|(file, len)| (*file, *len))
    }

    /// Fails for a directory that has files of another program and no file of a log. It is not an
    /// empty log.
    pub(crate) fn check(&self, dir: &SegmentDir) -> Result<()> {
        let has_segments = !self.live.is_empty() || !self.staged.is_empty();
        if !has_segments && self.holds_logs(dir) {
            let logs = listed(&self.partitions).unwrap_or_else(|| "logs".to_owned());
            let reason = format!(
                "it holds {logs}, and is not a log itself; open it as a store, or give the \
                 directory of one log"
            );
            return Err(Error::not_a_log(&dir.path, reason));
        }
        let others = self.unknown.iter().filter(|name| !is_of_system(name));
        match listed(others) {
            Some(others) if !self.known && !has_segments => {
                let reason =
                    format!("it holds {others}, and no segment; give the log its own directory");
                Err(Error::not_a_log(&dir.path, reason))
            }
            _ => Ok(()),
        }
    }

    /// Returns whether the directory holds logs: a subdirectory with the name of a partition has a
    /// segment, or the files of a broker lie beside it. Names alone do not tell: `dbus-1` is the
    /// name of a partition, too.
    fn holds_logs(&self, dir: &SegmentDir) -> bool {
        let has_segment = |name: &String| {
            let entries = dir.fs.list(&dir.path.join(name)).unwrap_or_default();
            entries.iter().any(|entry| SegmentFile::parse(&entry.name).is_some())
        };
        // A broker keeps its checkpoints, named like those of a log, and a lock above its logs.
        let of_a_broker = self.known || self.unknown.iter().any(|name| name == META_PROPERTIES);
        !self.partitions.is_empty() && (of_a_broker || self.partitions.iter().any(has_segment))
    }
}

pub(crate) fn segment_dir(
    fs: &Arc<dyn Fs>,
    path: &Path,
    config: &LogConfig,
    writable: bool,
) -> SegmentDir {
    let events = EventSink::new(config.listener.clone());
    let dir = Dir::new(Arc::clone(fs), path.to_path_buf(), events, writable);
    SegmentDir::new(dir, config.index_interval_bytes)
}

/// Returns the offset after the last batch of a replacement, all of which was synced before it got
/// its name. For a replacement without a batch, returns the offset after its base, because the old
/// indexes of its base must not stay beside it.
pub(crate) fn end_of_replacement(dir: &SegmentDir, file: SegmentFile) -> Result<Offset> {
    let path = dir.path_of(file);
    let fail = |e| Error::io("read", &path, e);
    let opened = dir.fs.open(&path, crate::fs::OpenMode::ReadOnly).map_err(fail)?;
    let bytes = opened.len().map_err(fail)?;
    let mut stream = BatchStream::new(opened, 0, file.base);
    loop {
        match stream.advance(bytes, Offset::MAX).map_err(fail)? {
            Step::End => return Ok(stream.lowest().max(file.base.saturating_add(1))),
            Step::Batch(_) => {}
            Step::Damaged(reason) => {
                return Err(Error::Corrupt(Box::new(Corruption {
                    path: path.clone(),
                    position: stream.position(),
                    offset: Some(stream.lowest()),
                    reason,
                })));
            }
        }
    }
}
