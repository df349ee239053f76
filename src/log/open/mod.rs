//! Opening a log: finish or undo interrupted changes, recover the end of the log, and sync
//! everything before relying on it.
//!
//! 1. [`directory`] finds the directory, locks it, and finds out whether the power was lost since
//!    it was last open.
//! 2. [`leftovers`] finishes or undoes a replacement that a crash interrupted, and removes the
//!    segments below the start of the log.
//! 3. Files after the end that do not belong to the log, and segments that are missing, are damage.
//!    An opening that must fail for them fails here, before anything else is changed. If that is
//!    chosen, [`quarantine`] moves all damage aside.
//! 4. After a clean close, the stored indexes of the active segment are taken. Otherwise
//!    [`recover`] reads the batches above the recovery point, truncates a torn write or fails for
//!    damage, and syncs what it read.
//! 5. The replay completes the producers, which it has followed in step 4.
//! 6. After a recovery, the new recovery point is stored.
//! 7. The `LogInner` is made. Last, [`directory`] stores in the lock file that a power loss is
//!    dealt with, and removes the marker of the clean close.
//!
//! A [`read_only`] opening takes none of these steps: it locks nothing, and changes nothing.
//!
//! After a clean close, opening reads only names and small files. Records that were acknowledged
//! as durable are never truncated: bytes that are not a batch are removed only where a write can
//! have been torn, which is after everything that was ever synced.

pub(crate) mod directory;
pub(crate) mod epochs;
pub(crate) mod leftovers;
pub(crate) mod quarantine;
pub(crate) mod read_only;
pub(crate) mod recover;

use crate::checkpoint::CleanShutdown;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::fs::WhenFull;
use crate::log::append::roll::{begin_segment, roll_age};
use crate::log::config::{LogConfig, OnCorruption};
use crate::log::dynamic_config::FixedConfig;
use crate::log::files::checkpoint::{Checkpoint, RecoveryPoint};
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::listing::Listing;
use crate::log::files::lock::Ownership;
use crate::log::files::losses::{damage_at_end, lost_segments};
use crate::log::files::strays::Strays;
use crate::log::inner::{LogInner, LogParts};
use crate::log::open::quarantine::{CrashContext, DamagedSegment, set_aside};
use crate::log::read::survey::stored_high_watermark;
use crate::log::recovery::Recovery;
use crate::log::replay::ProducerReplay;
use crate::log::state::partition::PartitionOf;
use crate::log::state::segment_list::SegmentList;
use crate::log::state::sync::SyncState;
use crate::log::state::writer::Writer;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::index_files::stored_indexes;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::recover::recover_segment;
use crate::segment::recovered::{Recovered, RecoveryObserver as _, ScanRules, SegmentTail};
use crate::segment::{Segment, SegmentDir};
use crate::types::Offset;
use std::sync::Arc;

/// The writer of a log, its closed segments, and its end.
type Opened = (Writer, Vec<Arc<Segment>>, Offset);

/// Takes from the marker of a clean close what the replay need not read.
fn trust(marker: &CleanShutdown, listing: &Listing, replay: &mut ProducerReplay) -> Result<()> {
    if marker.aborted != listing.aborted_transactions() {
        replay.index_all(marker.end)?;
    }
    if marker.producers == Some(0) {
        replay.know_of_none(marker.end);
    }
    Ok(())
}

pub(crate) struct Opener {
    pub(crate) dir: Arc<SegmentDir>,
    pub(crate) config: LogConfig,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) recovery: Recovery,
    /// Whether the power was lost since the log was last open. Then unsynced writes may be missing
    /// in any order, and a valid batch after a hole does not prove corruption.
    pub(crate) lost_power: bool,
    /// The recovery point: what was synced when the log was last open.
    pub(crate) point: RecoveryPoint,
    /// Whether compaction, or another program, may have left offsets out.
    pub(crate) may_have_holes: bool,
    /// The partition that the log is, if a store opens it.
    pub(crate) partition: Option<PartitionOf>,
    /// The files, if they were listed since the directory was locked.
    pub(crate) listing: Option<Listing>,
}

impl Opener {
    pub(crate) fn new(
        dir: Arc<SegmentDir>,
        config: LogConfig,
        checkpoints: Checkpoints,
        lost_power: bool,
        point: RecoveryPoint,
    ) -> Opener {
        Opener {
            dir,
            config,
            checkpoints,
            recovery: Recovery::default(),
            lost_power,
            point,
            may_have_holes: true,
            partition: None,
            listing: None,
        }
    }

