//! A scan of batch headers: transactions and their producers.

use annals::record::{BatchHeader, ControlRecord, ControlType, RecordBatch};
use annals::{Error, Log, Offset, ProducerId, Reader, StartAt};
use std::collections::BTreeMap;

/// The transactions of the scanned part of a log.
#[derive(Debug, Default)]
pub struct Transactions {
    /// The first offset of each producer's open transaction.
    open: BTreeMap<ProducerId, Offset>,
    /// The first offset of each aborted transaction, by producer and offset of the abort marker.
    aborted: BTreeMap<(ProducerId, Offset), Offset>,
}

impl Transactions {
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

/// A scan of a log up to its end, which can move.
#[derive(Debug)]
pub struct Scan {
    reader: Reader,
    pub transactions: Transactions,
}

impl Scan {
    pub fn new(log: &Log) -> Result<Scan, Error> {
        let reader = log.reader(StartAt::Earliest)?;
        Ok(Scan { reader, transactions: Transactions::default() })
    }

    /// Scans up to the current end. The end is read once, as a fast writer would keep moving it.
    pub fn advance(&mut self, log: &Log) -> Result<(), Error> {
        let end = log.reader(StartAt::Latest)?.offset();
        while self.reader.offset() < end {
            let Some(batch) = self.reader.next_batch()? else { break };
            let header = *batch.header();
            if header.is_control() {
                if let Some(control) = marker(&batch.to_owned()?)? {
                    self.transactions.note_marker(&header, control.control_type);
                }
            } else {
                self.transactions.note_data(&header);
            }
        }
        Ok(())
    }

    /// Returns the offset after the last scanned batch.
    pub fn offset(&self) -> Offset {
        self.reader.offset()
    }

    pub fn last_stable(&self) -> Offset {
        self.transactions.last_stable(self.reader.offset())
    }
}
