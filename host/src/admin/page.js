// Shows the status as it comes. Whatever it shows is set as text, never as markup: names and reasons may come from anybody.
"use strict";

const SPAN_S = 600;
const LISTED = 60;
const SVG = "http://www.w3.org/2000/svg";
const PHASES = ["ready", "loading", "pulling", "placed", "pending", "draining", "failed"];

let status = null;
let chosen = null;
const at = (id) => document.getElementById(id);

/** An element with a class, and text or children in it. */
function make(tag, kind, ...inside) {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...inside.filter((one) => one !== null && one !== undefined).map((one) => one instanceof Node ? one : String(one)));
  return element;
}

function draw(tag, kind, attributes) {
  const element = document.createElementNS(SVG, tag);
  if (kind) element.setAttribute("class", kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const put = (element, ...children) => element.replaceChildren(...children);
const short = (digest) => digest.replace(/^sha256:/, "").slice(0, 12);
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 120) return s + " s";
  if (s < 7200) return Math.floor(s / 60) + " min";
  if (s < 172800) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " d";
}

function bytes(count) {
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (count < 1000) return (unit === "B" ? count : count.toFixed(1)) + " " + unit;
    count /= 1000;
  }
  return count.toFixed(1) + " TB";
}

const counted = (count, one) => count + " " + one + (count === 1 ? "" : "s");
const sum = (list, of) => list.reduce((all, one) => all + of(one), 0);

/** Steps through values of one a second, ending at the right edge. */
function path(values, width, height, top, closed) {
  const x = (i) => (width * (SPAN_S - values.length + i) / SPAN_S).toFixed(1);
  const y = (value) => (height - height * Math.min(value, top) / top).toFixed(1);
  let d = "";
  let last = null;
  for (let i = 0; i < values.length; i++) {
    if (values[i] === last) continue;
    d += (last === null ? "M" + x(i) + " " + y(values[i]) : "H" + x(i) + "V" + y(values[i]));
    last = values[i];
  }
  if (d === "") return "";
  d += "H" + width;
  if (closed) d += "V" + height + "H" + x(0) + "Z";
  return d;
}

const highest = (...lists) => lists.reduce((top, list) => list.reduce((a, b) => Math.max(a, b), top), 0);

function plots(svg, series, width, height, top) {
  const most = Math.max(1, highest(series.waiting));
  if (highest(series.waiting) > 0) svg.append(draw("path", "area waiting", { d: path(series.waiting, width, height, most * 1.15, true) }));
  svg.append(draw("path", "area ready", { d: path(series.ready, width, height, top, true) }));
  svg.append(draw("path", "line ready", { d: path(series.ready, width, height, top, false) }));
  svg.append(draw("path", "line desired", { d: path(series.desired, width, height, top, false) }));
}

function spark(service) {
  const svg = draw("svg", "spark", { viewBox: "0 0 150 26", preserveAspectRatio: "none", role: "img", "aria-label": "desired, ready and waiting over ten minutes" });
  plots(svg, service.series, 150, 26, Math.max(1, highest(service.series.desired, service.series.ready)) * 1.12);
  return svg;
}

function chart(service) {
  const box = at("chart");
  const width = Math.max(240, box.clientWidth), left = 30, right = 34, height = 150;
  const inner = width - left - right;
  const svg = draw("svg", "", { width, height: height + 26, role: "img", "aria-label": "desired against ready replicas over ten minutes" });
  const series = service.series;
  const top = Math.max(1, highest(series.desired, series.ready));
  const step = Math.ceil(top / 4);
  const plot = draw("g", "", { transform: "translate(" + left + " 6)" });
  const scale = top * 1.12;
  for (let value = 0; value <= top; value += step) {
    const y = height - height * value / scale;
    plot.append(draw("line", "grid", { x1: 0, x2: inner, y1: y, y2: y }));
    const text = draw("text", "end", { x: -8, y: y + 4 });
    text.textContent = value;
    plot.append(text);
  }
  const most = highest(series.waiting);
  if (most > 0) {
    const text = draw("text", "", { x: inner + 6, y: height - height / 1.15 + 4 });
    text.textContent = most;
    plot.append(text);
  }
  for (let minute = 0; minute <= 10; minute += inner < 420 ? 5 : 2) {
    const text = draw("text", minute === 0 ? "end" : minute === 10 ? "" : "middle", { x: inner * (1 - minute / 10), y: height + 16 });
    text.textContent = minute === 0 ? "now" : "−" + minute + " min";
    plot.append(text);
  }
  plots(plot, series, inner, height, scale);
  svg.append(plot);
  put(box, svg);
}

