// SPDX-License-Identifier: Apache-2.0
// view_compare: two runs over each other: their curves, their figures, and in what their specs differ.

import { get } from "./api.js";
import { curves, pointsOf, summary } from "./curves.js";
import { empty, h, panel, tableOf } from "./dom.js";
import { behind, follow, on } from "./stream.js";

function flat(value, path, out) {
  if (value !== null && typeof value === "object") for (const [key, inner] of Object.entries(value)) flat(inner, path ? `${path}.${key}` : key, out);
  else out.set(path, value);
  return out;
}

function differences(a, b) {
  const [left, right] = [flat(a.spec || {}, "", new Map()), flat(b.spec || {}, "", new Map())];
  return [...new Set([...left.keys(), ...right.keys()])].filter((key) => left.get(key) !== right.get(key))
    .map((key) => [key, left.get(key), right.get(key)]);
}

const text = (value) => (value === undefined || value === null ? "–" : String(value));
const row = ([name, a, b]) => h("tr", {}, h("td", { class: "quiet" }, name), h("td", {}, text(a)), h("td", {}, text(b)));

export async function compareView(view, a, b) {
  const runs = await Promise.all([a, b].map(async (id) => {
    const [job, { entries, next }] = await Promise.all([get(`/v1/jobs/${id}`), pointsOf(id)]);
    return { job, points: entries, next };
  }));
  const [one, other] = runs.map(({ job }) => job), figures = h("div", {}), place = h("div", { class: "columns", "data-test": "charts" });
  const head = ["", a, b], differ = differences(one, other);
  const tell = () => figures.replaceChildren(tableOf("Figures", head, summary(one).map(([name, value], i) => row([name, value, summary(other)[i][1]]))));
  tell();
  view.append(h("h1", {}, "Two runs: ", h("a", { href: `#/jobs/${a}` }, `${a} ${one.name || ""}`), " and ",
    h("a", { href: `#/jobs/${b}` }, `${b} ${other.name || ""}`)), h("div", { class: "columns" }, panel("Figures", figures),
    panel("In what their specs differ", differ.length ? tableOf("Differences of the specs", head, differ.map(row))
      : empty("In nothing: the same spec twice."))), place);
  const add = curves(place, runs);
  const missed = () => Promise.all(runs.map(async (run) => {
    const { entries, next } = await pointsOf(run.job.id, run.next);
    run.next = next;
    entries.forEach((point) => add(run.job.id, point));
  }));
  const news = behind(missed, { metric: ({ job, point }) => add(job, point) });
  const leave = on("jobs", ({ jobs }) => {
    for (const job of jobs) for (const mine of [one, other]) if (job.id === mine.id) Object.assign(mine, job);
    tell();
  });
  follow([a, b], false);
  return () => { leave(); news.leave(); follow([], false); };
}
