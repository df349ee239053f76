//! Reading the directory of a log that another process writes.
//!
//! Its writer may change any file meanwhile. A look is repeated if it finds a file gone or
//! shorter, or if the directory differs before and after it.

use crate::error::{Corruption, Error, Result};
use crate::log::config::{LogConfig, OnCorruption};
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::listing::Listing;
use crate::log::files::losses::damage_at_end;
use crate::log::files::snapshots::states_at;
use crate::log::files::strays::Strays;
use crate::log::replay::ProducerReplay;
use crate::log::state::follower::anchor::{Anchor, Chain, LastBatches, MOST_EMPTY};
use crate::log::state::follower::open_txns::OpenTxns;
use crate::log::state::follower::{Follower, ReplacementEnds, Scan};
use crate::log::state::segment_list::SegmentList;
use crate::producer_state::{Producers, Unreplicated};
use crate::segment::name::{Kind, SegmentFile, Stage};
use crate::segment::recover::recover_segment;
use crate::segment::recovered::{ScanRules, SegmentTail};
use crate::segment::{Segment, SegmentDir};
use crate::types::{Offset, Timestamp};
use std::io;
use std::sync::Arc;

/// Returns the log files of the segments of a log, in order: live files, and replacements in the
/// place of the segments that they replace. The writer may be in the middle of a replacement, or
/// have died in it.
pub(crate) fn log_files(
    dir: &SegmentDir,
    listing: &Listing,
    ends: &mut ReplacementEnds,
) -> Result<Vec<(SegmentFile, u64)>> {
    ends.retain(listing);
    let live = |(base, len)| (SegmentFile::live(base, Kind::Log), len);
    let mut files: Vec<_> = listing.logs().map(live).collect();
    let Some(&(last, _)) = files.last() else { return Ok(files) };
    for (file, len) in listing.replacements().filter(|(file, _)| file.kind == Kind::Log) {
        let covered = file.base..ends.of(dir, file, len)?;
        // The active segment is never replaced.
        if last.base < covered.end {
            continue;
        }
        files.retain(|(live, _)| !covered.contains(&live.base));
        files.push((file, len));
    }
    files.sort_unstable_by_key(|(file, _)| file.base);
    Ok(files)
}

/// How often a look at a directory is repeated until nothing changes during it. The last look
/// counts if it succeeded, because the next one finds what has changed.
const LISTINGS: usize = 8;

/// Returns whether the same files are there, and those that are closed have the same lengths.
pub(crate) fn is_same(before: &Listing, now: &Listing) -> bool {
    let closed = |listing: &Listing| {
        let mut logs: Vec<_> = listing.logs().collect();
        logs.pop();
        logs
    };
    now.names_same(before) && closed(now) == closed(before)
}

/// How often something is retried because the writer has changed the files meanwhile, before an
/// error is believed.
const MOST_TRIES: usize = 16;

/// Returns whether a file ended before what was to be read.
pub(crate) fn is_short(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof)
}

/// Looks at a directory, and again if its files differ before and after.
pub(crate) fn look_until_stable<T>(
    dir: &SegmentDir,
    mut look: impl FnMut(&Listing) -> Result<T>,
) -> Result<T> {
    let mut tries = 1usize;
    loop {
        let listing = Listing::read(dir)?;
        let seen = look(&listing);
        // A file that is listed and cannot be found, or is shorter, was changed, whatever the
        // directory holds now.
        let vanished = seen.as_ref().is_err_and(|error| error.is_not_found() || is_short(error));
        let settled = !vanished && is_same(&listing, &Listing::read(dir)?);
        if settled || tries >= if seen.is_ok() { LISTINGS } else { MOST_TRIES } {
            return seen;
        }
        tries = tries.saturating_add(1);
    }
}

