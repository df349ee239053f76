//! Groups: consuming in turns, describing and resetting.

use crate::sample::{content, keys, with_topic};
use crate::tool::{run, run_with, tool, values};
use annals::{AutoOffsetReset, ConsumerConfig, Store, StoreConfig, TopicConfig};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn group_continues_at_committed_offset() {
    let dir = with_topic("orders", "2");
    let produce = ["produce", "d", "orders", "--partition"];
    let consume = ["consume", "d", "orders", "--group", "g"];
    run_with(dir.path(), &[&produce[..], &["0"]].concat(), b"a\nb\nc\n").ok();
    let two = [&consume[..], &["--max", "2"]].concat();
    assert_eq!(values(&run(dir.path(), &two).ok()), ["a", "b"]);
    run_with(dir.path(), &[&produce[..], &["1"]].concat(), b"d\n").ok();
    let rest: BTreeSet<String> = values(&run(dir.path(), &consume).ok()).into_iter().collect();
    assert_eq!(rest, ["c", "d"].map(str::to_owned).into());
    assert!(run(dir.path(), &consume).ok().stdout.is_empty());

    assert_eq!(
        run(dir.path(), &["groups", "d", "list"]).ok().lines(),
        [json!({"group": "g", "state": "Empty", "protocol_type": ""})]
    );
    run_with(dir.path(), &[&produce[..], &["1"]].concat(), b"e\nf\n").ok();
    let described = run(dir.path(), &["groups", "d", "describe", "g"]).ok().lines().remove(0);
    let order = ["group", "state", "generation", "assignor", "members", "offsets"];
    assert_eq!(keys(&described), order);
    let at = |partition: u32, committed: u64, end: u64| {
        json!({"topic": "orders", "partition": partition, "committed": committed, "end": end,
            "lag": end - committed, "metadata": ""})
    };
    assert_eq!(described["offsets"], json!([at(0, 3, 3), at(1, 1, 3)]));
    let more = [&consume[..], &["--partition", "1", "--follow", "--max", "2"]].concat();
    assert_eq!(values(&run(dir.path(), &more).ok()), ["e", "f"]);
    // A group without commits begins where `--from` says.
    let late = ["consume", "d", "orders", "--group", "late", "--from", "latest"];
    assert!(run(dir.path(), &late).ok().stdout.is_empty());
    run_with(dir.path(), &[&produce[..], &["0"]].concat(), b"g\n").ok();
    assert_eq!(values(&run(dir.path(), &late).ok()), ["g"]);
    // The offsets topic can be read, although each commit adds a record to it.
    let own = ["consume", "d", "__consumer_offsets", "--group", "g", "--format", "value"];
    assert!(!run(dir.path(), &own).ok().stdout.is_empty());
}

/// Describing a group takes no lock, so it works while the members run.
#[test]
fn group_is_described_while_members_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("d"), StoreConfig::default()).unwrap();
    let orders = store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    for log in orders.partitions().iter() {
        log.append_all(["a", "b", "c"].map(Into::into)).unwrap();
    }
    let config = ConsumerConfig::new("g").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut member = store.consumer(config.max_poll_records(4)).unwrap();
    member.subscribe(["orders"]).unwrap();
    assert_eq!(member.poll(Duration::from_secs(20)).unwrap().len(), 4);
    member.commit().unwrap();
    let before = content(dir.path());
    let listed = run(dir.path(), &["groups", "d", "list"]).ok().lines().remove(0);
    assert_eq!(listed, json!({"group": "g", "state": "Stable", "protocol_type": "consumer"}));
    let described = run(dir.path(), &["groups", "d", "describe", "g"]).ok().lines().remove(0);
    assert_eq!(described["members"][0]["partitions"], json!(["orders-0", "orders-1"]));
    let lag = |at: usize| described["offsets"][at]["lag"].as_u64().unwrap();
    assert_eq!((lag(0) + lag(1), &described["generation"]), (2, &json!(1)));
    let reset = ["groups", "d", "reset", "g", "--topic", "orders", "--to", "latest"];
    assert_eq!(run(dir.path(), &reset).ok().lines()[0]["after"], 3);
    run(dir.path(), &[&reset[..], &["--execute"]].concat()).refused(2, "d");
    run(dir.path(), &["topics", "d", "describe", "orders"]).ok();
    assert!(before == content(dir.path()));
    // A copy is what a killed process leaves: its members are gone with it.
    fs::create_dir(dir.path().join("killed")).unwrap();
    for (path, bytes) in content(&dir.path().join("d")) {
        let copy = dir.path().join("killed").join(path.strip_prefix(dir.path().join("d")).unwrap());
        if path.is_dir() {
            fs::create_dir_all(copy).unwrap()
        } else {
            fs::write(copy, bytes).unwrap()
        }
    }
    let listed = run(dir.path(), &["groups", "killed", "list"]).ok().lines().remove(0);
    assert_eq!(listed["state"], "Empty");
    let described = run(dir.path(), &["groups", "killed", "describe", "g"]).ok().lines().remove(0);
    assert_eq!((&described["state"], &described["members"]), (&json!("Empty"), &json!([])));
    member.close().unwrap();
    store.close().unwrap();
}

