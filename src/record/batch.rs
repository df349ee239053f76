//! A whole batch, borrowed or owned.

use super::checksum::crc32c;
use super::header::{BatchHeader, truncated};
use super::layout;
use crate::error::InvalidBatch;
use bytes::Bytes;

/// A batch in borrowed bytes. Its header is valid and its bytes are complete.
///
/// Its checksum is not verified until you call [`verify_checksum`](Self::verify_checksum).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRef<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchRef<'a> {
    /// Parses the batch at the start of `bytes`. Bytes after it are ignored.
    ///
    /// To iterate over a buffer of batches, continue at [`size_bytes`](BatchHeader::size_bytes).
    ///
    /// # Errors
    ///
    /// As [`BatchHeader::parse`], and `Truncated` if the batch is incomplete.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<BatchRef<'a>, InvalidBatch> {
        let header = BatchHeader::parse(bytes)?;
        match bytes.get(..header.size_bytes()) {
            Some(bytes) => Ok(BatchRef { header, bytes }),
            None => Err(truncated(header.size_bytes(), bytes.len())),
        }
    }

    /// Takes a header that was parsed from the start of these bytes, which end with the batch.
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

    /// Returns the bytes of the batch.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the records section, as it is stored.
    #[inline]
    pub(crate) fn section(&self) -> &'a [u8] {
        self.bytes.get(layout::HEADER_SIZE..).unwrap_or_default()
    }

    /// Verifies the stored checksum.
    ///
    /// It does not cover base offset, length, leader epoch and magic.
    ///
    /// # Errors
    ///
    /// `Checksum` if the checksum of the bytes differs.
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
}

/// A batch that owns its bytes. Clones share them.
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
    /// Parses `bytes` as one batch, and verifies its checksum. The records are not decoded.
    ///
    /// # Errors
    ///
    /// As [`BatchRef::parse`], `TrailingBytes` if bytes follow the batch, and `Checksum` if the
    /// stored checksum is not that of the bytes.
    pub fn parse(bytes: Bytes) -> Result<RecordBatch, InvalidBatch> {
        let batch = RecordBatch::parse_unverified(bytes)?;
        batch.as_batch_ref().verify_checksum()?;
        Ok(batch)
    }

    /// Parses `bytes` as one batch whose checksum was verified earlier, or does not matter.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), without `Checksum`.
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

    /// Borrows the batch.
    #[inline]
    #[must_use]
    pub fn as_batch_ref(&self) -> BatchRef<'_> {
        BatchRef { header: self.header, bytes: &self.bytes }
    }

    /// Returns the bytes of the batch.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the bytes of the batch, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
