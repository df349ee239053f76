//! Waiting for the end of transactions that have committed offsets of the group.
//!
//! A partition without a position begins at the committed offset. While a transaction is open that
//! has committed another one, it has no position, and polls return nothing from it. The offsets
//! are looked at again when the log of the group has changed, because the end of the transaction
//! is a record there.

use crate::client::consumer::partition::Partition;
use crate::client::consumer::wakeup::{ConsumerWakeup, OneShotWaker};
use crate::group::commits::PendingOffsets;
use std::sync::Arc;
use std::task::Waker;

/// Partitions without a position, and what wakes the consumer when it may be decided.
#[derive(Debug)]
pub(super) struct AwaitedOffsets {
    pending: PendingOffsets,
    one_shot: Arc<OneShotWaker>,
    waker: Waker,
    waker_id: u64,
}

impl AwaitedOffsets {
    pub(super) fn new(pending: PendingOffsets, wakeup: &Arc<ConsumerWakeup>) -> AwaitedOffsets {
        let one_shot = OneShotWaker::new(wakeup);
        let waker = Waker::from(Arc::clone(&one_shot));
        let waker_id = pending.log().waker_id();
        AwaitedOffsets { pending, one_shot, waker, waker_id }
    }

    /// Returns whether a partition has no position, and nothing has changed that.
    pub(super) fn waits(&self, partition: &Partition) -> bool {
        partition.position().is_none()
            && self.pending.partitions.contains(&partition.name)
            && !self.pending.may_be_decided()
    }

    /// Makes the log of the group wake the consumer when it changes.
    pub(super) fn register_waker(&self) {
        if self.one_shot.arm() {
            self.pending.log().wake_on_change(self.waker_id, &self.waker);
        }
    }
}

impl Drop for AwaitedOffsets {
    fn drop(&mut self) {
        self.pending.log().forget_waker(self.waker_id);
    }
}
