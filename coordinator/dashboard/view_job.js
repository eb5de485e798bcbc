// SPDX-License-Identifier: Apache-2.0
// view_job: one job, or two over each other: its curves as they grow, and all that is known of it.

import { ask, get, may, pages } from "./api.js";
import { chart } from "./charts.js";
import { ago, bytes, clock, confirmed, empty, h, pairs, panel, percent, severity, state } from "./dom.js";
import { follow, on } from "./stream.js";

const POINTS_MAX = 50000, LINES = 400;
const FINAL = ["succeeded", "failed", "cancelled"];
const PHASES = ["data", "forward", "backward", "reduce", "optimizer", "checkpoint"];
// What is drawn: title, names of values, unit; and which of them of runs that are laid over each other.
const CURVES = [
  ["Loss", ["loss", "rank_loss", "lm_loss", "eval_loss"], "", ["loss"]],
  ["Ranking accuracy", ["accuracy", "eval_custom_accuracy", "eval_general_accuracy"], "", ["accuracy", "eval_general_accuracy"]],
  ["Reward margin", ["margin"], ""],
  ["Learning rate", ["learning_rate"], ""],
  ["Tokens a second", ["tokens_per_second"], ""],
  ["Gradient norm", ["grad_norm"], ""],
  ["A step's phases, seconds", PHASES.map((phase) => `step_seconds.${phase}`), "s", ["step_seconds.backward"]],
];
const VERBS = [
  ["cancel", (job) => !FINAL.includes(job.state)], ["pause", (job) => ["running", "starting", "queued"].includes(job.state)],
  ["resume", (job) => job.state === "paused"], ["retry", (job) => ["failed", "cancelled"].includes(job.state)],
];

const valuesOf = (points, name) => points.filter((p) => Number.isFinite(p.values[name])).map((p) => ({ x: p.step, y: p.values[name] }));

async function read(id) {
  const [job, points] = await Promise.all([get(`/v1/jobs/${id}`), pages(`/v1/jobs/${id}/metrics`, "points", POINTS_MAX)]);
  return { job, points };
}

// Curves of one run or of several; returns how points are added.
function curves(place, runs) {
  const made = [];
  for (const [title, every, unit, few] of CURVES) {
    const names = runs.length > 1 && few ? few : every;
    const series = runs.flatMap(({ job, points }) => names.map((name) => ({ id: job.id, value: name,
      name: runs.length > 1 ? `${job.id} ${name}` : name, points: valuesOf(points, name) })));
    const used = series.filter((s) => s.points.length > 0 || runs.some((r) => r.job.id === s.id && !FINAL.includes(r.job.state) &&
      s.value === names[0]));
    if (used.length === 0) continue;
    const it = chart(title, used, { y: unit });
    place.append(it.element);
    made.push({ it, used });
  }
  return (id, point) => {
    for (const { it, used } of made) {
      for (const s of used) {
        if (s.id === id && Number.isFinite(point.values[s.value])) it.add(s.name, { x: point.step, y: point.values[s.value] });
      }
    }
  };
}

export async function compareView(view, a, b) {
  const runs = await Promise.all([read(a), read(b)]);
  const place = h("div", { class: "columns", "data-test": "charts" });
  view.append(h("h1", {}, "Two runs: ", h("a", { href: `#/jobs/${a}` }, `${a} ${runs[0].job.name || ""}`), " and ",
    h("a", { href: `#/jobs/${b}` }, `${b} ${runs[1].job.name || ""}`)), place);
  const add = curves(place, runs);
  follow([a, b], false);
  const leave = on("metric", ({ job, point }) => add(job, point));
  return () => { leave(); follow([], false); };
}

function reliability(job) {
  const sets = (job.gate_figures && job.gate_figures.sets) || [];
  return sets.filter((set) => set.after && set.after.bins).map((set) => {
    const points = set.after.bins.filter((b) => b.count > 0).map((b) => ({ x: b.confidence, y: b.correct }));
    return chart(`Reliability on ${set.name}: how often right, by how sure`, [
      { name: "right", points }, { name: "as sure as right", points: [{ x: 0.5, y: 0.5 }, { x: 1, y: 1 }] }],
    { x: "confidence", scatter: true }).element;
  });
}

function rowsTable(rows) {
  return h("div", { class: "scroll" }, h("table", { "aria-label": "Worst rows" }, h("tbody", {}, rows.map((row) => h("tr", {},
    h("td", { class: "quiet" }, `${row.set || ""}:${row.line || ""}`), h("td", { class: "number" }, row.margin === undefined ? "" : row.margin.toFixed(2)),
    h("td", {}, JSON.stringify(row.rows || row.texts || row).slice(0, 400)))))));
}

function factsOf(job) {
  const figures = job.gate_figures || {};
  return [
    ["tenant", job.tenant], ["stage", job.stage], ["from", job.from],
    ["steps", job.steps_total ? `${job.step || 0} of ${job.steps_total}` : ""], ["waits for", job.waiting_detail],
    ["failed", job.failure_class && `${job.failure_class}: ${job.failure_message || ""}`], ["hint", job.failure_hint],
    ["model", job.output_model && `${job.output_model}${job.output_version ? ` v${job.output_version}` : ""}`],
    ["gate", figures.gate ? [figures.gate.verdict, ...(figures.gate.reasons || [])].join(": ") : ""],
    ["custom gain", figures.custom_gain ? percent(figures.custom_gain.accuracy) : ""],
    ["general preservation", figures.general_preservation ? percent(figures.general_preservation.accuracy) : ""],
    ["labels", Object.entries(job.labels || {}).map(([k, v]) => `${k}=${v}`).join(", ")], ["numerics", job.numerics],
    ["submitted", job.created_ms && `${clock(job.created_ms)} by ${job.submitter || ""}`], ["attempts", job.term],
  ];
}

