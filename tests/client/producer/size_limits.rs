//! Records and batches that are too large: what is rejected, and batches that are split because
//! a limit was lowered.

use super::{numbers, produce_error, scene, scene_with};
use crate::{HOUR, TOPIC, to};
use annals::*;
use std::io;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::T0;

#[test]
fn rejected_record_harms_no_other() {
    let log = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let scene = scene_with(TopicConfig::default().log(log.max_message_bytes(2000)));
    let producer = scene.lingering_producer();
    let keyed = |value: &str| ProducerRecord::new(TOPIC, Record::new(value.to_owned()).key("k"));
    let mut handles = vec![producer.send(keyed("0")).unwrap()];
    let rejected = producer.send(to(0, "no key")).unwrap_err();
    assert!(matches!(rejected, Error::InvalidRecord { reason: InvalidRecord::MissingKey, .. }));
    let mut early = keyed("early");
    early.record = early.record.timestamp(Timestamp::from_millis(-5));
    assert!(matches!(
        producer.send(early).unwrap_err(),
        Error::InvalidRecord { reason: InvalidRecord::Timestamp { .. }, .. }
    ));
    // No batch grows beyond what the topic takes, and what is larger on its own fails alone.
    handles.extend((1..100).map(|n| producer.send(keyed(&n.to_string())).unwrap()));
    let large = producer.send(keyed(&"x".repeat(3000))).unwrap();
    handles.push(producer.send(keyed("100")).unwrap());
    assert!(matches!(produce_error(large.wait()), ProduceError::Batch(cause)
        if matches!(*cause, Error::BatchTooLarge { limit: 2000, .. })));
    for handle in handles {
        handle.wait().unwrap();
    }
    assert_eq!(scene.values(0), numbers(0..101));
}

#[test]
fn oversized_record_changes_nothing() {
    let scene = scene(1);
    let config =
        ProducerConfig::default().max_request_bytes(500).linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let error = produce_error(producer.send(to(0, "x".repeat(500))));
    assert!(matches!(
        error,
        ProduceError::RecordTooLarge { limit: 500, option: "max_request_bytes", bytes: 597 }
    ));
    let config = ProducerConfig::default().buffer_bytes(500).batch_bytes(500);
    let small = scene.store.producer(config).unwrap();
    let error = produce_error(small.send(to(0, "x".repeat(500))));
    assert!(matches!(error, ProduceError::RecordTooLarge { option: "buffer_bytes", .. }));
    assert_eq!(producer.stats(), ProducerStats::default());
    producer.send(to(0, "x".repeat(403))).unwrap();
}

/// The limit is lowered while a batch of several records waits. Its records fit by themselves, so
/// they are sent in several batches, numbered one after the other.
#[test]
fn batch_is_split_when_limit_drops() {
    for codec in [Codec::None, Codec::Lz4] {
        let scene = scene(1);
        let config = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR);
        let producer = scene.store.producer(config.compression(codec)).unwrap();
        let mut chance = support::Chance(7);
        let mut value =
            || -> String { (0..500).map(|_| char::from(b'!' + chance.below(90) as u8)).collect() };
        let sent: Vec<String> = (0..20).map(|_| value()).collect();
        let (tell, told) = channel();
        let mut handles = Vec::new();
        for (n, value) in sent.iter().enumerate() {
            scene.clock.advance(Duration::from_millis(1));
            let record = Record::new(value.clone()).header("n", n.to_string());
            let record = ProducerRecord::new(TOPIC, record);
            let tell = tell.clone();
            let callback = move |sent: Result<&RecordMetadata, &Error>| {
                tell.send(sent.unwrap().offset).unwrap();
            };
            handles.push(producer.send_with_callback(record, callback).unwrap());
        }
        let lower = scene.topic.config().max_message_bytes(2000);
        scene.store.alter_topic(TOPIC, lower).unwrap();
        for (n, handle) in handles.iter().enumerate() {
            let sent = handle.wait().unwrap();
            assert_eq!(sent.offset, Some(n as u64));
            assert_eq!(told.recv().unwrap(), Some(n as u64));
            let stored = scene.topic.partition(0).unwrap().get(n as u64).unwrap().unwrap();
            assert_eq!(stored.timestamp, Timestamp::from_millis(T0 + 1 + n as i64));
            assert_eq!(sent.timestamp, stored.timestamp);
            assert_eq!(stored.headers[0].value.as_deref(), Some(n.to_string().as_bytes()));
        }
        assert_eq!(scene.values(0), sent);
        let known = scene.topic.partition(0).unwrap().producers().unwrap();
        assert_eq!((known[0].producer_epoch, known[0].last_sequence), (0, 19));
        assert_eq!(producer.stats().buffered_bytes, 0);
        producer.flush().unwrap();
    }
}

