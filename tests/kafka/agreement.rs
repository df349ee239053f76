//! Kafka's own code reads what this crate writes, and the other way round.
//!
//! Runs with `ANNALS_KAFKA=1`, where Maven and Java 17 are; `ANNALS_REQUIRE_KAFKA=1` makes their
//! absence a failure. Kafka's side is `tests/kafka/`.

use annals::inspect::producer_snapshot;
use annals::record::{BatchBuilder, BatchHeader, Compression, RecordRef};
use annals::{
    AutoOffsetReset, CleanupPolicy, Codec, ConsumerConfig, Error, GroupCoordinatorConfig, Log,
    LogConfig, ManualClock, OffsetAndMetadata, ProducerState, Record, StartAt, Store, StoreConfig,
    Timestamp, TimestampType, TopicConfig, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::build::{kafka, say};
use support::T0;

/// Kafka, to do what the lines of a file say.
fn java(kafka: &Path, script: &Path) -> Command {
    let classpath = std::env::join_paths([kafka.join("classes"), kafka.join("lib/*")]).unwrap();
    let mut command = Command::new("java");
    command.arg("-cp").arg(classpath).arg("KafkaAgrees").arg(script);
    command
}

/// Has Kafka do what the lines say, and returns what it printed for each.
fn run(kafka: &Path, script: &[String]) -> Vec<Vec<String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script.join("\n")).unwrap();
    let output = java(kafka, file.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let end = || said.chars().rev().take(3000).collect::<Vec<_>>().into_iter().rev();
    assert!(
        output.status.success() && said.ends_with("### done\n"),
        "{}{}",
        end().collect::<String>(),
        String::from_utf8_lossy(&output.stderr)
    );
    let mut parts: Vec<Vec<String>> = Vec::new();
    for line in said.lines() {
        if line.starts_with("### ") {
            parts.push(Vec::new());
        } else {
            parts.last_mut().unwrap().push(line.to_owned());
        }
    }
    assert_eq!(parts.len(), script.len() + 1);
    parts
}

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
fn stored(log: &Log) -> Vec<String> {
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

fn same(theirs: &[String], ours: &[String], name: &str) {
    for (theirs, ours) in theirs.iter().zip(ours) {
        assert_eq!(theirs, ours, "{name}: Kafka reads the first, we the second");
    }
    let more = theirs.get(ours.len()..).unwrap_or_default();
    assert_eq!(theirs.len(), ours.len(), "{name}: Kafka says more: {more:#?}");
}

fn small() -> LogConfig {
    LogConfig::default().segment_bytes(65_536).index_interval_bytes(512)
}

fn record(n: usize) -> Record {
    let at = T0 + (n / 2 * 10) as i64 - if n.is_multiple_of(17) { 500 } else { 0 };
    let words = format!("{n} real words, again and again; ");
    let mut record = Record::new(words.repeat(n % 23)).timestamp(Timestamp::from_millis(at));
    if !n.is_multiple_of(5) {
        record = record.key(format!("key-{}", n % 11));
    }
    if n % 13 == 1 {
        record = record.null_value();
    }
    if n.is_multiple_of(3) {
        record = record.header("a", vec![1, n as u8]).header("a", "").header_null("\u{e9}\u{6f22}");
    }
    record
}

/// Batches of 1 to 40 records, and one that nearly fills a segment.
fn fill(log: &Log, batches: usize) {
    let mut made = 0;
    for round in 0..batches {
        let count = 1 + round * 7 % 40;
        log.append_all((made..made + count).map(record)).unwrap();
        made += count;
    }
    let large = Record::new("large ".repeat(10_000)).timestamp(Timestamp::from_millis(T0));
    log.append(large).unwrap();
    log.append(record(1)).unwrap();
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

/// Numbered batches, as `KafkaAgrees.number` makes them.
fn number(log: &Log, from: i32) {
    for n in from..from + 60 {
        let (round, count, producer) = (n / 3, 1 + n % 3 * 2, n % 3);
        let epoch = if producer == 1 { round / 8 } else { 2 };
        let sequence = match producer {
            0 => round * count,
            1 => round % 8 * count,
            _ => (i32::MAX - 22).wrapping_add(round * count) & i32::MAX,
        };
        let mut builder = BatchBuilder::new();
        builder.producer(5000 + i64::from(producer), epoch as i16, sequence);
        for _ in 0..count {
            let time = Timestamp::from_millis(T0 - 1000 + i64::from(n));
            builder.push(time, Some(b"key"), Some(&[0; 1500])).unwrap();
        }
        let appended = log.append_batch(builder.build().unwrap()).unwrap();
        assert!(!appended.duplicate, "{n}");
    }
}

fn producer_lines(states: &[ProducerState]) -> Vec<String> {
    let line = |state: &ProducerState| {
        format!(
            "P {} {} {} {} {} {} {} {}",
            state.producer_id,
            state.producer_epoch,
            state.last_sequence,
            state.last_offset,
            state.offset_delta,
            state.last_timestamp.as_millis(),
            state.coordinator_epoch,
            state.current_txn_first_offset
        )
    };
    states.iter().map(line).collect()
}

/// The output of `KafkaAgrees.producers` for the snapshots: as we read the files that are there.
fn snapshot_lines(dir: &Path) -> BTreeMap<u64, Vec<String>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let snapshots = files.filter(|path| path.extension().is_some_and(|end| end == "snapshot"));
    snapshots
        .map(|path| {
            let offset = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let states = producer_snapshot(&annals::fs::DiskFs, &path).unwrap();
            (offset, producer_lines(&states))
        })
        .collect()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The output of Kafka: its producers, and those of each snapshot.
fn kafkas(printed: &[String]) -> (Vec<String>, BTreeMap<u64, Vec<String>>) {
    let mut parts = printed.split(|line| line.starts_with("F "));
    let live = parts.next().unwrap().to_vec();
    let offsets = printed.iter().filter_map(|line| line.strip_prefix("F ")?.parse().ok());
    (live, offsets.zip(parts.map(<[String]>::to_vec)).collect())
}

#[test]
fn kafka_knows_same_producers() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(format!("{name}-0"));
    let noon = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = small().clock(noon).leader_epoch(3);
    let open = |name: &str| Log::open(dir(name), config.clone()).unwrap();
    let ways = ["clean", "crashed"];

    // Ours, closed and killed, then theirs.
    let log = open("ours");
    number(&log, 0);
    copy_dir(&dir("ours"), &dir("ours-killed"));
    log.close().unwrap();
    let known = producer_lines(&open("ours-killed").producers().unwrap());
    assert_eq!(known.len(), 3);
    let (ours, of_ours) =
        (["ours", "ours-killed"], ["ours", "ours-killed"].map(|name| snapshot_lines(&dir(name))));
    let mut script = Vec::new();
    for (name, how) in ours.iter().zip(ways) {
        script.push(format!("producers {} {T0} {how}", dir(name).display()));
        script.push(format!("number {} {T0} 60", dir(name).display()));
    }
    script.push(format!("number {} {T0} 0", dir("theirs").display()));
    let printed = run(kafka, &script);
    for (at, (name, mine)) in ours.iter().zip(&of_ours).enumerate() {
        let (live, snapshots) = kafkas(&printed[at * 2]);
        same(&live, &known, name);
        assert!(mine.len() >= 2, "{name}: {mine:?}");
        for (offset, lines) in mine {
            // Kafka drops one where the log begins.
            assert!(*offset == 0 || snapshots.get(offset) == Some(lines), "{name}, {offset}");
        }
        // Kafka continued, and we continue after it.
        let log = open(name);
        same(&printed[at * 2 + 1], &producer_lines(&log.producers().unwrap()), name);
        number(&log, 120);
        log.close().unwrap();
    }

    let theirs = ["theirs", "theirs-as-crashed"];
    let mut script = Vec::new();
    let mut expected = Vec::new();
    for (name, how) in theirs.iter().zip(ways) {
        let snapshots = snapshot_lines(&dir(name));
        assert!(snapshots.values().filter(|lines| lines.len() == 3).count() >= 2, "{name}");
        let log = open(name);
        same(&printed[4], &producer_lines(&log.producers().unwrap()), name);
        assert!(log.recovery().unknown_files.is_empty(), "{name}: {:?}", log.recovery());
        number(&log, 60);
        expected.push(producer_lines(&log.producers().unwrap()));
        let copy = format!("{name}-and-killed");
        copy_dir(&dir(name), &dir(&copy));
        log.close().unwrap();
        for (name, how) in [(*name, how), (&copy, "crashed")] {
            script.push(format!("producers {} {T0} {how}", dir(name).display()));
        }
    }
    for name in ours {
        script.push(format!("producers {} {T0} clean", dir(name).display()));
        expected.push(producer_lines(&open(name).producers().unwrap()));
    }
    let printed = run(kafka, &script);
    for (at, printed) in printed.iter().take(script.len()).enumerate() {
        let expected = &expected[if at < 4 { at / 2 } else { at - 2 }];
        same(&kafkas(printed).0, expected, &script[at]);
    }
    say(&format!("kafka: knows the same producers in {} logs", script.len() + 4));
}

/// Two groups with members, one of them static, one that only has offsets, and one that was
/// deleted.
fn fill_groups(store: &Store) -> Vec<annals::Consumer> {
    let orders = store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let users = store.create_topic("users", TopicConfig::default()).unwrap();
    for log in orders.partitions().iter().chain(&*users.partitions()) {
        log.append_all((0..5).map(record)).unwrap();
    }
    let config = |group: &str, client: &str| {
        ConsumerConfig::new(group).client_id(client).auto_offset_reset(AutoOffsetReset::Earliest)
    };
    let mut consumers = Vec::new();
    for config in [
        config("billing", "first").instance_id("static"),
        config("billing", "second").session_timeout(std::time::Duration::from_secs(60)),
        config("shipping", "third"),
    ] {
        let mut consumer = store.consumer(config).unwrap();
        consumer.subscribe(["orders", "users"]).unwrap();
        consumers.push(consumer);
    }
    for _ in 0..8 {
        consumers.iter_mut().for_each(|consumer| drop(consumer.poll(Default::default()).unwrap()));
    }
    consumers.iter_mut().for_each(|consumer| consumer.commit().unwrap());
    let at = |number| TopicPartition::new("orders", number);
    let mine = consumers[2].assignment()[0].clone();
    let committed =
        OffsetAndMetadata { offset: 3, leader_epoch: Some(7), metadata: "\u{e9}".into() };
    consumers[2].commit_offsets([(mine, committed)]).unwrap();
    let admin = store.admin();
    for group in ["audit", "gone"] {
        let offsets = [(at(0), 1.into()), (at(2), 5.into())].into();
        admin.alter_offsets(group, offsets).unwrap();
    }
    admin.delete_offsets("audit", [at(0)]).unwrap();
    admin.delete_group("gone").unwrap();
    consumers
}

/// The groups of a store, as Kafka's side prints them, without their leader.
fn groups_of(store: &Store) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for listed in store.admin().list_groups().unwrap().groups {
        let group = store.admin().describe_group(&listed.group).unwrap();
        let name = &group.group;
        for (at, offset) in &group.offsets {
            let OffsetAndMetadata { offset, leader_epoch, metadata } = &offset.committed;
            let epoch = leader_epoch.unwrap_or(-1);
            let place = format!("O {name} {} {}", at.topic, at.partition);
            lines.insert(format!("{place} {offset} {epoch} '{metadata}' {T0} -1"));
        }
        if let Some(assignor) = &group.assignor {
            lines.insert(format!("G {name} consumer {} {assignor} {T0}", group.generation));
        }
        for member in group.members {
            let mut assigned: Vec<String> = member
                .assignment
                .iter()
                .map(|at| format!("{}-{}", at.topic, at.partition))
                .collect();
            assigned.sort();
            let session = if member.client_id == "second" { 60_000 } else { 45_000 };
            let instance = member.instance_id.unwrap_or("null".to_owned());
            lines.insert(format!(
                "M {name} {} {instance} {} /127.0.0.1 300000 {session} orders,users {}",
                member.member_id,
                member.client_id,
                assigned.join(",")
            ));
        }
    }
    lines
}

