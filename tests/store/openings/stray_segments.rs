//! A last segment that is foreign, empty or above the end: it stays whole until it is quarantined.

use super::{MARK, closed_store, mkdir, plain};
use annals::fs::{Fs, MemFs};
use annals::{CleanupPolicy, ErrorKind, Log, OnCorruption, Record};
use std::path::Path;
use support::{files, mend_checksum, name, read_all, read_file, write_file};

/// A partition was copied out of its store, with a foreign file that has the name of a segment:
/// the file was emptied, and the log ended after it. Where it was rejected, the message blamed the
/// sound segment before it.
#[test]
fn foreign_last_segment_stays_whole() {
    let contents: [&[u8]; 3] = [b"root:x:0:0:root:/root:/bin/bash\n", b"x", &[0xff; 100]];
    for bytes in contents {
        for with_files in [false, true] {
            let fs = closed_store();
            let dir = if with_files { "d/orders-1" } else { "copy" };
            if !with_files {
                mkdir(&fs, dir);
                for (name, bytes) in files(&fs, "d/orders-1") {
                    write_file(&fs, dir, &name, &bytes);
                }
            }
            // As after a kill: nothing says how the log was closed.
            fs.remove(&Path::new("d").join(MARK)).unwrap();
            let intruder = name(99_999_999, "log");
            write_file(&fs, dir, &intruder, bytes);
            let error = Log::open(dir, plain(&fs)).unwrap_err();
            assert!(error.to_string().contains(&intruder), "{error}");
            assert_eq!(read_file(&fs, dir, &intruder), bytes);
            fs.remove(&Path::new(dir).join(&intruder)).unwrap();
            let log = Log::open(dir, plain(&fs)).unwrap();
            assert_eq!(read_all(&log).len(), 3);
        }
    }
}

/// Logs of three records that were closed: by themselves, and in a store.
fn closed_logs() -> [(MemFs, &'static str); 2] {
    let fs = MemFs::new();
    let log = Log::open("log", plain(&fs)).unwrap();
    log.append_all(["a", "b"].map(Record::new)).unwrap();
    log.roll().unwrap();
    log.append("c").unwrap();
    log.close().unwrap();
    [(fs, "log"), (closed_store(), "d/orders-1")]
}

/// An opening that quarantines failed after it had covered the offsets up to the name of the
/// foreign file, 100 million, or succeeded and ended there. An empty file was not even reported.
#[test]
fn stray_last_segment_is_quarantined_whole() {
    let zeros = [0; 100];
    let text = b"root:x:0:0:root:/root:/bin/bash\n";
    let contents: [&[u8]; 6] = [b"", &zeros, b"hello", b"x", text, &[0xff; 100]];
    for (bytes, (fs, dir)) in contents.into_iter().flat_map(|b| closed_logs().map(|log| (b, log))) {
        let stray = name(99_999_999, "log");
        let before = files(&fs, dir);
        write_file(&fs, dir, &stray, bytes);
        let with_stray = files(&fs, dir);
        for error in [Log::open(dir, plain(&fs)), Log::open_read_only(dir, plain(&fs))] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&stray) && error.contains("99999996 offsets"), "{error}");
            assert_eq!(files(&fs, dir), with_stray, "{dir}: {bytes:?}");
        }
        let lenient = plain(&fs).on_corruption(OnCorruption::Truncate);
        let viewer = Log::open_read_only(dir, lenient).unwrap();
        assert_eq!(viewer.offsets().end, 3);
        // A look for more at the end finds the same files.
        assert_eq!(read_all(&viewer).len(), 3);
        let found = viewer.verify().unwrap();
        assert!(found.iter().any(|found| found.path.ends_with(&stray)), "{found:?}");
        drop(viewer);

        let quarantine = plain(&fs).on_corruption(OnCorruption::Quarantine);
        let log = Log::open(dir, quarantine).unwrap();
        assert_eq!(log.offsets().end, 3, "{dir}: {bytes:?}");
        let [taken] = log.recovery().quarantined.as_slice() else { panic!("{:?}", log.recovery()) };
        assert_eq!((taken.bytes, taken.offsets.is_empty()), (bytes.len() as u64, true));
        let saved = taken.path.file_name().unwrap().to_str().unwrap();
        assert_eq!(read_file(&fs, dir, saved), bytes);
        assert_eq!(log.append("d").unwrap(), 3);
        log.close().unwrap();
        let after = files(&fs, dir);
        assert!(before.iter().all(|(name, _)| after.iter().any(|(kept, _)| kept == name)));
        assert_eq!(read_all(&Log::open(dir, plain(&fs)).unwrap()).len(), 4);
    }
}

