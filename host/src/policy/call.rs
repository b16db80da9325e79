//! One call of a component: a fresh instance, fuel, room, and what went wrong told for people. What was called and what came back
//! is of no interest here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::component::{ComponentExportIndex, Instance};
use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower};
use wasmtime::{ResourceLimiter, Store, Trap, WasmBacktrace};

use super::panic::{self, Frame, Panic};
use super::sandbox::Sandbox;
use super::told::{clean, count, shortened, size};
use super::{CallError, CallErrorKind, Limits};

/// Makes calls of one component. Cheap to clone.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) pre: InstancePre<Room>,
    pub(super) limits: Limits,
    /// The component's file, which is read again where it panics.
    component: Arc<[u8]>,
    /// The most memory that an instance had since that was last asked. Bytes.
    pub(super) most_memory: Arc<AtomicUsize>,
}

/// What a call may take, and what it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    pub(super) fuel: u64,
    pub(super) output_bytes: usize,
    /// Targets or replicas of the call; 0 where it is not about any.
    pub(super) targets: usize,
}

impl Caller {
    pub(super) fn new(sandbox: &Sandbox, pre: InstancePre<Room>, component: &[u8]) -> Caller {
        let most_memory = Arc::default();
        Caller { pre, limits: sandbox.limits.clone(), component: component.into(), most_memory }
    }

    /// The place of a function of an interface, which was checked to be there.
    pub(super) fn function(&self, interface: &str, name: &str) -> ComponentExportIndex {
        let component = self.pre.component();
        let interface = component.get_export_index(None, interface);
        component
            .get_export_index(interface.as_ref(), name)
            .expect("a component without the contract's functions is not loaded")
    }

    /// A fresh instance with that much fuel, of which its start function takes the first.
    pub(super) fn start(&self, fuel: u64) -> Result<(Store<Room>, Instance), CallError> {
        let allowance = Allowance { fuel, output_bytes: 0, targets: 0 };
        let mut store = self.store(allowance);
        let instance =
            self.pre.instantiate(&mut store).map_err(|error| self.told(&error, allowance))?;
        Ok((store, instance))
    }

    /// Calls a function in a fresh instance. Gives the fuel that it took as well.
    pub(super) fn call<P, R>(
        &self,
        function: &ComponentExportIndex,
        params: P,
        allowance: Allowance,
    ) -> (Result<R, CallError>, u64)
    where
        P: ComponentNamedList + Lower,
        (R,): ComponentNamedList + Lift + 'static,
        R: Lift + Send + Sync + 'static,
    {
        let mut store = self.store(allowance);
        let called = self.pre.instantiate(&mut store).and_then(|instance| {
            let function = instance.get_typed_func::<P, (R,)>(&mut store, function)?;
            function.call(&mut store, params)
        });
        let left = store.get_fuel().expect("fuel is on");
        self.most_memory.fetch_max(store.data().memory_taken, Ordering::Relaxed);
        let result = called.map(|(result,)| result).map_err(|error| self.told(&error, allowance));
        (result, allowance.fuel.saturating_sub(left))
    }

    fn store(&self, allowance: Allowance) -> Store<Room> {
        let room = Room {
            memory_bytes: usize::try_from(self.limits.memory_bytes).unwrap_or(usize::MAX),
            memory_taken: 0,
            table_elements: self.limits.table_elements as usize,
        };
        let mut store = Store::new(self.pre.engine(), room);
        store.limiter(|room| room);
        store.set_fuel(allowance.fuel).expect("fuel is on");
        store.set_hostcall_fuel(allowance.output_bytes);
        store
    }

    /// What went wrong, as a sentence.
    fn told(&self, error: &wasmtime::Error, allowance: Allowance) -> CallError {
        let (kind, message) = self.kind_and_message(error, allowance);
        CallError { kind, culprits: Vec::new(), message }
    }

