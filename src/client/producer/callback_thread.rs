//! The thread that calls callbacks in place of threads that must not call them.
//!
//! A callback may block for any time. Therefore the producer's thread, which writes lingering
//! batches and retries failed ones, calls none. A thread that is in a callback calls no other one,
//! so that callbacks that send do not nest.

use crate::client::producer::accumulator::PartitionQueue;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::thread_marks;
use crate::sync::{Condvar, Mutex, thread};
use std::collections::VecDeque;
use std::sync::Arc;

/// The queues with callbacks to call, and the thread that calls them.
#[derive(Default)]
pub(super) struct CallbackThread {
    /// Leaf lock.
    state: Mutex<State>,
    /// Used with the lock `state`.
    wakeup: Condvar,
}

#[derive(Default)]
struct State {
    /// Queues with callbacks that are due.
    due: VecDeque<Arc<PartitionQueue>>,
    thread: Option<thread::JoinHandle<()>>,
    /// Whether the thread takes queues that are handed over.
    running: bool,
    stopped: bool,
}

impl CallbackThread {
    /// Leaves the callbacks of a queue to the thread; returns false if the thread cannot be
    /// started. `work` returns the closure that the thread runs, which calls [`run`](Self::run);
    /// `None` if the producer is gone.
    pub(super) fn hand_over<W: FnOnce() + Send + 'static>(
        &self,
        queue: &Arc<PartitionQueue>,
        work: impl FnOnce() -> Option<W>,
    ) -> bool {
        let mut state = self.state.lock();
        if !state.running {
            let thread = thread::Builder::new().name("annals-callback".to_owned());
            let Some(Ok(thread)) = work().map(|work| thread.spawn(work)) else { return false };
            state.thread = Some(thread);
            state.running = true;
        }
        state.due.push_back(Arc::clone(queue));
        drop(state);
        self.wakeup.notify_one();
        true
    }

    /// Calls the callbacks of queues that are handed over, until the thread is stopped.
    pub(super) fn run(&self, context: &ProducerContext) {
        let mut state = self.state.lock();
        loop {
            if let Some(queue) = state.due.pop_front() {
                drop(state);
                queue.callbacks.call_all(context);
                state = self.state.lock();
            } else if state.stopped {
                // Callbacks that are handed over from now on start another thread.
                state.running = false;
                return;
            } else {
                self.wakeup.wait(&mut state);
            }
        }
    }

    /// Ends the thread once it has called all callbacks that are due. Waits for that if `wait` is
    /// set, but not in a callback, because the thread may be calling that callback.
    pub(super) fn stop(&self, wait: bool) {
        let mut state = self.state.lock();
        state.stopped = true;
        let thread = state.thread.take();
        drop(state);
        self.wakeup.notify_all();
        if wait && !thread_marks::is_calling() {
            thread.map(thread::JoinHandle::join);
        }
    }
}
