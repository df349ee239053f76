//! Calling user-supplied code that may panic, such as callbacks, listeners, partitioners and
//! wakers. No other code of the crate catches a panic.
//!
//! A panic ends the call and nothing else. The caller must leave its own state consistent before
//! it calls: no half-made change and no lock that the code may want.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The panic of user-supplied code.
pub(crate) struct Panicked(Box<dyn Any + Send>);

impl Panicked {
    /// Returns the message of the panic, if it is text.
    #[cfg_attr(shuttle, allow(dead_code))]
    pub(crate) fn message(&self) -> Option<&str> {
        let text = self.0.downcast_ref::<&str>().copied();
        text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str))
    }

    /// Lets the panic go on, in the thread that waits for the result.
    #[cfg_attr(shuttle, allow(dead_code))]
    pub(crate) fn resume(self) -> ! {
        resume_unwind(self.0)
    }
}

/// Calls user-supplied code and catches its panic.
pub(crate) fn call<T>(code: impl FnOnce() -> T) -> Result<T, Panicked> {
    // Unwind safe by the rule above.
    catch_unwind(AssertUnwindSafe(code)).map_err(Panicked)
}
