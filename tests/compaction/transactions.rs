//! Compaction of logs with transactions: what a reader of committed records finds stays the same,
//! and markers stay until their transaction and their delete horizon are gone.
//!
//! `ANNALS_TXN_COMPACTION_SEEDS=17` runs one seed of the random test, `0..5000` many.

use annals::fs::{CrashState, MemFs};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    CleanupPolicy, Clock, Error, IsolationLevel, Log, LogConfig, ManualClock, Offset, ProducerId,
    ProducerIdentity, ProducerStateError, Record, Timestamp, TransactionVersion,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use support::keyed::{Table, table};
use support::{Chance, DIR, Rec, clock, files, seeds};

/// The batches of a log, and the transaction of each.
#[derive(Debug, Default)]
struct Written {
    records: Vec<(Rec, Option<usize>)>,
    transactions: Vec<Txn>,
    producers: BTreeMap<ProducerId, Sender>,
}

#[derive(Debug)]
struct Txn {
    first: Offset,
    /// The offset of its marker, and whether that commits it.
    marker: Option<(Offset, bool)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sender {
    epoch: i16,
    sequence: i32,
    open: Option<usize>,
}

/// A control batch that is left: its number of records and its delete horizon.
type Marker = (i32, Option<i64>);

impl Written {
    fn last_stable(&self, end: Offset) -> Offset {
        let open = self.transactions.iter().filter(|txn| txn.marker.is_none());
        open.map(|txn| txn.first).min().unwrap_or(end)
    }

    /// Returns what a reader of committed records must find.
    fn committed(&self, end: Offset) -> Vec<Rec> {
        let bound = self.last_stable(end);
        let is_committed = |txn: &Option<usize>| {
            let marker = txn.map(|txn| self.transactions[txn].marker);
            marker.is_none_or(|marker| marker.is_some_and(|(_, committed)| committed))
        };
        let all = self.records.iter().filter(|(rec, txn)| rec.offset < bound && is_committed(txn));
        all.map(|(rec, _)| rec.clone()).collect()
    }

    /// Sends a batch with these keys in the transaction of a producer, which begins if necessary.
    fn send(&mut self, log: &Log, id: ProducerId, keys: &[(&str, Option<&str>)]) {
        let sender = self.producers.entry(id).or_default();
        let mut builder = BatchBuilder::new();
        builder.producer(id, sender.epoch, sender.sequence).transactional(true);
        let time = Timestamp::from_millis(support::T0);
        for (key, value) in keys {
            builder.push(time, Some(key.as_bytes()), value.map(str::as_bytes)).unwrap();
        }
        let first = log.append_batch(builder.build().unwrap()).unwrap().first;
        sender.sequence += keys.len() as i32;
        let txn = *sender.open.get_or_insert_with(|| {
            self.transactions.push(Txn { first, marker: None });
            self.transactions.len() - 1
        });
        self.note(first, keys, Some(txn));
    }

    fn append(&mut self, log: &Log, key: &str, value: Option<&str>) {
        let record = match value {
            Some(value) => Record::new(value.to_owned()).key(key.to_owned()),
            None => Record::tombstone(key.to_owned()),
        };
        let record = record.timestamp(Timestamp::from_millis(support::T0));
        let first = log.append(record).unwrap();
        self.note(first, &[(key, value)], None);
    }

    fn note(&mut self, first: Offset, keys: &[(&str, Option<&str>)], txn: Option<usize>) {
        for (offset, (key, value)) in (first..).zip(keys) {
            let (key, value) = (Some((*key).into()), value.map(Into::into));
            self.records.push((Rec { offset, time: support::T0, key, value }, txn));
        }
    }

    /// Ends the transaction of a producer, or only raises its epoch if none is open.
    fn end(&mut self, log: &Log, id: ProducerId, committed: bool, version: TransactionVersion) {
        let sender = self.producers.entry(id).or_default();
        if version == TransactionVersion::V2 || sender.open.is_none() {
            (sender.epoch, sender.sequence) = (sender.epoch + 1, 0);
        }
        let producer = ProducerIdentity { id, epoch: sender.epoch };
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let offset = log.append_marker(producer, marker, version).unwrap().first;
        if let Some(txn) = sender.open.take() {
            self.transactions[txn].marker = Some((offset, committed));
        }
    }

