//! Where and why a policy written in Rust panicked, although it has nobody to tell: it imports nothing, and a panic ends in a bare trap.
//!
//! But the code that panics loads the place in the source (`core::panic::Location`), and often the message, as constants right in front
//! of the call that never returns, and both lie in the component's data. So they are read from the component, once it has trapped;
//! decisions cost nothing for it. Nothing that is read is trusted: what does not look like a place is none.

use wasmparser::{DataKind, FunctionBody, Operator, Parser, Payload};

/// A panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic {
    /// The source file and line, as `src/lib.rs:41`.
    pub(super) place: String,
    /// Its message, with `…` for what was computed.
    pub(super) message: Option<String>,
}

/// A function that was running when it trapped.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Where in the component its call of the next one stands.
    pub(super) offset: usize,
    /// Its name, demangled.
    pub(super) name: String,
}

/// Finds the panic that `frames`, the innermost first, are of.
pub(super) fn find(component: &[u8], frames: &[Frame]) -> Option<Panic> {
    let module = modules(component).into_iter().find(|module| {
        let is_in = |offset| module.bodies.iter().any(|body| body.range().contains(&offset));
        frames.first().is_some_and(|frame| is_in(frame.offset))
    })?;
    frames.iter().enumerate().find_map(|(at, frame)| {
        let constants = module.before_call(frame.offset)?;
        let (nth, place) = constants
            .iter()
            .enumerate()
            .rev()
            .find_map(|(nth, at)| Some((nth, module.place(*at)?)))?;
        let callee = at.checked_sub(1).map_or("", |inner| frames[inner].name.as_str());
        let message = known(callee)
            .map(str::to_owned)
            .or_else(|| module.message(&constants[..nth], callee.ends_with("::panic_fmt")));
        Some(Panic { place, message })
    })
}

/// Code and data of one core module. Offsets are the component's.
#[derive(Default)]
struct Module<'a> {
    bodies: Vec<FunctionBody<'a>>,
    /// Where in memory each segment begins, and what it holds.
    data: Vec<(u32, &'a [u8])>,
}

fn modules(component: &[u8]) -> Vec<Module<'_>> {
    let mut modules: Vec<Module<'_>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::Version { .. }) => modules.push(Module::default()),
            Ok(Payload::CodeSectionEntry(body)) => {
                if let Some(module) = modules.last_mut() {
                    module.bodies.push(body);
                }
            }
            Ok(Payload::DataSection(segments)) => {
                let Some(module) = modules.last_mut() else { continue };
                for segment in segments.into_iter().flatten() {
                    if let DataKind::Active { offset_expr, .. } = segment.kind
                        && let Ok(Operator::I32Const { value }) =
                            offset_expr.get_operators_reader().read()
                    {
                        module.data.push((value.cast_unsigned(), segment.data));
                    }
                }
            }
            Ok(_) => {}
            Err(_) => return Vec::new(),
        }
    }
    modules
}

/// Arguments of a call are loaded within so many instructions before it.
const NEAR: usize = 16;
/// The longest message, and the longest path of a source file, that are believed.
const LONGEST: usize = 300;

impl<'a> Module<'a> {
    /// The constants that are loaded just before the instruction at `offset`, in order; nothing where that is no call.
    fn before_call(&self, offset: usize) -> Option<Vec<u32>> {
        let body = self.bodies.iter().find(|body| body.range().contains(&offset))?;
        let mut near: Vec<Option<u32>> = Vec::new();
        for operator in body.get_operators_reader().ok()?.into_iter_with_offsets() {
            let (operator, at) = operator.ok()?;
            if at >= offset {
                let is_call = at == offset && matches!(operator, Operator::Call { .. });
                return is_call
                    .then(|| near.into_iter().rev().take(NEAR).rev().flatten().collect());
            }
            near.push(match operator {
                Operator::I32Const { value } => Some(value.cast_unsigned()),
                _ => None,
            });
        }
        None
    }

