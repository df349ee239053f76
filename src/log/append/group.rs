//! Group append: a thread that finds the writer lock taken queues its batch, and the lock holder
//! writes all queued batches with one call.
//!
//! A thread that finds the lock taken copies its batch to a queue and waits. The next thread that
//! gets the lock leads, whether it has waited or just arrived: it takes the whole queue, assigns
//! offsets to each batch, writes them with one call, and leaves each thread its result. No thread
//! depends on being served: if it is not served in time, it blocks on the lock, and leads when it
//! gets it.
//!
//! A waiting thread mostly yields, because a write takes less time than putting a thread to sleep
//! and waking it.

use crate::error::{Error, Result};
use crate::log::inner::Shared;
use crate::log::state::append_queue::{Group, Handed, Placed, Ticket};
use crate::log::state::appended::Appended;
use crate::log::state::writer::Writer;
use crate::record::{BatchHeader, stamp_append_time, stamp_base_offset};
use crate::sync::{MutexGuard, thread};
use crate::types::{MAX_OFFSET, Timestamp, TimestampType};
use std::io;
use std::sync::Arc;

/// A larger batch is not queued: the copy would cost more than the call it saves.
const MAX_BATCH_BYTES: usize = 8 << 10;

/// How often a thread yields before it goes to sleep: some tens of microseconds, many times what a
/// write takes.
const YIELDS: usize = if cfg!(shuttle) { 8 } else { 64 };

impl Shared {
    /// Appends a batch while other threads append: with the lock, or through the queue.
    #[cold]
    pub(crate) fn append_together(
        &self,
        slot: Option<MutexGuard<'_, Option<Writer>>>,
        batch: &mut [u8],
        header: &BatchHeader,
    ) -> Result<Appended> {
        if batch.len() > MAX_BATCH_BYTES {
            let slot = slot.unwrap_or_else(|| self.writer.lock());
            return self.append_alone(slot, batch, header);
        }
        let ticket = self.queue.hand_over(batch, header);
        if let Some(mut slot) = slot.or_else(|| self.wait_for_writer(&ticket)) {
            let ((), events) = self.dir.events.hold_own(|| self.append_handed(slot.as_mut()));
            drop(slot);
            self.signal.notify();
            self.emit_all(events);
        }
        let Placed { appended, flush } = self.outcome(ticket)?;
        self.settle(appended, flush)
    }