/// Returns the segments of a directory as they are now.
pub(crate) fn survey(
    dir: &Arc<SegmentDir>,
    checkpoints: &Checkpoints,
    config: &LogConfig,
    ends: &mut ReplacementEnds,
) -> Result<(Follower, SegmentList)> {
    look_until_stable(dir, |listing| survey_listed(dir, listing, checkpoints, config, ends))
}

/// Returns the files after the end of a log that do not belong to it.
pub(crate) fn read_strays(
    dir: &Arc<SegmentDir>,
    checkpoints: &Checkpoints,
    config: &LogConfig,
) -> Result<Vec<Corruption>> {
    let compacts = config.cleanup_policy.compacts();
    let look = |listing: &Listing| Strays::of_reader(dir, listing, checkpoints, compacts);
    Ok(look_until_stable(dir, look)?.damage(dir).collect())
}

fn survey_listed(
    dir: &Arc<SegmentDir>,
    listing: &Listing,
    checkpoints: &Checkpoints,
    config: &LogConfig,
    ends: &mut ReplacementEnds,
) -> Result<(Follower, SegmentList)> {
    let strays = Strays::of_reader(dir, listing, checkpoints, config.cleanup_policy.compacts())?;
    let files = log_files(dir, listing, ends)?.into_iter();
    let (mut strays, mut logs): (Vec<_>, Vec<_>) =
        files.partition(|(file, _)| strays.contains(file.base));
    if logs.last().is_some_and(|(last, _)| last.stage != Stage::Live) {
        // The last segment of a log is never a replacement. So this replacement is still being put
        // in place, and only an opening for writing can tell which files come after it.
        logs.append(&mut strays);
    }
    let Some((&(last, _), sealed)) = logs.split_last() else {
        listing.check(dir)?;
        let reason = "it holds no segment; give the directory of a log, or open it for writing to create one";
        return Err(Error::not_a_log(&dir.path, reason));
    };
    let segment = |(file, bytes): &(SegmentFile, u64)| {
        let (dir, base) = (Arc::clone(dir), file.base);
        Arc::new(match file.stage {
            Stage::Swap => Segment::replacement(dir, base, *bytes, None),
            _ => Segment::sealed(dir, base, *bytes),
        })
    };
    let mut segments: Vec<_> = sealed.iter().map(segment).collect();
    let known = known_below(dir, last.base, &logs, checkpoints, config)?;
    let mut transactions = OpenTxns::after(&known, dir, last.base, last.base)?;
    let scan = scan_last(dir, last.base, checkpoints, config.on_corruption, &mut transactions)?;
    let mut follower = Follower::new(dir, last.base, scan, transactions, ends.clone())?;
    follower.strays = strays;
    if follower.anchor.is_empty() && follower.position > 0 {
        follower.anchor = Anchor::of_segment(&follower.segment, Offset::MAX)?;
    }
    let mut limit = last.base;
    let with_batches = segments.iter().rev().filter(|segment| segment.published() > 0);
    for before in with_batches.take(MOST_EMPTY) {
        if follower.anchor.is_complete() {
            break;
        }
        follower.anchor = Anchor::of_segment(before, limit)?.followed_by(&follower.anchor);
        limit = before.base;
    }
    segments.push(Arc::clone(&follower.segment));
    Ok((follower, SegmentList { segments }))
}

/// Returns the producers at the base of the last segment, with the transactions that are not
/// decided there.
fn known_below(
    dir: &Arc<SegmentDir>,
    base: Offset,
    logs: &[(SegmentFile, u64)],
    checkpoints: &Checkpoints,
    config: &LogConfig,
) -> Result<Producers> {
    let first = logs.first().map_or(base, |(first, _)| first.base);
    let start = checkpoints.get(Checkpoint::Start)?.unwrap_or(0).max(first);
    let high_watermark = stored_high_watermark(checkpoints, config.replicated, start)?;
    let states = states_at(dir, base)?;
    // Files of a replacement that is being put in place are not replayed.
    let can_replay = logs.iter().all(|(file, _)| file.stage == Stage::Live);
    if can_replay && (states.is_none() || high_watermark.is_some_and(|offset| offset < base)) {
        let logs = logs.iter().map(|(file, bytes)| (file.base, *bytes)).collect();
        let replay = ProducerReplay::of_logs(dir, config.max_decompressed_bytes, logs)?;
        return replay.above_high_watermark(high_watermark).transactions_at(base);
    }
    let mut known = Producers::restore(&states.unwrap_or_default(), base, Timestamp::NONE);
    known.unreplicated = high_watermark.map(Unreplicated::above);
    Ok(known)
}

