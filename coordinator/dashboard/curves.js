// SPDX-License-Identifier: Apache-2.0
// curves: what a run's points are drawn as, of one run or of several laid over each other.

import { tail } from "./api.js";
import { chart } from "./charts.js";
import { change, percent } from "./dom.js";

export const POINTS_MAX = 10000; // that a page reads; more come live
const PHASES = ["data", "forward", "backward", "reduce", "optimizer", "checkpoint"];
// title, names of values, unit; and which of them of runs that are laid over each other
const CURVES = [
  ["Loss", ["loss", "rank_loss", "lm_loss", "eval_loss"], "", ["loss", "eval_loss"]],
  ["Ranking accuracy", ["accuracy", "eval_custom_accuracy", "eval_general_accuracy"], "", ["eval_custom_accuracy", "eval_general_accuracy"]],
  ["Reward margin", ["margin"], "", ["margin"]],
  ["Learning rate", ["learning_rate"], "", ["learning_rate"]],
  ["Tokens a second", ["tokens_per_second"], "", ["tokens_per_second"]],
  ["Gradient norm", ["grad_norm"], "", ["grad_norm"]],
  ["A step's phases, seconds", PHASES.map((phase) => `step_seconds.${phase}`), "s", ["step_seconds.forward", "step_seconds.backward"]],
];

export const pointsOf = (id, from) => tail(`/v1/jobs/${id}/metrics`, "points", POINTS_MAX, from);

const word = (value) => value.replace(/^step_seconds\./, "").replace(/^eval_(custom|general)_accuracy$/, "$1, evaluated")
  .replace(/^eval_/, "evaluated ").replaceAll("_", " ");

// The two axes of the paper's trade, an evaluation a point.
function trade(points) {
  return points.filter((p) => Number.isFinite(p.values.eval_custom_accuracy) && Number.isFinite(p.values.eval_general_accuracy))
    .map((p) => ({ x: 100 * p.values.eval_general_accuracy, y: 100 * p.values.eval_custom_accuracy, step: p.step }));
}

// runs: [{job, points}]. Puts charts into `place`; those without a point are hidden until one comes. Returns add(id, point).
export function curves(place, runs) {
  const over = runs.length > 1, made = [];
  for (const [title, every, unit, few] of CURVES) {
    const series = runs.flatMap(({ job, points }) => (over ? few : every).map((value) => ({ id: job.id, value,
      name: over ? `${job.id} ${word(value)}` : word(value),
      points: points.filter((p) => Number.isFinite(p.values[value])).map((p) => ({ x: p.step, y: p.values[value] })) })));
    const it = chart(title, series, { y: unit });
    place.append(it.element);
    made.push({ it, series });
  }
  const evaluated = chart("Custom against general accuracy, an evaluation a point", runs.map(({ job, points }) => ({ name: job.id, points: trade(points) })),
    { x: "general, %", y: "custom, %", kind: "cloud",
      label: (item) => `${item.dataset.label}, step ${item.raw.step}: custom ${percent(item.raw.y / 100)}, general ${percent(item.raw.x / 100)}` });
  place.append(evaluated.element);
  const traded = new Map(runs.map(({ job, points }) => [job.id, Math.max(-1, ...trade(points).map((p) => p.step))]));
  return (id, point) => {
    for (const one of point.step > traded.get(id) ? trade([point]) : []) {
      traded.set(id, one.step);
      evaluated.add(id, one);
    }
    for (const { it, series } of made) {
      for (const s of series) {
        if (s.id === id && Number.isFinite(point.values[s.value])) it.add(s.name, { x: point.step, y: point.values[s.value] });
      }
    }
  };
}

// The scalars of a final evaluation, by which two runs are compared.
export const summary = (job) => {
  const figures = job.gate_figures || {};
  return [["state", job.gate_decision || job.state], ["steps", job.step], ["best step", figures.best_step],
    ["tokens", figures.tokens], ["seconds", figures.seconds && figures.seconds.toFixed(1)],
    ["custom gain", figures.custom_gain && change(figures.custom_gain.accuracy)],
    ["general, after less before", figures.general_preservation && change(figures.general_preservation.accuracy)],
    ["findings", (figures.findings || []).length]];
};
