//! The command-line tool as a black box: the built example, run on real directories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tool::{Ran, offsets, run, run_with, spawn, tool, values};

#[path = "support/tool.rs"]
mod tool;

fn vectors(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(of)
}

fn copy_log(of: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("t-0")).unwrap();
    for entry in fs::read_dir(vectors("logs").join(of)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join("t-0").join(entry.file_name())).unwrap();
    }
    dir
}

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

const FIRST: &str = "t-0/00000000000000000000";

#[test]
fn lines_of_any_bytes_are_appended_and_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["append", "t-0", "--ack", "--batch-records", "2", "--sync", "batch"];
    let ran = run_with(dir.path(), &args, b"a\n\nb\xff\r\nlast").ok();
    let acks: Vec<String> = ran.lines().iter().map(Value::to_string).collect();
    assert_eq!(
        acks,
        [r#"{"first":0,"last":1,"durable":2}"#, r#"{"first":2,"last":3,"durable":4}"#]
    );
    assert!(ran.stderr.starts_with("4 records, "), "{}", ran.stderr);
    let read = run(dir.path(), &["read", "t-0"]).ok();
    let shown: Vec<Value> = read.lines().iter().map(|line| line["value"].clone()).collect();
    assert_eq!(shown, [json!("a"), json!(""), json!({ "base64": "Yv8N" }), json!("last")]);
    let raw = run(dir.path(), &["read", "t-0", "--format", "value"]).ok();
    assert_eq!(raw.stdout, b"a\n\nb\xff\r\nlast\n");
    run_with(dir.path(), &["append", "t-0"], b"more\n").ok();
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0", "--from", "3"])), [3, 4]);
}

#[test]
fn empty_input_creates_a_log() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["append", "deep/t-0"]).ok();
    assert!(run(dir.path(), &["read", "deep/t-0"]).ok().stdout.is_empty());
    let info = run(dir.path(), &["info", "deep/t-0"]).ok().lines().remove(0);
    assert_eq!((&info["end"], &info["clean"]), (&json!(0), &json!(true)));
}

#[test]
fn help_is_a_command_and_has_the_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    for help in [&["help"][..], &["--help"], &["-h"]] {
        let told = String::from_utf8(run(dir.path(), help).ok().stdout).unwrap();
        assert!(told.contains("Exit codes:") && told.contains("3  damage"), "{told}");
    }
    let told = String::from_utf8(run(dir.path(), &["help", "truncate"]).ok().stdout).unwrap();
    assert!(told.contains("--execute"), "{told}");
}

#[test]
fn a_separator_divides_key_and_value() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["append", "t-0", "--key-separator", "::"];
    run_with(dir.path(), &args, b"k::v::w\nempty::\n::x\n").ok();
    let shown = run(dir.path(), &["read", "t-0", "--format", "key-value"]).ok();
    assert_eq!(shown.stdout, b"k\tv::w\nempty\t\n\tx\n");
    let both = ["append", "t-0", "--key-separator", "::", "--format", "json"];
    run(dir.path(), &both).refused(1, "--key-separator");
    run(dir.path(), &["append", "t-0", "--key-separator", ""]).refused(1, "empty");
    run_with(dir.path(), &args, b"none\n").refused(2, "line 1 of stdin");
}

