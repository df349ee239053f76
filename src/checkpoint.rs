//! The small files beside the segments: what a log remembers from one opening to the next.
//!
//! | file | format | says |
//! |---|---|---|
//! | `recovery-point-offset-checkpoint` | Kafka's text checkpoint | everything below was synced |
//! | `log-start-offset-checkpoint` | the same | where the log starts |
//! | `cleaner-offset-checkpoint` | the same | everything below was compacted |
//! | `.kafka_cleanshutdown` | Kafka's JSON, with members of our own | the log was closed cleanly, and what its active segment looked like |
//! | `.lock` | text | the process that has, or had, the directory open, and the run of the machine it ran in |
//!
//! A broker and a store keep them one directory higher, for all their logs; a broker
//! pays no attention to them here.

use crate::types::{MAX_OFFSET, Offset, Timestamp};
use std::collections::BTreeMap;
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

/// Reads a text checkpoint of offsets: version 0, a count, and that many lines `topic partition
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

/// Reads a text checkpoint of leader epochs: version 0, a count, and that many lines `epoch
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
        .ok_or("its second line is no count")?;
    let mut entries = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        entries.push(parse(&fields).ok_or("a line is malformed")?);
    }
    if entries.len() == count { Ok(entries) } else { Err("it has not as many lines as it counts") }
}

pub(crate) fn format_offset_checkpoint(entries: &[OffsetCheckpointEntry]) -> String {
    let mut text = format!("0\n{}\n", entries.len());
    for OffsetCheckpointEntry { topic, partition, offset } in entries {
        // Writing to a string cannot fail.
        writeln!(text, "{topic} {partition} {offset}").ok();
    }
    text
}

/// The topic and partition a log directory is named for: `orders-3` is partition 3 of `orders`.
/// A directory named otherwise counts as partition 0 of a topic of its name.
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

/// The state of the log when it was closed cleanly.
///
/// The marker alone only says that the last stop was clean. These members say of
/// what: when they do not match the files, something else has written there
/// since, and the log is recovered as after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CleanShutdown {
    /// The base offset of the active segment.
    pub(crate) base: Offset,
    /// The length of its log.
    pub(crate) bytes: u64,
    /// The offset after the last record.
    pub(crate) end: Offset,
    /// The largest timestamp of the active segment, and the last offset of its batch.
    pub(crate) largest: (Timestamp, Offset),
    /// The largest timestamp of its first batch.
    pub(crate) first_timestamp: Timestamp,
    /// How many bytes were appended since the last index entry.
    pub(crate) bytes_since_entry: u64,
    /// How many entries its indexes have.
    pub(crate) offset_entries: u64,
    pub(crate) time_entries: u64,
    /// How many producers the log knows, if that was written down.
    pub(crate) producers: Option<u64>,
    /// The base offset and length of every segment: nothing else would show that one is missing,
    /// or was cut where a batch ends, as a gap in the offsets is what compaction leaves. Empty
    /// when there are more than [`MAX_LISTED`].
    pub(crate) segments: Vec<(Offset, u64)>,
}

/// More segments than this are not listed, so that the marker stays a small file.
const MAX_LISTED: usize = 20_000;

/// Begins the last member: the CRC-32C of all before it. No batch is read below a marker, so
/// nothing else would tell that a digit of it is wrong.
const CHECKSUM: &str = ",\"checksum\":";

impl CleanShutdown {
    pub(crate) fn format(&self) -> String {
        let mut json = String::from("{\"version\":0,\"brokerEpoch\":-1");
        for (name, value) in [
            ("activeSegment", i128::from(self.base)),
            ("activeBytes", self.bytes.into()),
            ("endOffset", self.end.into()),
            ("largestTimestamp", self.largest.0.as_millis().into()),
            ("largestTimestampOffset", self.largest.1.into()),
            ("firstTimestamp", self.first_timestamp.as_millis().into()),
            ("bytesSinceIndexEntry", self.bytes_since_entry.into()),
            ("offsetIndexEntries", self.offset_entries.into()),
            ("timeIndexEntries", self.time_entries.into()),
        ] {
            // Writing to a string cannot fail.
            write!(json, ",\"{name}\":{value}").ok();
        }
        if let Some(producers) = self.producers {
            write!(json, ",\"producers\":{producers}").ok();
        }
        if self.segments.len() <= MAX_LISTED {
            let segments: Vec<String> =
                self.segments.iter().map(|(base, bytes)| format!("{base},{bytes}")).collect();
            write!(json, ",\"segments\":[{}]", segments.join(",")).ok();
        }
        let checksum = crc_fast::crc32_iscsi(json.as_bytes());
        write!(json, "{CHECKSUM}{checksum}}}").ok();
        json
    }

