//! Ending the transactions of a process that is gone.

use crate::error::{Error, Result};
use crate::log::{HangingTransaction, Log};
use crate::store::topic::PartitionState;
use crate::store::topics::Store;
use crate::topic_name::TRANSACTION_STATE;
use crate::transaction::Outcome;
use crate::transaction::coordinator::Coordinator;
use crate::transaction::open::Fate;
use crate::types::{FIRST_STORE_PRODUCER_ID, ProducerIdentity, TopicPartition};
use std::sync::Arc;
use std::time::Duration;

impl Store {
    /// After a crash, sees to it that each transactional id gets another producer id: a loss of
    /// power can take its last epochs. The producers that had them are gone.
    pub(in crate::store) fn distrust_epochs(&self) -> Result<()> {
        let inner = self.inner();
        let Ok(topic) = self.topic(TRANSACTION_STATE) else { return Ok(()) };
        let was_clean = |state: &PartitionState| match state {
            PartitionState::Open(log) => log.recovery().clean_shutdown,
            PartitionState::Offline { .. } => false,
            PartitionState::Elsewhere => true,
        };
        let resumes = inner.config.transaction_coordinator.resume_ongoing;
        if resumes || topic.partition_states().iter().all(was_clean) {
            return Ok(());
        }
        match inner.producer_ids.distrust(|| inner.logs()) {
            // No producer can be initialized before the file is removed, and then no id is trusted.
            Err(Error::Corrupt(_)) => Ok(()),
            done => done,
        }
    }

    /// Ends the transactions that were going on when the directory was last in use. Their
    /// partitions hold readers of committed records back.
    ///
    /// A failure does not keep the store from being opened. What is left is ended by a tick, or by
    /// a call for the same transactional id.
    pub(in crate::store) fn recover_transactions(&self) {
        if self.undecided().is_empty() {
            return;
        }
        let Ok(Some(coordinator)) = self.existing_transaction_coordinator() else { return };
        let all_are_known = coordinator.load_all().is_ok();
        coordinator.tick();
        if !self.inner().config.transaction_coordinator.resume_ongoing {
            self.end_lost_transactions(&coordinator, all_are_known);
        }
    }

    /// Ends the transactions of which a loss of power took a record, in the partition or in
    /// `__transaction_state`.
    fn end_lost_transactions(&self, coordinator: &Coordinator, all_are_known: bool) {
        let open = self.open_transactions(Duration::ZERO);
        let wanted = open.iter().map(|(_, open)| open.producer_id).collect();
        let owners = coordinator.owners(&wanted);
        for (at, open) in open {
            let who = ProducerIdentity { id: open.producer_id, epoch: open.producer_epoch };
            let fate = owners.get(&who.id).map(|(_, producer)| producer.fate(&at, who));
            // A producer id of this store that no transactional id has: its first record is lost.
            let is_ours = all_are_known && who.id >= FIRST_STORE_PRODUCER_ID;
            let outcome = match fate {
                Some(Fate::Ended(outcome)) => outcome,
                Some(Fate::Hanging) => Outcome::Abort,
                None if is_ours => Outcome::Abort,
                Some(Fate::Pending) | None => continue,
            };
            // `Transactions::find_hanging` finds it again.
            self.end_in_partition(&at, &open, outcome).ok();
        }
    }

    /// Returns the transactions that are open in the partitions of the store, and whose producers
    /// have sent nothing for so long.
    pub(super) fn open_transactions(
        &self,
        silent_for: Duration,
    ) -> Vec<(TopicPartition, HangingTransaction)> {
        let undecided = self.undecided().into_iter();
        let open = undecided.flat_map(|(at, log)| {
            let open = log.hanging_transactions(silent_for).unwrap_or_default();
            open.into_iter().map(move |open| (at.clone(), open))
        });
        open.collect()
    }

    /// Returns the partitions in which a transaction is open.
    fn undecided(&self) -> Vec<(TopicPartition, Log)> {
        let mut undecided = Vec::new();
        for topic in self.topics() {
            let name: Arc<str> = topic.name().into();
            for (number, log) in topic.numbered_partitions() {
                let offsets = log.offsets();
                if offsets.last_stable < offsets.end {
                    undecided.push((TopicPartition::new(Arc::clone(&name), number), log));
                }
            }
        }
        undecided
    }
}
