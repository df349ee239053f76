//! Expanding compressed records, for borrowing and for keeping.

use super::batch::BatchRef;
use super::compress::Decompressor;
use super::compress::expanded::Expanded;
use super::header::BatchHeader;
use super::iter::{Progress, Records};
use super::stored::StoredRecord;
use crate::error::InvalidBatch;
use crate::types::Codec;
use bytes::Bytes;
use std::fmt;
use std::iter::FusedIterator;

/// The default limit for the expanded size of a batch: 128 MiB.
///
/// It is a limit, not a reservation: memory is taken as the data turns out to
/// need it, so that 1 KiB of hostile data never takes more than 44 MiB.
pub const DEFAULT_MAX_EXPANDED_BYTES: usize = 128 << 20;

/// Room for expanded records, and the state of the decoders, used for one batch after the other.
///
/// A reader keeps one; batches that are not compressed do not touch it. What an unusually
/// large batch has taken, beyond 4 MiB, is given back when smaller ones follow.
pub struct DecodeBuffer {
    decompressor: Decompressor,
    expanded: Expanded,
}

impl DecodeBuffer {
    /// Creates a buffer that lets no batch expand to more than `limit_bytes`. It allocates nothing
    /// yet.
    #[must_use]
    pub fn new(limit_bytes: usize) -> DecodeBuffer {
        DecodeBuffer { decompressor: Decompressor::default(), expanded: Expanded::new(limit_bytes) }
    }

    /// Returns its limit in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.expanded.limit()
    }

    /// Expands `section`, which belongs to a batch with this header.
    pub(crate) fn expand<'b>(
        &'b mut self,
        codec: Codec,
        section: &[u8],
    ) -> Result<&'b [u8], InvalidBatch> {
        self.expanded.clear();
        self.decompressor.decompress(codec, section, &mut self.expanded)?;
        Ok(self.expanded.filled())
    }
}

impl Default for DecodeBuffer {
    /// A buffer with the limit [`DEFAULT_MAX_EXPANDED_BYTES`].
    fn default() -> DecodeBuffer {
        DecodeBuffer::new(DEFAULT_MAX_EXPANDED_BYTES)
    }
}

impl fmt::Debug for DecodeBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeBuffer")
            .field("limit_bytes", &self.limit_bytes())
            .finish_non_exhaustive()
    }
}

/// The expanded records of a batch, owned: go through them as often as needed.
///
/// Those of a batch that was not compressed share its bytes.
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    header: BatchHeader,
    section: Bytes,
}

impl DecodedBatch {
    /// Shares the records of `batch`, which lies in `bytes`, or expands them by way of `scratch`.
    pub(crate) fn new(
        bytes: &Bytes,
        batch: BatchRef<'_>,
        scratch: &mut DecodeBuffer,
    ) -> Result<DecodedBatch, InvalidBatch> {
        let header = *batch.header();
        let section = if header.codec() == Codec::None || batch.section().is_empty() {
            share(bytes, batch.section())
        } else {
            // The scratch has room to spare; the copy has none, as it may live long.
            Bytes::copy_from_slice(scratch.expand(header.codec(), batch.section())?)
        };
        Records::new(&header, &section)?;
        Ok(DecodedBatch { header, section })
    }

    /// Returns the header of the batch.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Goes through the records without copying them.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records::resume(&self.section, Progress::new(&self.header))
    }

    /// Goes through the records as values that outlive the batch and share its memory.
    #[must_use]
    pub fn stored(&self) -> StoredRecords {
        self.clone().into_iter()
    }
}

impl<'a> IntoIterator for &'a DecodedBatch {
    type Item = <Records<'a> as Iterator>::Item;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

impl IntoIterator for DecodedBatch {
    type Item = Result<StoredRecord, InvalidBatch>;
    type IntoIter = StoredRecords;

    fn into_iter(self) -> StoredRecords {
        StoredRecords { progress: Progress::new(&self.header), section: self.section, at: 0 }
    }
}

/// Goes through the records of a [`DecodedBatch`] as [`StoredRecord`]s. The first problem is the
/// last item.
#[derive(Debug, Clone)]
pub struct StoredRecords {
    section: Bytes,
    at: usize,
    progress: Progress,
}

impl StoredRecords {
    /// Goes on to the first record with this offset or a later one, as [`Records::skip_to_offset`]
    /// does.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn skip_to_offset(&mut self, offset: crate::types::Offset) -> Result<(), InvalidBatch> {
        let mut records =
            Records::resume(self.section.get(self.at..).unwrap_or_default(), self.progress);
        let skipped = records.skip_to_offset(offset);
        let (rest, progress) = records.state();
        self.at = self.section.len().saturating_sub(rest.len());
        self.progress = progress;
        skipped
    }
}

impl Iterator for StoredRecords {
    type Item = Result<StoredRecord, InvalidBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.section.get(self.at..).unwrap_or_default();
        let mut records = Records::resume(rest, self.progress);
        let record = records.next();
        let (rest, progress) = records.state();
        let at = self.section.len().saturating_sub(rest.len());
        let record = record?.map(|record| StoredRecord::from_record_ref(&self.section, record));
        self.at = at;
        self.progress = progress;
        Some(record)
    }
}

impl FusedIterator for StoredRecords {}

/// The part of `bytes` that `part` is, sharing its memory; a copy if it lies elsewhere.
pub(crate) fn share(bytes: &Bytes, part: &[u8]) -> Bytes {
    let start = (part.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize);
    let range = start.and_then(|start| Some(start..start.checked_add(part.len())?));
    match range {
        Some(range) if range.end <= bytes.len() => bytes.slice(range),
        _ => Bytes::copy_from_slice(part),
    }
}
