//! A simulated process that uses a log: its list of operations, the promises of the log at each
//! moment, and the disks that a crash at that moment may leave.

use super::{Chance, DIR, Model, Rec, files, read_all};
use annals::fs::{Call, CrashState, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::record::{BatchBuilder, Compression};
use annals::{Codec, Log, LogConfig, Offset, ProducerId, ReadLimits, Record, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Appends one batch.
    Append {
        records: u64,
        bytes: usize,
    },
    /// Appends one compressed batch, whatever the options of the log are.
    Compressed {
        records: u64,
        bytes: usize,
    },
    /// Appends one batch of a producer that numbers its records and sends each batch twice.
    Sequenced {
        records: u64,
        bytes: usize,
    },
    /// Several threads append `each` batches at the same time. The first write is blocked until
    /// all threads have begun, so that the other batches meet in a group append.
    Together {
        threads: u64,
        each: u64,
    },
    /// Several threads append `each` batches at the same time, and flush after each batch.
    Commit {
        threads: u64,
        each: u64,
    },
    Flush,
    /// Flushes through the record that is `back` records before the last one.
    FlushThrough {
        back: u64,
    },
    Roll,
    /// Truncates the log by `back` offsets from its end.
    Truncate {
        back: u64,
    },
    /// Deletes everything that lies `back` or more offsets before the end.
    DeleteBefore {
        back: u64,
    },
    /// Closes the log cleanly and opens it again.
    Close,
    /// Kills the process between two calls, and opens the log again.
    Die,
}

impl Op {
    /// Returns a random operation, with values of up to `largest` bytes.
    pub fn any(chance: &mut Chance, largest: usize) -> Op {
        let bytes = [10, 90, 90, 300, 1500][chance.below(5) as usize].min(largest);
        let records = 1 + chance.below(3);
        match chance.below(100) {
            0..36 => Op::Append { records, bytes },
            36..44 => Op::Sequenced { records, bytes },
            44..50 => Op::Compressed { records, bytes },
            50..52 => Op::Together { threads: 3, each: 2 },
            52..53 => Op::Commit { threads: 2, each: 2 },
            53..67 => Op::Flush,
            67..70 => Op::FlushThrough { back: chance.below(4) },
            70..77 => Op::Roll,
            77..82 => Op::DeleteBefore { back: [0, 1, 3, 9, 30][chance.below(5) as usize] },
            82..90 => Op::Truncate { back: [1, 2, 5, 12, 40][chance.below(5) as usize] },
            90..94 => Op::Close,
            _ => Op::Die,
        }
    }
}

/// The producer of sequenced batches.
const PRODUCER: ProducerId = 7;

/// Checks that the producer state of a log is the one that the headers of its batches imply.
pub fn check_producers(log: &Log) {
    let mut stored = BTreeMap::new();
    let mut from = log.offsets().start;
    loop {
        let fetched = log.read(from, ReadLimits::bytes(1 << 20)).unwrap();
        let mut next = from;
        for batch in fetched.batches() {
            let header = batch.header();
            next = header.next_offset();
            if header.has_producer() {
                stored.insert(header.producer_id, *header);
            }
        }
        if next == from {
            break;
        }
        from = next;
    }
    let known = log.producers().unwrap();
    for (id, header) in &stored {
        let state = known.iter().find(|state| state.producer_id == *id);
        let state = state.unwrap_or_else(|| panic!("producer {id} is not known"));
        assert_eq!(state.last_sequence, header.last_sequence());
        assert_eq!(state.last_offset, header.last_offset() as i64);
        assert_eq!(state.offset_delta, header.last_offset_delta);
        assert_eq!(state.producer_epoch, header.producer_epoch);
    }
    // The log may also know producers whose batches were deleted.
    let start = log.offsets().start;
    assert!(start > 0 || known.iter().all(|state| stored.contains_key(&state.producer_id)));
}

/// The acknowledged state of a log, and the changes that calls in progress may make.
#[derive(Debug, Clone, Hash)]
pub struct Promise {
    /// The acknowledged records; `durable` is the offset up to which they survive even a power
    /// loss.
    pub now: Model,
    /// The state that a truncation in progress will leave.
    pub next: Option<Model>,
    /// The start of the log after a deletion in progress.
    pub next_start: Offset,
    /// The batches that each thread has still to append, in its order, with offsets from 0. Any of
    /// them may be in the log already.
    pub pending: Vec<VecDeque<Vec<Rec>>>,
    /// The end of the log before the pending batches.
    pub began: Offset,
    /// Whether no power was lost since all of this was written, so that everything acknowledged is
    /// there.
    pub intact: bool,
}

impl Promise {
    /// Returns the promise that the log holds this model and nothing else.
    pub fn exactly(model: Model) -> Promise {
        Promise {
            began: model.end,
            next_start: model.start,
            now: model,
            next: None,
            pending: Vec::new(),
            intact: true,
        }
    }

    /// Returns the promise after a crash.
    pub fn after(mut self, way: Way) -> Promise {
        self.intact &= way == Way::Kill;
        self
    }

    /// Checks a log that was just opened, and returns the model of its content.
    pub fn check(&self, log: &Log) -> Model {
        let (start, end) = (log.offsets().start, log.offsets().end);
        assert!([self.now.start, self.next_start].contains(&start), "it begins at {start}");
        assert!(start <= end, "it begins at {start} and ends at {end}");
        let found = read_all(log);
        let states = [Some(self.now.from(start)), self.next.as_ref().map(|next| next.from(start))];
        let explained = states.iter().flatten().find_map(|s| self.explain(s, &found, end));
        let Some(mut model) = explained else {
            let found: Vec<_> = found.iter().map(|rec| rec.offset).collect();
            panic!("it holds {found:?} and ends at {end}, which it never did: {}", self.summary());
        };
        assert!(
            end >= self.now.durable,
            "it ends at {end}, below what is durable: {}",
            self.summary()
        );
        if self.intact {
            let must = self.next.as_ref().unwrap_or(&self.now).from(start);
            let kept = must.batches.iter().all(|batch| model.batches.contains(batch));
            assert!(kept, "what was written is gone; it ends at {end}: {}", self.summary());
            assert!(self.next.is_some() || end >= self.now.end, "{end}: {}", self.summary());
        }
        assert_eq!(log.offsets().durable, end, "what opening found is durable");
        assert_eq!(log.verify().unwrap(), []);
        // This check reads everything once more, so make it for some of the states only.
        if end.is_multiple_of(4) {
            check_producers(log);
        }
        model.durable = end;
        model
    }

    fn summary(&self) -> String {
        let ends = |m: &Model| {
            let batches = m.batches.iter().map(|b| (b[0].offset, b.len())).collect::<Vec<_>>();
            format!("end {}, durable {}, batches {batches:?}", m.end, m.durable)
        };
        let pending: usize = self.pending.iter().map(VecDeque::len).sum();
        let next = self.next.as_ref().map(ends);
        format!("{}; next {next:?}; {pending} pending; intact {}", ends(&self.now), self.intact)
    }

    /// Explains the records found as the first records of a state, followed by pending batches.
    /// Returns the model of that; `None` if there is no such explanation.
    fn explain(&self, state: &Model, found: &[Rec], end: Offset) -> Option<Model> {
        let mut pending = self.pending.clone();
        let began = if pending.is_empty() { state.end } else { self.began };
        let mut kept = Model { start: state.start, end: state.start, ..Model::default() };
        let mut rest = found;
        let mut next_known = 0;
        while let Some(first) = rest.first() {
            let known = state.batches.get(next_known);
            let batch = if let Some(known) = known.filter(|b| b[0].offset == first.offset) {
                next_known += 1;
                known.clone()
            } else {
                let at = |batch: &Vec<Rec>| shifted(batch, first.offset);
                let thread = pending
                    .iter_mut()
                    .find(|t| t.front().is_some_and(|b| rest.starts_with(&at(b))))?;
                // Only the records that the log had before can have gaps between them.
                if first.offset != kept.end.max(began) {
                    return None;
                }
                at(&thread.pop_front()?)
            };
            rest = rest.strip_prefix(&batch[..])?;
            kept.append(batch);
        }
        let upcoming = state.batches.get(next_known);
        // No acknowledged batch may be missing between others.
        if upcoming.is_some_and(|next| next[0].offset < kept.end) {
            return None;
        }
        // A gap that a truncation left may exist without the batches after it.
        let gap = upcoming.map_or(began, |next| next[0].offset.min(began)).max(kept.end);
        // A truncation removes segments one by one, including empty ones that earlier truncations
        // left.
        let boundary = end == kept.end
            || end == gap
            || (self.next.is_some() && (kept.end..gap).contains(&end));
        kept.end = end;
        boundary.then_some(kept)
    }
}

fn shifted(batch: &[Rec], by: Offset) -> Vec<Rec> {
    batch.iter().cloned().map(|rec| Rec { offset: rec.offset + by, ..rec }).collect()
}

fn records(batch: &[Rec]) -> Vec<Record> {
    let record = |rec: &Rec| {
        Record::new(rec.value.clone().unwrap()).timestamp(Timestamp::from_millis(rec.time))
    };
    batch.iter().map(record).collect()
}

/// The state of a disk after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The process is killed without a power loss.
    Kill,
    SyncedOnly,
    Everything,
    /// See [`CrashState::Random`].
    Some(u64),
    /// All lengths and names survive, and none of the unsynced bytes.
    LengthOnly,
    /// The first few unsynced sectors of each file survive.
    Torn(u64),
    /// The last few unsynced sectors of each file survive, and its whole length.
    LaterFirst(u64),
}

