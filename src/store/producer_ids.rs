//! Producer ids. The process that has the directory open assigns each id once.
//!
//! Ids are reserved a thousand at a time. Before the first one is assigned, the file durably
//! records where the next thousand begins, so a crash loses the rest of a thousand. Without the
//! file, ids begin above all store ids that the logs know.
//!
//! A broker that takes over the directory, or whose batches are copied here, assigns its own ids
//! from 0 on. If a log knew another producer with the same id, it could take a new batch for one
//! that it has, and never store it. So the ids of a store begin where no broker's ids ever reach.

use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::event;
use crate::fs::Dir;
use crate::log::Log;
use crate::store::java_properties;
use crate::sync::Mutex;
use crate::types::{FIRST_STORE_PRODUCER_ID, ProducerId};
use std::sync::Arc;

const FILE: &str = "producer-ids.properties";
const NEXT: &str = "next.producer.id";
const RESERVED: ProducerId = 1000;
/// The end of the first half of the store ids. No store assigns that many. A higher id was made up
/// by a client, and is ignored: otherwise, it could leave no ids to assign.
const LAST: ProducerId = FIRST_STORE_PRODUCER_ID + (FIRST_STORE_PRODUCER_ID >> 1);

/// The producer ids that are reserved and not assigned yet.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    dir: Arc<Dir>,
    /// The next id and the end of the reserved ids. The first use reads the file.
    reserved: Mutex<Option<(ProducerId, ProducerId)>>,
}

impl ProducerIds {
    pub(crate) fn new(dir: &Arc<Dir>) -> ProducerIds {
        ProducerIds { dir: Arc::clone(dir), reserved: Mutex::new(None) }
    }

    /// Returns an id that was never assigned.
    pub(crate) fn next(&self, logs: impl FnOnce() -> Vec<Log>) -> Result<ProducerId> {
        // A listener may need an id, too.
        event::deliver_after(|| self.next_alone(logs))
    }

    fn next_alone(&self, logs: impl FnOnce() -> Vec<Log>) -> Result<ProducerId> {
        let mut reserved = self.reserved.lock();
        let (next, end) = match *reserved {
            Some(known) => known,
            None => {
                let stored = self.read()?;
                // A log that another store has written may have been moved here.
                let above = highest(&logs())?.map_or(0, |highest| highest.saturating_add(1));
                let begin = stored.unwrap_or(0).max(above).max(FIRST_STORE_PRODUCER_ID);
                (begin, begin)
            }
        };
        let end = if next < end {
            end
        } else {
            let end = next.saturating_add(RESERVED);
            let text = java_properties::format([(NEXT, end.to_string().as_str())]);
            // On a full disk, use the reserve: a service that restarts there creates its
            // producers first.
            self.dir.replace(&self.dir.path.join(FILE), text.as_bytes())?;
            self.dir.fill_reserve();
            end
        };
        *reserved = Some((next.saturating_add(1), end));
        Ok(next)
    }

    fn read(&self) -> Result<Option<ProducerId>> {
        let path = self.dir.path.join(FILE);
        let Some(bytes) = self.dir.read_small(&path, 4096)? else { return Ok(None) };
        let read =
            java_properties::parse(&java_properties::text(&bytes)).ok().and_then(|entries| {
                entries
                    .get(NEXT)?
                    .parse()
                    .ok()
                    .filter(|next: &ProducerId| (0..=LAST).contains(next))
            });
        match read {
            Some(next) => Ok(Some(next)),
            None => Err(Error::Corrupt(Box::new(Corruption {
                path,
                position: 0,
                offset: None,
                reason: CorruptionKind::Malformed("it has no valid `next.producer.id`"),
            }))),
        }
    }
}

/// Returns the highest store id that a log knows.
fn highest(logs: &[Log]) -> Result<Option<ProducerId>> {
    let mut highest = None;
    for log in logs {
        let known = match log.producers() {
            Err(Error::Closed { .. } | Error::Poisoned { .. }) => continue,
            known => known?,
        };
        let ids = known.iter().map(|state| state.producer_id);
        let of_a_store = ids.filter(|id| (FIRST_STORE_PRODUCER_ID..LAST).contains(id));
        highest = highest.max(of_a_store.max());
    }
    Ok(highest)
}
