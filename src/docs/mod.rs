//! Guides: how annals works, and how to use it.
//!
//! These modules hold no code, only text. Their examples run as tests.
//!
//! | module | answers |
//! |---|---|
//! | [`from_kafka`] | what are Kafka's settings and calls called here, and what differs? how do I move a directory? |
//! | [`testing`] | how do I test a service, with a store in memory, time that I move, and disks that fail? |
//! | [`transactions`] | how do records and offsets become visible together, what survives, and what holds readers back? |
//! | [`durability`] | what survives which failure? what does opening do about it? what is a poisoned log? |
//! | [`concurrency`] | which call waits for which? which locks are there? how does an append become visible? |
//! | [`async_use`] | which calls block a thread, and how do I call them from an executor? |
//! | [`cleanup`] | retention, compaction, or both: which do I choose, and what does it cost? |
//! | [`limits`] | how large, how many, on which systems? |
//! | [`format`](mod@format) | what does every byte of every file mean? |

pub mod async_use;
pub mod cleanup;
pub mod concurrency;
pub mod durability;
pub mod format;
pub mod from_kafka;
pub mod limits;
pub mod testing;
pub mod transactions;

/// The programs of the README are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
