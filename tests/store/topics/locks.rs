//! One writer a directory: a log and a store exclude each other.

use super::open;
use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    ErrorKind, Log, LogConfig, MaintainerConfig, ManualClock, Store, StoreConfig, Timestamp,
    TopicConfig,
};
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::files;

/// The store has no lock beside the segments, and a log by itself none above: each asks for the
/// other's.
#[test]
fn log_and_store_exclude_each_other() {
    let fs = MemFs::new();
    let alone = || Log::open("data/orders-0", LogConfig::default().fs(fs.clone()));
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    topic.partition(0).unwrap().append_all((0..10).map(|n| format!("{n}").into())).unwrap();
    assert_eq!(alone().unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(open(&fs).unwrap_err().kind(), ErrorKind::Busy);
    store.close().unwrap();

    let log = alone().unwrap();
    assert_eq!(open(&fs).unwrap_err().kind(), ErrorKind::Busy);
    log.truncate_to(8).unwrap();
    log.delete_before(3).unwrap();
    log.close().unwrap();

    let store = open(&fs).unwrap();
    let offsets = store.topic("orders").unwrap().partition(0).unwrap().offsets();
    assert_eq!((offsets.start, offsets.end), (3, 8));
    let left: Vec<_> = files(&fs, "data/orders-0").into_keys().collect();
    assert!(
        !left.iter().any(|name| name.contains("checkpoint") || name.starts_with('.')),
        "{left:?}"
    );
    drop(store);
    let store = open(&fs.crash(CrashState::SyncedOnly)).unwrap();
    let offsets = store.topic("orders").unwrap().partition(0).unwrap().offsets();
    assert_eq!((offsets.start, offsets.end), (3, 8));
}

/// A process that checks whether a lock is free holds it for a moment, and another process that
/// checks then finds it taken.
#[test]
fn briefly_held_lock_is_retried() {
    let disk = MemFs::new();
    let store = open(&disk).unwrap();
    store.create_topic("orders", TopicConfig::default()).unwrap();
    store.close().unwrap();
    // The lock file of the store, then its directory, then that of the log.
    for (operation, nth) in [(Operation::Lock, 1), (Operation::LockDir, 1), (Operation::LockDir, 2)]
    {
        let fs = FaultFs::new(disk.clone());
        let taken = Fault::Error(io::ErrorKind::WouldBlock);
        let rule = fs.add_rule(Rule::new(operation, taken).nth(nth));
        Log::open("data/orders-0", LogConfig::default().fs(fs.clone())).unwrap().close().unwrap();
        assert_eq!(fs.hit_count(rule), 1);
    }
}

/// A store whose maintainer is in the middle of a pass, and the end that lets the pass go on.
fn store_in_pass(fs: &FaultFs) -> (Store, Sender<()>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let config = StoreConfig::default().fs(fs.clone()).clock(Arc::clone(&clock) as _);
    let often = MaintainerConfig::default().interval(Duration::from_secs(1));
    let config = config.maintenance(Some(often));
    let store = Store::open("data", config).unwrap();
    let short = LogConfig::default().retention_age(Duration::from_secs(60));
    let topic = store.create_topic("orders", TopicConfig::default().log(short)).unwrap();
    let log = topic.partition(0).unwrap();
    log.append("old").unwrap();
    log.roll().unwrap();
    let (entered, is_entered) = channel();
    let (leave, may_leave) = channel::<()>();
    let may_leave = Mutex::new(may_leave);
    let pause = Fault::call(move |_| {
        entered.send(()).unwrap();
        may_leave.lock().unwrap().recv().ok();
    });
    // The pass deletes the segment.
    fs.add_rule(Rule::new(Operation::Remove, pause).path("orders-0").nth(1));
    clock.advance(Duration::from_secs(120));
    is_entered.recv().unwrap();
    (store, leave)
}

/// A thread of the maintainer holds a log for the time of its pass, and with it the lock.
#[test]
fn dropped_store_can_be_opened_at_once() {
    let fs = FaultFs::new(MemFs::new());
    let (store, leave) = store_in_pass(&fs);
    let (opened, is_opened) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(store);
            opened.send(Store::open("data", StoreConfig::default().fs(fs.clone()))).unwrap();
        });
        // Without the wait, the directory would be found locked here.
        let early = is_opened.recv_timeout(Duration::from_millis(100));
        drop(leave);
        early.or_else(|_| is_opened.recv()).unwrap().unwrap().close().unwrap();
    });
}

/// A listener may wait for a lock of the thread that drops the store. A drop that waited for the
/// pass to end would never return.
#[test]
fn drop_returns_although_pass_stands_still() {
    let fs = FaultFs::new(MemFs::new());
    let (store, leave) = store_in_pass(&fs);
    drop(store);
    let config = || StoreConfig::default().fs(fs.clone());
    assert_eq!(Store::open("data", config()).unwrap_err().kind(), ErrorKind::Busy);
    drop(leave);
    support::until(|| Store::open("data", config()).is_ok());
}

/// The lexical parent of `.` is `.` again: the log took its own lock for that of a store.
#[test]
fn log_opens_in_current_directory() {
    for dir in [".", "/"] {
        let fs = MemFs::new();
        let log = Log::open(dir, LogConfig::default().fs(fs.clone())).unwrap();
        log.append("x").unwrap();
        log.close().unwrap();
        assert_eq!(Log::open(dir, LogConfig::default().fs(fs)).unwrap().offsets().end, 1);
    }
}
