//! The transactions of a producer: which call is allowed when, and what follows from its result.
//!
//! ```text
//!            init            begin               commit, abort
//!  new ─────────────▶ ready ────────▶ open ─────────────────────────▶ ready
//!                                      │ a batch fails, the timeout     ▲
//!                                      ▼                   abort        │
//!                                     open, to be aborted ──────────────┘
//! ```
//!
//! A commit that fails before it is decided leaves the transaction open. An end that is decided,
//! or an abort that fails, is *owed*: the next call of a transaction repeats it first. A fenced
//! producer is of no use any more.
//!
//! Nothing here locks, waits, or calls a coordinator.

use crate::error::{Error, Result, TransactionError};
use crate::producer_state::VerificationGuard;
use crate::transaction::Outcome;
use crate::types::{ProducerIdentity, TopicPartition};
use std::collections::BTreeMap;

/// The phase of a producer's transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    New,
    Ready,
    Open,
    /// An end was called and could not be completed.
    Owed(Outcome),
    /// The producer is fenced.
    Fenced(TransactionError),
}

/// A call that waits for a coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Init,
    /// Batches are written, or dropped.
    End(Outcome),
    /// The coordinator is asked to end the transaction, and no batch or offset may join it.
    Decide,
}

/// The transactions of a producer with a transactional id.
#[derive(Debug)]
pub(super) struct ProducerTransaction {
    id: String,
    phase: Phase,
    /// The call that a thread is in, and that changes the phase at its end.
    call: Option<Call>,
    /// The number of the transaction, to tell whether a batch or a call belongs to it. The
    /// identity does not tell: transactions without records share it.
    number: u64,
    /// How many threads call the coordinator for the open transaction.
    calls: usize,
    /// For the next transaction, if none is open. `None` until the producer is initialized.
    identity: Option<ProducerIdentity>,
    /// The reason why the open transaction can only be aborted.
    failure: Option<TransactionError>,
    /// Whether the coordinator may know of the open transaction.
    is_known: bool,
    /// The partitions that the coordinator has added to the open transaction, with the permission
    /// to append the first batch.
    admitted: BTreeMap<TopicPartition, VerificationGuard>,
}

/// The step that a call is to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// The transaction has begun.
    Begun,
    /// The previous one has to be ended first. Then repeat the call.
    EndFirst(Outcome),
}

impl ProducerTransaction {
    pub(super) fn new(id: String) -> ProducerTransaction {
        ProducerTransaction {
            id,
            phase: Phase::New,
            call: None,
            number: 0,
            calls: 0,
            identity: None,
            failure: None,
            is_known: false,
            admitted: BTreeMap::new(),
        }
    }

    fn no_transaction(&self) -> TransactionError {
        TransactionError::NoTransaction { id: self.id.clone() }
    }

