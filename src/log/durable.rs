//! Awaiting durability without blocking a thread.

use crate::error::Result;
use crate::log::shared::Shared;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The thread that syncs for those who await, and who they are.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    next_id: AtomicU64,
    /// Leaf lock, held for a moment only.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: BTreeMap<u64, (Offset, Waker)>,
    running: bool,
}

/// Resolves, to the durable end of the log, once a given offset is durable.
///
/// Made by [`Log::flush_async`](crate::Log::flush_async). The first one that is awaited starts a thread that
/// syncs for all of them, in groups; it ends when nobody waits any more. Dropping it takes nothing back.
#[must_use = "nothing is synced until it is awaited"]
#[derive(Debug)]
pub struct Durable {
    shared: Arc<Shared>,
    below: Offset,
    id: u64,
}

impl Durable {
    pub(crate) fn new(shared: &Arc<Shared>, below: Offset) -> Durable {
        let id = shared.syncer.next_id.fetch_add(1, Ordering::Relaxed);
        Durable { shared: Arc::clone(shared), below, id }
    }
}

impl Future for Durable {
    type Output = Result<Offset>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Offset>> {
        for registered in [false, true] {
            let durable = self.shared.durable();
            if durable >= self.shared.still_there(self.below) {
                return Poll::Ready(Ok(durable));
            }
            if let Err(error) = self.shared.check_writable() {
                return Poll::Ready(Err(error));
            }
            if !registered && let Err(error) = self.register(context.waker()) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }
}

impl Durable {
    fn register(&self, waker: &Waker) -> Result<()> {
        let syncer = &self.shared.syncer;
        let mut waiting = syncer.waiting.lock();
        waiting.tasks.insert(self.id, (self.below, waker.clone()));
        if !waiting.running {
            let log = Arc::downgrade(&self.shared);
            thread::Builder::new()
                .name("annals-sync".to_owned())
                .spawn(move || sync_for_tasks(&log))
                .map_err(|e| crate::Error::io("start a thread for", &self.shared.dir.path, e))?;
            waiting.running = true;
        }
        Ok(())
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        self.shared.syncer.waiting.lock().tasks.remove(&self.id);
    }
}

/// Syncs while anyone waits, and ends when the log is gone or nobody does.
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
        // A failure has poisoned the log: the tasks learn it from there. After a listener's or a
        // clock's panic they look again themselves.
        let synced =
            catch_unwind(AssertUnwindSafe(|| shared.sync_below(shared.still_there(wanted))));
        match synced {
            Ok(Ok(_)) => shared.syncer.wake(&shared),
            _ => shared.syncer.wake_all(),
        }
    }
}

impl Shared {
    /// What is left to make durable of what lay below an offset: the log may have been truncated since.
    fn still_there(&self, below: Offset) -> Offset {
        below.min(self.end())
    }
}

impl Syncer {
    /// Wakes those whose offset is durable, and everyone when nothing will be any more.
    pub(crate) fn wake(&self, shared: &Shared) {
        if shared.check_writable().is_err() {
            return self.wake_all();
        }
        let durable = shared.durable();
        let mut waiting = self.waiting.lock();
        let ready: Vec<u64> = waiting
            .tasks
            .iter()
            .filter(|(_, (below, _))| shared.still_there(*below) <= durable)
            .map(|(id, _)| *id)
            .collect();
        let woken: Vec<_> = ready.iter().filter_map(|id| waiting.tasks.remove(id)).collect();
        drop(waiting);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn wake_all(&self) {
        let woken = std::mem::take(&mut self.waiting.lock().tasks);
        woken.into_values().for_each(|(_, waker)| waker.wake());
    }
}
