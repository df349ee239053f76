//! The consumer, without and with a group of its own.

use crate::{NOW, append, at, earliest};
use annals::{
    AutoOffsetReset, CommitError, ConsumeError, Consumer, ConsumerConfig, ConsumerInterceptor,
    ConsumerRecords, Error, ErrorKind, ManualClock, OffsetAndMetadata, Record, StartAt, Store,
    StoreConfig, Timestamp, Topic, TopicConfig, TopicPartition, TopicPattern,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct World {
    clock: Arc<ManualClock>,
    store: Store,
}

fn world() -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let store = Store::in_memory(StoreConfig::default().clock(clock.clone())).unwrap();
    World { clock, store }
}

fn topic(store: &Store, name: &str, partitions: u32) -> Topic {
    store.create_topic(name, TopicConfig::default().partitions(partitions)).unwrap()
}

fn values(records: &ConsumerRecords) -> Vec<u32> {
    records.iter().map(|record| record.value_str().unwrap().parse().unwrap()).collect()
}

fn assigned(store: &Store, config: ConsumerConfig, partitions: &[TopicPartition]) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign(partitions.to_vec()).unwrap();
    consumer
}

fn consume_error(error: Error) -> ConsumeError {
    match error {
        Error::Consume(error) => *error,
        other => panic!("{other}"),
    }
}

#[test]
fn consumer_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Consumer>();
}

#[test]
fn records_are_polled_once_in_order() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    let config =
        ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(7);
    let mut consumer = assigned(&store, config, &[at("orders", 0)]);
    let mut all = Vec::new();
    for round in 0..10 {
        append(&orders, 0, round * 10..round * 10 + 10);
        let records = consumer.poll(NOW).unwrap();
        assert!(records.len() <= 7);
        all.extend(values(&records));
    }
    while all.len() < 100 {
        let records = consumer.poll(NOW).unwrap();
        assert!(!records.is_empty());
        all.extend(values(&records));
    }
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert!(consumer.poll(NOW).unwrap().is_empty());
    assert_eq!(consumer.position(&at("orders", 0)).unwrap(), 100);
    assert_eq!(consumer.lag(&at("orders", 0)).unwrap(), 0);
}

#[test]
fn poll_takes_partitions_in_turn() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 3);
    for partition in 0..3 {
        append(&orders, partition, 0..1000);
    }
    let config =
        ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(10);
    let names = [at("orders", 0), at("orders", 1), at("orders", 2)];
    let mut consumer = assigned(&store, config, &names);
    let mut turns = Vec::new();
    for _ in 0..6 {
        let records = consumer.poll(NOW).unwrap();
        let from: Vec<_> = records.partitions().map(|(name, _)| name.partition).collect();
        turns.push(from);
    }
    assert_eq!(turns, [[0], [1], [2], [0], [1], [2]]);

    // With a limit for each, all are in one poll.
    let config = ConsumerConfig::default()
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .max_partition_fetch_bytes(10);
    let mut consumer = assigned(&store, config, &names);
    let records = consumer.poll(NOW).unwrap();
    let shares: Vec<_> = records.partitions().map(|(_, records)| records.len()).collect();
    assert_eq!(shares, [10, 10, 10]);
    assert_eq!(records.records(&names[1])[9].offset, 9);
}

#[test]
fn poll_progresses_with_smallest_limits() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 100..103);
    append(&orders, 1, 200..203);
    let config =
        ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest).max_poll_bytes(1);
    let mut consumer = assigned(&store, config, &[at("orders", 0), at("orders", 1)]);
    let all: Vec<_> = (0..6).map(|_| values(&consumer.poll(NOW).unwrap())).collect();
    assert_eq!(all, [[100], [200], [101], [201], [102], [202]]);
}

