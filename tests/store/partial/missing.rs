//! Partitions that are not in this directory: of other brokers of a cluster, or lost.

use super::{NOTHING, config, open, partitions, three_of_two};
use crate::{DATA, topic_error};
use annals::fs::{EntryKind, Fs, MemFs};
use annals::{
    AutoOffsetReset, ConsumerConfig, Error, Event, Log, LogConfig, OfflinePartitions, OnCorruption,
    ProducerConfig, ProducerRecord, Record, Store, TopicError,
};
use std::path::Path;
use std::sync::Arc;
use support::{Heard, files, write_file};

/// Every fresh volume has a `lost+found`, and each system and tool creates its own directories.
#[test]
fn foreign_directories_are_kept_and_listed() {
    let fs = MemFs::new();
    let others = [
        "lost+found",
        ".snapshot",
        ".git",
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
        "my-photos",
    ];
    open(&fs).unwrap().close().unwrap();
    for name in others {
        fs.create_dir(&Path::new(DATA).join(name)).unwrap();
        write_file(&fs, &format!("{DATA}/{name}"), "what", b"ever");
    }
    let heard = Arc::new(Heard::default());
    let store = Store::open(DATA, config(&fs).listener(heard.clone())).unwrap();
    let mut unknown = store.unknown_directories();
    unknown.sort();
    let mut expected: Vec<_> = others.iter().map(|name| Path::new(DATA).join(name)).collect();
    expected.sort();
    assert_eq!(unknown, expected);
    let told = heard.0.lock().unwrap();
    let reported = |path: &Path| {
        told.iter().any(|event| matches!(event, Event::UnknownFile { path: p } if p == path))
    };
    assert!(expected.iter().all(|path| reported(path)));
    drop(told);
    store.create_topic("orders", partitions(2)).unwrap();
    store.delete_topic("orders").unwrap();
    store.close().unwrap();
    for name in others {
        assert_eq!(files(&fs, &format!("{DATA}/{name}")).len(), 1, "{name}");
    }
}

#[test]
fn false_partition_directory_is_rejected() {
    for name in ["a b-0", "orders-01", "-0", "backup-20240131"] {
        let fs = MemFs::new();
        fs.create_dir(&Path::new(DATA).join(name)).unwrap();
        let error = topic_error(open(&fs).unwrap_err());
        assert!(matches!(error, TopicError::InvalidDirectory { .. }), "{name}: {error}");
        assert_eq!(fs.list(Path::new(DATA)).unwrap().len(), 1, "{name}");
    }
    let fs = MemFs::new();
    open(&fs).unwrap().close().unwrap();
    fs.create_dir(Path::new("data/backup-2024")).unwrap();
    write_file(&fs, "data/backup-2024", "photo.jpeg", b"x");
    let error = open(&fs).unwrap_err();
    assert!(matches!(error, Error::NotALog { .. }), "{error}");
    assert_eq!(files(&fs, "data/backup-2024").len(), 1);
}

/// Leaves partitions of a topic as a broker of a cluster has them: some, and nothing that says how
/// many there are.
fn of_a_cluster(fs: &MemFs, numbers: &[u32]) {
    for number in numbers {
        let dir = format!("{DATA}/orders-{number}");
        let log = Log::open(&dir, LogConfig::default().fs(fs.clone())).unwrap();
        log.append_all(["a", "b"].map(Into::into)).unwrap();
        log.close().unwrap();
        for name in [".lock", ".kafka_cleanshutdown", "recovery-point-offset-checkpoint"] {
            fs.remove(&Path::new(&dir).join(name)).unwrap();
        }
    }
}

