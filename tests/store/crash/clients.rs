//! A power loss, and a kill, at every call that producers, consumers and groups make to the file
//! system: acknowledged records are there, each once and in order, and no group goes back.
//!
//! `ANNALS_CLIENT_SEEDS=3..40` chooses the seeds of the workloads and of the parts that survive.

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    Acks, AutoOffsetReset, Consumer, ConsumerConfig, ErrorKind, GroupCoordinatorConfig,
    ManualClock, Offset, Producer, ProducerConfig, ProducerRecord, SendHandle, StartAt, Store,
    StoreConfig, Timestamp, TopicConfig, TopicPartition,
};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::images::{Image, Images};
use support::{Chance, seeds};

const TOPIC: &str = "orders";
const PARTITIONS: u32 = 3;
const GROUPS: [&str; 2] = ["billing", "shipping"];
const PAUSE: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn open(fs: impl annals::fs::Fs, clock: &Arc<ManualClock>) -> Store {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(2);
    let config = StoreConfig::default().fs(fs).clock(clock.clone()).group_coordinator(groups);
    Store::open("data", config.maintenance(None).recovery_threads(1)).unwrap()
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

/// For each producer and partition, how many records are known to be stored, and how safely.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    sent: u64,
    written: u64,
    flushed: u64,
}

/// The committed offsets of a group, by partition.
type Offsets = BTreeMap<u32, Offset>;

/// The offsets that a group has committed since its last durable commit, and those of the commit
/// in progress.
#[derive(Debug, Clone)]
struct Group {
    states: Vec<Offsets>,
    under_way: Option<Offsets>,
}

impl Group {
    fn of(offsets: Offsets) -> Group {
        Group { states: vec![offsets], under_way: None }
    }

    fn now(&self) -> &Offsets {
        self.states.last().unwrap()
    }

    fn may_be(&self, found: &Offsets, intact: bool) -> bool {
        let known = if intact { &self.states[self.states.len() - 1..] } else { &self.states };
        known.iter().chain(&self.under_way).any(|state| state == found)
    }

    fn flushed(&mut self) {
        self.states.drain(..self.states.len() - 1);
    }
}

/// The acknowledged state: by producer and partition, and by group.
#[derive(Debug, Clone)]
struct Promise {
    sent: BTreeMap<(u64, u32), Sent>,
    groups: BTreeMap<&'static str, Group>,
}

/// A record that is on its way.
struct OnItsWay {
    by: (u64, u32),
    number: u64,
    flushes: bool,
    handle: SendHandle,
}

/// The state shared by the worker and the observer.
struct Known {
    promise: Promise,
    on_their_way: Vec<OnItsWay>,
}

