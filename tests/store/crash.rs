//! A power loss, and a kill, at every call that a store makes to the file system: acknowledged
//! topics, settings and records are there, and a change in progress is there wholly or not at all.
//!
//! `ANNALS_STORE_SEEDS=3..40` chooses the seeds of the workloads and of the parts that survive.

use crate::DATA;
use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{ErrorKind, Offset, ProducerId, Store, StoreConfig, TopicConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use support::images::{Image, Images};
use support::{Chance, seeds};

fn open(fs: impl annals::fs::Fs) -> annals::Result<Store> {
    Store::open(DATA, StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1))
}

/// Opens a store that works on so many threads, one call at a time, in an order by this seed.
fn open_on(threads: usize, seed: u64, fs: &FaultFs) -> annals::Result<Store> {
    fs.interleave(seed);
    fs.record_trace(false);
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).recovery_threads(threads);
    Store::open(DATA, config)
}

/// A partition of which `end` records were appended, the value of each its topic and number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Partition {
    start: Offset,
    end: Offset,
    durable: Offset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Topic {
    /// Tells it from others of its name.
    number: u64,
    setting: u64,
    partitions: Vec<Partition>,
}

type Topics = BTreeMap<String, Topic>;

/// The acknowledged state, and the state that the call in progress will leave.
#[derive(Debug, Clone, Default)]
struct Promise {
    now: Topics,
    next: Topics,
    ids: BTreeSet<ProducerId>,
}

fn settings(topic: &Topic) -> TopicConfig {
    TopicConfig::default()
        .partitions(topic.partitions.len() as u32)
        .segment_bytes(400)
        .set("retention.ms", &topic.setting.to_string())
        .unwrap()
}

fn value(name: &str, number: u64, partition: usize, offset: Offset) -> String {
    format!("{name} {number} {partition} {offset}")
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Create { name: u64, partitions: usize },
    Delete { name: u64 },
    Alter { name: u64 },
    Grow { name: u64 },
    Append { name: u64, partition: u64 },
    Flush { name: u64, partition: u64 },
    FlushAll,
    DeleteBefore { name: u64, partition: u64 },
    ProducerId,
    Close,
    Die,
}

impl Op {
    fn any(chance: &mut Chance) -> Op {
        let (name, partition) = (chance.below(3), chance.below(4));
        match chance.below(100) {
            0..14 => Op::Create { name, partitions: 1 + chance.below(3) as usize },
            14..20 => Op::Delete { name },
            20..26 => Op::Alter { name },
            26..32 => Op::Grow { name },
            32..72 => Op::Append { name, partition },
            72..80 => Op::Flush { name, partition },
            80..83 => Op::FlushAll,
            83..90 => Op::DeleteBefore { name, partition },
            90..93 => Op::ProducerId,
            93..97 => Op::Close,
            _ => Op::Die,
        }
    }
}

struct Sim {
    /// On so many threads, whose calls come in an order by this seed.
    threads: (usize, u64),
    disk: MemFs,
    fs: FaultFs,
    store: Store,
    promise: Arc<Mutex<Promise>>,
    images: Images<Promise>,
    made: u64,
}

fn watch(images: &Images<Promise>, fs: &FaultFs, disk: &MemFs, promise: &Arc<Mutex<Promise>>) {
    let promise = Arc::clone(promise);
    images.watch(fs, disk, move || promise.lock().unwrap().clone());
}

impl Sim {
    fn new() -> Sim {
        Sim::on_threads(1, 0)
    }

    fn on_threads(threads: usize, seed: u64) -> Sim {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let (promise, images) = (Arc::<Mutex<Promise>>::default(), Images::default());
        watch(&images, &fs, &disk, &promise);
        let store = open_on(threads, seed, &fs).unwrap();
        Sim { threads: (threads, seed), disk, fs, store, promise, images, made: 0 }
    }

    fn open(&mut self) {
        let (threads, seed) = self.threads;
        self.store = open_on(threads, seed, &self.fs).unwrap();
    }

