// SPDX-License-Identifier: Apache-2.0
// view_models: where models come from, and what each customer's model gained for what it lost.

import { ask, may, pages } from "./api.js";
import { chart } from "./charts.js";
import { ago, bytes, change, clock, confirmed, empty, h, pairs, panel, state } from "./dom.js";
import { accuracies, reliability } from "./figures.js";

const VERSIONS_MAX = 20000, SHOWN_MAX = 500;
const nameOf = (v) => `${v.tenant}/${v.model}@${v.version}`;
const figure = (v, name) => (v.figures && v.figures[name] ? v.figures[name].accuracy : undefined);
const wordsOf = (v) => [nameOf(v), v.stage, v.parent, v.job_id, v.gate_decision].join(" ").toLowerCase();

// Each version below the one it was made from, with its ancestors; `wanted`: those to be shown.
function tree(versions, wanted, tell) {
  const named = new Map(versions.map((v) => [nameOf(v), v])), children = new Map(), kept = new Set();
  const parentOf = (v) => (named.has(v.parent) ? v.parent : `base ${v.base_model || v.parent || "unknown"}`);
  for (const v of wanted) for (let at = v; at && !kept.has(at); at = named.get(at.parent)) kept.add(at);
  for (const v of kept) {
    if (!children.has(parentOf(v))) children.set(parentOf(v), []);
    children.get(parentOf(v)).push(v);
  }
  const facts = (v) => [v.stage, v.adapter ? "adapter" : "", figure(v, "custom_gain") !== undefined ? `custom ${change(figure(v, "custom_gain"))}` : "",
    figure(v, "general_preservation") !== undefined ? `general ${change(figure(v, "general_preservation"))}` : "", ago(v.created_ms)];
  const branch = (name) => h("ul", {}, (children.get(name) || []).sort((a, b) => nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }))
    .map((v) => h("li", {}, h("button", { type: "button", class: "plain", "data-version": nameOf(v), onclick: () => tell(v) }, nameOf(v)), " ",
      v.gate_decision ? [state(v.gate_decision), " "] : "", h("span", { class: "quiet" }, facts(v).filter(Boolean).join(", ")), " ",
      v.job_id ? h("a", { href: `#/jobs/${v.job_id}` }, v.job_id) : "", children.has(nameOf(v)) ? branch(nameOf(v)) : "")));
  const roots = [...children.keys()].filter((name) => name.startsWith("base ")).sort();
  return h("div", { class: "tree" }, h("ul", {}, roots.map((root) => h("li", {}, h("b", {}, root), branch(root)))));
}

function trade(versions) {
  const known = versions.filter((v) => figure(v, "custom_gain") !== undefined && figure(v, "general_preservation") !== undefined);
  const verdicts = [...new Set(known.map((v) => v.gate_decision || "not judged"))];
  return chart("What customers gained, against what general ability lost (points of accuracy)", verdicts.map((verdict) => ({ name: verdict,
    points: known.filter((v) => (v.gate_decision || "not judged") === verdict)
      .map((v) => ({ x: 100 * figure(v, "general_preservation"), y: 100 * figure(v, "custom_gain"), name: nameOf(v) })) })),
  { x: "general, after less before", y: "custom gain", kind: "cloud",
    label: (item) => `${item.raw.name}: custom ${change(item.raw.y / 100)}, general ${change(item.raw.x / 100)}` }).element;
}

// One version: its facts, its figures, and pointing an alias at it.
function detail(v, promote) {
  const alias = h("input", { name: "alias", value: "prod", required: true, "aria-label": "Alias", size: "10" });
  const table = accuracies(v.figures);
  return [panel(nameOf(v), pairs([["stage", v.stage], ["from", v.parent], ["job", v.job_id ? h("a", { href: `#/jobs/${v.job_id}` }, v.job_id) : ""],
    ["gate", v.figures?.gate ? [v.figures.gate.verdict, ...(v.figures.gate.reasons || [])].join(": ") : ""], ["template", v.template],
    ["numerics", v.numerics], ["size", bytes(v.bytes)], ["made", clock(v.created_ms)], ["manifest", v.manifest]]),
  may("tenant_admin") ? h("form", { class: "bar", onsubmit: (e) => { e.preventDefault(); promote(v, alias.value); } },
    h("span", { class: "quiet" }, "Point the alias"), alias, h("span", { class: "quiet" }, "at this version"),
    h("button", { type: "submit", "data-test": "promote" }, "Promote")) : "", table || ""),
  h("div", { class: "columns" }, reliability(v.figures))];
}

export async function modelsView(view) {
  const error = h("p", { role: "alert" }), done = h("p", { role: "status", class: "quiet" }), lineage = h("div", {});
  const one = h("div", { class: "stack", tabindex: "-1", "data-test": "version" });
  view.append(h("h1", {}, "Models"), error);
  const versions = await pages("/v1/models", "versions", VERSIONS_MAX);
  if (versions.length === 0) {
    view.append(h("div", { class: "panel" }, empty("No model yet: a job with output.model makes one.", "tailor job init general > job.yaml")));
    return () => {};
  }
  const promote = async (v, alias) => {
    error.textContent = done.textContent = "";
    if (!await confirmed(`Point the alias ${alias} of ${v.tenant}/${v.model} at version ${v.version}?`, "promote")) return;
    try {
      await ask("POST", `/v1/tenants/${v.tenant}/models/${v.model}/versions/${v.version}:promote`, { alias });
      done.textContent = `${v.tenant}/${v.model}@${alias} is version ${v.version} now.`;
    } catch (failure) { error.textContent = failure.message; }
  };
  const tell = (v) => { one.replaceChildren(...detail(v, promote)); one.focus(); one.scrollIntoView({ block: "nearest" }); };
  const show = (text) => {
    const fit = versions.filter((v) => wordsOf(v).includes(text));
    lineage.replaceChildren(fit.length === 0 ? empty("No version fits.") : tree(versions, fit.slice(-SHOWN_MAX), tell),
      fit.length > SHOWN_MAX ? empty(`The newest ${SHOWN_MAX} of ${fit.length}: the filter shows others.`) : "");
  };
  const search = h("input", { type: "search", "aria-label": "Filter versions", placeholder: "Tenant, model, job …   ( / )", oninput: (e) => show(e.target.value.toLowerCase()) });
  const keys = (event) => {
    if (event.key !== "/" || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    search.focus();
  };
  document.addEventListener("keydown", keys);
  show("");
  view.append(done, trade(versions), panel("From base to general to each tenant", h("div", { class: "bar" }, search), lineage), one);
  return () => document.removeEventListener("keydown", keys);
}
