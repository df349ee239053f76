//! Ending a transaction: appending the marker of a commit or an abort.
//!
//! 1. Without a lock: encode the batch of the marker.
//! 2. Take the writer lock. Check the epochs of the producer and of the coordinator.
//! 3. Write the batch as any other, in a new segment if the active one is full.
//! 4. If the marker aborts a transaction, add an entry to the index of its segment: in memory, and
//!    then in the file.
//! 5. Publish the end of the log, and only then raise the last stable offset. A reader that sees
//!    the raised offset finds the entry, and hides the aborted records.

use crate::error::{Error, InvalidBatch, ProducerStateError, Result};
use crate::event::Event;
use crate::log::inner::LogInner;
use crate::log::state::appended::Appended;
use crate::log::state::writer::Writer;
use crate::producer_state::VerificationGuard;
use crate::record::{BatchHeader, EndTxnMarker};
use crate::segment::name::Kind;
use crate::segment::txn_index::{AbortedTxn, ENTRY_BYTES};
use crate::types::{ProducerId, ProducerIdentity, Sequence, TransactionVersion};

impl LogInner {
    /// Appends the marker that ends the transaction of a producer.
    pub(crate) fn append_marker(
        &self,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<Appended> {
        self.state.check_writable()?;
        if producer.id < 0 || producer.epoch < 0 {
            let rule = "a marker needs the id of its producer, and an epoch";
            return Err(InvalidBatch::RuleViolation(rule).into());
        }
        let mut batch = marker.to_batch(producer.id, producer.epoch, self.clock().now())?;
        let header = BatchHeader::parse(&batch)?;
        self.append_holding(self.appends.writer.lock(), |writer| {
            let (now, after) = (self.clock().monotonic(), self.config.producer_id_expiration);
            writer.tracked.check_marker((&header, &marker), version, now, after)?;
            self.append_marker_locked(writer, &mut batch, &header, &marker)
        })
    }

    /// Aborts the open transaction of a producer as its coordinator would: with the epochs that the
    /// log knows.
    pub(crate) fn abort_transaction(&self, producer_id: ProducerId) -> Result<Appended> {
        self.state.check_writable()?;
        self.append_holding(self.appends.writer.lock(), |writer| {
            let mut open = writer.tracked.open_transactions().map(|(state, _)| state);
            let found = open.find(|state| state.producer_id == producer_id);
            drop(open);
            let none = ProducerStateError::NoOpenTransaction { producer_id };
            let state = found.ok_or(Error::Producer(none))?;
            let coordinator_epoch = state.coordinator_epoch.max(0);
            let marker = EndTxnMarker { committed: false, coordinator_epoch };
            let now = self.clock().now();
            let mut batch = marker.to_batch(producer_id, state.producer_epoch, now)?;
            let header = BatchHeader::parse(&batch)?;
            writer.tracked.hear_at(self.clock().monotonic());
            self.append_marker_locked(writer, &mut batch, &header, &marker)
        })
    }

    /// Gives a permission to open a transaction.
    pub(crate) fn begin_verification(
        &self,
        producer: ProducerIdentity,
        first_sequence: Sequence,
        version: TransactionVersion,
    ) -> Result<VerificationGuard> {
        let mut slot = self.appends.writer.lock();
        self.state.check_writable()?;
        let writer = slot.as_mut().ok_or_else(|| self.state.closed())?;
        let now = self.clock().monotonic();
        Ok(writer.tracked.begin_verification(producer, first_sequence, version, now))
    }

    /// Appends a marker that was checked.
    fn append_marker_locked(
        &self,
        writer: &mut Writer,
        batch: &mut [u8],
        header: &BatchHeader,
        marker: &EndTxnMarker,
    ) -> Result<Appended> {
        let (appended, max_timestamp) = self.write_locked(writer, batch, header)?;
        let header = BatchHeader { base_offset: appended.first, max_timestamp, ..*header };
        self.note_marker(writer, &header, marker);
        self.publish(writer, header.next_offset());
        self.state.set_first_unstable(writer.tracked.first_unstable());
        self.store_producers_if_due(writer);
        Ok(appended)
    }

    /// Records a marker that was written and is not published yet.
    pub(crate) fn note_marker(
        &self,
        writer: &mut Writer,
        header: &BatchHeader,
        marker: &EndTxnMarker,
    ) {
        let opened_at = writer.tracked.note_marker(header, marker);
        if let Some(first) = opened_at.filter(|_| !marker.committed) {
            let undecided = writer.tracked.first_undecided();
            let last_stable = undecided.unwrap_or(header.base_offset.saturating_add(1));
            let (producer_id, last) = (header.producer_id, header.base_offset);
            self.index_aborted(writer, AbortedTxn { producer_id, first, last, last_stable });
        }
    }

    /// Adds an aborted transaction to the index of the active segment.
    fn index_aborted(&self, writer: &mut Writer, aborted: AbortedTxn) {
        writer.segment.aborted_in_memory().push(aborted);
        self.state.note_aborted();
        // The marker is in the log already. The next one, the next roll or a close tries again.
        let stored = self.poison_on_unwind("append to", || self.store_aborted(writer));
        if let Err(error) = stored {
            let path = writer.segment.path(Kind::TxnIndex);
            self.emit(&Event::CheckpointFailed { path, error: error.cause() });
        }
    }

    /// Writes the aborted transactions that are not in the file of the active segment yet. It is
    /// not synced.
    pub(crate) fn store_aborted(&self, writer: &mut Writer) -> Result<()> {
        let (base, stored) = (writer.segment.base, writer.stored_aborted);
        if stored < writer.segment.aborted_count() {
            let index = writer.segment.aborted_in_memory();
            let at = stored.saturating_mul(ENTRY_BYTES);
            self.extend_index(base, Kind::TxnIndex, at, &index.bytes_from(stored))?;
            writer.stored_aborted = index.len();
        }
        Ok(())
    }
}
