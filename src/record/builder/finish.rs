//! Finishing a batch: compression, the header, the checksum.

use super::parts::too_large;
use super::{BatchBuilder, Settings, rule};
use crate::error::{Error, InvalidBatch};
use crate::record::batch::RecordBatch;
use crate::record::compress::Compression;
use crate::record::header::BatchHeader;
use crate::record::layout::{self, HEADER_SIZE};
use crate::record::stamp::stamp_checksum;
use crate::types::{Codec, Timestamp, TimestampType};
use bytes::Bytes;

impl BatchBuilder {
    /// Compresses the records if compression is set, writes the header, and returns the batch.
    ///
    /// The bytes are mutable, so that the batch can be stamped. You can call this again, also
    /// after pushing more records.
    ///
    /// # Errors
    ///
    /// - [`Error::Unsupported`] if the codec's cargo feature is off.
    /// - [`Error::InvalidConfig`] if the codec has no such level.
    /// - [`Error::InvalidBatch`] if no reader would accept the batch: with `Offsets` if its
    ///   offsets are out of range; with `RuleViolation` if it has no records and no offsets were
    ///   set for it, or the delete horizon was set after its first record; with `Compression` if
    ///   the compressor fails.
    /// - [`Error::InvalidRecord`] with `TooLarge` if the compressed batch exceeds 2 GiB.
    pub fn finish(&mut self) -> Result<&mut [u8], Error> {
        self.finish_with_header().map(|(batch, _)| batch)
    }

    /// Finishes the batch, and also returns the header that was written, without its checksum.
    #[inline(always)]
    pub(crate) fn finish_with_header(&mut self) -> Result<(&mut [u8], BatchHeader), Error> {
        let compression = self.compression_used();
        let header = self.header(compression.codec())?;
        let batch = if compression == Compression::None {
            &mut self.plain
        } else {
            self.packed.clear();
            self.packed.resize(HEADER_SIZE, 0);
            let records = self.plain.get(HEADER_SIZE..).unwrap_or_default();
            self.compressor.compress(compression, records, &mut self.packed)?;
            &mut self.packed
        };
        let length = batch.len().saturating_sub(layout::LENGTH_PREFIX_SIZE);
        let batch_length = i32::try_from(length).map_err(|_| too_large(self.batch.count))?;
        let header = BatchHeader { batch_length, ..header };
        header.write_to(batch)?;
        stamp_checksum(batch)?;
        Ok((batch, header))
    }

    /// Finishes the batch, returns it with its bytes, and begins the next one as
    /// [`clear`](Self::clear) does.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish). The records are kept then.
    pub fn build(&mut self) -> Result<RecordBatch, Error> {
        let bytes = self.build_bytes()?;
        Ok(RecordBatch::parse_unverified(Bytes::from(bytes))?)
    }

    /// Finishes the batch, returns its bytes alone, which can still be stamped, and begins the
    /// next one.
    ///
    /// # Errors
    ///
    /// As [`finish`](Self::finish). The records are kept then.
    pub fn build_bytes(&mut self) -> Result<Vec<u8>, Error> {
        self.finish()?;
        let compressed = self.compression_used() != Compression::None;
        let batch = if compressed { &mut self.packed } else { &mut self.plain };
        let taken = std::mem::take(batch);
        self.clear();
        Ok(taken)
    }

    fn compression_used(&self) -> Compression {
        if self.settings.control || self.is_empty() {
            Compression::None
        } else {
            self.settings.compression
        }
    }

    /// Returns the header, without length and checksum.
    #[inline(always)]
    pub(super) fn header(&self, codec: Codec) -> Result<BatchHeader, Error> {
        let Settings { timestamp_type, transactional, control, .. } = self.settings;
        let batch = &self.batch;
        let base_timestamp = match batch.delete_horizon {
            Some(horizon) if batch.count > 0 && horizon.as_millis() != batch.base_timestamp => {
                return Err(rule("the delete horizon was set after the first record"));
            }
            Some(horizon) => horizon,
            None => Timestamp::from_millis(batch.base_timestamp),
        };
        let Some(last_offset_delta) = self.last_offset_delta() else {
            return Err(rule("a batch needs a record, or offsets to cover without one"));
        };
        // The flags share no bits.
        let flag = |set: bool, flag: i16| if set { flag } else { 0 };
        let attributes = i16::from(codec as u8)
            | flag(timestamp_type == TimestampType::LogAppendTime, layout::LOG_APPEND_TIME)
            | flag(transactional, layout::TRANSACTIONAL)
            | flag(control, layout::CONTROL)
            | flag(batch.delete_horizon.is_some(), layout::DELETE_HORIZON);
        let base_offset = self.settings.base_offset;
        let last = base_offset.checked_add_signed(i64::from(last_offset_delta));
        if last_offset_delta < 0
            || i64::from(last_offset_delta) < batch.next_delta.saturating_sub(1)
            || last.is_none_or(|last| last > crate::types::MAX_OFFSET)
        {
            let base_offset = i64::try_from(base_offset).unwrap_or(i64::MAX);
            let impossible = InvalidBatch::Offsets { base_offset, last_offset_delta };
            return Err(Error::InvalidBatch(impossible));
        }
        Ok(BatchHeader {
            base_offset,
            batch_length: 0,
            leader_epoch: self.settings.leader_epoch,
            crc: 0,
            attributes,
            last_offset_delta,
            base_timestamp,
            max_timestamp: self.max_timestamp(),
            producer_id: self.settings.producer_id,
            producer_epoch: self.settings.producer_epoch,
            base_sequence: self.settings.base_sequence,
            record_count: batch.count,
        })
    }

    fn last_offset_delta(&self) -> Option<i32> {
        let of_records = i32::try_from(self.batch.next_delta.checked_sub(1)?).ok()?;
        self.batch.last_offset_delta.or_else(|| (of_records >= 0).then_some(of_records))
    }
}
