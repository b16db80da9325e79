//! Reads from manifests what process a replica is. It is asked in every run, but only a live one is told what is wrong.

use std::path::{Path, PathBuf};

use super::field::{At, Fields, Notes, Unknown};
use super::launch::{GRACE_MS, Launch, Port, Probe, Way, references};
use super::service::Service;

/// Keys of our own form that say what process a service is.
pub(super) const OWN: [&str; 8] =
    ["command", "args", "env", "workingDir", "port", "ready", "alive", "gracePeriod"];
/// Variables that the placement's choice becomes.
pub(super) const GPU_VARIABLES: [&str; 3] =
    ["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"];
/// What the host's own variables begin with.
pub(super) const OWN_VARIABLES: &str = "TIDEGATE_";

/// What a command may refer to without defining it.
const GIVEN: [&str; 4] = ["PORT", "TIDEGATE_SERVICE", "TIDEGATE_REPLICA", "TIDEGATE_GPU_SHARE"];

const COMMAND: &str = "the command that starts the server on this machine, as [vllm, serve, my-model, --port, $(PORT)]";

/// The launch of a KServe predictor, served by `model` or by containers.
pub(super) fn of_predictor(
    predictor: &Fields<'_>,
    model: Option<&At<'_>>,
    notes: &mut Notes<'_>,
) -> Option<Launch> {
    notes.live(|notes| {
        let containers = predictor.get("containers").map_or(Vec::new(), |at| at.items(notes));
        let is_main = |at: &&At<'_>| at.key("name") == Some("kserve-container");
        // Beside a model, a container is the server's only if it has that name.
        let first = containers.first().filter(|_| model.is_none());
        let container = containers.iter().find(is_main).or(first);
        for other in containers.iter().filter(|at| container.is_none_or(|c| c.path != at.path)) {
            notes.warn(other.line, format!("{} is left out: a replica is one process", other.path));
        }
        let has_command = |at: &&At<'_>| at.map().is_some_and(|it| it.get("command").is_some());
        let at =
            [container, model].into_iter().flatten().find(has_command).or(container).or(model)?;
        if let (Some(model), true) = (model, !has_command(&at)) {
            let path = format!("{}.command", model.path);
            let expected = format!("{COMMAND}: there are no serving runtimes here");
            notes.fault(model.line, &path, "missing", expected);
            return None;
        }
        for key in ["storageUri", "storageUris", "storage"] {
            if let Some(at) = model.and_then(|at| at.map()?.get(key)) {
                let path = &at.path;
                notes.warn(
                    at.line,
                    format!("{path}: nothing is fetched; the command must find the weights itself"),
                );
            }
        }
        of_container(at, predictor, notes)
    })
}

/// The launch of a Knative Service.
pub(super) fn of_pod(pod: &Fields<'_>, notes: &mut Notes<'_>) -> Option<Launch> {
    notes.live(|notes| {
        let containers = pod.get("containers")?.items(notes);
        // Knative's main container is the one with a port.
        let has_ports = |at: &&At<'_>| at.map().is_some_and(|it| it.get("ports").is_some());
        let main = containers.iter().find(has_ports).or(containers.first())?;
        for other in containers.iter().filter(|at| at.path != main.path) {
            notes.warn(other.line, format!("{} is left out: a replica is one process", other.path));
        }
        of_container(main, pod, notes)
    })
}

