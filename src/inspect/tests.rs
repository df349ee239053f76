use super::*;
use crate::fs::{Fs, MemFs, OpenMode};
use crate::types::Timestamp;
use crate::{EpochStart, InvalidBatch, Log, LogConfig, Record};

const LOG: &str = "t-0/00000000000000000000.log";
const INDEX: &str = "t-0/00000000000000000000.index";
const TIMES: &str = "t-0/00000000000000000000.timeindex";

fn put(fs: &MemFs, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    fs.create_dir(path.parent().unwrap()).unwrap();
    fs.remove(path).ok();
    fs.open(path, OpenMode::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
}

fn get(fs: &MemFs, path: &str) -> Vec<u8> {
    let file = fs.open(Path::new(path), OpenMode::ReadOnly).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn log_of(batches: i64) -> MemFs {
    let fs = MemFs::new();
    let config = LogConfig::default().fs(fs.clone()).index_interval_bytes(150);
    let log = Log::open("t-0", config).unwrap();
    for n in 0..batches {
        let at = Timestamp::from_millis(n);
        log.append_all(["a", "b"].map(|value| Record::new(value).timestamp(at))).unwrap();
    }
    log.close().unwrap();
    fs
}

fn pieces(fs: &MemFs) -> Vec<ScanItem> {
    BatchScanner::open(fs, Path::new(LOG)).unwrap().map(|piece| piece.unwrap()).collect()
}

fn sound(pieces: &[ScanItem]) -> usize {
    let is_sound =
        |piece: &&ScanItem| matches!(piece, ScanItem::Batch(found) if found.checksum.is_ok());
    pieces.iter().filter(is_sound).count()
}

fn problems(fs: &MemFs, path: &str) -> Vec<Corruption> {
    let mut found = Vec::new();
    check_index(fs, Path::new(path), &mut |problem| found.push(problem)).unwrap();
    found
}

#[test]
fn kind_follows_from_file_name() {
    let of = |name: &str| FileKind::of(Path::new(name));
    assert_eq!(of("d/00000000000000000027.timeindex.swap"), Some(FileKind::TimeIndex));
    assert_eq!(of("leader-epoch-checkpoint.tmp"), Some(FileKind::EpochCheckpoint));
    assert_eq!(of("replication-offset-checkpoint"), Some(FileKind::OffsetCheckpoint));
    assert_eq!(of(".lock"), None);
    assert_eq!(of("/"), None);
    assert_eq!(base_offset(Path::new("d/00000000000000000027.index.deleted")), 27);
    assert_eq!(base_offset(Path::new("99999999999999999999.index")), 0);
}

#[test]
fn scan_continues_after_damage_of_plausible_length() {
    let fs = log_of(10);
    let bytes = get(&fs, LOG);
    let size = bytes.len() / 10;
    assert_eq!(sound(&pieces(&fs)), 10);
    for (at, headers_readable) in [(2 * size + 65, true), (2 * size + 57, false)] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x80;
        put(&fs, LOG, &damaged);
        let found = pieces(&fs);
        assert_eq!((found.len(), sound(&found)), (10, 9));
        assert_eq!(matches!(found[2], ScanItem::Batch(_)), headers_readable);
    }
}

/// A length that leads nowhere must not hide the sound batches after it.
#[test]
fn scan_finds_batch_after_damaged_length() {
    let fs = log_of(10);
    let bytes = get(&fs, LOG);
    let size = bytes.len() / 10;
    for length in [i32::MAX, -1, 0, size as i32 + 7] {
        let mut damaged = bytes.clone();
        damaged[2 * size + 8..2 * size + 12].copy_from_slice(&length.to_be_bytes());
        put(&fs, LOG, &damaged);
        let found = pieces(&fs);
        assert_eq!((found.len(), sound(&found)), (10, 9), "{length}");
        if let ScanItem::Damaged(gap) = found[2] {
            let expected = ((2 * size) as u64, size as u64, true);
            assert_eq!((gap.position, gap.bytes, gap.resyncs), expected, "{length}");
        }
    }
}

#[test]
fn scan_survives_any_flipped_bit() {
    let fs = log_of(3);
    let bytes = get(&fs, LOG);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        put(&fs, LOG, &damaged);
        let found = pieces(&fs);
        // A shorter length leaves a rest after its batch.
        assert!(found.len() <= 4 && sound(&found) <= 3, "bit {bit}");
    }
}

#[test]
fn scan_stops_without_plausible_length() {
    let fs = log_of(3);
    let bytes = get(&fs, LOG);
    for tail in [&[0u8; 100][..], &[0xff; 61], &[1], &bytes[..70]] {
        put(&fs, LOG, &[&bytes, tail].concat());
        let found = pieces(&fs);
        assert_eq!((found.len(), sound(&found)), (4, 3));
        let ScanItem::Damaged(last) = found[3] else { panic!("{found:?}") };
        assert_eq!((last.bytes, last.resyncs), (tail.len() as u64, false));
    }
    let legacy = include_bytes!("../../tests/vectors/legacy/v1-none.bin");
    put(&fs, LOG, legacy);
    let ScanItem::Damaged(found) = pieces(&fs)[0] else { panic!() };
    assert_eq!(found.reason, InvalidBatch::LegacyFormat { magic: 1 });
}

