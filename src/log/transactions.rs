//! The calls of a log for transactions: beginning one with a permission, ending one, and finding
//! those that nothing ends.
//!
//! A log stores the batches of a transaction as they come, and a marker that says whether they
//! count. A transaction coordinator decides that, for all partitions of the transaction.

use crate::error::{Error, ProducerStateError, Result};
use crate::log::{Appended, Log};
use crate::producer_state::VerificationGuard;
use crate::record::{BatchBuilder, EndTxnMarker, RecordBatch};
use crate::types::{
    Offset, ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp, TransactionVersion,
};
use std::time::Duration;

/// A transaction that is open, and whose producer is silent.
/// [`Log::abort_transaction`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HangingTransaction {
    /// The id of its producer.
    pub producer_id: ProducerId,
    /// The epoch of its batches.
    pub producer_epoch: ProducerEpoch,
    /// The epoch of the coordinator that ended the producer's previous transaction; -1 if there is
    /// none.
    pub coordinator_epoch: i32,
    /// Its first offset.
    pub first_offset: Offset,
    /// The largest timestamp of its last batch.
    pub last_timestamp: Timestamp,
    /// When its last batch arrived, by the clock of the log. A batch that an opening had to read
    /// again counts as arrived then. In a read-only log, `last_timestamp`.
    pub heard: Timestamp,
}