const SECTOR: usize = 512;

impl Way {
    pub fn any(chance: &mut Chance) -> Way {
        let seed = chance.next();
        match chance.below(12) {
            0..3 => Way::Kill,
            3 => Way::SyncedOnly,
            4 => Way::Everything,
            5 => Way::LengthOnly,
            6 => Way::Torn(seed),
            7 => Way::LaterFirst(seed),
            _ => Way::Some(seed),
        }
    }

    pub fn disk(self, image: &MemFs) -> MemFs {
        let seed = match self {
            Way::Kill => return image.kill(),
            Way::SyncedOnly => return image.crash(CrashState::SyncedOnly),
            Way::Everything => return image.crash(CrashState::AllWrites),
            Way::Some(seed) => return image.crash(CrashState::Random { seed }),
            Way::Torn(seed) | Way::LaterFirst(seed) => seed,
            Way::LengthOnly => 0,
        };
        let mut chance = Chance(seed);
        let disk = image.crash(CrashState::AllWrites);
        if disk.list(Path::new(DIR)).is_err() {
            return disk;
        }
        let synced = image.crash(CrashState::SyncedOnly);
        let synced = synced.list(Path::new(DIR)).map(|_| files(&synced, DIR)).unwrap_or_default();
        let unsynced = image.unsynced();
        for (name, new) in files(&disk, DIR) {
            let path = Path::new("/").join(DIR).join(&name);
            // A file that got its name by a rename is not the file that had this name before.
            let in_place = name.ends_with(".log") || name == ".lock";
            let old = synced.get(&name).filter(|_| in_place).cloned().unwrap_or_default();
            if old == new || !unsynced.contains(&path) {
                continue;
            }
            let file = disk.open(&Path::new(DIR).join(&name), OpenMode::ReadWrite).unwrap();
            let bytes = self.mix(&old, &new, &mut chance);
            file.set_len(0).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            file.sync_data().unwrap();
        }
        disk
    }

