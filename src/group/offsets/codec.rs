//! Keys and values of the offsets topic, as bytes.
//!
//! Both begin with a version of two bytes. The version of a key tells the kind of record, and the
//! version of a value its layout.
//!
//! ```text
//! key 0, 1   group | topic | partition 4                                         a committed offset; 1 is written
//! key 2      group                                                               a group
//!
//! committed offset   0, 2   offset 8 | metadata | committed at 8
//!                    1      offset 8 | metadata | committed at 8 | expires at 8    written if it has its own expiry time
//!                    3      offset 8 | leader epoch 4 | metadata | committed at 8  written
//!                    4      as 3, flexible
//! group              0      protocol type | generation 4 | protocol? | leader? | members
//!                    1      a member has a rebalance timeout
//!                    2      time 8 of the last change of state, before the members
//!                    3      a member has an instance id                            written
//!                    4      as 3, flexible
//! member             id | instance id? | client id | client host | rebalance timeout 4 | session timeout 4 | subscription | assignment
//! ```
//!
//! The offset 42 that group `g1` committed for partition 3 of `orders`, with leader epoch 7 and
//! the metadata `m`:
//!
//! ```text
//! 0001 0002 6731 0006 6f7264657273 00000003
//! 0003 000000000000002a 00000007 0001 6d 0000018bcfe56800
//! ```
//!
//! Kafka skips bytes after the last field of a message. Here they make the message malformed,
//! because no program writes any.

use super::{CommittedOffset, GroupMetadata, MemberMetadata, OffsetKey, OffsetsRecord};
use crate::types::Timestamp;
use crate::wire::{FieldReader, FieldTooLong, FieldWriter, MalformedField};
use bytes::Bytes;

const OFFSET_KEYS: std::ops::RangeInclusive<i16> = 0..=1;
const GROUP_KEY: i16 = 2;
/// The first flexible version of either value, which is also the last version.
const FLEXIBLE: i16 = 4;
/// The version of a committed offset with its own expiry time.
const WITH_EXPIRY: i16 = 1;
/// The version of both values that is written otherwise.
const DEFAULT: i16 = 3;
/// The least bytes of a member: version 4 with six empty fields, two timeouts and no tags.
const LEAST_MEMBER: usize = 15;

/// A key and a value as stored.
pub(crate) type Stored = (Vec<u8>, Option<Vec<u8>>);

impl OffsetsRecord {
    /// Decodes the key and the value of a record.
    ///
    /// # Errors
    ///
    /// The key or the value is not one that Kafka writes.
    pub(crate) fn decode(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<OffsetsRecord, MalformedField> {
        let Some(key) = key else {
            return Err(MalformedField { position: 0, reason: "it has no key" });
        };
        let mut input = FieldReader::new(key);
        let version = input.i16()?;
        if OFFSET_KEYS.contains(&version) {
            let group = input.string()?.to_owned();
            let topic = input.string()?.to_owned();
            let key = OffsetKey { group, topic, partition: input.i32()? };
            input.end()?;
            let value = value.map(CommittedOffset::decode).transpose()?;
            return Ok(OffsetsRecord::Offset { key, value });
        }
        if version != GROUP_KEY {
            return Ok(OffsetsRecord::Unknown { key_version: version });
        }
        let group = input.string()?.to_owned();
        input.end()?;
        let value = value.map(GroupMetadata::decode).transpose()?;
        Ok(OffsetsRecord::Group { group, value })
    }

    /// Encodes the record. Returns `None` if its kind is unknown.
    ///
    /// # Errors
    ///
    /// A text or a byte field is too long to be stored.
    pub(crate) fn encode(&self) -> Result<Option<Stored>, FieldTooLong> {
        Ok(match self {
            OffsetsRecord::Offset { key, value } => {
                let value = value.as_ref().map(CommittedOffset::encode).transpose()?;
                Some((key.encode()?, value))
            }
            OffsetsRecord::Group { group, value } => {
                let value = value.as_ref().map(GroupMetadata::encode).transpose()?;
                Some((group_key(group)?, value))
            }
            OffsetsRecord::Unknown { .. } => None,
        })
    }
}

impl OffsetKey {
    /// Encodes the key of its record.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FieldTooLong> {
        let mut output = FieldWriter::default();
        output.i16(*OFFSET_KEYS.end());
        output.string(&self.group)?;
        output.string(&self.topic)?;
        output.i32(self.partition);
        Ok(output.finish())
    }
}

/// Encodes the key of a group's record.
pub(crate) fn group_key(group: &str) -> Result<Vec<u8>, FieldTooLong> {
    let mut output = FieldWriter::default();
    output.i16(GROUP_KEY);
    output.string(group)?;
    Ok(output.finish())
}

/// Reads the version of a value, which tells how to read the rest.
fn version(input: &mut FieldReader<'_>) -> Result<i16, MalformedField> {
    let unknown = input.malformed("its version is not one of 0 to 4");
    let version = input.i16()?;
    if !(0..=FLEXIBLE).contains(&version) {
        return Err(unknown);
    }
    input.set_flexible(version == FLEXIBLE);
    Ok(version)
}

