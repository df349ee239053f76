//! Waking threads and tasks that wait for a condition, such as new records at the end of a log.

use crate::callback;
use crate::clock::Clock;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::task::Waker;
use std::time::Duration;

/// The waiters: threads on a condition variable, and tasks by their wakers.
///
/// A waiter first counts itself in `waiters`, then checks its condition. A notifier first makes
/// the condition true, then looks at `waiters`. Each has a sequentially consistent fence between
/// its two steps, so at least one of them sees the other, and an append without waiters costs one
/// load.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    waiters: AtomicUsize,
    next_id: AtomicU64,
    /// Taken with no other lock held. Held for a moment only.
    tasks: Mutex<BTreeMap<u64, Waker>>,
    condvar: Condvar,
}

crate::sync::thread_local! {
    /// The wakers that this thread holds back while it works under a lock; `None` while it holds
    /// none back.
    ///
    /// It has no destructor, so it exists until the thread is gone: the destructor of another
    /// thread-local may use a log or a store.
    static HELD_BACK: ManuallyDrop<RefCell<Option<Vec<Waker>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

fn replace_held(wakers: Option<Vec<Waker>>) -> Option<Vec<Waker>> {
    HELD_BACK.with(|held_back| held_back.replace(wakers))
}

/// Restores the wakers that an outer call holds back. Wakes the tasks of the wakers added since,
/// or leaves them to the outer call, even if the work panics.
struct Outer(Option<Vec<Waker>>);

impl Drop for Outer {
    fn drop(&mut self) {
        wake_all(replace_held(self.0.take()).unwrap_or_default());
    }
}

/// Does work under a lock, and returns the wakers that it held back. The caller
/// [wakes](wake_all) the tasks once the lock is released: an executor may run a task inside the
/// call of its waker, and the task may want the lock.
pub(crate) fn hold_wakers<T>(work: impl FnOnce() -> T) -> (T, Vec<Waker>) {
    let outer = Outer(replace_held(Some(Vec::new())));
    let done = work();
    let wakers = replace_held(None).unwrap_or_default();
    drop(outer);
    (done, wakers)
}

/// Does work that takes and releases locks, and wakes the tasks afterwards.
pub(crate) fn wake_after<T>(work: impl FnOnce() -> T) -> T {
    let (done, wakers) = hold_wakers(work);
    wake_all(wakers);
    done
}

/// Wakes tasks, with no lock held. Inside [`hold_wakers`], keeps the wakers instead. A waker is
/// user-supplied and may panic: all other tasks are still woken, and the caller continues.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut wakers = Some(wakers);
    HELD_BACK.with(|held_back| {
        if let Some(kept) = &mut *held_back.borrow_mut() {
            kept.extend(wakers.take().into_iter().flatten());
        }
    });
    for waker in wakers.into_iter().flatten() {
        // The panic hook has reported the panic, which belongs to the task and not to the append
        // that wakes it.
        callback::call(|| waker.wake()).ok();
    }
}

impl Notify {
    /// Returns an id for a task that will wait.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Wakes all waiters. The caller has made their condition true.
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

    /// Blocks until `ready` returns true, for at most `timeout`. Returns whether it is ready.
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

    /// Registers a task to be woken by the next [`notify`](Notify::notify), in place of its
    /// previous waker. Afterwards, the caller must check its condition again.
    pub(crate) fn register(&self, id: u64, waker: &Waker) {
        let waker = waker.clone();
        let mut tasks = self.tasks.lock();
        let replaced = tasks.insert(id, waker);
        if replaced.is_none() {
            self.waiters.fetch_add(1, Ordering::Relaxed);
        }
        // A waker may be the last handle to a task, and a task that is dropped may call
        // `unregister`. So the waker is dropped after the lock is released.
        drop(tasks);
        drop(replaced);
        fence(Ordering::SeqCst);
    }

    /// Removes the registration of a task.
    pub(crate) fn unregister(&self, id: u64) {
        let mut tasks = self.tasks.lock();
        let removed = tasks.remove(&id);
        drop(tasks);
        if removed.is_some() {
            self.waiters.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns whether there are waiters.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
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
        let (signal, woken) = (Notify::default(), Arc::new(Woken::default()));
        for boom in [false, true, false, true, false] {
            let waker = if boom { Arc::new(Boom).into() } else { woken.clone().into() };
            signal.register(signal.new_id(), &waker);
        }
        signal.notify();
        assert_eq!(woken.0.load(Ordering::SeqCst), 3);
        assert!(!signal.has_waiters());
    }

    /// This also holds if the work panics, and if calls are nested.
    #[test]
    fn held_wakers_are_woken_when_work_ends() {
        let (signal, woken) = (Notify::default(), Arc::new(Woken::default()));
        let notify = || {
            signal.register(signal.new_id(), &woken.clone().into());
            signal.notify();
        };
        let count = || woken.0.load(Ordering::SeqCst);
        let ((), wakers) = hold_wakers(|| {
            notify();
            wake_after(notify);
            assert_eq!(count(), 0);
        });
        assert_eq!((count(), wakers.len()), (0, 2));
        wake_all(wakers);
        let panics = || {
            notify();
            panic!("as it was told");
        };
        assert!(catch_unwind(AssertUnwindSafe(|| wake_after(panics))).is_err());
        assert_eq!(count(), 3);
        notify();
        assert_eq!(count(), 4);
    }

    /// A task that unregisters when it is dropped. Its waker is the last to hold it.
    struct Task(Arc<Notify>, u64);

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
            let signal = Arc::new(Notify::default());
            let waker = || Waker::from(Arc::new(Task(Arc::clone(&signal), 7)));
            signal.register(1, &waker());
            signal.register(1, &waker());
            signal.unregister(1);
            tell.send(signal.has_waiters()).unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(false));
    }
}
