//! What a log writes down about itself from one opening to the next, in Kafka's text files.
//!
//! A log by itself has these files beside its segments. The logs of a data directory have theirs one directory
//! higher, a line each in files for all of them, as a broker does.

use crate::checkpoint::{
    CleanShutdown, OffsetCheckpointEntry, format_offset_checkpoint, parse_offset_checkpoint,
    topic_partition,
};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::segment::SegmentDir;
use crate::segment::name::{CLEAN_SHUTDOWN, CLEANED, LOCK, LOG_START, RECOVERY_POINT, RESERVES};
use crate::segment::reserve::Reserve;
use crate::types::Offset;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The largest of the small files beside the segments.
const SMALL_FILE_BYTES: u64 = 1 << 20;

/// An offset that is written down of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Checkpoint {
    /// All below it was synced.
    RecoveryPoint,
    /// Where the log starts.
    Start,
    /// All below it was compacted.
    Cleaned,
}

impl Checkpoint {
    pub(crate) const ALL: [Checkpoint; 3] =
        [Checkpoint::RecoveryPoint, Checkpoint::Start, Checkpoint::Cleaned];

    /// The file it is in.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Checkpoint::RecoveryPoint => RECOVERY_POINT,
            Checkpoint::Start => LOG_START,
            Checkpoint::Cleaned => CLEANED,
        }
    }

    /// No checksum covers the file. Where a wrong offset is not found out, which is where records are deleted or left
    /// alone on its word, the line is there twice: of a damaged digit the two do not agree, and neither is believed.
    pub(crate) const fn is_twice(self) -> bool {
        !matches!(self, Checkpoint::RecoveryPoint)
    }
}

/// What keeps the checkpoints of many logs.
pub(crate) trait SharedCheckpoints: Debug + Send + Sync {
    /// What is written down of a log.
    fn get(&self, of: &Path, checkpoint: Checkpoint) -> Option<Offset>;

    /// Stores an offset of a log. It is durable when this returns, unless the log is [held back](SharedCheckpoints::hold).
    fn set(&self, of: &Path, checkpoint: Checkpoint, offset: Offset) -> Result<()>;

    /// Holds back what is set of a log from now on, as it is closed with others: one write for all of them follows.
    fn hold(&self, of: &Path);

    /// What is known of a log that was closed in order, if no log of the directory has been open since.
    fn clean_shutdown(&self, of: &Path) -> Option<CleanShutdown>;

    /// Takes note that a log is open, and what it looked like when it was closed holds no more.
    fn opened(&self, of: &Path);

    /// Takes note that a log was closed in order.
    fn set_clean_shutdown(&self, of: &Path, marker: CleanShutdown);

    /// The room that is set aside for when the disk is full.
    fn reserve(&self) -> Option<Arc<Reserve>>;
}

/// Where the checkpoints of one log are.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoints {
    dir: Arc<SegmentDir>,
    shared: Option<Arc<dyn SharedCheckpoints>>,
}

impl Checkpoints {
    pub(crate) fn new(
        dir: &Arc<SegmentDir>,
        shared: Option<Arc<dyn SharedCheckpoints>>,
    ) -> Checkpoints {
        Checkpoints { dir: Arc::clone(dir), shared }
    }

    /// What is written down, if it ever was. A malformed file counts as none.
    pub(crate) fn get(&self, checkpoint: Checkpoint) -> Result<Option<Offset>> {
        match &self.shared {
            Some(shared) => Ok(shared.get(&self.dir.path, checkpoint)),
            None => self.get_own(checkpoint),
        }
    }

    /// Writes an offset down, durably.
    pub(crate) fn set(&self, checkpoint: Checkpoint, offset: Offset) -> Result<()> {
        match &self.shared {
            Some(shared) => shared.set(&self.dir.path, checkpoint, offset),
            None => self.set_own(checkpoint, offset),
        }
    }

    /// Leaves it to the directory's close to make durable what this log sets from now on.
    pub(crate) fn hold(&self) {
        if let Some(shared) = &self.shared {
            shared.hold(&self.dir.path);
        }
    }

    fn get_own(&self, checkpoint: Checkpoint) -> Result<Option<Offset>> {
        let path = self.dir.path.join(checkpoint.file());
        let Some(bytes) = self.dir.read_small(&path, SMALL_FILE_BYTES)? else { return Ok(None) };
        let read = parse_offset_checkpoint(&String::from_utf8_lossy(&bytes));
        read.and_then(|entries| agreed(&self.dir.path, &entries)).or_else(|reason| {
            self.dir.events.emit(&Event::CheckpointIgnored { path, reason });
            Ok(None)
        })
    }

    fn set_own(&self, checkpoint: Checkpoint, offset: Offset) -> Result<()> {
        let (topic, partition) = topic_partition(&self.dir.path);
        let entry = OffsetCheckpointEntry { topic, partition, offset };
        let lines = vec![entry; if checkpoint.is_twice() { 2 } else { 1 }];
        let text = format_offset_checkpoint(&lines);
        self.dir.replace(&self.dir.path.join(checkpoint.file()), text.as_bytes())
    }

