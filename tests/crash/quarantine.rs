//! Opening a damaged log with `OnCorruption::Quarantine`: whole batches stay, damaged bytes are
//! moved, and both are reported.
//!
//! `ANNALS_QUARANTINE_SEEDS=0..1000` chooses the seeds.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Rule};
use annals::record::{BatchBuilder, BatchHeader};
use annals::{Event, Log, LogConfig, OnCorruption, Record, Timestamp};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use support::{
    Chance, DIR, Heard, Model, Rec, files, name, read_all, read_file, seeds, write_file,
};

fn small() -> LogConfig {
    LogConfig::default().segment_bytes(900).index_interval_bytes(100)
}

fn keep(fs: &MemFs) -> LogConfig {
    small().fs(fs.clone()).on_corruption(OnCorruption::Quarantine)
}

fn append(log: &Log, model: &mut Model, chance: &mut Chance) {
    let first = model.end;
    let recs: Vec<Rec> = (0..1 + chance.below(4))
        .map(|i| Rec {
            offset: first + i,
            time: (first + i) as i64,
            key: None,
            value: Some(vec![chance.below(256) as u8; chance.below(120) as usize]),
        })
        .collect();
    let records: Vec<Record> = recs
        .iter()
        .map(|rec| {
            Record::new(rec.value.clone().unwrap()).timestamp(Timestamp::from_millis(rec.time))
        })
        .collect();
    assert_eq!(log.append_all(records).unwrap().first, first);
    model.append(recs);
}

/// The position of a batch in its file.
#[derive(Debug, Clone)]
struct Place {
    file: String,
    position: usize,
    header: BatchHeader,
}

fn places(fs: &MemFs) -> Vec<Place> {
    let mut found = Vec::new();
    for (file, bytes) in files(fs, DIR).into_iter().filter(|(file, _)| file.ends_with(".log")) {
        let mut position = 0;
        while position < bytes.len() {
            let header = BatchHeader::parse(&bytes[position..]).unwrap();
            found.push(Place { file: file.clone(), position, header });
            position += header.size_bytes();
        }
    }
    found
}

fn flip(fs: &MemFs, file: &str, at: usize, bit: u64) {
    let mut bytes = read_file(fs, DIR, file);
    bytes[at] ^= 1 << bit;
    write_file(fs, DIR, file, &bytes);
}

fn without(model: &Model, lost: &BTreeSet<u64>) -> Vec<Rec> {
    model.records().filter(|rec| !lost.contains(&rec.offset)).cloned().collect()
}

