//! Closing a log: making everything durable, and leaving a marker for the next opening.

use crate::checkpoint::{CLEAN_SHUTDOWN, CleanShutdown};
use crate::error::{CloseReason, Error, ErrorKind, Result};
use crate::event::{self, Event};
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::listing::Listing;
use crate::log::inner::LogInner;
use crate::log::state::writer::Writer;
use crate::segment::name::Kind;
use std::sync::Arc;

/// Whether a log is closed alone or with all logs of its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closes {
    Alone,
    WithOthers,
}

impl LogInner {
    /// Closes the log for all its handles.
    pub(crate) fn close(&self) -> Result<()> {
        self.close_by(Closes::Alone, CloseReason::ByHandle)
    }

    /// Closes one of the logs of a data directory that are closed together.
    pub(crate) fn close_with_others(&self, reason: CloseReason) -> Result<()> {
        self.close_by(Closes::WithOthers, reason)
    }

    fn close_by(&self, how: Closes, reason: CloseReason) -> Result<()> {
        let held = event::hold();
        let closed = self.close_now(how, reason);
        self.release_files();
        self.state.waiters.notify();
        #[cfg(feature = "futures")]
        self.wake_flushed_tasks();
        held.deliver();
        closed
    }

    fn close_now(&self, how: Closes, reason: CloseReason) -> Result<()> {
        // No maintenance may write after the directory lock is released. A pass that begins after
        // this finds the log closed.
        self.cleaning.pause();
        let mut closing = self.cleaning.cleaner.lock();
        closing.wait();
        let _change = self.cleaning.change.lock();
        let writer = {
            let mut slot = self.appends.writer.lock();
            let open = self.state.check_readable();
            if open.is_ok() || reason != CloseReason::ByHandle {
                self.state.set_close_reason(reason);
            }
            open?;
            slot.take()
        };
        // Only this close changes the log from here on. A flush that is still running promises
        // only its own records, and they are durable before its recovery point is set.
        if how == Closes::WithOthers {
            self.flushes.checkpoints.hold();
        }
        let closed = self.poison_on_unwind("close", || self.close_writer(writer));
        // Another thread's fsync may be about to write the recovery point, which must not happen
        // after the directory lock is released.
        let syncs = self.flushes.pause_syncs();
        self.state.latch_closed();
        // From here on another writer may own the files of segments that readers still hold.
        self.dir.disown();
        *self.ownership.lock() = None;
        drop(syncs);
        closed
    }

    /// Closes the files of the log if this is its writer.
    fn close_writer(&self, writer: Option<Writer>) -> Result<()> {
        let closed = match writer {
            Some(writer) => self.state.check_writable().and_then(|()| self.close_files(writer)),
            None if self.state.is_read_only() => Ok(()),
            // An earlier close took the writer, and panicked.
            None => self.state.check_writable(),
        };
        if closed.is_err() {
            // The close has failed already, whether or not this succeeds.
            self.write_unsynced_again().ok();
        }
        closed
    }

    /// Makes everything durable and stores a marker that says so, so that the next opening has
    /// nothing to read.
    fn close_files(&self, mut writer: Writer) -> Result<()> {
        let end = self.state.end();
        let segment = Arc::clone(&writer.segment);
        writer.cadence.finish(&writer.indexes);
        writer.log.trim()?;
        match self.store_indexes(&mut writer) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.discard_indexes(segment.base, &error)
            }
            stored => stored?,
        }
        let is_indexed = match self.store_aborted(&mut writer) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                // Without them, the next opening reads the whole segment, and finds the entries.
                self.discard_indexes(segment.base, &error);
                false
            }
            stored => stored.map(|()| true)?,
        };
        self.sync_below(end)?;
        // The leader of an fsync raises `durable` before it writes the recovery point: let it
        // finish. Even if all records are durable, the file names that a roll created may not be.
        let sync = self.flushes.pause_syncs();
        if sync.new_names {
            self.sync_segments(&sync.segments, true)?;
        }
        drop(sync);
        let path = segment.path(Kind::Log);
        writer.log.file().sync_all().map_err(|e| Error::io("sync", &path, e))?;
        segment.sync_indexes()?;
        if writer.tracked.len() > 0 {
            self.store_producers(&mut writer.tracked, segment.base, writer.log.position());
        }
        // The names of the indexes and of the snapshot must be durable, too, before the recovery
        // point covers them.
        self.dir.sync()?;
        self.unless_full(self.flushes.store_recovery_point(end), Checkpoint::RecoveryPoint.file())?;
        self.store_high_watermark()?;
        if !is_indexed {
            return Ok(());
        }
        let marker = CleanShutdown {
            base: segment.base,
            bytes: writer.log.position(),
            end,
            largest: writer.cadence.largest,
            first_timestamp: writer.first_timestamp,
            bytes_since_entry: writer.cadence.bytes_since_entry(),
            offset_entries: writer.indexes.offsets.len() as u64,
            time_entries: writer.indexes.times.len() as u64,
            producers: Some(writer.tracked.len() as u64),
            epochs: self.epochs.look_up(|epochs| epochs.entries().len() as u64),
            aborted: Listing::read(&self.dir)?.aborted_transactions(),
            segments: self
                .state
                .segments()?
                .segments
                .iter()
                .map(|s| (s.base, s.published()))
                .collect(),
        };
        self.unless_full(self.flushes.checkpoints.set_clean_shutdown(marker), CLEAN_SHUTDOWN)
    }

    /// Ignores a full disk for a file that only saves the next opening work, and reports it.
    fn unless_full(&self, written: Result<()>, file: &str) -> Result<()> {
        match written {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                let path = self.dir.path.join(file);
                self.emit(&Event::CheckpointFailed { path, error: error.cause() });
                Ok(())
            }
            other => other,
        }
    }
}
