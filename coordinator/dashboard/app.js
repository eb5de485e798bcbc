// SPDX-License-Identifier: Apache-2.0
// app: which view is shown, who looks at it, and whether what it shows is still true.

import * as api from "./api.js";
import { clear, repaint } from "./charts.js";
import { h, help, span } from "./dom.js";
import * as stream from "./stream.js";
import { clusterView } from "./view_cluster.js";
import { jobsView } from "./view_jobs.js";
import { compareView } from "./view_compare.js";
import { jobView } from "./view_job.js";
import { modelsView } from "./view_models.js";

const byId = (id) => document.getElementById(id);
const VIEWS = [["#/", "Jobs"], ["#/cluster", "Cluster"], ["#/models", "Models"]];
const ROUTES = [
  [/^#\/jobs\/(j-\d+)$/, jobView], [/^#\/compare\/(j-\d+)\/(j-\d+)$/, compareView], [/^#\/cluster$/, clusterView],
  [/^#\/models$/, modelsView], [/^/, jobsView],
];
const KEYS = [["/", "to the filter"], ["j, k", "to the next row, and the one before"], ["Enter", "opens the row"],
  ["x", "ticks the row: two ticked jobs can be laid over each other"], ["1, 2, 3", "jobs, cluster, models"],
  ["Esc", "back to the jobs; in a question: no"], ["t", "dark or light"], ["?", "this"]];
const THEME = "tailor-theme"; // what the browser keeps it as
let leave = () => {}, turn = 0, jobsHash = "#/"; // with the filter that was set

async function show() {
  const mine = ++turn, view = byId("view"), hash = location.hash || "#/";
  leave();
  leave = () => {};
  clear();
  view.replaceChildren();
  byId("nav").replaceChildren(...VIEWS.map(([href, name]) => h("a", { href, "aria-current": href === hash.replace(/\?.*/, "") ? "page" : null }, name)));
  const [pattern, make] = ROUTES.find(([pattern]) => pattern.test(hash));
  const place = h("div", { class: "place" });
  view.append(place);
  view.focus({ preventScroll: true });
  try {
    const end = await make(view, ...hash.match(pattern).slice(1));
    if (mine === turn) leave = end;
    else end();
  } catch (failure) {
    if (failure.code === 401) return login();
    view.append(h("p", { role: "alert" }, failure.message));
  }
  place.remove();
}

function login() {
  stream.stop();
  const error = h("p", { role: "alert" });
  const code = h("input", { name: "code", autocomplete: "off", "aria-label": "Code", placeholder: "tlr_…", required: true });
  byId("leave").hidden = true;
  byId("nav").replaceChildren();
  byId("view").replaceChildren(h("section", { class: "panel login" }, h("h1", {}, "Log in"),
    h("p", {}, "Open the address that ", h("code", {}, "tailor up"), " has printed, or paste the code behind ", h("code", {}, "#login="),
      " here. A code works once and for fifteen minutes; an administrator makes another."),
    h("form", { onsubmit: async (event) => {
      event.preventDefault();
      try { await api.enter(code.value.trim().replace(/^.*#login=/, "")); begin(); } catch (failure) { error.textContent = failure.message; }
    } }, code, h("button", { type: "submit" }, "Log in")), error));
  code.focus();
}

function begin() {
  byId("leave").hidden = false;
  stream.start();
  show();
}

function watch() {
  const live = byId("live"), stale = byId("stale");
  stream.on("up", () => { live.textContent = "live"; live.className = "up"; });
  stream.on("down", (failure) => { live.textContent = "not connected"; live.className = ""; stale.hidden = false;
    stale.textContent = `What is shown is old: ${failure.message}. Trying again.`; });
  stream.on("up", () => { stale.hidden = true; });
  stream.on("out", login);
  stream.on("gap", () => { stale.hidden = false; stale.textContent = "Some events are gone by retention: what is shown is read again."; show(); });
  setInterval(() => {
    const old = stream.staleMs();
    if (old) { stale.hidden = false; stale.textContent = `Nothing heard for ${span(old)}: what is shown may be old.`; }
  }, 5000);
}

function turnTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem(THEME, root.dataset.theme);
  repaint();
}

const kept = localStorage.getItem(THEME);
if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
byId("theme").addEventListener("click", turnTheme);
byId("keys").addEventListener("click", () => help(KEYS));
byId("leave").addEventListener("click", async () => { await api.leave(); login(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
addEventListener("hashchange", (event) => {
  const old = new URL(event.oldURL).hash;
  if (/^#\/(\?|$)/.test(old)) jobsHash = old;
  if (api.who()) show();
});
addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=checkbox]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") || !api.who()) return;
  if (event.key === "Escape" && location.hash.length > 2 && !/^#\/\?/.test(location.hash)) location.hash = jobsHash;
  if (["1", "2", "3"].includes(event.key)) location.hash = event.key === "1" ? jobsHash : VIEWS[Number(event.key) - 1][0];
  if (event.key === "t") turnTheme();
  if (event.key === "?") help(KEYS);
});
watch();
api.open().then((session) => (session ? begin() : login()), (failure) => {
  login();
  byId("view").append(h("p", { role: "alert" }, failure.message));
});
