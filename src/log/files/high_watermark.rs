//! The stored high watermark of a replicated log.
//!
//! It may be lower than the high watermark, because a replica raises it with almost every fetch.
//! It is never higher for longer than a call takes: a call that lowers the high watermark stores
//! the lower one before it returns. So an opening after a crash never finds a high watermark above
//! the last one that was set.

use crate::error::Result;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::checkpoints::Checkpoints;
use crate::sync::Mutex;
use crate::types::Offset;

/// Keeps the stored high watermark from being above the one in memory.
#[derive(Debug, Default)]
pub(crate) struct StoredHighWatermark {
    /// The value in the file, or the one that it may have; `None` if it is not known. Held while
    /// the file is replaced.
    stored: Mutex<Option<Offset>>,
}

impl StoredHighWatermark {
    /// Stores the present high watermark, durably, if it is another one. It is read with the lock
    /// held, so that a lower one is not overwritten with it.
    pub(crate) fn store(
        &self,
        checkpoints: &Checkpoints,
        present: impl FnOnce() -> Offset,
    ) -> Result<()> {
        let mut stored = self.stored.lock();
        let present = present();
        if *stored == Some(present) {
            return Ok(());
        }
        // A replacement that fails may have happened.
        *stored = None;
        checkpoints.set(Checkpoint::HighWatermark, present)?;
        *stored = Some(present);
        Ok(())
    }

    /// Lowers the stored high watermark, durably, if it is higher.
    pub(crate) fn lower(&self, checkpoints: &Checkpoints, offset: Offset) -> Result<()> {
        let mut stored = self.stored.lock();
        if stored.is_none() {
            *stored = checkpoints.get(Checkpoint::HighWatermark)?;
        }
        if stored.is_none_or(|stored| stored <= offset) {
            return Ok(());
        }
        *stored = None;
        checkpoints.set(Checkpoint::HighWatermark, offset)?;
        *stored = Some(offset);
        Ok(())
    }
}
