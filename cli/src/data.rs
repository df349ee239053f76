//! A data directory: looking at it, and opening it.
//!
//! Looking takes no lock, repairs nothing and writes nothing: it works while another process has
//! the directory open, and on a directory without write permission. Opening takes the lock, and
//! recovers logs that were not closed cleanly.

use crate::failure::Failure;
use crate::notices::Notices;
use annals::fs::DiskFs;
use annals::inspect;
use annals::{
    Error, Log, Offset, Store, StoreConfig, StoreView, TopicError, TransactionCoordinatorConfig,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The metadata log of a cluster, which is no topic.
const CLUSTER: &str = "__cluster_metadata";

/// A data directory that is only read.
#[derive(Debug)]
pub struct Data {
    pub view: StoreView,
}

impl Data {
    pub fn look(path: &Path) -> Result<Data, Failure> {
        let data = Data { view: Store::open_read_only(path, StoreConfig::default())? };
        if data.topics()?.is_empty() && !path.join("meta.properties").is_file() {
            let reason = "it holds no topics; make one with `annals topics DIR create TOPIC`";
            return Err(Failure::refused(format!(
                "{} is no data directory: {reason}",
                path.display()
            )));
        }
        Ok(data)
    }

    /// Returns the names of all topics, in order.
    pub fn topics(&self) -> Result<Vec<String>, Failure> {
        let mut topics = self.view.topics()?;
        topics.retain(|topic| topic != CLUSTER);
        Ok(topics)
    }

    /// Returns the numbers of a topic's partitions in this directory: all, or the requested one.
    pub fn numbers(&self, topic: &str, only: Option<u32>) -> Result<Vec<u32>, Failure> {
        let partitions = self.view.partition_count(topic)?;
        let is_here = |number: &u32| self.partition_dir(topic, *number).is_dir();
        match only {
            None => Ok((0..partitions).filter(is_here).collect()),
            Some(number) if number < partitions && is_here(&number) => Ok(vec![number]),
            Some(partition) => {
                let topic = topic.to_owned();
                let unknown = TopicError::UnknownPartition { topic, partition, partitions };
                Err(Error::from(unknown).into())
            }
        }
    }

    pub fn partition_dir(&self, topic: &str, number: u32) -> PathBuf {
        self.view.path().join(format!("{topic}-{number}"))
    }

    pub fn partition(&self, topic: &str, number: u32) -> Result<Log, Failure> {
        Ok(self.view.partition(topic, number)?)
    }

    /// Returns the start of a partition from the checkpoint, for a log that cannot be opened.
    /// Lines that contradict each other do not count.
    pub fn start(&self, topic: &str, number: u32) -> Offset {
        let file = self.view.path().join("log-start-offset-checkpoint");
        let entries = inspect::offset_checkpoint(&DiskFs, &file).unwrap_or_default();
        let mut starts = entries
            .iter()
            .filter(|entry| entry.topic == topic && u32::try_from(entry.partition) == Ok(number))
            .map(|entry| entry.offset);
        let first = starts.next().unwrap_or(0);
        if starts.all(|other| other == first) { first } else { 0 }
    }
}

/// Opens an existing data directory, without maintenance, so that old records stay. Ongoing
/// transactions stay, too: their producers may return to the process whose directory it is.
pub fn open(path: &Path) -> Result<Store, Failure> {
    Data::look(path)?;
    open_or_make(path)
}

pub fn open_or_make(path: &Path) -> Result<Store, Failure> {
    let transactions = TransactionCoordinatorConfig::default().resume_ongoing(true);
    let config = StoreConfig::default()
        .maintenance(None)
        .transaction_coordinator(transactions)
        .listener(Arc::new(Notices::OF_RECOVERY));
    Ok(Store::open(path, config)?)
}