    /// Returns the lock, unless the ticket is served first.
    fn wait_for_writer(&self, ticket: &Ticket) -> Option<MutexGuard<'_, Option<Writer>>> {
        let mut yields = 0;
        let slot = loop {
            if ticket.is_served() {
                return None;
            }
            if let Some(slot) = self.writer.try_lock() {
                break slot;
            }
            if yields == YIELDS {
                break self.writer.lock();
            }
            yields = yields.saturating_add(1);
            thread::yield_now();
        };
        // Tickets are served under the lock: with it in hand, the answer stays.
        (!ticket.is_served()).then_some(slot)
    }

    /// Returns the result of a batch that was queued and served.
    pub(crate) fn outcome(&self, ticket: Arc<Ticket>) -> Result<Placed> {
        ticket.take_outcome().unwrap_or_else(|| {
            // The log was closed or poisoned first, or the leader panicked.
            self.check_writable()?;
            let error = io::Error::other("the thread that wrote for several panicked");
            Err(Error::io("append to", &self.dir.path, error))
        })
    }

    /// Appends the whole queue; the caller has the writer lock.
    fn append_handed(&self, writer: Option<&mut Writer>) {
        let Some(writer) = writer else {
            // `close` takes the writer before it marks the log as closed.
            for handed in &self.queue.take(Group::default()).batches {
                handed.ticket.serve(Err(self.closed()));
            }
            return;
        };
        let mut group = self.queue.take(std::mem::take(&mut writer.spare));
        if self.check_writable().is_ok() && !self.append_as_one(writer, &mut group) {
            self.append_one_by_one(writer, &mut group);
        }
        group.bytes.clear();
        group.batches.clear();
        writer.spare = group;
    }

    /// Appends a group with one write, if it fits into the segment as a whole; false if nothing
    /// was done.
    fn append_as_one(&self, writer: &mut Writer, group: &mut Group) -> bool {
        let Group { bytes, batches } = group;
        let first = self.end();
        let mut end = first;
        // With append times, all of them have the same timestamp.
        let append_time = (self.live.timestamp_type() == TimestampType::LogAppendTime)
            .then(|| self.clock().now());
        let mut latest = append_time.unwrap_or(Timestamp::NONE);
        for Handed { header, .. } in batches.iter() {
            end = end.saturating_add(header.offset_count());
            if append_time.is_none() {
                latest = latest.max(header.max_timestamp);
            }
        }
        let last = end.saturating_sub(1);
        // The first batch of a segment decides from when its age counts.
        if writer.log.position() == 0
            || batches.iter().any(|handed| handed.header.has_producer())
            || last > MAX_OFFSET
            || self.must_roll(writer, bytes.len() as u64, latest, last, batches.len())
            || self.stamp_places(bytes, batches, first, append_time).is_none()
        {
            return false;
        }
        let mut position = match writer.log.append(bytes) {
            Ok(position) => position,
            // Each batch alone may fit although all together do not.
            Err(failure) if failure.rolled_back => return false,
            Err(failure) => {
                let error = self.not_appended(failure);
                if let Some(handed) = batches.first() {
                    handed.ticket.serve(Err(error));
                }
                return true;
            }
        };
        let mut next = first;
        for Handed { header, .. } in batches.iter() {
            let size = header.size_bytes() as u64;
            let last = next.saturating_add(header.offset_count()).saturating_sub(1);
            writer.cadence.note(&writer.indexes, position, size, last, header.max_timestamp);
            position = position.saturating_add(size);
            next = last.saturating_add(1);
        }
        self.publish(writer, end);
        let flush = self.flush_is_due(writer);
        let mut next = first;
        for handed in batches.iter() {
            let last = next.saturating_add(handed.header.offset_count()).saturating_sub(1);
            let append_time = append_time.unwrap_or(Timestamp::NONE);
            let appended = Appended { first: next, last, append_time, duplicate: false };
            handed.ticket.serve(Ok(Placed { appended, flush }));
            next = last.saturating_add(1);
        }
        true
    }

    /// Writes its offset, and the time if that is the log's, into each batch; `None` if the bytes
    /// are not these batches.
    fn stamp_places(
        &self,
        bytes: &mut [u8],
        batches: &mut [Handed],
        first: u64,
        append_time: Option<Timestamp>,
    ) -> Option<()> {
        let mut rest = bytes;
        let mut next = first;
        for Handed { header, .. } in batches {
            let (batch, behind) = rest.split_at_mut_checked(header.size_bytes())?;
            if let Some(time) = append_time {
                stamp_append_time(batch, time).ok()?;
                header.max_timestamp = time;
            }
            stamp_base_offset(batch, next).ok()?;
            next = next.saturating_add(header.offset_count());
            rest = behind;
        }
        Some(())
    }

    fn append_one_by_one(&self, writer: &mut Writer, group: &mut Group) {
        let mut rest = group.bytes.as_mut_slice();
        for handed in &group.batches {
            let header = handed.header;
            let Some((batch, behind)) = rest.split_at_mut_checked(header.size_bytes()) else {
                return;
            };
            rest = behind;
            let outcome = self.check_writable().and_then(|()| {
                let appended = self.append_locked(writer, batch, &header)?;
                Ok(Placed { appended, flush: self.flush_is_due(writer) })
            });
            handed.ticket.serve(outcome);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use crate::fs::MemFs;
    use crate::{Log, LogConfig, ManualClock, Record, Timestamp, TimestampType};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    /// Old records, appended by threads that meet: the segment is as old as the times that the log
    /// stamps on them.
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
        let writer = log.shared.writer.lock();
        std::thread::scope(|scope| {
            scope.spawn(append);
            scope.spawn(append);
            while log.shared.queue.len.load(Ordering::Relaxed) < 2 {
                std::thread::yield_now();
            }
            drop(writer);
        });
        assert_eq!(log.offsets().end, 3);
        assert_eq!(log.stats().unwrap().segments.len(), 2);
    }
}
