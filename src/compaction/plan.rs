//! The plan of a pass: where the dirty part of a log begins and ends, whether a pass is due, and
//! which segments become one. Numbers in, numbers out.
use crate::segment::{offset_index, time_index};
use crate::types::{Offset, Timestamp};
use std::ops::Range;
use std::time::Duration;

/// The largest offset relative to the base of its segment that fits into an index entry.
const MAX_RELATIVE_OFFSET: u64 = i32::MAX as u64;

/// The facts about a segment that planning needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) base: Offset,
    /// The base of the next segment, or the end of the log for the last one.
    pub(crate) next: Offset,
    pub(crate) bytes: u64,
    pub(crate) offset_entries: usize,
    pub(crate) time_entries: usize,
    /// The largest timestamp in it.
    pub(crate) largest: Timestamp,
    /// The largest timestamp of its first batch.
    pub(crate) first: Timestamp,
    /// Whether it is the active segment.
    pub(crate) active: bool,
}

/// The rules that decide when a log is cleaned, and which part of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A pass is due if more than this share of the cleanable bytes is dirty.
    pub(crate) min_dirty_ratio: f64,
    /// Records younger than this are not cleaned.
    pub(crate) min_lag: Duration,
    /// A pass is due if a dirty record is older than this.
    pub(crate) max_lag: Duration,
}

/// The dirty part of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dirty {
    /// The first dirty offset.
    pub(crate) from: Offset,
    /// The first offset that cannot be cleaned: the start of a segment. Not above `from` if
    /// nothing can be cleaned.
    pub(crate) upto: Offset,
    /// The bytes below the first dirty offset. As in Kafka, the segment that holds that offset
    /// counts both here and in `dirty_bytes`.
    pub(crate) clean_bytes: u64,
    /// The bytes that can be cleaned.
    pub(crate) dirty_bytes: u64,
    /// Whether a record has been dirty for longer than `max_lag`.
    pub(crate) overdue: bool,
}

impl Dirty {
    /// Returns the share of dirty bytes in the clean and dirty bytes; 0 if there are none.
    pub(crate) fn ratio(&self) -> f64 {
        let total = self.clean_bytes.saturating_add(self.dirty_bytes);
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Returns whether a pass is due.
    pub(crate) fn is_due(&self, rules: &Rules) -> bool {
        self.overdue || self.ratio() > rules.min_dirty_ratio
    }
}

/// Finds the dirty part of a log that begins at `start` and was cleaned up to `checkpoint`.
///
/// `parts` are its segments in order. If the checkpoint lies outside of the log, the dirty part
/// begins at the start. Three parts cannot be cleaned: everything at or above the last stable
/// offset, which transactions may still abort; the active segment; and everything from the first
/// segment that has a record younger than `min_lag`.
pub(crate) fn dirty(
    parts: &[Part],
    start: Offset,
    checkpoint: Option<Offset>,
    last_stable: Offset,
    now: Timestamp,
    rules: &Rules,
) -> Dirty {
    let end = parts.last().map_or(start, |last| last.next);
    let from = checkpoint.filter(|at| (start..=end).contains(at)).unwrap_or(start);
    let holder = index_of(parts, from);
    let unclean = || {
        let dirty = parts.get(holder..).unwrap_or_default();
        dirty.iter().take_while(|part| !part.active)
    };
    let active = parts.iter().find(|part| part.active).map_or(end, |part| part.base);
    let settled = before(now, rules.min_lag);
    let young = unclean().find(|part| !rules.min_lag.is_zero() && part.largest > settled);
    let young = young.map_or(Offset::MAX, |part| part.base);
    let bound = last_stable.min(active).min(young).max(from);
    // Round down to the start of a segment: nothing above the bound may be cleaned.
    let upto = match parts.get(index_of(parts, bound)) {
        Some(part) if bound < part.next => part.base,
        _ => bound,
    };
    let bytes = |part: &Part| part.bytes;
    let clean_bytes = parts.iter().take_while(|part| part.base < from).map(bytes).sum();
    let dirty_bytes = unclean().take_while(|part| part.base < upto).map(bytes).sum();
    let times = unclean().map(|part| part.first).filter(|first| first.as_millis() > 0);
    let overdue = dirty_bytes > 0
        && times.min().is_some_and(|earliest| earliest < before(now, rules.max_lag));
    Dirty { from, upto, clean_bytes, dirty_bytes, overdue }
}

/// Returns the index of the segment that holds an offset, or of the first if it lies below.
fn index_of(parts: &[Part], offset: Offset) -> usize {
    parts.partition_point(|part| part.base <= offset).saturating_sub(1)
}

fn before(now: Timestamp, lag: Duration) -> Timestamp {
    let lag = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.as_millis().saturating_sub(lag))
}

