//! Calls out of turn, and options that contradict each other. Each message says what to do.

use super::{ID, rejected, transactional};
use crate::producer::scene;
use crate::to;
use annals::*;
use std::time::Duration;

#[test]
fn calls_out_of_turn_are_rejected() {
    let scene = scene(1);
    let producer = scene.store.producer(transactional()).unwrap();
    let not_initialized =
        "the producer of `shop-1` is not initialized; call `init_transactions` first, once";
    for early in [
        producer.begin_transaction(),
        producer.commit_transaction(),
        producer.abort_transaction(),
        producer.send(to(0, "early")).map(drop),
    ] {
        let (error, text) = rejected(early);
        assert!(matches!(error, TransactionError::NotInitialized { .. }));
        assert_eq!(text, not_initialized);
    }
    producer.init_transactions().unwrap();
    // The id belongs to this producer already.
    producer.init_transactions().unwrap();
    let not_open = "no transaction of `shop-1` is open; call `begin_transaction` first";
    for unbegun in [
        producer.commit_transaction(),
        producer.abort_transaction(),
        producer.send(to(0, "outside")).map(drop),
    ] {
        let (error, text) = rejected(unbegun);
        assert!(matches!(error, TransactionError::NoTransaction { .. }));
        assert_eq!(text, not_open);
    }
    producer.begin_transaction().unwrap();
    for again in [producer.begin_transaction(), producer.init_transactions()] {
        let (error, text) = rejected(again);
        assert!(matches!(error, TransactionError::AlreadyOpen { .. }));
        assert_eq!(text, "a transaction of `shop-1` is open already; commit or abort it first");
    }
    producer.send(to(0, "paid")).unwrap();
    producer.abort_transaction().unwrap();
    let (_, text) = rejected(producer.commit_transaction());
    assert_eq!(text, not_open);
    assert_eq!(scene.offsets(0).end, 0);
}

#[test]
fn nested_transaction_is_rejected() {
    let scene = scene(1);
    let producer = scene.transactional();
    producer
        .transaction(|tx| {
            let (error, _) = rejected(tx.producer().transaction(|_| Ok::<_, Error>(())));
            assert!(matches!(error, TransactionError::AlreadyOpen { .. }));
            tx.send(to(0, "paid"))
        })
        .unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

#[test]
fn plain_producer_has_no_transactions() {
    let scene = scene(1);
    let producer = scene.lingering_producer();
    for call in [
        producer.init_transactions(),
        producer.begin_transaction(),
        producer.transaction(|tx| tx.send(to(0, "x")).map(drop)),
    ] {
        let (error, text) = rejected(call);
        assert_eq!(error, TransactionError::NotTransactional);
        assert_eq!(
            text,
            "the producer has no transactional id; create it with \
             `ProducerConfig::transactional_id`"
        );
    }
}

#[test]
fn contradicting_options_are_rejected() {
    let scene = scene(1);
    for (config, message) in [
        (
            ProducerConfig::default().transactional_id(""),
            "option `transactional_id` is empty, but must name the producer",
        ),
        (
            transactional().idempotence(false),
            "option `idempotence` is off, but must be on with a `transactional_id`",
        ),
        (
            transactional().acks(Acks::None),
            "option `acks` is None, but must be `Written` or `Flushed` with a `transactional_id`",
        ),
        (
            ProducerConfig::default().transactional_id("x".repeat(32_768)),
            "option `transactional_id` is 32768 bytes long, but must have at most 32767",
        ),
        (
            transactional().transaction_timeout(Duration::ZERO),
            "option `transaction_timeout` is 0ns, but must be at least 1 ms",
        ),
    ] {
        let error = scene.store.producer(config).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let patient = transactional().transaction_timeout(Duration::from_secs(3600));
    let patient = scene.store.producer(patient).unwrap();
    let (error, text) = rejected(patient.init_transactions());
    assert!(matches!(error, TransactionError::InvalidTimeout { .. }));
    let message = "a transaction timeout of 3600s is not between 1 ms and the limit of 900s; choose a shorter one, or raise `max_timeout`";
    assert_eq!(text, message);
}

#[test]
fn closed_producer_rejects_calls() {
    let scene = scene(1);
    let producer = scene.transactional();
    let other = producer.clone();
    producer.begin_transaction().unwrap();
    producer.close().unwrap();
    let error = other.commit_transaction().unwrap_err();
    assert!(error.to_string().starts_with("the producer is closed"), "{error}");
    assert!(other.send(to(0, ID)).is_err());
}
