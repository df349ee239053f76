//! Retention: the segments to delete, by Kafka's rules. Only whole segments at the start are
//! deleted.
//!
//! Three rules apply in this order, each to the segments that the previous one leaves: the segment
//! lies below the start of the log, the log exceeds its size limit, the segment exceeds the
//! maximum age. Each rule begins at the oldest segment and stops at the first that it keeps, so
//! the rest has no gap.

use crate::error::Result;
use crate::record::BatchHeader;
use crate::types::{Offset, Timestamp};

/// The facts about a segment that the rules use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// The base of the next segment, or the end of the log.
    pub(crate) next: Offset,
    pub(crate) bytes: u64,
}

/// The retention limits of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The first offset of the log.
    pub(crate) start: Offset,
    /// Nothing at or above this offset is deleted.
    pub(crate) high_watermark: Offset,
    /// The maximum size in bytes, if there is a limit.
    pub(crate) bytes: Option<u64>,
    /// The maximum age in milliseconds, if there is a limit, and the current time.
    pub(crate) age_millis: Option<i64>,
    pub(crate) now: Timestamp,
}

/// Returns the number of segments to delete from the start. `largest` returns the largest
/// timestamp of a segment, by its number.
///
/// The active segment is deleted only by size or age, and never while it is empty.
pub(crate) fn expired(
    segments: &[Extent],
    limits: &Limits,
    mut largest: impl FnMut(usize) -> Result<Timestamp>,
) -> Result<usize> {
    let may_go = |number: usize| {
        segments.get(number).is_some_and(|segment| {
            segment.next <= limits.high_watermark
                && (segment.bytes > 0 || number.saturating_add(1) < segments.len())
        })
    };
    let mut gone = 0usize;
    let is_below_start = |number: usize| {
        number.saturating_add(1) < segments.len()
            && segments.get(number).is_some_and(|segment| segment.next <= limits.start)
    };
    while may_go(gone) && is_below_start(gone) {
        gone = gone.saturating_add(1);
    }
    if let Some(most) = limits.bytes {
        let left = segments.get(gone..).unwrap_or_default();
        let total = left.iter().fold(0u64, |sum, segment| sum.saturating_add(segment.bytes));
        let mut over = total.saturating_sub(most);
        // The remaining size is never below the limit.
        while let Some(segment) = segments.get(gone)
            && total > most
            && may_go(gone)
            && let Some(rest) = over.checked_sub(segment.bytes)
        {
            over = rest;
            gone = gone.saturating_add(1);
        }
    }
    if let Some(most) = limits.age_millis {
        loop {
            // A segment that compaction has emptied has no timestamp: it is deleted together with
            // the next segment.
            let mut next = gone;
            while segments.get(next).is_some_and(|segment| segment.bytes <= EMPTY_BYTES)
                && largest(next)?.is_none()
            {
                next = next.saturating_add(1);
            }
            if !(may_go(next) && is_older(largest(next)?, limits.now, most)) {
                break;
            }
            gone = next.saturating_add(1);
        }
    }
    Ok(gone)
}

/// The maximum size of a segment without records: an empty batch covers its offsets.
const EMPTY_BYTES: u64 = BatchHeader::SIZE as u64;

/// Returns whether a timestamp is older than this many milliseconds. A missing timestamp never is,
/// and neither is one from the future.
fn is_older(largest: Timestamp, now: Timestamp, most_millis: i64) -> bool {
    !largest.is_none() && now.as_millis().saturating_sub(largest.as_millis()) > most_millis
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns segments of these sizes and offset counts, without gaps.
    fn extents(sizes: &[(u64, u64)]) -> Vec<Extent> {
        let mut next = 0;
        let mut extent = |(bytes, offsets)| {
            next += offsets;
            Extent { next, bytes }
        };
        sizes.iter().copied().map(&mut extent).collect()
    }

    const NONE: Limits = Limits {
        start: 0,
        high_watermark: u64::MAX,
        bytes: None,
        age_millis: None,
        now: Timestamp::from_millis(1_000),
    };

    fn gone(segments: &[Extent], limits: &Limits, largest: &[i64]) -> usize {
        expired(segments, limits, |n| Ok(Timestamp::from_millis(largest[n]))).unwrap()
    }

    #[test]
    fn size_keeps_at_least_limit() {
        let segments = extents(&[(100, 1), (100, 1), (100, 1), (50, 1)]);
        for (limit, expected) in
            [(350, 0), (349, 0), (251, 0), (250, 1), (150, 2), (149, 2), (51, 2), (50, 3), (0, 4)]
        {
            let limits = Limits { bytes: Some(limit), ..NONE };
            assert_eq!(gone(&segments, &limits, &[0; 4]), expected, "{limit}");
        }
    }

    #[test]
    fn age_stops_at_first_young_segment() {
        let segments = extents(&[(100, 1), (100, 1), (100, 1)]);
        let limits = Limits { age_millis: Some(100), ..NONE };
        assert_eq!(gone(&segments, &limits, &[899, 900, 0]), 1);
        assert_eq!(gone(&segments, &limits, &[899, 898, 897]), 3);
        assert_eq!(gone(&segments, &limits, &[900, 0, 0]), 0, "as old as the limit is not older");
    }

    #[test]
    fn nothing_expires_when_clock_wrong() {
        let segments = extents(&[(100, 1), (100, 1)]);
        let limits = Limits { age_millis: Some(0), ..NONE };
        assert_eq!(gone(&segments, &limits, &[i64::MAX, 0]), 0);
        assert_eq!(gone(&segments, &limits, &[-1, 0]), 0, "no timestamp is no age");
        let back = Limits { now: Timestamp::from_millis(i64::MIN), ..limits };
        assert_eq!(gone(&segments, &back, &[5, 5]), 0);
    }

    #[test]
    fn segments_below_start_go_except_last() {
        let segments = extents(&[(100, 10), (0, 0), (100, 10), (100, 10)]);
        for (start, expected) in [(0, 0), (9, 0), (10, 2), (19, 2), (20, 3), (30, 3)] {
            assert_eq!(gone(&segments, &Limits { start, ..NONE }, &[0; 4]), expected, "{start}");
        }
    }

    #[test]
    fn unreplicated_and_empty_last_segments_stay() {
        let segments = extents(&[(100, 10), (100, 10), (0, 0)]);
        let all = Limits { bytes: Some(0), age_millis: Some(0), start: 20, ..NONE };
        assert_eq!(gone(&segments, &all, &[0; 3]), 2);
        assert_eq!(gone(&segments, &Limits { high_watermark: 19, ..all }, &[0; 3]), 1);
        assert_eq!(gone(&segments, &Limits { high_watermark: 9, ..all }, &[0; 3]), 0);
    }

    #[test]
    fn each_rule_continues_after_previous() {
        let segments = extents(&[(100, 10), (100, 10), (100, 10), (100, 10)]);
        // The start deletes one segment, which counts no more: one of 300 bytes may be deleted.
        let limits = Limits { start: 10, bytes: Some(200), ..NONE };
        assert_eq!(gone(&segments, &limits, &[0; 4]), 2);
        let limits = Limits { age_millis: Some(100), ..limits };
        assert_eq!(gone(&segments, &limits, &[1_000, 1_000, 0, 1_000]), 3);
    }
}
