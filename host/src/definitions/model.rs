//! The model catalogue: what a model weighs and how it is loaded and served, with the source of each figure in
//! `fixtures/models/`. It knows nothing of services or nodes.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{DefinitionError, Warning, read_text};
use super::field::{At, Fields, Notes, Unknown, is_ours};
use super::tree;

/// The catalogue that is part of the program.
const BUILTIN: &str = include_str!("../../../fixtures/models/catalogue.yaml");
const BUILTIN_FILE: &str = "fixtures/models/catalogue.yaml";

/// The kind of a document that adds to the catalogue.
pub(super) const KIND: &str = "Models";

/// A model as the simulator needs to know it. Sizes are in GB, 10⁹ bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Its name in the catalogue, as `llama-3.1-8b`.
    pub name: String,
    /// Weights, over all GPUs of a replica together. GB.
    pub weights_gb: f64,
    /// Parameters. Billions.
    pub parameters_billion: f64,
    /// Key and value cache of one token. Bytes.
    pub kv_bytes_per_token: f64,
    /// Image of the server, without weights. GB.
    pub image_gb: f64,
    /// How weights get to the GPU.
    pub loader: Loader,
    /// Start of the engine, after the weights are there. Seconds.
    pub engine_s: f64,
    /// Compilation and graph capture; 0 where there is a cache or nothing to compile. Seconds.
    pub compile_s: f64,
    /// What the first request after a start takes longer. Seconds.
    pub warm_s: f64,
    /// Host work of one iteration. Milliseconds.
    pub host_ms: f64,
    /// Host work of one iteration for each running sequence. Milliseconds.
    pub per_sequence_ms: f64,
    /// Sequences that the engine runs at once at most.
    pub max_sequences: u32,
}

/// How weights get from where they are kept to the GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Loader {
    /// Its name in the catalogue, as `tensorizer-nvme-pvc`.
    pub name: String,
    /// What a load takes before the first byte. Seconds.
    pub fixed_s: f64,
    /// How fast one replica can read at most. GB/s.
    pub gb_s: f64,
    /// Which way the bytes come, and so with whom they share it.
    pub path: LoadPath,
}

/// Which way weights come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadPath {
    /// From a store that all nodes share, over the node's link: both are shared by those that load at once.
    SharedStore,
    /// From a disk of the node, shared by those that load on it.
    NodeDisk,
    /// From the node's memory, shared with nobody.
    NodeMemory,
}

/// What runs a model: a preset of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    /// Its name in the catalogue, as `vllm-cached`.
    pub name: String,
    /// Start, after the weights are there. Seconds.
    pub start_s: f64,
    /// Compilation and graph capture. Seconds.
    pub compile_s: f64,
    /// What the first request after a start takes longer. Seconds.
    pub warm_s: f64,
    /// The same for each GB of weights. Seconds a GB.
    pub warm_s_per_gb: f64,
    /// Host work of one iteration. Milliseconds.
    pub host_ms: f64,
    /// Host work of one iteration for each running sequence. Milliseconds.
    pub per_sequence_ms: f64,
    /// Sequences that it runs at once at most.
    pub max_sequences: u32,
    /// Image of the server, without weights. GB.
    pub image_gb: f64,
}

/// Models, loaders and engines by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    models: BTreeMap<String, Model>,
    loaders: BTreeMap<String, Loader>,
    engines: BTreeMap<String, Engine>,
    /// Other names of models, in lower case, and which model each means.
    aliases: BTreeMap<String, String>,
    default: String,
    default_small: String,
}

impl Catalogue {
    /// The catalogue that is part of the program.
    pub fn builtin() -> Catalogue {
        let empty = Catalogue {
            models: BTreeMap::new(),
            loaders: BTreeMap::new(),
            engines: BTreeMap::new(),
            aliases: BTreeMap::new(),
            default: String::new(),
            default_small: String::new(),
        };
        empty.parse(BUILTIN, BUILTIN_FILE).expect("a test reads the built-in catalogue").0
    }