impl Log {
    /// Appends the marker that commits or aborts the transaction of a producer, as a partition's
    /// leader does for a transaction coordinator.
    ///
    /// The transaction began with the first batch of the producer since its last marker. From that
    /// batch on, [`Offsets::last_stable`](crate::Offsets::last_stable) stayed below it. The marker
    /// takes one offset, and readers never return it as a record.
    ///
    /// With no transaction open, the marker is written as well, and what it says of the epochs
    /// holds: batches of lower producer epochs and markers of lower coordinator epochs are
    /// rejected from now on. So a coordinator can send a marker again if it does not know whether
    /// it arrived, and can fence a producer.
    ///
    /// ```
    /// use annals::record::{BatchBuilder, EndTxnMarker, RecordBatch};
    /// use annals::{Log, LogConfig, ProducerIdentity, Timestamp, TransactionVersion, fs::MemFs};
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let mut builder = BatchBuilder::new();
    /// builder.producer(4000, 0, 0).transactional(true);
    /// builder.push(Timestamp::from_millis(1), None, Some(b"in a transaction"))?;
    /// log.append_batch(RecordBatch::parse(builder.build_bytes()?.into())?)?;
    /// assert_eq!((log.offsets().last_stable, log.offsets().end), (0, 1));
    ///
    /// let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
    /// let next = ProducerIdentity { id: 4000, epoch: 1 };
    /// log.append_marker(next, marker, TransactionVersion::V2)?;
    /// assert_eq!((log.offsets().last_stable, log.offsets().end), (2, 2));
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// When this returns, the marker survives a process crash, as any append. To survive a loss of
    /// power it must be [flushed](Log::flush). A marker that is lost leaves its transaction open.
    ///
    /// # Errors
    /// As [`append`](Log::append), and
    /// - [`Error::InvalidBatch`](crate::Error::InvalidBatch) if the id or the epoch is negative.
    /// - [`Error::Producer`](crate::Error::Producer), with nothing stored:
    ///   - [`Fenced`](crate::ProducerStateError::Fenced): the log has seen a higher epoch of the
    ///     producer.
    ///   - [`MarkerEpochNotRaised`](crate::ProducerStateError::MarkerEpochNotRaised): the epoch is
    ///     that of the open transaction, and `version` is [`V2`](TransactionVersion::V2).
    ///   - [`CoordinatorFenced`](crate::ProducerStateError::CoordinatorFenced): the log has seen
    ///     the marker of a later coordinator.
    ///   - [`BypassesGroups`](crate::ProducerStateError::BypassesGroups): the log is a partition of
    ///     `__consumer_offsets` in a store. Call [`Transactions::end`](crate::Transactions::end).
    pub fn append_marker(
        &self,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<Appended> {
        self.check_bypasses_no_groups(producer.id)?;
        self.inner.append_marker(producer, marker, version)
    }

    /// Appends a marker as [`append_marker`](Log::append_marker) does, also to a log that stores
    /// groups: their coordinator calls it, or there is none.
    pub(crate) fn append_marker_of_coordinator(
        &self,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<Appended> {
        self.inner.append_marker(producer, marker, version)
    }

    /// Fails if groups are stored in the log: offsets would stay pending in memory, although the
    /// log has the marker.
    fn check_bypasses_no_groups(&self, producer_id: ProducerId) -> Result<()> {
        if self.inner.config.transactions.stores_groups {
            return Err(Error::Producer(ProducerStateError::BypassesGroups { producer_id }));
        }
        Ok(())
    }

    /// Returns a permission for the first batch of a transaction, on a log that
    /// [verifies transactions](crate::LogConfig::verify_transactions), such as those of a store.
    ///
    /// Call this first, then ask the transaction coordinator whether the producer's transaction is
    /// going on and includes this partition, and then [append](Log::append_verified) the batch. In
    /// a store, [`Transactions::verify`](crate::Transactions::verify) asks, and
    /// [`add_partitions`](crate::Transactions::add_partitions) includes the partition. If a marker
    /// arrives in between, the permission is void. So a late batch cannot open a transaction that
    /// nothing ends.
    ///
    /// The permission of a producer stays the same until it is used, or void. `first_sequence` is
    /// the sequence number of the batch, and `version` is the one that the producer follows: by
    /// [`V2`](TransactionVersion::V2), a producer that the log does not know begins at 0. Nothing
    /// is stored: after a truncation, a new opening, or
    /// [`producer_id_expiration`](crate::LogConfig::producer_id_expiration), ask again.
    ///
    /// ```
    /// use annals::record::{BatchBuilder, EndTxnMarker};
    /// use annals::{ErrorKind, Log, LogConfig, ProducerIdentity, Timestamp};
    /// use annals::{TransactionVersion::V2, fs::MemFs};
    ///
    /// let config = LogConfig::default().verify_transactions(true).fs(MemFs::new());
    /// let log = Log::open("orders-0", config)?;
    /// let batch = |epoch| {
    ///     let mut builder = BatchBuilder::new();
    ///     builder.producer(4000, epoch, 0).transactional(true);
    ///     builder.push(Timestamp::from_millis(1), None, Some(b"paid"))?;
    ///     builder.build()
    /// };
    /// let producer = ProducerIdentity { id: 4000, epoch: 0 };
    /// let guard = log.begin_verification(producer, 0, V2)?;
    /// assert!(!guard.is_verified()); // the coordinator is asked here
    /// log.append_verified(batch(0)?, guard)?;
    ///
    /// let next = ProducerIdentity { epoch: 1, ..producer };
    /// log.append_marker(next, EndTxnMarker { committed: true, coordinator_epoch: 0 }, V2)?;
    /// let late = log.append_verified(batch(1)?, guard).unwrap_err();
    /// assert_eq!(late.kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::Poisoned`](crate::Error::Poisoned),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn begin_verification(
        &self,
        producer: ProducerIdentity,
        first_sequence: Sequence,
        version: TransactionVersion,
    ) -> Result<VerificationGuard> {
        self.inner.begin_verification(producer, first_sequence, version)
    }

    /// Appends a batch, as [`append_batch`](Log::append_batch) does, that the guard permits to open
    /// a transaction. A log that does not verify transactions ignores the guard.
    ///
    /// # Errors
    /// As [`append_batch`](Log::append_batch). With nothing stored,
    /// [`NotInTransaction`](crate::ProducerStateError::NotInTransaction) if the permission is void,
    /// and [`OutOfOrder`](crate::ProducerStateError::OutOfOrder) if the batch would open the
    /// transaction with a later record than one that a permission was asked for.
    pub fn append_verified(
        &self,
        batch: RecordBatch,
        guard: VerificationGuard,
    ) -> Result<Appended> {
        self.inner.append_batch(batch, Some(guard))
    }

    /// Appends the content of a builder, as [`append_builder`](Log::append_builder) does, that the
    /// guard permits to open a transaction.
    pub(crate) fn append_builder_verified(
        &self,
        builder: &mut BatchBuilder,
        guard: VerificationGuard,
    ) -> Result<Appended> {
        self.inner.append_builder_verified(builder, guard)
    }

    /// Returns the open transactions whose producer has sent nothing for so long, in the order of
    /// their first offsets. With zero, it returns all that are open.
    ///
    /// An open transaction holds [`Offsets::last_stable`](crate::Offsets::last_stable) back, and
    /// with it all readers of committed records. A coordinator ends each transaction after the
    /// timeout of its producer. One that is open much longer has no coordinator: the directory
    /// comes from a broker, or a batch was appended past the coordinator. Take
    /// `transaction.max.timeout.ms` and five minutes, as Kafka does, and then
    /// [abort](Log::abort_transaction) it.
    ///
    /// A read-only log reads its newest snapshot of producers, and the batches after it, in each
    /// call. It takes the largest timestamp of a producer's last batch for the time at which the
    /// batch arrived.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed). In a read-only log, as [`read`](Log::read).
    pub fn hanging_transactions(&self, silent_for: Duration) -> Result<Vec<HangingTransaction>> {
        let silent = self.inner.silent_transactions(silent_for)?.into_iter();
        let hanging = silent.filter_map(|(state, heard)| {
            Some(HangingTransaction {
                producer_id: state.producer_id,
                producer_epoch: state.producer_epoch,
                coordinator_epoch: state.coordinator_epoch,
                first_offset: Offset::try_from(state.current_txn_first_offset).ok()?,
                last_timestamp: state.last_timestamp,
                heard,
            })
        });
        Ok(hanging.collect())
    }

    /// Aborts the open transaction of a producer, with the epochs that the log knows of it.
    ///
    /// This is for a transaction that [hangs](Log::hanging_transactions) in a log without a store.
    /// If a coordinator still has the transaction, or has committed it, its outcome would differ
    /// between partitions: in a store, call
    /// [`Transactions::abort_hanging`](crate::Transactions::abort_hanging), which asks first.
    ///
    /// ```
    /// use annals::{Log, LogConfig, Timestamp, fs::MemFs, record::BatchBuilder};
    /// use std::time::Duration;
    ///
    /// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()))?;
    /// let mut builder = BatchBuilder::new();
    /// builder.producer(4000, 0, 0).transactional(true);
    /// builder.push(Timestamp::from_millis(1), None, Some(b"never decided"))?;
    /// log.append_batch(builder.build()?)?;
    /// log.append("waits behind it")?;
    ///
    /// for hanging in log.hanging_transactions(Duration::ZERO)? {
    ///     assert_eq!((hanging.producer_id, hanging.first_offset), (4000, 0));
    ///     log.abort_transaction(hanging.producer_id)?;
    /// }
    /// assert_eq!(log.offsets().last_stable, log.offsets().end);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`append`](Log::append), and with nothing stored
    /// [`NoOpenTransaction`](crate::ProducerStateError::NoOpenTransaction), or
    /// [`BypassesGroups`](crate::ProducerStateError::BypassesGroups) in a partition of
    /// `__consumer_offsets` of a store.
    pub fn abort_transaction(&self, producer_id: ProducerId) -> Result<Appended> {
        self.check_bypasses_no_groups(producer_id)?;
        self.inner.abort_transaction(producer_id)
    }
}
