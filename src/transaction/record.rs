//! The records of `__transaction_state`.

use crate::types::{ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use std::collections::BTreeSet;

/// A record of Kafka's topic `__transaction_state`: the state of a transactional id.
///
/// The topic is compacted, so the last record of an id counts.
/// [`docs::format`](crate::docs::format#transactions-__transaction_state) describes its bytes.
///
/// ```
/// use annals::{Log, LogConfig, Record, StartAt, TransactionRecord, TransactionState, fs::MemFs};
///
/// # let log = Log::open("__transaction_state-10", LogConfig::default().fs(MemFs::new()))?;
/// # let hex = |text: &str| -> Vec<u8> {
/// #     (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
/// # };
/// # let value = "00010000000000000fa000020000ea600102076f7264657273030000000000000003000000018bcfe568000000018bcfe567fb00";
/// # log.append(Record::new(hex(value)).key(hex("0000000574786e2d31")))?;
/// for record in log.reader(StartAt::Earliest)?.records() {
///     let record = record?;
///     let decoded = TransactionRecord::decode(record.key.as_deref(), record.value.as_deref());
///     let Some(TransactionRecord { transactional_id, metadata }) = decoded.unwrap() else { continue };
///     let Some(transaction) = metadata else { continue }; // the id has expired
///     assert_eq!((transactional_id.as_str(), transaction.producer_id), ("txn-1", 4000));
///     assert_eq!(transaction.state, TransactionState::Ongoing);
///     assert!(transaction.partitions.contains(&("orders", 3).into()));
/// }
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRecord {
    /// The transactional id.
    pub transactional_id: String,
    /// The state of the transactional id; `None` in a tombstone, which removes the id.
    pub metadata: Option<TransactionMetadata>,
}

/// The state of a transactional id: its producer, and its latest transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionMetadata {
    /// The id of the producer.
    pub producer_id: ProducerId,
    /// The epoch of the producer.
    pub producer_epoch: ProducerEpoch,
    /// The id that the producer had in its previous transaction, if it is stored.
    pub previous_producer_id: Option<ProducerId>,
    /// The id that the producer gets after this transaction, because its epochs are used up.
    pub next_producer_id: Option<ProducerId>,
    /// The time after which an ongoing transaction is aborted, in milliseconds.
    /// Kafka: `transaction.timeout.ms`.
    pub timeout_ms: i32,
    /// The state of the latest transaction.
    pub state: TransactionState,
    /// The partitions in the transaction. Empty before the first record of a transaction, and once
    /// each partition has its marker.
    pub partitions: BTreeSet<TopicPartition>,
    /// The time of this record.
    pub last_update: Timestamp,
    /// The time at which the latest transaction began; `None` before the first one.
    pub started: Option<Timestamp>,
    /// Kafka's `transaction.version` that the client uses. From 2 on, each end of a transaction
    /// gives the producer a new epoch.
    pub client_version: i16,
}

/// The state of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionState {
    /// The producer has not begun a transaction yet.
    Empty,
    /// The transaction has partitions, and is neither committed nor aborted.
    Ongoing,
    /// The transaction is committed, and its partitions get their markers.
    PrepareCommit,
    /// The transaction is aborted, and its partitions get their markers.
    PrepareAbort,
    /// The transaction is committed, and its partitions have their markers.
    CompleteCommit,
    /// The transaction is aborted, and its partitions have their markers.
    CompleteAbort,
    /// The transactional id is about to be removed. Kafka does not store this state.
    Dead,
    /// The transaction is about to be aborted, because another producer has taken over or it has
    /// timed out. Kafka does not store this state.
    PrepareEpochFence,
}

impl TransactionState {
    /// All states, in the order of their ids.
    pub(super) const ALL: [TransactionState; 8] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
        TransactionState::Dead,
        TransactionState::PrepareEpochFence,
    ];

    /// Returns Kafka's name of the state.
    pub(super) fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
            TransactionState::Dead => "Dead",
            TransactionState::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// Returns the stored id.
    pub(super) fn id(self) -> i8 {
        self as i8
    }

    /// Returns the state with this stored id.
    pub(super) fn from_id(id: i8) -> Option<TransactionState> {
        TransactionState::ALL.get(usize::try_from(id).ok()?).copied()
    }
}
