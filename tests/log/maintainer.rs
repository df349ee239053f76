//! Threads that maintain logs: their work, its order, and how they end.

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Clock, ErrorKind, Event, Listener, Log, LogConfig, Maintainer, MaintainerConfig,
    MaintainerStats, Record, Timestamp,
};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use support::{T0, files, read_all};

/// Long enough for any machine; nothing waits for it unless something is broken.
const PATIENCE: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3600);

/// Sends events on, with the name of their log.
#[derive(Debug)]
struct Wire(&'static str, Mutex<Sender<(&'static str, Event)>>);

impl Listener for Wire {
    fn on_event(&self, event: &Event) {
        // At the end of a test the receiver is gone.
        self.1.lock().unwrap().send((self.0, event.clone())).ok();
    }
}

struct Events {
    sender: Sender<(&'static str, Event)>,
    heard: Receiver<(&'static str, Event)>,
}

impl Events {
    fn new() -> Events {
        let (sender, heard) = channel();
        Events { sender, heard }
    }

    fn of(&self, name: &'static str) -> Arc<Wire> {
        Arc::new(Wire(name, Mutex::new(self.sender.clone())))
    }

    /// The next event that is wanted, and the log it is of.
    fn next(&self, wanted: impl Fn(&Event) -> bool) -> (&'static str, Event) {
        loop {
            let (name, event) = self.heard.recv_timeout(PATIENCE).expect("nothing happens");
            if wanted(&event) {
                return (name, event);
            }
        }
    }
}

fn is_compacted(event: &Event) -> bool {
    matches!(event, Event::Compacted(_))
}

/// Never begins a round by itself within a test.
fn rare() -> MaintainerConfig {
    MaintainerConfig::default().interval(HOUR)
}

fn compacted() -> LogConfig {
    LogConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(4096)
}

/// Closed segments of which `dirty` batches of the same ten keys are not compacted.
fn fill(log: &Log, batches: u64) {
    for n in 0..batches {
        let record = |key: u64| Record::new(format!("{n}")).key(format!("key {key}"));
        log.append_all((0..10).map(record)).unwrap();
    }
    log.roll().unwrap();
}

#[test]
fn maintainer_compacts_deletes_and_reports() {
    let events = Events::new();
    let maintainer = Maintainer::new(rare()).unwrap();
    let fs = MemFs::new();
    let clock = support::clock();
    let open = |name: &'static str, config: LogConfig| {
        let config = config.fs(fs.clone()).clock(clock.clone()).listener(events.of(name));
        Log::open(name, config.maintainer(&maintainer)).unwrap()
    };
    let table = open("table-0", compacted());
    let feed = open("feed-0", LogConfig::default().retention_age(HOUR));
    fill(&table, 30);
    feed.append(Record::new("old").timestamp(Timestamp::from_millis(T0))).unwrap();
    feed.roll().unwrap();
    feed.append(Record::new("new").timestamp(Timestamp::from_millis(T0 + 7_200_000))).unwrap();
    clock.advance(HOUR * 2);
    maintainer.run_now();
    let mut left = vec!["table-0", "feed-0"];
    while !left.is_empty() {
        let done =
            |event: &Event| is_compacted(event) || matches!(event, Event::LogStartMoved { .. });
        let (name, _) = events.next(done);
        left.retain(|other| *other != name);
    }
    assert_eq!(read_all(&table).len(), 10);
    assert_eq!(feed.offsets().start, 1);
    let stats = maintainer.stats();
    assert_eq!((stats.logs, stats.failures), (2, 0));
    assert!(stats.passes >= 2 && stats.bytes > 0, "{stats:?}");
}

#[test]
fn maintainer_takes_deletions_then_dirtiest() {
    let events = Events::new();
    let maintainer = Maintainer::new(rare()).unwrap();
    let fs = MemFs::new();
    let clock = support::clock();
    let open = |name: &'static str, config: LogConfig| {
        let config = config.fs(fs.clone()).clock(clock.clone()).listener(events.of(name));
        Log::open(name, config).unwrap()
    };
    let names = ["half-0", "all-0", "most-0"];
    let logs = names.map(|name| open(name, compacted().min_cleanable_dirty_ratio(0.0)));
    let feed = open("feed-0", LogConfig::default().retention_bytes(1));
    for (log, clean) in logs.iter().zip([40, 0, 10]) {
        for n in 0..clean * 10 {
            log.append(Record::new("once").key(format!("{n}"))).unwrap();
        }
        log.roll().unwrap();
        log.compact().unwrap();
        fill(log, 20);
    }
    fill(&feed, 2);
    fill(&feed, 2);
    while events.heard.try_recv().is_ok() {}
    // All are added before the one thread gets to see the first of them.
    let (began, go) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let gate_fs = FaultFs::new(fs.clone());
    let config = LogConfig::default().fs(gate_fs.clone()).retention_bytes(1);
    let gate = Log::open("gate-0", config).unwrap();
    fill(&gate, 1);
    fill(&gate, 1);
    let (at, on, once) = (Arc::clone(&began), Arc::clone(&go), AtomicBool::new(true));
    gate_fs.add_rule(Rule::any(Fault::call(move |_| {
        if once.swap(false, Ordering::SeqCst) {
            at.wait();
            on.wait();
        }
    })));
    maintainer.add(&gate).unwrap();
    began.wait();
    for log in logs.iter().chain([&feed]) {
        maintainer.add(log).unwrap();
    }
    maintainer.add(&feed).unwrap();
    assert_eq!(maintainer.stats().logs, 5, "none twice");
    // A log that is added waits for its turn.
    for log in &logs {
        drop(log.pause_maintenance());
    }
    go.wait();
    let wanted =
        |event: &Event| is_compacted(event) || matches!(event, Event::LogStartMoved { .. });
    let mut first: Vec<_> = (0..4).map(|_| events.next(wanted).0).collect();
    first.sort_unstable();
    assert_eq!(first, ["all-0", "feed-0", "half-0", "most-0"]);
    // The first round goes through all once more, and finds nothing.
    let idle = |stats: MaintainerStats| stats.passes >= 10 && stats.waiting + stats.running == 0;
    support::until(|| idle(maintainer.stats()));
    // In the next round they are put in order.
    for (log, dirty) in logs.iter().zip([1, 60, 20]) {
        fill(log, dirty);
    }
    fill(&feed, 2);
    maintainer.run_now();
    let order: Vec<_> = (0..4).map(|_| events.next(wanted).0).collect();
    assert_eq!(order, ["feed-0", "all-0", "most-0", "half-0"]);
}

