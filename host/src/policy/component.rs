//! A scaling policy that is a component: each call in a fresh instance, within limits, with every number that comes back checked.

use std::collections::BTreeMap;

use wasmtime::component::ComponentExportIndex;

use super::call::{Allowance, Caller};
use super::isolate::{checked_states, decide, malformed, targets};
use super::load::SCALING;
use super::told::{clean, clean_explanations, clean_faults};
use super::wire::{
    Batch, Births, Decisions, Explanation, Failure, Fault, Inheritance, Program, Scope, Source,
    States,
};
use super::{Answer, BindError, CallError, CallErrorKind, ScalingPolicy};

/// Columns that a program may ask for, and columns that it may give: what the host sets aside for a batch grows with them.
pub(super) const COLUMNS_AT_MOST: usize = 256;

/// A component as the engine sees it. Made by [`Package::scaling`](super::Package::scaling).
pub struct ComponentScaling {
    digest: String,
    caller: Caller,
    functions: Functions,
    /// The widest of all programs bound so far, as the engine has it.
    scope: Scope,
    /// How many outputs the programs bound so far announce, by their params.
    announced: BTreeMap<Vec<u8>, usize>,
}

struct Functions {
    bind: ComponentExportIndex,
    init: ComponentExportIndex,
    decide: ComponentExportIndex,
    explain: ComponentExportIndex,
    state_schema: ComponentExportIndex,
    migrate: ComponentExportIndex,
}

impl ComponentScaling {
    pub(super) fn new(digest: &str, caller: Caller) -> ComponentScaling {
        let function = |name| caller.function(SCALING, name);
        let functions = Functions {
            bind: function("bind"),
            init: function("init"),
            decide: function("decide"),
            explain: function("explain"),
            state_schema: function("state-schema"),
            migrate: function("migrate"),
        };
        let (scope, announced) = (Scope::Target, BTreeMap::new());
        ComponentScaling { digest: digest.to_owned(), caller, functions, scope, announced }
    }

    /// What a call that is not on the path of decisions may take.
    fn rare(&self, targets: usize) -> Allowance {
        let limits = &self.caller.limits;
        Allowance {
            fuel: limits.fuel_of_rare_calls.max(limits.fuel(targets)),
            output_bytes: limits.output(targets),
            targets,
        }
    }
}

impl ScalingPolicy for ComponentScaling {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn bind(&mut self, settings: &str) -> Result<Program, BindError> {
        let (bound, _) = self.caller.call::<_, Result<Program, Vec<Fault>>>(
            &self.functions.bind,
            (settings,),
            self.rare(0),
        );
        let program = bound?.map_err(|faults| BindError::Faults(clean_faults(faults)))?;
        let program = checked_program(program)?;
        self.scope = widest(self.scope, program.scope);
        let most = self.announced.entry(program.params.clone()).or_default();
        *most = (*most).max(program.outputs.len());
        Ok(program)
    }

    fn init(&mut self, born: &Births) -> Result<States, CallError> {
        let n = born.params_of.len();
        let limits = &self.caller.limits;
        let allowance =
            Allowance { fuel: limits.fuel(n), output_bytes: limits.output(n), targets: n };
        let (born, _) = self.caller.call::<_, Result<States, Failure>>(
            &self.functions.init,
            (born,),
            allowance,
        );
        let states = born?.map_err(refused)?;
        checked_states(&states, n)?;
        Ok(states)
    }

    fn decide(&mut self, seen: &Batch, columns: usize) -> Answer {
        let limits = &self.caller.limits;
        // A part of a batch has only the outputs of its own programs.
        let columns_of = |part: &Batch| {
            let announced = part.params.iter().filter_map(|params| self.announced.get(params));
            announced.copied().max().unwrap_or(columns).min(columns)
        };
        decide(seen, columns, self.scope, limits, columns_of, |batch, fuel| {
            let targets = batch.params_of.len();
            let allowance = Allowance { fuel, output_bytes: limits.output(targets), targets };
            let (decided, took) = self.caller.call::<_, Result<Decisions, Failure>>(
                &self.functions.decide,
                (batch,),
                allowance,
            );
            (decided.and_then(|decided| decided.map_err(refused)), took)
        })
    }

