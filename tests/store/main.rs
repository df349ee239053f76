//! Data directories: topics, partitions, openings, and their crashes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod calendar;
mod crash;
mod openings;
mod ownership;
mod partial;
mod reopening;
mod topics;
mod transactions;

use annals::fs::{Fs, MemFs};
use annals::{Error, Topic, TopicError};
use std::path::Path;
use support::write_file;

/// The data directory.
const DATA: &str = "data";

fn topic_error(error: Error) -> TopicError {
    match error {
        Error::Topic(error) => *error,
        other => panic!("{other:?}"),
    }
}

/// The values of a partition.
fn values(topic: &Topic, partition: u32) -> Vec<String> {
    support::values(&topic.partition(partition).unwrap())
}

fn replace_file(fs: &MemFs, dir: &str, name: &str, bytes: &[u8]) {
    fs.remove(&Path::new(dir).join(name)).ok();
    write_file(fs, dir, name, bytes);
}
