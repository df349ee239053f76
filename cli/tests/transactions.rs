//! Transactions: listing, describing, and ending those that hang.

use crate::sample::content;
use crate::tool::{run, values};
use annals::record::BatchBuilder;
use annals::{
    Outcome, ProducerIdentity, Store, StoreConfig, Timestamp, TopicConfig, TransactionVersion, Wait,
};
use serde_json::json;
use std::time::Duration;
use tempfile::TempDir;

const MINUTE: Duration = Duration::from_secs(60);
const V2: TransactionVersion = TransactionVersion::V2;

fn batch(producer: ProducerIdentity, value: &str) -> annals::record::RecordBatch {
    let mut builder = BatchBuilder::new();
    builder.producer(producer.id, producer.epoch, 0).transactional(true);
    builder.push(Timestamp::from_millis(1), None, Some(value.as_bytes())).unwrap();
    builder.build().unwrap()
}

/// Begins a transaction with a record in partition 0 of `orders`.
fn begin(store: &Store, id: &str, value: &str) -> ProducerIdentity {
    let transactions = store.transactions().unwrap();
    let producer = transactions.init_producer_id(id, MINUTE, None, Wait::No).unwrap();
    let log = store.topic("orders").unwrap().partition(0).unwrap();
    let guard = log.begin_verification(producer, 0, V2).unwrap();
    let added = [("orders", 0).into()];
    transactions.add_partitions(id, producer, &added, V2, Wait::No).unwrap();
    log.append_verified(batch(producer, value), guard).unwrap();
    producer
}

/// A store with a committed transaction, an ongoing one, and one that no coordinator knows.
fn with_transactions() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    // Its records are old, so retention would delete them.
    let config = StoreConfig::default().maintenance(None);
    let store = Store::open(dir.path().join("d"), config).unwrap();
    let orders = store.create_topic("orders", TopicConfig::default()).unwrap();
    let paid = begin(&store, "paid", "one");
    let transactions = store.transactions().unwrap();
    transactions.end("paid", paid, Outcome::Commit, V2, false, Wait::No).unwrap();
    begin(&store, "open", "two");
    let log = orders.partition(0).unwrap();
    let unknown = ProducerIdentity { id: 7, epoch: 3 };
    let guard = log.begin_verification(unknown, 0, V2).unwrap();
    log.append_verified(batch(unknown, "three"), guard).unwrap();
    (dir, store)
}

#[test]
fn transactions_are_shown_beside_their_process() {
    let (dir, store) = with_transactions();
    let before = content(dir.path());
    let listed = run(dir.path(), &["transactions", "d", "list"]).ok().lines();
    let states: Vec<_> = listed.iter().map(|l| (&l["transactional_id"], &l["state"])).collect();
    assert_eq!(
        states,
        [(&json!("open"), &json!("Ongoing")), (&json!("paid"), &json!("CompleteCommit"))]
    );
    let open = run(dir.path(), &["transactions", "d", "describe", "open"]).ok().lines().remove(0);
    assert_eq!(open["producer_id"], listed[0]["producer_id"]);
    assert_eq!((&open["state"], &open["timeout_ms"]), (&json!("Ongoing"), &json!(60_000)));
    assert_eq!(open["partitions"], json!([{"topic": "orders", "partition": 0}]));
    let none = "no producer has the transactional id `none`; `annals transactions DIR list` prints";
    run(dir.path(), &["transactions", "d", "describe", "none"]).refused(2, none);
    // The ongoing one has a coordinator.
    let find = ["transactions", "d", "find-hanging"];
    let hanging = run(dir.path(), &[&find[..], &["--silent-for-ms", "0"]].concat()).ok().lines();
    let expected = json!([{"topic": "orders", "partition": 0, "producer_id": 7,
        "producer_epoch": 3, "coordinator_epoch": -1, "start_offset": 3, "last_timestamp": 1}]);
    assert_eq!(json!(hanging), expected);
    // The timestamp of its record is long ago.
    assert_eq!(json!(run(dir.path(), &find).ok().lines()), expected);
    let abort = ["transactions", "d", "abort", "--topic", "orders", "--partition", "0"];
    let at = |offset| [&abort[..], &["--start-offset", offset]].concat();
    assert_eq!(json!(run(dir.path(), &at("3")).ok().lines()), expected);
    run(dir.path(), &at("4")).refused(2, "begins at offset 4 of orders-0");
    run(dir.path(), &at("2")).refused(2, "does not hang");
    run(dir.path(), &[&at("3")[..], &["--execute"]].concat()).refused(2, "retry when");
    assert!(before == content(dir.path()));
    store.close().unwrap();
}

