use super::*;
use crate::random::SplitMix64;
use std::collections::BTreeMap;

fn of(entries: &[(LeaderEpoch, Offset)]) -> LeaderEpochs {
    let entry = |&(epoch, start_offset): &_| EpochStart { epoch, start_offset };
    LeaderEpochs { entries: entries.iter().map(entry).collect() }
}

fn changed(
    entries: &[(LeaderEpoch, Offset)],
    change: impl FnOnce(&mut LeaderEpochs) -> bool,
) -> LeaderEpochs {
    let before = of(entries);
    let mut epochs = before.clone();
    let is_changed = change(&mut epochs);
    assert_eq!(is_changed, epochs != before, "{before:?} {epochs:?}");
    epochs
}

const THREE: [(LeaderEpoch, Offset); 3] = [(0, 0), (1, 20), (3, 50)];

#[test]
fn end_of_epoch_is_kafkas() {
    let end = |epoch| of(&THREE).end_offset_for(epoch, 80).map(|end| (end.epoch, end.end_offset));
    assert_eq!(end(0), Some((0, 20)));
    assert_eq!(end(1), Some((1, 50)));
    assert_eq!(end(2), Some((1, 50)));
    assert_eq!(end(3), Some((3, 80)));
    assert_eq!(end(4), None);
    assert_eq!(end(-1), None);
    let end = of(&[(5, 10)]).end_offset_for(4, 80);
    assert_eq!(end, Some(EpochEnd { epoch: 4, end_offset: 10 }));
    assert_eq!(of(&[]).end_offset_for(0, 80), None);
}

#[test]
fn truncation_keeps_epoch_at_cut() {
    let front = |start| changed(&THREE, |epochs| epochs.truncate_from_start(start));
    assert_eq!(front(30), of(&[(1, 30), (3, 50)]));
    assert_eq!(front(0), of(&THREE));
    assert_eq!(front(20), of(&[(1, 20), (3, 50)]));
    assert_eq!(front(90), of(&[(3, 90)]));
    assert_eq!(changed(&[(1, 20)], |epochs| epochs.truncate_from_start(19)), of(&[(1, 20)]));
    let end = |end| changed(&THREE, |epochs| epochs.truncate_from_end(end));
    assert_eq!(end(50), of(&[(0, 0), (1, 20)]));
    assert_eq!(end(51), of(&THREE));
    assert_eq!(end(0), of(&[]));
}

#[test]
fn assignment_removes_contradicting_epochs() {
    let assigned = |epoch, start| changed(&THREE, |epochs| epochs.assign(epoch, start));
    assert_eq!(assigned(2, 60), of(&[(0, 0), (1, 20), (2, 60)]));
    assert_eq!(assigned(4, 15), of(&[(0, 0), (4, 15)]));
    assert_eq!(assigned(4, 80), of(&[(0, 0), (1, 20), (3, 50), (4, 80)]));
    assert_eq!(assigned(3, 50), of(&THREE));
    assert_eq!(assigned(3, 70), of(&THREE));
    assert_eq!(assigned(3, 49), of(&[(0, 0), (1, 20), (3, 49)]));
    assert_eq!(assigned(-1, 80), of(&THREE));
}

#[test]
fn epoch_of_offset_is_latest_that_began() {
    let at = |offset| of(&THREE[1..]).epoch_at(offset);
    assert_eq!([19, 20, 49, 50, 99].map(at), [None, Some(1), Some(1), Some(3), Some(3)]);
}

#[test]
fn file_has_kafkas_format() {
    assert_eq!(of(&[(0, 0), (2, 30)]).format(), "0\n2\n0 0\n2 30\n");
    assert_eq!(LeaderEpochs::parse("0\n2\n0 0\n2 30\n"), Ok(of(&[(0, 0), (2, 30)])));
    assert_eq!(LeaderEpochs::parse(""), Ok(of(&[])));
    for malformed in
        ["0\n1\n-1 0\n", "0\n2\n2 0\n2 30\n", "0\n2\n3 0\n2 30\n", "0\n2\n2 30\n3 30\n", "1\n0\n"]
    {
        assert!(LeaderEpochs::parse(malformed).is_err(), "{malformed:?}");
    }
}

/// The rules of Kafka's cache, written down over a sorted map as in its own source.
#[derive(Default)]
struct Model(BTreeMap<LeaderEpoch, Offset>);

impl Model {
    fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        let known = self.0.last_key_value().is_some_and(|(e, s)| *e == epoch && *s <= start);
        if !known {
            self.0.retain(|e, s| *e < epoch && *s < start);
            self.0.insert(epoch, start);
        }
    }

    fn truncate_from_start(&mut self, start: Offset) {
        let gone: Vec<_> = self.0.iter().filter(|(_, s)| **s <= start).map(|(e, _)| *e).collect();
        self.0.retain(|e, _| !gone.contains(e));
        gone.last().map(|last| self.0.insert(*last, start));
    }

    fn end_offset_for(&self, epoch: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        if self.0.last_key_value().is_some_and(|(latest, _)| *latest == epoch) {
            return Some((epoch, end));
        }
        let (_, start) = self.0.range(epoch + 1..).next()?;
        let floor = self.0.range(..=epoch).next_back();
        Some((floor.map_or(epoch, |(floor, _)| *floor), *start))
    }
}

#[test]
fn random_changes_equal_model() {
    for seed in 0..200 {
        let mut random = SplitMix64(seed);
        let (mut model, mut epochs) = (Model::default(), LeaderEpochs::default());
        for _ in 0..60 {
            let epoch = random.below(30) as LeaderEpoch;
            let offset = random.below(100);
            match random.below(5) {
                0 => {
                    model.0.retain(|_, start| *start < offset);
                    epochs.truncate_from_end(offset);
                }
                1 => {
                    model.truncate_from_start(offset / 4);
                    epochs.truncate_from_start(offset / 4);
                }
                _ => {
                    model.assign(epoch, offset);
                    epochs.assign(epoch, offset);
                }
            }
            let expected: Vec<_> = model.0.iter().map(|(e, s)| (*e, *s)).collect();
            assert_eq!(epochs, of(&expected), "seed {seed}");
            assert_eq!(LeaderEpochs::parse(&epochs.format()), Ok(epochs.clone()));
            for epoch in 0..31 {
                let end = epochs.end_offset_for(epoch, 100).map(|end| (end.epoch, end.end_offset));
                assert_eq!(end, model.end_offset_for(epoch, 100), "seed {seed}, {expected:?}");
            }
            for offset in 0..100 {
                let at = model.0.iter().rfind(|(_, start)| **start <= offset);
                assert_eq!(epochs.epoch_at(offset), at.map(|(epoch, _)| *epoch));
            }
        }
    }
}
