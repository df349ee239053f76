//! Where a log is opened: by itself, or as one of many in a directory that is open, or is opened
//! for it.
//!
//! ```text
//!  data/           a data directory, of a store or a broker: one lock, a line a log in its files
//!    orders-0/     a log of it, opened by its store, or alone, as by a store that opens no other
//!  plain/          a log by itself: a lock and files of its own
//! ```

use crate::error::{Error, Result};
use crate::fs::{Fs, Open};
use crate::log::checkpoints::{Checkpoint, Checkpoints};
use crate::log::config::LogConfig;
use crate::log::data_checkpoints::{DataCheckpoints, Key, key_of};
use crate::log::lock::{Ownership, Place, WriteLock, has_stopped_since};
use crate::log::open::{Listing, NOT_A_DIRECTORY, Opening, segment_dir};
use crate::log::shared::Shared;
use crate::segment::SegmentDir;
use crate::segment::dir::Events;
use crate::segment::name::{CLEAN_SHUTDOWN, META_PROPERTIES, PARTITION_METADATA};
use crate::segment::reserve::Reserve;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A data directory that is open for writing, as its logs see it.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    /// The file system that holds it.
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) lock: Arc<WriteLock>,
    pub(crate) checkpoints: Arc<DataCheckpoints>,
    /// Whether it was opened for one log, whose close is that of the directory.
    pub(crate) is_for_one: bool,
    /// The id of the topic whose logs a store opens.
    pub(crate) topic: Option<[u8; 16]>,
}

/// Which partition of a store's topic a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionOf {
    /// A topic that is created again has the name, and another id.
    pub(crate) topic: [u8; 16],
    pub(crate) name: String,
    pub(crate) number: u32,
}

/// Opens a log for reading and writing, creating it if there is none.
pub(crate) fn open(path: &Path, config: LogConfig) -> Result<Shared> {
    config.validate()?;
    Place::check(path)?;
    let not_a_directory = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Error::NotALog { path: path.into(), reason: NOT_A_DIRECTORY }
        }
        _ => Error::io("create", path, error),
    };
    check_free_above(&config.fs, path)?;
    config.fs.create_dir(path).map_err(not_a_directory)?;
    let place = Place::hold(&config.fs, path).map_err(not_a_directory)?;
    let dir = segment_dir(&place.fs, path, &config, true);
    Listing::read(&dir)?.check(&dir)?;
    match data_dir_above(&place)? {
        Some((above, _)) => open_alone(&place, above, config),
        None => open_plain(&place, dir, config),
    }
}

