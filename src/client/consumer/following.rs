//! Following a partition from one log to the next.
//!
//! A closed log stays closed. When its partition is reopened, or its topic is deleted and created
//! again, another log is in its place. An error of a closed log, or an offset that it has not,
//! says nothing about the next one. So every call that needs a log follows first, and an error of
//! a log that is closed by then makes it follow again.

use crate::client::consumer::{Consumer, Partition};
use crate::error::{CloseReason, Error, Result};

/// Why a partition has no open log.
#[derive(Debug)]
pub(super) struct Absent {
    error: Error,
    /// Whether that ends without a call of the program: a poll says nothing of it, and waits.
    passes: bool,
}

impl From<Absent> for Error {
    fn from(absent: Absent) -> Error {
        absent.error
    }
}

impl Consumer {
    /// Goes over to the log that a partition has now, if the one it had is closed.
    pub(super) fn follow(&mut self, index: usize) -> Result<(), Absent> {
        let Some(partition) = self.partitions.get_mut(index) else { return Ok(()) };
        if !partition.log.is_closed() {
            return Ok(());
        }
        // A file of the closed log that is deleted would keep its room on disk while it is open.
        partition.rest();
        if let Err(error) = self.store.inner().check_open() {
            return Err(Absent { error, passes: false });
        }
        let (error, passes) =
            match self.store.partition(&partition.name.topic, partition.name.partition) {
                Ok(found) if !found.0.is_closed() => {
                    partition.replace_log(found);
                    return Ok(());
                }
                Ok((log, _)) => {
                    let reopened = log.close_reason() == CloseReason::Reopened;
                    (log.closed_error().or_being_reopened(), reopened)
                }
                // The group is about to take it away, unless a topic of that name comes first.
                Err(unknown) => (unknown, self.interest.is_subscription()),
            };
        Err(Absent { error: partition.failed(None, error), passes })
    }

    /// Follows all partitions that are to be read. Fails if one has no log, the first time that a
    /// poll meets it; from then on, polls wait for its log.
    pub(super) fn follow_all(&mut self) -> Result<()> {
        for index in 0..self.partitions.len() {
            let idle = |one: &Partition| one.paused || one.gone || !one.log.is_closed();
            if self.partitions.get(index).is_none_or(idle) {
                continue;
            }
            let Err(absent) = self.follow(index) else { continue };
            self.store.inner().check_open()?;
            let Some(partition) = self.partitions.get_mut(index) else { continue };
            partition.gone = true;
            if !absent.passes && !std::mem::replace(&mut partition.reported, true) {
                return Err(absent.error);
            }
        }
        Ok(())
    }

    /// Fails if a partition still has no log, which an earlier poll has reported. A poll that has
    /// waited without finding a record ends with this.
    pub(super) fn check_reported(&mut self) -> Result<()> {
        for index in 0..self.partitions.len() {
            let waits = |one: &Partition| one.reported && one.gone && !one.paused;
            if !self.partitions.get(index).is_some_and(waits) {
                continue;
            }
            match self.follow(index) {
                Err(absent) if !absent.passes => return Err(absent.error),
                Err(_) | Ok(()) => {}
            }
        }
        Ok(())
    }
}
