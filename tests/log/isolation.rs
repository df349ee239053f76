//! Reading a log with transactions at each isolation level.
//!
//! Most logs are those of a broker: segments and transaction indexes as files.

use annals::fs::MemFs;
use annals::record::{BatchBuilder, EndTxnMarker, RecordBatch};
use annals::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, DIR, T0, name, seeds, write_file};

const COMMITTED: IsolationLevel = IsolationLevel::ReadCommitted;
const ALL: [IsolationLevel; 4] = [
    IsolationLevel::ReadUncommitted,
    COMMITTED,
    IsolationLevel::LogEnd,
    IsolationLevel::HighWatermark,
];

/// The kind of a batch, with its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Data(ProducerId),
    End { id: ProducerId, committed: bool },
}

/// An entry of a transaction index: the producer, the first offset, that of the marker, and the
/// last stable offset.
type Aborted = (ProducerId, Offset, Offset, Offset);

/// A log as a broker writes it, and what readers must see of it.
#[derive(Debug, Clone, Default)]
struct Written {
    /// The first offset, the number of offsets, the kind.
    batches: Vec<(Offset, u64, Kind)>,
    /// The bases of the segments after the first.
    bases: Vec<Offset>,
    end: Offset,
}

impl Written {
    fn add(&mut self, count: u64, kind: Kind) -> &mut Written {
        self.batches.push((self.end, count, kind));
        self.end += count;
        self
    }

    fn plain(&mut self, count: u64) -> &mut Written {
        self.add(count, Kind::Plain)
    }

    fn data(&mut self, id: ProducerId, count: u64) -> &mut Written {
        self.add(count, Kind::Data(id))
    }

    fn commit(&mut self, id: ProducerId) -> &mut Written {
        self.add(1, Kind::End { id, committed: true })
    }

    fn abort(&mut self, id: ProducerId) -> &mut Written {
        self.add(1, Kind::End { id, committed: false })
    }

    /// Leaves offsets out, as the cleaner does.
    fn hole(&mut self, count: u64) -> &mut Written {
        self.end += count;
        self
    }

    fn roll(&mut self) -> &mut Written {
        if self.bases.last().copied().unwrap_or(0) < self.end {
            self.bases.push(self.end);
        }
        self
    }

    /// The aborted transactions, and the first offset of each open one.
    fn transactions(&self) -> (Vec<Aborted>, BTreeMap<ProducerId, Offset>) {
        let (mut aborted, mut open) = (Vec::new(), BTreeMap::new());
        for &(base, _, kind) in &self.batches {
            match kind {
                Kind::Plain => {}
                Kind::Data(id) => drop(open.entry(id).or_insert(base)),
                Kind::End { id, committed } => {
                    let first = open.remove(&id).filter(|_| !committed);
                    let stable = open.values().copied().min().unwrap_or(base + 1);
                    aborted.extend(first.map(|first| (id, first, base, stable)));
                }
            }
        }
        (aborted, open)
    }

    fn last_stable(&self) -> Offset {
        self.transactions().1.values().copied().min().unwrap_or(self.end)
    }

    fn bound(&self, level: IsolationLevel) -> Offset {
        if level == COMMITTED { self.last_stable() } else { self.end }
    }

    /// The batches that a reader of this level sees, with control batches.
    fn shown(&self, level: IsolationLevel) -> Vec<(Offset, u64, Kind)> {
        let ((aborted, _), bound) = (self.transactions(), self.bound(level));
        let is_shown = |(base, _, kind): &(Offset, u64, Kind)| {
            let is_aborted = |(id, first, last, _): &Aborted| {
                Kind::Data(*id) == *kind && (*first..*last).contains(base)
            };
            *base < bound && (level != COMMITTED || !aborted.iter().any(is_aborted))
        };
        self.batches.iter().copied().filter(is_shown).collect()
    }

    /// The offsets of the records that a reader of this level returns.
    fn offsets(&self, level: IsolationLevel) -> Vec<Offset> {
        let data = self.shown(level).into_iter();
        data.filter(|(.., kind)| !matches!(kind, Kind::End { .. }))
            .flat_map(|(base, count, _)| base..base + count)
            .collect()
    }

