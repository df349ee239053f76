//! Consumer groups: which member reads which partition, and how far each group has come.
//!
//! This module knows the logs that groups are stored in. It knows neither the store that keeps
//! these logs nor the consumers of this process, so members can be in any process.
//!
//! ```text
//!   consumer ── join, sync, leave ──┐       the partition of the offsets topic is found by hash
//!   consumer ── commit, committed ──┼─▶ Coordinator ─▶ Shard (one lock)
//!   Admin ───── describe, delete ───┘                    ├─▶ HostedGroup   Group and mailboxes
//!                                                        ├─▶ OffsetTable   committed offsets
//!                                                        └─▶ Log           __consumer_offsets-7
//! ```
//!
//! | file | decides, without lock, clock or file |
//! |---|---|
//! | `membership` | the next state of a group when members join, leave, hang or commit |
//! | `assignor` | which member gets which partition |
//! | `offsets` | what the records of `__consumer_offsets` mean, and which offsets result or expire |
//! | `protocol` | the messages between members |
//!
//! | file | does |
//! |---|---|
//! | `coordinator` | runs the steps of groups |
//! | `state_partitions`, `state_log` | find and lock the partition of a group, load it on first use, append to it, compact it |
//! | `member_calls`, `commits`, `admin` | the calls: of members, about offsets, of administrators |
//! | `transactional` | commits offsets in a transaction, and ends it |
//! | `shard`, `hosted_group`, `changes`, `expiry` | the state of one partition; storing a change before any answer |
//!
//! **A join.** `member_calls` has the coordinator lock the group's partition. On first use,
//! `shard` reads the partition's log into an `OffsetTable` and restores its groups. Expired
//! offsets are removed, if that is due. `membership` takes the step and returns the changes:
//! answers, removed members, whether to store the group. `changes` appends the group's record,
//! then puts the answers into mailboxes. After the lock is released, the events of the log are
//! emitted, the log is compacted if that is due, and the wakers of these members are called.
//!
//! **A commit.** `commits` encodes the offsets and takes the same lock. `membership` checks that
//! the committer may commit in this generation. A function of the caller checks that the topics
//! still exist. One batch is appended to the log, then applied to the table. An fsync, if
//! requested, follows after the lock is released.

pub(crate) mod admin;
pub mod assignor;
mod changes;
pub(crate) mod commits;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod description;
mod expiry;
mod hosted_group;
mod member_calls;
pub(crate) mod membership;
pub(crate) mod offsets;
pub(crate) mod protocol;
pub(crate) mod shard;
pub(crate) mod state_log;
pub(crate) mod state_partitions;
mod transactional;

pub use config::GroupCoordinatorConfig;
pub use description::{
    GroupDescription, GroupListing, GroupOffset, ListedGroups, MemberDescription, MemberIdentity,
};
pub use membership::GroupState;
pub use offsets::OffsetAndMetadata;
pub use transactional::ConsumerGroupMetadata;
