//! Those in this process that keep something of a topic, and let go of it when the topic is
//! deleted.

use crate::sync::Mutex;
use std::sync::{Arc, Weak};

/// Keeps something of topics, such as their logs, whose files stay open with it.
pub(crate) trait TopicWatcher: Send + Sync {
    /// Lets go of what it keeps of a topic. The store changes no other topic meanwhile: it must
    /// not wait.
    fn topic_deleted(&self, topic: &str);
}

/// The watchers that live.
#[derive(Default)]
pub(crate) struct TopicWatchers {
    /// Leaf lock.
    all: Mutex<Vec<Weak<dyn TopicWatcher>>>,
}

impl TopicWatchers {
    pub(crate) fn add(&self, watcher: Weak<dyn TopicWatcher>) {
        let mut all = self.all.lock();
        // As long as the list has room, dropped watchers do no harm.
        if all.len() == all.capacity() {
            all.retain(|watcher| watcher.strong_count() > 0);
            let living = all.len();
            all.shrink_to(living.saturating_mul(2));
            all.reserve(living.max(8));
        }
        all.push(watcher);
    }

    /// Tells all of them, with no lock of this held. Returns them: if one is the last to go it
    /// takes user-supplied code with it, which must not be dropped with a lock of the store held.
    #[must_use]
    pub(crate) fn topic_deleted(&self, topic: &str) -> Vec<Arc<dyn TopicWatcher>> {
        let all: Vec<_> = self.all.lock().iter().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|watcher| watcher.topic_deleted(topic));
        all
    }
}
