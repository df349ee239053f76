//! Each call of a compaction of transactions fails, or is the last before a crash: what a reader of
//! committed records finds stays the same.
//!
//! `ANNALS_COMPACTION_SEEDS=0..12` tries all calls; each seed takes a twelfth of them.

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    CleanupPolicy, Error, IsolationLevel, Log, LogConfig, ManualClock, Offset, ProducerIdentity,
    Record, Timestamp, TransactionVersion,
};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::keyed::{staged, table};
use support::sim::Way;
use support::{Chance, DIR, Rec, T0, clock, files, name, say, seeds};

fn config(clock: &Arc<ManualClock>) -> LogConfig {
    LogConfig::default()
        .cleanup_policy(CleanupPolicy::Compact)
        .clock(clock.clone())
        .segment_bytes(900)
        .index_interval_bytes(0)
        .min_cleanable_dirty_ratio(0.0)
        .delete_retention(Duration::from_millis(500))
}

/// What readers of committed records find, and up to where.
#[derive(Debug, Clone)]
struct Committed {
    records: Vec<Rec>,
    stable: Offset,
}

impl Committed {
    fn of(log: &Log) -> Committed {
        let reader = log.isolated(IsolationLevel::ReadCommitted).reader(0).unwrap();
        let records = reader.records().map(|record| record.unwrap().into()).collect();
        Committed { records, stable: log.offsets().last_stable }
    }

    fn check(&self, log: &Log) {
        let found = Committed::of(log);
        assert_eq!(found.stable, self.stable);
        assert!(found.records.iter().all(|rec| self.records.contains(rec)), "of an aborted one");
        assert_eq!(table(&found.records), table(&self.records));
        // Stored indexes of aborted transactions are what the batches say. A poisoned log may have
        // its files under other names.
        let verified = log.verify();
        match log.maintain() {
            Err(Error::Poisoned { .. }) => drop(verified),
            _ => assert_eq!(verified.unwrap(), []),
        }
    }
}

/// Transactions of three producers over several segments. One of them ends in the active segment,
/// one never.
fn fill(log: &Log, seed: u64) {
    let mut chance = Chance(seed);
    let mut sequences = [(0, 0); 3];
    let send = |at: usize, chance: &mut Chance, sequences: &mut [(i16, i32); 3]| {
        let mut builder = BatchBuilder::new();
        let (epoch, sequence) = &mut sequences[at];
        builder.producer(10 + at as i64, *epoch, *sequence).transactional(true);
        *sequence += 2;
        for _ in 0..2 {
            let (key, value) = (format!("key-{}", chance.below(9)), chance.below(1000).to_string());
            let value = (chance.below(6) > 0).then_some(value.as_bytes());
            let time = Timestamp::from_millis(T0);
            builder.push(time, Some(key.as_bytes()), value).unwrap();
        }
        log.append_batch(builder.build().unwrap()).unwrap();
    };
    let end = |at: usize, committed: bool, sequences: &mut [(i16, i32); 3]| {
        sequences[at] = (sequences[at].0 + 1, 0);
        let producer = ProducerIdentity { id: 10 + at as i64, epoch: sequences[at].0 };
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        log.append_marker(producer, marker, TransactionVersion::V2).unwrap();
    };
    for _ in 0..40 {
        let at = chance.below(3) as usize;
        match chance.below(10) {
            0..6 => send(at, &mut chance, &mut sequences),
            6..9 => end(at, chance.below(2) == 0, &mut sequences),
            _ => {
                let key = format!("key-{}", chance.below(9));
                let record = Record::new("plain").key(key);
                log.append(record.timestamp(Timestamp::from_millis(T0))).unwrap();
            }
        }
    }
    (1..3).for_each(|at| end(at, at == 1, &mut sequences));
    send(0, &mut chance, &mut sequences);
    log.roll().unwrap();
    end(0, false, &mut sequences);
    send(1, &mut chance, &mut sequences);
}

/// A log, compacted in part, so that some of its markers have a delete horizon.
fn prepared(clock: &Arc<ManualClock>) -> MemFs {
    let disk = MemFs::new();
    let log = Log::open(DIR, config(clock).fs(disk.clone())).unwrap();
    fill(&log, 3);
    log.compact().unwrap();
    log.flush().unwrap();
    disk
}

fn reopen(disk: &MemFs, clock: &Arc<ManualClock>, before: &Committed, n: u64) {
    for way in [Way::Kill, Way::SyncedOnly, Way::Some(n)] {
        let disk = way.disk(disk);
        let log = Log::open(DIR, config(clock).fs(disk.clone())).unwrap();
        assert_eq!(staged(&disk), [""; 0]);
        before.check(&log);
        log.compact().unwrap();
        before.check(&log);
        clock.advance(Duration::from_millis(501));
        log.compact().unwrap();
        before.check(&log);
    }
}

