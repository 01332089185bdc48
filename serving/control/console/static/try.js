// A form that sends one prediction, and shows the answer and how a program asks the same.

import { get, modelPath, post } from "./api.js";
import { facts, h, show, wrong } from "./dom.js";
import { milliseconds } from "./format.js";
import { curlLines, exampleOf, pythonLines } from "./lines.js";

export class Try {
  constructor(place, name, version) {
    this.place = place;
    this.name = name;
    this.version = version;
  }

  async open() {
    document.title = "Try a model \u2013 Console";
    if (this.built && this.model) return;
    this.built = true;
    this.form = h("div");
    show(this.place, h("h1", null, "Try a model"), this.chooser(), this.form);
    if (!this.name) return;
    try {
      const [model, about] = await Promise.all([get(modelPath(this.name)), get("api/v1/overview?limit=1")]);
      if (this.left) return;
      this.model = model;
      this.port = about.http_port;
      this.draw();
    } catch (error) {
      if (!this.left) show(this.form, wrong(error));
    }
  }

  leave() {
    this.left = true;
  }

  chooser() {
    const names = h("datalist", { id: "names" });
    const field = h("input", { id: "model", list: "names", value: this.name, required: true, maxlength: "255", autocomplete: "off",
      oninput: () => this.suggest(field.value, names) });
    this.suggest(this.name, names);
    return h("form", { class: "controls", onsubmit: (event) => {
      event.preventDefault();
      const address = `#/try/${encodeURIComponent(field.value.trim())}`;
      if (location.hash !== address) location.hash = address;
    } }, h("label", { for: "model" }, "Model", field), names, h("button", null, "Choose"));
  }

  async suggest(text, names) {
    const query = new URLSearchParams({ limit: 20, state: "ready" });
    if (text) query.append("name", `*${text.replace(/[*?[]/g, "[$&]")}*`);
    const found = await get(`api/v1/overview?${query}`).catch(() => ({ models: [] }));
    show(names, found.models.map((one) => h("option", { value: one.name })));
  }

  draw() {
    const ready = this.model.versions.filter((one) => one.state === "READY").reverse();
    if (!ready.length) {
      show(this.form, h("p", { class: "banner" }, `No version of ${this.name} answers. `, this.model.reason));
      return;
    }
    const versions = h("select", { id: "version", onchange: () => this.lines() },
      h("option", { value: "" }, `as routed (${this.model.default ?? "none"})`),
      ready.map((one) => h("option", { value: String(one.version), selected: String(one.version) === this.version }, `version ${one.version}`)));
    const asked = ready.find((one) => String(one.version) === this.version)
      || ready.find((one) => one.version === this.model.default) || ready[0];
    this.versions = versions;
    this.body = h("textarea", { id: "body", rows: 12, spellcheck: "false", oninput: () => this.lines() });
    this.body.value = pretty(JSON.stringify(exampleOf(asked.inputs)));
    this.answer = h("div", { "aria-live": "polite" });
    this.code = h("div");
    show(this.form,
      h("p", { class: "quiet" }, "It is a real request: it counts in this model's figures. The inputs are zeros and empty texts of its signature until you change them."),
      h("div", { class: "controls" }, h("label", { for: "version" }, "Version", versions)),
      h("label", { class: "field", for: "body" }, "Request (Open Inference Protocol, JSON)", this.body),
      h("p", { class: "buttons" }, h("button", { id: "send", onclick: () => this.send() }, "Send")),
      this.answer, this.code);
    this.lines();
  }

  parsed() {
    try {
      return JSON.parse(this.body.value);
    } catch (error) {
      return { problem: `The request is not valid JSON: ${error.message}` };
    }
  }

  lines() {
    const request = this.parsed();
    if (request.problem) return show(this.code);
    const asked = [this.name, this.versions.value, request, `${location.hostname || "localhost"}:${this.port}`];
    show(this.code, h("h2", null, "The same with curl"), h("pre", { id: "curl", tabindex: "0" }, curlLines(...asked)),
      h("h2", null, "and in Python"), h("pre", { id: "python", tabindex: "0" }, pythonLines(...asked)));
  }

  async send() {
    const request = this.parsed();
    if (request.problem) return show(this.answer, h("p", { class: "banner bad" }, request.problem));
    const version = this.versions.value ? Number(this.versions.value) : null;
    show(this.answer, h("p", null, "Asking \u2026"));
    try {
      const found = await post(modelPath(this.name, "/predict"), { version, request });
      if (this.left) return;
      show(this.answer, h("h2", null, "Answer"), facts([
        ["Status", h("span", { class: found.status === 200 ? "good" : "bad", id: "status" }, String(found.status))],
        ["Version", found.version || "\u2013"], ["Came to it by", found.route || "\u2013"], ["Took", milliseconds(found.seconds * 1e3)],
      ]), h("pre", { id: "answer", tabindex: "0" }, pretty(found.text)), found.cut ? h("p", null, "The answer goes on; this is its beginning.") : null);
    } catch (error) {
      if (!this.left) show(this.answer, wrong(error));
    }
  }
}

export function pretty(text) {
  try {
    return indented(JSON.parse(text), "");
  } catch {
    return text;
  }
}

// JSON, indented but for lists of plain values. Not by a pattern over the text: a model may answer
// one that takes a pattern for ever, and what stands in texts is theirs.
function indented(value, before) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const list = Array.isArray(value);
  const inside = `${before}  `;
  const parts = list ? value.map((one) => indented(one, inside))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${indented(one, inside)}`);
  const [open, close] = list ? "[]" : "{}";
  if (!parts.length) return open + close;
  const plain = list && value.every((one) => one === null || typeof one !== "object");
  return plain ? `[${parts.join(", ")}]` : `${open}\n${inside}${parts.join(`,\n${inside}`)}\n${before}${close}`;
}
