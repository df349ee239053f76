//! Opening a log: take the locks, finish or undo interrupted changes, recover the end of the log,
//! and sync everything before it is relied upon.
//!
//! After a clean close, opening reads only names and small files. After a crash it reads the
//! batches above the recovery point. Records that were acknowledged as durable are never
//! truncated: bytes that are not a batch are removed only where a write can have been torn, which
//! is after everything that was ever synced.

use crate::checkpoint::CleanShutdown;
use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event::{Event, EventSink, Quarantined};
use crate::fs::{Dir, DirEntry, EntryKind, Fs, WhenFull};
use crate::log::append::Writer;
use crate::log::change::{begin_segment, roll_age};
use crate::log::checkpoints::{Checkpoint, Checkpoints, RecoveryPoint};
use crate::log::config::{LogConfig, OnCorruption};
use crate::log::data_checkpoints::key_of;
use crate::log::flush::SyncState;
use crate::log::lock::Ownership;
use crate::log::place::PartitionOf;
use crate::log::producers::Replay;
use crate::log::quarantine::{DamagedSegment, Explained, set_aside};
use crate::log::recovery::damage;
use crate::log::shared::{Parts, Shared};
use crate::log::stray::Strays;
use crate::log::view::View;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, META_PROPERTIES, Name, SegmentFile, Stage, is_of_system};
use crate::segment::recover::{Heed as _, Recovered, ScanRules, Tail, recover_segment};
use crate::segment::scan::{BatchStream, Step};
use crate::segment::{Segment, SegmentDir, stored_indexes};
use crate::types::Offset;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of opening a log: what it found and did.
/// [`docs::durability`](crate::docs::durability#what-opening-does) has the procedure.
///
/// ```
/// use annals::{Log, LogConfig, fs::MemFs};
///
/// let fs = MemFs::new();
/// let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
/// log.append("a")?;
///
/// let again = Log::open("orders-0", LogConfig::default().fs(fs.kill()))?;
/// assert!(!again.recovery().clean_shutdown); // it was not closed, so opening read what was not flushed:
/// assert_eq!(again.recovery().scanned_bytes, 69);
/// assert_eq!(again.recovery().truncated_bytes, 0);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Whether nothing had to be recovered: the log was closed cleanly, or was just created.
    pub clean_shutdown: bool,
    /// The number of bytes of batches that were read and verified.
    pub scanned_bytes: u64,
    /// The number of bytes truncated at the end of the log, because they were not a whole batch or
    /// came after such bytes.
    pub truncated_bytes: u64,
    /// The file that was truncated, and its new length; 0 if it was removed.
    pub truncated_at: Option<(PathBuf, u64)>,
    /// The damage that was moved out of the log. Empty unless it was opened with
    /// [`OnCorruption::Quarantine`].
    pub quarantined: Vec<Quarantined>,
    /// The files of interrupted changes that were removed.
    pub stale_files_removed: usize,
    /// Files that do not belong to a log. They are left alone.
    pub unknown_files: Vec<PathBuf>,
}

/// The files of a log directory by what they are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) live: BTreeMap<(Offset, Kind), u64>,
    staged: BTreeMap<SegmentFile, u64>,
    temporary: Vec<String>,
    unknown: Vec<String>,
    known: bool,
    /// The directories in it that are named as logs are: `orders-0`.
    partitions: Vec<String>,
}

