//! The promises of a producer: order, each record once, and what happens when a record cannot be
//! written.

use crate::{HOUR, TOPIC, to};
use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule, RuleId};
use annals::*;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::T0;
use support::values;

struct Scene {
    disk: MemFs,
    fs: FaultFs,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
}

fn scene_with(topic: TopicConfig) -> Scene {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).clock(clock.clone());
    let store = Store::open("data", config).unwrap();
    let topic = store.create_topic(TOPIC, topic).unwrap();
    Scene { disk, fs, clock, store, topic }
}

fn scene(partitions: u32) -> Scene {
    scene_with(TopicConfig::default().partitions(partitions))
}

impl Scene {
    /// Writes of batches fail with this.
    fn fail_writes(&self, kind: io::ErrorKind) -> RuleId {
        self.fs.add_rule(Rule::new(Operation::Write, Fault::Error(kind)).path(".log"))
    }

    fn values(&self, partition: u32) -> Vec<String> {
        values(&self.topic.partition(partition).unwrap())
    }

    /// How many records the batches of a partition have.
    fn batches(&self, partition: u32) -> Vec<i32> {
        let log = self.topic.partition(partition).unwrap();
        let mut reader = log.reader(StartAt::Earliest).unwrap();
        let mut counts = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            counts.push(batch.header().record_count);
        }
        counts
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

fn produce_error(result: Result<impl std::fmt::Debug>) -> ProduceError {
    match result.unwrap_err() {
        Error::Produce(error) => *error,
        other => panic!("{other}"),
    }
}

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
    let producer = scene
        .store
        .producer(ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
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
fn send_blocks_while_buffer_full() {
    let scene = scene(1);
    let config =
        ProducerConfig::default().batch_bytes(100).buffer_bytes(300).linger(Duration::ZERO);
    let impatient = scene.store.producer(config.clone().max_block(Duration::ZERO)).unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    for n in 0..3 {
        impatient.send(to(0, n.to_string())).unwrap();
    }
    let rejected = impatient.send(to(0, "not sent")).unwrap_err();
    assert!(rejected.is_retryable(), "{rejected}");
    // A larger buffer would be full, too.
    let told = rejected.to_string();
    assert!(told.contains("because writes fail (") && !told.contains("raise"), "{told}");
    let ProduceError::BufferFull { cause: Some(cause), buffer_bytes: 300, .. } =
        produce_error(Err::<(), _>(rejected))
    else {
        panic!()
    };
    assert_eq!(cause.kind(), ErrorKind::StorageFull);

    let patient = scene.store.producer(config).unwrap();
    for n in 3..6 {
        patient.send(to(0, n.to_string())).unwrap();
    }
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| patient.send(to(0, "6")).unwrap());
        while patient.stats().retries == 0 {
            scene.clock.advance(Duration::from_millis(100));
            patient.poll();
        }
        scene.fs.remove_rule(full);
        scene.clock.advance(Duration::from_secs(1));
        impatient.poll();
        patient.poll();
        blocked.join().unwrap().wait().unwrap();
    });
    // The records of each producer are in order; the producers may alternate.
    let (first, second): (Vec<_>, Vec<_>) =
        scene.values(0).into_iter().partition(|value| numbers(0..3).contains(value));
    assert_eq!((first, second), (numbers(0..3), numbers(3..7)));
}

#[test]
fn full_disk_loses_no_sent_record() {
    let scene = scene(1);
    let config = ProducerConfig::default().batch_bytes(2000).linger(Duration::ZERO);
    let producer = scene.store.producer(config).unwrap();
    let value = |n: u32| format!("{n:0100}");
    scene.disk.set_capacity(scene.disk.used_bytes() + 8192);
    let mut handles: Vec<SendHandle> = Vec::new();
    for n in 0..300 {
        handles.push(producer.send(to(0, value(n))).unwrap());
    }
    let done = handles.iter().filter(|handle| handle.is_done()).count();
    assert!(0 < done && done < 300, "{done}");
    assert_eq!(handles[done].wait_timeout(Duration::ZERO).unwrap(), None);
    scene.disk.set_capacity(u64::MAX);
    // Not before the time has come.
    assert!(producer.poll().is_some());
    assert!(!handles[done].is_done());
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    for (n, handle) in handles.iter().enumerate() {
        assert_eq!(handle.wait().unwrap().offset, Some(n as u64));
    }
    assert_eq!(scene.values(0), (0..300).map(value).collect::<Vec<_>>());
    assert!(producer.stats().retries > 0);
}

