// What a scaling policy in JavaScript builds on: settings, state, one `decide` for one target. Batches, columns and the bytes that
// cross are made here, as `policies/sdk` does it for Rust. The words are those of `wit/policy.wit`.
//
//     import { scalingPolicy, wanted, hold } from "…/tidegate.js";
//     export const scaling = scalingPolicy({ stateSchema: "my-policy/1", bind, init, decide });
//
// Settings compiled by `bind` and states are plain data: whatever survives JSON. Every call runs in a fresh instance, so no variable
// lives on; and there is no clock and no randomness, though JavaScript has names for them.

/** `until` of a decision that stays the same for ever if every input does. */
export const FOR_EVER = Infinity;

/** That many replicas, before the host's bounds. `until`: Unix milliseconds; until then it stays the same if every input does. */
export const wanted = (replicas, until = 0) => ({ wanted: replicas, apply: true, until });

/** Replicas stay as they are. */
export const hold = (until = 0) => ({ wanted: 0, apply: false, until });

/** A number as replicas: cut off to a whole one, within the range; 0 for "no data". */
export const replicas = (value) => (value > 0 ? Math.min(Math.trunc(value), 4294967295) : 0);

/** Faults in a settings document, thrown by `bind`. */
export class Faults {
  constructor() {
    this.list = [];
  }

  /** `path`: keys and positions joined with dots. `message`: what is wrong and what would be right, in lower case. */
  add(path, message) {
    this.list.push({ path, message });
  }

  /** Ends `bind` if there are any. */
  throwIfAny() {
    if (this.list.length > 0) throw this;
  }

  /** A fault for every key of `object` that is not among `known`. */
  noOtherKeys(object, path, known) {
    for (const key of Object.keys(object))
      if (!known.includes(key)) this.add(`${path}.${key}`, `unknown key, expected ${known.join(", ")}`);
  }
}

/** What `bind` asks for. Names are those of `docs/signals.md`; asking twice for the same is asking once. */
class Wants {
  constructor() {
    this.program = { scope: "target", causes: {}, inputs: [], outputs: [], warnings: [] };
  }

  /** Asks to decide for these causes too: `created`, `tick`, `poke`, `change`, `timer`. */
  causes(...names) {
    for (const name of names) this.program.causes[name] = true;
  }

  /** An average over the last `spanS` seconds: `linear` or `weighted-exponential`. */
  window(signal, spanS, averaging) {
    return this.input({ tag: "window", val: { signal, spanS, averaging } }, true);
  }

  /** A fact of the target. */
  fact(name, required = true) {
    return this.input({ tag: "fact", val: name }, required);
  }

  /** An output of an earlier stage, or `proposal`. */
  output(name, required = true) {
    return this.input({ tag: "output", val: name }, required);
  }

  /** Announces an output; give it with `notes.give`. */
  gives(name) {
    const { outputs } = this.program;
    if (!outputs.includes(name)) outputs.push(name);
    return outputs.indexOf(name);
  }

  /** Tells the settings' author something although the document is accepted. */
  warn(path, message) {
    this.program.warnings.push({ path, message });
  }

  input(source, required) {
    const { inputs } = this.program;
    const text = JSON.stringify(source);
    let at = inputs.findIndex((input) => JSON.stringify(input.source) === text);
    if (at < 0) at = inputs.push({ source, required: false }) - 1;
    inputs[at].required ||= required;
    return at;
  }
}

/** What is seen of one target. */
class Seen {
  constructor(batch) {
    this.batch = batch;
    this.targets = batch.causesOf.length;
    this.at = 0;
    /** Now. Unix milliseconds. */
    this.atMs = Number(batch.atMs);
  }

  /** Why the target is asked about: `created`, `tick`, `poke`, `change`, `timer`, each true or false. */
  get causes() {
    return this.batch.causesOf[this.at];
  }

  /** Equal numbers in a call are one service; the number itself means nothing. */
  get group() {
    return this.batch.groups[this.at];
  }

  /** An input; NaN is "no data". */
  read(column) {
    return this.batch.inputs[column * this.targets + this.at] ?? NaN;
  }

  /** The text that an input stands for. */
  word(column) {
    return this.batch.words[this.read(column)];
  }
}

/** What is told of one target beside its decision. Without a reader, reasons and figures cost a test of one flag. */
class Notes {
  constructor(outputs, targets, told) {
    this.outputs = outputs;
    this.targets = targets;
    this.told = told;
    this.at = 0;
  }

