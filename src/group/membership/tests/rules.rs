//! Each rule of a group.

use super::*;
use crate::group::offsets::{GroupUse, MemberMetadata};
use crate::types::Timestamp;
use std::collections::BTreeSet;

fn group() -> Group {
    Group::new(GroupConfig::default())
}

/// Returns the answers, in the order of member ids.
fn told(changes: Changes) -> Vec<(String, Answer)> {
    let mut answers = changes.answers;
    answers.sort_by(|(one, _), (other, _)| one.cmp(other));
    answers
}

fn joined(changes: Changes) -> Vec<(String, i32, usize)> {
    let one = |(id, answer)| match answer {
        Answer::Joined(joined) => (id, joined.generation, joined.members.len()),
        other => panic!("{id}: {other:?}"),
    };
    told(changes).into_iter().map(one).collect()
}

fn refused(changes: Changes) -> Vec<(String, GroupError)> {
    let one = |(id, answer)| match answer {
        Answer::Refused(why) => (id, why),
        other => panic!("{id}: {other:?}"),
    };
    told(changes).into_iter().map(one).collect()
}

fn unknown(id: &str) -> GroupError {
    GroupError::UnknownMemberId { member_id: id.into() }
}

fn illegal(given: i32, current: i32) -> GroupError {
    GroupError::IllegalGeneration { given, current }
}

fn fenced(id: &str) -> GroupError {
    GroupError::FencedInstanceId { instance_id: id.into() }
}

/// Returns a stable group with these members in generation 1, whose leader is the first, at 3
/// seconds.
fn stable(joins: &[Join]) -> Group {
    let mut group = group();
    for join in joins {
        assert!(group.join(join.clone(), secs(0)).result.is_ok());
    }
    let mut now = secs(0);
    let mut answers = Vec::new();
    while let Some(at) = group.next_deadline().filter(|_| answers.is_empty()) {
        now = at;
        answers = joined(group.tick(at));
    }
    assert!(now <= secs(6));
    assert_eq!(answers.len(), joins.len());
    let shares = answers.iter().map(|(id, ..)| (id.clone(), Bytes::from(format!("{id}'s"))));
    let shares: BTreeMap<_, _> = shares.collect();
    let leader = group.leader().unwrap().to_owned();
    let step = group.sync(by(&leader), 1, shares, now);
    assert!(step.changes.store);
    for (id, ..) in answers {
        assert!(group.sync(by(&id), 1, BTreeMap::new(), now).result.is_ok());
    }
    assert_eq!((group.state(), group.generation()), (GroupState::Stable, 1));
    group
}

fn stable_at(group: &Group) -> Duration {
    // Every member began its session with the answer to its sync.
    group.next_deadline().unwrap() - secs(10)
}

#[test]
fn initial_delay_extends_when_members_join() {
    let mut group = group();
    assert_eq!(group.next_deadline(), None);
    let step = group.join(new("b"), secs(0));
    assert_eq!(step.result, Ok("b".into()));
    assert_eq!((step.changes.answers.len(), step.changes.next_deadline), (0, Some(secs(3))));
    assert_eq!(group.state(), GroupState::PreparingRebalance);
    assert!(group.join(new("a"), secs(2)).result.is_ok());
    let changes = group.tick(secs(3));
    assert_eq!((changes.answers.len(), changes.next_deadline), (0, Some(secs(6))));
    // No member has joined since.
    assert_eq!(joined(group.tick(secs(6))), [("a".into(), 1, 0), ("b".into(), 1, 2)]);
    assert_eq!((group.state(), group.leader()), (GroupState::CompletingRebalance, Some("b")));
}

#[test]
fn initial_delay_ends_at_rebalance_timeout() {
    let mut group = group();
    for second in 0..40 {
        let join = Join { rebalance_timeout: secs(10), ..new(&format!("m{second:02}")) };
        let changes = group.join(join, secs(second)).changes;
        if !changes.answers.is_empty() {
            // 3, then min(3, 7) with 4 left, then 3 with 1 left, then 1.
            assert_eq!((second, changes.answers.len()), (10, 10));
            return;
        }
    }
    panic!("it never began");
}

