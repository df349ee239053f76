//! Judging a file by its first bytes: zeros, a torn batch, or no segment at all.

use crate::fs::File;
use crate::record::{BatchHeader, layout};
use crate::segment::message::size_of_message;
use crate::segment::placeholder::SPAN;
use crate::types::Offset;
use std::io;
use std::ops::Range;

pub(crate) const NOT_A_SEGMENT: &str =
    "its first bytes cannot begin a batch, so it is no log segment, or its start is overwritten";

/// Returns whether the rest of a file can be the beginning of a batch, torn at any byte, as by a
/// write whose process was killed. Zeros at the end may be reserved room, and decide nothing.
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

/// Returns whether a file can be the remains of a segment with this base: it begins with a batch
/// of ours, whole or not, or with zeros, as if later sectors had been written first. No crash
/// leaves only a part of the first sector.
pub(crate) fn begins_segment(file: &dyn File, base: Offset) -> io::Result<bool> {
    let mut start = [0; layout::MAGIC_END];
    let wanted = file.len()?.min(start.len() as u64) as usize;
    file.read_exact_at(start.get_mut(..wanted).unwrap_or_default(), 0)?;
    let is_ours = start.get(layout::MAGIC_AT) == Some(&layout::MAGIC_V2.cast_unsigned());
    let is_in_range = size_of_message(&start, base, base.saturating_add(SPAN)).is_some();
    Ok(start.iter().all(|byte| *byte == 0) || (is_ours && is_in_range))
}

/// Returns whether all bytes of a part of a file are zero. Holes of the file are not read.
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
