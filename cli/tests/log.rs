//! Appending to one log, reading it, and looking at it.

use crate::sample::{FIRST, copy_log, many};
use crate::tool::{offsets, run, run_with, tool};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

#[test]
fn append_acknowledges_lines_of_any_bytes() {
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
fn append_creates_log_from_empty_input() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["append", "deep/t-0"]).ok();
    assert!(run(dir.path(), &["read", "deep/t-0"]).ok().stdout.is_empty());
    let info = run(dir.path(), &["info", "deep/t-0"]).ok().lines().remove(0);
    assert_eq!((&info["end"], &info["clean"]), (&json!(0), &json!(true)));
}

#[test]
fn separator_divides_key_and_value() {
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
fn append_takes_output_of_read() {
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
fn positions_bound_read() {
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
fn truncate_prints_new_ends() {
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
fn delete_before_prints_new_ends() {
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

/// Once, typed lines stayed in memory until the end of the input.
#[test]
fn append_writes_lingering_batch_before_input_ends() {
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
fn read_skips_aborted_and_open_transactions() {
    let dir = copy_log("txn/pay-0");
    let committed = run(dir.path(), &["read", "t-0", "--isolation", "committed"]).ok();
    assert_eq!(offsets(&committed), [0, 1, 5, 6, 7]);
    assert_eq!(offsets(&run(dir.path(), &["read", "t-0"]).ok()).len(), 12);
    let info = run(dir.path(), &["info", "t-0"]).ok().lines().remove(0);
    assert_eq!((&info["end"], &info["last_stable"]), (&json!(15), &json!(11)));
    assert_eq!(info["producers"][1]["current_txn_first_offset"], 11);
}

#[test]
fn info_summarizes_log() {
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
fn append_time_comes_from_log() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["append", "t-0", "--format", "json", "--message-timestamp-type", "LogAppendTime"];
    run_with(dir.path(), &args, br#"{"timestamp":5,"value":"x"}"#).ok();
    let batch = run(dir.path(), &["dump", &format!("{FIRST}.log")]).ok().lines().remove(0);
    assert_eq!(batch["timestamp_type"], "append");
    let read = run(dir.path(), &["read", "t-0"]).ok().lines().remove(0);
    assert!(read["timestamp"].as_i64().unwrap() > 1_600_000_000_000);
}

#[test]
fn bench_leaves_sound_log() {
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
