//! Readers, truncations, deletions and closing during a compaction.

use annals::fs::{Call, DiskFs, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Error, Event, Log, LogConfig, ReadLimits, Reader, Record, StartAt, Timestamp,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::keyed::{Keyed, Shape, bases, staged, winners};
use support::{Chance, DIR, Heard, Rec, T0, clock, read_all};

fn config() -> LogConfig {
    LogConfig::default()
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .clock(clock())
        .segment_bytes(700)
        .index_interval_bytes(0)
}

/// A log of closed segments, some of them compacted before; of each key the last record comes
/// late.
fn prepared(seed: u64) -> (MemFs, Vec<Rec>) {
    let disk = MemFs::new();
    let log = Log::open(DIR, config().fs(disk.clone())).unwrap();
    let (mut model, mut chance) = (Keyed::default(), Chance(seed));
    let shape = |keys| Shape { keys, bytes: 50, at: T0 };
    (0..15).for_each(|_| model.append(&log, &mut chance, shape(60)));
    log.roll().unwrap();
    log.compact().unwrap();
    (0..25).for_each(|_| model.append(&log, &mut chance, shape(40)));
    log.roll().unwrap();
    log.flush().unwrap();
    let records = read_all(&log);
    (disk, records)
}

/// Calls that are made with nothing held that a reader needs.
fn is_change(call: &Call) -> bool {
    let path = call.path.to_string_lossy();
    let staged = [".cleaned", ".swap", ".deleted"].iter().any(|end| path.ends_with(end));
    staged || matches!(call.operation, Operation::Rename | Operation::SyncDir)
}

/// A reader, and what it has read.
struct Follower {
    reader: Reader,
    from: u64,
    read: Vec<Rec>,
}

impl Follower {
    fn step(&mut self, count: u64) {
        for _ in 0..count {
            let Some(record) = self.reader.next_record().unwrap() else { break };
            let record = Rec::from(record);
            let last = self.read.last().map_or(self.from, |last| last.offset + 1);
            assert!(record.offset >= last, "{} after {last}", record.offset);
            self.read.push(record);
        }
    }
}

thread_local! {
    static WITHIN: Cell<bool> = const { Cell::new(false) };
}

/// Runs at each call of the log but at those it makes itself.
fn at_each_call(fs: &FaultFs, work: impl Fn(&Call) + Send + Sync + 'static) {
    fs.add_rule(Rule::any(Fault::call(move |call| {
        if !WITHIN.get() && is_change(call) {
            WITHIN.set(true);
            work(call);
            WITHIN.set(false);
        }
    })));
}

#[test]
fn reader_sees_survivors_once_during_compaction() {
    for seed in 0..6 {
        let (disk, before) = prepared(seed);
        let must = winners(&before);
        let fs = FaultFs::new(disk.clone());
        fs.record_trace(false);
        let heard = Arc::new(Heard::default());
        let log = Log::open(DIR, config().fs(fs.clone()).listener(heard.clone())).unwrap();
        let end = log.offsets().end;
        let mut chance = Chance(seed);
        let mut follow = |n: u64| {
            let from = if n.is_multiple_of(2) { 0 } else { chance.below(end) };
            let mut follower = Follower { reader: log.reader(from).unwrap(), from, read: vec![] };
            follower.step(chance.below(1 + before.len() as u64));
            follower
        };
        let followers: Vec<Follower> = (0..12).map(&mut follow).collect();
        let followers = Arc::new(Mutex::new(followers));
        let calls = Arc::new(AtomicUsize::new(0));
        let tail = Mutex::new(log.tail(0).unwrap());
        let (shared, handle, count) = (Arc::clone(&followers), log.clone(), Arc::clone(&calls));
        let (all, stays) = (before.clone(), must.clone());
        at_each_call(&fs, move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst) as u64;
            let mut chance = Chance(n);
            let mut followers = shared.lock().unwrap();
            let one = chance.below(followers.len() as u64) as usize;
            followers[one].step(1 + chance.below(3));
            let offset = chance.below(end);
            match handle.get(offset).unwrap().map(Rec::from) {
                Some(found) => assert!(all.contains(&found)),
                None => assert!(stays.iter().all(|rec| rec.offset != offset), "{offset}"),
            }
            let fetched = handle.read(offset, ReadLimits::bytes(400)).unwrap();
            let fetched: Vec<Rec> = fetched.records().unwrap().into_iter().map(Rec::from).collect();
            assert!(fetched.iter().all(|rec| all.contains(rec)));
            let next = stays.iter().find(|rec| rec.offset >= offset);
            if let (Some(next), Some(first)) = (next, fetched.first()) {
                assert!(first.offset <= next.offset, "{} was left out", next.offset);
            }
            let time = stays[chance.below(stays.len() as u64) as usize].time;
            let found = handle.offset_for_time(Timestamp::from_millis(time)).unwrap();
            let first = stays.iter().find(|rec| rec.time >= time).unwrap().offset;
            assert!(found.is_some_and(|(found, _)| found <= first));
            if n.is_multiple_of(9) {
                assert_eq!(handle.verify().unwrap(), []);
                let offset = tail.lock().unwrap().next_record(Some(Duration::ZERO)).unwrap();
                assert!(offset.is_some());
                let all_now: Vec<Rec> = read_all(&handle);
                assert!(stays.iter().all(|rec| all_now.contains(rec)), "seen as a whole");
            }
        });
        let report = log.compact().unwrap();
        fs.clear_rules();
        assert!(report.records_removed > 0 && calls.load(Ordering::SeqCst) > 50);
        for follower in followers.lock().unwrap().iter_mut() {
            follower.step(u64::MAX);
            let from = follower.from;
            let missing = must.iter().find(|r| r.offset >= from && !follower.read.contains(r));
            assert!(missing.is_none(), "from {from}: {missing:?} is missing");
            assert!(follower.read.iter().all(|rec| before.contains(rec)));
        }
        assert_eq!(read_all(&log), must);
        let events = heard.0.lock().unwrap();
        let wrong = events.iter().find(|e| {
            !matches!(e, Event::Compacted(_) | Event::Flushed { .. } | Event::SegmentRolled { .. })
        });
        assert!(wrong.is_none(), "{wrong:?}");
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Truncate(u64),
    Delete(u64),
    Close,
}

