//! The handle of a topic of a store.

use crate::error::{Error, ErrorKind, Result, TopicError};
use crate::log::Log;
use crate::store::settings::TopicConfig;
use crate::sync::RwLock;
use crate::topic_name;
use crate::uuid::TopicId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Fails if this cannot be the name of a topic.
pub(crate) fn check_topic_name(name: &str) -> Result<(), TopicError> {
    match topic_name::invalid_reason(name) {
        None => Ok(()),
        Some(reason) => Err(TopicError::InvalidName { topic: name.to_owned(), reason }),
    }
}

/// A topic of a store: a name for a number of [logs](Log), its partitions.
///
/// Clones are handles to the same topic, and all of them see its changes.
///
/// ```
/// use annals::{Store, StoreConfig, TopicConfig};
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let orders = store.create_topic("orders", TopicConfig::default().partitions(3))?;
/// orders.partition(2)?.append("paid")?;
/// let ends: Vec<u64> = orders.partitions().iter().map(|log| log.offsets().end).collect();
/// assert_eq!((orders.partition_count(), ends), (3, vec![0, 0, 1]));
/// assert!(orders.partition(3).is_err());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone)]
pub struct Topic {
    shared: Arc<TopicInner>,
}

/// The state of a partition in its store.
#[derive(Debug, Clone)]
pub(crate) enum PartitionState {
    Open(Log),
    /// It could not be opened.
    Offline {
        kind: ErrorKind,
        reason: Arc<str>,
    },
    /// It is on another disk or broker.
    Elsewhere,
}

impl PartitionState {
    pub(crate) fn offline(error: &Error) -> PartitionState {
        PartitionState::Offline { kind: error.kind(), reason: error.cause().into() }
    }

    fn log(&self) -> Option<&Log> {
        if let PartitionState::Open(log) = self { Some(log) } else { None }
    }
}

/// The partitions of a topic.
#[derive(Debug, Clone)]
struct Partitions {
    all: Arc<[PartitionState]>,
    /// The open ones.
    open: Arc<[Log]>,
}

impl Partitions {
    fn new(all: Vec<PartitionState>) -> Partitions {
        Partitions {
            open: all.iter().filter_map(PartitionState::log).cloned().collect(),
            all: all.into(),
        }
    }
}

/// The state that all handles of a topic share.
pub(crate) struct TopicInner {
    pub(crate) name: Arc<str>,
    /// Leaf locks, held only to copy or replace a value or a pointer.
    id: RwLock<TopicId>,
    partitions: RwLock<Partitions>,
    config: RwLock<Arc<TopicConfig>>,
}

impl TopicInner {
    pub(crate) fn new(
        name: Arc<str>,
        id: TopicId,
        partitions: Vec<PartitionState>,
        config: TopicConfig,
    ) -> TopicInner {
        TopicInner {
            name,
            id: RwLock::new(id),
            partitions: RwLock::new(Partitions::new(partitions)),
            config: RwLock::new(Arc::new(config)),
        }
    }

    /// Returns the open partitions.
    pub(crate) fn partitions(&self) -> Arc<[Log]> {
        Arc::clone(&self.partitions.read().open)
    }

    /// Returns all partitions, in the order of their numbers.
    pub(crate) fn partition_states(&self) -> Arc<[PartitionState]> {
        Arc::clone(&self.partitions.read().all)
    }

    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }
}

impl Topic {
    pub(crate) fn new(shared: &Arc<TopicInner>) -> Topic {
        Topic { shared: Arc::clone(shared) }
    }

    /// Returns the name of the topic.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the id of the topic. If you delete the topic and create another with the same
    /// name, the new topic has another id. The id is zero if it could not be read because all
    /// partitions are offline.
    #[must_use]
    pub fn id(&self) -> TopicId {
        *self.shared.id.read()
    }

    /// Sets the id, if it could not be read when the store was opened.
    pub(crate) fn set_id(&self, id: TopicId) {
        *self.shared.id.write() = id;
    }

