//! Logs and files that several tests begin with.

use crate::tool::{run, run_with};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The first segment of a log in `t-0`, without its extension.
pub const FIRST: &str = "t-0/00000000000000000000";

/// Stored logs and files, which the tests of the library read as well.
pub fn vectors(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(of)
}

/// A copy of a stored log.
pub fn copy_log(of: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t-0")).unwrap();
    for entry in fs::read_dir(vectors("logs").join(of)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join("t-0").join(entry.file_name())).unwrap();
    }
    dir
}

/// A log of several segments, closed in order.
pub fn many(records: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..records)
        .map(|n| json!({ "timestamp": 1000 + n, "value": format!("value-{n}") }).to_string())
        .collect();
    let args = ["append", "t-0", "--format", "json", "--batch-records", "10"];
    let config = ["--segment-bytes", "4096", "--index-interval-bytes", "200"];
    run_with(dir.path(), &[args.as_slice(), &config].concat(), lines.join("\n").as_bytes()).ok();
    dir
}

/// A log with a flipped bit in the batch of offsets 30 to 39, closed in order.
pub fn damaged() -> TempDir {
    let dir = many(100);
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() * 35 / 100;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    dir
}

/// The files of a log, by name.
pub fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
}

/// A data directory `d` with a topic.
pub fn with_topic(topic: &str, partitions: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["topics", "d", "create", topic, "--partitions", partitions]).ok();
    dir
}

/// The names of the fields of a line, in order.
pub fn keys(line: &Value) -> Vec<&String> {
    line.as_object().unwrap().keys().collect()
}

/// All files below a directory, and what is in them.
pub fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}
