//! A loss of power, and a kill, at every call a workload makes to the file system; at calls of the
//! recovery that follows; and at calls of the recovery from that.
//!
//! `ANNALS_CRASH_SEEDS=3..40` chooses the seeds, of the images that survive in part and of the
//! random workloads. `ANNALS_CRASH_CYCLES=1000000` makes so many random cycles of work, crash and
//! reopening instead of a few thousand.

use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::record::Compression;
use annals::{Codec, Log, LogConfig, Record, Timestamp};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use support::sim::{Image, Op, Promise, Sim, Way, fingerprint, hash_of};
use support::{Chance, DIR, Model, Rec, check_reopening_changes_nothing, say, seeds};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Returns the message of a panic without printing it, because the work is repeated many times.
fn attempt<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.get() {
                SAID.with_borrow_mut(|said| *said = info.to_string());
            } else {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    done.map_err(|_| SAID.take())
}

/// Leaves out of a list whatever it still fails without.
fn shrink<T: Clone>(
    list: Vec<T>,
    mut fails: impl FnMut(&[T]) -> Option<String>,
) -> (Vec<T>, Option<String>) {
    let (mut list, mut why) = (list, None);
    let mut size = list.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < list.len() {
            let mut less = list.clone();
            less.drain(at..(at + size).min(list.len()));
            match fails(&less) {
                Some(reason) => (list, why) = (less, Some(reason)),
                None => at += size,
            }
        }
        size /= 2;
    }
    (list, why)
}

fn last_codec() -> Compression {
    Compression::of(Codec::ALL.into_iter().rev().find(|codec| codec.is_available()).unwrap())
}

/// A configuration, and the largest value of which it takes a batch of three.
#[derive(Clone)]
struct Setup {
    label: &'static str,
    config: LogConfig,
    largest: usize,
}

/// Records have any timestamp, and producer state never expires.
fn remembering() -> LogConfig {
    LogConfig::default().producer_id_expiration(std::time::Duration::MAX)
}

/// Configurations that differ in what they do to files.
fn setups() -> Vec<Setup> {
    let setup = |label, largest, config| Setup { label, config, largest };
    let segments = |bytes| remembering().segment_bytes(bytes).index_interval_bytes(0);
    vec![
        setup("tiny segments", 120, segments(700)),
        setup("one segment", 1500, remembering().index_interval_bytes(200)),
        setup("tiny preallocated", 120, segments(700).preallocate(true)),
        setup("blocks", 1500, segments(20_000).index_interval_bytes(4096)),
        setup("blocks preallocated", 1500, segments(20_000).preallocate(true)),
        setup("compressed", 120, segments(900).compression(last_codec())),
        setup("each append flushed", 120, segments(1000).flush_messages(1)),
    ]
}

fn append(records: u64) -> Op {
    Op::Append { records, bytes: 90 }
}

fn truncate(back: u64) -> Op {
    Op::Truncate { back }
}

fn general() -> Vec<Op> {
    let mut ops: Vec<Op> = (0..4).map(|n| append(1 + n % 3)).collect();
    ops.push(Op::Flush);
    ops.extend((0..6).map(|n| append(1 + n % 3)));
    ops.extend([Op::Roll, append(2), Op::Flush, append(3), truncate(1), append(2), Op::Die]);
    ops.extend((0..5).map(|n| append(1 + n % 2)));
    ops.extend([truncate(9), append(3), Op::Roll, Op::Close, append(1), Op::Flush, append(3)]);
    ops.extend([truncate(2), truncate(0), append(2), Op::Die, Op::Roll, append(1), Op::Close]);
    ops.extend([truncate(30), append(1), Op::Close]);
    ops
}

/// The calls that several threads make at once, between other operations.
fn threads() -> Vec<Op> {
    let (together, commit) =
        (Op::Together { threads: 4, each: 3 }, Op::Commit { threads: 3, each: 2 });
    vec![
        append(1),
        together,
        Op::Flush,
        together,
        truncate(2),
        commit,
        Op::Roll,
        together,
        commit,
        Op::Die,
        together,
    ]
}

