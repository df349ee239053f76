//! The output of decompression: a reusable buffer with a limit.

use crate::error::InvalidBatch;

/// A buffer larger than this is released when smaller batches follow.
const RETAINED_BYTES: usize = 4 << 20;

/// Decompressed bytes, and room for more up to a limit.
///
/// All of `bytes` is initialised, so memory that an earlier batch has used is reused without cost.
#[derive(Debug)]
pub(crate) struct Expanded {
    bytes: Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Expanded {
    /// Creates an empty buffer for at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Expanded {
        Expanded { bytes: Vec::new(), filled: 0, limit }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Returns the bytes written so far.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Returns the bytes of memory it holds.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Clears the buffer, and releases memory that only an unusual batch has needed.
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
    /// Returns the number of bytes left up to the limit.
    pub(crate) fn left(&self) -> usize {
        self.limit.saturating_sub(self.filled)
    }

    /// Returns room for `wanted` more bytes, or for as many as the limit leaves.
    ///
    /// The caller has checked that its input can fill this room.
    pub(crate) fn room(&mut self, wanted: usize) -> &mut [u8] {
        let wanted = wanted.min(self.left());
        let end = self.filled.saturating_add(wanted);
        if self.bytes.len() < end {
            // A codec that requests small pieces must not copy the whole buffer for each.
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

    /// Returns the error of input that exceeds the limit when decompressed.
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
    fn room_grows_in_steps_when_full() {
        let mut expanded = Expanded::new(usize::MAX);
        for (wanted, capacity) in [(10, 10), (5, 20), (5, 20), (1, 40), (100, 121)] {
            assert_eq!(expanded.room(wanted).len(), wanted);
            expanded.advance(wanted);
            assert_eq!(expanded.capacity(), capacity);
        }
    }

    #[test]
    fn memory_of_one_batch_is_released() {
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
