//! The messages between the members of a group: subscriptions to the leader, assignments from it.
//!
//! The group carries them as bytes and does not look into them.
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
//! A later version has its new fields at the end, so it is read as the last one known here, and
//! what follows is left alone.
//!
//! User data belongs to the assignor. The sticky ones keep in it what was assigned to the member
//! last:
//!
//! ```text
//!  sticky               partitions | generation 4 (members of before Kafka 2.3 have none)
//!  cooperative-sticky   generation 4
//! ```

use crate::types::TopicPartition;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The version that is written, unless a member cannot read it.
pub(crate) const LAST_VERSION: i16 = 3;

/// No generation.
pub(crate) const NO_GENERATION: i32 = -1;

/// The subscription of a member: the topics it wants, and the partitions it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The topics.
    pub topics: Vec<String>,
    /// Data for the assignor.
    pub user_data: Option<Vec<u8>>,
    /// The partitions that it has.
    pub owned: Vec<TopicPartition>,
    /// The generation of the group in which it got them; -1 is none.
    pub generation: i32,
    /// Its rack.
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

/// The position of what is wrong with a message, and what that is.
pub(crate) type Malformed = (usize, &'static str);

impl Subscription {
    /// Reads one. What a version has not, is as in the default.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Subscription, Malformed> {
        let mut input = Input::new(bytes);
        let version = input.version()?;
        let topics = input.array(STRING_BYTES, |input| input.string().map(str::to_owned))?;
        let mut read = Subscription { topics, user_data: input.bytes()?, ..Default::default() };
        if version >= 1 {
            read.owned = input.partitions()?;
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

    /// The message of that version, or of the last one. Topics and partitions are sorted, as Kafka
    /// sends them.
    ///
    /// `None` if a name is longer than 32767 bytes, or there is more of something than can be
    /// counted.
    pub(crate) fn encode(&self, version: i16) -> Option<Vec<u8>> {
        let version = version.clamp(0, LAST_VERSION);
        let mut output = version.to_be_bytes().to_vec();
        let mut topics: Vec<&String> = self.topics.iter().collect();
        topics.sort();
        output.extend(count(topics.len())?);
        for topic in topics {
            put_string(&mut output, topic)?;
        }
        put_bytes(&mut output, self.user_data.as_deref())?;
        if version >= 1 {
            let mut owned: Vec<&TopicPartition> = self.owned.iter().collect();
            owned.sort();
            put_partitions(&mut output, &owned)?;
        }
        if version >= 2 {
            output.extend(self.generation.to_be_bytes());
        }
        if version >= 3 {
            match &self.rack {
                Some(rack) => put_string(&mut output, rack)?,
                None => output.extend((-1i16).to_be_bytes()),
            }
        }
        Some(output)
    }
}

impl Assignment {
    /// Reads one.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Assignment, Malformed> {
        let mut input = Input::new(bytes);
        input.version()?;
        Ok(Assignment { partitions: input.partitions()?, user_data: input.bytes()? })
    }

    /// The message of that version, or of the last one. Topics come in the order in which they are
    /// first named.
    ///
    /// `None` if a name is longer than 32767 bytes, or there is more of something than can be
    /// counted.
    pub(crate) fn encode(&self, version: i16) -> Option<Vec<u8>> {
        let mut output = version.clamp(0, LAST_VERSION).to_be_bytes().to_vec();
        put_partitions(&mut output, &self.partitions.iter().collect::<Vec<_>>())?;
        put_bytes(&mut output, self.user_data.as_deref())?;
        Some(output)
    }
}

/// The user data of the sticky assignor: what a member got last, and in which generation.
pub(crate) fn sticky_user_data(last: &[TopicPartition], generation: i32) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    put_partitions(&mut output, &last.iter().collect::<Vec<_>>())?;
    output.extend(generation.to_be_bytes());
    Some(output)
}

/// Reads the user data of the sticky assignor. As in Kafka, a member whose data cannot be read
/// counts as one without partitions.
pub(crate) fn read_sticky_user_data(bytes: &[u8]) -> (Vec<TopicPartition>, i32) {
    let mut input = Input::new(bytes);
    let Ok(last) = input.partitions() else { return (Vec::new(), NO_GENERATION) };
    (last, input.i32().map_or(NO_GENERATION, |generation| generation.max(NO_GENERATION)))
}

