use super::encode::PREFIX_BYTES;
use super::parts::MAX_BATCH_BYTES;
use super::*;
use crate::error::InvalidRecord;
use crate::record::{BatchRef, DecodeBuffer, validate_for_append};

/// The builder validates by its counters, and a received batch is decoded: both must agree.
#[test]
fn builder_follows_rules_of_received_batch() {
    let times = [i64::MIN, -2, -1, 0, 999, 1000, 2000, 2500, 2501, i64::MAX];
    let pairs = times.iter().flat_map(|first| times.iter().map(move |second| [first, second]));
    let mut scratch = DecodeBuffer::default();
    for (pair, case) in pairs.flat_map(|pair| (0..8).map(move |case| (pair, case))) {
        let types = [TimestampType::CreateTime, TimestampType::LogAppendTime];
        let rules = AppendRules {
            timestamp_type: types[case & 1],
            now: Timestamp::from_millis(2000),
            before_max_millis: 1000,
            after_max_millis: 500,
            keys_required: case & 2 != 0,
        };
        let second_key = (case & 4 == 0).then_some(b"k".as_slice());
        let [first, second] = pair.map(|time| Timestamp::from_millis(*time));
        let mut builder = BatchBuilder::new();
        builder.push(first, Some(b"k"), Some(b"v")).unwrap();
        builder.push(second, second_key, Some(b"v")).unwrap();
        let of_builder = builder.check_records(&rules).err().map(|error| format!("{error:?}"));
        let batch = BatchRef::parse(builder.finish().unwrap()).unwrap();
        let of_batch = validate_for_append(batch, &rules, &mut scratch).err();
        let of_batch = of_batch.map(|error| format!("{error:?}"));
        assert_eq!(of_builder, of_batch, "{pair:?} {rules:?}");
    }
}

/// The memory is reserved, but only its last bytes are touched.
#[cfg(target_pointer_width = "64")]
#[test]
fn push_fails_when_batch_is_full() {
    let now = Timestamp::from_millis(5);
    let is_too_large = |result: Result<(), Error>| {
        matches!(result, Err(Error::InvalidRecord { reason: InvalidRecord::TooLarge, .. }))
    };
    // A record of 7 bytes, and the room that all numbers may take.
    let room = 7 + PREFIX_BYTES;
    let mut builder = BatchBuilder::new();
    builder.plain = vec![0; MAX_BATCH_BYTES];
    builder.plain.truncate(MAX_BATCH_BYTES - room);
    builder.push(now, None, Some(b"v")).unwrap();
    builder.plain.resize(MAX_BATCH_BYTES - room + 1, 0);
    assert!(is_too_large(builder.push(now, None, Some(b"v"))));
    assert_eq!((builder.len(), builder.size_bytes()), (1, MAX_BATCH_BYTES - room + 1));

    let mut builder = BatchBuilder::new();
    assert!(is_too_large(builder.push(now, None, Some(&vec![0; MAX_BATCH_BYTES]))));
    assert_eq!((builder.len(), builder.size_bytes()), (0, HEADER_SIZE));
    builder.batch.count = i32::MAX;
    assert!(is_too_large(builder.push(now, None, None)));
}
