//! The file of the leader epochs, `leader-epoch-checkpoint`, and its copy in memory.
//!
//! An epoch is in the file, durably, before the first batch with it is written, and a truncation
//! updates the file after it has shortened the log. So after a crash the file lacks nothing that
//! the batches have, and what it has too much begins after the end of the log: an opening removes
//! that. If the file is damaged, or lacks epochs, it is rebuilt from the headers of all batches.

use crate::checkpoint::LEADER_EPOCHS;
use crate::epochs::LeaderEpochs;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::fs::WhenFull;
use crate::segment::headers::{HeaderWalk, Walked};
use crate::segment::index_files::stored_indexes;
use crate::segment::name::Kind;
use crate::segment::{Segment, SegmentDir};
use crate::sync::{Mutex, RwLock};
use crate::types::{LeaderEpoch, Offset};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// The maximum size of the file. A larger one is malformed.
const MAX_BYTES: u64 = 16 << 20;

/// The leader epochs of an open log.
#[derive(Debug)]
pub(crate) struct EpochFile {
    dir: Arc<SegmentDir>,
    /// Held while the file is replaced. Only a change of the epochs takes it: the first append of
    /// an epoch, a truncation, a deletion from the start. Readers do not.
    file: Mutex<FileState>,
    /// A leaf lock, held for a moment.
    epochs: RwLock<LeaderEpochs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileState {
    /// It has the epochs that are in memory.
    Current,
    /// It could not be written, and may have other epochs. The next change writes it.
    Stale,
}

impl EpochFile {
    /// Returns the epochs of a log that is being opened, and makes the file agree with the log.
    /// `at_close` is the number of epochs that the log had when it was closed cleanly.
    ///
    /// On a full disk the file may stay as it is: see [`is_stale`](EpochFile::is_stale).
    pub(crate) fn open(
        dir: &Arc<SegmentDir>,
        segments: &[Arc<Segment>],
        offsets: Range<Offset>,
        at_close: Option<u64>,
    ) -> Result<EpochFile> {
        let Loaded { epochs, is_stored } = load(dir, segments, offsets, at_close)?;
        let file = EpochFile::new(dir, epochs);
        if !is_stored {
            *file.file.lock() = FileState::Stale;
            match file.change(WhenFull::UseReserve, |_| true) {
                Err(error) if error.kind() == ErrorKind::StorageFull => file.report(&error),
                stored => stored?,
            }
        }
        Ok(file)
    }

    /// Creates the epochs of a read-only log, which reads the file when it is asked for them.
    pub(crate) fn to_read(dir: &Arc<SegmentDir>) -> EpochFile {
        EpochFile::new(dir, LeaderEpochs::default())
    }

    fn new(dir: &Arc<SegmentDir>, epochs: LeaderEpochs) -> EpochFile {
        let (file, epochs) = (Mutex::new(FileState::Current), RwLock::new(epochs));
        EpochFile { dir: Arc::clone(dir), file, epochs }
    }

    /// Looks something up. The lock is held meanwhile.
    pub(crate) fn look_up<T>(&self, look: impl FnOnce(&LeaderEpochs) -> T) -> T {
        look(&self.epochs.read())
    }

    /// Returns the latest epoch; -1 if there is none.
    pub(crate) fn latest(&self) -> LeaderEpoch {
        self.look_up(LeaderEpochs::latest)
    }

    /// Returns whether the file may have other epochs than the log. It must be written before the
    /// next batch is.
    pub(crate) fn is_stale(&self) -> bool {
        *self.file.lock() == FileState::Stale
    }

    /// Records durably that an epoch begins at an offset. If that fails, the file may have it or
    /// not. The caller holds the writer lock.
    pub(crate) fn assign(&self, epoch: LeaderEpoch, start: Offset) -> Result<()> {
        self.change(WhenFull::Fail, |epochs| epochs.assign(epoch, start))
    }

    /// Records durably where several epochs begin, as [`assign`](EpochFile::assign) does.
    pub(crate) fn assign_all(&self, epochs: &[(LeaderEpoch, Offset)]) -> Result<()> {
        self.change(WhenFull::Fail, |known| {
            let assign = |changed, (epoch, start): &(_, _)| known.assign(*epoch, *start) | changed;
            epochs.iter().fold(false, assign)
        })
    }

    /// Removes, durably, the epochs that begin at or above the new end of the log. The caller
    /// holds the change lock and the writer lock.
    pub(crate) fn truncate_from_end(&self, end: Offset) -> Result<()> {
        self.change(WhenFull::UseReserve, |epochs| epochs.truncate_from_end(end))
    }

    /// Removes the epochs that end below the new start of the log. If the file cannot be written,
    /// that is reported, and the next opening repeats it. The caller holds the change lock.
    pub(crate) fn truncate_from_start(&self, start: Offset) {
        let changed = self.change(WhenFull::Fail, |epochs| epochs.truncate_from_start(start));
        if let Err(error) = changed {
            self.epochs.write().truncate_from_start(start);
            self.report(&error);
        }
    }