/// Something else is done to the log, by another thread, from each call of a compaction on.
fn interrupt(disk: &MemFs, before: &[Rec], change: Change, nth: usize) -> bool {
    let disk = disk.kill();
    let fs = FaultFs::new(disk.clone());
    fs.record_trace(false);
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    let end = log.offsets().end;
    let (count, started) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let worker = Arc::new(Mutex::new(None));
    let (handle, slot, flag) = (log.clone(), Arc::clone(&worker), Arc::clone(&started));
    at_each_call(&fs, move |_| {
        if count.fetch_add(1, Ordering::SeqCst) + 1 != nth {
            return;
        }
        flag.store(true, Ordering::SeqCst);
        let log = handle.clone();
        let done = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&done);
        *slot.lock().unwrap() = Some(std::thread::spawn(move || {
            match change {
                Change::Truncate(target) => log.truncate_to(target).unwrap(),
                Change::Delete(target) => drop(log.delete_before(target).unwrap()),
                Change::Close => log.close().unwrap(),
            }
            over.store(true, Ordering::SeqCst);
        }));
        // Where the pass holds nothing, the change comes now; where it waits for the pass, soon
        // after.
        for _ in 0..300 {
            if done.load(Ordering::SeqCst) {
                break;
            }
            std::thread::yield_now();
        }
    });
    let compacted = log.compact();
    let worker = worker.lock().unwrap().take();
    if let Some(worker) = worker {
        worker.join().unwrap();
    }
    fs.clear_rules();
    let fired = started.load(Ordering::SeqCst);
    let closed = fired && change == Change::Close;
    match &compacted {
        Ok(_) => {}
        Err(Error::Closed { .. }) => assert!(closed),
        Err(other) => panic!("{other}"),
    }
    let log = if closed {
        drop(log);
        let log = Log::open(DIR, config().fs(disk.clone())).unwrap();
        assert!(log.recovery().clean_shutdown);
        log
    } else {
        log
    };
    let (start, limit) = match change {
        Change::Truncate(target) if fired => (0, target),
        Change::Delete(target) if fired => (target, end),
        _ => (0, end),
    };
    assert_eq!((log.offsets().start, log.offsets().end), (start, limit));
    let found = read_all(&log);
    let may: Vec<&Rec> = before.iter().filter(|r| (start..limit).contains(&r.offset)).collect();
    assert!(found.iter().all(|rec| may.contains(&rec)), "a record is there again");
    // A batch goes as a whole with the first of its records that is cut.
    let must = winners(before)
        .into_iter()
        .filter(|r| (start..limit.saturating_sub(4).max(start)).contains(&r.offset));
    for rec in must {
        assert!(found.contains(&rec), "{} is gone", rec.offset);
    }
    assert_eq!(log.verify().unwrap(), []);
    // Records appended in place of truncated ones count as new.
    let mut model = Keyed::default();
    model.end = limit;
    for key in 0..40 {
        model.put(&log, &format!("key-{key}"), Some("on"), T0);
    }
    log.roll().unwrap();
    let mut all = read_all(&log);
    log.maintain().unwrap();
    log.compact().unwrap();
    all = winners(&all);
    assert_eq!(read_all(&log), all);
    assert_eq!(log.verify().unwrap(), []);
    drop(log);
    let disk = disk.kill();
    let log = Log::open(DIR, config().fs(disk.clone())).unwrap();
    assert_eq!(read_all(&log), all);
    assert_eq!(staged(&disk), [""; 0]);
    fired
}

