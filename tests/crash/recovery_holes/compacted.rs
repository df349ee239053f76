//! Holes that compaction left: accepted when a checkpoint vouches for them.

use super::{append, compacted, compacting, dense, fill, tiny};
use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, OpenMode, Operation, Rule};
use annals::*;
use std::path::Path;
use support::{DIR, name, offsets, read_file, store, write_file};

fn change_digit(fs: &MemFs, path: &str, from_end: u64, bits: u8) {
    let file = fs.open(Path::new(path), OpenMode::ReadWrite).unwrap();
    let at = file.len().unwrap() - from_end;
    let digit = file.view(at + 1).unwrap().as_slice()[at as usize];
    file.write_all_at(&[digit ^ bits], at).unwrap();
}

/// The recovery point of the store is below that of the partition, which was opened by itself.
/// After a reboot in order, 21 of 22 records were taken for lost with the power.
#[test]
fn compacted_records_stay_when_store_returns() {
    let fs = MemFs::new();
    let s = store(fs.clone());
    s.create_topic("t", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact)).unwrap();
    s.close().unwrap();
    drop(s);
    let (log, kept) = compacted("d/t-0", &fs);
    log.close().unwrap();
    let s = store(fs.crash(CrashState::AllWrites));
    assert_eq!(offsets(&s.topic("t").unwrap().partition(0).unwrap()), kept);
}

/// Each bit of the recovery point, and the file itself, may be damaged: nothing durable goes.
#[test]
fn compacted_records_stay_when_point_damaged() {
    let fs = MemFs::new();
    let (log, kept) = compacted(DIR, &fs);
    log.flush().unwrap();
    let path = format!("{DIR}/recovery-point-offset-checkpoint");
    let len = read_file(&fs, DIR, "recovery-point-offset-checkpoint").len() as u64;
    for from_end in 1..=len {
        for bit in 0..8 {
            let disk = fs.crash(CrashState::SyncedOnly);
            change_digit(&disk, &path, from_end, 1 << bit);
            let log = Log::open(DIR, compacting(&disk)).unwrap();
            assert_eq!(offsets(&log), kept, "bit {bit} of the byte {from_end} from the end");
        }
    }
    let disk = fs.crash(CrashState::SyncedOnly);
    disk.remove(Path::new(&path)).unwrap();
    assert_eq!(offsets(&Log::open(DIR, compacting(&disk)).unwrap()), kept);
}

/// A broker leaves its lock file empty, and writes the recovery point once a minute. Whether
/// anything was compacted is not in any file here.
#[test]
fn compacted_records_stay_after_broker_killed() {
    let fs = MemFs::new();
    let (log, kept) = compacted("d/t-0", &fs);
    log.close().unwrap();
    let names = ["recovery-point-offset-checkpoint", "cleaner-offset-checkpoint"];
    for name in names.into_iter().chain([".kafka_cleanshutdown", ".lock"]) {
        fs.remove(&Path::new("d/t-0").join(name)).unwrap();
    }
    fs.open(Path::new("d/.lock"), OpenMode::CreateNew).unwrap();
    let point =
        fs.open(Path::new("d/recovery-point-offset-checkpoint"), OpenMode::CreateNew).unwrap();
    point.write_all_at(b"0\n1\nt 0 6\n", 0).unwrap();
    let s = store(fs.kill());
    let log = s.topic("t").unwrap().partition(0).unwrap();
    assert_eq!(offsets(&log), kept);
    drop((log, s));
    // The next openings know what this one found out.
    let fs = fs.kill();
    drop(store(fs.clone()));
    let s = store(fs.crash(CrashState::AllWrites));
    assert_eq!(offsets(&s.topic("t").unwrap().partition(0).unwrap()), kept);
}

/// Logs compacted by another program have no empty batch at the end of their segments. Offsets are
/// missing there like those that a crash took, and stay missing.
#[test]
fn unmarked_holes_of_other_program_stay() {
    let whole = MemFs::new();
    dense(&whole);
    for policy in [CleanupPolicy::Compact, CleanupPolicy::Delete] {
        let fs = MemFs::new();
        fs.create_dir(Path::new(DIR)).unwrap();
        for base in [0, 4, 8, 10] {
            let bytes = read_file(&whole, DIR, &name(base, "log"));
            write_file(&fs, DIR, &name(base, "log"), &bytes[..bytes.len() / 2]);
        }
        for round in 0..3 {
            let disk = if round == 1 { fs.crash(CrashState::AllWrites) } else { fs.kill() };
            let log = Log::open(DIR, tiny(&disk).cleanup_policy(policy)).unwrap();
            assert_eq!(offsets(&log), [0, 4, 8, 10], "round {round}");
        }
        drop(Log::open(DIR, tiny(&fs).cleanup_policy(policy)).unwrap());
        let log = Log::open(DIR, tiny(&fs.crash(CrashState::AllWrites)).cleanup_policy(policy));
        assert_eq!(offsets(&log.unwrap()), [0, 4, 8, 10]);
    }
}

