//! A log that another process compacts, truncates and deletes from, while this one reads it.

use annals::fs::{Call, CrashState, DiskFs, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Event, IsolationLevel, Log, LogConfig, Offset, Reader, Record, StartAt, Store,
    StoreConfig, TopicConfig,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{DIR, Heard, Rec, read_all, write_file};

fn config(fs: impl annals::fs::Fs) -> LogConfig {
    let config = LogConfig::default().segment_bytes(700).index_interval_bytes(0);
    config.cleanup_policy(CleanupPolicy::CompactAndDelete).fs(fs)
}

/// Twelve segments of a few keys, some of which are written once.
fn fill(log: &Log) {
    for n in 0..30u64 {
        let record = |i: u64| {
            let key = if (n + i).is_multiple_of(5) { n * 10 + i } else { (n + i) % 3 };
            Record::new(format!("{n} {}", "v".repeat(40))).key(format!("{key}"))
        };
        log.append_all((0..3).map(record)).unwrap();
    }
    log.roll().unwrap();
    log.append(Record::new("last").key("0")).unwrap();
}

/// The last record of each key, by offset.
fn survivors(records: &[Rec], below: Offset) -> Vec<Rec> {
    let last: BTreeMap<_, _> =
        records.iter().filter(|r| r.offset < below).map(|r| (r.key.clone(), r.offset)).collect();
    let stays = |rec: &&Rec| rec.offset >= below || last.get(&rec.key) == Some(&rec.offset);
    records.iter().filter(stays).cloned().collect()
}

/// A reader, and the records it has returned.
struct Along {
    reader: Reader,
    read: Vec<Rec>,
}

impl Along {
    fn step(&mut self, records: usize) {
        for _ in 0..records {
            let Some(record) = self.reader.next_record().unwrap() else { break };
            self.read.push(record.into());
        }
    }
}

/// At every call of a compaction, a reader reads a record or two, a record is looked up, and the
/// log is opened anew.
#[test]
fn reader_continues_through_foreign_compaction() {
    for (pace, level) in [(1, IsolationLevel::ReadCommitted), (7, IsolationLevel::ReadUncommitted)]
    {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let writer = Log::open(DIR, config(fs.clone())).unwrap();
        fill(&writer);
        writer.flush().unwrap();
        let all = read_all(&writer);
        let below = writer.stats().unwrap().segments.last().unwrap().base_offset;
        let left = survivors(&all, below);
        assert!(left.len() * 2 < all.len() && left.len() > 20);
        let other = Log::open_read_only(DIR, config(memory.clone())).unwrap();
        let reader = other.isolated(level).reader(StartAt::Earliest).unwrap();
        let along = Along { reader, read: Vec::new() };
        let along = Arc::new(Mutex::new(along));
        let (looker, kept, disk) = (Arc::clone(&along), left.clone(), memory.clone());
        let calls = Arc::new(Mutex::new(0usize));
        let count = Arc::clone(&calls);
        fs.add_rule(Rule::any(Fault::call(move |call| {
            let mut count = count.lock().unwrap();
            *count += 1;
            looker.lock().unwrap().step(pace);
            let picked = &kept[*count % kept.len()];
            assert_eq!(
                other.get(picked.offset).unwrap().map(Rec::from).as_ref(),
                Some(picked),
                "{call:?}"
            );
            assert_eq!(other.offsets().start, 0, "{call:?}");
            assert_eq!(other.verify().unwrap(), [], "{call:?}");
            // As a process that died here leaves it.
            let opened = Log::open_read_only(DIR, config(disk.kill())).unwrap();
            let found = read_all(&opened);
            assert!(kept.iter().all(|rec| found.contains(rec)), "{call:?}");
            assert_eq!(opened.offsets().start, 0);
            assert_eq!(opened.verify().unwrap(), []);
        })));
        let report = writer.compact().unwrap();
        assert_eq!(report.records_kept as usize + 1, left.len());
        fs.clear_rules();
        assert!(*calls.lock().unwrap() > 100);
        let mut along = along.lock().unwrap();
        along.step(usize::MAX);
        let read = &along.read;
        assert!(read.windows(2).all(|pair| pair[0].offset < pair[1].offset), "in order, and once");
        assert!(left.iter().all(|rec| read.contains(rec)));
        assert!(read.iter().all(|rec| all.contains(rec)));
    }
}

/// A reader also sees deletions and truncations as it reads on.
#[test]
fn reader_sees_changes_after_foreign_compaction() {
    let fs = MemFs::new();
    let writer = Log::open(DIR, config(fs.clone())).unwrap();
    fill(&writer);
    let other = Log::open_read_only(DIR, config(fs)).unwrap();
    writer.compact().unwrap();
    assert_eq!(read_all(&other), read_all(&writer));
    writer.truncate_to(50).unwrap();
    assert_eq!(other.get(50).unwrap_err().kind(), annals::ErrorKind::OutOfRange);
    writer.append(Record::new("again").key("1")).unwrap();
    assert_eq!(read_all(&other), read_all(&writer));
    writer.delete_before(30).unwrap();
    writer.compact().unwrap();
    assert_eq!(read_all(&other), read_all(&writer));
    assert_eq!(other.offsets().start, 30);
    assert_eq!(other.verify().unwrap(), []);
}

/// To know where a replacement ends, all of it is read. A writer that died may leave it there for
/// long.
#[test]
fn unfinished_replacement_is_read_once() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let log = Log::open(DIR, config(fs.clone())).unwrap();
    fill(&log);
    let copies = Arc::new(Mutex::new(Vec::new()));
    let (of, images) = (memory.clone(), Arc::clone(&copies));
    fs.add_rule(Rule::any(Fault::call(move |call| {
        if call.operation == Operation::SyncDir && !support::keyed::staged(&of).is_empty() {
            images.lock().unwrap().push(of.crash(CrashState::AllWrites));
        }
    })));
    log.compact().unwrap();
    let image = copies.lock().unwrap().iter().find(|image| has_swap(image)).unwrap().clone();
    let fs = FaultFs::new(image);
    let follower = Log::open_read_only(DIR, config(fs.clone())).unwrap();
    let before = read_all(&follower);
    fs.clear_trace();
    for _ in 0..5 {
        assert_eq!(
            follower.tail(StartAt::Latest).unwrap().next_record(Some(Duration::ZERO)).unwrap(),
            None
        );
    }
    let opened = |call: &Call| call.path.to_string_lossy().ends_with(".log.swap");
    assert!(fs.trace().iter().any(|call| call.operation == Operation::List));
    assert_eq!(fs.trace().iter().filter(|call| opened(call)).count(), 0);
    assert_eq!(read_all(&follower), before);
}