    /// Returns the members, or `None` if another program wrote the marker, or it is damaged.
    pub(crate) fn parse(json: &str) -> Option<CleanShutdown> {
        let (summed, checksum) = json.rsplit_once(CHECKSUM)?;
        if checksum.strip_suffix('}')?.parse() != Ok(crc_fast::crc32_iscsi(summed.as_bytes())) {
            return None;
        }
        let unsigned = |name| member(json, name)?.parse::<u64>().ok();
        let millis = |name| member(json, name)?.parse().ok().map(Timestamp::from_millis);
        if member(json, "version")? != "0" {
            return None;
        }
        Some(CleanShutdown {
            base: unsigned("activeSegment")?,
            bytes: unsigned("activeBytes")?,
            end: unsigned("endOffset").filter(|&end| end <= MAX_OFFSET + 1)?,
            largest: (millis("largestTimestamp")?, unsigned("largestTimestampOffset")?),
            first_timestamp: millis("firstTimestamp")?,
            bytes_since_entry: unsigned("bytesSinceIndexEntry")?,
            offset_entries: unsigned("offsetIndexEntries")?,
            time_entries: unsigned("timeIndexEntries")?,
            producers: unsigned("producers"),
            segments: pairs(json, "segments").unwrap_or_default(),
        })
    }
}

/// The marker of a directory of logs: what each of them looked like when it was closed, by the
/// name of its directory. A broker reads no more of it than that it is there.
pub(crate) fn format_clean_shutdowns<'a>(
    logs: impl IntoIterator<Item = (&'a str, &'a CleanShutdown)>,
) -> String {
    let logs: Vec<String> =
        logs.into_iter().map(|(name, marker)| format!("\"{name}\":{}", marker.format())).collect();
    format!("{{\"version\":0,\"brokerEpoch\":-1,\"logs\":{{{}}}}}", logs.join(","))
}

/// The logs of such a marker, as far as it can be read. Each of them has a checksum of its own.
pub(crate) fn parse_clean_shutdowns(json: &str) -> BTreeMap<String, CleanShutdown> {
    let mut logs = BTreeMap::new();
    let Some((_, mut rest)) = json.split_once("\"logs\":{") else { return logs };
    while let Some((name, after)) = rest.split_once("\":{") {
        let Some(length) = after.find('}') else { break };
        let (body, behind) = after.split_at(length.saturating_add(1));
        let name = name.rsplit_once('"').map_or(name, |(_, name)| name);
        if let Some(marker) = CleanShutdown::parse(&format!("{{{body}")) {
            logs.insert(name.to_owned(), marker);
        }
        rest = behind;
    }
    logs
}

/// The text of a number that is a member of a flat JSON object.
fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = json.split_once(&format!("\"{name}\""))?;
    let after = after.trim_start().strip_prefix(':')?.trim_start();
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '-')?;
    after.get(..end)
}

/// The numbers, two by two, of an array that is a member of a flat JSON object.
fn pairs(json: &str, name: &str) -> Option<Vec<(u64, u64)>> {
    let (_, after) = json.split_once(&format!("\"{name}\""))?;
    let after = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    let (numbers, _) = after.split_once(']')?;
    let numbers: Option<Vec<u64>> =
        numbers.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers?.chunks(2).map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
}

/// The content of the lock file: the process that has the directory open, or had it last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Session {
    pub(crate) process: Option<u32>,
    /// The run of the machine, as the file system names it.
    pub(crate) boot: Option<String>,
    /// Whether this crate wrote it, or found room for no more than its length.
    pub(crate) is_ours: bool,
}

/// No lock file of ours is longer.
pub(crate) const SESSION_BYTES: u64 = 256;

