//! How it works, for those who rely on it. These modules hold no code, only text and examples that are run as tests.
//!
//! | module | answers |
//! |---|---|
//! | [`from_kafka`] | each setting and call of Kafka's clients: its name here, and what differs; how to move a directory |
//! | [`testing`] | a store in memory in place of a broker, time that you move, disks that fail |
//! | [`durability`] | what survives which failure, what opening does about it, what a poisoned log is |
//! | [`concurrency`] | who waits for whom, which locks there are, how an append becomes visible |
//! | [`async_use`] | what blocks a thread, and how to call it from an executor |
//! | [`cleanup`] | what a log forgets: deleting, compacting, both; which to choose and what it costs |
//! | [`limits`] | how large, how many, on which systems |
//! | [`format`](mod@format) | what every byte of every file means |

pub mod async_use;
pub mod cleanup;
pub mod concurrency;
pub mod durability;
pub mod format;
pub mod from_kafka;
pub mod limits;
pub mod testing;

/// The programs of the README are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
