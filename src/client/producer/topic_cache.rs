//! The topics that a producer has sent to.
//!
//! They are in a few chains by the hash of their names. A sender finds its topic there without a
//! lock and without a counter that it shares with other senders; a change puts a new chain in the
//! place of the old one. A [`TopicProducer`](crate::TopicProducer) keeps its topic and looks for
//! none. The partitions of a topic are found without a lock, in stretches as they came. That
//! topics come and grow is noticed by the version of the store. A topic that is deleted is let go
//! of at once: its logs hold files open, and these their space on disk. Its entry is retired: a
//! sender that has found it before looks for the topic anew.

use crate::callback;
use crate::client::partitioner::{Partitioner, RoundRobin, Sticky, partition_for_key};
use crate::client::producer::accumulator::{PartitionQueue, QueueOwner};
use crate::client::producer::config::PartitionerChoice;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::record::RecordSlices;
use crate::error::{Error, ProduceError, Result, TopicError};
use crate::event::Event;
use crate::log::Log;
use crate::random::SplitMix64;
use crate::store::topic::{PartitionState, Topic};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};
use arc_swap::ArcSwapOption;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

const CHAINS: usize = 64;
/// The version of a topic that was not looked up yet.
const NEVER: u64 = u64::MAX;
/// The version of an entry that left its chain. Stored with its logs held.
const RETIRED: u64 = NEVER - 1;

/// Says with the number of partitions that some cannot be used. There are never as many.
const GAPS: u32 = 1 << 31;

/// The partitions of a topic, some of which cannot be used.
#[derive(Default)]
struct Gaps {
    usable: Vec<u32>,
    /// Why the others cannot.
    closed: BTreeMap<u32, TopicError>,
    /// Whether some are elsewhere, so that it is not known how many there are.
    is_spread: bool,
}

pub(super) struct TopicCache {
    owner: Weak<dyn QueueOwner>,
    chains: [ArcSwapOption<Chain>; CHAINS],
    /// Held to change a chain, before the logs of an entry and the store's list of topics.
    change: Mutex<()>,
}

type Chain = Vec<Arc<TopicEntry>>;

/// A topic, as a producer sees it.
pub(super) struct TopicEntry {
    owner: Weak<dyn QueueOwner>,
    name: Arc<str>,
    /// That of the store when the topic was last looked up.
    version: AtomicU64,
    /// How many partitions it has now, and whether some cannot be used: [`GAPS`]. 0 when there is
    /// no such topic any more.
    count: AtomicU32,
    /// Which can be used, if not all can. Leaf lock.
    gaps: Mutex<Arc<Gaps>>,
    first: OnceLock<Box<Stretch>>,
    /// Held to look the topic up, before the states of its queues. Its logs, as they were last
    /// time.
    logs: Mutex<Arc<[Log]>>,
    /// Where records without keys go. Held while one is added, before the state of the queue.
    sticky: Mutex<Sticky>,
    /// Leaf lock.
    round_robin: Mutex<RoundRobin>,
}

/// Some partitions, one after the other.
struct Stretch {
    queues: Box<[Arc<PartitionQueue>]>,
    next: OnceLock<Box<Stretch>>,
}

/// Where a record goes.
pub(super) struct Choice<'a> {
    pub(super) queue: &'a Arc<PartitionQueue>,
    /// To be told of the record.
    pub(super) sticky: Option<MutexGuard<'a, Sticky>>,
}

/// The chain that a name is in, by its length and eight bytes of either end, which is all of most
/// names.
#[inline]
fn chain_of(name: &str) -> usize {
    let bytes = name.as_bytes();
    let ends = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => {
            u64::from_be_bytes(*first) ^ u64::from_be_bytes(*last).rotate_left(29)
        }
        _ => bytes.iter().fold(0, |ends, byte| (ends << 8) | u64::from(*byte)),
    };
    // Times a number with many bits: the highest of the product depend on all of it.
    let mixed = ends.wrapping_add(bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - CHAINS.ilog2())) as usize
}

