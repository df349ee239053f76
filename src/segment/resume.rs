//! Taking the synced part of a segment from its stored indexes, without reading its batches.

use crate::error::{Error, Result};
use crate::fs::File;
use crate::segment::SegmentDir;
use crate::segment::headers::{HeaderWalk, Walked, read_header};
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::index_files::stored_indexes;
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::offset_index::OffsetEntry;
use crate::segment::recovered::{Recovered, ScanRules, SegmentTail};
use crate::segment::resync::is_batch;
use crate::segment::time_index::{TimeEntry, TimeIndex};
use crate::types::{Offset, Timestamp};
use std::io;

/// Takes the stored indexes for the part below `trusted`, and walks the headers from their last
/// entry to there. Returns `None` if the log contradicts the indexes: then nothing is taken.
pub(super) fn resume(
    dir: &SegmentDir,
    file: &dyn File,
    base: Offset,
    file_bytes: u64,
    rules: ScanRules,
) -> Result<Option<Recovered>> {
    let ScanRules { limit, trusted, .. } = rules;
    let fail = |error| Error::io("read", &dir.path_of(SegmentFile::live(base, Kind::Log)), error);
    let Some(indexes) = indexes_below(dir, base, file_bytes, trusted)? else { return Ok(None) };
    let last = last_entry(&indexes);
    let upto = last.map_or(0, |last| last.position);
    if !times_reach(file, &indexes, base, upto, file_bytes).map_err(fail)? {
        return Ok(None);
    }
    let time = indexes.times.last();
    let Ok(first) = read_header(file, 0, file_bytes).map_err(fail)? else { return Ok(None) };
    let largest = time.map_or((Timestamp::NONE, base), |time| (time.timestamp, time.offset));
    let mut cadence = IndexCadence::new(dir.index_interval_bytes, largest);
    let mut walk = HeaderWalk::new(file, upto, file_bytes);
    let mut end = base;
    // An entry that was never written reads as zeros, which is an entry for the first offset.
    let mut is_confirmed = last.is_none();
    while end < trusted && walk.position() < file_bytes {
        let Walked::Batch { position, header } = walk.next().map_err(fail)? else {
            return Ok(None);
        };
        if header.base_offset < end || header.last_offset() >= trusted {
            return Ok(None);
        }
        // At the start of the walk, the previous batch is not known.
        if position > upto && rules.check_dense(end, &header).is_err() {
            return Ok(None);
        }
        let bytes = header.size_bytes() as u64;
        is_confirmed |= last.is_some_and(|last| last.offset == header.last_offset());
        cadence.note(&indexes, position, bytes, header.last_offset(), header.max_timestamp);
        end = header.next_offset();
    }
    // A segment that was synced whole may end below the base of the next.
    let is_whole = limit <= trusted && walk.position() == file_bytes;
    Ok(((end == trusted || is_whole) && is_confirmed).then_some(Recovered {
        valid_bytes: walk.position(),
        file_bytes,
        scanned_bytes: 0,
        end,
        first_timestamp: first.max_timestamp,
        indexes,
        cadence,
        tail: SegmentTail::Clean,
    }))
}

/// Returns the stored indexes without the final time entry, or `None` if they are invalid or may
/// cover more than the part below `trusted`.
fn indexes_below(
    dir: &SegmentDir,
    base: Offset,
    file_bytes: u64,
    trusted: Offset,
) -> Result<Option<Indexes>> {
    let Ok(mut indexes) = stored_indexes(dir, base, file_bytes)? else { return Ok(None) };
    // Entries that were added and not synced may read as zeros. A zero entry that comes first
    // passes the check of the order.
    let zeros = TimeEntry { timestamp: Timestamp::from_millis(0), offset: base };
    if indexes.times.get(0) == Some(zeros) {
        return Ok(None);
    }
    let last = last_entry(&indexes);
    if last.is_some_and(|last| last.offset >= trusted) {
        return Ok(None);
    }
    // The final time entry was added when the segment was closed. It may not have been synced
    // although all records were, and the walk adds it again.
    let is_final = |time: TimeEntry| last.is_none_or(|last| time.offset > last.offset);
    if indexes.times.last().is_some_and(is_final) {
        let mut times = TimeIndex::empty(base);
        let kept = indexes.times.iter().take_while(|time| !is_final(*time));
        kept.for_each(|time| times.push(time.timestamp, time.offset));
        times.mark_unverified();
        indexes.times = times;
    }
    Ok(Some(indexes))
}

fn last_entry(indexes: &Indexes) -> Option<OffsetEntry> {
    indexes.offsets.len().checked_sub(1).and_then(|last| indexes.offsets.get(last))
}

/// Returns whether no batch below a position is later than the last time entry. A shortened time
/// index is still sorted, and its largest time would count as that of the segment.
///
/// The entries before the last two are checked when they are used.
fn times_reach(
    file: &dyn File,
    indexes: &Indexes,
    base: Offset,
    upto: u64,
    file_bytes: u64,
) -> io::Result<bool> {
    let times = &indexes.times;
    let entry = times.last();
    let before = times.len().checked_sub(2).and_then(|before| times.get(before));
    let before = before.map_or(base, |before| before.offset.saturating_add(1));
    let nearest = indexes.offsets.ceiling(before).checked_sub(1);
    let from = nearest.and_then(|n| indexes.offsets.get(n)).map_or(0, |n| n.position);
    let mut walk = HeaderWalk::new(file, from, file_bytes);
    let largest = entry.map_or(Timestamp::NONE, |entry| entry.timestamp);
    let mut found = entry.is_none();
    while walk.position() < upto || !found {
        let Walked::Batch { header, .. } = walk.next()? else { return Ok(false) };
        if header.last_offset() >= before && header.max_timestamp > largest {
            return Ok(false);
        }
        if entry.is_some_and(|entry| entry.offset <= header.last_offset()) && !found {
            found = entry
                == Some(TimeEntry {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                });
            if !found {
                return Ok(false);
            }
        }
    }
    Ok(found)
}

/// Returns the offset after the last batch of a segment that is not scanned, from the headers
/// after its last index entry. Returns `None` if these do not lead to its end: a read of that part
/// reports the damage.
pub(crate) fn end_of_sealed(
    dir: &SegmentDir,
    base: Offset,
    file_bytes: u64,
) -> Result<Option<Offset>> {
    let fail = |error| Error::io("read", &dir.path_of(SegmentFile::live(base, Kind::Log)), error);
    let file = dir.open_log(base)?;
    let indexes = stored_indexes(dir, base, file_bytes)?.ok();
    let last = indexes.as_ref().and_then(last_entry);
    let mut last_batch = None;
    for from in [last.map_or(0, |last| last.position), 0] {
        let mut walk = HeaderWalk::new(&*file, from, file_bytes);
        last_batch = None;
        while let Walked::Batch { position, header } = walk.next().map_err(fail)? {
            last_batch = Some((position, header));
        }
        if walk.position() == file_bytes {
            break;
        }
        if from == 0 {
            return Ok(None);
        }
    }
    let Some((position, header)) = last_batch else { return Ok(Some(base)) };
    let is_sound = is_batch(&*file, position, &header).map_err(fail)?;
    Ok(is_sound.then(|| header.next_offset()))
}