    fn encode(&self, (base, count, kind): (Offset, u64, Kind), sequence: i32) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        builder.base_offset(base);
        let mut key = None;
        match kind {
            Kind::Plain => {}
            Kind::Data(id) => drop(builder.producer(id, 0, sequence).transactional(true)),
            Kind::End { id, committed } => {
                key = Some([0, 0, 0, u8::from(committed)]);
                builder.producer(id, 0, -1).transactional(true).control(true);
            }
        }
        for offset in base..base + count {
            let time = Timestamp::from_millis(T0 + offset as i64);
            let key = key.as_ref().map(|key| &key[..]);
            builder.push(time, key, Some(&[0; 6])).unwrap();
        }
        builder.build_bytes().unwrap()
    }

    /// The producers at an offset, as the snapshot of a broker has them.
    fn snapshot(&self, at: Offset) -> Vec<u8> {
        let mut below = self.clone();
        below.batches.retain(|(base, ..)| *base < at);
        let (_, open) = below.transactions();
        let (mut count, mut entries) = (0i32, Vec::new());
        for id in 1..10 {
            let is_of = |kind: &Kind| matches!(kind, Kind::Data(of) | Kind::End { id: of, .. } if *of == id);
            if !below.batches.iter().any(|(.., kind)| is_of(kind)) {
                continue;
            }
            let data = below.batches.iter().filter(|(.., kind)| *kind == Kind::Data(id));
            let sent: u64 = data.clone().map(|(_, count, _)| count).sum();
            let last = data.last();
            count += 1;
            entries.extend(id.to_be_bytes());
            entries.extend(0i16.to_be_bytes());
            entries.extend((sent as i32 - 1).to_be_bytes());
            entries.extend(
                last.map_or(-1, |(base, count, _)| (base + count - 1) as i64).to_be_bytes(),
            );
            entries.extend(last.map_or(0, |(_, count, _)| *count as i32 - 1).to_be_bytes());
            entries.extend(T0.to_be_bytes());
            entries.extend(0i32.to_be_bytes());
            entries.extend(open.get(&id).map_or(-1, |first| *first as i64).to_be_bytes());
        }
        let rest = [&count.to_be_bytes()[..], &entries].concat();
        [&1i16.to_be_bytes()[..], &record::crc32c(&rest).to_be_bytes(), &rest].concat()
    }

    /// Writes the files of the log, or what was added to them.
    fn write_into(&self, fs: &MemFs) {
        fs::Fs::create_dir(fs, Path::new(DIR)).ok();
        let bases: Vec<Offset> = [0].into_iter().chain(self.bases.iter().copied()).collect();
        let mut sequences: BTreeMap<ProducerId, i32> = BTreeMap::new();
        for (at, base) in bases.iter().enumerate() {
            let range = *base..bases.get(at + 1).copied().unwrap_or(Offset::MAX);
            let mut log = Vec::new();
            for batch in self.batches.iter().filter(|(base, ..)| range.contains(base)) {
                let mut sequence = 0;
                if let Kind::Data(id) = batch.2 {
                    let next = sequences.entry(id).or_default();
                    sequence = *next;
                    *next += batch.1 as i32;
                }
                log.extend(self.encode(*batch, sequence));
            }
            let (aborted, _) = self.transactions();
            let mut index = Vec::new();
            for (id, first, last, stable) in aborted.iter().filter(|entry| range.contains(&entry.2))
            {
                index.extend([0, 0]);
                index.extend(id.to_be_bytes());
                [first, last, stable].into_iter().for_each(|at| index.extend(at.to_be_bytes()));
            }
            if !index.is_empty() {
                write_file(fs, DIR, &name(*base, "txnindex"), &index);
            }
            if *base > 0 {
                write_file(fs, DIR, &name(*base, "snapshot"), &self.snapshot(*base));
            }
            write_file(fs, DIR, &name(*base, "log"), &log);
        }
    }

    fn write(&self) -> MemFs {
        let fs = MemFs::new();
        self.write_into(&fs);
        fs
    }

    /// Opens the log for reading, and for writing, and checks what is read. Reading is checked
    /// first, because opening for writing may change files.
    fn check_all(&self) {
        let fs = self.write();
        self.check(&Log::open_read_only(DIR, LogConfig::default().fs(fs.clone())).unwrap());
        let log = open(&fs);
        self.check(&log);
        log.roll().unwrap();
        self.check(&log);
    }

    /// Every way of reading shows what it must, from every offset.
    fn check(&self, log: &Log) {
        let offsets = log.offsets();
        assert_eq!((offsets.last_stable, offsets.end), (self.last_stable(), self.end), "{self:?}");
        for level in ALL {
            let (view, bound) = (log.isolated(level), self.bound(level));
            let latest = view.list_offset(OffsetSpec::Latest).unwrap().map(|(offset, _)| offset);
            assert_eq!(latest, Some(bound));
            assert_eq!(view.reader(StartAt::Latest).unwrap().offset(), bound);
            let shown = self.offsets(level);
            for from in 0..=self.end {
                let expected: Vec<Offset> =
                    shown.iter().copied().filter(|at| *at >= from).collect();
                let place = format!("{level:?} from {from}: {self:?}");
                let mut reader = view.reader(from).unwrap();
                let mut seen = Vec::new();
                while let Some(record) = reader.next_record().unwrap() {
                    seen.push(record.offset);
                }
                assert_eq!(seen, expected, "{place}");
                self.check_batches(&view, from);
                self.check_reads(&view, from);
                if from == bound || from == self.end {
                    assert!(view.get(from).is_err(), "{place}");
                } else if from < bound {
                    let found = view.get(from).unwrap().map(|record| record.offset);
                    assert_eq!(found, Some(from).filter(|at| shown.contains(at)), "{place}");
                }
            }
        }
    }

    fn check_batches(&self, view: &IsolatedLog, from: Offset) {
        let mut reader = view.reader(from).unwrap();
        let mut seen = Vec::new();
        while let Some(batch) = reader.next_batch().unwrap() {
            seen.push(batch.header().base_offset);
        }
        let shown = self.shown(view.level()).into_iter();
        let shown = shown.filter(|(base, count, _)| base + count > from);
        assert_eq!(seen, shown.map(|(base, ..)| base).collect::<Vec<_>>(), "{view:?} {self:?}");
    }

    /// Fetches as a broker does for its consumers: all batches up to the bound, and which
    /// transactions among them were aborted.
    fn check_reads(&self, view: &IsolatedLog, from: Offset) {
        let (level, mut at) = (view.level(), from);
        loop {
            let fetched = view.read(at, ReadLimits::bytes(150)).unwrap();
            assert!(fetched.next_offset <= self.bound(level).max(at), "{self:?}");
            if fetched.is_empty() {
                break;
            }
            let until = fetched.next_offset;
            let (mut aborted, _) = self.transactions();
            aborted.retain(|(_, first, last, _)| *last >= at && *first < until);
            aborted.sort_by_key(|(_, first, ..)| *first);
            let mut aborted: Vec<_> =
                aborted.into_iter().map(|(id, first, ..)| (id, first)).collect();
            // Reads of plain batches look for no transaction.
            let is_read = |(base, count, kind): &(Offset, u64, Kind)| {
                *kind != Kind::Plain && base + count > at && *base < until
            };
            if level != COMMITTED || !self.batches.iter().any(is_read) {
                aborted.clear();
            }
            let listed = fetched.aborted.iter().map(|one| (one.producer_id, one.first_offset));
            assert_eq!(listed.collect::<Vec<_>>(), aborted, "{at}..{until} {self:?}");
            let seen: Vec<Offset> =
                fetched.records().unwrap().into_iter().map(|record| record.offset).collect();
            let shown = self.offsets(level).into_iter();
            let shown: Vec<_> = shown.filter(|offset| (at..until).contains(offset)).collect();
            assert_eq!(seen, shown, "{level:?} {at}..{until} {self:?}");
            at = until;
        }
    }
}

