//! Marks of what the current thread is doing, so that it never waits for itself.

use std::cell::Cell;

crate::sync::thread_local! {
    static CALLING: Cell<bool> = const { Cell::new(false) };
    static WRITING: Cell<bool> = const { Cell::new(false) };
    static WRITER_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Restores a mark, also after a panic.
struct Restore(fn(bool), bool);

impl Drop for Restore {
    fn drop(&mut self) {
        (self.0)(self.1);
    }
}

/// Marks the thread while it runs a callback. The mark is for all producers: two callbacks that
/// wait for the callbacks of each other's producer would wait forever.
pub(super) fn while_calling_back<T>(call: impl FnOnce() -> T) -> T {
    let _restore = Restore(|was| CALLING.with(|mark| mark.set(was)), is_calling());
    CALLING.with(|mark| mark.set(true));
    call()
}

/// Marks the thread while it writes batches. User-supplied listeners and wakers run meanwhile.
pub(super) fn while_writing<T>(write: impl FnOnce() -> T) -> T {
    let _restore = Restore(|was| WRITING.with(|mark| mark.set(was)), is_writing());
    WRITING.with(|mark| mark.set(true));
    write()
}

/// Marks this thread as one that others rely on for writing: it calls no callbacks.
pub(super) fn become_writer() {
    WRITER_THREAD.with(|mark| mark.set(true));
}

/// Returns whether this thread runs a callback.
pub(super) fn is_calling() -> bool {
    CALLING.with(Cell::get)
}

/// Returns whether this thread writes for a queue.
pub(super) fn is_writing() -> bool {
    WRITING.with(Cell::get)
}

/// Returns whether another thread must call callbacks: one that blocks would keep this thread from
/// writing, or callbacks that send would nest without end.
pub(super) fn must_hand_over_callbacks() -> bool {
    is_calling() || WRITER_THREAD.with(Cell::get)
}
