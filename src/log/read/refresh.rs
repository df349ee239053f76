//! Looking at the files of a read-only log again: what its writer appended, truncated, compacted
//! or deleted since the last look.

use crate::callback;
use crate::error::{Error, Result};
use crate::event;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::listing::Listing;
use crate::log::inner::LogInner;
use crate::log::read::survey::{
    LOOKS, is_short, log_files, look_until_stable, start_of, stored_high_watermark, survey,
};
use crate::log::state::follower::Follower;
use crate::log::state::follower::anchor::KnownBatch;
use crate::log::state::segment_list::SegmentList;
use crate::segment::Segment;
use crate::segment::name::SegmentFile;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::thread;
use crate::types::Offset;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at while a tail waits.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl LogInner {
    /// Looks at the files of a read-only log again; does nothing for any other log.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(follower) = &self.follower else { return Ok(()) };
        let held = event::hold();
        let mut slot = follower.files.lock();
        let follower = slot.as_mut().ok_or_else(|| self.state.closed())?;
        let before = self.state.offsets();
        let revision = self.state.revision();
        let looked = self.refresh_segments(follower).and_then(|start| {
            let (checkpoints, is_replicated) = (&self.flushes.checkpoints, self.config.replicated);
            Ok((start, stored_high_watermark(checkpoints, is_replicated, start)?))
        });
        let end = follower.end;
        if let Ok((start, high_watermark)) = looked {
            self.state.set_start(start);
            high_watermark.into_iter().for_each(|offset| follower.set_high_watermark(offset));
            let aborted = follower.aborted.len();
            if std::mem::replace(&mut follower.announced, aborted) != aborted {
                self.state.note_aborted();
            }
            // Between the two ends some transactions began and others ended. A reader of a new
            // batch must see the transaction that it opens, so the last stable offset is lowered
            // before the end moves. It rises last.
            self.state.lower_first_unstable(follower.first_unstable());
            self.state.set_end(end);
            if let Some(high_watermark) = high_watermark {
                self.state.set_high_watermark(high_watermark);
            }
            self.state.set_first_unstable(follower.first_unstable());
        }
        drop(slot);
        let moved = looked.is_ok() && self.state.offsets() != before;
        if looked.is_ok() && (moved || self.state.revised_since(revision)) {
            self.state.waiters.notify();
        }
        held.deliver();
        looked.map(drop)
    }

    /// Returns whether to look again at what cannot be read or looks damaged. On a read-only log,
    /// the file may have been another for a moment, with the same last batches before and after,
    /// so damage is believed after three looks. `looks` counts them, from 1.
    pub(crate) fn looks_again(&self, error: &Error, looks: &mut usize) -> bool {
        let looks_damaged = is_short(error) || matches!(error, Error::Corrupt(_));
        let again = looks_damaged && self.state.is_read_only() && *looks < LOOKS;
        *looks = looks.saturating_add(1);
        again
    }

    /// Checks whether a read-only log was truncated, and looks at all its files if it was. If
    /// there was no revision, everything read below its end since the last look belongs to the
    /// same history of the log.
    pub(crate) fn recheck(&self) -> Result<()> {
        let Some(follower) = &self.follower else { return Ok(()) };
        let anchor = match follower.files.lock().as_ref() {
            Some(follower) => follower.anchor.clone(),
            None => return Err(self.state.closed()),
        };
        let lost = anchor.lost().map_err(|error| self.state.unless_closed(error))?;
        if lost.is_empty() { Ok(()) } else { self.refresh() }
    }

    /// Returns how many truncations of a read-only log have been noticed.
    pub(crate) fn truncations(&self) -> u64 {
        let follower = self.follower.as_ref().map(|follower| follower.files.lock());
        follower.and_then(|follower| Some(follower.as_ref()?.truncations)).unwrap_or(0)
    }

    /// Looks for appended batches, a new last segment and truncations. Returns the start of the
    /// log.
    fn refresh_segments(&self, follower: &mut Follower) -> Result<Offset> {
        let is_unchanged = follower.take_new_batches()?;
        self.renew_last(&follower.segment)?;
        let listing = Listing::read(&self.dir)?;
        let ends = &mut follower.ends;
        let mut logs = match log_files(&self.dir, &listing, ends) {
            Ok(logs) => logs,
            // A replacement may have been put in place meanwhile.
            Err(_) => look_until_stable(&self.dir, |listing| log_files(&self.dir, listing, ends))?,
        };
        logs.retain(|file| !follower.strays.contains(file));
        let list = self.state.segments()?;
        let (active, position) = (follower.segment.base, follower.position);
        // The last segment grows. Any other that has another length was replaced.
        let is_same = |((file, len), known): (&(SegmentFile, u64), &Arc<Segment>)| {
            file.base == known.base && (!known.is_sealed() || *len == known.published())
        };
        let same =
            logs.len() == list.segments.len() && logs.iter().zip(&list.segments).all(is_same);
        let was_truncated = logs.iter().any(|(file, len)| file.base == active && *len < position);
        if same && !was_truncated && is_unchanged {
            return start_of(&self.flushes.checkpoints, &list, follower.end);
        }
        // Take the batches that were appended before the next segment was begun.
        follower.take_new_batches()?;
        self.follow_anew(follower, was_truncated)
    }

    /// Lets readers see the last segment, if it is another one.
    fn renew_last(&self, segment: &Arc<Segment>) -> Result<()> {
        let list = self.state.segments()?;
        if let Some((last, before)) = list.segments.split_last()
            && !Arc::ptr_eq(last, segment)
        {
            let segments = before.iter().chain([segment]).map(Arc::clone).collect();
            self.state.update_segments(|_| SegmentList { segments });
        }
        Ok(())
    }

    /// Reads the directory again, and tells readers if anything that they may have read is gone.
    fn follow_anew(&self, follower: &mut Follower, was_truncated: bool) -> Result<Offset> {
        let before = follower.end;
        let (mut next, list) = survey(
            &self.dir,
            &self.flushes.checkpoints,
            &self.dynamic.current(),
            &mut follower.ends,
        )?;
        // A segment that is not as it was, and was not deleted at the start of the log, was
        // truncated or compacted.
        let first = list.segments.first().map_or(0, |first| first.base);
        let is_there = |known: &Arc<Segment>| {
            let same = |now: &Arc<Segment>| {
                now.base == known.base
                    && (!known.is_sealed() || now.published() == known.published())
            };
            list.segments.iter().any(same)
        };
        let known = self.state.segments()?;
        let lost = follower.anchor.lost()?;
        next.truncations = follower.truncations;
        let mut is_shorter = false;
        for batch in &lost {
            let was_deleted = batch.header.last_offset() < first;
            is_shorter |= !was_deleted && !self.may_be_compacted(batch, &list)?;
        }
        next.truncations = next.truncations.saturating_add(u64::from(is_shorter));
        let revised = was_truncated
            || !lost.is_empty()
            || next.end < before
            || !known.segments.iter().filter(|known| known.base >= first).all(is_there);
        let start = start_of(&self.flushes.checkpoints, &list, next.end)?;
        // From here on nothing fails: readers must see the list that belongs to the follower.
        *follower = next;
        // A reader that sees the list must see the start, too.
        self.state.set_start(start);
        if revised {
            let lower = || {
                // The caller raises it: then readers of earlier batches see the revision.
                self.state.lower_first_unstable(follower.first_unstable());
                self.state.set_end(follower.end);
            };
            self.state.revise_segments(|_| list, lower);
        } else {
            self.state.update_segments(|_| list);
        }
        Ok(start)
    }

    /// Returns whether compaction may have moved a batch. Compaction leaves the last segment
    /// alone, and stores how far it has come. A truncation lowers that offset.
    fn may_be_compacted(&self, lost: &KnownBatch, list: &SegmentList) -> Result<bool> {
        if list.segments.last().is_none_or(|last| last.base <= lost.segment.base) {
            return Ok(false);
        }
        let cleaned = self.flushes.checkpoints.get(Checkpoint::Cleaned)?;
        Ok(self.dynamic.current().cleanup_policy.compacts()
            || cleaned.is_some_and(|cleaned| cleaned > lost.header.base_offset))
    }
}