#[test]
fn failed_write_retries_with_backoff() {
    let scene = scene(2);
    let config = ProducerConfig::default().linger(Duration::ZERO);
    let producer = scene.store.producer(config).unwrap();
    let full = Fault::Error(io::ErrorKind::StorageFull);
    let rule = scene.fs.add_rule(Rule::new(Operation::Write, full).path("orders-0"));
    let handle = producer.send(to(0, "0")).unwrap();
    let behind = producer.send(to(0, "1")).unwrap();
    // Other partitions continue.
    assert!(producer.send(to(1, "x")).unwrap().is_done());
    for millis in [100, 200, 400, 800, 1000, 1000] {
        assert_eq!(producer.poll(), Some(Duration::from_millis(millis)));
        scene.clock.advance(Duration::from_millis(millis - 1));
        let before = scene.fs.hit_count(rule);
        producer.poll();
        assert_eq!(scene.fs.hit_count(rule), before);
        scene.clock.advance(Duration::from_millis(1));
    }
    scene.fs.remove_rule(rule);
    assert_eq!(producer.poll(), None);
    assert_eq!(handle.wait().unwrap().offset, Some(0));
    assert_eq!(behind.wait().unwrap().offset, Some(1));
    assert_eq!(scene.values(0), numbers(0..2));
    // Errors that a retry cannot fix are not retried.
    scene.fs.add_rule(
        Rule::new(Operation::Write, Fault::Error(io::ErrorKind::Other)).path("orders-0").nth(1),
    );
    let failed = producer.send(to(0, "lost")).unwrap();
    let ProduceError::Batch(cause) = produce_error(failed.wait()) else { panic!() };
    assert_eq!(cause.kind(), ErrorKind::Io);
    assert_eq!(producer.stats().errors, 1);
}

#[test]
fn records_stay_ordered_during_retries() {
    let scene = scene(1);
    let config = ProducerConfig::default().linger(Duration::ZERO).batch_bytes(0);
    let producer = scene.store.producer(config).unwrap();
    let (again, calls) = (producer.clone(), AtomicUsize::new(0));
    let meanwhile = Fault::call(move |_| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            again.send(to(0, "1")).unwrap();
        }
    });
    scene.fs.add_rule(Rule::new(Operation::Write, meanwhile).path(".log"));
    let full = Fault::Error(io::ErrorKind::StorageFull);
    scene.fs.add_rule(Rule::new(Operation::Write, full).path(".log").nth(1));
    let first = producer.send(to(0, "0")).unwrap();
    assert!(!first.is_done());
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    assert!(first.is_done());
    assert_eq!(scene.values(0), numbers(0..2));
    scene.fs.clear_rules();
}

#[test]
fn delivery_timeout_leaves_no_gap() {
    let scene = scene(1);
    let config = ProducerConfig::default()
        .linger(Duration::ZERO)
        .delivery_timeout(Duration::from_secs(10))
        .batch_bytes(0);
    let producer = scene.store.producer(config).unwrap();
    producer.send(to(0, "0")).unwrap().wait().unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    let late = [0; 3].map(|_| producer.send(to(0, "late")).unwrap());
    scene.clock.advance(Duration::from_secs(9));
    let in_time = [1, 2].map(|n: u32| producer.send(to(0, n.to_string())).unwrap());
    producer.poll();
    assert!(!late[0].is_done());
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    for handle in &late {
        let error = handle.wait().unwrap_err();
        assert!(error.is_retryable());
        let ProduceError::DeliveryTimeout { cause, partition: 0, .. } =
            produce_error(Err::<(), _>(error))
        else {
            panic!()
        };
        assert_eq!(cause.kind(), ErrorKind::StorageFull);
    }
    assert!(!in_time[0].is_done());
    scene.fs.remove_rule(full);
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    assert_eq!(in_time[1].wait().unwrap().offset, Some(2));
    assert_eq!(scene.values(0), numbers(0..3));
    let known = scene.topic.partition(0).unwrap().producers().unwrap();
    assert_eq!((known[0].producer_epoch, known[0].last_sequence), (0, 2));
    // Time that passes while nothing hinders takes nothing.
    let lingering = scene.store.producer(ProducerConfig::default()).unwrap();
    let handle = lingering.send(to(0, "3")).unwrap();
    scene.clock.advance(HOUR);
    assert_eq!(handle.wait().unwrap().offset, Some(3));
}

