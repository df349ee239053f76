//! Crashes and failures at every call that compaction makes to the file system.
//!
//! `ANNALS_COMPACTION_SEEDS=3..40` chooses the seeds of the parts that survive.

use annals::fs::{Call, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::{CleanupPolicy, Error, Log, LogConfig, ManualClock, Offset, Record};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::keyed::{Keyed, Shape, staged, table, winners};
use support::sim::{Way, fingerprint};
use support::{
    Chance, DIR, Rec, T0, check_reopening_changes_nothing, clock, files, read_all, read_file, say,
    seeds, write_file,
};

fn compacted(clock: &Arc<ManualClock>) -> LogConfig {
    LogConfig::default()
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .clock(clock.clone())
        .segment_bytes(700)
        .index_interval_bytes(0)
        .min_cleanable_dirty_ratio(0.0)
}

/// The content of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    records: Vec<Rec>,
    start: Offset,
    end: Offset,
    durable: Offset,
}

impl State {
    fn of(log: &Log) -> State {
        let records = read_all(log);
        let (start, end) = (log.offsets().start, log.offsets().end);
        State { records, start, end, durable: log.offsets().durable }
    }

    /// Checks what a crash left between this state and the next.
    fn check(&self, next: &State, log: &Log, all: bool) -> State {
        let found = State::of(log);
        let (start, end) = (found.start, found.end);
        assert!([self.start, next.start].contains(&start), "it begins at {start}");
        let durable = self.durable.min(next.durable).min(next.end);
        let least = if all && next.end >= self.end {
            self.end
        } else {
            // A truncation removes segments step by step, and leaves the gap at the end last.
            last(self, durable).min(last(next, durable))
        };
        assert!(end >= least, "it ends at {end}, {durable} was durable");
        assert!(end <= self.end.max(next.end), "it ends at {end}");
        let within = |rec: &&Rec| (start..end).contains(&rec.offset);
        let must = next.records.iter().filter(within).filter(|r| self.records.contains(r));
        for rec in must {
            assert!(found.records.contains(rec), "{} is gone", rec.offset);
        }
        let mut may: Vec<Rec> = self.records.iter().chain(&next.records).cloned().collect();
        may.sort_by_key(|rec| rec.offset);
        may.dedup();
        let may: Vec<Rec> = may.iter().filter(within).cloned().collect();
        for rec in &found.records {
            assert!(may.contains(rec), "{} came from nowhere", rec.offset);
        }
        assert_eq!(table(&found.records), table(&may), "what the keys say");
        assert!(found.records.is_sorted_by(|a, b| a.offset < b.offset));
        found
    }
}

/// The end of the last record below an offset: the offsets between were never promised.
fn last(state: &State, below: Offset) -> Offset {
    let last = state.records.iter().rev().find(|rec| rec.offset < below);
    last.map_or(state.start, |rec| rec.offset + 1)
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Append(u64),
    Delete,
    Flush,
    Roll,
    Compact,
    /// No room at this write and those after it.
    CompactWithoutRoom(u64),
    Maintain,
    Truncate(u64),
    DeleteBefore(u64),
    Advance(u64),
    Close,
    Die,
}

/// A disk at the moment of a call.
struct Moment {
    call: Call,
    /// How many operations had ended.
    at: usize,
    disk: MemFs,
}

/// Takes the disk before each call that changes something.
fn watch(fs: &FaultFs, disk: &MemFs, at: &Arc<AtomicUsize>) -> Arc<Mutex<Vec<Moment>>> {
    let moments = Arc::new(Mutex::new(Vec::new()));
    let (disk, at, taken) = (disk.clone(), Arc::clone(at), Arc::clone(&moments));
    fs.add_rule(Rule::any(Fault::call(move |call| {
        let reads = matches!(
            call.operation,
            Operation::Open | Operation::List | Operation::Len | Operation::Read | Operation::View
        );
        if !reads {
            let (at, disk) = (at.load(Ordering::SeqCst), disk.kill());
            taken.lock().unwrap().push(Moment { call: call.clone(), at, disk });
        }
    })));
    moments
}

