//! The fate of the transactions that partitions have open.

use crate::error::Result;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::producer::{Outcome, TransactionalProducer};
use crate::types::{ProducerId, ProducerIdentity, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The fate of a transaction that is open in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is ongoing or being completed, and the partition gets its marker.
    Pending,
    /// It is complete, but the partition has lost the marker, with the power.
    Ended(Outcome),
    /// Nothing ends it: the record that added the partition to the transaction is lost, or the
    /// batch was never part of one.
    Hanging,
}

/// The transactional ids of some producer ids, each with its producer.
pub(crate) type Owners = BTreeMap<ProducerId, (Arc<str>, TransactionalProducer)>;

impl Coordinator {
    /// Reads all partitions of `__transaction_state`. Returns the first error, after all of them
    /// were tried.
    pub(crate) fn load_all(&self) -> Result<()> {
        let load = |partition| {
            self.partitions.with_shard_unless_empty(partition, &self.config, |_, _| Ok(()))
        };
        self.partitions.iter().map(load).fold(Ok(()), Result::and)
    }

    /// Returns the transactional ids that have these producer ids, or had them in their previous
    /// transaction, in the partitions that were loaded.
    pub(crate) fn owners(&self, wanted: &BTreeSet<ProducerId>) -> Owners {
        let mut owners = Owners::new();
        for partition in self.partitions.iter() {
            let found = self.partitions.with_loaded_shard(partition, &self.config, |shard, _| {
                for (id, producer) in shard.producers() {
                    for known in producer.ids().filter(|known| wanted.contains(known)) {
                        owners.insert(known, (Arc::clone(id), producer.clone()));
                    }
                }
                Ok(())
            });
            // The ids in it count as unknown.
            found.ok();
        }
        owners
    }
}

impl TransactionalProducer {
    /// Iterates over the producer id that it has, and the one of its previous transaction.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ProducerId> {
        [Some(self.stored.producer_id), self.stored.previous_producer_id].into_iter().flatten()
    }

    /// Returns what becomes of a transaction that a partition has open, with batches of this
    /// producer id and epoch.
    pub(crate) fn fate(&self, at: &TopicPartition, who: ProducerIdentity) -> Fate {
        let is_part = self.stored.partitions.contains(at);
        match Outcome::of(self.stored.state) {
            _ if is_part => Fate::Pending,
            Some(outcome) if !self.is_prepared() && self.has_ended(who) => Fate::Ended(outcome),
            _ => Fate::Hanging,
        }
    }
}
