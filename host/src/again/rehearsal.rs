//! Swaps of policies rehearsed on a journal: until the moment what decided then decides again, then a chain goes on from what that knew,
//! as it would live, and decides every further step in its shadow, on what was seen then.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use super::{Account, Before, Decider, Taken};
use crate::chain::Chain;
use crate::engine::snapshot::RestoreError;
use crate::engine::{BindTargetError, Engine, Snapshot, StagePolicy, TargetSpec};
use crate::journal::Header;
use crate::policy::CallError;
use crate::replay::Policies;
use crate::swap::{Refused, Shadow, lines};
use crate::time::Time;

/// A swap that is to be rehearsed.
pub struct Planned {
    /// When.
    pub at: Time,
    /// The policies file, as it was named.
    pub named: String,
    /// What takes over.
    pub chain: Chain,
}

/// What came of a rehearsed swap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsed {
    /// When: the first step at the moment that was asked for, or later. Unix milliseconds.
    pub at_ms: Time,
    /// The policies file, as it was named.
    pub policies: String,
    /// The stages from then on in order, the placement policy last.
    pub stages: Vec<StagePolicy>,
    /// What was not taken over as it was, a line each.
    pub told: Vec<String>,
    /// Why it would be refused live; `null`: it would not.
    pub refused: Option<String>,
    /// Steps that it decided.
    pub steps: u64,
    /// Decisions of it that differ from those of then.
    pub differences: u64,
    /// Steps in which one of its policies failed.
    pub failed_steps: u64,
    /// What happened there, each once.
    pub failures: Vec<String>,
}

/// A swap that cannot be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The policies do not take the targets.
    #[error(transparent)]
    Bind(#[from] BindTargetError),
    /// The placement policy does not say what it wants.
    #[error("the placement policy cannot say which columns it wants")]
    Placement(#[from] CallError),
    /// They cannot go on from what was known then.
    #[error("they cannot go on from what was known then")]
    Restore(#[from] RestoreError),
    /// They cannot decide in the shadow of what decides.
    #[error("they cannot decide beside what decided then: {0}")]
    Shadow(String),
}

/// Swaps of a journal, as it is decided again.
pub struct Rehearsal {
    ahead: VecDeque<Planned>,
    /// The chain that took over last, what it decides in, and how many of its differences were told.
    now: Option<(Chain, Shadow, u64)>,
}

impl Rehearsal {
    /// Swaps that are to come, in order of time.
    pub fn new(swaps: impl IntoIterator<Item = Planned>) -> Rehearsal {
        Rehearsal { ahead: swaps.into_iter().collect(), now: None }
    }

    /// Swaps whose moment has not come.
    pub fn ahead(&self) -> impl Iterator<Item = &Planned> {
        self.ahead.iter()
    }

    /// Takes in what came of an entry, once `decider` has an engine for it, and tells it to `account`.
    ///
    /// # Errors
    ///
    /// When a chain cannot take over.
    pub fn see(
        &mut self,
        taken: &Taken,
        decider: &mut Decider,
        account: &mut Account,
    ) -> Result<(), RehearsalError> {
        match taken {
            Taken::Begin { begin, before } => match decider.engine() {
                Some(real) => self.follow(real, &begin.header, begin.at, before),
                None => Ok(()),
            },
            Taken::Step { step, plan, .. } => {
                if let (Some((_, shadow, told)), Some(real)) = (&mut self.now, decider.engine()) {
                    shadow.see(real, &step.seen, plan);
                    account.tell_rehearsed(shadow.run(), told);
                }
                while self.ahead.front().is_some_and(|next| next.at <= plan.at) {
                    let Some(next) = self.ahead.pop_front() else { break };
                    let Some(header) = decider.header().cloned() else { break };
                    let Some(real) = decider.engine() else { break };
                    self.swap(next, real, &header, plan.at, account)?;
                }
                Ok(())
            }
            Taken::Segment(_)
            | Taken::GoesOn
            | Taken::Undecided(_)
            | Taken::Requests(_)
            | Taken::Note(_)
            | Taken::Torn(_) => Ok(()),
        }
    }

    /// Another engine decided from here on. Where its targets are others, or something is missing, the chain that is rehearsed goes on
    /// from what that one knew.
    fn follow(
        &mut self,
        real: &Engine,
        header: &Header,
        at: Time,
        before: &Before,
    ) -> Result<(), RehearsalError> {
        let Some((chain, shadow, _)) = &self.now else { return Ok(()) };
        let names = |spec: &TargetSpec| (spec.tenant.clone(), spec.name.clone());
        let is_same = shadow.specs().map(names).eq(real.specs().map(names));
        if is_same && *before == Before::Whole {
            return Ok(());
        }
        let (shadow, _) = taken_over(chain, header, at, &real.snapshot())?;
        if let Some(now) = &mut self.now {
            (now.1, now.2) = (shadow, 0);
        }
        Ok(())
    }

    fn swap(
        &mut self,
        next: Planned,
        real: &Engine,
        header: &Header,
        at: Time,
        account: &mut Account,
    ) -> Result<(), RehearsalError> {
        let Planned { named, chain, .. } = next;
        let from = match &self.now {
            Some((_, shadow, _)) => shadow.snapshot(),
            None => real.snapshot(),
        };
        let (shadow, rehearsed) = taken_over(&chain, header, at, &from)?;
        account.tell_swap(Rehearsed { policies: named, ..rehearsed });
        self.now = Some((chain, shadow, 0));
        Ok(())
    }
}

/// A shadow in which `chain` goes on from `from`, and what of that it did not take over as it was.
fn taken_over(
    chain: &Chain,
    header: &Header,
    at: Time,
    from: &Snapshot,
) -> Result<(Shadow, Rehearsed), RehearsalError> {
    let Policies { stages, placement: (placement, own_placement), fallback, limits: _ } =
        chain.policies();
    let (stages, own): (Vec<_>, Vec<_>) = stages.into_iter().unzip();
    let mut engine = Engine::new(header.options.clone(), stages, placement, fallback)?;
    let specs = header.targets.iter().map(|spec| settled_anew(spec, &own, &own_placement));
    engine.add_counted_targets(at, specs.zip(header.counts.iter().copied()).collect())?;
    let restored = engine.restore(at, from)?;
    let failed = restored.born_anew.iter().find(|anew| anew.has_failed);
    let rehearsed = Rehearsed {
        at_ms: at,
        policies: String::new(),
        stages: engine.policies(),
        told: lines(&restored),
        refused: failed.map(|anew| format!("{}: {}", anew.stage, anew.why)),
        steps: 0,
        differences: 0,
        failed_steps: 0,
        failures: Vec::new(),
    };
    let shadow = Shadow::new(engine, at, from);
    let shadow = shadow.map_err(|refused: Refused| RehearsalError::Shadow(refused.message))?;
    Ok((shadow, rehearsed))
}

/// A target of a journal as other policies are told of it: all settings documents of one are the same but for the stages' own part.
fn settled_anew(spec: &TargetSpec, own: &[Value], own_placement: &Value) -> TargetSpec {
    let with = |document: &str, own: &Value| {
        let mut document: Value = serde_json::from_str(document).unwrap_or_default();
        document["settings"] = own.clone();
        document.to_string()
    };
    let scaling = spec.scaling_settings.first().map_or("{}", String::as_str);
    TargetSpec {
        scaling_settings: own.iter().map(|own| with(scaling, own)).collect(),
        placement_settings: with(&spec.placement_settings, own_placement),
        ..spec.clone()
    }
}
