//! The options of a producer.

use crate::client::partitioner::Partitioner;
use crate::client::producer::interceptor::ProducerInterceptor;
use crate::error::{Result, reject_option};
use crate::record::Compression;
use crate::wire::MAX_STRING;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A record must leave room for the header of its batch.
const MAX_REQUEST_BYTES: u64 = 1 << 30;

/// When a record counts as sent. Kafka: `acks`, here for a log in the same process.
///
/// ```
/// use annals::{Acks, ProducerConfig, Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default())?;
/// let flushed = store.producer(ProducerConfig::default().acks(Acks::Flushed))?;
/// assert_eq!(flushed.send(("orders", "paid"))?.wait()?.offset, Some(0));
/// let none = store.producer(ProducerConfig::default().acks(Acks::None))?;
/// assert_eq!(none.send(("orders", "paid"))?.wait()?.offset, None);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Acks {
    /// When the producer has accepted it. Its offset stays unknown, and a process crash loses it.
    /// Kafka: `acks=0`.
    None,
    /// When the log has it: it survives a process crash. Kafka: `acks=1`.
    #[default]
    Written,
    /// When the disk has it: it survives loss of power. Threads that send at the same time share
    /// an fsync. Kafka: `acks=all`, and more, because Kafka's brokers do not wait for their disks.
    Flushed,
}

/// The choice of a partition for a record that names none.
///
/// ```
/// use annals::{PartitionerChoice, ProducerConfig, Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default().partitions(3))?;
/// let by_size = |_: &str, _: Option<&[u8]>, value: Option<&[u8]>, partitions: u32| {
///     value.map_or(0, |value| value.len() as u32 % partitions)
/// };
/// let config = ProducerConfig::default().partitioner(PartitionerChoice::custom(by_size));
/// let producer = store.producer(config)?;
/// let sent = producer.send(("orders", "12345"))?.wait()?;
/// assert_eq!(sent.partition, 2);
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum PartitionerChoice {
    /// By the hash of the key, the same as Kafka's. Records without a key go to one random
    /// partition until it has received a batch, and then to another.
    #[default]
    ByKey,
    /// One partition after the other, whatever the key.
    RoundRobin,
    /// A partitioner of your own.
    Custom(Arc<dyn Partitioner>),
}

impl PartitionerChoice {
    /// Uses a partitioner of your own, for example a closure.
    pub fn custom(partitioner: impl Partitioner + 'static) -> PartitionerChoice {
        PartitionerChoice::Custom(Arc::new(partitioner))
    }
}

impl fmt::Debug for PartitionerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartitionerChoice::ByKey => "ByKey",
            PartitionerChoice::RoundRobin => "RoundRobin",
            PartitionerChoice::Custom(_) => "Custom(..)",
        })
    }
}

/// The options of a [`Producer`](crate::Producer).
///
/// The defaults are those of Kafka's producer, except for [`acks`](Self::acks).
/// [`Store::producer`](crate::Store::producer) rejects an invalid value with
/// [`Error::InvalidConfig`](crate::Error::InvalidConfig); it is never adjusted.
///
/// ```
/// use annals::{Acks, Codec, ProducerConfig, Store, StoreConfig};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let config = ProducerConfig::default().acks(Acks::Flushed).linger(Duration::ZERO);
/// let producer = store.producer(config)?;
/// let error = store.producer(ProducerConfig::default().buffer_bytes(1)).unwrap_err();
/// assert!(error.to_string().starts_with("option `buffer_bytes`"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct ProducerConfig {
    pub(super) acks: Acks,
    pub(super) batch_bytes: usize,
    pub(super) linger: Duration,
    pub(super) buffer_bytes: u64,
    pub(super) max_block: Duration,
    pub(super) max_request_bytes: u64,
    pub(super) compression: Compression,
    pub(super) idempotence: bool,
    pub(super) delivery_timeout: Duration,
    pub(super) retry_backoff: Duration,
    pub(super) retry_backoff_max: Duration,
    pub(super) partitioner: PartitionerChoice,
    pub(super) interceptors: Vec<Arc<dyn ProducerInterceptor>>,
    pub(super) transactional_id: Option<String>,
    pub(super) transaction_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::Written,
            batch_bytes: 16 << 10,
            linger: Duration::from_millis(5),
            buffer_bytes: 32 << 20,
            max_block: Duration::from_secs(60),
            max_request_bytes: 1 << 20,
            compression: Compression::None,
            idempotence: true,
            delivery_timeout: Duration::from_secs(120),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            partitioner: PartitionerChoice::ByKey,
            interceptors: Vec::new(),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