impl Listing {
    pub(crate) fn read(dir: &SegmentDir) -> Result<Listing> {
        let entries = dir.fs.list(&dir.path).map_err(|e| Error::list(&dir.path, e))?;
        let mut listing = Listing::default();
        for DirEntry { name, kind, len } in entries {
            if kind == EntryKind::Directory && key_of(&name).is_some() {
                listing.partitions.push(name.clone());
            }
            match Name::parse(&name) {
                // Without this error its records would be missing, and the rest would be a log
                // that begins later.
                Name::Segment(file)
                    if kind == EntryKind::Other
                        && file == SegmentFile::live(file.base, Kind::Log) =>
                {
                    let reason = "not a regular file; symbolic links are not followed";
                    let error = io::Error::new(io::ErrorKind::InvalidInput, reason);
                    return Err(Error::io("open", &dir.path.join(name), error));
                }
                _ if kind != EntryKind::File => listing.unknown.push(name),
                Name::Segment(file) if file.stage == Stage::Live => {
                    listing.live.insert((file.base, file.kind), len);
                }
                Name::Segment(file) => {
                    listing.staged.insert(file, len);
                }
                Name::Known | Name::Quarantined => listing.known = true,
                Name::Temporary => listing.temporary.push(name),
                Name::Unknown => listing.unknown.push(name),
            }
        }
        Ok(listing)
    }

    /// The base offsets and lengths of the live log files, in order.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (Offset, u64)> {
        self.live
            .iter()
            .filter(|((_, kind), _)| *kind == Kind::Log)
            .map(|((base, _), len)| (*base, *len))
    }

    /// The highest offset of a snapshot of the producers.
    pub(crate) fn last_snapshot(&self) -> Option<Offset> {
        let snapshots = self.live.keys().filter(|(_, kind)| *kind == Kind::Snapshot);
        snapshots.map(|(offset, _)| *offset).max()
    }

    /// Whether an index of the segment with a base is there.
    pub(crate) fn has_index(&self, base: Offset) -> bool {
        [Kind::OffsetIndex, Kind::TimeIndex, Kind::TxnIndex]
            .iter()
            .any(|kind| self.live.contains_key(&(base, *kind)))
    }

    /// Whether nothing of a log is in the directory, and nothing of others.
    pub(crate) fn is_empty(&self) -> bool {
        let Listing { live, staged, temporary, unknown, known, partitions: _ } = self;
        let is_ours = *known || !live.is_empty() || !staged.is_empty() || !temporary.is_empty();
        !is_ours && unknown.iter().all(|name| is_of_system(name))
    }

    /// Whether the same files are there, whatever their lengths.
    pub(crate) fn names_same(&self, other: &Listing) -> bool {
        self.live.keys().eq(other.live.keys()) && self.staged.keys().eq(other.staged.keys())
    }

    /// The complete replacements: those below any that is unfinished, as one at or above it
    /// belongs to the same set.
    pub(crate) fn replacements(&self) -> impl Iterator<Item = (SegmentFile, u64)> {
        let staged = |stage| self.staged.iter().filter(move |(file, _)| file.stage == stage);
        let unfinished = staged(Stage::Cleaned).map(|(file, _)| file.base).min();
        staged(Stage::Swap)
            .filter(move |(file, _)| unfinished.is_none_or(|lowest| file.base < lowest))
            .map(|(file, len)| (*file, *len))
    }

    /// Fails for a directory that has files of another program and no file of a log: it is not an
    /// empty log.
    pub(crate) fn check(&self, dir: &SegmentDir) -> Result<()> {
        let has_segments = !self.live.is_empty() || !self.staged.is_empty();
        if !has_segments && self.holds_logs(dir) {
            return Err(Error::NotALog {
                path: dir.path.as_path().into(),
                reason: "it holds logs and is none itself; open it as a store, or give the directory of one of them",
            });
        }
        let ours = self.known || has_segments;
        if !ours && self.unknown.iter().any(|name| !is_of_system(name)) {
            return Err(Error::NotALog {
                path: dir.path.as_path().into(),
                reason: "it holds other files and no segment; give the log a directory of its own",
            });
        }
        Ok(())
    }

    /// Whether the directory holds logs: one that is named as a log has a segment, or the files of
    /// a broker lie beside it. Names alone do not tell, `dbus-1` for example.
    fn holds_logs(&self, dir: &SegmentDir) -> bool {
        let has_segment = |name: &String| {
            let entries = dir.fs.list(&dir.path.join(name)).unwrap_or_default();
            entries.iter().any(|entry| SegmentFile::parse(&entry.name).is_some())
        };
        // A broker keeps its checkpoints, named like those of a log, above the logs, and a lock,
        // too.
        let of_a_broker = self.known || self.unknown.iter().any(|name| name == META_PROPERTIES);
        !self.partitions.is_empty() && (of_a_broker || self.partitions.iter().any(has_segment))
    }
}

