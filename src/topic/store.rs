//! A store: a directory of topics.

use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result, TopicError};
use crate::event::Listener;
use crate::fs::{DiskFs, Fs, MemFs};
use crate::log::{Log, Signal};
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::topic::coordinator::{Coordinator, CoordinatorConfig};
use crate::topic::handle::{Topic, TopicShared};
use crate::topic::settings::TopicConfig;
use crate::types::ProducerId;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The options of a [`Store`].
#[derive(Debug, Clone)]
pub struct StoreConfig {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) listener: Option<Arc<dyn Listener>>,
    pub(crate) coordinator: CoordinatorConfig,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig {
            fs: Arc::new(DiskFs),
            clock: Arc::new(SystemClock::new()),
            listener: None,
            coordinator: CoordinatorConfig::default(),
        }
    }
}

impl StoreConfig {
    /// The file system the store lives in.
    #[must_use]
    pub fn fs(mut self, fs: impl Fs) -> Self {
        self.fs = Arc::new(fs);
        self
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How groups of consumers are run.
    #[must_use]
    pub fn coordinator(mut self, coordinator: CoordinatorConfig) -> Self {
        self.coordinator = coordinator;
        self
    }
}

/// A directory of topics: what a Kafka broker has in its `log.dirs`.
#[derive(Clone)]
pub struct Store {
    shared: Arc<StoreShared>,
}

/// What all handles of a store share.
pub(crate) struct StoreShared {
    pub(crate) path: PathBuf,
    pub(crate) config: StoreConfig,
    /// Leaf lock: held to look a topic up, never across I/O.
    topics: RwLock<BTreeMap<Arc<str>, Arc<TopicShared>>>,
    /// One topic at a time is made, changed or deleted.
    changes: Mutex<()>,
    /// How often topics or partitions came or went.
    version: AtomicU64,
    /// Raised, with nothing held, when they did.
    changed: Signal,
    next_producer_id: AtomicI64,
    /// What runs the groups, made when the first is needed. Held while it is made.
    pub(crate) coordinator: Mutex<Option<Arc<Coordinator>>>,
}

impl Store {
    /// Opens a data directory, creating it if there is none.
    pub fn open(dir: impl AsRef<Path>, config: StoreConfig) -> Result<Store> {
        let path = dir.as_ref().to_path_buf();
        config.fs.create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
        let shared = StoreShared {
            path,
            config,
            topics: RwLock::default(),
            changes: Mutex::default(),
            version: AtomicU64::new(0),
            changed: Signal::default(),
            next_producer_id: AtomicI64::new(0),
            coordinator: Mutex::default(),
        };
        Ok(Store { shared: Arc::new(shared) })
    }

    /// A store of its own in memory.
    pub fn in_memory(config: StoreConfig) -> Result<Store> {
        Store::open("annals", config.fs(MemFs::new()))
    }

    /// Makes a topic.
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        let _one = self.shared.changes.lock();
        if self.shared.topics.read().contains_key(name) {
            return Err(TopicError::Exists { topic: name.to_owned() }.into());
        }
        let mut log = config.log_config()?.clock(Arc::clone(&self.shared.config.clock));
        log.fs = Arc::clone(&self.shared.config.fs);
        log.listener = self.shared.config.listener.clone();
        let open =
            |number| Log::open(self.shared.path.join(format!("{name}-{number}")), log.clone());
        let partitions = (0..config.partitions).map(open).collect::<Result<Vec<Log>>>()?;
        let name: Arc<str> = name.into();
        let topic = Arc::new(TopicShared::new(Arc::clone(&name), partitions, config));
        self.shared.topics.write().insert(name, Arc::clone(&topic));
        drop(_one);
        self.shared.version.fetch_add(1, Ordering::AcqRel);
        self.shared.changed.notify();
        Ok(Topic::new(&topic))
    }

    /// A topic that the store keeps for itself, made when it is first needed.
    pub(crate) fn internal_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        match self.topic(name) {
            Err(Error::Topic(_)) => match self.create_topic(name, config) {
                Err(Error::Topic(error)) if matches!(*error, TopicError::Exists { .. }) => {
                    self.topic(name)
                }
                made => made,
            },
            found => found,
        }
    }

    /// How often topics or partitions came or went: while it stays, they are the same.
    pub(crate) fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// Raised when the version rises.
    pub(crate) fn changed(&self) -> &Signal {
        &self.shared.changed
    }

    /// A producer id that was never given out before, by any store in this directory.
    pub(crate) fn new_producer_id(&self) -> Result<ProducerId> {
        Ok(self.shared.next_producer_id.fetch_add(1, Ordering::Relaxed))
    }

    /// A topic, by its name.
    pub fn topic(&self, name: &str) -> Result<Topic> {
        let topics = self.shared.topics.read();
        let found = topics.get(name).map(Topic::new);
        found.ok_or_else(|| TopicError::Unknown { topic: name.to_owned() }.into())
    }

    /// All topics, in the order of their names.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.shared.topics.read().values().map(Topic::new).collect()
    }

    pub(crate) fn shared(&self) -> &Arc<StoreShared> {
        &self.shared
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.shared.path).finish_non_exhaustive()
    }
}
