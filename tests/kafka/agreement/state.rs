//! Producers and groups: Kafka knows the same of them from the same bytes.

use super::{copy_dir, record, run, same, small};
use crate::build::{kafka, say};
use annals::inspect::producer_snapshot;
use annals::record::BatchBuilder;
use annals::{
    AutoOffsetReset, ConsumerConfig, GroupCoordinatorConfig, Log, ManualClock, OffsetAndMetadata,
    ProducerState, Store, StoreConfig, Timestamp, TopicConfig, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use support::T0;

/// Numbered batches, as `KafkaAgrees.number` makes them.
fn number(log: &Log, from: i32) {
    for n in from..from + 60 {
        let (round, count, producer) = (n / 3, 1 + n % 3 * 2, n % 3);
        let epoch = if producer == 1 { round / 8 } else { 2 };
        let sequence = match producer {
            0 => round * count,
            1 => round % 8 * count,
            _ => (i32::MAX - 22).wrapping_add(round * count) & i32::MAX,
        };
        let mut builder = BatchBuilder::new();
        builder.producer(5000 + i64::from(producer), epoch as i16, sequence);
        for _ in 0..count {
            let time = Timestamp::from_millis(T0 - 1000 + i64::from(n));
            builder.push(time, Some(b"key"), Some(&[0; 1500])).unwrap();
        }
        let appended = log.append_batch(builder.build().unwrap()).unwrap();
        assert!(!appended.duplicate, "{n}");
    }
}

pub(super) fn producer_lines(states: &[ProducerState]) -> Vec<String> {
    let line = |state: &ProducerState| {
        format!(
            "P {} {} {} {} {} {} {} {}",
            state.producer_id,
            state.producer_epoch,
            state.last_sequence,
            state.last_offset,
            state.offset_delta,
            state.last_timestamp.as_millis(),
            state.coordinator_epoch,
            state.current_txn_first_offset
        )
    };
    states.iter().map(line).collect()
}

/// The output of `KafkaAgrees.producers` for the snapshots: as we read the files that are there.
fn snapshot_lines(dir: &Path) -> BTreeMap<u64, Vec<String>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let snapshots = files.filter(|path| path.extension().is_some_and(|end| end == "snapshot"));
    snapshots
        .map(|path| {
            let offset = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            let states = producer_snapshot(&annals::fs::DiskFs, &path).unwrap();
            (offset, producer_lines(&states))
        })
        .collect()
}

/// The output of Kafka: its producers, and those of each snapshot.
fn kafkas(printed: &[String]) -> (Vec<String>, BTreeMap<u64, Vec<String>>) {
    let mut parts = printed.split(|line| line.starts_with("F "));
    let live = parts.next().unwrap().to_vec();
    let offsets = printed.iter().filter_map(|line| line.strip_prefix("F ")?.parse().ok());
    (live, offsets.zip(parts.map(<[String]>::to_vec)).collect())
}

#[test]
fn kafka_knows_same_producers() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(format!("{name}-0"));
    let noon = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = small().clock(noon).leader_epoch(3);
    let open = |name: &str| Log::open(dir(name), config.clone()).unwrap();
    let ways = ["clean", "crashed"];

    // Ours, closed and killed, then theirs.
    let log = open("ours");
    number(&log, 0);
    copy_dir(&dir("ours"), &dir("ours-killed"));
    log.close().unwrap();
    let known = producer_lines(&open("ours-killed").producers().unwrap());
    assert_eq!(known.len(), 3);
    let (ours, of_ours) =
        (["ours", "ours-killed"], ["ours", "ours-killed"].map(|name| snapshot_lines(&dir(name))));
    let mut script = Vec::new();
    for (name, how) in ours.iter().zip(ways) {
        script.push(format!("producers {} {T0} {how}", dir(name).display()));
        script.push(format!("number {} {T0} 60", dir(name).display()));
    }
    script.push(format!("number {} {T0} 0", dir("theirs").display()));
    let printed = run(kafka, &script);
    for (at, (name, mine)) in ours.iter().zip(&of_ours).enumerate() {
        let (live, snapshots) = kafkas(&printed[at * 2]);
        same(&live, &known, name);
        assert!(mine.len() >= 2, "{name}: {mine:?}");
        for (offset, lines) in mine {
            // Kafka drops one where the log begins.
            assert!(*offset == 0 || snapshots.get(offset) == Some(lines), "{name}, {offset}");
        }
        // Kafka continued, and we continue after it.
        let log = open(name);
        same(&printed[at * 2 + 1], &producer_lines(&log.producers().unwrap()), name);
        number(&log, 120);
        log.close().unwrap();
    }

    let theirs = ["theirs", "theirs-as-crashed"];
    let mut script = Vec::new();
    let mut expected = Vec::new();
    for (name, how) in theirs.iter().zip(ways) {
        let snapshots = snapshot_lines(&dir(name));
        assert!(snapshots.values().filter(|lines| lines.len() == 3).count() >= 2, "{name}");
        let log = open(name);
        same(&printed[4], &producer_lines(&log.producers().unwrap()), name);
        assert!(log.recovery().unknown_files.is_empty(), "{name}: {:?}", log.recovery());
        number(&log, 60);
        expected.push(producer_lines(&log.producers().unwrap()));
        let copy = format!("{name}-and-killed");
        copy_dir(&dir(name), &dir(&copy));
        log.close().unwrap();
        for (name, how) in [(*name, how), (&copy, "crashed")] {
            script.push(format!("producers {} {T0} {how}", dir(name).display()));
        }
    }
    for name in ours {
        script.push(format!("producers {} {T0} clean", dir(name).display()));
        expected.push(producer_lines(&open(name).producers().unwrap()));
    }
    let printed = run(kafka, &script);
    for (at, printed) in printed.iter().take(script.len()).enumerate() {
        let expected = &expected[if at < 4 { at / 2 } else { at - 2 }];
        same(&kafkas(printed).0, expected, &script[at]);
    }
    say(&format!("kafka: knows the same producers in {} logs", script.len() + 4));
}

