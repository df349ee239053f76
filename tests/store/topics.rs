//! Topics in a directory: created topics stay, deleted topics are removed, and foreign files are
//! not touched.

use crate::{DATA, replace_file, topic_error, values};
use annals::fs::{CrashState, EntryKind, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::{
    AutoOffsetReset, CleanupPolicy, ConsumerConfig, Error, ErrorKind, Log, LogConfig,
    MaintainerConfig, OfflinePartitions, ProducerConfig, Record, ResetTo, Store, StoreConfig,
    TopicConfig, TopicError, TopicPartition,
};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{clock, files, read_file, write_file};

fn config(fs: &MemFs) -> StoreConfig {
    StoreConfig::default().fs(fs.clone()).maintenance(None)
}

fn open(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs))
}

fn strict(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs).offline_partitions(OfflinePartitions::Never))
}

fn three() -> TopicConfig {
    TopicConfig::default().partitions(3)
}

fn directories(fs: &MemFs) -> Vec<String> {
    let entries = fs.list(Path::new(DATA)).unwrap();
    let dirs = entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory);
    let mut names: Vec<_> = dirs.map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn opening_reads_nothing_after_close() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let orders = store.create_topic("orders", three().set("retention.ms", "-1").unwrap()).unwrap();
    let users = store.create_topic("users", TopicConfig::default()).unwrap();
    for partition in 0..3 {
        orders.partition(partition).unwrap().append(format!("order {partition}")).unwrap();
    }
    users.partition(0).unwrap().append("user").unwrap();
    store.close().unwrap();

    let again = open(&fs).unwrap();
    let names: Vec<_> = again.topics().iter().map(|topic| topic.name().to_owned()).collect();
    assert_eq!(names, ["orders", "users"]);
    let found = again.topic("orders").unwrap();
    assert_eq!((found.partition_count(), found.id()), (3, orders.id()));
    assert_ne!(found.id(), users.id());
    assert_eq!(found.config(), orders.config());
    for partition in 0..3 {
        let log = found.partition(partition).unwrap();
        assert!(log.recovery().clean_shutdown);
        assert_eq!(log.recovery().scanned_bytes, 0);
        assert_eq!(values(&found, partition), [format!("order {partition}")]);
    }
}

/// A broker that finds a foreign name in a directory does not start, and keeps its checkpoints
/// above the logs.
#[test]
fn directory_layout_matches_broker() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", three()).unwrap();
    for n in 0..10 {
        topic.partition(1).unwrap().append(format!("{n}")).unwrap();
    }
    topic.partition(1).unwrap().delete_before(4).unwrap();
    store.close().unwrap();
    assert_eq!(directories(&fs), ["orders-0", "orders-1", "orders-2"]);
    let text = |name: &str| String::from_utf8(read_file(&fs, DATA, name)).unwrap();
    let points = [("0", "0"), ("1", "10"), ("2", "0")]
        .map(|(partition, offset)| format!("orders {partition} {offset}\n").repeat(2));
    let points = format!("0\n6\n{}", points.concat());
    assert_eq!(text("recovery-point-offset-checkpoint"), points);
    assert_eq!(text("log-start-offset-checkpoint"), "0\n2\norders 1 4\norders 1 4\n");
    assert!(text(".kafka_cleanshutdown").starts_with("{\"version\":0,\"brokerEpoch\":-1,"));
    let meta = text("meta.properties");
    assert!(
        meta.contains("version=1")
            && meta.contains("cluster.id=")
            && meta.contains("directory.id=")
    );
    for partition in 0..3 {
        let dir = format!("{DATA}/orders-{partition}");
        let metadata = String::from_utf8(read_file(&fs, &dir, "partition.metadata")).unwrap();
        assert_eq!(metadata.trim_end(), format!("version: 0\ntopic_id: {}", topic.id()));
        let others: Vec<_> = files(&fs, &dir)
            .into_keys()
            .filter(|name| !name.starts_with("0000"))
            .filter(|name| !["partition.metadata", "topic.properties"].contains(&name.as_str()))
            .collect();
        assert_eq!(others, Vec::<String>::new());
    }
    let above: Vec<_> =
        fs.list(Path::new("")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(above, [DATA]);
}

