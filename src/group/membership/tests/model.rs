//! Random clients that join, leave, pause, crash and come back, and the invariants that must
//! hold.

use super::*;
use crate::random::SplitMix64;
use std::collections::BTreeSet;

const SEEDS: u64 = 600;
const STEPS: usize = 250;
/// At times fewer than there are members, so that some get none.
const PARTITIONS: u8 = 4;

/// The state that a client believes in.
#[derive(Debug, Clone, Default)]
struct Client {
    id: Option<String>,
    instance: Option<String>,
    local: bool,
    generation: i32,
    /// As the leader: the members to assign partitions to.
    leads: Vec<String>,
    owns: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Join,
    Sync,
}

#[derive(Debug, Default)]
struct Tally {
    joined: u64,
    synced: u64,
    refused: u64,
    commits: u64,
    refused_commits: u64,
    removals: BTreeSet<Removal>,
}

struct World {
    group: Group,
    now: Duration,
    clients: Vec<Client>,
    /// The members that wait for an answer, by member id.
    waiting: BTreeMap<String, Waits>,
    /// The owners of partitions in the last generation that had any.
    owners: BTreeMap<u8, String>,
    owned_in: i32,
    ids: u64,
    random: SplitMix64,
    seen: Tally,
    last_state: (GroupState, i32),
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = SplitMix64(seed);
        let delay = Duration::from_secs(random.below(5));
        let config = GroupConfig { initial_rebalance_delay: delay, ..GroupConfig::default() };
        let client = |n: u64| Client {
            instance: n.is_multiple_of(3).then(|| format!("static-{n}")),
            local: n.is_multiple_of(2),
            ..Client::default()
        };
        World {
            group: Group::new(config),
            now: Duration::ZERO,
            clients: (0..6).map(client).collect(),
            waiting: BTreeMap::new(),
            owners: BTreeMap::new(),
            owned_in: 0,
            ids: 0,
            random,
            seen: Tally::default(),
            last_state: (GroupState::Empty, 0),
        }
    }

    fn client_of(&mut self, id: &str) -> Option<&mut Client> {
        self.clients.iter_mut().find(|client| client.id.as_deref() == Some(id))
    }

    /// Applies changes, and checks that they are allowed.
    fn take(&mut self, changes: Changes) {
        assert_eq!(changes.next_deadline, self.group.next_deadline());
        assert!(changes.next_deadline.is_none_or(|at| at > self.now), "{changes:?}");
        for (id, why) in &changes.removed {
            self.seen.removals.insert(*why);
            if *why == Removal::Replaced {
                self.owners.retain(|_, owner| owner != id);
            }
        }
        for (id, answer) in changes.answers {
            self.answer(&id, answer);
        }
        let state = (self.group.state(), self.group.generation());
        let (before, after) = (self.last_state, state);
        assert!(after.1 >= before.1, "a generation went back");
        if after.0 != before.0 && matches!(after.0, GroupState::Stable | GroupState::Empty) {
            assert!(changes.store, "{before:?} {after:?}");
        }
        self.last_state = state;
        self.check();
    }

    fn answer(&mut self, id: &str, answer: Answer) {
        let waited = self.waiting.remove(id).unwrap_or_else(|| panic!("{id} does not wait"));
        let current = self.group.generation();
        match answer {
            Answer::Joined(joined) => {
                self.seen.joined += 1;
                assert_eq!((waited, joined.generation), (Waits::Join, current));
                let leads = joined.leader == id;
                assert_eq!(leads, !joined.members.is_empty());
                let client = self.client_of(id).unwrap();
                client.generation = joined.generation;
                client.leads = joined.members.into_iter().map(|member| member.member_id).collect();
                client.owns.clear();
            }
            Answer::Synced(share) => {
                self.seen.synced += 1;
                assert_eq!((waited, self.group.state()), (Waits::Sync, GroupState::Stable));
                let client = self.client_of(id).unwrap();
                assert_eq!(client.generation, current);
                client.owns = share.to_vec();
                if self.owned_in != current {
                    self.owned_in = current;
                    self.owners.clear();
                }
                for partition in share {
                    let other = self.owners.insert(partition, id.to_owned());
                    assert!(other.is_none_or(|other| other == id), "{partition} has two owners");
                }
            }
            Answer::Refused(why) => {
                self.seen.refused += 1;
                self.refused(id, &why);
            }
        }
    }

    /// Reacts to an error like a client.
    fn refused(&mut self, id: &str, why: &GroupError) {
        let Some(client) = self.client_of(id) else { return };
        client.owns.clear();
        match why {
            GroupError::RebalanceInProgress | GroupError::IllegalGeneration { .. } => {}
            GroupError::UnknownMemberId { .. } | GroupError::FencedInstanceId { .. } => {
                client.id = None;
                client.leads.clear();
            }
            other => panic!("{other:?}"),
        }
    }

    /// Checks the invariants that hold after every step.
    fn check(&self) {
        let members: BTreeSet<&str> = self.group.member_ids().collect();
        assert!(self.waiting.keys().all(|id| members.contains(id.as_str())), "{:?}", self.waiting);
        let waits = |what| self.waiting.values().any(|waits| *waits == what);
        match self.group.state() {
            GroupState::Empty | GroupState::Dead => {
                assert!(members.is_empty() && self.waiting.is_empty());
            }
            GroupState::PreparingRebalance => assert!(!waits(Waits::Sync)),
            GroupState::CompletingRebalance => assert!(!waits(Waits::Join)),
            GroupState::Stable => {
                assert!(self.waiting.is_empty());
                let shares =
                    self.group.members.values().flat_map(|member| member.assignment.clone());
                let mut shares: Vec<u8> = shares.collect();
                shares.sort_unstable();
                assert_eq!(shares, (0..PARTITIONS).collect::<Vec<_>>());
                for id in members {
                    let mut copy = self.group.clone();
                    let member = &copy.members[id];
                    let instance_id = member.instance_id.clone();
                    let caller = Caller { member_id: id, instance_id: instance_id.as_deref() };
                    let generation = copy.generation();
                    let step = copy.sync(caller, generation, BTreeMap::new(), self.now);
                    let own = step.changes.answers.iter().filter(|(to, _)| to == id);
                    let own: Vec<_> = own.collect();
                    assert!(matches!(own.as_slice(), [(_, Answer::Synced(_))]), "{own:?}");
                }
            }
        }
    }

    fn join(&mut self, n: usize) {
        let client = self.clients[n].clone();
        self.ids += 1;
        // A restarted static member has lost its id.
        let anew = client.instance.is_some() && self.random.below(3) == 0;
        let member = match client.id.filter(|_| !anew) {
            Some(id) => JoinAs::Known(id),
            None => JoinAs::New(format!("m{}", self.ids)),
        };
        let said = if self.random.below(9) == 0 { "more" } else { "all" };
        let join = Join {
            instance_id: client.instance,
            protocols: protocols(&[("range", said), ("sticky", said)]),
            session_timeout: secs(10 + self.random.below(20)),
            rebalance_timeout: secs(5 + self.random.below(40)),
            max_poll_interval: client.local.then(|| secs(30)),
            ..join(member.clone())
        };
        let (JoinAs::New(id) | JoinAs::Known(id)) = member;
        if self.clients[n].id.is_none() || anew {
            let client = &mut self.clients[n];
            client.id = Some(id.clone());
            (client.generation, client.leads, client.owns) = (-1, Vec::new(), Vec::new());
        }
        let waited = self.waiting.insert(id.clone(), Waits::Join);
        let step = self.group.join(join, self.now);
        if let Err(why) = step.result {
            self.restore_wait(&id, waited);
            self.refused(&id, &why);
        }
        self.take(step.changes);
    }

    fn restore_wait(&mut self, id: &str, waited: Option<Waits>) {
        match waited {
            Some(waited) => self.waiting.insert(id.to_owned(), waited),
            None => self.waiting.remove(id),
        };
    }

    fn sync(&mut self, n: usize) {
        let client = self.clients[n].clone();
        let Some(id) = client.id else { return };
        let mut shares: BTreeMap<String, Bytes> = BTreeMap::new();
        if !client.leads.is_empty() {
            let mut lists: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for partition in 0..PARTITIONS {
                let to = &client.leads[usize::from(partition) % client.leads.len()];
                lists.entry(to.clone()).or_default().push(partition);
            }
            shares = lists.into_iter().map(|(id, list)| (id, Bytes::from(list))).collect();
        }
        let waited = self.waiting.insert(id.clone(), Waits::Sync);
        let caller = Caller { member_id: &id, instance_id: client.instance.as_deref() };
        let step = self.group.sync(caller, client.generation, shares, self.now);
        if let Err(why) = step.result {
            self.restore_wait(&id, waited);
            self.refused(&id, &why);
        }
        self.take(step.changes);
    }

    fn commit(&mut self, n: usize) {
        let client = self.clients[n].clone();
        let id = client.id.unwrap_or_else(|| "nobody".into());
        let stray = [0, 0, 0, -1, 1][self.random.below(5) as usize];
        let generation = client.generation + stray;
        let caller = Caller { member_id: &id, instance_id: client.instance.as_deref() };
        let committer = Committer::Member { caller, generation };
        let step = self.group.check_commit(committer, false, self.now);
        let is_member = self.group.member_ids().any(|member| member == id);
        let current = generation == self.group.generation();
        let waits = self.group.state() == GroupState::CompletingRebalance;
        assert_eq!(step.result.is_ok(), is_member && current && !waits);
        if step.result.is_ok() {
            self.seen.commits += 1;
            // Unless the client guessed the generation, no other member owns its partitions.
            let owns = &self.clients[n].owns;
            let own = owns.iter().all(|partition| self.owners.get(partition) == Some(&id));
            assert!(own || stray != 0);
        } else {
            self.seen.refused_commits += 1;
        }
        self.take(step.changes);
        if let Err(why) = &step.result {
            self.refused(&id, why);
        }
    }

    fn call(&mut self, n: usize, call: impl FnOnce(&mut Group, Caller<'_>, i32) -> GroupStep<()>) {
        let client = self.clients[n].clone();
        let Some(id) = client.id else { return };
        let caller = Caller { member_id: &id, instance_id: client.instance.as_deref() };
        let step = call(&mut self.group, caller, client.generation);
        self.take(step.changes);
        if let Err(why) = &step.result {
            self.refused(&id, why);
        }
    }

    fn act(&mut self) {
        let n = self.random.below(self.clients.len() as u64) as usize;
        let now = self.now;
        // Tick first: a call does that itself, and its answers would then be of two generations.
        let changes = self.group.tick(now);
        self.take(changes);
        match self.random.below(40) {
            0..10 => self.join(n),
            10..19 => self.sync(n),
            19..24 => self.commit(n),
            24..28 => {
                self.call(n, |group, caller, generation| group.heartbeat(caller, generation, now))
            }
            28..30 => self.call(n, |group, caller, _| group.begin_poll(caller, now)),
            30..32 => self.call(n, |group, caller, _| group.end_poll(caller, now)),
            32 => self.call(n, |group, caller, _| group.leave(caller, now)),
            33 => self.call(n, |group, caller, _| group.detach(caller, now)),
            34 if self.random.below(4) == 0 => {
                let changes = self.group.rebalance(now);
                self.take(changes);
            }
            35 => {
                // A pause of unknown length.
                self.now += secs(self.random.below(50));
                let changes = self.group.tick(self.now);
                self.take(changes);
            }
            36 => {
                self.now = self.group.next_deadline().unwrap_or(now);
                let changes = self.group.tick(self.now);
                self.take(changes);
            }
            _ => self.now += Duration::from_millis(self.random.below(2000)),
        }
    }

    /// Stops all calls. Waiting members are answered, and soon all members are removed.
    fn silence(&mut self) {
        for n in 0..self.clients.len() {
            let now = self.now;
            self.call(n, |group, caller, _| group.end_poll(caller, now));
        }
        let begun = self.now;
        while let Some(at) = self.group.next_deadline() {
            assert!(at > self.now);
            self.now = at;
            let changes = self.group.tick(at);
            self.take(changes);
            // Join, be answered, do not sync; poll overdue, then a session: each once.
            assert!(self.now - begun <= secs(4 * 45 + 30 + 30), "{:?}", self.group);
        }
        assert!(self.waiting.is_empty(), "{:?}", self.waiting);
        assert!(self.group.member_ids().next().is_none(), "{:?}", self.group);
    }
}

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        world.act();
        if step % 50 == 49 && world.random.below(4) == 0 {
            world.silence();
        }
    }
    world.silence();
    world.seen
}

/// `GROUP_SEED` runs one seed alone.
#[test]
fn invariants_hold_for_random_clients() {
    if let Ok(seed) = std::env::var("GROUP_SEED") {
        println!("{:?}", run(seed.parse().unwrap()));
        return;
    }
    let mut all = Tally::default();
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| run(seed));
        let seen = run.unwrap_or_else(|_| panic!("GROUP_SEED={seed} shows it"));
        all.joined += seen.joined;
        all.synced += seen.synced;
        all.refused += seen.refused;
        all.commits += seen.commits;
        all.refused_commits += seen.refused_commits;
        all.removals.extend(seen.removals);
    }
    let each = [all.joined, all.synced, all.refused, all.commits, all.refused_commits];
    assert!(each.iter().all(|count| *count > SEEDS), "{all:?}");
    assert_eq!(all.removals.len(), 6, "{all:?}");
}
