//! A log forgets a producer that is silent or closed, and its last batches with it.

use super::{config, ids, is_of_producers, sent};
use annals::fs::{Fs, MemFs};
use annals::record::BatchBuilder;
use annals::{
    CleanupPolicy, Log, ManualClock, ProducerConfig, ProducerId, ProducerRecord, ReadLimits,
    Record, SendHandle, Store, StoreConfig, Timestamp, TopicConfig,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{DIR, T0, files};

const DAY: Duration = Duration::from_secs(24 * 3600);

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn producer_is_forgotten_after_silent_day() {
    let fs = MemFs::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = || config(&fs).clock(clock.clone());
    let log = Log::open(DIR, config()).unwrap();
    sent(7, 3, 5, 1).append(&log, T0).unwrap();
    clock.advance(DAY - MILLI);
    assert!(sent(7, 3, 9, 1).append(&log, T0).is_err());
    sent(8, 0, 0, 1).append(&log, T0 + 1).unwrap();
    clock.advance(MILLI);
    assert!(!sent(7, 0, 9, 1).append(&log, T0).unwrap().duplicate);
    log.close().unwrap();
    let log = Log::open(DIR, config()).unwrap();
    assert_eq!(ids(&log), [7, 8]);
    clock.advance(DAY - MILLI);
    log.close().unwrap();
    // Each since it was heard, also over a close.
    let log = Log::open(DIR, config()).unwrap();
    assert_eq!(ids(&log), [7]);
    clock.advance(MILLI);
    log.close().unwrap();
    assert!(ids(&Log::open(DIR, config()).unwrap()).is_empty());
}

/// A log that counted from a wrong clock would forget all producers, or none for a year.
#[test]
fn producer_expiration_ignores_clock_jumps() {
    let year = Duration::from_secs(365 * 24 * 3600).as_millis() as i64;
    for jump in [year, -year] {
        let fs = MemFs::new();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
        let config = |fs: &MemFs| config(fs).clock(clock.clone());
        let log = Log::open(DIR, config(&fs)).unwrap();
        sent(7, 0, 0, 1).append(&log, T0).unwrap();
        clock.set(Timestamp::from_millis(T0 + jump));
        log.roll().unwrap();
        log.maintain().unwrap();
        log.truncate_to(1).unwrap();
        assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
        drop(log);
        // A replayed batch counts as heard at the opening, and for no longer than from there.
        let disk = fs.kill();
        for entry in disk.list(Path::new(DIR)).unwrap().iter().filter(|e| is_of_producers(&e.name))
        {
            disk.remove(&Path::new(DIR).join(&entry.name)).unwrap();
        }
        let log = Log::open(DIR, config(&disk)).unwrap();
        clock.advance(DAY - MILLI);
        log.maintain().unwrap();
        assert_eq!(ids(&log), [7]);
        clock.advance(MILLI);
        log.maintain().unwrap();
        assert!(ids(&log).is_empty());
    }
}

/// The state of a silent producer is freed when the log is not rolled, too.
#[test]
fn maintenance_forgets_silent_producers() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let log = Log::open(DIR, config(&MemFs::new()).clock(clock.clone())).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(log.producers().unwrap().len(), 1);
    log.maintain().unwrap();
    assert_eq!(log.producers().unwrap(), []);
}

/// In one process, closing a producer means that none of its batches can be resent: a log
/// remembered it for a day all the same. A producer that is not closed is remembered.
#[test]
fn closed_producer_is_forgotten() {
    let store = Store::in_memory(StoreConfig::default().maintenance(None)).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let known = || -> usize { topic.partitions().iter().map(|log| ids(log).len()).sum() };
    let open = store.producer(ProducerConfig::default()).unwrap();
    open.send(("orders", "open")).unwrap().wait().unwrap();
    for round in 0..50 {
        let producer = store.producer(ProducerConfig::default()).unwrap();
        let to = |n| producer.send(ProducerRecord::new("orders", "v").partition(n));
        let handles: Vec<_> = (0..3).map(|n| to(n).unwrap()).collect();
        if round % 2 == 0 {
            producer.flush().unwrap();
            assert_eq!(known(), 4);
            producer.close().unwrap();
        } else {
            drop(producer);
        }
        assert!(handles.iter().all(SendHandle::is_done));
        assert_eq!(known(), 1, "round {round}");
    }
    // One that numbers its batches itself may resend them at any time.
    let log = topic.partition(0).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    open.close().unwrap();
    assert_eq!(known(), 1);
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
}

