//! A full disk can always be emptied and opened: without a free byte and without a free file, in
//! memory and on file systems of its own.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    Admin, ErrorKind, Log, LogConfig, ManualClock, Offset, Record, Store, StoreConfig, Timestamp,
    TopicConfig,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use support::{T0, read_all};

/// A file system that can be filled.
trait Device {
    fn fs(&self) -> Arc<dyn Fs>;
    fn root(&self) -> PathBuf;
    /// Leaves no byte and no file free.
    fn fill(&self);
    /// Frees some room besides, where a file system needs more to create a file than a few
    /// segments free.
    fn relieve(&self) {}
    /// The file systems that a process or the whole machine may find after it stopped here.
    fn stop(&self) -> Vec<Arc<dyn Fs>>;
}

impl Device for MemFs {
    fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }

    fn root(&self) -> PathBuf {
        "/data".into()
    }

    fn fill(&self) {
        self.set_capacity(self.used_bytes());
        self.set_file_limit(self.file_count());
    }

    fn stop(&self) -> Vec<Arc<dyn Fs>> {
        let crashes = (0..3).map(|seed| CrashState::Random { seed });
        let crashes = [CrashState::SyncedOnly, CrashState::AllWrites].into_iter().chain(crashes);
        let crashed = crashes.map(|how| Arc::new(self.crash(how)) as Arc<dyn Fs>);
        crashed.chain([Arc::new(self.kill()) as Arc<dyn Fs>]).collect()
    }
}

/// The content of the log: a value of this many bytes for each offset.
const VALUE: usize = 400;

fn value(offset: Offset) -> String {
    format!("{offset:0>VALUE$}")
}

fn log_config(fs: Arc<dyn Fs>, clock: &Arc<ManualClock>) -> LogConfig {
    LogConfig::default()
        .segment_bytes(4096)
        .index_interval_bytes(0)
        .segment_jitter(Duration::ZERO)
        .clock(Arc::clone(clock) as Arc<dyn annals::Clock>)
        .fs(fs)
}

/// Appends until there is no room; at most so many.
fn append_until_full(log: &Log, most: usize) -> bool {
    for _ in 0..most {
        match log.append(value(log.offsets().end)) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                return true;
            }
        }
    }
    false
}

/// Everything from the start to the end is there, and is what was appended.
fn check(log: &Log, start: Offset, end: Offset) {
    let offsets = log.offsets();
    assert_eq!((offsets.start, offsets.end), (start, end));
    let read: Vec<_> = read_all(log).into_iter().map(|rec| (rec.offset, rec.value)).collect();
    let expected: Vec<_> =
        (start..end).map(|offset| (offset, Some(value(offset).into_bytes()))).collect();
    assert_eq!(read.len(), expected.len());
    assert!(read == expected);
    assert_eq!(log.verify().unwrap(), []);
}

/// A sequence of calls on a log whose disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    DeleteBefore,
    DeleteAll,
    Maintain,
    MaintainAll,
    Truncate,
    TruncateInside,
    Close,
    Reopen,
}

const ACTS: [Act; 8] = [
    Act::DeleteBefore,
    Act::DeleteAll,
    Act::Maintain,
    Act::MaintainAll,
    Act::Truncate,
    Act::TruncateInside,
    Act::Close,
    Act::Reopen,
];

