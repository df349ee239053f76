//! Offsets of a group in a transaction: they count with its records, or not at all.

use super::{ID, Scene, rejected, transactional};
use crate::producer::scene;
use crate::{NOW, TOPIC, at, earliest, to};
use annals::*;

fn reader(scene: &Scene) -> Consumer {
    let config = earliest("billing").enable_auto_commit(false);
    let mut consumer = scene.store.consumer(config).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    consumer.poll(NOW).unwrap();
    consumer
}

fn committed(consumer: &Consumer) -> [Option<u64>; 2] {
    let offset = |partition| consumer.committed(&at(TOPIC, partition)).unwrap();
    [0, 1].map(|partition| offset(partition).map(|committed| committed.offset))
}

#[test]
fn offsets_count_with_transaction() {
    let scene = scene(2);
    let producer = scene.transactional();
    let consumer = reader(&scene);
    let group = consumer.group_metadata().unwrap();
    // Two calls in one transaction, which has no record.
    producer
        .transaction(|tx| {
            tx.send_offsets([(at(TOPIC, 0), 5)], &group)?;
            tx.send_offsets([(at(TOPIC, 1), 7)], &group)
        })
        .unwrap();
    assert_eq!(committed(&consumer), [Some(5), Some(7)]);

    producer.begin_transaction().unwrap();
    producer.send(to(0, "never seen")).unwrap();
    producer.send_offsets_to_transaction([(at(TOPIC, 0), 9)], &group).unwrap();
    producer.abort_transaction().unwrap();
    assert_eq!(committed(&consumer), [Some(5), Some(7)]);
    assert!(scene.committed(0).is_empty());
}

/// Another member may read the same records by now.
#[test]
fn offsets_of_former_member_must_be_aborted() {
    let scene = scene(2);
    let producer = scene.transactional();
    let mut consumer = reader(&scene);
    let former = consumer.group_metadata().unwrap();
    consumer.unsubscribe().unwrap();
    let consumer = reader(&scene);
    producer.begin_transaction().unwrap();
    producer.send(to(0, "never seen")).unwrap();
    let error = producer.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &former).unwrap_err();
    assert!(matches!(error, Error::Consume(_)), "{error}");
    let (error, text) = rejected(producer.commit_transaction());
    assert!(matches!(error, TransactionError::MustAbort { .. }), "{text}");
    producer.abort_transaction().unwrap();
    assert_eq!(committed(&consumer), [None, None]);

    let present = consumer.group_metadata().unwrap();
    producer.transaction(|tx| tx.send_offsets([(at(TOPIC, 0), 5)], &present)).unwrap();
    assert_eq!(committed(&consumer), [Some(5), None]);
}

#[test]
fn late_offsets_are_told_of_fence_and_expiry() {
    let scene = scene(2);
    let consumer = reader(&scene);
    let group = consumer.group_metadata().unwrap();
    let producer = scene.transactional();
    let send = || producer.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &group);
    producer.begin_transaction().unwrap();
    send().unwrap();
    scene.clock.advance(std::time::Duration::from_secs(61));
    let (error, text) = rejected(send());
    assert!(matches!(error, TransactionError::Expired { .. }), "{text}");
    producer.abort_transaction().unwrap();

    producer.begin_transaction().unwrap();
    let other = scene.store.producer(transactional().transactional_id(ID)).unwrap();
    other.init_transactions().unwrap();
    let (error, text) = rejected(send());
    assert!(matches!(error, TransactionError::Fenced { .. }), "{text}");
    drop(producer);
    assert_eq!(committed(&consumer), [None, None]);
}
