//! `clean`: compaction and retention of one log, shown and done.

use crate::sample::{FIRST, copy_log, files_of, many};
use crate::tool::{Ran, offsets, run, run_with};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Values of four keys in turn, each round a batch; a segment holds four of them.
fn keyed(rounds: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..rounds * 4).map(|n| format!("key-{}=value-{n}\n", n % 4)).collect();
    let args = ["append", "t-0", "--key-separator", "=", "--batch-records", "4"];
    run_with(dir.path(), &[&args[..], &["--segment-bytes", "600"]].concat(), lines.as_bytes()).ok();
    dir
}

/// Cleans a log, and checks that the run without `--execute` showed the same result.
fn clean(dir: &Path, args: &[&str]) -> Ran {
    let before = files_of(&dir.join("t-0"));
    let told = run(dir, &[&["clean", "t-0"], args].concat());
    assert_eq!(files_of(&dir.join("t-0")), before, "nothing is changed without --execute");
    let done = run(dir, &[&["clean", "t-0", "--execute"], args].concat());
    assert_eq!((told.code, done.code == 0), (done.code, told.stderr.contains("--execute")));
    for (told, done) in told.lines().iter().zip(done.lines()) {
        let mut done = done.clone();
        done["executed"] = json!(false);
        assert_eq!(told, &done);
    }
    assert_eq!(told.lines().len(), done.lines().len());
    done
}

fn info(dir: &Path) -> Value {
    run(dir, &["info", "t-0"]).ok().lines().remove(0)
}

fn segments(info: &Value) -> i64 {
    info["segments"].as_array().unwrap().len().try_into().unwrap()
}

/// Compares a report of `clean` with the log before and after it.
#[track_caller]
fn agrees(report: &Ran, before: &Value, after: &Value, kept: usize, removed: usize) {
    let report = report.lines().remove(0);
    let keys: Vec<&String> = report.as_object().unwrap().keys().collect();
    let first = ["segments_removed", "bytes_removed", "records_kept", "records_removed"];
    assert_eq!(keys[..4], first);
    assert_eq!(keys[4..], ["tombstones_removed", "start", "end"]);
    assert_eq!(report["segments_removed"], segments(before) - segments(after));
    let bytes = |info: &Value| info["bytes"].as_i64().unwrap();
    assert_eq!(report["bytes_removed"], bytes(before) - bytes(after));
    assert_eq!(
        (&report["records_kept"], &report["records_removed"]),
        (&json!(kept), &json!(removed))
    );
    assert_eq!((&report["start"], &report["end"]), (&after["start"], &after["end"]));
}

/// The files of a log's segments, and their content.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir.join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let of_segments = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('0');
    let paths = entries.filter(of_segments);
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn compaction_keeps_last_values_and_active_segment() {
    let dir = keyed(20);
    let before = info(dir.path());
    let report = clean(dir.path(), &["--policy", "compact"]).ok();
    let after = info(dir.path());
    let read = offsets(&run(dir.path(), &["read", "t-0"]).ok());
    let active = after["segments"].as_array().unwrap().last().unwrap()["base_offset"].as_u64();
    let kept: Vec<u64> = (active.unwrap() - 4..80).collect();
    assert_eq!(read, kept);
    agrees(&report, &before, &after, kept.len(), 80 - kept.len());
    assert!(segments(&before) > 3);
    assert_eq!(segments(&after), 2);
    let again = clean(dir.path(), &["--policy", "compact"]).ok();
    agrees(&again, &after, &after, kept.len(), 0);
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());

    // A later record is compacted together with the earlier ones.
    let append = ["append", "t-0", "--key-separator", "=", "--segment-bytes", "100"];
    run_with(dir.path(), &append, b"key-0=new\n").ok();
    let before = info(dir.path());
    let report = clean(dir.path(), &["--policy", "compact", "--segment-bytes", "100"]).ok();
    agrees(&report, &before, &info(dir.path()), 5, kept.len() - 4);
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()), [76, 77, 78, 79, 80]);
    let seek = run(dir.path(), &["seek", "t-0", "--time", "0"]).ok().lines().remove(0);
    assert_eq!(seek["offset"], 76);
}

