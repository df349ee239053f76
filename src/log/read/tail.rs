//! Following a log: reading what is there, then waiting for more.

use crate::error::Result;
use crate::log::inner::LogInner;
use crate::log::read::reader::{ReadBatch, Reader};
use crate::log::read::refresh::watch_files;
use crate::record::StoredRecord;
use crate::sync::atomic::Ordering;
use crate::types::{IsolationLevel, Offset, StartAt};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Reads a log and waits at its end for more; at the last stable offset, if it reads
/// [committed](crate::IsolationLevel::ReadCommitted) records.
///
/// It can wait in two ways. [`next_record`](Tail::next_record) and
/// [`next_batch`](Tail::next_batch) block the thread, with or without a timeout.
/// [`poll_next`](Tail::poll_next) wakes a task, under any executor. With the cargo feature
/// `futures` a tail is a `Stream` of records, so a task calls `tail.next().await` (`StreamExt`) or
/// `tail.try_next().await?` (`TryStreamExt`). [`docs::async_use`](crate::docs::async_use) has an
/// example with a shutdown.
///
/// A tail wakes up when records are appended; when the log is truncated, and its next read then
/// fails with [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) if its place is gone;
/// and when the log is closed ([`Error::Closed`](crate::error::Error::Closed); a stream then
/// ends). It sees records as soon as they are appended, durable or not.
///
/// A closed log stays closed, and so does the end of its tails. To find out why it was closed,
/// call [`next_record`](Tail::next_record), also after a stream has ended: it returns at once, and
/// [`Error::Closed`](crate::error::Error::Closed) has the [reason](crate::CloseReason). After
/// [`Reopened`](crate::CloseReason::Reopened), take a new tail from the partition's new log, at
/// [`offset`](Tail::offset). After [`TopicDeleted`](crate::CloseReason::TopicDeleted), there is
/// none.
///
/// A tail of a log that was opened read-only looks at the files every 10 ms.
///
/// ```
/// use annals::{Log, LogConfig, StartAt, fs::MemFs};
/// use std::time::Duration;
///
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// let mut tail = log.tail(StartAt::Latest)?;
/// assert!(tail.next_record(Some(Duration::ZERO))?.is_none());
///
/// let writer = log.clone();
/// let thread = std::thread::spawn(move || writer.append("news"));
/// let record = tail.next_record(None)?.expect("no limit was set");
/// assert_eq!(record.value_str(), Some("news"));
/// thread.join().unwrap()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    id: u64,
}

impl Tail {
    pub(crate) fn new(log: &Arc<LogInner>, level: IsolationLevel, start: StartAt) -> Result<Tail> {
        let reader = Reader::new(log, level, start)?;
        let id = log.state.waiters.new_id();
        Ok(Tail { reader, id })
    }

