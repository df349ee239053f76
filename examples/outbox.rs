//! An outbox: a service changes its state and notifies others, and never does one without the
//! other.
//!
//! The service writes the change and the message as one batch of its own topic. After a crash, the
//! batch is there as a whole or not at all. A relay reads that topic, and forwards the messages to
//! the topic that others read. It commits its position in one transaction with the messages that
//! it forwards. It may be killed at any moment: the transaction is then aborted, and after a
//! restart the relay begins at the old position. Readers of committed records see each message
//! once.
//!
//! ```text
//!            one batch                        relay, killed at any moment
//!  service ─► │ change │ message │ ─ accounts ─► │ notifications │ position in accounts │
//!                                       ▲            one transaction
//!                                       └─ after a restart: go on at the committed position
//! ```
//!
//! `cargo run --release --example outbox`

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::fs::MemFs;
use annals::{
    AutoOffsetReset, Consumer, ConsumerConfig, GroupCoordinatorConfig, IsolationLevel, Log,
    Producer, ProducerConfig, ProducerRecord, Record, StartAt, Store, StoreConfig, TopicConfig,
    TopicPartition,
};
use std::error::Error;
use std::time::Duration;

const ACCOUNTS: &str = "accounts";
const NOTIFICATIONS: &str = "notifications";
/// The header that marks messages.
const MESSAGE: &str = "message-for";

/// The service. Its state is the sum of its changes.
struct Accounts {
    log: Log,
}

impl Accounts {
    /// Pays into an account and notifies its owner: both, or neither.
    fn pay_in(&self, owner: &str, amount: u32) -> annals::Result<()> {
        let change = Record::from(format!("+{amount}")).key(owner.to_owned());
        let message = Record::from(format!("{owner} got {amount}"))
            .key(owner.to_owned())
            .header(MESSAGE, NOTIFICATIONS);
        self.log.append_all([change, message])?;
        Ok(())
    }
}

/// The disk of a process that is killed after some steps.
struct Process<'a> {
    disk: &'a MemFs,
    steps: usize,
}

impl Process<'_> {
    /// Fails if the process is killed here, with its disk as it is.
    fn step(&mut self) -> Result<(), Stop> {
        if self.steps == 0 {
            return Err(Stop::Killed(self.disk.kill()));
        }
        self.steps -= 1;
        Ok(())
    }
}

/// The end of a relay before its work is done.
enum Stop {
    Killed(MemFs),
    Failed(annals::Error),
}

impl From<annals::Error> for Stop {
    fn from(error: annals::Error) -> Stop {
        Stop::Failed(error)
    }
}

struct Relay {
    consumer: Consumer,
    producer: Producer,
}

impl Relay {
    fn start(store: &Store) -> annals::Result<Relay> {
        let config = ConsumerConfig::new("relay")
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(false)
            .max_poll_records(6);
        let mut consumer = store.consumer(config)?;
        consumer.assign([TopicPartition::new(ACCOUNTS, 0)])?;
        // Each message is written at once, so that a kill meets transactions written in part.
        let config = ProducerConfig::default().transactional_id("relay").linger(Duration::ZERO);
        Ok(Relay { consumer, producer: store.producer(config)? })
    }

    /// Forwards the messages. A crash could follow each step.
    fn run(&mut self, process: &mut Process<'_>) -> Result<(), Stop> {
        loop {
            let records = self.consumer.poll(Duration::ZERO)?;
            if records.is_empty() {
                return Ok(());
            }
            let group = self.consumer.group_metadata()?;
            self.producer.transaction(|tx| {
                for record in records.iter().filter(|record| record.header(MESSAGE).is_some()) {
                    process.step()?;
                    let (key, value) = (record.key.clone(), record.value.clone());
                    let message = Record { key, value, ..Record::default() };
                    tx.send(ProducerRecord::new(NOTIFICATIONS, message))?;
                }
                process.step()?;
                tx.send_offsets(records.next_offsets(), &group)?;
                process.step()
            })?;
        }
    }
}

/// Returns the messages that readers of committed records see, and the number of all that were
/// written.
fn messages(store: &Store) -> annals::Result<(Vec<String>, usize)> {
    let log = store.topic(NOTIFICATIONS)?.partition(0)?;
    let committed = log.isolated(IsolationLevel::ReadCommitted);
    let seen = committed.reader(StartAt::Earliest)?.records();
    let seen: annals::Result<_> =
        seen.map(|record| Ok(record?.value_str().unwrap_or_default().to_owned())).collect();
    Ok((seen?, log.reader(StartAt::Earliest)?.records().count()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut disk = MemFs::new();
    // The committed offset must not expire while the relay has nothing to do for a long time.
    let groups =
        GroupCoordinatorConfig::default().offsets_retention(Duration::from_secs(3650 * 86_400));
    let config = StoreConfig::default().group_coordinator(groups).maintenance(None);
    let open = |disk: &MemFs| Store::open("data", config.clone().fs(disk.clone()));
    let store = open(&disk)?;
    store.create_topic(NOTIFICATIONS, TopicConfig::default())?;
    // The changes are the state, so they are kept forever.
    let kept = TopicConfig::default().set("retention.ms", "-1")?;
    let log = store.create_topic(ACCOUNTS, kept)?.partition(0)?;
    let accounts = Accounts { log };
    let mut expected = Vec::new();
    for (owner, amount) in ["ada", "bob", "eve"].iter().cycle().zip(0..30) {
        accounts.pay_in(owner, amount)?;
        expected.push(format!("{owner} got {amount}"));
    }
    drop((store, accounts));

    // Each process is killed one step later than the previous one, and finds the disk as that one
    // left it.
    let mut runs = 0;
    loop {
        disk = disk.kill();
        let store = open(&disk)?;
        let (arrived, _) = messages(&store)?;
        assert!(expected.starts_with(&arrived), "messages are in order, each once, none skipped");
        let mut process = Process { disk: &disk, steps: runs };
        runs += 1;
        match Relay::start(&store)?.run(&mut process) {
            Ok(()) => break,
            Err(Stop::Killed(left)) => disk = left,
            Err(Stop::Failed(error)) => return Err(error.into()),
        }
    }
    let (arrived, written) = messages(&open(&disk.kill())?)?;
    let aborted = written - arrived.len();
    println!("  forwarded  {} messages in {runs} runs", arrived.len());
    println!("  aborted    {aborted} messages, which no reader of committed records has seen");
    assert_eq!(arrived, expected);
    assert!(aborted > 0, "the relay was killed between a message and its commit");
    Ok(())
}