fn open(fs: &MemFs) -> Log {
    Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap()
}

/// A log that Kafka wrote: `EXPECT.txt` beside it says what its readers see.
#[test]
fn kafkas_log_is_read_by_isolation() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/logs/txn/pay-0");
    let fs = MemFs::new();
    fs::Fs::create_dir(&fs, Path::new(DIR)).unwrap();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        write_file(&fs, DIR, &name, &std::fs::read(entry.path()).unwrap());
    }
    let log = open(&fs);
    assert_eq!((log.offsets().end, log.offsets().last_stable), (15, 11));
    let view = log.isolated(COMMITTED);
    let seen = view.reader(0).unwrap().records().map(|record| record.unwrap().offset);
    assert_eq!(seen.collect::<Vec<_>>(), [0, 1, 5, 6, 7]);
    let fetched = view.read(0, ReadLimits::default()).unwrap();
    let aborted = fetched.aborted.iter().map(|one| (one.producer_id, one.first_offset));
    assert_eq!(aborted.collect::<Vec<_>>(), [(12, 2), (11, 9)]);
    assert_eq!((fetched.next_offset, fetched.last_stable, fetched.high_watermark), (11, 11, 15));
    assert_eq!(log.read(0, ReadLimits::default()).unwrap().next_offset, 15);
}

