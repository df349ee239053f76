//! Callbacks and interceptors: their order, and what they may do, including a panic.

use super::scene;
use crate::{TOPIC, to};
use annals::fs::{Fault, Operation, Rule};
use annals::*;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use support::{T0, values};

/// Sends every second record elsewhere.
#[derive(Debug, Default)]
struct Detour(AtomicUsize);

impl ProducerInterceptor for Detour {
    fn on_send(&self, mut record: ProducerRecord) -> ProducerRecord {
        if self.0.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
            record.topic = "elsewhere".into();
        }
        record
    }
}

#[test]
fn interceptor_may_redirect_topic_producer() {
    let scene = scene(1);
    let elsewhere = scene.store.create_topic("elsewhere", TopicConfig::default()).unwrap();
    let config = ProducerConfig::default().interceptor(Arc::new(Detour::default()));
    let producer = scene.store.producer(config).unwrap();
    let orders = producer.topic(TOPIC).unwrap();
    let full = Record::new("0").key("k").header("h", "v").timestamp(Timestamp::from_millis(T0));
    orders.send(full.clone()).unwrap();
    orders.send("1").unwrap();
    orders.send_bytes(Some(b"k"), Some(b"2")).unwrap();
    orders.send_bytes(Some(b"k"), None).unwrap();
    producer.flush().unwrap();
    assert_eq!(scene.values(0), ["0", "2"]);
    let stored = scene.topic.partition(0).unwrap().get(0).unwrap().unwrap();
    assert_eq!((stored.key, stored.timestamp), (full.key, full.timestamp.unwrap()));
    assert_eq!(stored.headers, full.headers);
    let log = elsewhere.partition(0).unwrap();
    let found = |offset| log.get(offset).unwrap().unwrap();
    assert_eq!((found(0).value_str(), found(1).key_str()), (Some("1"), Some("k")));
    assert_eq!(found(1).value, None);
}

#[test]
fn callbacks_run_in_order() {
    let scene = scene(1);
    let producer = scene.lingering_producer();
    let told = Arc::new(Mutex::new(Vec::new()));
    for n in 0..20u64 {
        let (told, again) = (told.clone(), producer.clone());
        let callback = move |sent: Result<&RecordMetadata, &Error>| {
            assert_eq!(sent.unwrap().offset, Some(n));
            told.lock().unwrap().push(n);
            match n {
                3 => panic!("as it was told"),
                5 => {
                    let sent = again.send(to(0, "from a callback")).unwrap();
                    assert_eq!(sent.wait().unwrap().offset, Some(20));
                }
                7 => again.flush().unwrap(),
                _ => {}
            }
        };
        producer.send_with_callback(to(0, n.to_string()), callback).unwrap();
    }
    producer.flush().unwrap();
    assert!(told.lock().unwrap().iter().copied().eq(0..20));
    producer.send(to(0, "still")).unwrap().wait().unwrap();
    // The callback of a failed record gets the error; a record that `send` rejected has no
    // callback.
    scene.fs.add_rule(Rule::new(Operation::Write, Fault::Error(io::ErrorKind::Other)).nth(1));
    let (tell, heard) = channel();
    let first = tell.clone();
    producer
        .send_with_callback(to(0, "x"), move |sent| first.send(sent.unwrap_err().kind()).unwrap())
        .unwrap();
    producer.flush().unwrap_err();
    assert_eq!(heard.recv().unwrap(), ErrorKind::Io);
    producer
        .send_with_callback(to(9, "x"), move |_| tell.send(ErrorKind::Busy).unwrap())
        .unwrap_err();
    assert!(heard.recv().is_err());
}

#[test]
fn callback_may_drop_the_producer() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let topic = store.create_topic(TOPIC, TopicConfig::default()).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let (tell, told) = channel();
    let own = producer.clone();
    producer
        .send_with_callback(to(0, "a"), move |_| {
            own.send(to(0, "b")).unwrap();
            drop(own);
            tell.send(()).unwrap();
        })
        .unwrap();
    drop(producer);
    told.recv().unwrap();
    assert_eq!(values(&topic.partition(0).unwrap()), ["a", "b"]);
}

#[derive(Default)]
struct Counting {
    sent: AtomicUsize,
    failed: AtomicUsize,
    panics: bool,
}

impl ProducerInterceptor for Counting {
    fn on_send(&self, mut record: ProducerRecord) -> ProducerRecord {
        assert!(!self.panics, "as it was told");
        record.record = record.record.header("seen", "yes");
        record
    }

    fn on_acknowledgement(&self, metadata: &RecordMetadata, error: Option<&Error>) {
        assert_eq!(metadata.offset.is_none(), error.is_some());
        let counter = if error.is_some() { &self.failed } else { &self.sent };
        counter.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "as it was told");
    }
}

#[test]
fn interceptors_see_records_and_may_panic() {
    let scene = scene(1);
    let good = Arc::new(Counting::default());
    let bad = Arc::new(Counting { panics: true, ..Counting::default() });
    let config = ProducerConfig::default().interceptor(bad.clone()).interceptor(good.clone());
    let producer = scene.store.producer(config).unwrap();
    let called = Arc::new(AtomicUsize::new(0));
    for n in 0..10 {
        let called = called.clone();
        producer
            .send_with_callback(to(0, n.to_string()), move |_| {
                called.fetch_add(1, Ordering::SeqCst);
            })
            .unwrap();
    }
    producer.flush().unwrap();
    scene.fs.add_rule(Rule::new(Operation::Write, Fault::Error(io::ErrorKind::Other)).nth(1));
    producer.send(to(0, "x")).unwrap();
    producer.flush().unwrap_err();
    for seen in [&good, &bad] {
        assert_eq!(seen.sent.load(Ordering::SeqCst), 10);
        assert_eq!(seen.failed.load(Ordering::SeqCst), 1);
    }
    assert_eq!(called.load(Ordering::SeqCst), 10);
    let stored = scene.topic.partition(0).unwrap().get(9).unwrap().unwrap();
    assert_eq!(stored.headers.len(), 1);
}
