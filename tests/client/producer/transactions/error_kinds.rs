//! The table of error kinds in `docs::transactions`: what each call says after a failure of each
//! kind, and how the producer goes on.

use super::transactional;
use crate::producer::{Scene, scene};
use crate::{NOW, TOPIC, at, earliest, to};
use annals::fs::{Fault, Operation, Rule};
use annals::*;
use std::io::ErrorKind::StorageFull;
use std::time::Duration;

fn group(scene: &Scene) -> (Consumer, ConsumerGroupMetadata) {
    let config = earliest("billing").enable_auto_commit(false);
    let mut consumer = scene.store.consumer(config).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    consumer.poll(NOW).unwrap();
    let group = consumer.group_metadata().unwrap();
    (consumer, group)
}

/// A producer with a transaction that has a record.
fn open(scene: &Scene) -> Producer {
    let config = transactional().transaction_timeout(Duration::from_secs(10));
    let producer = scene.store.producer(config).unwrap();
    producer.init_transactions().unwrap();
    producer.begin_transaction().unwrap();
    producer.send(to(0, "first")).unwrap();
    producer.flush().unwrap();
    producer
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
}

/// The store has aborted the transaction after its timeout. Each call may be the first to notice.
#[test]
fn every_call_tells_of_expiry() {
    use ErrorKind::{Abortable, InvalidInput};
    for first in 0..5 {
        for is_swept in [false, true] {
            let scene = scene(2);
            let (consumer, group) = group(&scene);
            let producer = open(&scene);
            scene.clock.advance(Duration::from_secs(11));
            if is_swept {
                scene.store.maintain().unwrap();
            }
            let offsets = || producer.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &group);
            match first {
                0 => assert_kind(producer.commit_transaction(), Abortable),
                1 => assert_kind(offsets(), Abortable),
                2 | 3 => {
                    producer.send(to(first - 2, "late")).unwrap();
                    // A batch that needs no coordinator is written until the store has looked.
                    let is_written = first == 2 && !is_swept;
                    assert_eq!(producer.flush().is_ok(), is_written);
                }
                _ => producer.abort_transaction().unwrap(),
            }
            if first != 4 {
                assert_kind(producer.begin_transaction(), InvalidInput);
                assert_kind(producer.commit_transaction(), Abortable);
                assert_kind(producer.send(to(0, "rejected")), Abortable);
                assert_kind(offsets(), Abortable);
                assert_kind(producer.commit_transaction(), Abortable);
                producer.abort_transaction().unwrap();
            }
            producer
                .transaction(|tx| {
                    tx.send(to(0, "paid"))?;
                    tx.send_offsets([(at(TOPIC, 0), 7)], &group)
                })
                .unwrap();
            assert_eq!(scene.committed(0), ["paid"], "{first}");
            assert!(scene.committed(1).is_empty(), "{first}");
            assert_eq!(consumer.committed(&at(TOPIC, 0)).unwrap(), Some(7.into()));
        }
    }
}

/// A fenced producer is of no use, whichever call notices first, and writes nothing more.
#[test]
fn every_call_tells_of_fence() {
    use ErrorKind::Fenced;
    for first in 0..6 {
        let scene = scene(2);
        let (_consumer, group) = group(&scene);
        let producer = open(&scene);
        let second = scene.transactional();
        let offsets = || producer.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &group);
        match first {
            0 => assert_kind(producer.commit_transaction(), Fenced),
            1 => assert_kind(producer.abort_transaction(), Fenced),
            2 => assert_kind(offsets(), Fenced),
            3 | 4 => assert_kind(producer.send(to(first - 3, "late")).unwrap().wait(), Fenced),
            _ => {
                producer.send(to(1, "late")).unwrap();
                assert_kind(producer.flush(), Fenced);
            }
        }
        let work = |tx: &Transaction<'_>| tx.send(to(0, "late"));
        assert_kind(producer.transaction(work), Fenced);
        assert_kind(producer.begin_transaction(), Fenced);
        assert_kind(producer.send(to(0, "late")), Fenced);
        assert_kind(offsets(), Fenced);
        assert_kind(producer.commit_transaction(), Fenced);
        assert_kind(producer.abort_transaction(), Fenced);
        second.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
        assert_eq!(scene.committed(0), ["paid"], "{first}");
        assert_eq!(scene.offsets(1).end, 0, "{first}");
    }
}

/// Nothing is decided: the call is repeated, or the transaction is aborted.
#[test]
fn full_disk_decides_nothing() {
    for what in ["offsets", "commit", "abort instead"] {
        let scene = scene(2);
        let (consumer, group) = group(&scene);
        let producer = open(&scene);
        let offsets = || producer.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &group);
        let full = Rule::new(Operation::Write, Fault::Error(StorageFull));
        let full = scene.fs.add_rule(full.path("__transaction_state"));
        let call = || if what == "offsets" { offsets() } else { producer.commit_transaction() };
        let error = call().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{what}");
        assert!(error.is_retryable(), "{what}");
        scene.fs.remove_rule(full);
        if what == "abort instead" {
            producer.abort_transaction().unwrap();
        } else {
            offsets().unwrap();
            producer.commit_transaction().unwrap();
        }
        let is_aborted = what == "abort instead";
        assert_eq!(scene.committed(0).is_empty(), is_aborted, "{what}");
        assert_eq!(consumer.committed(&at(TOPIC, 0)).unwrap().is_none(), is_aborted, "{what}");
    }
}

/// Offsets that could not be added, and nothing else: the coordinator knows of no transaction. A
/// program that ignores the failure cannot commit, and is told to abort.
#[test]
fn ignored_failure_of_offsets_is_abortable() {
    let scene = scene(1);
    let (_consumer, group) = group(&scene);
    let producer = scene.transactional();
    producer.begin_transaction().unwrap();
    let full = Rule::new(Operation::Write, Fault::Error(StorageFull));
    let full = scene.fs.add_rule(full.path("__transaction_state"));
    let offsets = [(at(TOPIC, 0), 5)];
    producer.send_offsets_to_transaction(offsets, &group).unwrap_err();
    scene.fs.remove_rule(full);
    assert_kind(producer.commit_transaction(), ErrorKind::Abortable);
    producer.abort_transaction().unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}
