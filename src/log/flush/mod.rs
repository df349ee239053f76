//! Group commit: one thread syncs for all threads that wait.
//!
//! A thread that finds no fsync running leads one: it loads the end of the log, syncs every
//! segment that may hold unsynced bytes below it, and raises the durable end for all. Threads that
//! arrive meanwhile wait for it, and one of them leads the next fsync if the first did not cover
//! them. Appends and reads go on throughout.
//!
//! A failed fsync is never retried, because the retry could succeed although the bytes are
//! lost. The log is poisoned, and all waiting threads get the error.

#[cfg(feature = "futures")]
pub(crate) mod awaiting;

use crate::clock::{Clock as _, SystemClock};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{self, Event};
use crate::fs::OPEN;
use crate::log::config::FOREVER;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::inner::LogInner;
use crate::log::state::sync::SyncState;
use crate::segment::Segment;
use crate::segment::name::Kind;
use crate::sync::MutexGuard;
use crate::types::Offset;
use std::sync::Arc;
use std::time::Duration;

/// The number of bytes that are read and written again at a time.
const REWRITE_BYTES: usize = 1 << 20;

/// The guard of the thread that leads an fsync. However the fsync ends, the drop lets the next
/// thread lead, and wakes all waiting threads.
struct SyncLeader<'a> {
    log: &'a LogInner,
    /// How long the fsync took.
    took: Duration,
    /// Whether there are new names that it has not synced yet.
    new_names: bool,
}

impl Drop for SyncLeader<'_> {
    fn drop(&mut self) {
        let mut state = self.log.flushes.sync.lock();
        state.running = false;
        state.new_names |= self.new_names;
        state.batcher.end(self.took);
        drop(state);
        self.log.flushes.synced.notify_all();
    }
}

impl LogInner {
    /// Makes everything below `wanted` durable, returns the durable end, and wakes the tasks that
    /// wait for it. The caller holds no lock, because wakers are user-supplied code.
    pub(crate) fn flush_below(&self, wanted: Offset) -> Result<Offset> {
        let mut led = false;
        let synced = self.sync_or_join(wanted, &mut led);
        #[cfg(feature = "futures")]
        if led {
            self.wake_flushed_tasks();
        }
        synced
    }

    /// Flushes if the last flush is long enough ago. Returns the time until the next flush can be
    /// due; `None` if it never is.
    pub(crate) fn flush_by_age(&self) -> Result<Option<Duration>> {
        let interval = self.dynamic.flush_interval();
        if interval >= FOREVER || self.state.check_writable().is_err() {
            return Ok(None);
        }
        // `Clock` is user-supplied: it is read with no lock held.
        let now = self.clock().monotonic();
        let left = {
            let mut slot = self.appends.writer.lock();
            let Some(writer) = slot.as_mut() else { return Ok(None) };
            // Everything is durable. A record that is appended from now on is due after a full
            // interval.
            if self.state.durable() >= self.state.end() {
                return Ok(Some(interval));
            }
            let left = interval.saturating_sub(now.saturating_sub(writer.flushed));
            if left.is_zero() {
                writer.flushed = now;
            }
            left
        };
        if !left.is_zero() {
            return Ok(Some(left));
        }
        self.flush_below(self.state.end())?;
        Ok(Some(interval))
    }

    /// Makes everything below an offset durable, without waking tasks.
    pub(crate) fn sync_below(&self, wanted: Offset) -> Result<Offset> {
        self.sync_or_join(wanted, &mut false)
    }

    /// Leads an fsync or waits for one that covers `wanted`. Sets `led` if this thread led it.
    fn sync_or_join(&self, wanted: Offset, led: &mut bool) -> Result<Offset> {
        let mut counted = None;
        loop {
            let durable = self.state.durable();
            if durable >= wanted {
                return Ok(durable);
            }
            let mut state = self.flushes.sync.lock();
            self.state.check_writable()?;
            if self.state.durable() >= wanted {
                continue;
            }
            let running = state.running;
            state.batcher.join(wanted, running, &mut counted);
            if running {
                if state.batcher.is_complete() {
                    self.flushes.gathered.notify_one();
                }
                self.flushes.synced.wait(&mut state);
                continue;
            }
            *led = true;
            return self.lead_sync(state);
        }
    }

