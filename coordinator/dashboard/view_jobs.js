// SPDX-License-Identifier: Apache-2.0
// view_jobs: the live table of jobs, filtered in the page. The filter stands in the address, so that it can be sent on.

import { pages } from "./api.js";
import { ago, empty, h, state } from "./dom.js";
import { on } from "./stream.js";
import { table } from "./table.js";

const JOBS_MAX = 20000, SHOW_MS = 250;
const STATES = ["queued", "starting", "running", "pausing", "paused", "recovering", "cancelling", "succeeded", "failed", "cancelled"];
const STAGES = ["lm", "general", "customize", "evaluate", "score", "admit", "serve", "import", "export"];

const number = (job) => Number(job.id.slice(2));
const shown = (job) => (job.gate_decision === "held" ? "held" : job.state);
const wordsOf = (job) => [job.id, job.name, job.tenant, job.waiting_reason, job.failure_class,
  ...Object.entries(job.labels || {}).map(([key, value]) => `${key}=${value}`)].filter(Boolean).join("\n").toLowerCase();

function filterOf(hash) {
  const given = new URLSearchParams(hash.split("?")[1] || "");
  return Object.fromEntries(["text", "state", "stage", "tenant"].map((name) => [name, given.get(name) || ""]));
}

function remember(filter) {
  const query = new URLSearchParams(Object.entries(filter).filter(([, value]) => value)).toString();
  history.replaceState(null, "", query ? `#/?${query}` : "#/");
}

// The states that there are, each with how many jobs; a press shows those alone.
function chips(choose) {
  const element = h("div", { class: "bar chips", role: "group", "aria-label": "State" });
  let last = "";
  return { element,
    show(counts, chosen) {
      const names = ["", ...STATES, "held"].filter((name) => counts.get(name) || name === chosen);
      const now = names.map((name) => `${name} ${counts.get(name) || 0}`).join() + chosen;
      if (now === last) return;
      last = now;
      const focused = document.activeElement.dataset.state;
      element.replaceChildren(...names.map((name) => h("button", { type: "button", "data-state": name, class: `state ${name}`,
        "aria-pressed": String(name === chosen), onclick: () => choose(name === chosen ? "" : name) }, `${name || "all"} ${counts.get(name) || 0}`)));
      if (focused !== undefined) element.querySelector(`[data-state="${focused}"]`)?.focus();
    } };
}

function columnsOf(chosen, tick) {
  return [
    { title: "", cell: (job) => h("input", { type: "checkbox", "aria-label": `Compare ${job.id}`, checked: chosen.has(job.id),
      onclick: (e) => { e.stopPropagation(); tick(job.id, e.target.checked); } }) },
    { title: "Job", cell: (job) => h("a", { href: `#/jobs/${job.id}` }, job.id) },
    { title: "Name", cell: (job) => [h("bdi", {}, job.name || ""), " ", Object.entries(job.labels || {}).slice(0, 3)
      .map(([key, value]) => h("span", { class: "label wide" }, `${key}=${value}`))] },
    { title: "Tenant", class: "wide", cell: (job) => job.tenant },
    { title: "Stage", class: "wide", cell: (job) => job.stage },
    { title: "State", cell: (job) => state(shown(job)) },
    { title: "Steps", class: "number", cell: (job) => job.steps_total ? [h("progress", { class: "wide", max: job.steps_total,
      value: job.step || 0, "aria-label": "Steps done" }), ` ${job.step || 0}/${job.steps_total}`] : "" },
    { title: "Waits for, or failed by", class: "wide", cell: (job) => job.failure_class || job.waiting_reason || "" },
    { title: "Since", class: "number wide", cell: (job) => ago(job.state_since_ms) },
  ];
}

