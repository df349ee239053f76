//! Looking at the files of a read-only log again: what its writer appended, truncated, compacted or
//! deleted since the last look.

use crate::callback;
use crate::error::Result;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::listing::Listing;
use crate::log::inner::Shared;
use crate::log::read::survey::{log_files, settled, start_of, survey};
use crate::log::state::follower::Follower;
use crate::log::state::follower::anchor::Anchor;
use crate::log::state::segment_list::View;
use crate::segment::Segment;
use crate::segment::name::SegmentFile;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Mutex, thread};
use crate::types::Offset;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at while a tail waits.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl Shared {
    /// On a read-only log, starts a thread that looks at the files while a tail waits. The thread
    /// ends when no tail waits any more.
    pub(crate) fn watch(shared: &Arc<Shared>) {
        if !shared.is_read_only() || shared.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = Arc::downgrade(shared);
        let thread = thread::Builder::new().name("annals-follow".to_owned()).spawn(move || {
            while let Some(shared) = log.upgrade() {
                // The next read meets the same error. It does not meet a listener's panic, which
                // must not end this thread.
                let refreshed = callback::call(|| shared.refresh());
                if shared.is_closed() || !matches!(refreshed, Ok(Ok(()))) {
                    shared.failed_looks.fetch_add(1, Ordering::AcqRel);
                    shared.signal.notify();
                }
                let done = shared.is_closed() || !shared.signal.has_waiters();
                if done {
                    shared.watched.store(false, Ordering::Release);
                    // A tail that begins to wait either sees this store, or is seen here.
                    fence(Ordering::SeqCst);
                    if shared.is_closed() || !shared.signal.has_waiters() {
                        return;
                    }
                    shared.watched.store(true, Ordering::Release);
                }
                drop(shared);
                thread::park_timeout(POLL_INTERVAL);
            }
        });
        if thread.is_err() {
            shared.watched.store(false, Ordering::Release);
        }
    }

    /// On a read-only log, looks at the files again; does nothing on any other.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(follower) = &self.follower else { return Ok(()) };
        let mut slot = follower.lock();
        let follower = slot.as_mut().ok_or_else(|| self.closed())?;
        let (before, revision) = (follower.end, self.revision());
        let (looked, events) = self.dir.events.hold(|| self.refresh_segments(follower));
        let end = follower.end;
        if let Ok(start) = looked {
            self.start.store(start, Ordering::Release);
            // Before the end: what a new batch opens is known with it.
            self.set_first_unstable(follower.first_unstable());
            self.end.store(end, Ordering::Release);
        }
        drop(slot);
        if looked.is_ok() && (end != before || self.revised_since(revision)) {
            self.signal.notify();
        }
        self.emit_all(events);
        looked.map(drop)
    }

    /// On a read-only log, looks whether it was truncated, and at all its files if it was: what
    /// was read below its end since it was looked at last is of the same log if there was no
    /// revision.
    pub(crate) fn recheck(&self) -> Result<()> {
        let Some(follower) = &self.follower else { return Ok(()) };
        let anchor = match follower.lock().as_ref() {
            Some(follower) => follower.anchor.clone(),
            None => return Err(self.closed()),
        };
        let is_there = anchor.map_or(Ok(true), |anchor| anchor.is_there());
        if is_there.map_err(|error| self.unless_closed(error))? { Ok(()) } else { self.refresh() }
    }

    /// How many truncations of a read-only log have been noticed.
    pub(crate) fn truncations(&self) -> u64 {
        let follower = self.follower.as_ref().map(Mutex::lock);
        follower.and_then(|follower| Some(follower.as_ref()?.truncations)).unwrap_or(0)
    }

    /// Looks whether more was appended, the last segment is the last no more, or anything was cut,
    /// and where the log begins.
    fn refresh_segments(&self, follower: &mut Follower) -> Result<Offset> {
        let is_unchanged = follower.take_new_batches()?;
        let listing = Listing::read(&self.dir)?;
        let ends = &mut follower.ends;
        let mut logs = match log_files(&self.dir, &listing, ends) {
            Ok(logs) => logs,
            // It may have been put in place meanwhile.
            Err(_) => settled(&self.dir, |listing| log_files(&self.dir, listing, ends))?,
        };
        logs.retain(|file| !follower.strays.contains(file));
        let view = self.view()?;
        let (active, position) = (follower.segment.base, follower.position);
        // The last one grows. Another one that is not as long as it was has been replaced.
        let is_same = |((file, len), known): (&(SegmentFile, u64), &Arc<Segment>)| {
            file.base == known.base && (!known.is_sealed() || *len == known.published())
        };
        let same =
            logs.len() == view.segments.len() && logs.iter().zip(&view.segments).all(is_same);
        let was_cut = logs.iter().any(|(file, len)| file.base == active && *len < position);
        if same && !was_cut && is_unchanged {
            return start_of(&self.checkpoints, &view, follower.end);
        }
        // What was added to the segment before the next one was begun.
        follower.take_new_batches()?;
        self.follow_anew(follower, was_cut)
    }

    /// Reads the directory again, and tells readers if anything they may have read is there no
    /// more.
    fn follow_anew(&self, follower: &mut Follower, was_cut: bool) -> Result<Offset> {
        let before = follower.end;
        let (mut next, view) =
            survey(&self.dir, &self.checkpoints, &self.config, &mut follower.ends)?;
        // What is not there as it was, but for what was deleted at the front, was cut or
        // compacted.
        let first = view.segments.first().map_or(0, |first| first.base);
        let is_there = |known: &Arc<Segment>| {
            let same = |now: &Arc<Segment>| {
                now.base == known.base
                    && (!known.is_sealed() || now.published() == known.published())
            };
            view.segments.iter().any(same)
        };
        let known = self.view()?;
        let lost = match &follower.anchor {
            Some(anchor) if !anchor.is_there()? => Some(anchor),
            _ => None,
        };
        next.truncations = follower.truncations;
        if let Some(anchor) = lost
            && anchor.header.last_offset() >= first
            && !self.may_be_compacted(anchor, &view)?
        {
            next.truncations = next.truncations.saturating_add(1);
        }
        let revised = was_cut
            || lost.is_some()
            || next.end < before
            || !known.segments.iter().filter(|known| known.base >= first).all(is_there);
        *follower = next;
        let start = start_of(&self.checkpoints, &view, follower.end)?;
        // A reader that sees the view must see the start, too.
        self.start.store(start, Ordering::Release);
        self.update_view(|_| view);
        if revised {
            self.set_first_unstable(follower.first_unstable());
            self.end.store(follower.end, Ordering::Release);
            self.announce_revision();
        }
        Ok(start)
    }

    /// Whether compaction may be why a batch is not where it was. It leaves the last segment
    /// alone, and writes down how far it has come, which a truncation takes back.
    fn may_be_compacted(&self, lost: &Anchor, view: &View) -> Result<bool> {
        if view.segments.last().is_none_or(|last| last.base <= lost.segment.base) {
            return Ok(false);
        }
        let cleaned = self.checkpoints.get(Checkpoint::Cleaned)?;
        Ok(self.config.cleanup_policy.compacts()
            || cleaned.is_some_and(|cleaned| cleaned > lost.header.base_offset))
    }
}
