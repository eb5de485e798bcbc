// SPDX-License-Identifier: Apache-2.0
// view_jobs: the live table of jobs, filtered in the page.

import { pages } from "./api.js";
import { ago, empty, h, state } from "./dom.js";
import { on } from "./stream.js";
import { table } from "./table.js";

const JOBS_MAX = 20000;
const STATES = ["queued", "starting", "running", "pausing", "paused", "recovering", "cancelling", "succeeded", "failed", "cancelled"];
const STAGES = ["lm", "general", "customize", "evaluate", "score", "admit", "serve"];

export async function jobsView(view) {
  const all = new Map();
  const filter = { text: "", state: "", stage: "" };
  const chosen = new Set();
  const nothing = h("div", {});
  const count = h("span", { class: "quiet", role: "status" });
  const overlay = h("a", { hidden: true }, "");
  const search = h("input", { type: "search", placeholder: "Name, tenant, id, label=value …   ( / )", "aria-label": "Filter jobs",
    "data-test": "filter", oninput: (e) => { filter.text = e.target.value.toLowerCase(); show(); } });
  const choose = (name, values) => h("select", { "aria-label": name, onchange: (e) => { filter[name] = e.target.value; show(); } },
    h("option", { value: "" }, `any ${name}`), values.map((v) => h("option", { value: v }, v)));
  const list = table("Jobs", [
    { title: "", cell: (job) => h("input", { type: "checkbox", "aria-label": `Compare ${job.id}`, checked: chosen.has(job.id),
      onclick: (e) => { e.stopPropagation(); if (e.target.checked) chosen.add(job.id); else chosen.delete(job.id); compare(); } }) },
    { title: "Job", cell: (job) => h("a", { href: `#/jobs/${job.id}` }, job.id) },
    { title: "Name", cell: (job) => job.name || "" },
    { title: "Tenant", class: "wide", cell: (job) => job.tenant },
    { title: "Stage", class: "wide", cell: (job) => job.stage },
    { title: "State", cell: (job) => state(job.gate_decision === "held" ? "held" : job.state) },
    { title: "Steps", class: "number", cell: (job) => job.steps_total ? [h("progress", { class: "wide", max: job.steps_total,
      value: job.step || 0, "aria-label": "Steps done" }), ` ${job.step || 0}/${job.steps_total}`] : "" },
    { title: "Waits for, or failed by", class: "wide", cell: (job) => job.failure_class || job.waiting_reason || "" },
    { title: "Since", class: "number wide", cell: (job) => ago(job.state_since_ms) },
  ], (job) => { location.hash = `#/jobs/${job.id}`; });

  function compare() {
    overlay.hidden = chosen.size !== 2;
    const [a, b] = [...chosen];
    overlay.setAttribute("href", `#/compare/${a}/${b}`);
    overlay.textContent = `Lay ${a} and ${b} over each other`;
  }
  const fits = (job) => (!filter.state || job.state === filter.state) && (!filter.stage || job.stage === filter.stage) &&
    (!filter.text || [job.id, job.name, job.tenant, ...Object.entries(job.labels || {}).map(([k, v]) => `${k}=${v}`)]
      .some((text) => (text || "").toLowerCase().includes(filter.text)));
  const number = (job) => Number(job.id.slice(2));
  let asked = false;
  function show() {
    asked = false;
    const rows = [...all.values()].filter(fits).sort((a, b) => number(b) - number(a));
    count.textContent = rows.length === all.size ? `${all.size} jobs` : `${rows.length} of ${all.size} jobs`;
    nothing.replaceChildren(all.size === 0 ? empty("No job yet. A file to start from:", "tailor job init general > job.yaml") : "");
    list.show(rows);
  }
  view.append(h("h1", {}, "Jobs"),
    h("div", { class: "bar" }, search, choose("state", STATES), choose("stage", STAGES), count, overlay), nothing, list.element);
  const leave = on("jobs", ({ jobs }) => {
    for (const job of jobs) if (!job.shard_of) all.set(job.id, job);
    if (!asked) { asked = true; requestAnimationFrame(show); }
  });
  const keys = (event) => {
    if (event.target.matches("input, select, textarea")) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    if (event.key === "j") list.move(1);
    if (event.key === "k") list.move(-1);
  };
  document.addEventListener("keydown", keys);
  // A stream begins with nothing of jobs: what changed while there was none is in the list.
  const read = async () => {
    for (const job of await pages("/v1/jobs", "jobs", JOBS_MAX)) all.set(job.id, job);
    show();
  };
  const again = on("up", read);
  await read();
  return () => { leave(); again(); document.removeEventListener("keydown", keys); };
}
