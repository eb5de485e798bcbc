// SPDX-License-Identifier: Apache-2.0
// charts: curves over steps, clouds of points and bars, by Chart.js, in the page's own colours.
//
// A chart that has no point yet is not shown; the first point shows it. Charts are drawn again at most every DRAW_MS,
// however fast points come, and one after the other, so that no frame of the page waits for all of them.

import { h, panel } from "./dom.js";

const DRAW_MS = 500, COLOURS = 6, POINTS_MAX = 40000;

const all = new Set(), due = new Set();
let drawn = 0;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function paint(chart) {
  const quiet = colour("--quiet"), line = colour("--line");
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = axis.title.color = quiet;
    axis.grid.color = line;
  }
  chart.options.plugins.legend.labels.color = colour("--text");
  chart.data.datasets.forEach((set, i) => {
    set.borderColor = set.backgroundColor = set.reference ? quiet : colour(`--series-${i % COLOURS + 1}`);
  });
}

export function repaint() {
  for (const chart of all) { paint(chart); chart.update("none"); }
}

export function clear() {
  for (const chart of all) chart.destroy();
  all.clear();
  due.clear();
}

function draw() {
  const [chart] = due;
  due.delete(chart);
  if (all.has(chart)) chart.update("none");
  if (due.size) return requestAnimationFrame(draw);
  drawn = performance.now();
}

function soon(chart) {
  due.add(chart);
  if (due.size === 1) setTimeout(() => due.size && requestAnimationFrame(draw), Math.max(0, drawn + DRAW_MS - performance.now()));
}

const axis = (text) => ({ type: "linear", title: { display: Boolean(text), text }, ticks: { maxTicksLimit: 8 }, grid: {} });

// How a series is drawn. reference: a quiet dashed line to compare with, such as the diagonal of a reliability diagram.
function drawing({ name, points, reference }, kind) {
  return { label: name, data: points, reference, borderWidth: 1.6, type: kind === "bars" ? "bar" : undefined,
    showLine: kind === "curves" || Boolean(reference), borderDash: reference ? [4, 4] : [],
    pointRadius: (context) => (reference ? 0 : kind === "cloud" ? 4 : context.dataset.data.length === 1 ? 3 : 0), pointHitRadius: 8,
    barPercentage: 1, categoryPercentage: 0.96, grouped: true };
}

// kind: "curves", "cloud" (points without lines) or "bars". series: [{name, points: [{x, y}], reference}].
// Returns {element, add(name, point)}.
export function chart(title, series, { x = "step", y = "", kind = "curves", label } = {}) {
  const canvas = h("canvas", { role: "img", "aria-label": title });
  const element = panel(title, h("div", { class: "chart" }, canvas));
  const made = new Chart(canvas, {
    type: { curves: "line", cloud: "scatter", bars: "bar" }[kind],
    data: { datasets: series.map((one) => drawing(one, kind)) },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      interaction: { mode: kind === "curves" ? "index" : "nearest", intersect: false },
      scales: { x: axis(x), y: axis(y) },
      plugins: {
        legend: { display: series.length > 1, labels: { boxWidth: 12, filter: (item, data) => data.datasets[item.datasetIndex].data.length > 0 } },
        decimation: { enabled: kind === "curves", algorithm: "lttb", samples: 400 },
        tooltip: label ? { callbacks: { label } } : {} },
    },
  });
  paint(made);
  made.update("none");
  all.add(made);
  // These arrays are the chart's own: once Chart.js thins a long curve, its `data` is what is left, and a point put there is lost.
  const curve = new Map(series.map(({ name, points }) => [name, points]));
  const reveal = () => { element.hidden = ![...curve.values()].some((points) => points.length > 0); };
  reveal();
  return {
    element,
    add(name, point) {
      const points = curve.get(name);
      if (kind === "curves" && points.length && points[points.length - 1].x >= point.x) return; // it is there
      points.push(point);
      if (points.length > POINTS_MAX) points.splice(0, POINTS_MAX / 10);
      if (points.length === 1) reveal();
      soon(made);
    },
  };
}
