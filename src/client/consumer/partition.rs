//! A partition that a consumer reads.

use crate::client::consumer::records::ConsumerRecord;
use crate::client::consumer::wakeup::{ConsumerWakeup, OneShotWaker};
use crate::error::{ConsumeError, Error, Result};
use crate::log::{Log, Reader};
use crate::record::StoredRecord;
use crate::store::topic::Topic;
use crate::types::LogicalTime;
use crate::types::TopicPartition;
use crate::types::{Offset, StartAt};
use std::sync::Arc;
use std::task::Waker;

/// A partition, and how far the consumer is in it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) name: TopicPartition,
    pub(super) log: Log,
    /// When the log was made.
    pub(super) born: LogicalTime,
    /// Since when the consumer reads it, if it was assigned by hand. Otherwise the group knows.
    pub(super) since: Option<LogicalTime>,
    /// Where it is. `None` until that was decided. What it has read ahead waits in it for the next
    /// poll.
    reader: Option<Reader>,
    pub(super) paused: bool,
    /// Whether it has no open log: its topic was deleted, or it is offline, closed, or being
    /// reopened. It is looked up again when topics or logs come or go.
    pub(super) gone: bool,
    /// Whether a poll has failed because of that.
    pub(super) reported: bool,
    /// The offset that this consumer committed last.
    pub(super) committed: Option<Offset>,
    trigger: Arc<OneShotWaker>,
    waker: Waker,
    waker_id: u64,
}

/// How much may be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Partition {
    pub(super) fn new(
        name: TopicPartition,
        (log, born): (Log, LogicalTime),
        since: Option<LogicalTime>,
        bell: &Arc<ConsumerWakeup>,
    ) -> Partition {
        let trigger = OneShotWaker::new(bell);
        let waker = Waker::from(Arc::clone(&trigger));
        let waker_id = log.waker_id();
        let (reader, committed) = (None, None);
        Partition {
            name,
            log,
            born,
            since,
            reader,
            paused: false,
            gone: false,
            reported: false,
            committed,
            trigger,
            waker,
            waker_id,
        }
    }

    /// Whether it is a partition of this topic, and not of another that had the name.
    pub(super) fn is_of(&self, topic: &Topic) -> bool {
        self.log.topic_id() == Some(topic.id().to_bytes())
    }

    /// The offset of the next record to read, once that was decided.
    pub(super) fn position(&self) -> Option<Offset> {
        self.reader.as_ref().map(Reader::offset)
    }

    /// Whether it is somewhere else than where this consumer has committed.
    pub(super) fn is_dirty(&self) -> bool {
        let at = self.position();
        at.is_some() && at != self.committed
    }

    pub(super) fn seek(&mut self, to: StartAt) -> Result<()> {
        match &mut self.reader {
            Some(reader) => reader.seek(to),
            None => {
                self.reader = Some(self.log.reader(to)?);
                Ok(())
            }
        }
    }

    /// Another log has the name now. If the topic was deleted and made again, where to begin in it
    /// is to be decided; if the partition was reopened, it is read on where it was.
    pub(super) fn replace_log(&mut self, (log, born): (Log, LogicalTime)) {
        if log.is_same_partition(&self.log) {
            // Beyond the end, if the log has lost its last records, the next read finds that out.
            self.reader = self.position().map(|at| log.reader_at(at));
        } else {
            (self.reader, self.committed) = (None, None);
        }
        self.log.forget_waker(self.waker_id);
        let fresh = OneShotWaker::new(self.trigger.bell());
        self.waker = Waker::from(Arc::clone(&fresh));
        self.trigger = fresh;
        self.waker_id = log.waker_id();
        (self.log, self.born) = (log, born);
        (self.gone, self.reported) = (false, false);
    }

    /// Whether there may be something to read, or something to say.
    pub(super) fn is_ready(&self) -> bool {
        let has_more = |at| at != self.log.offsets().end || self.log.is_closed();
        !self.paused && !self.gone && self.position().is_none_or(has_more)
    }

    /// Keeps nothing on disk that was deleted, as nothing is read from it for now.
    pub(super) fn rest(&mut self) {
        if let Some(reader) = &mut self.reader {
            reader.leave_if_changed();
        }
    }

    /// Sees to it that the bell rings when there is more.
    pub(super) fn watch(&self) {
        if !self.paused && !self.gone && self.trigger.arm() {
            self.log.wake_on_change(self.waker_id, &self.waker);
        }
    }

    /// Takes records, as many as there is room for. Says how many bytes they have; the one that
    /// fills the room is the last.
    ///
    /// An error comes after the records before it, which are taken. If the log is truncated or
    /// compacted meanwhile, what was taken is dropped and read again: all records of one call are
    /// of one history.
    pub(super) fn take(
        &mut self,
        room: Room,
        out: &mut Vec<ConsumerRecord>,
    ) -> (usize, Result<()>) {
        let before = out.len();
        let Some(reader) = &mut self.reader else { return (0, Ok(())) };
        let (from, mut revision) = (reader.offset(), None);
        let mut bytes = 0usize;
        while out.len().saturating_sub(before) < room.records {
            // What it has read ahead may have been deleted since.
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
                Ok(None) => break,
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

    /// What is wrong with the partition at its position, or where it was meant to go on without
    /// one.
    pub(super) fn failed(&self, meant: Option<Offset>, error: Error) -> Error {
        let start = || self.log.offsets().start;
        let error = ConsumeError::Partition {
            topic: (*self.name.topic).to_owned(),
            partition: self.name.partition,
            offset: meant.or_else(|| self.position()).unwrap_or_else(start),
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
