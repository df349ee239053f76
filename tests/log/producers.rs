//! Idempotent producers on a log: batches that are stored once, batches that are rejected, and the
//! producer state that an opening knows.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::BatchBuilder;
use annals::{
    Appended, CleanupPolicy, Error, ErrorKind, Event, FIRST_STORE_PRODUCER_ID, Log, LogConfig,
    ManualClock, Offset, ProducerConfig, ProducerEpoch, ProducerId, ProducerRecord, ProducerState,
    ProducerStateError, ReadLimits, Record, Result, SendHandle, Sequence, Store, StoreConfig,
    Timestamp, TopicConfig,
};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{
    Chance, DIR, Heard, T0, clock, files, name, read_all, read_file, say, seeds, write_file,
};

/// A record of a producer that does not number its records.
const UNNUMBERED: &str = "no number";

fn config(fs: &MemFs) -> LogConfig {
    LogConfig::default().segment_bytes(900).index_interval_bytes(100).clock(clock()).fs(fs.clone())
}

/// The batches that a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    id: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
    count: i32,
}

impl Sent {
    fn value(self, n: i32) -> String {
        format!("{} {} {}", self.id, self.epoch, self.first.wrapping_add(n) & i32::MAX)
    }

    fn append(self, log: &Log, at: i64) -> Result<Appended> {
        let mut builder = BatchBuilder::new();
        builder.producer(self.id, self.epoch, self.first);
        for n in 0..self.count {
            let (key, value) = ([b'k', n as u8], self.value(n));
            let time = Timestamp::from_millis(at);
            builder.push(time, Some(&key), Some(value.as_bytes())).unwrap();
        }
        log.append_batch(builder.build().unwrap())
    }
}

fn sent(id: ProducerId, epoch: ProducerEpoch, first: Sequence, count: i32) -> Sent {
    Sent { id, epoch, first, count }
}

#[test]
fn resent_batch_is_stored_once() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    log.append("no number").unwrap();
    for n in 0..6 {
        let appended = sent(7, 0, n * 3, 3).append(&log, T0).unwrap();
        assert_eq!((appended.first, appended.duplicate), (1 + n as u64 * 3, false));
    }
    let end = log.offsets().end;
    for n in 1..6 {
        let again = sent(7, 0, n * 3, 3).append(&log, T0).unwrap();
        assert_eq!((again.first, again.last), (1 + n as u64 * 3, 3 + n as u64 * 3));
        assert!(again.duplicate);
    }
    for (batch, kind, text) in [
        (
            sent(7, 0, 0, 3),
            ErrorKind::OutOfOrder,
            "producer 7 sent sequence number 0, but 18 is next; send the missing records, or raise the epoch and start at 0",
        ),
        (
            sent(7, 0, 19, 1),
            ErrorKind::OutOfOrder,
            "producer 7 sent sequence number 19, but 18 is next; send the missing records, or raise the epoch and start at 0",
        ),
        (
            sent(7, 1, 18, 1),
            ErrorKind::OutOfOrder,
            "producer 7 sent sequence number 18, but 0 is next; send the missing records, or raise the epoch and start at 0",
        ),
    ] {
        let error = batch.append(&log, T0).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        assert!(!error.is_retryable());
    }
    assert!(!sent(7, 1, 0, 1).append(&log, T0).unwrap().duplicate);
    let error = sent(7, 0, 18, 1).append(&log, T0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.to_string(),
        "producer 7 has epoch 0, but the log has seen epoch 1: another producer has taken over; close this one"
    );
    assert_eq!(log.offsets().end, end + 1);
    assert_eq!(log.verify().unwrap(), []);
}

#[test]
fn resent_batch_is_stored_once_concurrently() {
    for seed in 0..20 {
        let log = Log::open(DIR, config(&MemFs::new())).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    let mut chance = Chance(seed * 4 + thread);
                    for n in 0..60 {
                        let batch = sent(1, 0, n * 2, 2);
                        loop {
                            match batch.append(log, T0) {
                                // It has been stored, and so has the next, or it follows one that
                                // another will store.
                                Ok(_) => break,
                                Err(Error::Producer(ProducerStateError::OutOfOrder {
                                    expected,
                                    ..
                                })) => {
                                    if expected > n * 2 {
                                        break;
                                    }
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                        if chance.below(3) == 0 {
                            log.append("no number").unwrap();
                        }
                    }
                });
            }
        });
        let values: Vec<_> = read_all(&log)
            .into_iter()
            .filter_map(|record| String::from_utf8(record.value.unwrap()).ok())
            .filter(|value| value.starts_with('1'))
            .collect();
        let expected: Vec<_> = (0..120).map(|n| format!("1 0 {n}")).collect();
        assert_eq!(values, expected, "seed {seed}");
    }
}

fn ids(log: &Log) -> Vec<ProducerId> {
    log.producers().unwrap().iter().map(|state| state.producer_id).collect()
}

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

