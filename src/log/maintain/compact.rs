//! Compacting a log: passes of the cleaner over its closed segments.
//!
//! While it reads and writes, a pass holds only the cleaner lock, so that one pass runs at a time.
//! [`replace`](LogInner::replace) puts its result in place, one group of segments after the other.
//! A truncation does not wait for the pass, except for its first fsync and the moment of a
//! replacement. A close or a pause waits until the pass has noticed it, which the pass checks
//! every 256 KiB. The pass then discards its unfinished output.

use crate::compaction::key_map::KeyMap;
use crate::compaction::plan::{Dirty, GroupLimits, Part, Rules, dirty, groups};
use crate::compaction::read_keys::read_keys;
use crate::compaction::rewrite::{RewriteOptions, Rewritten, SegmentGroup, rewrite};
use crate::compaction::survivors::Survivors;
use crate::compaction::transactions::LogTransactions;
use crate::compaction::{Scratch, Source};
use crate::error::{Error, Result};
use crate::event::{self, CompactionReport, Event};
use crate::fs::File;
use crate::log::config::FOREVER;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::snapshots::forget_open_transactions;
use crate::log::inner::LogInner;
use crate::log::maintainer::Pace;
use crate::log::state::deferred_close::{DeferredClose, WORTH_BYTES};
use crate::log::state::segment_list::SegmentList;
use crate::producer_state::ProducerState;
use crate::random;
use crate::segment::Segment;
use crate::segment::index::Indexes;
use crate::segment::txn_index::AbortedTxn;
use crate::types::{Offset, Timestamp};
use std::cell::Cell;
use std::ops::Range;
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
    /// Everything that it set out to clean is clean, or everything up to where its map was full.
    Clean { full: bool },
    /// There is nothing to do.
    Nothing,
    /// The log has changed meanwhile.
    Interrupted,
    /// The caller stopped it.
    Stopped,
}

/// A pass over a log as it was at one moment.
struct Pass<'a> {
    log: &'a LogInner,
    /// The log's revision at the beginning of the pass, or after its own last replacement. Another
    /// revision means that another thread truncated or replaced something.
    revision: Cell<u64>,
    /// Whether the caller has stopped the pass.
    stopped: Cell<bool>,
    now: Timestamp,
    /// The end of the log at the beginning of the pass. The markers of all transactions below the
    /// last stable offset lie below it.
    end: Offset,
    /// The facts about the segments. The segments themselves are not kept once they are done,
    /// because they may be deleted.
    parts: Vec<Part>,
    /// The number of the first segment that it still has to read.
    next: Cell<usize>,
}

impl LogInner {
    /// Compacts all that can be.
    pub(crate) fn compact_all(&self) -> Result<CompactionReport> {
        self.state.check_writable()?;
        if !self.dynamic.current().cleanup_policy.compacts() {
            let reason = format!(
                "of log {} is `Delete`, so `compact` is rejected; choose `Compact` or \
                 `CompactAndDelete`",
                self.state.location()
            );
            return Err(Error::InvalidConfig { option: "cleanup_policy", reason });
        }
        self.compact(Scope::All, &mut |_| true)
    }

    /// Compacts the log, after waiting for a pass that another thread runs.
    pub(crate) fn compact(&self, scope: Scope, pace: Pace<'_>) -> Result<CompactionReport> {
        event::deliver_after(|| {
            let mut closing = self.cleaning.cleaner.lock();
            self.go_through(scope, pace, &mut closing)
        })
    }

