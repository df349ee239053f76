//! The records of Kafka's topic `__consumer_offsets`: committed offsets and groups.
//!
//! A group commits, for each partition it reads, the offset to go on from. A commit is a record of
//! a compacted topic, so the topic is a table: the last record of a key is what holds, and one
//! without a value removes it. The group itself has a record in it too.
//!
//! ```text
//!  offset  key                    value
//!     0    g1, orders, 0          offset 10
//!     1    g1                     generation 1, members a and b
//!     2    g1, orders, 0          offset 25        replaces 10
//!     3    g1, orders, 1          offset 7
//!     4    g1, orders, 1          none             nothing is committed any more
//! ```
//!
//! [`codec`] turns records into bytes and back. [`OffsetTable`] is what they come to.

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

/// The longest metadata that Kafka takes with a commit, in bytes.
pub(crate) const MAX_METADATA_BYTES: usize = 4096;

/// A committed offset with its metadata. An [`Offset`] converts into it.
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

/// The partition of a group or a transactional id in the topic that keeps them. `None` if that has
/// no partitions.
pub(crate) fn partition_for(id: &str, partitions: u32) -> Option<u32> {
    // The one hash whose absolute value is not an `i32` counts as 0.
    java_hash(id).checked_abs().unwrap_or(0).unsigned_abs().checked_rem(partitions)
}

/// Java's hash of strings.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// A record of the offsets topic. Without a value it removes what its key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OffsetsRecord {
    /// A group has committed an offset for a partition.
    Offset { key: OffsetKey, value: Option<CommittedOffset> },
    /// A group has changed.
    Group { group: String, value: Option<GroupMetadata> },
    /// Something that is not known here. To be ignored.
    Unknown { key_version: i16 },
}

/// The group and the partition of a committed offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OffsetKey {
    pub(crate) group: String,
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// An offset that a group goes on from, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommittedOffset {
    /// The next offset to read. No consumer commits one below 0, though it could be stored.
    pub(crate) offset: i64,
    /// The leader epoch of the last record that was read; -1 if that is not known.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Anything the consumer wants to keep with it.
    pub(crate) metadata: String,
    pub(crate) commit_timestamp: Timestamp,
    /// When it expires, if that was given with the commit.
    pub(crate) expire_timestamp: Option<Timestamp>,
}

impl CommittedOffset {
    /// The offset to go on from.
    pub(crate) fn next(&self) -> Option<Offset> {
        Offset::try_from(self.offset).ok()
    }
}

/// A group as of its last change that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GroupMetadata {
    /// What its members have in common; `consumer` for consumers, empty if it never had a member.
    pub(crate) protocol_type: String,
    pub(crate) generation: i32,
    /// How its partitions are assigned.
    pub(crate) protocol: Option<String>,
    /// The id of the member that assigns them.
    pub(crate) leader: Option<String>,
    /// When it came into its state.
    pub(crate) state_since: Option<Timestamp>,
    pub(crate) members: Vec<MemberMetadata>,
}

/// A member of a group, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemberMetadata {
    pub(crate) member_id: String,
    /// The name that a static member keeps when it comes back.
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
