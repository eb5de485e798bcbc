// SPDX-License-Identifier: Apache-2.0
// table: a long list of which only the visible rows are in the page. All rows are of one height.

import { h } from "./dom.js";

const ROW_PX = 37, BESIDE = 12;

// columns: [{title, class, cell(row) → text or element}]. open(row): on click and Enter.
export function table(label, columns, open) {
  const body = h("tbody", {});
  const above = h("tr", { "aria-hidden": "true" }, h("td", { colspan: columns.length }));
  const below = h("tr", { "aria-hidden": "true" }, h("td", { colspan: columns.length }));
  const element = h("div", { class: "panel scroll", "data-test": "table" },
    h("table", { "aria-label": label },
      h("thead", {}, h("tr", {}, columns.map((column) => h("th", { class: column.class, scope: "col" }, column.title)))), body));
  let rows = [], first = -1, last = -1;

  function line(row, index) {
    return h("tr", { class: "link", tabindex: "0", "data-id": row.id, "aria-rowindex": index + 2, onclick: () => open(row),
      onkeydown: (event) => { if (event.key === "Enter") open(row); } },
    columns.map((column) => h("td", { class: column.class }, column.cell(row))));
  }

  function draw(force) {
    const from = Math.max(0, Math.floor(element.scrollTop / ROW_PX) - BESIDE);
    const to = Math.min(rows.length, from + Math.ceil((element.clientHeight || 700) / ROW_PX) + 2 * BESIDE);
    if (!force && from === first && to === last) return;
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : null;
    [first, last] = [from, to];
    above.firstChild.style.height = `${from * ROW_PX}px`;
    below.firstChild.style.height = `${(rows.length - to) * ROW_PX}px`;
    above.hidden = from === 0;
    below.hidden = to === rows.length;
    body.replaceChildren(above, ...rows.slice(from, to).map((row, i) => line(row, from + i)), below);
    if (focused) {
      const again = [...body.children].find((child) => child.dataset.id === focused);
      if (again) again.focus({ preventScroll: true });
    }
  }

  element.addEventListener("scroll", () => draw(false), { passive: true });
  return {
    element,
    show(newRows) { rows = newRows; draw(true); },
    // j and k: to the next and the one before.
    move(by) {
      const lines = [...body.querySelectorAll("tr.link")];
      const at = lines.indexOf(document.activeElement);
      const next = lines[at < 0 ? 0 : Math.min(lines.length - 1, Math.max(0, at + by))];
      if (next) next.focus();
    },
  };
}
