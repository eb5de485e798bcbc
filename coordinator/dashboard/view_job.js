// SPDX-License-Identifier: Apache-2.0
// view_job: one job: its curves as they grow, and all that is known of it.

import { ask, get, may, pages, tail } from "./api.js";
import { curves, pointsOf } from "./curves.js";
import { ago, bytes, change, clock, confirmed, empty, h, pairs, panel, severity, state, tableOf, widePanel } from "./dom.js";
import { accuracies, margins, reliability, worst } from "./figures.js";
import { behind, follow } from "./stream.js";

const LINES = 1000, EVENTS = 1000, ROWS = 2000, WORST = 20, AGAIN_MS = 30000;
const FINAL = ["succeeded", "failed", "cancelled"];
const JUDGED = ["general", "customize", "evaluate"];
const VERBS = [
  ["cancel", (job) => !FINAL.includes(job.state)], ["pause", (job) => ["running", "starting", "queued"].includes(job.state)],
  ["resume", (job) => job.state === "paused"], ["retry", (job) => ["failed", "cancelled"].includes(job.state)],
];

function factsOf(job) {
  const figures = job.gate_figures || {};
  return [
    ["tenant", job.tenant], ["stage", job.stage], ["from", job.from],
    ["steps", job.steps_total ? `${job.step || 0} of ${job.steps_total}` : ""], ["waits for", job.waiting_detail],
    ["model", job.output_model && `${job.output_model}${job.output_version ? `@${job.output_version}` : ""}`],
    ["gate", figures.gate ? [figures.gate.verdict, ...(figures.gate.reasons || [])].join(": ") : ""],
    ["custom gain", figures.custom_gain ? change(figures.custom_gain.accuracy) : ""],
    ["general, after less before", figures.general_preservation ? change(figures.general_preservation.accuracy) : ""],
    ["labels", Object.entries(job.labels || {}).map(([key, value]) => `${key}=${value}`).join(", ")], ["numerics", job.numerics],
    ["submitted", job.created_ms && `${clock(job.created_ms)} by ${job.submitter || ""}`], ["attempts", job.term],
  ];
}

// Why it failed, what to do, and the last lines of the rank that did.
const failureOf = (job) => (job.failure_class ? panel(`Failed: ${job.failure_class}`, h("p", { class: "bad" }, job.failure_message || ""),
  job.failure_hint ? h("p", {}, job.failure_hint) : "", job.failure_log ? h("pre", { tabindex: "0", "aria-label": "Last lines" }, job.failure_log) : "") : "");

const attemptRow = (a) => h("tr", {}, h("td", {}, String(a.term)), h("td", {}, state(a.state)), h("td", {}, a.reason || ""),
  h("td", {}, (a.ranks || []).map((rank) => rank.worker).join(", ")), h("td", { class: "number" }, a.last_step ?? ""),
  h("td", {}, a.failure_message || ""));
const checkpointRow = (c) => h("tr", {}, h("td", { class: "number" }, c.step), h("td", {}, c.best ? state("best") : ""),
  h("td", { class: "number" }, bytes(c.bytes)), h("td", { class: "quiet" }, ago(c.created_ms)));

// What an evaluation left, once there is one. Returns read(job).
function outcome(element, id) {
  let of = "";
  return async (job) => {
    const version = `${job.term} ${job.finished_ms}`;
    if (job.state !== "succeeded" || !JUDGED.includes(job.stage) || version === of) return;
    of = version;
    let rows = [], few = [];
    try {
      rows = await pages(`/v1/jobs/${id}/rows`, "rows", ROWS);
      few = rows.length && rows[0].rows ? (await get(`/v1/jobs/${id}/rows?worst=${WORST}`)).rows : [];
    } catch { /* it left none */ }
    const table = accuracies(job.gate_figures);
    element.replaceChildren(...(table ? [widePanel("Accuracy by set", table)] : []), ...reliability(job.gate_figures), ...margins(rows),
      ...(few.length ? [widePanel("What it gets most wrong", worst(few))] : []));
  };
}

// Attempts and checkpoints. Returns read().
function parts(attempts, checkpoints, id) {
  const part = async (name) => { try { return (await get(`/v1/jobs/${id}/${name}`))[name]; } catch { return []; } };
  return async () => {
    const [tried, kept] = await Promise.all([part("attempts"), part("checkpoints")]);
    attempts.replaceChildren(tried.length ? tableOf("Attempts", ["Term", "State", "Began by", "Workers", "Last step", ""], tried.map(attemptRow))
      : empty("No attempt yet. Why it waits:", `tailor job why ${id}`));
    checkpoints.replaceChildren(kept.length ? tableOf("Checkpoints", ["Step", "", "Size", "Made"], kept.map(checkpointRow))
      : empty("No checkpoint yet: checkpoint.every in the spec says when the next is due."));
  };
}

