// SPDX-License-Identifier: Apache-2.0
// charts: curves over steps, by Chart.js, in the page's own colours.

import { h, panel } from "./dom.js";

const all = new Set();
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function paint(chart) {
  const quiet = colour("--quiet"), line = colour("--line");
  for (const axis of Object.values(chart.options.scales)) {
    axis.ticks.color = axis.title.color = quiet;
    axis.grid.color = line;
  }
  chart.options.plugins.legend.labels.color = colour("--text");
  chart.data.datasets.forEach((set, i) => {
    set.borderColor = set.backgroundColor = colour(`--series-${i % 4 + 1}`);
  });
}

export function repaint() {
  for (const chart of all) { paint(chart); chart.update("none"); }
}

export function clear() {
  for (const chart of all) chart.destroy();
  all.clear();
}

const axis = (text) => ({ type: "linear", title: { display: true, text }, ticks: { maxTicksLimit: 8 }, grid: {} });

// series: [{name, points: [{x, y}], scatter}]. Returns {element, add(name, point), set(name, points)}.
export function chart(title, series, { x = "step", y = "", scatter = false, label } = {}) {
  const canvas = h("canvas", { role: "img", "aria-label": title });
  const element = panel(title, h("div", { class: "chart" }, canvas));
  const made = new Chart(canvas, {
    type: scatter ? "scatter" : "line",
    data: { datasets: series.map(({ name, points }) => ({ label: name, data: points, borderWidth: 1.6,
      pointRadius: scatter ? 4 : 0, pointHitRadius: 8 })) },
    options: {
      animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
      interaction: { mode: scatter ? "nearest" : "index", intersect: false },
      scales: { x: axis(x), y: axis(y) },
      plugins: { legend: { display: series.length > 1, labels: { boxWidth: 12 } },
        decimation: { enabled: !scatter, algorithm: "lttb", samples: 400 },
        tooltip: label ? { callbacks: { label } } : {} },
    },
  });
  paint(made);
  made.update("none");
  all.add(made);
  const of = (name) => made.data.datasets.find((set) => set.label === name);
  let asked = false;
  const soon = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; if (all.has(made)) made.update("none"); });
  };
  return {
    element,
    add(name, point) {
      const points = of(name).data;
      if (points.length && points[points.length - 1].x >= point.x) return;
      points.push(point);
      soon();
    },
    set(name, points) { of(name).data = points; soon(); },
  };
}
