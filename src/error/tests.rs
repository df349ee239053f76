use super::*;
use crate::types::Timestamp;

const FILE: &str = "orders-0/00000000000000000000.log";

#[test]
fn error_fits_in_48_bytes() {
    assert!(size_of::<Error>() <= 48, "{}", size_of::<Error>());
}

fn of_system(source: impl Into<io::Error>) -> Error {
    Error::io("append to", Path::new(FILE), source.into())
}

#[test]
fn io_error_names_way_out() {
    for (kind, way) in [
        (
            io::ErrorKind::StorageFull,
            "no storage space; delete records, topics or other files to make room, then retry",
        ),
        (
            io::ErrorKind::QuotaExceeded,
            "quota exceeded; delete files or raise the quota, then retry",
        ),
        (
            io::ErrorKind::FileTooLarge,
            "file too large; call `roll`, or raise the limit on the size of files (`ulimit -f`), then retry",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "permission denied; run as the owner of the directory, or change its permissions",
        ),
        (io::ErrorKind::TimedOut, "timed out"),
    ] {
        assert_eq!(of_system(kind).to_string(), format!("cannot append to {FILE}: {way}"));
    }
    if cfg!(unix) {
        let text = of_system(io::Error::from_raw_os_error(24)).to_string();
        let way = "; close logs, or raise the limit on open files (`ulimit -n`), then retry";
        assert!(text.ends_with(way), "{text}");
    }
}

/// A quoted cause would offer its own way out before that of the error that quotes it.
#[test]
fn cause_has_no_way_out() {
    let full = of_system(io::ErrorKind::StorageFull);
    assert_eq!(full.cause(), format!("cannot append to {FILE}: no storage space"));
    let reason = CorruptionKind::FileTruncated { expected: 61, found: 1 };
    let damage = Corruption { path: FILE.into(), position: 0, offset: None, reason };
    assert_eq!(
        Error::Corrupt(Box::new(damage)).cause(),
        format!("{FILE} is damaged at byte 0: the sound data ends after 1 byte instead of 61")
    );
}

#[test]
fn invalid_option_names_value() {
    let text =
        |option| Error::from(InvalidOption::new(option, 0, "must be at least 1")).to_string();
    assert_eq!(text("threads"), "option `threads` is 0, but must be at least 1");
    assert_eq!(text("group"), "the name of the group is 0, but must be at least 1");
    let config = crate::LogConfig::default().segment_bytes(10);
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "option `segment_bytes` is 10, but must lie between 62 bytes and 2 GiB - 1"
    );
    let (short, long) = (std::time::Duration::from_secs(1), std::time::Duration::from_secs(5));
    let config = crate::LogConfig::default().min_compaction_lag(long).max_compaction_lag(short);
    assert_eq!(
        config.validate().unwrap_err().to_string(),
        "option `min_compaction_lag` is 5s, but must not be above `max_compaction_lag`, which is 1s"
    );
}

#[test]
fn rejected_record_names_log() {
    let [timestamp, earliest, latest] = [-5, 0, 9].map(Timestamp::from_millis);
    let reason = InvalidRecord::Timestamp { timestamp, earliest, latest };
    let error = Error::InvalidRecord { log: None, index: 3, reason };
    let why = "timestamp -5 is outside of 0 to 9; omit it, or choose a time since 1970";
    assert_eq!(error.to_string(), format!("record 3 of the batch: {why}"));
    let error = error.of_log(LogLocation::new(Path::new("orders-0"), None));
    assert_eq!(error.to_string(), format!("record 3 of the batch for log orders-0: {why}"));
}

#[test]
fn counts_agree_with_nouns() {
    let bytes = |bytes: u64| InvalidBatch::TrailingBytes { bytes }.to_string();
    assert_eq!(bytes(1), "the batch has 1 surplus byte after its last record");
    assert_eq!(bytes(2), "the batch has 2 surplus bytes after its last record");
    let (topic, reason) = ("orders".to_owned(), "it has 4".to_owned());
    let error = TopicError::InvalidPartitions { topic, given: 1, reason };
    assert_eq!(error.to_string(), "topic `orders` cannot have 1 partition: it has 4");
}
