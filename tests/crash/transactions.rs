//! Transactions in segments so small that compaction, deletions and truncations meet them open,
//! committed and aborted. The process ends before any call, or the power fails, or a call fails:
//! readers of committed records find what was acknowledged.
//!
//! `ANNALS_CRASH_TXN_SEEDS=17` runs one seed, `0..500` many.

use annals::fs::{Fault, FaultFs, MemFs, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    CleanupPolicy, Error, IsolationLevel, Log, LogConfig, ManualClock, Offset, ProducerId,
    ProducerIdentity, ReadLimits, Result, StartAt, Timestamp, TransactionVersion,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::images::Images;
use support::sim::Way;
use support::{Chance, DIR, T0, names, say, seeds};

const IDS: [ProducerId; 3] = [11, 12, 13];
const RETENTION: i64 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Data(ProducerId),
    End { id: ProducerId, committed: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    offset: Offset,
    key: String,
    value: Option<String>,
}

#[derive(Debug, Clone)]
struct Batch {
    base: Offset,
    count: u64,
    kind: Kind,
    epoch: i16,
    sequence: i32,
    records: Vec<Found>,
}

impl Batch {
    fn next(&self) -> Offset {
        self.base + self.count
    }

    fn id(&self) -> Option<ProducerId> {
        match self.kind {
            Kind::Plain => None,
            Kind::Data(id) | Kind::End { id, .. } => Some(id),
        }
    }
}

/// Where a transaction may begin, as a log that has forgotten what lies below its start sees it.
/// None: it may be unknown.
type Firsts = BTreeSet<Option<Offset>>;

/// What a log was given, with a call that is under way, and what it has promised.
#[derive(Debug, Clone, Default)]
struct Ledger {
    batches: Vec<Batch>,
    end: Offset,
    /// The end of this process leaves everything below.
    kept: Offset,
    /// A loss of power leaves everything below.
    durable: Offset,
    start: Offset,
    /// The start after a deletion that is under way.
    next_start: Offset,
    /// Ends inside of batches, of truncations.
    cuts: BTreeSet<Offset>,
    is_truncating: bool,
    /// The records that compaction may have removed.
    removable: BTreeSet<Offset>,
    /// When compaction saw each tombstone first.
    tombstones: BTreeMap<Offset, i64>,
    /// The end when compaction ran last: all its decisions lie below.
    cleaned: Offset,
    /// Transactions whose marker a truncation took after compaction had relied on it, by their
    /// first offsets: their data may be gone. With the next marker of the producer.
    ghosts: BTreeMap<ProducerId, (BTreeSet<Offset>, Option<Offset>)>,
    /// Producers whose last batch a truncation took after compaction, with the next one.
    vague: BTreeMap<ProducerId, Option<Offset>>,
    now: i64,
}

impl Ledger {
    fn clock(&self) -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_millis(T0 + self.now)))
    }

    /// The committed records, and the batches of each open transaction.
    fn decided(&self) -> (Vec<&Found>, BTreeMap<ProducerId, Vec<&Batch>>) {
        let (mut open, mut seen) = (BTreeMap::<_, Vec<&Batch>>::new(), Vec::new());
        for batch in &self.batches {
            match batch.kind {
                Kind::Plain => seen.extend(&batch.records),
                Kind::Data(id) => open.entry(id).or_default().push(batch),
                Kind::End { id, committed } => {
                    let ended = open.remove(&id).unwrap_or_default();
                    let records = ended.into_iter().flat_map(|batch| &batch.records);
                    seen.extend(records.filter(|_| committed));
                }
            }
        }
        seen.sort_by_key(|record| record.offset);
        (seen, open)
    }

    fn is_vague(&self, id: ProducerId) -> bool {
        self.vague.get(&id).is_some_and(Option::is_none)
    }

    /// Whether the last records of a producer were deleted. If its marker is left, an opening may
    /// know the epoch and no sequence number, as in Kafka.
    fn may_forget(&self, id: ProducerId) -> bool {
        let mut data = self.batches.iter().filter(|batch| batch.kind == Kind::Data(id));
        data.next_back().is_some_and(|last| last.base < self.start)
    }

    /// The epoch of a producer and its next sequence number.
    fn sender(&self, id: ProducerId) -> (i16, i32) {
        let mut sender = (0, 0);
        for batch in self.batches.iter().filter(|batch| batch.id() == Some(id)) {
            match batch.kind {
                Kind::End { .. } if batch.epoch == sender.0 => {}
                Kind::End { .. } => sender = (batch.epoch, 0),
                _ => sender = (batch.epoch, batch.sequence + batch.count as i32),
            }
        }
        sender
    }

    /// Where each open transaction may begin.
    fn firsts(&self) -> BTreeMap<ProducerId, Firsts> {
        let mut all = BTreeMap::<_, Firsts>::new();
        for (id, batches) in self.decided().1 {
            let of = all.entry(id).or_default();
            let left = batches.iter().find(|batch| batch.next() > self.start);
            of.insert(left.map(|batch| batch.base.max(self.start)));
            of.insert(Some(batches[0].base.max(self.start)));
        }
        for (id, (firsts, _)) in self.ghosts.iter().filter(|(_, (_, ended))| ended.is_none()) {
            let is_sent = self.decided().1.contains_key(id);
            let of = all.entry(*id).or_default();
            of.extend(firsts.iter().map(|first| Some((*first).max(self.start))));
            if !is_sent {
                of.insert(None);
            }
        }
        all
    }

    /// Whether a last stable offset is that of the open transactions.
    fn explains(&self, stable: Offset) -> bool {
        let firsts = self.firsts();
        let may_be = |of: &Firsts| of.iter().any(|first| first.is_none_or(|at| at >= stable));
        let is_first = firsts.values().any(|of| of.contains(&Some(stable)));
        firsts.values().all(may_be) && (stable == self.end || is_first)
    }

    fn push(&mut self, base: Offset, kind: Kind, (epoch, sequence): (i16, i32), all: &[Entry]) {
        let record = |(offset, (key, value)): (Offset, &Entry)| Found {
            offset,
            key: key.clone(),
            value: value.clone(),
        };
        let count = all.len().max(1) as u64;
        let records = (base..).zip(all).map(record).collect();
        self.batches.push(Batch { base, count, kind, epoch, sequence, records });
        self.end = base + count;
    }

    /// A call was acknowledged.
    fn acknowledge(&mut self, log: &Log) {
        let new = self.batches.iter().filter(|batch| batch.base >= self.kept);
        for (id, batch) in new.filter_map(|batch| Some((batch.id()?, batch))) {
            self.vague.entry(id).and_modify(|since| *since = since.or(Some(batch.base)));
            if matches!(batch.kind, Kind::End { .. }) {
                let ends = |(_, ended): &mut (_, Option<_>)| *ended = ended.or(Some(batch.base));
                self.ghosts.entry(id).and_modify(ends);
            }
        }
        self.kept = self.end;
        self.start = self.next_start;
        self.is_truncating = false;
        self.durable = log.offsets().durable;
        assert!(self.durable <= self.end && self.start == log.offsets().start);
    }

    /// A truncation begins. Returns the ledger after it.
    fn truncates(&mut self, target: Offset) -> Ledger {
        let mut next = self.clone();
        next.cut(target);
        // Below the cleaned offset, compaction may have removed all that follows the last record
        // of a reader, until the truncation covers it with an empty batch.
        let seen: BTreeSet<Offset> = self.decided().0.iter().map(|one| one.offset).collect();
        let stays =
            |one: &Found| seen.contains(&one.offset) && !self.removable.contains(&one.offset);
        let is_left =
            |batch: &&Batch| batch.base >= self.cleaned || batch.records.iter().any(stays);
        let whole = next.batches.iter().rfind(is_left).map_or(0, Batch::next).min(target);
        (self.durable, self.kept) = (self.durable.min(whole), self.kept.min(whole));
        (next.durable, next.kept) = (whole, target);
        self.cuts.insert(target);
        next.cuts.insert(target);
        self.is_truncating = true;
        next
    }

    fn cut(&mut self, end: Offset) {
        if end < self.cleaned {
            self.vague.extend(IDS.map(|id| (id, None)));
        }
        self.batches.retain(|batch| batch.next() <= end);
        if end < self.cleaned {
            let open = self.decided().1;
            let open = open.into_iter().map(|(id, of)| (id, of[0].base)).collect::<Vec<_>>();
            for (id, first) in open {
                let (firsts, ended) = self.ghosts.entry(id).or_default();
                firsts.insert(first);
                *ended = None;
            }
        }
        self.ghosts.retain(|_, (firsts, _)| firsts.first().is_some_and(|first| *first < end));
        let taken = |at: &mut Option<Offset>| *at = at.filter(|at| *at < end);
        self.ghosts.values_mut().for_each(|(_, ended)| taken(ended));
        self.vague.values_mut().for_each(taken);
        self.removable.retain(|offset| *offset < end);
        self.tombstones.retain(|offset, _| *offset < end);
        self.end = end;
    }

    /// After a truncation that took what compaction had relied on: what compaction removed cannot
    /// come back.
    fn forget_removed(&mut self, log: &Log) {
        if self.end >= self.cleaned {
            return;
        }
        let (mut bases, mut offsets) = (BTreeSet::new(), BTreeSet::new());
        let mut reader = log.isolated(IsolationLevel::LogEnd).reader(StartAt::Earliest).unwrap();
        while let Some(batch) = reader.next_batch().unwrap() {
            let header = batch.header();
            bases.insert((header.base_offset, header.producer_id));
        }
        let records = log.isolated(IsolationLevel::LogEnd).reader(StartAt::Earliest).unwrap();
        offsets.extend(records.records().map(|record| record.unwrap().offset));
        let (removable, start, cleaned) = (&self.removable, self.start, self.cleaned);
        for batch in &mut self.batches {
            batch.records.retain(|one| offsets.contains(&one.offset) || one.offset < start);
        }
        self.batches.retain(|batch| {
            bases.contains(&(batch.base, batch.id().unwrap_or(-1)))
                || batch.base < start
                || batch.base >= cleaned
        });
        self.removable = removable.intersection(&offsets).copied().collect();
        self.cleaned = self.end;
    }

    /// Compaction begins.
    fn compacts(&mut self, disk: &MemFs, stable: Offset) {
        let names =
            names(disk, DIR).into_iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok());
        let bound = names.max().unwrap_or(0).min(stable);
        let (seen, _) = self.decided();
        let seen: Vec<Found> = seen.into_iter().filter(|one| one.offset < bound).cloned().collect();
        let last: BTreeMap<&str, Offset> = seen.iter().map(|one| (&*one.key, one.offset)).collect();
        for one in &seen {
            let is_old_tombstone = one.value.is_none() && {
                let since = *self.tombstones.entry(one.offset).or_insert(self.now);
                self.now - since >= RETENTION
            };
            if last[&*one.key] > one.offset || is_old_tombstone {
                self.removable.insert(one.offset);
            }
        }
        self.cleaned = self.end;
    }

    /// Takes what an opening found, which must be what was promised.
    fn opened(&mut self, log: &Log, way: Way) {
        let (start, end) = (log.offsets().start, log.offsets().end);
        assert!([self.start, self.next_start].contains(&start), "it begins at {start}");
        let least = if way == Way::Kill { self.kept } else { self.durable };
        assert!(end >= least.max(start) && end <= self.end.max(start), "it ends at {end}");
        let is_boundary =
            self.batches.iter().any(|batch| [batch.base, batch.next()].contains(&end));
        let is_cut = end == self.end || end == start || self.cuts.contains(&end);
        assert!(is_boundary || is_cut, "it ends at {end}, inside of a batch");
        (self.start, self.next_start) = (start, start);
        if self.is_truncating || end < self.end {
            self.cut(end);
            self.forget_removed(log);
        }
        self.end = end;
        (self.kept, self.durable, self.is_truncating) = (end, end, false);
    }

    /// Everything that a log says of its transactions is true.
    fn check(&self, log: &Log) {
        let offsets = log.offsets();
        assert_eq!((offsets.start, offsets.end), (self.start, self.end));
        let stable = offsets.last_stable;
        assert!(self.explains(stable), "stable {stable}: {:?}", self.firsts());
        let (seen, _) = self.decided();
        let all: Vec<&Found> =
            seen.into_iter().filter(|one| (self.start..stable).contains(&one.offset)).collect();
        let committed = log.isolated(IsolationLevel::ReadCommitted);
        let found = committed.reader(StartAt::Earliest).unwrap().records();
        let found: Vec<Found> = found
            .map(|record| {
                let record = record.unwrap();
                let text = |text: Option<&str>| text.map(str::to_owned);
                let key = text(record.key_str()).unwrap();
                Found { offset: record.offset, key, value: text(record.value_str()) }
            })
            .collect();
        let extra = found.iter().find(|one| !all.contains(one));
        assert!(extra.is_none(), "it shows {extra:?}");
        let offsets: BTreeSet<Offset> = found.iter().map(|one| one.offset).collect();
        let lost = all
            .iter()
            .find(|one| !offsets.contains(&one.offset) && !self.removable.contains(&one.offset));
        assert!(lost.is_none(), "it lost {lost:?}");
        let last = |one: &Found| (one.key.clone(), one.value.clone());
        let mut table: BTreeMap<_, _> = all.iter().map(|one| last(one)).collect();
        let mut of_found: BTreeMap<_, _> = found.iter().map(last).collect();
        table.retain(|_, value| value.is_some());
        of_found.retain(|_, value| value.is_some());
        assert_eq!(of_found, table);
        assert_eq!(fetched(log), offsets, "with the list of aborted transactions");
        self.check_producers(log);
        assert_eq!(log.verify().unwrap(), []);
    }

    fn check_producers(&self, log: &Log) {
        let known = log.producers().unwrap();
        for id in IDS.into_iter().filter(|id| !self.is_vague(*id)) {
            let state = known.iter().find(|state| state.producer_id == id);
            let Some(batch) = self.batches.iter().rfind(|batch| batch.id() == Some(id)) else {
                continue;
            };
            let Some(state) = state else {
                assert!(batch.base < self.start, "producer {id} is unknown");
                continue;
            };
            assert_eq!(state.producer_epoch, batch.epoch, "{id}: {batch:?}");
            if let Kind::Data(_) = batch.kind {
                let last = (batch.sequence + batch.count as i32 - 1, batch.next() as i64 - 1);
                assert_eq!((state.last_sequence, state.last_offset), last, "{id}");
            }
        }
        let open =
            known.iter().filter_map(|one| Offset::try_from(one.current_txn_first_offset).ok());
        let stable = open.min().unwrap_or(self.end).max(self.start);
        assert_eq!(log.offsets().last_stable, stable, "by the producers");
    }
}

