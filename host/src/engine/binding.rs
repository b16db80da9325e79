//! Binds settings: gives a target its seats, finds what each input that a policy asks for comes from, and keeps windows over a change.
//! It asks no policy to decide.

use super::bound::{Chair, Column};
use super::chain::{Chain, FALLBACK, MAIN, Seat, Stage};
use super::fact::Fact;
use super::signal::Signal;
use super::target::Target;
use super::windows::{Averaging, LONGEST_SPAN_S, Window, WindowSpec};
use super::words::Words;
use crate::policy::wire::{Causes, Fault, Source};
use crate::policy::{BindError, CallError};
use crate::time::Time;

/// Settings or constraints that a target cannot be taken in with.
#[derive(Debug, thiserror::Error)]
pub enum BindTargetError {
    /// A policy did not accept the settings.
    #[error("{stage} does not accept the settings of {target}")]
    Settings {
        /// The target.
        target: String,
        /// The stage, or the placement policy.
        stage: String,
        /// What the policy said.
        source: BindError,
    },
    /// A policy requires an input that nothing here gives.
    #[error("{stage} requires {input} for {target}, but {why}")]
    Input {
        /// The target.
        target: String,
        /// The stage.
        stage: String,
        /// The input, as `the fact kv-use`.
        input: String,
        /// What is amiss.
        why: String,
    },
    /// A policy could not make a first state.
    #[error("{stage} cannot make a first state for {target}")]
    Init {
        /// The target.
        target: String,
        /// The stage.
        stage: String,
        /// What happened.
        source: CallError,
    },
}

impl BindTargetError {
    /// Whether a policy failed over them, and not that they are wrong.
    pub fn is_by_policy(&self) -> bool {
        match self {
            BindTargetError::Settings { source: BindError::Faults(_), .. }
            | BindTargetError::Input { .. } => false,
            BindTargetError::Settings { source: BindError::Call(_), .. }
            | BindTargetError::Init { .. } => true,
        }
    }

    /// The stage (or the placement policy) that found faults in its settings, and these.
    pub fn faults(&self) -> Option<(&str, &[Fault])> {
        match self {
            BindTargetError::Settings { stage, source: BindError::Faults(faults), .. } => {
                Some((stage, faults))
            }
            BindTargetError::Settings { source: BindError::Call(_), .. }
            | BindTargetError::Input { .. }
            | BindTargetError::Init { .. } => None,
        }
    }
}

impl Chain {
    /// Gives `target` a seat at every stage and the windows that its policies ask for. Returns what is worth a warning.
    pub(super) fn seat(
        &mut self,
        target: &mut Target,
        words: &mut Words,
    ) -> Result<Vec<String>, BindTargetError> {
        words.intern(&target.spec.name.role);
        words.intern(&target.spec.name.pool);
        target.seats.resize_with(self.stages.len(), Seat::default);
        self.bind(target, Time::ZERO)
    }

    /// Binds the settings that `target` has now, be it for the first time or because they have changed. What its policies remember
    /// stays; windows of another length keep their most recent seconds. Returns what is worth a warning.
    ///
    /// # Errors
    ///
    /// When a policy refuses the settings or an input is missing; the target is then as it was.
    pub(super) fn bind(
        &mut self,
        target: &mut Target,
        now: Time,
    ) -> Result<Vec<String>, BindTargetError> {
        let mut warnings = Vec::new();
        let mut windows = WindowsToBe { old: &target.windows, new: Vec::new(), now };
        let mut bound: Vec<Vec<(u32, Vec<Column>)>> = Vec::with_capacity(self.stages.len());
        for position in 0..self.stages.len() {
            let (earlier, rest) = self.stages.split_at_mut(position);
            let stage = &mut rest[0];
            let settings =
                target.spec.scaling_settings.get(position).map_or("{}", String::as_str).to_owned();
            let mut chairs = Vec::with_capacity(stage.policies.len());
            for (which, policy) in stage.policies.iter_mut().enumerate() {
                // The stage's own settings mean nothing to what stands in for its policy.
                let settings = if which == FALLBACK {
                    without_own_settings(&settings)
                } else {
                    settings.clone()
                };
                let binding =
                    policy.bind(&settings).map_err(|source| BindTargetError::Settings {
                        target: target.spec.name.to_string(),
                        stage: stage.name.clone(),
                        source,
                    })?;
                let program = &policy.bindings[binding as usize];
                for fault in &program.warnings {
                    let at = if fault.path.is_empty() {
                        String::new()
                    } else {
                        format!("{}: ", fault.path)
                    };
                    warnings.push(format!(
                        "{}: {}: {at}{}",
                        target.spec.name, stage.name, fault.message
                    ));
                }
                let before = target.seats[position]
                    .chairs
                    .get(which)
                    .map_or(&[][..], |chair| &chair.columns);
                let mut columns = Vec::with_capacity(program.inputs.len());
                for (at, input) in program.inputs.iter().enumerate() {
                    let was = before.get(at).copied();
                    columns.push(
                        match resolve(&input.source, earlier, &bound, was, &mut windows) {
                            Ok(column) => column,
                            Err(_) if !input.required => Column::Missing,
                            Err(why) => {
                                return Err(BindTargetError::Input {
                                    target: target.spec.name.to_string(),
                                    stage: stage.name.clone(),
                                    input: named(&input.source),
                                    why,
                                });
                            }
                        },
                    );
                }
                chairs.push((binding, columns));
            }
            bound.push(chairs);
        }
        target.windows = windows.new;
        for ((seat, chairs), stage) in target.seats.iter_mut().zip(bound).zip(&self.stages) {
            let causes = |which: usize, binding: u32| {
                stage.policies[which].bindings[binding as usize].causes
            };
            seat.has_timer = chairs
                .iter()
                .enumerate()
                .any(|(which, (binding, _))| causes(which, *binding).contains(Causes::TIMER));
            seat.chairs.resize_with(chairs.len(), Chair::default);
            for (chair, (binding, columns)) in seat.chairs.iter_mut().zip(chairs) {
                // What was read under other settings is no answer to whether anything reads differently.
                *chair = Chair { binding, columns, state: chair.state.take(), asked: None };
            }
        }
        Ok(warnings)
    }
}

