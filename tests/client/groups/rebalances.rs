//! Groups whose topics change, whose commits fail, and whose members come and go: each partition
//! keeps a reader.
//!
//! `ANNALS_REBALANCE_SEEDS=17` runs one seed of the simulation, `0..300` many.

use crate::{NOW, cooperative, earliest};
use annals::assignor::{Assignor, CooperativeSticky, Range, RoundRobin, Sticky};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    AutoOffsetReset, Consumer, ConsumerConfig, ManualClock, RebalanceContext, RebalanceListener,
    Store, StoreConfig, Timestamp, TopicConfig, TopicPartition, TopicPattern,
};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, seeds};

fn store_on(fs: &FaultFs) -> Store {
    Store::open("d", StoreConfig::default().fs(fs.clone()).maintenance(None)).unwrap()
}

fn subscribed(store: &Store, config: ConsumerConfig) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["t"]).unwrap();
    consumer
}

fn of(partitions: u32) -> TopicConfig {
    TopicConfig::default().partitions(partitions)
}

fn append_one_each(store: &Store, topic: &str) {
    for log in store.topic(topic).unwrap().partitions().iter() {
        log.append("x").unwrap();
    }
}

fn poll_all(consumers: &mut [&mut Consumer], rounds: usize) -> usize {
    let mut records = 0;
    for _ in 0..rounds {
        for consumer in consumers.iter_mut() {
            records += consumer.poll(NOW).unwrap().len();
        }
    }
    records
}

/// The topic has as many partitions as before, and the leader did not poll in between: nothing but
/// the topic's id tells.
#[test]
fn members_read_recreated_topic() {
    for cooperates in [false, true] {
        let store = Store::in_memory(StoreConfig::default()).unwrap();
        store.create_topic("t", of(2)).unwrap();
        let config = || if cooperates { cooperative(earliest("g")) } else { earliest("g") };
        let (mut leader, mut other) = (subscribed(&store, config()), subscribed(&store, config()));
        poll_all(&mut [&mut leader, &mut other], 6);
        store.delete_topic("t").unwrap();
        other.poll(NOW).unwrap();
        store.create_topic("t", of(2)).unwrap();
        append_one_each(&store, "t");
        assert_eq!(poll_all(&mut [&mut leader, &mut other], 10), 2);
    }
}

/// A poll that comes between the closing of the logs and the end of the deletion finds no topic.
/// The counts are the same afterwards, for a consumer that is alone in its group as for one that
/// leads.
#[test]
fn poll_during_deletion_reads_recreated_topic() {
    let fs = FaultFs::new(MemFs::new());
    let store = store_on(&fs);
    store.create_topic("t", of(1)).unwrap();
    let consumer = Arc::new(Mutex::new(subscribed(&store, earliest("g"))));
    consumer.lock().unwrap().poll(NOW).unwrap();
    let polled = Arc::clone(&consumer);
    let poll = Fault::call(move |_| drop(polled.lock().unwrap().poll(NOW).unwrap()));
    fs.add_rule(Rule::new(Operation::RenameDir, poll).nth(1));
    store.delete_topic("t").unwrap();
    store.create_topic("t", of(1)).unwrap();
    append_one_each(&store, "t");
    let mut consumer = consumer.lock().unwrap();
    assert_eq!(poll_all(&mut [&mut consumer], 10), 1);
}

/// A member learns its assignment while the topic is deleted, and the leader never polls again in
/// time: it takes the partitions up as soon as the topic is there.
#[test]
fn member_reads_partitions_missing_when_assigned() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic("t", of(2)).unwrap();
    let (mut leader, mut other) =
        (subscribed(&store, earliest("g")), subscribed(&store, earliest("g")));
    leader.poll(NOW).unwrap();
    other.poll(NOW).unwrap();
    leader.poll(NOW).unwrap(); // joins again
    other.poll(NOW).unwrap(); // asks for its assignment
    leader.poll(NOW).unwrap(); // assigns
    store.delete_topic("t").unwrap();
    other.poll(NOW).unwrap();
    store.create_topic("t", of(2)).unwrap();
    append_one_each(&store, "t");
    assert_eq!(poll_all(&mut [&mut other], 4), 1, "{:?}", other.assignment());
}

