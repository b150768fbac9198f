// What can be checked by rule of the guidelines for accessible pages (WCAG 2.2, AA): names, headings, landmarks, ids, lists,
// tables, sizes of targets, contrast of text. The body of a function that gives the problems as texts. It does not judge
// whether the page is good, only whether it breaks a rule.

const problems = [];
const problem = (element, text) => problems.push(`${describe(element)} ${text}`);
const all = (selector) => [...document.querySelectorAll(selector)];
const isVisible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

function describe(element) {
  const id = element.id ? `#${element.id}` : "";
  const name = element.getAttribute("class") ? `.${element.getAttribute("class").split(" ").join(".")}` : "";
  const text = element.textContent.trim().slice(0, 24);
  return `${element.localName}${id}${name}${text ? ` "${text}"` : ""}`;
}

// Page, ids, landmarks, headings
if (!document.documentElement.lang) problems.push("no language");
if (!document.title.trim()) problems.push("no title");
if (/user-scalable\s*=\s*no|maximum-scale/.test(document.querySelector("meta[name=viewport]")?.content ?? "")) problems.push("zoom is forbidden");
const ids = all("[id]").map(({ id }) => id);
for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) problems.push(`id ${id} is there twice`);
for (const [selector, least, most] of [["main", 1, 1], ["body > header", 1, 1], ["h1", 1, 1], [".skip[href]", 1, 1]]) {
  const found = all(selector).length;
  if (found < least || found > most) problems.push(`${found} of ${selector}`);
}
for (const element of all("body > *")) {
  const isLandmark = element.matches("header, main, footer, nav, aside, .skip, script, [aria-hidden=true]");
  if (isVisible(element) && !isLandmark) problem(element, "is outside of all landmarks");
}
let level = 0;
for (const heading of all("h1, h2, h3, h4, h5, h6").filter(isVisible)) {
  const next = Number(heading.localName[1]);
  if (next > level + 1) problem(heading, `follows a heading of level ${level}`);
  level = next;
}
for (const section of all("section, figure")) {
  if (isVisible(section) && section.localName === "section" && !nameOf(section)) problem(section, "has no name");
}

// Names of what can be used
function nameOf(element) {
  const label = element.getAttribute("aria-label")?.trim();
  if (label) return label;
  const by = element.getAttribute("aria-labelledby");
  if (by) return by.split(/\s+/).map((id) => document.getElementById(id)?.textContent.trim() ?? "").join(" ").trim();
  if (element.labels?.length) return element.labels[0].textContent.trim();
  return element.matches("a, button, summary") ? element.innerText.trim() : "";
}
const controls = all("a[href], button, input, select, textarea, summary, [tabindex], [role=button], [role=slider], [role=img]");
for (const control of controls.filter(isVisible)) {
  if (control.localName !== "main" && !nameOf(control)) problem(control, "has no name");
  if (control.tabIndex > 0) problem(control, "changes the order of the keyboard");
  const { width, height } = control.getBoundingClientRect();
  if (control.matches("button, input") && (width < 24 || height < 24)) problem(control, `is a target of ${width} × ${height} px`);
}
for (const reference of all("[aria-labelledby], [aria-describedby]")) {
  const wanted = ["aria-labelledby", "aria-describedby"].flatMap((name) => (reference.getAttribute(name) ?? "").split(/\s+/));
  for (const id of wanted.filter(Boolean)) if (!document.getElementById(id)) problem(reference, `refers to ${id}, which is not there`);
}
for (const hidden of all("[aria-hidden=true]")) {
  if ([hidden, ...hidden.querySelectorAll("*")].some((element) => element.tabIndex >= 0)) problem(hidden, "is hidden, but the keyboard reaches it");
}
for (const image of all("svg, img").filter(isVisible)) {
  if (!image.closest("[aria-hidden=true]") && !nameOf(image)) problem(image, "is a picture without a name");
}
for (const slider of all("[role=slider]")) {
  for (const name of ["aria-valuenow", "aria-valuemin", "aria-valuemax"]) if (isVisible(slider) && !slider.hasAttribute(name)) problem(slider, `lacks ${name}`);
}

// Structure
for (const item of all("li")) if (!item.parentElement.matches("ul, ol")) problem(item, "is in no list");
for (const list of all("ul, ol")) if ([...list.children].some((child) => child.localName !== "li")) problem(list, "has what is no item");
for (const term of all("dt, dd")) if (!term.closest("dl")) problem(term, "is in no list of terms");
for (const cell of all("th")) if (!cell.hasAttribute("scope")) problem(cell, "does not say what it is the head of");
for (const box of all("*")) {
  const isScrolled = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(box).overflowX);
  if (isScrolled && isVisible(box) && box.tabIndex < 0) problem(box, "scrolls, but not by keyboard");
}

// Status never by colour alone
for (const marked of all("[data-status]").filter(isVisible)) {
  if (marked.localName !== "svg" && !marked.innerText.trim()) problem(marked, "tells a status without a word");
}

// Contrast
const parse = (colour) => {
  const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
  return colour.startsWith("color(") ? [r * 255, g * 255, b * 255, a] : [r, g, b, a];
};
const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
const luminance = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((value) => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};
function background(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
}
let texts = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || element.closest("script, style, noscript, .hidden") || !isVisible(element)) continue;
  const style = getComputedStyle(element);
  const isDrawn = element instanceof SVGElement;
  if (isDrawn && element.getAttribute("visibility") === "hidden") continue;
  let colour = parse(isDrawn ? style.fill : style.color);
  for (let at = element; at; at = at.parentElement) colour = [...colour.slice(0, 3), colour[3] * Number(getComputedStyle(at).opacity)];
  const below = background(element);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const found = contrast(over(colour, below), below);
  texts += 1;
  if (found < (isLarge ? 3 : 4.5)) problem(element, `has a contrast of ${found.toFixed(2)}`);
}
if (texts < 5) problems.push(`only ${texts} texts were found to check`);

return problems;
