//! The topics that a producer has sent to, by name.
//!
//! They are in a few chains by the hash of their names. A sender finds its topic there without a
//! lock, and without a counter that it shares with other senders; a change replaces a chain by a
//! new one. A [`TopicProducer`](crate::TopicProducer) keeps its topic and looks up none. The entry
//! of a deleted topic is retired: a sender that has found it before looks the topic up anew.

use crate::client::producer::accumulator::QueueOwner;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::topic_entry::TopicEntry;
use crate::error::{ProduceError, Result, TopicError};
use crate::event;
use crate::sync::Mutex;
use crate::topic_name;
use arc_swap::ArcSwapOption;
use std::sync::{Arc, Weak};

const CHAINS: usize = 64;

/// The topics of a producer.
pub(super) struct TopicCache {
    owner: Weak<dyn QueueOwner>,
    chains: [ArcSwapOption<Chain>; CHAINS],
    /// Held to change a chain. Taken before the logs of an entry and the store's list of topics.
    change: Mutex<()>,
}

type Chain = Vec<Arc<TopicEntry>>;

/// Returns the chain of a name, by its length and eight bytes at either end, which is all of most
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
    // The highest bits of a product with a large odd number depend on all bits of the other one.
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

    /// Calls `work` with the entry of a topic. If `work` returns `None`, because the entry was
    /// retired, calls it again with the next entry of that name.
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
            let matches = |entry: &&Arc<TopicEntry>| {
                (Arc::ptr_eq(entry.name(), name) || **entry.name() == **name) && !entry.is_retired()
            };
            match entries.as_deref().and_then(|entries| entries.iter().find(matches)) {
                Some(entry) => {
                    if let Some(done) = work(entry)? {
                        return Ok(done);
                    }
                }
                None => drop(self.get_or_insert(name, context)?),
            }
        }
    }

    /// Returns the entry of a topic, which is not retired while the caller holds it. Adds it if
    /// there is none.
    #[cold]
    pub(super) fn get_or_insert(
        &self,
        name: &Arc<str>,
        context: &ProducerContext,
    ) -> Result<Arc<TopicEntry>> {
        if topic_name::is_internal(name) {
            let reason = "the store or a broker writes its records, and a producer cannot send to it; choose another topic";
            return Err(TopicError::Internal { topic: (**name).to_owned(), reason }.into());
        }
        let chain = self.chain(name)?;
        // The last handle to a log may be dropped here: hold its events back until the lock is
        // released.
        event::deliver_after(|| {
            let _change = self.change.lock();
            let entries = chain.load_full().unwrap_or_default();
            if let Some(entry) = entries.iter().find(|entry| **entry.name() == **name) {
                return Ok(Arc::clone(entry));
            }
            // Look with the lock held: a topic that is deleted after this look is removed from the
            // cache after it, too.
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

    /// Removes a deleted topic, and drops its logs.
    pub(super) fn remove(&self, name: &str, context: &ProducerContext) {
        let Ok(chain) = self.chain(name) else { return };
        let find = |entries: &Chain| entries.iter().find(|entry| **entry.name() == *name).cloned();
        let Some(entry) = chain.load().as_deref().and_then(find) else { return };
        entry.release_logs(context);
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
