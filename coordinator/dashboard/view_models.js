// SPDX-License-Identifier: Apache-2.0
// view_models: where models come from, and what each customer's model gained for what it lost.

import { ask, may, pages } from "./api.js";
import { chart } from "./charts.js";
import { ago, confirmed, empty, h, panel, percent, state } from "./dom.js";

const VERSIONS_MAX = 20000;
const nameOf = (v) => `${v.tenant}/${v.model}@${v.version}`;
const figure = (v, name) => (v.figures && v.figures[name] ? v.figures[name].accuracy : undefined);

function tree(versions, promote) {
  const children = new Map(), known = new Set(versions.map(nameOf));
  for (const v of versions) {
    const parent = v.parent && known.has(v.parent) ? v.parent : `base ${v.base_model || v.parent || "unknown"}`;
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(v);
  }
  const branch = (name) => h("ul", {}, (children.get(name) || []).map((v) => h("li", {},
    h("b", {}, nameOf(v)), " ", v.gate_decision ? [state(v.gate_decision), " "] : "",
    h("span", { class: "quiet" }, [v.stage, v.adapter ? "adapter" : "", figure(v, "custom_gain") !== undefined ? `gain ${percent(figure(v, "custom_gain"))}` : "",
      figure(v, "general_preservation") !== undefined ? `general ${percent(figure(v, "general_preservation"))}` : "", ago(v.created_ms)]
      .filter(Boolean).join(", ")), " ", v.job_id ? h("a", { href: `#/jobs/${v.job_id}` }, v.job_id) : "", " ",
    may("tenant_admin") ? h("button", { type: "button", "data-test": "promote", onclick: () => promote(v) }, "promote") : "",
    children.has(nameOf(v)) ? branch(nameOf(v)) : "")));
  const roots = [...children.keys()].filter((name) => name.startsWith("base "));
  return h("div", { class: "tree" }, h("ul", {}, roots.map((root) => h("li", {}, h("b", {}, root), branch(root)))));
}

export async function modelsView(view) {
  const error = h("p", { role: "alert" });
  view.append(h("h1", {}, "Models"), error);
  const versions = await pages("/v1/models", "versions", VERSIONS_MAX);
  if (versions.length === 0) {
    view.append(empty("No model yet: a job with output.model makes one.", "tailor job init general"));
    return () => {};
  }
  const promote = async (v) => {
    error.textContent = "";
    if (!await confirmed(`Point the alias prod of ${v.tenant}/${v.model} at version ${v.version}?`, "promote")) return;
    try {
      await ask("POST", `/v1/tenants/${v.tenant}/models/${v.model}/versions/${v.version}:promote`, { alias: "prod" });
    } catch (failure) { error.textContent = failure.message; }
  };
  const points = versions.filter((v) => figure(v, "custom_gain") !== undefined && figure(v, "general_preservation") !== undefined)
    .map((v) => ({ x: 100 * figure(v, "general_preservation"), y: 100 * figure(v, "custom_gain"), name: nameOf(v) }));
  if (points.length > 0) {
    view.append(chart("What customers gained, against what general ability lost (points of accuracy)", [{ name: "versions", points }],
      { x: "general, after less before", y: "custom gain", scatter: true,
        label: (item) => `${item.raw.name}: gain ${item.raw.y.toFixed(1)}, general ${item.raw.x.toFixed(1)}` }).element);
  }
  view.append(panel("From base to general to each tenant", tree(versions, promote)));
  return () => {};
}
