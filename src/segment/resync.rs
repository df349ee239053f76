//! Finding batches after damage.

use crate::fs::File;
use crate::record::{BatchHeader, BatchRef, layout, stamp_length};
use crate::segment::first_bytes::is_zero;
use crate::segment::headers::read_header;
use crate::segment::message::{BatchOfUnknownLength, PREFIX_BYTES, size_of_message, whole_at};
use crate::segment::scan::check_offsets;
use crate::types::Offset;
use std::io;
use std::ops::Range;

/// The bytes that the search reads at a time.
const WINDOW_BYTES: u64 = 1 << 20;
/// The number of zeros at the end of a file that no batch ends with.
const MARGIN: u64 = 64;
/// The number of bytes that the search checksums for each byte it looks through, so that bytes
/// made to look like many long batches cannot make it slow.
const CHECKSUM_BUDGET: u64 = 16;

/// Returns whether a whole message that could belong to this log begins after damage.
///
/// Within the bytes that a torn batch would have, a message proves nothing, because a value can
/// hold messages. There it counts only if the bytes before it are a whole batch with a wrong
/// length, so that the length is the damage.
///
/// When the budget is used up, bytes that merely look like a message count as one: then an error
/// is raised, and nothing is truncated.
pub(crate) fn has_message_after(
    file: &dyn File,
    rest: Range<u64>,
    lowest: Offset,
    limit: Offset,
) -> io::Result<bool> {
    let claimed = claimed_end(file, &rest, lowest, limit)?;
    let mut torn = BatchOfUnknownLength::at(file, rest.start, rest.end)?;
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
    // Reserved room after a torn batch reads as zeros. It is long, and need not be checksummed.
    let is_room = is_zero(file, rest.end.saturating_sub(MARGIN), rest.end)?;
    Ok(found.is_some() || (!is_room && torn.ends_at(file, rest.end)?))
}

/// Returns the position where the batch at the start of a part of a file would end, if its header
/// can belong here.
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

/// Returns the position and the base offset of the first valid batch after the damaged one at
/// `from`.
///
/// A batch can hold others in a value, and these must not be taken for it. So the search first
/// follows the lengths of the damaged batches. Where they lead nowhere, it looks at every
/// position. There, a batch counts in two cases: the bytes before it are the damaged batch with a
/// wrong length, by their checksum; or another batch, zeros or the end follow it.
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
        let next = batch_at(position.saturating_add(header.size_bytes() as u64))?;
        io::Result::Ok(next.is_none_or(|next| next.base_offset > header.last_offset()))
    };
    let mut at = from;
    while let Some(size) = stored_size(file, at, end)? {
        let before = header_at(at)?;
        // The length of the damaged batch is followed in any case. That of a later batch is
        // followed only if its offsets fit or its checksum is right.
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
        let next = position.saturating_add(header.size_bytes() as u64);
        if next > end {
            return Ok(false);
        }
        Ok(is_batch(file, position, header)?
            && is_in_order(position, header, before)?
            && (next == end
                || is_whole_but_for_length(file, from, position)?
                || batch_at(next)?.is_some()
                || is_zero(file, next, end)?))
    })?;
    Ok(found.map(|(position, header)| (position, header.base_offset)))
}

/// Returns the size of a batch by its length field, if the file has room for that.
fn stored_size(file: &dyn File, position: u64, end: u64) -> io::Result<Option<u64>> {
    let available = end.saturating_sub(position);
    let mut prefix = [0; layout::LENGTH_PREFIX_SIZE];
    // If fewer bytes are left, no batch fits, whatever length is read.
    let wanted = available.min(layout::LENGTH_PREFIX_SIZE as u64) as usize;
    file.read_exact_at(prefix.get_mut(..wanted).unwrap_or_default(), position)?;
    let field = prefix.get(layout::BATCH_LENGTH_AT..).and_then(|field| field.try_into().ok());
    let length = i32::from_be_bytes(field.unwrap_or_default());
    let size = u64::try_from(length).ok().filter(|_| length >= layout::MIN_LENGTH);
    let size = size.map(|length| length.saturating_add(layout::LENGTH_PREFIX_SIZE as u64));
    Ok(size.filter(|size| *size <= available))
}

/// Returns whether these bytes are a batch by their checksum, whatever the length field says.
fn is_whole_but_for_length(file: &dyn File, from: u64, to: u64) -> io::Result<bool> {
    let size = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    let mut batch = vec![0; size];
    file.read_exact_at(&mut batch, from)?;
    if stamp_length(&mut batch).is_err() {
        return Ok(false);
    }
    Ok(BatchRef::parse(&batch).is_ok_and(|batch| batch.verify_checksum().is_ok()))
}

/// Returns the first position after the start of a part of a file where `look` finds something in
/// this many bytes, and `accept` takes it. Holes of the file are skipped: anything that begins in
/// one reaches beyond it.
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

/// Returns whether the batch at a position has the right checksum.
pub(super) fn is_batch(file: &dyn File, position: u64, header: &BatchHeader) -> io::Result<bool> {
    let mut batch = vec![0; header.size_bytes()];
    file.read_exact_at(&mut batch, position)?;
    Ok(BatchRef::parse(&batch).is_ok_and(|batch| batch.verify_checksum().is_ok()))
}

/// Returns the header in these bytes, if it could belong after `lowest`.
fn plausible(bytes: &[u8], lowest: Offset, limit: Offset) -> Option<BatchHeader> {
    if bytes.get(layout::MAGIC_AT) != Some(&layout::MAGIC_V2.cast_unsigned()) {
        return None;
    }
    let header = BatchHeader::parse(bytes).ok()?;
    check_offsets(&header, lowest, limit).is_ok().then_some(header)
}