#[test]
fn changes_end_or_await_compaction() {
    let (disk, before) = prepared(3);
    let end = before.last().unwrap().offset + 1;
    let changes = [
        Change::Truncate(end / 2),
        Change::Truncate(end - 5),
        Change::Truncate(3),
        Change::Delete(end / 3),
        Change::Delete(end - 2),
        Change::Close,
    ];
    let mut count = 0;
    for (number, change) in changes.into_iter().enumerate() {
        let mut nth = 1 + number % 3;
        loop {
            let work = || interrupt(&disk, &before, change, nth);
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
                Ok(true) => count += 1,
                Ok(false) => break,
                Err(panic) => {
                    eprintln!("{change:?} at call {nth}");
                    std::panic::resume_unwind(panic);
                }
            }
            nth += 3;
        }
    }
    assert!(count > 100, "{count}");
}

/// Explicit compaction does all that can be done, also when records at the front go meanwhile.
#[test]
fn compaction_restarts_after_deletion() {
    let (disk, before) = prepared(3);
    let end = before.last().unwrap().offset + 1;
    for nth in 1..8 {
        let disk = disk.kill();
        let fs = FaultFs::new(disk.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let target = bases(&disk)[2];
        let handle = log.clone();
        let deleted = AtomicBool::new(false);
        let rule = Rule::new(
            Operation::CreateNew,
            Fault::call(move |_| {
                if !deleted.swap(true, Ordering::SeqCst) {
                    drop(handle.delete_before(target).unwrap());
                }
            }),
        );
        fs.add_rule(rule.path(".log.cleaned").nth(nth));
        let report = log.compact().unwrap();
        fs.clear_rules();
        let start = log.offsets().start;
        let stored: Vec<Rec> = before.iter().filter(|r| r.offset >= start).cloned().collect();
        assert_eq!(read_all(&log), winners(&stored), "deleted at {nth}, start {start}");
        assert!(report.first_dirty_offset >= end - 4);
    }
}

/// Many threads at once: readers, an appender and a compactor.
#[test]
fn concurrent_readers_survive_compaction() {
    let log = Log::open(DIR, config().segment_bytes(2000).fs(MemFs::new())).unwrap();
    let put = |key: String, n: u64| log.append(Record::new(format!("{n}")).key(key)).unwrap();
    let anchors: Vec<u64> = (0..60)
        .map(|n| {
            (0..5).for_each(|k| drop(put(format!("key-{k}"), n)));
            put(format!("anchor-{n}"), n)
        })
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut rounds = 0;
                while !done.load(Ordering::SeqCst) || rounds < 2 {
                    let mut last = None;
                    let mut seen = Vec::new();
                    for record in log.reader(StartAt::Earliest).unwrap().records() {
                        let record = record.unwrap();
                        assert!(last.is_none_or(|last| last < record.offset));
                        last = Some(record.offset);
                        if record.key.unwrap().starts_with(b"anchor") {
                            seen.push(record.offset);
                        }
                    }
                    assert_eq!(seen, anchors);
                    let anchor = anchors[rounds % anchors.len()];
                    assert!(log.get(anchor).unwrap().is_some());
                    rounds += 1;
                }
            });
        }
        scope.spawn(|| {
            for n in 0..400 {
                put(format!("key-{}", n % 5), n);
            }
        });
        for _ in 0..40 {
            log.roll().unwrap();
            log.compact().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    log.roll().unwrap();
    log.compact().unwrap();
    assert_eq!(read_all(&log).len(), 65);
    assert_eq!(log.verify().unwrap(), []);
}

/// The files of a directory that have no name any more but take space because a handle keeps them
/// open.
#[cfg(target_os = "linux")]
fn nameless(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let gone = |link: &std::path::PathBuf| link.to_string_lossy().ends_with(" (deleted)");
    links.filter(|link| link.starts_with(dir) && gone(link)).collect()
}

