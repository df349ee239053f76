//! Transactions that are open in a partition, and that nothing ends.

use crate::error::{Error, ProducerStateError, Result, TransactionError};
use crate::log::HangingTransaction;
use crate::store::transactions::handle::Transactions;
use crate::transaction::Outcome;
use crate::transaction::open::Fate;
use crate::types::{ProducerIdentity, TopicPartition};
use std::time::Duration;

impl Transactions {
    /// Returns the transactions that are open in a partition, that no transactional id has, and
    /// whose producers have sent nothing for so long. With zero, it returns all of them.
    ///
    /// Such a transaction holds readers of committed records back for ever. The directory of a
    /// broker may have some: see [`Log::hanging_transactions`](crate::Log::hanging_transactions).
    /// Take the longest [timeout](crate::TransactionCoordinatorConfig::max_timeout) and five
    /// minutes, as Kafka does, and then [abort](Transactions::abort_hanging) them.
    /// Kafka: `kafka-transactions find-hanging`.
    ///
    /// ```
    /// use annals::{Store, StoreConfig};
    /// use std::time::Duration;
    ///
    /// let transactions = Store::in_memory(StoreConfig::default())?.transactions()?;
    /// for (partition, hanging) in transactions.find_hanging(Duration::from_secs(20 * 60))? {
    ///     transactions.abort_hanging(&partition, &hanging)?;
    /// }
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`CorruptState`](TransactionError::CorruptState), and the errors of a read, if a partition
    /// of `__transaction_state` cannot be read.
    pub fn find_hanging(
        &self,
        silent_for: Duration,
    ) -> Result<Vec<(TopicPartition, HangingTransaction)>> {
        let open = self.store.open_transactions(silent_for);
        if open.is_empty() {
            return Ok(open);
        }
        let Some(coordinator) = self.store.existing_transaction_coordinator()? else {
            return Ok(open);
        };
        coordinator.load_all()?;
        let owners = coordinator.owners(&open.iter().map(|(_, open)| open.producer_id).collect());
        let hangs = |(at, open): &(TopicPartition, HangingTransaction)| {
            let owner = owners.get(&open.producer_id);
            owner.is_none_or(|(_, producer)| producer.fate(at, identity(open)) != Fate::Pending)
        };
        Ok(open.into_iter().filter(hangs).collect())
    }

    /// Aborts a transaction that [hangs](Transactions::find_hanging), and returns the outcome. If
    /// its transactional id has completed it, and only the partition has lost the marker, the
    /// partition gets that marker again, which may be a commit. Kafka: `abortTransaction`.
    ///
    /// # Errors
    /// - [`NotHanging`](TransactionError::NotHanging).
    /// - [`NoOpenTransaction`](ProducerStateError::NoOpenTransaction) if it was ended meanwhile.
    /// - The errors of [`Log::append`](crate::Log::append).
    pub fn abort_hanging(
        &self,
        partition: &TopicPartition,
        hanging: &HangingTransaction,
    ) -> Result<Outcome> {
        let log = self.store.topic(&partition.topic)?.partition(partition.partition)?;
        let open = log.hanging_transactions(Duration::ZERO)?;
        let is_same = |open: &HangingTransaction| {
            (open.producer_id, open.first_offset) == (hanging.producer_id, hanging.first_offset)
        };
        let Some(open) = open.into_iter().find(is_same) else {
            let producer_id = hanging.producer_id;
            let gone = ProducerStateError::NoOpenTransaction { producer_id };
            return Err(Error::Producer(gone));
        };
        let owner = match self.store.existing_transaction_coordinator()? {
            Some(coordinator) => {
                coordinator.load_all()?;
                coordinator.owners(&[open.producer_id].into()).remove(&open.producer_id)
            }
            None => None,
        };
        let fate = owner.map(|(id, producer)| (id, producer.fate(partition, identity(&open))));
        let outcome = match fate {
            Some((id, Fate::Pending)) => {
                let (id, partition) = (id.as_ref().to_owned(), partition.clone());
                return Err(TransactionError::NotHanging { id, partition }.into());
            }
            Some((_, Fate::Ended(outcome))) => outcome,
            Some((_, Fate::Hanging)) | None => Outcome::Abort,
        };
        self.store.end_in_partition(partition, &open, outcome)?;
        Ok(outcome)
    }
}

fn identity(open: &HangingTransaction) -> ProducerIdentity {
    ProducerIdentity { id: open.producer_id, epoch: open.producer_epoch }
}
