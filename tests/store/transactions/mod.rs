//! Transactions over the partitions of a store.

mod calls;
mod failures;
mod model;
mod openings;

use annals::fs::{Fs, MemFs};
use annals::record::BatchBuilder;
use annals::{
    Clock, Error, IsolationLevel, ManualClock, Outcome, ProducerIdentity, Result, StartAt, Store,
    StoreConfig, Timestamp, TopicConfig, TopicPartition, TransactionError, TransactionVersion,
    Transactions, Wait,
};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const V2: TransactionVersion = TransactionVersion::V2;

/// The time on the clock when a test begins, and the one of its records: retention that deletes
/// them would end their transactions, too.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn at(partition: u32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn refusal<T: std::fmt::Debug>(result: Result<T>) -> TransactionError {
    match result {
        Err(Error::Transaction(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// A store on a disk of its own.
struct Setup {
    disk: MemFs,
    clock: Arc<ManualClock>,
    store: Store,
    transactions: Transactions,
}

impl Setup {
    /// A store with the topic `orders` of three partitions.
    fn new() -> Setup {
        let clock = Arc::new(ManualClock::new(START));
        let setup = Setup::over(MemFs::new(), clock);
        setup.store.create_topic("orders", TopicConfig::default().partitions(3)).unwrap();
        setup
    }

    fn over(disk: MemFs, clock: Arc<ManualClock>) -> Setup {
        let config = Setup::config(disk.clone(), &clock);
        Setup::open(disk, clock, config)
    }

    fn config(fs: impl Fs, clock: &Arc<ManualClock>) -> StoreConfig {
        let config = StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1);
        config.clock(Arc::clone(clock) as Arc<dyn Clock>)
    }

    fn open(disk: MemFs, clock: Arc<ManualClock>, config: StoreConfig) -> Setup {
        let store = Store::open("data", config).unwrap();
        let transactions = store.transactions().unwrap();
        Setup { disk, clock, store, transactions }
    }

    /// What the next process finds if this one ends now.
    fn restarted(&self) -> Setup {
        Setup::over(self.disk.kill(), Arc::clone(&self.clock))
    }

    fn init(&self, id: &str) -> ProducerIdentity {
        self.transactions.init_producer_id(id, MINUTE, None, Wait::No).unwrap()
    }

    fn add(&self, id: &str, who: ProducerIdentity, partition: u32) -> Result<()> {
        self.transactions.add_partitions(id, who, &[at(partition)], V2, Wait::No)
    }

    fn end(&self, id: &str, who: ProducerIdentity, outcome: Outcome) -> Result<ProducerIdentity> {
        self.transactions.end(id, who, outcome, V2, false, Wait::No)
    }

    /// Sends a record as the first of the transaction in its partition.
    fn send(&self, id: &str, who: ProducerIdentity, partition: u32, value: &str) -> Result<()> {
        let log = self.store.topic("orders")?.partition(partition)?;
        let guard = log.begin_verification(who, 0, V2)?;
        self.add(id, who, partition)?;
        log.append_verified(batch(who, 0, value), guard).map(drop)
    }

    /// The values that readers of committed records see in a partition.
    fn committed(&self, partition: u32) -> Vec<String> {
        let log = self.store.topic("orders").unwrap().partition(partition).unwrap();
        let committed = log.isolated(IsolationLevel::ReadCommitted);
        let records = committed.reader(StartAt::Earliest).unwrap().records();
        records.map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
    }

    /// Whether no partition holds its readers back.
    fn is_decided(&self) -> bool {
        let topic = self.store.topic("orders").unwrap();
        topic.partitions().iter().all(|log| log.offsets().last_stable == log.offsets().end)
    }
}

fn batch(who: ProducerIdentity, sequence: i32, value: &str) -> annals::RecordBatch {
    let mut builder = BatchBuilder::new();
    builder.producer(who.id, who.epoch, sequence).transactional(true);
    builder.push(START, None, Some(value.as_bytes())).unwrap();
    builder.build().unwrap()
}
