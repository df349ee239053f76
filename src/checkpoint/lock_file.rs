//! The content of the lock file: the process that has the directory open, or had it open last.

/// The process that wrote a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LockHolder {
    pub(crate) process: Option<u32>,
    /// The boot of the machine, as the file system names it.
    pub(crate) boot: Option<String>,
    /// Whether this crate wrote the file, or found room only to extend it.
    pub(crate) is_ours: bool,
}

/// The maximum size of a lock file of this crate.
pub(crate) const LOCK_FILE_BYTES: u64 = 256;

impl LockHolder {
    pub(crate) fn format(&self) -> String {
        let process = self.process.map(|id| id.to_string()).unwrap_or_default();
        format!("process {process}\nboot {}\n", self.boot.as_deref().unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> LockHolder {
        let field = |name| {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::trim)
        };
        let process = field("process").and_then(|id| id.parse().ok());
        LockHolder {
            boot: field("boot").filter(|boot| !boot.is_empty()).map(str::to_owned),
            // A file that was extended and not written reads as zeros.
            is_ours: process.is_some() || text.contains('\0'),
            process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_holder_survives_round_trip() {
        let holder = LockHolder { process: Some(7), boot: Some("boot-1".into()), is_ours: true };
        assert_eq!(LockHolder::parse(&holder.format()), holder);
        assert_eq!(LockHolder::parse(""), LockHolder::default());
    }
}
