//! The bodies of the fuzz targets, which the tests of `annals` run too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../tests/support/mod.rs"]
pub mod support;
#[path = "../../tests/targets/mod.rs"]
pub mod targets;
