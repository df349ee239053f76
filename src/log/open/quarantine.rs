//! Moving damage out of a log, so that the rest can be used.
//!
//! The whole log is read. Bytes that are no batch, if no crash explains them, are saved in a file
//! beside the segment, and the segment is rewritten without them, as a compaction does. The result
//! is a sound log, for Kafka as for us, in which an empty batch covers the lost offsets. No offset
//! is assigned twice.

use crate::error::{Corruption, CorruptionKind, Error, Result, Unsupported};
use crate::event::{Event, Quarantined};
use crate::fs::{File, OpenMode};
use crate::record::layout;
use crate::segment::SegmentDir;
use crate::segment::first_bytes::{begins_segment, can_begin_batch, is_zero};
use crate::segment::message::{WholeMessage, whole_at};
use crate::segment::name::{Kind, SegmentFile, Stage, quarantine_name};
use crate::segment::placeholder::{SPAN, placeholder};
use crate::segment::resync::{has_message_after, next_batch_after};
use crate::segment::scan::{BatchStream, Step};
use crate::types::Offset;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The conditions under which a crash explains a bad tail, which recovery truncates. Everything
/// else is damage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrashContext {
    /// Everything below was flushed, so no crash touches it.
    pub(crate) recovery_point: Offset,
    pub(crate) lost_power: bool,
    /// Whether no offset is left out anywhere. Then a last batch that does not follow the previous
    /// one is misplaced.
    pub(crate) dense: bool,
}

/// A damaged piece of a segment.
struct Hole {
    bytes: Range<u64>,
    offsets: Range<Offset>,
    reason: CorruptionKind,
}

impl Hole {
    /// Returns the empty batch that covers its offsets, so that no later opening reports them as a
    /// new loss.
    fn placeholder(&self, base: Offset) -> Result<Option<Vec<u8>>> {
        if self.offsets.end > base.saturating_add(SPAN) {
            return Ok(None);
        }
        Ok(placeholder(self.offsets.clone(), -1)?.map(|(_, batch)| batch))
    }
}

/// A segment with damage to be moved out.
pub(crate) struct DamagedSegment {
    base: Offset,
    holes: Vec<Hole>,
}

impl DamagedSegment {
    /// Finds all damage in the segment at `base`, whose offsets lie below `next`, if another
    /// follows.
    pub(crate) fn find(
        dir: &SegmentDir,
        base: Offset,
        next: Option<Offset>,
        explained: CrashContext,
    ) -> Result<Option<DamagedSegment>> {
        let path = dir.path_of(SegmentFile::live(base, Kind::Log));
        let file = dir.open_log(base)?;
        let holes = find_holes(&file, base, next, explained).map_err(|error| match error {
            Unreadable::Io(error) => Error::io("read", &path, error),
            Unreadable::Foreign(unsupported) => Error::Unsupported(unsupported),
        })?;
        Ok((!holes.is_empty()).then_some(DamagedSegment { base, holes }))
    }

    /// Moves the damage out of the segment.
    pub(crate) fn quarantine(self, dir: &SegmentDir) -> Result<Vec<Quarantined>> {
        let DamagedSegment { base, holes } = self;
        let path = dir.path_of(SegmentFile::live(base, Kind::Log));
        let file = dir.open_log(base)?;
        let mut taken = Vec::new();
        for hole in &holes {
            let to = dir.path.join(quarantine_name(base, hole.bytes.start));
            save(dir, &*file, &hole.bytes, &to)?;
            taken.push(Quarantined {
                path: to,
                segment: path.clone(),
                position: hole.bytes.start,
                bytes: hole.bytes.end.saturating_sub(hole.bytes.start),
                offsets: hole.offsets.clone(),
                reason: hole.reason.clone(),
            });
        }
        replace_without(dir, &*file, base, &holes)?;
        taken.iter().for_each(|taken| dir.events.emit(&Event::Quarantined(taken.clone())));
        Ok(taken)
    }
}

/// Moves a whole file aside that does not belong to the log. No offset is lost with it.
pub(crate) fn set_aside(
    dir: &SegmentDir,
    base: Offset,
    bytes: u64,
    damage: Corruption,
) -> Result<Quarantined> {
    let Corruption { path: segment, offset, reason, .. } = damage;
    let path = dir.path.join(quarantine_name(base, 0));
    let moved = dir.fs.rename(&segment, &path).and_then(|()| dir.fs.sync_dir(&dir.path));
    moved.map_err(|error| Error::io("rename", &segment, error))?;
    let end = offset.unwrap_or(base);
    let taken = Quarantined { path, segment, position: 0, bytes, offsets: end..end, reason };
    dir.events.emit(&Event::Quarantined(taken.clone()));
    Ok(taken)
}

enum Unreadable {
    Io(io::Error),
    /// A whole message of another kind, which is not damage.
    Foreign(Unsupported),
}

/// Returns whether a magic byte belongs to no known format. No checksum covers it, so a bit may
/// have flipped.
fn is_damaged_magic(unsupported: Unsupported) -> bool {
    matches!(unsupported, Unsupported::MessageFormat(magic) if !matches!(magic, 0 | 1))
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Unreadable {
        Unreadable::Io(error)
    }
}

