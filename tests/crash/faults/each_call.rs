//! Each call to the file system fails once, for each call and each way to fail.

use super::config;
use super::ledger::Ledger;
use annals::fs::{Call, CrashState, Fault, FaultFs, MemFs, Operation, Rule, RuleId};
use annals::{Error, Log, LogConfig, ReadLimits, Result, Timestamp};
use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use support::{Chance, DIR, read_all, say};

/// Records have any timestamp, and producer state never expires.
fn remembering() -> LogConfig {
    config().producer_id_expiration(Duration::MAX)
}

/// A file system of which calls fail.
struct Bench {
    memory: MemFs,
    fs: FaultFs,
    config: LogConfig,
    rule: RuleId,
    fired: Cell<bool>,
    way: &'static Way,
    forever: bool,
}

impl Bench {
    fn open(&self) -> Result<Log> {
        Log::open(DIR, self.config.clone().fs(self.fs.clone()))
    }

    /// From here on nothing fails any more.
    fn mend(&self) {
        self.fired.set(self.fired.get() || self.fs.hit_count(self.rule) > 0);
        self.fs.clear_rules();
    }

    /// After the first error: calls while things keep failing, and then the promises.
    fn settle(&self, ledger: &mut Ledger, log: &Log, error: &Error) {
        if self.forever {
            let _ = ledger.append(log, 1);
            let _ = ledger.flush(log);
            let _ = (log.roll(), log.get(0).is_ok(), log.verify().is_ok(), log.stats().is_ok());
            let _ = log.offset_for_time(Timestamp::from_millis(50));
        }
        self.mend();
        let trace = self.fs.trace();
        let poisoned = ledger.check_after(log, error);
        let is_sync =
            |call: &Call| matches!(call.operation, Operation::SyncData | Operation::SyncAll);
        let of_segment = |call: &Call| {
            [".log", "index"].iter().any(|end| call.path.to_string_lossy().ends_with(end))
        };
        let failed: Vec<_> =
            trace.iter().filter(|c| is_sync(c) && of_segment(c) && !c.is_ok()).collect();
        assert!(failed.is_empty() || poisoned, "a sync failed, and the log goes on");
        for call in failed {
            let times = self
                .fs
                .trace()
                .iter()
                .filter(|c| is_sync(c) && c.path == call.path && !c.is_ok())
                .count();
            let last =
                self.fs.trace().into_iter().rfind(|c| is_sync(c) && c.path == call.path).unwrap();
            assert!(times == 1 && !last.is_ok(), "a failed sync was tried again: {call:?}");
        }
        if self.way.name == "EMFILE" && ledger.cut.is_none() {
            assert!(!poisoned, "for want of a descriptor: {error}");
        }
    }
}

/// A process that uses a log; it stops at the first error of a call that says so.
fn work(bench: &Bench, ledger: &mut Ledger) -> Result<()> {
    let log = bench.open()?;
    if let Err(error) = use_log(&log, ledger) {
        bench.settle(ledger, &log, &error);
        return Err(error);
    }
    log.close()?;
    ledger.model.durable = ledger.model.end;
    let log = bench.open()?;
    ledger.check_open(&log)?;
    let appended = ledger.append(&log, 1);
    if let Err(error) = &appended {
        bench.settle(ledger, &log, error);
    }
    appended
}

/// The same process on the disk that a crash left.
fn recover(bench: &Bench, ledger: &mut Ledger) -> Result<()> {
    let log = bench.open()?;
    let mut go_on = || {
        ledger.check_open(&log)?;
        ledger.append(&log, 2)?;
        ledger.flush(&log)?;
        log.roll()?;
        ledger.append(&log, 1)?;
        ledger.flush(&log)?;
        verify(&log)
    };
    if let Err(error) = go_on() {
        bench.settle(ledger, &log, &error);
        return Err(error);
    }
    log.close()?;
    ledger.model.durable = ledger.model.end;
    Ok(())
}

/// Deletes at the front, by offset and by size.
fn delete(bench: &Bench, ledger: &mut Ledger) -> Result<()> {
    let log = bench.open()?;
    let mut go_on = || {
        (0..6).try_for_each(|n| ledger.append(&log, 1 + n % 3))?;
        let end = log.offsets().end;
        ledger.delete(&log, |log| log.delete_before(end - 4))?;
        (0..4).try_for_each(|n| ledger.append(&log, 1 + n % 3))?;
        ledger.delete(&log, |log| Ok(log.maintain()?.start))?;
        ledger.append(&log, 2)?;
        verify(&log)?;
        ledger.delete(&log, |log| log.delete_before(log.offsets().end))?;
        ledger.append(&log, 1)?;
        ledger.flush(&log)
    };
    if let Err(error) = go_on() {
        bench.settle(ledger, &log, &error);
        return Err(error);
    }
    log.close()?;
    ledger.model.durable = ledger.model.end;
    ledger.check_open(&bench.open()?)
}

