//! A clock or a listener that panics: the call fails or continues, and the log stays sound.

use super::{config, in_time};
use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    Clock, Event, Listener, Log, LogConfig, ManualClock, Record, Result, Timestamp, TimestampType,
};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use support::{DIR, T0, write_file};

/// Panics at the call of this number, once.
#[derive(Debug)]
struct Fuse(AtomicI64);

impl Fuse {
    fn new(call: i64) -> Fuse {
        Fuse(AtomicI64::new(call))
    }

    fn burn(&self) {
        assert!(self.0.fetch_sub(1, Ordering::SeqCst) != 1, "on purpose");
    }

    fn has_blown(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 1
    }
}

#[derive(Debug)]
struct BreakingClock(ManualClock, Arc<Fuse>);

impl Clock for BreakingClock {
    fn now(&self) -> Timestamp {
        self.1.burn();
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.1.burn();
        self.0.monotonic()
    }
}

#[derive(Debug)]
struct BreakingListener(Arc<Fuse>);

impl Listener for BreakingListener {
    fn on_event(&self, _: &Event) {
        self.0.burn();
    }
}

/// The acknowledged records, by offset.
#[derive(Debug, Default)]
struct Acknowledged {
    values: Vec<(u64, String)>,
    /// Where batches end: a truncation takes them whole.
    ends: Vec<u64>,
    durable: u64,
    tried: u64,
}

impl Acknowledged {
    fn append(&mut self, log: &Log) -> Result<()> {
        self.append_batch(log, 1)
    }

    fn append_batch(&mut self, log: &Log, records: u64) -> Result<()> {
        self.tried += 1;
        let value = |n| format!("{}-{n}-{}", self.tried, "v".repeat(60));
        let appended = log.append_all((0..records).map(|n| Record::new(value(n))))?;
        let offsets = appended.first..=appended.last;
        self.values.extend(offsets.zip(0..).map(|(at, n)| (at, value(n))));
        self.ends.push(appended.last + 1);
        Ok(())
    }

    fn flush(&mut self, log: &Log) -> Result<()> {
        self.durable = log.flush()?;
        Ok(())
    }

    fn truncate(&mut self, log: &Log, by: u64) -> Result<()> {
        let target = log.offsets().end.saturating_sub(by);
        self.ends.retain(|end| *end <= target);
        let kept = self.ends.last().copied().unwrap_or(0);
        self.values.retain(|(offset, _)| *offset < kept);
        self.durable = self.durable.min(kept);
        log.truncate_to(target)
    }

    fn check(&self, log: &Log, upto: u64, case: &str) {
        for (offset, value) in self.values.iter().filter(|(offset, _)| *offset < upto) {
            let found = log.get(*offset).unwrap_or_else(|e| panic!("{case}: {offset}: {e}"));
            assert_eq!(found.unwrap().value_str(), Some(value.as_str()), "{case}");
        }
        assert_eq!(log.verify().unwrap(), [], "{case}");
    }
}

type Step = fn(&Log, &mut Acknowledged) -> Result<()>;

/// Each runs on its own, so that a panic in one leaves the next to find what it left.
const STEPS: [Step; 14] = [
    |log, acked| (0..7).try_for_each(|_| acked.append(log)),
    |log, acked| acked.flush(log),
    |log, acked| acked.append(log),
    |log, _| log.roll(),
    |log, acked| acked.append(log),
    // The second does what the first could not.
    |log, acked| acked.flush(log),
    |log, acked| acked.flush(log),
    |log, acked| acked.truncate(log, 4),
    |log, acked| acked.append(log).and_then(|()| acked.append_batch(log, 3)),
    // Into the middle of a batch, which leaves offsets without a record.
    |log, acked| acked.truncate(log, 1),
    |log, acked| acked.append_batch(log, 2),
    |log, acked| acked.truncate(log, 1),
    |log, acked| acked.flush(log),
    |log, _| log.offset_for_time(Timestamp::from_millis(T0)).map(drop),
];

