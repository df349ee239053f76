//! A thread-local of the program that appends while its thread ends.

use annals::fs::MemFs;
use annals::{Log, LogConfig};
use std::sync::Arc;
use support::{DIR, Heard};

/// A buffer of a thread, as a program may keep it: what is left is appended when the thread ends.
struct AppendsWhenDropped(Log);

impl Drop for AppendsWhenDropped {
    fn drop(&mut self) {
        self.0.append("last").unwrap();
    }
}

thread_local! {
    static LEFT: std::cell::RefCell<Option<AppendsWhenDropped>> = const { std::cell::RefCell::new(None) };
}

/// The log held its events back in a thread-local that was destroyed before the program's own: the
/// append panicked in a destructor, and the process was aborted.
#[test]
fn append_succeeds_while_thread_locals_are_destroyed() {
    let heard = Arc::new(Heard::default());
    let config = LogConfig::default().fs(MemFs::new()).flush_messages(1).listener(heard.clone());
    let log = Log::open(DIR, config).unwrap();
    let theirs = log.clone();
    let thread = std::thread::spawn(move || {
        LEFT.set(Some(AppendsWhenDropped(theirs.clone())));
        theirs.append("first").unwrap();
        theirs.flush().unwrap();
    });
    thread.join().unwrap();
    assert_eq!(log.offsets().end, 2);
    assert!(heard.0.lock().unwrap().len() >= 2);
}
