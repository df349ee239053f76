use super::range::Range;
use super::round_robin::RoundRobin;
use super::sticky::{CooperativeSticky, Sticky};
use super::*;
use proptest::prelude::*;

/// The assignments of Kafka 4.1.1, one group in each line:
///
/// ```text
/// assignor | topics with their partitions | members: id/instance@generation +topic owned... | assigned to each
/// ```
const VECTORS: &str = include_str!("vectors.txt");

type Groups = (BTreeMap<String, Member>, BTreeMap<String, u32>);

fn all() -> [Box<dyn Assignor>; 4] {
    [Box::new(Range), Box::new(RoundRobin), Box::new(Sticky), Box::new(CooperativeSticky)]
}

fn partition(text: &str) -> TopicPartition {
    let (topic, partition) = text.split_once(':').unwrap();
    TopicPartition { topic: topic.into(), partition: partition.parse().unwrap() }
}

/// Parses a member. Without instance id and generation, its generation is 1.
fn member(text: &str) -> (String, Member) {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap();
    let (name, generation) = name.split_once('@').unwrap_or((name, "1"));
    let (id, instance) = name.split_once('/').unwrap_or((name, ""));
    let mut member = Member {
        instance_id: Some(instance.to_owned()).filter(|id| !id.is_empty()),
        generation: generation.parse().unwrap(),
        ..Default::default()
    };
    for word in words {
        match word.strip_prefix('+') {
            Some(topic) => drop(member.topics.insert(topic.to_owned())),
            None => member.owned.push(partition(word)),
        }
    }
    (id.to_owned(), member)
}

fn groups(topics: &str, members: &str) -> Groups {
    let topic = |text: &str| {
        let (name, partitions) = text.split_once('=').unwrap();
        (name.to_owned(), partitions.parse().unwrap())
    };
    (members.split(';').map(member).collect(), topics.split_whitespace().map(topic).collect())
}

/// Formats assignments as `id partition...; id partition...`, in order.
fn shown(assigned: &Assignments) -> String {
    let list = |(id, partitions): (&String, &Vec<TopicPartition>)| {
        let mut sorted: Vec<_> = partitions.iter().collect();
        sorted.sort();
        let words = sorted.iter().map(|at| format!(" {}:{}", at.topic, at.partition));
        id.clone() + &words.collect::<String>()
    };
    assigned.iter().map(list).collect::<Vec<_>>().join("; ")
}

fn assign(name: &str, topics: &str, members: &str) -> String {
    let all = all();
    let assignor = all.iter().find(|assignor| assignor.name() == name).unwrap();
    let (members, partitions) = groups(topics, members);
    shown(&assignor.assign(&members, &partitions))
}

#[test]
fn assignments_match_kafka_vectors() {
    let mut seen = BTreeMap::new();
    for line in VECTORS.lines() {
        let mut parts = line.split(" | ");
        let [name, topics, members, result] = [(); 4].map(|()| parts.next().unwrap());
        assert_eq!(assign(name, topics, members), result, "{line}");
        *seen.entry(name).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.values().all(|count| *count >= 10), "{seen:?}");
}

