//! The topic of committed offsets: damaged in part, protected from changes, and of a broker.

use super::{NOTHING, SEGMENT, config, damage, open, partitions};
use crate::{DATA, replace_file, topic_error};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    AutoOffsetReset, ConsumerConfig, ErrorKind, Log, LogConfig, OnCorruption, Record, Store,
    TopicError, TopicPartition,
};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::read_file;

/// One damaged batch of the offsets, and a deletion to be finished: the store did not open.
#[test]
fn store_opens_when_offsets_are_damaged() {
    let mem = MemFs::new();
    let fs = FaultFs::new(mem.clone());
    let store = Store::open(DATA, config(&mem).fs(fs.clone())).unwrap();
    for topic in ["t", "other"] {
        store.create_topic(topic, partitions(1)).unwrap();
    }
    let at = || [(TopicPartition::new("other", 0), 0.into())].into();
    for group in 0..8 {
        store.admin().alter_offsets(&format!("g{group}"), at()).unwrap();
    }
    fs.add_rule(Rule::new(Operation::RenameDir, Fault::Error(io::ErrorKind::Other)).nth(1));
    assert!(store.delete_topic("t").is_err());
    store.close().unwrap();
    let dir = "data/__consumer_offsets-0";
    let mut bytes = read_file(&mem, dir, SEGMENT);
    bytes[90..93].copy_from_slice(b"\xff\xff\xff");
    replace_file(&mem, dir, SEGMENT, &bytes);
    let store = open(&mem).unwrap();
    assert!(store.topic("t").is_err());
    let (mut kept, mut damaged) = (0, 0);
    for group in 0..8 {
        match store.admin().alter_offsets(&format!("g{group}"), at()) {
            Ok(()) => kept += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                damaged += 1;
            }
        }
    }
    assert!(kept > 0 && damaged > 0, "{kept} {damaged}");
    store.create_topic("t", partitions(1)).unwrap();
    store.delete_topic("t").unwrap();
    store.close().unwrap();
    // The partition is offline now: the groups of the other one continue.
    damage(&mem, dir);
    let store = open(&mem).unwrap();
    assert_eq!(store.topic("__consumer_offsets").unwrap().unavailable_partitions().len(), 1);
    let done = (0..8).filter(|g| store.admin().alter_offsets(&format!("g{g}"), at()).is_ok());
    assert_eq!(done.count(), kept);
    store.delete_topic("other").unwrap();
}

/// One partition of the offsets is damaged: its groups are missing, and the answer says so.
#[test]
fn groups_are_listed_beside_offline_ones() {
    let fs = MemFs::new();
    let names: Vec<String> = (0..8).map(|group| format!("g{group}")).collect();
    let store = open(&fs).unwrap();
    store.create_topic("orders", partitions(1)).unwrap();
    for name in &names {
        let at = TopicPartition::new("orders", 0);
        store.admin().alter_offsets(name, [(at, 0.into())].into()).unwrap();
    }
    store.topic("__consumer_offsets").unwrap().partition(0).unwrap().roll().unwrap();
    store.close().unwrap();
    damage(&fs, "data/__consumer_offsets-0");
    let store = open(&fs).unwrap();
    let view = Store::open_read_only(DATA, config(&fs)).unwrap();
    let admin = store.admin();
    for listed in [admin.list_groups().unwrap(), view.list_groups().unwrap()] {
        assert_eq!(listed.unavailable[&0].kind(), ErrorKind::Corrupt);
        assert_eq!(listed.unavailable.len(), 1);
        assert!((1..8).contains(&listed.groups.len()), "{listed:?}");
        for name in &names {
            let is_listed = listed.groups.iter().any(|listed| listed.group == *name);
            for described in [admin.describe_group(name), view.describe_group(name)] {
                let failed = described.map(|described| described.group).map_err(|e| e.kind());
                assert_eq!(failed, is_listed.then(|| name.clone()).ok_or(ErrorKind::Corrupt));
            }
        }
    }
    assert_eq!(admin.expire_offsets().unwrap(), 0);
    store.reopen_partition("__consumer_offsets", 0, OnCorruption::Quarantine).unwrap();
    assert!(admin.list_groups().unwrap().unavailable.is_empty());
    store.close().unwrap();
}

