//! The list of the transactional ids of a store.

use crate::error::Result;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::record::TransactionState;
use crate::types::ProducerId;

/// A transactional id, in the [list](crate::Transactions::list) of all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionListing {
    /// The transactional id.
    pub transactional_id: String,
    /// The partition of `__transaction_state` in which it is stored.
    pub partition: u32,
    /// The id of its producer.
    pub producer_id: ProducerId,
    /// The state of its latest transaction.
    pub state: TransactionState,
}

impl Coordinator {
    /// Returns all transactional ids, in their order.
    pub(crate) fn list(&self) -> Result<Vec<TransactionListing>> {
        let mut listed = Vec::new();
        for partition in self.partitions.iter() {
            self.partitions.with_shard_unless_empty(partition, &self.config, |shard, _| {
                listed.extend(shard.producers().map(|(id, producer)| TransactionListing {
                    transactional_id: id.as_ref().to_owned(),
                    partition: partition.number,
                    producer_id: producer.stored.producer_id,
                    state: producer.stored.state,
                }));
                Ok(())
            })?;
        }
        listed.sort_by(|one, other| one.transactional_id.cmp(&other.transactional_id));
        Ok(listed)
    }
}
