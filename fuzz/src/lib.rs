//! The bodies of the fuzz targets are [`support::targets`], which the tests of `annals` run too.

pub use support::targets;

#[global_allocator]
static COUNTING: support::memory::Counting = support::memory::Counting;
