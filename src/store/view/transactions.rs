//! The stored transactions, read beside the process that coordinates them.

use crate::error::{Error, Result, TopicError, TransactionError};
use crate::group::offsets::partition_for;
use crate::log::HangingTransaction;
use crate::store::view::StoreView;
use crate::topic_name::TRANSACTION_STATE;
use crate::transaction::listing::{StoredProducers, stored_in};
use crate::transaction::open::Fate;
use crate::transaction::{TransactionListing, TransactionMetadata};
use crate::types::{ProducerIdentity, TopicPartition};
use std::time::Duration;

impl StoreView {
    /// Lists all transactional ids in their order, as
    /// [`Transactions::list`](crate::Transactions::list) does.
    ///
    /// ```
    /// use annals::{Store, StoreConfig, TransactionState, Wait, fs::MemFs};
    /// use std::time::Duration;
    ///
    /// let fs = MemFs::new();
    /// let config = || StoreConfig::default().fs(fs.clone());
    /// let store = Store::open("data", config())?;
    /// let minute = Duration::from_secs(60);
    /// store.transactions()?.init_producer_id("billing", minute, None, Wait::No)?;
    ///
    /// let view = Store::open_read_only("data", config())?;
    /// assert_eq!(view.list_transactions()?[0].transactional_id, "billing");
    /// assert_eq!(view.describe_transaction("billing")?.state, TransactionState::Empty);
    /// assert_eq!(view.hanging_transactions(Duration::ZERO)?, []);
    /// # store.close()?;
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    /// The error of reading a partition of `__transaction_state`.
    pub fn list_transactions(&self) -> Result<Vec<TransactionListing>> {
        let mut listed = Vec::new();
        for partition in 0..self.count(TRANSACTION_STATE)? {
            for (id, producer) in &self.stored_producers(partition)? {
                listed.push(TransactionListing::new(id, partition, producer));
            }
        }
        listed.sort_by(|one, other| one.transactional_id.cmp(&other.transactional_id));
        Ok(listed)
    }

    /// Returns what is stored of a transactional id: its producer, and its latest transaction.
    ///
    /// # Errors
    /// [`UnknownId`](TransactionError::UnknownId); the error of reading the partition of
    /// `__transaction_state` in which the id is stored.
    pub fn describe_transaction(&self, transactional_id: &str) -> Result<TransactionMetadata> {
        let unknown = || TransactionError::UnknownId { id: transactional_id.to_owned() };
        let count = self.count(TRANSACTION_STATE)?;
        let partition = partition_for(transactional_id, count).ok_or_else(unknown)?;
        let mut stored = self.stored_producers(partition)?;
        Ok(stored.remove(transactional_id).ok_or_else(unknown)?.stored)
    }

    /// Returns the open transactions that nothing ends, of producers that have sent nothing for so
    /// long, in the order of their partitions.
    ///
    /// No record of `__transaction_state` says that such a transaction is going on in its
    /// partition. [`Log::hanging_transactions`](crate::Log::hanging_transactions) tells what it
    /// costs, and [`Transactions::abort_hanging`](crate::Transactions::abort_hanging) ends it.
    ///
    /// # Errors
    /// The error of reading a partition of `__transaction_state`, or one with an open transaction.
    /// Partitions that cannot be opened are left out.
    pub fn hanging_transactions(
        &self,
        silent_for: Duration,
    ) -> Result<Vec<(TopicPartition, HangingTransaction)>> {
        let open = self.open_transactions(silent_for)?;
        if open.is_empty() {
            return Ok(open);
        }
        // A transaction that ends meanwhile is pending in these records, or complete.
        let mut known = Vec::new();
        for partition in 0..self.count(TRANSACTION_STATE)? {
            known.extend(self.stored_producers(partition)?.into_values());
        }
        let is_hanging = |(at, open): &(TopicPartition, HangingTransaction)| {
            let who = ProducerIdentity { id: open.producer_id, epoch: open.producer_epoch };
            let mut owners = known.iter().filter(|producer| producer.ids().any(|id| id == who.id));
            !owners.any(|producer| producer.fate(at, who) == Fate::Pending)
        };
        Ok(open.into_iter().filter(is_hanging).collect())
    }

    fn open_transactions(
        &self,
        silent_for: Duration,
    ) -> Result<Vec<(TopicPartition, HangingTransaction)>> {
        let mut open = Vec::new();
        for topic in self.topics()? {
            for number in 0..self.count(&topic)? {
                let Ok(log) = self.partition(&topic, number) else { continue };
                let offsets = log.offsets();
                if offsets.last_stable < offsets.end {
                    let at = TopicPartition::new(topic.as_str(), number);
                    let found = log.hanging_transactions(silent_for)?;
                    open.extend(found.into_iter().map(|found| (at.clone(), found)));
                }
            }
        }
        Ok(open)
    }

    fn stored_producers(&self, partition: u32) -> Result<StoredProducers> {
        match self.partition(TRANSACTION_STATE, partition) {
            Ok(log) => stored_in(partition, &log),
            // The partition is being created.
            Err(Error::Topic(error)) if matches!(*error, TopicError::PartitionElsewhere { .. }) => {
                Ok(StoredProducers::new())
            }
            Err(error) => Err(error),
        }
    }
}