/// The batches of producers in a log, and how many records are left of each.
fn batches(log: &Log) -> Vec<(ProducerId, i32)> {
    let (mut found, mut from) = (Vec::new(), log.offsets().start);
    loop {
        let fetched = log.read(from, ReadLimits::default()).unwrap();
        if fetched.is_empty() {
            return found;
        }
        let headers = fetched.batches().map(|batch| *batch.header());
        let headers = headers.filter(|header| header.producer_id >= 0);
        found.extend(headers.map(|header| (header.producer_id, header.record_count)));
        from = fetched.next_offset;
    }
}

/// A compaction whose map is full ends early. It took the last batch of a producer that lies after
/// that point for an earlier one: with the snapshots lost, a resend was stored a second time.
#[test]
fn last_batch_stays_when_map_full() {
    let fs = MemFs::new();
    let open = |fs: &MemFs, dedupe| {
        let config = config(fs).cleanup_policy(CleanupPolicy::Compact).segment_bytes(1 << 20);
        Log::open(DIR, config.dedupe_buffer_bytes(dedupe)).unwrap()
    };
    let send = |log: &Log, sequence, key: &str| {
        let mut builder = BatchBuilder::new();
        builder.producer(7, 0, sequence);
        let time = Timestamp::from_millis(T0);
        builder.push(time, Some(key.as_bytes()), Some(b"v")).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap()
    };
    let log = open(&fs, 1 << 20);
    send(&log, 0, "a");
    for n in 0..60 {
        log.append(Record::new("v").key(format!("k{n}"))).unwrap();
    }
    send(&log, 1, "b");
    log.roll().unwrap();
    log.append(Record::new("v").key("b")).unwrap();
    log.roll().unwrap();
    log.compact().unwrap();
    assert!(batches(&log).contains(&(7, 0)));
    log.close().unwrap();
    let log = open(&fs, 1024);
    assert!(log.compact().unwrap().passes > 1);
    drop(log);
    let disk = fs.kill();
    for name in files(&disk, DIR).into_keys().filter(|name| is_of_producers(name)) {
        disk.remove(&Path::new(DIR).join(name)).unwrap();
    }
    assert!(send(&open(&disk, 1 << 20), 1, "b").duplicate);
}

/// Each left an empty batch of 61 bytes for ever.
#[test]
fn compaction_removes_batches_of_forgotten_producers() {
    let fs = MemFs::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = config(&fs).clock(clock.clone()).segment_bytes(1 << 16);
    let config = config.cleanup_policy(CleanupPolicy::Compact);
    let log = Log::open(DIR, config).unwrap();
    let send = |ids: std::ops::Range<ProducerId>| {
        for n in ids.flat_map(|id| [(id, 0), (id, 1)]) {
            sent(n.0, 0, n.1, 1).append(&log, T0).unwrap();
        }
        log.roll().unwrap();
    };
    send(0..3000);
    log.compact().unwrap();
    // All have the same key. The last batch of each active producer stays.
    let expected: Vec<_> = (0..3000).map(|id| (id, i32::from(id == 2999))).collect();
    // So does the last batch of a segment, which shows where that ends.
    let kept = |expected: &[_]| {
        let (found, segments) = (batches(&log), log.stats().unwrap().segments.len());
        assert!(expected.iter().all(|batch| found.contains(batch)), "{found:?}");
        assert!(found.len() <= expected.len() + segments, "{found:?}");
    };
    kept(&expected);
    clock.advance(DAY);
    send(3000..3003);
    log.compact().unwrap();
    kept(&[(3000, 0), (3001, 0), (3002, 1)]);
    // Also without new records, and without a look in between.
    clock.advance(DAY);
    log.compact().unwrap();
    kept(&[(3002, 1)]);
}
