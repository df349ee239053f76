//! The result of an append.

use crate::types::{Offset, Timestamp};

/// The offsets of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The offset of the first record.
    pub first: Offset,
    /// The offset of the last record. If nothing was appended, it is the offset before `first`,
    /// which is the end of the log; in a log that ends at 0, both are 0.
    pub last: Offset,
    /// The append time, if the log uses append times; [`Timestamp::NONE`] otherwise.
    pub append_time: Timestamp,
    /// Whether the batch was already in the log, so that nothing was written: `first` and `last`
    /// are its offsets there. The log recognises the last five batches of each producer by the
    /// producer's id, epoch and sequence numbers.
    pub duplicate: bool,
}
