//! Reading a log file from some position on, batch by batch, through one buffer.
//!
//! Recovery, verification, rebuilding an index and reading all see a file this
//! way: every batch checked against its checksum, memory bounded by the buffer
//! and the largest batch, nothing allocated on the word of a length field that
//! the file is too short for.

use crate::error::{CorruptionKind, InvalidBatch};
use crate::fs::File;
use crate::record::{BatchHeader, BatchRef};
use crate::types::Offset;
use std::io;
use std::sync::Arc;

/// How much is read at a time once a scan is under way.
pub(crate) const BUFFER_BYTES: usize = 1 << 20;
/// Reads begin on a multiple of this, so that the kernel copies whole pages.
const PAGE_BYTES: u64 = 4096;

/// The bytes at the next position of a stream.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole, valid batch: [`BatchStream::batch`] is it.
    Batch(BatchHeader),
    /// The end: no byte is left.
    End,
    /// Bytes that are not a batch, or not one that belongs here. The stream stays before them.
    Damaged(CorruptionKind),
}

#[derive(Debug)]
pub(crate) struct BatchStream {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// The buffer holds the bytes of the file from `buffer_at` on, up to `filled`.
    buffer_at: u64,
    filled: usize,
    /// The position, in the file, of what the next step looks at.
    position: u64,
    /// The offset that the batch there must not begin below: where the one before it ended.
    lowest: Offset,
    /// How much is read at a time.
    read_ahead: usize,
    /// Counts how often the file was read.
    fills: u64,
    current: Option<BatchHeader>,
}

impl BatchStream {
    /// A stream from a position where a batch begins, at `lowest` or above.
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

    /// Gives the memory back.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Goes to another place, keeping the memory.
    pub(crate) fn seek(&mut self, file: Arc<dyn File>, position: u64, lowest: Offset) {
        self.file = file;
        self.buffer_at = position;
        self.filled = 0;
        self.position = position;
        self.lowest = lowest;
        self.current = None;
    }

    /// Goes forward to a place in the same file where a batch begins, at `lowest` or above,
    /// without reading what lies between.
    pub(crate) fn skip_to(&mut self, position: u64, lowest: Offset) {
        self.current = None;
        self.position = position;
        self.lowest = lowest;
    }

    /// Where the next step looks.
    pub(crate) fn next_position(&self) -> u64 {
        let current = self.current.map_or(0, |header| header.size_bytes() as u64);
        self.position.saturating_add(current)
    }

    /// The offset that the next batch must not begin below.
    pub(crate) fn lowest(&self) -> Offset {
        self.lowest
    }

    /// Where the current batch begins, or, when there is none, where the next step looks.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The batch the last step found.
    pub(crate) fn batch(&self) -> Option<BatchRef<'_>> {
        let header = self.current?;
        let from = self.within()?;
        let to = from.checked_add(header.size_bytes())?;
        Some(BatchRef::from_parts(header, self.buffer.get(from..to)?))
    }

    fn within(&self) -> Option<usize> {
        usize::try_from(self.position.checked_sub(self.buffer_at)?).ok()
    }

    /// How often the file was read: if the number is the same as before, all since came from
    /// memory.
    pub(crate) fn fills(&self) -> u64 {
        self.fills
    }

    /// Steps over the current batch without looking at what follows.
    pub(crate) fn skip_current(&mut self) {
        if let Some(header) = self.current.take() {
            self.position = self.position.saturating_add(header.size_bytes() as u64);
        }
    }

    /// Steps to the next batch below `end`, a position the file is known to reach.
    ///
    /// Its offsets must lie after those of the batch before it, and below `limit` and those of
    /// the batch behind it. The base offset stands outside of the checksum, so nothing else
    /// would notice a flipped bit there.
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
        // Offsets are left out before this batch. That is what compaction leaves, and what a
        // flipped bit looks like: the batch behind it tells. Reserved room, which reads as zeros,
        // says nothing.
        let size = header.size_bytes();
        let behind = size.saturating_add(8);
        if self.position.saturating_add(behind as u64) > end {
            return Ok(Ok(()));
        }
        let base = self.bytes(behind, end)?.get(size..).and_then(|base| base.try_into().ok());
        let base = base.map_or(Offset::MAX, |base| i64::from_be_bytes(base).cast_unsigned());
        Ok(if base != 0 && base <= header.last_offset() {
            Err(CorruptionKind::OffsetsOverlapNext { limit: base, found: header.last_offset() })
        } else {
            Ok(())
        })
    }

    /// The next `wanted` bytes, which lie below `end`, reading on as needed.
    fn bytes(&mut self, wanted: usize, end: u64) -> io::Result<&[u8]> {
        let mut from = self.within().unwrap_or(self.filled);
        if self.filled.saturating_sub(from) < wanted {
            self.fill(wanted, end)?;
            from = self.within().unwrap_or(self.filled);
        }
        let bytes = self.buffer.get(from..from.saturating_add(wanted));
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Moves what is left to the front and reads on until `wanted` bytes are there, and as many
    /// more as fit.
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

/// Reads the header of the batch at a position of a file known to reach `end`.
pub(crate) fn read_header(
    file: &dyn File,
    position: u64,
    end: u64,
) -> io::Result<Result<BatchHeader, InvalidBatch>> {
    let available = end.saturating_sub(position);
    let mut bytes = [0; BatchHeader::SIZE];
    let wanted = available.min(BatchHeader::SIZE as u64) as usize;
    let bytes = bytes.get_mut(..wanted).unwrap_or_default();
    file.read_exact_at(bytes, position)?;
    Ok(BatchHeader::parse(bytes).and_then(|header| {
        let needed = header.size_bytes() as u64;
        if needed > available {
            return Err(InvalidBatch::Truncated { needed, available });
        }
        Ok(header)
    }))
}

/// A batch must lie after the one before it and below what comes behind it.
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