    pub(crate) fn run(mut self, ownership: Ownership) -> Result<LogInner> {
        let mut listing = self.finish_interrupted_changes()?;
        let recovery_point = self.point.synced;
        let start = self.checkpoints.get(Checkpoint::Start)?.unwrap_or(0);
        self.remove_below(&mut listing, start)?;
        self.may_have_holes = self.may_have_holes(&listing)?;
        // Without a recovery point, it is not known which bytes were not synced.
        self.lost_power &= self.point.uncompacted.is_some();
        let clean = self.set_damage_aside(&mut listing, recovery_point, start)?;
        if self.check_front(&listing, start, clean.is_some())? {
            listing = Listing::read(&self.dir)?;
        }
        let is_recovered = clean.is_none();
        let epochs_at_close = clean.as_ref().map(|marker| marker.epochs);
        let stored = stored_high_watermark(&self.checkpoints, self.config.replicated, start)?;
        let mut replay = self.replay(&listing)?.above_high_watermark(stored);
        let mut has_point = self.point.uncompacted.is_some();
        let (writer, sealed, end) = match clean {
            Some(marker) => {
                trust(&marker, &listing, &mut replay)?;
                // Without a recovery point of ours, a later crash could not be told from damage.
                if recovery_point > marker.end || self.point.uncompacted.is_none() {
                    has_point |= self.reach_recovery_point(recovery_point, marker.end)?;
                }
                self.open_clean(&listing, &marker)?
            }
            None => self.recover(&listing, recovery_point, start, &mut replay)?,
        };
        replay.begin(end)?;
        let (mut writer, mut segments, end) =
            self.not_below(start, (writer, sealed, end), &mut replay)?;
        let (tracked, aborted) = replay.finish(end, writer.segment.base)?;
        writer.tracked = tracked.at(writer.log.position());
        writer.take_aborted(&aborted);
        if is_recovered {
            // Store the recovery point last: it also covers the index of aborted transactions.
            has_point |= self.reach_recovery_point(recovery_point, end)?;
        }
        writer.syncs_before_roll = !has_point;
        segments.push(Arc::clone(&writer.segment));
        let start = start.max(segments.first().map_or(0, |first| first.base)).min(end);
        let cleaned = self.cleaned_below(start, end)?;
        let high_watermark = self.not_above(end, stored)?;
        let epochs = self.open_epochs(&mut writer, &segments, start..end, epochs_at_close)?;
        let sync = SyncState::new(Arc::clone(&writer.segment));
        if self.config.preallocate {
            writer.log.reserve(self.config.segment_bytes)?;
        }
        Ok(LogInner::new(LogParts {
            dir: self.dir,
            partition: self.partition,
            config: self.config,
            checkpoints: self.checkpoints,
            recovery: self.recovery,
            segments: SegmentList { segments },
            start,
            end,
            durable: end,
            high_watermark,
            cleaned,
            epochs,
            writer: Some(writer),
            sync,
            follower: None,
            ownership: Some(ownership),
        }))
    }

    fn replay(&self, listing: &Listing) -> Result<ProducerReplay> {
        let (config, now) = (FixedConfig::new(&self.config), self.config.clock.now());
        ProducerReplay::new(&self.dir, &config, listing.logs().collect(), now)
    }

    /// Returns the start of the dirty part, if it is known. A stored one above the end belongs to
    /// another log, or the log has lost its end: then the dirty part begins at the start of the
    /// log, as in Kafka.
    fn cleaned_below(&self, start: Offset, end: Offset) -> Result<Option<Offset>> {
        match self.checkpoints.get(Checkpoint::Cleaned)? {
            Some(cleaned) if cleaned > end => {
                self.checkpoints.set(Checkpoint::Cleaned, start).map(|()| Some(start))
            }
            cleaned => Ok(cleaned),
        }
    }

    /// Returns the high watermark of a log that ends here. A stored one above the end is lowered:
    /// no replica has the records that are going to be appended below it.
    fn not_above(&self, end: Offset, stored: Option<Offset>) -> Result<Option<Offset>> {
        let high_watermark = stored.map(|stored| stored.min(end));
        if let Some(lower) = high_watermark.filter(|lower| stored.is_some_and(|it| it > *lower)) {
            self.checkpoints.set(Checkpoint::HighWatermark, lower)?;
        }
        Ok(high_watermark)
    }

