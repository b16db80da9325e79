//! The policies that this program carries, as components: what runs where a file of policies names one of them.

/// Names and components.
const BUILT_IN: [(&str, &[u8]); 3] = [
    ("knative", include_bytes!(concat!(env!("OUT_DIR"), "/knative.wasm"))),
    ("scale-to-zero", include_bytes!(concat!(env!("OUT_DIR"), "/scale-to-zero.wasm"))),
    ("affinity", include_bytes!(concat!(env!("OUT_DIR"), "/affinity.wasm"))),
];

/// The component of that name.
pub fn builtin(name: &str) -> Option<&'static [u8]> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

/// The names of all of them: scaling first, in the order of the default chain.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}
