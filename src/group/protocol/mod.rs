//! The messages between the members of a group: subscriptions to the leader, and assignments from
//! it.
//!
//! `membership` passes them on as bytes and does not decode them.
//!
//! ```text
//!  subscription   version 2 | topics | user data | since 1: owned partitions | since 2: generation 4 | since 3: rack
//!  assignment     version 2 | partitions | user data
//!
//!  topics         count 4 | count times: length 2, name
//!  partitions     count 4 | count times: length 2, topic, count 4, count times: partition 4
//!  user data      length 4 (-1: none), bytes
//!  rack           length 2 (-1: none), name
//! ```
//!
//! A later version has its new fields at the end, so it is read as the last version known here,
//! and the rest is ignored.
//!
//! User data belongs to the assignor. The sticky assignors store the last assignment of the
//! member:
//!
//! ```text
//!  sticky               partitions | generation 4 (missing in members before Kafka 2.3)
//!  cooperative-sticky   generation 4
//! ```

use crate::types::TopicPartition;
use crate::wire::{FieldReader, FieldWriter, MalformedField};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The last version, which is written unless a member cannot read it.
pub(crate) const LAST_VERSION: i16 = 3;

/// The number for no generation.
pub(crate) const NO_GENERATION: i32 = -1;

/// The subscription of a member: the topics that it wants, and the partitions that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topics.
    pub topics: Vec<String>,
    /// Data for the assignor.
    pub user_data: Option<Vec<u8>>,
    /// The partitions that the member has.
    pub owned: Vec<TopicPartition>,
    /// The generation of the group in which the member got them; -1 for none.
    pub generation: i32,
    /// The rack of the member.
    pub rack: Option<String>,
}

impl Default for Subscription {
    fn default() -> Subscription {
        Subscription {
            topics: Vec::new(),
            user_data: None,
            owned: Vec::new(),
            generation: NO_GENERATION,
            rack: None,
        }
    }
}

/// The assignment of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The partitions.
    pub(crate) partitions: Vec<TopicPartition>,
    /// Data for the assignor.
    pub(crate) user_data: Option<Vec<u8>>,
}

impl Subscription {
    /// Decodes a subscription. Fields that its version lacks have their defaults.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Subscription, MalformedField> {
        let mut input = FieldReader::new(bytes);
        let version = read_version(&mut input)?;
        let topics = input.array(STRING_BYTES, |input| input.string().map(str::to_owned))?;
        let user_data = input.nullable_bytes()?.map(<[u8]>::to_vec);
        let mut read = Subscription { topics, user_data, ..Default::default() };
        if version >= 1 {
            read.owned = read_partitions(&mut input)?;
        }
        if version >= 2 {
            read.generation = input.i32()?.max(NO_GENERATION);
        }
        if version >= 3 {
            let rack = input.nullable_string()?.filter(|rack| !rack.is_empty());
            read.rack = rack.map(str::to_owned);
        }
        Ok(read)
    }

    /// Encodes the subscription in this version, or the last one if this is later. Topics and
    /// partitions are sorted, as Kafka sends them.
    ///
    /// Returns `None` if a name is longer than 32767 bytes, or a list is too long.
    pub(crate) fn encode(&self, version: i16) -> Option<Vec<u8>> {
        let version = version.clamp(0, LAST_VERSION);
        let mut output = FieldWriter::default();
        output.i16(version);
        let mut topics: Vec<&String> = self.topics.iter().collect();
        topics.sort();
        output.elements(topics.len()).ok()?;
        for topic in topics {
            output.string(topic).ok()?;
        }
        output.nullable_bytes(self.user_data.as_deref()).ok()?;
        if version >= 1 {
            let mut owned: Vec<&TopicPartition> = self.owned.iter().collect();
            owned.sort();
            write_partitions(&mut output, &owned)?;
        }
        if version >= 2 {
            output.i32(self.generation);
        }
        if version >= 3 {
            output.nullable_string(self.rack.as_deref()).ok()?;
        }
        Some(output.finish())
    }
}