#[test]
fn acknowledged_records_survive_per_acks() {
    for (acks, power) in [(Acks::Written, false), (Acks::Flushed, true)] {
        let scene = scene(1);
        let producer = scene.store.producer(ProducerConfig::default().acks(acks)).unwrap();
        for n in 0..5 {
            producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
            let disk =
                if power { scene.disk.crash(CrashState::SyncedOnly) } else { scene.disk.kill() };
            let log = Log::open_read_only(format!("data/{TOPIC}-0"), LogConfig::default().fs(disk));
            assert_eq!(values(&log.unwrap()), numbers(0..n + 1));
        }
    }
}

#[test]
fn records_sent_together_share_sync() {
    let scene = scene(1);
    let config = ProducerConfig::default()
        .acks(Acks::Flushed)
        .batch_bytes(200)
        .linger(HOUR)
        .delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    producer.send(to(0, "first")).unwrap().wait().unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    let handles: Vec<_> = (0..50).map(|n| producer.send(to(0, n.to_string())).unwrap()).collect();
    scene.fs.remove_rule(full);
    let before = scene.fs.count(Operation::SyncData);
    scene.clock.advance(Duration::from_secs(1));
    producer.flush().unwrap();
    assert!(handles.iter().all(SendHandle::is_done));
    assert!(scene.batches(0).len() > 5);
    assert_eq!(scene.fs.count(Operation::SyncData) - before, 1);
}