impl Known {
    /// The promise at this moment: a handle may complete long before the call that completed it
    /// returns.
    fn promise(&mut self) -> &mut Promise {
        let Known { promise, on_their_way } = self;
        on_their_way.retain(|record| {
            if record.handle.is_done() {
                let sent = record.handle.wait().unwrap();
                assert_eq!(sent.partition, record.by.1);
                let known = promise.sent.get_mut(&record.by).unwrap();
                known.written = known.written.max(record.number);
                if record.flushes {
                    known.flushed = known.flushed.max(record.number);
                }
            }
            !record.handle.is_done()
        });
        promise
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Send { partition: u32, count: u64 },
    FlushProducer,
    FullDisk { partition: u32 },
    NewProducer,
    Poll,
    Commit,
    CommitToFullDisk,
    Leave { group: usize, flush_commits: bool, auto_commit: bool },
    Alter { partition: u32, back: u64 },
    DeleteOffsets { partition: u32 },
    DeleteGroup,
    FlushStore,
    Close,
    Die,
}

impl Op {
    fn any(chance: &mut Chance) -> Op {
        let partition = chance.below(PARTITIONS.into()) as u32;
        let mut coin = || chance.below(2) == 1;
        let (flush_commits, auto_commit, group) = (coin(), coin(), usize::from(coin()));
        match chance.below(100) {
            0..32 => Op::Send { partition, count: 1 + chance.below(3) },
            32..40 => Op::FlushProducer,
            40..46 => Op::FullDisk { partition },
            46..50 => Op::NewProducer,
            50..64 => Op::Poll,
            64..76 => Op::Commit,
            76..79 => Op::CommitToFullDisk,
            79..85 => Op::Leave { group, flush_commits, auto_commit },
            85..88 => Op::Alter { partition, back: chance.below(3) },
            88..90 => Op::DeleteOffsets { partition },
            90..91 => Op::DeleteGroup,
            91..93 => Op::FlushStore,
            93..96 => Op::Close,
            _ => Op::Die,
        }
    }
}

/// A consumer, and how far its polls have come.
struct Reading {
    consumer: Consumer,
    group: &'static str,
    flush_commits: bool,
    auto_commit: bool,
    /// `None` before the first poll.
    at: Option<Offsets>,
}

struct Sim {
    disk: MemFs,
    fs: FaultFs,
    clock: Arc<ManualClock>,
    store: Store,
    producer: Option<Producer>,
    producers: u64,
    flushes: bool,
    reading: Option<Reading>,
    next_reading: (usize, bool, bool),
    known: Arc<Mutex<Known>>,
    images: Images<Promise>,
    chance: Chance,
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let clock = support::clock();
        let store = open(fs.clone(), &clock);
        let config = TopicConfig::default().partitions(PARTITIONS).segment_bytes(600);
        store.create_topic(TOPIC, config).unwrap();
        let groups = GROUPS.map(|group| (group, Group::of(Offsets::new()))).into();
        let promise = Promise { sent: BTreeMap::new(), groups };
        let known = Arc::new(Mutex::new(Known { promise, on_their_way: Vec::new() }));
        let sim = Sim {
            disk,
            fs,
            clock,
            store,
            producer: None,
            producers: 0,
            flushes: false,
            reading: None,
            next_reading: (0, true, false),
            known,
            images: Images::default(),
            chance: Chance(seed),
        };
        sim.watch();
        sim
    }

    fn watch(&self) {
        let known = Arc::clone(&self.known);
        let promise = move || known.lock().unwrap().promise().clone();
        self.images.watch(&self.fs, &self.disk, promise);
    }

    fn promise<T>(&self, see: impl FnOnce(&mut Promise) -> T) -> T {
        see(self.known.lock().unwrap().promise())
    }

    fn producer(&mut self) -> Producer {
        if self.producer.is_none() {
            self.producers += 1;
            self.flushes = self.chance.below(2) == 1;
            let acks = if self.flushes { Acks::Flushed } else { Acks::Written };
            let linger = if self.chance.below(2) == 1 { DAY } else { Duration::ZERO };
            let config = ProducerConfig::default()
                .acks(acks)
                .batch_bytes(200)
                .linger(linger)
                .retry_backoff(PAUSE)
                .retry_backoff_max(PAUSE)
                .delivery_timeout(2 * DAY);
            self.producer = Some(self.store.producer(config).unwrap());
        }
        self.producer.clone().unwrap()
    }

    fn send(&mut self, partition: u32, count: u64) {
        let producer = self.producer();
        for _ in 0..count {
            let by = (self.producers, partition);
            let number = self.promise(|promise| {
                let known = promise.sent.entry(by).or_default();
                known.sent += 1;
                known.sent
            });
            let value = format!("{} {partition} {number}", self.producers);
            let handle =
                producer.send(ProducerRecord::new(TOPIC, value).partition(partition)).unwrap();
            let record = OnItsWay { by, number, flushes: self.flushes, handle };
            self.known.lock().unwrap().on_their_way.push(record);
        }
    }

