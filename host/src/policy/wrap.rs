//! Makes a component of a core module, so that whoever writes a policy in C needs a compiler and this program. A policy imports
//! nothing and the contract is fixed, so what stands around the module is the same for every one (`host/build/wrapper.rs` makes it).

use std::collections::BTreeMap;

use wasmparser::{Encoding, ExternalKind, Parser, Payload, Validator, WasmFeatures};

use super::load::{PLACEMENT, PLACEMENT_FUNCTIONS, SCALING, SCALING_FUNCTIONS, beginning, listed};

/// What stands before and behind the module, of one world.
struct Wrapper {
    head: &'static [u8],
    tail: &'static [u8],
}

macro_rules! wrapper {
    ($world:literal) => {
        Wrapper {
            head: include_bytes!(concat!(env!("OUT_DIR"), "/", $world, ".head")),
            tail: include_bytes!(concat!(env!("OUT_DIR"), "/", $world, ".tail")),
        }
    };
}

const SCALES: Wrapper = wrapper!("scaling-policy");
const PLACES: Wrapper = wrapper!("placement-policy");
const BOTH: Wrapper = wrapper!("policy");

/// The number of the section that holds a core module in a component.
const CORE_MODULE: u8 = 1;

/// A file that does not become a component.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The file is something else.
    #[error("this is not Wasm: the file {found}")]
    NotWasm {
        /// That it is empty, or what it begins with.
        found: String,
    },
    /// There is nothing to do.
    #[error("this is a component already")]
    Component,
    /// Wasm that breaks the rules of Wasm.
    #[error("the module is not valid")]
    Invalid {
        /// What the validator says.
        #[source]
        source: wasmparser::BinaryReaderError,
    },
    /// It wants something from outside.
    #[error("the module imports {}, and a policy imports nothing", listed(imports))]
    Imports {
        /// Module and name of each import.
        imports: Vec<String>,
    },
    /// It has none of the contract's functions.
    #[error("the module exports none of the functions of {SCALING} or {PLACEMENT}")]
    OtherWorld,
    /// It lacks some of what its world must have.
    #[error("the module does not export {}", listed(missing))]
    Missing {
        /// The names of what is missing.
        missing: Vec<String>,
    },
    /// A function of the contract that takes or gives something else.
    #[error("a function of the module has another type than the contract")]
    OtherShape {
        /// What the validator says.
        #[source]
        source: wasmparser::BinaryReaderError,
    },
}

impl WrapError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            WrapError::NotWasm { .. } => Some("give the file that clang and wasm-ld left"),
            WrapError::Component | WrapError::Invalid { .. } => None,
            WrapError::Imports { imports }
                if imports.iter().any(|name| name.starts_with("wasi")) =>
            {
                Some("build for `--target=wasm32` with `-nostdlib`: a policy has no WASI")
            }
            WrapError::Imports { .. } => Some(
                "link with everything that it calls; `wasm-ld` without `--allow-undefined` names what is not there",
            ),
            WrapError::OtherWorld | WrapError::Missing { .. } => Some(
                "end the policy with `TG_SCALING(…)` of `tidegate.h`, which exports all of it, and link with `--no-entry`",
            ),
            WrapError::OtherShape { .. } => Some(
                "build with the `tidegate.h` of this release, or to the canonical ABI of `wit/policy.wit`",
            ),
        }
    }
}

/// The component around a core module that exports the functions of one world of the contract by the names of the canonical ABI,
/// as `tidegate:policy/scaling@0.1.0#decide`, and with them `memory` and `cabi_realloc`. The module's bytes are in it as they are.
///
/// # Errors
///
/// When it is not such a module, with what to change.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, WrapError> {
    if !module.starts_with(b"\0asm") {
        return Err(WrapError::NotWasm { found: beginning(module) });
    }
    let (imports, exports) = names(module)?;
    validate(module).map_err(|source| WrapError::Invalid { source })?;
    if !imports.is_empty() {
        return Err(WrapError::Imports { imports });
    }
    let wanted = |interface: &str, functions: &[&str]| -> Vec<(String, ExternalKind)> {
        let name = |function: &&str| (format!("{interface}#{function}"), ExternalKind::Func);
        functions.iter().map(name).collect()
    };
    let (scaling, placement) =
        (wanted(SCALING, SCALING_FUNCTIONS), wanted(PLACEMENT, PLACEMENT_FUNCTIONS));
    let has = |functions: &[(String, ExternalKind)]| {
        functions.iter().any(|(name, _)| exports.contains_key(name))
    };
    let (wrapper, mut needed) = match (has(&scaling), has(&placement)) {
        (true, true) => (BOTH, [scaling, placement].concat()),
        (true, false) => (SCALES, scaling),
        (false, true) => (PLACES, placement),
        (false, false) => return Err(WrapError::OtherWorld),
    };
    needed.push(("memory".to_owned(), ExternalKind::Memory));
    needed.push(("cabi_realloc".to_owned(), ExternalKind::Func));
    let is_missing = |(name, kind): &(String, ExternalKind)| exports.get(name) != Some(kind);
    let missing: Vec<String> =
        needed.into_iter().filter(is_missing).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        return Err(WrapError::Missing { missing });
    }
    let mut component = wrapper.head.to_vec();
    component.push(CORE_MODULE);
    push_length(&mut component, module.len());
    component.extend_from_slice(module);
    component.extend_from_slice(wrapper.tail);
    validate(&component).map_err(|source| WrapError::OtherShape { source })?;
    Ok(component)
}

