//! Topics that are unknown, change, are deleted or created again while records wait for them.

use super::{numbers, produce_error, scene};
use crate::{HOUR, TOPIC, to};
use annals::fs::MemFs;
use annals::*;
use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::values;

#[test]
fn unknown_topics_and_partitions_are_rejected() {
    let scene = scene(2);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    let error = producer.send(("nowhere", "x")).unwrap_err();
    assert!(matches!(error, Error::Topic(e) if matches!(*e, TopicError::Unknown { .. })));
    let error = producer.send(to(2, "x")).unwrap_err();
    assert!(matches!(error, Error::Topic(e)
        if matches!(*e, TopicError::UnknownPartition { partition: 2, partitions: 2, .. })));
    // It is found once it is there.
    scene.store.create_topic("nowhere", TopicConfig::default()).unwrap();
    producer.send(("nowhere", "x")).unwrap().wait().unwrap();
}

/// A record in a topic of the store could make all committed offsets or transactions unreadable.
#[test]
fn internal_topics_are_rejected() {
    let scene = scene(1);
    let shop = ProducerConfig::default().transactional_id("shop");
    let shop = scene.store.producer(shop).unwrap();
    shop.transaction(|tx| tx.send(to(0, "x"))).unwrap();
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    let keyed = || Record::new("x").key("k");
    for topic in ["__transaction_state", "__consumer_offsets"] {
        let rejected = [
            producer.send((topic, keyed())).map(drop).unwrap_err(),
            producer.topic(topic).map(drop).unwrap_err(),
            shop.transaction(|tx| tx.send((topic, keyed())).map(drop)).unwrap_err(),
        ];
        for error in rejected {
            assert!(matches!(error, Error::Topic(e) if matches!(*e, TopicError::Internal { .. })));
        }
    }
    assert_eq!(scene.store.transactions().unwrap().list().unwrap().len(), 1);
}

#[test]
fn topic_may_change_while_sending() {
    let scene = scene(1);
    let producer = scene.lingering_producer();
    let before = producer.send(to(0, "0")).unwrap();
    producer.send(to(1, "x")).unwrap_err();
    scene.store.add_partitions(TOPIC, 3).unwrap();
    producer.send(to(2, "x")).unwrap().wait().unwrap();
    let compacted = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    scene.store.alter_topic(TOPIC, TopicConfig::default().partitions(3).log(compacted)).unwrap();
    producer.send(to(2, "no key")).unwrap_err();

    let waiting = producer.send(ProducerRecord::new(TOPIC, Record::new("x").key("k")));
    // It came before keys were asked for, and was to be written after.
    before.wait_timeout(Duration::ZERO).unwrap_err();
    scene.store.delete_topic(TOPIC).unwrap();
    let gone = produce_error(waiting.unwrap().wait()).to_string();
    assert!(gone.contains("there is no topic"), "{gone}");
    producer.send(to(0, "x")).unwrap_err();
    let again = scene.store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    assert_eq!(producer.send(to(0, "new")).unwrap().wait().unwrap().offset, Some(0));
    assert_eq!(values(&again.partition(0).unwrap()), ["new"]);
    producer.send(to(1, "x")).unwrap_err();
}

/// Topics come and go while one producer lives, which also has records that linger for each. With
/// the topic go the files that it held open, and what it took on the disk.
#[test]
fn deleted_topics_leave_no_file_open() {
    const ROUNDS: u32 = 200;
    let disk = MemFs::new();
    let config = StoreConfig::default().fs(disk.clone()).maintenance(None);
    let store = Store::open("data", config).unwrap();
    let long = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR);
    let producer = store.producer(long).unwrap();
    let mut after_first = None;
    for n in 0..ROUNDS {
        let name = format!("churn-{n}");
        store.create_topic(&name, TopicConfig::default()).unwrap();
        producer.send((name.as_str(), "stored")).unwrap().wait().unwrap();
        let lingers = producer.send((name.as_str(), "lingers")).unwrap();
        store.delete_topic(&name).unwrap();
        assert_eq!(lingers.wait().unwrap_err().kind(), ErrorKind::NotFound);
        producer.poll();
        let used = disk.used_bytes();
        assert_eq!(*after_first.get_or_insert(used), used, "round {n}");
    }
}

