//! A scan of batch headers: transactions and their producers.

use crate::failure::Failure;
use crate::salvage::Salvage;
use annals::record::{BatchHeader, ControlRecord, ControlType, RecordBatch};
use annals::{Error, Offset, ProducerId};
use std::collections::BTreeMap;
use std::path::Path;

/// The transactions of the scanned part of a log.
#[derive(Debug, Default)]
pub struct Transactions {
    /// The first offset of each producer's open transaction.
    open: BTreeMap<ProducerId, Offset>,
    /// The first offset of each aborted transaction, by producer and offset of the abort marker.
    aborted: BTreeMap<(ProducerId, Offset), Offset>,
}

impl Transactions {
    /// Collects the transactions of the sound batches of a damaged log. Also returns the offset of
    /// the earliest open one, or the end of these batches.
    pub fn of_sound_batches(dir: &Path, start: Offset) -> Result<(Transactions, Offset), Failure> {
        let mut transactions = Transactions::default();
        let mut batches = Salvage::from(dir, start)?.quiet();
        while let Some(batch) = batches.next_batch()? {
            let header = *batch.header();
            match marker(&batch) {
                Ok(Some(control)) if header.is_control() => {
                    transactions.note_marker(&header, control.control_type);
                }
                _ => transactions.note_data(&header),
            }
        }
        let last_stable = transactions.last_stable(batches.offset());
        Ok((transactions, last_stable))
    }

    pub fn note_data(&mut self, header: &BatchHeader) {
        if header.is_transactional() && !header.is_control() {
            self.open.entry(header.producer_id).or_insert(header.base_offset);
        }
    }

    pub fn note_marker(&mut self, header: &BatchHeader, marker: ControlType) {
        if !matches!(marker, ControlType::Abort | ControlType::Commit) {
            return;
        }
        if let Some(first) = self.open.remove(&header.producer_id)
            && marker == ControlType::Abort
        {
            self.aborted.insert((header.producer_id, header.last_offset()), first);
        }
    }

    /// Returns whether a batch belongs to an aborted transaction.
    pub fn is_aborted(&self, header: &BatchHeader) -> bool {
        if !header.is_transactional() {
            return false;
        }
        let after = (header.producer_id, header.last_offset())..=(header.producer_id, Offset::MAX);
        let next = self.aborted.range(after).next();
        next.is_some_and(|(_, first)| *first <= header.base_offset)
    }

    pub fn open_since(&self, producer: ProducerId) -> Option<Offset> {
        self.open.get(&producer).copied()
    }

    /// Returns the first offset of the earliest open transaction, or else `end`.
    pub fn last_stable(&self, end: Offset) -> Offset {
        self.open.values().copied().min().unwrap_or(end).min(end)
    }
}

/// Returns the control record in a batch, or `None` if the batch is empty.
pub fn marker(batch: &RecordBatch) -> Result<Option<ControlRecord>, Error> {
    let decoded = batch.records()?;
    match decoded.iter().next() {
        Some(record) => {
            let record = record?;
            Ok(Some(ControlRecord::parse(record.key, record.value)?))
        }
        None => Ok(None),
    }
}
