//! Following a log that another process writes: reading its files as they grow.
//!
//! Nothing is locked and nothing is changed. What the writer has half written
//! reads as bytes that are no batch yet, so the end of the log is the last batch
//! whose checksum is right. An [anchor](crate::log::anchor) shows whether the log was truncated.

use crate::error::{Corruption, Error, Result};
use crate::fs::File;
use crate::log::append::replay::states_at;
use crate::log::config::{LogConfig, OnCorruption};
use crate::log::files::checkpoints::{Checkpoint, Checkpoints};
use crate::log::files::lock::Place;
use crate::log::files::strays::Strays;
use crate::log::flush::SyncState;
use crate::log::inner::{Parts, Shared};
use crate::log::open::directory::checkpoints_to_read;
use crate::log::open::recover::damage;
use crate::log::open::{Listing, Recovery, end_of_replacement, lost_since_close, segment_dir};
use crate::log::state::follower::anchor::{Anchor, Chain};
use crate::log::state::follower::open_txns::OpenTxns;
use crate::log::state::segment_list::View;
use crate::record::BatchHeader;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::recover::{Heed as _, Recovered, ScanRules, Tail, recover_segment};
use crate::segment::scan::{BatchStream, Step};
use crate::segment::{Segment, SegmentDir};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at while a tail waits.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The known state of the files.
#[derive(Debug)]
pub(crate) struct Follower {
    segment: Arc<Segment>,
    /// Its file, which goes on to be there when its name does not.
    file: Arc<dyn File>,
    indexes: Arc<Indexes>,
    cadence: IndexCadence,
    stream: BatchStream,
    /// Up to here the last segment's file is known to hold batches.
    position: u64,
    end: Offset,
    /// The last batch, by which a truncation is noticed; `None` in a log without one.
    anchor: Option<Anchor>,
    /// Counts the truncations that were noticed.
    truncations: u64,
    transactions: OpenTxns,
    ends: Ends,
    /// The files that are none of the log's segments, and their lengths.
    strays: Vec<(SegmentFile, u64)>,
}

/// Where replacements that are not in place yet end, each of which is read whole to know it. A
/// writer that died leaves them there until the log is opened for writing.
#[derive(Debug, Clone, Default)]
struct Ends(BTreeMap<(SegmentFile, u64), Offset>);

impl Ends {
    fn of(&mut self, dir: &SegmentDir, file: SegmentFile, len: u64) -> Result<Offset> {
        if let Some(end) = self.0.get(&(file, len)) {
            return Ok(*end);
        }
        let end = end_of_replacement(dir, file)?;
        self.0.insert((file, len), end);
        Ok(end)
    }

    /// Forgets those that are there no more.
    fn retain(&mut self, listing: &Listing) {
        self.0.retain(|known, _| listing.replacements().any(|there| there == *known));
    }
}

impl Follower {
    fn new(
        dir: &Arc<SegmentDir>,
        base: Offset,
        scan: Scan,
        transactions: OpenTxns,
        ends: Ends,
    ) -> Result<Follower> {
        let Scan { found, last } = scan;
        let indexes = Arc::new(found.indexes);
        let largest = found.cadence.largest.0;
        let file = dir.open_log(base)?;
        let segment = Arc::new(Segment::active(
            Arc::clone(dir),
            base,
            &file,
            found.valid_bytes,
            largest,
            Arc::clone(&indexes),
        ));
        let anchor = last.map(|(position, header)| Anchor {
            segment: Arc::clone(&segment),
            position,
            header,
        });
        Ok(Follower {
            stream: BatchStream::new(Arc::clone(&file), found.valid_bytes, found.end),
            segment,
            file,
            indexes,
            cadence: found.cadence,
            position: found.valid_bytes,
            end: found.end,
            anchor,
            truncations: 0,
            transactions,
            ends,
            strays: Vec::new(),
        })
    }

