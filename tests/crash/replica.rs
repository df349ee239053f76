//! A follower agrees with its leader after a crash or a fault at any call.
//!
//! `REPLICA_SEED` chooses the seeds: `17` runs one, `0..3000` many.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::images::Images;
use support::{Chance, DIR, T0, clock, say, seeds};

const PRODUCERS: u64 = 3;

fn config() -> LogConfig {
    LogConfig::default()
        .segment_bytes(700)
        .index_interval_bytes(150)
        .replicated(true)
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .min_cleanable_dirty_ratio(0.0)
        .clock(clock())
}

/// A follower compacts nothing itself, but its leader may have left offsets out.
fn follower(fs: impl Fs) -> LogConfig {
    config().min_compaction_lag(Duration::from_secs(1 << 30)).fs(fs)
}

/// A leader, which neither crashes nor truncates anything.
struct Leader {
    log: Log,
    epoch: LeaderEpoch,
    /// The value of each record, also of those that were compacted since.
    values: BTreeMap<Offset, String>,
    aborted: BTreeSet<Offset>,
    /// The records of the open transaction of each producer, and its next sequence number.
    open: BTreeMap<ProducerId, Vec<Offset>>,
    sequences: BTreeMap<ProducerId, Sequence>,
}

impl Leader {
    fn new() -> Leader {
        Leader {
            log: Log::open(DIR, config().fs(MemFs::new())).unwrap(),
            epoch: 0,
            values: BTreeMap::new(),
            aborted: BTreeSet::new(),
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
        }
    }

    fn append(&mut self, chance: &mut Chance) {
        let mut builder = BatchBuilder::new();
        let id = 1 + chance.below(PRODUCERS) as ProducerId;
        let is_transactional = chance.below(2) == 0;
        let count = 1 + chance.below(3);
        if is_transactional {
            let sequence = self.sequences.entry(id).or_default();
            builder.producer(id, 0, *sequence).transactional(true);
            *sequence += count as Sequence;
        }
        for n in 0..count {
            let value = format!("{n} of {}", self.log.offsets().end);
            let key = format!("k{}", chance.below(5));
            let at = Timestamp::from_millis(T0);
            builder.push(at, Some(key.as_bytes()), Some(value.as_bytes())).unwrap();
        }
        let first = self.log.offsets().end;
        let appended = self.log.append_batch(builder.build().unwrap()).unwrap();
        for (offset, n) in (appended.first..=appended.last).zip(0..) {
            self.values.insert(offset, format!("{n} of {first}"));
            if is_transactional {
                self.open.entry(id).or_default().push(offset);
            }
        }
    }

    fn end_one(&mut self, chance: &mut Chance) {
        let Some((id, offsets)) = self.open.pop_first() else { return };
        let committed = chance.below(2) == 0;
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let producer = ProducerIdentity { id, epoch: 0 };
        self.log.append_marker(producer, marker, TransactionVersion::V0).unwrap();
        if !committed {
            self.aborted.extend(offsets);
        }
    }

    fn act(&mut self, chance: &mut Chance) {
        match chance.below(10) {
            0..6 => self.append(chance),
            6 | 7 => self.end_one(chance),
            8 => {
                self.epoch += 1 + chance.below(2) as LeaderEpoch;
                self.log.set_leader_epoch(self.epoch).unwrap();
            }
            _ => {
                self.log.roll().unwrap();
                self.log.set_high_watermark(u64::MAX).unwrap();
                self.log.compact().unwrap();
            }
        }
    }
}

type Records = BTreeMap<Offset, String>;

fn try_records(log: &Log, level: IsolationLevel) -> Result<Records> {
    let mut reader = log.isolated(level).reader(StartAt::Earliest)?;
    let mut found = Records::new();
    while let Some(record) = reader.next_record()? {
        found.insert(record.offset, record.value_str().unwrap().to_owned());
    }
    Ok(found)
}

fn records(log: &Log, level: IsolationLevel) -> Records {
    try_records(log, level).unwrap()
}

