//! When topics and partitions were creations, as far as it happened since the store was opened.
//!
//! A consumer compares that with when it began to read a topic: a partition that is younger was
//! never read by the group, and everything in it is news.
//!
//! ```text
//!  moment   0         1                   2               3
//!           ├─────────┼───────────────────┼───────────────┼──▶
//!           opening   orders is creations      subscribe       partition 3 of orders is creations
//!                                         since: 2        younger: begins at its start
//! ```

use crate::sync::Mutex;
use crate::types::LogicalTime;
use crate::uuid::TopicId;
use std::collections::BTreeMap;

/// The creations since the store was opened.
///
/// A partition is noted, and a moment is asked for, with the map of topics locked. So a moment
/// that was asked for before a partition could be found is earlier than its birth.
#[derive(Debug, Default)]
pub(crate) struct CreationOrder(Mutex<Creations>);

#[derive(Debug, Default)]
struct Creations {
    count: u64,
    /// For each topic, the first partition that was created at each moment.
    topics: BTreeMap<TopicId, Vec<(u32, LogicalTime)>>,
}

impl CreationOrder {
    /// Takes note that a topic has partitions from this number on.
    pub(crate) fn record(&self, topic: TopicId, from: u32) {
        let mut creations = self.0.lock();
        creations.count = creations.count.saturating_add(1);
        let now = LogicalTime(creations.count);
        creations.topics.entry(topic).or_default().push((from, now));
    }

    /// Forgets a topic that was deleted.
    pub(crate) fn forget(&self, topic: TopicId) {
        self.0.lock().topics.remove(&topic);
    }

    /// When a partition was creations; the opening, if it was there already.
    pub(crate) fn created_at(&self, topic: TopicId, partition: u32) -> LogicalTime {
        let creations = self.0.lock();
        let created = creations.topics.get(&topic).into_iter().flatten();
        created.rev().find(|(from, _)| *from <= partition).map(|(_, at)| *at).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> LogicalTime {
        LogicalTime(self.0.lock().count)
    }
}
