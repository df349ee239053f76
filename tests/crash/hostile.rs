//! Whole directories with random damage: a log serves what was written there, or returns an error.
//!
//! `ANNALS_CORRUPTIONS=100000` damages more, `ANNALS_CORRUPTIONS=1234..1235` repeats one.

use annals::fs::{Fs, MemFs, OpenMode};
use annals::record::{BatchBuilder, BatchHeader, BatchRef, Compression};
use annals::{
    Codec, Error, Log, LogConfig, Offset, OnCorruption, ReadLimits, Record, StartAt, StoredRecord,
    Timestamp, inspect,
};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use support::{Chance, DIR, files, name};

type Files = BTreeMap<String, Vec<u8>>;

const MARKER: &str = ".kafka_cleanshutdown";
const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";

/// A batch as it was written.
struct Written {
    file: String,
    position: usize,
    bytes: Vec<u8>,
    base: Offset,
    next: Offset,
}

/// A log before it is damaged.
struct Original {
    what: &'static str,
    files: Files,
    records: BTreeMap<Offset, StoredRecord>,
    batches: Vec<Written>,
    end: Offset,
    /// The recovery point that is stored.
    durable: Offset,
}

fn config(fs: &MemFs) -> LogConfig {
    LogConfig::default().segment_bytes(1100).index_interval_bytes(120).fs(fs.clone())
}

/// Some segments, batches of each codec, times that rise and fall.
fn original(what: &'static str) -> Original {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    for n in 0..34i64 {
        let mut builder = BatchBuilder::new();
        let codec = Codec::ALL[n as usize % 7 % 5];
        builder.compression(Compression::of(if codec.is_available() {
            codec
        } else {
            Codec::None
        }));
        for i in 0..1 + n % 4 {
            let value = format!("value {n} {i} {}", "x".repeat((n * 7 % 60) as usize));
            let record = Record::new(value).key(format!("k{}", n % 5)).header("n", n.to_string());
            builder.push_record(&record, time(n * 53 % 90 + n / 12 * 60 + i)).unwrap();
        }
        log.append_builder(&mut builder).unwrap();
        if what == "killed, half of it flushed" && n == 20 {
            log.flush().unwrap();
        }
    }
    let fs = match what {
        "closed" => {
            log.close().unwrap();
            fs
        }
        // An opening makes all that it finds durable.
        "killed, all of it flushed" => {
            let fs = fs.kill();
            drop(Log::open(DIR, config(&fs)).unwrap());
            fs.kill()
        }
        _ => fs.kill(),
    };
    let files = files(&fs, DIR);
    let batches = batches_of(&files);
    let log = Log::open(DIR, config(&fs.kill())).unwrap();
    let records = log.reader(StartAt::Earliest).unwrap().records().map(Result::unwrap);
    let records = records.map(|record| (record.offset, record)).collect();
    let (end, durable) = (log.offsets().end, recovery_point(&files));
    Original { what, files, records, batches, end, durable }
}

fn time(n: i64) -> Timestamp {
    Timestamp::from_millis(support::T0 + n)
}

fn logs(files: &Files) -> impl DoubleEndedIterator<Item = (&String, &Vec<u8>)> {
    files.iter().filter(|(name, _)| name.ends_with(".log"))
}

fn batches_of(files: &Files) -> Vec<Written> {
    let mut found = Vec::new();
    for (file, bytes) in logs(files) {
        let mut position = 0;
        while let Ok(batch) = BatchRef::parse(&bytes[position..]) {
            let (bytes, header) = (batch.as_bytes().to_vec(), *batch.header());
            let (base, next) = (header.base_offset, header.next_offset());
            found.push(Written { file: file.clone(), position, bytes, base, next });
            position += header.size_bytes();
        }
    }
    found
}

/// The offset in the checkpoint, as far as it can be parsed.
fn recovery_point(files: &Files) -> Offset {
    let Some(bytes) = files.get(RECOVERY_POINT) else { return 0 };
    let disk = disk(&BTreeMap::from([(RECOVERY_POINT.to_owned(), bytes.clone())]));
    let read = inspect::offset_checkpoint(&disk, &Path::new(DIR).join(RECOVERY_POINT));
    let entries = read.unwrap_or_default();
    let own = entries.iter().find(|entry| entry.topic == "t" && entry.partition == 0);
    own.or(if entries.len() == 1 { entries.first() } else { None }).map_or(0, |e| e.offset)
}

fn disk(files: &Files) -> MemFs {
    let fs = MemFs::new();
    fs.create_dir(Path::new(DIR)).unwrap();
    for (name, bytes) in files {
        let file = fs.open(&Path::new(DIR).join(name), OpenMode::CreateNew).unwrap();
        file.write_all_at(bytes, 0).unwrap();
    }
    fs
}