#[test]
fn what_read_prints_append_takes_with_every_codec() {
    let dir = tempfile::tempdir().unwrap();
    let records = [
        r#"{"timestamp":1700000000000,"key":"k","value":"v","headers":[["name","value"],["name",null]]}"#,
        r#"{"timestamp":5,"key":null,"value":null}"#,
        r#"{"timestamp":-1,"key":"","value":""}"#,
        r#"{"timestamp":7,"key":{"base64":"/w=="},"value":{"base64":"AP8="},"headers":[["h",{"base64":"/g=="}],[{"base64":"Y2Fm6Q=="},"latin 1"]]}"#,
        r#"{"timestamp":9223372036854775807,"value":"\u0000 \"é\" \ud83d\ude00"}"#,
    ];
    let input = format!("{}\n\n", records.join("\n"));
    run_with(dir.path(), &["append", "a-0", "--format", "json"], input.as_bytes()).ok();
    let first = run(dir.path(), &["read", "a-0"]).ok();
    assert_eq!(first.lines().len(), records.len());
    let expected = r#"{"offset":0,"timestamp":1700000000000,"key":"k","value":"v","headers":[["name","value"],["name",null]]}"#;
    assert!(first.stdout.starts_with(expected.as_bytes()));
    assert!(first.stdout.windows(22).any(|part| part == br#"{"base64":"Y2Fm6Q=="},"#));
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let to = format!("{codec}-0");
        let args = ["append", &to, "--format", "json", "--compression", codec];
        run_with(dir.path(), &args, &first.stdout).ok();
        assert_eq!(run(dir.path(), &["read", &to]).ok().stdout, first.stdout, "{codec}");
        let log = format!("{to}/00000000000000000000.log");
        assert_eq!(run(dir.path(), &["dump", &log]).ok().lines()[0]["compression"], codec);
        assert!(run(dir.path(), &["verify", &to]).ok().stdout.is_empty());
    }
}

#[test]
fn positions_bound_what_is_read() {
    let dir = many(100);
    let read = |args: &[&str]| offsets(&run(dir.path(), &[&["read", "t-0"], args].concat()).ok());
    assert_eq!(read(&["--from", "95"]), [95, 96, 97, 98, 99]);
    assert_eq!(read(&["--from", "3", "--until", "5"]), [3, 4]);
    assert_eq!(read(&["--from", "@1042", "--max", "2"]), [42, 43]);
    assert_eq!(read(&["--from", "98", "--until", "@5000"]), [98, 99]);
    assert_eq!(read(&["--until", "@1003"]), [0, 1, 2]);
    assert_eq!(read(&["--from", "latest"]).len(), 0);
    assert_eq!(read(&["--until", "earliest"]).len(), 0);
    assert_eq!(read(&["--from", "98", "--until", "latest", "--follow"]), [98, 99]);
    assert_eq!(read(&["--max", "0", "--follow"]).len(), 0);
    run(dir.path(), &["read", "t-0", "--from", "101"]).refused(2, "out of range");
    let seek = run(dir.path(), &["seek", "t-0", "--time", "1050"]).ok();
    assert_eq!(seek.stdout, b"{\"offset\":50,\"timestamp\":1050}\n");
    assert_eq!(run(dir.path(), &["seek", "t-0", "--time", "9999"]).ok().stdout, b"null\n");
}

#[test]
fn truncation_gives_the_new_ends() {
    let dir = many(100);
    let ran = run(dir.path(), &["truncate", "t-0", "--to", "50", "--execute"]).ok();
    assert_eq!(ran.stdout, b"{\"start\":0,\"end\":50}\n");
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 50);
    run(dir.path(), &["truncate", "t-0", "--to", "51", "--execute"]).refused(2, "out of range");
    run(dir.path(), &["truncate", "missing", "--to", "0"]).refused(2, "missing");
    assert!(!dir.path().join("missing").exists());
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

#[test]
fn deletion_gives_the_new_ends() {
    let dir = many(100);
    let deleted =
        |offset: &str| run(dir.path(), &["delete-before", "t-0", "--offset", offset, "--execute"]);
    assert_eq!(deleted("50").ok().stdout, b"{\"start\":50,\"end\":100}\n");
    assert_eq!(deleted("20").ok().stdout, b"{\"start\":50,\"end\":100}\n");
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()), (50..100).collect::<Vec<_>>());
    let info = run(dir.path(), &["info", "t-0"]).ok().lines();
    assert_eq!((&info[0]["start"], &info[0]["end"]), (&json!(50), &json!(100)));
    deleted("101").refused(2, "out of range");
    run(dir.path(), &["read", "t-0", "--from", "49"]).refused(2, "starts at 50");
    run(dir.path(), &["delete-before", "missing", "--offset", "0"]).refused(2, "missing");
    assert!(!dir.path().join("missing").exists());
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

/// Values of four keys in turn, each round a batch; a segment holds four of them.
fn keyed(rounds: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..rounds * 4).map(|n| format!("key-{}=value-{n}\n", n % 4)).collect();
    let args = ["append", "t-0", "--key-separator", "=", "--batch-records", "4"];
    run_with(dir.path(), &[&args[..], &["--segment-bytes", "600"]].concat(), lines.as_bytes()).ok();
    dir
}

/// Cleans a log, and checks that it was told before what comes of it.
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

