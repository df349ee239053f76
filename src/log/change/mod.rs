//! Changes of a log other than appends: truncating, deleting records, replacing segments, closing.
//!
//! Each holds the change lock and has one shape: do the file work that must come before, publish
//! the next list of segments, then remove the files that it no longer names.

pub(crate) mod close;
pub(crate) mod delete_records;
pub(crate) mod high_watermark;
pub(crate) mod replace;
pub(crate) mod restart;
pub(crate) mod truncate;

use crate::error::Result;
use crate::log::append::roll::roll_age;
use crate::log::config::LogConfig;
use crate::log::inner::LogInner;

impl LogInner {
    /// Applies other options from now on, as far as they can be altered while a log is open.
    pub(crate) fn alter(&self, config: &LogConfig) -> Result<()> {
        config.validate()?;
        let mut slot = self.appends.writer.lock();
        self.state.check_writable()?;
        self.dynamic.set(config);
        if let Some(writer) = &mut *slot {
            writer.roll_age = roll_age(config, &self.dir.path, writer.segment.base);
        }
        Ok(())
    }
}