#[test]
fn assignments_match_documentation() {
    let topics = "t0=3 t1=3";
    let two = "a +t0 +t1; b +t0 +t1";
    assert_eq!(assign("range", topics, two), "a t0:0 t0:1 t1:0 t1:1; b t0:2 t1:2");
    assert_eq!(assign("roundrobin", topics, two), "a t0:0 t0:2 t1:1; b t0:1 t1:0 t1:2");
    assert_eq!(assign("sticky", topics, two), "a t0:0 t0:2 t1:1; b t0:1 t1:0 t1:2");
    let three = "a +t0 +t1 t0:0 t0:2 t1:1; b +t0 +t1 t0:1 t1:0 t1:2; c@-1 +t0 +t1";
    assert_eq!(assign("sticky", topics, three), "a t0:0 t1:1; b t0:1 t1:0; c t0:2 t1:2");

    assert_eq!(assign("range", "t=7", "a +t; b +t; c +t"), "a t:0 t:1 t:2; b t:3 t:4; c t:5 t:6");
    let dealt = assign("roundrobin", "t0=3 t1=2", "a +t0 +t1; b +t0 +t1; c +t0 +t1");
    assert_eq!(dealt, "a t0:0 t1:0; b t0:1 t1:1; c t0:2");

    let joined = "a +t t:0 t:1 t:2 t:3; b +t t:4 t:5 t:6; c +t";
    assert_eq!(assign("sticky", "t=7", joined), "a t:0 t:1 t:2; b t:4 t:5; c t:3 t:6");
    let left = "a +t t:0 t:1 t:2; c +t t:3 t:6";
    assert_eq!(assign("sticky", "t=7", left), "a t:0 t:1 t:2 t:5; c t:3 t:4 t:6");
    let first = "a t:0 t:1 t:2; b t:4 t:5; c";
    assert_eq!(assign("cooperative-sticky", "t=7", joined), first);
    let again = "a +t t:0 t:1 t:2; b +t t:4 t:5; c +t";
    assert_eq!(assign("cooperative-sticky", "t=7", again), "a t:0 t:1 t:2; b t:4 t:5; c t:3 t:6");
}

#[test]
fn static_members_are_first_in_turn() {
    let members = "a +t; b/z +t; c/y +t";
    assert_eq!(assign("range", "t=5", members), "a t:4; b t:2 t:3; c t:0 t:1");
    assert_eq!(assign("roundrobin", "t=4", members), "a t:2; b t:1; c t:0 t:3");
    // In Java's order, a character of two units comes before the last character of one unit.
    let members = "\u{ffee} +t; 😀 +t";
    for name in ["range", "roundrobin", "sticky"] {
        assert_eq!(assign(name, "t=1", members), "\u{ffee}; 😀 t:0", "{name}");
    }
}

#[test]
fn nothing_is_assigned_without_subscribers() {
    for assignor in all() {
        let name = assignor.name();
        assert!(assignor.assign(&BTreeMap::new(), &BTreeMap::new()).is_empty());
        assert_eq!(assign(name, "t=3", "a; b"), "a; b", "{name}");
        assert_eq!(assign(name, "t=3 empty=0", "a +gone +empty; b +t"), "a; b t:0 t:1 t:2");
        // A partition that does not exist has no owner.
        assert_eq!(assign(name, "t=1", "a +t t:1 u:7 t:4294967295"), "a t:0", "{name}");
    }
}

#[test]
fn later_generation_wins_contested_partition() {
    let topics = "t=2 u=2";
    let later = "a@4 +t +u t:0 t:1; b@5 +t +u t:0 u:0";
    assert_eq!(assign("sticky", topics, later), "a t:1 u:1; b t:0 u:0");
    // Neither claim counts: both start anew, and in a cooperative group, no member has the
    // partition until both have given it up.
    let both = "a@5 +t +u t:1 t:0; b@5 +t +u t:1 u:0";
    assert_eq!(assign("sticky", topics, both), "a t:0 t:1; b u:0 u:1");
    assert_eq!(assign("cooperative-sticky", topics, both), "a t:0; b u:0 u:1");
    // A third member with a later generation settles the claim.
    let third = "a@4 +t t:0; b@4 +t t:0; c@5 +t t:0";
    assert_eq!(assign("cooperative-sticky", "t=3", third), "a t:1; b t:2; c t:0");
}

#[test]
fn unsubscribed_owner_gets_no_partition() {
    // Kafka gives `u:0` back to its previous owner, which has the fewest partitions but left the
    // topic.
    let members = "a@3 +t u:0; b@5 +t +u u:0 u:1 u:2; c@5 +u";
    let got = assign("sticky", "t=1 u=3", members);
    assert_eq!(got, "a t:0; b u:1 u:2; c u:0");
}

