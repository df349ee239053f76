//! Awaiting durability without blocking a thread.

use crate::callback;
use crate::error::{Error, Result};
use crate::log::inner::Shared;
use crate::sync::atomic::Ordering;
use crate::sync::thread;
use crate::types::Offset;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Resolves, to the durable end of the log, once a given offset is durable.
///
/// [`Log::flush_async`](crate::Log::flush_async) creates it. The first one that is awaited starts
/// a thread that syncs for all of them, in groups; the thread ends when no task waits any more.
/// Dropping the future is safe: it takes nothing back and promises nothing, and a later flush
/// covers the same records.
#[must_use = "nothing is synced until it is awaited"]
#[derive(Debug)]
pub struct FlushFuture {
    shared: Arc<Shared>,
    below: Offset,
    id: u64,
}

impl FlushFuture {
    pub(crate) fn new(shared: &Arc<Shared>, below: Offset) -> FlushFuture {
        let id = shared.syncer.next_id.fetch_add(1, Ordering::Relaxed);
        FlushFuture { shared: Arc::clone(shared), below, id }
    }
}

impl Future for FlushFuture {
    type Output = Result<Offset>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Offset>> {
        let durable = self.shared.durable();
        if durable >= self.shared.still_there(self.below) {
            return Poll::Ready(Ok(durable));
        }
        let failed = self.shared.syncer.waiting.lock().failed.remove(&self.id);
        // No event between this look and the registration is missed: the thread looks at all
        // registered tasks before it ends.
        let waits = failed
            .map_or(Ok(()), Err)
            .and_then(|()| self.shared.check_writable())
            .and_then(|()| self.register(context.waker()));
        waits.map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending)
    }
}

impl FlushFuture {
    fn register(&self, waker: &Waker) -> Result<()> {
        let syncer = &self.shared.syncer;
        let waker = waker.clone();
        let mut waiting = syncer.waiting.lock();
        let replaced = waiting.tasks.insert(self.id, (self.below, waker));
        if !waiting.running {
            let log = Arc::downgrade(&self.shared);
            thread::Builder::new()
                .name("annals-sync".to_owned())
                .spawn(move || sync_for_tasks(&log))
                .map_err(|e| Error::io("start a thread for", &self.shared.dir.path, e))?;
            waiting.running = true;
        }
        // A waker may hold the last reference to a task, and the task a future of this log: drop
        // it without the lock.
        drop(waiting);
        drop(replaced);
        Ok(())
    }
}

impl Drop for FlushFuture {
    fn drop(&mut self) {
        let mut waiting = self.shared.syncer.waiting.lock();
        let waker = waiting.tasks.remove(&self.id);
        waiting.failed.remove(&self.id);
        drop(waiting);
        drop(waker);
    }
}

/// Syncs while a task waits, and ends when the log is gone or no task waits.
fn sync_for_tasks(log: &std::sync::Weak<Shared>) {
    while let Some(shared) = log.upgrade() {
        let wanted = {
            let mut waiting = shared.syncer.waiting.lock();
            let Some(wanted) = waiting.tasks.values().map(|(below, _)| *below).max() else {
                waiting.running = false;
                return;
            };
            wanted
        };
        // After a listener's or a clock's panic the tasks look again themselves.
        let synced = callback::call(|| shared.sync_below(shared.still_there(wanted)));
        match synced {
            Ok(Ok(_)) => shared.syncer.wake(&shared),
            Ok(Err(error)) => shared.syncer.fail(&error),
            Err(_panic) => shared.syncer.wake_all(),
        }
    }
}

impl Shared {
    /// Returns the offset up to which there is still something to make durable: the log may have
    /// been truncated.
    pub(crate) fn still_there(&self, below: Offset) -> Offset {
        below.min(self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Log, LogConfig, fs::MemFs};
    use std::sync::atomic::AtomicUsize;

    #[derive(Debug, Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn one_record() -> Log {
        let log = Log::open("t-0", LogConfig::default().fs(MemFs::new())).unwrap();
        log.append("a").unwrap();
        log
    }

    fn poll(future: &mut FlushFuture, woken: &Arc<Woken>) -> Poll<Result<Offset>> {
        Pin::new(future).poll(&mut Context::from_waker(&Arc::clone(woken).into()))
    }

    #[test]
    fn whoever_syncs_wakes_those_who_await_it() {
        let log = one_record();
        // No thread of its own comes before the other.
        log.shared.syncer.waiting.lock().running = true;
        let (mut future, woken) = (log.flush_async(), Arc::new(Woken::default()));
        assert!(poll(&mut future, &woken).is_pending());
        log.flush().unwrap();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(matches!(poll(&mut future, &woken), Poll::Ready(Ok(1))));
    }

    struct Boom;

    impl std::task::Wake for Boom {
        fn wake(self: Arc<Self>) {
            panic!("as it was told");
        }
    }

    /// The panic ends with the task that it belongs to: the flush that woke it returns, the others
    /// are woken, and the thread that syncs for tasks goes on.
    #[test]
    fn panicking_waker_leaves_others_awake() {
        let log = one_record();
        for own_thread in [false, true] {
            log.append("b").unwrap();
            log.shared.syncer.waiting.lock().running = true;
            let (mut first, mut second) = (log.flush_async(), log.flush_async());
            let boom = Arc::new(Boom).into();
            assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&boom)).is_pending());
            let woken = Arc::new(Woken::default());
            assert!(poll(&mut second, &woken).is_pending());
            if own_thread {
                sync_for_tasks(&Arc::downgrade(&log.shared));
                assert!(!log.shared.syncer.waiting.lock().running);
            } else {
                log.flush().unwrap();
            }
            assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn who_awaits_no_more_is_forgotten() {
        let log = one_record();
        let (mut future, woken) = (log.flush_async(), Arc::new(Woken::default()));
        let held = log.shared.pause_syncs();
        assert!(poll(&mut future, &woken).is_pending());
        drop(future);
        assert_eq!(Arc::strong_count(&woken), 1);
        drop(held);
        assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    }
}