#[test]
fn quarantine_moves_only_damaged_bytes() {
    for seed in seeds("ANNALS_QUARANTINE_SEEDS", 150) {
        println!("seed {seed}");
        let mut chance = Chance(seed);
        let fs = MemFs::new();
        let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
        let mut model = Model::default();
        (0..30).for_each(|_| append(&log, &mut model, &mut chance));
        let closed = chance.below(2) == 0;
        if closed {
            log.close().unwrap();
        }
        let fs = fs.kill();

        let places = places(&fs);
        // Nothing tells damage at the very end of a log that was not closed from a write that was
        // cut short.
        let among = places.len() as u64 - u64::from(!closed);
        let damaged: BTreeSet<usize> =
            (0..=chance.below(4)).map(|_| chance.below(among) as usize).collect();
        let mut lost = BTreeSet::new();
        let mut bytes = 0;
        let mut lengths = 0;
        for &number in &damaged {
            let Place { file, position, header } = &places[number];
            let is_last = number + 1 == places.len();
            let within = loop {
                let within = chance.below(header.size_bytes() as u64) as usize;
                // Leader epochs are not covered by anything, and another magic is another format.
                // Base offsets are held against those of the neighbours, of which there must be
                // two sound ones.
                let alone = damaged.len() == 1 && !is_last;
                if !(12..17).contains(&within) && (alone || within >= 8) {
                    break within;
                }
            };
            lengths += usize::from((8..12).contains(&within));
            let bit = chance.below(8);
            println!(
                "bit {bit} of byte {within} of the batch at {position} of {file}, {}..{}",
                header.base_offset,
                header.next_offset()
            );
            flip(&fs, file, position + within, bit);
            lost.extend(header.base_offset..header.next_offset());
            bytes += header.size_bytes() as u64;
        }

        let rejected = Log::open(DIR, small().fs(fs.kill()));
        let log = Log::open(DIR, keep(&fs)).unwrap();
        let left = read_all(&log);
        let gone: BTreeSet<u64> =
            (0..model.end).filter(|offset| left.iter().all(|rec| rec.offset != *offset)).collect();
        assert!(left == without(&model, &gone), "what is left is as it was");
        // If a length is damaged and more damage follows closely, a batch between the two may be
        // moved with them.
        assert!(
            gone == lost || (lengths > 0 && damaged.len() > 1 && gone.is_superset(&lost)),
            "{gone:?}"
        );
        let exact = gone == lost;
        let lost = gone;
        assert_eq!(log.offsets().end, model.end, "no offset is given twice");
        assert_eq!(log.verify().unwrap(), []);
        let taken = log.recovery().quarantined.clone();
        let sum = taken.iter().map(|taken| taken.bytes).sum::<u64>();
        assert!(if exact { sum == bytes } else { sum > bytes }, "{taken:?}");
        for offset in &lost {
            assert!(taken.iter().any(|taken| taken.offsets.contains(offset)), "{offset} {taken:?}");
            assert_eq!(log.get(*offset).unwrap(), None);
        }
        for taken in &taken {
            let saved = taken.path.file_name().unwrap().to_str().unwrap();
            assert_eq!(read_file(&fs, DIR, saved).len() as u64, taken.bytes);
        }
        // The scan of a recovery that was not asked for this does not even look below the recovery
        // point.
        if let Err(error) = rejected {
            assert_eq!(error.kind(), annals::ErrorKind::Corrupt);
        }

        // From here on it is a log like any other, also for readers that know nothing of the
        // quarantine.
        let mut rest = Model { end: model.end, ..Model::default() };
        append(&log, &mut rest, &mut chance);
        log.close().unwrap();
        let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
        assert!(log.recovery().clean_shutdown && log.recovery().unknown_files.is_empty());
        let mut expected = without(&model, &lost);
        expected.extend(rest.records().cloned());
        assert_eq!(read_all(&log), expected);
        // And a second look takes nothing out.
        drop(log);
        assert_eq!(Log::open(DIR, keep(&fs)).unwrap().recovery().quarantined, []);
    }
}

/// Five batches in two segments, the second batch and the fourth of them damaged.
fn damaged() -> (MemFs, Model) {
    let fs = MemFs::new();
    let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
    let mut model = Model::default();
    let mut chance = Chance(1);
    (0..3).for_each(|_| append(&log, &mut model, &mut chance));
    log.roll().unwrap();
    (0..2).for_each(|_| append(&log, &mut model, &mut chance));
    log.close().unwrap();
    let fs = fs.kill();
    let places = places(&fs);
    for number in [1, 3] {
        flip(&fs, &places[number].file, places[number].position + 40, 3);
    }
    // The damage is durable.
    (fs.crash(CrashState::AllWrites), model)
}

#[test]
fn quarantine_survives_crash_at_any_call() {
    let (fs, _) = damaged();
    let outcome = read_all(&Log::open(DIR, keep(&fs.kill())).unwrap());

    let images = Arc::new(Mutex::new(Vec::new()));
    let faulty = FaultFs::new(fs.clone());
    let (taken, disk) = (Arc::clone(&images), fs.clone());
    faulty.add_rule(Rule::any(Fault::call(move |call| {
        let seeded = (0..3).map(|seed| disk.crash(CrashState::Random { seed }));
        let all = [disk.kill(), disk.crash(CrashState::SyncedOnly)];
        let at = format!("{call:?}");
        taken.lock().unwrap().extend(all.into_iter().chain(seeded).map(|fs| (at.clone(), fs)));
    })));
    let config = small().fs(faulty.clone()).on_corruption(OnCorruption::Quarantine);
    drop(Log::open(DIR, config).unwrap());
    faulty.clear_rules();
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 100, "{}", images.len());
    for (call, image) in images {
        // The file saved from a hole has all of its bytes, whenever the segment was shortened.
        let log = Log::open(DIR, keep(&image)).unwrap();
        assert!(read_all(&log) == outcome, "before {call}");
        let saved = image.list(Path::new(DIR)).unwrap();
        assert_eq!(saved.iter().filter(|e| e.name.ends_with(".quarantined")).count(), 2, "{call}");
    }
}