#[test]
fn member_is_read_from_subscription() {
    let owned = vec![partition("t:1")];
    let topics = vec!["t".to_owned(), "s".to_owned(), "t".to_owned()];
    let said = |assignor: &dyn Assignor, generation, last: Option<i32>| {
        let user_data = assignor.user_data(last.map(|last| (&*owned, last)));
        let subscription = Subscription {
            topics: topics.clone(),
            user_data,
            owned: vec![partition("t:2")],
            generation,
            rack: Some("r".to_owned()),
        };
        let member =
            assignor.member(Subscription::decode(&subscription.encode(3).unwrap()).unwrap());
        assert_eq!(member.topics, ["s", "t"].map(str::to_owned).into());
        assert_eq!((member.instance_id, member.rack.as_deref()), (None, Some("r")));
        (shown(&[("m".to_owned(), member.owned)].into()), member.generation)
    };
    let one = |text: &str, generation| (format!("m{text}"), generation);
    assert_eq!(said(&Range, 5, Some(4)), one(" t:2", 5));
    assert_eq!(said(&Sticky, 5, Some(4)), one(" t:1", 4));
    assert_eq!(said(&Sticky, 5, None), one("", -1));
    assert_eq!(said(&CooperativeSticky, 5, Some(4)), one(" t:2", 5));
    assert_eq!(said(&CooperativeSticky, -1, Some(4)), one(" t:2", 4));
    assert_eq!(said(&CooperativeSticky, -1, None), one(" t:2", -1));
    let protocols = all().map(|assignor| assignor.protocol());
    let (eager, cooperative) = (RebalanceProtocol::Eager, RebalanceProtocol::Cooperative);
    assert_eq!(protocols, [eager, eager, eager, cooperative]);
}

/// Groups of every kind. Owned partitions may be claimed twice, missing, and of any generation.
fn any_groups() -> impl Strategy<Value = Groups> {
    let topic = || (0u8..5).prop_map(|n| format!("t{n}"));
    let owned = (topic(), 0u32..12)
        .prop_map(|(topic, partition)| TopicPartition { topic: topic.as_str().into(), partition });
    let member = (
        prop::option::weighted(0.2, "[x-z]{1,2}"),
        prop::collection::btree_set(topic(), 0..5),
        prop::collection::vec(owned, 0..15),
        prop::sample::select(vec![-1, 3, 4, 4, 4, 4]),
    );
    let members = prop::collection::btree_map(
        "[a-c]{1,2}",
        member.prop_map(|(instance_id, topics, owned, generation)| Member {
            instance_id,
            topics,
            owned,
            generation,
            rack: None,
        }),
        1..9,
    );
    let partitions = prop::collection::btree_map(topic(), 0u32..10, 1..6);
    (members, partitions, any::<bool>(), any::<bool>()).prop_map(
        |(mut members, partitions, equal, honest)| {
            let topics = members.values().next().map(|member| member.topics.clone()).unwrap();
            let mut taken = BTreeSet::new();
            for member in members.values_mut() {
                if equal {
                    member.topics.clone_from(&topics);
                }
                if honest {
                    member.owned.retain(|owned| taken.insert(owned.clone()));
                }
            }
            (members, partitions)
        },
    )
}

/// Returns the partitions that some member can have.
fn wanted((members, partitions): &Groups) -> BTreeSet<TopicPartition> {
    let subscribed = |topic: &str| members.values().any(|member| member.topics.contains(topic));
    let topics = partitions.iter().filter(|(topic, _)| subscribed(topic));
    topics
        .flat_map(|(topic, count)| {
            (0..*count).map(|partition| TopicPartition { topic: topic.as_str().into(), partition })
        })
        .collect()
}

/// Returns the owner of each partition. Checks that each owner subscribes, and that no partition
/// has two.
fn owners(groups: &Groups, assigned: &Assignments) -> BTreeMap<TopicPartition, String> {
    assert!(assigned.keys().eq(groups.0.keys()));
    let mut owners = BTreeMap::new();
    for (id, partitions) in assigned {
        for partition in partitions {
            assert!(groups.0[id].topics.contains(&*partition.topic), "{id} {partition}");
            assert_eq!(owners.insert(partition.clone(), id.clone()), None, "{partition}");
        }
    }
    owners
}

