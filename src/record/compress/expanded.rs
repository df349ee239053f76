//! Where decompressed bytes go: a buffer with a limit that is used again and again.

use crate::error::InvalidBatch;

/// A larger buffer than this is given back once batches are small again.
const RETAINED_BYTES: usize = 4 << 20;

/// Decompressed bytes, and room for more up to a limit.
///
/// All of `bytes` is initialised, so that room which an earlier batch has used
/// costs nothing to hand out again.
#[derive(Debug)]
pub(crate) struct Expanded {
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Expanded {
    /// An empty one that takes `limit` bytes and no more.
    pub(crate) fn new(limit: usize) -> Expanded {
        Expanded { bytes: Vec::new(), filled: 0, limit }
    }

    /// The most bytes it takes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the bytes written so far.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Bytes of memory it holds.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets what was written, and gives memory back that only an unusual batch has needed.
    pub(crate) fn clear(&mut self) {
        if self.bytes.len() > RETAINED_BYTES && self.filled <= RETAINED_BYTES {
            self.bytes.truncate(RETAINED_BYTES);
            self.bytes.shrink_to_fit();
        }
        self.filled = 0;
    }
}

#[allow(dead_code, reason = "unused in a build without codecs")]
impl Expanded {
    /// How many bytes it still takes.
    pub(crate) fn left(&self) -> usize {
        self.limit.saturating_sub(self.filled)
    }

    /// Room for `wanted` more bytes, or as many as the limit leaves.
    ///
    /// The caller has made sure that its input can fill as much.
    pub(crate) fn room(&mut self, wanted: usize) -> &mut [u8] {
        let wanted = wanted.min(self.left());
        let end = self.filled.saturating_add(wanted);
        if self.bytes.len() < end {
            // A codec that asks piece by piece must not make every piece a copy of the whole.
            let target = end.max(self.bytes.len().saturating_mul(2)).min(self.limit);
            let target = if self.filled == 0 { end } else { target };
            self.bytes.reserve_exact(target.saturating_sub(self.bytes.len()));
            self.bytes.resize(target, 0);
        }
        self.bytes.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Counts `written` bytes at the start of the room as filled.
    pub(crate) fn advance(&mut self, written: usize) {
        self.filled = self.filled.saturating_add(written).min(self.bytes.len());
    }

    /// The error of input that expands past the limit.
    #[cold]
    pub(crate) fn too_far(&self) -> InvalidBatch {
        InvalidBatch::DecompressedTooLarge { limit: self.limit as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_ends_at_the_limit() {
        let mut expanded = Expanded::new(10);
        assert_eq!(expanded.room(4).len(), 4);
        expanded.advance(3);
        assert_eq!((expanded.left(), expanded.room(100).len()), (7, 7));
        expanded.advance(100);
        assert_eq!((expanded.filled().len(), expanded.left()), (10, 0));
        assert!(expanded.room(1).is_empty());
        assert!(expanded.capacity() <= 10);
    }

    #[test]
    fn room_grows_in_long_steps_and_only_when_it_is_used_up() {
        let mut expanded = Expanded::new(usize::MAX);
        for (wanted, capacity) in [(10, 10), (5, 20), (5, 20), (1, 40), (100, 121)] {
            assert_eq!(expanded.room(wanted).len(), wanted);
            expanded.advance(wanted);
            assert_eq!(expanded.capacity(), capacity);
        }
    }

    #[test]
    fn what_only_one_batch_needed_is_given_back() {
        let mut expanded = Expanded::new(usize::MAX);
        let large = RETAINED_BYTES * 3;
        expanded.room(large);
        expanded.advance(large);
        expanded.clear();
        assert!(expanded.capacity() >= large, "a second large batch can follow");
        expanded.room(10);
        expanded.advance(10);
        expanded.clear();
        assert!(expanded.capacity() < large);
        assert_eq!(expanded.filled(), b"");
    }
}