/// The index that names the transaction lies two segments after its first records.
#[test]
fn transaction_over_three_segments_is_hidden() {
    let mut log = Written::default();
    log.plain(2).data(7, 3).roll().data(7, 2).plain(1).roll().data(7, 1).abort(7).plain(2);
    log.check_all();
}

#[test]
fn interleaved_aborts_are_hidden() {
    let mut log = Written::default();
    log.data(1, 1).data(2, 2).data(3, 1).abort(2).data(2, 1).roll().commit(1).data(1, 1);
    log.abort(3).roll().abort(1).commit(2).data(3, 2).abort(3).roll().plain(1).data(4, 1);
    log.check_all();
}

/// A client that begins here has not seen the first record of the transaction.
#[test]
fn seek_into_aborted_transaction_hides_rest() {
    let mut log = Written::default();
    log.data(5, 2).plain(1).data(5, 2).data(5, 1).abort(5).plain(1).roll();
    let log_read = open(&log.write());
    let mut reader = log_read.isolated(COMMITTED).reader(0).unwrap();
    for (from, expected) in [(4, 7), (1, 2), (3, 7), (0, 2)] {
        reader.seek(from).unwrap();
        assert_eq!(reader.next_record().unwrap().map(|record| record.offset), Some(expected));
    }
}

/// The next batch after the reader's offset lies beyond the last stable offset.
#[test]
fn hole_before_last_stable_stops_reader() {
    let mut log = Written::default();
    log.plain(2).hole(3).data(9, 2).plain(1);
    log.check_all();
    let log_read = open(&log.write());
    let view = log_read.isolated(COMMITTED);
    assert_eq!(view.read(2, ReadLimits::default()).unwrap().next_offset, 5);
    let mut tail = view.tail(2).unwrap();
    assert!(tail.next_record(Some(Duration::ZERO)).unwrap().is_none());
}

/// A reader may begin between the last stable offset and the end: there is nothing yet.
#[test]
fn reader_above_last_stable_waits() {
    let mut log = Written::default();
    log.plain(1).data(9, 2).plain(3);
    let log_read = open(&log.write());
    let view = log_read.isolated(COMMITTED);
    for from in 1..=6 {
        assert!(view.reader(from).unwrap().next_record().unwrap().is_none());
        let fetched = view.read(from, ReadLimits::default()).unwrap();
        assert!(fetched.is_empty() && fetched.next_offset == from);
        let error = view.get(from).unwrap_err().to_string();
        assert!(error.contains("0 to 1"), "{error}");
    }
    assert!(view.reader(7).is_err());
    // The records with the later times are not stable.
    let at = |offset: i64| Timestamp::from_millis(T0 + offset);
    assert_eq!(view.list_offset(at(0)).unwrap(), Some((0, at(0))));
    assert_eq!(view.list_offset(at(1)).unwrap(), None);
    assert_eq!(view.list_offset(OffsetSpec::MaxTimestamp).unwrap(), None);
    assert_eq!(view.reader(at(3)).unwrap().offset(), 1);
    assert_eq!(log_read.list_offset(at(3)).unwrap(), Some((3, at(3))));
}

