//! Logs of a broker with transactions: the last stable offset and the index of aborted
//! transactions.

use super::{UNNUMBERED, config};
use annals::fs::{Fs, MemFs};
use annals::{Log, ProducerId, Result};
use std::path::Path;
use support::{DIR, files, name, read_file, write_file};

/// A log of a broker: producer 12 has aborted 2 to 9, with a marker at 10, and has a transaction
/// open from 11 on; 11 has aborted 9 to 12, with a marker at 13.
fn log_with_transactions() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/logs/txn/pay-0");
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        write_file(&fs, DIR, name, &std::fs::read(&path).unwrap());
    }
    fs
}

/// Which transactions an index says were aborted: whose, and the offset of the marker.
fn aborted(fs: &MemFs) -> Vec<(ProducerId, i64)> {
    let path = Path::new(DIR).join(name(0, "txnindex"));
    if !files(fs, DIR).contains_key(&name(0, "txnindex")) {
        return Vec::new();
    }
    let entries = annals::inspect::TxnEntries::open(fs, &path).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.producer_id, entry.last_offset)).collect()
}

/// A consumer of committed records must not see those of a transaction that is open.
#[test]
fn last_stable_offset_precedes_open_transaction() {
    let fs = log_with_transactions();
    let reader = Log::open_read_only(DIR, config(&fs)).unwrap();
    assert_eq!((reader.offsets().last_stable, reader.offsets().end), (11, 15));
    let log = Log::open(DIR, config(&fs)).unwrap();
    assert_eq!((log.offsets().last_stable, log.offsets().end), (11, 15));
    log.append(UNNUMBERED).unwrap();
    assert_eq!(log.offsets().last_stable, 11);
    log.roll().unwrap();
    log.append(UNNUMBERED).unwrap();
    // Where the last segment begins, a snapshot tells it.
    assert_eq!(Log::open_read_only(DIR, config(&fs)).unwrap().offsets().last_stable, 11);
    log.close().unwrap();
    let log = Log::open(DIR, config(&fs)).unwrap();
    assert_eq!((log.offsets().last_stable, log.recovery().clean_shutdown), (11, true));
    log.delete_before(12).unwrap();
    assert_eq!(log.offsets().last_stable, 12);
    for (target, last_stable) in [(15, 12), (14, 12)] {
        log.truncate_to(target).unwrap();
        assert_eq!(log.offsets().last_stable, last_stable, "{target}");
    }
    drop(log);
    let log = Log::open(DIR, config(&log_with_transactions())).unwrap();
    // At 11, producer 12 has none open, and 11 one from 9 on. At 3, one from 0 on was not
    // committed yet.
    for (target, last_stable) in [(13, 9), (11, 9), (10, 2), (3, 0), (2, 0)] {
        log.truncate_to(target).unwrap();
        assert_eq!((log.offsets().last_stable, log.offsets().end), (last_stable, target));
    }
}

/// A clean close tells a broker to trust the index. It hid committed records after a transaction
/// that had been truncated, and showed aborted ones whose entry was missing.
#[test]
fn transaction_index_follows_log() {
    let whole = read_file(&log_with_transactions(), DIR, &name(0, "txnindex"));
    let other = [&whole[34..], &whole[34..], &whole[..10]].concat();
    for found in [None, Some(&whole[..34]), Some(&whole[..]), Some(&other), Some(&whole[..50])] {
        let fs = log_with_transactions();
        fs.remove(&Path::new(DIR).join(name(0, "txnindex"))).unwrap();
        if let Some(found) = found {
            write_file(&fs, DIR, &name(0, "txnindex"), found);
        }
        // It was killed: the batches that are read are indexed anew.
        let log = Log::open(DIR, config(&fs)).unwrap();
        assert_eq!(read_file(&fs, DIR, &name(0, "txnindex")), whole);
        log.close().unwrap();
        let log = Log::open(DIR, config(&fs)).unwrap();
        assert_eq!(read_file(&fs, DIR, &name(0, "txnindex")), whole);
        for (target, left) in [(14, 2), (13, 1), (11, 1), (10, 0), (0, 0)] {
            log.truncate_to(target).unwrap();
            assert_eq!(aborted(&fs), [(12, 10), (11, 13)][..left], "{target}");
        }
        // Records that take the place of the truncated ones are not hidden.
        for _ in 0..20 {
            log.append(UNNUMBERED).unwrap();
        }
        log.close().unwrap();
        assert_eq!(aborted(&fs), []);
    }
    // A torn write takes a marker with it.
    let fs = log_with_transactions();
    let bytes = read_file(&fs, DIR, &name(0, "log"));
    write_file(&fs, DIR, &name(0, "log"), &bytes[..bytes.len() - 100]);
    let end = Log::open(DIR, config(&fs)).unwrap().offsets().end;
    assert!(end <= 13, "{end}");
    assert_eq!(aborted(&fs), [(12, 10)]);
}

/// The next segment of the same base would have it.
#[test]
fn truncation_removes_transaction_index() {
    let fs = log_with_transactions();
    let log = Log::open(DIR, config(&fs)).unwrap();
    log.roll().unwrap();
    log.append(UNNUMBERED).unwrap();
    write_file(&fs, DIR, &name(15, "txnindex"), &[0; 34]);
    log.truncate_to(12).unwrap();
    assert!(!files(&fs, DIR).contains_key(&name(15, "txnindex")));
}
