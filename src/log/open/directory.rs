//! Finding and locking the directory of a log: one by itself, or a partition in a data directory.
//!
//! ```text
//!  data/           a data directory, of a store or a broker: one lock, and checkpoints with a
//!                  line for each log
//!    orders-0/     one of its logs, opened by the store, or alone: then nothing opens the others
//!  plain/          a log by itself, with a lock and checkpoints of its own
//! ```

use crate::checkpoint::{CLEAN_SHUTDOWN, META_PROPERTIES, PARTITION_METADATA};
use crate::error::{Error, NOT_A_DIRECTORY, Result, TopicError};
use crate::event::EventSink;
use crate::fs::{Dir, DirEntry, EntryKind, Fs, OpenMode};
use crate::log::config::LogConfig;
use crate::log::files::checkpoint::Checkpoint;
use crate::log::files::checkpoints::Checkpoints;
use crate::log::files::data_checkpoints::{DataCheckpoints, Key, key_of, name_of, read_offsets};
use crate::log::files::listing::{Listing, segment_dir};
use crate::log::files::lock::{DirHandle, Ownership, WriteLock, has_stopped_since};
use crate::log::inner::LogInner;
use crate::log::open::Opener;
use crate::log::state::partition::PartitionOf;
use crate::segment::SegmentDir;
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
    /// Whether it was opened for one log, whose close closes the directory.
    pub(crate) is_for_one: bool,
    /// The id of the topic whose logs a store opens.
    pub(crate) topic: Option<[u8; 16]>,
}

/// Opens a log for reading and writing, creating it if there is none.
pub(crate) fn open(path: &Path, config: LogConfig) -> Result<LogInner> {
    config.validate()?;
    DirHandle::check(path)?;
    let place = hold_or_create(&config.fs, path)?;
    let dir = segment_dir(&place.fs, path, &config, true);
    let Some((above, key)) = data_dir_above(&place)? else {
        return open_plain(&place, dir, config);
    };
    let listing = Listing::read(&dir)?;
    listing.check(&dir)?;
    // An empty directory is not a partition, unless a checkpoint has a line for it.
    let is_partition = !listing.is_empty()
        || !exists(&*place.fs, &above.join(META_PROPERTIES))?
        || is_known(&place.fs, &above, &key)?;
    if is_partition {
        open_alone(&place, above, config)
    } else {
        Err(no_such_partition(&*place.fs, &above, key, false)?.into())
    }
}

/// Holds the directory of a log. Creates it if there is none, where that is allowed.
fn hold_or_create(fs: &Arc<dyn Fs>, path: &Path) -> Result<DirHandle> {
    let found = DirHandle::hold(fs, path).and_then(|place| {
        if !place.is_held {
            // A directory that is not held has not been looked at yet: check that it exists.
            fs.list(path)?;
        }
        Ok(place)
    });
    match found {
        Ok(place) => {
            check_no_link(&place, fs, path)?;
            // The process that created it may have died before its name was durable.
            place.fs.create_dir(path).map_err(|error| not_created(path, error))?;
            Ok(place)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            check_creatable(fs, path)?;
            create(fs, path)
        }
        // The path leads to a file. Creating the directory fails with the right error.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => create(fs, path),
        Err(error) => Err(Error::io("open", path, error)),
    }
}

/// Creates a directory, if there is none, and holds it.
pub(crate) fn create(fs: &Arc<dyn Fs>, path: &Path) -> Result<DirHandle> {
    let held = fs.create_dir(path).and_then(|()| DirHandle::hold(fs, path));
    held.map_err(|error| not_created(path, error))
}

fn not_created(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Error::not_a_log(path, NOT_A_DIRECTORY)
        }
        _ => Error::io("create", path, error),
    }
}

/// Fails if a directory that does not exist yet would lie in a data directory that is open, or in
/// that of a store or broker. Its owner would find a partition that it does not know.
fn check_creatable(fs: &Arc<dyn Fs>, path: &Path) -> Result<()> {
    let Some((above, is_direct)) = nearest_above(fs, path)? else { return Ok(()) };
    let name = path.file_name().filter(|_| is_direct).map(|name| name.to_string_lossy());
    let (fs, key) = (&above.fs, name.and_then(|name| key_of(&name)));
    if key.is_some() && is_data_dir(&**fs, &above.path)? {
        drop(above.guard()?);
        WriteLock::check_free(&**fs, &above.path)?;
    }
    match key {
        _ if !exists(&**fs, &above.path.join(META_PROPERTIES))? => Ok(()),
        Some(key) => {
            let is_known = is_known(fs, &above.path, &key)?;
            Err(no_such_partition(&**fs, &above.path, key, is_known)?.into())
        }
        None => {
            let reason = format!(
                "it lies in {}, the directory of a store, but is none of its partitions; create \
                 topics with `Store::create_topic`",
                above.path.display()
            );
            Err(Error::not_a_log(path, reason))
        }
    }
}