fn files_of(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

fn info(dir: &Path) -> Value {
    run(dir, &["info", "t-0"]).ok().lines().remove(0)
}

fn segments(info: &Value) -> i64 {
    info["segments"].as_array().unwrap().len().try_into().unwrap()
}

/// What a report of `clean` must say, by the log before and after it.
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

/// The files of a log's segments and what is in them.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(dir.join("t-0")).unwrap().map(|entry| entry.unwrap().path());
    let of_segments = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('0');
    let paths = entries.filter(of_segments);
    let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn compaction_leaves_the_last_value_of_each_key_and_the_segment_that_is_appended_to() {
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

    // What comes later is compacted with what was.
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
fn a_tombstone_goes_once_it_has_stayed() {
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
fn records_that_are_too_young_are_not_compacted() {
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
fn retention_deletes_whole_segments_by_age_and_size() {
    let dir = many(1000);
    let before = info(dir.path());
    let second = before["segments"][1]["base_offset"].as_u64().unwrap();
    let nothing = clean(dir.path(), &[]).ok();
    agrees(&nothing, &before, &before, 1000, 0);
    // The last record of the first segment is as old as the limit, then older.
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
fn both_policies_compact_first_and_then_delete() {
    for policy in ["delete,compact", "compact,delete"] {
        let dir = keyed(20);
        run(dir.path(), &["delete-before", "t-0", "--offset", "30", "--execute"]).ok();
        let before = info(dir.path());
        let report =
            clean(dir.path(), &["--policy", policy, "--retention-ms", "1", "--now", "1"]).ok();
        let after = info(dir.path());
        let kept = offsets(&run(dir.path(), &["read", "t-0"]).ok());
        assert_eq!((kept.len(), kept.last()), (20, Some(&79)), "four keys, and the last segment");
        // Of the batch that the start lies in, from 28 on, all records count.
        agrees(&report, &before, &after, 20, 32);
        let all = ["--policy", policy, "--retention-ms", "1", "--now", "9000000000000"];
        let gone = clean(dir.path(), &all).ok().lines().remove(0);
        assert_eq!((&gone["records_kept"], &gone["records_removed"]), (&json!(0), &json!(20)));
        assert_eq!((&gone["start"], &gone["end"]), (&json!(80), &json!(80)));
        assert_eq!(segments(&info(dir.path())), 1, "the one to append to");
    }
}

#[test]
fn what_cannot_be_cleaned_stays_as_it_is() {
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

    let dir = copy_log("txn/pay-0");
    run(dir.path(), &["append", "t-0", "--segment-bytes", "62"]).ok();
    let before = offsets(&run(dir.path(), &["read", "t-0"]).ok());
    let more = ["append", "t-0", "--key-separator", "=", "--segment-bytes", "100"];
    run_with(dir.path(), &more, b"key=value\n").ok();
    clean(dir.path(), &["--policy", "compact"]).refused(2, "t-0: ");
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), before.len() + 1);
}

/// The advice of the error that refuses a damaged log: verify, then truncate to the offset it names.
#[test]
fn a_log_that_lost_a_segment_is_verified_and_truncated_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let append = ["append", "t-0", "--batch-records", "10", "--segment-bytes", "300"];
    run_with(dir.path(), &append, lines.as_bytes()).ok();
    let mut logs: Vec<_> = fs::read_dir(dir.path().join("t-0"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let lost: u64 = logs[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    fs::remove_file(&logs[1]).unwrap();
    let named = format!("offset {lost}");
    run(dir.path(), &["append", "t-0"]).refused(2, &named);
    let read = run(dir.path(), &["read", "t-0"]);
    assert!(read.code == 3 && read.stderr.contains(&named), "{}", read.stderr);
    assert!(!offsets(&read).contains(&lost) && offsets(&read).contains(&99));
    run(dir.path(), &["seek", "t-0", "--time", "0"]).refused(2, &named);
    let verified = run(dir.path(), &["verify", "t-0"]);
    assert_eq!((verified.code, &verified.lines()[0]["offset"]), (3, &json!(lost)));
    run(dir.path(), &["truncate", "t-0", "--to", &(lost + 1).to_string(), "--execute"])
        .refused(2, &named);
    run(dir.path(), &["truncate", "t-0", "--to", &lost.to_string(), "--execute"]).ok();
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len() as u64, lost);
}

/// Opening the log was refused, and every command that only reads said that all was well.
#[test]
fn lost_segment_of_log_that_was_not_closed_is_told_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let append = ["append", "t-0", "--batch-records", "10", "--segment-bytes", "300"];
    run_with(dir.path(), &append, lines.as_bytes()).ok();
    let log = dir.path().join("t-0");
    fs::remove_file(log.join(".kafka_cleanshutdown")).unwrap();
    fs::remove_file(log.join("00000000000000000020.log")).unwrap();
    run(dir.path(), &["append", "t-0"]).refused(2, "offset 20");
    for command in ["read", "info", "verify", "repair"] {
        let ran = run(dir.path(), &[command, "t-0"]);
        let told = ran.stderr.clone() + &String::from_utf8(ran.stdout.clone()).unwrap();
        assert!(ran.code == 3 && told.contains("20 to 29 are missing"), "{command}: {told}");
    }
    run(dir.path(), &["repair", "t-0", "--execute"]).ok();
    fs::remove_file(log.join(".kafka_cleanshutdown")).unwrap();
    run(dir.path(), &["append", "t-0"]).ok();
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
    let read = offsets(&run(dir.path(), &["read", "t-0"]).ok());
    assert_eq!(read, (0..20).chain(30..100).collect::<Vec<_>>());
}

/// A log of ten batches of ten records, the fourth of which has a flipped bit.
fn damaged() -> tempfile::TempDir {
    let dir = many(100);
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() * 35 / 100;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    dir
}

/// One bad batch hid everything after it, and with it everything before: reading printed nothing, the end was where the
/// damage began, and the advice was to truncate there, which would have removed sixty sound records.
#[test]
fn everything_sound_is_read_around_damage() {
    let dir = damaged();
    let sound: Vec<u64> = (0..30).chain(40..100).collect();
    let read = |more: &[&str]| {
        let ran = run(dir.path(), &[&["read", "t-0"], more].concat());
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("offsets 30 to 39"), "{}", ran.stderr);
        offsets(&ran)
    };
    assert_eq!(read(&[]), sound);
    assert_eq!(read(&["--from", "25", "--max", "10"]), [25, 26, 27, 28, 29, 40, 41, 42, 43, 44]);
    assert_eq!(read(&["--isolation", "committed"]), sound);
    assert_eq!(read(&["--from", "@1028", "--until", "@1041"]), [28, 29, 40]);
    let info = run(dir.path(), &["info", "t-0"]);
    assert_eq!(info.lines()[0]["end"], 100);
    let verified = run(dir.path(), &["verify", "t-0"]);
    assert_eq!((verified.code, verified.lines().len()), (3, 1));
    assert_eq!(verified.lines()[0]["offset"], 30);
    let refused = run(dir.path(), &["repair", "t-0"]);
    assert_eq!((refused.code, refused.lines()), (3, verified.lines()));

    let repaired = run(dir.path(), &["repair", "t-0", "--execute"]).ok().lines();
    assert_eq!(
        (&repaired[0]["first_offset"], &repaired[0]["last_offset"]),
        (&json!(30), &json!(39))
    );
    assert!(fs::metadata(dir.path().join(repaired[0]["moved_to"].as_str().unwrap())).is_ok());
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()), sound);
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

/// It promised to move what it then removed, and said nothing.
#[test]
fn repair_says_of_each_byte_what_becomes_of_it() {
    let garbage: [(&str, &[u8]); 2] = [("text", b"garbage text\n"), ("cut", &[0; 0])];
    for (what, bytes) in garbage {
        let dir = many(100);
        let path = dir.path().join("t-0/00000000000000000000.log");
        let sound = fs::read(&path).unwrap();
        let tail = if what == "cut" { &sound[..sound.len() / 20] } else { bytes };
        fs::write(&path, [&sound, tail].concat()).unwrap();
        let before = files_of(&dir.path().join("t-0"));
        let told = run(dir.path(), &["repair", "t-0"]);
        assert_eq!((told.code, files_of(&dir.path().join("t-0"))), (3, before), "{what}");
        let done = run(dir.path(), &["repair", "t-0", "--execute"]).ok();
        let mut gone = tail.len();
        for moved in done.lines() {
            let to = moved["moved_to"].as_str().unwrap();
            assert!(told.stderr.contains(&format!("would be moved to {to}")), "{}", told.stderr);
            let kept = fs::read(dir.path().join(to)).unwrap();
            assert!(kept == tail[tail.len() - gone..][..kept.len()], "{what}");
            gone -= kept.len();
        }
        let (removed, tells) = (format!("{gone} bytes of writes that were cut short"), gone > 0);
        assert_eq!(told.stderr.contains(&removed), tells, "{what}: {}", told.stderr);
        assert_eq!(done.stderr.contains(&removed), tells, "{what}: {}", done.stderr);
        assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 100);
        assert!(run(dir.path(), &["repair", "t-0"]).ok().stdout.is_empty());
    }
}

