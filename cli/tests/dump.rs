//! `dump`: the content of every kind of file.

use crate::sample::{FIRST, copy_log, many, vectors};
use crate::tool::run;
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
