//! Group append: a thread that finds the writer lock taken queues its batch, and the lock holder
//! writes all queued batches with one call.
//!
//! A thread that finds the lock taken copies its batch to a queue and waits. The next thread that
//! gets the lock leads, whether it has waited or just arrived: it takes the whole queue, assigns
//! offsets to each batch, writes them with one call, and leaves each thread its result. No thread
//! depends on a leader: if its batch is not written soon, it blocks on the lock, and leads when it
//! gets it.
//!
//! A waiting thread mostly yields, because a write takes less time than putting a thread to sleep
//! and waking it.

use crate::error::{Error, Result};
use crate::log::inner::LogInner;
use crate::log::state::append_queue::{AppendOutcome, PendingAppend, QueuedBatch, QueuedBatches};
use crate::log::state::appended::Appended;
use crate::log::state::writer::Writer;
use crate::record::{BatchHeader, stamp_append_time, stamp_base_offset, stamp_leader_epoch};
use crate::sync::{MutexGuard, thread};
use crate::types::{LeaderEpoch, MAX_OFFSET, Offset, Timestamp, TimestampType};
use std::io;
use std::sync::Arc;

/// A larger batch is not queued: the copy would cost more than the call it saves.
const MAX_BATCH_BYTES: usize = 8 << 10;

/// How often a thread yields before it goes to sleep: some tens of microseconds, many times what a
/// write takes.
const YIELDS: usize = if cfg!(shuttle) { 8 } else { 64 };

impl LogInner {
    /// Appends a batch while other threads append: with the lock, or through the queue.
    #[cold]
    pub(crate) fn append_or_queue(
        &self,
        slot: Option<MutexGuard<'_, Option<Writer>>>,
        batch: &mut [u8],
        header: &BatchHeader,
    ) -> Result<Appended> {
        if batch.len() > MAX_BATCH_BYTES {
            let slot = slot.unwrap_or_else(|| self.appends.writer.lock());
            return self.append_alone(slot, batch, header);
        }
        let pending = self.appends.queue.push(batch, header);
        if let Some(slot) = slot.or_else(|| self.wait_for_writer(&pending)) {
            let held = self.dir.events.hold_own();
            // Released before the events are delivered, also when user-supplied code panics.
            let mut slot = slot;
            self.append_queued(slot.as_mut());
            drop(slot);
            self.state.waiters.notify();
            held.deliver();
        }
        let AppendOutcome { appended, flush } = self.outcome(pending)?;
        self.flush_if_due(appended, flush)
    }

