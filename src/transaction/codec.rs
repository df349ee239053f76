//! Keys and values of `__transaction_state`, as bytes.
//!
//! Both begin with a version of two bytes.
//!
//! ```text
//! key 0      transactional id
//!
//! value 0    producer id 8 | producer epoch 2 | timeout 4 | state 1 | partitions? | last update 8 | started 8
//!       1    the same, flexible, with these tagged fields, each unless it has its default:
//!            0  previous producer id 8      -1
//!            1  next producer id 8          -1
//!            2  version of the client 2     0
//!
//! partitions   an array, null in the state Empty, of: topic | array of partition 4
//! ```
//!
//! An ongoing transaction of `txn-1` in the partitions 0 and 3 of `orders`:
//!
//! ```text
//! 0000 0005 74786e2d31
//! 0001 0000000000000fa0 0002 0000ea60 01 02 07 6f7264657273 03 00000000 00000003 00
//!      0000018bcfe56800 0000018bcfe567fb 00
//! ```
//!
//! As in `__consumer_offsets`, bytes after the last field make a message malformed, because no
//! program writes any.

use crate::error::CorruptionKind;
use crate::transaction::record::{TransactionMetadata, TransactionRecord, TransactionState};
use crate::types::{NO_PRODUCER_ID, Timestamp, TopicPartition};
use crate::wire::{FieldReader, FieldTooLong, FieldWriter, MalformedField};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The version of a key.
const KEY: i16 = 0;
/// The last version of a value, and the only flexible one.
const FLEXIBLE: i16 = 1;
/// The least bytes of a topic with its partitions: version 1 with no name, no partitions, no tags.
const LEAST_TOPIC: usize = 3;
/// The bytes of a partition's number.
const PARTITION: usize = 4;

