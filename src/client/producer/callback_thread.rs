//! The thread that calls callbacks for threads that must not.
//!
//! A callback may block as long as it likes. The producer's thread, which writes what lingers and
//! retries what failed, therefore calls none; and a thread that is in a callback calls no other,
//! so that callbacks that send do not nest.

use crate::client::producer::accumulator::PartitionQueue;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::thread_marks;
use crate::sync::{Condvar, Mutex, thread};
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct CallbackThread {
    /// Leaf lock.
    state: Mutex<State>,
    /// Waits with `state`.
    woken: Condvar,
}

#[derive(Default)]
struct State {
    /// Queues with callbacks that are due.
    due: VecDeque<Arc<PartitionQueue>>,
    thread: Option<thread::JoinHandle<()>>,
    /// Whether the thread takes what is handed to it.
    running: bool,
    stopped: bool,
}

impl CallbackThread {
    /// Leaves the callbacks of a queue to the thread. False if it cannot be started.
    fn hand_over(&self, producer: &Arc<ProducerContext>, queue: &Arc<PartitionQueue>) -> bool {
        let mut state = self.state.lock();
        if !state.running {
            let shared = Arc::clone(producer);
            let thread = thread::Builder::new().name("annals-callback".to_owned());
            let Ok(thread) = thread.spawn(move || shared.callbacks.run(&shared)) else {
                return false;
            };
            state.thread = Some(thread);
            state.running = true;
        }
        state.due.push_back(Arc::clone(queue));
        drop(state);
        self.woken.notify_one();
        true
    }

    fn run(&self, producer: &ProducerContext) {
        let mut state = self.state.lock();
        loop {
            if let Some(queue) = state.due.pop_front() {
                drop(state);
                queue.deliveries.call_all(producer);
                state = self.state.lock();
            } else if state.stopped {
                // What is handed over from now on starts another.
                state.running = false;
                return;
            } else {
                self.woken.wait(&mut state);
            }
        }
    }

    /// Ends the thread once it has called what is due. Waits for that, unless a callback asks.
    pub(super) fn stop(&self, wait: bool) {
        let mut state = self.state.lock();
        state.stopped = true;
        let thread = state.thread.take();
        drop(state);
        self.woken.notify_all();
        if wait && !thread_marks::is_calling() {
            thread.map(thread::JoinHandle::join);
        }
    }
}

impl ProducerContext {
    /// Calls the callbacks of a queue that are due, or leaves them to the thread that may.
    pub(super) fn call_back(self: &Arc<Self>, queue: &Arc<PartitionQueue>) {
        if !queue.deliveries.is_due() {
            return;
        }
        if thread_marks::leaves_callbacks() && self.callbacks.hand_over(self, queue) {
            return;
        }
        queue.deliveries.call_all(self);
    }
}
