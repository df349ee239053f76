//! Appends and rolls that fail: the failures that a log survives, and the ones that poison it.

use super::config;
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{Error, Log, LogConfig};
use std::io::ErrorKind;
use support::{DIR, read_all};

/// Trap: a write error is forgotten, and a later sync reports success.
#[test]
fn flush_fails_after_failed_write() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    log.append("there").unwrap();
    fs.add_rule(
        Rule::new(Operation::Write, Fault::PartialWrite { written: 9, kind: ErrorKind::Other })
            .nth(1),
    );
    assert!(matches!(log.append("torn"), Err(Error::Io { .. })));
    assert!(matches!(log.append("next"), Err(Error::Poisoned { .. })));
    assert!(log.flush().is_err());
    assert_eq!(log.offsets().end, 1);
}

/// A quota and the largest file size are limits like a full disk: the disk itself is sound.
#[test]
fn only_lack_of_space_is_survived() {
    let rooms = [
        (ErrorKind::StorageFull, 28),
        (ErrorKind::QuotaExceeded, if cfg!(target_os = "macos") { 69 } else { 122 }),
        (ErrorKind::FileTooLarge, 27),
    ];
    for (kind, number) in rooms {
        for written in [None, Some(0), Some(1), Some(61), Some(70)] {
            for preallocate in [false, true] {
                let case = format!("{kind:?} after {written:?}, preallocate {preallocate}");
                let memory = MemFs::new();
                let fs = FaultFs::new(memory.clone());
                let config = config().preallocate(preallocate);
                let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
                log.append("before").unwrap();
                let fault = match written {
                    Some(written) => Fault::PartialWrite { written, kind },
                    None if cfg!(unix) => Fault::Errno(number),
                    None => Fault::Error(kind),
                };
                fs.add_rule(Rule::new(Operation::Write, fault).path(".log").nth(1));
                let error = log.append("x".repeat(200)).unwrap_err();
                assert_eq!(error.kind(), annals::ErrorKind::StorageFull, "{case}: {error}");
                assert!(error.is_retryable(), "{case}");
                assert_eq!((log.offsets().end, read_all(&log).len()), (1, 1), "{case}");
                let log = if written == Some(61) {
                    drop(log);
                    Log::open(DIR, config.clone().fs(memory.kill())).unwrap()
                } else {
                    log
                };
                assert_eq!(log.recovery().truncated_bytes, 0, "{case}: it was taken back");
                assert_eq!(log.append("after").unwrap(), 1, "{case}");
                log.flush().unwrap();
                assert_eq!(log.verify().unwrap(), [], "{case}");
                let values: Vec<_> = read_all(&log).into_iter().map(|rec| rec.value).collect();
                assert_eq!(values, [Some(b"before".to_vec()), Some(b"after".to_vec())], "{case}");
            }
        }
    }
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    fs.add_rule(Rule::new(Operation::Write, Fault::Error(ErrorKind::PermissionDenied)).nth(1));
    assert!(!log.append("x").unwrap_err().is_retryable());
    assert!(matches!(log.append("y"), Err(Error::Poisoned { .. })));
}

/// No room to be made: the file is as large as files may be, and the next one has room.
#[test]
fn append_rolls_when_file_reaches_limit() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
    log.append("a").unwrap();
    let full = Fault::Error(ErrorKind::FileTooLarge);
    fs.add_rule(Rule::new(Operation::Write, full).path("00000000000000000000.log"));
    for _ in 0..3 {
        let error = log.append("b").unwrap_err();
        assert_eq!(error.kind(), annals::ErrorKind::StorageFull);
    }
    log.roll().unwrap();
    assert_eq!(log.append("b").unwrap(), 1);
    log.close().unwrap();
}

/// The rollback failed, so the content of the file is unknown.
#[test]
fn append_poisons_when_rollback_fails() {
    for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge] {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        log.append("a").unwrap();
        fs.add_rule(
            Rule::new(Operation::Write, Fault::PartialWrite { written: 40, kind }).path(".log"),
        );
        fs.add_rule(Rule::new(Operation::SetLen, Fault::Errno(5)).path(".log"));
        assert!(log.append("b").is_err());
        assert!(matches!(log.append("c"), Err(Error::Poisoned { .. })));
        let log = Log::open(DIR, config().fs(memory.kill())).unwrap();
        assert_eq!((log.offsets().end, log.recovery().truncated_bytes), (1, 40));
    }
}

/// Preallocated space that could not be removed stayed after the last batch; after a clean close
/// it was damage.
#[test]
fn roll_fails_when_preallocation_cannot_shrink() {
    let fs = FaultFs::new(MemFs::new());
    let config = config().preallocate(true).fs(fs.clone());
    let log = Log::open(DIR, config.clone()).unwrap();
    log.append("a").unwrap();
    let rule = fs.add_rule(Rule::new(Operation::SetLen, Fault::Errno(5)).path(".log"));
    assert!(log.roll().is_err());
    assert_eq!(log.append("b").unwrap(), 1);
    fs.remove_rule(rule);
    log.roll().unwrap();
    log.append("c").unwrap();
    log.close().unwrap();
    let log = Log::open(DIR, config).unwrap();
    assert_eq!((read_all(&log).len(), log.verify().unwrap()), (3, vec![]));
}

/// Neither room for the next segment nor a way to remove its file: the file that stayed claimed
/// the offsets of what was appended next, and the log did not open again.
#[test]
fn failed_roll_leaves_no_segment_name() {
    for can_remove in [true, false] {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let config = config().preallocate(true);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        log.append("a").unwrap();
        fs.add_rule(Rule::new(Operation::Allocate, Fault::Error(ErrorKind::StorageFull)));
        if !can_remove {
            fs.add_rule(Rule::new(Operation::Remove, Fault::Errno(5)));
        }
        assert_eq!(log.roll().is_err(), can_remove);
        log.append("b").unwrap();
        fs.clear_rules();
        log.append("c").unwrap();
        let log = Log::open(DIR, config.fs(memory.kill())).unwrap();
        assert_eq!(read_all(&log).len(), 3);
    }
}

/// Valid batches after bad bytes, and the machine has not stopped: no interrupted write leaves
/// that.
#[test]
fn opening_never_truncates_at_corruption() {
    for flushed in [false, true] {
        let memory = MemFs::new();
        let log = Log::open(DIR, LogConfig::default().fs(memory.clone())).unwrap();
        (0..3).for_each(|_| drop(log.append("x").unwrap()));
        if flushed {
            log.roll().unwrap();
            log.append("y").unwrap();
            log.flush().unwrap();
        }
        let disk = memory.kill();
        let name = support::name(0, "log");
        let mut bytes = support::read_file(&disk, DIR, &name);
        bytes[70 + 65] ^= 1;
        support::write_file(&disk, DIR, &name, &bytes);
        let opened = Log::open(DIR, LogConfig::default().fs(disk.clone()));
        // Opening does not read below the recovery point; reading the records there finds the
        // damage.
        let outcome = opened.and_then(|log| log.get(1).map(drop));
        assert!(matches!(outcome, Err(Error::Corrupt(_))), "flushed: {flushed}, {outcome:?}");
        assert_eq!(support::read_file(&disk, DIR, &name), bytes, "nothing is cut");
    }
}