/// A day-old record of a backfill says nothing about its producer: after a kill its batch was not
/// recognised, and stored again.
#[test]
fn old_records_are_recognised_after_opening() {
    for hours in [0, 25, 24 * 365 * 50] {
        for (is_closed, seed) in [(false, None), (true, None), (false, Some(7))] {
            let fs = MemFs::new();
            let log = Log::open(DIR, config(&fs)).unwrap();
            let at = T0 - hours * 3_600_000;
            (0..7).for_each(|n| assert!(!sent(7, 0, n, 1).append(&log, at).unwrap().duplicate));
            log.flush().unwrap();
            if is_closed {
                log.clone().close().unwrap();
            }
            drop(log);
            let disk = seed.map_or_else(|| fs.kill(), |seed| fs.crash(CrashState::Random { seed }));
            let log = Log::open(DIR, config(&disk)).unwrap();
            for n in 2..7 {
                assert!(sent(7, 0, n, 1).append(&log, at).unwrap().duplicate, "{hours}, {n}");
            }
        }
    }
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

/// Kafka's snapshot has one batch of each producer. A client with five batches in flight that lost
/// the answers was rejected for four of them, began another epoch and stored all of them again.
#[test]
fn five_batches_are_recognised_after_opening() {
    let before: [fn(&Log); 3] =
        [|_| {}, |log| log.roll().unwrap(), |log| log.maintain().map(drop).unwrap()];
    let removed: [&[&str]; 5] =
        [&[], &[".recent"], &[".snapshot"], &[".recent", ".snapshot"], &[".recent", "index"]];
    for (is_closed, before) in [false, true].into_iter().flat_map(|c| before.map(|b| (c, b))) {
        for removed in removed {
            let fs = MemFs::new();
            let log = Log::open(DIR, config(&fs)).unwrap();
            for n in 0..9 {
                sent(7, 0, n * 2, 2).append(&log, T0).unwrap();
                sent(8, 0, n, 1).append(&log, T0).unwrap();
                if n == 6 {
                    log.roll().unwrap();
                }
            }
            before(&log);
            log.append(UNNUMBERED).unwrap();
            if is_closed {
                log.clone().close().unwrap();
            }
            drop(log);
            let disk = fs.kill();
            for name in files(&disk, DIR).into_keys() {
                if removed.iter().any(|ending| name.ends_with(ending)) {
                    disk.remove(&Path::new(DIR).join(name)).unwrap();
                }
            }
            let log = Log::open(DIR, config(&disk)).unwrap();
            assert_eq!(log.recovery().clean_shutdown, is_closed);
            for n in 4..9 {
                assert!(sent(7, 0, n * 2, 2).append(&log, T0).unwrap().duplicate);
                assert!(sent(8, 0, n, 1).append(&log, T0).unwrap().duplicate);
            }
            assert!(sent(8, 0, 3, 1).append(&log, T0).is_err());
            // The next opening has the file again.
            log.close().unwrap();
            let recent = name(28, "recent");
            assert!(files(&disk, DIR).contains_key(&recent), "{removed:?}");
        }
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

/// An append that repeats a batch took the turn of the flush that was due, and flushed nothing.
#[test]
fn duplicate_append_keeps_flush_due() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = config(&MemFs::new()).clock(clock.clone());
    let log = Log::open(DIR, config.flush_interval(Duration::from_secs(1))).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    log.flush().unwrap();
    log.append("waits").unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
    assert_eq!(log.offsets().durable, 2);
}

/// A snapshot file of these producers, made by a log that has them.
fn snapshot_of(batches: &[Sent]) -> Vec<u8> {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs).segment_bytes(1 << 20)).unwrap();
    batches.iter().for_each(|batch| assert!(!batch.append(&log, T0).unwrap().duplicate));
    let end = log.offsets().end;
    log.close().unwrap();
    files(&fs, DIR).remove(&name(end, "snapshot")).unwrap()
}

/// A snapshot from before the first segment says of producers what was true once: they went on,
/// and that was deleted.
#[test]
fn snapshot_below_first_segment_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    (0..9).for_each(|n| assert!(!sent(7, 0, n, 1).append(&log, T0).unwrap().duplicate));
    log.roll().unwrap();
    log.append("the rest").unwrap();
    log.delete_before(9).unwrap();
    drop(log);
    let disk = fs.kill();
    disk.remove(&Path::new(DIR).join(name(9, "snapshot"))).unwrap();
    write_file(&disk, DIR, &name(2, "snapshot"), &snapshot_of(&[sent(7, 0, 0, 2)]));
    let log = Log::open(DIR, config(&disk)).unwrap();
    assert_eq!(log.producers().unwrap(), []);
    assert!(!sent(7, 0, 9, 1).append(&log, T0).unwrap().duplicate);
    assert!(!files(&disk, DIR).contains_key(&name(2, "snapshot")));
}

