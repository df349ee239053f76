//! The errors of producers.

use crate::error::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// The reason why a producer could not send a record.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The batch of the record failed, with all its records. If a batch of several records is too
    /// large because the limit was lowered meanwhile, it is split first; then only the record
    /// itself is too large.
    #[error("{0}")]
    Batch(Arc<Error>),
    /// The record is larger than the limit of the producer or of its topic.
    /// Kafka: `RecordTooLargeException`.
    #[error(
        "a record of up to {bytes} bytes is over the limit of {limit} set by `{option}`; send less in one record, or raise it"
    )]
    RecordTooLarge {
        /// The upper bound of its size in a batch of its own, before compression.
        bytes: u64,
        /// The limit.
        limit: u64,
        /// The option that sets the limit.
        option: &'static str,
    },
    /// The buffer was full for as long as `send` may wait. Kafka: `BufferExhaustedException`.
    #[error("{}", FullBuffer(*.waited, *.buffer_bytes, .cause.as_deref()))]
    BufferFull {
        /// How long `send` waited.
        waited: Duration,
        /// The size of the buffer.
        buffer_bytes: u64,
        /// The error of the last write to the partition, if that is the cause.
        cause: Option<Arc<Error>>,
    },
    /// The record was not written within the delivery timeout, in spite of retries.
    /// Kafka: `TimeoutException`.
    #[error(
        "not written to partition {partition} of `{topic}` within {timeout:?}: {cause}; send it again, or raise `delivery_timeout`"
    )]
    DeliveryTimeout {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// The time since the first record of the batch.
        timeout: Duration,
        /// The error of the last try.
        cause: Arc<Error>,
    },
    /// A partitioner chose a partition that the topic does not have.
    #[error(
        "the partitioner chose partition {chosen} of `{topic}`, which has {partitions}: it must choose one below that"
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
    #[error("the partitioner panicked on a record for `{topic}`: the record was not sent")]
    PartitionerPanicked {
        /// The topic.
        topic: Arc<str>,
    },
    /// The producer was closed, or dropped, before the record was written.
    #[error(
        "the producer was closed before the record was written: close it with a longer timeout"
    )]
    Aborted,
    /// The producer was closed before this call. Kafka: `IllegalStateException`.
    #[error("the producer is closed: create a new one with `Store::producer`")]
    Closed,
}

/// The reason why a buffer is full, and the remedy: a larger buffer helps only if writes succeed.
struct FullBuffer<'a>(Duration, u64, Option<&'a Error>);

impl std::fmt::Display for FullBuffer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FullBuffer(waited, buffer_bytes, cause) = self;
        if let Some(cause) = cause {
            write!(f, "writes fail ({cause}), so there was ")?;
        }
        write!(
            f,
            "no room for the record within {waited:?}: {buffer_bytes} bytes wait to be written; "
        )?;
        f.write_str(match cause {
            Some(_) => "send it again when writes succeed",
            None => "try again, or raise `buffer_bytes` or `max_block`",
        })
    }
}

impl ProduceError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ProduceError::Batch(error) => error.kind(),
            ProduceError::RecordTooLarge { .. }
            | ProduceError::NoSuchPartition { .. }
            | ProduceError::PartitionerPanicked { .. } => ErrorKind::InvalidInput,
            ProduceError::BufferFull { .. } | ProduceError::DeliveryTimeout { .. } => {
                ErrorKind::TimedOut
            }
            ProduceError::Aborted | ProduceError::Closed => ErrorKind::Closed,
        }
    }
}
