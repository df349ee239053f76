//! Changes of a log other than appends.

pub(crate) mod delete_records;
pub(crate) mod replace;
pub(crate) mod truncate;
