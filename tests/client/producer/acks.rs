//! When a sender learns the outcome, and which: each level of acknowledgement, failed syncs, and
//! the end of a producer.

use super::{numbers, produce_error, scene};
use crate::{HOUR, TOPIC, to};
use annals::fs::{CrashState, Fault, Operation, Rule};
use annals::*;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::values;

#[test]
fn acknowledged_records_survive_per_acks() {
    for (acks, power) in [(Acks::Written, false), (Acks::Flushed, true)] {
        let scene = scene(1);
        let producer = scene.store.producer(ProducerConfig::default().acks(acks)).unwrap();
        for n in 0..5 {
            producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
            let disk =
                if power { scene.disk.crash(CrashState::SyncedOnly) } else { scene.disk.kill() };
            let log = Log::open_read_only(format!("data/{TOPIC}-0"), LogConfig::default().fs(disk));
            assert_eq!(values(&log.unwrap()), numbers(0..n + 1));
        }
    }
}

#[test]
fn records_sent_together_share_sync() {
    let scene = scene(1);
    let config = ProducerConfig::default()
        .acks(Acks::Flushed)
        .batch_bytes(200)
        .linger(HOUR)
        .delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    producer.send(to(0, "first")).unwrap().wait().unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    let handles: Vec<_> = (0..50).map(|n| producer.send(to(0, n.to_string())).unwrap()).collect();
    scene.fs.remove_rule(full);
    let before = scene.fs.count(Operation::SyncData);
    scene.clock.advance(Duration::from_secs(1));
    producer.flush().unwrap();
    assert!(handles.iter().all(SendHandle::is_done));
    assert!(scene.batches(0).len() > 5);
    assert_eq!(scene.fs.count(Operation::SyncData) - before, 1);
}

#[test]
fn failed_sync_fails_one_partition() {
    let scene = scene(2);
    let producer = scene.store.producer(ProducerConfig::default().acks(Acks::Flushed)).unwrap();
    let rule = Rule::new(Operation::SyncData, Fault::Error(io::ErrorKind::Other));
    scene.fs.add_rule(rule.path("orders-0"));
    assert_eq!(producer.send(to(0, "a")).unwrap().wait().unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(producer.send(to(0, "b")).unwrap().wait().unwrap_err().kind(), ErrorKind::Poisoned);
    producer.send(to(1, "c")).unwrap().wait().unwrap();
    producer.send(to(0, "d")).unwrap();
    assert_eq!(producer.flush().unwrap_err().kind(), ErrorKind::Poisoned);
}

/// A waker that panics belongs to one task. Others that wait for the same batch are woken.
#[test]
fn panicking_waker_leaves_others_awake() {
    struct Boom;
    impl Wake for Boom {
        fn wake(self: Arc<Self>) {
            panic!("as it was told");
        }
    }
    struct Tell(std::sync::mpsc::Sender<()>);
    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }
    let scene = scene(1);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    let mut handles = [0, 1].map(|n| producer.send(to(0, n.to_string())).unwrap());
    let (tell, told) = channel();
    let wakers = [Waker::from(Arc::new(Boom)), Waker::from(Arc::new(Tell(tell)))];
    for (handle, waker) in handles.iter_mut().zip(&wakers) {
        assert!(Pin::new(handle).poll(&mut Context::from_waker(waker)).is_pending());
    }
    scene.fs.remove_rule(full);
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(handles.iter().all(SendHandle::is_done));
}

#[test]
fn acks_none_returns_without_waiting() {
    let scene = scene(1);
    let config = ProducerConfig::default().acks(Acks::None).linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let (tell, told) = channel();
    let handle = producer
        .send_with_callback(to(0, "a"), move |sent| tell.send(sent.unwrap().offset).unwrap())
        .unwrap();
    assert_eq!(told.recv().unwrap(), None);
    assert!(handle.is_done());
    assert_eq!(handle.wait().unwrap().offset, None);
    assert_eq!(scene.values(0), numbers(0..0));
    producer.flush().unwrap();
    assert_eq!(scene.values(0), ["a"]);
    scene.fail_writes(io::ErrorKind::Other);
    let lost = producer.send(to(0, "b")).unwrap();
    producer.flush().unwrap_err();
    assert_eq!(lost.wait().unwrap().offset, None);
    assert_eq!(producer.stats().errors, 1);
}

#[test]
fn close_writes_pending_records() {
    let scene = scene(1);
    let producer = scene.lingering_producer();
    let (other, clone) = (producer.clone(), producer.clone());
    let handle = producer.send(to(0, "0")).unwrap();
    producer.close().unwrap();
    assert_eq!(handle.wait().unwrap().offset, Some(0));
    assert!(matches!(produce_error(other.send(to(0, "x"))), ProduceError::Closed));
    assert!(matches!(produce_error(other.close()), ProduceError::Closed));
    drop(clone);

    let dropped = scene.lingering_producer();
    let handle = dropped.send(to(0, "1")).unwrap();
    drop(dropped);
    assert_eq!(handle.wait().unwrap().offset, Some(1));

    scene.fail_writes(io::ErrorKind::StorageFull);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    let (tell, told) = channel();
    let handle = producer
        .send_with_callback(to(0, "x"), move |sent| tell.send(sent.unwrap_err().kind()).unwrap())
        .unwrap();
    let late = producer.close_timeout(Duration::from_millis(1));
    assert!(matches!(produce_error(late), ProduceError::Aborted));
    assert!(matches!(produce_error(handle.wait()), ProduceError::Aborted));
    assert_eq!(told.recv().unwrap(), ErrorKind::Closed);
    let dropped = scene.store.producer(ProducerConfig::default()).unwrap();
    let handle = dropped.send(to(0, "x")).unwrap();
    drop(dropped);
    assert!(matches!(produce_error(handle.wait()), ProduceError::Aborted));
}
