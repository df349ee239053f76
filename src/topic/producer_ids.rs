//! The ids of producers: given out once, by whoever has the directory.
//!
//! Ids are reserved a thousand at a time. The file says, durably and before the first of them is given out, where the next
//! thousand begins; a crash loses the rest of one. Without the file, in a directory that a broker has left, they begin above
//! all that are known to the logs.

use crate::error::{Corruption, Damage, Error, Result};
use crate::log::Log;
use crate::segment::SegmentDir;
use crate::sync::Mutex;
use crate::topic::properties;
use crate::types::ProducerId;
use std::sync::Arc;

const FILE: &str = "producer-ids.properties";
const NEXT: &str = "next.producer.id";
const RESERVED: ProducerId = 1000;

/// What ids there are to give out.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    dir: Arc<SegmentDir>,
    /// The next id, and where those that are reserved end. The first use reads the file.
    reserved: Mutex<Option<(ProducerId, ProducerId)>>,
}

impl ProducerIds {
    pub(crate) fn new(dir: &Arc<SegmentDir>) -> ProducerIds {
        ProducerIds { dir: Arc::clone(dir), reserved: Mutex::new(None) }
    }

    /// An id that was never given out.
    pub(crate) fn next(&self, logs: impl FnOnce() -> Vec<Log>) -> Result<ProducerId> {
        let mut reserved = self.reserved.lock();
        let (next, end) = match *reserved {
            Some(known) => known,
            None => {
                let stored = self.read()?;
                // A broker that had the directory meanwhile has given out others.
                let above = highest(&logs())?.saturating_add(1);
                let begin = stored.unwrap_or(0).max(above);
                (begin, begin)
            }
        };
        let end = if next < end {
            end
        } else {
            let end = next.saturating_add(RESERVED);
            let text = properties::format([(NEXT, end.to_string().as_str())]);
            self.dir.replace_if_room(&self.dir.path.join(FILE), text.as_bytes())?;
            end
        };
        *reserved = Some((next.saturating_add(1), end));
        Ok(next)
    }

    fn read(&self) -> Result<Option<ProducerId>> {
        let path = self.dir.path.join(FILE);
        let Some(bytes) = self.dir.read_small(&path, 4096)? else { return Ok(None) };
        let read = properties::parse(&properties::text(&bytes)).ok().and_then(|entries| {
            entries.get(NEXT)?.parse().ok().filter(|next: &ProducerId| *next >= 0)
        });
        match read {
            Some(next) => Ok(Some(next)),
            None => Err(Error::Corrupt(Box::new(Corruption {
                path,
                position: 0,
                offset: None,
                reason: Damage::Malformed("it does not say which producer id is next"),
            }))),
        }
    }
}

fn highest(logs: &[Log]) -> Result<ProducerId> {
    let mut highest = -1;
    for log in logs {
        let known = match log.producers() {
            Err(Error::Closed | Error::Poisoned { .. }) => continue,
            known => known?,
        };
        highest = known.iter().map(|state| state.producer_id).fold(highest, ProducerId::max);
    }
    Ok(highest)
}
