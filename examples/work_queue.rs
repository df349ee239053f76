//! A queue of jobs, and a group of workers that share it. One worker is killed in the middle of
//! its jobs, another takes its place, and no job is skipped.
//!
//! A worker commits *after* it has done the jobs of a poll. If a worker dies, its uncommitted jobs
//! go to another worker, so each job is done at least once. If a job must not be done twice, store
//! the fact that it is done together with its effect, and check that first.
//!
//! ```text
//!  jobs-0 ─┐      ┌─► worker a
//!  jobs-1 ─┼─ group ─► worker b  ✗ killed: its uncommitted jobs go to the others
//!  jobs-2 ─┤      └─► worker c
//!  jobs-3 ─┘      ┌─► worker d    joins later
//! ```
//!
//! `cargo run --release --example work_queue`

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::{
    AutoOffsetReset, ConsumerConfig, ProducerConfig, ProducerRecord, Record, Store, StoreConfig,
    TopicConfig,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const JOBS: usize = 400;
const PARTITIONS: u32 = 4;

/// The number of times that each job was done.
type Done = Arc<Mutex<BTreeMap<String, u32>>>;

/// An instruction to kill a worker early.
struct Kill {
    /// The number of jobs after which the worker is killed.
    after: usize,
    /// Notified when the worker has begun.
    begun: Sender<()>,
}

/// Works until nothing is left, or until the worker is killed in the middle of the jobs of a poll.
fn worker(store: &Store, done: &Done, kill: Option<Kill>) -> annals::Result<usize> {
    let config = ConsumerConfig::new("workers")
        .auto_offset_reset(AutoOffsetReset::Earliest)
        // The worker commits the jobs that it has done.
        .enable_auto_commit(false)
        // Poll few jobs at a time: if a worker dies, only these are done again, and the other
        // workers get theirs sooner.
        .max_poll_records(20);
    let mut consumer = store.consumer(config)?;
    consumer.subscribe(["jobs"])?;
    let mut worked = 0;
    loop {
        let jobs = consumer.poll(Duration::from_millis(20))?;
        for job in &jobs {
            if let Some(kill) = &kill {
                kill.begun.send(()).ok();
            }
            if kill.as_ref().is_some_and(|kill| kill.after == worked) {
                // Simulates a thread that dies here: it commits nothing, and does not close its
                // consumer. The group notices.
                return Ok(worked);
            }
            let name = job.value_str().unwrap_or_default().to_owned();
            *done.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
            worked += 1;
        }
        match consumer.commit() {
            Ok(()) => {}
            // The group has rebalanced meanwhile, so other workers do these jobs again: at least
            // once.
            Err(error) if error.is_retryable() => continue,
            Err(error) => return Err(error),
        }
        if jobs.is_empty() && left(store)? == 0 {
            consumer.close()?;
            return Ok(worked);
        }
    }
}

/// Returns the number of jobs that are not committed as done.
fn left(store: &Store) -> annals::Result<u64> {
    let group = store.admin().describe_group("workers")?;
    let mut left = 0;
    for (number, log) in (0..).zip(store.topic("jobs")?.partitions().iter()) {
        let at = annals::TopicPartition::new("jobs", number);
        let committed = group.offsets.get(&at).map_or(0, |offset| offset.committed.offset);
        left += log.offsets().end.saturating_sub(committed);
    }
    Ok(left)
}

fn spawn(store: &Store, done: &Done, kill: Option<Kill>) -> JoinHandle<annals::Result<usize>> {
    let (store, done) = (store.clone(), Arc::clone(done));
    thread::spawn(move || worker(&store, &done, kill))
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path().join("data"), StoreConfig::default())?;
    store.create_topic("jobs", TopicConfig::default().partitions(PARTITIONS))?;
    let producer = store.producer(ProducerConfig::default())?;
    for n in 0..JOBS {
        // Jobs with the same key are done in order, by one worker at a time.
        let job = Record::from(format!("job {n}")).key(format!("customer {}", n % 40));
        producer.send(ProducerRecord::new("jobs", job))?;
    }
    producer.close()?;

    let done = Done::default();
    let (begun, has_begun) = channel();
    let doomed = spawn(&store, &done, Some(Kill { after: 5, begun }));
    has_begun.recv()?;
    let workers = [spawn(&store, &done, None), spawn(&store, &done, None)];
    let lost = doomed.join().map_err(|_| "a worker panicked")??;
    let replacement = spawn(&store, &done, None);

    let mut worked = lost;
    for worker in workers.into_iter().chain([replacement]) {
        worked += worker.join().map_err(|_| "a worker panicked")??;
    }
    let done = done.lock().unwrap_or_else(PoisonError::into_inner);
    let again = done.values().filter(|times| **times > 1).count();
    println!("  done       {} of {JOBS} jobs, {again} of them more than once", done.len());
    assert!(lost == 5 && again >= lost, "uncommitted jobs went to other workers");
    // No job is skipped, and the counts of the workers add up.
    assert_eq!(done.len(), JOBS);
    assert_eq!(done.values().map(|times| *times as usize).sum::<usize>(), worked);
    assert_eq!(left(&store)?, 0);

    // Committed offsets survive reopening: a worker of the next process has nothing to do.
    store.close()?;
    let store = Store::open(dir.path().join("data"), StoreConfig::default())?;
    let idle = worker(&store, &Done::default(), None)?;
    println!("  reopened   {idle} jobs left to do");
    assert_eq!(idle, 0);
    store.close()?;
    Ok(())
}
