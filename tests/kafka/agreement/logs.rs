//! Kafka reads our logs record by record, and we read and continue Kafka's.

use super::{fill, record, run, same, small};
use crate::build::{kafka, say};
use annals::record::{BatchBuilder, BatchHeader, Compression, RecordRef};
use annals::{CleanupPolicy, Codec, Log, ManualClock, Record, StartAt, Timestamp, TimestampType};
use std::collections::HashMap;
use std::sync::Arc;
use support::T0;

fn sum(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".to_owned(), |bytes| format!("{}:{:08x}", bytes.len(), crc32c::crc32c(bytes)))
}

fn batch_line(h: &BatchHeader) -> String {
    let kind = match h.timestamp_type() {
        TimestampType::CreateTime => "CREATE",
        TimestampType::LogAppendTime => "APPEND",
    };
    format!(
        "B {} {} {} {} {kind} {} {} {} {} {} {}",
        h.base_offset,
        h.last_offset(),
        h.record_count,
        h.codec(),
        h.producer_id,
        h.producer_epoch,
        h.base_sequence,
        h.is_transactional(),
        h.is_control(),
        h.leader_epoch
    )
}

fn record_line(record: &RecordRef<'_>) -> String {
    let at = record.timestamp.as_millis();
    let mut line = format!("R {} {at} {} {}", record.offset, sum(record.key), sum(record.value));
    for header in record.headers.iter() {
        line += &format!(" {}={}", sum(Some(header.name.as_bytes())), sum(header.value));
    }
    line
}

/// The segments of a log and what is in them, as `KafkaAgrees.clean` prints them. Sizes only where
/// bytes must be the same.
pub(super) fn stored(log: &Log) -> Vec<String> {
    let stats = log.stats().unwrap();
    let mut segments = stats.segments.iter().peekable();
    let mut lines = Vec::new();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    while let Some(mut batch) = reader.next_batch().unwrap() {
        let h = *batch.header();
        while let Some(segment) = segments.next_if(|segment| segment.base_offset <= h.base_offset) {
            lines.push(format!("S {} {}", segment.base_offset, segment.bytes));
        }
        let horizon = h.delete_horizon().map_or(-1, Timestamp::as_millis);
        lines.push(format!("{} {} {horizon}", batch_line(&h), h.max_timestamp.as_millis()));
        lines.extend(batch.records().unwrap().map(|record| record_line(&record.unwrap())));
    }
    lines.extend(segments.map(|segment| format!("S {} {}", segment.base_offset, segment.bytes)));
    lines
}

/// All there is in a log, as `KafkaAgrees.print` prints it.
fn contents(log: &Log) -> Vec<String> {
    let mut lines = Vec::new();
    let mut times = Vec::new();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    while let Some(mut batch) = reader.next_batch().unwrap() {
        lines.push(batch_line(batch.header()));
        for record in batch.records().unwrap() {
            let record = record.unwrap();
            lines.push(record_line(&record));
            if record.offset % 97 == 0 {
                times.push(record.timestamp);
            }
        }
    }
    for time in times {
        let found = log.offset_for_time(time).unwrap();
        let found = found.map_or("-".to_owned(), |(at, ts)| format!("{at} {}", ts.as_millis()));
        lines.push(format!("T {} {found}", time.as_millis()));
    }
    let stats = log.stats().unwrap();
    lines.push(format!("E {} {}", stats.offsets.end, stats.segments.len()));
    lines
}