/// One damage; says what it was.
fn damage(files: &mut Files, chance: &mut Chance) -> String {
    let kind = match chance.below(16) {
        0..8 => ".log",
        8..10 => ".index",
        10..12 => ".timeindex",
        12 => MARKER,
        13 => RECOVERY_POINT,
        14 => ".lock",
        _ => "",
    };
    let names: Vec<String> = files.keys().filter(|name| name.ends_with(kind)).cloned().collect();
    let Some(name) = names.get(chance.below(names.len() as u64) as usize).cloned() else {
        return String::new();
    };
    let other = names[chance.below(names.len() as u64) as usize].clone();
    let donor = files[&other].clone();
    let bytes = files.get_mut(&name).unwrap();
    let at = chance.below(bytes.len() as u64) as usize;
    let upto = |from: usize, most: u64, chance: &mut Chance| from + 1 + chance.below(most) as usize;
    match chance.below(12) {
        0..4 if !bytes.is_empty() => {
            let bit = chance.below(8);
            bytes[at] ^= 1 << bit;
            format!("{name}: bit {bit} of byte {at}")
        }
        4 => {
            let number = [i32::MAX, i32::MIN, -1, 1 << 30, 0x7f7f_7f7f][chance.below(5) as usize];
            bytes[at..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, new)| *byte = new);
            format!("{name}: {number} at {at}")
        }
        5 => {
            let page = [64, 512, 4096][chance.below(3) as usize];
            let (from, to) = (at / page * page, ((at / page + 1) * page).min(bytes.len()));
            bytes[from..to].fill(0);
            format!("{name}: zeros from {from} to {to}")
        }
        6 | 7 => {
            bytes.truncate(at);
            format!("{name}: cut to {at}")
        }
        8 => {
            let more = donor[..upto(0, 400, chance).min(donor.len())].to_vec();
            bytes.extend(&more);
            format!("{name}: {} bytes of {other} at its end", more.len())
        }
        9 => {
            let from = chance.below(donor.len() as u64) as usize;
            let block = &donor[from..upto(from, 512, chance).min(donor.len())];
            let room = bytes.len().saturating_sub(at).min(block.len());
            bytes[at..at + room].copy_from_slice(&block[..room]);
            format!("{name}: {room} bytes from {from} of {other} at {at}")
        }
        10 => {
            let mine = bytes.clone();
            let swap = chance.below(2) == 0;
            files.insert(name.clone(), donor);
            if swap {
                files.insert(other.clone(), mine);
            }
            format!("{name}: {} {other}", if swap { "swapped with" } else { "a copy of" })
        }
        _ => {
            files.remove(&name);
            format!("{name}: removed")
        }
    }
}

/// The facts known about a damaged directory.
struct Damaged<'a> {
    from: &'a Original,
    files: &'a Files,
    mode: OnCorruption,
    /// From here on nothing can be said: the base offset of the very last batch was raised. No
    /// checksum covers it, and after a crash no later batch contradicts it.
    raised: Offset,
}

