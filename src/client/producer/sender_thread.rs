//! The producer's own thread: when it has work, and how it starts and ends.
//!
//! It writes batches that have lingered, and retries, if no other thread does.

use crate::client::producer::thread_marks;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, thread};
use std::path::Path;
use std::time::Duration;

const NEVER: u64 = u64::MAX;

/// The time at which work is due, and the thread that does it.
pub(super) struct SenderThread {
    /// In nanoseconds of the monotonic clock. Set to never before the queues are looked at: a
    /// queue that gets a batch after it was looked at lowers it again.
    due: AtomicU64,
    started: AtomicBool,
    /// Leaf lock.
    thread: Mutex<Thread>,
    /// Used with the lock `thread`.
    wakeup: Condvar,
}

#[derive(Default)]
struct Thread {
    join: Option<thread::JoinHandle<()>>,
    stopped: bool,
}

impl SenderThread {
    pub(super) fn new() -> SenderThread {
        SenderThread {
            due: AtomicU64::new(NEVER),
            started: AtomicBool::new(false),
            thread: Mutex::default(),
            wakeup: Condvar::new(),
        }
    }

    /// Makes the thread look at the queues at this time or earlier.
    #[inline]
    pub(super) fn schedule(&self, at: Duration) {
        let at = u64::try_from(at.as_nanos()).unwrap_or(NEVER);
        if at < self.due.load(Ordering::Acquire) {
            self.due.fetch_min(at, Ordering::AcqRel);
            // The thread holds the lock between its check and its sleep.
            drop(self.thread.lock());
            self.wakeup.notify_one();
        }
    }

    /// Sets the time to never. Call it before you look at the queues.
    pub(super) fn reset(&self) {
        self.due.store(NEVER, Ordering::SeqCst);
    }

    /// Waits until work is due; returns false if the thread is to end.
    pub(super) fn wait(&self, clock: &dyn Clock) -> bool {
        let mut thread = self.thread.lock();
        loop {
            if thread.stopped {
                return false;
            }
            let due = self.due.load(Ordering::Acquire);
            if due == NEVER {
                self.wakeup.wait(&mut thread);
                continue;
            }
            let left = Duration::from_nanos(due).saturating_sub(clock.monotonic());
            if left.is_zero() {
                return true;
            }
            self.wakeup.wait_for(&mut thread, left);
        }
    }

    #[inline]
    pub(super) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Starts the thread with this work, unless it runs or was stopped.
    #[cold]
    pub(super) fn start(&self, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let mut thread = self.thread.lock();
        if thread.join.is_some() || thread.stopped {
            return Ok(());
        }
        let join = thread::Builder::new()
            .name("annals-producer".to_owned())
            .spawn(move || {
                thread_marks::become_writer();
                work();
            })
            .map_err(|e| Error::io("start a thread for", Path::new("a producer"), e))?;
        thread.join = Some(join);
        self.started.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends the thread, and waits for its end if `wait` is set.
    pub(super) fn stop(&self, wait: bool) {
        let mut thread = self.thread.lock();
        thread.stopped = true;
        let join = thread.join.take();
        drop(thread);
        self.wakeup.notify_all();
        // A waker that the thread calls may drop the last handle.
        let is_current =
            |join: &thread::JoinHandle<()>| join.thread().id() == thread::current().id();
        if let Some(join) = join.filter(|join| wait && !is_current(join)) {
            join.join().ok();
        }
    }
}