/// Back into batches, and through segments.
fn truncations() -> Vec<Op> {
    let mut ops = Vec::new();
    for back in [1, 2, 4, 7, 13] {
        ops.extend([
            append(3),
            append(2),
            Op::Roll,
            append(3),
            append(3),
            Op::FlushThrough { back: 3 },
        ]);
        ops.extend([append(2), truncate(back), truncate(1), append(1)]);
    }
    ops.extend([Op::Close, truncate(3), Op::Close, truncate(8), Op::Die, truncate(100), append(1)]);
    ops
}

/// Deletions by records, by segments and of everything, and truncations down to the start that
/// they left.
fn deletions() -> Vec<Op> {
    let delete = |back| Op::DeleteBefore { back };
    let mut ops = Vec::new();
    for back in [20, 7, 4, 1, 0] {
        ops.extend([append(3), append(2), Op::Roll, append(3), delete(back), append(1)]);
    }
    ops.extend([Op::Close, append(3), delete(1), truncate(9), Op::Die, append(3), delete(2)]);
    ops.extend([truncate(1), append(2), Op::Flush, delete(0), Op::Die, append(2), Op::Close]);
    ops
}

/// Writes of many sectors and blocks.
fn blocks() -> Vec<Op> {
    let large = |records, bytes| Op::Append { records, bytes };
    vec![
        large(3, 300),
        large(3, 2000),
        Op::Flush,
        large(3, 4000),
        large(1, 100),
        Op::Compressed { records: 3, bytes: 3000 },
        large(2, 5000),
        large(2, 5000),
        Op::FlushThrough { back: 1 },
        truncate(3),
        large(3, 1500),
        Op::Die,
        large(3, 6000),
        large(1, 600),
        Op::Close,
        large(2, 4000),
    ]
}

fn compressed() -> Vec<Op> {
    let batch = |records| Op::Compressed { records, bytes: 150 };
    let mut ops: Vec<Op> = (0..10).map(|n| batch(1 + n % 3)).collect();
    ops.extend([
        Op::Flush,
        batch(3),
        batch(3),
        Op::Roll,
        batch(2),
        truncate(4),
        batch(3),
        Op::Die,
        batch(2),
        Op::Close,
    ]);
    ops
}

#[derive(Clone)]
struct Job {
    name: String,
    config: LogConfig,
    ops: Vec<Op>,
    seeds: Range<u64>,
}

/// The workloads that are always explored, and random ones by seed.
fn jobs(seeds: &Range<u64>) -> Vec<Job> {
    let mut jobs = Vec::new();
    for Setup { label, config, largest } in setups() {
        let mut scripts = vec![("threads", threads())];
        if largest > 1000 {
            scripts.push(("blocks", blocks()));
        } else {
            scripts.push(("general", general()));
            scripts.push(("truncations", truncations()));
            scripts.push(("deletions", deletions()));
            if label != "each append flushed" && label != "tiny preallocated" {
                scripts.push(("compressed", compressed()));
            }
        }
        for (name, ops) in scripts {
            let (name, seeds) = (format!("{name}, {label}"), seeds.clone());
            jobs.push(Job { name, config: config.clone(), ops, seeds });
        }
        for seed in seeds.clone() {
            let mut chance = Chance(hash_of(&(seed, label)));
            let ops = (0..8).map(|_| Op::any(&mut chance, largest)).collect();
            let (name, config) = (format!("random, {label}"), config.clone());
            jobs.push(Job { name, config, ops, seeds: seed..seed + 1 });
        }
    }
    jobs
}

/// The states that were checked.
#[derive(Default)]
struct Tally {
    states: Mutex<HashSet<u64>>,
    opened: AtomicU64,
    calls: AtomicU64,
    combined: AtomicU64,
    /// States by how many recoveries were interrupted to make them.
    depths: [AtomicU64; 3],
}

impl Tally {
    /// Whether this disk with this promise was not looked at before.
    fn is_new(
        &self,
        seen: &mut HashSet<u64>,
        disk: &MemFs,
        way: Way,
        promise: &Promise,
        depth: usize,
    ) -> bool {
        let state = fingerprint(disk, way);
        if self.states.lock().unwrap().insert(state) {
            self.depths[depth].fetch_add(1, Ordering::Relaxed);
        }
        seen.insert(hash_of(&(state, promise)))
    }
}

