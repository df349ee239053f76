use super::*;
use crate::record::record_ref::HeaderRef;
use crate::record::{BatchBuilder, BatchRef, DecodeBuffer};

/// Returns a record with these bytes after its length.
fn record(body: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    varint::write(&mut record, varint::zigzag(body.len() as i64));
    record.extend_from_slice(body);
    record
}

/// Returns a record with null key and value and this offset delta.
fn numbered(delta: u8) -> Vec<u8> {
    record(&[0, 0, delta << 1, 1, 1, 0])
}

/// Returns the header of a batch from offset 100 with this record count and last offset delta.
fn header(count: i32, last_offset_delta: i32) -> BatchHeader {
    let mut builder = BatchBuilder::new();
    builder.base_offset(100).set_last_offset_delta(last_offset_delta);
    let mut header = BatchHeader::parse(builder.finish().unwrap()).unwrap();
    header.record_count = count;
    header
}

/// Returns records of the usual kind, of every size at which a number grows, alone and with more
/// after them.
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

/// If the short way were never taken, only a benchmark would show it.
#[test]
fn usual_record_is_decoded_the_short_way() {
    for batch in usual() {
        let mut records = records(&batch);
        // The bytes that all numbers may take must exist.
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
fn short_way_rejects_what_long_way_rejects() {
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
fn dense_records_are_jumped_over() {
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
    assert!(!records.jump(2) && records.rest == sparse, "nothing changes");
}

fn problem(header: &BatchHeader, encoded: &[u8]) -> InvalidBatch {
    let mut records = Records::new(header, encoded).unwrap();
    let problem = records.find_map(Result::err).expect("it should be rejected");
    assert!(records.next().is_none());
    problem
}

#[test]
fn decode_rejects_offset_that_does_not_rise() {
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
fn decode_rejects_fields_not_filling_record() {
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
fn decode_rejects_impossible_length() {
    let encoded = [numbered(0), vec![1, 0, 0, 0, 0, 0, 0]].concat();
    let what = "its length is negative";
    assert_eq!(problem(&header(2, 1), &encoded), InvalidBatch::Record { index: 1, what });
    // Two negative lengths, with more records after them.
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
fn skip_handles_full_range_with_duplicate_offset() {
    // There are as many records as offsets, but one offset occurs twice.
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
fn skip_rejects_falling_offset() {
    let encoded = [0, 3, 2, 5].map(numbered).concat();
    let mut records = Records::new(&header(4, 9), &encoded).unwrap();
    let what = "its offset is not above the one before it";
    let falls = InvalidBatch::Record { index: 2, what };
    assert_eq!(records.skip_to_offset(105), Err(falls));
    assert!(records.next().is_none());
}

/// A skip to a passed offset reads nothing, so `next` reports the problem of the next record.
#[test]
fn skip_to_passed_offset_does_nothing() {
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
fn skip_past_end_reports_trailing_bytes() {
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
fn skip_does_not_go_back() {
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
