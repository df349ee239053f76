//! The transactions that are open in a read-only log.
//!
//! The writer of the log is another process, and may be a broker. The snapshot at the base of the
//! last segment has the transactions that were open there; the rest follows from the batches of
//! the segment, which are read anyway.

use crate::error::{InvalidBatch, Result};
use crate::log::files::snapshots::states_at;
use crate::record::{BatchRef, DecodeBuffer, marker_of};
use crate::segment::SegmentDir;
use crate::segment::recovered::RecoveryObserver;
use crate::types::{Offset, ProducerId};
use std::collections::BTreeMap;

/// A limit above the size of any control batch. None of them is compressed.
const CONTROL_BYTES: usize = 1 << 20;

/// The start of each open transaction, by its producer.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenTxns {
    at_base: BTreeMap<ProducerId, Offset>,
    open: BTreeMap<ProducerId, Offset>,
}

impl OpenTxns {
    /// Returns the transactions that are open where a segment begins.
    pub(crate) fn at(dir: &SegmentDir, base: Offset) -> Result<OpenTxns> {
        let states = states_at(dir, base)?.into_iter();
        let open = states.filter_map(|state| {
            let first = Offset::try_from(state.current_txn_first_offset).ok()?;
            Some((state.producer_id, first))
        });
        Ok(OpenTxns { at_base: open.collect(), open: BTreeMap::new() })
    }

    /// Returns where the earliest begins.
    pub(crate) fn first(&self) -> Option<Offset> {
        self.open.values().copied().min()
    }
}

impl RecoveryObserver for OpenTxns {
    fn begin(&mut self, _: Offset) -> Result<()> {
        self.open.clone_from(&self.at_base);
        Ok(())
    }

    fn batch(&mut self, batch: &BatchRef<'_>) -> Result<(), InvalidBatch> {
        let header = batch.header();
        if !header.is_transactional() {
            return Ok(());
        }
        if !header.is_control() {
            self.open.entry(header.producer_id).or_insert(header.base_offset);
        } else if marker_of(batch, &mut DecodeBuffer::new(CONTROL_BYTES))?.is_some() {
            self.open.remove(&header.producer_id);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.open.clear();
    }
}