    /// Writes fail, and what was sent meanwhile is written in order once there is room.
    fn full_disk(&mut self, partition: u32) {
        let full = Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull));
        let full = self.fs.add_rule(full.path(format!("{TOPIC}-{partition}")));
        self.send(partition, 3);
        let last = self.known.lock().unwrap().on_their_way.pop();
        if let Some(last) = last {
            assert!(last.handle.wait_timeout(Duration::ZERO).unwrap().is_none());
            self.known.lock().unwrap().on_their_way.push(last);
        }
        self.fs.remove_rule(full);
        self.clock.advance(PAUSE);
        self.producer().poll();
    }

    fn close_producer(&mut self) {
        if let Some(producer) = self.producer.take() {
            producer.close().unwrap();
            assert!(
                self.known.lock().unwrap().promise().sent.values().all(|s| s.sent == s.written)
            );
        }
    }

    fn poll(&mut self) {
        if self.reading.is_none() {
            let (group, flush_commits, auto_commit) = self.next_reading;
            let group = GROUPS[group];
            let config = ConsumerConfig::new(group)
                .auto_offset_reset(AutoOffsetReset::Earliest)
                .enable_auto_commit(auto_commit)
                .auto_commit_interval(1000 * DAY)
                .flush_commits(flush_commits)
                .session_timeout(Duration::from_secs(1800))
                .max_poll_interval(DAY)
                .max_poll_records(4);
            let mut consumer = self.store.consumer(config).unwrap();
            consumer.subscribe([TOPIC]).unwrap();
            self.reading = Some(Reading { consumer, group, flush_commits, auto_commit, at: None });
        }
        let (known, reading) = (Arc::clone(&self.known), self.reading.as_mut().unwrap());
        let committed = known.lock().unwrap().promise.groups[reading.group].now().clone();
        let first = || (0..PARTITIONS).map(|p| (p, committed.get(&p).copied().unwrap_or(0)));
        let at = reading.at.get_or_insert_with(|| first().collect());
        for record in reading.consumer.poll(Duration::ZERO).unwrap() {
            let next = at.get_mut(&record.partition).unwrap();
            assert_eq!(record.offset, *next, "in partition {}", record.partition);
            *next += 1;
        }
    }

    /// Returns the state that a call will leave of a group, and records the state it has left.
    fn group<T>(
        &mut self,
        group: &'static str,
        next: Option<Offsets>,
        flushes: bool,
        work: impl FnOnce(&mut Sim) -> T,
    ) -> T {
        self.promise(|p| p.groups.get_mut(group).unwrap().under_way = next.clone());
        let done = work(self);
        self.promise(|promise| {
            let known = promise.groups.get_mut(group).unwrap();
            known.under_way = None;
            known.states.extend(next);
            if flushes {
                known.flushed();
            }
        });
        done
    }

    fn commit(&mut self, to_full_disk: bool) {
        let Some(reading) = &self.reading else { return };
        let (group, flushes, at) = (reading.group, reading.flush_commits, reading.at.clone());
        if to_full_disk {
            let full = Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull));
            let full = self.fs.add_rule(full.path("__consumer_offsets"));
            // It is not committed, now or later.
            let error = self.group(group, None, false, |sim| {
                sim.reading.as_mut().unwrap().consumer.commit().unwrap_err()
            });
            assert!(error.is_retryable(), "{error}");
            self.fs.remove_rule(full);
            assert_eq!(
                committed(&self.store, group),
                *self.promise(|p| p.groups[group].clone()).now()
            );
        } else {
            self.group(group, at, flushes, |sim| {
                sim.reading.as_mut().unwrap().consumer.commit().unwrap();
            });
        }
    }

    fn close_consumer(&mut self) {
        let Some(mut reading) = self.reading.take() else { return };
        let now = self.promise(|promise| promise.groups[reading.group].now().clone());
        // Committed offsets are not committed again, nor flushed.
        let next = reading.at.filter(|at| reading.auto_commit && *at != now);
        let flushes = reading.flush_commits && next.is_some();
        self.group(reading.group, next, flushes, |_| reading.consumer.close().unwrap());
    }

    fn admin(&mut self, next: impl FnOnce(&mut Offsets), work: impl FnOnce(&Store, &str)) {
        self.close_consumer();
        let group = GROUPS[self.next_reading.0];
        let mut offsets = self.promise(|promise| promise.groups[group].now().clone());
        next(&mut offsets);
        self.group(group, Some(offsets), false, |sim| work(&sim.store, group));
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Send { partition, count } => self.send(partition, count),
            Op::FlushProducer => self.producer().flush().unwrap(),
            Op::FullDisk { partition } => self.full_disk(partition),
            Op::NewProducer => self.close_producer(),
            Op::Poll => self.poll(),
            Op::Commit | Op::CommitToFullDisk => {
                if self.reading.as_ref().is_none_or(|reading| reading.at.is_none()) {
                    self.poll();
                }
                self.commit(matches!(op, Op::CommitToFullDisk));
            }
            Op::Leave { group, flush_commits, auto_commit } => {
                self.close_consumer();
                self.next_reading = (group, flush_commits, auto_commit);
            }
            Op::Alter { partition, back } => {
                let log = self.store.topic(TOPIC).unwrap().partition(partition).unwrap();
                let offset = log.offsets().end.saturating_sub(back);
                self.admin(
                    |next| next.extend([(partition, offset)]),
                    |store, group| {
                        let offsets = [(at(partition), offset.into())].into();
                        store.admin().alter_offsets(group, offsets).unwrap();
                    },
                );
            }
            Op::DeleteOffsets { partition } => self.admin(
                |next| next.retain(|of, _| *of != partition),
                |store, group| known(store.admin().delete_offsets(group, [at(partition)])),
            ),
            Op::DeleteGroup => {
                self.admin(Offsets::clear, |store, group| known(store.admin().delete_group(group)));
            }
            Op::FlushStore => {
                self.store.flush().unwrap();
                self.flushed();
            }
            Op::Close => {
                self.close_consumer();
                self.close_producer();
                self.store.close().unwrap();
                self.flushed();
                self.store = open(self.fs.clone(), &self.clock);
                check(&self.store, &self.promise(|promise| promise.clone()), true);
            }
            Op::Die => self.die(),
        }
    }

    fn flushed(&self) {
        self.promise(|promise| {
            promise.sent.values_mut().for_each(|sent| sent.flushed = sent.written);
            promise.groups.values_mut().for_each(Group::flushed);
        });
    }

    /// The rest of the process runs on with a disk that is no longer checked.
    fn die(&mut self) {
        let promise = self.promise(|promise| promise.clone());
        self.known.lock().unwrap().on_their_way.clear();
        self.fs.clear_rules();
        self.disk = self.disk.kill();
        self.fs = FaultFs::new(self.disk.clone());
        (self.producer, self.reading) = (None, None);
        self.watch();
        self.store = open(self.fs.clone(), &self.clock);
        let found = check(&self.store, &promise, true);
        self.promise(|promise| *promise = found);
    }
}

