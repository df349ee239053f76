//! Exactly once: a process reads orders, writes a bill for each, and commits its position in one
//! transaction with the bills. It is killed at random, again and again. In the end, there is one
//! bill for each order.
//!
//! ```text
//!                one transaction: both, or neither
//!  orders ─ poll ─► │ bills │ position in orders │
//!                        killed here: the next process aborts it, and begins at the old position
//! ```
//!
//! The parent starts this program again as its child, and kills that. The child has no state of
//! its own: it goes on where the committed transactions end.
//!
//! `cargo run --release --example exactly_once`

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::{
    AutoOffsetReset, ConsumerConfig, IsolationLevel, ProducerConfig, ProducerRecord, Record,
    StartAt, Store, StoreConfig, TopicConfig,
};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

type Failure = Box<dyn std::error::Error>;

const ORDERS: &str = "orders";
const BILLS: &str = "bills";
const PARTITIONS: u32 = 4;
const COUNT: u32 = 20_000;
/// The number of processes that are killed.
const KILLS: u32 = 12;
/// The longest time for which a process may work before it is killed.
const LONGEST: Duration = Duration::from_millis(15);

fn main() -> Result<(), Failure> {
    if let Some(dir) = env::args().nth(1) {
        return bill(Path::new(&dir));
    }
    let dir = tempfile::tempdir()?;
    fill(dir.path())?;
    let mut killed = 0;
    for round in 0..KILLS {
        let mut child = start(dir.path())?;
        // The child says when it begins to work.
        let mut said = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut said)?;
        // The keys of a hash map are random.
        let random = RandomState::new().hash_one(round);
        thread::sleep(LONGEST * (random % 1_000) as u32 / 1_000);
        child.kill()?;
        killed += u32::from(!child.wait()?.success());
    }
    let end = start(dir.path())?.wait()?;
    assert!(end.success(), "the last process was not killed, and did not succeed: {end}");
    println!("  killed  {killed} processes");
    count(dir.path())
}

fn start(dir: &Path) -> Result<Child, Failure> {
    Ok(Command::new(env::current_exe()?).arg(dir).stdout(Stdio::piped()).spawn()?)
}

/// Writes the orders.
fn fill(dir: &Path) -> Result<(), Failure> {
    let store = Store::open(dir, StoreConfig::default())?;
    for topic in [ORDERS, BILLS] {
        store.create_topic(topic, TopicConfig::default().partitions(PARTITIONS))?;
    }
    let producer = store.producer(ProducerConfig::default())?;
    for n in 0..COUNT {
        let order = Record::from(format!("{n}")).key(format!("customer-{}", n % 100));
        producer.send(ProducerRecord::new(ORDERS, order))?;
    }
    producer.close()?;
    Ok(())
}

/// Writes a bill for each order. This is the process that is killed.
fn bill(dir: &Path) -> Result<(), Failure> {
    let store = Store::open(dir, StoreConfig::default())?;
    let config = ConsumerConfig::new("billing")
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .isolation_level(IsolationLevel::ReadCommitted)
        .enable_auto_commit(false)
        .max_poll_records(50);
    let mut consumer = store.consumer(config)?;
    consumer.subscribe([ORDERS])?;
    // A process that is started again has the same id: it ends the transaction of the killed one.
    // Small batches are written long before the end of their transaction: the kills are to meet
    // transactions that are written in part.
    let config = ProducerConfig::default().transactional_id("billing-1").batch_bytes(200);
    let producer = store.producer(config)?;
    producer.init_transactions()?;
    println!("begins");
    loop {
        let records = consumer.poll(Duration::from_millis(10))?;
        if records.is_empty() {
            break;
        }
        producer.transaction(|tx| {
            for order in &records {
                let bill = Record {
                    key: order.key.clone(),
                    ..Record::from(format!("bill for {}", order.value_str().unwrap_or_default()))
                };
                tx.send(ProducerRecord::new(BILLS, bill))?;
            }
            tx.send_offsets(records.next_offsets(), &consumer.group_metadata()?)
        })?;
    }
    Ok(())
}

/// Counts the bills that a reader of committed records sees.
fn count(dir: &Path) -> Result<(), Failure> {
    let store = Store::open_read_only(dir, StoreConfig::default())?;
    let (mut bills, mut written) = (BTreeMap::<String, u32>::new(), 0);
    for number in 0..PARTITIONS {
        let log = store.partition(BILLS, number)?;
        written += log.reader(StartAt::Earliest)?.records().count();
        let committed = log.isolated(IsolationLevel::ReadCommitted);
        for record in committed.reader(StartAt::Earliest)?.records() {
            *bills.entry(record?.value_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    let twice = bills.values().filter(|times| **times > 1).count();
    let missing = (0..COUNT).filter(|n| !bills.contains_key(&format!("bill for {n}"))).count();
    let aborted = written - bills.values().sum::<u32>() as usize;
    println!("  bills   {} of {COUNT} orders, {twice} twice, {missing} missing", bills.len());
    println!("  aborted {aborted} records of transactions that a kill interrupted");
    assert_eq!((bills.len(), twice, missing), (COUNT as usize, 0, 0));
    Ok(())
}
