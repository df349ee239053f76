//! The agreement of the lines that a checkpoint has for one log.
//!
//! A text checkpoint has no checksum. This crate writes the line of a log twice, so that a damaged
//! digit shows as two lines that differ, and neither is believed. A broker reads the second line
//! over the first, and writes one line.
//!
//! | lines for the log | meaning |
//! |---|---|
//! | none | nothing was ever stored |
//! | one | another program wrote it |
//! | two or more, all equal | this crate wrote it |
//! | two that differ by their last bit, in the recovery point | marked: the recovery point is good, but does not prove where the log starts |
//! | anything else | damaged: they count as no line |
//!
//! A recovery point is marked on a full disk that has no room for the new start of the log: a
//! digit is changed in place, which takes no room.

use super::OffsetCheckpointEntry;
use crate::types::Offset;

/// The number of lines that this crate writes for a log.
pub(crate) const LINES: usize = 2;

/// The problem of lines that do not agree.
pub(crate) const CONTRADICTION: &str = "its lines for a log contradict each other";

/// The meaning of the lines that a checkpoint has for one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) offset: Offset,
    /// The number of lines.
    pub(crate) lines: usize,
    /// Whether the second line was marked. The offset is the lower of the two.
    pub(crate) is_marked: bool,
}

impl Agreed {
    /// Takes the lines of one log together. Returns `None` if there are none.
    ///
    /// # Errors
    /// [`CONTRADICTION`].
    pub(crate) fn of(lines: &[Offset]) -> Result<Option<Agreed>, &'static str> {
        if let [one, other] = lines
            && one != other
            && one / 2 == other / 2
        {
            let offset = *one.min(other);
            return Ok(Some(Agreed { offset, lines: LINES, is_marked: true }));
        }
        let Some(offset) = lines.first().copied() else { return Ok(None) };
        if lines.iter().any(|line| *line != offset) {
            return Err(CONTRADICTION);
        }
        Ok(Some(Agreed { offset, lines: lines.len(), is_marked: false }))
    }

    /// Takes the lines of one log together in a checkpoint that is never marked: there, the mark
    /// is a contradiction.
    ///
    /// # Errors
    /// [`CONTRADICTION`].
    pub(crate) fn of_unmarked(lines: &[Offset]) -> Result<Option<Agreed>, &'static str> {
        match Agreed::of(lines)? {
            Some(agreed) if agreed.is_marked => Err(CONTRADICTION),
            agreed => Ok(agreed),
        }
    }
}

/// Returns the lines that this crate writes for an entry.
pub(crate) fn lines_for(
    entry: OffsetCheckpointEntry,
    is_marked: bool,
) -> [OffsetCheckpointEntry; LINES] {
    let offset = entry.offset ^ u64::from(is_marked);
    let second = OffsetCheckpointEntry { offset, ..entry.clone() };
    [entry, second]
}

/// Returns the position of the digit whose change marks the second of two equal lines that begin
/// like this, and the digit to write there. Returns `None` if there are no two such lines.
///
/// A crash during the write leaves the old digit or the new one. A digit that is damaged as if it
/// had been marked does no harm either: everything below the lower of the two lines was synced,
/// and the higher lies above everything that was compacted.
pub(crate) fn marking_digit(text: &str, begin: &str) -> Option<(u64, u8)> {
    let (mut end, mut before, mut found) = (0usize, "", None);
    for line in text.split_inclusive('\n') {
        end = end.saturating_add(line.len());
        let is_second = line == before && line.starts_with(begin);
        // The digit stands before the line break.
        let digit = line.trim_end().bytes().last().filter(u8::is_ascii_digit);
        let place = |digit: u8| (end.saturating_sub(2) as u64, digit ^ 1);
        found = digit.filter(|_| is_second).map(place).or(found);
        before = line;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{format_offset_checkpoint, parse_offset_checkpoint};
    use super::*;

    fn agreed(
        offset: Offset,
        lines: usize,
        is_marked: bool,
    ) -> Result<Option<Agreed>, &'static str> {
        Ok(Some(Agreed { offset, lines, is_marked }))
    }

    #[test]
    fn lines_agree_when_equal_or_marked() {
        assert_eq!(Agreed::of(&[]), Ok(None));
        assert_eq!(Agreed::of(&[5]), agreed(5, 1, false));
        assert_eq!(Agreed::of(&[5, 5]), agreed(5, 2, false));
        assert_eq!(Agreed::of(&[5, 5, 5]), agreed(5, 3, false));
        assert_eq!(Agreed::of(&[5, 4]), agreed(4, 2, true));
        assert_eq!(Agreed::of(&[4, 5]), agreed(4, 2, true));
        for lines in [&[5, 6][..], &[5, 8], &[4, 5, 5], &[5, 5, 4]] {
            assert_eq!(Agreed::of(lines), Err(CONTRADICTION), "{lines:?}");
        }
        assert_eq!(Agreed::of_unmarked(&[5, 4]), Err(CONTRADICTION));
        assert_eq!(Agreed::of_unmarked(&[5, 5]), agreed(5, 2, false));
    }

    /// The mark is written with the whole file, or in place: both must read the same.
    #[test]
    fn changed_digit_equals_marked_line() {
        for offset in [0, 1, 8, 9, 10, 499_999, u64::from(u32::MAX)] {
            let entry = OffsetCheckpointEntry { topic: "a".into(), partition: 0, offset };
            let other = OffsetCheckpointEntry { topic: "b".into(), ..entry.clone() };
            let file = |is_marked| {
                let lines = lines_for(entry.clone(), is_marked);
                let others = lines_for(other.clone(), false);
                format_offset_checkpoint(&[lines, others].concat())
            };
            let mut changed = file(false).into_bytes();
            let (at, digit) = marking_digit(&file(false), "a 0 ").unwrap();
            changed[at as usize] = digit;
            assert_eq!(String::from_utf8(changed).unwrap(), file(true));
            let lines = parse_offset_checkpoint(&file(true)).unwrap();
            let offsets = [lines[0].offset, lines[1].offset];
            assert_eq!(Agreed::of(&offsets), agreed(offset & !1, 2, true));
            assert_eq!(marking_digit(&file(true), "a 0 "), None);
        }
    }
}
