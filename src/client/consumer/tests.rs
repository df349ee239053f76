use super::*;
use crate::clock::ManualClock;
use crate::fs::{Fs as _, MemFs, OpenMode};
use crate::group::membership::Committer;
use crate::log::LogConfig;
use crate::record::{BatchBuilder, EndTxnMarker};
use crate::store::{StoreConfig, TopicConfig};
use crate::types::{IsolationLevel, ProducerIdentity, Timestamp, TransactionVersion::V2};
use std::collections::BTreeMap;
use std::path::Path;

const NOW: Duration = Duration::ZERO;

fn store(clock: &Arc<ManualClock>) -> Store {
    let store = Store::in_memory(StoreConfig::default().clock(clock.clone())).unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    store
}

fn member(store: &Store, config: ConsumerConfig) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    consumer.poll(NOW).unwrap();
    consumer
}

/// Returns whether an act wakes a consumer that waits.
fn wakes(waits: &mut Consumer, deadline: Option<Duration>, act: impl FnOnce()) -> bool {
    waits.begin_poll().unwrap();
    waits.announce_wait(deadline).unwrap();
    let before = waits.wakeup.count();
    act();
    waits.wakeup.count() != before
}

#[test]
fn waiting_member_wakes_when_group_changes() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let short = ConsumerConfig::new("g").max_poll_interval(Duration::from_secs(10));
    let mut waits = member(&store, ConsumerConfig::new("g"));
    let mut other = None;
    assert!(wakes(&mut waits, None, || other = Some(member(&store, short))));
    let mut other = other.unwrap();
    for _ in 0..4 {
        waits.poll(NOW).unwrap();
        other.poll(NOW).unwrap();
    }
    assert_eq!((waits.assignment().len(), other.assignment().len()), (1, 1));

    // While the other one polls, nothing is due. Afterwards, its next poll is.
    waits.begin_poll().unwrap();
    other.begin_poll().unwrap();
    assert!(wakes(&mut waits, None, || other.poll(NOW).map(drop).unwrap()));
    // A consumer that knows the earlier deadline need not be woken when it becomes later.
    let due = waits.announce_wait(None).unwrap();
    assert_eq!(due, Some(Duration::from_secs(10)));
    clock.advance(Duration::from_secs(5));
    assert!(!wakes(&mut waits, due, || other.poll(NOW).map(drop).unwrap()));

    clock.advance(Duration::from_secs(10));
    waits.poll(NOW).unwrap();
    assert_eq!(waits.assignment().len(), 2);
}

#[test]
fn all_waiting_members_wake_when_group_rebalances() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let mut a = member(&store, ConsumerConfig::new("g"));
    let mut b = member(&store, ConsumerConfig::new("g"));
    for _ in 0..4 {
        a.poll(NOW).unwrap();
        b.poll(NOW).unwrap();
    }
    let before = [&mut a, &mut b].map(|waits| {
        waits.begin_poll().unwrap();
        waits.announce_wait(None).unwrap();
        waits.wakeup.count()
    });
    let mut c = member(&store, ConsumerConfig::new("g"));
    assert!(a.wakeup.count() > before[0] && b.wakeup.count() > before[1]);
    for _ in 0..4 {
        for one in [&mut a, &mut b, &mut c] {
            one.poll(NOW).unwrap();
        }
    }
    let before = [&mut a, &mut b].map(|waits| {
        waits.begin_poll().unwrap();
        waits.announce_wait(None).unwrap();
        waits.wakeup.count()
    });
    drop(c);
    assert!(a.wakeup.count() > before[0] && b.wakeup.count() > before[1]);
}

#[test]
fn consumer_wakes_once_when_records_come() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let orders = store.topic("orders").unwrap();
    let mut consumer = member(&store, ConsumerConfig::new("g"));
    for _ in 0..3 {
        consumer.poll(NOW).unwrap();
        let before = consumer.wakeup.count();
        consumer.partitions.iter().for_each(Partition::register_waker);
        for _ in 0..2 {
            orders.partition(0).unwrap().append("x").unwrap();
        }
        assert_eq!(consumer.wakeup.count(), before + 1);
        assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    }
}

/// The end of the log is above the position all the time. A poll that took that for records to
/// read would not sleep.
#[test]
fn poll_under_open_transaction_sleeps() {
    let fs = MemFs::new();
    let config = || StoreConfig::default().fs(fs.clone()).maintenance(None);
    let store = Store::open("data", config()).unwrap();
    store.create_topic("orders", TopicConfig::default()).unwrap();
    store.close().unwrap();
    // A broker appends a record, and one of a transaction, and is killed.
    let batch = |offset, transactional| {
        let mut batch = BatchBuilder::new();
        batch.base_offset(offset);
        if transactional {
            batch.producer(4000, 0, 0).transactional(true);
        }
        batch.push(Timestamp::from_millis(1), None, Some(b"x")).unwrap();
        batch.build_bytes().unwrap()
    };
    let path = Path::new("data/orders-0/00000000000000000000.log");
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    file.write_all_at(&[batch(0, false), batch(1, true)].concat(), 0).unwrap();
    fs.remove(Path::new("data/.kafka_cleanshutdown")).unwrap();

    let store = Store::open("data", config()).unwrap();
    let orders = TopicPartition::new("orders", 0);
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer =
        store.consumer(config.isolation_level(IsolationLevel::ReadCommitted)).unwrap();
    consumer.assign([orders.clone()]).unwrap();
    assert_eq!(consumer.poll(NOW).unwrap().len(), 1);
    for _ in 0..2 {
        assert!(consumer.poll(NOW).unwrap().is_empty());
        assert!(!consumer.partitions.iter().any(Partition::is_ready));
        assert_eq!(consumer.position(&orders).unwrap(), 1);
        assert_eq!(consumer.lag(&orders).unwrap(), 0);
        assert_eq!(consumer.end_offsets([orders.clone()]).unwrap()[&orders], 1);
        store.topic("orders").unwrap().partition(0).unwrap().append("waits").unwrap();
    }
    consumer.seek_to_end([]).unwrap();
    assert_eq!(consumer.position(&orders).unwrap(), 1);
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut other = store.consumer(config).unwrap();
    other.assign([orders]).unwrap();
    assert_eq!(other.poll(NOW).unwrap().len(), 4);
}

