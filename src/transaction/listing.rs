//! The list of the transactional ids of a store.

use crate::error::Result;
use crate::log::Log;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::producer::TransactionalProducer;
use crate::transaction::record::TransactionState;
use crate::transaction::shard::Shard;
use crate::types::ProducerId;
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// Transactional ids, each with its producer.
pub(crate) type StoredProducers = BTreeMap<Arc<str>, TransactionalProducer>;

/// Reads the transactional ids in a partition of `__transaction_state`.
pub(crate) fn stored_in(partition: u32, log: &Log) -> Result<StoredProducers> {
    Shard::stored_producers(partition, log)
}

impl TransactionListing {
    pub(crate) fn new(id: &str, partition: u32, producer: &TransactionalProducer) -> Self {
        TransactionListing {
            transactional_id: id.to_owned(),
            partition,
            producer_id: producer.stored.producer_id,
            state: producer.stored.state,
        }
    }
}

impl Coordinator {
    /// Returns all transactional ids, in their order.
    pub(crate) fn list(&self) -> Result<Vec<TransactionListing>> {
        let mut listed = Vec::new();
        for partition in self.partitions.iter() {
            self.partitions.with_shard_unless_empty(partition, &self.config, |shard, _| {
                let listing = |(id, producer): (&Arc<str>, &TransactionalProducer)| {
                    TransactionListing::new(id, partition.number, producer)
                };
                listed.extend(shard.producers().map(listing));
                Ok(())
            })?;
        }
        listed.sort_by(|one, other| one.transactional_id.cmp(&other.transactional_id));
        Ok(listed)
    }
}
