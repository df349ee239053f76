//! Following a log that another process writes: reading its files as they grow.
//!
//! Nothing is locked and nothing is changed. What the writer has half written
//! reads as bytes that are no batch yet, so the end of the log is the last batch
//! whose checksum is right.

use crate::error::{Error, Result};
use crate::fs::File;
use crate::log::checkpoints::{Checkpoint, Checkpoints};
use crate::log::config::{LogConfig, OnCorruption};
use crate::log::flush::SyncState;
use crate::log::open::{
    Listing, Recovery, damage, end_of_replacement, lost_since_close, segment_dir,
};
use crate::log::open_txns::OpenTxns;
use crate::log::place::checkpoints_to_read;
use crate::log::shared::{Parts, Shared};
use crate::log::view::View;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::recover::{Heed as _, Recovered, Tail, recover_segment};
use crate::segment::scan::{BatchStream, Step};
use crate::segment::{Segment, SegmentDir};
use crate::sync::atomic::Ordering;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at while somebody waits for more.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What is known of the files.
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
    transactions: OpenTxns,
    ends: Ends,
}

/// Where replacements that are not in place yet end, each of which is read whole to know it. A writer that died
/// leaves them there until the log is opened for writing.
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
        found: Recovered,
        transactions: OpenTxns,
        ends: Ends,
    ) -> Result<Follower> {
        let indexes = Arc::new(found.indexes);
        let largest = found.cadence.largest.0;
        let file = dir.open_log(base)?;
        let segment = Segment::active(
            Arc::clone(dir),
            base,
            &file,
            found.valid_bytes,
            largest,
            Arc::clone(&indexes),
        );
        Ok(Follower {
            stream: BatchStream::new(Arc::clone(&file), found.valid_bytes, found.end),
            segment: Arc::new(segment),
            file,
            indexes,
            cadence: found.cadence,
            position: found.valid_bytes,
            end: found.end,
            transactions,
            ends,
        })
    }

    /// Where the earliest transaction begins that is still open.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        self.transactions.first()
    }

    /// Takes note of the batches that were added to the last segment.
    fn take_new_batches(&mut self) -> Result<()> {
        let path = self.segment.path(Kind::Log);
        let fail = |error| Error::io("read", &path, error);
        let bytes = self.file.len().map_err(fail)?;
        self.stream.seek(Arc::clone(&self.file), self.position, self.end);
        while let Step::Batch(header) = self.stream.advance(bytes, Offset::MAX).map_err(fail)? {
            let (at, size) = (self.stream.position(), header.size_bytes() as u64);
            let (last, time) = (header.last_offset(), header.max_timestamp);
            self.cadence.note(&self.indexes, at, size, last, time);
            if let Some(batch) = self.stream.batch()
                && self.transactions.batch(&batch).is_err()
            {
                // No marker can be read in it: whoever reads the batch finds what is wrong.
                break;
            }
            self.position = at.saturating_add(size);
            self.end = header.next_offset();
        }
        self.segment.publish(self.position, self.cadence.largest.0);
        Ok(())
    }
}

/// The log files that hold a log, in order: live ones, and replacements in the place of what they replace. Their
/// writer may be in the middle of putting one there, or have died in it.
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

/// How often a directory is looked at before it is believed that a file is missing: names may change while they are listed.
const LISTINGS: usize = 8;

/// Looks at a directory, and again when its names were not the same before and after.
fn settled<T>(dir: &SegmentDir, mut look: impl FnMut(&Listing) -> Result<T>) -> Result<T> {
    let mut tries = 1usize;
    loop {
        let listing = Listing::read(dir)?;
        let seen = look(&listing);
        if tries == LISTINGS || Listing::read(dir)?.names_same(&listing) {
            return seen;
        }
        tries = tries.saturating_add(1);
    }
}

/// The segments of a directory as they are now.
fn survey(
    dir: &Arc<SegmentDir>,
    checkpoints: &Checkpoints,
    choice: OnCorruption,
    ends: &mut Ends,
) -> Result<(Follower, View)> {
    settled(dir, |listing| survey_listed(dir, listing, checkpoints, choice, ends))
}