/// The size limits of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupLimits {
    pub(crate) segment_bytes: u64,
    /// The limit of each index.
    pub(crate) index_bytes: u64,
}

/// Divides the segments that begin below `upto` into groups. Each group becomes one segment.
///
/// A cleaned segment can be small, so neighbours are joined, as long as the input of a group is
/// within the limits for one segment, and its offsets fit relative to the first.
pub(crate) fn groups(parts: &[Part], upto: Offset, limits: &GroupLimits) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut sizes = Sizes::default();
    let mut base = 0;
    let cleaned = parts.iter().take_while(|part| part.base < upto && !part.active);
    for (index, part) in cleaned.enumerate() {
        let joined = sizes.with(part);
        let last = part.next.saturating_sub(1);
        let fits = joined.fit(limits) && last.saturating_sub(base) <= MAX_RELATIVE_OFFSET;
        let next = index.saturating_add(1);
        match groups.last_mut() {
            Some(group) if fits => {
                group.end = next;
                sizes = joined;
            }
            _ => {
                groups.push(index..next);
                sizes = Sizes::default().with(part);
                base = part.base;
            }
        }
    }
    groups
}

#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    log: u64,
    offsets: u64,
    times: u64,
}

impl Sizes {
    fn with(self, part: &Part) -> Sizes {
        let bytes = |entries: usize, each: usize| entries.saturating_mul(each) as u64;
        let offsets = bytes(part.offset_entries, offset_index::ENTRY_BYTES);
        let times = bytes(part.time_entries, time_index::ENTRY_BYTES);
        Sizes {
            log: self.log.saturating_add(part.bytes),
            offsets: self.offsets.saturating_add(offsets),
            times: self.times.saturating_add(times),
        }
    }