/// Does it, and says where the log starts and ends then.
fn act(act: Act, log: Log, open: &dyn Fn() -> Log, clock: &ManualClock) -> (Log, Offset, Offset) {
    let (start, end) = (log.offsets().start, log.offsets().end);
    match act {
        Act::DeleteBefore => {
            assert_eq!(log.delete_before(21).unwrap(), 21);
            (log, 21, end)
        }
        Act::DeleteAll => {
            assert_eq!(log.delete_before(end).unwrap(), end);
            (log, end, end)
        }
        Act::Maintain => {
            let report = log.maintain().unwrap();
            assert!(report.segments_deleted > 0 && report.start > start, "{report:?}");
            (log, report.start, end)
        }
        Act::MaintainAll => {
            clock.advance(Duration::from_secs(7200));
            let report = log.maintain().unwrap();
            assert_eq!(report.start, end);
            (log, end, end)
        }
        Act::Truncate => {
            log.truncate_to(9).unwrap();
            (log, start, 9)
        }
        Act::TruncateInside => {
            // The second and the third record are one batch: it goes as a whole.
            log.truncate_to(2).unwrap();
            (log, start, 2)
        }
        Act::Close => {
            log.close().unwrap();
            (open(), start, end)
        }
        Act::Reopen => {
            drop(log);
            (open(), start, end)
        }
    }
}

/// Fills a log, changes it while the disk is full, and continues; a crash at any moment in between
/// leaves the acknowledged records, and a log that opens although the disk is full.
fn fill_and_go_on(device: &dyn Device, what: Act, preallocate: bool) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let path = device.root().join(format!("{what:?}-{preallocate}-0"));
    let config = |fs: Arc<dyn Fs>| {
        let config = log_config(fs, &clock).preallocate(preallocate);
        match what {
            Act::Maintain => config.retention_bytes(16 << 10),
            Act::MaintainAll => config.retention_age(Duration::from_secs(3600)),
            _ => config,
        }
    };
    let open = || Log::open(&path, config(device.fs())).unwrap();
    let log = open();
    log.append(value(0)).unwrap();
    log.append_all([1, 2].map(|offset| Record::new(value(offset)))).unwrap();
    assert!(!append_until_full(&log, 57));
    log.flush().unwrap();
    device.fill();
    assert!(append_until_full(&log, 100_000));
    log.flush().unwrap();
    let end = log.offsets().end;
    for fs in device.stop() {
        let log = Log::open(&path, config(fs)).unwrap();
        check(&log, 0, end);
    }

    let (log, start, end) = act(what, log, &open, &clock);
    let held = if what == Act::TruncateInside { 1 } else { end };
    let checked = |log: &Log| {
        if what != Act::TruncateInside {
            return check(log, start, end);
        }
        assert_eq!((log.offsets().start, log.offsets().end), (start, end));
        assert_eq!(read_all(log).len() as u64, held);
    };
    checked(&log);
    for fs in device.stop() {
        let log = Log::open(&path, config(fs)).unwrap();
        checked(&log);
    }
    if matches!(what, Act::Close | Act::Reopen) {
        // It is full as before, and can be emptied.
        assert!(append_until_full(&log, 100_000));
        let end = log.offsets().end;
        assert_eq!(log.delete_before(end).unwrap(), end);
    }
    device.relieve();
    let next = log.offsets().end;
    for offset in next..next + 4 {
        assert_eq!(log.append(value(offset)).unwrap(), offset);
    }
    log.flush().unwrap();
    for fs in device.stop() {
        let log = Log::open(&path, config(fs)).unwrap();
        assert_eq!(log.offsets().end, next + 4);
    }
    log.close().unwrap();
    let log = open();
    assert_eq!(log.offsets().end, next + 4);
    log.close().unwrap();
}

#[test]
fn log_recovers_from_full_disk() {
    for preallocate in [false, true] {
        for what in ACTS {
            fill_and_go_on(&MemFs::new(), what, preallocate);
        }
    }
}

fn store_config(fs: Arc<dyn Fs>) -> StoreConfig {
    StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1)
}

