//! A whole batch: borrowed, and owned.

use super::checksum::crc32c;
use super::decode::{DecodeBuffer, DecodedBatch};
use super::header::{BatchHeader, truncated};
use super::iter::Records;
use super::layout;
use crate::error::InvalidBatch;
use crate::types::Codec;
use bytes::Bytes;

/// A batch in borrowed bytes: its header has been checked, and its bytes are all there.
///
/// Its checksum is another matter: [`verify_checksum`](Self::verify_checksum).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRef<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchRef<'a> {
    /// Takes the batch at the start of `bytes`; whatever follows it is ignored.
    ///
    /// To go through a buffer of batches, go on at [`size_bytes`](BatchHeader::size_bytes).
    ///
    /// # Errors
    ///
    /// As [`BatchHeader::parse`], and `Truncated` if the batch is not all there.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<BatchRef<'a>, InvalidBatch> {
        let header = BatchHeader::parse(bytes)?;
        match bytes.get(..header.size_bytes()) {
            Some(bytes) => Ok(BatchRef { header, bytes }),
            None => Err(truncated(header.size_bytes(), bytes.len())),
        }
    }

    /// A batch whose header was parsed from the start of these bytes, which end where it does.
    #[inline]
    pub(crate) fn from_parts(header: BatchHeader, bytes: &'a [u8]) -> BatchRef<'a> {
        BatchRef { header, bytes }
    }

    /// Returns the header.
    #[inline]
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Returns the batch, no more and no less.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, as they are stored.
    #[inline]
    pub(crate) fn section(&self) -> &'a [u8] {
        self.bytes.get(layout::HEADER_SIZE..).unwrap_or_default()
    }

    /// Compares the stored checksum with that of the bytes.
    ///
    /// It does not cover base offset, length, leader epoch and magic.
    ///
    /// # Errors
    ///
    /// `Checksum` if they differ.
    #[inline]
    pub fn verify_checksum(&self) -> Result<(), InvalidBatch> {
        let covered = self.bytes.get(layout::ATTRIBUTES_AT..).unwrap_or_default();
        let computed = crc32c(covered);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(InvalidBatch::Checksum { stored: self.header.crc, computed })
        }
    }

    /// Goes through the records. Those of a compressed batch are first expanded into `scratch`.
    ///
    /// The checksum is not verified here.
    ///
    /// # Errors
    ///
    /// - `RecordCount` if the header counts more records than the bytes can hold.
    /// - `CodecUnavailable` if the codec's cargo feature is off.
    /// - `Compression` if the records cannot be decompressed.
    /// - `DecompressedTooLarge` if they expand past the limit of `scratch`.
    #[inline]
    pub fn records<'b>(&self, scratch: &'b mut DecodeBuffer) -> Result<Records<'b>, InvalidBatch>
    where
        'a: 'b,
    {
        let section = match self.header.codec() {
            Codec::None => self.section(),
            // Compaction leaves batches without records and without a compressed section.
            _ if self.section().is_empty() => self.section(),
            codec => scratch.expand(codec, self.section())?,
        };
        Records::new(&self.header, section)
    }
}

/// A checked batch that owns its bytes; clones share them.
///
/// ```
/// use annals::record::{BatchBuilder, RecordBatch};
/// use annals::Timestamp;
///
/// let mut builder = BatchBuilder::new();
/// builder.push(Timestamp::from_millis(1), None, Some(b"hello"))?;
/// let bytes = builder.build()?.into_bytes();
///
/// let batch = RecordBatch::parse(bytes)?;
/// for record in batch.records()? {
///     assert_eq!(record?.value.as_deref(), Some(&b"hello"[..]));
/// }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes `bytes` as one batch, and verifies its checksum. The records are not looked at.
    ///
    /// # Errors
    ///
    /// As [`BatchRef::parse`], `TrailingBytes` if anything follows the batch, and
    /// `Checksum` if the stored checksum is not that of the bytes.
    pub fn parse(bytes: Bytes) -> Result<RecordBatch, InvalidBatch> {
        let batch = RecordBatch::parse_unverified(bytes)?;
        batch.as_batch_ref().verify_checksum()?;
        Ok(batch)
    }

    /// Takes `bytes` as one batch whose checksum has been verified, or does not matter.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse) but for `Checksum`.
    pub fn parse_unverified(bytes: Bytes) -> Result<RecordBatch, InvalidBatch> {
        let batch = BatchRef::parse(&bytes)?;
        let over = bytes.len().saturating_sub(batch.as_bytes().len());
        if over > 0 {
            return Err(InvalidBatch::TrailingBytes { bytes: over as u64 });
        }
        let header = *batch.header();
        Ok(RecordBatch { header, bytes })
    }

    /// Returns the header.
    #[inline]
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Returns the batch, borrowed.
    #[inline]
    #[must_use]
    pub fn as_batch_ref(&self) -> BatchRef<'_> {
        BatchRef { header: self.header, bytes: &self.bytes }
    }

    /// Returns the bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns the records, expanded if they are compressed, to the limit
    /// [`DEFAULT_MAX_EXPANDED_BYTES`](super::DEFAULT_MAX_EXPANDED_BYTES).
    ///
    /// # Errors
    ///
    /// As [`BatchRef::records`].
    pub fn records(&self) -> Result<DecodedBatch, InvalidBatch> {
        self.records_with(&mut DecodeBuffer::default())
    }

    /// Returns the records, expanded by way of `scratch` if they are compressed: faster for many
    /// batches.
    ///
    /// # Errors
    ///
    /// As [`BatchRef::records`].
    pub fn records_with(&self, scratch: &mut DecodeBuffer) -> Result<DecodedBatch, InvalidBatch> {
        DecodedBatch::new(&self.bytes, self.as_batch_ref(), scratch)
    }
}
