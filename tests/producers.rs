//! Idempotent producers on a log: what is stored once, what is refused, and what of it an opening knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use annals::fs::{Fs, MemFs, Survive};
use annals::record::BatchBuilder;
use annals::{
    Appended, CleanupPolicy, Error, ErrorKind, Log, LogConfig, ManualClock, Offset, ProducerEpoch,
    ProducerId, ProducerRefusal, ProducerState, Result, Sequence, Timestamp,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, DIR, T0, clock, files, read_all, say, seeds, write_file};

fn config(fs: &MemFs) -> LogConfig {
    LogConfig::default().segment_bytes(900).index_interval_bytes(100).clock(clock()).fs(fs.clone())
}

/// What a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    id: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
    count: i32,
}

impl Sent {
    fn append(self, log: &Log, at: i64) -> Result<Appended> {
        let mut builder = BatchBuilder::new();
        builder.producer(self.id, self.epoch, self.first);
        for n in 0..self.count {
            let value = format!("{} {} {}", self.id, self.epoch, self.first.wrapping_add(n));
            let time = Timestamp::from_millis(at + i64::from(n));
            builder.push(time, None, Some(value.as_bytes())).unwrap();
        }
        log.append_batch(builder.build().unwrap())
    }
}

fn sent(id: ProducerId, epoch: ProducerEpoch, first: Sequence, count: i32) -> Sent {
    Sent { id, epoch, first, count }
}

#[test]
fn a_batch_that_comes_again_is_stored_once() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    log.append("of nobody").unwrap();
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
            "producer 7 goes on with sequence number 0 where 18 is next; send what is missing, or raise the epoch and begin at 0",
        ),
        (
            sent(7, 0, 19, 1),
            ErrorKind::OutOfOrder,
            "producer 7 goes on with sequence number 19 where 18 is next; send what is missing, or raise the epoch and begin at 0",
        ),
        (
            sent(7, 1, 18, 1),
            ErrorKind::OutOfOrder,
            "producer 7 goes on with sequence number 18 where 0 is next; send what is missing, or raise the epoch and begin at 0",
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
        "producer 7 has epoch 0, and the log has seen epoch 1: another has taken over; close this producer"
    );
    assert_eq!(log.offsets().end, end + 1);
    assert_eq!(log.verify().unwrap(), []);
}

