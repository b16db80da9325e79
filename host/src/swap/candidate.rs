//! What may decide next: read from its files, checked, compiled, tried on what was seen lately. All of it may take its time: it is
//! done away from the control loop, and holds nothing of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::recent::Moment;
use super::refused::{Refused, file_of};
use super::shadow::{Shadow, ShadowRun};
use super::stamps::Stamps;
use crate::chain::Chain;
use crate::definitions::policies::PoliciesDefinition;
use crate::definitions::profile::Profile;
use crate::definitions::service::Service;
use crate::definitions::settings::LimitsError;
use crate::engine::{Engine, Options, Owner, PLACEMENT, Restored, TargetSpec};
use crate::policy::{Limits, Sandbox, SandboxError, digest_of};
use crate::replay::{Policies, target_specs};
use crate::time::Time;

/// The files that policies and their settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The policies file; `None`: the built-in chain.
    pub policies: Option<PathBuf>,
    /// The name of a built-in profile, or a file.
    pub profile: String,
}

/// What the engine is to decide about, given the settings of the stages and of the placement policy, and the profile.
pub type Targets = Arc<
    dyn Fn(
            &[serde_json::Value],
            &serde_json::Value,
            &Profile,
        ) -> Result<Vec<TargetSpec>, LimitsError>
        + Send
        + Sync,
>;

/// The targets of services whose replicas are our own: one for each pool.
pub fn targets_of(services: Vec<Service>) -> Targets {
    Arc::new(move |own, placement, profile| {
        let mut specs = Vec::new();
        for service in &services {
            let pools = service.pools(&profile.settings)?;
            specs.extend(target_specs(service, pools, Owner::Tidegate, (own, placement), profile));
        }
        Ok(specs)
    })
}

/// Makes the sandbox for those limits.
pub type Sandboxes = Arc<dyn Fn(Limits) -> Result<Sandbox, SandboxError> + Send + Sync>;

/// What every chain needs to become an engine.
#[derive(Clone)]
pub struct Making {
    /// How the engine runs. The length of its tick is the profile's.
    pub options: Options,
    /// What it decides about.
    pub targets: Targets,
    /// Where its policies run.
    pub sandboxes: Sandboxes,
}

/// A chain that was loaded, with the profile that goes with it.
pub struct Loaded {
    digest: String,
    chain: Chain,
    profile: Profile,
    warnings: Vec<String>,
}

impl Loaded {
    /// Reads all of it. Files that are looked at are put among `stamps` before they are.
    pub(super) fn read(
        sources: &Sources,
        making: &Making,
        known: &[&Chain],
        stamps: &mut Stamps,
    ) -> Result<Loaded, Refused> {
        for file in sources.files() {
            stamps.add(file);
        }
        let definition = match &sources.policies {
            None => PoliciesDefinition::builtin(),
            Some(path) => PoliciesDefinition::read(path)
                .map_err(|error| Refused::definition(&error).about(Some(path)))?,
        };
        let components = definition.scaling.iter().map(|stage| &stage.policy);
        for file in components.chain([&definition.placement]).filter_map(file_of) {
            stamps.add(file);
        }
        let (profile, warnings) = Profile::find(&sources.profile).map_err(|error| {
            Refused::definition(&error).about(Some(Path::new(&sources.profile)))
        })?;
        let sandbox = (making.sandboxes)(definition.limits.all.clone())
            .map_err(|error| Refused::sandbox(&error).about(sources.policies.as_deref()))?;
        let chain = Chain::load(&definition, &sandbox, known)
            .map_err(|error| Refused::chain(&error).about(sources.policies.as_deref()))?;
        let warnings = warnings.iter().map(ToString::to_string).collect();
        Ok(Loaded { digest: digest(&chain, &profile), chain, profile, warnings })
    }

    /// Of everything that decides: components, their settings, failure modes and limits, and the profile.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its components.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The profile that goes with them.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What is worth a warning in its files.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// An engine that it decides in, with all targets, which begin at `now`.
    pub(super) fn engine(&self, making: &Making, now: Time) -> Result<Engine, Refused> {
        let Policies { stages, placement: (placement, placement_settings), fallback, limits: _ } =
            self.chain.policies();
        let (stages, own): (Vec<_>, Vec<_>) = stages.into_iter().unzip();
        let tick_ms = self.profile.cluster.tick_ms();
        let options = Options { tick_ms, ..making.options.clone() };
        let specs = (making.targets)(&own, &placement_settings, &self.profile)
            .map_err(|error| Refused::limits(&error))?;
        let mut engine = Engine::new(options, stages, placement, fallback)
            .map_err(|error| Refused::placement(&error))?;
        engine.add_targets(now, specs).map_err(|error| Refused::bind(&error))?;
        Ok(engine)
    }

    /// The stages whose failures are held against it rather than against `before`.
    pub(super) fn changed_stages(&self, before: &Loaded) -> BTreeSet<String> {
        let stages = |loaded: &Loaded| {
            let (digests, placement) = loaded.chain.digests();
            let definition = loaded.chain.definition();
            let stages = definition.scaling.iter().zip(digests).map(|(stage, digests)| {
                let limits = definition.limits.of(&stage.name);
                (stage.name.clone(), json!([digests, stage.settings, stage.on_failure, limits]))
            });
            let limits = definition.limits.of(PLACEMENT);
            let own = json!([placement, definition.placement_settings, limits]);
            stages.chain([(PLACEMENT.to_owned(), own)]).collect::<Vec<_>>()
        };
        let before_them = stages(before);
        let is_other_profile = self.profile.settings != before.profile.settings;
        let own = stages(self).into_iter();
        own.filter(|stage| is_other_profile || !before_them.contains(stage))
            .map(|(name, _)| name)
            .collect()
    }
}

