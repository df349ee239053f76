//! The coordinator of a store's transactions, as the threads of its maintainer see it.

use crate::error::{CloseReason, Result};
use crate::event::{Event, EventSink};
use crate::log::{Maintained, Pace};
use crate::store::topic::Topic;
use crate::transaction::coordinator::Coordinator;
use std::sync::Arc;
use std::time::Duration;

/// The coordinator of the transactions. A round of the maintainer ends what is due.
pub(crate) struct Ticker {
    pub(super) coordinator: Arc<Coordinator>,
    /// The topic `__transaction_state`.
    topic: Topic,
    events: EventSink,
}

impl Ticker {
    pub(super) fn new(coordinator: Coordinator, topic: Topic, events: EventSink) -> Arc<Ticker> {
        Arc::new(Ticker { coordinator: Arc::new(coordinator), topic, events })
    }
}

impl Maintained for Ticker {
    fn is_log(&self) -> bool {
        false
    }

    fn is_ready(&self) -> bool {
        true
    }

    /// Partitions that are offline or closed may be opened again, unless the store is closed.
    fn is_closed(&self) -> bool {
        self.topic.partitions().iter().any(|log| log.close_reason() == CloseReason::WithStore)
    }

    fn is_paused(&self) -> bool {
        false
    }

    /// Makes it the first of its round: it takes little time, and readers may wait for it.
    fn dirty_ratio(&self) -> f64 {
        f64::INFINITY
    }

    fn pass(&self, _: Pace<'_>) -> Result<()> {
        self.coordinator.tick();
        Ok(())
    }

    fn flush_by_age(&self) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// The next round ticks again.
    fn set_uncleanable(&self, cause: &str) -> Event {
        Event::MaintenanceFailed { error: cause.to_owned() }
    }

    fn emit(&self, event: &Event) {
        self.events.emit(event);
    }
}

#[cfg(test)]
mod tests {
    use crate::fs::MemFs;
    use crate::store::{Store, StoreConfig};
    use crate::transaction::{TransactionCoordinatorConfig, Wait};
    use std::time::Duration;

    /// It is maintained among the logs, and is none.
    #[test]
    fn ticker_is_no_log() {
        let config = TransactionCoordinatorConfig::default().state_partitions(2);
        let config = StoreConfig::default().fs(MemFs::new()).transaction_coordinator(config);
        let store = Store::open("data", config).unwrap();
        let transactions = store.transactions().unwrap();
        transactions.init_producer_id("t", Duration::from_secs(60), None, Wait::No).unwrap();
        assert_eq!(store.inner().maintainer.as_ref().unwrap().stats().logs, 2);
    }
}
