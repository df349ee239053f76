//! The calls of a log for transactions: ending one.
//!
//! A log stores the batches of a transaction as they come, and a marker that says whether they
//! count. A transaction coordinator decides that, for all partitions of the transaction.

use crate::error::Result;
use crate::log::{Appended, Log};
use crate::record::EndTxnMarker;
use crate::types::{ProducerIdentity, TransactionVersion};

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
    pub fn append_marker(
        &self,
        producer: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<Appended> {
        self.inner.append_marker(producer, marker, version)
    }
}