    /// The built-in catalogue with a file's entries, which replace those of the same name.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, has unknown or missing keys, values out of range, or names a loader or engine that there is not.
    pub fn read(path: &Path) -> Result<(Catalogue, Vec<Warning>), DefinitionError> {
        let (text, file) = read_text(path)?;
        Catalogue::builtin().parse(&text, &file)
    }

    /// The same from a text; `file` is what messages call it.
    ///
    /// # Errors
    ///
    /// When anything in it is wrong; all faults are told.
    pub fn parse(
        mut self,
        text: &str,
        file: &str,
    ) -> Result<(Catalogue, Vec<Warning>), DefinitionError> {
        let (documents, mut notes) = tree::parse(text, file)?;
        if documents.is_empty() {
            notes.fault(1, "the file", "empty", "a document of kind Models");
        }
        for document in &documents {
            self.extend(&At::root(document), &mut notes);
        }
        notes.or(self)
    }

    /// Takes in a document of kind `Models`.
    pub(super) fn extend(&mut self, document: &At<'_>, notes: &mut Notes<'_>) {
        let known =
            ["apiVersion", "kind", "default", "defaultSmall", "loaders", "engines", "models"];
        let Some(fields) = document.fields(&known, Unknown::Refused, notes) else { return };
        if !is_ours(&fields, KIND, notes) {
            return;
        }
        for at in fields.get("loaders").map_or(Vec::new(), |at| at.items(notes)) {
            if let Some(loader) = read_loader(&at, notes) {
                self.loaders.insert(loader.name.clone(), loader);
            }
        }
        for at in fields.get("engines").map_or(Vec::new(), |at| at.items(notes)) {
            if let Some(engine) = read_engine(&at, notes) {
                self.engines.insert(engine.name.clone(), engine);
            }
        }
        for at in fields.get("models").map_or(Vec::new(), |at| at.items(notes)) {
            self.read_model(&at, notes);
        }
        for key in ["default", "defaultSmall"] {
            let Some(at) = fields.get(key) else { continue };
            match at.text(notes).map(|name| (name, self.models.contains_key(name))) {
                Some((name, true)) if key == "default" => self.default = name.to_owned(),
                Some((name, true)) => self.default_small = name.to_owned(),
                Some((name, false)) => at.refuse(notes, self.expected_model(name)),
                None => {}
            }
        }
    }

    fn read_model(&mut self, at: &At<'_>, notes: &mut Notes<'_>) {
        let known = [
            "name",
            "aliases",
            "weightsGb",
            "parametersBillion",
            "kvBytesPerToken",
            "loader",
            "engine",
            "imageGb",
        ];
        let Some(fields) = at.fields(&known, Unknown::Refused, notes) else { return };
        let Some(name) = name_of(&fields, notes) else { return };
        let loader = fields
            .need("loader", "the name of a loader", notes)
            .and_then(|at| named(&self.loaders, &at, notes));
        let engine = fields
            .need("engine", "the name of an engine", notes)
            .and_then(|at| named(&self.engines, &at, notes));
        let parameters = fields
            .need("parametersBillion", "a number above 0", notes)
            .and_then(|at| at.number(false, notes));
        let kv = fields
            .need("kvBytesPerToken", "a number of at least 0", notes)
            .and_then(|at| at.number(true, notes));
        for alias in fields.get("aliases").map_or(Vec::new(), |at| at.items(notes)) {
            if let Some(alias) = alias.text(notes) {
                let alias = alias.to_lowercase();
                if let Some((_, last)) = alias.rsplit_once('/') {
                    self.aliases.insert(last.to_owned(), name.clone());
                }
                self.aliases.insert(alias, name.clone());
            }
        }
        let (Some(loader), Some(engine), Some(parameters), Some(kv)) =
            (loader, engine, parameters, kv)
        else {
            return;
        };
        let mut model = Model {
            name: name.clone(),
            weights_gb: fields.rate_or("weightsGb", 2.0 * parameters, notes),
            parameters_billion: parameters,
            kv_bytes_per_token: kv,
            image_gb: 0.0,
            loader,
            engine_s: 0.0,
            compile_s: 0.0,
            warm_s: 0.0,
            host_ms: 0.0,
            per_sequence_ms: 0.0,
            max_sequences: 1,
        };
        model.run_by(&engine);
        model.image_gb = fields.number_or("imageGb", model.image_gb, notes);
        self.aliases.insert(name.to_lowercase(), name.clone());
        self.models.insert(name, model);
    }

