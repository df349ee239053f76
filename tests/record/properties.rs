//! Invariants of every batch: decoding returns what was encoded, and nothing else passes for a
//! batch.

use annals::record::{
    AppendRules, BatchBuilder, BatchHeader, BatchRef, Compression, DecodeBuffer, Header, Record,
    RecordBatch, Records, StoredRecord, stamp_append_time, stamp_base_offset, stamp_leader_epoch,
    validate_for_append,
};
use annals::{Codec, InvalidBatch, MAX_OFFSET, Timestamp, TimestampType};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use support::mend_checksum;

fn codecs() -> impl Strategy<Value = Codec> {
    let available: Vec<Codec> =
        Codec::ALL.into_iter().filter(|codec| codec.is_available()).collect();
    proptest::sample::select(available)
}

fn content() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..80).prop_map(Bytes::from),
        1 => (any::<u8>(), 0usize..20_000).prop_map(|(byte, count)| Bytes::from(vec![byte; count])),
        1 => vec(any::<u8>(), 120..9000).prop_map(Bytes::from),
    ]
}

fn times() -> impl Strategy<Value = Timestamp> {
    let millis = prop_oneof![
        4 => 1_700_000_000_000i64..1_700_000_100_000,
        1 => any::<i64>(),
        1 => proptest::sample::select(vec![i64::MIN, i64::MAX, -1, 0]),
    ];
    millis.prop_map(Timestamp::from_millis)
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let headers = prop_oneof![
        3 => Just(Vec::new()),
        1 => vec(
            (vec(any::<u8>(), 0..80), option::of(content()))
                .prop_map(|(name, value)| Header { name: name.into(), value }),
            0..4,
        ),
    ];
    let record = (option::of(content()), option::of(content()), headers, times()).prop_map(
        |(key, value, headers, time)| Record { key, value, headers, timestamp: Some(time) },
    );
    vec(record, 1..20)
}

fn encode(records: &[Record], codec: Codec, base_offset: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.compression(Compression::of(codec)).base_offset(base_offset).leader_epoch(7);
    for record in records {
        builder.push_record(record, Timestamp::NONE).unwrap();
    }
    builder.build_bytes().unwrap()
}

fn stored(record: &Record, offset: u64) -> StoredRecord {
    StoredRecord {
        offset,
        timestamp: record.timestamp.unwrap(),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
    }
}

/// Everything a reader does with bytes it does not trust.
fn read(bytes: &[u8], scratch: &mut DecodeBuffer) -> Result<Vec<StoredRecord>, InvalidBatch> {
    let batch = BatchRef::parse(bytes)?;
    batch.verify_checksum()?;
    collect(batch.records(scratch)?)
}

fn collect(records: Records<'_>) -> Result<Vec<StoredRecord>, InvalidBatch> {
    records.map(|record| record.map(StoredRecord::from)).collect()
}

