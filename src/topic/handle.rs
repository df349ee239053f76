//! A topic of a store, as its users hold it.

use crate::error::{Error, ErrorKind, Result, TopicError};
use crate::log::Log;
use crate::sync::RwLock;
use crate::topic::id::TopicId;
use crate::topic::name;
use crate::topic::settings::TopicConfig;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A topic: a name for a number of [logs](Log), its partitions.
///
/// Clones are handles to the same topic. What happens to it is seen through all of them.
#[derive(Clone)]
pub struct Topic {
    shared: Arc<TopicShared>,
}

/// A partition, as its store has it.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    Open(Log),
    /// It could not be opened.
    Offline {
        kind: ErrorKind,
        reason: Arc<str>,
    },
    /// It is on another disk.
    Elsewhere,
}

impl Slot {
    pub(crate) fn offline(error: &Error) -> Slot {
        Slot::Offline { kind: error.kind(), reason: error.to_string().into() }
    }

    fn log(&self) -> Option<&Log> {
        if let Slot::Open(log) = self { Some(log) } else { None }
    }
}

/// The partitions of a topic.
#[derive(Debug, Clone)]
struct Partitions {
    all: Arc<[Slot]>,
    /// Those of them that are open.
    open: Arc<[Log]>,
}

impl Partitions {
    fn new(all: Vec<Slot>) -> Partitions {
        Partitions { open: all.iter().filter_map(Slot::log).cloned().collect(), all: all.into() }
    }
}

/// What all handles of a topic share.
pub(crate) struct TopicShared {
    pub(crate) name: Arc<str>,
    /// Leaf locks, held to take or store a value or a pointer.
    id: RwLock<TopicId>,
    partitions: RwLock<Partitions>,
    config: RwLock<Arc<TopicConfig>>,
}

impl TopicShared {
    pub(crate) fn new(
        name: Arc<str>,
        id: TopicId,
        partitions: Vec<Slot>,
        config: TopicConfig,
    ) -> TopicShared {
        TopicShared {
            name,
            id: RwLock::new(id),
            partitions: RwLock::new(Partitions::new(partitions)),
            config: RwLock::new(Arc::new(config)),
        }
    }

    /// Those that are open.
    pub(crate) fn partitions(&self) -> Arc<[Log]> {
        Arc::clone(&self.partitions.read().open)
    }

    /// All of them, by their numbers.
    pub(crate) fn slots(&self) -> Arc<[Slot]> {
        Arc::clone(&self.partitions.read().all)
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

    /// Its id, which a topic of the same name that is made later does not have. It is zero while
    /// all partitions are offline because it could not be read.
    #[must_use]
    pub fn id(&self) -> TopicId {
        *self.shared.id.read()
    }

    /// Sets the id, which could not be read when the store was opened.
    pub(crate) fn set_id(&self, id: TopicId) {
        *self.shared.id.write() = id;
    }

    /// Whether the store keeps it for itself.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        name::is_internal(self.name())
    }

    /// How many partitions it has, those among them that are offline or elsewhere.
    ///
    /// Of a topic that a broker made, and that has partitions elsewhere, only the broker knows how many there are: this is one
    /// more than the highest number in the directory.
    #[must_use]
    pub fn partition_count(&self) -> u32 {
        u32::try_from(self.shared.partitions.read().all.len()).unwrap_or(u32::MAX)
    }

    /// Returns a partition, by its number.
    ///
    /// # Errors
    ///
    /// - [`TopicError::UnknownPartition`] if there are not as many.
    /// - [`TopicError::PartitionOffline`] if it could not be opened; [`Store::reopen_partition`](crate::Store::reopen_partition)
    ///   tries again.
    /// - [`TopicError::PartitionElsewhere`] if it is on another disk.
    pub fn partition(&self, number: u32) -> Result<Log> {
        let slots = self.shared.slots();
        match slots.get(number as usize) {
            Some(Slot::Open(log)) => Ok(log.clone()),
            _ => Err(self.unavailable(&slots, number).into()),
        }
    }

    /// Why a partition cannot be used.
    fn unavailable(&self, slots: &[Slot], partition: u32) -> TopicError {
        let topic = self.name().to_owned();
        match slots.get(partition as usize) {
            Some(Slot::Offline { kind, reason }) => {
                let (kind, reason) = (*kind, reason.to_string());
                TopicError::PartitionOffline { topic, partition, kind, reason }
            }
            Some(Slot::Open(_) | Slot::Elsewhere) => {
                TopicError::PartitionElsewhere { topic, partition }
            }
            None => {
                TopicError::UnknownPartition { topic, partition, partitions: slots.len() as u32 }
            }
        }
    }

    /// Returns the partitions that can be used, in the order of their numbers.
    ///
    /// These are all partitions, so that each one's index is its number, unless some are
    /// [unavailable](Topic::unavailable_partitions).
    #[must_use]
    pub fn partitions(&self) -> Arc<[Log]> {
        self.shared.partitions()
    }

    /// Returns the partitions that cannot be used, by their numbers, each with its reason: it is
    /// [offline](TopicError::PartitionOffline) or [elsewhere](TopicError::PartitionElsewhere).
    #[must_use]
    pub fn unavailable_partitions(&self) -> BTreeMap<u32, TopicError> {
        let slots = self.shared.slots();
        let closed = (0..).zip(slots.iter()).filter(|(_, slot)| slot.log().is_none());
        closed.map(|(number, _)| (number, self.unavailable(&slots, number))).collect()
    }

    /// Those that can be used, with their numbers.
    pub(crate) fn numbered(&self) -> Vec<(u32, Log)> {
        let slots = self.shared.slots();
        (0..).zip(slots.iter()).filter_map(|(n, slot)| Some((n, slot.log()?.clone()))).collect()
    }

    pub(crate) fn slots(&self) -> Arc<[Slot]> {
        self.shared.slots()
    }

    /// Fails if it has no partition of that number, here or elsewhere.
    pub(crate) fn check_has(&self, number: u32) -> Result<()> {
        let slots = self.shared.slots();
        if (number as usize) < slots.len() {
            return Ok(());
        }
        Err(self.unavailable(&slots, number).into())
    }

    /// Whether some of its partitions are on other disks.
    pub(crate) fn is_spread(&self) -> bool {
        self.shared.slots().iter().any(|slot| matches!(slot, Slot::Elsewhere))
    }

    /// Fails if some of its partitions are on other disks.
    pub(crate) fn check_whole(&self, reason: &'static str) -> Result<()> {
        if self.is_spread() {
            return Err(TopicError::Spread { topic: self.name().to_owned(), reason }.into());
        }
        Ok(())
    }

    /// Adds partitions to it. One change at a time is made.
    pub(crate) fn grow(&self, added: Vec<Log>, config: TopicConfig) {
        let added = added.into_iter().map(Slot::Open);
        let all: Vec<Slot> = self.shared.slots().iter().cloned().chain(added).collect();
        self.set_config(config);
        *self.shared.partitions.write() = Partitions::new(all);
    }

    /// A partition can be used from now on, or for another reason not. One change at a time is made.
    pub(crate) fn set_slot(&self, number: u32, slot: Slot) {
        let mut all: Vec<Slot> = self.shared.slots().to_vec();
        if let Some(known) = all.get_mut(number as usize) {
            *known = slot;
        }
        *self.shared.partitions.write() = Partitions::new(all);
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
