//! An event store: what happens to an aggregate is appended to its stream, and its state is what its events add up to.
//!
//! - **Append with an expected version.** Who decides on the state after 7 events appends with "expected: 7". If another
//!   came first, nothing is appended, and one decides again: optimistic concurrency, with no lock held while deciding.
//! - **Rebuild.** The state is not stored. It is folded from the events, of one stream or of all.
//! - **Subscribe.** A consumer in a group follows all streams and keeps a view of its own up to date.
//!
//! ```text
//!  command ─► load: events 0..7 ─► decide ─► append, expected 7 ─┬─► event 7        a topic, partitioned by stream
//!                ▲                                               └─► conflict            │
//!                └───────────────────────────────────────────────────────┘               └─► subscribers
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

/// Streams of events in one topic. All events of a stream are in one partition, so they have an order.
#[derive(Clone)]
struct EventStore {
    topic: Topic,
    partitions: Arc<[Partition]>,
}

/// The versions of the streams of a partition: how many events each has. Whoever appends holds it, so between the
/// comparison and the append nobody comes. Others append to other partitions meanwhile.
type Partition = Mutex<BTreeMap<String, u64>>;

/// Why events were not appended.
#[derive(Debug)]
enum Refused {
    /// Another came first: load again, decide again.
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
        // Events are kept for good: they are all there is.
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

    /// Where a stream is. This must stay as it is for as long as there are streams.
    fn place(&self, stream: &str) -> Result<(&Partition, Log), annals::Error> {
        let number = crc32c(stream.as_bytes()) % PARTITIONS;
        let partition = self.partitions.get(number as usize).ok_or(annals::Error::StoreClosed)?;
        Ok((partition, self.topic.partition(number)?))
    }

    /// Appends events to a stream that has so many. They are one batch: all of them are there after a crash, or none.
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

    /// The state of an account, and how many events made it.
    ///
    /// This reads the partition, which is what a small store can afford. A large one keeps snapshots, or a view as below.
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

/// What can happen to an account.
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

    /// Decides on a withdrawal: an account is never overdrawn. Who decides on an old state may be wrong, which is what
    /// the expected version is for.
    fn withdraw(&self, amount: i64) -> Option<Event> {
        (self.balance >= amount).then_some(Event::Withdrawn(amount))
    }
}

/// Withdraws until there is nothing left; returns how often, and whether another came first at the first try.
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
            // For the show: they all decide on the same state once.
            all_have_loaded.wait();
        }
        match events.append(account, version, &[event]) {
            Ok(_) => withdrawn += 1,
            Err(Refused::Conflict { .. }) => was_late |= tries == 1,
            Err(refused) => return Err(refused.into()),
        }
    }
}

/// Follows all streams, and returns the balances once there is nothing more. A service would not stop there.
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
    consumer.close()?; // commits: the next run goes on from here
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
        println!("  refused    {refused}");
    }

    // Four threads take from the same account. However they meet, nothing is taken twice, or from nothing.
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
    assert_eq!(late, 3, "of the four that decided on the same state, one was first");

    let balances = view(&store)?;
    let expected = [("ada", 0), ("bob", 500), ("eve", 500)];
    println!("  view       {balances:?}");
    let found: Vec<(&str, i64)> =
        balances.iter().map(|(name, account)| (name.as_str(), account.balance)).collect();
    assert_eq!(found, expected);

    // Opened again, all is rebuilt: the versions to expect, the states, and how far the view has come.
    store.close()?;
    let store = Store::open(path, StoreConfig::default())?;
    let events = EventStore::open(&store)?;
    let (bob, version) = events.load("bob")?;
    events.append("bob", version, &[bob.withdraw(500).ok_or("bob is poor")?])?;
    let news = view(&store)?;
    println!("  reopened   news of the view: {news:?}");
    assert_eq!(
        news.into_iter().map(|(name, a)| (name, a.balance)).collect::<Vec<_>>(),
        [("bob".to_owned(), -500)]
    );
    store.close()?;
    Ok(())
}
