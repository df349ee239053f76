//! Consumer groups: who reads which partition, and how far each group has come.
//!
//! Members may be anywhere: a group knows the log it is stored in, and neither the store that
//! keeps the log nor the consumer that joins.

pub(crate) mod admin;
pub mod assignor;
mod changes;
mod commits;
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
mod wire;

pub use config::GroupCoordinatorConfig;
pub use description::{
    GroupDescription, GroupListing, GroupOffset, ListedGroups, MemberDescription, MemberIdentity,
};
pub use membership::GroupState;
pub use offsets::OffsetAndMetadata;