/// Returns where a log with these segments begins.
pub(crate) fn start_of(
    checkpoints: &Checkpoints,
    list: &SegmentList,
    end: Offset,
) -> Result<Offset> {
    let first = list.segments.first().map_or(0, |first| first.base);
    Ok(checkpoints.get(Checkpoint::Start)?.unwrap_or(0).max(first).min(end))
}

/// Returns the stored high watermark, if the log is replicated. One that is not stored, or lies
/// below the start, is at the start.
pub(crate) fn stored_high_watermark(
    checkpoints: &Checkpoints,
    is_replicated: bool,
    start: Offset,
) -> Result<Option<Offset>> {
    if !is_replicated {
        return Ok(None);
    }
    let stored = checkpoints.get(Checkpoint::HighWatermark)?;
    Ok(Some(stored.unwrap_or(start).max(start)))
}

/// How often a file of a read-only log that looks damaged is read before that is believed.
pub(crate) const LOOKS: usize = 3;

/// Reads the last segment up to where its batches end.
///
/// The writer may be in the middle of a batch, which is no damage. But valid batches after that
/// place, or an end below the recovery point, are damage, unless the writer went on during the
/// read. So the segment is read again, and also if it was truncated meanwhile.
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
            // The file became shorter than it was when the scan began.
            Err(error) if is_short(&error) && !is_last_try => continue,
            found => found?,
        };
        if chain.is_broken && !is_last_try {
            continue;
        }
        let is_damaged = matches!(found.tail, SegmentTail::Damaged(_));
        if choice == OnCorruption::Truncate || (!is_damaged && found.end >= recovery_point) {
            return Ok(Scan { found, last: chain.last });
        }
        // A truncation lowers the recovery point before it removes anything, and more may have
        // been appended since.
        let recovery_point_now = checkpoints.get(Checkpoint::RecoveryPoint)?.unwrap_or(0);
        let last = Listing::read(dir)?.logs().last();
        if !is_damaged && last.is_some_and(|(last, _)| last > base) {
            // The synced records lie in later segments.
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
            return behind.ok_or_else(|| damage_at_end(dir, base, &found, None, recovery_point));
        }
    }
}

/// Reads a damaged last segment as an opening for writing does: it does not read the synced part,
/// if the indexes agree with it. A read of the damage there reports it.
fn scan_unsynced(
    dir: &Arc<SegmentDir>,
    base: Offset,
    trusted: Offset,
    transactions: &mut OpenTxns,
) -> Result<Option<Scan>> {
    // The damage may hide the end of a transaction. The snapshot of a close has it.
    let states = states_at(dir, trusted)?;
    if transactions.first_undecided().is_some() && states.is_none() {
        return Ok(None);
    }
    let mut known = Producers::restore(&states.unwrap_or_default(), trusted, Timestamp::NONE);
    known.unreplicated = transactions.unreplicated();
    let mut behind = OpenTxns::after(&known, dir, base, trusted)?;
    let rules = ScanRules { trusted, ..ScanRules::NONE };
    let found = recover_segment(dir, base, rules, &mut behind)?;
    let is_sound = !matches!(found.tail, SegmentTail::Damaged(_)) && found.end >= trusted;
    if !is_sound {
        return Ok(None);
    }
    *transactions = behind;
    Ok(Some(Scan { found, last: LastBatches::default() }))
}