#[test]
fn broker_directory_is_taken_over() {
    let fs = MemFs::new();
    for partition in 0..2 {
        let dir = format!("{DATA}/orders-{partition}");
        let log = Log::open(&dir, LogConfig::default().fs(fs.clone())).unwrap();
        log.append_all((0..5).map(|n| format!("{n}").into())).unwrap();
        log.close().unwrap();
        for name in [".lock", ".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
            fs.remove(&Path::new(&dir).join(name)).unwrap();
        }
    }
    fs.create_dir(Path::new("data/__cluster_metadata-0")).unwrap();
    fs.create_dir(Path::new("data/users-0.0123456789abcdef0123456789abcdef-stray")).unwrap();
    write_file(&fs, DATA, "bootstrap.checkpoint", b"");
    write_file(&fs, DATA, ".lock", b"");
    write_file(&fs, DATA, ".kafka_cleanshutdown", b"{\"version\":0,\"brokerEpoch\":7}");
    let points = b"0\n3\norders 0 5\norders 1 5\nusers 0 9\n";
    write_file(&fs, DATA, "recovery-point-offset-checkpoint", points);
    write_file(&fs, DATA, "log-start-offset-checkpoint", b"0\n1\norders 1 3\n");
    let meta = b"version=1\nnode.id=4\ncluster.id=abc\ndirectory.id=J8aAPcfLQt2bqs1JT_rMgQ\n";
    write_file(&fs, DATA, "meta.properties", meta);

    let store = open(&fs).unwrap();
    assert_eq!(store.topics().len(), 1);
    let topic = store.topic("orders").unwrap();
    assert_eq!(topic.partition_count(), 2);
    // The configuration is unknown: no record is deleted before the topic is altered.
    assert_eq!(topic.config().get("retention.ms"), Some("-1"));
    assert_eq!(values(&topic, 0).len(), 5);
    assert_eq!(topic.partition(1).unwrap().offsets().start, 3);
    assert!(fs.open(Path::new("data/.kafka_cleanshutdown"), OpenMode::ReadOnly).is_err());
    store.close().unwrap();
    assert_eq!(read_file(&fs, DATA, "meta.properties"), meta);
    assert_eq!(directories(&fs).len(), 4);
}

/// Nothing in the directory says how its topics were configured: with the defaults of a store,
/// retention would delete records that a broker was configured to keep.
#[test]
fn broker_records_stay_until_altered() {
    let (fs, clock) = (MemFs::new(), clock());
    for name in ["__consumer_offsets-0", "orders-0"] {
        let dir = format!("{DATA}/{name}");
        let config = LogConfig::default().fs(fs.clone()).clock(clock.clone());
        let log = Log::open(&dir, config).unwrap();
        log.append(Record::new("value").key("key")).unwrap();
        log.roll().unwrap();
        log.append(Record::new("value").key("other")).unwrap();
        log.close().unwrap();
        for file in [".lock", ".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
            fs.remove(&Path::new(&dir).join(file)).unwrap();
        }
    }
    let store = Store::open(DATA, config(&fs).clock(clock.clone())).unwrap();
    clock.advance(Duration::from_secs(30 * 86_400));
    store.maintain().unwrap();
    let start = |topic| store.topic(topic).unwrap().partition(0).unwrap().offsets().start;
    assert_eq!((start("__consumer_offsets"), start("orders")), (0, 0));
    let orders = store.topic("orders").unwrap().config().set("retention.ms", "1000").unwrap();
    store.alter_topic("orders", orders).unwrap();
    store.maintain().unwrap();
    assert_eq!((start("__consumer_offsets"), start("orders")), (0, 2));
}