    fn mix(self, old: &[u8], new: &[u8], chance: &mut Chance) -> Vec<u8> {
        let mut mixed = old.to_vec();
        mixed.resize(old.len().max(new.len()), 0);
        let mut whole = new.to_vec();
        whole.resize(mixed.len(), 0);
        let sectors = mixed.len().div_ceil(SECTOR);
        let range = |sector: usize| sector * SECTOR..((sector + 1) * SECTOR).min(whole.len());
        let unsynced: Vec<_> =
            (0..sectors).map(range).filter(|r| mixed[r.clone()] != whole[r.clone()]).collect();
        let count = chance.below(unsynced.len() as u64 + 1) as usize;
        let there = match self {
            Way::Torn(_) => &unsynced[..count],
            Way::LaterFirst(_) => &unsynced[count..],
            _ => &[],
        };
        for range in there {
            mixed[range.clone()].copy_from_slice(&whole[range.clone()]);
        }
        let torn_at = there.last().map_or(old.len(), |range| range.end);
        if matches!(self, Way::Torn(_)) && chance.below(2) == 0 {
            mixed.truncate(torn_at.max(old.len().min(new.len())));
        } else if new.len() < old.len() && chance.below(2) == 0 {
            mixed.truncate(new.len());
        }
        mixed
    }
}