/// Starts a thread that looks at the files of a read-only log while a tail waits. The thread ends
/// when no tail waits any more.
pub(crate) fn watch_files(log: &Arc<LogInner>) {
    let Some(follower) = &log.follower else { return };
    if follower.watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let weak = Arc::downgrade(log);
    let thread = thread::Builder::new().name("annals-follow".to_owned()).spawn(move || {
        while let Some(log) = weak.upgrade() {
            if !look_once(&log) {
                return;
            }
            drop(log);
            thread::park_timeout(POLL_INTERVAL);
        }
    });
    if thread.is_err() {
        follower.watched.store(false, Ordering::Release);
    }
}

/// Looks at the files for waiting tails. Returns false when no tail waits any more.
fn look_once(log: &LogInner) -> bool {
    let Some(follower) = &log.follower else { return false };
    let (state, waiters) = (&log.state, &log.state.waiters);
    // An error is dropped here, because the next read fails with it. A listener's panic is
    // dropped, too, because it must not end this thread.
    let refreshed = callback::call(|| log.refresh());
    if state.is_closed() || !matches!(refreshed, Ok(Ok(()))) {
        follower.failed_looks.fetch_add(1, Ordering::AcqRel);
        waiters.notify();
    }
    if state.is_closed() || !waiters.has_waiters() {
        follower.watched.store(false, Ordering::Release);
        // A tail that begins to wait either sees this store, or is seen here.
        fence(Ordering::SeqCst);
        if state.is_closed() || !waiters.has_waiters() {
            return false;
        }
        follower.watched.store(true, Ordering::Release);
    }
    true
}
