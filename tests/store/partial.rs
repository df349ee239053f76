//! A store that has not all of its topics' partitions, or not all of them sound, serves the rest.

use crate::{DATA, replace_file, topic_error, values};
use annals::fs::{EntryKind, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    AutoOffsetReset, ConsumerConfig, Error, ErrorKind, Event, GroupCoordinatorConfig, GroupState,
    Log, LogConfig, OfflinePartitions, OnCorruption, ProducerConfig, ProducerRecord, Record, Store,
    StoreConfig, Topic, TopicConfig, TopicError, TopicPartition,
};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Heard, files, read_file, write_file};

const NOTHING: Duration = Duration::ZERO;

fn config(fs: &MemFs) -> StoreConfig {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(2);
    StoreConfig::default().fs(fs.clone()).maintenance(None).group_coordinator(groups)
}

fn open(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs))
}

fn strict(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs).offline_partitions(OfflinePartitions::Never))
}

fn partitions(count: u32) -> TopicConfig {
    TopicConfig::default().partitions(count)
}

const SEGMENT: &str = "00000000000000000000.log";

/// A closed segment that is shorter than it was: no crash explains that. Returns its bytes.
fn damage(fs: &MemFs, dir: &str) -> Vec<u8> {
    let bytes = read_file(fs, dir, SEGMENT);
    replace_file(fs, dir, SEGMENT, &bytes[..bytes.len() - 1]);
    bytes
}

/// Three partitions with two segments each.
fn three_of_two(fs: &MemFs) {
    let store = open(fs).unwrap();
    let orders = store.create_topic("orders", partitions(3)).unwrap();
    let users = store.create_topic("users", partitions(1)).unwrap();
    for log in orders.partitions().iter().chain(users.partitions().iter()) {
        log.append_all(["a", "b"].map(Into::into)).unwrap();
        log.roll().unwrap();
        log.append("c").unwrap();
        log.delete_before(1).unwrap();
    }
    store.close().unwrap();
}

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

/// A process that has too many files open is not to find a part of its topics. A topic whose
/// definition could not be read at that moment was offline, also where none may be.
#[test]
fn opening_fails_whole_without_descriptors() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let faults = [Fault::Errno(24), Fault::Error(io::ErrorKind::Other)];
    for (fault, which) in
        faults.into_iter().zip([OfflinePartitions::Damaged, OfflinePartitions::Never])
    {
        for call in 1.. {
            let failing = FaultFs::new(fs.kill());
            let rule = failing.add_rule(Rule::any(fault.clone()).nth(call));
            let config = config(&fs).recovery_threads(1).offline_partitions(which);
            if let Ok(store) = Store::open(DATA, config.fs(failing.clone())) {
                for topic in store.topics() {
                    assert!(topic.unavailable_partitions().is_empty(), "{fault:?}, call {call}");
                }
            }
            if failing.hit_count(rule) == 0 {
                break;
            }
        }
    }
}

/// One damaged log, and all others open: it says what is wrong with it, until it is mended.
#[test]
fn only_damaged_partition_is_offline() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let sound = damage(&fs, "data/orders-1");
    let before = files(&fs, "data/orders-1");
    assert_eq!(strict(&fs).unwrap_err().kind(), ErrorKind::Corrupt);
    for _ in 0..2 {
        let heard = Arc::new(Heard::default());
        let store = Store::open(DATA, config(&fs).listener(heard.clone())).unwrap();
        let offline = |event: &Event| matches!(event, Event::PartitionOffline { .. });
        assert_eq!(heard.0.lock().unwrap().iter().filter(|event| offline(event)).count(), 1);
        let orders = store.topic("orders").unwrap();
        assert_eq!(orders.partition_count(), 3);
        let error = orders.partition(1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("orders-1"), "{error}");
        assert_eq!(orders.unavailable_partitions().into_keys().collect::<Vec<_>>(), [1]);
        assert_eq!(store.topic("users").unwrap().partition(0).unwrap().offsets().start, 1);
        assert!(orders.partition(2).unwrap().recovery().clean_shutdown);
        orders.partition(0).unwrap().append("d").unwrap();
        orders.partition(2).unwrap().delete_before(2).unwrap();
        store.flush().unwrap();
        store.maintain().unwrap();
        assert!(store.reopen_partition("orders", 1, OnCorruption::Fail).is_err());
        store.close().unwrap();
        assert_eq!(files(&fs, "data/orders-1"), before);
    }
    replace_file(&fs, "data/orders-1", SEGMENT, &sound);
    let store = open(&fs).unwrap();
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    // Neither its start nor that it had been closed in order was forgotten.
    assert_eq!((log.offsets().start, log.offsets().end), (1, 3));
}

