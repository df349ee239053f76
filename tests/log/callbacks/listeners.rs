//! A listener that calls the log or the store from inside an event.

use super::in_time;
use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, ConsumerConfig, Error, Event, GroupCoordinatorConfig, Listener, Log, LogConfig,
    OnCorruption, Record, Result, Store, StoreConfig, Timestamp, TopicConfig, TopicPartition,
};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use support::{DIR, files, read_all, write_file};

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
