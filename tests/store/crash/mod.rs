//! A power loss, and a kill, at every call that a store makes to the file system: acknowledged
//! topics, settings and records are there, and a change in progress is there wholly or not at all.
//!
//! `ANNALS_STORE_SEEDS=3..40` chooses the seeds of the workloads and of the parts that survive.

mod clients;
mod failures;
mod parallel;
mod power_loss;

use crate::DATA;
use annals::fs::{FaultFs, MemFs};
use annals::{Offset, ProducerId, Store, StoreConfig, TopicConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use support::Chance;
use support::images::Images;

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

fn watch(images: &Images<Promise>, fs: &FaultFs, disk: &MemFs, promise: &Arc<Mutex<Promise>>) {
    let promise = Arc::clone(promise);
    images.watch(fs, disk, move || promise.lock().unwrap().clone());
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
