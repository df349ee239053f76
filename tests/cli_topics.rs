//! The command-line tool on data directories: topics, producing, consuming and groups.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use annals::{AutoOffsetReset, ConsumerConfig, Store, StoreConfig, TopicConfig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tool::{Ran, offsets, run, run_with, spawn, tool, values};

#[path = "support/tool.rs"]
mod tool;

/// A data directory `d` with a topic.
fn with_topic(topic: &str, partitions: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["topics", "d", "create", topic, "--partitions", partitions]).ok();
    dir
}

/// All files below a directory, and what is in them.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
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

fn keys(line: &Value) -> Vec<&String> {
    line.as_object().unwrap().keys().collect()
}

/// So many lines, each with a key of its own.
fn keyed(count: u64) -> Vec<u8> {
    (0..count).map(|n| format!("k{n}:v{n}\n")).collect::<String>().into_bytes()
}

#[test]
fn a_topic_is_created_listed_described_altered_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let create = ["topics", "d", "create", "orders", "--partitions", "3", "--config"];
    let made =
        run(dir.path(), &[&create[..], &["retention.ms=60000", "cleanup.policy=delete"]].concat());
    let made = made.ok().lines();
    assert_eq!(keys(&made[0]), ["topic", "id", "internal", "partitions", "config"]);
    let described = ["partition", "start", "end", "bytes", "segments"];
    assert_eq!(keys(&made[0]["partitions"][2]), described);
    assert_eq!(made[0]["config"], json!({"cleanup.policy": "delete", "retention.ms": "60000"}));
    run(dir.path(), &["topics", "d", "create", "another"]).ok();

    let listed = run(dir.path(), &["topics", "d", "list"]).ok().lines();
    let line = |topic: &str, partitions: u32| json!({"topic": topic, "partitions": partitions, "internal": false});
    assert_eq!(listed, [line("another", 1), line("orders", 3)]);
    assert_eq!(keys(&listed[0]), ["topic", "partitions", "internal"]);
    let all = run(dir.path(), &["topics", "d", "describe"]).ok().lines();
    assert_eq!((all.len(), &all[1]), (2, &made[0]));
    let two = ["topics", "d", "describe", "orders", "another"];
    assert_eq!(run(dir.path(), &two).ok().lines()[0]["topic"], "orders");

    let alter = ["topics", "d", "alter", "orders", "--config", "segment.bytes=1048576"];
    let more = ["--delete-config", "retention.ms", "--partitions", "4"];
    let altered = run(dir.path(), &[&alter[..], &more].concat()).ok().lines().remove(0);
    let config = json!({"cleanup.policy": "delete", "segment.bytes": "1048576"});
    assert_eq!((&altered["config"], &altered["id"]), (&config, &made[0]["id"]));
    assert_eq!(altered["partitions"].as_array().unwrap().len(), 4);

    let deleted = run(dir.path(), &["topics", "d", "delete", "orders", "--execute"]).ok().lines();
    assert_eq!(deleted, [json!({"topic": "orders", "deleted": true})]);
    assert_eq!(run(dir.path(), &["topics", "d", "list"]).ok().lines(), [line("another", 1)]);
}

#[test]
fn looking_changes_nothing_and_makes_nothing() {
    let dir = with_topic("orders", "2");
    run_with(dir.path(), &["produce", "d", "orders"], b"a\nb\n").ok();
    let before = content(dir.path());
    for args in [
        &["topics", "d", "list"][..],
        &["topics", "d", "describe"],
        &["consume", "d", "orders"],
        &["groups", "d", "list"],
    ] {
        run(dir.path(), args).ok();
        assert!(before == content(dir.path()), "{args:?}");
    }
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::create_dir(dir.path().join("foreign")).unwrap();
    fs::write(dir.path().join("foreign/notes.txt"), "x").unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let before = content(dir.path());
    for path in ["empty", "foreign", "missing", "file", "d/orders-0"] {
        run(dir.path(), &["topics", path, "list"]).refused(2, path);
        run(dir.path(), &["topics", path, "describe"]).refused(2, path);
        run(dir.path(), &["topics", path, "alter", "t", "--partitions", "2"]).refused(2, path);
        run(dir.path(), &["topics", path, "delete", "t"]).refused(2, path);
        run_with(dir.path(), &["produce", path, "orders"], b"x\n").refused(2, path);
        run(dir.path(), &["consume", path, "orders"]).refused(2, path);
        run(dir.path(), &["consume", path, "orders", "--group", "g"]).refused(2, path);
        run(dir.path(), &["groups", path, "list"]).refused(2, path);
    }
    run(dir.path(), &["topics", "d/orders-0", "list"]).refused(2, "give the one above it");
    for path in ["file", "d/orders-0"] {
        run(dir.path(), &["topics", path, "create", "orders"]).refused(2, path);
    }
    assert!(before == content(dir.path()));
}

