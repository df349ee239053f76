//! Creating topics, and adding partitions to them.

use crate::error::{Error, Result, TopicError};
use crate::group::coordinator::Coordinator;
use crate::log::{Log, LogConfig};
use crate::store::directory::MOST_PARTITIONS;
use crate::store::partition_dir::PartitionDir;
use crate::store::settings::TopicConfig;
use crate::store::topic::{PartitionState, Topic, TopicInner, check_topic_name};
use crate::store::topic_properties::{TopicDefinition, TopicState};
use crate::store::topics::Store;
use crate::topic_name;
use crate::uuid::TopicId;
use std::path::Path;
use std::sync::Arc;

impl Store {
    /// Creates a topic.
    ///
    /// ```
    /// use annals::{ErrorKind, Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// store.create_topic("orders", TopicConfig::default().partitions(3))?;
    /// let again = store.create_topic("orders", TopicConfig::default());
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::Exists);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::Exists`], [`TopicError::InvalidName`]. The second is also returned for a
    ///   name that differs from another topic's only in `.` and `_`, because Kafka's metrics
    ///   cannot tell the two apart.
    /// - [`TopicError::InvalidPartitions`] for no partitions, or more than 100,000.
    /// - [`TopicError::InvalidSetting`] for an invalid setting.
    /// - [`TopicError::InvalidDirectory`] if a directory already has the name of one of its
    ///   partitions. For example, `orders-0` has the name of `Orders-0` where the file system
    ///   ignores case. Nothing in that directory is changed.
    /// - [`Error::StoreClosed`], [`Error::Io`]. After the second, the topic may exist when the
    ///   store is opened again. You can repeat the call.
    pub fn create_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        if topic_name::is_internal(name) {
            let reason = "it is reserved for the store or a broker; choose another name";
            return Err(TopicError::InvalidName { topic: name.to_owned(), reason }.into());
        }
        let groups = self.existing_coordinator()?;
        self.create_any_topic(name, config, groups.as_deref())
    }

    fn create_any_topic(
        &self,
        name: &str,
        config: TopicConfig,
        groups: Option<&Coordinator>,
    ) -> Result<Topic> {
        check_topic_name(name)?;
        let inner = self.inner();
        check_partitions(name, config.partitions)?;
        let log = config.apply(&inner.config.log)?;
        inner.change(|| self.create_locked(name, config, &log, groups))
    }

    fn create_locked(
        &self,
        name: &str,
        config: TopicConfig,
        log: &LogConfig,
        groups: Option<&Coordinator>,
    ) -> Result<Topic> {
        let inner = self.inner();
        if inner.topics.read().contains_key(name) {
            return Err(TopicError::Exists { topic: name.to_owned() }.into());
        }
        if inner.topics.read().keys().any(|other| topic_name::collides(other, name)) {
            let reason = "another topic has that name, with `.` for `_` or the other way round, which metrics of Kafka cannot tell apart; take another name";
            return Err(TopicError::InvalidName { topic: name.to_owned(), reason }.into());
        }
        self.finish_deletion(name, groups)?;
        // Otherwise a checkpoint line of an earlier topic of that name would apply to this one.
        inner.checkpoints.release(&[])?;
        for number in 0..config.partitions {
            inner.directory.check_free(name, number, None)?;
        }
        let id = TopicId::random();
        let logs = self.create_partitions(name, 0, id, &config, log);
        let logs = logs.map_err(|error| self.of_call("create the topic at", name, error));
        if logs.is_err() {
            // This call has created all of its directories. If some cannot be removed now, the
            // next call removes them.
            inner.interrupted.lock().insert(name.to_owned(), config.partitions);
            inner.directory.write_definition(name, &config, TopicState::Deleting).ok();
            self.finish_deletion(name, None).ok();
        }
        let shared_name: Arc<str> = name.into();
        let states = logs?.into_iter().map(PartitionState::Open).collect();
        let topic = TopicInner::new(Arc::clone(&shared_name), id, states, config);
        let topic = Arc::new(topic);
        {
            let mut topics = inner.topics.write();
            inner.creations.record(id, 0);
            topics.insert(shared_name, Arc::clone(&topic));
        }
        inner.bump_version();
        let topic = Topic::new(&topic);
        self.register_with_maintainer(&topic.partitions())?;
        Ok(topic)
    }

    /// Creates the partitions of a topic from this number on. Their directories are free.
    fn create_partitions(
        &self,
        name: &str,
        from: u32,
        id: TopicId,
        config: &TopicConfig,
        log: &LogConfig,
    ) -> Result<Vec<Log>> {
        let inner = self.inner();
        // From here on, the topic exists or has grown: the next opening creates the partitions
        // that a crash has prevented. The partitions are created in any order, so the id must be
        // durable before any of them has it.
        inner.directory.create_partition(name, 0)?;
        inner.directory.write_definition(name, config, TopicState::Creating(Some(id)))?;
        let numbers: Vec<u32> = (from..config.partitions).collect();
        let keys: Vec<_> = numbers.iter().map(|n| (name.to_owned(), n.cast_signed())).collect();
        inner.checkpoints.hold_all(&keys);
        let made = inner.in_few_threads(&numbers, |number| {
            inner.directory.create_partition(name, *number)?;
            self.open_partition(name, *number, id, log).map(|(log, _)| log)
        });
        let logs = made.into_iter().collect::<Result<Vec<Log>>>();
        inner.checkpoints.release(&keys)?;
        let logs = logs?;
        inner.directory.write_definition(name, config, TopicState::Settled)?;
        Ok(logs)
    }

    /// Names the call instead of the operation that failed on a file of the topic, because a
    /// caller does not know the files of a topic.
    fn of_call(&self, call: &'static str, topic: &str, error: Error) -> Error {
        match error {
            Error::Io { operation: _, path, source } if self.is_in_topic(topic, &path) => {
                Error::Io { operation: call, path, source }
            }
            other => other,
        }
    }

    /// Returns whether a path is the directory of a partition of the topic, or in one.
    fn is_in_topic(&self, topic: &str, path: &Path) -> bool {
        let data = &self.inner().directory.dir.path;
        let name = path.strip_prefix(data).ok().and_then(|below| below.iter().next()?.to_str());
        let partition = name.and_then(|name| PartitionDir::parse(name).ok().flatten());
        partition.is_some_and(|partition| partition.topic == topic)
    }

    /// Returns a topic that the store keeps for itself, and creates it on first use.
    pub(crate) fn internal_topic(&self, name: &str, config: TopicConfig) -> Result<Topic> {
        match self.topic(name) {
            Err(Error::Topic(_)) => match self.create_any_topic(name, config, None) {
                Err(Error::Topic(error)) if matches!(*error, TopicError::Exists { .. }) => {
                    self.topic(name)
                }
                made => made,
            },
            found => found,
        }
    }

    /// Adds partitions to a topic, so that it has `partitions` in total. Later records with a key
    /// may go to another partition than earlier ones with that key.
    ///
    /// ```
    /// use annals::{Store, StoreConfig, TopicConfig};
    ///
    /// let store = Store::in_memory(StoreConfig::default())?;
    /// let orders = store.create_topic("orders", TopicConfig::default().partitions(2))?;
    /// store.add_partitions("orders", 5)?;
    /// assert_eq!(orders.partition_count(), 5);
    /// # Ok::<(), annals::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TopicError::Unknown`], [`Error::StoreClosed`].
    /// - [`Error::Io`]. The partitions may exist when the store is opened again. Until then, the
    ///   topic has as many as before, and you can repeat the call with the same number or a
    ///   higher one.
    /// - [`TopicError::InvalidPartitions`] for a number that is not higher than the present one,
    ///   or above 100,000.
    /// - [`TopicError::InvalidDirectory`] as for [`create_topic`](Store::create_topic).
    /// - [`TopicError::Internal`] for an internal topic, [`TopicError::Spread`] for a topic that
    ///   has partitions elsewhere.
    pub fn add_partitions(&self, topic: &str, partitions: u32) -> Result<()> {
        self.inner().change(|| self.add_partitions_locked(topic, partitions))
    }

    fn add_partitions_locked(&self, topic: &str, partitions: u32) -> Result<()> {
        let inner = self.inner();
        let found = self.topic(topic)?;
        if topic_name::is_internal(topic) {
            let reason =
                "the number of its partitions decides where a group is stored, so it cannot change";
            return Err(TopicError::Internal { topic: topic.to_owned(), reason }.into());
        }
        found.check_not_spread("add partitions in its Kafka cluster")?;
        let (before, config) = (found.partition_count(), found.config());
        let invalid = |reason: String| -> Error {
            let topic = topic.to_owned();
            TopicError::InvalidPartitions { topic, given: partitions, reason }.into()
        };
        if partitions < before {
            return Err(invalid(format!(
                "it has {before}, and a topic never loses partitions; give a larger number"
            )));
        }
        if partitions == before {
            return Err(invalid("it has as many already; give a larger number".to_owned()));
        }
        check_partitions(topic, partitions)?;
        if let Some(TopicDefinition { config, state: TopicState::Creating(_) }) =
            inner.directory.read_definition(topic)?
            && config.partitions > partitions
        {
            return Err(invalid(format!(
                "a failed call began to add partitions up to {0}; give {0} or more",
                config.partitions
            )));
        }
        let id = self.resolve_id(&found)?;
        for number in before..partitions {
            inner.directory.check_free(topic, number, Some(id))?;
        }
        let config = config.partitions(partitions);
        let log = config.apply(&inner.config.log)?;
        let added = self.create_partitions(topic, before, id, &config, &log);
        let added = added.map_err(|error| self.of_call("add the partition at", topic, error))?;
        {
            let _topics = inner.topics.write();
            inner.creations.record(id, before);
            found.add_partitions(added.clone(), config);
        }
        inner.bump_version();
        self.register_with_maintainer(&added)
    }
}

fn check_partitions(topic: &str, given: u32) -> Result<()> {
    if (1..=MOST_PARTITIONS).contains(&given) {
        return Ok(());
    }
    let reason = "a topic has 1 to 100,000; give a number in that range".to_owned();
    Err(TopicError::InvalidPartitions { topic: topic.to_owned(), given, reason }.into())
}
