//! A model of a compacted log: the records of each key that are left, and the time from which its
//! tombstones may be removed.

use super::{Chance, DIR, Rec, files, read_all};
use annals::fs::Fs;
use annals::record::{BatchBuilder, Compression};
use annals::{Codec, Log, Offset, ReadLimits, Record, Timestamp};
use std::collections::BTreeMap;

/// The last value of each key. Deleted keys are not in it.
pub type Table = BTreeMap<Vec<u8>, Vec<u8>>;

pub fn table<'a>(records: impl IntoIterator<Item = &'a Rec>) -> Table {
    let mut table = Table::new();
    for record in records {
        let key = record.key.clone().unwrap();
        match record.value.clone() {
            Some(value) => drop(table.insert(key, value)),
            None => drop(table.remove(&key)),
        }
    }
    table
}

/// Returns the last record of each key, in the order of their offsets.
pub fn winners(records: &[Rec]) -> Vec<Rec> {
    let mut last = BTreeMap::new();
    for record in records {
        last.insert(record.key.clone(), record.offset);
    }
    records.iter().filter(|record| last[&record.key] == record.offset).cloned().collect()
}

/// Returns the base offsets of the segments in a directory. The last one is the active segment.
pub fn bases(fs: &dyn Fs) -> Vec<Offset> {
    let names = files(fs, DIR).into_keys();
    names.filter_map(|name| name.strip_suffix(".log").and_then(|base| base.parse().ok())).collect()
}

/// Returns the names of files that an interrupted replacement has left.
pub fn staged(fs: &dyn Fs) -> Vec<String> {
    let is_staged = |name: &String| {
        [".cleaned", ".swap", ".deleted", ".tmp"].iter().any(|end| name.ends_with(end))
    };
    files(fs, DIR).into_keys().filter(is_staged).collect()
}

#[derive(Debug, Clone)]
pub struct KeyedBatch {
    pub base: Offset,
    /// The offset after its last one. It does not change when records are removed.
    pub next: Offset,
    pub max_time: i64,
    pub horizon: Option<i64>,
    pub records: Vec<Rec>,
}

#[derive(Debug, Clone, Default)]
pub struct Keyed {
    pub batches: Vec<KeyedBatch>,
    pub start: Offset,
    pub end: Offset,
    count: u64,
}

/// The shape of the records of an append.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub keys: u64,
    pub bytes: u64,
    /// The approximate timestamp.
    pub at: i64,
}

impl Keyed {
    pub fn records(&self) -> impl Iterator<Item = &Rec> {
        let all = self.batches.iter().flat_map(|batch| &batch.records);
        all.filter(|record| record.offset >= self.start)
    }

    /// Appends a random batch: a few keys, tombstones, empty values. Some batches are compressed.
    pub fn append(&mut self, log: &Log, chance: &mut Chance, shape: Shape) {
        let rec = |i: u64, chance: &mut Chance| {
            let key = format!("key-{}", chance.below(shape.keys));
            let value = match chance.below(10) {
                0..2 => None,
                2 => Some(Vec::new()),
                _ => {
                    let mut value = format!("{}.{i}.", self.count).into_bytes();
                    value.resize(value.len() + chance.below(shape.bytes) as usize, b'v');
                    Some(value)
                }
            };
            let time = shape.at - 1500 + chance.below(2000) as i64;
            Rec { offset: self.end + i, time, key: Some(key.into_bytes()), value }
        };
        let recs: Vec<Rec> = (0..1 + chance.below(4)).map(|i| rec(i, chance)).collect();
        self.append_these(log, recs, chance.below(4) == 0);
    }

    /// Appends one record.
    pub fn put(&mut self, log: &Log, key: &str, value: Option<&str>, time: i64) {
        let (key, value) = (Some(key.into()), value.map(|value| value.into()));
        self.append_these(log, vec![Rec { offset: self.end, time, key, value }], false);
    }

    fn append_these(&mut self, log: &Log, recs: Vec<Rec>, compressed: bool) {
        let record = |rec: &Rec| {
            let key = rec.key.clone().unwrap();
            let record = match rec.value.clone() {
                Some(value) => Record::new(value).key(key),
                None => Record::tombstone(key),
            };
            record.timestamp(Timestamp::from_millis(rec.time))
        };
        let records: Vec<Record> = recs.iter().map(record).collect();
        let appended = if compressed {
            let codecs: Vec<_> = Codec::ALL.into_iter().filter(|c| c.is_available()).collect();
            let mut builder = BatchBuilder::new();
            builder.compression(Compression::of(codecs[self.count as usize % codecs.len()]));
            for record in &records {
                builder.push_record(record, Timestamp::from_millis(0)).unwrap();
            }
            log.append_batch(builder.build().unwrap()).unwrap()
        } else {
            log.append_all(records).unwrap()
        };
        assert_eq!(appended.first, self.end);
        self.count += 1;
        self.end += recs.len() as Offset;
        let max_time = recs.iter().map(|rec| rec.time).max().unwrap();
        let (base, next, horizon) = (appended.first, self.end, None);
        self.batches.push(KeyedBatch { base, next, max_time, horizon, records: recs });
    }