/// The assignment of a static member outlives it, and may be of a topic that was smaller, or of
/// one more topic.
#[test]
fn returning_static_leader_assigns_changed_partitions() {
    let fs = FaultFs::new(MemFs::new());
    for reopens in [false, true] {
        let mut store = store_on(&fs);
        store.create_topic("t", of(1)).unwrap();
        store.create_topic("u", of(1)).unwrap();
        let start = |store: &Store| {
            let mut consumer = store.consumer(earliest("g").instance_id("one")).unwrap();
            consumer.subscribe(["t", "u"]).unwrap();
            consumer.poll(NOW).unwrap();
            consumer
        };
        start(&store).close().unwrap();
        if reopens {
            store.close().unwrap();
            store = store_on(&fs);
        }
        store.add_partitions("t", 3).unwrap();
        store.delete_topic("u").unwrap();
        let mut consumer = start(&store);
        append_one_each(&store, "t");
        assert_eq!(poll_all(&mut [&mut consumer], 10), 3, "{:?}", consumer.assignment());
        let whole: Vec<_> = (0..3).map(|number| TopicPartition::new("t", number)).collect();
        assert_eq!(consumer.assignment(), whole);
        let described = store.admin().describe_group("g").unwrap();
        assert_eq!(described.members[0].assignment, whole);
        // It comes back to what it has: nothing changed, and nothing is assigned anew.
        let generation = described.generation;
        consumer.close().unwrap();
        let mut consumer = start(&store);
        poll_all(&mut [&mut consumer], 4);
        assert_eq!(store.admin().describe_group("g").unwrap().generation, generation);
        consumer.close().unwrap();
        store.admin().remove_members("g", []).unwrap();
        store.delete_topic("t").unwrap();
        store.close().unwrap();
    }
}

struct PanicsOnce(bool);

impl RebalanceListener for PanicsOnce {
    fn on_partitions_revoked(&mut self, _: &mut RebalanceContext<'_>, _: &[TopicPartition]) {
        assert!(std::mem::replace(&mut self.0, true), "the listener fails once");
    }
}

/// The disk is full for the first commit that comes before partitions are given up.
fn moves_after_failed_commit(
    config: &dyn Fn() -> ConsumerConfig,
    (who, from): (usize, usize),
    panics: bool,
) -> usize {
    let fs = FaultFs::new(MemFs::new());
    let store = store_on(&fs);
    store.create_topic("t", of(4)).unwrap();
    for _ in 0..50 {
        append_one_each(&store, "t");
    }
    let start = || subscribed(&store, config().max_poll_records(1));
    let (mut a, mut b) = (start(), start());
    poll_all(&mut [&mut a, &mut b], 8);
    for consumer in [&mut a, &mut b] {
        consumer.set_listener(PanicsOnce(!panics));
    }
    let mut new = start();
    new.poll(NOW).unwrap(); // joins
    let mut failed = 0;
    for round in 0..40 {
        for (index, consumer) in [&mut a, &mut b].into_iter().enumerate() {
            let full = Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull));
            let fails = failed == 0 && index == who && round >= from;
            let full = fails.then(|| fs.add_rule(full));
            failed += usize::from(consumer.poll(NOW).is_err());
            if let Some(full) = full {
                fs.remove_rule(full);
            }
        }
        new.poll(NOW).unwrap();
    }
    let counts = [&a, &b, &new].map(|consumer| consumer.assignment().len());
    assert_eq!(counts.iter().sum::<usize>(), 4, "{counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    failed
}

