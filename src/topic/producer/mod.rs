//! Writing to topics: records are gathered into batches, and batches written in order.
//!
//! ```text
//!  send ─► interceptors ─► partition? ─► its open batch ─► closed batches ─► Log::append ─► handles, callbacks
//!          on_send          named,        full, lingered,    one thread at a
//!                           key, sticky   or waited for      time, in order
//! ```
//!
//! There is no network, so a thread that has a reason to write does: one that fills a batch,
//! waits for one, or finds the buffer full. A thread of the producer's own does what is left:
//! batches that have lingered, and retries. It is started when there is the first of either. A
//! thread that writes calls back once nothing is left to write; the producer's own leaves that to
//! another ([callbacks]), so that no callback keeps it from writing.
//!
//! Records of a partition are written in the order in which they were sent, also when some are
//! retried: later ones wait. Each batch is numbered ([numbering]), so none is stored twice.

mod buffer;
mod callbacks;
mod config;
mod deliver;
mod drain;
mod handle;
mod interceptor;
mod linger;
mod numbering;
mod queue;
mod record;
mod shared;
mod split;
mod to_topic;
mod topics;
mod within;

#[cfg(test)]
mod tests;

pub use config::{Acks, PartitionerChoice, ProducerConfig};
pub use handle::SendHandle;
pub use interceptor::ProducerInterceptor;
pub use record::{ProducerRecord, RecordMetadata};
pub use to_topic::TopicProducer;

use crate::error::{Error, ProduceError, Result};
use crate::sync::atomic::Ordering;
use crate::topic::store::Store;
use shared::Shared;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Writes records to the topics of a store. Kafka: `KafkaProducer`.
///
/// Clones are handles to the same producer, for any number of threads. All methods take `&self`.
///
/// | a record is sent when, by [`Acks`] | it survives |
/// |---|---|
/// | `HandedOver`: it was taken | nothing |
/// | `Written`: the log has it | the end of this process, however it comes |
/// | `Flushed`: it is on the medium | loss of power |
///
/// A batch that fails is tried again if that can help: a full disk stops the records of a
/// partition, and they go on once there is room, in order and each once. What is not written by
/// [`delivery_timeout`](ProducerConfig::delivery_timeout) fails, and its place is taken by what
/// comes behind. A partition that is closed or poisoned fails at once, and others go on.
///
/// When the last handle is dropped without [`close`](Producer::close), what has been gathered is
/// tried once more: the drop waits for a thread that is writing, then writes the rest itself,
/// without waiting for the time of a retry. What fails then is
/// [`Aborted`](ProduceError::Aborted); handles and callbacks tell, the drop does not.
///
/// ```
/// use annals::{ProducerConfig, ProducerRecord, Record, Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let topic = store.create_topic("orders", TopicConfig::default().partitions(3))?;
/// let producer = store.producer(ProducerConfig::default())?;
/// for n in 0..100 {
///     producer.send(ProducerRecord::new("orders", Record::new("paid").key(format!("order-{n}"))))?;
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

/// Ends the producer with its last handle. Its own thread has none.
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.shared.shut() {
            self.shared.end(true);
        }
    }
}

/// What a [`Producer`] has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// The records that were written.
    pub records: u64,
    /// The batches that they were written in.
    pub batches: u64,
    /// The bytes of these, before compression.
    pub bytes: u64,
    /// The part of [`buffer_bytes`](ProducerConfig::buffer_bytes) that is taken now.
    pub buffered_bytes: u64,
    /// How often a batch was tried again.
    pub retries: u64,
    /// The records that failed for good. Not those that `send` refused.
    pub errors: u64,
}

impl Store {
    /// A producer for the topics of this store.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidConfig`], and [`Error::Unsupported`] for a codec that this build leaves out.
    /// - [`Error::Io`] when no producer id can be had, [`Error::StoreClosed`].
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        config.validate()?;
        let shared = Arc::new(Shared::new(self.clone(), config)?);
        let watcher: Weak<Shared> = Arc::downgrade(&shared);
        self.watchers().add(watcher);
        Ok(Producer { handle: Arc::new(Handle { shared }) })
    }
}

impl Producer {
    /// Sends a record: adds it to a batch for its partition.
    ///
    /// Blocks its thread while the buffer is full, up to
    /// [`max_block`](ProducerConfig::max_block), 60 seconds by default. In async code set that to
    /// zero, or see [`docs::async_use`](crate::docs::async_use). When it fails, nothing was
    /// changed.
    ///
    /// # Errors
    ///
    /// - [`Error::Topic`]: there is no such topic, or no such partition.
    /// - [`Error::InvalidRecord`] for no key in a topic that is compacted, and a timestamp that the topic does not take.
    /// - [`Error::Produce`]: [`ProduceError::RecordTooLarge`], [`ProduceError::BufferFull`], and
    ///   [`ProduceError::NoSuchPartition`] or [`ProduceError::PartitionerPanicked`] of a partitioner; [`ProduceError::Closed`].
    /// - [`Error::Io`] when the producer's thread cannot be started.
    #[inline]
    pub fn send(&self, record: impl Into<ProducerRecord>) -> Result<SendHandle> {
        self.handle.shared.send(record.into(), None)
    }

