// SPDX-License-Identifier: Apache-2.0
// view_cluster: workers and their slots, who waits for what, what happened lately.

import { get, may, pages, tail } from "./api.js";
import { ago, bytes, clock, empty, h, panel, percent, severity, span, state } from "./dom.js";
import { behind, on } from "./stream.js";

const EVENTS = 1000, SHOWN = 100, SLOTS_SHOWN = 64, LATELY_MS = 12 * 3600 * 1000, SHOW_MS = 500;

const tile = (value, name, kind = "") => h("div", { class: "panel tile" }, h("b", { class: kind }, String(value)), h("span", {}, name));

function tilesOf(c) {
  return [tile(c.jobs_running ?? 0, "jobs run"), tile(c.jobs_queued ?? 0, "jobs wait"),
    tile(`${c.slots_busy ?? 0} of ${c.slots ?? 0}`, "slots are busy"),
    tile(`${c.workers_live ?? 0}`, c.workers_lost ? `workers live, ${c.workers_lost} lost` : "workers live"),
    tile(percent(c.goodput), "goodput"), tile(bytes(c.store_free_bytes), "free in the store"),
    tile(span(c.uptime_ms), `up, version ${c.version}`)];
}

function waitingOf(c) {
  const reasons = [...(c.waiting || [])].sort((a, b) => b.jobs - a.jobs);
  const most = Math.max(1, ...reasons.map((r) => r.jobs));
  if (reasons.length === 0) return empty("Nobody waits.");
  return h("table", { "aria-label": "Waiting, by reason" }, h("tbody", {}, reasons.map((r) => h("tr", {},
    h("td", {}, String(r.reason || r.waiting_reason).replaceAll("_", " ")),
    h("td", { class: "wide" }, h("meter", { min: 0, max: most, value: r.jobs, "aria-label": "Jobs" })), h("td", { class: "number" }, String(r.jobs))))));
}

// The workers' rows. Heartbeats come all the time: of a row only what differs is written.
function board() {
  const body = h("tbody", {}), rows = new Map();
  const none = empty(may("admin") ? "No worker has joined yet:" : "Workers are shown to administrators.", may("admin") ? "tailor worker join-token" : "");
  const element = h("div", {}, none, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Workers" }, h("table", { "aria-label": "Workers" }, body)));
  const write = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  function make(w) {
    const it = { state: h("td", {}), slots: h("div", { class: "slots", role: "img" }), seen: h("td", { class: "number quiet wide" }) };
    it.line = h("tr", {}, h("td", {}, w.name), it.state, h("td", {}, it.slots),
      h("td", { class: "wide quiet" }, [w.numerics, w.gpus ? `${w.gpus} GPUs` : ""].filter(Boolean).join(", ")), it.seen);
    body.append(it.line);
    rows.set(w.id, it);
    return it;
  }
  return { element,
    put(w) {
      const it = rows.get(w.id) || make(w), slots = Math.min(w.slots || 0, SLOTS_SHOWN);
      if (it.state.textContent !== w.state) it.state.replaceChildren(state(w.state));
      while (it.slots.children.length < slots) it.slots.append(h("span", {}));
      while (it.slots.children.length > slots) it.slots.lastChild.remove();
      [...it.slots.children].forEach((slot, i) => {
        const name = i < w.slots_busy ? "slot busy" : "slot";
        if (slot.className !== name) slot.className = name;
      });
      it.slots.setAttribute("aria-label", `${w.slots_busy} of ${w.slots} slots are busy`);
      write(it.seen, ago(w.last_seen_ms));
      none.hidden = true;
    },
    remove(id) {
      if (rows.has(id)) rows.get(id).line.remove();
      rows.delete(id);
      none.hidden = rows.size > 0;
    } };
}

// How many ended well and badly, and what had to be moved, in the last hours that are known.
function lately(events) {
  const since = Date.now() - LATELY_MS, known = events.filter((e) => e.time_ms >= since);
  const states = (word) => known.filter((e) => e.kind === "job_state" && (e.message || "").startsWith(word));
  const oldest = events.length >= EVENTS ? Math.min(...known.map((e) => e.time_ms)) : since;
  const failed = new Set(states("failed").map((e) => e.job_id)), lost = known.filter((e) => e.kind === "worker_lost");
  return [tile(states("succeeded").length, `jobs done in the last ${span(Date.now() - oldest)}`),
    tile(states("recovering").length, "times a job recovered"),
    tile(failed.size, "jobs failed", failed.size ? "bad" : ""), tile(lost.length, "workers lost", lost.length ? "warn" : "")];
}

const eventRow = (e) => h("tr", {},
  h("td", { class: "quiet wide time", title: clock(e.time_ms) }, ago(e.time_ms)), h("td", {}, severity(e), e.kind),
  h("td", {}, e.job_id ? h("a", { href: `#/jobs/${e.job_id}` }, e.job_id) : "", " ", e.message || ""));

export async function clusterView(view) {
  const tiles = h("div", { class: "tiles" }), past = h("div", { class: "tiles" }), waiting = h("div", {}), workers = board(), body = h("tbody", {});
  let events = [], grave = false, timer = null;
  view.append(h("h1", {}, "Cluster"), tiles, past,
    h("div", { class: "columns" }, panel("Workers and their slots", workers.element), panel("Waiting, by reason", waiting)),
    panel("What happened", h("label", {}, h("input", { type: "checkbox", "data-test": "grave", onchange: (e) => { grave = e.target.checked; show(); } }),
      " only warnings and errors"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", { "aria-label": "Events" }, body))));

  function show() {
    timer = null;
    past.replaceChildren(...lately(events));
    const fit = (grave ? events.filter((e) => severity(e).length) : events).slice(-SHOWN).reverse();
    body.replaceChildren(...(fit.length ? fit.map(eventRow) : [h("tr", {}, h("td", { class: "quiet" }, "Nothing."))]));
  }
  const soon = () => { timer = timer || setTimeout(show, SHOW_MS); };
  function event(e) {
    if (events.length && e.number <= events[events.length - 1].number) return;
    events.push(e);
    if (events.length > 2 * EVENTS) events = events.slice(-EVENTS);
    soon();
  }
  const figures = (c) => { tiles.replaceChildren(...tilesOf(c)); waiting.replaceChildren(waitingOf(c)); };
  // An administrator's events have every number; a tenant's are few among them, and are read from the beginning.
  const newest = async () => (may("admin") ? (await tail("/v1/events", "events", EVENTS)).entries
    : (await pages("/v1/events", "events", 20 * EVENTS)).slice(-EVENTS)).forEach(event);
  const news = behind(newest, { event });
  const leave = [on("cluster", figures), on("workers", (news) => {
    (news.workers || []).forEach(workers.put);
    (news.gone || []).forEach(workers.remove);
  })];
  figures(await get("/v1/cluster"));
  if (may("admin")) (await get("/v1/workers")).workers.forEach(workers.put);
  await news.again();
  show();
  return () => { leave.forEach((end) => end()); news.leave(); clearTimeout(timer); };
}
