//! Names of the directories of partitions.
//!
//! ```text
//!  orders-0                                             partition 0 of topic `orders`
//!  orders-0.5ab1fd8ce0b24ae8a8f33ba1c4c51a7f-delete     the same, deleted, and not removed yet
//!  orders-0.5ab1fd8ce0b24ae8a8f33ba1c4c51a7f-stray      the same, no longer owned by this broker
//!  orders-0.5ab1fd8ce0b24ae8a8f33ba1c4c51a7f-future     a copy that will replace it, for a move
//!  remote-log-index-cache, __cluster_metadata-0         directories of the broker itself
//! ```
//!
//! A broker does not start if its data directory holds a directory with any other name, so a
//! store creates none.

use crate::topic_name::{CLUSTER_METADATA, invalid_reason};
use crate::uuid::KafkaUuid;
use std::fmt;

const REMOTE_INDEX_CACHE: &str = "remote-log-index-cache";

/// The longest name of a directory that is derived from another name.
const MAX_DIR_CHARS: usize = 255;

/// Returns whether the end of a directory's name makes it look like a partition's: a `-` and
/// digits, perhaps with an id and a suffix. All other directories are something else.
pub(crate) fn is_like_partition(name: &str) -> bool {
    let staged = DirSuffix::SUFFIXES.iter().find_map(|(suffix, _)| {
        let (base, id) = name.strip_suffix(suffix)?.rsplit_once('.')?;
        (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(base)
    });
    let number = staged.unwrap_or(name).rsplit_once('-').map(|(_, number)| number);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The directory of a partition, parsed from its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionDir {
    /// The topic. With `Delete` and `Stray`, it may be truncated.
    pub(crate) topic: String,
    /// The number of the partition.
    pub(crate) partition: u32,
    /// The suffix of the directory.
    pub(crate) suffix: DirSuffix,
}

/// The suffix of a partition's directory, which tells its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirSuffix {
    /// The directory is in use.
    None,
    /// The partition is deleted: the directory is to be removed and must not be read.
    Delete(KafkaUuid),
    /// The broker no longer owns the partition: the directory is left alone.
    Stray(KafkaUuid),
    /// The directory is a copy that will replace the one in use: it is left alone.
    Future(KafkaUuid),
}

type FromId = fn(KafkaUuid) -> DirSuffix;

impl DirSuffix {
    const SUFFIXES: [(&str, FromId); 3] = [
        ("-delete", DirSuffix::Delete),
        ("-stray", DirSuffix::Stray),
        ("-future", DirSuffix::Future),
    ];

    /// Returns the end of the name.
    fn text(self) -> String {
        match self {
            DirSuffix::None => String::new(),
            DirSuffix::Delete(id) => format!(".{}-delete", id.hex()),
            DirSuffix::Stray(id) => format!(".{}-stray", id.hex()),
            DirSuffix::Future(id) => format!(".{}-future", id.hex()),
        }
    }
}

impl PartitionDir {
    /// Returns the directory of a partition in use.
    pub(crate) fn current(topic: &str, partition: u32) -> PartitionDir {
        PartitionDir { topic: topic.to_owned(), partition, suffix: DirSuffix::None }
    }

    /// Parses the name of a directory in a data directory. Returns `None` for a directory of the
    /// broker itself, which is not a log of a topic.
    ///
    /// # Errors
    ///
    /// The reason why no partition has a directory of that name, in words.
    pub(crate) fn parse(name: &str) -> Result<Option<PartitionDir>, &'static str> {
        let metadata =
            name.strip_prefix(CLUSTER_METADATA).is_some_and(|rest| rest.starts_with('-'));
        if metadata || name == REMOTE_INDEX_CACHE {
            return Ok(None);
        }
        let staged = DirSuffix::SUFFIXES
            .iter()
            .find_map(|(text, suffix)| Some((name.strip_suffix(text)?, suffix)));
        let (base, suffix) = match staged {
            None => (name, DirSuffix::None),
            Some((rest, suffix)) => {
                let (base, id) = rest.rsplit_once('.').ok_or(
                    "it has the suffix of a directory that is set aside, but no `.` and id before the suffix",
                )?;
                let id = KafkaUuid::from_hex(id)
                    .ok_or("the part between its last `.` and its suffix is not an id of 32 hexadecimal digits")?;
                (base, suffix(id))
            }
        };
        let (topic, partition) =
            base.rsplit_once('-').ok_or("it has no `-` between a topic and a partition")?;
        if let Some(reason) = invalid_reason(topic) {
            return Err(match topic {
                "" => "there is no topic before its last `-`",
                _ => reason,
            });
        }
        let partition = number(partition)?;
        Ok(Some(PartitionDir { topic: topic.to_owned(), partition, suffix }))
    }

    /// Returns the directory with another suffix.
    pub(crate) fn with_suffix(self, suffix: DirSuffix) -> PartitionDir {
        PartitionDir { suffix, ..self }
    }
}

/// Parses a partition number. Accepts only the form that is written, so that no two names mean
/// the same partition.
fn number(text: &str) -> Result<u32, &'static str> {
    let number: u32 = match text.parse() {
        Ok(number) if number <= i32::MAX as u32 => number,
        _ => return Err("the part after its last `-` is not a partition number"),
    };
    let as_written = text.bytes().all(|b| b.is_ascii_digit())
        && (number == 0 || !text.starts_with('0'))
        && (number != 0 || text.len() == 1);
    if as_written { Ok(number) } else { Err("its partition number has a sign or leading zeros") }
}

