//! The positions of consumers in a partition that was truncated, recreated or unchanged.

use super::{at, poll, store, stored};
use annals::fs::{Fault, Operation, Rule};
use annals::{
    AutoOffsetReset, Clock, Consumer, ConsumerConfig, ErrorKind, Log, OnCorruption, StartAt, Store,
    StoreConfig, SystemClock, TopicConfig, TopicPartition,
};
use std::time::Duration;
use support::{Chance, seeds};

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
