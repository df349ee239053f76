//! The tasks that await durability, for the thread that syncs for them.

use crate::error::{Error, Result};
use crate::notify::wake_all;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::types::Offset;
use std::collections::BTreeMap;
use std::io;
use std::task::Waker;

/// The tasks that await durability, and whether a thread syncs for them.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    next_id: AtomicU64,
    /// Leaf lock, held for a moment only.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tasks: BTreeMap<u64, (Offset, Waker)>,
    /// The errors for tasks that were woken because the fsync failed.
    failed: BTreeMap<u64, Error>,
    running: bool,
}

impl Syncer {
    /// Returns an identity for a task that will wait.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes the error of the fsync that a task waited for, if it failed.
    pub(crate) fn take_failure(&self, id: u64) -> Option<Error> {
        self.waiting.lock().failed.remove(&id)
    }

    /// Registers a task that waits for everything below an offset, and starts the thread unless it
    /// is running.
    pub(crate) fn register(
        &self,
        id: u64,
        below: Offset,
        waker: &Waker,
        start: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let waker = waker.clone();
        let mut waiting = self.waiting.lock();
        let replaced = waiting.tasks.insert(id, (below, waker));
        if !waiting.running {
            start()?;
            waiting.running = true;
        }
        // A waker may hold the last reference to a task, and the task a future of this log: drop
        // it without the lock.
        drop(waiting);
        drop(replaced);
        Ok(())
    }

    /// Forgets a task.
    pub(crate) fn forget(&self, id: u64) {
        let mut waiting = self.waiting.lock();
        let waker = waiting.tasks.remove(&id);
        waiting.failed.remove(&id);
        drop(waiting);
        drop(waker);
    }

    /// Returns the highest offset that a task waits for. If there is no task, the thread that asks
    /// counts as ended.
    pub(crate) fn next_wanted(&self) -> Option<Offset> {
        let mut waiting = self.waiting.lock();
        let wanted = waiting.tasks.values().map(|(below, _)| *below).max();
        waiting.running = wanted.is_some();
        wanted
    }

    /// Wakes the tasks that wait for nothing above this offset, which is durable.
    pub(crate) fn wake(&self, durable: Offset) {
        let mut waiting = self.waiting.lock();
        let ready: Vec<u64> = waiting
            .tasks
            .iter()
            .filter(|(_, (below, _))| *below <= durable)
            .map(|(id, _)| *id)
            .collect();
        let woken: Vec<_> = ready.iter().filter_map(|id| waiting.tasks.remove(id)).collect();
        drop(waiting);
        wake_all(woken.into_iter().map(|(_, waker)| waker));
    }

    /// Wakes all tasks with the error of the fsync. A poisoned or closed log tells them itself.
    pub(crate) fn fail(&self, error: &Error) {
        if let Error::Io { operation, path, source } = error {
            let waiting = &mut *self.waiting.lock();
            for id in waiting.tasks.keys() {
                let source = match source.raw_os_error() {
                    Some(number) => io::Error::from_raw_os_error(number),
                    None => source.kind().into(),
                };
                waiting.failed.insert(*id, Error::Io { operation, path: path.clone(), source });
            }
        }
        self.wake_all();
    }

    /// Wakes all tasks, to look again themselves.
    pub(crate) fn wake_all(&self) {
        let woken = std::mem::take(&mut self.waiting.lock().tasks);
        wake_all(woken.into_values().map(|(_, waker)| waker));
    }

    /// Sets whether a thread counts as running.
    #[cfg(test)]
    pub(crate) fn set_running(&self, running: bool) -> bool {
        std::mem::replace(&mut self.waiting.lock().running, running)
    }
}
