//! The checkpoints of one log: what it stores about itself from one opening to the next, in
//! Kafka's text files.
//!
//! A log outside a data directory has these files beside its segments. The logs of a data
//! directory share files one directory higher, with a line each, as in a broker.
use crate::checkpoint::{
    Agreed, CLEAN_SHUTDOWN, CONTRADICTION, CleanShutdown, LINES, LOCK, OffsetCheckpointEntry,
    format_offset_checkpoint, lines_for, parse_offset_checkpoint, topic_partition,
};
use crate::error::{Error, ErrorKind, LogLocation, Result};
use crate::fs::{Dir, RESERVE_FILES};
use crate::log::files::checkpoint::{Checkpoint, RecoveryPoint, change_second_line};
use crate::log::files::data_checkpoints::{
    DataCheckpoints, Key, name_of, read_clean_shutdowns, read_lines, read_offsets,
};
use crate::segment::SegmentDir;
use crate::sync::Mutex;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The largest of the small files beside the segments.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// The checkpoints of one log.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    dir: Arc<SegmentDir>,
    kept: Kept,
}

#[derive(Debug, Clone)]
enum Kept {
    /// Beside the segments. The map has the offsets that found no room: they are written before
    /// the next recovery point. It is locked while a file is written.
    Own(Arc<Mutex<BTreeMap<Checkpoint, Offset>>>),
    /// One directory higher, with those of other logs.
    Shared { all: Arc<DataCheckpoints>, key: Key, is_alone: bool },
    /// One directory higher, for a read-only log: they are read each time.
    Above { dir: Arc<Dir>, key: Key },
}

impl Checkpoints {
    /// Creates the checkpoints of a log that has them beside its segments.
    pub(crate) fn own(dir: &Arc<SegmentDir>) -> Checkpoints {
        Checkpoints { dir: Arc::clone(dir), kept: Kept::Own(Arc::default()) }
    }

    /// Creates the checkpoints of a log of a data directory. `is_alone` says that no other log of
    /// it is open, and that the close of this one closes the directory.
    pub(crate) fn shared(
        dir: &Arc<SegmentDir>,
        all: &Arc<DataCheckpoints>,
        key: Key,
        is_alone: bool,
    ) -> Checkpoints {
        let kept = Kept::Shared { all: Arc::clone(all), key, is_alone };
        Checkpoints { dir: Arc::clone(dir), kept }
    }

    /// Creates the checkpoints of a log that is opened read-only, with or without a store.
    pub(crate) fn to_read(dir: &Arc<SegmentDir>, above: Option<(Arc<Dir>, Key)>) -> Checkpoints {
        let own = Kept::Own(Arc::default());
        let kept = above.map_or(own, |(dir, key)| Kept::Above { dir, key });
        Checkpoints { dir: Arc::clone(dir), kept }
    }

    /// Returns the stored offset, if one ever was. A malformed file counts as none, except where
    /// deleted records would be back.
    pub(crate) fn get(&self, checkpoint: Checkpoint) -> Result<Option<Offset>> {
        match &self.kept {
            Kept::Own(_) => self.get_own(checkpoint),
            Kept::Shared { all, key, .. } => Ok(all.get(key, checkpoint)),
            Kept::Above { dir, key } => {
                let known = read_offsets(dir, checkpoint)?.get(key).copied();
                if !self.has_own()? {
                    return Ok(known);
                }
                // The log was open outside its data directory since, and the two files are not
                // combined yet.
                Ok(combined(checkpoint, known, self.get_own(checkpoint)?))
            }
        }
    }

    fn read_only(&self) -> Error {
        Error::ReadOnly { log: LogLocation::new(&self.dir.path, None) }
    }

    /// Stores an offset, durably.
    pub(crate) fn set(&self, checkpoint: Checkpoint, offset: Offset) -> Result<()> {
        match &self.kept {
            Kept::Own(owed) => self.set_own(owed, checkpoint, offset),
            Kept::Shared { all, key, .. } => all.set(key, checkpoint, offset),
            Kept::Above { .. } => Err(self.read_only()),
        }
    }