#[test]
fn topic_can_be_altered_while_used() {
    let (fs, clock) = (MemFs::new(), clock());
    let store = Store::open(DATA, config(&fs).clock(clock.clone())).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    for _ in 0..20 {
        log.append("x".repeat(100)).unwrap();
    }
    assert_eq!(log.stats().unwrap().segments.len(), 1);
    let smaller =
        topic.config().set("segment.bytes", "300").unwrap().set("retention.ms", "1000").unwrap();
    store.alter_topic("orders", smaller.clone()).unwrap();
    for _ in 0..20 {
        log.append("x".repeat(100)).unwrap();
    }
    assert!(log.stats().unwrap().segments.len() > 5);
    clock.advance(Duration::from_secs(2));
    store.maintain().unwrap();
    assert_eq!(log.offsets().start, 40);
    assert!(log.append("x".repeat(400)).is_err());
    // A key is needed from the moment on that the topic is compacted.
    store
        .alter_topic("orders", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact))
        .unwrap();
    assert!(matches!(log.append("no key"), Err(Error::InvalidRecord { .. })));
    drop((topic, log));
    let again = Store::open(DATA, config(&fs.kill()).clock(clock)).unwrap();
    let config = again.topic("orders").unwrap().config();
    assert_eq!(config.overrides().collect::<Vec<_>>(), [("cleanup.policy", "compact")]);
    let wrong = store.alter_topic(
        "orders",
        smaller
            .set("max.compaction.lag.ms", "1")
            .unwrap()
            .set("min.compaction.lag.ms", "2")
            .unwrap(),
    );
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn invalid_topics_are_rejected() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("a.b", TopicConfig::default()).unwrap();
    let rejected = |name: &str, config| topic_error(store.create_topic(name, config).unwrap_err());
    let one = TopicConfig::default;
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "ä", &long, "a_b", "__consumer_offsets"] {
        let error = rejected(name, one());
        assert!(matches!(error, TopicError::InvalidName { .. }), "{error}");
    }
    assert!(matches!(rejected("a.b", one()), TopicError::Exists { .. }));
    for partitions in [0, 100_001] {
        let error = rejected("new", one().partitions(partitions));
        assert!(matches!(error, TopicError::InvalidPartitions { .. }), "{error}");
    }
    for (partitions, why) in [(0, "it has 1, and"), (1, "it has as many already")] {
        let error = topic_error(store.add_partitions("a.b", partitions).unwrap_err());
        assert!(matches!(error, TopicError::InvalidPartitions { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(matches!(topic_error(store.topic("no").unwrap_err()), TopicError::Unknown { .. }));
    assert_eq!(store.add_partitions("no", 2).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.delete_topic("no").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.alter_topic("no", one()).unwrap_err().kind(), ErrorKind::NotFound);
    let topic = store.topic("a.b").unwrap();
    let error = topic_error(topic.partition(1).unwrap_err());
    let expected = "topic `a.b` has no partition 1; its last partition is 0";
    assert_eq!(error.to_string(), expected);
    let threads = Store::open("other", config(&fs).recovery_threads(0)).unwrap_err();
    assert_eq!(threads.kind(), ErrorKind::InvalidInput);
    assert_eq!(directories(&fs), ["a.b-0"]);
}

#[test]
fn closed_store_rejects_calls() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", three()).unwrap();
    let other = store.clone();
    store.close().unwrap();
    for rejected in [
        other.create_topic("users", three()).map(drop),
        other.add_partitions("orders", 4),
        other.alter_topic("orders", three()),
        other.delete_topic("orders"),
        other.flush(),
        other.maintain().map(drop),
        other.close(),
    ] {
        let rejected = rejected.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::Closed);
        assert_eq!(rejected.to_string(), "the store is closed; open it again");
    }
    let rejected = topic.partition(0).unwrap().append("x").unwrap_err();
    let told = "log data/orders-0 was closed with its store; open the store again";
    assert_eq!(rejected.to_string(), told);
    open(&fs).unwrap();
}

#[test]
fn deleted_topic_frees_its_name() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let orders = store.create_topic("orders", three()).unwrap();
    let log = orders.partition(2).unwrap();
    log.append("x").unwrap();
    let mut tail = log.tail(0).unwrap();
    store.delete_topic("orders").unwrap();
    assert_eq!(store.topic("orders").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(log.append("x").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(tail.next_record(None).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(directories(&fs), Vec::<String>::new());
    let new = store.create_topic("orders", TopicConfig::default()).unwrap();
    assert_ne!(new.id(), orders.id());
    assert_eq!(new.partition(0).unwrap().offsets().end, 0);
    assert_eq!(directories(&fs), ["orders-0"]);
    drop(store);
    let again = open(&fs.crash(CrashState::SyncedOnly)).unwrap();
    assert_eq!(again.topic("orders").unwrap().id(), new.id());
}

#[test]
fn partitions_can_be_added() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    topic.partition(0).unwrap().append("x").unwrap();
    store.add_partitions("orders", 4).unwrap();
    assert_eq!(topic.partition_count(), 4);
    topic.partition(3).unwrap().append("y").unwrap();
    drop((store, topic));
    let again = open(&fs.kill()).unwrap();
    let topic = again.topic("orders").unwrap();
    assert_eq!(
        (topic.partition_count(), topic.config()),
        (4, TopicConfig::default().partitions(4))
    );
    assert_eq!(values(&topic, 3), ["y"]);
}

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

/// Partitions are created in any order. When the process ends, partition 1 may have the id of its
/// topic and partition 0 none yet: the next opening generated another id, and rejected partition 1
/// forever.
#[test]
fn topic_opens_with_partial_ids() {
    for (with_id, partitions) in [(vec![1], 4), (vec![0], 4), (vec![2, 3], 4), (vec![], 4)] {
        let fs = MemFs::new();
        let store = open(&fs).unwrap();
        let id = store.create_topic("orders", TopicConfig::default().partitions(4)).unwrap().id();
        drop(store);
        let fs = fs.kill();
        for partition in (0..partitions).filter(|partition| !with_id.contains(partition)) {
            fs.remove(Path::new(&format!("data/orders-{partition}/partition.metadata"))).unwrap();
        }
        replace_file(&fs, "data/orders-0", "topic.properties", b"partitions=4\nstate=creating\n");
        let store = open(&fs).unwrap();
        let found = store.topic("orders").unwrap();
        assert!(with_id.is_empty() || found.id() == id, "{with_id:?}");
        store.close().unwrap();
        assert_eq!(open(&fs).unwrap().topic("orders").unwrap().id(), found.id());
    }
}

/// Brokers before Kafka 2.8 wrote no `partition.metadata`. All partitions get one id, whichever of
/// them was given it first.
#[test]
fn partitions_share_the_one_id() {
    let fs = MemFs::new();
    for partition in 0..3 {
        fs.create_dir(Path::new(&format!("{DATA}/orders-{partition}"))).unwrap();
        let dir = format!("{DATA}/orders-{partition}");
        write_file(&fs, &dir, "00000000000000000000.log", b"");
    }
    let id = "J8aAPcfLQt2bqs1JT_rMgQ";
    let metadata = format!("version: 0\ntopic_id: {id}");
    write_file(&fs, "data/orders-2", "partition.metadata", metadata.as_bytes());
    let store = open(&fs).unwrap();
    assert_eq!(store.topic("orders").unwrap().id().to_string(), id);
    drop(store);
    let store = open(&fs.kill()).unwrap();
    assert_eq!(store.topic("orders").unwrap().id().to_string(), id);
}

/// A file system that does not tell cases apart, as those of macOS and Windows.
#[derive(Debug)]
struct Folding(MemFs);

fn folded(path: &Path) -> PathBuf {
    path.to_str().unwrap().to_lowercase().into()
}

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

#[test]
fn damaged_log_fails_opening_until_repaired() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", three()).unwrap();
    for partition in 0..3 {
        let log = topic.partition(partition).unwrap();
        log.append("a").unwrap();
        log.roll().unwrap();
        log.append("b").unwrap();
    }
    store.close().unwrap();
    let name = "00000000000000000000.log";
    let bytes = read_file(&fs, "data/orders-1", name);
    fs.remove(Path::new("data/orders-1/00000000000000000000.log")).unwrap();
    write_file(&fs, "data/orders-1", name, &bytes[..bytes.len() - 1]);
    for _ in 0..2 {
        let error = strict(&fs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("orders-1"), "{error}");
    }
    fs.remove(Path::new("data/orders-1/00000000000000000000.log")).unwrap();
    write_file(&fs, "data/orders-1", name, &bytes);
    let store = open(&fs).unwrap();
    for partition in 0..3 {
        let log = store.topic("orders").unwrap().partition(partition).unwrap();
        assert!(log.recovery().clean_shutdown, "{partition}");
    }
}

#[test]
fn missing_partition_is_not_recreated() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("orders", three()).unwrap();
    store.close().unwrap();
    let from = Path::new("data/orders-2");
    fs.rename_dir(from, Path::new("orders-2")).unwrap();
    let error = topic_error(open(&fs).unwrap_err());
    assert!(
        matches!(error, TopicError::MissingPartition { partition: 2, partitions: 3, .. }),
        "{error}"
    );
    fs.rename_dir(Path::new("orders-2"), from).unwrap();
    let store = open(&fs).unwrap();
    assert!(store.topic("orders").unwrap().partition(1).unwrap().recovery().clean_shutdown);
}