    fn run(&mut self, op: Op) {
        let mut next = self.promise.lock().unwrap().now.clone();
        let named = |name: u64| ["orders", "users", "a.b"][name as usize].to_owned();
        let at = |next: &Topics, name: u64, partition: u64| {
            let topic = next.get(&named(name))?;
            let partition = partition as usize;
            (partition < topic.partitions.len()).then(|| (named(name), partition))
        };
        match op {
            Op::Create { name, partitions } => {
                if next.contains_key(&named(name)) {
                    return;
                }
                self.made += 1;
                let partitions = vec![Partition::default(); partitions];
                let topic = Topic { number: self.made, setting: 1_000_000 + self.made, partitions };
                let config = settings(&topic);
                next.insert(named(name), topic);
                self.during(next, |store| drop(store.create_topic(&named(name), config).unwrap()));
            }
            Op::Delete { name } => {
                if next.remove(&named(name)).is_some() {
                    self.during(next, |store| store.delete_topic(&named(name)).unwrap());
                }
            }
            Op::Alter { name } => {
                let Some(topic) = next.get_mut(&named(name)) else { return };
                topic.setting += 1000;
                let config = settings(topic);
                self.during(next, |store| store.alter_topic(&named(name), config).unwrap());
            }
            Op::Grow { name } => {
                let Some(topic) = next.get_mut(&named(name)) else { return };
                if topic.partitions.len() < 5 {
                    topic.partitions.push(Partition::default());
                    let count = topic.partitions.len() as u32;
                    self.during(next, |store| store.add_partitions(&named(name), count).unwrap());
                }
            }
            Op::Append { name, partition } => {
                let Some((topic, partition)) = at(&next, name, partition) else { return };
                let number = next[&topic].number;
                let known = &mut next.get_mut(&topic).unwrap().partitions[partition];
                let value = value(&topic, number, partition, known.end);
                known.end += 1;
                self.during(next, |store| {
                    store
                        .topic(&topic)
                        .unwrap()
                        .partition(partition as u32)
                        .unwrap()
                        .append(value)
                        .unwrap();
                });
            }
            Op::Flush { name, partition } => {
                let Some((topic, partition)) = at(&next, name, partition) else { return };
                let known = &mut next.get_mut(&topic).unwrap().partitions[partition];
                known.durable = known.end;
                self.during(next, |store| {
                    store
                        .topic(&topic)
                        .unwrap()
                        .partition(partition as u32)
                        .unwrap()
                        .flush()
                        .unwrap();
                });
            }
            Op::FlushAll => {
                for partition in next.values_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.durable = partition.end;
                }
                self.during(next, |store| store.flush().unwrap());
            }
            Op::DeleteBefore { name, partition } => {
                let Some((topic, partition)) = at(&next, name, partition) else { return };
                let known = &mut next.get_mut(&topic).unwrap().partitions[partition];
                known.start = (known.start + known.end).div_ceil(2);
                known.durable = known.durable.max(known.start);
                let start = known.start;
                self.during(next, |store| {
                    store
                        .topic(&topic)
                        .unwrap()
                        .partition(partition as u32)
                        .unwrap()
                        .delete_before(start)
                        .unwrap();
                });
            }
            Op::ProducerId => {
                let id = producer_id(&self.store);
                assert!(self.promise.lock().unwrap().ids.insert(id), "{id} was given out before");
            }
            Op::Close => {
                for partition in next.values_mut().flat_map(|topic| &mut topic.partitions) {
                    partition.durable = partition.end;
                }
                self.during(next, |store| store.close().unwrap());
                self.open();
                check(&self.store, &self.promise.lock().unwrap(), true);
                assert!(
                    self.store
                        .topics()
                        .iter()
                        .flat_map(|t| t.partitions().to_vec())
                        .all(|log| log.recovery().clean_shutdown)
                );
            }
            Op::Die => {
                self.disk = self.disk.kill();
                self.fs = FaultFs::new(self.disk.clone());
                watch(&self.images, &self.fs, &self.disk, &self.promise);
                self.open();
                let found = check(&self.store, &self.promise.lock().unwrap(), true);
                let mut promise = self.promise.lock().unwrap();
                promise.now = found.clone();
                promise.next = found;
            }
        }
    }

    fn during(&self, next: Topics, work: impl FnOnce(&Store)) {
        self.promise.lock().unwrap().next = next.clone();
        work(&self.store);
        self.promise.lock().unwrap().now = next;
    }
}

/// A producer id, as a producer gets it.
fn producer_id(store: &Store) -> ProducerId {
    store.new_producer_id().unwrap()
}

