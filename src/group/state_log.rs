//! The log of a partition whose records are the state of a coordinator.

use crate::callback;
use crate::error::{Error, Result};
use crate::log::{Appended, Log};
use crate::producer_state::VerificationGuard;
use crate::record::{BatchBuilder, EndTxnMarker, Record};
use crate::types::{Offset, ProducerIdentity, Timestamp, TransactionVersion};

/// The smallest size of a log that is worth compacting.
const MIN_COMPACTION_BYTES: u64 = 4 << 20;

/// The number of bytes per live byte at which a larger log is compacted.
const MAX_BYTES_PER_LIVE_BYTE: u64 = 16;

/// The approximate size of a record without key and value, including its share of a small batch.
const RECORD_OVERHEAD: u64 = 70;

/// An encoded record: a key with its value, or a tombstone.
pub(crate) type KeyAndValue = (Vec<u8>, Option<Vec<u8>>);

/// A log, and its approximate size.
#[derive(Debug)]
pub(crate) struct StateLog {
    log: Log,
    /// The approximate size of the log in bytes.
    log_bytes: u64,
    /// The size at which to check again whether to compact the log.
    next_size_check: u64,
}

impl StateLog {
    /// Takes a log that has batches of this size.
    pub(crate) fn new(log: &Log, log_bytes: u64) -> StateLog {
        StateLog { log: log.clone(), log_bytes, next_size_check: MIN_COMPACTION_BYTES }
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.log.is_closed()
    }

    /// Appends a record for each key, with its value or as a tombstone, as one batch.
    pub(crate) fn append(
        &mut self,
        records: impl IntoIterator<Item = KeyAndValue>,
    ) -> Result<Option<Appended>> {
        let records = self.counted(records);
        if records.is_empty() {
            return Ok(None);
        }
        self.write(records.len(), |log| log.append_all(records)).map(Some)
    }

    /// Appends a record for each key, as one batch of a producer's transaction.
    pub(crate) fn append_in_transaction(
        &mut self,
        producer: ProducerIdentity,
        guard: VerificationGuard,
        records: impl IntoIterator<Item = KeyAndValue>,
        now: Timestamp,
    ) -> Result<Option<Appended>> {
        let records = self.counted(records);
        if records.is_empty() {
            return Ok(None);
        }
        let mut batch = BatchBuilder::new();
        batch.producer(producer.id, producer.epoch, 0).transactional(true);
        for record in &records {
            batch.push_record(record, now)?;
        }
        self.write(records.len(), |log| log.append_from_coordinator(&mut batch, guard)).map(Some)
    }

    /// Appends the marker that ends the transaction of a producer.
    pub(crate) fn append_marker(
        &mut self,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<Appended> {
        self.log_bytes = self.log_bytes.saturating_add(RECORD_OVERHEAD);
        self.write(1, |log| log.append_marker_of_coordinator(producer, marker, version))
    }

    /// Makes records of the keys and values, and counts their bytes.
    fn counted(&mut self, records: impl IntoIterator<Item = KeyAndValue>) -> Vec<Record> {
        let mut counted = Vec::new();
        for (key, value) in records {
            let bytes = key.len().saturating_add(value.as_ref().map_or(0, Vec::len)) as u64;
            self.log_bytes = self.log_bytes.saturating_add(bytes).saturating_add(RECORD_OVERHEAD);
            counted.push(match value {
                Some(value) => Record::new(value).key(key),
                None => Record::tombstone(key),
            });
        }
        counted
    }

    /// Appends a batch with this number of records. A user-supplied `Fs` or clock may panic before
    /// or after it was written; the end of the log shows whether it was. If the `Fs` panicked while
    /// it wrote it, the log is poisoned, and the state is read again once it was reopened.
    fn write(
        &self,
        count: usize,
        append: impl FnOnce(&Log) -> Result<Appended>,
    ) -> Result<Appended> {
        let (first, count) = (self.log.offsets().end, count as Offset);
        let appended = callback::call(|| append(&self.log));
        let appended = appended.unwrap_or_else(|_| {
            let last = first.saturating_add(count).saturating_sub(1);
            let written = self.log.offsets().end > last;
            let (append_time, duplicate) = (Timestamp::NONE, false);
            let appended = Appended { first, last, append_time, duplicate };
            if written {
                return Ok(appended);
            }
            self.log.check_writable().and_then(|()| Err(self.log.closed_error()))
        });
        appended.map_err(Error::or_being_reopened)
    }

    /// Returns whether the log has so many more bytes than its live records that it should be
    /// compacted, because the next load reads all of it. Checks only from time to time, because
    /// counting the live bytes takes long.
    pub(crate) fn should_compact(&mut self, live_bytes: impl FnOnce() -> u64) -> bool {
        if self.log_bytes < self.next_size_check {
            return false;
        }
        let live_bytes = live_bytes();
        let limit = live_bytes.saturating_mul(MAX_BYTES_PER_LIVE_BYTE).max(MIN_COMPACTION_BYTES);
        let should_compact = self.log_bytes >= limit;
        if should_compact {
            self.log_bytes = live_bytes;
        }
        self.next_size_check = limit.max(self.log_bytes.saturating_add(MIN_COMPACTION_BYTES));
        should_compact
    }
}
