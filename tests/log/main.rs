//! One log: appending, reading, deleting, listening, following.
#![allow(
    clippy::double_ended_iterator_last,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::type_complexity,
    clippy::unwrap_used,
    dropping_copy_types,
    reason = "a test fails by panicking"
)]

mod basics;
mod callbacks;
mod concurrency;
#[cfg(feature = "futures")]
mod flush_future;
mod follow;
mod foreign_transactions;
mod golden;
mod held_room;
mod histories;
mod hostile_leader;
mod indexes;
mod isolation;
mod leader_epochs;
mod maintainer;
mod model;
mod nested_logs;
mod producers;
mod replica;
mod retention;
