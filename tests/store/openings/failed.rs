//! An opening that fails loses nothing that the next one needs.

use super::{MARK, closed_store, config, is_clean, mkdir, open, plain};
use crate::topic_error;
use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    Error, Log, LogConfig, OfflinePartitions, OnCorruption, Store, StoreConfig, TopicError,
};
use std::io;
use std::path::Path;
use support::{name, names, read_file, write_file};

/// The facts that the next opening knows about a directory: which logs were closed in order, and
/// that a topic is gone.
fn check_knows_all(fs: &MemFs, at: &str) {
    assert!(is_clean(fs), "{at}");
    let gone = fs.kill();
    for number in 0..3 {
        let dir = format!("d/orders-{number}");
        gone.rename_dir(Path::new(&dir), Path::new(&format!("away-{number}"))).unwrap();
    }
    let error = open(&gone).map(|store| store.topics().len()).expect_err(at);
    assert!(matches!(topic_error(error), TopicError::Missing { .. }), "{at}");
    let fs = fs.kill();
    fs.remove(&Path::new("d/orders-1").join(name(0, "log"))).unwrap();
    assert!(Store::open("d", config(fs).offline_partitions(OfflinePartitions::Never)).is_err());
}

/// A store that did not open for a photo in a directory `backup-2024` had used the mark of a clean
/// shutdown up: the next opening read all logs, and did not notice that a topic was gone.
#[test]
fn rejected_opening_keeps_shutdown_marker() {
    let fs = closed_store();
    mkdir(&fs, "d/backup-2024");
    write_file(&fs, "d/backup-2024", "photo.jpg", b"x");
    let mark = read_file(&fs, "d", MARK);
    for _ in 0..2 {
        assert!(matches!(open(&fs).unwrap_err(), Error::NotALog { .. }));
        assert_eq!(read_file(&fs, "d", MARK), mark);
    }
    fs.remove(Path::new("d/backup-2024/photo.jpg")).unwrap();
    fs.remove_dir(Path::new("d/backup-2024")).unwrap();
    check_knows_all(&fs, "after a refusal");
}

/// Whichever call of an opening fails, and in whatever way, the next opening knows what this one
/// knew.
#[test]
fn failed_store_opening_keeps_knowledge() {
    let faults = [Fault::Error(io::ErrorKind::Other), Fault::Errno(24)];
    for (fault, config_of) in faults.iter().flat_map(|fault| {
        let ways: [fn(&FaultFs) -> StoreConfig; 3] = [
            |fs| config(fs.clone()).offline_partitions(OfflinePartitions::Never),
            |fs| config(fs.clone()),
            |fs| {
                let log = LogConfig::default().preallocate(true);
                let config = StoreConfig::default().log_defaults(log).fs(fs.clone());
                config.maintenance(None).recovery_threads(2)
            },
        ];
        ways.map(|way| (fault, way))
    }) {
        let (closed, mut failed) = (closed_store(), 0);
        for nth in 1.. {
            let disk = closed.kill();
            let fs = FaultFs::new(disk.clone());
            let rule = fs.add_rule(Rule::any(fault.clone()).nth(nth));
            let opened = Store::open("d", config_of(&fs));
            if fs.hit_count(rule) == 0 {
                break;
            }
            let at = format!("call {nth} failed with {fault:?}: {:?}", fs.trace().last());
            match opened {
                Ok(store) => store.close().unwrap_or_else(|error| panic!("{at}: {error}")),
                Err(_) => failed += 1,
            }
            check_knows_all(&disk, &at);
        }
        assert!(failed > 20, "{failed} calls failed");
    }
}

/// The same where the disk fails from then on, until the logs are open.
#[test]
fn marker_stays_when_descriptors_run_out() {
    let closed = closed_store();
    for nth in 1.. {
        let disk = closed.kill();
        let fs = FaultFs::new(disk.clone());
        let rule = fs.add_rule(
            Rule::new(Operation::Open, Fault::Errno(24))
                .or(Operation::CreateNew)
                .or(Operation::HoldDir)
                .or(Operation::List)
                .from_nth(nth),
        );
        let opened = Store::open("d", config(fs.clone()));
        if fs.hit_count(rule) == 0 {
            break;
        }
        if opened.is_err() && fs.count(Operation::Remove) == 0 {
            drop(opened);
            check_knows_all(&disk, &format!("from call {nth} on"));
        }
    }
}

/// A log by itself has a mark of its own, or that of its store.
#[test]
fn failed_log_opening_keeps_knowledge() {
    for (dir, preallocate) in [("d/orders-1", false), ("plain", false), ("plain", true)] {
        let (closed, mut failed) = (closed_store(), 0);
        let log = Log::open("plain", plain(&closed)).unwrap();
        log.append("a").unwrap();
        log.close().unwrap();
        for nth in 1.. {
            // The machine was started again since.
            let disk = closed.crash(CrashState::AllWrites);
            let fs = FaultFs::new(disk.clone());
            let rule = fs.add_rule(Rule::any(Fault::Error(io::ErrorKind::Other)).nth(nth));
            let opened = Log::open(
                dir,
                LogConfig::default().fs(fs.clone()).preallocate(preallocate).segment_bytes(4096),
            );
            if fs.hit_count(rule) == 0 {
                break;
            }
            let at = format!("{dir}: call {nth}: {:?}", fs.trace().last());
            match opened {
                Ok(log) => log.close().unwrap(),
                Err(_) => failed += 1,
            }
            let again = Log::open(dir, plain(&disk.kill())).unwrap();
            assert!(again.recovery().clean_shutdown, "{at}");
            check_knows_all(&disk, &at);
        }
        assert!(failed > 15, "{dir}: {failed} calls failed");
    }
}

/// Without another partition that has the id, one that could not be read for a moment was replaced
/// by a new one.
#[test]
fn unreadable_id_is_not_replaced() {
    let before = |fs: &MemFs| read_file(fs, "d/users-0", "partition.metadata");
    let mut offline = 0;
    for nth in 1.. {
        let disk = closed_store();
        let id = before(&disk);
        let fs = FaultFs::new(disk.clone());
        let fault = Fault::Error(io::ErrorKind::Other);
        let rule = fs.add_rule(Rule::any(fault).path("partition.metadata").nth(nth));
        let store = Store::open("d", config(fs.clone())).unwrap();
        if fs.hit_count(rule) == 0 {
            break;
        }
        let users = store.topic("users").unwrap();
        if !users.unavailable_partitions().is_empty() {
            offline += 1;
            store.reopen_partition("users", 0, OnCorruption::Fail).unwrap();
        }
        assert!(String::from_utf8(id.clone()).unwrap().contains(&users.id().to_string()));
        store.close().unwrap();
        assert_eq!(before(&disk), id, "call {nth}");
    }
    assert!(offline > 0);
    // A topic of which one partition has the id, and that one is damaged.
    let fs = closed_store();
    for number in 0..3 {
        fs.remove(Path::new(&format!("d/orders-{number}/partition.metadata"))).unwrap();
    }
    write_file(&fs, "d/orders-1", "partition.metadata", b"version: 0\ntopic_id: x");
    let store = open(&fs).unwrap();
    assert_eq!(store.topic("orders").unwrap().unavailable_partitions().len(), 3);
    store.add_partitions("orders", 4).unwrap_err();
    assert!(!names(&fs, "d/orders-0").contains(&"partition.metadata".to_owned()));
}
