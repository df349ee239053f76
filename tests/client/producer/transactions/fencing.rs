//! Two producers with one transactional id: the later one goes on.

use super::{ID, Scene, rejected, transactional};
use crate::producer::scene;
use crate::{TOPIC, to};
use annals::*;

fn is_fenced<T: std::fmt::Debug>(result: Result<T>) {
    let (error, text) = rejected(result);
    assert!(matches!(error, TransactionError::Fenced { .. }), "{text}");
    assert_eq!(
        text,
        "another producer has taken over the transactional id `shop-1`; close this one, or give \
         each producer its own id"
    );
    assert_eq!(Error::from(error).kind(), ErrorKind::Fenced);
}

#[test]
fn second_producer_fences_first() {
    let scene = scene(2);
    let first = scene.transactional();
    first.begin_transaction().unwrap();
    first.send(to(0, "never seen")).unwrap();
    first.flush().unwrap();

    let second = scene.transactional();
    // The transaction of the first one was aborted.
    assert_eq!((scene.offsets(0).last_stable, scene.offsets(0).end), (2, 2));
    second.transaction(|tx| tx.send(to(0, "paid"))).unwrap();

    is_fenced(first.commit_transaction());
    is_fenced(first.abort_transaction());
    is_fenced(first.begin_transaction());
    is_fenced(first.init_transactions());
    is_fenced(first.send(to(0, "rejected")));
    first.close().unwrap();
    second.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid", "paid"]);
}

/// The first batch in a partition is rejected by the coordinator, and a later one by the log.
#[test]
fn fence_is_told_at_next_batch() {
    for partition in [0, 1] {
        let scene = scene(2);
        let first = scene.transactional();
        first.begin_transaction().unwrap();
        first.send(to(0, "never seen")).unwrap();
        first.flush().unwrap();
        let _second = scene.transactional();
        is_fenced(first.send(to(partition, "rejected")).unwrap().wait());
        is_fenced(first.commit_transaction());
        assert!(scene.committed(partition).is_empty());
    }
}

fn reopened(scene: &Scene) -> Store {
    let config = StoreConfig::default().fs(scene.disk.kill()).maintenance(None);
    Store::open("data", config).unwrap()
}

#[test]
fn fence_survives_reopen() {
    let scene = scene(1);
    let producer = scene.transactional();
    producer.begin_transaction().unwrap();
    producer.send(to(0, "never seen")).unwrap();
    producer.flush().unwrap();
    let store = reopened(&scene);
    let log = store.topic(TOPIC).unwrap().partition(0).unwrap();
    // The process ended, and its transaction with it.
    assert_eq!(log.offsets().last_stable, log.offsets().end);
    let taken = store.producer(transactional()).unwrap();
    taken.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(super::committed(&log), ["paid"]);

    // A batch of the producer that was killed.
    let mut late = record::BatchBuilder::new();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let id = reader.next_batch().unwrap().unwrap().header().producer_id;
    late.producer(id, 0, 1).transactional(true);
    late.push(Timestamp::from_millis(1), None, Some(b"late")).unwrap();
    let error = log.append_batch(late.build().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let transactions = store.transactions().unwrap();
    let killed = ProducerIdentity { id, epoch: 0 };
    let at = [TopicPartition::new(TOPIC, 0)];
    let version = TransactionVersion::V2;
    let error = transactions.add_partitions(ID, killed, &at, version, Wait::No).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}
