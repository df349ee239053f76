//! User-supplied callbacks of a consumer.

use crate::callback::{self, Panicked};
use crate::client::consumer::records::ConsumerRecords;
use crate::error::{ConsumeError, Result};
use crate::group::offsets::OffsetAndMetadata;
use crate::types::{Offset, StartAt, TopicPartition};
use std::collections::BTreeMap;
use std::fmt;

/// A user-supplied listener for the partitions that the group assigns to a consumer, or revokes.
///
/// It is called inside a poll, on the thread that polls; for revoked partitions also inside
/// [`unsubscribe`](crate::Consumer::unsubscribe) and [`close`](crate::Consumer::close). No lock is
/// held. Through [`RebalanceContext`] it can commit, and seek.
///
/// | | before the group assigns anew | afterwards |
/// |---|---|---|
/// | eager | revoked: all partitions | assigned: all partitions that it has now |
/// | cooperative | | revoked: the partitions that move, if any; then assigned: the new ones |
/// | removed from the group | lost: all partitions, which others may already read | assigned |
///
/// If the listener panics, the poll fails with [`ConsumeError::CallbackPanicked`], and the
/// consumer continues as if the listener had returned. Kafka: `ConsumerRebalanceListener`.
///
/// ```
/// use annals::{ConsumerConfig, RebalanceContext, RebalanceListener};
/// use annals::{Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::time::Duration;
///
/// struct FromTheStart;
/// impl RebalanceListener for FromTheStart {
///     fn on_partitions_assigned(
///         &mut self,
///         consumer: &mut RebalanceContext<'_>,
///         partitions: &[TopicPartition],
///     ) {
///         for partition in partitions {
///             consumer.seek(partition, 0).expect("the log begins there");
///         }
///     }
/// }
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default())?.partition(0)?.append("a")?;
/// let mut consumer = store.consumer(ConsumerConfig::new("billing"))?;
/// consumer.subscribe_with_listener(["orders"], FromTheStart)?;
/// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
/// # Ok::<(), annals::Error>(())
/// ```
pub trait RebalanceListener: Send {
    /// Called before these partitions go to another member: the last chance to commit.
    fn on_partitions_revoked(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        partitions: &[TopicPartition],
    ) {
        let _ = (consumer, partitions);
    }

    /// Called when these partitions are assigned to the consumer.
    fn on_partitions_assigned(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        partitions: &[TopicPartition],
    ) {
        let _ = (consumer, partitions);
    }

    /// Called when these partitions already belong to another member: you cannot commit for them.
    /// By default it calls `on_partitions_revoked`.
    fn on_partitions_lost(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        partitions: &[TopicPartition],
    ) {
        self.on_partitions_revoked(consumer, partitions);
    }
}

/// The calls of a consumer that a listener may make.
pub(super) trait RebalanceActions: fmt::Debug {
    fn commit(&mut self) -> Result<()>;
    fn commit_offsets(
        &mut self,
        offsets: BTreeMap<TopicPartition, OffsetAndMetadata>,
    ) -> Result<()>;
    fn seek(&mut self, partition: &TopicPartition, to: StartAt) -> Result<()>;
    fn position(&mut self, partition: &TopicPartition) -> Result<Offset>;
    fn committed(&self, partition: &TopicPartition) -> Result<Option<OffsetAndMetadata>>;
    fn pause(&mut self, partitions: Vec<TopicPartition>) -> Result<()>;
}

/// The access of a [`RebalanceListener`] to its consumer. The listener's page has an example.
#[derive(Debug)]
pub struct RebalanceContext<'a>(&'a mut (dyn RebalanceActions + Send + 'static));

impl<'a> RebalanceContext<'a> {
    pub(super) fn new(
        consumer: &'a mut (dyn RebalanceActions + Send + 'static),
    ) -> RebalanceContext<'a> {
        RebalanceContext(consumer)
    }
}