    /// Returns the offset at which the tail continues.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.reader.offset()
    }

    /// Moves the tail to another offset or time.
    ///
    /// # Errors
    /// As [`Reader::seek`].
    pub fn seek(&mut self, start: impl Into<StartAt>) -> Result<()> {
        self.reader.seek(start)
    }

    /// Blocks the thread until there is a next record, and returns it; `None` if there is none
    /// after `timeout`.
    ///
    /// # Errors
    /// As [`Reader::next_record`].
    pub fn next_record(&mut self, timeout: Option<Duration>) -> Result<Option<StoredRecord>> {
        let mut patience = Patience::new(timeout);
        loop {
            let seen = Seen::now(&self.reader);
            if let Some(record) = self.reader.next_record()? {
                return Ok(Some(record));
            }
            if !self.wait(seen, patience.left(self.reader.log())) {
                return Ok(None);
            }
        }
    }

    /// Blocks the thread until there is a next batch, and lends it until the next call; `None`
    /// if there is none after `timeout`.
    ///
    /// # Errors
    /// As [`Reader::next_batch`].
    pub fn next_batch(&mut self, timeout: Option<Duration>) -> Result<Option<ReadBatch<'_>>> {
        let mut patience = Patience::new(timeout);
        let from = loop {
            let seen = Seen::now(&self.reader);
            if let Some(from) = self.reader.step_batch()? {
                break from;
            }
            if !self.wait(seen, patience.left(self.reader.log())) {
                return Ok(None);
            }
        };
        Ok(self.reader.lend_batch(from))
    }

    /// Returns the next record if there is one; otherwise wakes the task when there may be one.
    ///
    /// # Errors
    /// As [`Reader::next_record`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<StoredRecord>> {
        for registered in [false, true] {
            if registered {
                self.reader.log().state.waiters.register(self.id, context.waker());
                watch_files(self.reader.log());
            }
            match self.reader.next_record() {
                Ok(None) => {}
                Ok(Some(record)) => return Poll::Ready(Ok(record)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// Waits until the log has changed since it was read to the bound, or is closed.
    ///
    /// The tail's own offset is not enough to decide: the last offsets may have no record, and
    /// then the tail stays below the bound.
    fn wait(&self, seen: Seen, timeout: Option<Duration>) -> bool {
        let log = self.reader.log();
        log.state.waiters.wait(timeout, log.clock(), || {
            // From here on this tail counts as a waiter: a watching thread that was started
            // earlier would find no waiter, and end.
            if timeout != Some(Duration::ZERO) {
                watch_files(log);
            }
            Seen::now(&self.reader) != seen || log.state.is_closed()
        })
    }
}

/// The time that a call may wait in total, because not every wake-up brings a record.
pub(crate) struct Patience {
    timeout: Option<Duration>,
    /// When it first waited.
    began: Option<Duration>,
}

impl Patience {
    pub(crate) fn new(timeout: Option<Duration>) -> Patience {
        Patience { timeout, began: None }
    }

    /// Returns the rest of the time, which begins with the first call; `None` without a limit.
    pub(crate) fn left(&mut self, log: &LogInner) -> Option<Duration> {
        let timeout = self.timeout?;
        let now = log.clock().monotonic();
        let began = *self.began.get_or_insert(now);
        Some(timeout.saturating_sub(now.saturating_sub(began)))
    }
}

/// The state of a log before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    revision: u64,
    /// The offset below which the tail may read.
    bound: Offset,
    failed_looks: u64,
}

impl Seen {
    fn now(reader: &Reader) -> Seen {
        let log = reader.log();
        let follower = log.follower.as_ref();
        Seen {
            revision: log.state.revision(),
            bound: log.state.bound(reader.isolation_level()),
            failed_looks: follower
                .map_or(0, |follower| follower.failed_looks.load(Ordering::Acquire)),
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reader.log().state.waiters.unregister(self.id);
    }
}

/// The stream ends when the log is closed. Any other error is an item, and the next call returns
/// the same error again until you [`seek`](Tail::seek).
///
/// `next` is the method of `StreamExt`; it blocks no thread, and is cancel-safe: a dropped future
/// loses no record. The method that blocks is [`Tail::next_record`].
///
/// ```
/// use annals::{Log, LogConfig, StartAt, fs::MemFs};
/// use futures_util::{StreamExt, TryStreamExt};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
/// log.append("news")?;
/// let mut tail = log.tail(StartAt::Earliest)?;
/// let record = tail.next().await.expect("the log is open")?;
/// assert_eq!(record.value_str(), Some("news"));
///
/// log.close()?;
/// assert!(tail.try_next().await?.is_none());
/// # Ok::<(), annals::Error>(())
/// # }).unwrap();
/// ```
#[cfg(feature = "futures")]
impl futures_core::Stream for Tail {
    type Item = Result<StoredRecord>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        match Tail::poll_next(&mut self, context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(crate::error::Error::Closed { .. })) => Poll::Ready(None),
            Poll::Ready(item) => Poll::Ready(Some(item)),
        }
    }
}
