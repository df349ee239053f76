//! Random commits, markers, deletions, restarts and compactions against a model.

use super::*;
use crate::random::SplitMix64;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SEEDS: u64 = 300;
const STEPS: u64 = 60;
const GROUPS: [&str; 4] = ["a", "b", "c", "d"];
const PARTITIONS: u32 = 2;

type Key = (&'static str, u32);

/// What the calls so far have to result in. A commit has a number, by which later ones are known.
#[derive(Debug, Clone, Default)]
struct Model {
    committed: BTreeMap<Key, (u64, Offset)>,
    pending: BTreeMap<usize, BTreeMap<Key, (u64, Offset)>>,
    epochs: [i16; 3],
    /// The number of the last commit.
    last: u64,
}

impl Model {
    fn who(&self, producer: usize) -> ProducerIdentity {
        ProducerIdentity { id: 4000 + producer as i64, epoch: self.epochs[producer] }
    }

    fn remove(&mut self, gone: impl Fn(&Key) -> bool) {
        self.committed.retain(|key, _| !gone(key));
        self.pending.values_mut().for_each(|all| all.retain(|key, _| !gone(key)));
    }

    fn end(&mut self, producer: usize, shard: u32, shard_of: &dyn Fn(&str) -> u32, commits: bool) {
        let Some(pending) = self.pending.get_mut(&producer) else { return };
        let ended = |(group, _): &Key| shard_of(group) == shard;
        for (key, found) in pending.iter().filter(|(key, _)| commits && ended(key)) {
            let known = self.committed.entry(*key).or_insert(*found);
            *known = (*known).max(*found);
        }
        pending.retain(|key, _| !ended(key));
    }

    fn is_pending(&self, key: &Key) -> bool {
        self.pending.values().any(|pending| pending.contains_key(key))
    }
}

struct Run {
    random: SplitMix64,
    setup: Setup,
    model: Model,
}

impl Run {
    fn pick(&mut self, of: usize) -> usize {
        self.random.below(of as u64) as usize
    }

    fn offsets(&mut self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        let count = 1 + self.pick(2);
        (0..count).map(|_| (at(self.pick(2) as u32), self.random.below(1000).into())).collect()
    }

    fn shard_of(&self, group: &str) -> u32 {
        self.setup.groups.partition(group).unwrap().number
    }

    fn step(&mut self) {
        let (group, producer) = (GROUPS[self.pick(4)], self.pick(3));
        match self.pick(20) {
            0..7 => self.send(group, producer),
            7..10 => {
                let offsets = self.offsets();
                let groups = &self.setup.groups;
                groups.commit(group, Committer::Simple, &offsets, &|_| None, false).unwrap();
                for (at, offset) in offsets {
                    self.model.last += 1;
                    let found = (self.model.last, offset.offset);
                    self.model.committed.insert((group, at.partition), found);
                }
            }
            10..15 => self.end(producer),
            15 => {
                let known = self.model.committed.keys().any(|(of, _)| *of == group)
                    || self.model.pending.values().flatten().any(|((of, _), _)| *of == group);
                assert_eq!(self.setup.groups.delete(group).is_ok(), known, "{group}");
                self.model.remove(|(of, _)| *of == group);
            }
            16 => {
                self.setup.groups.delete_offsets(group, &[at(1)].into()).ok();
                self.model.remove(|key| *key == (group, 1));
            }
            17 => {
                for log in self.setup.logs.0.lock().iter() {
                    log.roll().unwrap();
                    log.maintain().unwrap();
                }
            }
            18 => self.setup.reopen(),
            _ => self.setup = self.setup.restarted(),
        }
    }

    fn send(&mut self, group: &'static str, producer: usize) {
        let (who, offsets) = (self.model.who(producer), self.offsets());
        let who = if self.random.chance(0.1) && who.epoch > 0 {
            ProducerIdentity { epoch: who.epoch - 1, ..who }
        } else {
            who
        };
        let sent = self.setup.groups.commit_in_transaction(
            (who, V2),
            &simple(group),
            &offsets,
            &|_| None,
            &|_| Ok(()),
        );
        if who != self.model.who(producer) {
            // A partition that never had a batch of the producer knows no epoch of it. All
            // partitions had a marker when the epoch was raised.
            assert_eq!(kind(sent), ErrorKind::Fenced);
            return;
        }
        sent.unwrap();
        for (at, offset) in offsets {
            self.model.last += 1;
            let found = (self.model.last, offset.offset);
            let pending = self.model.pending.entry(producer).or_default();
            pending.insert((group, at.partition), found);
        }
    }

    /// Writes the markers of all partitions, some of them twice, perhaps with a restart between.
    fn end(&mut self, producer: usize) {
        let commits = self.random.chance(0.6);
        self.model.epochs[producer] += 1;
        for shard in 0..PARTITIONS {
            for _ in 0..=self.pick(2) {
                let groups = &self.setup.groups;
                let who = self.model.who(producer);
                groups.end_transaction(shard, who, marker(commits), V2).unwrap();
            }
            let of = |group: &str| self.setup.groups.partition(group).unwrap().number;
            self.model.end(producer, shard, &of, commits);
            if self.random.chance(0.1) {
                self.setup = self.setup.restarted();
                self.check();
            }
        }
    }

    fn check(&self) {
        for group in GROUPS {
            let committed = self.setup.groups.committed_by(group);
            for partition in 0..2 {
                let (key, found) = ((group, partition), committed.get(&partition).copied());
                let expected = self.model.committed.get(&key).map(|(_, offset)| *offset);
                assert_eq!(found, expected, "{key:?} in {}", self.shard_of(group));
                assert_eq!(self.setup.is_pending(group, partition), self.model.is_pending(&key));
            }
        }
    }
}

/// `GROUP_OFFSETS_SEED` runs one seed alone.
#[test]
fn offsets_equal_model() {
    let run = |seed| {
        let (random, setup) = (SplitMix64(seed), Setup::new(PARTITIONS));
        let mut run = Run { random, setup, model: Model::default() };
        for _ in 0..STEPS {
            run.step();
            run.check();
        }
    };
    if let Ok(seed) = std::env::var("GROUP_OFFSETS_SEED") {
        return run(seed.parse().unwrap());
    }
    for seed in 0..SEEDS {
        let run = catch_unwind(AssertUnwindSafe(|| run(seed)));
        run.unwrap_or_else(|_| panic!("GROUP_OFFSETS_SEED={seed} shows it"));
    }
}