pub(crate) fn segment_dir(
    fs: &Arc<dyn Fs>,
    path: &Path,
    config: &LogConfig,
    writable: bool,
) -> SegmentDir {
    let events = EventSink::new(config.listener.clone());
    let dir = Dir::new(Arc::clone(fs), path.to_path_buf(), events, writable);
    SegmentDir::new(dir, config.index_interval_bytes)
}

/// The segments that were there at the close and now are not, or are shorter. Those wholly below
/// the start were deleted.
fn lost_segments(
    dir: &SegmentDir,
    marker: &CleanShutdown,
    listing: &Listing,
    start: Offset,
) -> Vec<Corruption> {
    let there: BTreeMap<Offset, u64> = listing.logs().collect();
    let mut kept = marker.segments.iter().copied().peekable();
    let mut lost = Vec::new();
    while let Some((base, expected)) = kept.next() {
        let reason = match there.get(&base) {
            Some(&found) if found >= expected => continue,
            Some(&found) => CorruptionKind::FileTruncated { expected, found },
            None if kept.peek().is_some_and(|(next, _)| *next <= start) => continue,
            None => {
                let expected = kept.peek().map_or(marker.end, |(next, _)| *next);
                CorruptionKind::MissingData { expected, found: base }
            }
        };
        let path = dir.path_of(SegmentFile::live(base, Kind::Log));
        lost.push(Corruption { path, position: 0, offset: Some(base), reason });
    }
    lost
}

/// Returns what a closed log has lost since; nothing while another process has it open for
/// writing.
pub(crate) fn lost_since_close(
    dir: &SegmentDir,
    checkpoints: &Checkpoints,
) -> Result<Vec<Corruption>> {
    let Some(marker) = checkpoints.clean_shutdown()?.flatten() else { return Ok(Vec::new()) };
    let start = checkpoints.get(Checkpoint::Start)?.unwrap_or(0);
    let lost = lost_segments(dir, &marker, &Listing::read(dir)?, start);
    // A writer that opened the log meanwhile has removed the marker, or left another.
    Ok(if checkpoints.clean_shutdown()?.flatten() == Some(marker) { lost } else { Vec::new() })
}

/// The offset after the last batch of a replacement, all of which was synced before it got its
/// name. Of one without a batch, that after its base: the old indexes of its base must not stay
/// beside it.
pub(crate) fn end_of_replacement(dir: &SegmentDir, file: SegmentFile) -> Result<Offset> {
    let path = dir.path_of(file);
    let fail = |e| Error::io("read", &path, e);
    let opened = dir.fs.open(&path, crate::fs::OpenMode::ReadOnly).map_err(fail)?;
    let bytes = opened.len().map_err(fail)?;
    let mut stream = BatchStream::new(opened, 0, file.base);
    loop {
        match stream.advance(bytes, Offset::MAX).map_err(fail)? {
            Step::End => return Ok(stream.lowest().max(file.base.saturating_add(1))),
            Step::Batch(_) => {}
            Step::Damaged(reason) => {
                return Err(Error::Corrupt(Box::new(Corruption {
                    path: path.clone(),
                    position: stream.position(),
                    offset: Some(stream.lowest()),
                    reason,
                })));
            }
        }
    }
}

pub(crate) struct Opening {
    pub(crate) dir: Arc<SegmentDir>,
    pub(crate) config: LogConfig,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) recovery: Recovery,
    /// Whether the machine stopped since the log was last open. Then what was not synced may be
    /// lost in any part and any order, and valid batches behind a hole are no proof of damage.
    pub(crate) lost_power: bool,
    /// The recovery point: what was synced when the log was last open.
    pub(crate) point: RecoveryPoint,
    /// Whether compaction, or another program, may have left offsets out.
    pub(crate) may_have_holes: bool,
    /// Which partition it is, if a store opens the log.
    pub(crate) partition: Option<PartitionOf>,
    /// The files, if they were listed since the directory was locked.
    pub(crate) listing: Option<Listing>,
}

