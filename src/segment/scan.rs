//! Reading a log file from a position on, batch by batch, through one buffer.
//!
//! [`BatchStream::advance`] is the one place that decides what a valid next batch is: recovery,
//! verification, compaction, rebuilding an index and reading all use it. It verifies the checksum
//! of every batch. Memory is bounded by the buffer and the largest batch, and a length field that
//! the file is too short for allocates nothing.

use crate::error::{CorruptionKind, InvalidBatch};
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// The bytes that are read at a time once a scan is under way.
pub(crate) const BUFFER_BYTES: usize = 1 << 20;
/// Reads begin on a multiple of this, so that the kernel copies whole pages.
const PAGE_BYTES: u64 = 4096;

/// The result of a step of a stream.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole, valid batch: [`BatchStream::batch`] returns it.
    Batch(BatchHeader),
    /// No byte is left.
    End,
    /// The bytes are not a batch, or not one that belongs here. The stream stays before them.
    Damaged(CorruptionKind),
}

#[derive(Debug)]
pub(crate) struct BatchStream {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// The buffer holds the bytes of the file from `buffer_at` on, up to `filled`.
    buffer_at: u64,
    filled: usize,
    /// The position in the file of the current batch or, without one, of the next step.
    position: u64,
    /// The offset that the next batch must not begin below: the end of the previous one.
    lowest: Offset,
    /// The bytes to read at a time.
    read_ahead: usize,
    /// The number of reads of the file.
    fills: u64,
    current: Option<BatchHeader>,
}

impl BatchStream {
    /// Creates a stream from a position where a batch begins, at `lowest` or above.
    pub(crate) fn new(file: Arc<dyn File>, position: u64, lowest: Offset) -> BatchStream {
        BatchStream {
            file,
            buffer: Vec::new(),
            buffer_at: position,
            filled: 0,
            position,
            lowest,
            read_ahead: BUFFER_BYTES,
            fills: 0,
            current: None,
        }
    }

    /// Reads this much at a time, into this memory.
    pub(crate) fn with_buffer(mut self, buffer: Vec<u8>, read_ahead: usize) -> BatchStream {
        self.buffer = buffer;
        self.read_ahead = read_ahead;
        self
    }

    /// Returns the memory, for another stream.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Moves to another file or position, keeping the memory.
    pub(crate) fn seek(&mut self, file: Arc<dyn File>, position: u64, lowest: Offset) {
        self.file = file;
        self.buffer_at = position;
        self.filled = 0;
        self.position = position;
        self.lowest = lowest;
        self.current = None;
    }

    /// Moves forward to a position in the same file where a batch begins, at `lowest` or above,
    /// without reading the bytes between.
    pub(crate) fn skip_to(&mut self, position: u64, lowest: Offset) {
        self.current = None;
        self.position = position;
        self.lowest = lowest;
    }

    /// Returns the position of the next step.
    pub(crate) fn next_position(&self) -> u64 {
        let current = self.current.map_or(0, |header| header.size_bytes() as u64);
        self.position.saturating_add(current)
    }

    /// Returns the offset that the next batch must not begin below.
    pub(crate) fn lowest(&self) -> Offset {
        self.lowest
    }

