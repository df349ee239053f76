//! What is done to topics and groups rather than with them.

use crate::error::{Result, TopicError};
use crate::log::Log;
use crate::topic::id::TopicId;
use crate::topic::name;
use crate::topic::settings::ConfigEntry;
use crate::topic::store::Store;
use crate::types::Offset;
use std::collections::BTreeMap;

/// What Kafka's `AdminClient` does, where it has a meaning within one process.
///
/// Topics are made, altered and deleted by the [`Store`] itself.
///
/// ```
/// use annals::{Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default().partitions(2).segment_bytes(1 << 20))?;
/// orders.partition(1)?.append_all(["a", "b", "c"].map(Into::into))?;
///
/// let admin = store.admin();
/// admin.delete_records("orders", 1, 2)?;
/// let described = admin.describe_topic("orders")?;
/// assert_eq!((described.partitions[1].start, described.partitions[1].end), (2, 3));
/// let entry = described.settings.iter().find(|entry| entry.key == "segment.bytes").unwrap();
/// assert_eq!(entry.value, "1048576");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) store: Store,
}

/// A topic, as it is described. Kafka: `describeTopics`, `describeConfigs`, `listOffsets` and `describeLogDirs` in one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// Whether the store keeps it for itself.
    pub internal: bool,
    /// The partitions that can be used, in the order of their numbers.
    pub partitions: Vec<PartitionDescription>,
    /// Why the other ones cannot be used.
    pub unavailable: BTreeMap<u32, TopicError>,
    /// All its settings, in the order of their keys.
    pub settings: Vec<ConfigEntry>,
}

/// A partition, as it is described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: u32,
    /// The first offset.
    pub start: Offset,
    /// The offset after the last.
    pub end: Offset,
    /// What its records take on disk, without indexes.
    pub bytes: u64,
    /// In how many segments.
    pub segments: usize,
}

impl Store {
    /// What administers it.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin { store: self.clone() }
    }
}

impl Admin {
    /// What there is to say about a topic.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unknown`](crate::TopicError::Unknown), and what [`Log::stats`](crate::Log::stats) says.
    pub fn describe_topic(&self, topic: &str) -> Result<TopicDescription> {
        let topic = self.store.topic(topic)?;
        let describe = |(partition, log): &(u32, Log)| {
            let stats = log.stats()?;
            Ok(PartitionDescription {
                partition: *partition,
                start: stats.offsets.start,
                end: stats.offsets.end,
                bytes: stats.bytes,
                segments: stats.segments.len(),
            })
        };
        Ok(TopicDescription {
            name: topic.name().to_owned(),
            id: topic.id(),
            internal: topic.is_internal(),
            partitions: topic.numbered().iter().map(describe).collect::<Result<_>>()?,
            unavailable: topic.unavailable_partitions(),
            settings: topic.config().entries_over(self.store.log_defaults()),
        })
    }

    /// Deletes the records of a partition below an offset, and returns where it starts then. Kafka: `deleteRecords`.
    ///
    /// # Errors
    ///
    /// As [`Log::delete_before`](crate::Log::delete_before), and for a topic or partition that there is not;
    /// [`TopicError::Internal`] for a topic that the store keeps for itself.
    pub fn delete_records(&self, topic: &str, partition: u32, before: Offset) -> Result<Offset> {
        if name::is_internal(topic) {
            let reason = "its records are what groups have committed; use `Admin::delete_offsets`";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        self.store.topic(topic)?.partition(partition)?.delete_before(before)
    }
}