/// What a crash may find: the follower before the present call or after it.
#[derive(Debug, Clone, Default)]
struct Promise {
    before: Records,
    after: Records,
    /// A log that begins anew is truncated first.
    between: Records,
    /// No opening may find a higher one.
    high_watermark: Offset,
    /// The end of what was flushed and not removed since.
    durable: Offset,
}

/// Returns the end of the batches that a truncation to an offset leaves.
fn boundary(log: &Log, target: Offset) -> Result<Offset> {
    let mut reader = log.isolated(IsolationLevel::LogEnd).reader(StartAt::Earliest)?;
    while let Some(batch) = reader.next_batch()? {
        let header = batch.header();
        if header.base_offset < target && header.last_offset() >= target {
            return Ok(header.base_offset);
        }
    }
    Ok(target)
}

/// Does something to the follower. What it has then is known before the call.
fn act(log: &Log, leader: &Leader, promise: &Mutex<Promise>, chance: &mut Chance) -> Result<()> {
    let offsets = log.offsets();
    let (start, end) = (offsets.start, offsets.end);
    let expect = |after: Records, high_watermark: Offset, durable: Offset| {
        let mut promise = promise.lock().unwrap();
        promise.after = after;
        promise.high_watermark = high_watermark.max(offsets.high_watermark);
        promise.durable = promise.durable.min(durable);
    };
    let has = try_records(log, IsolationLevel::LogEnd)?;
    match chance.below(16) {
        0..6 => {
            // It is compacted at the leader, so it may begin anywhere above.
            let view = leader.log.isolated(IsolationLevel::LogEnd);
            let limit = ReadLimits::bytes(1 + chance.below(500) as usize);
            if end < leader.log.offsets().start || end > leader.log.offsets().end {
                return Ok(());
            }
            let fetched = view.read(end, limit)?;
            let mut after = has.clone();
            for record in fetched.records()? {
                after.insert(record.offset, record.value_str().unwrap().to_owned());
            }
            expect(after, 0, Offset::MAX);
            match log.append_as_follower(&fetched.bytes) {
                // A batch that compaction left begins below.
                Err(Error::UnexpectedOffset { .. }) => promise.lock().unwrap().after = has,
                appended => drop(appended?),
            }
        }
        6 | 7 => {
            let wanted = start + chance.below(end - start + 2);
            expect(has, wanted, Offset::MAX);
            let set = log.set_high_watermark(wanted)?;
            promise.lock().unwrap().high_watermark = set;
            return Ok(());
        }
        8 => log.roll()?,
        9 => {
            log.flush()?;
            promise.lock().unwrap().durable = end;
        }
        10 => drop(log.maintain()?),
        11 | 12 => {
            let back = [1, 2, 3, 7, 20][chance.below(5) as usize];
            let target = end.saturating_sub(back).max(start);
            let whole = boundary(log, target)?;
            let kept = has.range(..whole).map(|(o, v)| (*o, v.clone())).collect();
            expect(kept, 0, whole);
            log.truncate_to(target)?;
        }
        13 => {
            let target = start + chance.below(offsets.high_watermark - start + 1);
            let kept = has.range(target..).map(|(o, v)| (*o, v.clone())).collect();
            expect(kept, 0, Offset::MAX);
            log.delete_before(target)?;
        }
        _ => {
            // Down, inside of it, to its end, and up, to where a batch of the leader begins.
            let bases: Vec<Offset> = leader.values.keys().copied().collect();
            let at = |n: u64| bases.get(n as usize).copied().unwrap_or(0);
            let offset = match chance.below(3) {
                0 => end,
                _ => at(chance.below(bases.len() as u64 + 1)),
            };
            expect(Records::new(), offset, 0);
            let whole = boundary(log, offset.max(start))?;
            promise.lock().unwrap().between =
                has.range(..whole).map(|(o, v)| (*o, v.clone())).collect();
            log.truncate_fully_and_start_at(offset)?;
            promise.lock().unwrap().high_watermark = offset;
            return Ok(());
        }
    }
    promise.lock().unwrap().high_watermark = log.offsets().high_watermark;
    Ok(())
}

