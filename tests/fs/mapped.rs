//! Index files that are large enough to be mapped: the one place of the crate with `unsafe` in it.
//! Small enough to run under valgrind.

use annals::fs::{DiskFs, Fs, OpenMode};
use annals::{Log, LogConfig, StartAt, Timestamp};

#[test]
fn mapped_index_outlives_its_file() {
    const RECORDS: u64 = 9000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let config = LogConfig::default().index_interval_bytes(1);
    let log = Log::open(&path, config.clone()).unwrap();
    (0..RECORDS).for_each(|n| assert_eq!(log.append("x").unwrap(), n));
    log.roll().unwrap();
    log.close().unwrap();
    let index = std::fs::metadata(path.join(format!("{:020}.index", 0))).unwrap();
    assert!(index.len() >= 64 * 1024, "it is not mapped");

    let log = Log::open(&path, config).unwrap();
    for offset in (0..RECORDS).step_by(97).chain([RECORDS - 1]) {
        assert_eq!(log.get(offset).unwrap().unwrap().offset, offset);
    }
    assert!(log.offset_for_time(Timestamp::from_millis(1)).unwrap().is_some());
    let mut reader = log.reader(StartAt::Offset(10)).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 10);
    log.truncate_to(RECORDS / 2).unwrap();
    assert_eq!(reader.next_record().unwrap().unwrap().offset, 11);
    assert_eq!(log.get(RECORDS / 2 - 1).unwrap().unwrap().offset, RECORDS / 2 - 1);
}

#[test]
fn view_outlives_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = DiskFs.open(&path, OpenMode::CreateNew).unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    let (whole, part, none) =
        (file.view(10_000).unwrap(), file.view(4097).unwrap(), file.view(0).unwrap());
    assert!(file.view(10_001).is_err());
    drop(file);
    DiskFs.remove(&path).unwrap();
    assert!(whole.iter().chain(part.iter()).all(|byte| *byte == 7));
    assert_eq!((whole.len(), part.len(), none.len()), (10_000, 4097, 0));
}
