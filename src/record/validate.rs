//! Validating the batches of producers.
//!
//! The rules are stricter than those for stored batches: compaction leaves gaps that no producer
//! may leave, and only the log writes control batches.

use super::batch::BatchRef;
use super::decode::DecodeBuffer;
use super::header::BatchHeader;
use super::record_ref::RecordRef;
use super::records::Records;
use crate::error::{Error, InvalidBatch, InvalidRecord, Unsupported};
use crate::types::{Timestamp, TimestampType};

/// The rules of a log for the batches appended to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendRules {
    /// The type of timestamps that the log stores. With `LogAppendTime`, the timestamps of the
    /// records do not matter.
    pub timestamp_type: TimestampType,
    /// The current time of the log's clock.
    pub now: Timestamp,
    /// The maximum time that a timestamp may lie before `now`, in milliseconds. From `i64::MAX`
    /// on, there is no limit. Kafka: `message.timestamp.before.max.ms`.
    pub before_max_millis: u64,
    /// The maximum time that a timestamp may lie after `now`, in milliseconds. From `i64::MAX` on,
    /// there is no limit. Kafka: `message.timestamp.after.max.ms`.
    pub after_max_millis: u64,
    /// Whether every record needs a key, as in a compacted log.
    pub keys_required: bool,
}

impl AppendRules {
    /// Returns the earliest and the latest valid timestamp.
    pub(super) fn range(&self) -> (Timestamp, Timestamp) {
        let now = self.now.as_millis();
        let before = i64::try_from(self.before_max_millis).unwrap_or(i64::MAX);
        let earliest = now.saturating_sub(before).max(0);
        let latest = match i64::try_from(self.after_max_millis) {
            Ok(after) if after < i64::MAX => now.saturating_add(after),
            _ => i64::MAX,
        };
        (Timestamp::from_millis(earliest), Timestamp::from_millis(latest))
    }

    pub(crate) fn check_key(&self, index: usize, key: Option<&[u8]>) -> Result<(), Error> {
        if self.keys_required && key.is_none() {
            let reason = InvalidRecord::MissingKey;
            return Err(Error::InvalidRecord { log: None, index, reason });
        }
        Ok(())
    }

    pub(crate) fn check_time(&self, index: usize, timestamp: Timestamp) -> Result<(), Error> {
        let (earliest, latest) = self.range();
        if timestamp.is_none() || (earliest <= timestamp && timestamp <= latest) {
            return Ok(());
        }
        let reason = InvalidRecord::Timestamp { timestamp, earliest, latest };
        Err(Error::InvalidRecord { log: None, index, reason })
    }
}

/// The result of the validation of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSummary {
    /// The largest timestamp of the records; [`Timestamp::NONE`] if they have none.
    pub max_timestamp: Timestamp,
    /// Whether the records were validated. They were not if this build cannot decode them.
    pub records_checked: bool,
}

/// Validates a batch that a producer appends to a log with these rules.
///
/// - The checksum must match. The batch must not be a control batch or have a delete horizon.
/// - It must have records, one for each offset that it covers.
/// - A batch of an idempotent producer needs a sequence, and one of a transaction needs a
///   producer.
/// - The timestamps must be the producer's, each [`Timestamp::NONE`] or within range.
/// - If keys are required, each record must have one.
///
/// The largest timestamp in the header may be wrong, because some clients leave it out. A log
/// stores that of the [summary](BatchSummary::max_timestamp), as Kafka does: see
/// [`stamp_max_timestamp`](super::stamp_max_timestamp).
///
/// A batch whose codec this build lacks, or that exceeds the limit of `scratch`, is validated by
/// its header alone, because a log can store and serve it without decoding it. A log that requires
/// keys rejects it, because it could not be compacted.
///
/// # Errors
///
/// - [`Error::InvalidBatch`] with `Checksum`, with `RuleViolation` for the first broken rule, and
///   with any other variant of [`InvalidBatch`] if the records cannot be decoded.
/// - [`Error::InvalidRecord`] with `Timestamp` for the first record out of range, with
///   `MissingKey` for the first record without a key.
/// - [`Error::Unsupported`] if keys are required and the codec's cargo feature is off.
pub fn validate_for_append(
    batch: BatchRef<'_>,
    rules: &AppendRules,
    scratch: &mut DecodeBuffer,
) -> Result<BatchSummary, Error> {
    batch.verify_checksum()?;
    let header = batch.header();
    check_header(header)?;
    let problem = match batch.records(scratch) {
        Ok(records) => return check_records(records, rules),
        Err(InvalidBatch::CodecUnavailable { codec }) => {
            Error::Unsupported(Unsupported::Codec(codec))
        }
        Err(problem @ InvalidBatch::DecompressedTooLarge { .. }) => Error::InvalidBatch(problem),
        Err(problem) => return Err(problem.into()),
    };
    if rules.keys_required {
        return Err(problem);
    }
    if rules.timestamp_type == TimestampType::CreateTime {
        rules.check_time(0, header.base_timestamp)?;
        rules.check_time(0, header.max_timestamp)?;
    }
    Ok(BatchSummary { max_timestamp: header.max_timestamp, records_checked: false })
}

/// Validates the header alone, for a batch whose records are known to be valid.
pub(crate) fn check_header(header: &BatchHeader) -> Result<(), Error> {
    let count = u64::try_from(header.record_count).unwrap_or(0);
    let problem = if header.is_control() {
        "only the log writes control batches"
    } else if header.delete_horizon().is_some() {
        "only compaction sets a delete horizon"
    } else if header.timestamp_type() == TimestampType::LogAppendTime {
        "only the log sets an append time"
    } else if count == 0 {
        "a batch for an append needs a record"
    } else if count != header.offset_count() {
        "a batch for an append needs a record for each of its offsets"
    } else if header.is_transactional() && !header.has_producer() {
        "a transactional batch needs a producer id"
    } else if header.has_producer() && header.producer_epoch < 0 {
        "a batch of a producer needs its epoch"
    } else if header.has_producer() && header.base_sequence < 0 {
        "a batch of a producer needs a sequence"
    } else {
        return Ok(());
    };
    Err(rule(problem))
}

fn check_records(records: Records<'_>, rules: &AppendRules) -> Result<BatchSummary, Error> {
    let check_times = rules.timestamp_type == TimestampType::CreateTime;
    let mut max_timestamp = Timestamp::NONE;
    // The offsets need no check. `check_header` has found one record for each offset, and decoding
    // checks that offsets rise, so none is missing.
    for (index, record) in records.enumerate() {
        let RecordRef { timestamp, key, .. } = record?;
        rules.check_key(index, key)?;
        if check_times {
            rules.check_time(index, timestamp)?;
        }
        max_timestamp = max_timestamp.max(timestamp);
    }
    Ok(BatchSummary { max_timestamp, records_checked: true })
}

#[cold]
fn rule(what: &'static str) -> Error {
    Error::InvalidBatch(InvalidBatch::RuleViolation(what))
}