    pub fn truncate(&mut self, target: Offset) {
        self.batches.retain(|batch| batch.next <= target);
        self.end = target;
    }

    /// Sets the end after a crash. It lies within no batch, but a truncation may have left it
    /// between two batches.
    pub fn lose_above(&mut self, end: Offset) {
        let torn = self.batches.iter().find(|batch| (batch.base + 1..batch.next).contains(&end));
        assert!(torn.is_none(), "the log ends at {end}, within {torn:?}");
        self.truncate(end);
    }

    /// Returns the offset at which compaction ends: at the active segment, or at the first segment
    /// with a record younger than `lag`.
    pub fn bound(&self, bases: &[Offset], now: i64, lag: i64) -> Offset {
        let active = *bases.last().unwrap();
        let mut ends = bases.iter().zip(bases.iter().skip(1));
        let young = ends.find(|(base, next)| {
            let within = self.batches.iter().filter(|b| b.next > **base && b.next <= **next);
            lag > 0 && within.map(|b| b.max_time).max().is_some_and(|latest| latest > now - lag)
        });
        young.map_or(active, |(base, _)| *base)
    }

    /// Removes the records that passes over everything below `bound` remove.
    pub fn compact(&mut self, bound: Offset, now: i64, retention: i64) {
        let mut last: BTreeMap<Option<Vec<u8>>, Offset> = BTreeMap::new();
        for record in self.records().filter(|record| record.offset < bound) {
            last.insert(record.key.clone(), record.offset);
        }
        for batch in self.batches.iter_mut().filter(|batch| batch.next <= bound) {
            let expired = batch.horizon.is_some_and(|at| at <= now);
            let count = batch.records.len();
            batch.records.retain(|record| {
                let superseded = last.get(&record.key).is_some_and(|last| record.offset < *last);
                !superseded && (record.value.is_some() || !expired)
            });
            let begins = batch.horizon.is_none() && batch.records.iter().any(|r| r.value.is_none());
            if begins {
                batch.horizon = Some(now.saturating_add(retention));
            }
            if begins || batch.records.len() < count {
                let latest = batch.records.iter().map(|record| record.time).max();
                batch.max_time = latest.unwrap_or(batch.max_time);
            }
        }
        self.batches.retain(|batch| !batch.records.is_empty() || batch.next >= bound);
    }

    /// Removes the records that are not among those found.
    pub fn keep_only(&mut self, found: &[Rec]) {
        self.batches.iter_mut().for_each(|batch| batch.records.retain(|rec| found.contains(rec)));
    }

    /// Checks that every way to read returns the records of the model.
    pub fn check(&self, log: &Log, chance: &mut Chance) {
        assert_eq!((log.offsets().start, log.offsets().end), (self.start, self.end));
        let all: Vec<Rec> = self.records().cloned().collect();
        assert_eq!(read_all(log), all, "what a reader finds");
        let any = |chance: &mut Chance| self.start + chance.below(self.end - self.start);
        for _ in 0..4.min(self.end - self.start) {
            let offset = any(chance);
            let expected = all.iter().find(|record| record.offset == offset).cloned();
            assert_eq!(log.get(offset).unwrap().map(Rec::from), expected, "get {offset}");
        }
        for _ in 0..3.min(all.len()) {
            let time = all[chance.below(all.len() as u64) as usize].time + chance.below(3) as i64;
            let expected = all.iter().find(|record| record.time >= time);
            let expected = expected.map(|rec| (rec.offset, Timestamp::from_millis(rec.time)));
            let found = log.offset_for_time(Timestamp::from_millis(time)).unwrap();
            assert_eq!(found, expected, "the first record at or after {time}");
        }
        if self.end > self.start {
            let from = any(chance);
            let expected: Vec<_> = all.iter().filter(|rec| rec.offset >= from).cloned().collect();
            assert_eq!(fetch_all(log, from), expected, "what is fetched from {from} on");
        }
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// Returns all records from an offset on, fetched in small pieces.
pub fn fetch_all(log: &Log, mut from: Offset) -> Vec<Rec> {
    let mut records = Vec::new();
    while from < log.offsets().end {
        let fetched = log.read(from, ReadLimits::bytes(300)).unwrap();
        records.extend(fetched.records().unwrap().into_iter().map(Rec::from));
        assert!(fetched.next_offset > from, "a fetch that does not move");
        from = fetched.next_offset;
    }
    records
}
