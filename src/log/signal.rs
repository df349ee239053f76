//! Waking those who wait at the end of a log.

use crate::clock::Clock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Wakes tasks, with no lock held. A waker is user-supplied and may panic; the others are woken
/// all the same, and what woke them goes on.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        // The panic hook has told. The panic belongs to the task, not to an append that happens
        // to wake it.
        catch_unwind(AssertUnwindSafe(|| waker.wake())).ok();
    }
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
        wake_all(woken.into_values());
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

    /// Registers a task to be woken by the next [`notify`](Signal::notify), in place of what it
    /// registered before. The caller must look again whether it is ready after this.
    pub(crate) fn register(&self, id: u64, waker: &Waker) {
        let waker = waker.clone();
        let mut tasks = self.tasks.lock();
        let replaced = tasks.insert(id, waker);
        if replaced.is_none() {
            self.waiters.fetch_add(1, Ordering::Relaxed);
        }
        // A waker may be the last to hold a task, which unregisters when it is dropped: not with
        // the lock held.
        drop(tasks);
        drop(replaced);
        fence(Ordering::SeqCst);
    }

    /// Forgets a task.
    pub(crate) fn unregister(&self, id: u64) {
        let mut tasks = self.tasks.lock();
        let removed = tasks.remove(&id);
        drop(tasks);
        if removed.is_some() {
            self.waiters.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether anybody waits.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;

    struct Boom;

    impl Wake for Boom {
        fn wake(self: Arc<Self>) {
            panic!("as it was told");
        }
    }

    #[derive(Default)]
    struct Woken(AtomicU64);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn panicking_waker_leaves_others_awake() {
        let (signal, woken) = (Signal::default(), Arc::new(Woken::default()));
        for boom in [false, true, false, true, false] {
            let waker = if boom { Arc::new(Boom).into() } else { woken.clone().into() };
            signal.register(signal.new_id(), &waker);
        }
        signal.notify();
        assert_eq!(woken.0.load(Ordering::SeqCst), 3);
        assert!(!signal.has_waiters());
    }

    /// A task that unregisters when it is dropped. Its waker is the last to hold it.
    struct Task(Arc<Signal>, u64);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Task {
        fn drop(&mut self) {
            self.0.unregister(self.1);
        }
    }

    #[test]
    fn dropped_waker_may_unregister_its_task() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let signal = Arc::new(Signal::default());
            let waker = || Waker::from(Arc::new(Task(Arc::clone(&signal), 7)));
            signal.register(1, &waker());
            signal.register(1, &waker());
            signal.unregister(1);
            tell.send(signal.has_waiters()).unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(false));
    }
}
