//! The policies that are held to the recordings: made anew for each scenario, as nothing may be left of the one before.

use serde_json::Value;

use crate::engine::{OnFailure, Stage};
use crate::policy::native::NativeScaling;
use crate::policy::{LoadError, Package, Sandbox, ScalingPolicy, builtin};

/// What the first stage must give; the rest of the names are given by whichever stage is last to.
pub(super) const DEMAND_OUTPUTS: [&str; 3] = [EXCESS, IN_PANIC, HELD];
pub(super) const EXCESS: &str = "excess-burst-capacity";
pub(super) const IN_PANIC: &str = "in-panic";
pub(super) const HELD: &str = "held-replicas";

/// Makes a policy.
pub type Make = Box<dyn Fn() -> Box<dyn ScalingPolicy> + Send + Sync>;

/// A stage of the chain.
pub struct Link {
    /// Its name.
    pub name: String,
    /// Settings of its policy's own.
    pub settings: Value,
    /// Its policy.
    pub policy: Make,
}

/// The stages in order. The first is held to what Knative's autoscaler decided, all together to what became of that end to end.
pub struct HeldChain {
    links: Vec<Link>,
}

impl HeldChain {
    /// A chain of at least one stage.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub fn new(links: Vec<Link>) -> HeldChain {
        assert!(!links.is_empty(), "a chain has a stage");
        HeldChain { links }
    }

    /// The built-in policies, linked natively.
    pub fn native() -> HeldChain {
        let knative = || {
            Box::new(NativeScaling::<tidegate_knative::Knative>::new("knative"))
                as Box<dyn ScalingPolicy>
        };
        let zero = || {
            Box::new(NativeScaling::<tidegate_scale_to_zero::ScaleToZero>::new("scale-to-zero"))
                as Box<dyn ScalingPolicy>
        };
        HeldChain::new(vec![
            Link::new("knative", Box::new(knative)),
            Link::new("scale-to-zero", Box::new(zero)),
        ])
    }

    /// The built-in policies as the components that ship.
    ///
    /// # Errors
    ///
    /// When a component does not load.
    pub fn sandboxed(sandbox: &Sandbox) -> Result<HeldChain, LoadError> {
        let mut links = Vec::new();
        for name in ["knative", "scale-to-zero"] {
            let component = builtin::builtin(name).expect("it is built in");
            let policy = make(sandbox.load_trusted(component)?).expect("both scale");
            links.push(Link::new(name, policy));
        }
        Ok(HeldChain::new(links))
    }

    /// The name of the first stage.
    pub(super) fn first(&self) -> &str {
        &self.links[0].name
    }

    /// The first `count` stages, or all.
    pub(super) fn links(&self, count: usize) -> &[Link] {
        &self.links[..count.min(self.links.len())]
    }
}

impl Link {
    fn new(name: &str, policy: Make) -> Link {
        Link { name: name.to_owned(), settings: serde_json::json!({}), policy }
    }

    /// As a stage of an engine. What would be done where it fails does not matter: nothing is compared then.
    pub(super) fn stage(&self) -> Stage {
        Stage::new(&self.name, (self.policy)(), OnFailure::Hold)
    }
}

/// Policies of a package; `None` where it does not scale.
pub fn make(package: Package) -> Option<Make> {
    package.scaling()?;
    let policy = move || {
        Box::new(package.scaling().expect("it was asked for before")) as Box<dyn ScalingPolicy>
    };
    Some(Box::new(policy))
}
