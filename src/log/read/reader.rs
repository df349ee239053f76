//! Reading a log from an offset to its end.

use crate::error::{InvalidBatch, Result};
use crate::log::inner::LogInner;
use crate::log::read::cursor::Cursor;
use crate::record::{
    BatchHeader, BatchRef, DecodeBuffer, RecordBatch, Records, StoredRecord, StoredRecords,
};
use crate::types::{IsolationLevel, Offset, StartAt};
use bytes::Bytes;
use std::sync::Arc;

/// Reads batches and records in the order of their offsets, and stops at the end of the log, or of
/// what its [isolation level](crate::IsolationLevel) shows.
///
/// It takes no lock while it reads, and never waits for an append, a roll or an fsync, with two
/// small [exceptions](crate::docs::concurrency#what-each-call-of-a-log-waits-for). At the end of
/// the log it returns `None`; call it again after more was appended. It verifies every batch: its
/// checksum, and that its offsets lie between those of its neighbours. A damaged batch is an
/// error, and each further call returns the error again until you [`seek`](Reader::seek) past the
/// batch: nothing is skipped silently.
///
/// If the log is truncated or compacted meanwhile, the reader discards what it has read ahead, and
/// continues at its offset with the present content of the log.
///
/// There are two ways to read:
///
/// - [`records`](Reader::records) returns owned [`StoredRecord`]s. The records of one batch share
///   its memory.
/// - [`next_batch`](Reader::next_batch) lends each batch. Its records borrow from the reader's
///   buffer, without allocation.
///
/// ```
/// use annals::{Log, LogConfig, StartAt, fs::MemFs};
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// log.append_all(["a", "b", "c"].map(Into::into))?;
///
/// let mut reader = log.reader(1)?;
/// while let Some(mut batch) = reader.next_batch()? {
///     for record in batch.records()? {
///         let record = record?;
///         println!("{}: {:?}", record.offset, record.value); // 1 and 2
///     }
/// }
/// assert_eq!(reader.offset(), 3);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    cursor: Cursor,
    scratch: DecodeBuffer,
    /// The records of a batch that are returned one by one.
    pending: Option<StoredRecords>,
    pending_end: Offset,
    /// The problem with the next record or with its whole batch, and the revision of the log that
    /// has it. The record is neither skipped nor looked up again, whatever its header or an index
    /// says of its offsets.
    failed: Option<(InvalidBatch, u64)>,
}

impl Reader {
    pub(crate) fn new(
        log: &Arc<LogInner>,
        level: IsolationLevel,
        start: StartAt,
    ) -> Result<Reader> {
        Ok(Reader::at(log, level, log.resolve(level, start)?))
    }

    /// Returns a reader at an offset that need not be in the log: if it is not, the first read
    /// fails.
    pub(crate) fn at(log: &Arc<LogInner>, level: IsolationLevel, offset: Offset) -> Reader {
        let scratch = DecodeBuffer::new(log.config.max_decompressed_bytes);
        let cursor = Cursor::new(Arc::clone(log), level, offset);
        Reader { cursor, scratch, pending: None, pending_end: 0, failed: None }
    }

    pub(crate) fn log(&self) -> &Arc<LogInner> {
        self.cursor.log()
    }

    /// Returns the isolation level at which it reads.
    #[must_use]
    pub fn isolation_level(&self) -> IsolationLevel {
        self.cursor.level()
    }