/// The output that `DumpLogSegments --deep-iteration --print-data-log` must have for each batch
/// and record.
fn dumped(log: &Log) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    while let Some(mut batch) = reader.next_batch().unwrap() {
        let h = *batch.header();
        let kind = match h.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        lines.push(format!(
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
             partitionLeaderEpoch: {} isTransactional: {} isControl: {} {kind}: {} size: {} magic: 2 compresscodec: {} \
             crc: {} isvalid: true",
            h.base_offset, h.last_offset(), h.record_count, h.base_sequence, h.last_sequence(), h.producer_id,
            h.producer_epoch, h.leader_epoch, h.is_transactional(), h.is_control(), h.max_timestamp.as_millis(),
            h.size_bytes(), h.codec(), h.crc
        ));
        for (record, delta) in batch.records().unwrap().zip(0..) {
            let record = record.unwrap();
            let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
            let names: Vec<String> =
                record.headers.iter().map(|header| header.name.to_string()).collect();
            let sequence = if h.base_sequence < 0 { -1 } else { h.base_sequence + delta };
            let mut line = format!(
                "| offset: {} {kind}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
                record.offset,
                record.timestamp.as_millis(),
                size(record.key),
                size(record.value),
                names.join(",")
            );
            for (what, bytes) in [("key", record.key), ("payload", record.value)] {
                if let Some(bytes) = bytes {
                    line += &format!(" {what}: {}", std::str::from_utf8(bytes).unwrap());
                }
            }
            lines.push(line);
        }
    }
    lines
}

/// Checks the output of the tool: only lines that it prints for sound files, and among them the
/// records we wrote.
fn check_dump(printed: &[String], log: &Log, name: &str) {
    let mut data = Vec::new();
    let mut entries: HashMap<String, usize> = HashMap::new();
    let mut asked = Vec::new();
    for line in printed {
        if let Some(arguments) = line.strip_prefix("## ") {
            asked = arguments.split(' ').collect();
        } else if line.starts_with("baseOffset: ") {
            // Where a batch lies and that it has no delete horizon is not in our lines.
            let (start, rest) = line.split_once(" deleteHorizonMs: OptionalLong.empty ").unwrap();
            let rest = rest.split_once(' ').unwrap().1.split_once(' ').unwrap().1;
            data.push(format!("{start} {rest}"));
        } else if line.starts_with("| offset: ") {
            data.push(line.clone());
        } else if line.starts_with("offset: ") || line.starts_with("timestamp: ") {
            *entries.entry(asked.last().unwrap().to_string()).or_default() += 1;
        } else {
            let sound = line.starts_with("Dumping ")
                || line.starts_with("Log starting offset: ")
                // Snapshots: their content is checked elsewhere.
                || line.starts_with("producerId: ")
                || line.ends_with(" passed sanity check.")
                || line.ends_with(".index is empty.");
            assert!(sound, "{name}: {asked:?}: {line}");
        }
    }
    let expected = dumped(log);
    for (theirs, ours) in data.iter().zip(&expected) {
        assert_eq!(theirs, ours, "{name}");
    }
    assert_eq!(data.len(), expected.len(), "{name}");
    for segment in log.stats().unwrap().segments {
        for (suffix, ours) in
            [("index", segment.offset_index_entries), ("timeindex", segment.time_index_entries)]
        {
            let file = format!("/{:020}.{suffix}", segment.base_offset);
            let theirs: usize =
                entries.iter().filter(|(path, _)| path.ends_with(&file)).map(|(_, n)| n).sum();
            assert_eq!(theirs, ours, "{name}{file}");
        }
    }
}

fn codecs() -> impl Iterator<Item = Compression> + Clone {
    Codec::ALL.into_iter().filter(|codec| codec.is_available()).map(Compression::of)
}

/// Batches of an idempotent producer, as they arrive from clients.
fn fill_from_producers(log: &Log) {
    let mut builder = BatchBuilder::new();
    for (round, compression) in codecs().cycle().take(40).enumerate() {
        builder.compression(compression).producer(3000, 2, round as i32 * 20);
        for n in 0..20 {
            builder.push_record(&record(n), Timestamp::NONE).unwrap();
        }
        log.append_batch(builder.build().unwrap()).unwrap();
        builder.clear();
    }
}