#[test]
fn consumer_starts_where_policy_says() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..5);
    let names = [at("orders", 0)];
    let start = |reset| {
        let config = ConsumerConfig::default().auto_offset_reset(reset);
        assigned(&store, config, &names).position(&names[0])
    };
    assert_eq!(start(AutoOffsetReset::Earliest).unwrap(), 0);
    assert_eq!(start(AutoOffsetReset::Latest).unwrap(), 5);
    let nowhere = consume_error(start(AutoOffsetReset::None).unwrap_err());
    assert!(matches!(nowhere, ConsumeError::NoOffsetForPartition { partition: 0, .. }));

    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::None);
    let mut consumer = assigned(&store, config, &names);
    assert_eq!(consumer.poll(NOW).unwrap_err().kind(), ErrorKind::OutOfRange);
    consumer.seek(&names[0], 3).unwrap();
    assert_eq!(values(&consumer.poll(NOW).unwrap()), [3, 4]);
}

#[test]
fn position_resets_when_records_are_deleted() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..5);
    append(&orders, 0, 5..10);
    let names = [at("orders", 0)];
    let consumer = |reset| {
        let config = ConsumerConfig::default().auto_offset_reset(reset).max_poll_records(2);
        let mut consumer = assigned(&store, config, &names);
        consumer.seek(&names[0], 0).unwrap();
        assert_eq!(values(&consumer.poll(NOW).unwrap()), [0, 1]);
        consumer
    };
    let (mut early, mut late, mut never) = (
        consumer(AutoOffsetReset::Earliest),
        consumer(AutoOffsetReset::Latest),
        consumer(AutoOffsetReset::None),
    );
    orders.partition(0).unwrap().delete_before(7).unwrap();
    assert_eq!(values(&early.poll(NOW).unwrap()), [7, 8]);
    assert!(late.poll(NOW).unwrap().is_empty());
    assert_eq!(late.position(&names[0]).unwrap(), 10);
    for _ in 0..2 {
        let error = consume_error(never.poll(NOW).unwrap_err());
        assert!(matches!(error, ConsumeError::Partition { offset: 2, .. }), "{error}");
    }
    never.seek_to_beginning([]).unwrap();
    assert_eq!(values(&never.poll(NOW).unwrap()), [7, 8]);

    orders.partition(0).unwrap().truncate_to(5).unwrap_err();
    assert!(early.seek(&names[0], 11).is_err());
    assert!(early.seek(&names[0], 6).is_err());
    assert_eq!(early.position(&names[0]).unwrap(), 9);
}

/// One that chose its partitions hears of it when their topic goes. In the next of its name it
/// begins anew.
#[test]
fn consumer_restarts_when_topic_is_recreated() {
    let World { store, .. } = world();
    append(&topic(&store, "orders", 1), 0, 0..5);
    let names = [at("orders", 0)];
    let config = |reset| ConsumerConfig::default().auto_offset_reset(reset);
    let mut consumer = assigned(&store, config(AutoOffsetReset::Earliest), &names);
    let mut never = assigned(&store, config(AutoOffsetReset::None), &names);
    never.seek(&names[0], 0).unwrap();
    for consumer in [&mut consumer, &mut never] {
        assert_eq!(values(&consumer.poll(NOW).unwrap()), [0, 1, 2, 3, 4]);
    }
    store.delete_topic("orders").unwrap();
    for _ in 0..2 {
        let error = consume_error(consumer.poll(NOW).unwrap_err());
        assert!(matches!(error, ConsumeError::Partition { .. }), "{error}");
    }
    append(&topic(&store, "orders", 2), 0, 10..17);
    assert_eq!(values(&consumer.poll(NOW).unwrap()), (10..17).collect::<Vec<_>>());
    assert_eq!(consumer.assignment(), names);
    let error = consume_error(never.poll(NOW).unwrap_err());
    assert!(matches!(error, ConsumeError::NoOffsetForPartition { .. }), "{error}");
}

