//! What the author of a scaling policy writes: [`Scaling`] for one target at a time, [`Together`] for those of a service or tenant.

use std::marker::PhantomData;
use std::ops::Index;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Explanation;
pub use crate::bindings::exports::tidegate::policy::scaling::{
    Batch, Births, Causes, Decisions, Guest, Inheritance, Input, Program, Scope, Source, States,
    Window,
};
use crate::{Document, Failure, Fault, Faults, Notes, native};

/// A policy that decides each target by itself.
pub trait Scaling: Sized + 'static {
    /// The author's part of a settings document. Whether unknown keys are refused is the author's choice
    /// (`#[serde(deny_unknown_fields)]`).
    type Settings: DeserializeOwned;
    /// What `bind` makes of a document: all that `decide` needs to know, the columns it reads included.
    type Params: Serialize + DeserializeOwned;
    /// What is remembered from one decision to the next; `()` for nothing.
    type State: Serialize + DeserializeOwned;
    /// Names the layout of `State`: the policy's name and a number, as `knative/1`. The number goes up whenever the layout changes,
    /// be it a field's type or place: bytes of a layout with the same text are read as they are. See [`Scaling::migrate`].
    const STATE_SCHEMA: &'static str;

    /// Checks a document, and asks for inputs, outputs and causes.
    fn bind(document: Document<Self::Settings>, want: &mut Wants) -> Result<Self::Params, Faults>;

    /// The state of a target that has just come into being. `ready`: its ready replicas, if known.
    fn init(params: &Self::Params, at_ms: u64, ready: Option<f64>) -> Self::State;

    /// Decides for one target.
    fn decide(
        params: &Self::Params,
        state: &mut Self::State,
        seen: &Seen<'_>,
        notes: &mut Notes<'_>,
    ) -> Decision;

    /// State of the layout `schema` in this one's; the rest is what [`Scaling::init`] would get now. An error says, in lower case,
    /// why it cannot be.
    fn migrate(
        schema: &str,
        _old: &[u8],
        _params: &Self::Params,
        _at_ms: u64,
        _ready: Option<f64>,
    ) -> Result<Self::State, String> {
        Err(no_migration(schema, Self::STATE_SCHEMA))
    }
}

/// A policy that decides several targets together: those of a service, or all of a tenant. See [`Scaling`] for what is not said here.
pub trait Together: Sized + 'static {
    /// The author's part of a settings document.
    type Settings: DeserializeOwned;
    /// What `bind` makes of a document.
    type Params: Serialize + DeserializeOwned;
    /// What is remembered about each target.
    type State: Serialize + DeserializeOwned;
    /// What is decided in one call of `decide`.
    const SCOPE: Scope;
    /// Names the layout of `State`.
    const STATE_SCHEMA: &'static str;

    /// Checks a document, and asks for inputs, outputs and causes.
    fn bind(document: Document<Self::Settings>, want: &mut Wants) -> Result<Self::Params, Faults>;

    /// The state of a target that has just come into being.
    fn init(params: &Self::Params, at_ms: u64, ready: Option<f64>) -> Self::State;

    /// Decides for targets that belong together, by setting the `decision` of each. What is left alone is [`Decision::hold`].
    fn decide(targets: &mut [Target<'_, Self>]);

    /// State of another layout in this one's.
    fn migrate(
        schema: &str,
        _old: &[u8],
        _params: &Self::Params,
        _at_ms: u64,
        _ready: Option<f64>,
    ) -> Result<Self::State, String> {
        Err(no_migration(schema, Self::STATE_SCHEMA))
    }
}

impl<P: Scaling> Together for P {
    type Settings = <P as Scaling>::Settings;
    type Params = <P as Scaling>::Params;
    type State = <P as Scaling>::State;
    const SCOPE: Scope = Scope::Target;
    const STATE_SCHEMA: &'static str = <P as Scaling>::STATE_SCHEMA;

    fn bind(document: Document<Self::Settings>, want: &mut Wants) -> Result<Self::Params, Faults> {
        <P as Scaling>::bind(document, want)
    }

    fn init(params: &Self::Params, at_ms: u64, ready: Option<f64>) -> Self::State {
        <P as Scaling>::init(params, at_ms, ready)
    }

    fn decide(targets: &mut [Target<'_, Self>]) {
        for target in targets {
            target.decision = <P as Scaling>::decide(
                target.params,
                &mut target.state,
                &target.seen,
                &mut target.notes,
            );
        }
    }

    fn migrate(
        schema: &str,
        old: &[u8],
        params: &Self::Params,
        at_ms: u64,
        ready: Option<f64>,
    ) -> Result<Self::State, String> {
        <P as Scaling>::migrate(schema, old, params, at_ms, ready)
    }
}

fn no_migration(from: &str, to: &str) -> String {
    format!("state of layout {from} cannot be turned into layout {to}")
}

/// One of the targets that are decided together.
pub struct Target<'a, P: Together> {
    /// What `bind` made of its settings.
    pub params: &'a P::Params,
    /// What is remembered about it.
    pub state: P::State,
    /// What is seen of it.
    pub seen: Seen<'a>,
    /// What the policy tells about it.
    pub notes: Notes<'a>,
    /// What is decided.
    pub decision: Decision,
}

/// What was decided for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Replicas, before the host's bounds.
    pub wanted: u32,
    /// Whether replicas are to be changed to that.
    pub apply: bool,
    /// Until when the decision stays the same if every input does; see `next-at-ms` of the contract.
    pub next_at_ms: u64,
}

