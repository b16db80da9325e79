//! What is checked of a component before anything of it is compiled: that it is one, that it is small enough, that it imports
//! nothing, and that it exports an interface of this host's contract. Every refusal says what to do about it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use wasmparser::component_types::{ComponentEntityType, ComponentInstanceType};
use wasmparser::types::TypesRef;
use wasmparser::{Encoding, KnownCustom, Name, Parser, Payload, TypeRef, Validator, WasmFeatures};

use super::told::{shortened, size};
use super::{CallError, Limits};

/// The interface of policies that scale, as components name it.
pub const SCALING: &str = "tidegate:policy/scaling@0.1.0";
/// The interface of policies that place.
pub const PLACEMENT: &str = "tidegate:policy/placement@0.1.0";

/// What lets a policy print while it is being written.
const DEBUG: &str = "tidegate:policy/debug@";

const PAGE_BYTES: u64 = 64 << 10;
/// An imported interface counts by its functions; this many names are told.
const TOLD_AT_MOST: usize = 3;

/// Why a component is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is longer than a component may be.
    #[error("the component has {}, more than the limit of {}", size(*bytes as u64), size(*limit as u64))]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The file is something else.
    #[error("this is not Wasm: the file {found}")]
    NotWasm {
        /// That it is empty, or what it begins with.
        found: String,
    },
    /// A module without the component model's types around it.
    #[error("this is a core module, not a component")]
    CoreModule,
    /// Wasm that breaks the rules of Wasm.
    #[error("the component is not valid")]
    Invalid {
        /// What the validator says.
        #[source]
        source: wasmparser::BinaryReaderError,
    },
    /// A function whose compilation could take very long.
    #[error("{function} has a body of {}, more than the limit of {}", size(*bytes as u64), size(*limit as u64))]
    FunctionTooLarge {
        /// Its name, or its number where it has none.
        function: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More functions than compile in reasonable time.
    #[error("the component has more than {limit} functions")]
    TooManyFunctions {
        /// The limit.
        limit: u32,
    },
    /// It asks for more memory than there is before it runs at all.
    #[error("the component declares a memory of {}, more than the limit of {}", size(*bytes), size(*limit))]
    MemoryTooLarge {
        /// What it declares.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Several memories.
    #[error("the component declares {count} memories, and {} allowed", if *limit == 1 { "one is".to_owned() } else { format!("{limit} are") })]
    TooManyMemories {
        /// How many.
        count: u32,
        /// The limit.
        limit: u32,
    },
    /// It asks for more table elements than there are.
    #[error("the component declares tables of {elements} elements, more than the limit of {limit}")]
    TablesTooLarge {
        /// All tables' together.
        elements: u64,
        /// The limit.
        limit: u32,
    },
    /// It wants something from the host, and a policy gets nothing.
    #[error("the component imports {}, and a policy imports nothing", listed(functions))]
    Imports {
        /// Imported functions, each with its interface; everything that is imported where there are no functions.
        functions: Vec<String>,
    },
    /// It exports no interface that a policy has.
    #[error("the component exports {}, not {SCALING} or {PLACEMENT}", listed(found))]
    OtherWorld {
        /// What it exports.
        found: Vec<String>,
    },
    /// It was built for another version of the contract.
    #[error("the component exports {found}, and this host serves {expected}")]
    OtherVersion {
        /// The interface that it exports.
        found: String,
        /// The version that is served.
        expected: &'static str,
    },
    /// An interface of the right name with other functions or types.
    #[error("the component's {interface} is not the contract's: {difference}")]
    OtherShape {
        /// The interface.
        interface: &'static str,
        /// The first difference.
        difference: String,
    },
    /// It does not even start.
    #[error("the component does not start")]
    Start {
        /// What happened.
        #[source]
        source: CallError,
    },
    /// It does not compile.
    #[error("the component does not compile: {message}")]
    Compile {
        /// What the compiler says.
        message: String,
    },
    /// Compilation took more than it may.
    #[error("compiling the component took more than {limit}")]
    CompileLimit {
        /// The limit, with its unit.
        limit: String,
    },
    /// Nobody said what compiles components that are not trusted.
    #[error("nothing is set up to compile a component that is not trusted")]
    NoCompiler,
    /// The process that compiles could not be run.
    #[error("cannot run the compiler")]
    Compiler {
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Reads a component file, but no more than a byte beyond what is allowed.
///
/// # Errors
///
/// When it cannot be read.
pub fn read(path: &Path, limits: &Limits) -> io::Result<Vec<u8>> {
    let mut component = Vec::new();
    let most = (limits.package_bytes as u64).saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut component)?;
    Ok(component)
}

impl LoadError {
    /// Whether the file is no component at all, good or bad.
    pub fn is_of_no_component(&self) -> bool {
        matches!(self, LoadError::NotWasm { .. } | LoadError::CoreModule)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            LoadError::TooLarge { .. } => {
                "build with opt-level, lto and strip as `policies/Cargo.toml` does, or raise `limits.packageBytes` in the policies file"
            }
            LoadError::NotWasm { found } if found.contains("`(") => {
                "this is the text format: turn it into a binary with `wasm-tools parse`"
            }
            LoadError::NotWasm { .. } => "give the `.wasm` file that the build left",
            LoadError::CoreModule => {
                "link with `wasm-component-ld`, as in `-C linker=wasm-component-ld`, or wrap the module with `wasm-tools component new`"
            }
            LoadError::Invalid { .. } => "build it again: the file may be cut off or damaged",
            LoadError::FunctionTooLarge { .. } => {
                "split the function, or turn large tables in code into data, or raise `limits.functionBytes` in the policies file"
            }
            LoadError::TooManyFunctions { .. } => {
                "build with lto, so that functions that nothing calls are left out, or raise `limits.functions` in the policies file"
            }
            LoadError::MemoryTooLarge { .. } => {
                "look for large static arrays, or raise `limits.memoryBytes` in the policies file"
            }
            LoadError::TooManyMemories { .. } => {
                "link everything into one module, or raise `limits.memories` in the policies file"
            }
            LoadError::TablesTooLarge { .. } => "raise `limits.tableElements` in the policies file",
            LoadError::Imports { functions }
                if functions.iter().any(|name| name.starts_with(DEBUG)) =>
            {
                "build the policy without debug output, which no command links yet"
            }
            LoadError::Imports { functions } => {
                let is_wasi = functions.iter().any(|name| name.starts_with("wasi:"));
                if is_wasi {
                    "build for wasm32-unknown-unknown, which has no WASI; from C, Python or JavaScript with the options that stub WASI out (`--stub-wasi`)"
                } else {
                    "export one of the worlds of `wit/policy.wit` and import nothing; time and load come as arguments"
                }
            }
            LoadError::OtherWorld { .. } => {
                "export `scaling-policy`, `placement-policy` or `policy` of `wit/policy.wit`"
            }
            LoadError::OtherVersion { .. } => "build against the `wit/policy.wit` of this release",
            LoadError::OtherShape { .. } => {
                "build against the `wit/policy.wit` of this release, unchanged"
            }
            LoadError::Start { .. } => "do less in a start function or a static initialiser",
            LoadError::Compile { .. } | LoadError::NoCompiler | LoadError::Compiler { .. } => {
                return None;
            }
            LoadError::CompileLimit { .. } => {
                "make its largest functions smaller, or raise `limits.compileCpuS` and `limits.compileMemoryBytes` in the policies file"
            }
        };
        Some(hint.to_owned())
    }
}

/// Names joined for a sentence.
pub(super) fn listed(names: &[String]) -> String {
    match names.len() {
        0 => "nothing".to_owned(),
        1..=TOLD_AT_MOST => names.join(", "),
        more => {
            format!("{} and {} more", names[..TOLD_AT_MOST].join(", "), more - TOLD_AT_MOST)
        }
    }
}

/// What a component that passed can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exports {
    pub(super) scaling: bool,
    pub(super) placement: bool,
}

