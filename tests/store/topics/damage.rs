//! Topics whose logs, checkpoints or definitions are damaged or missing.

use super::{config, open, three};
use crate::{DATA, topic_error, values};
use annals::fs::{Fs, MemFs};
use annals::{ErrorKind, OfflinePartitions, Store, TopicConfig, TopicError};
use std::path::Path;
use support::{read_file, write_file};

fn strict(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs).offline_partitions(OfflinePartitions::Never))
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