proptest! {
    #[test]
    fn decode_returns_encoded_records(
        records in records(),
        codec in codecs(),
        base in prop_oneof![Just(0), 0..1u64 << 40, Just(MAX_OFFSET - 39)],
    ) {
        let bytes = encode(&records, codec, base);
        let expected: Vec<StoredRecord> =
            records.iter().zip(base..).map(|(record, offset)| stored(record, offset)).collect();

        let mut scratch = DecodeBuffer::default();
        prop_assert_eq!(&read(&bytes, &mut scratch).unwrap(), &expected);

        let owned = RecordBatch::parse(Bytes::from(bytes)).unwrap();
        let decoded = owned.records().unwrap();
        let shared: Result<Vec<StoredRecord>, _> = decoded.stored().collect();
        prop_assert_eq!(&shared.unwrap(), &expected);

        let header = owned.header();
        prop_assert_eq!(header.codec(), codec);
        prop_assert_eq!(header.last_offset(), base + records.len() as u64 - 1);
        let max = records.iter().filter_map(|record| record.timestamp).max().unwrap();
        prop_assert_eq!(header.max_timestamp, max);
        prop_assert_eq!(header.base_timestamp, records[0].timestamp.unwrap());
        for (record, expected) in decoded.iter().zip(&records) {
            prop_assert_eq!(&record.unwrap().to_record(), expected);
        }
    }

    #[test]
    fn decode_returns_records_with_gaps(
        records in records(),
        gaps in vec(0i32..5, 40),
        after in 0i32..10,
        horizon in option::of(times()),
        codec in codecs(),
    ) {
        let mut builder = BatchBuilder::new();
        builder.compression(codec.into()).base_offset(70).delete_horizon(horizon);
        let mut expected = Vec::new();
        let mut delta = 0;
        for (record, gap) in records.iter().zip(&gaps) {
            delta += gap;
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let time = record.timestamp.unwrap();
            builder.push_at_delta(delta, time, key, value, &record.headers).unwrap();
            expected.push(stored(record, 70 + delta as u64));
            delta += 1;
        }
        prop_assert!(builder.push_at_delta(delta - 1, Timestamp::NONE, None, None, &[]).is_err());
        builder.set_last_offset_delta(delta - 1 + after);
        let bytes = builder.build_bytes().unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        prop_assert_eq!(header.next_offset(), 70 + (delta + after) as u64);
        prop_assert_eq!(header.delete_horizon(), horizon);
        let mut scratch = DecodeBuffer::default();
        prop_assert_eq!(&read(&bytes, &mut scratch).unwrap(), &expected);

        let batch = BatchRef::parse(&bytes).unwrap();
        for target in 60..header.next_offset() + 3 {
            let mut records = batch.records(&mut scratch).unwrap();
            records.skip_to_offset(target).unwrap();
            let rest: Vec<StoredRecord> =
                expected.iter().filter(|record| record.offset >= target).cloned().collect();
            prop_assert_eq!(collect(records).unwrap(), rest);
        }
    }

    #[test]
    fn skipping_matches_iteration(
        records in records(),
        codec in codecs(),
        targets in vec(95u64..150, 1..4),
    ) {
        let bytes = encode(&records, codec, 100);
        let owned = RecordBatch::parse(bytes.into()).unwrap().records().unwrap();
        let all = collect(owned.iter()).unwrap();
        let mut borrowed = owned.iter();
        let mut shared = owned.stored();
        let mut passed = 0;
        for target in targets {
            borrowed.skip_to_offset(target).unwrap();
            shared.skip_to_offset(target).unwrap();
            passed = passed.max(target);
            let found = all.iter().find(|record| record.offset >= passed);
            let next = borrowed.next().map(|record| StoredRecord::from(record.unwrap()));
            prop_assert_eq!(next.as_ref(), found);
            let next = shared.next().map(Result::unwrap);
            prop_assert_eq!(next.as_ref(), found);
            passed = found.map_or(u64::MAX, |record| record.offset + 1);
        }
    }

    #[test]
    fn changed_bytes_are_rejected_or_harmless(
        records in records(),
        codec in codecs(),
        changes in vec((any::<prop::sample::Index>(), 1u8..), 1..4),
        mend: bool,
    ) {
        let original = encode(&records, codec, 0);
        let mut bytes = original.clone();
        for (at, change) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= change;
        }
        let covered_changed = bytes[21..] != original[21..];
        if mend && let Ok(batch) = BatchRef::parse(&bytes) {
            // With the right checksum the decoders must cope alone.
            let size = batch.as_bytes().len();
            mend_checksum(&mut bytes[..size]);
        }
        let mut scratch = DecodeBuffer::new(4 << 20);
        let result = read(&bytes, &mut scratch);
        if covered_changed && !mend {
            prop_assert!(result.is_err());
        }
        if let Ok(batch) = BatchRef::parse(&bytes) {
            let mut scratch = DecodeBuffer::new(4 << 20);
            if let Ok(mut records) = batch.records(&mut scratch) {
                let target = batch.header().base_offset.saturating_add(5);
                if records.skip_to_offset(target).is_err() {
                    prop_assert!(records.next().is_none());
                }
                let mut failed = false;
                for record in records {
                    prop_assert!(!failed, "something came after an error");
                    match record {
                        Ok(record) => {
                            prop_assert!(record.offset >= target);
                            prop_assert!(record.offset <= batch.header().last_offset());
                            prop_assert_eq!(record.headers.iter().count(), record.headers.len());
                        }
                        Err(_) => failed = true,
                    }
                }
            }
            let rules = AppendRules {
                timestamp_type: TimestampType::CreateTime,
                now: Timestamp::from_millis(0),
                before_max_millis: u64::MAX,
                after_max_millis: u64::MAX,
                keys_required: false,
            };
            let _ = validate_for_append(batch, &rules, &mut scratch);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), codec in codecs()) {
        let mut scratch = DecodeBuffer::new(1 << 20);
        let _ = read(&bytes, &mut scratch);
        // The same bytes as the records section of a proper header.
        let mut batch = encode(&[Record::new("x")], Codec::None, 0);
        batch.truncate(61);
        batch.extend_from_slice(&bytes);
        batch[8..12].copy_from_slice(&(bytes.len() as i32 + 49).to_be_bytes());
        batch[22] = codec as u8;
        mend_checksum(&mut batch);
        let _ = read(&batch, &mut scratch);
    }

    #[test]
    fn stamping_changes_only_its_fields(
        records in records(),
        codec in codecs(),
        offset in 0..1u64 << 50,
        epoch: i32,
        earlier in times(),
        now in times(),
    ) {
        let mut bytes = encode(&records, codec, 0);
        let before = BatchHeader::parse(&bytes).unwrap();
        stamp_base_offset(&mut bytes, offset).unwrap();
        stamp_leader_epoch(&mut bytes, epoch).unwrap();
        stamp_append_time(&mut bytes, earlier).unwrap();
        stamp_append_time(&mut bytes, now).unwrap();
        let once = bytes.clone();
        stamp_append_time(&mut bytes, now).unwrap();
        prop_assert_eq!(&once, &bytes);
        let header = BatchHeader::parse(&bytes).unwrap();
        prop_assert_eq!(header.base_timestamp, before.base_timestamp);
        prop_assert_eq!((header.base_offset, header.leader_epoch), (offset, epoch));
        let read = read(&bytes, &mut DecodeBuffer::default()).unwrap();
        prop_assert_eq!(read.len(), records.len());
        for (record, at) in read.iter().zip(offset..) {
            prop_assert_eq!((record.offset, record.timestamp), (at, now));
        }
    }
}

