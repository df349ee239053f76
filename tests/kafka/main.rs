//! Kafka's own code, a broker, and other clients on the same bytes.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[cfg(all(feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip"))]
mod agreement;
#[cfg(all(unix, feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip"))]
mod broker;
#[cfg(all(unix, feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip"))]
mod build;
#[cfg(all(feature = "zstd", feature = "lz4", feature = "snappy", feature = "gzip"))]
mod bytes;
mod interop;