fn find_holes(
    file: &Arc<dyn File>,
    base: Offset,
    next: Option<Offset>,
    explained: CrashContext,
) -> Result<Vec<Hole>, Unreadable> {
    let end = file.len()?;
    let limit = next.unwrap_or(Offset::MAX).min(base.saturating_add(SPAN));
    let mut stream = BatchStream::new(Arc::clone(file), 0, base);
    let mut holes: Vec<Hole> = Vec::new();
    let mut expected = base;
    loop {
        let reason = match stream.advance(end, limit)? {
            Step::End => return Ok(holes),
            Step::Batch(header) => {
                let is_last = stream.next_position() == end && next.is_none();
                if is_last && explained.dense && header.base_offset > expected {
                    let (from, to) = (expected, header.base_offset);
                    let reason = CorruptionKind::OffsetsMissing { from, to };
                    let offsets = from..from.saturating_add(header.offset_count());
                    holes.push(Hole { bytes: stream.position()..end, offsets, reason });
                }
                expected = header.next_offset();
                continue;
            }
            Step::Damaged(reason) => reason,
        };
        let (position, lowest) = (stream.position(), stream.lowest());
        let whole = whole_at(&**file, position, end)?;
        if let Some(WholeMessage::Foreign(unsupported)) = whole
            && !is_damaged_magic(unsupported)
        {
            return Err(Unreadable::Foreign(unsupported));
        }
        let synced = lowest < explained.recovery_point;
        let is_torn = position > 0 || begins_segment(&**file, base)?;
        if !synced && explained.lost_power && whole.is_none() && is_torn {
            return Ok(holes);
        }
        let Some((behind, base_offset)) = next_batch_after(&**file, position, end, lowest, limit)?
        else {
            // The last bytes of a log, with nothing after them, are a torn write if they are not
            // whole. A file that does not begin like a segment is no torn write.
            let is_tail = next.is_none()
                && !synced
                && is_torn
                && whole.is_none()
                && !has_message_after(&**file, position..end, lowest, limit)?
                && can_begin_batch(&**file, &(position..end), lowest, limit)?;
            let is_room =
                next.is_none_or(|next| next == lowest) && is_zero(&**file, position, end)?;
            if !is_tail && !is_room {
                let known = next.unwrap_or(explained.recovery_point);
                let upto = known.max(end_of_whole(&**file, position, lowest, whole)?);
                holes.push(Hole { bytes: position..end, offsets: lowest..upto, reason });
            }
            return Ok(holes);
        };
        holes.push(Hole { bytes: position..behind, offsets: lowest..base_offset, reason });
        // Continue from its own offset: the gap before it is explained, and no sign of more
        // damage.
        stream.seek(Arc::clone(file), behind, base_offset);
        expected = base_offset;
    }
}

/// Returns the end of the offsets of a whole message that begins at an offset. They were assigned.
fn end_of_whole(
    file: &dyn File,
    position: u64,
    lowest: Offset,
    whole: Option<WholeMessage>,
) -> io::Result<Offset> {
    if whole.is_none() {
        return Ok(lowest);
    }
    let mut delta = [0; 4];
    file.read_exact_at(&mut delta, position.saturating_add(layout::LAST_OFFSET_DELTA_AT as u64))?;
    let delta = u64::try_from(i32::from_be_bytes(delta)).unwrap_or(0);
    Ok(lowest.saturating_add(delta).saturating_add(1))
}

/// Copies a piece of a file to a file of its own, durably. An existing one is from an attempt that
/// was interrupted before the segment was replaced.
fn save(dir: &SegmentDir, from: &dyn File, bytes: &Range<u64>, to: &Path) -> Result<()> {
    let write = || -> io::Result<()> {
        let file = create(dir, to)?;
        copy(from, bytes.clone(), &*file, 0)?;
        file.sync_all()
    };
    write().map_err(|error| Error::io("write", to, error))
}

fn replace_without(dir: &SegmentDir, from: &dyn File, base: Offset, holes: &[Hole]) -> Result<()> {
    let live = SegmentFile::live(base, Kind::Log);
    let beside = dir.path_of(SegmentFile { stage: Stage::Cleaned, ..live });
    let write = || -> io::Result<()> {
        let to = create(dir, &beside)?;
        let end = from.len()?;
        let mut at = 0;
        let mut written = 0;
        for hole in holes {
            written = copy(from, at..hole.bytes.start, &*to, written)?;
            if let Some(batch) = hole.placeholder(base).map_err(io::Error::other)? {
                to.write_all_at(&batch, written)?;
                written = written.saturating_add(batch.len() as u64);
            }
            at = hole.bytes.end;
        }
        copy(from, at..end, &*to, written)?;
        to.sync_all()?;
        // The saved bytes must be durable before the segment loses them.
        dir.fs.sync_dir(&dir.path)
    };
    write().map_err(|error| Error::io("write", &beside, error))?;
    for kind in [Kind::OffsetIndex, Kind::TimeIndex] {
        dir.discard(SegmentFile::live(base, kind));
    }
    let replace = || -> io::Result<()> {
        dir.fs.rename(&beside, &dir.path_of(live))?;
        dir.fs.sync_dir(&dir.path)
    };
    replace().map_err(|error| Error::io("replace", &dir.path_of(live), error))
}

fn create(dir: &SegmentDir, path: &Path) -> io::Result<Arc<dyn File>> {
    match dir.fs.open(path, OpenMode::CreateNew) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            dir.fs.remove(path)?;
            dir.fs.open(path, OpenMode::CreateNew)
        }
        other => other,
    }
}

/// Copies a piece of one file into another at a position; returns where it ends there.
fn copy(from: &dyn File, bytes: Range<u64>, to: &dyn File, mut at: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut next = bytes.start;
    while next < bytes.end {
        let wanted = bytes.end.saturating_sub(next).min(buffer.len() as u64);
        let piece = buffer.get_mut(..wanted as usize).unwrap_or_default();
        from.read_exact_at(piece, next)?;
        to.write_all_at(piece, at)?;
        next = next.saturating_add(wanted);
        at = at.saturating_add(wanted);
    }
    Ok(at)
}
