//! Producers, consumers and groups.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod allocations;
mod churn;
mod consumer;
mod groups;
mod producer;
mod producer_waits;
mod rebalances;
mod serialize;
mod typed;

use support::memory::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
