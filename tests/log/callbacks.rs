//! A listener or a clock may call the log, or panic: no call hangs, and acknowledged records stay.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Clock, ConsumerConfig, Error, Event, GroupCoordinatorConfig, Listener, Log,
    LogConfig, ManualClock, OnCorruption, Record, Result, Store, StoreConfig, Timestamp,
    TimestampType, TopicConfig, TopicPartition,
};
use std::collections::BTreeSet;
#[cfg(feature = "futures")]
use std::future::Future;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;
use support::{DIR, Heard, T0, files, read_all, write_file};

/// Runs on a thread of its own, so that a call that hangs fails.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, done) = mpsc::channel();
    std::thread::spawn(move || send.send(catch_unwind(AssertUnwindSafe(work))));
    match done.recv_timeout(Duration::from_secs(20)) {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("{what}: hangs"),
    }
}

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

fn config(fs: impl Fs) -> LogConfig {
    LogConfig::default()
        .fs(fs)
        .segment_bytes(400)
        .index_interval_bytes(0)
        .flush_messages(5)
        .flush_interval(Duration::from_secs(60))
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

/// Calls the log from every event, but not from the events of its own calls.
#[derive(Debug, Default)]
struct Caller {
    log: OnceLock<Log>,
    calling: AtomicBool,
    seen: Mutex<Vec<String>>,
}

impl Listener for Caller {
    fn on_event(&self, event: &Event) {
        let Some(log) = self.log.get() else { return };
        if self.calling.swap(true, Ordering::SeqCst) {
            return;
        }
        let name = format!("{event:?}");
        self.seen.lock().unwrap().push(name.split([' ', '(']).next().unwrap().to_owned());
        let call = || -> Result<()> {
            log.append("from a listener")?;
            log.flush()?;
            log.roll()?;
            log.stats()?;
            read_all(log);
            log.truncate_to(log.offsets().end - 1)?;
            log.append("again")?;
            Ok(())
        };
        match call() {
            Ok(()) | Err(Error::Closed { .. }) => {}
            Err(error) => panic!("{event:?}: {error}"),
        }
        self.calling.store(false, Ordering::SeqCst);
    }
}

/// Calls a store, its logs and its groups from every event, but not from the events of its own
/// calls.
#[derive(Debug, Default)]
struct StoreCaller {
    store: Mutex<Option<Store>>,
    closes: bool,
    calling: AtomicBool,
    calls: AtomicU64,
    seen: Mutex<BTreeSet<String>>,
}

impl StoreCaller {
    fn call(&self, store: &Store) -> Result<()> {
        if self.closes {
            return store.close();
        }
        let name = format!("within-{}", self.calls.fetch_add(1, Ordering::SeqCst));
        let topic = store.create_topic(&name, TopicConfig::default().partitions(5))?;
        topic.partition(4)?.append("from a listener")?;
        store.add_partitions(&name, 6)?;
        store.alter_topic(&name, topic.config().retention_age(Duration::from_secs(60)))?;
        let at = TopicPartition::new(name.as_str(), 5);
        store.admin().alter_offsets("within", [(at, 0.into())].into())?;
        store.admin().list_groups()?;
        store.new_producer_id()?;
        store.flush()?;
        let orders = store.topic("orders")?;
        orders.partition(0)?.append("from a listener")?;
        orders.partition(0)?.flush()?;
        store.admin().describe_topic("orders")?;
        store.delete_topic(&name)
    }
}

impl Listener for StoreCaller {
    fn on_event(&self, event: &Event) {
        let Some(store) = self.store.lock().unwrap().clone() else { return };
        if self.calling.swap(true, Ordering::SeqCst) {
            return;
        }
        let name = format!("{event:?}");
        self.seen.lock().unwrap().insert(name.split([' ', '(']).next().unwrap().to_owned());
        // The disk is full meanwhile, or the topic or the store is gone: the test is that the call
        // returns.
        self.call(&store).ok();
        self.calling.store(false, Ordering::SeqCst);
    }
}

/// A store with a full log, a damaged one and some groups, whose disk fails in places.
fn store_that_reports(closes: bool) -> (Store, Arc<StoreCaller>) {
    let memory = MemFs::new();
    let config = || {
        let groups = GroupCoordinatorConfig::default().offsets_partitions(2);
        StoreConfig::default().maintenance(None).group_coordinator(groups)
    };
    let store = Store::open("data", config().fs(memory.clone())).unwrap();
    for name in ["orders", "damaged", "doomed"] {
        let topic = store.create_topic(name, TopicConfig::default().partitions(6)).unwrap();
        for log in topic.partitions().iter() {
            log.append_all(["a", "b"].map(Into::into)).unwrap();
            log.roll().unwrap();
            log.append("c").unwrap();
        }
    }
    store.close().unwrap();
    let segment = "00000000000000000000.log";
    let bytes = support::read_file(&memory, "data/damaged-0", segment);
    memory.remove(&std::path::Path::new("data/damaged-0").join(segment)).unwrap();
    write_file(&memory, "data/damaged-0", segment, &bytes[..bytes.len() - 1]);

    let fs = FaultFs::new(memory);
    let caller = Arc::new(StoreCaller { closes, ..StoreCaller::default() });
    let log = LogConfig::default().flush_messages(1).fs(fs.clone()).listener(caller.clone());
    let store = Store::open("data", config().log_defaults(log)).unwrap();
    *caller.store.lock().unwrap() = Some(store.clone());
    let full = Fault::Error(ErrorKind::StorageFull);
    fs.add_rule(Rule::any(full).path("recovery-point-offset-checkpoint"));
    let denied = Fault::Error(ErrorKind::PermissionDenied);
    fs.add_rule(Rule::new(Operation::Remove, denied).path("doomed"));
    (store, caller)
}

/// Events of a store come from calls that hold its locks, and from several threads that work for
/// one such call.
#[test]
fn listener_may_call_store_anytime() {
    type Call = fn(&Store) -> Result<()>;
    let calls: [(&str, Call); 8] = [
        ("create_topic", |store| {
            store.create_topic("new", TopicConfig::default().partitions(6)).map(drop)
        }),
        ("add_partitions", |store| store.add_partitions("orders", 12)),
        ("alter_topic", |store| {
            store.alter_topic(
                "orders",
                TopicConfig::default().retention_age(Duration::from_millis(1)),
            )
        }),
        ("delete_topic", |store| store.delete_topic("doomed")),
        ("reopen_partition", |store| {
            store.reopen_partition("damaged", 0, OnCorruption::Quarantine).map(drop)
        }),
        ("commit", |store| {
            let at = TopicPartition::new("orders", 0);
            store.admin().alter_offsets("group", [(at, 1.into())].into())
        }),
        ("poll", |store| {
            let mut consumer = store.consumer(ConsumerConfig::new("group"))?;
            consumer.subscribe(["orders"])?;
            consumer.poll(Duration::ZERO)?;
            consumer.close()
        }),
        ("close", |store| store.close()),
    ];
    for closes in [false, true] {
        for (what, call) in calls {
            let (store, caller) = store_that_reports(closes);
            in_time(what, move || call(&store).map_err(|error| error.to_string()).err());
            let seen = caller.seen.lock().unwrap();
            // There is nothing to say of other settings.
            assert_eq!(
                seen.is_empty(),
                what == "alter_topic",
                "{what}, closes: {closes}: {seen:?}"
            );
            drop(seen);
            *caller.store.lock().unwrap() = None;
        }
    }
}

#[test]
fn listener_may_call_log_anytime() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let plain = || LogConfig::default().segment_bytes(400).index_interval_bytes(0);
    let log = Log::open(DIR, plain().fs(memory.clone())).unwrap();
    for n in 0..20 {
        log.append(format!("{n}-{}", "v".repeat(60))).unwrap();
    }
    log.close().unwrap();
    for name in files(&memory, DIR).into_keys().filter(|name| name.ends_with(".index")) {
        write_file(&memory, DIR, &name, b"garbage");
    }
    let caller = Arc::new(Caller::default());
    let log = Log::open(DIR, plain().fs(fs.clone()).listener(caller.clone())).unwrap();
    caller.log.set(log.clone()).unwrap();
    type Call = fn(&Log) -> Result<()>;
    let calls: [(&str, Call); 9] = [
        ("get", |log| log.get(0).map(drop)),
        ("offset_for_time", |log| log.offset_for_time(Timestamp::from_millis(0)).map(drop)),
        ("append", |log| (0..9).try_for_each(|_| log.append("x".repeat(90)).map(drop))),
        ("flush", |log| log.flush().map(drop)),
        ("roll", Log::roll),
        ("truncate into an old segment", |log| log.truncate_to(13)),
        ("append", |log| log.append("x").map(drop)),
        ("truncate further", |log| log.truncate_to(6)),
        ("close", |log| log.clone().close()),
    ];
    fs.add_rule(
        Rule::new(Operation::Remove, Fault::Error(ErrorKind::PermissionDenied)).path("index"),
    );
    // And space for an index that has to be rebuilt.
    fs.add_rule(
        Rule::new(Operation::CreateNew, Fault::Error(ErrorKind::StorageFull))
            .path("index.tmp")
            .nth(1),
    );
    for (what, call) in calls {
        let log = log.clone();
        in_time(what, move || call(&log)).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let seen = caller.seen.lock().unwrap();
    for event in ["SegmentRolled", "Flushed", "IndexRebuilt", "Truncated", "CleanupFailed"] {
        assert!(seen.iter().any(|name| name == event), "no {event} in {seen:?}");
    }
}

/// Calls the log from each of its events, but not from those of these calls.
#[derive(Debug, Default)]
struct Table {
    log: OnceLock<Log>,
    calling: AtomicBool,
    seen: Mutex<Vec<String>>,
}

impl Listener for Table {
    fn on_event(&self, event: &Event) {
        let Some(log) = self.log.get() else { return };
        let rolled = matches!(event, Event::SegmentRolled { .. });
        if rolled || self.calling.swap(true, Ordering::SeqCst) {
            return;
        }
        let name = format!("{event:?}");
        self.seen.lock().unwrap().push(name.split([' ', '(']).next().unwrap().to_owned());
        let call = || -> Result<()> {
            drop(log.pause_maintenance());
            log.append(Record::new("from a listener").key("k"))?;
            log.roll()?;
            log.maintain()?;
            log.compact()?;
            log.delete_before(log.offsets().start + 1)?;
            log.truncate_to(log.offsets().end)
        };
        match call() {
            Ok(()) | Err(Error::Closed { .. }) => {}
            Err(error) => panic!("{event:?}: {error}"),
        }
        self.calling.store(false, Ordering::SeqCst);
    }
}

#[test]
fn listener_may_call_log_during_compaction() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let plain = || {
        let config = LogConfig::default().segment_bytes(400).index_interval_bytes(0);
        config.cleanup_policy(CleanupPolicy::CompactAndDelete).min_cleanable_dirty_ratio(0.0)
    };
    let fill = |log: &Log| {
        for n in 0..30 {
            log.append(Record::new("v".repeat(60)).key(format!("{}", n % 3))).unwrap();
        }
    };
    let log = Log::open(DIR, plain().fs(memory.clone())).unwrap();
    fill(&log);
    log.close().unwrap();
    for name in files(&memory, DIR).into_keys().filter(|name| name.ends_with(".index")) {
        write_file(&memory, DIR, &name, b"garbage");
    }
    let caller = Arc::new(Table::default());
    let log = Log::open(DIR, plain().fs(fs.clone()).listener(caller.clone())).unwrap();
    caller.log.set(log.clone()).unwrap();
    let denied = Fault::Error(ErrorKind::PermissionDenied);
    fs.add_rule(Rule::new(Operation::Remove, denied).path(".deleted").nth(1));
    for maintain in [false, true, true] {
        let log = log.clone();
        in_time("compaction", move || {
            fill(&log);
            let done = if maintain { log.maintain().map(drop) } else { log.compact().map(drop) };
            done.unwrap();
        });
    }
    let seen = caller.seen.lock().unwrap();
    for event in ["Flushed", "IndexRebuilt", "Compacted", "CleanupFailed"] {
        assert!(seen.iter().any(|name| name == event), "no {event} in {seen:?}");
    }
    drop(seen);
    log.close().unwrap();
}

