//! Groups against a model with random work, and worker threads that share records.
//!
//! `ANNALS_GROUP_SEEDS=17` runs one seed of the random tests, `0..5000` many.

use super::{GROUP, World, config, member, secs, topic, world};
use crate::{NOW, append, cooperative};
use annals::assignor::{Assignor, Sticky};
use annals::{
    Consumer, ErrorKind, ManualClock, Store, StoreConfig, Topic, TopicPartition, TopicPattern,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, seeds};

/// The events of a random run, and the invariants it must keep.
struct Life {
    seed: u64,
    chance: Chance,
    clock: Arc<ManualClock>,
    store: Store,
    topics: Vec<Topic>,
    members: Vec<Consumer>,
    joined: u64,
    handled: BTreeSet<(String, u32, u64)>,
    committed: BTreeMap<TopicPartition, u64>,
}

impl Life {
    fn new(seed: u64) -> Life {
        let World { clock, store, .. } = world();
        let topics = vec![topic(&store, "t0", 3)];
        Life {
            seed,
            chance: Chance(seed),
            clock,
            store,
            topics,
            members: Vec::new(),
            joined: 0,
            handled: BTreeSet::new(),
            committed: BTreeMap::new(),
        }
    }

    fn join(&mut self) {
        let mut config = config()
            .max_poll_records(1 + self.chance.below(6) as usize)
            .auto_commit_interval(secs(self.chance.below(3)))
            .enable_auto_commit(!self.seed.is_multiple_of(3));
        config = match self.seed % 4 {
            0 => cooperative(config),
            1 => config.assignors([Arc::new(Sticky) as Arc<dyn Assignor>]),
            _ => config,
        };
        if self.chance.below(3) == 0 {
            config = config.instance_id(format!("i{}", self.chance.below(3)));
        }
        let mut consumer = self.store.consumer(config).unwrap();
        consumer.subscribe_pattern(TopicPattern::prefix("t")).unwrap();
        self.joined += 1;
        self.members.push(consumer);
    }

    /// Polls one. It may die before it has done anything with what it got.
    fn poll(&mut self, one: usize, may_die: bool) {
        match self.members[one].poll(NOW) {
            Ok(records) if may_die && self.chance.below(12) == 0 && !records.is_empty() => {
                drop(self.members.swap_remove(one));
            }
            Ok(records) => {
                for record in &records {
                    let place = (record.topic.to_string(), record.partition, record.offset);
                    self.handled.insert(place);
                }
                if self.seed.is_multiple_of(3) && self.chance.below(2) == 0 {
                    self.commit(one);
                }
            }
            Err(error) if error.kind() == ErrorKind::Fenced => {
                drop(self.members.swap_remove(one));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self, one: usize) {
        if let Err(error) = self.members[one].commit() {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Rebalancing | ErrorKind::Fenced), "{error}");
        }
    }

    /// One does not poll for too long, others read on, and then it says how far it had come.
    fn hang(&mut self, one: usize) {
        let hung = self.members.swap_remove(one);
        self.clock.advance(secs(310));
        for _ in 0..4 {
            for other in (0..self.members.len()).rev() {
                self.poll(other, false);
            }
        }
        (0..self.members.len()).for_each(|other| self.commit(other));
        self.check();
        self.members.push(hung);
        self.commit(self.members.len() - 1);
    }

