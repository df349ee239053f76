//! The directory of a store: a broker's layout, and what an opening reads of it.

use super::{config, directories, open, three};
use crate::{DATA, replace_file, values};
use annals::fs::{Fs, MemFs, OpenMode};
use annals::{ErrorKind, Log, LogConfig, Record, Store, TopicConfig};
use std::path::Path;
use std::time::Duration;
use support::{clock, files, read_file, write_file};

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
