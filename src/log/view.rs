//! The segments of a log at one moment: what a reader holds while it reads.

use crate::segment::Segment;
use crate::types::Offset;
use std::sync::Arc;

/// An immutable list of segments in the order of their offsets; the last one is active.
///
/// A change of the list makes a new view. Who holds the old one goes on with it:
/// its segments stay readable until it is dropped.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl View {
    /// The number of the segment that an offset belongs to: the last whose base is not above it.
    pub(crate) fn find(&self, offset: Offset) -> usize {
        self.after(offset).saturating_sub(1)
    }

    /// The number of the first segment whose base is above this one.
    pub(crate) fn after(&self, base: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= base)
    }

    /// The base of a segment, or the end of the log where there is none of that number.
    pub(crate) fn begin_of(&self, index: usize, end: Offset) -> Offset {
        self.segments.get(index).map_or(end, |segment| segment.base)
    }

    /// What all offsets of a segment lie below: the base of the one after it, or the end of the log.
    pub(crate) fn limit(&self, index: usize, end: Offset) -> Offset {
        self.begin_of(index.saturating_add(1), end)
    }
}