#[test]
fn first_join_completes_without_initial_delay() {
    let config = GroupConfig { initial_rebalance_delay: secs(0), ..GroupConfig::default() };
    let mut group = Group::new(config);
    let step = group.join(new("a"), secs(5));
    assert_eq!(joined(step.changes), [("a".into(), 1, 1)]);
    assert!(group.join(new("b"), secs(6)).changes.answers.is_empty());
    let changes = group.join(again("a"), secs(7)).changes;
    assert_eq!(joined(changes), [("a".into(), 2, 2), ("b".into(), 2, 0)]);
}

#[test]
fn leader_sync_assigns_all_members() {
    let mut group = group();
    for id in ["a", "b", "c"] {
        assert!(group.join(new(id), secs(0)).result.is_ok());
    }
    assert!(group.tick(secs(3)).answers.is_empty());
    assert_eq!(joined(group.tick(secs(6))).len(), 3);
    let none = BTreeMap::new;
    // Assignments from other members are ignored.
    let step = group.sync(by("b"), 1, assigned(&[("b", "all")]), secs(7));
    assert_eq!((step.result, step.changes.answers), (Ok(()), vec![]));
    assert_eq!(group.sync(by("b"), 0, none(), secs(7)).result, Err(illegal(0, 1)));
    assert_eq!(group.sync(by("x"), 1, none(), secs(7)).result, Err(unknown("x")));
    let step = group.sync(by("a"), 1, assigned(&[("a", "0"), ("b", "1"), ("x", "2")]), secs(8));
    assert!(step.changes.store);
    let synced = |share: &'static str| Answer::Synced(share.into());
    let expected = [("a".into(), synced("0")), ("b".into(), synced("1"))];
    assert_eq!(told(step.changes), expected);
    // A late member gets its assignment, which is empty here.
    let step = group.sync(by("c"), 1, none(), secs(9));
    assert!(!step.changes.store);
    assert_eq!(told(step.changes), [("c".into(), synced(""))]);
    let step = group.sync(by("a"), 1, assigned(&[("a", "all")]), secs(9));
    assert_eq!(told(step.changes), [("a".into(), synced("0"))], "it is assigned once");
}

#[test]
fn protocol_with_most_votes_is_chosen() {
    let choose = |all: &[&[&str]]| {
        let mut group = group();
        for (number, names) in all.iter().enumerate() {
            let pairs: Vec<_> = names.iter().map(|name| (*name, "m")).collect();
            let join = Join { protocols: protocols(&pairs), ..new(&number.to_string()) };
            assert!(group.join(join, secs(0)).result.is_ok());
        }
        assert!(group.tick(secs(3)).answers.len() + group.tick(secs(6)).answers.len() > 0);
        group.protocol.clone().unwrap()
    };
    assert_eq!(choose(&[&["range", "sticky"]]), "range");
    assert_eq!(choose(&[&["range", "sticky"], &["sticky"]]), "sticky");
    assert_eq!(choose(&[&["a", "b"], &["b", "a"], &["b", "a"]]), "b");
    assert_eq!(choose(&[&["x", "a", "b"], &["b", "a"]]), "a", "of two the leader prefers one");
    let uneven: [&[&str]; 4] = [&["a", "b", "c"], &["b", "a", "c"], &["c", "a", "b"], &["c", "b"]];
    assert_eq!(choose(&uneven), "b", "not all support a");
    assert_eq!(choose(&[&uneven[..], &uneven[3..]].concat()), "c");
}