impl Decision {
    /// `next_at_ms` of a decision that stays the same for ever if every input does.
    pub const FOR_EVER: u64 = u64::MAX;

    /// That many replicas.
    pub fn replicas(wanted: u32) -> Decision {
        Decision { wanted, apply: true, next_at_ms: 0 }
    }

    /// Leave replicas as they are.
    pub fn hold() -> Decision {
        Decision { wanted: 0, apply: false, next_at_ms: 0 }
    }

    /// The same decision, which stands until then if every input does.
    pub fn until(self, next_at_ms: u64) -> Decision {
        Decision { next_at_ms, ..self }
    }

    /// The same decision, which stands for as long as every input does.
    pub fn standing(self) -> Decision {
        self.until(Self::FOR_EVER)
    }
}

/// An input that was asked for in `bind`: read it as `seen[column]`. It is kept in the params.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Column(u16);

/// An output that was announced in `bind`: give it with [`Notes::give`]. It is kept in the params.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Output(u16);

impl Output {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How a window averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Averaging {
    /// Knative's mean over the seconds since the first report, at most the span, rounded to six decimals.
    Linear,
    /// Knative's decaying sum.
    WeightedExponential,
}

impl Averaging {
    /// The name in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            Averaging::Linear => "linear",
            Averaging::WeightedExponential => "weighted-exponential",
        }
    }
}

/// What a policy asks for when it is bound. Names are those of `docs/signals.md`; asking twice for the same is asking once.
#[derive(Debug)]
pub struct Wants {
    causes: Causes,
    inputs: Vec<Input>,
    outputs: Vec<String>,
    warnings: Vec<Fault>,
}

impl Wants {
    pub(crate) fn new() -> Wants {
        let (inputs, outputs, warnings) = Default::default();
        Wants { causes: Causes::empty(), inputs, outputs, warnings }
    }

    /// Asks to decide for these causes too.
    pub fn causes(&mut self, causes: Causes) {
        self.causes = self.causes | causes;
    }

    /// An average of `signal` over the last `span_s` seconds.
    pub fn window(&mut self, signal: &str, span_s: u32, averaging: Averaging) -> Column {
        let averaging = averaging.name().into();
        self.input(Source::Window(Window { signal: signal.into(), span_s, averaging }), true)
    }

    /// A fact of the target. An installation that cannot give it refuses the document.
    pub fn fact(&mut self, name: &str) -> Column {
        self.input(Source::Fact(name.into()), true)
    }

    /// A fact that reads NaN where the installation cannot give it.
    pub fn optional_fact(&mut self, name: &str) -> Column {
        self.input(Source::Fact(name.into()), false)
    }