impl Sources {
    fn files(&self) -> impl Iterator<Item = &Path> {
        let profile = Path::new(&self.profile);
        let is_built_in = tidegate_settings::profile(&self.profile).is_some();
        self.policies.as_deref().into_iter().chain((!is_built_in).then_some(profile))
    }
}

fn digest(chain: &Chain, profile: &Profile) -> String {
    let definition = chain.definition();
    let (digests, placement) = chain.digests();
    let stages = definition
        .scaling
        .iter()
        .zip(digests)
        .map(|(stage, digests)| json!([stage.name, digests, stage.settings, stage.on_failure]));
    let whole = json!({
        "stages": stages.collect::<Vec<_>>(),
        "placement": [placement, definition.placement_settings],
        "limits": definition.limits,
        "profile": profile.settings,
    });
    digest_of(whole.to_string().as_bytes())
}

/// What may decide next.
pub struct Candidate {
    pub(super) number: u64,
    pub(super) by: String,
    pub(super) what: What,
    pub(super) making: Making,
    pub(super) live: Arc<Loaded>,
    pub(super) kept: Vec<Arc<Loaded>>,
}

/// Where a candidate comes from.
pub(super) enum What {
    /// Its files.
    Files(Sources),
    /// The chain that decides now, about other targets.
    Live,
}

/// A candidate that was looked at, whatever came of it.
pub struct Ready {
    pub(super) number: u64,
    pub(super) by: String,
    pub(super) digest: Option<String>,
    /// The files as they were before they were read.
    pub(super) stamps: Option<Stamps>,
    pub(super) making: Making,
    /// `None`: it is what decides now.
    pub(super) outcome: Result<Option<Prepared>, Refused>,
}

/// A candidate that may take over.
pub(super) struct Prepared {
    pub(super) loaded: Arc<Loaded>,
    pub(super) engine: Engine,
    pub(super) shadow: ShadowRun,
}

impl Ready {
    /// Why it will not take over, if it is refused.
    pub fn refused(&self) -> Option<&Refused> {
        self.outcome.as_ref().err()
    }

    /// What came of trying it; `None` where it was refused, or nothing is new.
    pub fn shadow(&self) -> Option<&ShadowRun> {
        let prepared = self.outcome.as_ref().ok()?.as_ref()?;
        Some(&prepared.shadow)
    }
}

impl Candidate {
    /// Reads, checks, compiles and tries it. This takes its time: milliseconds with what is compiled already, seconds with a new
    /// component.
    pub fn prepare(self, moment: &Moment) -> Ready {
        let mut stamps = Stamps::default();
        let mut digest = None;
        let outcome = self.look(moment, &mut stamps, &mut digest);
        let stamps = match self.what {
            What::Files(_) => Some(stamps),
            What::Live => None,
        };
        Ready { number: self.number, by: self.by, digest, stamps, making: self.making, outcome }
    }

    fn look(
        &self,
        moment: &Moment,
        stamps: &mut Stamps,
        digest: &mut Option<String>,
    ) -> Result<Option<Prepared>, Refused> {
        let (loaded, file) = match &self.what {
            What::Live => (self.live.clone(), None),
            What::Files(sources) => {
                let known: Vec<&Chain> =
                    self.kept.iter().chain([&self.live]).map(|one| one.chain()).collect();
                let loaded = Loaded::read(sources, &self.making, &known, stamps)?;
                *digest = Some(loaded.digest.clone());
                if loaded.digest == self.live.digest {
                    return Ok(None);
                }
                (Arc::new(loaded), sources.policies.as_deref())
            }
        };
        *digest = Some(loaded.digest.clone());
        let at = moment.now.at();
        let engine = loaded.engine(&self.making, at).map_err(|refused| refused.about(file))?;
        let (mut engine, shadow) =
            self.try_on(engine, moment).map_err(|refused| refused.about(file))?;
        let restored: Restored =
            engine.restore(at, &moment.now).map_err(|error| Refused::restore(&error))?;
        if let Some(anew) = restored.born_anew.iter().find(|anew| anew.has_failed) {
            return Err(Refused::migrate(anew).about(file));
        }
        Ok(Some(Prepared { loaded, engine, shadow }))
    }

    /// Has it decide the recent steps in the shadow of what decided them.
    fn try_on(&self, engine: Engine, moment: &Moment) -> Result<(Engine, ShadowRun), Refused> {
        let own = engine.specs().map(|spec| (spec.tenant.as_str(), &spec.name));
        if !own.eq(moment.before.targets()) || !matches!(self.what, What::Files(_)) {
            return Ok((engine, ShadowRun::default()));
        }
        let at = moment.before.at();
        let mut real = self.live.engine(&self.making, at)?;
        real.restore(at, &moment.before).map_err(|error| Refused::restore(&error))?;
        let mut shadow = Shadow::new(engine, at, &moment.before)?;
        let mut failed_steps = 0;
        for seen in &moment.seen {
            let plan = real.step(seen);
            failed_steps += u64::from(!plan.failures.is_empty());
            shadow.see(&real, seen, &plan);
        }
        let (engine, run) = shadow.into_parts();
        if run.failed_steps > failed_steps {
            return Err(Refused::shadow(&run));
        }
        Ok((engine, run))
    }
}