/// Writes the name of the directory. With `-delete` and `-stray`, the topic is truncated if the
/// name would exceed 255 characters. With `-future` it is not, as in Kafka.
impl fmt::Display for PartitionDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = format!("-{}{}", self.partition, self.suffix.text());
        let room = match self.suffix {
            DirSuffix::Delete(_) | DirSuffix::Stray(_) => MAX_DIR_CHARS.saturating_sub(rest.len()),
            DirSuffix::None | DirSuffix::Future(_) => self.topic.len(),
        };
        let topic = self.topic.get(..room).unwrap_or(&self.topic);
        write!(f, "{topic}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_stage() -> impl Strategy<Value = DirSuffix> {
        (0..4_usize, any::<[u8; 16]>()).prop_map(|(suffix, id)| {
            let id = KafkaUuid::from_bytes(id);
            [DirSuffix::None, DirSuffix::Delete(id), DirSuffix::Stray(id), DirSuffix::Future(id)]
                [suffix]
        })
    }

    fn a_topic() -> impl Strategy<Value = String> {
        let names = "[a-zA-Z0-9._-]{1,249}|[a-z.-]{1,8}|[a-z]{1,4}(-delete|-stray|-future|-0)";
        names.prop_filter("a name", |name| invalid_reason(name).is_none())
    }

    proptest! {
        #[test]
        fn partition_dir_round_trips(
            topic in a_topic(), partition in prop_oneof![0..20_u32, 0..=i32::MAX as u32], suffix in a_stage(),
        ) {
            let dir = PartitionDir { topic: topic.clone(), partition, suffix };
            let name = dir.to_string();
            let read = PartitionDir::parse(&name).unwrap().unwrap();
            prop_assert_eq!((read.partition, read.suffix), (partition, suffix));
            let cut = matches!(suffix, DirSuffix::Delete(_) | DirSuffix::Stray(_)) && name.len() == 255;
            prop_assert!(read.topic == topic || cut && topic.starts_with(&read.topic), "{}", name);
            prop_assert_eq!(read.to_string(), name);
        }

        #[test]
        fn parsed_name_is_written_identically(name in "\\PC{0,20}|[a-z.0+-]{1,12}|[a-z-]{1,4}-[0-9+]{1,12}|[a-z.-]{0,5}-[0-9]\\.[0-9a-fA-F]{31,33}-(delete|stray|future)") {
            if let Ok(Some(dir)) = PartitionDir::parse(&name) {
                prop_assert_eq!(dir.to_string(), name);
                prop_assert!(invalid_reason(&dir.topic).is_none());
            }
        }
    }

    #[test]
    fn longest_names_are_truncated_as_in_kafka() {
        let id = KafkaUuid::from_bytes([0xAB; 16]);
        let dir = PartitionDir::current(&"t".repeat(249), 12_345);
        assert_eq!(dir.to_string().len(), 255);
        let expected = format!("{}-12345.{}-delete", "t".repeat(209), "ab".repeat(16));
        assert_eq!(dir.clone().with_suffix(DirSuffix::Delete(id)).to_string(), expected);
        assert_eq!(dir.clone().with_suffix(DirSuffix::Stray(id)).to_string().len(), 255);
        assert_eq!(dir.with_suffix(DirSuffix::Future(id)).to_string().len(), 255 + 1 + 32 + 7);
    }

    #[test]
    fn parse_rejects_other_directory_names() {
        let id = "0123456789abcdef0123456789abcdef";
        for name in [
            "",
            "-",
            "-0",
            "orders",
            "orders-",
            "orders-x",
            "orders--",
            "orders-01",
            "orders-+1",
            "orders-00",
            "orders-2147483648",
            "orders-99999999999999999999",
            "lost+found",
            ".git",
            ".-0",
            "..-0",
            "or ders-0",
            "b\u{fc}ro-0",
            "orders-0-delete",
            "orders-delete",
            "orders-0.-delete",
            "orders-0.12-delete",
            &format!("orders-0.{id}x-delete"),
            &format!("orders-0.{}-delete", id.to_uppercase()),
            &format!("orders.{id}-stray"),
            &format!("-0.{id}-future"),
            &format!("orders-0.{id}-gone"),
            &format!("orders-0.{id}"),
            "__cluster_metadata",
            &format!("{}-0", "t".repeat(250)),
        ] {
            assert!(PartitionDir::parse(name).is_err(), "{name}");
        }
        for name in
            ["remote-log-index-cache", "__cluster_metadata-0", "__cluster_metadata-0.x-delete"]
        {
            assert_eq!(PartitionDir::parse(name), Ok(None), "{name}");
        }
        let id = "0123456789abcdef0123456789abcdef";
        for name in ["a b-0", "orders-01", "-0", &format!("a b-0.{id}-delete")] {
            assert!(is_like_partition(name), "{name}");
        }
        for name in ["lost+found", ".git", "@eaDir", "$RECYCLE.BIN", "my-photos", "a-", "x-delete"]
        {
            assert!(!is_like_partition(name), "{name}");
        }
        let found = PartitionDir::parse("a-b.c-7").unwrap();
        assert_eq!(found, Some(PartitionDir::current("a-b.c", 7)));
    }
}