/// Makes the passes that remove all markers that can go.
fn compact(log: &Log, clock: &ManualClock) -> annals::Result<()> {
    for _ in 0..3 {
        log.compact()?;
        clock.advance(Duration::from_millis(501));
    }
    Ok(())
}

#[test]
fn transactions_survive_failure_of_each_call() {
    let time = clock();
    let disk = prepared(&time);
    let before = Committed::of(&Log::open(DIR, config(&time).fs(disk.kill())).unwrap());
    let mut count = 0;
    let kinds = [ErrorKind::StorageFull, ErrorKind::Other];
    for seed in seeds("ANNALS_COMPACTION_SEEDS", 1) {
        for (kind, forever) in kinds.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
            for n in (1 + (seed + u64::from(forever)) % 12..).step_by(12) {
                say(&format!("{kind:?}, call {n}, forever {forever}"));
                let (disk, clock) = (disk.kill(), clock());
                let fs = FaultFs::new(disk.clone());
                let log = Log::open(DIR, config(&clock).fs(fs.clone())).unwrap();
                let rule = Rule::any(Fault::Error(kind));
                let rule = fs.add_rule(if forever { rule.from_nth(n) } else { rule.nth(n) });
                let compacted = compact(&log, &clock);
                let fired = fs.hit_count(rule) > 0;
                fs.clear_rules();
                match &compacted {
                    Ok(_) | Err(Error::Io { .. } | Error::Poisoned { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
                before.check(&log);
                if !matches!(log.roll(), Err(Error::Poisoned { .. })) {
                    compact(&log, &clock).unwrap();
                    before.check(&log);
                }
                drop(log);
                reopen(&disk, &clock, &before, n);
                count += u64::from(fired);
                if !fired {
                    break;
                }
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn transactions_survive_crash_at_each_call() {
    let time = clock();
    let disk = prepared(&time);
    let before = Committed::of(&Log::open(DIR, config(&time).fs(disk.kill())).unwrap());
    let disk = disk.kill();
    let fs = FaultFs::new(disk.clone());
    fs.record_trace(false);
    let log = Log::open(DIR, config(&time).fs(fs.clone())).unwrap();
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, camera) = (Arc::clone(&images), disk.clone());
    fs.add_rule(Rule::any(Fault::call(move |call| {
        let reads = matches!(
            call.operation,
            Operation::Open | Operation::List | Operation::Len | Operation::Read | Operation::View
        );
        if !reads {
            taken.lock().unwrap().push(camera.kill());
        }
    })));
    compact(&log, &time).unwrap();
    before.check(&log);
    let images = images.lock().unwrap();
    let mut count = 0;
    for seed in seeds("ANNALS_COMPACTION_SEEDS", 1) {
        for (n, image) in images.iter().enumerate().skip((seed % 3) as usize).step_by(3) {
            say(&format!("seed {seed}, image {n}"));
            reopen(image, &clock(), &before, n as u64 + seed);
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// The snapshot at the second segment has a transaction open whose records and marker compaction
/// removed later. After a crash that took the newer snapshots, that transaction was open again:
/// readers of committed records stopped where it had begun, not before the one that is open.
#[test]
fn removed_marker_leaves_no_open_transaction() {
    let (disk, clock) = (MemFs::new(), clock());
    let log = Log::open(DIR, config(&clock).fs(disk.clone())).unwrap();
    let wide = |key: &str| Record::new("v".repeat(700)).key(key.to_owned());
    let send = |epoch: i16| {
        let mut builder = BatchBuilder::new();
        builder.producer(7, epoch, 0).transactional(true);
        builder.push(Timestamp::from_millis(T0), Some(b"key"), Some(b"value")).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap().first
    };
    send(0);
    log.append(wide("a")).unwrap();
    log.roll().unwrap();
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    let producer = ProducerIdentity { id: 7, epoch: 1 };
    log.append_marker(producer, marker, TransactionVersion::V2).unwrap();
    log.append(wide("b")).unwrap();
    log.append(Record::new("later").key("key")).unwrap();
    log.roll().unwrap();
    let open = send(1);
    compact(&log, &clock).unwrap();
    assert_eq!(log.offsets().last_stable, open);
    drop(log);
    let newer = files(&disk, DIR).into_keys().filter(|file| file.ends_with(".snapshot"));
    for file in newer.filter(|file| file.as_str() > &*name(2, "snapshot")) {
        disk.remove(&Path::new(DIR).join(file)).unwrap();
    }
    disk.remove(&Path::new(DIR).join(".kafka_cleanshutdown")).ok();
    let log = Log::open(DIR, config(&clock).fs(disk.kill())).unwrap();
    assert_eq!(log.offsets().last_stable, open);
    assert_eq!(log.verify().unwrap(), []);
}
