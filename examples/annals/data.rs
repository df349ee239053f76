//! A data directory, looked at or opened.
//!
//! Looking takes no lock, repairs nothing and writes nothing: it works beside whoever has the directory open, and on a
//! directory that may only be read. Opening takes the lock, and recovers what was not closed in order.

use crate::failure::Failure;
use crate::notices::Notices;
use annals::fs::DiskFs;
use annals::inspect;
use annals::{Error, Log, LogConfig, Offset, Store, StoreConfig, TopicError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A data directory as it was found.
#[derive(Debug)]
pub struct Data {
    path: PathBuf,
    topics: BTreeMap<String, Topic>,
    /// Where partitions start that start above their first segment.
    starts: BTreeMap<(String, u32), Offset>,
}

/// A topic as it was found.
#[derive(Debug, Default)]
pub struct Topic {
    /// How many partitions it is to have.
    pub count: u32,
    /// Those that are there.
    pub numbers: BTreeSet<u32>,
    /// What it sets itself.
    pub config: BTreeMap<String, String>,
}

impl Data {
    pub fn look(path: &Path) -> Result<Data, Failure> {
        let failed = |source| Error::Io { operation: "list", path: Box::from(path), source };
        let mut found: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let mut is_store = false;
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".log") && !entry.path().is_dir() {
                let reason = "it is the directory of one partition; give the one above it";
                return Err(Failure::refused(format!("{}: {reason}", path.display())));
            }
            is_store |= name == "meta.properties";
            if let Some((topic, number)) = partition(name)
                && entry.path().is_dir()
            {
                found.entry(topic.to_owned()).or_default().insert(number);
            }
        }
        if !is_store && found.is_empty() {
            let reason = "it holds no topics; make one with `annals topics DIR create TOPIC`";
            return Err(Failure::refused(format!(
                "{} is no data directory: {reason}",
                path.display()
            )));
        }
        let mut topics = BTreeMap::new();
        for (name, numbers) in found {
            if let Some(topic) = topic(path, &name, numbers)? {
                topics.insert(name, topic);
            }
        }
        Ok(Data { path: path.to_owned(), topics, starts: starts(path) })
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = (&str, &Topic)> {
        self.topics.iter().map(|(name, topic)| (name.as_str(), topic))
    }

    pub fn topic(&self, name: &str) -> Result<&Topic, Failure> {
        let unknown = || Error::from(TopicError::Unknown { topic: name.to_owned() });
        Ok(self.topics.get(name).ok_or_else(unknown)?)
    }

    /// The numbers of a topic's partitions: all, or the one that was asked for.
    pub fn numbers(&self, name: &str, only: Option<u32>) -> Result<Vec<u32>, Failure> {
        let topic = self.topic(name)?;
        match only {
            None => Ok(topic.numbers.iter().copied().collect()),
            Some(number) if topic.numbers.contains(&number) => Ok(vec![number]),
            Some(partition) => Err(Error::from(TopicError::UnknownPartition {
                topic: name.to_owned(),
                partition,
                partitions: topic.count,
            })
            .into()),
        }
    }

    pub fn partition_dir(&self, topic: &str, number: u32) -> PathBuf {
        self.path.join(format!("{topic}-{number}"))
    }

    /// Where the checkpoint says that a partition starts.
    pub fn start(&self, topic: &str, number: u32) -> Offset {
        self.starts.get(&(topic.to_owned(), number)).copied().unwrap_or(0)
    }

    /// The log of a partition, read-only, and where it starts.
    pub fn partition(&self, topic: &str, number: u32) -> Result<(Log, Offset), Failure> {
        let dir = self.partition_dir(topic, number);
        let log = Log::open_read_only(&dir, LogConfig::default())?;
        let start = self.start(topic, number);
        let offsets = log.offsets();
        Ok((log, start.max(offsets.start).min(offsets.end)))
    }
}

/// The partition whose directory has this name.
fn partition(name: &str) -> Option<(&str, u32)> {
    let (topic, number) = name.rsplit_once('-')?;
    let parsed: u32 = number.parse().ok()?;
    // The log in which a cluster keeps what it knows of itself is no topic.
    let is_topic = !topic.is_empty() && topic != "__cluster_metadata";
    (is_topic && parsed.to_string() == number).then_some((topic, parsed))
}

/// How a topic is set up; `None` if it is being deleted.
fn topic(path: &Path, name: &str, numbers: BTreeSet<u32>) -> Result<Option<Topic>, Failure> {
    let file = path.join(format!("{name}-0")).join("topic.properties");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        // A broker made it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(Error::Io { operation: "read", path: file.into(), source }.into());
        }
    };
    let mut config: BTreeMap<String, String> = text
        .lines()
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace('\\', "")))
        .collect();
    if config.remove("state").as_deref() == Some("deleting") {
        return Ok(None);
    }
    let defined = config.remove("partitions").and_then(|count| count.parse().ok()).unwrap_or(0);
    let count = numbers.last().map_or(0, |last| last.saturating_add(1)).max(defined);
    Ok(Some(Topic { count, numbers, config }))
}

/// What is written down of where partitions start. Lines of one that do not agree are not believed.
fn starts(path: &Path) -> BTreeMap<(String, u32), Offset> {
    let file = path.join("log-start-offset-checkpoint");
    let mut starts = BTreeMap::new();
    for entry in inspect::offset_checkpoint(&DiskFs, &file).unwrap_or_default() {
        let Ok(number) = u32::try_from(entry.partition) else { continue };
        starts
            .entry((entry.topic, number))
            .and_modify(|start| {
                if *start != entry.offset {
                    *start = 0;
                }
            })
            .or_insert(entry.offset);
    }
    starts
}

/// Opens the data directory, which must be there. What may be deleted stays: nobody has asked for that.
pub fn open(path: &Path) -> Result<Store, Failure> {
    Data::look(path)?;
    open_or_make(path)
}

pub fn open_or_make(path: &Path) -> Result<Store, Failure> {
    let config = StoreConfig::default().maintenance(None).listener(Arc::new(Notices));
    Ok(Store::open(path, config)?)
}