/// Returns a hash of the content of a disk, and of its synced part if that matters.
pub fn fingerprint(disk: &MemFs, way: Way) -> u64 {
    let mut hasher = DefaultHasher::new();
    let content = |disk: &MemFs| disk.list(Path::new(DIR)).is_ok().then(|| files(disk, DIR));
    content(disk).hash(&mut hasher);
    if way == Way::Kill {
        (disk.boot_id(), content(&disk.crash(CrashState::SyncedOnly))).hash(&mut hasher);
    }
    hasher.finish()
}

pub fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A disk before a call, and the promise of the log at that time.
#[derive(Debug, Clone)]
pub struct Image {
    /// The call that was about to be made.
    pub call: Option<Call>,
    pub promise: Promise,
    pub disk: MemFs,
}

type Watched = Arc<Mutex<Option<Log>>>;

/// Takes images of a disk before the calls to it.
#[derive(Clone)]
pub struct Camera {
    disk: MemFs,
    promise: Arc<Mutex<Promise>>,
    watched: Watched,
    pub images: Arc<Mutex<Vec<Image>>>,
    pub seen: Arc<AtomicU64>,
    changed: Arc<AtomicBool>,
    /// The number of the only call before which to take an image, from 1; 0 for all calls.
    only: u64,
}

impl Camera {
    fn look(&self, call: &Call) {
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        let reads = matches!(
            call.operation,
            Operation::Open | Operation::List | Operation::Len | Operation::Read | Operation::View
        );
        // A call that reads changes nothing, so of several such calls only the first needs an
        // image.
        let new = self.changed.swap(!reads, Ordering::SeqCst) || !reads;
        if if self.only == 0 { new } else { number == self.only } {
            self.take(Some(call.clone()));
        }
    }

    pub fn take(&self, call: Option<Call>) {
        let mut promise = self.promise.lock().unwrap().clone();
        // A reader may rely on the durable offset, although no call has returned yet.
        let log = self.watched.lock().unwrap().clone();
        if let Some(log) = log.filter(|_| promise.next.is_none()) {
            promise.now.durable = promise.now.durable.max(log.offsets().durable);
        }
        let image = Image { call, promise, disk: self.disk.kill() };
        self.images.lock().unwrap().push(image);
    }
}

/// A process with a log.
pub struct Sim {
    pub fs: FaultFs,
    pub config: LogConfig,
    pub camera: Camera,
    pub log: Option<Log>,
    promise: Arc<Mutex<Promise>>,
    watched: Watched,
    /// The number of values so far. Each value contains its number, so that no two are equal.
    pub count: u64,
    /// The number of writes with more than one batch.
    pub combined: u64,
}

impl Sim {
    /// Opens the log of a disk and checks it against the promise. Takes images before every call,
    /// or before one.
    pub fn open(disk: &MemFs, config: &LogConfig, promise: Promise, only: u64, count: u64) -> Sim {
        let fs = FaultFs::new(disk.clone());
        fs.record_trace(false);
        let promise = Arc::new(Mutex::new(promise));
        let watched = Watched::default();
        let camera = Camera {
            disk: disk.clone(),
            promise: Arc::clone(&promise),
            watched: Arc::clone(&watched),
            images: Arc::default(),
            seen: Arc::default(),
            changed: Arc::new(AtomicBool::new(true)),
            only,
        };
        let eye = camera.clone();
        fs.add_rule(Rule::any(Fault::call(move |call| eye.look(call))));
        let config = config.clone().fs(fs.clone());
        let mut sim = Sim { fs, config, camera, log: None, promise, watched, count, combined: 0 };
        sim.reopen();
        sim
    }

    /// Returns whether the only image that is wanted was taken.
    pub fn is_over(&self) -> bool {
        self.camera.only > 0 && self.camera.seen.load(Ordering::SeqCst) >= self.camera.only
    }

