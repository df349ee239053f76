//! Writing to topics: a producer collects records into batches, and writes the batches in order.
//!
//! ```text
//!  send ─► interceptors ─► partition ─► open batch ─► closed batches ─► Log ─► handles, callbacks
//!          on_send         named, key,  full,         one thread at
//!                          or sticky    lingered, or  a time, in
//!                                       waited for    order
//! ```
//!
//! # How a send runs
//!
//! 1. `callbacks` passes the record through the interceptors.
//! 2. `topic_cache` finds the topic by its name, and `topic_entry` chooses the partition.
//! 3. `accumulator` encodes the record into the open batch, under the lock of the partition's
//!    queue. A full batch is closed. A new batch takes its bytes from `buffer`; if there is no
//!    room, the sender writes batches itself, and waits.
//! 4. `sender` takes all closed batches of a queue. One thread at a time writes to a partition.
//! 5. `writer` numbers the batches (`sequence`) and appends them with no lock held. Batches that
//!    are to be retried go back to the front, and `split` splits one that is too large.
//! 6. The result goes to the `outcome` of the batch, which its `send_handle`s share, then to the
//!    callbacks, in order.
//!
//! There is no network, so the threads of the caller write: a thread that fills a batch, waits for
//! one, or finds the buffer full. The producer's own thread (`sender_thread`) writes the rest:
//! batches that have lingered, and retries. It is started for the first of either. A thread that
//! has written calls the callbacks once nothing is left to write. The producer's own thread leaves
//! them to another one (`callback_thread`), so that no callback keeps it from writing.
//!
//! Records of a partition are written in the order in which they were sent, even if some are
//! retried: later ones wait. Each batch is numbered, so none is stored twice.
//!
//! # Transactions
//!
//! A transactional producer accepts records only while a transaction is open: `transaction` has
//! the rules. `transaction_manager` calls the store's coordinator, and `transaction_writer` numbers
//! the batches: each transaction has an epoch of its own, and begins at 0 in each partition. Before
//! the first batch of a partition, the coordinator adds the partition to the transaction. A commit
//! or a flush adds all partitions with waiting records at once. The list of queues is locked when
//! a transaction ends, so it ends with exactly the records that were accepted before.
//! `transactional` has the calls.
//!
//! `context` is the state that all of these files share, without queues and topics. `inner` holds
//! it together with the queues and topics.

mod accumulator;
mod batch;
mod buffer;
mod callback_thread;
mod callbacks;
mod config;
mod context;
mod inner;
mod interceptor;
mod outcome;
mod record;
mod send_handle;
mod sender;
mod sender_thread;
mod sequence;
mod split;
mod thread_marks;
mod topic_cache;
mod topic_entry;
mod topic_producer;
mod transaction;
mod transaction_manager;
mod transaction_writer;
mod transactional;
mod writer;

#[cfg(test)]
mod tests;

pub use config::{Acks, PartitionerChoice, ProducerConfig};
pub use interceptor::ProducerInterceptor;
pub use record::{ProducerRecord, RecordMetadata};
pub use send_handle::SendHandle;
pub use topic_producer::TopicProducer;
pub use transactional::Transaction;

use crate::error::{Error, ProduceError, Result};
use crate::store::topics::Store;
use crate::sync::atomic::Ordering;
use inner::ProducerInner;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Writes records to the topics of a store. Kafka: `KafkaProducer`.
///
/// Clones are handles to the same producer, and any thread can use them. All methods take `&self`,
/// except those that close it, which take the handle.
///
/// | [`Acks`] | a record is sent when | it survives |
/// |---|---|---|
/// | `None` | the producer has accepted it | nothing |
/// | `Written` | the log has it | a process crash |
/// | `Flushed` | the disk has it | loss of power |
///
/// The producer retries a batch if that can help. While the disk is full, the records of a
/// partition wait; once there is room, the producer writes them, in order and each once. A batch
/// that is not written within [`delivery_timeout`](ProducerConfig::delivery_timeout) fails, and
/// the next one is tried. Records for a closed or poisoned partition fail at once, without
/// delaying other partitions.
///
/// With a [`transactional_id`](ProducerConfig::transactional_id), a producer sends its records in
/// transactions: all records of one become visible to readers of committed records together, or
/// none does. [`transaction`](Producer::transaction) has an example.
///
/// If you drop the last handle without [`close`](Producer::close), the drop tries once to write
/// the remaining records. It waits for a thread that is writing, then writes the rest itself,
/// without waiting for the time of a retry. Records that fail then get
/// [`Aborted`](ProduceError::Aborted) in their handles and callbacks; the drop returns no error.
///
/// ```
/// use annals::{ProducerConfig, ProducerRecord, Record, Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let topic = store.create_topic("orders", TopicConfig::default().partitions(3))?;
/// let producer = store.producer(ProducerConfig::default())?;
/// for n in 0..100 {
///     let paid = Record::new("paid").key(format!("order-{n}"));
///     producer.send(ProducerRecord::new("orders", paid))?;
/// }
/// producer.flush()?;
/// let stored: u64 = topic.partitions().iter().map(|log| log.offsets().end).sum();
/// assert_eq!(stored, 100);
/// producer.close()?;
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Ends the producer when the last handle is dropped. The producer's own threads hold no handle.
struct Handle {
    inner: Arc<ProducerInner>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.inner.close() {
            self.inner.close_transaction();
            self.inner.end(true);
        }
    }
}

