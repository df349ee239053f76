//! What the wings of a log share.

pub(crate) mod deferred_close;
pub(crate) mod follower;
pub(crate) mod segment_list;
pub(crate) mod sync_batcher;