/// The segment of a snapshot may be read for other reasons from an earlier segment on, where no
/// batch names a producer any more: the content of the snapshot counted for nothing.
#[test]
fn recovery_uses_later_snapshots() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    for _ in 0..2 {
        log.roll().unwrap();
        log.append(UNNUMBERED).unwrap();
    }
    log.delete_before(1).unwrap();
    drop(log);
    let disk = fs.kill();
    disk.remove(&Path::new(DIR).join(name(1, "snapshot"))).unwrap();
    let log = Log::open(DIR, config(&disk)).unwrap();
    assert_eq!(log.offsets().start, 1);
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
}

/// The right checksum is no proof: a batch above the snapshot's offset would be answered as a
/// duplicate, and is not there.
#[test]
fn impossible_snapshot_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    sent(7, 0, 0, 2).append(&log, T0).unwrap();
    log.close().unwrap();
    write_file(&fs, DIR, &name(2, "snapshot"), &snapshot_of(&[sent(7, 0, 0, 2), sent(8, 0, 0, 3)]));
    let heard = Arc::new(Heard::default());
    let log = Log::open(DIR, config(&fs).listener(heard.clone())).unwrap();
    let ids: Vec<_> = log.producers().unwrap().iter().map(|state| state.producer_id).collect();
    assert_eq!(ids, [7]);
    let heard = heard.0.lock().unwrap();
    assert!(
        heard.iter().any(|event| matches!(event, Event::CheckpointIgnored { .. })),
        "{heard:?}"
    );
}

#[test]
fn directory_named_as_snapshot_stays() {
    let fs = MemFs::new();
    let path = Path::new(DIR).join(name(1, "snapshot"));
    for round in 0..2 {
        let log = Log::open(DIR, config(&fs)).unwrap();
        fs.create_dir(&path).unwrap_or_else(|_| assert_eq!(round, 1));
        sent(7, 0, round, 1).append(&log, T0).unwrap();
        log.close().unwrap();
    }
    assert_eq!(Log::open(DIR, config(&fs)).unwrap().producers().unwrap()[0].last_sequence, 1);
}

/// The file system that writes the snapshot is user-supplied code, and may panic.
#[test]
fn snapshot_panic_forgets_no_producer() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().clock(clock()).fs(fs.clone())).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    let rule = Rule::any(Fault::call(|_| panic!("not today"))).path(".snapshot");
    let rule = fs.add_rule(rule);
    catch_unwind(AssertUnwindSafe(|| log.roll())).unwrap_err();
    fs.remove_rule(rule);
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
}

/// The snapshot at the start of a segment that was merged into another is useless.
#[test]
fn compaction_keeps_snapshots_of_segments() {
    let fs = MemFs::new();
    let config = || {
        let config = config(&fs).cleanup_policy(CleanupPolicy::Compact);
        config.producer_id_expiration(Duration::MAX)
    };
    let log = Log::open(DIR, config()).unwrap();
    for n in 0..60 {
        let mut builder = BatchBuilder::new();
        builder.producer(n % 3, 0, (n / 3) as Sequence);
        let time = Timestamp::from_millis(T0 + n);
        builder.push(time, Some(&[b'k', n as u8 % 4]), Some(&[b'v'; 100])).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap();
    }
    log.roll().unwrap();
    let known = log.producers().unwrap();
    let bases = || -> (Vec<_>, Vec<_>) {
        let names: Vec<_> = files(&fs, DIR).into_keys().collect();
        let of = |end: &str| {
            names.iter().filter_map(|name| name.strip_suffix(end).map(str::to_owned)).collect()
        };
        (of(".log"), of(".snapshot"))
    };
    let before = bases().0.len();
    // Segments that are small enough after the first pass are joined by the second.
    for _ in 0..2 {
        log.compact().unwrap();
    }
    let (logs, snapshots) = bases();
    assert!(logs.len() * 2 < before, "{logs:?}");
    assert!(snapshots.iter().all(|base| logs.contains(base)), "{snapshots:?} beside {logs:?}");
    assert_eq!(log.producers().unwrap(), known);
    drop(log);
    let disk = fs.kill();
    for name in files(&disk, DIR).into_keys().filter(|name| name.ends_with(".snapshot")) {
        disk.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let log = Log::open(DIR, config().fs(disk)).unwrap();
    assert_eq!(log.producers().unwrap(), known);
}

/// A broker assigns producer ids from 0 on. It took the first batches of its first producer for
/// those of a store that had begun at 0 too, acknowledged them, and stored nothing.
#[test]
fn store_avoids_producer_ids_of_broker() {
    let fs = MemFs::new();
    let open = || {
        let config = StoreConfig::default().fs(fs.clone()).clock(clock()).maintenance(None);
        Store::open("data", config).unwrap()
    };
    let store = open();
    assert_eq!(store.new_producer_id().unwrap(), FIRST_STORE_PRODUCER_ID);
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    // Batches of a broker's clients, of another store, and of a client that made up its id.
    for id in [0, 70_000, FIRST_STORE_PRODUCER_ID + 7_000, ProducerId::MAX] {
        sent(id, 0, 0, 1).append(&log, T0).unwrap();
    }
    store.close().unwrap();
    // As a store wrote it that gave out low ones.
    for known in [None, Some(5_000)] {
        fs.remove(Path::new("data/producer-ids.properties")).unwrap();
        if let Some(next) = known {
            let text = format!("next.producer.id={next}\n");
            write_file(&fs, "data", "producer-ids.properties", text.as_bytes());
        }
        let store = open();
        for n in 1..1_100 {
            assert_eq!(store.new_producer_id().unwrap(), FIRST_STORE_PRODUCER_ID + 7_000 + n);
        }
        store.close().unwrap();
    }
    let id = open().new_producer_id().unwrap();
    assert_eq!(id, FIRST_STORE_PRODUCER_ID + 7_001 + 2_000);
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

/// A log of a broker: producer 12 has aborted 2 to 9, with a marker at 10, and has a transaction
/// open from 11 on; 11 has aborted 9 to 12, with a marker at 13.
fn log_with_transactions() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/logs/txn/pay-0");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        write_file(&fs, DIR, name, &std::fs::read(&path).unwrap());
    }
    fs
}

