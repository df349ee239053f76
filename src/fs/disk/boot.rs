//! The id of the current boot of the machine.

use std::fs;

/// Returns Linux's id of the current boot of the machine; `None` on other systems, and where
/// `/proc` is not mounted.
pub(super) fn id() -> Option<String> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = id.trim();
        (!id.is_empty()).then(|| id.to_owned())
    } else {
        None
    }
}
