//! The producer's own thread: it writes batches that have lingered, and retries, if no other
//! thread does.

use crate::client::producer::context::ProducerContext;
use crate::client::producer::thread_marks;
use crate::error::{Error, Result};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Mutex, thread};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NEVER: u64 = u64::MAX;

/// When work is due, and the thread that does it.
pub(super) struct SenderThread {
    /// In nanoseconds of the clock that never goes back. Set to never before all queues are looked
    /// at: a queue that gets something after it was looked at lowers it again.
    due: AtomicU64,
    started: AtomicBool,
    /// Leaf lock.
    thread: Mutex<Thread>,
    /// Waits with `thread`.
    woken: Condvar,
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
            woken: Condvar::new(),
        }
    }

    /// Says that something is due then.
    #[inline]
    pub(super) fn schedule(&self, at: Duration) {
        let at = u64::try_from(at.as_nanos()).unwrap_or(NEVER);
        if at < self.due.load(Ordering::Acquire) {
            self.due.fetch_min(at, Ordering::AcqRel);
            // The thread holds it between its check and its sleep.
            drop(self.thread.lock());
            self.woken.notify_one();
        }
    }

    /// All queues are about to be looked at.
    pub(super) fn reset(&self) {
        self.due.store(NEVER, Ordering::SeqCst);
    }

    /// Waits until something is due. False when it is time to end.
    fn wait(&self, producer: &ProducerContext) -> bool {
        let mut thread = self.thread.lock();
        loop {
            if thread.stopped {
                return false;
            }
            let due = self.due.load(Ordering::Acquire);
            if due == NEVER {
                self.woken.wait(&mut thread);
                continue;
            }
            let left = Duration::from_nanos(due).saturating_sub(producer.clock().monotonic());
            if left.is_zero() {
                return true;
            }
            self.woken.wait_for(&mut thread, left);
        }
    }

    /// Ends the thread, and waits for that if asked to.
    pub(super) fn stop(&self, wait: bool) {
        let mut thread = self.thread.lock();
        thread.stopped = true;
        let join = thread.join.take();
        drop(thread);
        self.woken.notify_all();
        // A waker that the thread calls may drop the last handle.
        let is_me = |join: &thread::JoinHandle<()>| join.thread().id() == thread::current().id();
        if let Some(join) = join.filter(|join| wait && !is_me(join)) {
            join.join().ok();
        }
    }
}

impl ProducerContext {
    /// Starts the thread if it is not there.
    #[inline]
    pub(super) fn start_thread(producer: &Arc<ProducerContext>) -> Result<()> {
        if producer.linger.started.load(Ordering::Acquire) {
            return Ok(());
        }
        ProducerContext::start_thread_now(producer)
    }

    #[cold]
    fn start_thread_now(producer: &Arc<ProducerContext>) -> Result<()> {
        let linger = &producer.linger;
        let mut thread = linger.thread.lock();
        if thread.join.is_some() || thread.stopped {
            return Ok(());
        }
        let shared = Arc::clone(producer);
        let join = thread::Builder::new()
            .name("annals-producer".to_owned())
            .spawn(move || {
                thread_marks::become_writer();
                while shared.linger.wait(&shared) {
                    shared.poll();
                }
            })
            .map_err(|e| Error::io("start a thread for", Path::new("a producer"), e))?;
        thread.join = Some(join);
        linger.started.store(true, Ordering::Release);
        Ok(())
    }
}