/// Whether a component scales; one that does not places. It is checked for that, and nothing of it is compiled.
///
/// # Errors
///
/// When it is not one that this host can run.
pub fn scales(component: &[u8], limits: &Limits) -> Result<bool, LoadError> {
    check(component, limits).map(|exports| exports.scaling)
}

/// Checks a file that is to become a policy.
pub(super) fn check(bytes: &[u8], limits: &Limits) -> Result<Exports, LoadError> {
    if bytes.len() > limits.package_bytes {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit: limits.package_bytes });
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm { found: beginning(bytes) });
    }
    check_sizes(bytes, limits)?;
    let features = WasmFeatures::default() & !WasmFeatures::RELAXED_SIMD & !WasmFeatures::THREADS;
    let types = Validator::new_with_features(features)
        .validate_all(bytes)
        .map_err(|source| LoadError::Invalid { source })?;
    check_names(bytes, types.as_ref())
}

/// What a file begins with: text if it is.
pub(super) fn beginning(bytes: &[u8]) -> String {
    let first = &bytes[..bytes.len().min(12)];
    match std::str::from_utf8(first) {
        Ok("") => "is empty".to_owned(),
        Ok(text) if text.chars().all(|letter| letter == '\n' || !letter.is_control()) => {
            format!("begins with `{}`", text.trim())
        }
        Ok(_) | Err(_) => {
            let bytes: Vec<String> = first.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("begins with the bytes {}", bytes.join(" "))
        }
    }
}

