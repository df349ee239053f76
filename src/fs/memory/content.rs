//! The bytes of one file: the content of the page cache, and the synced content.
//!
//! Bytes are kept in shared blocks. A block is copied before a change if a snapshot still needs
//! it. So a snapshot costs one reference for each file, and an append copies at most one block,
//! however large the file is. For each block that changed since the last sync, the synced version
//! is kept beside the live one. The synced file is the live blocks with these versions put back.

use super::capacity::{BLOCK, Capacity};
use super::crash::CrashRng;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// The maximum length of a file, as on a system with signed 64-bit positions.
const MAX_LEN: u64 = i64::MAX as u64;
/// The number of lengths since the last sync that are remembered.
const REMEMBERED_LENGTHS: usize = 64;

type Block = Arc<[u8; BLOCK]>;
/// The blocks by number. A missing block reads as zeros.
type Blocks = BTreeMap<u64, Block>;

static ZEROS: LazyLock<Block> = LazyLock::new(|| Arc::new([0; BLOCK]));

/// The content of a file. Invariants: no block lies beyond the one that `len` ends in, and the
/// bytes of that block past `len` are zeros. Both hold for the synced version with `synced_len`.
#[derive(Clone, Default)]
pub(super) struct Content {
    blocks: Arc<Blocks>,
    len: u64,
    /// The number of blocks at the start that have room, whether they are written or not.
    reserved: u64,
    synced_len: u64,
    synced_reserved: u64,
    /// The synced version of each block that changed since the last sync.
    before: BTreeMap<u64, Option<Block>>,
    /// The lengths since the last sync, oldest first, without the current one.
    lengths: VecDeque<u64>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Returns the number of blocks of room that the file takes.
    pub(super) fn room(&self) -> u64 {
        let written = self.blocks.range(self.reserved..).count();
        self.reserved.saturating_add(written as u64)
    }

    pub(super) fn is_synced(&self) -> bool {
        self.before.is_empty() && self.lengths.is_empty() && self.len == self.synced_len
    }

    pub(super) fn read(&self, buf: &mut [u8], at: u64) -> usize {
        let there = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let len = there.min(buf.len());
        let mut rest = buf.get_mut(..len).unwrap_or_default();
        for (index, range) in pieces(at, len) {
            let Some((piece, after)) = rest.split_at_mut_checked(range.len()) else { break };
            match self.blocks.get(&index).and_then(|block| block.get(range)) {
                Some(bytes) => piece.copy_from_slice(bytes),
                None => piece.fill(0),
            }
            rest = after;
        }
        len
    }

    /// Writes as much as there is room for.
    pub(super) fn write(&mut self, buf: &[u8], at: u64, capacity: &Capacity) -> io::Result<usize> {
        check_len(at.saturating_add(buf.len() as u64))?;
        let mut done = 0;
        let mut rest = buf;
        for (index, range) in pieces(at, buf.len()) {
            let Some((piece, after)) = rest.split_at_checked(range.len()) else { break };
            let has_room = index < self.reserved || self.blocks.contains_key(&index);
            if !has_room && !capacity.take(1) {
                break;
            }
            if let Some(bytes) = self.change(index).get_mut(range) {
                bytes.copy_from_slice(piece);
            }
            done += piece.len();
            rest = after;
        }
        if done == 0 && !buf.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let end = at.saturating_add(done as u64);
        if done > 0 && end > self.len {
            self.put_len(end);
        }
        Ok(done)
    }

    /// Sets the length. Truncating releases room. Extending takes no room, and bytes that were
    /// never written read as zeros.
    pub(super) fn set_len(&mut self, len: u64, capacity: &Capacity) -> io::Result<()> {
        check_len(len)?;
        if len < self.len {
            let room = self.room();
            self.cut(len);
            capacity.release(room.saturating_sub(self.room()));
        }
        self.put_len(len);
        Ok(())
    }

