//! Random transactions against a model: what a reader of committed records sees is what was
//! committed, whatever crashes, timeouts, takeovers, truncations, deletions and compactions come
//! between.
//!
//! `TXN_MODEL_SEED` chooses the seeds: `17` runs one, `0..3000` many.

use super::*;
use annals::fs::CrashState;
use annals::{
    CleanupPolicy, ConsumerConfig, GroupCoordinatorConfig, Log, Offset, OffsetAndMetadata, Record,
    TransactionCoordinatorConfig,
};
use std::collections::BTreeMap;
use support::{Chance, say, seeds};

const IDS: [&str; 3] = ["billing", "shipping", "audit"];
/// The partitions; the last one is compacted.
const PARTITIONS: [(&str, u32); 3] = [("orders", 0), ("orders", 1), ("prices", 0)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    key: String,
    value: String,
    /// The number of its transaction.
    part_of: Option<usize>,
}

/// The producer of a transactional id.
#[derive(Debug, Clone)]
struct Producer {
    who: ProducerIdentity,
    /// Its open transaction, when it began, and the next sequence number in each partition.
    open: Option<(usize, Duration)>,
    next: [i32; 3],
}

struct Model {
    setup: Setup,
    chance: Chance,
    /// Whether all commits are made durable, so that the power can fail.
    flush: bool,
    producers: [Option<Producer>; 3],
    fates: Vec<Fate>,
    entries: [Vec<Entry>; 3],
    /// The offsets that were committed in transactions, in their order.
    offsets: Vec<(usize, Offset)>,
    done: Vec<String>,
}

fn config(fs: MemFs, clock: &Arc<ManualClock>) -> StoreConfig {
    let transactions = TransactionCoordinatorConfig::default().state_partitions(2);
    let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
    let config = Setup::config(fs, clock).transaction_coordinator(transactions);
    config.group_coordinator(groups)
}