/// Numbered batches among others, over segments, a truncation and a close.
fn number(bench: &Bench, ledger: &mut Ledger) -> Result<()> {
    let log = bench.open()?;
    let mut go_on = || {
        (0..4).try_for_each(|n| ledger.send(&log, 1 + n % 3))?;
        ledger.append(&log, 1)?;
        log.roll()?;
        (0..3).try_for_each(|n| ledger.send(&log, 1 + n % 2))?;
        ledger.flush(&log)?;
        ledger.send(&log, 2)?;
        let end = log.offsets().end;
        ledger.truncate(&log, end - 4)?;
        ledger.send(&log, 1)
    };
    if let Err(error) = go_on() {
        bench.settle(ledger, &log, &error);
        return Err(error);
    }
    log.close()?;
    ledger.model.durable = ledger.model.end;
    let log = bench.open()?;
    let sent = ledger.send(&log, 1);
    if let Err(error) = &sent {
        bench.settle(ledger, &log, error);
    }
    sent
}

/// A reader beside the writer, whose own calls do not fail.
fn follow(bench: &Bench, ledger: &mut Ledger) -> Result<()> {
    let writer = Log::open(DIR, bench.config.clone().fs(bench.memory.clone())).unwrap();
    ledger.append(&writer, 2).unwrap();
    let follower = Log::open_read_only(DIR, bench.config.clone().fs(bench.fs.clone()))?;
    let read = |ledger: &Ledger| {
        ledger.check_open(&follower)?;
        follower.get(0)?;
        follower.offset_for_time(Timestamp::from_millis(50))?;
        verify(&follower)
    };
    let mut outcome = read(ledger);
    for _ in 0..2 {
        (0..4).for_each(|n| ledger.append(&writer, 1 + n % 2).unwrap());
        ledger.flush(&writer).unwrap();
        outcome = outcome.and_then(|()| read(ledger));
    }
    bench.mend();
    let found = read_all(&follower);
    assert!(found.iter().eq(ledger.model.records()), "when nothing fails any more, all is there");
    outcome
}

/// Damage that is none must not be reported.
fn verify(log: &Log) -> Result<()> {
    match log.verify()?.into_iter().next() {
        Some(damage) => Err(Error::Corrupt(Box::new(damage))),
        None => Ok(()),
    }
}

fn use_log(log: &Log, ledger: &mut Ledger) -> Result<()> {
    for n in 0..6 {
        ledger.append(log, 1 + n % 3)?;
    }
    ledger.flush(log)?;
    ledger.append(log, 2)?;
    log.roll()?;
    ledger.append(log, 1)?;
    ledger.flush(log)?;
    ledger.append(log, 3)?;
    let end = log.offsets().end;
    ledger.truncate(log, end - 5)?;
    ledger.append(log, 3)?;
    log.read(0, ReadLimits::bytes(1000))?;
    log.get(1)?;
    log.offset_for_time(Timestamp::from_millis(50))?;
    verify(log)?;
    let end = log.offsets().end;
    ledger.truncate(log, end - 2)?;
    ledger.append(log, 1)
}

/// A way to fail, and the calls it happens to: all where none are named.
struct Way {
    name: &'static str,
    fault: Fault,
    calls: &'static [Operation],
}

impl Way {
    fn rule(&self, n: u64, forever: bool) -> Rule {
        use Operation::{
            Allocate, CreateDir, CreateNew, Len, List, Lock, Open, Remove, Rename, SetLen, SyncAll,
            SyncData, SyncDir, View,
        };
        // A read or write that is interrupted is tried again, as often as it takes.
        let once_interrupted = [
            Open, CreateNew, List, CreateDir, Rename, Remove, SyncDir, Lock, Len, SetLen, Allocate,
            SyncData, SyncAll, View,
        ];
        let calls = if forever && self.name == "EINTR" { &once_interrupted } else { self.calls };
        let rule = match calls.split_first() {
            Some((first, rest)) => {
                rest.iter().fold(Rule::new(*first, self.fault.clone()), |rule, call| rule.or(*call))
            }
            None => Rule::any(self.fault.clone()),
        };
        if forever { rule.from_nth(n) } else { rule.nth(n) }
    }