/// Fails for a symbolic link with the name of a partition in a data directory. A log at its target
/// would be open with a lock and checkpoints that the owner of the data directory does not see.
fn check_no_link(place: &DirHandle, fs: &Arc<dyn Fs>, path: &Path) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let Some(name) = name.filter(|name| key_of(name).is_some()) else { return Ok(()) };
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    // A held directory knows where it really lies, whatever its path says.
    let is_there = place.above.as_deref() == Some(above) && place.name.as_deref() == Some(&*name);
    if place.is_held && is_there || !is_data_dir(&**fs, above)? {
        return Ok(());
    }
    let entries = match fs.list(above) {
        // A directory can be opened without being listed.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        entries => entries.map_err(|error| Error::io("list", above, error))?,
    };
    if entries.iter().any(|entry| entry.kind == EntryKind::Other && *entry.name == *name) {
        let reason = "it is a symbolic link in the directory of a store, and such links are not followed; move the directory itself there, or open the directory that the link names";
        return Err(Error::not_a_log(path, reason));
    }
    Ok(())
}

/// Returns the nearest existing directory above a path, and whether the path lies directly in it.
fn nearest_above(fs: &Arc<dyn Fs>, path: &Path) -> Result<Option<(DirHandle, bool)>> {
    for (distance, above) in path.ancestors().skip(1).enumerate() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match DirHandle::hold(fs, above) {
            Ok(place) => return Ok(Some((place, distance == 0))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // If it is a file, the call that follows fails.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            // Directories can be created in a directory that may not be listed.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Some((DirHandle::at(fs, above), distance == 0)));
            }
            Err(error) => return Err(Error::io("open", above, error)),
        }
    }
    Ok(None)
}

