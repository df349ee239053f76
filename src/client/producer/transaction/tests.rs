use super::*;
use crate::error::ErrorKind;
use std::time::Duration;

const ID: &str = "shop-1";

fn who(epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id: 4000, epoch }
}

fn ready() -> ProducerTransaction {
    let mut state = ProducerTransaction::new(ID.to_owned());
    assert_eq!(state.start_init(), Ok(true));
    state.finish_init(Some(who(0)));
    state
}

fn open() -> ProducerTransaction {
    let mut state = ready();
    assert_eq!(state.begin(), Ok(Begin::Begun));
    state
}

/// A transaction of which a batch has failed.
fn failed() -> ProducerTransaction {
    let mut state = open();
    state.fail(state.number(), &Error::StoreClosed);
    state
}

fn after_end(outcome: Outcome, reason: TransactionError) -> ProducerTransaction {
    let mut state = open();
    state.start_end(outcome).unwrap();
    state.finish_end(outcome, Err(reason.into())).unwrap_err();
    state
}

fn fenced() -> TransactionError {
    TransactionError::Fenced { id: ID.to_owned() }
}

fn completing(decision: &'static str) -> TransactionError {
    let (partition, reason) = (TopicPartition::new("orders", 0), "disk full".to_owned());
    TransactionError::Completing { id: ID.to_owned(), decision, partition, reason }
}

fn name<T: std::fmt::Debug>(result: Result<T, TransactionError>) -> String {
    let text = match result {
        Ok(done) => return format!("{done:?}"),
        Err(error) => format!("{error:?}"),
    };
    text.split([' ', '{']).next().unwrap_or_default().to_owned()
}

/// Makes a transaction in some phase.
type Make<'a> = &'a dyn Fn() -> ProducerTransaction;

/// Each call in each phase: init, begin, commit, abort, and whether a record is accepted.
#[test]
fn every_call_in_every_phase() {
    use Outcome::{Abort, Commit};
    let full = || Err(Error::StoreClosed);
    let mut undecided = open();
    undecided.start_end(Commit).unwrap();
    undecided.finish_end(Commit, full()).unwrap_err();
    let mut not_aborted = open();
    not_aborted.start_end(Abort).unwrap();
    not_aborted.finish_end(Abort, full()).unwrap_err();
    let mut in_commit = open();
    in_commit.start_end(Commit).unwrap();
    let mut in_init = ProducerTransaction::new(ID.to_owned());
    in_init.start_init().unwrap();
    let mut ended = open();
    ended.start_end(Commit).unwrap();
    ended.finish_end(Commit, Ok(who(1))).unwrap();
    let gone = || {
        let partition = TopicPartition::new("orders", 0);
        TransactionError::PartitionGone { id: ID.to_owned(), partition }
    };
    let expired = || {
        let timeout = Duration::from_secs(60);
        TransactionError::Expired { id: ID.to_owned(), timeout }
    };
    #[rustfmt::skip]
    let states: [(&str, Make<'_>, [&str; 5]); 15] = [
        ("new", &|| ProducerTransaction::new(ID.to_owned()),
            ["true", "NotInitialized", "NotInitialized", "NotInitialized", "NotInitialized"]),
        ("ready", &ready, ["false", "Begun", "NoTransaction", "NoTransaction", "NoTransaction"]),
        ("ended", &|| ended.copy(),
            ["false", "Begun", "NoTransaction", "NoTransaction", "NoTransaction"]),
        ("open", &open, ["AlreadyOpen", "AlreadyOpen", "()", "()", "accepted"]),
        ("failed", &failed, ["AlreadyOpen", "AlreadyOpen", "MustAbort", "()", "MustAbort"]),
        ("undecided", &|| undecided.copy(), ["AlreadyOpen", "AlreadyOpen", "()", "()", "accepted"]),
        ("not aborted", &|| not_aborted.copy(),
            ["false", "EndFirst(Abort)", "InvalidState", "()", "NoTransaction"]),
        ("committed, not complete", &|| after_end(Commit, completing("committed")),
            ["false", "EndFirst(Commit)", "()", "InvalidState", "NoTransaction"]),
        ("aborted, not complete", &|| after_end(Abort, completing("aborted")),
            ["false", "EndFirst(Abort)", "InvalidState", "()", "NoTransaction"]),
        ("expired", &|| after_end(Commit, expired()),
            ["AlreadyOpen", "AlreadyOpen", "Expired", "()", "Expired"]),
        ("partition gone", &|| after_end(Commit, gone()),
            ["AlreadyOpen", "AlreadyOpen", "PartitionGone", "()", "PartitionGone"]),
        ("fenced by commit", &|| after_end(Commit, fenced()),
            ["Fenced", "Fenced", "Fenced", "Fenced", "Fenced"]),
        ("fenced by abort", &|| after_end(Abort, fenced()),
            ["Fenced", "Fenced", "Fenced", "Fenced", "Fenced"]),
        ("in commit", &|| in_commit.copy(),
            ["Concurrent", "Concurrent", "Concurrent", "Concurrent", "NoTransaction"]),
        ("in init", &|| in_init.copy(),
            ["Concurrent", "Concurrent", "Concurrent", "Concurrent", "NotInitialized"]),
    ];
    for (state, make, expected) in states {
        let accepted = make();
        let sent = if accepted.accepts() {
            "accepted".to_owned()
        } else {
            name::<()>(Err(accepted.rejection()))
        };
        let found = [
            name(make().start_init()),
            name(make().begin()),
            name(make().start_end(Commit)),
            name(make().start_end(Abort)),
            sent,
        ];
        assert_eq!(found, expected, "{state}");
    }
}

impl ProducerTransaction {
    /// Returns a copy: no other code needs one.
    fn copy(&self) -> ProducerTransaction {
        ProducerTransaction {
            id: self.id.clone(),
            phase: self.phase.clone(),
            call: self.call,
            number: self.number,
            calls: self.calls,
            identity: self.identity,
            failure: self.failure.clone(),
            is_known: self.is_known,
            admitted: self.admitted.clone(),
        }
    }
}

#[test]
fn transaction_begins_without_failure_of_previous() {
    let mut state = failed();
    state.is_known = true;
    assert_eq!(state.writer(state.number()), None);
    state.start_end(Outcome::Abort).unwrap();
    state.finish_end(Outcome::Abort, Ok(who(1))).unwrap();
    assert_eq!(state.begin(), Ok(Begin::Begun));
    assert_eq!((state.writer(state.number()), state.is_known), (Some(who(1)), false));
    assert!(state.accepts());
}

/// The batches in flight are dropped by the thread that writes them.
#[test]
fn no_batch_is_written_during_abort() {
    let mut state = open();
    assert_eq!(state.writer(state.number()), Some(who(0)));
    state.start_end(Outcome::Abort).unwrap();
    assert_eq!(state.writer(state.number()), None);
    let mut state = open();
    state.start_end(Outcome::Commit).unwrap();
    assert_eq!(state.writer(state.number()), Some(who(0)));
}

#[test]
fn first_failure_is_kept() {
    let mut state = open();
    state.fail(
        state.number(),
        &Error::io(
            "write",
            std::path::Path::new("orders-0"),
            std::io::ErrorKind::StorageFull.into(),
        ),
    );
    state.fail(state.number(), &Error::StoreClosed);
    let error = state.start_end(Outcome::Commit).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the transaction of `shop-1` cannot be committed (cannot write orders-0: no storage space); \
         abort it, and begin it again"
    );
    assert_eq!(Error::from(error).kind(), ErrorKind::Abortable);
}