/// The high watermark lies inside of a batch, which a consumer gets whole. A poll that took it for
/// records to read would not sleep.
#[test]
fn poll_at_cut_batch_sleeps() {
    let defaults = LogConfig::default().replicated(true);
    let config = StoreConfig::default().log_defaults(defaults.fs(MemFs::new()));
    let store = Store::open("data", config.maintenance(None)).unwrap();
    store.create_topic("orders", TopicConfig::default()).unwrap();
    let log = store.topic("orders").unwrap().partition(0).unwrap();
    log.append("alone").unwrap();
    log.append_all(["a", "b", "c"].map(Into::into)).unwrap();
    let orders = TopicPartition::new("orders", 0);
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([orders.clone()]).unwrap();
    for (high_watermark, records) in [(2, 1), (3, 0), (2, 0), (4, 3)] {
        log.set_high_watermark(high_watermark).unwrap();
        assert_eq!(consumer.poll(NOW).unwrap().len(), records, "at {high_watermark}");
        assert!(consumer.poll(NOW).unwrap().is_empty());
        assert!(!consumer.partitions.iter().any(Partition::is_ready), "at {high_watermark}");
        let lag = consumer.lag(&orders).unwrap();
        assert_eq!(lag, high_watermark - consumer.position(&orders).unwrap());
    }
}

/// A transaction has committed an offset of the group. A poll that looked again and again would
/// not sleep, and one that nothing wakes would sleep for ever.
#[test]
fn consumer_sleeps_until_offset_is_stable() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let orders = store.topic("orders").unwrap().partition(0).unwrap();
    orders.append_all(["a", "b"].map(Into::into)).unwrap();
    let groups = store.coordinator().unwrap();
    let config = ConsumerConfig::new("g").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config.enable_auto_commit(false)).unwrap();
    let group = consumer.group_metadata().unwrap();
    let at = TopicPartition::new("orders", 0);
    let mut who = ProducerIdentity { id: 4000, epoch: 0 };
    let offsets = BTreeMap::from([(at.clone(), 1.into())]);
    let sent = groups.commit_in_transaction((who, V2), &group, &offsets, &|_| None, &|_| Ok(()));
    sent.unwrap();
    consumer.assign([at.clone()]).unwrap();

    let waits = |consumer: &mut Consumer| {
        assert!(consumer.poll(NOW).unwrap().is_empty());
        consumer.awaited.iter().for_each(AwaitedOffsets::register_waker);
        assert!(!consumer.partitions.iter().any(|one| consumer.is_ready(one)));
        consumer.wakeup.count()
    };
    let before = waits(&mut consumer);
    // Records of the partition are nothing to wake for.
    orders.append("c").unwrap();
    assert_eq!(consumer.wakeup.count(), before);
    // A commit for another partition may have ended the wait, and has not.
    let others = BTreeMap::from([(TopicPartition::new("orders", 1), 7.into())]);
    for _ in 0..3 {
        groups.commit("g", Committer::Simple, &others, &|_| None, false).unwrap();
    }
    assert_eq!(consumer.wakeup.count(), before + 1);
    let before = waits(&mut consumer);

    who.epoch = 1;
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    let stored_in = store.topic("__consumer_offsets").unwrap().numbered_partitions();
    let mut stored_in = stored_in.into_iter().filter(|(_, log)| log.offsets().end > 0);
    let (number, _) = stored_in.next().unwrap();
    groups.end_transaction(number, who, marker, V2).unwrap();
    assert_eq!(consumer.wakeup.count(), before + 1);
    assert!(consumer.partitions.iter().all(|one| consumer.is_ready(one)));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
}

/// An aborted transaction moves no record into view, and its marker must be passed all the same.
#[test]
fn marker_wakes_consumer_once() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let orders = store.topic("orders").unwrap().partition(0).unwrap();
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let config = config.isolation_level(IsolationLevel::ReadCommitted);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([TopicPartition::new("orders", 0)]).unwrap();
    for epoch in 0..3 {
        let who = ProducerIdentity { id: 4000, epoch };
        let guard = orders.begin_verification(who, 0, V2).unwrap();
        let mut batch = BatchBuilder::new();
        batch.producer(who.id, who.epoch, 0).transactional(true);
        batch.push(Timestamp::from_millis(1), None, Some(b"x")).unwrap();
        orders.append_verified(batch.build().unwrap(), guard).unwrap();
        assert!(consumer.poll(NOW).unwrap().is_empty());

        consumer.partitions.iter().for_each(Partition::register_waker);
        assert!(!consumer.partitions.iter().any(Partition::is_ready));
        let before = consumer.wakeup.count();
        let marker = EndTxnMarker { committed: epoch == 2, coordinator_epoch: 0 };
        orders.append_marker(ProducerIdentity { epoch: epoch + 1, ..who }, marker, V2).unwrap();
        assert_eq!(consumer.wakeup.count(), before + 1);
        assert!(consumer.partitions.iter().all(Partition::is_ready));
        assert_eq!(consumer.poll(NOW).unwrap().len(), usize::from(epoch == 2));
        assert!(!consumer.partitions.iter().any(Partition::is_ready));
    }
}
