//! The epoch of the leader that appends: set for the log, and recorded where it begins.
//!
//! The writer keeps the epoch that it stamps, and the latest that is in the file of the epochs.
//! An append compares the two. If they differ, the file is written before the batch is.

use crate::error::{Error, Result, reject_option};
use crate::event;
use crate::log::inner::LogInner;
use crate::log::state::writer::{NOT_STORED, Writer};
use crate::types::{LeaderEpoch, Offset};

impl LogInner {
    /// Sets the epoch of the batches from now on. It begins at the end of the log.
    pub(crate) fn set_leader_epoch(&self, epoch: LeaderEpoch) -> Result<()> {
        if epoch < -1 {
            let rule = "must be at least -1, which means unknown";
            return reject_option("leader_epoch", epoch, rule);
        }
        event::deliver_after(|| {
            let mut slot = self.appends.writer.lock();
            self.state.check_writable()?;
            let writer = slot.as_mut().ok_or_else(|| self.state.closed())?;
            let (log, given, current) = (self.state.location(), epoch, writer.leader_epoch);
            if given < current {
                return Err(Error::StaleLeaderEpoch { log, given, current });
            }
            let assign = || self.epochs.assign(epoch, self.state.end_for_writer());
            self.poison_on_unwind("set the leader epoch of", assign).inspect_err(|_| {
                // The file may have the epoch. Before a batch of another is written, it must not.
                writer.assigned_epoch = NOT_STORED;
            })?;
            (writer.leader_epoch, writer.assigned_epoch) = (epoch, epoch);
            Ok(())
        })
    }

    /// Records that the writer's epoch begins at `first`, before the first batch with it is
    /// written.
    #[cold]
    pub(crate) fn assign_epoch(&self, writer: &mut Writer, first: Offset) -> Result<()> {
        self.poison_on_unwind("append to", || self.epochs.assign(writer.leader_epoch, first))?;
        writer.assigned_epoch = writer.leader_epoch;
        Ok(())
    }

    /// Returns the epoch of the record at an offset; -1 if it is not known.
    pub(crate) fn epoch_at(&self, offset: Offset) -> LeaderEpoch {
        self.epochs.look_up(|epochs| epochs.epoch_at(offset)).unwrap_or(-1)
    }

    /// Removes the epochs of records that were truncated. The next append records its epoch again.
    pub(crate) fn truncate_epochs(&self, writer: &mut Writer, end: Offset) -> Result<()> {
        self.epochs.truncate_from_end(end)?;
        writer.assigned_epoch = self.epochs.latest();
        Ok(())
    }
}
