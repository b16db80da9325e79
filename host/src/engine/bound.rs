//! A policy with the settings documents that are bound to it, and the one place that lays targets out as columns and takes
//! columns apart again. It knows nothing of chains, failure modes or replicas.

use std::collections::BTreeMap;

use super::Options;
use super::fact::Fact;
use super::target::{Target, TargetId};
use super::words::Words;
use crate::policy::wire::{
    Batch, Births, Causes, Decisions, Explanation, Inheritance, Program, Scope, States,
};
use crate::policy::{Answer, BindError, CallError, CallErrorKind, ScalingPolicy};
use crate::time::Time;

/// What a stage reads of the one before it, and no output may be called.
const PROPOSAL: &str = "proposal";

/// Where a column of a policy's inputs comes from, for one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Column {
    /// The target's window at that position.
    Window(usize),
    /// A fact of the target.
    Fact(Fact),
    /// The wanted replicas of the stage before, within bounds.
    Proposal,
    /// A named output of an earlier stage.
    Output {
        /// Position of that stage in the chain.
        stage: usize,
        /// Position of the output among that stage's.
        output: usize,
    },
    /// Nobody gives it: NaN.
    Missing,
}

impl Column {
    /// Whether a stage with cause `change` is asked again when it reads differently.
    pub(super) fn wakes(self) -> bool {
        match self {
            Column::Window(_) | Column::Missing => false,
            Column::Fact(fact) => fact.wakes(),
            Column::Proposal | Column::Output { .. } => true,
        }
    }

    /// Whether it stands for a text: the engine's position of it is not what crosses, see [`CallWords`].
    pub(super) fn is_text(self) -> bool {
        match self {
            Column::Fact(fact) => fact.is_text(),
            Column::Window(_) | Column::Proposal | Column::Output { .. } | Column::Missing => false,
        }
    }

    /// What it reads now, for the policy at `position` of the chain.
    pub(super) fn read(self, position: usize, target: &Target, look: &Look<'_>) -> f64 {
        let value = match self {
            Column::Window(window) => {
                target.windows[window].average(look.now.second()).unwrap_or(f64::NAN)
            }
            Column::Fact(fact) => fact.read(target, look.options, look.words),
            Column::Proposal => target.proposal_before(position).map_or(f64::NAN, f64::from),
            Column::Output { stage, output } => target.seats[stage].output(output),
            Column::Missing => f64::NAN,
        };
        // A zero has no sign: no policy is to tell two apart.
        value + 0.0
    }
}

/// What a reading depends on beside the target.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) now: Time,
    pub(super) options: &'a Options,
    pub(super) words: &'a Words,
}

/// A target's place at one policy.
#[derive(Debug, Default)]
pub(super) struct Chair {
    pub(super) binding: u32,
    pub(super) columns: Vec<Column>,
    /// `None` until `init` has been asked.
    pub(super) state: Option<Vec<u8>>,
    /// What the policy was last asked with: with these it can be asked again, to explain itself.
    pub(super) asked: Option<Asked>,
}

impl Chair {
    /// Whether every window that the policy asked for is empty.
    pub(super) fn has_empty_windows(&self, target: &Target, now: Time) -> bool {
        self.columns.iter().all(|column| match *column {
            Column::Window(window) => target.windows[window].is_empty(now.second()),
            Column::Fact(_) | Column::Proposal | Column::Output { .. } | Column::Missing => true,
        })
    }
}

/// What a policy was asked with about one target.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) at: Time,
    pub(super) causes: Causes,
    pub(super) inputs: Vec<f64>,
    pub(super) state: Vec<u8>,
}

/// A target that a policy is asked about, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) target: TargetId,
    pub(super) causes: Causes,
}

/// One target's part of an answer.
pub(super) struct Decision {
    pub(super) wanted: u32,
    pub(super) is_applied: bool,
    pub(super) next_at: Time,
}

/// A policy with its bindings.
pub(super) struct Bound {
    pub(super) policy: Box<dyn ScalingPolicy>,
    /// The name of the layout of its states; `None`: it could not say, or was not asked yet.
    pub(super) schema: Option<String>,
    pub(super) bindings: Vec<Program>,
    by_settings: BTreeMap<String, u32>,
    /// Output names over all bindings, in order of first use.
    pub(super) outputs: Vec<String>,
    /// For each binding, where each of its outputs stands in `outputs`.
    output_positions: Vec<Vec<usize>>,
    /// The widest scope over all bindings.
    pub(super) scope: Scope,
    /// The causes of all bindings.
    pub(super) causes: Causes,
    batch: Batch,
}

