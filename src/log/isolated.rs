//! A log as the readers of one isolation level see it.

use crate::error::Result;
use crate::log::inner::LogInner;
use crate::log::read::reader::Reader;
use crate::log::read::tail::Tail;
use crate::log::read::{self, Fetched, ReadLimits};
use crate::record::StoredRecord;
use crate::types::{IsolationLevel, Offset, OffsetSpec, StartAt, Timestamp};
use std::sync::Arc;

/// A log as the readers of one [isolation level](IsolationLevel) see it, from
/// [`Log::isolated`](crate::Log::isolated).
///
/// Each level ends at a bound: the last stable offset for
/// [`ReadCommitted`](IsolationLevel::ReadCommitted), the end of the log for
/// [`LogEnd`](IsolationLevel::LogEnd), the high watermark for the other two. A read that reaches
/// the bound finds nothing more until the bound moves. You can begin to read anywhere up to the
/// end of the log.
///
/// At `ReadCommitted`, records of aborted transactions are left out, wherever you begin. A log
/// without transactions is read at the same speed at every level.
///
/// Clones are handles to the same log, and any thread can use them.
///
/// ```
/// use annals::record::{BatchBuilder, EndTxnMarker, RecordBatch};
/// use annals::{IsolationLevel, Log, LogConfig, ProducerIdentity, StartAt, Timestamp};
/// use annals::{TransactionVersion, fs::MemFs};
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// let mut builder = BatchBuilder::new();
/// builder.producer(4000, 0, 0).transactional(true);
/// builder.push(Timestamp::from_millis(1), None, Some(b"paid"))?;
/// log.append_batch(RecordBatch::parse(builder.build_bytes()?.into())?)?;
/// log.append("shipped")?;
///
/// let committed = log.isolated(IsolationLevel::ReadCommitted);
/// let mut reader = committed.reader(StartAt::Earliest)?;
/// assert!(reader.next_record()?.is_none()); // it waits for the transaction to end
///
/// let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
/// let producer = ProducerIdentity { id: 4000, epoch: 1 };
/// log.append_marker(producer, marker, TransactionVersion::V2)?;
/// assert_eq!(reader.next_record()?.unwrap().value_str(), Some("shipped"));
/// assert_eq!(log.get(0)?.unwrap().value_str(), Some("paid"));
/// assert_eq!(committed.get(0)?, None);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct IsolatedLog {
    log: Arc<LogInner>,
    level: IsolationLevel,
}

impl IsolatedLog {
    pub(crate) fn new(log: &Arc<LogInner>, level: IsolationLevel) -> IsolatedLog {
        IsolatedLog { log: Arc::clone(log), level }
    }

    /// Returns the isolation level.
    #[must_use]
    pub fn level(&self) -> IsolationLevel {
        self.level
    }

    /// Reads whole batches from an offset on, up to the bound of the level, as
    /// [`Log::read`](crate::Log::read) does.
    ///
    /// # Errors
    /// As [`Log::read`](crate::Log::read). An offset between the bound and the end of the log is
    /// no error: there is nothing to read yet.
    pub fn read(&self, from: Offset, limits: ReadLimits) -> Result<Fetched> {
        read::read(&self.log, self.level, from, limits)
    }

    /// Returns a reader from an [`Offset`], a [`Timestamp`] or a [`StartAt`] to the bound of the
    /// level. [`StartAt::Latest`] is the bound.
    ///
    /// # Errors
    /// As [`Log::reader`](crate::Log::reader).
    pub fn reader(&self, start: impl Into<StartAt>) -> Result<Reader> {
        Reader::new(&self.log, self.level, start.into())
    }

    /// Returns a reader that waits at the bound of the level for more records.
    ///
    /// # Errors
    /// As [`Log::reader`](crate::Log::reader).
    pub fn tail(&self, start: impl Into<StartAt>) -> Result<Tail> {
        Tail::new(&self.log, self.level, start.into())
    }

    /// Returns the record at an offset; `None` if compaction removed it, a control record is
    /// there, or at [`ReadCommitted`](IsolationLevel::ReadCommitted) its transaction was aborted.
    ///
    /// # Errors
    /// As [`Log::get`](crate::Log::get).
    /// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) already at the bound of the
    /// level, which is then the `end` in the error; its `bound` says which one that is.
    pub fn get(&self, offset: Offset) -> Result<Option<StoredRecord>> {
        self.log.get(self.level, offset)
    }

    /// Looks up an offset, as [`Log::list_offset`](crate::Log::list_offset) does.
    ///
    /// [`Latest`](OffsetSpec::Latest) is the bound of the level. A lookup by time returns `None`
    /// if its record lies at or above the bound. As in Kafka, it may return a record of an aborted
    /// transaction.
    ///
    /// # Errors
    /// As [`Log::list_offset`](crate::Log::list_offset).
    pub fn list_offset(&self, spec: impl Into<OffsetSpec>) -> Result<Option<(Offset, Timestamp)>> {
        self.log.list_offset(self.level, spec.into())
    }
}
