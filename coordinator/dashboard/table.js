// SPDX-License-Identifier: Apache-2.0
// table: a long list of which only the visible rows are in the page. All rows are of one height. A row that has not
// changed keeps its element, and with it the focus and what is ticked in it.

import { h } from "./dom.js";

const ROW_PX = 37, BESIDE = 12, AGES_MS = 20000;

// columns: [{title, class, cell(row) → text or element}]. open(row): on click and Enter.
export function table(label, columns, open) {
  const spacer = () => h("tr", { "aria-hidden": "true" }, h("td", { colspan: columns.length }));
  const above = spacer(), below = spacer(), body = h("tbody", {}, above, below);
  const grid = h("table", { "aria-label": label },
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { class: column.class, scope: "col" }, column.title)))), body);
  const element = h("div", { class: "panel scroll", "data-test": "table" }, grid);
  let rows = [], first = -1, last = -1, made = new Map(), aged = 0;

  function line(row) {
    return h("tr", { class: "link", tabindex: "0", "data-id": row.id, onclick: () => open(row),
      onkeydown: (event) => { if (event.key === "Enter" && event.target === event.currentTarget) open(row); } },
    columns.map((column) => h("td", { class: column.class }, column.cell(row))));
  }

  function draw(force) {
    const from = Math.max(0, Math.floor(element.scrollTop / ROW_PX) - BESIDE);
    const to = Math.min(rows.length, from + Math.ceil((element.clientHeight || 700) / ROW_PX) + 2 * BESIDE);
    if (!force && from === first && to === last) return;
    [first, last] = [from, to];
    above.firstChild.style.height = `${from * ROW_PX}px`;
    below.firstChild.style.height = `${(rows.length - to) * ROW_PX}px`;
    above.hidden = from === 0;
    below.hidden = to === rows.length;
    grid.setAttribute("aria-rowcount", rows.length + 1);
    const old = Date.now() - aged > AGES_MS, focused = document.activeElement.closest?.("tr.link")?.dataset.id;
    if (old) aged = Date.now();
    const kept = new Map();
    rows.slice(from, to).forEach((row, i) => {
      const before = made.get(row.id);
      const it = !old && before && before.row === row ? before : { row, line: line(row) };
      it.line.setAttribute("aria-rowindex", from + i + 2);
      kept.set(row.id, it);
    });
    for (const [id, it] of made) if (kept.get(id)?.line !== it.line) it.line.remove();
    made = kept;
    let at = above.nextSibling;
    for (const { line: wanted } of made.values()) {
      if (wanted === at) at = at.nextSibling;
      else body.insertBefore(wanted, at);
    }
    if (focused && made.has(focused) && document.activeElement === document.body) made.get(focused).line.focus({ preventScroll: true });
  }

  element.addEventListener("scroll", () => draw(false), { passive: true });
  return {
    element,
    show(newRows) { rows = newRows; draw(true); },
    // j and k: to the next and the one before.
    move(by) {
      const lines = [...body.querySelectorAll("tr.link")];
      const at = lines.indexOf(document.activeElement.closest("tr.link"));
      const next = lines[at < 0 ? 0 : Math.min(lines.length - 1, Math.max(0, at + by))];
      if (next) next.focus();
    },
  };
}
