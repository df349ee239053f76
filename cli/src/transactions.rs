//! `transactions`: the transactions that a data directory stores.

use crate::data::{self, Data};
use crate::failure::{Failure, note};
use crate::output::Output;
use crate::store_args::{AbortArgs, ForceTerminateArgs, TransactionsAction, TransactionsArgs};
use crate::transaction_state::Transaction;
use annals::{
    HangingTransaction, Offset, Outcome, Store, TopicPartition, TransactionMetadata,
    TransactionState, Wait,
};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How long to wait until the previous transaction of an id is completed.
const COMPLETION: Duration = Duration::from_secs(30);

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
    #[serde(skip_serializing_if = "Option::is_none")]
    committed_at: Option<Offset>,
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
            committed_at: None,
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
        TransactionsAction::ForceTerminate(terminate) => {
            force_terminate(&args.dir, terminate, output)
        }
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
            "the transaction at offset {} of {at} belongs to a transactional id (`annals transactions DIR list`), and does not hang: it ends with its producer, its timeout, or the next opening by its service",
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
    let ended = end(&store, &at, found);
    let closed = store.close();
    let (outcome, marker) = ended?;
    match outcome {
        Outcome::Abort => line.aborted_at = Some(marker),
        Outcome::Commit => {
            line.committed_at = Some(marker);
            note(
                "its transactional id has committed the transaction, so this partition is committed as well",
            );
        }
    }
    closed?;
    output.json(&line)
}

/// Returns the outcome, and the offset of the marker. The store knows of transactions that were
/// committed and have lost a marker: an abort would tear them.
fn end(
    store: &Store,
    at: &TopicPartition,
    found: &HangingTransaction,
) -> annals::Result<(Outcome, Offset)> {
    let outcome = store.transactions()?.abort_hanging(at, found)?;
    // The tool is the only writer.
    let end = store.topic(&at.topic)?.partition(at.partition)?.offsets().end;
    Ok((outcome, end.saturating_sub(1)))
}

/// Fences the producer of a transactional id. Its ongoing transaction is aborted; one that is
/// decided keeps its outcome.
fn force_terminate(
    dir: &Path,
    args: &ForceTerminateArgs,
    output: &mut Output,
) -> Result<(), Failure> {
    let transactional_id = args.transactional_id.as_str();
    let before = Data::look(dir)?.view.describe_transaction(transactional_id)?;
    let state = before.state;
    if !args.execute {
        output.json(&Described { transactional_id, transaction: before.into() })?;
        note("this only shows its latest transaction; add --execute to fence its producer");
        return Ok(());
    }
    let store = data::open(dir)?;
    let fenced = fence(&store, transactional_id);
    let closed = store.close();
    let after = fenced?;
    match state {
        TransactionState::Ongoing => note("its ongoing transaction is aborted"),
        TransactionState::PrepareCommit => {
            note("its transaction was committed already, and all its partitions show it now");
        }
        _ => {}
    }
    closed?;
    output.json(&Described { transactional_id, transaction: after.into() })
}

/// Returns the transactional id afterwards.
fn fence(store: &Store, transactional_id: &str) -> annals::Result<TransactionMetadata> {
    let transactions = store.transactions()?;
    transactions.fence(transactional_id, Wait::UpTo(COMPLETION))?;
    transactions.describe(transactional_id)
}
