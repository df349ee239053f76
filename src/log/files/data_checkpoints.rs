//! The checkpoints of all logs of a data directory: one line for each log in Kafka's files.
//!
//! Reads are answered from memory. A value that is set is in the file before the call returns.
//! Calls that arrive while the file is written share the next write. The values of logs that are
//! opened or closed together are held back until they are [committed](DataCheckpoints::commit), so
//! that ten thousand logs make one write of each file. That holds for these logs alone: a value
//! that any other log sets meanwhile is written.

use crate::checkpoint::{
    Agreed, CLEAN_SHUTDOWN, CleanShutdown, LINES, OffsetCheckpointEntry, format_clean_shutdowns,
    format_offset_checkpoint, lines_for, parse_clean_shutdowns, parse_offset_checkpoint,
    topic_partition,
};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Event};
use crate::fs::{Dir, Reserve};
use crate::log::files::checkpoint::{Checkpoint, LARGEST_FILE_BYTES, change_second_line};
use crate::sync::Mutex;
use crate::types::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log of a data directory: its topic and its partition.
pub(crate) type Key = (String, i32);

/// Returns the log whose directory has this name, if that is the name of a partition.
pub(crate) fn key_of(name: &str) -> Option<Key> {
    let key = topic_partition(Path::new(name));
    (name_of(&key) == name).then_some(key)
}

/// Returns the name of the directory of a log.
pub(crate) fn name_of((topic, partition): &Key) -> String {
    format!("{topic}-{partition}")
}

/// The lines of one file.
#[derive(Debug, Default)]
struct Lines {
    offsets: BTreeMap<Key, Offset>,
    /// How often a line was set.
    set: u64,
    /// The value of `set` when the file was last written.
    written: u64,
    /// Whether a line was set since the last write that must reach the file, because the stored
    /// line claims too much.
    must: bool,
}

impl Lines {
    /// Makes the next write include the line of a log, if there is one.
    fn rewrite(&mut self, log: &Key) {
        self.set = self.set.saturating_add(u64::from(self.offsets.contains_key(log)));
    }
}

/// The state of the marker of a clean shutdown since the directory was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mark {
    #[default]
    Gone,
    /// The file is there as it was. A broker's has more in it than ours.
    There,
    /// The file may be there: removing it was tried.
    Doubtful,
}

#[derive(Debug, Default)]
struct State {
    lines: [Lines; 4],
    /// The logs that were closed cleanly, by the name of their directory.
    closed: BTreeMap<String, CleanShutdown>,
    /// The logs whose recovery point another program wrote last.
    foreign: Foreign,
    /// The logs that were recovered since the power loss, if there was one. A log in this list
    /// that is opened again was closed after the power loss, and lost nothing in it.
    recovered: BTreeSet<Key>,
    /// The logs whose recovery point does not confirm the start.
    doubted: BTreeSet<Key>,
    /// Whether the marker of a clean shutdown was there when the directory was opened.
    was_marked: bool,
    mark: Mark,
    /// Whether all values are held back until the commit, because no log has a user yet.
    all_held: bool,
    /// The logs whose values are held back, because they are opened or closed with others.
    held: BTreeSet<Key>,
}

/// Tells the logs that this crate had open last from the logs of another program, which writes
/// each line once.
#[derive(Debug, Default)]
struct Foreign {
    /// Whether another program had the directory open last, or there were recovery points when it
    /// was opened. Then a log without one came from elsewhere; otherwise the recovery points are
    /// lost.
    is_any: bool,
    ours: BTreeSet<Key>,
}

impl Foreign {
    fn note(&mut self, checkpoint: Checkpoint, lines: &BTreeMap<Key, Vec<Offset>>) {
        match checkpoint {
            Checkpoint::RecoveryPoint => {
                self.is_any = true;
                let ours = lines.iter().filter(|(_, lines)| lines.len() >= LINES);
                self.ours.extend(ours.map(|(key, _)| key.clone()));
            }
            // A single line here: another program has compacted the log after this crate wrote its
            // recovery point.
            Checkpoint::Cleaned => {
                self.ours.retain(|key| lines.get(key).is_none_or(|lines| lines.len() >= LINES));
            }
            Checkpoint::Start | Checkpoint::HighWatermark => {}
        }
    }

