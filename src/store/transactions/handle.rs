//! The transactions of a store, as their producers use them.

use crate::error::{Result, TransactionError};
use crate::store::topics::Store;
use crate::transaction::coordinator::{Coordinator, Wait};
use crate::transaction::listing::TransactionListing;
use crate::transaction::{Outcome, TransactionMetadata};
use crate::types::{ProducerIdentity, TopicPartition, TransactionVersion};
use std::sync::Arc;
use std::time::Duration;

/// The transactions of a store: a group of batches in any partitions, of which all count or none.
/// [`Store::transactions`] returns it.
///
/// A producer has a *transactional id*, which it keeps over restarts. It
/// [initializes](Transactions::init_producer_id) itself, and gets a producer id and an epoch. For
/// each transaction, it [adds](Transactions::add_partitions) partitions, appends batches with this
/// id and epoch to them, and [ends](Transactions::end) the transaction. Each end gives it a new
/// epoch, with which its sequence numbers begin at 0 again.
///
/// ```
/// use annals::record::BatchBuilder;
/// use annals::{IsolationLevel, Outcome, StartAt, Store, StoreConfig, Timestamp, TopicConfig};
/// use annals::{TransactionVersion::V2, Wait};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default().partitions(2))?;
/// let transactions = store.transactions()?;
/// let minute = Duration::from_secs(60);
/// let producer = transactions.init_producer_id("billing", minute, None, Wait::UpTo(minute))?;
///
/// for partition in 0..2 {
///     let log = orders.partition(partition)?;
///     let guard = log.begin_verification(producer, 0, V2)?;
///     let added = [("orders", partition).into()];
///     transactions.add_partitions("billing", producer, &added, V2, Wait::UpTo(minute))?;
///     let mut builder = BatchBuilder::new();
///     builder.producer(producer.id, producer.epoch, 0).transactional(true);
///     builder.push(Timestamp::from_millis(1), None, Some(b"paid"))?;
///     log.append_verified(builder.build()?, guard)?;
/// }
/// let committed = orders.partition(0)?.isolated(IsolationLevel::ReadCommitted);
/// assert_eq!(committed.reader(StartAt::Earliest)?.records().count(), 0);
///
/// let flush = false; // a process crash is survived all the same
/// let next = transactions.end("billing", producer, Outcome::Commit, V2, flush, Wait::UpTo(minute))?;
/// assert_eq!(committed.reader(StartAt::Earliest)?.records().count(), 1);
/// assert_eq!((next.id, next.epoch), (producer.id, producer.epoch + 1));
/// # Ok::<(), annals::Error>(())
/// ```
///
/// # Failures
///
/// The decision over a transaction is a record in the topic `__transaction_state`, and the
/// partitions get a marker after that. A failure in between is
/// [`Completing`](TransactionError::Completing). Then the next call for the id,
/// [`tick`](Transactions::tick), or the next opening of the store writes the markers that are
/// missing.
///
/// | failure | a transaction that was ended with `flush` | without |
/// |---|---|---|
/// | process crash | whole | whole |
/// | power loss | whole, once [`end`](Transactions::end) has returned; before, whole or aborted | each partition on its own: records that were not flushed may be lost |
///
/// A transaction that is ongoing when its process ends is aborted by the next opening, unless
/// [`resume_ongoing`](crate::TransactionCoordinatorConfig::resume_ongoing) is set.
///
/// # Timeouts
///
/// A transaction that takes longer than the timeout of its producer is aborted: by the next call
/// for its id, by a round of the store's [`Maintainer`](crate::Maintainer), by
/// [`Store::maintain`], or by [`tick`](Transactions::tick). In a store without maintainer, each
/// call of this type ticks, and so does each [`poll`](crate::Consumer::poll) of a consumer that
/// reads committed records. A poll that waits ticks when the next timeout is due.
///
/// The handle keeps the store open, as all handles do. All calls fail with
/// [`StoreClosed`](crate::Error::StoreClosed) once the store is closed, and with the errors of
/// [`Log::append`](crate::Log::append) if `__transaction_state` cannot be written to. A call that
/// fails so has changed nothing.
#[derive(Debug, Clone)]
pub struct Transactions {
    pub(super) store: Store,
}

impl Transactions {
    pub(super) fn new(store: Store) -> Transactions {
        Transactions { store }
    }

    /// Returns the coordinator of a transactional id that a producer has.
    pub(super) fn coordinator_of(&self, id: &str) -> Result<Arc<Coordinator>> {
        if let Some(coordinator) = self.store.used_transaction_coordinator() {
            return Ok(coordinator);
        }
        let existing = self.store.existing_transaction_coordinator()?;
        let unknown = || TransactionError::InvalidIdMapping { id: id.to_owned() };
        existing.ok_or_else(|| unknown().into())
    }

