//! Room that is set aside for a full disk.
//!
//! Whatever frees room has to write a little first: where the log starts now, or that a topic is
//! to be deleted. On a full file system there is neither a block nor an inode for the temporary
//! file of such a write. So each directory that is open for writing keeps a few files of real
//! bytes, and one of them becomes the temporary one. Giving its room back to the file system
//! instead would not do: an append of another thread would take it. Their names are long, because
//! a directory may have no room for another name either: then one of them is removed for that.
//!
//! What is replaced frees about as much as the reserve lost, and the file is made again at once,
//! where the file system allows that: xfs creates none without room for a whole chunk of inodes.
//! There are as many files as the longest of the calls that free room writes: `truncate_to` inside
//! of a batch of a compacted log. They are missing in a directory that was full before it was
//! first opened.

use crate::event::{Event, EventSink};
use crate::fs::{File, Fs, OpenMode};
use crate::segment::name::RESERVES;
use crate::sync::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The least that one file holds: more than the small files of one log ever need.
const LEAST_BYTES: u64 = 4 << 10;

/// The most that one file grows to. What is larger finds room of its own, or none.
const MOST_BYTES: u64 = 64 << 20;

/// Files that are given up, one by one, when a full disk leaves no room for what must be written.
#[derive(Debug)]
pub(crate) struct Reserve {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    events: EventSink,
    /// Held while files are made or given up: that is seldom, and nothing on the way of an append
    /// or a read.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// How many bytes each file has; 0 when it is not there, or taken.
    bytes: [u64; RESERVES.len()],
    /// Which are another thread's at the moment: they are neither made nor filled.
    taken: [bool; RESERVES.len()],
    /// How many each should have.
    wanted: u64,
    /// Whether it was reported that they cannot be made.
    reported: bool,
}

impl Reserve {
    /// The reserve of a directory. Nothing is looked at or written before [`fill`](Reserve::fill).
    pub(crate) fn new(fs: &Arc<dyn Fs>, dir: &Path, events: &EventSink) -> Reserve {
        let (fs, dir, events) = (Arc::clone(fs), dir.to_path_buf(), events.clone());
        let (bytes, taken) = ([0; RESERVES.len()], [false; RESERVES.len()]);
        let state = State { bytes, taken, wanted: LEAST_BYTES, reported: false };
        Reserve { fs, dir, events, state: Mutex::new(state) }
    }

    /// Looks which of the files are there. What opens a directory may need them before it can fill
    /// them.
    pub(crate) fn find(&self) {
        let mut state = self.state.lock();
        for (name, bytes) in RESERVES.iter().zip(&mut state.bytes) {
            let file = self.fs.open(&self.dir.join(name), OpenMode::ReadOnly);
            *bytes = file.and_then(|file| file.len()).unwrap_or(0);
        }
    }

    /// Notes the size of a file that must find room in it. It grows to that when it is filled
    /// next.
    pub(crate) fn note(&self, bytes: u64) {
        let mut state = self.state.lock();
        if bytes > state.wanted {
            state.wanted = bytes.checked_next_power_of_two().unwrap_or(MOST_BYTES).min(MOST_BYTES);
        }
    }

    /// Makes the files that are missing or too small, if there is room. It is reported once when
    /// there is none.
    pub(crate) fn fill(&self) {
        let mut state = self.state.lock();
        let State { bytes, taken, wanted, reported } = &mut *state;
        let mut failed = None;
        for ((name, bytes), is_taken) in RESERVES.iter().zip(bytes).zip(taken) {
            if *bytes >= *wanted || *is_taken {
                continue;
            }
            let path = self.dir.join(name);
            match self.make(&path, *wanted) {
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

    /// Bytes that were only allocated would not do: file systems need room to mark them as
    /// written.
    fn make(&self, path: &Path, wanted: u64) -> io::Result<()> {
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
        // What an interrupted run left may be shorter than what was written.
        let zeros = vec![0; usize::try_from(LEAST_BYTES).map_err(io::Error::other)?];
        while at < wanted {
            let rest = usize::try_from(wanted.saturating_sub(at)).unwrap_or(usize::MAX);
            let piece = zeros.get(..rest.min(zeros.len())).unwrap_or_default();
            file.write_all_at(piece, at)?;
            at = at.saturating_add(piece.len() as u64);
        }
        file.sync_all()
    }

    /// Takes one of the files, which is the caller's to write into and to rename then. One that is
    /// not there was removed to make room: it counts as missing from then on.
    pub(crate) fn take(&self) -> io::Result<Option<(Taken<'_>, Arc<dyn File>)>> {
        while let Some(taken) = self.take_any() {
            match self.fs.open(&taken.path, OpenMode::ReadWrite) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => return opened.map(|file| Some((taken, file))),
            }
        }
        Ok(None)
    }

    /// Removes one of the files, for the room of its name. Says whether there was one.
    pub(crate) fn give_up(&self) -> io::Result<bool> {
        while let Some(taken) = self.take_any() {
            match self.fs.remove(&taken.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => return removed.map(|()| true),
            }
        }
        Ok(false)
    }

    fn take_any(&self) -> Option<Taken<'_>> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let files = RESERVES.iter().zip(&mut state.bytes).zip(&mut state.taken);
        for (number, ((name, bytes), is_taken)) in files.enumerate() {
            if *bytes > 0 {
                (*bytes, *is_taken) = (0, true);
                return Some(Taken { reserve: self, number, path: self.dir.join(name) });
            }
        }
        None
    }
}

/// A file of the reserve that was taken: until this is dropped, no other thread makes it anew. By
/// then it has another name, or is what is left of it.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    reserve: &'a Reserve,
    number: usize,
    pub(crate) path: PathBuf,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(is_taken) = self.reserve.state.lock().taken.get_mut(self.number) {
            *is_taken = false;
        }
    }
}
