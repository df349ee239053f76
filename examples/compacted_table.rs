//! A table kept in a compacted log: the last value of each key, rebuilt from the log at opening.
//!
//! The log is three things in one: the storage of the table, the snapshot that a new reader loads,
//! and the feed of changes that the reader then follows. A put is a record with a key, a delete is
//! a tombstone, and compaction removes superseded records.
//!
//! ```text
//! cargo run --release --example compacted_table            # in a temporary directory
//! cargo run --release --example compacted_table -- DIR     # in DIR, which stays
//! ```

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::{CleanupPolicy, Log, LogConfig, Record, StartAt, StoredRecord, Tail};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The temperature in Seattle at each hour of 2010: `2010/01/01 00:00,39.4`. See `data/README.md`.
const CSV: &str = include_str!("data/seattle-temps.csv");

/// The number of days in the table; older days are deleted.
const DAYS: usize = 90;

type Rows = BTreeMap<String, String>;

/// A map; each of its changes is a record of a log.
struct Table {
    log: Log,
    rows: Rows,
}

impl Table {
    /// Opens the log and replays it. Changes survive a process crash; if they must survive a loss
    /// of power, too, call `log.flush()`.
    fn open(dir: &Path) -> annals::Result<Table> {
        let config = LogConfig::default()
            .cleanup_policy(CleanupPolicy::Compact)
            // The active segment is not compacted, so keep segments small.
            .segment_bytes(64 << 10);
        let log = Log::open(dir, config)?;
        let mut rows = Rows::new();
        for record in log.reader(StartAt::Earliest)?.records() {
            apply(&mut rows, &record?);
        }
        Ok(Table { log, rows })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.rows.get(key).map(String::as_str)
    }

    // Append first: if that fails, the map is unchanged.
    fn put(&mut self, key: &str, value: &str) -> annals::Result<()> {
        self.log.append(Record::new(value.to_owned()).key(key.to_owned()))?;
        self.rows.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn delete(&mut self, key: &str) -> annals::Result<()> {
        self.log.append(Record::tombstone(key.to_owned()))?;
        self.rows.remove(key);
        Ok(())
    }
}

/// Applies a record to the rows, for the table and for its followers.
fn apply(rows: &mut Rows, record: &StoredRecord) {
    let Some(key) = record.key_str() else { return };
    match record.value_str() {
        Some(value) => drop(rows.insert(key.to_owned(), value.to_owned())),
        None => drop(rows.remove(key)),
    }
}

/// A copy of the table that is kept up to date. Another process can have one with
/// `Log::open_read_only`.
struct Follower {
    tail: Tail,
    rows: Rows,
    changes: usize,
}

impl Follower {
    fn new(log: &Log) -> annals::Result<Follower> {
        Ok(Follower { tail: log.tail(StartAt::Earliest)?, rows: Rows::new(), changes: 0 })
    }

    /// Applies the changes so far. A thread of its own would wait for more with
    /// `tail.next_record(None)`.
    fn catch_up(&mut self) -> annals::Result<()> {
        while let Some(record) = self.tail.next_record(Some(Duration::ZERO))? {
            apply(&mut self.rows, &record);
            self.changes += 1;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let (dir, place) = match std::env::args_os().nth(1).map(PathBuf::from) {
        Some(dir) => (dir.clone(), dir.display().to_string()),
        None => (temporary.path().join("highs-0"), "a temporary directory".to_owned()),
    };
    let mut table = Table::open(&dir)?;
    println!("A table in {place}: the highs of {DAYS} days");

    // One follower sees every change. The other stops in the middle, and continues after the log
    // has been compacted.
    let (mut first, mut late) = (Follower::new(&table.log)?, Follower::new(&table.log)?);
    let hours: Vec<&str> = CSV.lines().skip(1).collect();
    let (half, rest) = hours.split_at(hours.len() / 2);
    let mut days = VecDeque::new();
    load(&mut table, half, &mut days)?;
    late.catch_up()?;
    load(&mut table, rest, &mut days)?;
    first.catch_up()?;
    println!("  changes    {} followed one by one, to {} rows", first.changes, first.rows.len());
    print_size("before", &table.log)?;

    // A service would call `maintain` from a timer, which compacts when half of the log is dirty.
    table.log.roll()?;
    let began = Instant::now();
    let report = table.log.compact()?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    println!("  compacted  {} records away in {took:.2} ms", report.records_removed);
    print_size("after", &table.log)?;

    // The late follower continues where it stopped, because offsets never change.
    let seen = late.changes;
    late.catch_up()?;
    println!("  late one   {seen} changes before, {} after that", late.changes - seen);
    // A new follower reads only what is left. Tombstones stay for a day, for followers that are
    // late.
    let mut new = Follower::new(&table.log)?;
    new.catch_up()?;
    println!("  new one    {} changes, to {} rows", new.changes, new.rows.len());

    table.log.close()?;
    let began = Instant::now();
    let reopened = Table::open(&dir)?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    println!("  reopened   {} rows in {took:.2} ms", reopened.rows.len());
    for (name, rows) in [
        ("follower", &first.rows),
        ("late follower", &late.rows),
        ("new follower", &new.rows),
        ("reopened table", &reopened.rows),
    ] {
        if *rows != table.rows {
            return Err(format!("the rows of the {name} differ from the table").into());
        }
    }
    let last = days.back().ok_or("no days")?;
    println!("  same rows  {last}: {} F", reopened.get(last).ok_or("the last day is missing")?);
    reopened.log.close()?;
    Ok(())
}

/// Puts the highest temperature of each day as the hours arrive, and deletes the days that are too
/// old.
fn load(
    table: &mut Table,
    hours: &[&str],
    days: &mut VecDeque<String>,
) -> Result<(), Box<dyn Error>> {
    for row in hours {
        let (time, degrees) = row.split_once(',').ok_or("a row without a comma")?;
        let day = time.split_once(' ').ok_or("a row without an hour")?.0.replace('/', "-");
        let high = table.get(&day).map(str::parse::<f64>).transpose()?;
        if high.is_none_or(|high| degrees.parse().is_ok_and(|now: f64| now > high)) {
            table.put(&day, degrees)?;
        }
        if days.back() != Some(&day) {
            days.push_back(day);
        }
        if days.len() > DAYS
            && let Some(oldest) = days.pop_front()
        {
            table.delete(&oldest)?;
        }
    }
    Ok(())
}

fn print_size(when: &str, log: &Log) -> Result<(), Box<dyn Error>> {
    let records = log.reader(StartAt::Earliest)?.records().count();
    println!("  {when:<9}  {records} records, {} bytes", log.stats()?.bytes);
    Ok(())
}