struct Explorer<'a> {
    job: &'a Job,
    tally: &'a Tally,
    /// The disks that this job has opened.
    seen: HashSet<u64>,
    chance: Chance,
}

impl Explorer<'_> {
    /// Runs the workload, and opens every disk that may remain of every moment of it.
    fn run(job: &Job, tally: &Tally) -> Result<(), String> {
        let (images, combined, calls) = attempt(|| {
            let mut sim =
                Sim::open(&MemFs::new(), &job.config, Promise::exactly(Model::default()), 0, 0);
            job.ops.iter().for_each(|op| sim.apply(*op));
            sim.camera.take(None);
            let images = std::mem::take(&mut *sim.camera.images.lock().unwrap());
            (images, sim.combined, sim.camera.seen.load(Ordering::SeqCst))
        })?;
        tally.combined.fetch_add(combined, Ordering::Relaxed);
        tally.calls.fetch_add(calls, Ordering::Relaxed);
        let mut explorer =
            Explorer { job, tally, seen: HashSet::new(), chance: Chance(job.seeds.start) };
        for (number, image) in images.iter().enumerate() {
            let mut ways = vec![Way::Kill, Way::SyncedOnly, Way::Everything, Way::LengthOnly];
            for seed in job.seeds.clone() {
                // From one call to the next there is little new: each has its turn.
                let seed = seed ^ (number as u64) << 20;
                let torn = [Way::Torn(seed), Way::LaterFirst(seed)][number % 2];
                ways.extend([Way::Some(seed), torn]);
            }
            for way in ways {
                explorer.look(image, way, 0).map_err(|why| {
                    format!("image {number}, before {:?}, {way:?}: {why}", image.call)
                })?;
            }
        }
        Ok(())
    }

    /// Opens what remains of an image, and crashes some of its recoveries too.
    fn look(&mut self, image: &Image, way: Way, depth: usize) -> Result<(), String> {
        let disk = way.disk(&image.disk);
        let promise = image.promise.clone().after(way);
        if !self.tally.is_new(&mut self.seen, &disk, way, &promise, depth) {
            return Ok(());
        }
        self.tally.opened.fetch_add(1, Ordering::Relaxed);
        let (config, twin, again) = (&self.job.config, disk.kill(), disk.kill());
        let twice = self.chance.below(16) == 0;
        let closely = self.chance.below(4) == 0;
        let model = attempt(|| {
            let model = use_after_crash(&promise, disk, config, closely);
            if twice {
                check_reopening_changes_nothing(&again, config);
            }
            model
        })?;
        let deeper = [14, 3][..].get(depth).is_some_and(|rarely| self.chance.below(*rarely) == 0);
        if !deeper {
            return Ok(());
        }
        // Everything that a power loss left is durable: a crash during its recovery does not
        // change the outcome.
        let promise = if way == Way::Kill { promise } else { Promise::exactly(model) };
        let images = attempt(|| {
            let sim = Sim::open(&twin, config, promise, 0, 0);
            std::mem::take(&mut *sim.camera.images.lock().unwrap())
        })?;
        for _ in 0..5 - 2 * depth {
            let image = &images[self.chance.below(images.len() as u64) as usize];
            let way = Way::any(&mut self.chance);
            self.look(image, way, depth + 1).map_err(|why| {
                format!("then in the recovery before {:?}, {way:?}: {why}", image.call)
            })?;
        }
        Ok(())
    }
}

