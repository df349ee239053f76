//! Indexes of aborted transactions under faults and crashes, explored by seed.
//!
//! `TXN_SEED` chooses the seeds: `17` runs one, `0..3000` many.

use annals::fs::{Call, CrashState, Fault, FaultFs, Fs, MemFs, OpenMode, Rule};
use annals::record::{BatchBuilder, EndTxnMarker, RecordBatch};
use annals::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use support::{Chance, DIR, T0, clock, files, name, say, seeds, write_file};

/// The kind of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Transactional,
    End { committed: bool },
}

/// A batch: its first offset, how many it has, whose it is and what.
type Batch = (Offset, u64, ProducerId, Kind);

/// A log with transactions, as it must be.
#[derive(Debug, Clone, Default)]
struct Txns {
    batches: Vec<Batch>,
    end: Offset,
    /// Everything below was acknowledged as durable.
    durable: Offset,
}

/// An entry of the index of aborted transactions: the producer, the first offset, the offset of
/// the marker, and the last stable offset at that time.
type Aborted = (ProducerId, u64, u64, u64);

impl Txns {
    /// The entries that the indexes must have, and the first offset of the earliest open
    /// transaction.
    fn expected(&self) -> (Vec<Aborted>, Option<Offset>) {
        let (mut open, mut aborted) = (BTreeMap::new(), Vec::new());
        for (base, count, id, kind) in &self.batches {
            match kind {
                Kind::Plain => {}
                Kind::Transactional => {
                    open.entry(*id).or_insert(*base);
                }
                Kind::End { committed } => {
                    let first = open.remove(id);
                    if let Some(first) = first.filter(|_| !committed) {
                        let stable = open.values().copied().min().unwrap_or(base + count);
                        aborted.push((*id, first, *base, stable));
                    }
                }
            }
        }
        (aborted, open.values().copied().min())
    }

    fn cut(&mut self, end: Offset) {
        self.batches.retain(|(base, count, ..)| base + count <= end);
        self.end = end;
        self.durable = self.durable.min(end);
    }

    /// The model of a log that was opened and may have lost its end.
    fn take(&mut self, log: &Log, place: &str) {
        let end = log.offsets().end;
        assert!(end >= self.durable && end <= self.end, "{place}: {end}, {self:?}");
        self.cut(end);
        self.durable = end;
    }

    /// Batches that a broker adds to the last segment, as bytes.
    fn extend(&mut self, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..1 + chance.below(8) {
            let id = 11 + chance.below(3) as ProducerId;
            let is_open = self.open().contains(&id);
            let kind = match chance.below(5) {
                0 => Kind::Plain,
                1 | 2 if is_open => Kind::End { committed: chance.below(3) == 0 },
                _ => Kind::Transactional,
            };
            let count = if matches!(kind, Kind::End { .. }) { 1 } else { 1 + chance.below(3) };
            bytes.extend(encode((self.end, count, id, kind), self.sequence(id)));
            self.push(count, id, kind);
        }
        bytes
    }

    fn push(&mut self, count: u64, id: ProducerId, kind: Kind) {
        self.batches.push((self.end, count, id, kind));
        self.end += count;
    }

    /// The next sequence number of a producer.
    fn sequence(&self, id: ProducerId) -> i32 {
        let is_sent = |(_, _, of, kind): &&Batch| *of == id && matches!(kind, Kind::Transactional);
        self.batches.iter().filter(is_sent).map(|(_, count, ..)| *count as i32).sum()
    }

    fn open(&self) -> BTreeSet<ProducerId> {
        let mut open = BTreeSet::new();
        for (_, _, id, kind) in &self.batches {
            match kind {
                Kind::Plain => {}
                Kind::Transactional => drop(open.insert(*id)),
                Kind::End { .. } => drop(open.remove(id)),
            }
        }
        open
    }

