//! A loss of power, and a kill, at every call a workload makes to the file system.
//!
//! `ANNALS_CRASH_SEEDS=3..40` chooses the seeds of the images that survive in part.
#![allow(
    dropping_copy_types,
    clippy::let_underscore_must_use,
    clippy::type_complexity,
    clippy::double_ended_iterator_last
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use annals::fs::{Fault, FaultFs, MemFs, Rule, Survive};
use annals::{Log, LogConfig, Record, Timestamp};
use std::sync::{Arc, Mutex};
use support::{DIR, Model, Rec, check_reopening_changes_nothing, read_all, seeds};

/// What was acknowledged when an image was taken, and what a call in progress may make of it.
#[derive(Debug, Clone)]
struct Promise {
    /// What is there if the call in progress changed nothing.
    now: Model,
    /// What it will be when the call is done; its batches are there wholly or not.
    next: Model,
}

struct Workload {
    fs: FaultFs,
    config: LogConfig,
    log: Option<Log>,
    promise: Arc<Mutex<Promise>>,
    count: u64,
}

impl Workload {
    fn model(&self) -> Model {
        self.promise.lock().unwrap().now.clone()
    }

    /// Runs a call that turns the model into `next`.
    fn run(&self, next: Model, call: impl FnOnce(&Log)) {
        self.promise.lock().unwrap().next = next.clone();
        call(self.log.as_ref().unwrap());
        self.promise.lock().unwrap().now = next;
    }

    fn append(&mut self, n: u64) {
        let mut next = self.model();
        let recs = (0..n).map(|i| Rec {
            offset: next.end + i,
            time: (self.count as i64 * 37) % 101,
            key: None,
            value: Some(format!("{}-{i}-{}", self.count, "x".repeat(90)).into_bytes()),
        });
        let recs: Vec<_> = recs.collect();
        self.count += 1;
        next.append(recs.clone());
        let records = recs
            .into_iter()
            .map(|rec| Record::new(rec.value.unwrap()).timestamp(Timestamp::from_millis(rec.time)));
        self.run(next, |log| drop(log.append_all(records).unwrap()));
    }

    fn flush(&self) {
        let mut next = self.model();
        next.durable = next.end;
        self.run(next, |log| drop(log.flush().unwrap()));
    }

    /// Several threads flush at once.
    fn flush_together(&self) {
        let mut next = self.model();
        next.durable = next.end;
        self.run(next, |log| {
            std::thread::scope(|scope| {
                (0..3).for_each(|_| drop(scope.spawn(|| log.flush().unwrap())));
            });
        });
    }

    fn roll(&self) {
        self.run(self.model(), |log| log.roll().unwrap());
    }

    fn truncate(&self, back: u64) {
        let mut next = self.model();
        let target = next.end.saturating_sub(back);
        // From the first step on, what was durable above the target is not promised any more.
        {
            let mut promise = self.promise.lock().unwrap();
            let kept = promise.now.batches.iter().filter(|b| b.last().unwrap().offset < target);
            let end_of_data = kept.last().map_or(0, |b| b.last().unwrap().offset + 1);
            promise.now.durable = promise.now.durable.min(end_of_data);
        }
        next.truncate(target);
        next.durable = target;
        self.run(next, |log| log.truncate_to(target).unwrap());
    }

    fn reopen(&mut self, clean: bool) {
        let mut next = self.model();
        let config = self.config.clone().fs(self.fs.clone());
        if clean {
            next.durable = next.end;
            self.run(next.clone(), |log| log.clone().close().unwrap());
        }
        self.log = None;
        let log = Log::open(DIR, config).unwrap();
        next.durable = next.end;
        self.promise.lock().unwrap().now = next;
        self.log = Some(log);
    }
}

fn script(w: &mut Workload) {
    (0..4).for_each(|n| w.append(1 + n % 3));
    w.flush();
    (0..6).for_each(|n| w.append(1 + n % 3));
    w.roll();
    w.append(2);
    w.flush_together();
    w.append(3);
    w.truncate(1);
    w.append(2);
    w.reopen(false);
    (0..5).for_each(|n| w.append(1 + n % 2));
    w.truncate(9);
    w.append(3);
    w.roll();
    w.reopen(true);
    w.append(1);
    w.flush();
    w.append(3);
    w.truncate(2);
    w.truncate(0);
    w.append(2);
    w.reopen(false);
    w.roll();
    w.append(1);
    w.reopen(true);
    w.truncate(30);
    w.append(1);
    w.reopen(true);
}

