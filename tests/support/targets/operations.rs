//! A fuzz target that applies a list of operations to a log and to its model.

use super::Choices;
use super::batches::available;
use crate::sim::check_producers;
use crate::{DIR, Model, Rec, clock};
use annals::fs::{CrashState, MemFs};
use annals::record::{BatchBuilder, Compression};
use annals::{Error, Log, LogConfig, ProducerId, ReadLimits, Record, Timestamp};

struct Run<'a> {
    choices: Choices<'a>,
    config: LogConfig,
    fs: MemFs,
    log: Log,
    model: Model,
    count: u64,
}

pub fn operations(data: &[u8]) {
    let mut choices = Choices(data);
    let shape = choices.byte();
    let config = LogConfig::default()
        .clock(clock())
        .segment_bytes([400, 1500, 1 << 20, 4096][usize::from(shape & 3)])
        .index_interval_bytes([0, 200][usize::from(shape >> 2 & 1)])
        .index_bytes([48, 1 << 20][usize::from(shape >> 3 & 1)])
        .preallocate(shape & 16 != 0)
        .flush_messages(if shape & 32 != 0 { 5 } else { u64::MAX });
    let fs = MemFs::new();
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    let mut run = Run { choices, config, fs, log, model: Model::default(), count: 0 };
    let mut steps = 0;
    while !run.choices.is_empty() && steps < 80 {
        run.step();
        steps += 1;
    }
    run.model.check(&run.log);
    assert_eq!(run.log.verify().unwrap(), []);
}

impl Run<'_> {
    fn append(&mut self) {
        let shape = self.choices.byte();
        let first = self.model.end;
        let mut builder = BatchBuilder::new();
        builder.compression(Compression::of(available(shape >> 4)));
        let recs: Vec<Rec> =
            (first..first + 1 + u64::from(shape & 3)).map(|o| self.make(o)).collect();
        let records = recs.iter().map(|rec| {
            let record = Record::new(rec.value.clone().unwrap_or_default());
            let record = if rec.value.is_none() { record.null_value() } else { record };
            let record = record.timestamp(Timestamp::from_millis(rec.time));
            rec.key.iter().fold(record, |record, key| record.key(key.clone()))
        });
        let records: Vec<Record> = records.collect();
        records.iter().for_each(|r| builder.push_record(r, Timestamp::NONE).unwrap());
        let appended = match shape >> 2 & 3 {
            0 => self.log.append_all(records),
            1 => self.log.append_builder(&mut builder),
            2 => self.log.append_batch(builder.build().unwrap()),
            _ => {
                let id = ProducerId::from(shape & 1);
                let known = self.log.producers().unwrap();
                let known = known.iter().find(|state| state.producer_id == id);
                let next = known.map_or(i32::MAX - 3, |known| known.last_sequence.wrapping_add(1));
                builder.producer(id, 0, next & i32::MAX);
                let batch = builder.build().unwrap();
                let appended = self.log.append_batch(batch.clone());
                if let Ok(appended) = appended {
                    let again = self.log.append_batch(batch).unwrap();
                    assert!(again.duplicate && (again.first, again.last) == (first, appended.last));
                }
                appended
            }
        };
        let appended = match appended {
            Ok(appended) => appended,
            Err(Error::BatchTooLarge { .. }) => return,
            Err(other) => panic!("{other}"),
        };
        assert_eq!((appended.first, appended.last), (first, recs.last().unwrap().offset));
        self.model.append(recs);
        self.model.durable = self.model.durable.max(self.log.offsets().durable);
    }

    fn make(&mut self, offset: u64) -> Rec {
        self.count += 1;
        let shape = self.choices.byte();
        let size = usize::from(shape >> 3) * 8;
        Rec {
            offset,
            time: crate::T0 + i64::from(self.choices.byte()) * 10,
            key: (shape & 1 != 0).then(|| vec![b'k', shape]),
            value: (shape & 6 != 0).then(|| format!("{}{}", self.count, "x".repeat(size)).into()),
        }
    }

    fn step(&mut self) {
        match self.choices.byte() % 17 {
            0..6 => self.append(),
            6 => self.read(),
            7 => self.point_read(),
            8 => self.look_up_time(),
            9 => self.log.roll().unwrap(),
            10 => {
                let back = self.choices.below(13).min(self.model.end);
                let target = (self.model.end - back).max(self.model.start);
                self.log.truncate_to(target).unwrap();
                self.model.truncate(target);
            }
            11 => self.model.durable = self.log.flush().unwrap(),
            12 => {
                self.log.clone().close().unwrap();
                self.model.durable = self.model.end;
                self.reopen(self.fs.clone());
                assert!(self.log.recovery().clean_shutdown);
            }
            13 => {
                let end = self.model.end;
                self.reopen(self.fs.kill());
                assert_eq!(self.model.end, end, "a killed process loses nothing it had written");
            }
            14 => {
                let how = match self.choices.below(400) {
                    0 => CrashState::SyncedOnly,
                    1 => CrashState::AllWrites,
                    seed => CrashState::Random { seed },
                };
                self.reopen(self.fs.crash(how));
            }
            15 => {
                let target = self.choices.below(self.model.end + 1);
                self.model.delete_before(target);
                assert_eq!(self.log.delete_before(target).unwrap(), self.model.start);
            }
            _ => self.model.check(&self.log),
        }
        assert_eq!(self.log.offsets().end, self.model.end);
    }

    fn read(&mut self) {
        let from = self.choices.below(self.model.end + 2);
        let limit = 1 << (self.choices.byte() % 16);
        match self.log.read(from, ReadLimits::bytes(limit)) {
            Err(Error::OffsetOutOfRange { start, end, .. }) => {
                assert!(!(start..=end).contains(&from));
                assert_eq!((start, end), (self.model.start, self.model.end));
            }
            fetched => {
                let fetched = fetched.unwrap();
                let found: Vec<Rec> =
                    fetched.records().unwrap().into_iter().map(Rec::from).collect();
                let upto = fetched.next_offset;
                let within = |rec: &&Rec| rec.offset >= from && rec.offset < upto;
                assert_eq!(found, self.model.records().filter(within).cloned().collect::<Vec<_>>());
                assert!(upto > from || from == self.model.end);
            }
        }
    }

    fn point_read(&mut self) {
        let offset = self.choices.below(self.model.end + 1);
        match self.log.get(offset) {
            Err(Error::OffsetOutOfRange { .. }) => {
                assert!(offset == self.model.end || offset < self.model.start);
            }
            found => {
                let want = self.model.records().find(|rec| rec.offset == offset).cloned();
                assert_eq!(found.unwrap().map(Rec::from), want);
            }
        }
    }

    fn look_up_time(&mut self) {
        let time = crate::T0 + i64::from(self.choices.byte()) * 10 + 1;
        let found = self.log.offset_for_time(Timestamp::from_millis(time)).unwrap();
        assert_eq!(found, self.model.at_time(time));
    }

    fn reopen(&mut self, fs: MemFs) {
        self.fs = fs;
        self.log = Log::open(DIR, self.config.clone().fs(self.fs.clone())).unwrap();
        self.model.check_survived(&self.log);
        check_producers(&self.log);
    }
}
