//! Pausing the maintenance of a log.

use crate::log::inner::Shared;
use std::sync::Arc;

/// A guard that pauses the maintenance of a log. See [`Log::pause_maintenance`].
#[derive(Debug)]
#[must_use = "maintenance goes on when this is dropped"]
pub struct MaintenancePause {
    shared: Arc<Shared>,
}

impl MaintenancePause {
    pub(crate) fn new(shared: Arc<Shared>) -> MaintenancePause {
        shared.rest();
        MaintenancePause { shared }
    }
}

impl Drop for MaintenancePause {
    fn drop(&mut self) {
        self.shared.end_rest();
    }
}
