//! Warnings on stderr about the changes that opening a log for writing made.

use crate::failure::warn;
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
                "the log ends at offset {end}, at byte {position} of {}: {bytes} bytes of {} were removed, behind that and in later files",
                path.display(),
                self.cut
            )),
            Event::Quarantined(taken) => {
                let (first, last) = (taken.offsets.start, taken.offsets.end.saturating_sub(1));
                let lost = if taken.offsets.is_empty() {
                    String::new()
                } else {
                    format!(", and offsets {first} to {last} have no records")
                };
                warn(&format!(
                    "{} is damaged at byte {}: {} bytes were moved to {}{lost}",
                    taken.segment.display(),
                    taken.position,
                    taken.bytes,
                    taken.path.display(),
                ));
            }
            Event::CheckpointIgnored { path, reason } => {
                warn(&format!("{} was ignored: {reason}", path.display()));
            }
            Event::CorruptionFound(corruption) => warn(&corruption.to_string()),
            Event::CleanupFailed { path, error } => warn(&format!(
                "cannot remove {}: {error}; the next opening tries again",
                path.display()
            )),
            _ => {}
        }
    }
}
