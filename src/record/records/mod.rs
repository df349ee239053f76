//! Iterating over the records of a batch without copying them.

#[cfg(test)]
mod tests;

use super::header::BatchHeader;
use super::layout::MIN_RECORD_SIZE;
use super::record_ref::{Headers, RecordRef, read_bytes, read_headers};
use super::varint;
use crate::error::InvalidBatch;
use crate::types::{Offset, Timestamp, TimestampType};
use std::iter::FusedIterator;

/// An iterator over the records of a batch, in the order of their offsets.
///
/// It checks everything on the way: that there are as many records as the header says and no bytes
/// after them, that the fields of each record fill its length exactly, and that offsets rise
/// within the range of the batch. The first problem is the last item.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    progress: Progress,
}

/// The first bytes of a record. They contain all its numbers if each takes at most two bytes and
/// there is no key: five numbers, and the attributes.
const SHORT_BYTES: usize = 16;

/// The progress of decoding, and the fields of the header that it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// The number of records that have not been decoded.
    left: u32,
    count: u32,
    /// The smallest offset delta that the next record can have.
    min_delta: i64,
    last_delta: i64,
    base_offset: Offset,
    /// The base of the timestamp deltas, or the timestamp of all records if `append_time`.
    time: i64,
    append_time: bool,
    /// Whether the end or a problem has been reported.
    done: bool,
}

impl Progress {
    pub(crate) fn new(header: &BatchHeader) -> Progress {
        let append_time = header.timestamp_type() == TimestampType::LogAppendTime;
        let time = if append_time { header.max_timestamp } else { header.base_timestamp };
        let count = u32::try_from(header.record_count).unwrap_or(0);
        Progress {
            left: count,
            count,
            min_delta: 0,
            last_delta: i64::from(header.last_offset_delta),
            base_offset: header.base_offset,
            time: time.as_millis(),
            append_time,
            done: false,
        }
    }

    /// Returns whether each offset of the range has a record, according to the header.
    fn is_dense(&self) -> bool {
        i64::from(self.count) == self.last_delta.saturating_add(1)
    }

    /// Returns the number of the next record.
    fn index(&self) -> u32 {
        self.count.saturating_sub(self.left)
    }
}

