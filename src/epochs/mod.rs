//! The history of leader epochs: which leader appended which part of a log.
//!
//! Every batch carries the epoch of the leader that appended it. The history has the offset at
//! which each epoch began, so that a follower can find the point up to which its log equals the
//! leader's: it asks where its latest epoch ends there, and truncates to it. The rules are those
//! of Kafka's epoch cache. This module neither locks nor reads files.

#[cfg(test)]
mod tests;

use crate::checkpoint::parse_epoch_checkpoint;
use crate::types::{LeaderEpoch, Offset};
use std::fmt::Write as _;

/// A leader epoch and the offset at which it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset of its first record. It can be the end of the log, if the leader has not
    /// appended anything yet.
    pub start_offset: Offset,
}

/// The end of a leader epoch: what [`Log::epoch_end_offset`](crate::Log::epoch_end_offset)
/// returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EpochEnd {
    /// The epoch: the requested one or, if the log does not have it, the next lower one.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// The epochs of a log, with rising epochs and rising offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<EpochStart>,
}

impl LeaderEpochs {
    /// Parses a `leader-epoch-checkpoint`.
    ///
    /// # Errors
    /// The problem, in words.
    pub(crate) fn parse(text: &str) -> Result<LeaderEpochs, &'static str> {
        let entry = |(epoch, start_offset)| EpochStart { epoch, start_offset };
        let entries: Vec<_> = parse_epoch_checkpoint(text)?.into_iter().map(entry).collect();
        if entries.first().is_some_and(|first| first.epoch < 0) {
            return Err("an epoch is negative");
        }
        let rises = |one: &EpochStart, next: &EpochStart| {
            one.epoch < next.epoch && one.start_offset < next.start_offset
        };
        if !entries.is_sorted_by(rises) {
            return Err("its epochs and offsets do not rise");
        }
        Ok(LeaderEpochs { entries })
    }

    /// Returns the content of a `leader-epoch-checkpoint`.
    pub(crate) fn format(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for EpochStart { epoch, start_offset } in &self.entries {
            // Writing to a string cannot fail.
            writeln!(text, "{epoch} {start_offset}").ok();
        }
        text
    }

    pub(crate) fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    pub(crate) fn into_entries(self) -> Vec<EpochStart> {
        self.entries
    }

    /// Returns the latest epoch; -1 if there is none.
    pub(crate) fn latest(&self) -> LeaderEpoch {
        self.entries.last().map_or(-1, |latest| latest.epoch)
    }

    /// Records that an epoch begins at an offset, and removes what contradicts that. Returns
    /// whether anything changed. An epoch below 0 is unknown, and changes nothing.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let is_known =
            |latest: &EpochStart| latest.epoch == epoch && latest.start_offset <= start_offset;
        if epoch < 0 || self.entries.last().is_some_and(is_known) {
            return false;
        }
        let is_before = |e: &EpochStart| e.epoch < epoch && e.start_offset < start_offset;
        self.entries.truncate(self.entries.partition_point(is_before));
        self.entries.push(EpochStart { epoch, start_offset });
        true
    }

    /// Records the epoch of the next batch of a log that is read from its start.
    pub(crate) fn observe(&mut self, epoch: LeaderEpoch, base_offset: Offset) {
        // No checksum covers the epoch of a batch: one that goes back is not believed.
        if epoch > self.latest() {
            self.assign(epoch, base_offset);
        }
    }

    /// Removes the epochs that begin at or above an offset. Returns whether anything changed.
    pub(crate) fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.truncate(self.entries.partition_point(|e| e.start_offset < end));
        self.entries.len() < before
    }

    /// Removes the epochs that end at or below an offset. The epoch at the offset begins there
    /// from now on. Returns whether anything changed.
    pub(crate) fn truncate_from_start(&mut self, start: Offset) -> bool {
        let reached = self.entries.partition_point(|e| e.start_offset <= start);
        let Some(last) = reached.checked_sub(1) else { return false };
        self.entries.drain(..last);
        let moved = self.entries.first_mut().filter(|first| first.start_offset < start);
        let is_moved = moved.is_some();
        moved.into_iter().for_each(|first| first.start_offset = start);
        is_moved || last > 0
    }

    /// Returns where an epoch ends in a log that ends at `log_end`. For an epoch that the log does
    /// not have, returns the end of the next lower one. Returns `None` if all epochs are lower,
    /// because the log may lack the requested one.
    pub(crate) fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if epoch < 0 {
            return None;
        }
        if epoch == self.latest() {
            return Some(EpochEnd { epoch, end_offset: log_end });
        }
        let above = self.entries.partition_point(|e| e.epoch <= epoch);
        let end_offset = self.entries.get(above)?.start_offset;
        let floor = above.checked_sub(1).and_then(|floor| self.entries.get(floor));
        Some(EpochEnd { epoch: floor.map_or(epoch, |floor| floor.epoch), end_offset })
    }

    /// Returns the epoch of the record at an offset; `None` below the first epoch.
    pub(crate) fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let reached = self.entries.partition_point(|e| e.start_offset <= offset);
        let at = reached.checked_sub(1).and_then(|at| self.entries.get(at));
        at.map(|at| at.epoch)
    }
}