    /// Where the earliest transaction begins that is still open.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        self.transactions.first()
    }

    /// Adds the batches that were appended to the last segment. False if the log was truncated
    /// meanwhile: then none of what was read in the last step was added.
    fn take_new_batches(&mut self) -> Result<bool> {
        let path = self.segment.path(Kind::Log);
        let fail = |error| Error::io("read", &path, error);
        let bytes = self.file.len().map_err(fail)?;
        self.stream.seek(Arc::clone(&self.file), self.position, self.end);
        let mut fills = self.stream.fills();
        loop {
            let step = match self.stream.advance(bytes, Offset::MAX) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                step => step.map_err(fail)?,
            };
            let was_read = std::mem::replace(&mut fills, self.stream.fills()) != fills;
            let ends = !matches!(step, Step::Batch(_));
            if (was_read || ends) && !self.is_unchanged()? {
                return Ok(false);
            }
            let Step::Batch(header) = step else { break };
            let (at, size) = (self.stream.position(), header.size_bytes() as u64);
            let (last, time) = (header.last_offset(), header.max_timestamp);
            self.cadence.note(&self.indexes, at, size, last, time);
            if let Some(batch) = self.stream.batch()
                && self.transactions.batch(&batch).is_err()
            {
                // No marker can be read in it: a read of the batch reports the damage.
                break;
            }
            self.position = at.saturating_add(size);
            self.end = header.next_offset();
            self.anchor = Some(Anchor { segment: Arc::clone(&self.segment), position: at, header });
        }
        self.segment.publish(self.position, self.cadence.largest.0);
        Ok(true)
    }

    /// Whether all that is known of the log is still in it.
    fn is_unchanged(&self) -> Result<bool> {
        self.anchor.as_ref().map_or(Ok(true), Anchor::is_there)
    }
}

/// The log files that hold a log, in order: live ones, and replacements in the place of what they
/// replace. Their writer may be in the middle of putting one there, or have died in it.
fn log_files(
    dir: &SegmentDir,
    listing: &Listing,
    ends: &mut Ends,
) -> Result<Vec<(SegmentFile, u64)>> {
    ends.retain(listing);
    let live = |(base, len)| (SegmentFile::live(base, Kind::Log), len);
    let mut files: Vec<_> = listing.logs().map(live).collect();
    let Some(&(last, _)) = files.last() else { return Ok(files) };
    for (file, len) in listing.replacements().filter(|(file, _)| file.kind == Kind::Log) {
        let covered = file.base..ends.of(dir, file, len)?;
        // What is appended to is never replaced.
        if last.base < covered.end {
            continue;
        }
        files.retain(|(live, _)| !covered.contains(&live.base));
        files.push((file, len));
    }
    files.sort_unstable_by_key(|(file, _)| file.base);
    Ok(files)
}

/// How often a directory is looked at for a look during which nothing changes. What was seen is as
/// good if it is whole: the next look finds what has changed.
const LISTINGS: usize = 8;

/// Whether the same files are there, and those that are closed have the same lengths.
fn is_same(before: &Listing, now: &Listing) -> bool {
    let closed = |listing: &Listing| {
        let mut logs: Vec<_> = listing.logs().collect();
        logs.pop();
        logs
    };
    now.names_same(before) && closed(now) == closed(before)
}

/// How often something is tried again because the writer has changed the files meanwhile, before
/// an error is believed.
const MOST_TRIES: usize = 16;

fn is_short(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof)
}

/// Looks at a directory, and again when its files were not the same before and after.
fn settled<T>(dir: &SegmentDir, mut look: impl FnMut(&Listing) -> Result<T>) -> Result<T> {
    let mut tries = 1usize;
    loop {
        let listing = Listing::read(dir)?;
        let seen = look(&listing);
        // A file that is listed and cannot be found, or is shorter, was changed, whatever is there
        // now.
        let vanished = seen.as_ref().is_err_and(|error| error.is_not_found() || is_short(error));
        let settled = !vanished && is_same(&listing, &Listing::read(dir)?);
        if settled || tries >= if seen.is_ok() { LISTINGS } else { MOST_TRIES } {
            return seen;
        }
        tries = tries.saturating_add(1);
    }
}