function number(value, what, alarm) {
  const told = make("span", "", value);
  told.dataset.is = what;
  return make("td", "n" + (value === 0 ? " zero" : "") + (alarm ? " alarm" : ""), told);
}

function dots(service) {
  const row = make("div", "dots");
  const phases = service.replicas.map((one) => one.phase).sort((a, b) => PHASES.indexOf(a) - PHASES.indexOf(b));
  const counts = {};
  for (const phase of phases) counts[phase] = (counts[phase] || 0) + 1;
  const told = PHASES.filter((phase) => counts[phase]).map((phase) => counts[phase] + " " + phase).join(", ");
  row.title = told || "no replica";
  row.setAttribute("aria-label", row.title);
  for (const phase of phases.slice(0, 32)) row.append(make("span", "dot " + phase, phase));
  if (phases.length > 32) row.append(make("span", "faint", "+" + (phases.length - 32)));
  return row;
}

function marks(service) {
  const list = [];
  if (service.pin) list.push(make("span", "mark warn", "pinned to " + service.pin.replicas + " for " + span(service.pin.until - status.at)));
  if (service.isEvicted) list.push(make("span", "mark warn", "made room"));
  if (service.isFake) list.push(make("span", "mark", "fake model"));
  const unplaced = service.targets.map((one) => one.unplaced).find((reason) => reason);
  if (unplaced) { const mark = make("span", "mark warn", "no place"); mark.title = unplaced; list.push(mark); }
  return list;
}

function newest(service) {
  return service.targets.map((one) => one.decision).filter((one) => one).sort((a, b) => b.number - a.number)[0];
}

function serviceRow(service) {
  const button = make("button", "", service.name);
  button.type = "button";
  const name = make("th", "", button, make("br"), ...marks(service));
  name.scope = "row";
  const last = newest(service);
  const waits = service.waiting > 0 ? make("div", "faint", "oldest " + span(service.oldestWaitMs)) : null;
  const waiting = number(service.waiting, "waiting", service.waiting > 0);
  if (waits) waiting.append(waits);
  const why = make("td", "why", last ? last.reason || "–" : "–", last ? make("div", "faint", last.stage + " · " + span(status.at - last.at) + " ago") : null);
  const most = service.max === 0 ? "no limit" : service.max;
  const desired = number(service.desired, "desired");
  desired.title = "from " + service.min + " to " + most;
  const row = make("tr", service.name === chosen ? "open" : "", name, number(service.ready, "ready"), desired,
    make("td", "states", dots(service)), waiting, number(service.inFlight, "in flight"), make("td", "plot", spark(service)), why);
  row.dataset.service = service.name;
  return row;
}

function replicaRow(replica) {
  const where = [replica.node, replica.gpus.length ? "GPU " + replica.gpus.join(", ") : null, replica.port ? "port " + replica.port : null, replica.pid ? "pid " + replica.pid : null];
  const phase = make("span", "phase", make("span", "dot " + replica.phase), replica.phase);
  const name = (replica.pool === "default" ? "" : replica.pool + " ") + (replica.revision === "1" ? "" : replica.revision + " ") + "#" + replica.ordinal;
  return make("tr", "", make("td", "", name), make("td", "", phase), make("td", "n", span(status.at - replica.since)),
    make("td", "where", where.filter((one) => one).join(" · ") || "–"), make("td", "n", replica.inFlight), make("td", "why", replica.reason));
}

function showChosen() {
  const service = status.services.find((one) => one.name === chosen);
  at("chosen").hidden = !service;
  if (!service) return;
  at("chosen-name").textContent = service.name;
  chart(service);
  const none = make("td", "faint", "no replica");
  none.colSpan = 6;
  const rows = service.replicas.map(replicaRow);
  put(at("replicas").tBodies[0], ...(rows.length ? rows : [make("tr", "", none)]));
}

