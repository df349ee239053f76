//! Compaction under failures: of the disk, by damage, by cancellation.

use super::*;
use crate::error::{CorruptionKind, Error, ErrorKind, InvalidBatch};
use crate::fs::{Fault, FaultFs, Operation, Rule};

/// Returns a log with many records of few keys, so that much is rewritten.
fn sample(seed: u64) -> (Vec<Seg>, Facts, Pass) {
    let (model, facts) = (seed..)
        .map(|seed| model::log(&mut SplitMix64(seed), true))
        .find(|(m, _)| m.len() > 4)
        .unwrap();
    let (from, upto) = (model[0].base, model.last().unwrap().next);
    (model, facts, Pass { from, upto, now: 5_000, retention: 10, compression: None })
}

/// Reads the keys of the whole log, and rewrites it as one segment.
fn clean_all(
    dir: &Arc<SegmentDir>,
    model: &[Seg],
    pass: &Pass,
    facts: &Facts,
) -> Result<Rewritten> {
    let segments = open_segments(dir, model);
    let all = sources(&segments, model);
    let mut map = new_map(1000, pass);
    let read = fill(&mut map, &all, pass, facts)?;
    let survivors = Survivors::new(&map, pass.from..read.end);
    let group = SegmentGroup { dir, base: model[0].base, sources: &all };
    write_group(&group, &survivors, pass, facts)
}

#[test]
fn failed_call_leaves_only_sources() {
    let (model, facts, pass) = sample(70);
    let memory = MemFs::new();
    store(&memory, &model);
    let before = files(&memory);
    let fs = FaultFs::new(memory.clone());
    let mut failed = 0;
    for operation in [
        Operation::CreateNew,
        Operation::Write,
        Operation::SyncAll,
        Operation::Open,
        Operation::Read,
        Operation::Len,
    ] {
        for nth in 1.. {
            let dir = open_dir(fs.clone(), None);
            // Calls of the test itself do not count.
            let segments = open_segments(&dir, &model);
            let error = Fault::Error(std::io::ErrorKind::Other);
            let rule = fs.add_rule(Rule::new(operation, error).nth(nth));
            let all = sources(&segments, &model);
            let mut map = new_map(1000, &pass);
            let done = fill(&mut map, &all, &pass, &facts).and_then(|read| {
                let survivors = Survivors::new(&map, pass.from..read.end);
                let group = SegmentGroup { dir: &dir, base: model[0].base, sources: &all };
                write_group(&group, &survivors, &pass, &facts)
            });
            let fired = fs.hit_count(rule) > 0;
            fs.clear_rules();
            if !fired {
                assert!(done.is_ok(), "{operation:?} {nth}");
                assert!(!read_cleaned(&memory, model[0].base).is_empty());
                Kind::ALL.into_iter().for_each(|kind| {
                    let base = model[0].base;
                    dir.discard(SegmentFile { base, kind, stage: Stage::Cleaned });
                });
                break;
            }
            failed += 1;
            let Err(Error::Io { .. }) = done else { panic!("{operation:?} {nth}: {done:?}") };
            assert_eq!(files(&memory), before, "{operation:?} {nth}");
        }
    }
    assert!(failed > 15, "{failed}");
}

#[test]
fn leftover_is_replaced_and_files_synced() {
    let (model, facts, pass) = sample(70);
    let memory = MemFs::new();
    store(&memory, &model);
    let base = model[0].base;
    for kind in Kind::ALL {
        let stale = SegmentFile { base, kind, stage: Stage::Cleaned };
        write(&memory, &Path::new(DIR).join(stale.to_string()), &[1; 5000]);
    }
    let fs = FaultFs::new(memory.clone());
    fs.record_trace(true);
    clean_all(&open_dir(fs.clone(), None), &model, &pass, &facts).unwrap();
    let cleaned = read_cleaned(&memory, base);
    assert_eq!(cleaned.len(), 3, "{:?}", cleaned.keys());
    assert!(cleaned.values().all(|bytes| !bytes.starts_with(&[1; 8])));
    for name in cleaned.keys() {
        let path = Path::new(DIR).join(name);
        let trace = fs.trace();
        let last = trace
            .iter()
            .rev()
            .find(|call| *call.path == *path && !matches!(call.operation, Operation::Len));
        let last = last.unwrap().operation;
        // An empty index is complete when it is created.
        assert_eq!(last, Operation::SyncAll, "{name}");
    }
}