#[test]
fn kafka_knows_same_groups() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let groups = GroupCoordinatorConfig::default().offsets_partitions(3);
    let config = StoreConfig::default().clock(clock).group_coordinator(groups).maintenance(None);
    let store = Store::open(root.path(), config).unwrap();
    let consumers = fill_groups(&store);
    let script: Vec<String> = (0..3)
        .map(|number| {
            format!("groups {}", root.path().join(format!("__consumer_offsets-{number}")).display())
        })
        .collect();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut records, mut tombstones) = (0, 0);
    for line in run(kafka, &script).into_iter().flatten() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "M" {
            known.get_mut(&format!("G {}", words[1])).unwrap().push(line);
            continue;
        }
        records += 1;
        let key = words[..if words[0] == "O" { 4 } else { 2 }].join(" ");
        if words.last() == Some(&"-") {
            tombstones += 1;
            known.remove(&key);
        } else if words[0] == "O" {
            known.insert(key, vec![line]);
        } else {
            // The leader is a member, or there is none.
            let head = [&words[..5], &words[6..]].concat().join(" ");
            assert!(words[5] == "null" || words[5].contains('-'), "{line}");
            known.insert(key, vec![head]);
        }
    }
    let theirs: BTreeSet<String> = known.into_values().flatten().collect();
    assert_eq!(theirs, groups_of(&store));
    assert!(tombstones >= 3, "{tombstones}");
    assert_eq!(theirs.iter().filter(|line| line.starts_with("M ")).count(), consumers.len());
    say(&format!("kafka: knows the same groups from {records} records"));
}

