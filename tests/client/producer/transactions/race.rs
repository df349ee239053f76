//! The calls of producers with one transactional id from several threads at once, at random, with
//! listeners that end transactions and a disk that is full now and then.
//!
//! A failed seed is run again with `TRANSACTION_RACE_SEED=7`.

use super::{ID, committed};
use crate::{TOPIC, at, to};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::StorageFull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;
use support::Chance;

const PARTITIONS: u32 = 3;
/// Work that has not ended by then hangs.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What became of the transaction that a record was sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Committed,
    Aborted,
    /// The producer was fenced first.
    Fenced,
}

/// Calls a producer in the middle of an append, now and then.
#[derive(Debug, Default)]
struct Meddler {
    producer: Mutex<Option<Producer>>,
    events: AtomicU64,
    seed: u64,
}

impl Listener for Meddler {
    fn on_event(&self, event: &Event) {
        if !matches!(event, Event::SegmentRolled { .. }) {
            return;
        }
        let mut chance = Chance(self.seed ^ self.events.fetch_add(1, Ordering::Relaxed));
        let producer = self.producer.lock().unwrap().clone();
        let Some(producer) = producer.filter(|_| chance.below(4) == 0) else { return };
        // None of them may wait for this thread. What ends a transaction is the owner's business.
        match chance.below(3) {
            0 => drop(producer.flush()),
            1 => drop(producer.commit_transaction().unwrap_err()),
            _ => drop(producer.poll()),
        }
    }
}

struct Race {
    fs: FaultFs,
    store: Store,
    topic: Topic,
    meddler: Arc<Meddler>,
    group: ConsumerGroupMetadata,
    consumer: Mutex<Consumer>,
    next: AtomicU64,
    /// The fate of each record whose `send` has returned `Ok`.
    fates: Mutex<BTreeMap<String, Fate>>,
    /// The last offset that was committed for the group.
    offset: Mutex<Option<u64>>,
}

impl Race {
    fn new(seed: u64) -> Arc<Race> {
        let meddler = Arc::new(Meddler { seed, ..Meddler::default() });
        let fs = FaultFs::new(MemFs::new());
        let coordinator = TransactionCoordinatorConfig::default().segment_bytes(2000);
        let config = StoreConfig::default().fs(fs.clone()).maintenance(None);
        let config = config.listener(meddler.clone()).transaction_coordinator(coordinator);
        let store = Store::open("data", config).unwrap();
        let topic = TopicConfig::default().partitions(PARTITIONS).set("segment.bytes", "400");
        let topic = store.create_topic(TOPIC, topic.unwrap()).unwrap();
        let mut consumer =
            store.consumer(crate::earliest("race").enable_auto_commit(false)).unwrap();
        consumer.subscribe([TOPIC]).unwrap();
        consumer.poll(Duration::ZERO).unwrap();
        let group = consumer.group_metadata().unwrap();
        Arc::new(Race {
            fs,
            store,
            topic,
            meddler,
            group,
            consumer: Mutex::new(consumer),
            next: AtomicU64::new(0),
            fates: Mutex::default(),
            offset: Mutex::default(),
        })
    }

    fn producer(&self, chance: &mut Chance) -> Producer {
        let config = ProducerConfig::default()
            .transactional_id(ID)
            .linger(Duration::from_millis(chance.below(2)))
            .batch_bytes(100 + chance.below(200) as usize)
            .retry_backoff(Duration::from_millis(1))
            .retry_backoff_max(Duration::from_millis(2));
        let producer = self.store.producer(config).unwrap();
        // Its calls would end transactions of the previous producer beside their owner.
        *self.meddler.producer.lock().unwrap() = None;
        retry("initialize", || producer.init_transactions());
        *self.meddler.producer.lock().unwrap() = Some(producer.clone());
        producer
    }

    /// One transaction: threads send, flush and add offsets while it is ended. Returns false if
    /// the producer is fenced.
    fn transact(&self, producer: &Producer, chance: &mut Chance) -> bool {
        match producer.begin_transaction() {
            Err(error) if error.kind() == ErrorKind::Fenced => return false,
            Err(error) => panic!("begin: {error}"),
            Ok(()) => {}
        }
        let sent: Mutex<Vec<String>> = Mutex::default();
        let added: RwLock<Option<u64>> = RwLock::default();
        let (commits, threads) = (chance.below(3) != 0, chance.below(3));
        if chance.below(8) == 0 {
            let full = Rule::new(Operation::Write, Fault::Error(StorageFull)).path("orders-");
            self.fs.add_rule(full.nth(1 + chance.below(3)));
        }
        let fate = std::thread::scope(|scope| {
            for _ in 0..threads {
                let mut chance = Chance(chance.next());
                let (sent, added) = (&sent, &added);
                scope.spawn(move || self.work(producer, &mut chance, sent, added));
            }
            (0..chance.below(200)).for_each(|_| std::thread::yield_now());
            self.end(producer, commits)
        });
        let sent = sent.into_inner().unwrap();
        self.fates.lock().unwrap().extend(sent.into_iter().map(|value| (value, fate)));
        let added = added.into_inner().unwrap();
        if fate == Fate::Committed && added.is_some() {
            *self.offset.lock().unwrap() = added;
        }
        if fate == Fate::Fenced {
            // The other producer may be aborting the transaction still.
            return false;
        }
        let found = self.consumer.lock().unwrap().committed(&at(TOPIC, 0)).unwrap();
        assert_eq!(found.map(|found| found.offset), *self.offset.lock().unwrap(), "{fate:?}");
        true
    }