    pub(crate) fn lead_sync(&self, mut state: MutexGuard<'_, SyncState>) -> Result<Offset> {
        state.running = true;
        self.gather(&mut state);
        // Read the end first: everything below it is in one of these segments.
        let end = self.state.end();
        let segments = state.segments.clone();
        let new_names = std::mem::take(&mut state.new_names);
        state.batcher.begin(end);
        drop(state);
        let held = event::hold();
        let mut lead = SyncLeader { log: self, took: Duration::ZERO, new_names };
        let result = self.sync_as_leader(&mut lead, &segments, end);
        drop(lead);
        held.deliver();
        result
    }

    fn sync_as_leader(
        &self,
        lead: &mut SyncLeader<'_>,
        segments: &[Arc<Segment>],
        end: Offset,
    ) -> Result<Offset> {
        let began = self.clock().monotonic();
        // How long to wait for others depends on the real speed of the disk, not on a clock that a
        // test moves.
        let real = SystemClock::new();
        self.sync_now(segments, lead.new_names)?;
        lead.new_names = false;
        self.state.raise_durable(end);
        let sealed = segments.len().saturating_sub(1);
        self.flushes.forget_synced(segments.get(..sealed).unwrap_or_default());
        lead.took = real.monotonic();
        let took = self.clock().monotonic().saturating_sub(began);
        self.emit(&Event::Flushed { through: end, took });
        if let Some(active) = segments.get(1..).and_then(<[_]>::last) {
            self.advance_recovery_point(active.base)?;
        }
        Ok(end)
    }

    /// Writes the bytes again that no fsync has made durable. After a failed fsync, the system may
    /// keep them in memory and count them as written: the next opening would read them there, and
    /// its own fsync would return at once without writing them.
    pub(crate) fn write_unsynced_again(&self) -> Result<()> {
        let segments = self.flushes.sync.lock().segments.clone();
        let (durable, end) = (self.state.durable(), self.state.end());
        if durable >= end {
            return Ok(());
        }
        let mut bytes = vec![0; REWRITE_BYTES];
        for segment in segments {
            // If the position of the durable end is not found, the whole segment is written.
            let known =
                if durable > segment.base { segment.locate(durable, end) } else { Ok(None) };
            let mut at = known.ok().flatten().map_or(0, |found| found.position);
            let file = segment.file()?;
            let path = segment.path(Kind::Log);
            while at < segment.published() {
                let left = segment.published().saturating_sub(at);
                let len = usize::try_from(left).map_or(REWRITE_BYTES, |n| n.min(REWRITE_BYTES));
                let piece = bytes.get_mut(..len).unwrap_or_default();
                file.read_exact_at(piece, at).map_err(|e| Error::io("read", &path, e))?;
                file.write_all_at(piece, at).map_err(|e| Error::io("write", &path, e))?;
                at = at.saturating_add(len as u64);
            }
        }
        Ok(())
    }

    /// Waits a moment for other threads to join this fsync, if any are expected.
    fn gather(&self, state: &mut MutexGuard<'_, SyncState>) {
        let Some(patience) = state.batcher.patience() else { return };
        let waiting = SystemClock::new();
        while !state.batcher.is_complete() {
            let joined = state.batcher.joined();
            let left = state.batcher.longest_wait.saturating_sub(waiting.monotonic());
            self.flushes.gathered.wait_for(state, patience.min(left));
            // While threads arrive, more may follow: many threads take a while to wake up.
            if state.batcher.joined() == joined || left.is_zero() {
                break;
            }
        }
        state.batcher.waited();
    }

