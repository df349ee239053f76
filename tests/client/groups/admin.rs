//! Offsets that an operator resets, and the lag that the store reports.

use super::{GROUP, World, config, member, refusal, topic, world};
use crate::{NOW, append, at};
use annals::{ErrorKind, GroupError, GroupState, MemberIdentity, Record, ResetTo, Timestamp};
use std::collections::BTreeMap;

#[test]
fn reset_matches_kafkas_tools() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    let time = |n: i64| Timestamp::from_millis(n);
    let stamped = (0..10).map(|n| Record::new(n.to_string()).timestamp(time(n * 10)));
    orders.partition(0).unwrap().append_all(stamped).unwrap();
    let admin = store.admin();
    assert!(admin.list_groups().unwrap().groups.is_empty());
    let nobody = refusal(admin.describe_group(GROUP).unwrap_err());
    assert!(matches!(nobody, GroupError::UnknownGroup { .. }));
    let one = [at("orders", 0)];
    let reset = |to| admin.reset_offsets(GROUP, one.clone(), to).map(|reset| reset[&one[0]]);
    let nothing = refusal(reset(ResetTo::ShiftBy(1)).unwrap_err());
    assert!(matches!(nothing, GroupError::NoCommittedOffset { .. }));
    for (to, offset) in [
        (ResetTo::Current, 10),
        (ResetTo::Earliest, 0),
        (ResetTo::Offset(4), 4),
        (ResetTo::ShiftBy(-1), 3),
        (ResetTo::ShiftBy(3), 6),
        (ResetTo::ShiftBy(-100), 0),
        (ResetTo::Offset(1000), 10),
        (ResetTo::Time(time(35)), 4),
        (ResetTo::Time(time(1000)), 10),
        (ResetTo::Latest, 10),
        (ResetTo::Offset(7), 7),
    ] {
        assert_eq!(reset(to).unwrap(), offset, "{to:?}");
        let described = admin.describe_group(GROUP).unwrap();
        assert_eq!(described.offsets[&one[0]].committed.offset, offset);
        assert_eq!(described.offsets[&one[0]].lag, Some(10 - offset));
    }
    assert_eq!(admin.reset_offsets(GROUP, [], ResetTo::ShiftBy(-2)).unwrap()[&one[0]], 5);
    assert_eq!(
        admin.alter_offsets(GROUP, BTreeMap::from([(at("x", 0), 1.into())])).unwrap_err().kind(),
        ErrorKind::NotFound
    );

    let mut consumer = member(&store, config());
    assert_eq!(consumer.poll(NOW).unwrap().len(), 5);
    for rejected in [
        reset(ResetTo::Earliest).map(drop),
        admin.delete_group(GROUP),
        admin.alter_offsets(GROUP, BTreeMap::from([(at("orders", 0), 1.into())])),
    ] {
        let used = GroupError::NonEmptyGroup { group: GROUP.to_owned() };
        assert_eq!(refusal(rejected.unwrap_err()), used);
    }
    let used = refusal(admin.delete_offsets(GROUP, one.clone()).unwrap_err());
    assert!(matches!(used, GroupError::GroupSubscribedToTopic { .. }));
    let listed = admin.list_groups().unwrap().groups;
    assert_eq!(
        (listed[0].state, listed[0].protocol_type.as_str()),
        (GroupState::Stable, "consumer")
    );

    // A member that is removed joins again.
    let id = MemberIdentity::MemberId(consumer.group_metadata().unwrap().member_id);
    assert_eq!(admin.remove_members(GROUP, [id.clone()]).unwrap(), 1);
    assert!(admin.remove_members(GROUP, [id]).is_err());
    assert_eq!(consumer.poll(NOW).unwrap().len(), 5);
    assert_eq!(admin.remove_members(GROUP, []).unwrap(), 1);
    drop(consumer);
    admin.delete_offsets(GROUP, one.clone()).unwrap();
    assert!(admin.describe_group(GROUP).unwrap().offsets.is_empty());
    admin.delete_group(GROUP).unwrap();
    assert!(admin.list_groups().unwrap().groups.is_empty());
    let gone = refusal(admin.delete_group(GROUP).unwrap_err());
    assert!(matches!(gone, GroupError::UnknownGroup { .. }));
}

/// Records that were deleted before the group came to them are not left to read.
#[test]
fn lag_leaves_out_deleted_records() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..10);
    let mut consumer = member(&store, config().max_poll_records(3));
    consumer.poll(NOW).unwrap();
    consumer.commit().unwrap();
    for (start, lag) in [(2, 7), (3, 7), (7, 3), (10, 0)] {
        orders.partition(0).unwrap().delete_before(start).unwrap();
        assert_eq!(consumer.lag(&at("orders", 0)).unwrap(), lag);
        let offsets = store.admin().describe_group(GROUP).unwrap().offsets;
        assert_eq!(offsets[&at("orders", 0)].lag, Some(lag), "start {start}");
    }
}
