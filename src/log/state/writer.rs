//! The state that the writer lock protects: the active segment and the producers.

use crate::log::state::append_queue::{AppendQueue, QueuedBatches};
use crate::log::state::producers::ProducerTracker;
use crate::record::BatchHeader;
use crate::segment::Segment;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::txn_index::TxnIndex;
use crate::sync::Mutex;
use crate::types::{LeaderEpoch, ProducerId, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// The part of a log that appends to it.
pub(crate) struct Appends {
    /// One append at a time. `None` when the log is read-only, and once it is closed.
    pub(crate) writer: Mutex<Option<Writer>>,
    /// The batches of threads that found the writer lock taken.
    pub(crate) queue: AppendQueue,
}

impl Appends {
    pub(crate) fn new(writer: Option<Writer>) -> Appends {
        Appends { writer: Mutex::new(writer), queue: AppendQueue::default() }
    }

    /// Forgets a closed producer of this process. Its id is never assigned again, so none of its
    /// batches can be resent.
    pub(crate) fn forget_producer(&self, producer_id: ProducerId) {
        if let Some(writer) = self.writer.lock().as_mut() {
            writer.tracked.forget(producer_id);
        }
    }
}

/// An epoch that no writer has: the file of the epochs must be written before the next batch.
pub(crate) const NOT_STORED: LeaderEpoch = LeaderEpoch::MIN;

/// The active segment, its indexes, and the producers of the log.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) segment: Arc<Segment>,
    pub(crate) indexes: Arc<Indexes>,
    pub(crate) log: ActiveLog,
    pub(crate) cadence: IndexCadence,
    /// The largest timestamp of the first batch of the segment, from which its age counts.
    pub(crate) first_timestamp: Timestamp,
    /// When the segment was begun, by the monotonic clock.
    pub(crate) begun: Duration,
    /// The age at which this segment is closed: the configured one less its share of the jitter.
    pub(crate) roll_age: Duration,
    /// The number of offset index entries that are in the file.
    pub(crate) stored_offset_entries: usize,
    /// The number of time index entries that are in the file.
    pub(crate) stored_time_entries: usize,
    /// The number of aborted transactions that are in the file.
    pub(crate) stored_aborted: usize,
    /// When a flush last began because the log's options required it.
    pub(crate) flushed: Duration,
    /// An empty queue, kept for its memory.
    pub(crate) spare: QueuedBatches,
    pub(crate) tracked: ProducerTracker,
    /// The leader epoch that is stamped on the batches.
    pub(crate) leader_epoch: LeaderEpoch,
    /// The latest epoch in the file of the epochs. If it is another one, the file is written
    /// before the next batch.
    pub(crate) assigned_epoch: LeaderEpoch,
    /// Whether the opening found no recovery point of ours, and no room to store one. Then a later
    /// opening can tell a power loss from compaction only if each segment is synced before the
    /// next one begins.
    pub(crate) syncs_before_roll: bool,
}

impl Writer {
    /// Creates the writer of a segment whose indexes are not in their files yet, and that was not
    /// flushed since it was begun.
    pub(crate) fn new(
        segment: Segment,
        indexes: Arc<Indexes>,
        log: ActiveLog,
        cadence: IndexCadence,
        first_timestamp: Timestamp,
        begun: Duration,
        roll_age: Duration,
    ) -> Writer {
        Writer {
            tracked: ProducerTracker::nothing(segment.base),
            segment: Arc::new(segment),
            indexes,
            log,
            cadence,
            first_timestamp,
            begun,
            roll_age,
            stored_offset_entries: 0,
            stored_time_entries: 0,
            stored_aborted: 0,
            flushed: begun,
            spare: QueuedBatches::default(),
            leader_epoch: -1,
            assigned_epoch: -1,
            syncs_before_roll: false,
        }
    }

    /// Takes over what goes on when another segment becomes the active one.
    pub(crate) fn continue_from(&mut self, before: &Writer) {
        self.flushed = before.flushed;
        self.leader_epoch = before.leader_epoch;
        self.assigned_epoch = before.assigned_epoch;
        self.syncs_before_roll = before.syncs_before_roll;
    }

    /// Takes the aborted transactions of the segment, which are in its file.
    pub(crate) fn take_aborted(&mut self, stored: &TxnIndex) {
        if stored.len() == 0 {
            return;
        }
        let index = self.segment.aborted_in_memory();
        stored.iter_from(0).for_each(|aborted| index.push(aborted));
        self.stored_aborted = index.len();
    }

    /// Counts a batch that was written after the last one without an append.
    pub(crate) fn take_written(&mut self, header: &BatchHeader, bytes: u64) {
        let (at, last) = (self.log.position(), header.last_offset());
        self.log.take_written(bytes);
        self.cadence.note(&self.indexes, at, bytes, last, header.max_timestamp);
        self.segment.publish(self.log.position(), self.cadence.largest.0);
    }
}