/// The user data of the cooperative sticky assignor: the generation of the last assignment.
pub(crate) fn cooperative_user_data(generation: i32) -> Vec<u8> {
    generation.to_be_bytes().to_vec()
}

/// Reads the user data of the cooperative sticky assignor.
pub(crate) fn read_cooperative_user_data(bytes: &[u8]) -> i32 {
    Input::new(bytes).i32().map_or(NO_GENERATION, |generation| generation.max(NO_GENERATION))
}

/// The least bytes of a string, of a topic with its partitions, and of a partition.
const STRING_BYTES: usize = 2;
const TOPIC_BYTES: usize = 6;
const PARTITION_BYTES: usize = 4;

/// Bytes to read from, of which nothing is believed.
struct Input<'a> {
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { whole: bytes.len(), rest: bytes }
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        (self.whole.saturating_sub(self.rest.len()), what)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let ended = self.wrong("it ends within a number");
        let (number, rest) = self.rest.split_first_chunk().ok_or(ended)?;
        self.rest = rest;
        Ok(*number)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(slice)
    }

    fn version(&mut self) -> Result<i16, Malformed> {
        let at_start = self.wrong("its version is negative");
        Some(self.i16()?).filter(|version| *version >= 0).ok_or(at_start)
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        self.number().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        self.number().map(i32::from_be_bytes)
    }

    /// So many elements, of which each takes at least `least` bytes.
    fn array<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Input<'a>) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let more = self.wrong("it counts more than it has");
        let count = usize::try_from(self.i32()?).map_err(|_| more)?;
        if count > self.rest.len().checked_div(least).unwrap_or(0) {
            return Err(more);
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let (longer, not_text) =
            (self.wrong("a name is longer than the message"), self.wrong("a name is not UTF-8"));
        let length = self.i16()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| longer)?;
        let text = self.slice(length).ok_or(longer)?;
        str::from_utf8(text).map(Some).map_err(|_| not_text)
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        let missing = self.wrong("a name is missing");
        self.nullable_string()?.ok_or(missing)
    }

    fn bytes(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let longer = self.wrong("its user data is longer than the message");
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| longer)?;
        let data = self.slice(length).ok_or(longer)?;
        Ok(Some(data.to_vec()))
    }

    fn partitions(&mut self) -> Result<Vec<TopicPartition>, Malformed> {
        let topics = self.array(TOPIC_BYTES, |input| {
            let topic: Arc<str> = input.string()?.into();
            input.array(PARTITION_BYTES, |input| {
                let negative = input.wrong("a partition is negative");
                let partition = u32::try_from(input.i32()?).map_err(|_| negative)?;
                Ok(TopicPartition { topic: Arc::clone(&topic), partition })
            })
        })?;
        Ok(topics.into_iter().flatten().collect())
    }
}

fn count(of: usize) -> Option<[u8; 4]> {
    i32::try_from(of).ok().map(i32::to_be_bytes)
}

fn put_string(output: &mut Vec<u8>, text: &str) -> Option<()> {
    output.extend(i16::try_from(text.len()).ok()?.to_be_bytes());
    output.extend(text.as_bytes());
    Some(())
}

fn put_bytes(output: &mut Vec<u8>, data: Option<&[u8]>) -> Option<()> {
    match data {
        Some(data) => {
            output.extend(count(data.len())?);
            output.extend(data);
        }
        None => output.extend((-1i32).to_be_bytes()),
    }
    Some(())
}

fn put_partitions(output: &mut Vec<u8>, partitions: &[&TopicPartition]) -> Option<()> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut topics: Vec<(&str, Vec<u32>)> = Vec::new();
    for TopicPartition { topic, partition } in partitions.iter().copied() {
        let place = *places.entry(topic).or_insert(topics.len());
        match topics.get_mut(place) {
            Some((_, of_topic)) => of_topic.push(*partition),
            None => topics.push((topic, vec![*partition])),
        }
    }
    output.extend(count(topics.len())?);
    for (topic, partitions) in topics {
        put_string(output, topic)?;
        output.extend(count(partitions.len())?);
        for partition in partitions {
            output.extend(i32::try_from(partition).ok()?.to_be_bytes());
        }
    }
    Some(())
}

#[cfg(test)]
mod tests;
