// Elements out of text, never out of markup: whatever a name holds, it is shown and not run.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined));
  return node;
}

export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

// Drawn anew: what somebody did to a part of the page stays, where it is still there. That is where
// the focus is, how far something is scrolled, and what is open.
export function show(place, ...children) {
  const keep = kept(place);
  place.replaceChildren(...children.flat(Infinity).filter((one) => one !== null && one !== undefined));
  keep();
}

const CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex]";

function keyOf(node) {
  return node.dataset.key || node.id || node.getAttribute("aria-label") || node.textContent;
}

function byKey(place, selector) {
  return new Map([...place.querySelectorAll(selector)].map((node) => [`${node.tagName} ${keyOf(node)}`, node]));
}

function kept(place) {
  const active = place !== document.activeElement && place.contains(document.activeElement) ? document.activeElement : null;
  const focused = active && `${active.tagName} ${keyOf(active)}`;
  const scrolled = [...byKey(place, ".scroll, pre")].map(([key, { scrollLeft, scrollTop }]) => [key, scrollLeft, scrollTop]).filter(([, left, top]) => left || top);
  const open = [...byKey(place, "details[open] > summary")].map(([key]) => key);
  return () => {
    const summaries = byKey(place, "summary");
    open.forEach((key) => summaries.get(key)?.parentNode.setAttribute("open", ""));
    const regions = byKey(place, ".scroll, pre");
    scrolled.forEach(([key, left, top]) => regions.get(key)?.scrollTo(left, top));
    if (active && document.activeElement !== active) byKey(place, CONTROLS).get(focused)?.focus({ preventScroll: true });
  };
}

// A table with a caption; `columns`: [heading, class]; rows of cells that are text or nodes. The
// first cell of a row is its heading.
export function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  const head = columns.map(([name, kind]) => h("th", { scope: "col", class: kind || null }, name));
  const line = (cells) =>
    h("tr", null, cells.map((cell, place) =>
      place ? h("td", { class: columns[place][1] || null }, cell)
        : h("th", { scope: "row", class: columns[0][1] || null }, cell)));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", null, h("span", null, caption)), h("thead", null, h("tr", null, head)),
      h("tbody", null, rows.map(line))));
}

export function facts(pairs) {
  return h("dl", { class: "facts" },
    pairs.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

const KINDS = {
  READY: "good", ready: "good", running: "busy", promoted: "good", FAILED: "bad", failed: "bad",
  "rolled back": "bad", LOADING: "busy", WARMING: "busy", loading: "busy", DRAINING: "busy",
};

export function state(word) {
  return h("span", { class: `state ${KINDS[word] || "quiet"}` }, word);
}

// What went wrong, in the gateway's words, or that nobody answers.
export function wrong(error) {
  return h("p", { class: "banner bad", role: "alert" },
    error.status ? error.message : "The gateway does not answer. This page asks again by itself.");
}