impl ProducerConfig {
    /// Sets when a record counts as sent, so that its handle is done and its callback is called.
    ///
    /// *Default:* [`Acks::Written`]. Kafka: `acks`, whose default is `all`.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Sets the number of bytes at which a batch is written, before compression. A larger record
    /// gets a batch of its own.
    ///
    /// Larger batches are faster, because each batch costs a system call. *Default:* 16 KiB.
    /// *Limits:* at most 1 GiB, and at most [`buffer_bytes`](Self::buffer_bytes); with 0 each
    /// record is a batch. A topic with a lower
    /// [`max_message_bytes`](crate::LogConfig::max_message_bytes) gets smaller batches.
    /// Kafka: `batch.size`.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// Sets how long the first record of a batch waits for others. If a thread or task waits for a
    /// record, its batch is written at once.
    ///
    /// With zero, the sending thread writes the batch, and threads that send at the same moment
    /// share one. A record without a timestamp gets the time at which its batch was begun, if
    /// `linger` is at most 10 ms, and otherwise the time at which it is sent. *Default:* 5 ms.
    /// *Limits:* at most [`delivery_timeout`](Self::delivery_timeout). Kafka: `linger.ms`.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets the number of bytes that may wait to be written. A batch counts with
    /// [`batch_bytes`](Self::batch_bytes) from its first record on.
    ///
    /// *Default:* 32 MiB. *Limits:* at least `batch_bytes`, and at least 1.
    /// Kafka: `buffer.memory`.
    #[must_use]
    pub fn buffer_bytes(mut self, bytes: u64) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Sets how long `send` waits for room before it fails with
    /// [`ProduceError::BufferFull`](crate::ProduceError::BufferFull).
    ///
    /// *Default:* 60 s. *Limits:* none; zero never waits. Kafka: `max.block.ms`.
    #[must_use]
    pub fn max_block(mut self, wait: Duration) -> Self {
        self.max_block = wait;
        self
    }

    /// Sets the largest record that `send` accepts, as the upper bound of its encoding in a batch
    /// of its own, before compression.
    ///
    /// *Default:* 1 MiB. *Limits:* 1 to 1 GiB. Kafka: `max.request.size`.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: u64) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Sets the compression of batches, done by the thread that writes them. A topic with a codec
    /// of its own overrides it.
    ///
    /// *Default:* none. *Limits:* the codecs of this build. Kafka: `compression.type`.
    #[must_use]
    pub fn compression(mut self, compression: impl Into<Compression>) -> Self {
        self.compression = compression.into();
        self
    }

    /// Sets whether batches are numbered, so that a retried batch is stored once.
    ///
    /// *Default:* on. *Limits:* none. Without it, a batch may be stored twice if it is not known
    /// whether a write succeeded. Within one process, that happens only after a panic of a
    /// [`Listener`](crate::Listener). Kafka: `enable.idempotence`.
    #[must_use]
    pub fn idempotence(mut self, on: bool) -> Self {
        self.idempotence = on;
        self
    }

    /// Sets how long a failing batch is retried, counted from its first record. Then it fails
    /// with [`ProduceError::DeliveryTimeout`](crate::ProduceError::DeliveryTimeout).
    ///
    /// The producer retries errors that are [retryable](crate::Error::is_retryable), such as a full
    /// disk or too many open files. *Default:* 120 s. *Limits:* at least [`linger`](Self::linger).
    /// Kafka: `delivery.timeout.ms`, and `retries` without limit.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// Sets the pause before the first retry of a batch; each further pause is twice as long.
    ///
    /// *Default:* 100 ms. *Limits:* at most [`retry_backoff_max`](Self::retry_backoff_max).
    /// Kafka: `retry.backoff.ms`, which adds random jitter so that clients do not retry at
    /// the same time; here there are no other clients.
    #[must_use]
    pub fn retry_backoff(mut self, wait: Duration) -> Self {
        self.retry_backoff = wait;
        self
    }

    /// Sets the longest pause before a retry of a batch.
    ///
    /// *Default:* 1 s. *Limits:* at least [`retry_backoff`](Self::retry_backoff).
    /// Kafka: `retry.backoff.max.ms`.
    #[must_use]
    pub fn retry_backoff_max(mut self, wait: Duration) -> Self {
        self.retry_backoff_max = wait;
        self
    }

    /// Sets the choice of a partition for a record that names none.
    ///
    /// *Default:* [`PartitionerChoice::ByKey`]. Kafka: `partitioner.class`.
    #[must_use]
    pub fn partitioner(mut self, choice: PartitionerChoice) -> Self {
        self.partitioner = choice;
        self
    }