/// What a module imports, and what it exports under which name.
fn names(module: &[u8]) -> Result<(Vec<String>, BTreeMap<String, ExternalKind>), WrapError> {
    let invalid = |source| WrapError::Invalid { source };
    let (mut imports, mut exports) = (Vec::new(), BTreeMap::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Component, .. } => {
                return Err(WrapError::Component);
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    imports.push(format!("{}.{}", import.module, import.name));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    exports.insert(export.name.to_owned(), export.kind);
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn validate(bytes: &[u8]) -> Result<(), wasmparser::BinaryReaderError> {
    Validator::new_with_features(WasmFeatures::default()).validate_all(bytes).map(|_| ())
}

/// A length as Wasm writes it: seven bits a byte, the lowest first.
fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, load};
    use super::*;

    /// What is said of a module in the text format, with all functions of scaling but the one that is `left_out`.
    fn told(imports: &str, left_out: &str, decide: &str) -> String {
        let mut text = format!("(module {imports} (memory (export \"memory\") 1)");
        let pointer = "(result i32)";
        for (name, signature) in [
            ("cabi_realloc", "(param i32 i32 i32 i32) (result i32)".to_owned()),
            ("bind", format!("(param i32 i32) {pointer}")),
            ("init", format!("(param i64 i32 i32 i32 i32 i32 i32) {pointer}")),
            ("decide", decide.to_owned()),
            ("explain", format!("(param i32) {pointer}")),
            ("state-schema", pointer.to_owned()),
            ("migrate", format!("(param i64 {}) {pointer}", "i32 ".repeat(12))),
        ] {
            if name == left_out {
                continue;
            }
            let export = match name {
                "cabi_realloc" => name.to_owned(),
                name => format!("{SCALING}#{name}"),
            };
            text += &format!("(func (export \"{export}\") {signature} unreachable)");
        }
        let module = wat::parse_str(text + ")").expect("it parses");
        match componentize(&module) {
            Ok(component) => {
                let exports = load::check(&component, &Limits::default()).expect("a policy");
                format!("a policy, scales: {}, places: {}", exports.scaling, exports.placement)
            }
            Err(error) => {
                let source = std::error::Error::source(&error);
                let source = source.map(|source| format!(": {source}")).unwrap_or_default();
                format!("{error}{}", source.split(" (at").next().unwrap_or_default())
            }
        }
    }

    #[test]
    fn a_module_becomes_a_component_or_it_is_told_what_it_lacks() {
        let decide = "(param i32) (result i32)";
        let none = "";
        let printf = "(import \"env\" \"printf\" (func))";
        for (imports, left_out, decide, expected) in [
            (none, none, decide, "a policy, scales: true, places: false"),
            (
                none,
                "migrate",
                decide,
                "the module does not export tidegate:policy/scaling@0.1.0#migrate",
            ),
            (none, "cabi_realloc", decide, "the module does not export cabi_realloc"),
            (printf, none, decide, "the module imports env.printf, and a policy imports nothing"),
            (
                none,
                none,
                "(param i64) (result i32)",
                "a function of the module has another type than the contract: lowered parameter types `[I32]` do not match parameter types `[I64]` of core function 3",
            ),
        ] {
            assert_eq!(told(imports, left_out, decide), expected);
        }
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(matches!(componentize(b"int main"), Err(WrapError::NotWasm { .. })));
        assert!(matches!(componentize(b""), Err(WrapError::NotWasm { .. })));
        let module = wat::parse_str("(module)").expect("it parses");
        assert!(matches!(componentize(&module), Err(WrapError::OtherWorld)));
        assert!(matches!(componentize(&module[..6]), Err(WrapError::Invalid { .. })));
        let component = wat::parse_str("(component)").expect("it parses");
        assert!(matches!(componentize(&component), Err(WrapError::Component)));
    }
}