/// The settings document without the part that is the stage's own.
fn without_own_settings(document: &str) -> String {
    match serde_json::from_str(document) {
        Ok(serde_json::Value::Object(mut object)) => {
            object.insert("settings".to_owned(), serde_json::json!({}));
            serde_json::Value::Object(object).to_string()
        }
        // Not a settings document: whoever binds it says so.
        Ok(_) | Err(_) => document.to_owned(),
    }
}

/// The windows that a target is about to have.
struct WindowsToBe<'a> {
    /// Those that it has.
    old: &'a [Window],
    new: Vec<Window>,
    now: Time,
}

impl WindowsToBe<'_> {
    /// The position of the window that `spec` asks for: one that there is already, one that takes up where the window `was` of the
    /// same input left off, or an empty one.
    fn place(&mut self, spec: WindowSpec, was: Option<Column>) -> usize {
        if let Some(known) = self.new.iter().position(|window| window.spec() == spec) {
            return known;
        }
        let same = self.old.iter().find(|window| window.spec() == spec).cloned();
        let resized = || {
            let Some(Column::Window(was)) = was else { return None };
            let mut window = self.old[was].clone();
            let WindowSpec { signal, averaging, .. } = window.spec();
            (signal == spec.signal && averaging == spec.averaging).then(|| {
                window.resize(self.now.second(), spec.span_s);
                window
            })
        };
        let window = same.or_else(resized).unwrap_or_else(|| Window::new(spec));
        self.new.push(window);
        self.new.len() - 1
    }
}

/// Finds what gives an input, and the window that it needs (`was`: where the same input came from before; `bound`: what the earlier
/// stages bound); or says what is amiss.
fn resolve(
    source: &Source,
    earlier: &[Stage],
    bound: &[Vec<(u32, Vec<Column>)>],
    was: Option<Column>,
    windows: &mut WindowsToBe<'_>,
) -> Result<Column, String> {
    match source {
        Source::Window(window) => {
            let signal = Signal::named(&window.signal)
                .ok_or_else(|| format!("there is no signal {}", window.signal))?;
            let averaging = Averaging::named(&window.averaging)
                .ok_or_else(|| format!("there is no averaging {}", window.averaging))?;
            if window.span_s == 0 || window.span_s > LONGEST_SPAN_S {
                return Err(format!("a window has 1 to {LONGEST_SPAN_S} seconds"));
            }
            let spec = WindowSpec { signal, span_s: window.span_s, averaging };
            Ok(Column::Window(windows.place(spec, was)))
        }
        Source::Fact(name) => Fact::named(name)
            .map(Column::Fact)
            .ok_or_else(|| "this installation does not give it".to_owned()),
        Source::Output(name) if name == "proposal" && earlier.is_empty() => {
            Err("no stage comes before it".to_owned())
        }
        Source::Output(name) if name == "proposal" => Ok(Column::Proposal),
        Source::Output(name) => {
            // What the stage gives with this target's settings: with another's it may give more.
            let found =
                earlier.iter().zip(bound).enumerate().rev().find_map(|(stage, (its, chairs))| {
                    let (binding, _) = chairs.first()?;
                    let program = &its.policies[MAIN].bindings[*binding as usize];
                    let gives = program.outputs.contains(name);
                    let output = its.outputs().iter().position(|output| output == name)?;
                    gives.then_some(Column::Output { stage, output })
                });
            found.ok_or_else(|| "no earlier stage gives it".to_owned())
        }
    }
}

pub(super) fn named(source: &Source) -> String {
    match source {
        Source::Window(window) => {
            format!("the window {} over {} s, {}", window.signal, window.span_s, window.averaging)
        }
        Source::Fact(name) => format!("the fact {name}"),
        Source::Output(name) => format!("the output {name}"),
    }
}
