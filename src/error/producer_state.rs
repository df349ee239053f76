//! Rejected batches of idempotent and transactional producers.

use super::ErrorKind;
use crate::types::{ProducerEpoch, ProducerId, Sequence};

/// The reason why a log rejected the batch of a producer, or a marker that ends a transaction.
/// Nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerStateError {
    /// Another producer has taken over the producer id. Kafka: `InvalidProducerEpochException`.
    #[error(
        "producer {producer_id} has epoch {epoch}, but the log has seen epoch {current}: another producer has taken over; close this one"
    )]
    Fenced {
        /// The producer's id.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The epoch of the producer that has taken over.
        current: ProducerEpoch,
    },
    /// Earlier batches are missing, or this one repeats a batch that was stored too long ago to be
    /// recognised. Kafka: `OutOfOrderSequenceException`.
    #[error(
        "producer {producer_id} sent sequence number {found}, but {expected} is next; send the missing records, or raise the epoch and start at 0"
    )]
    OutOfOrder {
        /// The producer's id.
        producer_id: ProducerId,
        /// The sequence number that the next batch must begin with.
        expected: Sequence,
        /// The sequence number of the batch.
        found: Sequence,
    },
    /// The producer has an open transaction, to which the batch does not belong.
    /// Kafka: `InvalidTxnStateException`.
    #[error(
        "producer {producer_id} has a transaction open and the batch is not part of it; end the transaction first"
    )]
    InTransaction {
        /// The producer's id.
        producer_id: ProducerId,
    },
    /// The batch would open a transaction without the permission that the log demands, or its
    /// transaction has ended since. Kafka: `InvalidTxnStateException`.
    #[error(
        "a batch of producer {producer_id} would open a transaction that was not verified; get a permission from `Log::begin_verification`, add the partition to the transaction, then append with `Log::append_verified`"
    )]
    NotInTransaction {
        /// The producer's id.
        producer_id: ProducerId,
    },
    /// There is no transaction to abort.
    #[error(
        "producer {producer_id} has no transaction open in this log; `Log::hanging_transactions` with a duration of zero lists those that have one"
    )]
    NoOpenTransaction {
        /// The producer's id.
        producer_id: ProducerId,
    },
    /// A marker has the epoch of the open transaction, and the rules of
    /// [`TransactionVersion::V2`](crate::TransactionVersion::V2) require a higher one. No producer
    /// has taken over: the marker is wrong. Kafka: `InvalidProducerEpochException`.
    #[error(
        "the marker has epoch {epoch} of producer {producer_id}, as its open transaction has; end the transaction with the next epoch"
    )]
    MarkerEpochNotRaised {
        /// The producer's id.
        producer_id: ProducerId,
        /// The epoch of the marker.
        epoch: ProducerEpoch,
    },
    /// The log stores the offsets of groups, which would not learn of the marker.
    #[error(
        "the log stores the offsets of groups, which would not learn of the marker for producer {producer_id}; end the transaction with `Transactions::end`, or abort it with `Transactions::abort_hanging`"
    )]
    BypassesGroups {
        /// The producer's id.
        producer_id: ProducerId,
    },
    /// A marker comes from a transaction coordinator that was replaced.
    /// Kafka: `TransactionCoordinatorFencedException`.
    #[error(
        "the marker for producer {producer_id} comes from coordinator epoch {epoch}, but the log has seen {current}: another coordinator has taken over; leave the transaction to it"
    )]
    CoordinatorFenced {
        /// The producer's id.
        producer_id: ProducerId,
        /// The coordinator's epoch in the marker.
        epoch: i32,
        /// The epoch of the coordinator that has taken over.
        current: i32,
    },
}

impl ProducerStateError {
    pub(super) fn kind(self) -> ErrorKind {
        match self {
            ProducerStateError::Fenced { .. } | ProducerStateError::CoordinatorFenced { .. } => {
                ErrorKind::Fenced
            }
            ProducerStateError::OutOfOrder { .. } => ErrorKind::OutOfOrder,
            ProducerStateError::InTransaction { .. }
            | ProducerStateError::NotInTransaction { .. }
            | ProducerStateError::MarkerEpochNotRaised { .. }
            | ProducerStateError::BypassesGroups { .. } => ErrorKind::InvalidInput,
            ProducerStateError::NoOpenTransaction { .. } => ErrorKind::NotFound,
        }
    }
}
