//! Topics are created, altered, grown and deleted while they are used; closed ones reject calls.

use super::{config, directories, open, three};
use crate::{DATA, topic_error, values};
use annals::fs::{CrashState, MemFs};
use annals::{
    AutoOffsetReset, CleanupPolicy, ConsumerConfig, Error, ErrorKind, MaintainerConfig,
    ProducerConfig, ResetTo, Store, StoreConfig, TopicConfig, TopicError, TopicPartition,
};
use std::time::Duration;
use support::{clock, until};

#[test]
fn topic_can_be_altered_while_used() {
    let (fs, clock) = (MemFs::new(), clock());
    let store = Store::open(DATA, config(&fs).clock(clock.clone())).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    for _ in 0..20 {
        log.append("x".repeat(100)).unwrap();
    }
    assert_eq!(log.stats().unwrap().segments.len(), 1);
    let smaller =
        topic.config().set("segment.bytes", "300").unwrap().set("retention.ms", "1000").unwrap();
    store.alter_topic("orders", smaller.clone()).unwrap();
    for _ in 0..20 {
        log.append("x".repeat(100)).unwrap();
    }
    assert!(log.stats().unwrap().segments.len() > 5);
    clock.advance(Duration::from_secs(2));
    store.maintain().unwrap();
    assert_eq!(log.offsets().start, 40);
    assert!(log.append("x".repeat(400)).is_err());
    // A key is needed from the moment on that the topic is compacted.
    store
        .alter_topic("orders", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact))
        .unwrap();
    assert!(matches!(log.append("no key"), Err(Error::InvalidRecord { .. })));
    drop((topic, log));
    let again = Store::open(DATA, config(&fs.kill()).clock(clock)).unwrap();
    let config = again.topic("orders").unwrap().config();
    assert_eq!(config.overrides().collect::<Vec<_>>(), [("cleanup.policy", "compact")]);
    let wrong = store.alter_topic(
        "orders",
        smaller
            .set("max.compaction.lag.ms", "1")
            .unwrap()
            .set("min.compaction.lag.ms", "2")
            .unwrap(),
    );
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn invalid_topics_are_rejected() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("a.b", TopicConfig::default()).unwrap();
    let rejected = |name: &str, config| topic_error(store.create_topic(name, config).unwrap_err());
    let one = TopicConfig::default;
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", &long, "a_b", "__consumer_offsets"] {
        let error = rejected(name, one());
        assert!(matches!(error, TopicError::InvalidName { .. }), "{error}");
    }
    assert!(matches!(rejected("a.b", one()), TopicError::Exists { .. }));
    for partitions in [0, 100_001] {
        let error = rejected("new", one().partitions(partitions));
        assert!(matches!(error, TopicError::InvalidPartitions { .. }), "{error}");
    }
    for (partitions, why) in [(0, "it has 1, and"), (1, "it has as many already")] {
        let error = topic_error(store.add_partitions("a.b", partitions).unwrap_err());
        assert!(matches!(error, TopicError::InvalidPartitions { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(matches!(topic_error(store.topic("no").unwrap_err()), TopicError::Unknown { .. }));
    assert_eq!(store.add_partitions("no", 2).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.delete_topic("no").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.alter_topic("no", one()).unwrap_err().kind(), ErrorKind::NotFound);
    let topic = store.topic("a.b").unwrap();
    let error = topic_error(topic.partition(1).unwrap_err());
    let expected = "topic `a.b` has no partition 1; its last partition is 0";
    assert_eq!(error.to_string(), expected);
    let threads = Store::open("other", config(&fs).recovery_threads(0)).unwrap_err();
    assert_eq!(threads.kind(), ErrorKind::InvalidInput);
    assert_eq!(directories(&fs), ["a.b-0"]);
}

#[test]
fn closed_store_rejects_calls() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", three()).unwrap();
    let other = store.clone();
    store.close().unwrap();
    for rejected in [
        other.create_topic("users", three()).map(drop),
        other.add_partitions("orders", 4),
        other.alter_topic("orders", three()),
        other.delete_topic("orders"),
        other.flush(),
        other.maintain().map(drop),
        other.close(),
    ] {
        let rejected = rejected.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Closed);
        assert_eq!(rejected.to_string(), "the store is closed; open it again");
    }
    let rejected = topic.partition(0).unwrap().append("x").unwrap_err();
    let told = "log data/orders-0 was closed with its store; open the store again";
    assert_eq!(rejected.to_string(), told);
    open(&fs).unwrap();
}

#[test]
fn deleted_topic_frees_its_name() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let orders = store.create_topic("orders", three()).unwrap();
    let log = orders.partition(2).unwrap();
    log.append("x").unwrap();
    let mut tail = log.tail(0).unwrap();
    store.delete_topic("orders").unwrap();
    assert_eq!(store.topic("orders").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(log.append("x").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(tail.next_record(None).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(directories(&fs), Vec::<String>::new());
    let new = store.create_topic("orders", TopicConfig::default()).unwrap();
    assert_ne!(new.id(), orders.id());
    assert_eq!(new.partition(0).unwrap().offsets().end, 0);
    assert_eq!(directories(&fs), ["orders-0"]);
    drop(store);
    let again = open(&fs.crash(CrashState::SyncedOnly)).unwrap();
    assert_eq!(again.topic("orders").unwrap().id(), new.id());
}

#[test]
fn partitions_can_be_added() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    topic.partition(0).unwrap().append("x").unwrap();
    store.add_partitions("orders", 4).unwrap();
    assert_eq!(topic.partition_count(), 4);
    topic.partition(3).unwrap().append("y").unwrap();
    drop((store, topic));
    let again = open(&fs.kill()).unwrap();
    let topic = again.topic("orders").unwrap();
    assert_eq!(
        (topic.partition_count(), topic.config()),
        (4, TopicConfig::default().partitions(4))
    );
    assert_eq!(values(&topic, 3), ["y"]);
}

/// The maintainer had a clock of its own: a test that moved that of its store waited for a round
/// of the machine's time.
#[test]
fn maintenance_uses_clock_of_store() {
    let (fs, clock) = (MemFs::new(), clock());
    let maintenance = MaintainerConfig::default().interval(Duration::from_secs(3600));
    let config = StoreConfig::default().fs(fs).maintenance(Some(maintenance)).clock(clock.clone());
    let store = Store::open(DATA, config).unwrap();
    let day = TopicConfig::default().set("retention.ms", "86400000").unwrap();
    let log = store.create_topic("orders", day).unwrap().partition(0).unwrap();
    // The first round begins with the log, the second when the clock says so.
    for start in 1..=2 {
        log.append("old").unwrap();
        log.roll().unwrap();
        clock.advance(Duration::from_secs(2 * 86_400));
        until(|| log.offsets().start >= start);
    }
    store.close().unwrap();
}

#[test]
fn background_maintenance_serves_all_logs() {
    let fs = MemFs::new();
    let maintenance = MaintainerConfig::default().interval(Duration::from_millis(1));
    let config = StoreConfig::default().fs(fs).maintenance(Some(maintenance));
    let store = Store::open(DATA, config).unwrap();
    let small = TopicConfig::default().partitions(4).segment_bytes(200).retention_bytes(400);
    let topic = store.create_topic("orders", small).unwrap();
    for log in topic.partitions().iter() {
        for _ in 0..20 {
            log.append("x".repeat(50)).unwrap();
        }
    }
    until(|| topic.partitions().iter().all(|log| log.offsets().start > 0));
    store.close().unwrap();
}

/// After `Store::close`, some calls said that the store is closed, some that the log is, and some
/// answered as before.
#[test]
fn every_call_reports_closed_store() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let log = store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    log.append("x").unwrap();
    let at = TopicPartition::new("t", 0);
    let earliest = |group| {
        let config = ConsumerConfig::new(group).auto_offset_reset(AutoOffsetReset::Earliest);
        store.consumer(config).unwrap()
    };
    let (mut member, mut assigned) = (earliest("g"), earliest("h"));
    member.subscribe(["t"]).unwrap();
    member.poll(Duration::ZERO).unwrap();
    assigned.assign([at.clone()]).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let admin = store.admin();
    store.close().unwrap();

    let is_closed = |what: &str, error: Option<Error>| {
        assert!(matches!(error, Some(Error::StoreClosed)), "{what}: {error:?}");
    };
    let zero = || [(at.clone(), 0.into())].into();
    is_closed("topic", store.topic("t").err());
    is_closed("create_topic", store.create_topic("u", TopicConfig::default()).err());
    is_closed("alter_topic", store.alter_topic("t", TopicConfig::default()).err());
    is_closed("add_partitions", store.add_partitions("t", 2).err());
    is_closed("delete_topic", store.delete_topic("t").err());
    is_closed("flush", store.flush().err());
    is_closed("maintain", store.maintain().err());
    is_closed("close", store.close().err());
    is_closed("producer", store.producer(ProducerConfig::default()).err());
    is_closed("consumer", store.consumer(ConsumerConfig::new("g")).err());
    is_closed("new_producer_id", store.new_producer_id().err());
    is_closed("describe_topic", admin.describe_topic("t").err());
    is_closed("delete_records", admin.delete_records("t", 0, 1).err());
    is_closed("list_groups", admin.list_groups().err());
    is_closed("describe_group", admin.describe_group("g").err());
    is_closed("alter_offsets", admin.alter_offsets("g", zero()).err());
    is_closed("reset_offsets", admin.reset_offsets("g", [at.clone()], ResetTo::Earliest).err());
    is_closed("delete_offsets", admin.delete_offsets("g", [at.clone()]).err());
    is_closed("delete_group", admin.delete_group("g").err());
    is_closed("remove_members", admin.remove_members("g", []).err());
    is_closed("expire_offsets", admin.expire_offsets().err());
    is_closed("send", producer.send(("t", "y")).and_then(|sent| sent.wait()).err());
    for consumer in [&mut member, &mut assigned] {
        is_closed("poll", consumer.poll(Duration::ZERO).err());
        is_closed("commit", consumer.commit().err());
        is_closed("committed", consumer.committed(&at).err());
        is_closed("position", consumer.position(&at).err());
        is_closed("lag", consumer.lag(&at).err());
        is_closed("seek", consumer.seek(&at, 0).err());
        is_closed("end_offsets", consumer.end_offsets([at.clone()]).err());
    }
    is_closed("close of a member", member.close().err());
    assigned.close().unwrap();
    assert!(matches!(log.append("y"), Err(Error::Closed { .. })));
}
