//! Testing a service: a store in memory, a clock that the test moves, and a disk that fails on
//! command.
//!
//! The service under test takes orders, sends a reminder for each order that is not paid within 15
//! minutes, and must lose nothing when the disk is full or the power fails. No test sleeps, and
//! each run is the same:
//!
//! - [`MemFs`] is a disk in memory. [`MemFs::crash`] returns that disk as a loss of power could
//!   leave it now.
//! - [`FaultFs`] wraps that disk, and fails the calls that a [`Rule`] selects.
//! - [`ManualClock`] does not move until the test moves it.
//!
//! In a test suite, each test function below would be a `#[test]`.
//!
//! `cargo run --release --example testing`

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    Acks, AutoOffsetReset, Clock, Consumer, ConsumerConfig, ErrorKind, Producer, ProducerConfig,
    ProducerRecord, Record, SendHandle, StartAt, Store, StoreConfig, Timestamp, TopicConfig,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

// ---- the service: it gets a store and a clock, and knows nothing about tests ----

const PATIENCE: Duration = Duration::from_secs(15 * 60);

struct Shop {
    producer: Producer,
    consumer: Consumer,
    clock: Arc<dyn Clock>,
    /// The orders that are not paid, with the time of each order.
    open: BTreeMap<String, Timestamp>,
}

impl Shop {
    fn new(store: &Store, clock: Arc<dyn Clock>) -> annals::Result<Shop> {
        for topic in ["orders", "reminders"] {
            match store.create_topic(topic, TopicConfig::default()) {
                Err(error) if error.kind() != ErrorKind::Exists => return Err(error),
                _ => {}
            }
        }
        // A confirmed order must survive a loss of power.
        let config = ProducerConfig::default().acks(Acks::Flushed).linger(Duration::ZERO);
        let producer = store.producer(config)?;
        // The topic is the state of the service: it reads all records at each start.
        let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
        let mut consumer = store.consumer(config)?;
        consumer.assign([annals::TopicPartition::new("orders", 0)])?;
        Ok(Shop { producer, consumer, clock, open: BTreeMap::new() })
    }

    /// Takes an order. The order is confirmed when the handle is done.
    fn order(&self, id: &str) -> annals::Result<SendHandle> {
        self.producer.send(ProducerRecord::new("orders", Record::new("placed").key(id.to_owned())))
    }

    fn pay(&self, id: &str) -> annals::Result<SendHandle> {
        self.producer.send(ProducerRecord::new("orders", Record::new("paid").key(id.to_owned())))
    }

    /// Reads new orders and payments, and sends the reminders that are due. Returns the number of
    /// reminders. A timer calls this.
    fn tick(&mut self) -> annals::Result<usize> {
        loop {
            let records = self.consumer.poll(Duration::ZERO)?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                let id = record.key_str().unwrap_or_default().to_owned();
                match record.value_str() {
                    Some("placed") => drop(self.open.insert(id, record.timestamp)),
                    _ => drop(self.open.remove(&id)),
                }
            }
        }
        let now = self.clock.now().as_millis();
        let is_due = |since: &Timestamp| now - since.as_millis() >= PATIENCE.as_millis() as i64;
        let due: Vec<String> =
            self.open.iter().filter(|(_, since)| is_due(since)).map(|(id, _)| id.clone()).collect();
        for id in &due {
            self.producer.send(("reminders", id.as_str()))?.wait()?;
            self.open.remove(id);
        }
        Ok(due.len())
    }
}

// ---- its tests ----

use annals::ManualClock;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)))
}

fn open(fs: impl Fs, clock: &Arc<ManualClock>) -> annals::Result<Store> {
    let clock: Arc<dyn Clock> = clock.clone();
    // The store has no threads of its own, so nothing happens unless the test does it.
    Store::open("data", StoreConfig::default().fs(fs).clock(clock).maintenance(None))
}

fn orders(store: &Store) -> annals::Result<Vec<String>> {
    let records = store.topic("orders")?.partition(0)?.reader(StartAt::Earliest)?.records();
    records.map(|record| Ok(record?.key_str().unwrap_or_default().to_owned())).collect()
}

/// The test moves the clock, so a quarter of an hour passes at once.
fn an_order_that_is_not_paid_is_reminded_of_once() -> Result<(), Box<dyn Error>> {
    let clock = clock();
    let store = Store::in_memory(StoreConfig::default().clock(clock.clone()))?;
    let mut shop = Shop::new(&store, clock.clone())?;
    shop.order("a")?.wait()?;
    shop.order("b")?.wait()?;
    shop.pay("b")?.wait()?;

    clock.advance(PATIENCE - Duration::from_millis(1));
    assert_eq!(shop.tick()?, 0, "not yet");
    clock.advance(Duration::from_millis(1));
    assert_eq!(shop.tick()?, 1, "a is due, and b is paid");
    clock.advance(PATIENCE * 2);
    assert_eq!(shop.tick()?, 0, "once is enough");
    let reminded = store.topic("reminders")?.partition(0)?.get(0)?.ok_or("no reminder")?;
    assert_eq!(reminded.value_str(), Some("a"));
    Ok(())
}