#[test]
fn offline_partition_is_reopened_once_repaired() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let sound = damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    let orders = store.topic("orders").unwrap();
    let producer = store.producer(ProducerConfig::default().linger(NOTHING)).unwrap();
    let record = |value: &str| ProducerRecord::new("orders", Record::new(value.to_owned()));
    let rejected = producer.send(record("x").partition(1)).unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Corrupt);
    for _ in 0..50 {
        producer.send(record("keyless")).unwrap().wait().unwrap();
    }
    let mut hit = 0;
    for key in 0..20 {
        match producer.send(ProducerRecord::new("orders", Record::new("x").key(key.to_string()))) {
            Ok(sent) => drop(sent.wait().unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                hit += 1;
            }
        }
    }
    assert!((1..20).contains(&hit), "{hit}");
    replace_file(&fs, "data/orders-1", SEGMENT, &sound);
    let log = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    assert_eq!((log.offsets().start, log.offsets().end), (1, 3));
    assert!(orders.unavailable_partitions().is_empty());
    producer.send(record("again").partition(1)).unwrap().wait().unwrap();
    assert_eq!(log.offsets().end, 4);
    store.close().unwrap();
    let store = open(&fs).unwrap();
    assert!(store.topic("orders").unwrap().partition(1).unwrap().recovery().clean_shutdown);
}

#[test]
fn quarantine_touches_only_offline_partition() {
    let fs = MemFs::new();
    three_of_two(&fs);
    damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    let log = store.reopen_partition("orders", 1, OnCorruption::Quarantine).unwrap();
    assert!(!log.recovery().quarantined.is_empty());
    assert_eq!(log.offsets().end, 3);
    store.close().unwrap();
    assert!(strict(&fs).unwrap().topic("orders").unwrap().unavailable_partitions().is_empty());
}

/// Members live in the process that has the store open: once it is gone, a view must not show them
/// as if they still read.
#[test]
fn view_shows_no_members_after_exit() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("orders", partitions(2)).unwrap();
    let state = |fs: &MemFs, group: &str| {
        let view = Store::open_read_only(DATA, config(fs)).unwrap();
        let described = view.describe_group(group).unwrap();
        let listed = view.list_groups().unwrap().groups;
        let listed = listed.iter().find(|listed| listed.group == group).unwrap();
        assert_eq!(listed.state, described.state);
        (described.state, described.members.len())
    };
    let member = |config: ConsumerConfig| {
        let mut consumer = store.consumer(config).unwrap();
        consumer.subscribe(["orders"]).unwrap();
        while consumer.assignment().is_empty() {
            consumer.poll(Duration::ZERO).unwrap();
        }
        consumer
    };
    let dynamic = member(ConsumerConfig::new("dynamic"));
    let fixed = member(ConsumerConfig::new("static").instance_id("one"));
    assert_eq!(state(&fs, "dynamic"), (GroupState::Stable, 1));
    let killed = fs.kill();
    assert_eq!(state(&killed, "dynamic"), (GroupState::Empty, 0));
    assert_eq!(state(&killed, "static"), (GroupState::Stable, 1));
    drop((dynamic, fixed));
}

/// The file that decides which topic a directory belongs to, or how long its records stay, is not
/// guessed at: the others open.
#[test]
fn damaged_small_file_takes_partition_offline() {
    let cases: [(&str, &str, &[u8], usize); 4] = [
        ("data/orders-0", "topic.properties", b"partitions=3\nstate=deletin", 3),
        ("data/orders-0", "partition.metadata", b"\0\0\0\0", 1),
        ("data/orders-1", "partition.metadata", b"version: 0\ntopic_id: x", 1),
        ("data/orders-2", "partition.metadata", b"version: 0\ntopic_id: J8aAPcfLQt2bqs1JT_rMgQ", 1),
    ];
    for (dir, name, bytes, offline) in cases {
        let fs = MemFs::new();
        three_of_two(&fs);
        let before = read_file(&fs, dir, name);
        replace_file(&fs, dir, name, bytes);
        assert!(strict(&fs).is_err());
        let store = open(&fs).unwrap();
        let orders = store.topic("orders").unwrap();
        assert_eq!(orders.unavailable_partitions().len(), offline, "{dir} {name}");
        store.topic("users").unwrap().partition(0).unwrap().append("x").unwrap();
        let changed = store.alter_topic("orders", orders.config());
        assert_eq!(changed.is_err(), name == "topic.properties");
        assert_eq!(read_file(&fs, dir, name), bytes);
        replace_file(&fs, dir, name, &before);
        for number in orders.unavailable_partitions().into_keys() {
            store.reopen_partition("orders", number, OnCorruption::Fail).unwrap();
        }
        assert_eq!(values_from(&orders, 1), ["b", "c"]);
        store.close().unwrap();
        assert!(strict(&fs).is_ok());
    }
}

