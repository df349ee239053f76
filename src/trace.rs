//! Events as `tracing` events.

use crate::event::{Event, Listener};

/// A [`Listener`] that turns every [`Event`] into a `tracing` event. Needs the cargo feature
/// `tracing`.
///
/// The target is `annals`, so a filter like `annals=debug` selects them. Each event has a message,
/// and fields that are named like the fields of the variant of [`Event`]: `path`, `bytes`, `end`.
/// The levels are:
///
/// | level | events |
/// |---|---|
/// | `ERROR` | [`Poisoned`](Event::Poisoned), [`CorruptionFound`](Event::CorruptionFound), [`PartitionOffline`](Event::PartitionOffline), [`RecordsLost`](Event::RecordsLost), [`Uncleanable`](Event::Uncleanable) |
/// | `WARN` | [`TailTruncated`](Event::TailTruncated), [`Quarantined`](Event::Quarantined), [`CheckpointIgnored`](Event::CheckpointIgnored), [`CleanupFailed`](Event::CleanupFailed), [`CheckpointFailed`](Event::CheckpointFailed), [`UnknownFile`](Event::UnknownFile), [`MaintenanceFailed`](Event::MaintenanceFailed), [`CallbackPanicked`](Event::CallbackPanicked), [`TransactionAborted`](Event::TransactionAborted), [`MarkerDelayed`](Event::MarkerDelayed) |
/// | `INFO` | [`IndexRebuilt`](Event::IndexRebuilt), [`StaleFileRemoved`](Event::StaleFileRemoved), [`SwapCompleted`](Event::SwapCompleted), [`Truncated`](Event::Truncated), [`LogStartMoved`](Event::LogStartMoved), [`Compacted`](Event::Compacted), [`TransactionCompleted`](Event::TransactionCompleted), [`MarkerSkipped`](Event::MarkerSkipped) |
/// | `DEBUG` | [`SegmentRolled`](Event::SegmentRolled), [`Flushed`](Event::Flushed), and events that later versions add |
///
/// Events are emitted on the thread that caused them, inside the current span of that thread.
///
/// ```
/// use annals::{Log, LogConfig, TracingListener, fs::MemFs};
/// use std::sync::Arc;
///
/// let listener = Arc::new(TracingListener::new("orders-0"));
/// let log = Log::open("orders-0", LogConfig::default().fs(MemFs::new()).listener(listener))?;
/// log.append("hello")?;
/// log.flush()?; // DEBUG annals: flushed log="orders-0" through=1 took_micros=…
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct TracingListener {
    log: String,
}

impl TracingListener {
    /// Creates a listener whose events have this text in their field `log`, to tell logs apart.
    pub fn new(log: impl Into<String>) -> TracingListener {
        TracingListener { log: log.into() }
    }
}

/// Emits an event of `tracing` with the target of this crate and the name of the log.
macro_rules! emit {
    ($level:ident, $self:ident, $($fields:tt)*) => {
        tracing::event!(target: "annals", tracing::Level::$level, log = $self.log, $($fields)*)
    };
}