    /// Returns the position of the current batch or, without one, of the next step.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the batch that the last step found.
    pub(crate) fn batch(&self) -> Option<BatchRef<'_>> {
        let header = self.current?;
        let from = self.within()?;
        let to = from.checked_add(header.size_bytes())?;
        Some(BatchRef::from_parts(header, self.buffer.get(from..to)?))
    }

    fn within(&self) -> Option<usize> {
        usize::try_from(self.position.checked_sub(self.buffer_at)?).ok()
    }

    /// Returns the number of reads of the file. If it has not changed, all batches since came from
    /// memory.
    pub(crate) fn fills(&self) -> u64 {
        self.fills
    }

    /// Steps over the current batch without looking at the next.
    pub(crate) fn skip_current(&mut self) {
        if let Some(header) = self.current.take() {
            self.position = self.position.saturating_add(header.size_bytes() as u64);
        }
    }

    /// Steps to the next batch below `end`, a position that the file is known to reach.
    ///
    /// The offsets of a batch must lie above those of the previous batch, below those of the next
    /// batch, and below `limit`. The checksum does not cover the base offset, so nothing else
    /// would detect a flipped bit there.
    pub(crate) fn advance(&mut self, end: u64, limit: Offset) -> io::Result<Step> {
        self.skip_current();
        let available = end.saturating_sub(self.position);
        if available == 0 {
            return Ok(Step::End);
        }
        let wanted = available.min(BatchHeader::SIZE as u64) as usize;
        let header = match BatchHeader::parse(self.bytes(wanted, end)?) {
            Ok(header) => header,
            Err(reason) => return Ok(Step::Damaged(reason.into())),
        };
        let size = header.size_bytes();
        if size as u64 > available {
            let reason = InvalidBatch::Truncated { needed: size as u64, available };
            return Ok(Step::Damaged(reason.into()));
        }
        let batch = BatchRef::from_parts(header, self.bytes(size, end)?);
        if let Err(reason) = batch.verify_checksum() {
            return Ok(Step::Damaged(reason.into()));
        }
        if let Err(damage) = self.check_offsets(&header, end, limit)? {
            return Ok(Step::Damaged(damage));
        }
        self.lowest = header.next_offset();
        self.current = Some(header);
        Ok(Step::Batch(header))
    }

    fn check_offsets(
        &mut self,
        header: &BatchHeader,
        end: u64,
        limit: Offset,
    ) -> io::Result<Result<(), CorruptionKind>> {
        if header.base_offset == self.lowest && header.last_offset() < limit {
            return Ok(Ok(()));
        }
        if let Err(damage) = check_offsets(header, self.lowest, limit) {
            return Ok(Err(damage));
        }
        // Offsets are missing before this batch. Compaction leaves such gaps, and a flipped bit
        // looks the same: the next batch decides. Reserved room reads as zeros and decides
        // nothing.
        let size = header.size_bytes();
        let with_next_base = size.saturating_add(8);
        if self.position.saturating_add(with_next_base as u64) > end {
            return Ok(Ok(()));
        }
        let base =
            self.bytes(with_next_base, end)?.get(size..).and_then(|base| base.try_into().ok());
        let base = base.map_or(Offset::MAX, |base| i64::from_be_bytes(base).cast_unsigned());
        Ok(if base != 0 && base <= header.last_offset() {
            Err(CorruptionKind::OffsetsOverlapNext { limit: base, found: header.last_offset() })
        } else {
            Ok(())
        })
    }

    /// Returns the next `wanted` bytes, which lie below `end`, reading more as needed.
    fn bytes(&mut self, wanted: usize, end: u64) -> io::Result<&[u8]> {
        let mut from = self.within().unwrap_or(self.filled);
        if self.filled.saturating_sub(from) < wanted {
            self.fill(wanted, end)?;
            from = self.within().unwrap_or(self.filled);
        }
        let bytes = self.buffer.get(from..from.saturating_add(wanted));
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Moves the unread bytes to the front of the buffer, and reads until it holds `wanted` bytes,
    /// and as many more as fit.
    fn fill(&mut self, wanted: usize, end: u64) -> io::Result<()> {
        self.fills = self.fills.saturating_add(1);
        let from = self.within().unwrap_or(self.filled).min(self.filled);
        self.buffer.copy_within(from..self.filled, 0);
        self.filled = self.filled.saturating_sub(from);
        self.buffer_at = self.position;
        let remaining = usize::try_from(end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let target = remaining.min(wanted.max(self.read_ahead));
        if self.buffer.len() < target {
            self.buffer.resize(target, 0);
        }
        while self.filled < wanted {
            let at = self.buffer_at.saturating_add(self.filled as u64);
            let mut upto = target;
            let past_page = (self.buffer_at.saturating_add(target as u64) % PAGE_BYTES) as usize;
            if target < remaining
                && self.read_ahead == BUFFER_BYTES
                && target.saturating_sub(past_page) >= wanted
            {
                upto = target.saturating_sub(past_page);
            }
            let free = self.buffer.get_mut(self.filled..upto).unwrap_or_default();
            match self.file.read_at(free, at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.filled = self.filled.saturating_add(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Checks that the offsets of a batch are not below `lowest`, and that all are below `limit`.
pub(crate) fn check_offsets(
    header: &BatchHeader,
    lowest: Offset,
    limit: Offset,
) -> Result<(), CorruptionKind> {
    if header.base_offset < lowest {
        return Err(CorruptionKind::OffsetsNotIncreasing {
            expected: lowest,
            found: header.base_offset,
        });
    }
    if header.last_offset() >= limit {
        return Err(CorruptionKind::OffsetsOverlapNext { limit, found: header.last_offset() });
    }
    Ok(())
}
