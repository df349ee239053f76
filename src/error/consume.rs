//! Why a consumer could not go on.

use crate::error::ErrorKind;

/// Why a consumer could not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The partition is not assigned to this consumer. Kafka: `IllegalStateException`.
    #[error(
        "partition {partition} of `{topic}` is not assigned to this consumer: subscribe, or assign it"
    )]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
}

impl ConsumeError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ConsumeError::NotAssigned { .. } => ErrorKind::InvalidInput,
        }
    }
}
