//! Records of `__transaction_state`, as `dump` and `transactions` print them.

use crate::json::Shown;
use annals::record::RecordRef;
use annals::{CorruptionKind, TopicPartition, TransactionMetadata, TransactionRecord};
use serde::Serialize;
use std::path::Path;

/// Returns whether a file is in the directory of a partition of `__transaction_state`.
pub fn is_transaction_state(file: &Path) -> bool {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let dir = file.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let topic = dir.and_then(|dir| dir.rsplit_once('-')).map(|(topic, _)| topic);
    topic == Some("__transaction_state")
}

/// A record, and its content if it can be decoded.
#[derive(Serialize)]
pub struct TransactionLine<'a> {
    #[serde(flatten)]
    record: Shown<'a>,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Decoded { transactional_id: String, transaction: Option<Transaction> },
    Unknown {},
    Malformed { problem: String },
}

#[derive(Serialize)]
pub struct Transaction {
    state: String,
    producer_id: i64,
    producer_epoch: i16,
    previous_producer_id: Option<i64>,
    next_producer_id: Option<i64>,
    timeout_ms: i32,
    partitions: Vec<Partition>,
    started: Option<i64>,
    last_update: i64,
    client_version: i16,
}

#[derive(Serialize)]
pub struct Partition {
    topic: String,
    partition: u32,
}

impl From<&TopicPartition> for Partition {
    fn from(at: &TopicPartition) -> Partition {
        Partition { topic: at.topic.to_string(), partition: at.partition }
    }
}

impl From<TransactionMetadata> for Transaction {
    fn from(stored: TransactionMetadata) -> Transaction {
        Transaction {
            state: format!("{:?}", stored.state), // Kafka's name
            producer_id: stored.producer_id,
            producer_epoch: stored.producer_epoch,
            previous_producer_id: stored.previous_producer_id,
            next_producer_id: stored.next_producer_id,
            timeout_ms: stored.timeout_ms,
            partitions: stored.partitions.iter().map(Partition::from).collect(),
            started: stored.started.map(|started| started.as_millis()),
            last_update: stored.last_update.as_millis(),
            client_version: stored.client_version,
        }
    }
}

impl<'a> TransactionLine<'a> {
    /// Decodes a record. Also returns what is wrong with it, if it cannot be decoded.
    pub fn decode(record: &RecordRef<'a>) -> (TransactionLine<'a>, Option<CorruptionKind>) {
        let decoded = TransactionRecord::decode(record.key, record.value);
        let (content, malformed) = match decoded {
            Ok(Some(TransactionRecord { transactional_id, metadata })) => {
                let transaction = metadata.map(Transaction::from);
                (Content::Decoded { transactional_id, transaction }, None)
            }
            Ok(None) => (Content::Unknown {}, None),
            Err(reason) => (Content::Malformed { problem: reason.to_string() }, Some(reason)),
        };
        (TransactionLine { record: Shown::from(record), content }, malformed)
    }
}