/// The offsets that a consumer of a broker finds, which gets whole batches and a list of aborted
/// transactions.
fn fetched(log: &Log) -> BTreeSet<Offset> {
    let mut found = BTreeSet::new();
    let committed = log.isolated(IsolationLevel::ReadCommitted);
    let (mut from, stable) = (log.offsets().start, log.offsets().last_stable);
    let start = from;
    while from < stable {
        let fetched = committed.read(from, ReadLimits::bytes(500)).unwrap();
        let mut aborted: Vec<_> =
            fetched.aborted.iter().map(|one| (one.first_offset, one.producer_id)).collect();
        aborted.sort_unstable();
        let (mut aborted, mut hidden) = (aborted.into_iter().peekable(), BTreeSet::new());
        let before = from;
        for batch in fetched.batches() {
            let header = *batch.header();
            from = header.next_offset();
            while let Some((_, id)) = aborted.next_if(|(first, _)| *first <= header.last_offset()) {
                hidden.insert(id);
            }
            if header.is_control() {
                hidden.remove(&header.producer_id);
            } else if !header.is_transactional() || !hidden.contains(&header.producer_id) {
                let records = batch.records().unwrap();
                found.extend(records.iter().map(|record| record.unwrap().offset));
            }
        }
        if from == before {
            break;
        }
    }
    found.retain(|offset| (start..stable).contains(offset));
    found
}