export async function jobsView(view) {
  const all = new Map(), words = new Map(), chosen = new Set();
  const filter = filterOf(location.hash);
  const nothing = h("div", {}), count = h("span", { class: "quiet", role: "status" }), overlay = h("a", { class: "button", hidden: true }, "");
  const changed = (name, value) => { filter[name] = value; remember(filter); show(); };
  const search = h("input", { type: "search", placeholder: "Name, tenant, id, label=value …   ( / )", "aria-label": "Filter jobs",
    "data-test": "filter", value: filter.text, oninput: (e) => changed("text", e.target.value.toLowerCase()),
    onkeydown: (e) => { if (e.key === "Enter" || e.key === "Escape") { e.target.blur(); list.move(0); } } });
  const choose = (name, values) => h("select", { "aria-label": name, "data-test": name, onchange: (e) => changed(name, e.target.value) },
    h("option", { value: "" }, `any ${name}`), values.map((v) => h("option", { value: v, selected: v === filter[name] }, v)));
  const tenants = choose("tenant", filter.tenant ? [filter.tenant] : []);
  const states = chips((name) => changed("state", name));
  const list = table("Jobs", columnsOf(chosen, (id, ticked) => {
    if (ticked) chosen.add(id);
    else chosen.delete(id);
    const [a, b] = chosen;
    overlay.hidden = chosen.size !== 2;
    overlay.setAttribute("href", `#/compare/${a}/${b}`);
    overlay.textContent = `Lay ${a} and ${b} over each other`;
  }), (job) => { location.hash = `#/jobs/${job.id}`; });

  function put(jobs) {
    for (const job of jobs) {
      if (job.shard_of) continue;
      all.set(job.id, job);
      words.set(job.id, wordsOf(job));
    }
  }
  function offer(names) {
    const there = new Set([...tenants.options].map((option) => option.value));
    const fresh = [...names].filter((name) => !there.has(name)).sort();
    if (fresh.length) tenants.append(...fresh.map((name) => h("option", { value: name }, name)));
    tenants.hidden = tenants.options.length < 3;
  }
  let timer = null;
  const soon = () => { timer = timer || setTimeout(show, SHOW_MS); };
  function show() {
    clearTimeout(timer);
    timer = null;
    const rows = [], counts = new Map(), names = new Set(), text = filter.text.toLowerCase();
    let beside = 0; // fit all of the filter but its state
    for (const job of all.values()) {
      names.add(job.tenant);
      if ((filter.stage && job.stage !== filter.stage) || (filter.tenant && job.tenant !== filter.tenant) ||
          (text && !words.get(job.id).includes(text))) continue;
      beside++;
      counts.set(shown(job), (counts.get(shown(job)) || 0) + 1);
      if (!filter.state || shown(job) === filter.state) rows.push(job);
    }
    rows.sort((a, b) => number(b) - number(a));
    counts.set("", beside);
    states.show(counts, filter.state);
    offer(names);
    count.textContent = rows.length === all.size ? `${all.size} jobs` : `${rows.length} of ${all.size} jobs`;
    nothing.replaceChildren(all.size === 0 ? h("div", { class: "panel" }, empty("No job yet. A file to start from:", "tailor job init general > job.yaml"),
      empty("Then:", "tailor submit job.yaml")) : rows.length === 0 ? empty("No job fits the filter.") : "");
    nothing.hidden = rows.length > 0;
    list.element.hidden = rows.length === 0;
    list.show(rows);
  }
  view.append(h("h1", {}, "Jobs"),
    h("div", { class: "bar" }, search, choose("stage", STAGES), tenants, count, h("span", { class: "grow" }), overlay),
    states.element, nothing, list.element);
  const keys = (event) => {
    if (event.target.matches("input:not([type=checkbox]), select, textarea") || document.querySelector("dialog[open]")) return;
    if (event.key === "/") { event.preventDefault(); search.focus(); }
    if (event.key === "j") list.move(1);
    if (event.key === "k") list.move(-1);
    if (event.key === "x") document.activeElement.querySelector?.("input[type=checkbox]")?.click();
  };
  document.addEventListener("keydown", keys);
  // A stream begins with nothing of jobs: what changed while there was none is in the list.
  const read = async () => {
    await pages("/v1/jobs", "jobs", JOBS_MAX, (jobs) => { put(jobs); show(); });
    show();
  };
  const leave = [on("jobs", ({ jobs }) => { put(jobs); soon(); }), on("up", read)];
  await read();
  return () => { leave.forEach((end) => end()); clearTimeout(timer); document.removeEventListener("keydown", keys); };
}
