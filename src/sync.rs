//! Locks, atomics and threads from one place, so that a schedule checker can substitute its own:
//! see `proofs/`. All locks and atomics that threads share come from here.

#[cfg(not(shuttle))]
pub(crate) use {
    parking_lot::{Condvar, Mutex, MutexGuard, RwLock},
    std::sync::atomic,
    std::{thread, thread_local},
};

#[cfg(shuttle)]
#[path = "../proofs/sync.rs"]
mod checked;
#[cfg(shuttle)]
pub(crate) use checked::{
    Condvar, LocalKey, Mutex, MutexGuard, RwLock, atomic, thread, thread_local,
};
