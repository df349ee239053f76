//! A list of records beside the log: the same operations on both, and they must agree.
//!
//! Each seed is one list of operations, run under every configuration.
//! `ANNALS_MODEL_SEEDS=17` runs one seed, `ANNALS_MODEL_SEEDS=0..5000` many.

use annals::fs::{CrashState, MemFs};
use annals::record::{BatchBuilder, Compression};
use annals::{
    Codec, Error, Log, LogConfig, ManualClock, OffsetSpec, ReadLimits, Record, Timestamp,
    TimestampType,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, DIR, Model, Rec, check_reopening_changes_nothing, clock, seeds};

/// The configurations, by name. All must show the same records.
fn configs() -> Vec<(&'static str, LogConfig)> {
    let tiny = || LogConfig::default().segment_bytes(1500);
    let zstd = Compression::of(Codec::ALL.into_iter().rev().find(|c| c.is_available()).unwrap());
    let hour = Duration::from_secs(3600);
    vec![
        ("tiny segments, dense index", tiny().index_interval_bytes(0)),
        ("tiny segments, sparse index", tiny().index_interval_bytes(200)),
        ("large segments", LogConfig::default().index_interval_bytes(4096)),
        ("full indexes", LogConfig::default().index_interval_bytes(0).index_bytes(48)),
        ("compressed", tiny().index_interval_bytes(200).compression(zstd)),
        ("preallocated", tiny().index_interval_bytes(0).preallocate(true)),
        ("by age", LogConfig::default().index_interval_bytes(0).segment_age(hour)),
        ("by age, with jitter", tiny().segment_age(hour).segment_jitter(hour / 2)),
        (
            "append time",
            tiny().index_interval_bytes(0).timestamp_type(TimestampType::LogAppendTime),
        ),
        ("flushed by count", tiny().index_interval_bytes(200).flush_messages(7)),
    ]
}

struct Run {
    chance: Chance,
    config: LogConfig,
    clock: Arc<ManualClock>,
    fs: MemFs,
    log: Log,
    model: Model,
    /// Numbers the values, so that no two are the same.
    count: u64,
    append_time: bool,
}

impl Run {
    fn new(seed: u64, config: LogConfig, append_time: bool) -> Run {
        let (fs, clock) = (MemFs::new(), clock());
        let config = config.clock(clock.clone());
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let (model, chance) = (Model::default(), Chance(seed));
        Run { chance, config, clock, fs, log, model, count: 0, append_time }
    }

    fn make(&mut self) -> Record {
        self.count += 1;
        let filler = "x".repeat(self.chance.below(120) as usize);
        let mut record = Record::new(format!("{}-{filler}", self.count));
        match self.chance.below(6) {
            0 => record = record.key(format!("k{}", self.chance.below(5))),
            1 => record = Record::tombstone(format!("k{}", self.count)),
            2 => record = Record::new(""),
            _ => {}
        }
        // Earlier and later than the clock, but within what the log takes.
        let time = support::T0 + self.chance.below(2_000_000) as i64 - 500_000;
        if self.chance.below(4) > 0 {
            record = record.timestamp(Timestamp::from_millis(time));
        }
        record
    }

    /// Records in the model what an append must have done.
    fn note(&mut self, first: u64, records: &[Record], now: i64) {
        assert_eq!(first, self.model.end);
        let records = (first..).zip(records).map(|(offset, record)| Rec {
            offset,
            time: match record.timestamp {
                Some(time) if !self.append_time => time.as_millis(),
                _ => now,
            },
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
        });
        let records = records.collect();
        self.model.append(records);
        self.model.durable = self.model.durable.max(self.log.offsets().durable);
    }

    fn append(&mut self) {
        let n = 1 + self.chance.below(6);
        let records: Vec<Record> = (0..n).map(|_| self.make()).collect();
        let now = annals::Clock::now(&*self.clock);
        let codec = Codec::ALL[self.chance.below(5) as usize];
        let codec = if codec.is_available() { codec } else { Codec::None };
        let mut builder = BatchBuilder::new();
        builder.compression(Compression::of(codec));
        match self.chance.below(4) {
            0 => {
                let first = self.log.append(records[0].clone()).unwrap();
                self.note(first, &records[..1], now.as_millis());
            }
            1 => {
                let appended = self.log.append_all(records.clone()).unwrap();
                assert_eq!(appended.last + 1 - appended.first, n);
                self.note(appended.first, &records, now.as_millis());
            }
            way => {
                records.iter().for_each(|record| builder.push_record(record, now).unwrap());
                let appended = if way == 2 {
                    self.log.append_builder(&mut builder).unwrap()
                } else {
                    self.log.append_batch(builder.build().unwrap()).unwrap()
                };
                self.note(appended.first, &records, now.as_millis());
            }
        }
    }

