//! Removing the directories of partitions.

use crate::checkpoint::TOPIC_PROPERTIES;
use crate::error::{Error, Result, is_storage_full};
use crate::event::Event;
use crate::store::directory::{Directory, is_log_file};
use crate::store::partition_dir::{DirSuffix, PartitionDir};
use crate::uuid::KafkaUuid;
use std::io;
use std::path::Path;

impl Directory {
    /// Removes partitions in the given order. Partition 0 must be the last, because its
    /// `topic.properties` says that the topic is being deleted. A directory that does not exist
    /// was never created, or is already removed.
    pub(crate) fn remove_partitions(
        &self,
        topic: &str,
        partitions: impl Iterator<Item = u32>,
    ) -> Result<()> {
        for partition in partitions {
            let from = self.partition_path(topic, partition);
            let named = PartitionDir::current(topic, partition)
                .with_suffix(DirSuffix::Delete(KafkaUuid::random()));
            let name = named.to_string();
            let to = self.dir.path.join(&name);
            let rename = || match self.dir.fs.rename_dir(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                renamed => renamed.map(|()| true),
            };
            let renamed = rename().or_else(|error| {
                if !is_storage_full(&error) {
                    return Err(error);
                }
                // The disk may have no room for the name. Removing the files in the directory
                // makes room.
                self.empty(&from)?;
                self.dir.with_room_for_name(|| rename().map(drop)).map(|()| true)
            });
            if !renamed.map_err(|error| Error::io("rename", &from, error))? {
                continue;
            }
            // No opening may find partition 0 removed and another partition still there.
            self.dir.sync()?;
            self.remove_deleted_dir(&name)?;
        }
        Ok(())
    }

    /// Removes the files in the directory of a partition, except the one that says that its topic
    /// is being deleted.
    fn empty(&self, path: &Path) -> io::Result<()> {
        let fs = &self.dir.fs;
        for entry in fs.list(path)?.iter().filter(|entry| entry.name != TOPIC_PROPERTIES) {
            fs.remove(&path.join(&entry.name))?;
        }
        fs.sync_dir(path)
    }

    /// Removes the directory of a deleted log. A failure is reported, and the next opening tries
    /// again.
    pub(super) fn remove_deleted_dir(&self, name: &str) -> Result<()> {
        let path = self.dir.path.join(name);
        let fs = &self.dir.fs;
        let remove = || -> io::Result<()> {
            let mut entries = fs.list(&path)?;
            // If this is interrupted, a remaining file of a log tells the next opening to remove
            // the rest.
            entries.sort_by_key(is_log_file);
            for entry in entries {
                fs.remove(&path.join(&entry.name))?;
            }
            fs.remove_dir(&path)
        };
        if let Err(error) = remove() {
            self.dir.events.emit(&Event::CleanupFailed { path, error: error.to_string() });
        }
        Ok(())
    }
}