/// A clock that panics on demand.
#[derive(Debug, Default)]
struct Bomb(AtomicBool);

impl Clock for Bomb {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(Ordering::SeqCst), "the clock is broken");
        Timestamp::from_millis(T0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn pass_panic_stops_one_log_only() {
    let events = Events::new();
    let maintainer = Maintainer::new(rare()).unwrap();
    let fs = MemFs::new();
    let open = |name: &'static str, bomb: &Arc<Bomb>| {
        let config = compacted().fs(fs.clone()).clock(bomb.clone()).listener(events.of(name));
        Log::open(name, config.maintainer(&maintainer)).unwrap()
    };
    let bombs = [Arc::new(Bomb::default()), Arc::new(Bomb::default())];
    let broken = open("broken-0", &bombs[0]);
    let sound = open("sound-0", &bombs[1]);
    fill(&broken, 10);
    fill(&sound, 10);
    bombs[0].0.store(true, Ordering::SeqCst);
    maintainer.run_now();
    let marked = |event: &Event| matches!(event, Event::Uncleanable { .. });
    assert_eq!(events.next(marked).0, "broken-0");
    while read_all(&sound).len() > 10 {
        maintainer.run_now();
        events.next(is_compacted);
    }
    bombs[0].0.store(false, Ordering::SeqCst);
    fill(&broken, 1);
    assert_eq!(broken.maintain().unwrap().compaction.passes, 0, "it is marked");
    assert_eq!(broken.compact().unwrap().records_kept, 10, "compact() works on request");
    assert!(maintainer.stats().failures > 0);
    broken.close().unwrap();
}

#[test]
fn failed_pass_is_reported_and_retried() {
    let events = Events::new();
    let maintainer = Maintainer::new(rare()).unwrap();
    let fs = FaultFs::new(MemFs::new());
    let config = compacted().fs(fs.clone()).listener(events.of("t-0"));
    let log = Log::open("t-0", config).unwrap();
    fill(&log, 10);
    let full = Fault::Error(io::ErrorKind::StorageFull);
    let rule = fs.add_rule(Rule::new(Operation::Write, full).path(".cleaned"));
    maintainer.add(&log).unwrap();
    let failed = |event: &Event| matches!(event, Event::MaintenanceFailed { .. });
    events.next(failed);
    assert_eq!(read_all(&log).len(), 100);
    fs.remove_rule(rule);
    maintainer.run_now();
    events.next(is_compacted);
    assert_eq!(read_all(&log).len(), 10);
    let leftovers = files(&fs, "t-0").into_keys().filter(|name| name.ends_with(".cleaned"));
    assert_eq!(leftovers.count(), 0);
}

/// A maintainer that will not finish a pass in the lifetime of this machine, and a log in the
/// middle of one.
fn in_the_middle(fs: &MemFs) -> (Maintainer, Log) {
    let slow = rare().bytes_per_second(1);
    let maintainer = Maintainer::new(slow).unwrap();
    let log = Log::open("t-0", compacted().fs(fs.clone()).maintainer(&maintainer)).unwrap();
    fill(&log, 50);
    maintainer.run_now();
    support::until(|| maintainer.stats().bytes > 0);
    (maintainer, log)
}

