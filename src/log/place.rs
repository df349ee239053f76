//! Where a log is opened for writing: by itself, or as one of many in a directory that is held already.

use crate::error::{Error, Result};
use crate::log::checkpoints::{Checkpoints, SharedCheckpoints};
use crate::log::config::LogConfig;
use crate::log::lock::{Ownership, Place, WriteLock};
use crate::log::open::{Listing, NOT_A_DIRECTORY, Opening, segment_dir};
use crate::log::shared::Shared;
use crate::segment::SegmentDir;
use crate::segment::dir::Events;
use crate::segment::name::CLEAN_SHUTDOWN;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Opens a log for reading and writing, creating it if there is none.
pub(crate) fn open(path: &Path, config: LogConfig) -> Result<Shared> {
    config.validate()?;
    let not_a_directory = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Error::NotALog { path: path.into(), reason: NOT_A_DIRECTORY }
        }
        _ => Error::io("create", path, error),
    };
    config.fs.create_dir(path).map_err(not_a_directory)?;
    let place = Place::hold(&config.fs, path).map_err(not_a_directory)?;
    let dir = segment_dir(&place.fs, path, &config, true);
    Listing::read(&dir)?.check(path)?;
    let lock = Arc::new(WriteLock::take(&place, &dir)?);
    leave_those_above(&place)?;
    let checkpoints = Checkpoints::new(&dir, None);
    let opening = Opening::new(dir, config, checkpoints, lock.lost_power);
    let shared = opening.run(Ownership::alone(Arc::clone(&lock)))?;
    lock.recovered(&shared.dir)?;
    Ok(shared)
}

/// The directory of many logs, as one of them sees it.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    /// The file system that holds it.
    pub(crate) fs: Arc<dyn crate::fs::Fs>,
    pub(crate) lock: Arc<WriteLock>,
    pub(crate) checkpoints: Arc<dyn SharedCheckpoints>,
}

/// Opens a log that is one of many in a directory, which is locked, and whose checkpoints are kept there. Says whether it
/// took over some from beside the segments, which are to be [removed](Checkpoints::remove_own) when that is durable.
pub(crate) fn open_shared(
    path: &Path,
    config: LogConfig,
    within: &DataDir,
) -> Result<(Shared, bool)> {
    config.validate()?;
    let place = Place::hold(&within.fs, path).map_err(|e| Error::io("open", path, e))?;
    let dir = segment_dir(&place.fs, path, &config, true);
    let ownership = Ownership::shared(place.guard()?, &within.lock);
    WriteLock::check_free(&*dir.fs, path)?;
    let checkpoints = Checkpoints::new(&dir, Some(Arc::clone(&within.checkpoints)));
    let taken_over = checkpoints.take_over_own()?;
    let opening = Opening::new(dir, config, checkpoints, within.lock.lost_power);
    Ok((opening.run(ownership)?, taken_over))
}

/// Makes sure that no process has the directory above open, if that is one of many logs, and that it does not count as closed in order
/// any more: the next store or broker to open it looks at all of its logs.
fn leave_those_above(place: &Place) -> Result<()> {
    let Some(above) = &place.above else { return Ok(()) };
    WriteLock::check_free(&*place.fs, above)?;
    let above = SegmentDir::new(Arc::clone(&place.fs), above.clone(), Events::default(), 0, true);
    let marker = above.path.join(CLEAN_SHUTDOWN);
    match above.fs.remove(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("remove", &marker, error)),
        Ok(()) => above.sync(),
    }
}
