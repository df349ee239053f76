use crate::transaction::producer::{
    EndStep, InitStep, LAST_EPOCH, Outcome, Refusal, TransactionalProducer,
};
use crate::transaction::{TransactionMetadata, TransactionState};
use crate::types::{
    ProducerEpoch, ProducerId, ProducerIdentity, Timestamp, TopicPartition, TransactionVersion,
};
use std::time::Duration;

const ID: ProducerId = 4000;
const NEW_ID: ProducerId = 5000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn orders(partition: u32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn who(id: ProducerId, epoch: ProducerEpoch) -> ProducerIdentity {
    ProducerIdentity { id, epoch }
}

/// The producer after the call that takes it on.
fn ready(step: Result<InitStep, Refusal>) -> TransactionalProducer {
    match step {
        Ok(InitStep::Ready(next) | InitStep::FenceFirst(next)) => next,
        other => panic!("{other:?}"),
    }
}

fn prepared(step: Result<EndStep, Refusal>) -> TransactionalProducer {
    match step {
        Ok(EndStep::Prepare(next)) => next,
        other => panic!("{other:?}"),
    }
}

/// A producer of this epoch without a transaction.
fn empty(epoch: ProducerEpoch, version: TransactionVersion) -> TransactionalProducer {
    let mut stored = TransactionalProducer::new(ID, 60_000, at(0)).stored;
    (stored.producer_epoch, stored.client_version) = (epoch, version as i16);
    TransactionalProducer::restore(stored).unwrap()
}

fn ongoing(epoch: ProducerEpoch, version: TransactionVersion) -> TransactionalProducer {
    let empty = empty(epoch, version);
    empty.add(who(ID, epoch), &[orders(0)], version, at(1)).unwrap().unwrap()
}

/// A producer that has, in the end, this epoch.
fn ended(
    epoch: ProducerEpoch,
    outcome: Outcome,
    version: TransactionVersion,
) -> TransactionalProducer {
    let before = if version.raises_epoch() { epoch - 1 } else { epoch };
    prepared(ongoing(before, version).end(who(ID, before), outcome, version, at(2), None))
}

/// A producer of each state: one that has taken over, one that continued after an error, and one
/// for each other state.
fn producers(epoch: ProducerEpoch, version: TransactionVersion) -> [TransactionalProducer; 7] {
    let before = empty(epoch - 1, version);
    let continued = ready(before.init(Some(who(ID, epoch - 1)), 60_000, at(1), None));
    let [committing, aborting] =
        [Outcome::Commit, Outcome::Abort].map(|outcome| ended(epoch, outcome, version));
    let [committed, aborted] = [&committing, &aborting].map(|prepared| prepared.complete(at(3)));
    [
        empty(epoch, version),
        continued,
        ongoing(epoch, version),
        committing,
        aborting,
        committed,
        aborted,
    ]
}

/// What a call leads to: the next state, and by how much the epoch rose.
fn next_of(before: &TransactionalProducer, next: &TransactionalProducer) -> String {
    let state = match next.stored.state {
        TransactionState::Empty => "E",
        TransactionState::Ongoing => "O",
        TransactionState::PrepareCommit => "PC",
        TransactionState::PrepareAbort => "PA",
        other => panic!("{other:?}"),
    };
    assert_eq!(next.stored.previous_producer_id, Some(before.stored.producer_id));
    assert_eq!((next.stored.producer_id, next.stored.next_producer_id), (ID, None));
    format!("{state}+{}", next.stored.producer_epoch - before.stored.producer_epoch)
}

fn refusal(refusal: Refusal, before: &TransactionalProducer) -> String {
    match refusal {
        Refusal::Fenced => "fenced".into(),
        Refusal::InvalidIdMapping => "id".into(),
        Refusal::Concurrent => "busy".into(),
        Refusal::InvalidState(state) => {
            assert_eq!(state, before.stored.state);
            "state".into()
        }
        Refusal::NeedsProducerId => "new".into(),
    }
}

fn init(before: &TransactionalProducer, expected: Option<ProducerIdentity>) -> String {
    match before.init(expected, 30_000, at(9), None) {
        Ok(InitStep::Ready(next)) => {
            assert!(next.stored.partitions.is_empty() && next.stored.started.is_none());
            assert_eq!((next.stored.timeout_ms, next.stored.last_update), (30_000, at(9)));
            next_of(before, &next)
        }
        Ok(InitStep::FenceFirst(next)) => {
            assert_eq!(next.stored.partitions, before.stored.partitions);
            next_of(before, &next)
        }
        Ok(InitStep::Unchanged) => "same".into(),
        Err(error) => refusal(error, before),
    }
}

fn add(
    before: &TransactionalProducer,
    who: ProducerIdentity,
    version: TransactionVersion,
) -> String {
    match before.add(who, &[orders(0), orders(7)], version, at(9)) {
        Ok(Some(next)) => {
            let begins = before.stored.state != TransactionState::Ongoing;
            assert_eq!(next.stored.started, if begins { Some(at(9)) } else { Some(at(1)) });
            assert_eq!(next.stored.partitions, [orders(0), orders(7)].into());
            assert_eq!(next.add(who, &[orders(7)], version, at(10)), Ok(None));
            next_of(before, &next)
        }
        Ok(None) => "same".into(),
        Err(error) => refusal(error, before),
    }
}

fn end(
    before: &TransactionalProducer,
    who: ProducerIdentity,
    outcome: Outcome,
    version: TransactionVersion,
) -> String {
    match before.end(who, outcome, version, at(9), None) {
        Ok(EndStep::Prepare(next)) => {
            let is_empty = before.stored.partitions.is_empty();
            assert_eq!(next.stored.partitions, before.stored.partitions);
            assert_eq!(next.stored.started, Some(at(if is_empty { 9 } else { 1 })));
            next_of(before, &next)
        }
        Ok(EndStep::AlreadyDone) => "same".into(),
        Err(error) => refusal(error, before),
    }
}

/// Each call in each state, with the epoch of the caller relative to the stored one.
fn grid(version: TransactionVersion) -> String {
    let mut lines = String::new();
    for call in ["init", "add", "commit", "abort"] {
        for offset in [None, Some(-1), Some(0), Some(1)] {
            if call != "init" && offset.is_none() {
                continue;
            }
            let cells = producers(9, version).map(|before| {
                let caller = offset.map(|offset| who(ID, before.stored.producer_epoch + offset));
                match (call, caller) {
                    ("init", expected) => init(&before, expected),
                    ("add", Some(who)) => add(&before, who, version),
                    ("commit", Some(who)) => end(&before, who, Outcome::Commit, version),
                    (_, Some(who)) => end(&before, who, Outcome::Abort, version),
                    _ => panic!("{call}"),
                }
            });
            let offset = offset.map_or(String::new(), |offset| format!(" {offset:+}"));
            let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:6}")).collect();
            let name = format!("{call}{offset}");
            lines.push_str(format!("{name:10} {}", cells.join(" ")).trim_end());
            lines.push('\n');
        }
    }
    lines
}

