//! One call at a time: the calls of several threads, in an order that a seed chooses.
//!
//! Each registered thread stops before each call to the file system. When all of them have
//! stopped, one is chosen and runs to its next call. So two runs with the same seed make the same
//! calls in the same order, and other seeds make other orders.
//!
//! A thread that waits for a lock of another thread does not reach its next call. If nothing
//! happens for a while, the choice continues without that thread until it arrives. Such a schedule
//! is valid, but another run with the same seed may differ.

use crate::random::SplitMix64;
use crate::sync::{Condvar, Mutex, thread_local};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The time that a thread without a call can delay the others.
const PATIENCE: Duration = Duration::from_millis(50);

thread_local! {
    /// The turns that this thread is registered with, by their address, and its number there.
    static PART: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
}

/// The state of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It runs between two calls.
    Running,
    /// It is stopped before a call.
    Waiting,
    /// It waits for other registered threads, or for a lock.
    Away,
}

#[derive(Debug, Default)]
struct State {
    random: Option<SplitMix64>,
    threads: BTreeMap<u64, Stage>,
    next: u64,
}

impl State {
    /// Lets one of the threads continue, if all have stopped.
    fn choose(&mut self) -> bool {
        let is = |wanted| move |(_, stage): &(&u64, &mut Stage)| **stage == wanted;
        if self.threads.iter_mut().any(|thread| is(Stage::Running)(&thread)) {
            return false;
        }
        let Some(random) = &mut self.random else { return false };
        let mut waiting: Vec<_> = self.threads.iter_mut().filter(is(Stage::Waiting)).collect();
        let chosen = usize::try_from(random.below(waiting.len() as u64)).unwrap_or(0);
        let found = waiting.get_mut(chosen).map(|(_, stage)| **stage = Stage::Running);
        found.is_some()
    }
}

/// The order in which threads make their calls.
#[derive(Debug, Default)]
pub struct Turns {
    /// Leaf lock.
    state: Mutex<State>,
    changed: Condvar,
}

impl Turns {
    /// Starts choosing by this seed.
    pub(super) fn begin(&self, seed: u64) {
        self.state.lock().random = Some(SplitMix64(seed));
    }

    pub(super) fn are_taken(&self) -> bool {
        self.state.lock().random.is_some()
    }

    /// Registers a thread that is about to be started: from now on the others wait for it.
    pub(crate) fn place(self: &Arc<Turns>) -> Place {
        let mut state = self.state.lock();
        let number = state.next;
        state.next = number.wrapping_add(1);
        state.threads.insert(number, Stage::Running);
        Place { turns: Arc::clone(self), number }
    }

    fn address(self: &Arc<Turns>) -> usize {
        Arc::as_ptr(self).addr()
    }

    fn set(&self, number: u64, stage: Stage) {
        let mut state = self.state.lock();
        if let Some(known) = state.threads.get_mut(&number) {
            *known = stage;
        }
        if state.choose() {
            self.changed.notify_all();
        }
    }

    /// Blocks until it is this thread's turn. Returns at once if the thread is not registered.
    pub(super) fn wait(self: &Arc<Turns>) {
        let (address, number) = PART.with(Cell::get);
        if address != self.address() {
            return;
        }
        let mut state = self.state.lock();
        loop {
            match state.threads.get_mut(&number) {
                None => return,
                Some(stage) => *stage = Stage::Waiting,
            }
            if state.choose() {
                self.changed.notify_all();
            }
            while state.threads.get(&number) == Some(&Stage::Waiting) {
                if self.changed.wait_for(&mut state, PATIENCE).timed_out() {
                    let running = |stage: &&mut Stage| **stage == Stage::Running;
                    let late = state.threads.values_mut().filter(running);
                    late.for_each(|stage| *stage = Stage::Away);
                    if state.choose() {
                        self.changed.notify_all();
                    }
                }
            }
            // A thread that was chosen and did not wake in time has lost its turn.
            if state.threads.get(&number) != Some(&Stage::Away) {
                return;
            }
        }
    }

    /// Announces that this thread is about to wait for others, and makes no call meanwhile.
    pub(crate) fn step_aside(self: &Arc<Turns>) {
        self.stand(Stage::Away);
    }

    /// Announces that this thread has finished waiting.
    pub(crate) fn step_back(self: &Arc<Turns>) {
        self.stand(Stage::Running);
    }

    fn stand(self: &Arc<Turns>, stage: Stage) {
        let (address, number) = PART.with(Cell::get);
        if address == self.address() {
            self.set(number, stage);
        }
    }
}

/// The registration of a thread. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Place {
    turns: Arc<Turns>,
    number: u64,
}

impl Place {
    /// Does work on this thread in turn with the others. A thread that is registered already stays
    /// so.
    pub(crate) fn fill<T>(self, work: impl FnOnce() -> T) -> T {
        let before = PART.with(Cell::get);
        if before.0 == self.turns.address() {
            drop(self);
            return work();
        }
        let _back = Back { before };
        PART.with(|part| part.set((self.turns.address(), self.number)));
        work()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.turns.state.lock();
        state.threads.remove(&self.number);
        if state.choose() {
            self.turns.changed.notify_all();
        }
    }
}

/// Restores the earlier registration of the thread.
struct Back {
    before: (usize, u64),
}

impl Drop for Back {
    fn drop(&mut self) {
        PART.with(|part| part.set(self.before));
    }
}
