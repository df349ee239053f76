//! Each call to the file system fails once, for each call and each way to fail.

use annals::fs::{Call, CrashState, Fault, FaultFs, MemFs, Operation, Rule, RuleId};
use annals::record::BatchBuilder;
use annals::{
    Appended, Error, Log, LogConfig, ProducerId, ProducerStateError, ReadLimits, Record, Result,
    Sequence, Timestamp,
};
use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;
use support::say;
use support::sim::check_producers;
use support::{Chance, DIR, Model, Rec, read_all};

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(600).index_interval_bytes(0)
}

/// Records have any timestamp, and producer state never expires.
fn remembering() -> LogConfig {
    config().producer_id_expiration(Duration::MAX)
}

/// The content that the log must have, and what it may have besides since a call failed.
#[derive(Clone, Default)]
struct Ledger {
    /// Acknowledged, in the order of offsets.
    model: Model,
    /// Every record that was ever tried.
    tried: Vec<Rec>,
    /// A truncation failed: records from there on may be gone.
    cut: Option<u64>,
    /// A deletion at the front failed: the log may begin anywhere above where it did.
    deleting: bool,
    /// Where truncations may have left offsets without records.
    targets: Vec<u64>,
    /// Each append flushes: one that failed may be there.
    flushes: bool,
    /// The batches of a producer that numbers its records, those that failed among them.
    numbered: Vec<Vec<Rec>>,
}

/// The producer that numbers its records.
const PRODUCER: ProducerId = 7;

fn send(log: &Log, sequence: Sequence, recs: &[Rec]) -> Result<Appended> {
    let mut builder = BatchBuilder::new();
    builder.producer(PRODUCER, 0, sequence);
    for rec in recs {
        builder.push(Timestamp::from_millis(rec.time), None, rec.value.as_deref()).unwrap();
    }
    log.append_batch(builder.build().unwrap())
}

impl Ledger {
    fn try_next(&mut self, end: u64, n: u64) -> Vec<Rec> {
        let count = self.tried.len() as u64;
        let recs: Vec<Rec> = (0..n)
            .map(|i| Rec {
                offset: end + i,
                time: (count as i64 * 31) % 97,
                key: None,
                value: Some(format!("{}-{}", count + i, "y".repeat(70)).into_bytes()),
            })
            .collect();
        self.tried.extend(recs.clone());
        recs
    }

    fn append(&mut self, log: &Log, n: u64) -> Result<()> {
        let end = log.offsets().end;
        let recs = self.try_next(end, n);
        let records = recs.iter().map(|rec| {
            Record::new(rec.value.clone().unwrap()).timestamp(Timestamp::from_millis(rec.time))
        });
        let appended = log.append_all(records.collect::<Vec<_>>())?;
        assert_eq!(appended.first, end);
        self.model.append(recs);
        Ok(())
    }

    /// Appends a numbered batch, and again if that fails, and once more when it is there.
    fn send(&mut self, log: &Log, n: u64) -> Result<()> {
        let end = log.offsets().end;
        let recs = self.try_next(end, n);
        let sequence = self.numbered.iter().map(Vec::len).sum::<usize>() as Sequence;
        self.numbered.push(recs.clone());
        let first = send(log, sequence, &recs);
        let sent = match first {
            Ok(sent) => sent,
            // It may be there although it failed.
            Err(first) => send(log, sequence, &recs).map_err(|_| first)?,
        };
        assert_eq!((sent.first, sent.last), (end, end + n - 1));
        self.model.append(recs.clone());
        let again = send(log, sequence, &recs)?;
        assert!(again.duplicate && (again.first, again.last) == (sent.first, sent.last));
        Ok(())
    }

    /// A killed producer resends everything: stored batches are recognised, and the rest is
    /// appended.
    fn send_all_again(&self, log: &Log) {
        check_producers(log);
        let mut sequence = 0;
        for recs in &self.numbered {
            match send(log, sequence, recs) {
                Ok(_) => {}
                // It was stored too long ago to be told from a late resend.
                Err(Error::Producer(ProducerStateError::OutOfOrder { expected, .. })) => {
                    assert!(expected > sequence, "{expected} is expected, and {sequence} rejected");
                }
                Err(error) => panic!("{error}"),
            }
            sequence += recs.len() as Sequence;
        }
        let sent: Vec<_> = self.numbered.iter().flatten().map(|rec| &rec.value).collect();
        let found = read_all(log);
        let found = found.iter().map(|rec| &rec.value).filter(|value| sent.contains(value));
        assert!(found.eq(sent.iter().copied()), "each number once, in order");
        check_producers(log);
    }

