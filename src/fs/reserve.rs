//! Room that is set aside for a full disk.
//!
//! Every operation that frees room first writes a little: the new start of the log, or the mark of
//! a topic that is to be deleted. On a full file system there is neither a block nor an inode for
//! the temporary file of such a write. So each directory that is open for writing keeps a few
//! files of real bytes, and one of them becomes the temporary file. Removing the file instead
//! would not help, because an append of another thread would take its room. The names of these
//! files are long, because a directory may have no room for another name either. In that case,
//! one of the files is removed to make room for a name.
//!
//! A replaced file frees about as much room as the reserve lost, and the reserve is filled again
//! at once. Not every file system allows that: xfs creates no file without room for a whole chunk
//! of inodes. There is one file for each write of the longest operation that frees room, which is
//! a `truncate_to` inside a batch of a compacted log. A directory whose disk was full before it
//! was first opened has no reserve.

use super::{File, Fs, OpenMode};
use crate::event::{Event, EventSink};
use crate::sync::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a reserve.
pub(crate) const RESERVE_FILES: [&str; 4] = [
    ".reserved-room-for-a-full-disk-0",
    ".reserved-room-for-a-full-disk-1",
    ".reserved-room-for-a-full-disk-2",
    ".reserved-room-for-a-full-disk-3",
];

/// The minimum size of one file: more than the small files of one log ever need.
const MIN_BYTES: u64 = 4 << 10;

/// The maximum size of one file. Larger content needs free room.
const MAX_BYTES: u64 = 64 << 20;

/// Files that are given up, one by one, when a full disk leaves no room for a write that must
/// happen.
#[derive(Debug)]
pub(crate) struct Reserve {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    events: EventSink,
    /// Held while files are created or given up. That is rare, and never happens during an append
    /// or a read.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The size of each file; 0 if it does not exist or is taken.
    bytes: [u64; RESERVE_FILES.len()],
    /// The files that another thread uses at the moment: they are neither created nor filled.
    taken: [bool; RESERVE_FILES.len()],
    /// The size that each file should have.
    wanted: u64,
    /// Whether it was reported that the files cannot be created.
    reported: bool,
}

impl Reserve {
    /// Creates the reserve of a directory. It touches no file before [`fill`](Reserve::fill).
    pub(crate) fn new(fs: &Arc<dyn Fs>, dir: &Path, events: &EventSink) -> Reserve {
        let (fs, dir, events) = (Arc::clone(fs), dir.to_path_buf(), events.clone());
        let (bytes, taken) = ([0; RESERVE_FILES.len()], [false; RESERVE_FILES.len()]);
        let state = State { bytes, taken, wanted: MIN_BYTES, reported: false };
        Reserve { fs, dir, events, state: Mutex::new(state) }
    }

    /// Looks up which of the files exist: the opening of a directory may need them before it can
    /// fill them.
    pub(crate) fn find(&self) {
        let mut state = self.state.lock();
        for (name, bytes) in RESERVE_FILES.iter().zip(&mut state.bytes) {
            let file = self.fs.open(&self.dir.join(name), OpenMode::ReadOnly);
            *bytes = file.and_then(|file| file.len()).unwrap_or(0);
        }
    }

    /// Records the size of a file that must fit into the reserve. The reserve grows to that size
    /// when it is next filled.
    pub(crate) fn require(&self, bytes: u64) {
        let mut state = self.state.lock();
        if bytes > state.wanted {
            state.wanted = bytes.checked_next_power_of_two().unwrap_or(MAX_BYTES).min(MAX_BYTES);
        }
    }

    /// Creates the files that are missing or too small, if there is room. Reports once that there
    /// is none.
    pub(crate) fn fill(&self) {
        let mut state = self.state.lock();
        let State { bytes, taken, wanted, reported } = &mut *state;
        let mut failed = None;
        for ((name, bytes), is_taken) in RESERVE_FILES.iter().zip(bytes).zip(taken) {
            if *bytes >= *wanted || *is_taken {
                continue;
            }
            let path = self.dir.join(name);
            match self.write_zeros(&path, *wanted) {
                Ok(()) => *bytes = *wanted,
                Err(error) => {
                    failed = Some((path, error));
                    break;
                }
            }
        }
        let was_reported = std::mem::replace(reported, failed.is_some());
        drop(state);
        if let Some((path, error)) = failed.filter(|_| !was_reported) {
            self.events.emit(&Event::CheckpointFailed { path, error: error.to_string() });
        }
    }

    /// Extends a file with written bytes. Allocated bytes are not enough: file systems need room
    /// to mark them as written.
    fn write_zeros(&self, path: &Path, wanted: u64) -> io::Result<()> {
        let file = match self.fs.open(path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.fs.open(path, OpenMode::CreateNew)?
            }
            opened => opened?,
        };
        let mut at = file.len()?;
        if at >= wanted {
            return Ok(());
        }
        // An interrupted run may have left a shorter file than it was writing.
        let zeros = vec![0; usize::try_from(MIN_BYTES).map_err(io::Error::other)?];
        while at < wanted {
            let rest = usize::try_from(wanted.saturating_sub(at)).unwrap_or(usize::MAX);
            let piece = zeros.get(..rest.min(zeros.len())).unwrap_or_default();
            file.write_all_at(piece, at)?;
            at = at.saturating_add(piece.len() as u64);
        }
        file.sync_all()
    }

    /// Takes one of the files. The caller writes into it and renames it. A file that no longer
    /// exists was removed to make room, and counts as missing from then on.
    pub(crate) fn take(&self) -> io::Result<Option<(TakenFile<'_>, Arc<dyn File>)>> {
        while let Some(taken) = self.take_any() {
            match self.fs.open(&taken.path, OpenMode::ReadWrite) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened.map(|file| Some((taken, file))),
            }
        }
        Ok(None)
    }

    /// Removes one of the files for the room of its name. Returns whether there was one.
    pub(crate) fn give_up(&self) -> io::Result<bool> {
        while let Some(taken) = self.take_any() {
            match self.fs.remove(&taken.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => return removed.map(|()| true),
            }
        }
        Ok(false)
    }

    fn take_any(&self) -> Option<TakenFile<'_>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let files = RESERVE_FILES.iter().zip(&mut state.bytes).zip(&mut state.taken);
        for (number, ((name, bytes), is_taken)) in files.enumerate() {
            if *bytes > 0 {
                (*bytes, *is_taken) = (0, true);
                return Some(TakenFile { reserve: self, number, path: self.dir.join(name) });
            }
        }
        None
    }
}

/// A file of the reserve in use. No other thread creates it anew before this is dropped; by then
/// the file has another name, or is a leftover.
#[derive(Debug)]
pub(crate) struct TakenFile<'a> {
    reserve: &'a Reserve,
    number: usize,
    pub(crate) path: PathBuf,
}

impl Drop for TakenFile<'_> {
    fn drop(&mut self) {
        if let Some(is_taken) = self.reserve.state.lock().taken.get_mut(self.number) {
            *is_taken = false;
        }
    }
}
