//! A topic as a producer sees it: its partitions, and the choice of one for a record.
//!
//! Partitions are found without a lock, in chunks as they were added. A higher version of the
//! store says that topics were created or have grown. A deleted topic is released at once, because
//! its logs hold files open, and with them space on disk.

use crate::callback;
use crate::client::partitioner::{Partitioner, RoundRobin, Sticky, partition_for_key};
use crate::client::producer::accumulator::{PartitionQueue, QueueOwner};
use crate::client::producer::config::PartitionerChoice;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::record::RecordSlices;
use crate::error::{Error, ProduceError, Result, TopicError};
use crate::event::{self, Event};
use crate::log::Log;
use crate::random::SplitMix64;
use crate::store::topic::{PartitionState, Topic};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

/// The version of an entry whose topic was not looked up yet.
const NEVER: u64 = u64::MAX;
/// The version of an entry that was removed from its chain. Stored while its logs are locked.
const RETIRED: u64 = NEVER - 1;

/// A flag in the number of partitions: some cannot be used. No topic has that many partitions.
const SOME_UNUSABLE: u32 = 1 << 31;

/// The usable partitions of a topic that also has unusable ones.
#[derive(Default)]
struct UsablePartitions {
    partitions: Vec<u32>,
    /// The errors of the others.
    unavailable: BTreeMap<u32, TopicError>,
    /// Whether some are in other directories, so that the number of partitions is not known.
    is_spread: bool,
}

/// A topic as a producer sees it.
pub(super) struct TopicEntry {
    owner: Weak<dyn QueueOwner>,
    name: Arc<str>,
    /// The version of the store when the topic was last looked up.
    version: AtomicU64,
    /// The number of partitions now, with [`SOME_UNUSABLE`] if some cannot be used; 0 if the topic
    /// does not exist any more.
    count: AtomicU32,
    /// The usable partitions, if not all are. Leaf lock.
    usable: Mutex<Arc<UsablePartitions>>,
    first: OnceLock<Box<QueueChunk>>,
    /// The logs of the topic when it was last looked up. Locked while the topic is looked up,
    /// before the states of its queues.
    logs: Mutex<Arc<[Log]>>,
    /// The partition of records without keys. Locked while such a record is added, before the
    /// state of its queue.
    sticky: Mutex<Sticky>,
    /// Leaf lock.
    round_robin: Mutex<RoundRobin>,
}

/// The queues of consecutive partitions that were added at once.
struct QueueChunk {
    queues: Box<[Arc<PartitionQueue>]>,
    next: OnceLock<Box<QueueChunk>>,
}

/// The queue of a record.
pub(super) struct Choice<'a> {
    pub(super) queue: &'a Arc<PartitionQueue>,
    /// Set if the record has no key: report the record to it once it is added.
    pub(super) sticky: Option<MutexGuard<'a, Sticky>>,
}

impl TopicEntry {
    pub(super) fn new(
        owner: Weak<dyn QueueOwner>,
        name: &Arc<str>,
        context: &ProducerContext,
    ) -> TopicEntry {
        let (batch_bytes, random) = (context.config.batch_bytes as u64, SplitMix64(context.seed));
        TopicEntry {
            owner,
            name: Arc::clone(name),
            version: AtomicU64::new(NEVER),
            count: AtomicU32::new(0),
            usable: Mutex::default(),
            first: OnceLock::new(),
            logs: Mutex::new(Arc::new([])),
            sticky: Mutex::new(Sticky::new(batch_bytes, random)),
            round_robin: Mutex::default(),
        }
    }

    /// Retires an entry of a chain that is being changed; returns false if it is needed, because
    /// it has partitions, was not looked up yet, or a `TopicProducer` holds it. If its topic is
    /// created again, the records of that `TopicProducer` stay in order with those of others.
    pub(super) fn retire(entry: &Arc<TopicEntry>) -> bool {
        let logs = entry.logs.lock();
        let is_needed = Arc::strong_count(entry) > 1
            || !logs.is_empty()
            || entry.version.load(Ordering::Acquire) == NEVER;
        if !is_needed {
            entry.version.store(RETIRED, Ordering::Release);
        }
        !is_needed
    }

    #[inline]
    pub(super) fn is_retired(&self) -> bool {
        self.version.load(Ordering::Acquire) == RETIRED
    }

