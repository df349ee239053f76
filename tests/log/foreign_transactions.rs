//! Transactions of a log that another process writes, while this one reads it.

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use support::images::Images;
use support::{DIR, T0, clock, name, names, write_file};

const COMMITTED: IsolationLevel = IsolationLevel::ReadCommitted;

fn config(fs: impl Fs) -> LogConfig {
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::CompactAndDelete);
    config.min_cleanable_dirty_ratio(0.0).clock(clock()).fs(fs)
}

fn read_only(fs: &MemFs) -> Log {
    Log::open_read_only(DIR, config(fs.clone())).unwrap()
}

fn append(log: &Log, builder: &mut BatchBuilder) -> Offset {
    let key = format!("{}", log.offsets().end);
    builder.push(Timestamp::from_millis(T0), Some(key.as_bytes()), Some(b"value")).unwrap();
    log.append_batch(builder.build().unwrap()).unwrap().first
}

/// Appends a record of a transaction.
fn send(log: &Log, id: ProducerId, sequence: i32) -> Offset {
    append(log, BatchBuilder::new().producer(id, 0, sequence).transactional(true))
}

fn end(log: &Log, id: ProducerId, committed: bool) -> Offset {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    let producer = ProducerIdentity { id, epoch: 0 };
    log.append_marker(producer, marker, TransactionVersion::V0).unwrap().first
}

/// The offsets of the committed records, which all ways of reading agree on.
fn seen(log: &Log) -> Vec<Offset> {
    let view = log.isolated(COMMITTED);
    let mut reader = view.reader(StartAt::Earliest).unwrap();
    let shown: Vec<Offset> =
        std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.offset).collect();
    let Offsets { start, last_stable, .. } = log.offsets();
    let mut fetched = Vec::new();
    let mut from = start;
    while from < last_stable {
        let some = view.read(from, ReadLimits::bytes(1)).unwrap();
        assert!(some.next_offset > from, "{some:?}");
        fetched.extend(some.records().unwrap().iter().map(|record| record.offset));
        from = some.next_offset;
    }
    assert_eq!(fetched, shown);
    let is_there = |offset: &Offset| view.get(*offset).unwrap().is_some();
    assert_eq!((start..last_stable).filter(is_there).collect::<Vec<_>>(), shown);
    shown
}

/// Without the snapshot at the base of the last segment, what was open there follows from the
/// batches after an older one.
#[test]
fn follower_knows_transactions_without_snapshot() {
    for damage in [None, Some(&b"damaged"[..])] {
        let fs = MemFs::new();
        let log = Log::open(DIR, config(fs.clone())).unwrap();
        (0..3).for_each(|_| drop(append(&log, &mut BatchBuilder::new())));
        log.roll().unwrap();
        send(&log, 1, 0);
        log.roll().unwrap();
        log.append(Record::new("after").key("k")).unwrap();
        assert_eq!(log.offsets().last_stable, 3);
        let snapshot = name(4, "snapshot");
        assert!(names(&fs, DIR).contains(&snapshot));
        match damage {
            None => fs.remove(&std::path::Path::new(DIR).join(&snapshot)).unwrap(),
            Some(bytes) => write_file(&fs, DIR, &snapshot, bytes),
        }
        let reader = read_only(&fs);
        assert_eq!((reader.offsets().last_stable, seen(&reader)), (3, vec![0, 1, 2]));
        end(&log, 1, false);
        assert_eq!(seen(&reader), [0, 1, 2, 4]);
    }
}

/// A segment begins above the end of the log if no batch covers the offsets between.
#[test]
fn follower_knows_transaction_below_wide_gap() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(fs.clone())).unwrap();
    send(&log, 1, 0);
    let mut after = BatchBuilder::new();
    after.base_offset(1 << 33).push(Timestamp::from_millis(T0), Some(b"k"), Some(b"v")).unwrap();
    log.append_as_follower(after.build().unwrap().as_bytes()).unwrap();
    assert_eq!(log.offsets().last_stable, 0);
    assert_eq!(read_only(&fs).offsets().last_stable, 0);
}

/// Where the records of a log are: in a transaction, with the offset of its marker and whether it
/// commits, or alone.
#[derive(Clone, Default)]
struct History {
    records: BTreeMap<Offset, Option<ProducerId>>,
    markers: Vec<(ProducerId, Offset, bool)>,
}

impl History {
    fn send(&mut self, log: &Log, id: ProducerId, sequence: i32) {
        self.records.insert(send(log, id, sequence), Some(id));
    }

    fn alone(&mut self, log: &Log) {
        self.records.insert(append(log, &mut BatchBuilder::new()), None);
    }

