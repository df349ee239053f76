//! Transactions of a log that another process writes, while this one reads it.

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::*;
use std::collections::BTreeMap;
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

fn seen(log: &Log) -> Vec<Offset> {
    let mut reader = log.isolated(COMMITTED).reader(StartAt::Earliest).unwrap();
    std::iter::from_fn(|| reader.next_record().unwrap()).map(|record| record.offset).collect()
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
#[derive(Default)]
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

/// Whenever another process looks, it finds what was decided by then, and nothing else.
#[test]
fn follower_sees_decided_records_at_each_call() {
    let disk = MemFs::new();
    let fault = FaultFs::new(disk.clone());
    let log = Log::open(DIR, config(fault.clone())).unwrap();
    let follower = Arc::new(read_only(&disk));
    let looks = Arc::new(Mutex::new(Vec::new()));
    let images = Images::default();
    images.watch(&fault, &disk, {
        let (follower, looks) = (Arc::clone(&follower), Arc::clone(&looks));
        move || {
            let shown = seen(&follower);
            let at = follower.offsets();
            looks.lock().unwrap().push((at.start, at.end, shown));
        }
    });
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
    let looks = std::mem::take(&mut *looks.lock().unwrap());
    assert!(looks.len() > 50, "{}", looks.len());
    for (start, end, shown) in looks {
        assert_eq!(shown, history.shown(start, end), "{start}..{end}");
    }
    for image in images.take() {
        let reader = read_only(&image.disk);
        let at = reader.offsets();
        assert_eq!(seen(&reader), history.shown(at.start, at.end), "{} {at:?}", image.call);
    }
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
