//! The reserve, a file that gives up its room when the disk is full.

use super::{Device, store_config};
use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{Store, TopicConfig};
use std::path::Path;
use std::sync::Arc;

/// On a full disk, an operator removed the reserve to make room. The next checkpoint write failed
/// because the file was missing, and poisoned the log.
#[test]
fn log_works_when_reserve_was_removed() {
    let disk = MemFs::new();
    let store = Store::open("data", store_config(Arc::new(disk.clone()))).unwrap();
    let log = store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    for _ in 0..3 {
        log.append("x").unwrap();
        log.roll().unwrap();
    }
    for number in 0..4 {
        let name = format!("data/.reserved-room-for-a-full-disk-{number}");
        disk.remove(Path::new(&name)).unwrap();
    }
    disk.fill();
    log.flush().unwrap();
    assert_eq!(log.delete_before(2).unwrap(), 2);
    store.close().unwrap();
    let store = Store::open("data", store_config(Arc::new(disk.kill()))).unwrap();
    assert_eq!(store.topic("t").unwrap().partition(0).unwrap().offsets().start, 2);
}

/// While a checkpoint was written into a file of the reserve, another log filled that file up
/// again: zeros followed the start of a log, without which its store does not open, or were
/// written over the first batches of a new segment.
#[test]
fn reserve_in_use_is_not_refilled() {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let store = Store::open("data", store_config(Arc::new(fs.clone()))).unwrap();
    let topic = store.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    let (log, other) = (topic.partition(0).unwrap(), topic.partition(1).unwrap());
    for _ in 0..3 {
        log.append("x").unwrap();
        log.roll().unwrap();
    }
    let full = Fault::Error(std::io::ErrorKind::StorageFull);
    fs.add_rule(Rule::new(Operation::CreateNew, full).path(".tmp"));
    // Deletes nothing, and looks whether the reserve is whole.
    let fill = Fault::call(move |_| assert_eq!(other.delete_before(0).unwrap(), 0));
    for (target, operation) in [(1, Operation::SyncAll), (2, Operation::Rename)] {
        let rule = fs.add_rule(Rule::new(operation, fill.clone()).path(".reserved").nth(1));
        log.delete_before(target).unwrap();
        assert!(fs.hit_count(rule) > 0);
        fs.remove_rule(rule);
        let again = Store::open("data", store_config(Arc::new(disk.kill()))).unwrap();
        assert_eq!(again.topic("t").unwrap().partition(0).unwrap().offsets().start, target);
    }
    let names = disk.list(Path::new("data")).unwrap().into_iter().map(|entry| entry.name);
    assert_eq!(names.filter(|name| name.starts_with(".reserved")).count(), 4);
}
