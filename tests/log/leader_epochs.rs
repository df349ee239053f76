//! Leader epochs: on the batches, in their file, and in the answers to a follower.

use annals::fs::{Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{ErrorKind, Event, LeaderEpoch, Log, LogConfig, Offset, Record, StartAt};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use support::{DIR, Heard, names, read_file, three, until, write_file};

const FILE: &str = "leader-epoch-checkpoint";

fn config(fs: impl Fs) -> LogConfig {
    LogConfig::default().segment_bytes(600).fs(fs)
}

fn open(fs: &MemFs) -> Log {
    Log::open(DIR, config(fs.clone())).unwrap()
}

fn epochs(log: &Log) -> Vec<(LeaderEpoch, Offset)> {
    log.leader_epochs().unwrap().iter().map(|e| (e.epoch, e.start_offset)).collect()
}

/// The base offset and the epoch of each batch.
fn stamped(log: &Log) -> Vec<(Offset, LeaderEpoch)> {
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let mut found = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        found.push((batch.header().base_offset, batch.header().leader_epoch));
    }
    found
}

fn text(fs: &MemFs) -> String {
    String::from_utf8(read_file(fs, DIR, FILE)).unwrap()
}

/// A log with the epochs 3 from offset 0, 5 from 6 and 8 from 9, in two segments.
fn three_epochs(fs: &MemFs) -> Log {
    let log = Log::open(DIR, config(fs.clone()).leader_epoch(3)).unwrap();
    three(&log, "");
    three(&log, "");
    log.set_leader_epoch(5).unwrap();
    three(&log, "");
    log.roll().unwrap();
    log.set_leader_epoch(8).unwrap();
    three(&log, "");
    log
}

const THREE: [(LeaderEpoch, Offset); 3] = [(3, 0), (5, 6), (8, 9)];

#[test]
fn batches_carry_epoch_of_their_leader() {
    let fs = MemFs::new();
    let log = three_epochs(&fs);
    assert_eq!(epochs(&log), THREE);
    assert_eq!(stamped(&log), [(0, 3), (3, 3), (6, 5), (9, 8)]);
    assert_eq!(text(&fs), "0\n3\n3 0\n5 6\n8 9\n");
    let at = |offset| log.epoch_of(offset).unwrap();
    assert_eq!([0, 5, 6, 8, 9, 12, 99].map(at), [3, 3, 5, 5, 8, 8, 8].map(Some));
    let end = |epoch| log.epoch_end_offset(epoch).unwrap().map(|end| (end.epoch, end.end_offset));
    assert_eq!([2, 3, 4].map(end), [Some((2, 0)), Some((3, 6)), Some((3, 6))]);
    assert_eq!([5, 8, 9, -1].map(end), [Some((5, 9)), Some((8, 12)), None, None]);
    log.close().unwrap();
    let log = open(&fs);
    assert!(log.recovery().clean_shutdown);
    assert_eq!(epochs(&log), THREE);
    three(&log, "");
    assert_eq!(stamped(&log).last(), Some(&(12, 8)), "the latest epoch goes on");
}

#[test]
fn log_without_epoch_has_no_file() {
    let fs = MemFs::new();
    let log = open(&fs);
    (0..4).for_each(|_| three(&log, ""));
    log.roll().unwrap();
    log.truncate_to(7).unwrap();
    three(&log, "");
    log.delete_before(4).unwrap();
    log.set_leader_epoch(-1).unwrap();
    assert_eq!(epochs(&log), []);
    assert_eq!(log.epoch_of(5).unwrap(), None);
    log.close().unwrap();
    assert!(stamped(&open(&fs)).iter().all(|(_, epoch)| *epoch == -1));
    assert!(!names(&fs, DIR).iter().any(|name| name.starts_with(FILE)), "{:?}", names(&fs, DIR));
}