/// The counters of a [`Producer`] since it was created.
/// [`send_and_forget`](Producer::send_and_forget) has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// The number of records written.
    pub records: u64,
    /// The number of batches written.
    pub batches: u64,
    /// The bytes of these batches, before compression.
    pub bytes: u64,
    /// The part of [`buffer_bytes`](ProducerConfig::buffer_bytes) in use now.
    pub buffered_bytes: u64,
    /// The number of retries of a batch.
    pub retries: u64,
    /// The number of records that failed for good, without those that `send` rejected.
    pub errors: u64,
}

impl Store {
    /// Creates a producer for the topics of this store.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`], and [`Error::Unsupported`] for a codec that is not in this
    ///   build.
    /// - [`Error::Io`] if no producer id can be reserved;
    ///   [`Error::StoreClosed`].
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        config.validate()?;
        let inner = ProducerInner::new(self.clone(), config)?;
        let watcher: Weak<ProducerInner> = Arc::downgrade(&inner);
        self.watchers().add(watcher);
        Ok(Producer { handle: Arc::new(Handle { inner }) })
    }
}

impl Producer {
    /// Sends a record: adds it to a batch for its partition.
    ///
    /// Blocks the thread while the buffer is full, up to
    /// [`max_block`](ProducerConfig::max_block), 60 seconds by default. In async code set that to
    /// zero, and see [`docs::async_use`](crate::docs::async_use). If `send` fails, the record is
    /// not sent.
    ///
    /// # Errors
    ///
    /// - [`Error::Topic`]: there is no such topic or partition, or the topic is internal.
    /// - [`Error::InvalidRecord`] for a record without a key in a compacted topic, and for a
    ///   timestamp outside of the topic's limits.
    /// - [`Error::Produce`]: [`ProduceError::RecordTooLarge`], [`ProduceError::BufferFull`], and
    ///   [`ProduceError::NoSuchPartition`] or [`ProduceError::PartitionerPanicked`] of a
    ///   partitioner; [`ProduceError::Closed`].
    /// - [`Error::Transaction`] if the producer is transactional and no transaction is open, or the
    ///   open one can only be aborted.
    /// - [`Error::Io`] when the producer's thread cannot be started.
    #[inline]
    pub fn send(&self, record: impl Into<ProducerRecord>) -> Result<SendHandle> {
        self.handle.inner.send(record.into(), None)
    }

