//! All ways to read a log must agree, whatever bytes are in its files.

use annals::record::DecodeBuffer;
use annals::{Corruption, Error, Log, Offset, ReadLimits, StartAt, StoredRecord, Timestamp};
use std::collections::BTreeSet;
use std::ops::Range;

/// The records that a log serves from its start up to its end, or up to an error.
#[derive(Debug)]
pub struct Served {
    pub records: Vec<StoredRecord>,
    pub error: Option<Error>,
    /// The header fields of each batch that a lookup by time uses, and whether the headers are
    /// right.
    times: Vec<(Offset, Timestamp)>,
    honest: bool,
    /// Whether there is a batch that a reader of records skips.
    control: bool,
    /// The batches with a record that cannot be decoded. If `get` looks for a record after them,
    /// it skips them by their length.
    broken: Vec<Range<Offset>>,
}

/// Reads a log in all ways, and checks that they agree.
pub fn agree(log: &Log) -> Served {
    let served = serve(log);
    let offsets = log.offsets();
    assert!(offsets.start <= offsets.end);
    let mut lowest = offsets.start;
    for record in &served.records {
        assert!((lowest..offsets.end).contains(&record.offset), "{} again", record.offset);
        lowest = record.offset + 1;
    }
    fetches(log, &served);
    points(log, &served);
    let lying_times = verified(log, &served);
    lookups(log, &served, lying_times);
    served
}

pub fn serve(log: &Log) -> Served {
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let (mut records, mut error) = (Vec::new(), None);
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => break,
            Err(found) => {
                let again = reader.next_record().expect_err("an error stays until somebody seeks");
                assert_eq!(again.to_string(), found.to_string());
                error = Some(found);
                break;
            }
        }
    }
    let mut served = Served {
        records,
        error,
        times: Vec::new(),
        honest: true,
        control: false,
        broken: Vec::new(),
    };
    note_times(log, &mut served);
    served
}

/// Collects the timestamps of all records, including those of control batches.
fn note_times(log: &Log, served: &mut Served) {
    let start = log.offsets().start;
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let mut scratch = DecodeBuffer::new(1 << 20);
    loop {
        let batch = match reader.next_batch() {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(_) => {
                served.honest = false;
                break;
            }
        };
        let header = *batch.header();
        served.control |= header.is_control();
        let mut largest = Timestamp::NONE;
        let Ok(records) = batch.as_ref().records(&mut scratch) else {
            served.honest = false;
            continue;
        };
        for record in records {
            let Ok(record) = record else {
                served.honest = false;
                served.broken.push(header.base_offset..header.next_offset());
                break;
            };
            largest = largest.max(record.timestamp);
            served.honest &= record.timestamp >= Timestamp::NONE;
            if record.offset >= start {
                served.times.push((record.offset, record.timestamp));
            }
        }
        served.honest &= largest == header.max_timestamp;
    }
    served.honest &= served.error.is_none();
}

/// Checks that fetches of one batch, of some and of all return the records of the reader.
fn fetches(log: &Log, served: &Served) {
    for limit in [1, 300, 1 << 20] {
        let (mut from, mut found) = (log.offsets().start, Vec::new());
        let error = loop {
            let fetched = match log.read(from, ReadLimits::bytes(limit)) {
                Ok(fetched) => fetched,
                Err(error) => break Some(error),
            };
            match fetched.records() {
                Ok(records) => found.extend(records),
                Err(error) => break Some(error),
            }
            if fetched.next_offset == from {
                assert_eq!(from, log.offsets().end, "a read does not move on");
                break None;
            }
            assert!(fetched.next_offset > from);
            from = fetched.next_offset;
        };
        match (&served.error, error) {
            (None, None) => assert_eq!(found, served.records),
            // A fetch fails as a whole; a reader first returns the records before the damage.
            (Some(_), Some(_)) if served.records.starts_with(&found) => {}
            // A fetch does not see bytes of a segment after its last offset, because it looks up a
            // position in the next segment. A reader that begins there must return the same.
            (Some(Error::Corrupt(damage)), error) => {
                let behind = log.reader(damage.offset.unwrap()).unwrap().records();
                let mut all = served.records.clone();
                all.extend(behind.map_while(Result::ok));
                assert!(all.starts_with(&found) && (error.is_some() || all == found), "{damage:?}");
            }
            (one, other) => panic!("read: {other:?}, reader: {one:?}"),
        }
    }
}