/// Works, and says what the log held after each operation, and what the disk was at each call.
fn work(config: &LogConfig, clock: &ManualClock, ops: &[Op]) -> (Vec<State>, Vec<Moment>) {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    fs.record_trace(false);
    let open = || Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    let mut log = open();
    let (mut model, mut chance) = (Keyed::default(), Chance(5));
    let at = Arc::new(AtomicUsize::new(0));
    let moments = watch(&fs, &disk, &at);
    let mut states = vec![State::of(&log)];
    for op in ops {
        match *op {
            Op::Append(count) => {
                let shape = Shape { keys: 7, bytes: 50, at: T0 };
                for _ in 0..count {
                    model.append(&log, &mut chance, shape);
                }
            }
            Op::Delete => {
                for key in 0..7 {
                    model.put(&log, &format!("key-{key}"), None, T0);
                }
            }
            Op::Flush => drop(log.flush().unwrap()),
            Op::Roll => log.roll().unwrap(),
            Op::Compact => assert!(log.compact().unwrap().passes > 0),
            Op::CompactWithoutRoom(nth) => {
                let fault = Fault::Error(ErrorKind::StorageFull);
                let rule = Rule::new(Operation::Write, fault).path(".cleaned").from_nth(nth);
                let rule = fs.add_rule(rule);
                assert!(matches!(log.compact(), Err(Error::Io { .. })));
                fs.remove_rule(rule);
            }
            Op::Maintain => drop(log.maintain().unwrap()),
            Op::Truncate(back) => {
                let target = model.end - back;
                log.truncate_to(target).unwrap();
                model.end = target;
            }
            Op::DeleteBefore(offset) => drop(log.delete_before(offset).unwrap()),
            Op::Advance(by) => clock.advance(Duration::from_millis(by)),
            Op::Close => {
                log.close().unwrap();
                log = open();
            }
            Op::Die => {
                drop(log);
                log = open();
            }
        }
        at.fetch_add(1, Ordering::SeqCst);
        states.push(State::of(&log));
    }
    fs.clear_rules();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    (states, moments)
}

#[derive(Default)]
struct Tally {
    seen: Mutex<HashSet<(u64, usize)>>,
    opened: AtomicUsize,
    in_recovery: AtomicUsize,
}

struct Explorer<'a> {
    config: &'a LogConfig,
    states: &'a [State],
    tally: &'a Tally,
    label: &'a str,
}