    /// Makes passes until there is nothing to do. The caller holds the cleaner lock.
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
                // The map was full. The rest is still dirty, and gets a pass whatever its share is
                // now.
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
        // Report also the work of a pass that did not come to its end.
        if report.passes > 0 || report.records_removed > 0 || report.segments_removed > 0 {
            self.emit(&Event::Compacted(report));
        }
        Ok(report)
    }

    /// Returns the share of the log that is dirty; infinite for a log that only deletes, because
    /// that takes no time.
    pub(crate) fn dirty_ratio(&self) -> f64 {
        if !self.dynamic.current().cleanup_policy.compacts() {
            return f64::INFINITY;
        }
        let rules = Rules { min_dirty_ratio: 0.0, min_lag: Duration::ZERO, max_lag: FOREVER };
        let last_stable = self.state.last_stable();
        let (end, start) = (self.state.end(), self.state.start());
        // Without lags nothing is read for this.
        let parts = self.state.segments().and_then(|list| parts(&list, end, &rules));
        let Ok(parts) = parts else { return 0.0 };
        let cleaned = self.cleaning.progress.lock().cleaned;
        dirty(&parts, start, cleaned, last_stable, Timestamp::NONE, &rules).ratio()
    }

    /// Stops compacting the log until it is opened again, if the error lies in the stored batches:
    /// it would recur.
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
        // Load it before the end: a marker below the end may be the one that raises it.
        let last_stable = self.state.last_stable();
        let (end, start) = (self.state.end(), self.state.start());
        let list = self.state.segments()?;
        let rules = self.cleaning_rules();
        let mut parts = parts(&list, end, &rules)?;
        // A segment that was active when its records were deleted is still there once it is closed.
        let is_deleted = |part: &&Part| !part.active && part.next <= start;
        let deleted = parts.iter().take_while(is_deleted).count();
        parts.drain(..deleted);
        let cleaned = self.cleaning.progress.lock().cleaned.filter(|_| scope != Scope::All);
        let dirty = dirty(&parts, start, cleaned, last_stable, now, &rules);
        if dirty.dirty_bytes == 0 || (scope == Scope::Due && !dirty.is_due(&rules)) {
            return Ok(Outcome::Nothing);
        }
        let segments = list.segments.iter().skip(deleted).cloned().collect();
        drop(list);
        let (revision, stopped, next) = (Cell::new(revision), Cell::new(false), Cell::new(0));
        let pass = Pass { log: self, revision, stopped, now, end, parts, next };
        match pass.run(segments, &dirty, report, pace, closing) {
            Err(_) if pass.stopped.get() => Ok(Outcome::Stopped),
            // The batches that it read may have been truncated or deleted meanwhile.
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

    /// Makes everything that is to be compacted durable, and raises the recovery point above it:
    /// offsets that are missing above the recovery point would be taken for lost.
    fn advance_recovery_point_to(&self, upto: Offset, revision: u64) -> Result<()> {
        let _change = self.cleaning.change.lock();
        // A truncated log may end below, and the recovery point must not cover records that are
        // appended there later.
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
        let active = self.active_producers(dirty.upto);
        let find = |offsets| self.durably_aborted(offsets);
        let mut transactions = LogTransactions::new(&find);
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
        let mut transactions = LogTransactions::new(&find).with_active(active);
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
            let files = large_files(members);
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

    /// Returns the aborted transactions with records at these offsets, once their fate is durable.
    ///
    /// Their markers may lie above everything that is compacted. If a loss of power took such a
    /// marker, the transaction could still end the other way, and the records that were removed for
    /// it, or superseded by its own, would be missing.
    fn durably_aborted(&self, offsets: Range<Offset>) -> Result<Vec<AbortedTxn>> {
        self.log.sync_below(self.end)?;
        self.log.aborted_within(offsets)
    }

    /// Returns the producers that have not expired, without those whose last batch does not lie
    /// below an offset.
    fn active_producers(&self, upto: Offset) -> Vec<ProducerState> {
        // The clock is user-supplied and may panic: it is read with no lock held.
        let now = self.log.clock().monotonic();
        let expire_after = self.log.config.producer_id_expiration;
        let mut writer = self.log.appends.writer.lock();
        let Some(writer) = writer.as_mut() else { return Vec::new() };
        // After a marker with a new epoch, a producer has no last batch until it sends one.
        let is_below = |state: &ProducerState| {
            Offset::try_from(state.last_offset).map_or(true, |last| last < upto)
        };
        writer.tracked.active(now, expire_after).filter(is_below).collect()
    }

    /// Fails if the pass must end. Called now and then.
    fn go_on(&self, bytes: u64, pace: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let log = self.log;
        if !pace(bytes) || log.cleaning.is_paused() || log.state.check_writable().is_err() {
            self.stopped.set(true);
        }
        // The caller ignores which error it is.
        if self.stopped.get() || self.is_outdated() {
            return Err(log.state.closed());
        }
        Ok(())
    }

    /// Returns whether another thread truncated, replaced or deleted a segment that the pass still
    /// has to read. A deleted one keeps its room on disk until the pass ends.
    fn is_outdated(&self) -> bool {
        let start = self.log.state.start();
        let is_deleted = |first: &Part| !first.active && first.next <= start;
        self.log.state.revised_since(self.revision.get())
            || self.parts.get(self.next.get()).is_some_and(is_deleted)
    }

    /// Returns the segments from a number on, to be read.
    fn sources<'a>(&self, from: usize, segments: &'a [Arc<Segment>]) -> Vec<Source<'a>> {
        let parts = self.parts.iter().skip(from);
        let segments = segments.iter().zip(parts);
        segments.map(|(segment, part)| Source { segment, next: part.next }).collect()
    }

    /// Returns the segments with the sizes of their indexes, where those matter.
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

    /// Replaces segments by their compacted form, unless they have changed meanwhile.
    fn replace(&self, old: &[Arc<Segment>], done: &Rewritten, indexes: Indexes) -> Result<bool> {
        let log = self.log;
        let dir = Arc::clone(&log.dir);
        let new =
            Arc::new(Segment::replacement(dir, done.base, done.bytes, Some(Arc::new(indexes))));
        let _change = log.cleaning.change.lock();
        log.state.check_writable()?;
        if log.state.revised_since(self.revision.get()) {
            return log.discard_replacement(done.base).map(|()| false);
        }
        if done.marker_removed {
            let forgotten = forget_open_transactions(&log.dir, done.end);
            forgotten.inspect_err(|_| drop(log.discard_replacement(done.base)))?;
        }
        let replaced = log.replace(old, &new, done.end);
        self.revision.set(log.state.revision());
        replaced
    }

    /// Stores up to where the log is clean now.
    fn finish(&self, end: Offset) -> Result<()> {
        let _change = self.log.cleaning.change.lock();
        self.log.state.check_writable()?;
        if self.log.state.revised_since(self.revision.get()) {
            return Err(self.log.state.closed());
        }
        self.log.cleaning.set_cleaned(&self.log.flushes.checkpoints, end)
    }
}