    /// Takes room for the first `len` bytes, all of it or none.
    pub(super) fn allocate(&mut self, len: u64, capacity: &Capacity) -> io::Result<()> {
        check_len(len)?;
        let end = len.div_ceil(BLOCK as u64);
        if end > self.reserved {
            let written = self.blocks.range(self.reserved..end).count() as u64;
            if !capacity.take(end.saturating_sub(self.reserved).saturating_sub(written)) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.reserved = end;
        }
        if len > self.len {
            self.put_len(len);
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        self.before.clear();
        self.lengths.clear();
        self.synced_len = self.len;
        self.synced_reserved = self.reserved;
    }

    /// Returns the file as it is now, fully synced.
    pub(super) fn everything(&self) -> Content {
        let blocks = Arc::clone(&self.blocks);
        Content::settled(blocks, self.len, self.reserved)
    }

    /// Returns the file as it was last synced.
    pub(super) fn synced(&self) -> Content {
        Content::settled(self.synced_blocks(), self.synced_len, self.synced_reserved)
    }

    /// Returns a file that a power loss may leave: one of the two versions of each block or
    /// sector, and a length that the file had, or would have after a write that was torn between
    /// two sectors.
    pub(super) fn survivor(&self, rng: &mut CrashRng) -> Content {
        if self.is_synced() {
            return self.everything();
        }
        let mut blocks = self.synced_blocks();
        let surviving = Arc::make_mut(&mut blocks);
        for (index, before) in &self.before {
            let old = before.as_ref().unwrap_or(&ZEROS);
            let new = self.blocks.get(index).unwrap_or(&ZEROS);
            let block = rng.block(old, new);
            // Zeros may stand for a missing block.
            if before.is_some() || !Arc::ptr_eq(&block, old) {
                surviving.insert(*index, block);
            }
        }
        let len = rng.length(self.synced_len, self.len, &self.lengths);
        // Make the file long enough for every block first; cutting restores the invariants.
        let mut content =
            Content::settled(blocks, MAX_LEN, self.synced_reserved.max(self.reserved));
        content.cut(len);
        Content::settled(content.blocks, len, content.reserved)
    }

    fn settled(blocks: Arc<Blocks>, len: u64, reserved: u64) -> Content {
        let synced = Content { blocks, len, reserved, ..Content::default() };
        Content { synced_len: len, synced_reserved: reserved, ..synced }
    }

    fn synced_blocks(&self) -> Arc<Blocks> {
        let mut blocks = Arc::clone(&self.blocks);
        if !self.before.is_empty() {
            let synced = Arc::make_mut(&mut blocks);
            for (index, before) in &self.before {
                match before {
                    Some(block) => synced.insert(*index, Arc::clone(block)),
                    None => synced.remove(index),
                };
            }
        }
        blocks
    }

    /// Returns a block to be changed. Its synced version is saved first.
    fn change(&mut self, index: u64) -> &mut [u8; BLOCK] {
        let block = match Arc::make_mut(&mut self.blocks).entry(index) {
            Entry::Vacant(vacant) => {
                self.before.entry(index).or_insert(None);
                vacant.insert(Arc::clone(&ZEROS))
            }
            Entry::Occupied(occupied) => {
                let block = occupied.into_mut();
                self.before.entry(index).or_insert_with(|| Some(Arc::clone(block)));
                block
            }
        };
        Arc::make_mut(block)
    }

    /// Drops the bytes past `len`, without touching the length itself.
    fn cut(&mut self, len: u64) {
        let end = len.div_ceil(BLOCK as u64);
        self.reserved = self.reserved.min(end);
        if self.blocks.range(end..).next().is_some() {
            for (index, block) in Arc::make_mut(&mut self.blocks).split_off(&end) {
                self.before.entry(index).or_insert(Some(block));
            }
        }
        let last = len / BLOCK as u64;
        let tail = offset_in_block(len)..;
        let is_clean = self
            .blocks
            .get(&last)
            .and_then(|block| block.get(tail.clone()))
            .is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0));
        if !is_clean && let Some(bytes) = self.change(last).get_mut(tail) {
            bytes.fill(0);
        }
    }

    fn put_len(&mut self, len: u64) {
        if len == self.len {
            return;
        }
        if self.lengths.len() == REMEMBERED_LENGTHS {
            self.lengths.pop_front();
        }
        self.lengths.push_back(self.len);
        self.len = len;
    }
}

fn check_len(len: u64) -> io::Result<()> {
    if len > MAX_LEN { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

fn offset_in_block(at: u64) -> usize {
    // Below `BLOCK`, so it fits.
    usize::try_from(at % BLOCK as u64).unwrap_or(0)
}

/// Returns the blocks that `len` bytes at a position lie in, and the range of bytes in each.
fn pieces(mut at: u64, mut len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    std::iter::from_fn(move || {
        if len == 0 {
            return None;
        }
        let start = offset_in_block(at);
        let count = len.min(BLOCK - start);
        let piece = (at / BLOCK as u64, start..start + count);
        at = at.saturating_add(count as u64);
        len -= count;
        Some(piece)
    })
}
