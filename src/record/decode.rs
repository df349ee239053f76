//! Decoding the records of a batch, borrowed or owned.

use super::batch::{BatchRef, RecordBatch};
use super::compress::Decompressor;
use super::compress::expanded::Expanded;
use super::header::BatchHeader;
use super::records::{Progress, Records};
use super::stored::{StoredRecord, share};
use crate::error::InvalidBatch;
use crate::types::{Codec, Offset};
use bytes::Bytes;
use std::fmt;
use std::iter::FusedIterator;

/// The default limit for the decompressed size of a batch: 128 MiB.
///
/// It is a limit, not a reservation: memory grows with the data, so 1 KiB of hostile data never
/// takes more than 44 MiB.
pub const DEFAULT_MAX_EXPANDED_BYTES: usize = 128 << 20;

/// Memory for decompressed records, and the state of the decoders. It is reused from batch to
/// batch.
///
/// A reader keeps one. Batches that are not compressed do not use it. Memory beyond 4 MiB, for an
/// unusually large batch, is released when smaller batches follow.
pub struct DecodeBuffer {
    decompressor: Decompressor,
    expanded: Expanded,
}

impl DecodeBuffer {
    /// Creates a buffer for batches of at most `limit_bytes` when decompressed. It allocates
    /// nothing yet.
    #[must_use]
    pub fn new(limit_bytes: usize) -> DecodeBuffer {
        DecodeBuffer { decompressor: Decompressor::default(), expanded: Expanded::new(limit_bytes) }
    }

    /// Returns the limit in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.expanded.limit()
    }

    /// Decompresses the records section of a batch.
    pub(crate) fn decompress<'b>(
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
    /// Creates a buffer with the limit [`DEFAULT_MAX_EXPANDED_BYTES`].
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

impl<'a> BatchRef<'a> {
    /// Returns an iterator over the records. Those of a compressed batch are first decompressed
    /// into `scratch`.
    ///
    /// The checksum is not verified here.
    ///
    /// # Errors
    ///
    /// - `RecordCount` if the header counts more records than the bytes can hold.
    /// - `CodecUnavailable` if the codec's cargo feature is off.
    /// - `Compression` if the records cannot be decompressed.
    /// - `DecompressedTooLarge` if they exceed the limit of `scratch`.
    #[inline]
    pub fn records<'b>(&self, scratch: &'b mut DecodeBuffer) -> Result<Records<'b>, InvalidBatch>
    where
        'a: 'b,
    {
        let section = match self.header().codec() {
            Codec::None => self.section(),
            // A batch that compaction left without records has no compressed section.
            _ if self.section().is_empty() => self.section(),
            codec => scratch.decompress(codec, self.section())?,
        };
        Records::new(self.header(), section)
    }
}

impl RecordBatch {
    /// Returns the records, decompressed if necessary, up to the limit
    /// [`DEFAULT_MAX_EXPANDED_BYTES`].
    ///
    /// # Errors
    ///
    /// As [`BatchRef::records`].
    pub fn records(&self) -> Result<DecodedBatch, InvalidBatch> {
        self.records_with(&mut DecodeBuffer::default())
    }

    /// Returns the records, decompressed in `scratch` if necessary: faster for many batches.
    ///
    /// # Errors
    ///
    /// As [`BatchRef::records`].
    pub fn records_with(&self, scratch: &mut DecodeBuffer) -> Result<DecodedBatch, InvalidBatch> {
        DecodedBatch::new(self.as_bytes(), self.as_batch_ref(), scratch)
    }
}

/// The decompressed records of a batch, owned. You can iterate over them any number of times.
///
/// The records of a batch that was not compressed share its bytes.
#[derive(Debug, Clone)]
pub struct DecodedBatch {
    header: BatchHeader,
    section: Bytes,
}

impl DecodedBatch {
    /// Shares the records of `batch`, which lies in `bytes`, or decompresses them in `scratch`.
    pub(crate) fn new(
        bytes: &Bytes,
        batch: BatchRef<'_>,
        scratch: &mut DecodeBuffer,
    ) -> Result<DecodedBatch, InvalidBatch> {
        let header = *batch.header();
        let section = if header.codec() == Codec::None || batch.section().is_empty() {
            share(bytes, batch.section())
        } else {
            // The scratch has spare capacity. The copy has none, because it may live long.
            Bytes::copy_from_slice(scratch.decompress(header.codec(), batch.section())?)
        };
        Records::new(&header, &section)?;
        Ok(DecodedBatch { header, section })
    }

    /// Returns the header of the batch.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Iterates over the records without copying them.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records::resume(&self.section, Progress::new(&self.header))
    }

    /// Iterates over the records as values that outlive the batch and share its memory.
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

/// An iterator over the records of a [`DecodedBatch`] as [`StoredRecord`]s. The first problem is
/// the last item.
#[derive(Debug, Clone)]
pub struct StoredRecords {
    section: Bytes,
    at: usize,
    progress: Progress,
}

impl StoredRecords {
    /// Skips to the first record with this offset or a later one, as [`Records::skip_to_offset`]
    /// does.
    ///
    /// # Errors
    ///
    /// As [`Records::skip_to_offset`].
    pub fn skip_to_offset(&mut self, offset: Offset) -> Result<(), InvalidBatch> {
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
