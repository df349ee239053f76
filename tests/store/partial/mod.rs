//! A store that has not all of its topics' partitions, or not all of them sound, serves the rest.

mod internal;
mod missing;
mod offline;
mod view;

use crate::{DATA, replace_file};
use annals::fs::MemFs;
use annals::{GroupCoordinatorConfig, Store, StoreConfig, TopicConfig};
use std::time::Duration;
use support::read_file;

const NOTHING: Duration = Duration::ZERO;

fn config(fs: &MemFs) -> StoreConfig {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(2);
    StoreConfig::default().fs(fs.clone()).maintenance(None).group_coordinator(groups)
}

fn open(fs: &MemFs) -> annals::Result<Store> {
    Store::open(DATA, config(fs))
}

fn partitions(count: u32) -> TopicConfig {
    TopicConfig::default().partitions(count)
}

const SEGMENT: &str = "00000000000000000000.log";

/// A closed segment that is shorter than it was: no crash explains that. Returns its bytes.
fn damage(fs: &MemFs, dir: &str) -> Vec<u8> {
    let bytes = read_file(fs, dir, SEGMENT);
    replace_file(fs, dir, SEGMENT, &bytes[..bytes.len() - 1]);
    bytes
}

/// Three partitions with two segments each.
fn three_of_two(fs: &MemFs) {
    let store = open(fs).unwrap();
    let orders = store.create_topic("orders", partitions(3)).unwrap();
    let users = store.create_topic("users", partitions(1)).unwrap();
    for log in orders.partitions().iter().chain(users.partitions().iter()) {
        log.append_all(["a", "b"].map(Into::into)).unwrap();
        log.roll().unwrap();
        log.append("c").unwrap();
        log.delete_before(1).unwrap();
    }
    store.close().unwrap();
}
