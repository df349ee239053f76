//! At most one kibibyte of hostile bytes, a few hundred thousand times: none takes much memory.
//!
//! `ANNALS_KIBIBYTES=5000000` tries more, `ANNALS_KIBIBYTE_SEEDS=17` others.

use annals::record::{BatchRef, DecodeBuffer};
use annals::{Codec, RecordBatch};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::memory::{MOST, peak_of, process_peak};
use support::targets::seeds::{mutate, of};
use support::targets::{Choices, batch_of, repair};
use support::{Chance, process, seeds};

const KIBIBYTE: usize = 1024;

/// Sections that claim, or yield, as much as they can.
fn bombs() -> Vec<Vec<u8>> {
    let mut bombs = Vec::new();
    // Runs of 128 KiB, which is all that a block may be, below a window as large as can be
    // claimed.
    for window in [0xff, 0x58, 0] {
        let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, window];
        while zstd.len() < KIBIBYTE - 70 {
            zstd.extend(&(((128u32 << 10) << 3) | (1 << 1)).to_le_bytes()[..3]);
            zstd.push(0);
        }
        zstd.extend([1, 0, 0]);
        bombs.push(batch_of(Codec::Zstd as u8, 1, 0, &zstd));
    }
    for claimed in [120u64 << 20, u64::MAX, 1 << 40] {
        let mut zstd = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        zstd.extend(claimed.to_le_bytes());
        zstd.extend([0x0d, 0, 0, 0]);
        bombs.push(batch_of(Codec::Zstd as u8, 1, 0, &zstd));
    }
    let mut snappy = vec![0xff, 0xff, 0xff, 0x3f, 0];
    snappy.resize(KIBIBYTE - 61, 0xfe);
    bombs.push(batch_of(Codec::Snappy as u8, 1, 0, &snappy));
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    while framed.len() < KIBIBYTE - 100 {
        framed.extend([0, 0, 0, 20, 0xff, 0xff, 0xff, 0x7f]);
        framed.extend([0xfe; 16]);
    }
    bombs.push(batch_of(Codec::Snappy as u8, 1, 0, &framed));
    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
    while lz4.len() < KIBIBYTE - 80 {
        lz4.extend([6, 0, 0, 0, 0x1f, 0, 1, 0, 0xff, 0xff]);
    }
    bombs.push(batch_of(Codec::Lz4 as u8, 1, 0, &lz4));
    bombs.push(batch_of(
        Codec::Lz4 as u8,
        1,
        0,
        &[&lz4[..7], &[0xff, 0xff, 0xff, 0x7f][..]].concat(),
    ));
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0xed, 0xc1];
    gzip.resize(KIBIBYTE - 61, 0);
    bombs.push(batch_of(Codec::Gzip as u8, 1, 0, &gzip));
    bombs
}

/// Batches whose fields claim what is not there.
fn claims() -> Vec<Vec<u8>> {
    let mut claims = Vec::new();
    for count in [1, 2, 100, i32::MAX] {
        for codec in 0..=4 {
            claims.push(batch_of(codec, count, count - 1, &[14, 0, 0, 0, 1, 1, 0]));
            claims.push(batch_of(codec, count, i32::MAX, &[0xff; 900]));
        }
    }
    // Varints that do not end, or end after ten bytes; lengths and counts of 2^31 and more.
    let varints = [
        &[0x80; 10][..],
        &[0xff; 10],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xfe, 0xff, 0xff, 0xff, 0x0f],
    ];
    for varint in varints {
        for place in 0..7 {
            let mut body = vec![0, 0, 0, 1, 1, 2, 2, b'a', 1];
            body.splice(place..(place + 1).min(body.len()), varint.iter().copied());
            let mut section = vec![(body.len() * 2) as u8];
            section.extend(body);
            claims.push(batch_of(0, 1, 0, &section));
            section.splice(0..1, varint.iter().copied());
            claims.push(batch_of(0, 1, 0, &section));
        }
    }
    for length in [i32::MAX, 1 << 30, -1, 0] {
        let mut batch = batch_of(0, 1, 0, &[14, 0, 0, 0, 1, 1, 0]);
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        claims.push(batch);
    }
    claims
}

