//! Consumers among transactions: what they read, where they stand, and where they begin while a
//! transaction is about to commit offsets of their group.

use crate::{NOW, at, earliest};
use annals::fs::MemFs;
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    Consumer, ConsumerConfig, ConsumerInterceptor, ConsumerRecords, Error, ErrorKind, GroupError,
    IsolationLevel, Log, Offset, Outcome, ProducerIdentity, ProducerStateError, Store, StoreConfig,
    Timestamp, TopicConfig, TopicPartition, TransactionVersion::V2, Transactions, Wait,
};
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const WAIT: Wait = Wait::UpTo(MINUTE);

fn store() -> Store {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    store
}

fn committed(group: &str) -> ConsumerConfig {
    earliest(group).isolation_level(IsolationLevel::ReadCommitted).enable_auto_commit(false)
}

fn assigned(store: &Store, config: ConsumerConfig, partitions: u32) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign((0..partitions).map(|partition| at("orders", partition))).unwrap();
    consumer
}

/// A producer with a transactional id, which makes the calls of its transactions itself.
struct Sender {
    store: Store,
    transactions: Transactions,
    who: ProducerIdentity,
    sequences: BTreeMap<u32, i32>,
}

impl Sender {
    fn new(store: &Store) -> Sender {
        Sender::with_timeout(store, MINUTE)
    }

    fn with_timeout(store: &Store, timeout: Duration) -> Sender {
        let transactions = store.transactions().unwrap();
        let who = transactions.init_producer_id("billing", timeout, None, WAIT).unwrap();
        Sender { store: store.clone(), transactions, who, sequences: BTreeMap::new() }
    }

    fn send(&mut self, partition: u32, values: &[&str]) {
        let log = self.store.topic("orders").unwrap().partition(partition).unwrap();
        let sequence = self.sequences.entry(partition).or_default();
        let guard = log.begin_verification(self.who, *sequence, V2).unwrap();
        let added = [at("orders", partition)];
        self.transactions.add_partitions("billing", self.who, &added, V2, WAIT).unwrap();
        let mut batch = BatchBuilder::new();
        batch.producer(self.who.id, self.who.epoch, *sequence).transactional(true);
        for value in values {
            batch.push(Timestamp::from_millis(1), None, Some(value.as_bytes())).unwrap();
        }
        *sequence += values.len() as i32;
        log.append_verified(batch.build().unwrap(), guard).unwrap();
    }

    fn commit_offset(&self, group: &Consumer, partition: u32, offset: Offset) {
        let offsets = BTreeMap::from([(at("orders", partition), offset.into())]);
        self.commit_offsets(group, &offsets).unwrap();
    }

    fn commit_offsets(
        &self,
        group: &Consumer,
        offsets: &BTreeMap<TopicPartition, annals::OffsetAndMetadata>,
    ) -> annals::Result<()> {
        let group = group.group_metadata()?;
        self.transactions.commit_offsets("billing", self.who, &group, offsets, V2, WAIT)
    }

    fn end(&mut self, outcome: Outcome) {
        let ended = self.transactions.end("billing", self.who, outcome, V2, false, WAIT);
        (self.who, self.sequences) = (ended.unwrap(), BTreeMap::new());
    }
}

fn values(records: &ConsumerRecords) -> Vec<&str> {
    records.iter().map(|record| record.value_str().unwrap()).collect()
}

fn is_unstable<T>(result: annals::Result<T>, partition: u32) -> bool {
    let topic = "orders".to_owned();
    let unstable = GroupError::UnstableOffsetCommit { topic, partition };
    let error = result.err().unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Busy, true));
    matches!(error, Error::Group(error) if *error == unstable)
}

