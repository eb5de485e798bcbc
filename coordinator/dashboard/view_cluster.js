// SPDX-License-Identifier: Apache-2.0
// view_cluster: workers and their slots, who waits for what, what happened lately.

import { get, may } from "./api.js";
import { ago, bytes, clock, empty, h, panel, percent, severity, span, state } from "./dom.js";
import { on } from "./stream.js";

const EVENTS = 60;

export async function clusterView(view) {
  const tiles = h("div", { class: "tiles" }), waiting = h("div", {}), workers = h("div", {}), events = h("tbody", {});
  const lines = [], rows = new Map();
  view.append(h("h1", {}, "Cluster"), tiles,
    h("div", { class: "columns" }, panel("Waiting, by reason", waiting), panel("Workers and their slots", workers)),
    panel("What happened", h("div", { class: "scroll" }, h("table", { "aria-label": "Events" }, events))));

  const tile = (value, name) => h("div", { class: "panel tile" }, h("b", {}, String(value)), h("span", {}, name));
  function figures(c) {
    tiles.replaceChildren(
      tile(c.jobs_running ?? 0, "jobs run"), tile(c.jobs_queued ?? 0, "jobs wait"),
      tile(`${c.slots_busy ?? 0} of ${c.slots ?? 0}`, "slots are busy"),
      tile(`${c.workers_live ?? 0}`, c.workers_lost ? `workers live, ${c.workers_lost} lost` : "workers live"),
      tile(percent(c.goodput), "goodput"), tile(bytes(c.store_free_bytes), "free in the store"),
      tile(span(c.uptime_ms), `up, version ${c.version}`));
    const reasons = c.waiting || [];
    waiting.replaceChildren(reasons.length
      ? h("table", {}, h("tbody", {}, reasons.map((r) => h("tr", {}, h("td", {}, r.reason || r.waiting_reason),
        h("td", { class: "number" }, String(r.jobs))))))
      : empty("Nobody waits."));
  }
  function board() {
    workers.replaceChildren(rows.size === 0
      ? empty(may("admin") ? "No worker has joined yet:" : "Workers are shown to administrators.", may("admin") ? "tailor worker join-token" : "")
      : h("table", { "aria-label": "Workers" }, h("tbody", {}, [...rows.values()].map((w) => h("tr", {},
        h("td", {}, w.name), h("td", {}, state(w.state)),
        h("td", {}, h("div", { class: "slots", role: "img", "aria-label": `${w.slots_busy} of ${w.slots} slots are busy` },
          Array.from({ length: Math.min(w.slots || 0, 64) }, (_, i) => h("span", { class: i < w.slots_busy ? "slot busy" : "slot" })))),
        h("td", { class: "wide quiet" }, [w.isa, w.gpus ? `${w.gpus} GPUs` : ""].filter(Boolean).join(", ")),
        h("td", { class: "number quiet wide" }, ago(w.last_seen_ms)))))));
  }
  function event(e) {
    lines.unshift(e);
    lines.length = Math.min(lines.length, EVENTS);
    events.replaceChildren(...lines.map((line) => h("tr", {},
      h("td", { class: "quiet wide time", title: clock(line.time_ms) }, ago(line.time_ms)),
      h("td", {}, severity(line), line.kind),
      h("td", {}, line.job_id ? h("a", { href: `#/jobs/${line.job_id}` }, line.job_id) : "", " ", line.message || ""))));
  }
  const leave = [on("cluster", figures), on("event", event), on("workers", (change) => {
    for (const worker of change.workers || []) rows.set(worker.id, worker);
    for (const id of change.gone || []) rows.delete(id);
    board();
  })];
  figures(await get("/v1/cluster"));
  const newest = (await get("/v1/events?limit=1000")).events.slice(-EVENTS);
  newest.forEach(event);
  if (may("admin")) for (const worker of (await get("/v1/workers")).workers) rows.set(worker.id, worker);
  board();
  return () => leave.forEach((end) => end());
}
