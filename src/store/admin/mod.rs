//! Administration of topics and groups.

pub(crate) mod groups;

use crate::error::{Result, TopicError};
use crate::log::Log;
use crate::store::settings::ConfigEntry;
use crate::store::topics::Store;
use crate::topic_name;
use crate::types::Offset;
use crate::uuid::TopicId;
use std::collections::BTreeMap;

/// The administration of topics and groups: the calls of Kafka's `AdminClient` that make sense
/// within one process.
///
/// To create, alter and delete topics, call the [`Store`] itself. [`Store::admin`] returns an
/// `Admin`.
///
/// ```
/// use annals::{Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let config = TopicConfig::default().partitions(2).segment_bytes(1 << 20);
/// let orders = store.create_topic("orders", config)?;
/// orders.partition(1)?.append_all(["a", "b", "c"].map(Into::into))?;
///
/// let admin = store.admin();
/// admin.delete_records("orders", 1, 2)?;
/// let described = admin.describe_topic("orders")?;
/// assert_eq!((described.partitions[1].start, described.partitions[1].end), (2, 3));
/// let entry = described.configs.iter().find(|entry| entry.key == "segment.bytes").unwrap();
/// assert_eq!(entry.value, "1048576");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) store: Store,
}

/// The description of a topic. Kafka: `describeTopics`, `describeConfigs`, `listOffsets` and
/// `describeLogDirs` in one. [`Admin`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// The name of the topic.
    pub name: String,
    /// The id of the topic.
    pub id: TopicId,
    /// Whether the topic is internal to the store or a broker, such as `__consumer_offsets`.
    pub internal: bool,
    /// The partitions that can be used, in the order of their numbers.
    pub partitions: Vec<PartitionDescription>,
    /// The partitions that cannot be used, each with the reason.
    pub unavailable: BTreeMap<u32, TopicError>,
    /// All settings of the topic, in the order of their keys.
    pub configs: Vec<ConfigEntry>,
}

/// The description of a partition. [`Admin`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// The number of the partition.
    pub partition: u32,
    /// The first offset.
    pub start: Offset,
    /// The offset after the last one.
    pub end: Offset,
    /// The size of its records on disk in bytes, without indexes.
    pub bytes: u64,
    /// The number of its segments.
    pub segments: usize,
}

impl Store {
    /// Returns an [`Admin`] for this store.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin { store: self.clone() }
    }
}

impl Admin {
    /// Describes a topic: its settings, and the offsets and sizes of its partitions.
    ///
    /// # Errors
    ///
    /// [`TopicError::Unknown`](crate::TopicError::Unknown), and the errors of
    /// [`Log::stats`](crate::Log::stats).
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
            partitions: topic.numbered_partitions().iter().map(describe).collect::<Result<_>>()?,
            unavailable: topic.unavailable_partitions(),
            configs: topic.config().entries_over(self.store.log_defaults()),
        })
    }

    /// Deletes the records of a partition below an offset, and returns the new start of the
    /// partition. Kafka: `deleteRecords`.
    ///
    /// # Errors
    ///
    /// The errors of [`Log::delete_before`](crate::Log::delete_before) and
    /// [`Topic::partition`](crate::Topic::partition); [`TopicError::Unknown`];
    /// [`TopicError::Internal`] for an internal topic.
    pub fn delete_records(&self, topic: &str, partition: u32, before: Offset) -> Result<Offset> {
        if topic_name::is_internal(topic) {
            let reason = "it holds committed offsets; call `Admin::delete_offsets`";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        self.store.topic(topic)?.partition(partition)?.delete_before(before)
    }
}
