//! The names of the files of a log directory, and their meaning.

use crate::checkpoint::{
    CLEAN_SHUTDOWN, CLEANED, HIGH_WATERMARK, LEADER_EPOCHS, LOCK, LOG_START, PARTITION_METADATA,
    RECOVERY_POINT, TOPIC_PROPERTIES,
};
use crate::fs::RESERVE_FILES;
use crate::types::{MAX_OFFSET, Offset};
use std::fmt;

/// The files of a log directory that are neither segments nor leftovers.
const KNOWN: [&str; 9] = [
    LOCK,
    CLEAN_SHUTDOWN,
    RECOVERY_POINT,
    LOG_START,
    LEADER_EPOCHS,
    PARTITION_METADATA,
    TOPIC_PROPERTIES,
    CLEANED,
    HIGH_WATERMARK,
];

/// The names that file systems and operating systems create at the root of a volume.
const OF_VOLUMES: [&str; 6] = [
    "lost+found",
    "System Volume Information",
    "$RECYCLE.BIN",
    "@eaDir",
    "aquota.user",
    "aquota.group",
];

/// Returns whether systems or tools put a file or directory of this name into any directory or
/// fresh volume, so that it does not show that the directory belongs to something else. Hidden
/// files count, such as `.git` or `.DS_Store`.
pub(crate) fn is_of_system(name: &str) -> bool {
    name.starts_with('.') || OF_VOLUMES.contains(&name)
}

/// Returns the first of these names and the number of the others, for an error; `None` without a
/// name.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let mut names: Vec<&String> = names.into_iter().collect();
    names.sort_unstable();
    let (first, others) = names.split_first()?;
    Some(match others.len() {
        0 => format!("`{first}`"),
        1 => format!("`{first}` and another entry"),
        others => format!("`{first}` and {others} other entries"),
    })
}

/// The kind of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Log,
    OffsetIndex,
    TimeIndex,
    TxnIndex,
    Snapshot,
    /// The producer state that a snapshot leaves out. Kafka has no such file.
    Recent,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Log,
        Kind::OffsetIndex,
        Kind::TimeIndex,
        Kind::TxnIndex,
        Kind::Snapshot,
        Kind::Recent,
    ];

    /// Returns whether the file describes the log as of an offset, whichever segment begins there.
    pub(crate) const fn is_of_offset(self) -> bool {
        matches!(self, Kind::Snapshot | Kind::Recent)
    }

    const fn extension(self) -> &'static str {
        match self {
            Kind::Log => "log",
            Kind::OffsetIndex => "index",
            Kind::TimeIndex => "timeindex",
            Kind::TxnIndex => "txnindex",
            Kind::Snapshot => "snapshot",
            Kind::Recent => "recent",
        }
    }
}

/// The stage of a segment file in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// In use.
    Live,
    /// Complete, about to replace live files.
    Swap,
    /// Being written by a compaction or a split.
    Cleaned,
    /// No longer part of the log.
    Deleted,
}

impl Stage {
    const fn suffix(self) -> &'static str {
        match self {
            Stage::Live => "",
            Stage::Swap => ".swap",
            Stage::Cleaned => ".cleaned",
            Stage::Deleted => ".deleted",
        }
    }
}

/// The name of a segment file: `%020d`, an extension, and a suffix for its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentFile {
    pub(crate) base: Offset,
    pub(crate) kind: Kind,
    pub(crate) stage: Stage,
}

impl SegmentFile {
    pub(crate) const fn live(base: Offset, kind: Kind) -> SegmentFile {
        SegmentFile { base, kind, stage: Stage::Live }
    }

    /// Parses a name. Returns `None` if it is not that of a segment file.
    pub(crate) fn parse(name: &str) -> Option<SegmentFile> {
        let (digits, rest) = name.split_once('.')?;
        if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // A log whose last offset is assigned continues with an empty segment after it.
        let base = digits.parse().ok().filter(|&base| base <= MAX_OFFSET + 1)?;
        for stage in [Stage::Swap, Stage::Cleaned, Stage::Deleted, Stage::Live] {
            let Some(extension) = rest.strip_suffix(stage.suffix()) else { continue };
            let kind = Kind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
            return Some(SegmentFile { base, kind, stage });
        }
        None
    }
}

