//! The topics or partitions that a consumer reads.

use crate::client::consumer::callbacks::guarded;
use crate::error::{ConsumeError, Result};
use crate::store::topics::Store;
use crate::topic_name::is_internal;
use crate::types::LogicalTime;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A set of topics, chosen by a function of their names. It includes topics that are created
/// later.
///
/// There is no pattern language: your function decides which names match, with any library you
/// like. Kafka takes a regular expression.
///
/// ```
/// use annals::TopicPattern;
///
/// let orders = TopicPattern::prefix("orders-");
/// let audited = TopicPattern::new(|name| name.ends_with("-audit") && !name.starts_with("test-"));
/// assert!(orders.matches("orders-eu") && !audited.matches("orders-eu"));
/// ```
#[derive(Clone)]
pub struct TopicPattern(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl TopicPattern {
    /// Creates a pattern from a function. It is called whenever topics change, and must return the
    /// same result for the same name each time.
    pub fn new(matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> TopicPattern {
        TopicPattern(Arc::new(matches))
    }

    /// Creates a pattern of all names with this prefix.
    pub fn prefix(prefix: impl Into<String>) -> TopicPattern {
        let prefix = prefix.into();
        TopicPattern::new(move |name| name.starts_with(&prefix))
    }

    /// Returns whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        (self.0)(name)
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicPattern")
    }
}

/// The topics or partitions that a consumer reads, and how they were chosen.
#[derive(Debug, Clone, Default)]
pub(super) enum SubscriptionState {
    #[default]
    Nothing,
    /// Partitions that were assigned by hand.
    Assigned,
    Topics(BTreeSet<String>),
    Pattern(TopicPattern),
}

impl SubscriptionState {
    /// Returns whether a group assigns the partitions.
    pub(super) fn is_subscription(&self) -> bool {
        matches!(self, SubscriptionState::Topics(_) | SubscriptionState::Pattern(_))
    }

    /// Returns whether it names this topic.
    pub(super) fn names(&self, topic: &str) -> bool {
        matches!(self, SubscriptionState::Topics(topics) if topics.contains(topic))
    }

    fn name(&self) -> &'static str {
        match self {
            SubscriptionState::Nothing => "nothing",
            SubscriptionState::Assigned => "assigned partitions",
            SubscriptionState::Topics(_) => "topics by their names",
            SubscriptionState::Pattern(_) => "topics by a pattern",
        }
    }

    /// Fails if `next` is of another kind and may not replace this one.
    pub(super) fn check_next(&self, next: &SubscriptionState) -> Result<()> {
        let same = std::mem::discriminant(self) == std::mem::discriminant(next);
        if same || matches!(self, SubscriptionState::Nothing) {
            return Ok(());
        }
        Err(ConsumeError::MixedSubscription { has: self.name(), wanted: next.name() }.into())
    }

    /// Returns the topics that are subscribed to, whether they exist or not.
    pub(super) fn topics(&self, store: &Store, with_internal: bool) -> Result<BTreeSet<String>> {
        let pattern = match self {
            SubscriptionState::Nothing | SubscriptionState::Assigned => return Ok(BTreeSet::new()),
            SubscriptionState::Topics(topics) => return Ok(topics.clone()),
            SubscriptionState::Pattern(pattern) => pattern,
        };
        let topics = store.topics();
        let names = topics.iter().map(|topic| topic.name());
        let open = names.filter(|name| with_internal || !is_internal(name));
        guarded("the pattern of topics", || {
            open.filter(|name| pattern.matches(name)).map(str::to_owned).collect()
        })
    }
}

/// When a consumer began to read the topics that it subscribes to.
#[derive(Debug, Default)]
pub(super) struct SubscribedSince {
    /// Topics subscribed to by name.
    named: BTreeMap<String, LogicalTime>,
    /// All others.
    pattern: LogicalTime,
}

impl SubscribedSince {
    /// Stores that a subscription begins. Topics that the previous one named keep their time.
    pub(super) fn begin(&mut self, subscription: &SubscriptionState, now: LogicalTime) {
        let mut before = std::mem::take(&mut self.named);
        self.pattern = now;
        if let SubscriptionState::Topics(topics) = subscription {
            let since = |topic: &String| (topic.clone(), before.remove(topic).unwrap_or(now));
            self.named = topics.iter().map(since).collect();
        }
    }

    /// Returns when the consumer began to read a topic.
    pub(super) fn get(&self, topic: &str) -> LogicalTime {
        self.named.get(topic).copied().unwrap_or(self.pattern)
    }
}
