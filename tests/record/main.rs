//! Records and batches: encoding, decoding and validation, of hostile bytes too.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::little_endian_bytes,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod details;
mod fuzz_targets;
mod hostile_memory;
#[cfg(target_os = "linux")]
mod memory;
mod properties;
mod validate;
mod vectors;

use support::memory::Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
