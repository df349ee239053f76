//! Index files that are in order and wrong, below a mark of a clean shutdown: no answer depends on
//! them.

use annals::fs::{FaultFs, MemFs, Operation};
use annals::record::{BatchBuilder, BatchHeader, stamp_base_offset};
use annals::{
    Event, Log, LogConfig, Offset, OffsetSpec, ReadLimits, Record, Store, StoreConfig, Timestamp,
    TopicConfig,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use support::{DIR, Heard, Model, Rec, name, read_file, write_file};

/// A value that holds encoded batches, as of a log that is copied into another.
fn nested(offsets: &[Offset]) -> Vec<u8> {
    let mut value = Vec::new();
    for offset in offsets {
        let mut batch = BatchBuilder::new();
        batch.push(Timestamp::from_millis(30), None, Some(b"not of this log")).unwrap();
        let mut bytes = batch.finish().unwrap().to_vec();
        stamp_base_offset(&mut bytes, *offset).unwrap();
        value.extend(bytes);
    }
    value
}

fn config(fs: &MemFs, interval: u64) -> LogConfig {
    LogConfig::default().segment_bytes(1400).index_interval_bytes(interval).fs(fs.clone())
}

/// A log of some segments, closed in order: times rise and fall, some batches have several
/// records, and some values look like batches of higher offsets.
fn closed_log(interval: u64) -> (MemFs, Model, Vec<Offset>) {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs, interval)).unwrap();
    let mut model = Model::default();
    append(&log, &mut model, 0..30);
    let bases: Vec<_> = log.stats().unwrap().segments.iter().map(|s| s.base_offset).collect();
    assert!(bases.len() > 2, "{bases:?}");
    log.close().unwrap();
    (fs, model, bases)
}

fn append(log: &Log, model: &mut Model, batches: Range<u64>) {
    let times = [10, 50, 20, 40, 60, 30, 45, 70, 65, 5];
    for n in batches {
        let end = log.offsets().end;
        let recs: Vec<Rec> = (0..1 + n % 4 / 3)
            .map(|i| Rec {
                offset: end + i,
                time: times[n as usize % 10] + (n / 10 * 100) as i64 + i as i64,
                key: None,
                value: Some(match n % 5 {
                    1 => nested(&[end + 1, end + 2, end + 3]),
                    3 => nested(&[end + 3]),
                    _ => format!("{n}-{i}").into_bytes(),
                }),
            })
            .collect();
        let records = recs.iter().map(|rec| {
            Record::new(rec.value.clone().unwrap()).timestamp(Timestamp::from_millis(rec.time))
        });
        log.append_all(records).unwrap();
        model.append(recs);
    }
}

/// A log whose process died, and its recovery point: in its only segment, or at the end of the
/// first of two.
fn killed_log(interval: u64, rolled: bool, added: u64) -> (MemFs, Model, Offset) {
    let fs = MemFs::new();
    let open = || Log::open(DIR, config(&fs, interval).segment_bytes(1 << 20)).unwrap();
    let (log, mut model) = (open(), Model::default());
    append(&log, &mut model, 0..10);
    if rolled {
        log.roll().unwrap();
    }
    log.close().unwrap();
    let vouched = model.end;
    append(&open(), &mut model, 10..10 + added);
    (fs.kill(), model, vouched)
}

/// Where batches begin in a file, or seem to.
fn positions(log: &[u8]) -> Vec<u32> {
    let magic_at = |at: &usize| {
        let length = u32::from_be_bytes(log[at + 8..at + 12].try_into().unwrap());
        log[at + 16] == 2 && (49..1000).contains(&length)
    };
    (0..log.len() - 61).filter(magic_at).map(|at| at as u32).collect()
}

fn open(fs: &MemFs, interval: u64, case: &str) -> Log {
    let log = Log::open(DIR, config(&fs.kill(), interval)).unwrap();
    let recovery = log.recovery();
    assert!(recovery.clean_shutdown && recovery.scanned_bytes == 0, "{case}: a batch was read");
    log
}