// What was found and what happened. Returns {findings, events, add(event)}; events that are already there are passed over.
function history() {
  const found = h("ul", { class: "findings" }), body = h("tbody", {});
  const findings = panel("Findings", found);
  findings.hidden = true;
  const events = panel("Events", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", { "aria-label": "Events" }, body)));
  let last = 0;
  return { findings, events, add(e) {
    if (e.number <= last) return;
    last = e.number;
    body.prepend(h("tr", {}, h("td", { class: "quiet wide time", title: clock(e.time_ms) }, ago(e.time_ms)),
      h("td", {}, severity(e), e.kind), h("td", {}, e.message || "")));
    while (body.children.length > EVENTS) body.lastChild.remove();
    if (e.kind === "job_state" || !severity(e).length) return;
    findings.hidden = false;
    found.prepend(h("li", {}, severity(e), h("b", {}, e.kind.replaceAll("_", " ")), " ", e.message || ""));
  } };
}

// The last lines. Those that are there already, and come again with the next connection, are passed over.
function logOf() {
  const element = h("pre", { tabindex: "0", "aria-label": "Log" });
  let last = 0;
  return { element, add(line) {
    if (line.number <= last) return;
    last = line.number;
    const follows = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    element.append(`${line.text}\n`);
    while (element.childNodes.length > LINES) element.firstChild.remove();
    if (follows) element.scrollTop = element.scrollHeight;
  } };
}

// Name, state and what can be done to it. A button stays while what it does can be done: who is about to press it does
// not lose it to the next step's news.
function heading(element, act) {
  let of = "";
  return (job) => {
    const now = [job.state, job.gate_decision, job.name].join();
    if (now === of) return;
    of = now;
    element.replaceChildren(h("h1", {}, job.id, " ", h("bdi", {}, job.name || "")), state(job.state),
      job.gate_decision ? state(job.gate_decision) : "", h("span", { class: "grow" }),
      ...VERBS.filter(([, fits]) => may("submitter") && fits(job)).map(([verb]) => h("button", { type: "button",
        class: verb === "cancel" ? "bad" : "", "data-test": verb, onclick: () => act(verb) }, verb)));
  };
}

export async function jobView(view, id) {
  let [job, { entries, cut, next }] = await Promise.all([get(`/v1/jobs/${id}`), pointsOf(id)]);
  const places = Object.fromEntries(["head", "failure", "facts", "none", "outcome", "attempts", "checkpoints"].map((name) => [name, h("div", {})]));
  const error = h("p", { role: "alert" }), charts = h("div", { class: "columns", "data-test": "charts" }), past = history(), log = logOf();
  places.head.className = "bar";
  places.outcome.className = "columns";
  view.append(places.head, error, places.failure, panel("This job", places.facts), past.findings, places.none, charts, places.outcome,
    h("div", { class: "columns" }, panel("Attempts", places.attempts), panel("Checkpoints", places.checkpoints)), past.events, panel("Log", log.element),
    panel("Resolved spec", h("pre", { tabindex: "0", "aria-label": "Spec" }, JSON.stringify(job.spec, null, 2) || "")));

  const heads = heading(places.head, async (verb) => {
    error.textContent = "";
    if (!await confirmed(`${verb[0].toUpperCase()}${verb.slice(1)} ${job.id}${job.name ? ` (${job.name})` : ""}?`, verb)) return;
    try {
      const reply = await ask("POST", `/v1/jobs/${job.id}:${verb}`);
      if (reply.id && reply.id !== job.id) location.hash = `#/jobs/${reply.id}`;
      else know(reply);
    } catch (refusal) { error.textContent = refusal.message; }
  });
  const [leaves, tries] = [outcome(places.outcome, id), parts(places.attempts, places.checkpoints, id)];
  function know(what) {
    job = { ...job, ...what };
    heads(job);
    places.failure.replaceChildren(failureOf(job));
    places.failure.hidden = !job.failure_class;
    places.facts.replaceChildren(pairs(factsOf(job)));
    if (!FINAL.includes(job.state)) follow([id], true);
  }
  const add = curves(charts, [{ job, points: entries }]);
  places.none.replaceChildren(entries.length === 0 ? empty("No point yet: the first comes with the first step.")
    : cut ? empty(`Of a long run the newest ${entries.length} points; all:`, `tailor job metrics ${id}`) : "");
  places.none.hidden = entries.length > 0 && !cut;
  entries = null; // the charts have them

  // The job as it is now, and its parts.
  const anew = async () => {
    know(await get(`/v1/jobs/${id}`));
    await Promise.all([tries(), leaves(job)]);
  };
  const news = behind(async () => {
    const points = await pointsOf(id, next);
    next = points.next;
    points.entries.forEach((point) => add(id, point));
    (await pages(`/v1/jobs/${id}/events`, "events", 20 * EVENTS)).slice(-EVENTS).forEach(past.add);
    (await tail(`/v1/jobs/${id}/logs`, "lines", LINES)).entries.forEach(log.add);
    await anew();
  }, {
    metric: ({ job: of, point }) => { if (of === id) { add(id, point); places.none.hidden = !cut; } },
    log: ({ job: of, line }) => { if (of === id) log.add(line); },
    event: (e) => { if (e.job_id !== id) return null; past.add(e); return e.kind === "job_state" ? anew() : null; },
    jobs: ({ jobs }) => { const mine = jobs.find((one) => one.id === id); if (mine) know(mine); },
  });
  const timer = setInterval(() => { if (!FINAL.includes(job.state)) tries(); }, AGAIN_MS);
  know({});
  await news.again();
  return () => { clearInterval(timer); news.leave(); follow([], false); };
}