/// Nothing is known of a group that has done nothing yet.
fn known(result: annals::Result<()>) {
    if let Err(error) = result {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

fn committed(store: &Store, group: &str) -> Offsets {
    committed_for(store, group, TOPIC)
}

fn committed_for(store: &Store, group: &str, topic: &str) -> Offsets {
    match store.admin().describe_group(group) {
        Ok(found) => {
            let offsets = found.offsets.iter().filter(|(at, _)| &*at.topic == topic);
            offsets.map(|(at, of)| (at.partition, of.committed.offset)).collect()
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            Offsets::new()
        }
    }
}

/// Checks a store that was just opened against what was promised, and says what it has.
fn check(store: &Store, promise: &Promise, intact: bool) -> Promise {
    let mut found: BTreeMap<(u64, u32), Sent> = BTreeMap::new();
    for (partition, log) in (0..).zip(store.topic(TOPIC).unwrap().partitions().iter()) {
        for record in log.reader(StartAt::Earliest).unwrap().records() {
            let record = record.unwrap();
            let text = record.value_str().unwrap();
            let numbers: Vec<u64> = text.split(' ').map(|part| part.parse().unwrap()).collect();
            let [producer, of, number] = numbers[..] else { panic!("{text}") };
            let known = found.entry((producer, partition)).or_default();
            assert_eq!((of, number), (partition.into(), known.sent + 1), "in {partition}: {text}");
            *known = Sent { sent: number, written: number, flushed: number };
        }
        assert_eq!(log.verify().unwrap(), [], "partition {partition}");
    }
    for by in found.keys() {
        assert!(promise.sent.contains_key(by), "{by:?} sent nothing");
    }
    for (by, promised) in &promise.sent {
        let there = found.get(by).map_or(0, |known| known.sent);
        let least = if intact { promised.written } else { promised.flushed };
        assert!((least..=promised.sent).contains(&there), "{by:?}: {there} of {promised:?}");
    }
    let mut groups = BTreeMap::new();
    for (group, promised) in &promise.groups {
        let offsets = committed(store, group);
        assert!(promised.may_be(&offsets, intact), "{group} has {offsets:?}: {promised:?}");
        groups.insert(*group, Group::of(offsets));
    }
    Promise { sent: found, groups }
}

/// The disk that a crash leaves is opened, used, closed and opened again.
fn survive(disk: &MemFs, clock: &Arc<ManualClock>, promise: &Promise, intact: bool) {
    let store = open(disk.clone(), clock);
    let mut expected = check(&store, promise, intact);
    let producer = store.producer(ProducerConfig::default().linger(Duration::ZERO)).unwrap();
    let mut ends = Offsets::new();
    for (partition, log) in (0..).zip(store.topic(TOPIC).unwrap().partitions().iter()) {
        let end = log.offsets().end;
        let record = ProducerRecord::new(TOPIC, format!("0 {partition} 1")).partition(partition);
        assert_eq!(producer.send(record).unwrap().wait().unwrap().offset, Some(end));
        expected.sent.insert((0, partition), Sent { sent: 1, written: 1, flushed: 1 });
        ends.insert(partition, end + 1);
    }
    let group = GROUPS[0];
    let mut next = expected.groups[group].now().clone();
    // Flushed commits may be of records that were not.
    let first = |p| next.get(&p).copied().filter(|at| *at <= ends[&p]).unwrap_or(0);
    next = (0..PARTITIONS).map(|p| (p, first(p))).collect();
    let config = ConsumerConfig::new(group).auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    loop {
        let records = consumer.poll(Duration::ZERO).unwrap();
        if records.is_empty() {
            break;
        }
        for record in records {
            let at = next.get_mut(&record.partition).unwrap();
            assert_eq!(record.offset, *at, "in partition {}", record.partition);
            *at += 1;
        }
    }
    assert_eq!(next, ends);
    consumer.close().unwrap();
    producer.close().unwrap();
    store.close().unwrap();
    expected.groups.insert(group, Group::of(ends));
    check(&open(disk.clone(), clock), &expected, true);
}

#[test]
fn client_promises_survive_crash_anywhere() {
    let mut checked = 0;
    for seed in seeds("ANNALS_CLIENT_SEEDS", 1) {
        let mut sim = Sim::new(seed);
        let mut chance = Chance(seed ^ 0xC11E);
        let ops: Vec<Op> = (0..55).map(|_| Op::any(&mut chance)).chain([Op::Close]).collect();
        for (number, op) in ops.iter().enumerate() {
            let done = catch_unwind(AssertUnwindSafe(|| sim.run(*op)));
            assert!(done.is_ok(), "seed {seed}, {op:?} after {:?}", &ops[..number]);
        }
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(support::T0 + 1_000_000)));
        for (number, image) in sim.images.take().iter().enumerate() {
            let Image { call, promise, .. } = image;
            let ways = image.ways(seed * 100_000 + number as u64);
            for (way, (intact, disk)) in ways.iter().enumerate() {
                let work = AssertUnwindSafe(|| survive(disk, &clock, promise, *intact));
                assert!(
                    catch_unwind(work).is_ok(),
                    "seed {seed}, way {way}, before call {number}, {call}; {promise:?}; {ops:?}"
                );
                checked += 1;
            }
        }
    }
    support::say(&format!("{checked} states of producers and groups after a crash"));
    assert!(checked > 50);
}