export async function jobView(view, id) {
  let { job, points } = await read(id);
  const head = h("div", { class: "bar" }), facts = h("div", {}), place = h("div", { class: "columns", "data-test": "charts" });
  const events = h("tbody", {}), log = h("pre", { tabindex: "0", "aria-label": "Log" }), error = h("p", { role: "alert" });
  const more = h("div", { class: "columns" });
  view.append(head, error, panel("This job", facts), place, more,
    panel("Events", h("div", { class: "scroll" }, h("table", { "aria-label": "Events" }, events))), panel("Log", log));

  const act = (verb) => async () => {
    error.textContent = "";
    if (!await confirmed(`${verb[0].toUpperCase()}${verb.slice(1)} ${job.id}${job.name ? ` (${job.name})` : ""}?`, verb)) return;
    try {
      const reply = await ask("POST", `/v1/jobs/${job.id}:${verb}`);
      if (reply.id && reply.id !== job.id) location.hash = `#/jobs/${reply.id}`;
      else { job = { ...job, ...reply }; show(); }
    } catch (failure) { error.textContent = failure.message; }
  };
  // A button stays while what it does can be done: who is about to press it does not lose it to the next step's news.
  let headed = "";
  function show() {
    const heading = [job.state, job.gate_decision, job.name].join();
    if (heading !== headed) heads();
    headed = heading;
    facts.replaceChildren(pairs(factsOf(job)));
  }
  function heads() {
    head.replaceChildren(h("h1", {}, job.id, " ", job.name || ""), state(job.gate_decision === "held" ? "held" : job.state), h("span", { class: "grow" }),
      ...VERBS.filter(([, fits]) => may("submitter") && fits(job)).map(([verb]) => h("button", { type: "button",
        class: verb === "cancel" ? "bad" : "", "data-test": verb, onclick: act(verb) }, verb)));
  }
  show();
  const add = curves(place, [{ job, points }]);
  if (points.length === 0) place.append(empty("No point yet: the first comes with the first step."));
  const event = (e) => events.prepend(h("tr", {}, h("td", { class: "quiet wide time", title: clock(e.time_ms) }, ago(e.time_ms)),
    h("td", {}, severity(e), e.kind), h("td", {}, e.message || "")));
  const line = (text) => {
    log.append(`${text}\n`);
    while (log.childNodes.length > LINES) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  };
  const leave = [
    on("metric", ({ job: of, point }) => { if (of === id) add(id, point); }),
    on("log", ({ job: of, line: l }) => { if (of === id) line(l.text); }),
    on("event", (e) => { if (e.job_id === id) event(e); }),
    on("jobs", ({ jobs }) => { const mine = jobs.find((j) => j.id === id); if (mine) { job = { ...job, ...mine }; show(); } }),
  ];
  follow([id], true);
  // Points that came while there was no stream.
  leave.push(on("up", async () => {
    const last = points.length ? points[points.length - 1].step : 0;
    points = await pages(`/v1/jobs/${id}/metrics`, "points", POINTS_MAX);
    points.filter((point) => point.step > last).forEach((point) => add(id, point));
    job = { ...job, ...await get(`/v1/jobs/${id}`) };
    show();
  }));
  const part = async (path, make) => { try { const it = await get(`/v1/jobs/${id}/${path}`); make(it); } catch { /* it has none */ } };
  await part("events?limit=1000", (it) => it.events.forEach(event));
  await part("logs?limit=400", (it) => it.lines.forEach((l) => line(l.text)));
  more.append(...reliability(job));
  await part("attempts", (it) => more.append(panel("Attempts", h("table", {}, h("tbody", {}, it.attempts.map((a) => h("tr", {},
    h("td", {}, `term ${a.term}`), h("td", {}, state(a.state)), h("td", {}, a.reason || ""),
    h("td", {}, (a.ranks || []).map((r) => r.worker).join(", ")), h("td", {}, a.failure_message || ""))))))));
  await part("checkpoints", (it) => it.checkpoints.length && more.append(panel("Checkpoints", h("table", {}, h("tbody", {},
    it.checkpoints.map((c) => h("tr", {}, h("td", {}, `step ${c.step}`), h("td", {}, c.best ? "best" : ""),
      h("td", { class: "number" }, bytes(c.bytes)), h("td", { class: "quiet" }, ago(c.created_ms)))))))));
  if (FINAL.includes(job.state) && job.stage !== "admit") await part("rows?worst=20", (it) => it.rows.length && more.append(panel("What it gets most wrong", rowsTable(it.rows))));
  more.append(panel("Resolved spec", h("pre", { tabindex: "0", "aria-label": "Spec" }, JSON.stringify(job.spec, null, 2) || "")));
  return () => { leave.forEach((end) => end()); follow([], false); };
}