    fn fit(self, limits: &GroupLimits) -> bool {
        self.log <= limits.segment_bytes
            && self.offsets <= limits.index_bytes
            && self.times <= limits.index_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(base: Offset, next: Offset, bytes: u64) -> Part {
        let (largest, first) = (Timestamp::from_millis(500), Timestamp::from_millis(100));
        let active = false;
        Part { base, next, bytes, offset_entries: 1, time_entries: 1, largest, first, active }
    }

    fn parts() -> Vec<Part> {
        let active = Part { active: true, ..part(30, 35, 1000) };
        vec![part(0, 10, 100), part(10, 20, 200), part(20, 30, 300), active]
    }

    const RULES: Rules = Rules {
        min_dirty_ratio: 0.5,
        min_lag: Duration::ZERO,
        max_lag: Duration::from_millis(u64::MAX),
    };

    fn find(checkpoint: Option<Offset>, last_stable: Offset, now: i64, rules: &Rules) -> Dirty {
        dirty(&parts(), 0, checkpoint, last_stable, Timestamp::from_millis(now), rules)
    }

    #[test]
    fn first_pass_covers_all_but_active_segment() {
        let all = find(None, 35, 1000, &RULES);
        let expected =
            Dirty { from: 0, upto: 30, clean_bytes: 0, dirty_bytes: 600, overdue: false };
        assert_eq!(all, expected);
        assert_eq!(all.ratio(), 1.0);
        assert!(all.is_due(&RULES));
    }

    #[test]
    fn checkpoint_divides_clean_from_dirty() {
        let half = find(Some(20), 35, 1000, &RULES);
        assert_eq!((half.from, half.clean_bytes, half.dirty_bytes), (20, 300, 300));
        assert_eq!(half.ratio(), 0.5);
        assert!(!half.is_due(&RULES), "the share must be exceeded");
        let inside = find(Some(15), 35, 1000, &RULES);
        assert_eq!((inside.clean_bytes, inside.dirty_bytes), (300, 500));
        for useless in [36, Offset::MAX] {
            assert_eq!(find(Some(useless), 35, 1000, &RULES).from, 0);
        }
        let below = dirty(&parts(), 12, Some(3), 35, Timestamp::from_millis(1000), &RULES);
        assert_eq!((below.from, below.clean_bytes, below.dirty_bytes), (12, 300, 500));
    }

    #[test]
    fn nothing_is_dirty_when_checkpoint_at_bound() {
        for at in [30, 33, 35] {
            let none = find(Some(at), 35, 1000, &RULES);
            assert_eq!((none.from, none.dirty_bytes, none.overdue), (at, 0, false));
            assert!(none.upto <= at);
            assert!(!none.is_due(&RULES));
        }
    }

    #[test]
    fn undecided_records_bound_dirty_part() {
        for (last_stable, upto, bytes) in [(29, 20, 300), (20, 20, 300), (19, 10, 100), (3, 0, 0)] {
            let found = find(None, last_stable, 1000, &RULES);
            assert_eq!((found.upto, found.dirty_bytes), (upto, bytes), "{last_stable}");
        }
        let behind = find(Some(15), 3, 1000, &RULES);
        assert_eq!((behind.from, behind.upto, behind.dirty_bytes), (15, 10, 0));
    }

    #[test]
    fn young_records_bound_and_old_records_trigger() {
        let lag = Rules { min_lag: Duration::from_millis(500), ..RULES };
        assert_eq!(find(None, 35, 1000, &lag).upto, 30, "500 is not above 500");
        assert_eq!(find(None, 35, 999, &lag).upto, 0);
        let mut parts = parts();
        parts[1].largest = Timestamp::from_millis(900);
        let found = dirty(&parts, 0, None, 35, Timestamp::from_millis(1000), &lag);
        assert_eq!((found.upto, found.dirty_bytes), (10, 100));
        let max = Rules { max_lag: Duration::from_millis(900), min_dirty_ratio: 1.0, ..RULES };
        assert!(!find(None, 35, 1000, &max).overdue, "100 is not below 100");
        assert!(find(None, 35, 1001, &max).overdue);
        assert!(find(Some(20), 35, 1001, &max).is_due(&max));
        for part in &mut parts {
            part.first = Timestamp::NONE;
        }
        assert!(!dirty(&parts, 0, None, 35, Timestamp::from_millis(1001), &max).overdue);
    }

    #[test]
    fn empty_log_is_never_due() {
        let none = dirty(&[], 7, None, 7, Timestamp::from_millis(0), &RULES);
        assert_eq!((none.from, none.ratio(), none.is_due(&RULES)), (7, 0.0, false));
    }

    /// Returns the ends of the groups; each next group begins there.
    fn ends(parts: &[Part], upto: Offset, limits: &GroupLimits) -> Vec<usize> {
        let groups = groups(parts, upto, limits);
        let starts = std::iter::once(0).chain(groups.iter().map(|group| group.end));
        assert!(starts.zip(&groups).all(|(start, group)| start == group.start));
        groups.into_iter().map(|group| group.end).collect()
    }

    #[test]
    fn neighbours_join_within_limits() {
        let limits = GroupLimits { segment_bytes: 300, index_bytes: 24 };
        assert_eq!(ends(&parts(), 30, &limits), [2, 3]);
        assert_eq!(ends(&parts(), 20, &limits), [2]);
        assert_eq!(ends(&parts(), 11, &limits), [2], "the map was full inside the segment");
        assert_eq!(ends(&parts(), 10, &limits), [1]);
        assert_eq!(ends(&parts(), Offset::MAX, &limits), [2, 3], "never the active segment");
        let one = |index_bytes| GroupLimits { segment_bytes: 1 << 30, index_bytes };
        assert_eq!(ends(&parts(), 30, &one(36)), [3]);
        assert_eq!(ends(&parts(), 30, &one(35)), [2, 3], "the time indexes");
        let mut parts = parts();
        parts[2].offset_entries = 3;
        assert_eq!(ends(&parts, 30, &one(39)), [2, 3], "the offset indexes");
        assert_eq!(ends(&[], 30, &one(39)), [0_usize; 0]);
    }

    #[test]
    fn group_spans_offsets_that_fit_an_index() {
        let limits = GroupLimits { segment_bytes: u64::MAX, index_bytes: u64::MAX };
        let far = 10 + (1 << 31);
        let parts = |next| [part(10, 20, 0), part(20, next, 0), part(next, next + 5, 0)];
        assert_eq!(ends(&parts(far - 5), Offset::MAX, &limits), [3]);
        assert_eq!(ends(&parts(far), Offset::MAX, &limits), [2, 3]);
        assert_eq!(ends(&parts(far + 1), Offset::MAX, &limits), [1, 3]);
    }
}