/// On a full disk, orders wait without a confirmation. When there is room, they are stored, in
/// order and once.
fn a_full_disk_loses_no_order() -> Result<(), Box<dyn Error>> {
    let (clock, fs) = (clock(), FaultFs::new(MemFs::new()));
    let store = open(fs.clone(), &clock)?;
    let shop = Shop::new(&store, clock.clone())?;
    shop.order("before")?.wait()?;

    let full = Fault::Error(io::ErrorKind::StorageFull);
    let full = fs.add_rule(Rule::new(Operation::Write, full).path("orders-0"));
    let waiting = [shop.order("first")?, shop.order("second")?];
    shop.producer.poll();
    assert!(fs.hit_count(full) > 0, "the producer tried to write");
    assert!(waiting.iter().all(|order| !order.is_done()), "no order is confirmed");
    assert_eq!(orders(&store)?, ["before"]);

    fs.remove_rule(full);
    clock.advance(Duration::from_secs(1)); // the pause before the retry
    shop.producer.poll();
    for order in &waiting {
        assert!(order.wait()?.offset.is_some());
    }
    assert_eq!(orders(&store)?, ["before", "first", "second"]);
    assert!(shop.producer.stats().retries > 0);
    Ok(())
}

/// An fsync fails: earlier confirmations hold, and no order is confirmed after it.
fn a_failed_sync_confirms_nothing() -> Result<(), Box<dyn Error>> {
    let (clock, memory) = (clock(), MemFs::new());
    let fs = FaultFs::new(memory.clone());
    let store = open(fs.clone(), &clock)?;
    let shop = Shop::new(&store, clock.clone())?;
    shop.order("kept")?.wait()?;
    let broken = Fault::Error(io::ErrorKind::Other);
    fs.add_rule(Rule::new(Operation::SyncData, broken).path("orders-0"));
    let doubtful = shop.order("doubtful")?.wait();
    assert_eq!(doubtful.map_err(|error| error.kind()), Err(ErrorKind::Io));

    // The power fails now. The confirmed order is there.
    let store = open(memory.crash(CrashState::SyncedOnly), &clock)?;
    assert_eq!(orders(&store)?, ["kept"]);
    Ok(())
}

/// The power fails at a hundred different states of the disk. In each of them, the confirmed
/// orders are there, and the service continues with them.
fn a_power_failure_loses_no_confirmed_order() -> Result<(), Box<dyn Error>> {
    let (clock, fs) = (clock(), MemFs::new());
    let store = open(fs.clone(), &clock)?;
    let shop = Shop::new(&store, clock.clone())?;
    let mut confirmed = Vec::new();
    for n in 0..10u64 {
        let id = format!("order-{n}");
        shop.order(&id)?.wait()?;
        confirmed.push(id);
        for seed in 0..10 {
            let disk = fs.crash(CrashState::Random { seed: n * 10 + seed });
            let store = open(disk, &clock)?;
            assert_eq!(orders(&store)?, confirmed);
            let mut shop = Shop::new(&store, clock.clone())?;
            shop.tick()?;
            assert_eq!(shop.open.len(), confirmed.len());
        }
    }
    Ok(())
}

/// Retention follows the clock of the test: a week later, old orders are deleted.
fn old_orders_are_forgotten() -> Result<(), Box<dyn Error>> {
    let clock = clock();
    let store = Store::in_memory(StoreConfig::default().clock(clock.clone()))?;
    let shop = Shop::new(&store, clock.clone())?;
    shop.order("old")?.wait()?;
    store.topic("orders")?.partition(0)?.roll()?;
    clock.advance(Duration::from_secs(8 * 86_400));
    shop.order("new")?.wait()?;
    store.maintain()?;
    assert_eq!(orders(&store)?, ["new"]);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    type Test = fn() -> Result<(), Box<dyn Error>>;
    let tests: [(&str, Test); 5] = [
        (
            "an order that is not paid is reminded of once",
            an_order_that_is_not_paid_is_reminded_of_once,
        ),
        ("a full disk loses no order", a_full_disk_loses_no_order),
        ("a failed sync confirms nothing", a_failed_sync_confirms_nothing),
        ("a power failure loses no confirmed order", a_power_failure_loses_no_confirmed_order),
        ("old orders are forgotten", old_orders_are_forgotten),
    ];
    for (name, test) in tests {
        test()?;
        println!("  ok         {name}");
    }
    Ok(())
}