/// The segments of a directory as they are now.
fn survey(
    dir: &Arc<SegmentDir>,
    checkpoints: &Checkpoints,
    config: &LogConfig,
    ends: &mut Ends,
) -> Result<(Follower, View)> {
    settled(dir, |listing| survey_listed(dir, listing, checkpoints, config, ends))
}

/// The files behind the end of a log that are none of its segments.
pub(crate) fn read_strays(
    dir: &Arc<SegmentDir>,
    checkpoints: &Checkpoints,
    config: &LogConfig,
) -> Result<Vec<Corruption>> {
    let compacts = config.cleanup_policy.compacts();
    let look = |listing: &Listing| Strays::of_reader(dir, listing, checkpoints, compacts);
    Ok(settled(dir, look)?.damage(dir).collect())
}

fn survey_listed(
    dir: &Arc<SegmentDir>,
    listing: &Listing,
    checkpoints: &Checkpoints,
    config: &LogConfig,
    ends: &mut Ends,
) -> Result<(Follower, View)> {
    let strays = Strays::of_reader(dir, listing, checkpoints, config.cleanup_policy.compacts())?;
    let files = log_files(dir, listing, ends)?.into_iter();
    let (mut strays, mut logs): (Vec<_>, Vec<_>) =
        files.partition(|(file, _)| strays.contains(file.base));
    if logs.last().is_some_and(|(last, _)| last.stage != Stage::Live) {
        // What grows at the end of a log is never a replacement: one is in the middle of being put
        // in place, and only an opening for writing tells what lies behind it.
        logs.append(&mut strays);
    }
    let Some((&(last, _), sealed)) = logs.split_last() else {
        listing.check(dir)?;
        return Err(Error::NotALog {
            path: dir.path.as_path().into(),
            reason: "it holds no segment; give the directory of a log, or open it for writing to make one",
        });
    };
    let segment = |(file, bytes): &(SegmentFile, u64)| {
        let (dir, base) = (Arc::clone(dir), file.base);
        Arc::new(match file.stage {
            Stage::Swap => Segment::replacement(dir, base, *bytes, None),
            _ => Segment::sealed(dir, base, *bytes),
        })
    };
    let mut segments: Vec<_> = sealed.iter().map(segment).collect();
    let mut transactions = OpenTxns::at(dir, last.base)?;
    let scan = scan_last(dir, last.base, checkpoints, config.on_corruption, &mut transactions)?;
    let mut follower = Follower::new(dir, last.base, scan, transactions, ends.clone())?;
    follower.strays = strays;
    if follower.anchor.is_none() && follower.position > 0 {
        follower.anchor = Anchor::of_segment(&follower.segment, Offset::MAX)?;
    }
    if follower.anchor.is_none()
        && let Some(before) = segments.iter().rfind(|segment| segment.published() > 0)
    {
        follower.anchor = Anchor::of_segment(before, last.base)?;
    }
    segments.push(Arc::clone(&follower.segment));
    Ok((follower, View { segments }))
}

/// Where a log with these segments begins.
fn start_of(checkpoints: &Checkpoints, view: &View, end: Offset) -> Result<Offset> {
    let first = view.segments.first().map_or(0, |first| first.base);
    Ok(checkpoints.get(Checkpoint::Start)?.unwrap_or(0).max(first).min(end))
}

/// How often a segment that looks damaged is looked at before that is believed.
const LOOKS: usize = 3;

/// What a scan of the last segment found, and its last batch with its position.
struct Scan {
    found: Recovered,
    last: Option<(u64, BatchHeader)>,
}

