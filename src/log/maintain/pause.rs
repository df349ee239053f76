//! Pausing the maintenance of a log.

use crate::log::inner::LogInner;
use std::sync::Arc;

/// A guard that pauses the maintenance of a log. See
/// [`Log::pause_maintenance`](crate::Log::pause_maintenance).
#[derive(Debug)]
#[must_use = "maintenance goes on when this is dropped"]
pub struct MaintenancePause {
    log: Arc<LogInner>,
}

impl MaintenancePause {
    pub(crate) fn new(log: Arc<LogInner>) -> MaintenancePause {
        log.cleaning.pause();
        MaintenancePause { log }
    }
}

impl Drop for MaintenancePause {
    fn drop(&mut self) {
        self.log.cleaning.resume();
    }
}