#[test]
fn report_can_end_pass_anywhere() {
    let mut random = SplitMix64(3);
    let mut batches = Vec::new();
    let mut next = 0;
    for _ in 0..40 {
        let mut batch = model::batch(&mut random, next, 3);
        batch.codec = crate::types::Codec::None;
        batch.records.iter_mut().for_each(|record| {
            record.value = Some(vec![7; 20_000]);
            record.key = Some(record.offset.to_be_bytes().to_vec());
        });
        next = batch.last + 1;
        batches.push(batch);
    }
    let model = [Seg { base: 0, next, batches }];
    let fs = MemFs::new();
    store(&fs, &model);
    let before = files(&fs);
    let dir = open_dir(fs.clone(), None);
    let segments = open_segments(&dir, &model);
    let all = sources(&segments, &model);
    let pass = Pass { from: 0, upto: next, now: 0, retention: 0, compression: None };
    let facts = Facts::default();
    for limit in 0.. {
        let mut calls = 0;
        let mut report = |bytes| {
            assert!(bytes <= 1 << 20);
            calls += 1;
            if calls > limit { Err(Error::StoreClosed) } else { Ok(()) }
        };
        let mut map = new_map(10_000, &pass);
        let mut scratch = Scratch::new(1 << 20);
        let mut fake = Fake(&facts);
        let read = read_keys(&all, 0, &mut map, &mut scratch, &mut fake, &mut report);
        let done = read.and_then(|read| {
            let survivors = Survivors::new(&map, 0..read.end);
            let group = SegmentGroup { dir: &dir, base: 0, sources: &all };
            rewrite(&group, &survivors, &options(&pass), &mut scratch, &mut fake, &mut report)
        });
        match done {
            Ok((done, _)) => {
                assert!(!done.changed && limit > 10, "{limit}");
                break;
            }
            Err(error) => {
                assert!(matches!(error, Error::StoreClosed));
                assert_eq!(files(&fs), before);
            }
        }
    }
}

#[test]
fn damage_is_reported_with_position() {
    let (model, facts, pass) = sample(70);
    let fs = MemFs::new();
    store(&fs, &model);
    let (seg, batch) = model
        .iter()
        .find_map(|seg| Some((seg, seg.batches.get(1)?)))
        .filter(|(_, batch)| !batch.records.is_empty())
        .unwrap();
    let position = seg.batches[0].encode().len() as u64;
    let file = fs.open(&path(seg.base), OpenMode::ReadWrite).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position + 62).unwrap();
    file.write_all_at(&[byte[0] ^ 4], position + 62).unwrap();
    let error = clean_all(&open_dir(fs.clone(), None), &model, &pass, &facts).unwrap_err();
    let Error::Corrupt(corruption) = error else { panic!("{error}") };
    assert_eq!((corruption.path, corruption.position), (path(seg.base), position));
    assert!(corruption.offset.is_some_and(|offset| offset <= batch.base));
    let CorruptionKind::Batch(InvalidBatch::Checksum { .. }) = corruption.reason else { panic!() };
}

