//! How long the leader of an fsync waits for other threads to join.
//!
//! Threads that append and wait for the disk in a loop split into two groups: while one group
//! waits for an fsync that is running, the previous fsync has just released the other. Each fsync
//! then serves half of them, or a single one if the first thread to return starts the next at
//! once. So the leader waits a moment for the threads that the last fsync released, and for those
//! that arrived while it ran. It waits on while threads arrive.
//!
//! That costs time if they do not return. So the leader waits for each of them no longer than an
//! fsync takes, and for all of them a few milliseconds at most, because after one slow fsync it
//! would stall. After each wait in vain it skips twice as many fsyncs without waiting.

use crate::types::Offset;
use std::time::Duration;

/// The largest number of fsyncs without a wait after a wait in vain.
const MAX_REST: u32 = 64;

/// The longest that a leader waits for others, however slow the last fsync was.
const LONGEST_WAIT: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct SyncBatcher {
    /// Counts the fsyncs that have begun, so that each waiting thread is counted once.
    round: u64,
    /// The number of threads that wait for the next fsync.
    joined: usize,
    /// The number of threads that wait for the running fsync, or waited for the last.
    served: usize,
    /// Everything below this is covered by the fsync that is running.
    covered: Offset,
    /// The number of threads to expect for the next fsync.
    expected: usize,
    /// The duration of the last fsync, in real time.
    took: Duration,
    /// The longest that a leader waits in all.
    pub(crate) longest_wait: Duration,
    /// The number of fsyncs left without a wait, and the number after the next wait in vain.
    rest: u32,
    next_rest: u32,
}

impl Default for SyncBatcher {
    fn default() -> SyncBatcher {
        SyncBatcher {
            round: 0,
            joined: 0,
            served: 0,
            covered: 0,
            expected: 0,
            took: Duration::ZERO,
            longest_wait: LONGEST_WAIT,
            rest: 0,
            next_rest: 0,
        }
    }
}

impl SyncBatcher {
    /// Counts a thread that waits for everything below `wanted` to be durable; `counted` remembers
    /// that the caller was counted.
    pub(crate) fn join(&mut self, wanted: Offset, running: bool, counted: &mut Option<u64>) {
        if *counted == Some(self.round) {
            return;
        }
        *counted = Some(self.round);
        if running && wanted <= self.covered {
            self.served = self.served.saturating_add(1);
        } else {
            self.joined = self.joined.saturating_add(1);
        }
    }

    /// Returns whether all expected threads have arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.joined >= self.expected
    }

    /// Returns how many wait for the next sync.
    pub(crate) fn joined(&self) -> usize {
        self.joined
    }

    /// Returns how long to wait for the threads that have not arrived; `None` to begin at once.
    pub(crate) fn patience(&mut self) -> Option<Duration> {
        if self.is_complete() || self.took.is_zero() {
            return None;
        }
        if self.rest > 0 {
            self.rest = self.rest.saturating_sub(1);
            return None;
        }
        Some(self.took.min(self.longest_wait))
    }

    /// Records whether the wait was useful.
    pub(crate) fn waited(&mut self) {
        if self.is_complete() {
            self.next_rest = 0;
        } else {
            self.next_rest = self.next_rest.saturating_mul(2).clamp(1, MAX_REST);
            self.rest = self.next_rest;
        }
    }

    /// Records that an fsync of everything below `covered` begins, for all threads that have
    /// joined.
    pub(crate) fn begin(&mut self, covered: Offset) {
        self.round = self.round.wrapping_add(1);
        self.served = std::mem::take(&mut self.joined);
        self.covered = covered;
    }

    /// Records the end of the fsync and its duration.
    pub(crate) fn end(&mut self, took: Duration) {
        self.covered = 0;
        self.took = took;
        self.expected = self.joined.saturating_add(self.served);
    }
}

#[cfg(test)]
mod tests;
