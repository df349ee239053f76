//! Committing the offsets of a group in a transaction.

use crate::error::{CommitError, Result};
use crate::group::{ConsumerGroupMetadata, OffsetAndMetadata};
use crate::store::transactions::Transactions;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::transaction::coordinator::Wait;
use crate::types::{ProducerIdentity, TopicPartition, TransactionVersion};
use std::collections::BTreeMap;

impl Transactions {
    /// Commits offsets of a group as a part of a producer's transaction: they count if the
    /// transaction is committed. Begins a transaction if none is ongoing.
    ///
    /// Until the end of the transaction the offsets are pending. A consumer that is about to begin
    /// at one of them waits for that. Of several offsets for a partition, the one that was sent
    /// last counts, even if its transaction ends first. All offsets of a call are pending, or none.
    ///
    /// `group` identifies the consumer: a member of the group in its present generation, as
    /// [`Consumer::group_metadata`](crate::Consumer::group_metadata) returns it, or a consumer
    /// without a membership. Without offsets the call does nothing. Kafka: `AddOffsetsToTxn` and
    /// `TxnOffsetCommit`.
    ///
    /// ```
    /// use annals::{ConsumerConfig, Outcome, Store, StoreConfig, TopicConfig, TopicPartition};
    /// use annals::{TransactionVersion::V2, Wait};
    /// use std::{collections::BTreeMap, time::Duration};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default())?;
    /// let consumer = store.consumer(ConsumerConfig::new("billing"))?;
    /// let transactions = store.transactions()?;
    /// let wait = Wait::UpTo(Duration::from_secs(60));
    /// let producer =
    ///     transactions.init_producer_id("billing", Duration::from_secs(60), None, wait)?;
    ///
    /// let orders = TopicPartition::new("orders", 0);
    /// let offsets = BTreeMap::from([(orders.clone(), 5.into())]);
    /// let group = consumer.group_metadata()?;
    /// transactions.commit_offsets("billing", producer, &group, &offsets, V2, wait)?;
    /// transactions.end("billing", producer, Outcome::Commit, V2, false, wait)?;
    /// assert_eq!(consumer.committed(&orders)?, Some(5.into()));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - As [`add_partitions`](Transactions::add_partitions).
    /// - [`ConsumeError::CommitFailed`](crate::ConsumeError::CommitFailed): the group has no such
    ///   member, or is in a later generation; the partition does not exist, or the metadata is too
    ///   large.
    /// - [`ProducerStateError::Fenced`](crate::ProducerStateError::Fenced),
    ///   [`NotInTransaction`](crate::ProducerStateError::NotInTransaction): the transaction was
    ///   ended during the call.
    /// - As [`Log::append`](crate::Log::append), if `__consumer_offsets` cannot be written to: none
    ///   of the offsets is in the transaction. Repeat the call, or abort the transaction.
    pub fn commit_offsets(
        &self,
        id: &str,
        producer: ProducerIdentity,
        group: &ConsumerGroupMetadata,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        version: TransactionVersion,
        wait: Wait,
    ) -> Result<()> {
        let transactions = self.coordinator_of(id)?;
        let check = |at: &TopicPartition| {
            let found = self.store.topic(&at.topic);
            let exists = found.is_ok_and(|found| found.check_has_partition(at.partition).is_ok());
            let (topic, partition) = ((*at.topic).to_owned(), at.partition);
            (!exists).then_some(CommitError::UnknownTopicOrPartition { topic, partition })
        };
        let enlist = |partition| {
            let at = [TopicPartition::new(CONSUMER_OFFSETS, partition)];
            transactions.add_partitions(id, producer, &at, version, wait)
        };
        let groups = self.store.coordinator()?;
        groups.commit_in_transaction((producer, version), group, offsets, &check, &enlist)
    }
}
