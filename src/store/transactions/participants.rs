//! The partitions of a store that take part in transactions.

use crate::error::{Error, ProducerStateError, Result, TopicError};
use crate::group::coordinator::Coordinator as GroupCoordinator;
use crate::log::{HangingTransaction, Log};
use crate::record::EndTxnMarker;
use crate::store::inner::StoreInner;
use crate::store::topic::Topic;
use crate::store::topics::Store;
use crate::topic_name::CONSUMER_OFFSETS;
use crate::transaction::Outcome;
use crate::transaction::participants::{MarkerOutcome, Participants};
use crate::types::{MAX_OFFSET, ProducerId, ProducerIdentity, TopicPartition, TransactionVersion};
use std::fmt;
use std::sync::{Arc, Weak};

/// The partitions of a store. It does not keep the store open.
pub(super) struct StoreParticipants {
    store: Weak<StoreInner>,
    /// The topic `__transaction_state`.
    state: Topic,
}

impl StoreParticipants {
    pub(super) fn new(store: &Store, state: &Topic) -> StoreParticipants {
        StoreParticipants { store: Arc::downgrade(store.inner()), state: state.clone() }
    }

    fn store(&self) -> Result<Store> {
        self.store.upgrade().map(Store::from_inner).ok_or(Error::StoreClosed)
    }
}

impl Store {
    /// Returns the log of a partition; `None` if there is no such partition.
    fn log_of(&self, at: &TopicPartition) -> Result<Option<Log>> {
        let log = self.topic(&at.topic).and_then(|topic| topic.partition(at.partition));
        match log {
            Err(error) if is_unknown(&error) => Ok(None),
            log => log.map(Some),
        }
    }

    /// Returns the coordinator of the groups, if they are stored in this partition. The offsets
    /// that a transaction commits are pending in it, and it must see the marker.
    fn groups(&self, at: &TopicPartition) -> Result<Option<Arc<GroupCoordinator>>> {
        if &*at.topic == CONSUMER_OFFSETS { self.existing_coordinator() } else { Ok(None) }
    }

    /// Does something with the log of a partition. Returns `None` if there is no such partition.
    fn with_log<T>(
        &self,
        at: &TopicPartition,
        act: impl FnOnce(&Log) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(log) = self.log_of(at)? else { return Ok(None) };
        match act(&log) {
            // The topic may have been deleted meanwhile.
            Err(Error::Closed { .. }) if self.log_of(at)?.is_none() => Ok(None),
            done => done.map(Some).map_err(Error::or_being_reopened),
        }
    }

    /// Writes a marker to a partition.
    pub(super) fn write_marker(
        &self,
        at: &TopicPartition,
        who: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<MarkerOutcome> {
        let written = match self.groups(at)? {
            Some(groups) => self.with_log(at, |_| {
                let end = |marker| groups.end_transaction(at.partition, who, marker, version);
                append_marker(marker, end)
            })?,
            None => self.with_log(at, |log| {
                let append = |marker| log.append_marker_of_coordinator(who, marker, version);
                append_marker(marker, |marker| append(marker).map(drop))
            })?,
        };
        Ok(written.unwrap_or(MarkerOutcome::NoSuchPartition))
    }

    /// Ends a transaction that is open in a partition, and that no coordinator ends.
    pub(super) fn end_in_partition(
        &self,
        at: &TopicPartition,
        open: &HangingTransaction,
        outcome: Outcome,
    ) -> Result<()> {
        let who = ProducerIdentity { id: open.producer_id, epoch: open.producer_epoch };
        let coordinator_epoch = open.coordinator_epoch.max(0);
        let committed = outcome == Outcome::Commit;
        let marker = EndTxnMarker { committed, coordinator_epoch };
        self.write_marker(at, who, marker, TransactionVersion::V0).map(drop)
    }
}

fn is_unknown(error: &Error) -> bool {
    let is_unknown = |error: &TopicError| {
        matches!(error, TopicError::Unknown { .. } | TopicError::UnknownPartition { .. })
    };
    matches!(error, Error::Topic(error) if is_unknown(error))
}

/// Appends a marker to a log, by a function that does this.
fn append_marker(
    marker: EndTxnMarker,
    append: impl Fn(EndTxnMarker) -> Result<()>,
) -> Result<MarkerOutcome> {
    let mut appended = append(marker);
    if let Err(Error::Producer(ProducerStateError::CoordinatorFenced { current, .. })) = appended {
        // A broker had the directory, and its coordinator a higher epoch. The directory is locked,
        // so that coordinator is gone.
        let marker = EndTxnMarker { coordinator_epoch: current, ..marker };
        appended = append(marker);
    }
    match appended {
        Ok(()) => Ok(MarkerOutcome::Written),
        // The log has a later epoch of the producer, which it gets only once a transaction is
        // complete. So it has the marker already. Its coordinator has lost records with the power.
        Err(Error::Producer(
            ProducerStateError::Fenced { .. } | ProducerStateError::MarkerEpochNotRaised { .. },
        )) => Ok(MarkerOutcome::Written),
        Err(error) => Err(error),
    }
}

impl Participants for StoreParticipants {
    fn new_producer_id(&self) -> Result<ProducerId> {
        self.store()?.new_producer_id()
    }

    fn exists(&self, at: &TopicPartition) -> Result<bool> {
        let has = self.store()?.topic(&at.topic).and_then(|t| t.check_has_partition(at.partition));
        match has {
            Err(error) if is_unknown(&error) => Ok(false),
            has => has.map(|()| true),
        }
    }

    fn flush(&self, at: &TopicPartition) -> Result<()> {
        self.store()?.with_log(at, |log| log.flush().map(drop)).map(drop)
    }

    fn write_marker(
        &self,
        at: &TopicPartition,
        who: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<MarkerOutcome> {
        self.store()?.write_marker(at, who, marker, version)
    }

    fn due_is_sooner(&self) {
        // In a closed store, no consumer waits.
        if let Ok(store) = self.store() {
            store.changed().notify();
        }
    }

    fn coordinator_epoch(&self, partition: u32) -> i32 {
        let log = self.state.partition(partition);
        let epoch = log.and_then(|log| log.epoch_of(MAX_OFFSET)).ok().flatten();
        epoch.unwrap_or(0).max(0)
    }
}

impl fmt::Debug for StoreParticipants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreParticipants").finish_non_exhaustive()
    }
}
