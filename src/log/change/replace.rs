//! Replacing segments by the compacted segment that was made from them.
//!
//! ```text
//! .cleaned, written and synced      nothing has happened: an opening removes it
//!   directory synced                a `.cleaned` log shows that a renamed index is unfinished
//!   renamed to .swap, the log last
//!   directory synced                decided: an opening finishes what follows
//!   published                       readers have it from here on
//!   the old files to .deleted       in order; those above the new end one by one, each synced
//!   directory synced                no old file can come back beside the replacement
//!   .swap to its final name
//!   directory synced                the old files may go
//! ```
//!
//! Each sync keeps a file system that stores renames in another order from mixing two steps.
//! Readers of the old segments find the [revision](crate::log::state::LogState::revised_since)
//! raised before any name changes, and look up their place again. Offsets stay what they were.

use crate::error::{Error, Result};
use crate::log::flush::was_not_opened;
use crate::log::inner::LogInner;
use crate::log::state::segment_list::SegmentList;
use crate::segment::Segment;
use crate::segment::name::{Kind, Name, SegmentFile, Stage};
use crate::types::Offset;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// The files that are renamed before the log, so that a replacement is complete when its log has
/// the new name.
const BEFORE_LOG: [Kind; 3] = [Kind::OffsetIndex, Kind::TimeIndex, Kind::TxnIndex];

impl LogInner {
    /// Replaces `old`, which are neighbours in the log, by a segment whose `.cleaned` files are
    /// complete and synced. Its last batch ends at `end`.
    ///
    /// Returns false if they are not neighbours any more; the new files are removed then. The
    /// caller holds the change lock. An error before the replacement is decided leaves the log as
    /// it was; a later one poisons it.
    pub(crate) fn replace(
        &self,
        old: &[Arc<Segment>],
        new: &Arc<Segment>,
        end: Offset,
    ) -> Result<bool> {
        let base = new.base;
        if !holds(&*self.state.segments()?, old) {
            self.discard_replacement(base)?;
            return Ok(false);
        }
        self.poison_on_unwind("compact", || self.replace_files(old, new, end))?;
        for segment in old {
            for kind in Kind::ALL {
                let live = SegmentFile::live(segment.base, kind);
                self.dir.discard(SegmentFile { stage: Stage::Deleted, ..live });
            }
            // Producer snapshots are of no use where no segment begins any more.
            if segment.base != base {
                for kind in [Kind::Snapshot, Kind::Recent] {
                    self.dir.discard(SegmentFile::live(segment.base, kind));
                }
            }
        }
        Ok(true)
    }

    /// Puts the new segment in place of the old ones, in the list and on disk.
    fn replace_files(&self, old: &[Arc<Segment>], new: &Arc<Segment>, end: Offset) -> Result<()> {
        let base = new.base;
        if let Err(error) = self.decide(base) {
            // If that poisoned the log, the replacement may be decided, and the next opening
            // finishes it.
            if self.state.check_writable().is_err() {
                return Err(error);
            }
            // The next pass removes what cannot be removed now.
            return Err(self.discard_replacement(base).err().unwrap_or(error));
        }
        self.publish_replacement(old, new);
        if let Err(error) = self.finish_replacement(old, base, end) {
            self.poison(&error);
            return Err(error);
        }
        new.mark_renamed();
        Ok(())
    }

    /// Removes files that earlier passes could not remove. Whatever base they have, they would
    /// make a decided replacement beside them look unfinished.
    pub(crate) fn discard_leftovers(&self) -> Result<()> {
        let dir = &self.dir;
        let entries = dir.fs.list(&dir.path).map_err(|e| Error::io("list", &dir.path, e))?;
        let bases: BTreeSet<Offset> = entries
            .iter()
            .filter_map(|entry| match Name::parse(&entry.name) {
                Name::Segment(file) if matches!(file.stage, Stage::Cleaned | Stage::Swap) => {
                    Some(file.base)
                }
                _ => None,
            })
            .collect();
        bases.into_iter().try_for_each(|base| self.discard_replacement(base))
    }