impl Bound {
    pub(super) fn new(policy: Box<dyn ScalingPolicy>) -> Bound {
        Bound {
            policy,
            schema: None,
            bindings: Vec::new(),
            by_settings: BTreeMap::new(),
            outputs: Vec::new(),
            output_positions: Vec::new(),
            scope: Scope::Target,
            causes: Causes::empty(),
            batch: empty_batch(),
        }
    }

    /// Binds a settings document, unless an equal one is bound already. `outputs` gets the names it is to give.
    pub(super) fn bind(&mut self, settings: &str) -> Result<u32, BindError> {
        if let Some(&binding) = self.by_settings.get(settings) {
            return Ok(binding);
        }
        let program = self.policy.bind(settings)?;
        if self.schema.is_none() {
            // A policy without one works as well, until another one is to take over from it.
            self.schema = self.policy.state_schema().ok();
        }
        if program.outputs.iter().any(|name| name == PROPOSAL) {
            let message = format!("it announces an output `{PROPOSAL}`, which is a reserved name");
            let kind = CallErrorKind::Malformed;
            return Err(CallError { kind, culprits: Vec::new(), message }.into());
        }
        self.scope = widest(self.scope, program.scope);
        self.causes |= program.causes;
        let mut positions = Vec::with_capacity(program.outputs.len());
        for output in &program.outputs {
            let known = self.outputs.iter().position(|name| name == output);
            positions.push(known.unwrap_or_else(|| {
                self.outputs.push(output.clone());
                self.outputs.len() - 1
            }));
        }
        let binding = self.bindings.len() as u32;
        self.output_positions.push(positions);
        self.bindings.push(program);
        self.by_settings.insert(settings.to_owned(), binding);
        Ok(binding)
    }

    /// The first states of `ids`, in their order.
    pub(super) fn init(
        &mut self,
        now: Time,
        position: usize,
        which: usize,
        targets: &[Target],
        ids: &[TargetId],
    ) -> Result<Vec<Vec<u8>>, CallError> {
        let born = self.births(now, position, which, targets, ids);
        each_its_state(&self.policy.init(&born)?, ids.len(), "were born")
    }

    /// What the states `old` of `ids`, of the layout `schema`, are in this policy's own layout.
    pub(super) fn migrate(
        &mut self,
        now: Time,
        position: usize,
        which: usize,
        targets: &[Target],
        ids: &[TargetId],
        (schema, old): (&str, States),
    ) -> Result<Vec<Vec<u8>>, CallError> {
        let born = self.births(now, position, which, targets, ids);
        let from = Inheritance { born, schema: schema.to_owned(), old };
        each_its_state(&self.policy.migrate(&from)?, ids.len(), "were inherited")
    }

    fn births(
        &self,
        now: Time,
        position: usize,
        which: usize,
        targets: &[Target],
        ids: &[TargetId],
    ) -> Births {
        let mut params = ParamsTable::default();
        let binding = |id: &TargetId| targets[id.index()].seats[position].chairs[which].binding;
        let params_of = ids.iter().map(|id| params.position(binding(id), &self.bindings)).collect();
        let ready =
            ids.iter().map(|id| targets[id.index()].ready().map_or(f64::NAN, f64::from)).collect();
        Births { at_ms: now.0, params: params.list, params_of, ready }
    }

    /// Asks about `due`, by the chairs at `which`, which keep what was asked. States are taken in here; the rest of the
    /// answer goes to `take`, with the value of each of [`Bound::outputs`]. What failed is returned by position in `due`.
    pub(super) fn decide(
        &mut self,
        position: usize,
        which: usize,
        due: &[Due],
        look: &Look<'_>,
        targets: &mut [Target],
        mut take: impl FnMut(&mut Target, Decision, &[f64]),
    ) -> Vec<(u32, CallError)> {
        let columns = self.lay_out(position, which, due, look, targets);
        let Answer { decisions, failed, .. } = self.policy.decide(&self.batch, columns);
        let mut has_failed = failed.iter().map(|(at, _)| *at as usize).peekable();
        let mut states = split_states(&decisions.states);
        let mut outputs = vec![f64::NAN; self.outputs.len()];
        for (i, one) in due.iter().enumerate() {
            let state = states.next().unwrap_or_default();
            if has_failed.next_if_eq(&i).is_some() {
                continue;
            }
            let target = &mut targets[one.target.index()];
            let its = &mut target.seats[position].chairs[which];
            let now_state = its.state.get_or_insert_default();
            now_state.clear();
            now_state.extend_from_slice(state);
            outputs.fill(f64::NAN);
            for (column, &at) in self.output_positions[its.binding as usize].iter().enumerate() {
                let value = decisions.outputs[column * due.len() + i];
                outputs[at] = if value.is_finite() { value } else { f64::NAN };
            }
            take(target, decision(&decisions, i, look.now), &outputs);
        }
        failed
    }