/// The marker must reach the group, not only the log that it is stored in.
#[test]
fn commit_shows_offsets_at_once() {
    let fs = MemFs::new();
    let open = |fs| Store::open("data", StoreConfig::default().fs(fs).maintenance(None)).unwrap();
    let store = open(fs.clone());
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    let consumer = store.consumer(committed("g")).unwrap();
    let mut sender = Sender::new(&store);
    let mut last = None;
    for (offset, outcome) in [(5, Outcome::Commit), (7, Outcome::Abort), (9, Outcome::Commit)] {
        sender.commit_offset(&consumer, 0, offset);
        assert!(is_unstable(consumer.committed(&at("orders", 0)), 0));
        // An administrator sees what counts now.
        let described = store.admin().describe_group("g").unwrap();
        let found = described.offsets.get(&at("orders", 0)).map(|found| found.committed.offset);
        assert_eq!(found, last);
        sender.end(outcome);
        last = if outcome == Outcome::Commit { Some(offset) } else { last };
        let found = consumer.committed(&at("orders", 0)).unwrap();
        assert_eq!(found.map(|found| found.offset), last);
    }
    sender.commit_offset(&consumer, 1, 3);
    // The process ends, and with it the transaction.
    let store = open(fs.kill());
    let consumer = store.consumer(committed("g")).unwrap();
    assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), Some(9.into()));
    assert_eq!(consumer.committed(&at("orders", 1)).unwrap(), None);
}

/// The log would have the marker, and the group not: its offsets would stay pending.
#[test]
fn marker_that_bypasses_group_is_refused() {
    let store = store();
    let consumer = store.consumer(committed("g")).unwrap();
    let mut sender = Sender::new(&store);
    sender.commit_offset(&consumer, 0, 5);
    let topic = store.topic("__consumer_offsets").unwrap();
    let pending = |log: &&Log| log.offsets().last_stable < log.offsets().end;
    let log = topic.partitions().iter().find(pending).unwrap().clone();
    let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    let next = ProducerIdentity { epoch: sender.who.epoch + 1, ..sender.who };
    let producer_id = sender.who.id;
    for refused in [log.abort_transaction(producer_id), log.append_marker(next, marker, V2)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let bypasses = ProducerStateError::BypassesGroups { producer_id };
        assert!(matches!(error, Error::Producer(error) if error == bypasses));
    }
    assert!(is_unstable(consumer.committed(&at("orders", 0)), 0));
    sender.end(Outcome::Commit);
    assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), Some(5.into()));
}

/// No thread of a maintainer ends the transaction, and no call: the producer is gone. It begins
/// before the poll waits, or meanwhile.
#[test]
fn waiting_poll_ends_expired_transaction() {
    let poll = |begins_first: bool| {
        let store = store();
        let log = store.topic("orders").unwrap().partition(0).unwrap();
        let begin = || {
            Sender::with_timeout(&store, Duration::from_secs(1)).send(0, &["lost"]);
            log.append("after").unwrap();
        };
        let mut consumer = assigned(&store, committed("g"), 1);
        if begins_first {
            begin();
        }
        thread::scope(|scope| {
            let polled = scope.spawn(|| consumer.poll(MINUTE).unwrap());
            if !begins_first {
                begin();
            }
            let records = polled.join().unwrap();
            let values: Vec<_> = records.iter().map(|r| r.value_str().unwrap()).collect();
            assert_eq!(values, ["after"]);
        });
    };
    thread::scope(|scope| {
        scope.spawn(|| poll(true));
        poll(false);
    });
}

/// Each commit is a batch that begins at sequence number 0.
#[test]
fn two_commits_in_one_transaction_both_count() {
    let store = store();
    let consumer = store.consumer(committed("g")).unwrap();
    let mut sender = Sender::new(&store);
    sender.commit_offset(&consumer, 0, 5);
    sender.commit_offset(&consumer, 1, 6);
    sender.commit_offset(&consumer, 0, 7);
    sender.end(Outcome::Commit);
    assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), Some(7.into()));
    assert_eq!(consumer.committed(&at("orders", 1)).unwrap(), Some(6.into()));
}

