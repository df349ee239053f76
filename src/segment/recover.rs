//! Reading a segment after a crash: what of it is whole, and what the rest is.
//!
//! The scan stops at the first bytes that are no valid batch. What stands there
//! decides what may be done about it: the torn end of the last write is cut
//! off, anything else is damage. [`Tail`] tells which, and cuts nothing itself.

use crate::error::{CorruptionKind, Error, InvalidBatch, Result, Unsupported};
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef, layout, stamp_length};
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::name::{Kind, SegmentFile};
use crate::segment::placeholder::SPAN;
use crate::segment::scan::{BatchStream, Step, check_offsets, read_header};
use crate::segment::time_index::{TimeEntry, TimeIndex};
use crate::segment::whole::{PREFIX_BYTES, Whole, WholeButForLength, size_of_message, whole_at};
use crate::segment::{SegmentDir, stored_indexes};
use crate::types::{Offset, Timestamp};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// The bytes after the last valid batch of a segment.
#[derive(Debug)]
pub(crate) enum Tail {
    /// Nothing.
    Clean,
    /// Only zeros: room that was reserved, or a length that was synced before its data.
    Zeros,
    /// Bytes that are no batch, with no valid batch behind them: a write that was cut short.
    Torn(CorruptionKind),
    /// Bytes that are no batch, and valid ones behind them.
    Damaged(CorruptionKind),
}

/// The result of a scan of a segment.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The length of the valid batches.
    pub(crate) valid_bytes: u64,
    /// The length of the file.
    pub(crate) file_bytes: u64,
    /// How much of it was read and checked.
    pub(crate) scanned_bytes: u64,
    /// The offset after the last valid batch; the base when there is none.
    pub(crate) end: Offset,
    /// The largest timestamp of the first batch.
    pub(crate) first_timestamp: Timestamp,
    /// Indexes made from the valid batches, without the final time entry of a sealed segment.
    pub(crate) indexes: Indexes,
    pub(crate) cadence: IndexCadence,
    pub(crate) tail: Tail,
}

/// An observer of the batches that recovery reads.
pub(crate) trait Heed {
    /// All that follows lies at or above this offset.
    fn begin(&mut self, at: Offset) -> Result<()>;
    /// The file was read again, further on: the next batch is in what was read now.
    fn read_on(&mut self) -> Result<()> {
        Ok(())
    }
    /// A valid batch.
    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch>;
    /// Discard all batches so far: they are read again, from an earlier position.
    fn forget(&mut self);
}

/// Ignores every batch.
impl Heed for () {
    fn begin(&mut self, _: Offset) -> Result<()> {
        Ok(())
    }

    fn batch(&mut self, _: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        Ok(())
    }

    fn forget(&mut self) {}
}

/// The rules for the scan of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanRules {
    /// All its offsets lie below: where the next segment begins.
    pub(crate) limit: Offset,
    /// Everything below was synced.
    pub(crate) trusted: Offset,
    /// From here on, each offset has its batch.
    pub(crate) dense_from: Offset,
}

impl ScanRules {
    /// The rules for a segment of which nothing is known.
    pub(crate) const NONE: ScanRules =
        ScanRules { limit: Offset::MAX, trusted: 0, dense_from: Offset::MAX };

    /// A base offset has no checksum. Where no offset is left out, it must follow from the batch
    /// before it.
    fn check_dense(&self, expected: Offset, header: &BatchHeader) -> Result<(), CorruptionKind> {
        let (from, to) = (expected, header.base_offset);
        if from < to && to > self.dense_from {
            return Err(CorruptionKind::OffsetsMissing { from, to });
        }
        Ok(())
    }
}