function gpuRow(gpu) {
  const bar = make("div", "bar");
  let free = 1;
  for (const use of gpu.usedBy) {
    const part = make("span", "use", use.service + " #" + use.ordinal);
    part.style.width = Math.min(100, use.share * 100) + "%";
    part.title = use.service + " #" + use.ordinal + ": " + Math.round(use.share * 100) + " %";
    bar.append(part);
    free -= use.share;
  }
  if (gpu.usedBy.length === 0) bar.append(make("span", "free", "free"));
  bar.setAttribute("aria-label", Math.round((1 - free) * 100) + " % used");
  return make("div", "gpu", make("span", "faint", gpu.index + " " + gpu.class), bar);
}

function nodeCard(node) {
  const inside = node.gpus.length ? node.gpus.map(gpuRow) : [make("p", "faint", "no GPU")];
  return make("div", "node", make("h3", "", node.name), ...inside);
}

function decisionRow(decision) {
  const from = decision.from === null ? "–" : decision.from;
  const what = make("div", "what", decision.reason || "no reason was given", " ",
    make("span", "who", decision.stage + " ", make("span", "digest", short(decision.digest))));
  for (const clamp of decision.clamps) what.append(make("div", "clamp", clamp));
  const name = decision.service + (decision.target ? "/" + decision.target : "");
  return make("li", "", make("span", "faint", clock(decision.at)), make("span", "", name), make("span", "move", from + " → " + decision.to), what);
}

function policyCard(policy) {
  const card = make("li", "", make("b", "", policy.stage), make("span", policy.health, policy.health), " ",
    make("span", "faint", policy.source + " · "), make("span", "digest", short(policy.digest)),
    make("div", "faint", policy.kind + " · decides for " + span(status.at - policy.since) + " · on failure: " + policy.onFailure));
  if (policy.failures > 0) card.append(make("div", "failing", counted(policy.failures, "failure") + ": " + (policy.lastFailure || "")));
  if (policy.shadow) {
    const shadow = policy.shadow;
    card.append(make("div", "", "in shadow: " + shadow.source + " ", make("span", "digest", short(shadow.digest)),
      ", " + shadow.differing + " of " + shadow.compared + " decisions differ" + (shadow.last ? "; last: " + shadow.last : "")));
  }
  return card;
}

function swapRow(swap) {
  return make("li", "", make("span", "faint", clock(swap.at)),
    make("div", "", make("span", swap.outcome, swap.outcome), " " + swap.stage + " ",
      make("span", "digest", short(swap.from) + " → " + short(swap.to)), make("div", "faint", swap.message)));
}

function banners() {
  const list = [];
  if (status.isDryRun) list.push("Dry run: it decides and writes its journal, and starts or stops nothing.");
  if (status.phase !== "running") list.push(status.phase === "starting" ? "It starts." : "It stops: what it has is answered, nothing new is taken.");
  const pinned = status.services.filter((one) => one.pin).map((one) => one.name + " to " + one.pin.replicas + " until " + clock(one.pin.until));
  if (pinned.length) list.push("Pinned by hand: " + pinned.join("; "));
  const fake = status.services.filter((one) => one.isFake).map((one) => one.name);
  if (fake.length) list.push("Fake models, made-up words: " + fake.join(", "));
  if (status.journal && status.journal.error) list.push("The journal is not written: " + status.journal.error);
  put(at("banners"), ...list.map((text) => make("p", "banner", text)));
}

function headline() {
  const all = status.services;
  const waiting = sum(all, (one) => one.waiting);
  const gpus = status.nodes.flatMap((one) => one.gpus);
  const used = sum(gpus, (one) => Math.min(1, sum(one.usedBy, (use) => use.share)));
  const failing = status.policies.filter((one) => one.health !== "healthy").length;
  const figures = [
    [sum(all, (one) => one.ready) + " / " + sum(all, (one) => one.desired), "replicas ready / desired"],
    [waiting, "requests waiting", waiting > 0],
    [sum(all, (one) => one.inFlight), "in flight"],
    [gpus.length ? (Math.round(used * 10) / 10) + " / " + gpus.length : "–", "GPUs used"],
    [failing === 0 ? "all" : status.policies.length - failing + " / " + status.policies.length, "policies healthy", failing > 0],
  ];
  put(at("headline"), ...figures.map(([value, name, alarm]) => make("div", "", make("dt", "", name), make("dd", alarm ? "alarm" : "", value))));
}