    /// Drops the logs. Batches that wait for them fail.
    pub(super) fn release_logs(&self, context: &ProducerContext) {
        let mut seen = self.logs.lock();
        self.set_logs(&[], context);
        *seen = Arc::from([]);
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Looks the topic up again if any topic has changed. Returns false if the entry was retired.
    #[inline]
    pub(super) fn look_up(&self, context: &ProducerContext) -> Result<bool> {
        if self.version.load(Ordering::Acquire) != context.store.version() {
            // The last handle to a log may be dropped: hold its events back until no lock is held.
            if !event::deliver_after(|| self.look_up_now(context))? {
                return Ok(false);
            }
        }
        if self.count.load(Ordering::Acquire) == 0 {
            return Err(TopicError::Unknown { topic: self.name.to_string() }.into());
        }
        Ok(true)
    }

    #[cold]
    fn look_up_now(&self, context: &ProducerContext) -> Result<bool> {
        let mut seen = self.logs.lock();
        if self.is_retired() {
            return Ok(false);
        }
        // Read the version before the topic: a change in between is looked up again.
        let version = context.store.version();
        let topic = match context.store.topic(&self.name) {
            Err(Error::Topic(_)) => None,
            found => Some(found?),
        };
        let logs = topic.as_ref().map_or_else(|| Arc::from([]), Topic::partitions);
        if !Arc::ptr_eq(&seen, &logs) {
            self.set_topic(topic.as_ref(), &logs, context);
            *seen = logs;
        }
        self.version.store(version, Ordering::Release);
        Ok(true)
    }

    /// Sets the logs of the partitions. One that cannot be used has a queue as well, so that the
    /// place of each queue is the number of its partition; no record is added to it.
    fn set_topic(&self, topic: Option<&Topic>, open: &[Log], context: &ProducerContext) {
        let unavailable = topic.map(Topic::unavailable_partitions).unwrap_or_default();
        let Some(topic) = topic.filter(|_| !unavailable.is_empty()) else {
            return self.set_logs(open, context);
        };
        let log = |state: &PartitionState| {
            if let PartitionState::Open(log) = state { Some(log.clone()) } else { None }
        };
        let logs: Vec<Option<Log>> = topic.partition_states().iter().map(log).collect();
        let partitions =
            topic.numbered_partitions().into_iter().map(|(number, _)| number).collect();
        *self.usable.lock() =
            Arc::new(UsablePartitions { partitions, unavailable, is_spread: topic.is_spread() });
        self.replace_logs(&logs, SOME_UNUSABLE, context);
    }

    /// Sets the logs of all partitions, and adds queues for new ones.
    pub(super) fn set_logs(&self, logs: &[Log], context: &ProducerContext) {
        let logs: Vec<Option<Log>> = logs.iter().cloned().map(Some).collect();
        self.replace_logs(&logs, 0, context);
    }

    fn replace_logs(&self, logs: &[Option<Log>], flags: u32, context: &ProducerContext) {
        let mut slot = &self.first;
        let mut rest = logs;
        let mut number = 0u32;
        while let Some(chunk) = slot.get() {
            for queue in &chunk.queues {
                // A topic that was created again has other logs, and perhaps fewer partitions.
                let log = match rest.split_first() {
                    Some((log, others)) => {
                        (rest, number) = (others, number.saturating_add(1));
                        log.as_ref()
                    }
                    None => None,
                };
                queue.set_log(log, context);
            }
            slot = &chunk.next;
        }
        if !rest.is_empty() {
            let queue = |(number, log): (u32, &Option<Log>)| {
                let name = Arc::clone(&self.name);
                let (owner, log) = (Weak::clone(&self.owner), log.clone());
                Arc::new(PartitionQueue::new(owner, name, number, log, context.first_sequence))
            };
            let queues = (number..).zip(rest).map(queue).collect();
            slot.get_or_init(|| Box::new(QueueChunk { queues, next: OnceLock::new() }));
        }
        let count = u32::try_from(logs.len()).unwrap_or(u32::MAX);
        self.count.store(count | flags, Ordering::Release);
    }

    #[inline]
    fn queue(&self, partition: u32) -> Result<&Arc<PartitionQueue>> {
        let mut at = partition as usize;
        let mut slot = &self.first;
        while let Some(chunk) = slot.get() {
            if let Some(queue) = chunk.queues.get(at) {
                return Ok(queue);
            }
            at = at.saturating_sub(chunk.queues.len());
            slot = &chunk.next;
        }
        Err(self.unknown_partition(partition))
    }

    #[cold]
    fn unknown_partition(&self, partition: u32) -> Error {
        let partitions = self.count.load(Ordering::Relaxed) & !SOME_UNUSABLE;
        let topic = self.name.to_string();
        TopicError::UnknownPartition { topic, partition, partitions }.into()
    }

    /// Chooses the partition of a record.
    #[inline]
    pub(super) fn choose(
        &self,
        named: Option<u32>,
        record: &RecordSlices<'_>,
        context: &ProducerContext,
    ) -> Result<Choice<'_>> {
        let count = self.count.load(Ordering::Acquire);
        if count & SOME_UNUSABLE != 0 {
            return self.choose_usable(named, record, count & !SOME_UNUSABLE, context);
        }
        let mut sticky = None;
        let partition = if let Some(partition) = named {
            partition
        } else {
            match &context.config.partitioner {
                PartitionerChoice::RoundRobin => self.round_robin.lock().choose(&[], count),
                PartitionerChoice::Custom(custom) => {
                    Some(self.call_partitioner(&**custom, record, count, context)?)
                }
                PartitionerChoice::ByKey => match record.key {
                    Some(key) => partition_for_key(key, count),
                    None if count == 1 => Some(0),
                    None => {
                        let sticky = sticky.insert(self.sticky.lock());
                        sticky.choose(&[], count)
                    }
                },
            }
            .unwrap_or(0)
        };
        if partition >= count {
            return Err(self.unknown_partition(partition));
        }
        Ok(Choice { queue: self.queue(partition)?, sticky })
    }

