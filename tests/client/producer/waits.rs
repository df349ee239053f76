//! Producers that are closed, dropped or waited for while their threads write and call back: no
//! record disappears without a word, and no thread waits for ever.
//!
//! Each wait that could hang has a limit: a channel answers, or the test fails.

use crate::{HOUR, TOPIC, to};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::*;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use support::values;

/// A thread that has not answered by then hangs.
const WATCHDOG: Duration = Duration::from_secs(20);

struct Scene {
    fs: FaultFs,
    store: Store,
    topic: Topic,
}

fn scene(partitions: u32) -> Scene {
    let fs = FaultFs::new(MemFs::new());
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None);
    let store = Store::open("data", config).unwrap();
    let topic = store.create_topic(TOPIC, TopicConfig::default().partitions(partitions)).unwrap();
    Scene { fs, store, topic }
}

fn answer<T>(told: &Receiver<T>, what: &str) -> T {
    told.recv_timeout(WATCHDOG).unwrap_or_else(|error| panic!("{what}: {error}"))
}

impl Scene {
    fn producer(&self, config: ProducerConfig) -> Producer {
        self.store.producer(config).unwrap()
    }

    fn values(&self, partition: u32) -> Vec<String> {
        values(&self.topic.partition(partition).unwrap())
    }

    /// Makes the next write fail once, as if the disk were full.
    fn fail_one_write(fs: &FaultFs) {
        let full = Fault::Error(io::ErrorKind::StorageFull);
        fs.add_rule(Rule::new(Operation::Write, full).path(".log").nth(1));
    }
}

/// The producer's thread writes `a` while the owner sends `b` and drops the producer. Records that
/// the thread has not taken are written by the dropping thread, once the producer's thread is
/// done.
#[test]
fn drop_writes_record_sent_during_write() {
    for end in ["drop", "close", "close within"] {
        let scene = scene(1);
        let producer = scene.producer(ProducerConfig::default());
        let (writes, is_writing) = channel();
        let ending = Arc::new(AtomicBool::new(false));
        let told: Arc<Mutex<Option<SendHandle>>> = Arc::default();
        let (seen, behind) = (ending.clone(), told.clone());
        let slow = Fault::call(move |_| {
            writes.send(()).unwrap();
            // Long enough for the other thread to drop `b`, if it does.
            let given_up = || behind.lock().unwrap().as_ref().is_some_and(SendHandle::is_done);
            let mut looks = 0;
            while !seen.load(Ordering::SeqCst) || (looks < 2000 && !given_up()) {
                looks += usize::from(seen.load(Ordering::SeqCst));
                thread::yield_now();
            }
        });
        scene.fs.add_rule(Rule::new(Operation::Write, slow).path(".log").nth(1));
        producer.send_and_forget(to(0, "a")).unwrap();
        answer(&is_writing, "the producer's thread writes");
        *told.lock().unwrap() = Some(producer.send(to(0, "b")).unwrap());
        let behind = producer.send(to(0, "c")).unwrap();
        ending.store(true, Ordering::SeqCst);
        match end {
            "drop" => drop(producer),
            "close" => producer.close().unwrap(),
            _ => producer.close_timeout(WATCHDOG).unwrap(),
        }
        assert_eq!(behind.wait().unwrap().offset, Some(2), "{end}");
        assert_eq!(scene.values(0), ["a", "b", "c"], "{end}");
    }
}

/// The disk was full a moment ago, and has room again. The producer that is dropped does not wait
/// for the time to retry, but it does try.
#[test]
fn drop_tries_once_after_failed_write() {
    let scene = scene(1);
    let config = ProducerConfig::default().linger(Duration::ZERO).delivery_timeout(HOUR);
    let config = config.retry_backoff(HOUR / 2).retry_backoff_max(HOUR / 2);
    let producer = scene.producer(config);
    Scene::fail_one_write(&scene.fs);
    let handle = producer.send(to(0, "a")).unwrap();
    assert!(!handle.is_done());
    drop(producer);
    assert_eq!(handle.wait().unwrap().offset, Some(0));
}

#[derive(Default)]
struct Told {
    called: AtomicU32,
    failed: Mutex<Vec<String>>,
}