/// Runs the steps, each on a thread of its own, and looks what is left.
fn run(case: &str, memory: &MemFs, config: &LogConfig, fuse: &Fuse) {
    let plain = || LogConfig::default().segment_bytes(400).index_interval_bytes(0);
    let acked = Arc::new(Mutex::new(Acknowledged::default()));
    let Ok(log) = catch_unwind(AssertUnwindSafe(|| Log::open(DIR, config.clone()))) else {
        assert!(fuse.has_blown());
        Log::open(DIR, config.clone()).unwrap();
        return;
    };
    let log = log.unwrap();
    for (number, step) in STEPS.into_iter().enumerate() {
        let (handle, shared) = (log.clone(), Arc::clone(&acked));
        let what = format!("{case}, step {number}");
        let name = what.clone();
        in_time(&what, move || {
            let mut acked = shared.lock().unwrap();
            if let Ok(done) = catch_unwind(AssertUnwindSafe(|| step(&handle, &mut acked))) {
                done.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        });
        let acked = acked.lock().unwrap();
        acked.check(&log, u64::MAX, &what);
        for (how, disk) in
            [("killed", memory.kill()), ("lost", memory.crash(CrashState::SyncedOnly))]
        {
            let what = format!("{what}, {how}");
            let log = Log::open(DIR, plain().fs(disk)).unwrap_or_else(|e| panic!("{what}: {e}"));
            let end = log.offsets().end;
            assert!(end >= acked.durable, "{what}: ends at {end}, {} was durable", acked.durable);
            acked.check(&log, if how == "killed" { u64::MAX } else { acked.durable }, &what);
        }
    }
    let acked = acked.lock().unwrap();
    let closing = log.clone();
    let closed = in_time(case, move || catch_unwind(AssertUnwindSafe(|| closing.close())));
    assert!(closed.map_or(true, |closed| closed.is_ok()), "{case}");
    drop(log);
    let log = Log::open(DIR, plain().fs(memory.kill())).unwrap_or_else(|e| panic!("{case}: {e}"));
    acked.check(&log, u64::MAX, case);
}

#[test]
fn log_survives_clock_panic() {
    for kind in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        for call in 1.. {
            let fuse = Arc::new(Fuse::new(call));
            let clock = ManualClock::new(Timestamp::from_millis(T0));
            let clock = Arc::new(BreakingClock(clock, Arc::clone(&fuse)));
            let memory = MemFs::new();
            let config = config(memory.clone()).clock(clock).timestamp_type(kind);
            run(&format!("{kind:?}, call {call}"), &memory, &config, &fuse);
            if !fuse.has_blown() {
                assert!(call > 20, "only {call} calls");
                break;
            }
        }
    }
}

#[test]
fn log_survives_listener_panic() {
    for call in 1.. {
        let fuse = Arc::new(Fuse::new(call));
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        fs.record_trace(false);
        // Files that will not go are reported in the middle of changes.
        fs.add_rule(
            Rule::new(Operation::Remove, Fault::Error(ErrorKind::PermissionDenied)).path("index"),
        );
        let listener = Arc::new(BreakingListener(Arc::clone(&fuse)));
        run(&format!("event {call}"), &memory, &config(fs).listener(listener), &fuse);
        if !fuse.has_blown() {
            assert!(call > 10, "only {call} events");
            break;
        }
    }
}

/// Panics at every event of a thread of this name, after saying so.
#[derive(Debug)]
struct PanicsOn(&'static str, mpsc::SyncSender<()>);

impl Listener for PanicsOn {
    fn on_event(&self, _: &Event) {
        if std::thread::current().name() == Some(self.0) {
            self.1.try_send(()).unwrap_or_default();
            panic!("on purpose");
        }
    }
}

#[cfg(feature = "futures")]
#[test]
fn flush_future_wakes_when_listener_panics() {
    let (send, panicked) = mpsc::sync_channel(100);
    let listener = Arc::new(PanicsOn("annals-sync", send));
    let log = Log::open(DIR, LogConfig::default().fs(MemFs::new()).listener(listener)).unwrap();
    for n in 0..3 {
        log.append("x").unwrap();
        let log = log.clone();
        assert_eq!(in_time("await", move || support::block_on(log.flush_async())).unwrap(), n + 1);
    }
    assert!(panicked.try_recv().is_ok(), "no event");
}

#[test]
fn follower_wakes_when_listener_panics() {
    let memory = MemFs::new();
    let writer = Log::open(DIR, LogConfig::default().fs(memory.clone())).unwrap();
    writer.append("x").unwrap();
    writer.flush().unwrap();
    let (send, panicked) = mpsc::sync_channel(100);
    let listener = Arc::new(PanicsOn("annals-follow", send));
    let fs = FaultFs::new(memory.clone());
    let (send, looked) = mpsc::sync_channel(1);
    let looks = move |_: &_| {
        if std::thread::current().name() == Some("annals-follow") {
            send.try_send(()).unwrap_or_default();
        }
    };
    fs.add_rule(Rule::new(Operation::List, Fault::call(looks)));
    let config = LogConfig::default().fs(fs).listener(listener);
    let mut tail = Log::open_read_only(DIR, config).unwrap().tail(1).unwrap();
    let waiting = std::thread::spawn(move || in_time("tail", move || tail.next_record(None)));
    looked.recv_timeout(Duration::from_secs(20)).unwrap();
    // Looking at the segments again comes upon a checkpoint that it has to report.
    write_file(&memory, DIR, "recovery-point-offset-checkpoint", b"garbage");
    writer.roll().unwrap();
    panicked.recv_timeout(Duration::from_secs(20)).unwrap();
    writer.append("y").unwrap();
    assert_eq!(waiting.join().unwrap().unwrap().unwrap().offset, 1);
}
