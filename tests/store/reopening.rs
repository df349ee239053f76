//! One partition of a store is closed and opened again while everything else continues.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::{
    Acks, AutoOffsetReset, Clock, CloseReason, Consumer, ConsumerConfig, Error, ErrorKind, Event,
    GroupCoordinatorConfig, Log, LogConfig, OnCorruption, Producer, ProducerConfig, ProducerRecord,
    Record, StartAt, Store, StoreConfig, SystemClock, Timestamp, TopicConfig, TopicPartition,
};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, Heard, seeds};

const NOW: Duration = Duration::ZERO;
const SEGMENT: &str = "data/orders-1/00000000000000000000.log";

fn open(fs: &FaultFs) -> Store {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(2);
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).group_coordinator(groups);
    Store::open("data", config).unwrap()
}

/// A store with two partitions of `orders`. Each append is synced, so that a sync may fail after
/// the write.
fn store() -> (FaultFs, Store) {
    let fs = FaultFs::new(MemFs::new());
    let store = open(&fs);
    let log = LogConfig::default().flush_messages(1);
    store.create_topic("orders", TopicConfig::default().partitions(2).log(log)).unwrap();
    (fs, store)
}

fn producer(store: &Store) -> Producer {
    producer_with(store, Acks::Written)
}

fn producer_with(store: &Store, acks: Acks) -> Producer {
    let config = ProducerConfig::default().linger(NOW).retry_backoff(Duration::from_millis(1));
    store.producer(config.acks(acks)).unwrap()
}

fn send(producer: &Producer, value: &str) -> annals::Result<()> {
    let record = ProducerRecord::new("orders", Record::new(value.to_owned())).partition(1);
    producer.send(record)?.wait().map(drop)
}

/// Reads partition 1 from the end that it has now. Nothing is committed.
fn consumer(store: &Store) -> Consumer {
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(AutoOffsetReset::Latest)
        .enable_auto_commit(false);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([TopicPartition::new("orders", 1)]).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    consumer
}

fn poll(consumer: &mut Consumer) -> annals::Result<Vec<String>> {
    let records = consumer.poll(NOW)?;
    Ok(records.iter().map(|record| record.value_str().unwrap().to_owned()).collect())
}

fn stored(store: &Store) -> Vec<String> {
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    let reader = log.reader(log.offsets().start).unwrap();
    reader.records().map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
}

/// Fails the next sync of partition 1.
fn fail_sync(fs: &FaultFs) {
    let rule = Rule::new(Operation::SyncData, Fault::Errno(5)).or(Operation::SyncAll);
    fs.add_rule(rule.path("orders-1").nth(1));
}

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

#[test]
fn clients_continue_after_reopening() {
    let (_, store) = store();
    let (producer, mut consumer) = (producer(&store), consumer(&store));
    send(&producer, "a").unwrap();
    store.topic("orders").unwrap().partition(1).unwrap().close().unwrap();
    for rejected in [send(&producer, "b").unwrap_err(), poll(&mut consumer).map(drop).unwrap_err()]
    {
        assert_eq!(rejected.kind(), ErrorKind::Closed);
        let advice = r#"Store::reopen_partition("orders", 1, "#;
        assert!(rejected.to_string().contains(advice), "{rejected}");
    }
    assert!(
        store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap().recovery().clean_shutdown
    );
    send(&producer, "c").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a", "c"]);
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

/// While the partition is between two logs, sends wait, and a poll finds nothing.
#[test]
fn clients_wait_while_partition_reopens() {
    let (fs, store) = store();
    let producer = producer(&store);
    let consumer = Arc::new(Mutex::new(consumer(&store)));
    send(&producer, "a").unwrap();
    let (handles, polled) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&consumer));
    let (sender, sent) = (producer.clone(), Arc::clone(&handles));
    let meanwhile = Fault::call(move |_| {
        let record = ProducerRecord::new("orders", Record::new("b")).partition(1);
        sent.lock().unwrap().push(sender.send(record).unwrap());
        let mut consumer = polled.lock().unwrap();
        assert!(poll(&mut consumer).unwrap().is_empty());
        let at = TopicPartition::new("orders", 1);
        assert_eq!(consumer.position(&at).unwrap(), 0);
        let rejected = [
            consumer.seek(&at, 0).unwrap_err(),
            consumer.lag(&at).unwrap_err(),
            consumer.offsets_for_times([(at, Timestamp::from_millis(0))]).unwrap_err(),
        ];
        assert!(rejected.iter().all(Error::is_retryable), "{rejected:?}");
    });
    let rule =
        fs.add_rule(Rule::new(Operation::Open, meanwhile).path("orders-1/partition.metadata"));
    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    assert!(fs.hit_count(rule) > 0);
    fs.clear_rules();
    for handle in handles.lock().unwrap().drain(..) {
        handle.wait().unwrap();
    }
    let mut consumer = consumer.lock().unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a", "b"]);
    // It may commit where it is, too.
    consumer.commit().unwrap();
}

