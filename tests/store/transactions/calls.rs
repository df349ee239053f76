use super::*;
use annals::{ErrorKind, ProducerStateError, TopicError};

#[test]
fn outcome_decides_what_readers_see() {
    let setup = Setup::new();
    let mut who = setup.init("billing");
    for (outcome, value) in [(Outcome::Commit, "paid"), (Outcome::Abort, "lost")] {
        for partition in 0..2 {
            setup.send("billing", who, partition, value).unwrap();
        }
        who = setup.end("billing", who, outcome).unwrap();
        assert!(setup.is_decided());
    }
    assert_eq!(
        (setup.committed(0), setup.committed(1)),
        (vec!["paid".into()], vec!["paid".into()])
    );
    assert_eq!(who.epoch, 2);
}

/// Each mistake has an error of its own, which says what to do.
#[test]
fn mistakes_have_their_own_errors() {
    let setup = Setup::new();
    let init = |id: &str, timeout| setup.transactions.init_producer_id(id, timeout, None, Wait::No);
    let said = |error: TransactionError| (error.to_string(), Error::from(error).kind());
    assert_eq!(
        said(refusal(init("", MINUTE))),
        ("a transactional id must not be empty".into(), ErrorKind::InvalidInput)
    );
    assert_eq!(
        said(refusal(init("billing", 16 * MINUTE))),
        (
            "a transaction timeout of 960s is not between 1 ms and the limit of 900s; choose a shorter one, or raise `max_timeout`".into(),
            ErrorKind::InvalidInput
        )
    );
    let unknown = ProducerIdentity { id: 7, epoch: 0 };
    let no_such = "the transactional id `billing` is unknown, or has another producer id: ids expire when they are not used (`id_expiration`); close the producer, and create a new one";
    assert_eq!(
        said(refusal(setup.add("billing", unknown, 0))),
        (no_such.into(), ErrorKind::Fenced)
    );
    let first = setup.init("billing");
    let second = setup.init("billing");
    let fenced = "another producer has taken over the transactional id `billing`; close this one, or give each producer its own id";
    assert_eq!(said(refusal(setup.add("billing", first, 0))), (fenced.into(), ErrorKind::Fenced));
    let nothing = "cannot commit the transaction of `billing`, which is in state Empty; begin a transaction first; a repeated call must have the outcome of the first one";
    assert_eq!(
        said(refusal(setup.end("billing", second, Outcome::Commit))),
        (nothing.into(), ErrorKind::InvalidInput)
    );
    setup.send("billing", second, 0, "lost").unwrap();
    setup.end("billing", second, Outcome::Abort).unwrap();
    let aborted = "cannot commit the transaction of `billing`, which is in state CompleteAbort; begin a transaction first; a repeated call must have the outcome of the first one";
    assert_eq!(
        said(refusal(setup.end("billing", second, Outcome::Commit))),
        (aborted.into(), ErrorKind::InvalidInput)
    );
    let error = setup.transactions.describe("shipping").map(drop);
    assert_eq!(
        said(refusal(error)),
        (
            "no producer has the transactional id `shipping`; `Transactions::list` returns all ids"
                .into(),
            ErrorKind::NotFound
        )
    );
    let missing = [TopicPartition::new("orders", 3)];
    let error = setup.transactions.add_partitions("billing", second, &missing, V2, Wait::No);
    let is_missing = |error: &TopicError| matches!(error, TopicError::UnknownPartition { .. });
    assert!(matches!(error.unwrap_err(), Error::Topic(error) if is_missing(&error)));
}

/// A batch that no transaction has would hold readers back, and nothing would end it.
#[test]
fn batch_without_transaction_is_refused() {
    let setup = Setup::new();
    let who = setup.init("billing");
    let log = setup.store.topic("orders").unwrap().partition(0).unwrap();
    let error = log.append_batch(batch(who, 0, "early")).unwrap_err();
    assert!(matches!(error, Error::Producer(ProducerStateError::NotInTransaction { .. })));
    // Its marker arrives before the late batch.
    let guard = log.begin_verification(who, 0, V2).unwrap();
    setup.add("billing", who, 0).unwrap();
    setup.end("billing", who, Outcome::Abort).unwrap();
    let error = log.append_verified(batch(who, 0, "late"), guard).unwrap_err();
    assert!(matches!(error, Error::Producer(ProducerStateError::Fenced { .. })), "{error}");
    assert!(setup.is_decided());
}