    /// Stores an offset that need not be durable before the next recovery point: until then, an
    /// opening can derive it again. If there is no room for it, it is written before that recovery
    /// point.
    pub(crate) fn note(&self, checkpoint: Checkpoint, offset: Offset) -> Result<()> {
        match &self.kept {
            Kept::Own(owed) => match self.set_own(owed, checkpoint, offset) {
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    owed.lock().insert(checkpoint, offset);
                    Ok(())
                }
                other => other,
            },
            Kept::Shared { all, key, .. } => {
                all.set_before_point(key, checkpoint, offset);
                Ok(())
            }
            Kept::Above { .. } => Err(self.read_only()),
        }
    }

    /// Marks the recovery point as not confirming the start, and returns it. This takes no room on
    /// the disk: one digit of its second line is changed. The next recovery point that is set
    /// restores it.
    pub(crate) fn doubt_point(&self) -> Result<Option<Offset>> {
        match &self.kept {
            Kept::Own(owed) => {
                let _owed = owed.lock();
                let known = self.get_own(Checkpoint::RecoveryPoint)?;
                change_second_line(&self.dir, "")?;
                Ok(known)
            }
            Kept::Shared { all, key, .. } => all.doubt_point(key),
            Kept::Above { .. } => Err(self.read_only()),
        }
    }

    /// Leaves it to the close of the data directory to write the checkpoints that this log sets
    /// from now on.
    pub(crate) fn hold(&self) {
        if let Kept::Shared { all, key, .. } = &self.kept {
            all.hold(key);
        }
    }

    /// Closes the data directory, if it was opened for this log alone.
    pub(crate) fn close(&self) {
        match &self.kept {
            Kept::Shared { all, is_alone: true, .. } => all.close(),
            Kept::Above { dir, .. } => dir.close(),
            Kept::Own(_) | Kept::Shared { .. } => {}
        }
    }

    /// Returns whether files of a log outside a data directory lie beside the segments. The lock
    /// file is the last of them to be removed.
    fn has_own(&self) -> Result<bool> {
        Ok(self.dir.read_small(&self.dir.path.join(LOCK), 0)?.is_some())
    }

    fn get_own(&self, checkpoint: Checkpoint) -> Result<Option<Offset>> {
        Ok(self.read_own(checkpoint)?.map(|read| read.offset))
    }

    /// Returns the recovery point, and what is known of it. `was_foreign` says that another
    /// program held the lock last, if any did.
    pub(crate) fn recovery_point(&self, was_foreign: bool) -> Result<RecoveryPoint> {
        let (point, is_foreign, is_doubted) = match &self.kept {
            Kept::Shared { all, key, .. } => {
                let point = all.get(key, Checkpoint::RecoveryPoint);
                (point, all.is_foreign(key), all.is_doubted(key))
            }
            Kept::Above { dir, key } if !self.has_own()? => {
                let lines = read_lines(dir, Checkpoint::RecoveryPoint, key)?;
                let agreed = Agreed::of(&lines).ok().flatten();
                (
                    agreed.map(|agreed| agreed.offset),
                    agreed.is_none_or(|agreed| agreed.lines < LINES),
                    agreed.is_some_and(|agreed| agreed.is_marked),
                )
            }
            Kept::Own(_) | Kept::Above { .. } => {
                let read = self.read_own(Checkpoint::RecoveryPoint)?;
                let point = read.filter(|read| read.lines > 0);
                let is_foreign = point.map_or(was_foreign, |read| read.lines < LINES);
                let is_doubted = point.is_some_and(|read| read.is_marked);
                (point.map(|read| read.offset), is_foreign, is_doubted)
            }
        };
        Ok(RecoveryPoint::new(point, is_foreign, is_doubted))
    }

    /// Returns the content of the file beside the segments.
    fn read_own(&self, checkpoint: Checkpoint) -> Result<Option<Agreed>> {
        let path = self.dir.path.join(checkpoint.file());
        let Some(bytes) = self.dir.read_small(&path, SMALL_FILE_BYTES)? else { return Ok(None) };
        let read = parse_offset_checkpoint(&String::from_utf8_lossy(&bytes));
        match read.and_then(|entries| agreed(&self.dir.path, &entries)) {
            Ok(Some(stored)) if stored.is_marked && checkpoint != Checkpoint::RecoveryPoint => {
                checkpoint.unreadable(&self.dir, path, CONTRADICTION).map(|()| None)
            }
            Ok(stored) => Ok(stored),
            Err(reason) => checkpoint.unreadable(&self.dir, path, reason).map(|()| None),
        }
    }

    fn set_own(
        &self,
        owed: &Mutex<BTreeMap<Checkpoint, Offset>>,
        checkpoint: Checkpoint,
        offset: Offset,
    ) -> Result<()> {
        let mut owed = owed.lock();
        if checkpoint == Checkpoint::RecoveryPoint {
            while let Some((before, offset)) = owed.first_key_value() {
                self.write_own(*before, *offset)?;
                owed.pop_first();
            }
        }
        self.write_own(checkpoint, offset)?;
        owed.remove(&checkpoint);
        Ok(())
    }

    fn write_own(&self, checkpoint: Checkpoint, offset: Offset) -> Result<()> {
        let (topic, partition) = topic_partition(&self.dir.path);
        let entry = OffsetCheckpointEntry { topic, partition, offset };
        let text = format_offset_checkpoint(&lines_for(entry, false));
        self.dir.replace(&self.dir.path.join(checkpoint.file()), text.as_bytes())
    }

    /// Returns the marker of a clean shutdown: `None` where there is none, and `Some(None)` where
    /// there is one that cannot be read, or that does not describe this log.
    pub(crate) fn clean_shutdown(&self) -> Result<Option<Option<CleanShutdown>>> {
        match &self.kept {
            Kept::Shared { all, key, .. } => Ok(all.clean_shutdown(key).map(Some)),
            Kept::Above { dir, key } if !self.has_own()? => {
                let marker = read_clean_shutdowns(dir)?;
                Ok(marker.map(|mut closed| closed.remove(&name_of(key))))
            }
            Kept::Own(_) | Kept::Above { .. } => {
                let path = self.dir.path.join(CLEAN_SHUTDOWN);
                let bytes = self.dir.read_small(&path, SMALL_FILE_BYTES)?;
                Ok(bytes.map(|bytes| CleanShutdown::parse(&String::from_utf8_lossy(&bytes))))
            }
        }
    }

    /// Forgets the marker, because the log is open. The marker of one log is removed, durably;
    /// that of a data directory is removed when all its logs are open.
    pub(crate) fn opened(&self) -> Result<()> {
        match &self.kept {
            Kept::Shared { all, key, .. } => {
                all.opened(key);
                Ok(())
            }
            Kept::Own(_) | Kept::Above { .. } => self.remove_clean_shutdown(),
        }
    }

    /// Removes the marker, durably, before the files that it describes are changed.
    pub(crate) fn remove_clean_shutdown(&self) -> Result<()> {
        match &self.kept {
            Kept::Shared { all, key, .. } => {
                all.unmark()?;
                all.opened(key);
                Ok(())
            }
            Kept::Above { .. } => Err(self.read_only()),
            Kept::Own(_) => {
                let path = self.dir.path.join(CLEAN_SHUTDOWN);
                match self.dir.fs.remove(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    Err(error) => Err(Error::io("remove", &path, error)),
                    Ok(()) => self.dir.sync(),
                }
            }
        }
    }

    /// Stores the marker of a clean shutdown, which describes the log as it is closed.
    pub(crate) fn set_clean_shutdown(&self, marker: CleanShutdown) -> Result<()> {
        match &self.kept {
            Kept::Shared { all, key, is_alone } => {
                all.set_clean_shutdown(key, marker);
                if *is_alone { all.commit_clean_shutdown(None) } else { Ok(()) }
            }
            Kept::Above { .. } => Err(self.read_only()),
            Kept::Own(_) => {
                let path = self.dir.path.join(CLEAN_SHUTDOWN);
                self.dir.replace_if_room(&path, marker.format().as_bytes())
            }
        }
    }

    /// Takes over the checkpoints that a log of a data directory got while it was open outside of
    /// it.
    ///
    /// It is not known which of the two is newer, so the result is safe for both: no record below
    /// the lower recovery point is in doubt, nothing above the higher one was compacted, and
    /// deleted records stay deleted. Returns `None` if there is nothing to take over.
    pub(crate) fn take_over_own(&self) -> Result<Option<RecoveryPoint>> {
        let Kept::Shared { all, key, .. } = &self.kept else { return Ok(None) };
        if !self.has_own()? {
            return Ok(None);
        }
        let known = all.get(key, Checkpoint::RecoveryPoint);
        let read = self.read_own(Checkpoint::RecoveryPoint)?;
        let own = read.map(|read| read.offset);
        // A line that a broker wrote does not tell what was compacted above it.
        let is_foreign =
            (known.is_some() && all.is_foreign(key)) || read.is_some_and(|read| read.lines < LINES);
        let is_doubted = all.is_doubted(key) || read.is_some_and(|read| read.is_marked);
        let highest = RecoveryPoint::new(known.max(own), is_foreign, is_doubted);
        let synced = combined(Checkpoint::RecoveryPoint, known, own).unwrap_or(0);
        let point = RecoveryPoint { synced, ..highest };
        for checkpoint in [Checkpoint::RecoveryPoint, Checkpoint::Start, Checkpoint::HighWatermark]
        {
            if let Some(own) = self.get_own(checkpoint)?
                && let Some(offset) = combined(checkpoint, all.get(key, checkpoint), Some(own))
            {
                all.set(key, checkpoint, offset)?;
            }
        }
        if all.get(key, Checkpoint::Cleaned).is_some() {
            // The log may have been truncated since, and appended to.
            all.set(key, Checkpoint::Cleaned, 0)?;
        }
        Ok(Some(point))
    }

    /// Removes the checkpoints that were taken over, once that is durable.
    pub(crate) fn remove_own(&self) -> Result<()> {
        // Remove the lock file last, because it shows that there are others.
        let names = Checkpoint::ALL.map(Checkpoint::file).into_iter().chain(RESERVE_FILES);
        let names = names.chain([CLEAN_SHUTDOWN, LOCK]);
        for path in names.map(|name| self.dir.path.join(name)) {
            match self.dir.fs.remove(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|e| Error::io("remove", &path, e))?,
            }
        }
        Ok(())
    }
}

