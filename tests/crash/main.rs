//! Crashes, faults and damage of a log: what is left, and how recovery handles it.
#![allow(
    clippy::double_ended_iterator_last,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::print_stderr,
    clippy::type_complexity,
    clippy::unwrap_used,
    dropping_copy_types,
    reason = "a test fails by panicking"
)]

mod cycles;
mod exactly_once;
mod faults;
mod full_disk;
mod fuzz_regressions;
mod hostile;
mod incidents;
mod leader_epochs;
mod power_loss;
mod probes;
#[cfg(unix)]
mod processes;
mod quarantine;
mod recovery;
mod recovery_holes;
mod replica;
mod transaction_indexes;
mod transactions;
