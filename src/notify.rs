//! Waking threads and tasks that wait at the end of a log.

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
/// A waiter first announces itself in `waiters`, then checks its condition; a notifier first
/// makes the condition true, then looks at `waiters`. Each has a sequentially consistent fence
/// between its two steps, so at least one of them sees the other, and an append without waiters
/// costs one load.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    waiters: AtomicUsize,
    next_id: AtomicU64,
    /// Taken with no other lock held. Held for a moment only.
    tasks: Mutex<BTreeMap<u64, Waker>>,
    condvar: Condvar,
}

crate::sync::thread_local! {
    /// The wakers of what this thread does under a lock; `None` while it holds none.
    ///
    /// Without a destructor, it is there until the thread is gone: another thread-local's
    /// destructor may use a log or a store.
    static HELD_BACK: ManuallyDrop<RefCell<Option<Vec<Waker>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
}

fn replace_held(wakers: Option<Vec<Waker>>) -> Option<Vec<Waker>> {
    HELD_BACK.with(|held_back| held_back.replace(wakers))
}

/// Restores the wakers that were held back before, and wakes those added since, however the work
/// ends.
struct Outer(Option<Vec<Waker>>);

impl Drop for Outer {
    fn drop(&mut self) {
        wake_all(replace_held(self.0.take()).unwrap_or_default());
    }
}

/// Does work under a lock that a waker may want, and returns the wakers of its tasks, to be
/// [woken](wake_all) when the lock is released: an executor may run the task there and then.
pub(crate) fn hold_wakers<T>(work: impl FnOnce() -> T) -> (T, Vec<Waker>) {
    let outer = Outer(replace_held(Some(Vec::new())));
    let done = work();
    let wakers = replace_held(None).unwrap_or_default();
    drop(outer);
    (done, wakers)
}

/// Does work that takes and releases locks, and wakes its tasks when it is done.
pub(crate) fn wake_after<T>(work: impl FnOnce() -> T) -> T {
    let (done, wakers) = hold_wakers(work);
    wake_all(wakers);
    done
}

/// Wakes tasks, or, within [`hold_wakers`], keeps them: no lock is held. A waker is user-supplied
/// and may panic; the others are woken all the same, and what woke them goes on.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    let mut wakers = Some(wakers);
    HELD_BACK.with(|held_back| {
        if let Some(kept) = &mut *held_back.borrow_mut() {
            kept.extend(wakers.take().into_iter().flatten());
        }
    });
    for waker in wakers.into_iter().flatten() {
        // The panic hook has told. The panic belongs to the task, not to an append that happens
        // to wake it.
        callback::call(|| waker.wake()).ok();
    }
}

impl Notify {
    /// An identity for a task that will wait.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Wakes all waiters, after their condition was made true.
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

    /// Blocks until `ready`, or until this much time has passed; returns whether it is ready.
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

    /// Registers a task to be woken by the next [`notify`](Notify::notify), in place of what it
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

    /// However the work ends, and however deep it is.
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