/// Reads the last segment up to where its batches end.
///
/// The writer may be in the middle of a batch, which is no damage. But valid batches behind that
/// place, or an end below what was synced, are, unless the writer went on while it was read: so it
/// is read again. And what was truncated meanwhile is read again until it was not.
fn scan_last(
    dir: &Arc<SegmentDir>,
    base: Offset,
    checkpoints: &Checkpoints,
    choice: OnCorruption,
    transactions: &mut OpenTxns,
) -> Result<Scan> {
    let (mut looks, mut tries) = (0usize, 0usize);
    loop {
        tries = tries.saturating_add(1);
        let is_last_try = tries >= MOST_TRIES;
        let recovery_point = checkpoints.get(Checkpoint::RecoveryPoint)?.unwrap_or(0);
        let mut chain = Chain::new(dir, base, transactions);
        let found = match recover_segment(dir, base, ScanRules::NONE, &mut chain) {
            // It became shorter than it was when the scan began.
            Err(error) if is_short(&error) && !is_last_try => continue,
            found => found?,
        };
        if chain.is_broken && !is_last_try {
            continue;
        }
        let is_damaged = matches!(found.tail, Tail::Damaged(_));
        if choice == OnCorruption::Truncate || (!is_damaged && found.end >= recovery_point) {
            return Ok(Scan { found, last: chain.last });
        }
        // A truncation lowers the recovery point before it removes anything, and more may have
        // been appended since.
        let recovery_point_now = checkpoints.get(Checkpoint::RecoveryPoint)?.unwrap_or(0);
        let last = Listing::read(dir)?.logs().last();
        if !is_damaged && last.is_some_and(|(last, _)| last > base) {
            // What was synced lies in the segments behind it.
            return Ok(Scan { found, last: chain.last });
        }
        let has_grown = last.is_some_and(|(_, len)| len > found.file_bytes);
        let was_changed = recovery_point_now != recovery_point || has_grown;
        if !is_damaged && was_changed && !is_last_try {
            continue;
        }
        looks = looks.saturating_add(1);
        if looks == LOOKS {
            let behind = scan_unsynced(dir, base, recovery_point, transactions)?;
            return behind.ok_or_else(|| damage(dir, base, &found, None, recovery_point));
        }
    }
}

/// Reads a damaged last segment as it is opened for writing: the synced part is not read, if its
/// indexes agree with it. A read of damage there reports it.
fn scan_unsynced(
    dir: &Arc<SegmentDir>,
    base: Offset,
    trusted: Offset,
    transactions: &mut OpenTxns,
) -> Result<Option<Scan>> {
    // The damage may hide that a transaction ends. The snapshot of a close knows.
    if transactions.first().is_some() && states_at(dir, trusted)?.is_empty() {
        return Ok(None);
    }
    let mut behind = OpenTxns::at(dir, trusted)?;
    let rules = ScanRules { trusted, ..ScanRules::NONE };
    let found = recover_segment(dir, base, rules, &mut behind)?;
    let is_sound = !matches!(found.tail, Tail::Damaged(_)) && found.end >= trusted;
    if !is_sound {
        return Ok(None);
    }
    *transactions = behind;
    Ok(Some(Scan { found, last: None }))
}

/// Opens a log for reading only, whether or not another process has it open.
pub(crate) fn open_read_only(path: &Path, config: LogConfig) -> Result<Shared> {
    config.validate()?;
    Place::check(path)?;
    let dir = Arc::new(segment_dir(&config.fs, path, &config, false));
    Listing::read(&dir)?;
    let checkpoints = checkpoints_to_read(&dir)?;
    let (follower, view) = survey(&dir, &checkpoints, &config, &mut Ends::default())?;
    // A hole that lost files left reads like one that compaction left: only the close knows
    // better.
    if config.on_corruption != OnCorruption::Truncate {
        let strays = read_strays(&dir, &checkpoints, &config)?.into_iter();
        if let Some(damage) = strays.chain(lost_since_close(&dir, &checkpoints)?).next() {
            return Err(Error::Corrupt(Box::new(damage)));
        }
    }
    let end = follower.end;
    let start = start_of(&checkpoints, &view, end)?;
    Ok(Shared::new(Parts {
        partition: None,
        checkpoints,
        dir,
        config,
        recovery: Recovery::default(),
        view,
        start,
        end,
        durable: start,
        cleaned: None,
        writer: None,
        sync: SyncState::read_only(),
        follower: Some(follower),
        ownership: None,
    }))
}

impl Shared {
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