/// Walks over all sections, those of nested modules too, without looking at code.
fn check_sizes(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let invalid = |source| LoadError::Invalid { source };
    let (mut functions, mut memories, mut elements) = (0_u32, 0_u32, 0_u64);
    // Of the module that is being read: functions so far, and the first one that is too large.
    let mut number = 0_u32;
    let mut large: Option<(u32, usize)> = None;
    let mut name = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(invalid)? {
            Payload::Version { encoding: Encoding::Module, range, .. } => {
                if range.start == 0 {
                    return Err(LoadError::CoreModule);
                }
                number = 0;
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if let TypeRef::Func(_) | TypeRef::FuncExact(_) = import.map_err(invalid)?.ty {
                        number += 1;
                    }
                }
            }
            Payload::MemorySection(declared) => {
                for memory in declared {
                    let memory = memory.map_err(invalid)?;
                    memories += 1;
                    let bytes = memory.initial.saturating_mul(PAGE_BYTES);
                    if bytes > limits.memory_bytes {
                        let limit = limits.memory_bytes;
                        return Err(LoadError::MemoryTooLarge { bytes, limit });
                    }
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    elements = elements.saturating_add(table.map_err(invalid)?.ty.initial);
                }
            }
            Payload::CodeSectionEntry(body) => {
                functions += 1;
                let bytes = body.range().len();
                if bytes > limits.function_bytes && large.is_none() {
                    large = Some((number, bytes));
                }
                number += 1;
            }
            Payload::CustomSection(section) => {
                if let (KnownCustom::Name(names), Some((at, _))) = (section.as_known(), large) {
                    name = name.or_else(|| name_of(names, at));
                }
            }
            Payload::End(_) => {
                if let Some((at, bytes)) = large {
                    let function = match &name {
                        Some(name) => format!("the function {}", shortened(name)),
                        None => format!("function {at}"),
                    };
                    let limit = limits.function_bytes;
                    return Err(LoadError::FunctionTooLarge { function, bytes, limit });
                }
            }
            _ => {}
        }
    }
    if functions > limits.functions {
        return Err(LoadError::TooManyFunctions { limit: limits.functions });
    }
    if memories > limits.memories {
        return Err(LoadError::TooManyMemories { count: memories, limit: limits.memories });
    }
    if elements > u64::from(limits.table_elements) {
        return Err(LoadError::TablesTooLarge { elements, limit: limits.table_elements });
    }
    Ok(())
}

/// The name of a function, from a module's names.
fn name_of(names: wasmparser::NameSectionReader<'_>, function: u32) -> Option<String> {
    let functions = names.into_iter().flatten().find_map(|section| match section {
        Name::Function(functions) => Some(functions),
        _ => None,
    })?;
    let named = functions.into_iter().flatten().find(|named| named.index == function)?;
    Some(named.name.to_owned())
}

/// Looks at what the component itself imports and exports.
fn check_names(bytes: &[u8], types: TypesRef<'_>) -> Result<Exports, LoadError> {
    let mut functions = Vec::new();
    let mut exported = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|source| LoadError::Invalid { source })? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 1 => {
                for import in imports {
                    let name = import.map_err(|source| LoadError::Invalid { source })?.name.name;
                    functions.extend(wanted(name, types));
                }
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                for export in exports {
                    let name = export.map_err(|source| LoadError::Invalid { source })?.name.name;
                    exported.push(name.to_owned());
                }
            }
            _ => {}
        }
    }
    if !functions.is_empty() {
        functions.iter_mut().for_each(|name| *name = shortened(name));
        return Err(LoadError::Imports { functions });
    }
    let served = |interface| exported.iter().filter(move |export| is_served(export, interface));
    let exports = Exports {
        scaling: served(SCALING).next().is_some(),
        placement: served(PLACEMENT).next().is_some(),
    };
    if exports.scaling || exports.placement {
        for (interface, functions) in
            [(SCALING, SCALING_FUNCTIONS), (PLACEMENT, PLACEMENT_FUNCTIONS)]
        {
            for export in served(interface) {
                check_functions(interface, export, functions, types)?;
            }
        }
        return Ok(exports);
    }
    for expected in [SCALING, PLACEMENT] {
        let unversioned = expected.split('@').next().unwrap_or(expected);
        let other = exported.iter().find(|name| {
            name.strip_prefix(unversioned)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        });
        if let Some(found) = other {
            return Err(LoadError::OtherVersion { found: shortened(found), expected });
        }
    }
    exported.iter_mut().for_each(|name| *name = shortened(name));
    Err(LoadError::OtherWorld { found: exported })
}

