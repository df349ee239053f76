//! Compaction against a model, with random work, closing, killing and losses of power between;
//! damage; bad input.
//!
//! `ANNALS_COMPACTION_SEEDS=17` runs one seed of the random tests, `0..5000` many.

use annals::fs::MemFs;
use annals::record::{BatchBuilder, Compression};
use annals::{
    CleanupPolicy, Clock, Codec, Error, Event, Log, LogConfig, ManualClock, ReadLimits, Record,
    Timestamp,
};
use std::sync::Arc;
use std::time::Duration;
use support::keyed::{Keyed, Shape, bases, staged};
use support::sim::Way;
use support::{
    Chance, DIR, Heard, Rec, T0, clock, files, name, read_all, read_file, say, seeds, write_file,
};

fn millis(millis: i64) -> Duration {
    Duration::from_millis(millis as u64)
}

/// A log that is compacted, and what it must hold.
struct Life {
    chance: Chance,
    fs: MemFs,
    clock: Arc<ManualClock>,
    config: LogConfig,
    log: Log,
    model: Keyed,
    shape: Shape,
    lag: i64,
    retention: i64,
    ratio: f64,
    deletes: bool,
    done: Vec<String>,
    /// How many passes there were, and how many calls that took more than one.
    passes: usize,
    several: usize,
}

