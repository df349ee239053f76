//! Tests of private state: panics after a write, topics that grow and are created again.

use super::*;
use crate::client::producer::record::RecordSlices;
use crate::client::producer::sequence::SequenceState;
use crate::event::{Event, Listener};
use crate::fs::MemFs;
use crate::log::{Log, LogConfig};
use crate::record::Record;
use crate::store::config::StoreConfig;
use crate::store::{Topic, TopicConfig};
use crate::sync::atomic::AtomicU64;
use crate::types::StartAt;

/// Panics at the first `left` new segments, each after the append that has begun it.
#[derive(Debug, Default)]
struct Panicking {
    left: AtomicU64,
    seen: crate::sync::Mutex<Vec<Event>>,
}

impl Listener for Panicking {
    fn on_event(&self, event: &Event) {
        self.seen.lock().push(event.clone());
        let rolled = matches!(event, Event::SegmentRolled { .. });
        let take = |left: u64| left.checked_sub(1);
        let armed = || self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        assert!(!(rolled && armed()), "told to panic");
    }
}

fn store_with_panics(left: u64) -> (Arc<Panicking>, Store, Topic) {
    let listener = Arc::new(Panicking { left: AtomicU64::new(left), ..Panicking::default() });
    let config =
        StoreConfig::default().fs(MemFs::new()).maintenance(None).listener(listener.clone());
    let store = Store::open("data", config).unwrap();
    let log = LogConfig::default().segment_bytes(400);
    let topic = store.create_topic("orders", TopicConfig::default().log(log)).unwrap();
    (listener, store, topic)
}

fn values(log: &Log) -> Vec<String> {
    let records = log.reader(StartAt::Earliest).unwrap().records();
    records.map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
}

fn to(partition: u32, value: impl Into<String>) -> ProducerRecord {
    ProducerRecord::new("orders", value.into()).partition(partition)
}

