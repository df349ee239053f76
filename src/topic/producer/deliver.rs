//! Calling back: in the order of the records of a partition, one at a time, with no lock held.
//!
//! Whoever has written a batch leaves its callbacks here and calls them, unless another thread is calling those before: that
//! one takes them along. Writing goes on meanwhile, so a callback may wait for a record of its own partition.

use crate::error::{Error, ProduceError};
use crate::event::Event;
use crate::log::{Appended, Signal};
use crate::sync::{Mutex, thread};
use crate::topic::producer::handle::Outcome;
use crate::topic::producer::interceptor::ProducerInterceptor;
use crate::topic::producer::record::{ProducerRecord, RecordMetadata};
use crate::topic::producer::shared::Shared;
use crate::types::Timestamp;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Somebody who wants to know.
pub(super) type Callback = Box<dyn FnOnce(Result<&RecordMetadata, &Error>) + Send>;

/// A record of which somebody wants to know what becomes of it.
pub(super) struct Pending {
    pub(super) index: u32,
    pub(super) timestamp: Timestamp,
    pub(super) callback: Option<Callback>,
}

struct Due {
    outcome: Arc<Outcome>,
    result: Result<Appended, ProduceError>,
    pending: Vec<Pending>,
}

#[derive(Default)]
pub(super) struct Deliveries {
    /// Leaf lock.
    state: Mutex<DeliveryState>,
    /// Raised when there is nothing more to call.
    idle: Signal,
}

#[derive(Default)]
struct DeliveryState {
    due: VecDeque<Due>,
    /// Who is calling.
    caller: Option<thread::ThreadId>,
}

impl Deliveries {
    pub(super) fn add(
        &self,
        outcome: &Arc<Outcome>,
        result: &Result<Appended, ProduceError>,
        pending: Vec<Pending>,
    ) {
        let (outcome, result) = (Arc::clone(outcome), result.clone());
        self.state.lock().due.push_back(Due { outcome, result, pending });
    }

    /// Calls all that are due, unless somebody is at it.
    pub(super) fn call_all(&self, producer: &Shared) {
        let mut state = self.state.lock();
        if state.caller.is_some() || state.due.is_empty() {
            return;
        }
        state.caller = Some(thread::current().id());
        while let Some(due) = state.due.pop_front() {
            drop(state);
            due.call(producer);
            state = self.state.lock();
        }
        state.caller = None;
        drop(state);
        self.idle.notify();
    }

    /// Waits until all that are due were called. Not for the one from which this is called.
    pub(super) fn wait(&self, left: Option<std::time::Duration>, producer: &Shared) -> bool {
        let me = thread::current().id();
        self.idle.wait(left, producer.clock(), || {
            let state = self.state.lock();
            state.caller == Some(me) || (state.caller.is_none() && state.due.is_empty())
        })
    }
}

impl Due {
    fn call(self, producer: &Shared) {
        let error = self.result.as_ref().err().map(|error| Error::from(error.clone()));
        for Pending { index, timestamp, callback } in self.pending {
            let metadata = match &self.result {
                Ok(appended) => self.outcome.metadata(appended, index, timestamp),
                Err(_) => self.outcome.unknown(timestamp),
            };
            acknowledge(producer, &metadata, error.as_ref(), callback);
        }
    }
}

/// Tells the interceptors, then the one who sent the record.
pub(super) fn acknowledge(
    producer: &Shared,
    metadata: &RecordMetadata,
    error: Option<&Error>,
    callback: Option<Callback>,
) {
    for interceptor in &producer.config.interceptors {
        guard(producer, &metadata.topic, "on_acknowledgement of an interceptor", || {
            interceptor.on_acknowledgement(metadata, error);
        });
    }
    if let Some(callback) = callback {
        let result = error.map_or(Ok(metadata), Err);
        guard(producer, &metadata.topic, "the callback of a record", || callback(result));
    }
}

/// Hands a record through the interceptors.
#[cold]
pub(super) fn intercept(producer: &Shared, mut record: ProducerRecord) -> ProducerRecord {
    for interceptor in &producer.config.interceptors {
        let given = record.clone();
        let interceptor: &dyn ProducerInterceptor = &**interceptor;
        let topic = Arc::clone(&record.topic);
        let changed =
            guard(producer, &topic, "on_send of an interceptor", || interceptor.on_send(given));
        record = changed.unwrap_or(record);
    }
    record
}

/// Calls somebody else's code. A panic ends there, and is reported.
fn guard<T>(
    producer: &Shared,
    topic: &str,
    what: &'static str,
    call: impl FnOnce() -> T,
) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(call));
    if done.is_err() {
        producer.emit(&Event::CallbackPanicked { topic: topic.to_owned(), what });
    }
    done.ok()
}