#[test]
fn seek_reaches_offsets_times_and_ends() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    let time = Timestamp::from_millis;
    let stamped = (0..10).map(|n| Record::new(n.to_string()).timestamp(time(n * 10)));
    orders.partition(0).unwrap().append_all(stamped).unwrap();
    let name = at("orders", 0);
    let mut consumer = assigned(&store, ConsumerConfig::default(), std::slice::from_ref(&name));
    for (to, position) in [
        (StartAt::Offset(4), 4),
        (StartAt::Time(time(35)), 4),
        (StartAt::Time(time(1000)), 10),
        (StartAt::Earliest, 0),
        (StartAt::Latest, 10),
    ] {
        consumer.seek(&name, to).unwrap();
        assert_eq!(consumer.position(&name).unwrap(), position);
        let read = values(&consumer.poll(NOW).unwrap());
        assert_eq!(read, (position as u32..10).collect::<Vec<_>>());
    }
    let rejected = consumer.seek(&at("orders", 1), 0).unwrap_err();
    assert!(matches!(consume_error(rejected), ConsumeError::NotAssigned { partition: 1, .. }));
    assert_eq!(consumer.beginning_offsets([name.clone()]).unwrap()[&name], 0);
    assert_eq!(consumer.end_offsets([name.clone()]).unwrap()[&name], 10);
    let found = consumer.offsets_for_times([(name.clone(), time(35))]).unwrap();
    assert_eq!(found[&name], Some((4, time(40))));
    assert_eq!(consumer.end_offsets([at("orders", 7)]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn paused_partitions_keep_their_position() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..3);
    append(&orders, 1, 10..13);
    let names = [at("orders", 0), at("orders", 1)];
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = assigned(&store, config, &names);
    consumer.pause([names[0].clone()]).unwrap();
    assert_eq!(consumer.paused(), [names[0].clone()]);
    assert_eq!(values(&consumer.poll(NOW).unwrap()), [10, 11, 12]);
    assert!(consumer.poll(NOW).unwrap().is_empty());
    consumer.resume([names[0].clone()]).unwrap();
    assert_eq!(consumer.lag(&names[0]).unwrap(), 3);
    assert_eq!(values(&consumer.poll(NOW).unwrap()), [0, 1, 2]);
    assert!(consumer.pause([at("other", 0)]).is_err());
}

