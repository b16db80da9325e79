//! Where components run: one configuration of wasmtime for all of them, and [`Package`]s, which are components that were checked,
//! compiled and linked. How a call is made is in `call`, how machine code comes about in `compile`.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy,
};

use super::call::{Caller, Room};
use super::component::ComponentScaling;
use super::load::{self, LoadError, PLACEMENT, SCALING};
use super::places::ComponentPlacement;
use super::wire::{placement, scaling};
use super::{CallError, Limits, compile};

/// Instances alive at once in one sandbox. A policy's calls come one after the other, so this is about how many policies are
/// asked at the same time.
const SLOTS: u32 = 16;
/// Modules of one component for each memory that it may have, adapters of its linker included.
const MODULES: u32 = 8;
/// Memory of a slot that is wiped rather than given back. A batch of a thousand fits; with much more, wiping costs more than
/// it spares (measured: 18 µs for a fresh batch of one, 60 µs with 1 MiB).
const KEPT_RESIDENT: usize = 128 << 10;

/// Runs components within limits. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Sandbox {
    pub(super) engine: Engine,
    pub(super) limits: Limits,
    compiler: Compiler,
    cache: Option<PathBuf>,
}

/// Where what is not trusted is compiled.
#[derive(Clone, Debug)]
enum Compiler {
    /// Nobody said: it is not compiled.
    Unset,
    /// By this program, called with [`compile::SUBCOMMAND`].
    Child(PathBuf),
    /// In this process.
    Here,
}

/// A sandbox that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the sandbox for policies: {message}")]
pub struct SandboxError {
    message: String,
}

impl Sandbox {
    /// A sandbox with these limits. To load what is not trusted, say with [`Sandbox::with_compiler`] or [`Sandbox::in_process`]
    /// where that is compiled.
    pub fn new(limits: Limits) -> Result<Sandbox, SandboxError> {
        let engine = Engine::new(&config(&limits, &Slots::Pooled))
            // An address space that is limited from outside has no room for the pool.
            .or_else(|_| Engine::new(&config(&limits, &Slots::OnDemand)))
            .map_err(|error| SandboxError { message: format!("{error:#}") })?;
        Ok(Sandbox { engine, limits, compiler: Compiler::Unset, cache: None })
    }

    /// Components that are not trusted are compiled by `program`, called as `program __compile`.
    pub fn with_compiler(self, program: &Path) -> Sandbox {
        Sandbox { compiler: Compiler::Child(program.to_owned()), ..self }
    }

    /// Components that are not trusted are compiled in this process, where nothing limits what that takes: for components that
    /// whoever calls this has made, as tests do.
    pub fn in_process(self) -> Sandbox {
        Sandbox { compiler: Compiler::Here, ..self }
    }

    /// Machine code is kept in `folder`, which is made if it is not there. What lies in it is run as it is, so only this user
    /// may write to it: a folder that others can write to is not used.
    pub fn with_cache(self, folder: &Path) -> Sandbox {
        Sandbox { cache: Some(folder.to_owned()), ..self }
    }

    /// One with other limits that compiles and keeps as this one does.
    ///
    /// # Errors
    ///
    /// As those of [`Sandbox::new`].
    pub fn within(&self, limits: &Limits) -> Result<Sandbox, SandboxError> {
        let engine = match self.limits.has_room_of(limits) {
            true => self.engine.clone(),
            false => Sandbox::new(limits.clone())?.engine,
        };
        let (compiler, cache) = (self.compiler.clone(), self.cache.clone());
        Ok(Sandbox { engine, limits: limits.clone(), compiler, cache })
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks, compiles and starts a component.
    ///
    /// # Errors
    ///
    /// When it is not one that this host can run, or takes more than it may; [`LoadError::NoCompiler`] where nobody said what
    /// compiles it.
    pub fn load(&self, component: &[u8]) -> Result<Package, LoadError> {
        self.load_by(component, &self.compiler)
    }

    /// The same for one of this program's own components, which is compiled in this process.
    pub fn load_trusted(&self, component: &[u8]) -> Result<Package, LoadError> {
        self.load_by(component, &Compiler::Here)
    }

    fn load_by(&self, bytes: &[u8], compiler: &Compiler) -> Result<Package, LoadError> {
        let digest = digest_of(bytes);
        // Machine code is there only for what was checked before it was compiled, but checking costs little.
        let exports = load::check(bytes, &self.limits)?;
        let component = self.compiled(&digest, bytes, compiler)?;
        let pre = Linker::<Room>::new(&self.engine)
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Compile { message: format!("{error:#}") })?;
        let caller = Caller::new(self, pre, bytes);
        // Starting it once checks the types of its functions, and that its start function comes to an end.
        let (mut store, instance) = caller
            .start(self.limits.fuel_of_rare_calls)
            .map_err(|source| LoadError::Start { source })?;
        let differs = |interface| {
            move |error: wasmtime::Error| LoadError::OtherShape {
                interface,
                difference: format!("{error:#}"),
            }
        };
        if exports.scaling {
            scaling::GuestIndices::new(&caller.pre)
                .and_then(|functions| functions.load(&mut store, &instance))
                .map_err(differs(SCALING))?;
        }
        if exports.placement {
            placement::GuestIndices::new(&caller.pre)
                .and_then(|functions| functions.load(&mut store, &instance))
                .map_err(differs(PLACEMENT))?;
        }
        Ok(Package { digest, exports, caller })
    }