/// A fence that a batch meets is final, whatever had failed before.
#[test]
fn fence_outweighs_failure() {
    let mut state = failed();
    state.fail(state.number(), &fenced().into());
    assert_eq!(state.start_end(Outcome::Abort), Err(fenced()));
}

#[test]
fn failed_init_may_be_repeated() {
    let mut state = ProducerTransaction::new(ID.to_owned());
    assert_eq!(state.start_init(), Ok(true));
    state.finish_init(None);
    assert_eq!(state.start_init(), Ok(true));
}

/// A batch that comes late, or a call of an earlier transaction, finds an epoch that the producer
/// has given up itself.
#[test]
fn late_failure_changes_nothing() {
    let error: Error = fenced().into();
    let mut state = open();
    let first = state.number();
    state.start_end(Outcome::Abort).unwrap();
    state.fail(first, &error);
    state.finish_end(Outcome::Abort, Ok(who(1))).unwrap();
    state.fail(first, &error);
    assert_eq!(state.begin(), Ok(Begin::Begun));
    state.fail(first, &error);
    assert!(state.accepts());
    state.fail(state.number(), &error);
    assert_eq!(state.begin(), Err(fenced()));
}

/// Two transactions have the same identity if the first one has no records.
#[test]
fn late_batch_joins_no_transaction() {
    let mut state = open();
    let first = state.number();
    state.start_end(Outcome::Abort).unwrap();
    state.finish_end(Outcome::Abort, Ok(who(0))).unwrap();
    assert_eq!(state.begin(), Ok(Begin::Begun));
    assert_eq!((state.writer(first), state.enter(first)), (None, None));
    assert!(!state.note_known(first) && !state.is_known());
    assert_eq!(state.writer(state.number()), Some(who(0)));
}

/// A partition that is being added could otherwise be added to a transaction that has ended.
#[test]
fn decision_waits_for_calls() {
    let mut state = open();
    let number = state.number();
    assert_eq!(state.enter(number), Some(who(0)));
    state.start_end(Outcome::Commit).unwrap();
    assert!(!state.start_decision());
    assert!(state.note_known(number));
    assert_eq!(state.enter(number), Some(who(0)));
    state.leave();
    assert!(!state.start_decision());
    state.leave();
    assert!(state.start_decision());
    assert_eq!(state.enter(number), None);
    assert!(!state.note_known(number));
    state.finish_end(Outcome::Commit, Err(Error::StoreClosed)).unwrap_err();
    assert_eq!(state.enter(number), Some(who(0)));
}

/// A second producer is taking over, and the coordinator has aborted the transaction for it. That
/// is no mistake of the program.
#[test]
fn commit_of_aborted_transaction_is_abortable() {
    let mut state = open();
    state.start_end(Outcome::Commit).unwrap();
    let (id, call) = (ID.to_owned(), "commit");
    let error = TransactionError::InvalidState { id, state: "PrepareAbort", call };
    let error = state.finish_end(Outcome::Commit, Err(error.into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abortable);
    assert!(error.to_string().contains("(it is in state PrepareAbort)"), "{error}");
    assert!(!state.accepts());
    state.start_end(Outcome::Abort).unwrap();
}