    /// Returns the lock, unless a leader writes the batch first.
    fn wait_for_writer(&self, pending: &PendingAppend) -> Option<MutexGuard<'_, Option<Writer>>> {
        let mut yields = 0;
        let slot = loop {
            if pending.is_done() {
                return None;
            }
            if let Some(slot) = self.appends.writer.try_lock() {
                break slot;
            }
            if yields == YIELDS {
                break self.appends.writer.lock();
            }
            yields = yields.saturating_add(1);
            thread::yield_now();
        };
        // Results are stored under the lock, so with it held the answer stays.
        (!pending.is_done()).then_some(slot)
    }

    /// Returns the result of a queued batch that a leader has written.
    pub(crate) fn outcome(&self, pending: Arc<PendingAppend>) -> Result<AppendOutcome> {
        pending.take_outcome().unwrap_or_else(|| {
            // The log was closed or poisoned first, or the leader panicked.
            self.state.check_writable()?;
            let error = io::Error::other("the thread that wrote for several panicked");
            Err(Error::io("append to", &self.dir.path, error))
        })
    }

    /// Appends the whole queue; the caller has the writer lock.
    fn append_queued(&self, writer: Option<&mut Writer>) {
        let Some(writer) = writer else {
            // `close` takes the writer before it marks the log as closed.
            for queued in &self.appends.queue.take(QueuedBatches::default()).batches {
                queued.pending.complete(Err(self.state.closed()));
            }
            return;
        };
        let mut queued_batches = self.appends.queue.take(std::mem::take(&mut writer.spare));
        if self.state.check_writable().is_ok()
            && !self.append_in_one_write(writer, &mut queued_batches)
        {
            self.append_one_by_one(writer, &mut queued_batches);
        }
        queued_batches.bytes.clear();
        queued_batches.batches.clear();
        writer.spare = queued_batches;
    }

    /// Appends all batches with one write, if they fit into the segment together. Returns false if
    /// nothing was done.
    fn append_in_one_write(&self, writer: &mut Writer, queued_batches: &mut QueuedBatches) -> bool {
        let QueuedBatches { bytes, batches } = queued_batches;
        let first = self.state.end();
        let mut end = first;
        // With append times, all of them have the same timestamp.
        let append_time = (self.dynamic.timestamp_type() == TimestampType::LogAppendTime)
            .then(|| self.clock().now());
        let mut latest = append_time.unwrap_or(Timestamp::NONE);
        for QueuedBatch { header, .. } in batches.iter() {
            end = end.saturating_add(header.offset_count());
            if append_time.is_none() {
                latest = latest.max(header.max_timestamp);
            }
        }
        let last = end.saturating_sub(1);
        // The first batch of a segment decides from when its age counts.
        if writer.log.position() == 0
            || batches.iter().any(|queued| queued.header.has_producer())
            || last > MAX_OFFSET
            || writer.leader_epoch != writer.assigned_epoch
            || self.must_roll(writer, bytes.len() as u64, latest, last, batches.len())
            || self
                .stamp_places(bytes, batches, (first, writer.leader_epoch), append_time)
                .is_none()
        {
            return false;
        }
        let written = self.poison_on_unwind("append to", || writer.log.append(bytes));
        let mut position = match written {
            Ok(position) => position,
            // One batch alone may fit although all together do not.
            Err(failure) if failure.rolled_back => return false,
            Err(failure) => {
                let error = self.not_appended(failure);
                if let Some(queued) = batches.first() {
                    queued.pending.complete(Err(error));
                }
                return true;
            }
        };
        let mut next = first;
        for QueuedBatch { header, .. } in batches.iter() {
            let size = header.size_bytes() as u64;
            let last = next.saturating_add(header.offset_count()).saturating_sub(1);
            writer.cadence.note(&writer.indexes, position, size, last, header.max_timestamp);
            position = position.saturating_add(size);
            next = last.saturating_add(1);
        }
        self.publish(writer, end);
        let flush = self.flush_is_due(writer);
        let mut next = first;
        for queued in batches.iter() {
            let last = next.saturating_add(queued.header.offset_count()).saturating_sub(1);
            let append_time = append_time.unwrap_or(Timestamp::NONE);
            let appended = Appended { first: next, last, append_time, duplicate: false };
            queued.pending.complete(Ok(AppendOutcome { appended, flush }));
            next = last.saturating_add(1);
        }
        true
    }

    /// Stamps each batch with its offset and leader epoch, and with the append time if there is
    /// one. Returns `None` if the bytes are not these batches.
    fn stamp_places(
        &self,
        bytes: &mut [u8],
        batches: &mut [QueuedBatch],
        (first, leader_epoch): (Offset, LeaderEpoch),
        append_time: Option<Timestamp>,
    ) -> Option<()> {
        let mut rest = bytes;
        let mut next = first;
        for QueuedBatch { header, .. } in batches {
            let (batch, behind) = rest.split_at_mut_checked(header.size_bytes())?;
            if let Some(time) = append_time {
                stamp_append_time(batch, time).ok()?;
                header.max_timestamp = time;
            }
            stamp_leader_epoch(batch, leader_epoch).ok()?;
            stamp_base_offset(batch, next).ok()?;
            next = next.saturating_add(header.offset_count());
            rest = behind;
        }
        Some(())
    }

    fn append_one_by_one(&self, writer: &mut Writer, queued_batches: &mut QueuedBatches) {
        let mut rest = queued_batches.bytes.as_mut_slice();
        for queued in &queued_batches.batches {
            let header = queued.header;
            let Some((batch, behind)) = rest.split_at_mut_checked(header.size_bytes()) else {
                return;
            };
            rest = behind;
            let outcome = self.state.check_writable().and_then(|()| {
                let appended = self.append_locked(writer, batch, &header)?;
                Ok(AppendOutcome { appended, flush: self.flush_is_due(writer) })
            });
            queued.pending.complete(outcome);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use crate::fs::MemFs;
    use crate::{Log, LogConfig, ManualClock, Record, Timestamp, TimestampType};
    use std::sync::Arc;
    use std::time::Duration;

    /// The records have old timestamps of their own, but the age of the segment counts by the
    /// append times that the log stamps on them.
    #[test]
    fn group_rolls_by_stamped_time() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)));
        let config = LogConfig::default().timestamp_type(TimestampType::LogAppendTime);
        let config = config.segment_age(Duration::from_secs(3600)).segment_jitter(Duration::ZERO);
        let log = Log::open("t-0", config.clock(clock.clone()).fs(MemFs::new())).unwrap();
        let append =
            || log.append(Record::new("x").timestamp(Timestamp::from_millis(1_000_000))).unwrap();
        append();
        clock.advance(Duration::from_secs(7200));
        let writer = log.inner.appends.writer.lock();
        std::thread::scope(|scope| {
            scope.spawn(append);
            scope.spawn(append);
            while log.inner.appends.queue.len() < 2 {
                std::thread::yield_now();
            }
            drop(writer);
        });
        assert_eq!(log.offsets().end, 3);
        assert_eq!(log.stats().unwrap().segments.len(), 2);
    }
}
