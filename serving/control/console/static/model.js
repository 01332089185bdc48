// One model: its versions, what they did in the last hours, what happened to it and why.

import { get, modelPath } from "./api.js";
import { Curves } from "./curves.js";
import { facts, h, show, state, table, wrong } from "./dom.js";
import { costCurve } from "./drawing.js";
import { Features } from "./features.js";
import { bytes, number, percent, when } from "./format.js";
import { rolloutCard } from "./rollouts.js";
import { Shadows } from "./shadows.js";

const MOST_ROWS = 100;

export class Model {
  constructor(place, name) {
    this.place = place;
    this.name = name;
    this.span = "1h";
    this.parts = Object.fromEntries(["versions", "rollout", "chart", "costs", "errors", "history", "features", "shadows"].map((one) => [one, h("div")]));
  }

  async open() {
    document.title = `${this.name} \u2013 Console`;
    this.curves?.close();
    this.curves = new Curves(this.parts.chart);
    const part = (title, node, ...more) => h("section", { "aria-label": title }, h("h2", null, title), more, node);
    show(this.place, h("h1", null, this.name),
      h("p", null, h("a", { href: `#/try/${encodeURIComponent(this.name)}` }, "Send it a request")),
      this.parts.versions, this.parts.rollout,
      part("Over time", this.parts.chart, this.spans()),
      part("What a run costs", this.parts.costs),
      part("Errors", this.parts.errors),
      part("Features", this.parts.features),
      part("Shadows", this.parts.shadows),
      part("History", this.parts.history));
    this.features?.leave();
    this.features = new Features(this.parts.features, this.name);
    this.shadows?.leave();
    this.shadows = new Shadows(this.parts.shadows, this.name);
    await Promise.all([this.look(), this.lookCurves(), this.lookErrors(), this.lookHistory(), this.shadows.look()]);
  }

  leave() {
    this.left = true;
    this.shadows?.leave();
    this.features?.leave();
    clearTimeout(this.timer);
    this.curves?.close();
  }