const OTHER: &str = "users";

/// A store of two topics, for both of which both groups have committed.
fn with_offsets(fs: &FaultFs, clock: &Arc<ManualClock>) -> Store {
    let store = open(fs.clone(), clock);
    for topic in [TOPIC, OTHER] {
        let made = store.create_topic(topic, TopicConfig::default().partitions(2)).unwrap();
        for (number, log) in (0..).zip(made.partitions().iter()) {
            log.append_all(["a", "b", "c"].map(Into::into)).unwrap();
            for group in GROUPS {
                let offsets = [(TopicPartition::new(topic, number), 2.into())].into();
                store.admin().alter_offsets(group, offsets).unwrap();
            }
        }
    }
    store.flush().unwrap();
    store
}

/// A topic and what was committed for it are there, or neither is.
fn check_deleted(disk: &MemFs, clock: &Arc<ManualClock>) -> bool {
    let store = open(disk.clone(), clock);
    let both = Offsets::from([(0, 2), (1, 2)]);
    let is_there = store.topic(TOPIC).is_ok();
    for group in GROUPS {
        assert_eq!(committed_for(&store, group, OTHER), both, "{group}");
        let left = if is_there { both.clone() } else { Offsets::new() };
        assert_eq!(committed(&store, group), left, "{group}");
    }
    if !is_there {
        let again = store.create_topic(TOPIC, TopicConfig::default()).unwrap();
        assert_eq!(again.partition(0).unwrap().offsets().end, 0);
    }
    is_there
}