    /// Assigns a producer its producer id and epoch. All earlier producers with this transactional
    /// id are fenced by it, also those of earlier processes: their calls fail. A transaction of
    /// theirs that is ongoing is aborted first.
    ///
    /// `timeout` is the longest time that a transaction of the producer can take. `expected` is
    /// the identity of a producer that continues after an error. It gets the next epoch, unless
    /// another producer has taken over. If its answer was lost, it repeats the call and gets the
    /// same one. The call waits as `wait` says while another thread completes a transaction of the
    /// id.
    ///
    /// The first call creates the topic `__transaction_state`. After a crash, the first producer
    /// of each transactional id gets a new producer id. Kafka: `InitProducerId`.
    ///
    /// ```
    /// use annals::{ErrorKind, Outcome, Store, StoreConfig, TransactionVersion::V2, Wait};
    /// use std::time::Duration;
    ///
    /// let transactions = Store::in_memory(StoreConfig::default())?.transactions()?;
    /// let minute = Duration::from_secs(60);
    /// let first = transactions.init_producer_id("billing", minute, None, Wait::No)?;
    /// let second = transactions.init_producer_id("billing", minute, None, Wait::No)?;
    /// assert_eq!((second.id, second.epoch), (first.id, first.epoch + 1));
    ///
    /// let fenced = transactions.add_partitions("billing", first, &[], V2, Wait::No).unwrap_err();
    /// assert_eq!(fenced.kind(), ErrorKind::Fenced);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`EmptyId`](TransactionError::EmptyId),
    ///   [`InvalidTimeout`](TransactionError::InvalidTimeout).
    /// - [`Fenced`](TransactionError::Fenced): another producer has taken over from `expected`.
    /// - [`Concurrent`](TransactionError::Concurrent),
    ///   [`Completing`](TransactionError::Completing): the previous transaction is not complete.
    /// - [`CorruptState`](TransactionError::CorruptState).
    pub fn init_producer_id(
        &self,
        id: &str,
        timeout: Duration,
        expected: Option<ProducerIdentity>,
        wait: Wait,
    ) -> Result<ProducerIdentity> {
        let coordinator = self.store.transaction_coordinator()?;
        coordinator.init_producer_id(id, timeout, expected, wait)
    }

    /// Adds partitions to the transaction of a producer, and begins one if none is ongoing. Call
    /// it before the first batch of the transaction is appended to a partition, so that the
    /// partition gets its marker, whatever happens. Partitions that the transaction has already
    /// cost nothing. Kafka: `AddPartitionsToTxn`.
    ///
    /// # Errors
    /// - [`Fenced`](TransactionError::Fenced),
    ///   [`InvalidIdMapping`](TransactionError::InvalidIdMapping).
    /// - [`Expired`](TransactionError::Expired): the transaction has timed out.
    /// - [`Concurrent`](TransactionError::Concurrent),
    ///   [`Completing`](TransactionError::Completing): the previous transaction is not complete.
    /// - [`TopicError::Unknown`](crate::TopicError::Unknown),
    ///   [`UnknownPartition`](crate::TopicError::UnknownPartition).
    /// - [`CorruptState`](TransactionError::CorruptState).
    pub fn add_partitions(
        &self,
        id: &str,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
        version: TransactionVersion,
        wait: Wait,
    ) -> Result<()> {
        for at in partitions {
            self.store.topic(&at.topic)?.check_has_partition(at.partition)?;
        }
        self.coordinator_of(id)?.add_partitions(id, producer, partitions, version, wait)
    }

