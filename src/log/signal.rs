//! Waking those who wait at the end of a log.

use crate::clock::Clock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

/// Who waits: threads on the condition variable, tasks by their wakers.
///
/// A waiter first announces itself in `waiters`, then looks whether what it waits
/// for is there; a notifier first makes it be there, then looks at `waiters`.
/// Each has a sequentially consistent fence between its two steps, so at least one
/// of them sees the other, and an append that nobody waits for costs one load.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    waiters: AtomicUsize,
    next_id: AtomicU64,
    /// Taken with no other lock held. Held for a moment only.
    tasks: Mutex<BTreeMap<u64, Waker>>,
    condvar: Condvar,
}

impl Signal {
    /// An identity for a task that will wait.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Wakes everyone, after what they wait for has been published.
    #[inline(always)]
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.waiters.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let mut tasks = self.tasks.lock();
        let woken = std::mem::take(&mut *tasks);
        self.waiters.fetch_sub(woken.len(), Ordering::Relaxed);
        self.condvar.notify_all();
        drop(tasks);
        woken.into_values().for_each(Waker::wake);
    }

    /// Blocks until `ready`, or until this much time has passed; says whether it is ready.
    pub(crate) fn wait(
        &self,
        timeout: Option<Duration>,
        clock: &dyn Clock,
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        self.waiters.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let deadline = timeout.and_then(|timeout| clock.monotonic().checked_add(timeout));
        let mut tasks = self.tasks.lock();
        let is_ready = loop {
            if ready() {
                break true;
            }
            let Some(deadline) = deadline else {
                self.condvar.wait(&mut tasks);
                continue;
            };
            let left = deadline.saturating_sub(clock.monotonic());
            if left.is_zero() || self.condvar.wait_for(&mut tasks, left).timed_out() {
                break ready();
            }
        };
        drop(tasks);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        is_ready
    }

    /// Registers a task to be woken by the next [`notify`](Signal::notify), in place of what it registered before.
    /// The caller must look again whether it is ready after this.
    pub(crate) fn register(&self, id: u64, waker: &Waker) {
        let mut tasks = self.tasks.lock();
        if tasks.insert(id, waker.clone()).is_none() {
            self.waiters.fetch_add(1, Ordering::Relaxed);
        }
        drop(tasks);
        fence(Ordering::SeqCst);
    }

    /// Forgets a task.
    pub(crate) fn unregister(&self, id: u64) {
        if self.tasks.lock().remove(&id).is_some() {
            self.waiters.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether anybody waits.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) != 0
    }
}
