//! What the tool says of a damaged log, and does to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tool::{offsets, run, run_with};

#[path = "support/tool.rs"]
#[allow(dead_code)]
mod tool;

/// A log of several segments, closed in order.
fn many(records: u64) -> tempfile::TempDir {
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
fn damaged() -> tempfile::TempDir {
    let dir = many(100);
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() * 35 / 100;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    dir
}

/// The files of a log, without that of its lock, which names the process.
fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let entries = entries.filter(|entry| entry.file_name() != ".lock");
    let name = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect()
}

fn names(dir: &Path) -> Vec<String> {
    files_of(dir).into_keys().collect()
}

/// The advice was followed, and the log ended at the offset of the name, or repair failed after it
/// had covered the offsets up to there. Of an empty file, neither `verify` nor `info` told.
#[test]
fn file_that_is_none_of_the_log_skips_no_offset() {
    for bytes in [&b""[..], b"hello", b"root:x:0:0:root:/root:/bin/bash\n", &[0; 100]] {
        let dir = many(100);
        let log = dir.path().join("t-0");
        let stray = "t-0/00000000000099999999.log";
        fs::write(dir.path().join(stray), bytes).unwrap();
        let before = files_of(&log);
        for command in ["verify", "info", "repair"] {
            let told = run(dir.path(), &[command, "t-0"]);
            let printed = String::from_utf8_lossy(&told.stdout).into_owned() + &told.stderr;
            assert_eq!(told.code, 3, "{command}: {printed}");
            assert!(printed.contains("99999899 offsets"), "{command}: {printed}");
        }
        let verified = run(dir.path(), &["verify", "t-0"]).lines();
        assert_eq!((verified.len(), &verified[0]["file"]), (1, &json!(stray)));
        assert_eq!(run(dir.path(), &["info", "t-0"]).lines()[0]["end"], 100);
        run(dir.path(), &["append", "t-0"]).refused(2, "remove it");
        assert!(files_of(&log) == before);
        let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
        assert!(done.stderr.contains("ends at 100"), "{}", done.stderr);
        let saved = done.lines()[0]["moved_to"].as_str().unwrap().to_owned();
        assert_eq!(fs::read(dir.path().join(saved)).unwrap(), bytes);
        assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
        assert_eq!(run(dir.path(), &["info", "t-0"]).ok().lines()[0]["end"], 100);
    }
}

/// The run without `--execute` said nothing of them, and the one with it called them writes that
/// were cut short.
#[test]
fn truncate_tells_of_damaged_bytes_before_it_removes_them() {
    let dir = many(100);
    let log = dir.path().join("t-0");
    let last = names(&log).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    let sound = fs::read(log.join(&last)).unwrap();
    fs::write(log.join(&last), [&sound[..], &b"text of another program\n".repeat(100)].concat())
        .unwrap();
    let before = files_of(&log);
    let told = run(dir.path(), &["truncate", "t-0", "--to", "100"]);
    assert_eq!((told.code, files_of(&log) == before), (3, true), "{}", told.stderr);
    for part in [&last, "is damaged", "2400 bytes that are damaged"] {
        assert!(told.stderr.contains(part), "{}", told.stderr);
    }
    let done = run(dir.path(), &["truncate", "t-0", "--to", "100", "--execute"]).ok();
    assert!(done.stderr.contains("2400 bytes of damage"), "{}", done.stderr);
    assert!(!done.stderr.contains("cut short"), "{}", done.stderr);
    assert_eq!(fs::read(log.join(&last)).unwrap(), sound);
    let again = run(dir.path(), &["truncate", "t-0", "--to", "100"]).ok();
    assert!(!again.stderr.contains("damaged"), "{}", again.stderr);
}

/// They promised what `--execute` refused, and counted the records of damaged batches as none
/// without a word.
#[test]
fn runs_without_execute_tell_of_damage() {
    let dir = damaged();
    let refused = run(dir.path(), &["truncate", "t-0", "--to", "95", "--execute"]);
    let told = run(dir.path(), &["truncate", "t-0", "--to", "95"]);
    let expected = if refused.code == 0 { 3 } else { refused.code };
    assert_eq!(told.code, expected, "{} {}", told.stderr, refused.stderr);
    assert!(told.stderr.contains("is damaged at byte"), "{}", told.stderr);
    let dir = damaged();
    let told = run(dir.path(), &["delete-before", "t-0", "--offset", "50"]);
    assert!(told.stderr.contains("is damaged at byte"), "{}", told.stderr);
    let done = run(dir.path(), &["delete-before", "t-0", "--offset", "50", "--execute"]);
    assert_eq!(told.code, if done.code == 0 { 3 } else { done.code }, "{}", done.stderr);
}

/// Repair found an index that contradicts its log, mended nothing and said nothing.
#[test]
fn repair_removes_files_that_the_log_makes_again() {
    for extension in [".index", ".timeindex", ".snapshot"] {
        let dir = many(1000);
        let log = dir.path().join("t-0");
        let index = names(&log).into_iter().find(|name| name.ends_with(extension)).unwrap();
        let mut bytes = fs::read(log.join(&index)).unwrap();
        bytes[1..3].copy_from_slice(&[0xff; 2]);
        fs::write(log.join(&index), &bytes).unwrap();
        assert_eq!(run(dir.path(), &["verify", "t-0"]).code, 3);
        let told = run(dir.path(), &["repair", "t-0"]);
        let removed = format!("t-0/{index} would be removed");
        assert!(told.code == 3 && told.stderr.contains(&removed), "{}", told.stderr);
        let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
        assert!(done.stderr.contains(&format!("t-0/{index} was removed")), "{}", done.stderr);
        assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
        assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 1000);
    }
}

/// Repair of a log without a segment in its middle did not say which offsets went with it.
#[test]
fn repair_names_offsets_that_have_no_records() {
    let dir = many(1000);
    let log = dir.path().join("t-0");
    let mut logs = names(&log).into_iter().filter(|name| name.ends_with(".log"));
    let (lost, next) = (logs.nth(1).unwrap(), logs.next().unwrap());
    let offset = |name: &str| name.split('.').next().unwrap().parse::<u64>().unwrap();
    let (from, last) = (offset(&lost), offset(&next) - 1);
    fs::remove_file(log.join(&lost)).unwrap();
    let named = format!("offsets {from} to {last}");
    let told = run(dir.path(), &["repair", "t-0"]);
    assert!(told.stderr.contains(&named), "{}", told.stderr);
    let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
    assert!(done.stderr.contains(&named), "{}", done.stderr);
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}