/// `same` answers with what is stored, `busy` asks to wait, `state` rejects the call. The second
/// column continued after an error, so it had the epoch before.
#[test]
fn every_call_in_every_state() {
    let raising = "\
init       E+1    E+1    PA+1   busy   busy   E+1    E+1
init -1    fenced same   fenced busy   busy   same   same
init +0    E+1    E+1    PA+1   busy   busy   E+1    E+1
init +1    fenced fenced fenced fenced fenced fenced fenced
add -1     fenced fenced fenced fenced fenced fenced fenced
add +0     O+0    O+0    O+0    busy   busy   O+0    O+0
add +1     fenced fenced fenced fenced fenced fenced fenced
commit -1  fenced fenced fenced busy   state  same   state
commit +0  state  state  PC+1   busy   busy   state  state
commit +1  fenced fenced fenced fenced fenced fenced fenced
abort -1   fenced fenced fenced state  busy   state  same
abort +0   PA+1   PA+1   PA+1   busy   busy   PA+1   PA+1
abort +1   fenced fenced fenced fenced fenced fenced fenced
";
    let keeping = "\
init       E+1    E+1    PA+1   busy   busy   E+1    E+1
init -1    fenced same   fenced fenced fenced fenced fenced
init +0    E+1    E+1    PA+1   busy   busy   E+1    E+1
init +1    fenced fenced fenced fenced fenced fenced fenced
add -1     fenced fenced fenced fenced fenced fenced fenced
add +0     O+0    O+0    O+0    busy   busy   O+0    O+0
add +1     fenced fenced fenced fenced fenced fenced fenced
commit -1  fenced fenced fenced fenced fenced fenced fenced
commit +0  state  state  PC+0   busy   state  same   state
commit +1  fenced fenced fenced fenced fenced fenced fenced
abort -1   fenced fenced fenced fenced fenced fenced fenced
abort +0   state  state  PA+0   state  busy   state  same
abort +1   fenced fenced fenced fenced fenced fenced fenced
";
    //         Empty  Empty' Ongoing committing aborting committed aborted
    assert_eq!(grid(TransactionVersion::V2), raising);
    assert_eq!(grid(TransactionVersion::V1), keeping);
    assert_eq!(grid(TransactionVersion::V0), keeping);
}