impl<'a> Records<'a> {
    /// Takes the records in `encoded`, which is the decompressed records section.
    ///
    /// # Errors
    /// `RecordCount` if the section is too short for as many records as the header says.
    pub(crate) fn new(
        header: &BatchHeader,
        encoded: &'a [u8],
    ) -> Result<Records<'a>, InvalidBatch> {
        let progress = Progress::new(header);
        if progress.count as usize > encoded.len() / MIN_RECORD_SIZE && !encoded.is_empty() {
            return Err(InvalidBatch::RecordCount { count: header.record_count });
        }
        Ok(Records { rest: encoded, progress })
    }

    pub(crate) fn resume(rest: &'a [u8], progress: Progress) -> Records<'a> {
        Records { rest, progress }
    }

    pub(crate) fn state(&self) -> (&'a [u8], Progress) {
        (self.rest, self.progress)
    }

    /// Skips to the first record with this offset or a later one, which `next` then returns.
    ///
    /// The records between are skipped by their lengths, not decoded, so they do not get all the
    /// checks of [`Records`]. If there is no such record, the iterator is at its end. An iterator
    /// does not go back: an offset that it has passed changes nothing, and reads nothing.
    ///
    /// # Errors
    ///
    /// `Record`, `RecordsMissing` or `TrailingBytes` if a skipped record has no valid length or
    /// offset. The iterator has ended then.
    pub fn skip_to_offset(&mut self, offset: Offset) -> Result<(), InvalidBatch> {
        let target = offset.saturating_sub(self.progress.base_offset);
        let target = i64::try_from(target).unwrap_or(i64::MAX);
        if target <= self.progress.min_delta {
            return Ok(());
        }
        if self.progress.is_dense() && self.jump(target) {
            return Ok(());
        }
        while self.progress.left > 0 {
            let mut rest = self.rest;
            match read_delta(&mut rest) {
                Ok(delta) if i64::from(delta) >= target => return Ok(()),
                Ok(delta) if i64::from(delta) < self.progress.min_delta => {
                    return Err(self.fail("its offset is not above the one before it"));
                }
                Ok(delta) => {
                    self.rest = rest;
                    self.progress.left = self.progress.left.saturating_sub(1);
                    self.progress.min_delta = i64::from(delta).saturating_add(1);
                }
                Err(what) => return Err(self.fail(what)),
            }
        }
        match self.end() {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Skips as many records as there are offsets before `target`, and returns true if the next
    /// record is then `target`.
    ///
    /// Changes nothing if the records turn out not to be numbered one by one.
    fn jump(&mut self, target: i64) -> bool {
        let steps = target.saturating_sub(self.progress.min_delta);
        let Some(left) = u32::try_from(steps).ok().and_then(|n| self.progress.left.checked_sub(n))
        else {
            return false;
        };
        let mut rest = self.rest;
        for _ in 0..steps {
            let length =
                varint::read_i32(&mut rest).and_then(|length| usize::try_from(length).ok());
            let Some((_, tail)) = length.and_then(|length| rest.split_at_checked(length)) else {
                return false;
            };
            rest = tail;
        }
        let mut ahead = rest;
        if left > 0 && read_delta(&mut ahead).map(i64::from) != Ok(target) {
            return false;
        }
        self.rest = rest;
        self.progress.left = left;
        self.progress.min_delta = target;
        true
    }

    /// Returns the problem with the next record, and ends the iterator.
    #[cold]
    fn fail(&mut self, what: &'static str) -> InvalidBatch {
        let index = self.progress.index();
        self.progress.done = true;
        self.progress.left = 0;
        if self.rest.is_empty() {
            return InvalidBatch::RecordsMissing { expected: self.progress.count, found: index };
        }
        InvalidBatch::Record { index, what }
    }

    /// Returns the problem at the end of the records, once.
    #[inline]
    fn end(&mut self) -> Option<InvalidBatch> {
        let over = !self.rest.is_empty() && !self.progress.done;
        self.progress.done = true;
        over.then_some(InvalidBatch::TrailingBytes { bytes: self.rest.len() as u64 })
    }

    /// Decodes a record of the usual kind: a value, no headers, and lengths and deltas of one or
    /// two bytes each. For any other record, and for a malformed one, returns `None` and does
    /// nothing.
    ///
    /// All numbers lie within the first bytes, whose presence is checked once instead of for each
    /// number.
    #[inline(always)]
    fn decode_short(&mut self) -> Option<RecordRef<'a>> {
        let head = self.rest.first_chunk::<SHORT_BYTES>()?;
        let (length, body) = varint::short(head, 0)?;
        let (time_delta, at) = varint::short(head, body.wrapping_add(1))?;
        let (delta, at) = varint::short(head, at)?;
        let (key_length, at) = varint::short(head, at)?;
        let end = body.wrapping_add((length >> 1) as usize);
        let (record, rest) = self.rest.split_at_checked(end)?;
        let (key, value_length, at) = if key_length == 1 {
            let (value_length, at) = varint::short(head, at)?;
            (None, value_length, at)
        } else {
            let (key, after) = record.get(at..)?.split_at_checked((key_length >> 1) as usize)?;
            let (value_length, taken) = varint::short(after.first_chunk::<2>()?, 0)?;
            (Some(key), value_length, end.checked_sub(after.len())?.wrapping_add(taken))
        };
        let (headers, value) = record.get(at..)?.split_last()?;
        let delta = i64::from(varint::unzigzag32(delta));
        let usual = *headers == 0
            && value.len() == (value_length >> 1) as usize
            // No length is negative, except that of a missing key.
            && (length | value_length) & 1 == 0
            && (key_length == 1 || key_length & 1 == 0)
            && delta >= self.progress.min_delta
            && delta <= self.progress.last_delta;
        if !usual {
            return None;
        }
        self.rest = rest;
        let time_delta = i64::from(varint::unzigzag32(time_delta));
        Some(self.take(time_delta, delta, key, Some(value), Headers::default()))
    }

    /// Moves past a decoded record.
    #[inline(always)]
    fn take(
        &mut self,
        time_delta: i64,
        delta: i64,
        key: Option<&'a [u8]>,
        value: Option<&'a [u8]>,
        headers: Headers<'a>,
    ) -> RecordRef<'a> {
        self.progress.left = self.progress.left.saturating_sub(1);
        self.progress.min_delta = delta.wrapping_add(1);
        let timestamp = if self.progress.append_time {
            self.progress.time
        } else {
            // As in Kafka, the delta of two times far apart wraps, so the sum is right again.
            self.progress.time.wrapping_add(time_delta)
        };
        RecordRef {
            offset: self.progress.base_offset.wrapping_add_signed(delta),
            timestamp: Timestamp::from_millis(timestamp),
            key,
            value,
            headers,
        }
    }

    #[inline(never)]
    fn decode(&mut self) -> Result<RecordRef<'a>, &'static str> {
        let mut rest = self.rest;
        let mut body = take_body(&mut rest)?;
        let time_delta = varint::read_i64(&mut body).ok_or("its timestamp does not end")?;
        let delta = varint::read_i32(&mut body).ok_or("its offset does not end")?;
        let delta = i64::from(delta);
        if delta < self.progress.min_delta {
            return Err("its offset is not above the one before it");
        }
        if delta > self.progress.last_delta {
            return Err("its offset is above the last offset of the batch");
        }
        let key = read_bytes(&mut body).ok_or("its key does not fit its length")?;
        let value = read_bytes(&mut body).ok_or("its value does not fit its length")?;
        let headers = match body {
            // The varint of zero, and nothing after it. Decoding it has the same result and takes
            // longer.
            [0] => Headers::default(),
            _ => read_headers(body)?,
        };
        self.rest = rest;
        Ok(self.take(time_delta, delta, key, value, headers))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, InvalidBatch>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.progress.left == 0 {
            return self.end().map(Err);
        }
        if let Some(record) = self.decode_short() {
            return Some(Ok(record));
        }
        match self.decode() {
            Ok(record) => Some(Ok(record)),
            Err(what) => Some(Err(self.fail(what))),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // A problem ends the iteration early, or follows the last record.
        (0, Some((self.progress.left as usize).saturating_add(1)))
    }
}

impl FusedIterator for Records<'_> {}

/// Takes a record off `rest` and returns the bytes after its length and its unused attributes.
#[inline(always)]
fn take_body<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let mut after = *rest;
    let length = varint::read_i32(&mut after).ok_or("its length does not end")?;
    let length = usize::try_from(length).map_err(|_| "its length is negative")?;
    let (body, tail) = after.split_at_checked(length).ok_or("it is longer than the batch")?;
    let (_attributes, body) = body.split_first().ok_or("its length is zero")?;
    *rest = tail;
    Ok(body)
}

/// Takes a record off `rest` and decodes only its offset delta.
fn read_delta(rest: &mut &[u8]) -> Result<i32, &'static str> {
    let mut body = take_body(rest)?;
    varint::read_i64(&mut body).ok_or("its timestamp does not end")?;
    varint::read_i32(&mut body).ok_or("its offset does not end")
}
