//! Compacting a log: passes of the cleaner over its closed segments.
//!
//! A pass holds no lock while it reads and writes, only the right to be the one pass.
//! [`replace`](LogInner::replace) puts its result in place, one group of segments after the other. A
//! truncation does not wait for the pass, except for its first fsync and the moment of a
//! replacement. A close or a pause waits until the pass has noticed it, which it checks every 256
//! KiB. The pass then discards what it was writing.

use crate::compaction::key_map::KeyMap;
use crate::compaction::plan::{Dirty, GroupLimits, Part, Rules, dirty, groups};
use crate::compaction::read_keys::read_keys;
use crate::compaction::rewrite::{RewriteOptions, Rewritten, SegmentGroup, rewrite};
use crate::compaction::survivors::Survivors;
use crate::compaction::{NoTransactions, Scratch, Source};
use crate::error::{Error, Result};
use crate::event::{CompactionReport, Event};
use crate::log::config::FOREVER;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::inner::LogInner;
use crate::log::maintainer::Pace;
use crate::log::state::deferred_close::{DeferredClose, WORTH_BYTES};
use crate::log::state::segment_list::SegmentList;
use crate::producer_state::ProducerState;
use crate::random;
use crate::segment::Segment;
use crate::segment::index::Indexes;
use crate::types::{Offset, Timestamp};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// The part of the log to compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The dirty part, if the log's options require it.
    Due,
    /// The dirty part.
    Dirty,
    /// All that can be, whether or not it was before.
    All,
}

/// How a pass ended.
enum Outcome {
    /// Everything it set out to clean is, or up to where its map was full.
    Clean { full: bool },
    /// There is nothing to do.
    Nothing,
    /// The log has changed under it.
    Interrupted,
    /// It was told to stop.
    Stopped,
}

/// A pass over a log as it was at one moment.
struct Pass<'a> {
    log: &'a LogInner,
    /// The log's revision while only this pass replaces or truncates anything.
    revision: Cell<u64>,
    /// Whether the caller has stopped the pass.
    stopped: Cell<bool>,
    now: Timestamp,
    /// What it knows of the segments. Those that it has done it does not keep: they may be
    /// deleted.
    parts: Vec<Part>,
    /// The number of the first that it still has to read.
    next: Cell<usize>,
}

impl LogInner {
    /// Compacts all that can be.
    pub(crate) fn compact_all(&self) -> Result<CompactionReport> {
        self.state.check_writable()?;
        if !self.dynamic.current().cleanup_policy.compacts() {
            return Err(Error::InvalidConfig {
                option: "cleanup_policy",
                reason: "is Delete: open the log with Compact or CompactAndDelete to compact it"
                    .to_owned(),
            });
        }
        self.compact(Scope::All, &mut |_| true)
    }

    /// Compacts the log. A pass that another thread runs is waited for.
    pub(crate) fn compact(&self, scope: Scope, pace: Pace<'_>) -> Result<CompactionReport> {
        let (done, events) = {
            let mut closing = self.cleaning.cleaner.lock();
            self.dir.events.hold(|| self.go_through(scope, pace, &mut closing))
        };
        self.emit_all(events);
        done
    }

    /// Makes passes until there is nothing to do. The cleaner lock is held.
    fn go_through(
        &self,
        mut scope: Scope,
        pace: Pace<'_>,
        closing: &mut DeferredClose,
    ) -> Result<CompactionReport> {
        let mut report = CompactionReport::default();
        loop {
            self.state.check_writable()?;
            if self.cleaning.is_paused() {
                break;
            }
            let revision = self.state.revision();
            match self.pass(revision, scope, &mut report, pace, closing) {
                // What is left is dirty, and worth it as it was before.
                Ok(Outcome::Clean { full: true }) => scope = Scope::Dirty,
                Ok(Outcome::Interrupted) if !self.cleaning.is_paused() => {}
                Ok(Outcome::Clean { full: false } | Outcome::Nothing) => break,
                Ok(Outcome::Interrupted | Outcome::Stopped) => {
                    self.state.check_writable()?;
                    break;
                }
                Err(error) => {
                    self.give_up(&error);
                    return Err(error);
                }
            }
        }
        report.first_dirty_offset = self.cleaning.progress.lock().cleaned.unwrap_or(0);
        // Also what a pass did that did not come to its end.
        if report.passes > 0 || report.records_removed > 0 || report.segments_removed > 0 {
            self.emit(&Event::Compacted(report));
        }
        Ok(report)
    }