#[test]
fn kafka_reads_our_logs() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(format!("{name}-0"));
    let mut names = Vec::new();
    for compression in codecs() {
        let name = compression.codec().name();
        let log = Log::open(dir(name), small().compression(compression).leader_epoch(3)).unwrap();
        fill(&log, 200);
        log.roll().unwrap();
        log.append(record(7)).unwrap();
        log.close().unwrap();
        names.push((name, "clean"));
    }
    let variants = [
        ("append-time", small().timestamp_type(TimestampType::LogAppendTime), "clean"),
        ("crashed", small(), "crashed"),
        ("preallocated", small().preallocate(true), "clean"),
        ("preallocated-crashed", small().preallocate(true), "crashed"),
        ("every-batch-indexed", small().index_interval_bytes(0), "clean"),
        ("index-full", small().index_bytes(48), "clean"),
        ("one-segment", small().segment_bytes(1 << 30), "clean"),
        ("empty", small(), "clean"),
        ("producers", small(), "clean"),
    ];
    for (name, config, how) in variants {
        let log = Log::open(dir(name), config).unwrap();
        match name {
            "empty" => {}
            "producers" => fill_from_producers(&log),
            _ => fill(&log, 200),
        }
        if how == "clean" {
            log.close().unwrap();
        }
        names.push((name, how));
    }
    let mut script = Vec::new();
    for (name, how) in &names {
        // After a crash the active segment has no index, and perhaps preallocated space after its
        // last batch: once Kafka has recovered it, the tool has whole files to read.
        let mut steps = [
            format!("dump {}", dir(name).display()),
            format!("load {} {how}", dir(name).display()),
        ];
        if *how == "crashed" {
            steps.reverse();
        }
        script.extend(steps);
    }
    let mut printed = run(kafka, &script).into_iter();
    let (mut records, mut segments) = (0, 0);
    for (name, how) in &names {
        // Kafka has closed it by now; its own files lie beside ours.
        let log = Log::open(dir(name), small()).unwrap();
        assert!(log.verify().unwrap().is_empty(), "{name}: {:?}", log.verify());
        let ours = contents(&log);
        let mut parts = [printed.next().unwrap(), printed.next().unwrap()];
        if *how == "crashed" {
            parts.reverse();
        }
        if *name == "preallocated-crashed" {
            // The message of Kafka about preallocated space after the last batch, in its own logs
            // too.
            let first = parts[1].iter().position(|line| line.starts_with("B ")).unwrap();
            let warned: Vec<String> = parts[1].drain(..first).collect();
            assert!(warned[0].contains("Found invalid messages in log segment"), "{warned:?}");
            assert_eq!(warned.iter().filter(|line| line.contains("] WARN ")).count(), 1);
        }
        same(&parts[1], &ours, name);
        check_dump(&parts[0], &log, name);
        records += ours.iter().filter(|line| line.starts_with("R ")).count();
        segments += log.stats().unwrap().segments.len();
    }
    say(&format!(
        "kafka: reads {records} records in {segments} segments of {} logs as we do",
        names.len()
    ));
}

#[test]
fn kafka_logs_are_read_and_continued() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(format!("{name}-0"));
    let made = run(
        kafka,
        &[
            format!("write {} CREATE", dir("create").display()),
            format!("write {} APPEND", dir("append").display()),
        ],
    );
    let names = ["create", "create-as-crashed", "append", "append-as-crashed"];
    let mut ours = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let follower = Log::open_read_only(dir(name), small()).unwrap();
        same(&made[at / 2], &contents(&follower), name);
        let log = Log::open(dir(name), small().leader_epoch(9)).unwrap();
        same(&made[at / 2], &contents(&log), name);
        assert_eq!(log.recovery().truncated_bytes, 0, "{name}");
        assert!(log.recovery().unknown_files.is_empty(), "{name}: {:?}", log.recovery());
        assert!(log.verify().unwrap().is_empty(), "{name}: {:?}", log.verify());
        fill(&log, 50);
        ours.push(contents(&log));
        log.close().unwrap();
    }
    let mut script = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let how = if at % 2 == 0 { "clean" } else { "crashed" };
        script.push(format!("load {} {how}", dir(name).display()));
        script.push(format!("append {} 100", dir(name).display()));
    }
    let printed = run(kafka, &script);
    for (at, name) in names.iter().enumerate() {
        same(&printed[at * 2], &ours[at], name);
        let log = Log::open(dir(name), small()).unwrap();
        same(&printed[at * 2 + 1], &contents(&log), name);
        assert!(log.verify().unwrap().is_empty(), "{name}: {:?}", log.verify());
    }
    let records: usize = ours.iter().flatten().filter(|line| line.starts_with("R ")).count();
    say(&format!("kafka: continues after us in {} logs of {records} records", names.len()));
}

