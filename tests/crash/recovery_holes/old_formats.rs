//! Batches of the formats before version 2, and bits outside the checksum: never truncated as
//! torn.

use super::{append, batch, tiny};
use annals::fs::{CrashState, MemFs};
use annals::*;
use support::{DIR, name, offsets, read_file, write_file};

/// No checksum covers a base offset. A flipped bit in that of the last batch moved its record, and
/// the end of the log with it.
#[test]
fn flipped_base_offset_is_corruption() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    append(&log, 0..4);
    let bytes = read_file(&fs, DIR, &name(0, "log"));
    let at = bytes.len() / 4 * 3;
    for bit in 0..64 {
        for policy in [CleanupPolicy::Delete, CleanupPolicy::Compact] {
            let disk = fs.kill();
            let mut damaged = bytes.clone();
            damaged[at + 7 - bit / 8] ^= 1 << (bit % 8);
            write_file(&disk, DIR, &name(0, "log"), &damaged);
            let config = LogConfig::default().fs(disk.clone()).cleanup_policy(policy);
            let opened = Log::open(DIR, config.clone()).map(drop);
            // Compaction may leave offsets out, as many as a segment spans.
            if policy == CleanupPolicy::Compact && (2..31).contains(&bit) {
                opened.unwrap();
                continue;
            }
            assert!(matches!(opened, Err(Error::Corrupt(_))), "bit {bit}: {opened:?}");
            assert_eq!(read_file(&disk, DIR, &name(0, "log")), damaged);
            let log = Log::open(DIR, config.on_corruption(OnCorruption::Truncate)).unwrap();
            assert_eq!(offsets(&log), [0, 1, 2]);
        }
    }
}

/// A message of format v0 or v1, with its own checksum.
fn legacy(offset: u64, magic: u8) -> Vec<u8> {
    let mut body = vec![magic, 0];
    if magic == 1 {
        body.extend(1_700_000_000_000_i64.to_be_bytes());
    }
    body.extend((-1_i32).to_be_bytes());
    body.extend(3_i32.to_be_bytes());
    body.extend(b"old");
    let mut message = offset.to_be_bytes().to_vec();
    message.extend((body.len() as i32 + 4).to_be_bytes());
    message.extend(crc_fast::crc32_iso_hdlc(&body).to_be_bytes());
    message.extend(body);
    message
}

/// A message whose length and checksum agree was written so: it is no torn write, and its offsets
/// are taken. Whole ones of other formats, and of other codecs, were cut from the end of a log,
/// and their offsets given out again.
#[test]
fn whole_messages_are_never_truncated() {
    let fs = MemFs::new();
    append(&Log::open(DIR, tiny(&fs).segment_bytes(1 << 20)).unwrap(), 0..2);
    let before = read_file(&fs, DIR, &name(0, "log"));
    let cases = [legacy(2, 0), legacy(2, 1), batch(2, 3, 0), batch(2, 2, 5), batch(2, 2, 7)];
    for message in cases {
        for (front, behind) in [(true, &[][..]), (false, &before[..]), (true, &[0; 9000])] {
            let kept = if front { &before[..] } else { &[] };
            let mut offsets = message.clone();
            offsets[7] = if front { 2 } else { 0 };
            let bytes = [kept, &offsets, behind].concat();
            for choice in [OnCorruption::Fail, OnCorruption::Truncate, OnCorruption::Quarantine] {
                for disk in [fs.kill(), fs.crash(CrashState::AllWrites)] {
                    write_file(&disk, DIR, &name(0, "log"), &bytes);
                    let opened = Log::open(DIR, tiny(&disk).on_corruption(choice)).map(drop);
                    let case = format!("{:?}, {front}, {choice:?}", &message[16..23]);
                    if message[16] == 3 && choice == OnCorruption::Quarantine {
                        opened.expect(&case);
                        continue;
                    }
                    let Err(Error::Unsupported(_)) = opened else { panic!("{case}: {opened:?}") };
                    assert!(read_file(&disk, DIR, &name(0, "log")) == bytes, "{case}");
                }
            }
            // Behind damage, it says that this is none of a write that was cut short.
            if front {
                let disk = fs.kill();
                let damaged = [kept, &[7; 40][..], &offsets, behind].concat();
                write_file(&disk, DIR, &name(0, "log"), &damaged);
                let opened = Log::open(DIR, tiny(&disk)).map(drop);
                assert!(matches!(opened, Err(Error::Corrupt(_))), "{opened:?}");
            }
        }
        // Without a valid checksum, it is the rest of such a write, if the write was one of ours.
        let disk = fs.kill();
        let mut torn = [&before[..], &message].concat();
        *torn.last_mut().unwrap() ^= 1;
        write_file(&disk, DIR, &name(0, "log"), &torn);
        match Log::open(DIR, tiny(&disk)) {
            Ok(log) => assert_eq!((log.offsets().end, message[16]), (2, 2)),
            Err(error) => {
                assert!(matches!(error, Error::Corrupt(_)) && message[16] != 2, "{error}")
            }
        }
    }
}

/// No checksum covers the magic, the length and the base offset. In the first batch, a flipped bit
/// in the magic turned the log into one of another format, which could never be opened; in the
/// last batch, a flipped bit in any of the three made recovery truncate it as if torn.
#[test]
fn flipped_bit_outside_checksum_is_corruption() {
    let fs = MemFs::new();
    append(&Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap(), 0..4);
    let bytes = read_file(&fs, DIR, &name(0, "log"));
    let size = bytes.len() / 4;
    for batch in 0..4 {
        for bit in (0..12 * 8).chain(16 * 8..17 * 8) {
            let disk = fs.kill();
            let mut damaged = bytes.clone();
            damaged[batch * size + bit / 8] ^= 1 << (bit % 8);
            write_file(&disk, DIR, &name(0, "log"), &damaged);
            let open = |choice| {
                Log::open(DIR, LogConfig::default().fs(disk.clone()).on_corruption(choice))
            };
            let opened = open(OnCorruption::Fail).map(drop);
            let case = format!("batch {batch}, bit {bit}");
            match opened {
                Err(Error::Corrupt(_)) => {}
                Err(Error::Unsupported(_)) if damaged[batch * size + 16] > 2 => {}
                opened => panic!("{case}: {opened:?}"),
            }
            assert!(read_file(&disk, DIR, &name(0, "log")) == damaged, "{case}");
            let log = open(OnCorruption::Quarantine).unwrap();
            assert!(!log.recovery().quarantined.is_empty(), "{case}");
            let left = offsets(&log);
            assert!(
                left.iter().all(|offset| (0..4).contains(offset)) && left.len() >= 2,
                "{case}: {left:?}"
            );
        }
    }
}

/// Bytes within the length of a torn batch prove nothing: mirrors and backups store batches in
/// values.
#[test]
fn recovery_truncates_torn_nested_batches() {
    for inner in [batch(1000, 2, 0), batch(1, 2, 0), legacy(1, 1), batch(2, 3, 0)] {
        let fs = MemFs::new();
        let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
        append(&log, 0..1);
        log.append_all([Record::new(inner.repeat(3)), Record::new("x".repeat(1000))]).unwrap();
        let disk = fs.kill();
        let bytes = read_file(&disk, DIR, &name(0, "log"));
        write_file(&disk, DIR, &name(0, "log"), &bytes[..bytes.len() - 500]);
        let log = Log::open(DIR, LogConfig::default().fs(disk)).unwrap();
        assert_eq!(log.offsets().end, 1);
    }
}
