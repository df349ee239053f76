//! Two processes on one log, and processes that are killed or lose their reader.

use crate::sample::many;
use crate::tool::{offsets, run, run_into_closed_pipe, spawn, values};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};

#[test]
fn read_follows_appends_of_other_process() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["append", "t-0"]).ok();
    for isolation in ["uncommitted", "committed"] {
        let args = ["read", "t-0", "--from", "latest", "--follow", "--max", "3"];
        let mut follower = spawn(dir.path(), &[&args[..], &["--isolation", isolation]].concat());
        let mut writer = spawn(dir.path(), &["append", "t-0", "--batch-records", "1", "--ack"]);
        let mut input = writer.stdin.take().unwrap();
        let mut acks = BufReader::new(writer.stdout.take().unwrap()).lines();
        let mut shown = BufReader::new(follower.stdout.take().unwrap()).lines();
        // The follower may start after any record, so more are appended until it has printed
        // three.
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
fn second_writer_is_told_lock_holder() {
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
fn acknowledged_records_survive_kill() {
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
fn closed_pipe_ends_command_quietly() {
    let dir = many(5000);
    for args in [&["read", "t-0"][..], &["dump", "t-0", "--records"]] {
        let ran = run_into_closed_pipe(dir.path(), args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
}