/// Checks a store that was just opened against what was promised, and says what it has.
fn check(store: &Store, promise: &Promise, intact: bool) -> Topics {
    let mut found = Topics::new();
    for topic in store.topics() {
        let name = topic.name().to_owned();
        let (now, next) = (promise.now.get(&name), promise.next.get(&name));
        let states: Vec<&Topic> = [now, next].into_iter().flatten().collect();
        let as_it_is = |state: &&&Topic| settings(state) == topic.config();
        let state = states.iter().find(as_it_is).unwrap_or_else(|| {
            panic!("`{name}` is {:?}, which it never was: {states:?}", topic.config())
        });
        let mut kept = Topic { partitions: Vec::new(), ..Topic::clone(state) };
        for (number, log) in topic.partitions().iter().enumerate() {
            let of = |state: Option<&Topic>| {
                state.filter(|s| s.number == kept.number)?.partitions.get(number).copied()
            };
            let (now, next) =
                (of(now).unwrap_or_default(), of(next).or(of(now)).unwrap_or_default());
            let offsets = log.offsets();
            let at = format!("{name}-{number}: {offsets:?}, promised {now:?} and then {next:?}");
            assert!([now.start, next.start].contains(&offsets.start), "{at}");
            assert!(offsets.end <= next.end.max(now.end), "{at}");
            assert!(offsets.end >= if intact { now.end } else { now.durable }, "{at}");
            let records: Vec<_> =
                log.reader(offsets.start).unwrap().records().map(Result::unwrap).collect();
            assert_eq!(records.len() as u64, offsets.end - offsets.start, "{at}");
            for record in records {
                let expected = value(&name, kept.number, number, record.offset);
                assert_eq!(record.value_str(), Some(expected.as_str()), "{at}");
            }
            assert_eq!(log.verify().unwrap(), [], "{at}");
            kept.partitions.push(Partition {
                start: offsets.start,
                end: offsets.end,
                durable: offsets.end,
            });
        }
        found.insert(name, kept);
    }
    for (name, _) in promise.now.iter().filter(|(name, _)| !found.contains_key(*name)) {
        assert!(!promise.next.contains_key(name), "`{name}` is gone");
    }
    found
}

/// The disk that a crash leaves is opened, used, closed and opened again.
fn survive(disk: &MemFs, promise: &Promise, intact: bool) {
    let store = open(disk.clone()).unwrap();
    let found = check(&store, promise, intact);
    let id = producer_id(&store);
    assert!(!promise.ids.contains(&id), "{id} was given out before");
    for (name, topic) in &found {
        for (number, partition) in topic.partitions.iter().enumerate() {
            let log = store.topic(name).unwrap().partition(number as u32).unwrap();
            assert_eq!(
                log.append(value(name, topic.number, number, partition.end)).unwrap(),
                partition.end
            );
        }
    }
    store.close().unwrap();
    let store = open(disk.clone()).unwrap();
    let mut expected = found;
    for partition in expected.values_mut().flat_map(|topic| &mut topic.partitions) {
        partition.end += 1;
        partition.durable = partition.end;
    }
    let exactly =
        Promise { now: expected.clone(), next: expected.clone(), ids: promise.ids.clone() };
    assert_eq!(check(&store, &exactly, true), expected);
}

#[test]
fn promises_survive_crash_anywhere() {
    let mut checked = 0;
    for seed in seeds("ANNALS_STORE_SEEDS", 2) {
        let mut sim = Sim::new();
        let mut chance = Chance(seed);
        let mut ops = vec![
            Op::Create { name: 0, partitions: 3 },
            Op::Append { name: 0, partition: 1 },
            Op::Flush { name: 0, partition: 1 },
            Op::DeleteBefore { name: 0, partition: 1 },
            Op::ProducerId,
            Op::Grow { name: 0 },
            Op::Alter { name: 0 },
            Op::Delete { name: 0 },
            Op::Create { name: 0, partitions: 1 },
            Op::Close,
        ];
        ops.extend((0..40).map(|_| Op::any(&mut chance)));
        ops.push(Op::Close);
        for op in &ops {
            sim.run(*op);
        }
        for (number, image) in sim.images.take().iter().enumerate() {
            let Image { call, promise, .. } = image;
            let ways = image.ways(seed * 100_000 + number as u64);
            for (way, (intact, disk)) in ways.iter().enumerate() {
                let work = std::panic::AssertUnwindSafe(|| survive(disk, promise, *intact));
                if std::panic::catch_unwind(work).is_err() {
                    panic!(
                        "seed {seed}, way {way}, before call {number}, {call}; {promise:?}; after {ops:?}"
                    );
                }
                checked += 1;
            }
        }
    }
    support::say(&format!("{checked} states of a store after a crash"));
}