/// A member that was left behind by its group would overwrite what the next owner commits.
#[test]
fn outdated_member_commits_nothing() {
    let store = store();
    let mut left = store.consumer(committed("g")).unwrap();
    left.subscribe(["orders"]).unwrap();
    left.poll(NOW).unwrap();
    let (mut sender, offsets) =
        (Sender::new(&store), BTreeMap::from([(at("orders", 0), 5.into())]));
    sender.commit_offsets(&left, &offsets).unwrap();
    sender.end(Outcome::Commit);

    let outdated = left.group_metadata().unwrap();
    let mut other = store.consumer(committed("g")).unwrap();
    other.subscribe(["orders"]).unwrap();
    for _ in 0..3 {
        other.poll(NOW).unwrap();
        left.poll(NOW).unwrap();
    }
    let (who, transactions) = (sender.who, &sender.transactions);
    let refused = transactions.commit_offsets("billing", who, &outdated, &offsets, V2, WAIT);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Rebalancing);
    let gone = BTreeMap::from([(at("gone", 0), 5.into())]);
    assert_eq!(sender.commit_offsets(&other, &gone).unwrap_err().kind(), ErrorKind::NotFound);
    sender.end(Outcome::Abort);
    assert_eq!(other.committed(&at("orders", 0)).unwrap(), Some(5.into()));
}

/// The offsets would apply to the next group or topic of that name.
#[test]
fn deletion_drops_pending_offsets() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let store = store();
        let consumer = store.consumer(committed("g")).unwrap();
        let other = store.consumer(committed("h")).unwrap();
        let mut sender = Sender::new(&store);
        sender.commit_offset(&consumer, 0, 5);
        sender.commit_offset(&other, 0, 5);
        store.admin().delete_group("g").unwrap();
        assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), None);
        store.delete_topic("orders").unwrap();
        store.create_topic("orders", TopicConfig::default()).unwrap();
        sender.end(outcome);
        for consumer in [&consumer, &other] {
            assert_eq!(consumer.committed(&at("orders", 0)).unwrap(), None);
        }
    }
}

/// A consumer that begins at the present offset reads what the transaction has processed.
#[test]
fn consumer_waits_for_stable_offset() {
    for level in [IsolationLevel::ReadUncommitted, IsolationLevel::ReadCommitted] {
        let store = store();
        let orders = store.topic("orders").unwrap();
        orders.partition(0).unwrap().append_all(["a", "b"].map(Into::into)).unwrap();
        orders.partition(1).unwrap().append("c").unwrap();
        let config = earliest("g").enable_auto_commit(false).isolation_level(level);
        let mut consumer = assigned(&store, config, 2);
        let mut sender = Sender::new(&store);
        sender.commit_offset(&consumer, 0, 1);

        assert_eq!(values(&consumer.poll(NOW).unwrap()), ["c"]);
        assert!(consumer.poll(NOW).unwrap().is_empty());
        assert!(is_unstable(consumer.position(&at("orders", 0)), 0));
        assert_eq!(consumer.position(&at("orders", 1)).unwrap(), 1);
        // Another commit in the same partition of the topic decides nothing.
        consumer.commit().unwrap();
        assert!(consumer.poll(NOW).unwrap().is_empty());
        thread::scope(|scope| {
            let poll = scope.spawn(|| consumer.poll(Duration::MAX).unwrap());
            sender.end(Outcome::Commit);
            assert_eq!(values(&poll.join().unwrap()), ["b"]);
        });

        // The program can decide where to begin.
        let mut other = assigned(&store, earliest("g").isolation_level(level), 2);
        sender.commit_offset(&other, 0, 2);
        assert!(other.poll(NOW).unwrap().is_empty());
        other.seek(&at("orders", 0), 0).unwrap();
        assert_eq!(values(&other.poll(NOW).unwrap()), ["a", "b"]);
        sender.end(Outcome::Abort);
    }
}

#[test]
fn marker_wakes_waiting_poll() {
    let store = store();
    let mut consumer = assigned(&store, committed("g"), 2);
    let mut sender = Sender::new(&store);
    for (outcome, sees) in [(Outcome::Commit, "first"), (Outcome::Abort, "plain")] {
        sender.send(0, &["first"]);
        assert!(consumer.poll(NOW).unwrap().is_empty());
        store.topic("orders").unwrap().partition(0).unwrap().append("plain").unwrap();
        assert!(consumer.poll(NOW).unwrap().is_empty());
        thread::scope(|scope| {
            let poll = scope.spawn(|| consumer.poll(Duration::MAX).unwrap());
            sender.end(outcome);
            assert_eq!(values(&poll.join().unwrap())[0], sees);
        });
        consumer.seek_to_end([]).unwrap();
    }
}