    /// Adds an interceptor, which sees each record before it is sent, and its result. It is called
    /// after the interceptors that were added earlier.
    ///
    /// *Default:* none. Kafka: `interceptor.classes`.
    #[must_use]
    pub fn interceptor(mut self, interceptor: Arc<dyn ProducerInterceptor>) -> Self {
        self.interceptors.push(interceptor);
        self
    }

    /// Makes the producer transactional: it sends records only in transactions, see
    /// [`Producer::transaction`](crate::Producer::transaction).
    ///
    /// The id names the producer for good, also in later processes. A producer that takes an id
    /// over fences the previous one and aborts its transaction. So give each producer of a service
    /// its own id, and the same one after each restart. *Default:* none. *Limits:* 1 to 32767
    /// bytes, with [`idempotence`](Self::idempotence) on, and not with [`Acks::None`].
    /// Kafka: `transactional.id`.
    #[must_use]
    pub fn transactional_id(mut self, id: impl Into<String>) -> Self {
        self.transactional_id = Some(id.into());
        self
    }

    /// Sets how long a transaction may stay open, counted from its first record or offset. Then
    /// the store aborts it, and readers of committed records do not wait for it any longer.
    ///
    /// *Default:* 60 s. *Limits:* at least 1 ms, and at most the `max_timeout` of the store's
    /// [`TransactionCoordinatorConfig`](crate::TransactionCoordinatorConfig), 15 minutes by
    /// default. Kafka: `transaction.timeout.ms`.
    #[must_use]
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// Validates the options, as [`Store::producer`](crate::Store::producer) does.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig);
    /// [`Error::Unsupported`](crate::Error::Unsupported) for a codec that is not in this build.
    pub fn validate(&self) -> Result<()> {
        let (batch, buffer) = (self.batch_bytes as u64, self.buffer_bytes);
        if buffer == 0 {
            return reject_option("buffer_bytes", 0, "must be at least 1");
        }
        if batch > buffer {
            let rule = format!("must be at least `batch_bytes`, which is {batch}");
            return reject_option("buffer_bytes", buffer, rule);
        }
        if !(1..=MAX_REQUEST_BYTES).contains(&self.max_request_bytes) {
            let rule = "must lie between 1 and 1 GiB";
            return reject_option("max_request_bytes", self.max_request_bytes, rule);
        }
        if batch > MAX_REQUEST_BYTES {
            return reject_option("batch_bytes", batch, "must be at most 1 GiB");
        }
        let (timeout, linger) = (self.delivery_timeout, self.linger);
        if timeout < linger {
            let rule = format!("must be at least `linger`, which is {linger:?}");
            return reject_option("delivery_timeout", format_args!("{timeout:?}"), rule);
        }
        let (backoff, most) = (self.retry_backoff, self.retry_backoff_max);
        if backoff > most {
            let rule = format!("must be at most `retry_backoff_max`, which is {most:?}");
            return reject_option("retry_backoff", format_args!("{backoff:?}"), rule);
        }
        self.validate_transactions()?;
        self.compression.check()
    }

    fn validate_transactions(&self) -> Result<()> {
        let Some(id) = &self.transactional_id else { return Ok(()) };
        if id.is_empty() {
            return reject_option("transactional_id", "empty", "must name the producer");
        }
        if id.len() > MAX_STRING {
            let rule = format!("must have at most {MAX_STRING}");
            return reject_option(
                "transactional_id",
                format_args!("{} bytes long", id.len()),
                rule,
            );
        }
        if !self.idempotence {
            return reject_option("idempotence", "off", "must be on with a `transactional_id`");
        }
        if self.acks == Acks::None {
            let rule = "must be `Written` or `Flushed` with a `transactional_id`";
            return reject_option("acks", "None", rule);
        }
        let timeout = self.transaction_timeout;
        if timeout < Duration::from_millis(1) {
            let rule = "must be at least 1 ms";
            return reject_option("transaction_timeout", format_args!("{timeout:?}"), rule);
        }
        Ok(())
    }
}

impl fmt::Debug for ProducerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerConfig")
            .field("acks", &self.acks)
            .field("batch_bytes", &self.batch_bytes)
            .field("linger", &self.linger)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("max_block", &self.max_block)
            .field("max_request_bytes", &self.max_request_bytes)
            .field("compression", &self.compression)
            .field("idempotence", &self.idempotence)
            .field("delivery_timeout", &self.delivery_timeout)
            .field("retry_backoff", &self.retry_backoff)
            .field("retry_backoff_max", &self.retry_backoff_max)
            .field("partitioner", &self.partitioner)
            .field("interceptors", &self.interceptors.len())
            .field("transactional_id", &self.transactional_id)
            .field("transaction_timeout", &self.transaction_timeout)
            .finish()
    }
}