impl Damaged<'_> {
    fn logs_are_sound(&self) -> bool {
        logs(self.files).eq(logs(&self.from.files))
    }

    fn is_unchanged(&self, name: &str) -> bool {
        self.files.get(name) == self.from.files.get(name)
    }

    /// Whether a batch stands where it stood. The leader epoch is outside of the checksum and not
    /// served.
    fn is_there(&self, batch: &Written) -> bool {
        let upto = batch.position + batch.bytes.len();
        let now = self.files.get(&batch.file).and_then(|file| file.get(batch.position..upto));
        now.is_some_and(|now| now[..12] == batch.bytes[..12] && now[16..] == batch.bytes[16..])
    }

    /// Whether the file of a batch looks as if compaction had left it: whole batches, or none.
    fn may_lack(&self, offset: Offset) -> bool {
        let batch = self.from.batches.iter().find(|b| (b.base..b.next).contains(&offset)).unwrap();
        let Some(mut rest) = self.files.get(&batch.file).map(Vec::as_slice) else { return true };
        let mut lowest = batch.file[..20].parse().unwrap();
        while !rest.is_empty() {
            let Ok(found) = BatchRef::parse(rest) else { return false };
            let header = *found.header();
            if found.verify_checksum().is_err() || header.base_offset < lowest {
                return false;
            }
            lowest = header.next_offset();
            rest = &rest[header.size_bytes()..];
        }
        !self.is_there(batch)
    }

    /// A truncation is right where a crash explains it: above the recovery point, with no valid
    /// batch after it.
    fn check_cut(&self, log: &Log) {
        let end = log.offsets().end;
        assert!(
            end <= self.from.end || self.raised < end,
            "the end was {}, is {end}",
            self.from.end
        );
        if end >= self.from.end || self.mode == OnCorruption::Truncate {
            return;
        }
        let durable = self.from.durable.min(recovery_point(self.files));
        assert!(end >= durable, "{durable} was durable, {end} is left");
        // Another run of the machine: then what was not synced may be lost in any part.
        let lost_power = self.files.contains_key(".lock") && !self.is_unchanged(".lock");
        let lost = self.from.batches.iter().find(|batch| batch.base >= end && self.is_there(batch));
        assert!(lost_power || lost.is_none(), "cut at {end}, and {} is there", lost.unwrap().base);
    }

    fn check_record(&self, record: &StoredRecord) {
        if record.offset < self.raised {
            assert_eq!(Some(record), self.from.records.get(&record.offset));
        }
    }

    fn check(&self, log: &Log, chance: &mut Chance) {
        self.check_cut(log);
        let offsets = log.offsets();
        let first = self.files.contains_key(&name(0, "log"));
        assert!(offsets.start == 0 || !first, "it begins at {}", offsets.start);
        let mut reader = log.reader(StartAt::Earliest).unwrap();
        let mut seen = offsets.start;
        let failed = loop {
            match reader.next_record() {
                Ok(Some(record)) => {
                    self.check_record(&record);
                    self.check_lack(seen..record.offset);
                    seen = record.offset + 1;
                }
                Ok(None) => break false,
                Err(error) => {
                    self.check_error(&error);
                    break true;
                }
            }
        };
        if !failed {
            self.check_lack(seen..offsets.end);
        }
        assert_eq!(reader.next_record().is_err(), failed);
        for _ in 0..8 {
            self.point(log, offsets.start + chance.below(offsets.end - offsets.start));
            self.fetch(log, offsets.start + chance.below(offsets.end - offsets.start), chance);
            self.look_up(log, time(chance.below(240) as i64 - 5));
        }
    }

    fn check_lack(&self, offsets: std::ops::Range<Offset>) {
        for offset in offsets.start..offsets.end.min(self.raised).min(self.from.end) {
            assert!(self.may_lack(offset), "{offset} is missing, and nobody said so");
        }
    }

    fn check_error(&self, error: &Error) {
        let says =
            matches!(error, Error::Corrupt(_) | Error::InvalidBatch(_) | Error::Unsupported(_));
        assert!(says, "{error}");
        assert!(!self.logs_are_sound(), "the log is sound: {error}");
    }

    fn point(&self, log: &Log, offset: Offset) {
        match log.get(offset) {
            Ok(Some(record)) => self.check_record(&record),
            Ok(None) => self.check_lack(offset..offset + 1),
            Err(Error::OffsetOutOfRange { .. }) => {
                assert_eq!(log.offsets().start, log.offsets().end)
            }
            Err(error) => self.check_error(&error),
        }
    }

    fn fetch(&self, log: &Log, from: Offset, chance: &mut Chance) {
        let fetched = match log.read(from, ReadLimits::bytes(chance.below(1500) as usize)) {
            Ok(fetched) => fetched,
            Err(error) => return self.check_error(&error),
        };
        match fetched.records() {
            Ok(records) => {
                let mut seen = from;
                for record in &records {
                    self.check_record(record);
                    self.check_lack(seen..record.offset);
                    seen = record.offset + 1;
                }
                self.check_lack(seen..fetched.next_offset);
            }
            Err(error) => self.check_error(&error),
        }
    }

    fn look_up(&self, log: &Log, at: Timestamp) {
        let found = match log.offset_for_time(at) {
            Ok(found) => found,
            Err(error) => return self.check_error(&error),
        };
        let offsets = log.offsets();
        let mut late = self.from.records.range(offsets.start..).map(|(_, record)| record);
        let want = late.find(|record| {
            record.timestamp >= at && record.offset < offsets.end && !self.may_lack(record.offset)
        });
        let want = want.map(|record| (record.offset, record.timestamp));
        let unsure = |(offset, _): (Offset, Timestamp)| offset >= self.raised;
        if !(want.is_some_and(unsure)
            || found.is_some_and(unsure)
            || self.raised < offsets.end && want.is_none())
        {
            assert_eq!(found, want, "the first record at {at:?}");
        }
    }
}

/// The lowest offset of a last batch whose base offset was raised.
fn raised(from: &Original, files: &Files) -> Offset {
    let Some((file, bytes)) = logs(files).next_back() else { return Offset::MAX };
    let (mut position, mut last) = (0, None);
    while let Ok(header) = BatchHeader::parse(&bytes[position..]) {
        last = Some((position, header));
        position += header.size_bytes();
        if position > bytes.len() {
            break;
        }
    }
    let Some((position, header)) = last else { return Offset::MAX };
    let was = from.batches.iter().find(|batch| batch.file == *file && batch.position == position);
    was.filter(|was| was.base < header.base_offset).map_or(Offset::MAX, |was| was.base)
}

