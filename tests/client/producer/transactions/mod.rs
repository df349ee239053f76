//! Transactions of a producer: what readers of committed records see, and what each call says.

mod error_kinds;
mod failures;
mod fencing;
mod misuse;
mod offsets;
mod race;
mod reentrance;

use super::{Scene, scene};
use crate::{HOUR, NOW, TOPIC, earliest, to};
use annals::fs::CrashState;
use annals::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::mpsc::channel;

const ID: &str = "shop-1";

fn transactional() -> ProducerConfig {
    ProducerConfig::default().transactional_id(ID).linger(HOUR).delivery_timeout(HOUR)
}

impl Scene {
    fn transactional(&self) -> Producer {
        let producer = self.store.producer(transactional()).unwrap();
        producer.init_transactions().unwrap();
        producer
    }

    /// The committed records of a partition.
    fn committed(&self, partition: u32) -> Vec<String> {
        committed(&self.topic.partition(partition).unwrap())
    }

    fn offsets(&self, partition: u32) -> Offsets {
        self.topic.partition(partition).unwrap().offsets()
    }

    /// The number of records about transactions that the store has written.
    fn decisions(&self) -> u64 {
        let topic = self.store.topic("__transaction_state").unwrap();
        topic.partitions().iter().map(|log| log.offsets().end).sum()
    }
}

fn committed(log: &Log) -> Vec<String> {
    let reader = log.isolated(IsolationLevel::ReadCommitted).reader(StartAt::Earliest).unwrap();
    reader.records().map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
}

/// The variant of a transaction's error, and its message.
fn rejected<T: std::fmt::Debug>(result: Result<T>) -> (TransactionError, String) {
    let error = result.unwrap_err();
    let text = error.to_string();
    match error {
        Error::Transaction(error) => (*error, text),
        Error::Produce(error) => match *error {
            ProduceError::Batch(cause) => match &*cause {
                Error::Transaction(error) => ((**error).clone(), text),
                other => panic!("{other}"),
            },
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[test]
fn second_transaction_begins_at_zero() {
    let scene = scene(1);
    let producer = scene.transactional();
    for sent in [["a", "b"], ["c", "d"]] {
        producer.begin_transaction().unwrap();
        for value in sent {
            producer.send(to(0, value)).unwrap();
            producer.flush().unwrap();
        }
        producer.commit_transaction().unwrap();
    }
    let log = scene.topic.partition(0).unwrap();
    let mut reader = log.reader(StartAt::Earliest).unwrap();
    let mut found = Vec::new();
    while let Some(batch) = reader.next_batch().unwrap() {
        let header = batch.header();
        assert!(header.is_transactional());
        found.push((header.is_control(), header.producer_epoch, header.base_sequence));
    }
    // A marker has the epoch of the next transaction.
    let expected =
        [(false, 0, 0), (false, 0, 1), (true, 1, -1), (false, 1, 0), (false, 1, 1), (true, 2, -1)];
    assert_eq!(found, expected);
}

#[test]
fn read_after_commit_sees_all() {
    let scene = scene(4);
    let producer = scene.transactional();
    let mut expected = vec![Vec::new(); 4];
    for n in 0..20u32 {
        producer.begin_transaction().unwrap();
        for partition in 0..4 {
            producer.send(to(partition, n.to_string())).unwrap();
            expected[partition as usize].push(n.to_string());
        }
        producer.commit_transaction().unwrap();
        for partition in 0..4 {
            let offsets = scene.offsets(partition);
            assert_eq!(offsets.last_stable, offsets.end);
        }
    }
    let found: Vec<_> = (0..4).map(|partition| scene.committed(partition)).collect();
    assert_eq!(found, expected);
}

#[test]
fn consumer_sees_all_or_nothing() {
    let scene = scene(2);
    let producer = scene.transactional();
    let config = earliest("readers").isolation_level(IsolationLevel::ReadCommitted);
    let mut consumer = scene.store.consumer(config).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    let mut seen = || {
        let mut seen: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        loop {
            let records = consumer.poll(NOW).unwrap();
            if records.is_empty() {
                return seen;
            }
            for record in &records {
                let value = record.value_str().unwrap().to_owned();
                seen.entry(record.partition).or_default().push(value);
            }
        }
    };
    seen();
    let send = |value: &str| {
        producer.begin_transaction().unwrap();
        for partition in [0, 1] {
            producer.send(to(partition, value)).unwrap();
        }
        producer.flush().unwrap();
    };
    send("aborted");
    assert!(seen().is_empty());
    producer.abort_transaction().unwrap();
    assert!(seen().is_empty());
    send("committed");
    assert!(seen().is_empty());
    producer.commit_transaction().unwrap();
    let one = || vec!["committed".to_owned()];
    assert_eq!(seen(), BTreeMap::from([(0, one()), (1, one())]));
}

/// The partitions of a transaction that are written at its end are stored with one record.
#[test]
fn commit_adds_partitions_at_once() {
    let scene = scene(4);
    let producer = scene.transactional();
    let before = scene.decisions();
    producer.begin_transaction().unwrap();
    for partition in 0..4 {
        producer.send(to(partition, "paid")).unwrap();
    }
    producer.commit_transaction().unwrap();
    // Ongoing, PrepareCommit, CompleteCommit.
    assert_eq!(scene.decisions() - before, 3);
}

#[test]
fn empty_transaction_stores_nothing() {
    let scene = scene(1);
    let producer = scene.transactional();
    let before = scene.decisions();
    producer.begin_transaction().unwrap();
    producer.commit_transaction().unwrap();
    producer.begin_transaction().unwrap();
    producer.send(to(0, "dropped")).unwrap();
    producer.abort_transaction().unwrap();
    assert_eq!((scene.decisions(), scene.offsets(0).end), (before, 0));
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

#[test]
fn threads_share_transaction() {
    let scene = scene(4);
    let producer = scene.store.producer(transactional().batch_bytes(200)).unwrap();
    producer
        .transaction(|tx| {
            std::thread::scope(|scope| {
                let send = |thread: u32| {
                    (0..100).try_for_each(|n| tx.send(to((thread + n) % 4, "paid")).map(drop))
                };
                let threads = [0, 1].map(|thread| scope.spawn(move || send(thread)));
                threads.into_iter().try_for_each(|thread| thread.join().unwrap())
            })
        })
        .unwrap();
    let stored: usize = (0..4).map(|partition| scene.committed(partition).len()).sum();
    assert_eq!(stored, 200);
}

/// A thread that still sends when another one commits is told; none of its records is lost in
/// between, or gets into the next transaction.
#[test]
fn records_race_with_commit() {
    let scene = scene(2);
    let producer = scene.store.producer(transactional().batch_bytes(300)).unwrap();
    let accepted = Mutex::new(0usize);
    producer.init_transactions().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            producer.begin_transaction().unwrap();
            let sender = scope.spawn(|| {
                for n in 0..200u32 {
                    match producer.send(to(n % 2, "paid")) {
                        Ok(_) => *accepted.lock().unwrap() += 1,
                        Err(error) => {
                            let (error, _) = rejected::<()>(Err(error));
                            assert!(matches!(error, TransactionError::NoTransaction { .. }));
                            return;
                        }
                    }
                }
            });
            producer.commit_transaction().unwrap();
            sender.join().unwrap();
        }
    });
    let stored: usize = (0..2).map(|partition| scene.committed(partition).len()).sum();
    assert_eq!(stored, accepted.into_inner().unwrap());
}

#[test]
fn error_aborts_transaction() {
    let scene = scene(1);
    let producer = scene.transactional();
    let failed: Result<(), String> = producer
        .transaction(|tx| -> Result<(), Failed> {
            tx.send(to(0, "never seen"))?;
            tx.producer().flush()?;
            Err(Failed("no money".to_owned()))
        })
        .map_err(|Failed(reason)| reason);
    assert_eq!(failed, Err("no money".to_owned()));
    assert_eq!(scene.offsets(0).last_stable, 2);
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

/// An error of a program.
struct Failed(String);

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed(error.to_string())
    }
}

