//! Data directories: topics, producing and consuming.

use crate::sample::{content, keys, with_topic};
use crate::tool::{Ran, offsets, run, run_into_closed_pipe, run_with, spawn, tool, values};
use annals::{Store, StoreConfig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;

/// Returns lines with a different key each.
fn keyed(count: u64) -> Vec<u8> {
    (0..count).map(|n| format!("k{n}:v{n}\n")).collect::<String>().into_bytes()
}

#[test]
fn topic_is_created_altered_and_deleted() {
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
fn looking_changes_nothing() {
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
fn produced_records_are_acknowledged_and_consumed() {
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
    let of_one: Vec<_> = read.iter().filter(|line| line["partition"] == 1).collect();
    assert!(of_one.len() > 3 && one.iter().eq(of_one), "{one:?}");
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
fn produce_takes_output_of_consume() {
    let dir = with_topic("orders", "2");
    run(dir.path(), &["topics", "d", "create", "copy", "--partitions", "2"]).ok();
    let lines = [
        json!({"timestamp": 5, "key": "k", "value": {"base64": "/w=="}, "headers": [["h", "v"], ["none", null]]}),
        json!({"timestamp": 6, "key": null, "value": ""}),
        json!({"timestamp": 7, "key": "gone", "value": null}),
    ];
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    let json = ["produce", "d", "orders", "--format", "json", "--partition", "1"];
    for acks in ["none", "written", "flushed"] {
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
    // `append` accepts the same lines.
    run_with(dir.path(), &["append", "t-0", "--format", "json"], &read.stdout).ok();
    assert_eq!(run(dir.path(), &["read", "t-0"]).ok().lines().len(), 45);
}

#[test]
fn offsets_are_unknown_without_acks() {
    let dir = with_topic("orders", "1");
    let args = ["produce", "d", "orders", "--acks", "none", "--ack"];
    let ran = run_with(dir.path(), &args, b"a\nb\n").ok();
    assert_eq!(
        ran.lines(),
        [json!({"partition": 0, "offset": null}), json!({"partition": 0, "offset": null})]
    );
    assert_eq!(values(&run(dir.path(), &["consume", "d", "orders"]).ok()), ["a", "b"]);
}

#[test]
fn consume_skips_deleted_records() {
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
fn foreign_logs_are_topics() {
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

/// Once, a typo created another topic in the store, or a partition outside of its topic.
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

#[test]
fn wrong_usage_prints_one_line() {
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
        (2, &["topics", "d", "alter", "orders", "--partitions", "1"], "never loses partitions"),
        (2, &["topics", "d", "alter", "nope", "--partitions", "3"], "no topic `nope`"),
        (2, &["topics", "d", "describe", "orders", "nope"], "no topic `nope`"),
        (2, &["topics", "d", "delete", "nope"], "no topic `nope`"),
        (1, &["produce", "d"], "TOPIC"),
        (2, &["produce", "d", "nope"], "no topic `nope`"),
        (2, &["produce", "d", "orders", "--partition", "2"], "no partition 2"),
        (1, &["produce", "d", "orders", "--acks", "all"], "none, written, flushed"),
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
fn produce_names_line_of_wrong_input() {
    let dir = with_topic("orders", "1");
    let json = ["produce", "d", "orders", "--format", "json", "--ack"];
    for line in ["{", "[]", r#"{"valu":"x"}"#, r#"{"value":3}"#, r#"{"timestamp":-5,"value":"x"}"#]
    {
        run_with(dir.path(), &json, line.as_bytes())
            .refused(2, "line 1 of stdin")
            .refused(2, "nothing was appended");
    }
    let ran = run_with(dir.path(), &json, b"{\"value\":\"kept\"}\n\nnonsense\n");
    let acked = ran.refused(2, "line 3 of stdin").refused(2, "; 1 record was appended").lines();
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
fn consume_follows_other_process() {
    let dir = with_topic("orders", "2");
    let args = ["consume", "d", "orders", "--follow", "--max", "40", "--format", "value"];
    let mut follower = spawn(dir.path(), &args);
    let mut shown = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut producer = spawn(dir.path(), &["produce", "d", "orders", "--ack"]);
    let mut input = producer.stdin.take().unwrap();
    let mut acks = BufReader::new(producer.stdout.take().unwrap()).lines();
    for n in 0..40 {
        writeln!(input, "{n}").unwrap();
        // Each record is acknowledged and printed before the next one is sent.
        let ack: Value = serde_json::from_str(&acks.next().unwrap().unwrap()).unwrap();
        assert!(ack["offset"].is_u64());
        assert_eq!(shown.next().unwrap().unwrap(), n.to_string());
    }
    assert!(follower.wait().unwrap().success());
    // Meanwhile other processes can look, but not write or consume with a group.
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
fn consume_follows_added_partitions() {
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
fn records_and_commits_survive_kill() {
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

    // Every committed record was printed, even by a consumer that was killed.
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
        // The last line may be incomplete.
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
fn closed_pipe_commits_nothing_unseen() {
    let dir = with_topic("orders", "1");
    let lines = "a line of some length, so that they do not all fit into a pipe\n".repeat(5000);
    run_with(dir.path(), &["produce", "d", "orders"], lines.as_bytes()).ok();
    // The records of one poll fit into the buffer of stdout, so they are written only after the
    // poll.
    let group = ["consume", "d", "orders", "--group", "g", "--format", "value"];
    for args in [&["consume", "d", "orders"][..], &group] {
        let ran = run_into_closed_pipe(dir.path(), args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
    let group = run(dir.path(), &["groups", "d", "describe", "g"]).ok().lines().remove(0);
    assert_eq!(group["offsets"][0]["committed"], 0);
    // Stdin stays open, and the command must not wait for more input.
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

#[test]
fn consume_prints_sound_records_around_damage() {
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