impl Assignment {
    /// Decodes an assignment.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Assignment, MalformedField> {
        let mut input = FieldReader::new(bytes);
        read_version(&mut input)?;
        let partitions = read_partitions(&mut input)?;
        let user_data = input.nullable_bytes()?.map(<[u8]>::to_vec);
        Ok(Assignment { partitions, user_data })
    }

    /// Encodes the assignment in this version, or the last one if this is later. Topics are in
    /// the order in which they first occur.
    ///
    /// Returns `None` if a name is longer than 32767 bytes, a list is too long, or a partition
    /// number is above 2147483647.
    pub(crate) fn encode(&self, version: i16) -> Option<Vec<u8>> {
        let mut output = FieldWriter::default();
        output.i16(version.clamp(0, LAST_VERSION));
        write_partitions(&mut output, &self.partitions.iter().collect::<Vec<_>>())?;
        output.nullable_bytes(self.user_data.as_deref()).ok()?;
        Some(output.finish())
    }
}

/// Returns the user data of the sticky assignor: the last assignment and its generation.
pub(crate) fn sticky_user_data(last: &[TopicPartition], generation: i32) -> Option<Vec<u8>> {
    let mut output = FieldWriter::default();
    write_partitions(&mut output, &last.iter().collect::<Vec<_>>())?;
    output.i32(generation);
    Some(output.finish())
}

/// Reads the user data of the sticky assignor. As in Kafka, unreadable data counts as no
/// partitions.
pub(crate) fn read_sticky_user_data(bytes: &[u8]) -> (Vec<TopicPartition>, i32) {
    let mut input = FieldReader::new(bytes);
    let Ok(last) = read_partitions(&mut input) else { return (Vec::new(), NO_GENERATION) };
    (last, read_generation(&mut input))
}

/// Returns the user data of the cooperative sticky assignor: the generation of the last
/// assignment.
pub(crate) fn cooperative_user_data(generation: i32) -> Vec<u8> {
    generation.to_be_bytes().to_vec()
}

/// Reads the user data of the cooperative sticky assignor.
pub(crate) fn read_cooperative_user_data(bytes: &[u8]) -> i32 {
    read_generation(&mut FieldReader::new(bytes))
}

/// The least bytes of a string, of a topic with its partitions, and of a partition.
const STRING_BYTES: usize = 2;
const TOPIC_BYTES: usize = 6;
const PARTITION_BYTES: usize = 4;

fn read_version(input: &mut FieldReader<'_>) -> Result<i16, MalformedField> {
    let negative = input.malformed("its version is negative");
    Some(input.i16()?).filter(|version| *version >= 0).ok_or(negative)
}

fn read_generation(input: &mut FieldReader<'_>) -> i32 {
    input.i32().map_or(NO_GENERATION, |generation| generation.max(NO_GENERATION))
}

fn read_partitions(input: &mut FieldReader<'_>) -> Result<Vec<TopicPartition>, MalformedField> {
    let topics = input.array(TOPIC_BYTES, |input| {
        let topic: Arc<str> = input.string()?.into();
        input.array(PARTITION_BYTES, |input| {
            let negative = input.malformed("a partition is negative");
            let partition = u32::try_from(input.i32()?).map_err(|_| negative)?;
            Ok(TopicPartition { topic: Arc::clone(&topic), partition })
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// Writes partitions by topic, in the order in which topics first occur.
fn write_partitions(output: &mut FieldWriter, partitions: &[&TopicPartition]) -> Option<()> {
    let mut indexes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut topics: Vec<(&str, Vec<u32>)> = Vec::new();
    for TopicPartition { topic, partition } in partitions.iter().copied() {
        let index = *indexes.entry(topic).or_insert(topics.len());
        match topics.get_mut(index) {
            Some((_, numbers)) => numbers.push(*partition),
            None => topics.push((topic, vec![*partition])),
        }
    }
    output.elements(topics.len()).ok()?;
    for (topic, numbers) in topics {
        output.string(topic).ok()?;
        output.elements(numbers.len()).ok()?;
        for number in numbers {
            output.i32(i32::try_from(number).ok()?);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