    /// Chooses a partition while some cannot be used. A record without a key goes to a usable one;
    /// a record with a key keeps its partition, and fails if that cannot be used.
    #[cold]
    fn choose_usable(
        &self,
        named: Option<u32>,
        record: &RecordSlices<'_>,
        count: u32,
        context: &ProducerContext,
    ) -> Result<Choice<'_>> {
        let usable = Arc::clone(&self.usable.lock());
        let spread = || {
            let reason = "name the partition of each record: without the number of partitions, \
                          neither a key nor a partitioner can choose it";
            Error::from(TopicError::Spread { topic: self.name.to_string(), reason })
        };
        let mut sticky = None;
        let partition = match (named, &context.config.partitioner) {
            (Some(partition), _) => Some(partition),
            (None, PartitionerChoice::RoundRobin) => {
                self.round_robin.lock().choose(&usable.partitions, count)
            }
            (None, PartitionerChoice::Custom(_)) if usable.is_spread => return Err(spread()),
            (None, PartitionerChoice::Custom(custom)) => {
                Some(self.call_partitioner(&**custom, record, count, context)?)
            }
            (None, PartitionerChoice::ByKey) => match record.key {
                Some(_) if usable.is_spread => return Err(spread()),
                Some(key) => partition_for_key(key, count),
                None => {
                    let sticky = sticky.insert(self.sticky.lock());
                    sticky.choose(&usable.partitions, count)
                }
            },
        };
        let partition = partition.filter(|partition| *partition < count);
        let Some(partition) = partition else {
            return Err(self.unknown_partition(named.unwrap_or(count)));
        };
        if let Some(error) = usable.unavailable.get(&partition) {
            return Err(error.clone().into());
        }
        Ok(Choice { queue: self.queue(partition)?, sticky })
    }

    /// Calls a user-supplied partitioner. No lock is held.
    fn call_partitioner(
        &self,
        custom: &dyn Partitioner,
        record: &RecordSlices<'_>,
        partitions: u32,
        context: &ProducerContext,
    ) -> Result<u32> {
        let topic = || Arc::clone(&self.name);
        let choose = || custom.partition(&self.name, record.key, record.value, partitions);
        let Ok(chosen) = callback::call(choose) else {
            let topic = topic();
            let what = "the partitioner";
            context.emit(&Event::CallbackPanicked { topic: topic.to_string(), what });
            return Err(ProduceError::PartitionerPanicked { topic }.into());
        };
        if chosen >= partitions {
            return Err(ProduceError::NoSuchPartition { topic: topic(), chosen, partitions }.into());
        }
        Ok(chosen)
    }
}
