//! The producers of a log, as its writer knows them.
//!
//! If the log knows producers, a snapshot lies beside the segments for each offset at which a
//! segment begins after the first, one for every 64 MiB inside a segment, and one for the end of a
//! log that was closed. Beside each is a `.recent` file with what Kafka's format leaves out.

use crate::error::{Error, Result};
use crate::producer_state::{
    BatchSeen, Origin, ProducerState, Producers, Unreplicated, VerificationGuard, Verifications,
};
use crate::record::{BatchHeader, EndTxnMarker};
use crate::types::{Offset, ProducerId, ProducerIdentity, Sequence, Timestamp, TransactionVersion};
use std::time::Duration;

/// The number of bytes appended to a segment between two snapshots.
pub(crate) const EVERY_BYTES: u64 = 64 << 20;

/// Tells when a producer was last heard: the wall-clock time of the opening plus the monotonic
/// time since. A wall clock that is set while the log is open neither expires producers nor keeps
/// them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    pub(crate) opened_at: Timestamp,
    pub(crate) opened: Duration,
}

impl Timeline {
    /// The timeline of an empty state.
    pub(crate) const NONE: Timeline =
        Timeline { opened_at: Timestamp::NONE, opened: Duration::ZERO };

    fn at(self, monotonic: Duration) -> Timestamp {
        let passed = monotonic.saturating_sub(self.opened).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.opened_at.as_millis().saturating_add(passed))
    }
}

/// The producers of a log, as its writer knows them. Its methods take monotonic times.
#[derive(Debug)]
pub(crate) struct ProducerTracker {
    pub(crate) producers: Producers,
    pub(crate) timeline: Timeline,
    /// The permissions to open a transaction.
    verifications: Verifications,
    /// The time of the last check or expiry. A batch that is noted counts as heard then.
    pub(crate) now: Timestamp,
    /// The newest snapshot that is stored.
    pub(crate) stored: Option<Offset>,
    /// Whether that snapshot must be written again: producers were forgotten since, or it has no
    /// `.recent` file.
    pub(crate) is_stale: bool,
    /// The position of the active segment at which the next snapshot is taken.
    pub(crate) due: u64,
}

impl ProducerTracker {
    pub(crate) fn new(
        producers: Producers,
        timeline: Timeline,
        stored: Option<Offset>,
    ) -> ProducerTracker {
        ProducerTracker {
            producers,
            timeline,
            verifications: Verifications::default(),
            now: timeline.opened_at,
            stored,
            is_stale: false,
            due: EVERY_BYTES,
        }
    }

    /// Creates a tracker without producers, for a segment that was just begun.
    pub(crate) fn nothing(base: Offset) -> ProducerTracker {
        ProducerTracker::new(Producers::none(base), Timeline::NONE, None)
    }

    /// Creates the tracker of the same log, begun anew at an offset without any batch.
    pub(crate) fn restarted(&self, at: Offset) -> ProducerTracker {
        let mut producers = Producers::none(at);
        producers.unreplicated =
            self.producers.unreplicated.as_ref().map(|_| Unreplicated::above(at));
        ProducerTracker::new(producers, self.timeline, None)
    }

    /// Sets when the next snapshot is due, for a segment that already has `position` bytes.
    pub(crate) fn at(mut self, position: u64) -> ProducerTracker {
        self.due = position.saturating_add(EVERY_BYTES);
        self
    }

    #[inline(always)]
    pub(crate) fn is_due(&self, position: u64) -> bool {
        position >= self.due
    }

    /// Returns the time on the [timeline](Timeline) at a monotonic time.
    pub(crate) fn time(&self, monotonic: Duration) -> Timestamp {
        self.timeline.at(monotonic)
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    pub(crate) fn states(&self) -> Vec<ProducerState> {
        self.producers.states()
    }

    /// Returns the producers that have not expired, in no order.
    pub(crate) fn active(
        &mut self,
        now: Duration,
        expire_after: Duration,
    ) -> impl Iterator<Item = ProducerState> {
        self.expire(now, expire_after);
        self.producers.unsorted_states()
    }

    /// Returns the start of the earliest open transaction.
    pub(crate) fn first_undecided(&self) -> Option<Offset> {
        self.producers.first_undecided()
    }

    /// Returns the start of the earliest transaction that is open, or that not all replicas know
    /// as completed.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        self.producers.first_unstable()
    }

