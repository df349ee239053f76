//! A store whose calendar jumps, explored by seed.
//!
//! `JUMP_SEED` chooses the seeds: `17` runs one, `0..3000` many.

use annals::fs::MemFs;
use annals::*;
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, T0, clock, say, seeds};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR_MILLIS: i64 = 365 * 24 * 3600 * 1000;

fn millis(duration: Duration) -> i64 {
    duration.as_millis() as i64
}

/// A sent record: its value, the calendar at that time, and how long the clock had run.
#[derive(Debug, Clone)]
struct Stamped {
    value: String,
    time: i64,
    age_from: i64,
}

/// A store whose calendar jumps, and the records that must be in it.
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
