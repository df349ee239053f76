//! Moves a store to a Kafka broker in place: no file of a partition moves, and groups keep their
//! offsets.
//!
//! A broker serves the partitions that its controller has assigned to it. A new KRaft controller
//! reads its first records from `bootstrap.checkpoint`, which `kafka-storage format` writes. This
//! program adds the topics of a closed store to that file: their ids, their settings, and the
//! directory of each partition.
//!
//! ```text
//! $ kafka-storage format --ignore-formatted -t CLUSTER_ID -c server.properties
//! $ cargo run --release --example to_broker -- DATA METADATA/bootstrap.checkpoint
//! $ kafka-server-start server.properties
//! ```
//!
//! In `server.properties`, `log.dirs` is the directory of the store, and `metadata.log.dir` is
//! another, new directory. `node.id` and `CLUSTER_ID` are the values in the store's
//! `meta.properties`. Without arguments, the program creates a small store and shows the records
//! that it would add.
//!
//! The way back is shorter: stop the broker, and open the directory as a store.

#![allow(clippy::print_stdout, reason = "a program for a person to run")]

use annals::record::{BatchBuilder, BatchHeader, RecordBatch};
use annals::{
    FIRST_STORE_PRODUCER_ID, KafkaUuid, LeaderEpoch, Log, ProducerId, Store, StoreConfig,
    Timestamp, TopicConfig,
};
use bytes::Bytes;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The controller reads the file batch by batch, each batch into a buffer of 8 MiB.
const RECORDS_PER_BATCH: usize = 1000;

/// The directory of the store: its id, and the node that it belongs to.
struct DataDirectory {
    node_id: i32,
    cluster_id: String,
    directory_id: KafkaUuid,
}

impl DataDirectory {
    /// Reads `meta.properties`.
    fn read(data: &Path) -> Result<DataDirectory> {
        let path = data.join("meta.properties");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let value = |key: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            let found = pairs.find(|(name, _)| name.trim() == key);
            let missing = || format!("{}: it has no `{key}`", path.display());
            found.map(|(_, value)| value.trim().to_owned()).ok_or_else(missing)
        };
        Ok(DataDirectory {
            node_id: value("node.id")?.parse()?,
            cluster_id: value("cluster.id")?,
            directory_id: value("directory.id")?.parse()?,
        })
    }
}

/// A record of the metadata log, in the encoding that Kafka calls flexible: a frame version, the
/// kind and version of the record, its fields, and the number of tagged fields.
struct MetadataRecord(Vec<u8>);

impl MetadataRecord {
    fn new(kind: u64, version: u64) -> MetadataRecord {
        MetadataRecord(Vec::new()).varint(1).varint(kind).varint(version)
    }

    fn topic(name: &str, id: KafkaUuid) -> MetadataRecord {
        MetadataRecord::new(2, 0).text(name).uuid(id).end()
    }

    /// Creates the record of a partition with one replica, on this node and in this directory.
    fn partition(number: u32, topic: KafkaUuid, epoch: LeaderEpoch, at: &DataDirectory) -> Self {
        let node = at.node_id.to_be_bytes();
        MetadataRecord::new(3, 1)
            .bytes(&number.to_be_bytes())
            .uuid(topic)
            .list(&[&node]) // replicas
            .list(&[&node]) // in sync
            .list(&[]) // being removed
            .list(&[]) // being added
            .bytes(&node) // the leader
            .bytes(&epoch.to_be_bytes())
            .bytes(&0_i32.to_be_bytes()) // how often this record was changed
            .list(&[&at.directory_id.to_bytes()])
            .end()
    }

    fn topic_config(topic: &str, key: &str, value: &str) -> MetadataRecord {
        const TOPIC: u8 = 2;
        MetadataRecord::new(4, 0).bytes(&[TOPIC]).text(topic).text(key).text(value).end()
    }

