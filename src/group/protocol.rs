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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.bytes().filter(|byte| *byte != b' ').collect::<Vec<_>>();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn at(topic: &str, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    /// As Kafka 4.1.1 writes it, in each version.
    #[test]
    fn subscriptions_are_kafkas() {
        let names = "00000002 0001 61 0006 6f7264657273";
        let data = "00000002 0102";
        let owned = "00000002 0001 61 00000001 00000000
            0006 6f7264657273 00000002 00000001 00000003";
        let full = Subscription {
            topics: vec!["orders".into(), "a".into()],
            user_data: Some(vec![1, 2]),
            owned: vec![at("orders", 3), at("a", 0), at("orders", 1)],
            generation: 7,
            rack: Some("r1".into()),
        };
        let mut read = Subscription {
            topics: vec!["a".into(), "orders".into()],
            user_data: Some(vec![1, 2]),
            ..Default::default()
        };
        let parts =
            [names, data, owned, "00000007", "0002 7231"].map(|part| part.replace(['\n', ' '], ""));
        for version in 0..=3i16 {
            let fields = parts.iter().take(2 + version as usize).map(String::as_str);
            let bytes = hex(&(format!("{version:04x}") + &fields.collect::<String>()));
            assert_eq!(full.encode(version).unwrap(), bytes);
            match version {
                0 => {}
                1 => read.owned = vec![at("a", 0), at("orders", 1), at("orders", 3)],
                2 => read.generation = 7,
                _ => read.rack = Some("r1".into()),
            }
            assert_eq!(Subscription::decode(&bytes), Ok(read.clone()));
        }
        let empty = Subscription::default();
        for (version, bytes) in [
            (0, "0000 00000000 ffffffff"),
            (1, "0001 00000000 ffffffff 00000000"),
            (2, "0002 00000000 ffffffff 00000000 ffffffff"),
            (3, "0003 00000000 ffffffff 00000000 ffffffff ffff"),
        ] {
            assert_eq!(empty.encode(version).unwrap(), hex(bytes));
            assert_eq!(Subscription::decode(&hex(bytes)), Ok(empty.clone()));
        }
    }

    #[test]
    fn assignments_are_kafkas() {
        let partitions = vec![at("orders", 3), at("a", 0), at("orders", 1)];
        let full = Assignment { partitions, user_data: Some(vec![9]) };
        let grouped = vec![at("orders", 3), at("orders", 1), at("a", 0)];
        let fields = "00000002 0006 6f7264657273 00000002 00000003 00000001 0001 61 00000001 00000000 00000001 09";
        for version in 0..=3i16 {
            let bytes = hex(&format!("{version:04x}{fields}"));
            assert_eq!(full.encode(version).unwrap(), bytes);
            let read = Assignment::decode(&bytes).unwrap();
            assert_eq!((read.partitions, read.user_data), (grouped.clone(), Some(vec![9])));
        }
        let empty = hex("0003 00000000 ffffffff");
        assert_eq!(Assignment::default().encode(3), Some(empty.clone()));
        assert_eq!(Assignment::decode(&empty), Ok(Assignment::default()));
    }

    #[test]
    fn user_data_is_kafkas() {
        let last = [at("orders", 3), at("orders", 1)];
        let bytes = hex("00000001 0006 6f7264657273 00000002 00000003 00000001 00000007");
        assert_eq!(sticky_user_data(&last, 7), Some(bytes.clone()));
        assert_eq!(read_sticky_user_data(&bytes), (last.to_vec(), 7));
        // Once there was no generation.
        let (old, none) = (bytes.split_at(bytes.len() - 4).0, Vec::new());
        assert_eq!(read_sticky_user_data(old), (last.to_vec(), -1));
        assert_eq!(read_sticky_user_data(&bytes[..20]), (none.clone(), -1));
        assert_eq!(read_sticky_user_data(&[]), (none, -1));

        assert_eq!(cooperative_user_data(-1), hex("ffffffff"));
        assert_eq!(read_cooperative_user_data(&hex("00000107")), 0x107);
        assert_eq!(read_cooperative_user_data(&hex("80000000")), -1);
        assert_eq!(read_cooperative_user_data(&[0; 3]), -1);
    }

    #[test]
    fn a_later_version_is_read_as_the_last_one() {
        let bytes = hex("7fff 00000000 ffffffff 00000000 00000009 0001 72 0badcafe");
        let read = Subscription::decode(&bytes).unwrap();
        assert_eq!((read.generation, read.rack.as_deref()), (9, Some("r")));
        assert!(Assignment::decode(&hex("0004 00000000 ffffffff 00")).is_ok());
        assert_eq!(read.encode(9), read.encode(3));
        assert_eq!(read.encode(-1), read.encode(0));
        // Kafka takes an empty rack for none, and all negative generations.
        let read = Subscription::decode(&hex("0003 00000000 ffffffff 00000000 fffffff0 0000"));
        assert_eq!(read, Ok(Subscription::default()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (bytes, place, what) in [
            ("", 0, "it ends within a number"),
            ("ffff 00000000", 0, "its version is negative"),
            ("0000 000000", 2, "it ends within a number"),
            ("0000 ffffffff", 2, "it counts more than it has"),
            ("0000 7fffffff 0000 0000", 2, "it counts more than it has"),
            ("0000 00000001 0003 6161", 6, "a name is longer than the message"),
            ("0000 00000001 fffe 6161", 6, "a name is longer than the message"),
            ("0000 00000001 ffff", 6, "a name is missing"),
            ("0000 00000001 0002 c328", 6, "a name is not UTF-8"),
            ("0000 00000000 00000003 0101", 6, "its user data is longer than the message"),
            ("0000 00000000 fffffffe", 6, "its user data is longer than the message"),
            ("0001 00000000 ffffffff 00000002 0000 00000000", 10, "it counts more than it has"),
            (
                "0001 00000000 ffffffff 00000001 0000 00000002 00000000",
                16,
                "it counts more than it has",
            ),
            (
                "0001 00000000 ffffffff 00000001 0000 00000001 80000000",
                20,
                "a partition is negative",
            ),
            ("0002 00000000 ffffffff 00000000 0000", 14, "it ends within a number"),
            (
                "0003 00000000 ffffffff 00000000 00000000 0005 61",
                18,
                "a name is longer than the message",
            ),
        ] {
            assert_eq!(Subscription::decode(&hex(bytes)), Err((place, what)), "{bytes}");
        }
        assert_eq!(Assignment::decode(&hex("8000 00000000")), Err((0, "its version is negative")));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let long = "x".repeat(1 << 15);
        let topics = vec![long.clone()];
        assert_eq!(Subscription { topics, ..Default::default() }.encode(3), None);
        let rack = Some(long[1..].to_owned());
        assert!(Subscription { rack, ..Default::default() }.encode(3).is_some());
        let rack = Some(long.clone());
        let wide = Subscription { rack, ..Default::default() };
        assert_eq!((wide.encode(3), wide.encode(2).is_some()), (None, true));
        assert_eq!(sticky_user_data(&[at(&long, 0)], 1), None);
        assert_eq!(sticky_user_data(&[at("t", 1 << 31)], 1), None);
    }

    fn partitions() -> impl Strategy<Value = Vec<TopicPartition>> {
        let one =
            ("[a-cé]{0,2}", 0u32..1 << 31).prop_map(|(topic, partition)| at(&topic, partition));
        prop::collection::vec(one, 0..12)
    }

    fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..9))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            topics in prop::collection::vec("\\PC{0,5}", 0..5),
            (user_data, mut owned) in (data(), partitions()),
            generation in -1..i32::MAX,
            rack in prop::option::of("[a-z]{1,3}"),
        ) {
            let whole = Subscription { topics, user_data, owned: owned.clone(), generation, rack };
            let mut sorted = whole.clone();
            sorted.topics.sort();
            sorted.owned.sort();
            let bytes = whole.encode(3).unwrap();
            prop_assert_eq!(Subscription::decode(&bytes), Ok(sorted));
            // Nothing can be missing.
            for length in 0..bytes.len() {
                prop_assert!(Subscription::decode(&bytes[..length]).is_err());
            }
            let assigned = Assignment { partitions: owned.clone(), user_data: whole.user_data };
            let bytes = assigned.encode(1).unwrap();
            for length in 0..bytes.len() {
                prop_assert!(Assignment::decode(&bytes[..length]).is_err());
            }
            let mut read = Assignment::decode(&bytes).unwrap();
            prop_assert_eq!(read.encode(1), Some(bytes));
            read.partitions.sort();
            owned.sort();
            prop_assert_eq!((read.partitions, read.user_data), (owned, assigned.user_data));
        }

        /// Any bytes are read or refused, and what is read of them is not more than they are.
        #[test]
        fn any_bytes_do_no_harm(
            version in 0u8..5,
            bytes in prop::collection::vec(prop::sample::select(vec![0u8, 0, 0, 0, 1, 2, 3, 0x61, 0x7f, 0xff]), 0..60),
        ) {
            let message = [&[0, version], bytes.as_slice()].concat();
            if let Ok(read) = Subscription::decode(&message) {
                let least = read.topics.len() * STRING_BYTES + read.owned.len() * PARTITION_BYTES;
                prop_assert!(least <= bytes.len());
            }
            if let Ok(read) = Assignment::decode(&message) {
                prop_assert!(read.partitions.len() * PARTITION_BYTES <= bytes.len());
            }
            read_sticky_user_data(&bytes);
            read_cooperative_user_data(&bytes);
        }
    }
}
