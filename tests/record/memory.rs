//! Hostile batches must not take memory that they do not really expand to.

use annals::record::{BatchBuilder, BatchRef, Compression, DecodeBuffer};
use annals::{Codec, InvalidBatch, Timestamp};
use support::memory::{peak_of, process_peak as peak};
use support::mend_checksum;
use support::process;

/// A batch whose records section is `section`, with the right checksum.
fn batch(codec: Codec, section: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.push(Timestamp::NONE, None, None).unwrap();
    let mut bytes = builder.build_bytes().unwrap();
    bytes.truncate(61);
    bytes.extend_from_slice(section);
    let length = i32::try_from(bytes.len()).unwrap() - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec as u8;
    mend_checksum(&mut bytes);
    bytes
}

fn problem(bytes: &[u8], scratch: &mut DecodeBuffer) -> Option<InvalidBatch> {
    let batch = BatchRef::parse(bytes).unwrap();
    batch.verify_checksum().unwrap();
    match batch.records(scratch) {
        Ok(mut records) => records.find_map(Result::err),
        Err(problem) => Some(problem),
    }
}

/// One kibibyte of each codec that claims, or yields, as much as it can.
fn kibibytes() -> Vec<(Codec, Vec<u8>)> {
    let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff];
    while zstd.len() < 1020 {
        // A run of 128 KiB, which is all that a block may be; the window is claimed to be as large
        // as can be.
        let header: u32 = (128 << 10) << 3 | 1 << 1;
        zstd.extend_from_slice(&[header as u8, (header >> 8) as u8, (header >> 16) as u8, 0]);
    }
    zstd.extend_from_slice(&[1, 0, 0]);
    let mut claimed = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
    claimed.extend_from_slice(&(120u64 << 20).to_le_bytes());
    claimed.extend_from_slice(&[0x0d, 0, 0, 0]);
    let mut snappy = vec![0xff, 0xff, 0xff, 0x3f, 0];
    snappy.resize(1024, 0xfe);
    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    while lz4.len() < 1000 {
        lz4.extend_from_slice(&[6, 0, 0, 0, 0x1f, 0, 1, 0, 0xff, 0xff]);
    }
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0xed, 0xc1];
    gzip.resize(1024, 0);
    vec![
        (Codec::Zstd, zstd),
        (Codec::Zstd, claimed),
        (Codec::Snappy, snappy),
        (Codec::Lz4, lz4),
        (Codec::Gzip, gzip),
    ]
}

/// 48 MiB of zeros, compressed.
fn bombs() -> Vec<Vec<u8>> {
    let zeros = vec![0; 48 << 20];
    let mut bombs = Vec::new();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        if codec.is_available() {
            let mut builder = BatchBuilder::new();
            builder.compression(Compression::of(codec));
            builder.push(Timestamp::NONE, None, Some(&zeros)).unwrap();
            bombs.push(builder.build_bytes().unwrap());
        }
    }
    bombs
}

/// Lets the peak begin anew at what the process has now.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// In a process of its own: the peak is the whole process's.
#[test]
fn hostile_batches_allocate_little() {
    process::alone(&hostile_batches_allocate_little, || {
        check_kibibytes();
        check_bombs();
    });
}

fn check_kibibytes() {
    let before = peak();
    for (codec, section) in kibibytes() {
        if codec.is_available() {
            let bytes = batch(codec, &section);
            assert!(problem(&bytes, &mut DecodeBuffer::default()).is_some(), "{codec}");
        }
    }
    let taken = peak() - before;
    assert!(taken < 64 << 20, "1 KiB took {taken} bytes");
}

fn check_bombs() {
    for bomb in bombs() {
        forget_peak();
        let before = peak();
        let limit = 1 << 20;
        let mut scratch = DecodeBuffer::new(limit);
        let limit = limit as u64;
        assert_eq!(
            problem(&bomb, &mut scratch),
            Some(InvalidBatch::DecompressedTooLarge { limit })
        );
        let taken = peak().saturating_sub(before);
        assert!(taken < 4 << 20, "a limit of 1 MiB let {taken} bytes be taken");
    }
}

#[test]
fn claimed_count_allocates_nothing() {
    let mut bytes = batch(Codec::None, &[14, 0, 0, 0, 1, 1, 0]);
    bytes[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    mend_checksum(&mut bytes);
    let (rejected, taken) = peak_of(|| problem(&bytes, &mut DecodeBuffer::default()));
    assert_eq!(rejected, Some(InvalidBatch::RecordCount { count: i32::MAX }));
    assert_eq!(taken, 0);
}