impl Life {
    fn new(seed: u64) -> Life {
        let mut chance = Chance(seed);
        let (fs, clock) = (MemFs::new(), clock());
        let pick =
            |chance: &mut Chance, from: &[i64]| from[chance.below(from.len() as u64) as usize];
        let lag = pick(&mut chance, &[0, 0, 0, 700]);
        let retention = pick(&mut chance, &[0, 500, 3000, 86_400_000]);
        let ratio = [0.0, 0.0, 0.5][chance.below(3) as usize];
        let deletes = chance.below(3) == 0;
        let policy = if deletes { CleanupPolicy::CompactAndDelete } else { CleanupPolicy::Compact };
        let mut config = LogConfig::default()
            .cleanup_policy(policy)
            .clock(clock.clone())
            .segment_bytes(pick(&mut chance, &[450, 900, 900, 4000]) as u64)
            .index_interval_bytes(pick(&mut chance, &[0, 0, 400]) as u64)
            .dedupe_buffer_bytes(pick(&mut chance, &[1024, 1024, 1 << 20]) as usize)
            .delete_retention(millis(retention))
            .min_compaction_lag(millis(lag))
            .min_cleanable_dirty_ratio(ratio);
        if chance.below(4) == 0 {
            config = config.compression(Compression::of(Codec::Lz4));
        }
        if chance.below(4) == 0 {
            config = config.max_compaction_lag(millis(lag + 800));
        }
        if deletes && chance.below(2) == 0 {
            config = config.retention_age(millis(4000));
        }
        let shape = Shape {
            keys: pick(&mut chance, &[2, 8, 150]) as u64,
            bytes: pick(&mut chance, &[4, 60]) as u64,
            at: T0,
        };
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let (model, done) = (Keyed::default(), Vec::new());
        let (passes, several) = (0, 0);
        Life {
            chance,
            fs,
            clock,
            config,
            log,
            model,
            shape,
            lag,
            retention,
            ratio,
            deletes,
            done,
            passes,
            several,
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    fn reopen(&mut self, fs: MemFs) {
        self.fs = fs;
        self.log = Log::open(DIR, self.config.clone().fs(self.fs.clone())).unwrap();
        assert_eq!(staged(&self.fs), [""; 0]);
    }

    /// So many passes have cleaned the log below a bound.
    fn compacted(&mut self, bases: &[u64], passes: usize, first_dirty_offset: u64, all: bool) {
        self.passes += passes;
        self.several += usize::from(passes > 1);
        let (now, start) = (self.now(), self.log.offsets().start);
        let bound = self.model.bound(bases, now, self.lag);
        if passes == 0 {
            let is_dirty = start + 1..=bound;
            let stored = self.model.batches.iter().any(|batch| is_dirty.contains(&batch.next));
            assert!(!stored || !all, "nothing was done");
            return;
        }
        let found = read_all(&self.log);
        let expect = |bound: u64| {
            let mut model = self.model.clone();
            model.compact(bound, now, self.retention);
            if self.retention == 0 && passes > 1 {
                // Tombstones that the first pass dated may be removed by the second.
                let mut least = model.clone();
                least.compact(bound, now, 0);
                let must: Vec<Rec> = least.records().cloned().collect();
                if must.iter().all(|rec| found.contains(rec)) {
                    model.keep_only(&found);
                }
            }
            model.start = start;
            model
        };
        let model = expect(bound);
        let matches = |model: &Keyed| model.records().eq(&found);
        if matches(&model) || all {
            assert!(
                first_dirty_offset <= bound.max(start),
                "clean until {first_dirty_offset}, bound {bound}"
            );
            self.model = model;
        } else {
            // A clock that went back makes young again what was clean already.
            let other = bases.iter().map(|base| expect(*base)).find(matches);
            self.model = other.unwrap_or(model);
        }
    }

    fn step(&mut self) {
        let bases = bases(&self.fs);
        match self.chance.below(100) {
            0..45 => {
                self.shape.at = self.now();
                self.model.append(&self.log, &mut self.chance, self.shape);
                self.say("append");
            }
            45..53 => {
                self.log.roll().unwrap();
                self.say("roll");
            }
            53..58 => {
                self.log.flush().unwrap();
                self.say("flush");
            }
            58..68 => {
                self.say("compact");
                let report = self.log.compact().unwrap();
                self.compacted(&bases, report.passes, report.first_dirty_offset, true);
            }
            68..76 => {
                self.say("maintain");
                let report = self.log.maintain().unwrap();
                let compaction = report.compaction;
                if compaction.passes > 0 {
                    let before = self.model.start;
                    self.compacted(&bases, compaction.passes, compaction.first_dirty_offset, false);
                    assert!(self.deletes || before == report.start);
                } else if self.ratio == 0.0 && self.lag == 0 {
                    self.check_is_clean(*bases.last().unwrap());
                }
                assert!(report.start >= self.model.start);
                self.model.start = report.start;
            }
            76..83 => {
                let back = [1, 2, 5, 20, 60][self.chance.below(5) as usize];
                let target = self.model.end.saturating_sub(back).max(self.model.start);
                self.say(&format!("truncate to {target}"));
                self.log.truncate_to(target).unwrap();
                self.model.truncate(target);
            }
            83..85 if self.deletes => {
                let span = self.model.end - self.model.start;
                let target = self.model.start + self.chance.below(span / 2 + 1);
                self.say(&format!("delete before {target}"));
                self.log.delete_before(target).unwrap();
                self.model.start = target;
            }
            85..91 => {
                let by = [1, 300, 1000, 4000][self.chance.below(4) as usize];
                self.say(&format!("advance {by}"));
                self.clock.advance(millis(by));
            }
            91..92 => {
                self.say("jump back");
                self.clock.set(Timestamp::from_millis(self.now() - 2000));
            }
            92..94 => {
                self.say("close");
                self.log.clone().close().unwrap();
                self.reopen(self.fs.clone());
                assert!(self.log.recovery().clean_shutdown);
            }
            94..96 => {
                self.say("kill");
                self.reopen(self.fs.kill());
            }
            _ => {
                let way = Way::any(&mut self.chance);
                self.say(&format!("power fails: {way:?}"));
                let durable = self.log.offsets().durable;
                self.reopen(way.disk(&self.fs));
                let end = self.log.offsets().end;
                assert!(durable <= end && end <= self.model.end, "{durable} was durable, {end}");
                self.model.lose_above(end);
            }
        }
        self.model.check(&self.log, &mut self.chance);
        assert_eq!(staged(&self.fs), [""; 0]);
        let cleaned = files(&self.fs, DIR).remove("cleaner-offset-checkpoint");
        let cleaned = cleaned.and_then(|text| {
            String::from_utf8(text).unwrap().split_whitespace().last().map(|n| n.parse().unwrap())
        });
        assert!(cleaned.unwrap_or(0) <= self.model.end, "{cleaned:?}");
    }

    /// There was nothing to do below: each key is there once.
    fn check_is_clean(&self, bound: u64) {
        let below: Vec<_> = self.model.records().filter(|rec| rec.offset < bound).collect();
        for (n, rec) in below.iter().enumerate() {
            let later = below[n + 1..].iter().find(|other| other.key == rec.key);
            assert!(later.is_none(), "{} is superseded by {later:?}", rec.offset);
        }
    }

    fn say(&mut self, what: &str) {
        self.done.push(format!("{what} (end {})", self.model.end));
    }
}

#[test]
fn compacted_log_matches_model() {
    let steps = std::env::var("ANNALS_COMPACTION_STEPS").map_or(220, |text| text.parse().unwrap());
    let (mut passes, mut several) = (0, 0);
    for seed in seeds("ANNALS_COMPACTION_SEEDS", 30) {
        let mut life = Life::new(seed);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..steps).for_each(|_| life.step());
        }));
        if let Err(panic) = outcome {
            let from = life.done.len().saturating_sub(25);
            let last = life.done[from..].join("\n  ");
            say(&format!("ANNALS_COMPACTION_SEEDS={seed}, step {}:\n  {last}", life.done.len()));
            std::panic::resume_unwind(panic);
        }
        passes += life.passes;
        several += life.several;
    }
    say(&format!("{passes} passes; {several} calls needed more than one"));
    assert!(passes > 0 && several > 0);
}

