//! The small files beside the segments.

use super::malformed;
use super::window::Window;
use crate::checkpoint::{self, OffsetCheckpointEntry};
use crate::error::Result;
use crate::fs::Fs;
use crate::record::crc32c;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp};
use std::path::Path;

/// No snapshot of a million producers is larger.
const SNAPSHOT_BYTES: u64 = 64 << 20;
/// No checkpoint of a broker is larger.
const TEXT_BYTES: u64 = 16 << 20;
const SNAPSHOT_HEADER_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// A producer in a snapshot. Offsets are as they are stored: -1 is none.
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
    /// The last offset of that batch less its first.
    pub offset_delta: i32,
    /// The largest timestamp of that batch.
    pub last_timestamp: Timestamp,
    /// The generation of the transaction coordinator.
    pub coordinator_epoch: i32,
    /// Where its open transaction began.
    pub current_txn_first_offset: i64,
}

/// Where a leader epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: i32,
    /// Its first offset.
    pub start_offset: Offset,
}

/// The marker of a clean shutdown: the numbers in it, by name, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownMarker {
    /// Names and numbers; none in the empty marker of older releases.
    pub members: Vec<(String, i64)>,
}

/// The content of `partition.metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The version of the file.
    pub version: i32,
    /// The topic's id: 16 bytes in URL-safe base64 without padding.
    pub topic_id: String,
}

fn text(fs: &dyn Fs, path: &Path) -> Result<String> {
    let bytes = Window::open(fs, path)?.whole(TEXT_BYTES)?;
    String::from_utf8(bytes).map_err(|_| malformed(path, 0, "it is not text"))
}

/// The producers of a snapshot.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) when it is not as it was written.
pub fn producer_snapshot(fs: &dyn Fs, path: &Path) -> Result<Vec<ProducerState>> {
    let bytes = Window::open(fs, path)?.whole(SNAPSHOT_BYTES)?;
    let mut rest = bytes.as_slice();
    let header = (take(&mut rest), take(&mut rest));
    let (Some(version), Some(crc)) = header else {
        return Err(malformed(path, 0, "it is too short for a snapshot"));
    };
    if i16::from_be_bytes(version) != 1 {
        return Err(malformed(path, 0, "its version is not 1"));
    }
    if u32::from_be_bytes(crc) != crc32c(rest) {
        return Err(malformed(path, 2, "its checksum does not match"));
    }
    let count = take(&mut rest).and_then(|count| usize::try_from(i32::from_be_bytes(count)).ok());
    if count.and_then(|count| count.checked_mul(SNAPSHOT_ENTRY_BYTES)) != Some(rest.len()) {
        let reason = "it has not as many producers as it counts";
        return Err(malformed(path, SNAPSHOT_HEADER_BYTES as u64, reason));
    }
    Ok(std::iter::from_fn(|| producer(&mut rest)).collect())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*front)
}

fn producer(rest: &mut &[u8]) -> Option<ProducerState> {
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

/// The entries of an offset checkpoint.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) when it is malformed.
pub fn offset_checkpoint(fs: &dyn Fs, path: &Path) -> Result<Vec<OffsetCheckpointEntry>> {
    checkpoint::parse_offset_checkpoint(&text(fs, path)?)
        .map_err(|reason| malformed(path, 0, reason))
}

/// The entries of a leader epoch checkpoint.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) when it is malformed.
pub fn epoch_checkpoint(fs: &dyn Fs, path: &Path) -> Result<Vec<EpochEntry>> {
    let entries = checkpoint::parse_epoch_checkpoint(&text(fs, path)?)
        .map_err(|reason| malformed(path, 0, reason))?;
    let entry = |(epoch, start_offset)| EpochEntry { epoch, start_offset };
    Ok(entries.into_iter().map(entry).collect())
}

/// The marker of a clean shutdown. That it is there is what counts; members that are no numbers are left out.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) when it is neither empty nor an object.
pub fn shutdown_marker(fs: &dyn Fs, path: &Path) -> Result<ShutdownMarker> {
    let text = text(fs, path)?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(ShutdownMarker { members: Vec::new() });
    }
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let Some(inner) = inner else { return Err(malformed(path, 0, "it is not a JSON object")) };
    let members = inner.split(',').filter_map(|member| {
        let (name, value) = member.split_once(':')?;
        let name = name.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    });
    Ok(ShutdownMarker { members: members.collect() })
}

/// The content of `partition.metadata`.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) when it is malformed.
pub fn partition_metadata(fs: &dyn Fs, path: &Path) -> Result<PartitionMetadata> {
    let text = text(fs, path)?;
    let member = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))
    };
    let version = member("version").and_then(|version| version.trim().parse().ok());
    let version = version.filter(|version| *version >= 0);
    let is_id = |id: &&str| {
        id.len() == 22 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match (version, member("topic_id").map(str::trim).filter(is_id)) {
        (Some(version), Some(id)) => Ok(PartitionMetadata { version, topic_id: id.to_owned() }),
        (None, _) => Err(malformed(path, 0, "it has no version")),
        (_, None) => Err(malformed(path, 0, "it has no topic id")),
    }
}