    /// Sends a record without a handle for its result. It is a little faster than
    /// [`send`](Self::send).
    ///
    /// [`flush`](Self::flush) and [`close`](Self::close) fail if the record fails while they wait
    /// for it, and [`stats`](Self::stats) counts it.
    ///
    /// ```
    /// use annals::{ProducerConfig, ProducerRecord, Store, StoreConfig, TopicConfig};
    /// use std::sync::{Arc, Weak};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("clicks", TopicConfig::default())?;
    /// let producer = store.producer(ProducerConfig::default())?;
    /// let clicks: Arc<str> = "clicks".into();
    /// for _ in 0..1000 {
    ///     producer.send_and_forget(ProducerRecord::new(clicks.clone(), "click"))?;
    /// }
    /// producer.flush()?;
    /// assert_eq!(producer.stats().records, 1000);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn send_and_forget(&self, record: impl Into<ProducerRecord>) -> Result<()> {
        self.handle.inner.send(record.into(), None)
    }

    /// Sends a record, and calls `callback` when it is sent or has failed for good.
    ///
    /// The callbacks of a partition are called in the order of its records, by a thread that
    /// sends, waits or flushes, or by a thread that the producer starts for them. No lock is held:
    /// a callback may send, wait, flush, and close the producer. It may also block: later
    /// callbacks wait, and writing goes on. In a callback, `flush`, `close` and `poll` wait for
    /// records, and not for callbacks, which might wait for this one.
    ///
    /// A callback that panics is reported as
    /// [`Event::CallbackPanicked`](crate::Event::CallbackPanicked). If `send_with_callback`
    /// returns an error, the callback is not called. The [handle](SendHandle) may be done before
    /// the callback is called; [`flush`](Self::flush) waits for callbacks, too.
    ///
    /// ```
    /// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
    /// use std::sync::mpsc::channel;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default())?;
    /// let producer = store.producer(ProducerConfig::default())?;
    /// let (tell, told) = channel();
    /// producer.send_with_callback(("orders", "paid"), move |sent| {
    ///     tell.send(sent.ok().and_then(|sent| sent.offset)).ok();
    /// })?;
    /// producer.flush()?;
    /// assert_eq!(told.recv().unwrap(), Some(0));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with_callback(
        &self,
        record: impl Into<ProducerRecord>,
        callback: impl FnOnce(Result<&RecordMetadata, &Error>) + Send + 'static,
    ) -> Result<SendHandle> {
        self.handle.inner.send(record.into(), Some(Box::new(callback)))
    }

    /// Writes everything that was sent before this call. Blocks until every record is sent or has
    /// failed, and the callbacks were called. In a [callback](Self::send_with_callback) it waits
    /// for no callbacks.
    ///
    /// # Errors
    ///
    /// [`Error::Produce`] with the first failure of a batch that it waited for. The call still
    /// waits for all of them. [`ProduceError::WhileWriting`] in a [listener](crate::Listener) or a
    /// waker, if there is a batch to wait for and this thread is writing one, of whichever
    /// producer.
    pub fn flush(&self) -> Result<()> {
        match self.handle.inner.flush(None)? {
            true => Ok(()),
            false => Err(ProduceError::WhileWriting.into()),
        }
    }

    /// Does the work that is due: writes batches that have lingered, retries failed ones, and
    /// gives up batches past their delivery timeout. Returns the time until there is more work;
    /// `None` if there is none.
    ///
    /// The producer's thread does the same work, and `poll` waits for its current step. Call it
    /// after you have advanced a [`ManualClock`](crate::ManualClock).
    ///
    /// ```
    /// use annals::{ManualClock, ProducerConfig, Store, StoreConfig, Timestamp, TopicConfig};
    /// use std::{sync::Arc, time::Duration};
    ///
    /// let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    /// let store = Store::in_memory(StoreConfig::default().clock(clock.clone()))?;
    /// store.create_topic("orders", TopicConfig::default())?;
    /// let producer = store.producer(ProducerConfig::default().linger(Duration::from_secs(1)))?;
    /// let handle = producer.send(("orders", "paid"))?;
    /// assert_eq!(producer.poll(), Some(Duration::from_secs(1)));
    /// assert!(!handle.is_done());
    /// clock.advance(Duration::from_secs(1));
    /// assert_eq!(producer.poll(), None);
    /// # Ok::<(), annals::Error>(())
    /// ```
    pub fn poll(&self) -> Option<Duration> {
        let inner = &self.handle.inner;
        let (next, met_others) = inner.poll();
        inner.wait_for_others();
        if met_others { inner.poll().0 } else { next }
    }

    /// Returns the counters of the producer.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        let inner = &self.handle.inner;
        let counters = &inner.context.counters;
        ProducerStats {
            records: counters.records.load(Ordering::Relaxed),
            batches: counters.batches.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            buffered_bytes: inner.context.buffer.used(),
            retries: counters.retries.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
        }
    }

    /// [Flushes](Self::flush), and closes the producer for all its handles. When the last handle
    /// is dropped, the logs forget the producer, because it resends nothing. If a transaction is
    /// open, it is aborted first.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), and [`ProduceError::Closed`] if it is already closed.
    pub fn close(self) -> Result<()> {
        self.close_until(None)
    }

    /// [Closes](Self::close) the producer, but gives up the records that are not written within
    /// `timeout`.
    ///
    /// A batch that another thread is writing by then cannot be given up: its handles tell whether
    /// it was written. Callbacks that have not been called by then are called later.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close), and [`ProduceError::Aborted`] if records were given up, or are
    /// still being written.
    pub fn close_timeout(self, timeout: Duration) -> Result<()> {
        self.close_until(Some(timeout))
    }

    fn close_until(self, timeout: Option<Duration>) -> Result<()> {
        let inner = &self.handle.inner;
        if !inner.close() {
            return Err(ProduceError::Closed.into());
        }
        inner.close_transaction();
        let flushed = inner.flush(timeout);
        let all = inner.end(!matches!(flushed, Ok(false)));
        match flushed? {
            false if !all => Err(ProduceError::Aborted.into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.handle.inner.context.config)
            .field("stats", &self.stats())
            .finish()
    }
}

const _: () = {
    const fn for_any_thread<T: Send + Sync + Clone>() {}
    for_any_thread::<Producer>();
    const fn may_move<T: Send>() {}
    may_move::<SendHandle>();
};
