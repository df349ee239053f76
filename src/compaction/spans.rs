//! The positions of batches, recorded while their keys are read, for the rewrite.
//!
//! If all records of a part of the log are superseded, the rewrite does not read that part again.
//! That is as safe as reading it: its offsets and positions come from batches with valid checksums
//! and neighbours, and none of its bytes stay. Only batches without a producer and without a
//! marker are recorded, because these may need their header.
//!
//! Neighbouring batches form one span. Many small spans would take much memory and save nothing:
//! the bytes between two surviving batches are read together with them.

use crate::record::BatchHeader;
use crate::types::Offset;
use std::ops::Range;

/// The maximum size of a span of several batches.
const BYTES: u64 = 64 << 10;

/// Neighbouring batches of a segment that only hold records, so that none needs its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// The position in the log file of the segment.
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    pub(crate) base: Offset,
    /// The offset after its last one.
    pub(crate) next: Offset,
    pub(crate) batches: u32,
    pub(crate) records: u32,
}

impl Span {
    /// Returns the position after the span.
    pub(crate) fn end(&self) -> u64 {
        self.position.saturating_add(self.bytes)
    }
}

/// The spans of the part of a log whose keys were read, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spans {
    found: Vec<Span>,
    /// The maximum number of spans. Batches after them are read again.
    most: usize,
    /// Whether the next batch can join the last span.
    open: bool,
}

impl Spans {
    /// Creates an empty list for as many spans as fit into this memory.
    pub(crate) fn new(memory_bytes: usize) -> Spans {
        let most = memory_bytes / size_of::<Span>();
        Spans { found: Vec::new(), most, open: false }
    }

    /// Ends the last span: the next batch lies in another segment, or is not recorded.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Adds a valid batch whose keys were read. Batches come in order.
    pub(crate) fn add(&mut self, position: u64, header: &BatchHeader) {
        if header.is_control() || header.has_producer() || header.is_transactional() {
            self.close();
            return;
        }
        let bytes = header.size_bytes() as u64;
        let records = u32::try_from(header.record_count).unwrap_or(0);
        if let Some(last) = self.found.last_mut().filter(|_| self.open)
            && last.bytes.saturating_add(bytes) <= BYTES
        {
            last.bytes = last.bytes.saturating_add(bytes);
            last.next = header.next_offset();
            last.batches = last.batches.saturating_add(1);
            last.records = last.records.saturating_add(records);
            return;
        }
        self.open = self.found.len() < self.most;
        if self.open {
            let (base, next) = (header.base_offset, header.next_offset());
            self.found.push(Span { position, bytes, base, next, batches: 1, records });
        }
    }

    /// Returns the spans that begin at one of these offsets.
    pub(crate) fn within(&self, offsets: Range<Offset>) -> &[Span] {
        let below = |offset| self.found.partition_point(|span| span.base < offset);
        self.found.get(below(offsets.start)..below(offsets.end)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchRef};
    use crate::types::Timestamp;

    fn add(spans: &mut Spans, position: u64, base: Offset, producer: bool, bytes: usize) {
        let mut builder = BatchBuilder::new();
        builder.base_offset(base);
        if producer {
            builder.producer(1, 0, 0);
        }
        for value in [&vec![0; bytes][..], b""] {
            builder.push(Timestamp::NONE, None, Some(value)).unwrap();
        }
        let batch = BatchRef::parse(builder.finish().unwrap()).unwrap();
        spans.add(position, batch.header());
    }

    fn shape(spans: &[Span]) -> Vec<(u64, Offset, Offset, u32, u32)> {
        spans.iter().map(|s| (s.position, s.base, s.next, s.batches, s.records)).collect()
    }

    #[test]
    fn neighbours_join_one_span() {
        let mut spans = Spans::new(1 << 10);
        add(&mut spans, 0, 10, false, 100);
        let one = spans.found[0].bytes;
        add(&mut spans, one, 12, false, 100);
        assert_eq!(spans.found[0].end(), 2 * one);
        spans.close();
        add(&mut spans, 0, 14, false, 100);
        add(&mut spans, one, 16, true, 100);
        add(&mut spans, 2 * one, 18, false, 100);
        add(&mut spans, 3 * one, 20, false, BYTES as usize);
        add(&mut spans, 9 * one, 22, false, 100);
        let all = [
            (0, 10, 14, 2, 4),
            (0, 14, 16, 1, 2),
            (2 * one, 18, 20, 1, 2),
            (3 * one, 20, 22, 1, 2),
            (9 * one, 22, 24, 1, 2),
        ];
        assert_eq!(shape(spans.within(0..100)), all);
        assert_eq!(shape(spans.within(14..20)), all[1..3]);
        assert_eq!(shape(spans.within(11..22)), all[1..4]);
        assert!(spans.within(30..40).is_empty());
    }

    #[test]
    fn spans_stop_at_memory_limit() {
        let mut spans = Spans::new(2 * size_of::<Span>());
        for base in 0..4 {
            add(&mut spans, 0, base * 2, false, BYTES as usize);
        }
        assert_eq!(spans.found.len(), 2);
        assert_eq!(spans.found[1].next, 4);
        add(&mut spans, 0, 8, false, 1);
        assert_eq!(spans.found[1].next, 4, "it is no neighbour of the last span");
    }
}