    /// A model by its name or another one: as it stands in the catalogue, a Hugging Face identifier, or the address of its weights,
    /// of which the last part that names a model counts. Case does not matter, and `--` is read as `/`.
    pub fn find(&self, name: &str) -> Option<&Model> {
        let name = name.to_lowercase().replace("--", "/");
        let (_, way) = name.split_once("://").unwrap_or(("", &name));
        let whole = self.aliases.get(way);
        let part = || way.rsplit('/').find_map(|part| self.aliases.get(part));
        self.models.get(whole.or_else(part)?)
    }

    /// The model that a service with GPUs serves where nothing says which.
    pub fn default_model(&self) -> &Model {
        &self.models[&self.default]
    }

    /// The model that a service without GPUs, or of a framework for small models, serves where nothing says which.
    pub fn default_small_model(&self) -> &Model {
        &self.models[&self.default_small]
    }

    /// A loader by its name.
    pub fn loader(&self, name: &str) -> Option<&Loader> {
        self.loaders.get(name)
    }

    /// An engine by its name.
    pub fn engine(&self, name: &str) -> Option<&Engine> {
        self.engines.get(name)
    }

    /// Models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    /// What to write instead of a model that there is not.
    pub(super) fn expected_model(&self, name: &str) -> String {
        let lower = name.to_lowercase();
        let known = self.aliases.keys().map(String::as_str);
        match tidegate_settings::nearest(&lower, known) {
            Some(nearest) => nearest.to_owned(),
            None => expected_one(&self.models),
        }
    }

    pub(super) fn expected_loader(&self, name: &str) -> String {
        expected(&self.loaders, name)
    }

    pub(super) fn expected_engine(&self, name: &str) -> String {
        expected(&self.engines, name)
    }
}

impl Model {
    /// Takes over what an engine does.
    pub fn run_by(&mut self, engine: &Engine) {
        self.engine_s = engine.start_s;
        self.compile_s = engine.compile_s;
        self.warm_s = engine.warm_s + engine.warm_s_per_gb * self.weights_gb;
        self.host_ms = engine.host_ms;
        self.per_sequence_ms = engine.per_sequence_ms;
        self.max_sequences = engine.max_sequences;
        self.image_gb = engine.image_gb;
    }
}