fn check_offset(log: &Log, want: &Rec, case: &str) {
    let found = log.get(want.offset).unwrap_or_else(|e| panic!("{case}: get {}: {e}", want.offset));
    assert_eq!(Rec::from(found.unwrap()), *want, "{case}: get");
    let fetched = log.read(want.offset, ReadLimits::bytes(1)).unwrap();
    let found = fetched.records().unwrap();
    assert!(
        found.iter().any(|rec| Rec::from(rec.clone()) == *want),
        "{case}: read {}",
        want.offset
    );
}

fn check_time(log: &Log, model: &Model, time: i64, case: &str) {
    let found = log.offset_for_time(Timestamp::from_millis(time)).unwrap();
    assert_eq!(found, model.at_time(time), "{case}: time {time}");
}

fn all_times(model: &Model) -> BTreeSet<i64> {
    model.records().flat_map(|rec| [rec.time - 1, rec.time, rec.time + 1]).collect()
}

/// Runs a check for each way to replace one entry by another that leaves the file in order.
fn for_each_wrong_entry(
    entries: &[(i64, i64)],
    others: &[(i64, i64)],
    mut check: impl FnMut(&str, &[(i64, i64)]),
) {
    for (number, entry) in entries.iter().enumerate() {
        for other in others.iter().filter(|other| *other != entry) {
            let mut wrong = entries.to_vec();
            wrong[number] = *other;
            if wrong.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1) {
                check(&format!("entry {number}, {entry:?}, is {other:?}"), &wrong);
            }
        }
        let mut less = entries.to_vec();
        less.remove(number);
        check(&format!("entry {number} is missing"), &less);
    }
}

#[test]
fn lookups_survive_wrong_offset_index() {
    for interval in [0, 300] {
        let (fs, model, bases) = closed_log(interval);
        let base = bases[0];
        let log = read_file(&fs, DIR, &name(base, "log"));
        let index = read_file(&fs, DIR, &name(base, "index"));
        let half = |bytes: &[u8]| i64::from(u32::from_be_bytes(bytes.try_into().unwrap()));
        let entries: Vec<_> = index.chunks(8).map(|e| (half(&e[..4]), half(&e[4..]))).collect();
        let places = positions(&log);
        assert!(places.len() > model.batches.iter().filter(|b| b[0].offset < bases[1]).count());
        let others: Vec<_> = (0..(bases[1] - base) as i64)
            .flat_map(|offset| places.iter().map(move |place| (offset, i64::from(*place))))
            .collect();
        let mut cases = 0;
        for_each_wrong_entry(&entries, &others, |case, wrong| {
            let disk = fs.kill();
            let bytes: Vec<u8> = wrong
                .iter()
                .flat_map(|(a, b)| [(*a as u32).to_be_bytes(), (*b as u32).to_be_bytes()])
                .flatten()
                .collect();
            write_file(&disk, DIR, &name(base, "index"), &bytes);
            for want in model.records().take_while(|rec| rec.offset < bases[1]) {
                check_offset(&open(&disk, interval, case), want, case);
            }
            let log = open(&disk, interval, case);
            model.records().for_each(|want| check_offset(&log, want, case));
            for time in [5, 30, 45, 50, 55, 70, 110] {
                check_time(&open(&disk, interval, case), &model, time, case);
            }
            cases += 1;
        });
        assert!(cases > 20, "{cases}");
    }
}

#[test]
fn lookups_survive_wrong_time_index() {
    for interval in [0, 300] {
        let (fs, model, bases) = closed_log(interval);
        let times = all_times(&model);
        let base = bases[0];
        let index = read_file(&fs, DIR, &name(base, "timeindex"));
        let entries: Vec<_> = index
            .chunks(12)
            .map(|e| {
                let time = i64::from_be_bytes(e[..8].try_into().unwrap());
                (time, i64::from(u32::from_be_bytes(e[8..].try_into().unwrap())))
            })
            .collect();
        let offsets = 0..(bases[1] - base) as i64;
        let others: Vec<_> = times
            .iter()
            .filter(|time| **time < 120)
            .flat_map(|time| offsets.clone().map(move |offset| (*time, offset)))
            .collect();
        let mut cases = 0;
        for_each_wrong_entry(&entries, &others, |case, wrong| {
            let disk = fs.kill();
            let bytes: Vec<u8> = wrong
                .iter()
                .flat_map(|(t, o)| [&t.to_be_bytes()[..], &(*o as u32).to_be_bytes()[..]].concat())
                .collect();
            write_file(&disk, DIR, &name(base, "timeindex"), &bytes);
            for time in times.iter().filter(|time| **time < 120) {
                check_time(&open(&disk, interval, case), &model, *time, case);
            }
            let log = open(&disk, interval, case);
            let largest = log.list_offset(OffsetSpec::MaxTimestamp).unwrap();
            assert_eq!(largest, model.at_time(times.last().unwrap() - 1), "{case}: the largest");
            let first = &log.stats().unwrap().segments[0];
            let below = model.records().take_while(|rec| rec.offset < bases[1]);
            let largest = below.map(|rec| rec.time).max().unwrap();
            assert_eq!(first.largest_timestamp.as_millis(), largest, "{case}: of its segment");
            times.iter().for_each(|time| check_time(&log, &model, *time, case));
            cases += 1;
        });
        assert!(cases > 20, "{cases}");
    }
}