impl CommittedOffset {
    fn decode(bytes: &[u8]) -> Result<CommittedOffset, MalformedField> {
        let mut input = FieldReader::new(bytes);
        let version = version(&mut input)?;
        let offset = input.i64()?;
        let leader_epoch = if version >= 3 { input.i32()? } else { -1 };
        let metadata = input.string()?.to_owned();
        let commit_timestamp = Timestamp::from_millis(input.i64()?);
        let expire_timestamp = if version == WITH_EXPIRY { some_time(input.i64()?) } else { None };
        input.end_struct()?;
        input.end()?;
        Ok(CommittedOffset { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
    }

    fn encode(&self) -> Result<Vec<u8>, FieldTooLong> {
        self.encode_as(if self.expire_timestamp.is_some() { WITH_EXPIRY } else { DEFAULT })
    }

    /// Encodes the offset in this version, without the fields that the version lacks.
    pub(super) fn encode_as(&self, version: i16) -> Result<Vec<u8>, FieldTooLong> {
        let mut output = FieldWriter::default();
        output.i16(version);
        output.set_flexible(version >= FLEXIBLE);
        output.i64(self.offset);
        if version >= 3 {
            output.i32(self.leader_epoch);
        }
        output.string(&self.metadata)?;
        output.i64(self.commit_timestamp.as_millis());
        if version == WITH_EXPIRY {
            output.i64(self.expire_timestamp.unwrap_or(Timestamp::NONE).as_millis());
        }
        output.end_struct();
        Ok(output.finish())
    }
}

impl GroupMetadata {
    fn decode(bytes: &[u8]) -> Result<GroupMetadata, MalformedField> {
        let mut input = FieldReader::new(bytes);
        let version = version(&mut input)?;
        let protocol_type = input.string()?.to_owned();
        let generation = input.i32()?;
        let protocol = input.nullable_string()?.map(str::to_owned);
        let leader = input.nullable_string()?.map(str::to_owned);
        let state_since = if version >= 2 { some_time(input.i64()?) } else { None };
        let members = input.array(LEAST_MEMBER, |input| MemberMetadata::decode(input, version))?;
        input.end_struct()?;
        input.end()?;
        Ok(GroupMetadata { protocol_type, generation, protocol, leader, state_since, members })
    }

    fn encode(&self) -> Result<Vec<u8>, FieldTooLong> {
        self.encode_as(DEFAULT)
    }

    /// Encodes the group in this version, without the fields that the version lacks.
    pub(super) fn encode_as(&self, version: i16) -> Result<Vec<u8>, FieldTooLong> {
        let mut output = FieldWriter::default();
        output.i16(version);
        output.set_flexible(version >= FLEXIBLE);
        output.string(&self.protocol_type)?;
        output.i32(self.generation);
        output.nullable_string(self.protocol.as_deref())?;
        output.nullable_string(self.leader.as_deref())?;
        if version >= 2 {
            output.i64(self.state_since.unwrap_or(Timestamp::NONE).as_millis());
        }
        output.elements(self.members.len())?;
        for member in &self.members {
            member.encode(&mut output, version)?;
        }
        output.end_struct();
        Ok(output.finish())
    }
}

impl MemberMetadata {
    fn decode(input: &mut FieldReader<'_>, version: i16) -> Result<MemberMetadata, MalformedField> {
        let member_id = input.string()?.to_owned();
        let instance_id = if version >= 3 { input.nullable_string()? } else { None };
        let client_id = input.string()?.to_owned();
        let client_host = input.string()?.to_owned();
        let rebalance_timeout = if version >= 1 { input.i32()? } else { -1 };
        let session_timeout = input.i32()?;
        let subscription = Bytes::copy_from_slice(input.bytes()?);
        let assignment = Bytes::copy_from_slice(input.bytes()?);
        input.end_struct()?;
        Ok(MemberMetadata {
            member_id,
            instance_id: instance_id.map(str::to_owned),
            client_id,
            client_host,
            rebalance_timeout,
            session_timeout,
            subscription,
            assignment,
        })
    }

    fn encode(&self, output: &mut FieldWriter, version: i16) -> Result<(), FieldTooLong> {
        output.string(&self.member_id)?;
        if version >= 3 {
            output.nullable_string(self.instance_id.as_deref())?;
        }
        output.string(&self.client_id)?;
        output.string(&self.client_host)?;
        if version >= 1 {
            output.i32(self.rebalance_timeout);
        }
        output.i32(self.session_timeout);
        output.bytes(&self.subscription)?;
        output.bytes(&self.assignment)?;
        output.end_struct();
        Ok(())
    }
}

/// Returns a time, which is stored as -1 if there is none.
fn some_time(millis: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(millis)).filter(|time| !time.is_none())
}