/// A record that the topic does not take any more fails by itself.
#[test]
fn record_over_lowered_limit_fails_alone() {
    for acks in [Acks::Written, Acks::Flushed] {
        let scene = scene(1);
        let config = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR).acks(acks);
        let producer = scene.store.producer(config).unwrap();
        let (tell, told) = channel();
        let mut handles = Vec::new();
        for n in 0..9 {
            let tell = tell.clone();
            let value = if n % 4 == 1 { "x".repeat(3000) } else { n.to_string() };
            let callback = move |sent: Result<&RecordMetadata, &Error>| {
                tell.send((n, sent.ok().and_then(|sent| sent.offset))).unwrap();
            };
            handles.push(producer.send_with_callback(to(0, value), callback).unwrap());
        }
        let lower = scene.topic.config().max_message_bytes(1000);
        scene.store.alter_topic(TOPIC, lower).unwrap();
        let failed = produce_error(producer.flush());
        assert!(
            matches!(failed, ProduceError::Batch(e) if matches!(*e, Error::BatchTooLarge { .. }))
        );
        assert_eq!(scene.values(0), ["0", "2", "3", "4", "6", "7", "8"]);
        let mut offset = 0;
        for (n, handle) in handles.iter().enumerate() {
            let is_large = n % 4 == 1;
            let expected = (!is_large).then_some(offset);
            assert_eq!(handle.wait().ok().map(|sent| sent.offset.unwrap()), expected, "{n}");
            assert_eq!(told.recv().unwrap(), (n, expected));
            offset += u64::from(!is_large);
        }
        let known = scene.topic.partition(0).unwrap().producers().unwrap();
        assert_eq!((known[0].producer_epoch, known[0].last_sequence), (0, 6));
        assert_eq!((producer.stats().errors, producer.stats().buffered_bytes), (2, 0));
    }
}

/// The limit goes up and down, and the disk is full now and then, while batches wait, are split,
/// and are retried. Each record is there once and in order, unless it is too large by itself.
#[test]
fn split_batches_keep_order_through_retries() {
    for seed in support::seeds("PRODUCER_SPLIT_SEED", 60) {
        eprintln!("seed: PRODUCER_SPLIT_SEED={seed}");
        let mut chance = support::Chance(seed);
        let scene = scene(1);
        let config = ProducerConfig::default().linger(HOUR).delivery_timeout(2 * HOUR);
        let producer = scene.store.producer(config.batch_bytes(3000)).unwrap();
        let mut sent = Vec::new();
        for n in 0..60 {
            match chance.below(10) {
                0 => {
                    let limit = 200 + chance.below(2000);
                    let config = scene.topic.config().max_message_bytes(limit);
                    scene.store.alter_topic(TOPIC, config).unwrap();
                }
                1 => drop(scene.fail_writes(io::ErrorKind::StorageFull)),
                2 => {
                    scene.fs.clear_rules();
                    scene.clock.advance(Duration::from_secs(1));
                    producer.poll();
                }
                3 => producer.send(to(0, "now")).map_or((), |sent: SendHandle| {
                    drop(sent.wait_timeout(Duration::ZERO));
                }),
                _ => {
                    let value = format!("{n}-{}", "x".repeat(chance.below(400) as usize));
                    sent.push((value.clone(), producer.send(to(0, value)).unwrap()));
                }
            }
        }
        scene.fs.clear_rules();
        scene.clock.advance(Duration::from_secs(2));
        producer.poll();
        producer.flush().ok();
        let stored = scene.values(0);
        let mut expected = Vec::new();
        for (value, handle) in sent {
            match handle.wait() {
                Ok(sent) => {
                    assert_eq!(stored[sent.offset.unwrap() as usize], value);
                    expected.push(value);
                }
                Err(_) => assert!(value.len() > 50, "{value} is not too large"),
            }
        }
        assert!(stored.iter().filter(|value| *value != "now").eq(&expected));
        let known = scene.topic.partition(0).unwrap().producers().unwrap();
        assert_eq!(known[0].producer_epoch, 0);
        assert_eq!(producer.stats().buffered_bytes, 0);
    }
}
