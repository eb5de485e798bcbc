// SPDX-License-Identifier: Apache-2.0
// dom: elements from words. Everything that comes from the API goes in as text, never as HTML.

export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(2)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

export const state = (name) => h("span", { class: "state " + (name || "") }, name || "–");

// Of an event: nothing for what is only information.
export const severity = (event) => (event.severity && event.severity !== "info" ? [state(event.severity), " "] : []);

// A panel across all columns.
export const widePanel = (title, ...children) => h("section", { class: "panel across" }, h("h2", {}, title), ...children);

export const panel = (title, ...children) => h("section", { class: "panel" }, h("h2", {}, title), ...children);

export function pairs(rows) {
  return h("dl", {}, rows.filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function empty(text, command) {
  return h("p", { class: "quiet" }, text, command ? [" ", h("code", {}, command)] : []);
}

const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

export function span(ms) {
  const seconds = Math.max(0, ms / 1000);
  const [size, unit] = units.find(([size]) => seconds >= size) || [1, "s"];
  return seconds < 1 ? "now" : `${Math.floor(seconds / size)} ${unit}`;
}

export const ago = (ms) => (ms ? `${span(Date.now() - ms)} ago`.replace("now ago", "now") : "–");
export const clock = (ms) => (ms ? new Date(ms).toLocaleString() : "–");

export function bytes(count) {
  if (count === undefined || count === null) return "–";
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, count)) / 10));
  return `${(count / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

// A change of an accuracy, in points.
export const change = (part) => (Number.isFinite(part) ? `${part < 0 ? "−" : "+"}${Math.abs(100 * part).toFixed(1)} points` : "–");
export const percent = (part) => (Number.isFinite(part) ? `${(100 * part).toFixed(1)} %` : "–");

export function tableOf(label, head, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, h("table", { "aria-label": label },
    head ? h("thead", {}, h("tr", {}, head.map((title) => h("th", { scope: "col" }, title)))) : "", h("tbody", {}, rows)));
}

// Shows a dialog until Esc or its button; keys: [key, what it does].
export function help(keys) {
  const close = () => { dialog.close(); dialog.remove(); };
  const dialog = h("dialog", { "aria-label": "Keys", "data-test": "help" }, h("h2", {}, "Keys"),
    h("dl", {}, keys.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])),
    h("div", { class: "bar" }, h("span", { class: "grow" }), h("button", { type: "button", onclick: close }, "Close")));
  dialog.addEventListener("cancel", close);
  document.body.append(dialog);
  dialog.showModal();
}

// Resolves to whether it was confirmed. Esc and the first button say no.
export function confirmed(question, verb) {
  return new Promise((resolve) => {
    const answer = (value) => () => { dialog.close(); dialog.remove(); resolve(value); };
    const dialog = h("dialog", { "aria-label": question },
      h("p", {}, question),
      h("div", { class: "bar" },
        h("button", { type: "button", onclick: answer(false) }, "No, leave it"),
        h("button", { type: "button", class: "bad", "data-test": "confirm", onclick: answer(true) }, verb)));
    dialog.addEventListener("cancel", answer(false));
    document.body.append(dialog);
    dialog.showModal();
  });
}