    fn has(&self, key: &Key) -> bool {
        self.is_any && !self.ours.contains(key)
    }
}

impl State {
    /// Returns the content to write to a file.
    fn text(&mut self, checkpoint: Checkpoint) -> String {
        let lines = self.lines(checkpoint);
        let offsets: Vec<(Key, Offset)> =
            lines.offsets.iter().map(|(key, offset)| (key.clone(), *offset)).collect();
        let mut entries = Vec::with_capacity(offsets.len().saturating_mul(LINES));
        for (key, offset) in offsets {
            // A line that was only read stays as another program left it.
            let is_foreign = checkpoint != Checkpoint::Start && self.foreign.has(&key);
            let is_doubted = !is_foreign
                && checkpoint == Checkpoint::RecoveryPoint
                && self.doubted.contains(&key);
            let entry = OffsetCheckpointEntry { topic: key.0, partition: key.1, offset };
            let lines = lines_for(entry, is_doubted);
            entries.extend(lines.into_iter().take(if is_foreign { 1 } else { LINES }));
        }
        format_offset_checkpoint(&entries)
    }

    fn lines(&mut self, checkpoint: Checkpoint) -> &mut Lines {
        let [recovery, start, cleaned, high_watermark] = &mut self.lines;
        match checkpoint {
            Checkpoint::RecoveryPoint => recovery,
            Checkpoint::Start => start,
            Checkpoint::Cleaned => cleaned,
            Checkpoint::HighWatermark => high_watermark,
        }
    }
}

/// The checkpoints of a data directory. Lock order: `writing`, then `state`.
#[derive(Debug)]
pub(crate) struct DataCheckpoints {
    dir: Arc<Dir>,
    /// One write at a time.
    writing: Mutex<()>,
    /// Leaf lock, never held across I/O.
    state: Mutex<State>,
}