/// A partition that is closed in order is back before a client has to fail a call.
#[test]
fn working_clients_survive_reopening() {
    const RECORDS: usize = 200;
    let (_, store) = store();
    for acks in [Acks::Written, Acks::Flushed] {
        let (producer, mut consumer) = (producer_with(&store, acks), consumer(&store));
        std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                (0..RECORDS).for_each(|n| send(&producer, &n.to_string()).unwrap());
            });
            let polling = scope.spawn(|| {
                let mut polled = Vec::new();
                while polled.len() < RECORDS {
                    let records = consumer.poll(Duration::from_secs(60)).unwrap();
                    assert!(!records.is_empty(), "{} came", polled.len());
                    polled.extend(
                        records.iter().map(|record| record.value_str().unwrap().to_owned()),
                    );
                }
                polled
            });
            let reopening = scope.spawn(|| {
                for _ in 0..50 {
                    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
                }
            });
            while !sending.is_finished() || !reopening.is_finished() {
                store.flush().unwrap();
                store.maintain().unwrap();
            }
            reopening.join().unwrap();
            sending.join().unwrap();
            let polled = polling.join().unwrap();
            assert!(polled.iter().cloned().eq((0..RECORDS).map(|n| n.to_string())));
        });
    }
}

/// The members of a group are in memory, and what it has committed is in a log that may fail like
/// any other.
#[test]
fn group_continues_when_offsets_reopen() {
    let (fs, store) = store();
    let producer = producer(&store);
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .enable_auto_commit(false)
        .flush_commits(true);
    let mut consumer = store.consumer(config.clone()).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    send(&producer, "a").unwrap();
    assert_eq!(poll(&mut consumer).unwrap(), ["a"]);
    consumer.commit().unwrap();
    let generation = consumer.group_metadata().unwrap().generation;
    let at = TopicPartition::new("orders", 1);
    for (round, value) in (2..).zip(["b", "c", "d"]) {
        if round == 3 {
            let rule = Rule::new(Operation::SyncData, Fault::Errno(5)).or(Operation::SyncAll);
            let rule = fs.add_rule(rule.path("__consumer_offsets").nth(1));
            consumer.commit_offsets([(at.clone(), 1.into())]).unwrap_err();
            fs.remove_rule(rule);
            assert_eq!(consumer.commit().unwrap_err().kind(), ErrorKind::Poisoned);
        }
        for number in 0..2 {
            store.reopen_partition("__consumer_offsets", number, OnCorruption::Fail).unwrap();
        }
        send(&producer, value).unwrap();
        assert_eq!(poll(&mut consumer).unwrap(), [value]);
        consumer.commit().unwrap();
        assert_eq!(consumer.committed(&at).unwrap().unwrap().offset, round);
        assert_eq!(consumer.group_metadata().unwrap().generation, generation);
    }
    store.close().unwrap();
    let store = open(&fs);
    let described = store.admin().describe_group("billing").unwrap();
    assert_eq!(described.offsets[&at].committed.offset, 4);
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

/// The members still know the group state that the reopened log has lost: a crash must not find
/// less than they do.
#[test]
fn reopening_restores_lost_group_state() {
    let disk = MemFs::new();
    let config = || {
        let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
        StoreConfig::default().fs(disk.clone()).maintenance(None).group_coordinator(groups)
    };
    let store = Store::open("data", config()).unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    let member = ConsumerConfig::new("billing").instance_id("one");
    let mut consumer = store.consumer(member).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    let generation = consumer.group_metadata().unwrap().generation;
    store.topic("__consumer_offsets").unwrap().partition(0).unwrap().close().unwrap();
    let path = Path::new("data/__consumer_offsets-0/00000000000000000000.log");
    disk.open(path, OpenMode::ReadWrite).unwrap().set_len(0).unwrap();
    store.reopen_partition("__consumer_offsets", 0, OnCorruption::Truncate).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    let killed = StoreConfig::default().fs(disk.kill());
    let view = Store::open_read_only("data", killed).unwrap();
    let stored = view.describe_group("billing").unwrap();
    assert_eq!((stored.members.len(), stored.generation), (1, generation));
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
    says(log.get(9).unwrap_err(), &["offset 9", "data/orders-1", "is empty"]);
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

/// A topic that was deleted and created again has the name of the earlier one, and none of its
/// records.
#[test]
fn pending_records_stay_with_deleted_topic() {
    let (_, store) = store();
    let config = ProducerConfig::default().linger(Duration::from_secs(60));
    let producer = store.producer(config).unwrap();
    let mut consumer = consumer(&store);
    let record = ProducerRecord::new("orders", Record::new("old")).partition(1);
    let waiting = producer.send(record).unwrap();
    store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    store.delete_topic("orders").unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    producer.flush().ok();
    assert_eq!(waiting.wait().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(stored(&store).is_empty());
    let committed = consumer.commit_offsets([(TopicPartition::new("orders", 1), 1.into())]);
    assert_eq!(committed.unwrap_err().kind(), ErrorKind::Rebalancing);
}

/// Whatever happens to the log in between, a record whose send returned `Ok` is polled once, in
/// order.
#[test]
fn acknowledged_records_are_polled_once() {
    for seed in seeds("ANNALS_REOPENING_SEEDS", 40) {
        let mut chance = Chance(seed);
        let (fs, store) = store();
        let acks = if seed % 2 == 0 { Acks::Written } else { Acks::Flushed };
        let (producer, mut consumer) = (producer_with(&store, acks), consumer(&store));
        let (mut acknowledged, mut polled) = (Vec::new(), Vec::new());
        for step in 0..60 {
            let topic = store.topic("orders").unwrap();
            match chance.below(10) {
                0..=4 => {
                    let value = step.to_string();
                    if send(&producer, &value).is_ok() {
                        acknowledged.push(value);
                    }
                }
                5..=6 => polled.extend(poll(&mut consumer).unwrap_or_default()),
                7 => fail_sync(&fs),
                8 => drop(topic.partition(1).and_then(|log| log.close())),
                _ => {
                    fs.clear_rules();
                    let how = [OnCorruption::Fail, OnCorruption::Quarantine];
                    let how = how[usize::try_from(chance.below(2)).unwrap()];
                    store.reopen_partition("orders", 1, how).unwrap();
                }
            }
        }
        fs.clear_rules();
        store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
        polled.extend(poll(&mut consumer).unwrap());
        assert_eq!(polled, stored(&store), "seed {seed}");
        polled.retain(|value| acknowledged.contains(value));
        assert_eq!(polled, acknowledged, "seed {seed}");
    }
}

fn at() -> TopicPartition {
    TopicPartition::new("orders", 1)
}

fn orders(store: &Store) -> Log {
    store.topic("orders").unwrap().partition(1).unwrap()
}

fn append(store: &Store, value: u64) {
    orders(store).append(value.to_string()).unwrap();
}

/// The results that a caller gets from a consumer: records, and kinds of errors.
#[derive(Debug, Default, PartialEq)]
struct Story(Vec<String>);

impl Story {
    fn tell<T: std::fmt::Debug>(&mut self, what: &str, result: annals::Result<T>) {
        self.0.push(match result {
            Ok(value) => format!("{what}: {value:?}"),
            Err(error) => format!("{what} fails: {:?}", error.kind()),
        });
    }

    /// The call of a consumer with this number.
    fn call(&mut self, consumer: &mut Consumer, number: u64) {
        match number {
            0 => self.tell("poll", poll(consumer)),
            1 => self.tell("seek", consumer.seek(&at(), 3)),
            2 => self.tell("seek_to_beginning", consumer.seek_to_beginning([])),
            3 => self.tell("seek_to_end", consumer.seek_to_end([at()])),
            4 => self.tell("lag", consumer.lag(&at())),
            5 => self.tell("position", consumer.position(&at())),
            6 => self.tell("commit", consumer.commit()),
            7 => self.tell("committed", consumer.committed(&at())),
            8 => self.tell("pause", consumer.pause([at()])),
            _ => self.tell("resume", consumer.resume([at()])),
        }
    }
}

const RESETS: [AutoOffsetReset; 3] =
    [AutoOffsetReset::Earliest, AutoOffsetReset::Latest, AutoOffsetReset::None];

/// A consumer of partition 1 that reads one record a poll, alone or as the member of a group.
fn slow_consumer(store: &Store, is_member: bool, reset: AutoOffsetReset) -> Consumer {
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(reset)
        .max_poll_records(1)
        .enable_auto_commit(false);
    let mut consumer = store.consumer(config).unwrap();
    match is_member {
        true => consumer.subscribe(["orders"]).unwrap(),
        false => consumer.assign([at()]).unwrap(),
    }
    consumer
}

/// The consumer stood where the closed log had no record any more. It took that for an offset to
/// reset, which a closed log rejects, and never learned that another log was in its place: each
/// poll and each seek failed for good.
#[test]
fn consumer_continues_after_truncated_partition_reopens() {
    let story =
        |reopened: bool, is_member, reset, polls: u64, cut: u64, first: u64, paused: bool| {
            let (_, store) = store();
            (0..5).for_each(|n| append(&store, n));
            let mut consumer = slow_consumer(&store, is_member, reset);
            let mut story = Story::default();
            (0..polls).for_each(|_| story.call(&mut consumer, 0));
            if polls > 0 && reset == AutoOffsetReset::None {
                story.call(&mut consumer, 2);
                story.call(&mut consumer, 0);
            }
            if paused {
                consumer.pause([at()]).ok();
            }
            match cut {
                0 => drop(orders(&store).delete_before(4).unwrap()),
                _ => orders(&store).truncate_to(2).unwrap(),
            }
            if reopened {
                store.reopen_partition("orders", 1, OnCorruption::default()).unwrap();
            }
            (0..3).for_each(|n| append(&store, 10 + n));
            story.call(&mut consumer, first);
            consumer.resume([at()]).ok();
            (0..8).for_each(|_| story.call(&mut consumer, 0));
            [4, 5, 6, 7, 2, 0, 4].iter().for_each(|call| story.call(&mut consumer, *call));
            story
        };
    for (number, reset) in (0..).zip(RESETS) {
        // Each reset meets another seventh of the combinations.
        for variant in (number..2 * 3 * 2 * 8 * 2).step_by(7) {
            let is_member = variant % 2 == 0;
            let polls = [0, 1, 6][variant as usize / 2 % 3];
            let (cut, first) = (variant / 6 % 2, variant / 12 % 8);
            let paused = variant / 96 == 1;
            let [without, with] = [false, true]
                .map(|reopened| story(reopened, is_member, reset, polls, cut, first, paused));
            assert_eq!(with, without, "reset {number}, variant {variant}");
        }
    }
}

/// The topic was truncated, then deleted and created again: the records that the consumer had not
/// read do not belong to the new topic.
#[test]
fn consumer_restarts_when_topic_is_recreated() {
    for (is_member, first) in [(false, 0), (false, 2), (false, 4), (true, 0), (true, 2), (true, 4)]
    {
        let (_, store) = store();
        (0..5).for_each(|n| append(&store, n));
        let mut consumer = slow_consumer(&store, is_member, AutoOffsetReset::Earliest);
        assert_eq!(poll(&mut consumer).unwrap(), ["0"]);
        orders(&store).delete_before(4).unwrap();
        store.delete_topic("orders").unwrap();
        store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
        orders(&store).append_all(["a", "b"].map(Into::into)).unwrap();
        let mut story = Story::default();
        story.call(&mut consumer, first);
        assert!(!story.0[0].contains("fails"), "{story:?}");
        let mut polled = match first {
            0 if story.0[0].contains('a') => vec!["a".to_owned()],
            _ => Vec::new(),
        };
        (0..3).for_each(|_| polled.extend(poll(&mut consumer).unwrap()));
        assert_eq!(polled, ["a", "b"], "{story:?}");
        assert_eq!(consumer.lag(&at()).unwrap(), 0);
    }
}

/// A loop that polls with a timeout, and logs the errors, must not spin until the partition is
/// back.
#[test]
fn poll_waits_after_first_closed_error() {
    let store = Store::in_memory(StoreConfig::default().maintenance(None)).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    let mut consumer = store.consumer(ConsumerConfig::default()).unwrap();
    consumer.assign([TopicPartition::new("orders", 0), at()]).unwrap();
    assert!(poll(&mut consumer).unwrap().is_empty());
    topic.partition(1).unwrap().close().unwrap();
    assert_eq!(poll(&mut consumer).unwrap_err().kind(), ErrorKind::Closed);
    for value in ["a", "b", "c"] {
        topic.partition(0).unwrap().append(value).unwrap();
        assert_eq!(poll(&mut consumer).unwrap(), [value]);
    }
    assert_eq!(poll(&mut consumer).unwrap_err().kind(), ErrorKind::Closed);
    // However busy the machine is, a poll that waits does not return before its timeout.
    let (clock, timeout) = (SystemClock::default(), Duration::from_millis(5));
    let began = clock.monotonic();
    assert_eq!(consumer.poll(timeout).unwrap_err().kind(), ErrorKind::Closed);
    assert!(clock.monotonic() - began >= timeout);
    std::thread::scope(|scope| {
        let polling = scope.spawn(|| consumer.poll(Duration::MAX).unwrap().len());
        let log = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
        log.append("d").unwrap();
        assert_eq!(polling.join().unwrap(), 1);
    });
}

/// Two stores see the same calls, and one of them is reopened now and then: no consumer can tell
/// which.
#[test]
fn consumer_never_notices_reopening() {
    for seed in seeds("ANNALS_REOPENING_SEEDS", 30) {
        let told = [false, true].map(|reopens| {
            let (mut chance, mut other) = (Chance(seed), Chance(!seed));
            let (_, store) = store();
            let reset = RESETS[usize::try_from(chance.below(3)).unwrap()];
            let mut consumer = slow_consumer(&store, chance.below(2) == 0, reset);
            let mut story = Story::default();
            for step in 0..80 {
                let log = orders(&store);
                let (start, end) = (log.offsets().start, log.offsets().end);
                let within = start + chance.below(end - start + 1);
                match chance.below(20) {
                    0..=5 => append(&store, step),
                    6 => log.truncate_to(within).unwrap(),
                    7 => drop(log.delete_before(within).unwrap()),
                    8 => story.tell("seek", consumer.seek(&at(), StartAt::Offset(within))),
                    9..=12 => story.call(&mut consumer, chance.below(10)),
                    _ => story.call(&mut consumer, 0),
                }
                if reopens && other.below(6) == 0 {
                    store.reopen_partition("orders", 1, OnCorruption::default()).unwrap();
                }
            }
            story
        });
        assert_eq!(told[0], told[1], "seed {seed}");
    }
}

/// A truncation or a deletion that fails half way leaves a log that has to be reopened, and its
/// consumer anywhere.
#[test]
fn consumer_continues_after_failed_truncation() {
    for seed in seeds("ANNALS_REOPENING_SEEDS", 40) {
        let mut chance = Chance(seed);
        let (fs, store) = store();
        let mut consumer =
            slow_consumer(&store, chance.below(2) == 0, RESETS[usize::from(seed % 2 == 0)]);
        let mut told = Vec::new();
        for step in 0..60 {
            let log = orders(&store);
            let (start, end) = (log.offsets().start, log.offsets().end);
            let within = start + chance.below(end - start + 1);
            match chance.below(10) {
                0..=2 => drop(log.append(step.to_string())),
                3 => drop(log.truncate_to(within)),
                4 => drop(log.delete_before(within)),
                5 => {
                    let calls = [
                        Operation::SetLen,
                        Operation::SyncAll,
                        Operation::SyncDir,
                        Operation::Rename,
                        Operation::SyncData,
                    ];
                    let call = calls[usize::try_from(chance.below(5)).unwrap()];
                    fs.add_rule(Rule::new(call, Fault::Errno(5)).path("orders-1").nth(1));
                }
                6..=8 => told.push(poll(&mut consumer).map_err(|error| error.to_string())),
                _ => {
                    fs.clear_rules();
                    store.reopen_partition("orders", 1, OnCorruption::default()).unwrap();
                }
            }
        }
        fs.clear_rules();
        store.reopen_partition("orders", 1, OnCorruption::default()).unwrap();
        poll(&mut consumer).unwrap();
        orders(&store).append_all(["y", "z"].map(Into::into)).unwrap();
        let left = consumer.lag(&at()).unwrap();
        let polled: Vec<_> = (0..left).flat_map(|_| poll(&mut consumer).unwrap()).collect();
        let stored = stored(&store);
        assert!(polled.ends_with(&["y".to_owned(), "z".to_owned()]), "seed {seed}: {told:?}");
        assert!(stored.ends_with(&polled), "seed {seed}: {polled:?} of {stored:?}");
    }
}
