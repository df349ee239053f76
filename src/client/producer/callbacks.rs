//! Calling back: in the order of the records of a partition, one at a time, with no lock held.
//!
//! The thread that has written a batch leaves its callbacks here. It calls them once nothing is
//! left for it to write, unless another thread is calling earlier ones, which then takes these
//! along. A callback may therefore wait for any record: no thread that runs a callback is one
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

/// A record whose result an interceptor or a callback is to get.
pub(super) struct Pending {
    pub(super) index: u32,
    pub(super) timestamp: Timestamp,
    pub(super) callback: Option<Callback>,
}

struct Due {
    outcome: Arc<Outcome>,
    /// `None` if the record counts as sent although nothing is known of it yet.
    result: Option<Result<Appended, ProduceError>>,
    pending: Vec<Pending>,
}

#[derive(Default)]
pub(super) struct CallbackQueue {
    /// Leaf lock.
    state: Mutex<CallbackQueueState>,
    /// Raised when there is nothing more to call.
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

    /// Returns whether there are callbacks to call that no thread is about to call.
    pub(super) fn is_due(&self) -> bool {
        let state = self.state.lock();
        !state.calling && !state.due.is_empty()
    }

    /// Returns whether all callbacks were called.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.lock();
        !state.calling && state.due.is_empty()
    }

    /// Calls all that are due, unless another thread is at it.
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

    /// Waits until all callbacks were called. A callback waits for none: it may be the one that
    /// the others wait for.
    pub(super) fn wait(&self, left: Option<Duration>, context: &ProducerContext) -> bool {
        thread_marks::is_calling() || self.idle.wait(left, context.clock(), || self.is_idle())
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

/// Hands a record through the interceptors.
#[cold]
pub(super) fn intercept(context: &ProducerContext, mut record: ProducerRecord) -> ProducerRecord {
    for interceptor in &context.config.interceptors {
        let given = record.clone();
        let interceptor: &dyn ProducerInterceptor = &**interceptor;
        let topic = Arc::clone(&record.topic);
        let changed =
            guard(context, &topic, "on_send of an interceptor", || interceptor.on_send(given));
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
