//! Transactions: Kafka and this crate decide the same of the same appends, write the same files,
//! and show the same records of them.

use super::logs::stored;
use super::state::producer_lines;
use super::{copy_dir, run, same, small};
use crate::build::{kafka, say};
use annals::fs::DiskFs;
use annals::inspect::TxnEntries;
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    Appended, CleanupPolicy, Error, IsolationLevel, Log, LogConfig, ManualClock, Offset, Outcome,
    ProducerIdentity, ProducerStateError, ReadLimits, Record, Result, StartAt, Store, StoreConfig,
    StoredRecord, Timestamp, TopicConfig, TopicPartition, TransactionCoordinatorConfig,
    TransactionRecord, TransactionVersion, Wait,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, T0, seeds};

fn config() -> LogConfig {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    small().clock(clock).leader_epoch(3)
}

/// A producer as a client knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Sender {
    epoch: i16,
    sequence: i32,
    coordinator: i32,
}

/// A log, the steps that were done to it, and their outcomes.
struct Steps {
    log: Log,
    chance: Chance,
    /// Whether the start is raised. Otherwise the end is cut: after both, Kafka has forgotten
    /// transactions that began below the start.
    deletes: bool,
    senders: [Sender; 5],
    steps: Vec<String>,
    outcomes: Vec<String>,
}

impl Steps {
    fn new(log: Log, seed: u64, deletes: bool) -> Steps {
        let (senders, steps, outcomes) = Default::default();
        Steps { log, chance: Chance(seed), deletes, senders, steps, outcomes }
    }

    /// The batch of a step, with the offsets of its records in their times.
    fn append(&self, numbers: Option<(i64, i16, i32)>, count: u64, txn: bool) -> Result<Appended> {
        let mut builder = BatchBuilder::new();
        if let Some((id, epoch, sequence)) = numbers {
            builder.producer(id, epoch, sequence).transactional(txn);
        }
        for n in 0..count {
            let (key, time) = (format!("key {n}"), Timestamp::from_millis(T0 + n as i64));
            builder.push(time, Some(key.as_bytes()), Some(&[0; 1500])).unwrap();
        }
        self.log.append_batch(builder.build().unwrap())
    }

    fn note(&mut self, step: String, done: Result<String>) -> bool {
        let outcome = match &done {
            Ok(done) => done.clone(),
            Err(error) => refusal(error).to_owned(),
        };
        let stable = self.log.offsets().last_stable;
        self.outcomes.push(format!("D {step}: {outcome}, stable {stable}"));
        self.steps.push(step);
        done.is_ok()
    }

    fn sends(&mut self, at: usize, txn: bool) {
        let Sender { epoch, sequence, .. } = self.senders[at];
        // Some are sent again, some skip a record, and some come of an older producer.
        let (epoch, sequence) = match self.chance.below(20) {
            0 => (epoch, (sequence - 1).max(0)),
            1 => (epoch, sequence + 1),
            // Ours would know one of the last five batches after a truncation, Kafka only the last.
            2 => ((epoch - 1).max(0), sequence + 1000),
            _ => (epoch, sequence),
        };
        let (id, count) = (6000 + at as i64, 1 + self.chance.below(5));
        let kind = if txn { "data" } else { "numbered" };
        let done = self.append(Some((id, epoch, sequence)), count, txn);
        let done = done.map(|done| format!("{} to {}", done.first, done.last));
        let is_new = epoch == self.senders[at].epoch && sequence == self.senders[at].sequence;
        if self.note(format!("{kind} {id} {epoch} {sequence} {count}"), done) && is_new {
            self.senders[at].sequence += count as i32;
        }
        // Kafka rolls for a batch that does not fit before it rejects it.
        let active = self.log.stats().unwrap().segments.last().unwrap().bytes;
        if self.outcomes.last().unwrap().contains("Exception") && active + count * 1530 > 65_000 {
            self.rolls();
        }
    }

    fn rolls(&mut self) {
        let rolled = self.log.roll();
        self.note("roll".to_owned(), rolled.map(|_| "done".to_owned()));
    }