impl fmt::Display for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}.{}{}", self.base, self.kind.extension(), self.stage.suffix())
    }
}

/// Returns the name of the file for the damage that stood in a segment's log from `position` on:
/// `00000000000000000000.log.1234.quarantined`.
pub(crate) fn quarantine_name(base: Offset, position: u64) -> String {
    format!("{}.{position}.quarantined", SegmentFile::live(base, Kind::Log))
}

fn is_quarantine_name(name: &str) -> bool {
    name.strip_suffix(".quarantined").and_then(|name| name.rsplit_once('.')).is_some_and(
        |(segment, position)| {
            SegmentFile::parse(segment).is_some() && position.parse::<u64>().is_ok()
        },
    )
}

/// The meaning of a name in a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(SegmentFile),
    /// One of the log's own files besides segments.
    Known,
    /// Damage that was moved out of a segment. Nothing reads it.
    Quarantined,
    /// The half-written content of a file that was being replaced. Nothing depends on it.
    Temporary,
    Unknown,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Name {
        if let Some(file) = SegmentFile::parse(name) {
            return Name::Segment(file);
        }
        if KNOWN.contains(&name) || RESERVE_FILES.contains(&name) {
            return Name::Known;
        }
        if is_quarantine_name(name) {
            return Name::Quarantined;
        }
        match name.strip_suffix(".tmp") {
            Some(stem) if KNOWN.contains(&stem) || SegmentFile::parse(stem).is_some() => {
                Name::Temporary
            }
            _ => Name::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let file = SegmentFile::live(27, Kind::TimeIndex);
        assert_eq!(file.to_string(), "00000000000000000027.timeindex");
        let swap = SegmentFile { stage: Stage::Swap, ..file };
        assert_eq!(swap.to_string(), "00000000000000000027.timeindex.swap");
    }

    #[test]
    fn every_name_parses_back() {
        for base in [0, 1, 27, MAX_OFFSET, MAX_OFFSET + 1] {
            for kind in Kind::ALL {
                for stage in [Stage::Live, Stage::Swap, Stage::Cleaned, Stage::Deleted] {
                    let file = SegmentFile { base, kind, stage };
                    assert_eq!(SegmentFile::parse(&file.to_string()), Some(file));
                }
            }
        }
    }

    #[test]
    fn parse_rejects_name_that_is_no_segment() {
        for name in [
            "",
            ".log",
            "0.log",
            "000000000000000000000.log",
            "0000000000000000000x.log",
            "99999999999999999999.log",
            "00000000000000000000.log.other",
            "00000000000000000000.log.swap.swap",
            "00000000000000000000",
            "+0000000000000000001.log",
        ] {
            assert_eq!(SegmentFile::parse(name), None, "{name}");
            assert_eq!(Name::parse(name), Name::Unknown, "{name}");
        }
        assert_eq!(Name::parse("partition.metadata"), Name::Known);
    }

    /// An opening removes temporary files, so a file of another program must not count as one.
    #[test]
    fn foreign_file_is_unknown_with_any_ending() {
        let segment = "00000000000000000000.log";
        for name in [segment, "partition.metadata", RECOVERY_POINT] {
            assert_eq!(Name::parse(&format!("{name}.tmp")), Name::Temporary, "{name}");
        }
        assert_eq!(Name::parse(&quarantine_name(0, 7)), Name::Quarantined);
        let strange = ["notes.tmp", "notes.7.quarantined", "7.quarantined", "notes.quarantined"];
        let ours =
            ["x.quarantined", "-7.quarantined", "quarantined", "7.quarantined.tmp", "tmp.tmp"];
        let ours = ours.map(|ending| format!("{segment}.{ending}"));
        for name in strange.into_iter().chain(ours.iter().map(String::as_str)) {
            assert_eq!(Name::parse(name), Name::Unknown, "{name}");
        }
    }
}