#[test]
fn panic_aborts_transaction() {
    let scene = scene(1);
    let producer = scene.transactional();
    let work = || {
        producer.transaction(|tx| -> Result<()> {
            tx.send(to(0, "never seen"))?;
            tx.producer().flush()?;
            panic!("in the middle of a transaction");
        })
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_err();
    assert_eq!((scene.offsets(0).last_stable, scene.offsets(0).end), (2, 2));
    producer.transaction(|tx| tx.send(to(0, "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
}

#[test]
fn dropped_records_are_told() {
    let scene = scene(1);
    let producer = scene.transactional();
    producer.begin_transaction().unwrap();
    let (tell, told) = channel();
    let handle = producer
        .send_with_callback(to(0, "dropped"), move |sent| {
            tell.send(sent.unwrap_err().to_string()).unwrap();
        })
        .unwrap();
    producer.abort_transaction().unwrap();
    let error = handle.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Abortable);
    assert_eq!(
        error.to_string(),
        "the record was not written, because its transaction is aborted; begin another one, and \
         send the record again"
    );
    assert_eq!(told.recv().unwrap(), error.to_string());
}

#[test]
fn open_transaction_ends_with_producer() {
    for close in [true, false] {
        let scene = scene(1);
        let producer = scene.transactional();
        producer.begin_transaction().unwrap();
        producer.send(to(0, "written")).unwrap();
        producer.flush().unwrap();
        let handle = producer.send(to(0, "not written")).unwrap();
        if close {
            producer.close().unwrap()
        } else {
            drop(producer)
        }
        assert!(handle.wait().is_err());
        assert_eq!((scene.offsets(0).last_stable, scene.offsets(0).end), (2, 2));
        assert!(scene.committed(0).is_empty());
    }
}

#[test]
fn typed_records_join_transaction() {
    let scene = scene(1);
    let producer = scene.transactional();
    let typed: TypedProducer<str, str> = producer.typed();
    producer.transaction(|_| typed.send((TOPIC, "order-7", "paid"))).unwrap();
    assert_eq!(scene.committed(0), ["paid"]);
    typed.send((TOPIC, "order-7", "paid")).unwrap_err();
}

#[test]
fn flushed_transaction_survives_power_loss() {
    let scene = scene(2);
    let producer = scene.store.producer(transactional().acks(Acks::Flushed)).unwrap();
    producer
        .transaction(|tx| {
            tx.send(to(0, "ada -5"))?;
            tx.send(to(1, "bob +5"))
        })
        .unwrap();
    let config =
        StoreConfig::default().fs(scene.disk.crash(CrashState::SyncedOnly)).maintenance(None);
    let store = Store::open("data", config).unwrap();
    let found = store.topic(TOPIC).unwrap().partitions();
    let found: Vec<_> = found.iter().map(committed).collect();
    assert_eq!(found, [["ada -5"], ["bob +5"]]);
    for log in store.topic(TOPIC).unwrap().partitions().iter() {
        assert_eq!(log.offsets().last_stable, log.offsets().end);
    }
}
