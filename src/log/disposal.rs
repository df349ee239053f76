//! Closing files that were removed.
//!
//! Whoever closes a removed file last gives all its pages back, which can take nearly half as long as the pass that made
//! it superfluous. Nothing waits for that, so it goes on beside what comes next. A file that a reader holds stays until that lets go.

use crate::fs::File;
use crate::sync::thread;
use std::sync::Arc;

/// Smaller files are closed at once: a thread would take as long.
pub(crate) const WORTH_BYTES: u64 = 8 << 20;

/// The files of one replacement, being closed.
#[derive(Debug, Default)]
pub(crate) struct Disposal {
    thread: Option<thread::JoinHandle<()>>,
}

impl Disposal {
    /// Closes these files, when those before are closed.
    pub(crate) fn close(&mut self, files: Vec<Arc<dyn File>>) {
        self.wait();
        if !files.is_empty() {
            let thread = thread::Builder::new().name("annals-close".to_owned());
            // Where there is no thread to be had, they are closed here: they go with what it was to do.
            self.thread = thread.spawn(move || drop(files)).ok();
        }
    }

    /// Waits until all files are closed.
    pub(crate) fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A file of the caller's own kind may panic when it is closed. It is gone as well then, and was removed before.
            thread.join().ok();
        }
    }
}
