//! Why a record could not be produced.

use crate::error::{Error, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// Why a producer could not get a record into its topic.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The batch that the record was in failed; so did all records of that batch. A batch of
    /// several records that is too large, because the limit was lowered meanwhile, is split first:
    /// then it is the record that is too large.
    #[error("{0}")]
    Batch(Arc<Error>),
    /// The record is larger than a producer takes, or than its topic does. Kafka: `RecordTooLargeException`.
    #[error(
        "a record of up to {bytes} bytes is over the limit of {limit} set by `{option}`; send less in one record, or raise it"
    )]
    RecordTooLarge {
        /// The most that the record can take as a batch of its own, before compression.
        bytes: u64,
        /// The largest that is taken.
        limit: u64,
        /// The option that sets the limit.
        option: &'static str,
    },
    /// What waits to be written took up all the memory there is for it, for as long as `send` may wait. Kafka:
    /// `BufferExhaustedException`.
    #[error(
        "no room for the record within {waited:?}: {buffer_bytes} bytes wait to be written{}; try again, or raise `buffer_bytes` or `max_block`",
        Because(.cause)
    )]
    BufferFull {
        /// How long `send` waited.
        waited: Duration,
        /// How much may wait.
        buffer_bytes: u64,
        /// Why the partition could not be written to, if that is why.
        cause: Option<Arc<Error>>,
    },
    /// The record could not be written in time; it was tried again until then. Kafka: `TimeoutException`.
    #[error(
        "not written to partition {partition} of `{topic}` within {timeout:?}: {cause}; send it again, or raise `delivery_timeout`"
    )]
    DeliveryTimeout {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// How long was tried.
        timeout: Duration,
        /// Why the last try failed.
        cause: Arc<Error>,
    },
    /// A partitioner chose a partition that the topic does not have.
    #[error(
        "the partitioner chose partition {chosen} of `{topic}`, which has {partitions}: it must choose one below that"
    )]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// What was chosen.
        chosen: u32,
        /// How many there are.
        partitions: u32,
    },
    /// A partitioner panicked; the record was not sent.
    #[error("the partitioner panicked over a record for `{topic}`: the record was not sent")]
    PartitionerPanicked {
        /// The topic.
        topic: Arc<str>,
    },
    /// The producer was closed, or dropped, before the record was written.
    #[error("the producer was closed before the record was written: give `close` more time")]
    Aborted,
    /// The producer was closed before this call. Kafka: `IllegalStateException`.
    #[error("the producer is closed: create a new one with `Store::producer`")]
    Closed,
}

/// The reason behind a reason, if there is one.
struct Because<'a>(&'a Option<Arc<Error>>);

impl std::fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |cause| write!(f, ", as writing fails ({cause})"))
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