    /// The marker of a clean shutdown: `None` where there is none, and `Some(None)` where there is one that cannot be read.
    pub(crate) fn clean_shutdown(&self) -> Result<Option<Option<CleanShutdown>>> {
        match &self.shared {
            Some(shared) => Ok(shared.clean_shutdown(&self.dir.path).map(Some)),
            None => {
                let path = self.dir.path.join(CLEAN_SHUTDOWN);
                let bytes = self.dir.read_small(&path, SMALL_FILE_BYTES)?;
                Ok(bytes.map(|bytes| CleanShutdown::parse(&String::from_utf8_lossy(&bytes))))
            }
        }
    }

    /// Removes the marker, durably. That of many logs went, from the medium, before the first of them was opened.
    pub(crate) fn remove_clean_shutdown(&self) -> Result<()> {
        if let Some(shared) = &self.shared {
            shared.opened(&self.dir.path);
            return Ok(());
        }
        let path = self.dir.path.join(CLEAN_SHUTDOWN);
        self.dir.fs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        self.dir.fs.sync_dir(&self.dir.path).map_err(|e| Error::io("sync", &self.dir.path, e))
    }

    pub(crate) fn set_clean_shutdown(&self, marker: CleanShutdown) -> Result<()> {
        match &self.shared {
            Some(shared) => {
                shared.set_clean_shutdown(&self.dir.path, marker);
                Ok(())
            }
            None => {
                let path = self.dir.path.join(CLEAN_SHUTDOWN);
                self.dir.replace_if_room(&path, marker.format().as_bytes())
            }
        }
    }

    /// Takes over what a log by itself has left beside the segments of what is one of many again.
    ///
    /// Whichever came later, no record below the lower recovery point is in doubt, and what was deleted stays so.
    pub(crate) fn take_over_own(&self) -> Result<bool> {
        let Some(shared) = &self.shared else { return Ok(false) };
        let of = &self.dir.path;
        let lock = self.dir.read_small(&of.join(LOCK), 0)?;
        if lock.is_none() {
            return Ok(false);
        }
        if let Some(own) = self.get_own(Checkpoint::RecoveryPoint)? {
            let known = shared.get(of, Checkpoint::RecoveryPoint);
            shared.set(of, Checkpoint::RecoveryPoint, known.map_or(own, |known| known.min(own)))?;
        }
        if let Some(own) = self.get_own(Checkpoint::Start)? {
            let known = shared.get(of, Checkpoint::Start);
            shared.set(of, Checkpoint::Start, known.map_or(own, |known| known.max(own)))?;
        }
        if shared.get(of, Checkpoint::Cleaned).is_some() {
            // It may have been cut since, and appended to.
            shared.set(of, Checkpoint::Cleaned, 0)?;
        }
        Ok(true)
    }

    /// Removes what was taken over, once that is on the medium.
    pub(crate) fn remove_own(&self) -> Result<()> {
        // The lock last: it tells that there are others.
        let names = Checkpoint::ALL.map(Checkpoint::file).into_iter().chain(RESERVES);
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

/// The offset in the lines of this log, which must not contradict each other.
fn agreed(dir: &Path, entries: &[OffsetCheckpointEntry]) -> Result<Option<Offset>, &'static str> {
    let of = |topic: &str, partition: i32| {
        let lines = entries.iter().filter(|e| e.topic == topic && e.partition == partition);
        lines.map(|entry| entry.offset).collect::<Vec<_>>()
    };
    let (topic, partition) = topic_partition(dir);
    let mut offsets = of(&topic, partition);
    // Where all lines are of one other log, it is this one, whose directory was renamed.
    if offsets.is_empty()
        && let Some(other) = entries.first()
    {
        offsets = of(&other.topic, other.partition);
        offsets.truncate(if offsets.len() == entries.len() { usize::MAX } else { 0 });
    }
    let first = offsets.first().copied();
    if offsets.iter().all(|offset| Some(*offset) == first) {
        Ok(first)
    } else {
        Err("its lines for this log contradict each other")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker's file has a line for each of its logs; one of a log that was renamed has another name in it.
    #[test]
    fn the_line_of_this_log_counts_and_lines_of_one_other_log_alone() {
        let line = |topic: &str, partition, offset| OffsetCheckpointEntry {
            topic: topic.to_owned(),
            partition,
            offset,
        };
        let of = |lines: &[OffsetCheckpointEntry]| agreed(Path::new("data/orders-1"), lines);
        let (ours, same_topic) = (line("orders", 1, 5), line("orders", 2, 6));
        let same_partition = line("users", 1, 7);
        let all = [same_topic.clone(), same_partition.clone(), ours.clone()];
        assert_eq!(of(&all), Ok(Some(5)));
        assert!(of(&[ours, line("orders", 1, 8)]).is_err());
        assert_eq!(of(std::slice::from_ref(&same_topic)), Ok(Some(6)));
        assert_eq!(of(&[same_partition.clone(), same_partition.clone()]), Ok(Some(7)));
        assert_eq!(of(&[same_partition, same_topic]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
    }
}