    /// Syncs segments. If that fails, the log is poisoned, unless the fsync was not tried.
    pub(crate) fn sync_now(&self, segments: &[Arc<Segment>], new_names: bool) -> Result<()> {
        let synced = self.sync_segments(segments, new_names);
        synced.inspect_err(|error| {
            if !was_not_opened(error) {
                self.poison(error);
            }
        })
    }

    pub(crate) fn sync_segments(&self, segments: &[Arc<Segment>], new_names: bool) -> Result<()> {
        self.poison_on_unwind("sync", || {
            for segment in segments {
                let file = segment.file()?;
                file.sync_data().map_err(|e| Error::io("sync", &segment.path(Kind::Log), e))?;
                if segment.is_sealed() {
                    segment.sync_indexes()?;
                }
            }
            if new_names {
                self.dir.sync()?;
            }
            Ok(())
        })
    }

    /// Raises the recovery point after a flush, which has succeeded even if this fails.
    ///
    /// Without room for it the old one stays, and the next opening reads more. Any other failure
    /// poisons the log, like a failed fsync.
    pub(crate) fn advance_recovery_point(&self, offset: Offset) -> Result<()> {
        let stored = self.poison_on_unwind("flush", || self.flushes.store_recovery_point(offset));
        let Err(error) = stored else { return Ok(()) };
        if !error.is_retryable() {
            self.poison(&error);
            return Err(error);
        }
        let path = self.dir.path.join(Checkpoint::RecoveryPoint.file());
        self.emit(&Event::CheckpointFailed { path, error: error.cause() });
        Ok(())
    }
}

/// Returns whether an fsync was not tried because there was no file descriptor. That says nothing
/// about the disk.
pub(crate) fn was_not_opened(error: &Error) -> bool {
    let opening = matches!(error, Error::Io { operation, .. } if *operation == OPEN);
    opening && error.kind() == ErrorKind::TooManyFiles
}

#[cfg(test)]
mod tests {
    use crate::fs::{FaultFs, MemFs, Operation};
    use crate::log::state::sync_batcher::SyncBatcher;
    use crate::{Log, LogConfig};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    fn open(fs: &FaultFs) -> Log {
        Log::open("t-0", LogConfig::default().fs(fs.clone())).unwrap()
    }

    /// Sets the state after an fsync that took this long and covered two threads.
    fn expect_two(log: &Log, took: Duration, longest_wait: Duration) {
        let mut state = log.inner.flushes.sync.lock();
        state.batcher.longest_wait = longest_wait;
        for _ in 0..2 {
            state.batcher.join(0, false, &mut None);
        }
        state.batcher.begin(0);
        state.batcher.end(took);
    }

    /// A leader does not begin before the expected threads have arrived.
    #[test]
    fn flush_joins_waiting_leader() {
        let fs = FaultFs::new(MemFs::new());
        let log = open(&fs);
        expect_two(&log, HOUR, HOUR);
        let before = fs.count(Operation::SyncData);
        log.append("a").unwrap();
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| log.flush());
            while !log.inner.flushes.sync.lock().running && !leader.is_finished() {
                std::thread::yield_now();
            }
            log.append("b").unwrap();
            assert_eq!(log.flush().unwrap(), 2);
            assert_eq!(leader.join().unwrap().unwrap(), 2);
        });
        assert_eq!(fs.count(Operation::SyncData), before + 1);
    }

    /// However slow the last fsync was, the wait is short.
    #[test]
    fn flush_leads_alone_when_no_thread_joins() {
        let fs = FaultFs::new(MemFs::new());
        let log = open(&fs);
        expect_two(&log, HOUR, SyncBatcher::default().longest_wait);
        log.append("a").unwrap();
        let (tell, told) = channel();
        std::thread::spawn(move || tell.send(log.flush()));
        assert_eq!(told.recv_timeout(Duration::from_secs(10)).unwrap().unwrap(), 1);
    }
}
