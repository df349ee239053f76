//! An outbox: a service changes its state and notifies others, and never does one without the
//! other.
//!
//! The service writes the change and the message as one batch of its own topic. After a crash, the
//! batch is there as a whole or not at all. A relay reads that topic, and forwards the messages to
//! the topic that others read. It may be killed at any moment. After a restart, it forwards again
//! the messages that it had not committed. The messages are numbered like those of an idempotent
//! producer, so each of them is stored once: the log recognises a repeated number until a day
//! after the last one (`producer.id.expiration.ms`).
//!
//! ```text
//!            one batch                        relay, killed at any moment
//!  service ─► │ change │ message │ ─ accounts ─► number 7 ─► notifications     7 again: skipped
//!                                       ▲            │
//!                                       └─ commits: go on at offset 16, with number 8
//! ```
//!
//! `cargo run --release --example outbox`

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::fs::MemFs;
use annals::record::BatchBuilder;
use annals::{
    AutoOffsetReset, Consumer, ConsumerConfig, GroupCoordinatorConfig, Log, OffsetAndMetadata,
    ProducerId, Record, StartAt, Store, StoreConfig, TopicConfig, TopicPartition,
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

/// The position of the relay in its numbering. It is committed together with the offset.
#[derive(Debug, Clone, Copy)]
struct Numbering {
    /// The producer id of the relay. It stays the same across restarts.
    id: ProducerId,
    /// The next sequence number.
    next: i32,
}

impl Numbering {
    fn parse(metadata: &str) -> Result<Numbering, Box<dyn Error>> {
        let (id, next) =
            metadata.split_once(':').ok_or("the relay has committed other metadata")?;
        Ok(Numbering { id: id.parse()?, next: next.parse()? })
    }

    fn at(self, offset: u64) -> OffsetAndMetadata {
        let metadata = format!("{}:{}", self.id, self.next);
        OffsetAndMetadata { metadata, ..offset.into() }
    }
}

/// The result of one run of the relay.
#[derive(Debug, Default)]
struct Relayed {
    forwarded: usize,
    /// The number of messages that were stored already.
    again: usize,
    killed: bool,
}

struct Relay {
    consumer: Consumer,
    to: Log,
    numbering: Numbering,
}

impl Relay {
    fn start(store: &Store) -> Result<Relay, Box<dyn Error>> {
        let from = TopicPartition::new(ACCOUNTS, 0);
        let config = ConsumerConfig::new("relay")
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .enable_auto_commit(false)
            // A log recognises the last five batches of each producer, so the relay must commit
            // after at most five.
            .max_poll_records(5);
        let mut consumer = store.consumer(config)?;
        consumer.assign([from.clone()])?;
        let numbering = match consumer.committed(&from)? {
            Some(committed) => Numbering::parse(&committed.metadata)?,
            None => {
                // Commit the producer id before the first message is sent.
                let numbering = Numbering { id: store.new_producer_id()?, next: 0 };
                consumer.commit_offsets([(from, numbering.at(0))])?;
                numbering
            }
        };
        Ok(Relay { consumer, to: store.topic(NOTIFICATIONS)?.partition(0)?, numbering })
    }

    /// Forwards the messages. The relay is killed after `steps` steps; a crash could follow each
    /// step.
    fn run(mut self, mut steps: usize) -> Result<Relayed, Box<dyn Error>> {
        let mut relayed = Relayed::default();
        let mut may_go_on = || {
            let goes_on = steps > 0;
            steps = steps.saturating_sub(1);
            goes_on
        };
        loop {
            let records = self.consumer.poll(Duration::ZERO)?;
            let Some(last) = records.iter().last() else { return Ok(relayed) };
            for record in records.iter().filter(|record| record.header(MESSAGE).is_some()) {
                if !may_go_on() {
                    return Ok(Relayed { killed: true, ..relayed });
                }
                // One message per batch, because a resent batch must be the same.
                let mut batch = BatchBuilder::new();
                batch.producer(self.numbering.id, 0, self.numbering.next);
                batch.push(record.timestamp, record.key.as_deref(), record.value.as_deref())?;
                let appended = self.to.append_batch(batch.build()?)?;
                self.numbering.next += 1;
                relayed.forwarded += usize::from(!appended.duplicate);
                relayed.again += usize::from(appended.duplicate);
            }
            if !may_go_on() {
                return Ok(Relayed { killed: true, ..relayed });
            }
            let from = TopicPartition::new(ACCOUNTS, 0);
            let done = self.numbering.at(last.offset + 1);
            self.consumer.commit_offsets([(from, done)])?;
        }
    }
}

fn messages(store: &Store) -> annals::Result<Vec<String>> {
    let records = store.topic(NOTIFICATIONS)?.partition(0)?.reader(StartAt::Earliest)?.records();
    records.map(|record| Ok(record?.value_str().unwrap_or_default().to_owned())).collect()
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
    let (mut runs, mut forwarded, mut again) = (0, 0, 0);
    loop {
        disk = disk.kill();
        let store = open(&disk)?;
        let relayed = Relay::start(&store)?.run(runs)?;
        runs += 1;
        forwarded += relayed.forwarded;
        again += relayed.again;
        let arrived = messages(&store)?;
        assert!(expected.starts_with(&arrived), "messages are in order, each once, none skipped");
        if !relayed.killed {
            break;
        }
    }
    println!("  forwarded  {forwarded} messages in {runs} runs, {again} of them sent again");
    let store = open(&disk.kill())?;
    assert_eq!(messages(&store)?, expected);
    assert_eq!(forwarded, expected.len());
    assert!(again > 0, "the relay was killed between a message and its commit");
    Ok(())
}
