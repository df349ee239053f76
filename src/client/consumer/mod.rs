//! Reading topics, alone or as a member of a group.
//!
//! A consumer has partitions, and in each a *position*: the offset of the next record that a poll
//! returns. It gets its partitions in one of two ways:
//!
//! ```text
//!  assign(orders-0, orders-1)          exactly these, without a group
//!  subscribe("orders"), group billing  a share: the group has all partitions,
//!                                      and each partition has one member
//! ```
//!
//! A group stores its progress. The next member that gets a partition continues at the
//! *committed* offset:
//!
//! ```text
//!   0   1   2   3   4   5   6   7   8        orders-0
//!           ▲               ▲           ▲
//!        committed       position      end
//!           └ read again    └── lag: 3 ─┘
//!             after a crash
//! ```
//!
//! Everything happens in [`poll`](Consumer::poll), on the thread that calls it. A consumer has no
//! thread of its own.
//!
//! # How a poll runs
//!
//! 1. `rebalance` takes the steps with the group that are possible now: join, sync, heartbeat,
//!    apply the assignment. `membership` holds the state between them. The group leaves its
//!    answers in the member's mailbox, so that no step waits.
//! 2. `commit` commits the positions, if automatic commits are due. A consumer that is not a
//!    member also renews its group's offsets from time to time, so that they do not expire.
//! 3. `current_log` replaces the logs of partitions that were reopened or created again.
//! 4. `poll` resolves missing positions: the committed offset, or else `auto_offset_reset`.
//! 5. `partition` reads records with the reader of each partition, in turns. If there are any, the
//!    poll returns them, after the interceptors (`callbacks`).
//! 6. Otherwise `wakeup` registers the consumer with each log, the store and the group, and waits
//!    once for all of them. An append, a change of topics, another member of the group, or the
//!    [waker](Consumer::waker) wakes it, and the poll starts over.
//!
//! # Differences from Kafka
//!
//! - A poll reads records from the log when you call it. Only the rest of a batch is read ahead.
//! - [`seek`](Consumer::seek) rejects an offset that is not in the log. In Kafka, the next poll
//!   notices it and resets the position.
//! - A consumer that is dropped leaves its group at once. A static member may come back.
//! - A member commits only for its own partitions, and a commit for a partition that does not
//!   exist is rejected.
//! - With [`AutoOffsetReset::Latest`], a partition that is created while its topic is being read
//!   begins with its first record: see
//!   [`new_partitions_from_start`](ConsumerConfig::new_partitions_from_start).
//! - Automatic commits leave out positions that are already committed. A consumer that polls keeps
//!   its group's offsets from expiring, whether it commits or not: see
//!   [`offsets_retention`](crate::GroupCoordinatorConfig::offsets_retention).

mod callbacks;
mod commit;
mod config;
mod current_log;
mod membership;
mod partition;
mod pending;
mod poll;
mod positions;
mod rebalance;
mod records;
mod subscription;
mod wakeup;

pub use callbacks::{ConsumerInterceptor, RebalanceContext, RebalanceListener};
pub use config::{AutoOffsetReset, ConsumerConfig};
pub use records::{ConsumerRecord, ConsumerRecords};
pub use subscription::TopicPattern;
pub use wakeup::ConsumerWaker;

use crate::clock::Clock;
use crate::error::{ConsumeError, Result};
use crate::group::ConsumerGroupMetadata;
use crate::group::coordinator::Coordinator;
use crate::store::topics::Store;
use crate::types::TopicPartition;
use callbacks::RebalanceEvent;
use membership::Membership;
use partition::Partition;
use pending::AwaitedOffsets;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use subscription::{SubscribedSince, SubscriptionState};
use wakeup::{ConsumerWakeup, OneShotWaker};

