//! Batches without a record, for offsets that have none.
//!
//! Offsets that are left out at the end of a segment look the same whether compaction removed
//! their records or a crash took them. So whatever leaves some out there on purpose covers them
//! with an empty batch, as Kafka's own cleaner does at the end of what it cleaned, and brokers and
//! clients pass over it.

use crate::error::Result;
use crate::record::{BatchBuilder, BatchHeader};
use crate::types::{LeaderEpoch, Offset};
use std::ops::Range;

/// How many offsets a segment can span: index entries hold their distance from its base in 31
/// bits.
pub(crate) const SPAN: u64 = 1 << 31;

/// An empty batch that covers these offsets. `None` where there are none, or too many for one
/// batch.
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
