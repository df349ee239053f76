//! The result of a batch, which all its records share.

use crate::client::producer::record::RecordMetadata;
use crate::error::{ProduceError, Result};
use crate::log::Appended;
use crate::notify::Notify;
use crate::sync::Mutex;
use crate::types::Timestamp;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Writes a batch before its linger time is over, because a thread or task waits for it.
pub(super) trait Expedite: Send + Sync {
    /// Writes the batch on this thread, unless another thread is writing it, and waits for its
    /// result, for at most `timeout`. Returns false, without waiting, if the producer is gone.
    /// Without a limit, a thread that writes itself does not wait.
    fn expedite(self: Arc<Self>, outcome: &Outcome, timeout: Option<Duration>) -> bool;

    /// Lets the producer's thread write the batch. Never blocks.
    fn expedite_in_background(self: Arc<Self>, outcome: &Outcome) -> Result<()>;
}

/// The result of a batch, once it is known. All records of the batch share it.
pub(super) struct Outcome {
    /// The queue that the batch is in. It is gone only after the result is known.
    queue: Weak<dyn Expedite>,
    topic: Arc<str>,
    partition: u32,
    /// Set with [`Acks::None`](crate::Acks::None): no handle waits for the result.
    acks_none: bool,
    result: OnceLock<BatchResult>,
    /// The results so far of a batch that was split. Leaf lock.
    parts: Mutex<Vec<(Part, Result<Appended, ProduceError>)>>,
    /// Notified once the result is known.
    done: Notify,
}

/// The place of a part of a split batch in the batch that `send` filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The index of its first record.
    pub(super) first: u32,
    /// The number of records of the whole batch.
    pub(super) total: u32,
}

/// The result of the records of a batch.
#[derive(Debug)]
pub(super) enum BatchResult {
    Whole(Result<Appended, ProduceError>),
    /// In the order of the records.
    Parts(Vec<(Part, Result<Appended, ProduceError>)>),
}

impl BatchResult {
    /// Returns the result of the batch that a record was written with, and its index there.
    fn for_record(&self, index: u32) -> Option<(&Result<Appended, ProduceError>, u32)> {
        match self {
            BatchResult::Whole(result) => Some((result, index)),
            BatchResult::Parts(parts) => {
                let (part, result) = parts.iter().rev().find(|(part, _)| part.first <= index)?;
                Some((result, index.saturating_sub(part.first)))
            }
        }
    }

    fn error(&self) -> Option<&ProduceError> {
        match self {
            BatchResult::Whole(result) => result.as_ref().err(),
            BatchResult::Parts(parts) => parts.iter().find_map(|(_, result)| result.as_ref().err()),
        }
    }
}

impl Outcome {
    pub(super) fn new(
        queue: Weak<dyn Expedite>,
        topic: &Arc<str>,
        partition: u32,
        acks_none: bool,
    ) -> Outcome {
        Outcome {
            queue,
            topic: Arc::clone(topic),
            partition,
            acks_none,
            result: OnceLock::new(),
            parts: Mutex::default(),
            done: Notify::default(),
        }
    }

    pub(super) fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    pub(super) fn partition(&self) -> u32 {
        self.partition
    }

    pub(super) fn result(&self) -> Option<&BatchResult> {
        self.result.get()
    }

    /// Returns the queue that the batch is in, to have it written.
    pub(super) fn queue(&self) -> Option<Arc<dyn Expedite>> {
        self.queue.upgrade()
    }

    pub(super) fn is_done(&self) -> bool {
        self.result.get().is_some()
    }

    /// Returns whether the records count as sent, or have failed.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.acks_none || self.is_done()
    }

    pub(super) fn done(&self) -> &Notify {
        &self.done
    }

    pub(super) fn error(&self) -> Option<&ProduceError> {
        self.result.get()?.error()
    }

    /// Sets the result, unless there is one.
    pub(super) fn complete(&self, result: Result<Appended, ProduceError>) {
        self.set_result(BatchResult::Whole(result));
    }

    /// Stores the result of a part with `records` records. The last part completes the batch.
    pub(super) fn complete_part(
        &self,
        part: Part,
        records: u32,
        result: Result<Appended, ProduceError>,
    ) {
        let mut parts = self.parts.lock();
        parts.push((part, result));
        // Parts are completed in order.
        if part.first.saturating_add(records) >= part.total {
            let all = std::mem::take(&mut *parts);
            drop(parts);
            self.set_result(BatchResult::Parts(all));
        }
    }

    fn set_result(&self, result: BatchResult) {
        if self.result.set(result).is_ok() {
            self.done.notify();
        }
    }

    /// Returns the metadata of a record without a known offset.
    pub(super) fn metadata_without_offset(&self, timestamp: Timestamp) -> RecordMetadata {
        let (topic, partition) = (Arc::clone(&self.topic), self.partition);
        RecordMetadata { topic, partition, offset: None, timestamp }
    }

    /// Returns the metadata of a record of an appended batch.
    pub(super) fn metadata(
        &self,
        appended: &Appended,
        index: u32,
        timestamp: Timestamp,
    ) -> RecordMetadata {
        let timestamp =
            if appended.append_time.is_none() { timestamp } else { appended.append_time };
        let offset = Some(appended.first.saturating_add(u64::from(index)));
        RecordMetadata { offset, ..self.metadata_without_offset(timestamp) }
    }

    /// Returns the result of a record; `None` if it is not known yet.
    pub(super) fn record_result(
        &self,
        index: u32,
        timestamp: Timestamp,
    ) -> Option<Result<RecordMetadata>> {
        match self.result.get().and_then(|result| result.for_record(index)) {
            Some((Ok(appended), index)) => Some(Ok(self.metadata(appended, index, timestamp))),
            Some((Err(error), _)) if !self.acks_none => Some(Err(error.clone().into())),
            _ if self.acks_none => Some(Ok(self.metadata_without_offset(timestamp))),
            _ => None,
        }
    }
}

/// The value that a send returns.
pub(super) trait SendResult {
    /// A claim on the result of a batch.
    type Claim;
    fn claim(outcome: &Arc<Outcome>) -> Self::Claim;
    fn new(claim: Self::Claim, index: u32, timestamp: Timestamp) -> Self;
}

/// For sends without a handle: a claim would cost two atomic operations for each record.
impl SendResult for () {
    type Claim = ();

    #[inline]
    fn claim(_: &Arc<Outcome>) {}

    #[inline]
    fn new((): (), _: u32, _: Timestamp) {}
}