    /// Whether an error is the one that such a failure must become.
    fn explains(&self, error: &Error) -> bool {
        let Error::Io { source, .. } = error else {
            // A file that ends where it should not looks as if it had been cut.
            return self.name == "ends early" && matches!(error, Error::Corrupt(_));
        };
        match self.fault {
            Fault::Error(kind) | Fault::PartialWrite { kind, .. } => source.kind() == kind,
            Fault::Errno(number) => source.raw_os_error() == Some(number),
            _ => matches!(source.kind(), ErrorKind::UnexpectedEof | ErrorKind::WriteZero),
        }
    }
}

static WAYS: LazyLock<Vec<Way>> = LazyLock::new(|| {
    use Operation::{CreateDir, CreateNew, List, Lock, Open, SyncDir};
    let way = |name, fault| Way { name, fault, calls: &[] };
    let part = |written, kind| Fault::PartialWrite { written, kind };
    vec![
        way("full", Fault::Error(ErrorKind::StorageFull)),
        way("over quota", Fault::Error(ErrorKind::QuotaExceeded)),
        way("file too large", Fault::Error(ErrorKind::FileTooLarge)),
        way("EIO", Fault::Errno(5)),
        // A directory is opened to be listed and to be synced.
        Way {
            name: "EMFILE",
            fault: Fault::Errno(24),
            calls: &[Open, CreateNew, List, Lock, CreateDir, SyncDir],
        },
        way("EINTR", Fault::Errno(4)),
        way("one byte at a time", Fault::ShortIo(1)),
        way("ends early", Fault::ShortIo(0)),
        way("full in the middle", part(30, ErrorKind::StorageFull)),
        way("over quota in the middle", part(30, ErrorKind::QuotaExceeded)),
        way("file too large in the middle", part(30, ErrorKind::FileTooLarge)),
        way("EIO in the middle", part(90, ErrorKind::Other)),
    ]
});

type Work = fn(&Bench, &mut Ledger) -> Result<()>;

/// A disk to begin with, its content, and the calls made on it.
struct Scene {
    name: &'static str,
    work: Work,
    config: LogConfig,
    disk: MemFs,
    ledger: Ledger,
}

fn scenes() -> Vec<Scene> {
    let fresh = |name, work: Work, config| Scene {
        name,
        work,
        config,
        disk: MemFs::new(),
        ledger: Ledger::default(),
    };
    let mut scenes = vec![
        fresh("work", work, config()),
        fresh("work preallocated", work, config().preallocate(true)),
        fresh("work, each append flushed", work, config().flush_messages(1)),
        fresh("follow", follow, config()),
        fresh("delete", delete, config().retention_bytes(700)),
        fresh("number, some appends flushed", number, remembering().flush_messages(5)),
    ];
    scenes[2].ledger.flushes = true;
    scenes[5].ledger.flushes = true;
    let memory = MemFs::new();
    let log = Log::open(DIR, config().fs(memory.clone())).unwrap();
    let mut ledger = Ledger::default();
    use_log(&log, &mut ledger).unwrap();
    ledger.append(&log, 3).unwrap();
    let left = [
        memory.kill(),
        memory.crash(CrashState::Random { seed: 3 }),
        memory.crash(CrashState::Random { seed: 6 }),
    ];
    for disk in left {
        let mut ledger = ledger.clone();
        // Everything that an opening finds without failure is durable.
        ledger.model.check_survived(&Log::open(DIR, config().fs(disk.kill())).unwrap());
        scenes.push(Scene { name: "recover", work: recover, config: config(), disk, ledger });
    }
    scenes
}

/// Runs a scene with the nth call failing, and looks at what is left. Says whether there was such
/// a call.
fn fail(scene: &Scene, way: &'static Way, n: u64, forever: bool) -> bool {
    let memory = scene.disk.kill();
    let fs = FaultFs::new(memory.clone());
    let rule = fs.add_rule(way.rule(n, forever));
    let (config, fired) = (scene.config.clone(), Cell::new(false));
    let bench =
        Bench { memory: memory.clone(), fs, config: config.clone(), rule, fired, way, forever };
    let mut ledger = scene.ledger.clone();
    let result = (scene.work)(&bench, &mut ledger);
    bench.mend();
    let fired = bench.fired.get();
    if let Err(error) = &result {
        assert!(fired && way.explains(error), "{error:?}");
    }
    // Records found at the start may not have been durable until the opening was done with them.
    let power = scene.disk.unsynced().is_empty() || result.is_ok();
    let other = match n % 3 {
        0 => memory.crash(CrashState::SyncedOnly),
        1 => memory.crash(CrashState::Random { seed: n }),
        _ => memory.crash(CrashState::AllWrites),
    };
    for (number, disk) in [Some(memory.kill()), power.then_some(other)].into_iter().enumerate() {
        let Some(disk) = disk else { continue };
        if !ledger.numbered.is_empty() && n % 2 == number as u64 {
            ledger.send_all_again(&Log::open(DIR, config.clone().fs(disk.kill())).unwrap());
        }
        let log = Log::open(DIR, config.clone().fs(disk.clone())).unwrap();
        ledger.check(&log);
        let offset = log.append("on").unwrap();
        log.flush().unwrap();
        let before = read_all(&log);
        drop(log);
        let log = Log::open(DIR, config.clone().fs(disk.crash(CrashState::SyncedOnly))).unwrap();
        assert_eq!(log.get(offset).unwrap().unwrap().value_str(), Some("on"));
        assert_eq!(read_all(&log), before, "one history");
    }
    fired
}