type Entry = (String, Option<String>);

fn config(clock: &Arc<ManualClock>) -> LogConfig {
    LogConfig::default()
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .clock(Arc::clone(clock) as _)
        .segment_bytes(600)
        .index_interval_bytes(0)
        .min_cleanable_dirty_ratio(0.0)
        .delete_retention(Duration::from_millis(RETENTION as u64))
}

/// A process with a log.
struct Life {
    chance: Chance,
    disk: MemFs,
    clock: Arc<ManualClock>,
    log: Log,
    ledger: Arc<Mutex<Ledger>>,
    /// Makes each value another.
    count: u64,
    done: Vec<String>,
}

impl Life {
    fn change<T>(&self, change: impl FnOnce(&mut Ledger) -> T) -> T {
        change(&mut self.ledger.lock().unwrap())
    }

    /// The epoch of a producer and its next sequence number. What was taken away, the log knows.
    fn sender(&self, id: ProducerId) -> (i16, i32) {
        let known = self.log.producers().unwrap().into_iter().find(|one| one.producer_id == id);
        let asks = |ledger: &Ledger| ledger.is_vague(id) || ledger.may_forget(id);
        self.change(|ledger| match known.filter(|_| asks(ledger)) {
            Some(state) => (state.producer_epoch, state.last_sequence + 1),
            None => ledger.sender(id),
        })
    }

