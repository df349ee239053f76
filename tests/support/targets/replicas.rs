//! A fuzz target that reads its input as what a leader sends to a follower.

use super::agree::agree;
use super::directories::{DIR, config};
use super::{Choices, repair};
use crate::memory::bounded;
use annals::fs::MemFs;
use annals::{CleanupPolicy, ErrorKind, Log, LogConfig, OnCorruption};

/// Gives each batch the offset after the one before it, as far as the lengths lead.
fn chain(mut bytes: &mut [u8], mut next: u64) {
    while bytes.len() >= 61 {
        let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (size, delta) = (i64::from(int(8)) + 12, int(23));
        bytes[..8].copy_from_slice(&next.to_be_bytes());
        let Ok(size) = usize::try_from(size) else { return };
        next += u64::from(delta.unsigned_abs()) + 1;
        let size = size.clamp(61, bytes.len());
        bytes = &mut bytes[size..];
    }
}

/// Appends any bytes in two parts, and opens the log again. A part is appended as a whole, up to
/// its last whole batch, or not at all.
pub fn replicate(data: &[u8]) {
    let mut choices = Choices(data);
    let flags = choices.byte();
    let restart = choices.below(200);
    let cut = choices.below(1 << 16) as usize;
    let mut parts = choices.0.to_vec();
    let cut = cut.min(parts.len());
    if flags & 2 != 0 {
        repair(&mut parts);
    }
    let fs = MemFs::new();
    let config = |fs: &MemFs| -> LogConfig {
        let config = config(fs, OnCorruption::Fail);
        match flags & 1 {
            0 => config,
            _ => config.cleanup_policy(CleanupPolicy::CompactAndDelete),
        }
    };
    bounded(data.len(), || {
        let log = Log::open(DIR, config(&fs)).unwrap();
        let (one, two) = parts.split_at_mut(cut);
        for part in [one, two] {
            let before = (log.offsets(), log.leader_epochs().unwrap());
            if flags & 4 != 0 {
                chain(part, before.0.end);
            }
            match log.append_as_follower(part) {
                Ok(appended) if log.offsets().end > before.0.end => {
                    assert_eq!(log.offsets().end, appended.last + 1);
                }
                Ok(_) => assert_eq!((log.offsets(), log.leader_epochs().unwrap()), before),
                Err(error) => {
                    let kinds = [
                        ErrorKind::InvalidInput,
                        ErrorKind::Unsupported,
                        ErrorKind::OutOfRange,
                        ErrorKind::Fenced,
                    ];
                    assert!(kinds.contains(&error.kind()), "{error}");
                    assert_eq!((log.offsets(), log.leader_epochs().unwrap()), before);
                }
            }
        }
        let (served, epochs) = (agree(&log), log.leader_epochs().unwrap());
        let again = Log::open(DIR, config(&fs.kill())).unwrap();
        assert_eq!(agree(&again).records, served.records);
        assert_eq!(again.leader_epochs().unwrap(), epochs);
        assert_eq!(again.offsets().last_stable, log.offsets().last_stable);
        log.truncate_fully_and_start_at(restart).unwrap();
        let again = Log::open(DIR, config(&fs.kill())).unwrap();
        assert_eq!((again.offsets().start, again.offsets().end), (restart, restart));
    });
}
