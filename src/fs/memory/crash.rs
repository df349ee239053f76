//! What a loss of power leaves: the choices, all of them drawn from one seed.

use super::content::{BLOCK, SECTOR};
use crate::fs::random::Random;
use std::collections::VecDeque;
use std::sync::Arc;

/// How a crash treats what was not synced. First comes what kind of crash it is, so
/// that with enough seeds nearly nothing, about half and nearly everything survives.
pub(super) struct Luck {
    random: Random,
    /// The probability that a block survives.
    block: f64,
    /// The probability that a block is torn between its sectors.
    tear: f64,
    /// The probability that a change of a directory survives.
    name: f64,
    /// Whether changes of directories survive in their order, as with a journal.
    ordered: bool,
}

impl Luck {
    pub(super) fn new(seed: u64) -> Luck {
        let mut random = Random::new(seed);
        let mut rate = |rates: [f64; 4]| {
            let index = usize::try_from(random.below(4)).unwrap_or(0);
            rates.get(index).copied().unwrap_or(0.5)
        };
        let block = rate([0.1, 0.5, 0.5, 0.9]);
        let tear = rate([0.0, 0.2, 0.2, 0.8]);
        let name = rate([0.1, 0.5, 0.5, 0.9]);
        let ordered = random.chance(0.5);
        Luck { random, block, tear, name, ordered }
    }

    /// The old or the new version of a block, or some sectors of each.
    pub(super) fn block(
        &mut self,
        old: &Arc<[u8; BLOCK]>,
        new: &Arc<[u8; BLOCK]>,
    ) -> Arc<[u8; BLOCK]> {
        if !self.random.chance(self.tear) {
            return Arc::clone(if self.random.chance(self.block) { new } else { old });
        }
        let mut torn = Arc::clone(old);
        let bytes = Arc::make_mut(&mut torn);
        for (to, from) in bytes.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
            if self.random.chance(self.block) {
                to.copy_from_slice(from);
            }
        }
        torn
    }

    /// A length the file had since its last sync, or one at which growing was interrupted.
    pub(super) fn length(&mut self, synced: u64, live: u64, between: &VecDeque<u64>) -> u64 {
        match self.random.below(4) {
            0 => synced,
            1 => live,
            2 => {
                let index = self.random.below(between.len() as u64);
                let had = usize::try_from(index).ok().and_then(|index| between.get(index));
                had.copied().unwrap_or(live)
            }
            _ => {
                let sector = SECTOR as u64;
                let (first, last) = (synced / sector + 1, live / sector);
                if first > last {
                    return live;
                }
                (first + self.random.below(last - first + 1)) * sector
            }
        }
    }

    /// Which of so many changes of directories, in their order, survive by themselves.
    pub(super) fn changes(&mut self, count: usize) -> Vec<bool> {
        if self.ordered {
            let kept = self.random.below(count as u64 + 1);
            return (0..count as u64).map(|index| index < kept).collect();
        }
        (0..count).map(|_| self.random.chance(self.name)).collect()
    }
}
