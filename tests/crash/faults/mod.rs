//! Calls to the file system that fail: each call once in each way, and the failures that need a
//! story of their own.

mod append;
mod each_call;
mod ledger;
mod panics;
mod sync;

use annals::LogConfig;

fn config() -> LogConfig {
    LogConfig::default().segment_bytes(600).index_interval_bytes(0)
}