#[test]
fn calls_of_other_producer_id_are_rejected() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        for before in producers(9, version) {
            for epoch in [before.stored.producer_epoch, LAST_EPOCH, 0] {
                let other = who(77, epoch);
                assert_eq!(init(&before, Some(other)), "fenced");
                assert_eq!(add(&before, other, version), "id");
                assert_eq!(end(&before, other, Outcome::Commit, version), "id");
                assert_eq!(end(&before, other, Outcome::Abort, version), "id");
            }
        }
    }
}

/// The stored fields tell what the last epoch was, wherever a repeated call depends on it.
#[test]
fn repeated_calls_are_recognised_after_reload() {
    let version = TransactionVersion::V2;
    let [_, _, ongoing, committing, _, committed, aborted] = producers(9, version);
    for before in [ongoing, committing, committed, aborted] {
        let again = TransactionalProducer::restore(before.stored.clone()).unwrap();
        for offset in [-1, 0, 1] {
            let who = who(ID, before.stored.producer_epoch + offset);
            assert_eq!(init(&again, Some(who)), init(&before, Some(who)), "{before:?}");
            for outcome in [Outcome::Commit, Outcome::Abort] {
                let expected = end(&before, who, outcome, version);
                assert_eq!(end(&again, who, outcome, version), expected, "{before:?}");
            }
        }
    }
}

/// A producer that takes over gets the second epoch after that of the transaction it found.
#[test]
fn fence_bumps_once() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        let found = ongoing(9, version);
        let fenced = ready(found.init(None, 60_000, at(4), None));
        assert_eq!(fenced.stored.state, TransactionState::PrepareAbort);
        let aborted = fenced.complete(at(5));
        assert_eq!((aborted.stored.state, aborted.stored.producer_epoch), {
            (TransactionState::CompleteAbort, 10)
        });
        let taken_over = ready(aborted.init(None, 60_000, at(6), None));
        assert_eq!(taken_over.identity(), who(ID, 11));
        for call in [Outcome::Commit, Outcome::Abort] {
            assert_eq!(end(&taken_over, who(ID, 9), call, version), "fenced");
        }
        assert_eq!(init(&taken_over, Some(who(ID, 9))), "fenced");
    }
}

/// After its transaction timed out, a producer may go on; its commit shows that it was aborted.
#[test]
fn expired_producer_continues_after_abort() {
    let version = TransactionVersion::V2;
    let aborted = ongoing(9, version).fence(at(4), None).unwrap().complete(at(5));
    assert_eq!(end(&aborted, who(ID, 9), Outcome::Commit, version), "state");
    assert_eq!(end(&aborted, who(ID, 9), Outcome::Abort, version), "same");
    assert_eq!(init(&aborted, Some(who(ID, 9))), "same");
    assert_eq!(aborted.identity(), who(ID, 10));
}

/// The last epochs of an id, with each call that raises the epoch.
#[test]
fn epoch_exhaustion_takes_new_id() {
    let version = TransactionVersion::V2;
    let completed = |epoch: ProducerEpoch, outcome: Option<Outcome>| {
        let before = ongoing(epoch, version);
        let call = |new_id| match outcome {
            Some(outcome) => before.end(who(ID, epoch), outcome, version, at(2), new_id),
            None => before.fence(at(2), new_id).map(EndStep::Prepare),
        };
        let prepared = if epoch >= LAST_EPOCH {
            assert_eq!(call(None), Err(Refusal::NeedsProducerId));
            let prepared = prepared(call(Some(NEW_ID)));
            assert_eq!(prepared.identity(), who(ID, ProducerEpoch::MAX));
            assert_eq!(prepared.stored.next_producer_id, Some(NEW_ID));
            prepared
        } else {
            prepared(call(None))
        };
        assert_eq!(prepared.stored.producer_id, ID);
        prepared.complete(at(3))
    };
    for outcome in [Some(Outcome::Commit), Some(Outcome::Abort), None] {
        assert_eq!(completed(LAST_EPOCH - 2, outcome).identity(), who(ID, LAST_EPOCH - 1));
        assert_eq!(completed(LAST_EPOCH - 1, outcome).identity(), who(ID, LAST_EPOCH));
        for epoch in [LAST_EPOCH, ProducerEpoch::MAX] {
            let rotated = completed(epoch, outcome);
            assert_eq!(rotated.identity(), who(NEW_ID, 0));
            assert_eq!(rotated.stored.previous_producer_id, Some(ID));
            assert_eq!(rotated.stored.next_producer_id, None);
        }
        // The answer was lost: the producer repeats its call, also after a reload.
        let rotated = completed(LAST_EPOCH, outcome);
        let again = TransactionalProducer::restore(rotated.stored.clone()).unwrap();
        for rotated in [rotated, again] {
            let repeated = |call| rotated.end(who(ID, LAST_EPOCH), call, version, at(4), None);
            let decided = outcome.unwrap_or(Outcome::Abort);
            let other = if decided == Outcome::Commit { Outcome::Abort } else { Outcome::Commit };
            assert_eq!(repeated(decided), Ok(EndStep::AlreadyDone));
            assert_eq!(repeated(other), Err(Refusal::InvalidState(rotated.stored.state)));
            let step = rotated.init(Some(who(ID, LAST_EPOCH)), 60_000, at(4), None);
            assert_eq!(step, Ok(InitStep::Unchanged));
            let early = rotated.end(who(ID, LAST_EPOCH - 1), decided, version, at(4), None);
            assert_eq!(early, Err(Refusal::InvalidIdMapping));
        }
    }
}