  heard(kind, data) {
    if (kind === "rollouts") {
      const own = data.rollouts.find((one) => one.model === this.name);
      if (own) this.drawRollout(own);
      else if (this.rollout) this.look();
    }
    if (!data.models || !(data.more || data.models.includes(this.name))) return;
    if (kind === "figures") {
      this.lookCurves();
      this.lookErrors();
      this.shadows.look();
      return;
    }
    if (this.timer) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.look();
      this.lookHistory();
      this.lookCurves();
      this.shadows.look();
    }, 500);
  }

  spans() {
    const button = (span, words) => h("button", { "data-span": span, "aria-pressed": String(span === this.span),
      onclick: (event) => {
        this.span = span;
        for (const one of event.target.parentNode.children) one.setAttribute("aria-pressed", String(one.dataset.span === span));
        this.lookCurves();
      } }, words);
    return h("p", { class: "buttons" }, button("1h", "Last hour"), button("1d", "Last day"));
  }

  async asked(place, path, draw) {
    const found = await get(path).catch((error) => {
      if (!this.left) show(place, wrong(error));
    });
    if (found && !this.left) draw(found);
  }

  look() {
    const exact = this.name.replace(/[*?[]/g, "[$&]");
    return Promise.all([
      this.asked(this.parts.versions, modelPath(this.name), (found) => this.draw(found)),
      this.asked(this.parts.rollout, `api/v1/overview?${new URLSearchParams({ name: exact, limit: 1 })}`,
        (found) => this.drawRollout(found.models[0]?.rollout || null)),
    ]);
  }

  lookCurves() {
    const query = new URLSearchParams({ model: this.name, span: this.span });
    return this.asked(this.parts.chart, `api/v1/curves?${query}`, (found) => this.curves.draw(found));
  }

  lookErrors() {
    return this.asked(this.parts.errors, modelPath(this.name, "/errors"), (found) => show(this.parts.errors,
      table("The last errors that clients were told, the newest first", [["At", "time"], ["Kind"], ["What they were told", "words"], ["Over"], ["Request"]],
        found.errors.map((one) => [when(one.at), one.word, one.message, one.protocol, one.request_id]), "None.")));
  }

  lookHistory() {
    return Promise.all([get(modelPath(this.name, "/history")), get(modelPath(this.name, "/route/history"))])
      .then(([events, routes]) => !this.left && this.drawHistory(events.events, routes.changes))
      .catch((error) => !this.left && show(this.parts.history, wrong(error)));
  }

  drawRollout(rollout) {
    this.rollout = rollout;
    show(this.parts.rollout, rollout ? rolloutCard(rollout, false) : []);
  }

  draw(found) {
    const shares = found.split?.shares || (found.default === null ? {} : { [found.default]: 1 });
    const aliases = Object.entries(found.aliases).map(([name, version]) => `${name}: ${version}`).join(", ");
    const newest = [...found.versions].reverse();
    show(this.parts.versions,
      facts([
        ["State", found.states.map(state)],
        ["Answers", found.default === null ? "none" : `version ${found.default}`],
        ["Pinned", found.pinned === null ? "no" : `version ${found.pinned}`],
        ["Aliases", aliases || "none"],
      ]),
      found.reason ? h("p", { class: "banner" }, found.reason) : null,
      table("Versions", [["Version", "number"], ["State"], ["Answers", "number"], ["Since"], ["Memory", "number"], ["Load", "number"], ["Batching", "words"], ["Reason and notes", "words"]],
        newest.slice(0, MOST_ROWS).map((one) => [
          h("a", { href: `#/try/${encodeURIComponent(this.name)}/${one.version}` }, String(one.version)),
          state(one.state), percent(shares[one.version] ?? 0), when(one.ready_since), bytes(one.memory_bytes),
          one.load_seconds === null ? "\u2013" : `${number(one.load_seconds)} s`,
          one.batching, [one.reason, one.held_back ? "held back for its signature" : "", one.gated ? "kept from traffic by its gates" : "", one.isolated ? `in a process of its own: ${one.isolated}` : "", ...one.notes].filter(Boolean).join("; "),
        ]), "No version is loaded."),
      newest.length > MOST_ROWS ? h("p", { class: "quiet" }, `The ${MOST_ROWS} newest of ${newest.length}.`) : null,
      found.unloaded.length ? h("details", null, h("summary", null, `${found.unloaded.length} versions on disk that are not loaded`),
        table("Not loaded", [["Version", "number"], ["Why", "words"]], [...found.unloaded].reverse().slice(0, MOST_ROWS).map((one) => [String(one.version), one.reason]), "")) : null);
    this.drawCosts(newest);
    this.features.draw(newest);
  }

  drawCosts(versions) {
    const measured = versions.filter((one) => one.cost).slice(0, 4);
    show(this.parts.costs, measured.length ? h("div", { class: "charts" }, measured.map((one) => h("figure", { class: "chart bars" },
      h("figcaption", null, `Version ${one.version}`), costCurve(one.cost, one.max_rows),
      h("p", { class: "quiet" }, `${number(one.cost.fixed_s * 1e3)} ms a run and ${number(one.cost.per_row_s * 1e6)} \u00b5s a row`
        + (one.cost.best_rows ? `; a row is cheapest in runs of ${one.cost.best_rows}` : ""))))) : h("p", { class: "quiet" }, "Not measured: no version is batched."));
  }

  drawHistory(events, changes) {
    const rows = [...events.map((one) => [one.at, one.version === null ? "" : String(one.version), one.state, one.reason]),
      ...changes.map((one) => [one.at, "", "route", `${one.what}${one.by ? `, by ${one.by}` : ""}${one.reason ? `: ${one.reason}` : ""}`])]
      .sort((one, other) => other[0] - one[0]).slice(0, MOST_ROWS);
    show(this.parts.history, table("Loads and routes, the newest first", [["At", "time"], ["Version", "number"], ["What"], ["Why", "words"]],
      rows.map(([at, ...rest]) => [when(at), ...rest]), "Nothing has happened yet."));
  }
}
