//! Producers against a model: random work, crashes and damaged snapshots.

use super::{Sent, UNNUMBERED, config, is_of_producers, sent};
use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Error, Log, LogConfig, ManualClock, Offset, ProducerId, ProducerState,
    ProducerStateError, Record, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, DIR, T0, files, read_all, say, seeds, write_file};

/// How long a producer may be silent in the model test.
const SILENCE: i64 = 3_600_000;

/// The batches that a log was sent and accepted, and so the producers it knows.
#[derive(Debug, Clone, Default)]
struct Model {
    /// Where each batch lies, and when it came, also where the log begins above it.
    stored: Vec<(Sent, Offset, i64)>,
    /// Every value by its offset.
    values: BTreeMap<Offset, String>,
    start: Offset,
    end: Offset,
    now: i64,
    /// Whether records go, so that what is known of a producer's last batches may be of older
    /// ones.
    compacts: bool,
    /// Below it, batches may be gone that were the last of their producer before the log went on.
    compacted: Offset,
    /// The offset up to which producers with a higher last batch were known: batches below are not
    /// kept for them.
    went_on: BTreeMap<ProducerId, Offset>,
    /// Whose batches were deleted with all that said of them.
    forgotten: BTreeSet<ProducerId>,
    /// When the log last heard each of them.
    heard: BTreeMap<ProducerId, i64>,
    /// When the log last replayed batches: those count as heard then.
    replayed: i64,
    /// The first batch of each since it was last unknown.
    fresh: BTreeMap<ProducerId, Offset>,
}

impl Model {
    fn last(&self, id: ProducerId) -> Option<&(Sent, Offset, i64)> {
        self.stored.iter().rev().find(|(sent, ..)| sent.id == id)
    }

    /// Whether the log must remember a producer, and whether it may.
    fn is_remembered(&self, id: ProducerId) -> (bool, bool) {
        let heard = self.heard.get(&id).copied().filter(|_| !self.forgotten.contains(&id));
        let since = |at: i64| self.now - at < SILENCE;
        heard.map_or((false, false), |at| (since(at), since(at.max(self.replayed))))
    }

    /// Whether its last batch may be gone: compaction keeps no batch of a forgotten producer, and
    /// the rest is replayed when the snapshots are lost.
    fn is_vague(&self, id: ProducerId) -> bool {
        self.compacts && !self.is_remembered(id).0
    }

    /// The batches that must be recognised: five, but of those that are there.
    fn certain(&self, id: ProducerId) -> impl Iterator<Item = &Sent> {
        let fresh = self.fresh.get(&id).copied().unwrap_or(0);
        let most = if self.compacts { 1 } else { 5 };
        let there = self.recent(id).take(most);
        let there = there.take_while(move |(_, base, _)| *base >= fresh.max(self.start));
        there.map(|(sent, ..)| sent).filter(move |_| self.is_remembered(id).0)
    }

    /// Its last batches of the same epoch, the last first.
    fn recent(&self, id: ProducerId) -> impl Iterator<Item = &(Sent, Offset, i64)> {
        let epoch = self.last(id).map(|(last, ..)| last.epoch);
        let of = self.stored.iter().rev().filter(move |(sent, ..)| sent.id == id);
        let most = if self.compacts { usize::MAX } else { 5 };
        of.take_while(move |(sent, ..)| Some(sent.epoch) == epoch).take(most)
    }

    fn state((sent, base, at): &(Sent, Offset, i64)) -> ProducerState {
        let delta = sent.count - 1;
        ProducerState {
            producer_id: sent.id,
            producer_epoch: sent.epoch,
            last_sequence: sent.first.wrapping_add(delta) & i32::MAX,
            last_offset: *base as i64 + i64::from(delta),
            offset_delta: delta,
            last_timestamp: Timestamp::from_millis(stamp(sent.id, *at)),
            coordinator_epoch: -1,
            current_txn_first_offset: -1,
        }
    }

    fn cut(&mut self, end: Offset) {
        self.stored.retain(|(sent, base, _)| base + sent.count as u64 <= end);
        self.values.retain(|offset, _| *offset < end);
        let batches: BTreeSet<Offset> = self
            .stored
            .iter()
            .flat_map(|(sent, base, _)| *base..*base + sent.count as u64)
            .collect();
        self.values.retain(|offset, value| value == UNNUMBERED || batches.contains(offset));
        self.end = end;
        for (id, fresh) in &mut self.fresh {
            let last = self.stored.iter().rev().find(|(sent, ..)| sent.id == *id);
            // A snapshot may lack the batches before the producer was forgotten.
            if let Some((_, base, at)) = last.filter(|(_, base, _)| base < fresh) {
                *fresh = *base;
                self.heard.insert(*id, *at);
            }
        }
    }