#[test]
fn batch_is_stored_once_when_append_panics() {
    let (_, store, topic) = store_with_panics(3);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    for n in 0..40u64 {
        let sent = producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
        assert_eq!(sent.offset, Some(n));
    }
    assert_eq!(values(&log), (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(log.producers().unwrap()[0].producer_epoch, 0);
    // Without numbers it is not retried, as it may be stored.
    let (_, store, topic) = store_with_panics(1);
    let producer = store.producer(ProducerConfig::default().idempotence(false)).unwrap();
    let sent = (0..20).map(|n| producer.send(to(0, n.to_string())).unwrap().wait());
    assert_eq!(sent.filter(Result::is_err).count(), 1);
    let log = topic.partition(0).unwrap();
    assert_eq!(values(&log), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn sequence_wraps_to_zero_in_log() {
    let (_, store, topic) = store_with_panics(0);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    producer.send(to(0, "first")).unwrap();
    let inner = &producer.handle.inner;
    let entry = inner.topics.get_or_insert(&"orders".into(), &inner.context).unwrap();
    let choice =
        entry.choose(Some(0), &RecordSlices::from(&Record::default()), &inner.context).unwrap();
    let mut sequence = SequenceState::new(77);
    sequence.advance(i32::MAX as usize - 1);
    choice.queue.state.lock().sequence = sequence;
    for _ in 0..4 {
        producer.send(to(0, "x")).unwrap();
        producer.flush().unwrap();
    }
    let log = topic.partition(0).unwrap();
    let known = log.producers().unwrap();
    assert_eq!((known[0].producer_epoch, known[0].last_sequence), (0, 2));
    assert_eq!(values(&log).len(), 5);
}

#[test]
fn lost_records_reported_with_acks_none() {
    let (listener, store, topic) = store_with_panics(0);
    let config = ProducerConfig::default().acks(Acks::None).linger(Duration::from_secs(60));
    let producer = store.producer(config).unwrap();
    topic.partition(0).unwrap().close().unwrap();
    producer.send_with_callback(to(0, "x"), |_| panic!("told to panic")).unwrap();
    assert!(producer.flush().is_err());
    let seen = listener.seen.lock().clone();
    assert!(seen.iter().any(|event| matches!(event, Event::CallbackPanicked { .. })));
    assert!(seen.iter().any(|event| matches!(event, Event::RecordsLost { records: 1, .. })));
}

#[test]
fn queues_follow_partitions_of_topic() {
    let (_, store, _) = store_with_panics(0);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let inner = &producer.handle.inner;
    let entry = inner.topics.get_or_insert(&"orders".into(), &inner.context).unwrap();
    entry.look_up(&inner.context).unwrap();
    let open = |name: &str| Log::open(name, LogConfig::default().fs(MemFs::new())).unwrap();
    let logs: Vec<Log> = (0..5).map(|n| open(&format!("o-{n}"))).collect();
    let queue_of = |partition| {
        let record = Record::default();
        let choice = entry.choose(Some(partition), &RecordSlices::from(&record), &inner.context);
        choice.map(|choice| Arc::as_ptr(choice.queue))
    };
    for count in [2, 5, 3] {
        entry.set_logs(&logs[..count], &inner.context);
        for partition in 0..count {
            producer.send(to(partition as u32, "x")).unwrap().wait().unwrap();
        }
        assert!(queue_of(count as u32).is_err());
    }
    let ends: Vec<u64> = logs.iter().map(|log| log.offsets().end).collect();
    assert_eq!(ends, [3, 3, 2, 1, 1]);
    // The log of a topic that was created again gets the same queue.
    let (before, again) = (queue_of(0).unwrap(), open("again-0"));
    entry.set_logs(std::slice::from_ref(&again), &inner.context);
    producer.send(to(0, "x")).unwrap().wait().unwrap();
    assert_eq!((again.offsets().end, queue_of(0).unwrap()), (1, before));
    assert!(queue_of(1).is_err());
}

/// A deleted topic leaves neither an entry nor a queue. If a `TopicProducer` is bound to it, its
/// entry stays, so that all records for the next topic of that name are in one queue.
#[test]
fn deleted_topics_leave_no_entry() {
    let (_, store, _) = store_with_panics(0);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let inner = &producer.handle.inner;
    let bound = producer.topic("orders").unwrap();
    for n in 0..50 {
        let name = format!("churn-{n}");
        store.create_topic(&name, TopicConfig::default()).unwrap();
        producer.send((name.as_str(), "x")).unwrap().wait().unwrap();
        store.delete_topic(&name).unwrap();
        assert_eq!(inner.topics.len(), 1, "round {n}");
        producer.poll();
        assert!(inner.listed().is_empty());
    }
    store.delete_topic("orders").unwrap();
    assert!(bound.send("x").is_err());
    let again = store.create_topic("orders", TopicConfig::default()).unwrap();
    bound.send("0").unwrap();
    producer.send(to(0, "1")).unwrap();
    producer.flush().unwrap();
    assert_eq!(values(&again.partition(0).unwrap()), ["0", "1"]);
    assert_eq!(inner.topics.len(), 1);
    drop(bound);
    store.delete_topic("orders").unwrap();
    assert_eq!(inner.topics.len(), 0);
}

#[test]
fn dropped_producer_ends_thread_and_queues() {
    let (_, store, _) = store_with_panics(0);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let handle = producer.send(to(0, "x")).unwrap();
    let inner = Arc::downgrade(&producer.handle.inner);
    drop(producer);
    assert!(inner.upgrade().is_none());
    assert_eq!(handle.wait().unwrap().offset, Some(0));
}

/// A sender finds a topic, which is then deleted and created again. The sender must not use the
/// entry that it found, because the records of two entries of one topic have no common order.
#[test]
fn retired_topic_is_looked_up_again() {
    let (_, store, _) = store_with_panics(0);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let inner = &producer.handle.inner;
    let name = "orders".into();
    let mut found = 0;
    let record = Record::new("x");
    let handle: SendHandle = inner
        .topics
        .with(&name, &inner.context, |topic| {
            found += 1;
            if found == 1 {
                topic.look_up(&inner.context)?;
                store.delete_topic("orders")?;
                assert_eq!(inner.topics.len(), 0);
                store.create_topic("orders", TopicConfig::default())?;
            }
            inner.send_to(topic, Some(0), &RecordSlices::from(&record), &mut None)
        })
        .unwrap();
    assert_eq!(handle.wait().unwrap().offset, Some(0));
    assert_eq!(found, 2);
    assert_eq!(inner.topics.len(), 1);
}