    /// Returns whether the topic is internal to the store or a broker, such as
    /// `__consumer_offsets`.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        topic_name::is_internal(self.name())
    }

    /// Returns the number of partitions, including partitions that are offline or elsewhere.
    ///
    /// If a broker created the topic and some of its partitions are elsewhere, only the cluster
    /// knows how many there are. In that case, the number is one more than the highest partition
    /// number in the directory.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.shared.partitions.read().all.len()).unwrap_or(u32::MAX)
    }

    /// Returns a partition by its number. When the store is closed or the topic deleted, the
    /// returned log is closed.
    ///
    /// # Errors
    ///
    /// - [`TopicError::UnknownPartition`] if the topic has no partition of that number.
    /// - [`TopicError::PartitionOffline`] if it could not be opened;
    ///   [`Store::reopen_partition`](crate::Store::reopen_partition) tries again.
    /// - [`TopicError::PartitionElsewhere`] if it is on another disk or broker.
    pub fn partition(&self, number: u32) -> Result<Log> {
        let states = self.shared.partition_states();
        match states.get(number as usize) {
            Some(PartitionState::Open(log)) => Ok(log.clone()),
            _ => Err(self.unavailable(&states, number).into()),
        }
    }

    /// Returns why a partition cannot be used.
    fn unavailable(&self, states: &[PartitionState], partition: u32) -> TopicError {
        let topic = self.name().to_owned();
        match states.get(partition as usize) {
            Some(PartitionState::Offline { kind, reason }) => {
                let (kind, reason) = (*kind, reason.to_string());
                TopicError::PartitionOffline { topic, partition, kind, reason }
            }
            Some(PartitionState::Open(_) | PartitionState::Elsewhere) => {
                TopicError::PartitionElsewhere { topic, partition }
            }
            None => {
                TopicError::UnknownPartition { topic, partition, partitions: states.len() as u32 }
            }
        }
    }

    /// Returns the partitions that can be used, in the order of their numbers.
    ///
    /// Unless some partitions are [unavailable](Topic::unavailable_partitions), the index of each
    /// one is its number.
    #[must_use]
    pub fn partitions(&self) -> Arc<[Log]> {
        self.shared.partitions()
    }

    /// Returns the partitions that cannot be used, by number, with the reason:
    /// [offline](TopicError::PartitionOffline) or [elsewhere](TopicError::PartitionElsewhere).
    #[must_use]
    pub fn unavailable_partitions(&self) -> BTreeMap<u32, TopicError> {
        let states = self.shared.partition_states();
        let closed = (0..).zip(states.iter()).filter(|(_, state)| state.log().is_none());
        closed.map(|(number, _)| (number, self.unavailable(&states, number))).collect()
    }

    /// Returns the partitions that can be used, with their numbers.
    pub(crate) fn numbered_partitions(&self) -> Vec<(u32, Log)> {
        let states = self.shared.partition_states();
        (0..).zip(states.iter()).filter_map(|(n, state)| Some((n, state.log()?.clone()))).collect()
    }

    pub(crate) fn partition_states(&self) -> Arc<[PartitionState]> {
        self.shared.partition_states()
    }

    /// Fails if the topic has no partition with that number, here or elsewhere.
    pub(crate) fn check_has_partition(&self, number: u32) -> Result<()> {
        let states = self.shared.partition_states();
        if (number as usize) < states.len() {
            return Ok(());
        }
        Err(self.unavailable(&states, number).into())
    }

    /// Returns whether some of its partitions are on other disks or brokers.
    pub(crate) fn is_spread(&self) -> bool {
        self.shared
            .partition_states()
            .iter()
            .any(|state| matches!(state, PartitionState::Elsewhere))
    }

    /// Fails if some of its partitions are on other disks or brokers.
    pub(crate) fn check_not_spread(&self, reason: &'static str) -> Result<()> {
        if self.is_spread() {
            return Err(TopicError::Spread { topic: self.name().to_owned(), reason }.into());
        }
        Ok(())
    }

    /// Adds partitions. The caller holds the lock of changes.
    pub(crate) fn add_partitions(&self, added: Vec<Log>, config: TopicConfig) {
        let added = added.into_iter().map(PartitionState::Open);
        let all: Vec<PartitionState> =
            self.shared.partition_states().iter().cloned().chain(added).collect();
        self.set_config(config);
        *self.shared.partitions.write() = Partitions::new(all);
    }

    /// Sets the state of a partition. The caller holds the lock of changes.
    pub(crate) fn set_partition_state(&self, number: u32, state: PartitionState) {
        let mut all: Vec<PartitionState> = self.shared.partition_states().to_vec();
        if let Some(known) = all.get_mut(number as usize) {
            *known = state;
        }
        *self.shared.partitions.write() = Partitions::new(all);
    }

    pub(crate) fn set_config(&self, config: TopicConfig) {
        *self.shared.config.write() = Arc::new(config);
    }

    /// Returns the present settings of the topic.
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