    /// The words for the last decision about the target at `which_one` of `chairs`, which were asked about together: each with
    /// the number of its group.
    pub(super) fn explain(
        &mut self,
        chairs: &[(&Chair, u32)],
        which_one: usize,
        words: &Words,
    ) -> Result<Explanation, CallError> {
        let mut batch = empty_batch();
        let mut call_words = CallWords::default();
        let mut groups = CallGroups::default();
        let mut params = ParamsTable::default();
        let asked: Vec<&Asked> =
            chairs.iter().filter_map(|(chair, _)| chair.asked.as_ref()).collect();
        let columns = asked.iter().map(|asked| asked.inputs.len()).max().unwrap_or(0);
        batch.inputs.resize(columns * chairs.len(), f64::NAN);
        for (i, ((chair, group), asked)) in chairs.iter().zip(asked).enumerate() {
            batch.at_ms = asked.at.0;
            batch.causes_of.push(asked.causes);
            batch.params_of.push(params.position(chair.binding, &self.bindings));
            batch.groups.push(groups.number(*group));
            batch.states.bytes.extend_from_slice(&asked.state);
            batch.states.ends.push(batch.states.bytes.len() as u32);
            for (column, (source, value)) in chair.columns.iter().zip(&asked.inputs).enumerate() {
                batch.inputs[column * chairs.len() + i] =
                    if source.is_text() { call_words.position(*value, words) } else { *value };
            }
        }
        batch.params = params.list;
        batch.words = call_words.list;
        let explained = self.policy.explain(&batch)?;
        explained.into_iter().nth(which_one).ok_or_else(|| CallError {
            kind: CallErrorKind::Malformed,
            culprits: Vec::new(),
            message: format!("no explanation came back for target {which_one} of {}", chairs.len()),
        })
    }

    /// Fills the batch. Returns how many outputs the programs in it announce at most.
    fn lay_out(
        &mut self,
        position: usize,
        which: usize,
        due: &[Due],
        look: &Look<'_>,
        targets: &mut [Target],
    ) -> usize {
        let n = due.len();
        let batch = &mut self.batch;
        batch.at_ms = look.now.0;
        batch.causes_of.clear();
        batch.params_of.clear();
        batch.groups.clear();
        batch.states.bytes.clear();
        batch.states.ends.clear();
        let mut call_words = CallWords::default();
        let mut groups = CallGroups::default();
        let mut params = ParamsTable::default();
        for one in due {
            let binding = targets[one.target.index()].seats[position].chairs[which].binding;
            batch.params_of.push(params.position(binding, &self.bindings));
        }
        let asked_for = || params.positions.keys().map(|&binding| &self.bindings[binding as usize]);
        let columns = asked_for().map(|program| program.inputs.len()).max().unwrap_or(0);
        let outputs = asked_for().map(|program| program.outputs.len()).max().unwrap_or(0);
        batch.inputs.clear();
        batch.inputs.resize(columns * n, f64::NAN);
        for (i, one) in due.iter().enumerate() {
            let target = &mut targets[one.target.index()];
            let its = &mut target.seats[position].chairs[which];
            // Taken out while the target is read, which the columns borrow it for.
            let mut asked = its.asked.take().unwrap_or_default();
            let read = std::mem::take(&mut its.columns);
            asked.at = look.now;
            asked.causes = one.causes;
            asked.state.clear();
            asked.state.extend_from_slice(its.state.as_deref().unwrap_or_default());
            asked.inputs.clear();
            for (column, source) in read.iter().enumerate() {
                let value = source.read(position, target, look);
                batch.inputs[column * n + i] =
                    if source.is_text() { call_words.position(value, look.words) } else { value };
                asked.inputs.push(value);
            }
            batch.causes_of.push(one.causes);
            batch.groups.push(groups.number(target.group));
            batch.states.bytes.extend_from_slice(&asked.state);
            batch.states.ends.push(batch.states.bytes.len() as u32);
            let its = &mut target.seats[position].chairs[which];
            its.columns = read;
            its.asked = Some(asked);
        }
        batch.params = params.list;
        batch.words = call_words.list;
        outputs
    }
}

