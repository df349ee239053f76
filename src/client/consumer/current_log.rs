//! Replacing the closed log of a partition by the one that the partition has now.
//!
//! A closed log stays closed. When its partition is reopened, or its topic is deleted and created
//! again, another log takes its place. An error of a closed log, or an offset that it does not
//! have, says nothing about the next log. So every call that needs a log first checks that it has
//! the current one. If the call then fails and the log was closed meanwhile, it checks again.

use crate::client::consumer::Consumer;
use crate::client::consumer::partition::Partition;
use crate::error::{CloseReason, Error, Result};

/// The reason why a partition has no open log.
#[derive(Debug)]
pub(super) struct Unavailable {
    error: Error,
    /// Whether the partition gets a log again without a call by the program. If so, a poll waits
    /// instead of failing.
    is_temporary: bool,
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Error {
        unavailable.error
    }
}

impl Consumer {
    /// Replaces the log of a partition if it is closed.
    pub(super) fn use_current_log(&mut self, index: usize) -> Result<(), Unavailable> {
        let Some(partition) = self.partitions.get_mut(index) else { return Ok(()) };
        if !partition.log.is_closed() {
            return Ok(());
        }
        // A deleted file of the closed log keeps its space on disk while it is open.
        partition.release_files();
        if let Err(error) = self.store.inner().check_open() {
            return Err(Unavailable { error, is_temporary: false });
        }
        let (error, is_temporary) =
            match self.store.partition(&partition.name.topic, partition.name.partition) {
                Ok(found) if !found.0.is_closed() => {
                    partition.replace_log(found);
                    return Ok(());
                }
                Ok((log, _)) => {
                    let reopened = log.close_reason() == CloseReason::Reopened;
                    (log.closed_error().or_being_reopened(), reopened)
                }
                // The group is about to revoke it, unless the topic is created again first.
                Err(unknown) => (unknown, self.subscription.is_subscription()),
            };
        Err(Unavailable { error: partition.error(None, error), is_temporary })
    }

    /// Replaces the closed logs of all partitions to read. If a partition has no open log, the
    /// first poll that finds it so fails; later polls wait for its log.
    pub(super) fn use_current_logs(&mut self) -> Result<()> {
        for index in 0..self.partitions.len() {
            let idle = |one: &Partition| one.paused || one.unavailable || !one.log.is_closed();
            if self.partitions.get(index).is_none_or(idle) {
                continue;
            }
            let Err(unavailable) = self.use_current_log(index) else { continue };
            self.store.inner().check_open()?;
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            partition.unavailable = true;
            if !unavailable.is_temporary && !std::mem::replace(&mut partition.reported, true) {
                return Err(unavailable.error);
            }
        }
        Ok(())
    }

    /// Fails if a partition that an earlier poll has reported still has no open log. A poll that
    /// has waited without finding a record ends with this.
    pub(super) fn check_reported(&mut self) -> Result<()> {
        for index in 0..self.partitions.len() {
            let waits = |one: &Partition| one.reported && one.unavailable && !one.paused;
            if !self.partitions.get(index).is_some_and(waits) {
                continue;
            }
            match self.use_current_log(index) {
                Err(unavailable) if !unavailable.is_temporary => return Err(unavailable.error),
                Err(_) | Ok(()) => {}
            }
        }
        Ok(())
    }
}