fn values_from(topic: &Topic, partition: u32) -> Vec<String> {
    let log = topic.partition(partition).unwrap();
    let reader = log.reader(log.offsets().start).unwrap();
    reader.records().map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
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

#[test]
fn topic_is_deletable_with_offline_partition() {
    let fs = MemFs::new();
    three_of_two(&fs);
    damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    store.delete_topic("orders").unwrap();
    let again = store.create_topic("orders", partitions(3)).unwrap();
    assert_eq!(again.partition(1).unwrap().offsets().end, 0);
    store.close().unwrap();
    assert_eq!(values(&strict(&fs).unwrap().topic("orders").unwrap(), 1), Vec::<String>::new());
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

/// One damaged batch of the offsets, and a deletion to be finished: the store did not open.
#[test]
fn store_opens_when_offsets_are_damaged() {
    let mem = MemFs::new();
    let fs = FaultFs::new(mem.clone());
    let store = Store::open(DATA, config(&mem).fs(fs.clone())).unwrap();
    for topic in ["t", "other"] {
        store.create_topic(topic, partitions(1)).unwrap();
    }
    let at = || [(TopicPartition::new("other", 0), 0.into())].into();
    for group in 0..8 {
        store.admin().alter_offsets(&format!("g{group}"), at()).unwrap();
    }
    fs.add_rule(Rule::new(Operation::RenameDir, Fault::Error(io::ErrorKind::Other)).nth(1));
    assert!(store.delete_topic("t").is_err());
    store.close().unwrap();
    let dir = "data/__consumer_offsets-0";
    let mut bytes = read_file(&mem, dir, SEGMENT);
    bytes[90..93].copy_from_slice(b"\xff\xff\xff");
    replace_file(&mem, dir, SEGMENT, &bytes);
    let store = open(&mem).unwrap();
    assert!(store.topic("t").is_err());
    let (mut kept, mut damaged) = (0, 0);
    for group in 0..8 {
        match store.admin().alter_offsets(&format!("g{group}"), at()) {
            Ok(()) => kept += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                damaged += 1;
            }
        }
    }
    assert!(kept > 0 && damaged > 0, "{kept} {damaged}");
    store.create_topic("t", partitions(1)).unwrap();
    store.delete_topic("t").unwrap();
    store.close().unwrap();
    // The partition is offline now: the groups of the other one continue.
    damage(&mem, dir);
    let store = open(&mem).unwrap();
    assert_eq!(store.topic("__consumer_offsets").unwrap().unavailable_partitions().len(), 1);
    let done = (0..8).filter(|g| store.admin().alter_offsets(&format!("g{g}"), at()).is_ok());
    assert_eq!(done.count(), kept);
    store.delete_topic("other").unwrap();
}

/// One partition of the offsets is damaged: its groups are missing, and the answer says so.
#[test]
fn groups_are_listed_beside_offline_ones() {
    let fs = MemFs::new();
    let names: Vec<String> = (0..8).map(|group| format!("g{group}")).collect();
    let store = open(&fs).unwrap();
    store.create_topic("orders", partitions(1)).unwrap();
    for name in &names {
        let at = TopicPartition::new("orders", 0);
        store.admin().alter_offsets(name, [(at, 0.into())].into()).unwrap();
    }
    store.topic("__consumer_offsets").unwrap().partition(0).unwrap().roll().unwrap();
    store.close().unwrap();
    damage(&fs, "data/__consumer_offsets-0");
    let store = open(&fs).unwrap();
    let view = Store::open_read_only(DATA, config(&fs)).unwrap();
    let admin = store.admin();
    for listed in [admin.list_groups().unwrap(), view.list_groups().unwrap()] {
        assert_eq!(listed.unavailable[&0].kind(), ErrorKind::Corrupt);
        assert_eq!(listed.unavailable.len(), 1);
        assert!((1..8).contains(&listed.groups.len()), "{listed:?}");
        for name in &names {
            let is_listed = listed.groups.iter().any(|listed| listed.group == *name);
            for described in [admin.describe_group(name), view.describe_group(name)] {
                let failed = described.map(|described| described.group).map_err(|e| e.kind());
                assert_eq!(failed, is_listed.then(|| name.clone()).ok_or(ErrorKind::Corrupt));
            }
        }
    }
    assert_eq!(admin.expire_offsets().unwrap(), 0);
    store.reopen_partition("__consumer_offsets", 0, OnCorruption::Quarantine).unwrap();
    assert!(admin.list_groups().unwrap().unavailable.is_empty());
    store.close().unwrap();
}

/// A member of a group is assigned all partitions, also one that is offline. It reads that as soon
/// as it is back.
#[test]
fn member_reads_partition_once_reopened() {
    let fs = MemFs::new();
    three_of_two(&fs);
    let sound = damage(&fs, "data/orders-1");
    let store = open(&fs).unwrap();
    let admin = store.admin();
    let earliest = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut member = store.consumer(earliest).unwrap();
    member.subscribe(["orders"]).unwrap();
    let mut read = |expected: usize| {
        let mut found = 0;
        while found < expected {
            let polled = member.poll(NOTHING).unwrap();
            assert!(!polled.is_empty(), "{found} of {expected}");
            found += polled.len();
        }
        assert!(member.poll(NOTHING).unwrap().is_empty());
        member.assignment().len()
    };
    assert_eq!(read(4), 2);
    let generation = admin.describe_group("group").unwrap().generation;
    replace_file(&fs, "data/orders-1", SEGMENT, &sound);
    let log = store.reopen_partition("orders", 1, OnCorruption::Fail).unwrap();
    assert_eq!(read(2), 3);
    log.append("more").unwrap();
    assert_eq!(read(1), 3);
    assert_eq!(admin.describe_group("group").unwrap().generation, generation);
    drop(member);
    store.close().unwrap();
}

/// Groups are found by the number of partitions, and all a group has committed is one record of a
/// key.
#[test]
fn internal_topics_cannot_be_changed() {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    store.create_topic("t", partitions(1)).unwrap();
    let at = TopicPartition::new("t", 0);
    for group in 0..20 {
        let offsets = [(at.clone(), 0.into())].into();
        store.admin().alter_offsets(&format!("g{group}"), offsets).unwrap();
    }
    let offsets = store.topic("__consumer_offsets").unwrap();
    let deleting = offsets.config().set("cleanup.policy", "compact,delete").unwrap();
    for rejected in [
        store.add_partitions("__consumer_offsets", 100),
        store.delete_topic("__consumer_offsets"),
        store.alter_topic("__consumer_offsets", deleting),
        store.alter_topic("__consumer_offsets", partitions(1)),
        store.admin().delete_records("__consumer_offsets", 0, 1).map(drop),
    ] {
        let rejected = topic_error(rejected.unwrap_err());
        assert!(matches!(rejected, TopicError::Internal { .. }), "{rejected}");
    }
    let smaller = offsets.config().set("segment.bytes", "1000000").unwrap();
    store.alter_topic("__consumer_offsets", smaller).unwrap();
    store.close().unwrap();
    let store = open(&fs).unwrap();
    for group in 0..20 {
        let consumer = store.consumer(ConsumerConfig::new(format!("g{group}"))).unwrap();
        assert!(consumer.committed(&at).unwrap().is_some());
    }
}

/// The topics that brokers of Kafka 4 keep for themselves: patterns do not meet them, and what
/// they hold is not compacted away.
#[test]
fn topics_of_brokers_are_internal() {
    let fs = MemFs::new();
    let internal = ["__share_group_state", "__transaction_state", "__remote_log_metadata"];
    for name in internal {
        let config = LogConfig::default().fs(fs.clone());
        let log = Log::open(format!("{DATA}/{name}-0"), config).unwrap();
        log.append(Record::new("x").key("k")).unwrap();
        log.close().unwrap();
    }
    let store = open(&fs).unwrap();
    for name in internal {
        let topic = store.topic(name).unwrap();
        assert!(topic.is_internal());
        let policy = topic.config().get("cleanup.policy").map(str::to_owned);
        assert_eq!(policy.as_deref() == Some("compact"), name == "__transaction_state");
        assert!(store.create_topic(name, partitions(1)).is_err());
    }
    store.create_topic("own", partitions(1)).unwrap().partition(0).unwrap().append("x").unwrap();
    let config = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe_pattern(annals::TopicPattern::new(|_| true)).unwrap();
    let read: Vec<_> = (0..5).flat_map(|_| consumer.poll(NOTHING).unwrap()).collect();
    assert!(read.iter().all(|record| &*record.topic == "own") && read.len() == 1);
}

/// A clock that does something the next time it is asked.
#[derive(Debug)]
struct Interrupting(annals::ManualClock, Mutex<Option<Store>>);

impl annals::Clock for Interrupting {
    fn now(&self) -> annals::Timestamp {
        let store = self.1.lock().unwrap().take();
        if let Some(store) = store {
            store.delete_topic("t").unwrap();
            store.create_topic("t", partitions(1)).unwrap();
        }
        annals::Clock::now(&self.0)
    }

    fn monotonic(&self) -> Duration {
        annals::Clock::monotonic(&self.0)
    }
}

/// Looked up, deleted, then committed for: the next topic of that name began there.
#[test]
fn offsets_change_fails_when_topic_deleted() {
    let fs = MemFs::new();
    let manual = annals::ManualClock::new(annals::Timestamp::from_millis(1_700_000_000_000));
    let clock = Arc::new(Interrupting(manual, Mutex::default()));
    let store = Store::open(DATA, config(&fs).clock(clock.clone())).unwrap();
    let topic = store.create_topic("t", partitions(1)).unwrap();
    topic.partition(0).unwrap().append_all((0..9).map(|n| format!("{n}").into())).unwrap();
    let at = TopicPartition::new("t", 0);
    store.admin().alter_offsets("group", [(at.clone(), 1.into())].into()).unwrap();
    *clock.1.lock().unwrap() = Some(store.clone());
    let altered = store.admin().alter_offsets("group", [(at.clone(), 5.into())].into());
    assert_eq!(altered.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(store.topic("t").unwrap().partition(0).unwrap().offsets().end, 0);
    let consumer = store.consumer(ConsumerConfig::new("group")).unwrap();
    assert_eq!(consumer.committed(&at).unwrap(), None);
}

/// The tool, or another viewer, sees the changes of the writer, and does not disturb it.
#[test]
fn view_follows_live_writer() {
    let fs = MemFs::new();
    assert!(Store::open_read_only("nowhere", config(&fs)).is_err());
    let store = open(&fs).unwrap();
    let view = Store::open_read_only(DATA, config(&fs)).unwrap();
    assert!(view.topics().unwrap().is_empty() && view.list_groups().unwrap().groups.is_empty());
    let orders = store.create_topic("orders", partitions(2)).unwrap();
    orders.partition(1).unwrap().append_all(["a", "b", "c"].map(Into::into)).unwrap();
    orders.partition(1).unwrap().delete_before(1).unwrap();
    assert_eq!(view.topics().unwrap(), ["orders"]);
    let log = view.partition("orders", 1).unwrap();
    assert_eq!(log.offsets().end, 3);
    orders.partition(1).unwrap().append("d").unwrap();
    assert_eq!(log.get(3).unwrap().unwrap().value_str(), Some("d"));
    assert_eq!(log.append("no").unwrap_err().kind(), ErrorKind::ReadOnly);
    let described = view.describe_topic("orders").unwrap();
    assert_eq!(described.id, orders.id());
    assert_eq!((described.partitions[1].start, described.partitions[1].end), (1, 4));
    assert_eq!(described.configs, store.admin().describe_topic("orders").unwrap().configs);

    let consumer = ConsumerConfig::new("group").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(consumer).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    let read: usize = (0..5).map(|_| consumer.poll(NOTHING).unwrap().len()).sum();
    assert_eq!(read, 3);
    let at = TopicPartition::new("orders", 1);
    store.admin().alter_offsets("other", [(at.clone(), 2.into())].into()).unwrap();
    let names: Vec<_> =
        view.list_groups().unwrap().groups.into_iter().map(|listed| listed.group).collect();
    assert_eq!(names, ["group", "other"]);
    let group = view.describe_group("group").unwrap();
    assert_eq!(group.members, store.admin().describe_group("group").unwrap().members);
    assert_eq!(view.describe_group("other").unwrap().offsets[&at].lag, Some(2));
    assert!(view.describe_group("none").is_err() && view.partition("none", 0).is_err());
    assert!(view.partition("../data/orders", 0).is_err());

    // Nothing was locked, and nothing is written.
    consumer.close().unwrap();
    store.close().unwrap();
    let all = || {
        let mut dirs = vec![fs.list(Path::new(DATA)).unwrap()];
        for dir in ["orders-0", "orders-1", "__consumer_offsets-0", "__consumer_offsets-1"] {
            dirs.push(fs.list(&Path::new(DATA).join(dir)).unwrap());
        }
        dirs
    };
    let before = all();
    assert_eq!(view.describe_group("other").unwrap().offsets[&at].lag, Some(2));
    view.describe_topic("orders").unwrap();
    assert_eq!(all(), before);
    let store = open(&fs).unwrap();
    store.delete_topic("orders").unwrap();
    assert_eq!(view.topics().unwrap(), ["__consumer_offsets"]);
}