/// Returns whether a checkpoint of a data directory has a line for a log.
fn is_known(fs: &Arc<dyn Fs>, data: &Path, key: &Key) -> Result<bool> {
    let dir = Dir::new(Arc::clone(fs), data.to_owned(), EventSink::default(), false);
    for checkpoint in Checkpoint::ALL {
        if read_offsets(&dir, checkpoint)?.contains_key(key) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns why a data directory has no such partition, judged by its other directories.
fn no_such_partition(
    fs: &dyn Fs,
    data: &Path,
    (topic, number): Key,
    is_known: bool,
) -> Result<TopicError> {
    let entries = fs.list(data).map_err(|e| Error::io("list", data, e))?;
    let number_of = |entry: &DirEntry| {
        let (other, number) = key_of(&entry.name).filter(|_| entry.kind == EntryKind::Directory)?;
        (other == topic).then_some(number)
    };
    let mut others: Vec<i32> = entries.iter().filter_map(number_of).collect();
    others.sort_unstable();
    let mut partitions = 0;
    for other in others.into_iter().rev().filter(|other| *other != number) {
        let path = data.join(name_of(&(topic.clone(), other)));
        if !fs.list(&path).map_err(|e| Error::io("list", &path, e))?.is_empty() {
            partitions = other.cast_unsigned().saturating_add(1);
            break;
        }
    }
    let partition = number.cast_unsigned();
    Ok(match partitions {
        _ if is_known => {
            let partitions = partitions.max(partition.saturating_add(1));
            TopicError::MissingPartition { topic, partition, partitions }
        }
        0 => TopicError::Unknown { topic },
        _ if partition < partitions => TopicError::PartitionElsewhere { topic, partition },
        _ => TopicError::UnknownPartition { topic, partition, partitions },
    })
}

/// Opens a log outside a data directory.
fn open_plain(place: &DirHandle, dir: SegmentDir, config: LogConfig) -> Result<LogInner> {
    // If this is no log at all, that is the error, and nothing is written.
    let guard = place.guard();
    let listing = Listing::read(&dir)?;
    listing.check(&dir)?;
    let guard = guard?;
    let metadata = dir.path.join(PARTITION_METADATA);
    if place.is_mount && dir.read_small(&metadata, 0)?.is_some() {
        let reason = "it is a partition that is mounted without the directory above it, which holds its checkpoints; open it below that directory";
        return Err(Error::not_a_log(&dir.path, reason));
    }
    let dir = Arc::new(dir.with_own_reserve());
    // Without the lock of the directory, the listing can be out of date.
    let listing = guard.is_some().then_some(listing);
    let lock = Arc::new(WriteLock::take(guard, &dir)?);
    dir.reserve().into_iter().for_each(|reserve| reserve.find());
    if let Some(above) = &place.above {
        // Only a lock in the directory above shows that it may be a data directory.
        WriteLock::check_free(&*place.fs, above)?;
    }
    let checkpoints = Checkpoints::own(&dir);
    let point = checkpoints.recovery_point(lock.was_foreign)?;
    let opening = Opener::new(dir, config, checkpoints, lock.lost_power, point);
    let opening = Opener { listing, ..opening };
    let log = opening.run(Ownership::alone(Arc::clone(&lock)))?;
    let opened = lock.recovered(&log.dir).and_then(|()| log.flushes.checkpoints.opened());
    let log = or_closed(log, opened)?;
    log.dir.fill_reserve();
    Ok(log)
}

/// Returns a log if the rest of its opening succeeded. Otherwise closes it again, so that the next
/// opening finds what this one found.
fn or_closed(log: LogInner, opened: Result<()>) -> Result<LogInner> {
    match opened {
        Ok(()) => Ok(log),
        Err(error) => {
            log.close().ok();
            Err(error)
        }
    }
}

/// Opens one log of a data directory, and with it the directory. The other logs stay closed.
///
/// If the power was lost, the lock file keeps saying so, because the other logs are not recovered.
fn open_alone(place: &DirHandle, above: PathBuf, config: LogConfig) -> Result<LogInner> {
    let within = DirHandle::hold(&place.fs, &above).map_err(|e| Error::io("open", &above, e))?;
    let events = EventSink::new(config.listener.clone());
    let dir = Dir::new(Arc::clone(&within.fs), above, events, true);
    let dir = Arc::new(dir.with_own_reserve());
    let lock = Arc::new(WriteLock::take(within.guard()?, &dir)?);
    dir.reserve().into_iter().for_each(|reserve| reserve.find());
    let checkpoints = Arc::new(DataCheckpoints::open(&dir, lock.was_foreign)?);
    let within = DataDir {
        fs: within.fs,
        lock,
        checkpoints: Arc::clone(&checkpoints),
        is_for_one: true,
        topic: None,
    };
    let opened = open_within(place, config, &within);
    let (log, taken_over) = opened.inspect_err(|_| {
        // The marker is still right for the other logs.
        checkpoints.commit_clean_shutdown(None).ok();
    })?;
    let ready = checkpoints.unmark().and_then(|()| checkpoints.commit_all());
    let own = || if taken_over { log.flushes.checkpoints.remove_own() } else { Ok(()) };
    let ready = ready.and_then(|()| own());
    let log = or_closed(log, ready)?;
    dir.fill_reserve();
    Ok(log)
}

/// Opens a log of an open data directory. Returns whether it took over checkpoints from beside the
/// segments, which the caller [removes](Checkpoints::remove_own) once that is durable.
pub(crate) fn open_shared(
    path: &Path,
    config: LogConfig,
    within: &DataDir,
) -> Result<(LogInner, bool)> {
    config.validate()?;
    let place = DirHandle::hold(&within.fs, path).map_err(|e| Error::io("open", path, e))?;
    open_within(&place, config, within)
}

fn open_within(place: &DirHandle, config: LogConfig, within: &DataDir) -> Result<(LogInner, bool)> {
    let dir = segment_dir(&place.fs, &place.path, &config, true);
    let dir = Arc::new(dir.with_reserve(within.checkpoints.reserve()));
    let Some(key) = place.name.as_deref().and_then(key_of) else {
        let reason = "its name is not that of a partition; name it `<topic>-<number>`";
        return Err(Error::not_a_log(&place.path, reason));
    };
    let ownership = Ownership::shared(place.guard()?, &within.lock);
    // The log may have been open outside its data directory since.
    let before = WriteLock::check_free(&*dir.fs, &dir.path)?;
    let stopped = before.is_some_and(|before| has_stopped_since(&before, &*dir.fs));
    let (name, number) = (key.0.clone(), key.1.cast_unsigned());
    let partition = within.topic.map(|topic| PartitionOf { topic, name, number });
    let checkpoints =
        Checkpoints::shared(&dir, &within.checkpoints, key.clone(), within.is_for_one);
    let taken_over = checkpoints.take_over_own()?;
    let point = match taken_over {
        Some(point) => point,
        None => checkpoints.recovery_point(within.lock.was_foreign)?,
    };
    // Once a log was recovered and open since the power loss, the power loss does not explain its
    // damage.
    let is_unsettled = within.lock.lost_power && !within.checkpoints.was_recovered(&key);
    let opening = Opener::new(dir, config, checkpoints, is_unsettled || stopped, point);
    let opening = Opener { partition, ..opening };
    let log = opening.run(ownership)?;
    log.flushes.checkpoints.opened()?;
    if is_unsettled {
        within.checkpoints.set_recovered(key);
    }
    Ok((log, taken_over.is_some()))
}

/// Returns the data directory that a log lies in, and the name of the log there.
pub(crate) fn data_dir_above(place: &DirHandle) -> Result<Option<(PathBuf, Key)>> {
    let key = place.name.as_deref().and_then(key_of);
    let Some((above, key)) = place.above.clone().zip(key) else { return Ok(None) };
    Ok(is_data_dir(&*place.fs, &above)?.then_some((above, key)))
}

/// Returns whether a directory has the properties file of a store or broker, or checkpoints of
/// many logs.
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
    match fs.open(path, OpenMode::ReadOnly) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("open", path, error)),
    }
}
