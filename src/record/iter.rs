//! Going through the records of a batch without copying them.

use super::header::BatchHeader;
use super::layout::{MIN_RECORD_HEADER_SIZE, MIN_RECORD_SIZE};
use super::name::HeaderNameRef;
use super::varint;
use crate::error::InvalidBatch;
use crate::types::{Offset, Timestamp, TimestampType};
use std::iter::FusedIterator;

/// A record of a batch, borrowed from its bytes or from the [`DecodeBuffer`](super::DecodeBuffer)
/// they were expanded into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its offset in the log.
    pub offset: Offset,
    /// Its time: the producer's, or the log's in a batch with append time.
    pub timestamp: Timestamp,
    /// Its key; none is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone, which is not the same as empty.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order.
    pub headers: Headers<'a>,
}

/// One header of a record, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// Its name, which need not be unique in the record, nor UTF-8.
    pub name: HeaderNameRef<'a>,
    /// Its value; none is not the same as empty.
    pub value: Option<&'a [u8]>,
}

impl<'a, N: Into<HeaderNameRef<'a>>> From<(N, Option<&'a [u8]>)> for HeaderRef<'a> {
    fn from((name, value): (N, Option<&'a [u8]>)) -> HeaderRef<'a> {
        HeaderRef { name: name.into(), value }
    }
}

impl<'a, N: Into<HeaderNameRef<'a>>> From<(N, &'a [u8])> for HeaderRef<'a> {
    fn from((name, value): (N, &'a [u8])) -> HeaderRef<'a> {
        HeaderRef { name: name.into(), value: Some(value) }
    }
}

/// The headers of a record, as encoded; they are decoded one by one when they are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    encoded: &'a [u8],
    count: u32,
}

impl<'a> Headers<'a> {
    /// Returns the number of headers.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether there are no headers.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Goes through them in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { rest: self.encoded, left: self.count }
    }

    /// The headers without the count before them.
    pub(crate) fn encoded(&self) -> &'a [u8] {
        self.encoded
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = HeaderRef<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Headers<'a> {
    type Item = HeaderRef<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Goes through the headers of a record.
#[derive(Debug, Clone)]
pub struct HeadersIter<'a> {
    rest: &'a [u8],
    left: u32,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The headers were checked when the record was decoded.
        read_header(&mut self.rest).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}
impl FusedIterator for HeadersIter<'_> {}

/// Goes through the records of a batch in the order of their offsets.
///
/// Everything is checked on the way: that there are as many records as the header
/// says and no bytes after them, that each record's fields fill its length exactly,
/// and that offsets rise within the batch's range.
/// The first problem is the last item.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    progress: Progress,
}

/// The first bytes of a record, among which are all its numbers if each takes at most two bytes
/// and there is no key: five of them, and the attributes.
const SHORT_BYTES: usize = 16;

/// How far decoding has come, and what it needs of the header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    /// Records that have not been decoded.
    left: u32,
    count: u32,
    /// The least offset delta the next record can have.
    min_delta: i64,
    last_delta: i64,
    base_offset: Offset,
    /// The base of the timestamp deltas, or the time of all records if `append_time`.
    time: i64,
    append_time: bool,
    /// The end, or a problem, has been reported.
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

    /// Whether each offset of the range has a record, so far as the header says.
    fn is_dense(&self) -> bool {
        i64::from(self.count) == self.last_delta.saturating_add(1)
    }

    /// The number of the next record.
    fn index(&self) -> u32 {
        self.count.saturating_sub(self.left)
    }
}

impl<'a> Records<'a> {
    /// The records in `encoded`, which is the expanded records section.
    ///
    /// `RecordCount` if the section is too short for as many as the header says.
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

    /// Goes on to the first record with this offset or a later one, which `next` then returns.
    ///
    /// The records in between are stepped over by their lengths, not decoded, so
    /// not all that [`Records`] checks is checked in them. If there is no such record the
    /// iterator is at its end. Offsets that were passed do not come again.
    /// Nothing is looked at if there is nothing to step over.
    ///
    /// # Errors
    ///
    /// `Record`, `RecordsMissing` or `TrailingBytes` if a record in between has no
    /// proper length or offset; nothing more comes from the iterator then.
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

    /// Steps over as many records as offsets lie before `target`; whether it then stands at
    /// `target`.
    ///
    /// Stays where it is if the records turn out not to be numbered one by one.
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

    /// The problem with record `index`, after which nothing more comes.
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

    /// Decodes a record of the usual kind: a value, no headers, lengths and deltas of one or two
    /// bytes each. `None`, and nothing done, for any other and for one that is wrong.
    ///
    /// The numbers are all within the first bytes, of which there are enough: that saves a check
    /// for each.
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
            // None of the lengths is negative, but for that of no key.
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

    /// Goes on past a decoded record.
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
            // As in Kafka, where the delta of two far apart times wraps and so comes out right
            // again.
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
            // The varint of zero, and nothing after it. Reading it would come to the same, but
            // take longer.
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
        // A problem ends it early, or comes after the last record.
        (0, Some((self.progress.left as usize).saturating_add(1)))
    }
}

impl FusedIterator for Records<'_> {}

/// Takes a record off `rest` and returns what follows its length and attributes, which say
/// nothing.
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

/// Takes a record off `rest` and decodes its offset delta only.
fn read_delta(rest: &mut &[u8]) -> Result<i32, &'static str> {
    let mut body = take_body(rest)?;
    varint::read_i64(&mut body).ok_or("its timestamp does not end")?;
    varint::read_i32(&mut body).ok_or("its offset does not end")
}