#[test]
fn invalid_calls_are_rejected() {
    let World { store, .. } = world();
    topic(&store, "orders", 1);
    let mut consumer = store.consumer(ConsumerConfig::default()).unwrap();
    let rejected = consume_error(consumer.poll(NOW).unwrap_err());
    assert!(matches!(rejected, ConsumeError::NotSubscribed));
    let rejected = consume_error(consumer.subscribe(["orders"]).unwrap_err());
    assert!(matches!(rejected, ConsumeError::NoGroupId { .. }));
    assert!(matches!(
        consume_error(consumer.commit().unwrap_err()),
        ConsumeError::NoGroupId { .. }
    ));
    assert_eq!(consumer.assign([at("nowhere", 0)]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(consumer.assign([at("orders", 1)]).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(consumer.assignment().is_empty());

    let mut consumer = store.consumer(ConsumerConfig::new("g")).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    let mixed = consume_error(consumer.assign([at("orders", 0)]).unwrap_err());
    assert!(matches!(mixed, ConsumeError::MixedSubscription { .. }), "{mixed}");
    let pattern = TopicPattern::prefix("orders");
    assert!(consumer.subscribe_pattern(pattern.clone()).is_err());
    consumer.unsubscribe().unwrap();
    consumer.subscribe_pattern(pattern).unwrap();
    consumer.close().unwrap();
    consumer.close().unwrap();
    for rejected in [
        consumer.poll(NOW).map(drop),
        consumer.subscribe(["orders"]),
        consumer.commit(),
        consumer.seek(&at("orders", 0), 0),
    ] {
        assert!(matches!(consume_error(rejected.unwrap_err()), ConsumeError::Closed));
    }

    for (config, option) in [
        (ConsumerConfig::new(""), "ConsumerConfig::new"),
        (ConsumerConfig::default().instance_id("i"), "instance_id"),
        (ConsumerConfig::default().max_poll_records(0), "max_poll_records"),
        (ConsumerConfig::default().max_poll_bytes(0), "max_poll_bytes"),
        (ConsumerConfig::default().assignors([]), "assignors"),
        (ConsumerConfig::default().max_poll_interval(NOW), "max_poll_interval"),
    ] {
        match store.consumer(config).unwrap_err() {
            Error::InvalidConfig { option: "ConsumerConfig::new", reason } => {
                assert_eq!(option, "ConsumerConfig::new");
                assert_eq!(reason, "has 0 bytes, but must have 1 to 32767");
            }
            Error::InvalidConfig { option: found, .. } => assert_eq!(found, option),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn groupless_consumer_creates_no_offsets_topic() {
    let World { store, .. } = world();
    topic(&store, "orders", 1);
    let mut consumer = assigned(&store, ConsumerConfig::default(), &[at("orders", 0)]);
    consumer.poll(NOW).unwrap();
    assert!(store.admin().list_groups().unwrap().groups.is_empty());
    assert_eq!(store.topics().len(), 1);
}

/// The records of a poll are committed by the next poll at the earliest.
#[test]
fn automatic_commits_cover_earlier_polls() {
    let World { store, clock } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..10);
    let name = at("orders", 0);
    let config = earliest("g").max_poll_records(4);
    let mut consumer = store.consumer(config.clone()).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    let committed = |consumer: &Consumer| consumer.committed(&name).unwrap().map(|to| to.offset);

    assert_eq!(consumer.poll(NOW).unwrap().len(), 4);
    assert_eq!(committed(&consumer), None);
    clock.advance(Duration::from_millis(5001));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 4);
    assert_eq!(committed(&consumer), Some(4));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    assert_eq!(committed(&consumer), Some(4));
    clock.advance(Duration::from_secs(5));
    assert_eq!(consumer.poll(NOW).unwrap().len(), 0);
    assert_eq!(committed(&consumer), Some(10));

    append(&orders, 0, 10..12);
    assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    // A crash: uncommitted records are read again.
    drop(consumer);
    let mut next = store.consumer(config.clone()).unwrap();
    next.subscribe(["orders"]).unwrap();
    assert_eq!(values(&next.poll(NOW).unwrap()), [10, 11]);
    next.close().unwrap();
    let mut last = store.consumer(config).unwrap();
    last.subscribe(["orders"]).unwrap();
    assert!(last.poll(NOW).unwrap().is_empty());
    assert_eq!(committed(&last), Some(12));
}

#[test]
fn manual_commits_keep_their_metadata() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..5);
    let config = earliest("g").enable_auto_commit(false);
    let mut consumer = store.consumer(config.clone()).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    consumer.poll(NOW).unwrap();
    let commit = OffsetAndMetadata { offset: 3, leader_epoch: Some(7), metadata: "half".into() };
    consumer.commit_offsets(BTreeMap::from([(at("orders", 0), commit.clone())])).unwrap();
    assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), Some(commit));
    assert_eq!(consumer.committed(&at("orders", 1)).unwrap(), None);
    consumer.commit().unwrap();
    assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), Some(5.into()));

    let long = OffsetAndMetadata { metadata: "x".repeat(4097), ..5.into() };
    for (offsets, expected) in [
        (BTreeMap::from([(at("orders", 9), 0.into())]), "does not exist"),
        (BTreeMap::from([(at("orders", 0), long)]), "4096"),
        (BTreeMap::from([(at("orders", 0), OffsetAndMetadata::from(u64::MAX))]), "an offset"),
    ] {
        let rejected = consume_error(consumer.commit_offsets(offsets).unwrap_err());
        assert!(rejected.to_string().contains(expected), "{rejected}");
        assert!(matches!(rejected, ConsumeError::CommitFailed { .. }));
    }
    assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), Some(5.into()));

    // A consumer that chose its partitions itself may not commit for a group that has members.
    let mut simple = assigned(&store, config, &[at("orders", 0)]);
    let one = BTreeMap::from([(at("orders", 0), 1.into())]);
    let rejected = consume_error(simple.commit_offsets(one).unwrap_err());
    assert!(
        matches!(&rejected, ConsumeError::CommitFailed { reason: CommitError::Group(_), .. }),
        "{rejected}"
    );
    consumer.close().unwrap();
    simple.seek_to_beginning([]).unwrap();
    simple.commit().unwrap();
    assert_eq!(simple.committed(&at("orders", 0)).unwrap(), Some(0.into()));
}

