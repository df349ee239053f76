//! Opening a log for reading, whether or not another process has it open.

use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::log::config::{LogConfig, OnCorruption};
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::epochs::EpochFile;
use crate::log::files::listing::{Listing, segment_dir};
use crate::log::files::lock::DirHandle;
use crate::log::files::losses::lost_since_close;
use crate::log::inner::{LogInner, LogParts};
use crate::log::open::directory::data_dir_above;
use crate::log::read::survey::{read_strays, start_of, stored_high_watermark, survey};
use crate::log::recovery::Recovery;
use crate::log::state::follower::ReplacementEnds;
use crate::log::state::sync::SyncState;
use crate::segment::SegmentDir;
use std::path::Path;
use std::sync::Arc;

/// Opens a log for reading only, whether or not another process has it open.
pub(crate) fn open_read_only(path: &Path, config: LogConfig) -> Result<LogInner> {
    config.validate()?;
    DirHandle::check(path)?;
    let dir = Arc::new(segment_dir(&config.fs, path, &config, false));
    Listing::read(&dir)?;
    let checkpoints = checkpoints_to_read(&dir)?;
    let (follower, segments) =
        survey(&dir, &checkpoints, &config, &mut ReplacementEnds::default())?;
    // A hole that lost files left reads like one that compaction left. Only the marker of a clean
    // close tells them apart.
    if config.on_corruption != OnCorruption::Truncate {
        let strays = read_strays(&dir, &checkpoints, &config)?.into_iter();
        if let Some(damage) = strays.chain(lost_since_close(&dir, &checkpoints)?).next() {
            return Err(Error::Corrupt(Box::new(damage)));
        }
    }
    let end = follower.end;
    let start = start_of(&checkpoints, &segments, end)?;
    let high_watermark = stored_high_watermark(&checkpoints, config.replicated, start)?;
    Ok(LogInner::new(LogParts {
        partition: None,
        checkpoints,
        epochs: EpochFile::to_read(&dir),
        dir,
        config,
        recovery: Recovery::default(),
        segments,
        start,
        end,
        durable: start,
        high_watermark,
        cleaned: None,
        writer: None,
        sync: SyncState::read_only(),
        follower: Some(follower),
        ownership: None,
    }))
}

/// Returns the checkpoints of a read-only log.
pub(crate) fn checkpoints_to_read(dir: &Arc<SegmentDir>) -> Result<Checkpoints> {
    let place = DirHandle::hold(&dir.fs, &dir.path).map_err(|e| Error::io("open", &dir.path, e))?;
    let above = data_dir_above(&place)?.map(|(above, key)| {
        let (fs, events) = (Arc::clone(&place.fs), dir.events.clone());
        (Arc::new(Dir::new(fs, above, events, false)), key)
    });
    Ok(Checkpoints::to_read(dir, above))
}