impl Model {
    fn new(seed: u64) -> Model {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(support::T0)));
        let disk = MemFs::new();
        let opened = config(disk.clone(), &clock);
        let setup = Setup::open(disk, clock, opened);
        let small = TopicConfig::default().segment_bytes(700);
        setup.store.create_topic("orders", small.clone().partitions(2)).unwrap();
        let compacted =
            small.cleanup_policy(CleanupPolicy::CompactAndDelete).min_cleanable_dirty_ratio(0.01);
        setup.store.create_topic("prices", compacted).unwrap();
        Model {
            setup,
            chance: Chance(seed),
            flush: seed.is_multiple_of(2),
            producers: [None, None, None],
            fates: Vec::new(),
            entries: [Vec::new(), Vec::new(), Vec::new()],
            offsets: Vec::new(),
            done: Vec::new(),
        }
    }

    fn log(&self, partition: usize) -> Log {
        let (topic, number) = PARTITIONS[partition];
        self.setup.store.topic(topic).unwrap().partition(number).unwrap()
    }

    /// Returns the producer of an id, which takes the id over if it has none.
    fn producer(&mut self, id: usize) -> Producer {
        let setup = &self.setup;
        let new = || Producer { who: setup.init(IDS[id]), open: None, next: [0; 3] };
        self.producers[id].get_or_insert_with(new).clone()
    }

    /// Begins a transaction, unless one is open.
    fn begin(&mut self, id: usize) -> Producer {
        let mut producer = self.producer(id);
        if producer.open.is_none() {
            self.fates.push(Fate::Open);
            producer.open = Some((self.fates.len() - 1, self.setup.clock.monotonic()));
            producer.next = [0; 3];
        }
        producer
    }

    fn text(&mut self) -> (String, String) {
        let number: usize = self.entries.iter().map(Vec::len).sum();
        let (key, unique) = (self.chance.below(3), self.chance.below(1 << 40));
        (format!("key {key}"), format!("value {number} {unique}"))
    }

    fn send(&mut self, id: usize, partition: usize) {
        let mut producer = self.begin(id);
        let (log, (key, value)) = (self.log(partition), self.text());
        let sequence = producer.next[partition];
        let guard = log.begin_verification(producer.who, sequence, V2).unwrap();
        let at = [TopicPartition::from(PARTITIONS[partition])];
        let add = self.setup.transactions.add_partitions(IDS[id], producer.who, &at, V2, Wait::No);
        add.unwrap();
        let mut builder = BatchBuilder::new();
        let who = producer.who;
        builder.producer(who.id, who.epoch, sequence).transactional(true);
        let time = Timestamp::from_millis(support::T0);
        builder.push(time, Some(key.as_bytes()), Some(value.as_bytes())).unwrap();
        let offset = log.append_verified(builder.build().unwrap(), guard).unwrap().first;
        producer.next[partition] += 1;
        let part_of = producer.open.map(|(number, _)| number);
        self.producers[id] = Some(producer);
        self.entries[partition].push(Entry { offset, key, value, part_of });
    }

    fn append_alone(&mut self, partition: usize) {
        let (key, value) = self.text();
        let offset = self.log(partition).append(Record::new(value.clone()).key(key.clone()));
        let offset = offset.unwrap();
        self.entries[partition].push(Entry { offset, key, value, part_of: None });
    }

    fn send_offset(&mut self, id: usize) {
        let producer = self.begin(id);
        let (number, _) = producer.open.unwrap();
        let offset = self.chance.below(1000);
        let consumer = self.setup.store.consumer(ConsumerConfig::new("readers")).unwrap();
        let group = consumer.group_metadata().unwrap();
        let offsets: BTreeMap<_, OffsetAndMetadata> = [(at(0), offset.into())].into();
        let transactions = &self.setup.transactions;
        let (id_text, who) = (IDS[id], producer.who);
        transactions.commit_offsets(id_text, who, &group, &offsets, V2, Wait::No).unwrap();
        self.offsets.push((number, offset));
        self.producers[id] = Some(producer);
    }

    fn end(&mut self, id: usize, outcome: Outcome) {
        let mut producer = self.producer(id);
        let transactions = &self.setup.transactions;
        let flush = self.flush;
        let ended = transactions.end(IDS[id], producer.who, outcome, V2, flush, Wait::No);
        let Some((number, _)) = producer.open.take() else {
            // A commit of nothing is a mistake; an abort of nothing is not, and takes an epoch.
            match outcome {
                Outcome::Commit => assert!(ended.is_err()),
                Outcome::Abort => producer.who = ended.unwrap(),
            }
            self.producers[id] = Some(producer);
            return;
        };
        let next = ended.unwrap();
        let again = transactions.end(IDS[id], producer.who, outcome, V2, flush, Wait::No);
        assert_eq!(again.unwrap(), next);
        self.fates[number] = match outcome {
            Outcome::Commit => Fate::Committed,
            Outcome::Abort => Fate::Aborted,
        };
        producer.who = next;
        self.producers[id] = Some(producer);
    }

    /// Another producer takes an id over; the one before tries to go on.
    fn take_over(&mut self, id: usize) {
        let before = self.producer(id);
        self.producers[id] = None;
        if let Some((number, _)) = before.open {
            self.fates[number] = Fate::Aborted;
        }
        self.producer(id);
        for outcome in [Outcome::Commit, Outcome::Abort] {
            assert!(self.setup.end(IDS[id], before.who, outcome).is_err());
        }
        let log = self.log(0);
        let late = batch(before.who, before.next[0], "late");
        let guard = log.begin_verification(before.who, before.next[0], V2);
        let appended = guard.and_then(|guard| {
            let at = [at(0)];
            let transactions = &self.setup.transactions;
            transactions.add_partitions(IDS[id], before.who, &at, V2, Wait::No)?;
            log.append_verified(late, guard)
        });
        assert!(appended.is_err());
    }

    /// Time passes, and the transactions that took too long are aborted.
    fn pass_time(&mut self) {
        self.setup.clock.advance(Duration::from_secs(25));
        self.setup.transactions.tick();
        let now = self.setup.clock.monotonic();
        for (id, name) in IDS.into_iter().enumerate() {
            let Some(mut producer) = self.producers[id].clone() else { continue };
            let Some((number, _)) = producer.open.filter(|(_, since)| now - *since >= MINUTE)
            else {
                continue;
            };
            self.fates[number] = Fate::Aborted;
            producer.open = None;
            let error = refusal(self.setup.end(name, producer.who, Outcome::Commit));
            assert!(matches!(error, TransactionError::Expired { .. }), "{error}");
            producer.who = self.setup.end(name, producer.who, Outcome::Abort).unwrap();
            self.producers[id] = Some(producer);
        }
    }

    /// Removes the last record of a partition, if no marker follows it.
    fn truncate(&mut self, partition: usize) {
        let log = self.log(partition);
        // In the compacted partition, an earlier record of its key may be gone already, unless its
        // transaction is open.
        let is_open = |n: usize| self.fates[n] == Fate::Open;
        let is_alone = |entry: &Entry| partition < 2 || entry.part_of.is_some_and(is_open);
        let end = log.offsets().end;
        let is_last = |entry: &Entry| entry.offset + 1 == end && is_alone(entry);
        let Some(last) = self.entries[partition].pop_if(|entry| is_last(entry)) else { return };
        log.truncate_to(last.offset).unwrap();
        let lost = last.part_of;
        // Its producer would have to send it again.
        let of_lost = |producer: &Option<Producer>| {
            producer.as_ref().is_some_and(|one| one.open.map(|(n, _)| n) == lost)
        };
        if let Some(id) = self.producers.iter().position(of_lost).filter(|_| lost.is_some()) {
            self.end(id, Outcome::Abort);
        }
    }

    /// Deletes records at the front, none of them of an open transaction.
    fn delete(&mut self, partition: usize) {
        let log = self.log(partition);
        let offsets = log.offsets();
        let upto = offsets.start + self.chance.below(offsets.last_stable - offsets.start + 1);
        log.delete_before(upto).unwrap();
        self.entries[partition].retain(|entry| entry.offset >= upto);
    }

    fn restart(&mut self) {
        let setup = &self.setup;
        let is_power_loss = self.flush && self.chance.below(2) == 0;
        let disk = match self.chance.below(2) {
            _ if is_power_loss => {
                let seed = self.chance.below(1 << 40);
                setup.disk.crash(CrashState::Random { seed })
            }
            0 => {
                setup.store.close().unwrap();
                setup.disk.kill()
            }
            _ => setup.disk.kill(),
        };
        self.done.push(format!("power loss {is_power_loss}"));
        let clock = Arc::clone(&setup.clock);
        let opened = config(disk.clone(), &clock);
        self.setup = Setup::open(disk, clock, opened);
        self.producers = [None, None, None];
        for fate in self.fates.iter_mut().filter(|fate| **fate == Fate::Open) {
            *fate = Fate::Aborted;
        }
        if is_power_loss {
            self.drop_lost();
        }
    }

    /// Takes from the model what the power took: never what was committed with it made durable.
    fn drop_lost(&mut self) {
        for (partition, (topic, _)) in PARTITIONS.into_iter().enumerate() {
            let log = self.log(partition);
            let found: BTreeMap<Offset, String> = support::read_all(&log)
                .into_iter()
                .map(|record| (record.offset, String::from_utf8(record.value.unwrap()).unwrap()))
                .collect();
            let mut entries = std::mem::take(&mut self.entries[partition]);
            let is_kept = |entry: &Entry| found.get(&entry.offset) == Some(&entry.value);
            let is_durable = |entry: &Entry| {
                let number = entry.part_of;
                number.is_some_and(|number| self.fates[number] == Fate::Committed)
            };
            let is_compacted = topic == "prices";
            for entry in entries.iter().filter(|entry| is_durable(entry) && !is_compacted) {
                assert!(is_kept(entry), "a committed record is lost: {entry:?}");
            }
            // A superseded record may be gone, too, but only if a later one of its key is there.
            entries.retain(|entry| is_kept(entry) || (is_compacted && is_durable(entry)));
            self.entries[partition] = entries;
        }
    }

    fn act(&mut self) {
        let (id, partition) = (self.chance.below(3) as usize, self.chance.below(3) as usize);
        let act = self.chance.below(41);
        self.done.push(format!("{act} {} {partition}", IDS[id]));
        match act {
            0..14 => self.send(id, partition),
            14..17 => self.append_alone(partition),
            17..24 => self.end(id, Outcome::Commit),
            24..27 => self.end(id, Outcome::Abort),
            27..29 => self.take_over(id),
            29..31 => self.pass_time(),
            31 => self.truncate(partition),
            32..34 => self.send_offset(id),
            34 => self.log(partition).roll().unwrap(),
            35..37 => {
                self.log(2).roll().unwrap();
                self.setup.store.maintain().unwrap();
            }
            37 => drop(self.setup.store.flush()),
            38 => self.delete(partition),
            _ => self.restart(),
        }
    }

    fn check(&self) {
        for (partition, entries) in self.entries.iter().enumerate() {
            let log = self.log(partition);
            let fate = |entry: &Entry| entry.part_of.map_or(Fate::Committed, |n| self.fates[n]);
            let open = entries.iter().find(|entry| fate(entry) == Fate::Open);
            let stable = open.map_or(log.offsets().end, |entry| entry.offset);
            assert_eq!(log.offsets().last_stable, stable, "{partition}");
            let expected: Vec<(Offset, &str, &str)> = entries
                .iter()
                .filter(|entry| entry.offset < stable && fate(entry) == Fate::Committed)
                .map(|entry| (entry.offset, &*entry.key, &*entry.value))
                .collect();
            let committed = log.isolated(IsolationLevel::ReadCommitted);
            let found: Vec<_> = committed
                .reader(StartAt::Earliest)
                .unwrap()
                .records()
                .map(Result::unwrap)
                .collect();
            let found: Vec<(Offset, &str, &str)> = found
                .iter()
                .map(|one| (one.offset, one.key_str().unwrap(), one.value_str().unwrap()))
                .collect();
            if PARTITIONS[partition].0 == "orders" {
                assert_eq!(found, expected, "{partition}");
                continue;
            }
            assert!(found.iter().all(|one| expected.contains(one)), "{found:?}, {expected:?}");
            let last = |all: &[(Offset, &str, &str)]| -> BTreeMap<String, String> {
                all.iter().map(|(_, key, value)| ((*key).into(), (*value).into())).collect()
            };
            assert_eq!(last(&found), last(&expected));
        }
        let of_group = self.setup.store.admin().describe_group("readers");
        let offset = of_group
            .ok()
            .and_then(|group| group.offsets.get(&at(0)).map(|offset| offset.committed.offset));
        let committed = |(number, _): &&(usize, Offset)| self.fates[*number] == Fate::Committed;
        let expected = self.offsets.iter().rev().find(committed).map(|(_, offset)| *offset);
        assert_eq!(offset, expected);
    }
}

#[test]
fn committed_records_equal_the_model() {
    for seed in seeds("TXN_MODEL_SEED", 40) {
        let mut model = Model::new(seed);
        for _ in 0..120 {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                model.act();
                model.check();
            }));
            if let Err(panic) = done {
                say(&format!("TXN_MODEL_SEED={seed}: {:?}", model.done));
                std::panic::resume_unwind(panic);
            }
        }
        for partition in 0..PARTITIONS.len() {
            assert!(model.log(partition).verify().unwrap().is_empty(), "TXN_MODEL_SEED={seed}");
        }
        let hanging = model.setup.transactions.find_hanging(Duration::ZERO).unwrap();
        assert!(hanging.is_empty(), "TXN_MODEL_SEED={seed}: {hanging:?}");
    }
}
