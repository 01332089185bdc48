// What goes in and comes out, feature by feature: live against the baseline, drift, anomalies.

import { get, modelPath } from "./api.js";
import { h, show, table, wrong } from "./dom.js";
import { bars, histogram, timeline } from "./drawing.js";
import { number, percent, when } from "./format.js";

const OFF = "This gateway keeps no statistics of what goes in and comes out: the extra serving[statistics] is not installed, or the setting statistics.enabled is off.";
// From a request until statistics tell of it.
const GATHERED_S = 3;
const MOST_FEATURES = 60;
const MOST_VALUES = 8;
const WINDOWS = ["live", "minute", "hour", "day"];

export class Features {
  constructor(place, name) {
    this.place = place;
    this.name = name;
    this.window = "live";
  }

  // `versions`: of the model, the newest first.
  async draw(versions) {
    this.versions = versions.filter((one) => one.state === "READY");
    const ready = this.versions.map((one) => one.version);
    if (this.drawn !== undefined && String(ready) === this.drawn) return;
    this.drawn = String(ready);
    try {
      const about = await get("api/v1/overview?limit=1");
      if (!about.statistics) return show(this.place, h("p", { class: "quiet" }, OFF));
    } catch (error) {
      this.drawn = undefined;
      return show(this.place, wrong(error));
    }
    if (!ready.length) return show(this.place, h("p", { class: "quiet" }, "No version is ready."));
    if (!ready.includes(this.version)) this.version = ready[0];
    this.body = h("div", { "aria-live": "polite" }, h("p", { class: "quiet" }, "Loading."));
    const choice = (id, words, values, chosen, choose) => h("label", { for: id }, words, h("select", { id, onchange: (event) => { choose(event.target.value); this.look(true); } },
      values.map((one) => h("option", { value: String(one), selected: one === chosen }, String(one)))));
    show(this.place, h("div", { class: "controls" },
      choice("feature-version", "Version", ready, this.version, (value) => { this.version = Number(value); }),
      choice("feature-window", "Window", WINDOWS, this.window, (value) => { this.window = value; }),
      h("button", { id: "feature-look", onclick: () => this.look(true) }, "Look again")), this.body);
    return this.look(false);
  }

  leave() {
    clearTimeout(this.timer);
  }

  // `meant`: somebody asks for it. By itself the page does not ask for what can't be there yet.
  async look(meant) {
    clearTimeout(this.timer);
    const base = modelPath(this.name, `/versions/${this.version}`);
    try {
      const since = await this.askedSince();
      if (since === null && !meant) return show(this.body, h("p", { class: "quiet" }, "Nobody has asked this version since the gateway started; what was kept from before is in the windows hour and day."));
      const early = since + GATHERED_S - Date.now() / 1000;
      if (!meant && early > 0) {
        this.timer = setTimeout(() => this.look(false), early * 1000);
        return show(this.body, h("p", { class: "quiet" }, "The first requests are being counted."));
      }
      if (!meant) await this.choose(since);
      const one = this.versions.find((version) => version.version === this.version);
      const [live, drift, anomalies, requests, baseline, windows] = await Promise.all([
        get(`${base}/statistics?window=${this.window}`).catch(quietly), get(`${base}/drift`), get(`${base}/anomalies`), get(`${base}/requests/anomalies`),
        one?.baseline ? get(`${base}/statistics?window=baseline`).catch(quietly) : {}, this.windows(since)]);
      this.show(live, baseline, drift.features, anomalies, requests, windows);
    } catch (error) {
      if (error.status) show(this.body, h("p", { class: "quiet" }, error.message));
      else show(this.body, wrong(error));
    }
  }

  // The hour, which has something to show also while nobody asks; before its first window is over,
  // the one that goes on.
  async choose(since) {
    const { settings } = await get("api/v1/settings");
    const window_s = settings.find((one) => one.key === "statistics.window_s")?.value || 60;
    this.window = Date.now() / 1000 > since + window_s + GATHERED_S ? "hour" : "live";
    this.place.querySelector("#feature-window").value = this.window;
  }

  // When it first answered well, as far as its curve goes; null: never. Requests that don't fit it
  // are in no statistics.
  async askedSince() {
    const query = (span) => new URLSearchParams({ model: this.name, version: this.version, span });
    const found = await Promise.all(["1d", "1h"].map((span) => get(`api/v1/curves?${query(span)}`)));
    const times = found.flatMap((one) => one.curves).flatMap((curve) => curve.at.filter((_, place) => curve.request_rate[place] > curve.error_rate[place]));
    return times.length ? Math.min(...times) : null;
  }

  // What tracking noted of this version, window by window; none before the first is over.
  async windows(since) {
    const { window_s } = await get("api/v1/tracking");
    if (since === null || Date.now() / 1000 < since + 2 * window_s) return [];
    const found = await get(modelPath(this.name, "/windows"));
    return found.windows.filter((one) => one.version === this.version);
  }

  show(live, baseline, drift, anomalies, requests, windows) {
    show(this.body, this.anomalies(anomalies.anomalies), this.requests(requests),
      live.problem ? h("p", { class: "quiet" }, `In the window '${this.window}': ${live.problem}`) : (live.datasets || []).map((set) => this.dataset(set, baseline, live.labels || {})),
      this.drift(drift), this.overTime(windows));
  }

