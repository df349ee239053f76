//! The timestamps of a segment, and the lookup from a time to an offset.

use crate::error::Result;
use crate::segment::Segment;
use crate::segment::headers::{HeaderWalk, Walked, read_header};
use crate::segment::index::Indexes;
use crate::segment::name::Kind;
use crate::sync::atomic::Ordering;
use crate::types::{Offset, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const WRONG_TIME: &str = "an entry is not the largest time up to its offset";

impl Segment {
    /// Returns the largest timestamp of the segment; [`Timestamp::NONE`] if no record has one.
    pub(crate) fn largest_timestamp(&self, limit: Offset) -> Result<Timestamp> {
        if !self.sealed {
            return Ok(Timestamp::from_millis(self.largest_timestamp.load(Ordering::Relaxed)));
        }
        let mut indexes = self.indexes(limit)?;
        let last = indexes.times.len();
        let entry_holds = match last.checked_sub(1) {
            Some(entry) => self.times_hold(&indexes, entry, limit)?,
            None => true,
        };
        if !entry_holds || !self.times_hold(&indexes, last, limit)? {
            indexes = match self.replace_wrong_indexes(Kind::TimeIndex, WRONG_TIME, limit)? {
                Some(rebuilt) => rebuilt,
                // The error of this rebuild names the damage.
                None => Arc::new(self.rebuild_indexes(limit)?),
            };
        }
        Ok(indexes.times.largest())
    }

    /// Returns a time for a segment whose records claim to be from the future: they were written
    /// before retention first saw them, and before the file was last changed. `monotonic` is the
    /// monotonic time of `now`: a jump of the wall clock makes no record old.
    pub(crate) fn written_before(&self, now: Timestamp, monotonic: Duration) -> Result<Timestamp> {
        let modified = self.file()?.modified().map_err(|error| self.io("look at", error))?;
        let bytes = self.published();
        let mut from_future = self.from_future.lock();
        let since = match *from_future {
            Some((known, since)) if known == bytes => since,
            _ => monotonic,
        };
        *from_future = Some((bytes, since));
        let age = i64::try_from(monotonic.saturating_sub(since).as_millis()).unwrap_or(i64::MAX);
        let seen = Timestamp::from_millis(now.as_millis().saturating_sub(age));
        Ok(modified.map_or(seen, |modified| modified.min(seen)))
    }

    /// Returns the largest timestamp of the first batch; [`Timestamp::NONE`] if there is none.
    pub(crate) fn first_timestamp(&self) -> Result<Timestamp> {
        let end = self.published();
        if end == 0 {
            return Ok(Timestamp::NONE);
        }
        let header = read_header(&*self.file()?, 0, end).map_err(|e| self.io("read", e))?;
        // A read of the batch reports the damage.
        Ok(header.map_or(Timestamp::NONE, |header| header.max_timestamp))
    }

    /// Returns an offset up to which no record is as late as `at`: the base if none is known.
    pub(crate) fn earlier_than(&self, at: Timestamp, limit: Offset) -> Result<Offset> {
        let indexes = self.indexes(limit)?;
        let Some(number) = indexes.times.last_below(at) else { return Ok(self.base) };
        if self.times_hold(&indexes, number, limit)? {
            return Ok(indexes.times.get(number).map_or(self.base, |entry| entry.offset));
        }
        let rebuilt = self.replace_wrong_indexes(Kind::TimeIndex, WRONG_TIME, limit)?;
        let entry = rebuilt.and_then(|made| made.times.get(made.times.last_below(at)?));
        Ok(entry.map_or(self.base, |entry| entry.offset))
    }

    /// Returns whether the log confirms a time entry: no batch between the previous entry and this
    /// one is later than it, and one batch has its time and ends with its offset. The number after
    /// the last entry stands for the rest of the segment, where no batch may be later than the
    /// last entry.
    fn times_hold(&self, indexes: &Indexes, number: usize, limit: Offset) -> Result<bool> {
        let times = &indexes.times;
        if times.is_checked(number) {
            return Ok(true);
        }
        let before = number.checked_sub(1).and_then(|before| times.get(before));
        let entry = times.get(number);
        let largest = entry.or(before).map_or(Timestamp::NONE, |entry| entry.timestamp);
        let from = before.map_or(self.base, |before| before.offset.saturating_add(1));
        let (file, end) = (self.file()?, self.published());
        // No batch at or above an offset means that the segment ends there.
        let located = self.locate(from, limit)?;
        let mut walk =
            HeaderWalk::new(&*file, located.map_or(end, |located| located.position), end);
        let mut reached = None;
        loop {
            let header = match walk.next().map_err(|error| self.io("read", error))? {
                Walked::Batch { header, .. } => header,
                Walked::End => break,
                Walked::Invalid(_) => return Ok(false),
            };
            if header.max_timestamp > largest {
                return Ok(false);
            }
            if entry.is_some_and(|entry| header.last_offset() >= entry.offset) {
                reached = Some((header.max_timestamp, header.last_offset()));
                break;
            }
        }
        let holds = match entry {
            // Without a header at the end, there is no batch of the entry.
            Some(entry) => reached == Some((entry.timestamp, entry.offset)),
            None => walk.position() == end,
        };
        if holds {
            times.set_checked(number);
        }
        Ok(holds)
    }
}
