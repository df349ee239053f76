//! A file on the device, whatever name or handle leads to it.

use super::capacity::Capacity;
use super::content::Content;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::sync::Arc;

/// A file, whatever name or handle leads to it.
pub(super) struct FileNode {
    state: Mutex<FileState>,
    locked: AtomicBool,
}

pub(super) struct FileState {
    pub(super) content: Content,
    /// The number of names and open handles. The last of them releases the room, although the file
    /// stays on the durable disk until its directory is synced.
    holders: u64,
}

impl FileNode {
    pub(super) fn new(content: Content, holders: u64) -> Arc<FileNode> {
        let state = Mutex::new(FileState { content, holders });
        Arc::new(FileNode { state, locked: AtomicBool::new(false) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, FileState> {
        self.state.lock()
    }

    pub(super) fn hold(&self) {
        self.state.lock().holders += 1;
    }

    pub(super) fn release(&self, capacity: &Capacity) {
        let mut state = self.state.lock();
        state.holders = state.holders.saturating_sub(1);
        if state.holders == 0 {
            capacity.release(state.content.room());
            capacity.release_file();
        }
    }

    /// Takes the exclusive lock of the file. Returns false if it is taken.
    pub(super) fn try_lock_exclusive(&self) -> bool {
        !self.locked.swap(true, Ordering::AcqRel)
    }

    pub(super) fn unlock_exclusive(&self) {
        self.locked.store(false, Ordering::Release);
    }
}