  /** Gives an output that `bind` announced. */
  give(output, value) {
    this.outputs[output * this.targets + this.at] = value;
  }

  /** Why the decision is what it is, in one line: a function, called only if somebody reads. */
  reason(text) {
    if (this.told) this.told[this.at].reason = text();
  }

  /** A number that the decision rests on. */
  figure(name, value) {
    if (this.told) this.told[this.at].figures.push({ name, value });
  }
}

/** Makes the exports of a policy. */
export function scalingPolicy({ stateSchema, bind, init, decide }) {
  const run = (batch, reads) => {
    const targets = batch.causesOf.length;
    const params = batch.params.map((bytes) => fromBytes(bytes));
    const columns = Math.max(0, ...params.map((one) => one.outputs));
    const outputs = new Array(columns * targets).fill(NaN);
    const told = reads ? Array.from({ length: targets }, () => ({ reason: "", figures: [] })) : null;
    const seen = new Seen(batch);
    const notes = new Notes(outputs, targets, told);
    const wantedOf = new Array(targets);
    const apply = new Array(targets);
    const nextAtMs = new Array(targets);
    const states = new States();
    let begins = 0;
    for (let at = 0; at < targets; at++) {
      seen.at = notes.at = at;
      const ends = batch.states.ends[at];
      blaming(at, () => {
        const state = ends > begins ? fromBytes(batch.states.bytes.subarray(begins, ends)) : undefined;
        const decision = decide(params[batch.paramsOf[at]].params, state, seen, notes);
        wantedOf[at] = asU32(decision.wanted);
        apply[at] = decision.apply;
        nextAtMs[at] = asU64(decision.until);
        states.push(decision.state === undefined ? state : decision.state);
      });
      begins = ends;
    }
    return [{ wanted: wantedOf, apply, nextAtMs, outputs, states: states.joined() }, told];
  };
  return {
    bind(text) {
      const want = new Wants();
      try {
        const params = bind(JSON.parse(text), want);
        return { ...want.program, params: Uint8Array.from(toBytes({ outputs: want.program.outputs.length, params })) };
      } catch (error) {
        if (error instanceof Faults) throw error.list;
        throw [{ path: "", message: told(error) }];
      }
    },
    init(born) {
      const params = born.params.map((bytes) => fromBytes(bytes).params);
      const states = new States();
      born.paramsOf.forEach((of, at) =>
        blaming(at, () => states.push(init(params[of], Number(born.atMs), born.ready[at]))),
      );
      return states.joined();
    },
    decide: (batch) => run(batch, false)[0],
    explain: (batch) => run(batch, true)[1],
    stateSchema: () => stateSchema,
    migrate({ schema, old }) {
      if (schema === stateSchema) return old;
      throw { culprits: [], message: `state of layout ${schema} cannot be turned into layout ${stateSchema}` };
    },
  };
}

/** States, joined. */
class States {
  constructor() {
    this.bytes = [];
    this.ends = [];
  }

  push(state) {
    if (state !== undefined) for (const byte of toBytes(state)) this.bytes.push(byte);
    this.ends.push(this.bytes.length);
  }

  joined() {
    return { bytes: Uint8Array.from(this.bytes), ends: this.ends };
  }
}

/** A u32 as the engine takes it: what has the highest bit set crosses only as the negative number of the same bits. */
const asU32 = (value) => (value > 0x7fffffff ? value - 0x100000000 : value);

/** A u64 likewise. The largest crosses as no number; half of it is the year 292,278,994. */
const asU64 = (value) => Math.min(value, 2 ** 63 - 1024);

/** What is thrown over target `at` becomes a failure that names it. */
function blaming(at, work) {
  try {
    work();
  } catch (error) {
    throw { culprits: [at], message: told(error) };
  }
}

const told = (error) => {
  const place = String(error?.stack ?? "").trim().split("\n")[0];
  return place ? `${error} ${place.trim()}` : String(error);
};

/** Plain data as bytes: JSON with every letter beyond ASCII escaped, so that a byte is a letter. */
function toBytes(value) {
  const text = JSON.stringify(value);
  const bytes = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x80) bytes.push(code);
    else for (const letter of `\\u${code.toString(16).padStart(4, "0")}`) bytes.push(letter.charCodeAt(0));
  }
  return bytes;
}

function fromBytes(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096));
  return JSON.parse(text);
}
