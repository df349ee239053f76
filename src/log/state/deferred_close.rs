//! Closing removed files on a thread of its own.
//!
//! The last close of a removed file frees all its pages, which can take nearly half as long as the
//! compaction that replaced it. No call waits for that: a thread closes the files while the next
//! group is compacted. A file that a reader holds stays until the reader releases it.

use crate::fs::File;
use crate::sync::thread;
use std::sync::Arc;

/// Files below this size are closed at once, because starting a thread takes as long.
pub(crate) const WORTH_BYTES: u64 = 8 << 20;

/// The files of one replacement, being closed.
#[derive(Debug, Default)]
pub(crate) struct DeferredClose {
    thread: Option<thread::JoinHandle<()>>,
}

impl DeferredClose {
    /// Closes these files, once the previous ones are closed.
    pub(crate) fn close(&mut self, files: Vec<Arc<dyn File>>) {
        self.wait();
        if !files.is_empty() {
            let thread = thread::Builder::new().name("annals-close".to_owned());
            // If no thread can be started, the files are closed here, as the closure is dropped.
            self.thread = thread.spawn(move || drop(files)).ok();
        }
    }

    /// Waits until all files are closed.
    pub(crate) fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A user-supplied file may panic when it is closed. It is closed anyway, and was
            // removed before.
            thread.join().ok();
        }
    }
}