    fn entries(&mut self) -> Vec<Entry> {
        let count = 1 + self.chance.below(3);
        let entry = |_| {
            self.count += 1;
            let value = (self.chance.below(6) > 0).then(|| format!("value {}", self.count));
            (format!("key {}", self.chance.below(8)), value)
        };
        (0..count).map(entry).collect()
    }

    fn send(&mut self, kind: Kind) -> Result<()> {
        let (entries, base) = (self.entries(), self.log.offsets().end);
        let mut builder = BatchBuilder::new();
        let mut numbers = (-1, -1);
        if let Kind::Data(id) = kind {
            numbers = self.sender(id);
            builder.producer(id, numbers.0, numbers.1).transactional(true);
        }
        for (key, value) in &entries {
            let time = Timestamp::from_millis(T0);
            builder.push(time, Some(key.as_bytes()), value.as_deref().map(str::as_bytes)).unwrap();
        }
        self.change(|ledger| ledger.push(base, kind, numbers, &entries));
        let appended = self.log.append_batch(builder.build().unwrap())?;
        assert!(appended.first == base && !appended.duplicate);
        Ok(())
    }

    fn end(&mut self, id: ProducerId, committed: bool) -> Result<()> {
        let base = self.log.offsets().end;
        let (mut epoch, sequence) = self.sender(id);
        // Some producers get a new epoch with each transaction.
        let mut version = TransactionVersion::V1;
        if id % 2 == 1 {
            (version, epoch) = (TransactionVersion::V2, epoch + 1);
        }
        let kind = Kind::End { id, committed };
        self.change(|ledger| ledger.push(base, kind, (epoch, sequence), &[]));
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        self.log.append_marker(ProducerIdentity { id, epoch }, marker, version)?;
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        self.change(|ledger| ledger.compacts(&self.disk, self.log.offsets().last_stable));
        self.log.compact().map(drop)
    }