#[test]
fn topic_deletion_removes_offsets_across_crash() {
    let (disk, clock) = (MemFs::new(), support::clock());
    let fs = FaultFs::new(disk.clone());
    let store = with_offsets(&fs, &clock);
    let images = Images::default();
    let done = Arc::new(Mutex::new(false));
    let is_done = Arc::clone(&done);
    images.watch(&fs, &disk, move || *is_done.lock().unwrap());
    store.delete_topic(TOPIC).unwrap();
    *done.lock().unwrap() = true;
    // One more call, so that there is an image of the state that the deletion left.
    store.flush().unwrap();
    store.new_producer_id().unwrap();
    drop(store);
    let (mut kept, mut gone) = (0, 0);
    for (number, image) in images.take().iter().enumerate() {
        for (way, (_, left)) in image.ways(number as u64).iter().enumerate() {
            // The opening that finishes it may crash, too.
            let (fs, again) = (FaultFs::new(left.clone()), Images::default());
            again.watch(&fs, left, || ());
            drop(open(fs, &clock));
            for image in again.take().iter().skip((number + way) % 5).step_by(5) {
                let [_, (_, synced), ..] = image.ways(number as u64);
                check_deleted(&synced, &clock);
            }
            let is_there = check_deleted(left, &clock);
            assert!(!(is_there && image.promise), "way {way}, before {number}, {}", image.call);
            if is_there { kept += 1 } else { gone += 1 }
        }
    }
    assert!(kept > 0 && gone > 0);
}

/// A topic is deleted to free space: files that cannot be written before are written after.
#[test]
fn topic_deletion_works_when_disk_full() {
    let full = Fault::Error(io::ErrorKind::StorageFull);
    for for_good in [false, true] {
        let (disk, clock) = (MemFs::new(), support::clock());
        let fs = FaultFs::new(disk.clone());
        let store = with_offsets(&fs, &clock);
        let rule = Rule::new(Operation::Write, full.clone()).path("__consumer_offsets");
        fs.add_rule(if for_good { rule } else { rule.nth(1) });
        let deleted = store.delete_topic(TOPIC);
        assert!(store.topic(TOPIC).is_err());
        fs.clear_rules();
        if for_good {
            assert!(deleted.unwrap_err().is_retryable());
            assert_eq!(committed(&store, GROUPS[0]).len(), 2);
        } else {
            deleted.unwrap();
            assert!(GROUPS.iter().all(|group| committed(&store, group).is_empty()));
        }
        store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    }
}