    /// The state after an opening and a truncation. A resent batch left nothing in the log, and
    /// where the last batch is truncated, those before it may have been compacted.
    fn read_again(&mut self, log: &Log, is_opening: bool, place: &str) {
        self.replayed = self.now;
        if is_opening || self.compacts {
            self.heard = self.stored.iter().map(|(sent, _, at)| (sent.id, *at)).collect();
        }
        for (id, compacted) in &self.went_on {
            if self.last(*id).is_some_and(|(_, base, _)| base < compacted) {
                self.heard.insert(*id, T0 - SILENCE);
            }
        }
        let states = log.producers().unwrap();
        // A snapshot that was removed may be back after a loss of power.
        let is_there = |id: &ProducerId| states.iter().any(|state| state.producer_id == *id);
        self.forgotten.retain(|id| !is_there(id));
        let ids: BTreeSet<_> = self.stored.iter().map(|(sent, ..)| sent.id).collect();
        for id in ids {
            let (sent, base, _) = self.last(id).unwrap();
            let is_deleted = base + sent.count as u64 <= self.start;
            if is_deleted && !is_there(&id) {
                self.forgotten.insert(id);
            }
        }
        self.check(log, place);
    }

    /// The log knows every producer it must know, and besides only producers that fell silent.
    fn check(&self, log: &Log, place: &str) {
        let states = log.producers().unwrap();
        for state in &states {
            let last = self.last(state.producer_id).map(Model::state);
            let is_vague = self.is_vague(state.producer_id);
            let is_stored = self.stored.iter().any(|stored| Model::state(stored) == *state);
            assert!(
                Some(*state) == last || (is_vague && is_stored),
                "{place}: {state:?}, {last:?}"
            );
            assert!(!self.forgotten.contains(&state.producer_id), "{place}");
        }
        for (sent, ..) in &self.stored {
            let is_there = states.iter().any(|state| state.producer_id == sent.id);
            assert!(is_there || !self.is_remembered(sent.id).0, "{place}: {} is lost", sent.id);
        }
        assert_eq!((log.offsets().start, log.offsets().end), (self.start, self.end), "{place}");
    }

    /// Everything that was taken is there once.
    fn check_records(&self, log: &Log, place: &str) {
        let found = read_all(log).into_iter().map(|record| {
            (record.offset, String::from_utf8(record.value.unwrap_or_default()).unwrap())
        });
        let found: BTreeMap<_, _> = found.collect();
        let expected = self.values.range(self.start..);
        if self.compacts {
            let expected: BTreeMap<_, _> = expected.collect();
            assert!(found.iter().all(|(at, value)| expected.get(at) == Some(&value)), "{place}");
        } else {
            assert!(found.iter().eq(expected), "{place}");
        }
    }

    fn next(&self, chance: &mut Chance) -> Sent {
        let id = chance.below(4) as ProducerId;
        let count = 1 + chance.below(4) as i32;
        let Some((last, ..)) = self.last(id) else {
            let first = [chance.below(9) as i32, i32::MAX - chance.below(9) as i32];
            return sent(id, 0, first[chance.below(2) as usize], count);
        };
        let next = last.first.wrapping_add(last.count) & i32::MAX;
        match chance.below(14) {
            0 => sent(id, last.epoch + 1, 0, count),
            1 => sent(id, last.epoch, next.wrapping_add(count) & i32::MAX, count),
            2 => sent(id, last.epoch + 1, 1, count),
            3 => sent(id, (last.epoch - 1).max(0), next, count),
            // A part of what is there, or more, is not what is there.
            4 => Sent { count: if last.count > 1 { last.count - 1 } else { 2 }, ..*last },
            5..9 => {
                let of: Vec<_> =
                    self.stored.iter().rev().filter(|(sent, ..)| sent.id == id).collect();
                of[chance.below(of.len().min(7) as u64) as usize].0
            }
            _ => sent(id, last.epoch, next, count),
        }
    }