/// Which transactions an index says were aborted: whose, and the offset of the marker.
fn aborted(fs: &MemFs) -> Vec<(ProducerId, i64)> {
    let path = Path::new(DIR).join(name(0, "txnindex"));
    if !files(fs, DIR).contains_key(&name(0, "txnindex")) {
        return Vec::new();
    }
    let entries = annals::inspect::TxnEntries::open(fs, &path).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.producer_id, entry.last_offset)).collect()
}

/// A consumer of committed records must not see those of a transaction that is open.
#[test]
fn last_stable_offset_precedes_open_transaction() {
    let fs = log_with_transactions();
    let reader = Log::open_read_only(DIR, config(&fs)).unwrap();
    assert_eq!((reader.offsets().last_stable, reader.offsets().end), (11, 15));
    let log = Log::open(DIR, config(&fs)).unwrap();
    assert_eq!((log.offsets().last_stable, log.offsets().end), (11, 15));
    log.append(UNNUMBERED).unwrap();
    assert_eq!(log.offsets().last_stable, 11);
    log.roll().unwrap();
    log.append(UNNUMBERED).unwrap();
    // Where the last segment begins, a snapshot tells it.
    assert_eq!(Log::open_read_only(DIR, config(&fs)).unwrap().offsets().last_stable, 11);
    log.close().unwrap();
    let log = Log::open(DIR, config(&fs)).unwrap();
    assert_eq!((log.offsets().last_stable, log.recovery().clean_shutdown), (11, true));
    log.delete_before(12).unwrap();
    assert_eq!(log.offsets().last_stable, 12);
    for (target, last_stable) in [(15, 12), (14, 12)] {
        log.truncate_to(target).unwrap();
        assert_eq!(log.offsets().last_stable, last_stable, "{target}");
    }
    drop(log);
    let log = Log::open(DIR, config(&log_with_transactions())).unwrap();
    // At 11, producer 12 has none open, and 11 one from 9 on. At 3, one from 0 on was not
    // committed yet.
    for (target, last_stable) in [(13, 9), (11, 9), (10, 2), (3, 0), (2, 0)] {
        log.truncate_to(target).unwrap();
        assert_eq!((log.offsets().last_stable, log.offsets().end), (last_stable, target));
    }
}

/// A clean close tells a broker to trust the index. It hid committed records after a transaction
/// that had been truncated, and showed aborted ones whose entry was missing.
#[test]
fn transaction_index_follows_log() {
    let whole = read_file(&log_with_transactions(), DIR, &name(0, "txnindex"));
    let other = [&whole[34..], &whole[34..], &whole[..10]].concat();
    for found in [None, Some(&whole[..34]), Some(&whole[..]), Some(&other), Some(&whole[..50])] {
        let fs = log_with_transactions();
        fs.remove(&Path::new(DIR).join(name(0, "txnindex"))).unwrap();
        if let Some(found) = found {
            write_file(&fs, DIR, &name(0, "txnindex"), found);
        }
        // It was killed: the batches that are read are indexed anew.
        let log = Log::open(DIR, config(&fs)).unwrap();
        assert_eq!(read_file(&fs, DIR, &name(0, "txnindex")), whole);
        log.close().unwrap();
        let log = Log::open(DIR, config(&fs)).unwrap();
        assert_eq!(read_file(&fs, DIR, &name(0, "txnindex")), whole);
        for (target, left) in [(14, 2), (13, 1), (11, 1), (10, 0), (0, 0)] {
            log.truncate_to(target).unwrap();
            assert_eq!(aborted(&fs), [(12, 10), (11, 13)][..left], "{target}");
        }
        // Records that take the place of the truncated ones are not hidden.
        for _ in 0..20 {
            log.append(UNNUMBERED).unwrap();
        }
        log.close().unwrap();
        assert_eq!(aborted(&fs), []);
    }
    // A torn write takes a marker with it.
    let fs = log_with_transactions();
    let bytes = read_file(&fs, DIR, &name(0, "log"));
    write_file(&fs, DIR, &name(0, "log"), &bytes[..bytes.len() - 100]);
    let end = Log::open(DIR, config(&fs)).unwrap().offsets().end;
    assert!(end <= 13, "{end}");
    assert_eq!(aborted(&fs), [(12, 10)]);
}

