//! Locks, atomics and threads under one name, so that a checker of schedules can put its own in
//! their place: see `proofs/`. Every lock and every atomic by which threads meet comes from here.

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