    /// Sends a batch, and compares the answer with the stored batches.
    fn send(&mut self, log: &Log, batch: Sent, place: &str) -> bool {
        let last = self.last(batch.id).map(|(last, ..)| *last);
        let (must, may) = self.is_remembered(batch.id);
        let next = |last: &Sent| last.first.wrapping_add(last.count) & i32::MAX;
        let expected = last.map(|last| if batch.epoch == last.epoch { next(&last) } else { 0 });
        let follows = last.is_none_or(|last| batch.epoch >= last.epoch)
            && expected.is_none_or(|expected| expected == batch.first);
        let repeats = self.certain(batch.id).any(|sent| *sent == batch);
        let place = format!("{place}: {batch:?} after {last:?}");
        match batch.append(log, stamp(batch.id, self.now)) {
            Ok(appended) if appended.duplicate => {
                let place = format!("{place}, at {}", appended.first);
                assert!(may, "{place}");
                let mut recent = self.recent(batch.id);
                assert!(
                    recent.any(|(sent, base, _)| (*sent, *base) == (batch, appended.first)),
                    "{place}"
                );
                assert_eq!(appended.last, appended.first + batch.count as u64 - 1, "{place}");
                drop(recent);
                if !self.is_vague(batch.id) {
                    self.heard.insert(batch.id, self.now);
                }
            }
            Ok(appended) => {
                assert!((follows || !must) && !repeats, "{place}");
                assert_eq!(appended.first, self.end, "{place}");
                // No batch of an unknown producer is left.
                if !must || last.is_none_or(|last| last.epoch != batch.epoch) {
                    self.fresh.insert(batch.id, self.end);
                }
                self.heard.insert(batch.id, self.now);
                self.forgotten.remove(&batch.id);
                self.stored.push((batch, self.end, self.now));
                for n in 0..batch.count {
                    self.values.insert(self.end, batch.value(n));
                    self.end += 1;
                }
                return true;
            }
            Err(Error::Producer(ProducerStateError::Fenced { epoch, current, .. })) => {
                let last = last.unwrap();
                if self.is_vague(batch.id) {
                    return false;
                }
                assert!(may && batch.epoch < last.epoch && !repeats, "{place}");
                assert_eq!((epoch, current), (batch.epoch, last.epoch), "{place}");
            }
            Err(Error::Producer(ProducerStateError::OutOfOrder {
                expected: said, found, ..
            })) => {
                let last = last.unwrap_or_else(|| panic!("{place}: unnumbered record rejected"));
                if self.is_vague(batch.id) {
                    return false;
                }
                assert!(may && !follows && !repeats && batch.epoch >= last.epoch, "{place}");
                assert_eq!((Some(said), found), (expected, batch.first), "{place}");
            }
            Err(error) => panic!("{place}: {error}"),
        }
        false
    }
}

/// The timestamps of a producer's records: some producers send records of long ago.
fn stamp(id: ProducerId, now: i64) -> i64 {
    if id % 2 == 0 { now } else { now - 100 * SILENCE }
}

/// Spoils a snapshot or the file beside it, or removes it, or all of them.
fn harm(fs: &MemFs, chance: &mut Chance) {
    let names: Vec<_> =
        files(fs, DIR).into_iter().filter(|(name, _)| is_of_producers(name)).collect();
    if names.is_empty() {
        return;
    }
    let (name, mut bytes) = names[chance.below(names.len() as u64) as usize].clone();
    match chance.below(5) {
        0 => names.iter().for_each(|(name, _)| fs.remove(&Path::new(DIR).join(name)).unwrap()),
        1 => fs.remove(&Path::new(DIR).join(name)).unwrap(),
        2 => write_file(fs, DIR, &name, &[]),
        3 if !bytes.is_empty() => {
            let at = chance.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << chance.below(8);
            write_file(fs, DIR, &name, &bytes);
        }
        _ => {}
    }
}

/// A log, the disk it is on, and what it must hold.
struct Run {
    chance: Chance,
    clock: Arc<ManualClock>,
    disk: MemFs,
    fs: FaultFs,
    log: Log,
    model: Model,
    /// In how many steps there is one of each kind but sending.
    calm: u64,
}

impl Run {
    fn config(&self) -> LogConfig {
        let policy = [CleanupPolicy::Delete, CleanupPolicy::CompactAndDelete];
        config(&self.disk)
            .producer_id_expiration(Duration::from_millis(SILENCE as u64))
            .cleanup_policy(policy[usize::from(self.model.compacts)])
            .clock(self.clock.clone())
            .fs(self.fs.clone())
    }