    fn advance(&mut self, millis: i64) {
        self.clock.advance(Duration::from_millis(millis as u64));
        self.change(|ledger| ledger.now += millis);
    }

    fn truncate(&mut self) -> Result<()> {
        let far = [2, 2, 4, 9, 30][self.chance.below(5) as usize];
        let offsets = self.log.offsets();
        let target = offsets.end.saturating_sub(1 + self.chance.below(far)).max(offsets.start);
        if target >= offsets.end {
            return Ok(());
        }
        let next = self.change(|ledger| ledger.truncates(target));
        self.log.truncate_to(target)?;
        self.change(|ledger| *ledger = next);
        // A copy, on which no call fails.
        let log = Log::open(DIR, config(&self.clock).fs(self.disk.kill())).unwrap();
        self.change(|ledger| ledger.forget_removed(&log));
        Ok(())
    }

    fn act(&mut self) -> Result<()> {
        let id = IDS[self.chance.below(3) as usize];
        let act = self.chance.below(100);
        self.done.push(format!("{act} {id} at {}", self.log.offsets().end));
        match act {
            0..34 => self.send(Kind::Data(id))?,
            34..42 => self.send(Kind::Plain)?,
            42..66 => {
                let committed = self.chance.below(2) == 0;
                self.end(id, committed)?;
            }
            66..70 => drop(self.log.flush()?),
            70..76 => self.log.roll()?,
            76..90 => {
                if self.chance.below(2) == 0 {
                    self.log.roll()?;
                }
                self.compact()?;
                self.advance([1, 499, 501, 700][act as usize % 4]);
            }
            90..94 => {
                let offsets = self.log.offsets();
                let target = offsets.start + self.chance.below(offsets.end - offsets.start + 1);
                // Most of the log stays.
                let target = target.min(offsets.start + 1 + self.chance.below(12));
                let target = target.min(offsets.end);
                self.change(|ledger| ledger.next_start = target);
                self.log.delete_before(target)?;
            }
            _ => self.truncate()?,
        }
        self.change(|ledger| ledger.acknowledge(&self.log));
        Ok(())
    }
}