/// Returns the group as it joins again after an assignment, when members have given up what
/// moved.
fn next(groups: &Groups, assigned: &Assignments) -> Groups {
    let mut groups = groups.clone();
    let last = groups.0.values().map(|member| member.generation).max().unwrap();
    for (id, member) in &mut groups.0 {
        member.owned.clone_from(&assigned[id]);
        member.generation = last + 1;
    }
    groups
}

/// Returns the group and its assignment once all partitions are assigned. With unequal
/// subscriptions, a partition that was held back may go to another member than intended, so two
/// steps may not be enough.
fn settled(assignor: &dyn Assignor, mut groups: Groups) -> (Groups, Assignments) {
    for _ in 0..8 {
        let assigned = assignor.assign(&groups.0, &groups.1);
        if owners(&groups, &assigned).keys().eq(&wanted(&groups)) {
            return (groups, assigned);
        }
        groups = next(&groups, &assigned);
    }
    panic!("{groups:?}");
}

fn loads(assigned: &Assignments) -> Vec<usize> {
    let mut loads: Vec<_> = assigned.values().map(Vec::len).collect();
    loads.sort();
    loads
}

/// Returns the rightful claims of each member.
fn rightly_owned(groups: &Groups) -> BTreeMap<&String, BTreeSet<TopicPartition>> {
    let claim = |id, partition: &TopicPartition| {
        let member: &Member = &groups.0[id];
        member.owned.contains(partition).then_some(member.generation)
    };
    let wanted = wanted(groups);
    let right = |id| {
        let alone = |partition: &&TopicPartition| {
            let mine = claim(id, partition);
            let others = groups.0.keys().filter(|other| *other != id);
            mine.is_some() && others.into_iter().all(|other| claim(other, partition) < mine)
        };
        (id, wanted.iter().filter(alone).cloned().collect())
    };
    groups.0.keys().map(right).collect()
}

