//! Consumer groups: who reads which partition, and how far each group has come.
//!
//! Members may be anywhere: a group knows the log it is stored in, and neither the store that
//! keeps the log nor the consumer that joins.

pub(crate) mod admin;
pub mod assignor;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod membership;
pub(crate) mod offsets;
pub(crate) mod protocol;
pub(crate) mod shard;

pub use admin::{
    GroupDescription, GroupListing, GroupOffset, ListedGroups, MemberDescription, MemberIdentity,
};
pub use config::GroupCoordinatorConfig;
pub use membership::GroupState;
pub use offsets::OffsetAndMetadata;
