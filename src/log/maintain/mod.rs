//! Maintenance of a log: flushing by age, compaction, retention.

pub(crate) mod compact;
pub(crate) mod pause;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{CompactionReport, Event};
use crate::fs::WhenFull;
use crate::log::change::delete_records::Removed;
use crate::log::config::FOREVER;
use crate::log::inner::LogInner;
use crate::log::maintain::compact::Scope;
use crate::log::maintainer::{Maintained, Pace};
use crate::log::state::segment_list::SegmentList;
use crate::retention::{Extent, Limits, expired};
use crate::types::{Offset, Timestamp};
use std::time::Duration;

/// The result of a pass of [`Log::maintain`](crate::Log::maintain).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MaintenanceReport {
    /// The number of segments deleted.
    pub segments_deleted: usize,
    /// The bytes of their batches.
    pub bytes_deleted: u64,
    /// The start of the log now.
    pub start: Offset,
    /// The result of the compaction.
    pub compaction: CompactionReport,
}

impl LogInner {
    /// Flushes records that are due by age, compacts the log if it is dirty enough, then stores
    /// the high watermark and applies retention.
    pub(crate) fn maintain(&self, pace: Pace<'_>) -> Result<MaintenanceReport> {
        self.state.check_writable()?;
        let mut report =
            MaintenanceReport { start: self.state.start(), ..MaintenanceReport::default() };
        let flushed = self.flush_by_age();
        if self.cleaning.is_paused() {
            return flushed.map(|_| report);
        }
        // `Clock` is user-supplied: read it with no lock held.
        let now = self.clock().monotonic();
        if let Some(writer) = self.appends.writer.lock().as_mut() {
            writer.tracked.expire(now, self.config.producer_id_expiration);
        }
        self.dir.fill_reserve();
        // Whether or not that succeeds, retention is applied.
        let compacted = if self.is_compacted() {
            self.compact(Scope::Due, pace)
        } else {
            Ok(CompactionReport::default())
        };
        // `Clock` is user-supplied: read it with no lock held.
        let (limits, monotonic) = (self.retention_limits(), self.clock().monotonic());
        let removed = self.change_front(|| {
            let stored = self.store_high_watermark();
            let removed = match self.expired_below(&limits, monotonic)? {
                // A pause that began meanwhile waits for this, or nothing is deleted.
                Some(target) if !self.cleaning.is_paused() => {
                    // The high watermark may have been lowered meanwhile.
                    self.remove_front(target.min(self.state.high_watermark()))?
                }
                _ => Removed::default(),
            };
            stored.map(|()| removed)
        })?;
        report.segments_deleted = removed.segments;
        report.bytes_deleted = removed.bytes;
        report.start = self.state.start();
        report.compaction = compacted?;
        flushed.map(|_| report)
    }

    fn is_compacted(&self) -> bool {
        self.dynamic.current().cleanup_policy.compacts()
            && self.cleaning.progress.lock().uncleanable.is_none()
    }

    /// Returns the offset that everything to be deleted lies below, if there is any.
    fn expired_below(&self, limits: &Limits, monotonic: Duration) -> Result<Option<Offset>> {
        // Load the end first: the last segment of an older list may be in the middle of the log by
        // now, and later records are not its own.
        let end = self.state.end();
        let list = self.state.segments()?;
        let segments = extents(&list, end);
        let count = expired(&segments, limits, |number| {
            self.latest(&list, number, end, limits.now, monotonic)
        })?;
        let last = count.checked_sub(1).and_then(|last| segments.get(last));
        if last.is_some() && count == segments.len() {
            // All segments are due, so close the active one to delete it, too.
            match self.roll(WhenFull::UseReserve) {
                // Without room for the next segment the active one stays, and the earlier ones are
                // deleted.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    let before = count.checked_sub(2).and_then(|last| segments.get(last));
                    return before.map_or(Err(error), |last| Ok(Some(last.next)));
                }
                rolled => rolled?,
            }
        }
        Ok(last.map(|last| last.next))
    }

    /// Returns the largest timestamp of a segment. For one that lies in the future, returns the
    /// latest time at which it can have been written: a record with a wrong clock must not keep
    /// all later records. A damaged segment counts as having no time: it is reported, and kept.
    fn latest(
        &self,
        list: &SegmentList,
        number: usize,
        end: Offset,
        now: Timestamp,
        monotonic: Duration,
    ) -> Result<Timestamp> {
        let Some(segment) = list.segments.get(number) else { return Ok(Timestamp::NONE) };
        match segment.largest_timestamp(list.limit(number, end)) {
            Err(Error::Corrupt(corruption)) => {
                self.emit(&Event::CorruptionFound(*corruption));
                Ok(Timestamp::NONE)
            }
            Ok(latest) if latest > now => segment.written_before(now, monotonic),
            other => other,
        }
    }

    fn retention_limits(&self) -> Limits {
        let config = self.dynamic.current();
        let age = config.retention_age;
        Limits {
            start: self.state.start(),
            high_watermark: self.state.high_watermark(),
            bytes: (config.retention_bytes < u64::MAX).then_some(config.retention_bytes),
            age_millis: (age < FOREVER).then(|| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            now: self.clock().now(),
        }
    }
}

impl Maintained for LogInner {
    fn is_ready(&self) -> bool {
        let is_idle = self.cleaning.cleaner.try_lock().is_some();
        is_idle && self.state.check_writable().is_ok()
    }

    fn is_closed(&self) -> bool {
        self.state.is_closed()
    }

    fn is_paused(&self) -> bool {
        self.cleaning.is_paused()
    }

    fn dirty_ratio(&self) -> f64 {
        LogInner::dirty_ratio(self)
    }

    fn pass(&self, pace: Pace<'_>) -> Result<()> {
        self.maintain(pace).map(drop)
    }

    fn flush_by_age(&self) -> Result<Option<Duration>> {
        LogInner::flush_by_age(self)
    }

    fn set_uncleanable(&self, cause: &str) -> Event {
        self.cleaning.set_uncleanable(cause)
    }

    fn emit(&self, event: &Event) {
        LogInner::emit(self, event);
    }
}

fn extents(list: &SegmentList, end: Offset) -> Vec<Extent> {
    let segments = list.segments.iter().enumerate();
    segments
        .map(|(number, segment)| Extent {
            next: list.limit(number, end),
            bytes: segment.published(),
        })
        .collect()
}