    /// Removes the files of a replacement that was not decided. The log is removed last, because
    /// without it the other files would look like the rest of a decided one.
    pub(crate) fn discard_replacement(&self, base: Offset) -> Result<()> {
        for stage in [Stage::Swap, Stage::Cleaned] {
            let mut removed = false;
            for kind in BEFORE_LOG {
                removed |= self.remove_staged(SegmentFile { base, kind, stage })?;
            }
            if removed && stage == Stage::Swap {
                self.dir.sync()?;
            }
        }
        self.remove_staged(SegmentFile { base, kind: Kind::Log, stage: Stage::Cleaned })?;
        Ok(())
    }

    fn remove_staged(&self, file: SegmentFile) -> Result<bool> {
        let path = self.dir.path_of(file);
        match self.dir.fs.remove(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", &path, error)),
        }
    }

    /// Renames the files of a replacement to `.swap`, durably. If that fails, they keep their old
    /// names, or the log is poisoned.
    fn decide(&self, base: Offset) -> Result<()> {
        // If the name of its log is not durable, a renamed index would be taken for the rest of a
        // finished replacement.
        self.dir.sync().inspect_err(|error| {
            if !was_not_opened(error) {
                self.poison(error);
            }
        })?;
        for kind in BEFORE_LOG {
            self.restage(base, kind, Stage::Cleaned, Stage::Swap)?;
        }
        self.restage(base, Kind::Log, Stage::Cleaned, Stage::Swap)?;
        let Err(error) = self.dir.sync() else { return Ok(()) };
        let undone = was_not_opened(&error)
            && self.restage(base, Kind::Log, Stage::Swap, Stage::Cleaned).is_ok();
        if !undone {
            self.poison(&error);
        }
        Err(error)
    }

    /// Renames one file of a segment. Only the log must exist.
    fn restage(&self, base: Offset, kind: Kind, from: Stage, to: Stage) -> Result<()> {
        let from = self.dir.path_of(SegmentFile { base, kind, stage: from });
        let to = self.dir.path_of(SegmentFile { base, kind, stage: to });
        match self.dir.fs.rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && kind != Kind::Log => Ok(()),
            renamed => renamed.map_err(|error| Error::io("rename", &from, error)),
        }
    }

    fn publish_replacement(&self, old: &[Arc<Segment>], new: &Arc<Segment>) {
        let change = |list: &SegmentList| {
            let mut segments = Vec::with_capacity(list.segments.len());
            for segment in &list.segments {
                match old.iter().position(|gone| Arc::ptr_eq(gone, segment)) {
                    Some(0) => segments.push(Arc::clone(new)),
                    Some(_) => {}
                    None => segments.push(Arc::clone(segment)),
                }
            }
            SegmentList { segments }
        };
        self.state.revise_segments(change, || {});
        old.iter().for_each(|segment| segment.retire_replaced());
    }

    fn finish_replacement(&self, old: &[Arc<Segment>], base: Offset, end: Offset) -> Result<()> {
        let mut is_behind = false;
        for segment in old {
            // An opening that finishes this removes the old segments that begin below the end of
            // the replacement. An old segment above it can come back after a crash. So each of
            // these is synced before the next is renamed: a value never comes back without the
            // tombstone after it.
            if is_behind {
                self.dir.sync()?;
            }
            for kind in [Kind::Log].into_iter().chain(BEFORE_LOG) {
                self.restage(segment.base, kind, Stage::Live, Stage::Deleted)?;
            }
            is_behind = segment.base >= end;
        }
        self.dir.sync()?;
        self.restage(base, Kind::Log, Stage::Swap, Stage::Live)?;
        // Rename the log first, because an opening puts the rest of a replacement without a log in
        // place as it is.
        self.dir.sync()?;
        for kind in BEFORE_LOG {
            self.restage(base, kind, Stage::Swap, Stage::Live)?;
        }
        self.dir.sync()
    }
}

/// Returns whether segments follow one another in a list.
fn holds(list: &SegmentList, old: &[Arc<Segment>]) -> bool {
    let Some(first) = old.first() else { return false };
    let from = list.segments.iter().position(|segment| Arc::ptr_eq(segment, first));
    let there = from.and_then(|from| list.segments.get(from..from.saturating_add(old.len())));
    there.is_some_and(|there| there.iter().zip(old).all(|(one, other)| Arc::ptr_eq(one, other)))
}