#[test]
fn nothing_is_removed_without_execute() {
    let dir = many(100);
    let cut = run(dir.path(), &["truncate", "t-0", "--to", "55"]).ok();
    assert_eq!(
        cut.lines(),
        [json!({"start": 0, "end": 55, "records_removed": 50, "executed": false})]
    );
    assert!(cut.stderr.contains("--execute"), "{}", cut.stderr);
    let deleted = run(dir.path(), &["delete-before", "t-0", "--offset", "25"]).ok();
    assert_eq!(
        deleted.lines(),
        [json!({"start": 25, "end": 100, "records_removed": 25, "executed": false})]
    );
    run(dir.path(), &["truncate", "t-0", "--to", "101"]).refused(2, "out of range");
    run(dir.path(), &["delete-before", "t-0", "--offset", "101"]).refused(2, "out of range");
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 100);
}

/// Recovery removed the end of a log, and the only line on stderr counted what was appended.
#[test]
fn opening_tells_what_it_removed() {
    let dir = many(100);
    let path = dir.path().join("t-0/00000000000000000000.log");
    fs::remove_file(dir.path().join("t-0/.kafka_cleanshutdown")).unwrap();
    fs::remove_file(dir.path().join("t-0/recovery-point-offset-checkpoint")).unwrap();
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let ran = run(dir.path(), &["append", "t-0"]).ok();
    assert!(ran.stderr.contains("cut short"), "{}", ran.stderr);
    assert!(ran.stderr.contains("ends at offset 90"), "{}", ran.stderr);
    assert!(!run(dir.path(), &["append", "t-0"]).ok().stderr.contains("warning"));
}

