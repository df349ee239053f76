//! Each record is stored once and in order: sequence numbers, epochs, and a model that fails and
//! is killed at random.

use super::{numbers, scene};
use crate::{TOPIC, to};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule, RuleId};
use annals::*;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use support::{T0, values};

#[test]
fn batches_are_numbered_when_idempotent() {
    let scene = scene(1);
    let numbered = scene.store.producer(ProducerConfig::default()).unwrap();
    numbered.send(to(0, "a")).unwrap().wait().unwrap();
    let plain = scene.store.producer(ProducerConfig::default().idempotence(false)).unwrap();
    plain.send(to(0, "b")).unwrap().wait().unwrap();
    let log = scene.topic.partition(0).unwrap();
    let mut reader = log.reader(0).unwrap();
    let header = *reader.next_batch().unwrap().unwrap().header();
    assert!(header.producer_id >= 0 && header.producer_epoch == 0 && header.base_sequence == 0);
    let header = *reader.next_batch().unwrap().unwrap().header();
    assert_eq!((header.producer_id, header.base_sequence), (NO_PRODUCER_ID, -1));
}

#[test]
fn truncated_log_gets_next_epoch() {
    let scene = scene(1);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    for n in 0..3 {
        producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
    }
    let log = scene.topic.partition(0).unwrap();
    log.truncate_to(1).unwrap();
    for n in 1..3 {
        producer.send(to(0, n.to_string())).unwrap().wait().unwrap();
    }
    assert_eq!(scene.values(0), numbers(0..3));
    let known = log.producers().unwrap();
    assert_eq!((known[0].producer_epoch, known[0].last_sequence), (1, 1));
}

/// A record of the model: its state, and its partition.
struct Sent {
    value: u32,
    handle: SendHandle,
}

/// A producer after the other sends to a store on a disk that is full now and then, and is killed.
///
/// In each partition, acknowledged records are stored once at the offset that was reported, failed
/// records are not stored, and records in flight at the kill may be stored, without a gap before
/// any of them. All are in order.
#[test]
fn records_are_unique_through_random_faults() {
    for seed in support::seeds("PRODUCER_SEED", 60) {
        eprintln!("seed: PRODUCER_SEED={seed}");
        model(seed);
    }
}

const PARTITIONS: u32 = 3;

fn model_config(chance: &mut support::Chance) -> ProducerConfig {
    let acks = [Acks::Written, Acks::Flushed][chance.below(2) as usize];
    ProducerConfig::default()
        .acks(acks)
        .batch_bytes(chance.below(4) as usize * 150)
        .linger(Duration::from_millis(chance.below(3) * 5))
        .buffer_bytes(3000)
        .max_block(Duration::ZERO)
        .delivery_timeout(Duration::from_secs(2))
}

/// Opens what is on a disk. The ids of producers before are not given again.
fn reopen(disk: MemFs, clock: &Arc<ManualClock>, generation: u64) -> (FaultFs, Store, Topic) {
    let fs = FaultFs::new(disk);
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).clock(clock.clone());
    let store = Store::open("data", config).unwrap();
    let log = LogConfig::default().segment_bytes(3000);
    let topic = TopicConfig::default().partitions(PARTITIONS).log(log);
    let topic = store.topic(TOPIC).or_else(|_| store.create_topic(TOPIC, topic)).unwrap();
    for _ in 0..generation {
        drop(store.producer(ProducerConfig::default()).unwrap());
    }
    (fs, store, topic)
}

fn model(seed: u64) {
    let mut chance = support::Chance(seed);
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let mut disk = MemFs::new();
    let mut settled: Vec<Vec<u32>> = vec![Vec::new(); PARTITIONS as usize];
    let mut next = 0;
    for generation in 0..4 {
        let (fs, store, topic) = reopen(disk.clone(), &clock, generation);
        let producer = store.producer(model_config(&mut chance)).unwrap();
        let bound = producer.topic(TOPIC).unwrap();
        let mut sent: Vec<Vec<Sent>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
        let mut full: Option<RuleId> = None;
        for _ in 0..120 {
            match chance.below(14) {
                0..8 => {
                    let partition = chance.below(PARTITIONS.into()) as u32;
                    next += 1;
                    let handle = match next % 2 {
                        0 => producer.send(to(partition, next.to_string())),
                        _ => bound.send_to(partition, next.to_string()),
                    };
                    match handle {
                        Ok(handle) => {
                            sent[partition as usize].push(Sent { value: next, handle });
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}"),
                    }
                }
                8 => {
                    clock.advance(Duration::from_millis(chance.below(700)));
                    producer.poll();
                }
                9 => {
                    producer.poll();
                }
                10 => {
                    // EMFILE, too many files are open, when a segment is begun.
                    let rule = match chance.below(2) {
                        0 => Rule::new(Operation::Write, Fault::Error(io::ErrorKind::StorageFull)),
                        _ => Rule::new(Operation::CreateNew, Fault::Errno(24)),
                    };
                    let at = format!("-{}", chance.below(PARTITIONS.into()));
                    full = full.or_else(|| Some(fs.add_rule(rule.path(at))));
                }
                11 => fs.clear_rules(),
                12 => {
                    // No later than that it is tried again, and goes well or is over.
                    fs.clear_rules();
                    clock.advance(Duration::from_secs(1));
                    producer.poll();
                    producer.flush().unwrap();
                }
                _ => {
                    let sent = &sent[chance.below(PARTITIONS.into()) as usize];
                    if let Some(last) = sent.last() {
                        last.handle.wait_timeout(Duration::ZERO).ok();
                    }
                }
            }
            if chance.below(5) == 0 {
                fs.clear_rules();
                full = None;
            }
        }
        let end = chance.below(3);
        if end == 0 {
            fs.clear_rules();
            clock.advance(Duration::from_secs(1));
            producer.poll();
            producer.clone().close().unwrap();
        } else if end == 1 {
            producer.clone().close_timeout(Duration::ZERO).ok();
        }
        disk = disk.kill();
        check(&disk, &mut settled, &sent);
        drop((bound, producer, topic, store));
    }
}

fn check(disk: &MemFs, settled: &mut [Vec<u32>], sent: &[Vec<Sent>]) {
    for (partition, (settled, sent)) in settled.iter_mut().zip(sent).enumerate() {
        let config = LogConfig::default().fs(disk.kill());
        let log = Log::open_read_only(format!("data/{TOPIC}-{partition}"), config).unwrap();
        let stored: Vec<u32> = values(&log).iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!(stored[..settled.len()], settled[..], "what was there before");
        let mut at = settled.len();
        let mut missing = false;
        for Sent { value, handle } in sent {
            let is_there = stored.get(at) == Some(value);
            if handle.is_done() {
                match handle.wait() {
                    Ok(sent) => {
                        assert!(is_there && !missing, "{value} is not there");
                        assert_eq!(sent.offset, Some(at as u64));
                    }
                    Err(_) => assert!(!is_there, "{value} failed, and is there"),
                }
            } else {
                assert!(!(is_there && missing), "{value} is there, and one before is not");
                missing |= !is_there;
            }
            at += usize::from(is_there);
        }
        assert_eq!(at, stored.len(), "nothing else is there");
        *settled = stored;
    }
}