#[test]
fn tombstone_is_removed_after_retention() {
    let dir = tempfile::tempdir().unwrap();
    let lines = concat!(
        r#"{"timestamp":1000,"key":"a","value":"1"}"#,
        "\n",
        r#"{"timestamp":2000,"key":"a","value":null}"#,
        "\n",
        r#"{"timestamp":3000,"key":"b","value":"2"}"#,
        "\n",
        r#"{"timestamp":4000,"key":"c","value":"3"}"#,
        "\n",
    );
    let append = ["append", "t-0", "--format", "json", "--batch-records", "1"];
    run_with(dir.path(), &[&append[..], &["--segment-bytes", "80"]].concat(), lines.as_bytes())
        .ok();
    let at = |now: &str| {
        let args = ["--policy", "compact", "--now", now, "--delete-retention-ms", "1000"];
        let report = clean(dir.path(), &args).ok().lines().remove(0);
        let read = offsets(&run(dir.path(), &["read", "t-0"]).ok());
        (report["records_removed"].as_i64(), report["tombstones_removed"].as_i64(), read)
    };
    assert_eq!(at("10000"), (Some(1), Some(0), vec![1, 2, 3]));
    assert_eq!(at("10999"), (Some(0), Some(0), vec![1, 2, 3]));
    assert_eq!(at("11000"), (Some(1), Some(1), vec![2, 3]));
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

#[test]
fn compaction_skips_young_records() {
    let dir = tempfile::tempdir().unwrap();
    let line = |at: u64| json!({ "timestamp": at, "key": "a", "value": "v" }).to_string();
    let lines = [1000, 2000, 3000, 4000, 5000].map(line).join("\n");
    let append = ["append", "t-0", "--format", "json", "--batch-records", "1"];
    run_with(dir.path(), &[&append[..], &["--segment-bytes", "80"]].concat(), lines.as_bytes())
        .ok();
    for (lag, left) in [("4000", &[0, 1, 2, 3, 4][..]), ("3000", &[1, 2, 3, 4]), ("0", &[3, 4])] {
        let args = ["--policy", "compact", "--now", "5000", "--min-lag-ms", lag];
        clean(dir.path(), &args).ok();
        assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()), left, "{lag}");
    }
}

#[test]
fn retention_deletes_segments_by_age_and_size() {
    let dir = many(1000);
    let before = info(dir.path());
    let second = before["segments"][1]["base_offset"].as_u64().unwrap();
    let nothing = clean(dir.path(), &[]).ok();
    agrees(&nothing, &before, &before, 1000, 0);
    // The last record of the first segment is first as old as the limit, then older.
    let now = |more: u64| (1000 + second - 1 + 50 + more).to_string();
    let report = clean(dir.path(), &["--retention-ms", "50", "--now", &now(0)]).ok();
    agrees(&report, &before, &before, 1000, 0);
    let report = clean(dir.path(), &["--retention-ms", "50", "--now", &now(1)]).ok();
    let after = info(dir.path());
    assert_eq!(after["start"], second);
    agrees(&report, &before, &after, 1000 - second as usize, second as usize);

    let before = after;
    let limit = (before["bytes"].as_u64().unwrap() - 1).to_string();
    agrees(
        &clean(dir.path(), &["--retention-bytes", &limit]).ok(),
        &before,
        &before,
        1000 - second as usize,
        0,
    );
    let last = before["segments"].as_array().unwrap().last().unwrap();
    let limit = last["bytes"].to_string();
    let report = clean(dir.path(), &["--policy", "delete", "--retention-bytes", &limit]).ok();
    let after = info(dir.path());
    assert_eq!(after["start"], last["base_offset"]);
    let kept = 1000 - after["start"].as_u64().unwrap() as usize;
    agrees(&report, &before, &after, kept, 1000 - second as usize - kept);
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), kept);
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

#[test]
fn both_policies_compact_before_deleting() {
    for policy in ["delete,compact", "compact,delete"] {
        let dir = keyed(20);
        run(dir.path(), &["delete-before", "t-0", "--offset", "30", "--execute"]).ok();
        let before = info(dir.path());
        let report =
            clean(dir.path(), &["--policy", policy, "--retention-ms", "1", "--now", "1"]).ok();
        let after = info(dir.path());
        let kept = offsets(&run(dir.path(), &["read", "t-0"]).ok());
        assert_eq!((kept.len(), kept.last()), (20, Some(&79)), "four keys, and the last segment");
        // The start lies inside a batch, and all records of that batch count, from 28 on.
        agrees(&report, &before, &after, 20, 32);
        let all = ["--policy", policy, "--retention-ms", "1", "--now", "9000000000000"];
        let gone = clean(dir.path(), &all).ok().lines().remove(0);
        assert_eq!((&gone["records_kept"], &gone["records_removed"]), (&json!(0), &json!(20)));
        assert_eq!((&gone["start"], &gone["end"]), (&json!(80), &json!(80)));
        assert_eq!(segments(&info(dir.path())), 1, "the one to append to");
    }
}

#[test]
fn clean_changes_nothing_when_it_fails() {
    let dir = keyed(20);
    run(dir.path(), &["clean", "missing"]).refused(2, "missing");
    run(dir.path(), &["clean", "missing", "--policy", "compact"]).refused(2, "missing");
    assert!(!dir.path().join("missing").exists());

    let path = dir.path().join(format!("{FIRST}.log"));
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let before = contents(dir.path());
    for policy in ["compact", "delete,compact"] {
        clean(dir.path(), &["--policy", policy]).refused(2, "00000000000000000000.log");
        assert!(contents(dir.path()) == before, "{policy}");
    }
}

/// An open transaction may still be aborted, so a pass ends before it.
#[test]
fn clean_stops_at_open_transaction() {
    let dir = copy_log("txn/pay-0");
    run(dir.path(), &["append", "t-0", "--segment-bytes", "62"]).ok();
    let more = ["append", "t-0", "--key-separator", "=", "--segment-bytes", "100"];
    run_with(dir.path(), &more, b"key=value\n").ok();
    let before = offsets(&run(dir.path(), &["read", "t-0"]).ok());
    let report = clean(dir.path(), &["--policy", "compact"]).ok().lines().remove(0);
    assert_eq!(report["records_removed"], 0);
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()), before);
}
