//! Following a log that another process writes: reading its files as they grow.
//!
//! Nothing is locked and nothing is changed. What the writer has half written
//! reads as bytes that are no batch yet, so the end of the log is the last batch
//! whose checksum is right.

use crate::error::{Error, Result};
use crate::log::config::LogConfig;
use crate::log::flush::SyncState;
use crate::log::open::{Listing, Recovery, segment_dir};
use crate::log::shared::{Parts, Shared};
use crate::log::view::View;
use crate::segment::index::{IndexCadence, Indexes};
use crate::segment::recover::{Recovered, recover_segment};
use crate::segment::scan::{BatchStream, Step};
use crate::segment::{Segment, SegmentDir};
use crate::types::Offset;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the files are looked at while somebody waits for more.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What is known of the files.
#[derive(Debug)]
pub(crate) struct Follower {
    segment: Arc<Segment>,
    indexes: Arc<Indexes>,
    cadence: IndexCadence,
    stream: BatchStream,
    /// Up to here the last segment's file is known to hold batches.
    position: u64,
    end: Offset,
}

impl Follower {
    fn new(dir: &Arc<SegmentDir>, base: Offset, found: Recovered) -> Result<Follower> {
        let indexes = Arc::new(found.indexes);
        let largest = found.cadence.largest.0;
        let segment = Segment::active(
            Arc::clone(dir),
            base,
            found.valid_bytes,
            largest,
            Arc::clone(&indexes),
        );
        Ok(Follower {
            stream: BatchStream::new(segment.file()?, found.valid_bytes, found.end),
            segment: Arc::new(segment),
            indexes,
            cadence: found.cadence,
            position: found.valid_bytes,
            end: found.end,
        })
    }

    /// Takes note of the batches that were added to the last segment.
    fn take_new_batches(&mut self) -> Result<()> {
        let path = self.segment.path(crate::segment::name::Kind::Log);
        let fail = |error| Error::io("read", &path, error);
        let file = self.segment.file()?;
        let bytes = file.len().map_err(fail)?;
        self.stream.seek(file, self.position, self.end);
        while let Step::Batch(header) = self.stream.advance(bytes, Offset::MAX).map_err(fail)? {
            let (at, size) = (self.stream.position(), header.size_bytes() as u64);
            let (last, time) = (header.last_offset(), header.max_timestamp);
            self.cadence.note(&self.indexes, at, size, last, time);
            self.position = at.saturating_add(size);
            self.end = header.next_offset();
        }
        self.segment.publish(self.position, self.cadence.largest.0);
        Ok(())
    }
}

/// The segments of a directory as they are now.
fn survey(dir: &Arc<SegmentDir>) -> Result<(Follower, View, Offset)> {
    let listing = Listing::read(dir)?;
    let logs: Vec<_> = listing.logs().collect();
    let Some((&(base, _), sealed)) = logs.split_last() else {
        return Err(Error::NotALog {
            path: dir.path.as_path().into(),
            reason: "it holds no segment",
        });
    };
    let mut segments: Vec<_> = sealed
        .iter()
        .map(|(base, bytes)| Arc::new(Segment::sealed(Arc::clone(dir), *base, *bytes)))
        .collect();
    dir.forget(base);
    let follower = Follower::new(dir, base, recover_segment(dir, base, Offset::MAX, 0)?)?;
    let start = segments.first().map_or(base, |first| first.base);
    segments.push(Arc::clone(&follower.segment));
    Ok((follower, View { segments }, start))
}

/// Opens a log for reading only, whether or not somebody else has it open.
pub(crate) fn open_read_only(path: &Path, config: LogConfig) -> Result<Shared> {
    config.validate()?;
    let dir = segment_dir(path, &config, false);
    let (follower, view, start) = survey(&dir)?;
    let end = follower.end;
    Ok(Shared::new(Parts {
        dir,
        config,
        recovery: Recovery::default(),
        view,
        start,
        end,
        durable: start,
        writer: None,
        sync: SyncState::read_only(),
        follower: Some(follower),
        lock: None,
    }))
}

impl Shared {
    /// On a read-only log, looks at the files again; does nothing on any other.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(follower) = &self.follower else { return Ok(()) };
        let mut follower = follower.lock();
        let before = follower.end;
        follower.take_new_batches()?;
        self.refresh_segments(&mut follower)?;
        let end = follower.end;
        self.end.store(end, Ordering::Release);
        drop(follower);
        if end != before {
            self.signal.notify();
        }
        Ok(())
    }

    /// Looks whether the last segment is the last no more, or was cut.
    fn refresh_segments(&self, follower: &mut Follower) -> Result<()> {
        let listing = Listing::read(&self.dir)?;
        let logs: Vec<_> = listing.logs().collect();
        let view = self.view();
        let same = logs.len() == view.segments.len()
            && logs.iter().zip(&view.segments).all(|((base, _), known)| *base == known.base);
        let (active, position) = (follower.segment.base, follower.position);
        let was_cut = logs.iter().any(|(base, len)| *base == active && *len < position);
        if same && !was_cut {
            return Ok(());
        }
        // What was added to the segment before the next one was begun.
        follower.take_new_batches()?;
        let before = follower.end;
        let (next, view, start) = survey(&self.dir)?;
        let cut = was_cut || next.end < before;
        *follower = next;
        self.update_view(|_| view);
        self.start.store(start, Ordering::Release);
        if cut {
            self.end.store(follower.end, Ordering::Release);
            self.announce_truncation();
        }
        Ok(())
    }
}
