//! A log as one of many: what a store, its groups and its clients ask of a partition.

use crate::error::{CloseReason, Error, Result};
use crate::log::Log;
use crate::log::config::LogConfig;
use crate::log::dynamic_config::DynamicConfig;
use crate::log::open::directory::{self, DataDir};
use crate::log::read::reader::Reader;
use crate::log::state::appended::Appended;
use crate::producer_state::VerificationGuard;
use crate::record::BatchBuilder;
use crate::types::{IsolationLevel, Offset, ProducerId};
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;

impl Log {
    /// Opens a log of a data directory that this process has locked and that keeps the checkpoints
    /// of all its logs. Also returns whether the log took over checkpoints from beside its
    /// segments, to be [removed](Log::remove_own_checkpoints) once that is durable.
    pub(crate) fn open_shared(
        dir: &Path,
        config: LogConfig,
        within: &DataDir,
    ) -> Result<(Log, bool)> {
        let (inner, taken_over) = directory::open_shared(dir, config, within)?;
        Ok((Log { inner: Arc::new(inner) }, taken_over))
    }

    /// Removes the checkpoints beside the segments, which were taken over.
    pub(crate) fn remove_own_checkpoints(&self) -> Result<()> {
        self.inner.flushes.checkpoints.remove_own()
    }

    /// Applies the options that can be altered while a log is open.
    pub(crate) fn alter(&self, config: &LogConfig) -> Result<()> {
        self.inner.alter(config)
    }

    /// Returns the options that can be altered while a log is open, as they are now.
    pub(crate) fn dynamic_config(&self) -> &DynamicConfig {
        &self.inner.dynamic
    }

    /// [Closes](Log::close) one log of a store; the store makes the checkpoints of all its logs
    /// durable afterwards.
    pub(crate) fn close_with_others(&self, reason: CloseReason) -> Result<()> {
        self.inner.close_with_others(reason)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.state.is_closed()
    }

    /// Names this log in the error of a record that its rules reject.
    #[cold]
    pub(crate) fn named(&self, error: Error) -> Error {
        error.of_log(self.inner.state.location())
    }

    pub(crate) fn close_reason(&self) -> CloseReason {
        self.inner.state.close_reason()
    }

    /// Returns the error of a call on a closed log.
    pub(crate) fn closed_error(&self) -> Error {
        self.inner.state.closed()
    }

    /// Fails unless the log accepts appends: it is neither closed nor poisoned.
    pub(crate) fn check_writable(&self) -> Result<()> {
        self.inner.state.check_writable()
    }

    /// Returns whether the log accepts appends.
    pub(crate) fn is_writable(&self) -> bool {
        self.check_writable().is_ok()
    }

    /// Returns whether two handles are of the same open log.
    pub(crate) fn is_same_log(&self, other: &Log) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Returns whether two logs are the same partition of the same topic, opened at different
    /// times.
    pub(crate) fn is_same_partition(&self, other: &Log) -> bool {
        self.inner.state.is_same_partition(&other.inner.state)
    }

    /// Returns the id of the topic whose partition the log is, if a store opened it.
    pub(crate) fn topic_id(&self) -> Option<[u8; 16]> {
        self.inner.state.topic_id()
    }

    /// Returns the durable end as it is stored, which a truncation of the log can leave above its
    /// end for a moment.
    pub(crate) fn durable_end(&self) -> Offset {
        self.inner.state.durable()
    }

    /// Returns the error of an offset that is not between these ends.
    pub(crate) fn out_of_range(&self, requested: Offset, start: Offset, end: Offset) -> Error {
        self.inner.state.outside(requested, start, end)
    }

    /// Returns a reader at an offset that need not be in the log: if it is not, the first read
    /// fails.
    pub(crate) fn reader_at(&self, level: IsolationLevel, offset: Offset) -> Reader {
        Reader::at(&self.inner, level, offset)
    }

    /// Returns the offset below which a read of this level finds records.
    pub(crate) fn bound(&self, level: IsolationLevel) -> Offset {
        self.inner.state.bound(level)
    }

    /// Returns the number of truncations and replacements of stored batches.
    pub(crate) fn revision(&self) -> u64 {
        self.inner.state.revision()
    }

    /// Appends the content of a builder, which is part of a producer's transaction, for the
    /// coordinator of the groups. Sequence numbers are not checked.
    pub(crate) fn append_from_coordinator(
        &self,
        builder: &mut BatchBuilder,
        guard: VerificationGuard,
    ) -> Result<Appended> {
        self.inner.append_from_coordinator(builder, guard)
    }

    /// Forgets a closed producer, whose id is never assigned again.
    pub(crate) fn forget_producer(&self, producer_id: ProducerId) {
        self.inner.appends.forget_producer(producer_id);
    }

    /// Returns a new id for a task that waits for this log and others.
    pub(crate) fn waker_id(&self) -> u64 {
        self.inner.state.waiters.new_id()
    }

    /// Wakes the task once, when the end moves or the log is closed. Look at the log again after
    /// this call: a change before it wakes nothing.
    pub(crate) fn wake_on_change(&self, id: u64, waker: &Waker) {
        self.inner.state.waiters.register(id, waker);
    }

    /// Removes a task, which is not woken any more.
    pub(crate) fn forget_waker(&self, id: u64) {
        self.inner.state.waiters.unregister(id);
    }
}
