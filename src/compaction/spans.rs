//! The facts about batches that the reading of keys found, for the rewrite to use.
//!
//! When the rewrite comes to a part of the log all of whose records are superseded, it need not
//! read it again. That is as safe as reading it: which offsets lie there, and where, was taken
//! from batches whose checksums and neighbours were right, and nothing of their bytes is to stay.
//! A producer or a marker may need its header, so only batches without either are noted.
//!
//! Neighbours are noted together, as many small ones would take much memory and save nothing: the
//! bytes between two that stay are read in one go with them.

use crate::record::BatchHeader;
use crate::types::Offset;
use std::ops::Range;

/// Stretches are no longer than this, unless one batch is.
const BYTES: u64 = 64 << 10;

/// Neighbouring batches of a segment that hold nothing but records and need nothing but those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where in the log file of its segment it begins.
    pub(crate) position: u64,
    pub(crate) bytes: u64,
    pub(crate) base: Offset,
    /// The offset behind its last one.
    pub(crate) next: Offset,
    pub(crate) batches: u32,
    pub(crate) records: u32,
}

impl Stretch {
    /// The position behind it.
    pub(crate) fn end(&self) -> u64 {
        self.position.saturating_add(self.bytes)
    }
}

/// The stretches of the part of a log whose keys were read, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretches {
    found: Vec<Stretch>,
    /// How many there may be. Those beyond are read again.
    most: usize,
    /// Whether the next batch may be a neighbour of the last one noted.
    open: bool,
}

impl Stretches {
    /// None yet, and never more than fit into as much memory.
    pub(crate) fn new(memory_bytes: usize) -> Stretches {
        let most = memory_bytes / size_of::<Stretch>();
        Stretches { found: Vec::new(), most, open: false }
    }

    /// What was noted so far ends here: what follows lies in another segment, or is not to be
    /// noted.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Takes note of a verified batch whose keys have been read. Batches come in order.
    pub(crate) fn note(&mut self, position: u64, header: &BatchHeader) {
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
            self.found.push(Stretch { position, bytes, base, next, batches: 1, records });
        }
    }

    /// Those that begin at one of these offsets.
    pub(crate) fn within(&self, offsets: Range<Offset>) -> &[Stretch] {
        let below = |offset| self.found.partition_point(|stretch| stretch.base < offset);
        self.found.get(below(offsets.start)..below(offsets.end)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, BatchRef};
    use crate::types::Timestamp;

    fn note(stretches: &mut Stretches, position: u64, base: Offset, producer: bool, bytes: usize) {
        let mut builder = BatchBuilder::new();
        builder.base_offset(base);
        if producer {
            builder.producer(1, 0, 0);
        }
        for value in [&vec![0; bytes][..], b""] {
            builder.push(Timestamp::NONE, None, Some(value)).unwrap();
        }
        let batch = BatchRef::parse(builder.finish().unwrap()).unwrap();
        stretches.note(position, batch.header());
    }

    fn shape(stretches: &[Stretch]) -> Vec<(u64, Offset, Offset, u32, u32)> {
        stretches.iter().map(|s| (s.position, s.base, s.next, s.batches, s.records)).collect()
    }

    #[test]
    fn neighbours_are_noted_together() {
        let mut stretches = Stretches::new(1 << 10);
        note(&mut stretches, 0, 10, false, 100);
        let one = stretches.found[0].bytes;
        note(&mut stretches, one, 12, false, 100);
        assert_eq!(stretches.found[0].end(), 2 * one);
        stretches.close();
        note(&mut stretches, 0, 14, false, 100);
        note(&mut stretches, one, 16, true, 100);
        note(&mut stretches, 2 * one, 18, false, 100);
        note(&mut stretches, 3 * one, 20, false, BYTES as usize);
        note(&mut stretches, 9 * one, 22, false, 100);
        let all = [
            (0, 10, 14, 2, 4),
            (0, 14, 16, 1, 2),
            (2 * one, 18, 20, 1, 2),
            (3 * one, 20, 22, 1, 2),
            (9 * one, 22, 24, 1, 2),
        ];
        assert_eq!(shape(stretches.within(0..100)), all);
        assert_eq!(shape(stretches.within(14..20)), all[1..3]);
        assert_eq!(shape(stretches.within(11..22)), all[1..4]);
        assert!(stretches.within(30..40).is_empty());
    }

    #[test]
    fn no_more_are_noted_than_fit() {
        let mut stretches = Stretches::new(2 * size_of::<Stretch>());
        for base in 0..4 {
            note(&mut stretches, 0, base * 2, false, BYTES as usize);
        }
        assert_eq!(stretches.found.len(), 2);
        assert_eq!(stretches.found[1].next, 4);
        note(&mut stretches, 0, 8, false, 1);
        assert_eq!(stretches.found[1].next, 4, "it is no neighbour of the last that was noted");
    }
}
