//! Batches written by other implementations, and batches that must be rejected.
//!
//! `vectors/MANIFEST.txt` says of every file what is in it.

use annals::record::{
    BatchBuilder, BatchHeader, BatchRef, Compression, ControlRecord, ControlType, DecodeBuffer,
    EndTxnMarker, RecordBatch, StoredRecord, stamp_append_time, stamp_base_offset,
    stamp_leader_epoch,
};
use annals::{Codec, Error, InvalidBatch, Offset, Timestamp, TimestampType, Unsupported};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use support::T0;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(directory().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lines of the manifest whose path begins with `folder`, as path and description.
fn manifest(folder: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(directory().join("MANIFEST.txt")).unwrap();
    text.lines()
        .filter(|line| line.starts_with(folder))
        .map(|line| {
            let mut columns = line.split('\t');
            let path = columns.next().unwrap().to_owned();
            (path, columns.next_back().unwrap().to_owned())
        })
        .collect()
}

/// The number after `name=` in a description, in the notation of the manifest.
fn stated(what: &str, name: &str) -> i64 {
    let name = format!(" {name}=");
    let text = what.split(&name).nth(1).unwrap_or_else(|| panic!("no{name} in {what}"));
    let text = text.split([' ', ';']).next().unwrap();
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// A record as the shapes define it: offset delta, time, key, value, headers.
#[derive(Debug, Clone, PartialEq)]
struct Shape {
    delta: i32,
    time: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn shape(delta: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> Shape {
    let time = T0 + i64::from(delta);
    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    Shape { delta, time, key: owned(key), value: owned(value), headers: Vec::new() }
}

fn three() -> Vec<Shape> {
    let record =
        |i| shape(i, Some(format!("key-{i}").as_bytes()), Some(format!("value-{i}").as_bytes()));
    (0..3).map(record).collect()
}

/// The records of a shape; none for the random one, which is known by comparison only.
fn records_of(name: &str) -> Option<Vec<Shape>> {
    Some(match name {
        "one" => vec![shape(0, Some(b"k"), Some(b"v"))],
        "three" => three(),
        "nulls" => vec![
            shape(0, None, Some(b"no-key")),
            shape(1, Some(b"tombstone"), None),
            shape(2, None, None),
            shape(3, Some(b""), Some(b"")),
            shape(4, Some(b"e"), Some(b"")),
        ],
        "headers" => {
            let mut first = shape(0, Some(b"k"), Some(b"v"));
            let header =
                |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
            first.headers = vec![
                header("a", Some(b"1")),
                header("a", Some(b"2")),
                header("null", None),
                header("empty", Some(b"")),
                header("\u{e9}\u{6f22}", Some(b"\x00\xff")),
            ];
            let mut second = shape(1, Some(b"k"), None);
            second.headers = vec![header("only", Some(b"h"))];
            vec![first, second]
        }
        "ts" => {
            let times = [T0, T0 - 86_400_000, T0 + 86_400_000 * 400, T0];
            let pairs = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"d", b"4")];
            let records = (0..).zip(times).zip(pairs).map(|((delta, time), (key, value))| Shape {
                time,
                ..shape(delta, Some(key), Some(value))
            });
            records.collect()
        }
        "many" => {
            let record = |i| {
                let key = format!("user-{:04}", i % 37);
                let text = "the quick brown fox jumps over the lazy dog";
                let value = format!("{{\"seq\":{i},\"text\":\"{text}\"}}");
                shape(i, Some(key.as_bytes()), Some(value.as_bytes()))
            };
            (0..300).map(record).collect()
        }
        "big" => {
            let record = |i: i32| {
                let value = vec![b'A' + u8::try_from(i % 26).unwrap(); 30_000];
                shape(i, Some(format!("k{i}").as_bytes()), Some(&value))
            };
            (0..6).map(record).collect()
        }
        "random" => return None,
        other => panic!("unknown shape {other}"),
    })
}

/// The content of a special file: its records, with the timestamps they are read with.
fn records_of_special(name: &str) -> Vec<Shape> {
    let at = |time| three().into_iter().map(move |record| Shape { time, ..record }).collect();
    let marker = |kind: u8| {
        let key = [0, 0, 0, kind];
        Shape { time: T0 + 9, ..shape(0, Some(&key), Some(&[0, 0, 0, 0, 0, 15])) }
    };
    match name {
        "idempotent" | "idempotent-wrap" | "txn" | "lz4-all-flags" | "snappy-raw" => three(),
        "append-time" => at(T0 + 5555),
        "no-timestamp" => vec![Shape { time: -1, ..shape(0, Some(b"k"), Some(b"v")) }],
        "marker-abort" => vec![marker(0)],
        "marker-commit" => vec![marker(1)],
        "marker-leader-change" => {
            let value = [0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1, 0, 0];
            vec![shape(0, Some(&[0, 0, 0, 2]), Some(&value))]
        }
        "compacted-gaps" => three().into_iter().step_by(2).collect(),
        "compacted-first-gone" => vec![shape(4, Some(b"x"), Some(b"y"))],
        "empty-retained" => Vec::new(),
        "horizon" => vec![shape(0, Some(b"gone"), None), shape(1, Some(b"k"), Some(b"v"))],
        other => panic!("unknown file {other}"),
    }
}

fn expected(name: &str) -> Option<Vec<Shape>> {
    let parts: Vec<&str> = name.split('-').collect();
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    match parts.as_slice() {
        [shape, codec, _writer] if codecs.contains(codec) => records_of(shape),
        _ => Some(records_of_special(name)),
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap().strip_suffix(".bin").unwrap()
}

/// Every record of the batch, by borrowing and by owning, which must agree.
fn decode(bytes: &[u8]) -> Result<Vec<StoredRecord>, InvalidBatch> {
    let batch = BatchRef::parse(bytes)?;
    batch.verify_checksum()?;
    let mut scratch = DecodeBuffer::default();
    let borrowed = batch.records(&mut scratch)?.map(|record| record.map(StoredRecord::from));
    let borrowed: Vec<StoredRecord> = borrowed.collect::<Result<_, _>>()?;
    let owned = RecordBatch::parse(Bytes::copy_from_slice(bytes))?.records()?;
    let owned: Vec<StoredRecord> = owned.stored().collect::<Result<_, _>>()?;
    assert_eq!(borrowed, owned);
    Ok(owned)
}

fn shapes(records: &[StoredRecord], base_offset: Offset) -> Vec<Shape> {
    let owned = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
    let headers = |record: &StoredRecord| {
        record
            .headers
            .iter()
            .map(|header| (header.name.to_string(), owned(&header.value)))
            .collect()
    };
    records
        .iter()
        .map(|record| Shape {
            delta: i32::try_from(record.offset - base_offset).unwrap(),
            time: record.timestamp.as_millis(),
            key: owned(&record.key),
            value: owned(&record.value),
            headers: headers(record),
        })
        .collect()
}

/// Codec ids the build lacks are answered so; the rest of the test is for builds that have them.
fn is_decodable(header: &BatchHeader) -> bool {
    header.codec().is_available()
}

#[test]
fn batches_decode_as_manifest_says() {
    let mut seen = 0;
    let mut by_shape: BTreeMap<String, Vec<Shape>> = BTreeMap::new();
    for (path, what) in manifest("batches/") {
        let bytes = read(&path);
        let header = BatchHeader::parse(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        let offset = |name| Offset::try_from(stated(&what, name)).unwrap();
        assert_eq!(header.base_offset, offset("base"), "{path}");
        assert_eq!(header.last_offset(), offset("last"), "{path}");
        assert_eq!(i64::from(header.record_count), stated(&what, "n"), "{path}");
        assert_eq!(i64::from(header.attributes), stated(&what, "attrs"), "{path}");
        assert_eq!(header.producer_id, stated(&what, "pid"), "{path}");
        assert_eq!(i64::from(header.producer_epoch), stated(&what, "pepoch"), "{path}");
        assert_eq!(i64::from(header.base_sequence), stated(&what, "seq"), "{path}");
        assert_eq!(i64::from(header.leader_epoch), stated(&what, "lepoch"), "{path}");
        assert_eq!(header.base_timestamp.as_millis(), stated(&what, "baseTs"), "{path}");
        assert_eq!(header.max_timestamp.as_millis(), stated(&what, "maxTs"), "{path}");
        assert_eq!(header.size_bytes(), bytes.len(), "{path}");
        assert_eq!(header.to_bytes(), bytes[..61], "{path}");
        seen += 1;
        if !is_decodable(&header) {
            let rejected = decode(&bytes).unwrap_err();
            assert_eq!(rejected, InvalidBatch::CodecUnavailable { codec: header.codec() });
            continue;
        }
        let decoded = decode(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
        let decoded = shapes(&decoded, header.base_offset);
        let name = name_of(&path);
        match expected(name) {
            Some(expected) => assert!(decoded == expected, "{path}: {decoded:?}"),
            None => {
                let shape = name.split('-').next().unwrap().to_owned();
                let first = by_shape.entry(shape).or_insert_with(|| decoded.clone());
                assert!(*first == decoded, "{path} differs from what other writers wrote");
            }
        }
    }
    assert!(seen >= 100, "{seen}");
}

#[test]
fn flags_match_attributes() {
    let header = |name: &str| BatchHeader::parse(&read(&format!("batches/{name}.bin"))).unwrap();
    assert_eq!(header("idempotent-wrap").last_sequence(), 0);
    assert_eq!(header("compacted-gaps").last_sequence(), 19);
    assert_eq!(header("compacted-gaps").offset_count(), 10);
    assert_eq!(header("empty-retained").next_offset(), 60);
    assert_eq!(header("three-none-ref").last_sequence(), -1);
    assert!(header("idempotent").has_producer() && !header("three-none-ref").has_producer());
    assert!(header("txn").is_transactional() && !header("txn").is_control());
    assert!(header("marker-abort").is_transactional() && header("marker-abort").is_control());
    assert_eq!(header("append-time").timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header("txn").timestamp_type(), TimestampType::CreateTime);
    let horizon = Timestamp::from_millis(T0 + 86_400_000);
    assert_eq!(header("horizon").delete_horizon(), Some(horizon));
    assert_eq!(header("txn").delete_horizon(), None);
    assert_eq!(header("one-zstd-ref").codec(), Codec::Zstd);
}

/// The error that a bad file must be rejected with; none for the two that are valid.
fn is_named(name: &str, problem: &InvalidBatch) -> bool {
    use InvalidBatch as I;
    match name {
        "codec-5" => *problem == I::UnknownCodec { id: 5 },
        "count-fewer" => *problem == I::TrailingBytes { bytes: 19 },
        "count-more" => *problem == I::RecordsMissing { expected: 4, found: 3 },
        "count-negative" => *problem == I::RecordCount { count: -1 },
        "crc" => matches!(problem, I::Checksum { .. }),
        "gzip-garbage" => matches!(problem, I::Compression { codec: Codec::Gzip, .. }),
        "header-key-null" => *problem == I::Record { index: 0, what: "a header has no name" },
        "headers-negative" => {
            *problem == I::Record { index: 0, what: "its header count is negative" }
        }
        "length-13" => *problem == I::Length { length: 13, minimum: 14 },
        "length-40" => *problem == I::Length { length: 40, minimum: 49 },
        "lz4-header-hash" => matches!(problem, I::Compression { codec: Codec::Lz4, .. }),
        "magic-3" => *problem == I::Magic { magic: 3 },
        "magic-neg" => *problem == I::Magic { magic: -1 },
        "record-len-over" => {
            *problem == I::Record { index: 0, what: "it is longer than the batch" }
        }
        "record-len-under" => matches!(problem, I::Record { index: 0, .. }),
        "truncated-body" => *problem == I::Truncated { needed: 118, available: 115 },
        "truncated-header" => *problem == I::Truncated { needed: 61, available: 40 },
        "varint-6-bytes" => *problem == I::Record { index: 0, what: "its length does not end" },
        other => panic!("unknown file {other}"),
    }
}

#[test]
fn bad_batches_are_rejected_by_name() {
    let mut seen = 0;
    for (path, _) in manifest("bad/") {
        seen += 1;
        let name = name_of(&path);
        let bytes = read(&path);
        // The library that made `lz4-linked` drops the flag for dependent blocks when there is
        // only one block, so the file holds a proper frame. The unit tests of the codec have one
        // with the flag.
        if name.ends_with("-ok") || (name == "lz4-linked" && Codec::Lz4.is_available()) {
            assert_eq!(decode(&bytes).unwrap().len(), 3, "{path}");
            continue;
        }
        let problem = decode(&bytes).expect_err(name);
        if let InvalidBatch::CodecUnavailable { codec } = problem {
            assert!(!codec.is_available());
            continue;
        }
        assert!(is_named(name, &problem), "{name}: {problem:?}");
    }
    assert_eq!(seen, 21);
}

#[test]
fn legacy_formats_are_unsupported() {
    let mut seen = 0;
    for (path, _) in manifest("legacy/") {
        let magic = i8::from(path.contains("v1-"));
        let problem = BatchRef::parse(&read(&path)).unwrap_err();
        assert_eq!(problem, InvalidBatch::LegacyFormat { magic }, "{path}");
        let error = Error::from(problem);
        assert!(
            matches!(error, Error::Unsupported(Unsupported::MessageFormat(m)) if m == magic),
            "{path}: {error}"
        );
        seen += 1;
    }
    assert_eq!(seen, 8);
}

fn unhex(text: &str) -> Vec<u8> {
    let text = if text == "-" { "" } else { text };
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn vector_checksums_match() {
    let text = String::from_utf8(read("crc32c.txt")).unwrap();
    let mut seen = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (bytes, sum) = line.split_once('\t').unwrap();
        let sum = u32::from_str_radix(sum, 16).unwrap();
        assert_eq!(annals::record::crc32c(&unhex(bytes)), sum, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[test]
fn known_kafka_checksums_match() {
    let text = String::from_utf8(read("known-checksums.txt")).unwrap();
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp::from_millis(283_843), Some(b"key1"), Some(b"value1")).unwrap();
    builder.push(Timestamp::from_millis(1234), Some(b"key2"), Some(b"value2")).unwrap();
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("v2 ")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let sum: u32 = columns[1].parse().unwrap();
        let bytes = unhex(columns[2]);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(header.crc, sum, "{line}");
        if !is_decodable(&header) {
            continue;
        }
        assert_eq!(decode(&bytes).unwrap().len(), 2);
        // So few bytes are stored, not compressed, so that even LZ4's form is certain.
        builder.compression(Compression::of(header.codec()));
        assert_eq!(builder.finish().unwrap(), bytes, "{line}");
        seen += 1;
    }
    assert!(seen >= 1);
}

/// A builder that writes batches with this header.
fn builder_like(header: &BatchHeader) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    builder
        .base_offset(header.base_offset)
        .leader_epoch(header.leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional())
        .control(header.is_control())
        .timestamp_type(header.timestamp_type())
        .delete_horizon(header.delete_horizon())
        .set_last_offset_delta(header.last_offset_delta)
        .set_max_timestamp(header.max_timestamp);
    builder
}

#[test]
fn plain_batches_encode_to_reference_bytes() {
    let mut seen = 0;
    for (path, what) in manifest("batches/") {
        let bytes = read(&path);
        let header = BatchHeader::parse(&bytes).unwrap();
        if header.codec() != Codec::None {
            continue;
        }
        let mut builder = builder_like(&header);
        let batch = BatchRef::parse(&bytes).unwrap();
        let mut scratch = DecodeBuffer::default();
        for record in batch.records(&mut scratch).unwrap() {
            let mut record = record.unwrap();
            if header.timestamp_type() == TimestampType::LogAppendTime {
                // The deltas are as the producer wrote them: one millisecond apart.
                let millis = T0 + i64::try_from(record.offset - header.base_offset).unwrap();
                record.timestamp = Timestamp::from_millis(millis);
            }
            let delta = i32::try_from(record.offset - header.base_offset).unwrap();
            builder.push_record_ref(delta, &record).unwrap();
        }
        assert!(builder.finish().unwrap() == bytes, "{path} {what}");
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn shapes_encode_to_reference_bytes() {
    for name in ["one", "three", "nulls", "headers", "ts", "many", "big"] {
        let mut builder = BatchBuilder::new();
        builder.base_offset(1000).leader_epoch(7);
        for record in records_of(name).unwrap() {
            let headers: Vec<(&str, Option<&[u8]>)> = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .collect();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            let time = Timestamp::from_millis(record.time);
            if headers.is_empty() {
                builder.push(time, key, value).unwrap();
            } else {
                builder.push_with_headers(time, key, value, headers).unwrap();
            }
        }
        let bytes = read(&format!("batches/{name}-none-ref.bin"));
        assert_eq!(builder.size_bytes(), bytes.len());
        assert!(builder.finish().unwrap() == bytes, "{name}");
    }
}

#[test]
fn markers_encode_to_reference_bytes() {
    for (name, committed) in [("marker-abort", false), ("marker-commit", true)] {
        let bytes = read(&format!("batches/{name}.bin"));
        let marker = EndTxnMarker { committed, coordinator_epoch: 15 };
        let mut batch = marker.to_batch(4000, 2, Timestamp::from_millis(T0 + 9)).unwrap();
        stamp_base_offset(&mut batch, 53).unwrap();
        stamp_leader_epoch(&mut batch, 3).unwrap();
        assert_eq!(batch, bytes, "{name}");
        assert_eq!(batch.len(), EndTxnMarker::BATCH_SIZE);
        let record = decode(&bytes).unwrap().remove(0);
        let read = ControlRecord::parse(record.key.as_deref(), record.value.as_deref()).unwrap();
        let control_type = if committed { ControlType::Commit } else { ControlType::Abort };
        assert_eq!(read, ControlRecord { control_type, marker: Some(marker) });
    }
    let record = decode(&read("batches/marker-leader-change.bin")).unwrap().remove(0);
    let read = ControlRecord::parse(record.key.as_deref(), record.value.as_deref()).unwrap();
    assert_eq!(read, ControlRecord { control_type: ControlType::LeaderChange, marker: None });
}

#[test]
fn append_time_stamp_matches_reference_bytes() {
    let mut builder = BatchBuilder::new();
    builder.base_offset(50).leader_epoch(3);
    for record in three() {
        let time = Timestamp::from_millis(record.time);
        builder.push(time, record.key.as_deref(), record.value.as_deref()).unwrap();
    }
    let batch = builder.finish().unwrap();
    stamp_append_time(batch, Timestamp::from_millis(T0 + 5555)).unwrap();
    assert_eq!(batch, read("batches/append-time.bin"));
}