/// Scans a segment.
///
/// Batches below `trusted` were synced and their index entries stored: if the stored
/// indexes bear that out, the scan begins there. Otherwise it begins at the first byte.
pub(crate) fn recover_segment(
    dir: &SegmentDir,
    base: Offset,
    rules: ScanRules,
    heed: &mut dyn Heed,
) -> Result<Recovered> {
    let rules = ScanRules { limit: rules.limit.min(base.saturating_add(SPAN)), ..rules };
    let limit = rules.limit;
    let path = dir.path_of(SegmentFile::live(base, Kind::Log));
    let fail = |error| Error::io("read", &path, error);
    let file = dir.open_log(base)?;
    let file_bytes = file.len().map_err(fail)?;
    let resumed =
        if rules.trusted > base { resume(dir, &*file, base, file_bytes, rules)? } else { None };
    let mut found = resumed.unwrap_or_else(|| Recovered {
        valid_bytes: 0,
        file_bytes,
        scanned_bytes: 0,
        end: base,
        first_timestamp: Timestamp::NONE,
        indexes: Indexes::empty(base),
        cadence: IndexCadence::new(dir.index_interval_bytes, (Timestamp::NONE, base)),
        tail: Tail::Clean,
    });
    let from = found.valid_bytes;
    heed.begin(found.end)?;
    let mut stream = BatchStream::new(Arc::clone(&file), from, found.end);
    let mut fills = stream.fills();
    loop {
        let step = stream.advance(file_bytes, limit).map_err(fail)?;
        if std::mem::replace(&mut fills, stream.fills()) != fills {
            heed.read_on()?;
        }
        let position = stream.position();
        found.scanned_bytes = position.saturating_sub(from);
        let damage = match step {
            Step::End => return Ok(found),
            Step::Batch(header) => {
                let mut heeded = || stream.batch().map_or(Ok(()), |batch| heed.batch(&batch));
                match rules.check_dense(found.end, &header).and_then(|()| Ok(heeded()?)) {
                    Ok(()) => {
                        found.take(position, &header);
                        continue;
                    }
                    Err(damage) => damage,
                }
            }
            Step::Damaged(damage) => damage,
        };
        let rest = position..file_bytes;
        found.tail = match classify(&*file, rest, found.end, limit, damage).map_err(fail)? {
            Ok(tail) => tail,
            Err(unsupported) => return Err(Error::Unsupported(unsupported)),
        };
        return Ok(found);
    }
}

/// Takes the stored indexes for what lies below `trusted`, and walks the headers from their
/// last entry to there. `None` when index and log do not agree: then nothing is taken.
fn resume(
    dir: &SegmentDir,
    file: &dyn File,
    base: Offset,
    file_bytes: u64,
    rules: ScanRules,
) -> Result<Option<Recovered>> {
    let ScanRules { limit, trusted, .. } = rules;
    let fail = |error| Error::io("read", &dir.path_of(SegmentFile::live(base, Kind::Log)), error);
    let Ok(mut indexes) = stored_indexes(dir, base, file_bytes)? else { return Ok(None) };
    // What was added and not synced may read as zeros: in front, that is an entry in order.
    let zeros = TimeEntry { timestamp: Timestamp::from_millis(0), offset: base };
    if indexes.times.get(0) == Some(zeros) {
        return Ok(None);
    }
    let last = indexes.offsets.len().checked_sub(1).and_then(|last| indexes.offsets.get(last));
    if last.is_some_and(|last| last.offset >= trusted) {
        return Ok(None);
    }
    // The final time entry was added when the segment was closed, and may not have been synced
    // although all records were. The walk makes it again.
    let is_final = |time: TimeEntry| last.is_none_or(|last| time.offset > last.offset);
    if indexes.times.last().is_some_and(is_final) {
        let mut times = TimeIndex::empty(base);
        let kept = indexes.times.iter().take_while(|time| !is_final(*time));
        kept.for_each(|time| times.push(time.timestamp, time.offset));
        times.doubt();
        indexes.times = times;
    }
    let upto = last.map_or(0, |last| last.position);
    if !times_reach(file, &indexes, base, upto, file_bytes).map_err(fail)? {
        return Ok(None);
    }
    let time = indexes.times.last();
    let Ok(first) = read_header(file, 0, file_bytes).map_err(fail)? else { return Ok(None) };
    let largest = time.map_or((Timestamp::NONE, base), |time| (time.timestamp, time.offset));
    let (mut position, mut end) = last.map_or((0, base), |last| (last.position, base));
    let mut cadence = IndexCadence::new(dir.index_interval_bytes, largest);
    // One that was never written reads as zeros, which is an entry for the first offset.
    let mut borne_out = last.is_none();
    while end < trusted && position < file_bytes {
        let header = match read_header(file, position, file_bytes).map_err(fail)? {
            Ok(header) if header.base_offset >= end && header.last_offset() < trusted => header,
            _ => return Ok(None),
        };
        // Where the walk begins, the batch before is not known.
        if position > upto && rules.check_dense(end, &header).is_err() {
            return Ok(None);
        }
        let bytes = header.size_bytes() as u64;
        borne_out |= last.is_some_and(|last| last.offset == header.last_offset());
        cadence.note(&indexes, position, bytes, header.last_offset(), header.max_timestamp);
        position = position.saturating_add(bytes);
        end = header.next_offset();
    }
    // A segment of which all was synced may end below the base of the next.
    let whole = limit <= trusted && position == file_bytes;
    Ok(((end == trusted || whole) && borne_out).then_some(Recovered {
        valid_bytes: position,
        file_bytes,
        scanned_bytes: 0,
        end,
        first_timestamp: first.max_timestamp,
        indexes,
        cadence,
        tail: Tail::Clean,
    }))
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
    let mut position = nearest.and_then(|n| indexes.offsets.get(n)).map_or(0, |n| n.position);
    let largest = entry.map_or(Timestamp::NONE, |entry| entry.timestamp);
    let mut found = entry.is_none();
    while position < upto || !found {
        let Ok(header) = read_header(file, position, file_bytes)? else { return Ok(false) };
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
        position = position.saturating_add(header.size_bytes() as u64);
    }
    Ok(found)
}