/// The way out that the error names, and a truncation with such a file.
#[test]
fn log_opens_after_stray_is_removed() {
    for (fs, dir) in closed_logs() {
        let stray = name(99_999_999, "log");
        write_file(&fs, dir, &stray, b"hello");
        Log::open(dir, plain(&fs)).unwrap_err();
        fs.remove(&Path::new(dir).join(&stray)).unwrap();
        let log = Log::open(dir, plain(&fs)).unwrap();
        // The rejected opening kept the marker.
        assert!(log.recovery().clean_shutdown, "{dir}");
        assert_eq!(log.offsets().end, 3);
        log.close().unwrap();
        write_file(&fs, dir, &stray, b"hello");
        let log = Log::open(dir, plain(&fs).on_corruption(OnCorruption::Truncate)).unwrap();
        assert_eq!((log.offsets().end, log.recovery().truncated_bytes), (3, 5));
    }
}

/// A broker rolls a compacted log whose last batches a pass then removes: the empty segment says
/// where the log ends.
#[test]
fn empty_last_segment_keeps_end() {
    for choice in [OnCorruption::Fail, OnCorruption::Quarantine, OnCorruption::Truncate] {
        for (fs, dir) in closed_logs() {
            let end = name(99, "log");
            write_file(&fs, dir, &end, b"");
            let compacts = plain(&fs).cleanup_policy(CleanupPolicy::Compact);
            let log = Log::open(dir, compacts.on_corruption(choice)).unwrap();
            assert_eq!(log.offsets().end, 99, "{dir} {choice:?}");
            drop(log);
        }
    }
    // A file of another program says nothing there, either.
    for (fs, dir) in closed_logs() {
        write_file(&fs, dir, &name(99, "log"), b"hello");
        let compacts = plain(&fs).cleanup_policy(CleanupPolicy::Compact);
        let log = Log::open(dir, compacts.on_corruption(OnCorruption::Quarantine)).unwrap();
        assert_eq!((log.offsets().end, log.recovery().quarantined.len()), (3, 1), "{dir}");
    }
}

/// Synced offsets count: if a segment with such offsets lost its bytes, none of them is reused.
#[test]
fn quarantine_keeps_synced_end() {
    for bytes in [&b""[..], b"hello", &[0; 100]] {
        for (fs, dir) in closed_logs() {
            let log = Log::open(dir, plain(&fs)).unwrap();
            log.append_all(["d", "e"].map(Record::new)).unwrap();
            log.close().unwrap();
            write_file(&fs, dir, &name(2, "log"), bytes);
            // In the last segment, and in one after a hole.
            for base in [2, 4] {
                let fs = fs.kill();
                if base == 4 {
                    fs.rename(
                        &Path::new(dir).join(name(2, "log")),
                        &Path::new(dir).join(name(4, "log")),
                    )
                    .unwrap();
                }
                let quarantine = plain(&fs).on_corruption(OnCorruption::Quarantine);
                let log = Log::open(dir, quarantine).unwrap();
                assert_eq!((log.offsets().end, read_all(&log).len()), (5, 2), "{dir} {bytes:?}");
            }
        }
    }
}

/// The damage of the first segment was moved before the last one was found to be of a format that
/// is not read.
#[test]
fn quarantine_changes_nothing_unless_it_finishes() {
    for (fs, dir) in closed_logs() {
        let mut first = read_file(&fs, dir, &name(0, "log"));
        first[65] ^= 1;
        write_file(&fs, dir, &name(0, "log"), &first);
        let mut last = read_file(&fs, dir, &name(2, "log"));
        last[22] = 7; // A codec of the future, with its checksum.
        mend_checksum(&mut last);
        write_file(&fs, dir, &name(2, "log"), &last);
        let before = files(&fs, dir);
        let error = Log::open(dir, plain(&fs).on_corruption(OnCorruption::Quarantine)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(files(&fs, dir), before);
    }
}