impl Explorer<'_> {
    /// Looks at all that a crash may leave of a moment.
    fn explore(&self, moment: &Moment, ways: &[Way], chance: &mut Chance, depth: usize) {
        for way in ways {
            let disk = way.disk(&moment.disk);
            let is_new =
                self.tally.seen.lock().unwrap().insert((fingerprint(&disk, *way), moment.at));
            if !is_new {
                continue;
            }
            let context = format!("{}, {:?}, {way:?}, depth {depth}", self.label, moment.call);
            let deeper = depth < 2 && chance.below([24, 6][depth]) == 0;
            let again = disk.kill();
            let intact = depth == 0 && *way == Way::Kill;
            let work = std::panic::AssertUnwindSafe(|| self.open(moment.at, disk, intact, chance));
            if let Err(panic) = std::panic::catch_unwind(work) {
                let disk = way.disk(&moment.disk);
                let lengths: Vec<_> = files(&disk, DIR)
                    .into_iter()
                    .map(|(name, bytes)| (name, bytes.len()))
                    .collect();
                say(&format!("{context}, after {} operations: {lengths:?}", moment.at));
                std::panic::resume_unwind(panic);
            }
            if deeper {
                let again = if *way == Way::Kill { moment.disk.kill() } else { again };
                self.recover(&again, moment.at, chance, depth);
            }
        }
    }

    /// Crashes of the opening.
    fn recover(&self, disk: &MemFs, at: usize, chance: &mut Chance, depth: usize) {
        let fs = FaultFs::new(disk.clone());
        fs.record_trace(false);
        let moments = watch(&fs, disk, &Arc::new(AtomicUsize::new(at)));
        drop(Log::open(DIR, self.config.clone().fs(fs)).unwrap());
        let moments = std::mem::take(&mut *moments.lock().unwrap());
        for moment in &moments {
            self.tally.in_recovery.fetch_add(1, Ordering::Relaxed);
            let ways = [Way::Kill, Way::SyncedOnly, Way::Some(chance.next())];
            let way = ways[chance.below(3) as usize];
            self.explore(moment, &[way], chance, depth + 1);
        }
    }

    /// Opens a disk, and uses it. `intact` says that the machine has run on.
    fn open(&self, at: usize, disk: MemFs, intact: bool, chance: &mut Chance) {
        self.tally.opened.fetch_add(1, Ordering::Relaxed);
        let (before, after) = (&self.states[at], &self.states[(at + 1).min(self.states.len() - 1)]);
        let log = Log::open(DIR, self.config.clone().fs(disk.clone())).unwrap();
        let mut found = before.check(after, &log, intact);
        assert_eq!(staged(&disk), [""; 0]);
        assert_eq!(log.verify().unwrap(), []);
        if chance.below(8) == 0 {
            drop(log);
            check_reopening_changes_nothing(&disk, self.config);
        } else {
            drop(log);
        }
        let log = Log::open(DIR, self.config.clone().fs(disk.clone())).unwrap();
        let mut model = Keyed::default();
        model.end = found.end;
        model.put(&log, "key-1", Some("on"), T0);
        found.records.extend(model.records().cloned());
        log.roll().unwrap();
        assert_eq!(read_all(&log), found.records);
        log.compact().unwrap();
        let mut expected = winners(&found.records);
        let left = read_all(&log);
        // A tombstone may have stayed for long enough.
        expected.retain(|rec| rec.value.is_some() || left.contains(rec));
        assert_eq!(left, expected, "compacted again");
        assert_eq!(log.verify().unwrap(), []);
        drop(log);
        let disk = Way::SyncedOnly.disk(&disk);
        let log = Log::open(DIR, self.config.clone().fs(disk.clone())).unwrap();
        assert_eq!(read_all(&log), expected, "compacted again and lost power");
        assert_eq!(staged(&disk), [""; 0]);
    }
}

fn workloads() -> Vec<(&'static str, Vec<Op>)> {
    use Op::*;
    vec![
        ("compact", vec![Append(8), Flush, Append(2), Roll, Compact, Append(1)]),
        ("several groups", vec![Append(30), Roll, Compact, Append(12), Compact, Append(1)]),
        (
            "tombstones",
            vec![
                Append(20),
                Roll,
                Compact,
                Delete,
                Append(2),
                Roll,
                Compact,
                Advance(1001),
                Append(3),
                Roll,
                Compact,
                Flush,
            ],
        ),
        (
            "no room",
            vec![
                Append(25),
                Roll,
                CompactWithoutRoom(1),
                CompactWithoutRoom(2),
                Append(2),
                CompactWithoutRoom(5),
                Die,
                Compact,
            ],
        ),
        (
            "truncations",
            vec![
                Append(30),
                Roll,
                Compact,
                Truncate(3),
                Append(5),
                Roll,
                Maintain,
                Truncate(20),
                Append(6),
                Roll,
                Maintain,
                Delete,
                Roll,
                Maintain,
                Truncate(9),
                Maintain,
                Close,
            ],
        ),
        (
            "deletions",
            vec![
                Append(20),
                Roll,
                Compact,
                DeleteBefore(13),
                Maintain,
                Append(10),
                DeleteBefore(30),
                Roll,
                Maintain,
                Advance(5000),
                Append(2),
                Maintain,
                Close,
            ],
        ),
        (
            "reopened",
            vec![Append(20), Roll, Compact, Die, Append(10), Close, Roll, Compact, Die, Maintain],
        ),
    ]
}

