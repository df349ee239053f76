//! A reopened partition: its content, the calls that it still rejects, and its errors.

use super::{consumer, fail_sync, open, poll, producer, send, store, stored};
use annals::fs::{CrashState, FaultFs, Fs, MemFs, OpenMode};
use annals::{
    CloseReason, Error, ErrorKind, Event, Log, LogConfig, OnCorruption, Record, Store, StoreConfig,
    Timestamp, TopicConfig,
};
use std::path::Path;
use std::sync::Arc;
use support::Heard;

const SEGMENT: &str = "data/orders-1/00000000000000000000.log";

/// One failed sync of one partition meant closing the whole store: the call that the message names
/// returned `Ok`, and the log stayed as it was. The batch whose sync failed is in the log, and its
/// producer must not use its numbers again.
#[test]
fn reopened_partition_accepts_after_failed_sync() {
    let (fs, store) = store();
    let (producer, mut consumer) = (producer(&store), consumer(&store));
    send(&producer, "a").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a"]);
    fail_sync(&fs);
    assert_eq!(send(&producer, "lost?").unwrap_err().kind(), ErrorKind::Io);
    let rejected = send(&producer, "b").unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Poisoned);
    let advice = r#"Store::reopen_partition("orders", 1, "#;
    assert!(rejected.to_string().contains(advice), "{rejected}");
    let before = store.topic("orders").unwrap().partition(1).unwrap();
    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    send(&producer, "c").unwrap();
    send(&producer, "d").unwrap();
    assert_eq!(stored(&store), ["a", "lost?", "c", "d"]);
    assert_eq!(poll(&mut consumer).unwrap(), ["lost?", "c", "d"]);
    let closed = before.append("no").unwrap_err();
    assert!(matches!(closed, Error::Closed { reason: CloseReason::Reopened, .. }), "{closed}");
    store.close().unwrap();
    let store = open(&fs);
    assert!(store.topic("orders").unwrap().partition(1).unwrap().recovery().clean_shutdown);
}

/// A log that reads only its possibly torn part learns later, from a reader, that one of its
/// synced batches is damaged.
#[test]
fn reopening_quarantines_damage_from_poll() {
    let (fs, store) = store();
    let (producer, mut consumer) = (producer(&store), consumer(&store));
    for value in ["a", "b", "c"] {
        send(&producer, value).unwrap();
    }
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    let bytes = fs.open(Path::new(SEGMENT), OpenMode::ReadWrite).unwrap();
    let second = usize::try_from(log.stats().unwrap().bytes / 3).unwrap() as u64;
    bytes.write_all_at(b"!", second + 67).unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a"]);
    let met = poll(&mut consumer).unwrap_err();
    assert_eq!(met.kind(), ErrorKind::Corrupt);
    assert!(met.to_string().contains("Store::reopen_partition"), "{met}");
    let log = store.reopen_partition("orders", 1, OnCorruption::Quarantine).unwrap();
    assert_eq!(log.recovery().quarantined[0].offsets, 1..2);
    send(&producer, "d").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["c", "d"]);
    assert_eq!(stored(&store), ["a", "c", "d"]);
}

#[test]
fn partition_is_offline_when_reopening_fails() {
    let fs = MemFs::new();
    let heard = Arc::new(Heard::default());
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).listener(heard.clone());
    let store = Store::open("data", config).unwrap();
    let orders = store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    let (producer, mut consumer) = (producer(&store), consumer(&store));
    send(&producer, "a").unwrap();
    orders.partition(1).unwrap().roll().unwrap();
    send(&producer, "b").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a", "b"]);
    let file = fs.open(Path::new(SEGMENT), OpenMode::ReadWrite).unwrap();
    file.set_len(file.len().unwrap() - 1).unwrap();
    let error = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(orders.partition(1).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(send(&producer, "no").unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(poll(&mut consumer).unwrap_err().kind(), ErrorKind::Corrupt);
    orders.partition(0).unwrap().append("other").unwrap();
    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap_err();
    let offline = |event: &&Event| matches!(event, Event::PartitionOffline { .. });
    assert_eq!(heard.0.lock().unwrap().iter().filter(offline).count(), 1);
    store.reopen_partition("orders", 1, OnCorruption::Quarantine).unwrap();
    send(&producer, "c").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["c"]);
}