    fn new(seed: u64) -> Run {
        let disk = MemFs::new();
        let fs = FaultFs::new(disk.clone());
        let log = Log::open("elsewhere", config(&MemFs::new())).unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
        let model = Model { now: T0, compacts: seed.is_multiple_of(3), ..Model::default() };
        let calm = [24, 90][seed as usize % 2];
        let mut run = Run { chance: Chance(seed), clock, disk, fs, log, model, calm };
        run.log = Log::open(DIR, run.config()).unwrap();
        run
    }

    fn reopen(&mut self, disk: MemFs, place: &str) {
        let durable = self.log.offsets().durable;
        self.disk = disk;
        harm(&self.disk, &mut self.chance);
        self.fs = FaultFs::new(self.disk.clone());
        self.log = Log::open(DIR, self.config()).unwrap();
        let end = self.log.offsets().end;
        assert!(end >= durable, "{place}: ends at {end}, {durable} was durable");
        self.model.cut(end);
        self.model.read_again(&self.log, true, place);
        self.model.check_records(&self.log, place);
    }

    /// The batch finds no room, and then it does.
    fn send_where_there_is_no_room(&mut self, place: &str) {
        let batch = self.model.next(&mut self.chance);
        let full = Rule::new(Operation::Write, Fault::Error(std::io::ErrorKind::StorageFull));
        let rule = self.fs.add_rule(full.path(".log"));
        match batch.append(&self.log, stamp(batch.id, self.model.now)) {
            Err(Error::Io { .. }) => {
                self.fs.remove_rule(rule);
                assert!(self.model.send(&self.log, batch, place), "{place}: it was not there");
            }
            _ => self.fs.remove_rule(rule),
        }
    }

    fn step(&mut self, place: &str) {
        match self.chance.below(self.calm) {
            0 => self.log.roll().unwrap(),
            1 => {
                let least = self.model.start.max(self.model.compacted);
                let least = self.model.end.saturating_sub(30).max(least);
                let target = least + self.chance.below(self.model.end - least + 1);
                self.log.truncate_to(target).unwrap();
                if target < self.model.end {
                    self.model.cut(target);
                    self.model.read_again(&self.log, false, place);
                }
            }
            2 => assert!(self.log.flush().is_ok()),
            3 => {
                self.log.append(Record::new(UNNUMBERED).key("k")).unwrap();
                self.model.values.insert(self.model.end, UNNUMBERED.to_owned());
                self.model.end += 1;
            }
            4 => {
                let disk = self.disk.clone();
                self.log.clone().close().unwrap();
                self.reopen(disk, place);
            }
            5 => self.reopen(self.disk.kill(), place),
            6 => {
                let seed = self.chance.below(1 << 40);
                self.reopen(self.disk.crash(CrashState::Random { seed }), place);
            }
            7 => {
                let millis = self.chance.below(SILENCE as u64 * 2 / 3);
                self.model.now += millis as i64;
                self.clock.advance(Duration::from_millis(millis));
            }
            8 => {
                let span = self.model.end - self.model.start;
                let target = self.model.start + self.chance.below(span / 2 + 1);
                self.model.start = self.log.delete_before(target).unwrap();
            }
            9 if self.model.compacts => {
                self.log.compact().unwrap();
                self.model.compacted =
                    self.log.stats().unwrap().segments.last().unwrap().base_offset;
                let compacted = self.model.compacted;
                let above = self.model.stored.iter().filter(|(_, base, _)| *base >= compacted);
                self.model.went_on.extend(above.map(|(sent, ..)| (sent.id, compacted)));
            }
            9 => drop(self.log.maintain().unwrap()),
            10 => self.send_where_there_is_no_room(place),
            _ => {
                let batch = self.model.next(&mut self.chance);
                self.model.send(&self.log, batch, place);
            }
        }
        self.model.check(&self.log, place);
    }
}

#[test]
fn sequences_are_unique_through_random_work() {
    let (mut batches, mut openings) = (0, 0);
    for seed in seeds("ANNALS_PRODUCER_SEEDS", 100) {
        let mut run = Run::new(seed);
        for step in 0..100 {
            run.step(&format!("seed {seed}, step {step}"));
        }
        run.model.check_records(&run.log, &format!("seed {seed}"));
        assert_eq!(run.log.verify().unwrap(), []);
        batches += run.model.stored.len();
        openings += 1;
    }
    say(&format!("producers: {batches} batches are left in {openings} logs"));
}