/// Threads send; in the middle of it the producer is dropped by the last of them, or closed by
/// another thread with or without a limit, while writes fail now and then. Each record that
/// `send` took is in the log once, or its handle and its callback say that it failed; and it is
/// then not in the log. None fails if there is no limit and the disk has room.
#[test]
fn accepted_records_resolve_when_producer_ends() {
    for seed in support::seeds("PRODUCER_END_SEED", 40) {
        eprintln!("seed: PRODUCER_END_SEED={seed}");
        end_in_the_middle(seed);
    }
}

fn end_in_the_middle(seed: u64) {
    let mut chance = support::Chance(seed);
    let scene = scene(2);
    let config = ProducerConfig::default()
        .acks([Acks::Written, Acks::Flushed][chance.below(2) as usize])
        .batch_bytes(chance.below(4) as usize * 200)
        .linger(Duration::from_millis(chance.below(2)))
        .buffer_bytes(4000)
        .retry_backoff(Duration::from_millis(1))
        .retry_backoff_max(Duration::from_millis(2));
    let producer = scene.producer(config);
    let faults = chance.below(2) == 0;
    // Writes take a while, so that others meet a thread that writes.
    let slow = Fault::call(|_| (0..20).for_each(|_| thread::yield_now()));
    scene.fs.add_rule(Rule::new(Operation::Write, slow).path(".log"));
    let (end, at) = (chance.below(3), chance.below(200) as u32);
    let accepted: Arc<Mutex<Vec<(String, SendHandle)>>> = Arc::default();
    let told: Arc<Told> = Arc::default();
    let count = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..3u32)
        .map(|n| {
            let producer = producer.clone();
            let (accepted, told, count) = (accepted.clone(), told.clone(), count.clone());
            let (fs, mut chance) = (scene.fs.clone(), support::Chance(seed ^ u64::from(n + 1)));
            thread::spawn(move || {
                for k in 0..150 {
                    if faults && chance.below(40) == 0 {
                        Scene::fail_one_write(&fs);
                    }
                    let value = format!("{n}-{k}");
                    let (own, told) = (value.clone(), told.clone());
                    let sent =
                        producer.send_with_callback(to(k % 2, value.clone()), move |result| {
                            told.called.fetch_add(1, Ordering::SeqCst);
                            if result.is_err() {
                                told.failed.lock().unwrap().push(own);
                            }
                        });
                    match sent {
                        Ok(handle) => accepted.lock().unwrap().push((value, handle)),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
                            return;
                        }
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    while end != 0 && count.load(Ordering::SeqCst) < at {
        thread::yield_now();
    }
    match end {
        0 => drop(producer),
        1 => producer.close().unwrap(),
        _ => drop(producer.close_timeout(Duration::from_millis(chance.below(3)))),
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let must_store = end == 1 || (end == 0 && !faults);
    check_ends(&scene, &accepted.lock().unwrap(), &told, must_store);
}

fn check_ends(scene: &Scene, accepted: &[(String, SendHandle)], told: &Told, must_store: bool) {
    // First: a close with a limit does not wait for a thread that writes.
    let failed = accepted.iter().filter(|(_, handle)| handle.wait().is_err());
    let mut failed: Vec<String> = failed.map(|(value, _)| value.clone()).collect();
    let mut stored: BTreeMap<String, u32> = BTreeMap::new();
    for value in [0, 1].into_iter().flat_map(|partition| scene.values(partition)) {
        *stored.entry(value).or_default() += 1;
    }
    assert!(failed.is_empty() || !must_store, "given up: {failed:?}");
    for (value, _) in accepted {
        let times = stored.remove(value).unwrap_or_default();
        assert_eq!(times, u32::from(!failed.contains(value)), "{value} is in the log that often");
    }
    assert!(stored.is_empty(), "{stored:?}");
    // A callback may still run on a thread that the close did not wait for.
    while told.called.load(Ordering::SeqCst) < accepted.len() as u32 {
        thread::yield_now();
    }
    let mut heard = told.failed.lock().unwrap().clone();
    failed.sort();
    heard.sort();
    assert_eq!(failed, heard);
}

/// A callback may wait for another record, flush, or close the producer, on any thread, also
/// while a write has to be retried: the thread that retries runs no callbacks.
#[test]
fn callback_may_wait_during_retry() {
    for (linger, what) in [(5, "wait"), (5, "flush"), (5, "close"), (0, "wait"), (0, "flush")] {
        let scene = scene(2);
        let config = ProducerConfig::default()
            .linger(Duration::from_millis(linger))
            .retry_backoff(Duration::from_millis(1))
            .retry_backoff_max(Duration::from_millis(2))
            .delivery_timeout(WATCHDOG);
        let producer = scene.producer(config);
        let (tell, told) = channel();
        let (own, fs) = (producer.clone(), scene.fs.clone());
        let callback = move |_: Result<&RecordMetadata, &Error>| {
            Scene::fail_one_write(&fs);
            let sent = own.send(to(1, "y")).unwrap();
            match what {
                "wait" => assert!(sent.wait().is_ok()),
                "flush" => own.flush().unwrap(),
                _ => own.close().unwrap(),
            }
            tell.send(sent.is_done()).unwrap();
        };
        producer.send_with_callback(to(0, "x"), callback).unwrap();
        assert!(answer(&told, what), "{what} in a callback, linger {linger}");
        assert_eq!(producer.stats().retries, 1);
        assert_eq!(scene.values(1), ["y"]);
    }
}

/// Two threads call back for two partitions at the same time, and each callback flushes: neither
/// waits for the callback of the other. So it is with callbacks of two producers.
#[test]
fn callback_flush_never_waits_for_callbacks() {
    for producers in [1, 2] {
        let scene = scene(2);
        let config = ProducerConfig::default().linger(Duration::ZERO);
        let all: Vec<Producer> = (0..producers).map(|_| scene.producer(config.clone())).collect();
        let both = Arc::new(Barrier::new(2));
        let (tell, told) = channel();
        for n in 0..2u32 {
            let (sends, flushes) = (all[n as usize % producers].clone(), all.clone());
            let (both, tell) = (both.clone(), tell.clone());
            thread::spawn(move || {
                let callback = move |_: Result<&RecordMetadata, &Error>| {
                    both.wait();
                    flushes.iter().for_each(|producer| producer.flush().unwrap());
                    flushes.iter().for_each(|producer| {
                        producer.poll();
                    });
                    tell.send(n).unwrap();
                };
                sends.send_with_callback(to(n, "x"), callback).unwrap();
            });
        }
        let mut done = [0, 1].map(|_| answer(&told, "both callbacks end"));
        done.sort_unstable();
        assert_eq!(done, [0, 1]);
    }
}

/// While a thread writes, another sends a record and leaves it to that thread, which has a
/// callback to call then. The record is written before: the callback may be waiting for it.
#[test]
fn record_of_other_thread_precedes_callback() {
    for linger in [Duration::ZERO, HOUR] {
        let scene = scene(1);
        let config = ProducerConfig::default().linger(linger).delivery_timeout(HOUR);
        let producer = scene.producer(config);
        let (done, is_done) = channel();
        let (result, got) = channel();
        let own = producer.clone();
        let other = Fault::call(move |_| {
            let (own, done) = (own.clone(), done.clone());
            let (left, is_left) = channel();
            thread::spawn(move || {
                let handle = own.send(to(0, "second")).unwrap();
                // Leaves it to the thread that writes.
                assert!(handle.wait_timeout(Duration::ZERO).unwrap().is_none());
                left.send(()).unwrap();
                drop(handle.wait().map(|_| done.send(())));
            });
            answer(&is_left, "the record is left to this thread");
        });
        scene.fs.add_rule(Rule::new(Operation::Write, other).path(".log").nth(1));
        let callback = move |_: Result<&RecordMetadata, &Error>| {
            result.send(is_done.recv_timeout(WATCHDOG).is_ok()).unwrap();
        };
        let first = producer.send_with_callback(to(0, "first"), callback).unwrap();
        first.wait().unwrap();
        assert!(answer(&got, "the callback ends"), "the callback of the first ran before");
        assert_eq!(scene.values(0), ["first", "second"]);
    }
}

/// A callback that the producer's thread had to call blocks. Records of other partitions, and of
/// its own, are written once they have lingered, although no thread waits for them.
#[test]
fn writing_continues_while_callback_blocks() {
    let scene = scene(2);
    let producer = scene.producer(ProducerConfig::default());
    let (release, released) = channel::<()>();
    let (tell, told) = channel();
    let callback = move |_: Result<&RecordMetadata, &Error>| {
        tell.send(()).unwrap();
        released.recv().ok();
    };
    producer.send_with_callback(to(0, "blocks"), callback).unwrap();
    answer(&told, "the callback is called");
    for partition in [1, 0] {
        producer.send_and_forget(to(partition, "goes on")).unwrap();
        let log = scene.topic.partition(partition).unwrap();
        let mut tail = log.tail(u64::from(partition == 0)).unwrap();
        let record = tail.next_record(Some(WATCHDOG)).unwrap().expect("it is written");
        assert_eq!(record.value_str(), Some("goes on"));
    }
    // Neither does a close with a limit wait for it.
    let handle = producer.send(to(1, "the last")).unwrap();
    drop(producer.close_timeout(Duration::from_millis(1)));
    assert!(handle.wait().is_ok());
    drop(release);
}

/// A callback sends the next record, whose callback sends the next: they are called one after the
/// other, not one within the other, however many there are.
#[test]
fn callbacks_that_send_never_nest() {
    struct Chain {
        producer: Producer,
        partitions: u32,
        depth: AtomicU32,
        deepest: AtomicU32,
        tell: std::sync::mpsc::Sender<()>,
    }
    fn send(chain: &Arc<Chain>, left: u32) {
        let own = chain.clone();
        let callback = move |_: Result<&RecordMetadata, &Error>| {
            let depth = own.depth.fetch_add(1, Ordering::SeqCst) + 1;
            own.deepest.fetch_max(depth, Ordering::SeqCst);
            match left {
                0 => own.tell.send(()).unwrap(),
                _ => send(&own, left - 1),
            }
            own.depth.fetch_sub(1, Ordering::SeqCst);
        };
        chain.producer.send_with_callback(to(left % chain.partitions, "x"), callback).unwrap();
    }
    for acks in [Acks::Written, Acks::None] {
        let scene = scene(8);
        let config = ProducerConfig::default().linger(Duration::ZERO).acks(acks);
        let (tell, told) = channel();
        let producer = scene.producer(config);
        let (depth, deepest) = (AtomicU32::new(0), AtomicU32::new(0));
        let chain = Arc::new(Chain { producer, partitions: 8, depth, deepest, tell });
        send(&chain, 100);
        answer(&told, "the last callback");
        // One that is about to return, and the next on the other thread.
        assert!(chain.deepest.load(Ordering::SeqCst) <= 2, "{acks:?}");
    }
}

/// A disk that is full now and then, callbacks that send, wait, flush and poll, and two threads
/// that do the same: all of it ends.
#[test]
fn threads_and_callbacks_always_finish() {
    for seed in support::seeds("PRODUCER_WAITS_SEED", 30) {
        eprintln!("seed: PRODUCER_WAITS_SEED={seed}");
        let scene = Arc::new(scene(3));
        let mut chance = support::Chance(seed);
        let config = ProducerConfig::default()
            .acks([Acks::Written, Acks::Flushed, Acks::None][chance.below(3) as usize])
            .linger(Duration::from_millis(chance.below(3)))
            .batch_bytes(chance.below(3) as usize * 200)
            .buffer_bytes(2000)
            .retry_backoff(Duration::from_millis(1))
            .retry_backoff_max(Duration::from_millis(2));
        let producer = scene.producer(config);
        let (tell, told) = channel();
        for n in 0..2 {
            let (scene, producer, tell) = (scene.clone(), producer.clone(), tell.clone());
            let mut chance = support::Chance(seed.wrapping_mul(31) + n);
            thread::spawn(move || {
                for _ in 0..60 {
                    act(&scene, &producer, &mut chance, 2);
                }
                drop(producer);
                tell.send(()).unwrap();
            });
        }
        drop((producer, tell));
        for _ in 0..2 {
            answer(&told, "the threads end");
        }
    }
}

/// Does something that may wait. So do the callbacks of what it sends, up to so many levels.
fn act(scene: &Arc<Scene>, producer: &Producer, chance: &mut support::Chance, levels: u32) {
    let partition = chance.below(3) as u32;
    match chance.below(8) {
        0 => Scene::fail_one_write(&scene.fs),
        1 => drop(producer.flush()),
        2 => drop(producer.poll()),
        3 | 4 => drop(producer.send(to(partition, "x")).map(|sent| sent.wait())),
        _ if levels == 0 => drop(producer.send(to(partition, "x"))),
        _ => {
            let (own, scene) = (producer.clone(), scene.clone());
            let mut chance = support::Chance(chance.below(u64::MAX));
            let callback = move |_: Result<&RecordMetadata, &Error>| {
                act(&scene, &own, &mut chance, levels - 1);
            };
            drop(producer.send_with_callback(to(partition, "x"), callback));
        }
    }
}
