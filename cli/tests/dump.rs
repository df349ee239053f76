//! `dump`: the content of every kind of file.

use crate::sample::{FIRST, copy_log, many, vectors};
use crate::tool::{run, run_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::fs;

#[test]
fn dump_prints_every_kind_of_file() {
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
fn dump_continues_after_damage() {
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

/// The first value is of version 0, the second of version 1 with tagged fields. The third record
/// removes the id, the fourth has a key of a later kind, and the last has no valid value.
#[test]
fn dump_decodes_transaction_state() {
    let base64 = |hex: &str| {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
        json!({ "base64": STANDARD.encode(bytes) })
    };
    let key = "0000 0005 74786e2d31";
    let times = "0000018bcfe56800 0000018bcfe567fb";
    let orders = "00000001 0006 6f7264657273 00000002 00000000 00000003";
    let ongoing = format!("0000 0000000000000fa0 0002 0000ea60 01 {orders} {times}");
    let tags = "02 00 08 0000000000000fa0 02 02 0002";
    let complete = format!("0001 0000000000000fa0 0003 0000ea60 04 01 {times} {tags}");
    let records = [
        json!({ "key": base64(key), "value": base64(&ongoing) }),
        json!({ "key": base64(key), "value": base64(&complete) }),
        json!({ "key": base64(key), "value": null }),
        json!({ "key": base64("0001 00"), "value": "later" }),
        json!({ "key": base64(key), "value": base64("0002") }),
    ];
    let lines = records.map(|record| record.to_string()).join("\n");
    let dir = tempfile::tempdir().unwrap();
    let append = ["append", "__transaction_state-10", "--format", "json"];
    run_with(dir.path(), &append, lines.as_bytes()).ok();

    let dump = ["dump", "__transaction_state-10/00000000000000000000.log", "--records"];
    let ran = run(dir.path(), &dump).refused(2, "the record at offset 4 is no transaction");
    let lines: Vec<Value> =
        ran.lines().into_iter().filter(|line| line.get("offset").is_some()).collect();
    let partition = |number: u32| json!({ "topic": "orders", "partition": number });
    let ongoing = json!({
        "state": "Ongoing",
        "producer_id": 4000,
        "producer_epoch": 2,
        "previous_producer_id": null,
        "next_producer_id": null,
        "timeout_ms": 60000,
        "partitions": [partition(0), partition(3)],
        "started": 1_699_999_999_995_i64,
        "last_update": 1_700_000_000_000_i64,
        "client_version": 0,
    });
    assert_eq!(lines[0]["transactional_id"], "txn-1");
    assert_eq!(lines[0]["transaction"], ongoing);
    assert_eq!(lines[1]["transaction"]["state"], "CompleteCommit");
    assert_eq!(lines[1]["transaction"]["previous_producer_id"], 4000);
    assert_eq!(lines[1]["transaction"]["client_version"], 2);
    assert_eq!(lines[2]["transactional_id"], "txn-1");
    assert_eq!(lines[2].get("transaction"), Some(&Value::Null));
    assert_eq!((lines[3].get("transactional_id"), &lines[3]["value"]), (None, &json!("later")));
    assert_eq!(lines[4]["problem"], "its version is neither 0 nor 1");

    // Elsewhere, the same bytes are plain records.
    fs::rename(dir.path().join("__transaction_state-10"), dir.path().join("t-0")).unwrap();
    let plain = run(dir.path(), &["dump", &format!("{FIRST}.log"), "--records"]).ok().lines();
    assert!(plain.iter().all(|line| line.get("transactional_id").is_none()));
}