/// Batches without survivors are not read a second time. All others are, and validated.
#[test]
fn superseded_batches_are_skipped_unread() {
    let mut batches = Vec::new();
    let mut next = 0;
    for number in 0..40u64 {
        let mut batch = model::batch(&mut SplitMix64(number), next, 1);
        (batch.codec, batch.producer) = (crate::types::Codec::None, (-1, -1, -1));
        batch.records.truncate(1);
        batch.records.iter_mut().for_each(|record| {
            record.key = Some(if number == 20 { b"other".to_vec() } else { b"key".to_vec() });
            record.value = Some(vec![7; 20_000]);
        });
        next = batch.last + 1;
        batches.push(batch);
    }
    let sizes: Vec<u64> = batches.iter().map(|batch| batch.encode().len() as u64).collect();
    let position = |number: usize| sizes[..number].iter().sum::<u64>();
    let kept = [batches[20].base, batches[39].base];
    let model = [Seg { base: 0, next, batches }];
    let pass = Pass { from: 0, upto: next + 1, now: 0, retention: 0, compression: None };
    let facts = Facts::default();
    for damaged in 0..40 {
        let fs = MemFs::new();
        store(&fs, &model);
        let dir = open_dir(fs.clone(), None);
        let segments = open_segments(&dir, &model);
        let all = sources(&segments, &model);
        let mut map = new_map(1000, &pass);
        let read = fill(&mut map, &all, &pass, &facts).unwrap();
        let file = fs.open(&path(0), OpenMode::ReadWrite).unwrap();
        file.write_all_at(b"!", position(damaged) + 1000).unwrap();
        let group = SegmentGroup { dir: &dir, base: 0, sources: &all };
        let survivors = Survivors::new(&map, 0..read.end);
        let refused = write_group(&group, &survivors, &pass, &facts);
        assert!(matches!(refused, Err(Error::Corrupt(_))), "{damaged}");
        let survivors = Survivors::new(&map, 0..read.end).with_spans(&read.spans);
        match write_group(&group, &survivors, &pass, &facts) {
            Ok(done) => {
                assert!(![20, 39].contains(&damaged));
                assert!(done.bytes_read < position(10), "{damaged}");
                assert_eq!((done.batches_read, done.records_kept, done.changed), (40, 2, true));
                let cleaned = read_cleaned(&fs, 0).remove("00000000000000000000.log.cleaned");
                let bases: Vec<_> =
                    Bat::decode_all(&cleaned.unwrap()).iter().map(|batch| batch.base).collect();
                assert_eq!(bases, kept);
            }
            Err(Error::Corrupt(corruption)) => {
                assert_eq!(corruption.position, position(damaged));
                assert!((18..21).contains(&damaged) || damaged == 39, "{damaged}");
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[cfg(feature = "zstd")]
#[test]
fn pass_rejects_batch_over_decompression_limit() {
    let mut batch = model::batch(&mut SplitMix64(1), 0, 1);
    batch.codec = crate::types::Codec::Zstd;
    batch.records[0].value = Some(vec![0; 2 << 20]);
    let next = batch.last + 1;
    let model = [Seg { base: 0, next, batches: vec![batch] }];
    let fs = MemFs::new();
    store(&fs, &model);
    let pass = Pass { from: 0, upto: next, now: 0, retention: 0, compression: None };
    let error = clean_all(&open_dir(fs.clone(), None), &model, &pass, &Facts::default());
    let Err(Error::Corrupt(corruption)) = error else { panic!("{error:?}") };
    assert_eq!(
        corruption.reason,
        CorruptionKind::Batch(InvalidBatch::DecompressedTooLarge { limit: 1 << 20 })
    );
    assert_eq!(corruption.path, path(0));
}

#[test]
fn pass_rejects_legacy_formats() {
    let fs = MemFs::new();
    let model = [Seg { base: 0, next: 9, batches: Vec::new() }];
    store(&fs, &model);
    let file = fs.open(&path(0), OpenMode::ReadWrite).unwrap();
    let mut message = [0; 80];
    (message[11], message[16]) = (68, 1);
    file.write_all_at(&message, 0).unwrap();
    let pass = Pass { from: 0, upto: 9, now: 0, retention: 0, compression: None };
    let error = clean_all(&open_dir(fs, None), &model, &pass, &Facts::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("v1 is not supported"), "{error}");
}