impl RebalanceContext<'_> {
    /// Calls [`Consumer::commit`](crate::Consumer::commit).
    ///
    /// # Errors
    /// As [`Consumer::commit`](crate::Consumer::commit).
    pub fn commit(&mut self) -> Result<()> {
        self.0.commit()
    }

    /// Calls [`Consumer::commit_offsets`](crate::Consumer::commit_offsets).
    ///
    /// # Errors
    /// As [`Consumer::commit_offsets`](crate::Consumer::commit_offsets).
    pub fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        self.0.commit_offsets(offsets.into_iter().collect())
    }

    /// Calls [`Consumer::seek`](crate::Consumer::seek).
    ///
    /// # Errors
    /// As [`Consumer::seek`](crate::Consumer::seek).
    pub fn seek(&mut self, partition: &TopicPartition, to: impl Into<StartAt>) -> Result<()> {
        self.0.seek(partition, to.into())
    }

    /// Calls [`Consumer::position`](crate::Consumer::position).
    ///
    /// # Errors
    /// As [`Consumer::position`](crate::Consumer::position).
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        self.0.position(partition)
    }

    /// Calls [`Consumer::committed`](crate::Consumer::committed).
    ///
    /// # Errors
    /// As [`Consumer::committed`](crate::Consumer::committed).
    pub fn committed(&self, partition: &TopicPartition) -> Result<Option<OffsetAndMetadata>> {
        self.0.committed(partition)
    }

    /// Calls [`Consumer::pause`](crate::Consumer::pause).
    ///
    /// # Errors
    /// As [`Consumer::pause`](crate::Consumer::pause).
    pub fn pause(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.0.pause(partitions.into_iter().collect())
    }
}

/// A change of partitions that is reported to the listener.
#[derive(Debug, Clone, Copy)]
pub(super) enum RebalanceEvent {
    Revoked,
    Assigned,
    Lost,
}

impl RebalanceEvent {
    /// Calls the method of the listener for this event.
    pub(super) fn call(
        self,
        listener: &mut dyn RebalanceListener,
        context: &mut RebalanceContext<'_>,
        partitions: &[TopicPartition],
    ) -> Result<(), ConsumeError> {
        let (method, called) = match self {
            RebalanceEvent::Revoked => (
                "the rebalance listener's on_partitions_revoked",
                callback::call(|| listener.on_partitions_revoked(context, partitions)),
            ),
            RebalanceEvent::Assigned => (
                "the rebalance listener's on_partitions_assigned",
                callback::call(|| listener.on_partitions_assigned(context, partitions)),
            ),
            RebalanceEvent::Lost => (
                "the rebalance listener's on_partitions_lost",
                callback::call(|| listener.on_partitions_lost(context, partitions)),
            ),
        };
        called.map_err(|panicked| panic_of(method, &panicked))
    }
}

/// A user-supplied observer of all records and all commits of a consumer.
/// Kafka: `ConsumerInterceptor`.
///
/// Interceptors are called in the order in which they were added, with no lock held. If one
/// panics, its result is ignored, as in Kafka.
///
/// ```
/// use annals::{ConsumerConfig, ConsumerInterceptor, ConsumerRecord, ConsumerRecords};
/// use annals::{Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::time::Duration;
///
/// struct WithoutTombstones;
/// impl ConsumerInterceptor for WithoutTombstones {
///     fn on_consume(&self, records: ConsumerRecords) -> ConsumerRecords {
///         records.into_iter().filter(|record: &ConsumerRecord| record.value.is_some()).collect()
///     }
/// }
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let log = store.create_topic("users", TopicConfig::default())?.partition(0)?;
/// log.append(annals::Record::new("Ada").key("1"))?;
/// log.append(annals::Record::tombstone("1"))?;
/// let config = ConsumerConfig::default().interceptor(WithoutTombstones);
/// let mut consumer = store.consumer(config)?;
/// consumer.assign([TopicPartition::new("users", 0)])?;
/// consumer.seek_to_beginning([])?;
/// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
/// # Ok::<(), annals::Error>(())
/// ```
pub trait ConsumerInterceptor: Send + Sync {
    /// Called with the records that a poll is about to return; the poll returns the result
    /// instead. Records that are left out are not read again.
    fn on_consume(&self, records: ConsumerRecords) -> ConsumerRecords {
        records
    }

    /// Called with the offsets that were committed.
    fn on_commit(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let _ = offsets;
    }
}

/// Calls user-supplied code; a panic becomes an error.
pub(super) fn guarded<T>(callback: &'static str, call: impl FnOnce() -> T) -> Result<T> {
    callback::call(call).map_err(|panicked| panic_of(callback, &panicked).into())
}

fn panic_of(callback: &'static str, panicked: &Panicked) -> ConsumeError {
    let message = panicked.message().unwrap_or("no message").to_owned();
    ConsumeError::CallbackPanicked { callback, message }
}
