//! One thread writes and three follow: from the start, from a later offset, and from the end.
//!
//! ```text
//! cargo run --release --example tail
//! ```

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::{Log, LogConfig, Offset, StartAt};
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

/// The number of records in the log before the followers start.
const BEFORE: u64 = 1_000;
/// The number of records appended meanwhile, and the pause between two of them.
const DURING: u64 = 500;
const PAUSE: Duration = Duration::from_millis(1);

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let log = Log::open(dir.path().join("ticks-0"), LogConfig::default())?;
    let clock = Instant::now();
    for _ in 0..BEFORE {
        log.append(now(clock))?;
    }

    let last = BEFORE + DURING - 1;
    println!("{BEFORE} records are in the log, {DURING} are appended, one each {PAUSE:?}.");
    println!(
        "{:>9}  {:>7}  {:>7}  {:>12}  {:>12}",
        "start", "first", "records", "median wait", "longest"
    );
    thread::scope(|scope| -> Result<(), Failure> {
        let starts =
            [("earliest", StartAt::Earliest), ("750", 750.into()), ("latest", StartAt::Latest)];
        let mut followers = Vec::new();
        for (name, start) in starts {
            let mut tail = log.tail(start)?;
            followers.push((
                name,
                scope.spawn(move || -> Result<Seen, Failure> {
                    let mut seen = Seen { first: tail.offset(), waits: Vec::new(), records: 0 };
                    // Blocks until there is a record. With a timeout, it would return `None` after
                    // that time.
                    while let Some(record) = tail.next_record(None)? {
                        seen.records += 1;
                        if record.offset >= BEFORE {
                            let written =
                                Duration::from_nanos(record.value_str().unwrap_or("0").parse()?);
                            seen.waits.push(clock.elapsed().saturating_sub(written));
                        }
                        if record.offset == last {
                            break;
                        }
                    }
                    Ok(seen)
                }),
            ));
        }
        for _ in 0..DURING {
            thread::sleep(PAUSE);
            log.append(now(clock))?;
        }
        for (name, follower) in followers {
            let mut seen = follower.join().map_err(|_| "a follower panicked")??;
            seen.waits.sort_unstable();
            let median = seen.waits.get(seen.waits.len() / 2).copied().unwrap_or_default();
            let longest = seen.waits.last().copied().unwrap_or_default();
            println!(
                "{name:>9}  {:>7}  {:>7}  {median:>12.1?}  {longest:>12.1?}",
                seen.first, seen.records
            );
        }
        Ok(())
    })?;
    println!(
        "A wait is the time from before `append` in one thread to after `next_record` in another."
    );
    log.close()?;
    Ok(())
}

/// The records that one follower saw.
struct Seen {
    first: Offset,
    records: u64,
    waits: Vec<Duration>,
}

/// Returns the time as a record: nanoseconds since the program started.
fn now(clock: Instant) -> String {
    clock.elapsed().as_nanos().to_string()
}
