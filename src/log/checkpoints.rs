//! What a log writes down about itself, an offset a file, in Kafka's text format.

use crate::checkpoint::{
    OffsetCheckpointEntry, format_offset_checkpoint, parse_offset_checkpoint, topic_partition,
};
use crate::error::Result;
use crate::event::Event;
use crate::segment::SegmentDir;
use crate::segment::name::{CLEANED, LOG_START};
use crate::types::Offset;
use std::path::Path;

/// The largest of the small files beside the segments.
pub(crate) const SMALL_FILE_BYTES: u64 = 1 << 20;

/// The offset in one of the checkpoint files; a malformed file counts as none.
pub(crate) fn read_checkpoint(dir: &SegmentDir, name: &str) -> Result<Option<Offset>> {
    let path = dir.path.join(name);
    let Some(bytes) = dir.read_small(&path, SMALL_FILE_BYTES)? else { return Ok(None) };
    let read = parse_offset_checkpoint(&String::from_utf8_lossy(&bytes));
    read.and_then(|entries| agreed(&dir.path, &entries)).or_else(|reason| {
        dir.events.emit(&Event::CheckpointIgnored { path, reason });
        Ok(None)
    })
}

/// The offset in the lines of this log, which must not contradict each other.
fn agreed(dir: &Path, entries: &[OffsetCheckpointEntry]) -> Result<Option<Offset>, &'static str> {
    let of = |topic: &str, partition: i32| {
        let lines = entries.iter().filter(|e| e.topic == topic && e.partition == partition);
        lines.map(|entry| entry.offset).collect::<Vec<_>>()
    };
    let (topic, partition) = topic_partition(dir);
    let mut offsets = of(&topic, partition);
    // Where all lines are of one other log, it is this one, whose directory was renamed.
    if offsets.is_empty()
        && let Some(other) = entries.first()
    {
        offsets = of(&other.topic, other.partition);
        offsets.truncate(if offsets.len() == entries.len() { usize::MAX } else { 0 });
    }
    let first = offsets.first().copied();
    if offsets.iter().all(|offset| Some(*offset) == first) {
        Ok(first)
    } else {
        Err("its lines for this log contradict each other")
    }
}

/// The start of the log as it was written down, if it ever was.
pub(crate) fn read_start(dir: &SegmentDir) -> Result<Option<Offset>> {
    read_checkpoint(dir, LOG_START)
}

/// Writes down, durably, where the log begins.
pub(crate) fn store_start(dir: &SegmentDir, offset: Offset) -> Result<()> {
    store_twice(dir, LOG_START, offset)
}

/// The offset below which the log was compacted, if it ever was.
pub(crate) fn read_cleaned(dir: &SegmentDir) -> Result<Option<Offset>> {
    read_checkpoint(dir, CLEANED)
}

/// Writes down, durably, below which offset the log was compacted.
pub(crate) fn store_cleaned(dir: &SegmentDir, offset: Offset) -> Result<()> {
    store_twice(dir, CLEANED, offset)
}

/// Stores an offset with its line twice: no checksum covers the file, and records are deleted on its word. Where
/// a digit of one line is damaged, the two do not agree, and neither is believed.
fn store_twice(dir: &SegmentDir, name: &str, offset: Offset) -> Result<()> {
    let (topic, partition) = topic_partition(&dir.path);
    let entry = OffsetCheckpointEntry { topic, partition, offset };
    let text = format_offset_checkpoint(&[entry.clone(), entry]);
    dir.replace(&dir.path.join(name), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A broker's file has a line for each of its logs; one of a log that was renamed has another name in it.
    #[test]
    fn the_line_of_this_log_counts_and_lines_of_one_other_log_alone() {
        let line = |topic: &str, partition, offset| OffsetCheckpointEntry {
            topic: topic.to_owned(),
            partition,
            offset,
        };
        let of = |lines: &[OffsetCheckpointEntry]| agreed(Path::new("data/orders-1"), lines);
        let (ours, same_topic) = (line("orders", 1, 5), line("orders", 2, 6));
        let same_partition = line("users", 1, 7);
        let all = [same_topic.clone(), same_partition.clone(), ours.clone()];
        assert_eq!(of(&all), Ok(Some(5)));
        assert!(of(&[ours, line("orders", 1, 8)]).is_err());
        assert_eq!(of(std::slice::from_ref(&same_topic)), Ok(Some(6)));
        assert_eq!(of(&[same_partition.clone(), same_partition.clone()]), Ok(Some(7)));
        assert_eq!(of(&[same_partition, same_topic]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
    }
}