    fn flush(&mut self, log: &Log) -> Result<()> {
        let durable = log.flush()?;
        assert_eq!(durable, self.model.end);
        self.model.durable = durable;
        Ok(())
    }

    fn truncate(&mut self, log: &Log, target: u64) -> Result<()> {
        self.cut = Some(target.min(self.cut.unwrap_or(target)));
        self.targets.push(target);
        match log.truncate_to(target) {
            Ok(()) => {
                self.model.truncate(target);
                self.model.durable = target;
                self.cut = None;
                let kept = |recs: &Vec<Rec>| recs.iter().all(|rec| rec.offset < target);
                self.numbered.retain(kept);
                Ok(())
            }
            Err(error) => {
                let kept = self.model.batches.iter().map(|b| b.last().unwrap().offset + 1);
                let kept = kept.filter(|end| *end <= target).max().unwrap_or(0);
                self.model.durable = self.model.durable.min(kept);
                Err(error)
            }
        }
    }

    /// Deletes what `delete` does, which says where the log begins then.
    fn delete(&mut self, log: &Log, delete: impl Fn(&Log) -> Result<u64>) -> Result<()> {
        self.deleting = true;
        let start = delete(log)?;
        assert_eq!(log.offsets().start, start);
        self.model.delete_before(start);
        self.deleting = false;
        Ok(())
    }

    /// Everything durable is there, nothing that was never tried, and no hole.
    fn check(&self, log: &Log) {
        let found = read_all(log);
        let (start, end) = (log.offsets().start, log.offsets().end);
        let is_known = start == self.model.start || (self.deleting && start > self.model.start);
        assert!(is_known, "begins at {start}, not at {}", self.model.start);
        assert!(end >= self.model.durable, "ends at {end}, {} was durable", self.model.durable);
        let model = self.model.from(start);
        for want in model.records().take_while(|rec| rec.offset < self.model.durable) {
            assert!(found.contains(want), "record {} was durable and is gone", want.offset);
        }
        assert!(found.iter().all(|rec| self.tried.contains(rec)), "a record nobody appended");
        let mut next = start;
        for rec in &found {
            let follows =
                rec.offset == next || (rec.offset > next && self.targets.contains(&rec.offset));
            assert!(follows, "a hole before {}", rec.offset);
            next = rec.offset + 1;
        }
        assert_eq!(log.verify().unwrap(), []);
    }
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

impl Ledger {
    fn check_open(&self, log: &Log) -> Result<()> {
        for record in log.reader(log.offsets().start)?.records() {
            assert!(self.tried.contains(&record?.into()));
        }
        Ok(())
    }

    /// After a failed call: either the log works as before, or it says that it is poisoned. Says
    /// which.
    fn check_after(&mut self, log: &Log, error: &Error) -> bool {
        let _ = log.offsets();
        match log.append("after") {
            Ok(offset) => {
                self.tried.push(Rec { offset, time: 0, key: None, value: Some(b"after".to_vec()) });
                let time = log.get(offset).unwrap().unwrap().timestamp.as_millis();
                self.tried.last_mut().unwrap().time = time;
                let durable = log.flush().unwrap();
                assert_eq!(durable, offset + 1);
                let may_differ = self.cut.is_some() || (self.flushes && offset > self.model.end);
                assert!(may_differ || offset == self.model.end, "{error}");
                let found = read_all(log);
                assert!(found.iter().all(|rec| self.tried.contains(rec)));
                false
            }
            Err(Error::Poisoned { .. }) => {
                assert!(matches!(log.flush(), Err(Error::Poisoned { .. })));
                assert!(matches!(log.roll(), Err(Error::Poisoned { .. })));
                assert!(matches!(log.truncate_to(0), Err(Error::Poisoned { .. })));
                assert!(log.clone().close().is_err(), "a poisoned log does not close in order");
                true
            }
            Err(other) => panic!("after {error}: {other}"),
        }
    }
}

/// A way to fail, and the calls it happens to: all where none are named.
struct Way {
    name: &'static str,
    fault: Fault,
    calls: &'static [Operation],
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

/// A gate that holds calls until it is opened or dropped.
fn gate() -> (Receiver<()>, std::sync::mpsc::Sender<()>, Fault) {
    let (reach, reached) = channel();
    let (open, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let fault = Fault::call(move |_| {
        let _ = reach.send(());
        let _ = wait.lock().unwrap().recv();
    });
    (reached, open, fault)
}

/// Trap: the leader of a group commit fails, and its followers wait forever.
#[test]
fn failed_sync_fails_every_waiting_flush() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("durable").unwrap();
    log.flush().unwrap();
    let (reached, open, hold) = gate();
    fs.add_rule(Rule::new(Operation::SyncData, hold).nth(1));
    fs.add_rule(Rule::new(Operation::SyncData, Fault::Errno(5)).nth(1));
    fs.clear_trace();
    log.append("lost").unwrap();
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4).map(|_| scope.spawn(|| log.flush())).collect();
        reached.recv().unwrap();
        log.append("lost too").unwrap();
        drop(open);
        for thread in waiting {
            let error = thread.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{error}");
        }
    });
    assert!(matches!(log.flush(), Err(Error::Poisoned { .. })));
    assert!(matches!(log.append("no"), Err(Error::Poisoned { .. })));
    assert_eq!(log.offsets().durable, 1);
    assert_eq!(log.get(1).unwrap().unwrap().value_str(), Some("lost"), "reads go on");
    assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
    assert_eq!(fs.count(Operation::SyncData), 1, "a sync that failed was tried again");
}