#[test]
fn group_is_reset_only_with_execute() {
    let dir = with_topic("orders", "2");
    let produce = ["produce", "d", "orders", "--format", "json", "--partition", "0"];
    let lines: Vec<String> = (0..10)
        .map(|n| json!({"timestamp": 1000 + n, "value": n.to_string()}).to_string())
        .collect();
    run_with(dir.path(), &produce, lines.join("\n").as_bytes()).ok();
    run(dir.path(), &["consume", "d", "orders", "--group", "g"]).ok();
    let reset = |args: &[&str]| {
        let ran =
            run(dir.path(), &[&["groups", "d", "reset", "g", "--topic", "orders"], args].concat());
        ran.ok()
    };
    let line = |partition: u32, before: u64, after: u64| json!({"topic": "orders", "partition": partition, "before": before, "after": after});
    let dry = reset(&["--to", "earliest"]);
    assert_eq!(dry.lines(), [line(0, 10, 0), line(1, 0, 0)]);
    assert!(dry.stderr.starts_with("annals: this only shows"), "{}", dry.stderr);
    assert!(dry.stderr.contains("--execute"), "{}", dry.stderr);
    assert!(run(dir.path(), &["consume", "d", "orders", "--group", "g"]).ok().stdout.is_empty());
    for (to, after) in [
        (&["--shift", "-3"][..], 7),
        (&["--to", "@1004"], 4),
        (&["--shift", "2"], 6),
        (&["--to", "2"], 2),
        (&["--to", "99"], 10),
        (&["--shift", "-99"], 0),
        (&["--to", "latest"], 10),
    ] {
        let done = reset(&[to, &["--execute"]].concat());
        assert_eq!(
            (&done.lines()[0]["after"], done.stderr.as_str()),
            (&json!(after), ""),
            "{to:?}"
        );
    }
    reset(&["--shift", "-2", "--execute"]);
    let read = run(dir.path(), &["consume", "d", "orders", "--group", "g"]).ok();
    assert_eq!(values(&read), ["8", "9"]);

    let deleted = run(dir.path(), &["groups", "d", "delete", "g", "--execute"]).ok().lines();
    assert_eq!(deleted, [json!({"group": "g", "deleted": true})]);
    assert!(run(dir.path(), &["groups", "d", "list"]).ok().stdout.is_empty());
    run(dir.path(), &["groups", "d", "describe", "g"]).refused(2, "no group `g`");
    run(dir.path(), &["groups", "d", "delete", "g", "--execute"]).refused(2, "no group `g`");
    let shift = ["groups", "d", "reset", "g", "--topic", "orders", "--shift", "1"];
    run(dir.path(), &shift).refused(2, "no offset is committed for partition 0 of `orders`");
    // A new group can be reset to any position.
    assert_eq!(reset(&["--to", "3", "--execute"]).lines()[0]["before"], Value::Null);
    let read = run(dir.path(), &["consume", "d", "orders", "--group", "g", "--max", "1"]).ok();
    assert_eq!(values(&read), ["3"]);
}

#[test]
fn reset_creates_no_topic_without_execute() {
    let dir = with_topic("orders", "1");
    run(dir.path(), &["groups", "d", "reset", "g", "--topic", "orders", "--to", "latest"]).ok();
    run(dir.path(), &["groups", "d", "list"]).ok();
    run(dir.path(), &["groups", "d", "describe", "g"]).refused(2, "no group");
    assert_eq!(run(dir.path(), &["topics", "d", "list"]).ok().lines().len(), 1);
}

/// Once, a damaged partition ended the command before the other partitions were printed, and the
/// message advised calls of the library. With that partition offline, nothing was printed.
#[test]
fn group_continues_beside_damaged_partition() {
    for is_clean in [true, false] {
        let dir = with_topic("orders", "3");
        for partition in ["0", "1", "2"] {
            let produce = ["produce", "d", "orders", "--partition", partition];
            for n in 0..3 {
                run_with(dir.path(), &produce, format!("{n}\n").as_bytes()).ok();
            }
        }
        let log = dir.path().join("d/orders-1/00000000000000000000.log");
        let mut bytes = fs::read(&log).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&log, bytes).unwrap();
        if !is_clean {
            fs::remove_file(dir.path().join("d/.kafka_cleanshutdown")).unwrap();
            fs::remove_file(dir.path().join("d/recovery-point-offset-checkpoint")).unwrap();
        }
        let consume = ["consume", "d", "orders", "--group", "g"];
        for read in [6 + usize::from(is_clean), 0] {
            let ran = run(dir.path(), &consume);
            assert_eq!((ran.code, ran.lines().len()), (3, read), "{}", ran.stderr);
            assert!(ran.stderr.contains("`annals repair d/orders-1`"), "{}", ran.stderr);
            assert!(!ran.stderr.contains("OnCorruption"), "{}", ran.stderr);
        }
        run(dir.path(), &["repair", "d/orders-1", "--execute"]);
        assert_eq!(run(dir.path(), &consume).ok().lines().len(), 2 - usize::from(is_clean));
    }
}

/// Once, Ctrl-C while records were printed committed none of them.
#[cfg(unix)]
#[test]
fn interrupted_group_commits_printed_records() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["topics", "d", "create", "t"]).ok();
    let lines: String = (0..20).map(|n| format!("{n}\n")).collect();
    run_with(dir.path(), &["produce", "d", "t"], lines.as_bytes()).ok();
    let mut child = tool()
        .args(["consume", "d", "t", "--group", "g", "--follow", "--format", "value"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut printed = output.lines();
    for n in 0..20 {
        assert_eq!(printed.next().unwrap().unwrap(), n.to_string());
    }
    let interrupted =
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success() && child.wait().unwrap().success());
    let group = run(dir.path(), &["groups", "d", "describe", "g"]).ok().lines();
    assert_eq!(group[0]["offsets"][0]["committed"], 20);
}