#[test]
fn initialization_rotates_used_up_id() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        for expected in [None, Some(())] {
            let before = empty(LAST_EPOCH, version);
            let expected = expected.map(|()| before.identity());
            assert_eq!(before.init(expected, 60_000, at(1), None), Err(Refusal::NeedsProducerId));
            let next = ready(before.init(expected, 60_000, at(1), Some(NEW_ID)));
            assert_eq!(next.identity(), who(NEW_ID, 0));
            // Only the producer that expected its own identity may repeat the call.
            let again = next.init(Some(who(ID, LAST_EPOCH)), 60_000, at(2), None);
            let repeated =
                if expected.is_some() { Ok(InitStep::Unchanged) } else { Err(Refusal::Fenced) };
            assert_eq!(again, repeated);
        }
        let last = ready(empty(LAST_EPOCH - 1, version).init(None, 60_000, at(1), None));
        assert_eq!(last.identity(), who(ID, LAST_EPOCH));
    }
    // A fence of version 1 may have used the epoch that no producer gets.
    let fenced = ongoing(LAST_EPOCH, TransactionVersion::V1).fence(at(1), None).unwrap();
    assert_eq!(fenced.identity(), who(ID, ProducerEpoch::MAX));
    let aborted = fenced.complete(at(2));
    assert_eq!(aborted.init(None, 60_000, at(3), None), Err(Refusal::NeedsProducerId));
}

#[test]
fn only_ongoing_transactions_time_out() {
    for version in [TransactionVersion::V1, TransactionVersion::V2] {
        for producer in producers(9, version) {
            let is_ongoing = producer.stored.state == TransactionState::Ongoing;
            let left = |now| producer.time_left(at(now));
            assert_eq!(left(1), is_ongoing.then_some(Duration::from_secs(60)));
            assert_eq!(left(60_000), is_ongoing.then_some(Duration::from_millis(1)));
            assert_eq!(left(90_000), is_ongoing.then_some(Duration::ZERO));
        }
    }
    let mut endless = ongoing(9, TransactionVersion::V2);
    endless.stored.timeout_ms = i32::MAX;
    assert_eq!(endless.time_left(at(90_000)), None);
}

#[test]
fn only_idle_ids_expire() {
    let week = Duration::from_secs(7 * 86_400);
    let after = at(3 + 7 * 86_400_000);
    for producer in producers(9, TransactionVersion::V2) {
        let is_idle = matches!(
            producer.stored.state,
            TransactionState::Empty
                | TransactionState::CompleteCommit
                | TransactionState::CompleteAbort
        );
        assert_eq!(producer.has_expired(week, after), is_idle);
        assert!(!producer.has_expired(week, at(7 * 86_400_000 - 1)));
    }
}

#[test]
fn restore_rejects_what_is_never_stored() {
    let stored = |change: fn(&mut TransactionMetadata)| {
        let mut stored = ongoing(9, TransactionVersion::V2).stored;
        change(&mut stored);
        TransactionalProducer::restore(stored).map(drop)
    };
    let state = Err("the transaction is in a state that is never stored");
    assert_eq!(stored(|stored| stored.state = TransactionState::Dead), state);
    assert_eq!(stored(|stored| stored.state = TransactionState::PrepareEpochFence), state);
    assert_eq!(stored(|stored| stored.producer_id = -1), Err("the transaction has no producer"));
    assert_eq!(stored(|stored| stored.producer_epoch = -1), Err("the transaction has no producer"));
    assert_eq!(stored(|_| ()), Ok(()));
}

/// A repeated initialization that arrives after its producer has begun a transaction.
#[test]
fn outdated_initialization_aborts_nothing() {
    let version = TransactionVersion::V2;
    let [_, continued, _, _, _, committed, _] = producers(9, version);
    for before in [continued, committed] {
        let begun = before.add(who(ID, 9), &[orders(0)], version, at(4)).unwrap().unwrap();
        assert_eq!(init(&before, Some(who(ID, 8))), "same");
        assert_eq!(init(&begun, Some(who(ID, 8))), "fenced");
        assert_eq!(end(&begun, who(ID, 8), Outcome::Commit, version), "fenced");
    }
}