/// Fails if a directory that is still to be created would be one of an open data directory: it
/// would lie there as a topic that its owner knows nothing of.
fn check_free_above(fs: &Arc<dyn Fs>, path: &Path) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let is_partition = name.is_some_and(|name| key_of(&name).is_some());
    let Some(above) = path.parent().filter(|_| is_partition) else { return Ok(()) };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    if !matches!(fs.list(path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    // Without a directory above there is none to be open.
    let Ok(above) = Place::hold(fs, above) else { return Ok(()) };
    if is_data_dir(&*above.fs, &above.path)? {
        drop(above.guard()?);
        WriteLock::check_free(&*above.fs, &above.path)?;
    }
    Ok(())
}

/// Opens a log that is in no data directory.
fn open_plain(place: &Place, dir: SegmentDir, config: LogConfig) -> Result<Shared> {
    let metadata = dir.path.join(PARTITION_METADATA);
    if place.is_mount && dir.read_small(&metadata, 0)?.is_some() {
        // While its store has it, that is the reason.
        drop(place.guard()?);
        let reason = "it is a partition, mounted without the directory that its checkpoints are in; open it where that is";
        return Err(Error::NotALog { path: dir.path.as_path().into(), reason });
    }
    let dir = Arc::new(with_own_reserve(dir));
    let lock = Arc::new(WriteLock::take(place, &dir)?);
    dir.reserve().into_iter().for_each(|reserve| reserve.find());
    if let Some(above) = &place.above {
        // Nothing but its lock says that it may be one.
        WriteLock::check_free(&*place.fs, above)?;
    }
    let checkpoints = Checkpoints::own(&dir);
    let point = checkpoints.recovery_point(lock.was_foreign)?;
    let opening = Opening::new(dir, config, checkpoints, lock.lost_power, point);
    let shared = opening.run(Ownership::alone(Arc::clone(&lock)))?;
    lock.recovered(&shared.dir)?;
    shared.dir.fill_reserve();
    Ok(shared)
}

/// Opens one log of a data directory, and with it the directory, whose other logs stay closed.
///
/// Should the machine have stopped, its lock file goes on to say so: these others are not
/// recovered.
fn open_alone(place: &Place, above: PathBuf, config: LogConfig) -> Result<Shared> {
    let within = Place::hold(&place.fs, &above).map_err(|e| Error::io("open", &above, e))?;
    let events = Events { listener: config.listener.clone() };
    let dir = SegmentDir::new(Arc::clone(&within.fs), above, events, 0, true);
    let dir = Arc::new(with_own_reserve(dir));
    let lock = Arc::new(WriteLock::take(&within, &dir)?);
    dir.reserve().into_iter().for_each(|reserve| reserve.find());
    let checkpoints = Arc::new(DataCheckpoints::open(&dir, lock.was_foreign)?);
    let within = DataDir {
        fs: within.fs,
        lock,
        checkpoints: Arc::clone(&checkpoints),
        is_for_one: true,
        topic: None,
    };
    let (shared, taken_over) = open_within(place, config, &within)?;
    checkpoints.commit_all()?;
    if taken_over {
        shared.checkpoints.remove_own()?;
    }
    dir.fill_reserve();
    Ok(shared)
}

/// A directory with room set aside in it for when the disk is full.
fn with_own_reserve(dir: SegmentDir) -> SegmentDir {
    let reserve = Reserve::new(&dir.fs, &dir.path, &dir.events);
    dir.with_reserve(Some(Arc::new(reserve)))
}

/// Opens a log of a data directory that is open. Says whether it took over checkpoints from beside
/// the segments, which are to be [removed](Checkpoints::remove_own) when that is durable.
pub(crate) fn open_shared(
    path: &Path,
    config: LogConfig,
    within: &DataDir,
) -> Result<(Shared, bool)> {
    config.validate()?;
    let place = Place::hold(&within.fs, path).map_err(|e| Error::io("open", path, e))?;
    open_within(&place, config, within)
}

fn open_within(place: &Place, config: LogConfig, within: &DataDir) -> Result<(Shared, bool)> {
    let dir = segment_dir(&place.fs, &place.path, &config, true);
    let dir = Arc::new(dir.with_reserve(within.checkpoints.reserve()));
    let Some(key) = place.name.as_deref().and_then(key_of) else {
        let reason = "its name is not that of a partition";
        return Err(Error::NotALog { path: place.path.as_path().into(), reason });
    };
    let ownership = Ownership::shared(place.guard()?, &within.lock);
    // It may have been open by itself since, before it was one of many.
    let before = WriteLock::check_free(&*dir.fs, &dir.path)?;
    let stopped = before.is_some_and(|before| has_stopped_since(&before, &*dir.fs));
    let (name, number) = (key.0.clone(), key.1.cast_unsigned());
    let partition = within.topic.map(|topic| PartitionOf { topic, name, number });
    let checkpoints = Checkpoints::shared(&dir, &within.checkpoints, key, within.is_for_one);
    let taken_over = checkpoints.take_over_own()?;
    let point = match taken_over {
        Some(point) => point,
        None => checkpoints.recovery_point(within.lock.was_foreign)?,
    };
    let lost_power = within.lock.lost_power || stopped;
    let opening = Opening::new(dir, config, checkpoints, lost_power, point);
    let opening = Opening { partition, ..opening };
    Ok((opening.run(ownership)?, taken_over.is_some()))
}

/// The checkpoints of a log that is only read.
pub(crate) fn checkpoints_to_read(dir: &Arc<SegmentDir>) -> Result<Checkpoints> {
    let place = Place::hold(&dir.fs, &dir.path).map_err(|e| Error::io("open", &dir.path, e))?;
    let above = data_dir_above(&place)?.map(|(above, key)| {
        let (fs, events) = (Arc::clone(&place.fs), dir.events.clone());
        (Arc::new(SegmentDir::new(fs, above, events, 0, false)), key)
    });
    Ok(Checkpoints::to_read(dir, above))
}

/// The data directory that a log lies in, and which of its logs it is.
fn data_dir_above(place: &Place) -> Result<Option<(PathBuf, Key)>> {
    let key = place.name.as_deref().and_then(key_of);
    let Some((above, key)) = place.above.clone().zip(key) else { return Ok(None) };
    Ok(is_data_dir(&*place.fs, &above)?.then_some((above, key)))
}

/// Whether a directory says whose it is, or has files for many logs.
fn is_data_dir(fs: &dyn Fs, dir: &Path) -> Result<bool> {
    let files = Checkpoint::ALL.map(Checkpoint::file);
    for name in [META_PROPERTIES, CLEAN_SHUTDOWN].into_iter().chain(files) {
        if exists(fs, &dir.join(name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn exists(fs: &dyn Fs, path: &Path) -> Result<bool> {
    match fs.open(path, Open::ReadOnly) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("open", path, error)),
    }
}