    /// Creates the record that says from which id on the broker assigns producer ids.
    fn producer_ids(next: ProducerId, at: &DataDirectory) -> MetadataRecord {
        let (node, epoch) = (at.node_id.to_be_bytes(), 0_i64.to_be_bytes());
        MetadataRecord::new(15, 0).bytes(&node).bytes(&epoch).bytes(&next.to_be_bytes()).end()
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push((value & 0x7F | 0x80) as u8);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn uuid(self, id: KafkaUuid) -> Self {
        self.bytes(&id.to_bytes())
    }

    /// Appends a text. Stored lengths are one higher than the length, because 0 stands for null.
    fn text(self, text: &str) -> Self {
        self.varint(text.len() as u64 + 1).bytes(text.as_bytes())
    }

    fn list(self, items: &[&[u8]]) -> Self {
        let counted = self.varint(items.len() as u64 + 1);
        items.iter().fold(counted, |list, item| list.bytes(item))
    }

    fn end(self) -> Self {
        self.varint(0)
    }
}

/// Returns a newer epoch than any in the log, so that the broker is its next leader.
fn next_epoch(log: &Log) -> Result<LeaderEpoch> {
    let latest = log.leader_epochs()?.last().map_or(0, |latest| latest.epoch);
    Ok(latest.saturating_add(1))
}

/// Returns the records that describe the topics of a store to a controller.
fn records_of(store: &Store, at: &DataDirectory) -> Result<Vec<MetadataRecord>> {
    let (mut records, mut next_producer_id) = (Vec::new(), 0);
    for topic in store.topics() {
        records.push(MetadataRecord::topic(topic.name(), topic.id()));
        for (number, log) in (0..).zip(topic.partitions().iter()) {
            records.push(MetadataRecord::partition(number, topic.id(), next_epoch(log)?, at));
            let ids = log.producers()?.into_iter().map(|known| known.producer_id);
            let of_a_broker = ids.filter(|id| *id < FIRST_STORE_PRODUCER_ID);
            next_producer_id = of_a_broker.fold(next_producer_id, |next, id| next.max(id + 1));
        }
        for (key, value) in topic.config().overrides() {
            records.push(MetadataRecord::topic_config(topic.name(), key, value));
        }
    }
    if next_producer_id > 0 {
        records.push(MetadataRecord::producer_ids(next_producer_id, at));
    }
    Ok(records)
}

/// Inserts the records before the last batch, which marks the end of the file.
fn extend(snapshot: &[u8], records: &[MetadataRecord]) -> Result<Vec<u8>> {
    let mut batches = Vec::new();
    let mut rest = Bytes::copy_from_slice(snapshot);
    while !rest.is_empty() {
        let size = BatchHeader::parse(&rest)?.size_bytes();
        if size > rest.len() {
            return Err("it ends inside a batch".into());
        }
        batches.push(RecordBatch::parse(rest.split_to(size))?);
    }
    let footer = batches.pop().filter(|last| last.header().is_control());
    let footer = footer.ok_or("it does not end with the footer of a snapshot")?;
    let mut extended: Vec<u8> =
        batches.iter().flat_map(|batch| batch.as_bytes().to_vec()).collect();
    let mut next_offset = footer.header().base_offset;
    let time = footer.header().max_timestamp;
    for chunk in records.chunks(RECORDS_PER_BATCH) {
        let mut builder = BatchBuilder::new();
        builder.base_offset(next_offset).leader_epoch(footer.header().leader_epoch);
        for record in chunk {
            builder.push(time, None, Some(record.0.as_slice()))?;
        }
        extended.extend_from_slice(&builder.build_bytes()?);
        next_offset += chunk.len() as u64;
    }
    // The checksum does not cover the base offset.
    let (mut header, mut last) = (*footer.header(), footer.as_bytes().to_vec());
    header.base_offset = next_offset;
    header.write_to(&mut last)?;
    extended.extend_from_slice(&last);
    Ok(extended)
}

fn hand_over(data: &Path, bootstrap: &Path) -> Result<()> {
    let at = DataDirectory::read(data)?;
    let store = Store::open(data, StoreConfig::default().maintenance(None))?;
    let records = records_of(&store, &at)?;
    let (topics, partitions) = (store.topics().len(), store.topics());
    let partitions: u32 = partitions.iter().map(|topic| topic.partition_count()).sum();
    store.close()?;

    let snapshot = fs::read(bootstrap).map_err(|e| format!("{}: {e}", bootstrap.display()))?;
    let extended = extend(&snapshot, &records).map_err(|e| {
        format!("{}: {e}; format the metadata directory again", bootstrap.display())
    })?;
    let beside = bootstrap.with_extension("checkpoint.tmp");
    fs::write(&beside, extended)?;
    fs::rename(&beside, bootstrap)?;
    println!(
        "node {} of cluster {}: {topics} topics with {partitions} partitions, {} records added",
        at.node_id,
        at.cluster_id,
        records.len()
    );
    Ok(())
}

/// Creates a store of two topics, and prints the records that would be added for it.
fn show() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path(), StoreConfig::default())?;
    store.create_topic("orders", TopicConfig::default().partitions(3))?;
    store.create_topic("prices", TopicConfig::default().set("cleanup.policy", "compact")?)?;
    store.producer(Default::default())?.send(("orders", "hello"))?.wait()?;
    let records = records_of(&store, &DataDirectory::read(dir.path())?)?;
    store.close()?;
    println!(
        "{} records, to be added with: to_broker DATA METADATA/bootstrap.checkpoint",
        records.len()
    );
    for MetadataRecord(bytes) in &records {
        println!("  {}", bytes.escape_ascii());
    }
    // The file as `kafka-storage format` leaves it begins with a header and ends with a footer.
    let control = |offset: u64| -> Result<Vec<u8>> {
        let mut batch = BatchBuilder::new();
        batch.base_offset(offset).control(true);
        batch.push(Timestamp::from_millis(0), Some(b"\0\0\0\x03"), Some(b"\0\0\0"))?;
        Ok(batch.build_bytes()?)
    };
    let extended = extend(&[control(0)?, control(1)?].concat(), &records)?;
    let (first, end) = (control(0)?.len(), extended.len() - control(1)?.len());
    let added = RecordBatch::parse(Bytes::from(extended).slice(first..end))?;
    assert_eq!(added.header().record_count as usize, records.len());
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.as_slice() {
        [] => show(),
        [data, bootstrap] => hand_over(data, bootstrap),
        _ => Err("usage: to_broker DATA METADATA/bootstrap.checkpoint".into()),
    }
}