fn damaged_log(config: &LogConfig) -> (MemFs, Vec<u8>, String) {
    let fs = MemFs::new();
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    let mut model = Keyed::default();
    for n in 0..4 {
        (0..3).for_each(|k| model.put(&log, &format!("key-{k}"), Some("value"), T0 + n));
        log.roll().unwrap();
    }
    let damaged = name(6, "log");
    let bytes = read_file(&fs, DIR, &damaged);
    log.close().unwrap();
    (fs, bytes, damaged)
}

fn logs(fs: &MemFs) -> Vec<(String, Vec<u8>)> {
    files(fs, DIR).into_iter().filter(|(name, _)| name.ends_with(".log")).collect()
}

#[test]
fn compaction_stops_at_damage_until_reopened() {
    let (clock, heard) = (clock(), Arc::new(Heard::default()));
    let config = LogConfig::default()
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .min_cleanable_dirty_ratio(0.0)
        .clock(clock.clone());
    let (fs, bytes, damaged) = damaged_log(&config);
    for bit in (0..bytes.len() * 8).step_by(61) {
        let mut wrong = bytes.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let fs = fs.clone();
        write_file(&fs, DIR, &damaged, &wrong);
        let config = config.clone().fs(fs.kill());
        let log = Log::open(DIR, config).unwrap();
        let error = log.compact();
        // The epoch of a batch stands outside of its checksum.
        assert!(error.is_ok() || matches!(error, Err(Error::Corrupt(_))), "bit {bit}: {error:?}");
    }
    let mut wrong = bytes.clone();
    wrong[bytes.len() / 2] ^= 4;
    write_file(&fs, DIR, &damaged, &wrong);
    let limited = config.clone().retention_age(millis(1000)).listener(heard.clone());
    let log = Log::open(DIR, limited.fs(fs.clone())).unwrap();
    let before = logs(&fs);
    for _ in 0..2 {
        let error = log.compact().unwrap_err();
        assert!(matches!(&error, Error::Corrupt(found) if found.path.ends_with(&damaged)));
        assert_eq!(logs(&fs), before);
        assert_eq!(staged(&fs), [""; 0]);
    }
    let told = || {
        let heard = heard.0.lock().unwrap();
        heard.iter().filter(|event| matches!(event, Event::Uncleanable { .. })).count()
    };
    assert_eq!(told(), 2);
    clock.advance(millis(1002));
    let report = log.maintain().unwrap();
    assert_eq!((report.compaction.passes, told()), (0, 2), "it is not tried again");
    assert_eq!(report.segments_deleted, 2, "those in front of the damage are deleted");
    write_file(&fs, DIR, &damaged, &bytes);
    assert_eq!(log.maintain().unwrap().compaction.passes, 0, "not before it is opened anew");
    log.close().unwrap();
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    assert_eq!(log.maintain().unwrap().compaction.passes, 1);
    let offsets: Vec<u64> = read_all(&log).iter().map(|rec| rec.offset).collect();
    assert_eq!(offsets, [9, 10, 11]);
}