    fn explain(&mut self, seen: &Batch) -> Result<Vec<Explanation>, CallError> {
        let n = seen.params_of.len();
        let (told, _) = self.caller.call::<_, Result<Vec<Explanation>, Failure>>(
            &self.functions.explain,
            (seen,),
            self.rare(n),
        );
        let told = told?.map_err(refused)?;
        if told.len() != n {
            return Err(malformed(format!(
                "it gave {} explanations for {}",
                told.len(),
                targets(n)
            )));
        }
        Ok(clean_explanations(told))
    }

    fn state_schema(&mut self) -> Result<String, CallError> {
        let function = &self.functions.state_schema;
        self.caller.call::<_, String>(function, (), self.rare(0)).0.map(clean)
    }

    fn migrate(&mut self, from: &Inheritance) -> Result<States, CallError> {
        let n = from.old.ends.len();
        let (migrated, _) = self.caller.call::<_, Result<States, Failure>>(
            &self.functions.migrate,
            (from,),
            self.rare(n),
        );
        let states = migrated?.map_err(refused)?;
        checked_states(&states, n)?;
        Ok(states)
    }
}

/// A failure that the policy returned.
pub(super) fn refused(failure: Failure) -> CallError {
    CallError {
        kind: CallErrorKind::Refused,
        culprits: failure.culprits,
        message: clean(failure.message),
    }
}

/// Seconds of all windows of one program: the host keeps a bucket for each, for every target.
const WINDOW_SECONDS_AT_MOST: u64 = 4 * 3_600;
/// Compiled settings, which the host keeps and hands to every call. Bytes.
const PARAMS_AT_MOST: usize = 64 << 10;

/// Refuses compiled settings that are larger than any need to be.
pub(super) fn checked_params(params: &[u8]) -> Result<(), CallError> {
    if params.len() <= PARAMS_AT_MOST {
        return Ok(());
    }
    let found = params.len();
    Err(malformed(format!("its params have {found} bytes, more than {PARAMS_AT_MOST}")))
}

/// A program that asks for no more than there may be, with texts that can be shown.
fn checked_program(mut program: Program) -> Result<Program, CallError> {
    for (what, found) in [("inputs", program.inputs.len()), ("outputs", program.outputs.len())] {
        if found > COLUMNS_AT_MOST {
            return Err(malformed(format!(
                "its program has {found} {what}, more than {COLUMNS_AT_MOST}"
            )));
        }
    }
    for input in &mut program.inputs {
        match &mut input.source {
            Source::Window(window) => {
                window.signal = clean(std::mem::take(&mut window.signal));
                window.averaging = clean(std::mem::take(&mut window.averaging));
            }
            Source::Fact(name) | Source::Output(name) => *name = clean(std::mem::take(name)),
        }
    }
    let seconds: u64 = program
        .inputs
        .iter()
        .map(|input| match &input.source {
            Source::Window(window) => u64::from(window.span_s),
            Source::Fact(_) | Source::Output(_) => 0,
        })
        .sum();
    if seconds > WINDOW_SECONDS_AT_MOST {
        return Err(malformed(format!(
            "its windows have {seconds} seconds in all, more than {WINDOW_SECONDS_AT_MOST}"
        )));
    }
    checked_params(&program.params)?;
    program.outputs = program.outputs.into_iter().map(clean).collect();
    program.warnings = clean_faults(program.warnings);
    Ok(program)
}

fn widest(one: Scope, other: Scope) -> Scope {
    match (one, other) {
        (Scope::Tenant, _) | (_, Scope::Tenant) => Scope::Tenant,
        (Scope::Group, _) | (_, Scope::Group) => Scope::Group,
        (Scope::Target, Scope::Target) => Scope::Target,
    }
}