impl Session {
    pub(crate) fn format(&self) -> String {
        let process = self.process.map(|id| id.to_string()).unwrap_or_default();
        format!("process {process}\nboot {}\n", self.boot.as_deref().unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Session {
        let field = |name| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
        };
        let process = field("process").and_then(|id| id.parse().ok());
        Session {
            boot: field("boot").filter(|boot| !boot.is_empty()).map(str::to_owned),
            // Where a file is longer than what was written, it reads as zeros.
            is_ours: process.is_some() || text.contains('\0'),
            process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_kafkas_text() {
        let entry = OffsetCheckpointEntry { topic: "orders".into(), partition: 3, offset: 42 };
        let text = format_offset_checkpoint(std::slice::from_ref(&entry));
        assert_eq!(text, "0\n1\norders 3 42\n");
        assert_eq!(parse_offset_checkpoint(&text), Ok(vec![entry]));
        assert_eq!(parse_offset_checkpoint(""), Ok(vec![]));
    }

    #[test]
    fn a_malformed_checkpoint_is_refused() {
        for text in ["1\n0\n", "0\n", "0\nx\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 -1\n"] {
            assert!(parse_offset_checkpoint(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_epoch_checkpoint("0\n2\n0 0\n2 30\n"), Ok(vec![(0, 0), (2, 30)]));
    }

    /// A log may end behind the last offset there is, and nothing lies above that.
    #[test]
    fn the_largest_offset_is_that_of_an_end() {
        let marker = |end| CleanShutdown { end, ..marker() }.format();
        for (end, is_one) in [(MAX_OFFSET, true), (MAX_OFFSET + 1, true), (MAX_OFFSET + 2, false)] {
            assert_eq!(parse_offset_checkpoint(&format!("0\n1\na 0 {end}\n")).is_ok(), is_one);
            assert_eq!(parse_epoch_checkpoint(&format!("0\n1\n7 {end}\n")).is_ok(), is_one);
            assert_eq!(CleanShutdown::parse(&marker(end)).is_some(), is_one);
        }
    }

    #[test]
    fn a_directory_names_its_partition() {
        let of = |dir: &str| topic_partition(Path::new(dir));
        assert_eq!(of("data/orders-3"), ("orders".into(), 3));
        assert_eq!(of("data/a-b-0"), ("a-b".into(), 0));
        assert_eq!(of("data/plain"), ("plain".into(), 0));
        assert_eq!(of("/"), ("log".into(), 0));
        assert_eq!(of("my log"), ("my_log".into(), 0));
    }

    fn marker() -> CleanShutdown {
        CleanShutdown {
            base: 27,
            bytes: 1105,
            end: 54,
            largest: (Timestamp::from_millis(1_700_000_017_002), 53),
            first_timestamp: Timestamp::NONE,
            bytes_since_entry: 17,
            offset_entries: 2,
            time_entries: 3,
            producers: Some(4),
            segments: vec![(0, 69), (9, 138), (27, 1105)],
        }
    }

    #[test]
    fn the_shutdown_marker_survives_the_round_trip() {
        assert_eq!(CleanShutdown::parse(&marker().format()), Some(marker()));
        let unknown = CleanShutdown { producers: None, ..marker() };
        assert_eq!(CleanShutdown::parse(&unknown.format()), Some(unknown));
        assert_eq!(CleanShutdown::parse(r#"{"version":0,"brokerEpoch":-1}"#), None);
        assert_eq!(CleanShutdown::parse(""), None);
    }

    #[test]
    fn the_marker_of_many_logs_survives_the_round_trip_and_the_loss_of_one() {
        let other = CleanShutdown { end: 7, segments: vec![], ..marker() };
        let text = format_clean_shutdowns([("a-0", &marker()), ("a.b-c-1", &other)]);
        let expected = BTreeMap::from([("a-0".into(), marker()), ("a.b-c-1".into(), other)]);
        assert_eq!(parse_clean_shutdowns(&text), expected);
        let damaged = text.replacen("\"endOffset\":54", "\"endOffset\":55", 1);
        assert_eq!(parse_clean_shutdowns(&damaged).into_keys().collect::<Vec<_>>(), ["a.b-c-1"]);
        assert_eq!(parse_clean_shutdowns(r#"{"version":0,"brokerEpoch":-1}"#), BTreeMap::new());
        for cut in 0..text.len() {
            parse_clean_shutdowns(&text[..cut]);
        }
    }

    #[test]
    fn a_session_survives_the_round_trip_and_its_absence() {
        let session = Session { process: Some(7), boot: Some("boot-1".into()), is_ours: true };
        assert_eq!(Session::parse(&session.format()), session);
        assert_eq!(Session::parse(""), Session::default());
    }
}
