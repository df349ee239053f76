//! Why a record could not be produced.

use crate::error::{Error, ErrorKind};
use std::sync::Arc;

/// Why a producer could not get a record into its topic.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// The batch that the record was in failed; so did all records of that batch.
    #[error("{0}")]
    Batch(Arc<Error>),
}

impl ProduceError {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ProduceError::Batch(error) => error.kind(),
        }
    }
}
