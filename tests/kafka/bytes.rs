//! Compressed records and headers in every form that clients write: read here as Kafka reads them.
//!
//! `Corpus` in `tests/kafka/` makes the batches, and Kafka's own reader and the checks of a broker
//! say what is in them. Their answers for the small batches are stored in `vectors/bytes.txt`, and
//! every run compares what is read here with that file. With `ANNALS_KAFKA=1`, the whole corpus is
//! made and read anew, and Kafka reads batches of every codec and level that are written here.
//! `ANNALS_KAFKA_STORE=1` also writes `vectors/bytes.txt` anew.

use annals::fs::MemFs;
use annals::record::{
    BatchBuilder, BatchRef, Compression, DecodeBuffer, RecordBatch, RecordRef, crc32c,
};
use annals::{InvalidBatch, Log, LogConfig, Record, StartAt, Timestamp};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{kafka, say};
use support::T0;

/// Cases that Kafka rejects and that are read here, by the start of their names.
const ONLY_WE_READ: &[(&str, &str)] = &[
    ("large-linked-lz4", "linked blocks are what many LZ4 encoders write by default"),
    ("lz4-linked", "linked blocks are what many LZ4 encoders write by default"),
    ("lz4-frames", "a file of LZ4 can have several frames; Kafka reads the first"),
    ("lz4-empty-frame-first", "a file of LZ4 can have several frames; Kafka reads the first"),
    ("lz4-skippable-first", "a file of LZ4 can have skippable frames"),
    ("bad-gzip-header-crc", "the checksum of the batch covers the header of the member"),
    ("zstd-window-over", "the output is the window here: a large one takes no memory"),
];

/// Cases that Kafka reads and that are rejected here.
const ONLY_KAFKA_READS: &[(&str, &str)] = &[
    ("lz4-half-frame-behind", "Kafka reads no second frame; here it is read, and is cut off"),
    ("lz4-frame-with-more-behind", "Kafka reads no second frame; here it has records too many"),
    ("batch-offsets-missing", "an offset above the last of the batch would be another record's"),
    ("batch-offsets-repeated", "no offset can have two records; with a codec Kafka rejects it too"),
    ("zstd-half-", "a frame that is cut off, which Kafka's library passes over in silence"),
];

/// Cases that a broker also appends, and that are read but not appended here.
const ONLY_A_BROKER_APPENDS: &[(&str, &str)] =
    &[("batch-delete-horizon", "tombstones that arrive now would be removed before their time")];

fn sum(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".to_owned(), |bytes| format!("{}:{:08x}", bytes.len(), crc32c(bytes)))
}

/// As `KafkaBytes` prints it: names as text, in which Java and Rust do not count replaced bytes
/// alike.
fn line(record: &RecordRef<'_>) -> String {
    let at = record.timestamp.as_millis();
    let mut line = format!("R {} {at} {} {}", record.offset, sum(record.key), sum(record.value));
    for header in record.headers.iter() {
        let mut name = header.name.to_string();
        while name.contains("\u{fffd}\u{fffd}") {
            name = name.replace("\u{fffd}\u{fffd}", "\u{fffd}");
        }
        write!(line, " {}={}", sum(Some(name.as_bytes())), sum(header.value)).unwrap();
    }
    line
}

fn read(bytes: &[u8]) -> Result<Vec<String>, InvalidBatch> {
    let batch = BatchRef::parse(bytes)?;
    batch.verify_checksum()?;
    let mut scratch = DecodeBuffer::default();
    batch.records(&mut scratch)?.map(|record| record.map(|record| line(&record))).collect()
}

/// Kafka's answer for a case: its records or the rejection, and the answer of a broker that
/// receives it.
#[derive(Debug, Clone, Default)]
struct Said {
    records: Vec<String>,
    rejected: Option<String>,
    broker: String,
}

impl Said {
    fn take(&mut self, line: &str) {
        match line.split_at(2) {
            ("R ", _) => self.records.push(line.to_owned()),
            ("X ", class) => self.rejected = Some(class.to_owned()),
            ("V ", answer) => answer.clone_into(&mut self.broker),
            _ => panic!("{line}"),
        }
    }
}