/// `ISOLATION_SEED` chooses the seeds: `17` runs one, `0..3000` many.
#[test]
fn random_transactions_are_read_by_isolation() {
    for seed in seeds("ISOLATION_SEED", 60) {
        let mut chance = Chance(seed);
        let mut log = Written::default();
        for _ in 0..chance.below(40) {
            let id = 1 + chance.below(4) as ProducerId;
            let count = 1 + chance.below(3);
            match chance.below(10) {
                0 => log.plain(count),
                1 => log.roll(),
                2 => log.hole(count),
                3 | 4 => log.abort(id),
                5 => log.commit(id),
                _ => log.data(id, count),
            };
        }
        // Offsets without a batch need one after them.
        log.data(1, 1).check_all();
    }
}

/// A log is followed while its transactions begin and end, also over segments: what a reader has
/// found out about a segment may become wrong when a later segment gets a marker.
#[test]
fn followed_log_shows_each_record_once_decided() {
    for seed in seeds("ISOLATION_SEED", 60) {
        let mut chance = Chance(seed);
        let (fs, mut log) = (MemFs::new(), Written::default());
        log.plain(1).write_into(&fs);
        let read = Log::open_read_only(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        let view = read.isolated(COMMITTED);
        let (mut tail, mut seen) = (view.tail(0).unwrap(), Vec::new());
        for _ in 0..20 {
            for _ in 0..chance.below(4) {
                let id = 1 + chance.below(3) as ProducerId;
                match chance.below(8) {
                    0 => log.plain(1),
                    1 => log.roll(),
                    2 => log.commit(id),
                    3 | 4 => log.abort(id),
                    _ => log.data(id, 1 + chance.below(2)),
                };
            }
            log.write_into(&fs);
            while let Some(record) = tail.next_record(Some(Duration::ZERO)).unwrap() {
                seen.push(record.offset);
            }
            assert_eq!(seen, log.offsets(COMMITTED), "seed {seed}: {log:?}");
        }
        log.check(&read);
    }
}

/// As above, for the process that writes. A reader that is in a closed segment learns that a later
/// marker aborts a transaction there.
#[test]
fn abort_after_roll_hides_segment_before() {
    for seed in seeds("ISOLATION_SEED", 60) {
        let mut chance = Chance(seed);
        let (log, mut model) = (open(&MemFs::new()), Written::default());
        let view = log.isolated(COMMITTED);
        let (mut tail, mut seen) = (view.tail(0).unwrap(), Vec::new());
        let mut sequences: BTreeMap<ProducerId, i32> = BTreeMap::new();
        for _ in 0..40 {
            let id = 1 + chance.below(3) as ProducerId;
            let end = |committed| {
                let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
                let producer = ProducerIdentity { id, epoch: 0 };
                log.append_marker(producer, marker, TransactionVersion::V1).unwrap();
            };
            match chance.below(9) {
                0 => {
                    log.append("plain").unwrap();
                    model.plain(1);
                }
                1 | 2 => {
                    log.roll().unwrap();
                    model.roll();
                }
                3 => {
                    end(true);
                    model.commit(id);
                }
                4 | 5 => {
                    end(false);
                    model.abort(id);
                }
                _ => {
                    let sequence = sequences.entry(id).or_default();
                    let bytes = model.encode((model.end, 1, Kind::Data(id)), *sequence);
                    log.append_batch(RecordBatch::parse(bytes.into()).unwrap()).unwrap();
                    *sequence += 1;
                    model.data(id, 1);
                }
            }
            while let Some(record) = tail.next_record(Some(Duration::ZERO)).unwrap() {
                seen.push(record.offset);
            }
            assert_eq!(seen, model.offsets(COMMITTED), "seed {seed}: {model:?}");
        }
        model.check(&log);
    }
}

/// The index of the segment is gone: the transaction before it is known from the index file alone.
#[test]
fn read_only_log_without_snapshot_uses_index_file() {
    let mut log = Written::default();
    log.data(1, 2).roll().plain(1).abort(1).plain(1);
    let fs = log.write();
    fs::Fs::remove(&fs, &Path::new(DIR).join(name(2, "snapshot"))).unwrap();
    log.check(&Log::open_read_only(DIR, LogConfig::default().fs(fs)).unwrap());
}

/// A wait for the offsets of a log ends when one of them moves, and not when records become
/// durable.
#[test]
fn offset_moved_wakes_on_each_move() {
    let log = open(&MemFs::new());
    let seen = log.offsets();
    let mut moved = log.offset_moved(seen);
    assert_eq!(moved.wait(Some(Duration::ZERO)).unwrap(), None);
    log.append("a").unwrap();
    assert_eq!(moved.wait(None).unwrap().map(|now| now.end), Some(1));
    log.flush().unwrap();
    assert_eq!(moved.wait(Some(Duration::ZERO)).unwrap(), None);
    // It has happened before the wait began.
    assert_eq!(log.offset_moved(seen).wait(None).unwrap().map(|now| now.end), Some(1));
    let other = log.clone();
    let thread = std::thread::spawn(move || other.delete_before(1).unwrap());
    assert_eq!(moved.wait(None).unwrap().map(|now| now.start), Some(1));
    thread.join().unwrap();
    let other = log.clone();
    let thread = std::thread::spawn(move || support::block_on(other.offset_moved(other.offsets())));
    log.clone().close().unwrap();
    assert_eq!(thread.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(moved.wait(None).is_err());
}

/// Damage in the index of a closed segment is found by a read, which rebuilds it, and by `verify`,
/// which also finds entries that are missing.
#[test]
fn damaged_index_is_rebuilt_by_read() {
    let mut log = Written::default();
    log.data(1, 2).data(2, 1).roll().abort(2).plain(1).abort(1).roll().plain(2);
    let heard = Arc::new(support::Heard::default());
    let fs = log.write();
    let config = || LogConfig::default().fs(fs.clone());
    Log::open(DIR, config()).unwrap().close().unwrap();
    let index = support::read_file(&fs, DIR, &name(3, "txnindex"));
    for damaged in
        [&index[..40], &[&[9], &index[1..]].concat(), &[&index[34..], &index[..34]].concat()]
    {
        write_file(&fs, DIR, &name(3, "txnindex"), damaged);
        let read_only = Log::open_read_only(DIR, config()).unwrap();
        assert_eq!(read_only.verify().unwrap().len(), 1);
        log.check(&read_only);
        assert_eq!(support::read_file(&fs, DIR, &name(3, "txnindex")), damaged);
        let read = Log::open(DIR, config().listener(heard.clone())).unwrap();
        log.check(&read);
        let rebuilt = std::mem::take(&mut *heard.0.lock().unwrap());
        let is_it = |event: &Event| match event {
            Event::IndexRebuilt { path, .. } => path.ends_with(name(3, "txnindex")),
            _ => false,
        };
        assert_eq!(rebuilt.iter().filter(|event| is_it(event)).count(), 1, "{rebuilt:?}");
        assert_eq!(support::read_file(&fs, DIR, &name(3, "txnindex")), index);
        assert_eq!(read.verify().unwrap(), []);
        read.close().unwrap();
    }
    for (damaged, damages) in [(&index[..34], 1), (&index[34..], 1), (&[], 2)] {
        write_file(&fs, DIR, &name(3, "txnindex"), damaged);
        let found = Log::open_read_only(DIR, config()).unwrap().verify().unwrap();
        assert_eq!(found.len(), damages, "{found:?}");
        assert!(found.iter().all(|one| one.path.ends_with(name(3, "txnindex"))), "{found:?}");
    }
}
