//! The rules of a [`FaultFs`](super::FaultFs) and the trace of its calls.

use super::operation::{Call, Operation};
use super::rule::{ActiveRule, Effect, FaultHook};
use super::turns::Turns;
use crate::fs::{DirEntry, DirGuard, DirLock, File, FileView, HeldDir};
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The id of a rule that was added to a [`FaultFs`](super::FaultFs), which has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub(super) u64);

/// The rules and the trace, shared by a file system and its files.
#[derive(Debug)]
pub(super) struct Faults {
    pub(super) state: Mutex<State>,
    pub(super) turns: Arc<Turns>,
}

#[derive(Debug)]
pub(super) struct State {
    /// The rules, in the order in which they were added.
    pub(super) rules: BTreeMap<RuleId, ActiveRule>,
    pub(super) next: u64,
    pub(super) trace: Vec<Call>,
    pub(super) tracing: bool,
    pub(super) counts: BTreeMap<Operation, u64>,
}

impl Faults {
    /// Applies the rules to a call, and makes it unless a fault prevents that. `work` gets the
    /// effect that it has to implement, if any.
    pub(super) fn pass<T: Answer>(
        &self,
        mut call: Call,
        work: impl FnOnce(Option<Effect>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.turns.wait();
        let (hooks, effect) = self.apply_rules(&call);
        for hook in hooks {
            hook(&call);
        }
        let result = match effect {
            Some(Effect::Error(failure)) => Err(failure.into()),
            effect => work(effect),
        };
        let mut state = self.state.lock();
        if state.tracing {
            call.result = match &result {
                Ok(answer) => Ok(answer.bytes()),
                Err(error) => Err(error.kind()),
            };
            state.trace.push(call);
        }
        result
    }

    /// Counts a call with every rule, and returns the hooks to run and the effect.
    fn apply_rules(&self, call: &Call) -> (Vec<FaultHook>, Option<Effect>) {
        let mut state = self.state.lock();
        *state.counts.entry(call.operation).or_default() += 1;
        let mut hooks = Vec::new();
        let mut effect = None;
        for rule in state.rules.values_mut() {
            let matches = rule.matches(call);
            if !matches || (effect.is_some() && !rule.only_watches()) {
                continue;
            }
            match rule.fire() {
                Effect::Call(hook) => hooks.push(hook),
                other => effect = Some(other),
            }
        }
        (hooks, effect)
    }

    /// Applies the rules to a call without a result.
    pub(super) fn pass_unit(
        &self,
        call: Call,
        work: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        self.pass(call, |effect| match effect {
            Some(Effect::IgnoreSilently) => Ok(()),
            _ => work(),
        })
    }
}

/// The result of a call, as its number of bytes in a trace.
pub(super) trait Answer {
    fn bytes(&self) -> u64 {
        0
    }
}

impl Answer for usize {
    fn bytes(&self) -> u64 {
        *self as u64
    }
}

impl Answer for () {}
impl Answer for u64 {}
impl Answer for FileView {}
impl Answer for Vec<DirEntry> {}
impl Answer for Arc<dyn File> {}
impl Answer for Box<dyn DirLock> {}
impl Answer for Box<dyn DirGuard> {}
impl Answer for Option<HeldDir> {}