/// A system that could not write what an fsync asked for may count it as written all the same. The
/// next opening then reads it from memory, and its own fsync does nothing.
#[test]
fn close_rewrites_bytes_after_failed_sync() {
    let fs = FaultFs::new(MemFs::new());
    let open =
        || Log::open(DIR, LogConfig::default().segment_bytes(100_000).fs(fs.clone())).unwrap();
    let log = open();
    log.append("durable").unwrap();
    log.flush().unwrap();
    let durable = log.stats().unwrap().segments[0].bytes;
    for n in 0..1200 {
        log.append(format!("{n:090}")).unwrap();
    }
    let segments = log.stats().unwrap().segments;
    assert_eq!(segments.len(), 2);
    fs.add_rule(Rule::new(Operation::SyncData, Fault::Errno(5)).nth(1));
    log.flush().unwrap_err();
    fs.clear_trace();
    log.close().unwrap_err();
    let written: Vec<_> = fs
        .trace()
        .into_iter()
        .filter(|call| call.operation == Operation::Write)
        .map(|call| (call.at, call.at + call.len))
        .collect();
    assert_eq!(written, [(durable, segments[0].bytes), (0, segments[1].bytes)]);
    fs.clear_rules();
    let log = open();
    assert_eq!(log.offsets().end, 1201);
    assert_eq!(log.verify().unwrap(), []);
}

/// Trap: a write error is forgotten, and a later sync reports success.
#[test]
fn flush_fails_after_failed_write() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("there").unwrap();
    fs.add_rule(
        Rule::new(Operation::Write, Fault::PartialWrite { written: 9, kind: ErrorKind::Other })
            .nth(1),
    );
    assert!(matches!(log.append("torn"), Err(Error::Io { .. })));
    assert!(matches!(log.append("next"), Err(Error::Poisoned { .. })));
    assert!(log.flush().is_err());
    assert_eq!(log.offsets().end, 1);
}

/// A quota and the largest file size are limits like a full disk: the disk itself is sound.
#[test]
fn only_lack_of_space_is_survived() {
    let rooms = [
        (ErrorKind::StorageFull, 28),
        (ErrorKind::QuotaExceeded, if cfg!(target_os = "macos") { 69 } else { 122 }),
        (ErrorKind::FileTooLarge, 27),
    ];
    for (kind, number) in rooms {
        for written in [None, Some(0), Some(1), Some(61), Some(70)] {
            for preallocate in [false, true] {
                let case = format!("{kind:?} after {written:?}, preallocate {preallocate}");
                let memory = MemFs::new();
                let fs = FaultFs::new(memory.clone());
                let config = config().preallocate(preallocate);
                let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
                log.append("before").unwrap();
                let fault = match written {
                    Some(written) => Fault::PartialWrite { written, kind },
                    None if cfg!(unix) => Fault::Errno(number),
                    None => Fault::Error(kind),
                };
                fs.add_rule(Rule::new(Operation::Write, fault).path(".log").nth(1));
                let error = log.append("x".repeat(200)).unwrap_err();
                assert_eq!(error.kind(), annals::ErrorKind::StorageFull, "{case}: {error}");
                assert!(error.is_retryable(), "{case}");
                assert_eq!((log.offsets().end, read_all(&log).len()), (1, 1), "{case}");
                let log = if written == Some(61) {
                    drop(log);
                    Log::open(DIR, config.clone().fs(memory.kill())).unwrap()
                } else {
                    log
                };
                assert_eq!(log.recovery().truncated_bytes, 0, "{case}: it was taken back");
                assert_eq!(log.append("after").unwrap(), 1, "{case}");
                log.flush().unwrap();
                assert_eq!(log.verify().unwrap(), [], "{case}");
                let values: Vec<_> = read_all(&log).into_iter().map(|rec| rec.value).collect();
                assert_eq!(values, [Some(b"before".to_vec()), Some(b"after".to_vec())], "{case}");
            }
        }
    }
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    fs.add_rule(Rule::new(Operation::Write, Fault::Error(ErrorKind::PermissionDenied)).nth(1));
    assert!(!log.append("x").unwrap_err().is_retryable());
    assert!(matches!(log.append("y"), Err(Error::Poisoned { .. })));
}