    fn end(&self, producer: &Producer, commits: bool) -> Fate {
        if commits && let Some(fate) = decide("commit", Fate::Committed, producer) {
            return fate;
        }
        // A record failed.
        decide("abort", Fate::Aborted, producer).expect("an abort is always possible")
    }

    /// Does what a thread beside the owner of a transaction may do, until the transaction ends.
    fn work(
        &self,
        producer: &Producer,
        chance: &mut Chance,
        sent: &Mutex<Vec<String>>,
        added: &RwLock<Option<u64>>,
    ) {
        for _ in 0..chance.below(30) {
            let is_over = match chance.below(10) {
                0 => {
                    producer.flush().ok();
                    false
                }
                1 => {
                    let offset = self.next.fetch_add(1, Ordering::Relaxed);
                    // Adding and noting it are one step for the other threads.
                    let mut added = added.write().unwrap();
                    let offsets = [(at(TOPIC, 0), offset)];
                    let done = producer.send_offsets_to_transaction(offsets, &self.group);
                    if done.is_ok() {
                        *added = Some(offset);
                    }
                    done.is_err()
                }
                2 => {
                    producer.poll();
                    false
                }
                _ => {
                    let value = self.next.fetch_add(1, Ordering::Relaxed).to_string();
                    let record = to(chance.below(PARTITIONS.into()) as u32, value.clone());
                    let done = producer.send(record);
                    if done.is_ok() {
                        sent.lock().unwrap().push(value);
                    }
                    done.is_err()
                }
            };
            if is_over {
                return;
            }
        }
    }

    /// Each record is read as often as its fate says, and no transaction is left open.
    fn check(&self) {
        let fates = self.fates.lock().unwrap();
        let mut found = BTreeSet::new();
        for log in self.topic.partitions().iter() {
            assert_eq!(log.offsets().last_stable, log.offsets().end);
            for value in committed(log) {
                assert_eq!(fates.get(&value), Some(&Fate::Committed), "{value}");
                assert!(found.insert(value.clone()), "{value} is there twice");
            }
        }
        for (value, fate) in fates.iter() {
            assert_eq!(found.contains(value), *fate == Fate::Committed, "{value}: {fate:?}");
        }
    }
}

/// Ends a transaction. Returns `None` if it can only be aborted.
fn decide(what: &str, fate: Fate, producer: &Producer) -> Option<Fate> {
    let mut decided = false;
    loop {
        let ended = match fate {
            Fate::Committed => producer.commit_transaction(),
            _ => producer.abort_transaction(),
        };
        let Err(error) = ended else { return Some(fate) };
        match error.kind() {
            // The next producer has completed it, and taken over.
            ErrorKind::Fenced if decided => return Some(fate),
            ErrorKind::Fenced => return Some(Fate::Fenced),
            ErrorKind::Abortable => return None,
            _ if error.is_retryable() => decided = true,
            _ => panic!("{what}: {error}"),
        }
        std::thread::yield_now();
    }
}

fn retry(what: &str, call: impl Fn() -> Result<()>) {
    for _ in 0..1_000_000 {
        match call() {
            Ok(()) => return,
            Err(error) if error.is_retryable() => std::thread::yield_now(),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    panic!("{what}: too often");
}

fn run(seed: u64) {
    let mut chance = Chance(seed);
    let race = Race::new(chance.next());
    let mut producer = race.producer(&mut chance);
    for _ in 0..6 {
        let is_alive = race.transact(&producer, &mut chance);
        assert!(is_alive, "no other producer has taken over");
    }
    // The next one takes over in the middle of a transaction.
    std::thread::scope(|scope| {
        let mut own = Chance(chance.next());
        let (race, first) = (&race, producer.clone());
        let works = scope.spawn(move || while race.transact(&first, &mut own) {});
        (0..chance.below(500)).for_each(|_| std::thread::yield_now());
        producer = race.producer(&mut chance);
        works.join().unwrap();
    });
    race.transact(&producer, &mut chance);
    *race.meddler.producer.lock().unwrap() = None;
    producer.close().unwrap();
    race.check();
}

#[test]
fn calls_of_threads_agree_with_fates() {
    for seed in support::seeds("TRANSACTION_RACE_SEED", 60) {
        eprintln!("seed: TRANSACTION_RACE_SEED={seed}");
        let (tell, told) = channel();
        std::thread::spawn(move || {
            run(seed);
            tell.send(()).unwrap();
        });
        told.recv_timeout(WATCHDOG).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