/// What was typed stayed in the tool until the end of input.
#[test]
fn append_writes_while_more_input_may_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = tool()
        .args(["append", "t-0", "--ack"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut acks = BufReader::new(output).lines();
    for n in 0..3 {
        writeln!(input, "line {n}").unwrap();
        let ack: Value = serde_json::from_str(&acks.next().unwrap().unwrap()).unwrap();
        assert_eq!((&ack["first"], &ack["last"]), (&json!(n), &json!(n)));
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn aborted_and_open_transactions_are_left_out() {
    let dir = copy_log("txn/pay-0");
    let committed = run(dir.path(), &["read", "t-0", "--isolation", "committed"]).ok();
    assert_eq!(offsets(&committed), [0, 1, 5, 6, 7]);
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 12);
    let info = run(dir.path(), &["info", "t-0"]).ok().lines().remove(0);
    assert_eq!((&info["end"], &info["last_stable"]), (&json!(15), &json!(11)));
    assert_eq!(info["producers"][1]["current_txn_first_offset"], 11);
}

#[test]
fn info_shows_the_log_at_a_glance() {
    let dir = many(1000);
    let info = run(dir.path(), &["info", "t-0"]).ok().lines().remove(0);
    let keys: Vec<&String> = info.as_object().unwrap().keys().collect();
    let first = ["start", "end", "durable", "high_watermark", "last_stable", "segments", "bytes"];
    assert_eq!(keys[..7], first);
    assert_eq!((&info["durable"], &info["end"]), (&json!(1000), &json!(1000)));
    let segments = info["segments"].as_array().unwrap();
    assert!(segments.len() > 3);
    assert_eq!(segments[0]["first_timestamp"], 1000);
    assert!(segments[0]["offset_index_entries"].as_u64().unwrap() > 0);
    assert_eq!(segments.last().unwrap()["last_offset"], 999);
}

#[test]
fn every_kind_of_file_is_dumped() {
    let dir = copy_log("plain/orders-0");
    let whole = run(dir.path(), &["dump", "t-0", "--deep", "--records"]).ok();
    let files = whole.lines().iter().filter(|line| line.get("file").is_some()).count();
    assert_eq!(files, fs::read_dir(dir.path().join("t-0")).unwrap().count());
    let log = run(dir.path(), &["dump", &format!("{FIRST}.log")]).ok();
    let text = String::from_utf8(log.stdout).unwrap();
    let line = text.lines().next().unwrap();
    assert!(
        line.starts_with(r#"{"base_offset":0,"last_offset":2,"count":3,"position":0,"bytes":"#)
    );
    assert!(line.contains(r#""valid":true,"compression":"#), "{line}");
    assert!(line.ends_with(
        r#""producer_id":-1,"producer_epoch":-1,"base_sequence":-1,"transactional":false,"control":false}"#
    ));
    let first = |file: &str, expected: Value| {
        let ran = run(dir.path(), &["dump", file]).ok();
        assert_eq!(ran.lines()[0], expected, "{file}");
    };
    first("t-0/partition.metadata", json!({"version": 0, "topic_id": "AAECAwQFBgcICQoLDA0ODw"}));
    first("t-0/leader-epoch-checkpoint", json!({"epoch": 0, "start_offset": 0}));
    first(
        "t-0/00000000000000000054.timeindex",
        json!({"timestamp": 1700000021002u64, "offset": 65}),
    );
    first("t-0/00000000000000000054.index", json!({"offset": 65, "position": 378}));
    assert!(run(dir.path(), &["dump", "t-0/00000000000000000027.snapshot"]).ok().stdout.is_empty());
    let beside = |name: &str| {
        let path = vectors("logs/plain").join(name);
        run(dir.path(), &["dump", path.to_str().unwrap()]).ok().lines().remove(0)
    };
    let entry = beside("recovery-point-offset-checkpoint");
    assert_eq!(entry, json!({"topic": "orders", "partition": 0, "offset": 72}));
    assert_eq!(beside(".kafka_cleanshutdown")["version"], 0);

    let dir = copy_log("txn/pay-0");
    let txn = run(dir.path(), &["dump", &format!("{FIRST}.txnindex")]).ok().lines();
    assert_eq!((&txn[0]["producer_id"], &txn[0]["first_offset"]), (&json!(12), &json!(2)));
    let snapshot = run(dir.path(), &["dump", "t-0/00000000000000000015.snapshot"]).ok().lines();
    assert_eq!((snapshot.len(), &snapshot[1]["offset_delta"]), (4, &json!(1)));
    let records = run(dir.path(), &["dump", &format!("{FIRST}.log"), "--records"]).ok().lines();
    let controls: Vec<_> = records.iter().filter_map(|line| line["control"].as_str()).collect();
    assert_eq!(controls, ["commit", "abort", "abort"]);
}

#[test]
fn a_dump_goes_on_behind_damage_and_says_so() {
    let dir = many(100);
    let path = dir.path().join(format!("{FIRST}.log"));
    let mut bytes = fs::read(&path).unwrap();
    bytes[70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let batches = run(dir.path(), &["dump", &format!("{FIRST}.log")]).ok().lines();
    assert_eq!((&batches[0]["valid"], &batches[1]["valid"]), (&json!(false), &json!(true)));
    run(dir.path(), &["dump", &format!("{FIRST}.log"), "--deep"]).refused(2, "checksum");
    bytes.truncate(bytes.len() - 1);
    bytes[8] = 0x7f;
    fs::write(&path, &bytes).unwrap();
    let ran = run(dir.path(), &["dump", &format!("{FIRST}.log")]).refused(2, "byte 0");
    assert_eq!(ran.lines()[0]["valid"], false);
    fs::write(dir.path().join(format!("{FIRST}.index")), [0, 0, 0, 1, 0, 0, 0, 1]).unwrap();
    let ran = run(dir.path(), &["dump", &format!("{FIRST}.index"), "--deep"]).refused(2, "entry 0");
    assert_eq!(ran.lines().len(), 2);
}

#[test]
fn verify_finds_every_flipped_bit_of_a_batch() {
    let dir = many(10);
    let path = dir.path().join(format!("{FIRST}.log"));
    let sound = fs::read(&path).unwrap();
    for at in [16, 20, 22, 30, 60, 61, sound.len() - 1] {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let ran = run(dir.path(), &["verify", "t-0"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (3, ""), "byte {at}");
        let problem = ran.lines().remove(0);
        let keys: Vec<&String> = problem.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["file", "position", "offset", "problem"]);
    }
}

#[test]
fn verify_finds_torn_tails_cut_indexes_and_leftovers() {
    let problems = |dir: &Path| {
        let ran = run(dir, &["verify", "t-0"]);
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.lines().iter().map(|line| line["problem"].as_str().unwrap().to_owned()).collect()
    };
    let found: Vec<String> = problems(copy_log("crash-tail/t-0").path());
    assert_eq!(found.len(), 1);
    let found: Vec<String> = problems(copy_log("crash-cleaned/t-0").path());
    assert_eq!(found.len(), 4, "{found:?}");
    problems(copy_log("crash-corrupt-middle/t-0").path());
    problems(copy_log("crash-swap/t-0").path());

    let dir = many(1000);
    for index in [".index", ".timeindex"] {
        let path = dir.path().join(format!("{FIRST}{index}"));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        problems(dir.path());
        fs::write(&path, &bytes).unwrap();
    }
    run(dir.path(), &["verify", "t-0"]).ok();
    let point = dir.path().join("t-0/recovery-point-offset-checkpoint");
    fs::write(point, "0\n1\nt 0 2000\n").unwrap();
    let found: Vec<String> = problems(dir.path());
    assert!(found[0].contains("2000"), "{found:?}");
}

#[test]
fn legacy_formats_are_refused_as_such() {
    for file in ["v0-none.bin", "v1-gzip.bin"] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("t-0")).unwrap();
        fs::copy(vectors("legacy").join(file), dir.path().join(format!("{FIRST}.log"))).unwrap();
        for command in ["read", "info", "verify", "dump", "append"] {
            run(dir.path(), &[command, "t-0"]).refused(2, "is not supported");
        }
    }
}

#[test]
fn wrong_usage_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    for (args, words) in [
        (&["read", "t-0", "--folow"][..], "--follow"),
        (&["append", "t-0", "--segment-byte", "1"], "--segment-bytes"),
        (&["append", "t-0", "--segment-bytes", "1"], "--segment-bytes"),
        (&["append", "t-0", "--sync", "sometimes"], "sometimes"),
        (&["append", "t-0", "--batch-records", "0"], "--batch-records"),
        (&["read", "t-0", "--from", "first"], "earliest"),
        (&["read", "t-0", "--from", "-1"], "a position is earliest"),
        (&["read", "t-0", "--max", "-1"], "'-1' for '--max"),
        (&["truncate", "t-0", "--to", "-1"], "'-1' for '--to"),
        (&["read", "t-0", "--zzz"], "it takes --from --until --max"),
        (&["append", "t-0", "--segment-ms", "0"], "--segment-ms: "),
        (&["read", "t-0", "--from", "@x"], "@MILLIS"),
        (&["truncate", "t-0"], "--to"),
        (&["read"], "DIR"),
        (&["frobnicate"], "frobnicate"),
        (&["zzz", "t-0"], "append read dump"),
        (&["clean", "t-0", "--policy", "forget"], "a policy is delete, compact, or delete,compact"),
        (&["clean", "t-0", "--policy", "delete,delete"], "a policy is"),
        (&["clean", "t-0", "--policy", ""], "a policy is"),
        (
            &["clean", "t-0", "--policy", "compact", "--retention-ms", "1"],
            "--retention-ms: nothing",
        ),
        (&["clean", "t-0", "--policy", "compact", "--retention-bytes", "1"], "--retention-bytes: "),
        (&["clean", "t-0", "--delete-retention-ms", "1"], "--delete-retention-ms: nothing"),
        (&["clean", "t-0", "--policy", "delete", "--min-lag-ms", "1"], "delete,compact"),
        (&["clean", "t-0", "--retention-ms", "-1"], "'-1' for '--retention-ms"),
        (
            &["clean", "t-0", "--policy", "compact", "--min-lag-ms", "9223372036854775808"],
            "--min-lag-ms",
        ),
        (&["clean", "t-0", "--now", "today"], "--now"),
        (&["clean", "t-0", "--retention-byte", "1"], "--retention-bytes"),
        (&["clean", "t-0", "--segment-bytes", "1"], "--segment-bytes: "),
        (&["clean"], "DIR"),
        (&[], "--help"),
    ] {
        run(dir.path(), args).refused(1, words);
    }
    assert!(!dir.path().join("t-0").exists());
    for args in [&["--help"][..], &["append", "--help"], &["clean", "--help"], &["--version"]] {
        assert!(!run(dir.path(), args).ok().stdout.is_empty());
    }
}

#[test]
fn wrong_input_leaves_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let json = ["append", "t-0", "--format", "json", "--ack", "--batch-records", "1"];
    for line in [
        "{",
        "[]",
        r#"[0,1,null,"v",[]]"#,
        "3",
        r#"{"valu":"x"}"#,
        r#"{"value":3}"#,
        r#"{"value":{"base64":"!"}}"#,
        r#"{"value":"x","headers":[[null,"v"]]}"#,
        r#"{"timestamp":-5,"value":"x"}"#,
    ] {
        run_with(dir.path(), &json, line.as_bytes()).refused(2, "line 1 of stdin");
    }
    let ran = run_with(dir.path(), &json, b"{\"value\":\"kept\"}\nnonsense\n");
    let acked = ran.refused(2, "line 2 of stdin").lines().len();
    assert_eq!((acked, values(&run(dir.path(), &["read", "t-0"]))), (1, vec!["kept".to_owned()]));
    let long = vec![b'x'; 2 << 20];
    run_with(dir.path(), &["append", "t-0"], &long).refused(2, "line 1 of stdin");
    // Within the length of a line that is read, over that of a batch.
    let long = vec![b'x'; 1_048_588];
    let long = run_with(dir.path(), &["append", "t-0"], &long);
    long.refused(2, "raise --max-message-bytes; nothing was appended");
    let small = ["append", "t-0", "--segment-bytes", "62"];
    run_with(dir.path(), &small, b"x").refused(2, "line 1 of stdin: a batch of 69 bytes");
    run_with(dir.path(), &small, b"x").refused(2, "raise --segment-bytes");
    let bench = ["bench", "t-0", "--records", "1", "--value-bytes", "3000000"];
    run(dir.path(), &bench).refused(2, "--value-bytes");
    // Whatever line of a batch is refused, it is named, and where to go on.
    let lines = b"{}\n{}\n\n{}\n{\"timestamp\":-5}\n{}\n";
    let two = ["append", "t-0", "--format", "json", "--batch-records", "2"];
    let ran = run_with(dir.path(), &two, lines);
    assert!(ran.stderr.contains("line 5 of stdin: timestamp -5"), "{}", ran.stderr);
    ran.refused(2, "the lines before line 3 were appended");
    run(dir.path(), &["verify", "t-0"]).ok();
}

#[test]
fn directories_that_are_no_log_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    fs::create_dir(dir.path().join("foreign")).unwrap();
    fs::write(dir.path().join("foreign/notes.txt"), "x").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    for command in ["read", "info", "verify"] {
        for path in ["file", "foreign", "empty", "missing", "file/below"] {
            run(dir.path(), &[command, path]).refused(2, path);
        }
    }
    for path in ["file", "foreign", "file/below"] {
        run(dir.path(), &["append", path]).refused(2, path);
        run(dir.path(), &["truncate", path, "--to", "0"]).refused(2, path);
        run(dir.path(), &["clean", path, "--policy", "compact"]).refused(2, path);
    }
    for path in ["file", "foreign", "empty", "missing", "foreign/notes.txt"] {
        run(dir.path(), &["dump", path]).refused(2, path);
    }
    fs::create_dir_all(dir.path().join(format!("odd/{FIRST}.log"))).unwrap();
    run(dir.path(), &["read", "odd/t-0"]).refused(2, "odd");
}

#[test]
fn a_follower_sees_what_other_processes_append() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["append", "t-0"]).ok();
    for isolation in ["uncommitted", "committed"] {
        let args = ["read", "t-0", "--from", "latest", "--follow", "--max", "3"];
        let mut follower = spawn(dir.path(), &[&args[..], &["--isolation", isolation]].concat());
        let mut writer = spawn(dir.path(), &["append", "t-0", "--batch-records", "1", "--ack"]);
        let mut input = writer.stdin.take().unwrap();
        let mut acks = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut shown = BufReader::new(follower.stdout.take().unwrap()).lines();
        // The follower may have started after any of them: it is written to until it has three.
        let (done, finished) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let lines: Vec<Value> =
                shown.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
            done.send(()).unwrap();
            lines
        });
        let mut written = 0u64;
        while finished.try_recv().is_err() {
            input.write_all(b"news\n").unwrap();
            acks.next().unwrap().unwrap();
            written += 1;
            assert!(written < 300_000, "the follower sees nothing");
        }
        let lines = reader.join().unwrap();
        assert_eq!(lines.len(), 3, "{isolation}");
        let first = lines[0]["offset"].as_u64().unwrap();
        assert_eq!(lines[2]["offset"].as_u64().unwrap(), first + 2);
        drop(input);
        assert!(writer.wait().unwrap().success());
        assert!(follower.wait().unwrap().success());
    }
}