    fn end(&mut self, log: &Log, id: ProducerId, committed: bool) {
        self.markers.push((id, end(log, id, committed), committed));
    }

    /// The marker of the transaction of a record.
    fn marker(&self, offset: Offset, id: ProducerId) -> (Offset, bool) {
        let mut after = self.markers.iter().filter(|(of, at, _)| *of == id && *at > offset);
        after.next().map_or((Offset::MAX, false), |(_, at, committed)| (*at, *committed))
    }

    /// What a reader of committed records finds in a log with these ends.
    fn shown(&self, start: Offset, end: Offset) -> Vec<Offset> {
        let is_open = |(offset, id): (&Offset, &Option<ProducerId>)| {
            *offset < end && id.is_some_and(|id| self.marker(*offset, id).0 >= end)
        };
        let records = || self.records.iter();
        let stable = records().find(|record| is_open(*record)).map_or(end, |(offset, _)| *offset);
        let is_shown = |(offset, id): &(&Offset, &Option<ProducerId>)| {
            (start..stable).contains(*offset) && id.is_none_or(|id| self.marker(**offset, id).1)
        };
        records().filter(is_shown).map(|(offset, _)| *offset).collect()
    }
}

/// What another process finds at each call of a writer: one that follows the log, and ones that
/// open it then.
struct Lookout {
    disk: MemFs,
    looks: Arc<Mutex<Vec<(usize, String, Offset, Offset, Vec<Offset>)>>>,
    /// Counts the beginnings and the ends of truncations.
    phase: Arc<AtomicUsize>,
}

impl Lookout {
    fn begin() -> (Lookout, Log) {
        let disk = MemFs::new();
        let fault = FaultFs::new(disk.clone());
        let log = Log::open(DIR, config(fault.clone())).unwrap();
        let (looks, phase) = (Arc::default(), Arc::default());
        let lookout = Lookout { disk, looks, phase };
        let follower = read_only(&lookout.disk);
        let images = Images::<()>::default();
        let (disk, looks) = (lookout.disk.clone(), Arc::clone(&lookout.looks));
        let phase = Arc::clone(&lookout.phase);
        images.watch(&fault, &lookout.disk, move || {
            let anew = read_only(&disk);
            for (reader, is_anew) in [(&follower, "follows"), (&anew, "opens")] {
                let shown = seen(reader);
                let Offsets { start, end, .. } = reader.offsets();
                let look = (phase.load(Ordering::Relaxed), is_anew.to_owned(), start, end, shown);
                looks.lock().unwrap().push(look);
            }
        });
        (lookout, log)
    }

    /// Checks all looks. `histories` are those at each truncation, and the last.
    fn check(&self, histories: &[History]) {
        let looks = std::mem::take(&mut *self.looks.lock().unwrap());
        assert!(looks.len() > 100, "{}", looks.len());
        for (phase, how, start, end, shown) in looks {
            let possible = histories.iter().skip(phase / 2).take(1 + phase % 2);
            let found: Vec<_> = possible.map(|history| history.shown(start, end)).collect();
            assert!(found.contains(&shown), "{how} {phase} {start}..{end}: {shown:?}, {found:?}");
        }
    }
}

/// Whenever another process looks, it finds what was decided by then, and nothing else.
#[test]
fn follower_sees_decided_records_at_each_call() {
    let (lookout, log) = Lookout::begin();
    let mut history = History::default();
    let h = &mut history;
    h.alone(&log);
    h.send(&log, 1, 0);
    log.roll().unwrap();
    h.send(&log, 2, 0);
    h.alone(&log);
    log.roll().unwrap();
    log.roll().unwrap();
    h.end(&log, 1, false);
    h.alone(&log);
    log.roll().unwrap();
    h.send(&log, 1, 1);
    h.send(&log, 2, 1);
    h.end(&log, 2, true);
    log.roll().unwrap();
    log.compact().unwrap();
    h.alone(&log);
    log.delete_before(2).unwrap();
    h.end(&log, 1, true);
    h.send(&log, 2, 2);
    log.roll().unwrap();
    log.compact().unwrap();
    h.end(&log, 2, false);
    log.close().unwrap();
    lookout.check(&[history]);
}

