//! `dump` of logs that Kafka's own code writes.
//!
//! Runs with `ANNALS_KAFKA=1`, like the tests of the library that start Kafka: see
//! `tests/kafka/build.rs`.
#![cfg(all(feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip"))]

#[path = "../../tests/kafka/build.rs"]
mod build;

use crate::tool::tool;
use build::{kafka, say};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Returns the lines that `annals dump` prints for a directory, by the extension of the files. The
/// command must find no fault.
fn dumped_by_the_tool(dir: &Path, deep: bool) -> BTreeMap<String, Vec<Value>> {
    let mut command = tool();
    command.arg("dump").arg("--records").args(deep.then_some("--deep")).arg(dir);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", dir.display());
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut ending = String::new();
    let (mut files, mut others) = (0, 0);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        if let Some(path) = value["file"].as_str() {
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            ending = name.rsplit('.').next().unwrap().to_owned();
            found.entry(ending.clone()).or_default();
            files += 1;
        } else {
            found.get_mut(&ending).unwrap().push(value);
        }
    }
    for entry in fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        others += usize::from(name == "partition.metadata" || name == ".lock");
    }
    let there = fs::read_dir(dir).unwrap().count();
    assert!(files + others >= there, "{files} files of {there} in {}", dir.display());
    found
}

/// Compares the tool's lines for a log with Kafka's, in their common fields.
fn check_tool(dir: &Path, kafka: &[String], deep: bool) -> usize {
    let mut found = dumped_by_the_tool(dir, deep);
    let mut aborted = 0;
    let ours: Vec<String> = found["log"]
        .iter()
        .map(|line| {
            let field = |name: &str| line[name].to_string().trim_matches('"').to_owned();
            if line["valid"] == true {
                let kind = if line["timestamp_type"] == "create" { "CREATE" } else { "APPEND" };
                let fields = ["base_offset", "last_offset", "count", "compression"].map(field);
                let producer = ["producer_id", "producer_epoch", "base_sequence"].map(field);
                let rest = ["transactional", "control", "leader_epoch"].map(field);
                return format!(
                    "B {} {kind} {} {}",
                    fields.join(" "),
                    producer.join(" "),
                    rest.join(" ")
                );
            }
            aborted += usize::from(line["control"] == "abort");
            format!("R {} {}", field("offset"), field("timestamp"))
        })
        .collect();
    let theirs = kafka.iter().filter(|line| line.starts_with("B ") || line.starts_with("R "));
    let short = |line: &String| match line.strip_prefix("R ") {
        Some(_) => line.split(' ').take(3).collect::<Vec<_>>().join(" "),
        None => line.clone(),
    };
    for (theirs, ours) in theirs.clone().zip(&ours) {
        assert_eq!(&short(theirs), ours, "{}: Kafka reads the first", dir.display());
    }
    assert_eq!(theirs.count(), ours.len(), "{}", dir.display());
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let codec = format!(" {codec} ");
        assert!(ours.iter().any(|line| line.starts_with('B') && line.contains(&codec)), "{codec}");
    }

    let mut take = |ending: &str| found.remove(ending).unwrap_or_default();
    assert!(aborted > 5);
    let transactions = take("txnindex");
    assert_eq!(transactions.len(), aborted, "one entry for each transaction that was aborted");
    assert!(
        transactions
            .iter()
            .all(|entry| entry["first_offset"].as_u64() < entry["last_offset"].as_u64())
    );
    let producers: BTreeSet<_> =
        take("snapshot").iter().map(|entry| entry["producer_id"].as_u64().unwrap()).collect();
    assert_eq!(producers, BTreeSet::from([3000, 4001]));
    let epochs: Vec<_> = take("leader-epoch-checkpoint")
        .iter()
        .map(|entry| entry["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, [3, 4, 5, 6, 7, 8, 9]);
    assert!(take("index").len() > 20 && take("timeindex").len() > 20);
    ours.len()
}

/// Lets Kafka write two logs, and a copy of each as a crash leaves it. Returns what Kafka reads in
/// them.
fn written_by_kafka(kafka: &Path, dirs: [&Path; 2]) -> Vec<Vec<String>> {
    let script = tempfile::NamedTempFile::new().unwrap();
    let [create, append] = dirs.map(Path::display);
    fs::write(script.path(), format!("write {create} CREATE\nwrite {append} APPEND")).unwrap();
    let classpath = std::env::join_paths([kafka.join("classes"), kafka.join("lib/*")]).unwrap();
    let mut java = Command::new("java");
    let output = java.arg("-cp").arg(classpath).arg("KafkaAgrees").arg(script.path()).output();
    let output = output.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.ends_with("### done\n"), "{errors}");
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let parts: Vec<_> = lines.split(|line| line.starts_with("### ")).map(<[_]>::to_vec).collect();
    // One part comes before the first step, and one after the last.
    assert_eq!(parts.len(), dirs.len() + 2);
    parts[1..=dirs.len()].to_vec()
}

#[test]
fn dump_prints_what_kafka_reads() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(format!("{name}-0"));
    let made = written_by_kafka(kafka, [&dir("create"), &dir("append")]);
    let names = ["create", "create-as-crashed", "append", "append-as-crashed"];
    let mut lines = 0;
    for (at, name) in names.iter().enumerate() {
        // After a crash, the indexes of the last segment end in space that Kafka had reserved.
        lines += check_tool(&dir(name), &made[at / 2], at % 2 == 0);
    }
    say(&format!("kafka: the tool prints {lines} batches and records of {} logs", names.len()));
}
