//! Fuzz targets that read their input as an index or another small file of a sound log. The
//! records that the log returns must not depend on these files.

use super::Choices;
use super::agree::agree;
use super::directories::{DIR, clean, config};
use crate::memory::bounded;
use crate::write_file;
use annals::fs::MemFs;
use annals::inspect::{self, OffsetEntries, TimeEntries, TxnEntries};
use annals::{Log, OnCorruption, Record, StoredRecord, Timestamp};
use std::path::Path;
use std::sync::OnceLock;

pub struct Sound {
    pub closed: MemFs,
    pub killed: MemFs,
    pub records: Vec<StoredRecord>,
    pub bases: Vec<u64>,
}

/// Returns a log of a few segments whose timestamps rise and fall.
pub fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let fs = MemFs::new();
        let config = config(&fs, OnCorruption::Fail).segment_bytes(900);
        let log = Log::open(DIR, config).unwrap();
        for n in 0..24i64 {
            let time = 1_000 + n / 8 * 100 + n * 37 % 50;
            let records = (0..1 + n % 3).map(|i| {
                let record = Record::new(format!("value {n} {i}")).header("n", n.to_string());
                record.timestamp(Timestamp::from_millis(time - i))
            });
            log.append_all(records).unwrap();
            if n == 15 {
                log.flush().unwrap();
            }
        }
        let killed = fs.kill();
        let bases = log.stats().unwrap().segments.iter().map(|s| s.base_offset).collect();
        let records = super::agree::serve(&log).records;
        log.close().unwrap();
        Sound { closed: fs, killed, records, bases }
    })
}

fn index(data: &[u8], extension: &str, entry_bytes: usize) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let sound = sound();
    let base = sound.bases[usize::from(flags >> 2) % sound.bases.len()];
    // A length that no index can have is rejected at once, so most inputs get a valid length.
    let whole = bytes.len() / entry_bytes * entry_bytes;
    let bytes = if flags & 2 != 0 { bytes } else { &bytes[..whole] };
    let fs = if flags & 1 != 0 { &sound.killed } else { &sound.closed };
    let fs = fs.kill();
    let name = format!("{base:020}.{extension}");
    write_file(&fs, DIR, &name, bytes);
    bounded(bytes.len(), || {
        let path = Path::new(DIR).join(&name);
        OffsetEntries::open(&fs, &path).unwrap().for_each(drop);
        TimeEntries::open(&fs, &path).unwrap().for_each(drop);
        TxnEntries::open(&fs, &path).unwrap().for_each(drop);
        inspect::check_index(&fs, &path, &mut |_| {}).unwrap();
        let look = Log::open_read_only(DIR, config(&fs, OnCorruption::Fail)).unwrap();
        assert_eq!(agree(&look).records, sound.records, "read-only");
        drop(look);
        let log = Log::open(DIR, config(&fs, OnCorruption::Fail)).unwrap();
        let served = agree(&log);
        assert!(served.error.is_none());
        assert_eq!(served.records, sound.records);
    });
}

pub fn offset_index(data: &[u8]) {
    index(data, "index", 8);
}

pub fn time_index(data: &[u8]) {
    index(data, "timeindex", 12);
}

const HIGH_WATERMARK: &str = "replication-offset-checkpoint";

const SMALL: [&str; 9] = [
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    ".kafka_cleanshutdown",
    ".lock",
    "leader-epoch-checkpoint",
    "partition.metadata",
    "00000000000000000000.snapshot",
    "00000000000000000000.txnindex",
    HIGH_WATERMARK,
];

/// Reads any bytes as each of the small files, and opens a log beside them.
pub fn checkpoints(data: &[u8]) {
    let mut choices = Choices(data);
    let flags = choices.byte();
    let name = SMALL[usize::from(flags >> 1) % SMALL.len()];
    let bytes = choices.0;
    let sound = sound();
    let fs = if flags & 1 != 0 { sound.killed.kill() } else { sound.closed.kill() };
    write_file(&fs, DIR, name, bytes);
    bounded(bytes.len(), || {
        let path = Path::new(DIR).join(name);
        inspect_all(&fs, &path);
        let is_replicated = name == HIGH_WATERMARK;
        match Log::open(DIR, config(&fs, OnCorruption::Fail).replicated(is_replicated)) {
            // A recovery point beyond the end means that records are missing.
            Err(error) => clean(&error),
            Ok(log) => {
                if is_replicated {
                    let offsets = log.offsets();
                    assert!((offsets.start..=offsets.end).contains(&offsets.high_watermark));
                    log.set_high_watermark(u64::MAX).unwrap();
                }
                let served = agree(&log);
                assert!(served.error.is_none(), "{:?}", served.error);
                let start = log.offsets().start;
                assert!(start == 0 || name.starts_with("log-start"));
                let kept = sound.records.iter().filter(|record| record.offset >= start);
                assert!(served.records.iter().eq(kept), "records are missing");
                let epochs = log.leader_epochs().unwrap();
                assert!(epochs.is_sorted_by(|one, next| {
                    one.epoch < next.epoch && one.start_offset < next.start_offset
                }));
                let end = log.offsets().end;
                assert!(epochs.iter().all(|epoch| (start..=end).contains(&epoch.start_offset)));
            }
        }
    });
}

fn inspect_all(fs: &MemFs, path: &Path) {
    let one = inspect::offset_checkpoint(fs, path);
    assert_eq!(one.is_ok(), inspect::offset_checkpoint(fs, path).is_ok());
    inspect::epoch_checkpoint(fs, path).ok();
    inspect::shutdown_marker(fs, path).ok();
    inspect::partition_metadata(fs, path).ok();
    inspect::producer_snapshot(fs, path).ok();
    let mut position = 0;
    for piece in inspect::BatchScanner::open(fs, path).unwrap() {
        let at = match piece.unwrap() {
            inspect::ScanItem::Batch(batch) => batch.position,
            inspect::ScanItem::Damaged(damaged) => damaged.position,
        };
        assert!(at >= position, "the pieces go back");
        position = at + 1;
    }
}
