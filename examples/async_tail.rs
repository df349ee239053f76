//! In an async runtime: tasks append and await durability, and one task follows the log as a
//! `Stream`.
//!
//! ```text
//! cargo run --release --features futures --example async_tail
//! ```

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::{Log, LogConfig, Record, StartAt};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const WRITERS: usize = 16;
const RECORDS_EACH: usize = 50;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let syncs = Arc::new(Syncs::default());
    let config = LogConfig::default().listener(syncs.clone());
    let log = Log::open(dir.path().join("payments-0"), config)?;
    let began = Instant::now();

    // A tail is a `Stream`: it wakes this task when there is another record, and holds no thread
    // meanwhile.
    let mut tail = log.tail(StartAt::Earliest)?.take(WRITERS * RECORDS_EACH);
    let follower = tokio::spawn(async move {
        let mut seen = BTreeMap::new();
        while let Some(record) = tail.try_next().await? {
            *seen.entry(record.key_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
        }
        Ok::<BTreeMap<String, usize>, annals::Error>(seen)
    });

    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let log = log.clone();
        writers.push(tokio::spawn(async move {
            for n in 0..RECORDS_EACH {
                let record = Record::from(n.to_string()).key(format!("writer-{writer:02}"));
                // An append only copies into the page cache, so the task can call it directly.
                log.append(record)?;
                // The task sleeps until an fsync has made the record durable.
                log.flush_async().await?;
            }
            Ok::<(), annals::Error>(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    let seen = follower.await??;

    let offsets = log.offsets();
    println!("{} records by {WRITERS} tasks, each durable before the next,", offsets.end);
    println!("in {:.1?} with {} fsyncs.", began.elapsed(), syncs.0.load(Ordering::Relaxed));
    println!("The stream saw {} records of {} tasks.", seen.values().sum::<usize>(), seen.len());
    println!("Everything below {} is durable.", offsets.durable);
    log.close()?;
    Ok(())
}

/// Counts the fsyncs: many tasks share each of them.
#[derive(Debug, Default)]
struct Syncs(AtomicU64);

impl annals::Listener for Syncs {
    fn on_event(&self, event: &annals::Event) {
        if matches!(event, annals::Event::Flushed { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
