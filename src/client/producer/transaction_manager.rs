//! The transactions of a producer and their coordinator, as the producer's threads share them.

use crate::client::producer::config::{Acks, ProducerConfig};
use crate::client::producer::thread_marks;
use crate::client::producer::transaction::ProducerTransaction;
use crate::clock::Clock;
use crate::error::{Error, ProduceError, ProducerStateError, Result, TransactionError};
use crate::group::{ConsumerGroupMetadata, OffsetAndMetadata};
use crate::log::Log;
use crate::notify::Notify;
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
    /// Notified when a thread has called the coordinator for the open transaction.
    left: Notify,
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
            left: Notify::default(),
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

    /// Returns the number of the transaction that a new batch belongs to. The caller has checked
    /// that the transaction accepts records, and holds the lock of the batch's queue.
    pub(super) fn number(&self) -> u64 {
        self.state.lock().number()
    }

    /// Returns the identity for the batches of a transaction; `None` if they are not to be
    /// written.
    pub(super) fn writer(&self, number: u64) -> Option<ProducerIdentity> {
        self.state.lock().writer(number)
    }

    /// Records that a batch of a transaction failed.
    pub(super) fn fail(&self, number: u64, error: &ProduceError) {
        self.change(|state| match error {
            // Another failure is the reason, or the caller aborts.
            ProduceError::TransactionAborted => {}
            ProduceError::Batch(cause) => state.fail(number, cause),
            other => state.fail(number, &other.clone().into()),
        });
    }

    /// Begins a call of the coordinator for a transaction.
    fn enter(&self, number: u64) -> Option<CoordinatorCall<'_>> {
        let who = self.state.lock().enter(number)?;
        Some(CoordinatorCall { manager: self, number, who })
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
    ///
    /// Waits for the calls that add partitions or offsets, except in a listener or waker that such
    /// a call may be waiting for.
    pub(super) fn end(&self, outcome: Outcome, clock: &dyn Clock) -> Result<ProducerIdentity> {
        if thread_marks::is_writing() {
            self.state.lock().force_decision();
        } else {
            self.left.wait(None, clock, || self.state.lock().start_decision());
        }
        let state = self.state.lock();
        let who = state.ending().ok_or_else(|| state.rejection())?;
        let is_known = state.is_known();
        drop(state);
        if !is_known {
            return Ok(who);
        }
        let wait = Wait::UpTo(self.max_block);
        self.coordinator()?.end(&self.id, who, outcome, VERSION, self.flush, wait)
    }

    /// Adds offsets of a group to the open transaction.
    pub(super) fn commit_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let mut state = self.state.lock();
        let number = state.number();
        let who = if state.accepts() { state.enter(number) } else { None };
        let who = who.ok_or_else(|| state.rejection())?;
        drop(state);
        let call = CoordinatorCall { manager: self, number, who };
        if offsets.is_empty() {
            return Ok(());
        }
        let Err(error) = call.commit_offsets(offsets, group) else { return Ok(()) };
        let error = match error {
            // The transaction has timed out, or another producer has taken over.
            Error::Producer(_) => call.add(&[]).err().unwrap_or(error),
            other => other,
        };
        self.change(|state| {
            // A listener that the call was waiting for has aborted the transaction.
            if !state.is_open(number) {
                return Err(state.rejection().into());
            }
            // A consumer that has to join its group again may have lost the partitions.
            if matches!(error, Error::Consume(_)) || !error.is_retryable() {
                state.fail(number, &error);
            }
            Err(error)
        })
    }

    /// Adds a partition to a transaction before its first batch. Returns the permission to append
    /// that batch.
    pub(super) fn admit(
        &self,
        number: u64,
        at: &TopicPartition,
        log: &Log,
    ) -> Result<VerificationGuard> {
        if let Some(guard) = self.state.lock().permission(number, at) {
            return Ok(guard);
        }
        let call = self.enter(number).ok_or(ProduceError::TransactionAborted)?;
        // The log gives its permission before the coordinator is asked: a marker that comes in
        // between takes it back.
        let guard = log.begin_verification(call.who, 0, VERSION)?;
        call.add(std::slice::from_ref(at))?;
        self.state.lock().admit(number, [(at.clone(), guard)]);
        Ok(guard)
    }

    /// Adds partitions to a transaction before their first batches, all with one call: that
    /// writes one record instead of one for each partition. A partition that cannot be added is
    /// left to the thread that writes its batch.
    pub(super) fn admit_all(&self, number: u64, first: Vec<(TopicPartition, Log)>) {
        let Some(call) = self.enter(number) else { return };
        let mut admitted = Vec::with_capacity(first.len());
        for (at, log) in first {
            if self.state.lock().permission(number, &at).is_some() {
                continue;
            }
            if let Ok(guard) = log.begin_verification(call.who, 0, VERSION) {
                admitted.push((at, guard));
            }
        }
        let partitions: Vec<_> = admitted.iter().map(|(at, _)| at.clone()).collect();
        if !partitions.is_empty() && call.add(&partitions).is_ok() {
            self.state.lock().admit(number, admitted);
        }
    }

    /// Returns the reason why a batch of a transaction failed. A rejection by a log can mean that
    /// the transaction has timed out: the coordinator knows.
    pub(super) fn explain(&self, number: u64, at: &TopicPartition, rejection: Error) -> Error {
        let error = match &rejection {
            Error::Producer(ProducerStateError::Fenced { .. }) => match self.enter(number) {
                Some(call) => call.add(std::slice::from_ref(at)).err().unwrap_or(rejection),
                None => rejection,
            },
            _ => rejection,
        };
        // A listener has aborted the transaction, and the epoch is not that of the producer any
        // more.
        let is_late = matches!(error, Error::Producer(_) | Error::Transaction(_))
            && !self.state.lock().is_open(number);
        if is_late { ProduceError::TransactionAborted.into() } else { error }
    }

    /// Takes a permission back that the log does not accept.
    pub(super) fn dismiss(&self, at: &TopicPartition) {
        self.state.lock().dismiss(at);
    }
}

/// A call of the coordinator for the open transaction, which is not decided meanwhile.
struct CoordinatorCall<'a> {
    manager: &'a TransactionManager,
    number: u64,
    who: ProducerIdentity,
}

impl CoordinatorCall<'_> {
    /// Makes a call. Listeners run meanwhile.
    fn make(&self, call: impl FnOnce(&Transactions) -> Result<()>) -> Result<()> {
        // Before the call: if it fails, it may have been stored.
        if !self.manager.state.lock().note_known(self.number) {
            return Err(ProduceError::TransactionAborted.into());
        }
        let coordinator = self.manager.coordinator()?;
        thread_marks::while_writing(|| call(coordinator))
    }

    fn add(&self, partitions: &[TopicPartition]) -> Result<()> {
        let (id, who) = (&self.manager.id, self.who);
        let added = self
            .make(|coordinator| coordinator.add_partitions(id, who, partitions, VERSION, Wait::No));
        added.map_err(|error| match error {
            // The record of the transaction, and not the batch: parts of it would fail as well.
            Error::BatchTooLarge { .. } => {
                TransactionError::MustAbort { id: id.clone(), reason: error.to_string() }.into()
            }
            other => other,
        })
    }

    fn commit_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let (id, who) = (&self.manager.id, self.who);
        let wait = Wait::UpTo(self.manager.max_block);
        self.make(|coordinator| coordinator.commit_offsets(id, who, group, offsets, VERSION, wait))
    }
}

impl Drop for CoordinatorCall<'_> {
    fn drop(&mut self) {
        self.manager.state.lock().leave();
        self.manager.left.notify();
    }
}