    fn step(&mut self) {
        let count = self.members.len() as u64;
        let one = self.chance.below(count) as usize;
        match self.chance.below(100) {
            0..6 if count < 5 => self.join(),
            6..8 if count > 0 => self.members.swap_remove(one).close().unwrap_or_else(|error| {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Rebalancing | ErrorKind::Fenced), "{error}");
            }),
            8..10 if count > 0 => drop(self.members.swap_remove(one)),
            10..12 if self.topics.len() < 4 => {
                let name = format!("t{}", self.topics.len());
                let partitions = 1 + self.chance.below(3) as u32;
                self.topics.push(topic(&self.store, &name, partitions));
            }
            12..30 => {
                let topics = self.topics.len() as u64;
                let topic = &self.topics[self.chance.below(topics) as usize];
                let partition = self.chance.below(u64::from(topic.partition_count())) as u32;
                append(topic, partition, 0..1 + self.chance.below(8) as u32);
            }
            30..36 => self.clock.advance(secs(self.chance.below(60))),
            36..39 if count > 1 => self.hang(one),
            39..42 if count > 0 => {
                let all = self.members[one].assignment();
                match self.chance.below(2) {
                    0 => self.members[one].pause(all.into_iter().take(1)).unwrap(),
                    _ => self.members[one].resume(all).unwrap(),
                }
            }
            42..46 if count > 0 => self.commit(one),
            _ if count > 0 => self.poll(one, true),
            _ => self.join(),
        }
    }

    /// Each partition is one member's in a generation, and no commit was taken back.
    fn check(&mut self) {
        let described = self.store.admin().describe_group(GROUP);
        let current: BTreeSet<String> = described
            .iter()
            .flat_map(|group| &group.members)
            .map(|member| member.member_id.clone())
            .collect();
        let mut owners = BTreeMap::new();
        for consumer in &self.members {
            let metadata = consumer.group_metadata().unwrap();
            if metadata.generation < 0 {
                assert!(consumer.assignment().is_empty());
            }
            // Another may have taken its place, and it will hear of it.
            if !current.contains(&metadata.member_id) {
                continue;
            }
            for name in consumer.assignment() {
                let id = metadata.member_id.clone();
                let owner = owners.insert((metadata.generation, name.clone()), id);
                assert_eq!(owner, None, "{name} in generation {}", metadata.generation);
            }
        }
        let Ok(described) = described else { return };
        let mut shared = BTreeSet::new();
        for name in described.members.iter().flat_map(|member| &member.assignment) {
            assert!(shared.insert(name), "{name} twice");
        }
        for (name, offset) in described.offsets {
            let (now, before) = (offset.committed.offset, self.committed.get(&name).copied());
            assert!(before.is_none_or(|before| before <= now), "{name}: {before:?}, then {now}");
            for done in before.unwrap_or(0)..now {
                let place = (name.topic.to_string(), name.partition, done);
                assert!(self.handled.contains(&place), "{place:?} was committed unseen");
            }
            self.committed.insert(name, now);
        }
    }

    fn end(mut self) {
        if self.members.is_empty() {
            self.join();
        }
        for _ in 0..400 {
            for one in (0..self.members.len()).rev() {
                let all = self.members[one].assignment();
                self.members[one].resume(all).unwrap();
                self.poll(one, false);
            }
            self.clock.advance(Duration::from_millis(500));
            if self.members.is_empty() {
                self.join();
            }
        }
        self.check();
        for topic in &self.topics {
            for (number, log) in (0..).zip(topic.partitions().iter()) {
                for offset in 0..log.offsets().end {
                    let place = (topic.name().to_owned(), number, offset);
                    assert!(self.handled.contains(&place), "{place:?} was never delivered");
                }
            }
        }
        for consumer in &mut self.members {
            consumer.commit().unwrap();
            consumer.close().unwrap();
        }
        self.members.clear();
        self.check();
        for (name, to) in &self.committed {
            let log = self.store.topic(&name.topic).unwrap().partition(name.partition).unwrap();
            assert_eq!(log.offsets().end, *to, "{name}");
        }
    }
}

#[test]
fn random_groups_deliver_everything_forward() {
    for seed in seeds("ANNALS_GROUP_SEEDS", 12) {
        let done = std::panic::catch_unwind(|| {
            let mut life = Life::new(seed);
            for _ in 0..400 {
                life.step();
                life.check();
            }
            life.end();
        });
        if let Err(panic) = done {
            eprintln!("ANNALS_GROUP_SEEDS={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Workers on threads of their own, that wait for records and for each other, go and come back.
#[test]
fn threaded_workers_share_records() {
    const RECORDS: u32 = 1500;
    for seed in seeds("ANNALS_GROUP_SEEDS", 2) {
        let store = Store::in_memory(StoreConfig::default()).unwrap();
        let orders = topic(&store, "orders", 6);
        let handled = Mutex::new(BTreeSet::new());
        let wakers = Mutex::new(Vec::new());
        let done = || handled.lock().unwrap().len() == RECORDS as usize;
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (store, handled, wakers, done) = (&store, &handled, &wakers, &done);
                scope.spawn(move || {
                    let mut chance = Chance(seed * 100 + worker);
                    let mut config = config().max_poll_records(20);
                    if seed % 2 == 1 {
                        config = cooperative(config);
                    }
                    while !done() {
                        let mut consumer = member(store, config.clone());
                        wakers.lock().unwrap().push(consumer.waker());
                        let mut lifetime = 3 + chance.below(20);
                        while !done() && lifetime > 0 {
                            let records = consumer.poll(secs(60)).unwrap();
                            assert!(
                                !records.is_empty() || records.is_woken(),
                                "it has waited in vain"
                            );
                            lifetime -= 1;
                            if chance.below(20) == 0 {
                                break;
                            }
                            let mut all = handled.lock().unwrap();
                            for record in &records {
                                all.insert((record.partition, record.offset));
                            }
                            if all.len() == RECORDS as usize {
                                wakers
                                    .lock()
                                    .unwrap()
                                    .iter()
                                    .for_each(|waker: &annals::ConsumerWaker| waker.wake());
                            }
                            drop(all);
                            // Give other threads a turn in the group: a member that waits alone
                            // has to be seen there.
                            if lifetime == 0 && chance.below(2) == 0 {
                                consumer.close().unwrap();
                            }
                        }
                        // One that goes may leave its records to one that waits for nothing else.
                    }
                });
            }
            let orders = &orders;
            scope.spawn(move || {
                for n in 0..RECORDS {
                    append(orders, n % 6, n..n + 1);
                    if n % 50 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        });
        assert!(done());
    }
}
