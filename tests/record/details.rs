//! Small rules of the record format that larger tests would not miss.

use annals::record::{BatchBuilder, BatchHeader, BatchRef, Compression, DecodeBuffer, HeaderRef};
use annals::{Codec, InvalidBatch, Record, RecordBatch, StoredRecord, Timestamp};

const T: Timestamp = Timestamp::from_millis(5);

fn batch(build: impl FnOnce(&mut BatchBuilder)) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    build(&mut builder);
    builder.build_bytes().unwrap()
}

fn some_codec() -> Codec {
    Codec::ALL.into_iter().rev().find(|codec| codec.is_available()).unwrap()
}

/// Compaction leaves such batches: their attributes keep the codec, and there is nothing to
/// expand.
#[test]
fn empty_batch_decodes_with_any_codec() {
    let mut bytes = batch(|builder| {
        builder.set_last_offset_delta(3);
    });
    for codec in Codec::ALL {
        bytes[22] = codec as u8;
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.codec(), codec);
        let mut scratch = DecodeBuffer::new(100);
        let owned = RecordBatch::parse_unverified(bytes.clone().into()).unwrap();
        assert_eq!(owned.as_batch_ref().records(&mut scratch).unwrap().count(), 0, "{codec}");
    }
}

#[test]
fn empty_batch_keeps_offsets_and_times() {
    let max = Timestamp::from_millis(3);
    let bytes = batch(|builder| {
        builder.base_offset(7).set_last_offset_delta(4).set_max_timestamp(max).delete_horizon(T);
    });
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!((header.record_count, header.base_offset, header.next_offset()), (0, 7, 12));
    assert_eq!((header.max_timestamp, header.delete_horizon()), (max, Some(T)));
}

#[test]
fn empty_and_control_batches_stay_uncompressed() {
    let codec_of = |bytes: &[u8]| BatchHeader::parse(bytes).unwrap().codec();
    let codec = some_codec();
    let compressed = |builder: &mut BatchBuilder| {
        builder.compression(codec.into());
    };
    let empty = batch(|builder| {
        compressed(builder);
        builder.set_last_offset_delta(0);
    });
    let control = batch(|builder| {
        compressed(builder);
        builder.control(true).push(T, Some(b"k"), Some(b"v")).unwrap();
    });
    let data = batch(|builder| {
        compressed(builder);
        builder.push(T, Some(b"k"), Some(b"v")).unwrap();
    });
    assert_eq!(
        [&empty, &control, &data].map(|bytes| codec_of(bytes)),
        [Codec::None, Codec::None, codec]
    );
}

#[test]
fn codec_defaults_to_kafkas_level() {
    assert_eq!(Compression::of(Codec::Gzip), Compression::Gzip { level: -1 });
    assert_eq!(Compression::from(Codec::Zstd), Compression::Zstd { level: 3 });
    assert_eq!(Codec::ALL.map(|codec| Compression::from(codec).codec()), Codec::ALL);
}

#[test]
fn last_sequence_counts_from_first() {
    for (base, delta, last) in [(0, 4, 4), (-1, 4, -1), (i32::MAX - 1, 3, 1), (7, 0, 7)] {
        let bytes = batch(|builder| {
            builder.set_last_offset_delta(delta).producer(9, 0, base);
        });
        assert_eq!(BatchHeader::parse(&bytes).unwrap().last_sequence(), last, "{base} + {delta}");
    }
}

/// A length that no format has is said to be that; one that only the old formats have, with their
/// magic, is theirs.
#[test]
fn wrong_length_and_old_format_differ() {
    let mut bytes = batch(|builder| builder.push(T, None, Some(b"v")).unwrap());
    let mut rejected = |length: i32, magic: i8| {
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = magic as u8;
        BatchHeader::parse(&bytes).unwrap_err()
    };
    assert_eq!(rejected(13, 0), InvalidBatch::Length { length: 13, minimum: 14 });
    assert_eq!(rejected(14, 0), InvalidBatch::LegacyFormat { magic: 0 });
    assert_eq!(rejected(14, 2), InvalidBatch::Length { length: 14, minimum: 49 });
    assert_eq!(rejected(48, 2), InvalidBatch::Length { length: 48, minimum: 49 });
    assert_eq!(rejected(i32::MIN, 1), InvalidBatch::Length { length: i32::MIN, minimum: 14 });
}

#[test]
fn headers_know_their_count() {
    let header = |name: &'static str| HeaderRef { name: name.into(), value: Some(b"x") };
    for names in [vec![], vec!["a"], vec!["a", "b", "a"]] {
        let bytes = batch(|builder| {
            let headers = names.iter().map(|name| header(name));
            builder.push_with_headers(T, None, None, headers).unwrap();
        });
        let mut scratch = DecodeBuffer::new(1000);
        let batch = BatchRef::parse(&bytes).unwrap();
        let record = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
        assert_eq!(
            (record.headers.len(), record.headers.is_empty()),
            (names.len(), names.is_empty())
        );
        let mut iter = record.headers.iter();
        for left in (0..names.len()).rev() {
            assert_eq!(iter.len(), left + 1);
            assert!(iter.next().is_some());
            assert_eq!(iter.size_hint(), (left, Some(left)));
        }
        assert!(iter.next().is_none());
    }
}

