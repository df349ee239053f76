//! The small files beside the segments.

use super::window::Window;
use super::{base_offset, malformed};
use crate::checkpoint::{self, OffsetCheckpointEntry};
use crate::epochs::{EpochStart, LeaderEpochs};
use crate::error::Result;
use crate::fs::Fs;
use crate::producer_state::{ProducerState, recent, snapshot};
use crate::types::{Offset, ProducerId, Sequence, Timestamp};
use std::path::Path;

/// The maximum size of a text file. No checkpoint of a broker is larger.
const TEXT_BYTES: u64 = 16 << 20;

/// The marker of a clean shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownMarker {
    /// The members of the JSON object that are numbers, by name, in their order. The marker of
    /// older releases of Kafka has none.
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

/// Reads the producers of a snapshot.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) if it is damaged.
pub fn producer_snapshot(fs: &dyn Fs, path: &Path) -> Result<Vec<ProducerState>> {
    let bytes = Window::open(fs, path)?.whole(snapshot::MAX_BYTES)?;
    snapshot::decode(&bytes).map_err(|(at, reason)| malformed(path, at as u64, reason))
}

/// A batch of an idempotent producer that the log recognises if the producer resends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentBatch {
    /// The producer.
    pub producer_id: ProducerId,
    /// The time at which the log last received a batch of the producer.
    pub heard: Timestamp,
    /// The sequence number of the first record.
    pub first_sequence: Sequence,
    /// The sequence number of the last record.
    pub last_sequence: Sequence,
    /// The offset of the first record.
    pub first_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The largest timestamp.
    pub timestamp: Timestamp,
}

/// Reads the last batches of each producer, up to five, the latest first, from a `.recent` file
/// and the snapshot beside it.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io), also if the snapshot is missing;
/// [`Error::Corrupt`](crate::Error::Corrupt) if one of the files is damaged, or they do not belong
/// together.
pub fn recent_batches(fs: &dyn Fs, path: &Path) -> Result<Vec<RecentBatch>> {
    let beside = path.with_extension("snapshot");
    let states = producer_snapshot(fs, &beside)?;
    let snapshot = Window::open(fs, &beside)?.whole(snapshot::MAX_BYTES)?;
    let bytes = Window::open(fs, path)?.whole(snapshot::MAX_BYTES)?;
    let (end, now) = (base_offset(path), Timestamp::from_millis(i64::MAX));
    let producers = recent::restore(&bytes, &states, &snapshot, end, now)
        .map_err(|reason| malformed(path, 0, reason))?;
    let batches = producers.recent().into_iter().flat_map(|(producer_id, heard, batches)| {
        batches.into_iter().map(move |batch| RecentBatch {
            producer_id,
            heard,
            first_sequence: batch.first_sequence,
            last_sequence: batch.last_sequence,
            first_offset: batch.first_offset,
            last_offset: batch.last_offset,
            timestamp: batch.timestamp,
        })
    });
    Ok(batches.collect())
}

/// Reads the entries of an offset checkpoint.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) if it is
/// malformed.
pub fn offset_checkpoint(fs: &dyn Fs, path: &Path) -> Result<Vec<OffsetCheckpointEntry>> {
    checkpoint::parse_offset_checkpoint(&text(fs, path)?)
        .map_err(|reason| malformed(path, 0, reason))
}

/// Reads the entries of a leader epoch checkpoint.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) if it is
/// malformed.
pub fn epoch_checkpoint(fs: &dyn Fs, path: &Path) -> Result<Vec<EpochStart>> {
    let epochs = LeaderEpochs::parse(&text(fs, path)?);
    Ok(epochs.map_err(|reason| malformed(path, 0, reason))?.into_entries())
}

/// Reads the marker of a clean shutdown. Only its presence has a meaning to Kafka. Members that
/// are not numbers are ignored.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) if it is neither
/// empty nor an object.
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

/// Reads the content of `partition.metadata`.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io); [`Error::Corrupt`](crate::Error::Corrupt) if it is
/// malformed.
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
