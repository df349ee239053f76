//! The records that a poll returns.

use crate::group::offsets::OffsetAndMetadata;
use crate::record::StoredRecord;
use crate::types::TopicPartition;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A record with its topic and partition. It dereferences to a [`StoredRecord`].
/// [`ConsumerRecords`] has an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The record.
    pub record: StoredRecord,
}

impl Deref for ConsumerRecord {
    type Target = StoredRecord;

    fn deref(&self) -> &StoredRecord {
        &self.record
    }
}

/// The records of a poll, grouped by partition, in the order of their offsets.
///
/// ```
/// use annals::{ConsumerConfig, Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default().partitions(2))?;
/// orders.partition(0)?.append("a")?;
/// orders.partition(1)?.append("b")?;
///
/// let mut consumer = store.consumer(ConsumerConfig::default())?;
/// let partitions = [0, 1].map(|partition| TopicPartition::new("orders", partition));
/// consumer.assign(partitions.clone())?;
/// consumer.seek_to_beginning([])?;
/// let records = consumer.poll(Duration::ZERO)?;
/// assert_eq!(records.records(&partitions[1])[0].value_str(), Some("b"));
/// for record in records {
///     println!("{}-{} at {}: {:?}", record.topic, record.partition, record.offset, record.value);
/// }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerRecords {
    records: Vec<ConsumerRecord>,
    /// The positions after the poll.
    next: Vec<(TopicPartition, OffsetAndMetadata)>,
    woken: bool,
}

impl ConsumerRecords {
    pub(super) fn woken() -> ConsumerRecords {
        ConsumerRecords { woken: true, ..ConsumerRecords::default() }
    }

    /// Takes the records of a poll.
    pub(super) fn of(records: Vec<ConsumerRecord>) -> ConsumerRecords {
        ConsumerRecords { records, ..ConsumerRecords::default() }
    }

    /// Sets the positions after the poll.
    pub(super) fn with_next(
        self,
        next: Vec<(TopicPartition, OffsetAndMetadata)>,
    ) -> ConsumerRecords {
        ConsumerRecords { next, ..self }
    }

    /// Takes over the positions of records that were passed to an interceptor. It may return fewer
    /// records, but the poll has returned all of them.
    pub(super) fn with_next_of(self, passed: ConsumerRecords) -> ConsumerRecords {
        self.with_next(passed.next)
    }

    /// Returns the number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there are no records: the time was up, or the poll [was
    /// woken](ConsumerRecords::is_woken).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns whether a [`ConsumerWaker`](crate::ConsumerWaker) ended the poll.
    #[must_use]
    pub fn is_woken(&self) -> bool {
        self.woken
    }

    /// Returns an iterator over all records.
    pub fn iter(&self) -> std::slice::Iter<'_, ConsumerRecord> {
        self.records.iter()
    }

    /// Returns an iterator over the partitions that have records, each with its records.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &[ConsumerRecord])> {
        let same = |a: &ConsumerRecord, b: &ConsumerRecord| {
            a.partition == b.partition && a.topic == b.topic
        };
        self.records.chunk_by(same).filter_map(|records| {
            let first = records.first()?;
            Some((TopicPartition::new(Arc::clone(&first.topic), first.partition), records))
        })
    }

    /// Returns the position after the poll of each partition that it has moved in. These are the
    /// offsets to commit once the records are processed.
    ///
    /// They may lie behind the last record by more than one: the end of a transaction takes an
    /// offset, and records of aborted ones are passed over. Committing the offset behind the last
    /// record instead leaves a [lag](crate::Consumer::lag) that never becomes 0. Each offset has
    /// the leader epoch of its partition there, if that is known. Kafka: `nextOffsets`.
    ///
    /// ```
    /// use annals::{
    ///     AutoOffsetReset, ConsumerConfig, Store, StoreConfig, TopicConfig, TopicPartition,
    /// };
    /// use std::time::Duration;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let orders = store.create_topic("orders", TopicConfig::default())?;
    /// orders.partition(0)?.append_all(["a", "b"].map(Into::into))?;
    ///
    /// let config = ConsumerConfig::new("billing")
    ///     .auto_offset_reset(AutoOffsetReset::Earliest)
    ///     .enable_auto_commit(false);
    /// let mut consumer = store.consumer(config)?;
    /// consumer.subscribe(["orders"])?;
    /// let records = consumer.poll(Duration::ZERO)?;
    /// let next = records.next_offsets();
    /// assert_eq!(next[&TopicPartition::new("orders", 0)].offset, 2);
    /// consumer.commit_offsets(next)?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// For records that were [collected](FromIterator), it is the offset behind the last record of
    /// each partition. A poll passes what an interceptor has collected on with its own positions.
    #[must_use]
    pub fn next_offsets(&self) -> BTreeMap<TopicPartition, OffsetAndMetadata> {
        self.next.iter().cloned().collect()
    }

    /// Returns the records of a partition.
    #[must_use]
    pub fn records(&self, partition: &TopicPartition) -> &[ConsumerRecord] {
        let found = self.partitions().find(|(at, _)| at == partition);
        found.map(|(_, records)| records).unwrap_or_default()
    }
}

/// For interceptors. Keep the records of a partition together and in order.
impl FromIterator<ConsumerRecord> for ConsumerRecords {
    fn from_iter<I: IntoIterator<Item = ConsumerRecord>>(records: I) -> ConsumerRecords {
        let records: Vec<ConsumerRecord> = records.into_iter().collect();
        let collected = ConsumerRecords::of(records);
        let next = collected.partitions().filter_map(|(at, records)| {
            Some((at, records.last()?.offset.saturating_add(1).into()))
        });
        let next = next.collect();
        collected.with_next(next)
    }
}

impl IntoIterator for ConsumerRecords {
    type Item = ConsumerRecord;
    type IntoIter = std::vec::IntoIter<ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConsumerRecords {
    type Item = &'a ConsumerRecord;
    type IntoIter = std::slice::Iter<'a, ConsumerRecord>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