function show() {
  if (!status || document.hidden) return;
  at("about").textContent = status.version + " · up " + span(status.at - status.startedAt);
  document.title = (sum(status.services, (one) => one.waiting) > 0 ? "● " : "") + "Tidegate";
  banners();
  headline();
  if (chosen === null && status.services.length) {
    chosen = [...status.services].sort((a, b) => b.waiting - a.waiting || b.desired - a.desired)[0].name;
  }
  const focused = document.activeElement && document.activeElement.closest("tr[data-service]");
  const focus = focused && focused.dataset.service;
  const body = at("services").tBodies[0];
  put(body, ...status.services.map(serviceRow));
  if (focus) for (const row of body.rows) if (row.dataset.service === focus) row.querySelector("button").focus();
  showChosen();
  put(at("gpus"), ...(status.nodes.length ? status.nodes.map(nodeCard) : [make("p", "faint", "no node")]));
  const shown = status.decisions.slice(-LISTED).reverse();
  put(at("decisions"), ...(shown.length ? shown.map(decisionRow) : [make("li", "", make("span", "faint", "none yet"))]));
  at("more").hidden = status.decisions.length <= LISTED;
  at("more").textContent = counted(status.decisions.length - LISTED, "earlier decision") + " at api/status";
  put(at("policies"), ...status.policies.map(policyCard));
  put(at("swaps"), ...(status.swaps.length ? status.swaps.slice(-20).reverse().map(swapRow) : [make("li", "", make("span", "faint", "none yet"))]));
  const journal = status.journal;
  at("foot").textContent = journal
    ? "Journal: " + journal.path + ", " + bytes(journal.bytes) + " in " + counted(journal.segments, "file") + ", " + counted(journal.gaps, "gap")
    : "No journal is written.";
}

const KINDS = ["desired", "ready", "waiting", "inFlight"];

/** Carries a series on to a second; seconds without a word were as the one before. */
function carry(series, second, values) {
  const missed = Math.min(SPAN_S, Math.max(0, second - series.endsS));
  for (const kind of KINDS) {
    const list = series[kind];
    const before = list.length ? list[list.length - 1] : 0;
    for (let i = 1; i < missed; i++) list.push(before);
    const value = values ? values[kind][values[kind].length - 1] : before;
    if (missed === 0 && list.length) list[list.length - 1] = value; else list.push(value);
    if (list.length > SPAN_S) list.splice(0, list.length - SPAN_S);
  }
  series.endsS = Math.max(series.endsS, second);
}

function change(next) {
  const known = new Map(status.services.map((one) => [one.name, one.series]));
  for (const service of next.services) {
    const series = known.get(service.name);
    if (!series) continue;
    carry(series, service.series.endsS, service.series);
    service.series = series;
  }
  next.decisions = status.decisions.concat(next.decisions).slice(-200);
  status = next;
}

function link(kind, text) {
  at("link").className = "link " + kind;
  at("link").textContent = text;
}

function listen() {
  const events = new EventSource("api/events");
  events.addEventListener("status", (event) => { status = JSON.parse(event.data); link("on", "live"); show(); });
  events.addEventListener("change", (event) => { if (status) { change(JSON.parse(event.data)); show(); } });
  events.addEventListener("tick", (event) => {
    if (!status) return;
    status.at = JSON.parse(event.data).at;
    for (const service of status.services) carry(service.series, Math.floor(status.at / 1000), null);
    show();
  });
  events.onerror = () => {
    link("off", "not connected, tries again");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

at("services").tBodies[0].addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-service]");
  if (!row) return;
  chosen = row.dataset.service;
  show();
});
document.addEventListener("visibilitychange", show);
addEventListener("resize", () => { if (status) showChosen(); });
listen();