/// The next segment of the same base would have it.
#[test]
fn truncation_removes_transaction_index() {
    let fs = log_with_transactions();
    let log = Log::open(DIR, config(&fs)).unwrap();
    log.roll().unwrap();
    log.append(UNNUMBERED).unwrap();
    write_file(&fs, DIR, &name(15, "txnindex"), &[0; 34]);
    log.truncate_to(12).unwrap();
    assert!(!files(&fs, DIR).contains_key(&name(15, "txnindex")));
}

/// Nothing here could end the transaction.
#[test]
fn append_rejects_transactional_batches() {
    let log = Log::open(DIR, config(&MemFs::new())).unwrap();
    for is_control in [false, true] {
        let mut builder = BatchBuilder::new();
        builder.producer(7, 0, 0).transactional(!is_control).control(is_control);
        builder.push(Timestamp::from_millis(T0), Some(b"\0\0\0\0"), Some(b"v")).unwrap();
        let error = log.append_batch(builder.build().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    assert_eq!((log.offsets().end, ids(&log).len()), (0, 0));
}

/// How long a producer may be silent in the model test.
const SILENCE: i64 = 3_600_000;

/// The batches that a log was sent and accepted, and so the producers it knows.
#[derive(Debug, Clone, Default)]
struct Model {
    /// Where each batch lies, and when it came, also where the log begins above it.
    stored: Vec<(Sent, Offset, i64)>,
    /// Every value by its offset.
    values: BTreeMap<Offset, String>,
    start: Offset,
    end: Offset,
    now: i64,
    /// Whether records go, so that what is known of a producer's last batches may be of older
    /// ones.
    compacts: bool,
    /// Below it, batches may be gone that were the last of their producer before the log went on.
    compacted: Offset,
    /// The offset up to which producers with a higher last batch were known: batches below are not
    /// kept for them.
    went_on: BTreeMap<ProducerId, Offset>,
    /// Whose batches were deleted with all that said of them.
    forgotten: BTreeSet<ProducerId>,
    /// When the log last heard each of them.
    heard: BTreeMap<ProducerId, i64>,
    /// When the log last replayed batches: those count as heard then.
    replayed: i64,
    /// The first batch of each since it was last unknown.
    fresh: BTreeMap<ProducerId, Offset>,
}

/// The timestamps of a producer's records: some producers send records of long ago.
fn stamp(id: ProducerId, now: i64) -> i64 {
    if id % 2 == 0 { now } else { now - 100 * SILENCE }
}

impl Model {
    fn last(&self, id: ProducerId) -> Option<&(Sent, Offset, i64)> {
        self.stored.iter().rev().find(|(sent, ..)| sent.id == id)
    }

    /// Whether the log must remember a producer, and whether it may.
    fn is_remembered(&self, id: ProducerId) -> (bool, bool) {
        let heard = self.heard.get(&id).copied().filter(|_| !self.forgotten.contains(&id));
        let since = |at: i64| self.now - at < SILENCE;
        heard.map_or((false, false), |at| (since(at), since(at.max(self.replayed))))
    }

    /// Whether its last batch may be gone: compaction keeps no batch of a forgotten producer, and
    /// the rest is replayed when the snapshots are lost.
    fn is_vague(&self, id: ProducerId) -> bool {
        self.compacts && !self.is_remembered(id).0
    }

    /// The batches that must be recognised: five, but of those that are there.
    fn certain(&self, id: ProducerId) -> impl Iterator<Item = &Sent> {
        let fresh = self.fresh.get(&id).copied().unwrap_or(0);
        let most = if self.compacts { 1 } else { 5 };
        let there = self.recent(id).take(most);
        let there = there.take_while(move |(_, base, _)| *base >= fresh.max(self.start));
        there.map(|(sent, ..)| sent).filter(move |_| self.is_remembered(id).0)
    }

    /// Its last batches of the same epoch, the last first.
    fn recent(&self, id: ProducerId) -> impl Iterator<Item = &(Sent, Offset, i64)> {
        let epoch = self.last(id).map(|(last, ..)| last.epoch);
        let of = self.stored.iter().rev().filter(move |(sent, ..)| sent.id == id);
        let most = if self.compacts { usize::MAX } else { 5 };
        of.take_while(move |(sent, ..)| Some(sent.epoch) == epoch).take(most)
    }

    fn state((sent, base, at): &(Sent, Offset, i64)) -> ProducerState {
        let delta = sent.count - 1;
        ProducerState {
            producer_id: sent.id,
            producer_epoch: sent.epoch,
            last_sequence: sent.first.wrapping_add(delta) & i32::MAX,
            last_offset: *base as i64 + i64::from(delta),
            offset_delta: delta,
            last_timestamp: Timestamp::from_millis(stamp(sent.id, *at)),
            coordinator_epoch: -1,
            current_txn_first_offset: -1,
        }
    }

    fn cut(&mut self, end: Offset) {
        self.stored.retain(|(sent, base, _)| base + sent.count as u64 <= end);
        self.values.retain(|offset, _| *offset < end);
        let batches: BTreeSet<Offset> = self
            .stored
            .iter()
            .flat_map(|(sent, base, _)| *base..*base + sent.count as u64)
            .collect();
        self.values.retain(|offset, value| value == UNNUMBERED || batches.contains(offset));
        self.end = end;
        for (id, fresh) in &mut self.fresh {
            let last = self.stored.iter().rev().find(|(sent, ..)| sent.id == *id);
            // A snapshot may lack the batches before the producer was forgotten.
            if let Some((_, base, at)) = last.filter(|(_, base, _)| base < fresh) {
                *fresh = *base;
                self.heard.insert(*id, *at);
            }
        }
    }

    /// The state after an opening and a truncation. A resent batch left nothing in the log, and
    /// where the last batch is truncated, those before it may have been compacted.
    fn read_again(&mut self, log: &Log, is_opening: bool, place: &str) {
        self.replayed = self.now;
        if is_opening || self.compacts {
            self.heard = self.stored.iter().map(|(sent, _, at)| (sent.id, *at)).collect();
        }
        for (id, compacted) in &self.went_on {
            if self.last(*id).is_some_and(|(_, base, _)| base < compacted) {
                self.heard.insert(*id, T0 - SILENCE);
            }
        }
        let states = log.producers().unwrap();
        // A snapshot that was removed may be back after a loss of power.
        let is_there = |id: &ProducerId| states.iter().any(|state| state.producer_id == *id);
        self.forgotten.retain(|id| !is_there(id));
        let ids: BTreeSet<_> = self.stored.iter().map(|(sent, ..)| sent.id).collect();
        for id in ids {
            let (sent, base, _) = self.last(id).unwrap();
            let is_deleted = base + sent.count as u64 <= self.start;
            if is_deleted && !is_there(&id) {
                self.forgotten.insert(id);
            }
        }
        self.check(log, place);
    }

    /// The log knows every producer it must know, and besides only producers that fell silent.
    fn check(&self, log: &Log, place: &str) {
        let states = log.producers().unwrap();
        for state in &states {
            let last = self.last(state.producer_id).map(Model::state);
            let is_vague = self.is_vague(state.producer_id);
            let is_stored = self.stored.iter().any(|stored| Model::state(stored) == *state);
            assert!(
                Some(*state) == last || (is_vague && is_stored),
                "{place}: {state:?}, {last:?}"
            );
            assert!(!self.forgotten.contains(&state.producer_id), "{place}");
        }
        for (sent, ..) in &self.stored {
            let is_there = states.iter().any(|state| state.producer_id == sent.id);
            assert!(is_there || !self.is_remembered(sent.id).0, "{place}: {} is lost", sent.id);
        }
        assert_eq!((log.offsets().start, log.offsets().end), (self.start, self.end), "{place}");
    }

    /// Everything that was taken is there once.
    fn check_records(&self, log: &Log, place: &str) {
        let found = read_all(log).into_iter().map(|record| {
            (record.offset, String::from_utf8(record.value.unwrap_or_default()).unwrap())
        });
        let found: BTreeMap<_, _> = found.collect();
        let expected = self.values.range(self.start..);
        if self.compacts {
            let expected: BTreeMap<_, _> = expected.collect();
            assert!(found.iter().all(|(at, value)| expected.get(at) == Some(&value)), "{place}");
        } else {
            assert!(found.iter().eq(expected), "{place}");
        }
    }

    fn next(&self, chance: &mut Chance) -> Sent {
        let id = chance.below(4) as ProducerId;
        let count = 1 + chance.below(4) as i32;
        let Some((last, ..)) = self.last(id) else {
            let first = [chance.below(9) as i32, i32::MAX - chance.below(9) as i32];
            return sent(id, 0, first[chance.below(2) as usize], count);
        };
        let next = last.first.wrapping_add(last.count) & i32::MAX;
        match chance.below(14) {
            0 => sent(id, last.epoch + 1, 0, count),
            1 => sent(id, last.epoch, next.wrapping_add(count) & i32::MAX, count),
            2 => sent(id, last.epoch + 1, 1, count),
            3 => sent(id, (last.epoch - 1).max(0), next, count),
            // A part of what is there, or more, is not what is there.
            4 => Sent { count: if last.count > 1 { last.count - 1 } else { 2 }, ..*last },
            5..9 => {
                let of: Vec<_> =
                    self.stored.iter().rev().filter(|(sent, ..)| sent.id == id).collect();
                of[chance.below(of.len().min(7) as u64) as usize].0
            }
            _ => sent(id, last.epoch, next, count),
        }
    }

    /// Sends a batch, and compares the answer with the stored batches.
    fn send(&mut self, log: &Log, batch: Sent, place: &str) -> bool {
        let last = self.last(batch.id).map(|(last, ..)| *last);
        let (must, may) = self.is_remembered(batch.id);
        let next = |last: &Sent| last.first.wrapping_add(last.count) & i32::MAX;
        let expected = last.map(|last| if batch.epoch == last.epoch { next(&last) } else { 0 });
        let follows = last.is_none_or(|last| batch.epoch >= last.epoch)
            && expected.is_none_or(|expected| expected == batch.first);
        let repeats = self.certain(batch.id).any(|sent| *sent == batch);
        let place = format!("{place}: {batch:?} after {last:?}");
        match batch.append(log, stamp(batch.id, self.now)) {
            Ok(appended) if appended.duplicate => {
                let place = format!("{place}, at {}", appended.first);
                assert!(may, "{place}");
                let mut recent = self.recent(batch.id);
                assert!(
                    recent.any(|(sent, base, _)| (*sent, *base) == (batch, appended.first)),
                    "{place}"
                );
                assert_eq!(appended.last, appended.first + batch.count as u64 - 1, "{place}");
                drop(recent);
                if !self.is_vague(batch.id) {
                    self.heard.insert(batch.id, self.now);
                }
            }
            Ok(appended) => {
                assert!((follows || !must) && !repeats, "{place}");
                assert_eq!(appended.first, self.end, "{place}");
                // No batch of an unknown producer is left.
                if !must || last.is_none_or(|last| last.epoch != batch.epoch) {
                    self.fresh.insert(batch.id, self.end);
                }
                self.heard.insert(batch.id, self.now);
                self.forgotten.remove(&batch.id);
                self.stored.push((batch, self.end, self.now));
                for n in 0..batch.count {
                    self.values.insert(self.end, batch.value(n));
                    self.end += 1;
                }
                return true;
            }
            Err(Error::Producer(ProducerStateError::Fenced { epoch, current, .. })) => {
                let last = last.unwrap();
                if self.is_vague(batch.id) {
                    return false;
                }
                assert!(may && batch.epoch < last.epoch && !repeats, "{place}");
                assert_eq!((epoch, current), (batch.epoch, last.epoch), "{place}");
            }
            Err(Error::Producer(ProducerStateError::OutOfOrder {
                expected: said, found, ..
            })) => {
                let last = last.unwrap_or_else(|| panic!("{place}: unnumbered record rejected"));
                if self.is_vague(batch.id) {
                    return false;
                }
                assert!(may && !follows && !repeats && batch.epoch >= last.epoch, "{place}");
                assert_eq!((Some(said), found), (expected, batch.first), "{place}");
            }
            Err(error) => panic!("{place}: {error}"),
        }
        false
    }
}

fn is_of_producers(name: &str) -> bool {
    name.ends_with(".snapshot") || name.ends_with(".recent")
}

/// Spoils a snapshot or the file beside it, or removes it, or all of them.
fn harm(fs: &MemFs, chance: &mut Chance) {
    let names: Vec<_> =
        files(fs, DIR).into_iter().filter(|(name, _)| is_of_producers(name)).collect();
    if names.is_empty() {
        return;
    }
    let (name, mut bytes) = names[chance.below(names.len() as u64) as usize].clone();
    match chance.below(5) {
        0 => names.iter().for_each(|(name, _)| fs.remove(&Path::new(DIR).join(name)).unwrap()),
        1 => fs.remove(&Path::new(DIR).join(name)).unwrap(),
        2 => write_file(fs, DIR, &name, &[]),
        3 if !bytes.is_empty() => {
            let at = chance.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << chance.below(8);
            write_file(fs, DIR, &name, &bytes);
        }
        _ => {}
    }
}

/// A log, the disk it is on, and what it must hold.
struct Run {
    chance: Chance,
    clock: Arc<ManualClock>,
    disk: MemFs,
    fs: FaultFs,
    log: Log,
    model: Model,
    /// In how many steps there is one of each kind but sending.
    calm: u64,
}

impl Run {
    fn config(&self) -> LogConfig {
        let policy = [CleanupPolicy::Delete, CleanupPolicy::CompactAndDelete];
        config(&self.disk)
            .producer_id_expiration(Duration::from_millis(SILENCE as u64))
            .cleanup_policy(policy[usize::from(self.model.compacts)])
            .clock(self.clock.clone())
            .fs(self.fs.clone())
    }

    fn new(seed: u64) -> Run {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let log = Log::open("elsewhere", config(&MemFs::new())).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
        let model = Model { now: T0, compacts: seed.is_multiple_of(3), ..Model::default() };
        let calm = [24, 90][seed as usize % 2];
        let mut run = Run { chance: Chance(seed), clock, disk, fs, log, model, calm };
        run.log = Log::open(DIR, run.config()).unwrap();
        run
    }

    fn reopen(&mut self, disk: MemFs, place: &str) {
        let durable = self.log.offsets().durable;
        self.disk = disk;
        harm(&self.disk, &mut self.chance);
        self.fs = FaultFs::new(self.disk.clone());
        self.log = Log::open(DIR, self.config()).unwrap();
        let end = self.log.offsets().end;
        assert!(end >= durable, "{place}: ends at {end}, {durable} was durable");
        self.model.cut(end);
        self.model.read_again(&self.log, true, place);
        self.model.check_records(&self.log, place);
    }

    /// The batch finds no room, and then it does.
    fn send_where_there_is_no_room(&mut self, place: &str) {
        let batch = self.model.next(&mut self.chance);
        let full = Rule::new(Operation::Write, Fault::Error(std::io::ErrorKind::StorageFull));
        let rule = self.fs.add_rule(full.path(".log"));
        match batch.append(&self.log, stamp(batch.id, self.model.now)) {
            Err(Error::Io { .. }) => {
                self.fs.remove_rule(rule);
                assert!(self.model.send(&self.log, batch, place), "{place}: it was not there");
            }
            _ => self.fs.remove_rule(rule),
        }
    }

    fn step(&mut self, place: &str) {
        match self.chance.below(self.calm) {
            0 => self.log.roll().unwrap(),
            1 => {
                let least = self.model.start.max(self.model.compacted);
                let least = self.model.end.saturating_sub(30).max(least);
                let target = least + self.chance.below(self.model.end - least + 1);
                self.log.truncate_to(target).unwrap();
                if target < self.model.end {
                    self.model.cut(target);
                    self.model.read_again(&self.log, false, place);
                }
            }
            2 => assert!(self.log.flush().is_ok()),
            3 => {
                self.log.append(Record::new(UNNUMBERED).key("k")).unwrap();
                self.model.values.insert(self.model.end, UNNUMBERED.to_owned());
                self.model.end += 1;
            }
            4 => {
                let disk = self.disk.clone();
                self.log.clone().close().unwrap();
                self.reopen(disk, place);
            }
            5 => self.reopen(self.disk.kill(), place),
            6 => {
                let seed = self.chance.below(1 << 40);
                self.reopen(self.disk.crash(CrashState::Random { seed }), place);
            }
            7 => {
                let millis = self.chance.below(SILENCE as u64 * 2 / 3);
                self.model.now += millis as i64;
                self.clock.advance(Duration::from_millis(millis));
            }
            8 => {
                let span = self.model.end - self.model.start;
                let target = self.model.start + self.chance.below(span / 2 + 1);
                self.model.start = self.log.delete_before(target).unwrap();
            }
            9 if self.model.compacts => {
                self.log.compact().unwrap();
                self.model.compacted =
                    self.log.stats().unwrap().segments.last().unwrap().base_offset;
                let compacted = self.model.compacted;
                let above = self.model.stored.iter().filter(|(_, base, _)| *base >= compacted);
                self.model.went_on.extend(above.map(|(sent, ..)| (sent.id, compacted)));
            }
            9 => drop(self.log.maintain().unwrap()),
            10 => self.send_where_there_is_no_room(place),
            _ => {
                let batch = self.model.next(&mut self.chance);
                self.model.send(&self.log, batch, place);
            }
        }
        self.model.check(&self.log, place);
    }
}

#[test]
fn sequences_are_unique_through_random_work() {
    let (mut batches, mut openings) = (0, 0);
    for seed in seeds("ANNALS_PRODUCER_SEEDS", 100) {
        let mut run = Run::new(seed);
        for step in 0..100 {
            run.step(&format!("seed {seed}, step {step}"));
        }
        run.model.check_records(&run.log, &format!("seed {seed}"));
        assert_eq!(run.log.verify().unwrap(), []);
        batches += run.model.stored.len();
        openings += 1;
    }
    say(&format!("producers: {batches} batches are left in {openings} logs"));
}