    /// How large a share of the log is dirty; infinite for one that only deletes, which takes no
    /// time.
    pub(crate) fn dirty_ratio(&self) -> f64 {
        if !self.dynamic.current().cleanup_policy.compacts() {
            return f64::INFINITY;
        }
        let rules = Rules { min_dirty_ratio: 0.0, min_lag: Duration::ZERO, max_lag: FOREVER };
        let (end, start) = (self.state.end(), self.state.start());
        // Without lags nothing is read for this.
        let parts = self.state.segments().and_then(|view| parts(&view, end, &rules));
        let Ok(parts) = parts else { return 0.0 };
        let cleaned = self.cleaning.progress.lock().cleaned;
        dirty(&parts, start, cleaned, end, Timestamp::NONE, &rules).ratio()
    }

    /// What fails for what is stored will fail again: such a log is left alone until it is opened
    /// again.
    fn give_up(&self, error: &Error) {
        if matches!(error, Error::Corrupt(_) | Error::Unsupported(_) | Error::InvalidBatch(_)) {
            self.emit(&self.cleaning.set_uncleanable(&error.to_string()));
        }
    }

    fn pass(
        &self,
        revision: u64,
        scope: Scope,
        report: &mut CompactionReport,
        pace: Pace<'_>,
        closing: &mut DeferredClose,
    ) -> Result<Outcome> {
        // `Clock` is user-supplied: read it with only the cleaner lock held.
        let now = self.clock().now();
        let (end, start) = (self.state.end(), self.state.start());
        let view = self.state.segments()?;
        let rules = self.cleaning_rules();
        let parts = parts(&view, end, &rules)?;
        let cleaned = self.cleaning.progress.lock().cleaned.filter(|_| scope != Scope::All);
        let dirty = dirty(&parts, start, cleaned, end, now, &rules);
        if dirty.dirty_bytes == 0 || (scope == Scope::Due && !dirty.is_due(&rules)) {
            return Ok(Outcome::Nothing);
        }
        let segments = view.segments.clone();
        drop(view);
        let (revision, stopped, next) = (Cell::new(revision), Cell::new(false), Cell::new(0));
        let pass = Pass { log: self, revision, stopped, now, parts, next };
        match pass.run(segments, &dirty, report, pace, closing) {
            Err(_) if pass.stopped.get() => Ok(Outcome::Stopped),
            // What it read may have been cut or deleted while it read it.
            Err(_) if pass.is_outdated() => Ok(Outcome::Interrupted),
            done => done,
        }
    }

    fn cleaning_rules(&self) -> Rules {
        let config = self.dynamic.current();
        Rules {
            min_dirty_ratio: config.min_cleanable_dirty_ratio,
            min_lag: config.min_compaction_lag,
            max_lag: config.max_compaction_lag,
        }
    }

    /// Makes what is to be compacted durable, and lets the recovery point vouch for it: above
    /// that, offsets that are missing would be taken for lost.
    fn advance_recovery_point_to(&self, upto: Offset, revision: u64) -> Result<()> {
        let _change = self.cleaning.change.lock();
        // A log that was cut ends below: nothing may vouch for what will be appended there.
        if self.state.revised_since(revision) {
            return Err(self.state.closed());
        }
        let state = self.flushes.pause_syncs();
        if state.segments.len() > 1 || self.state.durable() < upto {
            self.lead_sync(state)?;
        } else {
            drop(state);
        }
        let _state = self.flushes.pause_syncs();
        if self
            .flushes
            .checkpoints
            .get(Checkpoint::RecoveryPoint)?
            .is_none_or(|vouched| vouched < upto)
        {
            self.flushes.store_recovery_point(upto)?;
        }
        Ok(())
    }
}

