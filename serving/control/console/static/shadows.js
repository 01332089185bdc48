// What shadows would have answered, against what was answered: how often, by how much, and examples.

import { get, modelPath } from "./api.js";
import { h, show, state, table, wrong } from "./dom.js";
import { number, percent, when } from "./format.js";

// Characters of a tensor's values.
const MOST_TEXT = 2000;
const NONE = "No version of this model is a shadow: POST api/v1/models/NAME/route with shadows, or serving rollout shadow.";

export class Shadows {
  constructor(place, name) {
    this.place = place;
    this.name = name;
    this.opened = new Set();
  }

  leave() {
    this.left = true;
  }

  async look() {
    try {
      const found = await get(modelPath(this.name, "/shadows"));
      const opened = found.shadows.filter((one) => this.opened.has(one.version));
      // One that is none any more since the list came is left out.
      const told = (await Promise.all(opened.map((one) => this.ask(one.version).catch(gone)))).filter((one) => one !== null);
      // Whoever reads an example goes on doing so while nothing changes.
      const drawn = JSON.stringify([found.shadows, told]);
      if (this.left || drawn === this.drawn) return;
      this.drawn = drawn;
      this.draw(found.shadows, new Map(told.map((one) => [one.version, one])));
    } catch (error) {
      this.drawn = null;
      if (!this.left) show(this.place, wrong(error));
    }
  }

  ask(version) {
    return get(modelPath(this.name, `/shadows/${version}`));
  }

  draw(shadows, told) {
    if (!shadows.length) return show(this.place, h("p", { class: "quiet" }, NONE));
    show(this.place, table("Copies of requests that nobody gets the answer of", [["Version", "number"], ["Of requests", "number"], ["State"], ["Copies", "number"],
      ["Compared", "number"], ["Different", "number"], ["Largest distance", "number"], ["Not compared", "words"]],
    shadows.map((one) => [String(one.version), one.share ? percent(one.share) : "none any more", state(one.state), number(one.copies), number(one.compared),
      h("span", { class: one.different ? "bad" : "" }, one.compared ? percent(one.different / one.compared) : "\u2013"), number(largest(one)), lost(one)]), ""),
    shadows.map((one) => this.details(one, told.get(one.version))));
  }

  details(one, known) {
    const inner = h("div", null, known ? differences(known) : null);
    return h("details", { open: Boolean(known), "data-version": String(one.version), ontoggle: async (event) => {
      if (!event.target.open) return this.opened.delete(one.version);
      this.opened.add(one.version);
      if (inner.firstChild) return null;
      const found = await this.ask(one.version).catch((error) => error);
      return !this.left && show(inner, found instanceof Error ? wrong(found) : differences(found));
    } }, h("summary", null, `How version ${one.version} differs, with examples`), inner);
  }
}

function gone(error) {
  if (error.status !== 404) throw error;
  return null;
}

function largest(one) {
  const all = one.outputs.map((output) => output.max_difference).filter((value) => value !== null);
  return all.length ? Math.max(...all) : null;
}

function counts(words, found) {
  return Object.entries(found).filter(([, count]) => count).map(([kind, count]) => `${words} (${kind}): ${number(count)}`);
}

function lost(one) {
  return [...counts("not run", one.dropped), ...counts("failed", one.failed), ...counts("not compared", one.uncompared)].join("; ") || "none";
}

function differences(found) {
  return [
    table(`Outputs of version ${found.version}`, [["Output"], ["Answers that differ", "number"], ["Elements that differ", "number"], ["Largest distance", "number"],
      ["Mean distance", "number"], ["Other class", "number"], ["Otherwise", "words"]],
    found.outputs.map((one) => [`${one.name} ${one.datatype}`, share(one.different, one.compared), share(one.different_elements, one.elements),
      number(one.max_difference), number(one.mean_difference), one.rows ? share(one.classes, one.rows) : "\u2013", otherwise(one)]), "Nothing was compared yet."),
    found.examples.length ? found.examples.map(example) : h("p", { class: "quiet" }, "No example of a difference is kept."),
  ];
}

function share(part, of) {
  return of ? `${percent(part / of)} of ${number(of)}` : "\u2013";
}

function otherwise(one) {
  return ["missing", "datatypes", "shapes", "nonfinite"].filter((kind) => one[kind]).map((kind) => `${kind} ${number(one[kind])}`).join(", ");
}

function example(one) {
  const part = (words, tensors) => [`${words}:`, ...tensors.map((tensor) => `  ${written(tensor)}`)];
  const lines = [...part("inputs", one.inputs), ...part("given", one.given), ...part("shadow", one.shadow)];
  return h("figure", { class: "feature" },
    h("figcaption", null, `${when(one.at)}, answered by version ${one.version}${one.request_id || one.id ? `, request ${one.request_id || one.id}` : ""}: ${how(one.outputs)}`),
    one.too_large ? h("p", { class: "quiet" }, "Its tensors were too large to be kept.") : h("pre", { tabindex: "0", "data-key": `${one.at} ${one.id} ${one.request_id}`, "aria-label": "The tensors of this example" }, lines.join("\n")));
}

function how(outputs) {
  return Object.entries(outputs).map(([name, one]) => {
    const words = ["missing", "datatype", "shape"].filter((kind) => one[kind]);
    if (one.different_elements) words.push(`${number(one.different_elements)} elements`);
    if (one.max_difference !== null) words.push(`at most ${number(one.max_difference)} apart`);
    if (one.classes) words.push(`another class in ${number(one.classes)} rows`);
    return `${name} (${words.join(", ")})`;
  }).join("; ");
}

function written(tensor) {
  const all = tensor.redacted ? "redacted" : JSON.stringify(tensor.data ?? null);
  const values = all.length > MOST_TEXT ? `${all.slice(0, MOST_TEXT)} \u2026` : all;
  return `${tensor.name} ${tensor.datatype} [${tensor.shape.join(", ")}] ${tensor.encoding ? `${tensor.encoding} ` : ""}${values}`;
}