    /// Returns the offset at which the reader continues.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.cursor.offset()
    }

    /// Moves the reader to another offset or time.
    ///
    /// # Errors
    /// - [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) below the start and above the
    ///   end of the log.
    /// - As [`Log::offset_for_time`](crate::Log::offset_for_time), for a time.
    pub fn seek(&mut self, start: impl Into<StartAt>) -> Result<()> {
        let offset = self.cursor.resolve(start.into())?;
        self.go_back_to(offset);
        Ok(())
    }

    /// Returns the next batch, lent until the next call; `None` at the end of the log.
    ///
    /// The first batch after a seek may begin below the offset that you asked for; its
    /// [`records`](ReadBatch::records) leave out the records below. After
    /// [`next_record`](Reader::next_record) has returned a part of a batch, the same batch is lent
    /// for the rest. Control batches are returned, too, at every isolation level.
    ///
    /// # Errors
    /// - [`Error::Corrupt`](crate::Error::Corrupt) if the batch is damaged.
    /// - [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) if the log was truncated
    ///   below the reader's offset, or the records there were deleted. On a log opened
    ///   [read-only](crate::Log::open_read_only), also if new records have replaced those that the
    ///   reader has returned: then `end` in the error is the lowest offset known to be replaced.
    /// - [`Error::Closed`](crate::Error::Closed), [`Error::Io`](crate::Error::Io).
    pub fn next_batch(&mut self) -> Result<Option<ReadBatch<'_>>> {
        let from = self.step_batch()?;
        Ok(from.and_then(|from| self.lend_batch(from)))
    }

    /// Steps to the next batch, and returns the offset from which on it is to be read.
    pub(crate) fn step_batch(&mut self) -> Result<Option<Offset>> {
        self.leave_records();
        let from = self.cursor.offset();
        let Some(header) = self.cursor.advance()? else { return Ok(None) };
        self.cursor.pass(header.next_offset());
        Ok(Some(from))
    }

    /// Drops the rest of a batch if the log was truncated or compacted since it was read: the
    /// records may be gone, and others may have their offsets.
    fn drop_outdated(&mut self) {
        if self.pending.is_some() && self.cursor.is_outdated() {
            self.pending = None;
        }
    }

    /// Changes from reading records to reading batches. If only some records of a batch were
    /// returned, that batch is lent next.
    fn leave_records(&mut self) {
        self.drop_outdated();
        let pending = self.pending.take();
        let failed = self.failed.take().is_some();
        let given = pending.map(|mut records| records.next().is_none());
        if failed || given == Some(false) {
            self.cursor.leave();
        } else if given == Some(true) {
            self.cursor.pass(self.pending_end);
        }
    }

    /// Returns the batch of the last step.
    pub(crate) fn lend_batch(&mut self, from: Offset) -> Option<ReadBatch<'_>> {
        let batch = self.cursor.batch()?;
        Some(ReadBatch { batch, from, scratch: &mut self.scratch })
    }

    /// Returns the next record; `None` at the end of the log. It skips control records.
    ///
    /// # Errors
    /// As [`next_batch`](Reader::next_batch). Also
    /// [`Error::Unsupported`](crate::Error::Unsupported) if this build cannot decode a batch, and
    /// [`Error::InvalidBatch`](crate::Error::InvalidBatch) if it exceeds the limit for
    /// decompression. The reader stays before that batch.
    pub fn next_record(&mut self) -> Result<Option<StoredRecord>> {
        if let Some((problem, revision)) = self.failed {
            self.cursor.check()?;
            if !self.cursor.log().state.revised_since(revision) {
                return Err(problem.into());
            }
            self.leave_records();
        }
        self.drop_outdated();
        loop {
            if let Some(records) = &mut self.pending {
                match records.next() {
                    Some(Ok(record)) => {
                        self.cursor.pass(record.offset.saturating_add(1));
                        return Ok(Some(record));
                    }
                    Some(Err(problem)) => {
                        self.failed = Some((problem, self.cursor.revision()));
                        return Err(problem.into());
                    }
                    None => {}
                }
                self.cursor.pass(self.pending_end);
                self.pending = None;
            }
            let Some(header) = self.cursor.advance()? else { return Ok(None) };
            self.pending_end = header.next_offset();
            if header.is_control() {
                self.cursor.pass(self.pending_end);
                continue;
            }
            let from = self.cursor.offset();
            match self.decode(from) {
                Ok(records) => self.pending = Some(records),
                Err(problem) => {
                    self.failed = Some((problem, self.cursor.revision()));
                    return Err(problem.into());
                }
            }
        }
    }

    /// Returns the next record of the batch that is decoded already; `None` if the caller must
    /// call [`next_record`](Reader::next_record). It does not check whether the log was truncated
    /// since the previous record: the result is then that of a read just before the truncation.
    pub(crate) fn next_decoded(&mut self) -> Option<StoredRecord> {
        match self.pending.as_mut()?.next()? {
            Ok(record) => {
                self.cursor.pass(record.offset.saturating_add(1));
                Some(record)
            }
            Err(problem) => {
                self.failed = Some((problem, self.cursor.revision()));
                None
            }
        }
    }

    /// Returns the revision of the log to which the last record belongs.
    pub(crate) fn revision(&self) -> u64 {
        self.cursor.revision()
    }

    /// Releases the segment that the reader is in if it may have been deleted, because no read
    /// follows for now.
    pub(crate) fn leave_if_changed(&mut self) {
        self.cursor.leave_if_changed();
    }

    /// Moves to an offset that need not be in the log: if it is not, the next read fails.
    pub(crate) fn go_back_to(&mut self, offset: Offset) {
        self.pending = None;
        self.failed = None;
        self.cursor.seek(offset);
    }

    /// Like [`next_record`](Reader::next_record), but moves to the end of what it may read when it
    /// gets there, because the last offsets may have no record.
    pub(crate) fn next_record_or_end(&mut self) -> Result<Option<StoredRecord>> {
        let next = self.next_record()?;
        if next.is_none() {
            self.cursor.pass_rest();
        }
        Ok(next)
    }

    fn decode(&mut self, from: Offset) -> Result<StoredRecords, InvalidBatch> {
        let bytes = self.cursor.batch().map(|batch| Bytes::copy_from_slice(batch.as_bytes()));
        let batch = RecordBatch::parse_unverified(bytes.unwrap_or_default())?;
        let mut records = batch.records_with(&mut self.scratch)?.into_iter();
        records.skip_to_offset(from)?;
        Ok(records)
    }

    /// Returns an iterator over the records from here to the end of the log. The first error ends
    /// it.
    #[must_use]
    pub fn records(self) -> ReaderRecords {
        ReaderRecords { reader: Some(self) }
    }
}

