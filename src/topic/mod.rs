//! Topics, and who writes and reads them.

#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod assignor;
#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod partitioner;
#[allow(dead_code, unreachable_pub, reason = "used by the store")]
pub(crate) mod protocol;
