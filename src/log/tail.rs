//! Following a log: reading what is there, then waiting for more.

use crate::error::Result;
use crate::log::follow::POLL_INTERVAL;
use crate::log::reader::{ReadBatch, Reader};
use crate::log::shared::Shared;
use crate::record::StoredRecord;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::thread;
use crate::types::{Offset, StartAt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Reads a log and waits at its end for more.
///
/// It can wait in two ways: [`next_record`](Tail::next_record) and
/// [`next_batch`](Tail::next_batch) block the thread, with or without a limit;
/// [`poll_next`](Tail::poll_next) arranges for a task to be woken, under any executor. With the
/// cargo feature `futures` it is a `Stream` of records, so that a task writes `tail.next().await`
/// (`StreamExt`) or `tail.try_next().await?` (`TryStreamExt`). See
/// [`docs::async_use`](crate::docs::async_use).
///
/// A tail wakes up when something is appended, when the log is truncated (its next read then says
/// [`Error::OffsetOutOfRange`](crate::Error::OffsetOutOfRange) if its place is gone) and when the
/// log is closed ([`Error::Closed`](crate::Error::Closed); a stream then ends). It sees records
/// as soon as they are appended, durable or not.
///
/// On a log that was opened read-only the files are looked at again every 10 ms.
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
    pub(crate) fn new(shared: &Arc<Shared>, start: StartAt) -> Result<Tail> {
        let reader = Reader::new(shared, start)?;
        let id = shared.signal.new_id();
        Ok(Tail { reader, id })
    }

    /// The offset it goes on from.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.reader.offset()
    }

    /// Goes on from somewhere else.
    ///
    /// # Errors
    /// As [`Reader::seek`].
    pub fn seek(&mut self, start: impl Into<StartAt>) -> Result<()> {
        self.reader.seek(start)
    }

    /// Blocks the thread until there is a next record, and returns it; `None` when there is none
    /// after `timeout`.
    ///
    /// # Errors
    /// As [`Reader::next_record`].
    pub fn next_record(&mut self, timeout: Option<Duration>) -> Result<Option<StoredRecord>> {
        let mut patience = Patience { timeout, began: None };
        loop {
            let seen = Seen::now(self.reader.shared());
            if let Some(record) = self.reader.next_record()? {
                return Ok(Some(record));
            }
            if !self.wait(seen, patience.left(self.reader.shared())) {
                return Ok(None);
            }
        }
    }

    /// Blocks the thread until there is a next batch, and lends it until the next call; `None`
    /// when there is none after `timeout`.
    ///
    /// # Errors
    /// As [`Reader::next_batch`].
    pub fn next_batch(&mut self, timeout: Option<Duration>) -> Result<Option<ReadBatch<'_>>> {
        let mut patience = Patience { timeout, began: None };
        let from = loop {
            let seen = Seen::now(self.reader.shared());
            if let Some(from) = self.reader.step_batch()? {
                break from;
            }
            if !self.wait(seen, patience.left(self.reader.shared())) {
                return Ok(None);
            }
        };
        Ok(self.reader.lend_batch(from))
    }

    /// The next record if there is one; otherwise the task will be woken when there may be.
    ///
    /// # Errors
    /// As [`Reader::next_record`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<StoredRecord>> {
        for registered in [false, true] {
            if registered {
                self.reader.shared().signal.register(self.id, context.waker());
                Shared::watch(self.reader.shared());
            }
            match self.reader.next_record() {
                Ok(None) => {}
                Ok(Some(record)) => return Poll::Ready(Ok(record)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// Waits until the log is another than the one that was read to its end, or is closed.
    ///
    /// The tail's own place does not tell: the last offsets of a log may be without a record, and
    /// then it lies below the end for good.
    fn wait(&self, seen: Seen, timeout: Option<Duration>) -> bool {
        let shared = self.reader.shared();
        shared.signal.wait(timeout, shared.clock(), || {
            // Here this tail counts as a waiter: a watching thread started earlier would find
            // nobody waiting, and end.
            if timeout != Some(Duration::ZERO) {
                Shared::watch(shared);
            }
            Seen::now(shared) != seen || shared.is_closed()
        })
    }
}

/// How long a call may wait in all: what wakes it need not be a record.
struct Patience {
    timeout: Option<Duration>,
    /// When it waited first.
    began: Option<Duration>,
}

impl Patience {
    fn left(&mut self, shared: &Shared) -> Option<Duration> {
        let timeout = self.timeout?;
        let now = shared.clock().monotonic();
        let began = *self.began.get_or_insert(now);
        Some(timeout.saturating_sub(now.saturating_sub(began)))
    }
}

/// What a log looked like before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    revision: u64,
    end: Offset,
    failed_looks: u64,
}

impl Seen {
    fn now(shared: &Shared) -> Seen {
        Seen {
            revision: shared.revision(),
            end: shared.end(),
            failed_looks: shared.failed_looks.load(Ordering::Acquire),
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reader.shared().signal.unregister(self.id);
    }
}

/// Ends when the log is closed. Any other error is an item, and asking again gives the error
/// again until the tail is moved.
///
/// Its `next` is that of `StreamExt`, and blocks no thread. The method that does is
/// [`Tail::next_record`].
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
            Poll::Ready(Err(crate::Error::Closed { .. })) => Poll::Ready(None),
            Poll::Ready(item) => Poll::Ready(Some(item)),
        }
    }
}

impl Shared {
    /// On a read-only log, sees to it that a thread looks at the files while somebody waits.
    /// The thread ends when nobody waits any more.
    fn watch(shared: &Arc<Shared>) {
        if !shared.is_read_only() || shared.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let log = Arc::downgrade(shared);
        let thread = thread::Builder::new().name("annals-follow".to_owned()).spawn(move || {
            while let Some(shared) = log.upgrade() {
                // An error here meets whoever reads next. A listener's panic does not, but must
                // not end the looking.
                let refreshed = catch_unwind(AssertUnwindSafe(|| shared.refresh()));
                if shared.is_closed() || !matches!(refreshed, Ok(Ok(()))) {
                    shared.failed_looks.fetch_add(1, Ordering::AcqRel);
                    shared.signal.notify();
                }
                let done = shared.is_closed() || !shared.signal.has_waiters();
                if done {
                    shared.watched.store(false, Ordering::Release);
                    // Whoever begins to wait either sees the store, or is seen here.
                    fence(Ordering::SeqCst);
                    if shared.is_closed() || !shared.signal.has_waiters() {
                        return;
                    }
                    shared.watched.store(true, Ordering::Release);
                }
                drop(shared);
                thread::park_timeout(POLL_INTERVAL);
            }
        });
        if thread.is_err() {
            shared.watched.store(false, Ordering::Release);
        }
    }
}
