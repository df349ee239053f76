//! The bytes and names that are not durable yet, and the fsync that is running.

use crate::error::Result;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::checkpoints::Checkpoints;
use crate::log::state::sync_batcher::SyncBatcher;
#[cfg(feature = "futures")]
use crate::log::state::syncer::Syncer;
use crate::segment::Segment;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::types::Offset;
use std::sync::Arc;

/// The part of a log that makes it durable.
pub(crate) struct Flushes {
    /// The segments with bytes that are not durable, and whether an fsync is running.
    pub(crate) sync: Mutex<SyncState>,
    /// Waits with `sync` for a running fsync to end.
    pub(crate) synced: Condvar,
    /// Waits with `sync`, as the leader of an fsync, for others to join.
    pub(crate) gathered: Condvar,
    pub(crate) checkpoints: Checkpoints,
    #[cfg(feature = "futures")]
    pub(crate) syncer: Syncer,
}

/// The bytes and names that are not durable yet.
#[derive(Debug)]
pub(crate) struct SyncState {
    /// An fsync is running, or its leader waits for others to join. The leader's guard resets it
    /// on every way out.
    pub(crate) running: bool,
    pub(crate) batcher: SyncBatcher,
    /// The segments that may hold unsynced bytes, in order; the last is the active one.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Names were created or removed since the directory was last synced.
    pub(crate) new_names: bool,
}

impl SyncState {
    pub(crate) fn new(active: Arc<Segment>) -> SyncState {
        SyncState { segments: vec![active], ..SyncState::read_only() }
    }

    pub(crate) fn read_only() -> SyncState {
        let (segments, batcher) = (Vec::new(), SyncBatcher::default());
        SyncState { running: false, batcher, segments, new_names: false }
    }
}

impl Flushes {
    pub(crate) fn new(sync: SyncState, checkpoints: Checkpoints) -> Flushes {
        Flushes {
            sync: Mutex::new(sync),
            synced: Condvar::new(),
            gathered: Condvar::new(),
            checkpoints,
            #[cfg(feature = "futures")]
            syncer: Syncer::default(),
        }
    }

    /// Waits until no fsync is running, and keeps another from starting while the guard lives.
    pub(crate) fn pause_syncs(&self) -> MutexGuard<'_, SyncState> {
        let mut state = self.sync.lock();
        while state.running {
            self.synced.wait(&mut state);
        }
        state
    }

    /// Removes sealed segments that were synced whole from the list.
    pub(crate) fn forget_synced(&self, synced: &[Arc<Segment>]) {
        if synced.is_empty() {
            return;
        }
        let mut state = self.sync.lock();
        state.segments.retain(|segment| !synced.iter().any(|done| Arc::ptr_eq(done, segment)));
    }

    /// Stores the recovery point: everything below this offset is durable.
    pub(crate) fn store_recovery_point(&self, offset: Offset) -> Result<()> {
        self.checkpoints.set(Checkpoint::RecoveryPoint, offset)
    }
}
