//! Batches without records, for offsets that have none.
//!
//! Offsets that are missing at the end of a segment look the same whether compaction removed their
//! records or a crash lost them. So an operation that leaves offsets out there covers them with an
//! empty batch, as Kafka's cleaner does at the end of the part it cleaned. Brokers and clients
//! skip such a batch.

use crate::error::Result;
use crate::record::{BatchBuilder, BatchHeader};
use crate::types::{LeaderEpoch, Offset};
use std::ops::Range;

/// The maximum number of offsets that a segment spans: an index entry holds the distance from the
/// base in 31 bits.
pub(crate) const SPAN: u64 = 1 << 31;

/// Returns an empty batch that covers these offsets; `None` if there are no offsets, or too many
/// for one batch.
pub(crate) fn placeholder(
    offsets: Range<Offset>,
    leader_epoch: LeaderEpoch,
) -> Result<Option<(BatchHeader, Vec<u8>)>> {
    let last = offsets.end.checked_sub(offsets.start).and_then(|count| count.checked_sub(1));
    let Some(Ok(delta)) = last.map(i32::try_from) else { return Ok(None) };
    let mut builder = BatchBuilder::new();
    builder.base_offset(offsets.start).leader_epoch(leader_epoch).set_last_offset_delta(delta);
    let (bytes, header) = builder.finish_with_header()?;
    Ok(Some((header, bytes.to_vec())))
}