#[test]
fn waiting_poll_wakes_on_records() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let orders = topic(&store, "orders", 4);
    let names: Vec<_> = (0..4).map(|partition| at("orders", partition)).collect();
    let mut consumer = assigned(&store, ConsumerConfig::default(), &names);
    for name in &names {
        consumer.position(name).unwrap();
    }
    let waker = consumer.waker();
    std::thread::scope(|scope| {
        let (told, heard) = std::sync::mpsc::channel();
        scope.spawn(move || {
            for round in 0..200 {
                let records = consumer.poll(Duration::MAX).unwrap();
                assert_eq!(records.is_woken(), round % 3 == 2);
                assert_eq!(records.len(), usize::from(round % 3 != 2));
                told.send(()).unwrap();
            }
        });
        for round in 0..200u32 {
            match round % 3 {
                2 => waker.wake(),
                _ => append(&orders, round % 4, 0..1),
            }
            heard.recv().unwrap();
        }
    });
}

#[test]
fn wakeup_is_kept_for_next_poll() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..1);
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = assigned(&store, config, &[at("orders", 0)]);
    consumer.waker().wake();
    consumer.waker().wake();
    assert!(consumer.poll(Duration::MAX).unwrap().is_woken());
    let records = consumer.poll(Duration::MAX).unwrap();
    assert_eq!((records.len(), records.is_woken()), (1, false));
}

#[derive(Clone, Default)]
struct Seen {
    records: Arc<AtomicUsize>,
    commits: Arc<Mutex<Vec<u64>>>,
}

impl ConsumerInterceptor for Seen {
    fn on_consume(&self, records: ConsumerRecords) -> ConsumerRecords {
        self.records.fetch_add(records.len(), Ordering::SeqCst);
        records.into_iter().filter(|record| record.offset % 2 == 0).collect()
    }

    fn on_commit(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        self.commits.lock().unwrap().extend(offsets.values().map(|to| to.offset));
    }
}

struct Panics;

impl ConsumerInterceptor for Panics {
    fn on_consume(&self, _: ConsumerRecords) -> ConsumerRecords {
        panic!("on_consume")
    }

    fn on_commit(&self, _: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        panic!("on_commit")
    }
}

#[test]
fn interceptors_see_records_and_may_panic() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..6);
    let seen = Seen::default();
    let config = earliest("g").interceptor(Panics).interceptor(seen.clone()).interceptor(Panics);
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    assert_eq!(values(&consumer.poll(NOW).unwrap()), [0, 2, 4]);
    assert_eq!(seen.records.load(Ordering::SeqCst), 6);
    consumer.commit().unwrap();
    assert_eq!(*seen.commits.lock().unwrap(), [6]);
}

