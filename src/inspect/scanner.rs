//! Scanning the batches of a log file, sound or damaged.

use super::base_offset;
use super::window::Window;
use crate::error::{Error, InvalidBatch, Result};
use crate::fs::Fs;
use crate::record::{BatchHeader, Checksum, RecordBatch, layout};
use crate::segment::first_bytes::is_zero;
use crate::segment::resync::next_batch_after;
use crate::types::Offset;
use std::io;
use std::path::Path;

/// The bytes that are checksummed at a time.
const STEP_BYTES: usize = 64 << 10;

/// An item of a scan: a batch, or bytes that are not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanItem {
    /// A batch with a readable header.
    Batch(ScannedBatch),
    /// Bytes of the file that are not a batch.
    Damaged(DamagedRange),
}

/// A batch with a readable header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScannedBatch {
    /// Its position in the file.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// Whether its checksum matches its bytes. Always `Ok` with [`BatchScanner::headers_only`].
    pub checksum: Result<(), InvalidBatch>,
}

/// Bytes of a log file that are not a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DamagedRange {
    /// Their position in the file.
    pub position: u64,
    /// Their number, up to the next possible start of a batch or to the end of the file.
    pub bytes: u64,
    /// The reason why they are not a batch.
    pub reason: InvalidBatch,
    /// Whether the scan continues after them: a batch follows, or their length is plausible.
    pub resyncs: bool,
}

/// A scan of the batches of a log file, in the order of their positions.
///
/// A damaged batch does not end the scan. It continues where the stored length leads, if that is
/// plausible, and otherwise at the next sound batch with higher offsets, if there is one. The
/// [module](crate::inspect) has an example.
#[derive(Debug)]
pub struct BatchScanner {
    window: Window,
    position: u64,
    /// The lowest possible offset of the following batches.
    lowest: Offset,
    headers_only: bool,
    done: bool,
}