    /// An output of an earlier stage, which there must be.
    pub fn output(&mut self, name: &str) -> Column {
        self.input(Source::Output(name.into()), true)
    }

    /// An output of an earlier stage; it reads NaN without such a stage.
    pub fn optional_output(&mut self, name: &str) -> Column {
        self.input(Source::Output(name.into()), false)
    }

    /// What the stages before this one want, within bounds. NaN: nothing yet, or there is none.
    pub fn proposal(&mut self) -> Column {
        self.optional_output("proposal")
    }

    /// Announces an output.
    pub fn gives(&mut self, name: &str) -> Output {
        let at = self.outputs.iter().position(|known| known == name).unwrap_or_else(|| {
            self.outputs.push(name.into());
            self.outputs.len() - 1
        });
        Output(u16::try_from(at).expect("a program announces fewer than 65,536 outputs"))
    }

    /// Tells the settings' author something although the document is accepted.
    pub fn warn(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Fault { path: path.into(), message: message.into() });
    }

    fn input(&mut self, source: Source, required: bool) -> Column {
        let known = self.inputs.iter_mut().position(|input| input.source == source);
        let at = known.unwrap_or_else(|| {
            self.inputs.push(Input { source, required: false });
            self.inputs.len() - 1
        });
        self.inputs[at].required |= required;
        Column(u16::try_from(at).expect("a program asks for fewer than 65,536 inputs"))
    }

    pub(crate) fn output_count(&self) -> usize {
        self.outputs.len()
    }

    pub(crate) fn into_program(self, params: Vec<u8>, scope: Scope) -> Program {
        let Wants { causes, inputs, outputs, warnings } = self;
        Program { params, scope, causes, inputs, outputs, warnings }
    }
}

/// What is seen of one target. `seen[column]` is an input; NaN is "no data".
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Now. Unix milliseconds.
    pub at_ms: u64,
    /// Why the target is asked about.
    pub causes: Causes,
    /// Equal numbers in a call are one service; the number itself means nothing.
    pub group: u32,
    inputs: &'a [f64],
    /// Distance of two columns, and the position of the target in each.
    stride: usize,
    at: usize,
    words: &'a [String],
}

impl<'a> Seen<'a> {
    /// Target `at` of a batch of which the lengths have been checked.
    pub(crate) fn of(batch: &'a Batch, at: usize) -> Seen<'a> {
        Seen {
            at_ms: batch.at_ms,
            causes: batch.causes_of[at],
            group: batch.groups[at],
            inputs: &batch.inputs,
            stride: batch.causes_of.len(),
            at,
            words: &batch.words,
        }
    }

    /// The input, or nothing where there was no data.
    pub fn known(&self, column: Column) -> Option<f64> {
        let value = self[column];
        (!value.is_nan()).then_some(value)
    }

    /// Whether the input is 1. "Not known" is not.
    pub fn is(&self, column: Column) -> bool {
        self[column] == 1.0
    }

    /// The text that the input stands for.
    pub fn word(&self, column: Column) -> Option<&'a str> {
        let at = self.known(column)?;
        self.words.get(at as usize).map(String::as_str)
    }
}

impl Index<Column> for Seen<'_> {
    type Output = f64;

    fn index(&self, column: Column) -> &f64 {
        self.inputs.get(usize::from(column.0) * self.stride + self.at).unwrap_or(&f64::NAN)
    }
}

/// The component's face of a policy; made by [`export_scaling!`](crate::export_scaling).
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: Together> Guest for Export<P> {
    fn bind(settings: String) -> Result<Program, Vec<Fault>> {
        native::bind::<P>(&settings)
    }

    fn init(born: Births) -> Result<States, Failure> {
        native::init::<P>(&born)
    }

    fn decide(seen: Batch) -> Result<Decisions, Failure> {
        native::decide::<P>(&seen)
    }

    fn explain(seen: Batch) -> Result<Vec<Explanation>, Failure> {
        native::explain::<P>(&seen)
    }

    fn state_schema() -> String {
        P::STATE_SCHEMA.into()
    }

    fn migrate(from: Inheritance) -> Result<States, Failure> {
        native::migrate::<P>(&from)
    }
}
