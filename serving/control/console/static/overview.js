// All models at a glance, a page at a time.

import { get } from "./api.js";
import { facts, h, show, state, wrong } from "./dom.js";
import { milliseconds, number, percent } from "./format.js";

const LIMIT = 50;
const AGAIN_MS = 2000;

export class Overview {
  constructor(place) {
    this.place = place;
    this.text = "";
    this.state = "";
    this.before = [];
    this.after = "";
    this.head = h("div");
    this.list = h("div");
  }

  open() {
    document.title = "Console";
    const later = this.debounced();
    const filter = h("input", { type: "search", id: "filter", maxlength: "200", value: this.text,
      oninput: (event) => { this.text = event.target.value; later(); } });
    const states = h("select", { id: "state", onchange: (event) => { this.state = event.target.value; this.first(); } },
      ["", "ready", "loading", "failed", "unloaded"].map((one) => h("option", { value: one, selected: one === this.state }, one || "all")));
    show(this.place, h("h1", null, "Models"), this.head,
      h("div", { class: "controls" }, h("label", { for: "filter" }, "Name", filter), h("label", { for: "state" }, "State", states)),
      this.list);
    return this.look();
  }

  leave() {
    clearTimeout(this.timer);
    this.left = true;
  }

  heard(kind) {
    if (kind === "hello" || this.timer) return;
    this.timer = setTimeout(() => { this.timer = null; this.look(); }, kind === "figures" ? 0 : AGAIN_MS / 4);
  }

  debounced() {
    let timer = null;
    return () => { clearTimeout(timer); timer = setTimeout(() => this.first(), 250); };
  }

  first() {
    this.before = [];
    this.after = "";
    return this.look();
  }

  async look() {
    const query = new URLSearchParams({ limit: LIMIT });
    if (this.text) query.append("name", `*${this.text.replace(/[*?[]/g, "[$&]")}*`);
    if (this.state) query.append("state", this.state);
    if (this.after) query.append("after", this.after);
    const number_ = this.asked = (this.asked || 0) + 1;
    try {
      const found = await get(`api/v1/overview?${query}`);
      if (this.left || number_ !== this.asked) return;
      this.draw(found);
    } catch (error) {
      if (!this.left) show(this.list, wrong(error));
    }
  }

  draw(found) {
    document.getElementById("server").textContent = `${found.name} ${found.version}`;
    const counts = found.counts;
    show(this.head, facts([
      ["Gateway", found.ready ? state("ready") : h("span", { class: "bad" }, "not ready")],
      ["Models", String(counts.total)],
      ["Failed", h("span", { class: counts.failed ? "bad" : "" }, String(counts.failed))],
      ["Loading", String(counts.loading)],
      ["Requests a second", number(found.request_rate)],
      ["Errors a second", h("span", { class: found.error_rate ? "bad" : "" }, number(found.error_rate))],
    ]));
    show(this.list, this.table(found), this.pager(found));
  }

  table(found) {
    if (!found.models.length) {
      return h("p", { class: "quiet" }, this.text || this.state || this.after ? "No model matches." : "There are no models yet.");
    }
    const heads = [["Model"], ["Version", "number"], ["State"], ["Answers", "number"], ["Req/s", "number"], ["Err/s", "number"],
      ["p50", "number"], ["p99", "number"], ["Rows a run", "number wide"], ["Queue", "number wide"], ["Notes", "words"]];
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Models and versions" },
      h("table", null, h("caption", null, h("span", null, "Rates and latencies are of the last ten seconds.")),
        h("thead", null, h("tr", null, heads.map(([name, kind]) => h("th", { scope: "col", class: kind || null }, name)))),
        h("tbody", null, found.models.flatMap((one) => this.rows(one)))));
  }

  rows(model) {
    const versions = model.versions.length ? model.versions : [null];
    return versions.map((version, place) => {
      const cells = place ? [h("td", null, "")] : [h("th", { scope: "row", class: "name" },
        h("a", { href: `#/models/${encodeURIComponent(model.name)}`, "data-key": model.name }, model.name))];
      return h("tr", { class: place ? null : "model" }, cells, this.cells(model, version, place));
    });
  }

  cells(model, version, place) {
    const notes = place ? [] : modelNotes(model);
    if (!version) return [h("td", { colspan: "9" }, model.states.map(state)), h("td", { class: "words" }, notes.join("; "))];
    const figures = version.figures || {};
    const aliases = Object.entries(model.aliases).filter(([, number_]) => number_ === version.version).map(([name]) => name);
    const own = [...(aliases.length ? [`alias ${aliases.join(", ")}`] : []), ...(version.shadow ? [`shadow of ${percent(version.shadow)}`] : []),
      ...(version.reason ? [version.reason] : []), ...notes];
    const quiet = version.figures ? null : "\u2013";
    return [
      h("td", { class: "number" }, String(version.version)), h("td", null, state(version.state)),
      h("td", { class: "number" }, version.share === null ? "" : percent(version.share)),
      h("td", { class: "number" }, quiet || number(figures.request_rate)),
      h("td", { class: `number ${figures.error_rate ? "bad" : ""}` }, quiet || number(figures.error_rate)),
      h("td", { class: "number" }, milliseconds(figures.p50_ms)), h("td", { class: "number" }, milliseconds(figures.p99_ms)),
      h("td", { class: "number wide" }, number(figures.batch_rows)),
      h("td", { class: "number wide" }, version.queue === null ? "\u2013" : String(version.queue)),
      h("td", { class: "words" }, own.join("; ")),
    ];
  }

  pager(found) {
    const go = (change) => { change(); this.look(); };
    return h("p", { class: "buttons" },
      h("button", { disabled: !this.before.length, "data-key": " before",
        onclick: () => go(() => { this.after = this.before.pop(); }) }, "Previous"),
      h("button", { disabled: found.next === null, "data-key": " next",
        onclick: () => go(() => { this.before.push(this.after); this.after = found.next; }) }, "Next"));
  }
}

function modelNotes(model) {
  const found = [];
  if (model.rollout) found.push(`rollout of version ${model.rollout.version}: ${model.rollout.phase}, ${model.rollout.share} %`);
  if (model.pinned !== null) found.push(`pinned to version ${model.pinned}`);
  if (model.reason && !model.versions.some((one) => one.reason && model.reason.includes(one.reason))) found.push(model.reason);
  const more = model.versions_total - model.versions.length;
  if (more > 0) found.push(`${more} more versions`);
  return found;
}