impl TopicCache {
    pub(super) fn new(owner: Weak<dyn QueueOwner>) -> TopicCache {
        let chains = [const { ArcSwapOption::const_empty() }; CHAINS];
        TopicCache { owner, chains, change: Mutex::new(()) }
    }

    fn chain(&self, name: &str) -> Result<&ArcSwapOption<Chain>> {
        Ok(self.chains.get(chain_of(name)).ok_or(ProduceError::Closed)?)
    }

    /// Works on a topic, by its name: on the next entry of that name when the work returns
    /// nothing, because this one was retired.
    #[inline]
    pub(super) fn with<T>(
        &self,
        name: &Arc<str>,
        context: &ProducerContext,
        mut work: impl FnMut(&TopicEntry) -> Result<Option<T>>,
    ) -> Result<T> {
        let chain = self.chain(name)?;
        loop {
            let entries = chain.load();
            let is_it = |entry: &&Arc<TopicEntry>| {
                (Arc::ptr_eq(&entry.name, name) || *entry.name == **name) && !entry.is_retired()
            };
            match entries.as_deref().and_then(|entries| entries.iter().find(is_it)) {
                Some(entry) => {
                    if let Some(done) = work(entry)? {
                        return Ok(done);
                    }
                }
                None => drop(self.hold(name, context)?),
            }
        }
    }

    /// Returns a topic, by its name, that stays for as long as it is held. Adds it, unless another
    /// thread was faster.
    #[cold]
    pub(super) fn hold(
        &self,
        name: &Arc<str>,
        context: &ProducerContext,
    ) -> Result<Arc<TopicEntry>> {
        let chain = self.chain(name)?;
        // Events are held back: the last handle to a log may go.
        context.events().after(|| {
            let _change = self.change.lock();
            let entries = chain.load_full().unwrap_or_default();
            if let Some(entry) = entries.iter().find(|entry| *entry.name == **name) {
                return Ok(Arc::clone(entry));
            }
            // With the chain held: a topic that is deleted behind this look is let go of behind
            // it.
            context.store.topic(name)?;
            let entry = Arc::new(TopicEntry::new(Weak::clone(&self.owner), name, context));
            let mut next = without_retired(&entries);
            next.push(Arc::clone(&entry));
            chain.store(Some(Arc::new(next)));
            Ok(entry)
        })
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.chains.iter().filter_map(ArcSwapOption::load_full).map(|chain| chain.len()).sum()
    }

    /// Lets go of a topic that was deleted.
    pub(super) fn forget(&self, name: &str, context: &ProducerContext) {
        let Ok(chain) = self.chain(name) else { return };
        let find = |entries: &Chain| entries.iter().find(|entry| *entry.name == *name).cloned();
        let Some(entry) = chain.load().as_deref().and_then(find) else { return };
        entry.release(context);
        drop(entry);
        let _change = self.change.lock();
        if let Some(entries) = chain.load_full() {
            chain.store(Some(Arc::new(without_retired(&entries))));
        }
    }
}

/// Retires the entries that no handle needs, and returns the others.
fn without_retired(entries: &[Arc<TopicEntry>]) -> Chain {
    entries.iter().filter(|entry| !TopicEntry::retire(entry)).cloned().collect()
}

impl TopicEntry {
    fn new(owner: Weak<dyn QueueOwner>, name: &Arc<str>, context: &ProducerContext) -> TopicEntry {
        let (batch_bytes, random) = (context.config.batch_bytes as u64, SplitMix64(context.seed));
        TopicEntry {
            owner,
            name: Arc::clone(name),
            version: AtomicU64::new(NEVER),
            count: AtomicU32::new(0),
            gaps: Mutex::default(),
            first: OnceLock::new(),
            logs: Mutex::new(Arc::new([])),
            sticky: Mutex::new(Sticky::new(batch_bytes, random)),
            round_robin: Mutex::default(),
        }
    }