fn read_loader(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Loader> {
    let known = ["name", "fixedSeconds", "gbPerSecond", "path"];
    let fields = at.fields(&known, Unknown::Refused, notes)?;
    let name = name_of(&fields, notes)?;
    let fixed = fields.need("fixedSeconds", "a number of at least 0", notes);
    let rate = fields.need("gbPerSecond", "a number above 0", notes);
    let way = "SharedStore, NodeDisk or NodeMemory";
    let path = fields.need("path", way, notes);
    let path = path.and_then(|at| match at.tree.scalar() {
        Some("SharedStore") => Some(LoadPath::SharedStore),
        Some("NodeDisk") => Some(LoadPath::NodeDisk),
        Some("NodeMemory") => Some(LoadPath::NodeMemory),
        Some(_) | None => {
            at.refuse(notes, way);
            None
        }
    });
    Some(Loader {
        name,
        fixed_s: fixed?.number(true, notes)?,
        gb_s: rate?.number(false, notes)?,
        path: path?,
    })
}

fn read_engine(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Engine> {
    let known = [
        "name",
        "startSeconds",
        "compileSeconds",
        "warmSeconds",
        "warmSecondsPerGb",
        "hostMs",
        "perSequenceMs",
        "maxSequences",
        "imageGb",
    ];
    let fields = at.fields(&known, Unknown::Refused, notes)?;
    let name = name_of(&fields, notes)?;
    let start = fields.need("startSeconds", "a number of at least 0", notes);
    Some(Engine {
        name,
        start_s: start?.number(true, notes)?,
        compile_s: fields.number_or("compileSeconds", 0.0, notes),
        warm_s: fields.number_or("warmSeconds", 0.0, notes),
        warm_s_per_gb: fields.number_or("warmSecondsPerGb", 0.0, notes),
        host_ms: fields.number_or("hostMs", 5.0, notes),
        per_sequence_ms: fields.number_or("perSequenceMs", 0.1, notes),
        max_sequences: fields.or("maxSequences", 256, notes, |at, notes| at.count(1, notes)),
        image_gb: fields.number_or("imageGb", 8.0, notes),
    })
}

fn name_of(fields: &Fields<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let name = fields.need("name", "a name", notes)?.text(notes)?;
    Some(name.to_owned())
}

/// What of `known` the text at `at` names.
fn named<T: Clone>(known: &BTreeMap<String, T>, at: &At<'_>, notes: &mut Notes<'_>) -> Option<T> {
    let name = at.text(notes)?;
    let found = known.get(name).cloned();
    if found.is_none() {
        at.refuse(notes, expected(known, name));
    }
    found
}

fn expected<T>(known: &BTreeMap<String, T>, name: &str) -> String {
    match tidegate_settings::nearest(name, known.keys().map(String::as_str)) {
        Some(nearest) => nearest.to_owned(),
        None => expected_one(known),
    }
}

fn expected_one<T>(known: &BTreeMap<String, T>) -> String {
    format!("one of {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> String {
        let text = format!("apiVersion: tidegate.dev/v1alpha1\nkind: Models\n{body}");
        Catalogue::builtin().parse(&text, "m.yaml").expect_err("it is out of order").to_string()
    }

    #[test]
    fn weights_of_the_catalogue_are_those_that_were_measured() {
        let catalogue = Catalogue::builtin();
        for (name, weights_gb) in [
            ("gptj-6b", 12.1),
            ("opt-30b", 60.0),
            ("llama-3.1-8b", 16.06),
            ("qwen3-32b", 65.5),
            ("opt-6.7b", 13.3),
            ("mixtral-8x7b", 93.4),
        ] {
            let model = catalogue.find(name).unwrap_or_else(|| panic!("{name} is listed"));
            assert!((model.weights_gb - weights_gb).abs() < 0.05, "{name}: {}", model.weights_gb);
        }
    }

    #[test]
    fn loads_without_sharing_take_what_was_measured() {
        // fixed + weights / rate, to the 12 % that the presets with a free parameter are off.
        let catalogue = Catalogue::builtin();
        for (loader, weights_gb, seconds) in [
            ("tensorizer-nvme-pvc", 12.1, 8.1),
            ("tensorizer-nvme-pvc", 60.0, 17.6),
            ("safetensors-nvme-pvc", 60.0, 23.7),
            ("transformers-nvme-pvc", 12.1, 15.0),
            ("safetensors-network-block", 16.06, 47.99),
            ("streamer-object-store", 16.06, 4.88),
            ("safetensors-local-nvme", 16.06, 4.44),
            ("safetensors-page-cache", 65.5, 12.5),
            ("store-local-nvme", 65.5, 3.22),
            ("sleep-2", 8.4, 2.58),
            ("deepspeed-176b", 352.5, 300.0),
        ] {
            let loader = catalogue.loader(loader).unwrap_or_else(|| panic!("{loader} is listed"));
            let taken = loader.fixed_s + weights_gb / loader.gb_s;
            assert!((taken / seconds - 1.0).abs() < 0.12, "{}: {taken} s", loader.name);
        }
    }

    #[test]
    fn a_model_is_found_by_whatever_a_manifest_calls_it() {
        let catalogue = Catalogue::builtin();
        for (written, name) in [
            ("LLAMA-3.1-8B", Some("llama-3.1-8b")),
            ("hf://meta-llama/Llama-2-7b-chat-hf", Some("llama-2-7b")),
            ("hf://meta-llama/meta-llama-3-8b-instruct", Some("llama-3-8b")),
            ("s3://bucket/models/meta-llama--Meta-Llama-3.1-8B-Instruct", Some("llama-3.1-8b")),
            ("s3://models/gpt-j-6b/model.tensors", Some("gptj-6b")),
            ("facebook/opt-125m", Some("opt-125m")),
            ("gs://kfserving-examples/models/tensorflow/flowers", None),
            ("", None),
        ] {
            assert_eq!(catalogue.find(written).map(|model| model.name.as_str()), name, "{written}");
        }
    }

    #[test]
    fn a_file_adds_to_the_catalogue_and_replaces_what_has_the_same_name() {
        let text = "apiVersion: tidegate.dev/v1alpha1\nkind: Models\nengines:\n- {name: ours, startSeconds: 7, warmSecondsPerGb: 0.5}\nmodels:\n- {name: mine, aliases: [us/Mine], parametersBillion: 2, kvBytesPerToken: 10, loader: sleep-1, engine: ours, imageGb: 3}\n- {name: opt-30b, parametersBillion: 1, kvBytesPerToken: 1, loader: sleep-1, engine: vllm}\n";
        let (catalogue, _) = Catalogue::builtin().parse(text, "m.yaml").expect("it is in order");
        let mine = catalogue.find("hf://us/mine").expect("it was added");
        assert_eq!((mine.weights_gb, mine.engine_s, mine.warm_s), (4.0, 7.0, 2.0));
        assert_eq!((mine.image_gb, mine.host_ms, mine.loader.gb_s), (3.0, 5.0, 12.5));
        assert_eq!(catalogue.find("opt-30b").map(|model| model.weights_gb), Some(2.0));
        assert_eq!(catalogue.default_model().name, "llama-3.1-8b");
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        insta::assert_snapshot!(told("default: lama-3.1-8b\nloaders:\n- {name: a, fixedSeconds: -1, gbPerSecond: 0, path: Disk}\nmodels:\n- {name: b, parametersBillion: 8, kvBytePerToken: 3, loader: sleep-3, engine: rocket}\n- name: 3\n"), @r#"
        m.yaml:3: default is "lama-3.1-8b", expected llama-3.1-8b
        m.yaml:5: loaders[0].path is "Disk", expected SharedStore, NodeDisk or NodeMemory
        m.yaml:5: loaders[0].fixedSeconds is -1, expected a number of at least 0
        m.yaml:7: models[0].kvBytePerToken is no known key, expected kvBytesPerToken
        m.yaml:7: models[0].loader is "sleep-3", expected sleep-1
        m.yaml:7: models[0].engine is "rocket", expected one of asleep, pytorch, transformers, vllm, vllm-2023, vllm-cached
        m.yaml:7: models[0].kvBytesPerToken is missing, expected a number of at least 0
        m.yaml:8: models[1].name is 3, expected a text: write "3"
        "#);
        insta::assert_snapshot!(told("default: llama-3.1-8b\nmodel: []\n"), @"m.yaml:4: model is no known key, expected models");
        let empty = Catalogue::builtin().parse("# nothing\n", "m.yaml").expect_err("it is empty");
        insta::assert_snapshot!(empty, @"m.yaml:1: the file is empty, expected a document of kind Models");
    }
}