/// Every third call, beginning at another one in each way; with `ANNALS_FAULTS=all`, every call.
#[test]
fn log_survives_failure_of_each_call() {
    let every =
        if std::env::var("ANNALS_FAULTS").is_ok_and(|calls| calls == "all") { 1 } else { 3 };
    let scenes = scenes();
    let mut jobs = Vec::new();
    for scene in &scenes {
        jobs.extend(WAYS.iter().flat_map(|way| [(scene, way, false), (scene, way, true)]));
    }
    let (next, positions) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (alive, watch) = channel::<String>();
    let run = |alive: std::sync::mpsc::Sender<String>| {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some((scene, way, forever)) = jobs.get(job) else { break };
            for n in (1 + job as u64 % every..).step_by(every as usize) {
                let case =
                    format!("{}: {} at call {n}, from then on: {forever}", scene.name, way.name);
                let _ = alive.send(case.clone());
                let run = AssertUnwindSafe(|| fail(scene, way, n, *forever));
                let fired = catch_unwind(run).unwrap_or_else(|_| panic!("{case}"));
                if !fired {
                    break;
                }
                positions.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for alive in [alive.clone(), alive] {
            scope.spawn(|| run(alive));
        }
        let mut last = [String::new(), String::new()];
        loop {
            match watch.recv_timeout(Duration::from_secs(120)) {
                Ok(case) => last = [case, std::mem::take(&mut last[0])],
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    say(&format!("it hangs: {last:?}"));
                    std::process::abort();
                }
            }
        }
    });
    say(&format!(
        "{positions:?} fault positions in {} workloads, {} ways to fail, once and from then on",
        scenes.len(),
        WAYS.len()
    ));
    assert!(positions.into_inner() > 10_000);
}

/// A snapshot saves reading. When it cannot be written, nothing else is the worse for it.
#[test]
fn log_works_without_producer_snapshots() {
    use Operation::{CreateNew, Remove, Rename, Write};
    for way in WAYS.iter() {
        for nth in 1..12 {
            let memory = MemFs::new();
            let fs = FaultFs::new(memory.clone());
            let config = remembering().fs(fs.clone());
            let log = Log::open(DIR, config).unwrap();
            // A failed sync of a file that is being closed is a failed sync: the disk is as
            // suspect as after any other.
            let calls = Rule::new(CreateNew, way.fault.clone()).or(Write).or(Rename).or(Remove);
            // A write that is interrupted is tried again, as often as it takes.
            let calls = if way.name == "EINTR" { calls.nth(nth) } else { calls.from_nth(nth) };
            let rule = fs.add_rule(calls.path(".snapshot"));
            let mut ledger = Ledger::default();
            let mut use_it = || {
                (0..8).try_for_each(|n| ledger.send(&log, 1 + n % 3))?;
                ledger.append(&log, 1)?;
                log.roll()?;
                ledger.send(&log, 2)?;
                ledger.flush(&log)?;
                log.clone().close()
            };
            use_it().unwrap_or_else(|error| panic!("{}, from {nth}: {error}", way.name));
            assert!(fs.hit_count(rule) > 0 || nth > 4, "{}, from {nth}", way.name);
            fs.clear_rules();
            for disk in [memory.kill(), memory.crash(CrashState::SyncedOnly)] {
                let log = Log::open(DIR, remembering().fs(disk)).unwrap();
                ledger.model.check(&log);
                ledger.send_all_again(&log);
            }
        }
    }
}

/// Short reads and writes everywhere change nothing (trap: a short read ignored).
#[test]
fn short_reads_and_writes_change_nothing() {
    for seed in 0..5 {
        let mut chance = Chance(seed);
        let fs = FaultFs::new(MemFs::new());
        fs.record_trace(false);
        fs.add_rule(Rule::any(Fault::ShortIo(1 + chance.below(50) as usize)).chance(0.7, seed));
        let mut ledger = Ledger::default();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        use_log(&log, &mut ledger).unwrap();
        log.close().unwrap();
        let log = Log::open(DIR, config().fs(fs)).unwrap();
        ledger.check(&log);
        ledger.model.check(&log);
    }
}
