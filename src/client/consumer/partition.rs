//! A partition that a consumer reads.

use crate::client::consumer::records::ConsumerRecord;
use crate::client::consumer::wakeup::{ConsumerWakeup, OneShotWaker};
use crate::error::{ConsumeError, Error, Result};
use crate::group::offsets::OffsetAndMetadata;
use crate::log::{Log, Reader};
use crate::record::StoredRecord;
use crate::store::topic::Topic;
use crate::types::{IsolationLevel, LogicalTime, Offset, StartAt, TopicPartition};
use std::sync::Arc;
use std::task::Waker;

/// A partition and the consumer's position in it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) name: TopicPartition,
    pub(super) log: Log,
    level: IsolationLevel,
    /// When the log was created.
    pub(super) created: LogicalTime,
    /// The time of the call that assigned it; `None` if the group assigns it and knows the time.
    pub(super) since: Option<LogicalTime>,
    /// Holds the position; `None` until that is resolved. Records that it has read ahead wait
    /// there for the next poll.
    reader: Option<Reader>,
    /// The position at which the last read found no record below the bound, and the revision of
    /// the log and the bound then: the bound lies inside of the next batch.
    withheld: Option<(Offset, u64, Offset)>,
    /// Whether the present poll has moved the position.
    moved: bool,
    pub(super) paused: bool,
    /// Whether it has no open log: its topic was deleted, or it is offline, closed, or being
    /// reopened. Cleared when topics or logs change, so that it is looked up again.
    pub(super) unavailable: bool,
    /// Whether a poll has failed because it is unavailable.
    pub(super) reported: bool,
    /// The offset that this consumer has committed last.
    pub(super) committed: Option<Offset>,
    one_shot: Arc<OneShotWaker>,
    waker: Waker,
    waker_id: u64,
}

