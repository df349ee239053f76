//! Putting a rewritten segment in the place of those it was made from.
//!
//! ```text
//! .cleaned, written and synced      nothing has happened: an opening removes it
//!   directory synced                an index that is renamed before its log shows as unfinished
//!   renamed to .swap, the log last
//!   directory synced                decided: an opening finishes what follows
//!   published                       readers have it from here on
//!   the old files to .deleted       in order: those that an opening would not remove one by one
//!   directory synced                none of them can come back beside it
//!   .swap to its final name
//!   directory synced                the old files may go
//! ```
//!
//! Each sync keeps a file system that stores renames in another order from mixing two steps.
//! Readers of the old segments find the [revision](LogInner::revised_since) raised before any name
//! changes, and look up their place again: offsets stay what they were.

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

/// The files that are renamed; the log last, so that a replacement is complete when it has its
/// name.
const BEFORE_LOG: [Kind; 3] = [Kind::OffsetIndex, Kind::TimeIndex, Kind::TxnIndex];

impl LogInner {
    /// Puts a segment whose `.cleaned` files are complete and synced in the place of `old`,
    /// neighbours in the log. Its last batch ends at `end`.
    ///
    /// False when they are not that any more; the files are removed then. The change lock is held.
    /// An error before the replacement is decided leaves the log as it was; a later one poisons
    /// it.
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
        if let Err(error) = self.decide(base) {
            // In a log that is poisoned by that, it may be decided, and is up to the next opening.
            if self.state.check_writable().is_err() {
                return Err(error);
            }
            // What cannot be removed now is removed by the next pass.
            return Err(self.discard_replacement(base).err().unwrap_or(error));
        }
        self.publish_replacement(old, new);
        if let Err(error) = self.finish_replacement(old, base, end) {
            self.poison(&error);
            return Err(error);
        }
        new.mark_renamed();
        for segment in old {
            for kind in Kind::ALL {
                let live = SegmentFile::live(segment.base, kind);
                self.dir.discard(SegmentFile { stage: Stage::Deleted, ..live });
            }
            // What was known of producers where no segment begins any more.
            if segment.base != base {
                for kind in [Kind::Snapshot, Kind::Recent] {
                    self.dir.discard(SegmentFile::live(segment.base, kind));
                }
            }
        }
        Ok(true)
    }

    /// Removes what earlier passes could not remove. Whatever base it has, beside a replacement
    /// that is decided it would say that this one is unfinished too.
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

    /// Removes what is left of a replacement that was not decided: the log last, as without it the
    /// rest means nothing.
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

    /// Gives a replacement its name as one, durably. Where that fails it has none, or the log is
    /// poisoned.
    fn decide(&self, base: Offset) -> Result<()> {
        // Without the name of its log beside it, a renamed index would be taken for the rest of a
        // replacement that is in place.
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

    /// Renames one file of a segment, if there is one. There is always a log.
    fn restage(&self, base: Offset, kind: Kind, from: Stage, to: Stage) -> Result<()> {
        let from = self.dir.path_of(SegmentFile { base, kind, stage: from });
        let to = self.dir.path_of(SegmentFile { base, kind, stage: to });
        match self.dir.fs.rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && kind != Kind::Log => Ok(()),
            renamed => renamed.map_err(|error| Error::io("rename", &from, error)),
        }
    }

    fn publish_replacement(&self, old: &[Arc<Segment>], new: &Arc<Segment>) {
        self.state.update_segments(|view| {
            let mut segments = Vec::with_capacity(view.segments.len());
            for segment in &view.segments {
                match old.iter().position(|gone| Arc::ptr_eq(gone, segment)) {
                    Some(0) => segments.push(Arc::clone(new)),
                    Some(_) => {}
                    None => segments.push(Arc::clone(segment)),
                }
            }
            SegmentList { segments }
        });
        self.state.announce_revision();
        old.iter().for_each(|segment| segment.retire_replaced());
    }

    fn finish_replacement(&self, old: &[Arc<Segment>], base: Offset, end: Offset) -> Result<()> {
        let mut is_behind = false;
        for segment in old {
            // An opening that finishes this removes what begins below the end of the replacement.
            // What is behind may be there again: but no value without the tombstone that came
            // after it.
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
        // Without its log, what is left of a replacement is put in place as it is: so the log
        // first.
        self.dir.sync()?;
        for kind in BEFORE_LOG {
            self.restage(base, kind, Stage::Swap, Stage::Live)?;
        }
        self.dir.sync()
    }
}

/// Whether segments follow one another in a view.
fn holds(view: &SegmentList, old: &[Arc<Segment>]) -> bool {
    let Some(first) = old.first() else { return false };
    let from = view.segments.iter().position(|segment| Arc::ptr_eq(segment, first));
    let there = from.and_then(|from| view.segments.get(from..from.saturating_add(old.len())));
    there.is_some_and(|there| there.iter().zip(old).all(|(one, other)| Arc::ptr_eq(one, other)))
}
