//! The errors of transactions.

use crate::error::ErrorKind;
use crate::types::{Offset, TopicPartition};
use std::time::Duration;

/// The reason why a call for a transaction was rejected, or could not be done yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Another producer has taken over the transactional id. Kafka: `ProducerFencedException`.
    #[error(
        "another producer has taken over the transactional id `{id}`; close this one, or give each producer its own id"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The transactional id is unknown, or belongs to another producer id: it has expired.
    /// Kafka: `InvalidPidMappingException`.
    #[error(
        "the transactional id `{id}` is unknown, or has another producer id: ids expire when they are not used (`id_expiration`); close the producer, and create a new one"
    )]
    InvalidIdMapping {
        /// The transactional id.
        id: String,
    },
    /// The previous transaction is being completed. Kafka: `ConcurrentTransactionsException`.
    #[error("the previous transaction of `{id}` is being completed; repeat the call")]
    Concurrent {
        /// The transactional id.
        id: String,
    },
    /// The transaction is decided, but one of its partitions cannot get its marker at present.
    #[error(
        "the transaction of `{id}` is {decision}, but partition {partition} cannot get its marker yet ({reason}); repeat the call to wait for it, or leave it to the store"
    )]
    Completing {
        /// The transactional id.
        id: String,
        /// The decision: `committed` or `aborted`.
        decision: &'static str,
        /// The partition without its marker.
        partition: TopicPartition,
        /// The reason why it has none.
        reason: String,
    },
    /// The state of the transaction does not allow the call. Kafka: `InvalidTxnStateException`.
    #[error(
        "cannot {call} the transaction of `{id}`, which is in state {state}; begin a transaction first; a repeated call must have the outcome of the first one"
    )]
    InvalidState {
        /// The transactional id.
        id: String,
        /// Kafka's name of the state.
        state: &'static str,
        /// The call, as a verb.
        call: &'static str,
    },
    /// The transaction was aborted, because it took longer than its timeout. The producer can go
    /// on. Kafka: `InvalidTxnStateException`, `ProducerFencedException`.
    #[error(
        "the transaction of `{id}` was aborted, because it took longer than its timeout of {timeout:?}; abort it and begin it again, or raise `transaction_timeout`"
    )]
    Expired {
        /// The transactional id.
        id: String,
        /// The timeout.
        timeout: Duration,
    },
    /// A partition in the transaction was deleted. Kafka: `UnknownTopicOrPartitionException`.
    #[error(
        "partition {partition} was deleted during the transaction of `{id}`; abort the transaction"
    )]
    PartitionGone {
        /// The transactional id.
        id: String,
        /// The partition.
        partition: TopicPartition,
    },
    /// The timeout of the transaction is zero, or longer than the store allows.
    /// Kafka: `InvalidTxnTimeoutException`.
    #[error(
        "a transaction timeout of {given:?} is not between 1 ms and the limit of {most:?}; choose a shorter one, or raise `max_timeout`"
    )]
    InvalidTimeout {
        /// The given timeout.
        given: Duration,
        /// The longest valid timeout.
        most: Duration,
    },
    /// A batch of the transaction failed, or another step of it, so it can only be aborted.
    /// Kafka: `TransactionAbortableException`.
    #[error(
        "the transaction of `{id}` cannot be committed ({reason}); abort it, and begin it again"
    )]
    MustAbort {
        /// The transactional id.
        id: String,
        /// The failure.
        reason: String,
    },
    /// The producer has no transactional id. Kafka: `IllegalStateException`.
    #[error(
        "the producer has no transactional id; create it with `ProducerConfig::transactional_id`"
    )]
    NotTransactional,
    /// The producer has no epoch for its transactional id. Kafka: `IllegalStateException`.
    #[error("the producer of `{id}` is not initialized; call `init_transactions` first, once")]
    NotInitialized {
        /// The transactional id.
        id: String,
    },
    /// No transaction is open: none was begun, or it has ended. Kafka: `IllegalStateException`.
    #[error("no transaction of `{id}` is open; call `begin_transaction` first")]
    NoTransaction {
        /// The transactional id.
        id: String,
    },
    /// A transaction is open already. Kafka: `IllegalStateException`.
    #[error("a transaction of `{id}` is open already; commit or abort it first")]
    AlreadyOpen {
        /// The transactional id.
        id: String,
    },
    /// The partition is not part of the producer's ongoing transaction.
    /// Kafka: `TransactionAbortableException`.
    #[error(
        "partition {partition} is not part of an ongoing transaction of `{id}`; abort the transaction and begin it again, and add the partition before its first batch"
    )]
    PartitionNotAdded {
        /// The transactional id.
        id: String,
        /// The partition.
        partition: TopicPartition,
    },
    /// The transaction does not hang: its producer or the store ends it.
    #[error(
        "the transaction in partition {partition} does not hang, because it belongs to `{id}`; to abort it, fence that producer with `Transactions::fence`"
    )]
    NotHanging {
        /// The transactional id.
        id: String,
        /// The partition.
        partition: TopicPartition,
    },
    /// No producer has this transactional id. Kafka: `TransactionalIdNotFoundException`.
    #[error("no producer has the transactional id `{id}`; `Transactions::list` returns all ids")]
    UnknownId {
        /// The transactional id.
        id: String,
    },
    /// The transactional id is empty. Kafka: `InvalidRequestException`.
    #[error("a transactional id must not be empty")]
    EmptyId,
    /// A record of `__transaction_state` cannot be read.
    #[error(
        "partition {partition} of `__transaction_state` has an invalid record at offset {offset}: {reason}; the transactional ids in that partition cannot be used"
    )]
    CorruptState {
        /// The partition of `__transaction_state`.
        partition: u32,
        /// The offset of the record.
        offset: Offset,
        /// The problem.
        reason: String,
    },
}

impl TransactionError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            TransactionError::Fenced { .. } | TransactionError::InvalidIdMapping { .. } => {
                ErrorKind::Fenced
            }
            TransactionError::Concurrent { .. } | TransactionError::Completing { .. } => {
                ErrorKind::Busy
            }
            TransactionError::InvalidState { .. }
            | TransactionError::NotHanging { .. }
            | TransactionError::InvalidTimeout { .. }
            | TransactionError::EmptyId
            | TransactionError::NotTransactional
            | TransactionError::NotInitialized { .. }
            | TransactionError::NoTransaction { .. }
            | TransactionError::AlreadyOpen { .. } => ErrorKind::InvalidInput,
            TransactionError::PartitionGone { .. }
            | TransactionError::PartitionNotAdded { .. }
            | TransactionError::MustAbort { .. }
            | TransactionError::Expired { .. } => ErrorKind::Abortable,
            TransactionError::UnknownId { .. } => ErrorKind::NotFound,
            TransactionError::CorruptState { .. } => ErrorKind::Corrupt,
        }
    }
}