#[test]
fn quarantine_changes_nothing_without_space() {
    let (fs, _) = damaged();
    let before: Vec<_> =
        files(&fs, DIR).into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
    fs.set_capacity(fs.used_bytes() + 100);
    let error = Log::open(DIR, keep(&fs)).unwrap_err();
    assert_eq!(error.kind(), annals::ErrorKind::StorageFull);
    let after: Vec<_> =
        files(&fs, DIR).into_iter().filter(|(name, _)| name.ends_with(".log")).collect();
    assert_eq!(before, after);
}

/// A value may hold a whole batch, with offsets that would fit. When the batch around it is
/// damaged, it must not come back from the dead as a record that was never in the log.
#[test]
fn quarantine_ignores_batch_inside_damaged_value() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    let mut inner = BatchBuilder::new();
    inner.base_offset(1).push(Timestamp::from_millis(5), None, Some(b"never appended")).unwrap();
    log.append("first").unwrap();
    log.append_all([Record::new(inner.build_bytes().unwrap()), Record::new("two")]).unwrap();
    log.append("last").unwrap();
    log.close().unwrap();
    let place = places(&fs)[1].clone();
    // In the batch's checksum, and in its length.
    for within in [17, 9] {
        let fs = fs.kill();
        flip(&fs, &place.file, place.position + within, 6);
        let log = Log::open(DIR, keep(&fs)).unwrap();
        let values: Vec<_> = read_all(&log).into_iter().map(|rec| rec.value.unwrap()).collect();
        assert_eq!(values, [b"first".to_vec(), b"last".to_vec()]);
    }
}

/// No batch after it confirms a batch that is followed by a damaged one, but the batch before it
/// can: it is whole except for its length.
#[test]
fn batch_between_two_damages_stays() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    (0..5).for_each(|n| assert_eq!(log.append(format!("{n}")).unwrap(), n));
    log.close().unwrap();
    let places = places(&fs);
    flip(&fs, &places[1].file, places[1].position + 9, 6);
    flip(&fs, &places[3].file, places[3].position + 17, 6);
    let log = Log::open(DIR, keep(&fs)).unwrap();
    let found: Vec<_> = read_all(&log).into_iter().map(|rec| rec.offset).collect();
    assert_eq!(found, [0, 2, 4]);
}

/// A damaged batch still says how long it is, and so does the one after it: the bytes in its
/// values are skipped.
#[test]
fn quarantine_skips_values_of_damaged_batch() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    let mut value = Vec::new();
    for offset in [2, 3] {
        let mut inner = BatchBuilder::new();
        inner.base_offset(offset).push(Timestamp::from_millis(5), None, Some(b"never")).unwrap();
        value.extend(inner.build_bytes().unwrap());
    }
    log.append("0").unwrap();
    log.append("1").unwrap();
    log.append_all([Record::new(value), Record::new("3")]).unwrap();
    log.append("4").unwrap();
    log.close().unwrap();
    let places = places(&fs);
    let (base, checksum, last_delta, count) = (7, 17, 23, 57);
    let cases = [
        (vec![(2, checksum, 7)], vec!["0", "1", "4"]),
        (vec![(2, last_delta, 7)], vec!["0", "1", "4"]),
        (vec![(2, count, 7)], vec!["0", "1", "4"]),
        (vec![(1, checksum, 7), (2, checksum, 7)], vec!["0", "4"]),
        (vec![(1, checksum, 7), (2, base, 1)], vec!["0", "4"]),
    ];
    for (flips, expected) in cases {
        let fs = fs.kill();
        for (number, within, bit) in &flips {
            flip(&fs, &places[*number].file, places[*number].position + within, *bit);
        }
        let log = Log::open(DIR, keep(&fs)).unwrap();
        let found: Vec<_> = read_all(&log).into_iter().map(|rec| rec.value.unwrap()).collect();
        assert!(
            found.iter().map(|value| value.as_slice()).eq(expected.iter().map(|v| v.as_bytes())),
            "{flips:?}"
        );
    }
}