impl Pass<'_> {
    fn run(
        &self,
        mut segments: Vec<Arc<Segment>>,
        dirty: &Dirty,
        report: &mut CompactionReport,
        pace: Pace<'_>,
        closing: &mut DeferredClose,
    ) -> Result<Outcome> {
        let config = self.log.dynamic.current();
        self.log.discard_leftovers()?;
        self.log.advance_recovery_point_to(dirty.upto, self.revision.get())?;
        let sources = self.sources(0, &segments);
        let is_dirty =
            |source: &&Source<'_>| source.next > dirty.from && source.segment.base < dirty.upto;
        let unclean: Vec<Source<'_>> = sources.iter().filter(is_dirty).copied().collect();
        let mut keys = KeyMap::new(config.dedupe_buffer_bytes, &(dirty.from..dirty.upto), seed())?;
        let mut scratch = Scratch::new(config.max_decompressed_bytes);
        let mut transactions = NoTransactions::with_active(self.active_producers(dirty.upto));
        let mapped = read_keys(
            &unclean,
            dirty.from,
            &mut keys,
            &mut scratch,
            &mut transactions,
            &mut |b| self.go_on(b, pace),
        )?;
        let winners = Survivors::new(&keys, dirty.from..mapped.end).with_spans(&mapped.spans);
        let terms = RewriteOptions {
            now: self.now,
            delete_retention: config.delete_retention,
            compression: config.compression,
        };
        let limits =
            GroupLimits { segment_bytes: config.segment_bytes, index_bytes: config.index_bytes };
        report.records_kept = 0;
        let parts = self.parts_with_entries(&segments, mapped.end)?;
        for range in groups(&parts, mapped.end, &limits) {
            let done = range.start.saturating_sub(self.next.replace(range.start));
            segments = segments.split_off(done.min(segments.len()));
            let old = segments.get(..range.len()).unwrap_or_default();
            let members = &self.sources(range.start, old);
            let Some(first) = members.first() else { continue };
            let (dir, base) = (&self.log.dir, first.segment.base);
            let group = SegmentGroup { dir, base, sources: members };
            let (done, indexes) =
                rewrite(&group, &winners, &terms, &mut scratch, &mut transactions, &mut |b| {
                    self.go_on(b, pace)
                })?;
            report.records_kept = report.records_kept.saturating_add(done.records_kept);
            if !done.changed && members.len() == 1 {
                self.log.discard_replacement(base)?;
                continue;
            }
            // If the file stays open, its removal only removes the name, which takes no time under
            // the lock. For a file that cannot be opened, it takes longer.
            let is_large = |source: &&Source<'_>| source.segment.published() >= WORTH_BYTES;
            let large = members.iter().filter(is_large);
            let files = large.filter_map(|source| source.segment.file().ok()).collect();
            if !self.replace(old, &done, indexes)? {
                return Ok(Outcome::Interrupted);
            }
            members.iter().for_each(|source| source.segment.release_file());
            closing.close(files);
            note(report, members, &done);
        }
        self.finish(mapped.end)?;
        report.passes = report.passes.saturating_add(1);
        Ok(Outcome::Clean { full: mapped.full })
    }

    /// The producers that may go on and whose last batch lies below an offset.
    fn active_producers(&self, upto: Offset) -> Vec<ProducerState> {
        // The clock is user-supplied and may panic: it is read with no lock held.
        let now = self.log.clock().monotonic();
        let expire_after = self.log.config.producer_id_expiration;
        let mut writer = self.log.appends.writer.lock();
        let Some(writer) = writer.as_mut() else { return Vec::new() };
        let is_below = |state: &ProducerState| {
            Offset::try_from(state.last_offset).is_ok_and(|last| last < upto)
        };
        writer.tracked.active(now, expire_after).filter(is_below).collect()
    }

    /// Whether the pass is to go on, asked now and then.
    fn go_on(&self, bytes: u64, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let log = self.log;
        if !pace(bytes) || log.cleaning.is_paused() || log.state.check_writable().is_err() {
            self.stopped.set(true);
        }
        // The error is not looked at: it ends the pass.
        if self.stopped.get() || self.is_outdated() {
            return Err(log.state.closed());
        }
        Ok(())
    }

    /// Whether any of the segments that it still has to read was cut, replaced or deleted by
    /// another. A deleted one keeps its room on disk until this pass ends.
    fn is_outdated(&self) -> bool {
        let start = self.log.state.start();
        let is_deleted = |first: &Part| !first.active && first.next <= start;
        self.log.state.revised_since(self.revision.get())
            || self.parts.get(self.next.get()).is_some_and(is_deleted)
    }

    /// Segments from a number on, to be read.
    fn sources<'a>(&self, from: usize, segments: &'a [Arc<Segment>]) -> Vec<Source<'a>> {
        let parts = self.parts.iter().skip(from);
        let segments = segments.iter().zip(parts);
        segments.map(|(segment, part)| Source { segment, next: part.next }).collect()
    }

    /// The segments with the sizes of their indexes, where those matter.
    fn parts_with_entries(&self, segments: &[Arc<Segment>], end: Offset) -> Result<Vec<Part>> {
        let mut parts = self.parts.clone();
        for (part, segment) in parts.iter_mut().zip(segments) {
            if part.base < end && !part.active {
                let indexes = segment.indexes(part.next)?;
                part.offset_entries = indexes.offsets.len();
                part.time_entries = indexes.times.len();
            }
        }
        Ok(parts)
    }

    /// Puts what was written in the place of what it was made from, unless that has changed
    /// meanwhile.
    fn replace(&self, old: &[Arc<Segment>], done: &Rewritten, indexes: Indexes) -> Result<bool> {
        let log = self.log;
        let dir = Arc::clone(&log.dir);
        let new =
            Arc::new(Segment::replacement(dir, done.base, done.bytes, Some(Arc::new(indexes))));
        let (replaced, events) = {
            let _change = log.cleaning.change.lock();
            log.state.check_writable()?;
            if log.state.revised_since(self.revision.get()) {
                (log.discard_replacement(done.base).map(|()| false), Vec::new())
            } else {
                let replaced = log.dir.events.hold(|| log.replace(old, &new, done.end));
                self.revision.set(log.state.revision());
                replaced
            }
        };
        log.emit_all(events);
        replaced
    }

    /// Writes down how far everything is clean now.
    fn finish(&self, end: Offset) -> Result<()> {
        let _change = self.log.cleaning.change.lock();
        self.log.state.check_writable()?;
        if self.log.state.revised_since(self.revision.get()) {
            return Err(self.log.state.closed());
        }
        self.log.cleaning.set_cleaned(&self.log.flushes.checkpoints, end)
    }
}