/// Returns the offset after the last batch of a segment that is not scanned, from the headers
/// after its last index entry. `None` if these do not lead to its end: a read of that part reports
/// the damage.
pub(crate) fn end_of_sealed(
    dir: &SegmentDir,
    base: Offset,
    file_bytes: u64,
) -> Result<Option<Offset>> {
    let fail = |error| Error::io("read", &dir.path_of(SegmentFile::live(base, Kind::Log)), error);
    let file = dir.open_log(base)?;
    let indexes = stored_indexes(dir, base, file_bytes)?.ok();
    let last = indexes.and_then(|indexes| {
        indexes.offsets.len().checked_sub(1).and_then(|last| indexes.offsets.get(last))
    });
    let mut last_batch = None;
    for from in [last.map_or(0, |last| last.position), 0] {
        let mut position = from;
        last_batch = None;
        while position < file_bytes {
            let Ok(header) = read_header(&*file, position, file_bytes).map_err(fail)? else {
                break;
            };
            last_batch = Some((position, header));
            position = position.saturating_add(header.size_bytes() as u64);
        }
        if position == file_bytes {
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

impl Recovered {
    /// Takes a batch as the next valid one.
    pub(crate) fn take(&mut self, position: u64, header: &BatchHeader) {
        let bytes = header.size_bytes() as u64;
        if position == 0 {
            self.first_timestamp = header.max_timestamp;
        }
        self.cadence.note(
            &self.indexes,
            position,
            bytes,
            header.last_offset(),
            header.max_timestamp,
        );
        self.valid_bytes = position.saturating_add(bytes);
        self.end = header.next_offset();
    }
}

/// What the rest of a file is, which begins with damage. A whole message of another kind is none.
fn classify(
    file: &dyn File,
    rest: Range<u64>,
    lowest: Offset,
    limit: Offset,
    damage: CorruptionKind,
) -> io::Result<Result<Tail, Unsupported>> {
    if is_zero(file, rest.start, rest.end)? {
        return Ok(Ok(Tail::Zeros));
    }
    // A batch whose bytes are sound was not torn, whatever its offsets or its records are.
    Ok(match whole_at(file, rest.start, rest.end)? {
        Some(Whole::Foreign(unsupported)) => Err(unsupported),
        Some(Whole::Ours) => Ok(Tail::Damaged(damage)),
        None if has_message_after(file, rest.clone(), lowest, limit)? => Ok(Tail::Damaged(damage)),
        None if can_begin_batch(file, &rest, lowest, limit)? => Ok(Tail::Torn(damage)),
        None if rest.start == 0 => Ok(Tail::Damaged(CorruptionKind::Malformed(NOT_A_SEGMENT))),
        None => Ok(Tail::Damaged(damage)),
    })
}

pub(crate) const NOT_A_SEGMENT: &str =
    "its first bytes cannot begin a batch, so it is no log segment, or its start is overwritten";

/// Whether the rest of a file can be the beginning of a batch, cut anywhere: what a write leaves
/// whose process died. Zeros at the end may be reserved room, and say nothing.
pub(crate) fn can_begin_batch(
    file: &dyn File,
    rest: &Range<u64>,
    lowest: Offset,
    limit: Offset,
) -> io::Result<bool> {
    let mut start = [0; BatchHeader::SIZE];
    let wanted = rest.end.saturating_sub(rest.start).min(start.len() as u64) as usize;
    file.read_exact_at(start.get_mut(..wanted).unwrap_or_default(), rest.start)?;
    let written = start.iter().rposition(|&byte| byte != 0).unwrap_or(0);
    let is_written = |field_end: usize| written >= field_end;
    let base = start.first_chunk().map_or(-1, |base| i64::from_be_bytes(*base));
    let length = start.get(layout::BATCH_LENGTH_AT..).and_then(|field| field.first_chunk());
    let length = length.map_or(0, |length| i32::from_be_bytes(*length));
    let fits = u64::try_from(base).is_ok_and(|base| base >= lowest && base < limit);
    Ok((fits || !is_written(layout::BATCH_LENGTH_AT))
        && (length >= layout::MIN_LENGTH || !is_written(layout::LEADER_EPOCH_AT))
        && (start.get(layout::MAGIC_AT) == Some(&layout::MAGIC_V2.cast_unsigned())
            || !is_written(layout::MAGIC_END)))
}

/// Whether a file can be what is left of a segment with this base: it begins with a batch of
/// ours, whole or not, or with zeros, as if later sectors had been written first. No crash
/// leaves less of the first sector.
pub(crate) fn begins_segment(file: &dyn File, base: Offset) -> io::Result<bool> {
    let mut start = [0; layout::MAGIC_END];
    let wanted = file.len()?.min(start.len() as u64) as usize;
    file.read_exact_at(start.get_mut(..wanted).unwrap_or_default(), 0)?;
    let is_ours = start.get(layout::MAGIC_AT) == Some(&layout::MAGIC_V2.cast_unsigned());
    let is_in_range = size_of_message(&start, base, base.saturating_add(SPAN)).is_some();
    Ok(start.iter().all(|byte| *byte == 0) || (is_ours && is_in_range))
}

/// Whether all bytes of a piece of a file are zero. Its holes are not read.
pub(crate) fn is_zero(file: &dyn File, mut position: u64, end: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        position = file.next_data(position)?;
        let Some(left) = end.checked_sub(position).filter(|left| *left > 0) else {
            return Ok(true);
        };
        let wanted = left.min(buffer.len() as u64) as usize;
        let bytes = buffer.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(bytes, position)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        position = position.saturating_add(wanted as u64);
    }
}

/// How far the search looks at a time.
const WINDOW_BYTES: u64 = 1 << 20;
/// That many zeros are not the end of a batch.
const MARGIN: u64 = 64;
/// How many bytes the search checksums for each byte it looks through, so that
/// bytes made to look like many long batches cannot make it slow.
const CHECKSUM_BUDGET: u64 = 16;

/// Whether a whole message that could belong to this log begins behind damage.
///
/// Within the bytes that a torn batch would have, one proves nothing: a value can hold messages.
/// There it counts only if what lies before it is a whole batch but for its length, so that it is
/// that which is damaged.
///
/// When the budget is used up, what merely looks like a message counts as one:
/// that way an error is raised, and nothing is cut.
pub(crate) fn has_message_after(
    file: &dyn File,
    rest: Range<u64>,
    lowest: Offset,
    limit: Offset,
) -> io::Result<bool> {
    let claimed = claimed_end(file, &rest, lowest, limit)?;
    let mut torn = WholeButForLength::at(file, rest.start, rest.end)?;
    let mut budget = rest.end.saturating_sub(rest.start).saturating_mul(CHECKSUM_BUDGET);
    let look = |bytes: &[u8]| size_of_message(bytes, lowest, limit);
    let found = search(file, rest.clone(), PREFIX_BYTES, look, |position, size| {
        if position.saturating_add(*size) > rest.end {
            return Ok(false);
        }
        let Some(left) = budget.checked_sub(*size) else { return Ok(true) };
        budget = left;
        let counts = position >= claimed || torn.ends_at(file, position)?;
        Ok(counts && whole_at(file, position, rest.end)?.is_some())
    })?;
    // Behind one that was torn, reserved room reads as zeros: it is long, and none of them is
    // worth a look.
    let is_room = is_zero(file, rest.end.saturating_sub(MARGIN), rest.end)?;
    Ok(found.is_some() || (!is_room && torn.ends_at(file, rest.end)?))
}

/// Where the batch at the beginning of a piece of a file would end, if its header can belong here.
fn claimed_end(
    file: &dyn File,
    rest: &Range<u64>,
    lowest: Offset,
    limit: Offset,
) -> io::Result<u64> {
    let mut bytes = [0; BatchHeader::SIZE];
    if rest.end.saturating_sub(rest.start) < bytes.len() as u64 {
        return Ok(rest.start);
    }
    file.read_exact_at(&mut bytes, rest.start)?;
    let header = plausible(&bytes, lowest, limit);
    let size = header.map_or(0, |header| header.size_bytes() as u64);
    Ok(rest.start.saturating_add(size))
}

/// The position and base offset of the first valid batch behind the damaged one at `from`.
///
/// A batch can hold others in a value, which must not be taken for it. So the lengths that the
/// damaged batches give are followed first. Where they lead nowhere, a batch counts if the bytes
/// up to it are what the damaged one has the checksum of, so that only its length was wrong, or if
/// it is followed by another batch or by the end.
pub(crate) fn next_batch_after(
    file: &dyn File,
    from: u64,
    end: u64,
    lowest: Offset,
    limit: Offset,
) -> io::Result<Option<(u64, Offset)>> {
    let fits = |header: &BatchHeader| check_offsets(header, lowest, limit).is_ok();
    let header_at = |position: u64| read_header(file, position, end).map(Result::ok);
    let batch_at = |position: u64| -> io::Result<Option<BatchHeader>> {
        let Some(header) = header_at(position)?.filter(fits) else { return Ok(None) };
        Ok(is_batch(file, position, &header)?.then_some(header))
    };
    // Of two sound batches whose offsets are out of order, the one that follows its predecessor is
    // right.
    let is_in_order = |position: u64, header: &BatchHeader, before: Option<BatchHeader>| {
        if before.is_some_and(|before| before.next_offset() == header.base_offset) {
            return Ok(true);
        }
        let behind = batch_at(position.saturating_add(header.size_bytes() as u64))?;
        io::Result::Ok(behind.is_none_or(|behind| behind.base_offset > header.last_offset()))
    };
    let mut at = from;
    while let Some(size) = stored_size(file, at, end)? {
        let before = header_at(at)?;
        // The first need not belong here to have a length, the others need one sign of being
        // batches.
        if at != from {
            let Some(header) = before else { break };
            if !fits(&header) && !is_batch(file, at, &header)? {
                break;
            }
        }
        at = at.saturating_add(size);
        if at == end {
            return Ok(None);
        }
        if let Some(header) = batch_at(at)?
            && is_in_order(at, &header, before)?
        {
            return Ok(Some((at, header.base_offset)));
        }
    }
    let before = header_at(from)?;
    let look = |bytes: &[u8]| plausible(bytes, lowest, limit);
    let found = search(file, from..end, BatchHeader::SIZE, look, |position, header| {
        let behind = position.saturating_add(header.size_bytes() as u64);
        if behind > end {
            return Ok(false);
        }
        Ok(is_batch(file, position, header)?
            && is_in_order(position, header, before)?
            && (behind == end
                || is_whole_but_for_its_length(file, from, position)?
                || batch_at(behind)?.is_some()
                || is_zero(file, behind, end)?))
    })?;
    Ok(found.map(|(position, header)| (position, header.base_offset)))
}

/// The size that the length field of a batch gives it, if the file has room for that.
fn stored_size(file: &dyn File, position: u64, end: u64) -> io::Result<Option<u64>> {
    let available = end.saturating_sub(position);
    let mut prefix = [0; layout::LENGTH_PREFIX_SIZE];
    // No batch fits in less than that, whatever the length is then.
    let wanted = available.min(layout::LENGTH_PREFIX_SIZE as u64) as usize;
    file.read_exact_at(prefix.get_mut(..wanted).unwrap_or_default(), position)?;
    let field = prefix.get(layout::BATCH_LENGTH_AT..).and_then(|field| field.try_into().ok());
    let length = i32::from_be_bytes(field.unwrap_or_default());
    let size = u64::try_from(length).ok().filter(|_| length >= layout::MIN_LENGTH);
    let size = size.map(|length| length.saturating_add(layout::LENGTH_PREFIX_SIZE as u64));
    Ok(size.filter(|size| *size <= available))
}

/// Whether these bytes are a batch as its checksum says, whatever its length field does.
fn is_whole_but_for_its_length(file: &dyn File, from: u64, to: u64) -> io::Result<bool> {
    let size = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    let mut batch = vec![0; size];
    file.read_exact_at(&mut batch, from)?;
    if stamp_length(&mut batch).is_err() {
        return Ok(false);
    }
    Ok(BatchRef::parse(&batch).is_ok_and(|batch| batch.verify_checksum().is_ok()))
}

/// The first place behind the beginning of a piece of a file where `look` finds something in as
/// many bytes, and `accept` takes it. Holes of the file are passed over: what begins in one
/// reaches beyond it.
fn search<T>(
    file: &dyn File,
    rest: Range<u64>,
    bytes: usize,
    look: impl Fn(&[u8]) -> Option<T>,
    mut accept: impl FnMut(u64, &T) -> io::Result<bool>,
) -> io::Result<Option<(u64, T)>> {
    let end = rest.end;
    let mut at = rest.start.saturating_add(1);
    let mut window = Vec::new();
    while at.saturating_add(bytes as u64) <= end {
        let before_data = file.next_data(at)?.saturating_sub(bytes as u64);
        at = at.max(before_data);
        let wanted = end.saturating_sub(at).min(WINDOW_BYTES) as usize;
        window.resize(wanted, 0);
        file.read_exact_at(&mut window, at)?;
        for (index, bytes) in window.windows(bytes).enumerate() {
            let Some(seen) = look(bytes) else { continue };
            let position = at.saturating_add(index as u64);
            if accept(position, &seen)? {
                return Ok(Some((position, seen)));
            }
        }
        at = at.saturating_add((wanted as u64).saturating_sub(bytes as u64).saturating_add(1));
    }
    Ok(None)
}

fn is_batch(file: &dyn File, position: u64, header: &BatchHeader) -> io::Result<bool> {
    let mut batch = vec![0; header.size_bytes()];
    file.read_exact_at(&mut batch, position)?;
    Ok(BatchRef::parse(&batch).is_ok_and(|batch| batch.verify_checksum().is_ok()))
}

/// Whether these bytes could be the header of a batch that belongs after `lowest`.
fn plausible(bytes: &[u8], lowest: Offset, limit: Offset) -> Option<BatchHeader> {
    if bytes.get(16) != Some(&2) {
        return None;
    }
    let header = BatchHeader::parse(bytes).ok()?;
    check_offsets(&header, lowest, limit).is_ok().then_some(header)
}
