//! Who owns a directory: what one writer does is durable, is its own, and stays so whatever others do meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule, Survive};
use annals::{CleanupPolicy, Log, Record, StartAt, Store, StoreConfig, TopicConfig};
use std::sync::{Arc, Mutex};
use support::{read_file, write_file};

mod support;

fn store(fs: impl Fs) -> Store {
    let config = StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1);
    Store::open("d", config).unwrap()
}

fn offsets(log: &Log) -> Vec<u64> {
    log.reader(StartAt::Earliest).unwrap().records().map(|r| r.unwrap().offset).collect()
}

fn first_of(store: &Store) -> Vec<u64> {
    offsets(&store.topic("t").unwrap().partition(0).unwrap())
}

/// Two batches a segment; the second of each is superseded, so each segment ends in a gap when it is compacted.
fn fill(log: &Log) {
    for n in 0..20 {
        log.append(Record::new("v".repeat(300)).key(format!("unique{n}"))).unwrap();
        log.append(Record::new("v".repeat(300)).key("counter")).unwrap();
    }
}

fn compacting() -> TopicConfig {
    TopicConfig::default().segment_bytes(1024).cleanup_policy(CleanupPolicy::CompactAndDelete)
}

/// The moment at which another call is in the middle of opening or closing logs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum During {
    AddPartitions,
    Close,
}

/// Works on a partition while the store is busy with others, loses power as soon as that is done, and opens what is left.
fn lose_power_after(during: During, flushed: bool, work: fn(&Log)) -> Store {
    let mem = MemFs::new();
    let fs = FaultFs::new(mem.clone());
    let store_of = store(fs.clone());
    let topic = store_of.create_topic("t", compacting()).unwrap();
    let log = topic.partition(0).unwrap();
    fill(&log);
    if flushed {
        log.flush().unwrap();
    }
    let disk = Arc::new(Mutex::new(None));
    let (left, at) = (Arc::clone(&disk), mem.clone());
    let hook = move || {
        work(&log);
        *left.lock().unwrap() = Some(at.crash(Survive::SyncedOnly));
    };
    if during == During::AddPartitions {
        let hook = Fault::call(move |_| hook());
        fs.add(Rule::new(Operation::SyncAll, hook).path("t-1/").nth(1));
        store_of.add_partitions("t", 2).unwrap();
    } else {
        // The topic `a` is closed first.
        let first = store_of.create_topic("a", TopicConfig::default()).unwrap();
        first.partition(0).unwrap().append("unsynced").unwrap();
        let hook = Fault::call(move |_| hook());
        fs.add(Rule::new(Operation::SyncData, hook).path("a-0/").nth(1));
        store_of.close().unwrap();
    }
    let disk = disk.lock().unwrap().take().expect("the hook ran");
    store(disk)
}

/// A call that opens or closes other logs once kept back what a live one had just been told is durable.
#[test]
fn checkpoints_are_durable_while_others_open_or_close() {
    for during in [During::AddPartitions, During::Close] {
        let left = lose_power_after(during, true, |log| {
            log.delete_before(5).unwrap();
        });
        assert_eq!(first_of(&left), (5..40).collect::<Vec<_>>(), "{during:?}");
        let left = lose_power_after(during, false, |log| {
            log.flush().unwrap();
            log.compact().unwrap();
        });
        assert_eq!(first_of(&left).len(), 22, "{during:?}");
        let left = lose_power_after(during, true, |log| log.truncate_to(3).unwrap());
        assert_eq!(first_of(&left), [0, 1, 2], "{during:?}");
    }
}

/// The marker lists what is there to be opened, however many topics came and went.
#[test]
fn marker_forgets_deleted_topics() {
    let fs = MemFs::new();
    let store_of = store(fs.clone());
    store_of.create_topic("stays", TopicConfig::default()).unwrap();
    let churn = |store: &Store, rounds: std::ops::Range<u32>| {
        for round in rounds {
            let name = format!("r{round}");
            store.create_topic(&name, TopicConfig::default().partitions(2)).unwrap();
            store.delete_topic(&name).unwrap();
        }
    };
    churn(&store_of, 0..100);
    store_of.close().unwrap();
    let marker = |fs: &MemFs| read_file(fs, "d", ".kafka_cleanshutdown");
    let text = String::from_utf8(marker(&fs)).unwrap();
    assert!(text.len() < 1024 && text.contains("\"stays-0\""), "{} bytes", text.len());
    // A marker that grew before is cut down to what is there.
    let grown = text.replace("\"stays-0\"", "\"gone-0\"");
    let entry = grown.split_once("\"logs\":{").unwrap().1.strip_suffix("}}").unwrap();
    let both = text.strip_suffix("}}").unwrap().to_owned() + "," + entry + "}}";
    write_file(&fs, "d", ".kafka_cleanshutdown", both.as_bytes());
    let store_of = store(fs.clone());
    churn(&store_of, 0..3);
    store_of.close().unwrap();
    assert_eq!(String::from_utf8(marker(&fs)).unwrap(), text);
}
