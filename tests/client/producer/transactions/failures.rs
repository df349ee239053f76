//! Records and ends of transactions that fail, and how the producer goes on.

use super::{rejected, transactional};
use crate::producer::{produce_error, scene};
use crate::{TOPIC, to};
use annals::fs::{Fault, Operation, Rule};
use annals::*;
use std::io;
use std::time::Duration;

#[test]
fn failed_batch_must_be_aborted() {
    let scene = scene(2);
    let producer = scene.transactional();
    let broken = Fault::Error(io::ErrorKind::Other);
    scene.fs.add_rule(Rule::new(Operation::Write, broken).path("orders-0").nth(1));
    producer.begin_transaction().unwrap();
    let lost = producer.send(to(0, "lost")).unwrap();
    let dropped = producer.send(to(1, "dropped")).unwrap();
    for _ in 0..2 {
        let (error, text) = rejected(producer.commit_transaction());
        assert!(matches!(error, TransactionError::MustAbort { .. }), "{error:?}");
        assert!(text.starts_with("the transaction of `shop-1` cannot be committed ("), "{text}");
        assert!(text.contains("orders-0"), "{text}");
        assert!(text.ends_with("; abort it, and begin it again"), "{text}");
    }
    assert!(matches!(produce_error(lost.wait()), ProduceError::Batch(_)));
    assert!(matches!(produce_error(dropped.wait()), ProduceError::TransactionAborted));
    let (error, _) = rejected(producer.send(to(1, "too late")));
    assert!(matches!(error, TransactionError::MustAbort { .. }));
    // The log of the partition is poisoned, and takes no marker.
    for call in [producer.abort_transaction(), producer.begin_transaction()] {
        let (error, text) = rejected(call);
        assert!(matches!(error, TransactionError::Completing { decision: "aborted", .. }));
        assert!(text.contains("call `Store::reopen_partition"), "{text}");
    }
    scene.store.reopen_partition(TOPIC, 0, OnCorruption::Fail).unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
    assert_eq!(scene.offsets(0).last_stable, scene.offsets(0).end);
    assert_eq!(scene.offsets(1).last_stable, scene.offsets(1).end);
}

#[test]
fn closure_aborts_failed_transaction() {
    let scene = scene(1);
    let producer = scene.transactional();
    let pay = || producer.transaction(|tx| tx.send(to(0, "paid")));
    let accept = |bytes: &str| {
        let changed = TopicConfig::default().set("max.message.bytes", bytes).unwrap();
        scene.store.alter_topic(TOPIC, changed).unwrap();
    };
    // The limit is lowered after the record was accepted.
    let failed = producer.transaction(|tx| {
        tx.send(to(0, "paid"))?;
        accept("70");
        Ok::<_, Error>(())
    });
    let (error, text) = rejected(failed);
    assert!(matches!(error, TransactionError::MustAbort { .. }));
    assert!(text.contains("over the limit of 70"), "{text}");
    // The partition was in the transaction already, so it has a marker.
    assert_eq!((scene.offsets(0).last_stable, scene.offsets(0).end), (1, 1));
    accept("1000");
    pay().unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

#[test]
fn late_batch_must_be_aborted() {
    let scene = scene(1);
    let config = transactional().linger(Duration::ZERO).delivery_timeout(Duration::from_secs(5));
    let producer = scene.store.producer(config).unwrap();
    producer.init_transactions().unwrap();
    let full = scene.fs.add_rule(
        Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull)).path("orders-0"),
    );
    producer.begin_transaction().unwrap();
    producer.send(to(0, "late")).unwrap();
    scene.clock.advance(Duration::from_secs(6));
    producer.poll();
    let (error, text) = rejected(producer.commit_transaction());
    assert!(matches!(error, TransactionError::MustAbort { .. }));
    assert!(text.contains("the record was not written to partition 0 of `orders`"), "{text}");
    scene.fs.remove_rule(full);
    producer.abort_transaction().unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