/// A store in which every topic can be emptied, altered and deleted although nothing else can be
/// written.
fn fill_store_and_go_on(device: &dyn Device, reopen: bool) {
    let path = device.root().join(format!("store-{reopen}"));
    let open = |fs: Arc<dyn Fs>| Store::open(&path, store_config(fs)).unwrap();
    let mut store = open(device.fs());
    let config = || TopicConfig::default().partitions(2).segment_bytes(4096);
    for topic in ["a", "b", "c"] {
        let topic = store.create_topic(topic, config()).unwrap();
        for log in topic.partitions().iter() {
            assert!(!append_until_full(log, 40));
        }
    }
    store.flush().unwrap();
    device.fill();
    let ends = |store: &Store, topic: &str| -> Vec<Offset> {
        let topic = store.topic(topic).unwrap();
        topic.partitions().iter().map(|log| log.offsets().end).collect()
    };
    for topic in ["a", "b", "c"] {
        for log in store.topic(topic).unwrap().partitions().iter() {
            assert!(append_until_full(log, 100_000));
        }
    }
    store.flush().unwrap();
    let full = [ends(&store, "a"), ends(&store, "b"), ends(&store, "c")];
    for fs in device.stop() {
        let store = open(fs);
        for (topic, ends) in ["a", "b", "c"].into_iter().zip(&full) {
            for (log, end) in store.topic(topic).unwrap().partitions().iter().zip(ends) {
                check(log, 0, *end);
            }
        }
    }
    if reopen {
        store.close().unwrap();
        store = open(device.fs());
    }

    // Alterations survive a crash.
    let shorter = store.topic("a").unwrap().config().set("retention.bytes", "8192").unwrap();
    store.alter_topic("a", shorter).unwrap();
    for fs in device.stop() {
        let config = open(fs).topic("a").unwrap().config();
        assert_eq!(config.get("retention.bytes"), Some("8192"));
    }
    // Deleted records stay deleted.
    let admin: Admin = store.admin();
    assert_eq!(admin.delete_records("b", 0, 20).unwrap(), 20);
    store.delete_topic("c").unwrap();
    let reports = store.maintain().unwrap();
    assert!(reports.iter().any(|(_, _, report)| report.segments_deleted > 0));
    let start = store.topic("a").unwrap().partition(0).unwrap().offsets().start;
    assert!(start > 0);
    for fs in device.stop() {
        let store = open(fs);
        assert!(store.topic("c").is_err());
        check(&store.topic("b").unwrap().partition(0).unwrap(), 20, full[1][0]);
        check(&store.topic("b").unwrap().partition(1).unwrap(), 0, full[1][1]);
        check(&store.topic("a").unwrap().partition(0).unwrap(), start, full[0][0]);
    }
    device.relieve();
    store.create_topic("d", config()).unwrap().partition(0).unwrap().append(value(0)).unwrap();
    store.close().unwrap();
    let store = open(device.fs());
    check(&store.topic("d").unwrap().partition(0).unwrap(), 0, 1);
    store.close().unwrap();
}

#[test]
fn store_recovers_from_full_disk() {
    for reopen in [false, true] {
        fill_store_and_go_on(&MemFs::new(), reopen);
    }
}

