// What goes in and comes out, feature by feature: live against the baseline, drift, anomalies.

import { get, modelPath } from "./api.js";
import { h, show, table, wrong } from "./dom.js";
import { bars, histogram } from "./drawing.js";
import { number, percent, when } from "./format.js";

const OFF = "This gateway keeps no statistics of what goes in and comes out.";
const MOST_FEATURES = 60;
const MOST_VALUES = 8;
const WINDOWS = ["live", "minute", "hour", "day"];
let paths = null;

// Whether the gateway has these calls at all, by its own description.
async function known() {
  paths ||= get("api/openapi.json").then((found) => Object.keys(found.paths), (error) => {
    paths = null;
    throw error;
  });
  return (await paths).some((path) => path.endsWith("/versions/{version}/statistics"));
}

export class Features {
  constructor(place, name) {
    this.place = place;
    this.name = name;
    this.window = "live";
  }

  // `versions`: of the model, the newest first.
  async draw(versions) {
    const ready = versions.filter((one) => one.state === "READY").map((one) => one.version);
    if (this.drawn !== undefined && String(ready) === this.drawn) return;
    this.drawn = String(ready);
    try {
      if (!(await known())) return show(this.place, h("p", { class: "quiet" }, OFF));
    } catch (error) {
      return show(this.place, wrong(error));
    }
    if (!ready.length) return show(this.place, h("p", { class: "quiet" }, "No version is ready."));
    this.version = ready[0];
    this.body = h("div", { "aria-live": "polite" }, h("p", { class: "quiet" }, "Loading."));
    const choice = (id, words, values, chosen) => h("label", { for: id }, words, h("select", { id, onchange: (event) => { this[id.slice(8)] = event.target.value; this.look(); } },
      values.map((one) => h("option", { value: String(one), selected: one === chosen }, String(one)))));
    show(this.place, h("div", { class: "controls" }, choice("feature-version", "Version", ready, this.version), choice("feature-window", "Window", WINDOWS, this.window),
      h("button", { onclick: () => this.look() }, "Look again")), this.body);
    return this.look();
  }

  async look() {
    const base = modelPath(this.name, `/versions/${this.version}`);
    try {
      const live = await get(`${base}/statistics?window=${this.window}`);
      const beside = await Promise.allSettled([get(`${base}/statistics?window=baseline`), get(`${base}/drift`), get(`${base}/anomalies`)]);
      const [baseline, drift, anomalies] = beside.map((one) => (one.status === "fulfilled" ? one.value : {}));
      this.show(live, baseline, drift, anomalies);
    } catch (error) {
      if (error.status) show(this.body, h("p", { class: "quiet" }, error.message));
      else show(this.body, wrong(error));
    }
  }

  show(live, baseline, drift, anomalies) {
    const drifts = listed(drift, "features", "drift");
    const found = listed(anomalies, "anomalies");
    show(this.body, this.anomalies(found), this.drift(drifts), (live.datasets || []).map((set) => this.dataset(set, baseline)));
  }

  anomalies(found) {
    return [h("h3", null, "Anomalies"), table("What does not fit the schema or the baseline", [["At"], ["Feature"], ["Kind"], ["What", "words"], ["Window"]],
      found.slice(0, 100).map((one) => [when(one.at), one.feature, h("span", { class: one.severity === "ERROR" ? "bad" : "busy" }, one.type), one.description, one.window || ""]), "None.")];
  }

  drift(found) {
    return [h("h3", null, "Drift"), table("How far features lie from what they are compared with", [["Feature"], ["Compared"], ["Measure"], ["Distance", "number"], ["Threshold", "number"], ["Samples", "number"]],
      found.slice(0, 100).map((one) => [one.name, one.kind, one.measure, h("span", { class: one.threshold && one.distance > one.threshold && !one.too_few ? "bad" : "" }, one.too_few ? "too few" : number(one.distance)),
        number(one.threshold || null), number(one.samples)]), "Nothing to compare with: neither a baseline nor an earlier window.")];
  }

  dataset(set, baseline) {
    const before = (baseline.datasets || []).find((one) => one.name === set.name);
    const known_ = new Map((before?.features || []).map((one) => [nameOf(one), one]));
    const all = set.features || [];
    return [h("h3", null, `${set.name || "features"} (${number(Number(set.numExamples || set.num_examples || 0))} rows)`),
      known_.size ? h("p", { class: "quiet" }, h("span", { class: "key" }), "live ", h("span", { class: "key two" }), "baseline") : h("p", { class: "quiet" }, "This version has no baseline."),
      h("div", { class: "charts" }, all.slice(0, MOST_FEATURES).map((one) => card(one, known_.get(nameOf(one))))),
      all.length > MOST_FEATURES ? h("p", { class: "quiet" }, `The first ${MOST_FEATURES} of ${all.length} features.`) : null];
  }
}

// The contract says where they are; an answer that is a list is one.
function listed(found, ...names) {
  if (Array.isArray(found)) return found;
  return names.map((name) => found[name]).find(Array.isArray) || [];
}

// Protobuf's JSON has camelCase, files of others may keep the proto's own names.
function field(one, name) {
  return one?.[name] ?? one?.[name.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
}

function nameOf(feature) {
  return feature.name ?? field(feature, "path")?.step?.join(".") ?? "";
}

function statsOf(feature) {
  const numeric = field(feature, "num_stats");
  const text = field(feature, "string_stats") || field(feature, "bytes_stats");
  return { numeric, text, common: field(numeric || text, "common_stats") || {} };
}

function card(feature, before) {
  const { numeric, text, common } = statsOf(feature);
  const missing = Number(field(common, "num_missing") || 0);
  const all = missing + Number(field(common, "num_non_missing") || 0);
  const words = numeric
    ? `mean ${number(numeric.mean ?? 0)}, deviation ${number(field(numeric, "std_dev") ?? 0)}, ${number(numeric.min ?? 0)} to ${number(numeric.max ?? 0)}`
    : text ? `${number(Number(text.unique || 0))} distinct` : "";
  return h("figure", { class: "feature" }, h("figcaption", null, h("strong", null, nameOf(feature))),
    numeric ? histogram(buckets(numeric), before && buckets(statsOf(before).numeric), `Histogram of ${nameOf(feature)}: ${words}`) : null,
    text ? bars(values(text, before && statsOf(before).text), `Top values of ${nameOf(feature)}`) : null,
    h("p", { class: "quiet" }, words, missing && all ? `; missing in ${percent(missing / all)}` : ""));
}

function buckets(numeric) {
  const kinds = field(numeric, "histograms") || [];
  const chosen = kinds.find((one) => one.type !== "QUANTILES" && one.type !== 1) || kinds[0];
  const found = (chosen?.buckets || []).map((one) => ({
    low: Number(field(one, "low_value") ?? 0), high: Number(field(one, "high_value") ?? 0), share: Number(field(one, "sample_count") ?? 0),
  }));
  const total = found.reduce((sum, one) => sum + one.share, 0) || 1;
  return found.map((one) => ({ ...one, share: one.share / total }));
}

function shares(text) {
  const rows = field(text, "top_values") || [];
  const total = Number(field(field(text, "common_stats"), "num_non_missing") || 0) || rows.reduce((sum, one) => sum + Number(one.frequency || 0), 0) || 1;
  return new Map(rows.map((one) => [String(one.value ?? ""), Number(one.frequency || 0) / total]));
}

function values(text, before) {
  const live = shares(text);
  const known_ = before ? shares(before) : null;
  return [...live].slice(0, MOST_VALUES).map(([value, share]) => ({ value, live: share, base: known_ ? known_.get(value) || 0 : null }));
}