#[test]
fn lower_epoch_is_rejected() {
    let fs = MemFs::new();
    let log = three_epochs(&fs);
    for stale in [7, 0, -1] {
        let error = log.set_leader_epoch(stale).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        let expected = format!(
            "leader epoch {stale} is older than 8, which log {DIR} has; use 8 or a higher one"
        );
        assert_eq!(error.to_string(), expected);
    }
    let error = log.set_leader_epoch(-2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "option `leader_epoch` is -2, but must be at least -1, which means unknown"
    );
    log.set_leader_epoch(8).unwrap();
    log.close().unwrap();
    let before = text(&fs);
    let error = Log::open(DIR, config(fs.clone()).leader_epoch(7)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(text(&fs), before);
    let log = Log::open(DIR, config(fs).leader_epoch(8)).unwrap();
    assert!(log.recovery().clean_shutdown, "the opening that failed has changed nothing");
    assert_eq!(epochs(&log), THREE);
}

#[test]
fn truncation_removes_epochs_above_it() {
    let fs = MemFs::new();
    let log = three_epochs(&fs);
    log.truncate_to(6).unwrap();
    assert_eq!(text(&fs), "0\n1\n3 0\n");
    assert_eq!(epochs(&log), [(3, 0)]);
    // The leader is still the same, and its epoch begins anew.
    three(&log, "");
    assert_eq!(epochs(&log), [(3, 0), (8, 6)]);
    assert_eq!(stamped(&log), [(0, 3), (3, 3), (6, 8)]);
    // The target lies inside a batch: its first offsets stay without a record.
    log.truncate_to(7).unwrap();
    three(&log, "");
    assert_eq!(epochs(&log), [(3, 0), (8, 6)]);
    log.truncate_to(0).unwrap();
    assert_eq!(epochs(&log), []);
    drop(log);
    let log = open(&fs);
    three(&log, "");
    assert_eq!(stamped(&log), [(0, -1)], "the log was never led, as far as it knows");
}

#[test]
fn deletion_moves_start_of_first_epoch() {
    let fs = MemFs::new();
    let log = three_epochs(&fs);
    log.delete_before(7).unwrap();
    assert_eq!(epochs(&log), [(5, 7), (8, 9)]);
    assert_eq!(text(&fs), "0\n2\n5 7\n8 9\n");
    log.delete_before(12).unwrap();
    assert_eq!(epochs(&log), [(8, 12)]);
    log.close().unwrap();
    let log = open(&fs);
    assert_eq!(epochs(&log), [(8, 12)], "a log without a record keeps the epoch of its leader");
}

/// Kafka forgets such an epoch, because a broker hears of it again from the controller.
#[test]
fn epoch_without_record_survives_reopening() {
    let fs = MemFs::new();
    let log = three_epochs(&fs);
    log.set_leader_epoch(9).unwrap();
    log.set_leader_epoch(11).unwrap();
    let expected = [&THREE[..], &[(11, 12)]].concat();
    assert_eq!(epochs(&log), expected);
    for disk in [fs.kill(), fs.crash(annals::fs::CrashState::SyncedOnly)] {
        let log = open(&disk);
        // A power loss takes the records that were not synced.
        let end = log.offsets().end;
        let at_end: Vec<_> = expected.iter().copied().filter(|(_, start)| *start <= end).collect();
        assert_eq!(epochs(&log), at_end);
    }
    log.close().unwrap();
    assert_eq!(epochs(&open(&fs)), expected);
}

#[test]
fn wrong_epoch_file_is_rebuilt_and_reported() {
    let original = MemFs::new();
    let log = three_epochs(&original);
    let killed = original.kill();
    log.close().unwrap();
    for (state, disk) in [("killed", killed), ("closed", original)] {
        for (content, reason) in [
            (Some("garbage"), "its version is not 0"),
            (Some("0\n2\n3 0\n"), "its number of lines differs from its count"),
            (Some("0\n2\n5 0\n3 6\n"), "its epochs and offsets do not rise"),
            (Some("0\n1\n-4 0\n"), "an epoch is negative"),
            (Some("0\n2\n3 0\n5 6\n"), "it lacks epochs of the log"),
            (Some(""), "it lacks epochs of the log"),
            (Some("\u{1}"), "its version is not 0"),
            (None, "it is missing"),
        ] {
            let place = format!("{state}: {content:?}");
            let fs = disk.kill();
            match content {
                Some(content) => write_file(&fs, DIR, FILE, content.as_bytes()),
                None => fs.remove(&Path::new(DIR).join(FILE)).unwrap(),
            }
            let follower = Log::open_read_only(DIR, config(fs.clone())).unwrap();
            assert_eq!(epochs(&follower), THREE, "{place}");
            let heard = Arc::new(Heard::default());
            let log = Log::open(DIR, config(fs.clone()).listener(heard.clone())).unwrap();
            assert_eq!(epochs(&log), THREE, "{place}");
            assert_eq!(text(&fs), "0\n3\n3 0\n5 6\n8 9\n", "{place}");
            let events = heard.0.lock().unwrap();
            let reported = |event: &Event| {
                matches!(event, Event::CheckpointIgnored { path, reason: why }
                    if path.ends_with(FILE) && *why == reason)
            };
            assert!(events.iter().any(reported), "{place}: {events:?}");
            assert_eq!(stamped(&log), [(0, 3), (3, 3), (6, 5), (9, 8)]);
        }
    }
}

#[test]
fn opening_removes_epochs_beyond_log() {
    let fs = MemFs::new();
    three_epochs(&fs).close().unwrap();
    write_file(&fs, DIR, FILE, b"0\n5\n3 0\n5 6\n8 9\n9 12\n10 13\n");
    let log = open(&fs);
    assert_eq!(epochs(&log), [&THREE[..], &[(9, 12)]].concat());
    assert_eq!(text(&fs), "0\n4\n3 0\n5 6\n8 9\n9 12\n");
}

#[test]
fn read_only_log_sees_new_epochs() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(fs.clone())).unwrap();
    let follower = Log::open_read_only(DIR, config(fs.clone())).unwrap();
    three(&log, "");
    assert_eq!(epochs(&follower), []);
    log.set_leader_epoch(2).unwrap();
    three(&log, "");
    assert_eq!(epochs(&follower), [(2, 3)]);
    assert_eq!((follower.epoch_of(2).unwrap(), follower.epoch_of(3).unwrap()), (None, Some(2)));
    assert_eq!(follower.epoch_end_offset(2).unwrap().map(|end| end.end_offset), Some(6));
    log.truncate_to(3).unwrap();
    log.set_leader_epoch(4).unwrap();
    three(&log, "");
    assert_eq!(epochs(&follower), [(4, 3)]);
    assert_eq!(follower.set_leader_epoch(5).unwrap_err().kind(), ErrorKind::ReadOnly);
    log.close().unwrap();
}