    /// Retires an entry of a chain that is being changed, unless it has partitions or was not
    /// looked up yet, or another holds it: a producer of the topic, which sees to it that its
    /// records stay in order with those of others if the topic is created again.
    fn retire(entry: &Arc<TopicEntry>) -> bool {
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
    fn is_retired(&self) -> bool {
        self.version.load(Ordering::Acquire) == RETIRED
    }

    /// Lets go of its logs. What was gathered for them fails.
    fn release(&self, context: &ProducerContext) {
        let mut seen = self.logs.lock();
        self.take_over(&[], context);
        *seen = Arc::from([]);
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Looks whether the topic has changed, if any has. Returns whether the entry is still that of
    /// the topic, and not retired.
    #[inline]
    pub(super) fn look_up(&self, context: &ProducerContext) -> Result<bool> {
        if self.version.load(Ordering::Acquire) != context.store.version() {
            // The last handle to a log may go.
            if !context.events().after(|| self.look_up_now(context))? {
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
        // Before the look: what changes behind it is looked at again.
        let version = context.store.version();
        let topic = match context.store.topic(&self.name) {
            Err(Error::Topic(_)) => None,
            found => Some(found?),
        };
        let logs = topic.as_ref().map_or_else(|| Arc::from([]), Topic::partitions);
        if !Arc::ptr_eq(&seen, &logs) {
            self.take_over_slots(topic.as_ref(), &logs, context);
            *seen = logs;
        }
        self.version.store(version, Ordering::Release);
        Ok(true)
    }

    /// Takes over the partitions of a topic. One that cannot be used has a queue as well, so that
    /// each one's place is its number; nothing is ever added to it.
    fn take_over_slots(&self, topic: Option<&Topic>, open: &[Log], context: &ProducerContext) {
        let closed = topic.map(Topic::unavailable_partitions).unwrap_or_default();
        let Some(topic) = topic.filter(|_| !closed.is_empty()) else {
            return self.take_over(open, context);
        };
        let log = |slot: &PartitionState| {
            if let PartitionState::Open(log) = slot { Some(log.clone()) } else { None }
        };
        let logs: Vec<Option<Log>> = topic.partition_states().iter().map(log).collect();
        let usable = topic.numbered_partitions().into_iter().map(|(number, _)| number).collect();
        *self.gaps.lock() = Arc::new(Gaps { usable, closed, is_spread: topic.is_spread() });
        self.exchange(&logs, GAPS, context);
    }

    /// Takes over the logs of the partitions there are, and adds those that are new.
    pub(super) fn take_over(&self, logs: &[Log], context: &ProducerContext) {
        let logs: Vec<Option<Log>> = logs.iter().cloned().map(Some).collect();
        self.exchange(&logs, 0, context);
    }

    fn exchange(&self, logs: &[Option<Log>], gaps: u32, context: &ProducerContext) {
        let mut slot = &self.first;
        let mut rest = logs;
        let mut number = 0u32;
        while let Some(stretch) = slot.get() {
            for queue in &stretch.queues {
                // A topic that was created again has other logs, and perhaps fewer.
                let log = match rest.split_first() {
                    Some((log, behind)) => {
                        (rest, number) = (behind, number.saturating_add(1));
                        log.as_ref()
                    }
                    None => None,
                };
                queue.set_log(log, context);
            }
            slot = &stretch.next;
        }
        if !rest.is_empty() {
            let queue = |(number, log): (u32, &Option<Log>)| {
                let name = Arc::clone(&self.name);
                let (owner, log) = (Weak::clone(&self.owner), log.clone());
                Arc::new(PartitionQueue::new(owner, name, number, log, context.first_sequence))
            };
            let queues = (number..).zip(rest).map(queue).collect();
            slot.get_or_init(|| Box::new(Stretch { queues, next: OnceLock::new() }));
        }
        let count = u32::try_from(logs.len()).unwrap_or(u32::MAX);
        self.count.store(count | gaps, Ordering::Release);
    }

    #[inline]
    fn queue(&self, partition: u32) -> Result<&Arc<PartitionQueue>> {
        let mut at = partition as usize;
        let mut slot = &self.first;
        while let Some(stretch) = slot.get() {
            if let Some(queue) = stretch.queues.get(at) {
                return Ok(queue);
            }
            at = at.saturating_sub(stretch.queues.len());
            slot = &stretch.next;
        }
        Err(self.no_such(partition))
    }

    #[cold]
    fn no_such(&self, partition: u32) -> Error {
        let partitions = self.count.load(Ordering::Relaxed) & !GAPS;
        let topic = self.name.to_string();
        TopicError::UnknownPartition { topic, partition, partitions }.into()
    }

    /// Where a record goes.
    #[inline]
    pub(super) fn choose(
        &self,
        named: Option<u32>,
        record: &RecordSlices<'_>,
        context: &ProducerContext,
    ) -> Result<Choice<'_>> {
        let count = self.count.load(Ordering::Acquire);
        if count & GAPS != 0 {
            return self.choose_usable(named, record, count & !GAPS, context);
        }
        let mut sticky = None;
        let partition = if let Some(partition) = named {
            partition
        } else {
            match &context.config.partitioner {
                PartitionerChoice::RoundRobin => self.round_robin.lock().choose(&[], count),
                PartitionerChoice::Custom(custom) => {
                    Some(self.ask(&**custom, record, count, context)?)
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
            return Err(self.no_such(partition));
        }
        Ok(Choice { queue: self.queue(partition)?, sticky })
    }

    /// Where a record goes while not all partitions can be used. One without a key goes to any
    /// that can; one with a key to the partition that it would go to otherwise, or nowhere.
    #[cold]
    fn choose_usable(
        &self,
        named: Option<u32>,
        record: &RecordSlices<'_>,
        count: u32,
        context: &ProducerContext,
    ) -> Result<Choice<'_>> {
        let gaps = Arc::clone(&self.gaps.lock());
        let spread = || {
            let reason = "name the partition of each record, as neither a key nor a partitioner can tell it without their number";
            Error::from(TopicError::Spread { topic: self.name.to_string(), reason })
        };
        let mut sticky = None;
        let partition = match (named, &context.config.partitioner) {
            (Some(partition), _) => Some(partition),
            (None, PartitionerChoice::RoundRobin) => {
                self.round_robin.lock().choose(&gaps.usable, count)
            }
            (None, PartitionerChoice::Custom(_)) if gaps.is_spread => return Err(spread()),
            (None, PartitionerChoice::Custom(custom)) => {
                Some(self.ask(&**custom, record, count, context)?)
            }
            (None, PartitionerChoice::ByKey) => match record.key {
                Some(_) if gaps.is_spread => return Err(spread()),
                Some(key) => partition_for_key(key, count),
                None => {
                    let sticky = sticky.insert(self.sticky.lock());
                    sticky.choose(&gaps.usable, count)
                }
            },
        };
        let partition = partition.filter(|partition| *partition < count);
        let Some(partition) = partition else { return Err(self.no_such(named.unwrap_or(count))) };
        if let Some(error) = gaps.closed.get(&partition) {
            return Err(error.clone().into());
        }
        Ok(Choice { queue: self.queue(partition)?, sticky })
    }

    /// Asks a partitioner. No lock is held.
    fn ask(
        &self,
        custom: &dyn Partitioner,
        record: &RecordSlices<'_>,
        partitions: u32,
        context: &ProducerContext,
    ) -> Result<u32> {
        let topic = || Arc::clone(&self.name);
        let asked = || custom.partition(&self.name, record.key, record.value, partitions);
        let Ok(chosen) = callback::call(asked) else {
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
