//! The rules for batches that producers hand to a log, one after the other.

use annals::record::{
    AppendRules, BatchBuilder, BatchRef, BatchSummary, Compression, DecodeBuffer,
    stamp_append_time, stamp_max_timestamp, validate_for_append,
};
use annals::{Codec, Error, InvalidBatch, InvalidRecord, Timestamp, TimestampType};
use support::mend_checksum;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn rules() -> AppendRules {
    AppendRules {
        timestamp_type: TimestampType::CreateTime,
        now: NOW,
        before_max_millis: 1000,
        after_max_millis: 500,
        keys_required: false,
    }
}

fn batch(times: &[i64]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for &time in times {
        builder.push(Timestamp::from_millis(time), Some(b"k"), Some(b"v")).unwrap();
    }
    builder
}

fn validate(bytes: &[u8], rules: &AppendRules) -> Result<BatchSummary, Error> {
    validate_for_append(BatchRef::parse(bytes).unwrap(), rules, &mut DecodeBuffer::new(4096))
}

fn broken_rule(bytes: &[u8], rules: &AppendRules) -> &'static str {
    match validate(bytes, rules) {
        Err(Error::InvalidBatch(InvalidBatch::RuleViolation(what))) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ordinary_batch_is_valid() {
    let now = NOW.as_millis();
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_available()) {
        let mut builder = batch(&[now, now + 500, now - 1000, -1]);
        builder.compression(codec.into()).producer(4000, 0, 0).transactional(true);
        let summary = validate(builder.finish().unwrap(), &rules()).unwrap();
        let max_timestamp = Timestamp::from_millis(now + 500);
        assert_eq!(summary, BatchSummary { max_timestamp, records_checked: true });
    }
    let none = validate(batch(&[-1, -1]).finish().unwrap(), &rules()).unwrap();
    assert!(none.max_timestamp.is_none());
}

#[test]
fn timestamp_out_of_range_is_named() {
    let now = NOW.as_millis();
    for time in [now - 1001, now + 501, -2, i64::MIN, i64::MAX] {
        let rejected = validate(batch(&[now, time, now]).finish().unwrap(), &rules()).unwrap_err();
        match rejected {
            Error::InvalidRecord {
                index: 1,
                reason: InvalidRecord::Timestamp { timestamp, earliest, latest },
                ..
            } => {
                assert_eq!(timestamp.as_millis(), time);
                assert_eq!((earliest.as_millis(), latest.as_millis()), (now - 1000, now + 500));
            }
            other => panic!("{other:?}"),
        }
    }
    let no_limit = AppendRules {
        before_max_millis: i64::MAX as u64,
        after_max_millis: i64::MAX as u64,
        ..rules()
    };
    validate(batch(&[0, i64::MAX]).finish().unwrap(), &no_limit).unwrap();
    assert!(validate(batch(&[0, -2]).finish().unwrap(), &no_limit).is_err());
    // A clock can be wrong by any time.
    for now in [i64::MIN, -1, 0, i64::MAX].map(Timestamp::from_millis) {
        let any_clock = AppendRules { now, ..no_limit };
        validate(batch(&[0, i64::MAX]).finish().unwrap(), &any_clock).unwrap();
    }
    // The log's clock replaces them, whatever they are.
    let append_time = AppendRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    validate(batch(&[i64::MIN, i64::MAX]).finish().unwrap(), &append_time).unwrap();
}

#[test]
fn header_must_match_records() {
    let now = NOW.as_millis();
    let good = batch(&[now, now + 1]).finish().unwrap().to_vec();

    let mut bytes = good.clone();
    bytes[70] ^= 1;
    let rejected = validate(&bytes, &rules()).unwrap_err();
    assert!(matches!(rejected, Error::InvalidBatch(InvalidBatch::Checksum { .. })));

    let mut bytes = good.clone();
    bytes[26] = 2;
    mend_checksum(&mut bytes);
    assert!(broken_rule(&bytes, &rules()).contains("for each of its offsets"));

    let mut builder = batch(&[now]);
    builder.push_at_delta(2, NOW, None, None, &[]).unwrap();
    assert!(broken_rule(builder.finish().unwrap(), &rules()).contains("for each of its offsets"));

    let mut empty = BatchBuilder::new();
    empty.set_last_offset_delta(0);
    assert!(broken_rule(empty.finish().unwrap(), &rules()).contains("needs a record"));
}