    fn ends(&mut self, at: usize) {
        let sender = &mut self.senders[at];
        let id = 6000 + at as i64;
        // Half of the producers raise their epoch with each transaction.
        let raises = at.is_multiple_of(2);
        sender.coordinator += i32::from(self.chance.below(8) == 0);
        let (mut epoch, mut coordinator) = (sender.epoch + i16::from(raises), sender.coordinator);
        let mut version = if raises { TransactionVersion::V2 } else { TransactionVersion::V1 };
        match self.chance.below(12) {
            0 => coordinator -= 1,
            1 => {
                epoch = (sender.epoch - 1).max(0);
                version = TransactionVersion::V1;
            }
            _ => {}
        }
        let committed = self.chance.below(2) == 0;
        let marker = EndTxnMarker { committed, coordinator_epoch: coordinator };
        let done = self.log.append_marker(ProducerIdentity { id, epoch }, marker, version);
        let done = done.map(|done| format!("{} to {}", done.first, done.last));
        let kind = if committed { "commit" } else { "abort" };
        if self.note(format!("marker {id} {epoch} {kind} {coordinator}"), done)
            && self.senders[at].epoch < epoch
        {
            self.senders[at] = Sender { epoch, sequence: 0, coordinator };
        }
    }

    /// Forgets what the producers sent above the end.
    fn restart(&mut self) {
        for state in self.log.producers().unwrap() {
            let sender = &mut self.senders[(state.producer_id - 6000) as usize];
            *sender = Sender {
                epoch: state.producer_epoch + 1,
                sequence: 0,
                coordinator: state.coordinator_epoch.max(0),
            };
        }
    }

    /// Returns the first offset of the batch with this offset.
    fn batch_at(&self, offset: Offset) -> Offset {
        let mut reader = self.log.isolated(IsolationLevel::LogEnd).reader(offset).unwrap();
        let batch = reader.next_batch().unwrap();
        batch.map_or(offset, |batch| batch.header().base_offset)
    }

    fn step(&mut self) {
        let at = self.chance.below(5) as usize;
        let done = |_| "done".to_owned();
        match self.chance.below(100) {
            0..45 => self.sends(at, true),
            45..50 => self.sends(at, false),
            50..60 => {
                let count = 1 + self.chance.below(3);
                let plain = self.append(None, count, false);
                let plain = plain.map(|done| format!("{} to {}", done.first, done.last));
                self.note(format!("plain {count}"), plain);
            }
            60..93 => self.ends(at),
            93..95 => self.rolls(),
            _ if !self.deletes => {
                let ends = self.log.offsets();
                let back = self.chance.below(30).min(ends.end - ends.start);
                // Within a batch, we keep the end in the name of a segment; Kafka's next opening
                // may lose it.
                let target = self.batch_at(ends.end - back).max(ends.start);
                let cut = self.log.truncate_to(target);
                self.note(format!("cut {target}"), cut.map(done));
                self.restart();
            }
            _ => {
                let ends = self.log.offsets();
                let target = ends.start + self.chance.below(1 + (ends.end - ends.start) / 2);
                // Within a batch, Kafka takes the batch's first offset for the last stable one,
                // although it lies below the start.
                let target = self.batch_at(target).max(ends.start);
                let deleted = self.log.delete_before(target).map(drop);
                self.note(format!("start {target}"), deleted.map(done));
            }
        }
    }

    /// Writes the steps to a file, and fetches whose aborted transactions Kafka is to list. Returns
    /// the lines that it must print.
    fn finish(self, dir: &Path, steps: &Path) -> Vec<String> {
        let fetches = listed(&self.log).into_iter().map(|(step, _)| step);
        let lines: Vec<_> = self.steps.into_iter().chain(fetches).collect();
        std::fs::write(steps, lines.join("\n")).unwrap();
        let mut expected = self.outcomes;
        expected.extend(isolated(&self.log, dir));
        self.log.close().unwrap();
        expected
    }
}

/// The name of Kafka's exception.
fn refusal(error: &Error) -> &'static str {
    match error {
        Error::Producer(ProducerStateError::OutOfOrder { .. }) => "OutOfOrderSequenceException",
        Error::Producer(ProducerStateError::Fenced { .. }) => "InvalidProducerEpochException",
        Error::Producer(ProducerStateError::InTransaction { .. }) => "InvalidTxnStateException",
        Error::Producer(ProducerStateError::CoordinatorFenced { .. }) => {
            "TransactionCoordinatorFencedException"
        }
        other => panic!("{other}"),
    }
}