    /// Moves damage out of the log before recovery, if that is chosen. Returns the marker of a
    /// clean shutdown, if one describes the files as they are then.
    fn set_damage_aside(
        &mut self,
        listing: &mut Listing,
        recovery_point: Offset,
        start: Offset,
    ) -> Result<Option<CleanShutdown>> {
        let strays = self.strays(listing)?;
        let damaged = self.damaged(listing, recovery_point)?;
        let clean = self.clean_marker(listing, start)?;
        if self.config.on_corruption != OnCorruption::Quarantine {
            self.remove_strays(&strays)?;
            return Ok(clean);
        }
        // The whole log is read anyway, so the marker saves nothing.
        if clean.is_some() {
            self.checkpoints.remove_clean_shutdown()?;
        }
        for segment in damaged {
            self.recovery.quarantined.extend(segment.quarantine(&self.dir)?);
        }
        self.remove_strays(&strays)?;
        *listing = Listing::read(&self.dir)?;
        Ok(None)
    }

    /// Removes from the listing the files after the end that do not belong to the log, and returns
    /// them. If the opening must fail because of such a file, it fails here, before anything is
    /// changed.
    pub(crate) fn strays(&self, listing: &mut Listing) -> Result<Strays> {
        let (dir, checkpoints) = (&self.dir, &self.checkpoints);
        let found = Strays::find(dir, listing, checkpoints, self.point, self.may_have_holes)?;
        let is_explained = self.lost_power && found.are_blank;
        match self.config.on_corruption {
            // Recovery removes them together with the lost records before them.
            OnCorruption::Fail | OnCorruption::Truncate if is_explained => {
                return Ok(Strays::default());
            }
            OnCorruption::Fail => {
                if let Some(damage) = found.damage(dir).next() {
                    return Err(Error::Corrupt(Box::new(damage)));
                }
            }
            OnCorruption::Truncate | OnCorruption::Quarantine => {}
        }
        listing.live.retain(|(base, kind), _| *kind != Kind::Log || !found.contains(*base));
        Ok(found)
    }

    /// Removes strays, or moves them aside, the last first.
    fn remove_strays(&mut self, strays: &Strays) -> Result<()> {
        let damage: Vec<_> = strays.damage(&self.dir).collect();
        for ((base, bytes), damage) in strays.files.iter().zip(damage).rev() {
            if self.config.on_corruption == OnCorruption::Quarantine {
                let taken = set_aside(&self.dir, *base, *bytes, damage)?;
                self.recovery.quarantined.push(taken);
                continue;
            }
            let path = damage.path;
            self.dir.fs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
            self.sync_dir()?;
            self.record_truncation(path, 0, *bytes, strays.end);
        }
        Ok(())
    }

    /// Finds all damage that no crash explains, if it is to be moved out of the log. All of it is
    /// found before any is moved, because an opening that fails must have changed nothing.
    fn damaged(&self, listing: &Listing, recovery_point: Offset) -> Result<Vec<DamagedSegment>> {
        if self.config.on_corruption != OnCorruption::Quarantine {
            return Ok(Vec::new());
        }
        let (lost_power, dense) = (self.lost_power, !self.may_have_holes);
        let explained = CrashContext { recovery_point, lost_power, dense };
        let bases: Vec<Offset> = listing.logs().map(|(base, _)| base).collect();
        let mut damaged = Vec::new();
        for (index, base) in bases.iter().enumerate() {
            let next = bases.get(index.saturating_add(1)).copied();
            damaged.extend(DamagedSegment::find(&self.dir, *base, next, explained)?);
        }
        Ok(damaged)
    }

    pub(crate) fn sync_dir(&self) -> Result<()> {
        let dir = &self.dir;
        dir.fs.sync_dir(&dir.path).map_err(|e| Error::io("sync", &dir.path, e))
    }

    /// Continues the log at its start if all remaining records lie below: a truncation that
    /// removed the batch in which the start lies was interrupted. Deleted offsets are not reused.
    fn not_below(
        &mut self,
        start: Offset,
        found: Opened,
        replay: &mut ProducerReplay,
    ) -> Result<Opened> {
        if found.2 >= start {
            return Ok(found);
        }
        let writer = self.begin_segment(start)?;
        self.sync_segment(start)?;
        self.sync_dir()?;
        self.checkpoints.set(Checkpoint::RecoveryPoint, start)?;
        let mut listing = Listing::read(&self.dir)?;
        self.remove_below(&mut listing, start)?;
        replay.leave_only(start)?;
        Ok((writer, Vec::new(), start))
    }