/// Reads records from the partitions of topics, alone or as a member of a group.
///
/// A consumer belongs to one thread at a time; only its [waker](Consumer::waker) is for other
/// threads. Kafka: `KafkaConsumer`.
///
/// ```
/// use annals::{AutoOffsetReset, ConsumerConfig, Store, StoreConfig, TopicConfig};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default().partitions(2))?;
/// orders.partition(0)?.append("a")?;
/// orders.partition(1)?.append("b")?;
///
/// let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest);
/// let mut consumer = store.consumer(config.clone())?;
/// consumer.subscribe(["orders"])?;
/// assert_eq!(consumer.poll(Duration::from_secs(1))?.len(), 2);
/// consumer.close()?; // commits the records that were read
///
/// let mut next = store.consumer(config)?;
/// next.subscribe(["orders"])?;
/// orders.partition(1)?.append("c")?;
/// for record in next.poll(Duration::from_secs(1))? {
///     assert_eq!(record.value_str(), Some("c"));
/// }
/// # Ok::<(), annals::Error>(())
/// ```
pub struct Consumer {
    store: Store,
    config: ConsumerConfig,
    clock: Arc<dyn Clock>,
    wakeup: Arc<ConsumerWakeup>,
    group: Option<GroupHandle>,
    subscription: SubscriptionState,
    /// The partitions to read, in the order of turns.
    partitions: Vec<Partition>,
    /// The partition that the next poll begins with.
    next_turn: usize,
    /// `None` while the listener runs.
    listener: Option<Box<dyn RebalanceListener>>,
    /// A panic of the listener that the next poll reports.
    panicked: Option<ConsumeError>,
    membership: Membership,
    /// When the consumer began to read the topics that it subscribes to.
    since: SubscribedSince,
    /// Whether the poll starts at the beginning of a new partition. That position must be
    /// committed before the first record is read.
    begins_new_partition: bool,
    /// The partitions whose committed offset is not stable, as of the last look.
    awaited: Option<AwaitedOffsets>,
    next_auto_commit: Duration,
    /// When a consumer that is not a member next renews its group's offsets, so that they do not
    /// expire.
    next_offsets_renewal: Duration,
    /// The version of the topics at the last look: see [`Store::version`].
    seen_version: u64,
    topics_one_shot: Arc<OneShotWaker>,
    topics_waker: Waker,
    topics_id: u64,
    closed: bool,
}

/// The group of a consumer, and its coordinator.
#[derive(Debug, Clone)]
struct GroupHandle {
    name: Arc<str>,
    coordinator: Arc<Coordinator>,
}

impl Store {
    /// Creates a consumer. It reads nothing until you [subscribe](Consumer::subscribe) it, or
    /// [assign](Consumer::assign) partitions to it.
    ///
    /// # Errors
    /// - [`Error::InvalidConfig`](crate::Error::InvalidConfig) for an invalid option;
    ///   [`Error::StoreClosed`](crate::Error::StoreClosed).
    /// - With a group:
    ///   [`GroupError::InvalidSessionTimeout`](crate::GroupError::InvalidSessionTimeout) outside
    ///   the [bounds](crate::GroupCoordinatorConfig::session_timeout_bounds) of the store;
    ///   [`Error::Io`](crate::Error::Io) and others, if `__consumer_offsets` does not exist yet
    ///   and cannot be created, for example on a full disk.
    pub fn consumer(&self, config: ConsumerConfig) -> Result<Consumer> {
        config.validate()?;
        self.inner().check_open()?;
        let group = match &config.group_id {
            Some(name) => {
                let groups = &self.inner().config.group_coordinator;
                groups.check_session_timeout(config.session_timeout)?;
                let coordinator = self.coordinator()?;
                Some(GroupHandle { name: name.as_str().into(), coordinator })
            }
            None => None,
        };
        let clock = Arc::clone(self.clock());
        let wakeup = Arc::new(ConsumerWakeup::default());
        let topics_one_shot = OneShotWaker::new(&wakeup);
        Ok(Consumer {
            group,
            subscription: SubscriptionState::Nothing,
            partitions: Vec::new(),
            next_turn: 0,
            listener: None,
            panicked: None,
            membership: Membership::default(),
            since: SubscribedSince::default(),
            begins_new_partition: false,
            awaited: None,
            next_auto_commit: clock.monotonic().saturating_add(config.auto_commit_interval),
            next_offsets_renewal: clock.monotonic(),
            seen_version: self.version(),
            topics_waker: Waker::from(Arc::clone(&topics_one_shot)),
            topics_id: self.changed().new_id(),
            topics_one_shot,
            closed: false,
            store: self.clone(),
            clock,
            wakeup,
            config,
        })
    }
}

