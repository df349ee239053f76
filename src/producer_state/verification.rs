//! Permissions to open a transaction.
//!
//! A batch that arrives after its transaction has ended would open another one, which no
//! coordinator knows of and nothing ends. A log that verifies transactions therefore takes a batch
//! that opens one only with a permission:
//!
//! ```text
//! the log gives a permission  ->  the coordinator says that the transaction takes the partition
//!                             ->  the batch is appended with the permission
//! ```
//!
//! A marker takes the permission back, and so does the first batch of the transaction. If the
//! transaction ends between the second step and the third, the batch is rejected.

use crate::error::ProducerStateError;
use crate::record::BatchHeader;
use crate::types::{
    ProducerEpoch, ProducerId, ProducerIdentity, Sequence, Timestamp, TransactionVersion,
};
use std::collections::HashMap;
use std::time::Duration;

/// How a log treats transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TransactionRules {
    /// Whether the first batch of a transaction needs a permission.
    pub(crate) verify: bool,
    /// Whether groups are stored in the log, so that their coordinator must see each marker.
    pub(crate) stores_groups: bool,
}

/// The permission of [`Log::begin_verification`](crate::Log::begin_verification), which has an
/// example, to open a transaction in that log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerificationGuard {
    producer_id: ProducerId,
    /// `None` if the transaction was open already.
    number: Option<u64>,
}

impl VerificationGuard {
    /// Returns whether the transaction was open already. Then there is no need to ask the
    /// coordinator.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.number.is_none()
    }
}

/// The permissions that were given and not used.
#[derive(Debug, Default)]
pub(crate) struct Verifications {
    pending: HashMap<ProducerId, Verification>,
    /// The number of the last permission.
    last: u64,
}

#[derive(Debug, Clone, Copy)]
struct Verification {
    number: u64,
    epoch: ProducerEpoch,
    /// The sequence number that the transaction may begin with at most. Requests of a producer
    /// that overtake one another must not open it with a later batch.
    lowest_sequence: Sequence,
    version: TransactionVersion,
    begun: Timestamp,
}

impl Verifications {
    /// Returns the guard of a transaction that is open.
    pub(crate) fn verified(producer_id: ProducerId) -> VerificationGuard {
        VerificationGuard { producer_id, number: None }
    }

    /// Gives a permission. It stays the same until it is used or taken back.
    pub(crate) fn begin(
        &mut self,
        producer: ProducerIdentity,
        first_sequence: Sequence,
        version: TransactionVersion,
        now: Timestamp,
    ) -> VerificationGuard {
        let ProducerIdentity { id: producer_id, epoch } = producer;
        let next = self.last.saturating_add(1);
        let lowest_sequence = first_sequence;
        let new = Verification { number: next, epoch, lowest_sequence, version, begun: now };
        let pending = self.pending.entry(producer_id).or_insert(new);
        self.last = self.last.max(pending.number);
        if epoch > pending.epoch {
            *pending = Verification { number: pending.number, ..new };
        } else if epoch == pending.epoch {
            pending.lowest_sequence = pending.lowest_sequence.min(first_sequence);
        }
        VerificationGuard { producer_id, number: Some(pending.number) }
    }

    /// Checks that a batch may open a transaction. `is_known` says whether the log knows an epoch
    /// of its producer.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        guard: Option<VerificationGuard>,
        is_known: bool,
    ) -> Result<(), ProducerStateError> {
        let producer_id = header.producer_id;
        let pending = self.pending.get(&producer_id);
        let given = guard.filter(|guard| guard.producer_id == producer_id);
        let Some(pending) = pending
            .filter(|pending| given.is_some_and(|given| given.number == Some(pending.number)))
        else {
            return Err(ProducerStateError::NotInTransaction { producer_id });
        };
        let found = header.base_sequence;
        // With a new epoch for each transaction, every transaction begins at 0.
        let begins = is_known || pending.version < TransactionVersion::V2 || found == 0;
        if !begins || found > pending.lowest_sequence {
            let expected = if begins { pending.lowest_sequence } else { 0 };
            return Err(ProducerStateError::OutOfOrder { producer_id, expected, found });
        }
        Ok(())
    }

    /// Takes the permission of a producer back.
    pub(crate) fn forget(&mut self, producer_id: ProducerId) {
        if !self.pending.is_empty() {
            self.pending.remove(&producer_id);
        }
    }

    /// Takes back the permissions that were not used for so long.
    pub(crate) fn expire(&mut self, now: Timestamp, after: Duration) {
        self.pending.retain(|_, pending| now.since(pending.begun) < after);
    }
}