/// The partitions of a topic are created, opened and closed on several threads. The progress of
/// one says nothing about another when the process ends: partition 1 may have its id and partition
/// 0 none yet.
#[test]
fn promises_survive_crash_in_parallel_work() {
    let mut checked = 0;
    for seed in seeds("ANNALS_STORE_SEEDS", 3) {
        let threads = 2 + seed as usize % 3;
        let mut sim = Sim::on_threads(threads, seed);
        let mut chance = Chance(seed ^ 0x7A12);
        let mut ops = vec![
            Op::Create { name: 0, partitions: 4 },
            Op::Append { name: 0, partition: 1 },
            Op::Append { name: 0, partition: 2 },
            Op::Grow { name: 0 },
            Op::FlushAll,
            Op::Close,
            Op::Append { name: 0, partition: 3 },
            Op::Die,
            Op::Delete { name: 0 },
            Op::Create { name: 0, partitions: 3 },
        ];
        ops.extend((0..8).map(|_| Op::any(&mut chance)));
        ops.push(Op::Close);
        for op in &ops {
            sim.run(*op);
        }
        checked += survive_one_way(&sim.images.take(), seed);
    }
    support::say(&format!("{checked} states of a store after a crash in parallel work"));
}

/// Looks what a crash leaves before each call: the end of the process before one, a loss of power
/// before the next.
fn survive_one_way(images: &[Image<Promise>], seed: u64) -> usize {
    for (number, image) in images.iter().enumerate() {
        let Image { call, promise, .. } = image;
        let ways = image.ways(seed * 100_000 + number as u64);
        let way = if (number as u64 + seed).is_multiple_of(2) { 0 } else { 3 };
        let (intact, disk) = &ways[way];
        let work = std::panic::AssertUnwindSafe(|| survive(disk, promise, *intact));
        let done = std::panic::catch_unwind(work);
        assert!(done.is_ok(), "seed {seed}, way {way}, before call {number}, {call}; {promise:?}");
    }
    images.len()
}

/// The logs of a deleted topic are closed on several threads, and no crash leaves a part of it,
/// nor takes anything from another topic. A topic of its name that is created at once has none of
/// its records.
#[test]
fn promises_survive_crash_in_parallel_deletion() {
    let mut checked = 0;
    for seed in seeds("ANNALS_STORE_SEEDS", 3) {
        let mut sim = Sim::on_threads(2 + seed as usize % 3, seed);
        sim.run(Op::Create { name: 0, partitions: 5 });
        sim.run(Op::Create { name: 1, partitions: 2 });
        for partition in 0..5 {
            let records = 1 + (partition + seed) % 3;
            (0..records).for_each(|_| sim.run(Op::Append { name: 0, partition }));
            sim.run(Op::Append { name: 1, partition });
            if (partition + seed).is_multiple_of(2) {
                sim.run(Op::Flush { name: 0, partition });
            }
        }
        sim.images.take();
        sim.run(Op::Delete { name: 0 });
        checked += survive_one_way(&sim.images.take(), seed);
        sim.run(Op::Create { name: 0, partitions: 3 });
        sim.run(Op::Append { name: 0, partition: 2 });
        checked += survive_one_way(&sim.images.take(), seed + 1);
        sim.run(Op::Close);
    }
    support::say(&format!("{checked} states of a store after a crash in a parallel deletion"));
}

