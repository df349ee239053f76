//! When topics and partitions were made, as far as it happened since the store was opened.
//!
//! A consumer compares that with when it began to read a topic: a partition that is younger was
//! never read by the group, and everything in it is news.
//!
//! ```text
//!  moment   0         1                   2               3
//!           ├─────────┼───────────────────┼───────────────┼──▶
//!           opening   orders is made      subscribe       partition 3 of orders is made
//!                                         since: 2        younger: begins at its start
//! ```

use crate::sync::Mutex;
use crate::types::Moment;
use crate::uuid::TopicId;
use std::collections::BTreeMap;

/// The births since the store was opened.
///
/// A partition is noted, and a moment is asked for, with the map of topics locked. So a moment
/// that was asked for before a partition could be found is earlier than its birth.
#[derive(Debug, Default)]
pub(crate) struct Births(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    count: u64,
    /// For each topic, the first partition that was created at each moment.
    topics: BTreeMap<TopicId, Vec<(u32, Moment)>>,
}

impl Births {
    /// Takes note that a topic has partitions from this number on.
    pub(crate) fn note(&self, topic: TopicId, from: u32) {
        let mut made = self.0.lock();
        made.count = made.count.saturating_add(1);
        let now = Moment(made.count);
        made.topics.entry(topic).or_default().push((from, now));
    }

    /// Forgets a topic that was deleted.
    pub(crate) fn forget(&self, topic: TopicId) {
        self.0.lock().topics.remove(&topic);
    }

    /// When a partition was made; the opening, if it was there already.
    pub(crate) fn of(&self, topic: TopicId, partition: u32) -> Moment {
        let made = self.0.lock();
        let born = made.topics.get(&topic).into_iter().flatten();
        born.rev().find(|(from, _)| *from <= partition).map(|(_, at)| *at).unwrap_or_default()
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.0.lock().count)
    }
}
