//! Closing files that were removed.
//!
//! The last close of a removed file frees all its pages, which can take nearly half as long as the
//! pass that replaced it. No call waits for that, so a thread does it beside the next group. A
//! file that a reader holds stays until the reader releases it.

use crate::fs::File;
use crate::sync::thread;
use std::sync::Arc;

/// Smaller files are closed at once: a thread would take as long.
pub(crate) const WORTH_BYTES: u64 = 8 << 20;

/// The files of one replacement, being closed.
#[derive(Debug, Default)]
pub(crate) struct DeferredClose {
    thread: Option<thread::JoinHandle<()>>,
}

impl DeferredClose {
    /// Closes these files, when those before are closed.
    pub(crate) fn close(&mut self, files: Vec<Arc<dyn File>>) {
        self.wait();
        if !files.is_empty() {
            let thread = thread::Builder::new().name("annals-close".to_owned());
            // Where there is no thread to be had, they are closed here: they go with what it was
            // to do.
            self.thread = thread.spawn(move || drop(files)).ok();
        }
    }

    /// Waits until all files are closed.
    pub(crate) fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A file of the caller's own kind may panic when it is closed. It is gone as well
            // then, and was removed before.
            thread.join().ok();
        }
    }
}