#[test]
fn what_is_produced_is_acknowledged_and_consumed() {
    let dir = with_topic("orders", "3");
    let args = ["produce", "d", "orders", "--key-separator", ":", "--ack"];
    let ran = run_with(dir.path(), &args, &keyed(100)).ok();
    assert!(ran.stderr.starts_with("100 records, 580 bytes, "), "{}", ran.stderr);
    let acked: BTreeSet<(u64, u64)> = ran
        .lines()
        .iter()
        .map(|ack| {
            assert_eq!(keys(ack), ["partition", "offset"]);
            (ack["partition"].as_u64().unwrap(), ack["offset"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(acked.len(), 100);

    let read = run(dir.path(), &["consume", "d", "orders"]).ok().lines();
    let order = ["topic", "partition", "offset", "timestamp", "key", "value", "headers"];
    assert_eq!(keys(&read[0]), order);
    let place =
        |line: &Value| (line["partition"].as_u64().unwrap(), line["offset"].as_u64().unwrap());
    let places: Vec<(u64, u64)> = read.iter().map(place).collect();
    assert!(places.iter().copied().eq(acked), "in the order of partitions and offsets");
    let pairs: BTreeSet<(String, String)> = read
        .iter()
        .map(|line| (line["key"].as_str().unwrap().into(), line["value"].as_str().unwrap().into()))
        .collect();
    assert_eq!(pairs, (0..100).map(|n| (format!("k{n}"), format!("v{n}"))).collect());

    let one = run(dir.path(), &["consume", "d", "orders", "--partition", "1"]).ok().lines();
    assert!(one.iter().all(|line| line["partition"] == 1));
    let args = ["consume", "d", "orders", "--partition", "1", "--from", "3", "--max", "2"];
    assert_eq!(offsets(&run(dir.path(), &args).ok()), [3, 4]);
    let args = ["consume", "d", "orders", "--from", "latest"];
    assert!(run(dir.path(), &args).ok().stdout.is_empty());
    let args = ["consume", "d", "orders", "--from", "@9999999999999"];
    assert!(run(dir.path(), &args).ok().stdout.is_empty());
    let args = ["consume", "d", "orders", "orders", "--max", "1", "--format", "key-value"];
    let shown = String::from_utf8(run(dir.path(), &args).ok().stdout).unwrap();
    assert_eq!(
        shown,
        format!("{}\t{}\n", read[0]["key"].as_str().unwrap(), read[0]["value"].as_str().unwrap())
    );
}

#[test]
fn what_is_consumed_can_be_produced_again() {
    let dir = with_topic("orders", "2");
    run(dir.path(), &["topics", "d", "create", "copy", "--partitions", "2"]).ok();
    let lines = [
        json!({"timestamp": 5, "key": "k", "value": {"base64": "/w=="}, "headers": [["h", "v"], ["none", null]]}),
        json!({"timestamp": 6, "key": null, "value": ""}),
        json!({"timestamp": 7, "key": "gone", "value": null}),
    ];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let json = ["produce", "d", "orders", "--format", "json", "--partition", "1"];
    for acks in ["handed-over", "written", "flushed"] {
        for codec in ["none", "zstd", "lz4", "snappy", "gzip"] {
            let options = ["--acks", acks, "--compression", codec, "--batch-bytes", "0"];
            let args = [&json[..], &options, &["--linger-ms", "0"]].concat();
            run_with(dir.path(), &args, lines.join("\n").as_bytes()).ok();
        }
    }
    let read = run(dir.path(), &["consume", "d", "orders"]).ok();
    assert_eq!(read.lines().len(), 45);
    let again = ["produce", "d", "copy", "--format", "json", "--partition", "0"];
    run_with(dir.path(), &again, &read.stdout).ok();
    let mut copied = run(dir.path(), &["consume", "d", "copy"]).ok().lines();
    for line in &mut copied {
        line["topic"] = json!("orders");
        line["partition"] = json!(1);
    }
    assert_eq!(copied, read.lines());
    // A log by itself takes them, too.
    run_with(dir.path(), &["append", "t-0", "--format", "json"], &read.stdout).ok();
    assert_eq!(run(dir.path(), &["read", "t-0"]).ok().lines().len(), 45);
}

#[test]
fn without_acknowledgement_offsets_are_unknown() {
    let dir = with_topic("orders", "1");
    let args = ["produce", "d", "orders", "--acks", "handed-over", "--ack"];
    let ran = run_with(dir.path(), &args, b"a\nb\n").ok();
    assert_eq!(
        ran.lines(),
        [json!({"partition": 0, "offset": null}), json!({"partition": 0, "offset": null})]
    );
    assert_eq!(values(&run(dir.path(), &["consume", "d", "orders"]).ok()), ["a", "b"]);
}

#[test]
fn records_that_were_deleted_are_not_consumed() {
    let dir = with_topic("orders", "1");
    run_with(dir.path(), &["produce", "d", "orders"], b"a\nb\nc\n").ok();
    let store = Store::open(dir.path().join("d"), StoreConfig::default()).unwrap();
    store.admin().delete_records("orders", 0, 2).unwrap();
    store.close().unwrap();
    let described = run(dir.path(), &["topics", "d", "describe"]).ok().lines().remove(0);
    assert_eq!(described["partitions"][0]["start"], 2);
    for args in [
        &["consume", "d", "orders"][..],
        &["consume", "d", "orders", "--from", "@0"],
        &["consume", "d", "orders", "--group", "g"],
    ] {
        assert_eq!(values(&run(dir.path(), args).ok()), ["c"], "{args:?}");
    }
    run(dir.path(), &["consume", "d", "orders", "--from", "1"]).refused(2, "starts at 2");
    run(dir.path(), &["consume", "d", "orders", "--from", "1", "--group", "new"])
        .refused(2, "starts at 2");
}

#[test]
fn logs_that_others_made_are_topics() {
    let dir = tempfile::tempdir().unwrap();
    for log in ["d/orders-0", "d/orders-1"] {
        run_with(dir.path(), &["append", log], b"a\n").ok();
    }
    let listed = json!({"topic": "orders", "partitions": 2, "internal": false});
    assert_eq!(run(dir.path(), &["topics", "d", "list"]).ok().lines(), [listed]);
    let described = run(dir.path(), &["topics", "d", "describe", "orders"]).ok().lines().remove(0);
    assert_eq!((&described["id"], &described["config"]), (&Value::Null, &json!({})));
    assert_eq!(values(&run(dir.path(), &["consume", "d", "orders"]).ok()), ["a", "a"]);
    assert!(!dir.path().join("d/meta.properties").exists());
    run_with(dir.path(), &["produce", "d", "orders", "--partition", "1"], b"b\n").ok();
    assert_eq!(values(&run(dir.path(), &["consume", "d", "orders"]).ok()), ["a", "a", "b"]);
    run(dir.path(), &["verify", "d/orders-1"]).ok();
    assert!(run(dir.path(), &["topics", "d", "describe"]).ok().lines()[0]["id"].is_string());
}

#[test]
fn a_group_goes_on_where_it_was() {
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
    // Where a group begins that has committed nothing, is for it to say.
    let late = ["consume", "d", "orders", "--group", "late", "--from", "latest"];
    assert!(run(dir.path(), &late).ok().stdout.is_empty());
    run_with(dir.path(), &[&produce[..], &["0"]].concat(), b"g\n").ok();
    assert_eq!(values(&run(dir.path(), &late).ok()), ["g"]);
    // What the store keeps for itself can be read; there would be more with each commit.
    let own = ["consume", "d", "__consumer_offsets", "--group", "g", "--format", "value"];
    assert!(!run(dir.path(), &own).ok().stdout.is_empty());
}

/// A typo made another topic in the store, or a partition that it could not place.
#[test]
fn append_creates_no_partition_in_store() {
    let dir = with_topic("weather", "2");
    let before = content(dir.path());
    run_with(dir.path(), &["append", "d/weathr-0"], b"a\n").refused(2, "no topic `weathr`");
    run_with(dir.path(), &["append", "d/weather-2"], b"a\n").refused(2, "no partition 2");
    assert_eq!(content(dir.path()), before);
    run_with(dir.path(), &["append", "d/weather-1"], b"a\n").ok();
    run(dir.path(), &["topics", "d", "describe", "weather"]).ok();
}

/// Looking takes no lock, so a group can be looked at while its members are at work.
#[test]
fn group_is_described_beside_its_members() {
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
    // What is left when the process is killed: members live in it, so nobody reads any more.
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
fn a_group_is_reset_only_when_told_to() {
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
    assert!(dry.stderr.starts_with("annals: warning: nothing was changed"), "{}", dry.stderr);
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
    run(dir.path(), &shift).refused(2, "nothing is committed for partition 0 of `orders`");
    // One that is new can be sent anywhere.
    assert_eq!(reset(&["--to", "3", "--execute"]).lines()[0]["before"], Value::Null);
    let read = run(dir.path(), &["consume", "d", "orders", "--group", "g", "--max", "1"]).ok();
    assert_eq!(values(&read), ["3"]);
}

#[test]
fn a_dry_run_makes_no_topic() {
    let dir = with_topic("orders", "1");
    run(dir.path(), &["groups", "d", "reset", "g", "--topic", "orders", "--to", "latest"]).ok();
    run(dir.path(), &["groups", "d", "list"]).ok();
    run(dir.path(), &["groups", "d", "describe", "g"]).refused(2, "no group");
    assert_eq!(run(dir.path(), &["topics", "d", "list"]).ok().lines().len(), 1);
}

#[test]
fn wrong_usage_is_told_in_one_line() {
    let dir = with_topic("orders", "2");
    let before = content(dir.path());
    for (code, args, words) in [
        (1, &["topics"][..], "list describe create alter delete"),
        (1, &["topics", "d"], "list describe create alter delete"),
        (1, &["topics", "d", "lisst"], "list"),
        (1, &["topics", "d", "zzz"], "list describe create alter delete"),
        (1, &["topics", "d", "create"], "TOPIC"),
        (1, &["topics", "d", "create", "x", "--partitions", "0"], "--partitions"),
        (1, &["topics", "d", "create", "x", "--partitions", "100001"], "--partitions"),
        (1, &["topics", "d", "create", "x", "--config", "retention.ms"], "key=value"),
        (1, &["topics", "d", "create", "x", "--config", "retention.mss=1"], "`retention.ms`"),
        (1, &["topics", "d", "create", "x", "--config", "colour=red"], "no setting `colour`"),
        (1, &["topics", "d", "create", "x", "--config", "retention.ms=soon"], "retention.ms"),
        (1, &["topics", "d", "create", "a b"], "a b"),
        (1, &["topics", "d", "create", "__consumer_offsets"], "__consumer_offsets"),
        (1, &["topics", "missing", "create", "a b"], "a b"),
        (2, &["topics", "d", "create", "orders"], "`orders` already"),
        (1, &["topics", "d", "alter", "orders"], "--partitions"),
        (1, &["topics", "d", "alter", "orders", "--delete-config", "colour"], "colour"),
        (1, &["topics", "d", "alter", "orders", "--zzz"], "it takes --config --delete-config"),
        (2, &["topics", "d", "alter", "orders", "--partitions", "1"], "never taken"),
        (2, &["topics", "d", "alter", "nope", "--partitions", "3"], "no topic `nope`"),
        (2, &["topics", "d", "describe", "orders", "nope"], "no topic `nope`"),
        (2, &["topics", "d", "delete", "nope"], "no topic `nope`"),
        (1, &["produce", "d"], "TOPIC"),
        (2, &["produce", "d", "nope"], "no topic `nope`"),
        (2, &["produce", "d", "orders", "--partition", "2"], "no partition 2"),
        (1, &["produce", "d", "orders", "--acks", "all"], "handed-over"),
        (1, &["produce", "d", "orders", "--linger-ms", "999999"], "--linger-ms"),
        (1, &["produce", "d", "orders", "--batch-bytes", "9999999999"], "--batch-bytes"),
        (1, &["produce", "d", "orders", "--batch-byte", "9"], "--batch-bytes"),
        (
            1,
            &["produce", "d", "orders", "--format", "json", "--key-separator", ":"],
            "--key-separator is for",
        ),
        (1, &["consume", "d"], "TOPICS"),
        (2, &["consume", "d", "orders", "nope"], "no topic `nope`"),
        (2, &["consume", "d", "orders", "--partition", "2"], "no partition 2"),
        (
            2,
            &["consume", "d", "orders", "--from", "1"],
            "offset 1 is out of range: log d/orders-0 ",
        ),
        (1, &["consume", "d", "orders", "--from", "first"], "a position is earliest"),
        (1, &["consume", "d", "orders", "--group", ""], "the name of a group"),
        (1, &["consume", "d", "orders", "--max", "-1"], "'-1' for '--max"),
        (1, &["groups", "d"], "list describe delete reset"),
        (1, &["groups", "d", "reset", "g", "--to", "earliest"], "--topic"),
        (1, &["groups", "d", "reset", "g", "--topic", "orders"], "--to"),
        (
            1,
            &["groups", "d", "reset", "g", "--topic", "orders", "--to", "1", "--shift", "1"],
            "--shift",
        ),
        (2, &["groups", "d", "reset", "g", "--topic", "nope", "--to", "1"], "no topic `nope`"),
    ] {
        run(dir.path(), args).refused(code, words);
    }
    let directories = |files: &BTreeMap<PathBuf, Vec<u8>>| -> Vec<PathBuf> {
        files.keys().filter(|path| path.is_dir()).cloned().collect()
    };
    assert_eq!(directories(&content(dir.path())), directories(&before));
    for args in
        [&["topics", "--help"][..], &["topics", "d", "create", "--help"], &["consume", "--help"]]
    {
        assert!(!run(dir.path(), args).ok().stdout.is_empty());
    }
}

#[test]
fn wrong_input_names_its_line() {
    let dir = with_topic("orders", "1");
    let json = ["produce", "d", "orders", "--format", "json", "--ack"];
    for line in ["{", "[]", r#"{"valu":"x"}"#, r#"{"value":3}"#, r#"{"timestamp":-5,"value":"x"}"#]
    {
        run_with(dir.path(), &json, line.as_bytes())
            .refused(2, "line 1 of stdin")
            .refused(2, "0 records were written");
    }
    let ran = run_with(dir.path(), &json, b"{\"value\":\"kept\"}\n\nnonsense\n");
    let acked = ran.refused(2, "line 3 of stdin").refused(2, "; 1 records were written").lines();
    assert_eq!(acked, [json!({"partition": 0, "offset": 0})]);
    let long = vec![b'x'; 2 << 20];
    let lines = ["produce", "d", "orders"];
    run_with(dir.path(), &lines, &long).refused(2, "max.message.bytes");
    let nearly = vec![b'x'; 1_048_588];
    run_with(dir.path(), &lines, &nearly)
        .refused(2, "line 1 of stdin")
        .refused(2, "max.message.bytes");
    let raise = ["topics", "d", "alter", "orders", "--config", "max.message.bytes=4194304"];
    run(dir.path(), &raise).ok();
    run_with(dir.path(), &lines, &long).ok();
    let keyless = ["topics", "d", "create", "table", "--config", "cleanup.policy=compact"];
    run(dir.path(), &keyless).ok();
    run_with(dir.path(), &["produce", "d", "table"], b"x\n").refused(2, "line 1 of stdin");
    assert_eq!(values(&run(dir.path(), &["consume", "d", "orders", "--max", "1"]).ok()), ["kept"]);
}

#[test]
fn who_follows_sees_what_another_process_produces() {
    let dir = with_topic("orders", "2");
    let args = ["consume", "d", "orders", "--follow", "--max", "40", "--format", "value"];
    let mut follower = spawn(dir.path(), &args);
    let mut shown = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut producer = spawn(dir.path(), &["produce", "d", "orders", "--ack"]);
    let mut input = producer.stdin.take().unwrap();
    let mut acks = BufReader::new(producer.stdout.take().unwrap()).lines();
    for n in 0..40 {
        writeln!(input, "{n}").unwrap();
        // Each is acknowledged, and seen, before there is another.
        let ack: Value = serde_json::from_str(&acks.next().unwrap().unwrap()).unwrap();
        assert!(ack["offset"].is_u64());
        assert_eq!(shown.next().unwrap().unwrap(), n.to_string());
    }
    assert!(follower.wait().unwrap().success());
    // Meanwhile nobody else may write, or be in a group, but look.
    let holder = format!("process {}", producer.id());
    run_with(dir.path(), &["produce", "d", "orders"], b"x\n").refused(2, &holder);
    run(dir.path(), &["consume", "d", "orders", "--group", "g"]).refused(2, &holder);
    run(dir.path(), &["groups", "d", "delete", "g", "--execute"]).refused(2, &holder);
    assert!(run(dir.path(), &["groups", "d", "list"]).ok().stdout.is_empty());
    run(dir.path(), &["topics", "d", "delete", "orders", "--execute"]).refused(2, &holder);
    let described = run(dir.path(), &["topics", "d", "describe"]).ok().lines().remove(0);
    let ends = described["partitions"].as_array().unwrap();
    assert_eq!(ends.iter().map(|p| p["end"].as_u64().unwrap()).sum::<u64>(), 40);
    drop(input);
    assert!(producer.wait().unwrap().success());
    run_with(dir.path(), &["produce", "d", "orders"], b"x\n").ok();
}

#[test]
fn who_follows_sees_partitions_that_are_added() {
    let dir = with_topic("orders", "1");
    let produce = ["produce", "d", "orders", "--partition"];
    run_with(dir.path(), &[&produce[..], &["0"]].concat(), b"a\n").ok();
    let mut follower = spawn(dir.path(), &["consume", "d", "orders", "--follow", "--max", "2"]);
    let mut shown = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&shown.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["partition"], 0);
    run(dir.path(), &["topics", "d", "alter", "orders", "--partitions", "2"]).ok();
    run_with(dir.path(), &[&produce[..], &["1"]].concat(), b"b\n").ok();
    assert_eq!(next()["partition"], 1);
    assert!(follower.wait().unwrap().success());
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged_or_committed() {
    let dir = with_topic("orders", "2");
    let mut acked: BTreeSet<(u64, u64)> = BTreeSet::new();
    for round in 1..=3 {
        let args = ["produce", "d", "orders", "--ack", "--batch-bytes", "100", "--acks", "flushed"];
        let mut producer = spawn(dir.path(), &args);
        let mut input = producer.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || while input.write_all(b"value\n").is_ok() {});
        let acks = BufReader::new(producer.stdout.take().unwrap()).lines();
        for ack in acks.take(50 * round) {
            let ack: Value = serde_json::from_str(&ack.unwrap()).unwrap();
            acked.insert((ack["partition"].as_u64().unwrap(), ack["offset"].as_u64().unwrap()));
        }
        producer.kill().unwrap();
        producer.wait().unwrap();
        feeder.join().unwrap();
    }
    let read: BTreeSet<(u64, u64)> = run(dir.path(), &["consume", "d", "orders"])
        .ok()
        .lines()
        .iter()
        .map(|line| (line["partition"].as_u64().unwrap(), line["offset"].as_u64().unwrap()))
        .collect();
    assert!(acked.is_subset(&read));

    // What was committed was printed, also by one that was killed.
    let place =
        |line: &Value| (line["partition"].as_u64().unwrap(), line["offset"].as_u64().unwrap());
    let group = ["consume", "d", "orders", "--group", "g"];
    let mut seen = BTreeSet::new();
    for lines in [1, 40] {
        let mut consumer = spawn(dir.path(), &group);
        let mut shown = BufReader::new(consumer.stdout.take().unwrap());
        for _ in 0..lines {
            let mut line = String::new();
            shown.read_line(&mut line).unwrap();
            seen.extend(serde_json::from_str(&line).iter().map(place));
        }
        consumer.kill().unwrap();
        consumer.wait().unwrap();
        // The last line may be cut.
        let left = shown.lines().map_while(Result::ok);
        seen.extend(left.filter_map(|line| Some(place(&serde_json::from_str(&line).ok()?))));
    }
    seen.extend(run(dir.path(), &group).ok().lines().iter().map(place));
    assert_eq!(seen, read);
    let described = run(dir.path(), &["groups", "d", "describe", "g"]).ok().lines().remove(0);
    let lags = described["offsets"].as_array().unwrap().iter();
    assert_eq!(lags.map(|at| at["lag"].as_u64().unwrap()).sum::<u64>(), 0);
}

#[test]
fn a_closed_pipe_ends_it_quietly_and_commits_nothing_unseen() {
    let dir = with_topic("orders", "1");
    let lines = "a line of some length, so that they do not all fit into a pipe\n".repeat(5000);
    run_with(dir.path(), &["produce", "d", "orders"], lines.as_bytes()).ok();
    // What a poll gives fits into the buffer of what is printed, so it is not written before the end of the poll.
    let group = ["consume", "d", "orders", "--group", "g", "--format", "value"];
    for args in [&["consume", "d", "orders"][..], &group] {
        let mut child = tool();
        child.args(args).current_dir(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
    let group = run(dir.path(), &["groups", "d", "describe", "g"]).ok().lines().remove(0);
    assert_eq!(group["offsets"][0]["committed"], 0);
    // Stdin stays open: it must not wait for more of that.
    let mut child = tool();
    child.args(["produce", "d", "orders", "--ack"]).current_dir(dir.path());
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"x\n").unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    drop(input);
    assert_eq!(
        offsets(&run(dir.path(), &["consume", "d", "orders", "--from", "5000"]).ok()),
        [5000]
    );
}

/// A damaged partition ended the command, with half of the records of the others not printed, and advised calls of the
/// library; while it was offline, nothing was printed.
#[test]
fn group_goes_on_beside_damaged_partition() {
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

/// Ctrl-C while records were printed committed none of them.
#[cfg(unix)]
#[test]
fn interrupted_group_commits_what_it_printed() {
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

#[test]
fn everything_sound_is_consumed_around_damage() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["topics", "d", "create", "t"]).ok();
    for n in 0..4 {
        run_with(dir.path(), &["produce", "d", "t"], format!("{n}\n").as_bytes()).ok();
    }
    let path = dir.path().join("d/t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - bytes.len() / 4 - 1; // the last byte of the third batch
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    let consume = |more: &[&str]| {
        let command = ["consume", "d", "t", "--format", "value"];
        let ran = run(dir.path(), &[&command, more].concat());
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        assert!(ran.stderr.contains("offsets 2 to 2"), "{}", ran.stderr);
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(consume(&[]), "0\n1\n3\n");
    assert_eq!(consume(&["--from", "1"]), "1\n3\n");
}

#[test]
fn nothing_is_deleted_without_execute() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["topics", "d", "create", "t"]).ok();
    run_with(dir.path(), &["produce", "d", "t"], b"a\n").ok();
    run(dir.path(), &["consume", "d", "t", "--group", "g"]).ok();
    for (command, kept) in [
        (["topics", "d", "delete", "t"], ["topics", "d", "describe", "t"]),
        (["groups", "d", "delete", "g"], ["groups", "d", "describe", "g"]),
    ] {
        let shown = run(dir.path(), &command).ok();
        assert!(shown.stderr.contains("--execute"), "{}", shown.stderr);
        assert_eq!(shown.lines(), run(dir.path(), &kept).ok().lines());
    }
}