/// Batches of 1 to 30 records with a key, a third of the keys used once, and some without a value,
/// in these codecs.
fn fill_keyed(log: &Log, codecs: &[Compression]) {
    let mut made = 0;
    let mut sequences = [0; 3];
    for round in 0..150 {
        let mut builder = BatchBuilder::new();
        builder.compression(codecs[round % codecs.len()]);
        let records = 1 + round * 7 % 30;
        if round % 4 == 0 {
            let producer = round % 3;
            builder.producer(3000 + producer as i64, 1, sequences[producer]);
            sequences[producer] += records as i32;
        }
        for _ in 0..records {
            made += 1;
            let key = if made % 3 == 0 { made } else { made * 7 % 60 };
            let record = record(made).key(format!("key {key}"));
            builder.push_record(&record, Timestamp::NONE).unwrap();
        }
        log.append_batch(builder.build().unwrap()).unwrap();
    }
    log.roll().unwrap();
    log.append(Record::new("not cleaned").key("key 1")).unwrap();
}

#[test]
fn kafka_compacts_to_same_records() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let plain: Vec<_> = codecs().take(1).collect();
    let all: Vec<_> = codecs().collect();
    let noon = T0 + 1_000_000;
    let times = [noon, noon + 1000, noon + 86_400_000 + 1];
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(noon)));
    let config = small().index_bytes(65_536).clock(clock.clone()).leader_epoch(3);
    let config = config.cleanup_policy(CleanupPolicy::Compact);
    let (mut script, mut ours) = (Vec::new(), Vec::new());
    for (name, codecs) in [("plain", &plain), ("packed", &all)] {
        let dir = |who: &str| root.path().join(format!("{name}-{who}-0"));
        let log = Log::open(dir("ours"), config.clone()).unwrap();
        fill_keyed(&log, codecs);
        log.close().unwrap();
        std::fs::create_dir(dir("theirs")).unwrap();
        for entry in std::fs::read_dir(dir("ours")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir("theirs").join(entry.file_name())).unwrap();
        }
        let log = Log::open(dir("ours"), config.clone()).unwrap();
        let upto = log.stats().unwrap().segments.last().unwrap().base_offset;
        for time in times {
            clock.set(Timestamp::from_millis(time));
            log.compact().unwrap();
            ours.push((name, time, stored(&log)));
            script.push(format!("clean {} {upto} {time}", dir("theirs").display()));
        }
        assert!(log.verify().unwrap().is_empty());
        log.close().unwrap();
        script.push(format!("dump {}", dir("ours").display()));
        script.push(format!("load {} clean", dir("ours").display()));
    }
    let printed = run(kafka, &script);
    let is_pass = |(_, line): &(&Vec<String>, &String)| line.starts_with("clean ");
    let passes = printed.iter().zip(&script).filter(is_pass).map(|(printed, _)| printed);
    for (theirs, (name, time, ours)) in passes.zip(&ours) {
        // Compressors are not the same ones: their sizes differ, and nothing else.
        let comparable = |line: &String| match line.strip_prefix("S ") {
            Some(rest) if *name == "packed" => rest.split(' ').next().unwrap().to_owned(),
            _ => line.clone(),
        };
        let [theirs, ours] =
            [theirs, ours].map(|lines| lines.iter().map(comparable).collect::<Vec<_>>());
        same(&theirs, &ours, &format!("{name} at {time}"));
    }
    let kept = |at: usize| ours[at].2.iter().filter(|line| line.starts_with("R ")).count();
    assert!(kept(0) == kept(1) && kept(2) < kept(1), "tombstones stay for a day");
    say(&format!("kafka: compacts {} records to the same {}", kept(0), kept(2)));
}