    /// Applies a change to the file and then to memory.
    fn change(
        &self,
        when_full: WhenFull,
        change: impl FnOnce(&mut LeaderEpochs) -> bool,
    ) -> Result<()> {
        let mut state = self.file.lock();
        let mut next = self.look_up(LeaderEpochs::clone);
        if !change(&mut next) && *state == FileState::Current {
            return Ok(());
        }
        // A replacement that fails may have happened.
        *state = FileState::Stale;
        let (path, text) = (path_in(&self.dir), next.format());
        match when_full {
            WhenFull::Fail => self.dir.replace_if_room(&path, text.as_bytes())?,
            WhenFull::UseReserve => self.dir.replace(&path, text.as_bytes())?,
        }
        *state = FileState::Current;
        *self.epochs.write() = next;
        Ok(())
    }

    fn report(&self, error: &Error) {
        let (path, error) = (path_in(&self.dir), error.cause());
        self.dir.events.emit(&Event::CheckpointFailed { path, error });
    }
}

/// The epochs that the files of a log have.
pub(crate) struct Loaded {
    pub(crate) epochs: LeaderEpochs,
    /// Whether the file has exactly these.
    is_stored: bool,
}

/// Returns the epochs of a log with these segments and offsets, from the file or, if it is wrong,
/// from the batches.
///
/// An epoch that begins at the end of the log is kept: its leader has not appended anything yet.
/// Kafka drops it here, because a broker hears of its epoch again from the controller.
pub(crate) fn load(
    dir: &Arc<SegmentDir>,
    segments: &[Arc<Segment>],
    offsets: Range<Offset>,
    at_close: Option<u64>,
) -> Result<Loaded> {
    let stored = read(dir)?;
    let problem = match &stored {
        Err(reason) => Some(*reason),
        Ok(found) => problem_of(dir, found.as_ref(), segments, at_close)?,
    };
    let mut epochs = match problem {
        None => stored.ok().flatten().unwrap_or_default(),
        Some(reason) => {
            dir.events.emit(&Event::CheckpointIgnored { path: path_in(dir), reason });
            rebuild(segments)?
        }
    };
    let is_cut = epochs.truncate_from_end(offsets.end.saturating_add(1));
    let is_moved = epochs.truncate_from_start(offsets.start);
    Ok(Loaded { epochs, is_stored: problem.is_none() && !is_cut && !is_moved })
}

fn path_in(dir: &SegmentDir) -> PathBuf {
    dir.path.join(LEADER_EPOCHS)
}

/// Reads the file. Returns `None` if there is none.
fn read(dir: &SegmentDir) -> Result<Result<Option<LeaderEpochs>, &'static str>> {
    let Some(bytes) = dir.read_small(&path_in(dir), MAX_BYTES)? else { return Ok(Ok(None)) };
    let parsed = str::from_utf8(&bytes).map_err(|_| "it is not text").and_then(LeaderEpochs::parse);
    Ok(parsed.map(Some))
}

/// Returns what shows that the file lacks epochs.
fn problem_of(
    dir: &SegmentDir,
    found: Option<&LeaderEpochs>,
    segments: &[Arc<Segment>],
    at_close: Option<u64>,
) -> Result<Option<&'static str>> {
    let known = found.map_or(&[][..], LeaderEpochs::entries);
    let lacks = match at_close {
        Some(count) => (known.len() as u64) < count,
        None => last_epoch(dir, segments)? > found.map_or(-1, LeaderEpochs::latest),
    };
    let reason = if found.is_some() { "it lacks epochs of the log" } else { "it is missing" };
    Ok(lacks.then_some(reason))
}

/// Returns the epoch of the last batch of a log, from the headers after its last index entry; -1
/// if there is none.
fn last_epoch(dir: &SegmentDir, segments: &[Arc<Segment>]) -> Result<LeaderEpoch> {
    let Some(segment) = segments.iter().rfind(|segment| segment.published() > 0) else {
        return Ok(-1);
    };
    let bytes = segment.published();
    let indexes = match segment.is_sealed() {
        true => stored_indexes(dir, segment.base, bytes)?.ok().map(Arc::new),
        false => segment.indexes(Offset::MAX).ok(),
    };
    let entry = indexes.and_then(|indexes| {
        indexes.offsets.len().checked_sub(1).and_then(|last| indexes.offsets.get(last))
    });
    let mut latest = -1;
    for from in [entry.map_or(0, |entry| entry.position), 0] {
        let is_whole = walk(segment, from, |epoch, _| latest = epoch.max(latest))?;
        if is_whole || from == 0 {
            break;
        }
    }
    Ok(latest)
}

/// Returns the epochs of all batches, from their headers.
fn rebuild(segments: &[Arc<Segment>]) -> Result<LeaderEpochs> {
    let mut epochs = LeaderEpochs::default();
    for segment in segments {
        // A read of the records reports a damaged batch. The batches after it stay unknown.
        walk(segment, 0, |epoch, base_offset| epochs.observe(epoch, base_offset))?;
    }
    Ok(epochs)
}

/// Passes the epoch and base offset of each batch from a position on. Returns whether the headers
/// lead to the end of the segment.
fn walk(
    segment: &Segment,
    from: u64,
    mut observe: impl FnMut(LeaderEpoch, Offset),
) -> Result<bool> {
    let file = segment.file()?;
    let mut headers = HeaderWalk::new(&*file, from, segment.published());
    loop {
        match headers.next().map_err(|e| Error::io("read", &segment.path(Kind::Log), e))? {
            Walked::Batch { header, .. } => observe(header.leader_epoch, header.base_offset),
            Walked::End => return Ok(true),
            Walked::Invalid(_) => return Ok(false),
        }
    }
}