impl BatchScanner {
    /// Starts a scan of a file, up to its current end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(fs: &dyn Fs, path: &Path) -> Result<BatchScanner> {
        let window = Window::open(fs, path)?;
        let lowest = base_offset(path);
        Ok(BatchScanner { window, position: 0, lowest, headers_only: false, done: false })
    }

    /// Reads only the headers, and verifies no checksums.
    #[must_use]
    pub fn headers_only(mut self) -> BatchScanner {
        self.headers_only = true;
        self
    }

    /// Begins at a position instead of the start of the file.
    #[must_use]
    pub fn starting_at(mut self, position: u64) -> BatchScanner {
        self.position = position;
        self
    }

    /// Returns the length that the file had when it was opened.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.window.len()
    }

    /// Reads a scanned batch of at most `limit` bytes. Its checksum is not verified.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::BatchTooLarge`] over the limit; [`Error::InvalidBatch`] if the file
    /// has changed since.
    pub fn read(&self, found: &ScannedBatch, limit: u64) -> Result<RecordBatch> {
        let bytes = found.header.size_bytes() as u64;
        if bytes > limit {
            return Err(Error::BatchTooLarge { log: None, bytes, limit, option: "limit" });
        }
        let bytes = self.window.copy(found.position, bytes)?;
        Ok(RecordBatch::parse_unverified(bytes.into())?)
    }

    fn step(&mut self) -> Result<Option<ScanItem>> {
        let position = self.position;
        let available = self.window.len().saturating_sub(position);
        if available == 0 {
            return Ok(None);
        }
        let bytes = if self.headers_only {
            self.window.only(position, BatchHeader::SIZE)?
        } else {
            self.window.forward(position, BatchHeader::SIZE)?
        };
        let parsed = BatchHeader::parse(bytes);
        let length = plausible_length(bytes).filter(|length| *length <= available);
        let damaged = |bytes: Option<u64>, reason| {
            ScanItem::Damaged(DamagedRange {
                position,
                bytes: bytes.unwrap_or(available),
                reason,
                resyncs: bytes.is_some(),
            })
        };
        let header = match parsed {
            Ok(header) => header,
            Err(reason) => {
                let bytes = self.distance_to_next(length)?;
                self.pass(bytes);
                return Ok(Some(damaged(bytes, reason)));
            }
        };
        let needed = header.size_bytes() as u64;
        if needed > available {
            let bytes = self.distance_to_next(None)?;
            self.pass(bytes);
            return Ok(Some(damaged(bytes, InvalidBatch::Truncated { needed, available })));
        }
        let checksum = if self.headers_only { Ok(()) } else { self.checksum(&header)? };
        if checksum.is_ok() {
            self.lowest = self.lowest.max(header.next_offset());
            self.pass(Some(needed));
        } else {
            let bytes = self.distance_to_next(Some(needed))?;
            self.pass(bytes);
        }
        Ok(Some(ScanItem::Batch(ScannedBatch { position, header, checksum })))
    }

    /// Returns the distance from the damaged batch at the position to the next batch.
    ///
    /// The length of the damaged batch is believed if it leads to the end of the file or to bytes
    /// that look like a batch. So damage in several consecutive batches is reported for each of
    /// them.
    fn distance_to_next(&self, length: Option<u64>) -> Result<Option<u64>> {
        let (file, end) = (self.window.file(), self.window.len());
        let look = || -> io::Result<Option<u64>> {
            if let Some(length) = length {
                let next = self.position.saturating_add(length);
                let left = end.saturating_sub(next);
                let mut header = [0; BatchHeader::SIZE];
                if left >= BatchHeader::SIZE as u64 {
                    file.read_exact_at(&mut header, next)?;
                }
                if left == 0 || plausible_length(&header).is_some_and(|length| length <= left) {
                    return Ok(Some(length));
                }
            }
            if is_zero(file, self.position, end)? {
                return Ok(None);
            }
            let next = next_batch_after(file, self.position, end, self.lowest, Offset::MAX)?;
            Ok(next.and_then(|(position, _)| position.checked_sub(self.position)))
        };
        look().map_err(|error| Error::io("read", self.window.path(), error))
    }

    fn pass(&mut self, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => self.position = self.position.saturating_add(bytes),
            None => self.done = true,
        }
    }

    /// Verifies the checksum of the batch at the position, in steps, because a batch can be larger
    /// than the buffer.
    fn checksum(&mut self, header: &BatchHeader) -> Result<Result<(), InvalidBatch>> {
        let covered_from = layout::ATTRIBUTES_AT as u64;
        let mut checksum = Checksum::castagnoli();
        let mut at = self.position.saturating_add(covered_from);
        let mut left = (header.size_bytes() as u64).saturating_sub(covered_from);
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
            let bytes = self.window.forward(at, wanted)?;
            if bytes.is_empty() {
                break;
            }
            checksum.update(bytes);
            at = at.saturating_add(bytes.len() as u64);
            left = left.saturating_sub(bytes.len() as u64);
        }
        let (stored, computed) = (header.crc, checksum.value());
        Ok(if computed == stored {
            Ok(())
        } else {
            Err(InvalidBatch::Checksum { stored, computed })
        })
    }
}

/// Returns the size of a possibly damaged batch of format v2.
fn plausible_length(bytes: &[u8]) -> Option<u64> {
    let field = bytes.get(layout::BATCH_LENGTH_AT..layout::LEADER_EPOCH_AT)?;
    let length = i32::from_be_bytes(field.try_into().ok()?);
    let length = u64::try_from(length).ok()?.checked_add(layout::LENGTH_PREFIX_SIZE as u64)?;
    let is_v2 = bytes.get(layout::MAGIC_AT) == Some(&layout::MAGIC_V2.cast_unsigned());
    (is_v2 && length >= BatchHeader::SIZE as u64).then_some(length)
}

impl Iterator for BatchScanner {
    type Item = Result<ScanItem>;

    fn next(&mut self) -> Option<Result<ScanItem>> {
        if self.done {
            return None;
        }
        let step = self.step().transpose();
        if matches!(step, None | Some(Err(_))) {
            self.done = true;
        }
        step
    }
}

impl std::iter::FusedIterator for BatchScanner {}
