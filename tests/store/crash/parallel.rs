//! Crashes while partitions are created, opened, changed and deleted on several threads.

use super::{Op, Promise, Sim, open, open_on, survive};
use annals::TopicConfig;
use annals::fs::{FaultFs, MemFs};
use std::sync::Arc;
use support::images::{Image, Images};
use support::{Chance, seeds};

/// The partitions of a topic are created, opened and closed on several threads. The progress of
/// one says nothing about another when the process ends: partition 1 may have its id and partition
/// 0 none yet.
#[test]
fn promises_survive_crash_in_parallel_work() {
    let mut checked = 0;
    for seed in seeds("ANNALS_STORE_SEEDS", 3) {
        let threads = 2 + seed as usize % 3;
        let mut sim = Sim::on_threads(threads, seed);
        let mut chance = Chance(seed ^ 0x7A12);
        let mut ops = vec![
            Op::Create { name: 0, partitions: 4 },
            Op::Append { name: 0, partition: 1 },
            Op::Append { name: 0, partition: 2 },
            Op::Grow { name: 0 },
            Op::FlushAll,
            Op::Close,
            Op::Append { name: 0, partition: 3 },
            Op::Die,
            Op::Delete { name: 0 },
            Op::Create { name: 0, partitions: 3 },
        ];
        ops.extend((0..8).map(|_| Op::any(&mut chance)));
        ops.push(Op::Close);
        for op in &ops {
            sim.run(*op);
        }
        checked += survive_one_way(&sim.images.take(), seed);
    }
    support::say(&format!("{checked} states of a store after a crash in parallel work"));
    assert!(checked > 50);
}

/// Looks what a crash leaves before each call: the end of the process before one, a loss of power
/// before the next.
fn survive_one_way(images: &[Image<Promise>], seed: u64) -> usize {
    for (number, image) in images.iter().enumerate() {
        let Image { call, promise, .. } = image;
        let ways = image.ways(seed * 100_000 + number as u64);
        let way = if (number as u64 + seed).is_multiple_of(2) { 0 } else { 3 };
        let (intact, disk) = &ways[way];
        let work = std::panic::AssertUnwindSafe(|| survive(disk, promise, *intact));
        let done = std::panic::catch_unwind(work);
        assert!(done.is_ok(), "seed {seed}, way {way}, before call {number}, {call}; {promise:?}");
    }
    images.len()
}

/// The logs of a deleted topic are closed on several threads, and no crash leaves a part of it,
/// nor takes anything from another topic. A topic of its name that is created at once has none of
/// its records.
#[test]
fn promises_survive_crash_in_parallel_deletion() {
    let mut checked = 0;
    for seed in seeds("ANNALS_STORE_SEEDS", 3) {
        let mut sim = Sim::on_threads(2 + seed as usize % 3, seed);
        sim.run(Op::Create { name: 0, partitions: 5 });
        sim.run(Op::Create { name: 1, partitions: 2 });
        for partition in 0..5 {
            let records = 1 + (partition + seed) % 3;
            (0..records).for_each(|_| sim.run(Op::Append { name: 0, partition }));
            sim.run(Op::Append { name: 1, partition });
            if (partition + seed).is_multiple_of(2) {
                sim.run(Op::Flush { name: 0, partition });
            }
        }
        sim.images.take();
        sim.run(Op::Delete { name: 0 });
        checked += survive_one_way(&sim.images.take(), seed);
        sim.run(Op::Create { name: 0, partitions: 3 });
        sim.run(Op::Append { name: 0, partition: 2 });
        checked += survive_one_way(&sim.images.take(), seed + 1);
        sim.run(Op::Close);
    }
    support::say(&format!("{checked} states of a store after a crash in a parallel deletion"));
    assert!(checked > 50);
}

/// Appends, growth, deletion and creation, maintenance and a reader at once, each on its thread,
/// call by call in an order by the seed: acknowledged records are there whenever the process ends,
/// and when the store closes meanwhile.
#[test]
fn promises_hold_during_concurrent_changes() {
    use std::sync::atomic::{AtomicU64, Ordering};
    for seed in seeds("ANNALS_STORE_SEEDS", 4) {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let store = open_on(2, seed, &fs).unwrap();
        for name in ["orders", "users"] {
            store
                .create_topic(name, TopicConfig::default().partitions(2).segment_bytes(300))
                .unwrap();
        }
        let log = store.topic("orders").unwrap().partition(1).unwrap();
        let mut reader = log.reader(0).unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let images: Images<u64> = Images::default();
        let known = Arc::clone(&acknowledged);
        let rule = images.watch(&fs, &disk, move || known.load(Ordering::SeqCst));
        fs.together(
            seed,
            vec![
                Box::new(|| {
                    for n in 0..12 {
                        if log.append(format!("{n}")).is_err() {
                            break;
                        }
                        acknowledged.store(n + 1, Ordering::SeqCst);
                    }
                }),
                Box::new(|| drop(store.add_partitions("orders", 4))),
                Box::new(|| {
                    if store.delete_topic("users").is_ok() {
                        drop(store.create_topic("users", TopicConfig::default()));
                    }
                }),
                Box::new(|| drop(store.maintain())),
                Box::new(|| {
                    if seed % 2 == 1 {
                        store.close().unwrap();
                    }
                }),
            ],
        );
        fs.remove_rule(rule);
        while let Ok(Some(record)) = reader.next_record() {
            assert_eq!(record.value_str(), Some(record.offset.to_string().as_str()));
        }
        for (number, Image { promise, disk, call }) in images.take().iter().enumerate() {
            if number as u64 % 3 != seed % 3 {
                continue;
            }
            let store = open(disk.kill()).unwrap_or_else(|e| panic!("{seed}: {call}: {e}"));
            let orders = store.topic("orders").unwrap();
            let end = orders.partition(1).unwrap().offsets().end;
            assert!(end >= *promise, "seed {seed}, {call}: {end} of {promise}");
            assert!([2, 4].contains(&orders.partition_count()), "seed {seed}, {call}");
            if let Ok(users) = store.topic("users") {
                assert!(users.partitions().iter().all(|log| log.offsets().end == 0));
            }
        }
    }
}