fn has_swap(fs: &MemFs) -> bool {
    support::keyed::staged(fs).iter().any(|name| name.ends_with(".log.swap"))
}

/// Nobody writes such an index, but anybody can make one: it takes no room on the disk.
#[test]
fn sparse_tebibyte_index_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let log = Log::open(&path, config(DiskFs)).unwrap();
    fill(&log);
    let expected = read_all(&log);
    log.close().unwrap();
    for kind in ["index", "timeindex"] {
        let name = path.join(format!("{:020}.{kind}", 0));
        let file = std::fs::OpenOptions::new().write(true).open(name).unwrap();
        // A whole number of entries of either kind.
        file.set_len(24 << 36).unwrap();
    }
    let follower = Log::open_read_only(&path, config(DiskFs)).unwrap();
    assert_eq!(read_all(&follower), expected);
    assert_eq!(follower.get(3).unwrap().map(Rec::from).as_ref(), expected.get(3));
    let time = annals::Timestamp::from_millis(expected[2].time);
    assert!(follower.offset_for_time(time).unwrap().is_some());
    drop(follower);
    let log = Log::open(&path, config(DiskFs)).unwrap();
    assert_eq!(log.offset_for_time(time).unwrap().map(|found| found.0), Some(0));
    assert!(log.get(3).unwrap().is_some());
    assert_eq!(log.verify().unwrap(), []);
}

/// On a full disk, a deletion marks the recovery point in place: its two lines differ by their last
/// bit. A read-only opening ignored such a point and reported it, where a writer relies on it. Any
/// other difference is a contradiction for both.
#[test]
fn read_only_log_relies_on_marked_recovery_point() {
    for (second, is_ignored) in [(6, false), (7, false), (9, true)] {
        let fs = MemFs::new();
        let store = Store::open("data", StoreConfig::default().fs(fs.clone())).unwrap();
        let topic = store.create_topic("t", TopicConfig::default()).unwrap();
        topic.partition(0).unwrap().append_all((0..6).map(|n| n.to_string().into())).unwrap();
        store.close().unwrap();
        let lines = format!("0\n2\nt 0 6\nt 0 {second}\n");
        write_file(&fs, "data", "recovery-point-offset-checkpoint", lines.as_bytes());
        annals::fs::Fs::remove(&fs, std::path::Path::new("data/.kafka_cleanshutdown")).unwrap();
        let heard = Arc::new(Heard::default());
        let config = LogConfig::default().fs(fs).listener(heard.clone());
        let log = Log::open_read_only("data/t-0", config).unwrap();
        assert_eq!(read_all(&log).len(), 6, "{second}");
        let heard = heard.0.lock().unwrap();
        let ignored = |event: &Event| matches!(event, Event::CheckpointIgnored { .. });
        assert_eq!(heard.iter().any(ignored), is_ignored, "{second}: {heard:?}");
    }
}
