//! A list that one thread appends to while others read it, without a lock.
//!
//! The active segment's indexes grow while readers search them. An entry is a few 64-bit words,
//! each an atomic, in chunks that never move. The length is stored last, with release ordering, so
//! a reader that sees a length sees the entries below it. No word is written twice.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// The number of entries in the first chunk. Chunk `i` holds `FIRST << i`, so a short list costs
/// little, and 26 chunks are more than any index can hold.
const FIRST: usize = 64;
const CHUNKS: usize = 26;

type Chunk<const WORDS: usize> = Box<[[AtomicU64; WORDS]]>;

#[derive(Debug)]
pub(crate) struct EntryList<const WORDS: usize> {
    chunks: [OnceLock<Chunk<WORDS>>; CHUNKS],
    len: AtomicUsize,
}

impl<const WORDS: usize> EntryList<WORDS> {
    pub(crate) fn new() -> Self {
        EntryList { chunks: [const { OnceLock::new() }; CHUNKS], len: AtomicUsize::new(0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn get(&self, index: usize) -> Option<[u64; WORDS]> {
        if index >= self.len() {
            return None;
        }
        let (chunk, within) = locate(index)?;
        let entry = self.chunks.get(chunk)?.get()?.get(within)?;
        Some(std::array::from_fn(|word| {
            entry.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
        }))
    }

    /// Appends an entry. Returns false if the list is full.
    ///
    /// Only one thread at a time may call this: the log's writer lock ensures it.
    pub(crate) fn push(&self, entry: [u64; WORDS]) -> bool {
        let len = self.len.load(Ordering::Relaxed);
        let Some((chunk, within)) = locate(len) else { return false };
        let Some(slot) = self.chunks.get(chunk) else { return false };
        let chunk = slot.get_or_init(|| {
            (0..FIRST << chunk).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect()
        });
        let Some(words) = chunk.get(within) else { return false };
        for (word, value) in words.iter().zip(entry) {
            word.store(value, Ordering::Relaxed);
        }
        self.len.store(len.saturating_add(1), Ordering::Release);
        true
    }
}

/// Returns the chunk of an entry and its place there: chunk `i` begins at `FIRST * (2^i - 1)`.
fn locate(index: usize) -> Option<(usize, usize)> {
    let scaled = (index / FIRST).checked_add(1)?;
    let chunk = scaled.ilog2() as usize;
    let begins = FIRST.checked_mul((1usize << chunk).checked_sub(1)?)?;
    Some((chunk, index.checked_sub(begins)?))
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_order_across_chunks() {
        let list = EntryList::<2>::new();
        for i in 0..10_000u64 {
            assert!(list.push([i, i * 3]));
        }
        assert_eq!(list.len(), 10_000);
        for i in 0..10_000u64 {
            assert_eq!(list.get(i as usize), Some([i, i * 3]));
        }
        assert_eq!(list.get(10_000), None);
    }

    #[test]
    fn reader_sees_whole_entries_below_length() {
        let list = EntryList::<2>::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..50_000u64).for_each(|i| assert!(list.push([i, !i]))));
            while !writer.is_finished() {
                let last = list.len().saturating_sub(1);
                if let Some([a, b]) = list.get(last) {
                    assert_eq!((a, b), (last as u64, !(last as u64)));
                }
            }
        });
    }
}