  // The largest distance of any feature, by what it is compared with.
  overTime(windows) {
    const kinds = ["skew", "drift", "versions"].map((kind) => [kind, windows
      .map((one) => ({ at: one.end, value: one.figures[`feature_distance/${kind}`] })).filter((one) => one.value !== undefined)])
      .filter(([, points]) => points.length > 1);
    if (!kinds.length) return [];
    return [h("h3", null, "Drift over time"), h("div", { class: "charts" }, kinds.map(([kind, points]) => h("figure", { class: "feature" },
      h("figcaption", null, `${kind}: the largest distance of a feature`), timeline(points, `Largest ${kind} over time, last ${number(points.at(-1).value)}`))))];
  }

  anomalies(found) {
    return [h("h3", null, "Anomalies"), table("What does not fit the schema or the baseline", [["At", "time"], ["Feature"], ["Kind"], ["What", "words"], ["Window"]],
      found.slice(0, 100).map((one) => [when(one.at), one.feature, h("span", { class: one.severity === "ERROR" ? "bad" : "busy" }, one.type), one.description, one.window || ""]), "None.")];
  }

  // Of single requests, where the model's schema is enforced; nothing is said where there are none.
  requests({ anomalies, left_out }) {
    if (!anomalies.length) return [];
    const more = left_out + Math.max(0, anomalies.length - 100);
    return [h("h3", null, "Requests that do not fit the schema"), table("Requests since the version was loaded, by feature", [["Feature"], ["Kind"], ["Requests", "number"], ["What became of them"]],
      anomalies.slice(0, 100).map((one) => [one.feature, h("span", { class: one.mode === "reject" ? "bad" : "busy" }, one.type), number(one.requests), one.mode === "reject" ? "refused" : "answered"])),
    more ? h("p", { class: "quiet" }, `And ${number(more)} more.`) : null];
  }

  drift(found) {
    return [h("h3", null, "Drift"), table("How far features lie from what they are compared with", [["Feature"], ["Compared"], ["Measure"], ["Distance", "number"], ["Threshold", "number"], ["Samples", "number"]],
      found.slice(0, 100).map((one) => [one.name, one.kind, one.measure, h("span", { class: one.threshold !== null && one.distance > one.threshold && !one.too_few ? "bad" : "" }, one.too_few ? "too few" : number(one.distance)),
        number(one.threshold), number(one.samples)]), "Nothing to compare with: neither a baseline nor an earlier window.")];
  }

  dataset(set, baseline, labels) {
    const before = (baseline.datasets || []).find((one) => one.name === set.name);
    const known_ = new Map((before?.features || []).map((one) => [nameOf(one), one]));
    const all = set.features || [];
    return [h("h3", null, `${set.name || "features"} (${number(Number(set.numExamples || set.num_examples || 0))} rows)`),
      known_.size ? h("p", { class: "quiet" }, h("span", { class: "key" }), "live ", h("span", { class: "key two" }), "baseline") : h("p", { class: "quiet" }, baseline.problem || (baseline.datasets ? "The baseline has nothing of these." : "This version has no baseline.")),
      h("div", { class: "charts" }, all.slice(0, MOST_FEATURES).map((one) => card(one, known_.get(nameOf(one)), own(labels, nameOf(one)) || {}))),
      all.length > MOST_FEATURES ? h("p", { class: "quiet" }, `The first ${MOST_FEATURES} of ${all.length} features.`) : null];
  }
}

// What the gateway does not have in one window, or does not tell for its size; drift and anomalies
// may be there all the same.
function quietly(error) {
  if (error.status !== 404 && error.status !== 413) throw error;
  return { problem: error.message };
}

// Features and values may be called as what every object has.
function own(labels, name) {
  return Object.hasOwn(labels, name) ? labels[name] : undefined;
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

// `labels`: what its values are called.
function card(feature, before, labels) {
  const { numeric, text, common } = statsOf(feature);
  const missing = Number(field(common, "num_missing") || 0);
  const all = missing + Number(field(common, "num_non_missing") || 0);
  const words = all && missing === all ? "" : numeric
    ? `mean ${number(numeric.mean ?? 0)}, deviation ${number(field(numeric, "std_dev") ?? 0)}, ${number(numeric.min ?? 0)} to ${number(numeric.max ?? 0)}`
    : text ? `${number(Number(text.unique || 0))} distinct` : "";
  return h("figure", { class: "feature" }, h("figcaption", null, h("strong", null, nameOf(feature))),
    numeric ? histogram(buckets(numeric), before && buckets(statsOf(before).numeric), `Histogram of ${nameOf(feature)}: ${words || "nothing came"}`) : null,
    text ? bars(values(text, before && statsOf(before).text, labels), `Top values of ${nameOf(feature)}`) : null,
    h("p", { class: "quiet" }, [words, missing && all ? `missing in ${percent(missing / all)}` : ""].filter(Boolean).join("; ")));
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

function values(text, before, labels) {
  const live = shares(text);
  const known_ = before ? shares(before) : null;
  return [...live].slice(0, MOST_VALUES).map(([value, share]) => ({ value: own(labels, value) ? `${value} ${labels[value]}` : value, live: share, base: known_ ? known_.get(value) || 0 : null }));
}
