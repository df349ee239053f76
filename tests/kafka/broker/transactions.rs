//! Transactional ids go to a broker and back.

use super::*;

fn committed(store: &Store) -> Vec<String> {
    records_at(store, "orders", IsolationLevel::ReadCommitted)
}

/// A transaction with a record to each of partitions 0 and 1.
fn transact(store: &Store, id: &str, outcome: Outcome) {
    let producer = store.producer(ProducerConfig::default().transactional_id(id)).unwrap();
    producer.init_transactions().unwrap();
    producer.begin_transaction().unwrap();
    for partition in 0..2 {
        let record = Record::new(format!("{outcome:?}")).key(id.to_owned());
        producer.send(ProducerRecord::new("orders", record).partition(partition)).unwrap();
    }
    producer.flush().unwrap();
    match outcome {
        Outcome::Commit => producer.commit_transaction().unwrap(),
        Outcome::Abort => producer.abort_transaction().unwrap(),
    }
    producer.close().unwrap();
}

fn states(store: &Store) -> Vec<String> {
    let listed = store.transactions().unwrap().list().unwrap();
    listed.iter().map(|one| format!("{} {:?}", one.transactional_id, one.state)).collect()
}

/// Producers with the same transactional ids work at a store, at a broker on its directory, and at
/// the store again. Each side shows what the other has committed, and not what it has aborted. A
/// transaction that the broker left open ends with the next opening of the store, and the markers
/// of the store do not keep the broker from ending its own later on.
#[test]
fn broker_takes_over_and_returns_transactions() {
    let Some(kafka) = kafka() else { return };
    let site = Site::new(kafka);
    let _stopped = Stopped(&site);

    let store = site.open();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    for (id, outcome) in
        [("one", Outcome::Commit), ("two", Outcome::Abort), ("one", Outcome::Abort)]
    {
        transact(&store, id, outcome);
    }
    let before = committed(&store);
    assert_eq!(before.len(), 2);
    let states_before = states(&store);
    store.close().unwrap();

    site.hand_over();
    let mut broker = site.start();
    assert_eq!(broker.ask("transactions"), states_before);
    assert_eq!(sorted(broker.ask("read-committed orders")), before);
    let mut expected = before;
    expected.extend(broker.ask("transact one orders commit"));
    broker.ask("transact two orders abort");
    expected.extend(broker.ask("transact three orders commit"));
    broker.ask("transact two orders leave");
    let expected = sorted(expected);
    assert_eq!(
        broker.ask("transactions"),
        ["one CompleteCommit", "three CompleteCommit", "two Ongoing"]
    );
    broker.stop();

    let store = site.open();
    assert_eq!(committed(&store), expected);
    assert_eq!(states(&store)[2], "two CompleteAbort");
    for log in store.topic("orders").unwrap().partitions().iter() {
        assert_eq!(log.verify().unwrap(), []);
        assert_eq!(log.offsets().last_stable, log.offsets().end);
    }
    transact(&store, "two", Outcome::Commit);
    transact(&store, "three", Outcome::Abort);
    let before = committed(&store);
    assert_eq!(before.len(), expected.len() + 2);
    store.close().unwrap();

    let mut broker = site.start();
    assert_eq!(sorted(broker.ask("read-committed orders")), before);
    let theirs = broker.ask("transact two orders commit");
    assert_eq!(sorted(broker.ask("read-committed orders")), sorted([before, theirs].concat()));
    broker.stop();
}
