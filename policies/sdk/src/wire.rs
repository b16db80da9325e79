//! Columns and bytes: what of a call is checked before a policy sees it, and how params and states become bytes.

use postcard::ser_flavors::Flavor;
use serde::{Serialize, de::DeserializeOwned};

use crate::Failure;
use crate::scaling::States;

/// A failure without a culprit.
pub(crate) fn failure(message: impl Into<String>) -> Failure {
    Failure { culprits: Vec::new(), message: message.into() }
}

/// A failure for which target `at` is to blame.
pub(crate) fn failure_of(at: usize, message: impl Into<String>) -> Failure {
    Failure { culprits: u32::try_from(at).into_iter().collect(), message: message.into() }
}

/// The failure of a call about `count` targets that came across `first`: it names everybody for whom `check` fails, so that the
/// host asks again once and not once for each.
pub(crate) fn all_at_fault(
    count: usize,
    first: Failure,
    check: impl FnMut(usize) -> Result<(), Failure>,
) -> Failure {
    let mut culprits = first.culprits.clone();
    culprits.extend((0..count).map(check).filter_map(Result::err).flat_map(|one| one.culprits));
    culprits.sort_unstable();
    culprits.dedup();
    match culprits.len() {
        0 => first,
        1 => Failure { culprits, ..first },
        more => {
            let (verb, more) = (if more == 2 { "is" } else { "are" }, more - 1);
            let message = format!("{} ({more} more {verb} at fault)", first.message);
            Failure { culprits, message }
        }
    }
}

/// Refuses a column that is not as long as the batch.
pub(crate) fn same_length(name: &str, length: usize, of: usize) -> Result<(), Failure> {
    if length == of {
        return Ok(());
    }
    Err(failure(format!("{name} has {length} entries for {of} targets")))
}

/// What `bind` hands to `decide`: the author's params behind the number of outputs, which sizes the answer.
pub(crate) fn encode_params<P: Serialize>(outputs: usize, params: &P) -> Result<Vec<u8>, String> {
    postcard::to_allocvec(&(outputs as u64, params)).map_err(|error| error.to_string())
}

/// The params of a batch, each decoded once. Those that do not decode are the fault of the targets that have them.
pub(crate) struct Params<P> {
    decoded: Vec<Result<P, String>>,
    /// The most outputs that one of them announced.
    pub(crate) outputs: usize,
}

impl<P: DeserializeOwned> Params<P> {
    pub(crate) fn decode(params: &[Vec<u8>]) -> Params<P> {
        let mut most = 0;
        let decode = |bytes: &Vec<u8>| {
            let (outputs, params): (u64, P) = whole(bytes)?;
            // A program cannot announce more; see `Wants::gives`.
            let outputs =
                u16::try_from(outputs).map_err(|_| format!("they announce {outputs} outputs"))?;
            most = most.max(usize::from(outputs));
            Ok(params)
        };
        Params { decoded: params.iter().map(decode).collect(), outputs: most }
    }

    /// The params of target `at`, which has entry `of`.
    pub(crate) fn of(&self, at: usize, of: u32) -> Result<&P, Failure> {
        match self.decoded.get(of as usize) {
            Some(Ok(params)) => Ok(params),
            Some(Err(error)) => Err(failure_of(at, format!("params {of} do not decode: {error}"))),
            None => Err(failure_of(at, format!("params {of} of {} asked for", self.decoded.len()))),
        }
    }
}

/// Reads joined states one after the other.
pub(crate) struct StateReader<'a> {
    states: &'a States,
    start: usize,
}

impl<'a> StateReader<'a> {
    pub(crate) fn new(states: &'a States) -> StateReader<'a> {
        StateReader { states, start: 0 }
    }

    /// The bytes of target `at`, which must be asked for in order.
    pub(crate) fn next(&mut self, at: usize) -> Result<&'a [u8], Failure> {
        let end = self.states.ends[at] as usize;
        let bytes = self.states.bytes.get(self.start..end).ok_or_else(|| {
            let (start, length) = (self.start, self.states.bytes.len());
            failure_of(at, format!("state is bytes {start} to {end} of {length}"))
        });
        self.start = end;
        bytes
    }
}

/// Reads the state of target `at`.
pub(crate) fn decode_state<S: DeserializeOwned>(at: usize, bytes: &[u8]) -> Result<S, Failure> {
    whole(bytes).map_err(|error| failure_of(at, format!("state does not decode: {error}")))
}

/// Joins states.
pub(crate) struct StateWriter(States);

impl StateWriter {
    pub(crate) fn with_capacity(targets: usize, bytes: usize) -> StateWriter {
        StateWriter(States { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(targets) })
    }

    /// The state of the next target.
    pub(crate) fn push<S: Serialize>(&mut self, at: usize, state: &S) -> Result<(), Failure> {
        postcard::serialize_with_flavor(state, Appending(&mut self.0.bytes))
            .map_err(|error| failure_of(at, format!("state does not encode: {error}")))?;
        self.end(at)
    }

    /// Bytes that are the state of the next target already.
    pub(crate) fn push_bytes(&mut self, at: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.0.bytes.extend_from_slice(bytes);
        self.end(at)
    }

    fn end(&mut self, at: usize) -> Result<(), Failure> {
        let end = u32::try_from(self.0.bytes.len())
            .map_err(|_| failure_of(at, "states of the batch take more than 4 GiB"))?;
        self.0.ends.push(end);
        Ok(())
    }

    pub(crate) fn finish(self) -> States {
        self.0
    }
}

/// Decodes a value that takes up all the bytes.
fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes behind what is there, so that all states of a batch share one allocation.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