/// A record that is not accepted is not in the transaction, so the rest may be committed.
#[test]
fn full_buffer_leaves_transaction_open() {
    let scene = scene(1);
    let config = transactional()
        .batch_bytes(100)
        .buffer_bytes(300)
        .linger(Duration::ZERO)
        .max_block(Duration::ZERO);
    let producer = scene.store.producer(config).unwrap();
    producer.init_transactions().unwrap();
    producer.begin_transaction().unwrap();
    let full = scene.fs.add_rule(
        Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull)).path("orders-0"),
    );
    let mut accepted = 0;
    let error = loop {
        match producer.send(to(0, "paid")) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(produce_error(Err::<(), _>(error)), ProduceError::BufferFull { .. }));
    let too_large = producer.send(to(0, "x".repeat(1 << 21)));
    assert!(matches!(produce_error(too_large), ProduceError::RecordTooLarge { .. }));
    scene.fs.remove_rule(full);
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    producer.commit_transaction().unwrap();
    assert_eq!(scene.committed(0), vec!["paid"; accepted]);
}

/// The decision counts, although a partition cannot get its marker.
#[test]
fn decided_commit_is_completed_later() {
    let scene = scene(2);
    let producer = scene.transactional();
    let full = || {
        let full = Fault::Error(io::ErrorKind::StorageFull);
        scene.fs.add_rule(Rule::new(Operation::Write, full).path("orders-1"))
    };
    producer.begin_transaction().unwrap();
    for partition in [0, 1] {
        producer.send(to(partition, "first")).unwrap();
    }
    producer.flush().unwrap();
    let rule = full();
    let (error, text) = rejected(producer.commit_transaction());
    assert!(matches!(error, TransactionError::Completing { decision: "committed", .. }), "{text}");
    assert!(text.starts_with("the transaction of `shop-1` is committed, but partition"), "{text}");
    let (error, text) = rejected(producer.abort_transaction());
    assert!(matches!(error, TransactionError::InvalidState { .. }));
    assert!(text.starts_with("cannot abort the transaction of `shop-1`"), "{text}");
    let (error, _) = rejected(producer.begin_transaction());
    assert!(matches!(error, TransactionError::Completing { .. }));
    scene.fs.remove_rule(rule);
    producer.begin_transaction().unwrap();
    producer.abort_transaction().unwrap();
    assert_eq!(
        (scene.committed(0), scene.committed(1)),
        (vec!["first".into()], vec!["first".into()])
    );

    // If the closure ran again, its records would be there twice.
    let mut rule = None;
    producer
        .transaction(|tx| {
            for partition in [0, 1] {
                tx.send(to(partition, "second"))?;
            }
            tx.producer().flush()?;
            rule = Some(full());
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(scene.committed(1), ["first"]);
    scene.fs.remove_rule(rule.unwrap());
    producer.transaction(|_| Ok::<_, Error>(())).unwrap();
    assert_eq!(scene.committed(1), ["first", "second"]);
}

/// Nothing is decided, so the caller has the choice.
#[test]
fn undecided_commit_may_be_repeated() {
    let scene = scene(1);
    let producer = scene.transactional();
    for commit in [true, false] {
        producer.begin_transaction().unwrap();
        producer.send(to(0, if commit { "paid" } else { "never seen" })).unwrap();
        producer.flush().unwrap();
        let full = Fault::Error(io::ErrorKind::StorageFull);
        let rule = scene.fs.add_rule(Rule::new(Operation::Write, full).path("__transaction_state"));
        assert_eq!(producer.commit_transaction().unwrap_err().kind(), ErrorKind::StorageFull);
        scene.fs.remove_rule(rule);
        if commit {
            producer.commit_transaction().unwrap();
        } else {
            producer.abort_transaction().unwrap();
        }
    }
    assert_eq!(scene.committed(0), ["paid"]);
    assert_eq!(scene.offsets(0).last_stable, scene.offsets(0).end);
}

#[test]
fn failed_abort_is_repeated() {
    let scene = scene(1);
    let producer = scene.transactional();
    producer.begin_transaction().unwrap();
    producer.send(to(0, "never seen")).unwrap();
    producer.flush().unwrap();
    let full = Fault::Error(io::ErrorKind::StorageFull);
    let rule = scene.fs.add_rule(Rule::new(Operation::Write, full).path("__transaction_state"));
    assert_eq!(producer.abort_transaction().unwrap_err().kind(), ErrorKind::StorageFull);
    scene.fs.remove_rule(rule);
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

fn expires_after(scene: &super::Scene, timeout: Duration) -> Producer {
    let config = transactional().transaction_timeout(timeout);
    let producer = scene.store.producer(config).unwrap();
    producer.init_transactions().unwrap();
    producer.begin_transaction().unwrap();
    producer.send(to(0, "too slow")).unwrap();
    producer.flush().unwrap();
    scene.clock.advance(timeout + Duration::from_millis(1));
    producer
}

#[track_caller]
fn assert_expired<T: std::fmt::Debug>(result: Result<T>) {
    let (error, text) = rejected(result);
    assert!(matches!(error, TransactionError::Expired { .. }), "{text}");
    assert!(text.contains("its timeout of 10s"), "{text}");
    assert!(text.contains("begin it again, or raise `transaction_timeout`"), "{text}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Abortable);
}

#[test]
fn expired_transaction_is_aborted() {
    let scene = scene(2);
    let producer = expires_after(&scene, Duration::from_secs(10));
    assert_expired(producer.commit_transaction());
    assert_expired(producer.send(to(0, "rejected")));
    producer.abort_transaction().unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

/// The store aborts it, without a call of the producer.
#[test]
fn expiry_is_told_at_next_batch() {
    for partition in [0, 1] {
        let scene = scene(2);
        let producer = expires_after(&scene, Duration::from_secs(10));
        scene.store.maintain().unwrap();
        assert_eq!(scene.offsets(0).last_stable, scene.offsets(0).end);
        // The log of partition 0 rejects the batch; partition 1 is not in the transaction yet.
        assert_expired(producer.send(to(partition, "rejected")).unwrap().wait());
        assert_expired(producer.commit_transaction());
        producer.abort_transaction().unwrap();
        producer.transaction(|tx| tx.send(to(1, "paid"))).unwrap();
        assert_eq!(scene.committed(1), ["paid"]);
        assert!(scene.committed(0).is_empty());
    }
}

#[test]
fn commit_fails_after_topic_is_deleted() {
    let scene = scene(1);
    let bills = scene.store.create_topic("bills", TopicConfig::default()).unwrap();
    let producer = scene.transactional();
    producer.begin_transaction().unwrap();
    producer.send(("bills", "12.50")).unwrap();
    producer.send(to(0, "never seen")).unwrap();
    producer.flush().unwrap();
    drop(bills);
    scene.store.delete_topic("bills").unwrap();
    let (error, text) = rejected(producer.commit_transaction());
    assert!(matches!(error, TransactionError::PartitionGone { .. }), "{text}");
    assert_eq!(
        text,
        "partition bills-0 was deleted during the transaction of `shop-1`; abort the transaction"
    );
    producer.abort_transaction().unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

/// The new topic gets a marker of a transaction of which it has no record.
#[test]
fn transaction_over_recreated_topic_ends() {
    let scene = scene(1);
    let producer = scene.transactional();
    producer.begin_transaction().unwrap();
    producer.send(to(0, "deleted")).unwrap();
    producer.flush().unwrap();
    scene.store.delete_topic(TOPIC).unwrap();
    let topic = scene.store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    producer.commit_transaction().unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    let log = topic.partition(0).unwrap();
    assert_eq!(super::committed(&log), ["paid"]);
    assert_eq!(log.offsets().last_stable, log.offsets().end);
}

/// The coordinator stores the partitions of a transaction in one record, which has a limit.
#[test]
fn too_many_partitions_must_be_aborted() {
    let scene = scene(60);
    let producer = scene.transactional();
    let small = TopicConfig::default().set("max.message.bytes", "250").unwrap();
    let small = small.set("cleanup.policy", "compact").unwrap();
    scene.store.alter_topic("__transaction_state", small).unwrap();
    producer.begin_transaction().unwrap();
    let handles: Vec<_> = (0..180).map(|n| producer.send(to(n % 60, "lost")).unwrap()).collect();
    let (error, text) = rejected(producer.commit_transaction());
    assert!(matches!(error, TransactionError::MustAbort { .. }), "{text}");
    assert!(text.contains("over the limit of 250"), "{text}");
    assert!(text.contains("__transaction_state"), "{text}");
    assert_eq!(text.matches("cannot be committed").count(), 1, "{text}");
    // The partitions that had room were written to.
    assert!(handles.iter().any(|handle| handle.wait().is_ok()));
    producer.abort_transaction().unwrap();
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
    for partition in 1..60 {
        let offsets = scene.offsets(partition);
        assert!(scene.committed(partition).is_empty());
        assert_eq!(offsets.last_stable, offsets.end);
    }
}