    /// Sets the high watermark of a replicated log.
    pub(crate) fn set_high_watermark(&mut self, offset: Offset) {
        if let Some(unreplicated) = &mut self.producers.unreplicated {
            unreplicated.set_high_watermark(offset);
        }
    }

    /// Takes over the completed transactions that not all replicas know, from before a truncation
    /// to `end`.
    pub(crate) fn take_unreplicated(&mut self, before: &ProducerTracker, end: Offset) {
        self.producers.unreplicated.clone_from(&before.producers.unreplicated);
        if let Some(unreplicated) = &mut self.producers.unreplicated {
            unreplicated.truncate(end);
        }
    }

    /// Checks that the batch is the next one of its producer. Returns the batch that it repeats,
    /// if it repeats one.
    pub(crate) fn check(
        &mut self,
        header: &BatchHeader,
        origin: Origin,
        now: Duration,
        expire_after: Duration,
    ) -> Result<Option<BatchSeen>> {
        self.now = self.time(now);
        self.producers.forget_if_expired(header.producer_id, self.now, expire_after);
        let repeated = self.producers.check(header, origin).map_err(Error::Producer)?;
        if repeated.is_some() {
            self.producers.hear(header.producer_id, self.now);
        }
        Ok(repeated)
    }

    /// Gives a permission to open a transaction.
    pub(crate) fn begin_verification(
        &mut self,
        producer: ProducerIdentity,
        first_sequence: Sequence,
        version: TransactionVersion,
        now: Duration,
    ) -> VerificationGuard {
        if self.producers.has_open(producer) {
            return Verifications::verified(producer.id);
        }
        let now = self.time(now);
        self.verifications.begin(producer, first_sequence, version, now)
    }

    /// Checks that a transactional batch belongs to a transaction that is open, or may open one.
    pub(crate) fn check_verified(
        &self,
        header: &BatchHeader,
        guard: Option<VerificationGuard>,
    ) -> Result<()> {
        let producer = ProducerIdentity { id: header.producer_id, epoch: header.producer_epoch };
        if self.producers.has_open(producer) {
            return Ok(());
        }
        let is_known = self.producers.knows_epoch_of(producer.id);
        self.verifications.check(header, guard, is_known).map_err(Error::Producer)
    }

    /// Checks the marker of a coordinator, by the rules of a version.
    pub(crate) fn check_marker(
        &mut self,
        (header, marker): (&BatchHeader, &EndTxnMarker),
        version: TransactionVersion,
        now: Duration,
        expire_after: Duration,
    ) -> Result<()> {
        self.now = self.time(now);
        self.producers.forget_if_expired(header.producer_id, self.now, expire_after);
        self.producers.check_marker(header, marker, version).map_err(Error::Producer)
    }

    /// Sets the time at which the next batch counts as heard.
    pub(crate) fn hear_at(&mut self, now: Duration) {
        self.now = self.time(now);
    }

    /// Iterates over the producers with an open transaction, the earliest transaction first, and
    /// the time at which each was heard.
    pub(crate) fn open_transactions(&self) -> impl Iterator<Item = (ProducerState, Timestamp)> {
        self.producers.open_transactions()
    }

    /// Forgets the producers that were not heard for so long.
    pub(crate) fn expire(&mut self, now: Duration, after: Duration) {
        self.now = self.time(now);
        self.producers.expire(self.now, after);
        self.verifications.expire(self.now, after);
    }

    /// Forgets a producer that sends nothing any more.
    pub(crate) fn forget(&mut self, producer_id: ProducerId) {
        self.is_stale |= self.producers.forget(producer_id);
    }

    /// Records a batch that was checked.
    pub(crate) fn note(&mut self, header: &BatchHeader) {
        self.producers.note(header, self.now);
        if header.is_transactional() {
            self.verifications.forget(header.producer_id);
        }
    }

    /// Records a marker that was checked. Returns the first offset of the transaction that it
    /// ends, if one was open.
    pub(crate) fn note_marker(
        &mut self,
        header: &BatchHeader,
        marker: &EndTxnMarker,
    ) -> Option<Offset> {
        self.verifications.forget(header.producer_id);
        self.producers.note_marker(header, marker, self.now)
    }
}
