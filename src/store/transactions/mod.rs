//! The topic that transactions are stored in, and the coordinator over its logs.

mod handle;
mod hanging;
mod offsets;
mod participants;
mod recovery;
mod ticker;

pub use handle::Transactions;
pub(super) use ticker::Ticker;

use crate::error::{Error, Result};
use crate::group::state_partitions::CoordinatorContext;
use crate::log::{CleanupPolicy, LogConfig};
use crate::store::settings::TopicConfig;
use crate::store::topics::Store;
use crate::topic_name::TRANSACTION_STATE;
use crate::transaction::coordinator::Coordinator;
use participants::StoreParticipants;
use std::sync::Arc;
use std::time::Duration;

/// The reason why the topic of a broker in a cluster is of no use here.
const SPREAD: &str =
    "their number decides where a transaction is stored; use transactions in its Kafka cluster";

impl Store {
    /// Returns the transactions of this store: the calls by which producers begin and end them.
    ///
    /// [`Producer`](crate::Producer) makes these calls for you. Make them yourself if your
    /// producers are elsewhere, as those of a broker are.
    ///
    /// # Errors
    /// [`Error::StoreClosed`](crate::Error::StoreClosed).
    pub fn transactions(&self) -> Result<Transactions> {
        self.inner().check_open()?;
        Ok(Transactions::new(self.clone()))
    }

    /// Returns the coordinator of the transactions, creating it on first use, with its topic.
    fn transaction_coordinator(&self) -> Result<Arc<Coordinator>> {
        if let Some(coordinator) = self.used_transaction_coordinator() {
            return Ok(coordinator);
        }
        // Each caller that finds none creates one without holding a lock. The first one is kept.
        let made = self.create_transaction_coordinator()?;
        let inner = self.inner();
        let kept = Arc::clone(inner.transactions.lock().get_or_insert(Arc::clone(&made)));
        if let (Some(maintainer), true) = (&inner.maintainer, Arc::ptr_eq(&kept, &made)) {
            maintainer.add_maintained(made, &inner.directory.dir.path)?;
        }
        Ok(Arc::clone(&kept.coordinator))
    }

    /// Returns the coordinator of the transactions, if it was used since the store was opened.
    pub(super) fn used_transaction_coordinator(&self) -> Option<Arc<Coordinator>> {
        self.inner().transactions.lock().as_ref().map(|ticker| Arc::clone(&ticker.coordinator))
    }

    fn create_transaction_coordinator(&self) -> Result<Arc<Ticker>> {
        let inner = self.inner();
        let mut config = inner.config.transaction_coordinator.clone();
        config.first_trusted = inner.producer_ids.trusted(|| inner.logs())?;
        let log = LogConfig::default()
            .cleanup_policy(CleanupPolicy::Compact)
            .segment_bytes(config.state_segment_bytes());
        let topic = TopicConfig::default().partitions(config.partitions()).log(log);
        let topic = self.internal_topic(TRANSACTION_STATE, topic)?;
        topic.check_not_spread(SPREAD)?;
        let partitions = topic.partition_count();
        let context = CoordinatorContext {
            clock: Arc::clone(&inner.config.log.clock),
            maintainer: inner.maintainer.clone(),
        };
        let participants = Box::new(StoreParticipants::new(self, &topic));
        let (logs, events) = (Box::new(topic.clone()), self.events().clone());
        let coordinator =
            Coordinator::new(logs, partitions, participants, config, context, events.clone());
        Ok(Ticker::new(coordinator, topic, events))
    }

    /// Returns the coordinator of the transactions, if this directory ever had any.
    fn existing_transaction_coordinator(&self) -> Result<Option<Arc<Coordinator>>> {
        match self.topic(TRANSACTION_STATE) {
            Err(Error::Topic(_)) => Ok(None),
            topic => {
                topic?.check_not_spread(SPREAD)?;
                self.transaction_coordinator().map(Some)
            }
        }
    }

    /// Ends the transactions that are due, in a store without maintainer.
    pub(crate) fn end_due_transactions(&self) {
        if let Some(coordinator) = self.used_transaction_coordinator() {
            coordinator.end_due_without_maintainer();
        }
    }

    /// Returns the moment, by the monotonic clock, at which
    /// [`end_due_transactions`](Store::end_due_transactions) has something to do. If it becomes
    /// sooner, [`changed`](Store::changed) is notified.
    pub(crate) fn transactions_due(&self) -> Option<Duration> {
        self.used_transaction_coordinator()?.due_without_maintainer()
    }

    /// Ends the transactions that are due.
    pub(super) fn tick_transactions(&self) {
        if let Some(coordinator) = self.used_transaction_coordinator() {
            coordinator.tick();
        }
    }
}
