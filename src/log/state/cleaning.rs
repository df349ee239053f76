//! How far the cleaner got, and whether it may go on.

use crate::types::Offset;
use std::sync::Arc;

/// How far the cleaner of a log got, and whether it may go on.
#[derive(Debug)]
pub(crate) struct CleaningState {
    /// Everything below was compacted, as it stands in the checkpoint.
    pub(crate) cleaned: Option<Offset>,
    /// Why the log is not compacted any more, until it is opened again.
    pub(crate) uncleanable: Option<Arc<str>>,
    /// How many want maintenance to rest.
    pub(crate) pauses: usize,
}

impl CleaningState {
    pub(crate) fn new(cleaned: Option<Offset>) -> CleaningState {
        CleaningState { cleaned, uncleanable: None, pauses: 0 }
    }
}