/// A service that restarts on a full disk creates its producers before it deletes anything: their
/// ids are reserved out of the room that was set aside, which the next opening has again.
#[test]
fn producer_is_created_on_full_disk() {
    let fs = MemFs::new();
    let open = || Store::open("d", store_config(Arc::new(fs.clone()))).unwrap();
    let mut store = open();
    store.create_topic("a", TopicConfig::default()).unwrap();
    fs.fill();
    // The first one needs a name and a block more than there were. Each of the others takes as
    // much as it frees.
    let mut ids = vec![store.new_producer_id().unwrap()];
    for _ in 0..10 {
        store.close().unwrap();
        store = open();
        ids.push(store.new_producer_id().unwrap());
        store.producer(annals::ProducerConfig::default()).unwrap();
    }
    store.delete_topic("a").unwrap();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

/// On a full disk, an operator removed the reserve to make room. The next checkpoint write failed
/// because the file was missing, and poisoned the log.
#[test]
fn log_works_when_reserve_was_removed() {
    let disk = MemFs::new();
    let store = Store::open("data", store_config(Arc::new(disk.clone()))).unwrap();
    let log = store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    for _ in 0..3 {
        log.append("x").unwrap();
        log.roll().unwrap();
    }
    for number in 0..4 {
        let name = format!("data/.reserved-room-for-a-full-disk-{number}");
        disk.remove(Path::new(&name)).unwrap();
    }
    disk.fill();
    log.flush().unwrap();
    assert_eq!(log.delete_before(2).unwrap(), 2);
    store.close().unwrap();
    let store = Store::open("data", store_config(Arc::new(disk.kill()))).unwrap();
    assert_eq!(store.topic("t").unwrap().partition(0).unwrap().offsets().start, 2);
}

/// While a checkpoint was written into a file of the reserve, another log filled that file up
/// again: zeros followed the start of a log, without which its store does not open, or were
/// written over the first batches of a new segment.
#[test]
fn reserve_in_use_is_not_refilled() {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let store = Store::open("data", store_config(Arc::new(fs.clone()))).unwrap();
    let topic = store.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
    let (log, other) = (topic.partition(0).unwrap(), topic.partition(1).unwrap());
    for _ in 0..3 {
        log.append("x").unwrap();
        log.roll().unwrap();
    }
    let full = Fault::Error(std::io::ErrorKind::StorageFull);
    fs.add_rule(Rule::new(Operation::CreateNew, full).path(".tmp"));
    // Deletes nothing, and looks whether the reserve is whole.
    let fill = Fault::call(move |_| assert_eq!(other.delete_before(0).unwrap(), 0));
    for (target, operation) in [(1, Operation::SyncAll), (2, Operation::Rename)] {
        let rule = fs.add_rule(Rule::new(operation, fill.clone()).path(".reserved").nth(1));
        log.delete_before(target).unwrap();
        assert!(fs.hit_count(rule) > 0);
        fs.remove_rule(rule);
        let again = Store::open("data", store_config(Arc::new(disk.kill()))).unwrap();
        assert_eq!(again.topic("t").unwrap().partition(0).unwrap().offsets().start, target);
    }
    let names = disk.list(Path::new("data")).unwrap().into_iter().map(|entry| entry.name);
    assert_eq!(names.filter(|name| name.starts_with(".reserved")).count(), 4);
}

/// The files that are set aside.
fn reserves(fs: &MemFs) -> Vec<String> {
    let names = fs.list(Path::new("t-0")).unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| name.starts_with(".reserve")).collect()
}

/// A directory that was full before it was ever opened has nothing set aside: the segments at the
/// front go one after the other until there is room to write down where the log starts.
#[test]
fn front_is_deleted_without_reserve() {
    for inside in [false, true] {
        let fs = MemFs::new();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
        let open = |fs: &MemFs| Log::open("t-0", log_config(Arc::new(fs.clone()), &clock)).unwrap();
        let log = open(&fs);
        assert!(!append_until_full(&log, 60));
        log.flush().unwrap();
        for name in reserves(&fs) {
            fs.remove(&Path::new("t-0").join(name)).unwrap();
        }
        fs.fill();
        let target = if inside { 21 } else { log.stats().unwrap().segments[3].base_offset };
        let disk = fs.kill();
        disk.fill();
        let log = open(&disk);
        assert!(reserves(&disk).is_empty());
        assert_eq!(log.delete_before(target).unwrap(), target);
        check(&log, target, 60);
        for fs in disk.stop() {
            let log = Log::open("t-0", log_config(fs, &clock)).unwrap();
            check(&log, target, 60);
        }
        // The deleted segments made space for it.
        assert!(!reserves(&disk).is_empty());
    }
}

