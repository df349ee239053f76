//! Writes that fail: what is retried and when, what blocks meanwhile, and what is given up.

use super::{numbers, produce_error, scene};
use crate::{HOUR, to};
use annals::fs::{Fault, Operation, Rule};
use annals::*;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn send_blocks_while_buffer_full() {
    let scene = scene(1);
    let config =
        ProducerConfig::default().batch_bytes(100).buffer_bytes(300).linger(Duration::ZERO);
    let impatient = scene.store.producer(config.clone().max_block(Duration::ZERO)).unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    for n in 0..3 {
        impatient.send(to(0, n.to_string())).unwrap();
    }
    let rejected = impatient.send(to(0, "not sent")).unwrap_err();
    assert!(rejected.is_retryable(), "{rejected}");
    // A larger buffer would be full, too.
    let told = rejected.to_string();
    assert!(told.contains("because writes fail (") && !told.contains("raise"), "{told}");
    let ProduceError::BufferFull { cause: Some(cause), buffer_bytes: 300, .. } =
        produce_error(Err::<(), _>(rejected))
    else {
        panic!()
    };
    assert_eq!(cause.kind(), ErrorKind::StorageFull);

    let patient = scene.store.producer(config).unwrap();
    for n in 3..6 {
        patient.send(to(0, n.to_string())).unwrap();
    }
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| patient.send(to(0, "6")).unwrap());
        while patient.stats().retries == 0 {
            scene.clock.advance(Duration::from_millis(100));
            patient.poll();
        }
        scene.fs.remove_rule(full);
        scene.clock.advance(Duration::from_secs(1));
        impatient.poll();
        patient.poll();
        blocked.join().unwrap().wait().unwrap();
    });
    // The records of each producer are in order; the producers may alternate.
    let (first, second): (Vec<_>, Vec<_>) =
        scene.values(0).into_iter().partition(|value| numbers(0..3).contains(value));
    assert_eq!((first, second), (numbers(0..3), numbers(3..7)));
}

#[test]
fn full_disk_loses_no_sent_record() {
    let scene = scene(1);
    let config = ProducerConfig::default().batch_bytes(2000).linger(Duration::ZERO);
    let producer = scene.store.producer(config).unwrap();
    let value = |n: u32| format!("{n:0100}");
    scene.disk.set_capacity(scene.disk.used_bytes() + 8192);
    let mut handles: Vec<SendHandle> = Vec::new();
    for n in 0..300 {
        handles.push(producer.send(to(0, value(n))).unwrap());
    }
    let done = handles.iter().filter(|handle| handle.is_done()).count();
    assert!(0 < done && done < 300, "{done}");
    assert_eq!(handles[done].wait_timeout(Duration::ZERO).unwrap(), None);
    scene.disk.set_capacity(u64::MAX);
    // Not before the time has come.
    assert!(producer.poll().is_some());
    assert!(!handles[done].is_done());
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    for (n, handle) in handles.iter().enumerate() {
        assert_eq!(handle.wait().unwrap().offset, Some(n as u64));
    }
    assert_eq!(scene.values(0), (0..300).map(value).collect::<Vec<_>>());
    assert!(producer.stats().retries > 0);
}

#[test]
fn failed_write_retries_with_backoff() {
    let scene = scene(2);
    let config = ProducerConfig::default().linger(Duration::ZERO);
    let producer = scene.store.producer(config).unwrap();
    let full = Fault::Error(io::ErrorKind::StorageFull);
    let rule = scene.fs.add_rule(Rule::new(Operation::Write, full).path("orders-0"));
    let handle = producer.send(to(0, "0")).unwrap();
    let behind = producer.send(to(0, "1")).unwrap();
    // Other partitions continue.
    assert!(producer.send(to(1, "x")).unwrap().is_done());
    for millis in [100, 200, 400, 800, 1000, 1000] {
        assert_eq!(producer.poll(), Some(Duration::from_millis(millis)));
        scene.clock.advance(Duration::from_millis(millis - 1));
        let before = scene.fs.hit_count(rule);
        producer.poll();
        assert_eq!(scene.fs.hit_count(rule), before);
        scene.clock.advance(Duration::from_millis(1));
    }
    scene.fs.remove_rule(rule);
    assert_eq!(producer.poll(), None);
    assert_eq!(handle.wait().unwrap().offset, Some(0));
    assert_eq!(behind.wait().unwrap().offset, Some(1));
    assert_eq!(scene.values(0), numbers(0..2));
    // Errors that a retry cannot fix are not retried.
    scene.fs.add_rule(
        Rule::new(Operation::Write, Fault::Error(io::ErrorKind::Other)).path("orders-0").nth(1),
    );
    let failed = producer.send(to(0, "lost")).unwrap();
    let ProduceError::Batch(cause) = produce_error(failed.wait()) else { panic!() };
    assert_eq!(cause.kind(), ErrorKind::Io);
    assert_eq!(producer.stats().errors, 1);
}

#[test]
fn records_stay_ordered_during_retries() {
    let scene = scene(1);
    let config = ProducerConfig::default().linger(Duration::ZERO).batch_bytes(0);
    let producer = scene.store.producer(config).unwrap();
    let (again, calls) = (producer.clone(), AtomicUsize::new(0));
    let meanwhile = Fault::call(move |_| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            again.send(to(0, "1")).unwrap();
        }
    });
    scene.fs.add_rule(Rule::new(Operation::Write, meanwhile).path(".log"));
    let full = Fault::Error(io::ErrorKind::StorageFull);
    scene.fs.add_rule(Rule::new(Operation::Write, full).path(".log").nth(1));
    let first = producer.send(to(0, "0")).unwrap();
    assert!(!first.is_done());
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    assert!(first.is_done());
    assert_eq!(scene.values(0), numbers(0..2));
    scene.fs.clear_rules();
}

#[test]
fn delivery_timeout_leaves_no_gap() {
    let scene = scene(1);
    let config = ProducerConfig::default()
        .linger(Duration::ZERO)
        .delivery_timeout(Duration::from_secs(10))
        .batch_bytes(0);
    let producer = scene.store.producer(config).unwrap();
    producer.send(to(0, "0")).unwrap().wait().unwrap();
    let full = scene.fail_writes(io::ErrorKind::StorageFull);
    let late = [0; 3].map(|_| producer.send(to(0, "late")).unwrap());
    scene.clock.advance(Duration::from_secs(9));
    let in_time = [1, 2].map(|n: u32| producer.send(to(0, n.to_string())).unwrap());
    producer.poll();
    assert!(!late[0].is_done());
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    for handle in &late {
        let error = handle.wait().unwrap_err();
        assert!(error.is_retryable());
        let ProduceError::DeliveryTimeout { cause, partition: 0, .. } =
            produce_error(Err::<(), _>(error))
        else {
            panic!()
        };
        assert_eq!(cause.kind(), ErrorKind::StorageFull);
    }
    assert!(!in_time[0].is_done());
    scene.fs.remove_rule(full);
    scene.clock.advance(Duration::from_secs(1));
    producer.poll();
    assert_eq!(in_time[1].wait().unwrap().offset, Some(2));
    assert_eq!(scene.values(0), numbers(0..3));
    let known = scene.topic.partition(0).unwrap().producers().unwrap();
    assert_eq!((known[0].producer_epoch, known[0].last_sequence), (0, 2));
    // Time that passes while nothing hinders takes nothing.
    let lingering = scene.store.producer(ProducerConfig::default()).unwrap();
    let handle = lingering.send(to(0, "3")).unwrap();
    scene.clock.advance(HOUR);
    assert_eq!(handle.wait().unwrap().offset, Some(3));
}