/// No room to be made: the file is as large as files may be, and the next one has room.
#[test]
fn append_rolls_when_file_reaches_limit() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    log.append("a").unwrap();
    let full = Fault::Error(ErrorKind::FileTooLarge);
    fs.add_rule(Rule::new(Operation::Write, full).path("00000000000000000000.log"));
    for _ in 0..3 {
        let error = log.append("b").unwrap_err();
        assert_eq!(error.kind(), annals::ErrorKind::StorageFull);
    }
    log.roll().unwrap();
    assert_eq!(log.append("b").unwrap(), 1);
    log.close().unwrap();
}

/// The rollback failed, so the content of the file is unknown.
#[test]
fn append_poisons_when_rollback_fails() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        log.append("a").unwrap();
        fs.add_rule(
            Rule::new(Operation::Write, Fault::PartialWrite { written: 40, kind }).path(".log"),
        );
        fs.add_rule(Rule::new(Operation::SetLen, Fault::Errno(5)).path(".log"));
        assert!(log.append("b").is_err());
        assert!(matches!(log.append("c"), Err(Error::Poisoned { .. })));
        let log = Log::open(DIR, config().fs(memory.kill())).unwrap();
        assert_eq!((log.offsets().end, log.recovery().truncated_bytes), (1, 40));
    }
}

/// Trap: a sync that runs under a lock that other calls need.
#[test]
fn slow_sync_blocks_nothing_else() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("a").unwrap();
    let (reached, open, hold) = gate();
    fs.add_rule(Rule::new(Operation::SyncData, hold).nth(1));
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| log.flush());
        reached.recv().unwrap();
        assert_eq!(log.offsets().end, 1);
        assert_eq!(log.append("b").unwrap(), 1);
        log.roll().unwrap();
        assert_eq!(log.append("c").unwrap(), 2);
        assert_eq!(read_all(&log).len(), 3);
        assert_eq!(
            log.tail(2).unwrap().next_record(Some(Duration::ZERO)).unwrap().unwrap().offset,
            2
        );
        assert_eq!(log.stats().unwrap().segments.len(), 2);
        drop(open);
        assert_eq!(flush.join().unwrap().unwrap(), 1);
    });
    assert_eq!(log.flush().unwrap(), 3);
}

/// Trap: one offset with two contents after a failed sync.
#[test]
fn one_history_remains_after_failed_sync() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("one").unwrap();
    log.flush().unwrap();
    fs.add_rule(Rule::new(Operation::SyncData, Fault::Errno(5)).nth(1));
    log.append("two").unwrap();
    assert!(log.flush().is_err());
    for how in [CrashState::SyncedOnly, CrashState::AllWrites] {
        let disk = memory.crash(how);
        let log = Log::open(DIR, LogConfig::default().fs(disk.clone())).unwrap();
        let end = log.offsets().end;
        let value = log.append("three").unwrap();
        assert_eq!(value, end);
        log.flush().unwrap();
        let before = read_all(&log);
        let log =
            Log::open(DIR, LogConfig::default().fs(disk.crash(CrashState::SyncedOnly))).unwrap();
        assert_eq!(read_all(&log), before);
    }
}

