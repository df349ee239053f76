//! Interceptors and callbacks: called in the order of the records of a partition, one at a time,
//! with no lock held.
//!
//! The thread that has written a batch adds its callbacks to the queue here. It calls them once
//! nothing is left for it to write. If another thread is calling earlier ones, that thread calls
//! these, too. A callback may therefore wait for any record: no thread that runs a callback is one
//! that others wait for to write.

use crate::callback;
use crate::client::producer::context::ProducerContext;
use crate::client::producer::interceptor::ProducerInterceptor;
use crate::client::producer::outcome::Outcome;
use crate::client::producer::record::{ProducerRecord, RecordMetadata};
use crate::client::producer::thread_marks;
use crate::error::{Error, ProduceError};
use crate::event::Event;
use crate::log::Appended;
use crate::notify::Notify;
use crate::sync::Mutex;
use crate::types::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A user-supplied callback for the result of a record.
pub(super) type Callback = Box<dyn FnOnce(Result<&RecordMetadata, &Error>) + Send>;

/// A record whose result an interceptor or a callback gets.
pub(super) struct Pending {
    pub(super) index: u32,
    pub(super) timestamp: Timestamp,
    pub(super) callback: Option<Callback>,
}

/// The callbacks of a batch that are to be called.
struct Due {
    outcome: Arc<Outcome>,
    /// `None` with [`Acks::None`](crate::Acks::None), where a record counts as sent before its
    /// result is known.
    result: Option<Result<Appended, ProduceError>>,
    pending: Vec<Pending>,
}

/// The callbacks of a partition that are to be called, in order.
#[derive(Default)]
pub(super) struct CallbackQueue {
    /// Leaf lock.
    state: Mutex<CallbackQueueState>,
    /// Notified when all callbacks were called.
    idle: Notify,
}

#[derive(Default)]
struct CallbackQueueState {
    due: VecDeque<Due>,
    /// Whether a thread is calling.
    calling: bool,
}

impl CallbackQueue {
    pub(super) fn add(
        &self,
        outcome: &Arc<Outcome>,
        result: Option<&Result<Appended, ProduceError>>,
        pending: Vec<Pending>,
    ) {
        let (outcome, result) = (Arc::clone(outcome), result.cloned());
        self.state.lock().due.push_back(Due { outcome, result, pending });
    }

    /// Returns whether callbacks wait and no thread is calling.
    pub(super) fn is_due(&self) -> bool {
        let state = self.state.lock();
        !state.calling && !state.due.is_empty()
    }

    /// Returns whether all callbacks were called.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        !state.calling && state.due.is_empty()
    }

    /// Calls all callbacks that are due, unless another thread is calling.
    pub(super) fn call_all(&self, context: &ProducerContext) {
        let mut state = self.state.lock();
        if state.calling || state.due.is_empty() {
            return;
        }
        state.calling = true;
        while let Some(due) = state.due.pop_front() {
            drop(state);
            thread_marks::while_calling_back(|| due.call(context));
            state = self.state.lock();
        }
        state.calling = false;
        drop(state);
        self.idle.notify();
    }

    /// Waits until all callbacks were called; returns false if the time is up. In a callback, it
    /// does not wait, because the other callbacks may be waiting for this one.
    pub(super) fn wait(&self, timeout: Option<Duration>, context: &ProducerContext) -> bool {
        thread_marks::is_calling() || self.idle.wait(timeout, context.clock(), || self.is_idle())
    }
}

impl Due {
    fn call(self, context: &ProducerContext) {
        let error = self.result.as_ref().and_then(|result| result.as_ref().err());
        let error = error.map(|error| Error::from(error.clone()));
        for Pending { index, timestamp, callback } in self.pending {
            let metadata = match &self.result {
                Some(Ok(appended)) => self.outcome.metadata(appended, index, timestamp),
                Some(Err(_)) | None => self.outcome.metadata_without_offset(timestamp),
            };
            acknowledge(context, &metadata, error.as_ref(), callback);
        }
    }
}

/// Calls the interceptors, then the callback of the record.
fn acknowledge(
    context: &ProducerContext,
    metadata: &RecordMetadata,
    error: Option<&Error>,
    callback: Option<Callback>,
) {
    for interceptor in &context.config.interceptors {
        guard(context, &metadata.topic, "on_acknowledgement of an interceptor", || {
            interceptor.on_acknowledgement(metadata, error);
        });
    }
    if let Some(callback) = callback {
        let result = error.map_or(Ok(metadata), Err);
        guard(context, &metadata.topic, "the callback of a record", || callback(result));
    }
}

/// Passes a record through the interceptors. The result of one that panics is ignored.
#[cold]
pub(super) fn intercept(context: &ProducerContext, mut record: ProducerRecord) -> ProducerRecord {
    for interceptor in &context.config.interceptors {
        let copy = record.clone();
        let interceptor: &dyn ProducerInterceptor = &**interceptor;
        let topic = Arc::clone(&record.topic);
        let changed =
            guard(context, &topic, "on_send of an interceptor", || interceptor.on_send(copy));
        record = changed.unwrap_or(record);
    }
    record
}

/// Calls user-supplied code. A panic is caught and reported.
fn guard<T>(
    context: &ProducerContext,
    topic: &str,
    what: &'static str,
    call: impl FnOnce() -> T,
) -> Option<T> {
    let done = callback::call(call);
    if done.is_err() {
        context.emit(&Event::CallbackPanicked { topic: topic.to_owned(), what });
    }
    done.ok()
}
