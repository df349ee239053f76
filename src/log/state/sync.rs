//! The segments with bytes that are not durable, and whether an fsync is running.

use crate::log::state::sync_batcher::Group;
use crate::segment::Segment;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct SyncState {
    /// A sync is running, or its leader waits for others to join. Reset by [`Lead`] on every way
    /// out.
    pub(crate) running: bool,
    pub(crate) group: Group,
    /// The segments that may hold unsynced bytes, in order; the last is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Names were created or removed since the directory was last synced.
    pub(crate) new_names: bool,
}

impl SyncState {
    pub(crate) fn new(active: Arc<Segment>) -> SyncState {
        SyncState {
            running: false,
            group: Group::default(),
            segments: vec![active],
            new_names: false,
        }
    }

    pub(crate) fn read_only() -> SyncState {
        SyncState {
            running: false,
            group: Group::default(),
            segments: Vec::new(),
            new_names: false,
        }
    }
}
