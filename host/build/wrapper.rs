//! What stands around a core module in a component that is a policy. A policy imports nothing and the contract is fixed, so this is
//! the same bytes for every module: a head, the module, a tail. It is made here once, around a module without code, by the tool that
//! linkers use, so that the program can turn what clang makes into a component without carrying that tool.

use std::path::Path;

use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, MemorySection,
    MemoryType, Module, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldId, WorldItem};

/// The worlds of the contract.
pub(crate) const WORLDS: [&str; 3] = ["scaling-policy", "placement-policy", "policy"];

/// Writes `WORLD.head` and `WORLD.tail` for each world of the contract in `wit`.
pub(crate) fn write(wit: &Path, out: &Path) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let (package, _) =
        resolve.push_path(wit).map_err(|error| format!("cannot read the contract: {error:#}"))?;
    for name in WORLDS {
        let told = |error: String| format!("cannot wrap the world {name}: {error}");
        let world = resolve
            .select_world(&[package], Some(name))
            .map_err(|error| told(format!("{error:#}")))?;
        let (head, tail) = around(&resolve, world).map_err(told)?;
        for (part, bytes) in [("head", head), ("tail", tail)] {
            std::fs::write(out.join(format!("{name}.{part}")), bytes)
                .map_err(|error| told(error.to_string()))?;
        }
    }
    Ok(())
}

/// What stands before and behind the section of the core module.
fn around(resolve: &Resolve, world: WorldId) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut module = empty_module(resolve, world);
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)
        .map_err(|error| format!("{error:#}"))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("{error:#}"))?;
    for payload in Parser::new(0).parse_all(&component) {
        let payload = payload.map_err(|error| error.to_string())?;
        if let Payload::ModuleSection { unchecked_range, .. } = payload {
            // In front of the module: the section's number and its length.
            let mut length = unchecked_range.end - unchecked_range.start;
            let mut begins = unchecked_range.start - 1;
            while length > 0x7f {
                length >>= 7;
                begins -= 1;
            }
            let head = component[..begins - 1].to_vec();
            return Ok((head, component[unchecked_range.end..].to_vec()));
        }
    }
    Err("there is no module in it".to_owned())
}

/// A core module with the exports that a world wants, which do nothing.
fn empty_module(resolve: &Resolve, world: WorldId) -> Vec<u8> {
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    let mut add = |name: &str, params: Vec<ValType>, results: Vec<ValType>| {
        let at = functions.len();
        types.ty().function(params, results);
        functions.function(at);
        exports.export(name, ExportKind::Func, at);
        let mut body = Function::new([]);
        body.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
        code.function(&body);
    };
    add("cabi_realloc", vec![ValType::I32; 4], vec![ValType::I32]);
    for item in resolve.worlds[world].exports.values() {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = resolve.id_of(*id).expect("the contract's interfaces have names");
        for function in resolve.interfaces[*id].functions.values() {
            let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
            let flat = |types: &[WasmType]| types.iter().map(flat).collect();
            let name = format!("{interface}#{}", function.name);
            add(&name, flat(&signature.params), flat(&signature.results));
        }
    }
    exports.export("memory", ExportKind::Memory, 0);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 0,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}

fn flat(of: &WasmType) -> ValType {
    match of {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => ValType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => ValType::I64,
        WasmType::F32 => ValType::F32,
        WasmType::F64 => ValType::F64,
    }
}
