//! The calls by which the coordinator reaches the store around it.

use crate::error::Result;
use crate::record::EndTxnMarker;
use crate::types::{ProducerId, ProducerIdentity, TopicPartition, TransactionVersion};
use std::fmt;

/// The partitions that take part in transactions, and the producer ids.
///
/// The coordinator calls it with no lock held.
pub(crate) trait Participants: fmt::Debug + Send + Sync {
    /// Returns a producer id that no producer has.
    fn new_producer_id(&self) -> Result<ProducerId>;

    /// Returns whether the partition exists, online or not.
    fn exists(&self, at: &TopicPartition) -> Result<bool>;

    /// Makes everything in a partition durable. Succeeds if the partition does not exist.
    fn flush(&self, at: &TopicPartition) -> Result<()>;

    /// Writes a marker to a partition. A marker may be written again, and there need not be
    /// anything to end.
    fn write_marker(
        &self,
        at: &TopicPartition,
        who: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<MarkerOutcome>;

    /// Wakes the consumers that wait until the next transaction is due, because one is due sooner.
    fn due_is_sooner(&self);

    /// Returns the epoch in the markers of transactions that are stored in this partition of
    /// `__transaction_state`.
    fn coordinator_epoch(&self, partition: u32) -> i32;
}

/// The fate of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MarkerOutcome {
    Written,
    /// The topic was deleted, and its part of the transaction with it.
    NoSuchPartition,
}