#[test]
fn foreign_directory_stays_unchanged() {
    type Make<'a> = &'a dyn Fn(&MemFs);
    let cases: [(&str, Make<'_>); 3] = [
        ("a log", &|fs| {
            Log::open(DATA, LogConfig::default().fs(fs.clone())).unwrap().close().unwrap();
        }),
        ("a topic", &|fs| fs.create_dir(Path::new("data/a b-0")).unwrap()),
        ("a file", &|fs| write_file(fs, "", DATA, b"x")),
    ];
    for (what, make) in cases {
        let fs = MemFs::new();
        make(&fs);
        let before = fs.list(Path::new(DATA)).ok().map(|list| list.len());
        let error = open(&fs).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Io),
            "{what}: {error:?}"
        );
        assert_eq!(fs.list(Path::new(DATA)).ok().map(|list| list.len()), before, "{what}");
    }
}

/// A start offset with a wrong digit would delete records, or bring deleted ones back: it is
/// stored twice, and if the two differ, the directory is rejected.
#[test]
fn damaged_checkpoint_line_is_ignored() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    for partition in 0..2 {
        let log = topic.partition(partition).unwrap();
        log.append_all((0..10).map(|n| format!("{n}").into())).unwrap();
        log.delete_before(2).unwrap();
    }
    store.close().unwrap();
    let file = "log-start-offset-checkpoint";
    let text = String::from_utf8(read_file(&fs, DATA, file)).unwrap();
    write_file(&fs, DATA, file, text.replacen("orders 1 2", "orders 1 9", 1).as_bytes());
    let error = open(&fs).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains(file), "{error}");
    write_file(&fs, DATA, file, text.as_bytes());
    let store = open(&fs).unwrap();
    let start =
        |partition| store.topic("orders").unwrap().partition(partition).unwrap().offsets().start;
    assert_eq!((start(0), start(1)), (2, 2));
}