/// Batches that wait in the queue of a group append are stamped when they are written: they can
/// come after a new epoch, and then they belong to it.
#[test]
fn epochs_never_go_back_under_group_append() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(fs).segment_bytes(8 << 10)).unwrap();
    let done = AtomicBool::new(false);
    let ends = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    log.append("value").unwrap();
                }
            });
        }
        scope.spawn(|| {
            for epoch in 0..30 {
                log.set_leader_epoch(epoch).unwrap();
                let end = log.offsets().end;
                until(|| log.offsets().end > end + 20);
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let latest = log.leader_epochs().unwrap().last().map_or(0, |latest| latest.epoch);
                let end = log.epoch_end_offset(latest).unwrap();
                let mut ends = ends.lock().unwrap();
                if ends.last() != end.as_ref() {
                    ends.extend(end);
                }
                std::thread::yield_now();
            }
        });
    });
    let stamped = stamped(&log);
    assert!(stamped.is_sorted_by_key(|(_, epoch)| *epoch), "{stamped:?}");
    for (base, epoch) in &stamped {
        let known = log.epoch_of(*base).unwrap();
        assert_eq!(known, (*epoch >= 0).then_some(*epoch), "at {base}");
    }
    // A follower that was told where an epoch ends keeps no record of a later one.
    for told in ends.into_inner().unwrap() {
        let end = log.epoch_end_offset(told.epoch).unwrap().unwrap().end_offset;
        assert!(told.end_offset <= end, "{told:?}, but it ends at {end}");
    }
    let seen: BTreeSet<_> = stamped.iter().map(|(_, epoch)| *epoch).collect();
    assert!(seen.len() >= 30, "{seen:?}");
}

/// The file may have the epoch although writing it failed. It must not keep it: the next batches
/// have the epoch from before.
#[test]
fn failed_epoch_leaves_no_trace_in_file() {
    for operation in [Operation::CreateNew, Operation::Write, Operation::Rename, Operation::SyncDir]
    {
        let (disk, heard) = (MemFs::new(), Arc::new(Heard::default()));
        let fs = FaultFs::new(disk.clone());
        let log = Log::open(DIR, config(fs.clone()).listener(heard).leader_epoch(3)).unwrap();
        three(&log, "");
        let rule = Rule::new(operation, Fault::Error(io::ErrorKind::StorageFull));
        let rule = if operation == Operation::SyncDir { rule } else { rule.path(FILE) };
        let rule = fs.add_rule(rule);
        assert_eq!(log.set_leader_epoch(5).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(epochs(&log), [(3, 0)]);
        let is_in_file = text(&disk) != "0\n1\n3 0\n";
        assert_eq!(is_in_file, operation == Operation::SyncDir);
        assert!(log.append("x").is_err(), "the file is not known to be right");
        fs.remove_rule(rule);
        three(&log, "");
        assert_eq!(text(&disk), "0\n1\n3 0\n", "{operation:?}");
        let log = open(&disk.kill());
        assert_eq!(epochs(&log), [(3, 0)]);
        assert_eq!(stamped(&log), [(0, 3), (3, 3)]);
    }
}

/// The first append of an epoch writes the file. If that fails, nothing was appended.
#[test]
fn append_fails_when_epoch_cannot_be_stored() {
    let disk = MemFs::new();
    let fs = FaultFs::new(disk.clone());
    let log = Log::open(DIR, config(fs.clone()).leader_epoch(3)).unwrap();
    three(&log, "");
    log.truncate_to(0).unwrap();
    let error = Fault::Error(io::ErrorKind::StorageFull);
    let rule = fs.add_rule(Rule::new(Operation::CreateNew, error).path(FILE));
    assert_eq!(log.append("x").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(log.offsets().end, 0);
    fs.remove_rule(rule);
    assert_eq!(log.append(Record::new("y")).unwrap(), 0);
    assert_eq!((epochs(&log), stamped(&log)), (vec![(3, 0)], vec![(0, 3)]));
}