#[test]
fn a_second_writer_is_told_who_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = spawn(dir.path(), &["append", "t-0", "--batch-records", "1", "--ack"]);
    writer.stdin.as_mut().unwrap().write_all(b"x\n").unwrap();
    let mut acks = BufReader::new(writer.stdout.take().unwrap()).lines();
    acks.next().unwrap().unwrap();
    let holder = format!("process {}", writer.id());
    run(dir.path(), &["append", "t-0"]).refused(2, &holder);
    run(dir.path(), &["truncate", "t-0", "--to", "0", "--execute"]).refused(2, &holder);
    run(dir.path(), &["clean", "t-0", "--policy", "compact", "--execute"]).refused(2, &holder);
    assert_eq!(values(&run(dir.path(), &["read", "t-0"]).ok()), ["x"]);
    drop(writer.stdin.take());
    assert!(writer.wait().unwrap().success());
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = 0u64;
    for round in 1..=5 {
        let args = ["append", "t-0", "--ack", "--batch-records", "3", "--sync", "batch"];
        let mut writer = spawn(dir.path(), &[&args[..], &["--segment-bytes", "2000"]].concat());
        let mut input = writer.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || while input.write_all(b"value\n").is_ok() {});
        let acks = BufReader::new(writer.stdout.take().unwrap()).lines();
        for ack in acks.take(7 * round) {
            let ack: Value = serde_json::from_str(&ack.unwrap()).unwrap();
            acked = ack["last"].as_u64().unwrap() + 1;
            assert_eq!(ack["durable"].as_u64().unwrap(), acked);
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        feeder.join().unwrap();
        let read = offsets(&run(dir.path(), &["read", "t-0"]).ok());
        assert!(read.len() as u64 >= acked, "{} of {acked}", read.len());
        assert!(read.iter().copied().eq(0..read.len() as u64));
    }
    run(dir.path(), &["append", "t-0"]).ok();
    assert!(run(dir.path(), &["verify", "t-0"]).ok().stdout.is_empty());
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let dir = many(5000);
    for args in [&["read", "t-0"][..], &["dump", "t-0", "--records"]] {
        let mut child = tool();
        child.args(args).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
}