/// The file that decides which topic a directory belongs to, or what is deleted, is not guessed
/// at.
#[test]
fn unreadable_definition_fails_opening() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    let topic = store.create_topic("orders", three()).unwrap();
    topic.partition(1).unwrap().append("a").unwrap();
    store.new_producer_id().unwrap();
    store.close().unwrap();
    let damaged: [(&str, &str, &[u8]); 6] = [
        ("data/orders-0", "topic.properties", b"partitions=3\nstate=deletin"),
        ("data/orders-0", "topic.properties", b""),
        ("data/orders-1", "partition.metadata", b"version: 0\ntopic_id: x"),
        ("data/orders-1", "partition.metadata", b"\0\0\0\0"),
        (DATA, "meta.properties", b"version=2\nnode.id=1"),
        (DATA, "meta.properties", b"version=1\nnode.id=one\ncluster.id=a"),
    ];
    for (dir, name, bytes) in damaged {
        let before = read_file(&fs, dir, name);
        fs.remove(&Path::new(dir).join(name)).unwrap();
        write_file(&fs, dir, name, bytes);
        for _ in 0..2 {
            let error = strict(&fs).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
            assert!(error.to_string().contains(name), "{error}");
        }
        fs.remove(&Path::new(dir).join(name)).unwrap();
        write_file(&fs, dir, name, &before);
    }
    let store = open(&fs).unwrap();
    assert_eq!(values(&store.topic("orders").unwrap(), 1), ["a"]);
    store.close().unwrap();

    let ids = Path::new("data/producer-ids.properties");
    fs.remove(ids).unwrap();
    write_file(&fs, DATA, "producer-ids.properties", b"next.producer.id=-5\n");
    let store = open(&fs).unwrap();
    assert_eq!(store.new_producer_id().unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.producer(Default::default()).unwrap_err().kind(), ErrorKind::Corrupt);
    store.topic("orders").unwrap().partition(1).unwrap().append("b").unwrap();
    fs.remove(ids).unwrap();
    store.new_producer_id().unwrap();
}

