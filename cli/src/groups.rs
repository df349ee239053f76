//! `groups`: the consumer groups whose offsets a data directory stores.

use crate::data::{self, Data};
use crate::failure::{Failure, note};
use crate::output::Output;
use crate::store_args::{GroupsAction, GroupsArgs, ResetArgs};
use annals::{
    Error, GroupDescription, GroupError, GroupState, Log, Offset, OffsetAndMetadata, StartAt,
    Store, StoreView, TopicPartition,
};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Listed<'a> {
    group: &'a str,
    state: String,
    protocol_type: &'a str,
}

#[derive(Serialize)]
struct Described<'a> {
    group: &'a str,
    state: String,
    generation: i32,
    assignor: Option<&'a str>,
    members: Vec<Member<'a>>,
    offsets: Vec<Committed<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    member_id: &'a str,
    instance_id: Option<&'a str>,
    client_id: &'a str,
    partitions: Vec<String>,
}

#[derive(Serialize)]
struct Committed<'a> {
    topic: &'a str,
    partition: u32,
    committed: Offset,
    end: Option<Offset>,
    lag: Option<u64>,
    metadata: &'a str,
}

#[derive(Serialize)]
struct Reset<'a> {
    topic: &'a str,
    partition: u32,
    before: Option<Offset>,
    after: Offset,
}

#[derive(Serialize)]
struct Deleted<'a> {
    group: &'a str,
    deleted: bool,
}

pub fn run(args: &GroupsArgs, output: &mut Output) -> Result<(), Failure> {
    let view = Data::look(&args.dir)?.view;
    match &args.action {
        GroupsAction::List => list(&view, output),
        GroupsAction::Describe { group } => describe(&view, group, output),
        GroupsAction::Delete { group, execute: true } => {
            on_store(args, |store| store.admin().delete_group(group))?;
            output.json(&Deleted { group, deleted: true })
        }
        GroupsAction::Delete { group, execute: false } => {
            describe(&view, group, output)?;
            note(
                "this only shows the group; add --execute to delete it with all that it has committed",
            );
            Ok(())
        }
        GroupsAction::Reset(reset) => {
            let mut plan = Plan::new();
            if reset.execute {
                on_store(args, |store| {
                    plan = make_plan(reset, &view)?;
                    commit(reset, &plan, store)
                })?;
            } else {
                plan = make_plan(reset, &view)?;
            }
            print(reset, &plan, output)
        }
    }
}

/// Opens the store, and closes it even after a failure.
fn on_store(
    args: &GroupsArgs,
    work: impl FnOnce(&Store) -> Result<(), Error>,
) -> Result<(), Failure> {
    let store = data::open(&args.dir)?;
    let result = work(&store);
    let closed = store.close();
    result?;
    Ok(closed?)
}

fn list(view: &StoreView, output: &mut Output) -> Result<(), Failure> {
    let listed = view.list_groups()?;
    for listed in &listed.groups {
        let (group, protocol_type) = (listed.group.as_str(), listed.protocol_type.as_str());
        output.json(&Listed { group, state: state(listed.state), protocol_type })?;
    }
    listed.unavailable.into_values().next().map_or(Ok(()), |error| Err(error.into()))
}

/// Returns Kafka's name of the state.
fn state(state: GroupState) -> String {
    format!("{state:?}")
}

fn describe(view: &StoreView, group: &str, output: &mut Output) -> Result<(), Failure> {
    let GroupDescription { state: now, generation, assignor, members, offsets, .. } =
        view.describe_group(group)?;
    let members = members.iter().map(|member| Member {
        member_id: &member.member_id,
        instance_id: member.instance_id.as_deref(),
        client_id: &member.client_id,
        partitions: member.assignment.iter().map(ToString::to_string).collect(),
    });
    let offsets = offsets.iter().map(|(at, offset)| Committed {
        topic: &at.topic,
        partition: at.partition,
        committed: offset.committed.offset,
        end: offset.end,
        lag: offset.lag,
        metadata: &offset.committed.metadata,
    });
    output.json(&Described {
        group,
        state: state(now),
        generation,
        assignor: assignor.as_deref(),
        members: members.collect(),
        offsets: offsets.collect(),
    })
}

/// The committed offset of a group, and the offset that a reset would commit.
type Plan = BTreeMap<TopicPartition, (Option<Offset>, Offset)>;

fn make_plan(args: &ResetArgs, view: &StoreView) -> Result<Plan, Error> {
    let committed = match view.describe_group(&args.group) {
        Ok(described) => described.offsets,
        Err(Error::Group(error)) if matches!(*error, GroupError::UnknownGroup { .. }) => {
            BTreeMap::new()
        }
        Err(error) => return Err(error),
    };
    let mut plan = Plan::new();
    for topic in &args.topics {
        for number in 0..view.partition_count(topic)? {
            let at = TopicPartition::new(topic.as_str(), number);
            let before = committed.get(&at).map(|known| known.committed.offset);
            let after = place(args, &at, &view.partition(topic, number)?, before)?;
            plan.insert(at, (before, after));
        }
    }
    Ok(plan)
}

fn commit(args: &ResetArgs, plan: &Plan, store: &Store) -> Result<(), Error> {
    let offset = |(at, (_, after)): (&TopicPartition, &(_, Offset))| {
        (at.clone(), OffsetAndMetadata::from(*after))
    };
    store.admin().alter_offsets(&args.group, plan.iter().map(offset).collect())
}

/// Prints for each partition the offset before and after the reset, done or shown.
fn print(args: &ResetArgs, plan: &Plan, output: &mut Output) -> Result<(), Failure> {
    for (at, (before, after)) in plan {
        let (topic, partition) = (&*at.topic, at.partition);
        output.json(&Reset { topic, partition, before: *before, after: *after })?;
    }
    if !args.execute {
        note("this only shows the new offsets; add --execute to commit them");
    }
    Ok(())
}

fn place(
    args: &ResetArgs,
    at: &TopicPartition,
    log: &Log,
    before: Option<Offset>,
) -> Result<Offset, Error> {
    let ends = log.offsets();
    let found = match (args.to, args.shift, before) {
        (Some(StartAt::Earliest), ..) => ends.start,
        (Some(StartAt::Offset(offset)), ..) => offset,
        (Some(StartAt::Time(time)), ..) => {
            log.offset_for_time(time)?.map_or(ends.end, |(offset, _)| offset)
        }
        (Some(_), ..) => ends.end,
        (None, Some(shift), Some(before)) => before.saturating_add_signed(shift),
        (None, ..) => {
            let (topic, partition) = ((*at.topic).to_owned(), at.partition);
            return Err(GroupError::NoCommittedOffset { topic, partition }.into());
        }
    };
    Ok(found.max(ends.start).min(ends.end))
}
