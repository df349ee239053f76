//! Syncs that fail or take long: which flushes fail, and what a close and an opening do then.

use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{Error, Log, LogConfig};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use support::{DIR, read_all};

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