fn has_returned(promise: &Mutex<Promise>, log: &Log) {
    let mut promise = promise.lock().unwrap();
    let has = records(log, IsolationLevel::LogEnd);
    assert_eq!(has, promise.after);
    promise.between = has.clone();
    promise.before = has;
}

/// Checks what a follower has against what the leader ever had.
fn check(log: &Log, leader: &Leader, place: &str) -> Records {
    let offsets = log.offsets();
    let all = records(log, IsolationLevel::LogEnd);
    for (offset, value) in &all {
        assert_eq!(leader.values.get(offset), Some(value), "{place}: {offset}");
    }
    assert!(offsets.start <= offsets.high_watermark, "{place}: {offsets:?}");
    assert!(offsets.last_stable <= offsets.high_watermark, "{place}: {offsets:?}");
    assert!(offsets.high_watermark <= offsets.end, "{place}: {offsets:?}");
    let mut committed = all.clone();
    committed.retain(|offset, _| *offset < offsets.last_stable && !leader.aborted.contains(offset));
    // A batch that the bound cuts is withheld whole.
    let shown = records(log, IsolationLevel::ReadCommitted);
    let cut = committed.keys().filter(|offset| !shown.contains_key(offset)).count();
    assert!(cut < 3, "{place}: {shown:?} of {committed:?} below {}", offsets.last_stable);
    assert!(shown.iter().all(|(offset, _)| committed.contains_key(offset)), "{place}: {shown:?}");
    assert_eq!(log.verify().unwrap(), [], "{place}");
    all
}

/// Checks that another process finds the same.
fn check_reader(log: &Log, leader: &Leader, config: &LogConfig, place: &str) {
    let reader = Log::open_read_only(DIR, config.clone()).unwrap();
    let at = |offsets: Offsets| {
        (offsets.start, offsets.end, offsets.high_watermark, offsets.last_stable)
    };
    assert_eq!(at(reader.offsets()), at(log.offsets()), "{place}");
    assert_eq!(check(&reader, leader, place), records(log, IsolationLevel::LogEnd), "{place}");
}

fn check_image(disk: &MemFs, leader: &Leader, promise: Option<&Promise>, place: &str) {
    let config = follower(disk.clone());
    let before = disk.kill();
    // Before the log is recovered, another process may find damage, but nothing that is aborted.
    if let Ok(reader) = Log::open_read_only(DIR, follower(before.kill())) {
        let view = reader.isolated(IsolationLevel::ReadCommitted);
        let mut shown = view.reader(StartAt::Earliest).unwrap();
        while let Ok(Some(record)) = shown.next_record() {
            let at = record.offset;
            assert!(!leader.aborted.contains(&at), "{place}: {at}, {:?}", reader.offsets());
            let open = leader.open.values().flatten().any(|open| *open == at);
            assert!(!open, "{place}: {at}, {:?}", reader.offsets());
        }
    }
    let log = Log::open(DIR, config.clone()).unwrap_or_else(|error| {
        panic!("{place}: {error}, with {:?}", support::names(&before, DIR))
    });
    let found = check(&log, leader, place);
    check_reader(&log, leader, &config, place);
    let (start, end) = (log.offsets().start, log.offsets().end);
    if let Some(promise) = promise {
        let is = |expected: &Records| expected.range(start..end.max(start)).eq(found.iter());
        assert!(
            is(&promise.before) || is(&promise.between) || is(&promise.after),
            "{place}: {start} to {end}: {found:?} of {promise:?}"
        );
        assert!(log.offsets().high_watermark <= promise.high_watermark.max(start), "{place}");
        assert!(end >= promise.durable, "{place}: {end} of {}", promise.durable);
    }
    // It goes on.
    if (leader.log.offsets().start..leader.log.offsets().end).contains(&end) {
        let fetched =
            leader.log.isolated(IsolationLevel::LogEnd).read(end, ReadLimits::default()).unwrap();
        match log.append_as_follower(&fetched.bytes) {
            Err(Error::UnexpectedOffset { .. } | Error::StaleLeaderEpoch { .. }) => {}
            Err(Error::BatchTooLarge { .. }) => {}
            appended => drop(appended.unwrap()),
        }
        check(&log, leader, place);
        check_reader(&log, leader, &config, place);
    }
    let known = records(&log, IsolationLevel::LogEnd);
    let (stable, epochs) = (log.offsets(), log.leader_epochs().unwrap());
    log.close().unwrap();
    let log = Log::open(DIR, config.clone()).unwrap();
    assert!(log.recovery().clean_shutdown, "{place}");
    assert_eq!(check(&log, leader, place), known, "{place}");
    check_reader(&log, leader, &config, place);
    assert_eq!(log.offsets().last_stable, stable.last_stable, "{place}");
    assert_eq!(log.leader_epochs().unwrap(), epochs, "{place}");
}

