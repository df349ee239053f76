//! Three explorations by seed: indexes of aborted transactions under faults and crashes, calendars
//! that jump in a store, and batches of a producer that are split while everything around them
//! changes.
//!
//! `TXN_SEED`, `JUMP_SEED` and `SPLIT_SEED` choose the seeds: `17` runs one, `0..3000` many.

use annals::fs::{Call, CrashState, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::record::{BatchBuilder, Compression};
use annals::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, DIR, T0, clock, files, name, say, seeds, write_file};

/// The kind of a batch in a broker's log.
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
            let sent = self.batches.iter().filter(|(_, _, of, kind)| {
                *of == id && !matches!(kind, Kind::Plain | Kind::End { .. })
            });
            let sequence: u64 = sent.map(|(_, count, ..)| count).sum();
            bytes.extend(encode((self.end, count, id, kind), sequence as i32));
            self.batches.push((self.end, count, id, kind));
            self.end += count;
        }
        bytes
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

    /// Everything that is said of transactions is true.
    fn check(&self, log: &Log, fs: &MemFs, place: &str) {
        let (aborted, unstable) = self.expected();
        let stable = unstable.unwrap_or(self.end);
        assert_eq!((log.offsets().last_stable, log.offsets().end), (stable, self.end), "{place}");
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

/// One run: the log is opened, truncated, appended to, rolled and closed, with a fault at a random
/// call or none, and after each error it is found again as a crash leaves it.
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
    match chance.below(6) {
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

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR_MILLIS: i64 = 365 * 24 * 3600 * 1000;

fn millis(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

/// A record that was sent: its value, what the calendar said, and how long the clock had run.
#[derive(Debug, Clone)]
struct Stamped {
    value: String,
    time: i64,
    age_from: i64,
}

/// A store whose calendar jumps, and what must be in it.
struct Jumping {
    chance: Chance,
    clock: Arc<ManualClock>,
    memory: MemFs,
    store: Store,
    producer: Producer,
    member: Consumer,
    sent: [Vec<Stamped>; 2],
    read: [usize; 2],
    committed: [Option<Offset>; 2],
}

const RETENTION: Duration = Duration::from_secs(2 * 24 * 3600);

impl Jumping {
    fn store(fs: &MemFs, clock: &Arc<ManualClock>) -> Store {
        let groups =
            GroupCoordinatorConfig::default().offsets_partitions(1).offsets_retention(7 * DAY);
        let config =
            StoreConfig::default().fs(fs.clone()).maintenance(None).group_coordinator(groups);
        Store::open("d", config.clock(clock.clone())).unwrap()
    }

    fn clients(store: &Store) -> (Producer, Consumer) {
        let producer = store.producer(ProducerConfig::default()).unwrap();
        let config = ConsumerConfig::new("g").auto_offset_reset(AutoOffsetReset::Earliest);
        let config = config.session_timeout(HOUR / 2).max_poll_interval(3 * HOUR);
        let mut member = store.consumer(config.enable_auto_commit(false)).unwrap();
        member.subscribe(["t"]).unwrap();
        (producer, member)
    }

    fn new(seed: u64) -> Jumping {
        let (memory, clock) = (MemFs::new(), clock());
        let store = Jumping::store(&memory, &clock);
        let topic = TopicConfig::default().partitions(2).segment_bytes(400);
        let topic = topic.retention_age(RETENTION);
        // The producer's calendar is that of the store, but may have jumped meanwhile.
        let topic = topic.set("message.timestamp.after.max.ms", "9223372036854775807").unwrap();
        store.create_topic("t", topic).unwrap();
        let (producer, member) = Jumping::clients(&store);
        let (sent, read, committed) = (Default::default(), [0; 2], [None; 2]);
        let chance = Chance(seed);
        Jumping { chance, clock, memory, store, producer, member, sent, read, committed }
    }

    fn log(&self, partition: usize) -> Log {
        self.store.topic("t").unwrap().partition(partition as u32).unwrap()
    }

    fn send(&mut self, place: &str) {
        let partition = self.chance.below(2) as usize;
        let value = format!("{partition}-{}", self.sent[partition].len());
        let record = ProducerRecord::new("t", value.clone()).partition(partition as u32);
        let (time, age_from) = (self.clock.now().as_millis(), millis(self.clock.monotonic()));
        let sent = self.producer.send(record).and_then(|handle| handle.wait());
        let offset = sent.unwrap_or_else(|error| panic!("{place}: {error}")).offset.unwrap();
        assert_eq!(offset as usize, self.sent[partition].len(), "{place}");
        self.sent[partition].push(Stamped { value, time, age_from });
    }

    /// Records are read in order, and the reader skips only what retention has deleted.
    fn poll(&mut self, place: &str) {
        let records = self.member.poll(Duration::ZERO);
        let records = records.unwrap_or_else(|error| panic!("{place}: {error}"));
        for record in records {
            let partition = record.partition as usize;
            let at = record.offset as usize;
            let start = self.log(partition).offsets().start as usize;
            let expected = self.read[partition].max(start);
            assert!(at >= self.read[partition] && at <= expected, "{place}: {at}, {expected}");
            assert_eq!(record.value_str().unwrap(), self.sent[partition][at].value, "{place}");
            self.read[partition] = at + 1;
        }
    }

    fn commit(&mut self, place: &str) {
        if self.member.assignment().is_empty() {
            return;
        }
        self.member.commit().unwrap_or_else(|error| panic!("{place}: {error}"));
        for partition in 0..2 {
            if self.read[partition] > 0 {
                self.committed[partition] = Some(self.read[partition] as Offset);
            }
        }
    }

    /// Nothing goes before it is old by the calendar, or has been there for as long as that.
    fn maintain(&mut self, place: &str) {
        let before = [0, 1].map(|partition| self.log(partition).offsets().start as usize);
        self.store.maintain().unwrap_or_else(|error| panic!("{place}: {error}"));
        self.store.admin().expire_offsets().unwrap_or_else(|error| panic!("{place}: {error}"));
        let (now, age) = (self.clock.now().as_millis(), millis(self.clock.monotonic()));
        for (partition, before) in before.into_iter().enumerate() {
            let start = self.log(partition).offsets().start as usize;
            for gone in &self.sent[partition][before..start] {
                let is_old = now - gone.time > millis(RETENTION);
                let was_long_there = age - gone.age_from >= millis(RETENTION);
                assert!(is_old || was_long_there, "{place}: {gone:?} at {now}, {age}");
            }
        }
    }

    /// The offsets of a group with a member do not expire, whatever the calendar says.
    fn check_committed(&self, place: &str) {
        let described = self.store.admin().describe_group("g");
        let described = described.unwrap_or_else(|error| panic!("{place}: {error}"));
        for partition in 0..2 {
            let of = described.offsets.get(&TopicPartition::new("t", partition as u32));
            let offset = of.map(|found| found.committed.offset);
            // Records that were deleted before they were read are skipped.
            let start = self.log(partition).offsets().start;
            let most = self.committed[partition].map(|committed| committed.max(start));
            let is_there = offset.is_some() || self.committed[partition].is_none();
            assert!(is_there && offset >= self.committed[partition], "{place}: {offset:?}");
            assert!(most.is_none() || offset <= most, "{place}: {offset:?}, {most:?}");
        }
    }

    fn reopen(&mut self, closes: bool, place: &str) {
        if closes {
            self.commit(place);
            self.store.close().unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        self.memory = self.memory.kill();
        self.store = Jumping::store(&self.memory, &self.clock);
        (self.producer, self.member) = Jumping::clients(&self.store);
        // Records that were read but not committed are read again.
        self.read = self.committed.map(|offset| offset.unwrap_or(0) as usize);
        for partition in 0..2 {
            let (there, log) = (&self.sent[partition], self.log(partition));
            let start = log.offsets().start as usize;
            assert_eq!(log.offsets().end as usize, there.len(), "{place}");
            let found = support::read_all(&log).into_iter();
            let found: Vec<_> = found.map(|rec| String::from_utf8(rec.value.unwrap())).collect();
            let expected: Vec<_> =
                there[start..].iter().map(|stamped| Ok(stamped.value.clone())).collect();
            assert_eq!(found, expected, "{place}");
        }
        self.poll(place);
        self.poll(place);
    }
}

fn explore_jumps(seed: u64) {
    let mut run = Jumping::new(seed);
    for step in 0..60 {
        let place = format!("seed {seed}, step {step}");
        match run.chance.below(12) {
            0 => {
                let years = run.chance.below(5) as i64 - 2;
                let now = run.clock.now().as_millis() + years * YEAR_MILLIS;
                run.clock.set(Timestamp::from_millis(now.max(0)));
            }
            1 => run.clock.set(Timestamp::from_millis(T0 + millis(run.clock.monotonic()))),
            2 => {
                let hours = run.chance.below(30);
                for _ in 0..4 * hours {
                    run.clock.advance(HOUR / 4);
                    run.poll(&place);
                }
            }
            3 => run.maintain(&place),
            4 => run.commit(&place),
            5 => {
                let closes = run.chance.below(2) == 0;
                run.reopen(closes, &place);
            }
            6..9 => run.poll(&place),
            _ => run.send(&place),
        }
        // No calendar takes a partition from a member.
        run.poll(&place);
        let assigned = run.member.assignment().len();
        assert!(step < 3 || assigned == 2 || run.committed == [None; 2], "{place}: {assigned}");
        if run.committed != [None; 2] {
            run.check_committed(&place);
        }
    }
    // Retention deletes all of it in the end, whatever the calendar said.
    let latest = run.sent.iter().flatten().map(|sent| sent.time).max().unwrap_or(T0);
    run.clock.set(Timestamp::from_millis(latest));
    run.store.maintain().unwrap();
    run.clock.advance(RETENTION + HOUR);
    run.store.maintain().unwrap();
    for partition in 0..2 {
        let offsets = run.log(partition).offsets();
        assert_eq!(offsets.start, offsets.end, "seed {seed}");
    }
}

/// A battery that is flat, a time server that is wrong: the calendar may say anything.
#[test]
fn store_keeps_working_when_calendar_jumps() {
    for seed in seeds("JUMP_SEED", 40) {
        say(&format!("seed: JUMP_SEED={seed}"));
        explore_jumps(seed);
    }
}

/// The outcome of a record, as its callback reported it.
type Told = Arc<Mutex<Vec<(usize, std::result::Result<Offset, String>)>>>;

fn explore_splits(seed: u64) {
    let mut chance = Chance(seed);
    let memory = MemFs::new();
    let faults = FaultFs::new(memory.clone());
    let clock = clock();
    let config = StoreConfig::default().fs(faults.clone()).maintenance(None).clock(clock.clone());
    let store = Store::open("d", config).unwrap();
    let topic = TopicConfig::default().partitions(2).segment_bytes(4000);
    let topic = store.create_topic("t", topic).unwrap();
    let codecs =
        [Compression::None, Compression::Gzip { level: -1 }, Compression::Zstd { level: 3 }];
    let compression = codecs[chance.below(3) as usize];
    let acks = [Acks::Written, Acks::Flushed][chance.below(2) as usize];
    let config = ProducerConfig::default().linger(HOUR).delivery_timeout(3 * HOUR);
    let config =
        config.acks(acks).compression(compression).batch_bytes(200 + chance.below(4000) as usize);
    let producer = store.producer(config.buffer_bytes(1 << 20)).unwrap();
    let told = Told::default();
    let mut sent: Vec<(u32, String)> = Vec::new();
    for n in 0..80 {
        match chance.below(12) {
            0 => {
                let limit = 150 + chance.below(2500);
                let config = topic.config().max_message_bytes(limit);
                store.alter_topic("t", config).ok();
            }
            1 => {
                let at = 1 + chance.below(6);
                let full = Fault::Error(io::ErrorKind::StorageFull);
                let rule = Rule::new(Operation::Write, full).path(".log");
                faults.add_rule(if chance.below(2) == 0 {
                    rule.nth(at)
                } else {
                    rule.from_nth(at)
                });
            }
            2 => {
                faults.clear_rules();
                clock.advance(Duration::from_secs(1 + chance.below(5)));
                producer.poll();
            }
            3 => drop(producer.poll()),
            4 if n > 40 => clock.advance(HOUR),
            _ => {
                let partition = chance.below(2) as u32;
                let number = sent.len();
                let value = format!("{number}-{}", "xyz".repeat(chance.below(200) as usize));
                let mut record = Record::new(value.clone());
                if chance.below(3) == 0 {
                    record = record.key("k".repeat(chance.below(60) as usize)).header("h", "v");
                }
                let record = ProducerRecord::new("t", record).partition(partition);
                let to = Arc::clone(&told);
                let callback = move |result: std::result::Result<&RecordMetadata, &Error>| {
                    let result = result.map(|at| at.offset.unwrap()).map_err(|e| e.to_string());
                    to.lock().unwrap().push((number, result));
                };
                if producer.send_with_callback(record, callback).is_ok() {
                    sent.push((partition, value));
                }
            }
        }
    }
    faults.clear_rules();
    clock.advance(Duration::from_secs(2));
    producer.poll();
    producer.flush().ok();
    assert_eq!(producer.stats().buffered_bytes, 0, "seed {seed}");
    producer.close().ok();
    let told = std::mem::take(&mut *told.lock().unwrap());
    let by_number: BTreeMap<_, _> = told.iter().cloned().collect();
    assert_eq!((told.len(), by_number.len()), (sent.len(), sent.len()), "seed {seed}: told once");
    // Records acknowledged as flushed also survive a power loss.
    drop(topic);
    let disk =
        if acks == Acks::Flushed { memory.crash(CrashState::SyncedOnly) } else { memory.kill() };
    let config = StoreConfig::default().fs(disk).maintenance(None).clock(clock);
    drop(store);
    let store = Store::open("d", config).unwrap();
    for partition in 0..2u32 {
        let log = store.topic("t").unwrap().partition(partition).unwrap();
        let found: Vec<_> = support::read_all(&log)
            .into_iter()
            .map(|rec| (rec.offset, String::from_utf8(rec.value.unwrap()).unwrap()))
            .collect();
        let taken = sent.iter().enumerate().filter(|(_, (to, _))| *to == partition);
        let mut expected = Vec::new();
        for (number, (_, value)) in taken {
            match &by_number[&number] {
                Ok(offset) => expected.push((*offset, value.clone())),
                Err(why) => assert!(
                    why.contains("limit") || why.contains("time") || why.contains("deliver"),
                    "seed {seed}: {why}"
                ),
            }
        }
        assert_eq!(found, expected, "seed {seed}, partition {partition}");
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// Each record is stored once and in order, or its callback says why not, whatever is split,
/// retried and given up.
#[test]
fn split_batches_are_stored_once() {
    for seed in seeds("SPLIT_SEED", 60) {
        say(&format!("seed: SPLIT_SEED={seed}"));
        explore_splits(seed);
    }
}
