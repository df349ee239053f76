//! Data directories: topics, partitions, openings, and their crashes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod crash;
mod crash_clients;
mod openings;
mod ownership;
mod partial;
mod reopening;
mod topics;