impl DataCheckpoints {
    /// Reads the files of a data directory. Values that are set are held back until the first
    /// [commit](DataCheckpoints::commit).
    ///
    /// The marker of a clean shutdown stays until it is [removed](DataCheckpoints::unmark): an
    /// opening that fails leaves it to the next. `was_foreign` says that another program had the
    /// directory open last, if any did.
    pub(crate) fn open(dir: &Arc<Dir>, was_foreign: bool) -> Result<DataCheckpoints> {
        let mut state = State { all_held: true, ..State::default() };
        state.foreign.is_any = was_foreign;
        for checkpoint in Checkpoint::ALL {
            if let Some(lines) = read_all_lines(dir, checkpoint)? {
                state.foreign.note(checkpoint, &lines);
                let agreed = agreed_offsets(dir, checkpoint, &lines)?;
                let marked = agreed.iter().filter(|(_, agreed)| agreed.is_marked);
                state.doubted.extend(marked.map(|(key, _)| key.clone()));
                state.lines(checkpoint).offsets = offsets_of(agreed);
            }
        }
        if let Some(closed) = read_clean_shutdowns(dir)? {
            (state.was_marked, state.mark) = (true, Mark::There);
            state.closed = closed;
        }
        Ok(DataCheckpoints {
            dir: Arc::clone(dir),
            writing: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// Removes the marker of a clean shutdown, durably, if it is still there: before anything
    /// that it describes is changed, and before a log has a user.
    pub(crate) fn unmark(&self) -> Result<()> {
        let _writing = self.writing.lock();
        {
            let mut state = self.state.lock();
            if state.mark == Mark::Gone {
                return Ok(());
            }
            state.mark = Mark::Doubtful;
        }
        let path = self.dir.path.join(CLEAN_SHUTDOWN);
        match self.dir.fs.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(|e| Error::io("remove", &path, e))?,
        }
        self.dir.sync()?;
        self.state.lock().mark = Mark::Gone;
        Ok(())
    }

    /// Holds back the values of logs that are being created.
    pub(crate) fn hold_all(&self, logs: &[Key]) {
        self.state.lock().held.extend(logs.iter().cloned());
    }

    /// Writes the values of these logs that were held back.
    pub(crate) fn release(&self, logs: &[Key]) -> Result<()> {
        {
            let mut state = self.state.lock();
            for key in logs {
                state.held.remove(key);
            }
        }
        self.write_all()
    }

    /// Writes all values that were held back, in the order in which recovery relies on them, and
    /// forgets logs that are not among these.
    pub(crate) fn commit(&self, logs: impl IntoIterator<Item = Key>) -> Result<()> {
        let logs: BTreeSet<Key> = logs.into_iter().collect();
        {
            let mut state = self.state.lock();
            state.all_held = false;
            state.held.clear();
            let names: BTreeSet<String> = logs.iter().map(name_of).collect();
            state.closed.retain(|name, _| names.contains(name));
            for lines in &mut state.lines {
                let before = lines.offsets.len();
                lines.offsets.retain(|key, _| logs.contains(key));
                lines.set = lines.set.saturating_add(u64::from(lines.offsets.len() != before));
            }
        }
        self.write_all()
    }

    /// Writes all values that were held back.
    pub(crate) fn commit_all(&self) -> Result<()> {
        {
            let mut state = self.state.lock();
            state.all_held = false;
            state.held.clear();
        }
        self.write_all()
    }

    fn write_all(&self) -> Result<()> {
        for checkpoint in Checkpoint::WRITTEN {
            let (set, must) = {
                let mut state = self.state.lock();
                let lines = state.lines(checkpoint);
                (lines.set, lines.must)
            };
            let written = self.write(checkpoint, set);
            if must {
                written?;
            } else {
                // The file stays as it is, and the value is written with the next one.
                unless_full(&self.dir, self.dir.path.join(checkpoint.file()), written)?;
            }
        }
        Ok(())
    }

    /// Stores the marker of a clean shutdown, durably, if all of these logs were closed cleanly.
    /// Without a list, stores the marker again that was there when the directory was opened, if it
    /// was removed since, or may have been.
    pub(crate) fn commit_clean_shutdown(&self, logs: Option<Vec<String>>) -> Result<()> {
        let text = {
            let state = self.state.lock();
            let all = logs.map_or(state.was_marked && state.mark != Mark::There, |logs| {
                logs.iter().all(|name| state.closed.contains_key(name))
            });
            if !all {
                return Ok(());
            }
            format_clean_shutdowns(
                state.closed.iter().map(|(name, marker)| (name.as_str(), marker)),
            )
        };
        let path = self.dir.path.join(CLEAN_SHUTDOWN);
        let marked = self.dir.replace_if_room(&path, text.as_bytes());
        unless_full(&self.dir, path, marked)
    }

    /// Forgets deleted logs: their lines, and the markers of their clean shutdown.
    pub(crate) fn forget(&self, logs: &[Key]) -> Result<()> {
        {
            let mut state = self.state.lock();
            for key in logs {
                state.closed.remove(&name_of(key));
                state.foreign.ours.remove(key);
                state.recovered.remove(key);
                state.doubted.remove(key);
            }
        }
        for checkpoint in Checkpoint::ALL {
            let set = {
                let mut state = self.state.lock();
                let lines = state.lines(checkpoint);
                let removed = logs.iter().filter(|key| lines.offsets.remove(key).is_some()).count();
                if removed == 0 {
                    continue;
                }
                lines.set = lines.set.saturating_add(1);
                // The lines would apply to a later log of that name.
                lines.must = true;
                lines.set
            };
            self.write(checkpoint, set)?;
        }
        Ok(())
    }

    /// Writes a file, unless it was written since the wanted value was set. Events are delivered
    /// afterwards, because a listener may cause another write.
    fn write(&self, checkpoint: Checkpoint, wanted: u64) -> Result<()> {
        event::deliver_after(|| self.write_alone(checkpoint, wanted))
    }

    fn write_alone(&self, checkpoint: Checkpoint, wanted: u64) -> Result<()> {
        let _writing = self.writing.lock();
        for (checkpoint, text, set) in self.texts(checkpoint, wanted) {
            self.dir.replace(&self.dir.path.join(checkpoint.file()), text.as_bytes())?;
            let mut state = self.state.lock();
            let lines = state.lines(checkpoint);
            lines.written = set;
            lines.must &= lines.set != set;
        }
        Ok(())
    }

    /// Returns the files to write: the wanted one, and before recovery points the other values
    /// that were set. Recovery relies on the other files where a recovery point is ours, so it
    /// must never be ahead of them.
    fn texts(&self, wanted: Checkpoint, at_least: u64) -> Vec<(Checkpoint, String, u64)> {
        let mut state = self.state.lock();
        if state.lines(wanted).written >= at_least {
            return Vec::new();
        }
        let mut texts = Vec::with_capacity(Checkpoint::WRITTEN.len());
        for checkpoint in Checkpoint::WRITTEN {
            let lines = state.lines(checkpoint);
            let is_before = wanted == Checkpoint::RecoveryPoint && lines.written < lines.set;
            if checkpoint == wanted || is_before {
                let set = lines.set;
                texts.push((checkpoint, state.text(checkpoint), set));
            }
        }
        texts
    }
}

impl DataCheckpoints {
    /// Returns the stored value of a log.
    pub(crate) fn get(&self, log: &Key, checkpoint: Checkpoint) -> Option<Offset> {
        self.state.lock().lines(checkpoint).offsets.get(log).copied()
    }

    /// Returns whether the recovery point of a log does not confirm its start.
    pub(crate) fn is_doubted(&self, log: &Key) -> bool {
        self.state.lock().doubted.contains(log)
    }

    /// Returns whether another program wrote the checkpoints of a log, or copied the log here.
    pub(crate) fn is_foreign(&self, log: &Key) -> bool {
        self.state.lock().foreign.has(log)
    }

    /// Returns the topics whose logs were closed cleanly, and not opened since. A marker may list
    /// those that were deleted, too, but these have no recovery point.
    pub(crate) fn closed_topics(&self) -> BTreeSet<String> {
        let state = self.state.lock();
        let [recovery, ..] = &state.lines;
        let closed = state.closed.keys().map(|name| topic_partition(Path::new(name)));
        closed.filter(|key| recovery.offsets.contains_key(key)).map(|(topic, _)| topic).collect()
    }

    /// Stores an offset of a log. It is durable when this returns, unless the log is [held
    /// back](DataCheckpoints::hold).
    pub(crate) fn set(&self, log: &Key, checkpoint: Checkpoint, offset: Offset) -> Result<()> {
        let (before, set, takes_over, was_doubted) = {
            let mut state = self.state.lock();
            let was_doubted = checkpoint == Checkpoint::RecoveryPoint && state.doubted.remove(log);
            let takes_over =
                checkpoint == Checkpoint::RecoveryPoint && state.foreign.ours.insert(log.clone());
            if takes_over {
                // While its line in the cleaner checkpoint is as another program left it, the log
                // counts as foreign.
                state.lines(Checkpoint::Cleaned).rewrite(log);
            }
            // Without a line, the log would look as if another program had copied it here.
            let is_new = !state.all_held && checkpoint == Checkpoint::RecoveryPoint;
            let lines = state.lines(checkpoint);
            let before = lines.offsets.insert(log.clone(), offset);
            lines.must |= match (checkpoint, before) {
                (Checkpoint::RecoveryPoint, None) => is_new,
                (Checkpoint::Cleaned | Checkpoint::HighWatermark, None) => false,
                (Checkpoint::Start, before) => before != Some(offset),
                (_, Some(before)) => before > offset,
            };
            lines.set = lines.set.saturating_add(1);
            let set = lines.set;
            if state.all_held || state.held.contains(log) {
                return Ok(());
            }
            (before, set, takes_over, was_doubted)
        };
        self.write(checkpoint, set).inspect_err(|_| {
            // A value that is not durable must not look durable, because callers rely on it.
            let mut state = self.state.lock();
            if takes_over {
                state.foreign.ours.remove(log);
            }
            if was_doubted {
                state.doubted.insert(log.clone());
            }
            let lines = state.lines(checkpoint);
            if lines.offsets.get(log) == Some(&offset) {
                match before {
                    Some(before) => lines.offsets.insert(log.clone(), before),
                    None => lines.offsets.remove(log),
                };
            }
        })
    }

    /// Sets an offset of a log to be written before the next recovery point.
    pub(crate) fn set_before_point(&self, log: &Key, checkpoint: Checkpoint, offset: Offset) {
        let mut state = self.state.lock();
        let lines = state.lines(checkpoint);
        lines.offsets.insert(log.clone(), offset);
        lines.set = lines.set.saturating_add(1);
    }

    /// Marks the recovery point of a log as not confirming its start, until the next one is set.
    /// This takes no room on the disk.
    pub(crate) fn doubt_point(&self, log: &Key) -> Result<Option<Offset>> {
        let _writing = self.writing.lock();
        let known = {
            let mut state = self.state.lock();
            state.doubted.insert(log.clone());
            state.lines(Checkpoint::RecoveryPoint).offsets.get(log).copied()
        };
        change_second_line(&self.dir, &format!("{} {} ", log.0, log.1)).map(|()| known)
    }

    /// Holds back the values of a log from now on, because it is closed with others: one write for
    /// all of them follows.
    pub(crate) fn hold(&self, log: &Key) {
        self.state.lock().held.insert(log.clone());
    }

    /// Returns the marker of a log that was closed cleanly, if the log has not been open since.
    pub(crate) fn clean_shutdown(&self, log: &Key) -> Option<CleanShutdown> {
        self.state.lock().closed.get(&name_of(log)).cloned()
    }

    /// Records that a log is open, so that the marker of its clean shutdown no longer applies.
    pub(crate) fn opened(&self, log: &Key) {
        self.state.lock().closed.remove(&name_of(log));
    }

    /// Records that a log was recovered after a power loss.
    pub(crate) fn set_recovered(&self, log: Key) {
        self.state.lock().recovered.insert(log);
    }

    /// Returns whether a log was recovered since the power loss.
    pub(crate) fn was_recovered(&self, log: &Key) -> bool {
        self.state.lock().recovered.contains(log)
    }

    /// Records that a log was closed cleanly.
    pub(crate) fn set_clean_shutdown(&self, log: &Key, marker: CleanShutdown) {
        self.state.lock().closed.insert(name_of(log), marker);
    }

    /// Closes the directory, when all logs of it are closed.
    pub(crate) fn close(&self) {
        self.dir.close();
    }

    /// Returns the room that is reserved for a full disk.
    pub(crate) fn reserve(&self) -> Option<Arc<Reserve>> {
        self.dir.reserve().cloned()
    }
}

/// Ignores a full disk for a file that only saves the next opening work, and reports it.
fn unless_full(dir: &Dir, path: PathBuf, written: Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            dir.events.emit(&Event::CheckpointFailed { path, error: error.cause() });
            Ok(())
        }
        other => other,
    }
}