/// What a reader of each isolation level finds, as `KafkaTransactions.print` prints it.
fn isolated(log: &Log, dir: &Path) -> Vec<String> {
    let ends = log.offsets();
    let mut lines = vec![format!("L {} {} {}", ends.start, ends.last_stable, ends.end)];
    for (name, level) in [
        ("LOG_END", IsolationLevel::LogEnd),
        ("HIGH_WATERMARK", IsolationLevel::HighWatermark),
        ("TXN_COMMITTED", IsolationLevel::ReadCommitted),
    ] {
        let reader = log.isolated(level).reader(StartAt::Earliest).unwrap();
        let records = reader.records().map(|record| format!(" {}", record.unwrap().offset));
        lines.push(format!("V {name}{}", records.collect::<String>()));
    }
    lines.extend(listed(log).into_iter().map(|(step, listed)| format!("A {step}{listed}")));
    for segment in log.stats().unwrap().segments {
        lines.extend(index_lines(dir, segment.base_offset));
    }
    lines.extend(producer_lines(&log.producers().unwrap()));
    lines
}

/// Fetches of several sizes, as a step for Kafka, and the aborted transactions that each lists.
fn listed(log: &Log) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let committed = log.isolated(IsolationLevel::ReadCommitted);
    for bytes in [1, 20_000, 90_000] {
        let mut at = log.offsets().start;
        loop {
            let fetched = committed.read(at, ReadLimits::bytes(bytes)).unwrap();
            if fetched.is_empty() {
                break;
            }
            // Where no batch is of a transaction, ours lists none.
            if fetched.batches().any(|batch| batch.header().is_transactional()) {
                let aborted = fetched.aborted.iter();
                let aborted =
                    aborted.map(|txn| format!(" {}@{}", txn.producer_id, txn.first_offset));
                lines.push((format!("listed {at} {}", fetched.next_offset), aborted.collect()));
            }
            at = fetched.next_offset;
        }
    }
    lines
}

/// The aborted transactions in the index of a segment.
fn index_lines(dir: &Path, base: Offset) -> Vec<String> {
    let path = dir.join(format!("{base:020}.txnindex"));
    if !path.exists() {
        return Vec::new();
    }
    let entries = TxnEntries::open(&DiskFs, &path).unwrap().map(|entry| entry.unwrap());
    let line = |entry: annals::inspect::TxnEntry| {
        let (id, first, last) = (entry.producer_id, entry.first_offset, entry.last_offset);
        format!("I {base} {id} {first} {last} {}", entry.last_stable_offset)
    };
    entries.map(line).collect()
}

/// The logs and transaction indexes of a directory. Kafka may have made empty ones.
fn data_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_data =
        |path: &Path| path.extension().is_some_and(|end| end == "log" || end == "txnindex");
    let data = files.filter(|path| is_data(path));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let data = data.map(|path| (name(&path), std::fs::read(&path).unwrap()));
    data.filter(|(name, bytes)| name.ends_with(".log") || !bytes.is_empty()).collect()
}

fn same_files(theirs: &Path, ours: &Path) {
    let [theirs, ours] = [theirs, ours].map(data_files);
    assert!(theirs.keys().eq(ours.keys()), "{:?} and {:?}", theirs.keys(), ours.keys());
    for (name, bytes) in &theirs {
        let at = bytes.iter().zip(&ours[name]).position(|(theirs, ours)| theirs != ours);
        assert!(bytes == &ours[name], "{name} differs at {at:?}");
    }
}

/// Has Kafka do what the lines say. It warns when it truncates its own logs.
fn act(kafka: &Path, script: &[String]) -> Vec<Vec<String>> {
    let mut printed = run(kafka, script);
    let is_ours = |line: &String| line.as_bytes().get(1) == Some(&b' ') && !line.starts_with(' ');
    for (lines, step) in printed.iter_mut().zip(script) {
        lines.retain(|line| !step.starts_with("txns ") || is_ours(line));
    }
    printed
}

/// A directory with logs that have had the same appends, rolls and truncations.
struct Round {
    seed: u64,
    root: tempfile::TempDir,
    expected: Vec<String>,
    steps: usize,
}

impl Round {
    fn dir(&self, name: &str) -> PathBuf {
        self.root.path().join(format!("{name}-0"))
    }

    /// A broker stores the start of a log outside of the log's directory, so that only the log
    /// that is opened last has it.
    fn deletes(&self) -> bool {
        self.seed % 2 == 1
    }