#[test]
fn damaged_partition_fails_alone() {
    use annals::fs::{Fs, MemFs, OpenMode};
    let fs = MemFs::new();
    let store =
        Store::open("data", StoreConfig::default().fs(fs.clone()).maintenance(None)).unwrap();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..3);
    append(&orders, 0, 3..6);
    append(&orders, 1, 10..13);
    let path = std::path::Path::new("data/orders-0/00000000000000000000.log");
    let file = fs.open(path, OpenMode::ReadWrite).unwrap();
    let second = file.len().unwrap() / 2;
    let mut byte = [0];
    file.read_at(&mut byte, second + 40).unwrap();
    file.write_at(&[byte[0] ^ 1], second + 40).unwrap();

    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = assigned(&store, config, &[at("orders", 0), at("orders", 1)]);
    let mut read = Vec::new();
    let mut errors = 0;
    for round in 0..8 {
        match consumer.poll(NOW) {
            Ok(records) => read.extend(values(&records)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                let error = consume_error(error);
                assert!(matches!(error, ConsumeError::Partition { offset: 3, .. }), "{error}");
                errors += 1;
            }
        }
        append(&orders, 1, 20 + round..21 + round);
    }
    assert!(errors >= 3);
    read.sort_unstable();
    assert_eq!(read[..6], [0, 1, 2, 10, 11, 12]);
    assert!(read.contains(&24), "{read:?}");
    consumer.seek(&at("orders", 0), 6).unwrap();
    consumer.poll(NOW).unwrap();
}

/// A loop that retries what is retryable must not run for ever over a misspelt name.
#[test]
fn commit_for_unknown_topic_is_final() {
    let World { store, .. } = world();
    topic(&store, "orders", 1);
    topic(&store, "users", 1);
    let mut member = store.consumer(earliest("g")).unwrap();
    member.subscribe(["orders"]).unwrap();
    member.poll(NOW).unwrap();
    let mut simple = assigned(&store, earliest("simple"), &[at("orders", 0)]);
    simple.poll(NOW).unwrap();
    let rejected = |consumer: &mut Consumer, at: TopicPartition| {
        let error = consumer.commit_offsets(BTreeMap::from([(at, 0.into())])).unwrap_err();
        assert!(!error.is_retryable(), "{error}");
        error.kind()
    };
    for consumer in [&mut member, &mut simple] {
        for unknown in [at("order", 0), at("orders", 1)] {
            assert_eq!(rejected(consumer, unknown), ErrorKind::NotFound);
        }
    }
    assert_eq!(rejected(&mut member, at("users", 0)), ErrorKind::InvalidInput);
    simple.commit_offsets(BTreeMap::from([(at("users", 0), 0.into())])).unwrap();
    let listed = store.admin().describe_group("simple").unwrap();
    assert_eq!(listed.offsets.into_keys().collect::<Vec<_>>(), [at("users", 0)]);
}

/// The consumer has no position yet when it finds that its committed offset was deleted.
#[test]
fn error_names_deleted_committed_offset() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..10);
    let config = ConsumerConfig::new("g").auto_offset_reset(AutoOffsetReset::None);
    let mut consumer = assigned(&store, config, &[at("orders", 0)]);
    consumer.commit_offsets(BTreeMap::from([(at("orders", 0), 3.into())])).unwrap();
    orders.partition(0).unwrap().delete_before(6).unwrap();
    match consume_error(consumer.poll(NOW).unwrap_err()) {
        ConsumeError::Partition { offset, .. } => assert_eq!(offset, 3),
        other => panic!("{other}"),
    }
}

/// A consumer whose close succeeded counts on its records being committed.
#[test]
fn close_fails_when_nothing_was_committed() {
    let World { store, clock, .. } = world();
    append(&topic(&store, "orders", 1), 0, 0..10);
    let subscribed = || {
        let mut consumer = store.consumer(earliest("g")).unwrap();
        consumer.subscribe(["orders"]).unwrap();
        consumer
    };
    let mut hung = subscribed();
    assert_eq!(hung.poll(NOW).unwrap().len(), 10);
    clock.advance(Duration::from_secs(301));
    assert_eq!(hung.close().unwrap_err().kind(), ErrorKind::Rebalancing);
    hung.close().unwrap();
    let mut late = subscribed();
    assert_eq!(late.poll(NOW).unwrap().len(), 10);
    store.close().unwrap();
    assert!(matches!(late.close().unwrap_err(), Error::StoreClosed));
}