/// The store had been opened after a power loss, which explained any damage above the recovery
/// point for as long as it was open: acknowledged records after a byte that was damaged since were
/// truncated without an error.
#[test]
fn reopening_fails_on_damage_after_crash() {
    let disk = MemFs::new();
    let store = open(&FaultFs::new(disk.clone()));
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    drop(store);
    let disk = disk.crash(CrashState::SyncedOnly);
    let fs = FaultFs::new(disk.clone());
    let store = open(&fs);
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    let file = disk.open(Path::new(SEGMENT), OpenMode::ReadWrite).unwrap();
    log.append("a").unwrap();
    let end_of_first = file.len().unwrap();
    log.append("b").unwrap();
    file.write_all_at(b"?", end_of_first - 2).unwrap();
    fail_sync(&fs);
    log.flush().unwrap_err();
    for _ in 0..2 {
        let error = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
    store.reopen_partition("orders", 1, OnCorruption::Quarantine).unwrap();
    assert_eq!(stored(&store), ["b"]);
}

/// A disk that failed under several partitions: that one of them was reopened was reported as the
/// error of another, as all partitions of the topic were given to the maintainer again; and so was
/// that partitions were added.
#[test]
fn partition_reopens_beside_closed_ones() {
    let store = Store::open("data", StoreConfig::default().fs(MemFs::new())).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    for number in [0, 1] {
        topic.partition(number).unwrap().close().unwrap();
    }
    let log = store.reopen_partition("orders", 0, OnCorruption::Fail).unwrap();
    log.append("a").unwrap();
    store.add_partitions("orders", 4).unwrap();
    topic.partition(3).unwrap().append("b").unwrap();
}

/// With a thousand partitions, an error that does not say which is of no use, nor is one whose
/// advice cannot be followed.
#[test]
fn errors_name_log_and_remedy() {
    let fs = MemFs::new();
    let config = || StoreConfig::default().fs(fs.clone()).maintenance(None);
    let store = Store::open("data", config()).unwrap();
    let limit = LogConfig::default().max_message_bytes(100);
    let orders = store.create_topic("orders", TopicConfig::default().partitions(2).log(limit));
    let orders = orders.unwrap();
    let log = orders.partition(1).unwrap();
    let view = Store::open_read_only("data", config()).unwrap();
    let viewed = view.partition("orders", 1).unwrap();
    let alone = Log::open("alone", LogConfig::default().fs(fs.clone())).unwrap();
    let says = |error: Error, parts: &[&str]| {
        let told = error.to_string();
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    };
    says(log.get(9).unwrap_err(), &["offset 9", "data/orders-1", "has no readable record"]);
    log.append("a").unwrap();
    says(log.get(9).unwrap_err(), &["data/orders-1", "from 0 to 1"]);
    let large = log.append("x".repeat(200)).unwrap_err();
    says(large, &["`max.message.bytes` of topic `orders`"]);
    orders.partition(0).unwrap().close().unwrap();
    let closed = orders.partition(0).and_then(|log| log.append("no")).unwrap_err();
    says(viewed.append("no").unwrap_err(), &["data/orders-1", "read-only"]);
    says(view.describe_topic("nope").unwrap_err(), &["`Store::topics` lists"]);
    says(store.delete_topic("__consumer_offsets").unwrap_err(), &["cannot be deleted"]);
    let other = store.create_topic("other", TopicConfig::default()).unwrap();
    let deleted = other.partition(0).unwrap();
    let at = |millis| deleted.append(Record::new("a").timestamp(Timestamp::from_millis(millis)));
    says(at(1 << 50).unwrap_err(), &["`message.timestamp.after.max.ms`", "`timestamp_after_max`"]);
    says(at(-7).unwrap_err(), &["omit it"]);
    store.delete_topic("other").unwrap();
    says(deleted.append("no").unwrap_err(), &["data/other-0", "topic `other` was deleted"]);
    store.close().unwrap();
    says(log.append("no").unwrap_err(), &["data/orders-1", "open the store again"]);
    says(closed, &["`Store::reopen_partition(\"orders\", 0, OnCorruption::Fail)`"]);
    let handle = alone.clone();
    alone.close().unwrap();
    says(handle.append("no").unwrap_err(), &["alone", "`Log::open`"]);
    assert!(format!("{handle:?}").len() < 80, "{handle:?}");
}