/// A crash in the opening that follows a crash leaves no less.
#[test]
fn promises_survive_crash_while_opening() {
    for seed in seeds("ANNALS_STORE_SEEDS", 1) {
        let mut sim = Sim::new();
        let mut chance = Chance(seed ^ 0x5EED);
        (0..40).for_each(|_| sim.run(Op::any(&mut chance)));
        for (number, Image { promise, disk, .. }) in
            sim.images.take().iter().enumerate().filter(|(n, _)| n % 5 == seed as usize % 5)
        {
            let disk = match number % 2 {
                0 => disk.kill(),
                _ => disk.crash(CrashState::Random { seed: seed * 100_000 + number as u64 }),
            };
            let (fs, inner) = (FaultFs::new(disk.clone()), Images::default());
            watch(&inner, &fs, &disk, &Arc::new(Mutex::new(promise.clone())));
            let store = open(fs).unwrap();
            let found = check(&store, promise, false);
            drop(store);
            // The state that the first opening found is durable only once it has returned.
            let _ = found;
            for (at, Image { call, promise, disk }) in inner.take().iter().enumerate() {
                let disk =
                    disk.crash(CrashState::Random { seed: number as u64 * 1000 + at as u64 });
                let work = std::panic::AssertUnwindSafe(|| survive(&disk, promise, false));
                assert!(
                    std::panic::catch_unwind(work).is_ok(),
                    "seed {seed}, image {number}, before {at}, {call}"
                );
            }
        }
    }
}

/// Every call fails once, or from then on, in every way: the store says so, and what was promised
/// is there when it is opened again.
#[test]
fn promises_survive_failure_of_any_call() {
    let fired = fail_each_call(1, 1, &|fs| work_on(1, &|| open(fs.clone())));
    support::say(&format!("{fired} calls of a store failed"));
}

/// The same where logs are opened, created and closed on several threads: the failure of one says
/// nothing about the others. A third of the calls fails with each seed.
#[test]
fn promises_survive_failure_in_parallel_work() {
    for seed in seeds("ANNALS_STORE_SEEDS", 1) {
        let threads = 2 + seed as usize % 3;
        let fired =
            fail_each_call(1 + seed % 3, 3, &|fs| work_on(3, &|| open_on(threads, seed, fs)));
        support::say(&format!("seed {seed}: {fired} calls of a store failed on {threads} threads"));
    }
}

/// Does the work once for each call that may fail, from one on each so many. Returns how many
/// have.
fn fail_each_call(first: u64, every: usize, work: &dyn Fn(&FaultFs) -> Promise) -> usize {
    use std::io::ErrorKind as Io;
    let operations = [
        Operation::Open,
        Operation::CreateNew,
        Operation::List,
        Operation::CreateDir,
        Operation::Rename,
        Operation::RenameDir,
        Operation::Remove,
        Operation::RemoveDir,
        Operation::SyncDir,
        Operation::Write,
        Operation::SetLen,
        Operation::SyncData,
        Operation::SyncAll,
        Operation::Read,
        Operation::Lock,
    ];
    let mut fired = 0;
    for operation in operations {
        for (fault, from_then_on) in
            [(Io::StorageFull, false), (Io::Other, false), (Io::Other, true)]
        {
            for nth in (first..).step_by(every) {
                let disk = MemFs::new();
                let fs = FaultFs::new(disk.clone());
                let rule = Rule::new(operation, Fault::Error(fault));
                let id = fs.add_rule(if from_then_on { rule.from_nth(nth) } else { rule.nth(nth) });
                let promise = work(&fs);
                let count = fs.hit_count(id);
                let at =
                    format!("{operation:?} fails with {fault:?} from {nth}, on: {from_then_on}");
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    // The process ends, or the power.
                    for (intact, disk) in
                        [(true, disk.kill()), (false, disk.crash(CrashState::SyncedOnly))]
                    {
                        survive(&disk, &promise, intact);
                    }
                }));
                assert!(done.is_ok(), "{at}");
                if count == 0 {
                    break;
                }
                fired += 1;
            }
        }
    }
    fired
}