#[test]
fn join_is_rejected_with_reason() {
    let config = GroupConfig { max_members: 2, ..GroupConfig::default() };
    let mut group = Group::new(config);
    let mut try_join = |join: Join| group.join(join, secs(0)).result;
    let session = |seconds| Join { session_timeout: secs(seconds), ..new("s") };
    for given in [5, 1801] {
        let (least, most) = (secs(6), secs(1800));
        let error = GroupError::InvalidSessionTimeout { given: secs(given), least, most };
        assert_eq!(try_join(session(given)), Err(error));
    }
    let inconsistent = |join| match join {
        Err(GroupError::InconsistentGroupProtocol { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let nothing = "it has no protocol type or no protocols";
    assert_eq!(inconsistent(try_join(Join { protocols: vec![], ..new("p") })), nothing);
    assert_eq!(inconsistent(try_join(Join { protocol_type: "".into(), ..new("p") })), nothing);
    assert_eq!(try_join(again("a")), Err(unknown("a")));
    assert_eq!(try_join(new("a")), Ok("a".into()));
    assert_eq!(try_join(new("a")), Err(GroupError::InvalidRequest { member_id: "a".into() }));
    let other = Join { protocol_type: "connect".into(), ..new("b") };
    assert_eq!(inconsistent(try_join(other)), "its protocol type differs from that of the group");
    let other = Join { protocols: protocols(&[("other", "")]), ..new("b") };
    assert_eq!(inconsistent(try_join(other)), "no protocol is supported by all members");
    assert_eq!(try_join(new("b")), Ok("b".into()));
    assert_eq!(try_join(new("c")), Err(GroupError::GroupMaxSizeReached { limit: 2 }));
}

#[test]
fn late_rejoiner_is_removed_after_timeout() {
    let mut group = stable(&[new("a"), new("b")]);
    let now = stable_at(&group);
    assert!(group.join(new("c"), now).changes.answers.is_empty());
    let at = |seconds| now + secs(seconds);
    for id in ["a", "b"] {
        let step = group.heartbeat(by(id), 1, at(5));
        assert_eq!(step.result, Err(GroupError::RebalanceInProgress));
    }
    // Members may commit what they have read before they give it up.
    let committer = Committer::Member { caller: by("a"), generation: 1 };
    assert_eq!(group.check_commit(committer, false, at(5)).result, Ok(()));
    assert!(group.join(again("a"), at(6)).changes.answers.is_empty());
    for seconds in [14, 23, 32, 41, 50, 59] {
        let step = group.heartbeat(by("b"), 1, at(seconds));
        assert_eq!(step.result, Err(GroupError::RebalanceInProgress));
    }
    let changes = group.tick(at(60));
    assert_eq!(changes.removed, [("b".into(), Removal::NotJoined)]);
    assert_eq!(joined(changes), [("a".into(), 2, 2), ("c".into(), 2, 0)]);
    assert_eq!(group.heartbeat(by("b"), 1, at(60)).result, Err(unknown("b")));
    assert_eq!(group.check_commit(committer, false, at(60)).result, Err(illegal(1, 2)));
}

#[test]
fn missing_leader_sync_restarts_rebalance() {
    let mut group = stable(&[new("a"), new("b")]);
    let now = stable_at(&group);
    assert!(group.join(new("c"), now).result.is_ok());
    assert!(group.join(again("a"), now).result.is_ok());
    assert_eq!(joined(group.join(again("b"), now).changes).len(), 3);
    assert!(group.sync(by("b"), 2, BTreeMap::new(), now).changes.answers.is_empty());
    let at = |seconds| now + secs(seconds);
    for seconds in (0..60).step_by(9) {
        for id in ["a", "c"] {
            assert_eq!(group.heartbeat(by(id), 2, at(seconds)).result, Ok(()));
        }
    }
    // The leader never syncs.
    let changes = group.tick(at(60));
    let out = |id: &str| (id.to_owned(), Removal::NotSynced);
    assert_eq!(changes.removed, [out("a"), out("c")]);
    assert_eq!(refused(changes), [("b".into(), GroupError::RebalanceInProgress)]);
    assert_eq!((group.state(), group.leader()), (GroupState::PreparingRebalance, Some("b")));
    assert_eq!(joined(group.join(again("b"), at(61)).changes), [("b".into(), 3, 1)]);
}

#[test]
fn missing_sync_removes_member_when_stable() {
    let mut group = stable(&[new("a")]);
    let now = stable_at(&group);
    assert!(group.join(new("b"), now).result.is_ok());
    assert_eq!(joined(group.join(again("a"), now).changes).len(), 2);
    assert!(group.sync(by("a"), 2, assigned(&[("b", "all")]), now).changes.store);
    for seconds in (0..60).step_by(9) {
        for id in ["a", "b"] {
            assert_eq!(group.heartbeat(by(id), 2, now + secs(seconds)).result, Ok(()));
        }
    }
    assert_eq!(group.state(), GroupState::Stable);
    let changes = group.tick(now + secs(60));
    assert_eq!(changes.removed, [("b".into(), Removal::NotSynced)]);
    assert_eq!(group.state(), GroupState::PreparingRebalance);
}

#[test]
fn sessions_expire_without_heartbeats() {
    let mut group = stable(&[new("a"), new("b")]);
    let now = stable_at(&group);
    assert_eq!(group.heartbeat(by("b"), 1, now + secs(9)).result, Ok(()));
    let changes = group.tick(now + secs(10));
    assert_eq!(changes.removed, [("a".into(), Removal::SessionExpired)]);
    assert_eq!((group.state(), group.leader()), (GroupState::PreparingRebalance, Some("b")));
    // The first call removes the member: no tick is needed.
    let step = group.heartbeat(by("b"), 1, now + secs(19));
    assert_eq!(step.result, Err(unknown("b")));
    assert!(step.changes.store);
    assert_eq!((group.state(), group.generation()), (GroupState::Empty, 2));
    assert_eq!(group.next_deadline(), None);
    let stored = group.metadata(Timestamp::from_millis(5));
    assert_eq!((stored.protocol_type.as_str(), stored.generation), (CONSUMER, 2));
    assert_eq!((stored.protocol, stored.leader, stored.members.len()), (None, None, 0));
}

#[test]
fn leave_answers_waiting_member() {
    let mut group = stable(&[new("a"), new("b")]);
    let now = stable_at(&group);
    assert!(group.join(again("b"), now).changes.answers.len() == 1, "nothing has changed");
    assert!(group.join(again("a"), now).changes.answers.is_empty(), "the leader wants a new one");
    let step = group.leave(by("a"), now);
    assert_eq!(step.changes.removed, [("a".into(), Removal::Left)]);
    assert_eq!(refused(step.changes), [("a".into(), unknown("a"))]);
    assert_eq!(group.leave(by("a"), now).result, Err(unknown("a")));
    assert_eq!(joined(group.join(again("b"), now).changes), [("b".into(), 2, 1)]);
}

fn named(id: &str, instance_id: &str) -> Join {
    Join { instance_id: Some(instance_id.into()), ..new(id) }
}

fn caller<'a>(member_id: &'a str, instance_id: &'a str) -> Caller<'a> {
    Caller { member_id, instance_id: Some(instance_id) }
}

#[test]
fn static_member_keeps_assignment_after_restart() {
    let mut group = stable(&[named("a1", "A"), named("b1", "B")]);
    let now = stable_at(&group);
    for (old, back, instance, leads) in [("b1", "b2", "B", false), ("a1", "a2", "A", true)] {
        let step = group.join(named(back, instance), now);
        assert_eq!(step.result, Ok(back.into()));
        assert!(step.changes.store, "its member id is another");
        assert_eq!(step.changes.removed, [(old.to_owned(), Removal::Replaced)]);
        let answers = told(step.changes);
        let [(_, Answer::Joined(joined))] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!((joined.generation, joined.skip_assignment), (1, leads));
        assert_eq!(joined.members.len(), if leads { 2 } else { 0 });
        let step = group.sync(caller(back, instance), 1, BTreeMap::new(), now);
        let share = Answer::Synced(format!("{old}'s").into());
        assert_eq!(told(step.changes), [(back.into(), share)]);
        let heartbeat = group.heartbeat(caller(old, instance), 1, now).result;
        assert_eq!(heartbeat, Err(fenced(instance)));
        assert_eq!(group.heartbeat(by(old), 1, now).result, Err(unknown(old)));
    }
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(group.heartbeat(caller("a2", "C"), 1, now).result, Err(unknown("a2")));
}

#[test]
fn static_member_rebalances_when_metadata_changes() {
    let mut group = stable(&[named("a1", "A"), named("b1", "B")]);
    let now = stable_at(&group);
    let other = Join { protocols: protocols(&[("range", "more")]), ..named("b2", "B") };
    assert!(group.join(other, now).changes.answers.is_empty());
    assert_eq!(group.state(), GroupState::PreparingRebalance);
    // Another consumer with the same instance id fences the one that waits.
    let step = group.join(named("b3", "B"), now);
    assert_eq!(refused(step.changes), [("b2".into(), fenced("B"))]);
    let known = Join { member: JoinAs::Known("b2".into()), ..named("", "B") };
    assert_eq!(group.join(known, now).result, Err(fenced("B")));
    let known = Join { member: JoinAs::Known("a1".into()), ..named("", "A") };
    let changes = group.join(known, now).changes;
    assert_eq!(joined(changes), [("a1".into(), 2, 2), ("b3".into(), 2, 0)]);
    // While the leader assigns, the new id would get nothing.
    assert!(group.sync(caller("b3", "B"), 2, BTreeMap::new(), now).changes.answers.is_empty());
    assert_eq!(refused(group.join(named("b4", "B"), now).changes), [("b3".into(), fenced("B"))]);
    assert_eq!(group.state(), GroupState::PreparingRebalance);
}

#[test]
fn static_members_stay_until_session_ends() {
    let long = |join: Join| Join { session_timeout: secs(100), ..join };
    let mut group = stable(&[long(named("a1", "A")), long(named("b1", "B")), long(new("c"))]);
    let now = group.next_deadline().unwrap() - secs(100);
    // No member joins again: the dynamic member is removed, and the others are waited for.
    assert!(group.rebalance(now).answers.is_empty());
    let changes = group.tick(now + secs(60));
    assert_eq!(changes.removed, [("c".into(), Removal::NotJoined)]);
    assert_eq!(group.state(), GroupState::PreparingRebalance);
    let known = Join { member: JoinAs::Known("b1".into()), ..long(named("", "B")) };
    assert!(group.join(known, now + secs(90)).changes.answers.is_empty());
    let changes = group.tick(now + secs(100));
    assert_eq!(changes.removed, [("a1".into(), Removal::SessionExpired)]);
    assert_eq!(joined(changes), [("b1".into(), 2, 1)]);
}

#[test]
fn time_advances_with_zero_rebalance_timeout() {
    let hasty = |id, instance| Join { rebalance_timeout: secs(0), ..named(id, instance) };
    let mut group = stable(&[hasty("a1", "A"), hasty("b1", "B")]);
    let now = stable_at(&group);
    let changes = group.rebalance(now);
    assert_eq!(changes.next_deadline, Some(now + Duration::from_millis(1)));
    let (mut at, mut ticks) = (now, 0);
    while let Some(next) = group.next_deadline() {
        assert!(next > at);
        (at, ticks) = (next, ticks + 1);
        assert!(group.tick(at).answers.is_empty());
    }
    assert_eq!((at, ticks), (now + secs(10), 10_000));
}

fn local(join: Join) -> Join {
    Join { max_poll_interval: Some(secs(300)), ..join }
}

#[test]
fn local_member_stays_while_polling() {
    let mut group = stable(&[local(new("a")), local(named("b1", "B"))]);
    let start = group.next_deadline().unwrap() - secs(300);
    let at = |seconds| secs(seconds);
    assert!(start < secs(7));
    let b = caller("b1", "B");
    assert_eq!(group.begin_poll(by("a"), at(200)).result, Ok(()));
    assert_eq!(group.begin_poll(b, at(200)).result, Ok(()));
    assert_eq!(group.next_deadline(), None);
    assert_eq!(group.end_poll(by("a"), at(10_000)).result, Ok(()));
    assert_eq!(group.end_poll(b, at(10_000)).result, Ok(()));
    let changes = group.tick(at(10_299));
    assert_eq!((changes.removed.len(), changes.next_deadline), (0, Some(at(10_300))));
    // The static member has its session timeout in addition, which no heartbeat extends.
    let changes = group.tick(at(10_300));
    assert_eq!(changes.removed, [("a".into(), Removal::PollOverdue)]);
    let heartbeat = group.heartbeat(b, 1, at(10_309)).result;
    assert_eq!(heartbeat, Err(GroupError::RebalanceInProgress));
    let mut back = group.clone();
    assert_eq!(back.begin_poll(b, at(10_309)).result, Ok(()));
    assert_eq!(back.tick(at(10_359)).removed, []);
    // The same holds for a member that joins again instead.
    let mut back = group.clone();
    let known = Join { member: JoinAs::Known("b1".into()), ..local(named("", "B")) };
    assert_eq!(joined(back.join(known, at(10_309)).changes).len(), 1);
    assert_eq!(back.next_deadline(), Some(at(10_369)), "it has to sync");
    assert_eq!(back.sync(b, 2, BTreeMap::new(), at(10_310)).result, Ok(()));
    assert_eq!(back.next_deadline(), Some(at(10_609)));
    let changes = group.tick(at(10_310));
    assert_eq!(changes.removed, [("b1".into(), Removal::SessionExpired)]);
    assert_eq!(group.state(), GroupState::Empty);
}

#[test]
fn detached_static_member_returns_within_session() {
    let mut group = stable(&[local(named("a1", "A"))]);
    assert_eq!(group.detach(caller("a1", "A"), secs(100)).result, Ok(()));
    assert_eq!(group.next_deadline(), Some(secs(110)));
    let mut late = group.clone();
    let step = group.join(local(named("a2", "A")), secs(109));
    assert_eq!(joined(step.changes), [("a2".into(), 1, 1)]);
    assert_eq!(group.next_deadline(), Some(secs(409)));
    assert_eq!(late.tick(secs(110)).removed, [("a1".into(), Removal::SessionExpired)]);
    assert!(stable(&[named("a1", "A")]).leave_instance("A", secs(7)).changes.store);
}

#[test]
fn commit_checks_membership_and_generation() {
    let mut empty = group();
    let member = |caller, generation| Committer::Member { caller, generation };
    let check = |group: &mut Group, committer, now| {
        [false, true].map(|transactional| group.check_commit(committer, transactional, now).result)
    };
    assert_eq!(check(&mut empty, Committer::Simple, secs(0)), [Ok(()), Ok(())]);
    let both = |error: GroupError| [Err(error.clone()), Err(error)];
    assert_eq!(check(&mut empty, member(by("a"), 0), secs(0)), both(unknown("a")));
    let mut group = stable(&[named("a", "A"), new("b")]);
    let now = stable_at(&group);
    assert_eq!(check(&mut group, Committer::Simple, now), [Err(unknown("")), Ok(())]);
    assert_eq!(check(&mut group, member(by("b"), 1), now), [Ok(()), Ok(())]);
    assert_eq!(check(&mut group, member(by("b"), 0), now), both(illegal(0, 1)));
    assert_eq!(check(&mut group, member(by("b"), 2), now), both(illegal(2, 1)));
    assert_eq!(check(&mut group, member(caller("b", "A"), 1), now), both(fenced("A")));
    assert_eq!(check(&mut group, member(caller("b", "B"), 1), now), both(unknown("b")));
    assert!(group.leave(by("b"), now).result.is_ok());
    assert_eq!(check(&mut group, member(by("a"), 1), now), [Ok(()), Ok(())]);
    let known = Join { member: JoinAs::Known("a".into()), ..named("", "A") };
    assert_eq!(joined(group.join(known, now).changes), [("a".into(), 2, 1)]);
    let waits = [Err(GroupError::RebalanceInProgress), Ok(())];
    assert_eq!(check(&mut group, member(by("a"), 2), now), waits);
    let delete = group.delete("g", now).result;
    assert_eq!(delete, Err(GroupError::NonEmptyGroup { group: "g".to_owned() }));
    assert!(group.leave_instance("A", now).result.is_ok());
    assert_eq!(group.delete("g", now).result, Ok(()));
    let gone = both(GroupError::CoordinatorNotAvailable);
    assert_eq!(check(&mut group, Committer::Simple, now), gone);
}

#[test]
fn stored_group_is_restored() {
    let mut group = stable(&[named("a1", "A"), new("b")]);
    let stored = group.metadata(Timestamp::from_millis(77));
    let mut restored = Group::restore(GroupConfig::default(), &stored, secs(100));
    assert_eq!(restored.metadata(Timestamp::from_millis(77)), stored);
    assert_eq!(restored.next_deadline(), Some(secs(110)));
    let step = restored.join(named("a2", "A"), secs(101));
    assert_eq!(joined(step.changes), [("a2".into(), 1, 2)]);
    assert_eq!(restored.heartbeat(by("b"), 1, secs(101)).result, Ok(()));
    // No program writes such a record.
    let mut odd = stored.clone();
    odd.generation = -7;
    odd.leader = Some("nobody".into());
    odd.members.extend(stored.members.iter().cloned());
    odd.members.push(MemberMetadata { member_id: "a3".into(), ..stored.members[0].clone() });
    odd.members.push(MemberMetadata { session_timeout: -1, ..stored.members[1].clone() });
    let mut restored = Group::restore(GroupConfig::default(), &odd, secs(100));
    assert_eq!(restored.member_ids().collect::<Vec<_>>(), ["a3", "b"]);
    assert_eq!((restored.generation(), restored.leader()), (0, Some("a3")));
    assert_eq!(restored.tick(secs(100)).removed, [("b".into(), Removal::SessionExpired)]);
    odd.protocol = None;
    assert_eq!(Group::restore(GroupConfig::default(), &odd, secs(0)).state(), GroupState::Empty);
    assert!(group.rebalance(secs(7)).answers.is_empty());
}

#[test]
fn offset_use_follows_group_state() {
    let subscribed = BTreeSet::from(["t".to_owned()]);
    let (since, subscribed) = (Some(Timestamp::from_millis(7)), Some(&subscribed));
    assert_eq!(group().offset_use(since, subscribed), GroupUse::Simple);
    let mut group = stable(&[new("a")]);
    let now = stable_at(&group);
    let stable = GroupUse::Stable { subscribed: subscribed.unwrap() };
    assert_eq!(group.offset_use(since, subscribed), stable);
    assert_eq!(group.offset_use(since, None), GroupUse::Busy);
    assert_eq!(joined(group.rebalance(now)), []);
    assert_eq!(group.offset_use(since, subscribed), GroupUse::Busy);
    assert!(group.leave(by("a"), now).result.is_ok());
    assert_eq!(group.offset_use(since, subscribed), GroupUse::Empty { since });
}

#[test]
fn group_errors_name_way_out() {
    let all = [
        GroupError::CoordinatorNotAvailable,
        unknown("m-1"),
        illegal(3, 4),
        fenced("A"),
        GroupError::RebalanceInProgress,
        GroupError::InconsistentGroupProtocol { reason: "why" },
        GroupError::GroupMaxSizeReached { limit: 2 },
        GroupError::InvalidRequest { member_id: "m".into() },
        GroupError::NonEmptyGroup { group: "g".to_owned() },
    ];
    for error in all {
        let text = error.to_string();
        let advice = text.split(';').nth(1).expect(&text);
        assert!(advice.split(' ').count() > 2, "{text}");
    }
}