#[test]
fn threads_that_send_the_same_store_it_once() {
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
                                // It has been stored, and so has the next, or it follows one that another will store.
                                Ok(_) => break,
                                Err(Error::Producer(ProducerRefusal::OutOfOrder {
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
                            log.append("of nobody").unwrap();
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

#[test]
fn who_is_silent_for_a_day_is_forgotten() {
    let fs = MemFs::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = || config(&fs).clock(clock.clone());
    let log = Log::open(DIR, config()).unwrap();
    sent(7, 3, 5, 1).append(&log, T0).unwrap();
    clock.advance(Duration::from_secs(24 * 3600) - Duration::from_millis(1));
    assert!(sent(7, 3, 9, 1).append(&log, T0).is_err());
    sent(8, 0, 0, 1).append(&log, T0 + 1).unwrap();
    clock.advance(Duration::from_millis(1));
    assert!(!sent(7, 0, 9, 1).append(&log, T0).unwrap().duplicate);
    log.close().unwrap();
    let log = Log::open(DIR, config()).unwrap();
    let ids = |log: &Log| -> Vec<_> {
        log.producers().unwrap().iter().map(|state| state.producer_id).collect()
    };
    assert_eq!(ids(&log), [8]);
    clock.advance(Duration::from_millis(1));
    drop(log);
    assert_eq!(ids(&Log::open(DIR, config()).unwrap()), Vec::<ProducerId>::new());
}

/// What was known where a segment began that was merged into another is of no use.
#[test]
fn compaction_keeps_snapshots_where_segments_begin() {
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
    // What is small enough after the first pass is joined by the second.
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

/// The producers of a list of batches.
#[derive(Debug, Clone, Default)]
struct Model {
    stored: Vec<(Sent, Offset, i64)>,
    end: Offset,
}

impl Model {
    fn states(&self) -> Vec<ProducerState> {
        let mut states = BTreeMap::new();
        for (sent, base, at) in &self.stored {
            let delta = sent.count - 1;
            states.insert(
                sent.id,
                ProducerState {
                    producer_id: sent.id,
                    producer_epoch: sent.epoch,
                    last_sequence: sent.first.wrapping_add(delta) & i32::MAX,
                    last_offset: *base as i64 + i64::from(delta),
                    offset_delta: delta,
                    last_timestamp: Timestamp::from_millis(at + i64::from(delta)),
                    coordinator_epoch: -1,
                    current_txn_first_offset: -1,
                },
            );
        }
        states.into_values().collect()
    }

    fn cut(&mut self, end: Offset) {
        self.stored.retain(|(sent, base, _)| base + sent.count as u64 <= end);
        self.end = end;
    }

    fn next(&self, chance: &mut Chance) -> Sent {
        let id = chance.below(3) as ProducerId;
        let last = self.stored.iter().rev().find(|(sent, ..)| sent.id == id);
        let Some((last, ..)) = last else {
            return sent(id, 0, chance.below(9) as i32, 1 + chance.below(4) as i32);
        };
        let next = last.first.wrapping_add(last.count) & i32::MAX;
        let count = 1 + chance.below(4) as i32;
        match chance.below(9) {
            0 => sent(id, last.epoch + 1, 0, count),
            1 => sent(id, last.epoch, next.wrapping_add(1) & i32::MAX, count),
            2 => sent(id, last.epoch + 1, 1, count),
            3 => *last,
            4 if last.epoch == 0 => sent(id, 1, 0, count),
            5 if last.epoch > 0 => sent(id, last.epoch - 1, next, count),
            _ => sent(id, last.epoch, next, count),
        }
    }

    /// Sends a batch, and holds what comes back against what is stored.
    fn send(&mut self, log: &Log, chance: &mut Chance, place: &str) {
        let batch = self.next(chance);
        let at = T0 + self.end as i64 * 10;
        let last = self.stored.iter().rev().find(|(sent, ..)| sent.id == batch.id);
        let follows = last.is_none_or(|(last, ..)| {
            (batch.epoch == last.epoch
                && batch.first == last.first.wrapping_add(last.count) & i32::MAX)
                || (batch.epoch > last.epoch && batch.first == 0)
        });
        match batch.append(log, at) {
            Ok(appended) if appended.duplicate => {
                let (found, base, _) = last.unwrap();
                assert_eq!((*found, *base), (batch, appended.first), "{place}");
            }
            Ok(appended) => {
                assert!(follows, "{place}: {batch:?} after {last:?}");
                assert_eq!(appended.first, self.end, "{place}");
                self.stored.push((batch, self.end, at));
                self.end += batch.count as u64;
            }
            Err(Error::Producer(refusal)) => {
                assert!(!follows && last.is_some_and(|last| last.0 != batch), "{place}: {refusal}");
            }
            Err(error) => panic!("{place}: {error}"),
        }
    }
}

/// Spoils a snapshot, or removes it, or all of them.
fn harm(fs: &MemFs, chance: &mut Chance) {
    let names: Vec<_> =
        files(fs, DIR).into_iter().filter(|(name, _)| name.ends_with(".snapshot")).collect();
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

#[test]
fn an_opening_knows_the_producers_whatever_became_of_their_snapshots() {
    let (mut batches, mut openings) = (0, 0);
    for seed in seeds("ANNALS_PRODUCER_SEEDS", 150) {
        let mut chance = Chance(seed);
        let mut disk = MemFs::new();
        let mut log = Log::open(DIR, config(&disk)).unwrap();
        let mut model = Model::default();
        for step in 0..60 {
            let place = format!("seed {seed}, step {step}");
            match chance.below(16) {
                0 => log.roll().unwrap(),
                1 => {
                    let target = chance.below(model.end + 1).max(model.end.saturating_sub(30));
                    log.truncate_to(target).unwrap();
                    model.cut(target);
                }
                2 => assert!(log.flush().is_ok()),
                3 => {
                    log.append("of nobody").unwrap();
                    model.end += 1;
                }
                kind @ 4..=6 => {
                    let before = log.producers().unwrap();
                    if kind == 4 {
                        log.close().unwrap();
                    } else {
                        drop(log);
                    }
                    // What is left when the process dies, and, after all is durable, when power is lost.
                    disk = match kind {
                        4 => disk,
                        5 => disk.kill(),
                        _ => {
                            let log = Log::open(DIR, config(&disk)).unwrap();
                            log.flush().unwrap();
                            assert_eq!(log.producers().unwrap(), before, "{place}");
                            let crashed = disk.crash(Survive::Some { seed: chance.below(1 << 40) });
                            drop(log);
                            crashed
                        }
                    };
                    harm(&disk, &mut chance);
                    log = Log::open(DIR, config(&disk)).unwrap();
                    openings += 1;
                }
                _ => {
                    model.send(&log, &mut chance, &place);
                    batches += 1;
                }
            }
            assert_eq!(log.producers().unwrap(), model.states(), "{place}");
            assert_eq!(log.offsets().end, model.end, "{place}");
        }
        assert_eq!(log.verify().unwrap(), []);
    }
    say(&format!("producers: {batches} batches, {openings} openings"));
}
