//! The options of a consumer.

use crate::client::consumer::callbacks::ConsumerInterceptor;
use crate::error::{Error, Result, reject_option};
use crate::group::assignor::{Assignor, CooperativeSticky, Range};
use crate::types::IsolationLevel;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a consumer begins to read a partition that has no committed offset, or whose next records
/// were deleted. [`ConsumerConfig`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AutoOffsetReset {
    /// At the first record of the partition.
    Earliest,
    /// At the end of the partition, so with the next record that is appended. In a partition that
    /// is created while the topic is being read, that is its first record: see
    /// [`new_partitions_from_start`](ConsumerConfig::new_partitions_from_start).
    #[default]
    Latest,
    /// Nowhere: the poll fails until you seek. The error is
    /// [`NoOffsetForPartition`](crate::ConsumeError::NoOffsetForPartition) if there is no
    /// committed offset.
    None,
}

/// The options of a [`Consumer`](crate::Consumer), with Kafka's names.
///
/// ```
/// use annals::{AutoOffsetReset, ConsumerConfig, Store, StoreConfig};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let config = ConsumerConfig::new("billing")
///     .auto_offset_reset(AutoOffsetReset::Earliest)
///     .enable_auto_commit(false)
///     .max_poll_records(100);
/// let consumer = store.consumer(config)?;
/// let error = store.consumer(ConsumerConfig::default().max_poll_records(0)).unwrap_err();
/// assert!(error.to_string().starts_with("option `max_poll_records`"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct ConsumerConfig {
    pub(super) group_id: Option<String>,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) auto_offset_reset: AutoOffsetReset,
    pub(super) new_partitions_from_start: bool,
    pub(super) enable_auto_commit: bool,
    pub(super) auto_commit_interval: Duration,
    pub(super) flush_commits: bool,
    pub(super) max_poll_records: usize,
    pub(super) max_poll_bytes: usize,
    pub(super) max_partition_fetch_bytes: usize,
    pub(super) session_timeout: Duration,
    pub(super) max_poll_interval: Duration,
    pub(super) isolation_level: IsolationLevel,
    pub(super) assignors: Vec<Arc<dyn Assignor>>,
    pub(super) exclude_internal_topics: bool,
    pub(super) interceptors: Vec<Arc<dyn ConsumerInterceptor>>,
}

/// The options of a consumer without a group: you assign its partitions, and it commits nothing.
impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            group_id: None,
            instance_id: None,
            client_id: "consumer".to_owned(),
            auto_offset_reset: AutoOffsetReset::Latest,
            new_partitions_from_start: true,
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            flush_commits: false,
            max_poll_records: 500,
            max_poll_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            session_timeout: Duration::from_secs(45),
            max_poll_interval: Duration::from_secs(300),
            isolation_level: IsolationLevel::ReadUncommitted,
            assignors: vec![Arc::new(Range), Arc::new(CooperativeSticky)],
            exclude_internal_topics: true,
            interceptors: Vec::new(),
        }
    }
}

impl ConsumerConfig {
    /// Creates the options of a member of this group.
    ///
    /// *Limits* 1 to 32767 bytes. *Effect*: members of a group share the partitions of the topics
    /// they subscribe to, and the group's commits are stored under its name. Kafka: `group.id`.
    #[must_use]
    pub fn new(group_id: impl Into<String>) -> ConsumerConfig {
        ConsumerConfig { group_id: Some(group_id.into()), ..ConsumerConfig::default() }
    }

    /// Sets the name of a static member, which stays the same over restarts.
    ///
    /// *Default* none. *Limits* 1 to 32767 bytes. *Effect*: if a member is closed or dropped and
    /// comes back with the same name within its session timeout, it has its partitions again,
    /// without a rebalance. If two members use the same name, the second takes over, and the first
    /// fails with [`FencedInstanceId`](crate::GroupError::FencedInstanceId).
    /// Kafka: `group.instance.id`.
    #[must_use]
    pub fn instance_id(mut self, instance_id: impl Into<String>) -> Self {
        self.instance_id = Some(instance_id.into());
        self
    }

    /// Sets the name of the consumer in descriptions of its group.
    ///
    /// *Default* `consumer`. *Limits* at most 32000 bytes. *Effect*: ids of members begin with it.
    /// Kafka: `client.id`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// Sets where to begin in a partition without a committed offset.
    ///
    /// *Default* latest. *Effect*: see [`AutoOffsetReset`]. Kafka: `auto.offset.reset`.
    #[must_use]
    pub fn auto_offset_reset(mut self, reset: AutoOffsetReset) -> Self {
        self.auto_offset_reset = reset;
        self
    }

