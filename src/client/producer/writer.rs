//! Writing batches to a log: numbers them, appends each, syncs if [`Acks`] asks for it, and sets
//! their results.
//!
//! ```text
//!  written                 done; its numbers are used
//!  retryable failure       back to the front, and retried after a pause, until its time is over
//!  too large, many records split, and its parts are tried
//!  partition reopened      tried on its new log
//!  other failure           failed with that error; the next batch is tried
//! ```

use crate::callback;
use crate::client::producer::accumulator::{PartitionQueue, QueueState, Retry};
use crate::client::producer::batch::{Batch, max_batch_bytes};
use crate::client::producer::config::Acks;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::sequence::SequenceState;
use crate::error::{CloseReason, Error, ProduceError, ProducerStateError, Result, TopicError};
use crate::event::Event;
use crate::log::Appended;
use crate::sync::atomic::Ordering;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The batches that one thread has taken to write.
pub(super) struct Work {
    pub(super) batches: VecDeque<Batch>,
    pub(super) sequence: SequenceState,
    pub(super) retry: Option<Retry>,
}

/// The reason why a write failed.
enum Failure {
    Retry(Retry),
    Final(ProduceError),
    /// The limit was lowered after the batch was created. Nothing was written.
    TooLarge(ProduceError),
}

impl Work {
    /// Takes the closed batches of a queue; `None` if there are none.
    pub(super) fn take(state: &mut QueueState) -> Option<Work> {
        if state.closed.is_empty() {
            return None;
        }
        let batches = std::mem::take(&mut state.closed);
        state.in_flight.extend(batches.iter().map(|batch| Arc::clone(&batch.outcome)));
        Some(Work { batches, sequence: state.sequence, retry: state.retry.clone() })
    }
}

/// Returns whether a log fails with this error before it checks whether it has the batch.
fn is_before_duplicate_check(error: &Error) -> bool {
    matches!(error, Error::BatchTooLarge { .. } | Error::Closed { .. })
}

/// Returns the error of a call that a panic of a listener has ended.
pub(super) fn listener_panicked(operation: &'static str, topic: &str) -> Error {
    let error = io::Error::other("a listener panicked meanwhile");
    Error::io(operation, Path::new(topic), error)
}

/// Writes batches of a queue. No lock is held.
pub(super) struct BatchWriter<'a> {
    pub(super) context: &'a ProducerContext,
    pub(super) queue: &'a PartitionQueue,
}