#[test]
fn compacted_keys_survive_crash_anywhere() {
    let tally = Tally::default();
    for seed in seeds("ANNALS_COMPACTION_SEEDS", 1) {
        for (label, ops) in workloads() {
            let clock = clock();
            let mut config = compacted(&clock).delete_retention(Duration::from_millis(1000));
            if label == "deletions" {
                config = config.retention_age(Duration::from_millis(4000));
            }
            let (states, moments) = work(&config, &clock, &ops);
            let explorer = Explorer { config: &config, states: &states, tally: &tally, label };
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            let Some(moment) = moments.get(number) else { break };
                            let mut chance = Chance(seed << 32 | number as u64);
                            let mut ways = vec![Way::any(&mut chance)];
                            // Before a sync, renames may be stored in any order.
                            if moment.call.operation == Operation::SyncDir {
                                ways.extend((0..6).map(|_| Way::Some(chance.next())));
                            }
                            explorer.explore(moment, &ways, &mut chance, 0);
                        }
                    });
                }
            });
            say(&format!("{label}: {} calls", moments.len()));
        }
    }
    let states = tally.seen.lock().unwrap().len();
    say(&format!(
        "{states} distinct disks, {:?} openings, {:?} calls of recoveries",
        tally.opened, tally.in_recovery
    ));
    assert!(states > 1000, "only {states} states");
}

/// Does something to a file that has no part in what a log holds. Says what.
fn tamper(disk: &MemFs, chance: &mut Chance) -> String {
    let names =
        ["recovery-point-offset-checkpoint", "cleaner-offset-checkpoint", ".kafka_cleanshutdown"];
    let name = names[chance.below(4).min(3) as usize % 3];
    let path = Path::new(DIR).join(name);
    if disk.open(&path, OpenMode::ReadOnly).is_err() {
        return format!("{name} was not there");
    }
    match chance.below(3) {
        0 => {
            disk.remove(&path).unwrap();
            format!("{name} removed")
        }
        1 if name.ends_with("checkpoint") => {
            let text = String::from_utf8(read_file(disk, DIR, name)).unwrap();
            let known = text.split_whitespace().last().unwrap().parse::<u64>().unwrap_or(0);
            let offset = chance.below(known + 1);
            write_file(disk, DIR, name, format!("0\n1\nt 0 {offset}\n").as_bytes());
            format!("{name} is a broker's, and says {offset}")
        }
        _ => {
            let mut bytes = read_file(disk, DIR, name);
            let bit = chance.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
            write_file(disk, DIR, name, &bytes);
            format!("bit {bit} of {name} flipped")
        }
    }
}

