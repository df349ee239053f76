//! The real log, on the file system in memory, under thousands of schedules.
//!
//! Every lock, atomic, condition variable and yield of the crate is shuttle's, including those of
//! [`MemFs`], so threads can switch between any two of them. A thread that waits forever is
//! reported as a deadlock. Each test runs `ANNALS_SCHEDULES` schedules, 200 by default: half of
//! them random, half with few switches at bad moments.
//!
//! `cargo test --manifest-path proofs/Cargo.toml` runs these tests and `orderings.rs`. A schedule
//! that fails is printed. To run it again, pass it in `ANNALS_SCHEDULE`, with the name of the test.

#![allow(dropping_copy_types, reason = "what an append answers is dropped")]

mod appends;
mod close;
mod compaction;
mod flushes;
mod leader_epochs;
mod readers;
mod replicas;
mod transactions;
mod truncation;

use annals::fs::{CrashState, MemFs};
use annals::{Clock, Log, LogConfig, Offset, Record, StartAt, Timestamp};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DIR: &str = "t-0";

fn check(body: fn()) {
    if let Ok(schedule) = std::env::var("ANNALS_SCHEDULE") {
        return shuttle::replay(body, &schedule);
    }
    let schedules = std::env::var("ANNALS_SCHEDULES").map_or(200, |n| n.parse().unwrap());
    let mut config = shuttle::Config::new();
    config.stack_size = 512 << 10;
    let random = RandomScheduler::new_from_seed(7, schedules - schedules / 2);
    shuttle::Runner::new(random, config.clone()).run(body);
    let few_changes = PctScheduler::new_from_seed(7, 4, schedules / 2);
    shuttle::Runner::new(few_changes, config).run(body);
}

/// A clock that never returns the same time twice, so that fsyncs take time, and their leaders
/// wait for other threads.
#[derive(Debug, Default)]
struct Ticking {
    ticks: AtomicU64,
    /// The number of the call, from 1 on, at which the clock panics.
    panics_at: AtomicU64,
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let looks = self.panics_at.load(Ordering::SeqCst);
        self.panics_at.store(looks.saturating_sub(1), Ordering::SeqCst);
        assert!(looks != 1, "the clock stands");
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ticks.fetch_add(1, Ordering::SeqCst))
    }
}

fn config() -> LogConfig {
    LogConfig::default().index_interval_bytes(1).clock(Arc::new(Ticking::default()))
}

fn open(config: LogConfig) -> Log {
    Log::open(DIR, config.fs(MemFs::new())).unwrap()
}

/// Appends a batch of these values, and returns its offsets.
fn append(log: &Log, values: &[&str]) -> annals::Result<(Offset, Offset)> {
    let appended = log.append_all(values.iter().copied().map(Record::from))?;
    Ok((appended.first, appended.last))
}

fn values(log: &Log) -> Vec<(Offset, String)> {
    let records = log.reader(StartAt::Earliest).unwrap().records();
    records
        .map(|record| {
            let record = record.unwrap();
            (record.offset, record.value_str().unwrap().to_owned())
        })
        .collect()
}

/// Silences the messages of panics, because callbacks of some tests panic thousands of times.
fn quietly() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str().is_none_or(|message| !message.ends_with("stands")) {
                hook(info);
            }
        }));
    });
}

/// Returns the end of the log that a loss of power would leave now.
fn end_after_power_failure(fs: &MemFs) -> Offset {
    let disk = fs.crash(CrashState::SyncedOnly);
    Log::open(DIR, LogConfig::default().fs(disk)).unwrap().offsets().end
}

/// Creates four segments of one record each; deletions will leave only the last.
fn four_segments() -> Log {
    let log = open(config());
    for (n, value) in (0..).zip(["0", "1", "2", "3"]) {
        log.append(Record::new(value).timestamp(Timestamp::from_millis(n))).unwrap();
        log.roll().unwrap();
    }
    log
}