/// Opens the log of a disk after a crash, checks it, and goes on with it.
fn reopen(disk: &MemFs, way: Way, ledger: &Ledger) {
    let mut ledger = ledger.clone();
    let clock = ledger.clock();
    let log = Log::open(DIR, config(&clock).fs(disk.clone())).unwrap();
    ledger.opened(&log, way);
    ledger.check(&log);
    let (chance, disk) = (Chance(ledger.end), disk.clone());
    let ledger = Arc::new(Mutex::new(ledger));
    let mut life = Life { chance, disk, clock, log, ledger, count: 1 << 40, done: Vec::new() };
    let done = |life: &Life| life.change(|ledger| ledger.acknowledge(&life.log));
    for (number, id) in IDS.into_iter().enumerate() {
        life.send(Kind::Data(id)).unwrap();
        done(&life);
        life.end(id, number != 1).unwrap();
        done(&life);
    }
    life.change(|ledger| ledger.check(&life.log));
    for _ in 0..3 {
        life.log.roll().unwrap();
        life.compact().unwrap();
        done(&life);
        life.change(|ledger| ledger.check(&life.log));
        life.advance(501);
    }
    let mut ledger = life.change(|ledger| ledger.clone());
    let disk = life.disk.kill();
    let log = Log::open(DIR, config(&ledger.clock()).fs(disk)).unwrap();
    ledger.opened(&log, Way::Kill);
    ledger.check(&log);
}

/// Runs a check. If it fails, says how to repeat it.
fn told(seed: u64, done: &[String], ledger: &Ledger, place: &str, check: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(check)) {
        say(&format!("ANNALS_CRASH_TXN_SEEDS={seed}, {place}\n{ledger:?}\n{done:?}"));
        resume_unwind(panic);
    }
}

/// Lives of a log, each of some steps, one after the other. Calls `crash` with each image of a
/// disk at which the process could end.
fn live(seed: u64, rule: Option<Rule>) -> u64 {
    let (disk, clock) = (MemFs::new(), Ledger::default().clock());
    let fs = FaultFs::new(disk.clone());
    fs.record_trace(false);
    let log = Log::open(DIR, config(&clock).fs(fs.clone())).unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let (images, promised, watched) = (Images::default(), Arc::clone(&ledger), log.clone());
    let has_faults = rule.is_some();
    if let Some(rule) = rule {
        fs.add_rule(rule);
    } else {
        images.watch(&fs, &disk, move || {
            let mut promise = promised.lock().unwrap().clone();
            if !promise.is_truncating {
                // What a reader may rely on.
                promise.durable = promise.durable.max(watched.offsets().durable);
            }
            promise
        });
    }
    let mut life =
        Life { chance: Chance(seed), disk, clock, log, ledger, count: 0, done: Vec::new() };
    let mut failed = false;
    for _ in 0..60 {
        match life.act() {
            Ok(()) if has_faults => {}
            Ok(()) => {
                let ledger = life.change(|ledger| ledger.clone());
                told(seed, &life.done, &ledger, "live", || ledger.check(&life.log));
            }
            Err(Error::Io { .. } | Error::Poisoned { .. }) if has_faults => failed = true,
            Err(error) => panic!("ANNALS_CRASH_TXN_SEEDS={seed}: {error}: {:?}", life.done),
        }
        if failed {
            break;
        }
    }
    let mut checked = 0;
    let mut check = |disk: &MemFs, ledger: &Ledger, way: Way, place: &str| {
        checked += 1;
        let place = format!("{place}, {way:?}");
        told(seed, &life.done, ledger, &place, || reopen(disk, way, ledger));
    };
    if has_faults {
        let ledger = life.ledger.lock().unwrap().clone();
        for way in [Way::Kill, Way::SyncedOnly, Way::any(&mut life.chance)] {
            check(&way.disk(&life.disk), &ledger, way, "after a failure");
        }
    }
    for (number, image) in images.take().into_iter().enumerate() {
        let way = Way::any(&mut life.chance);
        let place = format!("image {number}, {}", image.call);
        check(&way.disk(&image.disk), &image.promise, way, &place);
    }
    checked
}

#[test]
fn crash_at_each_call_keeps_decisions() {
    let mut checked = 0;
    for seed in seeds("ANNALS_CRASH_TXN_SEEDS", 2) {
        checked += live(seed, None);
    }
    say(&format!("transactions: {checked} disks after a crash"));
}

#[test]
fn failure_of_call_keeps_decisions() {
    let mut checked = 0;
    for seed in seeds("ANNALS_CRASH_TXN_SEEDS", 40) {
        let mut chance = Chance(seed);
        let kind = [ErrorKind::Other, ErrorKind::StorageFull][chance.below(2) as usize];
        let (rule, nth) = (Rule::any(Fault::Error(kind)), 1 + chance.below(600));
        let rule = if chance.below(2) == 0 { rule.nth(nth) } else { rule.from_nth(nth) };
        checked += live(seed, Some(rule));
    }
    say(&format!("transactions: {checked} disks after a failure"));
}
