// SPDX-License-Identifier: Apache-2.0
// figures: what an evaluation found, in pictures and tables: reliability, margins, worst rows, and a version's figures.

import { chart } from "./charts.js";
import { change, empty, h, percent, tableOf } from "./dom.js";

const BARS = 24, TEXT_CHARS = 600;

const setsOf = (figures) => ((figures && figures.sets) || []).filter((set) => set.after);

// How often right, by how sure: on the diagonal a model is as sure as it is right.
export function reliability(figures) {
  return setsOf(figures).filter((set) => set.after.bins).map((set) => {
    const points = (side) => (side && side.bins ? side.bins.filter((b) => b.count > 0).map((b) => ({ x: b.confidence, y: b.correct, count: b.count })) : []);
    return chart(`Reliability on ${set.name}: how often right, by how sure`, [
      { name: "after", points: points(set.after) }, { name: "before", points: points(set.before) },
      { name: "as sure as right", points: [{ x: 0.5, y: 0.5 }, { x: 1, y: 1 }], reference: true }],
    { x: "confidence", y: "right", kind: "cloud",
      label: (item) => `${item.dataset.label}: sure ${percent(item.raw.x)}, right ${percent(item.raw.y)}${item.raw.count ? ` of ${item.raw.count} pairs` : ""}` }).element;
  });
}

// By how much the preferred response leads, of each group of each set; left of 0 the order is wrong.
export function margins(rows) {
  const sets = new Map();
  for (const row of rows) {
    if (!Number.isFinite(row.margin)) continue;
    if (!sets.has(row.set)) sets.set(row.set, []);
    sets.get(row.set).push(row.margin);
  }
  const every = [...sets.values()].flat();
  if (every.length === 0) return [];
  const low = Math.min(0, ...every), width = (Math.max(0, ...every) - low || 1) / BARS;
  return [chart("Reward margins: by how much the preferred response leads", [...sets].map(([name, values]) => {
    const counts = new Array(BARS).fill(0);
    for (const value of values) counts[Math.min(BARS - 1, Math.floor((value - low) / width))]++;
    return { name, points: counts.map((count, i) => ({ x: low + (i + 0.5) * width, y: count })) };
  }), { x: "margin", y: "groups", kind: "bars", label: (item) => `${item.dataset.label}: ${item.raw.y} groups around ${item.raw.x.toFixed(2)}` }).element];
}

// A group: where it stands, its margin, and its responses from the preferred one on, with what each was given.
export function worst(rows) {
  if (rows.length === 0) return empty("No row was kept.");
  return tableOf("Worst rows", ["Line", "Margin", "Responses, the preferred first, and their rewards"], rows.map((row) => h("tr", {},
    h("td", { class: "quiet name" }, `${row.set || ""}:${row.line ?? ""}`),
    h("td", { class: "number" }, Number.isFinite(row.margin) ? h("span", { class: row.margin < 0 ? "bad" : "" }, row.margin.toFixed(2)) : ""),
    h("td", {}, h("ol", { class: "responses" }, (Array.isArray(row.rows) ? row.rows : []).map((one, i) => h("li", {},
      h("b", { class: "number" }, Number.isFinite(one.reward) ? one.reward.toFixed(2) : "–"), " ",
      h("bdi", {}, String((row.texts && row.texts[i]) ?? `response ${one.response}`).slice(0, TEXT_CHARS)))))))));
}

// Accuracy of each set before and after, with the interval of the difference.
export function accuracies(figures) {
  const sets = setsOf(figures);
  if (sets.length === 0) return null;
  const interval = (it) => (it && it.interval ? `${change(it.interval[0])} … ${change(it.interval[1])}` : "");
  return tableOf("Accuracy by set", ["Set", "Pairs", "Before", "After", "Change", "95 % interval", "ECE"], sets.map((set) => h("tr", {},
    h("td", { class: "name" }, set.name, set.general ? h("span", { class: "label" }, "general") : ""), h("td", { class: "number" }, String(set.after.pairs ?? "")),
    h("td", { class: "number" }, set.before ? percent(set.before.accuracy) : "–"), h("td", { class: "number" }, percent(set.after.accuracy)),
    h("td", { class: "number" }, set.difference ? change(set.difference.accuracy) : "–"),
    h("td", { class: "number quiet" }, interval(set.difference)),
    h("td", { class: "number" }, Number.isFinite(set.after.ece) ? set.after.ece.toFixed(3) : "–"))));
}