/// Sarama leaves the field at -1. The records tell.
#[test]
fn summary_takes_largest_timestamp_from_records() {
    let now = NOW.as_millis();
    let good = batch(&[now, now + 1, now]).finish().unwrap().to_vec();
    for wrong in [-1, 0, now, now + 2] {
        let mut bytes = good.clone();
        bytes[35..43].copy_from_slice(&wrong.to_be_bytes());
        mend_checksum(&mut bytes);
        let summary = validate(&bytes, &rules()).unwrap();
        assert_eq!(summary.max_timestamp, Timestamp::from_millis(now + 1));
        stamp_max_timestamp(&mut bytes, summary.max_timestamp).unwrap();
        assert_eq!(bytes, good);
    }
}

#[test]
fn batch_with_log_fields_is_rejected() {
    let now = NOW.as_millis();
    let mut control = batch(&[now]);
    control.control(true);
    assert!(broken_rule(control.finish().unwrap(), &rules()).contains("control"));

    let mut horizon = BatchBuilder::new();
    horizon.delete_horizon(NOW).push(NOW, Some(b"k"), None).unwrap();
    assert!(broken_rule(horizon.finish().unwrap(), &rules()).contains("horizon"));

    let mut stamped = batch(&[now]);
    let stamped = stamped.finish().unwrap();
    stamp_append_time(stamped, NOW).unwrap();
    assert!(broken_rule(stamped, &rules()).contains("append time"));
}

#[test]
fn producer_fields_must_be_complete() {
    let now = NOW.as_millis();
    for (id, epoch, sequence, transactional, word) in [
        (-1, -1, -1, true, "needs a producer"),
        (5, -1, 0, false, "epoch"),
        (5, 0, -1, false, "sequence"),
        (5, 0, -1, true, "sequence"),
    ] {
        let mut builder = batch(&[now]);
        builder.producer(id, epoch, sequence).transactional(transactional);
        let broken = broken_rule(builder.finish().unwrap(), &rules());
        assert!(broken.contains(word), "{broken}");
    }
}

#[test]
fn null_key_is_rejected_when_compacted() {
    let keyed = AppendRules { keys_required: true, ..rules() };
    validate(batch(&[-1]).finish().unwrap(), &keyed).unwrap();
    let mut builder = batch(&[-1]);
    builder.push(NOW, None, Some(b"v")).unwrap();
    let rejected = validate(builder.finish().unwrap(), &keyed).unwrap_err();
    let no_key = InvalidRecord::MissingKey;
    assert!(matches!(rejected, Error::InvalidRecord { index: 1, reason, .. } if reason == no_key));
}

#[test]
fn oversized_batch_is_judged_by_header() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        if !codec.is_available() {
            continue;
        }
        let mut builder = BatchBuilder::new();
        builder.compression(Compression::of(codec));
        builder.push(NOW, Some(b"k"), Some(&[0; 10_000])).unwrap();
        let bytes = builder.finish().unwrap().to_vec();
        let summary = validate(&bytes, &rules()).unwrap();
        assert_eq!(summary, BatchSummary { max_timestamp: NOW, records_checked: false });
        let keyed = AppendRules { keys_required: true, ..rules() };
        let rejected = validate(&bytes, &keyed).unwrap_err();
        assert!(matches!(
            rejected,
            Error::InvalidBatch(InvalidBatch::DecompressedTooLarge { limit: 4096 })
        ));
        let late = AppendRules { now: Timestamp::from_millis(NOW.as_millis() + 1001), ..rules() };
        assert!(matches!(validate(&bytes, &late), Err(Error::InvalidRecord { .. })));
    }
}