/// A marker has an offset and no record. A position that stays before it shows a lag for ever.
#[test]
fn position_passes_markers() {
    let store = store();
    let mut consumer = assigned(&store, committed("g"), 1);
    let mut sender = Sender::new(&store);
    sender.send(0, &["a", "b"]);
    sender.end(Outcome::Commit);
    sender.send(0, &["c"]);
    sender.end(Outcome::Abort);
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(values(&records), ["a", "b"]);
    assert_eq!(consumer.position(&at("orders", 0)).unwrap(), 5);
    assert_eq!(records.next_offsets(), BTreeMap::from([(at("orders", 0), 5.into())]));

    // With nothing else to read, a poll passes markers all the same.
    sender.send(0, &["d"]);
    sender.end(Outcome::Abort);
    let records = consumer.poll(NOW).unwrap();
    assert!(records.is_empty());
    assert_eq!(records.next_offsets(), BTreeMap::from([(at("orders", 0), 7.into())]));
    assert_eq!(consumer.poll(NOW).unwrap().next_offsets(), BTreeMap::new());
}

/// The loop of a program that reads, processes and commits in one transaction.
#[test]
fn lag_of_committed_is_zero() {
    let store = store();
    let mut consumer = assigned(&store, committed("g"), 2);
    let mut sender = Sender::new(&store);
    for round in 0..4 {
        sender.send(0, &["a", "b"]);
        sender.send(1, &["c"]);
        sender.end(if round % 2 == 0 { Outcome::Commit } else { Outcome::Abort });
        let records = consumer.poll(NOW).unwrap();
        assert_eq!(records.len(), if round % 2 == 0 { 3 } else { 0 });
        sender.commit_offsets(&consumer, &records.next_offsets()).unwrap();
        sender.end(Outcome::Commit);
        let offsets = store.admin().describe_group("g").unwrap().offsets;
        for partition in 0..2 {
            let at = at("orders", partition);
            assert_eq!(consumer.lag(&at).unwrap(), 0);
            assert_eq!(offsets[&at].lag, Some(0), "{at:?} in round {round}");
        }
    }
    // An open transaction is no lag: there is nothing to read.
    sender.send(0, &["d"]);
    assert_eq!(consumer.lag(&at("orders", 0)).unwrap(), 0);
}

/// Records that a poll has not returned are not processed.
#[test]
fn next_offsets_end_behind_returned_records() {
    #[derive(Debug)]
    struct OnlyFirst;
    impl ConsumerInterceptor for OnlyFirst {
        fn on_consume(&self, records: ConsumerRecords) -> ConsumerRecords {
            records.into_iter().take(1).collect()
        }
    }
    let store = store();
    let orders = store.topic("orders").unwrap().partition(0).unwrap();
    orders.append("before any epoch").unwrap();
    orders.set_leader_epoch(3).unwrap();
    orders.append_all(["a", "b", "c"].map(Into::into)).unwrap();
    let next = |records: &ConsumerRecords| {
        let next = records.next_offsets().remove(&at("orders", 0)).unwrap();
        (next.offset, next.leader_epoch)
    };
    let mut consumer = assigned(&store, committed("g").max_poll_records(1), 2);
    for expected in [(1, None), (2, Some(3)), (3, Some(3)), (4, Some(3))] {
        assert_eq!(next(&consumer.poll(NOW).unwrap()), expected);
    }
    // What an interceptor drops was returned by the poll, and is not returned again.
    let mut consumer = assigned(&store, committed("g").interceptor(OnlyFirst), 2);
    let records = consumer.poll(NOW).unwrap();
    assert_eq!((records.len(), next(&records)), (1, (4, Some(3))));
    consumer.seek(&at("orders", 0), 2).unwrap();
    let records = consumer.poll(NOW).unwrap();
    assert_eq!(next(&records), (4, Some(3)));
    let collected: ConsumerRecords = records.into_iter().collect();
    assert_eq!(next(&collected), (3, None));
}