    /// Sends a record of which nobody wants to know more: [`flush`](Self::flush) and
    /// [`close`](Self::close) tell whether it failed while they waited for it, and
    /// [`stats`](Self::stats) count it. A little faster than [`send`](Self::send).
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
        self.handle.shared.send(record.into(), None)
    }

    /// Sends a record, and calls back when it is sent or has failed for good.
    ///
    /// The callbacks of a partition are called in the order of its records, by a thread that
    /// sends, waits or flushes, or by one that the producer starts for them. No lock is held: a
    /// callback may send, wait, flush, and close the producer. It may also block; the callbacks
    /// behind it wait, writing goes on. In a callback, `flush`, `close` and `poll` wait for
    /// records, and not for callbacks, which might wait for this one.
    ///
    /// A callback that panics is reported as
    /// [`Event::CallbackPanicked`](crate::Event::CallbackPanicked). It is not called when this
    /// returns an error. A [handle](SendHandle) may be done before; [`flush`](Self::flush) waits
    /// for callbacks, too.
    ///
    /// ```
    /// use annals::{ProducerConfig, Store, StoreConfig, TopicConfig};
    /// use std::sync::mpsc::channel;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default())?;
    /// let producer = store.producer(ProducerConfig::default())?;
    /// let (tell, told) = channel();
    /// producer.send_with(("orders", "paid"), move |sent| {
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
    pub fn send_with(
        &self,
        record: impl Into<ProducerRecord>,
        callback: impl FnOnce(Result<&RecordMetadata, &Error>) + Send + 'static,
    ) -> Result<SendHandle> {
        self.handle.shared.send(record.into(), Some(Box::new(callback)))
    }

    /// The same producer, for one topic: for who sends many records to it. [`TopicProducer`] has
    /// an example.
    ///
    /// # Errors
    ///
    /// - [`Error::Topic`]: there is no such topic.
    /// - [`Error::Produce`], with [`ProduceError::Closed`].
    pub fn topic(&self, name: impl Into<Arc<str>>) -> Result<TopicProducer> {
        TopicProducer::new(self, &name.into())
    }

    /// Writes all that was sent before this call, and waits until it is known what became of it,
    /// and callbacks were called. In a [callback](Self::send_with) it waits for no callbacks.
    ///
    /// # Errors
    ///
    /// [`Error::Produce`] with the first failure of a batch that this waited for. It waits for
    /// all of them all the same.
    pub fn flush(&self) -> Result<()> {
        self.handle.shared.flush(None).map(|_| ())
    }

    /// Does what is due: writes batches that have lingered, tries again what failed, and gives up
    /// what has failed for too long. Returns how long it is until there is something to do;
    /// `None` if nothing waits.
    ///
    /// The producer's thread does the same, and what it is at is waited for. Call it after a
    /// [`ManualClock`](crate::ManualClock) was advanced.
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
        let shared = &self.handle.shared;
        let (next, met_others) = shared.poll();
        shared.wait_for_others();
        if met_others { shared.poll().0 } else { next }
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        let shared = &self.handle.shared;
        let counters = &shared.counters;
        ProducerStats {
            records: counters.records.load(Ordering::Relaxed),
            batches: counters.batches.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            buffered_bytes: shared.buffer.used(),
            retries: counters.retries.load(Ordering::Relaxed),
            errors: counters.errors.load(Ordering::Relaxed),
        }
    }

    /// [Flushes](Self::flush), and ends the producer for all its handles. With the last handle, the logs
    /// forget it: nothing of it can be resent.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush), and [`ProduceError::Closed`] when it was closed before.
    pub fn close(self) -> Result<()> {
        self.close_until(None)
    }

    /// [Closes](Self::close) the producer, but gives up what is not written within this time.
    ///
    /// A batch that another thread is writing by then cannot be called back: its handles tell
    /// whether it was written. Callbacks that have not been called by then are called later.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close), and [`ProduceError::Aborted`] when something was given up, or
    /// is still being written.
    pub fn close_within(self, timeout: Duration) -> Result<()> {
        self.close_until(Some(timeout))
    }

    fn close_until(self, timeout: Option<Duration>) -> Result<()> {
        let shared = &self.handle.shared;
        if !shared.shut() {
            return Err(ProduceError::Closed.into());
        }
        let flushed = shared.flush(timeout);
        let all = shared.end(!matches!(flushed, Ok(false)));
        match flushed? {
            false if !all => Err(ProduceError::Aborted.into()),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("config", &self.handle.shared.config)
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