#[test]
fn partitions_move_after_revocation_commit_failed() {
    for panics in [false, true] {
        for config in [|| earliest("g"), || cooperative(earliest("g"))] {
            let cases = (0..2).flat_map(|who| (0..3).map(move |from| (who, from)));
            let failed = cases.map(|case| moves_after_failed_commit(&config, case, panics));
            assert!(failed.sum::<usize>() > 0);
        }
    }
}

/// The record of a group whose last member hung cannot be written as the next one joins. The new
/// member must not be counted twice, and no partition may wait for a member that does not exist.
#[test]
fn failed_join_leaves_no_second_member() {
    let fs = FaultFs::new(MemFs::new());
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let config = StoreConfig::default().fs(fs.clone()).clock(clock.clone()).maintenance(None);
    let store = Store::open("d", config).unwrap();
    store.create_topic("t", of(2)).unwrap();
    let mut hung = subscribed(&store, earliest("g"));
    hung.poll(NOW).unwrap();
    clock.advance(Duration::from_secs(301));
    let mut next = subscribed(&store, earliest("g"));
    let full = Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull));
    let full = fs.add_rule(full);
    next.poll(NOW).unwrap_err();
    fs.remove_rule(full);
    append_one_each(&store, "t");
    assert_eq!(poll_all(&mut [&mut next], 5), 2);
    assert_eq!(store.admin().describe_group("g").unwrap().members.len(), 1);
}

/// A cooperative member reads on while it joins again. The next generation begins before it polls
/// once more, and it closes: no other member reads those records again.
#[test]
fn close_commits_records_read_while_rejoining() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic("t", of(2)).unwrap();
    for _ in 0..20 {
        append_one_each(&store, "t");
    }
    for polls_of_leader in 0..3 {
        let start = || subscribed(&store, cooperative(earliest("g").max_poll_records(1)));
        let (mut leader, mut closes) = (start(), start());
        poll_all(&mut [&mut leader, &mut closes], 4);
        let mut new = start();
        new.poll(NOW).unwrap(); // joins
        let read = closes.poll(NOW).unwrap(); // joins again, and reads on
        assert_eq!(read.len(), 1);
        let last = read.into_iter().next().unwrap();
        poll_all(&mut [&mut leader], polls_of_leader); // a generation begins, and gets its assignment
        closes.close().unwrap();
        let at = TopicPartition::new("t", last.partition);
        let committed = leader.committed(&at).unwrap().unwrap();
        assert_eq!(committed.offset, last.offset + 1, "after {polls_of_leader} polls");
    }
}

fn latest(group: &str) -> ConsumerConfig {
    ConsumerConfig::new(group).auto_offset_reset(AutoOffsetReset::Latest)
}

/// The ways in which a partition comes into being while a topic is being read.
#[derive(Debug, Clone, Copy)]
enum Birth {
    Added,
    Named,
    Matched,
    Again,
    AgainAssigned,
}

/// A consumer that reads before the partition is created; its `next` poll comes after a record was
/// appended to it.
fn read_of_new_partition(birth: Birth, config: ConsumerConfig) -> usize {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic("other", of(1)).unwrap();
    if !matches!(birth, Birth::Named | Birth::Matched) {
        store.create_topic("t", of(1)).unwrap();
        append_one_each(&store, "t");
    }
    let mut consumer = store.consumer(config).unwrap();
    match birth {
        Birth::Matched => consumer.subscribe_pattern(TopicPattern::prefix("t")).unwrap(),
        Birth::AgainAssigned => consumer.assign([TopicPartition::new("t", 0)]).unwrap(),
        _ => consumer.subscribe(["t", "other"]).unwrap(),
    }
    assert_eq!(consumer.poll(NOW).unwrap().len(), 0, "latest");
    if matches!(birth, Birth::Again | Birth::AgainAssigned) {
        store.delete_topic("t").unwrap();
    }
    match birth {
        Birth::Added => store.add_partitions("t", 2).unwrap(),
        _ => drop(store.create_topic("t", of(2)).unwrap()),
    }
    store.topic("t").unwrap().partition(0).unwrap().append("x").unwrap();
    store.topic("t").unwrap().partition(1).unwrap().append("x").unwrap();
    poll_all(&mut [&mut consumer], 4)
}

