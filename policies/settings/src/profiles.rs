//! The built-in profiles: ConfigMaps by name.

use std::collections::BTreeMap;

/// A ConfigMap with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its keys and values; the rest is Knative's default.
    pub settings: &'static [(&'static str, &'static str)],
}

/// The built-in profiles.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "knative", about: "Knative's defaults", settings: &[] },
    Profile {
        name: "gpu",
        about: "values for GPU inference that CoreWeave publishes in its documentation, August 2026",
        settings: &[
            ("stable-window", "180s"),
            ("panic-window-percentage", "13.0"),
            ("panic-threshold-percentage", "200"),
            ("container-concurrency-target-percentage", "85"),
            ("max-scale-up-rate", "20"),
            ("max-scale-down-rate", "1.1"),
            ("scale-down-delay", "60s"),
            ("scale-to-zero-grace-period", "60s"),
            ("scale-to-zero-pod-retention-period", "30m"),
        ],
    },
    Profile {
        name: "gpu-2021",
        about: "an older published tuning for GPU inference, with a tick of 15 s",
        settings: &[
            ("tick-interval", "15s"),
            ("stable-window", "180s"),
            ("panic-window-percentage", "10"),
            ("container-concurrency-target-percentage", "90"),
            ("max-scale-up-rate", "1.5"),
            ("max-scale-down-rate", "1.01"),
            ("scale-to-zero-pod-retention-period", "30m"),
        ],
    },
];

/// The built-in profile of that name.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

impl Profile {
    /// As a ConfigMap.
    pub fn config(&self) -> BTreeMap<String, String> {
        self.settings.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }
}