/// The recovery point covers records, and no index entry: opening keeps the entries that agree
/// with the log where it looks, and a later lookup finds what is wrong with the rest.
#[test]
fn lookups_survive_wrong_index_after_crash() {
    let states = [(false, 0), (false, 3), (true, 3)];
    for (interval, (rolled, added)) in [0, 300].into_iter().flat_map(|i| states.map(|s| (i, s))) {
        let (fs, model, vouched) = killed_log(interval, rolled, added);
        let upto = if rolled { vouched } else { model.end };
        let times = all_times(&model);
        let check = |file: &str, wrong: &[u8], case: &str| {
            let disk = fs.kill();
            write_file(&disk, DIR, file, wrong);
            let open = || Log::open(DIR, config(&disk.kill(), interval)).unwrap();
            times.iter().for_each(|time| check_time(&open(), &model, *time, case));
            let log = open();
            model.records().for_each(|want| check_offset(&log, want, case));
            times.iter().rev().for_each(|time| check_time(&log, &model, *time, case));
            // Closed, its time is asked of the index.
            let log = open();
            log.roll().unwrap();
            let largest = log.stats().unwrap().segments[0].largest_timestamp.as_millis();
            let below = model.records().take_while(|rec| rec.offset < upto);
            assert_eq!(largest, below.map(|rec| rec.time).max().unwrap(), "{case}");
            times.iter().for_each(|time| check_time(&log, &model, *time, case));
            assert_eq!(log.verify().unwrap(), [], "{case}");
        };
        let mut cases = 0;
        let log = read_file(&fs, DIR, &name(0, "log"));
        for (extension, front) in [("index", 4), ("timeindex", 8)] {
            let file = name(0, extension);
            let index = read_file(&fs, DIR, &file);
            let entries: Vec<_> = index
                .chunks(front + 4)
                .map(|entry| {
                    let (front, back) = entry.split_at(front);
                    let front = front.iter().fold(0, |all, byte| all << 8 | i64::from(*byte));
                    (front, i64::from(u32::from_be_bytes(back.try_into().unwrap())))
                })
                .collect();
            let offsets = 0..vouched as i64;
            let others: Vec<_> = if extension == "index" {
                let places = positions(&log).into_iter().map(i64::from);
                places
                    .flat_map(|place| offsets.clone().map(move |offset| (offset, place)))
                    .collect()
            } else {
                let times = times.iter().filter(|time| **time < 90);
                times.flat_map(|time| offsets.clone().map(move |offset| (*time, offset))).collect()
            };
            let bytes = |entries: &[(i64, i64)]| -> Vec<u8> {
                let bytes = entries.iter().flat_map(|(a, b)| {
                    [&a.to_be_bytes()[8 - front..], &b.to_be_bytes()[4..]].concat()
                });
                bytes.collect()
            };
            assert!(bytes(&entries) == index);
            for len in 0..entries.len() {
                check(&file, &bytes(&entries[..len]), &format!("{file} cut to {len} entries"));
            }
            for_each_wrong_entry(&entries, &others, |case, wrong| {
                cases += 1;
                // Not all of them: each is looked at in many openings.
                if cases % 8 == 0 {
                    check(
                        &file,
                        &bytes(wrong),
                        &format!("{file}: {case}, {interval}, {rolled}, {added}"),
                    );
                }
            });
        }
        assert!(cases > 20, "{cases}");
    }
}