impl Listener for TracingListener {
    fn on_event(&self, event: &Event) {
        match event {
            Event::UnknownFile { path } => {
                emit!(WARN, self, path = %path.display(), "unknown file left alone");
            }
            Event::PartitionOffline { path, error } => {
                emit!(ERROR, self, path = %path.display(), error, "partition is offline");
            }
            Event::StaleFileRemoved { path } => {
                emit!(INFO, self, path = %path.display(), "stale file removed");
            }
            Event::SwapCompleted { path } => {
                emit!(INFO, self, path = %path.display(), "interrupted replacement completed");
            }
            Event::CheckpointIgnored { path, reason } => {
                emit!(WARN, self, path = %path.display(), reason, "checkpoint ignored");
            }
            Event::TailTruncated { path, position, bytes, end } => {
                emit!(WARN, self, path = %path.display(), position, bytes, end, "torn end truncated");
            }
            Event::Quarantined(taken) => {
                let (path, position, bytes) = (taken.path.display(), taken.position, taken.bytes);
                let (from, to) = (taken.offsets.start, taken.offsets.end);
                emit!(WARN, self, %path, position, bytes, from, to, "damage quarantined");
            }
            Event::IndexRebuilt { path, reason } => {
                emit!(INFO, self, path = %path.display(), reason, "index rebuilt");
            }
            Event::SegmentRolled { base_offset, closed_bytes } => {
                emit!(DEBUG, self, base_offset, closed_bytes, "segment rolled");
            }
            Event::Flushed { through, took } => {
                let took_micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                emit!(DEBUG, self, through, took_micros, "flushed");
            }
            Event::LogStartMoved { start, segments, bytes } => {
                emit!(INFO, self, start, segments, bytes, "log start moved");
            }
            Event::Compacted(report) => {
                let (removed, kept) = (report.records_removed, report.records_kept);
                let (bytes, passes) = (report.bytes_removed, report.passes);
                emit!(INFO, self, removed, kept, bytes, passes, "compacted");
            }
            Event::Uncleanable { cause } => emit!(ERROR, self, cause, "log cannot be compacted"),
            Event::MaintenanceFailed { error } => {
                emit!(WARN, self, error, "maintenance failed");
            }
            Event::Truncated { end } => emit!(INFO, self, end, "truncated"),
            Event::CorruptionFound(corruption) => {
                let path = corruption.path.display();
                let (position, reason) = (corruption.position, &corruption.reason);
                emit!(ERROR, self, %path, position, offset = corruption.offset, %reason, "corruption found");
            }
            Event::CleanupFailed { path, error } => {
                emit!(WARN, self, path = %path.display(), error, "cleanup failed");
            }
            Event::CheckpointFailed { path, error } => {
                emit!(WARN, self, path = %path.display(), error, "checkpoint failed");
            }
            Event::CallbackPanicked { topic, what } => {
                emit!(WARN, self, topic, what, "callback panicked");
            }
            Event::RecordsLost { topic, partition, records, error } => {
                emit!(ERROR, self, topic, partition, records, error, "records lost");
            }
            Event::Poisoned { cause } => emit!(ERROR, self, cause, "log stopped accepting writes"),
            other => self.on_transaction(other),
        }
    }
}

impl TracingListener {
    /// Emits an event of the transaction coordinator.
    fn on_transaction(&self, event: &Event) {
        match event {
            Event::TransactionAborted { id, reason } => {
                emit!(WARN, self, id, reason = ?reason, "transaction aborted");
            }
            Event::TransactionCompleted { id, committed } => {
                emit!(INFO, self, id, committed, "transaction completed");
            }
            Event::MarkerSkipped { id, partition } => {
                emit!(INFO, self, id, partition = %partition, "partition of transaction deleted");
            }
            Event::MarkerDelayed { id, partition, error } => {
                emit!(WARN, self, id, partition = %partition, error, "transaction not completed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::MemFs;
    use crate::{Log, LogConfig};
    use std::fmt::{Debug, Write as _};
    use std::sync::{Arc, Mutex};
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber};

    /// Records each event as a line.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            if field.name() != "took_micros" {
                write!(self.0, " {field}={value:?}").unwrap();
            }
        }
    }

    impl Subscriber for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let metadata = event.metadata();
            let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn log_events_are_traced() {
        let lines = Lines::default();
        tracing::subscriber::with_default(lines.clone(), || {
            let listener = Arc::new(TracingListener::new("orders"));
            let config = LogConfig::default().fs(MemFs::new()).listener(listener);
            let log = Log::open("orders-0", config).unwrap();
            log.append("a").unwrap();
            log.roll().unwrap();
            log.append("b").unwrap();
            log.flush().unwrap();
            log.truncate_to(1).unwrap();
        });
        let lines = lines.0.lock().unwrap().clone();
        assert_eq!(
            lines,
            [
                r#"DEBUG annals message=segment rolled log="orders" base_offset=1 closed_bytes=69"#,
                r#"DEBUG annals message=flushed log="orders" through=2"#,
                r#"INFO annals message=truncated log="orders" end=1"#,
            ]
        );
    }
}
