//! A batch of a producer, and the records that fit into it.

use crate::client::producer::callbacks::Pending;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::outcome::{Outcome, Part};
use crate::client::producer::record::RecordSlices;
use crate::error::{ProduceError, Result};
use crate::log::Log;
use crate::record::{AppendRules, BatchBuilder};
use crate::types::{Timestamp, TimestampType};
use std::sync::Arc;
use std::time::Duration;

/// The largest overhead of a record beside its key, value and headers.
pub(super) const RECORD_OVERHEAD_BYTES: u64 = 36;
/// The overhead of a record in a batch of its own.
const OVERHEAD_BYTES: u64 = 61 + RECORD_OVERHEAD_BYTES;
/// The overhead of a header of a record.
const HEADER_OVERHEAD_BYTES: u64 = 10;

/// The records of one append.
pub(super) struct Batch {
    pub(super) builder: BatchBuilder,
    pub(super) outcome: Arc<Outcome>,
    pub(super) log: Log,
    /// By the monotonic clock, for the linger time and the delivery timeout.
    pub(super) created: Duration,
    pub(super) created_at: Timestamp,
    /// The bytes of the buffer that it takes.
    pub(super) reserved: u64,
    /// The number of its transaction; 0 without one.
    pub(super) transaction: u64,
    /// Set if it is a part of a batch that was split.
    pub(super) part: Option<Part>,
    /// The size at which it is full.
    pub(super) limit: usize,
    /// The records whose results an interceptor or a callback is to get.
    pub(super) pending: Vec<Pending>,
}

/// Returns the largest size of a record in a batch of its own.
#[inline]
pub(super) fn size_of(record: &RecordSlices<'_>) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64);
    let size =
        OVERHEAD_BYTES.saturating_add(length(record.key)).saturating_add(length(record.value));
    record.headers.iter().fold(size, |size, header| {
        size.saturating_add(HEADER_OVERHEAD_BYTES)
            .saturating_add(header.name.as_bytes().len() as u64)
            .saturating_add(length(header.value.as_deref()))
    })
}

impl Batch {
    pub(super) fn fits(&self, bytes: u64) -> bool {
        // The builder already has the header of the batch.
        let bytes = bytes.saturating_sub(61) as usize;
        self.builder.size_bytes().saturating_add(bytes) <= self.limit
    }

    /// Returns the name of its topic.
    pub(super) fn topic(&self) -> Arc<str> {
        Arc::clone(self.outcome.topic())
    }

    /// Returns whether the delivery timeout is over.
    pub(super) fn is_expired(&self, context: &ProducerContext, now: Duration) -> bool {
        now.saturating_sub(self.created) >= context.config.delivery_timeout
    }

    pub(super) fn is_full(&self) -> bool {
        self.builder.size_bytes() >= self.limit
    }
}

/// Returns the largest size of a batch before compression that the log accepts with any codec.
pub(super) fn max_batch_bytes(log: &Log, context: &ProducerContext) -> usize {
    let live = &log.dynamic_config();
    let largest = live.max_message_bytes().min(live.segment_bytes());
    // Data that does not compress grows a little.
    let largest = largest.saturating_sub(largest / 64).saturating_sub(128);
    context.config.batch_bytes.min(usize::try_from(largest).unwrap_or(usize::MAX))
}

/// Validates a record as its log does: a rejected record must not fail a batch with others.
#[inline]
pub(super) fn check_record(
    record: &RecordSlices<'_>,
    size: u64,
    log: &Log,
    context: &ProducerContext,
) -> Result<()> {
    let rules = &log.dynamic_config().rules(Timestamp::NONE);
    rules.check_key(0, record.key).map_err(|error| log.named(error))?;
    if let Some(timestamp) = record.timestamp
        && rules.timestamp_type == TimestampType::CreateTime
    {
        check_time(rules, timestamp, context).map_err(|error| log.named(error))?;
    }
    let limit = context.config.max_request_bytes;
    if size > limit {
        let option = "max_request_bytes";
        return Err(ProduceError::RecordTooLarge { bytes: size, limit, option }.into());
    }
    let limit = context.config.buffer_bytes;
    if size > limit {
        let option = "buffer_bytes";
        return Err(ProduceError::RecordTooLarge { bytes: size, limit, option }.into());
    }
    Ok(())
}

fn check_time(rules: &AppendRules, timestamp: Timestamp, context: &ProducerContext) -> Result<()> {
    let rules = AppendRules { now: context.clock().now(), ..*rules };
    rules.check_time(0, timestamp)
}