#[test]
fn truncated_batch_is_rejected_everywhere() {
    let records: Vec<Record> = (0..5).map(|i| Record::new(format!("value {i}")).key("k")).collect();
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_available()) {
        let bytes = encode(&records, codec, 0);
        for end in 0..bytes.len() {
            let rejected = BatchRef::parse(&bytes[..end]).unwrap_err();
            let needed = if end < 61 { 61 } else { bytes.len() as u64 };
            assert_eq!(rejected, InvalidBatch::Truncated { needed, available: end as u64 });
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(BatchRef::parse(&longer).unwrap().as_bytes(), bytes);
        assert_eq!(
            RecordBatch::parse(longer.into()).unwrap_err(),
            InvalidBatch::TrailingBytes { bytes: 1 }
        );
    }
    assert!(stamp_base_offset(&mut [0; 60], 1).is_err());
    assert!(stamp_leader_epoch(&mut [0; 60], 1).is_err());
    let mut cut = encode(&records, Codec::None, 0);
    cut.pop();
    let before = cut.clone();
    assert!(stamp_append_time(&mut cut, Timestamp::from_millis(1)).is_err());
    assert_eq!(cut, before);
}

#[test]
fn builder_is_reusable_after_clear() {
    let mut builder = BatchBuilder::new();
    assert!(builder.finish().is_err());
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_available()) {
        builder.compression(codec.into());
        for round in 0..3u8 {
            builder.clear();
            assert!(builder.is_empty());
            for i in 0..=round {
                builder.push(Timestamp::from_millis(i64::from(i)), None, Some(&[i; 50])).unwrap();
            }
            let once = builder.finish().unwrap().to_vec();
            assert_eq!(builder.finish().unwrap(), once);
            assert_eq!(read(&once, &mut DecodeBuffer::default()).unwrap().len(), builder.len());
            let given = builder.build().unwrap();
            assert_eq!(given.as_bytes(), &once);
            assert_eq!((builder.len(), builder.size_bytes()), (0, 61));
        }
    }
}

#[test]
fn builder_rejects_unreadable_records() {
    let now = Timestamp::from_millis(5);
    let mut builder = BatchBuilder::new();
    builder.push(now, None, None).unwrap();
    builder.delete_horizon(Timestamp::from_millis(9));
    assert!(builder.finish().is_err());
    builder.clear();
    builder.base_offset(MAX_OFFSET);
    builder.push(now, None, None).unwrap();
    builder.finish().unwrap();
    builder.push(now, None, None).unwrap();
    assert!(builder.finish().is_err());
    builder.clear();
    builder.base_offset(0);
    builder.push_at_delta(7, now, None, None, &[]).unwrap();
    builder.set_last_offset_delta(6);
    assert!(builder.finish().is_err());
    builder.clear();
    builder.push_at_delta(i32::MAX, now, None, None, &[]).unwrap();
    assert!(builder.push(now, None, None).is_err());
    assert_eq!(builder.len(), 1);
    builder.finish().unwrap();
    builder.clear();
    builder.set_last_offset_delta(-1);
    assert!(builder.finish().is_err());
}

#[test]
fn decode_buffer_is_reusable_after_failure() {
    let mut scratch = DecodeBuffer::new(1 << 20);
    let records: Vec<Record> = (0..50).map(|i| Record::new(format!("value {i}"))).collect();
    for _ in 0..3 {
        for codec in Codec::ALL.into_iter().filter(|codec| codec.is_available()) {
            let bytes = encode(&records, codec, 0);
            let mut broken = bytes.clone();
            broken.truncate(bytes.len() - 5);
            let length = i32::try_from(broken.len()).unwrap() - 12;
            broken[8..12].copy_from_slice(&length.to_be_bytes());
            mend_checksum(&mut broken);
            assert!(read(&broken, &mut scratch).is_err(), "{codec}");
            let bomb = encode(&[Record::new(vec![0; 2 << 20])], codec, 0);
            assert_eq!(read(&bomb, &mut scratch).is_err(), codec != Codec::None, "{codec}");
            let read = read(&bytes, &mut scratch).unwrap();
            assert!(read.iter().zip(&records).all(|(read, record)| read.value == record.value));
            assert_eq!(read.len(), records.len());
        }
    }
}
