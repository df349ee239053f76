//! A creation, growth or deletion that fails is completed or undone by the next call.

use super::{config, directories, open, three};
use crate::{DATA, topic_error, values};
use annals::fs::{Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::{ErrorKind, Log, Store, TopicConfig, TopicError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::files;

/// The alteration had said that the topic was whole as it was, and the next opening found
/// partitions missing.
#[test]
fn failed_growth_is_completed_after_alteration() {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let store = Store::open(DATA, config(&disk).fs(fs.clone()).recovery_threads(1)).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    let full = Fault::Error(io::ErrorKind::StorageFull);
    let rule = fs.add_rule(Rule::new(Operation::CreateDir, full).path("orders-2"));
    assert_eq!(store.add_partitions("orders", 5).unwrap_err().kind(), ErrorKind::StorageFull);
    fs.remove_rule(rule);
    assert_eq!(topic.partition_count(), 1);
    store.alter_topic("orders", topic.config().set("retention.ms", "-1").unwrap()).unwrap();
    drop((store, topic));
    let store = open(&disk.kill()).unwrap();
    let topic = store.topic("orders").unwrap();
    assert_eq!(topic.partition_count(), 5);
    assert_eq!(topic.config().get("retention.ms"), Some("-1"));
}

/// A file system that does not tell cases apart, as those of macOS and Windows.
#[derive(Debug)]
struct Folding(MemFs);

impl Fs for Folding {
    fn open(&self, path: &Path, how: OpenMode) -> io::Result<Arc<dyn annals::fs::File>> {
        self.0.open(&folded(path), how)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<annals::fs::DirEntry>> {
        self.0.list(&folded(dir))
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(&folded(dir))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(&folded(from), &folded(to))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(&folded(path))
    }
    fn rename_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_dir(&folded(from), &folded(to))
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(&folded(dir))
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(&folded(dir))
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn annals::fs::DirLock>> {
        self.0.lock(&folded(path))
    }
    fn boot_id(&self) -> Option<String> {
        self.0.boot_id()
    }
}

fn folded(path: &Path) -> PathBuf {
    path.to_str().unwrap().to_lowercase().into()
}

/// The directory of `Orders-0` was that of `orders-0`: the creation took it over, failed, and
/// removed it.
#[test]
fn creation_fails_when_only_case_differs() {
    let fs = MemFs::new();
    let open = || Store::open(DATA, config(&fs).fs(Folding(fs.clone()))).unwrap();
    let store = open();
    let topic = store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    topic.partition(0).unwrap().append("precious").unwrap();
    let before = files(&fs, "data/orders-0");
    for _ in 0..2 {
        let rejected = store.create_topic("Orders", three()).unwrap_err();
        assert!(matches!(topic_error(rejected), TopicError::InvalidDirectory { .. }));
        assert_eq!(files(&fs, "data/orders-0"), before);
    }
    assert_eq!(directories(&fs), ["orders-0", "orders-1"]);
    topic.partition(0).unwrap().append("and more").unwrap();
    // The rest of an interrupted growth of `orders` is not taken for a part of `Orders` either.
    store.close().unwrap();
    let store = open();
    let topic = store.topic("orders").unwrap();
    assert_eq!(values(&topic, 0), ["precious", "and more"]);
    store.delete_topic("orders").unwrap();
    store.create_topic("Orders", three()).unwrap();
}

#[test]
fn name_is_usable_after_creation_failed() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        for operation in [Operation::CreateDir, Operation::Rename, Operation::CreateNew] {
            for nth in 1.. {
                let disk = MemFs::new();
                let fs = FaultFs::new(disk.clone());
                let store = Store::open(DATA, config(&disk).fs(fs.clone())).unwrap();
                let rule = fs.add_rule(Rule::new(operation, Fault::Error(kind)).from_nth(nth));
                let four = || TopicConfig::default().partitions(4);
                if store.create_topic("orders", four()).is_ok() {
                    assert!(nth > 4);
                    break;
                }
                fs.remove_rule(rule);
                let topic = store.create_topic("orders", four()).unwrap();
                topic.partition(3).unwrap().append("x").unwrap();
                store.close().unwrap();
                let store = open(&disk).unwrap();
                assert_eq!(values(&store.topic("orders").unwrap(), 3), ["x"]);
                assert_eq!(store.topic("orders").unwrap().id(), topic.id());
            }
        }
    }
}

/// Between the two, the creation said that the topic was being made, and a crash brought the
/// deleted records back.
#[test]
fn name_is_usable_after_deletion_failed() {
    for nth in 1..=3 {
        for again in [false, true] {
            let disk = MemFs::new();
            let fs = FaultFs::new(disk.clone());
            let store = Store::open(DATA, config(&disk).fs(fs.clone())).unwrap();
            let topic = store.create_topic("orders", three()).unwrap();
            for log in topic.partitions().iter() {
                log.append_all(["old", "older"].map(Into::into)).unwrap();
                log.delete_before(1).unwrap();
            }
            let rule = Rule::new(Operation::RenameDir, Fault::Error(io::ErrorKind::Other));
            let rule = fs.add_rule(rule.from_nth(nth));
            assert_eq!(store.delete_topic("orders").unwrap_err().kind(), ErrorKind::Io);
            // As long as it cannot be finished, nothing takes the place of what is left.
            assert_eq!(store.create_topic("orders", three()).unwrap_err().kind(), ErrorKind::Io);
            fs.remove_rule(rule);
            if again {
                store.delete_topic("orders").unwrap();
                assert_eq!(store.delete_topic("orders").unwrap_err().kind(), ErrorKind::NotFound);
            }
            let images = support::images::Images::default();
            images.watch(&fs, &disk, || ());
            store.create_topic("orders", three()).unwrap();
            for image in images.take() {
                for (_, disk) in image.ways(nth) {
                    let store = open(&disk).unwrap();
                    let Ok(topic) = store.topic("orders") else { continue };
                    let ends = |log: &Log| (log.offsets().start, log.offsets().end);
                    assert!(topic.partitions().iter().all(|log| ends(log) == (0, 0)));
                }
            }
        }
    }
}

/// A growth that failed has begun to make partitions: the next one makes those, or more.
#[test]
fn failed_growth_can_be_repeated() {
    for nth in 1..=4 {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let store = Store::open(DATA, config(&disk).fs(fs.clone())).unwrap();
        let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
        let full = Fault::Error(io::ErrorKind::StorageFull);
        let rule = fs.add_rule(Rule::new(Operation::CreateDir, full).from_nth(nth));
        let failed = store.add_partitions("orders", 5).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::StorageFull);
        assert!(failed.to_string().contains("add the partition at data/orders-"), "{failed}");
        let failed = store.create_topic("users", TopicConfig::default()).unwrap_err();
        assert!(failed.to_string().contains("create the topic at data/users-0"), "{failed}");
        fs.remove_rule(rule);
        if nth > 1 {
            let fewer = topic_error(store.add_partitions("orders", 3).unwrap_err());
            assert_eq!(
                fewer.to_string(),
                "topic `orders` cannot have 3 partitions: a failed call began to add partitions \
                 up to 5; give 5 or more"
            );
        }
        store.add_partitions("orders", 6).unwrap();
        topic.partition(5).unwrap().append("x").unwrap();
        store.close().unwrap();
        assert_eq!(values(&open(&disk).unwrap().topic("orders").unwrap(), 5), ["x"]);
    }
}

/// The partitions that a failed growth had begun stayed when the topic was deleted: the topic was
/// back at the next opening, and its name could not be used before.
#[test]
fn topic_is_deletable_after_failed_growth() {
    for again in [false, true] {
        for nth in 1.. {
            let disk = MemFs::new();
            let fs = FaultFs::new(disk.clone());
            let store = Store::open(DATA, config(&disk).fs(fs.clone())).unwrap();
            store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
            let rule = fs.add_rule(Rule::any(Fault::Error(io::ErrorKind::Other)).nth(nth));
            let grown = store.add_partitions("orders", 4).is_ok();
            if fs.hit_count(rule) == 0 {
                assert!(grown && nth > 20);
                break;
            }
            fs.clear_rules();
            store.delete_topic("orders").unwrap();
            if again {
                store.create_topic("orders", TopicConfig::default().partitions(4)).unwrap();
            }
            store.close().unwrap();
            assert_eq!(open(&disk).unwrap().topics().len(), usize::from(again), "call {nth}");
        }
    }
}
