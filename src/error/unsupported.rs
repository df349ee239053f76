//! Formats and features that this version cannot handle.

use crate::types::Codec;

/// A format or a feature that this build or this version does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Messages of a format other than version 2. The log is intact, and was not changed.
    #[error("message format v{magic} is not supported: {way}", magic = .0, way = way_to_v2(*.0))]
    MessageFormat(i8),
    /// A batch with a codec that this version does not know. The log is intact, and was not
    /// changed.
    #[error(
        "this version of annals does not know codec {0}; update annals, or rewrite the topic with a broker that knows it"
    )]
    UnknownCodec(u8),
    /// A codec that was not compiled in.
    #[error("this build of annals has no {0}; enable the cargo feature of that name")]
    Codec(Codec),
}

/// Returns the remedy for messages of a legacy format.
fn way_to_v2(magic: i8) -> &'static str {
    match magic {
        0 | 1 => "convert it with Kafka, which rewrites it as v2",
        _ => {
            "update annals; if a damaged byte hides a v2 batch, `OnCorruption::Quarantine` sets it aside"
        }
    }
}
