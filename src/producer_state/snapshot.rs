//! The content of a `.snapshot` file: the producers of a log as of an offset.
//!
//! ```text
//! version 2 | CRC-32C of the rest 4 | count 4 | count times 46 bytes:
//!   id 8 | epoch 2 | last sequence 4 | last offset 8 | offset delta 4 | timestamp 8
//!   | coordinator epoch 4 | first offset of the transaction 8
//! ```

use super::window::BatchSeen;
use crate::record::crc32c;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};

/// The maximum size of a snapshot: more than a million producers.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

const VERSION: i16 = 1;
/// The size of the version, which the checksum follows.
pub(super) const VERSION_BYTES: usize = 2;
/// The size of the bytes before the entries: version, checksum and count.
pub(crate) const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// A producer in a snapshot. Offsets are as stored: -1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its generation.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the last record of its last batch.
    pub last_sequence: Sequence,
    /// The last offset of its last batch.
    pub last_offset: i64,
    /// The last offset of that batch minus its first.
    pub offset_delta: i32,
    /// The largest timestamp of that batch.
    pub last_timestamp: Timestamp,
    /// The generation of the transaction coordinator.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction.
    pub current_txn_first_offset: i64,
}

/// Decodes a snapshot. Returns the position and the problem if it is damaged.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<ProducerState>, (usize, &'static str)> {
    let mut rest = bytes;
    let header = (take(&mut rest), take(&mut rest));
    let (Some(version), Some(crc)) = header else {
        return Err((0, "it is too short for a snapshot"));
    };
    if i16::from_be_bytes(version) != VERSION {
        return Err((0, "its version is not 1"));
    }
    if u32::from_be_bytes(crc) != crc32c(rest) {
        return Err((VERSION_BYTES, "its checksum does not match"));
    }
    let count = take(&mut rest).and_then(|count| usize::try_from(i32::from_be_bytes(count)).ok());
    if count.and_then(|count| count.checked_mul(ENTRY_BYTES)) != Some(rest.len()) {
        return Err((HEADER_BYTES, "its number of producers differs from its count"));
    }
    Ok(std::iter::from_fn(|| entry(&mut rest)).collect())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*front)
}

fn entry(rest: &mut &[u8]) -> Option<ProducerState> {
    Some(ProducerState {
        producer_id: i64::from_be_bytes(take(rest)?),
        producer_epoch: i16::from_be_bytes(take(rest)?),
        last_sequence: i32::from_be_bytes(take(rest)?),
        last_offset: i64::from_be_bytes(take(rest)?),
        offset_delta: i32::from_be_bytes(take(rest)?),
        last_timestamp: Timestamp::from_millis(i64::from_be_bytes(take(rest)?)),
        coordinator_epoch: i32::from_be_bytes(take(rest)?),
        current_txn_first_offset: i64::from_be_bytes(take(rest)?),
    })
}

/// Returns whether a snapshot of this many producers is small enough to be read again.
pub(crate) fn fits(producers: usize) -> bool {
    let bytes = producers.saturating_mul(ENTRY_BYTES).saturating_add(HEADER_BYTES);
    bytes as u64 <= MAX_BYTES
}

/// Returns whether these can be the producers of a log as of an offset. Another program can write
/// any content with the right checksum.
pub(crate) fn is_possible(states: &[ProducerState], end: Offset) -> bool {
    let end = i64::try_from(end).unwrap_or(i64::MAX);
    let is_possible = |state: &ProducerState| {
        let spans = state.last_offset < 0
            || (0..=state.last_offset).contains(&i64::from(state.offset_delta));
        state.producer_id >= 0
            && spans
            && state.last_offset < end
            && state.current_txn_first_offset < end
    };
    states.iter().all(is_possible)
}

/// Encodes a snapshot of these producers.
pub(crate) fn encode(states: &[ProducerState]) -> Vec<u8> {
    let entries = states.len().saturating_mul(ENTRY_BYTES);
    let mut body = Vec::with_capacity(entries.saturating_add(HEADER_BYTES));
    body.extend(i32::try_from(states.len()).unwrap_or(i32::MAX).to_be_bytes());
    for state in states.iter().take(i32::MAX as usize) {
        body.extend(state.producer_id.to_be_bytes());
        body.extend(state.producer_epoch.to_be_bytes());
        body.extend(state.last_sequence.to_be_bytes());
        body.extend(state.last_offset.to_be_bytes());
        body.extend(state.offset_delta.to_be_bytes());
        body.extend(state.last_timestamp.as_millis().to_be_bytes());
        body.extend(state.coordinator_epoch.to_be_bytes());
        body.extend(state.current_txn_first_offset.to_be_bytes());
    }
    let mut bytes = VERSION.to_be_bytes().to_vec();
    bytes.extend(crc32c(&body).to_be_bytes());
    bytes.append(&mut body);
    bytes
}

impl BatchSeen {
    /// Returns the last offset of the batch minus its first, as far as it can be stored.
    pub(crate) fn offset_delta(&self) -> i32 {
        i32::try_from(self.last_offset.saturating_sub(self.first_offset)).unwrap_or(i32::MAX)
    }

    /// Returns the last batch of a producer in a snapshot. A producer with only a marker has none.
    pub(crate) fn restore(state: &ProducerState) -> Option<BatchSeen> {
        let last_offset = Offset::try_from(state.last_offset).ok()?;
        let delta = Offset::try_from(state.offset_delta).ok()?;
        Some(BatchSeen {
            first_sequence: before(state.last_sequence, state.offset_delta),
            last_sequence: state.last_sequence,
            first_offset: last_offset.checked_sub(delta)?,
            last_offset,
            timestamp: state.last_timestamp,
        })
    }
}

/// Returns the sequence number that is `count` before this one.
pub(super) fn before(sequence: Sequence, count: i32) -> Sequence {
    if sequence < 0 {
        return sequence;
    }
    sequence.wrapping_sub(count) & i32::MAX
}