/// A recovery point, a cleaner checkpoint and a clean marker that are lower, damaged or missing:
/// after a crash at any call, nothing durable goes. A log that was never compacted has no hole,
/// either. Where the power was lost as well, opening may fail, and cuts nothing then.
#[test]
fn durable_records_survive_wrong_checkpoints() {
    let mut rejected = 0;
    for seed in seeds("ANNALS_COMPACTION_SEEDS", 1) {
        let never = ("never compacted", {
            use Op::*;
            let begin = [Append(9), Flush, Append(12), Roll, Append(3), Truncate(4), Append(2)];
            let end = [Die, Append(9), Flush, Truncate(1), Append(4), Close, Append(12), Roll];
            begin.into_iter().chain(end).collect::<Vec<_>>()
        });
        for (label, ops) in workloads().into_iter().chain([never]) {
            let clock = clock();
            let mut config = compacted(&clock).delete_retention(Duration::from_millis(1000));
            let compacts = label != "never compacted";
            if !compacts {
                config = config.cleanup_policy(CleanupPolicy::Delete);
            }
            let (states, moments) = work(&config, &clock, &ops);
            for (number, moment) in moments.iter().enumerate() {
                let mut chance = Chance(seed << 32 | number as u64);
                let way = Way::any(&mut chance);
                let disk = way.disk(&moment.disk);
                let what = tamper(&disk, &mut chance);
                let context = format!("seed {seed}, {label}, {:?}, {way:?}: {what}", moment.call);
                let logs = |disk: &MemFs| -> Vec<_> {
                    files(disk, DIR)
                        .into_iter()
                        .filter(|(name, _)| name.ends_with(".log"))
                        .collect()
                };
                let before = logs(&disk);
                let log = match Log::open(DIR, config.clone().fs(disk.clone())) {
                    Ok(log) => log,
                    Err(Error::Corrupt(found)) => {
                        assert!(way != Way::Kill, "{context}: {found}");
                        // Records deleted or replaced before the crash may be removed, and nothing
                        // is truncated.
                        let left = logs(&disk);
                        assert!(left.last() == before.last(), "{context}: {found}");
                        rejected += 1;
                        continue;
                    }
                    Err(error) => panic!("{context}: {error}"),
                };
                let at = moment.at;
                let (state, next) = (&states[at], &states[(at + 1).min(states.len() - 1)]);
                // If a broker used the log last, it is unknown which part is compacted.
                if !compacts && (way == Way::Kill || !what.contains("broker")) {
                    let check = || state.check(next, &log, false);
                    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
                    // A truncation into a batch may be done but for its last steps.
                    let done = State::of(&log).records == next.records;
                    assert!(checked.is_ok() || done, "{context}");
                }
                let durable = state.durable.min(next.durable).min(next.end);
                let found = State::of(&log);
                let must = state.records.iter().filter(|rec| next.records.contains(rec));
                for rec in must.filter(|rec| (found.start..durable).contains(&rec.offset)) {
                    assert!(found.records.contains(rec), "{context}: {} is gone", rec.offset);
                }
                assert_eq!(log.verify().unwrap(), [], "{context}");
            }
        }
    }
    say(&format!("{rejected} disks rejected"));
}

/// A tombstone that has stayed for long enough goes together with the value it deletes, in a group
/// of which so little is left that an opening does not know that their segments were in it.
#[test]
fn old_values_never_return_without_tombstones() {
    let record = |key: &str, bytes: usize| Record::new(vec![b'v'; bytes]).key(key.to_owned());
    let mut joined = 0;
    // So many that the map of the first pass is full just before the tombstone, in one of these.
    for fillers in 32..38 {
        let (memory, clock) = (MemFs::new(), clock());
        let config = compacted(&clock)
            .segment_bytes(2000)
            .dedupe_buffer_bytes(1024)
            .delete_retention(Duration::ZERO);
        let fs = FaultFs::new(memory.clone());
        fs.record_trace(false);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let fill = |bytes| (0..fillers).map(move |n| record(&format!("f{n}"), bytes));
        for first in ["stays", "deleted"] {
            log.append_all([record("junk", 1200), record(first, 5)]).unwrap();
            log.roll().unwrap();
        }
        log.append_all([record("junk", 900)].into_iter().chain(fill(1))).unwrap();
        log.append(Record::tombstone("deleted")).unwrap();
        log.roll().unwrap();
        log.append_all([record("junk", 1)].into_iter().chain(fill(30))).unwrap();
        log.roll().unwrap();
        log.flush().unwrap();
        let before = table(&read_all(&log));
        let moments = watch(&fs, &memory, &Arc::default());
        let report = log.compact().unwrap();
        if report.passes != 2 || report.segments_removed != 2 {
            continue;
        }
        joined += 1;
        assert_eq!(table(&read_all(&log)), before);
        drop(log);
        for moment in moments.lock().unwrap().iter() {
            if moment.call.operation != Operation::SyncDir {
                continue;
            }
            for seed in 0..100 {
                let disk = Way::Some(seed).disk(&moment.disk);
                let log = Log::open(DIR, config.clone().fs(disk)).unwrap();
                let found = table(&read_all(&log));
                assert!(found == before, "{fillers}, {seed}: {:?}", found.keys());
                assert_eq!(log.verify().unwrap(), []);
            }
        }
    }
    assert!(joined > 0, "the map has another size now");
}
