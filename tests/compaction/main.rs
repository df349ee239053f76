//! Compaction against a model, through crashes, failures and concurrent readers.
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

mod crash;
mod faults;
mod model;
mod readers;
mod transaction_faults;
mod transactions;