#[test]
fn listener_may_call_read_only_log() {
    #[derive(Debug, Default)]
    struct Reads(OnceLock<Log>, AtomicBool, AtomicU64);
    impl Listener for Reads {
        fn on_event(&self, _: &Event) {
            let Some(log) = self.0.get() else { return };
            if !self.1.swap(true, Ordering::SeqCst) {
                read_all(log);
                self.2.fetch_add(1, Ordering::SeqCst);
                self.1.store(false, Ordering::SeqCst);
            }
        }
    }
    let memory = MemFs::new();
    let config = || LogConfig::default().fs(memory.clone());
    let log = Log::open(DIR, config()).unwrap();
    log.append("one").unwrap();
    log.flush().unwrap();
    let listener = Arc::new(Reads::default());
    let reading = Log::open_read_only(DIR, config().listener(listener.clone())).unwrap();
    listener.0.set(reading.clone()).unwrap();
    log.roll().unwrap();
    log.append("two").unwrap();
    write_file(&memory, DIR, "recovery-point-offset-checkpoint", b"garbage");
    let found = in_time("read", move || read_all(&reading).len());
    assert_eq!(found, 2);
    assert!(listener.2.load(Ordering::SeqCst) > 0, "no event");
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

#[test]
fn listener_may_flush_when_cleanup_failed() {
    #[derive(Debug, Default)]
    struct Flushes(OnceLock<Log>, AtomicU64);
    impl Listener for Flushes {
        fn on_event(&self, event: &Event) {
            if let Event::CleanupFailed { .. } = event {
                let log = self.0.get().unwrap();
                log.append("more").unwrap();
                log.flush().unwrap();
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    let fs = FaultFs::new(MemFs::new());
    let listener = Arc::new(Flushes::default());
    let config = LogConfig::default().fs(fs.clone()).listener(listener.clone());
    let log = Log::open(DIR, config).unwrap();
    listener.0.set(log.clone()).unwrap();
    log.append("x").unwrap();
    log.roll().unwrap();
    fs.add_rule(
        Rule::new(Operation::Rename, Fault::Error(ErrorKind::StorageFull)).path("point").nth(1),
    );
    fs.add_rule(Rule::new(Operation::Remove, Fault::Error(ErrorKind::PermissionDenied)).nth(1));
    in_time("flush", move || log.flush()).unwrap();
    assert_eq!(listener.1.load(Ordering::SeqCst), 1);
}

/// Calls the log in every way that takes a lock, each time it is woken.
#[cfg(feature = "futures")]
struct Calling(Log, AtomicU64);

#[cfg(feature = "futures")]
impl std::task::Wake for Calling {
    fn wake(self: Arc<Self>) {
        let log = &self.0;
        drop(log.pause_maintenance());
        // Closed or not, neither may hang.
        drop(log.append(Record::new("woken").key("k")));
        drop(log.delete_before(0));
        drop(log.flush());
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// A compaction, a deletion and a close sync and wake waiting tasks. They did so while they held
/// the locks of all three.
#[test]
#[cfg(feature = "futures")]
fn waker_may_call_log() {
    for case in ["compact", "delete", "truncate", "close", "flush"] {
        in_time(case, move || {
            let fs = FaultFs::new(MemFs::new());
            let config = config(fs.clone()).cleanup_policy(CleanupPolicy::CompactAndDelete);
            let log = Log::open(DIR, config.flush_messages(u64::MAX)).unwrap();
            for n in 0..20 {
                log.append(Record::new(vec![b'v'; 100]).key(format!("{}", n % 3))).unwrap();
            }
            let calling = Arc::new(Calling(log.clone(), AtomicU64::new(0)));
            let waker = Arc::clone(&calling).into();
            let mut context = std::task::Context::from_waker(&waker);
            let mut tail = Box::pin(log.tail(log.offsets().end).unwrap());
            assert!(tail.as_mut().poll_next(&mut context).is_pending());
            // A task that starts to wait in the middle of a sync is woken by the leader of that
            // sync, unless only the thread for tasks wakes tasks.
            let durable = Mutex::new(Some(Box::pin(log.flush_async())));
            let task = std::task::Waker::from(Arc::clone(&calling));
            fs.add_rule(Rule::any(Fault::call(move |call| {
                let is_ours = std::thread::current().name() != Some("annals-sync");
                if call.operation == Operation::SyncData
                    && is_ours
                    && let Some(mut durable) = durable.lock().unwrap().take()
                {
                    let mut context = std::task::Context::from_waker(&task);
                    assert!(durable.as_mut().poll(&mut context).is_pending());
                    // Dropped, it would be forgotten.
                    std::mem::forget(durable);
                }
            })));
            match case {
                "compact" => drop(log.compact().unwrap()),
                "delete" => drop(log.delete_before(5).unwrap()),
                "truncate" => log.truncate_to(5).unwrap(),
                "close" => log.clone().close().unwrap(),
                _ => drop(log.flush().unwrap()),
            }
            while calling.1.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        });
    }
}

/// Calls the store in ways that take its locks, each time it is woken.
#[cfg(feature = "futures")]
struct CallingStore(Store, AtomicU64);

#[cfg(feature = "futures")]
impl std::task::Wake for CallingStore {
    fn wake(self: Arc<Self>) {
        let store = &self.0;
        // Closed or not, none may hang.
        let name = format!("new-{}", self.1.load(Ordering::SeqCst));
        drop(store.create_topic(&name, TopicConfig::default()));
        drop(store.admin().list_groups());
        drop(store.flush());
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// A log that closes wakes the tasks at its end, and a commit wakes those at the end of its topic.
/// An executor may run a task on the spot, and the locks of the store and of the groups were held.
#[test]
#[cfg(feature = "futures")]
fn waker_may_call_store_anytime() {
    for case in ["close", "delete_topic", "commit"] {
        for threads in [1, 4] {
            in_time(case, move || {
                let config = StoreConfig::default().fs(MemFs::new()).maintenance(None);
                let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
                let config = config.recovery_threads(threads).group_coordinator(groups);
                let store = Store::open("data", config).unwrap();
                let topic = store.create_topic("t", TopicConfig::default().partitions(8)).unwrap();
                let commit = |store: &Store| {
                    let offsets = [(TopicPartition::new("t", 0), 0.into())];
                    store.admin().alter_offsets("g", offsets.into_iter().collect()).unwrap();
                };
                commit(&store);
                let calling = Arc::new(CallingStore(store.clone(), AtomicU64::new(0)));
                let waker = Arc::clone(&calling).into();
                let mut context = std::task::Context::from_waker(&waker);
                let offsets = store.topic("__consumer_offsets").unwrap().partition(0).unwrap();
                let logs = topic.partitions().iter().cloned().chain([offsets]).collect::<Vec<_>>();
                let mut waiting = Vec::new();
                for log in &logs {
                    let mut tail = Box::pin(log.tail(log.offsets().end).unwrap());
                    assert!(tail.as_mut().poll_next(&mut context).is_pending());
                    waiting.push(tail);
                }
                match case {
                    "close" => store.close().unwrap(),
                    "delete_topic" => store.delete_topic("t").unwrap(),
                    _ => commit(&store),
                }
                assert!(calling.1.load(Ordering::SeqCst) > 0);
            });
        }
    }
}

/// A buffer of a thread, as a program may keep it: what is left is appended when the thread ends.
struct AppendsWhenDropped(Log);

impl Drop for AppendsWhenDropped {
    fn drop(&mut self) {
        self.0.append("last").unwrap();
    }
}

thread_local! {
    static LEFT: std::cell::RefCell<Option<AppendsWhenDropped>> = const { std::cell::RefCell::new(None) };
}

/// The log held its events back in a thread-local that was destroyed before the program's own: the
/// append panicked in a destructor, and the process was aborted.
#[test]
fn append_succeeds_while_thread_locals_are_destroyed() {
    let heard = Arc::new(Heard::default());
    let config = LogConfig::default().fs(MemFs::new()).flush_messages(1).listener(heard.clone());
    let log = Log::open(DIR, config).unwrap();
    let theirs = log.clone();
    let thread = std::thread::spawn(move || {
        LEFT.set(Some(AppendsWhenDropped(theirs.clone())));
        theirs.append("first").unwrap();
        theirs.flush().unwrap();
    });
    thread.join().unwrap();
    assert_eq!(log.offsets().end, 2);
    assert!(heard.0.lock().unwrap().len() >= 2);
}
