//! Offsets without a batch, and bytes that are no batch of ours: the parts that opening a log
//! keeps, and those it reports as damage.

mod compacted;
mod damaged;
mod missing_segments;
mod old_formats;
mod torn_tail;

use annals::fs::MemFs;
use annals::record::BatchBuilder;
use annals::*;
use support::{DIR, mend_checksum, offsets, store};

fn compacting(fs: &MemFs) -> LogConfig {
    LogConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(1024).fs(fs.clone())
}

fn tiny(fs: &MemFs) -> LogConfig {
    LogConfig::default().segment_bytes(150).fs(fs.clone())
}

fn append(log: &Log, keys: std::ops::Range<u64>) {
    for key in keys {
        log.append(Record::new("v").key(key.to_string())).unwrap();
    }
}

/// Two batches a segment; the second of each is superseded, so each segment would end in a gap
/// when it is compacted.
fn fill(log: &Log) {
    for n in 0..20 {
        log.append(Record::new("v".repeat(300)).key(format!("unique{n}"))).unwrap();
        log.append(Record::new("v".repeat(300)).key("counter")).unwrap();
    }
}

/// A log that was compacted, and what is in it.
fn compacted(dir: &str, fs: &MemFs) -> (Log, Vec<u64>) {
    let log = Log::open(dir, compacting(fs)).unwrap();
    fill(&log);
    log.compact().unwrap();
    let kept = offsets(&log);
    assert_eq!(kept.len(), 22);
    (log, kept)
}

/// A log of 12 offsets, two in each segment.
fn dense(fs: &MemFs) -> Log {
    let log = Log::open(DIR, tiny(fs)).unwrap();
    append(&log, 0..12);
    log
}

/// Leaves a closed store with the topic `t`: a log creates no partition in one.
fn close_with_topic(fs: &MemFs) {
    let store = store(fs.clone());
    store.create_topic("t", TopicConfig::default()).unwrap();
    store.close().unwrap();
}

/// A batch whose attributes and magic are set, with the checksum of its format.
fn batch(offset: u64, magic: u8, codec: u8) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(offset).push(Timestamp::from_millis(1), None, Some(b"new")).unwrap();
    let mut batch = builder.build_bytes().unwrap();
    (batch[16], batch[22]) = (magic, codec);
    mend_checksum(&mut batch);
    batch
}