/// Every question that can be asked of a batch, with the default limits.
fn decode(bytes: &[u8], scratch: &mut DecodeBuffer) {
    let Ok(batch) = BatchRef::parse(bytes) else { return };
    batch.verify_checksum().ok();
    if let Ok(mut records) = batch.records(scratch) {
        while let Some(Ok(record)) = records.next() {
            record.headers.iter().for_each(drop);
        }
    }
}

fn own(bytes: &[u8]) {
    let Ok(batch) = RecordBatch::parse_unverified(bytes.to_vec().into()) else { return };
    if let Ok(decoded) = batch.records() {
        decoded.into_iter().take(10_000).for_each(drop);
    }
}

/// In a process of its own: the peak is the whole process's.
#[test]
fn hostile_kibibyte_allocates_little() {
    process::alone(&hostile_kibibyte_allocates_little, kibibytes);
}

fn kibibytes() {
    let count: u64 = std::env::var("ANNALS_KIBIBYTES").map_or(200_000, |n| n.parse().unwrap());
    let made: Vec<Vec<u8>> = bombs().into_iter().chain(claims()).collect();
    let bombs = bombs().len();
    assert!(made.len() > 100 && made.iter().all(|bytes| bytes.len() <= KIBIBYTE));
    let others = of("batch").into_iter().map(|input| input[1..].to_vec());
    let others = others.filter(|bytes| bytes.len() <= KIBIBYTE && bytes.len() > 61);
    let inputs: Vec<Vec<u8>> = made.iter().cloned().chain(others).collect();
    let files: Vec<_> =
        support::targets::ALL.into_iter().filter(|(name, _)| FILES.contains(name)).collect();
    let at_first = process_peak();
    let mut most = 0;
    for seed in seeds("ANNALS_KIBIBYTE_SEEDS", 1) {
        let mut chance = Chance(seed);
        for number in 0..count {
            let one = |bytes: &[u8]| {
                let ((), taken) = peak_of(|| decode(bytes, &mut DecodeBuffer::default()));
                let ((), owned) = peak_of(|| own(bytes));
                taken.max(owned)
            };
            let input = match inputs.get(number as usize) {
                Some(input) => input.clone(),
                None => {
                    // Inputs that do expand are slow, so they are tried less often.
                    let from = if chance.below(16) == 0 { 0 } else { bombs };
                    let near = from + chance.below((inputs.len() - from) as u64) as usize;
                    let mut input = mutate(&inputs[near], &mut chance);
                    input.truncate(KIBIBYTE);
                    if chance.below(4) > 0 {
                        repair(&mut input);
                    }
                    input
                }
            };
            let taken = catch_unwind(AssertUnwindSafe(|| one(&input)));
            let taken = taken.unwrap_or_else(|_| panic!("seed {seed}, number {number}: {input:?}"));
            assert!(taken <= MOST, "seed {seed}, number {number} took {taken} bytes: {input:?}");
            most = most.max(taken);
        }
        // The targets that open logs count for themselves.
        for (name, target) in &files {
            let inputs: Vec<_> = of(name).into_iter().filter(|i| i.len() <= KIBIBYTE).collect();
            for _ in 0..count / 4000 {
                let near = &inputs[chance.below(inputs.len() as u64) as usize];
                let mut input = mutate(near, &mut chance);
                input.truncate(KIBIBYTE);
                target(Choices(&input).0);
            }
        }
    }
    let process = process_peak().saturating_sub(at_first) as usize;
    eprintln!("one took {most} bytes at most; the process grew by {process}");
    assert!(process <= MOST, "the process grew by {process} bytes");
}

const FILES: [&str; 5] = ["segment", "directory", "offset_index", "time_index", "checkpoints"];