fn points(log: &Log, served: &Served) {
    let offsets = log.offsets();
    let broken = |offset| served.broken.iter().any(|broken| broken.contains(&offset));
    let ends = served.records.iter().take(60).chain(served.records.iter().rev().take(20));
    for record in ends.filter(|record| !broken(record.offset)) {
        assert_eq!(log.get(record.offset).unwrap().as_ref(), Some(record), "{}", record.offset);
    }
    let near =
        served.records.iter().take(40).flat_map(|r| [r.offset.saturating_sub(1), r.offset + 1]);
    let ends = [offsets.start, offsets.start + 1, offsets.end.saturating_sub(1), offsets.end];
    let mut places: BTreeSet<Offset> = near.chain(ends).collect();
    places.extend((1..8).map(|part| offsets.start + (offsets.end - offsets.start) / 8 * part));
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    for place in places.into_iter().filter(|place| !broken(*place)) {
        let got = log.get(place);
        if !(offsets.start..offsets.end).contains(&place) {
            assert!(matches!(got, Err(Error::OffsetOutOfRange { .. })), "{place}: {got:?}");
            continue;
        }
        let listed = served.records.iter().find(|record| record.offset == place);
        match (&got, &served.error) {
            (Ok(got), None) => assert_eq!(got.as_ref(), listed, "{place}"),
            (Ok(Some(got)), Some(_)) => {
                // The record may lie after the damage. A reader that begins there must return it,
                // too.
                reader.seek(place).unwrap();
                let next = reader.next_record();
                assert!(matches!(&next, Ok(Some(next)) if next == got), "{place}: {next:?}");
            }
            (Ok(None), Some(_)) => assert_eq!(listed, None, "{place}"),
            (Err(error), None) => panic!("get {place}: {error}, and the reader read on"),
            (Err(_), Some(_)) => assert_eq!(listed, None, "{place}"),
        }
    }
}

/// Checks that `verify` finds damage in the log files exactly if a reader does. Returns whether
/// `verify` finds a problem in a time index.
fn verified(log: &Log, served: &Served) -> bool {
    let start = log.offsets().start;
    let mut found = log.verify().unwrap();
    let is_of = |found: &Corruption, kind| found.path.extension().is_some_and(|of| of == kind);
    let lying_times = found.iter().any(|found| is_of(found, "timeindex"));
    found.retain(|found| is_of(found, "log"));
    let in_log = !found.is_empty();
    // All stored batches are verified; those before the start of the log are not read.
    let read = |found: &Corruption| found.offset.unwrap_or_else(|| base_of(found)) >= start;
    match &served.error {
        None => assert!(!found.iter().any(read) || served.control, "{found:?}"),
        Some(Error::Corrupt(_)) => assert!(in_log),
        Some(
            Error::InvalidBatch(annals::InvalidBatch::DecompressedTooLarge { .. })
            | Error::Unsupported(_),
        ) => {}
        Some(Error::InvalidBatch(_)) => {
            assert!(in_log, "{:?} is found by a reader alone", served.error)
        }
        Some(other) => panic!("{other}"),
    }
    lying_times
}

/// Returns the base offset of the segment that is damaged.
fn base_of(found: &Corruption) -> Offset {
    let name = found.path.file_stem().and_then(|stem| stem.to_str()).unwrap();
    name.parse().unwrap()
}

/// Checks that a lookup by time finds the first record with that time or a later one, if headers
/// and index are right. A lookup compares an index entry only with the batch that it names, and
/// not with the batches in between.
fn lookups(log: &Log, served: &Served, lying_times: bool) {
    let times = served.times.iter().take(30).map(|(_, time)| time.as_millis());
    let times = times.flat_map(|time| [time, time.saturating_add(1)]).chain([0, i64::MAX]);
    for time in times.filter(|time| *time >= 0).map(Timestamp::from_millis) {
        let found = log.offset_for_time(time);
        // In the segment in which the log starts, a lookup also reads deleted records.
        if let Err(Error::Corrupt(damage)) = &found
            && base_of(damage) < log.offsets().start
        {
            continue;
        }
        if served.honest && !lying_times {
            let want = served.times.iter().find(|(_, there)| *there >= time).copied();
            assert_eq!(found.unwrap(), want, "time {time:?}");
        } else if let Ok(Some((offset, there))) = found {
            assert!(there >= time, "{offset} is at {there:?}, before {time:?}");
            assert!((log.offsets().start..log.offsets().end).contains(&offset));
        }
    }
}