/// Kafka starts on a directory that a store has closed, and a store on the directory that Kafka
/// leaves, several times.
#[test]
fn directory_alternates_between_store_and_broker() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = StoreConfig::default().clock(clock).maintenance(None);
    let mut records = 0;
    for round in 0..3 {
        let store = Store::open(root.path(), config.clone()).unwrap();
        if round == 0 {
            let settings = TopicConfig::default().partitions(3).segment_bytes(65_536);
            store.create_topic("orders", settings).unwrap();
            store.create_topic("users", TopicConfig::default()).unwrap();
        }
        let mut expected = vec!["C true".to_owned()];
        for topic in store.topics() {
            for (number, log) in topic.partitions().iter().enumerate() {
                let is_clean = round == 0 || log.recovery().clean_shutdown;
                assert!(is_clean, "round {round}: {:?}", log.recovery());
                assert_eq!(log.verify().unwrap(), []);
                fill(log, 20);
                log.delete_before(log.offsets().end / 3).unwrap();
                let (name, ends) = (format!("{}-{number}", topic.name()), log.offsets());
                let (start, end, id) = (ends.start, ends.end, topic.id());
                expected.push(format!("L {name} {start} {end} {end} {id}"));
                expected.push(format!("A {name} {}", end + 30));
                records += end;
            }
        }
        store.close().unwrap();
        let mut printed = run(kafka, &[format!("broker {} 30", root.path().display())]).remove(0);
        // It has no cleaner, and announces a change in a later release.
        printed.retain(|line| !line.contains("The config `log.cleaner.enable` is deprecated"));
        same(&printed, &expected, "the directory");
        let store = Store::open(root.path(), config.clone()).unwrap();
        for topic in store.topics() {
            for (number, log) in topic.partitions().iter().enumerate() {
                let ends = log.offsets();
                let appended = format!("A {}-{number} {}", topic.name(), ends.end);
                assert!(expected.contains(&appended), "{appended}: {expected:?}");
                let read = log.reader(StartAt::Earliest).unwrap().records().map(Result::unwrap);
                assert_eq!(read.count() as u64, ends.end - ends.start);
            }
        }
        store.close().unwrap();
    }
    say(&format!("kafka: a directory of {records} records went to a broker and back three times"));
}

/// A directory has one owner, of either kind.
#[test]
fn broker_and_store_exclude_each_other() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let lock = [format!("lock {}", dir.display())];
    let store = Store::open(&dir, StoreConfig::default()).unwrap();
    assert_eq!(run(kafka, &lock)[0], ["K false"]);
    // A rejected opening in this process takes nothing from the owner of the directory.
    Store::open(&dir, StoreConfig::default()).unwrap_err();
    assert_eq!(run(kafka, &lock)[0], ["K false"]);
    store.close().unwrap();
    assert_eq!(run(kafka, &lock)[0], ["K true"]);

    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), format!("hold {}", dir.display())).unwrap();
    let mut broker =
        java(kafka, script.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(broker.stdout.take().unwrap()).lines();
    let held = said.map(Result::unwrap).find(|line| line.starts_with("K ")).unwrap();
    assert_eq!(held, "K true");
    let rejected = Store::open(&dir, StoreConfig::default()).unwrap_err();
    assert!(matches!(rejected, Error::Locked { holder: None, .. }), "{rejected}");
    drop(broker.stdin.take());
    broker.wait().unwrap();
    Store::open(&dir, StoreConfig::default()).unwrap();
}