    fn kind_and_message(
        &self,
        error: &wasmtime::Error,
        allowance: Allowance,
    ) -> (CallErrorKind, String) {
        use CallErrorKind::{Malformed, OutOfFuel, OutOfSpace, OutOfTime, Trapped};
        if let Some(full) = error.downcast_ref::<Full>() {
            return (OutOfSpace, full.to_string());
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return match trap {
                Trap::OutOfFuel => {
                    // A part of a batch gets a share, and how much depends on what was tried before.
                    let place = place_in(error);
                    let fuel = if allowance.fuel < self.limits.fuel(allowance.targets) {
                        "its share of the fuel".to_owned()
                    } else {
                        format!("its fuel of {}", count(allowance.fuel))
                    };
                    let work = match allowance.targets {
                        0 => "too much work for one call".to_owned(),
                        1 => "too much work for one target".to_owned(),
                        targets => format!("too much work for a batch of {targets} targets"),
                    };
                    (OutOfFuel, format!("it used up {fuel}{place}: an endless loop, or {work}"))
                }
                Trap::Interrupt => (OutOfTime, "it ran for too long".to_owned()),
                Trap::StackOverflow => {
                    let limit = size(self.limits.stack_bytes as u64);
                    (
                        OutOfSpace,
                        format!("its stack grew over {limit}: endless recursion, or very deep"),
                    )
                }
                Trap::UnreachableCodeReached => (Trapped, self.panicked(error)),
                // A stack that a language keeps in memory runs out like this.
                Trap::MemoryOutOfBounds => {
                    let place = place_in(error);
                    (Trapped, format!("it left its memory, or recursed without end,{place}"))
                }
                other => (
                    Trapped,
                    format!("it did what no code may{}: {}", place_in(error), trap_text(*other)),
                ),
            };
        }
        let cause = error.root_cause().to_string();
        if cause.contains("fuel allocated for hostcalls") {
            let limit = size(allowance.output_bytes as u64);
            return (OutOfSpace, format!("its answer is larger than {limit}"));
        }
        (Malformed, format!("its answer cannot be read: {cause}"))
    }

    /// What is known of a panic: the function always, where names were kept; file, line and message where they can be found.
    fn panicked(&self, error: &wasmtime::Error) -> String {
        let frames = frames_of(error);
        let function = place_in(error);
        let is_panic = frames.iter().any(|frame| frame.name.starts_with("core::panicking::"));
        match panic::find(&self.component, &frames).filter(|_| is_panic) {
            Some(Panic { place, message }) => {
                let message = message.map(|message| format!(": {message}")).unwrap_or_default();
                clean(format!("it panicked{function} at {place}{message}"))
            }
            None if is_panic => format!("it panicked{function}"),
            None => format!("it panicked or gave up on purpose{function}"),
        }
    }
}

/// The functions that were running, the innermost first.
fn frames_of(error: &wasmtime::Error) -> Vec<Frame> {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let frame = |frame: &wasmtime::FrameInfo| {
        let name = frame.func_name().unwrap_or_default();
        let name = format!("{:#}", rustc_demangle::demangle(name));
        Some(Frame { offset: frame.module_offset()?, name })
    };
    frames.iter().filter_map(frame).collect()
}

/// wasmtime's words for a trap, without what every one of them begins with.
fn trap_text(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}

/// ` in NAME`: the innermost function of the policy's own, where names were kept; where all of it became part of the SDK's code, the
/// function of the contract that was called.
fn place_in(error: &wasmtime::Error) -> String {
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames);
    let names: Vec<String> = frames
        .iter()
        .filter_map(|frame| frame.func_name())
        // Without the hash at its end.
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .filter(|name| !is_of_the_language(name))
        .collect();
    let own = names.iter().find(|name| !is_of_the_sdk(name)).map(|name| without_trait(name));
    let called = || names.iter().find_map(|name| exported(name));
    let told = own.or_else(called).or_else(|| names.first().map(|name| without_trait(name)));
    told.map(|name| format!(" in `{}`", shortened(&name))).unwrap_or_default()
}

