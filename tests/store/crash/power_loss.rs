//! A loss of power, or a kill, at every call of a workload and of the opening after it.

use super::{Op, Sim, check, open, survive, watch};
use annals::fs::{CrashState, FaultFs};
use std::sync::{Arc, Mutex};
use support::images::{Image, Images};
use support::{Chance, seeds};

#[test]
fn promises_survive_crash_anywhere() {
    let mut checked = 0;
    for seed in seeds("ANNALS_STORE_SEEDS", 2) {
        let mut sim = Sim::new();
        let mut chance = Chance(seed);
        let mut ops = vec![
            Op::Create { name: 0, partitions: 3 },
            Op::Append { name: 0, partition: 1 },
            Op::Flush { name: 0, partition: 1 },
            Op::DeleteBefore { name: 0, partition: 1 },
            Op::ProducerId,
            Op::Grow { name: 0 },
            Op::Alter { name: 0 },
            Op::Delete { name: 0 },
            Op::Create { name: 0, partitions: 1 },
            Op::Close,
        ];
        ops.extend((0..40).map(|_| Op::any(&mut chance)));
        ops.push(Op::Close);
        for op in &ops {
            sim.run(*op);
        }
        for (number, image) in sim.images.take().iter().enumerate() {
            let Image { call, promise, .. } = image;
            let ways = image.ways(seed * 100_000 + number as u64);
            for (way, (intact, disk)) in ways.iter().enumerate() {
                let work = std::panic::AssertUnwindSafe(|| survive(disk, promise, *intact));
                if std::panic::catch_unwind(work).is_err() {
                    panic!(
                        "seed {seed}, way {way}, before call {number}, {call}; {promise:?}; after {ops:?}"
                    );
                }
                checked += 1;
            }
        }
    }
    support::say(&format!("{checked} states of a store after a crash"));
    assert!(checked > 50);
}

/// A crash in the opening that follows a crash leaves no less.
#[test]
fn promises_survive_crash_while_opening() {
    for seed in seeds("ANNALS_STORE_SEEDS", 1) {
        let mut sim = Sim::new();
        let mut chance = Chance(seed ^ 0x5EED);
        (0..40).for_each(|_| sim.run(Op::any(&mut chance)));
        for (number, Image { promise, disk, .. }) in
            sim.images.take().iter().enumerate().filter(|(n, _)| n % 5 == seed as usize % 5)
        {
            let disk = match number % 2 {
                0 => disk.kill(),
                _ => disk.crash(CrashState::Random { seed: seed * 100_000 + number as u64 }),
            };
            let (fs, inner) = (FaultFs::new(disk.clone()), Images::default());
            watch(&inner, &fs, &disk, &Arc::new(Mutex::new(promise.clone())));
            let store = open(fs).unwrap();
            let found = check(&store, promise, false);
            drop(store);
            // The state that the first opening found is durable only once it has returned.
            let _ = found;
            for (at, Image { call, promise, disk }) in inner.take().iter().enumerate() {
                let disk =
                    disk.crash(CrashState::Random { seed: number as u64 * 1000 + at as u64 });
                let work = std::panic::AssertUnwindSafe(|| survive(&disk, promise, false));
                assert!(
                    std::panic::catch_unwind(work).is_ok(),
                    "seed {seed}, image {number}, before {at}, {call}"
                );
            }
        }
    }
}
