//! An event store: each change of an aggregate is appended to its stream as an event, and the
//! state of the aggregate is the sum of its events.
//!
//! - **Append with an expected version.** A command that decides on the state after 7 events
//!   appends with "expected: 7". If another command was faster, nothing is appended, and the
//!   command decides again. This is optimistic concurrency: no lock is held while a command
//!   decides.
//! - **Rebuild.** The state is not stored. It is computed from the events, of one stream or of
//!   all.
//! - **Subscribe.** A consumer in a group follows all streams and keeps its own view up to date.
//!
//! ```text
//!  command ─► load: events 0..7 ─► decide ─► append, expected 7 ─┬─► event 7 ─► partition of
//!                ▲                                               │              its stream
//!                │                                               │                  │
//!                └───────────────────── conflict ◄───────────────┘                  ▼
//!                                                                              subscribers
//! ```
//!
//! `cargo run --release --example event_store`

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::record::crc32c;
use annals::{
    AutoOffsetReset, ConsumerConfig, ErrorKind, Log, Record, StartAt, Store, StoreConfig,
    StoredRecord, Topic, TopicConfig,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const TOPIC: &str = "accounts";
const PARTITIONS: u32 = 4;

/// Streams of events in one topic. All events of a stream are in one partition, so they are
/// ordered.
#[derive(Clone)]
struct EventStore {
    topic: Topic,
    partitions: Arc<[Partition]>,
}

/// The versions of the streams of a partition: the number of events in each. The lock is held from
/// the comparison to the append, so no other thread can append in between. Threads append to other
/// partitions meanwhile.
type Partition = Mutex<BTreeMap<String, u64>>;

/// The reason why events were not appended.
#[derive(Debug)]
enum Refused {
    /// Another command was faster: load and decide again.
    Conflict {
        expected: u64,
        found: u64,
    },
    Log(annals::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Conflict { expected, found } => {
                write!(f, "expected version {expected}, but the stream is at {found}")
            }
            Refused::Log(error) => error.fmt(f),
        }
    }
}

impl Error for Refused {}

impl From<annals::Error> for Refused {
    fn from(error: annals::Error) -> Refused {
        Refused::Log(error)
    }
}

impl EventStore {
    /// Opens the topic, and counts the events of each stream.
    fn open(store: &Store) -> Result<EventStore, annals::Error> {
        // The events are the only state, so they are kept forever.
        let config = TopicConfig::default().partitions(PARTITIONS).set("retention.ms", "-1")?;
        let topic = match store.create_topic(TOPIC, config) {
            Err(error) if error.kind() == ErrorKind::Exists => store.topic(TOPIC)?,
            created => created?,
        };
        let mut partitions = Vec::new();
        for log in topic.partitions().iter() {
            let mut versions = BTreeMap::new();
            for record in log.reader(StartAt::Earliest)?.records() {
                let record = record?;
                *versions.entry(record.key_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            partitions.push(Mutex::new(versions));
        }
        Ok(EventStore { topic, partitions: partitions.into() })
    }

    /// Returns the partition of a stream. The mapping must never change while there are streams.
    fn place(&self, stream: &str) -> Result<(&Partition, Log), annals::Error> {
        let number = crc32c(stream.as_bytes()) % PARTITIONS;
        let partition = self.partitions.get(number as usize).ok_or(annals::Error::StoreClosed)?;
        Ok((partition, self.topic.partition(number)?))
    }

    /// Appends events to a stream that has `expected` events. They are one batch: after a crash,
    /// all of them are there, or none.
    fn append(&self, stream: &str, expected: u64, events: &[Event]) -> Result<u64, Refused> {
        let (partition, log) = self.place(stream)?;
        let mut versions = partition.lock().unwrap_or_else(PoisonError::into_inner);
        let found = versions.get(stream).copied().unwrap_or(0);
        if found != expected {
            return Err(Refused::Conflict { expected, found });
        }
        let record = |event: &Event| Record::from(event.to_string()).key(stream.to_owned());
        log.append_all(events.iter().map(record))?;
        let version = found + events.len() as u64;
        versions.insert(stream.to_owned(), version);
        Ok(version)
    }

    /// Returns the state of an account, and the number of its events.
    ///
    /// This reads the whole partition, which only a small store can afford. A large store keeps
    /// snapshots, or a view as below.
    fn load(&self, stream: &str) -> Result<(Account, u64), Box<dyn Error>> {
        let (_, log) = self.place(stream)?;
        let (mut account, mut version) = (Account::default(), 0);
        for record in log.reader(StartAt::Earliest)?.records() {
            let record = record?;
            if record.key_str() == Some(stream) {
                account.apply(&Event::parse(&record)?);
                version += 1;
            }
        }
        Ok((account, version))
    }
}

/// An event of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Deposited(i64),
    Withdrawn(i64),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Deposited(amount) => write!(f, "deposited {amount}"),
            Event::Withdrawn(amount) => write!(f, "withdrawn {amount}"),
        }
    }
}

