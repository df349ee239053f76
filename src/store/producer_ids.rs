//! Producer ids. The process that has the directory open assigns each id once.
//!
//! Ids are reserved a thousand at a time. Before the first one is assigned, the file durably
//! records where the next thousand begins, so a crash loses the rest of a thousand. Without the
//! file, ids begin above all store ids that the logs know.
//!
//! A loss of power can take the last epochs of a transactional id, while the partitions know them.
//! A producer that got one of them again would have its batches taken for earlier ones. So after a
//! crash, the file records that the ids so far are given to no transactional producer again.
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
/// After a crash, the first id that a transactional producer may go on with.
const TRUSTED: &str = "first.transactional.producer.id";
const RESERVED: ProducerId = 1000;
/// The end of the first half of the store ids. No store assigns that many. A higher id was made up
/// by a client, and is ignored: otherwise, it could leave no ids to assign.
const LAST: ProducerId = FIRST_STORE_PRODUCER_ID + (FIRST_STORE_PRODUCER_ID >> 1);

/// The producer ids that are reserved and not assigned yet.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    dir: Arc<Dir>,
    /// The first use reads the file.
    reserved: Mutex<Option<Reserved>>,
}

#[derive(Debug, Clone, Copy)]
struct Reserved {
    next: ProducerId,
    /// The end of the reserved ids.
    end: ProducerId,
    /// The first id that a transactional producer may go on with.
    trusted: ProducerId,
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

    /// Sees to it that no transactional producer goes on with an id assigned so far.
    pub(crate) fn distrust(&self, logs: impl FnOnce() -> Vec<Log>) -> Result<()> {
        event::deliver_after(|| {
            let mut reserved = self.reserved.lock();
            let known = self.known(&reserved, logs)?;
            let changed = Reserved { next: known.end, trusted: known.end, ..known };
            self.write(changed)?;
            *reserved = Some(changed);
            Ok(())
        })
    }

    /// Returns the first id that a transactional producer may go on with.
    pub(crate) fn trusted(&self, logs: impl FnOnce() -> Vec<Log>) -> Result<ProducerId> {
        event::deliver_after(|| {
            let mut reserved = self.reserved.lock();
            let known = self.known(&reserved, logs)?;
            *reserved = Some(known);
            Ok(known.trusted)
        })
    }

    fn next_alone(&self, logs: impl FnOnce() -> Vec<Log>) -> Result<ProducerId> {
        let mut reserved = self.reserved.lock();
        let mut known = self.known(&reserved, logs)?;
        if known.next >= known.end {
            known.end = known.next.saturating_add(RESERVED);
            self.write(known)?;
        }
        let next = known.next;
        *reserved = Some(Reserved { next: next.saturating_add(1), ..known });
        Ok(next)
    }

    /// Returns what is reserved. Reads the file if that is not known yet.
    fn known(
        &self,
        reserved: &Option<Reserved>,
        logs: impl FnOnce() -> Vec<Log>,
    ) -> Result<Reserved> {
        if let Some(known) = reserved {
            return Ok(*known);
        }
        let stored = self.read()?;
        // A log that another store has written may have been moved here.
        let above = highest(&logs())?.map_or(0, |highest| highest.saturating_add(1));
        let begin = stored.map_or(0, |(next, _)| next).max(above).max(FIRST_STORE_PRODUCER_ID);
        // If the file was removed, nothing is known of its ids. A broker's directory has none.
        let trusted = stored.map_or(if above > 0 { begin } else { 0 }, |(_, trusted)| trusted);
        Ok(Reserved { next: begin, end: begin, trusted })
    }

    fn write(&self, reserved: Reserved) -> Result<()> {
        let (end, trusted) = (reserved.end.to_string(), reserved.trusted.to_string());
        let has_trusted = reserved.trusted > 0;
        let trusted = Some((TRUSTED, trusted.as_str())).filter(|_| has_trusted);
        let text = java_properties::format([(NEXT, end.as_str())].into_iter().chain(trusted));
        // On a full disk, use the reserve: a service that restarts there creates its producers
        // first.
        self.dir.replace(&self.dir.path.join(FILE), text.as_bytes())?;
        self.dir.fill_reserve();
        Ok(())
    }

    /// Reads the next id, and the first that a transactional producer may go on with.
    fn read(&self) -> Result<Option<(ProducerId, ProducerId)>> {
        let path = self.dir.path.join(FILE);
        let Some(bytes) = self.dir.read_small(&path, 4096)? else { return Ok(None) };
        let malformed = |reason| {
            Error::Corrupt(Box::new(Corruption {
                path: path.clone(),
                position: 0,
                offset: None,
                reason: CorruptionKind::Malformed(reason),
            }))
        };
        let entries = java_properties::parse(&java_properties::text(&bytes)).unwrap_or_default();
        let id = |text: &String| {
            let id = text.parse::<ProducerId>().ok();
            id.filter(|id| (0..=LAST).contains(id))
        };
        let next = entries.get(NEXT).and_then(id);
        let next = next.ok_or_else(|| malformed("it has no valid `next.producer.id`"))?;
        let trusted = match entries.get(TRUSTED) {
            None => 0,
            Some(text) => id(text).ok_or_else(|| {
                malformed("its `first.transactional.producer.id` is not a producer id")
            })?,
        };
        Ok(Some((next, trusted)))
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
