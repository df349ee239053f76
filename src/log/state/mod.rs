//! What the wings of a log share: data, and its own small methods.

pub(crate) mod append_queue;
pub(crate) mod appended;
pub(crate) mod cleaning;
pub(crate) mod deferred_close;
pub(crate) mod follower;
pub(crate) mod producers;
pub(crate) mod segment_list;
pub(crate) mod sync;
pub(crate) mod sync_batcher;
#[cfg(feature = "futures")]
pub(crate) mod syncer;
pub(crate) mod writer;
