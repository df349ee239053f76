//! Changing a finished batch in place, which is how a log gives it its offset and time.
//!
//! Offset and leader epoch lie outside of the checksum, so stamping them costs a
//! few bytes. The append time lies inside of it, and stamping it costs a pass over
//! the batch.

use super::checksum::crc32c;
use super::header::{BatchHeader, truncated};
use super::layout;
use crate::error::InvalidBatch;
use crate::types::{LeaderEpoch, Offset, Timestamp, TimestampType};

/// Gives the batch at the start of `batch` its base offset.
///
/// The offset is not checked against [`MAX_OFFSET`](crate::MAX_OFFSET): the caller knows the
/// batch's last offset delta.
///
/// # Errors
///
/// `Truncated` if there are fewer than 61 bytes; nothing is changed then.
#[inline]
pub fn stamp_base_offset(batch: &mut [u8], offset: Offset) -> Result<(), InvalidBatch> {
    stamp(batch, layout::BASE_OFFSET_AT, offset.to_be_bytes())
}

/// Gives the batch at the start of `batch` its leader epoch.
///
/// # Errors
///
/// `Truncated` if there are fewer than 61 bytes; nothing is changed then.
#[inline]
pub fn stamp_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) -> Result<(), InvalidBatch> {
    stamp(batch, layout::LEADER_EPOCH_AT, epoch.to_be_bytes())
}

/// Makes every record of the batch at the start of `batch` read as appended at `now`.
///
/// Sets the timestamp type to `LogAppendTime` and the largest timestamp to `now`, and
/// computes the checksum anew. The deltas the producer wrote stay. A batch that
/// already says so is left alone.
///
/// # Errors
///
/// As [`BatchHeader::parse`], and `Truncated` if the batch is not all there;
/// nothing is changed then.
pub fn stamp_append_time(batch: &mut [u8], now: Timestamp) -> Result<(), InvalidBatch> {
    let header = BatchHeader::parse(batch)?;
    if header.timestamp_type() == TimestampType::LogAppendTime && header.max_timestamp == now {
        return Ok(());
    }
    let available = batch.len();
    let Some(batch) = batch.get_mut(..header.size_bytes()) else {
        return Err(truncated(header.size_bytes(), available));
    };
    let attributes = header.attributes | layout::LOG_APPEND_TIME;
    stamp(batch, layout::ATTRIBUTES_AT, attributes.to_be_bytes())?;
    stamp(batch, layout::MAX_TIMESTAMP_AT, now.as_millis().to_be_bytes())?;
    stamp_checksum(batch)
}

/// Gives the batch at the start of `batch` the largest timestamp of its records, and computes the
/// checksum anew.
///
/// A batch that has it already is left alone.
///
/// # Errors
///
/// As [`BatchHeader::parse`], and `Truncated` if the batch is not all there;
/// nothing is changed then.
pub fn stamp_max_timestamp(batch: &mut [u8], max: Timestamp) -> Result<(), InvalidBatch> {
    let header = BatchHeader::parse(batch)?;
    if header.max_timestamp == max {
        return Ok(());
    }
    let available = batch.len();
    let Some(batch) = batch.get_mut(..header.size_bytes()) else {
        return Err(truncated(header.size_bytes(), available));
    };
    stamp(batch, layout::MAX_TIMESTAMP_AT, max.as_millis().to_be_bytes())?;
    stamp_checksum(batch)
}

/// Makes the records of `batch`, which is exactly one batch, read with the times their producer
/// wrote, and computes the checksum anew. The largest timestamp stays, and may be wrong then.
pub(crate) fn stamp_create_time(batch: &mut [u8]) -> Result<(), InvalidBatch> {
    let attributes = BatchHeader::parse(batch)?.attributes & !layout::LOG_APPEND_TIME;
    stamp(batch, layout::ATTRIBUTES_AT, attributes.to_be_bytes())?;
    stamp_checksum(batch)
}

/// Gives `batch`, which is exactly one batch, the length it has.
pub(crate) fn stamp_length(batch: &mut [u8]) -> Result<(), InvalidBatch> {
    let available = batch.len();
    let length = available.checked_sub(layout::LENGTH_PREFIX_SIZE);
    let Some(length) = length.and_then(|length| i32::try_from(length).ok()) else {
        return Err(truncated(layout::HEADER_SIZE, available));
    };
    stamp(batch, layout::BATCH_LENGTH_AT, length.to_be_bytes())
}

/// Computes the checksum of `batch`, which is exactly one batch, and stores it.
pub(crate) fn stamp_checksum(batch: &mut [u8]) -> Result<(), InvalidBatch> {
    let covered = batch.get(layout::ATTRIBUTES_AT..).unwrap_or_default();
    let crc = crc32c(covered);
    stamp(batch, layout::CRC_AT, crc.to_be_bytes())
}

#[inline]
fn stamp<const N: usize>(batch: &mut [u8], at: usize, bytes: [u8; N]) -> Result<(), InvalidBatch> {
    let available = batch.len();
    match batch.first_chunk_mut() {
        Some(header) => {
            layout::put(header, at, bytes);
            Ok(())
        }
        None => Err(truncated(layout::HEADER_SIZE, available)),
    }
}
