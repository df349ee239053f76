//! A fuzz target that compacts its input as a segment.

use super::agree::{Served, agree};
use super::directories::{DIR, clean, config, disk};
use super::repair;
use crate::memory::bounded;
use annals::fs::{CrashState, MemFs};
use annals::record::Compression;
use annals::{CleanupPolicy, Codec, Log, LogConfig, OnCorruption, StoredRecord};
use std::collections::BTreeMap;

/// Compacts a log that opens. Afterwards, it holds the last record of each key and nothing else,
/// or it cannot be compacted and is unchanged.
pub fn compaction(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        repair(&mut bytes);
    }
    let len = bytes.len();
    let files = BTreeMap::from([("00000000000000000000.log".to_owned(), bytes)]);
    bounded(len, || {
        let fs = disk(&files);
        let mut config = config(&fs, OnCorruption::Truncate)
            .cleanup_policy(CleanupPolicy::CompactAndDelete)
            // Room for a few keys, which takes several passes, or for all keys.
            .dedupe_buffer_bytes(if flags & 2 != 0 { 1024 } else { 64 << 10 });
        if flags & 4 != 0 {
            config = config.compression(Compression::of(Codec::Lz4));
        }
        let Ok(log) = Log::open(DIR, config.clone()) else { return };
        log.roll().unwrap();
        let (before, offsets) = (agree(&log), log.offsets());
        let sound = log.verify().unwrap().is_empty();
        let compacted = log.compact();
        let after = agree(&log);
        assert_eq!((log.offsets().start, log.offsets().end), (offsets.start, offsets.end));
        match compacted {
            Err(error) => {
                clean(&error);
                same(&before.records, &after);
            }
            Ok(report) if report.passes == 0 => same(&before.records, &after),
            Ok(_) => {
                assert!(before.error.is_none(), "{:?}", before.error);
                only_winners(&before.records, &after.records);
                assert!(!sound || log.verify().unwrap().is_empty());
                again(&log, &fs, config, &after);
            }
        }
    });
}

fn same(before: &[StoredRecord], after: &Served) {
    assert_eq!(before, after.records);
}

/// Checks that only the last record of each key is left. A tombstone may be removed, too, if an
/// earlier compaction has set its delete horizon.
fn only_winners(before: &[StoredRecord], after: &[StoredRecord]) {
    let last: BTreeMap<_, _> = before.iter().map(|r| (r.key.clone(), r.offset)).collect();
    let wins = |r: &&StoredRecord| r.key.is_some() && last.get(&r.key) == Some(&r.offset);
    let mut after = after.iter().peekable();
    for winner in before.iter().filter(wins) {
        if after.next_if(|next| *next == winner).is_none() {
            assert!(winner.value.is_none(), "{} is gone", winner.offset);
        }
    }
    assert_eq!(after.next(), None);
}

/// Checks that a second compaction changes nothing but tombstones, and a crash changes nothing.
fn again(log: &Log, fs: &MemFs, config: LogConfig, served: &Served) {
    log.compact().unwrap();
    let twice = agree(log);
    only_winners(&served.records, &twice.records);
    let after_crash = Log::open(DIR, config.fs(fs.crash(CrashState::SyncedOnly))).unwrap();
    same(&twice.records, &agree(&after_crash));
    assert_eq!(after_crash.offsets().end, log.offsets().end);
}
