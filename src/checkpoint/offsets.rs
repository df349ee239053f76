//! Kafka's text checkpoints: a version, a count, and a line for each entry.

use crate::types::{MAX_OFFSET, Offset};
use std::fmt::Write as _;
use std::path::Path;

/// An entry of an offset checkpoint: one partition and its offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCheckpointEntry {
    /// The topic.
    pub topic: String,
    /// The partition of the topic.
    pub partition: i32,
    /// The offset.
    pub offset: Offset,
}

/// Parses a checkpoint of offsets: version 0, a count, and that many lines `topic partition
/// offset`.
///
/// # Errors
/// The problem, in words.
pub(crate) fn parse_offset_checkpoint(
    text: &str,
) -> Result<Vec<OffsetCheckpointEntry>, &'static str> {
    parse_lines(text, |fields| {
        let [topic, partition, offset] = fields else { return None };
        let offset = offset.parse().ok().filter(|&offset| offset <= MAX_OFFSET + 1)?;
        Some(OffsetCheckpointEntry {
            topic: (*topic).to_owned(),
            partition: partition.parse().ok()?,
            offset,
        })
    })
}

/// Parses a checkpoint of leader epochs: version 0, a count, and that many lines `epoch
/// start-offset`.
///
/// # Errors
/// The problem, in words.
pub(crate) fn parse_epoch_checkpoint(text: &str) -> Result<Vec<(i32, Offset)>, &'static str> {
    parse_lines(text, |fields| {
        let [epoch, start] = fields else { return None };
        Some((epoch.parse().ok()?, start.parse().ok().filter(|&start| start <= MAX_OFFSET + 1)?))
    })
}

fn parse_lines<T>(
    text: &str,
    parse: impl Fn(&[&str]) -> Option<T>,
) -> Result<Vec<T>, &'static str> {
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(Vec::new()),
        Some(version) if version.trim() == "0" => {}
        Some(_) => return Err("its version is not 0"),
    }
    let count: usize = lines
        .next()
        .and_then(|count| count.trim().parse().ok())
        .ok_or("its second line is not a count")?;
    let mut entries = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        entries.push(parse(&fields).ok_or("a line is malformed")?);
    }
    if entries.len() == count {
        Ok(entries)
    } else {
        Err("its number of lines differs from its count")
    }
}

pub(crate) fn format_offset_checkpoint(entries: &[OffsetCheckpointEntry]) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for OffsetCheckpointEntry { topic, partition, offset } in entries {
        // Writing to a string cannot fail.
        writeln!(text, "{topic} {partition} {offset}").ok();
    }
    text
}

/// Returns the topic and partition that a log directory is named for: `orders-3` is partition 3 of
/// `orders`. A directory with another name is partition 0 of a topic of its name.
pub(crate) fn topic_partition(dir: &Path) -> (String, i32) {
    let name = dir.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let name: String = name.split_whitespace().collect::<Vec<_>>().join("_");
    if let Some((topic, partition)) = name.rsplit_once('-')
        && let Ok(partition) = partition.parse()
        && !topic.is_empty()
    {
        return (topic.to_owned(), partition);
    }
    (if name.is_empty() { "log".to_owned() } else { name }, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoint_has_kafkas_format() {
        let entry = OffsetCheckpointEntry { topic: "orders".into(), partition: 3, offset: 42 };
        let text = format_offset_checkpoint(std::slice::from_ref(&entry));
        assert_eq!(text, "0\n1\norders 3 42\n");
        assert_eq!(parse_offset_checkpoint(&text), Ok(vec![entry]));
        assert_eq!(parse_offset_checkpoint(""), Ok(vec![]));
    }

    #[test]
    fn parse_rejects_malformed_checkpoint() {
        for text in ["1\n0\n", "0\n", "0\nx\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 -1\n"] {
            assert!(parse_offset_checkpoint(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_epoch_checkpoint("0\n2\n0 0\n2 30\n"), Ok(vec![(0, 0), (2, 30)]));
    }

    /// A log may end after the largest offset, and no offset lies above that end.
    #[test]
    fn parse_rejects_offset_above_largest_end() {
        for (end, is_valid) in [(MAX_OFFSET, true), (MAX_OFFSET + 1, true), (MAX_OFFSET + 2, false)]
        {
            let is_parsed = parse_offset_checkpoint(&format!("0\n1\na 0 {end}\n")).is_ok();
            assert_eq!(is_parsed, is_valid);
            assert_eq!(parse_epoch_checkpoint(&format!("0\n1\n7 {end}\n")).is_ok(), is_valid);
        }
    }

    #[test]
    fn topic_partition_comes_from_directory_name() {
        let of = |dir: &str| topic_partition(Path::new(dir));
        assert_eq!(of("data/orders-3"), ("orders".into(), 3));
        assert_eq!(of("data/a-b-0"), ("a-b".into(), 0));
        assert_eq!(of("data/plain"), ("plain".into(), 0));
        assert_eq!(of("/"), ("log".into(), 0));
        assert_eq!(of("my log"), ("my_log".into(), 0));
    }
}
