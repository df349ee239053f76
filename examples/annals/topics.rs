//! `topics`: those of a data directory.

use crate::data::{self, Data, Topic};
use crate::failure::{Failure, warn};
use crate::output::Output;
use crate::store_args::{TopicsAction, TopicsArgs};
use annals::fs::DiskFs;
use annals::inspect;
use annals::{Error, Offset, Store, StoreConfig, TopicConfig};
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
    /// What the topic sets itself.
    config: &'a BTreeMap<String, String>,
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
            // What cannot be leaves no directory behind: a store in memory refuses the same.
            let trial = Store::in_memory(StoreConfig::default())?;
            trial.create_topic(topic, config.clone().partitions(1))?;
            let store = data::open_or_make(dir)?;
            closing(&store, store.create_topic(topic, config).map(drop))?;
            describe(dir, std::slice::from_ref(topic), output)
        }
        TopicsAction::Alter { topic, config, delete_config, partitions } => {
            // What cannot be is refused before anything is opened.
            set(unset(TopicConfig::default(), delete_config)?, config)?;
            let store = data::open(dir)?;
            closing(&store, alter(&store, topic, config, delete_config, *partitions))?;
            describe(dir, std::slice::from_ref(topic), output)
        }
        TopicsAction::Delete { topic, execute: false } => {
            describe(dir, std::slice::from_ref(topic), output)?;
            warn("nothing was deleted; --execute deletes the topic with all that is in it");
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
    for (topic, found) in Data::look(dir)?.topics() {
        let internal = is_internal(topic);
        output.json(&Listed { topic, partitions: found.count, internal })?;
    }
    Ok(())
}

fn describe(dir: &Path, topics: &[String], output: &mut Output) -> Result<(), Failure> {
    let data = Data::look(dir)?;
    let named: Result<Vec<_>, Failure> =
        topics.iter().map(|name| Ok((name.as_str(), data.topic(name)?))).collect();
    let chosen = if topics.is_empty() { data.topics().collect() } else { named? };
    for (name, topic) in chosen {
        let partitions = partitions(&data, name, topic)?;
        let (id, internal) = (id(&data, name), is_internal(name));
        output.json(&Described { topic: name, id, internal, partitions, config: &topic.config })?;
    }
    Ok(())
}

fn partitions(data: &Data, name: &str, topic: &Topic) -> Result<Vec<Partition>, Failure> {
    let describe = |&number: &u32| {
        let (log, start) = data.partition(name, number)?;
        let stats = log.stats()?;
        Ok(Partition {
            partition: number,
            start,
            end: stats.offsets.end,
            bytes: stats.bytes,
            segments: stats.segments.len(),
        })
    };
    topic.numbers.iter().map(describe).collect()
}

/// The id of a topic, if its first partition has one: brokers of old gave none.
fn id(data: &Data, name: &str) -> Option<String> {
    let file = data.partition_dir(name, 0).join("partition.metadata");
    inspect::partition_metadata(&DiskFs, &file).ok().map(|metadata| metadata.topic_id)
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

/// Closes the store whatever came of it.
fn closing(store: &Store, result: Result<(), Error>) -> Result<(), Failure> {
    let closed = store.close();
    result?;
    Ok(closed?)
}