    /// The offsets of the records that a reader of committed records must find.
    fn committed(&self, stable: Offset) -> Vec<Offset> {
        let (mut open, mut seen) = (BTreeMap::<_, Vec<Offset>>::new(), Vec::new());
        for (base, count, id, kind) in &self.batches {
            match kind {
                Kind::Plain => seen.extend(*base..base + count),
                Kind::Transactional => open.entry(*id).or_default().extend(*base..base + count),
                Kind::End { committed } => {
                    let ended = open.remove(id).unwrap_or_default();
                    seen.extend(ended.into_iter().filter(|_| *committed));
                }
            }
        }
        seen.retain(|offset| *offset < stable);
        seen.sort_unstable();
        seen
    }

    /// Everything that is said of transactions is true.
    fn check(&self, log: &Log, fs: &MemFs, place: &str) {
        let (aborted, unstable) = self.expected();
        let stable = unstable.unwrap_or(self.end);
        let offsets = (log.offsets().last_stable, log.offsets().end);
        assert_eq!(offsets, (stable, self.end), "{place}: {:?}", self.batches);
        let reader = log.isolated(IsolationLevel::ReadCommitted).reader(0).unwrap();
        let seen: Vec<_> = reader.records().map(|record| record.unwrap().offset).collect();
        assert_eq!(seen, self.committed(stable), "{place}: {:?}", self.batches);
        let mut found = Vec::new();
        for file in files(fs, DIR).keys().filter(|name| name.ends_with(".txnindex")) {
            let base: Offset = file.strip_suffix(".txnindex").unwrap().parse().unwrap();
            let entries = inspect::TxnEntries::open(fs, &Path::new(DIR).join(file));
            for entry in entries.unwrap().map(Result::unwrap) {
                let of = |offset: i64| offset as u64;
                assert!(of(entry.last_offset) >= base, "{place}: {entry:?} in {file}");
                let offsets = [entry.first_offset, entry.last_offset, entry.last_stable_offset];
                let [first, last, stable] = offsets.map(of);
                found.push((entry.producer_id, first, last, stable));
            }
        }
        assert_eq!(found, aborted, "{place}: {:?}", self.batches);
    }
}

fn encode((base, count, id, kind): Batch, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(base);
    let time = Timestamp::from_millis(T0);
    match kind {
        Kind::Plain => {}
        Kind::Transactional => drop(builder.producer(id, 0, sequence).transactional(true)),
        Kind::End { .. } => drop(builder.producer(id, 0, -1).transactional(true).control(true)),
    }
    for _ in 0..count {
        let (key, value) = match kind {
            Kind::End { committed } => (Some([0, 0, 0, u8::from(committed)]), &[0; 6][..]),
            _ => (None, &b"value"[..]),
        };
        builder.push(time, key.as_ref().map(|key| &key[..]), Some(value)).unwrap();
    }
    builder.build_bytes().unwrap()
}

/// A broker has the directory, appends to the last segment, and is killed.
fn broker_appends(fs: &MemFs, txns: &mut Txns, chance: &mut Chance) {
    fs.create_dir(Path::new(DIR)).unwrap();
    fs.remove(&Path::new(DIR).join(".kafka_cleanshutdown")).ok();
    let there = files(fs, DIR);
    let last = there.keys().filter(|name| name.ends_with(".log")).max().cloned();
    let last = last.unwrap_or_else(|| name(0, "log"));
    let mut bytes = there.get(&last).cloned().unwrap_or_default();
    bytes.extend(txns.extend(chance));
    write_file(fs, DIR, &last, &bytes);
    let file = fs.open(&Path::new(DIR).join(&last), OpenMode::ReadWrite).unwrap();
    file.sync_all().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
}