/// A broker of a cluster has some of a topic's partitions: those are served.
#[test]
fn partial_topic_of_cluster_is_served() {
    let fs = MemFs::new();
    of_a_cluster(&fs, &[3, 143]);
    for _ in 0..2 {
        let store = open(&fs).unwrap();
        let topic = store.topic("orders").unwrap();
        assert_eq!((topic.partition_count(), topic.partitions().len()), (144, 2));
        assert_eq!(topic.unavailable_partitions().len(), 142);
        let error = topic_error(topic.partition(0).unwrap_err());
        assert!(matches!(error, TopicError::PartitionElsewhere { partition: 0, .. }), "{error}");
        let error = topic_error(topic.partition(144).unwrap_err());
        assert!(matches!(error, TopicError::UnknownPartition { .. }), "{error}");
        assert!(topic.partition(143).unwrap().offsets().end >= 2);
        topic.partition(143).unwrap().append("more").unwrap();
        store.flush().unwrap();
        assert_eq!(store.maintain().unwrap().len(), 2);
        let described = store.admin().describe_topic("orders").unwrap();
        let numbers: Vec<_> = described.partitions.iter().map(|p| p.partition).collect();
        assert_eq!((numbers, described.unavailable.len()), (vec![3, 143], 142));
        for rejected in [
            store.add_partitions("orders", 200),
            store.alter_topic("orders", topic.config()),
            store.delete_topic("orders"),
        ] {
            let rejected = topic_error(rejected.unwrap_err());
            assert!(matches!(rejected, TopicError::Spread { .. }), "{rejected}");
        }
        store.close().unwrap();
        let dirs = fs.list(Path::new(DATA)).unwrap();
        assert_eq!(dirs.iter().filter(|entry| entry.kind == EntryKind::Directory).count(), 2);
    }
    // All were closed in order, and that of others says nothing.
    let store = open(&fs).unwrap();
    assert!(
        store.topic("orders").unwrap().partitions().iter().all(|log| log.recovery().clean_shutdown)
    );
}

/// By its key, a record would go to a partition that depends on how many there are, which only the
/// cluster knows.
#[test]
fn producer_needs_partition_without_known_count() {
    let fs = MemFs::new();
    of_a_cluster(&fs, &[1, 3]);
    let store = open(&fs).unwrap();
    let producer = store.producer(ProducerConfig::default().linger(NOTHING)).unwrap();
    let record = || ProducerRecord::new("orders", Record::new("x"));
    for _ in 0..20 {
        producer.send(record()).unwrap().wait().unwrap();
    }
    producer.send(record().partition(3)).unwrap().wait().unwrap();
    let keyed = topic_error(
        producer.send(ProducerRecord::new("orders", Record::new("x").key("k"))).unwrap_err(),
    );
    assert!(matches!(keyed, TopicError::Spread { .. }), "{keyed}");
    let there = topic_error(producer.send(record().partition(0)).unwrap_err());
    assert!(matches!(there, TopicError::PartitionElsewhere { partition: 0, .. }), "{there}");
    let topic = store.topic("orders").unwrap();
    let ends: u64 = topic.partitions().iter().map(|log| log.offsets().end).sum();
    assert_eq!(ends, 4 + 21);
    // Consumers read what is here.
    let config = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    let mut read = 0;
    for _ in 0..10 {
        read += consumer.poll(NOTHING).unwrap().len();
    }
    assert_eq!(read, 25);
}

/// Its records are lost, and the user must learn that at once.
#[test]
fn missing_partition_fails_unless_allowed() {
    let fs = MemFs::new();
    three_of_two(&fs);
    for number in [0, 2] {
        let (dir, away) = (format!("{DATA}/orders-{number}"), format!("away-{number}"));
        fs.rename_dir(Path::new(&dir), Path::new(&away)).unwrap();
        let error = topic_error(open(&fs).unwrap_err());
        assert!(matches!(error, TopicError::MissingPartition { .. }), "{error}");
        let lenient = config(&fs).offline_partitions(OfflinePartitions::DamagedOrMissing);
        let store = Store::open(DATA, lenient).unwrap();
        let orders = store.topic("orders").unwrap();
        assert_eq!(orders.unavailable_partitions().into_keys().collect::<Vec<_>>(), [number]);
        assert!(store.reopen_partition("orders", number, OnCorruption::Fail).is_err());
        fs.rename_dir(Path::new(&away), Path::new(&dir)).unwrap();
        let log = store.reopen_partition("orders", number, OnCorruption::Fail).unwrap();
        assert_eq!((log.offsets().start, log.offsets().end), (1, 3));
        store.close().unwrap();
    }
}

/// A line in a checkpoint says where the records of a partition begin that has none at the moment:
/// it was never one whose creation was interrupted.
#[test]
fn empty_partition_stays_when_checkpointed() {
    let fs = MemFs::new();
    fs.create_dir(Path::new("data/orders-0")).unwrap();
    write_file(&fs, DATA, "log-start-offset-checkpoint", b"0\n1\norders 0 5\n");
    let store = open(&fs).unwrap();
    let offsets = store.topic("orders").unwrap().partition(0).unwrap().offsets();
    assert_eq!((offsets.start, offsets.end), (5, 5));
    // Without one, nothing was ever acknowledged in it.
    let fs = MemFs::new();
    open(&fs).unwrap().close().unwrap();
    fs.create_dir(Path::new("data/orders-0")).unwrap();
    assert!(open(&fs).unwrap().topics().is_empty());
}
