//! Setting the high watermark of a replicated log.
//!
//! It bounds what readers see, so it moves before the first unstable offset, which bounds the
//! readers of committed records further: whichever mixture of the two a reader loads, it shows
//! nothing that neither the old nor the new offsets allow.

use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::inner::LogInner;
use crate::types::Offset;

impl LogInner {
    /// Sets the high watermark to an offset between the ends of the log, and returns it.
    pub(crate) fn set_high_watermark(&self, wanted: Offset) -> Result<Offset> {
        let (is_moved, set) = {
            let mut slot = self.appends.writer.lock();
            self.state.check_writable()?;
            let writer = slot.as_mut().ok_or_else(|| self.state.closed())?;
            if !self.config.replicated {
                let reason = format!(
                    "of log {} is false, so its high watermark is its end; open the log with \
                     `replicated(true)` to set another",
                    self.state.location()
                );
                return Err(Error::InvalidConfig { option: "replicated", reason });
            }
            let before = self.state.high_watermark();
            let set = wanted.max(self.state.start()).min(self.state.end_for_writer());
            self.state.set_high_watermark(set);
            writer.tracked.set_high_watermark(set);
            self.state.set_first_unstable(writer.tracked.first_unstable());
            // With the lock held, or a stored offset could be lowered after another call has
            // raised the high watermark again.
            let stored = if set < before { self.store_lower_high_watermark(set) } else { Ok(()) };
            (set != before, stored.map(|()| set))
        };
        if is_moved {
            self.state.waiters.notify();
        }
        set
    }

    /// Lowers the stored high watermark, durably, if it is above an offset.
    pub(crate) fn store_lower_high_watermark(&self, offset: Offset) -> Result<()> {
        if !self.config.replicated {
            return Ok(());
        }
        self.stored_high_watermark.lower(&self.flushes.checkpoints, offset)
    }

    /// Stores the high watermark of a replicated log, if it has moved. The caller holds the change
    /// lock. On a full disk the file stays as it is, and the failure is reported.
    pub(crate) fn store_high_watermark(&self) -> Result<()> {
        if !self.config.replicated {
            return Ok(());
        }
        let present = || self.state.high_watermark();
        match self.stored_high_watermark.store(&self.flushes.checkpoints, present) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                let path = self.dir.path.join(Checkpoint::HighWatermark.file());
                self.emit(&Event::CheckpointFailed { path, error: error.cause() });
                Ok(())
            }
            stored => stored,
        }
    }
}
