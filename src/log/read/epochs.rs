//! Looking up leader epochs.

use crate::epochs::LeaderEpochs;
use crate::error::Result;
use crate::log::files::epochs::load;
use crate::log::inner::LogInner;
use crate::types::Offset;

/// How often the files of a read-only log are read. The writer may truncate the log meanwhile.
const MOST_TRIES: usize = 3;

impl LogInner {
    /// Looks something up in the epochs of the log, and in an end of the log below which they are
    /// complete. A read-only log reads them from its files.
    pub(crate) fn look_up_epochs<T>(
        &self,
        look: impl FnOnce(&LeaderEpochs, Offset) -> T,
    ) -> Result<T> {
        self.state.check_readable()?;
        if self.follower.is_none() {
            // Load the end first. Otherwise records of an epoch that begins in between would
            // count as records of the epoch before it, and a follower would keep what differs.
            let end = self.state.end();
            return Ok(self.epochs.look_up(|epochs| look(epochs, end)));
        }
        let mut found = self.stored_epochs();
        for _ in 1..MOST_TRIES {
            found = found.or_else(|_| self.stored_epochs());
        }
        found.map(|(epochs, end)| look(&epochs, end))
    }

    fn stored_epochs(&self) -> Result<(LeaderEpochs, Offset)> {
        self.refresh()?;
        let segments = &self.state.segments()?.segments;
        let (start, end) = (self.state.start(), self.state.end());
        Ok((load(&self.dir, segments, start..end, None)?.epochs, end))
    }
}