impl Event {
    fn parse(record: &StoredRecord) -> Result<Event, Box<dyn Error>> {
        let text = record.value_str().unwrap_or_default();
        match text.split_once(' ') {
            Some(("deposited", amount)) => Ok(Event::Deposited(amount.parse()?)),
            Some(("withdrawn", amount)) => Ok(Event::Withdrawn(amount.parse()?)),
            _ => Err(format!("no event at offset {}: {text}", record.offset).into()),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    balance: i64,
}

impl Account {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Deposited(amount) => self.balance += amount,
            Event::Withdrawn(amount) => self.balance -= amount,
        }
    }

    /// Decides on a withdrawal: an account is never overdrawn. The decision may be based on an old
    /// state; the expected version detects that.
    fn withdraw(&self, amount: i64) -> Option<Event> {
        (self.balance >= amount).then_some(Event::Withdrawn(amount))
    }
}

/// Withdraws until nothing is left. Returns how often, and whether the first attempt had a
/// conflict.
fn withdraw_all(
    events: &EventStore,
    account: &str,
    all_have_loaded: &Barrier,
) -> Result<(u64, bool), Box<dyn Error>> {
    let (mut withdrawn, mut tries, mut was_late) = (0, 0, false);
    loop {
        let (state, version) = events.load(account)?;
        let Some(event) = state.withdraw(10) else { return Ok((withdrawn, was_late)) };
        tries += 1;
        if tries == 1 {
            // For this demonstration, all threads decide once on the same state.
            all_have_loaded.wait();
        }
        match events.append(account, version, &[event]) {
            Ok(_) => withdrawn += 1,
            Err(Refused::Conflict { .. }) => was_late |= tries == 1,
            Err(refused) => return Err(refused.into()),
        }
    }
}

/// Follows all streams, and returns the balances when there are no more events. A service would
/// not stop there.
fn view(store: &Store) -> Result<BTreeMap<String, Account>, Box<dyn Error>> {
    let config = ConsumerConfig::new("balances").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config)?;
    consumer.subscribe([TOPIC])?;
    let mut balances: BTreeMap<String, Account> = BTreeMap::new();
    loop {
        let records = consumer.poll(Duration::ZERO)?;
        if records.is_empty() {
            break;
        }
        for record in &records {
            let account = record.key_str().unwrap_or_default().to_owned();
            balances.entry(account).or_default().apply(&Event::parse(record)?);
        }
    }
    consumer.close()?; // commits: the next run continues from here
    Ok(balances)
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path: &Path = &dir.path().join("data");
    let store = Store::open(path, StoreConfig::default())?;
    let events = EventStore::open(&store)?;

    for account in ["ada", "bob", "eve"] {
        let paid_in = [Event::Deposited(300), Event::Deposited(200)];
        assert_eq!(events.append(account, 0, &paid_in)?, 2);
    }
    let late = events.append("ada", 0, &[Event::Deposited(1)]);
    assert!(matches!(late, Err(Refused::Conflict { expected: 0, found: 2 })));
    if let Err(refused) = late {
        println!("  rejected   {refused}");
    }

    // Four threads withdraw from the same account. In any order, no amount is withdrawn twice, and
    // the account is never overdrawn.
    let all_have_loaded = Arc::new(Barrier::new(4));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (events, all) = (events.clone(), Arc::clone(&all_have_loaded));
            thread::spawn(move || withdraw_all(&events, "ada", &all).map_err(|e| e.to_string()))
        })
        .collect();
    let (mut withdrawn, mut late) = (0, 0);
    for thread in threads {
        let (count, was_late) = thread.join().map_err(|_| "a thread panicked")??;
        withdrawn += count;
        late += usize::from(was_late);
    }
    let (ada, version) = events.load("ada")?;
    println!("  withdrawn  {withdrawn} times, the balance is {}", ada.balance);
    assert_eq!((withdrawn, ada.balance, version), (50, 0, 52));
    assert_eq!(late, 3, "one of the four decisions on the same state succeeds");

    let balances = view(&store)?;
    let expected = [("ada", 0), ("bob", 500), ("eve", 500)];
    println!("  view       {balances:?}");
    let found: Vec<(&str, i64)> =
        balances.iter().map(|(name, account)| (name.as_str(), account.balance)).collect();
    assert_eq!(found, expected);

    // After reopening, everything is rebuilt: the expected versions, the states, and the position
    // of the view.
    store.close()?;
    let store = Store::open(path, StoreConfig::default())?;
    let events = EventStore::open(&store)?;
    let (bob, version) = events.load("bob")?;
    events.append("bob", version, &[bob.withdraw(500).ok_or("bob is poor")?])?;
    let news = view(&store)?;
    println!("  reopened   changes in the view: {news:?}");
    assert_eq!(
        news.into_iter().map(|(name, a)| (name, a.balance)).collect::<Vec<_>>(),
        [("bob".to_owned(), -500)]
    );
    store.close()?;
    Ok(())
}
