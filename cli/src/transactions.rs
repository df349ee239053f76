//! `transactions`: the transactions that a data directory stores.

use crate::data::{self, Data};
use crate::failure::{Failure, note};
use crate::output::Output;
use crate::store_args::{AbortArgs, TransactionsAction, TransactionsArgs};
use crate::transaction_state::Transaction;
use annals::{HangingTransaction, Offset, TopicPartition};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

#[derive(Serialize)]
struct Listed<'a> {
    transactional_id: &'a str,
    partition: u32,
    producer_id: i64,
    state: String,
}

#[derive(Serialize)]
struct Described<'a> {
    transactional_id: &'a str,
    #[serde(flatten)]
    transaction: Transaction,
}

#[derive(Serialize)]
struct Hanging<'a> {
    topic: &'a str,
    partition: u32,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    start_offset: Offset,
    last_timestamp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aborted_at: Option<Offset>,
}

impl<'a> Hanging<'a> {
    fn new(at: &'a TopicPartition, found: &HangingTransaction) -> Hanging<'a> {
        Hanging {
            topic: &at.topic,
            partition: at.partition,
            producer_id: found.producer_id,
            producer_epoch: found.producer_epoch,
            coordinator_epoch: found.coordinator_epoch,
            start_offset: found.first_offset,
            last_timestamp: found.last_timestamp.as_millis(),
            aborted_at: None,
        }
    }
}

pub fn run(args: &TransactionsArgs, output: &mut Output) -> Result<(), Failure> {
    match &args.action {
        TransactionsAction::List => list(&args.dir, output),
        TransactionsAction::Describe { transactional_id } => {
            let transaction = Data::look(&args.dir)?.view.describe_transaction(transactional_id)?;
            output.json(&Described { transactional_id, transaction: transaction.into() })
        }
        TransactionsAction::FindHanging { silent_for_ms } => {
            find_hanging(&args.dir, Duration::from_millis(*silent_for_ms), output)
        }
        TransactionsAction::Abort(abort) => abort_hanging(&args.dir, abort, output),
    }
}

fn list(dir: &Path, output: &mut Output) -> Result<(), Failure> {
    for listed in Data::look(dir)?.view.list_transactions()? {
        output.json(&Listed {
            transactional_id: &listed.transactional_id,
            partition: listed.partition,
            producer_id: listed.producer_id,
            state: format!("{:?}", listed.state), // Kafka's name
        })?;
    }
    Ok(())
}

fn find_hanging(dir: &Path, silent_for: Duration, output: &mut Output) -> Result<(), Failure> {
    for (at, found) in Data::look(dir)?.view.hanging_transactions(silent_for)? {
        output.json(&Hanging::new(&at, &found))?;
    }
    Ok(())
}

/// Aborts the transaction that begins at an offset. The offset makes sure that it is the one that
/// was found.
fn abort_hanging(dir: &Path, args: &AbortArgs, output: &mut Output) -> Result<(), Failure> {
    let at = TopicPartition::new(args.topic.as_str(), args.partition);
    let view = Data::look(dir)?.view;
    let open = view.partition(&args.topic, args.partition)?.hanging_transactions(Duration::ZERO)?;
    let is_it = |found: &&HangingTransaction| found.first_offset == args.start_offset;
    let Some(found) = open.iter().find(is_it) else {
        return Err(Failure::refused(format!(
            "no open transaction begins at offset {} of {at}; `annals transactions DIR find-hanging --silent-for-ms 0` lists those that do",
            args.start_offset
        )));
    };
    let hanging = view.hanging_transactions(Duration::ZERO)?;
    if !hanging
        .iter()
        .any(|(other, hangs)| *other == at && hangs.first_offset == found.first_offset)
    {
        return Err(Failure::refused(format!(
            "the transaction at offset {} of {at} has a coordinator, which ends it; `annals transactions DIR list` shows its id",
            args.start_offset
        )));
    }
    let mut line = Hanging::new(&at, found);
    if !args.execute {
        output.json(&line)?;
        note("this only shows the transaction; add --execute to abort it");
        return Ok(());
    }
    let store = data::open(dir)?;
    let aborted = store.topic(&args.topic).and_then(|topic| topic.partition(args.partition));
    let aborted = aborted.and_then(|log| log.abort_transaction(found.producer_id));
    let closed = store.close();
    line.aborted_at = Some(aborted?.first);
    closed?;
    output.json(&line)
}
