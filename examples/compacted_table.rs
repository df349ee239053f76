//! A table kept in a compacted log: what was put last under each key, rebuilt from the log when it is opened.
//!
//! The log is the table's storage, the snapshot that a new reader loads, and the feed of changes that it follows
//! then, all in one: a put is a record with a key, a delete is a tombstone, and compaction drops what later
//! records supersede.
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

/// The table has the highs of so many days; older ones are deleted.
const DAYS: usize = 90;

type Rows = BTreeMap<String, String>;

/// A map whose every change is a record of a log.
struct Table {
    log: Log,
    rows: Rows,
}

impl Table {
    /// Opens the log and replays it. What was put is found again after the process has died; call
    /// `log.flush()` where it must survive a loss of power, too.
    fn open(dir: &Path) -> annals::Result<Table> {
        let config = LogConfig::default()
            .cleanup_policy(CleanupPolicy::Compact)
            // What is being appended to is not compacted: smaller segments leave less of that.
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

    // The log first: where that fails, the map is as it was.
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

/// What a record means, for the table and for those who follow it.
fn apply(rows: &mut Rows, record: &StoredRecord) {
    let Some(key) = record.key_str() else { return };
    match record.value_str() {
        Some(value) => drop(rows.insert(key.to_owned(), value.to_owned())),
        None => drop(rows.remove(key)),
    }
}

/// A copy of the table that is kept up to date. Another process can have one, from `Log::open_read_only`.
struct Follower {
    tail: Tail,
    rows: Rows,
    changes: usize,
}

impl Follower {
    fn new(log: &Log) -> annals::Result<Follower> {
        Ok(Follower { tail: log.tail(StartAt::Earliest)?, rows: Rows::new(), changes: 0 })
    }

    /// Applies what is there. A thread of its own would wait for more with
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

    // One follower sees every change, one stops in the middle and goes on when the log has been compacted.
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

    // A service would call `maintain` now and then, which compacts when half of the log is worth it.
    table.log.roll()?;
    let began = Instant::now();
    let report = table.log.compact()?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    println!("  compacted  {} records away in {took:.2} ms", report.records_removed);
    print_size("after", &table.log)?;

    // Who was in the middle goes on where it was: offsets never change.
    let seen = late.changes;
    late.catch_up()?;
    println!("  late one   {seen} changes before, {} after that", late.changes - seen);
    // Who comes now needs only what is left. The deletes are among it for a day, for those who are late.
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
            return Err(format!("the {name} has other rows than the table").into());
        }
    }
    let last = days.back().ok_or("no days")?;
    println!("  same rows  {last}: {} F", reopened.get(last).ok_or("the last day is gone")?);
    reopened.log.close()?;
    Ok(())
}

/// Puts the high of each day as the hours come in, and deletes the days that are too old.
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