    /// Returns the marker of a clean shutdown, if it describes the files that are there. It stays
    /// until the log is open: if this opening fails, the next one has it. Any other marker is
    /// removed now, because the files that it is compared with are about to change.
    fn clean_marker(&self, listing: &Listing, start: Offset) -> Result<Option<CleanShutdown>> {
        let Some(marker) = self.checkpoints.clean_shutdown()? else { return Ok(None) };
        if let Some(marker) = &marker
            && self.config.on_corruption == OnCorruption::Fail
            && let Some(lost) = lost_segments(&self.dir, marker, listing, start).into_iter().next()
        {
            return Err(Error::Corrupt(Box::new(lost)));
        }
        let describes =
            |m: &CleanShutdown| listing.logs().last() == Some((m.base, m.bytes)) && m.end >= start;
        let ours = marker.filter(describes);
        if ours.is_none() {
            // Another program has written here, and may have truncated the compacted part and
            // appended in its place.
            if self.checkpoints.get(Checkpoint::Cleaned)?.is_some() {
                self.checkpoints.set(Checkpoint::Cleaned, 0)?;
            }
            self.checkpoints.remove_clean_shutdown()?;
        }
        Ok(ours)
    }

    pub(crate) fn sealed(&self, base: Offset, bytes: u64) -> Arc<Segment> {
        Arc::new(Segment::sealed(Arc::clone(&self.dir), base, bytes))
    }

    fn open_clean(
        &mut self,
        listing: &Listing,
        marker: &CleanShutdown,
    ) -> Result<(Writer, Vec<Arc<Segment>>, Offset)> {
        self.recovery.clean_shutdown = true;
        let mut sealed: Vec<_> = listing.logs().map(|(b, len)| self.sealed(b, len)).collect();
        let stored = |indexes: &Indexes| {
            indexes.offsets.len() as u64 == marker.offset_entries
                && indexes.times.len() as u64 == marker.time_entries
        };
        drop(sealed.pop());
        let opened = stored_indexes(&self.dir, marker.base, marker.bytes)?.ok().filter(stored);
        let Some(indexes) = opened else {
            // The log is sound but its index is not: read it as after a crash, and trust the
            // synced part.
            let found = recover_segment(&self.dir, marker.base, ScanRules::NONE, &mut ())?;
            if !matches!(found.tail, SegmentTail::Clean) {
                return Err(damage_at_end(&self.dir, marker.base, &found, None, 0));
            }
            let path = self.dir.path_of(SegmentFile::live(marker.base, Kind::OffsetIndex));
            let reason = "it does not match the log";
            self.dir.events.emit(&Event::IndexRebuilt { path, reason });
            self.recovery.scanned_bytes = found.scanned_bytes;
            let stored = self.dir.store_indexes(marker.base, &found.indexes)?;
            return Ok((self.writer(marker.base, found, stored)?, sealed, marker.end));
        };
        let cadence = IndexCadence::new(self.config.index_interval_bytes, marker.largest)
            .resumed(marker.bytes_since_entry);
        let writer = self.writer(
            marker.base,
            Recovered {
                valid_bytes: marker.bytes,
                file_bytes: marker.bytes,
                scanned_bytes: 0,
                end: marker.end,
                first_timestamp: marker.first_timestamp,
                indexes,
                cadence,
                tail: SegmentTail::Clean,
            },
            true,
        )?;
        Ok((writer, sealed, marker.end))
    }

    /// Returns the writer of a segment whose valid bytes are known. `stored` says that its index
    /// files are complete.
    pub(crate) fn writer(&self, base: Offset, found: Recovered, stored: bool) -> Result<Writer> {
        let indexes = Arc::new(found.indexes);
        let file = self.dir.open_log(base)?;
        let segment = Segment::active(
            Arc::clone(&self.dir),
            base,
            &file,
            found.valid_bytes,
            found.cadence.largest.0,
            Arc::clone(&indexes),
        );
        let path = segment.path(Kind::Log);
        let log = ActiveLog::new(file, path, found.valid_bytes, 0);
        let roll_age = roll_age(&self.config, &self.dir.path, base);
        let (first, begun) = (found.first_timestamp, self.config.clock.monotonic());
        let stored = if stored { (indexes.offsets.len(), indexes.times.len()) } else { (0, 0) };
        let mut writer = Writer::new(segment, indexes, log, found.cadence, first, begun, roll_age);
        (writer.stored_offset_entries, writer.stored_time_entries) = stored;
        Ok(writer)
    }

    /// Begins an empty segment. On a full disk it takes the reserve.
    pub(crate) fn begin_segment(&self, base: Offset) -> Result<Writer> {
        let now = self.config.clock.monotonic();
        begin_segment(&self.dir, &self.config, base, now, WhenFull::UseReserve)
    }

    /// Makes the content of a file durable before opening relies on it.
    pub(crate) fn sync_segment(&self, base: Offset) -> Result<()> {
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        self.dir.open_log(base)?.sync_all().map_err(|e| Error::io("sync", &path, e))
    }
}