/// Does a bit of everything, with so many partitions at once, and returns the acknowledged part.
/// Failed calls may have taken effect.
fn work_on(partitions: usize, open: &dyn Fn() -> annals::Result<Store>) -> Promise {
    let mut promise = Promise::default();
    let topic = |number, partitions| Topic {
        number,
        setting: 1_000_000 + number,
        partitions: vec![Partition::default(); partitions],
    };
    let Ok(store) = open() else { return promise };
    // A failed call may or may not have taken effect; the topic is not used any more.
    let orders = topic(1, 2);
    promise.next.insert("orders".into(), orders.clone());
    if store.create_topic("orders", settings(&orders)).is_err() {
        return promise;
    }
    promise.now = promise.next.clone();
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    for n in 0..6 {
        promise.next.get_mut("orders").unwrap().partitions[1].end = n + 1;
        if log.append(value("orders", 1, 1, n)).is_err() {
            break;
        }
        promise.now = promise.next.clone();
    }
    promise.next = promise.now.clone();
    promise.next.get_mut("orders").unwrap().partitions[1].end = 6;
    if log.flush().is_ok() {
        let end = log.offsets().end;
        promise.now.get_mut("orders").unwrap().partitions[1].durable = end;
    }
    promise.next.get_mut("orders").unwrap().partitions[1].start = 2;
    if log.offsets().end < 2 || log.delete_before(2).is_err() {
        return promise;
    }
    let known = &mut promise.now.get_mut("orders").unwrap().partitions[1];
    known.start = 2;
    known.durable = known.durable.max(2);
    let users = topic(2, partitions);
    promise.next.insert("users".into(), users.clone());
    if store.create_topic("users", settings(&users)).is_err() {
        return promise;
    }
    promise.now.insert("users".into(), users.clone());
    promise.next.remove("users");
    if store.delete_topic("users").is_err() {
        return promise;
    }
    promise.now.remove("users");
    let more = || std::iter::repeat_n(Partition::default(), partitions);
    let mut grown = promise.now["orders"].clone();
    grown.partitions.extend(more());
    promise.next.get_mut("orders").unwrap().partitions.extend(more());
    if store.add_partitions("orders", grown.partitions.len() as u32).is_err() {
        return promise;
    }
    promise.now.insert("orders".into(), grown);
    match store.close() {
        Ok(()) => {
            for partition in promise.now.values_mut().flat_map(|topic| &mut topic.partitions) {
                partition.durable = partition.end;
            }
        }
        Err(error) => assert_ne!(error.kind(), ErrorKind::Closed),
    }
    // It may fail at that, too.
    drop(open());
    promise
}

/// Appends, growth, deletion and creation, maintenance and a reader at once, each on its thread,
/// call by call in an order by the seed: acknowledged records are there whenever the process ends,
/// and when the store closes meanwhile.
#[test]
fn promises_hold_during_concurrent_changes() {
    use std::sync::atomic::{AtomicU64, Ordering};
    for seed in seeds("ANNALS_STORE_SEEDS", 4) {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let store = open_on(2, seed, &fs).unwrap();
        for name in ["orders", "users"] {
            store
                .create_topic(name, TopicConfig::default().partitions(2).segment_bytes(300))
                .unwrap();
        }
        let log = store.topic("orders").unwrap().partition(1).unwrap();
        let mut reader = log.reader(0).unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let images: Images<u64> = Images::default();
        let known = Arc::clone(&acknowledged);
        let rule = images.watch(&fs, &disk, move || known.load(Ordering::SeqCst));
        fs.together(
            seed,
            vec![
                Box::new(|| {
                    for n in 0..12 {
                        if log.append(format!("{n}")).is_err() {
                            break;
                        }
                        acknowledged.store(n + 1, Ordering::SeqCst);
                    }
                }),
                Box::new(|| drop(store.add_partitions("orders", 4))),
                Box::new(|| {
                    if store.delete_topic("users").is_ok() {
                        drop(store.create_topic("users", TopicConfig::default()));
                    }
                }),
                Box::new(|| drop(store.maintain())),
                Box::new(|| {
                    if seed % 2 == 1 {
                        store.close().unwrap();
                    }
                }),
            ],
        );
        fs.remove_rule(rule);
        while let Ok(Some(record)) = reader.next_record() {
            assert_eq!(record.value_str(), Some(record.offset.to_string().as_str()));
        }
        for (number, Image { promise, disk, call }) in images.take().iter().enumerate() {
            if number as u64 % 3 != seed % 3 {
                continue;
            }
            let store = open(disk.kill()).unwrap_or_else(|e| panic!("{seed}: {call}: {e}"));
            let orders = store.topic("orders").unwrap();
            let end = orders.partition(1).unwrap().offsets().end;
            assert!(end >= *promise, "seed {seed}, {call}: {end} of {promise}");
            assert!([2, 4].contains(&orders.partition_count()), "seed {seed}, {call}");
            if let Ok(users) = store.topic("users") {
                assert!(users.partitions().iter().all(|log| log.offsets().end == 0));
            }
        }
    }
}
