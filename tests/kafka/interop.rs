//! Other Kafka clients decode batches that this crate encodes.
//!
//! Needs Python with kafka-python, aiokafka, python-snappy, lz4, zstandard and cramjam.
//! Without them the test says so and passes, unless `ANNALS_REQUIRE_INTEROP=1`.

use annals::record::{BatchBuilder, BatchRef, Compression, DecodeBuffer, Record};
use annals::{Codec, Timestamp};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use support::T0;

fn python(arguments: &[&str]) -> Option<Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/decode.py");
    Command::new("python3").arg(script).args(arguments).output().ok()
}

/// Prints a line also where the output of passing tests is hidden.
#[allow(clippy::explicit_write, reason = "the macro's output is captured")]
fn say(what: &str) {
    writeln!(std::io::stderr(), "interop: {}", what.trim_end()).unwrap();
}

/// The decoders there are; what is missing is said aloud.
fn decoders() -> Vec<String> {
    let required = std::env::var("ANNALS_REQUIRE_INTEROP").is_ok_and(|value| value == "1");
    let Some(output) = python(&["--check"]) else {
        assert!(!required, "python3 cannot be run");
        say("skipped: python3 cannot be run");
        return Vec::new();
    };
    let found: Vec<String> =
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    if found.len() < 2 {
        let missing = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!required, "not all decoders can be imported: {missing}");
        say(&format!("skipped in part or in whole: {missing}"));
    }
    found
}

fn records() -> Vec<Record> {
    let time = |millis| Timestamp::from_millis(T0 + millis);
    let text = "the quick brown fox jumps over the lazy dog ".repeat(40);
    let mut records = vec![
        Record::new("v").key("k").timestamp(time(0)),
        Record::tombstone("gone").timestamp(time(-5000)),
        Record::new("").key("").timestamp(time(86_400_000)),
        Record::new("no key").timestamp(time(1)),
        Record::new("headers")
            .header("a", "1")
            .header("a", "2")
            .header_null("null")
            .header("\u{e9}\u{6f22}", vec![0, 255])
            .timestamp(time(2)),
        Record::new(vec![7; 200_000]).key("large").timestamp(time(3)),
    ];
    let many = (0..200).map(|i| Record::new(format!("{i} {text}")).key(format!("user-{}", i % 7)));
    records.extend(many.zip(4..).map(|(record, at)| record.timestamp(time(at))));
    records
}

/// One batch for each codec and level, and some that are not plain data of one producer.
fn batches() -> Vec<Vec<u8>> {
    let mut all = vec![Compression::None, Compression::Snappy, Compression::Lz4];
    all.extend([-1, 1, 9].map(|level| Compression::Gzip { level }));
    all.extend([-5, 1, 3, 19].map(|level| Compression::Zstd { level }));
    let mut offset = 1000;
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new();
    for compression in all {
        if !compression.codec().is_available() {
            continue;
        }
        builder.compression(compression).base_offset(offset).leader_epoch(3);
        for record in records() {
            builder.push_record(&record, Timestamp::NONE).unwrap();
        }
        offset += builder.len() as u64;
        batches.push(builder.build_bytes().unwrap());
    }
    builder.compression(Compression::of(Codec::None)).base_offset(offset);
    builder.producer(4000, 2, i32::MAX - 1).transactional(true);
    for (delta, record) in [0, 3, 9].into_iter().zip(records()) {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let time = record.timestamp.unwrap();
        builder.push_at_delta(delta, time, key, value, &record.headers).unwrap();
    }
    builder.set_last_offset_delta(20);
    batches.push(builder.build_bytes().unwrap());
    batches
}

fn hex(bytes: Option<&[u8]>) -> Value {
    let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.map(digits).into()
}

fn decode(batches: &[Vec<u8>]) -> Vec<Value> {
    let mut scratch = DecodeBuffer::default();
    let mut records = Vec::new();
    for batch in batches {
        for record in BatchRef::parse(batch).unwrap().records(&mut scratch).unwrap() {
            let record = record.unwrap();
            let headers = record
                .headers
                .iter()
                .map(|header| json!([header.name.to_str().unwrap(), hex(header.value)]));
            records.push(json!({
                "offset": record.offset,
                "timestamp": record.timestamp.as_millis(),
                "key": hex(record.key),
                "value": hex(record.value),
                "headers": headers.collect::<Vec<Value>>(),
            }));
        }
    }
    records
}

#[test]
fn other_clients_decode_our_batches() {
    let decoders = decoders();
    if decoders.is_empty() {
        return;
    }
    let batches = batches();
    let expected = decode(&batches);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("batches.bin");
    std::fs::write(&path, batches.concat()).unwrap();
    for decoder in decoders {
        let output = python(&[&decoder, path.to_str().unwrap()]).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{decoder}: {errors}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let read: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read.len(), expected.len(), "{decoder}");
        for (theirs, ours) in read.iter().zip(&expected) {
            assert!(theirs == ours, "{decoder} reads {theirs}, not {ours}");
        }
        say(&format!("{decoder} agrees on {} records", read.len()));
    }
}
