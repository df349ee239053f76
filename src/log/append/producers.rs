//! Storing the producers of a log in snapshots.
//!
//! No snapshot is needed: a [replay](crate::log::replay) rebuilds the same content from
//! the batches. Snapshots save reading, so they are written without an fsync of their own, and a
//! damaged one is ignored. But a snapshot must not describe batches that are not there: before
//! anything is appended to a log that was truncated, or opened, the replay removes the snapshots
//! above its end, durably.

use crate::error::Result;
use crate::event::Event;
use crate::log::files::snapshots::path_of;
use crate::log::inner::LogInner;
use crate::log::state::producers::{EVERY_BYTES, ProducerTracker};
use crate::producer_state::{Producers, recent, snapshot};
use crate::segment::name::{Kind, SegmentFile};
use crate::types::Offset;

impl LogInner {
    /// Takes a snapshot of the producers as of the end of the log. The caller holds the writer
    /// lock.
    pub(crate) fn store_producers(
        &self,
        tracked: &mut ProducerTracker,
        segment: Offset,
        position: u64,
    ) {
        tracked.due = position.saturating_add(EVERY_BYTES);
        let end = self.state.end();
        tracked.producers.advance(end);
        if tracked.stored == Some(end) && !tracked.is_stale {
            return;
        }
        tracked.producers.expire(tracked.now, self.config.producer_id_expiration);
        let path = path_of(&self.dir, end, Kind::Snapshot);
        if !snapshot::fits(tracked.len()) {
            let error = "there are more producers than a snapshot holds".to_owned();
            return self.emit(&Event::CheckpointFailed { path, error });
        }
        match self.write_producers(&tracked.producers, end) {
            Ok(()) => {
                tracked.is_stale = false;
                let before = tracked.stored.replace(end);
                // Within a segment one is enough.
                if let Some(before) = before.filter(|before| *before > segment && *before < end) {
                    self.dir.discard(SegmentFile::live(before, Kind::Snapshot));
                    self.dir.discard(SegmentFile::live(before, Kind::Recent));
                }
            }
            Err(error) => self.emit(&Event::CheckpointFailed { path, error: error.cause() }),
        }
    }

    /// Writes the snapshot of an offset. The `.recent` file with what it leaves out is written
    /// first, so that it is there whenever the snapshot is.
    fn write_producers(&self, producers: &Producers, end: Offset) -> Result<()> {
        let states = producers.states();
        let content = snapshot::encode(&states);
        let recent = recent::encode(producers, &states, &content);
        if let Some(recent) = recent.filter(|_| !states.is_empty()) {
            let path = path_of(&self.dir, end, Kind::Recent);
            if let Err(error) = self.dir.replace_unsynced(&path, &recent) {
                self.emit(&Event::CheckpointFailed { path, error: error.cause() });
            }
        }
        self.dir.replace_unsynced(&path_of(&self.dir, end, Kind::Snapshot), &content)
    }
}

#[cfg(test)]
mod tests;
