//! Control records: the markers of transactions and of KRaft in a log.
//!
//! They are stored in batches with the control bit and take one offset each, but applications
//! never see them. A log acts on two of them, which end a transaction.

use super::batch::BatchRef;
use super::builder::BatchBuilder;
use super::decode::DecodeBuffer;
use super::input::take;
use crate::error::{Error, InvalidBatch};
use crate::types::{ProducerEpoch, ProducerId, Timestamp};

/// The type of a control record, from its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ControlType {
    /// The producer's transaction is aborted.
    Abort,
    /// The producer's transaction is committed.
    Commit,
    /// KRaft: a leader was elected.
    LeaderChange,
    /// KRaft: a snapshot begins.
    SnapshotHeader,
    /// KRaft: a snapshot ends.
    SnapshotFooter,
    /// KRaft: the version of the protocol.
    KraftVersion,
    /// KRaft: the set of voters.
    KraftVoters,
    /// A type that this version does not know, and ignores.
    Unknown(i16),
}

impl ControlType {
    /// Returns the type with this id.
    #[must_use]
    pub const fn from_id(id: i16) -> ControlType {
        match id {
            0 => ControlType::Abort,
            1 => ControlType::Commit,
            2 => ControlType::LeaderChange,
            3 => ControlType::SnapshotHeader,
            4 => ControlType::SnapshotFooter,
            5 => ControlType::KraftVersion,
            6 => ControlType::KraftVoters,
            other => ControlType::Unknown(other),
        }
    }

    /// Returns the stored id.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::LeaderChange => 2,
            ControlType::SnapshotHeader => 3,
            ControlType::SnapshotFooter => 4,
            ControlType::KraftVersion => 5,
            ControlType::KraftVoters => 6,
            ControlType::Unknown(id) => id,
        }
    }
}

/// A control record, decoded as far as a log needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRecord {
    /// Its type.
    pub control_type: ControlType,
    /// The marker, if the record ends a transaction.
    pub marker: Option<EndTxnMarker>,
}

impl ControlRecord {
    /// Decodes key and value of a record from a control batch.
    ///
    /// Values of types other than `Abort` and `Commit` are not decoded. Later versions are decoded
    /// like the version that this crate knows.
    ///
    /// # Errors
    ///
    /// `RuleViolation` if the key is not that of a control record, or the value is not that of an
    /// end-transaction marker.
    pub fn parse(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<ControlRecord, InvalidBatch> {
        let id = versioned(
            key,
            "a control record's key is shorter than 4 bytes",
            "a control record's key has a negative version",
        )?;
        let control_type = ControlType::from_id(i16::from_be_bytes(id));
        let marker = match control_type {
            ControlType::Abort => Some(EndTxnMarker::parse(false, value)?),
            ControlType::Commit => Some(EndTxnMarker::parse(true, value)?),
            _ => None,
        };
        Ok(ControlRecord { control_type, marker })
    }
}

/// Returns the field after a version, for any version that is not negative.
fn versioned<const N: usize>(
    bytes: Option<&[u8]>,
    short: &'static str,
    negative: &'static str,
) -> Result<[u8; N], InvalidBatch> {
    let mut rest = bytes.unwrap_or_default();
    match take(&mut rest).map(i16::from_be_bytes).zip(take(&mut rest)) {
        Some((0.., field)) => Ok(field),
        Some(_) => Err(InvalidBatch::RuleViolation(negative)),
        None => Err(InvalidBatch::RuleViolation(short)),
    }
}

/// The control record that ends a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndTxnMarker {
    /// Whether the transaction is committed or aborted.
    pub committed: bool,
    /// The generation of the transaction coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The size in bytes of a batch that holds a marker.
    pub const BATCH_SIZE: usize = 78;

    fn parse(committed: bool, value: Option<&[u8]>) -> Result<EndTxnMarker, InvalidBatch> {
        let epoch = versioned(
            value,
            "an end-transaction marker is shorter than 6 bytes",
            "an end-transaction marker has a negative version",
        )?;
        Ok(EndTxnMarker { committed, coordinator_epoch: i32::from_be_bytes(epoch) })
    }

    /// Returns the type of its control record.
    #[must_use]
    pub const fn control_type(self) -> ControlType {
        if self.committed { ControlType::Commit } else { ControlType::Abort }
    }

    /// Returns the batch that ends the producer's transaction at this time.
    ///
    /// Its base offset is 0 and its leader epoch -1: stamp them with
    /// [`stamp_base_offset`](super::stamp_base_offset) and
    /// [`stamp_leader_epoch`](super::stamp_leader_epoch).
    ///
    /// # Errors
    ///
    /// None: the result is that of the builder.
    pub fn to_batch(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp: Timestamp,
    ) -> Result<Vec<u8>, Error> {
        let [k0, k1] = self.control_type().id().to_be_bytes();
        let [e0, e1, e2, e3] = self.coordinator_epoch.to_be_bytes();
        let mut builder = BatchBuilder::with_capacity(EndTxnMarker::BATCH_SIZE);
        builder.control(true).transactional(true).producer(producer_id, producer_epoch, -1);
        builder.push(timestamp, Some(&[0, 0, k0, k1]), Some(&[0, 0, e0, e1, e2, e3]))?;
        builder.build_bytes()
    }
}

/// Returns the marker in a control batch; `None` for control records of other kinds, and for an
/// emptied batch.
pub(crate) fn marker_of(
    batch: &BatchRef<'_>,
    decode: &mut DecodeBuffer,
) -> Result<Option<EndTxnMarker>, InvalidBatch> {
    let Some(record) = batch.records(decode)?.next() else { return Ok(None) };
    let record = record?;
    Ok(ControlRecord::parse(record.key, record.value)?.marker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_rejects_malformed_and_reads_newer() {
        let parse = |key: &[u8], value: &[u8]| ControlRecord::parse(Some(key), Some(value));
        assert!(ControlRecord::parse(None, None).is_err());
        assert!(parse(&[0, 0, 0], &[]).is_err());
        assert!(parse(&[0xff, 0xff, 0, 1], &[0; 6]).is_err());
        assert!(parse(&[0, 0, 0, 1], &[0; 5]).is_err());
        assert!(parse(&[0, 0, 0, 0], &[0x80, 0, 0, 0, 0, 0]).is_err());
        let newer = parse(&[0, 9, 0, 0, 1], &[0, 9, 0, 0, 0, 7, 1, 2]).unwrap();
        let marker = EndTxnMarker { committed: false, coordinator_epoch: 7 };
        assert_eq!(newer, ControlRecord { control_type: ControlType::Abort, marker: Some(marker) });
        let unknown = parse(&[0, 0, 0, 99], &[]).unwrap();
        assert_eq!(unknown.control_type, ControlType::Unknown(99));
        for id in -2..9 {
            assert_eq!(ControlType::from_id(id).id(), id);
        }
    }
}