/// The maintainer had a clock of its own: a test that moved that of its store waited for a round
/// of the machine's time.
#[test]
fn maintenance_uses_clock_of_store() {
    let (fs, clock) = (MemFs::new(), clock());
    let maintenance = MaintainerConfig::default().interval(Duration::from_secs(3600));
    let config = StoreConfig::default().fs(fs).maintenance(Some(maintenance)).clock(clock.clone());
    let store = Store::open(DATA, config).unwrap();
    let day = TopicConfig::default().set("retention.ms", "86400000").unwrap();
    let log = store.create_topic("orders", day).unwrap().partition(0).unwrap();
    // The first round begins with the log, the second when the clock says so.
    for start in 1..=2 {
        log.append("old").unwrap();
        log.roll().unwrap();
        clock.advance(Duration::from_secs(2 * 86_400));
        while log.offsets().start < start {
            std::thread::yield_now();
        }
    }
    store.close().unwrap();
}

#[test]
fn background_maintenance_serves_all_logs() {
    let fs = MemFs::new();
    let maintenance = MaintainerConfig::default().interval(Duration::from_millis(1));
    let config = StoreConfig::default().fs(fs).maintenance(Some(maintenance));
    let store = Store::open(DATA, config).unwrap();
    let small = TopicConfig::default().partitions(4).segment_bytes(200).retention_bytes(400);
    let topic = store.create_topic("orders", small).unwrap();
    for log in topic.partitions().iter() {
        for _ in 0..20 {
            log.append("x".repeat(50)).unwrap();
        }
    }
    while topic.partitions().iter().any(|log| log.offsets().start == 0) {
        std::thread::yield_now();
    }
    store.close().unwrap();
}

/// After `Store::close`, some calls said that the store is closed, some that the log is, and some
/// answered as before.
#[test]
fn every_call_reports_closed_store() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let log = store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    log.append("x").unwrap();
    let at = TopicPartition::new("t", 0);
    let earliest = |group| {
        let config = ConsumerConfig::new(group).auto_offset_reset(AutoOffsetReset::Earliest);
        store.consumer(config).unwrap()
    };
    let (mut member, mut assigned) = (earliest("g"), earliest("h"));
    member.subscribe(["t"]).unwrap();
    member.poll(Duration::ZERO).unwrap();
    assigned.assign([at.clone()]).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let admin = store.admin();
    store.close().unwrap();

    let is_closed = |what: &str, error: Option<Error>| {
        assert!(matches!(error, Some(Error::StoreClosed)), "{what}: {error:?}");
    };
    let zero = || [(at.clone(), 0.into())].into();
    is_closed("topic", store.topic("t").err());
    is_closed("create_topic", store.create_topic("u", TopicConfig::default()).err());
    is_closed("alter_topic", store.alter_topic("t", TopicConfig::default()).err());
    is_closed("add_partitions", store.add_partitions("t", 2).err());
    is_closed("delete_topic", store.delete_topic("t").err());
    is_closed("flush", store.flush().err());
    is_closed("maintain", store.maintain().err());
    is_closed("close", store.close().err());
    is_closed("producer", store.producer(ProducerConfig::default()).err());
    is_closed("consumer", store.consumer(ConsumerConfig::new("g")).err());
    is_closed("new_producer_id", store.new_producer_id().err());
    is_closed("describe_topic", admin.describe_topic("t").err());
    is_closed("delete_records", admin.delete_records("t", 0, 1).err());
    is_closed("list_groups", admin.list_groups().err());
    is_closed("describe_group", admin.describe_group("g").err());
    is_closed("alter_offsets", admin.alter_offsets("g", zero()).err());
    is_closed("reset_offsets", admin.reset_offsets("g", [at.clone()], ResetTo::Earliest).err());
    is_closed("delete_offsets", admin.delete_offsets("g", [at.clone()]).err());
    is_closed("delete_group", admin.delete_group("g").err());
    is_closed("remove_members", admin.remove_members("g", []).err());
    is_closed("expire_offsets", admin.expire_offsets().err());
    is_closed("send", producer.send(("t", "y")).and_then(|sent| sent.wait()).err());
    for consumer in [&mut member, &mut assigned] {
        is_closed("poll", consumer.poll(Duration::ZERO).err());
        is_closed("commit", consumer.commit().err());
        is_closed("committed", consumer.committed(&at).err());
        is_closed("position", consumer.position(&at).err());
        is_closed("lag", consumer.lag(&at).err());
        is_closed("seek", consumer.seek(&at, 0).err());
        is_closed("end_offsets", consumer.end_offsets([at.clone()]).err());
    }
    is_closed("close of a member", member.close().err());
    assigned.close().unwrap();
    assert!(matches!(log.append("y"), Err(Error::Closed { .. })));
}
