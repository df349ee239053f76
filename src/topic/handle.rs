//! A topic of a store, as its users hold it.

use crate::error::{Result, TopicError};
use crate::log::Log;
use crate::sync::RwLock;
use crate::topic::id::TopicId;
use crate::topic::name;
use crate::topic::settings::TopicConfig;
use std::fmt;
use std::sync::Arc;

/// A topic: a name for a number of [logs](Log), its partitions.
///
/// Clones are handles to the same topic. What happens to it is seen through all of them.
#[derive(Clone)]
pub struct Topic {
    shared: Arc<TopicShared>,
}

/// What all handles of a topic share.
pub(crate) struct TopicShared {
    pub(crate) name: Arc<str>,
    id: TopicId,
    /// Leaf locks, held to take or store a pointer.
    partitions: RwLock<Arc<[Log]>>,
    config: RwLock<Arc<TopicConfig>>,
}

impl TopicShared {
    pub(crate) fn new(
        name: Arc<str>,
        id: TopicId,
        partitions: Vec<Log>,
        config: TopicConfig,
    ) -> TopicShared {
        TopicShared {
            name,
            id,
            partitions: RwLock::new(partitions.into()),
            config: RwLock::new(Arc::new(config)),
        }
    }

    pub(crate) fn partitions(&self) -> Arc<[Log]> {
        Arc::clone(&self.partitions.read())
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }
}

impl Topic {
    pub(crate) fn new(shared: &Arc<TopicShared>) -> Topic {
        Topic { shared: Arc::clone(shared) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its id, which a topic of the same name that is made later does not have.
    #[must_use]
    pub fn id(&self) -> TopicId {
        self.shared.id
    }

    /// Whether the store keeps it for itself.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        name::is_internal(self.name())
    }

    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.shared.partitions.read().len()).unwrap_or(u32::MAX)
    }

    /// A partition, by its number.
    ///
    /// # Errors
    ///
    /// [`TopicError::UnknownPartition`]
    pub fn partition(&self, number: u32) -> Result<Log> {
        let partitions = self.partitions();
        partitions.get(number as usize).cloned().ok_or_else(|| {
            let topic = self.name().to_owned();
            TopicError::UnknownPartition {
                topic,
                partition: number,
                partitions: partitions.len() as u32,
            }
            .into()
        })
    }

    /// All partitions, in the order of their numbers.
    #[must_use]
    pub fn partitions(&self) -> Arc<[Log]> {
        self.shared.partitions()
    }

    /// Adds partitions to it. One change at a time is made.
    pub(crate) fn grow(&self, added: Vec<Log>, config: TopicConfig) {
        let all: Vec<Log> = self.partitions().iter().cloned().chain(added).collect();
        self.set_config(config);
        *self.shared.partitions.write() = all.into();
    }

    pub(crate) fn set_config(&self, config: TopicConfig) {
        *self.shared.config.write() = Arc::new(config);
    }

    /// How it is set up now.
    #[must_use]
    pub fn config(&self) -> TopicConfig {
        TopicConfig::clone(&self.shared.config())
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name())
            .field("partitions", &self.partition_count())
            .finish()
    }
}