/// Returns the offset to rely on if two files have one: that of the data directory, and that of
/// the log itself.
fn combined(checkpoint: Checkpoint, known: Option<Offset>, own: Option<Offset>) -> Option<Offset> {
    match (checkpoint, known, own) {
        (Checkpoint::Start, Some(known), Some(own)) => Some(known.max(own)),
        (_, Some(known), Some(own)) => Some(known.min(own)),
        (_, known, own) => known.or(own),
    }
}

/// Returns what the lines of this log say, which must not contradict each other.
fn agreed(dir: &Path, entries: &[OffsetCheckpointEntry]) -> Result<Option<Agreed>, &'static str> {
    let of = |topic: &str, partition: i32| {
        let lines = entries.iter().filter(|e| e.topic == topic && e.partition == partition);
        lines.map(|entry| entry.offset).collect::<Vec<_>>()
    };
    let (topic, partition) = topic_partition(dir);
    let mut offsets = of(&topic, partition);
    // If all lines belong to one other log, that is this one, whose directory was renamed.
    if offsets.is_empty()
        && let Some(other) = entries.first()
    {
        offsets = of(&other.topic, other.partition);
        offsets.truncate(if offsets.len() == entries.len() { usize::MAX } else { 0 });
    }
    // If only one of the two lines names this log, a bit of the other name may have flipped.
    // Neither line confirms the other, so both count as no line.
    let has_other_name = offsets.len() < LINES && entries.len() == LINES;
    let agreed = Agreed::of(&offsets)?;
    Ok(agreed.map(|agreed| if has_other_name { Agreed { lines: 0, ..agreed } } else { agreed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker's file has a line for each of its logs. The file of a renamed log has another name
    /// in it.
    #[test]
    fn lines_count_for_this_or_one_renamed_log() {
        let line = |topic: &str, partition, offset| OffsetCheckpointEntry {
            topic: topic.to_owned(),
            partition,
            offset,
        };
        let stored = |lines: &[OffsetCheckpointEntry]| agreed(Path::new("data/orders-1"), lines);
        let of = |lines: &[OffsetCheckpointEntry]| {
            stored(lines).map(|stored| stored.map(|stored| (stored.offset, stored.lines)))
        };
        let (ours, same_topic) = (line("orders", 1, 5), line("orders", 2, 6));
        let same_partition = line("users", 1, 7);
        let all = [same_topic.clone(), same_partition.clone(), ours.clone()];
        assert_eq!(of(&all), Ok(Some((5, 1))));
        assert!(of(&[ours.clone(), line("orders", 1, 8)]).is_err());
        assert!(of(&[ours.clone(), line("orders", 1, 6)]).is_err());
        let doubted = stored(&[ours.clone(), line("orders", 1, 4)]);
        assert_eq!(doubted, Ok(Some(Agreed { offset: 4, lines: 2, is_marked: true })));
        assert_eq!(of(std::slice::from_ref(&same_topic)), Ok(Some((6, 1))));
        assert_eq!(of(&[same_partition.clone(), same_partition.clone()]), Ok(Some((7, 2))));
        assert_eq!(of(&[ours.clone(), same_topic.clone()]), Ok(Some((5, 0))));
        assert_eq!(of(&[same_partition, same_topic]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
    }
}
