//! The errors of producers.

use crate::error::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// The reason why a producer could not send a record.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The batch of the record failed, with all its records.
    ///
    /// If the limit was lowered meanwhile, and a batch of several records is now too large, the
    /// producer splits it. So with `BatchTooLarge`, this record alone is too large.
    #[error("{0}")]
    Batch(Arc<Error>),
    /// The record is larger than the limit of the producer or of its topic.
    /// Kafka: `RecordTooLargeException`.
    #[error(
        "a record that may take {bytes} bytes is over the limit of {limit} set by `{option}`; split the record, or raise the limit"
    )]
    RecordTooLarge {
        /// The upper bound of the record's size in a batch of its own, before compression.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// The option that sets the limit.
        option: &'static str,
    },
    /// The buffer stayed full for the whole time that `send` may wait.
    /// Kafka: `BufferExhaustedException`.
    #[error("{}", FullBuffer(*.waited, *.buffer_bytes, .cause.as_deref()))]
    BufferFull {
        /// How long `send` waited.
        waited: Duration,
        /// The size of the buffer.
        buffer_bytes: u64,
        /// The error of the last write to the partition, if that is the cause.
        cause: Option<Arc<Error>>,
    },
    /// The record could not be written within the delivery timeout, despite retries.
    /// Kafka: `TimeoutException`.
    #[error(
        "the record was not written to partition {partition} of `{topic}` within {timeout:?}: {}; resend it, or raise `delivery_timeout`",
        .cause.cause()
    )]
    DeliveryTimeout {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// The time since the first record of the batch.
        timeout: Duration,
        /// The error of the last attempt.
        cause: Arc<Error>,
    },
    /// A partitioner chose a partition that the topic does not have.
    #[error(
        "the partitioner chose partition {chosen} of `{topic}`, but must choose a number below {partitions}"
    )]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// The chosen partition.
        chosen: u32,
        /// The number of partitions.
        partitions: u32,
    },
    /// A partitioner panicked; the record was not sent.
    #[error(
        "the partitioner panicked on a record for `{topic}`, so the record was not sent; fix the partitioner"
    )]
    PartitionerPanicked {
        /// The topic.
        topic: Arc<str>,
    },
    /// The transaction of the record was aborted, or can only be aborted, before the record was
    /// written. Kafka: `TransactionAbortedException`.
    #[error(
        "the record was not written, because its transaction is aborted; begin another one, and send the record again"
    )]
    TransactionAborted,
    /// A listener or a waker, called on a thread that writes records, would have to wait for them.
    /// Kafka: `KafkaException` of a `flush` in a callback.
    #[error(
        "the call waits for records that this thread is writing, because it comes from a listener or a waker; call it on another thread, or in a callback of a record"
    )]
    WhileWriting,
    /// The producer was closed, or dropped, before the record was written.
    #[error(
        "the producer was closed before the record was written; close it with `close`, or with a longer `close_timeout`"
    )]
    Aborted,
    /// The producer was closed before this call. Kafka: `IllegalStateException`.
    #[error("the producer is closed; create a new one with `Store::producer`")]
    Closed,
}

/// Why a buffer is full, and the way out: a larger buffer helps only if writes succeed.
struct FullBuffer<'a>(Duration, u64, Option<&'a Error>);

impl std::fmt::Display for FullBuffer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FullBuffer(waited, buffer_bytes, cause) = self;
        write!(
            f,
            "the buffer of {buffer_bytes} bytes had no room for the record within {waited:?}"
        )?;
        match cause {
            Some(cause) => {
                let cause = cause.cause();
                write!(f, ", because writes fail ({cause}); resend it when writes succeed")
            }
            None => f.write_str("; retry, or raise `buffer_bytes` or `max_block`"),
        }
    }
}

impl ProduceError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ProduceError::Batch(error) => error.kind(),
            ProduceError::RecordTooLarge { .. }
            | ProduceError::NoSuchPartition { .. }
            | ProduceError::PartitionerPanicked { .. }
            | ProduceError::WhileWriting => ErrorKind::InvalidInput,
            ProduceError::BufferFull { .. } | ProduceError::DeliveryTimeout { .. } => {
                ErrorKind::TimedOut
            }
            ProduceError::TransactionAborted => ErrorKind::Abortable,
            ProduceError::Aborted | ProduceError::Closed => ErrorKind::Closed,
        }
    }
}
