//! Scanning borrowed, appending from a builder and sending bytes take no memory from the
//! allocator, record by record or batch by batch.

use annals::fs::MemFs;
use annals::record::BatchBuilder;
use annals::{
    AutoOffsetReset, ConsumerConfig, Log, LogConfig, ManualClock, ProducerConfig, ProducerRecord,
    StartAt, Store, StoreConfig, Timestamp, TopicConfig,
};
use std::sync::Arc;
use std::time::Duration;
use support::memory::{allocations, held, live_bytes};

fn append(log: &Log, builder: &mut BatchBuilder, batches: usize) {
    for n in 0..batches {
        builder.clear();
        for _ in 0..100 {
            builder.push(Timestamp::from_millis(n as i64), Some(b"key"), Some(&[7; 100])).unwrap();
        }
        log.append_builder(builder).unwrap();
    }
}

fn scan(log: &Log, expected: usize) {
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let mut records = 0;
    while let Some(mut batch) = reader.next_batch().unwrap() {
        for record in batch.records().unwrap() {
            assert_eq!(record.unwrap().value.unwrap().len(), 100);
            records += 1;
        }
    }
    assert_eq!(records, expected);
}

#[test]
fn append_builder_allocates_nothing_when_warm() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("count-0"), LogConfig::default()).unwrap();
    let mut builder = BatchBuilder::new();
    append(&log, &mut builder, 10);
    // The remaining allocations are the index of the segment, which doubles as it grows: a few for
    // thousands of batches.
    let taken = allocations(|| append(&log, &mut builder, 2000));
    assert!(taken <= 12, "2,000 batches took memory {taken} times");
}

#[test]
fn append_allocates_nothing_when_warm() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("count-0"), LogConfig::default()).unwrap();
    let append = || {
        for _ in 0..2000 {
            log.append(annals::Record::new(&b"value"[..])).unwrap();
        }
    };
    append();
    let taken = allocations(append);
    assert!(taken <= 12, "2,000 records took memory {taken} times");
}

#[test]
fn borrowed_scan_allocates_nothing_per_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path().join("count-0"), LogConfig::default()).unwrap();
    let mut builder = BatchBuilder::new();
    append(&log, &mut builder, 20);
    scan(&log, 2_000);
    let few = allocations(|| scan(&log, 2_000));
    append(&log, &mut builder, 980);
    let many = allocations(|| scan(&log, 100_000));
    // The buffer grows to its size; apart from that fifty times the records change nothing.
    assert!(many <= few + 1 && many < 16, "{few} for 2,000 records, {many} for 100,000");
}

#[test]
fn send_bytes_allocates_nothing_per_record() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::default().maintenance(None);
    let store = Store::open(dir.path().join("data"), config).unwrap();
    store.create_topic("count", TopicConfig::default()).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let topic = producer.topic("count").unwrap();
    let send = |records: usize| {
        for _ in 0..records {
            topic.send_bytes(Some(b"key"), Some(&[7; 20])).unwrap();
        }
        producer.flush().unwrap();
    };
    send(10_000);
    // Each batch allocates a little: the state it shares with the handles of its records.
    let before = producer.stats().batches;
    let taken = allocations(|| send(100_000));
    let batches = producer.stats().batches - before;
    assert!(taken <= batches * 8 + 50, "{batches} batches took memory {taken} times");
    assert!(batches < 1000, "{batches} batches");
}

/// Groups whose members have gone are kept for a week, and what they hold is what they have
/// committed.
#[test]
fn empty_group_holds_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::default().maintenance(None);
    let store = Store::open(dir.path().join("data"), config).unwrap();
    store.create_topic("count", TopicConfig::default().partitions(4)).unwrap();
    let leave = |groups: std::ops::Range<u32>| {
        for group in groups {
            let config = ConsumerConfig::new(format!("g{group}"));
            let config = config.auto_offset_reset(AutoOffsetReset::Earliest);
            let mut consumer = store.consumer(config).unwrap();
            consumer.subscribe(["count"]).unwrap();
            consumer.poll(Duration::ZERO).unwrap();
            consumer.close().unwrap();
        }
    };
    leave(0..200);
    let before = live_bytes();
    leave(200..700);
    let each = (live_bytes() - before) / 500;
    assert!(each < 3000, "a group without members holds {each} bytes");
}

/// A log forgot silent producers but kept the table it once needed for them: 300 to 600 bytes for
/// each. The rest of what a log allocates is the same for one producer that writes as much.
#[test]
fn forgotten_producers_hold_no_memory() {
    const BATCHES: i64 = 10_000;
    let write = |producers: i64| {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        let config = LogConfig::default().fs(MemFs::new()).clock(clock.clone());
        let log = Log::open("orders-0", config).unwrap();
        let mut builder = BatchBuilder::new();
        for n in 0..BATCHES {
            builder.producer(n % producers, 0, (n / producers) as i32);
            builder.push(Timestamp::from_millis(1), None, Some(b"v")).unwrap();
            log.append_batch(builder.build().unwrap()).unwrap();
            builder = BatchBuilder::new();
        }
        assert_eq!(log.producers().unwrap().len() as i64, producers);
        clock.advance(Duration::from_secs(24 * 3600));
        log.maintain().unwrap();
        assert!(log.producers().unwrap().is_empty());
        log
    };
    let (one, _log) = held(|| write(1));
    let (many, _log) = held(|| write(BATCHES));
    assert!(many - one < 16 << 10, "{one} bytes of one producer, {many} of {BATCHES}");
}

/// In one process, no batch of a closed producer can be resent.
#[test]
fn closed_producers_hold_no_memory() {
    const ROUNDS: usize = 3_000;
    let write = |rounds: usize| {
        let store = Store::in_memory(StoreConfig::default().maintenance(None)).unwrap();
        store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
        for _ in 0..rounds {
            let config = ProducerConfig::default().linger(Duration::ZERO).batch_bytes(0);
            let producer = store.producer(config).unwrap();
            for n in 0..ROUNDS / rounds {
                let record = ProducerRecord::new("orders", "v").partition(n as u32 % 2);
                producer.send(record).unwrap().wait().unwrap();
            }
            producer.close().unwrap();
        }
        store
    };
    let (one, _store) = held(|| write(1));
    let (many, _store) = held(|| write(ROUNDS));
    assert!(many - one < 16 << 10, "{one} bytes of one producer, {many} of {ROUNDS}");
}
