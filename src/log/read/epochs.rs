//! Looking up leader epochs.

use crate::epochs::LeaderEpochs;
use crate::error::Result;
use crate::log::files::epochs::load;
use crate::log::inner::LogInner;

impl LogInner {
    /// Returns the epochs of the log. A read-only log reads them from its files.
    pub(crate) fn leader_epochs(&self) -> Result<LeaderEpochs> {
        self.state.check_readable()?;
        if self.follower.is_none() {
            return Ok(self.epochs.known());
        }
        self.refresh()?;
        let segments = &self.state.segments()?.segments;
        let offsets = self.state.start()..self.state.end();
        Ok(load(&self.dir, segments, offsets, None)?.epochs)
    }
}