/// Any damage in one batch, and in another beside it, loses those two batches and no third.
#[test]
fn quarantine_loses_only_damaged_batches() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    (0..7).for_each(|n| assert_eq!(log.append(format!("{n}")).unwrap(), n));
    log.close().unwrap();
    let places = places(&fs);
    let (base, length, checksum) = (7, 9, 17);
    let cases = [
        // The base offset of the batch after it, upwards; and that of the batch after that,
        // downwards.
        (vec![(1, checksum, 6), (2, base, 0)], vec![0, 3, 4, 5, 6]),
        (vec![(1, checksum, 6), (2, base, 2)], vec![0, 3, 4, 5, 6]),
        (vec![(1, checksum, 6), (3, base, 0)], vec![0, 2, 4, 5, 6]),
        // Nothing says where it ends.
        (vec![(1, length, 6), (1, checksum, 6)], vec![0, 2, 3, 4, 5, 6]),
        (vec![(5, length, 6), (5, checksum, 6)], vec![0, 1, 2, 3, 4, 6]),
    ];
    for (flips, expected) in cases {
        for zeros in [0, 100] {
            let disk = fs.kill();
            for (number, within, bit) in &flips {
                flip(&disk, &places[*number].file, places[*number].position + within, *bit);
            }
            let mut bytes = read_file(&disk, DIR, &name(0, "log"));
            bytes.resize(bytes.len() + zeros, 0);
            write_file(&disk, DIR, &name(0, "log"), &bytes);
            let log = Log::open(DIR, keep(&disk)).unwrap();
            let found = read_all(&log);
            let is_right = |rec: &Rec| rec.value == Some(rec.offset.to_string().into_bytes());
            assert!(found.iter().all(is_right), "{flips:?}, {zeros} zeros: {found:?}");
            let found: Vec<_> = found.into_iter().map(|rec| rec.offset).collect();
            assert_eq!(found, expected, "{flips:?}, {zeros} zeros");
            assert_eq!(log.offsets().end, 7);
        }
    }
}

/// A flushed end that is gone leaves nothing to set aside, but its offsets are not given to other
/// records.
#[test]
fn lost_offsets_are_not_reused() {
    let fs = MemFs::new();
    let log = Log::open(DIR, small().fs(fs.clone())).unwrap();
    for n in 0..3 {
        log.append(format!("{n}")).unwrap();
    }
    log.close().unwrap();
    let file = name(0, "log");
    for keep_bytes in [138, 100, 0] {
        let fs = fs.kill();
        let bytes = read_file(&fs, DIR, &file);
        write_file(&fs, DIR, &file, &bytes[..keep_bytes]);
        assert!(Log::open(DIR, small().fs(fs.kill())).is_err());
        let heard = Arc::new(Heard::default());
        let log = Log::open(DIR, keep(&fs).listener(heard.clone())).unwrap();
        assert_eq!(log.offsets().end, 3);
        assert_eq!(read_all(&log).len(), keep_bytes / 69);
        assert_eq!(log.append("next").unwrap(), 3);
        assert_eq!(log.verify().unwrap(), []);
        drop(log);
        let log = Log::open(DIR, small().fs(fs.kill())).unwrap();
        assert_eq!(read_all(&log).last().unwrap().offset, 3);
        let set_aside = heard.0.lock().unwrap().iter().any(|e| matches!(e, Event::Quarantined(_)));
        assert_eq!(set_aside, keep_bytes % 69 != 0);
    }
}