impl BatchWriter<'_> {
    /// Writes all batches, or leaves those that must wait for a retry.
    pub(super) fn write_all(&self, work: &mut Work) {
        let mut unflushed = Vec::new();
        while let Some(mut batch) = work.batches.pop_front() {
            match self.try_batch(&mut batch, work) {
                Ok(appended) if self.context.config.acks == Acks::Flushed => {
                    unflushed.push((batch, appended));
                }
                Ok(appended) => self.complete(batch, Ok(appended)),
                Err(Failure::Final(error)) => {
                    self.flush_written(&mut unflushed);
                    self.complete(batch, Err(error));
                }
                Err(Failure::TooLarge(error)) => {
                    let limit = max_batch_bytes(&batch.log, self.context);
                    let mut parts = batch.split(limit, || self.context.spare_builder());
                    if parts.len() > 1 {
                        parts.into_iter().rev().for_each(|part| work.batches.push_front(part));
                    } else if let Some(batch) = parts.pop() {
                        self.flush_written(&mut unflushed);
                        self.complete(batch, Err(error));
                    }
                }
                Err(Failure::Retry(retry)) => {
                    work.batches.push_front(batch);
                    work.retry = Some(retry);
                    break;
                }
            }
        }
        self.flush_written(&mut unflushed);
    }

    fn try_batch(&self, batch: &mut Batch, work: &mut Work) -> Result<Appended, Failure> {
        let timed_out = |cause: Arc<Error>| {
            let (topic, partition) = (Arc::clone(&self.queue.topic), self.queue.partition);
            let timeout = self.context.config.delivery_timeout;
            Failure::Final(ProduceError::DeliveryTimeout { topic, partition, timeout, cause })
        };
        if let Some(transactions) = &self.context.transactions
            && transactions.writer(batch.transaction).is_none()
        {
            return Err(Failure::Final(ProduceError::TransactionAborted));
        }
        if let Some(retry) = &work.retry {
            if batch.is_expired(self.context, self.context.clock().monotonic()) {
                work.sequence.mark_uncertain_if_failed(&batch.log);
                return Err(timed_out(Arc::clone(&retry.cause)));
            }
            self.context.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
        let appended = match self.append(batch, &mut work.sequence) {
            Err(Error::Closed { .. }) => self.append_to_current_log(batch, &mut work.sequence),
            appended => appended,
        };
        let error = match appended {
            Ok(appended) => {
                work.retry = None;
                return Ok(appended);
            }
            Err(Error::Produce(error)) => return Err(Failure::Final(*error)),
            Err(error) => error,
        };
        let is_reopened = matches!(error, Error::Closed { reason: CloseReason::Reopened, .. });
        let is_retryable = error.is_retryable() || is_reopened;
        let too_large = matches!(error, Error::BatchTooLarge { .. });
        let cause = Arc::new(error);
        if too_large {
            return Err(Failure::TooLarge(ProduceError::Batch(cause)));
        }
        if !is_retryable {
            work.sequence.mark_uncertain_if_failed(&batch.log);
            return Err(Failure::Final(ProduceError::Batch(cause)));
        }
        let now = self.context.clock().monotonic();
        if batch.is_expired(self.context, now) {
            work.sequence.mark_uncertain_if_failed(&batch.log);
            return Err(timed_out(cause));
        }
        let twice = work.retry.as_ref().map(|retry| retry.backoff.saturating_mul(2));
        let backoff = twice
            .unwrap_or(self.context.config.retry_backoff)
            .min(self.context.config.retry_backoff_max);
        Err(Failure::Retry(Retry { cause, at: now.saturating_add(backoff), backoff }))
    }

    /// Appends a batch whose log is closed to the log that the partition has now. Fails if the
    /// store is closed, or if the topic was deleted, even if it was created again since.
    fn append_to_current_log(
        &self,
        batch: &mut Batch,
        sequence: &mut SequenceState,
    ) -> Result<Appended> {
        self.context.store.inner().check_open()?;
        let now = self.context.store.topic(&self.queue.topic)?.partition(self.queue.partition)?;
        if now.is_same_log(&batch.log) {
            return Err(now.closed_error());
        }
        if !now.is_same_partition(&batch.log) {
            return Err(TopicError::Unknown { topic: self.queue.topic.to_string() }.into());
        }
        batch.log = now;
        self.append(batch, sequence)
    }

    /// Appends a batch under the next numbers. No lock is held.
    fn append(&self, batch: &mut Batch, sequence: &mut SequenceState) -> Result<Appended> {
        let records = batch.builder.len();
        batch.builder.compression(self.context.config.compression);
        if let Some(transactions) = &self.context.transactions {
            return self.append_in_transaction(transactions, batch, sequence);
        }
        sequence.bump_epoch_if_uncertain(&batch.log, &self.context.store)?;
        let (mut again, mut in_doubt) = (false, false);
        loop {
            sequence.stamp(&mut batch.builder);
            let (log, builder) = (&batch.log, &mut batch.builder);
            match callback::call(|| log.append_builder(builder)) {
                Ok(Ok(appended)) => {
                    sequence.advance(records);
                    return Ok(appended);
                }
                // The log was truncated, or has forgotten the producer.
                Ok(Err(Error::Producer(ProducerStateError::OutOfOrder { .. }))) if !again => {
                    sequence.bump_epoch(&self.context.store)?;
                }
                // The log checks the size before the numbers, and a closed log checks neither:
                // whether the batch was written stays unknown.
                Ok(Err(error)) if !(in_doubt && is_before_duplicate_check(&error)) => {
                    return Err(error);
                }
                // A listener panicked, before or after the batch was written. If it was written,
                // the log knows its numbers.
                Err(_) if sequence.is_enabled() && !again => in_doubt = true,
                Ok(Err(_)) | Err(_) => {
                    sequence.bump_epoch(&self.context.store)?;
                    return Err(listener_panicked("append to", &batch.topic()));
                }
            }
            again = true;
        }
    }

    /// Makes appended batches durable with one sync, and completes them.
    fn flush_written(&self, unflushed: &mut Vec<(Batch, Appended)>) {
        // The last batch first: its flush covers the earlier ones.
        let Some((batch, appended)) = unflushed.last() else { return };
        let all = self.flush_one(batch, appended);
        for (batch, appended) in unflushed.drain(..) {
            let flushed = all.clone().and_then(|()| self.flush_one(&batch, &appended));
            self.complete(batch, flushed.map(|()| appended));
        }
    }

    fn flush_one(&self, batch: &Batch, appended: &Appended) -> Result<(), ProduceError> {
        let flush = || batch.log.flush_through(appended.last);
        // If a listener panics, flush once more to learn the result.
        let flushed = callback::call(flush).or_else(|_| callback::call(flush));
        let flushed = flushed.unwrap_or_else(|_| Err(listener_panicked("flush", &batch.topic())));
        match flushed {
            // A close that succeeds has made the log durable.
            Err(Error::Closed { .. }) if batch.log.durable_end() > appended.last => Ok(()),
            flushed => flushed.map(drop).map_err(|error| ProduceError::Batch(Arc::new(error))),
        }
    }

    /// Sets the result of a batch, and releases its builder and its bytes in the buffer.
    pub(super) fn complete(&self, batch: Batch, result: Result<Appended, ProduceError>) {
        let counters = &self.context.counters;
        let records = batch.builder.len() as u64;
        if let Err(error) = &result {
            if let Some(transactions) = &self.context.transactions {
                transactions.fail(batch.transaction, error);
            }
            counters.errors.fetch_add(records, Ordering::Relaxed);
            if self.context.acks_none() {
                self.context.emit(&Event::RecordsLost {
                    topic: self.queue.topic.to_string(),
                    partition: self.queue.partition,
                    records,
                    error: error.to_string(),
                });
            }
        } else {
            counters.records.fetch_add(records, Ordering::Relaxed);
            counters.batches.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(batch.builder.size_bytes() as u64, Ordering::Relaxed);
        }
        let Batch { builder, outcome, reserved, part, pending, .. } = batch;
        if !pending.is_empty() {
            self.queue.callbacks.add(&outcome, Some(&result), pending);
        }
        self.context.keep_builder(builder);
        // Before the result is known: a thread that has waited for it finds the buffer empty.
        self.context.buffer.release(reserved);
        match part {
            None => outcome.complete(result),
            Some(part) => outcome.complete_part(part, records as u32, result),
        }
    }
}