/// `decide` for what exports it from a component, whatever made that.
fn exported(name: &str) -> Option<String> {
    let generated = || name.rsplit_once("_export_")?.1.strip_suffix("_cabi");
    let name = name.rsplit_once('#').map(|(_, name)| name).or_else(generated)?;
    Some(name.replace('_', "-"))
}

/// `Policy::decide` for `<Policy as path::of::Trait>::decide`.
fn without_trait(name: &str) -> String {
    let Some(inner) = name.strip_prefix('<') else { return name.to_owned() };
    let mut depth = 1;
    let closes = |(_, letter): &(usize, char)| {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        depth == 0
    };
    let Some((end, _)) = inner.char_indices().find(closes) else { return name.to_owned() };
    let implementor = inner[..end].split(" as ").next().unwrap_or_default();
    format!("{implementor}{}", &inner[end + 1..])
}

/// Whether a function is Rust's own, through which every panic goes.
fn is_of_the_language(name: &str) -> bool {
    let path = name.trim_start_matches(['<', '_']);
    ["core::", "alloc::", "std::", "rustc", "rust_"].iter().any(|own| path.starts_with(own))
}

/// Whether a function is one of the SDK, or an export that was made for it.
fn is_of_the_sdk(name: &str) -> bool {
    let path = name.trim_start_matches('<');
    path.starts_with("tidegate_policy::") || exported(name).is_some()
}

/// How much room an instance has. Growing beyond it ends the call: a policy that goes on without what it asked for would only
/// fail in a way that is harder to read.
pub(super) struct Room {
    /// Of all memories together.
    memory_bytes: usize,
    memory_taken: usize,
    table_elements: usize,
}

/// Something that is full.
#[derive(Debug, thiserror::Error)]
enum Full {
    #[error("it wants {} of memory, more than the limit of {}", size(*bytes as u64), size(*limit as u64))]
    Memory { bytes: usize, limit: usize },
    #[error("it wants a table of {elements} elements, more than the limit of {limit}")]
    Table { elements: usize, limit: usize },
}

impl ResourceLimiter for Room {
    fn memory_growing(
        &mut self,
        current: usize,
        bytes: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.memory_bytes;
        let taken = self.memory_taken.saturating_sub(current).saturating_add(bytes);
        if taken > limit {
            return Err(Full::Memory { bytes: taken, limit }.into());
        }
        // Beyond what a memory may grow to by its own words, it does not grow.
        if maximum.is_none_or(|maximum| bytes <= maximum) {
            self.memory_taken = taken;
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        elements: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.table_elements;
        if elements > limit { Err(Full::Table { elements, limit }.into()) } else { Ok(true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_as_their_author_knows_them() {
        for (name, told) in [
            ("start", "start"),
            ("office_hours::decide", "office_hours::decide"),
            (
                "<office_hours::Hours as tidegate_policy::Scaling>::decide",
                "office_hours::Hours::decide",
            ),
            ("<a::B<C> as d::E<F>>::g", "a::B<C>::g"),
            ("<a::B>::c", "a::B::c"),
            ("<unfinished", "<unfinished"),
        ] {
            assert_eq!(without_trait(name), told);
        }
        for (name, told) in [
            ("tidegate:policy/scaling@0.1.0#decide", Some("decide")),
            (
                "tidegate_policy::bindings::exports::scaling::_export_state_schema_cabi",
                Some("state-schema"),
            ),
            ("tidegate_policy::native::run", None),
        ] {
            assert_eq!(exported(name).as_deref(), told);
            assert!(is_of_the_sdk(name));
        }
        assert!(!is_of_the_sdk("surge::Policy::decide"));
        assert!(is_of_the_language("core::panicking::panic_fmt"));
        assert!(is_of_the_language("<alloc::vec::Vec<T> as core::ops::Drop>::drop"));
        assert!(is_of_the_language("__rustc::rust_begin_unwind"));
        assert!(!is_of_the_language("corridor::decide"));
    }
}
