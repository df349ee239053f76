//! Awaiting durability of what is truncated away meanwhile.
#![cfg(feature = "futures")]
#![allow(clippy::unwrap_used, reason = "tests")]

use annals::{Log, LogConfig, fs::MemFs};
use std::time::Duration;

/// Such a future never resolved, and the thread that syncs for it went round without pause:
/// it waited for an offset that the log no longer reached.
#[tokio::test]
async fn a_flush_of_truncated_records_resolves() {
    let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new())).unwrap();
    for n in 0..5 {
        log.append(n.to_string()).unwrap();
    }
    let flushed = log.flush_async();
    log.truncate_to(2).unwrap();
    let durable = tokio::time::timeout(Duration::from_secs(10), flushed).await.unwrap().unwrap();
    assert_eq!(durable, 2);
}