    fn reopen(&mut self) {
        self.log = None;
        let log = Log::open(DIR, self.config.clone()).unwrap();
        if !self.is_over() {
            let model = self.promise().check(&log);
            *self.promise.lock().unwrap() = Promise::exactly(model);
        }
        self.log = Some(log);
    }

    pub fn promise(&self) -> Promise {
        self.promise.lock().unwrap().clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Promise) -> T) -> T {
        change(&mut self.promise.lock().unwrap())
    }

    fn batch(&mut self, records: u64, bytes: usize) -> Vec<Rec> {
        self.count += 1;
        let rec = |offset| {
            let mut value = format!("{}-{offset}-", self.count).into_bytes();
            // The bytes vary, so that blocks that were swapped do not look alike.
            let mut chance = Chance(self.count);
            value.extend(
                (0..bytes).map(|n| b'a' + ((n as u64 + chance.0 + (n as u64 / 512)) % 23) as u8),
            );
            let time = ((self.count * 37 + chance.below(40)) % 101) as i64;
            Rec { offset, time, key: None, value: Some(value) }
        };
        (0..records).map(rec).collect()
    }

    fn acknowledge(promise: &Mutex<Promise>, thread: usize, first: Offset, durable: Offset) {
        let mut promise = promise.lock().unwrap();
        let batch = promise.pending[thread].pop_front().unwrap();
        let batch = shifted(&batch, first);
        let now = &mut promise.now;
        now.end = now.end.max(batch.last().unwrap().offset + 1);
        let at = now.batches.partition_point(|other| other[0].offset < first);
        now.batches.insert(at, batch);
        now.durable = now.durable.max(durable);
    }

    fn begin(&self, pending: Vec<VecDeque<Vec<Rec>>>) {
        self.change(|promise| {
            promise.began = promise.now.end;
            promise.pending = pending;
        });
    }

    fn append(&mut self, batch: Vec<Rec>, append: impl FnOnce(&Log, &[Rec]) -> Offset) {
        self.begin(vec![VecDeque::from([batch.clone()])]);
        let log = self.log.as_ref().unwrap();
        let first = append(log, &batch);
        Sim::acknowledge(&self.promise, 0, first, log.offsets().durable);
        self.change(|promise| promise.pending.clear());
    }

    /// Several threads append. With `commit`, each thread flushes after each batch.
    fn append_from_threads(&mut self, threads: u64, each: u64, commit: bool) {
        let batches = |sim: &mut Sim| (0..each).map(|_| sim.batch(1, 60)).collect();
        let pending: Vec<VecDeque<_>> = (0..threads).map(|_| batches(self)).collect();
        self.begin(pending.clone());
        let log = self.log.as_ref().unwrap();
        let started = Arc::new(AtomicU64::new(0));
        let largest = Arc::new(AtomicU64::new(0));
        let (come, size) = (Arc::clone(&started), Arc::clone(&largest));
        let first = AtomicBool::new(!commit);
        let rule = Rule::new(
            Operation::Write,
            Fault::call(move |call| {
                size.fetch_max(call.len, Ordering::SeqCst);
                if first.swap(false, Ordering::SeqCst) {
                    while come.load(Ordering::SeqCst) < threads {
                        std::thread::yield_now();
                    }
                    (0..20).for_each(|_| std::thread::yield_now());
                }
            }),
        );
        let rule = self.fs.add_rule(rule.path(".log"));
        std::thread::scope(|scope| {
            for (thread, batches) in pending.into_iter().enumerate() {
                let (promise, started) = (&self.promise, &started);
                scope.spawn(move || {
                    started.fetch_add(1, Ordering::SeqCst);
                    for batch in batches {
                        let appended = log.append_all(records(&batch)).unwrap();
                        Sim::acknowledge(promise, thread, appended.first, 0);
                        if commit {
                            let durable = log.flush_through(appended.last).unwrap();
                            assert!(durable > appended.last);
                            let mut promise = promise.lock().unwrap();
                            promise.now.durable = promise.now.durable.max(durable);
                        }
                    }
                });
            }
        });
        self.fs.remove_rule(rule);
        self.combined += u64::from(largest.load(Ordering::SeqCst) > 160);
        self.change(|promise| promise.pending.clear());
    }

    fn truncate(&mut self, back: u64) {
        let target = self.change(|promise| {
            let target = promise.now.end.saturating_sub(back).max(promise.now.start);
            let mut next = promise.now.clone();
            next.truncate(target);
            let end_of_data = next.batches.last().map_or(0, |b| b.last().unwrap().offset + 1);
            if target < promise.now.end {
                // From the first step on, records above the target are no longer promised to be
                // durable.
                promise.now.durable = promise.now.durable.min(end_of_data);
                promise.next = Some(next);
            }
            target
        });
        self.log.as_ref().unwrap().truncate_to(target).unwrap();
        self.change(|promise| {
            if let Some(next) = promise.next.take() {
                promise.now = next;
                promise.now.durable = 0;
            }
        });
    }

    fn delete_before(&mut self, back: u64) {
        let target = self.change(|promise| {
            let target = promise.now.end.saturating_sub(back).max(promise.now.start);
            promise.next_start = target;
            target
        });
        assert_eq!(self.log.as_ref().unwrap().delete_before(target).unwrap(), target);
        self.change(|promise| promise.now.delete_before(target));
    }

    pub fn apply(&mut self, op: Op) {
        *self.watched.lock().unwrap() = self.log.clone();
        let log = self.log.clone().unwrap();
        match op {
            Op::Append { records: n, bytes } => {
                let batch = self.batch(n, bytes);
                self.append(batch, |log, batch| log.append_all(records(batch)).unwrap().first);
            }
            Op::Compressed { records: n, bytes } => {
                let batch = self.batch(n, bytes);
                let codecs: Vec<_> = Codec::ALL.into_iter().filter(|c| c.is_available()).collect();
                let codec = codecs[self.count as usize % codecs.len()];
                self.append(batch, |log, batch| {
                    let mut builder = BatchBuilder::new();
                    builder.compression(Compression::of(codec));
                    for record in records(batch) {
                        builder.push_record(&record, Timestamp::from_millis(0)).unwrap();
                    }
                    log.append_batch(builder.build().unwrap()).unwrap().first
                });
            }
            Op::Sequenced { records: n, bytes } => {
                let batch = self.batch(n, bytes);
                self.append(batch, |log, batch| {
                    let known = log.producers().unwrap();
                    let last = known.iter().find(|state| state.producer_id == PRODUCER);
                    let next = last.map_or(0, |last| last.last_sequence + 1);
                    let send = || {
                        let mut builder = BatchBuilder::new();
                        builder.producer(PRODUCER, 0, next);
                        for record in records(batch) {
                            builder.push_record(&record, Timestamp::from_millis(0)).unwrap();
                        }
                        log.append_batch(builder.build().unwrap()).unwrap()
                    };
                    let (sent, again) = (send(), send());
                    assert!(again.duplicate && again.first == sent.first && !sent.duplicate);
                    sent.first
                });
            }
            Op::Together { threads, each } => self.append_from_threads(threads, each, false),
            Op::Commit { threads, each } => self.append_from_threads(threads, each, true),
            Op::Flush => assert_eq!(log.flush().unwrap(), self.promise().now.end),
            Op::FlushThrough { back } => {
                if let Some(offset) = self.promise().now.end.checked_sub(back + 1) {
                    assert!(log.flush_through(offset).unwrap() > offset);
                }
            }
            Op::Roll => log.roll().unwrap(),
            Op::Truncate { back } => self.truncate(back),
            Op::DeleteBefore { back } => self.delete_before(back),
            Op::Close | Op::Die => {}
        }
        *self.watched.lock().unwrap() = None;
        let offsets = log.offsets();
        self.change(|promise| {
            assert_eq!(offsets.end, promise.now.end);
            assert!(offsets.durable >= promise.now.durable, "what is durable stays so");
            promise.now.durable = offsets.durable;
        });
        if matches!(op, Op::Flush) {
            assert_eq!(offsets.durable, offsets.end);
        }
        match op {
            Op::Close => {
                log.close().unwrap();
                self.change(|promise| promise.now.durable = promise.now.end);
                self.reopen();
                let clean = self.log.as_ref().is_some_and(|log| log.recovery().clean_shutdown);
                assert!(clean, "it was closed in order");
            }
            Op::Die => {
                drop(log);
                self.reopen();
            }
            _ => {}
        }
    }
}