fn reason(list: &'static [(&str, &str)], name: &str) -> Option<&'static str> {
    list.iter().find(|(start, _)| name.starts_with(start)).map(|(_, why)| *why)
}

/// The same records, or rejected by both, unless the difference is listed. The differences are
/// printed.
fn compare(name: &str, bytes: &[u8], kafka: &Said) -> Result<(), String> {
    let ours = read(bytes);
    let (we_read, they_read) = (reason(ONLY_WE_READ, name), reason(ONLY_KAFKA_READS, name));
    match (&kafka.rejected, ours) {
        (Some(_), Err(_)) | (None, Ok(_)) if we_read.or(they_read).is_some() => {
            Err(format!("{name}: Kafka's answer is ours: it does not belong into a list"))
        }
        (None, Ok(ours)) if ours != kafka.records => {
            Err(format!("{name}: Kafka reads {:#?}, we {ours:#?}", kafka.records))
        }
        (Some(class), Ok(ours)) if we_read.is_none() => {
            Err(format!("{name}: Kafka rejects it ({class}), we read {ours:#?}"))
        }
        (None, Err(error)) if they_read.is_none() => {
            Err(format!("{name}: Kafka reads {} records, we: {error}", kafka.records.len()))
        }
        _ => Ok(()),
    }
}

fn all(problems: impl Iterator<Item = Result<(), String>>) {
    let problems: Vec<String> = problems.filter_map(Result::err).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn stored_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/bytes.txt")
}

/// The cases in `vectors/bytes.txt`: "F NAME", "B" and the batch in hexadecimal, then the answer
/// of Kafka.
fn stored() -> BTreeMap<String, (Vec<u8>, Said)> {
    let text = std::fs::read_to_string(stored_path()).unwrap();
    let mut cases = BTreeMap::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(next) = line.strip_prefix("F ") {
            name = next;
            cases.insert(name.to_owned(), (Vec::new(), Said::default()));
            continue;
        }
        let (bytes, said) = cases.get_mut(name).unwrap();
        match line.strip_prefix("B ") {
            Some(hex) => *bytes = unhex(hex),
            None => said.take(line),
        }
    }
    cases
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
    digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
}

#[test]
fn stored_batches_decode_as_in_kafka() {
    let cases = stored();
    assert!(cases.len() > 100, "{}", cases.len());
    all(cases.iter().map(|(name, (bytes, said))| compare(name, bytes, said)));
}

/// `append_batch` appends what a broker appends and rejects what a broker rejects, except for
/// batches that only annals can read.
#[test]
fn append_batch_accepts_what_broker_accepts() {
    all(stored().iter().map(|(name, (bytes, said))| {
        let log = Log::open("t-0", LogConfig::default().fs(MemFs::new())).unwrap();
        let batch = RecordBatch::parse(Bytes::copy_from_slice(bytes));
        let ours = batch.map_err(Into::into).and_then(|batch| log.append_batch(batch));
        match (said.broker.strip_prefix("ok "), ours) {
            (Some(_), Err(_)) if reason(ONLY_KAFKA_READS, name).is_some() => Ok(()),
            (Some(_), Err(_)) if reason(ONLY_A_BROKER_APPENDS, name).is_some() => Ok(()),
            (None, Ok(_)) if reason(ONLY_WE_READ, name).is_some() => Ok(()),
            (Some(_), Err(error)) => Err(format!("{name}: a broker appends it, we: {error}")),
            (None, Ok(_)) => {
                Err(format!("{name}: a broker rejects it ({}), we do not", said.broker))
            }
            (None, Err(_)) => Ok(()),
            (Some(stored), Ok(_)) => {
                let (kind, largest) = stored.split_once(' ').unwrap();
                let mut reader = log.reader(StartAt::Earliest).unwrap();
                let header = *reader.next_batch().unwrap().unwrap().header();
                let ours_kind = format!("{:?}", header.timestamp_type());
                let ours = (ours_kind.as_str(), header.max_timestamp.as_millis());
                let theirs = (kind, largest.parse::<i64>().unwrap());
                // For a batch with an append time, Kafka keeps that as the largest timestamp,
                // which the records can exceed.
                let same = ours == theirs || name.starts_with("batch-append-time");
                let same = same && ours.0 == theirs.0;
                same.then_some(()).ok_or_else(|| format!("{name}: stored {ours:?}, not {theirs:?}"))
            }
        }
    }));
}

/// Runs `KafkaBytes` on a directory, and returns what it said of each file.
fn run(kafka: &Path, what: &str, dir: &Path) -> BTreeMap<String, Said> {
    let classpath = std::env::join_paths([kafka.join("classes"), kafka.join("lib/*")]).unwrap();
    let mut command = Command::new("java");
    command.arg("-cp").arg(classpath).arg("KafkaBytes").arg(what).arg(dir);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = said.strip_suffix("done\n").unwrap_or_else(|| panic!("{errors}"));
    let mut cases: BTreeMap<String, Said> = BTreeMap::new();
    let mut name = "";
    for line in lines.lines() {
        match line.strip_prefix("F ") {
            Some(next) => name = next,
            None => cases.entry(name.to_owned()).or_default().take(line),
        }
    }
    cases
}

