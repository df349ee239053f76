//! The file of leader epochs agrees with the batches after a crash or a fault at any call.
//!
//! `EPOCH_SEED` chooses the seeds: `17` runs one, `0..3000` many.

use annals::fs::{CrashState, Fault, FaultFs, MemFs, Rule};
use annals::{EpochStart, LeaderEpoch, Log, LogConfig, Offset, Record, StartAt};
use std::io;
use std::sync::{Arc, Mutex};
use support::images::Images;
use support::{Chance, DIR, clock, say, seeds};

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(500).index_interval_bytes(100).clock(clock())
}

/// Checks that each batch has the epoch that the file says, and that each epoch begins with a
/// batch, at the start of the log or at its end.
fn check(log: &Log, place: &str) {
    let epochs = log.leader_epochs().unwrap();
    let (start, end) = (log.offsets().start, log.offsets().end);
    let rises = |one: &EpochStart, next: &EpochStart| {
        one.epoch < next.epoch && one.start_offset < next.start_offset
    };
    assert!(epochs.is_sorted_by(rises), "{place}: {epochs:?}");
    let mut begins = vec![start, end];
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    while let Some(batch) = reader.next_batch().unwrap() {
        let header = batch.header();
        begins.push(header.base_offset);
        let at = header.base_offset.max(start);
        let known = log.epoch_of(at).unwrap().unwrap_or(-1);
        assert_eq!(known, header.leader_epoch, "{place}: the batch at {at}, {epochs:?}");
    }
    for epoch in &epochs {
        assert!(begins.contains(&epoch.start_offset), "{place}: {epoch:?}, {begins:?}");
    }
}

/// The leader of a log.
#[derive(Default)]
struct Leader {
    /// The highest epoch that it ever had.
    epoch: LeaderEpoch,
    /// The epoch that was set and has no record yet, which a crash may not lose.
    idle: Arc<Mutex<Option<EpochStart>>>,
}

/// Does something to the log.
fn act(log: &Log, leader: &mut Leader, chance: &mut Chance) -> annals::Result<()> {
    let end = log.offsets().end;
    let idle = |epoch| *leader.idle.lock().unwrap() = epoch;
    match chance.below(12) {
        0..5 => {
            let count = 1 + chance.below(3);
            let record = |n| Record::new(format!("a value, and its number {n}"));
            log.append_all((0..count).map(record))?;
        }
        5..7 => {
            idle(None);
            leader.epoch += chance.below(3) as LeaderEpoch;
            log.set_leader_epoch(leader.epoch)?;
            let latest = log.leader_epochs()?.last().copied();
            idle(latest.filter(|latest| latest.start_offset == end));
        }
        7 => log.roll()?,
        8 => drop(log.flush()?),
        9 | 10 => {
            idle(None);
            let back = [1, 2, 3, 7, 20][chance.below(5) as usize];
            log.truncate_to(end.saturating_sub(back).max(log.offsets().start))?;
        }
        _ => {
            idle(None);
            let back = [0, 1, 4, 9][chance.below(4) as usize];
            log.delete_before(end.saturating_sub(back).max(log.offsets().start))?;
        }
    }
    Ok(())
}

/// Opens the log that a crash left, checks it, goes on with it, and opens it again.
fn check_image(disk: &MemFs, idle: Option<EpochStart>, place: &str) -> Offset {
    let config = config().fs(disk.clone());
    let log = Log::open(DIR, config.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
    check(&log, place);
    let (end, found) = (log.offsets().end, log.leader_epochs().unwrap());
    if let Some(idle) = idle.filter(|idle| idle.start_offset == end) {
        assert_eq!(found.last(), Some(&idle), "{place}: the epoch of the leader is lost");
    }
    log.append("after the crash").unwrap();
    check(&log, place);
    let known = log.leader_epochs().unwrap();
    log.close().unwrap();
    let log = Log::open(DIR, config).unwrap();
    assert!(log.recovery().clean_shutdown, "{place}");
    assert_eq!(log.leader_epochs().unwrap(), known, "{place}");
    end
}

#[test]
fn crash_at_any_call_keeps_epochs_and_batches_in_step() {
    let mut images = 0;
    for seed in seeds("EPOCH_SEED", 12) {
        let mut chance = Chance(seed);
        let (disk, taken, mut leader) = (MemFs::new(), Images::default(), Leader::default());
        let fs = FaultFs::new(disk.clone());
        let promise = Arc::clone(&leader.idle);
        taken.watch(&fs, &disk, move || *promise.lock().unwrap());
        for _ in 0..3 {
            let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
            for _ in 0..8 {
                act(&log, &mut leader, &mut chance).unwrap();
                check(&log, &format!("seed {seed}"));
            }
            if chance.below(2) == 0 {
                log.close().unwrap();
            }
        }
        for (number, image) in taken.take().into_iter().enumerate() {
            images += 1;
            for (way, (_, disk)) in image.ways(seed).into_iter().enumerate() {
                let place = format!("seed {seed}, image {number}, way {way}, {}", image.call);
                check_image(&disk, image.promise, &place);
            }
        }
    }
    say(&format!("epochs: {images} images of a crash"));
}

#[test]
fn faults_keep_epochs_and_batches_in_step() {
    for seed in seeds("EPOCH_SEED", 300) {
        let mut chance = Chance(seed);
        let (mut memory, mut leader) = (MemFs::new(), Leader::default());
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
            if let Ok(log) = Log::open(DIR, config().fs(faults.clone())) {
                for _ in 0..10 {
                    act(&log, &mut leader, &mut chance).ok();
                }
                faults.clear_rules();
                // A log that an error has stopped can still be read, but memory and files differ.
                if log.append("still accepted").is_ok() {
                    check(&log, &place);
                }
            }
            memory = match chance.below(4) {
                0 => memory.kill(),
                1 => memory.crash(CrashState::SyncedOnly),
                2 => memory.crash(CrashState::Random { seed }),
                _ => memory.crash(CrashState::AllWrites),
            };
            check_image(&memory, None, &place);
            memory = memory.kill();
        }
    }
}