/// Two groups with members, one of them static, one that only has offsets, and one that was
/// deleted.
fn fill_groups(store: &Store) -> Vec<annals::Consumer> {
    let orders = store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let users = store.create_topic("users", TopicConfig::default()).unwrap();
    for log in orders.partitions().iter().chain(&*users.partitions()) {
        log.append_all((0..5).map(record)).unwrap();
    }
    let config = |group: &str, client: &str| {
        ConsumerConfig::new(group).client_id(client).auto_offset_reset(AutoOffsetReset::Earliest)
    };
    let mut consumers = Vec::new();
    for config in [
        config("billing", "first").instance_id("static"),
        config("billing", "second").session_timeout(std::time::Duration::from_secs(60)),
        config("shipping", "third"),
    ] {
        let mut consumer = store.consumer(config).unwrap();
        consumer.subscribe(["orders", "users"]).unwrap();
        consumers.push(consumer);
    }
    for _ in 0..8 {
        consumers.iter_mut().for_each(|consumer| drop(consumer.poll(Default::default()).unwrap()));
    }
    consumers.iter_mut().for_each(|consumer| consumer.commit().unwrap());
    let at = |number| TopicPartition::new("orders", number);
    let mine = consumers[2].assignment()[0].clone();
    let committed =
        OffsetAndMetadata { offset: 3, leader_epoch: Some(7), metadata: "\u{e9}".into() };
    consumers[2].commit_offsets([(mine, committed)]).unwrap();
    let admin = store.admin();
    for group in ["audit", "gone"] {
        let offsets = [(at(0), 1.into()), (at(2), 5.into())].into();
        admin.alter_offsets(group, offsets).unwrap();
    }
    admin.delete_offsets("audit", [at(0)]).unwrap();
    admin.delete_group("gone").unwrap();
    consumers
}

/// The groups of a store, as Kafka's side prints them, without their leader.
fn groups_of(store: &Store) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for listed in store.admin().list_groups().unwrap().groups {
        let group = store.admin().describe_group(&listed.group).unwrap();
        let name = &group.group;
        for (at, offset) in &group.offsets {
            let OffsetAndMetadata { offset, leader_epoch, metadata } = &offset.committed;
            let epoch = leader_epoch.unwrap_or(-1);
            let place = format!("O {name} {} {}", at.topic, at.partition);
            lines.insert(format!("{place} {offset} {epoch} '{metadata}' {T0} -1"));
        }
        if let Some(assignor) = &group.assignor {
            lines.insert(format!("G {name} consumer {} {assignor} {T0}", group.generation));
        }
        for member in group.members {
            let mut assigned: Vec<String> = member
                .assignment
                .iter()
                .map(|at| format!("{}-{}", at.topic, at.partition))
                .collect();
            assigned.sort();
            let session = if member.client_id == "second" { 60_000 } else { 45_000 };
            let instance = member.instance_id.unwrap_or("null".to_owned());
            lines.insert(format!(
                "M {name} {} {instance} {} /127.0.0.1 300000 {session} orders,users {}",
                member.member_id,
                member.client_id,
                assigned.join(",")
            ));
        }
    }
    lines
}

#[test]
fn kafka_knows_same_groups() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let groups = GroupCoordinatorConfig::default().offsets_partitions(3);
    let config = StoreConfig::default().clock(clock).group_coordinator(groups).maintenance(None);
    let store = Store::open(root.path(), config).unwrap();
    let consumers = fill_groups(&store);
    let script: Vec<String> = (0..3)
        .map(|number| {
            format!("groups {}", root.path().join(format!("__consumer_offsets-{number}")).display())
        })
        .collect();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut records, mut tombstones) = (0, 0);
    for line in run(kafka, &script).into_iter().flatten() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "M" {
            known.get_mut(&format!("G {}", words[1])).unwrap().push(line);
            continue;
        }
        records += 1;
        let key = words[..if words[0] == "O" { 4 } else { 2 }].join(" ");
        if words.last() == Some(&"-") {
            tombstones += 1;
            known.remove(&key);
        } else if words[0] == "O" {
            known.insert(key, vec![line]);
        } else {
            // The leader is a member, or there is none.
            let head = [&words[..5], &words[6..]].concat().join(" ");
            assert!(words[5] == "null" || words[5].contains('-'), "{line}");
            known.insert(key, vec![head]);
        }
    }
    let theirs: BTreeSet<String> = known.into_values().flatten().collect();
    assert_eq!(theirs, groups_of(&store));
    assert!(tombstones >= 3, "{tombstones}");
    assert_eq!(theirs.iter().filter(|line| line.starts_with("M ")).count(), consumers.len());
    say(&format!("kafka: knows the same groups from {records} records"));
}