/// No descriptor to open a closed segment's files with: nothing was synced, and nothing is lost.
#[test]
fn flush_without_descriptor_fails_alone() {
    for number in [23, 24] {
        for nth in 1..=3 {
            let memory = MemFs::new();
            let fs = FaultFs::new(memory.clone());
            let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
            // More segments than stay open.
            for n in 0..20 {
                assert_eq!(log.append("x").unwrap(), n);
                log.roll().unwrap();
            }
            fs.add_rule(Rule::new(Operation::Open, Fault::Errno(number)).from_nth(nth));
            for _ in 0..2 {
                let error = log.flush().unwrap_err();
                assert_eq!(error.kind(), annals::ErrorKind::TooManyFiles, "{error}");
                assert_eq!(log.offsets().durable, 0);
            }
            assert_eq!(log.append("still").unwrap(), 20);
            fs.clear_rules();
            assert_eq!(log.flush().unwrap(), 21);
            let disk = memory.crash(CrashState::SyncedOnly);
            let log = Log::open(DIR, LogConfig::default().fs(disk)).unwrap();
            assert_eq!(read_all(&log).len(), 21);
        }
    }
}

/// A sync that fails is not excused by its error number.
#[test]
fn failed_sync_poisons_with_any_error() {
    for number in [4, 5, 23, 24, 28] {
        let fs = FaultFs::new(MemFs::new());
        let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        log.append("x").unwrap();
        log.roll().unwrap();
        fs.add_rule(Rule::new(Operation::SyncData, Fault::Errno(number)).path("index").nth(1));
        assert!(log.flush().is_err());
        assert!(matches!(log.flush(), Err(Error::Poisoned { .. })), "{number}");
        assert_eq!(log.offsets().durable, 0);
    }
}

/// Preallocated space that could not be removed stayed after the last batch; after a clean close
/// it was damage.
#[test]
fn roll_fails_when_preallocation_cannot_shrink() {
    let fs = FaultFs::new(MemFs::new());
    let config = config().preallocate(true).fs(fs.clone());
    let log = Log::open(DIR, config.clone()).unwrap();
    log.append("a").unwrap();
    let rule = fs.add_rule(Rule::new(Operation::SetLen, Fault::Errno(5)).path(".log"));
    assert!(log.roll().is_err());
    assert_eq!(log.append("b").unwrap(), 1);
    fs.remove_rule(rule);
    log.roll().unwrap();
    log.append("c").unwrap();
    log.close().unwrap();
    let log = Log::open(DIR, config).unwrap();
    assert_eq!((read_all(&log).len(), log.verify().unwrap()), (3, vec![]));
}

/// Neither room for the next segment nor a way to remove its file: the file that stayed claimed
/// the offsets of what was appended next, and the log did not open again.
#[test]
fn failed_roll_leaves_no_segment_name() {
    for can_remove in [true, false] {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let config = config().preallocate(true);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        log.append("a").unwrap();
        fs.add_rule(Rule::new(Operation::Allocate, Fault::Error(ErrorKind::StorageFull)));
        if !can_remove {
            fs.add_rule(Rule::new(Operation::Remove, Fault::Errno(5)));
        }
        assert_eq!(log.roll().is_err(), can_remove);
        log.append("b").unwrap();
        fs.clear_rules();
        log.append("c").unwrap();
        let log = Log::open(DIR, config.fs(memory.kill())).unwrap();
        assert_eq!(read_all(&log).len(), 3);
    }
}

/// Valid batches after bad bytes, and the machine has not stopped: no interrupted write leaves
/// that.
#[test]
fn opening_never_truncates_at_corruption() {
    for flushed in [false, true] {
        let memory = MemFs::new();
        let log = Log::open(DIR, LogConfig::default().fs(memory.clone())).unwrap();
        (0..3).for_each(|_| drop(log.append("x").unwrap()));
        if flushed {
            log.roll().unwrap();
            log.append("y").unwrap();
            log.flush().unwrap();
        }
        let disk = memory.kill();
        let name = support::name(0, "log");
        let mut bytes = support::read_file(&disk, DIR, &name);
        bytes[70 + 65] ^= 1;
        support::write_file(&disk, DIR, &name, &bytes);
        let opened = Log::open(DIR, LogConfig::default().fs(disk.clone()));
        // Opening does not read below the recovery point; reading the records there finds the
        // damage.
        let outcome = opened.and_then(|log| log.get(1).map(drop));
        assert!(matches!(outcome, Err(Error::Corrupt(_))), "flushed: {flushed}, {outcome:?}");
        assert_eq!(support::read_file(&disk, DIR, &name), bytes, "nothing is cut");
    }
}