/// The texts of one call, in order of first use: no call shows what belongs to others, and its positions do not move when
/// somebody else comes or goes.
#[derive(Default)]
struct CallWords {
    list: Vec<String>,
    positions: BTreeMap<usize, f64>,
}

impl CallWords {
    /// What crosses for the text at that position of the engine's.
    fn position(&mut self, of_engine: f64, words: &Words) -> f64 {
        let at = of_engine as usize;
        let Some(text) = words.list().get(at).filter(|_| !of_engine.is_nan()) else {
            return f64::NAN;
        };
        let list = &mut self.list;
        *self.positions.entry(at).or_insert_with(|| {
            list.push(text.clone());
            (list.len() - 1) as f64
        })
    }
}

/// The services of one call, numbered in order: targets of one service are neighbours.
#[derive(Default)]
struct CallGroups {
    last: Option<(u32, u32)>,
}

impl CallGroups {
    fn number(&mut self, of_engine: u32) -> u32 {
        let number = match self.last {
            Some((known, number)) if known == of_engine => number,
            Some((_, number)) => number + 1,
            None => 0,
        };
        self.last = Some((of_engine, number));
        number
    }
}

/// The params that a call needs, each once, in order of first use.
#[derive(Default)]
struct ParamsTable {
    list: Vec<Vec<u8>>,
    positions: BTreeMap<u32, u32>,
    last: Option<(u32, u32)>,
}

impl ParamsTable {
    fn position(&mut self, binding: u32, bindings: &[Program]) -> u32 {
        if let Some((known, position)) = self.last
            && known == binding
        {
            return position;
        }
        let list = &mut self.list;
        let position = *self.positions.entry(binding).or_insert_with(|| {
            list.push(bindings[binding as usize].params.clone());
            list.len() as u32 - 1
        });
        self.last = Some((binding, position));
        position
    }
}

/// A policy's timer comes no sooner than this after its decision: the shortest tick there is.
const SOONEST_MS: u64 = 100;

fn decision(decisions: &Decisions, i: usize, now: Time) -> Decision {
    // A time that has come already would ask for itself again and again, and one that comes at once nearly so.
    let next_at = Some(Time(decisions.next_at_ms[i]))
        .filter(|&next| next > now)
        .map_or(Time::ZERO, |next| next.max(now + SOONEST_MS));
    Decision { wanted: decisions.wanted[i], is_applied: decisions.apply[i], next_at }
}

/// The states that are joined in `states`, or what is amiss where they are not as many as there are targets.
fn each_its_state(states: &States, targets: usize, what: &str) -> Result<Vec<Vec<u8>>, CallError> {
    if states.ends.len() == targets {
        Ok(split_states(states).map(<[u8]>::to_vec).collect())
    } else {
        let message =
            format!("{targets} targets {what} and {} states came back", states.ends.len());
        Err(CallError { kind: CallErrorKind::Malformed, culprits: Vec::new(), message })
    }
}

/// The states that are joined in `states`; an end that is out of order gives an empty one.
fn split_states(states: &States) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    states.ends.iter().map(move |&end| {
        let state = states.bytes.get(from..end as usize).unwrap_or_default();
        from = end as usize;
        state
    })
}

fn empty_batch() -> Batch {
    Batch {
        at_ms: 0,
        causes_of: Vec::new(),
        params: Vec::new(),
        params_of: Vec::new(),
        groups: Vec::new(),
        states: States { bytes: Vec::new(), ends: Vec::new() },
        inputs: Vec::new(),
        words: Vec::new(),
    }
}

/// The scope that keeps together what either does.
pub(super) fn widest(one: Scope, other: Scope) -> Scope {
    match (one, other) {
        (Scope::Tenant, _) | (_, Scope::Tenant) => Scope::Tenant,
        (Scope::Group, _) | (_, Scope::Group) => Scope::Group,
        (Scope::Target, Scope::Target) => Scope::Target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_shows_its_own_texts_and_numbers_its_own_services() {
        let mut words = Words::default();
        for text in ["predictor", "somebody-elses", "spot", "mine"] {
            words.intern(text);
        }
        let mut its = CallWords::default();
        let positions = [3.0, 0.0, 3.0, 0.0].map(|at| its.position(at, &words));
        assert_eq!(positions, [0.0, 1.0, 0.0, 1.0]);
        assert!(its.position(f64::NAN, &words).is_nan());
        assert_eq!(its.list, ["mine", "predictor"]);
        let mut groups = CallGroups::default();
        assert_eq!([7, 7, 9, 12, 12].map(|group| groups.number(group)), [0, 0, 1, 2, 2]);
    }
}