    /// Ends the transaction of a producer, and returns the identity for its next one. The
    /// transaction is decided once the decision is stored, and when the call returns, each
    /// partition has its marker: a reader of committed records sees the records, or skips them.
    ///
    /// With [`V2`](TransactionVersion::V2), the returned epoch is higher by one, and a call whose
    /// answer was lost can be repeated. Once the epochs are used up, the producer id is another
    /// one. With a lower version, the identity stays.
    ///
    /// With `flush`, the records are made durable before the decision, the decision before the
    /// first marker, and the markers before the call returns. Kafka: `EndTxn`.
    ///
    /// # Errors
    /// - [`Fenced`](TransactionError::Fenced),
    ///   [`InvalidIdMapping`](TransactionError::InvalidIdMapping).
    /// - [`Expired`](TransactionError::Expired): the transaction has timed out, and was aborted.
    /// - [`InvalidState`](TransactionError::InvalidState): there is no transaction to commit, or a
    ///   transaction that was aborted is to be committed, or the reverse.
    /// - [`PartitionGone`](TransactionError::PartitionGone): a topic of a transaction to commit was
    ///   deleted. Abort it.
    /// - [`Completing`](TransactionError::Completing): the transaction is decided, but a partition
    ///   cannot get its marker at present.
    /// - [`Concurrent`](TransactionError::Concurrent),
    ///   [`CorruptState`](TransactionError::CorruptState).
    pub fn end(
        &self,
        id: &str,
        producer: ProducerIdentity,
        outcome: Outcome,
        version: TransactionVersion,
        flush: bool,
        wait: Wait,
    ) -> Result<ProducerIdentity> {
        self.coordinator_of(id)?.end(id, producer, outcome, version, flush, wait)
    }

    /// Fails if one of the partitions is not part of the ongoing transaction of a producer. A
    /// partition's leader asks this before it takes the first batch of a transaction from a
    /// client that adds its partitions itself. Kafka: `AddPartitionsToTxn` with `VerifyOnly`.
    ///
    /// # Errors
    /// [`PartitionNotAdded`](TransactionError::PartitionNotAdded), and as
    /// [`add_partitions`](Transactions::add_partitions).
    pub fn verify(
        &self,
        id: &str,
        producer: ProducerIdentity,
        partitions: &[TopicPartition],
        wait: Wait,
    ) -> Result<()> {
        self.coordinator_of(id)?.verify(id, producer, partitions, wait)
    }

    /// Fences the producer of a transactional id, as another producer with the id would, and
    /// aborts its ongoing transaction. Kafka: `fenceProducers`.
    ///
    /// # Errors
    /// [`UnknownId`](TransactionError::UnknownId), and as
    /// [`init_producer_id`](Transactions::init_producer_id).
    pub fn fence(&self, id: &str, wait: Wait) -> Result<ProducerIdentity> {
        let timeout_ms = self.describe(id)?.timeout_ms;
        let timeout = Duration::from_millis(u64::try_from(timeout_ms.max(1)).unwrap_or(1));
        // The timeout may be one that another configuration allowed.
        let timeout = timeout.min(self.store.inner().config.transaction_coordinator.max_timeout);
        self.init_producer_id(id, timeout, None, wait)
    }

    /// Returns what is stored of a transactional id: its producer, and its latest transaction.
    /// Kafka: `DescribeTransactions`.
    ///
    /// ```
    /// use annals::{Store, StoreConfig, TransactionState, Wait};
    /// use std::time::Duration;
    ///
    /// let transactions = Store::in_memory(StoreConfig::default())?.transactions()?;
    /// let minute = Duration::from_secs(60);
    /// let producer = transactions.init_producer_id("billing", minute, None, Wait::No)?;
    /// let described = transactions.describe("billing")?;
    /// assert_eq!((described.producer_id, described.timeout_ms), (producer.id, 60_000));
    /// assert_eq!(described.state, TransactionState::Empty);
    /// assert_eq!(transactions.list()?[0].transactional_id, "billing");
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`UnknownId`](TransactionError::UnknownId),
    /// [`CorruptState`](TransactionError::CorruptState).
    pub fn describe(&self, id: &str) -> Result<TransactionMetadata> {
        let coordinator = self.store.existing_transaction_coordinator()?;
        let producer = coordinator.map(|coordinator| coordinator.producer(id)).transpose()?;
        let unknown = || TransactionError::UnknownId { id: id.to_owned() };
        Ok(producer.flatten().ok_or_else(unknown)?.stored)
    }

    /// Returns all transactional ids, in their order. Kafka: `ListTransactions`.
    ///
    /// # Errors
    /// [`CorruptState`](TransactionError::CorruptState), and the errors of a read, if a partition
    /// of `__transaction_state` cannot be read.
    pub fn list(&self) -> Result<Vec<TransactionListing>> {
        let coordinator = self.store.existing_transaction_coordinator()?;
        coordinator.map_or(Ok(Vec::new()), |coordinator| coordinator.list())
    }

    /// Aborts transactions that have timed out, and completes decided ones whose markers could not
    /// be written before. Returns the time until the next one is due; `None` if none is going on.
    ///
    /// A failure is no error: the transaction is due again after
    /// [`abort_check_interval`](crate::TransactionCoordinatorConfig::abort_check_interval).
    pub fn tick(&self) -> Option<Duration> {
        self.store.used_transaction_coordinator()?.tick()
    }
}