fn run(originals: &[Original], seed: u64, story: &mut String, kinds: &mut [u64; 4]) {
    let mut chance = Chance(seed);
    let from = &originals[chance.below(originals.len() as u64) as usize];
    let mut files = from.files.clone();
    let mode = if chance.below(5) == 0 { OnCorruption::Truncate } else { OnCorruption::Fail };
    *story = format!("{}, {mode:?}", from.what);
    for _ in 0..1 + chance.below(4) / 3 {
        *story += "; ";
        *story += &damage(&mut files, &mut chance);
    }
    let marked = files.contains_key(MARKER) && files.get(MARKER) == from.files.get(MARKER);
    let last =
        |files: &Files| logs(files).next_back().map(|(name, bytes)| (name.clone(), bytes.len()));
    // A read-only opening does not use the marker.
    let read_only = chance.below(6) == 0;
    let knows_end = marked && !read_only && last(&files) == last(&from.files);
    let raised = if knows_end { Offset::MAX } else { raised(from, &files) };
    let damaged = Damaged { from, files: &files, mode, raised };
    let fs = disk(&files);
    let opened = if read_only {
        Log::open_read_only(DIR, config(&fs).on_corruption(mode))
    } else {
        Log::open(DIR, config(&fs).on_corruption(mode))
    };
    let log = match opened {
        Ok(log) => log,
        Err(error) => {
            kinds[0] += 1;
            assert!(
                matches!(error, Error::Corrupt(_) | Error::Unsupported(_) | Error::NotALog { .. }),
                "{error}"
            );
            let beyond = recovery_point(&files) > from.end;
            assert!(!damaged.logs_are_sound() || beyond, "the log is sound: {error}");
            return;
        }
    };
    damaged.check(&log, &mut chance);
    kinds[1] += u64::from(log.offsets().end < from.end);
    kinds[2] += u64::from(raised < Offset::MAX);
    kinds[3] += 1;
    if !read_only {
        let offset = log.append("behind all this").unwrap();
        assert_eq!(log.get(offset).unwrap().unwrap().value_str(), Some("behind all this"));
        let end = log.offsets().end;
        drop(log);
        // Files that were not read after a clean close are read now.
        match Log::open(DIR, config(&fs.kill()).on_corruption(mode)) {
            Ok(_) if mode == OnCorruption::Truncate => {}
            Ok(log) => {
                assert_eq!(log.offsets().end, end);
                let found = log.get(offset).unwrap().unwrap();
                assert_eq!(found.value_str(), Some("behind all this"));
            }
            Err(error) => damaged.check_error(&error),
        }
    }
}

#[test]
fn damaged_directory_serves_truth_or_error() {
    let seeds = match std::env::var("ANNALS_CORRUPTIONS") {
        Ok(count) if !count.contains("..") => 0..count.parse().unwrap(),
        _ => support::seeds("ANNALS_CORRUPTIONS", 10_000),
    };
    let whats = ["closed", "killed", "killed, half of it flushed", "killed, all of it flushed"];
    let originals = whats.map(original);
    assert!(originals.iter().all(|o| logs(&o.files).count() > 4 && o.records.len() > 80));
    let durables = originals.iter().map(|o| o.durable).collect::<Vec<_>>();
    assert!(durables[1] == 0 && durables[2] > 0 && durables[2] < originals[2].end);
    let run_some = |first: u64| {
        let (mut story, mut kinds, mut failures) = (String::new(), [0; 4], 0);
        for seed in seeds.clone().skip(first as usize).step_by(2) {
            let one = AssertUnwindSafe(|| run(&originals, seed, &mut story, &mut kinds));
            if catch_unwind(one).is_err() {
                eprintln!("replay with ANNALS_CORRUPTIONS={seed}..{}: {story}", seed + 1);
                failures += 1;
                assert!(failures < 20, "too many failures to go on");
            }
        }
        assert_eq!(failures, 0);
        kinds
    };
    let [one, other] = std::thread::scope(|scope| {
        let run_some = &run_some;
        let halves = [0, 1].map(|first| scope.spawn(move || run_some(first)));
        halves.map(|half| half.join().unwrap())
    });
    let [rejected, cut, unsure, opened] = [0, 1, 2, 3].map(|kind| one[kind] + other[kind]);
    eprintln!("{opened} opened, {rejected} rejected, {cut} cut, {unsure} with a last batch raised");
}
