//! One call at a time: work of several threads in an order that a seed chooses.
//!
//! Each thread that takes part stops before each call to the file system. When all of them have
//! stopped, one is chosen and goes on to its next call. So two runs with one seed make the same
//! calls in the same order, and another seed makes others.
//!
//! A thread that waits for a lock which another one holds does not come to its next call. When
//! nothing has happened for a while, the choice goes on without it until it comes: such a schedule
//! is sound, but another run may differ from it.

use crate::random::SplitMix64;
use crate::sync::{Condvar, Mutex, thread_local};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a thread that neither calls nor ends keeps the others waiting.
const PATIENCE: Duration = Duration::from_millis(50);

thread_local! {
    /// The turns that this thread takes part in, by their address, and its number there.
    static PART: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
}

/// The state of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is between two calls.
    Running,
    /// It stands before a call.
    Waiting,
    /// It waits for others that take part, or for a lock.
    Away,
}

#[derive(Debug, Default)]
struct State {
    random: Option<SplitMix64>,
    threads: BTreeMap<u64, Stage>,
    next: u64,
}

impl State {
    /// Lets one of the threads go on, if all have stopped.
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
    /// Begins to choose by this seed.
    pub(super) fn begin(&self, seed: u64) {
        self.state.lock().random = Some(SplitMix64(seed));
    }

    pub(super) fn are_taken(&self) -> bool {
        self.state.lock().random.is_some()
    }

    /// A place for a thread that is about to be started: from now on it is waited for.
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

    /// Returns when it is this thread's turn; at once for one that takes no part.
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
            // One that was chosen and did not wake in time has lost its turn to another.
            if state.threads.get(&number) != Some(&Stage::Away) {
                return;
            }
        }
    }

    /// This thread is about to wait for others, and makes no call meanwhile.
    pub(crate) fn step_aside(self: &Arc<Turns>) {
        self.stand(Stage::Away);
    }

    /// It has waited for them.
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

/// The place of a thread among those that take turns. It is given up with the value.
#[derive(Debug)]
pub(crate) struct Place {
    turns: Arc<Turns>,
    number: u64,
}

impl Place {
    /// Does work on this thread in turn with the others. A thread that has a place already keeps
    /// that.
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

/// Puts back what the thread took part in before.
struct Back {
    before: (usize, u64),
}

impl Drop for Back {
    fn drop(&mut self) {
        PART.with(|part| part.set(self.before));
    }
}
