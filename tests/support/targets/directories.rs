//! Fuzz targets that read their input as the files of a log directory.

use super::agree::{Served, agree};
use super::{Choices, repair};
use crate::memory::bounded;
use annals::fs::{Fs, MemFs, OpenMode};
use annals::record::BatchHeader;
use annals::{Error, ErrorKind, Log, LogConfig, OnCorruption, StoredRecord};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub const DIR: &str = "t-0";

pub fn config(fs: &MemFs, mode: OnCorruption) -> LogConfig {
    let config = LogConfig::default().max_decompressed_bytes(64 << 10).index_interval_bytes(100);
    // Records have any timestamp, and producer state never expires.
    let config = config.producer_id_expiration(Duration::MAX);
    config.segment_bytes(4096).on_corruption(mode).fs(fs.clone())
}

/// Returns a disk with these files, all of them durable.
pub fn disk(files: &BTreeMap<String, Vec<u8>>) -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for (name, bytes) in files {
        let file = fs.open(&Path::new(DIR).join(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file.sync_all().unwrap();
    }
    fs.sync_dir(Path::new(DIR)).unwrap();
    fs
}

/// Opens a directory. If the log opens, all ways to read it must agree, and it must be the same
/// when it is opened again.
pub fn open(fs: &MemFs, mode: OnCorruption) -> Option<Served> {
    // A snapshot with a valid checksum may contradict the batches. The other files decide which of
    // the two is read.
    let has_snapshots =
        fs.list(Path::new(DIR)).unwrap().iter().any(|e| e.name.contains(".snapshot"));
    let log = match Log::open(DIR, config(fs, mode)) {
        Ok(log) => log,
        Err(error) => {
            clean(&error);
            // The failed opening must not have changed anything that lets the next one succeed.
            let again = match Log::open(DIR, config(&fs.kill(), mode)) {
                // One opening may read damage below the recovery point that another does not read:
                // see below. This opening truncated at that damage, and the rejected bytes lay
                // after it.
                Ok(log) if log.recovery().truncated_bytes > 0 => return None,
                again => again.map(|log| log.offsets()),
            };
            let again = again.expect_err("an error that goes away by itself");
            // If there are several damaged places, another one may be found first.
            let named =
                |error: &Error| matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported);
            let same = again.kind() == error.kind() || (named(&again) && named(&error));
            assert!(same, "{error}, then {again}");
            return None;
        }
    };
    let (offsets, recovery) = (log.offsets(), log.recovery().clone());
    let served = agree(&log);
    let again = match Log::open(DIR, config(&fs.kill(), mode)) {
        // Batches below the recovery point are not read, unless an index is wrong. So one opening
        // may find damage there that another does not find. Readers have found it.
        Ok(again) if again.recovery().truncated_bytes > 0 && served.error.is_some() => {
            return Some(served);
        }
        Err(error) if served.error.is_some() => {
            clean(&error);
            return Some(served);
        }
        again => again.unwrap(),
    };
    assert_eq!(again.offsets().end, offsets.end, "after {recovery:?}");
    assert_eq!(again.recovery().truncated_bytes, 0);
    let producers = log.producers().unwrap();
    assert!(has_snapshots || served.error.is_some() || again.producers().unwrap() == producers);
    same(&agree(&again), &served);
    match log.append("what comes after") {
        Ok(offset) => {
            assert_eq!(offset, offsets.end);
            match log.get(offset) {
                Ok(found) => assert_eq!(found.unwrap().value_str(), Some("what comes after")),
                // Between the damage and the next index entry, nothing shows which batch the
                // offsets belong to.
                Err(error) => {
                    clean(&error);
                    assert!(served.error.is_some(), "{error}");
                }
            }
        }
        Err(error) => clean(&error),
    }
    match Log::open_read_only(DIR, config(&fs.kill(), mode)) {
        Ok(looked) => assert_eq!(looked.offsets().start, offsets.start),
        Err(error) => {
            clean(&error);
            assert!(served.error.is_some(), "only to look at it fails: {error}");
        }
    }
    log.close().unwrap();
    let closed = Log::open(DIR, config(fs, mode)).unwrap();
    assert!(closed.recovery().clean_shutdown, "after a close");
    assert!(closed.offsets().end >= offsets.end);
    assert_eq!(closed.producers().unwrap(), producers);
    Some(served)
}

fn same(one: &Served, other: &Served) {
    assert_eq!(one.records, other.records);
    let text = |served: &Served| served.error.as_ref().map(ToString::to_string);
    assert_eq!(text(one), text(other));
}

/// Checks that an error describes a problem of the bytes, and not a fault of this crate.
pub fn clean(error: &Error) {
    assert!(
        matches!(
            error,
            Error::Corrupt(_)
                | Error::Unsupported(_)
                | Error::InvalidBatch(_)
                | Error::NotALog { .. }
                | Error::OffsetOutOfRange { .. }
        ),
        "{error}"
    );
}