/// Returns the offsets in a file of a data directory. A file that cannot be read counts as
/// missing, where that is safe.
pub(crate) fn read_offsets(dir: &Dir, checkpoint: Checkpoint) -> Result<BTreeMap<Key, Offset>> {
    match read_all_lines(dir, checkpoint)? {
        Some(lines) => agreed_offsets(dir, checkpoint, &lines).map(offsets_of),
        None => Ok(BTreeMap::new()),
    }
}

fn offsets_of(agreed: BTreeMap<Key, Agreed>) -> BTreeMap<Key, Offset> {
    agreed.into_iter().map(|(key, agreed)| (key, agreed.offset)).collect()
}

/// Returns the offsets in the lines of one log in a file of a data directory.
pub(crate) fn read_lines(dir: &Dir, checkpoint: Checkpoint, key: &Key) -> Result<Vec<Offset>> {
    let lines = read_all_lines(dir, checkpoint)?;
    Ok(lines.and_then(|mut lines| lines.remove(key)).unwrap_or_default())
}

/// Returns the offsets in the lines of a file of a data directory, by log, if the file exists and
/// can be read.
fn read_all_lines(dir: &Dir, checkpoint: Checkpoint) -> Result<Option<BTreeMap<Key, Vec<Offset>>>> {
    let path = dir.path.join(checkpoint.file());
    let Some(bytes) = dir.read_small(&path, LARGEST_FILE_BYTES)? else { return Ok(None) };
    if let Some(reserve) = dir.reserve() {
        reserve.require(bytes.len() as u64);
    }
    let entries = match parse_offset_checkpoint(&String::from_utf8_lossy(&bytes)) {
        Ok(entries) => entries,
        Err(reason) => return checkpoint.unreadable(dir, path, reason).map(|()| None),
    };
    let mut lines: BTreeMap<Key, Vec<Offset>> = BTreeMap::new();
    for OffsetCheckpointEntry { topic, partition, offset } in entries {
        lines.entry((topic, partition)).or_default().push(offset);
    }
    Ok(Some(lines))
}