#[test]
fn latest_reads_new_partitions_whole() {
    for config in [latest("g"), cooperative(latest("g"))] {
        for (birth, expected, kafka) in [
            (Birth::Added, 2, 1),
            (Birth::Named, 2, 0),
            (Birth::Matched, 2, 0),
            (Birth::Again, 2, 0),
            (Birth::AgainAssigned, 1, 0),
        ] {
            assert_eq!(read_of_new_partition(birth, config.clone()), expected, "{birth:?}");
            let as_kafka = config.clone().new_partitions_from_start(false);
            assert_eq!(read_of_new_partition(birth, as_kafka), kafka, "{birth:?} in Kafka");
        }
    }
}

/// The partition goes to a member that came after it was made: the group was there before.
#[test]
fn later_member_starts_new_partition() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic("t", of(1)).unwrap();
    let mut early = subscribed(&store, latest("g"));
    early.poll(NOW).unwrap();
    store.add_partitions("t", 2).unwrap();
    store.topic("t").unwrap().partition(1).unwrap().append("x").unwrap();
    let mut late = subscribed(&store, latest("g"));
    assert_eq!(poll_all(&mut [&mut early, &mut late], 5), 1);
    // One that was made while the group had no members begins at its end.
    early.close().unwrap();
    late.close().unwrap();
    store.add_partitions("t", 3).unwrap();
    store.topic("t").unwrap().partition(2).unwrap().append("x").unwrap();
    let mut next = subscribed(&store, latest("g"));
    assert_eq!(poll_all(&mut [&mut next], 4), 0);
}

/// The process ends after the poll that found the partition, before anything that it returned was
/// committed.
#[test]
fn crash_keeps_start_in_new_partition() {
    let fs = MemFs::new();
    let open = |fs: &MemFs| {
        Store::open("d", StoreConfig::default().fs(fs.clone()).maintenance(None)).unwrap()
    };
    let store = open(&fs);
    store.create_topic("t", of(1)).unwrap();
    let mut consumer = subscribed(&store, latest("g"));
    consumer.poll(NOW).unwrap();
    store.add_partitions("t", 2).unwrap();
    store.topic("t").unwrap().partition(1).unwrap().append("x").unwrap();
    assert_eq!(poll_all(&mut [&mut consumer], 2), 1);
    let killed = fs.kill();
    drop((consumer, store));
    let store = open(&killed);
    let mut consumer = subscribed(&store, latest("g"));
    assert_eq!(poll_all(&mut [&mut consumer], 3), 1);
}

/// A group over some minutes: members come and go in order, subscriptions and topics change.
/// Nothing fails.
struct Group {
    store: Store,
    clock: Arc<ManualClock>,
    chance: Chance,
    assignors: Vec<Arc<dyn Assignor>>,
    members: Vec<Consumer>,
    named: u64,
    read: BTreeMap<(String, u32), Vec<u64>>,
}

impl Group {
    fn new(seed: u64) -> Group {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let store = Store::in_memory(StoreConfig::default().clock(clock.clone())).unwrap();
        store.create_topic("t0", of(3)).unwrap();
        store.create_topic("t1", of(1)).unwrap();
        let assignors: Vec<Arc<dyn Assignor>> = match seed % 6 {
            0 => vec![Arc::new(Range)],
            1 => vec![Arc::new(RoundRobin)],
            2 => vec![Arc::new(Sticky)],
            _ => vec![Arc::new(CooperativeSticky)],
        };
        let (chance, members, read) = (Chance(seed), Vec::new(), BTreeMap::new());
        Group { store, clock, chance, assignors, members, named: 0, read }
    }