fn note(report: &mut CompactionReport, sources: &[Source<'_>], done: &Rewritten) {
    let before: u64 = sources.iter().map(|source| source.segment.published()).sum();
    let fewer = sources.len().saturating_sub(1);
    report.segments_removed = report.segments_removed.saturating_add(fewer);
    report.bytes_removed = report.bytes_removed.saturating_add(before.saturating_sub(done.bytes));
    report.records_removed = report.records_removed.saturating_add(done.records_removed);
    report.tombstones_removed = report.tombstones_removed.saturating_add(done.tombstones_removed);
}

/// The segments of a log, as far as the rules need them.
fn parts(view: &SegmentList, end: Offset, rules: &Rules) -> Result<Vec<Part>> {
    let mut parts = Vec::with_capacity(view.segments.len());
    for (number, segment) in view.segments.iter().enumerate() {
        let next = view.limit(number, end);
        let active = !segment.is_sealed();
        let largest = if active || rules.min_lag.is_zero() {
            Timestamp::NONE
        } else {
            segment.largest_timestamp(next)?
        };
        let first = if active || rules.max_lag >= FOREVER {
            Timestamp::NONE
        } else {
            segment.first_timestamp()?
        };
        let (base, bytes) = (segment.base, segment.published());
        let (offset_entries, time_entries) = (0, 0);
        parts.push(Part {
            base,
            next,
            bytes,
            offset_entries,
            time_entries,
            largest,
            first,
            active,
        });
    }
    Ok(parts)
}

/// Returns the seed for the hashes of one pass, unknown to clients that choose keys.
fn seed() -> [u8; 16] {
    random::from_system().to_ne_bytes()
}
