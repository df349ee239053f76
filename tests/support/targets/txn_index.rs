//! A fuzz target that reads its input as an index of aborted transactions.

use super::directories::{DIR, clean, config};
use crate::memory::bounded;
use crate::{files, write_file};
use annals::fs::MemFs;
use annals::inspect::TxnEntries;
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    IsolationLevel, Log, OnCorruption, ProducerIdentity, Result, StartAt, StoredRecord, Timestamp,
    TransactionVersion,
};
use std::path::Path;
use std::sync::OnceLock;

struct Sound {
    closed: MemFs,
    killed: MemFs,
    committed: Vec<StoredRecord>,
    bases: Vec<u64>,
}

/// Returns a log of a few segments in which the transactions of three producers overlap. Two of
/// three are aborted, and the last ones are open.
fn sound() -> &'static Sound {
    static SOUND: OnceLock<Sound> = OnceLock::new();
    SOUND.get_or_init(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config(&fs, OnCorruption::Fail).segment_bytes(700)).unwrap();
        let mut open = [0i16; 3];
        for n in 0..24u8 {
            let id = n % 3;
            let epoch = open[usize::from(id)];
            let mut builder = BatchBuilder::new();
            builder.producer(id.into(), epoch, 0).transactional(true);
            let value = format!("value {n}");
            builder.push(Timestamp::from_millis(n.into()), None, Some(value.as_bytes())).unwrap();
            log.append_batch(builder.build().unwrap()).unwrap();
            // Another producer ends its transaction, so that each spans a few batches of others.
            let other = (n + 1) % 3;
            if n % 2 == 1 && n < 20 {
                let next = open[usize::from(other)] + 1;
                open[usize::from(other)] = next;
                let who = ProducerIdentity { id: other.into(), epoch: next };
                let marker = EndTxnMarker { committed: n % 3 == 0, coordinator_epoch: 0 };
                log.append_marker(who, marker, TransactionVersion::V2).unwrap();
            }
        }
        let killed = fs.kill();
        let bases = log.stats().unwrap().segments.iter().map(|s| s.base_offset).collect();
        let committed = committed(&log).unwrap();
        log.close().unwrap();
        Sound { closed: fs, killed, committed, bases }
    })
}

fn committed(log: &Log) -> Result<Vec<StoredRecord>> {
    log.isolated(IsolationLevel::ReadCommitted).reader(StartAt::Earliest)?.records().collect()
}

/// Returns the indexes of the sound log, as inputs.
pub fn seeds() -> Vec<Vec<u8>> {
    let all = files(&sound().closed, DIR);
    let names = sound().bases.iter().map(|base| format!("{base:020}.txnindex"));
    let indexes = (0u8..).zip(names.map(|name| all.get(&name).cloned().unwrap_or_default()));
    let inputs = indexes
        .flat_map(|(n, index)| [0, 1].map(|kind| [&[n << 2 | kind], index.as_slice()].concat()));
    inputs.collect()
}

/// Replaces the index of a segment. Committed reads return the records that they returned before,
/// or [`Log::verify`] finds the index wrong. After a crash, the index is rebuilt.
pub fn txn_index(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let sound = sound();
    let base = sound.bases[usize::from(flags >> 2) % sound.bases.len()];
    let is_killed = flags & 1 != 0;
    let fs = if is_killed { sound.killed.kill() } else { sound.closed.kill() };
    let name = format!("{base:020}.txnindex");
    // A length that no index can have is rejected at once, so most inputs get a valid length.
    let whole = if flags & 2 != 0 { bytes } else { &bytes[..bytes.len() / 34 * 34] };
    write_file(&fs, DIR, &name, whole);
    bounded(bytes.len(), || {
        TxnEntries::open(&fs, &Path::new(DIR).join(&name)).unwrap().for_each(drop);
        let look = Log::open_read_only(DIR, config(&fs, OnCorruption::Fail)).unwrap();
        committed(&look).map_err(|error| clean(&error)).ok();
        drop(look);
        let log = match Log::open(DIR, config(&fs, OnCorruption::Fail)) {
            Ok(log) => log,
            Err(error) => return clean(&error),
        };
        let found = committed(&log);
        let is_right = found.as_ref().is_ok_and(|found| *found == sound.committed);
        assert!(is_right || !is_killed, "an opening after a crash rebuilds the index: {found:?}");
        assert!(is_right || !log.verify().unwrap().is_empty(), "wrong and sound: {found:?}");
    });
}
