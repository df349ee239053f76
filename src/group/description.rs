//! Groups, as described to administrators.

use crate::error::{Error, Result};
use crate::group::membership::GroupState;
use crate::group::offsets::{GroupMetadata, OffsetAndMetadata};
use crate::group::protocol::Assignment;
use crate::types::{Offset, TopicPartition};
use std::collections::BTreeMap;

/// A group in a listing. [`Admin::list_groups`](crate::Admin::list_groups) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// The name of the group.
    pub group: String,
    /// The state of the group.
    pub state: GroupState,
    /// The protocol type of its members: `consumer` for consumers. Empty if it never had members.
    pub protocol_type: String,
}

/// The description of a group. [`Admin`](crate::Admin) has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// The name of the group.
    pub group: String,
    /// The state of the group.
    pub state: GroupState,
    /// The generation. It rises when partitions are assigned, and when the last member leaves.
    pub generation: i32,
    /// The assignor in use, if it has members.
    pub assignor: Option<String>,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// The committed offsets.
    pub offsets: BTreeMap<TopicPartition, GroupOffset>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id of the member.
    pub member_id: String,
    /// The name of a static member.
    pub instance_id: Option<String>,
    /// The client id from its options.
    pub client_id: String,
    /// The partitions assigned to it.
    pub assignment: Vec<TopicPartition>,
}

/// All groups of a store that can be read. Kafka: `valid` and `errors` of `listConsumerGroups`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ListedGroups {
    /// The groups, in the order of their names.
    pub groups: Vec<GroupListing>,
    /// The partitions of `__consumer_offsets` that could not be read, and why. The groups stored
    /// in them are missing.
    pub unavailable: BTreeMap<u32, Error>,
}

impl ListedGroups {
    /// Adds the groups of a partition.
    pub(crate) fn add(&mut self, partition: u32, groups: Result<Vec<GroupListing>>) {
        match groups {
            Ok(groups) => self.groups.extend(groups),
            Err(error) => drop(self.unavailable.insert(partition, error)),
        }
    }

    pub(crate) fn sorted(mut self) -> ListedGroups {
        self.groups.sort_by(|a, b| a.group.cmp(&b.group));
        self
    }
}

/// The progress of a group in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOffset {
    /// The committed offset.
    pub committed: OffsetAndMetadata,
    /// The end of the partition; `None` if the partition is not available.
    pub end: Option<Offset>,
    /// The number of offsets from the committed one to the end, without deleted records; `None` if
    /// the partition is not available.
    pub lag: Option<u64>,
}

/// The identity of a member, for [`Admin::remove_members`](crate::Admin::remove_members).
///
/// ```
/// use annals::{ConsumerConfig, MemberIdentity, Store, StoreConfig, TopicConfig};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default())?;
/// let mut consumer = store.consumer(ConsumerConfig::new("billing").instance_id("b-1"))?;
/// consumer.subscribe(["orders"])?;
/// consumer.poll(Duration::ZERO)?;
/// let member = MemberIdentity::InstanceId("b-1".to_owned());
/// assert_eq!(store.admin().remove_members("billing", [member])?, 1);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberIdentity {
    /// The id in the group.
    MemberId(String),
    /// The instance id of a static member.
    InstanceId(String),
}

pub(crate) fn members(metadata: GroupMetadata) -> Vec<MemberDescription> {
    let described = metadata.members.into_iter().map(|member| MemberDescription {
        member_id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        assignment: Assignment::decode(&member.assignment).unwrap_or_default().partitions,
    });
    described.collect()
}
