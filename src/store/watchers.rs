//! Telling the clients of this process that a topic is deleted, so that they release its logs.

use crate::sync::Mutex;
use std::sync::{Arc, Weak};

/// A client that keeps something of a topic, such as its logs, whose files stay open until the
/// client releases them.
pub(crate) trait TopicWatcher: Send + Sync {
    /// Releases everything that it keeps of a topic. Must not block, because the store changes no
    /// other topic meanwhile.
    fn topic_deleted(&self, topic: &str);
}

/// The watchers that still exist.
#[derive(Default)]
pub(crate) struct TopicWatchers {
    /// Leaf lock.
    all: Mutex<Vec<Weak<dyn TopicWatcher>>>,
}

impl TopicWatchers {
    pub(crate) fn add(&self, watcher: Weak<dyn TopicWatcher>) {
        let mut all = self.all.lock();
        // While the list has room, dropped watchers do no harm.
        if all.len() == all.capacity() {
            all.retain(|watcher| watcher.strong_count() > 0);
            let living = all.len();
            all.shrink_to(living.saturating_mul(2));
            all.reserve(living.max(8));
        }
        all.push(watcher);
    }

    /// Tells all of them, without holding the lock of this list. Returns them, because dropping
    /// the last handle of one may run user-supplied code, which must not happen while a lock of
    /// the store is held.
    #[must_use]
    pub(crate) fn topic_deleted(&self, topic: &str) -> Vec<Arc<dyn TopicWatcher>> {
        let all: Vec<_> = self.all.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|watcher| watcher.topic_deleted(topic));
        all
    }
}
