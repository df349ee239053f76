//! The leader epochs at an opening: what the file has, and the epoch to begin with.

use crate::error::{Error, ErrorKind, LogLocation, Result};
use crate::log::files::epochs::EpochFile;
use crate::log::open::Opener;
use crate::log::state::writer::{NOT_STORED, Writer};
use crate::segment::Segment;
use crate::types::Offset;
use std::ops::Range;
use std::sync::Arc;

impl Opener {
    /// Opens the epochs of the log, and gives the writer its epoch: the configured one, or the
    /// latest of the log. A configured one that is new begins at the end of the log.
    pub(crate) fn open_epochs(
        &self,
        writer: &mut Writer,
        segments: &[Arc<Segment>],
        offsets: Range<Offset>,
        at_close: Option<u64>,
    ) -> Result<EpochFile> {
        let end = offsets.end;
        let file = EpochFile::open(&self.dir, segments, offsets, at_close)?;
        let (given, current) = (self.config.leader_epoch, file.latest());
        if given != -1 && given < current {
            let partition = self.partition.as_ref().map(|of| (of.name.clone(), of.number));
            let log = LogLocation::new(&self.dir.path, partition);
            return Err(Error::StaleLeaderEpoch { log, given, current });
        }
        writer.leader_epoch = given.max(current);
        writer.assigned_epoch = writer.leader_epoch;
        let assigned = file.assign(writer.leader_epoch, end);
        match assigned {
            // The first append tries again, and fails if there is still no room.
            Err(error) if error.kind() == ErrorKind::StorageFull => {}
            assigned => assigned?,
        }
        if file.is_stale() {
            writer.assigned_epoch = NOT_STORED;
        }
        Ok(file)
    }
}
