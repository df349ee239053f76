//! Changing a finished batch in place. A log sets the offset and the time of a batch this way.
//!
//! The checksum does not cover offset and leader epoch, so stamping them changes only a few bytes.
//! It covers the timestamps, so stamping one computes the checksum of the whole batch.

use super::checksum::crc32c;
use super::header::{BatchHeader, truncated};
use super::layout;
use crate::error::InvalidBatch;
use crate::types::{LeaderEpoch, Offset, Timestamp, TimestampType};

/// Sets the base offset of the batch at the start of `batch`.
///
/// The offset is not checked against [`MAX_OFFSET`](crate::MAX_OFFSET): the caller knows the
/// batch's last offset delta.
///
/// # Errors
///
/// `Truncated` if there are fewer than 61 bytes. Nothing is changed then.
#[inline]
pub fn stamp_base_offset(batch: &mut [u8], offset: Offset) -> Result<(), InvalidBatch> {
    stamp(batch, layout::BASE_OFFSET_AT, offset.to_be_bytes())
}

/// Sets the leader epoch of the batch at the start of `batch`.
///
/// # Errors
///
/// `Truncated` if there are fewer than 61 bytes. Nothing is changed then.
#[inline]
pub fn stamp_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) -> Result<(), InvalidBatch> {
    stamp(batch, layout::LEADER_EPOCH_AT, epoch.to_be_bytes())
}

/// Sets the append time of all records of the batch at the start of `batch` to `now`.
///
/// Sets the timestamp type to `LogAppendTime` and the largest timestamp to `now`, and computes the
/// checksum. The deltas of the producer are kept. A batch that has this append time already is not
/// changed.
///
/// # Errors
///
/// As [`BatchHeader::parse`], and `Truncated` if the batch is incomplete. Nothing is changed then.
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

/// Sets the largest timestamp of the batch at the start of `batch`, and computes the checksum.
///
/// A batch that has this timestamp already is not changed.
///
/// # Errors
///
/// As [`BatchHeader::parse`], and `Truncated` if the batch is incomplete. Nothing is changed then.
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

/// Sets the timestamp type of `batch`, which is exactly one batch, to `CreateTime`, and computes
/// the checksum. The largest timestamp is kept, and may be wrong then.
pub(crate) fn stamp_create_time(batch: &mut [u8]) -> Result<(), InvalidBatch> {
    let attributes = BatchHeader::parse(batch)?.attributes & !layout::LOG_APPEND_TIME;
    stamp(batch, layout::ATTRIBUTES_AT, attributes.to_be_bytes())?;
    stamp_checksum(batch)
}

/// Sets the length field of `batch`, which is exactly one batch, to its length.
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
