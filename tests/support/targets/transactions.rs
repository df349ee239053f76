//! A fuzz target that reads its input as a record of `__transaction_state`.

use crate::memory::bounded;
use annals::{TransactionMetadata, TransactionRecord, TransactionState};
use std::collections::BTreeMap;

/// Decodes any key and value. A record that decodes is encoded here in both versions of Kafka,
/// and must decode to the same.
pub fn transaction_state(data: &[u8]) {
    let Some((key_bytes, bytes)) = data.split_first() else { return };
    let (key, value) = bytes.split_at(usize::from(*key_bytes).min(bytes.len()));
    bounded(data.len(), || {
        let tombstone = TransactionRecord::decode(Some(key), None);
        let Ok(Some(record)) = TransactionRecord::decode(Some(key), Some(value)) else { return };
        let removed = tombstone.unwrap().unwrap();
        assert_eq!((removed.transactional_id, removed.metadata), (record.transactional_id, None));
        let metadata = record.metadata.unwrap();
        assert!(metadata.state != TransactionState::Empty || metadata.partitions.is_empty());
        let decode = |value: &[u8]| {
            let again = TransactionRecord::decode(Some(key), Some(value)).unwrap().unwrap();
            again.metadata.unwrap()
        };
        assert_eq!(decode(&flexible(&metadata)), metadata);
        let mut without_tags = decode(&classic(&metadata));
        assert_eq!(without_tags.client_version, 0);
        without_tags.client_version = metadata.client_version;
        without_tags.previous_producer_id = metadata.previous_producer_id;
        without_tags.next_producer_id = metadata.next_producer_id;
        assert_eq!(without_tags, metadata);
    });
}

/// Returns the fields before the partitions.
fn front(version: u8, metadata: &TransactionMetadata) -> Vec<u8> {
    let mut bytes = vec![0, version];
    bytes.extend(metadata.producer_id.to_be_bytes());
    bytes.extend(metadata.producer_epoch.to_be_bytes());
    bytes.extend(metadata.timeout_ms.to_be_bytes());
    bytes.push(metadata.state as u8);
    bytes
}

/// Returns the partitions of each topic, as bytes.
fn topics(metadata: &TransactionMetadata) -> BTreeMap<&str, Vec<[u8; 4]>> {
    let mut topics = BTreeMap::<&str, Vec<_>>::new();
    for at in &metadata.partitions {
        topics.entry(&at.topic).or_default().push(at.partition.to_be_bytes());
    }
    topics
}

/// Returns the two times after the partitions.
fn times(metadata: &TransactionMetadata) -> Vec<u8> {
    let started = metadata.started.map_or(-1, |started| started.as_millis());
    [metadata.last_update.as_millis(), started].map(i64::to_be_bytes).concat()
}

fn classic(metadata: &TransactionMetadata) -> Vec<u8> {
    let mut bytes = front(0, metadata);
    let topics = topics(metadata);
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for (topic, partitions) in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
        bytes.extend(u32::try_from(partitions.len()).unwrap().to_be_bytes());
        bytes.extend(partitions.concat());
    }
    bytes.extend(times(metadata));
    bytes
}

fn flexible(metadata: &TransactionMetadata) -> Vec<u8> {
    let mut bytes = front(1, metadata);
    let topics = topics(metadata);
    bytes.extend(varint(topics.len() + 1));
    for (topic, partitions) in topics {
        bytes.extend(varint(topic.len() + 1));
        bytes.extend(topic.as_bytes());
        bytes.extend(varint(partitions.len() + 1));
        bytes.extend(partitions.concat());
        bytes.push(0);
    }
    bytes.extend(times(metadata));
    bytes.extend([3, 0, 8]);
    bytes.extend(metadata.previous_producer_id.unwrap_or(-1).to_be_bytes());
    bytes.extend([1, 8]);
    bytes.extend(metadata.next_producer_id.unwrap_or(-1).to_be_bytes());
    bytes.extend([2, 2]);
    bytes.extend(metadata.client_version.to_be_bytes());
    bytes
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