#[test]
fn uncompactable_records_stay_readable() {
    let fs = MemFs::new();
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).clock(clock());
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    let mut builder = BatchBuilder::new();
    builder.compression(Compression::of(Codec::Zstd));
    for _ in 0..2 {
        let record = Record::new(vec![0; 50_000]).key("large");
        builder.push_record(&record, Timestamp::from_millis(T0)).unwrap();
    }
    log.append_batch(builder.build().unwrap()).unwrap();
    log.close().unwrap();
    let narrow = config.clone().max_decompressed_bytes(10_000).fs(fs.clone());
    let log = Log::open(DIR, narrow).unwrap();
    log.roll().unwrap();
    let before = logs(&fs);
    let error = log.compact().unwrap_err();
    assert!(!matches!(error, Error::Io { .. } | Error::Poisoned { .. }), "{error}");
    assert_eq!(logs(&fs), before);
    assert_eq!(log.read(0, ReadLimits::default()).unwrap().batches().count(), 1);
    log.append(Record::new("on").key("k")).unwrap();
    log.close().unwrap();
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    log.roll().unwrap();
    assert_eq!(log.compact().unwrap().records_removed, 1);
}

#[test]
fn append_rejects_records_against_policy() {
    let config = LogConfig::default;
    let rejected = |config: LogConfig, what: &str| match config.validate() {
        Err(Error::InvalidConfig { option, .. }) => assert_eq!(option, what),
        other => panic!("{what}: {other:?}"),
    };
    let compacted = || config().cleanup_policy(CleanupPolicy::Compact);
    rejected(compacted().retention_age(millis(5)), "cleanup_policy");
    rejected(compacted().retention_bytes(5), "cleanup_policy");
    for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        rejected(compacted().min_cleanable_dirty_ratio(ratio), "min_cleanable_dirty_ratio");
    }
    rejected(compacted().max_compaction_lag(Duration::ZERO), "max_compaction_lag");
    let lags = compacted().min_compaction_lag(millis(9)).max_compaction_lag(millis(8));
    rejected(lags, "min_compaction_lag");
    rejected(compacted().dedupe_buffer_bytes(1023), "dedupe_buffer_bytes");
    compacted().dedupe_buffer_bytes(1024).min_cleanable_dirty_ratio(1.0).validate().unwrap();
    let both = config().cleanup_policy(CleanupPolicy::CompactAndDelete);
    both.clone().retention_bytes(5).retention_age(millis(5)).validate().unwrap();

    let open = |config: LogConfig| Log::open(DIR, config.fs(MemFs::new())).unwrap();
    let log = open(compacted());
    let told = log.append("no key").unwrap_err().to_string();
    assert!(told.starts_with(&format!("record 0 of the batch for log {DIR}: ")), "{told}");
    let mixed = [Record::new("v").key("k"), Record::new("no key")];
    assert!(log.append_all(mixed).is_err());
    assert_eq!(log.offsets().end, 0);
    log.append(Record::new("v").key("")).unwrap();
    let rejected = log.delete_before(1).unwrap_err();
    assert!(matches!(rejected, Error::InvalidConfig { option: "cleanup_policy", .. }));
    assert_eq!(
        rejected.to_string(),
        format!(
            "option `cleanup_policy` of log {DIR} is `Compact`, so `delete_before` is rejected; \
             append a tombstone for each key, or choose `CompactAndDelete`"
        )
    );
    assert_eq!(log.offsets().start, 0);
    assert_eq!(log.compact().unwrap().passes, 0, "all of it is in the active segment");
    let log = open(config());
    log.append("no key").unwrap();
    let rejected = log.compact().unwrap_err();
    assert!(matches!(rejected, Error::InvalidConfig { .. }));
    let told = format!("of log {DIR} is `Delete`, so `compact` is rejected");
    assert!(rejected.to_string().contains(&told), "{rejected}");
    assert_eq!(log.maintain().unwrap().compaction.passes, 0);
}

#[test]
fn future_records_wait_out_compaction_lag() {
    let (fs, clock) = (MemFs::new(), clock());
    let config = LogConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .min_cleanable_dirty_ratio(0.0)
        .min_compaction_lag(millis(500))
        .clock(clock.clone());
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    let mut model = Keyed::default();
    for time in [T0 - 9000, T0 - 8000, T0 + 5000, T0 - 7000] {
        model.put(&log, "k", Some("v"), time);
        log.roll().unwrap();
    }
    let offsets = |log: &Log| read_all(log).iter().map(|rec| rec.offset).collect::<Vec<_>>();
    assert_eq!(log.compact().unwrap().first_dirty_offset, 2);
    assert_eq!(offsets(&log), [1, 2, 3], "what comes behind the young one waits with it");
    clock.advance(millis(5499));
    log.compact().unwrap();
    assert_eq!(log.maintain().unwrap().compaction.passes, 0);
    assert_eq!(offsets(&log), [1, 2, 3]);
    clock.advance(millis(1));
    assert_eq!(log.maintain().unwrap().compaction.passes, 1);
    assert_eq!(offsets(&log), [3]);
}