/// A broker had the log, and the disk has no room for a recovery point of ours. So nothing could
/// tell later that a power loss took the end of a segment, and not compaction: half a transaction
/// would be committed. Each segment is synced before the next one begins.
#[test]
fn full_disk_leaves_no_hole_in_log_of_broker() {
    let whole = MemFs::new();
    dense(&whole);
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    write_file(&fs, DIR, &name(0, "log"), &read_file(&whole, DIR, &name(0, "log")));
    let full = FaultFs::new(fs.clone());
    let fault = Fault::Error(std::io::ErrorKind::StorageFull);
    full.add_rule(Rule::new(Operation::Write, fault).path("recovery-point"));
    let log = Log::open(DIR, tiny(&fs).fs(full)).unwrap();
    append(&log, 2..9);
    for seed in 0..100 {
        let disk = fs.crash(CrashState::Random { seed });
        let log = Log::open(DIR, tiny(&disk)).unwrap();
        let end = log.offsets().end;
        assert_eq!(offsets(&log), (0..end).collect::<Vec<_>>(), "seed {seed}");
    }
}

/// Records that were quarantined, or truncated inside a batch, are known to be gone: no later
/// opening takes them for a loss, whatever happens to the recovery point.
#[test]
fn known_holes_are_accepted_later() {
    let fs = MemFs::new();
    dense(&fs);
    let disk = fs.kill();
    disk.remove(&Path::new(DIR).join(name(4, "log"))).unwrap();
    let mut bytes = read_file(&disk, DIR, &name(8, "log"));
    bytes[70] ^= 1;
    write_file(&disk, DIR, &name(8, "log"), &bytes);
    let config = tiny(&disk).on_corruption(OnCorruption::Quarantine);
    let log = Log::open(DIR, config).unwrap();
    let kept = vec![0, 1, 2, 3, 6, 7, 8, 10, 11];
    assert_eq!(offsets(&log), kept);
    drop(log);

    let cut = MemFs::new();
    let log = Log::open(DIR, tiny(&cut)).unwrap();
    log.append_all((0..3).map(|n| Record::from(n.to_string()))).unwrap();
    log.append_all((3..6).map(|n| Record::from(n.to_string()))).unwrap();
    log.truncate_to(5).unwrap();
    log.append("5").unwrap();
    log.flush().unwrap();
    drop(log);

    for (fs, kept) in [(disk, kept), (cut, vec![0, 1, 2, 5])] {
        for removed in [false, true] {
            for disk in
                [fs.kill(), fs.crash(CrashState::SyncedOnly), fs.crash(CrashState::AllWrites)]
            {
                if removed {
                    let point = Path::new(DIR).join("recovery-point-offset-checkpoint");
                    disk.remove(&point).unwrap();
                }
                let log = Log::open(DIR, tiny(&disk)).unwrap();
                assert_eq!(offsets(&log), kept, "removed: {removed}");
                assert_eq!(log.verify().unwrap(), []);
            }
        }
    }
}

/// Below a checkpoint above the end, records that were never compacted counted as compacted,
/// forever.
#[test]
fn cleaner_checkpoint_above_end_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, compacting(&fs)).unwrap();
    fill(&log);
    log.close().unwrap();
    for copies in [1, 2] {
        let disk = fs.kill();
        let text = format!("0\n{copies}\n{}", "t 0 1000\n".repeat(copies));
        write_file(&disk, DIR, "cleaner-offset-checkpoint", text.as_bytes());
        let log = Log::open(DIR, compacting(&disk)).unwrap();
        assert_eq!(log.stats().unwrap().first_dirty_offset, 0);
        log.append(Record::new("v").key("last")).unwrap();
        log.roll().unwrap();
        log.maintain().unwrap();
        assert_eq!(offsets(&log).len(), 22);
    }
}
