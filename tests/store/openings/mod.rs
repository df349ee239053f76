//! Files that an opening creates and changes, and files it leaves alone: foreign directories,
//! partitions that are not there, and everything it knew if it fails.

mod failed;
mod foreign;
mod stray_segments;

use annals::fs::{Fs, MemFs};
use annals::{LogConfig, Record, Store, StoreConfig, TopicConfig};
use std::path::Path;

const MARK: &str = ".kafka_cleanshutdown";

fn config(fs: impl Fs) -> StoreConfig {
    StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1)
}

fn open(fs: &MemFs) -> annals::Result<Store> {
    Store::open("d", config(fs.clone()))
}

fn plain(fs: &MemFs) -> LogConfig {
    LogConfig::default().fs(fs.clone())
}

fn mkdir(fs: &MemFs, dir: &str) {
    fs.create_dir(Path::new(dir)).unwrap();
}

/// Topics `orders` with three partitions and `users` with one, of two segments each, closed.
fn closed_store() -> MemFs {
    let fs = MemFs::new();
    let store = open(&fs).unwrap();
    for (topic, partitions) in [("orders", 3), ("users", 1)] {
        let topic = store.create_topic(topic, TopicConfig::default().partitions(partitions));
        for log in topic.unwrap().partitions().iter() {
            log.append_all(["a", "b"].map(Record::new)).unwrap();
            log.roll().unwrap();
            log.append("c").unwrap();
        }
    }
    store.close().unwrap();
    fs
}

/// Whether the next opening finds that all logs were closed in order.
fn is_clean(fs: &MemFs) -> bool {
    let store = open(&fs.kill()).unwrap();
    let logs = store.topics().into_iter().flat_map(|topic| topic.partitions().to_vec());
    logs.into_iter().all(|log| log.recovery().clean_shutdown)
}