    /// Fills our log, and adds to the script what Kafka shall do.
    fn begin(seed: u64, script: &mut Vec<String>) -> Round {
        let (root, expected) = (tempfile::tempdir().unwrap(), Vec::new());
        let mut round = Round { seed, root, expected, steps: 0 };
        let log = Log::open(round.dir("ours"), config()).unwrap();
        let mut ours = Steps::new(log, seed, round.deletes());
        (0..150).for_each(|_| ours.step());
        copy_dir(&round.dir("ours"), &round.dir("ours-killed"));
        let file = round.root.path().join("steps");
        round.steps = ours.steps.len();
        round.expected = ours.finish(&round.dir("ours"), &file);
        let file = file.display();
        script.push(format!("txns {} {T0} {file}", round.dir("theirs").display()));
        for (name, how) in [("ours", "clean"), ("ours-killed", "crashed")] {
            if !round.deletes() {
                script.push(format!("isolate {} {T0} {how} {file}", round.dir(name).display()));
            }
        }
        round
    }

    /// Checks what Kafka printed for its own log, and for ours.
    fn check(&self, printed: &mut impl Iterator<Item = Vec<String>>) {
        let seed = self.seed;
        same(&printed.next().unwrap(), &self.expected, &format!("seed {seed}"));
        same_files(&self.dir("theirs"), &self.dir("ours"));
        for name in ["ours", "ours, killed"] {
            if !self.deletes() {
                let found = printed.next().unwrap();
                same(&found, &self.expected[self.steps..], &format!("seed {seed}, {name}"));
            }
        }
    }

    /// Opens a log of Kafka here and continues with it. Kafka shall do the same to ours.
    fn go_on(&self, name: &str, other: &str, script: &mut Vec<String>) -> Vec<String> {
        let (dir, state) = (self.dir(name), &self.expected[self.steps..]);
        let case = format!("seed {}, {name}", self.seed);
        let log = Log::open_read_only(&dir, config()).unwrap();
        same(&isolated(&log, &dir), state, &format!("{case}, read-only"));
        drop(log);
        let log = Log::open(&dir, config()).unwrap();
        same(&isolated(&log, &dir), state, &case);
        assert_eq!(log.verify().unwrap(), [], "{case}");
        let mut theirs = Steps::new(log, self.seed + 1000, false);
        theirs.restart();
        (0..60).for_each(|_| theirs.step());
        let file = self.root.path().join(name);
        let expected = theirs.finish(&dir, &file);
        script.push(format!("txns {} {T0} {}", self.dir(other).display(), file.display()));
        expected
    }
}

/// Each goes on with the other's logs, closed or killed.
#[test]
fn kafka_ends_same_transactions() {
    let Some(kafka) = kafka() else { return };
    let mut script = Vec::new();
    let seeds = seeds("ANNALS_KAFKA_TXN_SEEDS", 4);
    let rounds: Vec<_> = seeds.map(|seed| Round::begin(seed, &mut script)).collect();
    let mut printed = act(kafka, &script).into_iter();
    rounds.iter().for_each(|round| round.check(&mut printed));

    let names = [("theirs", "ours"), ("theirs-as-crashed", "ours-killed")];
    let handed_over = rounds.iter().filter(|round| !round.deletes());
    let pairs = handed_over.flat_map(|round| names.map(|names| (round, names)));
    let mut script = Vec::new();
    let done: Vec<_> = pairs
        .map(|(round, (name, other))| (round, name, other, round.go_on(name, other, &mut script)))
        .collect();
    for (printed, (round, name, other, expected)) in act(kafka, &script).iter().zip(&done) {
        same(printed, expected, &format!("seed {}, {other} after {name}", round.seed));
        same_files(&round.dir(other), &round.dir(name));
    }
    let steps: usize = rounds.iter().map(|round| round.steps).sum();
    say(&format!("kafka: decides {steps} steps of transactions as we do"));
}

