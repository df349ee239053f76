mod codec;
mod table;

use super::*;

const T0: i64 = 1_700_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}