/// The empty batch in the place of one that is cut needs no room of its own: another program may
/// have taken what the cut set free.
#[test]
fn truncation_inside_batch_needs_no_room() {
    use annals::fs::{Fault, FaultFs, Rule};
    for preallocate in [false, true] {
        for records in [2, 40] {
            let memory = MemFs::new();
            let faults = FaultFs::new(memory.clone());
            let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
            let config = |fs: Arc<dyn Fs>| {
                log_config(fs, &clock).segment_bytes(1 << 20).preallocate(preallocate)
            };
            let log = Log::open("t-0", config(Arc::new(faults.clone()))).unwrap();
            // The first batch ends where a block does, and so does the place of the cover begin in
            // a new one.
            let rest = 4096 - 61 - 8;
            log.append("v".repeat(rest)).unwrap();
            let bytes = log.stats().unwrap().bytes;
            log.truncate_to(0).unwrap();
            log.append("v".repeat(rest - usize::try_from(bytes - 4096).unwrap_or(0))).unwrap();
            log.append_all((0..records).map(|_| Record::new(value(0)))).unwrap();
            log.append(value(9)).unwrap();
            log.flush().unwrap();
            let disk = memory.clone();
            // Another program takes every byte that becomes free.
            faults.add_rule(Rule::any(Fault::call(move |_| disk.fill())));
            log.truncate_to(2).unwrap();
            assert_eq!((log.offsets().end, read_all(&log).len()), (2, 1));
            faults.clear_rules();
            memory.set_capacity(u64::MAX);
            memory.set_file_limit(u64::MAX);
            assert_eq!(log.append(value(2)).unwrap(), 2);
            log.flush().unwrap();
            for fs in memory.stop() {
                let log = Log::open("t-0", config(fs)).unwrap();
                assert_eq!((log.offsets().end, read_all(&log).len()), (3, 2));
                assert_eq!(log.verify().unwrap(), []);
            }
        }
    }
}

/// A lock file that is new and found no room was empty, as a broker leaves it. The loss of power
/// in that session was not known, and records that it tore were damage.
#[test]
fn full_disk_hides_no_power_loss() {
    let memory = MemFs::new();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let open = |fs: Arc<dyn Fs>| Log::open("t-0", log_config(fs, &clock));
    let log = open(memory.fs()).unwrap();
    assert!(!append_until_full(&log, 20));
    log.close().unwrap();
    for kept in [0, 9] {
        let memory = memory.kill();
        memory.remove(Path::new("t-0/.lock")).unwrap();
        let lock = memory.open(Path::new("t-0/.lock"), annals::fs::OpenMode::CreateNew).unwrap();
        lock.write_all_at(&b"process 1"[..kept], 0).unwrap();
        drop(lock);
        memory.sync_dir(Path::new("t-0")).unwrap();
        memory.set_capacity(memory.used_bytes());
        let log = open(memory.fs()).unwrap();
        memory.set_capacity(u64::MAX);
        assert!(!append_until_full(&log, 30));
        for seed in 0..40 {
            let log = open(Arc::new(memory.crash(CrashState::Random { seed }))).unwrap();
            assert!(read_all(&log).len() >= 20);
        }
    }
}

/// A topic is not created while the checkpoints still have lines of an earlier topic of its name,
/// or have no line of its own: it began where the earlier one started, was expected to have its
/// records, or looked as if a broker had brought it.
#[test]
fn topic_creation_fails_without_checkpoints() {
    use annals::fs::{Fault, FaultFs, Operation, Rule};
    for file in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint"] {
        for name in ["t", "u"] {
            let memory = MemFs::new();
            let faults = FaultFs::new(memory.clone());
            let open = |fs: Arc<dyn Fs>| Store::open("d", store_config(fs)).unwrap();
            let store = open(Arc::new(faults.clone()));
            let config = || TopicConfig::default().segment_bytes(4096);
            let log = store.create_topic("t", config()).unwrap().partition(0).unwrap();
            assert!(!append_until_full(&log, 30));
            store.flush().unwrap();
            assert_eq!(store.admin().delete_records("t", 0, 20).unwrap(), 20);
            drop(log);
            let full = Fault::Error(std::io::ErrorKind::StorageFull);
            let rule = Rule::new(Operation::CreateNew, full).or(Operation::Rename).path(file);
            let rule = faults.add_rule(rule);
            store.delete_topic("t").ok();
            let topic = store.create_topic(name, config()).or_else(|error| {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                faults.remove_rule(rule);
                store.create_topic(name, config())
            });
            let log = topic.unwrap().partition(0).unwrap();
            assert!(!append_until_full(&log, 30));
            for seed in 0..20 {
                let store = open(Arc::new(memory.crash(CrashState::Random { seed })));
                let log = store.topic(name).unwrap().partition(0).unwrap();
                check(&log, 0, log.offsets().end);
            }
            log.flush().unwrap();
            for fs in memory.stop() {
                let log = open(fs).topic(name).unwrap().partition(0).unwrap();
                check(&log, 0, 30);
            }
        }
    }
}

