//! Options with an invalid value.

use std::fmt;

/// An option with an invalid value, before its message is put together: a topic names its setting
/// instead of the option.
#[derive(Debug)]
pub(crate) struct InvalidOption {
    pub(crate) option: &'static str,
    /// The value found.
    value: String,
    /// The valid values: "must be at least 1".
    pub(crate) rule: String,
}

impl InvalidOption {
    pub(crate) fn new(
        option: &'static str,
        value: impl fmt::Display,
        rule: impl Into<String>,
    ) -> InvalidOption {
        InvalidOption { option, value: value.to_string(), rule: rule.into() }
    }

    /// Returns the rest of a sentence that begins with the option.
    pub(super) fn reason(&self) -> String {
        format!("is {}, but {}", self.value, self.rule)
    }
}

/// Fails a check of options.
pub(crate) fn reject_option<E: From<InvalidOption>>(
    option: &'static str,
    value: impl fmt::Display,
    rule: impl Into<String>,
) -> Result<(), E> {
    Err(InvalidOption::new(option, value, rule).into())
}

/// The subject of the message: not all that a caller sets is an option.
pub(super) struct Subject(pub(super) &'static str);

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "dir" => f.write_str("the path of the directory"),
            "group" | "ConsumerConfig::new" => f.write_str("the name of the group"),
            option => write!(f, "option `{option}`"),
        }
    }
}