/// Groups are found by the number of partitions, and all a group has committed is one record of a
/// key.
#[test]
fn internal_topics_cannot_be_changed() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("t", partitions(1)).unwrap();
    let at = TopicPartition::new("t", 0);
    for group in 0..20 {
        let offsets = [(at.clone(), 0.into())].into();
        store.admin().alter_offsets(&format!("g{group}"), offsets).unwrap();
    }
    let offsets = store.topic("__consumer_offsets").unwrap();
    let deleting = offsets.config().set("cleanup.policy", "compact,delete").unwrap();
    for rejected in [
        store.add_partitions("__consumer_offsets", 100),
        store.delete_topic("__consumer_offsets"),
        store.alter_topic("__consumer_offsets", deleting),
        store.alter_topic("__consumer_offsets", partitions(1)),
        store.admin().delete_records("__consumer_offsets", 0, 1).map(drop),
    ] {
        let rejected = topic_error(rejected.unwrap_err());
        assert!(matches!(rejected, TopicError::Internal { .. }), "{rejected}");
    }
    let smaller = offsets.config().set("segment.bytes", "1000000").unwrap();
    store.alter_topic("__consumer_offsets", smaller).unwrap();
    store.close().unwrap();
    let store = open(&fs).unwrap();
    for group in 0..20 {
        let consumer = store.consumer(ConsumerConfig::new(format!("g{group}"))).unwrap();
        assert!(consumer.committed(&at).unwrap().is_some());
    }
}

/// The topics that brokers of Kafka 4 keep for themselves: patterns do not meet them, and what
/// they hold is not compacted away.
#[test]
fn topics_of_brokers_are_internal() {
    let fs = MemFs::new();
    let internal = ["__share_group_state", "__transaction_state", "__remote_log_metadata"];
    for name in internal {
        let config = LogConfig::default().fs(fs.clone());
        let log = Log::open(format!("{DATA}/{name}-0"), config).unwrap();
        log.append(Record::new("x").key("k")).unwrap();
        log.close().unwrap();
    }
    let store = open(&fs).unwrap();
    for name in internal {
        let topic = store.topic(name).unwrap();
        assert!(topic.is_internal());
        let policy = topic.config().get("cleanup.policy").map(str::to_owned);
        assert_eq!(policy.as_deref() == Some("compact"), name == "__transaction_state");
        assert!(store.create_topic(name, partitions(1)).is_err());
    }
    store.create_topic("own", partitions(1)).unwrap().partition(0).unwrap().append("x").unwrap();
    let config = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe_pattern(annals::TopicPattern::new(|_| true)).unwrap();
    let read: Vec<_> = (0..5).flat_map(|_| consumer.poll(NOTHING).unwrap()).collect();
    assert!(read.iter().all(|record| &*record.topic == "own") && read.len() == 1);
}

/// A clock that does something the next time it is asked.
#[derive(Debug)]
struct Interrupting(annals::ManualClock, Mutex<Option<Store>>);

impl annals::Clock for Interrupting {
    fn now(&self) -> annals::Timestamp {
        let store = self.1.lock().unwrap().take();
        if let Some(store) = store {
            store.delete_topic("t").unwrap();
            store.create_topic("t", partitions(1)).unwrap();
        }
        annals::Clock::now(&self.0)
    }

    fn monotonic(&self) -> Duration {
        annals::Clock::monotonic(&self.0)
    }
}

/// Looked up, deleted, then committed for: the next topic of that name began there.
#[test]
fn offsets_change_fails_when_topic_deleted() {
    let fs = MemFs::new();
    let manual = annals::ManualClock::new(annals::Timestamp::from_millis(1_700_000_000_000));
    let clock = Arc::new(Interrupting(manual, Mutex::default()));
    let store = Store::open(DATA, config(&fs).clock(clock.clone())).unwrap();
    let topic = store.create_topic("t", partitions(1)).unwrap();
    topic.partition(0).unwrap().append_all((0..9).map(|n| format!("{n}").into())).unwrap();
    let at = TopicPartition::new("t", 0);
    store.admin().alter_offsets("group", [(at.clone(), 1.into())].into()).unwrap();
    *clock.1.lock().unwrap() = Some(store.clone());
    let altered = store.admin().alter_offsets("group", [(at.clone(), 5.into())].into());
    assert_eq!(altered.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.topic("t").unwrap().partition(0).unwrap().offsets().end, 0);
    let consumer = store.consumer(ConsumerConfig::new("group")).unwrap();
    assert_eq!(consumer.committed(&at).unwrap(), None);
}