#[test]
fn append_time_is_the_logs() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["append", "t-0", "--format", "json", "--message-timestamp-type", "LogAppendTime"];
    run_with(dir.path(), &args, br#"{"timestamp":5,"value":"x"}"#).ok();
    let batch = run(dir.path(), &["dump", &format!("{FIRST}.log")]).ok().lines().remove(0);
    assert_eq!(batch["timestamp_type"], "append");
    let read = run(dir.path(), &["read", "t-0"]).ok().lines().remove(0);
    assert!(read["timestamp"].as_i64().unwrap() > 1_600_000_000_000);
}

#[test]
fn a_bench_measures_and_leaves_a_sound_log() {
    let dir = tempfile::tempdir().unwrap();
    for sync in ["never", "batch", "end"] {
        let args = ["bench", "t-0", "--records", "500", "--threads", "2", "--sync", sync];
        let report = run(dir.path(), &args).ok().lines().remove(0);
        assert_eq!((&report["records"], &report["batches"]), (&json!(500), &json!(6)));
        for number in ["/append/p99_us", "/append/p999_us", "/raw/mb_per_s", "/read/records_per_s"]
        {
            assert!(report.pointer(number).unwrap().as_f64().unwrap() > 0.0, "{number}");
        }
        assert!(report["ratio"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the raw file is gone");
    run(dir.path(), &["verify", "t-0"]).ok();
}