/// Opens a segment alone: after a kill, after a power loss, after a clean close, in both modes.
pub fn segment(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        repair(&mut bytes);
    }
    let mode = if flags & 2 != 0 { OnCorruption::Truncate } else { OnCorruption::Fail };
    let base = if flags & 4 != 0 { first_offset(&bytes) } else { 0 };
    let mut files = BTreeMap::from([(format!("{base:020}.log"), bytes.clone())]);
    if flags & 8 != 0 {
        files.insert(".lock".into(), b"process 1\nboot another\n".to_vec());
    }
    let served = bounded(bytes.len(), || open(&disk(&files), mode));
    if flags & 8 == 0 && mode == OnCorruption::Fail {
        nothing_good_is_cut(&bytes, base, served.as_ref());
    }
    bounded(bytes.len(), || marked(&files, base, *flags, mode));
}

fn first_offset(bytes: &[u8]) -> u64 {
    BatchHeader::parse(bytes).map_or(0, |header| header.base_offset)
}

/// Checks that a log that opens after a process exit has every record that can be read from the
/// file in order.
fn nothing_good_is_cut(bytes: &[u8], base: u64, served: Option<&Served>) {
    let Some(served) = served else { return };
    let (mut rest, mut lowest, mut good) = (bytes, base, Vec::<StoredRecord>::new());
    while let Ok(header) = BatchHeader::parse(rest) {
        let Some(batch) = rest.get(..header.size_bytes()) else { break };
        let Some(records) = super::batches::decode(batch) else { break };
        if header.base_offset < lowest {
            break;
        }
        lowest = header.next_offset();
        rest = &rest[header.size_bytes()..];
        good.extend(records.into_iter().filter(|_| !header.is_control()));
    }
    // A batch that skips offsets is rejected if the next batch contradicts it.
    if served.error.is_none() {
        assert!(served.records.len() >= good.len() || lowest > base + good.len() as u64);
    }
}

/// Damages a file without changing its length, in a directory with the marker of a clean shutdown.
fn marked(files: &BTreeMap<String, Vec<u8>>, base: u64, flags: u8, mode: OnCorruption) {
    let fs = disk(files);
    let Ok(log) = Log::open(DIR, config(&fs, OnCorruption::Truncate)) else { return };
    log.close().unwrap();
    let path = Path::new(DIR).join(format!("{base:020}.log"));
    let Ok(file) = fs.open(&path, OpenMode::ReadWrite) else { return };
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let from = bytes.len() / 16 * usize::from(flags >> 4);
    if let Some(byte) = bytes.get_mut(from) {
        *byte ^= 1 << (flags & 7);
    }
    file.write_all_at(&bytes, 0).unwrap();
    drop(file);
    if let Ok(log) = Log::open(DIR, config(&fs, mode)) {
        agree(&log);
    }
}

const NAMES: [&str; 25] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000007.log",
    "00000000000000000007.index",
    "00000000000000000007.timeindex",
    "00000000000000001000.log",
    "00000000000000001000.index",
    "00000000000000000000.log.swap",
    "00000000000000000007.log.swap",
    "00000000000000000007.log.cleaned",
    "00000000000000000000.index.swap",
    "00000000000000000007.log.deleted",
    "00000000000000000000.txnindex",
    "00000000000000000007.snapshot",
    "recovery-point-offset-checkpoint",
    "log-start-offset-checkpoint",
    ".kafka_cleanshutdown",
    ".lock",
    "leader-epoch-checkpoint",
    "partition.metadata",
    "anything.tmp",
    "00000000000000000000.snapshot",
    "00000000000000000003.snapshot",
    "00000000000000001000.snapshot",
];

/// Parses an input as files: a name, a length, that many bytes.
pub fn files_of(data: &[u8]) -> (u8, BTreeMap<String, Vec<u8>>) {
    let mut choices = Choices(data);
    let flags = choices.byte();
    let mut files = BTreeMap::new();
    while !choices.is_empty() {
        let name = NAMES[usize::from(choices.byte()) % NAMES.len()];
        let size = choices.below(1 << 16) as usize;
        let mut bytes = choices.bytes(size).to_vec();
        if flags & 1 != 0 && name.contains(".log") {
            repair(&mut bytes);
        }
        if flags & 1 != 0 && name.ends_with(".snapshot") && bytes.len() > 6 {
            let crc = annals::record::crc32c(&bytes[6..]);
            bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        }
        files.insert(name.to_owned(), bytes);
    }
    (flags, files)
}

/// Returns files in the form that [`files_of`] parses.
pub fn input_of(flags: u8, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut input = vec![flags];
    for (name, bytes) in files {
        let Some(number) = NAMES.iter().position(|known| known == name) else { continue };
        input.push(number as u8);
        input.extend([bytes.len() as u8, (bytes.len() >> 8) as u8]);
        input.extend(bytes);
    }
    input
}

pub fn directory(data: &[u8]) {
    let (flags, files) = files_of(data);
    let mode = if flags & 2 != 0 { OnCorruption::Truncate } else { OnCorruption::Fail };
    // By design of the format, an opening trusts the marker of a clean shutdown. If the marker is
    // wrong, two openings may differ.
    let marked = files.contains_key(".kafka_cleanshutdown");
    bounded(data.len(), || {
        let fs = disk(&files);
        if let Ok(log) = Log::open_read_only(DIR, config(&fs, mode)) {
            super::agree::serve(&log);
            log.verify().unwrap();
        }
        if marked {
            if let Ok(log) = Log::open(DIR, config(&fs, mode)) {
                agree(&log);
            }
        } else {
            open(&fs, mode);
        }
    });
}