    /// Machine code from the cache, or else compiled and put there.
    fn compiled(
        &self,
        digest: &str,
        bytes: &[u8],
        compiler: &Compiler,
    ) -> Result<Component, LoadError> {
        let cache =
            self.cache.as_deref().and_then(|folder| compile::Cache::open(folder, &self.engine));
        if let Some(code) = cache.as_ref().and_then(|cache| cache.read(digest))
            && let Ok(component) = compile::adopt(&self.engine, &code)
        {
            return Ok(component);
        }
        let code = match compiler {
            Compiler::Unset => return Err(LoadError::NoCompiler),
            Compiler::Child(program) => compile::in_child(program, bytes, &self.limits)?,
            Compiler::Here if cache.is_none() => {
                return Component::from_binary(&self.engine, bytes)
                    .map_err(|error| LoadError::Compile { message: format!("{error:#}") });
            }
            Compiler::Here => compile::here(&self.engine, bytes)?,
        };
        if let Some(cache) = cache {
            cache.write(digest, &code);
        }
        compile::adopt(&self.engine, &code)
            .map_err(|error| LoadError::Compile { message: format!("{error:#}") })
    }
}

/// A component that was checked, compiled and linked. Policies are made from it, as many as are wanted.
pub struct Package {
    digest: String,
    exports: load::Exports,
    caller: Caller,
}

impl Package {
    /// `sha256:…` of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it may take.
    pub fn limits(&self) -> &Limits {
        &self.caller.limits
    }

    /// Makes a fresh instance, as every call does, and drops it.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn instance(&self) -> Result<(), CallError> {
        self.caller.start(self.limits().fuel_of_rare_calls).map(|_| ())
    }

    /// The most memory that an instance had in a call of any policy made from this package, since this was last asked. Bytes.
    pub fn take_most_memory(&self) -> u64 {
        self.caller.most_memory.swap(0, Ordering::Relaxed) as u64
    }

    /// The scaling policy, if it is one.
    pub fn scaling(&self) -> Option<ComponentScaling> {
        self.exports.scaling.then(|| ComponentScaling::new(&self.digest, self.caller.clone()))
    }

    /// The placement policy, if it is one.
    pub fn placement(&self) -> Option<ComponentPlacement> {
        self.exports.placement.then(|| ComponentPlacement::new(&self.digest, self.caller.clone()))
    }
}

/// How a component is named: `sha256:` and the digest of its bytes.
pub fn digest_of(component: &[u8]) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(component) {
        digest.push_str(&format!("{byte:02x}"));
    }
    digest
}

/// Where instances get their memory.
pub(super) enum Slots {
    /// From slots that are set up once.
    Pooled,
    /// From the system, each time.
    OnDemand,
}

/// The one configuration. Everything that could make two hosts differ is fixed here; see also `docs` of wasmtime on
/// deterministic execution.
pub(super) fn config(limits: &Limits, slots: &Slots) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .consume_fuel(true)
        .max_wasm_stack(limits.stack_bytes)
        .wasm_relaxed_simd(false)
        // Calls between a component's parts copy from one memory to another.
        .wasm_multi_memory(limits.memories > 1)
        .wasm_memory64(false);
    if let Slots::Pooled = slots {
        let memories = limits.memories.max(1);
        let modules = MODULES.saturating_mul(memories);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(SLOTS)
            .total_core_instances(SLOTS.saturating_mul(modules))
            .max_core_instances_per_component(modules)
            .total_memories(SLOTS.saturating_mul(memories))
            .max_memories_per_component(memories)
            .max_memory_size(usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX))
            .total_tables(SLOTS.saturating_mul(modules))
            .max_tables_per_component(modules)
            .table_elements(limits.table_elements as usize)
            .max_unused_warm_slots(SLOTS)
            .linear_memory_keep_resident(KEPT_RESIDENT)
            .table_keep_resident(KEPT_RESIDENT)
            .pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}