/// Opens a disk and compares it with the promise. Then it continues from there, and what it
/// acknowledges survives the next power loss.
fn use_after_crash(promise: &Promise, disk: MemFs, config: &LogConfig, closely: bool) -> Model {
    let log = Log::open(DIR, config.clone().fs(disk.clone())).unwrap();
    let found = promise.check(&log);
    let mut model = found.clone();
    let offset = log.append(Record::new("on").timestamp(Timestamp::from_millis(7))).unwrap();
    assert_eq!(offset, model.end);
    model.append(vec![Rec { offset, time: 7, key: None, value: Some(b"on".to_vec()) }]);
    model.durable = log.flush().unwrap();
    drop(log);
    let log = Log::open(DIR, config.clone().fs(disk.crash(CrashState::SyncedOnly))).unwrap();
    model.check_survived(&log);
    // Indexes in memory are looked at once they are in files.
    if closely {
        log.roll().unwrap();
        assert_eq!(log.verify().unwrap(), []);
    }
    found
}

/// Gives each job to one of as many threads as there are processors, until one fails.
fn in_parallel<T: Sync>(jobs: &[T], work: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    if let Err(why) = work(job) {
                        failed.store(true, Ordering::Relaxed);
                        failures.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn explore(job: &Job, tally: &Tally) -> Result<(), String> {
    let Err(first) = Explorer::run(job, tally) else { return Ok(()) };
    let fails = |ops: &[Op]| {
        let job = Job { ops: ops.to_vec(), ..job.clone() };
        Explorer::run(&job, &Tally::default()).err()
    };
    let (ops, why) = shrink(job.ops.clone(), fails);
    let (Range { start, end }, name) = (&job.seeds, &job.name);
    let why = why.unwrap_or(first);
    Err(format!(
        "ANNALS_CRASH_SEEDS={start}..{end}, {name}, {} operations: {ops:?}\n{why}",
        ops.len()
    ))
}

#[test]
fn acknowledged_records_survive_crash_anywhere() {
    let seeds = seeds("ANNALS_CRASH_SEEDS", 1);
    let tally = Tally::default();
    in_parallel(&jobs(&seeds), |job| explore(job, &tally));
    let states = tally.states.lock().unwrap().len();
    let [first, second, third] = &tally.depths;
    say(&format!(
        "{states} distinct disks after a crash ({first:?} after one, {second:?} after one in a recovery, {third:?} after \
         one in the recovery of that), {:?} openings checked, {:?} calls, {:?} operations with combined writes",
        tally.opened, tally.calls, tally.combined
    ));
    assert!(states >= 20_000, "only {states} states");
    assert!(tally.combined.into_inner() > 0, "no appends met");
}

/// Work, a crash at a call of it or of the opening before it, and what is left.
#[derive(Debug, Clone)]
struct Cycle {
    ops: Vec<Op>,
    /// The call, counted from the opening; beyond the last there is a crash between two calls.
    call: u64,
    way: Way,
}

/// The life of a log, from seed.
struct Life {
    setup: Setup,
    cycles: Vec<Cycle>,
}

const CYCLES_OF_A_LIFE: u64 = 16;

impl Life {
    fn new(seed: u64) -> Life {
        let mut chance = Chance(seed);
        let setups = setups();
        let setup = setups[chance.below(setups.len() as u64) as usize].clone();
        let mut cycle = || {
            let ops = (0..chance.below(9)).map(|_| Op::any(&mut chance, setup.largest)).collect();
            // An opening takes some thirty to sixty calls: half of the crashes are in one.
            let most = [15, 45, 90, 200, 1000][chance.below(5) as usize];
            Cycle { ops, call: 1 + chance.below(most), way: Way::any(&mut chance) }
        };
        let cycles = (0..CYCLES_OF_A_LIFE).map(|_| cycle()).collect();
        Life { setup, cycles }
    }

    /// Goes through the cycles, and through a last opening. Says how many crashes were within an
    /// opening, and the calls.
    fn run(setup: &Setup, cycles: &[Cycle]) -> Result<(u64, u64), String> {
        let mut disk = MemFs::new();
        let mut promise = Promise::exactly(Model::default());
        let (mut count, mut in_recovery, mut calls) = (0, 0, 0);
        for (number, cycle) in cycles.iter().enumerate() {
            let image = attempt(|| {
                let mut sim = Sim::open(&disk, &setup.config, promise.clone(), cycle.call, count);
                in_recovery += u64::from(sim.is_over());
                for op in &cycle.ops {
                    if sim.is_over() {
                        break;
                    }
                    sim.apply(*op);
                }
                count = sim.count;
                calls += sim.camera.seen.load(Ordering::Relaxed);
                if !sim.is_over() {
                    sim.camera.take(None);
                }
                sim.camera.images.lock().unwrap().pop().unwrap()
            });
            let image = image.map_err(|why| format!("cycle {number}: {why}"))?;
            disk = cycle.way.disk(&image.disk);
            promise = image.promise.after(cycle.way);
        }
        attempt(|| drop(use_after_crash(&promise, disk, &setup.config, true)))
            .map_err(|why| format!("at the end: {why}"))?;
        Ok((in_recovery, calls))
    }

    /// The shortest list of cycles, each as short as can be, that still fails.
    fn shortest(&self, first: String) -> String {
        let run = |cycles: &[Cycle]| Life::run(&self.setup, cycles).err();
        let (mut cycles, mut why) = shrink(self.cycles.clone(), run);
        for at in 0..cycles.len() {
            let with = |ops: &[Op]| {
                let mut cycles = cycles.clone();
                cycles[at].ops = ops.to_vec();
                run(&cycles)
            };
            let (ops, reason) = shrink(cycles[at].ops.clone(), with);
            cycles[at].ops = ops;
            why = reason.or(why);
        }
        let list: Vec<_> = cycles.iter().map(|cycle| format!("{cycle:?}")).collect();
        format!("{}:\n{}\n{}", self.setup.label, list.join("\n"), why.unwrap_or(first))
    }
}

#[test]
fn acknowledged_records_survive_random_cycles() {
    let cycles = std::env::var("ANNALS_CRASH_CYCLES").map_or(4000, |text| text.parse().unwrap());
    let lives = seeds("ANNALS_CRASH_SEEDS", u64::div_ceil(cycles, CYCLES_OF_A_LIFE));
    let (done, in_recovery, calls) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let lives: Vec<u64> = lives.collect();
    let report = || {
        say(&format!(
            "{done:?} cycles of work, crash and reopening, {in_recovery:?} of the crashes within an opening, {calls:?} calls"
        ));
    };
    in_parallel(&lives, |seed| {
        let life = Life::new(*seed);
        let (crashed, made) = Life::run(&life.setup, &life.cycles)
            .map_err(|why| format!("ANNALS_CRASH_SEEDS={seed}, {}", life.shortest(why)))?;
        in_recovery.fetch_add(crashed, Ordering::Relaxed);
        calls.fetch_add(made, Ordering::Relaxed);
        if (done.fetch_add(CYCLES_OF_A_LIFE, Ordering::Relaxed) + CYCLES_OF_A_LIFE) % 100_000
            < CYCLES_OF_A_LIFE
        {
            report();
        }
        Ok(())
    });
    report();
}

/// The name of a new segment must be durable before its records count as durable. A flush that
/// stores the recovery point syncs the directory along the way; a flush that has no space for the
/// recovery point must sync it too.
#[test]
fn flushed_segment_keeps_its_name() {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let log = Log::open("t-0", LogConfig::default().fs(fs.clone())).unwrap();
    log.append("first").unwrap();
    log.roll().unwrap();
    log.append("second").unwrap();
    fs.add_rule(
        Rule::new(Operation::CreateNew, Fault::Error(std::io::ErrorKind::StorageFull))
            .path("recovery-point"),
    );
    assert_eq!(log.flush().unwrap(), 2);
    let after = disk.crash(CrashState::SyncedOnly);
    let log = Log::open("t-0", LogConfig::default().fs(after)).unwrap();
    assert_eq!(log.offsets().end, 2);
    assert_eq!(log.get(1).unwrap().unwrap().value_str(), Some("second"));
}

/// A log that loses power now opens whole, whatever the disk has kept.
fn check_after_power_loss(fs: &MemFs, config: &LogConfig) {
    for seed in 0..200 {
        for way in [Way::LengthOnly, Way::Torn(seed), Way::LaterFirst(seed), Way::Some(seed)] {
            let log = Log::open(DIR, config.clone().fs(way.disk(fs))).unwrap();
            assert_eq!(log.verify().unwrap(), [], "{way:?}");
        }
    }
}

/// After a truncation the recovery point lies in a segment whose new indexes were not synced: the
/// rest of them was taken for whole, and a time that is not the latest so far was stored as such.
#[test]
fn unsynced_index_is_rebuilt_after_truncation() {
    let fs = MemFs::new();
    let config = LogConfig::default().index_interval_bytes(0);
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    for time in [1, 90, 3, 50, 7] {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(time))).unwrap();
    }
    log.flush().unwrap();
    log.truncate_to(4).unwrap();
    log.roll().unwrap();
    check_after_power_loss(&fs, &config);
}