/// The events about rebuilt indexes, after everything was looked up in them.
fn rebuilt(fs: &MemFs, interval: u64, model: &Model) -> usize {
    let heard = Arc::new(Heard::default());
    let log = Log::open(DIR, config(fs, interval).listener(heard.clone())).unwrap();
    model.records().for_each(|want| check_offset(&log, want, "look up"));
    all_times(model).iter().for_each(|time| check_time(&log, model, *time, "look up"));
    let heard = heard.0.lock().unwrap();
    heard.iter().filter(|event| matches!(event, Event::IndexRebuilt { .. })).count()
}

/// A wrong index, of a closed segment or of the active one, is rebuilt once, and is then as it
/// was.
#[test]
fn wrong_index_is_rebuilt_identically() {
    for interval in [0, 300] {
        let (fs, model, bases) = closed_log(interval);
        for base in [bases[0], *bases.last().unwrap()] {
            for (extension, entry) in [("index", 8), ("timeindex", 12)] {
                let file = name(base, extension);
                let right = read_file(&fs, DIR, &file);
                let shorter = (0..right.len()).step_by(entry).map(|len| right[..len].to_vec());
                // One that the log contradicts. That of the active segment goes when the segment
                // is closed.
                let mut changed = right.clone();
                changed[right.len() - 1] ^= 1;
                let changed = (base == bases[0]).then_some(changed);
                for wrong in shorter.chain(changed) {
                    let disk = fs.kill();
                    write_file(&disk, DIR, &file, &wrong);
                    let case = format!("{file} of {interval}, {} of {}", wrong.len(), right.len());
                    // An offset index with fewer entries is one of a larger interval, unless a
                    // marker says how many it has.
                    let is_sound =
                        base == bases[0] && extension == "index" && right.starts_with(&wrong);
                    assert_eq!(rebuilt(&disk, interval, &model), usize::from(!is_sound), "{case}");
                    let now = read_file(&disk, DIR, &file);
                    assert!(now == if is_sound { wrong } else { right.clone() }, "{case}");
                }
            }
        }
        assert_eq!(rebuilt(&fs, interval, &model), 0);
    }
}

/// The index may have been written with another interval: by a broker, or by this log before its
/// options changed.
#[test]
fn sparser_index_is_used_unchanged() {
    for (written, opened) in [(1000, 0), (u64::MAX, 0), (u64::MAX, 300), (300, 0), (0, 1000)] {
        let (fs, model, bases) = closed_log(written);
        let files: Vec<_> = bases.iter().map(|base| name(*base, "index")).collect();
        let before: Vec<_> = files.iter().map(|file| read_file(&fs, DIR, file)).collect();
        assert_eq!(rebuilt(&fs, opened, &model), 0, "{written}, then {opened}");
        let after: Vec<_> = files.iter().map(|file| read_file(&fs, DIR, file)).collect();
        assert!(before == after, "{written}, then {opened}");
    }
}

/// An altered interval waits for the next opening, as the documentation of `alter_topic` says.
#[test]
fn altered_interval_applies_from_next_opening() {
    let fs = MemFs::new();
    let open =
        || Store::open("data", StoreConfig::default().fs(fs.clone()).maintenance(None)).unwrap();
    let entries = |base| read_file(&fs, "data/t-0", &name(base, "index")).len() / 8;
    let append = |store: &Store| {
        let log = store.topic("t").unwrap().partition(0).unwrap();
        log.roll().unwrap();
        let base = log.offsets().end;
        assert!(base > 0, "the segment that was begun before would stay");
        (0..10).for_each(|_| drop(log.append(vec![0; 100])));
        log.roll().unwrap();
        base
    };
    let store = open();
    store
        .create_topic("t", TopicConfig::default().set("index.interval.bytes", "1000000").unwrap())
        .unwrap();
    store.topic("t").unwrap().partition(0).unwrap().append("first").unwrap();
    let dense = TopicConfig::default().set("index.interval.bytes", "0").unwrap();
    store.alter_topic("t", dense).unwrap();
    assert_eq!(entries(append(&store)), 0);
    store.close().unwrap();
    assert_eq!(entries(append(&open())), 9);
}

