//! When the records that wait in a batch are written, in which order and form, and the options
//! that bound a batch.

use super::{numbers, scene};
use crate::{HOUR, TOPIC, to};
use annals::*;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{T0, values};

#[test]
fn partition_keeps_order_of_each_sender() {
    const THREADS: u32 = 6;
    const EACH: u32 = 400;
    for config in [
        ProducerConfig::default().batch_bytes(500),
        ProducerConfig::default().linger(Duration::ZERO),
        ProducerConfig::default().batch_bytes(0).acks(Acks::Flushed),
        ProducerConfig::default().batch_bytes(300).buffer_bytes(700),
        ProducerConfig::default().batch_bytes(300).acks(Acks::None),
    ] {
        let store = Store::in_memory(StoreConfig::default()).unwrap();
        let topic = store.create_topic(TOPIC, TopicConfig::default().partitions(2)).unwrap();
        let producer = store.producer(config).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let producer = producer.clone();
                scope.spawn(move || {
                    for n in 0..EACH {
                        let handle = producer.send(to(n % 2, format!("{thread}-{n}"))).unwrap();
                        if n % 50 == thread {
                            handle.wait().unwrap();
                        }
                    }
                });
            }
        });
        producer.flush().unwrap();
        for partition in 0..2 {
            let stored = values(&topic.partition(partition).unwrap());
            assert_eq!(stored.len() as u32, THREADS * EACH / 2);
            for thread in 0..THREADS {
                let prefix = format!("{thread}-");
                let own: Vec<u32> =
                    stored.iter().filter_map(|v| v.strip_prefix(&prefix)?.parse().ok()).collect();
                assert!(own.iter().copied().eq((partition..EACH).step_by(2)));
            }
        }
        let stats = producer.stats();
        assert_eq!((stats.records, stats.buffered_bytes), (u64::from(THREADS * EACH), 0));
        producer.close().unwrap();
    }
}

#[test]
fn full_batch_is_written() {
    let scene = scene(1);
    let config = ProducerConfig::default().batch_bytes(1000).linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    for _ in 0..40 {
        producer.send(to(0, "x".repeat(90))).unwrap();
    }
    let batches = scene.batches(0);
    assert!(batches.iter().all(|count| *count == 9), "{batches:?}");
    assert_eq!(batches.len(), 4);
    assert_eq!(producer.stats().batches, 4);
    // A record larger than a batch has one of its own, and 0 makes it so for all.
    producer.send(to(0, "y".repeat(5000))).unwrap();
    assert_eq!(scene.batches(0)[4..], [4, 1]);
    let each = scene
        .store
        .producer(ProducerConfig::default().batch_bytes(0).linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
    each.send(to(0, "z")).unwrap();
    assert_eq!(scene.batches(0)[6..], [1]);
}

#[test]
fn batch_is_written_after_linger() {
    let scene = scene(2);
    let config = ProducerConfig::default().linger(Duration::from_millis(50));
    let producer = scene.store.producer(config).unwrap();
    let first = producer.send(to(0, "a")).unwrap();
    scene.clock.advance(Duration::from_millis(20));
    let second = producer.send(to(1, "b")).unwrap();
    assert_eq!(producer.poll(), Some(Duration::from_millis(30)));
    scene.clock.advance(Duration::from_millis(30));
    assert_eq!(producer.poll(), Some(Duration::from_millis(20)));
    assert!(first.wait_timeout(Duration::ZERO).unwrap().is_some() && !second.is_done());
    scene.clock.advance(Duration::from_millis(20));
    assert_eq!(producer.poll(), None);
    assert_eq!((scene.values(0), scene.values(1)), (vec!["a".into()], vec!["b".into()]));
    // Each has the time at which it was sent.
    assert_eq!(first.wait().unwrap().timestamp, Timestamp::from_millis(T0));
    assert_eq!(second.wait().unwrap().timestamp, Timestamp::from_millis(T0 + 20));
}

#[test]
fn sender_thread_writes_lingering_batches() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let (tell, told) = channel();
    producer
        .send_with_callback(to(0, "a"), move |sent| tell.send(sent.unwrap().offset).unwrap())
        .unwrap();
    assert_eq!(told.recv().unwrap(), Some(0));
}

