//! Kafka's own code reads what this crate writes, and the other way round.
//!
//! Runs with `ANNALS_KAFKA=1`, where Maven and Java 17 are; `ANNALS_REQUIRE_KAFKA=1` makes their
//! absence a failure. Kafka's side is `tests/kafka/`.

mod directories;
mod epochs;
mod logs;
mod replicas;
mod state;
mod transactions;

use annals::{Log, LogConfig, Record, Timestamp};
use std::path::Path;
use std::process::Command;
use support::T0;

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

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