/// Topics and partitions.
impl Consumer {
    /// Subscribes to these topics as a member of the group, in place of the previous ones.
    ///
    /// The next poll joins the group. A topic need not exist yet: the group assigns its partitions
    /// once it does. Without any topic, the call is [`unsubscribe`](Consumer::unsubscribe).
    ///
    /// # Errors
    /// - [`ConsumeError::NoGroupId`], [`ConsumeError::Closed`].
    /// - [`ConsumeError::MixedSubscription`] if the consumer has assigned partitions, or
    ///   subscribes to a pattern.
    pub fn subscribe<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let topics: BTreeSet<String> = topics.into_iter().map(Into::into).collect();
        if topics.is_empty() {
            return self.unsubscribe();
        }
        self.set_subscription(SubscriptionState::Topics(topics))
    }

    /// [Subscribes](Consumer::subscribe) to topics, with a listener that is called when partitions
    /// are assigned or revoked.
    ///
    /// # Errors
    /// As [`subscribe`](Consumer::subscribe).
    pub fn subscribe_with_listener<T: Into<String>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
        listener: impl RebalanceListener + 'static,
    ) -> Result<()> {
        self.subscribe(topics)?;
        self.set_listener(listener);
        Ok(())
    }

    /// Subscribes to all topics whose names match, including topics that are created later.
    ///
    /// # Errors
    /// As [`subscribe`](Consumer::subscribe).
    pub fn subscribe_pattern(&mut self, pattern: TopicPattern) -> Result<()> {
        self.set_subscription(SubscriptionState::Pattern(pattern))
    }

    /// Sets the listener that is called when partitions are assigned or revoked.
    pub fn set_listener(&mut self, listener: impl RebalanceListener + 'static) {
        self.listener = Some(Box::new(listener));
    }

    /// Assigns exactly these partitions, in place of the previous ones. No group takes part in the
    /// choice. Partitions that stay assigned keep their position.
    ///
    /// If the consumer has a group, it begins at the group's committed offsets, and can commit as
    /// long as the group has no members.
    ///
    /// # Errors
    /// - [`TopicError`](crate::TopicError) for a partition that does not exist.
    /// - [`ConsumeError::MixedSubscription`] if the consumer subscribes to topics;
    ///   [`ConsumeError::Closed`].
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) -> Result<()> {
        self.check_open()?;
        self.subscription.check_next(&SubscriptionState::Assigned)?;
        let names: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        let (mut added, now) = (Vec::new(), self.store.logical_time());
        for name in names.iter().filter(|name| self.index(name).is_none()) {
            let log = self.store.partition(&name.topic, name.partition)?;
            let level = self.config.isolation_level;
            added.push(Partition::new(name.clone(), log, Some(now), level, &self.wakeup));
        }
        self.auto_commit()?;
        self.partitions.retain(|partition| names.contains(&partition.name));
        self.partitions.append(&mut added);
        self.subscription =
            if names.is_empty() { SubscriptionState::Nothing } else { SubscriptionState::Assigned };
        Ok(())
    }

    /// Gives up all partitions and leaves the group. With automatic commits, it first commits the
    /// records that polls have returned.
    ///
    /// # Errors
    /// The consumer leaves the group even if the call fails, except when it is closed already.
    /// - [`ConsumeError::Closed`].
    /// - [`ConsumeError::CommitFailed`] if the commit was rejected, because the group had removed
    ///   this member, or another consumer has taken its place. Another member reads the records
    ///   again.
    /// - [`Error::Io`](crate::Error::Io) if the commit or the group cannot be written;
    ///   [`Error::StoreClosed`](crate::Error::StoreClosed).
    /// - [`ConsumeError::CallbackPanicked`].
    pub fn unsubscribe(&mut self) -> Result<()> {
        if self.closed {
            return Err(ConsumeError::Closed.into());
        }
        let committed = self.auto_commit_all();
        let all = self.assignment();
        if self.subscription.is_subscription() && !all.is_empty() {
            self.release_partitions(RebalanceEvent::Revoked, &all);
        }
        self.partitions.clear();
        self.subscription = SubscriptionState::Nothing;
        self.since = SubscribedSince::default();
        let left = self.leave();
        let panicked = self.panicked.take().map_or(Ok(()), |panicked| Err(panicked.into()));
        let done = committed.and(left).and(panicked);
        done.map_err(|error| self.store.inner().closed_with_store(error))
    }

    /// Returns the topics that the consumer subscribes to; with a pattern, the topics that match
    /// now.
    ///
    /// # Errors
    /// [`ConsumeError::CallbackPanicked`] if the pattern panics.
    pub fn subscription(&self) -> Result<BTreeSet<String>> {
        self.subscription.topics(&self.store, !self.config.exclude_internal_topics)
    }

    /// Returns the partitions that the consumer has now, in the order of topics and numbers.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        let mut names: Vec<_> =
            self.partitions.iter().map(|partition| partition.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Returns the identity of the consumer in its group, as of the last poll.
    ///
    /// # Errors
    /// [`ConsumeError::NoGroupId`]
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata> {
        let group = self.group_for("be a member of one")?;
        Ok(ConsumerGroupMetadata {
            group_id: group.name.to_string(),
            generation: self.membership.generation(),
            member_id: self.membership.id.clone(),
            instance_id: self.config.instance_id.clone(),
        })
    }

    /// Returns a handle with which any thread can end a poll of this consumer.
    #[must_use]
    pub fn waker(&self) -> ConsumerWaker {
        ConsumerWaker::new(&self.wakeup)
    }

    /// Leaves the group and closes the consumer. With automatic commits, it first commits the
    /// records that polls have returned. A static member keeps its partitions for its session
    /// timeout.
    ///
    /// A second `close` does nothing. Dropping a consumer without `close` also leaves the group,
    /// but commits nothing and calls no listener.
    ///
    /// # Errors
    /// As [`unsubscribe`](Consumer::unsubscribe). The consumer is closed even if the call fails.
    pub fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let done = self.unsubscribe();
        self.closed = true;
        done
    }

    fn set_subscription(&mut self, subscription: SubscriptionState) -> Result<()> {
        self.check_open()?;
        self.group_for("subscribe")?;
        self.subscription.check_next(&subscription)?;
        self.since.begin(&subscription, self.store.logical_time());
        self.subscription = subscription;
        self.membership.rejoin = true;
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        if self.closed {
            return Err(ConsumeError::Closed.into());
        }
        self.store.inner().check_open()
    }

    /// Returns whether the group knows that the consumer subscribes to a topic, or will know it.
    fn subscribes_to(&self, topic: &str) -> bool {
        self.membership.topics.contains(topic) || self.subscription.names(topic)
    }

    fn group_for(&self, what: &'static str) -> Result<GroupHandle> {
        self.group.clone().ok_or_else(|| ConsumeError::NoGroupId { what }.into())
    }

    fn index(&self, name: &TopicPartition) -> Option<usize> {
        self.partitions.iter().position(|partition| partition.name == *name)
    }

    fn partition_mut(&mut self, name: &TopicPartition) -> Option<&mut Partition> {
        self.partitions.iter_mut().find(|partition| partition.name == *name)
    }

    fn assigned(&self, name: &TopicPartition) -> Result<usize> {
        self.check_open()?;
        let not_assigned = || ConsumeError::NotAssigned {
            topic: (*name.topic).to_owned(),
            partition: name.partition,
        };
        self.index(name).ok_or_else(|| not_assigned().into())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.store.changed().unregister(self.topics_id);
        if !self.closed {
            self.leave().ok();
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("group", &self.group.as_ref().map(|group| &group.name))
            .field("subscription", &self.subscription)
            .field("assignment", &self.assignment())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