fn of_container(at: &At<'_>, pod: &Fields<'_>, notes: &mut Notes<'_>) -> Option<Launch> {
    let container = at.map()?;
    if container.get("command").is_none() {
        let expected =
            format!("{COMMAND}: an image cannot be run, for there is no container engine here");
        notes.fault(at.line, &container.path("command"), "missing", expected);
        return None;
    }
    let without_effect = ["initContainers", "volumes"].map(|key| pod.get(key));
    let of_container = ["lifecycle", "securityContext", "volumeMounts", "volumeDevices"]
        .map(|key| container.get(key));
    for at in without_effect.into_iter().chain(of_container).flatten() {
        notes
            .warn(at.line, format!("{} has no effect: replicas are plain processes here", at.path));
    }
    if let Some(at) = container.get("envFrom") {
        at.refuse(
            notes,
            "nothing: there are neither config maps nor secrets here; write the variables in env",
        );
    }
    let folder = container.get("workingDir").and_then(|at| Some(folder_of(at.text(notes)?, notes)));
    let env = container.get("env").map_or(Vec::new(), |at| read_env(&at, notes));
    let command = read_command(&container, &env, notes);
    let ports = container.get("ports").map_or(Vec::new(), |at| at.items(notes));
    let written = ports.first().and_then(|at| at.map()?.get("containerPort"));
    let port = port_of(written.and_then(|at| read_port(&at, notes)), &command, &env);
    let names = Ports {
        own: written_port(&ports),
        named: ports.iter().filter_map(|at| Some((at.key("name")?, number_of(at)?))).collect(),
    };
    let probe = |key: &str, notes: &mut Notes<'_>| read_probe(&container.get(key)?, &names, notes);
    let (startup, ready) = (probe("startupProbe", notes), probe("readinessProbe", notes));
    let alive = probe("livenessProbe", notes);
    let grace_ms = pod
        .get("terminationGracePeriodSeconds")
        .and_then(|at| at.count(0, notes))
        .map_or(GRACE_MS, |s| u64::from(s) * 1_000);
    let ready = ready.unwrap_or_default();
    Some(Launch { command, env, folder, port, startup, ready, alive, grace_ms })
}

/// The launch of a service of our own form.
pub(super) fn of_own(service: &Fields<'_>, notes: &mut Notes<'_>) -> Option<Launch> {
    notes.live(|notes| {
        if service.get("command").is_none() {
            notes.fault(service.line(), &service.path("command"), "missing", COMMAND);
            return None;
        }
        let folder =
            service.get("workingDir").and_then(|at| Some(folder_of(at.text(notes)?, notes)));
        let env = service.get("env").map_or(Vec::new(), |at| read_env(&at, notes));
        let command = read_command(service, &env, notes);
        let written = service.get("port").and_then(|at| read_port(&at, notes));
        let port = port_of(written, &command, &env);
        let ready = service.get("ready").and_then(|at| read_own_probe(&at, notes));
        let alive = service.get("alive").and_then(|at| read_own_probe(&at, notes));
        let grace_ms = service.or("gracePeriod", GRACE_MS, notes, At::duration_ms);
        let ready = ready.unwrap_or_default();
        Some(Launch { command, env, folder, port, startup: None, ready, alive, grace_ms })
    })
}

/// Says what goes not together: replicas that all insist on one port.
pub(super) fn check(service: &Service, line: u64, notes: &mut Notes<'_>) {
    let Some(Launch { port: Port::Fixed(port), .. }) = &service.launch else { return };
    if notes.is_live && service.max_replicas != Some(1) {
        let name = &service.name;
        notes.warn(line, format!("service {name}: every replica would listen on port {port}, so one at a time can run here; write $(PORT) where the port goes, or at most one replica"));
    }
}

/// A folder, from the one of the file.
fn folder_of(text: &str, notes: &Notes<'_>) -> PathBuf {
    Path::new(notes.file).parent().unwrap_or(Path::new("")).join(text)
}

fn read_command(
    fields: &Fields<'_>,
    env: &[(String, String)],
    notes: &mut Notes<'_>,
) -> Vec<String> {
    let mut words = Vec::new();
    for key in ["command", "args"] {
        let Some(at) = fields.get(key) else { continue };
        let items = at.items(notes);
        if key == "command" && items.is_empty() && at.is_list() {
            at.refuse(notes, COMMAND);
        }
        for item in items {
            let Some(word) = item.scalar(notes) else { continue };
            if word.contains('\0') || (word.is_empty() && words.is_empty()) {
                item.refuse(notes, "a word of a command line");
            }
            for name in references(word) {
                let is_known = GIVEN.contains(&name.as_str())
                    || GPU_VARIABLES.contains(&name.as_str())
                    || env.iter().any(|(known, _)| *known == name);
                if !is_known {
                    notes.warn(
                        item.line,
                        format!(
                            "{}: nothing defines {name}, so $({name}) stays as it is",
                            item.path
                        ),
                    );
                }
            }
            words.push(word.to_owned());
        }
    }
    words
}

