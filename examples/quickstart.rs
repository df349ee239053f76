//! A year of weather in a log: loads the records, reads them back by offset and by time, closes
//! and reopens the log, and shows that not a byte has changed.
//!
//! ```text
//! cargo run --release --example quickstart            # in a temporary directory
//! cargo run --release --example quickstart -- DIR     # in DIR, which stays
//! ```

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::record::{Compression, crc32c};
use annals::{Codec, Log, LogConfig, Record, StartAt, StoredRecord, Timestamp};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The temperature in Seattle at each hour of 2010: `2010/01/01 00:00,39.4`. See `data/README.md`.
const CSV: &str = include_str!("data/seattle-temps.csv");

/// A week of hours.
const RECORDS_PER_BATCH: usize = 7 * 24;

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let (dir, place) = match std::env::args_os().nth(1).map(PathBuf::from) {
        Some(dir) => (dir.clone(), dir.display().to_string()),
        None => (temporary.path().join("seattle-temps-0"), "a temporary directory".to_owned()),
    };

    // A segment holds a quarter of a year, because its age counts in the time of its records.
    let mut config = LogConfig::default().segment_age(Duration::from_secs(91 * 86_400));
    if Codec::Zstd.is_available() {
        config = config.compression(Compression::of(Codec::Zstd));
    }

    let log = Log::open(&dir, config.clone())?;
    println!("A log in {place}");
    if log.offsets().end == 0 {
        load(&log)?;
    } else {
        println!("  found      {} records of an earlier run", log.offsets().end);
    }

    let (before, took) = timed(|| read_everything(&log))?;
    println!("  read back  {} records in {}", before.records, millis(took));
    look_around(&log, &before)?;
    log.close()?;

    let (log, took) = timed(|| Log::open(&dir, config))?;
    println!("  reopened   in {}, {} bytes to check", millis(took), log.recovery().scanned_bytes);
    let after = read_everything(&log)?;
    println!("  checksum   {:08x} before, {:08x} after", before.checksum, after.checksum);
    if (before.checksum, before.records) != (after.checksum, after.records) {
        return Err("the log has changed".into());
    }
    let damage = log.verify()?;
    println!("  verified   {} problems", damage.len());
    log.close()?;
    print_files(&dir)?;
    Ok(())
}

/// Appends every row with its own time, a week to a batch, and makes all of them durable.
fn load(log: &Log) -> Result<(), Box<dyn Error>> {
    let records = CSV.lines().skip(1).map(parse_row).collect::<Result<Vec<_>, _>>()?;
    let (batches, took) = timed(|| -> annals::Result<usize> {
        let weeks = records.chunks(RECORDS_PER_BATCH);
        let batches = weeks.len();
        for week in weeks {
            log.append_all(week.iter().cloned())?;
        }
        Ok(batches)
    })?;
    println!("  appended   {} records in {batches} batches in {}", records.len(), millis(took));
    let (durable, took) = timed(|| log.flush())?;
    println!("  flushed    everything below offset {durable} in {}", millis(took));
    Ok(())
}

/// Parses a row: the day becomes the key, the temperature the value, the hour the timestamp.
fn parse_row(row: &str) -> Result<Record, Box<dyn Error>> {
    let bad = || format!("not a row of the data set: {row}");
    let (time, degrees) = row.split_once(',').ok_or_else(bad)?;
    let fields: Vec<i64> = time.split(['/', ' ', ':']).map(str::parse).collect::<Result<_, _>>()?;
    let &[year, month, day, hour, minute] = fields.as_slice() else { return Err(bad().into()) };
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute;
    Ok(Record::from(degrees)
        .key(format!("{year}-{month:02}-{day:02}"))
        .timestamp(Timestamp::from_millis(minutes * 60_000)))
}

/// Returns the days between 1970-01-01 and a date of the Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March have their leap day at the end.
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The result of reading the whole log.
struct Everything {
    records: u64,
    checksum: u32,
    hottest: Option<(f64, StoredRecord)>,
}

fn read_everything(log: &Log) -> Result<Everything, Box<dyn Error>> {
    let mut all = Everything { records: 0, checksum: 0, hottest: None };
    let mut bytes = Vec::new();
    for record in log.reader(StartAt::Earliest)?.records() {
        let record = record?;
        all.records += 1;
        bytes.extend_from_slice(&record.offset.to_be_bytes());
        bytes.extend_from_slice(&record.timestamp.as_millis().to_be_bytes());
        bytes.extend_from_slice(record.key.as_deref().unwrap_or_default());
        bytes.extend_from_slice(record.value.as_deref().unwrap_or_default());
        let degrees = degrees(&record)?;
        if all.hottest.as_ref().is_none_or(|(most, _)| degrees > *most) {
            all.hottest = Some((degrees, record));
        }
    }
    all.checksum = crc32c(&bytes);
    Ok(all)
}

fn degrees(record: &StoredRecord) -> Result<f64, Box<dyn Error>> {
    Ok(record.value_str().ok_or("a record without a temperature")?.parse()?)
}

/// Reads one record by its offset, and one day by its time.
fn look_around(log: &Log, all: &Everything) -> Result<(), Box<dyn Error>> {
    let Some((most, hottest)) = &all.hottest else { return Ok(()) };
    let day = hottest.key_str().unwrap_or_default();
    let (found, took) = timed(|| log.get(hottest.offset))?;
    if found.as_ref() != Some(hottest) {
        return Err("the record read by its offset differs".into());
    }
    println!("  by offset  {}: hottest, {most} F on {day}, in {}", hottest.offset, millis(took));

    let millis_of_day = hottest.timestamp.as_millis() % 86_400_000;
    let midnight = Timestamp::from_millis(hottest.timestamp.as_millis() - millis_of_day);
    let mut bars = String::new();
    for record in log.reader(midnight)?.records().take(24) {
        write!(bars, "{}", bar(degrees(&record?)?))?;
    }
    println!("  by time    {day}, hour by hour: {bars}");
    Ok(())
}

/// Returns one of eight bars, from 55 F up in steps of 3.
fn bar(degrees: f64) -> char {
    let bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let step = ((degrees - 55.0) / 3.0).clamp(0.0, 7.0) as usize;
    bars.get(step).copied().unwrap_or('?')
}

fn print_files(dir: &Path) -> Result<(), Box<dyn Error>> {
    println!("  its files, for a CSV of {} bytes", CSV.len());
    let mut files = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        println!("    {:>7}  {}", file.metadata()?.len(), file.file_name().display());
    }
    Ok(())
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let began = Instant::now();
    Ok((work()?, began.elapsed()))
}

fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1e3)
}