/// A pass over a large log takes no more room than for a group of its segments. It had kept those
/// open that it had replaced, as many as sixteen of them.
#[test]
#[cfg(target_os = "linux")]
fn replaced_segments_free_space_during_pass() {
    // Large files are closed beside the next group, whose first files may be made meanwhile.
    for (value_bytes, most) in [(1000, 0), (3 << 20, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("t-0");
        let fs = FaultFs::new(DiskFs);
        let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact);
        let config = config.max_message_bytes(4 << 20).segment_bytes(value_bytes * 3 + 1000);
        let log = Log::open(&path, config.fs(fs.clone())).unwrap();
        let value = vec![b'v'; value_bytes as usize];
        for n in 0..24 {
            log.append(Record::new(value.clone()).key(format!("key {}", n / 2))).unwrap();
        }
        log.roll().unwrap();
        let segments = log.stats().unwrap().segments.len();
        assert!(segments >= 8, "{segments}");
        let groups = Arc::new(AtomicUsize::new(0));
        let (count, of) = (Arc::clone(&groups), path.clone());
        fs.add_rule(Rule::any(Fault::call(move |call| {
            if call.operation == Operation::CreateNew
                && call.path.to_string_lossy().ends_with(".log.cleaned")
            {
                count.fetch_add(1, Ordering::SeqCst);
                let open = nameless(&of);
                assert!(open.len() <= most, "{open:?}");
            }
        })));
        let report = log.compact().unwrap();
        assert_eq!(report.records_kept, 12);
        assert!(groups.load(Ordering::SeqCst) >= 3, "{groups:?} {report:?}");
        log.close().unwrap();
        assert_eq!(nameless(&path), Vec::<std::path::PathBuf>::new());
    }
}

/// Where the log is cut or compacted again and again while it is verified, that had begun at the
/// front again each time.
#[test]
fn verify_continues_when_log_changes() {
    let fs = FaultFs::new(MemFs::new());
    let config = LogConfig::default().segment_bytes(400).clock(clock()).fs(fs.clone());
    let log = Log::open(DIR, config).unwrap();
    for n in 0..60 {
        log.append(format!("{n} {}", "v".repeat(50))).unwrap();
    }
    let segments = log.stats().unwrap().segments.len();
    assert!(segments >= 12);
    fs.clear_trace();
    let (cut, ends, reads) = (log.clone(), AtomicUsize::new(60), AtomicUsize::new(1));
    fs.add_rule(Rule::any(Fault::call(move |call| {
        let is_log = call.path.extension().is_some_and(|end| end == "log");
        let behind = is_log && !call.path.ends_with("00000000000000000000.log");
        if !WITHIN.get() && call.operation == Operation::Read && call.at == 0 && behind {
            WITHIN.set(true);
            let end = ends.load(Ordering::SeqCst) as u64;
            // Once or twice each time that all are read.
            if end > 50 && reads.fetch_add(1, Ordering::SeqCst).is_multiple_of(8) {
                ends.fetch_sub(1, Ordering::SeqCst);
                cut.truncate_to(end - 1).unwrap();
            }
            WITHIN.set(false);
        }
    })));
    assert_eq!(log.verify().unwrap(), []);
    assert!(log.offsets().end < 60);
    let first = |call: &&Call| {
        call.operation == Operation::Read && call.path.ends_with("00000000000000000000.log")
    };
    let trace = fs.trace();
    let reads: Vec<_> = trace.iter().filter(first).collect();
    assert!(reads.len() <= 2, "{reads:?}");
}

/// The records of the active segment are deleted, and it is closed later: until the next deletion,
/// it lies below the start. A pass that had it to read took it for removed meanwhile, and began
/// again without end.
#[test]
fn closed_segment_below_start_is_skipped() {
    let (send, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let log = Log::open(DIR, config().fs(MemFs::new())).unwrap();
        let record = |value| Record::new(value).key("key");
        log.append(record("deleted")).unwrap();
        log.delete_before(1).unwrap();
        log.roll().unwrap();
        for value in ["superseded", "kept"] {
            log.append(record(value)).unwrap();
            log.roll().unwrap();
        }
        let report = log.compact().unwrap();
        send.send((report.records_removed, read_all(&log).len())).unwrap();
    });
    assert_eq!(done.recv_timeout(Duration::from_secs(60)).unwrap(), (1, 1));
}
