//! A listener or a clock may call the log, or panic: no call hangs, and acknowledged records stay.

mod listeners;
mod panics;
mod thread_locals;
#[cfg(feature = "futures")]
mod wakers;

use annals::LogConfig;
use annals::fs::Fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::time::Duration;

/// Runs on a thread of its own, so that a call that hangs fails.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, done) = mpsc::channel();
    std::thread::spawn(move || send.send(catch_unwind(AssertUnwindSafe(work))));
    match done.recv_timeout(Duration::from_secs(20)) {
        Ok(Ok(done)) => done,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("{what}: hangs"),
    }
}

fn config(fs: impl Fs) -> LogConfig {
    LogConfig::default()
        .fs(fs)
        .segment_bytes(400)
        .index_interval_bytes(0)
        .flush_messages(5)
        .flush_interval(Duration::from_secs(60))
}
