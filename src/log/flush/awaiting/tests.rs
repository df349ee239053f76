use super::*;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::{Log, LogConfig, fs::MemFs};

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
fn flush_wakes_tasks_that_await_it() {
    let log = one_record();
    // The thread that syncs for tasks counts as running, so none is started that would sync before
    // `flush`.
    log.inner.flushes.syncer.set_running(true);
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
        log.inner.flushes.syncer.set_running(true);
        let (mut first, mut second) = (log.flush_async(), log.flush_async());
        let boom = Arc::new(Boom).into();
        assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&boom)).is_pending());
        let woken = Arc::new(Woken::default());
        assert!(poll(&mut second, &woken).is_pending());
        if own_thread {
            sync_for_tasks(&Arc::downgrade(&log.inner));
            assert!(!log.inner.flushes.syncer.set_running(false));
        } else {
            log.flush().unwrap();
        }
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn dropped_future_is_forgotten() {
    let log = one_record();
    let (mut future, woken) = (log.flush_async(), Arc::new(Woken::default()));
    let held = log.inner.flushes.pause_syncs();
    assert!(poll(&mut future, &woken).is_pending());
    drop(future);
    assert_eq!(Arc::strong_count(&woken), 1);
    drop(held);
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
}