    /// Sets whether [`Latest`](AutoOffsetReset::Latest) begins with the first record of a
    /// partition that was created after the consumer began to read the topic.
    ///
    /// *Default* yes. *Effect*: a consumer misses no record that is appended between the creation
    /// of a partition and the next poll. This concerns partitions that are
    /// [added](crate::Store::add_partitions), topics that are created after the consumer
    /// subscribed to them by name or by a pattern, and topics that are deleted and created again.
    /// With automatic commits, the start is committed before the first record is read, so that a
    /// crash does not change it.
    ///
    /// A group has been reading a topic since the first of its present members subscribed to it; a
    /// consumer with [`assign`](crate::Consumer::assign) has been reading a partition since that
    /// call. A partition that was created earlier, while the group had no members, or before the
    /// store was opened, begins at its end. So after a crash between the creation of a partition
    /// and the next poll, the partition begins at its end, too.
    ///
    /// With `false` the consumer behaves as in Kafka, which has no such setting: a new partition
    /// begins at its end as of the first poll after the rebalance.
    ///
    /// ```
    /// use annals::{ConsumerConfig, Store, StoreConfig, TopicConfig};
    /// use std::time::Duration;
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let mut consumer = store.consumer(ConsumerConfig::new("billing"))?; // latest, by default
    /// consumer.subscribe(["orders"])?;
    /// consumer.poll(Duration::ZERO)?;
    ///
    /// let orders = store.create_topic("orders", TopicConfig::default())?;
    /// orders.partition(0)?.append("the first order")?;
    /// assert_eq!(consumer.poll(Duration::ZERO)?.len(), 1);
    /// # Ok::<(), annals::Error>(())
    /// ```
    #[must_use]
    pub fn new_partitions_from_start(mut self, from_start: bool) -> Self {
        self.new_partitions_from_start = from_start;
        self
    }

    /// Sets whether polls commit the records that earlier polls have returned.
    ///
    /// *Default* yes; never without a group. *Effect*: a record counts as processed once the next
    /// poll begins, or the consumer is closed. After a crash in between, it is read again.
    /// Kafka: `enable.auto.commit`.
    #[must_use]
    pub fn enable_auto_commit(mut self, enable: bool) -> Self {
        self.enable_auto_commit = enable;
        self
    }

    /// Sets the time between automatic commits.
    ///
    /// *Default* 5 seconds. *Limits* any; with zero, every poll commits. *Effect*: a group reads
    /// the records since the last commit again after a crash. There is no timer: a poll looks at
    /// the clock. The consumer also commits before it gives up partitions, and at the close.
    /// Kafka: `auto.commit.interval.ms`.
    #[must_use]
    pub fn auto_commit_interval(mut self, interval: Duration) -> Self {
        self.auto_commit_interval = interval;
        self
    }

    /// Sets whether a commit is durable when it returns.
    ///
    /// *Default* no: a commit survives a process crash, and loss of power only once the operating
    /// system has written it. *Effect*: a commit costs an fsync; commits of other groups go on
    /// meanwhile. Kafka has no such setting for consumers.
    #[must_use]
    pub fn flush_commits(mut self, flush: bool) -> Self {
        self.flush_commits = flush;
        self
    }

    /// Sets the largest number of records that a poll returns.
    ///
    /// *Default* 500. *Limits* 1 and up. *Effect*: how much you process between two polls.
    /// Kafka: `max.poll.records`.
    #[must_use]
    pub fn max_poll_records(mut self, records: usize) -> Self {
        self.max_poll_records = records;
        self
    }