/// Returns the files of large segments. While a file is open, its removal only removes the name,
/// which is fast under a lock. It takes longer for a file that cannot be opened.
fn large_files(sources: &[Source<'_>]) -> Vec<Arc<dyn File>> {
    let is_large = |source: &&Source<'_>| source.segment.published() >= WORTH_BYTES;
    sources.iter().filter(is_large).filter_map(|source| source.segment.file().ok()).collect()
}

fn note(report: &mut CompactionReport, sources: &[Source<'_>], done: &Rewritten) {
    let before: u64 = sources.iter().map(|source| source.segment.published()).sum();
    let fewer = sources.len().saturating_sub(1);
    report.segments_removed = report.segments_removed.saturating_add(fewer);
    report.bytes_removed = report.bytes_removed.saturating_add(before.saturating_sub(done.bytes));
    report.records_removed = report.records_removed.saturating_add(done.records_removed);
    report.tombstones_removed = report.tombstones_removed.saturating_add(done.tombstones_removed);
}

/// Returns the segments of a log, as far as the rules need them.
fn parts(list: &SegmentList, end: Offset, rules: &Rules) -> Result<Vec<Part>> {
    let mut parts = Vec::with_capacity(list.segments.len());
    for (number, segment) in list.segments.iter().enumerate() {
        let next = list.limit(number, end);
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
    random::from_system().to_be_bytes()
}
