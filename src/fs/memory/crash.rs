//! The random choices of a simulated power loss, all drawn from one seed.

use super::capacity::{BLOCK, SECTOR};
use crate::random::SplitMix64;
use std::collections::VecDeque;
use std::sync::Arc;

/// Chooses the unsynced writes that survive. The kind of crash is drawn first, so that over many
/// seeds almost nothing, about half and almost everything survives.
pub(super) struct CrashRng {
    random: SplitMix64,
    /// The probability that a block survives.
    block: f64,
    /// The probability that a block is torn between its sectors.
    tear: f64,
    /// The probability that a change of a directory survives.
    name: f64,
    /// Whether changes of directories survive in order, as with a journal.
    ordered: bool,
}

impl CrashRng {
    pub(super) fn new(seed: u64) -> CrashRng {
        let mut random = SplitMix64(seed);
        let mut rate = |rates: [f64; 4]| {
            let index = usize::try_from(random.below(4)).unwrap_or(0);
            rates.get(index).copied().unwrap_or(0.5)
        };
        let block = rate([0.1, 0.5, 0.5, 0.9]);
        let tear = rate([0.0, 0.2, 0.2, 0.8]);
        let name = rate([0.1, 0.5, 0.5, 0.9]);
        let ordered = random.chance(0.5);
        CrashRng { random, block, tear, name, ordered }
    }

    /// Returns the old or the new version of a block, or some sectors of each.
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

    /// Returns a length that the file had since its last sync, or one at which its growth was
    /// interrupted.
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

    /// Returns which of `count` changes of directories survive on their own, in order.
    pub(super) fn changes(&mut self, count: usize) -> Vec<bool> {
        if self.ordered {
            let kept = self.random.below(count as u64 + 1);
            return (0..count as u64).map(|index| index < kept).collect();
        }
        (0..count).map(|_| self.random.chance(self.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::random::SplitMix64;

    /// A seed must leave the same disk in every version, so that an old report can be replayed.
    #[test]
    fn first_numbers_match_published_generator() {
        let mut random = SplitMix64(0);
        assert_eq!(random.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.next(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn chance_is_exact_at_zero_and_one() {
        let mut random = SplitMix64(7);
        assert!((0..1000).all(|_| !random.chance(0.0)));
        assert!((0..1000).all(|_| random.chance(1.0)));
        assert_eq!(random.below(0), 0);
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