/// Kills and losses of power after each call to the file system while a full log is emptied.
#[test]
fn crash_while_emptying_loses_no_record() {
    use annals::fs::{Fault, FaultFs, Rule};
    for what in ACTS {
        let memory = MemFs::new();
        let faults = FaultFs::new(memory.clone());
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
        let config = |fs: Arc<dyn Fs>| {
            let config = log_config(fs, &clock);
            match what {
                Act::Maintain => config.retention_bytes(16 << 10),
                Act::MaintainAll => config.retention_age(Duration::from_secs(3600)),
                _ => config,
            }
        };
        let open = || Log::open("t-0", config(Arc::new(faults.clone()))).unwrap();
        let log = open();
        log.append(value(0)).unwrap();
        log.append_all([1, 2].map(|offset| Record::new(value(offset)))).unwrap();
        append_until_full(&log, 57);
        memory.fill();
        append_until_full(&log, 100);
        log.flush().unwrap();
        let before = log.offsets();
        let disks = Arc::new(std::sync::Mutex::new(Vec::new()));
        let (seen, of) = (Arc::clone(&disks), memory.clone());
        let rule = faults.add_rule(Rule::any(Fault::call(move |_| {
            let mut disks = seen.lock().unwrap();
            let seed = disks.len() as u64;
            disks.push(of.crash(CrashState::Random { seed }));
            disks.push(of.crash(CrashState::SyncedOnly));
            disks.push(of.kill());
        })));
        let (log, start, end) = act(what, log, &open, &clock);
        faults.remove_rule(rule);
        drop(log);
        let disks = std::mem::take(&mut *disks.lock().unwrap());
        assert!(disks.len() > 10, "{what:?}: {}", disks.len());
        for (number, disk) in disks.into_iter().enumerate() {
            let log = Log::open("t-0", config(Arc::new(disk))).unwrap();
            let found = log.offsets();
            assert!(found.start >= before.start && found.start <= start, "{what:?} {number}");
            // A batch goes as a whole before the log ends inside of where it was.
            let end = if what == Act::TruncateInside { 1 } else { end };
            assert!(found.end >= end && found.end <= before.end, "{what:?} {number}: {found:?}");
            for rec in read_all(&log) {
                assert_eq!(rec.value, Some(value(rec.offset).into_bytes()));
            }
            let gap = u64::from(what == Act::TruncateInside && found.end == 2);
            let count = read_all(&log).len() as u64;
            assert_eq!(count, found.end - found.start - gap, "{what:?} {number}");
        }
    }
}

/// File systems of the kernel, each made for the test. They need root, and are passed over, aloud,
/// without it.
#[cfg(target_os = "linux")]
mod real {
    use super::*;
    use annals::fs::{DiskFs, OpenMode};
    use std::fs;
    use std::process::Command;

    /// A mounted file system.
    struct Mounted {
        kind: &'static str,
        dir: tempfile::TempDir,
    }