/// Opens a log as soon as the running pass has noticed that the last handle to it is gone.
fn reopen(fs: &MemFs) -> Log {
    loop {
        match Log::open("t-0", compacted().fs(fs.clone())) {
            Err(error) if error.kind() == ErrorKind::Busy => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn changes_do_not_wait_for_pass() {
    for end in [
        (|log| log.close().unwrap()) as fn(Log),
        |log| {
            let pause = log.pause_maintenance();
            let nested = log.pause_maintenance();
            drop(pause);
            assert_eq!(log.maintain().unwrap().compaction.passes, 0);
            assert_eq!(log.compact().unwrap().passes, 0);
            drop(nested);
            assert_eq!(log.compact().unwrap().records_kept, 10);
        },
        |log| {
            log.truncate_to(200).unwrap();
            drop(log.pause_maintenance());
            assert_eq!(read_all(&log).len(), 200);
        },
    ] {
        let fs = MemFs::new();
        let (maintainer, log) = in_the_middle(&fs);
        end(log);
        drop(maintainer);
        let log = reopen(&fs);
        assert_eq!(log.verify().unwrap(), []);
    }
}

#[test]
fn last_handle_unlocks_directory_during_pass() {
    let fs = MemFs::new();
    let (maintainer, log) = in_the_middle(&fs);
    drop(log);
    assert_eq!(read_all(&reopen(&fs)).len(), 500);
    drop(maintainer);
}

#[test]
fn dropping_last_maintainer_ends_threads() {
    let fs = MemFs::new();
    let (maintainer, log) = in_the_middle(&fs);
    drop(maintainer);
    // The maintainer holds the last handle of the log, and continues without it once the log is
    // closed and gone.
    log.close().unwrap();
    let log = Log::open("t-0", compacted().fs(fs)).unwrap();
    assert_eq!(read_all(&log).len(), 500);
}

#[test]
fn many_threads_maintain_many_logs() {
    let events = Events::new();
    let maintainer = Maintainer::new(rare().threads(4)).unwrap();
    let fs = MemFs::new();
    let count = Arc::new(AtomicU64::new(0));
    let logs: Vec<_> = (0..100)
        .map(|n| {
            let config = compacted().fs(fs.clone()).listener(events.of("one"));
            let log = Log::open(format!("t-{n}"), config.maintainer(&maintainer)).unwrap();
            fill(&log, 5);
            log
        })
        .collect();
    maintainer.run_now();
    for log in &logs {
        while read_all(log).len() > 10 {
            maintainer.run_now();
            events.next(is_compacted);
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(maintainer.stats().logs, 100);
    let mut logs = logs;
    logs.drain(..50).for_each(|log| log.close().unwrap());
    logs.drain(..25);
    // A round that begins while a thread still holds a dropped log counts that log, too.
    support::until(|| {
        maintainer.run_now();
        maintainer.stats().logs == 25
    });
}

/// The last record is flushed in time although nothing more is appended.
#[test]
fn flush_interval_holds_when_appends_stop() {
    let (events, maintainer) = (Events::new(), Maintainer::new(rare()).unwrap());
    let config = LogConfig::default().fs(MemFs::new()).listener(events.of("a"));
    let config = config.flush_interval(Duration::from_millis(20));
    let log = Log::open("a-0", config.maintainer(&maintainer)).unwrap();
    for end in 1..4 {
        log.append("x").unwrap();
        // An append may find itself due to flush what is there.
        while log.offsets().durable < end {
            events.next(|event| matches!(event, Event::Flushed { .. }));
        }
    }
    drop(maintainer);
}

/// Without a thread, `maintain` does it.
#[test]
fn maintain_flushes_records_due_by_age() {
    let clock = Arc::new(annals::ManualClock::new(Timestamp::from_millis(T0)));
    let config = LogConfig::default().fs(MemFs::new()).clock(clock.clone());
    let log = Log::open("a-0", config.flush_interval(HOUR)).unwrap();
    log.append("x").unwrap();
    clock.advance(HOUR - Duration::from_secs(1));
    log.maintain().unwrap();
    assert_eq!(log.offsets().durable, 0);
    clock.advance(Duration::from_secs(1));
    log.maintain().unwrap();
    assert_eq!(log.offsets().durable, 1);
}

#[test]
fn invalid_options_are_named() {
    for (config, option) in [
        (rare().threads(0), "`threads` is 0,"),
        (rare().threads(65), "`threads` is 65,"),
        (rare().interval(Duration::ZERO), "`interval` is 0ns,"),
        (rare().bytes_per_second(0), "`bytes_per_second` is 0,"),
    ] {
        let error = Maintainer::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(option), "{error}");
    }
    let fs = MemFs::new();
    let log = Log::open("t-0", LogConfig::default().fs(fs.clone())).unwrap();
    let reading = Log::open_read_only("t-0", LogConfig::default().fs(fs)).unwrap();
    let maintainer = Maintainer::new(rare()).unwrap();
    assert_eq!(maintainer.add(&reading).unwrap_err().kind(), ErrorKind::ReadOnly);
    let handle = log.clone();
    log.close().unwrap();
    assert_eq!(maintainer.add(&handle).unwrap_err().kind(), ErrorKind::Closed);
}