#[test]
fn failed_sync_fails_one_partition() {
    let scene = scene(2);
    let producer = scene.store.producer(ProducerConfig::default().acks(Acks::Flushed)).unwrap();
    let rule = Rule::new(Operation::SyncData, Fault::Error(io::ErrorKind::Other));
    scene.fs.add_rule(rule.path("orders-0"));
    assert_eq!(producer.send(to(0, "a")).unwrap().wait().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(producer.send(to(0, "b")).unwrap().wait().unwrap_err().kind(), ErrorKind::Poisoned);
    producer.send(to(1, "c")).unwrap().wait().unwrap();
    producer.send(to(0, "d")).unwrap();
    assert_eq!(producer.flush().unwrap_err().kind(), ErrorKind::Poisoned);
}

#[test]
fn batches_are_numbered_when_idempotent() {
    let scene = scene(1);
    let numbered = scene.store.producer(ProducerConfig::default()).unwrap();
    numbered.send(to(0, "a")).unwrap().wait().unwrap();
    let plain = scene.store.producer(ProducerConfig::default().idempotence(false)).unwrap();
    plain.send(to(0, "b")).unwrap().wait().unwrap();
    let log = scene.topic.partition(0).unwrap();
    let mut reader = log.reader(0).unwrap();
    let header = *reader.next_batch().unwrap().unwrap().header();
    assert!(header.producer_id >= 0 && header.producer_epoch == 0 && header.base_sequence == 0);
    let header = *reader.next_batch().unwrap().unwrap().header();
    assert_eq!((header.producer_id, header.base_sequence), (NO_PRODUCER_ID, -1));
}

#[test]
fn truncated_log_gets_next_epoch() {
    let scene = scene(1);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    for n in 0..3 {
        producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
    }
    let log = scene.topic.partition(0).unwrap();
    log.truncate_to(1).unwrap();
    for n in 1..3 {
        producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
    }
    assert_eq!(scene.values(0), numbers(0..3));
    let known = log.producers().unwrap();
    assert_eq!((known[0].producer_epoch, known[0].last_sequence), (1, 1));
}

#[test]
fn rejected_record_harms_no_other() {
    let log = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
    let scene = scene_with(TopicConfig::default().log(log.max_message_bytes(2000)));
    let producer = scene
        .store
        .producer(ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
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

/// A waker that panics belongs to one task. Others that wait for the same batch are woken.
#[test]
fn panicking_waker_leaves_others_awake() {
    struct Boom;
    impl Wake for Boom {
        fn wake(self: Arc<Self>) {
            panic!("as it was told");
        }
    }
    struct Tell(std::sync::mpsc::Sender<()>);
    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }
    let scene = scene(1);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    let mut handles = [0, 1].map(|n| producer.send(to(0, n.to_string())).unwrap());
    let (tell, told) = channel();
    let wakers = [Waker::from(Arc::new(Boom)), Waker::from(Arc::new(Tell(tell)))];
    for (handle, waker) in handles.iter_mut().zip(&wakers) {
        assert!(Pin::new(handle).poll(&mut Context::from_waker(waker)).is_pending());
    }
    scene.fs.remove_rule(full);
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(handles.iter().all(SendHandle::is_done));
}

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

#[test]
fn topic_may_change_while_sending() {
    let scene = scene(1);
    let producer = scene
        .store
        .producer(ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
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

/// Sends every second record elsewhere.
#[derive(Debug, Default)]
struct Detour(AtomicUsize);

impl ProducerInterceptor for Detour {
    fn on_send(&self, mut record: ProducerRecord) -> ProducerRecord {
        if self.0.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            record.topic = "elsewhere".into();
        }
        record
    }
}

#[test]
fn interceptor_may_redirect_topic_producer() {
    let scene = scene(1);
    let elsewhere = scene.store.create_topic("elsewhere", TopicConfig::default()).unwrap();
    let config = ProducerConfig::default().interceptor(Arc::new(Detour::default()));
    let producer = scene.store.producer(config).unwrap();
    let orders = producer.topic(TOPIC).unwrap();
    let full = Record::new("0").key("k").header("h", "v").timestamp(Timestamp::from_millis(T0));
    orders.send(full.clone()).unwrap();
    orders.send("1").unwrap();
    orders.send_bytes(Some(b"k"), Some(b"2")).unwrap();
    orders.send_bytes(Some(b"k"), None).unwrap();
    producer.flush().unwrap();
    assert_eq!(scene.values(0), ["0", "2"]);
    let stored = scene.topic.partition(0).unwrap().get(0).unwrap().unwrap();
    assert_eq!((stored.key, stored.timestamp), (full.key, full.timestamp.unwrap()));
    assert_eq!(stored.headers, full.headers);
    let log = elsewhere.partition(0).unwrap();
    let found = |offset| log.get(offset).unwrap().unwrap();
    assert_eq!((found(0).value_str(), found(1).key_str()), (Some("1"), Some("k")));
    assert_eq!(found(1).value, None);
}

#[test]
fn keys_map_to_kafkas_partitions() {
    let scene = scene(7);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    for (key, hash) in [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
        ("", 275646681),
    ] {
        let record = ProducerRecord::new(TOPIC, Record::new("x").key(key));
        let sent = producer.send(record).unwrap().wait().unwrap();
        assert_eq!(sent.partition, (hash & i32::MAX) as u32 % 7, "{key}");
        // A partition that is named wins.
        let record = ProducerRecord::new(TOPIC, Record::new("x").key(key)).partition(3);
        assert_eq!(producer.send(record).unwrap().wait().unwrap().partition, 3);
    }
}

#[test]
fn keyless_records_fill_batches_in_turn() {
    let scene = scene(4);
    let config = ProducerConfig::default().batch_bytes(1000).linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let mut partitions = Vec::new();
    for _ in 0..2000 {
        let record = ProducerRecord::new(TOPIC, "x".repeat(90));
        // Its partition shows in what the handle says.
        partitions.push(producer.send(record).unwrap());
    }
    producer.flush().unwrap();
    let partitions: Vec<u32> = partitions.iter().map(|h| h.wait().unwrap().partition).collect();
    let runs: Vec<&[u32]> = partitions.chunk_by(|a, b| a == b).collect();
    assert!(runs[..runs.len() - 1].iter().all(|run| run.len() >= 9), "{runs:?}");
    assert!(runs.len() > 40);
    for partition in 0..4 {
        let count = partitions.iter().filter(|p| **p == partition).count();
        assert!((200..900).contains(&count), "{partition}: {count}");
    }
}

#[test]
fn partition_can_be_chosen_otherwise() {
    let scene = scene(3);
    let config = ProducerConfig::default().partitioner(PartitionerChoice::RoundRobin);
    let producer = scene.store.producer(config).unwrap();
    let keyed = || ProducerRecord::new(TOPIC, Record::new("x").key("k"));
    let chosen = [(); 4].map(|()| producer.send(keyed()).unwrap().wait().unwrap().partition);
    assert_eq!(chosen, [0, 1, 2, 0]);

    let by_value = |_: &str, _: Option<&[u8]>, value: Option<&[u8]>, _: u32| match value {
        Some(b"panic") => panic!("as it was told"),
        Some(value) => value.len() as u32,
        None => 0,
    };
    let config = ProducerConfig::default().partitioner(PartitionerChoice::custom(by_value));
    let producer = scene.store.producer(config).unwrap();
    let send = |value: &'static str| producer.send(ProducerRecord::new(TOPIC, value));
    assert_eq!(send("xx").unwrap().wait().unwrap().partition, 2);
    assert!(matches!(
        produce_error(send("xxx")),
        ProduceError::NoSuchPartition { chosen: 3, partitions: 3, .. }
    ));
    assert!(matches!(produce_error(send("panic")), ProduceError::PartitionerPanicked { .. }));
    assert_eq!(send("x").unwrap().wait().unwrap().partition, 1);
}

#[test]
fn callbacks_run_in_order() {
    let scene = scene(1);
    let producer = scene
        .store
        .producer(ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    for n in 0..20u64 {
        let (told, again) = (told.clone(), producer.clone());
        let callback = move |sent: Result<&RecordMetadata, &Error>| {
            assert_eq!(sent.unwrap().offset, Some(n));
            told.lock().unwrap().push(n);
            match n {
                3 => panic!("as it was told"),
                5 => {
                    let sent = again.send(to(0, "from a callback")).unwrap();
                    assert_eq!(sent.wait().unwrap().offset, Some(20));
                }
                7 => again.flush().unwrap(),
                _ => {}
            }
        };
        producer.send_with_callback(to(0, n.to_string()), callback).unwrap();
    }
    producer.flush().unwrap();
    assert!(told.lock().unwrap().iter().copied().eq(0..20));
    producer.send(to(0, "still")).unwrap().wait().unwrap();
    // The callback of a failed record gets the error; a record that `send` rejected has no
    // callback.
    scene.fs.add_rule(Rule::new(Operation::Write, Fault::Error(io::ErrorKind::Other)).nth(1));
    let (tell, heard) = channel();
    let first = tell.clone();
    producer
        .send_with_callback(to(0, "x"), move |sent| first.send(sent.unwrap_err().kind()).unwrap())
        .unwrap();
    producer.flush().unwrap_err();
    assert_eq!(heard.recv().unwrap(), ErrorKind::Io);
    producer
        .send_with_callback(to(9, "x"), move |_| tell.send(ErrorKind::Busy).unwrap())
        .unwrap_err();
    assert!(heard.recv().is_err());
}

#[test]
fn callback_may_drop_the_producer() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let topic = store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let (tell, told) = channel();
    let own = producer.clone();
    producer
        .send_with_callback(to(0, "a"), move |_| {
            own.send(to(0, "b")).unwrap();
            drop(own);
            tell.send(()).unwrap();
        })
        .unwrap();
    drop(producer);
    told.recv().unwrap();
    assert_eq!(values(&topic.partition(0).unwrap()), ["a", "b"]);
}

#[derive(Default)]
struct Counting {
    sent: AtomicUsize,
    failed: AtomicUsize,
    panics: bool,
}

impl ProducerInterceptor for Counting {
    fn on_send(&self, mut record: ProducerRecord) -> ProducerRecord {
        assert!(!self.panics, "as it was told");
        record.record = record.record.header("seen", "yes");
        record
    }

    fn on_acknowledgement(&self, metadata: &RecordMetadata, error: Option<&Error>) {
        assert_eq!(metadata.offset.is_none(), error.is_some());
        let counter = if error.is_some() { &self.failed } else { &self.sent };
        counter.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "as it was told");
    }
}

#[test]
fn interceptors_see_records_and_may_panic() {
    let scene = scene(1);
    let good = Arc::new(Counting::default());
    let bad = Arc::new(Counting { panics: true, ..Counting::default() });
    let config = ProducerConfig::default().interceptor(bad.clone()).interceptor(good.clone());
    let producer = scene.store.producer(config).unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    for n in 0..10 {
        let called = called.clone();
        producer
            .send_with_callback(to(0, n.to_string()), move |_| {
                called.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
    }
    producer.flush().unwrap();
    scene.fs.add_rule(Rule::new(Operation::Write, Fault::Error(io::ErrorKind::Other)).nth(1));
    producer.send(to(0, "x")).unwrap();
    producer.flush().unwrap_err();
    for seen in [&good, &bad] {
        assert_eq!(seen.sent.load(Ordering::SeqCst), 10);
        assert_eq!(seen.failed.load(Ordering::SeqCst), 1);
    }
    assert_eq!(called.load(Ordering::SeqCst), 10);
    let stored = scene.topic.partition(0).unwrap().get(9).unwrap().unwrap();
    assert_eq!(stored.headers.len(), 1);
}

#[test]
fn acks_none_returns_without_waiting() {
    let scene = scene(1);
    let config = ProducerConfig::default().acks(Acks::None).linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let (tell, told) = channel();
    let handle = producer
        .send_with_callback(to(0, "a"), move |sent| tell.send(sent.unwrap().offset).unwrap())
        .unwrap();
    assert_eq!(told.recv().unwrap(), None);
    assert!(handle.is_done());
    assert_eq!(handle.wait().unwrap().offset, None);
    assert_eq!(scene.values(0), numbers(0..0));
    producer.flush().unwrap();
    assert_eq!(scene.values(0), ["a"]);
    scene.fail_writes(io::ErrorKind::Other);
    let lost = producer.send(to(0, "b")).unwrap();
    producer.flush().unwrap_err();
    assert_eq!(lost.wait().unwrap().offset, None);
    assert_eq!(producer.stats().errors, 1);
}

#[test]
fn close_writes_pending_records() {
    let scene = scene(1);
    let producer = scene
        .store
        .producer(ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
    let (other, clone) = (producer.clone(), producer.clone());
    let handle = producer.send(to(0, "0")).unwrap();
    producer.close().unwrap();
    assert_eq!(handle.wait().unwrap().offset, Some(0));
    assert!(matches!(produce_error(other.send(to(0, "x"))), ProduceError::Closed));
    assert!(matches!(produce_error(other.close()), ProduceError::Closed));
    drop(clone);

    let dropped = scene
        .store
        .producer(ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR))
        .unwrap();
    let handle = dropped.send(to(0, "1")).unwrap();
    drop(dropped);
    assert_eq!(handle.wait().unwrap().offset, Some(1));

    scene.fail_writes(io::ErrorKind::StorageFull);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    let (tell, told) = channel();
    let handle = producer
        .send_with_callback(to(0, "x"), move |sent| tell.send(sent.unwrap_err().kind()).unwrap())
        .unwrap();
    let late = producer.close_timeout(Duration::from_millis(1));
    assert!(matches!(produce_error(late), ProduceError::Aborted));
    assert!(matches!(produce_error(handle.wait()), ProduceError::Aborted));
    assert_eq!(told.recv().unwrap(), ErrorKind::Closed);
    let dropped = scene.store.producer(ProducerConfig::default()).unwrap();
    let handle = dropped.send(to(0, "x")).unwrap();
    drop(dropped);
    assert!(matches!(produce_error(handle.wait()), ProduceError::Aborted));
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

/// A record of the model: its state, and its partition.
struct Sent {
    value: u32,
    handle: SendHandle,
}

/// A producer after the other sends to a store on a disk that is full now and then, and is killed.
///
/// In each partition, acknowledged records are stored once at the offset that was reported, failed
/// records are not stored, and records in flight at the kill may be stored, without a gap before
/// any of them. All are in order.
#[test]
fn records_are_unique_through_random_faults() {
    for seed in support::seeds("PRODUCER_SEED", 60) {
        eprintln!("seed: PRODUCER_SEED={seed}");
        model(seed);
    }
}

const PARTITIONS: u32 = 3;

fn model_config(chance: &mut support::Chance) -> ProducerConfig {
    let acks = [Acks::Written, Acks::Flushed][chance.below(2) as usize];
    ProducerConfig::default()
        .acks(acks)
        .batch_bytes(chance.below(4) as usize * 150)
        .linger(Duration::from_millis(chance.below(3) * 5))
        .buffer_bytes(3000)
        .max_block(Duration::ZERO)
        .delivery_timeout(Duration::from_secs(2))
}

/// Opens what is on a disk. The ids of producers before are not given again.
fn reopen(disk: MemFs, clock: &Arc<ManualClock>, generation: u64) -> (FaultFs, Store, Topic) {
    let fs = FaultFs::new(disk);
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).clock(clock.clone());
    let store = Store::open("data", config).unwrap();
    let log = LogConfig::default().segment_bytes(3000);
    let topic = TopicConfig::default().partitions(PARTITIONS).log(log);
    let topic = store.topic(TOPIC).or_else(|_| store.create_topic(TOPIC, topic)).unwrap();
    for _ in 0..generation {
        drop(store.producer(ProducerConfig::default()).unwrap());
    }
    (fs, store, topic)
}

fn model(seed: u64) {
    let mut chance = support::Chance(seed);
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let mut disk = MemFs::new();
    let mut settled: Vec<Vec<u32>> = vec![Vec::new(); PARTITIONS as usize];
    let mut next = 0;
    for generation in 0..4 {
        let (fs, store, topic) = reopen(disk.clone(), &clock, generation);
        let producer = store.producer(model_config(&mut chance)).unwrap();
        let bound = producer.topic(TOPIC).unwrap();
        let mut sent: Vec<Vec<Sent>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
        let mut full: Option<RuleId> = None;
        for _ in 0..120 {
            match chance.below(14) {
                0..8 => {
                    let partition = chance.below(PARTITIONS.into()) as u32;
                    next += 1;
                    let handle = match next % 2 {
                        0 => producer.send(to(partition, next.to_string())),
                        _ => bound.send_to(partition, next.to_string()),
                    };
                    match handle {
                        Ok(handle) => {
                            sent[partition as usize].push(Sent { value: next, handle });
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                    }
                }
                8 => {
                    clock.advance(Duration::from_millis(chance.below(700)));
                    producer.poll();
                }
                9 => {
                    producer.poll();
                }
                10 => {
                    // EMFILE, too many files are open, when a segment is begun.
                    let rule = match chance.below(2) {
                        0 => Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull)),
                        _ => Rule::new(Operation::CreateNew, Fault::Errno(24)),
                    };
                    let at = format!("-{}", chance.below(PARTITIONS.into()));
                    full = full.or_else(|| Some(fs.add_rule(rule.path(at))));
                }
                11 => fs.clear_rules(),
                12 => {
                    // No later than that it is tried again, and goes well or is over.
                    fs.clear_rules();
                    clock.advance(Duration::from_secs(1));
                    producer.poll();
                    producer.flush().unwrap();
                }
                _ => {
                    let sent = &sent[chance.below(PARTITIONS.into()) as usize];
                    if let Some(last) = sent.last() {
                        last.handle.wait_timeout(Duration::ZERO).ok();
                    }
                }
            }
            if chance.below(5) == 0 {
                fs.clear_rules();
                full = None;
            }
        }
        let end = chance.below(3);
        if end == 0 {
            fs.clear_rules();
            clock.advance(Duration::from_secs(1));
            producer.poll();
            producer.clone().close().unwrap();
        } else if end == 1 {
            producer.clone().close_timeout(Duration::ZERO).ok();
        }
        disk = disk.kill();
        check(&disk, &mut settled, &sent);
        drop((bound, producer, topic, store));
    }
}

fn check(disk: &MemFs, settled: &mut [Vec<u32>], sent: &[Vec<Sent>]) {
    for (partition, (settled, sent)) in settled.iter_mut().zip(sent).enumerate() {
        let config = LogConfig::default().fs(disk.kill());
        let log = Log::open_read_only(format!("data/{TOPIC}-{partition}"), config).unwrap();
        let stored: Vec<u32> = values(&log).iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!(stored[..settled.len()], settled[..], "what was there before");
        let mut at = settled.len();
        let mut missing = false;
        for Sent { value, handle } in sent {
            let is_there = stored.get(at) == Some(value);
            if handle.is_done() {
                match handle.wait() {
                    Ok(sent) => {
                        assert!(is_there && !missing, "{value} is not there");
                        assert_eq!(sent.offset, Some(at as u64));
                    }
                    Err(_) => assert!(!is_there, "{value} failed, and is there"),
                }
            } else {
                assert!(!(is_there && missing), "{value} is there, and one before is not");
                missing |= !is_there;
            }
            at += usize::from(is_there);
        }
        assert_eq!(at, stored.len(), "nothing else is there");
        *settled = stored;
    }
}
