//! Records that no coordinator writes.

use super::reloads::append;
use super::*;
use crate::transaction::TransactionMetadata;
use crate::transaction::listing::stored_in;
use crate::transaction::producer::LAST_EPOCH;
use crate::types::ProducerEpoch;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

fn any_id() -> impl Strategy<Value = ProducerId> {
    prop_oneof![Just(4000), Just(5000), -3..3_i64, any::<i64>()]
}

fn any_epoch() -> impl Strategy<Value = ProducerEpoch> {
    prop_oneof![0..3_i16, LAST_EPOCH - 2..=i16::MAX, any::<i16>()]
}

fn any_version() -> impl Strategy<Value = TransactionVersion> {
    prop_oneof![Just(TransactionVersion::V0), Just(TransactionVersion::V1), Just(V2)]
}

prop_compose! {
    /// Whatever bytes may decode to.
    fn any_stored()(
        ids in (any_id(), option::of(any_id()), option::of(any_id())),
        producer_epoch in any_epoch(),
        timeout_ms in prop_oneof![Just(60_000), Just(i32::MAX), -2..3_i32, any::<i32>()],
        state in 0..8_usize,
        partitions in btree_set(0..9_u32, 0..4),
        last_update in prop_oneof![Just(T0), any::<i64>()],
        started in option::of(prop_oneof![T0 - 100_000..T0 + 100_000, any::<i64>()]),
        client_version in prop_oneof![0..3_i16, any::<i16>()],
    ) -> TransactionMetadata {
        TransactionMetadata {
            producer_id: ids.0,
            producer_epoch,
            previous_producer_id: ids.1,
            next_producer_id: ids.2,
            timeout_ms,
            state: TransactionState::ALL[state],
            partitions: partitions.into_iter().map(orders).collect(),
            last_update: Timestamp::from_millis(last_update),
            started: started.map(Timestamp::from_millis),
            client_version,
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Tick,
    Init { continues: bool },
    Add(TransactionVersion),
    End(Outcome, TransactionVersion, bool),
    FailMarkers,
    Heal,
    Advance(u64),
}

fn any_act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![Just(Outcome::Commit), Just(Outcome::Abort)];
    prop_oneof![
        Just(Act::Tick),
        any::<bool>().prop_map(|continues| Act::Init { continues }),
        any_version().prop_map(Act::Add),
        (outcome, any_version(), any::<bool>()).prop_map(|(o, v, flush)| Act::End(o, v, flush)),
        Just(Act::FailMarkers),
        Just(Act::Heal),
        (0..200_000_u64).prop_map(Act::Advance),
    ]
}

impl Act {
    fn run(&self, setup: &Setup) {
        let coordinator = &setup.coordinator;
        let stored = || coordinator.producer("t").unwrap().map(|producer| producer.identity());
        let current = stored().unwrap_or(who(0, 0));
        match *self {
            Act::Tick => drop(coordinator.tick()),
            Act::Init { continues } => {
                let expected = continues.then_some(current);
                coordinator.init_producer_id("t", MINUTE, expected, Wait::No).ok();
            }
            Act::Add(version) => {
                coordinator.add_partitions("t", current, &[orders(7)], version, Wait::No).ok();
            }
            Act::End(outcome, version, flush) => {
                coordinator.end("t", current, outcome, version, flush, Wait::No).ok();
            }
            Act::FailMarkers => (0..9).for_each(|number| setup.partitions.fail(orders(number))),
            Act::Heal => setup.partitions.heal(),
            Act::Advance(millis) => setup.clock.advance(Duration::from_millis(millis)),
        }
    }
}

fn stored(setup: &Setup) -> Option<TransactionMetadata> {
    setup.coordinator.producer("t").unwrap().map(|producer| producer.stored)
}

proptest! {
    /// A load either rejects a record, or no call turns it into one that the next load rejects or
    /// reads as another state.
    #[test]
    fn accepted_record_remains_loadable(
        first in any_stored(),
        acts in vec(any_act(), 1..12),
    ) {
        let setup = Setup::new();
        append(&setup, "t", first);
        if setup.coordinator.load_all().is_err() {
            return Ok(());
        }
        for act in &acts {
            act.run(&setup);
            let loaded = stored_in(0, &setup.log());
            prop_assert!(loaded.is_ok(), "{act:?}: {loaded:?}");
            let loaded = loaded.unwrap().remove("t").map(|producer| producer.stored);
            prop_assert_eq!(loaded, stored(&setup), "{:?}", act);
        }
        let next = setup.restarted(TransactionCoordinatorConfig::default());
        next.recover();
        if let Some(left) = stored(&next) {
            let ends = matches!(
                left.state,
                TransactionState::Empty
                    | TransactionState::CompleteCommit
                    | TransactionState::CompleteAbort
            );
            prop_assert!(ends || left.timeout_ms == i32::MAX, "{left:?}");
        }
        next.init("t").unwrap();
    }
}

fn ongoing() -> (Setup, TransactionMetadata) {
    let setup = Setup::new();
    let producer = setup.init("t").unwrap();
    setup.add("t", producer, &[orders(0)]).unwrap();
    let ongoing = stored(&setup).unwrap();
    (setup, ongoing)
}

/// Its completion would have an id below 0, or epoch 0 of an id that has had it.
#[test]
fn prepared_record_with_impossible_next_id_is_corrupt() {
    for next in [-2, i64::MIN, 4000] {
        for state in [TransactionState::PrepareCommit, TransactionState::PrepareAbort] {
            let (setup, ongoing) = ongoing();
            let next_producer_id = Some(next);
            append(&setup, "t", TransactionMetadata { state, next_producer_id, ..ongoing });
            let next = setup.restarted(TransactionCoordinatorConfig::default());
            let error = refusal(next.coordinator.load_all());
            assert!(matches!(error, TransactionError::CorruptState { offset: 2, .. }), "{error}");
            assert!(next.partitions.calls().is_empty());
        }
    }
}

/// They would get markers of a transaction that they have no part in.
#[test]
fn partitions_of_complete_record_are_ignored() {
    let (setup, ongoing) = ongoing();
    append(&setup, "t", TransactionMetadata { state: TransactionState::CompleteCommit, ..ongoing });
    let next = setup.restarted(TransactionCoordinatorConfig::default());
    let producer = next.init("t").unwrap();
    next.add("t", producer, &[orders(1)]).unwrap();
    next.end("t", producer, Outcome::Commit).unwrap();
    assert_eq!(next.partitions.calls(), ["commit orders-1 by 4000.2"]);
}

/// Nothing would end it while its producer is away.
#[test]
fn ongoing_record_without_begin_has_timed_out() {
    let (setup, ongoing) = ongoing();
    append(&setup, "t", TransactionMetadata { started: None, ..ongoing });
    let next = setup.restarted(TransactionCoordinatorConfig::default().resume_ongoing(true));
    next.recover();
    assert_eq!(next.state("t"), TransactionState::CompleteAbort);
}