impl TransactionRecord {
    /// Decodes the key and the value of a record.
    ///
    /// Returns `None` if the key is of a kind that a later version of Kafka may have added; ignore
    /// such a record. Tagged fields that this crate does not know are ignored, too.
    ///
    /// # Errors
    ///
    /// [`CorruptionKind::Malformed`] if the key or the value is not one that Kafka writes, or the
    /// value is of a version above 1.
    pub fn decode(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<TransactionRecord>, CorruptionKind> {
        decode(key, value).map_err(|malformed| CorruptionKind::Malformed(malformed.reason))
    }
}

fn decode(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<Option<TransactionRecord>, MalformedField> {
    let Some(key) = key else {
        return Err(MalformedField { position: 0, reason: "it has no key" });
    };
    let mut input = FieldReader::new(key);
    if input.i16()? != KEY {
        return Ok(None);
    }
    let transactional_id = input.string()?.to_owned();
    input.end()?;
    let metadata = value.map(TransactionMetadata::decode).transpose()?;
    Ok(Some(TransactionRecord { transactional_id, metadata }))
}

impl TransactionMetadata {
    fn decode(bytes: &[u8]) -> Result<TransactionMetadata, MalformedField> {
        let mut input = FieldReader::new(bytes);
        let unknown = input.malformed("its version is neither 0 nor 1");
        let version = input.i16()?;
        if !(0..=FLEXIBLE).contains(&version) {
            return Err(unknown);
        }
        input.set_flexible(version == FLEXIBLE);
        let producer_id = input.i64()?;
        let producer_epoch = input.i16()?;
        let timeout_ms = input.i32()?;
        let unknown = input.malformed("its state is not one of 0 to 7");
        let state = TransactionState::from_id(input.i8()?).ok_or(unknown)?;
        let mut partitions = BTreeSet::new();
        input.nullable_array(LEAST_TOPIC, |input| topic(input, &mut partitions))?;
        if state == TransactionState::Empty {
            // Kafka ignores them, too.
            partitions.clear();
        }
        let last_update = Timestamp::from_millis(input.i64()?);
        let started = Timestamp::from_millis(input.i64()?);
        let (mut previous, mut next, mut client_version) = (NO_PRODUCER_ID, NO_PRODUCER_ID, 0);
        input.end_struct_with(|tag, field| {
            match tag {
                0 => previous = field.i64()?,
                1 => next = field.i64()?,
                2 => client_version = field.i16()?,
                _ => return Ok(()),
            }
            field.end()
        })?;
        input.end()?;
        Ok(TransactionMetadata {
            producer_id,
            producer_epoch,
            previous_producer_id: Some(previous).filter(|id| *id != NO_PRODUCER_ID),
            next_producer_id: Some(next).filter(|id| *id != NO_PRODUCER_ID),
            timeout_ms,
            state,
            partitions,
            last_update,
            started: Some(started).filter(|time| !time.is_none()),
            client_version,
        })
    }
}

/// A key and a value as stored.
pub(super) type Stored = (Vec<u8>, Option<Vec<u8>>);

impl TransactionRecord {
    /// Encodes the record.
    ///
    /// # Errors
    ///
    /// A text is too long to be stored.
    pub(super) fn encode(&self) -> Result<Stored, FieldTooLong> {
        let mut key = FieldWriter::default();
        key.i16(KEY);
        key.string(&self.transactional_id)?;
        let value = self.metadata.as_ref().map(|stored| stored.encode_as(FLEXIBLE)).transpose()?;
        Ok((key.finish(), value))
    }
}

impl TransactionMetadata {
    /// Encodes the value in this version, without the fields that the version lacks.
    pub(super) fn encode_as(&self, version: i16) -> Result<Vec<u8>, FieldTooLong> {
        let mut output = FieldWriter::default();
        output.i16(version);
        output.set_flexible(version >= FLEXIBLE);
        output.i64(self.producer_id);
        output.i16(self.producer_epoch);
        output.i32(self.timeout_ms);
        output.i8(self.state.id());
        if self.state == TransactionState::Empty {
            output.null_array();
        } else {
            self.encode_partitions(&mut output)?;
        }
        output.i64(self.last_update.as_millis());
        output.i64(self.started.unwrap_or(Timestamp::NONE).as_millis());
        let previous = self.previous_producer_id.map(i64::to_be_bytes);
        let next = self.next_producer_id.map(i64::to_be_bytes);
        let client_version = self.client_version.to_be_bytes();
        let fields = [
            previous.as_ref().map(|id| (0, id.as_slice())),
            next.as_ref().map(|id| (1, id.as_slice())),
            (self.client_version != 0).then_some((2, client_version.as_slice())),
        ];
        output.end_struct_with(&fields.into_iter().flatten().collect::<Vec<_>>());
        Ok(output.finish())
    }

    fn encode_partitions(&self, output: &mut FieldWriter) -> Result<(), FieldTooLong> {
        let mut topics = BTreeMap::<&str, Vec<u32>>::new();
        for at in &self.partitions {
            topics.entry(&at.topic).or_default().push(at.partition);
        }
        output.elements(topics.len())?;
        for (topic, partitions) in topics {
            output.string(topic)?;
            output.elements(partitions.len())?;
            // No partition has a number above `i32::MAX`.
            let numbers = partitions.into_iter().map(|n| i32::try_from(n).unwrap_or(i32::MAX));
            numbers.for_each(|number| output.i32(number));
            output.end_struct();
        }
        Ok(())
    }
}

/// Reads a topic and its partitions.
fn topic(
    input: &mut FieldReader<'_>,
    partitions: &mut BTreeSet<TopicPartition>,
) -> Result<(), MalformedField> {
    let topic: Arc<str> = input.string()?.into();
    let numbers = input.array(PARTITION, |input| {
        let negative = input.malformed("the number of a partition is below 0");
        u32::try_from(input.i32()?).map_err(|_| negative)
    })?;
    partitions.extend(numbers.into_iter().map(|number| (Arc::clone(&topic), number).into()));
    input.end_struct()
}