    /// Sets the bytes of keys, values and headers at which a poll returns.
    ///
    /// *Default* 50 MiB. *Limits* 1 and up. *Effect*: the record that reaches the limit is the
    /// last one, so a poll always makes progress, however large a record is.
    /// Kafka: `fetch.max.bytes`, which counts batches as they are stored.
    #[must_use]
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.max_poll_bytes = bytes;
        self
    }

    /// Sets the bytes of keys, values and headers at which a poll stops reading a partition.
    ///
    /// *Default* 1 MiB. *Limits* 1 and up. *Effect*: a lower value lets more partitions take
    /// their turn in one poll.
    /// Kafka: `max.partition.fetch.bytes`.
    #[must_use]
    pub fn max_partition_fetch_bytes(mut self, bytes: usize) -> Self {
        self.max_partition_fetch_bytes = bytes;
        self
    }

    /// Sets how long a static member that left may stay away.
    ///
    /// *Default* 45 seconds. *Limits* the bounds of the store: 6 seconds to 30 minutes. *Effect*:
    /// after that, the group assigns its partitions to others. Members of this process send no
    /// heartbeats: a member that is dropped or closed leaves at once, unless it is static.
    /// Kafka: `session.timeout.ms`.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// Sets the longest time between two polls.
    ///
    /// *Default* 5 minutes. *Limits* 1 ms and up. *Effect*: if a member does not poll in time, the
    /// group assumes that it hangs, and assigns its partitions to others; a static member has its
    /// session timeout in addition. A rebalance waits this long for a member to join again.
    /// Kafka: `max.poll.interval.ms`.
    #[must_use]
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// Sets the records of transactions that the consumer returns.
    ///
    /// *Default* [`ReadUncommitted`](IsolationLevel::ReadUncommitted): all. *Effect*: with
    /// [`ReadCommitted`](IsolationLevel::ReadCommitted), the consumer returns no record of an
    /// aborted transaction, and waits before the first record of the earliest open transaction.
    /// Kafka: `isolation.level`.
    #[must_use]
    pub fn isolation_level(mut self, isolation_level: IsolationLevel) -> Self {
        self.isolation_level = isolation_level;
        self
    }

    /// Sets the assignors that the consumer accepts, the most preferred one first.
    ///
    /// *Default* [`Range`], then [`CooperativeSticky`]. *Limits* at least one, each name once.
    /// *Effect*: the group uses the assignor that all members accept and most of them prefer.
    /// Partitions are handed over cooperatively if all of these assignors support it.
    /// Kafka: `partition.assignment.strategy`.
    #[must_use]
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = Arc<dyn Assignor>>) -> Self {
        self.assignors = assignors.into_iter().collect();
        self
    }

    /// Sets whether patterns leave out internal topics, such as `__consumer_offsets`.
    ///
    /// *Default* yes. Kafka: `exclude.internal.topics`.
    #[must_use]
    pub fn exclude_internal_topics(mut self, exclude: bool) -> Self {
        self.exclude_internal_topics = exclude;
        self
    }

    /// Adds an interceptor, which sees all records and all commits. Kafka: `interceptor.classes`.
    #[must_use]
    pub fn interceptor(mut self, interceptor: impl ConsumerInterceptor + 'static) -> Self {
        self.interceptors.push(Arc::new(interceptor));
        self
    }

    pub(super) fn validate(&self) -> Result<()> {
        let invalid = |option, reason: String| Err(Error::InvalidConfig { option, reason });
        let longest = i16::MAX as usize;
        let names = [("ConsumerConfig::new", &self.group_id), ("instance_id", &self.instance_id)];
        for (option, name) in names {
            if let Some(bytes) = name.as_ref().map(String::len)
                && !(1..=longest).contains(&bytes)
            {
                let reason = format!("has {bytes} bytes, but must have 1 to {longest}");
                return invalid(option, reason);
            }
        }
        if let (Some(id), None) = (&self.instance_id, &self.group_id) {
            let rule = "only a member of a group has one; begin with `ConsumerConfig::new(group)`";
            return reject_option("instance_id", format_args!("`{id}`"), rule);
        }
        if self.client_id.len() > 32_000 {
            let reason = format!("has {} bytes, but must have at most 32000", self.client_id.len());
            return invalid("client_id", reason);
        }
        for (option, limit) in [
            ("max_poll_records", self.max_poll_records),
            ("max_poll_bytes", self.max_poll_bytes),
            ("max_partition_fetch_bytes", self.max_partition_fetch_bytes),
        ] {
            if limit == 0 {
                return reject_option(option, 0, "must be at least 1");
            }
        }
        if self.max_poll_interval < Duration::from_millis(1) {
            let interval = format_args!("{:?}", self.max_poll_interval);
            return reject_option("max_poll_interval", interval, "must be at least 1 ms");
        }
        let mut names: Vec<&str> = self.assignors.iter().map(|assignor| assignor.name()).collect();
        names.sort_unstable();
        if names.is_empty() {
            return invalid("assignors", "is empty, but must have at least one".to_owned());
        }
        let repeated = names.windows(2).find(|pair| pair.first() == pair.last());
        if let Some([name, _]) = repeated {
            return invalid("assignors", format!("has `{name}` twice, but must have each once"));
        }
        Ok(())
    }
}

impl fmt::Debug for ConsumerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerConfig")
            .field("group_id", &self.group_id)
            .field("instance_id", &self.instance_id)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