    fn run(command: &str, args: &[&str]) -> Result<(), String> {
        let output = Command::new(command).args(args).output();
        let output = output.map_err(|error| format!("{command}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{command}: {said}")) }
    }

    impl Mounted {
        /// A small file system of this kind. Nothing is set aside in it for root.
        fn new(kind: &'static str) -> Result<Mounted, String> {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().join("mount");
            fs::create_dir(&at).unwrap();
            let (at, image) = (at.to_str().unwrap(), dir.path().join("image"));
            let image = image.to_str().unwrap();
            let sized = |bytes| fs::File::create(image).unwrap().set_len(bytes).unwrap();
            match kind {
                "tmpfs" => {
                    let options = "size=1m,nr_inodes=200";
                    run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at])?;
                }
                "ext4" => {
                    sized(8 << 20);
                    run("mkfs.ext4", &["-q", "-m", "0", "-N", "256", image])?;
                    run("mount", &["-o", "loop", image, at])?;
                }
                _ => {
                    sized(300 << 20);
                    run("mkfs.xfs", &["-q", image])?;
                    run("mount", &["-o", "loop", image, at])?;
                }
            }
            Ok(Mounted { kind, dir })
        }

        fn clear(&self) {
            for entry in fs::read_dir(self.root()).unwrap() {
                let entry = entry.unwrap();
                match entry.file_name().to_str().unwrap() {
                    "lost+found" => {}
                    _ if entry.path().is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
                    _ => fs::remove_file(entry.path()).unwrap(),
                }
            }
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let at = self.dir.path().join("mount");
            if let Err(error) = run("umount", &[at.to_str().unwrap()]) {
                eprintln!("{}: {error}", self.kind);
            }
        }
    }

    impl Device for Mounted {
        fn fs(&self) -> Arc<dyn Fs> {
            Arc::new(DiskFs)
        }

        fn root(&self) -> PathBuf {
            self.dir.path().join("mount")
        }

        fn fill(&self) {
            let open = |number: u32| {
                DiskFs.open(&self.root().join(format!("ballast-{number}")), OpenMode::CreateNew)
            };
            let ballast = open(0).unwrap();
            let mut len = 0;
            for bytes in (12..29).rev().map(|power| 1 << power) {
                while ballast.allocate(len + bytes).is_ok() {
                    len += bytes;
                }
            }
            let full = (1..).find_map(|number| open(number).err()).unwrap();
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
            for bytes in [1 << 20, 4 << 10, 512] {
                while let Ok(written @ 1..) = ballast.write_at(&vec![1; bytes], len) {
                    len += written as u64;
                }
            }
            ballast.sync_all().unwrap();
        }

        /// On xfs a file takes a chunk of inodes, and room for more of its own.
        fn relieve(&self) {
            if self.kind == "xfs" {
                fs::remove_file(self.root().join("ballast-0")).unwrap();
            }
        }

        fn stop(&self) -> Vec<Arc<dyn Fs>> {
            Vec::new()
        }
    }

    /// On a real disk this takes a while, so it runs only if the variable is set.
    fn fill_and_go_on_with(kind: &'static str) {
        if kind != "tmpfs" && std::env::var_os("ANNALS_FULL_DISK").is_none() {
            return eprintln!("skipped: set ANNALS_FULL_DISK to fill an image of {kind}");
        }
        let mounted = match Mounted::new(kind) {
            Ok(mounted) => mounted,
            Err(reason) => return eprintln!("skipped: no {kind} can be mounted here: {reason}"),
        };
        // On xfs a call that finds no room takes long, as it looks for some first.
        let few = [Act::DeleteBefore, Act::MaintainAll, Act::TruncateInside];
        for what in if kind == "xfs" { &few[..] } else { &ACTS } {
            mounted.clear();
            fill_and_go_on(&mounted, *what, false);
        }
        // On xfs, the reserve is not refilled before something is freed: the space is too little
        // for all of it.
        for reopen in [false, true].into_iter().take(if kind == "xfs" { 1 } else { 2 }) {
            mounted.clear();
            fill_store_and_go_on(&mounted, reopen);
        }
    }

    #[test]
    fn log_recovers_from_full_tmpfs() {
        fill_and_go_on_with("tmpfs");
    }

    #[test]
    fn log_recovers_from_full_ext4() {
        fill_and_go_on_with("ext4");
    }

    #[test]
    fn log_recovers_from_full_xfs() {
        fill_and_go_on_with("xfs");
    }
}