#[test]
fn crash_at_any_call_leaves_part_of_leader() {
    let mut images = 0;
    for seed in seeds("REPLICA_SEED", 12) {
        let mut chance = Chance(seed);
        let (disk, taken, mut leader) = (MemFs::new(), Images::default(), Leader::new());
        let promise = Arc::new(Mutex::new(Promise::default()));
        let fs = FaultFs::new(disk.clone());
        let at_call = Arc::clone(&promise);
        taken.watch(&fs, &disk, move || at_call.lock().unwrap().clone());
        for _ in 0..3 {
            let log = Log::open(DIR, follower(fs.clone())).unwrap();
            has_returned(&promise, &log);
            for _ in 0..10 {
                leader.act(&mut chance);
                let has = records(&log, IsolationLevel::LogEnd);
                promise.lock().unwrap().after = has;
                act(&log, &leader, &promise, &mut chance).unwrap();
                has_returned(&promise, &log);
                check(&log, &leader, &format!("seed {seed}"));
            }
            if chance.below(2) == 0 {
                log.close().unwrap();
            }
        }
        for (number, image) in taken.take().into_iter().enumerate() {
            images += 1;
            for (way, (is_whole, disk)) in image.ways(seed).into_iter().enumerate() {
                let place = format!("seed {seed}, image {number}, way {way}, {}", image.call);
                let mut promise = image.promise.clone();
                if is_whole {
                    promise.durable = 0;
                }
                check_image(&disk, &leader, Some(&promise), &place);
            }
        }
    }
    say(&format!("replica: {images} images of a crash"));
}

#[test]
fn faults_leave_part_of_leader() {
    for seed in seeds("REPLICA_SEED", 200) {
        let mut chance = Chance(seed);
        let (mut memory, mut leader) = (MemFs::new(), Leader::new());
        for turn in 0..5 {
            let place = format!("seed {seed}, turn {turn}");
            let faults = FaultFs::new(memory.clone());
            let kind = [io::ErrorKind::Other, io::ErrorKind::StorageFull][chance.below(2) as usize];
            let (rule, at) = (Rule::any(Fault::Error(kind)), 1 + chance.below(150));
            let few = at + chance.below(4);
            faults.add_rule(match chance.below(3) {
                0 => rule.nth(at),
                1 => rule.from_nth(at),
                _ => rule.nth(few),
            });
            if let Ok(log) = Log::open(DIR, follower(faults.clone())) {
                for _ in 0..10 {
                    leader.act(&mut chance);
                    act(&log, &leader, &Mutex::default(), &mut chance).ok();
                }
                faults.clear_rules();
                if log.roll().is_ok() {
                    check(&log, &leader, &place);
                }
            }
            memory = match chance.below(4) {
                0 => memory.kill(),
                1 => memory.crash(CrashState::SyncedOnly),
                2 => memory.crash(CrashState::Random { seed }),
                _ => memory.crash(CrashState::AllWrites),
            };
            check_image(&memory, &leader, None, &place);
            memory = memory.kill();
        }
    }
}