#[test]
fn hanging_transaction_is_aborted_with_execute() {
    let (dir, store) = with_transactions();
    store.close().unwrap();
    let read = ["consume", "d", "orders", "--isolation", "committed"];
    assert_eq!(values(&run(dir.path(), &read).ok()), ["one"]);
    let in_group = [&read[..], &["--group", "g"]].concat();
    assert_eq!(values(&run(dir.path(), &in_group).ok()), ["one"]);
    let uncommitted = values(&run(dir.path(), &["consume", "d", "orders"]).ok());
    assert_eq!(uncommitted, ["one", "two", "three"]);
    let abort = ["transactions", "d", "abort", "--topic", "orders", "--partition", "0"];
    let abort = [&abort[..], &["--start-offset", "3", "--execute"]].concat();
    assert_eq!(run(dir.path(), &abort).ok().lines()[0]["aborted_at"], 4);
    let find = ["transactions", "d", "find-hanging", "--silent-for-ms", "0"];
    assert!(run(dir.path(), &find).ok().lines().is_empty());
    // The ongoing transaction is left to the process that coordinates it.
    let listed = run(dir.path(), &["transactions", "d", "list"]).ok().lines();
    assert_eq!(listed[0]["state"], "Ongoing");
    run(dir.path(), &["transactions", "d", "abort"]).refused(1, "--topic");
}

/// An abort would tear the transaction: the other partition shows it.
#[test]
fn committed_transaction_without_marker_is_committed() {
    let (dir, store) = with_transactions();
    let log = store.topic("orders").unwrap().partition(0).unwrap();
    log.truncate_to(1).unwrap();
    assert_eq!(log.offsets().last_stable, 0);
    store.close().unwrap();
    let abort = ["transactions", "d", "abort", "--topic", "orders", "--partition", "0"];
    let abort = [&abort[..], &["--start-offset", "0", "--execute"]].concat();
    let ended = run(dir.path(), &abort).ok().lines().remove(0);
    assert_eq!((&ended["committed_at"], &ended["aborted_at"]), (&json!(1), &json!(null)));
    let read = ["consume", "d", "orders", "--isolation", "committed"];
    assert_eq!(values(&run(dir.path(), &read).ok()), ["one"]);
}

/// The producer does not return, or should not. Its transactional id is fenced, so that it is told.
#[test]
fn force_terminate_fences_producer() {
    let (dir, store) = with_transactions();
    let terminate = ["transactions", "d", "force-terminate", "--transactional-id", "open"];
    let execute = [&terminate[..], &["--execute"]].concat();
    run(dir.path(), &execute).refused(2, "retry when");
    let before = store.transactions().unwrap().describe("open").unwrap();
    let old = ProducerIdentity { id: before.producer_id, epoch: before.producer_epoch };
    store.close().unwrap();
    let content_before = content(dir.path());
    let shown = run(dir.path(), &terminate).ok().lines().remove(0);
    assert_eq!((&shown["transactional_id"], &shown["state"]), (&json!("open"), &json!("Ongoing")));
    assert!(content_before == content(dir.path()));
    let after = run(dir.path(), &execute).ok().lines().remove(0);
    assert_eq!((&after["state"], &after["partitions"]), (&json!("Empty"), &json!([])));
    assert_eq!(after["producer_epoch"], old.epoch + 2);
    // Only what no coordinator knows is left.
    let find = ["transactions", "d", "find-hanging", "--silent-for-ms", "0"];
    assert_eq!(run(dir.path(), &find).ok().lines().len(), 1);
    let none = ["transactions", "d", "force-terminate", "--transactional-id", "none", "--execute"];
    run(dir.path(), &none).refused(2, "no producer has the transactional id `none`");
    run(dir.path(), &["transactions", "d", "force-terminate"]).refused(1, "--transactional-id");

    let store =
        Store::open(dir.path().join("d"), StoreConfig::default().maintenance(None)).unwrap();
    let ended =
        store.transactions().unwrap().end("open", old, Outcome::Commit, V2, false, Wait::No);
    assert_eq!(ended.unwrap_err().kind(), annals::ErrorKind::Fenced);
}

#[test]
fn negative_number_is_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let find = ["transactions", "d", "find-hanging", "--silent-for-ms", "-5"];
    let told = "'-5' for '--silent-for-ms <N>': expected a whole number, not below 0";
    run(dir.path(), &find).refused(1, told);
    let abort = ["transactions", "d", "abort", "--topic", "t", "--partition", "-1"];
    run(dir.path(), &abort).refused(1, "'-1' for '--partition <N>'");
}