/// The limits of a read.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadLimits {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Partition {
    pub(super) fn new(
        name: TopicPartition,
        (log, created): (Log, LogicalTime),
        since: Option<LogicalTime>,
        level: IsolationLevel,
        wakeup: &Arc<ConsumerWakeup>,
    ) -> Partition {
        let one_shot = OneShotWaker::new(wakeup);
        let waker = Waker::from(Arc::clone(&one_shot));
        let waker_id = log.waker_id();
        let (reader, committed) = (None, None);
        Partition {
            name,
            log,
            level,
            created,
            since,
            reader,
            withheld: None,
            moved: false,
            paused: false,
            unavailable: false,
            reported: false,
            committed,
            one_shot,
            waker,
            waker_id,
        }
    }

    /// Returns whether it is a partition of this topic, and not of an earlier one of that name.
    pub(super) fn belongs_to(&self, topic: &Topic) -> bool {
        self.log.topic_id() == Some(topic.id().to_bytes())
    }

    /// Returns the offset of the next record to read, once that is resolved.
    pub(super) fn position(&self) -> Option<Offset> {
        self.reader.as_ref().map(Reader::offset)
    }

    /// Returns whether the position is not the one that this consumer has committed.
    pub(super) fn is_uncommitted(&self) -> bool {
        let at = self.position();
        at.is_some() && at != self.committed
    }

    /// Returns the position if the present poll has moved it, at the end of the poll.
    pub(super) fn take_moved_position(&mut self) -> Option<(TopicPartition, OffsetAndMetadata)> {
        let moved = std::mem::take(&mut self.moved);
        let offset = self.position().filter(|_| moved)?;
        let leader_epoch = self.log.epoch_of(offset.saturating_sub(1)).ok().flatten();
        let next = OffsetAndMetadata { leader_epoch, ..OffsetAndMetadata::from(offset) };
        Some((self.name.clone(), next))
    }

    pub(super) fn seek(&mut self, to: StartAt) -> Result<()> {
        match &mut self.reader {
            Some(reader) => reader.seek(to),
            None => {
                self.reader = Some(self.log.isolated(self.level).reader(to)?);
                Ok(())
            }
        }
    }

    /// Replaces the log. If the partition was reopened, reading continues at the position; if the
    /// topic was deleted and created again, the position is resolved anew.
    pub(super) fn replace_log(&mut self, (log, created): (Log, LogicalTime)) {
        if log.is_same_partition(&self.log) {
            // If the log has lost its last records, the next read fails beyond the end.
            self.reader = self.position().map(|at| log.reader_at(self.level, at));
        } else {
            (self.reader, self.committed) = (None, None);
        }
        self.log.forget_waker(self.waker_id);
        let fresh = OneShotWaker::new(self.one_shot.wakeup());
        self.waker = Waker::from(Arc::clone(&fresh));
        self.one_shot = fresh;
        self.waker_id = log.waker_id();
        (self.log, self.created, self.withheld) = (log, created, None);
        (self.unavailable, self.reported) = (false, false);
    }

    /// Returns the offset below which the consumer finds records: the end of the log, or the last
    /// stable offset if it reads committed records.
    fn bound(&self) -> Offset {
        self.log.bound(self.level)
    }

    /// Returns the number of offsets from a position to the last record that the consumer may
    /// read, without deleted records.
    pub(super) fn lag(&self, position: Offset) -> u64 {
        self.bound().saturating_sub(position.max(self.log.offsets().start))
    }

    /// Returns whether there may be records to read, or an error to report.
    pub(super) fn is_ready(&self) -> bool {
        // A position beyond the end, after a truncation, is an error to report. A position between
        // the bound and the end waits.
        let has_more = |at| {
            at < self.bound() && !self.is_withheld(at)
                || at > self.log.offsets().end
                || self.log.is_closed()
        };
        !self.paused && !self.unavailable && self.position().is_none_or(has_more)
    }

    fn is_withheld(&self, at: Offset) -> bool {
        let withheld = |(found_at, revision, bound)| {
            found_at == at && (revision, bound) == (self.log.revision(), self.bound())
        };
        self.withheld.is_some_and(withheld)
    }

    /// Closes files that were deleted, as nothing is read from the partition for now.
    pub(super) fn release_files(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.leave_if_changed();
        }
    }

    /// Makes the log wake the consumer when there are more records.
    pub(super) fn register_waker(&self) {
        if !self.paused && !self.unavailable && self.one_shot.arm() {
            self.log.wake_on_change(self.waker_id, &self.waker);
        }
    }

    /// Reads records up to the limits, and returns their bytes. The record that reaches the limit
    /// of bytes is the last one.
    ///
    /// The records before an error are read, too. If the log is truncated or compacted meanwhile,
    /// they are dropped and read again: all records of one call are of one history.
    pub(super) fn read(
        &mut self,
        room: ReadLimits,
        out: &mut Vec<ConsumerRecord>,
    ) -> (usize, Result<()>) {
        let before = self.position();
        let read = self.read_on(room, out);
        self.moved |= self.position() != before;
        read
    }

    fn read_on(&mut self, room: ReadLimits, out: &mut Vec<ConsumerRecord>) -> (usize, Result<()>) {
        let before = out.len();
        let Some(reader) = &mut self.reader else { return (0, Ok(())) };
        let (from, mut revision) = (reader.offset(), None);
        let (log_revision, bound) = (self.log.revision(), self.log.bound(self.level));
        let mut bytes = 0usize;
        while out.len().saturating_sub(before) < room.records {
            // The records that the reader has read ahead may have been deleted since.
            if out.len() == before
                && let Err(error) = in_range(&self.log, reader.offset())
            {
                return (0, Err(error));
            }
            let decoded = if out.len() > before { reader.next_decoded() } else { None };
            let next = match decoded {
                Some(record) => Ok(Some(record)),
                None => reader.next_record_or_end(),
            };
            if *revision.get_or_insert(reader.revision()) != reader.revision() {
                (bytes, revision) = (0, None);
                out.truncate(before);
                reader.go_back_to(from);
                continue;
            }
            let record = match next {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.withheld = Some((reader.offset(), log_revision, bound));
                    break;
                }
                Err(error) => return (bytes, Err(error)),
            };
            bytes = bytes.saturating_add(payload_bytes(&record));
            let topic = Arc::clone(&self.name.topic);
            out.push(ConsumerRecord { topic, partition: self.name.partition, record });
            if bytes >= room.bytes {
                break;
            }
        }
        (bytes, Ok(()))
    }

    /// Returns the error of the partition at its position. If there is no position, `intended` is
    /// the offset at which it would have begun.
    pub(super) fn error(&self, intended: Option<Offset>, error: Error) -> Error {
        let start = || self.log.offsets().start;
        let error = ConsumeError::Partition {
            topic: (*self.name.topic).to_owned(),
            partition: self.name.partition,
            offset: intended.or_else(|| self.position()).unwrap_or_else(start),
            source: Arc::new(error),
        };
        error.into()
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.log.forget_waker(self.waker_id);
    }
}

fn in_range(log: &Log, requested: Offset) -> Result<()> {
    let ends = log.offsets();
    let (start, end) = (ends.start, ends.end);
    if requested < start || requested > end {
        return Err(log.out_of_range(requested, start, end));
    }
    Ok(())
}

fn payload_bytes(record: &StoredRecord) -> usize {
    let of = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().fold(0usize, |sum, header| {
        sum.saturating_add(header.name.as_bytes().len()).saturating_add(of(&header.value))
    });
    of(&record.key).saturating_add(of(&record.value)).saturating_add(headers)
}