/// The open batch belongs to the topic that was deleted. A record for the topic that has its name
/// now does not join it.
#[test]
fn record_reaches_recreated_topic() {
    let scene = scene(2);
    let config = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let earlier = producer.send(to(0, "numbered")).unwrap();
    earlier.wait().unwrap();
    let old = [0, 1].map(|partition| producer.send(to(partition, "old")).unwrap());
    scene.store.delete_topic(TOPIC).unwrap();
    let again = scene.store.create_topic(TOPIC, TopicConfig::default().partitions(2)).unwrap();
    let new = producer.send(to(0, "new")).unwrap();
    for old in old {
        assert_eq!(old.wait().unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(new.wait().unwrap().offset, Some(0));
    assert_eq!(values(&again.partition(0).unwrap()), ["new"]);
    assert_eq!(values(&again.partition(1).unwrap()), numbers(0..0));
    // A log that was closed by itself is a closed log.
    again.partition(1).unwrap().close().unwrap();
    let closed = produce_error(producer.send(to(1, "x")).unwrap().wait());
    assert!(matches!(closed, ProduceError::Batch(cause) if matches!(*cause, Error::Closed { .. })));
}

/// Topics are deleted and created again among the records of one producer, while the disk is full
/// now and then and batches wait to be retried. Each record is once in the topic that had the name
/// when it was sent, or its handle says that there is none such; the topic that is there last has
/// all that was sent to it.
#[test]
fn records_follow_recreated_topics_through_retries() {
    for seed in support::seeds("PRODUCER_RECREATE_SEED", 60) {
        eprintln!("seed: PRODUCER_RECREATE_SEED={seed}");
        let mut chance = support::Chance(seed);
        let scene = scene(1);
        let config = ProducerConfig::default()
            .batch_bytes(chance.below(3) as usize * 150)
            .linger(Duration::from_millis(chance.below(2) * 5))
            .delivery_timeout(HOUR);
        let producer = scene.store.producer(config).unwrap();
        let mut log = scene.topic.partition(0).unwrap();
        let mut sent: Vec<(String, SendHandle)> = Vec::new();
        for n in 0..80 {
            match chance.below(12) {
                0 => {
                    scene.fs.clear_rules();
                    // Nothing else is due, so the producer's thread writes no more.
                    producer.poll();
                    let stored = values(&log);
                    scene.store.delete_topic(TOPIC).unwrap();
                    let topic = scene.store.create_topic(TOPIC, TopicConfig::default()).unwrap();
                    log = topic.partition(0).unwrap();
                    if chance.below(2) == 0 {
                        producer.send(to(0, format!("first-{n}"))).unwrap();
                        check_incarnation(&producer, &scene.clock, &mut sent, &stored, false);
                        assert_eq!(values(&log), [format!("first-{n}")]);
                    } else {
                        check_incarnation(&producer, &scene.clock, &mut sent, &stored, false);
                    }
                }
                1 => drop(scene.fail_writes(io::ErrorKind::StorageFull)),
                2 => scene.fs.clear_rules(),
                3 => scene.clock.advance(Duration::from_millis(chance.below(300))),
                4 => drop(producer.poll()),
                _ => {
                    let value = n.to_string();
                    sent.push((value.clone(), producer.send(to(0, value)).unwrap()));
                }
            }
        }
        scene.fs.clear_rules();
        let first = values(&log).into_iter().find(|value| value.starts_with("first"));
        check_incarnation(&producer, &scene.clock, &mut sent, &[], true);
        let mut stored = values(&log);
        stored.retain(|value| Some(value) != first.as_ref());
        let expected: Vec<String> = sent.into_iter().map(|(value, _)| value).collect();
        assert_eq!(stored, expected);
    }
}

/// Waits for all that was sent to a topic. If the topic is there still, all of it is stored;
/// otherwise what was stored before it went.
fn check_incarnation(
    producer: &Producer,
    clock: &ManualClock,
    sent: &mut Vec<(String, SendHandle)>,
    stored: &[String],
    is_there: bool,
) {
    clock.advance(Duration::from_secs(2));
    producer.poll();
    producer.flush().ok();
    let mut at = stored.iter().filter(|value| !value.starts_with("first"));
    for (value, handle) in sent.iter() {
        match handle.wait() {
            Ok(_) if is_there => {}
            Ok(_) => assert_eq!(at.next(), Some(value)),
            Err(error) => {
                assert!(!is_there, "{value}: {error}");
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            }
        }
    }
    assert_eq!(at.next(), None);
    if !is_there {
        sent.clear();
    }
}

#[test]
fn topic_producer_shares_its_producer() {
    let scene = scene(1);
    let config = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let unknown = producer.topic("nowhere").unwrap_err();
    assert!(matches!(unknown, Error::Topic(e) if matches!(*e, TopicError::Unknown { .. })));
    let orders = producer.topic(TOPIC).unwrap();
    let (tell, told) = channel();
    orders.send("0").unwrap();
    producer.send(to(0, "1")).unwrap();
    orders.send_bytes(None, Some(b"2")).unwrap();
    orders.send_and_forget("3").unwrap();
    orders.send_with_callback("4", move |sent| tell.send(sent.unwrap().offset).unwrap()).unwrap();
    orders.clone().send_to(0, "5").unwrap();
    producer.flush().unwrap();
    assert_eq!((scene.values(0), scene.batches(0)), (numbers(0..6), vec![6]));
    assert_eq!(told.recv().unwrap(), Some(4));
    assert_eq!(producer.stats().records, 6);

    orders.send_to(1, "x").unwrap_err();
    scene.store.add_partitions(TOPIC, 2).unwrap();
    orders.send_to(1, "x").unwrap().wait().unwrap();
    scene.store.delete_topic(TOPIC).unwrap();
    orders.send("x").unwrap_err();
    let again = scene.store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    orders.send("new").unwrap().wait().unwrap();
    assert_eq!(values(&again.partition(0).unwrap()), ["new"]);

    orders.producer().clone().close().unwrap();
    assert!(matches!(produce_error(orders.send("x")), ProduceError::Closed));
    assert!(matches!(produce_error(producer.topic(TOPIC)), ProduceError::Closed));
}
