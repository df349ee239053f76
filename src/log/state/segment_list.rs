//! The segments of a log at one moment.
use crate::segment::Segment;
use crate::types::Offset;
use std::sync::Arc;

/// An immutable list of segments in the order of their offsets; the last one is active.
///
/// A change makes a new list. The segments of the old one stay readable, and on disk, until it is
/// dropped. So a call keeps a list while it looks something up, and never while it waits.
#[derive(Debug)]
pub(crate) struct SegmentList {
    pub(crate) segments: Vec<Arc<Segment>>,
}

impl SegmentList {
    /// Returns the number of the segment that an offset belongs to: the last whose base is not
    /// above it.
    pub(crate) fn find(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
    }

    /// Returns the base of the segment after the one of this number; `None` for the last.
    pub(crate) fn base_after(&self, index: usize) -> Option<Offset> {
        self.segments.get(index.saturating_add(1)).map(|segment| segment.base)
    }

    /// Returns the limit of a segment's offsets: the base of the next segment, or the end of the
    /// log.
    pub(crate) fn limit(&self, index: usize, end: Offset) -> Offset {
        self.base_after(index).unwrap_or(end)
    }
}