pub(super) const SCALING_FUNCTIONS: &[&str] =
    &["bind", "init", "decide", "explain", "state-schema", "migrate"];
pub(super) const PLACEMENT_FUNCTIONS: &[&str] =
    &["inputs", "bind", "place", "explain", "rank", "explain-rank"];

/// Whether a component's `export` is `interface` as this host serves it: in any version that differs from its own in the last
/// number only, since such versions differ in words and not in shape. Wasmtime looks exports up by the same rule.
fn is_served(export: &str, interface: &str) -> bool {
    let Some((up_to_minor, _)) = interface.rsplit_once('.') else { return false };
    let patch = export.strip_prefix(up_to_minor).and_then(|rest| rest.strip_prefix('.'));
    patch.is_some_and(|patch| {
        !patch.is_empty() && patch.bytes().all(|letter| letter.is_ascii_digit())
    })
}

fn check_functions(
    interface: &'static str,
    export: &str,
    functions: &[&str],
    types: TypesRef<'_>,
) -> Result<(), LoadError> {
    let difference = |difference| Err(LoadError::OtherShape { interface, difference });
    let Some(instance) =
        types.component_item_for_export(export).and_then(|item| instance_of(item.ty, types))
    else {
        return difference("it is not an interface".to_owned());
    };
    for name in functions {
        let found = instance.exports.get(*name).map(|item| item.ty);
        if !matches!(found, Some(ComponentEntityType::Func(_))) {
            return difference(format!("there is no function `{name}`"));
        }
    }
    Ok(())
}

/// What an import needs of a host: nothing for an interface that has types only.
fn wanted(name: &str, types: TypesRef<'_>) -> Vec<String> {
    let Some(item) = types.component_item_for_import(name) else { return vec![name.to_owned()] };
    if let ComponentEntityType::Type { .. } = item.ty {
        return Vec::new();
    }
    let Some(instance) = instance_of(item.ty, types) else { return vec![name.to_owned()] };
    let mut wanted = Vec::new();
    for (function, item) in &instance.exports {
        match item.ty {
            ComponentEntityType::Type { referenced, .. } => {
                if let wasmparser::component_types::ComponentAnyTypeId::Resource(_) = referenced {
                    wanted.push(format!("{name}#{function}"));
                }
            }
            ComponentEntityType::Func(_)
            | ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Instance(_)
            | ComponentEntityType::Component(_) => wanted.push(format!("{name}#{function}")),
        }
    }
    wanted
}

fn instance_of(ty: ComponentEntityType, types: TypesRef<'_>) -> Option<&ComponentInstanceType> {
    match ty {
        ComponentEntityType::Instance(id) => types.get(id),
        ComponentEntityType::Module(_)
        | ComponentEntityType::Func(_)
        | ComponentEntityType::Value(_)
        | ComponentEntityType::Type { .. }
        | ComponentEntityType::Component(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_served_in_every_version_that_has_its_shape() {
        for (export, is) in [
            ("tidegate:policy/scaling@0.1.0", true),
            ("tidegate:policy/scaling@0.1.7", true),
            ("tidegate:policy/scaling@0.1.12", true),
            ("tidegate:policy/scaling@0.2.0", false),
            ("tidegate:policy/scaling@0.10.0", false),
            ("tidegate:policy/scaling@0.1.", false),
            ("tidegate:policy/scaling@0.1.0-rc.1", false),
            ("tidegate:policy/scaling", false),
            ("tidegate:policy/placement@0.1.0", false),
        ] {
            assert_eq!(is_served(export, SCALING), is, "{export}");
        }
    }
}
