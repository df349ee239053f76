//! Why a batch of a producer is not stored.

use crate::types::{ProducerEpoch, ProducerId, Sequence};

/// Why a log refused the batch of an idempotent producer. Nothing of it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerRefusal {
    /// Another has taken over the producer's id. Kafka: `InvalidProducerEpochException`.
    #[error(
        "producer {producer_id} has epoch {epoch}, and the log has seen epoch {current}: another has taken over; close this producer"
    )]
    Fenced {
        /// The producer's id.
        producer_id: ProducerId,
        /// The epoch of the batch.
        epoch: ProducerEpoch,
        /// The one that has taken over.
        current: ProducerEpoch,
    },
    /// Batches before it are missing, or it repeats one that was stored too long ago to tell. Kafka: `OutOfOrderSequenceException`.
    #[error(
        "producer {producer_id} goes on with sequence number {found} where {expected} is next; send what is missing, or raise the epoch and begin at 0"
    )]
    OutOfOrder {
        /// The producer's id.
        producer_id: ProducerId,
        /// The sequence number that the next batch must begin with.
        expected: Sequence,
        /// The one that it begins with.
        found: Sequence,
    },
    /// The producer has an open transaction, to which the batch does not belong. Kafka: `InvalidTxnStateException`.
    #[error(
        "producer {producer_id} has a transaction open and the batch is not part of it; end the transaction first"
    )]
    InTransaction {
        /// The producer's id.
        producer_id: ProducerId,
    },
    /// The marker of a transaction comes from a coordinator that another has taken over from. Kafka: `TransactionCoordinatorFencedException`.
    #[error(
        "the marker for producer {producer_id} has coordinator epoch {epoch}, and the log has seen epoch {current}: another coordinator has taken over"
    )]
    CoordinatorFenced {
        /// The producer's id.
        producer_id: ProducerId,
        /// The coordinator epoch of the marker.
        epoch: i32,
        /// The one that has taken over.
        current: i32,
    },
}
