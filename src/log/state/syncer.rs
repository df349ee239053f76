//! The tasks that await durability.

use crate::error::Error;
use crate::log::inner::Shared;
use crate::notify::wake_all;
use crate::sync::Mutex;
use crate::sync::atomic::AtomicU64;
use crate::types::Offset;
use std::collections::BTreeMap;
use std::io;
use std::task::Waker;

/// The thread that syncs for tasks that await durability, and those tasks.
#[derive(Debug, Default)]
pub(crate) struct Syncer {
    pub(crate) next_id: AtomicU64,
    /// Leaf lock, held for a moment only.
    pub(crate) waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) tasks: BTreeMap<u64, (Offset, Waker)>,
    /// The errors for tasks that were woken because the fsync failed.
    pub(crate) failed: BTreeMap<u64, Error>,
    pub(crate) running: bool,
}

impl Syncer {
    /// Wakes the tasks whose offset is durable, and all tasks if no more fsync can succeed.
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

    pub(crate) fn wake_all(&self) {
        let woken = std::mem::take(&mut self.waiting.lock().tasks);
        wake_all(woken.into_values().map(|(_, waker)| waker));
    }
}
