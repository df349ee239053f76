//! The code in which threads synchronize by atomics, checked under the memory model: the list of
//! index entries, the wakeup of waiting threads and tasks, and the protocol of truncations and
//! readers. loom tries every value that a load may return, including values that a strongly
//! ordered machine never shows.
//!
//! The first two are compiled from the sources of annals, with loom's atomics in place of `std`'s.
//! The third is a model of the protocol.

#![allow(dead_code, unused_imports, reason = "a part of each module is tested")]

mod clock {
    /// The part of a clock that [`Notify`](super::notify::Notify) uses. No test here waits with a
    /// timeout.
    pub(crate) trait Clock {
        fn monotonic(&self) -> std::time::Duration;
    }

    pub(crate) struct Stopped;

    impl Clock for Stopped {
        fn monotonic(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }
}

/// The items of `src/sync.rs`, on top of loom.
mod sync {
    use loom::sync::MutexGuard;
    use std::time::Duration;

    pub(crate) use loom::sync::atomic;
    pub(crate) use std::thread_local;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> Guard<'_, T> {
            Guard(Some(self.0.lock().unwrap()))
        }
    }

    /// `None` only while a condition variable holds the guard.
    pub(crate) struct Guard<'a, T>(Option<MutexGuard<'a, T>>);

    impl<T> std::ops::Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> std::ops::DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn wait<T>(&self, guard: &mut Guard<'_, T>) {
            let held = guard.0.take().unwrap();
            guard.0 = Some(self.0.wait(held).unwrap());
        }

        pub(crate) fn wait_for<T>(
            &self,
            guard: &mut Guard<'_, T>,
            _: Duration,
        ) -> loom::sync::WaitTimeoutResult {
            let held = guard.0.take().unwrap();
            let (held, result) = self.0.wait_timeout(held, Duration::ZERO).unwrap();
            guard.0 = Some(held);
            result
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[path = "../src/callback.rs"]
mod callback;
#[path = "../src/segment/entry_list.rs"]
mod entries;
#[path = "../src/notify.rs"]
mod notify;

use entries::EntryList;
use loom::thread;
use notify::Notify;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize as Counter;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::task::{Wake, Waker};
use sync::atomic::AtomicU64;

/// Prints the number of executions. Too few would mean that the threads never interleaved.
fn check(least: usize, body: impl Fn() + Sync + Send + 'static) {
    let executions = Arc::new(Counter::new(0));
    let counted = Arc::clone(&executions);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(4));
    model.check(move || {
        counted.fetch_add(1, SeqCst);
        body();
    });
    let executions = executions.load(SeqCst);
    println!("{executions} executions");
    assert!(executions >= least);
}

#[test]
fn list_length_publishes_its_entries() {
    check(50, || {
        let list = Arc::new(EntryList::<2>::new());
        let reading = Arc::clone(&list);
        let reader = thread::spawn(move || {
            for _ in 0..2 {
                let len = reading.len();
                for index in 0..len {
                    let word = index as u64 + 1;
                    assert_eq!(reading.get(index), Some([word, !word]));
                }
                assert!(reading.get(len + 2).is_none());
            }
        });
        for word in 1..3 {
            assert!(list.push([word, !word]));
        }
        reader.join().unwrap();
    });
}

#[test]
fn waiting_thread_is_woken_by_append() {
    check(50, || {
        let shared = Arc::new((Notify::default(), AtomicU64::new(0)));
        let waiting = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let (signal, end) = &*waiting;
            assert!(signal.wait(None, &clock::Stopped, || end.load(Acquire) == 2));
        });
        for offset in 1..3 {
            shared.1.store(offset, Release);
            shared.0.notify();
        }
        waiter.join().unwrap();
        assert!(!shared.0.has_waiters());
    });
}

struct Woken(AtomicU64);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(1, SeqCst);
    }
}

#[test]
fn waiting_task_misses_no_append() {
    check(10, || {
        let shared = Arc::new((Notify::default(), AtomicU64::new(0)));
        let woken = Arc::new(Woken(AtomicU64::new(0)));
        let waiting = Arc::clone(&shared);
        let waker = Waker::from(Arc::clone(&woken));
        let task = thread::spawn(move || {
            let (signal, end) = &*waiting;
            signal.register(signal.new_id(), &waker);
            end.load(Acquire) == 1
        });
        shared.1.store(1, Release);
        shared.0.notify();
        let seen = task.join().unwrap();
        assert!(seen || woken.0.load(SeqCst) == 1, "neither seen nor woken");
    });
}

/// The protocol between a truncation and a reader. The truncation raises the counter, then a
/// fence, then truncates. The reader reads, then a fence, then checks the counter.
#[test]
fn reader_notices_truncation_of_read_bytes() {
    check(5, || {
        let shared = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let cutting = Arc::clone(&shared);
        let cutter = thread::spawn(move || {
            let (truncations, bytes) = &*cutting;
            truncations.fetch_add(1, SeqCst);
            sync::atomic::fence(SeqCst);
            bytes.store(1, Relaxed);
        });
        let (truncations, bytes) = &*shared;
        let before = truncations.load(Acquire);
        let read = bytes.load(Relaxed);
        sync::atomic::fence(Acquire);
        let after = truncations.load(Relaxed);
        assert!(read == 0 || before == 1 || after != before);
        cutter.join().unwrap();
    });
}