fn bytes_of(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(format!("{name}.bin"))).unwrap()
}

#[test]
fn corpus_decodes_as_in_kafka() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    run(kafka, "make", root.path());
    let cases = run(kafka, "read", root.path());
    if std::env::var("ANNALS_KAFKA_STORE").is_ok_and(|value| value == "1") {
        store(root.path(), &cases);
    }
    all(cases.iter().map(|(name, said)| compare(name, &bytes_of(root.path(), name), said)));
    let rejected = cases.values().filter(|said| said.rejected.is_some()).count();
    say(&format!("kafka: of {} batches {rejected} are rejected by Kafka", cases.len()));
    for (list, what) in [(ONLY_WE_READ, "only we read"), (ONLY_KAFKA_READS, "only Kafka reads")] {
        for (start, why) in list {
            let found = cases.keys().filter(|name| name.starts_with(start)).count();
            assert!(found > 0, "there is no {start}");
            say(&format!("kafka: {what} {found} batches {start}: {why}"));
        }
    }
}

/// Stores the small batches, and Kafka's answers.
fn store(dir: &Path, cases: &BTreeMap<String, Said>) {
    let mut text = "# Made by tests/kafka/bytes.rs; see there.\n".to_owned();
    for (name, said) in cases.iter().filter(|(name, _)| !name.starts_with("large-")) {
        writeln!(text, "F {name}\nB {}", hex(&bytes_of(dir, name))).unwrap();
        for record in &said.records {
            writeln!(text, "{record}").unwrap();
        }
        if let Some(class) = &said.rejected {
            writeln!(text, "X {class}").unwrap();
        }
        writeln!(text, "V {}", said.broker).unwrap();
    }
    std::fs::write(stored_path(), text).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Records in the shapes at which a codec or a reader could stumble.
fn shapes() -> Vec<(&'static str, Vec<Record>)> {
    let at = |n: usize| Timestamp::from_millis(T0 + n as i64);
    let mut random = 7u64;
    let mut noise = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as u8
    };
    let few = vec![
        Record::new("v").key("k").header("a", "1").header("a", "").header_null("a"),
        Record::new("").null_value().header(b"caf\xe9".to_vec(), vec![0xff]).header("", "e"),
        Record::tombstone("").header_null(vec![0xff, 0xfe]).header("n".repeat(3000), "long"),
    ];
    let mixed = |n: usize| {
        let repeated = format!("{n} words, again and again; ").repeat(n % 700);
        let value: Vec<u8> = if n.is_multiple_of(3) {
            (0..n * 97 % 20_000).map(|_| noise()).collect()
        } else {
            repeated.into_bytes()
        };
        Record::new(value).key(format!("key-{}", n % 11))
    };
    let mixed = (0..60).map(mixed).collect();
    let equal = vec![Record::new(vec![b'x'; 500_000])];
    let stamp = |records: Vec<Record>| {
        records.into_iter().enumerate().map(|(n, record)| record.timestamp(at(n))).collect()
    };
    [("few", few), ("mixed", mixed), ("equal", equal)].map(|(name, all)| (name, stamp(all))).into()
}

fn levels() -> Vec<Compression> {
    let zstd = [-131_072, -50, -5, -1, 0].into_iter().chain(1..=22);
    let gzip = [-1].into_iter().chain(1..=9).map(|level| Compression::Gzip { level });
    let zstd = zstd.map(|level| Compression::Zstd { level });
    let plain = [Compression::None, Compression::Snappy, Compression::Lz4];
    plain.into_iter().chain(gzip).chain(zstd).collect()
}

#[test]
fn kafka_decodes_our_batches() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    for (shape, records) in shapes() {
        for (n, compression) in levels().into_iter().enumerate() {
            let mut builder = BatchBuilder::new();
            builder.compression(compression);
            for record in &records {
                builder.push_record(record, Timestamp::NONE).unwrap();
            }
            let name = format!("{shape}-{n:02}-{}", compression.codec().name());
            let bytes = builder.finish().unwrap();
            std::fs::write(root.path().join(format!("{name}.bin")), &bytes[..]).unwrap();
        }
    }
    let cases = run(kafka, "read", root.path());
    assert_eq!(cases.len(), shapes().len() * levels().len());
    all(cases.iter().map(|(name, said)| {
        assert!(said.broker.starts_with("ok CreateTime "), "{name}: {}", said.broker);
        assert!(said.rejected.is_none(), "{name}: {:?}", said.rejected);
        compare(name, &bytes_of(root.path(), name), said)
    }));
    say(&format!("kafka: reads all {} batches that are written here", cases.len()));
}