/// Returns the offset of each log whose lines agree. Reports the file if the lines of any other
/// log do not.
fn agreed_offsets(
    dir: &Dir,
    checkpoint: Checkpoint,
    lines: &BTreeMap<Key, Vec<Offset>>,
) -> Result<BTreeMap<Key, Agreed>> {
    let agree = match checkpoint {
        Checkpoint::RecoveryPoint => Agreed::of,
        _ => Agreed::of_unmarked,
    };
    let (mut offsets, mut contradiction) = (BTreeMap::new(), None);
    for (key, lines) in lines {
        match agree(lines) {
            Ok(agreed) => offsets.extend(agreed.map(|agreed| (key.clone(), agreed))),
            Err(reason) => contradiction = Some(reason),
        }
    }
    if let Some(reason) = contradiction {
        checkpoint.unreadable(dir, dir.path.join(checkpoint.file()), reason)?;
    }
    Ok(offsets)
}

/// Returns the state of the logs of a data directory when it was closed cleanly, if it was.
pub(crate) fn read_clean_shutdowns(dir: &Dir) -> Result<Option<BTreeMap<String, CleanShutdown>>> {
    let bytes = dir.read_small(&dir.path.join(CLEAN_SHUTDOWN), LARGEST_FILE_BYTES)?;
    Ok(bytes.map(|bytes| parse_clean_shutdowns(&String::from_utf8_lossy(&bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventSink;
    use crate::fs::MemFs;
    use crate::types::Timestamp;

    fn marker() -> CleanShutdown {
        CleanShutdown {
            base: 0,
            bytes: 0,
            end: 0,
            largest: (Timestamp::NONE, 0),
            first_timestamp: Timestamp::NONE,
            bytes_since_entry: 0,
            offset_entries: 0,
            time_entries: 0,
            producers: None,
            epochs: 0,
            aborted: 0,
            segments: vec![],
        }
    }

    /// Topics come and go for as long as a store is open, which may be for years.
    #[test]
    fn forget_leaves_nothing_of_deleted_topics() {
        let dir = Dir::new(Arc::new(MemFs::new()), "/".into(), EventSink::default(), true);
        let checkpoints = DataCheckpoints::open(&Arc::new(dir), false).unwrap();
        checkpoints.commit([]).unwrap();
        for round in 0..1000 {
            let key = (format!("r{round}"), 0);
            checkpoints.hold_all(std::slice::from_ref(&key));
            for checkpoint in Checkpoint::ALL {
                checkpoints.set(&key, checkpoint, 1).unwrap();
            }
            checkpoints.release(std::slice::from_ref(&key)).unwrap();
            checkpoints.hold(&key);
            checkpoints.set_recovered(key.clone());
            checkpoints.set_clean_shutdown(&key, marker());
            checkpoints.forget(std::slice::from_ref(&key)).unwrap();
            checkpoints.release(std::slice::from_ref(&key)).unwrap();
        }
        let state = checkpoints.state.lock();
        assert!(state.closed.is_empty() && state.held.is_empty());
        assert!(state.foreign.ours.is_empty() && state.recovered.is_empty());
        assert!(state.lines.iter().all(|lines| lines.offsets.is_empty()));
    }
}
