//! Awaiting durability without blocking a thread.

use crate::callback;
use crate::error::{Error, Result};
use crate::log::inner::LogInner;
use crate::sync::thread;
use crate::types::Offset;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

/// A future that resolves to the durable end of the log once a given offset is durable.
///
/// [`Log::flush_async`](crate::Log::flush_async) creates it. The first one that is awaited starts
/// a thread that syncs for all of them, in groups; the thread ends when no task waits any more.
/// Dropping the future is safe: it takes nothing back and promises nothing, and a later flush
/// covers the same records.
#[must_use = "nothing is synced until it is awaited"]
#[derive(Debug)]
pub struct FlushFuture {
    log: Arc<LogInner>,
    below: Offset,
    id: u64,
}

impl FlushFuture {
    pub(crate) fn new(log: &Arc<LogInner>, below: Offset) -> FlushFuture {
        FlushFuture { log: Arc::clone(log), below, id: log.flushes.syncer.new_id() }
    }

    fn start_thread(&self) -> Result<()> {
        let log = Arc::downgrade(&self.log);
        thread::Builder::new()
            .name("annals-sync".to_owned())
            .spawn(move || sync_for_tasks(&log))
            .map_err(|e| Error::io("start a thread for", &self.log.dir.path, e))?;
        Ok(())
    }
}

impl Future for FlushFuture {
    type Output = Result<Offset>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Offset>> {
        let (log, syncer) = (&self.log, &self.log.flushes.syncer);
        let durable = log.state.durable();
        if durable >= log.still_there(self.below) {
            return Poll::Ready(Ok(durable));
        }
        // No event between this look and the registration is missed: the thread looks at all
        // registered tasks before it ends.
        let start = || self.start_thread();
        let waits = syncer
            .take_failure(self.id)
            .map_or(Ok(()), Err)
            .and_then(|()| log.state.check_writable())
            .and_then(|()| syncer.register(self.id, self.below, context.waker(), start));
        waits.map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending)
    }
}

impl Drop for FlushFuture {
    fn drop(&mut self) {
        self.log.flushes.syncer.forget(self.id);
    }
}

/// Syncs while a task waits, and ends when the log is gone or no task waits.
fn sync_for_tasks(log: &Weak<LogInner>) {
    while let Some(log) = log.upgrade() {
        let syncer = &log.flushes.syncer;
        let Some(wanted) = syncer.next_wanted() else { return };
        // After a listener's or a clock's panic the tasks look again themselves.
        let synced = callback::call(|| log.sync_below(log.still_there(wanted)));
        match synced {
            Ok(Ok(_)) => log.wake_flushed_tasks(),
            Ok(Err(error)) => syncer.fail(&error),
            Err(_panic) => syncer.wake_all(),
        }
    }
}

impl LogInner {
    /// Returns the offset up to which there is still something to make durable: the log may have
    /// been truncated.
    fn still_there(&self, below: Offset) -> Offset {
        below.min(self.state.end())
    }

    /// Wakes the tasks whose offset is durable, and all tasks if no more fsync can succeed or
    /// everything in the log is durable: it may have been truncated below their offsets.
    pub(crate) fn wake_flushed_tasks(&self) {
        let durable = self.state.durable();
        let all = durable >= self.state.end() || self.state.check_writable().is_err();
        self.flushes.syncer.wake(if all { Offset::MAX } else { durable });
    }
}

#[cfg(test)]
mod tests;