    /// So many bytes of memory as they are at the start.
    fn bytes(&self, at: u32, length: usize) -> Option<&'a [u8]> {
        self.data.iter().find_map(|(start, data)| {
            let from = at.checked_sub(*start)? as usize;
            data.get(from..from.checked_add(length)?)
        })
    }

    fn number(&self, at: u32) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(at, 4)?.try_into().ok()?))
    }

    /// A text that a person wrote.
    fn text(&self, at: u32, length: u32) -> Option<&'a str> {
        let length =
            usize::try_from(length).ok().filter(|length| (1..=LONGEST).contains(length))?;
        let text = std::str::from_utf8(self.bytes(at, length)?).ok()?;
        (!text.contains(char::is_control)).then_some(text)
    }

    /// A `core::panic::Location` of code that is not Rust's own: file (address and length), line, column.
    fn place(&self, at: u32) -> Option<String> {
        let field = |nth: u32| self.number(at.checked_add(4 * nth)?);
        let (line, column) = (field(2)?, field(3)?);
        let file = self.text(field(0)?, field(1)?).filter(|file| file.ends_with(".rs"))?;
        let is_place = (1..1_000_000).contains(&line) && (1..10_000).contains(&column);
        (is_place && !file.starts_with("/rustc/")).then(|| format!("{file}:{line}"))
    }

    /// A message among the constants in front of the place: a text's address and length, or `fmt::Arguments`, which have a length
    /// that is doubled and odd where nothing is to be computed, and a template otherwise.
    fn message(&self, constants: &[u32], is_formatted: bool) -> Option<String> {
        let pair = constants.windows(2).rev().find_map(|pair| match pair[1] & 1 {
            _ if !is_formatted => self.text(pair[0], pair[1]),
            1 => self.text(pair[0], pair[1] >> 1),
            _ => None,
        });
        let template = || constants.iter().rev().find_map(|at| self.template(*at));
        pair.map(str::to_owned).or_else(|| if is_formatted { template() } else { None })
    }

    /// The template of `fmt::Arguments`: pieces of text behind their length, placeholders, and a zero.
    fn template(&self, at: u32) -> Option<String> {
        let mut at = at;
        let mut message = String::new();
        let mut has_text = false;
        while message.len() <= LONGEST {
            let head = self.bytes(at, 1)?[0];
            at = at.checked_add(1)?;
            match head {
                0 => return has_text.then_some(message),
                1..=0x7f => {
                    message.push_str(self.text(at, u32::from(head))?);
                    has_text = true;
                    at = at.checked_add(u32::from(head))?;
                }
                // A placeholder: flags in four bytes, then width, precision and argument in two each, those that there are.
                0xc0.. => {
                    message.push('…');
                    let has = |bit: u8| u32::from(head >> bit & 1);
                    at = at.checked_add(4 * has(0) + 2 * (has(1) + has(2) + has(3)))?;
                }
                0x80..=0xbf => return None,
            }
        }
        None
    }
}

/// What Rust says where one of its own functions panics.
fn known(function: &str) -> Option<&'static str> {
    let name = function.rsplit("::").next().unwrap_or(function);
    let said = match name {
        "panic_bounds_check" => "index out of bounds",
        "panic_const_add_overflow" => "attempt to add with overflow",
        "panic_const_sub_overflow" => "attempt to subtract with overflow",
        "panic_const_mul_overflow" => "attempt to multiply with overflow",
        "panic_const_div_overflow" => "attempt to divide with overflow",
        "panic_const_rem_overflow" => "attempt to calculate the remainder with overflow",
        "panic_const_neg_overflow" => "attempt to negate with overflow",
        "panic_const_shl_overflow" => "attempt to shift left with overflow",
        "panic_const_shr_overflow" => "attempt to shift right with overflow",
        "panic_const_div_by_zero" => "attempt to divide by zero",
        "panic_const_rem_by_zero" => "attempt to calculate the remainder with a divisor of zero",
        "unwrap_failed" if function.starts_with("core::option") => "unwrap on a value that is none",
        "slice_index_fail" => "range out of bounds of a slice",
        "assert_failed" => "an assertion of two values failed",
        "panic_already_borrowed" | "panic_already_mutably_borrowed" => "borrowed twice",
        _ => return None,
    };
    Some(said)
}