/// Variables: a list as Kubernetes has it, or a map.
fn read_env(at: &At<'_>, notes: &mut Notes<'_>) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut take = |at: &At<'_>, name: &str, value: &str, notes: &mut Notes<'_>| {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            notes.fault(
                at.line,
                &at.path,
                format!("{name:?}"),
                "a variable: a name without =, and a text",
            );
        } else if name == "PORT" {
            notes.fault(at.line, &at.path, "PORT", "nothing: the host gives PORT; a server that insists on a port has it in port, or in containerPort");
        } else if name.starts_with(OWN_VARIABLES) {
            notes.fault(
                at.line,
                &at.path,
                name,
                "another name: variables that begin with TIDEGATE_ are the host's",
            );
        } else if GPU_VARIABLES.contains(&name) {
            notes.warn(
                at.line,
                format!("{}: {name} has no effect: it is what the placement chose", at.path),
            );
        } else {
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value.to_owned()));
        }
    };
    if at.is_map() {
        for (name, at) in at.entries(notes) {
            if let Some(value) = at.scalar(notes) {
                take(&at, name, value, notes);
            }
        }
        return env;
    }
    for item in at.items(notes) {
        let known = ["name", "value", "valueFrom"];
        let Some(fields) = item.fields(&known, Unknown::Warned, notes) else { continue };
        let name = fields.need("name", "a name", notes).and_then(|at| at.text(notes));
        if let Some(from) = fields.get("valueFrom") {
            let source = from.map().and_then(|it| {
                ["secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef"]
                    .into_iter()
                    .find_map(|key| it.get(key))
            });
            let at = source.as_ref().unwrap_or(&from);
            if at.key("optional") == Some("true") {
                notes.warn(
                    at.line,
                    format!("{} is left out: there is nothing here to take it from", at.path),
                );
            } else {
                notes.fault(
                    at.line,
                    &at.path,
                    "a reference",
                    "a plain value: there is no cluster here to take it from",
                );
            }
            continue;
        }
        let value = match fields.get("value") {
            Some(at) => at.text(notes),
            None => Some(""),
        };
        if let (Some(name), Some(value)) = (name, value) {
            take(&item, name, value, notes);
        }
    }
    env
}

/// The ports of a container.
struct Ports<'a> {
    own: Option<u16>,
    named: Vec<(&'a str, u16)>,
}

const PORT: &str = "a port, from 1 to 65535";

fn read_port(at: &At<'_>, notes: &mut Notes<'_>) -> Option<u16> {
    let port = at.tree.scalar().and_then(|text| text.parse().ok()).filter(|port| *port > 0);
    if port.is_none() {
        at.refuse(notes, PORT);
    }
    port
}

fn number_of(at: &At<'_>) -> Option<u16> {
    at.key("containerPort")?.parse().ok()
}

fn written_port(ports: &[At<'_>]) -> Option<u16> {
    ports.first().and_then(number_of)
}

/// The written port, unless the server listens where it is told: then the host says where.
fn port_of(written: Option<u16>, command: &[String], env: &[(String, String)]) -> Port {
    let values = env.iter().map(|(_, value)| value);
    let is_told = command.iter().chain(values).any(|text| {
        ["$(PORT)", "$PORT", "${PORT"].iter().any(|reference| text.contains(reference))
    });
    match written {
        Some(port) if !is_told => Port::Fixed(port),
        Some(_) | None => Port::Given,
    }
}

/// A probe as Kubernetes has it.
fn read_probe(at: &At<'_>, ports: &Ports<'_>, notes: &mut Notes<'_>) -> Option<Probe> {
    let known = [
        "httpGet",
        "tcpSocket",
        "exec",
        "grpc",
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "successThreshold",
        "failureThreshold",
        "terminationGracePeriodSeconds",
    ];
    let fields = at.fields(&known, Unknown::Warned, notes)?;
    let mut probe = Probe::default();
    for key in ["exec", "grpc"] {
        if let Some(at) = fields.get(key) {
            let found = format!("{key}, which is not asked here");
            notes.fault(at.line, &at.path, found, "httpGet or tcpSocket");
            return None;
        }
    }
    if let Some(get) = fields.get("httpGet") {
        let known = ["path", "port", "host", "scheme", "httpHeaders"];
        let get = get.fields(&known, Unknown::Warned, notes)?;
        if let Some(at) = get.get("scheme").filter(|at| at.tree.scalar() != Some("HTTP")) {
            at.refuse(notes, "HTTP");
        }
        if let Some(at) = get.get("host") {
            at.refuse(notes, "nothing: a replica is asked on this machine");
        }
        let path = get.get("path").and_then(|at| read_path(&at, notes));
        let headers = get.get("httpHeaders").map_or(Vec::new(), |at| at.items(notes));
        let headers = headers.iter().filter_map(|at| read_header(at, notes)).collect();
        probe.way = Way::Http { path: path.unwrap_or_else(|| "/".to_owned()), headers };
        probe.port = get.get("port").and_then(|at| probe_port(&at, ports, notes));
    } else if let Some(socket) = fields.get("tcpSocket") {
        let socket = socket.fields(&["port", "host"], Unknown::Warned, notes)?;
        probe.port = socket.get("port").and_then(|at| probe_port(&at, ports, notes));
    }
    let seconds = |key: &str, least: u32, notes: &mut Notes<'_>| {
        fields.get(key)?.count(least, notes).map(|s| u64::from(s) * 1_000)
    };
    probe.initial_delay_ms = seconds("initialDelaySeconds", 0, notes).unwrap_or(0);
    // Knative writes 0 where it wants to ask as often as it can.
    probe.period_ms = seconds("periodSeconds", 0, notes).filter(|ms| *ms > 0);
    probe.timeout_ms =
        seconds("timeoutSeconds", 0, notes).filter(|ms| *ms > 0).unwrap_or(probe.timeout_ms);
    let failures = fields.get("failureThreshold").and_then(|at| at.count(1, notes));
    probe.failures = failures.unwrap_or(probe.failures);
    Some(probe)
}