#[test]
fn wait_writes_without_linger() {
    let scene = scene(1);
    let producer = scene.lingering_producer();
    let first = producer.send(to(0, "0")).unwrap();
    assert_eq!(first.wait().unwrap().offset, Some(0));
    let second = producer.send(to(0, "1")).unwrap();
    let third = producer.send(to(0, "2")).unwrap();
    assert_eq!(third.wait_timeout(HOUR).unwrap().unwrap().offset, Some(2));
    assert!(second.is_done());
    let fourth = producer.send(to(0, "3")).unwrap();
    producer.flush().unwrap();
    assert!(fourth.is_done());
    let awaited = producer.send(to(0, "4")).unwrap();
    let sent = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(awaited);
    assert_eq!(sent.unwrap().offset, Some(4));
    // Two that wait for one batch.
    let handles = [5, 6].map(|n| producer.send(to(0, n.to_string())).unwrap());
    std::thread::scope(|scope| {
        for handle in &handles {
            scope.spawn(|| handle.wait().unwrap());
        }
    });
    assert_eq!(scene.values(0), numbers(0..7));
}

#[test]
fn send_writes_when_buffer_full() {
    let scene = scene(3);
    let config = ProducerConfig::default()
        .batch_bytes(1000)
        .buffer_bytes(2000)
        .linger(HOUR)
        .delivery_timeout(HOUR);
    let producer = scene.store.producer(config.max_block(Duration::ZERO)).unwrap();
    for n in 0..30 {
        producer.send(to(n % 3, n.to_string())).unwrap();
        assert!(producer.stats().buffered_bytes <= 2000);
    }
    producer.flush().unwrap();
    assert_eq!(producer.stats().records, 30);
}

#[test]
fn batches_are_compressed_as_configured() {
    let scene = scene(1);
    let config = ProducerConfig::default().compression(Codec::Zstd);
    let producer = scene.store.producer(config).unwrap();
    for _ in 0..100 {
        producer.send(to(0, "the same each time")).unwrap();
    }
    producer.flush().unwrap();
    let log = scene.topic.partition(0).unwrap();
    let mut reader = log.reader(0).unwrap();
    assert_eq!(reader.next_batch().unwrap().unwrap().header().codec(), Codec::Zstd);
    assert_eq!(scene.values(0).len(), 100);
    assert!(log.stats().unwrap().bytes < 500);
}

#[test]
fn invalid_options_are_rejected() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let config = ProducerConfig::default;
    for (option, config) in [
        ("buffer_bytes", config().buffer_bytes(1000)),
        ("buffer_bytes", config().batch_bytes(0).buffer_bytes(0)),
        ("max_request_bytes", config().max_request_bytes(0)),
        ("max_request_bytes", config().max_request_bytes(u64::MAX)),
        ("batch_bytes", config().batch_bytes(2 << 30).buffer_bytes(u64::MAX)),
        ("delivery_timeout", config().linger(HOUR)),
        ("retry_backoff", config().retry_backoff(HOUR)),
        ("compression", config().compression(record::Compression::Zstd { level: 99 })),
    ] {
        match store.producer(config).unwrap_err() {
            Error::InvalidConfig { option: rejected, .. } => assert_eq!(rejected, option),
            other => panic!("{other}"),
        }
    }
    let config = config().delivery_timeout(Duration::from_secs(1)).linger(Duration::from_secs(5));
    assert_eq!(
        store.producer(config).unwrap_err().to_string(),
        "option `delivery_timeout` is 1s, but must be at least `linger`, which is 5s"
    );
}