/// A truncation raised the recovery point above segments that had been closed since the last
/// flush, so it covered indexes that were not synced.
#[test]
fn truncation_point_covers_no_unsynced_index() {
    let fs = MemFs::new();
    let config = LogConfig::default().index_interval_bytes(0);
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    for time in [1, 90, 3, 50, 7] {
        log.append(Record::new("x").timestamp(Timestamp::from_millis(time))).unwrap();
    }
    log.flush().unwrap();
    log.roll().unwrap();
    log.append("gone").unwrap();
    log.truncate_to(5).unwrap();
    check_after_power_loss(&fs, &config);
}

/// A recovery that was interrupted between the two indexes left a new offset index beside an old
/// time index, which the next one took for a pair.
#[test]
fn interrupted_recovery_leaves_no_mixed_indexes() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let config = LogConfig::default().index_interval_bytes(0);
    let open = |disk: MemFs| Log::open(DIR, config.clone().fs(disk)).unwrap();
    let append = |log: &Log, time| {
        drop(log.append(Record::new("x").timestamp(Timestamp::from_millis(time))).unwrap());
    };
    let log = open(memory.clone());
    append(&log, 1);
    log.close().unwrap();
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    [90, 3, 50].into_iter().for_each(|time| append(&log, time));
    log.flush().unwrap();
    let images = Arc::new(Mutex::new(Vec::new()));
    let shoot = |fs: &FaultFs, disk: MemFs, how| {
        let images = Arc::clone(&images);
        fs.add_rule(Rule::any(Fault::call(move |_| images.lock().unwrap().push(disk.crash(how)))));
    };
    shoot(&fs, memory.clone(), CrashState::SyncedOnly);
    log.truncate_to(3).unwrap();
    let truncating = std::mem::take(&mut *images.lock().unwrap());
    for left in truncating {
        let fs = FaultFs::new(left.clone());
        shoot(&fs, left, CrashState::AllWrites);
        drop(Log::open(DIR, config.clone().fs(fs)).unwrap());
    }
    for disk in images.lock().unwrap().iter() {
        let log = open(disk.clone());
        log.roll().unwrap();
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// The recovery point of a close, and of a truncation, could be durable without the names of the
/// indexes below it: older files had those names.
#[test]
fn recovery_point_covers_no_unsynced_name() {
    let config = LogConfig::default().index_interval_bytes(0);
    let open = |disk: MemFs| Log::open(DIR, config.clone().fs(disk)).unwrap();
    let close: fn(&Log) = |log| log.clone().close().unwrap();
    let truncate: fn(&Log) = |log| {
        log.roll().unwrap();
        log.append("gone").unwrap();
        log.truncate_to(4).unwrap();
    };
    for work in [close, truncate] {
        let memory = MemFs::new();
        drop(open(memory.clone()));
        // This leaves indexes without an entry.
        drop(open(memory.clone()));
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        for time in [1, 90, 3, 50] {
            log.append(Record::new("x").timestamp(Timestamp::from_millis(time))).unwrap();
        }
        log.flush().unwrap();
        let images = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&images);
        fs.add_rule(Rule::any(Fault::call(move |_| {
            let crash = |seed| memory.crash(CrashState::Random { seed });
            taken.lock().unwrap().extend((0..40).map(crash));
        })));
        work(&log);
        for disk in images.lock().unwrap().iter() {
            let log = open(disk.clone());
            log.roll().unwrap();
            assert_eq!(log.verify().unwrap(), []);
        }
    }
}
