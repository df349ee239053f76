//! The transactions of a producer and their coordinator, as the producer's threads share them.

use crate::client::producer::config::{Acks, ProducerConfig};
use crate::client::producer::transaction::ProducerTransaction;
use crate::error::{Error, ProduceError, Result};
use crate::group::{ConsumerGroupMetadata, OffsetAndMetadata};
use crate::log::Log;
use crate::producer_state::VerificationGuard;
use crate::store::topics::Store;
use crate::store::transactions::Transactions;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::transaction::{Outcome, Wait};
use crate::types::{ProducerIdentity, TopicPartition, TransactionVersion};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

/// Each transaction has an epoch of its own.
const VERSION: TransactionVersion = TransactionVersion::V2;

/// The transactions of a producer with a transactional id.
pub(super) struct TransactionManager {
    id: String,
    timeout: Duration,
    /// How long a call waits for the end of a transaction that another thread completes.
    max_block: Duration,
    /// Whether the transactions are to survive a loss of power.
    flush: bool,
    /// Whether a transaction is open and accepts records. Set to false while the list of queues
    /// is locked, and read under the lock of a queue: the thread that ends the transaction finds
    /// each record that was accepted.
    accepts: AtomicBool,
    coordinator: OnceLock<Transactions>,
    /// Leaf lock.
    state: Mutex<ProducerTransaction>,
}

impl TransactionManager {
    pub(super) fn new(config: &ProducerConfig) -> Option<TransactionManager> {
        let id = config.transactional_id.clone()?;
        Some(TransactionManager {
            state: Mutex::new(ProducerTransaction::new(id.clone())),
            id,
            timeout: config.transaction_timeout,
            max_block: config.max_block,
            flush: config.acks == Acks::Flushed,
            accepts: AtomicBool::new(false),
            coordinator: OnceLock::new(),
        })
    }

    /// Changes the state of the transactions.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut ProducerTransaction) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        self.accepts.store(state.accepts(), Ordering::Release);
        changed
    }

    /// Fails if no transaction is open that accepts records.
    #[inline]
    pub(super) fn check_send(&self) -> Result<()> {
        if self.accepts.load(Ordering::Acquire) { Ok(()) } else { Err(self.rejection()) }
    }

    #[cold]
    fn rejection(&self) -> Error {
        self.state.lock().rejection().into()
    }

    /// Returns the identity for the batches of the open transaction; `None` if they are not to be
    /// written.
    pub(super) fn writer(&self) -> Option<ProducerIdentity> {
        self.state.lock().writer()
    }

    /// Records that a batch of the open transaction failed.
    pub(super) fn fail(&self, error: &ProduceError) {
        self.change(|state| match error {
            // Another failure is the reason, or the caller aborts.
            ProduceError::TransactionAborted => {}
            ProduceError::Batch(cause) => state.fail(cause),
            other => state.fail(&other.clone().into()),
        });
    }

    /// Takes the transactional id over.
    pub(super) fn init(&self, store: &Store) -> Result<ProducerIdentity> {
        let transactions = match self.coordinator.get() {
            Some(transactions) => transactions,
            None => {
                let transactions = store.transactions()?;
                self.coordinator.get_or_init(|| transactions)
            }
        };
        transactions.init_producer_id(&self.id, self.timeout, None, Wait::UpTo(self.max_block))
    }

    fn coordinator(&self) -> Result<&Transactions> {
        self.coordinator.get().ok_or_else(|| self.rejection())
    }

    /// Decides the transaction, unless no batch and no offset belongs to it. Returns the identity
    /// for the next one.
    pub(super) fn end(&self, outcome: Outcome) -> Result<ProducerIdentity> {
        let state = self.state.lock();
        let who = state.ending().ok_or_else(|| state.rejection())?;
        let is_known = state.is_known;
        drop(state);
        if !is_known {
            return Ok(who);
        }
        let wait = Wait::UpTo(self.max_block);
        self.coordinator()?.end(&self.id, who, outcome, VERSION, self.flush, wait)
    }

    /// Adds offsets of a group to the transaction.
    pub(super) fn commit_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        self.check_send()?;
        let who = self.writer().ok_or_else(|| self.rejection())?;
        if offsets.is_empty() {
            return Ok(());
        }
        self.state.lock().is_known = true;
        let (coordinator, wait) = (self.coordinator()?, Wait::UpTo(self.max_block));
        let added = coordinator.commit_offsets(&self.id, who, group, offsets, VERSION, wait);
        let Err(error) = added else { return Ok(()) };
        let error = match error {
            // The transaction has timed out, or another producer has taken over.
            Error::Producer(_) => self.explain(who, &[], error),
            other => other,
        };
        // A consumer that has to join its group again may have lost the partitions.
        if matches!(error, Error::Consume(_)) || !error.is_retryable() {
            self.change(|state| state.fail(&error));
        }
        Err(error)
    }

    /// Adds a partition to the transaction before its first batch. Returns the permission to
    /// append that batch.
    pub(super) fn admit(
        &self,
        who: ProducerIdentity,
        at: &TopicPartition,
        log: &Log,
    ) -> Result<VerificationGuard> {
        if let Some(guard) = self.state.lock().admitted.get(at) {
            return Ok(*guard);
        }
        // The log gives its permission before the coordinator is asked: a marker that comes in
        // between takes it back.
        let guard = log.begin_verification(who, 0, VERSION)?;
        self.add(who, std::slice::from_ref(at))?;
        self.state.lock().admitted.insert(at.clone(), guard);
        Ok(guard)
    }

    /// Adds partitions to the transaction before their first batches, all with one call: that
    /// writes one record instead of one for each partition. A partition that cannot be added is
    /// left to the thread that writes its batch.
    pub(super) fn admit_all(&self, who: ProducerIdentity, first: Vec<(TopicPartition, Log)>) {
        let mut admitted = Vec::with_capacity(first.len());
        for (at, log) in first {
            if self.state.lock().admitted.contains_key(&at) {
                continue;
            }
            if let Ok(guard) = log.begin_verification(who, 0, VERSION) {
                admitted.push((at, guard));
            }
        }
        let partitions: Vec<_> = admitted.iter().map(|(at, _)| at.clone()).collect();
        if !partitions.is_empty() && self.add(who, &partitions).is_ok() {
            self.state.lock().admitted.extend(admitted);
        }
    }

    /// Asks the coordinator whether the transaction has these partitions, after a log has rejected
    /// a batch. Returns the coordinator's reason, or else that of the log.
    pub(super) fn explain(
        &self,
        who: ProducerIdentity,
        partitions: &[TopicPartition],
        rejection: Error,
    ) -> Error {
        self.add(who, partitions).err().unwrap_or(rejection)
    }

    /// Takes a permission back that the log does not accept.
    pub(super) fn dismiss(&self, at: &TopicPartition) {
        self.state.lock().admitted.remove(at);
    }

    fn add(&self, who: ProducerIdentity, partitions: &[TopicPartition]) -> Result<()> {
        // Also if the call fails: it may have been stored.
        self.state.lock().is_known = true;
        self.coordinator()?.add_partitions(&self.id, who, partitions, VERSION, Wait::No)
    }
}
