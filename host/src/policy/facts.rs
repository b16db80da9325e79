//! What a component says of itself without being run: what it exports, how large it is, who made it.

use serde::Serialize;
use wasmparser::{Encoding, KnownCustom, Name, Parser, Payload, TypeRef};

use super::load::{self, LoadError};
use super::told::{clean, shortened};
use super::{Limits, digest_of};

/// Facts about a component that may be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The world of `wit/policy.wit` that it is of.
    pub world: &'static str,
    /// The interfaces that it exports, with their versions.
    pub exports: Vec<String>,
    /// What it imports: nothing, or it could not be loaded.
    pub imports: Vec<String>,
    /// Functions with a body, in all its modules.
    pub functions: u32,
    /// The largest of them.
    pub largest_function: Option<LargestFunction>,
    /// Bytes of memory that it begins with.
    pub memory_bytes: u64,
    /// What it was made with, as the programs wrote that down.
    pub made_by: Vec<Maker>,
    /// Its custom sections, by name, each with all their bytes together.
    pub custom_sections: Vec<CustomSection>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LargestFunction {
    /// As its author wrote it, or its number where no names were kept.
    pub name: String,
    /// Bytes of its body.
    pub bytes: u64,
}

/// A language or a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Maker {
    /// `language`, `processed-by` or `sdk`.
    pub field: String,
    /// Its name.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
}

/// Custom sections of one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomSection {
    /// Their name.
    pub name: String,
    /// All their bytes.
    pub bytes: u64,
}

impl Facts {
    /// Checks a component as it is checked when it is loaded, and reads what it says of itself.
    ///
    /// # Errors
    ///
    /// When it could not be loaded within these limits.
    pub fn of(component: &[u8], limits: &Limits) -> Result<Facts, LoadError> {
        let exports = load::check(component, limits)?;
        let world = match (exports.scaling, exports.placement) {
            (true, true) => "policy",
            (true, false) => "scaling-policy",
            (false, _) => "placement-policy",
        };
        let mut facts = Facts {
            digest: digest_of(component),
            size_bytes: component.len() as u64,
            world,
            exports: Vec::new(),
            imports: Vec::new(),
            functions: 0,
            largest_function: None,
            memory_bytes: 0,
            made_by: Vec::new(),
            custom_sections: Vec::new(),
        };
        facts.read(component).map_err(|source| LoadError::Invalid { source })?;
        facts.made_by.sort();
        facts.made_by.dedup();
        facts.custom_sections.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(facts)
    }

    fn read(&mut self, component: &[u8]) -> Result<(), wasmparser::BinaryReaderError> {
        // Of the module that is being read: functions so far, and the largest.
        let (mut number, mut largest) = (0_u32, None::<(u32, u64)>);
        let mut name = None;
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(component) {
            match payload? {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if encoding == Encoding::Module {
                        (number, largest, name) = (0, None, None);
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        self.exports.push(clean(export?.name.name.to_owned()));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        if let TypeRef::Func(_) | TypeRef::FuncExact(_) = import?.ty {
                            number += 1;
                        }
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let pages = memory?.initial;
                        self.memory_bytes = self.memory_bytes.saturating_add(pages << 16);
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    self.functions += 1;
                    let bytes = body.range().len() as u64;
                    if largest.is_none_or(|(_, most)| bytes > most) {
                        largest = Some((number, bytes));
                    }
                    number += 1;
                }
                Payload::CustomSection(section) => {
                    self.add(&section);
                    if let (KnownCustom::Name(names), Some((at, _))) = (section.as_known(), largest)
                    {
                        name = name.or_else(|| name_of(names, at));
                    }
                }
                Payload::End(_) => {
                    depth -= 1;
                    if let Some((at, bytes)) = largest.take()
                        && self.largest_function.as_ref().is_none_or(|known| bytes > known.bytes)
                    {
                        let name = name.take().unwrap_or_else(|| format!("function {at}"));
                        self.largest_function = Some(LargestFunction { name, bytes });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, section: &wasmparser::CustomSectionReader<'_>) {
        let (name, bytes) = (shortened(section.name()), section.data().len() as u64);
        match self.custom_sections.iter_mut().find(|known| known.name == name) {
            Some(known) => known.bytes += bytes,
            None => self.custom_sections.push(CustomSection { name, bytes }),
        }
        let KnownCustom::Producers(fields) = section.as_known() else { return };
        for field in fields.into_iter().flatten() {
            for value in field.values.into_iter().flatten() {
                self.made_by.push(Maker {
                    field: shortened(field.name),
                    name: shortened(value.name),
                    version: shortened(value.version),
                });
            }
        }
    }
}

/// The name of a function, as its author wrote it, from a module's names.
fn name_of(names: wasmparser::NameSectionReader<'_>, function: u32) -> Option<String> {
    let functions = names.into_iter().flatten().find_map(|section| match section {
        Name::Function(functions) => Some(functions),
        _ => None,
    })?;
    let named = functions.into_iter().flatten().find(|named| named.index == function)?;
    Some(shortened(&format!("{:#}", rustc_demangle::demangle(named.name))))
}
