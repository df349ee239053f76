//! `topics`: the topics of a data directory.

use crate::data::{self, Data};
use crate::failure::{Failure, note};
use crate::output::Output;
use crate::store_args::{TopicsAction, TopicsArgs};
use annals::{
    ConfigSource, Error, Offset, Store, StoreConfig, TopicConfig, TopicDescription, TopicError,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Serialize)]
struct Listed<'a> {
    topic: &'a str,
    partitions: u32,
    internal: bool,
}

#[derive(Serialize)]
struct Described<'a> {
    topic: &'a str,
    id: Option<String>,
    internal: bool,
    partitions: Vec<Partition>,
    /// The settings of the topic itself, without defaults.
    config: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Partition {
    partition: u32,
    start: Offset,
    end: Offset,
    bytes: u64,
    segments: usize,
}

#[derive(Serialize)]
struct Deleted<'a> {
    topic: &'a str,
    deleted: bool,
}

pub fn run(args: &TopicsArgs, output: &mut Output) -> Result<(), Failure> {
    let dir = &args.dir;
    match &args.action {
        TopicsAction::List => list(dir, output),
        TopicsAction::Describe { topics } => describe(dir, topics, output),
        TopicsAction::Create { topic, partitions, config } => {
            let config = set(TopicConfig::default().partitions(*partitions), config)?;
            // A store in memory rejects the same topics, and leaves no directory behind.
            let trial = Store::in_memory(StoreConfig::default())?;
            trial.create_topic(topic, config.clone().partitions(1))?;
            let store = data::open_or_make(dir)?;
            closing(&store, store.create_topic(topic, config).map(drop))?;
            describe(dir, std::slice::from_ref(topic), output)
        }
        TopicsAction::Alter { topic, config, delete_config, partitions } => {
            // Invalid settings are rejected before the store is opened.
            set(unset(TopicConfig::default(), delete_config)?, config)?;
            let store = data::open(dir)?;
            closing(&store, alter(&store, topic, config, delete_config, *partitions))?;
            describe(dir, std::slice::from_ref(topic), output)
        }
        TopicsAction::Delete { topic, execute: false } => {
            describe(dir, std::slice::from_ref(topic), output)?;
            note("this only shows the topic; add --execute to delete it with all that is in it");
            Ok(())
        }
        TopicsAction::Delete { topic, execute: true } => {
            let store = data::open(dir)?;
            closing(&store, store.delete_topic(topic))?;
            output.json(&Deleted { topic, deleted: true })
        }
    }
}

fn list(dir: &Path, output: &mut Output) -> Result<(), Failure> {
    let data = Data::look(dir)?;
    for topic in &data.topics()? {
        let partitions = data.view.partition_count(topic)?;
        output.json(&Listed { topic, partitions, internal: is_internal(topic) })?;
    }
    Ok(())
}

fn describe(dir: &Path, topics: &[String], output: &mut Output) -> Result<(), Failure> {
    let data = Data::look(dir)?;
    let all = if topics.is_empty() { data.topics()? } else { topics.to_vec() };
    let described: Vec<_> =
        all.iter().map(|topic| data.view.describe_topic(topic)).collect::<Result<_, _>>()?;
    let mut failed = None;
    for topic in described {
        print(&data, &topic, output)?;
        let is_here = |error: &TopicError| !matches!(error, TopicError::PartitionElsewhere { .. });
        failed = failed.or(topic.unavailable.into_values().find(is_here));
    }
    failed.map_or(Ok(()), |error| Err(Error::from(error).into()))
}

fn print(data: &Data, topic: &TopicDescription, output: &mut Output) -> Result<(), Failure> {
    // A topic that a broker has made has no settings of its own here.
    let is_set = data.partition_dir(&topic.name, 0).join("topic.properties").is_file();
    let partitions = topic.partitions.iter().map(|partition| Partition {
        partition: partition.partition,
        start: partition.start,
        end: partition.end,
        bytes: partition.bytes,
        segments: partition.segments,
    });
    let is_own = |source| is_set && source == ConfigSource::Topic;
    let own = topic.configs.iter().filter(|entry| is_own(entry.source));
    output.json(&Described {
        topic: &topic.name,
        // Old brokers wrote no id.
        id: (topic.id.to_bytes() != [0; 16]).then(|| topic.id.to_string()),
        internal: is_internal(&topic.name),
        partitions: partitions.collect(),
        config: own.map(|entry| (entry.key, entry.value.as_str())).collect(),
    })
}

fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state")
}

fn alter(
    store: &Store,
    topic: &str,
    config: &[(String, String)],
    delete_config: &[String],
    partitions: Option<u32>,
) -> Result<(), Error> {
    let before = store.topic(topic)?.config();
    let after = set(unset(before.clone(), delete_config)?, config)?;
    after.validate()?;
    if let Some(partitions) = partitions {
        store.add_partitions(topic, partitions)?;
    }
    if after != before { store.alter_topic(topic, after) } else { Ok(()) }
}

fn set(config: TopicConfig, settings: &[(String, String)]) -> Result<TopicConfig, Error> {
    settings.iter().try_fold(config, |config, (key, value)| config.set(key, value))
}

fn unset(config: TopicConfig, keys: &[String]) -> Result<TopicConfig, Error> {
    keys.iter().try_fold(config, |config, key| config.unset(key))
}

/// Closes the store even after a failure.
fn closing(store: &Store, result: Result<(), Error>) -> Result<(), Failure> {
    let closed = store.close();
    result?;
    Ok(closed?)
}