/// What an image may hold: a beginning of one of the two states, and all that was durable in both.
fn check(promise: &Promise, log: &Log, killed: bool) -> Model {
    let end = log.offsets().end;
    let found = read_all(log);
    let states = [&promise.now, &promise.next];
    let same = |state: &&&Model| {
        let kept = state.records().filter(|r| r.offset < end).eq(&found);
        let boundary = end == 0
            || end == state.end
            || state
                .batches
                .iter()
                .any(|batch| batch[0].offset == end || batch.last().unwrap().offset + 1 == end);
        kept && boundary && end <= state.end
    };
    let Some(state) = states.iter().find(same) else {
        panic!(
            "it holds {} records and ends at {end}, which it never did: {promise:?}",
            found.len()
        );
    };
    let floor = match killed {
        true => promise.now.end.min(promise.next.end),
        false => promise.now.durable,
    };
    let truncating = promise.next.end < promise.now.end;
    assert!(
        end >= floor || (killed && truncating && end >= promise.now.durable),
        "ends at {end}, below {floor}"
    );
    assert_eq!(log.verify().unwrap(), []);
    let mut model = Model::clone(state);
    model.truncate(end);
    model.durable = end;
    model
}

/// Takes images of the disk at every call, and opens each.
fn crash_everywhere(config: &LogConfig, seeds: std::ops::Range<u64>) -> usize {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    fs.record_trace(false);
    let promise = Promise { now: Model::default(), next: Model::default() };
    let promise = Arc::new(Mutex::new(promise));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (taken, promised) = (Arc::clone(&images), Arc::clone(&promise));
    fs.add(Rule::any(Fault::call(move |call| {
        let promise = promised.lock().unwrap().clone();
        taken.lock().unwrap().push((format!("{call:?}"), promise, memory.kill()));
    })));
    let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
    let mut workload =
        Workload { fs: fs.clone(), config: config.clone(), log: Some(log), promise, count: 0 };
    script(&mut workload);
    fs.clear_rules();
    drop(workload);

    let images = std::mem::take(&mut *images.lock().unwrap());
    let mut states = 0;
    for (number, (call, promise, image)) in images.into_iter().enumerate() {
        let mut ways = vec![Survive::SyncedOnly, Survive::Everything];
        ways.extend(seeds.clone().map(|seed| Survive::Some { seed: seed ^ (number as u64) << 20 }));
        let disks = ways.into_iter().map(|how| (format!("{how:?}"), false, image.crash(how)));
        for (how, killed, disk) in disks.chain([("kill".to_owned(), true, image.kill())]) {
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let again = disk.kill();
                let log = Log::open(DIR, config.clone().fs(disk.clone())).unwrap();
                let mut model = check(&promise, &log, killed);
                // It goes on from there, and what it acknowledges survives the next loss.
                let offset =
                    log.append(Record::new("on").timestamp(Timestamp::from_millis(7))).unwrap();
                assert_eq!(offset, model.end);
                let value = Some(b"on".to_vec());
                model.append(vec![Rec { offset, time: 7, key: None, value }]);
                model.durable = log.flush().unwrap();
                drop(log);
                let log =
                    Log::open(DIR, config.clone().fs(disk.crash(Survive::SyncedOnly))).unwrap();
                model.check_survived(&log);
                if number % 16 == 0 {
                    check_reopening_changes_nothing(&again, config);
                }
            }));
            assert!(opened.is_ok(), "{how} at call {number}, before {call}");
            states += 1;
        }
    }
    states
}

#[test]
fn whenever_the_power_fails_what_was_acknowledged_is_there() {
    let seeds = seeds("ANNALS_CRASH_SEEDS", 2);
    let small = LogConfig::default().segment_bytes(700).index_interval_bytes(0);
    let mut states = crash_everywhere(&small, seeds.clone());
    let large = LogConfig::default().index_interval_bytes(200);
    states += crash_everywhere(&large, seeds.clone());
    states += crash_everywhere(&small.clone().preallocate(true), seeds);
    assert!(states > 5000, "only {states} states");
    if std::env::var("ANNALS_CRASH_SEEDS").is_ok() {
        let _ =
            std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{states} states\n"));
    }
}

/// The name of a new segment must be on the medium before what is in it counts as durable. A flush that
/// stores the recovery point syncs the directory by the way; one that has no room for it must all the same.
#[test]
fn a_new_segment_is_there_when_what_is_in_it_was_flushed() {
    use annals::fs::{Fault, FaultFs, Operation, Rule};
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let log = Log::open("t-0", LogConfig::default().fs(fs.clone())).unwrap();
    log.append("first").unwrap();
    log.roll().unwrap();
    log.append("second").unwrap();
    fs.add(
        Rule::new(Operation::CreateNew, Fault::Error(std::io::ErrorKind::StorageFull))
            .path("recovery-point"),
    );
    assert_eq!(log.flush().unwrap(), 2);
    let after = disk.crash(Survive::SyncedOnly);
    let log = Log::open("t-0", LogConfig::default().fs(after)).unwrap();
    assert_eq!(log.offsets().end, 2);
    assert_eq!(log.get(1).unwrap().unwrap().value_str(), Some("second"));
}