/// A truncation opens transactions again: between a marker and its records, inside of an aborted
/// range, to the start. The same transaction may then end otherwise.
#[test]
fn follower_sees_decided_records_through_truncations() {
    let (lookout, log) = Lookout::begin();
    let mut histories = Vec::new();
    let mut h = History::default();
    let mut truncate = |h: &mut History, to: Offset| {
        histories.push(h.clone());
        h.records.retain(|offset, _| *offset < to);
        h.markers.retain(|(_, at, _)| *at < to);
        lookout.phase.fetch_add(1, Ordering::Relaxed);
        log.truncate_to(to).unwrap();
        lookout.phase.fetch_add(1, Ordering::Relaxed);
    };
    h.alone(&log); // 0
    h.send(&log, 1, 0); // 1
    h.send(&log, 2, 0); // 2
    log.roll().unwrap();
    h.send(&log, 1, 1); // 3
    h.end(&log, 1, false); // 4
    log.roll().unwrap();
    h.alone(&log); // 5
    h.end(&log, 2, true); // 6
    truncate(&mut h, 6);
    h.end(&log, 2, false); // 6
    truncate(&mut h, 4);
    h.alone(&log); // 4
    h.end(&log, 1, true); // 5
    log.roll().unwrap();
    h.alone(&log); // 6
    truncate(&mut h, 3);
    h.send(&log, 1, 1); // 3
    log.roll().unwrap();
    h.end(&log, 1, false); // 4
    h.end(&log, 2, true); // 5
    log.compact().unwrap();
    h.alone(&log); // 6
    truncate(&mut h, 5);
    h.alone(&log); // 5
    log.roll().unwrap();
    h.end(&log, 2, false); // 6
    truncate(&mut h, 0);
    h.send(&log, 2, 0);
    h.end(&log, 2, true);
    log.close().unwrap();
    histories.push(h);
    lookout.check(&histories);
}

/// A log that begins anew has no transaction of before: a reader that looked meanwhile waits for
/// none.
#[test]
fn follower_forgets_transactions_of_log_begun_anew() {
    let (lookout, log) = Lookout::begin();
    let mut histories = Vec::new();
    // Inside of the log, at the base of a segment; upwards; downwards, to where a snapshot was.
    for offset in [3, 40, 2, 50, 45, 47] {
        let mut h = History::default();
        h.alone(&log);
        log.roll().unwrap();
        h.send(&log, 1, 0);
        h.alone(&log);
        log.roll().unwrap();
        h.send(&log, 2, 0);
        log.roll().unwrap();
        h.alone(&log);
        histories.push(h);
        lookout.phase.fetch_add(1, Ordering::Relaxed);
        log.truncate_fully_and_start_at(offset).unwrap();
        lookout.phase.fetch_add(1, Ordering::Relaxed);
    }
    let mut h = History::default();
    (0..3).for_each(|_| h.alone(&log));
    log.close().unwrap();
    histories.push(h);
    lookout.check(&histories);
}

/// A snapshot that cannot be written is rebuilt from the batches by each process that needs it.
#[test]
fn follower_knows_transactions_after_failed_snapshot() {
    let disk = MemFs::new();
    let fault = FaultFs::new(disk.clone());
    let log = Log::open(DIR, config(fault.clone())).unwrap();
    (0..3).for_each(|_| drop(append(&log, &mut BatchBuilder::new())));
    log.roll().unwrap();
    let full = Fault::Error(std::io::ErrorKind::Other);
    fault.add_rule(Rule::new(Operation::CreateNew, full).path(".snapshot"));
    send(&log, 1, 0);
    log.roll().unwrap();
    log.append(Record::new("after").key("k")).unwrap();
    assert_eq!((log.offsets().last_stable, seen(&read_only(&disk))), (3, vec![0, 1, 2]));
}

/// The writer's readers stop before a completed transaction that not all replicas have. So do
/// those of another process.
#[test]
fn follower_knows_unreplicated_transactions() {
    let fs = MemFs::new();
    let replicated = || config(fs.clone()).replicated(true);
    let log = Log::open(DIR, replicated()).unwrap();
    send(&log, 1, 0);
    send(&log, 2, 0);
    let along = Log::open_read_only(DIR, replicated()).unwrap();
    end(&log, 1, true); // 2
    log.roll().unwrap();
    end(&log, 2, false); // 3
    log.append(Record::new("after").key("k")).unwrap();
    for (high_watermark, stable) in [(0, 0), (2, 0), (3, 1), (4, 4), (5, 5)] {
        log.set_high_watermark(high_watermark).unwrap();
        log.maintain().unwrap();
        assert_eq!(log.offsets().last_stable, stable);
        let anew = Log::open_read_only(DIR, replicated()).unwrap();
        for reader in [&anew, &along] {
            seen(reader);
            let offsets = reader.offsets();
            let found = (offsets.high_watermark, offsets.last_stable);
            assert_eq!(found, (high_watermark, stable));
        }
    }
    assert_eq!(seen(&along), [0, 4]);
}
