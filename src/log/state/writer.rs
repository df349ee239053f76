//! The state that the writer lock protects.

use crate::log::state::append_queue::Group;
use crate::log::state::producers::Tracked;
use crate::record::BatchHeader;
use crate::segment::Segment;
use crate::segment::active::ActiveLog;
use crate::segment::index::{IndexCadence, Indexes};
use crate::types::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The state that the writer lock protects: the active segment.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) segment: Arc<Segment>,
    pub(crate) indexes: Arc<Indexes>,
    pub(crate) log: ActiveLog,
    pub(crate) cadence: IndexCadence,
    /// The largest timestamp of the first batch of the segment: its age counts from there.
    pub(crate) first_timestamp: Timestamp,
    /// When the segment was begun, by the monotonic clock.
    pub(crate) begun: Duration,
    /// The age at which this segment is closed: the configured one less its share of the jitter.
    pub(crate) roll_age: Duration,
    /// The number of entries of the indexes that are in their files.
    pub(crate) stored_offset_entries: usize,
    pub(crate) stored_time_entries: usize,
    /// When an append last led to a flush.
    pub(crate) flushed: Duration,
    /// An empty group, kept for its memory.
    pub(crate) spare: Group,
    pub(crate) tracked: Tracked,
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
            tracked: Tracked::nothing(segment.base),
            segment: Arc::new(segment),
            indexes,
            log,
            cadence,
            first_timestamp,
            begun,
            roll_age,
            stored_offset_entries: 0,
            stored_time_entries: 0,
            flushed: begun,
            spare: Group::default(),
        }
    }

    /// Takes in a batch that was written behind the last by another way.
    pub(crate) fn take_written(&mut self, header: &BatchHeader, bytes: u64) {
        let (at, last) = (self.log.position(), header.last_offset());
        self.log.take_written(bytes);
        self.cadence.note(&self.indexes, at, bytes, last, header.max_timestamp);
        self.segment.publish(self.log.position(), self.cadence.largest.0);
    }
}