proptest! {
    #[test]
    fn each_partition_goes_to_one_subscriber(groups in any_groups()) {
        for assignor in all() {
            let assigned = assignor.assign(&groups.0, &groups.1);
            let owners = owners(&groups, &assigned);
            let wanted = wanted(&groups);
            if assignor.protocol() == RebalanceProtocol::Eager {
                prop_assert!(owners.keys().eq(&wanted), "{}", assignor.name());
                continue;
            }
            // Only a partition that another member claims is held back.
            for partition in &wanted {
                let claimed = groups.0.values().any(|member| member.owned.contains(partition));
                prop_assert!(owners.contains_key(partition) || claimed, "{}", partition);
            }
        }
    }

    #[test]
    fn ranges_are_balanced_per_topic(groups in any_groups()) {
        let assigned = Range.assign(&groups.0, &groups.1);
        for (topic, count) in &groups.1 {
            let of_topic = |id| {
                let all = assigned[id].iter().filter(|at| *at.topic == **topic);
                all.map(|at| at.partition).collect::<Vec<_>>()
            };
            let turns = in_turn_order(&groups.0);
            let among: Vec<_> = turns.iter().filter(|(_, m)| m.topics.contains(topic)).collect();
            let ranges: Vec<Vec<u32>> = among.iter().map(|(id, _)| of_topic(*id)).collect();
            if !ranges.is_empty() {
                prop_assert!(ranges.concat().into_iter().eq(0..*count));
            }
            for (place, range) in ranges.iter().enumerate() {
                let more = place < *count as usize % ranges.len();
                prop_assert_eq!(range.len(), *count as usize / ranges.len() + usize::from(more));
            }
        }
    }

    #[test]
    fn round_robin_balances_equal_subscriptions(mut groups in any_groups()) {
        let topics = groups.0.values().next().unwrap().topics.clone();
        groups.0.values_mut().for_each(|member| member.topics.clone_from(&topics));
        let loads = loads(&RoundRobin.assign(&groups.0, &groups.1));
        prop_assert!(loads.last().unwrap() - loads.first().unwrap() < 2);
    }

    /// The promise with equal subscriptions: quotas are met, and as many partitions stay as they
    /// allow.
    #[test]
    fn sticky_moves_least_with_equal_subscriptions(mut groups in any_groups()) {
        let topics = groups.0.values().next().unwrap().topics.clone();
        groups.0.values_mut().for_each(|member| member.topics.clone_from(&topics));
        let assigned = Sticky.assign(&groups.0, &groups.1);
        let (total, members) = (wanted(&groups).len(), groups.0.len());
        let (small, large) = (total / members, total % members);
        let quotas = (0..members).map(|n| small + usize::from(n >= members - large));
        prop_assert!(loads(&assigned).into_iter().eq(quotas));

        let right = rightly_owned(&groups);
        let mut keep: usize = right.values().map(|owned| owned.len().min(small)).sum();
        keep += right.values().filter(|owned| owned.len() > small).count().min(large);
        let kept = |id| assigned[id].iter().filter(|at| right[id].contains(at)).count();
        prop_assert_eq!(groups.0.keys().map(kept).sum::<usize>(), keep);
    }

    /// The promise with any subscriptions.
    #[test]
    fn sticky_balances_unequal_subscriptions(groups in any_groups()) {
        let assigned = Sticky.assign(&groups.0, &groups.1);
        for (partition, owner) in owners(&groups, &assigned) {
            for (id, member) in &groups.0 {
                let can = member.topics.contains(&*partition.topic);
                prop_assert!(!can || assigned[&owner].len() <= assigned[id].len() + 1);
            }
        }
    }

    /// A balanced group stays as it is.
    #[test]
    fn nothing_moves_without_change(groups in any_groups()) {
        for assignor in [&Sticky as &dyn Assignor, &CooperativeSticky] {
            let (groups, assigned) = settled(assignor, groups.clone());
            let again = next(&groups, &assigned);
            prop_assert_eq!(shown(&assignor.assign(&again.0, &again.1)), shown(&assigned));
        }
    }

    /// In a cooperative group, no member gets a partition that another still reads.
    #[test]
    fn cooperative_keeps_partitions_of_others(groups in any_groups()) {
        let assigned = CooperativeSticky.assign(&groups.0, &groups.1);
        for (id, owned) in rightly_owned(&groups) {
            for (other, got) in &assigned {
                prop_assert!(other == id || !got.iter().any(|at| owned.contains(at)));
            }
        }
    }

    /// After two steps, loads are the same as after one eager step.
    #[test]
    fn two_cooperative_steps_balance_like_one(mut groups in any_groups()) {
        let topics = groups.0.values().next().unwrap().topics.clone();
        groups.0.values_mut().for_each(|member| member.topics.clone_from(&topics));
        let at_once = Sticky.assign(&groups.0, &groups.1);
        let first = CooperativeSticky.assign(&groups.0, &groups.1);
        let groups = next(&groups, &first);
        let second = CooperativeSticky.assign(&groups.0, &groups.1);
        prop_assert!(owners(&groups, &second).keys().eq(&wanted(&groups)));
        prop_assert_eq!(loads(&second), loads(&at_once));
    }
}

/// Many members and partitions, with subscriptions of every kind. An assignor that compares each
/// member with each partition would take minutes.
#[test]
fn large_groups_get_one_owner_each() {
    let partitions: BTreeMap<_, _> = (0..100).map(|n| (format!("t{n}"), 100)).collect();
    let topics = |n: usize| (0..100).filter(move |t| t % (n % 7 + 1) == 0).map(|t| format!("t{t}"));
    let mut members = BTreeMap::new();
    for n in 0..200usize {
        let topics: BTreeSet<String> = topics(n).collect();
        // The first members own everything.
        let owned = topics.iter().filter(|_| n < 7).flat_map(|topic| {
            let topic: Arc<str> = topic.as_str().into();
            (0..100).map(move |partition| TopicPartition { topic: Arc::clone(&topic), partition })
        });
        let owned = owned.collect();
        let generation = (n % 3) as i32;
        members.insert(format!("m{n}"), Member { topics, owned, generation, ..Default::default() });
    }
    let groups = (members, partitions);
    for assignor in all() {
        let assigned = assignor.assign(&groups.0, &groups.1);
        owners(&groups, &assigned);
    }
}