fn survey_listed(
    dir: &Arc<SegmentDir>,
    listing: &Listing,
    checkpoints: &Checkpoints,
    choice: OnCorruption,
    ends: &mut Ends,
) -> Result<(Follower, View)> {
    let logs = log_files(dir, listing, ends)?;
    let Some((&(last, _), sealed)) = logs.split_last() else {
        listing.check(&dir.path)?;
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
    let found = scan_last(dir, last.base, checkpoints, choice, &mut transactions)?;
    let follower = Follower::new(dir, last.base, found, transactions, ends.clone())?;
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

/// Reads the last segment up to where its batches end.
///
/// The writer may be in the middle of a batch, which is no damage. But valid batches behind that
/// place, or an end below what was synced, are, unless the writer went on while it was read: so it is read again.
fn scan_last(
    dir: &Arc<SegmentDir>,
    base: Offset,
    checkpoints: &Checkpoints,
    choice: OnCorruption,
    transactions: &mut OpenTxns,
) -> Result<Recovered> {
    let mut looks = 0usize;
    loop {
        let recovery_point = checkpoints.get(Checkpoint::RecoveryPoint)?.unwrap_or(0);
        let found = recover_segment(dir, base, Offset::MAX, 0, transactions)?;
        looks = looks.saturating_add(1);
        let is_sound = !matches!(found.tail, Tail::Damaged(_)) && found.end >= recovery_point;
        if is_sound || choice == OnCorruption::Truncate {
            return Ok(found);
        }
        if looks == LOOKS {
            return Err(damage(dir, base, &found, recovery_point));
        }
    }
}

/// Opens a log for reading only, whether or not somebody else has it open.
pub(crate) fn open_read_only(path: &Path, config: LogConfig) -> Result<Shared> {
    config.validate()?;
    let dir = Arc::new(segment_dir(&config.fs, path, &config, false));
    Listing::read(&dir)?;
    let checkpoints = checkpoints_to_read(&dir)?;
    let (follower, view) = survey(&dir, &checkpoints, config.on_corruption, &mut Ends::default())?;
    // A hole that lost files left reads like one that compaction left: only the close knows better.
    if config.on_corruption != OnCorruption::Truncate
        && let Some(lost) = lost_since_close(&dir, &checkpoints)?.into_iter().next()
    {
        return Err(Error::Corrupt(Box::new(lost)));
    }
    let end = follower.end;
    let start = start_of(&checkpoints, &view, end)?;
    Ok(Shared::new(Parts {
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
        let mut follower = follower.lock();
        let before = follower.end;
        let (looked, events) = self.dir.events.hold(|| {
            follower.take_new_batches()?;
            self.refresh_segments(&mut follower)
        });
        let end = follower.end;
        if let Ok(start) = looked {
            self.start.store(start, Ordering::Release);
            // Before the end: what a new batch opens is known with it.
            self.set_first_unstable(follower.first_unstable());
            self.end.store(end, Ordering::Release);
        }
        drop(follower);
        if looked.is_ok() && end != before {
            self.signal.notify();
        }
        self.emit_all(events);
        looked.map(drop)
    }

    /// Looks whether the last segment is the last no more, or was cut, and where the log begins.
    fn refresh_segments(&self, follower: &mut Follower) -> Result<Offset> {
        let listing = Listing::read(&self.dir)?;
        let ends = &mut follower.ends;
        let logs = match log_files(&self.dir, &listing, ends) {
            Ok(logs) => logs,
            // It may have been put in place meanwhile.
            Err(_) => settled(&self.dir, |listing| log_files(&self.dir, listing, ends))?,
        };
        let view = self.view();
        let (active, position) = (follower.segment.base, follower.position);
        // The last one grows. Another one that is not as long as it was has been replaced.
        let is_same = |((file, len), known): (&(SegmentFile, u64), &Arc<Segment>)| {
            file.base == known.base && (!known.is_sealed() || *len == known.published())
        };
        let same =
            logs.len() == view.segments.len() && logs.iter().zip(&view.segments).all(is_same);
        let was_cut = logs.iter().any(|(file, len)| file.base == active && *len < position);
        if same && !was_cut {
            return start_of(&self.checkpoints, &view, follower.end);
        }
        // What was added to the segment before the next one was begun.
        follower.take_new_batches()?;
        let before = follower.end;
        let (next, view) =
            survey(&self.dir, &self.checkpoints, self.config.on_corruption, &mut follower.ends)?;
        // What is not there as it was, but for what was deleted at the front, was cut or compacted.
        let first = view.segments.first().map_or(0, |first| first.base);
        let is_there = |known: &Arc<Segment>| {
            let same = |now: &Arc<Segment>| {
                now.base == known.base
                    && (!known.is_sealed() || now.published() == known.published())
            };
            view.segments.iter().any(same)
        };
        let known = self.view();
        let revised = was_cut
            || next.end < before
            || !known.segments.iter().filter(|known| known.base >= first).all(is_there);
        *follower = next;
        let start = start_of(&self.checkpoints, &view, follower.end)?;
        // Who sees the view sees the start.
        self.start.store(start, Ordering::Release);
        self.update_view(|_| view);
        if revised {
            self.set_first_unstable(follower.first_unstable());
            self.end.store(follower.end, Ordering::Release);
            self.announce_revision();
        }
        Ok(start)
    }
}