/// Takes a length and as many bytes off `body`. As in Kafka, every negative length means null.
#[inline(always)]
fn read_bytes<'a>(body: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(body)?;
    let Ok(length) = usize::try_from(length) else {
        return Some(None);
    };
    let (bytes, tail) = body.split_at_checked(length)?;
    *body = tail;
    Some(Some(bytes))
}

/// Decodes the header count, and checks the headers, which must fill `body`.
#[inline(never)]
fn read_headers<'a>(mut body: &'a [u8]) -> Result<Headers<'a>, &'static str> {
    let count = varint::read_i32(&mut body).ok_or("its header count does not end")?;
    let count = u32::try_from(count).map_err(|_| "its header count is negative")?;
    if count as usize > body.len() / MIN_RECORD_HEADER_SIZE {
        return Err("it has more headers than bytes for them");
    }
    let encoded = body;
    for _ in 0..count {
        read_header(&mut body)?;
    }
    if !body.is_empty() {
        return Err("bytes are left over after its fields");
    }
    Ok(Headers { encoded, count })
}

fn read_header<'a>(input: &mut &'a [u8]) -> Result<HeaderRef<'a>, &'static str> {
    let name = read_bytes(input).ok_or("a header name does not fit its length")?;
    let name = name.ok_or("a header has no name")?;
    let value = read_bytes(input).ok_or("a header value does not fit its length")?;
    Ok(HeaderRef { name: name.into(), value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchRef, DecodeBuffer};

    /// A record with these bytes after its length.
    fn record(body: &[u8]) -> Vec<u8> {
        let mut record = Vec::new();
        varint::write(&mut record, varint::zigzag(body.len() as i64));
        record.extend_from_slice(body);
        record
    }

    /// A record with null key and value and this offset delta.
    fn numbered(delta: u8) -> Vec<u8> {
        record(&[0, 0, delta << 1, 1, 1, 0])
    }

    /// The header of a batch from offset 100 with so many records and such a last offset delta.
    fn header(count: i32, last_offset_delta: i32) -> BatchHeader {
        let mut builder = BatchBuilder::new();
        builder.base_offset(100).set_last_offset_delta(last_offset_delta);
        let mut header = BatchHeader::parse(builder.finish().unwrap()).unwrap();
        header.record_count = count;
        header
    }

    /// Records of the usual kind, of every size at which a number grows, alone and with more
    /// behind them.
    fn usual() -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for value in [0, 1, 40, 61, 62, 63, 64, 200, 8000] {
            for key in [None, Some(0), Some(1), Some(63), Some(64), Some(90)] {
                let mut builder = BatchBuilder::new();
                let (key, value) = (key.map(|size| vec![b'k'; size]), vec![b'v'; value]);
                for time in [0, 63, 64, -64, 8191] {
                    let time = Timestamp::from_millis(time);
                    builder.push(time, key.as_deref(), Some(&value)).unwrap();
                }
                all.push(builder.finish().unwrap().to_vec());
            }
        }
        all
    }

    fn records(batch: &[u8]) -> Records<'_> {
        let (header, encoded) = batch.split_at(61);
        Records::new(&BatchHeader::parse(header).unwrap(), encoded).unwrap()
    }

    /// Left out, the short way would be missed by its speed alone.
    #[test]
    fn usual_records_are_decoded_the_short_way() {
        for batch in usual() {
            let mut records = records(&batch);
            // The bytes that all numbers may take must be there.
            while records.rest.len() >= SHORT_BYTES {
                let mut long = records.clone();
                let short = records.decode_short().expect("it is of the usual kind");
                assert_eq!(Ok(short), long.decode());
                assert_eq!((records.rest, records.size_hint()), (long.rest, long.size_hint()));
                assert_eq!(records.progress.min_delta, long.progress.min_delta);
            }
        }
    }

    #[test]
    fn the_short_way_takes_nothing_that_the_long_way_does_not() {
        for batch in usual().into_iter().filter(|batch| batch.len() < 600) {
            for (at, bit) in (61..batch.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut wrong = batch.clone();
                wrong[at] ^= 1 << bit;
                let mut records = records(&wrong);
                while records.progress.left > 0 {
                    let mut long = records.clone();
                    let short = records.decode_short();
                    let decoded = long.decode();
                    if let Some(short) = short {
                        assert_eq!(Ok(short), decoded, "bit {bit} of byte {at}");
                        assert_eq!(records.rest, long.rest, "bit {bit} of byte {at}");
                    }
                    if decoded.is_err() {
                        break;
                    }
                    records = long;
                }
            }
        }
    }

    #[test]
    fn numbered_one_by_one_they_are_jumped_over() {
        for batch in usual() {
            for (read, target) in (0..5).flat_map(|read| (read..=5).map(move |to| (read, to))) {
                let mut records = records(&batch);
                (0..read).for_each(|_| assert!(records.next().is_some()));
                assert!(records.progress.is_dense() && records.jump(target));
                assert_eq!(records.size_hint(), (0, usize::try_from(6 - target).ok()));
                assert_eq!(records.next().is_some(), target < 5);
            }
        }
        let sparse = [numbered(0), numbered(1), numbered(3)].concat();
        let mut records = Records::new(&header(3, 3), &sparse).unwrap();
        assert!(!records.progress.is_dense());
        assert!(!records.jump(2) && records.rest == sparse, "it stays where it is");
    }

    fn problem(header: &BatchHeader, encoded: &[u8]) -> InvalidBatch {
        let mut records = Records::new(header, encoded).unwrap();
        let problem = records.find_map(Result::err).expect("it should have been refused");
        assert!(records.next().is_none());
        problem
    }

    #[test]
    fn offsets_must_rise_within_the_range() {
        let falls = "its offset is not above the one before it";
        let beyond = "its offset is above the last offset of the batch";
        for (deltas, index, what) in [
            ([0, 0, 2], 1, falls),
            ([1, 0, 2], 1, falls),
            ([0, 2, 1], 2, falls),
            ([0, 1, 3], 2, beyond),
        ] {
            let encoded = deltas.map(numbered).concat();
            let expected = InvalidBatch::Record { index, what };
            assert_eq!(problem(&header(3, 2), &encoded), expected, "{deltas:?}");
        }
    }

    #[test]
    fn fields_must_fill_the_record() {
        for (body, what) in [
            (&[0, 0, 0, 1, 1, 2, 2, b'a', 1][..], ""),
            (&[0, 0, 0, 1, 1, 0, 0], "bytes are left over after its fields"),
            (&[0, 0, 0, 1, 1, 1, 0], "its header count is negative"),
            (&[0, 0, 0, 1, 1, 2, 1, 1], "a header has no name"),
            (&[0, 0, 0, 1, 1, 2, 2, b'a', 1, 9], "bytes are left over after its fields"),
            (&[0, 0, 0, 1, 1, 8, 2, b'a', 1], "it has more headers than bytes for them"),
            (&[0, 0, 0, 1, 1, 4, 2, b'a', 1, 8], "a header name does not fit its length"),
            (&[0, 0, 0, 1, 1, 2, 2, b'a', 4, 9], "a header value does not fit its length"),
            (&[0, 0, 0, 8, 1, 0], "its key does not fit its length"),
            (&[0, 0, 0, 1, 8, 0, 0], "its value does not fit its length"),
            (&[0, 0, 0, 1, 1, 0x80], "its header count does not end"),
            (&[0, 0x80, 0x80, 0x80, 0x80, 0x80], "its timestamp does not end"),
        ] {
            let encoded = record(body);
            let found = Records::new(&header(1, 0), &encoded).unwrap().next().unwrap();
            match found {
                Ok(record) => {
                    let headers: Vec<HeaderRef<'_>> = record.headers.iter().collect();
                    assert!(what.is_empty(), "{body:?} was taken");
                    assert_eq!(headers, [HeaderRef { name: "a".into(), value: None }]);
                }
                Err(InvalidBatch::Record { index: 0, what: found }) => assert_eq!(found, what),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn lengths_must_be_possible() {
        let encoded = [numbered(0), vec![1, 0, 0, 0, 0, 0, 0]].concat();
        let what = "its length is negative";
        assert_eq!(problem(&header(2, 1), &encoded), InvalidBatch::Record { index: 1, what });
        // Two lengths that are negative, with more behind them.
        let mut encoded = [0, 1, 2].map(numbered).concat();
        encoded[0] |= 1;
        assert_eq!(problem(&header(3, 2), &encoded), InvalidBatch::Record { index: 0, what });
        let encoded = [numbered(0), vec![0; 7]].concat();
        let what = "its length is zero";
        assert_eq!(problem(&header(2, 1), &encoded), InvalidBatch::Record { index: 1, what });
        let missing = InvalidBatch::RecordsMissing { expected: 1, found: 0 };
        assert_eq!(problem(&header(1, 0), &[]), missing);
        let over = InvalidBatch::TrailingBytes { bytes: 7 };
        assert_eq!(problem(&header(1, 0), &[numbered(0), numbered(1)].concat()), over);
        assert_eq!(problem(&header(0, 0), &numbered(0)), over);
        let refused = Records::new(&header(3, 2), &[0; 20]).unwrap_err();
        assert_eq!(refused, InvalidBatch::RecordCount { count: 3 });
    }

    #[test]
    fn skipping_does_not_trust_that_a_full_range_is_numbered_one_by_one() {
        // As many records as offsets, yet one offset twice.
        for (deltas, found) in [([0, 2, 2], 102), ([1, 2, 2], 101)] {
            let encoded = deltas.map(numbered).concat();
            let mut records = Records::new(&header(3, 2), &encoded).unwrap();
            records.skip_to_offset(101).unwrap();
            assert_eq!(records.next().unwrap().unwrap().offset, found);
            assert!(records.find_map(Result::err).is_some());
            assert!(records.next().is_none());
        }
    }

    #[test]
    fn skipping_does_not_pass_over_offsets_that_fall() {
        let encoded = [0, 3, 2, 5].map(numbered).concat();
        let mut records = Records::new(&header(4, 9), &encoded).unwrap();
        let what = "its offset is not above the one before it";
        let falls = InvalidBatch::Record { index: 2, what };
        assert_eq!(records.skip_to_offset(105), Err(falls));
        assert!(records.next().is_none());
    }

    /// What is wrong from there on is for `next` to say.
    #[test]
    fn skipping_to_where_one_stands_or_has_been_does_nothing() {
        let broken = [numbered(0), vec![1; 7]].concat();
        for target in [100, 101] {
            let mut records = Records::new(&header(2, 5), &broken).unwrap();
            assert!(records.next().unwrap().is_ok());
            records.skip_to_offset(target).unwrap();
            assert!(records.next().unwrap().is_err());
            records.skip_to_offset(103).unwrap();
            assert!(records.next().is_none());
        }
    }

    #[test]
    fn skipping_past_the_end_reports_what_is_wrong_there() {
        let good = [0, 1, 2].map(numbered).concat();
        let mut records = Records::new(&header(3, 2), &good).unwrap();
        records.skip_to_offset(103).unwrap();
        assert!(records.next().is_none());
        let mut records = Records::new(&header(3, 9), &good).unwrap();
        records.skip_to_offset(105).unwrap();
        assert!(records.next().is_none());

        let longer = [good.clone(), vec![9]].concat();
        let mut records = Records::new(&header(3, 9), &longer).unwrap();
        let over = InvalidBatch::TrailingBytes { bytes: 1 };
        assert_eq!(records.skip_to_offset(105), Err(over));
        assert!(records.next().is_none());
        let endless = [good, vec![200; 8]].concat();
        let mut records = Records::new(&header(4, 9), &endless).unwrap();
        assert!(matches!(records.skip_to_offset(105), Err(InvalidBatch::Record { index: 3, .. })));
        assert!(records.next().is_none());
    }

    #[test]
    fn going_back_is_not_possible() {
        let mut builder = BatchBuilder::new();
        for _ in 0..4 {
            builder.push(Timestamp::NONE, None, None).unwrap();
        }
        let mut scratch = DecodeBuffer::default();
        let mut records =
            BatchRef::parse(builder.finish().unwrap()).unwrap().records(&mut scratch).unwrap();
        records.skip_to_offset(2).unwrap();
        records.skip_to_offset(0).unwrap();
        assert_eq!(records.next().unwrap().unwrap().offset, 2);
        records.skip_to_offset(1).unwrap();
        assert_eq!(records.next().unwrap().unwrap().offset, 3);
    }
}
