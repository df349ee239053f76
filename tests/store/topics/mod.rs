//! Topics in a directory: created topics stay, deleted topics are removed, and foreign files are
//! not touched.

mod changes;
mod damage;
mod failed_changes;
mod layout;
mod locks;

use crate::DATA;
use annals::fs::{EntryKind, Fs, MemFs};
use annals::{Store, StoreConfig, TopicConfig};
use std::path::Path;

fn config(fs: &MemFs) -> StoreConfig {
    StoreConfig::default().fs(fs.clone()).maintenance(None)
}

fn open(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs))
}

fn three() -> TopicConfig {
    TopicConfig::default().partitions(3)
}

fn directories(fs: &MemFs) -> Vec<String> {
    let entries = fs.list(Path::new(DATA)).unwrap();
    let dirs = entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory);
    let mut names: Vec<_> = dirs.map(|entry| entry.name).collect();
    names.sort();
    names
}
