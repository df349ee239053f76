//! Finishing or undoing the changes that a crash interrupted: files of an unfinished replacement
//! are removed, and a complete replacement is put in its place.

use crate::error::{Error, Result};
use crate::event::Event;
use crate::log::files::listing::{Listing, end_of_replacement};
use crate::log::open::Opener;
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::types::Offset;
use std::collections::BTreeSet;
use std::path::PathBuf;

impl Opener {
    /// Finishes or undoes interrupted changes, and returns the files that are there afterwards.
    pub(crate) fn finish_interrupted_changes(&mut self) -> Result<Listing> {
        let listed = self.listing.take().map(Ok);
        let mut listing = listed.unwrap_or_else(|| Listing::read(&self.dir))?;
        for name in &listing.unknown {
            let path = self.dir.path.join(name);
            self.dir.events.emit(&Event::UnknownFile { path: path.clone() });
            self.recovery.unknown_files.push(path);
        }
        let before = self.recovery.stale_files_removed;
        for name in std::mem::take(&mut listing.temporary) {
            self.remove(self.dir.path.join(name))?;
        }
        let swap: Vec<SegmentFile> = listing.replacements().map(|(file, _)| file).collect();
        let staged = std::mem::take(&mut listing.staged);
        let at = |stage| staged.keys().copied().filter(move |file| file.stage == stage);
        for file in at(Stage::Deleted) {
            self.remove_file(file)?;
        }
        for file in at(Stage::Swap).filter(|file| !swap.contains(file)) {
            self.remove_file(file)?;
        }
        if self.recovery.stale_files_removed != before {
            self.sync_dir()?;
        }
        for file in at(Stage::Cleaned) {
            self.remove_file(file)?;
        }
        if !swap.is_empty() {
            // A broker that compacted may not have stored that.
            self.mark_compacted()?;
            self.complete_swap(&listing, &swap)?;
            self.sync_dir()?;
            listing = Listing::read(&self.dir)?;
        }
        self.remove_orphans(&mut listing)?;
        Ok(listing)
    }

    /// Puts the complete replacements in the place of every file whose offsets they cover.
    fn complete_swap(&mut self, listing: &Listing, swap: &[SegmentFile]) -> Result<()> {
        let mut covered: Option<(Offset, Offset)> = None;
        for file in swap.iter().filter(|file| file.kind == Kind::Log) {
            let end = end_of_replacement(&self.dir, *file)?;
            let (low, high) = covered.unwrap_or((file.base, end));
            covered = Some((low.min(file.base), high.max(end)));
        }
        if let Some((low, high)) = covered {
            let replaced: Vec<_> =
                listing.live.range((low, Kind::Log)..(high, Kind::Log)).map(|(k, _)| *k).collect();
            for (base, kind) in replaced {
                self.remove_file(SegmentFile::live(base, kind))?;
            }
            self.sync_dir()?;
        }
        for file in swap {
            let from = self.dir.path_of(*file);
            let to = self.dir.path_of(SegmentFile { stage: Stage::Live, ..*file });
            self.dir.fs.rename(&from, &to).map_err(|e| Error::io("rename", &from, e))?;
            if file.kind == Kind::Log {
                self.dir.events.emit(&Event::SwapCompleted { path: to });
            }
        }
        Ok(())
    }

    /// Removes the segments that lie wholly below the start. They were deleted, but a crash kept
    /// their files.
    pub(crate) fn remove_below(&mut self, listing: &mut Listing, start: Offset) -> Result<()> {
        let bases: Vec<Offset> = listing.logs().map(|(base, _)| base).collect();
        let next = bases.iter().skip(1);
        let below = bases.iter().zip(next).filter(|(_, next)| **next <= start);
        for (base, kind) in below.flat_map(|(base, _)| Kind::ALL.map(|kind| (*base, kind))) {
            if listing.live.remove(&(base, kind)).is_some() {
                self.remove_file(SegmentFile::live(base, kind))?;
            }
        }
        Ok(())
    }

    /// Removes indexes whose log is gone.
    fn remove_orphans(&mut self, listing: &mut Listing) -> Result<()> {
        let logs: BTreeSet<Offset> = listing.logs().map(|(base, _)| base).collect();
        let orphans: Vec<_> = listing
            .live
            .keys()
            .copied()
            .filter(|(base, kind)| !kind.is_of_offset() && !logs.contains(base))
            .collect();
        for (base, kind) in orphans {
            self.remove_file(SegmentFile::live(base, kind))?;
            listing.live.remove(&(base, kind));
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: PathBuf) -> Result<()> {
        self.dir.fs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        self.recovery.stale_files_removed = self.recovery.stale_files_removed.saturating_add(1);
        self.dir.events.emit(&Event::StaleFileRemoved { path });
        Ok(())
    }

    fn remove_file(&mut self, file: SegmentFile) -> Result<()> {
        self.remove(self.dir.path_of(file))
    }
}