/// Another port than the service's own, by number or name.
fn probe_port(at: &At<'_>, ports: &Ports<'_>, notes: &mut Notes<'_>) -> Option<u16> {
    let text = at.tree.scalar()?;
    let named = ports.named.iter().find(|(name, _)| *name == text).map(|(_, port)| *port);
    let port = match named {
        Some(port) => port,
        // Knative's for "the port that it serves on".
        None if text == "0" => return None,
        None => match text.parse().ok().filter(|port| *port > 0) {
            Some(port) => port,
            None => {
                at.refuse(notes, format!("{PORT}, or the name of one in ports"));
                return None;
            }
        },
    };
    (Some(port) != ports.own).then_some(port)
}

/// A probe of our own form.
fn read_own_probe(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Probe> {
    let known = ["http", "tcp", "port", "period", "timeout", "failures", "initialDelay"];
    let fields = at.fields(&known, Unknown::Refused, notes)?;
    let mut probe = Probe::default();
    match (fields.get("http"), fields.get("tcp")) {
        (Some(http), None) => {
            let path = read_path(&http, notes)?;
            probe.way = Way::Http { path, headers: Vec::new() };
        }
        (None, Some(tcp)) => {
            if tcp.flag(notes) == Some(false) {
                tcp.refuse(notes, "true, or http with a path");
            }
        }
        (Some(_), Some(tcp)) => tcp.refuse(notes, "nothing beside http"),
        (None, None) => {}
    }
    probe.port = fields.get("port").and_then(|at| read_port(&at, notes));
    probe.period_ms = fields.get("period").and_then(|at| at.duration_ms(notes));
    probe.timeout_ms = fields.or("timeout", probe.timeout_ms, notes, At::duration_ms);
    probe.initial_delay_ms = fields.or("initialDelay", 0, notes, At::duration_ms);
    probe.failures = fields.or("failures", probe.failures, notes, |at, notes| at.count(1, notes));
    Some(probe)
}

/// What may stand in the first line of a request: no spaces, no control characters, nothing that ends the line.
fn read_path(at: &At<'_>, notes: &mut Notes<'_>) -> Option<String> {
    let text = at.scalar(notes)?;
    let path = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    let is_plain = path.bytes().all(|b| b.is_ascii_graphic());
    if !is_plain {
        at.refuse(notes, "a path, as /health");
    }
    is_plain.then_some(path)
}

fn read_header(at: &At<'_>, notes: &mut Notes<'_>) -> Option<(String, String)> {
    let fields = at.fields(&["name", "value"], Unknown::Warned, notes)?;
    let name = fields.need("name", "a header", notes)?.text(notes)?;
    let value = fields.get("value").and_then(|at| at.text(notes)).unwrap_or("");
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_value = value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !is_name || !is_value {
        at.refuse(notes, "a header of plain characters");
    }
    (is_name && is_value).then(|| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
