//! Warnings on stderr about the changes that opening a log for writing made.

use crate::failure::warn;
use crate::output::counted;
use annals::{Event, Listener};

/// A listener that warns of everything an opening removes, sets aside or ignores.
#[derive(Debug)]
pub struct Notices {
    /// The name of truncated bytes in a warning.
    cut: &'static str,
}

impl Notices {
    /// For an opening that truncates only what a crash explains.
    pub const OF_RECOVERY: Notices = Notices { cut: "writes that were cut short" };
    /// For an opening that truncates damage, and everything after it.
    pub const OF_DAMAGE: Notices = Notices { cut: "damage, and of what came after it," };
}

impl Listener for Notices {
    fn on_event(&self, event: &Event) {
        match event {
            Event::TailTruncated { path, position, bytes, end } => warn(&format!(
                "the log ends at offset {end}, after the removal of {} of {} from byte {position} of {} on and in later files",
                counted(*bytes, "byte"),
                self.cut,
                path.display()
            )),
            Event::Quarantined(taken) => {
                let (first, last) = (taken.offsets.start, taken.offsets.end.saturating_sub(1));
                let lost = if taken.offsets.is_empty() {
                    String::new()
                } else {
                    format!(", and offsets {first} to {last} have no records")
                };
                warn(&format!(
                    "{} is damaged at byte {}: the file {} has the {} of damage now{lost}",
                    taken.segment.display(),
                    taken.position,
                    taken.path.display(),
                    counted(taken.bytes, "byte"),
                ));
            }
            Event::CheckpointIgnored { path, reason } => {
                warn(&format!("{} was ignored: {reason}", path.display()));
            }
            Event::CorruptionFound(corruption) => warn(&corruption.to_string()),
            Event::CleanupFailed { path, error } => warn(&format!(
                "cannot remove {}: {error}; the next opening retries",
                path.display()
            )),
            _ => {}
        }
    }
}
