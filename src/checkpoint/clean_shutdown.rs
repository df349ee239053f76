//! The marker of a clean shutdown, with the state of the log at that moment.

use crate::types::{MAX_OFFSET, Offset, Timestamp};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The state of a log when it was closed cleanly.
///
/// The marker alone says that the last shutdown was clean. Its members describe the files: if they
/// do not match, another program has written there since, and the log is recovered as after a
/// crash.
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
    /// The bytes appended since the last index entry.
    pub(crate) bytes_since_entry: u64,
    /// The number of entries in its indexes.
    pub(crate) offset_entries: u64,
    pub(crate) time_entries: u64,
    /// The number of producers that the log knows, if it was stored.
    pub(crate) producers: Option<u64>,
    /// The number of leader epochs in their file.
    pub(crate) epochs: u64,
    /// The number of aborted transactions in the indexes of all segments. Nothing else would show
    /// that one of these files is missing, because most segments have none.
    pub(crate) aborted: u64,
    /// The base offset and length of every segment. Nothing else would show that a segment is
    /// missing or was truncated where a batch ends, because compaction leaves gaps in the offsets
    /// too. Empty if there are more than [`MAX_LISTED`].
    pub(crate) segments: Vec<(Offset, u64)>,
}

/// The maximum number of segments to list, so that the marker stays a small file.
const MAX_LISTED: usize = 20_000;

/// The start of the last member: the CRC-32C of everything before it. An opening with a marker
/// reads no batch, so nothing else would detect a damaged digit.
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
        // Most logs have none, and no file either.
        if self.epochs > 0 {
            write!(json, ",\"epochEntries\":{}", self.epochs).ok();
        }
        if self.aborted > 0 {
            write!(json, ",\"abortedTransactions\":{}", self.aborted).ok();
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

    /// Parses a marker. Returns `None` if another program wrote it, or it is damaged.
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
            epochs: unsigned("epochEntries").unwrap_or(0),
            aborted: unsigned("abortedTransactions").unwrap_or(0),
            segments: pairs(json, "segments").unwrap_or_default(),
        })
    }
}

/// Formats the marker of a data directory: the state of each log when it was closed, by the name
/// of its directory. A broker only checks that the file exists.
pub(crate) fn format_clean_shutdowns<'a>(
    logs: impl IntoIterator<Item = (&'a str, &'a CleanShutdown)>,
) -> String {
    let logs: Vec<String> =
        logs.into_iter().map(|(name, marker)| format!("\"{name}\":{}", marker.format())).collect();
    format!("{{\"version\":0,\"brokerEpoch\":-1,\"logs\":{{{}}}}}", logs.join(","))
}

/// Parses the logs of the marker of a data directory, as far as it can be read. Each log has its
/// own checksum.
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

/// Returns the text of a number that is a member of a flat JSON object.
fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = json.split_once(&format!("\"{name}\""))?;
    let after = after.trim_start().strip_prefix(':')?.trim_start();
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '-')?;
    after.get(..end)
}

/// Returns the numbers of an array that is a member of a flat JSON object, in pairs.
fn pairs(json: &str, name: &str) -> Option<Vec<(u64, u64)>> {
    let (_, after) = json.split_once(&format!("\"{name}\""))?;
    let after = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    let (numbers, _) = after.split_once(']')?;
    let numbers: Option<Vec<u64>> =
        numbers.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers?.chunks(2).map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            epochs: 2,
            aborted: 5,
            segments: vec![(0, 69), (9, 138), (27, 1105)],
        }
    }

    #[test]
    fn marker_survives_round_trip() {
        assert_eq!(CleanShutdown::parse(&marker().format()), Some(marker()));
        let unknown = CleanShutdown { producers: None, epochs: 0, aborted: 0, ..marker() };
        assert_eq!(CleanShutdown::parse(&unknown.format()), Some(unknown));
        assert_eq!(CleanShutdown::parse(r#"{"version":0,"brokerEpoch":-1}"#), None);
        assert_eq!(CleanShutdown::parse(""), None);
    }

    #[test]
    fn directory_marker_survives_losing_one_log() {
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

    /// A log may end after the largest offset, and no offset lies above that end.
    #[test]
    fn parse_rejects_end_above_largest() {
        let marker = |end| CleanShutdown { end, ..marker() }.format();
        for (end, is_valid) in [(MAX_OFFSET, true), (MAX_OFFSET + 1, true), (MAX_OFFSET + 2, false)]
        {
            assert_eq!(CleanShutdown::parse(&marker(end)).is_some(), is_valid);
        }
    }
}
