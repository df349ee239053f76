//! An outbox: a service changes its state and says so to others, and never does one without the other.
//!
//! The change and the message are written in one place: as one batch of the service's own topic, which is there after a
//! crash as a whole or not at all. A relay reads that topic and forwards the messages to where others read them. It may
//! be killed at any moment, and then forwards again what it had not noted as forwarded. So that each message arrives
//! once, they are numbered, like those of an idempotent producer: the log that they go to knows numbers that come again,
//! for as long as `producer.id.expiration.ms` has it: a day after the last.
//!
//! ```text
//!            one batch                        relay, killed at any moment
//!  service ─► │ change │ message │ ─ accounts ─► number 7 ─► notifications     7 again: stored already
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
/// What tells messages from changes.
const MESSAGE: &str = "message-for";

/// The service. Its state is the sum of the changes.
struct Accounts {
    log: Log,
}

impl Accounts {
    /// Pays into an account, and tells its owner: both, or neither.
    fn pay_in(&self, owner: &str, amount: u32) -> annals::Result<()> {
        let change = Record::from(format!("+{amount}")).key(owner.to_owned());
        let message = Record::from(format!("{owner} got {amount}"))
            .key(owner.to_owned())
            .header(MESSAGE, NOTIFICATIONS);
        self.log.append_all([change, message])?;
        Ok(())
    }
}

/// Where the relay goes on: what it commits with its offset, as one.
#[derive(Debug, Clone, Copy)]
struct Numbering {
    /// Whose numbers these are: the relay's, for as long as there is one.
    id: ProducerId,
    /// The next number.
    next: i32,
}

impl Numbering {
    fn parse(metadata: &str) -> Result<Numbering, Box<dyn Error>> {
        let (id, next) = metadata.split_once(':').ok_or("the relay committed something else")?;
        Ok(Numbering { id: id.parse()?, next: next.parse()? })
    }

    fn at(self, offset: u64) -> OffsetAndMetadata {
        let metadata = format!("{}:{}", self.id, self.next);
        OffsetAndMetadata { metadata, ..offset.into() }
    }
}

/// What the relay has done in a run.
#[derive(Debug, Default)]
struct Relayed {
    forwarded: usize,
    /// Those that were there already.
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
            // A log knows the last five batches of each producer again: it must not get ahead of its commits by more.
            .max_poll_records(5);
        let mut consumer = store.consumer(config)?;
        consumer.assign([from.clone()])?;
        let numbering = match consumer.committed(&from)? {
            Some(committed) => Numbering::parse(&committed.metadata)?,
            None => {
                // Before the first message goes out it is known whose number it has.
                let numbering = Numbering { id: store.new_producer_id()?, next: 0 };
                consumer.commit_offsets([(from, numbering.at(0))])?;
                numbering
            }
        };
        Ok(Relay { consumer, to: store.topic(NOTIFICATIONS)?.partition(0)?, numbering })
    }

    /// Forwards what there is. It is killed after so many steps, each of which a crash could follow.
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
                // One message a batch: a batch that comes again must be the same.
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
    // A relay that has had nothing to do for long must not find its place expired.
    let groups =
        GroupCoordinatorConfig::default().offsets_retention(Duration::from_secs(3650 * 86_400));
    let config = StoreConfig::default().group_coordinator(groups).maintenance(None);
    let open = |disk: &MemFs| Store::open("data", config.clone().fs(disk.clone()));
    let store = open(&disk)?;
    store.create_topic(NOTIFICATIONS, TopicConfig::default())?;
    // The changes are the state: they are kept for good.
    let kept = TopicConfig::default().set("retention.ms", "-1")?;
    let log = store.create_topic(ACCOUNTS, kept)?.partition(0)?;
    let accounts = Accounts { log };
    let mut expected = Vec::new();
    for (owner, amount) in ["ada", "bob", "eve"].iter().cycle().zip(0..30) {
        accounts.pay_in(owner, amount)?;
        expected.push(format!("{owner} got {amount}"));
    }
    drop((store, accounts));

    // Every process is killed, a step later each time, and the next one finds the disk as it left it.
    let (mut runs, mut forwarded, mut again) = (0, 0, 0);
    loop {
        disk = disk.kill();
        let store = open(&disk)?;
        let relayed = Relay::start(&store)?.run(runs)?;
        runs += 1;
        forwarded += relayed.forwarded;
        again += relayed.again;
        let arrived = messages(&store)?;
        assert!(expected.starts_with(&arrived), "in order, each once, none skipped");
        if !relayed.killed {
            break;
        }
    }
    println!("  forwarded  {forwarded} messages in {runs} runs, {again} of them tried again");
    let store = open(&disk.kill())?;
    assert_eq!(messages(&store)?, expected);
    assert_eq!(forwarded, expected.len());
    assert!(again > 0, "some were forwarded, and the relay killed before it could say so");
    Ok(())
}