    fn topics(&mut self) -> &'static [&'static str] {
        [&["t0"][..], &["t1"], &["t0", "t1"], &["t0", "t1"]][self.chance.below(4) as usize]
    }

    fn open(&mut self) {
        let mut config = earliest("g")
            .assignors(self.assignors.clone())
            .max_poll_records(1 + self.chance.below(5) as usize)
            .auto_commit_interval(Duration::from_secs(self.chance.below(8)));
        if self.chance.below(4) == 0 {
            self.named += 1;
            config = config.instance_id(format!("static-{}", self.named));
        }
        let mut consumer = self.store.consumer(config).unwrap();
        consumer.subscribe(self.topics().iter().copied()).unwrap();
        self.members.push(consumer);
    }

    fn poll(&mut self, one: usize) {
        for record in self.members[one].poll(NOW).unwrap() {
            let partition = (record.topic.to_string(), record.partition);
            self.read.entry(partition).or_default().push(record.offset);
        }
    }

    fn append(&mut self) {
        let name = ["t0", "t1"][self.chance.below(2) as usize];
        let topic = self.store.topic(name).unwrap();
        let partition = self.chance.below(u64::from(topic.partition_count())) as u32;
        for _ in 0..=self.chance.below(6) {
            topic.partition(partition).unwrap().append("x").unwrap();
        }
    }

    fn step(&mut self) {
        let count = self.members.len() as u64;
        let one = self.chance.below(count) as usize;
        match self.chance.below(100) {
            0..8 if count < 5 => self.open(),
            8..14 if count > 0 => self.members.swap_remove(one).close().unwrap(),
            14..17 if count > 0 => {
                let topics = self.topics();
                self.members[one].subscribe(topics.iter().copied()).unwrap();
            }
            17..19 if count > 0 => {
                self.members[one].unsubscribe().unwrap();
                let topics = self.topics();
                self.members[one].subscribe(topics.iter().copied()).unwrap();
            }
            19..21 => {
                let name = ["t0", "t1"][self.chance.below(2) as usize];
                let partitions = self.store.topic(name).unwrap().partition_count();
                if partitions < 6 {
                    self.store.add_partitions(name, partitions + 1).unwrap();
                }
            }
            21..40 => self.append(),
            40..46 => self.clock.advance(Duration::from_secs(self.chance.below(10))),
            _ if count > 0 => self.poll(one),
            _ => self.open(),
        }
    }

    /// All members go, static ones for good, and one reads what is left.
    fn end(mut self) -> BTreeMap<(String, u32), Vec<u64>> {
        for mut member in std::mem::take(&mut self.members) {
            member.close().unwrap();
        }
        self.store.admin().remove_members("g", []).ok();
        let mut last =
            self.store.consumer(earliest("g").assignors(self.assignors.clone())).unwrap();
        last.subscribe(["t0", "t1"]).unwrap();
        self.members.push(last);
        for _ in 0..6 {
            self.poll(0);
        }
        for name in ["t0", "t1"] {
            let topic = self.store.topic(name).unwrap();
            for (number, log) in (0..).zip(topic.partitions().iter()) {
                let mut read =
                    self.read.get(&(name.to_owned(), number)).cloned().unwrap_or_default();
                read.sort_unstable();
                read.dedup();
                let all: Vec<u64> = (0..log.offsets().end).collect();
                assert_eq!(read, all, "{name}-{number} was not read whole");
            }
        }
        self.read
    }
}

#[test]
fn records_are_read_once_across_closes() {
    for seed in seeds("ANNALS_REBALANCE_SEEDS", 24) {
        let mut group = Group::new(seed);
        for _ in 0..300 {
            group.step();
        }
        for ((topic, partition), read) in group.end() {
            let again = read.windows(2).find(|pair| pair[0] >= pair[1]);
            assert_eq!(again, None, "{topic}-{partition}, ANNALS_REBALANCE_SEEDS={seed}");
        }
    }
}