    /// Fails if another thread is in a call that changes the phase, or if the producer is fenced.
    fn check_callable(&self) -> Result<(), TransactionError> {
        if self.call.is_some() {
            return Err(TransactionError::Concurrent { id: self.id.clone() });
        }
        match &self.phase {
            Phase::Fenced(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Returns whether records are accepted.
    pub(super) fn accepts(&self) -> bool {
        self.phase == Phase::Open && self.call.is_none() && self.failure.is_none()
    }

    /// Returns the error of a record that is not accepted.
    pub(super) fn rejection(&self) -> TransactionError {
        match (&self.phase, &self.failure) {
            (Phase::New, _) => TransactionError::NotInitialized { id: self.id.clone() },
            (Phase::Fenced(error), _) => error.clone(),
            (Phase::Open, Some(failure)) => failure.clone(),
            _ => self.no_transaction(),
        }
    }

    /// Returns the number of the transaction that is open, or was the last one.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether this transaction is open, and is neither aborted nor decided at present.
    pub(super) fn is_open(&self, number: u64) -> bool {
        let is_ending = matches!(self.call, Some(Call::End(Outcome::Abort) | Call::Decide));
        self.phase == Phase::Open && self.number == number && !is_ending
    }

    /// Returns the identity for the batches of a transaction; `None` if they are not to be
    /// written, because it is not open any more, or can only be aborted.
    pub(super) fn writer(&self, number: u64) -> Option<ProducerIdentity> {
        let counts = self.is_open(number) && self.failure.is_none();
        self.identity.filter(|_| counts)
    }

    /// Begins a call of the coordinator for a transaction; `None` if its batches are not to be
    /// written. The transaction is not decided until [`leave`](Self::leave).
    pub(super) fn enter(&mut self, number: u64) -> Option<ProducerIdentity> {
        let who = self.writer(number)?;
        self.calls = self.calls.saturating_add(1);
        Some(who)
    }

    pub(super) fn leave(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }

    /// Notes that the coordinator is about to learn of a transaction. Returns false if it must
    /// not, because the transaction is being ended.
    pub(super) fn note_known(&mut self, number: u64) -> bool {
        let is_open = self.is_open(number);
        self.is_known |= is_open;
        is_open
    }

    /// Returns the permission to append the first batch of a transaction to a partition, if the
    /// coordinator has added the partition.
    pub(super) fn permission(&self, number: u64, at: &TopicPartition) -> Option<VerificationGuard> {
        self.admitted.get(at).filter(|_| self.number == number).copied()
    }

    /// Keeps the permissions for partitions that the coordinator has added to a transaction.
    pub(super) fn admit(
        &mut self,
        number: u64,
        partitions: impl IntoIterator<Item = (TopicPartition, VerificationGuard)>,
    ) {
        if self.is_open(number) {
            self.admitted.extend(partitions);
        }
    }

    /// Takes a permission back that the log does not accept.
    pub(super) fn dismiss(&mut self, at: &TopicPartition) {
        self.admitted.remove(at);
    }

    /// Begins an initialization; returns false if there is nothing to do.
    pub(super) fn start_init(&mut self) -> Result<bool, TransactionError> {
        self.check_callable()?;
        match self.phase {
            Phase::Open => Err(TransactionError::AlreadyOpen { id: self.id.clone() }),
            Phase::New => {
                self.call = Some(Call::Init);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Ends an initialization with the identity that it got.
    pub(super) fn finish_init(&mut self, identity: Option<ProducerIdentity>) {
        self.call = None;
        if identity.is_some() {
            self.identity = identity;
            self.phase = Phase::Ready;
        }
    }

    pub(super) fn begin(&mut self) -> Result<Begin, TransactionError> {
        self.check_callable()?;
        match self.phase {
            Phase::New => Err(TransactionError::NotInitialized { id: self.id.clone() }),
            Phase::Open => Err(TransactionError::AlreadyOpen { id: self.id.clone() }),
            Phase::Owed(outcome) => Ok(Begin::EndFirst(outcome)),
            Phase::Ready | Phase::Fenced(_) => {
                self.phase = Phase::Open;
                self.number = self.number.wrapping_add(1);
                self.failure = None;
                self.is_known = false;
                self.admitted.clear();
                Ok(Begin::Begun)
            }
        }
    }

    /// Begins to end the transaction. No record is accepted until
    /// [`finish_end`](Self::finish_end).
    pub(super) fn start_end(&mut self, outcome: Outcome) -> Result<(), TransactionError> {
        self.check_callable()?;
        match self.phase {
            Phase::New => return Err(TransactionError::NotInitialized { id: self.id.clone() }),
            Phase::Open if outcome == Outcome::Commit => {
                self.failure.clone().map_or(Ok(()), Err)?;
            }
            Phase::Open => {}
            Phase::Owed(owed) if owed == outcome => {}
            Phase::Owed(owed) => return Err(self.is_ended(owed)),
            Phase::Ready | Phase::Fenced(_) => return Err(self.no_transaction()),
        }
        self.call = Some(Call::End(outcome));
        Ok(())
    }

    /// Returns the error of a call that contradicts an earlier one.
    fn is_ended(&self, owed: Outcome) -> TransactionError {
        let (state, call) = match owed {
            Outcome::Commit => ("PrepareCommit", "abort"),
            Outcome::Abort => ("PrepareAbort", "commit"),
        };
        TransactionError::InvalidState { id: self.id.clone(), state, call }
    }

    /// Ends the time in which batches and offsets join the transaction that is being ended, unless
    /// a call of the coordinator goes on. Returns whether it has ended.
    pub(super) fn start_decision(&mut self) -> bool {
        let may_decide = self.calls == 0;
        if may_decide {
            self.call = Some(Call::Decide);
        }
        may_decide
    }

    /// Does the same while calls of the coordinator go on, for an abort: the coordinator rejects
    /// those that come too late.
    pub(super) fn force_decision(&mut self) {
        self.call = Some(Call::Decide);
    }

    /// Returns whether the coordinator may know of the transaction.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// Returns the identity of the transaction that is being ended.
    pub(super) fn ending(&self) -> Option<ProducerIdentity> {
        self.identity
    }

    /// Returns the reason why a commit that has begun cannot go on.
    pub(super) fn failure(&self) -> Option<TransactionError> {
        match &self.phase {
            Phase::Fenced(error) => Some(error.clone()),
            _ => self.failure.clone(),
        }
    }

    /// Ends an end with its result: the identity for the next transaction.
    pub(super) fn finish_end(
        &mut self,
        outcome: Outcome,
        result: Result<ProducerIdentity>,
    ) -> Result<()> {
        self.call = None;
        let error = match result {
            Ok(identity) => {
                self.identity = Some(identity);
                self.phase = Phase::Ready;
                return Ok(());
            }
            Err(error) => error,
        };
        let error = self.explained(outcome, error);
        match &error {
            Error::Transaction(reason) => self.end_failed(outcome, reason),
            // Nothing is decided: a commit may be repeated, or turned into an abort.
            _ if outcome == Outcome::Abort => self.phase = Phase::Owed(Outcome::Abort),
            _ => {}
        }
        Err(error)
    }

    /// Returns the error of an end as its caller is to see it. The calls are in order, so if the
    /// coordinator cannot commit in its state, it has aborted the transaction itself, for a
    /// producer that is about to take over, or the transaction never reached it.
    fn explained(&self, outcome: Outcome, error: Error) -> Error {
        let Error::Transaction(reason) = &error else { return error };
        match &**reason {
            TransactionError::InvalidState { state, .. } if outcome == Outcome::Commit => {
                let reason = format!("it is in state {state}");
                TransactionError::MustAbort { id: self.id.clone(), reason }.into()
            }
            _ => error,
        }
    }

    fn end_failed(&mut self, outcome: Outcome, reason: &TransactionError) {
        match reason {
            TransactionError::Fenced { .. } | TransactionError::InvalidIdMapping { .. } => {
                self.phase = Phase::Fenced(reason.clone());
            }
            TransactionError::Completing { .. } => self.phase = Phase::Owed(outcome),
            // An earlier commit was stored, although its append failed.
            TransactionError::InvalidState { .. } if outcome == Outcome::Abort => {
                self.phase = Phase::Owed(Outcome::Commit);
            }
            _ if outcome == Outcome::Abort => self.phase = Phase::Owed(Outcome::Abort),
            TransactionError::Expired { .. }
            | TransactionError::PartitionGone { .. }
            | TransactionError::MustAbort { .. } => self.failure = Some(reason.clone()),
            // Concurrent: the call may be repeated.
            _ => {}
        }
    }

    /// Records that a step of a transaction failed, so that it can only be aborted. A late step of
    /// an earlier transaction, or of one that is being aborted, changes nothing: the coordinator
    /// rejects its epoch, although no other producer has taken over.
    pub(super) fn fail(&mut self, number: u64, error: &Error) {
        if !self.is_open(number) {
            return;
        }
        if let Error::Transaction(reason) = error {
            match &**reason {
                TransactionError::Fenced { .. } | TransactionError::InvalidIdMapping { .. } => {
                    self.phase = Phase::Fenced((**reason).clone());
                    return;
                }
                TransactionError::Expired { .. } | TransactionError::MustAbort { .. }
                    if self.failure.is_none() =>
                {
                    self.failure = Some((**reason).clone());
                    return;
                }
                _ => {}
            }
        }
        if self.failure.is_none() {
            let (id, reason) = (self.id.clone(), error.cause());
            self.failure = Some(TransactionError::MustAbort { id, reason });
        }
    }
}

#[cfg(test)]
mod tests;