/// A batch lent by a [`Reader`] or a [`Tail`](crate::Tail).
#[derive(Debug)]
pub struct ReadBatch<'a> {
    batch: BatchRef<'a>,
    from: Offset,
    scratch: &'a mut DecodeBuffer,
}

impl<'a> ReadBatch<'a> {
    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        self.batch.header()
    }

    /// Returns the batch as it is stored, with its checksum verified.
    #[must_use]
    pub fn as_ref(&self) -> BatchRef<'a> {
        self.batch
    }

    /// Returns its records from the reader's offset on, borrowed.
    ///
    /// # Errors
    /// - [`Error::Unsupported`](crate::Error::Unsupported) if this build lacks the codec.
    /// - [`Error::InvalidBatch`](crate::Error::InvalidBatch) if it does not decompress, or expands
    ///   beyond [`max_decompressed_bytes`](crate::LogConfig::max_decompressed_bytes).
    pub fn records(&mut self) -> Result<Records<'_>> {
        let mut records = self.batch.records(self.scratch)?;
        if self.from > self.batch.header().base_offset {
            records.skip_to_offset(self.from)?;
        }
        Ok(records)
    }

    /// Returns a copy that outlives the reader's next step.
    ///
    /// # Errors
    /// None for a batch from a log.
    pub fn to_owned(&self) -> Result<RecordBatch> {
        let bytes = Bytes::copy_from_slice(self.batch.as_bytes());
        Ok(RecordBatch::parse_unverified(bytes)?)
    }
}

/// The records of a [`Reader`], to the end of the log or the first error.
#[derive(Debug)]
pub struct ReaderRecords {
    reader: Option<Reader>,
}

impl Iterator for ReaderRecords {
    type Item = Result<StoredRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.reader.as_mut()?.next_record();
        if !matches!(record, Ok(Some(_))) {
            self.reader = None;
        }
        record.transpose()
    }
}

impl std::iter::FusedIterator for ReaderRecords {}
