//! The records of Kafka's topic `__consumer_offsets`: committed offsets and groups.
//!
//! For each partition that it reads, a group commits the offset to continue from. A commit is a
//! record in a compacted topic, so the topic is a table: the last record of a key counts, and a
//! record without a value removes the key. The group itself has a record in it, too.
//!
//! ```text
//!  offset  key                    value
//!     0    g1, orders, 0          offset 10
//!     1    g1                     generation 1, members a and b
//!     2    g1, orders, 0          offset 25        replaces 10
//!     3    g1, orders, 1          offset 7
//!     4    g1, orders, 1          none             no offset is committed any more
//! ```
//!
//! [`codec`] encodes and decodes records. [`OffsetTable`] is the state that results from them.

pub(crate) mod codec;
mod group_use;
mod offset_map;
mod table;

#[cfg(test)]
mod tests;

pub(crate) use group_use::GroupUse;
pub(crate) use table::OffsetTable;

use crate::types::{LeaderEpoch, Offset, Timestamp};
use bytes::Bytes;

/// The longest metadata that Kafka accepts with a commit, in bytes.
pub(crate) const MAX_METADATA_BYTES: usize = 4096;

/// A committed offset with its metadata. An [`Offset`] converts into it.
///
/// ```
/// use annals::OffsetAndMetadata;
///
/// let plain = OffsetAndMetadata::from(42);
/// let noted = OffsetAndMetadata { metadata: "after a check".to_owned(), ..plain.clone() };
/// assert_eq!((plain.offset, plain.leader_epoch, noted.offset), (42, None, 42));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    /// The offset of the next record to read.
    pub offset: Offset,
    /// The leader epoch of the last record that was read, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Any text, up to 4096 bytes.
    pub metadata: String,
}

impl From<Offset> for OffsetAndMetadata {
    fn from(offset: Offset) -> OffsetAndMetadata {
        OffsetAndMetadata { offset, leader_epoch: None, metadata: String::new() }
    }
}

impl OffsetAndMetadata {
    /// Returns `None` for an offset from which no consumer can continue.
    pub(crate) fn from_stored(stored: &CommittedOffset) -> Option<OffsetAndMetadata> {
        let offset: Offset = stored.next()?;
        let leader_epoch = (stored.leader_epoch >= 0).then_some(stored.leader_epoch);
        Some(OffsetAndMetadata { offset, leader_epoch, metadata: stored.metadata.clone() })
    }
}

/// Returns the partition in which a group or a transactional id is stored, of a topic with this
/// number of partitions. `None` if it has no partitions.
pub(crate) fn partition_for(id: &str, partitions: u32) -> Option<u32> {
    // The only hash whose absolute value is not an `i32` counts as 0.
    java_hash(id).checked_abs().unwrap_or(0).unsigned_abs().checked_rem(partitions)
}

/// Returns Java's hash of a string.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// A record of the offsets topic. Without a value, it removes its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OffsetsRecord {
    /// A group has committed an offset for a partition.
    Offset { key: OffsetKey, value: Option<CommittedOffset> },
    /// A group has changed.
    Group { group: String, value: Option<GroupMetadata> },
    /// The kind of the key is unknown, so the record is ignored.
    Unknown { key_version: i16 },
}

/// The group and the partition of a committed offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OffsetKey {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// A committed offset as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset to read. A value below 0 can be stored, although no consumer commits it.
    pub(crate) offset: i64,
    /// The leader epoch of the last record that was read; -1 if unknown.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Any text of the consumer.
    pub(crate) metadata: String,
    pub(crate) commit_timestamp: Timestamp,
    /// The time at which it expires, if the commit set one.
    pub(crate) expire_timestamp: Option<Timestamp>,
}

impl CommittedOffset {
    /// Returns the offset to continue from.
    pub(crate) fn next(&self) -> Option<Offset> {
        Offset::try_from(self.offset).ok()
    }
}

/// The stored state of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GroupMetadata {
    /// The protocol type of its members: `consumer` for consumers, empty if it never had a
    /// member.
    pub(crate) protocol_type: String,
    pub(crate) generation: i32,
    /// The name of the assignor in use.
    pub(crate) protocol: Option<String>,
    /// The id of the leader, which assigns the partitions.
    pub(crate) leader: Option<String>,
    /// When it came into its state.
    pub(crate) state_since: Option<Timestamp>,
    pub(crate) members: Vec<MemberMetadata>,
}

/// The stored state of a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemberMetadata {
    pub(crate) member_id: String,
    /// The instance id of a static member.
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// In milliseconds; -1 if it was not stored.
    pub(crate) rebalance_timeout: i32,
    /// In milliseconds.
    pub(crate) session_timeout: i32,
    /// Its metadata under the chosen protocol.
    pub(crate) subscription: Bytes,
    /// Its assignment from the leader.
    pub(crate) assignment: Bytes,
}
