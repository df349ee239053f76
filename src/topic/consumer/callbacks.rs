//! What an application gives to a consumer to be called.

use crate::error::{ConsumeError, Result};
use crate::topic::consumer::{Consumer, ConsumerRecords, OffsetAndMetadata};
use crate::topic::protocol::TopicPartition;
use crate::types::{Offset, StartAt};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Is told when the group gives partitions to a consumer, and takes them.
///
/// It is called inside of a poll, on the thread that polls; for what is taken also inside of
/// [`unsubscribe`](Consumer::unsubscribe) and [`close`](Consumer::close). No lock is held. Through
/// [`PartitionAccess`] it can commit, and move to where it wants to begin.
///
/// | | before the group assigns anew | after it |
/// |---|---|---|
/// | eager | revoked: all | assigned: all that are its own now |
/// | cooperative | | revoked: those that move, if any; then assigned: those that are new |
/// | was taken for dead | lost: all, which others may read already | assigned |
///
/// One that panics makes the poll return [`ConsumeError::CallbackPanicked`]; the consumer goes on
/// as if it had returned. Kafka: `ConsumerRebalanceListener`.
///
/// ```
/// use annals::{ConsumerConfig, PartitionAccess, RebalanceListener, Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::time::Duration;
///
/// struct FromTheStart;
/// impl RebalanceListener for FromTheStart {
///     fn on_partitions_assigned(&mut self, consumer: &mut PartitionAccess<'_>, partitions: &[TopicPartition]) {
///         for partition in partitions {
///             consumer.seek(partition, 0).expect("the log begins there");
///         }
///     }
/// }
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default())?.partition(0)?.append("a")?;
/// let mut consumer = store.consumer(ConsumerConfig::new("billing"))?;
/// consumer.subscribe_with(["orders"], FromTheStart)?;
/// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
/// # Ok::<(), annals::Error>(())
/// ```
pub trait RebalanceListener: Send {
    /// These partitions are about to be somebody else's. Last chance to commit.
    fn on_partitions_revoked(
        &mut self,
        consumer: &mut PartitionAccess<'_>,
        partitions: &[TopicPartition],
    ) {
        let _ = (consumer, partitions);
    }

    /// These partitions are the consumer's from now on.
    fn on_partitions_assigned(
        &mut self,
        consumer: &mut PartitionAccess<'_>,
        partitions: &[TopicPartition],
    ) {
        let _ = (consumer, partitions);
    }

    /// These partitions are somebody else's already: nothing can be committed for them. By default
    /// as if they were revoked.
    fn on_partitions_lost(
        &mut self,
        consumer: &mut PartitionAccess<'_>,
        partitions: &[TopicPartition],
    ) {
        self.on_partitions_revoked(consumer, partitions);
    }
}

/// What a [`RebalanceListener`] can do with the consumer.
#[derive(Debug)]
pub struct PartitionAccess<'a>(&'a mut Consumer);

impl PartitionAccess<'_> {
    /// As [`Consumer::commit`].
    ///
    /// # Errors
    /// As there.
    pub fn commit(&mut self) -> Result<()> {
        self.0.commit()
    }

    /// As [`Consumer::commit_offsets`].
    ///
    /// # Errors
    /// As there.
    pub fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, OffsetAndMetadata)>,
    ) -> Result<()> {
        self.0.commit_offsets(offsets)
    }

    /// As [`Consumer::seek`].
    ///
    /// # Errors
    /// As there.
    pub fn seek(&mut self, partition: &TopicPartition, to: impl Into<StartAt>) -> Result<()> {
        self.0.seek(partition, to)
    }

    /// As [`Consumer::position`].
    ///
    /// # Errors
    /// As there.
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        self.0.position(partition)
    }

    /// As [`Consumer::committed`].
    ///
    /// # Errors
    /// As there.
    pub fn committed(&self, partition: &TopicPartition) -> Result<Option<OffsetAndMetadata>> {
        self.0.committed(partition)
    }

    /// As [`Consumer::pause`].
    ///
    /// # Errors
    /// As there.
    pub fn pause(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.0.pause(partitions)
    }
}

/// What happens to partitions in a rebalance.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening {
    Revoked,
    Assigned,
    Lost,
}

impl Consumer {
    /// Calls the listener, if there is one. It is not there for as long as it runs.
    pub(super) fn tell_listener(&mut self, what: Happening, partitions: &[TopicPartition]) {
        let Some(mut listener) = self.listener.take() else { return };
        let mut access = PartitionAccess(self);
        let (callback, told) = match what {
            Happening::Revoked => (
                "the rebalance listener's on_partitions_revoked",
                caught(|| listener.on_partitions_revoked(&mut access, partitions)),
            ),
            Happening::Assigned => (
                "the rebalance listener's on_partitions_assigned",
                caught(|| listener.on_partitions_assigned(&mut access, partitions)),
            ),
            Happening::Lost => (
                "the rebalance listener's on_partitions_lost",
                caught(|| listener.on_partitions_lost(&mut access, partitions)),
            ),
        };
        self.listener = Some(listener);
        if let Err(message) = told {
            self.panicked.get_or_insert(ConsumeError::CallbackPanicked { callback, message });
        }
    }

    /// Lets the interceptors see records before the application does. One that panics is passed
    /// over.
    pub(super) fn intercept(&self, mut records: ConsumerRecords) -> ConsumerRecords {
        if records.is_empty() {
            return records;
        }
        for interceptor in &self.config.interceptors {
            let seen = records.clone();
            records = caught(|| interceptor.on_consume(seen)).unwrap_or(records);
        }
        records
    }

    pub(super) fn tell_committed(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        for interceptor in &self.config.interceptors {
            caught(|| interceptor.on_commit(offsets)).ok();
        }
    }
}

/// Sees all records of a consumer, and all that it commits. Kafka: `ConsumerInterceptor`.
///
/// Interceptors are called in their order, with no lock held. One that panics is passed over, as
/// in Kafka.
pub trait ConsumerInterceptor: Send + Sync {
    /// The records that a poll is about to return, and what it is to return in their place. What
    /// is left out is not read again.
    fn on_consume(&self, records: ConsumerRecords) -> ConsumerRecords {
        records
    }

    /// What was committed.
    fn on_commit(&self, offsets: &BTreeMap<TopicPartition, OffsetAndMetadata>) {
        let _ = offsets;
    }
}

/// Calls what is not ours; a panic is an error.
pub(super) fn guarded<T>(callback: &'static str, call: impl FnOnce() -> T) -> Result<T> {
    caught(call).map_err(|message| ConsumeError::CallbackPanicked { callback, message }.into())
}

fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| said(&*panic))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "something that is no text".to_owned())
}
