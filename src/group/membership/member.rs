//! A member of a group.

use super::request::{Join, Protocol};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// The answer that a member waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    Nothing,
    Join,
    Sync,
}

/// The way in which the group knows that a member is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It sends heartbeats.
    Remote,
    /// A consumer of this process holds it.
    Here,
    /// No consumer holds it, but it may come back.
    Away,
}

/// The condition under which a member of this process stays a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Polling {
    /// No condition: it is polling, or need not poll.
    Free,
    /// It must begin a poll by this time.
    Until(Duration),
}

#[derive(Debug, Clone)]
pub(super) struct GroupMember {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
    max_poll_interval: Option<Duration>,
    /// The most preferred protocol comes first.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// A member that joined earlier has a lower number.
    pub(super) number: u64,
    pub(super) awaits: Awaits,
    /// Whether it has asked for its assignment in this generation.
    pub(super) synced: bool,
    presence: Presence,
    session_end: Duration,
    polling: Polling,
}

impl GroupMember {
    pub(super) fn new(join: Join, number: u64, now: Duration) -> GroupMember {
        let mut member = GroupMember {
            instance_id: join.instance_id.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            rebalance_timeout: Duration::ZERO,
            session_timeout: Duration::ZERO,
            max_poll_interval: None,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            number,
            awaits: Awaits::Nothing,
            synced: false,
            presence: Presence::Remote,
            session_end: now,
            polling: Polling::Free,
        };
        member.update(join, now);
        member.end_poll(now);
        member
    }

    /// Updates it when it joins again.
    pub(super) fn update(&mut self, join: Join, now: Duration) {
        self.protocols = join.protocols;
        self.rebalance_timeout = join.rebalance_timeout;
        self.session_timeout = join.session_timeout;
        self.max_poll_interval = join.max_poll_interval;
        let away = self.presence == Presence::Away;
        self.attach(now);
        if away || self.polling != Polling::Free {
            self.end_poll(now);
        }
    }

    /// Records that the member is present, possibly again.
    fn attach(&mut self, now: Duration) {
        let local = self.max_poll_interval.is_some();
        self.presence = if local { Presence::Here } else { Presence::Remote };
        self.begin_session(now);
    }

    pub(super) fn begin_session(&mut self, now: Duration) {
        self.session_end = now.saturating_add(self.session_timeout);
    }

    /// Extends the session, unless no consumer holds the member.
    pub(super) fn heartbeat(&mut self, now: Duration) {
        if self.presence != Presence::Away {
            self.begin_session(now);
        }
    }

    pub(super) fn begin_poll(&mut self, now: Duration) {
        self.attach(now);
        self.polling = Polling::Free;
    }

    pub(super) fn end_poll(&mut self, now: Duration) {
        self.polling = match self.max_poll_interval {
            Some(interval) => Polling::Until(now.saturating_add(interval)),
            None => Polling::Free,
        };
    }

    /// Records that no consumer holds the member any more. Its session begins now.
    pub(super) fn detach(&mut self, now: Duration) {
        self.presence = Presence::Away;
        self.polling = Polling::Free;
        self.begin_session(now);
    }

    /// Returns the end of its session. A member that waits for an answer, or that a consumer
    /// holds, needs no heartbeat.
    pub(super) fn session_end(&self) -> Option<Duration> {
        let runs = match self.presence {
            Presence::Here => false,
            Presence::Remote => self.awaits == Awaits::Nothing,
            Presence::Away => true,
        };
        runs.then_some(self.session_end)
    }

    /// Returns the time by which it must poll.
    pub(super) fn poll_end(&self) -> Option<Duration> {
        match self.polling {
            Polling::Free => None,
            Polling::Until(end) => Some(end),
        }
    }

    /// Returns the protocol that it prefers among these.
    pub(super) fn vote(&self, candidates: &BTreeSet<&str>) -> Option<&str> {
        let names = self.protocols.iter().map(|protocol| protocol.name.as_str());
        names.into_iter().find(|name| candidates.contains(name))
    }

    /// Returns its metadata under this protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|known| known.name == protocol);
        found.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }
}