/// Transactions of a few keys each, over several segments. Some are never ended.
fn fill_keyed(log: &Log, seed: u64) {
    let mut chance = Chance(seed);
    let mut senders = [Sender::default(); 4];
    for n in 0..400 {
        if n % 40 == 39 {
            // A segment whose last batch is removed gets an empty one here, and a hole in Kafka.
            log.append(Record::new("stays").key(format!("end {n}"))).unwrap();
            log.roll().unwrap();
        }
        let at = chance.below(4) as usize;
        let (id, sender) = (6000 + at as i64, &mut senders[at]);
        match chance.below(10) {
            0..6 => {
                let mut builder = BatchBuilder::new();
                builder.producer(id, sender.epoch, sender.sequence).transactional(true);
                let count = 1 + chance.below(4);
                for _ in 0..count {
                    let key = format!("key {}", chance.below(60));
                    let value = vec![b'v'; 100 + chance.below(700) as usize];
                    let value = (chance.below(9) > 0).then_some(&*value);
                    let time = Timestamp::from_millis(T0);
                    builder.push(time, Some(key.as_bytes()), value).unwrap();
                }
                sender.sequence += count as i32;
                log.append_batch(builder.build().unwrap()).unwrap();
            }
            6..9 => {
                // Half of the producers raise their epoch with each transaction.
                let mut version = TransactionVersion::V1;
                if at.is_multiple_of(2) {
                    version = TransactionVersion::V2;
                    (sender.epoch, sender.sequence) = (sender.epoch + 1, 0);
                }
                let producer = ProducerIdentity { id, epoch: sender.epoch };
                let marker = EndTxnMarker { committed: chance.below(2) == 0, coordinator_epoch: 0 };
                log.append_marker(producer, marker, version).unwrap();
            }
            _ => {
                let record = Record::new("plain").key(format!("key {}", chance.below(60)));
                log.append(record.timestamp(Timestamp::from_millis(T0))).unwrap();
            }
        }
    }
    log.roll().unwrap();
    log.append(Record::new("not cleaned").key("key 1")).unwrap();
}

/// The lines of a compacted log without sizes, and without the record of the last marker of a
/// producer. Kafka removes that, which leaves nothing to tell the epoch from when producers are
/// replayed.
fn comparable(lines: &[String], other: &[String]) -> Vec<String> {
    let without_records = |line: &&String| line.starts_with("B ") && line.contains(" 0 none ");
    let ends = |line: &String| line.split(' ').nth(2).unwrap().to_owned();
    let empty = lines.iter().chain(other).filter(without_records).map(ends);
    let empty: BTreeSet<String> = empty.collect();
    let mut compared = Vec::new();
    for line in lines {
        let mut words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "S" => words.truncate(2),
            "B" if empty.contains(words[2]) => {
                let is_control = words[10] == "true";
                assert!(is_control || words[3] == "0", "{line}");
                words[3] = "0";
                if is_control {
                    // Its delete horizon.
                    words.pop();
                }
            }
            "R" if empty.contains(words[1]) => continue,
            _ => {}
        }
        compared.push(words.join(" "));
    }
    compared
}

#[test]
fn kafka_compacts_same_transactions() {
    let Some(kafka) = kafka() else { return };
    let noon = T0 + 1_000_000;
    let times = [noon, noon + 1000, noon + 86_400_000 + 1, noon + 2 * 86_400_000 + 2];
    let root = tempfile::tempdir().unwrap();
    let (mut script, mut ours) = (Vec::new(), Vec::new());
    for seed in seeds("ANNALS_KAFKA_TXN_SEEDS", 4) {
        let dir = |who: &str| root.path().join(format!("{who}-{seed}-0"));
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(noon)));
        let config = small().index_bytes(65_536).clock(clock.clone()).leader_epoch(3);
        let config = config.cleanup_policy(CleanupPolicy::Compact);
        let config = config.producer_id_expiration(Duration::MAX);
        let log = Log::open(dir("ours"), config.clone()).unwrap();
        fill_keyed(&log, seed);
        log.close().unwrap();
        copy_dir(&dir("ours"), &dir("theirs"));
        let log = Log::open(dir("ours"), config).unwrap();
        let active = log.stats().unwrap().segments.last().unwrap().base_offset;
        let upto = active.min(log.offsets().last_stable);
        for time in times {
            clock.set(Timestamp::from_millis(time));
            log.compact().unwrap();
            let mut lines = Vec::new();
            for line in stored(&log) {
                let base = line.strip_prefix("S ").map(|rest| rest.split(' ').next().unwrap());
                let base = base.map(|base| base.parse().unwrap());
                lines.push(line);
                lines.extend(base.into_iter().flat_map(|base| index_lines(&dir("ours"), base)));
            }
            ours.push(lines);
            script.push(format!("clean {} {upto} {time}", dir("theirs").display()));
        }
        assert_eq!(log.verify().unwrap(), []);
        log.close().unwrap();
    }
    let printed = run(kafka, &script);
    for ((theirs, ours), step) in printed.iter().zip(&ours).zip(&script) {
        same(&comparable(theirs, ours), &comparable(ours, theirs), step);
    }
    let left = |lines: &Vec<String>| lines.iter().filter(|line| line.starts_with("B ")).count();
    say(&format!(
        "kafka: compacts transactions to the same {} batches",
        left(ours.last().unwrap())
    ));
}

