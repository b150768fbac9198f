// Small helpers around the document. Everything goes in as text, never as markup, and only what changed is touched: a page
// that is rebuilt each second loses the reader's selection, focus and place.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** The sign of a status. It is decoration: the word stands beside it. */
export function icon(status) {
  return s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#i-${status}` }));
}

export function setIcon(element, status) {
  setAttribute(element.querySelector("use"), "href", `#i-${status}`);
}

/** What `keyed` has put where. */
const rows = new WeakMap();

/**
 * Keeps the children of `parent` equal to `items`: those that are there are updated, new ones are made, others removed.
 * `make` gives an object with `element` and `update(item)`, which must take all that changes from the item: the names that `make`
 * sees are of the time when it ran.
 */
export function keyed(parent, items, keyOf, make) {
  if (!rows.has(parent)) rows.set(parent, new Map());
  const known = rows.get(parent);
  const used = new Set();
  let at = 0;
  for (const item of items) {
    let key = String(keyOf(item));
    while (used.has(key)) key += "'";
    used.add(key);
    let row = known.get(key);
    if (!row) {
      row = make(item);
      known.set(key, row);
    }
    row.update(item);
    if (parent.children[at] !== row.element) parent.insertBefore(row.element, parent.children[at] ?? null);
    at += 1;
  }
  for (const [key, row] of known) {
    if (used.has(key)) continue;
    row.element.remove();
    known.delete(key);
  }
}

/** A table row whose cells are texts: `columns` are pairs of a class and a function that gives the text. */
export function textRow(columns) {
  const cells = columns.map(([name]) => h("td", name ? { class: name } : {}));
  const update = (item) => columns.forEach(([, text], index) => setText(cells[index], text(item)));
  return { element: h("tr", {}, ...cells), update };
}