impl Opening {
    pub(crate) fn new(
        dir: Arc<SegmentDir>,
        config: LogConfig,
        checkpoints: Checkpoints,
        lost_power: bool,
        point: RecoveryPoint,
    ) -> Opening {
        Opening {
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

    pub(crate) fn run(mut self, ownership: Ownership) -> Result<Shared> {
        let mut listing = self.settle_leftovers()?;
        let recovery_point = self.point.synced;
        let start = self.checkpoints.get(Checkpoint::Start)?.unwrap_or(0);
        self.remove_below(&mut listing, start)?;
        self.may_have_holes = self.may_have_holes(&listing)?;
        // Without a recovery point, it is not known which bytes were not synced.
        self.lost_power &= self.point.uncompacted.is_some();
        let clean = self.settle_damage(&mut listing, recovery_point, start)?;
        if self.settle_front(&listing, start, clean.is_some())? {
            listing = Listing::read(&self.dir)?;
        }
        let (now, is_recovered) = (self.config.clock.now(), clean.is_none());
        let mut replay = Replay::new(&self.dir, &self.config, listing.logs().collect(), now)?;
        let (writer, sealed, end) = match clean {
            Some(marker) => {
                if marker.producers == Some(0) {
                    replay.know_of_none(marker.end);
                }
                // Without it, a later crash could not be told from damage.
                if recovery_point > marker.end || self.point.uncompacted.is_none() {
                    self.reach_recovery_point(recovery_point, marker.end)?;
                }
                self.open_clean(&listing, &marker)?
            }
            None => self.recover(&listing, recovery_point, start, &mut replay)?,
        };
        replay.begin(end)?;
        let (mut writer, sealed, end) =
            if end < start { self.begin_at_start(start)? } else { (writer, sealed, end) };
        writer.tracked = replay.finish(end)?.at(writer.log.position());
        if is_recovered {
            // Set it last: it also covers the index of aborted transactions.
            self.reach_recovery_point(recovery_point, end)?;
        }
        let mut segments = sealed;
        segments.push(Arc::clone(&writer.segment));
        let start = start.max(segments.first().map_or(0, |first| first.base)).min(end);
        let cleaned = self.cleaned_below(start, end)?;
        let sync = SyncState::new(Arc::clone(&writer.segment));
        if self.config.preallocate {
            writer.log.reserve(self.config.segment_bytes)?;
        }
        Ok(Shared::new(Parts {
            dir: self.dir,
            partition: self.partition,
            config: self.config,
            checkpoints: self.checkpoints,
            recovery: self.recovery,
            view: View { segments },
            start,
            end,
            durable: end,
            cleaned,
            writer: Some(writer),
            sync,
            follower: None,
            ownership: Some(ownership),
        }))
    }

    /// Where the dirty part begins, if that is known. One above the end is of another log, or of
    /// one that lost its end: it says nothing of this one, whose dirty part begins at its start,
    /// as in Kafka.
    fn cleaned_below(&self, start: Offset, end: Offset) -> Result<Option<Offset>> {
        match self.checkpoints.get(Checkpoint::Cleaned)? {
            Some(cleaned) if cleaned > end => {
                self.checkpoints.set(Checkpoint::Cleaned, start).map(|()| Some(start))
            }
            cleaned => Ok(cleaned),
        }
    }

    /// Takes what is to be taken out of the log before recovery, and reads the marker of a clean
    /// shutdown, if there is one of the files as they are then.
    fn settle_damage(
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
        // All of it is read anyway, so the marker saves nothing.
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

    /// The files behind the end of the log that are none of its segments, which the listing has no
    /// more. Fails for one, if that is chosen, before anything is changed.
    fn strays(&self, listing: &mut Listing) -> Result<Strays> {
        let (dir, checkpoints) = (&self.dir, &self.checkpoints);
        let found = Strays::find(dir, listing, checkpoints, self.point, self.may_have_holes)?;
        let is_explained = self.lost_power && found.are_blank;
        match self.config.on_corruption {
            // Recovery removes them with what was lost before them.
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
            self.note_cut(path, 0, *bytes, strays.end);
        }
        Ok(())
    }

    /// Finds the damage in every segment that no crash explains, if it is to be moved out of them.
    /// All of it is found before any is moved: an opening that fails must have changed nothing.
    fn damaged(&self, listing: &Listing, recovery_point: Offset) -> Result<Vec<DamagedSegment>> {
        if self.config.on_corruption != OnCorruption::Quarantine {
            return Ok(Vec::new());
        }
        let (lost_power, dense) = (self.lost_power, !self.may_have_holes);
        let explained = Explained { recovery_point, lost_power, dense };
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

    fn remove(&mut self, path: PathBuf) -> Result<()> {
        self.dir.fs.remove(&path).map_err(|e| Error::io("remove", &path, e))?;
        self.recovery.stale_files_removed = self.recovery.stale_files_removed.saturating_add(1);
        self.dir.events.emit(&Event::StaleFileRemoved { path });
        Ok(())
    }

    fn remove_file(&mut self, file: SegmentFile) -> Result<()> {
        self.remove(self.dir.path_of(file))
    }

    /// Finishes or undoes an interrupted change, and returns the files that are there then.
    fn settle_leftovers(&mut self) -> Result<Listing> {
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
            // A broker's compaction may not have stored that it was one.
            self.mark_compacted()?;
            self.complete_swap(&listing, &swap)?;
            self.sync_dir()?;
            listing = Listing::read(&self.dir)?;
        }
        self.remove_orphans(&mut listing)?;
        Ok(listing)
    }

    /// Puts a complete replacement in the place of every file whose offsets it covers.
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

    /// Removes the segments that lie wholly below the start: they were deleted, and a crash came
    /// between.
    fn remove_below(&mut self, listing: &mut Listing, start: Offset) -> Result<()> {
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

    /// Continues the log at its start if everything that is left lies below: a truncation that
    /// removed the batch in which the start lies was interrupted. Deleted offsets are not reused.
    fn begin_at_start(&mut self, start: Offset) -> Result<(Writer, Vec<Arc<Segment>>, Offset)> {
        let now = self.config.clock.monotonic();
        let writer = begin_segment(&self.dir, &self.config, start, now, WhenFull::UseReserve)?;
        self.trust(start)?;
        self.sync_dir()?;
        self.checkpoints.set(Checkpoint::RecoveryPoint, start)?;
        let mut listing = Listing::read(&self.dir)?;
        self.remove_below(&mut listing, start)?;
        Ok((writer, Vec::new(), start))
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

    /// Reads the marker of a clean shutdown. It counts only if it describes the files that are
    /// there. Then it stays until the log is open: if this opening fails, the next one has it. Any
    /// other marker is removed now, because the files that it is compared with are about to
    /// change.
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
            // The log is sound but its index is not: read it as after a crash, without doubting
            // what was synced.
            let found = recover_segment(&self.dir, marker.base, ScanRules::NONE, &mut ())?;
            if !matches!(found.tail, Tail::Clean) {
                return Err(damage(&self.dir, marker.base, &found, None, 0));
            }
            let path = self.dir.path_of(SegmentFile::live(marker.base, Kind::OffsetIndex));
            let reason = "it does not match the log it was closed with";
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
                tail: Tail::Clean,
            },
            true,
        )?;
        Ok((writer, sealed, marker.end))
    }

    /// What appends need, for a segment whose valid bytes are known, and whose index files may be
    /// `stored`.
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

    /// Makes the content of a file durable before opening relies on it.
    pub(crate) fn trust(&self, base: Offset) -> Result<()> {
        let path = self.dir.path_of(SegmentFile::live(base, Kind::Log));
        self.dir.open_log(base)?.sync_all().map_err(|e| Error::io("sync", &path, e))
    }
}