/// Owned records of an uncompressed batch share its memory; those of a compressed one have what it
/// expanded to.
#[test]
fn owned_records_share_batch_memory() {
    let build = |compression| {
        let bytes = batch(|builder| {
            builder.compression(compression).push(T, Some(b"key"), Some(b"value")).unwrap();
        });
        RecordBatch::parse(bytes.into()).unwrap()
    };
    let first = |batch: &RecordBatch| -> StoredRecord {
        batch.records().unwrap().stored().next().unwrap().unwrap()
    };
    let codec = some_codec();
    for (compression, shares) in [(Compression::None, true), (codec.into(), codec == Codec::None)] {
        let batch = build(compression);
        let record = first(&batch);
        let bytes = batch.as_bytes().as_ptr_range();
        for part in [record.key.as_ref().unwrap(), record.value.as_ref().unwrap()] {
            assert_eq!(bytes.contains(&part.as_ptr()), shares, "{compression:?}");
        }
        assert_eq!(
            (&record.key.unwrap()[..], &record.value.unwrap()[..]),
            (&b"key"[..], &b"value"[..])
        );
    }
}

/// Bytes right before or after the shared ones are not shared.
#[test]
fn records_outside_the_batch_are_copied() {
    let one = batch(|builder| builder.push(T, Some(b"key"), Some(b"value")).unwrap());
    let all = bytes::Bytes::from([one.as_slice(), &one].concat());
    let (first, second) = (all.slice(..one.len()), all.slice(one.len()..));
    // The last byte of the value, and the number of headers.
    let cut = first.slice(..one.len() - 2);
    for (bytes, lies_in) in [(&first, &second), (&second, &first), (&cut, &first)] {
        let mut scratch = DecodeBuffer::new(1000);
        let batch = BatchRef::parse(lies_in).unwrap();
        let record = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
        let stored = StoredRecord::from_record_ref(bytes, record);
        assert_eq!(stored, StoredRecord::from(record));
        assert!(!all.as_ptr_range().contains(&stored.value.unwrap().as_ptr()));
    }
}

#[test]
fn decode_buffer_reports_its_limit() {
    assert_eq!(DecodeBuffer::new(17).limit_bytes(), 17);
    assert_eq!(format!("{:?}", DecodeBuffer::new(17)), "DecodeBuffer { limit_bytes: 17, .. }");
    assert!(format!("{:?}", BatchBuilder::new()).contains("Compressor { .. }"));
}

/// Skipping is a short cut of reading: from every place to every offset, also where offsets have
/// no record.
#[test]
fn skipping_matches_reading() {
    let deltas = [0, 1, 4, 5, 9];
    let sparse = batch(|builder| {
        builder.base_offset(100).set_last_offset_delta(12);
        let none = || std::iter::empty::<HeaderRef<'_>>();
        deltas.iter().for_each(|d| builder.push_at_delta(*d, T, None, Some(b"v"), none()).unwrap());
    });
    let dense = batch(|builder| {
        builder.base_offset(100);
        (0..5).for_each(|_| builder.push(T, None, Some(b"v")).unwrap());
    });
    for bytes in [sparse, dense] {
        let mut scratch = DecodeBuffer::new(1000);
        let batch = BatchRef::parse(&bytes).unwrap();
        let records = batch.records(&mut scratch).unwrap();
        let all: Vec<u64> = records.clone().map(|record| record.unwrap().offset).collect();
        for read in 0..=all.len() {
            for target in 95..120 {
                let mut records = records.clone();
                records.by_ref().take(read).for_each(drop);
                records.skip_to_offset(target).unwrap();
                let found: Vec<u64> = records.map(|record| record.unwrap().offset).collect();
                let expected: Vec<u64> =
                    all[read..].iter().copied().filter(|offset| *offset >= target).collect();
                assert_eq!(found, expected, "{read} read, then to {target}");
            }
        }
    }
}

#[test]
fn records_convert_from_common_types() {
    let value = |record: Record| record.value.unwrap().to_vec();
    assert_eq!(value("text".into()), b"text");
    assert_eq!(value(String::from("text").into()), b"text");
    assert_eq!(value(b"text".into()), b"text");
    assert_eq!(value(b"text".as_slice().into()), b"text");
    assert_eq!(value(b"text".to_vec().into()), b"text");
    assert_eq!(value(bytes::Bytes::from_static(b"text").into()), b"text");
    let tombstone = Record::tombstone("gone");
    assert_eq!((tombstone.key.as_deref(), tombstone.value), (Some(&b"gone"[..]), None));
    let full = Record::new("value").key("key").header("a", "12").header_null("bc");
    assert_eq!(full.payload_bytes(), 5 + 3 + 1 + 2 + 2);
    assert_eq!((full.headers[0].value.is_some(), full.headers[1].value.is_some()), (true, false));
    assert_eq!(full.null_value().payload_bytes(), 3 + 1 + 2 + 2);
    assert_eq!(Record::default().payload_bytes(), 0);
}

/// A record that was read is appended to another log unchanged, except for its offset.
#[test]
fn stored_record_can_be_appended_again() {
    let headers = [("a", b"1".as_slice()), ("b", b"2"), ("a", b"3")];
    let bytes = batch(|builder| {
        builder.push_with_headers(T, Some(b"key"), Some(b"value"), headers).unwrap();
    });
    let records = RecordBatch::parse(bytes.into()).unwrap().records().unwrap();
    let stored = records.stored().next().unwrap().unwrap();
    assert_eq!((stored.key_str(), stored.value_str()), (Some("key"), Some("value")));
    assert_eq!(stored.header("a").unwrap().value.as_deref(), Some(&b"3"[..]), "the last one");
    assert!(stored.header("c").is_none());
    let record = Record::from(stored.clone());
    assert_eq!(
        (record.key, record.value, record.headers),
        (stored.key, stored.value, stored.headers)
    );
    assert_eq!(record.timestamp, Some(T));
}
