//! A log on a full disk: each way to empty it works, and its opening too.

use super::{ACTS, Act, Device, act, append_until_full, check, fill_and_go_on, log_config, value};
use annals::fs::{CrashState, Fs, MemFs};
use annals::{Log, ManualClock, Record, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{T0, read_all};

#[test]
fn log_recovers_from_full_disk() {
    for preallocate in [false, true] {
        for what in ACTS {
            fill_and_go_on(&MemFs::new(), what, preallocate);
        }
    }
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