    /// Compares the committed records with the model. A log that was compacted holds at least the
    /// last record of each key.
    fn check(&self, log: &Log) {
        let end = log.offsets().end;
        assert_eq!(log.offsets().last_stable, self.last_stable(end));
        let reader = log.isolated(IsolationLevel::ReadCommitted).reader(0).unwrap();
        let found: Vec<Rec> = reader.records().map(|rec| rec.unwrap().into()).collect();
        let all = self.committed(end);
        assert!(found.iter().all(|rec| all.contains(rec)), "{found:?} of {all:?}");
        assert_eq!(table(&found), table(&all));
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// Returns the control batches of a log, and the offsets of its other batches by producer.
fn batches(log: &Log) -> (BTreeMap<Offset, Marker>, Vec<(Offset, ProducerId)>) {
    let (mut markers, mut data) = (BTreeMap::new(), Vec::new());
    let mut reader = log.isolated(IsolationLevel::LogEnd).reader(0).unwrap();
    while let Some(batch) = reader.next_batch().unwrap() {
        let header = batch.header();
        if header.is_control() {
            let horizon = header.delete_horizon().map(Timestamp::as_millis);
            markers.insert(header.base_offset, (header.record_count, horizon));
        } else if header.is_transactional() {
            data.push((header.base_offset, header.producer_id));
        }
    }
    (markers, data)
}

/// Returns whether any batch of a transaction is left, of a producer that ends transactions at
/// these offsets.
fn has_data(data: &[(Offset, ProducerId)], id: ProducerId, txn: &Txn) -> bool {
    let last = txn.marker.map_or(Offset::MAX, |(marker, _)| marker);
    data.iter().any(|(offset, of)| *of == id && (txn.first..last).contains(offset))
}

struct Life {
    chance: Chance,
    fs: MemFs,
    clock: Arc<ManualClock>,
    config: LogConfig,
    log: Log,
    model: Written,
    owners: BTreeMap<usize, ProducerId>,
}

fn config(clock: &Arc<ManualClock>, retention: u64) -> LogConfig {
    LogConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .clock(clock.clone())
        .min_cleanable_dirty_ratio(0.0)
        .delete_retention(Duration::from_millis(retention))
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut chance = Chance(seed);
        let (fs, clock) = (MemFs::new(), clock());
        let config = config(&clock, 500)
            .segment_bytes([400, 700, 3000][chance.below(3) as usize])
            .dedupe_buffer_bytes([1024, 1024, 1 << 20][chance.below(3) as usize]);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let (model, owners) = (Written::default(), BTreeMap::new());
        Life { chance, fs, clock, config, log, model, owners }
    }

    /// Makes passes, and checks that each marker that is gone had to go.
    fn compact(&mut self) {
        self.model.check(&self.log);
        let (before, had) = batches(&self.log);
        let now = self.clock.now().as_millis();
        let report = self.log.compact().unwrap();
        let (after, has) = batches(&self.log);
        for (number, txn) in self.model.transactions.iter().enumerate() {
            let id = self.owners[&number];
            let Some((marker, _)) = txn.marker else { continue };
            let Some(&(count, horizon)) = before.get(&marker).filter(|(count, _)| *count > 0)
            else {
                assert!(!has_data(&has, id, txn), "the marker at {marker} is gone, not its data");
                continue;
            };
            match after.get(&marker).filter(|(count, _)| *count > 0) {
                Some((left, new)) => {
                    assert_eq!(*left, count);
                    assert!(horizon.is_none() || *new == horizon);
                    let begins = horizon.is_none() && new.is_some();
                    assert!(!begins || !has_data(&has, id, txn));
                    assert!(!begins || report.passes > 1 || !has_data(&had, id, txn));
                    assert!(!begins || *new == Some(now + 500));
                }
                None => {
                    assert!(horizon.is_some_and(|at| at <= now), "{marker}: {horizon:?} at {now}");
                    assert!(!has_data(&had, id, txn) && !has_data(&has, id, txn));
                }
            }
        }
        self.model.check(&self.log);
    }

    fn step(&mut self) {
        let id = 10 + self.chance.below(3) as i64;
        let committed = self.chance.below(2) == 0;
        let key = |chance: &mut Chance| format!("key-{}", chance.below(12));
        match self.chance.below(100) {
            0..35 => {
                let count = 1 + self.chance.below(3);
                let keys: Vec<_> = (0..count).map(|_| key(&mut self.chance)).collect();
                let value = format!("{}", self.chance.below(1_000_000));
                let value = (self.chance.below(5) > 0).then_some(&*value);
                let keys: Vec<_> = keys.iter().map(|key| (&**key, value)).collect();
                self.model.send(&self.log, id, &keys);
                let open = self.model.producers[&id].open.unwrap();
                self.owners.insert(open, id);
            }
            35..50 => {
                let (key, value) = (key(&mut self.chance), self.chance.below(5) > 0);
                self.model.append(&self.log, &key, value.then_some("plain"));
            }
            50..75 => {
                let version =
                    [TransactionVersion::V0, TransactionVersion::V2][self.chance.below(2) as usize];
                self.model.end(&self.log, id, committed, version);
            }
            75..80 => self.log.roll().unwrap(),
            80..88 => self.compact(),
            88..96 => {
                let millis = [1, 100, 499, 500, 900][self.chance.below(5) as usize];
                self.clock.advance(Duration::from_millis(millis));
            }
            _ => {
                let fs = if committed { self.fs.kill() } else { self.fs.clone() };
                if !committed {
                    self.log.clone().close().unwrap();
                }
                self.fs = fs;
                self.log = Log::open(DIR, self.config.clone().fs(self.fs.clone())).unwrap();
                self.model.check(&self.log);
            }
        }
    }

    /// Ends everything: nothing aborted is left, and no marker but those that fence a producer.
    fn finish(mut self) {
        for id in self.model.producers.keys().copied().collect::<Vec<_>>() {
            self.model.end(&self.log, id, false, TransactionVersion::V2);
        }
        self.log.roll().unwrap();
        self.model.append(&self.log, "last", Some("active"));
        for _ in 0..8 {
            self.compact();
            self.clock.advance(Duration::from_millis(501));
        }
        let (markers, data) = batches(&self.log);
        let stored: Vec<Rec> = support::read_all(&self.log);
        let all = self.model.committed(self.log.offsets().end);
        assert!(stored.iter().all(|rec| all.contains(rec)), "an aborted record is left");
        let whole = markers.iter().filter(|(_, (count, _))| *count > 0).map(|(at, _)| *at);
        let transactions = self.model.transactions.iter().enumerate();
        let with_data = transactions.filter(|(n, txn)| has_data(&data, self.owners[n], txn));
        let needed = with_data.filter_map(|(_, txn)| Some(txn.marker?.0)).collect::<Vec<_>>();
        let rest = whole.filter(|at| !needed.contains(at)).count();
        assert!(rest <= self.model.producers.len(), "{rest} markers are left: {markers:?}");
    }
}

#[test]
fn committed_records_survive_compaction() {
    for seed in seeds("ANNALS_TXN_COMPACTION_SEEDS", 60) {
        println!("seed {seed}");
        let mut life = Life::new(seed);
        (0..150).for_each(|_| life.step());
        life.finish();
    }
}

fn open(fs: &MemFs, clock: &Arc<ManualClock>) -> Log {
    Log::open(DIR, config(clock, 500).fs(fs.clone())).unwrap()
}

fn committed(log: &Log) -> Table {
    let reader = log.isolated(IsolationLevel::ReadCommitted).reader(0).unwrap();
    table(&reader.records().map(|rec| rec.unwrap().into()).collect::<Vec<Rec>>())
}

#[test]
fn aborted_value_supersedes_nothing() {
    let (fs, clock) = (MemFs::new(), clock());
    let (log, mut model) = (open(&fs, &clock), Written::default());
    model.append(&log, "a", Some("kept"));
    model.send(&log, 7, &[("a", Some("aborted"))]);
    model.end(&log, 7, false, TransactionVersion::V2);
    log.roll().unwrap();
    model.append(&log, "b", Some("active"));
    let report = log.compact().unwrap();
    assert_eq!(report.records_removed, 1);
    assert_eq!(committed(&log).get(&b"a"[..]).unwrap(), b"kept");
}

/// An open transaction may still be aborted, and then what it supersedes counts.
#[test]
fn open_transaction_bounds_compaction() {
    let (fs, clock) = (MemFs::new(), clock());
    let (log, mut model) = (open(&fs, &clock), Written::default());
    model.append(&log, "a", Some("old"));
    model.append(&log, "a", Some("kept"));
    log.roll().unwrap();
    model.send(&log, 7, &[("a", Some("undecided"))]);
    log.roll().unwrap();
    model.append(&log, "b", Some("active"));
    assert_eq!(log.compact().unwrap().first_dirty_offset, 2);
    assert_eq!(support::offsets(&log), [1, 2, 3]);
    model.end(&log, 7, true, TransactionVersion::V2);
    assert_eq!(log.compact().unwrap().first_dirty_offset, 3);
    assert_eq!(support::offsets(&log), [2, 3]);
    assert_eq!(committed(&log).get(&b"a"[..]).unwrap(), b"undecided");
}

/// The marker that decides about compacted records may lie in the active segment. If a loss of
/// power took it, the transaction would be open again, without the records.
#[test]
fn decision_of_compacted_records_survives_power_loss() {
    let (fs, clock) = (MemFs::new(), clock());
    let (log, mut model) = (open(&fs, &clock), Written::default());
    model.append(&log, "a", Some("superseded"));
    model.send(&log, 7, &[("a", Some("committed"))]);
    model.send(&log, 8, &[("a", Some("aborted"))]);
    log.roll().unwrap();
    log.flush().unwrap();
    model.end(&log, 7, true, TransactionVersion::V2);
    model.end(&log, 8, false, TransactionVersion::V2);
    assert_eq!(log.compact().unwrap().records_removed, 2);
    let log = open(&fs.crash(CrashState::SyncedOnly), &clock);
    model.check(&log);
    assert_eq!(log.offsets().last_stable, 5);
}

#[test]
fn compacted_log_fences_producers_without_snapshots() {
    let (fs, clock) = (MemFs::new(), clock());
    let (log, mut model) = (open(&fs, &clock), Written::default());
    model.send(&log, 7, &[("a", Some("aborted"))]);
    model.end(&log, 7, false, TransactionVersion::V2);
    log.roll().unwrap();
    model.append(&log, "b", Some("active"));
    for _ in 0..4 {
        log.compact().unwrap();
        clock.advance(Duration::from_millis(501));
    }
    assert_eq!(batches(&log), (BTreeMap::from([(1, batches(&log).0[&1])]), Vec::new()));
    drop(log);
    for name in files(&fs, DIR).into_keys().filter(|name| name.ends_with(".snapshot")) {
        annals::fs::Fs::remove(&fs, &std::path::Path::new(DIR).join(name)).unwrap();
    }
    let log = open(&fs.kill(), &clock);
    let mut late = BatchBuilder::new();
    late.producer(7, 0, 1).transactional(true);
    late.push(Timestamp::from_millis(0), Some(b"a"), None).unwrap();
    let refused = log.append_batch(late.build().unwrap()).unwrap_err();
    assert!(
        matches!(refused, Error::Producer(ProducerStateError::Fenced { current: 1, .. })),
        "{refused}"
    );
}