/// Kafka appends several batches at once where a follower fetches, with one entry: the last offset
/// of all of them, and where the first begins.
#[test]
fn index_entry_may_cover_several_batches() {
    let (fs, model, bases) = closed_log(0);
    let log = read_file(&fs, DIR, &name(bases[0], "log"));
    let (mut batches, mut at) = (Vec::new(), 0);
    while at < log.len() {
        let header = BatchHeader::parse(&log[at..]).unwrap();
        batches.push((at as u32, header.last_offset() as u32));
        at += header.size_bytes();
    }
    for size in 2..4 {
        let appends = batches[batches.len() % size..].chunks(size);
        let index: Vec<u8> = appends
            .flat_map(|append| [append[size - 1].1.to_be_bytes(), append[0].0.to_be_bytes()])
            .flatten()
            .collect();
        let disk = fs.kill();
        write_file(&disk, DIR, &name(bases[0], "index"), &index);
        assert_eq!(rebuilt(&disk, 0, &model), 0, "{size} batches at once");
    }
}

/// Where an index says where to look, no more is read than that: whole logs would be walked
/// through for every record otherwise, with the same answers.
#[test]
fn lookup_reads_little_beyond_the_batch() {
    for sealed in [true, false] {
        let fs = FaultFs::new(MemFs::new());
        let config = LogConfig::default().index_interval_bytes(0).fs(fs.clone());
        let log = Log::open(DIR, config).unwrap();
        for segment in 0..3 {
            for n in segment * 200..(segment + 1) * 200 {
                let value = "x".repeat(1000);
                log.append(Record::new(value).timestamp(Timestamp::from_millis(n))).unwrap();
            }
            if sealed || segment < 2 {
                log.roll().unwrap();
            }
        }
        let reads = |work: &dyn Fn()| {
            // The first time, entries are checked.
            work();
            fs.clear_trace();
            work();
            let reads = fs.trace().into_iter().filter(|call| call.operation == Operation::Read);
            let bytes: Vec<_> = reads.map(|call| call.len).collect();
            (bytes.len(), bytes.iter().sum::<u64>())
        };
        for offset in [150, 350, 590] {
            let get = reads(&|| assert!(log.get(offset).unwrap().is_some()));
            assert!(get.0 <= 2 && get.1 < 1300, "get {offset}: {get:?}");
            let time = Timestamp::from_millis(offset as i64);
            let look = || assert_eq!(log.offset_for_time(time).unwrap(), Some((offset, time)));
            let look = reads(&look);
            assert!(look.1 < 40_000, "time {offset}: {look:?}");
        }
    }
}

/// An index that this crate wrote is never doubted: it is rebuilt only if something is wrong with
/// it.
#[test]
fn correct_index_is_never_rebuilt() {
    // Around the sizes of one to five batches of 70 bytes.
    let intervals =
        (0..5u64).flat_map(|batches| [batches * 70, batches * 70 + 1, batches * 70 + 69]);
    let sizes = [70, 420, 490, 560];
    for (interval, size) in intervals.flat_map(|interval| sizes.map(|size| (interval, size))) {
        for killed in [false, true] {
            let fs = MemFs::new();
            let config = || LogConfig::default().index_interval_bytes(interval).segment_bytes(size);
            let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
            for n in 0..17i64 {
                let time = Timestamp::from_millis(if n % 5 == 3 { 1 } else { n });
                log.append(Record::new(format!("{n:02}")).timestamp(time)).unwrap();
            }
            if !killed {
                log.close().unwrap();
            }
            let heard = Arc::new(Heard::default());
            let log = Log::open(DIR, config().fs(fs.kill()).listener(heard.clone())).unwrap();
            assert_eq!(log.stats().unwrap().bytes, 17 * 70);
            for n in 0..17i64 {
                assert_eq!(log.get(n as u64).unwrap().unwrap().offset, n as u64);
                log.offset_for_time(Timestamp::from_millis(n)).unwrap();
            }
            let heard = heard.0.lock().unwrap();
            assert!(
                !heard.iter().any(|event| matches!(event, Event::IndexRebuilt { .. })),
                "interval {interval}, killed {killed}: {heard:?}"
            );
        }
    }
}