    fn read(&mut self) {
        let from = self.chance.below(self.model.end + 3);
        let limit = [0, 1, 200, 1000, 1 << 20][self.chance.below(5) as usize];
        let fetched = match self.log.read(from, ReadLimits::bytes(limit)) {
            Err(Error::OffsetOutOfRange { .. }) => {
                return assert!(from > self.model.end || from < self.model.start);
            }
            other => other.unwrap(),
        };
        assert!((self.model.start..=self.model.end).contains(&from));
        let found: Vec<Rec> = fetched.records().unwrap().into_iter().map(Rec::from).collect();
        let (from, upto) = (from, fetched.next_offset);
        let within = |record: &&Rec| record.offset >= from && record.offset < upto;
        assert_eq!(found, self.model.records().filter(within).cloned().collect::<Vec<_>>());
        assert!(upto > from || from == self.model.end, "a read at {from} does not move on");
        let mut reader = self.log.reader(self.model.start).unwrap();
        reader.seek(from).unwrap();
        let next = reader.next_record().unwrap().map(Rec::from);
        assert_eq!(next.as_ref(), self.model.records().find(|record| record.offset >= from));
    }

    fn point_read(&mut self) {
        let offset = self.chance.below(self.model.end + 2);
        let want = self.model.records().find(|record| record.offset == offset).cloned();
        match self.log.get(offset) {
            Err(Error::OffsetOutOfRange { .. }) => {
                assert!(offset >= self.model.end || offset < self.model.start);
            }
            found => assert_eq!(found.unwrap().map(Rec::from), want),
        }
    }

    fn look_up_time(&mut self) {
        let time = support::T0 + self.chance.below(2_400_000) as i64 - 700_000;
        let found = self.log.offset_for_time(Timestamp::from_millis(time)).unwrap();
        assert_eq!(found, self.model.at_time(time), "the first record at {time}");
        let latest = self.model.records().map(|record| record.time).max();
        let found = self.log.list_offset(OffsetSpec::MaxTimestamp).unwrap();
        assert_eq!(found, latest.and_then(|time| self.model.at_time(time)));
    }

    fn reopen(&mut self, fs: MemFs) {
        self.fs = fs;
        let config = self.config.clone().fs(self.fs.clone());
        self.log = Log::open(DIR, config).unwrap();
        self.model.check_survived(&self.log);
    }

    fn crash(&mut self) {
        let how = match self.chance.below(4) {
            0 => CrashState::SyncedOnly,
            1 => CrashState::AllWrites,
            _ => CrashState::Random { seed: self.chance.next() },
        };
        let fs = self.fs.crash(how);
        let twin = fs.kill();
        self.reopen(fs);
        if self.chance.below(4) == 0 {
            check_reopening_changes_nothing(&twin, &self.config);
        }
    }

    fn step(&mut self) {
        match self.chance.below(100) {
            0..45 => self.append(),
            45..60 => self.read(),
            60..66 => self.point_read(),
            66..72 => self.look_up_time(),
            72..76 => self.log.roll().unwrap(),
            76..82 => {
                let recent = self.model.end.saturating_sub(12).max(self.model.start);
                let target = self.chance.below(self.model.end + 1).max(recent);
                self.log.truncate_to(target).unwrap();
                self.model.truncate(target);
            }
            82..83 => {
                let target = self.chance.below(self.model.end + 1);
                self.model.delete_before(target);
                assert_eq!(self.log.delete_before(target).unwrap(), self.model.start);
            }
            83..86 => self.model.durable = self.log.flush().unwrap(),
            86..89 => {
                self.log.clone().close().unwrap();
                self.model.durable = self.model.end;
                self.reopen(self.fs.clone());
                assert!(self.log.recovery().clean_shutdown);
            }
            89..92 => {
                let end = self.model.end;
                self.reopen(self.fs.kill());
                assert_eq!(self.model.end, end, "a killed process loses nothing it had written");
            }
            92..96 => self.crash(),
            _ if self.chance.below(5) == 0 => {
                self.clock.set(Timestamp::from_millis(support::T0 - 1000));
            }
            _ => self.clock.advance(Duration::from_secs(self.chance.clone().below(2000))),
        }
        assert_eq!(self.log.offsets().end, self.model.end);
        assert!(self.log.offsets().durable >= self.model.durable.min(self.model.end));
    }
}

#[test]
fn log_matches_model_under_every_config() {
    for seed in seeds("ANNALS_MODEL_SEEDS", 25) {
        for (name, config) in configs() {
            let run = catch_unwind(AssertUnwindSafe(|| {
                let mut run = Run::new(seed, config, name == "append time");
                (0..120).for_each(|_| run.step());
                run.model.check(&run.log);
                assert_eq!(run.log.verify().unwrap(), []);
            }));
            assert!(run.is_ok(), "replay with ANNALS_MODEL_SEEDS={seed}: failed under \"{name}\"");
        }
    }
}