/// One run: the log is opened, truncated, appended to, in transactions and outside of them, rolled
/// and closed, with a fault at a random call or none, and after each error it is found again as a
/// crash leaves it.
fn explore_transactions(seed: u64) {
    let mut chance = Chance(seed);
    let (mut memory, mut txns) = (MemFs::new(), Txns::default());
    broker_appends(&memory, &mut txns, &mut chance);
    for turn in 0..6 {
        let faults = FaultFs::new(memory.clone());
        let config = |fs: &dyn Fn() -> FaultFs| {
            LogConfig::default()
                .segment_bytes(600)
                .index_interval_bytes(100)
                .clock(clock())
                .fs(fs())
        };
        let kind = [io::ErrorKind::Other, io::ErrorKind::StorageFull][chance.below(2) as usize];
        let rule = Rule::any(Fault::Error(kind));
        let at = 1 + chance.below(60);
        let rule = if chance.below(2) == 0 { rule.nth(at) } else { rule.from_nth(at) };
        if chance.below(2) == 0 {
            faults.add_rule(rule);
        }
        let place = format!("seed {seed}, turn {turn}");
        let opened = Log::open(DIR, config(&|| faults.clone()));
        let mut failed = opened.is_err();
        if let Ok(log) = opened {
            txns.take(&log, &place);
            if faults.trace().iter().all(Call::is_ok) {
                txns.check(&log, &memory, &place);
            }
            for step in 0..chance.below(8) {
                let place = format!("{place}, step {step}");
                failed = act(&log, &mut txns, &mut chance).is_err();
                if failed {
                    break;
                }
                // A truncation removes the entries of what it cuts; the next opening repairs what
                // failed.
                if faults.trace().iter().all(Call::is_ok) {
                    txns.check(&log, &memory, &place);
                }
            }
        }
        faults.clear_rules();
        memory = match chance.below(4) {
            0 => memory.kill(),
            1 => memory.crash(CrashState::SyncedOnly),
            2 => memory.crash(CrashState::Random { seed }),
            _ => memory.crash(CrashState::AllWrites),
        };
        let log = Log::open(DIR, config(&|| FaultFs::new(memory.clone())));
        let log = log.unwrap_or_else(|error| panic!("{place}, failed: {failed}: {error}"));
        txns.take(&log, &place);
        txns.check(&log, &memory, &format!("{place}, after the crash"));
        if chance.below(2) == 0 {
            log.close().unwrap();
        }
        memory = memory.kill();
        if chance.below(2) == 0 {
            broker_appends(&memory, &mut txns, &mut chance);
            txns.durable = txns.end;
        }
    }
}

fn act(log: &Log, txns: &mut Txns, chance: &mut Chance) -> Result<()> {
    match chance.below(10) {
        0 | 1 => {
            let target = txns.end - chance.below(8).min(txns.end);
            // A truncation that fails may have happened.
            txns.durable = txns.durable.min(target);
            let before = txns.batches.iter().rev().find(|(base, count, ..)| base + count <= target);
            txns.durable = txns.durable.min(before.map_or(0, |(base, count, ..)| base + count));
            log.truncate_to(target)?;
            txns.cut(target);
        }
        2 => log.roll()?,
        3 => {
            log.flush()?;
            txns.durable = txns.end;
        }
        4..=6 => {
            let (id, count) = (11 + chance.below(3) as ProducerId, 1 + chance.below(3));
            let batch = encode((0, count, id, Kind::Transactional), txns.sequence(id));
            // It may be there although it failed.
            txns.push(count, id, Kind::Transactional);
            log.append_batch(RecordBatch::parse(batch.into()).unwrap())?;
        }
        7 | 8 => {
            let any = 11 + chance.below(3) as ProducerId;
            let open = txns.open().into_iter().next();
            // A marker that ends nothing changes nothing.
            let id = open.filter(|_| chance.below(2) == 0).unwrap_or(any);
            let committed = chance.below(3) == 0;
            txns.push(1, id, Kind::End { committed });
            let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
            let producer = ProducerIdentity { id, epoch: 0 };
            log.append_marker(producer, marker, TransactionVersion::V0)?;
        }
        _ => {
            let (base, count) = (txns.end, 1 + chance.below(2));
            // It may be there although it failed.
            txns.batches.push((base, count, -1, Kind::Plain));
            txns.end += count;
            let appended = log.append_all((0..count).map(|_| Record::new("plain")));
            if let Err(error) = appended {
                if log.offsets().end == base && log.append("again").is_ok() {
                    txns.batches.pop();
                    txns.batches.push((base, 1, -1, Kind::Plain));
                    txns.end = base + 1;
                    return Ok(());
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// A broker tells its consumers by these indexes which records to hide.
#[test]
fn transaction_indexes_survive_faults_and_crashes() {
    for seed in seeds("TXN_SEED", 150) {
        say(&format!("seed: TXN_SEED={seed}"));
        explore_transactions(seed);
    }
}
