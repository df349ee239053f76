//! The producers of a log, as an administrator sees them.

use crate::error::Result;
use crate::log::inner::LogInner;
use crate::log::replay::ProducerReplay;
use crate::producer_state::{ProducerState, Producers};
use crate::types::Timestamp;
use std::time::Duration;

impl LogInner {
    /// Returns the producers, by id.
    pub(crate) fn producer_states(&self) -> Result<Vec<ProducerState>> {
        self.state.check_readable()?;
        if self.follower.is_some() {
            return Ok(self.replayed_producers()?.states());
        }
        let writer = self.appends.writer.lock();
        Ok(writer.as_ref().ok_or_else(|| self.state.closed())?.tracked.states())
    }

    /// Returns the open transactions whose producer was not heard for so long, the earliest first.
    pub(crate) fn silent_transactions(
        &self,
        silent_for: Duration,
    ) -> Result<Vec<(ProducerState, Timestamp)>> {
        self.state.check_readable()?;
        if self.follower.is_some() {
            let now = self.clock().now();
            let replayed = self.replayed_producers()?;
            // The writer knows when it heard a producer. Its files do not, except by the records.
            let open = replayed.open_transactions().map(|(state, _)| (state, state.last_timestamp));
            return Ok(open.filter(|(_, heard)| now.since(*heard) >= silent_for).collect());
        }
        let now = self.clock().monotonic();
        let writer = self.appends.writer.lock();
        let tracked = &writer.as_ref().ok_or_else(|| self.state.closed())?.tracked;
        let now = tracked.time(now);
        let is_silent = |(_, heard): &(ProducerState, Timestamp)| now.since(*heard) >= silent_for;
        Ok(tracked.open_transactions().filter(is_silent).collect())
    }

    /// Returns the producers of a read-only log, from its newest snapshot and the batches after
    /// it.
    fn replayed_producers(&self) -> Result<Producers> {
        self.refresh()?;
        loop {
            let generation = self.state.generation();
            let replayed = self.replay_producers();
            // The writer may have replaced or truncated files meanwhile.
            self.refresh()?;
            if generation == self.state.generation() {
                return replayed;
            }
        }
    }

    fn replay_producers(&self) -> Result<Producers> {
        let (list, end) = (self.state.segments()?, self.state.end());
        let logs = list.segments.iter().map(|segment| (segment.base, segment.published()));
        let (logs, now) = (logs.collect(), self.clock().now());
        ProducerReplay::new(&self.dir, &self.config, logs, now)?.producers_at(end)
    }
}