#[test]
fn batch_larger_than_buffer_is_verified() {
    let fs = MemFs::new();
    let log = Log::open("t-0", LogConfig::default().fs(fs.clone())).unwrap();
    log.append(vec![7u8; 300_000]).unwrap();
    log.append("small").unwrap();
    log.close().unwrap();
    let found = pieces(&fs);
    assert_eq!(sound(&found), 2);
    let batches = BatchScanner::open(&fs, Path::new(LOG)).unwrap();
    let ScanItem::Batch(large) = found[0] else { panic!() };
    assert_eq!(batches.read(&large, 1 << 20).unwrap().records().unwrap().iter().count(), 1);
    assert!(matches!(batches.read(&large, 1000), Err(Error::BatchTooLarge { .. })));
    let mut bytes = get(&fs, LOG);
    bytes[299_999] ^= 1;
    put(&fs, LOG, &bytes);
    assert_eq!(sound(&pieces(&fs)), 1);
    let headers = BatchScanner::open(&fs, Path::new(LOG)).unwrap().headers_only();
    assert_eq!(headers.filter(|piece| matches!(piece, Ok(ScanItem::Batch(_)))).count(), 2);
}

#[test]
fn check_index_reports_changed_entries() {
    let fs = log_of(40);
    for (path, size) in [(INDEX, 8), (TIMES, 12)] {
        let bytes = get(&fs, path);
        assert!(bytes.len() > 5 * size);
        assert_eq!(problems(&fs, path), []);
        // Room that a broker reserved is not damage.
        put(&fs, path, &[bytes.as_slice(), &vec![0; 10 * size]].concat());
        assert_eq!(problems(&fs, path), []);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            put(&fs, path, &damaged);
            assert!(!problems(&fs, path).is_empty(), "{path} byte {at}");
        }
        put(&fs, path, &bytes[..bytes.len() - 1]);
        assert_eq!(problems(&fs, path).len(), 1);
        put(&fs, path, &bytes);
    }
}

#[test]
fn transaction_index_has_kafkas_entries() {
    let fs = MemFs::new();
    let path = "t-0/00000000000000000000.txnindex";
    let bytes = include_bytes!("../../tests/vectors/logs/txn/pay-0/00000000000000000000.txnindex");
    put(&fs, path, bytes);
    let entries: Vec<_> =
        TxnEntries::open(&fs, Path::new(path)).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(entries.len(), 2);
    assert_eq!((entries[1].producer_id, entries[1].last_stable_offset), (11, 11));
    put(&fs, path, &bytes[..40]);
    let mut entries = TxnEntries::open(&fs, Path::new(path)).unwrap();
    assert!(entries.next().unwrap().is_ok());
    assert!(matches!(entries.next(), Some(Err(Error::Corrupt(c))) if c.position == 34));
    assert!(entries.next().is_none());
}

#[test]
fn damaged_snapshot_is_rejected() {
    let fs = MemFs::new();
    let path = Path::new("t-0/00000000000000000015.snapshot");
    let bytes = include_bytes!("../../tests/vectors/logs/txn/pay-0/00000000000000000015.snapshot");
    put(&fs, path.to_str().unwrap(), bytes);
    let producers = producer_snapshot(&fs, path).unwrap();
    assert_eq!(producers.len(), 4);
    assert_eq!((producers[1].producer_id, producers[1].current_txn_first_offset), (12, 11));
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        put(&fs, path.to_str().unwrap(), &damaged);
        assert!(producer_snapshot(&fs, path).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        put(&fs, path.to_str().unwrap(), &bytes[..length]);
        assert!(producer_snapshot(&fs, path).is_err(), "{length} bytes");
    }
}

#[test]
fn malformed_small_files_are_rejected() {
    let fs = MemFs::new();
    let path = Path::new("t-0/x");
    let with = |text: &[u8]| put(&fs, "t-0/x", text);
    with(b"0\n1\norders 3 42\n");
    assert_eq!(offset_checkpoint(&fs, path).unwrap()[0].offset, 42);
    assert!(epoch_checkpoint(&fs, path).is_err());
    with(b"0\n2\n0 0\n2 30\n");
    assert_eq!(epoch_checkpoint(&fs, path).unwrap()[1], EpochStart { epoch: 2, start_offset: 30 });
    with(br#"{"version":0,"brokerEpoch":-1,"other":"x"}"#);
    let members = shutdown_marker(&fs, path).unwrap().members;
    assert_eq!(members, [("version".to_owned(), 0), ("brokerEpoch".to_owned(), -1)]);
    with(b"");
    assert_eq!(shutdown_marker(&fs, path).unwrap().members, []);
    assert!(partition_metadata(&fs, path).is_err());
    with(b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw");
    assert_eq!(partition_metadata(&fs, path).unwrap().topic_id, "AAECAwQFBgcICQoLDA0ODw");
    assert!(shutdown_marker(&fs, path).is_err());
    with(b"\xff\xfe");
    assert!(matches!(offset_checkpoint(&fs, path), Err(Error::Corrupt(_))));
    assert!(matches!(offset_checkpoint(&fs, Path::new("none")), Err(Error::Io { .. })));
}