/// Trap: records appended in place of truncated ones count as clean, so that both records of a key
/// stay.
#[test]
fn appends_after_truncation_are_dirty() {
    let fs = MemFs::new();
    let config = LogConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .min_cleanable_dirty_ratio(0.0)
        .clock(clock());
    let mut log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    let mut model = Keyed::default();
    (0..8).for_each(|n| model.put(&log, &format!("key-{n}"), Some("v"), T0));
    log.roll().unwrap();
    log.maintain().unwrap();
    for reopened in [false, true] {
        log.truncate_to(4).unwrap();
        if reopened {
            log = Log::open(DIR, config.clone().fs(Way::SyncedOnly.disk(&fs))).unwrap();
        }
        model.truncate(4);
        (0..4).for_each(|n| model.put(&log, &format!("key-{n}"), None, T0));
        log.roll().unwrap();
        assert_eq!(log.maintain().unwrap().compaction.passes, 1);
        let offsets: Vec<u64> = read_all(&log).iter().map(|rec| rec.offset).collect();
        assert_eq!(offsets, [4, 5, 6, 7], "reopened: {reopened}");
        if !reopened {
            log.truncate_to(0).unwrap();
            model.truncate(0);
            (0..8).for_each(|n| model.put(&log, &format!("key-{n}"), Some("v"), T0));
            log.roll().unwrap();
            log.maintain().unwrap();
        }
    }
}

/// A broker that truncates and appends keeps its own checkpoint elsewhere, and leaves this one as
/// it is.
#[test]
fn cleaner_checkpoint_is_void_after_broker() {
    let fs = MemFs::new();
    let config = || LogConfig::default().cleanup_policy(CleanupPolicy::Compact).fs(fs.clone());
    let log = Log::open(DIR, config()).unwrap();
    for _ in 0..3 {
        log.append(Record::new("v").key("k")).unwrap();
        log.roll().unwrap();
    }
    log.compact().unwrap();
    assert_eq!(log.stats().unwrap().first_dirty_offset, 3);
    log.close().unwrap();
    let log = Log::open(DIR, config()).unwrap();
    assert_eq!(log.stats().unwrap().first_dirty_offset, 3);
    log.close().unwrap();
    write_file(&fs, DIR, ".kafka_cleanshutdown", br#"{"version":0,"brokerEpoch":7}"#);
    let log = Log::open(DIR, config()).unwrap();
    assert_eq!(log.stats().unwrap().first_dirty_offset, 0);
    assert_eq!(log.compact().unwrap().records_kept, 1);
}

/// If the log's codec compresses worse than the producer's, the output of a group could be larger
/// than a segment.
#[test]
fn compaction_keeps_codec_when_smaller() {
    let fs = MemFs::new();
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).clock(clock());
    let config = config.segment_bytes(64 << 10).max_message_bytes(60 << 10).fs(fs.clone());
    let log = Log::open(DIR, config.clone()).unwrap();
    for batch in 0..100 {
        let mut builder = BatchBuilder::new();
        builder.compression(Compression::of(Codec::Zstd));
        for n in 0..100 {
            // Half of the keys are written again in the next batch.
            let record = Record::new(vec![b'v'; 400]).key(format!("{}", batch * 50 + n));
            builder.push_record(&record, Timestamp::from_millis(T0)).unwrap();
        }
        log.append_batch(builder.build().unwrap()).unwrap();
    }
    log.roll().unwrap();
    let before = read_all(&log);
    log.close().unwrap();
    let log = Log::open(DIR, config.compression(Compression::of(Codec::None))).unwrap();
    let report = log.compact().unwrap();
    assert_eq!(report.records_kept, 99 * 50 + 100);
    let expected: Vec<Rec> =
        before.into_iter().filter(|rec| rec.offset % 100 < 50 || rec.offset >= 9900).collect();
    assert_eq!(read_all(&log), expected);
    assert!(logs(&fs).iter().all(|(_, bytes)| bytes.len() <= 64 << 10));
    let batches = log.read(0, ReadLimits::bytes(1 << 20)).unwrap();
    assert!(batches.batches().all(|batch| batch.header().codec() == Codec::Zstd));
}
