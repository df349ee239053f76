//! The order in which partitions were created since the store was opened.
//!
//! A consumer remembers when it began to read a topic. The group has never read a partition that
//! was created later, so all records in it are new to the group.
//!
//! ```text
//!  logical time   0         1                   2               3
//!                 ├─────────┼───────────────────┼───────────────┼──▶
//!                 opening   orders created      subscribe       orders gets partition 3
//!                                               since: 2        created at 3: read from its start
//! ```

use crate::sync::Mutex;
use crate::types::LogicalTime;
use crate::uuid::TopicId;
use std::collections::BTreeMap;

/// The partitions created since the store was opened.
///
/// The map of topics is locked when a partition is recorded and when a time is taken. So a time
/// that was taken before a partition could be found is lower than the time of its creation.
#[derive(Debug, Default)]
pub(crate) struct CreationOrder(Mutex<Creations>);

#[derive(Debug, Default)]
struct Creations {
    count: u64,
    /// For each topic, the first partition that was created at each time.
    topics: BTreeMap<TopicId, Vec<(u32, LogicalTime)>>,
}

impl CreationOrder {
    /// Records that a topic has partitions from this number on.
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

    /// Returns when a partition was created: 0 if it existed when the store was opened.
    pub(crate) fn created_at(&self, topic: TopicId, partition: u32) -> LogicalTime {
        let creations = self.0.lock();
        let created = creations.topics.get(&topic).into_iter().flatten();
        created.rev().find(|(from, _)| *from <= partition).map(|(_, at)| *at).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> LogicalTime {
        LogicalTime(self.0.lock().count)
    }
}