/// A record of `__transaction_state`, as `KafkaTransactions.line` prints it.
fn record_line(key: &[u8], value: Option<&[u8]>) -> String {
    let record = TransactionRecord::decode(Some(key), value).unwrap().unwrap();
    let id = record.transactional_id;
    let Some(stored) = record.metadata else { return format!("T {id} -") };
    let mut partitions: Vec<String> =
        stored.partitions.iter().map(|at| format!("{}-{}", at.topic, at.partition)).collect();
    partitions.sort();
    let none = |id: Option<i64>| id.unwrap_or(-1);
    format!(
        "T {id} {} {} {} {} {} {:?} {} {} {} {}",
        stored.producer_id,
        stored.producer_epoch,
        none(stored.previous_producer_id),
        none(stored.next_producer_id),
        stored.timeout_ms,
        stored.state,
        stored.last_update.as_millis(),
        stored.started.map_or(-1, Timestamp::as_millis),
        stored.client_version,
        partitions.join(",")
    )
}

/// Transactional ids in several states.
fn fill_ids(store: &Store) {
    store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
    let transactions = store.transactions().unwrap();
    let minute = Duration::from_secs(60);
    for (number, version) in
        [TransactionVersion::V1, TransactionVersion::V2].into_iter().enumerate()
    {
        for ends in 0..4 {
            let id = format!("id-{number}-{ends}");
            let mut who = transactions.init_producer_id(&id, minute, None, Wait::No).unwrap();
            for end in 0..ends {
                let at: Vec<_> =
                    (0..=end).map(|number| TopicPartition::new("orders", number)).collect();
                transactions.add_partitions(&id, who, &at, version, Wait::No).unwrap();
                if end == 2 {
                    // It stays open.
                    break;
                }
                let outcome = [Outcome::Commit, Outcome::Abort][end as usize % 2];
                who = transactions.end(&id, who, outcome, version, false, Wait::No).unwrap();
            }
        }
    }
}

#[test]
fn kafka_knows_same_transactional_ids() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let coordinator = TransactionCoordinatorConfig::default().state_partitions(3);
    let config = StoreConfig::default().clock(clock).transaction_coordinator(coordinator);
    let store = Store::open(root.path().join("store"), config.maintenance(None)).unwrap();
    fill_ids(&store);
    let (mut script, mut expected) = (Vec::new(), Vec::new());
    for (number, log) in store.topic("__transaction_state").unwrap().partitions().iter().enumerate()
    {
        let dir = root.path().join(format!("store/__transaction_state-{number}"));
        script.push(format!("txnlog {}", dir.display()));
        let records = log.reader(StartAt::Earliest).unwrap().records();
        let records = records.map(|record| record.unwrap());
        let line = |record: StoredRecord| {
            record_line(record.key.as_deref().unwrap(), record.value.as_deref())
        };
        expected.push(records.map(line).collect::<Vec<_>>());
    }
    let file = root.path().join("records");
    script.push(format!("txnrecords {}", file.display()));
    let printed = run(kafka, &script);
    for ((printed, expected), step) in printed.iter().zip(&expected).zip(&script) {
        same(printed, expected, step);
    }
    // Two for each end, one for each beginning.
    let records: usize = expected.iter().map(Vec::len).sum();
    assert_eq!(records, 2 * (4 + 3 * (1 + 2 + 2) + 1), "{expected:#?}");

    let bytes = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect()
    };
    let written = std::fs::read_to_string(&file).unwrap();
    let lines = written.lines().map(|line| line.split_once(' ').unwrap());
    let read: Vec<_> =
        lines.map(|(key, value)| record_line(&bytes(key), Some(&bytes(value)))).collect();
    same(&printed[script.len() - 1], &read, "written by Kafka");
    say(&format!("kafka: knows the same of {} records of transactional ids", records + read.len()));
}
